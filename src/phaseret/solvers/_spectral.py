"""Iterations on the spectra of the iterates: the error of their estimates costs no transform.

Most algorithms are linear in the iterate x, in p = P_M y, and in one projection s = P_S z on what is known: then the
spectrum of the next iterate follows from those of x, p and s, which an iteration has at hand. Its two transforms are
that of s, which also says how well s fits the data, and the inverse that gives z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from phaseret import _fft
from phaseret.projections import ObjectConstraint
from phaseret.solvers._run import Items, Run, write

if TYPE_CHECKING:
    from phaseret.solvers._loop import Algorithm

# Of factors, which are numbers near 1.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Form:
    """An iteration as factors: s = P_S(z), y = query . (x, s), p = P_M(y), x' = update . (x, p, s).

    All factors of a point add up to 1: an object that fits the data and what is known is x, p and s of a fixed point.
    Either z is a multiple of x, and s is there before y (`first`), or z = point . (x, p), and y is x.
    """

    first: bool
    query: tuple[float, float]
    point: tuple[float, float]
    update: tuple[float, float, float]


class _Other(Exception):
    """The iteration is not of this form."""


class _Noted(ObjectConstraint):
    """What is known, where x, p and s = P_S z are the axes of a space: its projections are s, and z is noted."""

    point: Tensor | None = None

    def project(self, x: Tensor) -> Tensor:
        if self.point is not None and not torch.equal(x, self.point):
            raise _Other
        self.point = x
        return torch.tensor([0.0, 0.0, 1.0], dtype=x.dtype)

    def choose(self, x: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
        raise _Other


def form_of(algorithm: Algorithm, n: int = 0) -> Form | None:
    """The factors of iteration n, if it has some: its formulas are those of each pixel, and of projections."""
    noted, (x, p, _) = _Noted(), torch.eye(3, dtype=torch.float64)
    try:
        y = algorithm.query(x, noted, n)
        first = noted.point is not None
        update = algorithm.iterate(x, p, noted, n)
    except _Other:
        return None
    if noted.point is None or (not first and not torch.equal(y, x)):
        return None
    if any(abs(float(factors.sum()) - 1) > _ROUNDING for factors in (y, noted.point, update)):
        return None
    (y_x, _, y_s), (z_x, z_p, _), (a, b, c) = y.tolist(), noted.point.tolist(), update.tolist()
    return Form(first, (y_x, y_s), (z_x, z_p), (a, b, c))


class Spectral:
    """How the iterations of an algorithm of this form run on the spectra of the iterates.

    The state is the spectrum of x times its factor in y, and, stacked behind it where s comes first, that of s.
    """

    # How many of the grid's size each item needs, beside what the run keeps.
    arrays = 12.0

    def __init__(self, run: Run, algorithm: Algorithm, form: Form) -> None:
        self.run, self.algorithm, self.form = run, algorithm, form
        self.shape, self.size, self.box = run.problem.shape, math.prod(run.problem.shape), run.problem.box
        # Zeros outside of the box.
        self._grid: Tensor | None = None

    def enter(self) -> None:
        """Make the state of the iterates."""
        run, problem, form = self.run, self.run.problem, self.form
        half = (*self.shape[:-1], _fft.half_size(self.shape[-1])) if problem.real else self.shape
        stack = (2,) if form.first else ()
        dtype, device = problem.dtype.to_complex(), problem.device
        state = torch.empty((*run.error.shape, *stack, *half), dtype=dtype, device=device)

        def enter(items: Items) -> None:
            x = run.iterate[items]
            spectrum = _fft.transform(x, problem.ndim)
            if form.first:
                s = run.known(items, whole=False).project(form.point[0] * problem.crop(x))
                spectrum = torch.stack((spectrum.mul_(form.query[0]), self._transform(s)), dim=2)
            state[items] = spectrum

        run.in_pieces(enter, run.pieces(self.arrays))
        run.state = state

    def leave(self) -> Tensor:
        """The iterates of the state."""
        field = self.run.state[:, :, 0] if self.form.first else self.run.state
        return _fft.inverse_sum(field, self.shape, self.run.problem.real).mul_(1 / (self.form.query[0] * self.size))

    def _transform(self, s: Tensor) -> Tensor:
        items = s.shape[:2].numel()
        if self._grid is None or len(self._grid) < items:
            self._grid = s.new_zeros((items, *self.shape))
        grid = self._grid[:items].view(*s.shape[:2], *self.shape)
        self.run.problem.crop(grid).copy_(s)
        return _fft.transform(grid, len(self.shape))

    def _inverse(self, field: Tensor) -> Tensor:
        return _fft.box_inverse_sum(field, self.shape, self.box, self.run.problem.real)

    def block(self, count: int, error: Tensor, items: Items) -> None:
        """So many iterations of some items; their errors are written to `error`.

        The estimates are s; at the end of the algorithm those that do not solve are P_S p, as without a tolerance.
        """
        run, first = self.run, self.form.first
        magnitude, known = run.magnitude(items), run.known(items, whole=False)
        state = run.state[items]
        if state.is_cuda:  # where memory may end halfway the state stays until then
            state = state.clone()
        x, s_hat = state.unbind(2) if first else (state, state)
        for n in range(run.done, run.done + count):
            form = self._form_at(n)
            y = _sum(x, s_hat, form.query[1]) if first else x.clone()
            q = magnitude.fit(magnitude.completed(y), zeros=n == 0 and run.iteration == 0 and run.given)
            if first:
                self._update(x, q, s_hat, form)
            s = known.project(self._point(x, q, form))
            s_hat = self._transform(s)
            if not first:
                self._update(x, q, s_hat, form)
        found = magnitude.residual_of(magnitude.completed(s_hat))
        if run.done + count == self.algorithm.n_iter:
            fitted = known.project(self._inverse(q))
            solves = found <= cast(float, run.tolerance)
            s = torch.where(solves[(...,) + (None,) * len(self.shape)], s, fitted)
            found = torch.where(solves, found, magnitude.residual(fitted))
        error[items], run.estimate[items] = found, s
        if first:
            state[:, :, 1] = s_hat
        write(run.state, items, state)

    def _form_at(self, n: int) -> Form:
        return cast(Form, form_of(self.algorithm, n)) if self.algorithm.varies else self.form

    def _update(self, x: Tensor, q: Tensor, s_hat: Tensor, form: Form) -> None:
        """The next iterate's spectrum, in place."""
        a, b, c = form.update
        if a != 1:
            x.mul_(a)
        pairs = torch.view_as_real(x)
        if b:
            pairs.add_(torch.view_as_real(q), alpha=form.query[0] * b * self.size)
        pairs.add_(torch.view_as_real(s_hat), alpha=form.query[0] * c)

    def _point(self, x: Tensor, q: Tensor, form: Form) -> Tensor:
        """z on the box."""
        z_x, z_p = form.point
        if z_x == 0:
            return self._inverse(q) * z_p
        factor = z_x / (form.query[0] * self.size)
        return self._inverse(_sum(x, q, z_p / factor) if z_p else x) * factor


def _sum(field: Tensor, other: Tensor, factor: float) -> Tensor:
    """The field and so many times the other: faster on pairs of numbers."""
    return torch.view_as_complex(torch.add(torch.view_as_real(field), torch.view_as_real(other), alpha=factor))
