"""Several files as one stack of patterns, or as one volume of frames: by their names, or by a pattern of names."""

from __future__ import annotations

import glob
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property, partial
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from phaseret import _checks
from phaseret.io._axes import Index
from phaseret.io._contents import Contents, Entry, numbers_of, part_beside
from phaseret.io._layout import BESIDE, MASKS, SUPPORT, Told, differences
from phaseret.io._measurement import Measurement, stacked
from phaseret.io._readers import opened
from phaseret.io._scale import dim

Opener = Callable[[Any], AbstractContextManager[Any]]
# A number in the name of a file, as programs write them, what may stand for its point, and where one has decimals.
_NUMBER = re.compile(r"([-+]?\d+(?:[.,p]\d+)?(?:[eE][-+]\d{1,3})?)")
_POINTS, _DECIMALS = ".,p", re.compile(r"\d[.,p]\d")
# What stands before the sign of a number, and not before a hyphen.
_BEFORE_SIGNS = ("_", "=", "(", "[", os.sep)
# From here on a number is a time, in seconds since 1970 or as 20210304050607; and no count leaves out so many.
_TIME, _SPARSE = 10**9, 100


def files_of(path: Any, *, must_match: bool = True) -> list[Any]:
    """The files that are meant, in their order; a single one is not looked for."""
    if isinstance(path, str | os.PathLike):
        if must_match and os.path.isdir(path):
            what = f"path must name a file, got the folder {str(path)!r}"
            fix = f"Name a file in it, or all by a pattern such as {os.path.join(str(path), '*.tif')!r}"
            _checks.fail(what, fix, error=IsADirectoryError)
        return _matching(str(path), must_match) or [path]
    array = isinstance(path, Tensor) or (isinstance(path, np.ndarray) and path.dtype.kind not in "OSU")
    if array or hasattr(path, "read"):
        fix = "Give as_measurement the values" if array else "Give its name"
        _checks.fail(f"path must name a file, got {'an array' if array else 'one that is open'}", fix, TypeError)
    _checks.sequence("path", path, "files", "Name a file, or several")
    files = [file for one in path for file in (_matching(str(_checks.path(one)), must_match) or [one])]
    if not files:
        _checks.fail("path must name a file, got an empty list", "Name one or more")
    return files


def _matching(name: str, must_match: bool = True) -> list[str]:
    """The files that a pattern such as frame_*.tif or frame_%05d.tif means; none if a file has that very name."""
    if os.path.lexists(name):
        return []
    counted = re.search(r"%0?(\d*)[diu]", name)
    if counted is None and not glob.has_magic(name):
        return []
    if counted is None:
        folder, file = os.path.split(name)
        there = glob.escape(folder) if os.path.isdir(folder) else folder  # [2021] may be its name
        found = glob.glob(os.path.join(there, file), recursive=True)
    else:
        before, after = name[: counted.start()], name[counted.end() :]
        number = re.compile(re.escape(before) + r"\d+" + re.escape(after))
        found = [file for file in glob.glob(f"{glob.escape(before)}*{glob.escape(after)}") if number.fullmatch(file)]
    if not found and must_match:
        fix = "Look for a misprint, or name its folder too"
        _checks.fail(f"path must match files, got {name!r}, which matches none", fix, FileNotFoundError)
    return _by_number(found)


def frame_of(entry: Entry) -> tuple[int, ...]:
    """The shape of the frame that an array holds, in which the number 1 may stand before its sizes."""
    shape = entry.shape[:-1] if entry.color else entry.shape
    return shape[1:] if len(shape) == 3 and shape[0] == 1 else shape


def _pixels(entry: Entry) -> tuple[int, ...]:
    """The sizes of the frame, and the number of its colours behind them."""
    return (*frame_of(entry), *entry.shape[-1:] * entry.color)


def _full(dtype: np.dtype[Any]) -> float:
    """The number of a type that is never taken as measured."""
    return np.iinfo(dtype).max if dtype.kind in "iu" else math.nan


