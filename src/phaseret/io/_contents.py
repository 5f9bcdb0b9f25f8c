"""What an open file holds: its arrays, numbers and texts by name, and how one of them is read safely."""

from __future__ import annotations

import contextlib
import logging
import math
import operator
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from phaseret import _checks, _memory
from phaseret._words import shortened
from phaseret.io._axes import Index

# The packages that read files, and log what is wrong besides raising it.
_READERS = ("tifffile", "fabio", "PIL", "h5py", "silx")
# Units a number may be given in, in SI units; "" is a number without one.
UNITS = {"": 1.0, "m": 1.0, "cm": 1e-2, "mm": 1e-3, "nm": 1e-9, "pm": 1e-12, "J": 1.0}
UNITS |= {"eV": 1.602176634e-19, "keV": 1.602176634e-16, "MeV": 1.602176634e-13}
UNITS |= dict.fromkeys(("um", "µm", "μm", "micron", "microns"), 1e-6)
UNITS |= dict.fromkeys(("A", "\u00c5", "\u212b", "angstrom", "Angstrom", "angstroms", "Angstroms"), 1e-10)
UNITS |= dict.fromkeys(("pixel", "pixels", "px", "pix"), 1.0)
UNITS |= {
    f"{prefix}{word}": scale
    for prefix, scale in {"": 1.0, "centi": 1e-2, "milli": 1e-3, "micro": 1e-6, "nano": 1e-9, "pico": 1e-12}.items()
    for word in ("meter", "meters", "metre", "metres")
}


