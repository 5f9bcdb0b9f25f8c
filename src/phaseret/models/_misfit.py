"""How far estimates are from their data, and the descent on it: what fits a network to single patterns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators import Operator


def tracked(value: Any) -> Any:
    """A tensor that autograd takes: a copy of one that was made in `torch.inference_mode`."""
    return value.clone() if isinstance(value, Tensor) and value.is_inference() else value


class Misfit:
    r"""Squared relative error of the magnitude of each item over its measured pixels.

    .. math:: \frac{\sum_k (|A x|_k - \sqrt{Y_k})^2}{\sum_k Y_k}

    Args:
        intensity: The data (*, m1..md), constants of the fit; negative values count as 0.
        ndim: Axes of one measurement, if there is no operator.
        operator: The measurement. Default: the Fourier transform of the object padded to the size of the data, which
            may be as small as the object.
        mask: True where measured. Default: everywhere.
    """

    def __init__(self, intensity: Tensor, ndim: int, *, operator: Any = None, mask: Tensor | None = None) -> None:
        _checks.real(intensity=intensity)
        if operator is not None:
            Operator.check(operator)
        ndim = _checks.item_axes(ndim)
        self.ndim: int = ndim if operator is None else operator.data_ndim
        self.object_ndim: int = ndim if operator is None else operator.object_ndim
        _checks.rank(self.ndim, intensity=intensity)
        self.operator = operator
        intensity = _fft.promote(intensity.detach())
        self.mask = None if mask is None else _checks.mask(mask, intensity)
        self.magnitude = _fft.root(self._measured(intensity))
        self.shape = tuple(intensity.shape[-self.ndim :])
        self.total = _fft.divisor(self.magnitude.square().sum(tuple(range(-self.ndim, 0))))

    def linear(self, estimate: Tensor) -> Tensor:
        """The field of an estimate at the detector."""
        if self.operator is not None:
            field: Tensor = self.operator.linear(estimate)
            if tuple(field.shape[-self.ndim :]) != self.shape:
                rule = f"intensity must have the shape (*, {', '.join(map(str, field.shape[-self.ndim :]))})"
                _checks.fail(
                    f"{rule} of the operator's data, got (*, {', '.join(map(str, self.shape))})",
                    "Use the operator that the data were measured with",
                )
            return field
        object_shape = tuple(estimate.shape[-self.ndim :])
        if any(m < n for m, n in zip(self.shape, object_shape, strict=True)):
            rule = f"intensity must be at least as large as the object {object_shape}, got {self.shape}"
            _checks.fail(rule, "Give the object_shape that was measured, or the operator")
        return _fft.full_plane(estimate, self.shape)

    def adjoint(self, field: Tensor, object_shape: Sequence[int]) -> Tensor:
        """The adjoint of `linear` on complex objects."""
        if self.operator is not None:
            return self.operator.adjoint(field, object_shape)
        return _fft.adjoint(field, self.shape, object_shape)

    def __call__(self, estimate: Tensor) -> Tensor:
        """The misfit of each item: (*, n1..nd) -> (*)."""
        magnitude = _fft.magnitude(self.linear(estimate), self.ndim)
        return _fft.relative_error(magnitude, self.magnitude, self.ndim, mask=self.mask, dark=1.0).square()

    def gradient(self, estimate: Tensor) -> Tensor:
        r"""The gradient of :math:`\frac{1}{2} \sum_k (|A x|_k - \sqrt{Y_k})^2`: on the reals for real estimates."""
        field = self.linear(estimate)
        magnitude = _fft.magnitude(field, self.ndim)
        unit = field / _fft.divisor(magnitude)
        change = self.adjoint(self._measured(field - self.magnitude * unit), estimate.shape[-self.object_ndim :])
        return change if estimate.is_complex() else change.real

    def _measured(self, values: Tensor) -> Tensor:
        return values if self.mask is None else torch.where(self.mask, values, 0)


def descend(
    estimate: Callable[[], Tensor],
    parameters: Sequence[Tensor],
    misfit: Callable[[Tensor], Tensor],
    n_iter: int,
    lr: float,
    *,
    decay: bool = False,
) -> Tensor:
    """Adam on the sum of the misfits of all items; the estimate of each with the least misfit that it comes across.

    With decay the learning rate falls to 0 along a cosine.
    """
    optimizer = torch.optim.Adam(list(parameters), lr)
    for k in range(n_iter + 1):
        with torch.enable_grad():
            x = estimate()
            errors = misfit(x)
            total = errors.sum()
        if k == 0:
            best, least = x.detach(), errors.detach()
        else:
            better = errors.detach() < least
            least = torch.where(better, errors.detach(), least)
            best = torch.where(better.reshape(*better.shape, *[1] * (x.ndim - better.ndim)), x.detach(), best)
        if k < n_iter:
            gradients = torch.autograd.grad(total, list(parameters), allow_unused=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            if decay:
                optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * k / n_iter)) / 2
            optimizer.step()
    return best
