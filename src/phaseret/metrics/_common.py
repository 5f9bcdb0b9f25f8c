"""What all metrics share: the checks of a pair of objects and the reduction over the items."""

from __future__ import annotations

from torch import Tensor

from phaseret import _checks, _fft

REDUCTIONS = ("mean", "sum", "none")


def pair(estimate: Tensor, obj: Tensor, ndim: int) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Check two objects; give them in at least single precision, and their item axes."""
    _checks.floating(estimate=estimate, obj=obj)
    _checks.item_axes(ndim, estimate=estimate, obj=obj)
    _checks.same_device(estimate=estimate, obj=obj)
    _checks.same_shape(estimate=estimate, obj=obj)
    return _fft.promote(estimate), _fft.promote(obj), tuple(range(-ndim, 0))


def reduce(values: Tensor, reduction: str) -> Tensor:
    """One value per item, their mean or their sum."""
    _checks.choice("reduction", reduction, REDUCTIONS)
    if reduction == "none":
        return values
    return values.mean() if reduction == "mean" else values.sum()
