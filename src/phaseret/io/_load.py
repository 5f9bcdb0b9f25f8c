"""Files to tensors: patterns."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from phaseret import _checks, _memory
from phaseret.io import _cxi, _headers, _layout, _nexus, _spimage
from phaseret.io._axes import Index, Roi, checked_index, item_axes, plain, slices, stack_axis
from phaseret.io._contents import Contents, numbers_of, part_beside
from phaseret.io._layout import MaskIs, Pair, Told, brighter
from phaseret.io._masks import OWN, as_inside, as_measured, doubts, fitted, misplaced, mostly_bad, wrapped
from phaseret.io._measurement import Kind, Measurement, Place, as_sentences, ready, say_notes
from phaseret.io._pictures import LOSSY, grey
from phaseret.io._readers import opened
from phaseret.io._scale import dim, transformed
from phaseret.io._series import OpenSeries, about_names, as_volume, files_of, frame_of

# The layouts of files, the first that says something is believed.
LAYOUTS = (_cxi, _nexus, _spimage, _headers, _layout)
# How a note ends that a background which was given answers.
AS_BACKGROUND = "give it to the solver as background="
OTHER: dict[str, MaskIs] = {"measured": "bad", "bad": "measured"}


def load_intensity(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    key: str | None = None,
    index: Index | None = None,
    ndim: int | None = None,
    stack_axis: int | None = None,
    kind: Kind | None = None,
    center: Place | Sequence[int] | None = None,
    mask_is: MaskIs | None = None,
    saturation: float | None = None,
    roi: Roi | None = None,
    crop: Sequence[int] | None = None,
    bin: int | Sequence[int] = 1,
    dtype: torch.dtype = torch.float32,
) -> Measurement:
    """Read a measured pattern, or a stack of them, from one file or several, ready for the solvers.

    The kind of file is recognised by its content: CXI, NeXus and other HDF5 (also MATLAB 7.3), npy, npz, mat, tif,
    png, jpeg, bmp, edf and cbf, tables of numbers, and any of them packed by gzip, bzip2 or xz. The zero frequency
    moves to index 0. Pixels that the file's mask leaves out, that are not finite, negative or saturated are False in
    the mask and 0 in the intensity. What was assumed, and what lies beside the pattern and was not used, is warned of
    and kept in `Measurement.notes`.

    Args:
        path: The file; or several, or a pattern such as ``"frame_*.tif"``, ``"scan/**/frame_*.tif"`` (in any folder of
            scan) or ``"frame_%05d.tif"``, whose patterns become one stack in the order given, or of the numbers in
            their names (-0.1 before 0.1); one volume, where `ndim` is one more than the axes of their frames, which
            must all hold a mask, or none.
        key: Name of the array, or of a group that stands for one. Default: the place CXI gives it, what a NeXus file
            shows by default, else an array called intensity, iobs or data, else the only array there is.
        index: Part of a stack, an integer, a slice or a list of integers; no other part is read where the format
            allows it.
        ndim: Number of axes of one pattern. Default: what the file says, else all axes of an array of one or two;
            three axes may be a stack (2) or a volume (3), which has to be said.
        stack_axis: The axis that counts the patterns. Default: the first; in MATLAB's files the last, unless only the
            others agree in size.
        kind: "intensity", or "magnitude" if the file holds its square root. Default: what the file says, else the
            intensity.
        center: Where the file has the zero frequency: "middle" (index m // 2), "corner" (index 0) or its pixel, one
            index per axis, counted in the whole frame. Default: what the file says, else the middle, which it is too
            along axes that the file does not speak of, as that of a volume's frames.
        mask_is: What the non-zero pixels of the file's mask are: "measured" or "bad"; "ignored" leaves the mask out.
            Needed where the format and the name do not say (CXI and NeXus: bad; arrays called measured, valid or good,
            also good_pixels and the like: measured; bad, invalid, dead, hot or beamstop: bad). NaN is never measured.
        saturation: Values from here on are not trusted; infinity trusts all. Default: those above what the file says,
            and integers that reach the largest value of their type; where neither is known, several pixels of a
            pattern that share its largest value.
        roi: The part of the frame that is read, (start, stop) along each of its axes; for one of several detectors.
        crop: Sizes of the part about the zero frequency that is kept, after all else.
        bin: Blocks of so many pixels along each axis are added up, after `crop`; one number, or one for each axis.
        dtype: Type of the intensity, torch.float32 or torch.float64.

    Returns:
        Measurement: `intensity`, `mask`, and what else the file holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty, truncated, of another kind, or holds pickled objects; if the array is not
            clear, complex, coloured, without a measured pixel, or 0 everywhere.
        MemoryError: if the array is larger than the memory that this process may use; the environment variable
            PHASERET_MEMORY, in GiB, says otherwise.
        ImportError: if reading this kind of file needs a package that is not installed.

    Example:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = os.path.join(folder, "pattern.npz")
        ...     pr.io.save_intensity(file, pr.operators.fourier_intensity(torch.rand(28, 28), (64, 64)))
        ...     load_intensity(file).fourier_shape
        (64, 64)

    Source:
        Maia (2012), The Coherent X-ray Imaging Data Bank, doi:10.1038/nmeth.2110, and the CXI file format 1.6; NeXus
        2024.02, the classes NXdata and NXdetector.
    """
    wanted = Wanted(key, ndim, kind, center, mask_is, saturation, dtype, stack_axis, roi, crop, bin)
    with opened_pattern(path, wanted) as pattern:
        measurement = pattern.read(checked_index(index))
    say_notes(measurement.notes)
    return measurement


@dataclass(frozen=True)
class Wanted:
    """What is asked of the file of a pattern; as in `load_intensity`."""

    key: str | None = None
    ndim: int | None = None
    kind: Kind | None = None
    center: Place | Sequence[int] | None = None
    mask_is: MaskIs | None = None
    saturation: float | None = None
    dtype: torch.dtype = torch.float32
    stack_axis: int | None = None
    roi: Roi | None = None
    crop: Sequence[int] | None = None
    bin: int | Sequence[int] = 1
    may_be_dark: bool = False

    def __post_init__(self) -> None:
        for name in ("ndim", "center", "stack_axis", "roi", "crop", "bin"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        _checks.choice("dtype", self.dtype, (torch.float32, torch.float64))
        _checks.key(self.key)
        for name, kind in (("kind", Kind), ("mask_is", MaskIs)):
            if getattr(self, name) is not None:
                _checks.choice(name, getattr(self, name), get_args(kind))


@dataclass(frozen=True)
class OpenPattern:
    """The pattern or the stack of them in an open file: its shape is known, and any part of it can be read.

    Attributes:
        shape: That of the pattern, or of the stack with the patterns' number first.
        stack_axis: The axis of the array in the file that counts the patterns.
        notes: What was assumed before anything was read.
    """

    contents: Contents
    name: str
    shape: tuple[int, ...]
    ndim: int
    told: Told
    wanted: Wanted
    stack_axis: int = 0
    notes: tuple[str, ...] = ()

    @property
    def is_stack(self) -> bool:
        """Whether there are several patterns."""
        return len(self.shape) > self.ndim

    @property
    def _less(self) -> str:
        """What to do where memory is short."""
        part = (
            "part of the stack with index=slice(start, stop)" if self.is_stack else "part of it with roi=((a, b), ...)"
        )
        return f"Read {part}"

    def read(self, index: Index | None = None, masks: Mapping[str, Tensor] | None = None) -> Measurement:
        """The whole, or that part of the stack; `masks`, arranged as in the file, are called by what the user typed."""
        with _memory.in_memory(str(self.contents.path), self._less):
            return self._read(index, masks or {})

    def _read(self, index: Index | None, masks: Mapping[str, Tensor]) -> Measurement:
        wanted, told, contents = self.wanted, self.told, self.contents
        if index is not None and not self.is_stack:
            fix = "Only a stack has one"
            _checks.fail(f"index must be None for a single pattern of shape {self.shape}, got {index!r}", fix)
        center, about_center = self.origin()
        stored, (mask, about_mask) = self._frames(index), self._mask(index)
        values = _tensor(stored, wanted.dtype)
        counted, turned = self._counted(values, mask, masks, index)
        kind, about_kind = self._kind()
        try:
            made = ready(
                values,
                mask=counted,
                support=None if told.support is None else as_inside(self._beside(told.support, index)),
                obj=None if told.obj is None else object_tensor(contents, told.obj, self._beside(told.obj, index)),
                ndim=self.ndim,
                kind=kind,
                center=self._in_region(center),
                saturation=wanted.saturation,
                pixel_size=told.pixel_size,
                wavelength=told.wavelength,
                distance=told.distance,
                source=str(contents.path),
                may_be_dark=wanted.may_be_dark,
                first=self._starts(),
                limit=self._limit(),
            )
        except ValueError as error:
            why = list(about_mask)
            if wanted.saturation is None:
                share = float((values >= self._limit()).double().mean())
                why += _layout.about_level(replace(told, level=None), share)
            if why:
                error.args = (f"{error} {as_sentences(why)}",)
            raise
        is_asked = kind == "intensity" and wanted.kind is None and not about_kind
        transforms = [transformed(made.intensity, made.ndim)] if is_asked else []
        notes = (
            *self.notes,
            *about_kind,
            *about_center,
            *self._about_pair(stored),
            *about_mask,
            *turned,
            *wrapped(stored),
            *filter(None, transforms),
            *self._about_dim(made, index),
            *(_layout.about_level(told, made.saturated) if wanted.saturation is None else ()),
            *made.notes,
            *self._about_beside,
        )
        made = replace(made, notes=tuple(dict.fromkeys(notes)))
        if wanted.crop is not None:
            made = made.cropped(wanted.crop)
        return made if wanted.bin == 1 else made.binned(wanted.bin)

    def _about_dim(self, made: Measurement, index: Index | None) -> Iterator[str]:
        """See `dim`."""
        if len(self.shape) == self.ndim + 1 and not isinstance(index, int):
            yield from dim(made.intensity, self.ndim, numbers_of(index, self.shape[0]), self.shape[0])

    def _counted(
        self, values: Tensor, mask: Tensor | None, masks: Mapping[str, Tensor], index: Index | None
    ) -> tuple[Tensor | None, list[str]]:
        """True where the file's mask and all others say that a pixel was measured, and what is to be asked of them."""
        counted = None if mask is None else fitted(OWN, mask, values.shape)
        turned = [] if counted is None else [*misplaced(OWN, counted, values)]
        for label, other in masks.items():
            if tuple(other.shape) == self._stored:
                other = other.movedim(self.stack_axis, 0)
            other = self._inside(other if (part := self.part(other.shape, index)) is None else other[part])
            other = fitted(label, other, values.shape)
            if not bool(other.any()):
                fix = "Look at the file, and at what its non-zero pixels are"
                _checks.fail(f"{label} must hold a measured pixel in every pattern, got none", fix)
            turned += misplaced(label, other, values)
            counted = other if counted is None else counted & other
        return counted, turned

    def part(self, shape: Sequence[int], index: Index | None) -> Index | None:
        """See `part_beside`."""
        return part_beside(shape, self.shape, index)

    def _frames(self, index: Index | None) -> np.ndarray[Any, Any]:
        """The values, the axis of the stack first."""
        if self.stack_axis == 0:
            value = self._region(self.name, index)
        else:
            value = self._inside(self._moved(self.name, index), self.contents.entry(self.name).color)
        if self.contents.entry(self.name).color:
            plain = grey(value)
            if value.dtype != (stored := self.contents.entry(self.name).dtype):
                what = f"{self.name!r} of {self.contents.path} must be grey, or have colours of 8 bits, got {stored}"
                _checks.fail(what, "Save it grey, in 16 bits")
            if plain is None:
                fix = "A diffraction pattern is needed; of a picture of the object, make one with fourier_intensity"
                what = f"{self.name!r} of {self.contents.path} must hold one real number per pixel"
                _checks.fail(f"{what}, got a colour picture", fix)
            value = plain
        return value

    def _region(self, name: str, index: Index | None) -> np.ndarray[Any, Any]:
        """The region of interest of an array, or of a part of the stack; of a single pattern no other rows are read."""
        entry = self.contents.entry(name)
        pixels = entry.shape[:-1] if entry.color else entry.shape
        if self.is_stack or self.wanted.roi is None or len(pixels) != self.ndim:
            return self._inside(self._beside(name, index), entry.color)
        rows, *others = slices(self.wanted.roi, pixels, self.ndim)
        region: tuple[slice, ...] = (slice(None), *others)
        return self.contents.read(name, rows, self._less)[region]

    def _inside(self, value: Any, color: bool = False) -> Any:
        """The region of interest of an array that has the last axes of the frame, before those of its colours."""
        if self.wanted.roi is None:
            return value
        shape = value.shape[:-1] if color else value.shape
        axes = min(self.ndim, len(shape))
        region = slices(self.wanted.roi[-axes:], shape, axes)
        return value[(..., *region, slice(None)) if color else (..., *region)]

    @property
    def _stored(self) -> tuple[int, ...]:
        """The shape of the array in the file."""
        return self.contents.entry(self.name).shape

    def _moved(self, name: str, index: Index | None) -> np.ndarray[Any, Any]:
        """An array that is stored as the stack is, with the axis of the stack first."""
        value = np.moveaxis(self.contents.read(name, None, self._less), self.stack_axis, 0)
        return value if index is None else value[index if isinstance(index, int | slice) else list(index)]

    def _beside(self, name: str, index: Index | None) -> np.ndarray[Any, Any]:
        if self.stack_axis and self.contents.entry(name).shape == self._stored:
            return self._moved(name, index)
        return self.contents.read(name, self.part(self.contents.entry(name).shape, index), self._less)

    def _mask(self, index: Index | None) -> tuple[Tensor | None, list[str]]:
        """The file's own mask, and what is to be asked about it if nobody said what it means."""
        if self.wanted.mask_is == "ignored" or self.told.mask is None:
            what = f"{self.contents.path} holds no mask of its own, of which mask_is={self.wanted.mask_is!r} would say"
            fix = "leave it out, and say what a mask in another file is where you name that"
            return None, [f"{what} what it is: {fix}"] * (self.wanted.mask_is in ("measured", "bad"))
        name, said = self.told.mask
        meaning = self.wanted.mask_is or said
        if meaning is None:
            fix = "Pass mask_is='measured', 'bad' or 'ignored'"
            _checks.fail(f"mask_is must say what the non-zero pixels of {name!r} of {self.contents.path} are", fix)
        value = self._region(name, index)
        value = _cxi.without_good_bits(self.contents, name, value) if meaning == "bad" else value
        mask, notes = as_measured(value, meaning), list(doubts(name, value, meaning))
        if self.wanted.mask_is is None:
            notes += mostly_bad(f"the mask {name!r}", mask, f"use mask_is={OTHER[meaning]!r}")
        return mask, notes

    def _kind(self) -> tuple[Kind, list[str]]:
        """What the values are: as asked for, as the file says, else the intensity."""
        said, place = self.told.magnitude, self._place
        name = place.rpartition("/")[2]
        if self.wanted.kind is None and said is not None:
            note = f"{name!r} was taken for the magnitude, as {said}: if it is the square, use kind='intensity'"
            return "magnitude", [note] if said else []
        kind, fix = self.wanted.kind or "intensity", "take its exponential first, or rename it"
        said_so = (self.contents.attribute(place, word) for word in ("units", "unit", "long_name", "label"))
        logarithm = re.search(r"(?:^|_)(?i:log(?:10|2|1p)?|ln|db)(?=$|_|[A-Z])|^(?i:log10)", name) or any(
            re.match(r"(log(10|1p|2)?|ln)\b", text, re.IGNORECASE) for text in said_so
        )
        return kind, [f"{name!r} sounds like a logarithm and was taken for the {kind}: {fix}"] * bool(logarithm)

    @cached_property
    def _about_beside(self) -> tuple[str, ...]:
        """What lies beside the pattern and was not used; looked for once, however many blocks are read."""
        used = {self.name, self.told.support, self.told.obj, self.told.mask and self.told.mask[0]}
        places = {self.contents.where(name) for name in used if name}
        asked = self.wanted.key is not None
        found = (*self.told.beside, *_layout.alike(self.contents, self.name, small=asked))
        found += () if asked else (*_cxi.others(self.contents, self.name),)
        beside = {place: name for name in found if (place := self.contents.where(name)) not in places}
        if not beside:
            return ()
        names = list(beside.values())
        dark = next(filter(_nexus.dark, names), None)
        fix = f"if the pattern still holds what {dark!r} does, {AS_BACKGROUND}"
        if dark is None:
            fix = "if it is to be masked, divided or weighted by what lies there, say or do so"
        shown = ", ".join(map(repr, names[:6])) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        lies, was = ("lies", "was") if len(names) == 1 else ("lie", "were")
        return (f"{shown} of the file {lies} beside the pattern and {was} not used: {fix}",)

    def background(self, path: str, key: str | None) -> Tensor:
        """What a file holds of the light without the object, read as this pattern is; one for all frames, or each."""
        center, _ = self.origin()
        with opened(files_of(path)[0]) as contents:
            key = key or next(filter(contents.first, contents.called("", _layout.DARKS)), None) or _only_dark(contents)
            sizes = len(contents.entry(key).shape)
            if (os.path.realpath(path), contents.where(key)) == (os.path.realpath(self.contents.path), self._place):
                what = f"background must be another array than the pattern, got {key!r} of {path} for both"
                _checks.fail(what, "Name its key")
        axes = min(sizes, self.ndim)
        counts = [self.wanted.bin] * self.ndim if isinstance(self.wanted.bin, int) else list(self.wanted.bin)
        wanted = replace(
            self.wanted,
            key=key,
            bin=1,
            ndim=axes,
            stack_axis=self.wanted.stack_axis if sizes == axes + 1 else None,
            center=center if isinstance(center, str) else center[-axes:],
            mask_is="ignored",
            saturation=math.inf,
            roi=None if self.wanted.roi is None else self.wanted.roi[-axes:],
            crop=None,
            may_be_dark=True,
        )
        with opened_pattern(path, wanted) as pattern:
            dark = pattern.read()
        if dark.negative + dark.missing:
            what = f"{dark.negative + dark.missing:.2%} of the pixels of the background in {path} are negative or no"
            _checks.warn(f"{what} numbers, and count as 0", "Give what was counted, before anything was subtracted")
        if self.wanted.crop is not None:
            dark = dark.cropped(self.wanted.crop[-axes:])
        dark = replace(dark, mask=None)  # what counts as 0 takes no block of pixels along
        light = dark.binned(counts[len(counts) - axes :]).intensity if max(counts) > 1 else dark.intensity
        count = light.shape[: light.ndim - axes]  # for one pattern, or not as many as there are
        if len(count) == 1 and (not self.is_stack or count[0] not in (1, *self.shape[: -self.ndim])):
            what = f"the mean of the {len(light)} frames in {path} was taken for the background"
            if count[0] > 1:
                _checks.warn(what, "If only one of them belongs to the pattern, give that alone")
            light = light.mean(0)
        # The frames of a volume that are added up hold as many times the light.
        return light * math.prod(counts[: len(counts) - axes])

    @property
    def _place(self) -> str:
        """Where the array lies in its file."""
        return self.contents.where(self.name)

    def origin(self) -> tuple[Place | tuple[int, ...], list[str]]:
        """The zero frequency, counted in the whole frame: as asked for, as the file says, or the middle."""
        asked, frame = self.wanted.center, self.shape[-self.ndim :]
        if isinstance(asked, str):
            return asked, []
        if asked is not None:
            _checks.sequence("center", asked, "indices", "Use 'corner', 'middle' or one index per axis")
            return tuple(asked), []
        said = self.told.center
        if said is None or isinstance(said, str):
            return said or "middle", []
        unsaid = max(self.ndim - len(said), 0)  # the axes in front, as that which counts frames
        pixel = (*(m // 2 for m in frame[:unsaid]), *(round(c) for c in said))
        fix = "use center= with one index per axis"
        if not self._reads(pixel):
            where = "frame" if self.wanted.roi is None else "region of interest"
            return "middle", [f"the file's centre {tuple(said)} lies outside the {where} and was not used: {fix}"]
        between = [
            f"the file's centre {tuple(said)} lies between pixels, and {pixel} was taken: the object's phase is a ramp "
            "then, so do not ask for a real or non-negative one"
        ]
        assumed = ", of the middle frame," if unsaid else ""
        note = f"the file's beam centre {pixel}{assumed} was taken for the zero frequency: if it is not, use center="
        away = pixel != tuple(m // 2 for m in frame)
        halfway = any(abs(c - round(c)) > 0.25 for c in said)
        return pixel, [f"{note}'middle' or its pixel, one index per axis"] * away + between * halfway

    def _about_pair(self, values: np.ndarray[Any, Any]) -> Iterator[str]:
        """A question, if the file holds a pixel that may be the zero frequency, and is not the middle.

        Where its order is not known, it is that which is brighter.
        """
        what, numbers, ordered = self.told.pair or Pair("")
        if self.wanted.center is not None or self.told.center is not None:
            return
        frame = self.shape[-self.ndim :]
        if len(numbers) > len(frame) and not any(numbers[len(frame) :]):  # of a volume that has one slice
            numbers = numbers[: len(frame)]
        if not all(0 <= x < math.inf for x in numbers) or (numbers and not any(map(round, numbers))):  # says nothing
            return
        pixel, middle = tuple(map(round, numbers)), tuple(m // 2 for m in frame)
        was, said = "were" if " and " in what else "was", f", {pixel}," if pixel else ""
        ways = (pixel, pixel if ordered else pixel[::-1])
        fits = len(pixel) == len(frame) and any(
            all(0 <= c < m for c, m in zip(way, frame, strict=True)) for way in ways
        )
        if what and not fits and (not pixel or middle[-len(pixel) :] not in ways):
            yield f"{what}{said} {was} not used: give the pixel of the beam with center=, one index per axis"
        elif fits and middle not in ways:
            order = ""
            if not ordered and self.ndim == 2:
                picture = values.reshape(-1, *values.shape[-2:])[0]
                at = [tuple(c - start for c, start in zip(way, self._starts() or (0, 0), strict=True)) for way in ways]
                pixel, order = (pixel[::-1], ", x first,") if brighter(picture, *at) else (pixel, "")
            yield f"{what}{said} {was} not used: if that is the pixel of the beam{order or ','} use center={pixel}"

    def _in_region(self, pixel: Place | tuple[int, ...]) -> Place | tuple[int, ...]:
        """The pixel of the whole frame, counted in the region of interest."""
        if isinstance(pixel, str) or self.wanted.roi is None:
            return pixel
        if not self._reads(pixel):
            fix = "Count from 0 in the whole frame, one index per axis"
            _checks.fail(f"center must be a pixel inside roi={self.wanted.roi}, got {pixel}", fix)
        return tuple(c - start for c, start in zip(pixel, self._starts(), strict=False))

    def _reads(self, pixel: Sequence[int]) -> bool:
        """Whether a pixel of the whole frame lies in what is read of it."""
        frame, roi = self.shape[-self.ndim :], self.wanted.roi
        parts = [slice(None)] * self.ndim if roi is None else slices(roi, self.shape, self.ndim)
        inside = (c in range(m)[part] for c, m, part in zip(pixel, frame, parts, strict=False))
        return len(pixel) == self.ndim and all(inside)

    def _starts(self) -> list[int]:
        """The first pixel of the region of interest in the whole frame; [] where that is read."""
        if self.wanted.roi is None:
            return []
        parts = zip(slices(self.wanted.roi, self.shape, self.ndim), self.shape[-self.ndim :], strict=True)
        return [part.indices(m)[0] for part, m in parts]

    def _limit(self) -> float:
        """The least value that the file does not trust; integers at the largest of their type are not."""
        dtype, said = self.contents.entry(self.name).dtype, self.told.saturation
        most = math.inf if said is None else float(np.nextafter(np.float32(said), np.float32(np.inf)))
        largest = float(np.iinfo(dtype).max) if dtype.kind in "iu" else math.inf
        return min(most, largest)


def _only(contents: Contents) -> str:
    """The array that is the pattern."""
    names = (layout.intensity(contents) for layout in LAYOUTS)
    return next(filter(None, names), None) or contents.only()


def _only_dark(contents: Contents) -> str:
    """The only array that is called as a background, else the pattern of the file."""
    called = [name for name, entry in contents.arrays.items() if entry.picture and _nexus.dark(name)]
    return called[0] if len(called) == 1 else _only(contents)


@contextlib.contextmanager
def opened_pattern(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], wanted: Wanted
) -> Iterator[OpenPattern | OpenSeries]:
    """The pattern in a file, or the stack of those in several, of which no value is read yet."""
    files = files_of(path)
    with opened(files[0]) as contents:
        name = _named(contents, wanted)
        if len(files) == 1:
            yield _pattern(contents, name, wanted)
            return
        if wanted.ndim == len(frame_of(contents.entry(name))) + 1:
            told_of = partial(_told_of_frame, name=name, wanted=wanted)
            volume, notes = as_volume(files, contents, name, told_of, full=wanted.saturation is None)
            notes += about_names(files, volume=True)
            pattern = _pattern(volume, name, wanted, notes)
            yield replace(pattern, told=replace(pattern.told, support=None, obj=None))  # those of a frame
            return
    yield OpenSeries.of(files, partial(_opened_one, wanted=wanted))


@contextlib.contextmanager
def _opened_one(path: str | os.PathLike[str], wanted: Wanted) -> Iterator[OpenPattern]:
    with opened(path) as contents:
        yield _pattern(contents, _named(contents, wanted), wanted)


def _named(contents: Contents, wanted: Wanted) -> str:
    """The array that is asked for, or else is the pattern."""
    name = wanted.key or _only(contents)
    if contents.lookup(name) is None:
        place = contents.where(name).strip("/")
        shown = _nexus.signal(contents, name) if contents.children(name) else None
        name = shown or _layout.intensity(contents, place) or name
    return name


def _told(contents: Contents, name: str) -> Told:
    """What the file says of the array."""
    told = Told()
    for layout in LAYOUTS:
        told = told.completed(layout.told(contents, name))
    return told


def _told_of_frame(contents: Contents, name: str, wanted: Wanted) -> Told:
    """What the file says of the array, without what was said to the function."""
    told, ignored = _told(contents, name), wanted.mask_is == "ignored"
    return replace(
        told,
        mask=None if ignored else told.mask,
        center=None if wanted.center is not None else told.center,
        saturation=None if wanted.saturation is not None else told.saturation,
    )


def _pattern(contents: Contents, name: str, wanted: Wanted, notes: Sequence[str] = ()) -> OpenPattern:
    entry, path = contents.entry(name), contents.path
    shape = entry.shape[:-1] if entry.color else entry.shape
    if entry.dtype.kind not in "iufb":
        fix = "Name another array with key="
        _checks.fail(f"{name!r} of {path} must hold one real number per pixel, got {entry.dtype}", fix)
    if not all(shape):
        fix = "It may be damaged or still being written"
        _checks.fail(f"{name!r} of {path} must hold pixels, got the shape {shape}", fix)
    told, about_lengths = _layout.sensible(_told(contents, name))
    ndim = item_axes(f"{name!r} of {path} with the shape {shape}", shape, wanted.ndim, told.ndim)
    axis, about_axis = stack_axis(contents.format, shape, ndim, wanted.stack_axis)
    shape = (shape[axis], *shape[:axis], *shape[axis + 1 :]) if axis else shape
    if wanted.roi is not None:
        slices(wanted.roi, shape, ndim)
        told = replace(told, support=None, obj=None)  # they belong to the whole frame
    if wanted.key is None and contents.format.startswith("MATLAB"):
        about_axis = (*about_axis, *_about_unread(contents.unread(), name))
    said = (*contents.noted(name), *_layout.about_scale(contents, name), *contents.about_units(), *about_lengths)
    said += (*_layout.about_exposure(told, len(shape) == ndim == 3), *((LOSSY,) if contents.format == "jpeg" else ()))
    notes = (*said, *about_axis, *notes)
    return OpenPattern(contents, name, shape, ndim, told, wanted, axis, notes)


def _about_unread(unread: list[tuple[str, str]], name: str) -> Iterator[str]:
    """A question, if the patterns may be in what could not be read."""
    if unread:
        listing = ", ".join(f"{other!r}, {what}" for other, what in unread[:3])
        yield f"{name!r} was taken for the pattern, and the file holds {listing}, too: if that is it, save it as one"


def _tensor(value: np.ndarray[Any, Any], dtype: torch.dtype) -> Tensor:
    """The array in the tensor's type; NumPy converts, since torch does not know all of a file's integer types."""
    numpy_type = torch.empty(0, dtype=dtype, device="cpu").numpy().dtype
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.ascontiguousarray(value, dtype=numpy_type))


def object_tensor(contents: Contents, name: str, value: np.ndarray[Any, Any]) -> Tensor:
    if value.dtype.kind not in "biufc":
        fix = "Name another array with key="
        _checks.fail(f"{name!r} of {contents.path} must hold one number per pixel, got {value.dtype}", fix)
    if value.dtype.kind == "c":
        return _tensor(value, torch.complex128 if value.dtype.itemsize > 8 else torch.complex64)
    return _tensor(value, torch.float64 if value.dtype == np.float64 else torch.float32)
