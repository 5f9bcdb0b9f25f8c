"""The algorithms: each is two projections and one update line; the loop is in `_loop`, the table of all at the end."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory
from phaseret.projections import ObjectConstraint
from phaseret.projections._object import hio_update, raar_update
from phaseret.solvers._loop import Algorithm, Projection, Step
from phaseret.solvers._run import Run
from phaseret.solvers._sparse import SparseRRR


def _relaxation(beta: float | Tensor, at_most: float = 2.0) -> float | Tensor:
    """The relaxation, checked: a number, or a tensor of one that may be learned, which is looked at here alone."""
    if isinstance(beta, Tensor):
        _checks.real(beta=beta)
        if beta.numel() != 1:
            rule = f"beta must be a number or a tensor of one, got shape {tuple(beta.shape)}"
            _checks.fail(rule, "Make an algorithm with each of them")
        if not (beta.is_meta or _memory.transformed()):
            _checks.number("beta", beta.item(), above=0, at_most=at_most)
        return beta
    return _checks.number("beta", beta, above=0, at_most=at_most)


class _Plain(Algorithm):
    """An algorithm without numbers of its own."""

    def __init__(self, n_iter: int = 1000) -> None:
        super().__init__(n_iter)


class _Relaxed(Algorithm):
    """An algorithm whose one number is beta, in (0, 2]."""

    beta: float | Tensor

    def __init__(self, n_iter: int = 1000, *, beta: float | Tensor = 0.9) -> None:
        super().__init__(n_iter, beta=_relaxation(beta))


class ErrorReduction(_Plain):
    """Alternating projections.

    .. math:: x_{n+1} = P_S P_M x_n

    The residual never grows; from a random start it stops in the nearest local minimum. Best as the last steps of a
    recipe, to settle what another algorithm found.

    Args:
        n_iter: Number of iterations.

    Example:
        >>> ErrorReduction(50)(torch.rand(24, 24), support=torch.ones(12, 12) > 0, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Gerchberg, Saxton (1972), Optik 35, 237; Fienup (1982), Phase retrieval algorithms: a comparison,
        doi:10.1364/AO.21.002758, eqs. 13-16.
    """

    on_the_box = True
    arrays = 7.0
    descends = True

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        return known.project(p)


class HIO(_Relaxed):
    r"""Fienup's hybrid input-output algorithm.

    .. math:: x_{n+1} = \begin{cases} P_M x_n & \text{where } P_M x_n \text{ agrees with what is known} \\
              x_n - \beta P_M x_n & \text{elsewhere} \end{cases}

    Args:
        n_iter: Number of iterations.
        beta: Feedback, in (0, 2].

    Example:
        >>> HIO(50)(torch.rand(24, 24), support=torch.ones(12, 12) > 0, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Fienup (1982), Phase retrieval algorithms: a comparison, doi:10.1364/AO.21.002758, eq. 44.
    """

    on_the_box = True
    arrays = 8.0

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        return hio_update(x, p, known, self.beta)


class RAAR(Algorithm):
    r"""Luke's relaxed averaged alternating reflections.

    .. math:: x_{n+1} = \tfrac{\beta_n}{2} (R_S R_M + I) x_n + (1 - \beta_n) P_M x_n
              = \beta_n \big(P_S(2 P_M x_n - x_n) + x_n\big) + (1 - 2 \beta_n) P_M x_n

    with the reflections R = 2 P - I. A pair (b0, b1) as beta is Luke's schedule
    :math:`\beta_n = b_1 + (b_0 - b_1) \exp(-(n/7)^3)`: it starts at b0 and comes to b1 in about ten iterations.

    The larger beta, the more starts find the object, and the less the iterate settles where noise leaves no solution:
    end it with :class:`ErrorReduction` there. With beta = 0.9, 0.95, 0.97 and 0.98 single starts find 49, 82, 87 and
    95 % of digits in a box, and 0, 38, 75 and 88 % a dense texture; the best of three starts of digits at a million
    photons has 37.8, 42.3, 42.6 and 39.0 dB (``python -m benchmarks.quality_peers``). A schedule from 0.75 to 0.97
    does much the same as 0.97, and runs slower. At fewer photons 0.9 is up to 1 dB better
    (``python -m benchmarks.quality_solvers noise``).

    Args:
        n_iter: Number of iterations.
        beta: Relaxation in (0, 1], or (b0, b1) for the schedule.

    Example:
        >>> RAAR(50)(torch.rand(24, 24), support=torch.ones(12, 12) > 0, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Luke (2005), Relaxed averaged alternating reflections for diffraction imaging,
        doi:10.1088/0266-5611/21/1/004.
    """

    on_the_box = True
    arrays = 8.0
    beta: float | Tensor | tuple[float, float]

    def __init__(self, n_iter: int = 1000, *, beta: float | Tensor | tuple[float, float] = 0.97) -> None:
        if isinstance(beta, tuple | list):
            if len(beta) != 2:
                _checks.fail(f"beta must be a number or a pair (b0, b1), got {beta!r}", "Use (0.75, 0.99), for example")
            first, last = (_checks.number(f"beta[{i}]", b, above=0, at_most=1) for i, b in enumerate(beta))
            super().__init__(n_iter, beta=(first, last))
        else:
            super().__init__(n_iter, beta=_relaxation(beta, at_most=1.0))

    @property
    def varies(self) -> bool:  # type: ignore[override]
        """Whether beta is a schedule."""
        return isinstance(self.beta, tuple)

    def beta_at(self, n: int) -> float | Tensor:
        """The relaxation of iteration n."""
        if not isinstance(self.beta, tuple):
            return self.beta
        first, last = self.beta
        return last + (first - last) * math.exp(-((n / 7) ** 3))

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        return raar_update(x, p, known, self.beta_at(n))


class DifferenceMap(_Relaxed):
    r"""Elser's difference map.

    .. math:: x_{n+1} = x_n + \beta \big(P_S f_M(x_n) - P_M f_S(x_n)\big), \quad
              f_M = (1 + \tfrac{1}{\beta}) P_M - \tfrac{1}{\beta}, \quad
              f_S = (1 - \tfrac{1}{\beta}) P_S + \tfrac{1}{\beta}

    Its two estimates, one on either constraint, are :math:`P_S f_M(x)` and :math:`P_M f_S(x)`; at a fixed point they
    are one. The first is the reconstruction; :meth:`estimates` gives both. An iteration costs two transform pairs.

    Args:
        n_iter: Number of iterations.
        beta: Step, in (0, 2].

    Example:
        >>> DifferenceMap(50)(torch.rand(24, 24), support=torch.ones(12, 12) > 0, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Elser (2003), Phase retrieval by iterated projections, doi:10.1364/JOSAA.20.000040, with the
        choice gamma_S = -1/beta, gamma_M = 1/beta.
    """

    arrays = 10.0

    def _points(self, x: Tensor, magnitude: Projection, known: ObjectConstraint) -> tuple[Tensor, Tensor]:
        f_m = (1 + 1 / self.beta) * magnitude(x) - x / self.beta
        f_s = (1 - 1 / self.beta) * known.project(x) + x / self.beta
        return f_m, f_s

    def estimates(self, x: Tensor, magnitude: Projection, known: ObjectConstraint) -> tuple[Tensor, Tensor]:
        """The two estimates of an iterate: P_S f_M(x), which agrees with what is known, and P_M f_S(x)."""
        f_m, f_s = self._points(x, magnitude, known)
        return known.project(f_m), magnitude(f_s)

    def step(self, x: Tensor, magnitude: Projection, known: ObjectConstraint, n: int) -> tuple[Tensor, Tensor]:
        f_m, f_s = self._points(x, magnitude, known)
        return x + self.beta * (known.project(f_m) - magnitude(f_s)), f_m


class RRR(_Relaxed):
    r"""Elser's relaxed-reflect-reflect.

    .. math:: x_{n+1} = x_n + \beta \big(P_M(2 P_S x_n - x_n) - P_S x_n\big)

    Args:
        n_iter: Number of iterations.
        beta: Step, in (0, 2].

    Example:
        >>> RRR(50)(torch.rand(24, 24), support=torch.ones(12, 12) > 0, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Elser, Lan, Bendory (2018), Benchmark problems for phase retrieval, doi:10.1137/18M1170364;
        P_S is its projection 1, P_M its projection 2.
    """

    on_the_box = True
    arrays = 7.0

    def __init__(self, n_iter: int = 1000, *, beta: float | Tensor = 0.5) -> None:
        super().__init__(n_iter, beta=beta)

    def query(self, x: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        return 2 * known.project(x) - x

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        return x + self.beta * (p - known.project(x))


class CHIO(Algorithm):
    r"""Continuous hybrid input-output for non-negative objects: HIO without the jump at P_M x = 0.

    .. math:: x_{n+1} = \begin{cases}
              p & \text{inside the support where } \alpha x_n \le p \\
              x_n - \frac{1 - \alpha}{\alpha} p & \text{inside the support where } 0 \le p \le \alpha x_n \\
              x_n - \beta p & \text{elsewhere} \end{cases} \qquad p = P_M x_n

    Args:
        n_iter: Number of iterations.
        beta: Feedback, in (0, 2].
        alpha: Where the two branches inside the support meet, in (0, 1].

    Example:
        >>> CHIO(50)(torch.rand(24, 24), support=torch.ones(12, 12) > 0, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Fienup (2003), Phase retrieval with continuous version of hybrid input-output, Frontiers in Optics, ThI3,
        doi:10.1364/FIO.2003.ThI3; alpha as in Marchesini (2007), doi:10.1063/1.2403783.
    """

    on_the_box = True
    arrays = 9.0
    beta: float | Tensor
    alpha: float

    def __init__(self, n_iter: int = 1000, *, beta: float | Tensor = 0.9, alpha: float = 0.4) -> None:
        alpha = _checks.number("alpha", alpha, above=0, at_most=1)
        super().__init__(n_iter, beta=_relaxation(beta), alpha=alpha)

    def check(self, run: Run) -> None:
        if run.problem.known.constraint != "nonnegative":
            given = run.problem.known.constraint
            _checks.fail(f"constraint must be 'nonnegative', got {given!r}", "Use HIO for other objects")

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        # the larger of the two branches is the one that holds
        inside = torch.maximum(p, x - (1 - self.alpha) / self.alpha * p)
        return known.choose(p, inside, x - self.beta * p)


class ASR(_Plain):
    r"""Averaged successive reflections: RAAR with beta = 1.

    .. math:: x_{n+1} = \tfrac{1}{2} (R_S R_M + I) x_n = P_S(2 P_M x_n - x_n) + x_n - P_M x_n

    Args:
        n_iter: Number of iterations.

    Example:
        >>> ASR(50)(torch.rand(24, 24), support=torch.ones(12, 12) > 0, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Bauschke, Combettes, Luke (2002), Phase retrieval, error reduction algorithm, and Fienup variants,
        doi:10.1364/JOSAA.19.001334.
    """

    on_the_box = True
    arrays = 8.0

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        return known.project(2 * p - x) + x - p


class HPR(_Relaxed):
    r"""Hybrid projection reflection; with a support alone it is HIO.

    .. math:: x_{n+1} = \tfrac{1}{2} \big(R_S (R_M + (\beta - 1) P_M) + I + (1 - \beta) P_M\big) x_n
              = P_S\big((1 + \beta) P_M x_n - x_n\big) + x_n - \beta P_M x_n

    Args:
        n_iter: Number of iterations.
        beta: Relaxation, in (0, 2].

    Example:
        >>> HPR(50)(torch.rand(24, 24), support=torch.ones(12, 12) > 0, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Bauschke, Combettes, Luke (2003), Hybrid projection-reflection method for phase retrieval,
        doi:10.1364/JOSAA.20.001025.
    """

    on_the_box = True
    arrays = 8.0

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        return known.project((1 + self.beta) * p - x) + x - self.beta * p


# Iterations of OSS from one look at the misfit to the next, and the least of a stage.
_LOOK = 10


class OSS(Algorithm):
    r"""Oversampling smoothness: HIO whose density outside the support is smoothed, for noisy data.

    .. math:: x_{n+1} = \begin{cases} x' & \text{inside the support} \\
              F^{-1}[W F x'] & \text{outside} \end{cases} \qquad W_k = \exp\big(-\tfrac{1}{2} |k|^2 / \alpha^2\big)

    with x' the HIO update. The width alpha falls evenly from 2 m to m / 10, m being the grid's size: once per stage.
    The iterate whose estimate fits the data best is remembered: each stage begins with it, and the last ends with it.
    It is looked for every ten iterations and where a stage ends. An iteration costs two transform pairs, and a look
    three more. Without a support it is HIO that ends with the best.

    Digits of 10\ :sup:`5`, 10\ :sup:`4` and 10\ :sup:`3` photons come out at 29.9, 21.8 and 16.8 dB, where RAAR with
    beta = 0.9, then error reduction, has 27.9, 21.0 and 16.4 (``python -m benchmarks.quality_solvers noise``).

    Args:
        n_iter: Number of iterations.
        beta: Feedback, in (0, 2].
        stages: Number of filter widths; a stage has ten iterations at least, so that a short run has fewer.

    Example:
        >>> OSS(50)(torch.rand(24, 24), support=torch.ones(12, 12) > 0, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Rodriguez, Xu, Chen, Zou, Miao (2013), Oversampling smoothness: an effective algorithm for phase retrieval of
        noisy diffraction intensities, doi:10.1107/S0021889813002471. Its last width is near 0, which leaves a
        constant outside; that of the program that its authors published is m / 5. Digits at 10\ :sup:`3` photons are
        better with ours. In the source a stage begins with the best iterate of the last stage; here it is the best of
        all so far.
    """

    arrays = 14.0
    varies = True
    beta: float | Tensor
    stages: int

    def __init__(self, n_iter: int = 1000, *, beta: float | Tensor = 0.9, stages: int = 10) -> None:
        stages = _checks.integer("stages", stages, at_least=2)
        super().__init__(n_iter, beta=_relaxation(beta), stages=stages)

    def enter(self, x: Tensor) -> Tensor:
        return torch.stack((x, x), dim=2)

    def leave(self, state: Tensor) -> Tensor:
        return state[:, :, 0]

    def stage(self, n: int) -> tuple[int, int]:
        """The stage that iteration n belongs to, and the number of stages."""
        count = max(1, min(self.stages, self.n_iter // _LOOK))
        return n * count // self.n_iter, count

    def width(self, n: int, size: int) -> float:
        """Width alpha of the filter in iteration n, in frequency pixels of a grid of this size."""
        stage, count = self.stage(n)
        return size * (2 - 1.9 * stage / max(1, count - 1))

    def step(self, x: Tensor, magnitude: Projection, known: ObjectConstraint, n: int) -> tuple[Tensor, Tensor]:
        x, best = x.unbind(2)
        p = magnitude(x)
        new = hio_update(x, p.clone(), known, self.beta)
        if known.support is not None:
            # relative to the size, so that the filter is isotropic on a grid of unequal sides
            size = max(x.shape[-known.ndim :])
            smooth = _fft.blur(new, known.ndim, (size / self.width(n, size)) ** 2 / 2)
            new = smooth + (new - smooth) * known.support
        stage_ends = self.stage(n + 1) > self.stage(n)
        if stage_ends or n % _LOOK == _LOOK - 1:
            better = _misfit(p, magnitude, known) < _misfit(magnitude(best), magnitude, known)
            best = torch.where(better, x, best)
        if stage_ends:
            new = best
        return torch.stack((new, best), dim=2), magnitude(best) if n + 1 == self.n_iter else p


def _misfit(p: Tensor, magnitude: Projection, known: ObjectConstraint) -> Tensor:
    """Squared distance of the estimate of each p = P_M x from the measured magnitude."""
    estimate = known.project(p)
    return _fft.power(magnitude(estimate) - estimate).sum(tuple(range(-known.ndim, 0)), keepdim=True)


class SolventFlip(_Plain):
    """Solvent flipping: what does not agree with what is known changes its sign.

    .. math:: x_{n+1} = R_S P_M x_n = 2 P_S P_M x_n - P_M x_n

    Args:
        n_iter: Number of iterations.

    Example:
        >>> SolventFlip(50)(torch.rand(24, 24), support=torch.ones(12, 12) > 0, constraint="real").obj.shape
        torch.Size([12, 12])

    Source:
        Abrahams, Leslie (1996), Methods used in the structure determination of bovine mitochondrial F1 ATPase,
        doi:10.1107/S0907444995008754, as written by Marchesini (2007), doi:10.1063/1.2403783.
    """

    on_the_box = True
    arrays = 7.0

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        return 2 * known.project(p) - p


class ChargeFlip(Algorithm):
    r"""Charge flipping: density below a level changes its sign; needs no support, only that the density is sparse.

    .. math:: x_{n+1} = \begin{cases} P_M x_n & \text{where } P_M x_n > \delta \sigma \\
              -P_M x_n & \text{elsewhere} \end{cases}

    with the standard deviation sigma of P_M x of each item; what is known of the object enters the estimate only. The
    object must be real.

    Args:
        n_iter: Number of iterations.
        delta: Level in units of the density's standard deviation, positive.

    Example:
        >>> intensity = pr.operators.fourier_intensity(torch.rand(12, 12).pow(9), (24, 24))
        >>> ChargeFlip(50)(intensity, constraint="nonnegative").obj.shape
        torch.Size([24, 24])

    Source:
        Oszlanyi, Suto (2004), Ab initio structure solution by charge flipping, doi:10.1107/S0108767303027569.
        In the source the level is a constant; here it is in units of the density's standard deviation.
    """

    arrays = 9.0
    delta: float

    def __init__(self, n_iter: int = 1000, *, delta: float = 1.2) -> None:
        super().__init__(n_iter, delta=_checks.number("delta", delta, above=0))

    def check(self, run: Run) -> None:
        if not run.problem.real:
            fix = "Charge flipping compares values with a level"
            _checks.fail("constraint must be 'real' or 'nonnegative', got 'complex'", fix)

    def step(self, x: Tensor, magnitude: Projection, known: ObjectConstraint, n: int) -> tuple[Tensor, Tensor]:
        p = magnitude(x)
        level = self.delta * p.std(tuple(range(-known.ndim, 0)), correction=0, keepdim=True)
        return torch.where(p > level, p, -p), p


class ADMM(_Relaxed):
    r"""Alternating direction method of multipliers on the two constraints.

    .. math:: x_{n+1} = P_S(z_n - u_n), \quad z_{n+1} = P_M(x_{n+1} + u_n), \quad
              u_{n+1} = u_n + \beta (x_{n+1} - z_{n+1})

    It starts with z from the initial iterate and u = 0.

    Args:
        n_iter: Number of iterations.
        beta: Step of the multiplier, in (0, 2]; below the golden ratio, 1.618, in the convex theory.

    Example:
        >>> ADMM(50)(torch.rand(24, 24), support=torch.ones(12, 12) > 0, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Wen, Yang, Liu, Marchesini (2012), Alternating direction methods for classical and ptychographic phase
        retrieval, doi:10.1088/0266-5611/28/11/115010; in the scaled form of Boyd et al. (2011),
        doi:10.1561/2200000016, section 9.1.
    """

    arrays = 11.0

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


# What a schedule calls them. A new algorithm is a class above, a row here, and a name in the list of `solvers`.
ALGORITHMS: dict[str, type[Step]] = {
    "er": ErrorReduction,
    "hio": HIO,
    "raar": RAAR,
    "dm": DifferenceMap,
    "rrr": RRR,
    "chio": CHIO,
    "asr": ASR,
    "hpr": HPR,
    "oss": OSS,
    "sf": SolventFlip,
    "cf": ChargeFlip,
    "admm": ADMM,
    "sparse": SparseRRR,
}
