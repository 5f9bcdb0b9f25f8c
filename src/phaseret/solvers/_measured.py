"""What the gradient methods share: intensities with their operator, sums and scales of each item, and the one loop.

Patterns x starts are one batch: objects are (*, starts, object), and intensities (*, 1, data).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory
from phaseret._module import seeded
from phaseret.operators import Operator
from phaseret.operators._data import check_lit, is_fourier, operator_of, without_background
from phaseret.operators._hot import ask_about_hot
from phaseret.operators._validate import look
from phaseret.projections import CONSTRAINTS, Constraint
from phaseret.projections._spread import Kernel, check_shares, of_data
from phaseret.solvers._options import checked_tolerance
from phaseret.solvers._result import Reconstruction, warn_of_disagreement

Move = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


class Measured:
    """Intensities and their operator, with sums and scales per item; and the loop of all gradient methods."""

    def __init__(
        self,
        intensity: Tensor,
        operator: Operator,
        object_shape: Sequence[int] | None,
        mask: Tensor | None,
        constraint: Constraint,
        n_iter: int,
        check_every: int = 1,
        background: Tensor | float | None = None,
        tol: float | None = 0.0,
        point_spread: Tensor | None = None,
        tolerance: float | None = None,
    ) -> None:
        self.began = time.perf_counter()
        Operator.check(operator)
        _checks.real(intensity=intensity)
        _checks.rank(operator.data_ndim, intensity=intensity)
        _checks.choice("constraint", constraint, CONSTRAINTS)
        self.n_iter = _checks.integer("n_iter", n_iter)
        self.check_every = _checks.integer("check_every", check_every)
        intensity = _fft.promote(intensity)
        rounding = torch.finfo(intensity.dtype).eps / 2
        self.tol = rounding if tol is None else _checks.number("tol", tol, at_least=0)
        self.tolerance = checked_tolerance(tolerance)
        self.batch = tuple(intensity.shape[: -operator.data_ndim])
        self.operator, self.object_shape, self.constraint = operator, object_shape, constraint
        self.real = constraint != "complex"
        self.data_axes = tuple(range(-operator.data_ndim, 0))
        self.object_axes = tuple(range(-operator.object_ndim, 0))
        self._factor, self._kernel = cast("Tensor | None", None), cast("Tensor | None", None)
        if point_spread is not None:
            if is_fourier(operator) and operator.onesided:
                fix = "Use the full plane: full data and an operator without onesided"
                _checks.fail("operator must not be onesided where there is a point_spread, got one that is", fix)
            check_shares(point_spread, operator.object_ndim)
            shared = of_data(point_spread, intensity, operator)
            kernel, self._kernel = self.for_starts(shared), self._shown(shared)
            self._factor = Kernel(kernel).factor(self._detector(intensity), real=False)
        self.weight = cast("Tensor | None", None)
        if mask is not None:
            mask = _checks.mask(mask, intensity)
        if not _memory.transformed():
            known = torch.ones_like(intensity, dtype=torch.bool) if mask is None else mask
            look(intensity, known, operator.data_ndim)
            if is_fourier(operator) and not operator.undersampled:
                ask_about_hot(intensity, mask, operator.data_ndim)
        if background is not None:
            intensity = without_background(intensity, background)
            check_lit(intensity, mask, operator.data_ndim)
        if mask is not None:
            self.weight = self.for_starts(mask.to(intensity.dtype))
            intensity = torch.where(mask, intensity, 0.0)
        # objects are found in units of their own, in which sums of fourth powers are numbers
        unit = _fft.root_unit(intensity, len(self.data_axes))
        intensity = self.for_starts(intensity / unit.square())
        self.unit = unit.reshape(*self.batch, 1)
        self.intensity, self.magnitude = intensity, _fft.root(intensity)
        counts = self.weighted(torch.ones_like(intensity)).sum(self.data_axes)
        self.mean = (intensity.sum(self.data_axes) / counts.clamp(min=1)).clamp(min=torch.finfo(intensity.dtype).tiny)

    def _shown(self, kernel: Tensor) -> Tensor:
        """The kernel of each item, without axes of the data that it does not have."""
        sizes = kernel.shape[-self.operator.object_ndim :]
        own = kernel.shape[: -self.operator.data_ndim]
        return kernel.reshape(*own, *sizes).expand(*self.batch, *sizes)

    def for_starts(self, data: Tensor) -> Tensor:
        """Data with an axis of starts, of size 1, before that of one measurement."""
        return data.unsqueeze(-1 - len(self.data_axes))

    def _detector(self, data: Tensor) -> tuple[int, ...]:
        return tuple(data.shape[-self.operator.object_ndim :])

    def blurred(self, plane: Tensor) -> Tensor:
        """What the point spread makes of a plane: linear."""
        return plane if self._factor is None else _fft.filtered(plane, self._factor, self._detector(plane), real=False)

    def power(self, field: Tensor) -> Tensor:
        """The intensity of a field as it is measured."""
        power = _fft.power(field)
        return power if self._factor is None else self.blurred(power).clamp(min=0)  # which rounding may leave below 0

    def descended(self, slope: Tensor, field: Tensor) -> Tensor:
        """The adjoint of the field times the slope of the misfit by the intensity (half of it by the squared field)."""
        slope = self.weighted(slope)
        if self._factor is not None:
            slope = _fft.filtered(slope, self._factor.conj(), self._detector(slope), real=False)
        return self.adjoint(slope * field)

    def weighted(self, field: Tensor) -> Tensor:
        """A field with 0 at unmeasured pixels."""
        return field if self.weight is None else field * self.weight

    def adjoint(self, field: Tensor) -> Tensor:
        """The adjoint, on the reals for real objects."""
        result = self.operator.adjoint(field, self.object_shape)
        return result.real if self.real and result.is_complex() else result

    def given(self, name: str, obj: Tensor) -> Tensor:
        """Objects that were given, which must be of the constraint's kind."""
        _checks.floating(**{name: obj})
        _memory.with_values(**{name: obj})
        _checks.rank(self.operator.object_ndim, **{name: obj})
        _checks.same_device(intensity=self.intensity, **{name: obj})
        if is_fourier(self.operator) and tuple(obj.shape[-self.operator.object_ndim :]) == self.operator.fourier_shape:
            self.operator = operator_of(self.intensity, self.operator, undersampled=True)  # laid out on the whole grid
        if self.real and obj.is_complex():
            rule = f"{name} must be real for constraint={self.constraint!r}"
            _checks.fail(f"{rule}, got {obj.dtype}", f"Pass {name}.real", TypeError)
        return _fft.promote(obj)

    def given_starts(self, name: str, obj: Tensor, starts: int | None) -> Tensor:
        """Starts that were given as (*, starts, object): for all patterns, one each, or all of each; in our unit."""
        obj = self.given(name, obj)
        d = self.operator.object_ndim
        before = tuple(obj.shape[:-d])
        each = (*self.batch, before[-1] if starts is None and before else starts or 1)
        if before not in ((), self.batch, each):
            item = tuple(obj.shape[-d:])
            shapes = dict.fromkeys((item, (*self.batch, *item), (*self.batch, "starts", *item)))
            got = f"{tuple(obj.shape)}{'' if starts is None else f' with starts={starts}'}"
            _checks.fail(f"{name} must have the shape {' or '.join(map(str, shapes))}, got {got}", "Index or expand it")
        if before != each or before == self.batch:
            obj = obj.unsqueeze(-1 - d)
        return obj.expand(*self.batch, *obj.shape[-1 - d :]) / self.over_object(self.unit)

    def light(self) -> Tensor | None:
        """diag(A^H A) over the measured pixels and over its mean of each object (*, 1, object); None if it is even."""
        weight = self.weight
        if weight is None:
            weight = torch.ones_like(self.intensity[(0,) * len(self.batch)])
        diagonal = self.operator.gram_diagonal(weight, self.object_shape)
        if diagonal is None:
            return None
        return diagonal / diagonal.mean(self.object_axes, keepdim=True).clamp(min=torch.finfo(diagonal.dtype).tiny)

    def over_object(self, value: Tensor) -> Tensor:
        """One number per item, to multiply objects with."""
        return value[(...,) + (None,) * len(self.object_axes)]

    def over_data(self, value: Tensor) -> Tensor:
        """One number per item, to multiply data with."""
        return value[(...,) + (None,) * len(self.data_axes)]

    def norm2(self, obj: Tensor) -> Tensor:
        """Squared norm of each object."""
        return _fft.power(obj).sum(self.object_axes)

    def gain(self, obj: Tensor) -> Tensor:
        """|A x|^2 / |x|^2 of each item, over measured pixels."""
        power = self.weighted(_fft.power(self.operator.linear(obj))).sum(self.data_axes)
        return power / self.norm2(obj).clamp(min=torch.finfo(power.dtype).tiny)

    def conjugate(self, descent: Tensor, last: Tensor, direction: Tensor, first: bool) -> Tensor:
        """The next direction of Polak and Ribiere; the descent itself where that does not descend."""
        tiny = torch.finfo(self.mean.dtype).tiny
        inner = (descent.conj() * (descent - last)).real.sum(self.object_axes)
        ratio = torch.zeros_like(inner) if first else (inner / self.norm2(last).clamp(min=tiny)).clamp(min=0)
        direction = descent + self.over_object(ratio) * direction
        slope = (descent.conj() * direction).real.sum(self.object_axes)
        return torch.where(self.over_object(slope > 0), direction, descent)

    def error(self, field: Tensor) -> Tensor:
        """Relative magnitude error of each item."""
        axes = len(self.data_axes)
        return _fft.relative_error(_fft.root(self.power(field)), self.magnitude, axes, weight=self.weight)

    def scaled(self, obj: Tensor) -> Tensor:
        """Each object with the factor that gives |A x|^2 the sum of the data."""
        power = self.weighted(self.power(self.operator.linear(obj))).sum(self.data_axes)
        ratio = self.intensity.sum(self.data_axes) / power.clamp(min=torch.finfo(power.dtype).tiny)
        return obj * self.over_object(_fft.root(ratio))

    def noise(self, seeds: Sequence[int]) -> Tensor:
        """A random object (starts, object) of each seed, the same for all patterns: the adjoint of white noise."""
        generators = [seeded(seed) for seed in seeds]
        shape = self.intensity.shape[-len(self.data_axes) :]
        draws = [torch.randn(shape, generator=g, dtype=torch.complex64, device="cpu") for g in generators]
        noise = torch.stack(draws).to(self.intensity.device, self.intensity.dtype.to_complex())
        return self.adjoint(noise.expand(*self.batch, *noise.shape))

    def run(
        self,
        x: Tensor,
        move: Move,
        recipe: str,
        *,
        seeds: Sequence[int] = (0,),
        support: Tensor | None = None,
    ) -> Reconstruction:
        """Iterate: `move` gives the next objects and their fields from those of iteration k.

        An item has converged once an iteration changes its object by at most `tol` of its norm, averaged from one
        check to the next, or its error is at most `tolerance`. It is left alone from then on, and the run ends with the
        last of them. Only checks wait for the device.
        """
        _memory.with_values(intensity=self.intensity)
        errors: list[Tensor] = []
        checked: list[int] = []
        field, last = self.operator.linear(x), x
        moving, some_rest = torch.ones_like(self.norm2(x), dtype=torch.bool), False
        n_iters = torch.full_like(moving, 0, dtype=torch.int64)
        for k in range(self.n_iter):
            new, new_field = move(x, field, k)
            if some_rest:
                new = torch.where(self.over_object(moving), new, x)
                new_field = torch.where(self.over_data(moving), new_field, field)
            x, field = new, new_field
            done = k + 1 - (checked[-1] if checked else 0)
            if done < self.check_every and k + 1 < self.n_iter:
                continue
            errors.append(self.error(field))
            checked.append(k + 1)
            n_iters = torch.where(moving, k + 1, n_iters)
            if (self.tol or self.tolerance is not None) and k + 1 < self.n_iter:
                # what is nan is not at rest
                if self.tol:
                    moving = moving & ~(self.norm2(x - last) <= (done * self.tol) ** 2 * self.norm2(x))
                if self.tolerance is not None:
                    moving = moving & ~(errors[-1] <= self.tolerance)
                last = x
                some_move, all_move = torch.stack([moving.any(), moving.all()]).tolist()
                some_rest = not all_move
                if not some_move:
                    break
        return self._result(x, torch.stack(errors, -1), checked, n_iters, recipe, seeds, support)

    def _unmeasured(self) -> Tensor:
        """How many numbers of each item's data were not measured."""
        if self.weight is None:
            return torch.zeros(self.batch, dtype=torch.long, device=self.intensity.device)
        count = (self.weight == 0).sum(self.data_axes).squeeze(-1)
        return count.expand(self.batch).contiguous()

    def _result(
        self,
        objs: Tensor,
        history: Tensor,
        checked: list[int],
        n_iters: Tensor,
        recipe: str,
        seeds: Sequence[int],
        support: Tensor | None,
    ) -> Reconstruction:
        """The starts (*, starts, object) ranked, and compared up to the phase, all that is left open here."""
        errors, d = history[..., -1], len(self.object_axes)
        finite, scores = errors.isfinite(), errors.nan_to_num(math.inf, math.inf)
        ranking = scores.detach().argsort(dim=-1, stable=True)
        best = ranking[..., :1]
        obj = objs.take_along_dim(self.over_object(best), -1 - d)
        kept = objs.where(self.over_object(finite), 0)
        inner = (kept.conj() * obj).sum(self.object_axes)
        norms = (_fft.root(self.norm2(kept)) * _fft.root(self.norm2(obj))).clamp(min=torch.finfo(errors.dtype).tiny)
        turned = kept * self.over_object(inner / _fft.divisor(inner.abs()))
        count = self.over_object(finite.sum(-1, keepdim=True).clamp(min=1))
        mean = _fft.root(self.power(self.operator.linear(turned.sum(-1 - d, keepdim=True) / count)))
        total = self.magnitude.sum(self.data_axes)
        objs, obj = (part * self.over_object(self.unit) for part in (objs, obj))
        obj = obj.squeeze(-1 - d)
        result = Reconstruction(
            obj=obj,
            error=errors.take_along_dim(best, -1).squeeze(-1),
            support=torch.ones_like(obj, dtype=torch.bool) if support is None else support,
            objs=objs,
            errors=errors,
            scores=scores,
            ranking=ranking,
            agreement=(inner.abs() / norms).clamp(max=1).where(finite, 0),
            prtf=self.weighted(mean).sum(self.data_axes) / total.clamp(min=torch.finfo(total.dtype).tiny),
            history=history,
            checked=checked,
            seeds=list(seeds),
            recipe=recipe,
            seconds=time.perf_counter() - self.began,
            point_spread=self._kernel,
            data_shape=list(self.operator.fourier_shape) if is_fourier(self.operator) else [],
            unmeasured=self._unmeasured(),
            n_iters=n_iters,
        )
        if errors.shape[-1] > 1:
            warn_of_disagreement(result)
        return result
