"""The symmetry-invariant loss: distance of the estimate to the nearest copy of the object."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret._module import Module, called_as
from phaseret._reduction import Reduction, check_reduction, reduce
from phaseret.losses._looks import Calls, asked, looks
from phaseret.symmetry import Symmetry
from phaseret.symmetry._search import box_of, correlations, prepare, search


def invariant_loss(
    estimate: Tensor,
    obj: Tensor,
    *,
    ndim: int = 2,
    fourier_shape: Sequence[int] | None = None,
    shift: bool = True,
    flip: bool = True,
    phase: bool | None = None,
    temperature: float | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Compare an estimate with the nearest of all copies of the object that the data cannot tell apart.

    .. math:: \frac{1}{n_1 \cdots n_d} \, \min_{s,\,f,\,\theta} \| \hat x - e^{i \theta} \, T_s \, C^f x \|^2

    over shifts, conjugate flip and global phase on the padded grid, where nothing leaves the box unseen: what lies
    outside counts as an error. The best copy is found with Fourier correlations, whose rounding does not tell copies
    apart whose distances differ by less than some 1e-6 (single precision) of the squared norms; the first of these in
    the order of :func:`phaseret.symmetry.align` is taken. The distance to it is computed directly, without
    cancellation. The gradient is the one of the winning copy, 0 where the phase has no best value. All derivatives
    exist where the winner is unique.

    With a `temperature` t the minimum over shifts and flip is the soft one, :math:`-t \log \sum_g \exp(-d_g / t)`,
    in which copies that are nearly as good have a say: all whose box shares a pixel with the object's, so that a larger
    grid does not count the copies beside it over and over; what is laid out on the whole grid has the other's box. It
    lies below the minimum, by at most t times the logarithm of the number of copies, and can be negative. The phase is
    still the best one of each copy.

    Args:
        estimate: Candidate object, real or complex.
        obj: The true object.
        ndim: Number of axes of one object; all axes before them are a batch.
        fourier_shape: Padded grid that shifts live on. At 2n - 1 and above the loss does not depend on it (unless all
            correlations of a real pair are negative); equal to the object's shape it means that objects are
            data-shaped and move circularly. Default: the smallest shape of at least 2n - 1 that is fast.
        shift: Forgive shifts.
        flip: Forgive the conjugate flip.
        phase: Forgive the global phase of complex objects, the sign of real ones. Default: of complex objects only.
        temperature: That of the soft minimum, in units of the loss. Default: the minimum itself.
        reduction: "mean" or "sum" over the items, or "none": one value per item.

    Shape:
        - estimate, obj: (*, n1..nd), or one of them (*, m1..md) with m >= 2n - 1: an object laid out on the whole grid,
          on which it moves circularly, such as a copy by ``RandomSymmetry(fourier_shape=m)``; `fourier_shape` is m then
        - output: (), or (*) with reduction="none"

    Returns:
        Real tensor, squared object units.

    A network's estimates compared with objects on the whole grid that look like intensities are warned of once.

    Raises:
        TypeError: if estimate or obj is not a floating tensor, or an option is of the wrong kind.
        ValueError: if shapes or devices differ, or an option is out of range.

    Example:
        >>> obj = torch.zeros(10, 28, 28)
        >>> obj[:, 4:20, 6:25] = torch.rand(10, 16, 19)
        >>> copy = obj.flip(-2, -1).roll((2, -1), (-2, -1))
        >>> invariant_loss(copy, obj)
        tensor(0.)
    """
    _check_options(ndim, fourier_shape, shift, flip, phase, temperature, reduction)
    estimate, obj, shape, phase = prepare(estimate, obj, ndim, fourier_shape, phase, shift=shift, flip=flip)
    ndim = int(ndim)
    shapes = estimate.shape[-ndim:], obj.shape[-ndim:]
    if shapes[0] != shapes[1] and looks(_calls, estimate, shapes) and _looks_measured(obj, ndim):
        asked(_calls, shapes)
    nearest = search(estimate, obj, shape, shift=shift, flip=flip, phase=phase)
    distance = _distance(estimate, obj, nearest, phase)
    if temperature is not None:
        distance = _soft_minimum(estimate, obj, distance, shape, shift, flip, phase, float(temperature))
    return reduce(distance, reduction)


_calls: Calls = Counter()


