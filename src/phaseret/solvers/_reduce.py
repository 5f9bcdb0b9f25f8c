"""A large frame on the smallest grid that holds the object's autocorrelation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators import validate
from phaseret.projections import CONSTRAINTS, Constraint
from phaseret.solvers._extent import filled, window

# A coarser grid is so many times as large as the object, and where gaps are filled; a pixel is unmeasured that rests on
# them by more than this share.
_ROOM, _ROOM_WITH_GAPS, _UNKNOWN = 2.0, 2.5, 0.25


def reduce_pattern(
    intensity: Tensor,
    object_shape: Sequence[int],
    *,
    fourier_shape: Sequence[int] | None = None,
    mask: Tensor | None = None,
    norm: _fft.Norm = "ortho",
    centered: bool = False,
    constraint: Constraint = "complex",
    offset: Sequence[float] | None = None,
) -> tuple[Tensor, Tensor | None]:
    r"""The same pattern on a coarser grid: the object keeps its pixels, values and resolution, and is found sooner.

    An intensity is a band-limited function, its band the autocorrelation of the object, 2n - 1 pixels wide. A frame of
    more than 2n - 1 pixels says it more often than needed: it is cropped in the autocorrelation, which leaves out the
    noise where there is none. Nothing is lost as long as the object fits into `object_shape`.

    Gaps are filled by least squares, such that the least of the autocorrelation lies beyond `object_shape`, which is
    right of gaps up to about a speckle wide; a pixel that rests on them by more than a quarter is unmeasured in the
    result. What a wider gap hides, as a large beam stop does, cannot be known: so that wrong values stay there, the
    autocorrelation is cropped softly where there are gaps, which takes a finer grid.

    Args:
        intensity: Measured intensity; what the detector counts without the object must have been subtracted.
        object_shape: Sizes n of the object, or of the box that holds it.
        fourier_shape: Sizes of the coarser grid, from 2n - 1 to those of the frame. Default: from 2n on, with gaps from
            2.5n on, the next that are quick to transform.
        mask: True where measured.
        norm: Normalisation of the transform: "ortho", "backward" or "forward".
        centered: Whether the zero frequency lies in the middle of the intensity (and mask), in both grids.
        constraint: What the object is known to be: the autocorrelation of a "nonnegative" one is real, which helps
            where there are gaps.
        offset: How far, in pixels of the frame, the zero frequency lies behind the pixel where it should: fractions of
            a pixel, as the centres of measured patterns have, are taken away.

    Shape:
        - intensity: (*, m1..md)
        - mask: (*, m1..md), or what broadcasts to it

    Returns:
        (intensity, mask) on the coarser grid, as the solvers take them; mask is None if all was measured.

    Raises:
        TypeError: if the intensity is not real floating, or the mask not boolean.
        ValueError: if intensities are negative or not finite, or a size does not lie between 2n - 1 and the frame's.

    Example:
        >>> obj = torch.rand(20, 24)
        >>> intensity = pr.operators.fourier_intensity(obj, (199, 211))
        >>> coarser, mask = reduce_pattern(intensity, (20, 24))
        >>> coarser.shape
        torch.Size([40, 48])
        >>> expected = pr.operators.fourier_intensity(obj, (40, 48))
        >>> torch.allclose(coarser, expected, atol=1e-3 * float(expected.max()))
        True

    Source:
        The sampling theorem for intensities: Bates (1982), Fourier phase problems are uniquely solvable in more than
        one dimension, Optik 61, 247. Gaps: Papoulis (1975), doi:10.1109/TCS.1975.1084118.
    """
    object_shape = _checks.shape("object_shape", object_shape)
    d = len(object_shape)
    validate(intensity, mask=mask, ndim=d)
    _checks.choice("norm", norm, get_args(_fft.Norm))
    _checks.flag(centered=centered)
    _checks.choice("constraint", constraint, CONSTRAINTS)
    intensity, shape = _fft.promote(intensity), tuple(intensity.shape[-d:])
    offset = _offset(offset, d)
    known = None if mask is None or bool(mask.all()) else _checks.mask(mask, intensity)
    if fourier_shape is None:
        fourier_shape = quick_grid(shape, object_shape, gaps=known is not None)
    grid = _checks.shape("fourier_shape", fourier_shape)
    _checks.fourier_shape(grid, object_shape)
    if any(new > m for new, m in zip(grid, shape, strict=True)):
        _checks.fail(f"fourier_shape must be at most that of the intensity {shape}, got {grid}", "Use smaller sizes")
    axes = _fft.centered_axes(d, onesided=False, centered=centered)
    values = _fft.uncenter(intensity, axes)
    reach = torch.tensor([n - 1.0 for n in object_shape], dtype=values.dtype, device=values.device)
    if known is not None:
        known = _fft.uncenter(known, axes)
        values = filled(values, known, d, reach, positive=constraint == "nonnegative" and not any(offset))
    # the values stay those of the same objects under the normalisation
    factor = (math.prod(shape) / math.prod(grid)) ** {"ortho": 1, "backward": 0, "forward": 2}[norm]
    inside = None if known is None else window(shape, reach, values)
    if any(offset):
        ramp = _ramp(shape, offset, values)
        inside = ramp if inside is None else inside * ramp
    found = _fft.center(_coarser(values, grid, inside).clamp(min=0) * factor, axes)
    if known is None:
        return found, None
    return found, _fft.center(_coarser((~known).to(values.dtype), grid, inside) < _UNKNOWN, axes)


def _offset(offset: Sequence[float] | None, d: int) -> tuple[float, ...]:
    if offset is None:
        return (0.0,) * d
    _checks.sequence("offset", offset, "numbers", "Use one for each axis")
    offset = tuple(offset)
    if len(offset) != d:
        _checks.fail(f"offset must hold {d} numbers, one for each axis, got {offset}", "Use 0.0 for no offset")
    return tuple(_checks.number("offset", c) for c in offset)


def _ramp(shape: Sequence[int], offset: Sequence[float], like: Tensor) -> Tensor:
    """The phases, for half of the lags, that move a plane by the offset towards index 0."""
    d, found = len(shape), torch.ones((), dtype=like.dtype.to_complex(), device=like.device)
    for axis, (m, c) in enumerate(zip(shape, offset, strict=True)):
        index = torch.arange(m if axis < d - 1 else m // 2 + 1, dtype=like.dtype, device=like.device)
        lag = torch.where(2 * index > m, index - m, index)
        line = torch.polar(torch.ones_like(lag), 2 * math.pi * c * lag / m)
        found = found * _fft.along(line, axis, d)
    return found


def quick_grid(shape: Sequence[int], object_shape: Sequence[int], gaps: bool) -> tuple[int, ...]:
    """The sizes of a grid for the object that is quick to transform, at most those of the frame."""
    room = _ROOM_WITH_GAPS if gaps else _ROOM
    return tuple(min(m, _fft.quick_size(math.ceil(room * n))) for m, n in zip(shape, object_shape, strict=True))


def _coarser(plane: Tensor, grid: Sequence[int], inside: Tensor | None) -> Tensor:
    """A plane at the pixels of a coarser grid: of its transform the lags that the grid holds are kept, or a window."""
    shape = plane.shape[-len(grid) :]
    seen = _fft.transform(plane, len(grid)) / math.prod(shape)
    if inside is not None:
        seen = seen * inside
    return _fft.inverse_sum(_fft.resize_spectrum(seen, shape, grid, real=True), grid, real=True)
