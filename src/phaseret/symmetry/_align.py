"""Registration: an estimate after the symmetry that brings it closest to the object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory
from phaseret.symmetry._elements import Symmetry
from phaseret.symmetry._search import box_of, following, overlap, prepare, search, twin


@dataclass(frozen=True, eq=False)
class Alignment:
    """What :func:`align` found and removed; one entry per item.

    Attributes:
        aligned: (*, n1..nd) estimate after flip, shift and phase (and scale), cropped to the object's box.
        shifts: (*, d) pixels by which the estimate was shifted, in [-(m-1)//2, m//2]: integers, or with upsample > 1
            multiples of 1/upsample.
        flipped: (*) boolean, whether the estimate was conjugate-flipped, before the shift.
        phase: (*) global phase, in radians, that the estimate was multiplied by; for real objects 0 or pi.
        scale: (*) positive factor that the estimate was multiplied by; 1 unless asked for.
        error: (*) what is left: squared distance to the object on the padded grid, divided by the number of object
            pixels (of the smaller of the pair). What `aligned` lost in the crop is counted too.
        symmetry: The exact element of the group that was applied (with upsample > 1: before the refinement). It can be
            applied to other tensors, inverted and composed.
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
    upsample: int = 1,
) -> Alignment:
    r"""Remove from the estimate what the data cannot see: shift, conjugate flip and global phase.

    .. math:: \min_{s,\,f,\,\theta} \; \| e^{i \theta} \, T_s \, C^f \, \hat x - x \|^2

    over the whole group on the padded grid. All shifts are tried at once by cross-correlation, all items in one batch
    on their device, in double precision (in single on Apple's, which has no double). Values within its rounding count
    as equal, and the first of equals is taken: unflipped before flipped, then the smallest shift index, 0 first, the
    last axis fastest. So an estimate that is already right, or zero, is left as it is.

    The shift and flip that were found are constants for the gradient, which reaches estimate and obj through the
    result; the phase and the scale in it follow both.

    Args:
        estimate: Candidate object, real or complex.
        obj: The object to compare with.
        ndim: Number of axes of one object; all axes before them are a batch.
        fourier_shape: Padded grid that shifts live on. At 2n - 1 and above the result does not depend on it (unless
            all correlations of a real pair are negative); equal to the object's shape it means that objects are
            data-shaped and move circularly. Default: the smallest shape of at least 2n - 1 that is fast.
        shift: Try shifts.
        flip: Try the conjugate flip.
        phase: Remove the global phase of complex objects, the sign of real ones. Default: complex objects only, since
            real objects are mostly non-negative images, whose sign is known.
        scale: Multiply by the positive factor that fits best.
        upsample: Refine the shift to 1/upsample pixel, by the maximum of the upsampled cross-correlation within 3/4
            pixel of the best whole-pixel shift. The subpixel shift is a Fourier one, :func:`subpixel_shift`.

    Shape:
        - estimate, obj: (*, n1..nd), or one of them (*, m1..md) with m >= 2n - 1: an object laid out on the whole grid,
          as a reconstruction without a box. It moves circularly on it, and `fourier_shape` may be left out.
        - output: an :class:`Alignment`, whose `aligned` has the shape of obj

    Returns:
        The aligned estimate, in the common dtype of the pair (complex if one of them is), and what was removed.

    Raises:
        TypeError: if estimate or obj is not a floating tensor, or an option is of the wrong kind.
        ValueError: if shapes or devices differ, or fourier_shape does not hold the object.

    Example:
        >>> obj = torch.rand(10, 28, 28)
        >>> found = align(obj.flip(-2, -1), obj)
        >>> found.aligned.allclose(obj), found.flipped.all().item(), found.error.max().item()
        (True, True, 0.0)

    Source:
        Subpixel refinement: Guizar-Sicairos, Thurman, Fienup (2008), Efficient subpixel image registration algorithms,
        doi:10.1364/OL.33.000156; here batched, each orientation refined before the better is taken, and with the
        Nyquist frequency of even sizes taken as the mean of its two signs, so that real objects stay real.
    """
    upsample = _checks.integer("upsample", upsample)
    estimate, obj, shape, phase = prepare(
        estimate, obj, ndim, fourier_shape, phase, shift=shift, flip=flip, scale=scale
    )
    return register(estimate, obj, shape, shift=shift, flip=flip, phase=phase, scale=scale, upsample=upsample)


