"""Registration: the element of the group that brings an estimate closest to an object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators import fast_fourier_shape
from phaseret.symmetry._elements import Symmetry, grid, item_axes, wrap


@dataclass(frozen=True)
class Alignment:
    """What :func:`align` found and removed, one entry per item.

    Attributes:
        aligned: (*, n1..nd) estimate after flip, shift and phase (and scale), cropped to the object's box.
        shifts: (*, d) shift that was applied, in pixels, in [-(m-1)//2, m//2]; integers.
        flipped: (*) boolean, whether the estimate was conjugate-flipped (before the shift).
        phase: (*) global phase that was applied, in radians; 0 or pi for real objects.
        scale: (*) factor that was applied; 1 unless asked for.
        error: (*) squared distance to the object on the padded grid per object pixel.
        symmetry: The element itself, which can be applied to other tensors, inverted and composed.
    """

    aligned: Tensor
    shifts: Tensor
    flipped: Tensor
    phase: Tensor
    scale: Tensor
    error: Tensor
    symmetry: Symmetry


def align(
    estimate: Tensor,
    obj: Tensor,
    *,
    ndim: int = 2,
    fourier_shape: Sequence[int] | None = None,
    shift: bool = True,
    flip: bool = True,
    phase: bool | None = None,
    scale: bool = False,
) -> Alignment:
    d = item_axes("align", ndim)
    estimate, obj, shape, phase = prepare("align", estimate, obj, d, fourier_shape, phase)
    with torch.no_grad():
        symmetry = search(estimate, obj, shape, shift=shift, flip=flip, phase=phase)
    axes = tuple(range(-d, 0))
    object_shape = symmetry.object_shape
    placed = symmetry.cropped(estimate, shape)
    aligned = _fft.crop(placed, object_shape)
    factor = torch.ones_like(symmetry.phase)
    if scale:
        inner = (aligned.conj() * obj).real.sum(axes)
        norm = _fft.power(placed).sum(axes)
        factor = inner.clamp(min=0) / torch.where(norm > 0, norm, 1)
        placed, aligned = (x * factor.reshape(*factor.shape, *[1] * d) for x in (placed, aligned))
    error = _fft.power(placed - _fft.pad(obj, shape)).sum(axes) / math.prod(object_shape)
    return Alignment(aligned, symmetry.shifts, symmetry.flipped, symmetry.phase, factor, error, symmetry)


def prepare(
    where: str,
    estimate: Tensor,
    obj: Tensor,
    d: int,
    fourier_shape: Sequence[int] | None,
    phase: bool | None,
) -> tuple[Tensor, Tensor, tuple[int, ...], bool]:
    """Check a pair; bring it to one dtype; and give the padded grid and whether the phase is free."""
    _checks.floating(where, estimate=estimate, obj=obj)
    _checks.rank(where, d, estimate=estimate, obj=obj)
    _checks.same_device(where, estimate=estimate, obj=obj)
    _checks.same_shape(where, estimate=estimate, obj=obj)
    object_shape = tuple(obj.shape[-d:])
    shape = fast_fourier_shape(object_shape, 1) if fourier_shape is None else grid(where, fourier_shape, object_shape)
    dtype = torch.promote_types(_fft.promote(estimate).dtype, _fft.promote(obj).dtype)
    return estimate.to(dtype), obj.to(dtype), shape, dtype.is_complex if phase is None else bool(phase)


def search(estimate: Tensor, obj: Tensor, shape: Sequence[int], *, shift: bool, flip: bool, phase: bool) -> Symmetry:
    """The element of the group, on the padded grid, that brings the estimate closest to the object.

    The largest correlation wins. Values that differ by no more than the transform's rounding count as equal, and of
    equals the first wins: unflipped before flipped, then the smallest index of the shift, the last axis fastest.
    """
    d = len(shape)
    object_shape = tuple(obj.shape[-d:])
    batch = obj.shape[:-d]
    axes = tuple(range(-d, 0))
    # Scale to unit maximum, so that no product over- or underflows.
    estimate, obj = (x / _nonzero(x.abs().amax(axes, keepdim=True)) for x in (estimate, obj))
    if shift:
        correlation = _fft.correlation(estimate, obj, shape, object_shape, flip)
    else:
        twins = [estimate, estimate.flip(axes).conj()] if flip else [estimate]
        correlation = (torch.stack(twins, -d - 1).conj() * obj.unsqueeze(-d - 1)).sum(axes, keepdim=True)
    score = correlation.flatten(len(batch))
    score = score.abs() if phase else score.real
    norms = (_fft.power(estimate).sum(axes) * _fft.power(obj).sum(axes)).sqrt()
    rounding = 2 * math.log2(2 * math.prod(shape)) * torch.finfo(score.dtype).eps
    least = score.amax(-1) - rounding * norms
    winner = (score >= least[..., None]).to(torch.uint8).argmax(-1)
    factor = correlation.flatten(len(batch)).gather(-1, winner[..., None])[..., 0]
    # The phase that turns the estimate's correlation positive; none where they are orthogonal.
    angle = factor.angle() if phase else torch.zeros_like(least)
    grid_shape = shape if shift else (1,) * d
    index = [winner % math.prod(grid_shape)]
    for size in reversed(grid_shape[1:]):
        index[:1] = [index[0].div(size, rounding_mode="floor"), index[0] % size]
    shifts = wrap(torch.stack(index, dim=-1), shape)
    flipped = winner >= math.prod(grid_shape)
    return Symmetry(shifts, flipped, angle, object_shape, tuple(shape))


def _nonzero(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 1)
