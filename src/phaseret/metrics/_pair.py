"""A pair of objects, checked and aligned together: what all metrics of objects ask for."""

from __future__ import annotations

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.symmetry._align import Alignment, register
from phaseret.symmetry._search import common_grid


def pair(estimate: Tensor, obj: Tensor, ndim: int, align: bool) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Check two objects; give them in one dtype of at least single precision, and their item axes.

    Where they are aligned one of them may be laid out on the whole grid.
    """
    _checks.floating(estimate=estimate, obj=obj)
    ndim = _checks.item_axes(ndim, estimate=estimate, obj=obj)
    _checks.same_device(estimate=estimate, obj=obj)
    if align:
        common_grid(estimate, obj, ndim)
    else:
        _checks.same_shape(estimate=estimate, obj=obj)
    dtype = torch.promote_types(_fft.promote(estimate).dtype, _fft.promote(obj).dtype)
    return estimate.to(dtype), obj.to(dtype), tuple(range(-ndim, 0))


def aligned(estimate: Tensor, obj: Tensor, ndim: int, align: bool = True, scale: bool = False) -> Alignment:
    """:func:`phaseret.symmetry.align` of two objects from `pair`, which are not checked again.

    Without `align` at most the scale changes.
    """
    shape = common_grid(estimate, obj, int(ndim))
    return register(estimate, obj, shape, shift=align, flip=align, phase=align and obj.is_complex(), scale=scale)
