"""The search for the element of the group that brings an estimate closest to an object."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory
from phaseret.operators import fast_fourier_shape
from phaseret.symmetry._elements import Symmetry, check_group, grid, wrap


def prepare(
    estimate: Tensor,
    obj: Tensor,
    ndim: int,
    fourier_shape: Sequence[int] | None,
    phase: bool | None,
    **flags: bool,
) -> tuple[Tensor, Tensor, tuple[int, ...], bool]:
    """Check a pair and options, bring it to one dtype; also the padded grid, and whether the phase is free."""
    d, fourier_shape = check_group(ndim, fourier_shape, phase, **flags)
    _checks.floating(estimate=estimate, obj=obj)
    _checks.rank(d, estimate=estimate, obj=obj)
    _checks.same_device(estimate=estimate, obj=obj)
    shape = common_grid(estimate, obj, d, fourier_shape)
    dtype = torch.promote_types(_fft.promote(estimate).dtype, _fft.promote(obj).dtype)
    return estimate.to(dtype), obj.to(dtype), shape, dtype.is_complex if phase is None else phase


def common_grid(
    estimate: Tensor, obj: Tensor, ndim: int, fourier_shape: Sequence[int] | None = None
) -> tuple[int, ...]:
    """The grid on which a pair is compared: that of `fourier_shape`, or of the one that is laid out on all of it."""
    a, b = tuple(estimate.shape[-ndim:]), tuple(obj.shape[-ndim:])
    box = box_of(estimate, obj, ndim)
    if estimate.shape[:-ndim] != obj.shape[:-ndim]:
        _checks.same_shape(estimate=estimate, obj=obj)
    if a != b and not on_grid(a, b, fourier_shape):
        whole = f"{tuple(fourier_shape)}" if fourier_shape else f"of at least {tuple(2 * n - 1 for n in box)}"
        rule = f"shapes must be equal, or one of them that of the whole grid {whole}"
        got = f"got estimate {tuple(estimate.shape)}, obj {tuple(obj.shape)}"
        _checks.fail(f"{rule}, {got}", "Crop one of them")
    if fourier_shape is not None:
        return grid(fourier_shape, box)
    return fast_fourier_shape(box, 1) if a == b else max(a, b)


def on_grid(a: tuple[int, ...], b: tuple[int, ...], whole: Sequence[int] | None = None) -> bool:
    """Whether one of two different shapes is the object's box and the other the whole grid."""
    box, larger = sorted((a, b))
    if any(n > m for n, m in zip(box, larger, strict=True)):
        return False
    if whole is not None:
        return larger == tuple(whole)
    return all(m >= 2 * n - 1 for m, n in zip(larger, box, strict=True))


def box_of(estimate: Tensor, obj: Tensor, ndim: int) -> tuple[int, ...]:
    """The shape of one object: the smaller one, where the other is laid out on the whole grid."""
    return tuple(min(n) for n in zip(estimate.shape[-ndim:], obj.shape[-ndim:], strict=True))


def twin(x: Tensor, box: Sequence[int]) -> Tensor:
    """The conjugate flip around the centre of the box, of objects or of what is laid out on the whole grid."""
    axes = tuple(range(-len(box), 0))
    flipped = x.flip(axes).conj()
    back = [n - m for n, m in zip(box, x.shape[-len(box) :], strict=True)]
    return flipped.roll(back, axes) if any(back) else flipped


