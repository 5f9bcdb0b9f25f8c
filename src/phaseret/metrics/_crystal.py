"""How far the shape and the phase of an estimate are from those of the true object, as crystals are judged."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from phaseret import _fft
from phaseret._reduction import Reduction, reduce
from phaseret.metrics._object import check_options
from phaseret.metrics._pair import aligned, pair


def iou(
    estimate: Tensor,
    obj: Tensor,
    *,
    align: bool = True,
    ndim: int = 2,
    reduction: Reduction = "mean",
) -> Tensor:
    """Intersection over union of the supports: of the pixels that are not zero, by default after alignment.

    An estimate of a solver is zero outside its support; of others cut off what is small first.

    Args:
        estimate: Candidate object, real or complex floating.
        obj: True object.
        align: Remove shift, conj_flip and global_phase first (see :func:`phaseret.symmetry.align`).
        ndim: Number of axes of one object (1, 2 or 3); all axes before them are a batch.
        reduction: "mean" or "sum" over the items, or "none": one value per item.

    Shape:
        - estimate, obj: (*, n1..nd); with `align` one of them may be (*, m1..md) with m >= 2n - 1, laid out on the grid
        - output: (), or (*) with reduction="none"

    Returns:
        Real tensor between 0 and 1; nan where both are zero everywhere, or hold a value that is not finite. It has no
        gradient.

    Raises:
        TypeError: if an argument is not a floating tensor.
        ValueError: if shapes or devices differ, or an option is unknown.

    Example:
        >>> obj = torch.zeros(8, 8)
        >>> obj[2:6, 2:6] = 1
        >>> estimate = obj.clone()
        >>> estimate[2] = 0
        >>> iou(pr.symmetry.conj_flip(estimate), obj)
        tensor(0.7500)
    """
    estimate, obj = _brought(estimate, obj, align, ndim, reduction)
    axes = tuple(range(-int(ndim), 0))
    a, b = estimate != 0, obj != 0
    both, any_ = (x.sum(axes).to(obj.real.dtype) for x in (a & b, a | b))
    return _reduced(both / any_, estimate, obj, reduction)


def phase_error(
    estimate: Tensor,
    obj: Tensor,
    *,
    align: bool = True,
    ndim: int = 2,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Mean absolute error of the phase in radians, over the pixels where neither object is zero.

    .. math:: \frac{1}{|S|} \sum_{S} \big| \arg (e^{i \theta} T \hat x \, x^*) \big|

    with T from the alignment, and with it the phase theta that makes the sum of the unit vectors of the products real
    and positive; without ``align`` both are as they are. What only one of them has says :func:`iou`. Arguments, shapes
    and errors are those of :func:`iou`.

    Returns:
        Real tensor between 0 and pi; nan where there is no such pixel, or a value that is not finite. It has no
        gradient.

    Example:
        >>> obj = torch.polar(torch.ones(8, 8), torch.linspace(0, 1, 8).expand(8, 8))
        >>> phase_error(1j * obj, obj).round(decimals=4), phase_error(1j * obj, obj, align=False)
        (tensor(0.), tensor(1.5708))
    """
    estimate, obj = _brought(estimate, obj, align, ndim, reduction)
    axes = tuple(range(-int(ndim), 0))
    product = torch.sgn(estimate) * torch.sgn(obj).conj()
    if align:
        product = product * torch.sgn(product.sum(axes, keepdim=True)).conj()
    count = (product != 0).sum(axes).to(obj.real.dtype)
    # The angle of a zero is pi where its sign is negative.
    error = product.angle().abs().where(product != 0, 0).sum(axes) / count
    return _reduced(error, estimate, obj, reduction)


@torch.no_grad()
def _brought(estimate: Tensor, obj: Tensor, align: bool, ndim: int, reduction: Reduction) -> tuple[Tensor, Tensor]:
    """Both objects checked, on the grid on which the estimate was brought to the object."""
    check_options(align, False, reduction)
    estimate, obj, _ = pair(estimate, obj, ndim, align)
    if align:
        element = aligned(estimate, obj, ndim).symmetry
        estimate = element.cropped(estimate, element.fourier_shape)
        obj = _fft.pad(obj, element.fourier_shape)
    return estimate, obj


def _reduced(values: Tensor, estimate: Tensor, obj: Tensor, reduction: Reduction) -> Tensor:
    """One value per item, reduced; nan for an item with a value that is not finite, which no comparison would show."""
    known = (estimate.isfinite() & obj.isfinite()).flatten(values.ndim).all(-1)
    return reduce(values.where(known, math.nan), reduction)
