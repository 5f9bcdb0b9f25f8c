"""What can be said of a measurement before any phase is retrieved."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch

from phaseret import _checks, _fft
from phaseret.io._measurement import Measurement, in_file

# The autocorrelation is present above seven standard deviations of its noise, between these shares of its peak.
_PRESENT_AT_LEAST, _PRESENT_AT_MOST = 0.001, 0.04
# Another centre is advised if it leaves at most this share of the asymmetry about the middle: a complex object may be
# somewhat more symmetric elsewhere.
_BETTER = 0.33
# So symmetric a pattern has its centre there, whatever lies half a pixel beside it.
_EXACT = 0.98
# Neighbours of a flat level correlate less than this.
_SPECKLED = 0.1


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What :func:`inspect` finds; ``str`` of it is the table that ``phaseret info`` prints.

    Attributes:
        shape: Sizes (m1..md) of one pattern.
        patterns: How many there are.
        total: Sum of the intensity of one pattern, the mean over the stack.
        largest: Largest intensity.
        zero: Share of the measured pixels that are 0.
        missing: Share of all pixels that the file masks or that are not finite.
        negative: Share of all pixels that are negative.
        saturated: Share of all pixels that are saturated.
        center: The pixel that was taken as the zero frequency, m // 2.
        center_peak: The brightest pixel of the mean pattern, in a frame with the zero frequency at m // 2.
        center_friedel: The centre about which the mean pattern is most symmetric, in half pixels.
        friedel: How symmetric it is about that centre: 1 = exactly, as the pattern of a real object is.
        object_shape: Sizes of the object, half of its autocorrelation's, rounded up.
        oversampling: m / n along each axis; the phase problem needs 2 - 1/n.
        object_pixel_size: Pixel of the object in metres, if the file tells the geometry.
        warnings: What to look at before a reconstruction.
    """

    shape: tuple[int, ...]
    patterns: int
    total: float
    largest: float
    zero: float
    missing: float
    negative: float
    saturated: float
    center: tuple[int, ...]
    center_peak: tuple[int, ...]
    center_friedel: tuple[float, ...]
    friedel: float
    object_shape: tuple[int, ...]
    oversampling: tuple[float, ...]
    object_pixel_size: tuple[float, ...] | None
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        rows = [
            ("size", " x ".join(map(str, self.shape)) + (f", {self.patterns} patterns" if self.patterns > 1 else "")),
            ("total, largest", f"{self.total:.6g}, {self.largest:.6g}"),
            ("missing", f"{self.missing:.2%}"),
            ("negative", f"{self.negative:.2%}"),
            ("saturated", f"{self.saturated:.2%}"),
            ("zero", f"{self.zero:.2%} of the measured pixels"),
            ("centre assumed", _pixel(self.center)),
            ("centre by peak", _pixel(self.center_peak)),
            ("centre by Friedel", f"{_pixel(self.center_friedel)}, symmetry {self.friedel:.3f}"),
            ("object, about", " x ".join(map(str, self.object_shape)) + " pixels"),
            ("oversampling", " x ".join(f"{ratio:.2f}" for ratio in self.oversampling)),
        ]
        if self.object_pixel_size is not None:
            rows.append(("object pixel", " x ".join(f"{1e9 * size:.4g}" for size in self.object_pixel_size) + " nm"))
        lines = [f"{name:18}{value}" for name, value in rows]
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])


def _pixel(place: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{c:g}" for c in place) + ")"