@dataclass(frozen=True)
class Entry:
    """One array of a file: its shape and type, and how to read it, or part of its first axis.

    The last axis of a colour picture is its colours. Of some formats all of an array is read for a part of it. `filled`
    reads, in place of NaN, what HDF5 fills up where nothing was written.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[int | slice | None], Any]
    color: bool = False
    whole: bool = False
    filled: Callable[[int | slice | None], Any] | None = None

    @property
    def numbers(self) -> bool:
        """Whether it is an array of numbers, and not a single one."""
        return self.dtype.kind in "biufc" and any(size != 1 for size in self.shape)

    @property
    def picture(self) -> bool:
        """Whether it has pixels along more than one axis."""
        return 0 not in self.shape and sum(size > 1 for size in self.shape) > 1


# So many numbers, one of each frame, are looked at.
_MOST = 1 << 20


def _unreadable(index: int | slice | None) -> Any:
    raise ValueError("it is no array")


# What stands in the list of a file for what cannot be read.
UNREAD = Entry((), np.dtype("V1"), _unreadable)


class Lost(NamedTuple):
    """What a name leads to that cannot be read, and what to do."""

    what: str
    fix: str


def _nothing(*_: str) -> Any:
    return ""


@dataclass(frozen=True)
class Contents:
    """The arrays of an open file, and what else it can say of them, by name.

    Attributes:
        path: The file.
        format: What kind of file it is.
        lookup: The array of a name, as the file spells it or as a user may; None if there is none.
        listed: All arrays by the file's own names; a search of the whole file, done when it is needed.
        attribute: The text of an attribute of an array or a group, or of the header; "" if there is none.
        children: The names in a group, and () of all else.
        where: The place of what a name leads to: links are followed within the file.
        missing: What a name leads to that cannot be read; None if nothing is wrong.
        same: Whether two names lead to one array, as hard links do, too.
        notes: What the reader assumed of an array, by its name.
        units: The units of the quantities that were asked for, by their names.
        folders: What each folder that was looked through holds, by `same_word`.
    """

    path: Path
    format: str
    lookup: Callable[[str], Entry | None]
    listed: Callable[[], dict[str, Entry]]
    attribute: Callable[[str, str], str] = _nothing
    children: Callable[[str], tuple[str, ...]] = lambda name: ()
    where: Callable[[str], str] = lambda name: name
    missing: Callable[[str], Lost | None] = lambda name: None
    same: Callable[[str, str], bool] = operator.eq
    notes: Mapping[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    folders: dict[str, dict[str, str]] = field(default_factory=dict)

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """All arrays of the file."""
        return self.listed()

    @cached_property
    def arrays(self) -> dict[str, Entry]:
        """The entries that are arrays of numbers."""
        return {name: entry for name, entry in self.entries.items() if entry.numbers}

    @cached_property
    def flat(self) -> bool:
        """Whether the file has no groups but for what the names of its arrays say."""
        return not self.children("")

    def read(
        self, name: str, index: Index | None = None, less: str = "Use a smaller one", *, filled: bool = False
    ) -> np.ndarray[Any, Any]:
        """The array called `name`, or part of its first axis, after the check that it fits into memory; `less` is what
        to do where it does not, `filled` as in `Entry`.
        """
        entry = self.entry(name)
        parts, sizes = _parts(index, entry.shape)
        # As stored, its copy in single precision and a mask.
        stored = entry.shape if entry.whole else sizes
        needed = math.prod(stored) * entry.dtype.itemsize + 5 * math.prod(sizes)
        if stored != sizes:
            less = "Save it as npy or HDF5, of which a part can be read"
        _memory.check_fits(f"{name!r} {stored} of {self.path}", needed, less)
        with reading(self.path, self.format, less):
            read = (filled and entry.filled) or entry.read
            values = [np.asarray(read(part)) for part in parts]
            value = np.stack(values) if isinstance(index, Sequence) and isinstance(parts[0], int) else values[0]
            if value.shape != sizes:
                raise ValueError(f"{name!r} was announced as {sizes} and has the shape {value.shape}")
            if value.dtype.names == ("real", "imag"):
                value = value["real"] + 1j * value["imag"]
        return value

    def number(self, *names: str) -> float | None:
        """The first of the named single numbers that the file holds."""
        return self._number(names)[1]

    def quantity(self, *names: str) -> float | None:
        """The first of the named single numbers that the file holds, in SI units or pixels."""
        name, value = self._number(names)
        scale = self.scale(name) if value else 1.0  # 0 says nothing, in any unit
        return None if value is None or scale is None else value * scale

    def unit(self, name: str) -> str:
        """What the named quantity is measured in; "" where nothing says it."""
        return next(filter(None, (self.attribute(name, word).strip() for word in ("units", "unit"))), "")

    def scale(self, name: str) -> float | None:
        """What the named quantity is multiplied by in SI units or pixels; None where nobody knows."""
        unit = self.unit(name)
        self.units[name] = unit
        return UNITS.get(unit)

    def about_units(self) -> list[str]:
        """What was assumed of the units of all quantities that were asked for."""
        unknown = {name: unit for name, unit in self.units.items() if unit not in UNITS}
        notes = [
            f"{name!r} is in {unit!r}, which is no unit known here: it was not used" for name, unit in unknown.items()
        ]
        bare = [repr(name) for name, unit in self.units.items() if not unit]
        if bare and self.format == "HDF5" and self.lookup("cxi_version") is None:  # in CXI it is SI
            notes.append(f"no unit stands beside {', '.join(bare)}: SI was taken, metres and joules")
        return notes

    def _number(self, names: Sequence[str]) -> tuple[str, float | None]:
        """The first of them that is there, and its value if that is finite; of a row of numbers that of all."""
        for name in names:
            if (value := finite(self.text(name))) is not None:
                return name, value
            values = self.numbers(name)
            if len(set(values)) == 1:
                return name, values[0] if math.isfinite(values[0]) else None
        return "", None

    def numbers(self, name: str) -> list[float]:
        """A row of numbers, one of them or many, as those of each frame; none where that is something else."""
        entry = self.lookup(name)
        size = 0 if entry is None or entry.dtype.kind not in "iuf" else math.prod(entry.shape)
        is_row = entry is not None and (size == 1 or len(entry.shape) == 1)
        return [float(x) for x in self.read(name).reshape(-1).tolist()] if is_row and 0 < size <= _MOST else []

    def text(self, name: str) -> str:
        """The named text, empty if the file does not hold it."""
        entry = self.lookup(name)
        is_one = entry is not None and entry.dtype.kind in "OSU" and math.prod(entry.shape) == 1
        return as_text(self.read(name)) if is_one else ""

    def entry(self, name: str) -> Entry:
        """The entry of that name, which the file must have."""
        entry = self.lookup(name)
        if entry is None:
            if lost := self.missing(name):
                _checks.fail(f"{name!r} of {self.path} must be there as an array, got {lost.what}", lost.fix)
            if inside := list(self.children(name)):
                paths = [f"{name.strip('/')}/{part}" for part in inside[:12]]
                fix = f"It holds {', '.join(map(repr, paths))}" + " and more" * (len(inside) > 12)
                _checks.fail(f"key must name an array of {self.path}, got the group {name!r}", fix)
            _checks.fail(f"key must name an array of {self.path}, got {name!r}", self._listing())
        if min(entry.shape, default=0) < 0 or math.prod(entry.shape) > _checks.LARGEST:
            fix = "It may be damaged"
            _checks.fail(f"{name!r} of {self.path} must have sizes that can be counted, got {entry.shape}", fix)
        return entry

    def noted(self, name: str) -> list[str]:
        """What was assumed of an array."""
        return [self.notes[name]] if name in self.notes else []

    def first(self, *names: str) -> str | None:
        """The first of the names that the file has an array of."""
        for name in names:
            entry = self.lookup(name)
            if entry is not None and entry.shape:
                return name
        return None

    def called(self, folder: str, words: Iterable[str]) -> Iterator[str]:
        """What a folder holds under the words, each as `same_word` has it; "" is the file itself."""
        if folder not in self.folders:
            start = f"{folder}/" if folder else ""
            inner = list(self.children(folder))
            if self.flat:
                inner = [name[len(start) :] for name in self.entries if name.rpartition("/")[0] == folder]
            self.folders[folder] = {same_word(key): f"{start}{key}" for key in reversed(inner)}
        return (name for word in words if (name := self.folders[folder].get(word)))

    def only(self, words: Container[str] = ()) -> str:
        """The name of the only picture that is called by one of the words, or of the only array of numbers."""
        called = [name for name, entry in self.arrays.items() if entry.picture and same_word(name) in words]
        if len(called) == 1:
            return called[0]
        pictures = any(entry.picture for entry in self.arrays.values())
        names = [*self.arrays, *([] if pictures else (name for name, _ in self.unread()))]
        if len(names) != 1:
            _checks.fail(f"key must say which array of {self.path} to read, got None", self._listing())
        return names[0]

    def unread(self) -> list[tuple[str, str]]:
        """What the file holds that cannot be read: names, and what they lead to."""
        return [(name, lost.what) for name in self.entries if (lost := self.missing(name))]

    def _listing(self) -> str:
        """The arrays a user may choose among, as a sentence."""
        arrays = [f"{name!r} {entry.shape} {entry.dtype}" for name, entry in self.arrays.items()]
        arrays += [f"{name!r}, {what}" for name, what in self.unread()]
        if not arrays:
            arrays = [
                f"{name!r} {entry.shape}, {_kind(entry.dtype)}" for name, entry in self.entries.items() if entry.shape
            ]
        shown = ", ".join(arrays[:12]) + (f" and {len(arrays) - 12} more" if len(arrays) > 12 else "")
        return f"It holds {shown}" if arrays else "It holds no array"


def finite(text: str) -> float | None:
    """The number that a text is, if it is finite."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def same_word(name: str) -> str:
    """What names that people spell differently have in common: bad_pixels, BadPixels, bad-pixels."""
    return re.sub(r"[\W_]", "", name.rpartition("/")[2].lower())


