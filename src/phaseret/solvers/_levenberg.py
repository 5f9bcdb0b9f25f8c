"""Levenberg-Marquardt: the last step, quadratic near the solution."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory
from phaseret.solvers._loop import AtOnce
from phaseret.solvers._run import ALL, Run

# The damping is this factor of the residual at first, falls and rises by these factors, and gives up above the last.
_DAMPING, _FALL, _RISE, _MOST = 1.0, 0.1, 8.0, 1e6
# It ends where the squared error falls by less than this share, or where the residual is rounding, in units of eps.
_SLOW, _ROUNDING = 1e-9, 10.0


class LeastSquares:
    r"""The sum of :math:`w (|F x| - b)^2` for an object of p free pixels on a grid, and its Gauss-Newton system.

    With :math:`u = \overline{F x} / |F x|` the entries of the system are values of two transforms, of :math:`w` at the
    differences and of :math:`w u^2` at the sums of the pixels' places: it costs its size, and no product.

    Args:
        magnitude: b, (m1..md), of a transform without normalisation.
        weight: w, the same shape; None for 1.
        places: (p, d) integers.
        real: Whether the pixels are real.
        beside: What is known to stand beside the pixels, (n1..nd) in the corner of the grid; None for nothing.
    """

    def __init__(
        self, magnitude: Tensor, weight: Tensor | None, places: Tensor, real: bool, beside: Tensor | None = None
    ) -> None:
        self.b, self.real, self.shape = magnitude.double(), real, tuple(magnitude.shape)
        self._beside = None if beside is None else self._spectrum(_fft.pad(beside, self.shape))
        self.w = torch.ones_like(self.b) if weight is None else weight.to(self.b)
        self.total = float((self.w * self.b.square()).sum())
        self._at = self._index(places)
        self._sums = self._index(places[:, None] + places)
        self._differences = self._index(places - places[:, None])

    def _index(self, places: Tensor) -> Tensor:
        """Where places modulo the grid are in a flat array."""
        index = torch.zeros_like(places[..., 0])
        for axis, m in enumerate(self.shape):
            index = index * m + places[..., axis].remainder(m)
        return index

    def field(self, x: Tensor) -> Tensor:
        """F x on the whole plane, x with what stands beside it."""
        grid = x.new_zeros(math.prod(self.shape))
        grid[self._at] = x
        field = self._spectrum(grid.reshape(self.shape))
        return field if self._beside is None else field + self._beside

    def _spectrum(self, grid: Tensor) -> Tensor:
        x = grid.to(torch.float64 if self.real else torch.complex128)
        return _fft.full_plane(x, self.shape, "backward")

    def cost(self, field: Tensor) -> float:
        """The sum."""
        return float((self.w * (field.abs() - self.b).square()).sum())

    def system(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """The normal matrix and the gradient, of the real parts and, for complex pixels, the imaginary ones."""
        size = field.abs()
        u = torch.where(size > 0, field.conj() / _fft.divisor(size), 0)
        parts = torch.stack([self.w * (size - self.b) * u, self.w * u.square(), self.w * (size > 0) + 0j])
        slope, squares, weights = _fft.full_plane(parts, self.shape, "backward").flatten(1)
        gradient, squares, weights = slope[self._at], squares[self._sums], weights[self._differences]
        both = (weights + squares) / 2
        if self.real:
            return both.real, gradient.real
        cross = -both.imag
        rows = torch.cat([both.real, cross], 1), torch.cat([cross.T, (weights - squares).real / 2], 1)
        return torch.cat(rows), torch.cat([gradient.real, -gradient.imag])

    def minimize(self, x: Tensor, n_iter: int) -> Tensor:
        """The pixels (p) after at most so many steps, none of which makes the sum larger."""
        x = x.to(torch.float64 if self.real else torch.complex128)
        field, damping = self.field(x), _DAMPING
        cost = self.cost(field)
        floor = self.total * (_ROUNDING * torch.finfo(torch.float64).eps) ** 2
        for _ in range(n_iter):
            if cost <= floor:
                break
            normal, gradient = self.system(field)
            before, unit = cost, normal.diagonal().mean() * (cost / self.total) ** 0.5
            while damping < _MOST:
                moved = x - self._step(normal, gradient, damping * unit)
                field = self.field(moved)
                cost = self.cost(field)
                if cost < before:
                    break
                damping *= _RISE
            if not cost < before:
                break
            x, damping = moved, damping * _FALL
            if before - cost < _SLOW * before:
                break
        return x

    def _step(self, normal: Tensor, gradient: Tensor, damping: Tensor) -> Tensor:
        """What the damped system takes off the pixels; nothing where its matrix is singular."""
        damped = normal.clone()
        damped.diagonal().add_(damping)
        factor, info = torch.linalg.cholesky_ex(damped)
        step = torch.cholesky_solve(gradient[:, None], factor)[:, 0]
        step = torch.where(info == 0, step, 0.0)
        return step if self.real else torch.complex(*step.unflatten(0, (2, -1)))


class LevenbergMarquardt(AtOnce):
    r"""Minimise the squared error of the magnitudes over the pixels of the support: from nearly right to rounding.

    .. math:: \min_x \sum \big(|F x| - \sqrt Y\big)^2

    over the measured pixels. Near a solution each step squares the error, where error reduction takes hundreds of
    iterations for a digit: a few steps of it end a reconstruction of data without noise at 1e-15 in double precision.
    It does not find an object, and knows of no bounds but whether the object is real and which part of it is known;
    the result is projected on what is known at the end. Computed in double precision. A step takes a Cholesky
    factorisation of a matrix of the pixels of the support (twice as many for a complex object), so that it is for some
    thousands of pixels.

    Args:
        n_iter: Largest number of steps: it ends where they gain nothing more.

    Example:
        >>> obj = torch.rand(8, 8, dtype=torch.float64)
        >>> intensity = pr.operators.fourier_intensity(obj, (16, 16))
        >>> near, box = obj + 0.01 * torch.rand(8, 8), torch.ones(8, 8) > 0
        >>> r = LevenbergMarquardt(10)(intensity, support=box, constraint="real", init=near)
        >>> bool(r.error < 1e-14)
        True

    Source:
        Marquardt (1963), An algorithm for least-squares estimation of nonlinear parameters, doi:10.1137/0111030; the
        damping in proportion to the residual is that of Fan, Yuan (2005), On the quadratic convergence of the
        Levenberg-Marquardt method without nonsingularity assumption, doi:10.1007/s00607-004-0083-1.
    """

    def __init__(self, n_iter: int = 1000) -> None:
        super().__init__(n_iter=_checks.integer("n_iter", n_iter))

    def check(self, run: Run) -> None:
        run.refuse_gradient()
        problem = run.problem
        check_double(problem.device)
        if problem.magnitude.spread is not None:
            rule = "point_spread and coherence must be left out for LevenbergMarquardt, got one of them"
            _checks.fail(rule, "Use error reduction, 'er:100', at the end instead")
        unknowns = math.prod(problem.box_shape) * (1 if problem.real else 2)
        fix = "Use a tighter support, or error reduction instead"
        _memory.check_fits("support", 4 * 8 * unknowns**2, fix, f"a box of {problem.box_shape}", problem.device)

    def work(self, run: Run) -> None:
        problem, magnitude, weight = run.problem, *magnitudes(run)
        known, estimate = run.known(ALL, whole=False), run.to_refine()
        free = torch.ones_like(estimate, dtype=torch.bool)
        if problem.known.support_size is not None:
            free = estimate != 0
        elif known.support is not None:
            free = free & known.support.bool()
        corner = torch.tensor([s.start for s in problem.box], device=problem.device)
        refined = torch.zeros_like(estimate)
        for p, s in torch.cartesian_prod(*(torch.arange(n) for n in estimate.shape[:2])).tolist():
            here = free[p, s]
            beside = None if problem.reference is None else problem.reference[p % len(problem.reference), 0]
            fit = LeastSquares(
                magnitude[p], None if weight is None else weight[p], here.nonzero() + corner, problem.real, beside
            )
            refined[p, s, here] = fit.minimize(estimate[p, s, here], self.n_iter).to(refined.dtype)
        run.estimate = known.project(refined)
        run.iterate = problem.embed(run.estimate)


def check_double(device: torch.device) -> None:
    """The device computes in double precision."""
    if device.type == "mps":
        _checks.fail("the device must compute in double precision, got mps", "Move the intensity with .cpu()")


def magnitudes(run: Run) -> tuple[Tensor, Tensor | None]:
    """The measured magnitudes (patterns, *grid) of a transform without normalisation, and their weights, on planes."""
    intensity, mask = run.problem.magnitude.planes()
    magnitude = intensity.double().sqrt() * math.prod(run.problem.shape)
    return magnitude[:, 0], None if mask is None else mask.expand_as(intensity)[:, 0].double()