def _common(types: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """The type that holds the numbers of all, or one that holds no numbers, which is refused later."""
    return next((dtype for dtype in types if dtype.kind not in "biufc"), None) or np.result_type(*types)


def as_volume(
    files: Sequence[Any], contents: Contents, name: str, told_of: Callable[[Contents], Told], *, full: bool
) -> tuple[Contents, list[str]]:
    """The contents of the first file, with the frames of all in place of its own: the array, and those of its size; and
    what the files say otherwise than it.

    `told_of` says what a file tells of its frame; all must tell of one mask, or none. `full`: what reaches the end of
    its file's type is no number.
    """
    said = [told_of(contents)]
    mask = said[0].mask and said[0].mask[0]
    pixels = {key: _pixels(contents.entry(key)) for key in filter(None, (name, mask))}
    types = {key: [contents.entry(key).dtype] for key in pixels}
    for file in files[1:]:
        with opened(file) as other:
            said.append(told_of(other))
            if (its := said[-1].mask and said[-1].mask[0]) != mask:
                got = " and ".join(
                    f"{repr(each) if each else 'none'} in {at}" for each, at in ((mask, files[0]), (its, file))
                )
                fix = "Give each its own, or leave them out with mask_is='ignored'"
                _checks.fail(f"the files of one volume must all hold one mask, or none, got {got}", fix)
            for key, shape in pixels.items():
                if (there := _pixels(other.entry(key))) != shape:
                    rule = f"the files of one volume must hold frames of one shape, {shape}, got {there} in {file}"
                    _checks.fail(rule, "Crop them to one shape, or leave it out if it is the first or the last")
                types[key].append(other.entry(key).dtype)

    def read(key: str, index: int | slice | None) -> Any:
        entry, chosen = joined(key, contents.entry(key)), numbers_of(index, len(files))
        volume = np.empty((len(chosen), *entry.shape[1:]), entry.dtype)
        for frame, number in zip(volume, chosen, strict=True):
            with opened(files[number]) as one:
                values = one.read(key).reshape(frame.shape)
            frame[...] = values
            if full and key == name and values.dtype != frame.dtype and values.dtype.kind in "iu":
                frame[values == np.iinfo(values.dtype).max] = _full(frame.dtype)
        return volume[0] if isinstance(index, int) else volume

    def joined(key: str, entry: Entry) -> Entry:
        if entry.shape in ((), (1,)) or frame_of(entry) != frame_of(contents.entry(name)):
            return entry
        shape, dtype = (len(files), *_pixels(entry)), _common(types.get(key, [entry.dtype]))
        return replace(entry, shape=shape, dtype=dtype, read=partial(read, key), whole=False)

    def lookup(key: str) -> Entry | None:
        entry = contents.lookup(key)
        return None if entry is None else joined(key, entry)

    whole = replace(
        contents,
        path=Path(f"{files[0]} to {Path(files[-1]).name}"),
        lookup=lookup,
        listed=lambda: {key: joined(key, entry) for key, entry in contents.entries.items()},
    )
    return whole, differences([str(file) for file in files], said)


def about_names(files: Sequence[Any], volume: bool = False) -> list[str]:
    """Questions, if files whose names differ in one number alone leave numbers out, if their decimals may be counts, if
    one is named twice, or if some are called as what goes with a pattern is; of a volume, if they are sorted as texts.
    """
    are = "are one volume, whose axis of frames is not even without" if volume else "are one stack, without"
    notes, names = _gaps(files, are), [str(file) for file in files]
    places = [*map(os.path.abspath, names)]
    counts = Counter(places)
    twice = [*{place: name for place, name in zip(places, names, strict=True) if counts[place] > 1}.values()]
    if twice:
        more = f" and {len(twice) - 1} more" if twice[1:] else ""
        notes.append(
            f"{twice[0]}{more} of the files {'are' if more else 'is'} named twice: name it once if that is wrong"
        )
    elif any(map(_DECIMALS.search, names)) and names == _by_number(names) != (counted := _by_number(names, False)):
        place = next(i for i, (one, other) in enumerate(zip(names, counted, strict=True)) if one != other)
        what = f"the numbers of the files' names are decimals, so that {names[place]} comes before {counted[place]}"
        notes.append(f"{what}: if they count, name the files one by one")
    elif volume and names == sorted(names) != (counted := _by_number(names)):
        place = next(i for i, (one, other) in enumerate(zip(names, counted, strict=True)) if one != other)
        what = f"the files are in the order of the letters of their names, {names[place]} before {counted[place]}"
        notes.append(f"{what}: if their numbers count the frames, name them by a pattern, in quotes")
    masters = [name for name in names if Path(name).stem.endswith("_master")]
    if 0 < len(masters) < len(names):
        notes.append(
            f"{masters[0]} of the files is called as one that shows what others hold: name it alone if it does"
        )
    words = {*BESIDE, *MASKS, SUPPORT}
    other = [file for file in files if words.intersection(re.findall(r"[a-z]+", Path(file).stem.lower()))]
    if not 0 < len(other) < len(files):
        return notes
    what = f"{other[0]}{f' and {len(other) - 1} more' if other[1:] else ''} of the files {'are' if other[1:] else 'is'}"
    return [*notes, f"{what} called as what goes with a pattern: if it is none, leave it out"]


def _gaps(files: Sequence[Any], are: str) -> list[str]:
    """A question, if files whose names differ in one number alone leave numbers out."""
    parts = [re.split(r"(\d+)", str(file)) for file in files]
    places = [place for place, words in enumerate(zip(*parts, strict=False)) if len(set(words)) > 1]
    if len(places) != 1 or len({len(part) for part in parts}) > 1 or not places[0] % 2:
        return []
    behind = places[0] > 1 and parts[0][places[0] - 1] in _POINTS
    if behind and not _count({f"{part[places[0] - 2]}.{part[places[0]]}" for part in parts}):
        return []
    numbers = sorted(int(part[places[0]]) for part in parts)
    if numbers[-1] >= _TIME or numbers[-1] - numbers[0] >= _SPARSE * len(numbers):
        return []
    gaps = sorted(set(range(numbers[0], numbers[-1])) - set(numbers))
    if not gaps or len({b - a for a, b in pairwise(numbers)}) == 1:
        return []
    shown = ", ".join(map(str, gaps[:6])) + (f" and {len(gaps) - 6} more" if len(gaps) > 6 else "")
    return [f"the files {files[0]} to {files[-1]} {are} number {shown}: look whether all are there"]


def _by_number(names: Sequence[str], decimals: bool = True) -> list[str]:
    """The names in the order of their numbers: frame_2 before frame_10, -0.1 before 0.1, and 0.25 before 0.5.

    A sign is that of a number where other names have none there, or another one, or where no hyphen stands. Digits
    behind a point are decimals, unless they `_count`.
    """
    parts = {name: [*_NUMBER.split(name)] for name in names}
    for words in parts.values():
        words[1::2] = [re.sub(f"[{_POINTS}]", ".", word) for word in words[1::2]]
    columns = [*zip_longest(*parts.values(), fillvalue="")]
    signed, counted = set[int](), set[int]()
    for place in range(1, len(columns), 2):
        numbers, before = {*columns[place]} - {""}, {*columns[place - 1]}
        signs = {number[0] if number[0] in "+-" else "" for number in numbers}
        is_sign = all(x.endswith(_BEFORE_SIGNS) or (place == 1 and not x) for x in before)
        if signs != {""} and (len(before) == 1 < len(signs) or is_sign):
            signed.add(place)
        elif _count(numbers, decimals):
            counted.add(place)

    def order(name: str) -> tuple[list[Any], str]:
        key: list[Any] = list(parts[name])
        for place in range(1, len(key), 2):
            number = key[place] if place in signed else key[place].lstrip("+-")
            whole, _, tail = number.partition(".")
            is_count = place in counted and tail.isdigit()
            key[place] = (Decimal(whole), int(tail)) if is_count else (Decimal(number), 0)
        return key, name

    return sorted(names, key=order)


def _count(numbers: Iterable[str], decimals: bool = True) -> bool:
    """Whether the digits behind the points of numbers count, as frames of run 12 from 12.0001 on, or scans that go on
    to .10 or .20; without `decimals` all that may.
    """
    found = [number.lstrip("+-").partition(".") for number in numbers]
    tails = {tail for _, _, tail in found} - {""}
    if not tails or any(whole == "0" and tail for whole, _, tail in found):
        return False
    if len({*map(len, tails)}) == 1:
        return len(min(tails)) > 2 and min(tails).startswith("00")
    return not any(tail[:1] == "0" != tail for tail in tails) and (
        not decimals or any(tail[1:].endswith("0") for tail in tails)
    )


@dataclass(frozen=True)
class OpenSeries:
    """The patterns of several files; each file is opened when its pattern is read."""

    files: tuple[Any, ...]
    counts: tuple[int | None, ...]
    shape: tuple[int, ...]
    ndim: int
    opener: Opener
    is_stack: bool = True

    @classmethod
    def of(cls, files: Sequence[Any], opener: Opener) -> OpenSeries:
        """Those of the files, whose patterns must have one shape."""
        counts: list[int | None] = []
        frame: tuple[int, ...] | None = None
        for file in files:
            with opener(file) as pattern:
                shape, stack = pattern.shape[-pattern.ndim :], pattern.shape[: -pattern.ndim]
            if len(stack) > 1 or (frame is not None and shape != frame):
                rule = f"the files of one stack must hold patterns of one shape, {frame}, got {stack + shape} in {file}"
                _checks.fail(rule, "Leave it out, or read it by itself")
            frame = shape
            counts.append(stack[0] if stack else None)
        assert frame is not None
        total = sum(1 if count is None else count for count in counts)
        return cls(tuple(files), tuple(counts), (total, *frame), len(frame), opener)

    def read(self, index: Index | None = None, masks: Mapping[str, Tensor] | None = None) -> Measurement:
        """All patterns, or some of them; only their files are read."""
        places = [(i, k) for i, count in enumerate(self.counts) for k in range(1 if count is None else count)]
        chosen = numbers_of(index, len(places))
        parts = []
        for number in chosen:
            which, inner = places[number]
            with self.opener(self.files[which]) as pattern:
                own = {
                    name: mask[number] if mask.ndim == len(self.shape) and len(mask) == len(places) else mask
                    for name, mask in (masks or {}).items()
                }
                try:
                    parts.append(pattern.read(None if self.counts[which] is None else inner, own))
                except ValueError as error:
                    where = f"That is number {number} of the stack, in {self.files[which]}: index= leaves it out."
                    error.args = (f"{error} {where}",)
                    raise
        if isinstance(index, int):
            return parts[0]
        whole = stacked(parts)
        return replace(
            whole,
            notes=(
                *whole.notes,
                *self._about_names,
                *dim(whole.intensity, self.ndim, chosen, len(places)),
            ),
            source=f"{self.files[places[chosen[0]][0]]} to {Path(self.files[places[chosen[-1]][0]]).name}",
        )

    @cached_property
    def _about_names(self) -> list[str]:
        """What is asked about the names, once, however many blocks are read."""
        return about_names(self.files)

    def background(self, path: str, key: str | None) -> Tensor:
        """As that of the first file."""
        with self.opener(self.files[0]) as pattern:
            found: Tensor = pattern.background(path, key)
            return found

    def part(self, shape: Sequence[int], index: Index | None) -> Index | None:
        """See `part_beside`."""
        return part_beside(shape, self.shape, index)
