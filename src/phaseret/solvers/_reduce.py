"""A large frame on the smallest grid that holds the object's autocorrelation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators import validate
from phaseret.solvers._extent import lags

# How often gaps are filled from the band limit: small ones need less.
_FILLS = 60
# The widest gap that may be filled, in pixels of the coarser grid.
_WIDE = 1.5


def reduce_pattern(
    intensity: Tensor,
    object_shape: Sequence[int],
    *,
    fourier_shape: Sequence[int] | None = None,
    mask: Tensor | None = None,
    norm: _fft.Norm = "ortho",
    centered: bool = False,
) -> tuple[Tensor, Tensor | None]:
    r"""The same pattern on a coarser grid: the object keeps its pixels, values and resolution, and is found sooner.

    An intensity is a band-limited function, its band the autocorrelation of the object, 2n - 1 pixels wide. A frame of
    more than 2n - 1 pixels says it more often than needed: it is cropped in the autocorrelation, which leaves out the
    noise where there is none. Nothing is lost as long as the object fits into `object_shape`.

    Gaps are filled from the band limit, by projections; a pixel that rests on them more than on measured ones is
    unmeasured in the result. That holds for narrow gaps: where one is wider than 1.5 pixels of the coarser grid along
    all axes, as a beam stop often is, what it hides is guessed, and so is what lies beside it. A warning says so.

    Args:
        intensity: Measured intensity; what the detector counts without the object must have been subtracted.
        object_shape: Sizes n of the object, or of the box that holds it.
        fourier_shape: Sizes of the coarser grid, from 2n - 1 to those of the frame. Default: from 2n on the next that
            are quick to transform.
        mask: True where measured.
        norm: Normalisation of the transform: "ortho", "backward" or "forward".
        centered: Whether the zero frequency lies in the middle of the intensity (and mask), in both grids.

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
    intensity, shape = _fft.promote(intensity), tuple(intensity.shape[-d:])
    if fourier_shape is None:
        fourier_shape = quick_grid(shape, object_shape)
    grid = _checks.shape("fourier_shape", fourier_shape)
    _checks.fourier_shape(grid, object_shape)
    if any(new > m for new, m in zip(grid, shape, strict=True)):
        _checks.fail(f"fourier_shape must be at most that of the intensity {shape}, got {grid}", "Use smaller sizes")
    axes = _fft.centered_axes(d, onesided=False, centered=centered)
    values = _fft.uncenter(intensity, axes)
    unknown: Tensor | None = None
    if mask is not None:
        known = _fft.uncenter(_checks.mask(mask, intensity), axes)
        if not known.all():
            unknown = ~known
            if wide_gaps(known, grid):
                _checks.warn(
                    f"mask has gaps wider than {_WIDE} pixels of the grid {grid}: what lies beside them is guessed",
                    "Solve on the frame as it is, or on a larger fourier_shape",
                )
            values = _filled(values.where(known, 0), known, [2 * n - 1 for n in object_shape])
    # the values stay those of the same objects under the normalisation
    factor = (math.prod(shape) / math.prod(grid)) ** {"ortho": 1, "backward": 0, "forward": 2}[norm]
    found = _fft.center(_coarser(values, grid).clamp(min=0) * factor, axes)
    if unknown is None:
        return found, None
    return found, _fft.center(_coarser(unknown.to(values.dtype), grid) < 0.5, axes)


def wide_gaps(known: Tensor, grid: Sequence[int]) -> bool:
    """Whether a gap (*, m1..md) holds a box of `_WIDE` pixels of the coarser grid, wherever it wraps around."""
    d = len(grid)
    shape = known.shape[-d:]
    sizes = [min(m, math.ceil(_WIDE * m / new)) for m, new in zip(shape, grid, strict=True)]
    found = known.reshape(-1, 1, *shape).float()
    for axis, size in zip(range(-d, 0), sizes, strict=True):  # the largest of each window, axis by axis
        wrapped = torch.cat([found, found.narrow(axis, 0, size - 1)], axis) if size > 1 else found
        found = wrapped.unfold(axis, size, 1).amax(-1)
    return not bool(found.all())


def quick_grid(shape: Sequence[int], object_shape: Sequence[int]) -> tuple[int, ...]:
    """The sizes of a grid for the object that is quick to transform, at most those of the frame."""
    return tuple(min(m, _fft.quick_size(2 * n)) for m, n in zip(shape, object_shape, strict=True))


def _coarser(plane: Tensor, grid: Sequence[int]) -> Tensor:
    """A plane at the pixels of a coarser grid: of its transform the lags that the grid holds are kept."""
    shape = plane.shape[-len(grid) :]
    seen = _fft.transform(plane, len(grid)) / math.prod(shape)
    return _fft.inverse_sum(_fft.resize_spectrum(seen, shape, grid, real=True), grid, real=True)


def _filled(values: Tensor, known: Tensor, band: Sequence[int]) -> Tensor:
    """The gaps filled with what the band limit says: alternately the known values and the known band are imposed."""
    filled, d = values, len(band)
    shape = values.shape[-d:]
    inside = torch.ones((), dtype=values.dtype, device=values.device)
    for axis, (m, width) in enumerate(zip(shape, band, strict=True)):
        part = (lags(m, values) <= width // 2).to(values.dtype)
        part = part if axis < d - 1 else _fft.half_from_full(part)
        inside = inside * part.reshape(-1, *[1] * (d - 1 - axis))
    inside = inside / math.prod(shape)
    for _ in range(_FILLS):
        smooth = _fft.inverse_sum(_fft.transform(filled, d) * inside, shape, real=True)
        filled = torch.where(known, values, smooth.clamp(min=0))
    return filled