@torch.no_grad()
def search(
    estimate: Tensor,
    obj: Tensor,
    shape: Sequence[int],
    *,
    shift: bool = True,
    flip: bool = True,
    phase: bool = False,
    double: bool = False,
) -> Symmetry:
    """The element of the group on the padded grid that brings the estimate closest to the object, for each item.

    The largest correlation wins. Values that differ by no more than the transform's rounding count as equal, and
    the first of equals wins: unflipped before flipped, then the smallest index of the shift, the last axis fastest.
    In single precision distances that differ by less than some 1e-6 of the squared norms are equal in this sense;
    `double` computes in double precision where the device has it.
    """
    d = len(shape)
    box, batch = box_of(estimate, obj, d), obj.shape[:-d]
    pairs = [x.detach().reshape(-1, *x.shape[-d:]) for x in (estimate, obj)]
    items = max(1, _memory.pixels_at_a_time(obj.device) // math.prod(shape)) if shift else len(pairs[0])
    pieces = zip(*(torch.split(x, items) for x in pairs), strict=True)
    dtype = _fft.double(obj.dtype, obj.device) if double else obj.dtype
    found = [_search(a.to(dtype), b.to(dtype), shape, shift, flip, phase) for a, b in pieces]
    shifts, flipped, angle = (torch.cat(parts) for parts in zip(*found, strict=True))
    angle = angle.to(obj.real.dtype).reshape(batch)
    return Symmetry(wrap(shifts, shape).reshape(*batch, d), flipped.reshape(batch), angle, box, tuple(shape))


def _search(
    estimate: Tensor, obj: Tensor, shape: Sequence[int], shift: bool, flip: bool, phase: bool
) -> tuple[Tensor, Tensor, Tensor]:
    d, count = len(shape), len(obj)
    axes = tuple(range(-d, 0))
    # With the largest value of each scaled to one, no product over- or underflows.
    estimate, obj = (x / _fft.largest(x, len(axes)) for x in (estimate, obj))
    planes = correlations(estimate, obj, shape, shift=shift, flip=flip)
    sizes = planes[0].shape[1:]
    rounding = math.log2(2 * math.prod(shape)) * torch.finfo(obj.dtype).eps
    norms = (_fft.power(estimate).sum(axes) * _fft.power(obj).sum(axes)).sqrt()

    # The first best entry is the first one of the first row that holds one: only row maxima are kept. The reflection
    # at the origin differs from the flip of the box by a shift of n - 1 pixels; rows and columns are re-ordered by it.
    origin = [n - 1 if shift else 0 for n in box_of(estimate, obj, d)]
    rows = [_row_maximum(plane, phase) for plane in planes]
    if flip and d > 1:
        rows[1] = rows[1].roll([-o for o in origin[:-1]], tuple(range(1, d)))
    row = torch.cat([r.reshape(count, -1) for r in rows], dim=1)
    least = (row.amax(1) - rounding * norms)[:, None]
    first = _first(row >= least)
    flipped, first = first >= rows[0][0].numel(), first % rows[0][0].numel()
    index = _unravel(first, sizes[:-1])
    moved = [torch.where(flipped, (i + o) % m, i) for i, o, m in zip(index, origin, sizes, strict=False)]
    item = torch.arange(count, device=obj.device)
    place = (item, *moved)
    line = planes[0][place]
    if flip:
        column = (torch.arange(sizes[-1], device=obj.device) + origin[-1]) % sizes[-1]
        line = torch.where(flipped[:, None], planes[1][place][:, column], line)
    index.append(_first(_score(line, phase) >= least))
    peak = line.gather(1, index[-1][:, None])[:, 0]
    # The phase that makes the correlation positive.
    angle = peak.angle() if phase else torch.zeros_like(peak.real)
    return torch.stack(index, dim=-1), flipped, angle


def correlations(estimate: Tensor, obj: Tensor, shape: Sequence[int], *, shift: bool, flip: bool) -> list[Tensor]:
    """The correlation with the object after each shift, or the inner product, of the estimate and then of its twin."""
    if shift:
        return _fft.correlation(estimate, obj, shape, flip)
    axes, box = tuple(range(-len(shape), 0)), box_of(estimate, obj, len(shape))
    if estimate.shape != obj.shape:
        estimate, obj = _fft.pad(estimate, shape), _fft.pad(obj, shape)
    copies = [estimate, twin(estimate, box)] if flip else [estimate]
    return [(copy.conj() * obj).sum(axes, keepdim=True) for copy in copies]


def overlap(placed: Tensor, obj: Tensor, d: int) -> Tensor:
    """The inner products of what was placed on the grid with the objects, in the product of their units: (*)."""
    cut = _fft.crop(placed / _fft.unit(placed, d), obj.shape[-d:])
    return (cut.conj() * (obj / _fft.unit(obj, d))).sum(tuple(range(-d, 0)))


def following(placed: Tensor, inner: Tensor) -> Tensor:
    """What was multiplied by the phase of its inner products (*), as a constant, with the derivatives of that phase.

    The values stay as they are: the inner products with the phase are positive.
    """
    angle = inner.where(inner != 0, 1).angle()
    factor = torch.polar(torch.ones_like(angle), angle - angle.detach())
    return placed * factor.reshape(*factor.shape, *[1] * (placed.ndim - factor.ndim))


def _score(values: Tensor, phase: bool) -> Tensor:
    return values.abs() if phase else values.real


def _row_maximum(plane: Tensor, phase: bool) -> Tensor:
    if phase and not plane.is_complex():
        return torch.maximum(plane.amax(-1), -plane.amin(-1))
    return _fft.power(plane).amax(-1).sqrt() if phase else plane.real.amax(-1)


def _first(hits: Tensor) -> Tensor:
    """Index of the first True along axis 1."""
    return hits.to(torch.uint8).argmax(1)


def _unravel(index: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """The indices along each axis that belong to an index into all of them, the last axis fastest."""
    result: list[Tensor] = []
    for size in reversed(sizes):
        result.insert(0, index % size)
        index = index.div(size, rounding_mode="floor")
    return result