def _kind(dtype: np.dtype[Any]) -> str:
    """What an array without pixels holds."""
    if dtype.names:
        return f"records of {', '.join(dtype.names)}: save the field that is meant as an array of its own"
    return "texts" if dtype.kind in "OSU" else f"of the type {dtype}" if dtype.kind not in "biufc" else "one number"


def _parts(index: Index | None, shape: tuple[int, ...]) -> tuple[list[int | slice | None], tuple[int, ...]]:
    """What is read one after the other, and the sizes of the whole."""
    if index is None:
        return [None], shape
    if not shape:
        _checks.fail(f"index must be None for a single number, got {index!r}", "Only a stack has one")
    stack, rest = range(shape[0]), shape[1:]
    inside = {number: -len(stack) <= number < len(stack) for number in _numbers(index)}
    if isinstance(index, slice):
        inside = {0: bool(stack[index])}
    if not inside or not all(inside.values()):
        wrong = index if isinstance(index, slice) else next((n for n, good in inside.items() if not good), index)
        _checks.fail(f"index must lie in a stack of {len(stack)}, got {wrong!r}", f"Count from 0 to {len(stack) - 1}")
    if isinstance(index, int):
        return [index], rest
    if isinstance(index, slice):
        return [index], (len(stack[index]), *rest)
    numbers = _numbers(index)
    one_run = numbers[0] >= 0 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    run: list[int | slice | None] = [slice(numbers[0], numbers[0] + len(numbers))]
    return run if one_run else list(numbers), (len(numbers), *rest)