def inspect(measurement: Measurement) -> Inspection:
    """Say what can be seen in a measurement before a reconstruction, and what is wrong with it.

    The centre by Friedel symmetry is half of the place where the normalised convolution of the magnitude (less its
    mean) with itself is largest, over the measured pixels only. The object's size is half of the extent of its
    autocorrelation, the inverse transform of the intensity: an estimate, too small for objects with faint edges and
    for patterns without their centre.

    Args:
        measurement: From `load_intensity` or `as_measurement`. The mean pattern of a stack is looked at.

    Returns:
        Inspection; print it to read it.

    Raises:
        TypeError: if measurement is not a Measurement.

    Example:
        >>> obj = torch.rand(20, 24)
        >>> found = inspect(pr.io.as_measurement(pr.operators.fourier_intensity(obj, (64, 64))))
        >>> found.center_friedel, found.object_shape
        ((32.0, 32.0), (20, 24))

    Source:
        Miao, Sayre, Chapman (1998), Phase retrieval from the magnitude of the Fourier transforms of nonperiodic
        objects, doi:10.1364/JOSAA.15.001662, for oversampling; Padfield (2012), Masked object registration in the
        Fourier domain, doi:10.1109/TIP.2011.2181402, eq. 15, for the correlation with a mask.
    """
    fix = "Use load_intensity(path) or as_measurement(intensity)"
    _checks.instance("measurement", measurement, Measurement, fix)
    axes = tuple(range(-measurement.ndim, 0))
    shape = measurement.fourier_shape
    stack = measurement.intensity.detach().cpu().reshape(-1, *shape).double()
    known = torch.ones_like(stack, dtype=torch.bool)
    if measurement.mask is not None:
        known = measurement.mask.detach().cpu().expand(measurement.intensity.shape).reshape(-1, *shape)
    count = known.sum(0)
    mean = _fft.center(stack.sum(0) / count.clamp(min=1), axes).numpy()
    mask = _fft.center(count > 0, axes).numpy()
    center_friedel, at_middle, symmetry = friedel(np.sqrt(mean), mask)
    center_known = bool(mask[tuple(m // 2 for m in shape)])
    extent = _extent(torch.from_numpy(mean), center_known)
    object_shape = tuple(math.ceil(width / 2) for width in extent)
    found = Inspection(
        shape=shape,
        patterns=stack.shape[0],
        total=float(stack.sum()) / stack.shape[0],
        largest=float(stack.max()),
        zero=float((stack[known] == 0).double().mean()),
        missing=measurement.missing,
        negative=measurement.negative,
        saturated=measurement.saturated,
        center=tuple(m // 2 for m in shape),
        center_peak=tuple(int(i) for i in np.unravel_index(int(mean.argmax()), shape)),
        center_friedel=center_friedel,
        friedel=symmetry,
        object_shape=object_shape,
        oversampling=tuple(m / n for m, n in zip(shape, object_shape, strict=True)),
        object_pixel_size=measurement.object_pixel_size,
        warnings=(),
    )
    fills = any(width >= m for width, m in zip(extent, shape, strict=True))
    said = _warnings(found, at_middle, center_known, fills, in_file(measurement, center_friedel))
    said += flat_level(mean, mask)
    return dataclasses.replace(found, warnings=(*measurement.notes, *said))


def friedel(magnitude: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> tuple[tuple[float, ...], float, float]:
    """The centre of symmetry in half pixels; the correlation of the magnitude with its mirror image about the middle,
    index m // 2, and about that centre.
    """
    from scipy.signal import fftconvolve  # takes longer to import than all else here

    weight = mask.astype(float)
    deviation = np.where(mask, magnitude - magnitude[mask].mean(), 0.0)
    cross = fftconvolve(deviation, deviation)
    energy = fftconvolve(deviation**2, weight)
    overlap = fftconvolve(weight, weight)
    # Each pixel of a mirrored pair contributes its energy once to either side, so one convolution serves both.
    usable = (overlap > 0.5 * weight.sum()) & (energy > 1e-9 * energy.max())
    score = np.where(usable, cross / np.where(usable, energy, 1.0), -1.0)
    place, middle = np.unravel_index(int(score.argmax()), score.shape), tuple(2 * (m // 2) for m in magnitude.shape)
    at_middle, best = (float(min(1.0, score[index])) for index in (middle, place))
    return tuple(float(i) / 2 for i in place), at_middle, best


def _extent(mean: torch.Tensor, center_known: bool) -> tuple[int, ...]:
    """The extent, along each axis, of the part of the autocorrelation that stands out of the noise."""
    from scipy.ndimage import binary_opening

    axes = tuple(range(mean.ndim))
    spectrum = _fft.uncenter(mean, axes) + 0j
    autocorrelation = _fft.center(_fft.adjoint(spectrum, mean.shape, mean.shape), axes).numpy()
    # The largest lags of the frame hold no autocorrelation of an object that is sampled finely enough: only noise, and
    # a constant if the zero frequency was not measured.
    border = np.concatenate([autocorrelation.take(0, axis).reshape(-1) for axis in axes])
    constant = 0.0 if center_known else np.median(border.real) + 1j * np.median(border.imag)
    autocorrelation = np.abs(autocorrelation - constant)
    noise = float(np.median(np.abs(border - constant))) / 0.6745 / autocorrelation.max()
    threshold = min(max(_PRESENT_AT_LEAST, 7 * noise), _PRESENT_AT_MOST)
    present = autocorrelation > threshold * autocorrelation.max()
    if not present.any():  # the same everywhere, or too large to be computed with: nothing is seen of the object
        return tuple(mean.shape)
    opened = binary_opening(present)
    places = np.nonzero(opened if opened.any() else present)
    return tuple(int(i.max()) - int(i.min()) + 1 for i in places)


def flat_level(mean: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> list[str]:
    """A question, if a pattern with the zero frequency in the middle ends in a level that no longer falls.

    The mean over rings beyond 0.85 of the frame's half is then within a tenth of that at 0.6 to 0.75, and less than a
    thousandth of the brightest ring. Neighbours there have nothing in common: what an object scatters is speckled.
    """
    away = np.ogrid[tuple(slice(-(m // 2), m - m // 2) for m in mean.shape)]
    radius = np.sqrt(np.asarray(sum((x / max(1, m // 2)) ** 2 for x, m in zip(away, mean.shape, strict=True))))
    parts = [mask & (radius >= low) & (radius < high) for low, high in ((0.6, 0.75), (0.85, 1.0))]
    if min(mean.shape) < 32 or not all(part.any() for part in parts):
        return []
    inner, outer = (float(mean[part].mean()) for part in parts)
    ring = np.minimum((radius * 50).astype(int), 50)
    sums, pixels = (np.bincount(ring[mask], weights) for weights in (mean[mask], None))
    brightest = float((sums / np.maximum(pixels, 1)).max())
    if not 0 < outer < 1e-3 * brightest or not 0.9 * inner < outer < 1.1 * inner:
        return []
    off = np.where(parts[1], mean - outer, 0.0)
    alike = sum(float((off * np.roll(off, 1, axis)).sum()) for axis in range(off.ndim)) / off.ndim
    if alike > _SPECKLED * float((off**2).sum()):
        return []
    what = f"the pattern ends in a flat level of {outer:.3g}: if that is counted without the object too, give it to the"
    return [f"{what} solver as background={outer:.3g}"]


def _warnings(
    found: Inspection, at_middle: float, center_known: bool, fills: bool, pixel: tuple[int, ...]
) -> list[str]:
    """What to look at; `pixel` is the centre of symmetry in the frame that was read."""
    said = []
    away = [abs(c - middle) for c, middle in zip(found.center_friedel, found.center, strict=True)]
    if found.friedel > 0.5:
        if max(away) >= 1 and 1 - found.friedel < _BETTER * (1 - at_middle):
            said.append(
                f"the pattern is symmetric about {_pixel(found.center_friedel)}, not about the middle "
                f"{_pixel(found.center)} of the frame: load it with center={pixel}"
            )
        between = any(c % 1 for c in found.center_friedel) and at_middle < _EXACT
        if between and 1 - found.friedel < _BETTER * (1 - at_middle):
            said.append(
                f"the pattern is symmetric about {_pixel(found.center_friedel)}, between pixels: the object's phase is "
                "a ramp then, so do not ask for a real or non-negative one"
            )
    elif center_known and found.center_peak != found.center:
        said.append(f"the brightest pixel is {_pixel(found.center_peak)}, not the middle {_pixel(found.center)}")
    if not center_known:
        said.append("the zero frequency was not measured: the total density is free, and a tight support matters")
    if found.friedel < 0.9:
        said.append(f"the Friedel symmetry is {found.friedel:.2f}: noise, a wrong centre, or a complex object")
    if fills:
        other = "noise hides it" if center_known else "the missing centre hides its size"
        said.append(
            "the autocorrelation fills the frame: the object just fits or is too large for this sampling, or " + other
        )
    unmeasured = found.missing + found.negative + found.saturated
    if unmeasured > 0.5:
        said.append(f"{unmeasured:.0%} of the pixels cannot be used")
    if found.negative > 0:
        said.append(f"{found.negative:.2%} of the pixels are negative and were left out")
    if found.saturated > 0:
        said.append(
            f"{found.saturated:.2%} of the pixels are saturated and were left out: if they are right, load it with "
            "saturation=inf"
        )
    return said
