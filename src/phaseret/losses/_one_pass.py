"""Value and gradient of the passive loss for the oversampled Fourier operators, in one pass.

Each piece of the batch is transformed (half spectrum for a real object, only its non-zero rows), compared with the data
in place, transformed back and cropped; nothing but the object-sized gradient is kept. The data of a full plane need not
be centro-symmetric: the half plane of a real estimate is compared with both halves of the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from phaseret import _fft
from phaseret.losses._criterion import poisson_floor, poisson_pixels

# Gradient of a pixel by its spectrum, over `spectrum * factor` of `_compare`.
GAIN = {"magnitude": 2.0, "intensity": 4.0, "autocorrelation": 4.0, "poisson": 2.0}
# Pixels compared at a time: their temporaries fit a CPU's cache, or a small share of a GPU's memory.
PIXELS = {"cpu": 1 << 17, "cuda": 1 << 25}


class Setting(NamedTuple):
    """What is computed: the transform, the distance, and the same values step by step (differentiable).

    `prepared` gives from (intensity, mask) of some items the data and mask with the zero frequency at index 0, and a
    factor for each estimate or None.
    """

    shape: tuple[int, ...]
    norm: str
    onesided: bool
    domain: str
    criterion: str
    prepared: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None, Tensor | None]]
    step_by_step: Callable[[Tensor, Tensor, Tensor | None], Tensor]


class OnePass(torch.autograd.Function):
    """(estimate, intensity, mask or None) of B items -> B values, and the gradient of each if `wanted`.

    Derivatives of higher order differentiate the step-by-step computation instead. Of nested forward-mode derivatives
    torch drops the outer one in a `jvp`; where the caller sees a tangent, it computes step by step itself.
    """

    @staticmethod
    def forward(
        estimate: Tensor, intensity: Tensor, mask: Tensor | None, setting: Setting, wanted: bool
    ) -> tuple[Tensor, Tensor]:
        return _values_and_gradient(estimate, intensity, mask, setting, wanted)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        estimate, intensity, mask, ctx.setting, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(estimate, intensity, mask, output[1])
        ctx.save_for_forward(estimate, intensity, mask, output[1])

    @staticmethod
    def _gradient(ctx: Any) -> Tensor:
        estimate, intensity, mask, gradient = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return gradient
        return torch.func.grad(lambda x: ctx.setting.step_by_step(x, intensity, mask).sum())(estimate)

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
        setting: Setting,
        wanted: bool,
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int | None]]:
        def front(x: Tensor, dim: int | None) -> Tensor:
            return x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)

        estimate, intensity = front(estimate, in_dims[0]), front(intensity, in_dims[1])
        items = estimate.shape[1]
        mask = None if mask is None else front(mask, in_dims[2]).flatten(0, 1)
        value, gradient = OnePass.apply(estimate.flatten(0, 1), intensity.flatten(0, 1), mask, setting, wanted)
        if wanted:
            gradient = gradient.unflatten(0, (info.batch_size, items))
        return (value.unflatten(0, (info.batch_size, items)), gradient), (0, 0 if wanted else None)


def _values_and_gradient(
    estimate: Tensor, intensity: Tensor, mask: Tensor | None, setting: Setting, wanted: bool
) -> tuple[Tensor, Tensor]:
    half, both = not estimate.is_complex(), not estimate.is_complex() and not setting.onesided
    # The spectrum lies in memory with its axes in reverse order; with those of the object reversed, as full data do.
    arranged = _as_given if setting.onesided else _reversed
    shape = setting.shape if setting.onesided else setting.shape[::-1]
    item_shape = arranged(estimate).shape[1:]
    values, gradients = [], []
    buffers: dict[int, Tensor] = {}
    for piece in _pieces(estimate, shape):
        inside = None if mask is None else mask[piece]
        data, inside, factors = setting.prepared(intensity[piece], inside)
        scale = None if factors is None else factors.reshape(-1, *[1] * len(shape))
        objects = arranged(estimate[piece])
        field = _fft.spectrum(objects if scale is None else objects * scale, shape, setting.norm, buffers)
        planes = [arranged(data)] if inside is None else [arranged(data), arranged(inside)]
        here = [_fft.half_from_full(x) for x in planes] if both else planes
        opposite = [_opposite(x, field) for x in planes] if both else []
        floor = poisson_floor(data) if setting.domain == "poisson" else None
        sums, pixels = data.new_zeros(()), data.new_zeros(())
        for columns in _columns(field):
            part = field.narrow(-1, *columns)
            squares = torch.view_as_real(part).square()
            power = torch.add(squares[..., 0], squares[..., 1])
            del squares
            compared_with = [[_like(power, x.narrow(-1, *columns))] for x in here]
            for kind, plane in zip(compared_with, opposite, strict=False):
                kind.append(plane.narrow(-1, *columns))
            targets, weights = compared_with if inside is not None else (compared_with[0], [])
            compared, factor = _compare(power, targets, weights, setting, floor)
            sums = sums + _total(compared, columns[0], shape[-1], half)
            if weights:
                pixels = pixels + _total(weights, columns[0], shape[-1], half)
            if wanted:
                part.mul_(factor)
        count = float(torch.Size(shape).numel()) if inside is None else pixels
        values.append(sums / count)
        if wanted:
            back = (_fft.adjoint_half if half else _fft.adjoint)(field, shape, item_shape, setting.norm)
            gain = GAIN[setting.domain] / (1 + both) / count
            if isinstance(gain, Tensor):
                gain = gain.reshape(-1, *[1] * len(shape))
            gradients.append(back * (gain if scale is None else gain * scale))
    if not wanted:
        return torch.cat(values), estimate.new_empty(0)
    gradient = torch.cat(gradients) if len(gradients) > 1 else gradients[0]
    return torch.cat(values), arranged(gradient).contiguous()


def _as_given(x: Tensor) -> Tensor:
    return x


def _reversed(x: Tensor) -> Tensor:
    """The item axes in reverse order: a view."""
    return x.permute(0, *range(x.ndim - 1, 0, -1))


def _pieces(estimate: Tensor, shape: tuple[int, ...]) -> Iterator[slice]:
    """The batch in pieces of some items, of equal size but for the last."""
    items = estimate.shape[0]
    last = shape[-1] if estimate.is_complex() else _fft.half_size(shape[-1])
    pixels = last * torch.Size(shape[:-1]).numel()
    most = max(1, PIXELS.get(estimate.device.type, PIXELS["cuda"]) // pixels)
    size = math.ceil(items / math.ceil(items / most))
    return (slice(start, start + size) for start in range(0, items, size))


def _columns(field: Tensor) -> Iterator[tuple[int, int]]:
    """Start and length of parts of the last axis, in which a large spectrum lies in one piece."""
    count = field.shape[-1]
    size = max(1, PIXELS.get(field.device.type, PIXELS["cuda"]) * count // field.numel())
    return ((start, min(size, count - start)) for start in range(0, count, size))


def _total(planes: list[Tensor], start: int, m: int, half: bool) -> Tensor:
    """Sum per item of columns from `start` on; in a half plane the inner ones stand for the opposite half too."""
    axes = tuple(range(1, planes[0].ndim))
    total = planes[0].sum(axes)
    if not half:
        return total
    first, last = max(1 - start, 0), min((m + 1) // 2 - start, planes[-1].shape[-1])
    return total + planes[-1][..., first : max(first, last)].sum(axes)


def _opposite(data: Tensor, field: Tensor) -> Tensor:
    """The data at the frequencies opposite to those of the half plane, laid out in memory as the field is."""
    return _fft.copy_opposite_half(data, torch.empty_like(field[: data.shape[0]], dtype=field.real.dtype))


def _like(power: Tensor, data: Tensor) -> Tensor:
    """A copy of the data with the memory layout and dtype of the power."""
    return torch.empty_like(power[: data.shape[0]]).copy_(data)


def _compare(
    power: Tensor, targets: list[Tensor], weights: list[Tensor], setting: Setting, floor: Tensor | None
) -> tuple[list[Tensor], Tensor]:
    """Values of the pixels against each target, and the factor of the spectrum in the gradient.

    The arguments but the weights are overwritten.
    """
    inverse = None
    if setting.domain == "magnitude":
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
            if setting.domain == "magnitude":
                data = data.clamp_min_(0).sqrt_()
            residual = torch.sub(power, data, out=data)
            if weights:
                residual.mul_(weights[i])
            value, derivative = _distance(residual, setting.criterion)
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
