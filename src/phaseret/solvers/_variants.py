"""Variants of the basic algorithms: CHIO, ASR, HPR, OSS, solvent and charge flipping, ADMM."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.projections import ObjectConstraint
from phaseret.solvers._algorithms import HIO, Relaxed
from phaseret.solvers._loop import Algorithm, Projection, Run

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from phaseret.solvers._loop import Options
    from phaseret.solvers._result import Reconstruction


def chio(
    intensity: Tensor,
    *,
    n_iter: int = 1000,
    beta: float | Tensor = 0.9,
    alpha: float = 0.4,
    **options: Unpack[Options],
) -> Reconstruction:
    r"""Continuous hybrid input-output for non-negative objects: HIO without the jump at P_M x = 0.

    .. math:: x_{n+1} = \begin{cases}
              p & \text{inside the support where } \alpha x_n \le p \\
              x_n - \frac{1 - \alpha}{\alpha} p & \text{inside the support where } 0 \le p \le \alpha x_n \\
              x_n - \beta p & \text{elsewhere} \end{cases} \qquad p = P_M x_n

    Args:
        intensity: Measured intensity.
        n_iter: Number of iterations.
        beta: Feedback, in (0, 2].
        alpha: Where the two branches inside the support meet, in (0, 1].
        **options: As in :func:`reconstruct`; constraint must be "nonnegative".

    Returns:
        :class:`Reconstruction`.

    Example:
        >>> intensity = pr.operators.fourier_intensity(torch.rand(12, 12), (24, 24))
        >>> chio(intensity, n_iter=50, support=torch.ones(12, 12) > 0, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Fienup (2003), Phase retrieval with continuous version of hybrid input-output, Frontiers in Optics, ThI3,
        doi:10.1364/FIO.2003.ThI3; alpha as in Marchesini (2007), doi:10.1063/1.2403783.
    """
    return CHIO(n_iter, beta=beta, alpha=alpha)(intensity, **options)


class CHIO(Relaxed):
    """Module of :func:`chio`.

    Args:
        n_iter: Number of iterations.
        beta: Feedback, in (0, 2].
        alpha: Where the two branches inside the support meet, in (0, 1].
    """

    def __init__(self, n_iter: int = 1000, *, beta: float | Tensor = 0.9, alpha: float = 0.4) -> None:
        super().__init__(n_iter, beta=beta)
        self.alpha = _checks.number("alpha", alpha, above=0, at_most=1)

    def check(self, run: Run) -> None:
        if run.problem.known.constraint != "nonnegative":
            given = run.problem.known.constraint
            _checks.fail(f"constraint must be 'nonnegative', got {given!r}", "Use HIO for other objects")

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        # the larger of the two branches is the one that holds
        inside = torch.maximum(p, x - (1 - self.alpha) / self.alpha * p)
        return known.choose(p, inside, x - self.beta * p)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, alpha={self.alpha}"


def asr(intensity: Tensor, *, n_iter: int = 1000, **options: Unpack[Options]) -> Reconstruction:
    r"""Averaged successive reflections: RAAR with beta = 1.

    .. math:: x_{n+1} = \tfrac12 (R_S R_M + I) x_n = P_S(2 P_M x_n - x_n) + x_n - P_M x_n

    Args:
        intensity: Measured intensity.
        n_iter: Number of iterations.
        **options: As in :func:`reconstruct`.

    Returns:
        :class:`Reconstruction`.

    Example:
        >>> intensity = pr.operators.fourier_intensity(torch.rand(12, 12), (24, 24))
        >>> asr(intensity, n_iter=50, support=torch.ones(12, 12) > 0, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Bauschke, Combettes, Luke (2002), Phase retrieval, error reduction algorithm, and Fienup variants,
        doi:10.1364/JOSAA.19.001334.
    """
    return ASR(n_iter)(intensity, **options)


class ASR(Algorithm):
    """Module of :func:`asr`.

    Args:
        n_iter: Number of iterations.
    """

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        return known.project(2 * p - x) + x - p


def hpr(
    intensity: Tensor, *, n_iter: int = 1000, beta: float | Tensor = 0.9, **options: Unpack[Options]
) -> Reconstruction:
    r"""Hybrid projection reflection; with a support alone it is HIO.

    .. math:: x_{n+1} = \tfrac12 \big(R_S (R_M + (\beta - 1) P_M) + I + (1 - \beta) P_M\big) x_n
              = P_S\big((1 + \beta) P_M x_n - x_n\big) + x_n - \beta P_M x_n

    Args:
        intensity: Measured intensity.
        n_iter: Number of iterations.
        beta: Relaxation, in (0, 2].
        **options: As in :func:`reconstruct`.

    Returns:
        :class:`Reconstruction`.

    Example:
        >>> intensity = pr.operators.fourier_intensity(torch.rand(12, 12), (24, 24))
        >>> hpr(intensity, n_iter=50, support=torch.ones(12, 12) > 0, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Bauschke, Combettes, Luke (2003), Hybrid projection-reflection method for phase retrieval,
        doi:10.1364/JOSAA.20.001025.
    """
    return HPR(n_iter, beta=beta)(intensity, **options)


class HPR(Relaxed):
    """Module of :func:`hpr`.

    Args:
        n_iter: Number of iterations.
        beta: Relaxation, in (0, 2].
    """

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        return known.project((1 + self.beta) * p - x) + x - self.beta * p


def oss(
    intensity: Tensor,
    *,
    n_iter: int = 1000,
    beta: float | Tensor = 0.9,
    stages: int = 10,
    **options: Unpack[Options],
) -> Reconstruction:
    r"""Oversampling smoothness: HIO whose density outside the support is smoothed, for noisy data.

    .. math:: x_{n+1} = \begin{cases} x' & \text{inside the support} \\
              F^{-1}[W F x'] & \text{outside} \end{cases} \qquad W_k = \exp\big(-\tfrac12 |k|^2 / \alpha^2\big)

    with x' the HIO update. The width alpha falls in equal steps from the grid's size m to 1/m, one step per stage. An
    iteration costs two transform pairs.

    Args:
        intensity: Measured intensity.
        n_iter: Number of iterations.
        beta: Feedback, in (0, 2].
        stages: Number of filter widths.
        **options: As in :func:`reconstruct`; a support must be given.

    Returns:
        :class:`Reconstruction`.

    Example:
        >>> intensity = pr.operators.fourier_intensity(torch.rand(12, 12), (24, 24))
        >>> oss(intensity, n_iter=50, support=torch.ones(12, 12) > 0, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Rodriguez, Xu, Chen, Zou, Miao (2013), Oversampling smoothness: an effective algorithm for phase retrieval of
        noisy diffraction intensities, doi:10.1107/S0021889813002471. There each stage starts from the best
        iterate of the last; here it goes on from the last iterate.
    """
    return OSS(n_iter, beta=beta, stages=stages)(intensity, **options)


class OSS(HIO):
    """Module of :func:`oss`.

    Args:
        n_iter: Number of iterations.
        beta: Feedback, in (0, 2].
        stages: Number of filter widths.
    """

    def __init__(self, n_iter: int = 1000, *, beta: float | Tensor = 0.9, stages: int = 10) -> None:
        super().__init__(n_iter, beta=beta)
        self.stages = _checks.integer("stages", stages, at_least=2)

    def width(self, n: int, size: int) -> float:
        """Width alpha of the filter in iteration n, in frequency pixels of a grid of this size."""
        stage = n * self.stages // self.n_iter
        return size + (1 / size - size) * stage / (self.stages - 1)

    def step(self, x: Tensor, magnitude: Projection, known: ObjectConstraint, n: int) -> tuple[Tensor, Tensor]:
        x, p = super().step(x, magnitude, known, n)
        if known.support is None:
            return x, p
        shape = x.shape[-known.ndim :]
        # relative to the size, so that the filter is isotropic on a grid of unequal sides
        size = max(shape)
        exponent = _fft.squared_frequencies(shape, x) * (size / self.width(n, size)) ** 2 / 2
        window = torch.exp(-exponent) / math.prod(shape)
        smooth = _fft.inverse_sum(_fft.transform(x, known.ndim) * window, shape, not x.is_complex())
        return smooth + (x - smooth) * known.support, p

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, stages={self.stages}"


def solvent_flip(intensity: Tensor, *, n_iter: int = 1000, **options: Unpack[Options]) -> Reconstruction:
    r"""Solvent flipping: what does not agree with what is known changes its sign.

    .. math:: x_{n+1} = R_S P_M x_n = 2 P_S P_M x_n - P_M x_n

    Args:
        intensity: Measured intensity.
        n_iter: Number of iterations.
        **options: As in :func:`reconstruct`.

    Returns:
        :class:`Reconstruction`.

    Example:
        >>> intensity = pr.operators.fourier_intensity(torch.rand(12, 12), (24, 24))
        >>> solvent_flip(intensity, n_iter=50, support=torch.ones(12, 12) > 0, constraint="real").obj.shape
        torch.Size([12, 12])

    Source:
        Abrahams, Leslie (1996), Methods used in the structure determination of bovine mitochondrial F1 ATPase,
        doi:10.1107/S0907444995008754, as written by Marchesini (2007), doi:10.1063/1.2403783.
    """
    return SolventFlip(n_iter)(intensity, **options)


class SolventFlip(Algorithm):
    """Module of :func:`solvent_flip`.

    Args:
        n_iter: Number of iterations.
    """

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        return 2 * known.project(p) - p


def charge_flip(
    intensity: Tensor, *, n_iter: int = 1000, delta: float = 1.2, **options: Unpack[Options]
) -> Reconstruction:
    r"""Charge flipping: density below a level changes its sign; needs no support, only that the density is sparse.

    .. math:: x_{n+1} = \begin{cases} P_M x_n & \text{where } P_M x_n > \delta \sigma \\
              -P_M x_n & \text{elsewhere} \end{cases}

    with the standard deviation sigma of P_M x of each item; what is known of the object enters the estimate only.

    Args:
        intensity: Measured intensity.
        n_iter: Number of iterations.
        delta: Level in units of the density's standard deviation, positive.
        **options: As in :func:`reconstruct`; the object must be real.

    Returns:
        :class:`Reconstruction`.

    Example:
        >>> intensity = pr.operators.fourier_intensity(torch.rand(12, 12).pow(9), (24, 24))
        >>> charge_flip(intensity, n_iter=50, constraint="nonnegative").obj.shape
        torch.Size([24, 24])

    Source:
        Oszlanyi, Suto (2004), Ab initio structure solution by charge flipping, doi:10.1107/S0108767303027569.
        There the level is a constant; here it is in units of the density's standard deviation.
    """
    return ChargeFlip(n_iter, delta=delta)(intensity, **options)


class ChargeFlip(Algorithm):
    """Module of :func:`charge_flip`.

    Args:
        n_iter: Number of iterations.
        delta: Level in units of the density's standard deviation, positive.
    """

    def __init__(self, n_iter: int = 1000, *, delta: float = 1.2) -> None:
        super().__init__(n_iter)
        self.delta = _checks.number("delta", delta, above=0)

    def check(self, run: Run) -> None:
        if not run.problem.real:
            fix = "Charge flipping compares values with a level"
            _checks.fail("constraint must be 'real' or 'nonnegative', got 'complex'", fix)

    def step(self, x: Tensor, magnitude: Projection, known: ObjectConstraint, n: int) -> tuple[Tensor, Tensor]:
        p = magnitude(x)
        level = self.delta * p.std(tuple(range(-known.ndim, 0)), correction=0, keepdim=True)
        return torch.where(p > level, p, -p), p

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, delta={self.delta}"


def admm(
    intensity: Tensor, *, n_iter: int = 1000, beta: float | Tensor = 1.0, **options: Unpack[Options]
) -> Reconstruction:
    r"""Alternating direction method of multipliers on the two constraints.

    .. math:: x_{n+1} = P_S(z_n - u_n), \quad z_{n+1} = P_M(x_{n+1} + u_n), \quad
              u_{n+1} = u_n + \beta (x_{n+1} - z_{n+1})

    It starts with z from the initial iterate and u = 0.

    Args:
        intensity: Measured intensity.
        n_iter: Number of iterations.
        beta: Step of the multiplier, in (0, 2]; below the golden ratio, 1.618, in the convex theory.
        **options: As in :func:`reconstruct`.

    Returns:
        :class:`Reconstruction`.

    Example:
        >>> intensity = pr.operators.fourier_intensity(torch.rand(12, 12), (24, 24))
        >>> admm(intensity, n_iter=50, support=torch.ones(12, 12) > 0, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Wen, Yang, Liu, Marchesini (2012), Alternating direction methods for classical and ptychographic phase
        retrieval, doi:10.1088/0266-5611/28/11/115010; in the scaled form of Boyd et al. (2011),
        doi:10.1561/2200000016, section 9.1.
    """
    return ADMM(n_iter, beta=beta)(intensity, **options)


class ADMM(Relaxed):
    """Module of :func:`admm`.

    Args:
        n_iter: Number of iterations.
        beta: Step of the multiplier, in (0, 2].
    """

    def __init__(self, n_iter: int = 1000, *, beta: float | Tensor = 1.0) -> None:
        super().__init__(n_iter, beta=beta)

    def enter(self, x: Tensor) -> Tensor:
        return torch.stack((x, torch.zeros_like(x)), dim=2)

    def leave(self, state: Tensor) -> Tensor:
        return state[:, :, 0]

    def step(self, x: Tensor, magnitude: Projection, known: ObjectConstraint, n: int) -> tuple[Tensor, Tensor]:
        z, u = x.unbind(2)
        x = known.project(z - u)
        z = magnitude(x + u)
        return torch.stack((z, u + self.beta * (x - z)), dim=2), z
