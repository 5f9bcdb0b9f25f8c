"""A measured pattern made ready for the solvers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map

from phaseret import _checks, _fft, _memory
from phaseret.io._axes import plain
from phaseret.io._stop import beam_stop
from phaseret.operators._hot import hot_pixels
from phaseret.operators._origin import gathers_away, where_it_gathers

# A plateau at the top that is no larger share of what was measured is where the detector was saturated.
_PLATEAU = 0.05
# The largest numbers of 16 and 32 bits, with a sign and without: gaps of detectors and broken pixels stay there, and
# one below, in other types, and at so many times it, at most, in the sum of as many frames.
_FULL, _FRAMES = tuple(2.0**bits - 1 for bits in (15, 16, 31, 32)), 1000

Kind = Literal["intensity", "magnitude"]
Place = Literal["corner", "middle"]


@dataclasses.dataclass(frozen=True)
class _Region:
    """What was read of a frame: its first pixel and sizes, the zero frequency in it, and along each axis how many of
    its pixels are one of the measurement.
    """

    first: tuple[int, ...]
    sizes: tuple[int, ...]
    center: tuple[int, ...]
    step: tuple[int, ...]

    @classmethod
    def of(cls, first: Sequence[int], sizes: Sequence[int], center: Place | Sequence[int]) -> _Region:
        """What is read as it is stored."""
        some = [0] * len(sizes)
        return cls(tuple(first or some), tuple(sizes), _center_pixel(center, sizes), tuple(1 for _ in some))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Measurement:
    """A diffraction pattern, or a stack of them, ready for the solvers: made by `load_intensity`, `as_measurement`.

    Attributes:
        intensity: (*, m1..md), the zero frequency at index 0; 0 where nothing was measured.
        mask: (*, m1..md), True = measured; None if every pixel was.
        support: Object- or data-shaped, True where the object may be non-zero, if the file holds one.
        obj: The object, if the file holds it (simulated data).
        ndim: Number of axes of one pattern.
        pixel_size: Detector pixel (y, x) in metres.
        wavelength: In metres.
        distance: From sample to detector, in metres.
        missing: Share of the pixels that were masked or not finite.
        negative: Share of the pixels that were measured as negative; the mask leaves them out.
        saturated: Share of the pixels at or above saturation, or that share the largest value of their pattern as
            saturated ones do; the mask leaves them out.
        source: Where it came from.
        notes: What was assumed or left out and may be wrong, a sentence each.
    """

    intensity: Tensor
    mask: Tensor | None = None
    support: Tensor | None = None
    obj: Tensor | None = None
    ndim: int = 2
    pixel_size: tuple[float, float] | None = None
    wavelength: float | None = None
    distance: float | None = None
    missing: float = 0.0
    negative: float = 0.0
    saturated: float = 0.0
    source: str = ""
    notes: tuple[str, ...] = ()
    _region: _Region | None = None

    @property
    def fourier_shape(self) -> tuple[int, ...]:
        """Sizes (m1..md) of one pattern."""
        return tuple(self.intensity.shape[-self.ndim :])

    @property
    def object_pixel_size(self) -> tuple[float, ...] | None:
        """Pixel of the object in metres, wavelength distance / (m pixel_size), along y and x of a 2D pattern."""
        if self.ndim != 2 or self.pixel_size is None or self.wavelength is None or self.distance is None:
            return None
        path = self.wavelength * self.distance
        return tuple(path / (m * pixel) for m, pixel in zip(self.fourier_shape, self.pixel_size, strict=True))

    def masked(self, mask: Tensor) -> Measurement:
        """The same with those pixels left out too where `mask` is False; arranged as in :func:`as_measurement`."""
        values, before = self.intensity, 0.0
        if self.mask is not None:
            values = values.masked_fill(~self.mask, torch.nan)
            before = int((~self.mask).sum()) / values.numel()
        found = as_measurement(values, mask=mask, ndim=self.ndim)
        missing = self.missing + found.missing - before
        return dataclasses.replace(self, intensity=found.intensity, mask=found.mask, missing=missing)

    def cropped(self, shape: Sequence[int]) -> Measurement:
        """The `shape` pixels about the zero frequency: the object gets coarser, its size in pixels smaller.

        A support or an object that came with the pattern no longer fits, and is left out.
        """
        sizes = _checks.shape("crop", shape)
        frame = self.fourier_shape
        if len(sizes) != self.ndim or any(n > m for n, m in zip(sizes, frame, strict=True)):
            rule = f"crop must be one size per axis, at most the frame {frame}, got {sizes}"
            _checks.fail(rule, "Choose fewer pixels")
        axes = range(-self.ndim, 0)

        def part(x: Tensor) -> Tensor:
            x = _fft.center(x, axes)
            for axis, n in zip(axes, sizes, strict=True):
                x = x.narrow(axis, x.shape[axis] // 2 - n // 2, n)
            return _fft.uncenter(x, axes)

        return self._resized(part(self.intensity), None if self.mask is None else part(self.mask), [1] * self.ndim)

    def about(self, pixel: Sequence[int]) -> Measurement:
        """The same about another pixel, counted in a frame with the zero frequency in the middle (index m // 2).

        The frequencies that the frame then lacks on one side are unmeasured.
        """
        axes, pixel = range(-self.ndim, 0), tuple(pixel)
        measured = torch.ones_like(self.intensity, dtype=torch.bool) if self.mask is None else self.mask
        intensity, measured = (
            to_corner(_fft.center(x, axes), self.ndim, pixel)
            for x in (self.intensity, measured.expand_as(self.intensity))
        )
        measured &= _inside_frame(self.fourier_shape, pixel).to(measured.device)
        mask = None if bool(measured.all()) else measured
        region = self._region and dataclasses.replace(self._region, center=self._in_region(pixel))
        return dataclasses.replace(self, intensity=intensity.where(measured, 0.0), mask=mask, _region=region)

    def _in_region(self, place: Sequence[float]) -> tuple[int, ...]:
        """The pixel of what was read that lies there in a frame with the zero frequency in the middle."""
        if self._region is None:
            return tuple(map(round, place))
        along = zip(place, self.fourier_shape, *dataclasses.astuple(self._region)[1:], strict=True)
        return tuple((zero + round((c - m // 2) * step)) % size for c, m, size, zero, step in along)

    def binned(self, count: int | Sequence[int]) -> Measurement:
        """The sums over blocks of `count` pixels along each axis; a block with an unmeasured pixel is unmeasured.

        `count` is one number, or one for each axis, as (1, 2, 2) for the frames of a volume.

        The zero frequency stays in its block, in the middle of it if `count` is odd; else it lies half a pixel beside
        the middle, which gives a real object a slight linear phase. Pixels of the border that fill no block are left
        out. The object must fit the smaller field of view.
        """
        counts = [count] * self.ndim if isinstance(count, int) or not isinstance(count, Sequence) else list(count)
        counts = [_checks.integer("bin", each) for each in counts]
        if len(counts) != self.ndim or any(k > (m + 1) // 2 for k, m in zip(counts, self.fourier_shape, strict=True)):
            rule = f"bin must be at most half of the frame {self.fourier_shape}, one number for all axes or for each"
            _checks.fail(f"{rule}, got {count}", "Choose smaller blocks")
        intensity, mask = self.intensity, self.mask
        for axis, each in zip(range(-self.ndim, 0), counts, strict=True):
            intensity = _joined(intensity, axis, each, torch.sum)
            mask = None if mask is None else _joined(mask, axis, each, torch.all)
        return self._resized(intensity, mask, counts)

    def _resized(self, intensity: Tensor, mask: Tensor | None, counts: Sequence[int]) -> Measurement:
        size, missing, region = self.pixel_size, self.missing, self._region
        pixel = None if size is None else (counts[-2 if self.ndim > 1 else -1] * size[0], counts[-1] * size[1])
        region = region and dataclasses.replace(
            region, step=tuple(a * b for a, b in zip(region.step, counts, strict=True))
        )
        if mask is not None:
            intensity = intensity.where(mask, 0.0)
            missing = max(0.0, _share(~mask) - self.negative - self.saturated)
        return dataclasses.replace(
            self,
            intensity=intensity,
            mask=mask,
            support=None,
            obj=None,
            pixel_size=pixel,
            missing=missing,
            _region=region,
        )

    def to(self, *args: Any, **kwargs: Any) -> Measurement:
        """The same with its tensors moved, as by `torch.Tensor.to` (masks and supports stay boolean)."""
        intensity = self.intensity.to(*args, **kwargs)
        beside = {name: getattr(self, name) for name in ("mask", "support", "obj")}
        moved: dict[str, Any] = {name: x.to(intensity.device) for name, x in beside.items() if x is not None}
        return dataclasses.replace(self, intensity=intensity, **moved)

    def __repr__(self) -> str:
        bad = 0.0 if self.mask is None else _share(~self.mask)
        said = [f"{tuple(self.intensity.shape)}, ndim={self.ndim}, unmeasured={bad:.2%}"]
        said += [name for name in ("support", "obj") if getattr(self, name) is not None]
        said += [f"source={self.source!r}"] * bool(self.source)
        return f"Measurement({', '.join(said)})"


def as_measurement(
    intensity: Tensor,
    *,
    mask: Tensor | None = None,
    support: Tensor | None = None,
    obj: Tensor | None = None,
    ndim: int = 2,
    kind: Kind = "intensity",
    center: Place | Sequence[int] = "corner",
    saturation: float | None = None,
    pixel_size: float | Sequence[float] | None = None,
    wavelength: float | None = None,
    distance: float | None = None,
    source: str = "",
) -> Measurement:
    """Raw detector values as a measurement: zero frequency moved to index 0, unusable pixels masked.

    A pixel counts as measured if the mask says so and its value is finite, not negative and below `saturation`, and it
    is none of several that share the largest value, with few near it, as saturated ones do: a warning tells of those.
    Without a mask what a beam stop hides is left out, with a warning: exact zeros about the zero frequency beside
    bright pixels. The intensity of a measured pixel is kept, that of every other pixel becomes 0. If `center` names a
    pixel away from the middle, the frequencies that the frame then lacks on one side are unmeasured, not wrapped round.

    Args:
        intensity: Detector values; NaN and infinity mark missing pixels.
        mask: True = measured, arranged like intensity: one for all patterns or one for each.
        support: True where the object may be non-zero; kept as it is.
        obj: The object, if known; kept as it is.
        ndim: Number of axes of one pattern; axes before them are a stack.
        kind: "intensity", or "magnitude" for its square root.
        center: Where the zero frequency lies: "corner" (index 0), "middle" (index m // 2), or its pixel, one index
            per axis.
        saturation: Values from here on are not trusted; infinity trusts all.
        pixel_size: Detector pixel in metres, one number or (y, x).
        wavelength: In metres.
        distance: From sample to detector, in metres.
        source: Where the values came from, shown by `repr`.

    Shape:
        - intensity: (*, m1..md)
        - mask: broadcasts to (*, m1..md)

    Returns:
        Measurement.

    Raises:
        TypeError: if intensity is not a real floating tensor or mask not a boolean one.
        ValueError: if a shape or option does not fit, a pattern has no measured pixel, or is 0 everywhere.

    Example:
        >>> counts = torch.tensor([[0.0, 1.0, 0.0], [2.0, 9.0, 2.0], [-1.0, 1.0, float("nan")]])
        >>> m = as_measurement(counts, center="middle")
        >>> m.intensity[0], int(m.mask.sum())
        (tensor([9., 2., 2.]), 7)
    """
    center = plain(center)
    made = ready(
        intensity,
        mask=mask,
        support=support,
        obj=obj,
        ndim=ndim,
        kind=kind,
        center=center,
        saturation=saturation,
        pixel_size=pixel_size,
        wavelength=wavelength,
        distance=distance,
        source=source,
    )
    say_notes(made.notes)
    return made


def in_file(measurement: Measurement, place: Sequence[float]) -> tuple[int, ...]:
    """The pixel of the whole frame as it was read, for `center`, of one in a frame with the zero frequency in the
    middle.
    """
    pixel, region = measurement._in_region(place), measurement._region
    return pixel if region is None else tuple(c + first for c, first in zip(pixel, region.first, strict=True))


def say_notes(notes: Iterable[str]) -> None:
    """Each note, "what: fix", as a warning."""
    for note in notes:
        what, _, fix = note.rpartition(": ")
        _checks.warn(what, fix[0].upper() + fix[1:])


def as_sentences(notes: Iterable[str]) -> str:
    """Each note, "what: fix", as two sentences."""
    parts = (part for note in notes for part in note.rpartition(": ")[::2] if part)
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts)


def ready(
    intensity: Tensor,
    *,
    mask: Tensor | None,
    support: Tensor | None,
    obj: Tensor | None,
    ndim: int,
    kind: Kind,
    center: Place | Sequence[int],
    saturation: float | None,
    pixel_size: float | Sequence[float] | None,
    wavelength: float | None,
    distance: float | None,
    source: str,
    may_be_dark: bool = False,
    first: Sequence[int] = (),
    limit: float = math.inf,
) -> Measurement:
    """`as_measurement` without its warnings; what is measured without the object may be 0 everywhere.

    `first` is the first pixel in the frame, where part of it was read; `limit` the saturation where nobody said one.
    """
    _checks.real(intensity=intensity)
    _memory.with_values(intensity=intensity)
    ndim = _checks.item_axes(ndim, intensity=intensity)
    _checks.choice("kind", kind, get_args(Kind))
    _checks.instance("source", source, str, "Use str(source)")
    _check_beside(intensity, support, obj, ndim)
    given = torch.isfinite(values := _fft.promote(intensity))
    shape = tuple(values.shape[-ndim:])
    if mask is not None:
        given &= _checks.mask(mask, values)
    negative = given & (values < 0)
    saturated, clipped = _saturated(values, given, saturation, limit, ndim, kind)
    measured = to_corner(given & ~negative & ~saturated, ndim, center)
    if not isinstance(center, str):
        measured &= _inside_frame(shape, center).to(measured.device)
    hot = "" if may_be_dark or saturation == math.inf else _hot(values, given & ~saturated, ndim, kind, first)
    values = to_corner(values, ndim, center)
    stop = None if may_be_dark else beam_stop(values, measured, ndim)
    measured &= True if stop is None or mask is not None else ~stop
    values = torch.where(measured, values, 0.0)
    _refuse(~measured.flatten(-ndim).any(-1), "a measured pixel")
    misplaced = _misplaced(values, measured, ndim, center, first)
    if not may_be_dark:
        _refuse(values.amax(tuple(range(-ndim, 0))) == 0, "a value above 0")
    return Measurement(
        values.square() if kind == "magnitude" else values,
        mask=None if bool(measured.all()) else measured,
        support=support,
        obj=obj,
        ndim=ndim,
        pixel_size=_pixel_pair(pixel_size),
        wavelength=None if wavelength is None else _checks.number("wavelength", wavelength, above=0),
        distance=None if distance is None else _checks.number("distance", distance, above=0),
        missing=_share(~given) + (0.0 if stop is None or mask is not None else _share(stop)),
        negative=_share(negative),
        saturated=_share(saturated),
        source=source,
        notes=tuple(filter(None, (clipped, hot, _about_stop(stop, mask), misplaced))),
        _region=_Region.of(first, shape, center),
    )


def _check_beside(intensity: Tensor, support: Tensor | None, obj: Tensor | None, ndim: int) -> None:
    """A support and an object are some, on the same device."""
    if support is not None:
        _checks.boolean(support=support)
        _checks.rank(ndim, support=support)
    if obj is not None:
        _checks.floating(obj=obj)
        _checks.rank(ndim, obj=obj)
    _checks.same_device(intensity=intensity, support=support, obj=obj)


def _saturated(
    values: Tensor, given: Tensor, saturation: float | None, limit: float, ndim: int, kind: Kind
) -> tuple[Tensor, str]:
    """The pixels that are not trusted for their height, and a note of those that nobody named."""
    if isinstance(saturation, float) and saturation == math.inf:
        return torch.zeros_like(given), ""
    limit = limit if saturation is None else _checks.number("saturation", saturation, above=0)
    beyond = given & (values >= limit)
    top, note = _flat_top(values, given & ~beyond, ndim, kind, told=saturation is not None)
    if not note and saturation is None and math.isinf(limit):
        note = _rough_top(values.detach(), given, ndim, kind)
    return beyond | top, note


def _flat_top(values: Tensor, counted: Tensor, ndim: int, kind: Kind, told: bool) -> tuple[Tensor, str]:
    """The pixels of each pattern that share its largest value, if they are many and few come near it, and a note of
    what was made of them: patterns have no plateau at the top. Where they are a large part of one, but not at the end
    of a type of integers, or it was told which values are right, they are left as they are.
    """
    values, axes = values.detach(), tuple(range(-ndim, 0))
    share = 0.9 if kind == "intensity" else math.sqrt(0.9)
    level = values.where(counted, 0).amax(axes, keepdim=True)
    least = values.where(counted & (values > 0), torch.inf).amin(axes, keepdim=True)  # a count, whatever its scale
    full, from_here = torch.zeros_like(level, dtype=torch.bool), level
    for most in _FULL:
        frames = (level / most).round()  # that were added up
        ends = (frames >= 1) & (frames <= _FRAMES) & ((level - frames * most).abs() <= (2e-7 * level).clamp(min=frames))
        full, from_here = full | ends, torch.where(ends, torch.minimum(from_here, level - frames), from_here)
    top, near = (values >= from_here) & counted, (values >= share * level) & (values < from_here) & counted
    at_top, beside, of_all = (x.sum(axes, keepdim=True) for x in (top, near, counted))
    top &= (level >= (16 * least).clamp(max=16)) & (at_top >= 5) & (at_top > beside)
    taken = top & ((at_top <= _PLATEAU * of_all) | full) & (not told)
    pixels, height, left = torch.stack([top.sum(), values.where(top, 0).amax(), (top & ~taken).sum()]).tolist()
    if not pixels:
        return taken, ""
    what = f"{int(pixels)} pixels share the largest value, {height:g}"
    if left:
        return taken, f"{what}: if the detector was saturated there, use saturation={height:.17g}"
    said = f"{what}, as saturated ones do, and are taken as not measured"
    return taken, f"{said}: if they are right, use saturation=inf"


def _rough_top(values: Tensor, counted: Tensor, ndim: int, kind: Kind) -> str:
    """A question, if more pixels of a pattern lie within a tenth of the largest value than in three tenths below it:
    about a peak there are a third as many. A plateau from which something was subtracted, or that was divided, is so.
    """
    axes = tuple(range(-ndim, 0))
    upper, lower = (share if kind == "intensity" else math.sqrt(share) for share in (0.9, 0.6))
    level = values.where(counted, 0).amax(axes, keepdim=True)
    least = values.where(counted & (values > 0), torch.inf).amin(axes, keepdim=True)
    top = counted & (values > upper * level)
    at_top, below, of_all = (x.sum(axes, keepdim=True) for x in (top, counted & (values > lower * level), counted))
    top &= (level >= 16 * least) & (at_top >= 12) & (2 * at_top > below) & (at_top <= _PLATEAU * of_all)
    pixels, lowest = torch.stack([top.sum(), values.where(top, torch.inf).amin()]).tolist()
    if not pixels:
        return ""
    what = f"{int(pixels)} pixels lie within a tenth of the largest value and fewer below"
    return f"{what}, as those of a saturated detector do: if it was, use saturation={lowest:.6g}"


def _hot(values: Tensor, counted: Tensor, ndim: int, kind: Kind, first: Sequence[int]) -> str:
    """A question, if a pixel outshines all about it."""
    counted &= values >= 0
    hot = hot_pixels(values.square() if kind == "magnitude" else values, counted, ndim)
    if hot is None:
        return ""
    if first:
        hot = dataclasses.replace(hot, pixel=tuple(i + start for i, start in zip(hot.pixel, first, strict=True)))
    fix = "give a mask that leaves it out"
    if hot.level is not None:
        fix = f"use saturation={math.sqrt(hot.level) if kind == 'magnitude' else hot.level:.3g}"
    return f"{hot}: if it is broken, or the direct beam, {fix}"


def _about_stop(stop: Tensor | None, mask: Tensor | None) -> str:
    """What was made of a beam stop that was stored as zeros."""
    if stop is None:
        return ""
    count = int(stop.sum())
    pixels = f"{count} pixels about the zero frequency are" if count > 1 else "a pixel about the zero frequency is"
    what = f"{pixels} exactly 0 beside bright ones, as behind a beam stop"
    if mask is None:
        return f"{what}, and taken as not measured: if that is wrong, give a mask that says so"
    return f"{what}, but the mask says that they were measured: if they were not, leave them out of it"


def _misplaced(values: Tensor, measured: Tensor, ndim: int, center: Place | Sequence[int], first: Sequence[int]) -> str:
    """A question, if the light gathers half a frame away from the zero frequency, along some axes or all."""
    away = gathers_away(values.detach(), measured, ndim) if isinstance(center, str) else ()
    if not away:
        return ""
    other, sizes = {"corner": "middle", "middle": "corner"}[str(center)], values.shape[-ndim:]
    light = values.detach().where(measured, 0).reshape(-1, *sizes).mean(0)
    zero, along = _center_pixel(center, sizes), list[list[int]]()
    for z, m, half in zip(zero, sizes, away, strict=True):  # of odd sizes fftshift is no inverse of itself
        shifted = [0, -1] if z else [m // 2, m // 2 + 1]
        along.append(shifted[: 1 + m % 2] if half else [z])
    places = list(product(*along))
    found = [float(light[tuple((p - z) % m for p, z, m in zip(at, zero, sizes, strict=True))]) for at in places]
    at = places[found.index(max(found))]
    pixel = tuple(p % m + start for p, m, start in zip(at, sizes, first or [0] * ndim, strict=True))
    if all(away) and at == places[0]:
        return f"{where_it_gathers(other, str(center))}: if it is not, use center={other!r}"
    said = where_it_gathers(f"pixel {pixel}", str(center))
    if min(at) < 0:
        return f"{said}: if fftshift moved it there, undo that with ifftshift"
    return f"{said}: if it is not, use center={pixel}"


def stacked(measurements: Sequence[Measurement]) -> Measurement:
    """Measurements of one shape as one, with an axis more in front; what has no mask was measured everywhere.

    A `DataLoader` makes its batches with this.
    """
    first = measurements[0]
    for number, one in enumerate(measurements):
        if one.intensity.shape != first.intensity.shape or one.ndim != first.ndim:
            got = f"{tuple(one.intensity.shape)} of number {number} ({one.source or 'no source'})"
            rule = f"measurements of one stack must have one shape, {tuple(first.intensity.shape)}"
            _checks.fail(f"{rule}, got {got}", "Use crop or bin when they are read, or read them apart")
    arrays: dict[str, Any] = {"intensity": torch.stack([one.intensity for one in measurements]), "mask": None}
    if any(one.mask is not None for one in measurements):
        masks = (torch.ones_like(x.intensity, dtype=torch.bool) if x.mask is None else x.mask for x in measurements)
        arrays["mask"] = torch.stack([mask.expand(first.intensity.shape) for mask in masks])
    for name in ("support", "obj"):
        parts = [getattr(one, name) for one in measurements]
        shapes = {None if part is None else part.shape for part in parts}
        arrays[name] = torch.stack(parts) if len(shapes) == 1 and None not in shapes else None
    for name in ("missing", "negative", "saturated"):
        arrays[name] = sum(getattr(one, name) for one in measurements) / len(measurements)
    for name in ("pixel_size", "wavelength", "distance", "_region"):
        values = {getattr(one, name) for one in measurements}
        arrays[name] = values.pop() if len(values) == 1 else None
    notes = tuple(dict.fromkeys(note for one in measurements for note in one.notes))
    more = f" and {len(measurements) - 1} more" if len(measurements) > 1 else ""
    return dataclasses.replace(first, **arrays, notes=notes, source=first.source + more if first.source else "")


def default_collate(batch: Sequence[Measurement], **_: Any) -> Measurement:
    """What torch calls for a batch; by its name errors are known."""
    return stacked(batch)


default_collate_fn_map[Measurement] = default_collate


def _joined(x: Tensor, axis: int, count: int, join: Callable[..., Tensor]) -> Tensor:
    """Blocks of one axis joined, the zero frequency at index 0 of the axis before and after."""
    middle = x.shape[axis] // 2 - (count // 2 if count % 2 else 0)
    before, after = middle // count, (x.shape[axis] - middle) // count
    total = min(2 * before + 1, 2 * after)
    part = _fft.center(x, (axis,)).narrow(axis, middle - count * (total // 2), total * count)
    return _fft.uncenter(join(part.unflatten(axis, (total, count)), axis), (axis,))


def _share(pixels: Tensor) -> float:
    return int(pixels.sum()) / pixels.numel()


def _refuse(bad: Tensor, rule: str) -> None:
    if bool(bad.any()):
        numbers = torch.nonzero(bad.reshape(-1)).reshape(-1).tolist()
        which = f"none in {numbers[:5]}{' and more' * (len(numbers) > 5)} of {bad.numel()}" if bad.ndim else "none"
        fix = "Look at the mask, the key and the file"
        if bad.ndim:
            good = torch.nonzero(~bad.reshape(-1)).reshape(-1).tolist()
            only = f" with index={good}" if 0 < len(good) <= 64 and bad.ndim == 1 else ""
            fix = f"Leave these patterns out{only}, or look at the mask"
        _checks.fail(f"intensity must hold {rule} in every pattern, got {which}", fix)


def _center_pixel(center: Place | Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    if isinstance(center, str):
        _checks.choice("center", center, get_args(Place))
        return tuple(0 if center == "corner" else m // 2 for m in shape)
    _checks.sequence("center", center, "indices", "Use 'corner', 'middle' or one index per axis")
    pixel = tuple(center)
    inside = len(pixel) == len(shape) and all(isinstance(c, int) for c in pixel)
    if not inside or any(not 0 <= c < m for c, m in zip(pixel, shape, strict=True)):
        _checks.fail(
            f"center must be a pixel inside the frame {tuple(shape)}, got {pixel}",
            "Count from 0, one index per axis",
        )
    return pixel


def to_corner(x: Tensor, ndim: int, center: Place | Sequence[int]) -> Tensor:
    """The zero frequency moved from `center` to index 0 of the last `ndim` axes."""
    pixel = _center_pixel(center, x.shape[-ndim:])
    return x.roll(tuple(-c for c in pixel), tuple(range(-ndim, 0))) if any(pixel) else x


def _inside_frame(shape: Sequence[int], center: Sequence[int]) -> Tensor:
    """True at the frequencies that a frame whose zero frequency lies at `center` holds without wrapping round."""
    inside = torch.ones(tuple(shape), dtype=torch.bool)
    for axis, (m, c) in enumerate(zip(shape, center, strict=True)):
        index = torch.arange(m)
        frequency = torch.where(index < (m + 1) // 2, index, index - m)
        line = (frequency >= -c) & (frequency < m - c)
        inside &= _fft.along(line, axis, len(shape))
    return inside


def _pixel_pair(size: float | Sequence[float] | None) -> tuple[float, float] | None:
    if size is None:
        return None
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2:
        _checks.fail(f"pixel_size must be one number or a pair (y, x), got {size!r}", "Give metres, such as 55e-6")
    return _checks.number("pixel_size", pair[0], above=0), _checks.number("pixel_size", pair[1], above=0)