def numbers_of(index: Index | None, count: int) -> list[int]:
    """The patterns of a stack of `count` that an index names, all of which must be there."""
    numbers = list(range(count)[index or slice(None)]) if index is None or isinstance(index, slice) else _numbers(index)
    if not numbers or not all(-count <= number < count for number in numbers):
        _checks.fail(f"index must lie in a stack of {count}, got {index!r}", f"Count from 0 to {count - 1}")
    return numbers


def _numbers(index: int | slice | Sequence[int]) -> list[int]:
    """The patterns that are named one by one."""
    return [] if isinstance(index, slice) else [index] if isinstance(index, int) else list(index)


def part_beside(shape: Sequence[int], stack: Sequence[int], index: Index | None) -> Index | None:
    """The part of an array beside a stack, one for each pattern or one for all, that goes with a part of the stack."""
    if index is None or len(shape) < len(stack):
        return None
    if shape[0] == stack[0]:
        return index
    return 0 if shape[0] == 1 and isinstance(index, int) else None


class Refusal(Exception):
    """A reader says what is wrong with a whole file, and how to mend it."""


def too_large(path: Path, size: int, fix: str) -> Refusal:
    """Of a packed file that holds more bytes than there is memory for."""
    what = f"{path} must fit into memory when it is unpacked, got more than {size / 2**30:.3g} GiB"
    return Refusal(what, f"{fix}, or raise the limit with PHASERET_MEMORY=GiB")


def part(array: Any, index: int | slice | None) -> Any:
    """Part of the first axis of an array that was read as a whole."""
    return array if index is None else array[index]


def as_text(value: np.ndarray[Any, Any]) -> str:
    """The text that an array of one text holds; none where it is empty."""
    texts = np.asarray(value).reshape(-1)
    content = texts[0] if texts.size else ""
    return content.decode(errors="replace") if isinstance(content, bytes) else str(content)


@contextlib.contextmanager
def reading(path: Path, kind: str, less: str = "Use a smaller one") -> Iterator[None]:
    """Whatever a reader of files raises becomes one clear error; what it logs is not printed."""
    quiet = logging.NullHandler()
    loggers = [logging.getLogger(name) for name in _READERS]
    for logger in loggers:
        logger.addHandler(quiet)
    try:
        yield
    except ImportError:
        raise
    except Refusal as refusal:
        what, fix = refusal.args
        _checks.fail(what, fix)
    except Exception as error:
        asked = _memory.shortage(error)
        if asked is not None:
            _checks.fail(f"{path} must fit into memory, got {asked}", less, MemoryError)
        if isinstance(error, MemoryError):
            raise
        said = " ".join(shortened(str(error), 300).split()) or type(error).__name__
        fix = "It may be truncated, damaged or still being written"
        if re.search("requires the .* package", said):
            fix = "Install what it asks for"
        if "unable to lock file" in said:
            fix = "A program has it open: wait for that, or set HDF5_USE_FILE_LOCKING=FALSE"
        _checks.fail(f"{path} must be a whole {kind} file, got the error: {said.rstrip('.')}", fix)
    finally:
        for logger in loggers:
            logger.removeHandler(quiet)


@contextlib.contextmanager
def errors_logged_are_raised(name: str) -> Iterator[None]:
    """fabio logs that a file is incomplete and fills it up, tifffile that pages are lost: here that is an error."""
    messages: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler, logger = Collect(logging.ERROR), logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    if messages:
        raise ValueError(messages[0])
