"""The algorithms: each is two projections and one update line; the loop is in `_loop`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

from phaseret import _checks
from phaseret.projections import ObjectConstraint
from phaseret.solvers._loop import Algorithm, Projection

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from phaseret.solvers._loop import Options
    from phaseret.solvers._result import Reconstruction


class Relaxed(Algorithm):
    """An algorithm with a relaxation parameter beta: a number, or a tensor that may be learned."""

    beta: float | Tensor

    most_beta = 2.0

    def __init__(self, n_iter: int = 1000, *, beta: float | Tensor = 0.9) -> None:
        super().__init__(n_iter)
        if isinstance(beta, Tensor):
            _checks.real(beta=beta)
            self.beta = beta
        else:
            self.beta = _checks.number("beta", beta, above=0, at_most=self.most_beta)

    def extra_repr(self) -> str:
        beta = self.beta.detach().tolist() if isinstance(self.beta, Tensor) else self.beta
        return f"n_iter={self.n_iter}, beta={beta}"


def error_reduction(intensity: Tensor, *, n_iter: int = 1000, **options: Unpack[Options]) -> Reconstruction:
    r"""Alternating projections.

    .. math:: x_{n+1} = P_S P_M x_n

    The residual never grows; from a random start it stops in the nearest local minimum. Best as the last steps of a
    recipe, to settle what another algorithm found.

    Args:
        intensity: Measured intensity.
        n_iter: Number of iterations.
        **options: As in :func:`reconstruct`: support, mask, constraint, starts, init, seed ...

    Returns:
        :class:`Reconstruction`.

    Example:
        >>> obj = torch.rand(12, 12)
        >>> intensity = pr.operators.fourier_intensity(obj, (24, 24))
        >>> support = torch.ones(12, 12, dtype=torch.bool)
        >>> error_reduction(intensity, n_iter=50, support=support, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Gerchberg, Saxton (1972), Optik 35, 237; Fienup (1982), Phase retrieval algorithms: a comparison,
        doi:10.1364/AO.21.002758, eqs. 13-16.
    """
    return ErrorReduction(n_iter)(intensity, **options)


class ErrorReduction(Algorithm):
    """Module of :func:`error_reduction`.

    Args:
        n_iter: Number of iterations.
    """

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        return known.project(p)


def hio(
    intensity: Tensor, *, n_iter: int = 1000, beta: float | Tensor = 0.9, **options: Unpack[Options]
) -> Reconstruction:
    r"""Fienup's hybrid input-output algorithm.

    .. math:: x_{n+1} = \begin{cases} P_M x_n & \text{where } P_M x_n \text{ agrees with what is known} \\
              x_n - \beta P_M x_n & \text{elsewhere} \end{cases}

    Args:
        intensity: Measured intensity.
        n_iter: Number of iterations.
        beta: Feedback, in (0, 2].
        **options: As in :func:`reconstruct`: support, mask, constraint, starts, init, seed ...

    Returns:
        :class:`Reconstruction`.

    Example:
        >>> obj = torch.rand(12, 12)
        >>> intensity = pr.operators.fourier_intensity(obj, (24, 24))
        >>> support = torch.ones(12, 12, dtype=torch.bool)
        >>> hio(intensity, n_iter=50, support=support, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Fienup (1982), Phase retrieval algorithms: a comparison, doi:10.1364/AO.21.002758, eq. 44.
    """
    return HIO(n_iter, beta=beta)(intensity, **options)


class HIO(Relaxed):
    """Module of :func:`hio`.

    Args:
        n_iter: Number of iterations.
        beta: Feedback, in (0, 2].
    """

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        return known.choose(p, p, x - self.beta * p)


def raar(
    intensity: Tensor,
    *,
    n_iter: int = 1000,
    beta: float | Tensor | tuple[float, float] = 0.9,
    **options: Unpack[Options],
) -> Reconstruction:
    r"""Luke's relaxed averaged alternating reflections.

    .. math:: x_{n+1} = \tfrac{\beta_n}{2} (R_S R_M + I) x_n + (1 - \beta_n) P_M x_n
              = \beta_n \big(P_S(2 P_M x_n - x_n) + x_n\big) + (1 - 2 \beta_n) P_M x_n

    with the reflections R = 2 P - I. A pair (b0, b1) as beta is Luke's schedule
    :math:`\beta_n = b_1 + (b_0 - b_1) \exp(-(n/7)^3)`: it starts at b0 and comes to b1 in about ten iterations.

    Args:
        intensity: Measured intensity.
        n_iter: Number of iterations.
        beta: Relaxation in (0, 1], or (b0, b1) for the schedule.
        **options: As in :func:`reconstruct`: support, mask, constraint, starts, init, seed ...

    Returns:
        :class:`Reconstruction`.

    Example:
        >>> obj = torch.rand(12, 12)
        >>> intensity = pr.operators.fourier_intensity(obj, (24, 24))
        >>> support = torch.ones(12, 12, dtype=torch.bool)
        >>> raar(intensity, n_iter=50, support=support, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Luke (2005), Relaxed averaged alternating reflections for diffraction imaging,
        doi:10.1088/0266-5611/21/1/004.
    """
    return RAAR(n_iter, beta=beta)(intensity, **options)


class RAAR(Relaxed):
    """Module of :func:`raar`.

    Args:
        n_iter: Number of iterations.
        beta: Relaxation in (0, 1], or (b0, b1) for the schedule.
    """

    most_beta = 1.0

    def __init__(self, n_iter: int = 1000, *, beta: float | Tensor | tuple[float, float] = 0.9) -> None:
        if isinstance(beta, tuple | list):
            if len(beta) != 2:
                _checks.fail(f"beta must be a number or a pair (b0, b1), got {beta!r}", "Use (0.75, 0.99), for example")
            first = _checks.number("beta[0]", beta[0], above=0, at_most=1)
            super().__init__(n_iter, beta=beta[1])
            self.first_beta: float | None = first
            self.varies = True
        else:
            super().__init__(n_iter, beta=beta)
            self.first_beta = None

    def beta_at(self, n: int) -> float | Tensor:
        """The relaxation of iteration n."""
        if self.first_beta is None:
            return self.beta
        return self.beta + (self.first_beta - self.beta) * math.exp(-((n / 7) ** 3))

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        beta = self.beta_at(n)
        return beta * (known.project(2 * p - x) + x) + (1 - 2 * beta) * p

    def extra_repr(self) -> str:
        text = super().extra_repr()
        return text if self.first_beta is None else f"n_iter={self.n_iter}, beta=({self.first_beta}, {self.beta})"


def difference_map(
    intensity: Tensor, *, n_iter: int = 1000, beta: float | Tensor = 0.9, **options: Unpack[Options]
) -> Reconstruction:
    r"""Elser's difference map.

    .. math:: x_{n+1} = x_n + \beta \big(P_S f_M(x_n) - P_M f_S(x_n)\big), \quad
              f_M = (1 + \tfrac1\beta) P_M - \tfrac1\beta, \quad f_S = (1 - \tfrac1\beta) P_S + \tfrac1\beta

    Its two estimates, one on either constraint, are :math:`P_S f_M(x)` and :math:`P_M f_S(x)`; at a fixed point they
    are one. The first is the reconstruction; :meth:`estimates` gives both. An iteration costs two transform pairs.

    Args:
        intensity: Measured intensity.
        n_iter: Number of iterations.
        beta: Step, in (0, 2].
        **options: As in :func:`reconstruct`: support, mask, constraint, starts, init, seed ...

    Returns:
        :class:`Reconstruction`.

    Example:
        >>> obj = torch.rand(12, 12)
        >>> intensity = pr.operators.fourier_intensity(obj, (24, 24))
        >>> support = torch.ones(12, 12, dtype=torch.bool)
        >>> difference_map(intensity, n_iter=50, support=support, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Elser (2003), Phase retrieval by iterated projections, doi:10.1364/JOSAA.20.000040, with the
        choice gamma_S = -1/beta, gamma_M = 1/beta.
    """
    return DifferenceMap(n_iter, beta=beta)(intensity, **options)


class DifferenceMap(Relaxed):
    """Module of :func:`difference_map`.

    Args:
        n_iter: Number of iterations.
        beta: Step, in (0, 2].
    """

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


def rrr(
    intensity: Tensor, *, n_iter: int = 1000, beta: float | Tensor = 0.5, **options: Unpack[Options]
) -> Reconstruction:
    r"""Elser's relaxed-reflect-reflect.

    .. math:: x_{n+1} = x_n + \beta \big(P_M(2 P_S x_n - x_n) - P_S x_n\big)

    Args:
        intensity: Measured intensity.
        n_iter: Number of iterations.
        beta: Step, in (0, 2).
        **options: As in :func:`reconstruct`: support, mask, constraint, starts, init, seed ...

    Returns:
        :class:`Reconstruction`.

    Example:
        >>> obj = torch.rand(12, 12)
        >>> intensity = pr.operators.fourier_intensity(obj, (24, 24))
        >>> support = torch.ones(12, 12, dtype=torch.bool)
        >>> rrr(intensity, n_iter=50, support=support, constraint="nonnegative").obj.shape
        torch.Size([12, 12])

    Source:
        Elser, Lan, Bendory (2018), Benchmark problems for phase retrieval, doi:10.1137/18M1170364;
        P_S is its projection 1, P_M its projection 2.
    """
    return RRR(n_iter, beta=beta)(intensity, **options)


class RRR(Relaxed):
    """Module of :func:`rrr`.

    Args:
        n_iter: Number of iterations.
        beta: Step, in (0, 2).
    """

    def __init__(self, n_iter: int = 1000, *, beta: float | Tensor = 0.5) -> None:
        super().__init__(n_iter, beta=beta)

    def query(self, x: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        return 2 * known.project(x) - x

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        return x + self.beta * (p - known.project(x))
