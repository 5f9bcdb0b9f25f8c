"""A pair of objects, checked together: what all metrics of objects ask for."""

from __future__ import annotations

from torch import Tensor

from phaseret import _checks, _fft


def pair(estimate: Tensor, obj: Tensor, ndim: int) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Check two objects; give them in at least single precision, and their item axes."""
    _checks.floating(estimate=estimate, obj=obj)
    _checks.item_axes(ndim, estimate=estimate, obj=obj)
    _checks.same_device(estimate=estimate, obj=obj)
    _checks.same_shape(estimate=estimate, obj=obj)
    return _fft.promote(estimate), _fft.promote(obj), tuple(range(-ndim, 0))
