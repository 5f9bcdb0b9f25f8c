"""Value and gradient of the passive loss for the oversampled Fourier operators, in one pass.

Each piece of the batch is transformed (half spectrum for a real object, only its non-zero rows), compared with the data
in place, transformed back and cropped; nothing but the object-sized gradient is kept. The data of a full plane need not
be centro-symmetric: the half plane of a real estimate is compared with both halves of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, overload

import torch
from torch import Tensor

from phaseret import _fft

# Gradient of a pixel by its spectrum, over `spectrum * factor` of `_compare`.
GAIN = {"magnitude": 2.0, "intensity": 4.0, "autocorrelation": 4.0, "poisson": 2.0}
# A piece of the batch fits a CPU's cache, or a small share of a GPU's memory.
PIECE_BYTES = {"cpu": 2 << 20, "cuda": 256 << 20}


class Setting(NamedTuple):
    """What is computed: the transform, the distance, and the same values step by step (differentiable)."""

    shape: tuple[int, ...]
    norm: str
    onesided: bool
    domain: str
    criterion: str
    step_by_step: Callable[[Tensor, Tensor, Tensor | None], Tensor]


class OnePass(torch.autograd.Function):
    """(estimate, intensity, mask or None) of B items -> B values, and the gradient of each if `wanted`.

    Derivatives of higher order differentiate the step-by-step computation instead.
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
        if mask is not None:
            mask = front(mask, in_dims[2])
            mask = mask.expand(info.batch_size, items, *mask.shape[2:]).flatten(0, 1)
        value, gradient = OnePass.apply(estimate.flatten(0, 1), intensity.flatten(0, 1), mask, setting, wanted)
        if wanted:
            gradient = gradient.unflatten(0, (info.batch_size, items))
        return (value.unflatten(0, (info.batch_size, items)), gradient), (0, 0 if wanted else None)


def _values_and_gradient(
    estimate: Tensor, intensity: Tensor, mask: Tensor | None, setting: Setting, wanted: bool
) -> tuple[Tensor, Tensor]:
    shape, onesided = setting.shape, setting.onesided
    half = not estimate.is_complex()
    if not onesided:
        # The spectrum lies in memory with its axes in reverse order: reversed here, it lies as the data does.
        estimate, intensity, mask, shape = _reversed(estimate), _reversed(intensity), _reversed(mask), shape[::-1]
    values, gradients = [], []
    for piece in _pieces(estimate, shape):
        field = _fft.spectrum(estimate[piece], shape, setting.norm)
        squares = torch.view_as_real(field).square()
        power = torch.add(squares[..., 0], squares[..., 1])
        both = half and not onesided
        targets = _arranged(intensity[piece], power, both)
        weights = None if mask is None else _arranged(mask if mask.shape[0] == 1 else mask[piece], power, both)
        compared, factor = _compare(power, targets, weights, setting)
        pixels: float | Tensor = float(torch.Size(shape).numel())
        if weights is not None:
            pixels = _total(weights, shape, half).clamp_min(1)
        values.append(_total(compared, shape, half) / pixels)
        if wanted:
            transform = _fft.adjoint_half if half else _fft.adjoint
            back = transform(field.mul_(factor), shape, estimate.shape[1:], setting.norm)
            scale = GAIN[setting.domain] / len(targets) / pixels
            gradients.append(back * (scale.reshape(-1, *[1] * len(shape)) if isinstance(scale, Tensor) else scale))
    if not wanted:
        return torch.cat(values), estimate.new_empty(0)
    gradient = torch.cat(gradients)
    return torch.cat(values), gradient if onesided else _reversed(gradient).contiguous()


@overload
def _reversed(x: Tensor) -> Tensor: ...
@overload
def _reversed(x: None) -> None: ...
def _reversed(x: Tensor | None) -> Tensor | None:
    """The item axes in reverse order: a view."""
    return None if x is None else x.permute(0, *range(x.ndim - 1, 0, -1))


def _pieces(estimate: Tensor, shape: tuple[int, ...]) -> Iterator[slice]:
    """The batch in pieces of a size that stays in the cache."""
    pixels = torch.Size(shape).numel() // (1 if estimate.is_complex() else 2)
    room = PIECE_BYTES.get(estimate.device.type, PIECE_BYTES["cuda"])
    size = max(1, room // (8 * pixels * estimate.real.element_size()))
    return (slice(start, start + size) for start in range(0, estimate.shape[0], size))


def _arranged(data: Tensor, power: Tensor, both: bool) -> list[Tensor]:
    """Copies of the data with the shape, memory layout and dtype of the power: one plane, or both halves of it."""
    first = torch.empty_like(power[: data.shape[0]]).copy_(_fft.half_from_full(data) if both else data)
    if not both:
        return [first]
    return [first, _fft.copy_opposite_half(data, torch.empty_like(first))]


def _total(planes: list[Tensor], shape: tuple[int, ...], half: bool) -> Tensor:
    """Sum over the full plane, per item; a half plane's inner columns stand for the opposite half too."""
    axes = tuple(range(1, 1 + len(shape)))
    total = planes[0].sum(axes)
    if not half:
        return total
    last = planes[-1]
    inner = last.narrow(-1, 1, (shape[-1] - 1) // 2)
    return total + inner.sum(axes)


def _compare(
    power: Tensor, targets: list[Tensor], weights: list[Tensor] | None, setting: Setting
) -> tuple[list[Tensor], Tensor]:
    """Values of the pixels against each target, and the factor of the spectrum in the gradient.

    The arguments are overwritten.
    """
    inverse = None
    if setting.domain == "magnitude":
        inverse = power.clamp_min_(torch.finfo(power.dtype).tiny).rsqrt()
        power = power.mul_(inverse)
    values, derivatives = [], []
    for i, data in enumerate(targets):
        if setting.domain == "poisson":
            value, derivative = _poisson(power, data)
            if weights is not None:
                value, derivative = value.mul_(weights[i]), derivative.mul_(weights[i])
        else:
            if setting.domain == "magnitude":
                data = data.clamp_min_(0).sqrt_()
            residual = torch.sub(power, data, out=data)
            if weights is not None:
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


def _poisson(power: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Minus the log-likelihood of the counts, and its derivative by the power."""
    expected = power + torch.finfo(power.dtype).eps
    derivative = torch.div(counts, expected).neg_().add_(1)
    value = expected.log_().mul_(counts).neg_().add_(power).add_(torch.lgamma(counts + 1))
    return value, derivative