@torch.no_grad()
def _looks_measured(obj: Tensor, ndim: int) -> bool:
    """Warn where what should be objects on the whole grid looks like the intensities of real ones.

    Those are not negative, the largest at zero frequency, and but for noise the same at opposite frequencies.
    """
    if obj.is_complex():
        return False
    axes, middle = tuple(range(-ndim, 0)), [m // 2 for m in obj.shape[-ndim:]]
    found = obj.new_zeros(2, dtype=torch.bool)
    for i, x in enumerate((obj, obj.roll([-n for n in middle], axes))):
        x = x.reshape(-1, *x.shape[-ndim:]) / _fft.largest(x.reshape(-1, *x.shape[-ndim:]), ndim)
        rest = x.flatten(1)[:, 1:], _fft.mirror(x, axes).flatten(1)[:, 1:]
        alike = (rest[0] * rest[1]).sum(1) >= 0.3 * rest[0].square().sum(1)
        found[i] = ((x.flatten(1)[:, 0] == 1) & alike & (x.amin(axes) >= 0)).all()
    measured = bool(found.any())
    if measured:
        shape = tuple(obj.shape[-ndim:])
        _checks.warn(
            f"obj looks like measured intensities: of the shape {shape} of the whole grid, nowhere negative, alike at "
            "opposite frequencies, and largest at the zero one",
            "Pass the true objects; PassiveLoss compares estimates with intensities",
            page="wrong.rst#the-network-s-loss-stands-still",
        )
    return measured


def _distance(estimate: Tensor, obj: Tensor, nearest: Symmetry, phase: bool) -> Tensor:
    """Squared distance of the estimate to the object's nearest copy per object pixel: (*)."""
    axes = tuple(range(-len(nearest.object_shape), 0))
    box, of_obj = estimate.shape[axes[0] :], obj.shape[axes[0] :]
    copy = nearest.inverse().cropped(obj, box)
    if phase and obj.is_complex():
        inner = (copy.conj() * estimate).sum(axes, keepdim=True)
        size = inner.abs()
        copy = copy * torch.where(size > 0, inner / _fft.divisor(size), 1)
    # The part of the object whose place in the copy is outside the box, which the estimate misses altogether.
    everywhere = torch.ones((), dtype=torch.bool, device=obj.device).expand(estimate.shape)
    missed = _fft.power(obj.masked_fill(nearest.cropped(everywhere, of_obj), 0))
    total = _fft.power(estimate - copy).sum(axes) + missed.sum(axes)
    return total / math.prod(nearest.object_shape)


def _soft_minimum(
    estimate: Tensor,
    obj: Tensor,
    least: Tensor,
    shape: Sequence[int],
    shift: bool,
    flip: bool,
    phase: bool,
    temperature: float,
) -> Tensor:
    """-t log sum exp(-d/t) over the shifts that leave an overlap and both orientations."""
    d = len(shape)
    axes = tuple(range(-d, 0))
    planes = correlations(estimate, obj, shape, shift=shift, flip=flip)
    if shift:
        planes = [_overlapping(plane, estimate, obj, d, flipped=i == 1) for i, plane in enumerate(planes)]
    else:
        planes = [plane.flatten(-d) for plane in planes]
    values = torch.cat(planes, dim=-1)
    correlation = values.abs() if phase else values.real
    norms = _fft.power(estimate).sum(axes) + _fft.power(obj).sum(axes)
    distance = (norms[..., None] - 2 * correlation) / math.prod(box_of(estimate, obj, d))
    soft = -temperature * torch.logsumexp(-distance / temperature, dim=-1)
    # The expansion of the square cancels digits near 0: shift its values to the directly computed minimum.
    lost = (least - distance.amin(-1)).detach()
    rounding = math.log2(2 * math.prod(shape)) * torch.finfo(norms.dtype).eps * norms.detach()
    return soft + lost.where(lost.abs() < rounding, 0)  # it is lower where only no overlap leaves no negative product


def _overlapping(plane: Tensor, estimate: Tensor, obj: Tensor, d: int, *, flipped: bool) -> Tensor:
    """The correlations of the shifts that leave an overlap: without one all copies are alike, and their number free."""
    boxes, shape = (tuple(estimate.shape[-d:]), tuple(obj.shape[-d:])), tuple(plane.shape[-d:])
    if shape in boxes and boxes[0] != boxes[1]:  # one is a copy of such a box in any place, beside which they are 0
        number = math.prod(min(2 * n - 1, m) for n, m in zip(min(boxes), shape, strict=True))
        values = plane.flatten(-d)
        return values.gather(-1, values.detach().abs().topk(number).indices)
    for axis in range(-d, 0):
        a, b, m = estimate.shape[axis], obj.shape[axis], plane.shape[axis]
        if a + b - 1 < m:  # the twin is reflected at the origin
            first = 0 if flipped else 1 - a
            plane = plane.index_select(axis, torch.arange(first, first + a + b - 1, device=plane.device) % m)
    return plane.flatten(-d)


def _check_options(
    ndim: Any, fourier_shape: Any, shift: Any, flip: Any, phase: Any, temperature: Any, reduction: Any
) -> None:
    _checks.item_axes(ndim)
    if fourier_shape is not None:
        _checks.shape("fourier_shape", fourier_shape)
    _checks.flag(shift=shift, flip=flip)
    _checks.switch("phase", phase)
    if temperature is not None:
        _checks.number("temperature", temperature, above=0)
    check_reduction(reduction)


class InvariantLoss(Module):
    """Module of :func:`invariant_loss`, with the same options.

    Args:
        ndim: Number of axes of one object (1, 2 or 3).
        fourier_shape: Padded grid that shifts live on. Default: the smallest shape of at least 2n - 1 that is fast.
        shift: Forgive shifts.
        flip: Forgive the conjugate flip.
        phase: Forgive the global phase of complex objects, the sign of real ones. Default: of complex objects only.
        temperature: That of the soft minimum. Default: the minimum itself.
        reduction: "mean" or "sum" over the items, or "none": one value per item.

    Example:
        >>> loss = InvariantLoss(shift=False, phase=True)
        >>> loss(-torch.eye(8).roll(1, 0), torch.eye(8).roll(-1, 0))
        tensor(0.)
    """

    def __init__(
        self,
        *,
        ndim: int = 2,
        fourier_shape: Sequence[int] | None = None,
        shift: bool = True,
        flip: bool = True,
        phase: bool | None = None,
        temperature: float | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        _check_options(ndim, fourier_shape, shift, flip, phase, temperature, reduction)
        shape = None if fourier_shape is None else tuple(fourier_shape)
        forgiven = {"shift": shift, "flip": flip, "phase": phase}
        super().__init__(ndim=ndim, fourier_shape=shape, **forgiven, temperature=temperature, reduction=reduction)

    def forward(self, estimate: Tensor, obj: Tensor) -> Tensor:
        """The loss of (estimate, obj)."""
        return invariant_loss(estimate, obj, **self.options)

    __call__ = called_as(forward)