def register(
    estimate: Tensor,
    obj: Tensor,
    shape: tuple[int, ...],
    *,
    shift: bool = True,
    flip: bool,
    phase: bool,
    scale: bool = False,
    upsample: int = 1,
) -> Alignment:
    """:func:`align` of a pair that is checked and of one dtype, on the padded grid `shape`."""
    d = len(shape)
    axes = tuple(range(-d, 0))
    if upsample == 1 or not shift:
        symmetry = search(estimate, obj, shape, shift=shift, flip=flip, phase=phase, double=True)
        shifts, angle = symmetry.shifts, symmetry.phase
        placed = symmetry.cropped(estimate, shape)
    else:
        symmetry, shifts, angle = _refined(estimate, obj, shape, upsample, flip=flip, phase=phase)
        still = replace(symmetry, shifts=torch.zeros_like(symmetry.shifts), phase=angle)
        placed = _fft.fourier_shift(still.cropped(estimate, shape), shifts, shape)
    if phase and obj.is_complex():
        placed = following(placed, overlap(placed, obj, d))
    factor = torch.ones_like(angle)
    if scale:
        unit = _fft.unit(placed, d)
        inner, norm = overlap(placed, obj, d).real, _fft.power(placed / unit).sum(axes)
        factor = inner.clamp(min=0) / _fft.divisor(norm) * (_fft.unit(obj, d) / unit).flatten(-d)[..., 0]
        placed = placed * factor.reshape(*factor.shape, *[1] * d)
    error = _fft.power(placed - _fft.pad(obj, shape)).sum(axes) / math.prod(symmetry.object_shape)
    return Alignment(_fft.crop(placed, obj.shape[-d:]), shifts, symmetry.flipped, angle, factor, error, symmetry)


@torch.no_grad()
def _refined(
    estimate: Tensor, obj: Tensor, shape: Sequence[int], upsample: int, *, flip: bool, phase: bool
) -> tuple[Symmetry, Tensor, Tensor]:
    """The best exact element, and the best shift on a grid of 1/upsample pixel around it with the phase there.

    Each orientation is refined before they are compared. In double precision: next to its maximum the correlation
    changes by less than single precision resolves.
    """
    d, reach = len(shape), math.ceil(0.75 * upsample)
    needed = 2.0 * 16 * (1 + flip) * (obj.numel() // math.prod(obj.shape[-d:])) * (2 * reach + 1) ** d
    _memory.check_fits("the places to compare", needed, "Use a smaller one", f"upsample={upsample}", obj.device)
    twins = torch.stack([estimate, twin(estimate, box_of(estimate, obj, d))] if flip else [estimate])
    rough = search(twins, obj.expand(len(twins), *obj.shape), shape, flip=False, phase=phase, double=True)
    offsets = torch.arange(-reach, reach + 1, device=obj.device).to(_fft.double(obj.real.dtype, obj.device)) / upsample
    points = rough.shifts[..., None] + offsets
    values = _fft.correlation_at(twins, obj, shape, points)
    values = values if obj.is_complex() else values.real
    flat = values.flatten(-d)
    score = flat.abs() if phase else flat.real
    winner = score.argmax(-1, keepdim=True)
    peak, best = flat.gather(-1, winner)[..., 0], score.gather(-1, winner)[..., 0]
    place = torch.stack(torch.unravel_index(winner[..., 0], values.shape[-d:]), dim=-1)
    shifts = points.gather(-1, place[..., None])[..., 0]
    angle = peak.angle() if phase else torch.zeros_like(peak.real)
    flipped = best[-1] > best[0] * (1 + 8 * torch.finfo(best.dtype).eps)

    def chosen(pair: Tensor) -> Tensor:
        return torch.where(flipped.reshape([*flipped.shape, *[1] * (pair.ndim - 1 - flipped.ndim)]), pair[-1], pair[0])

    exact = replace(rough, shifts=chosen(rough.shifts), flipped=flipped, phase=chosen(rough.phase))
    return exact, chosen(shifts).to(obj.real.dtype), chosen(angle).to(obj.real.dtype)
