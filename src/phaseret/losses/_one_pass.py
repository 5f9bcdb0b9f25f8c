"""Value and gradient of the passive loss for the oversampled Fourier operators, in one pass.

Each piece of the batch is transformed (half spectrum for a real object, only its non-zero rows), compared with the data
in place, transformed back and cropped; nothing but the object-sized gradient is kept. The data of a full plane need not
be centro-symmetric: the half plane of a real estimate is compared with both halves of the data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from phaseret import _fft, _memory
from phaseret.losses._compare import Comparison
from phaseret.losses._criterion import poisson_floor, poisson_pixels
from phaseret.operators import FourierIntensity

# Gradient of a pixel by its spectrum, over `spectrum * factor` of `_compare`.
GAIN = {"magnitude": 2.0, "intensity": 4.0, "autocorrelation": 4.0, "poisson": 2.0}


class OnePass(torch.autograd.Function):
    """(estimate, intensity, mask or None) of B items -> B values, and the gradient of each if `wanted`.

    Derivatives of higher order differentiate the step-by-step computation instead. In a `jvp` torch drops the outer of
    nested forward-mode derivatives; where the caller sees a tangent, it computes step by step itself.
    """

    @staticmethod
    def forward(
        estimate: Tensor, intensity: Tensor, mask: Tensor | None, comparison: Comparison, wanted: bool
    ) -> tuple[Tensor, Tensor]:
        return _values_and_gradient(estimate, intensity, mask, comparison, wanted)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        estimate, intensity, mask, ctx.comparison, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(estimate, intensity, mask, output[1])
        ctx.save_for_forward(estimate, intensity, mask, output[1])

    @staticmethod
    def _gradient(ctx: Any) -> Tensor:
        estimate, intensity, mask, gradient = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return gradient
        return torch.func.grad(lambda x: ctx.comparison.values(x, intensity, mask).sum())(estimate)

    @staticmethod
    def backward(ctx: Any, by_value: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        gradient = OnePass._gradient(ctx)
        return gradient * by_value.reshape(-1, *[1] * (gradient.ndim - 1)), None, None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> tuple[Tensor, None]:
        product = OnePass._gradient(ctx).conj() * tangent
        return product.real.sum(tuple(range(1, product.ndim))), None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        estimate: Tensor,
        intensity: Tensor,
        mask: Tensor | None,
        comparison: Comparison,
        wanted: bool,
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int | None]]:
        def front(x: Tensor, dim: int | None) -> Tensor:
            return x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)

        estimate, intensity = front(estimate, in_dims[0]), front(intensity, in_dims[1])
        items = estimate.shape[1]
        wanted = wanted or (estimate.requires_grad and torch.is_grad_enabled())  # which a tensor under vmap hides
        mask = None if mask is None else front(mask, in_dims[2]).flatten(0, 1)
        value, gradient = OnePass.apply(estimate.flatten(0, 1), intensity.flatten(0, 1), mask, comparison, wanted)
        if wanted:
            gradient = gradient.unflatten(0, (info.batch_size, items))
        return (value.unflatten(0, (info.batch_size, items)), gradient), (0, 0 if wanted else None)


class _Layout(NamedTuple):
    """How spectra lie in memory: with their axes in reverse order, as full data do if those of the object are reversed.

    Everything is compared in the order of the memory, in which a half axis comes first.

    Attributes:
        shape: The grid in the order in which the object is transformed.
        norm: Normalisation of the transform.
        onesided: Whether the data is one-sided: then the object keeps its order, and the data is reversed.
        half: Whether the object is real and its spectrum a half one.
        both: Whether the half spectrum is compared with both halves of the data.
    """

    shape: tuple[int, ...]
    norm: str
    onesided: bool
    half: bool
    both: bool

    @classmethod
    def of(cls, operator: FourierIntensity, estimate: Tensor) -> _Layout:
        shape, half = operator.fourier_shape, not estimate.is_complex()
        in_order = shape if operator.onesided else shape[::-1]
        return cls(in_order, operator.norm, operator.onesided, half, half and not operator.onesided)

    def objects(self, x: Tensor) -> Tensor:
        """Objects in the order in which they are transformed: a view."""
        return x if self.onesided else _reversed(x)

    def data(self, x: Tensor) -> Tensor:
        """Data in the order of the spectra in memory: a view."""
        return _reversed(x) if self.onesided else x

    def adjoint(self, field: Tensor, object_shape: torch.Size) -> Tensor:
        """Back to the objects, in the order of `objects`."""
        adjoint = _fft.adjoint_half if self.half else _fft.adjoint
        return adjoint(field, self.shape, object_shape, self.norm)


def _values_and_gradient(
    estimate: Tensor, intensity: Tensor, mask: Tensor | None, comparison: Comparison, wanted: bool
) -> tuple[Tensor, Tensor]:
    layout = _Layout.of(cast(FourierIntensity, comparison.operator), estimate)
    ones = [1] * len(layout.shape)
    gradient = torch.empty_like(estimate) if wanted else estimate.new_empty(0)
    values = []
    buffers: dict[int, Tensor] = {}
    for piece in _pieces(estimate, layout.shape):
        data, inside, factors = comparison.prepared(intensity[piece], None if mask is None else mask[piece])
        scale = None if factors is None else factors.reshape(-1, *ones)
        objects = layout.objects(estimate[piece])
        field = _fft.spectrum(objects if scale is None else objects * scale, layout.shape, layout.norm, buffers)
        total, count = _compare_planes(_reversed(field), data, inside, comparison, layout, wanted)
        values.append(total / count)
        if wanted:
            # An item without a measured pixel has no value, and a gradient of 0.
            count = count if isinstance(count, float) else _fft.divisor(count).reshape(-1, *ones)
            gain = GAIN[comparison.domain] / (1 + layout.both) / count
            back = layout.adjoint(field, objects.shape[1:])
            torch.mul(back, gain if scale is None else gain * scale, out=layout.objects(gradient[piece]))
    return torch.cat(values), gradient


def _compare_planes(
    spectrum: Tensor,
    data: Tensor,
    inside: Tensor | None,
    comparison: Comparison,
    layout: _Layout,
    wanted: bool,
) -> tuple[Tensor, Tensor | float]:
    """Summed values and number of measured pixels of each item.

    If `wanted`, the spectrum becomes its gradient, up to the factors of single items.
    """
    planes = [layout.data(data)] if inside is None else [layout.data(data), layout.data(inside)]
    sides = [planes, [_opposite(x, spectrum) for x in planes]] if layout.both else [planes]
    floor = poisson_floor(data) if comparison.domain == "poisson" else None
    sums, pixels = data.new_zeros(()), data.new_zeros(())
    for start, size in _columns(spectrum):
        part = spectrum.narrow(1, start, size)
        squares = torch.view_as_real(part).square()
        power = torch.add(squares[..., 0], squares[..., 1])
        del squares  # freed memory is used again while it is in the cache
        strips = [[x.narrow(1, start, size) for x in side] for side in sides]
        targets = [side[0] for side in strips]
        weights = [side[1].to(power.dtype) for side in strips] if inside is not None else []
        compared, factor = _compare(power, targets, weights, comparison, floor)
        sums = sums + _total(compared, start, layout)
        if weights:
            pixels = pixels + _total(weights, start, layout)
        if wanted:
            part.mul_(factor)
        del power, compared, factor
    return sums, float(torch.Size(layout.shape).numel()) if inside is None else pixels


def _reversed(x: Tensor) -> Tensor:
    """The item axes in reverse order: a view."""
    return x.permute(0, *range(x.ndim - 1, 0, -1))


def _pieces(estimate: Tensor, shape: tuple[int, ...]) -> Iterator[slice]:
    """The batch in pieces of some items, of equal size but for the last."""
    items = estimate.shape[0]
    last = shape[-1] if estimate.is_complex() else _fft.half_size(shape[-1])
    pixels = last * torch.Size(shape[:-1]).numel()
    most = max(1, _memory.pixels_at_a_time(estimate.device) // pixels)
    size = math.ceil(items / math.ceil(items / most))
    return (slice(start, start + size) for start in range(0, items, size))


def _columns(spectrum: Tensor) -> Iterator[tuple[int, int]]:
    """Start and length of parts of the first axis, in which a large spectrum lies in one piece."""
    count = spectrum.shape[1]
    size = max(1, _memory.pixels_at_a_time(spectrum.device) * count // spectrum.numel())
    return ((start, min(size, count - start)) for start in range(0, count, size))


def _total(planes: list[Tensor], start: int, layout: _Layout) -> Tensor:
    """Sum per item of columns from `start` on; in a half plane the inner ones stand for the opposite half too."""
    axes = tuple(range(1, planes[0].ndim))
    total = planes[0].sum(axes)
    if not layout.half:
        return total
    m = layout.shape[-1]
    first, last = max(1 - start, 0), min((m + 1) // 2 - start, planes[-1].shape[1])
    return total + planes[-1][:, first : max(first, last)].sum(axes)


def _opposite(data: Tensor, spectrum: Tensor) -> Tensor:
    """The data at the frequencies opposite to those of the spectrum, laid out in memory as it is."""
    opposite = torch.empty_like(spectrum[: data.shape[0]], dtype=spectrum.real.dtype)
    _fft.copy_opposite_half(_reversed(data), _reversed(opposite))
    return opposite


def _compare(
    power: Tensor, targets: list[Tensor], weights: list[Tensor], comparison: Comparison, floor: Tensor | None
) -> tuple[list[Tensor], Tensor]:
    """Values of the pixels against each target, and the factor of the spectrum in the gradient.

    The power is overwritten.
    """
    inverse = None
    if comparison.domain == "magnitude":
        inverse = power.clamp_min_(torch.finfo(power.dtype).tiny).rsqrt()
        power = power.mul_(inverse)
    values, derivatives = [], []
    for i, data in enumerate(targets):
        if floor is not None:
            expected = power + floor
            value, derivative = poisson_pixels(expected, data), 1 - data / expected
            if weights:
                value, derivative = value.mul_(weights[i]), derivative.mul_(weights[i])
        else:
            if comparison.domain == "magnitude":
                # In the data's own layout: a slow path through memory is best taken while it is in the cache.
                data = data.clamp_min(0).sqrt_()
            residual = torch.sub(power, data, out=power if i + 1 == len(targets) else None)
            if weights:
                residual.mul_(weights[i])
            value, derivative = _distance(residual, cast(str, comparison.criterion))
        values.append(value)
        derivatives.append(derivative)
    factor = derivatives[0] if len(derivatives) == 1 else derivatives[0].add_(derivatives[1])
    return values, factor if inverse is None else factor.mul_(inverse)


def _distance(residual: Tensor, criterion: str) -> tuple[Tensor, Tensor]:
    """The criterion of the residual, and half its derivative."""
    if criterion == "mse":
        return residual.square(), residual
    if criterion == "l1":
        return residual.abs(), residual.sign().mul_(0.5)
    clipped = residual.clamp(-1, 1)
    return residual.sub_(clipped / 2).mul_(clipped), clipped / 2
