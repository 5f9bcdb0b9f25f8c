"""What a file holds, found out by its content and not by its name.

Every reader gives the names, shapes and types of the arrays before any of them is read, so that the choice of an
array and the check that it fits into memory come first. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import logging
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, NoReturn

import numpy as np

from phaseret import _checks, _memory

Index = int | slice


@dataclass(frozen=True)
class Entry:
    """One array of a file: its shape and type, and how to read it, or part of its first axis."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Index | None], Any]
    color: bool = False


@dataclass(frozen=True)
class Contents:
    """The arrays of an open file, and where it can say more about them, its numbers and texts by name."""

    path: Path
    format: str
    entries: dict[str, Entry]
    lookup: Callable[[str], Entry | None]
    attribute: Callable[[str, str], str] = field(default=lambda name, attribute: "")

    def read(self, name: str, index: Index | None = None) -> np.ndarray[Any, Any]:
        """The array called `name`, after the check that it fits into memory."""
        entry = self.entry(name)
        sizes = entry.shape
        if index is not None:
            chosen = range(sizes[0])[index] if isinstance(index, slice) or -sizes[0] <= index < sizes[0] else range(0)
            if isinstance(chosen, range) and not chosen:
                _checks.fail(
                    f"index must lie in a stack of {sizes[0]}, got {index!r}", f"Count from 0 to {sizes[0] - 1}"
                )
            sizes = (len(chosen), *sizes[1:]) if isinstance(chosen, range) else sizes[1:]
        _check_memory(self.path, name, sizes, entry.dtype)
        with _reading(self.path, self.format):
            value = np.asarray(entry.read(index))
        if value.dtype.names == ("real", "imag"):
            value = value["real"] + 1j * value["imag"]
        return value

    def number(self, *names: str) -> float | None:
        """The first of the named single numbers that the file holds."""
        for name in names:
            entry = self.lookup(name)
            if entry is not None and entry.dtype.kind in "iuf" and int(np.prod(entry.shape)) == 1:
                value = float(self.read(name).reshape(())) * _UNITS.get(self.attribute(name, "units"), np.nan)
                return value if np.isfinite(value) else None
        return None

    def text(self, name: str) -> str:
        """The named text, empty if the file does not hold it."""
        entry = self.lookup(name)
        if entry is None or entry.dtype.kind not in "OSU" or entry.shape:
            return ""
        return as_text(self.read(name))

    @property
    def arrays(self) -> dict[str, Entry]:
        """The entries that are arrays of numbers."""
        return {name: e for name, e in self.entries.items() if e.shape and e.dtype.kind in "biufc"}

    def entry(self, name: str) -> Entry:
        """The entry of that name, which the file must have."""
        entry = self.lookup(name)
        if entry is None:
            _checks.fail(f"key must name an array of {self.path}, got {name!r}", self._listing())
        return entry

    def first(self, *names: str) -> str | None:
        """The first of the names that the file has an array of."""
        for name in names:
            entry = self.lookup(name)
            if entry is not None and entry.shape:
                return name
        return None

    def only(self) -> str:
        """The name of the only array of numbers."""
        names = list(self.arrays)
        if len(names) != 1:
            _checks.fail(f"key must say which array of {self.path} to read, got None", self._listing())
        return names[0]

    def _listing(self) -> str:
        """The arrays a user may choose among, as a sentence."""
        arrays = [f"{name!r} {entry.shape} {entry.dtype}" for name, entry in self.arrays.items()]
        shown = ", ".join(arrays[:12]) + (f" and {len(arrays) - 12} more" if len(arrays) > 12 else "")
        return f"It holds {shown}" if arrays else "It holds no array"


def as_text(value: np.ndarray[Any, Any]) -> str:
    """The text that an array of one text holds."""
    content = np.asarray(value).reshape(-1)[0]
    return content.decode() if isinstance(content, bytes) else str(content)


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Contents]:
    """The contents of the file, whose format is recognised by its first bytes."""
    file = _checks.path(path)
    if not file.exists():
        _checks.fail(
            f"path must name a file, got {str(file)!r}, which does not exist",
            "Look for a misprint, or name its folder too",
            error=FileNotFoundError,
        )
    if file.is_dir():
        _checks.fail(
            f"path must name a file, got the folder {str(file)!r}", "Name a file in it", error=IsADirectoryError
        )
    with _reading(file, "readable"), file.open("rb") as stream:
        start = stream.read(128)
    if not start:
        _checks.fail(f"path must name a file with data, got {str(file)!r}, which is empty", "Write or copy it again")
    name, reader = _recognise(file, start)
    with contextlib.ExitStack() as stack:
        yield reader(file, name, stack)


def _recognise(path: Path, start: bytes) -> tuple[str, Callable[..., Contents]]:
    for magic, name, reader in _FORMATS:
        if start.startswith(magic):
            return name, reader
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
        _refuse_pickle(path)
    if _is_hdf5(path):
        return "HDF5", _open_hdf5
    known = "HDF5/CXI, npy, npz, mat, tif, png, jpeg, edf and cbf files"
    _checks.fail(f"path must name a file of a known kind, got {str(path)!r}", f"{known} are recognised")


def _is_hdf5(path: Path) -> bool:
    """Whether the HDF5 signature stands at 512, 1024, 2048, ... after a block of the user's own."""
    with path.open("rb") as stream:
        offset, size = 512, path.stat().st_size
        while offset < size:
            stream.seek(offset)
            if stream.read(8) == _HDF5:
                return True
            offset *= 2
    return False


def _refuse_pickle(path: Path) -> NoReturn:
    fix = "Loading them could run code: save plain arrays with numpy.savez or phaseret.io.save_intensity"
    _checks.fail(f"path must name a file without pickled Python objects, got {str(path)!r}", fix)


@contextlib.contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Whatever a reader of files raises becomes one clear error."""
    try:
        yield
    except MemoryError:
        _checks.fail(f"{path} must fit into memory", "Read part of it with index=", MemoryError)
    except ImportError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        fix = "It may be truncated, damaged or still being written"
        _checks.fail(f"{path} must be a whole {kind} file, got the error: {said.rstrip('.')}", fix)


def _check_memory(path: Path, name: str, sizes: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """The array as stored, its copy in single precision and a mask fit into memory."""
    needed, present = int(np.prod(sizes, dtype=np.float64)) * (dtype.itemsize + 5), _memory.physical_memory()
    if present is not None and needed > present:
        _checks.fail(
            f"{name!r} {sizes} of {path} must fit into memory, got {needed / 2**30:.1f} GiB needed and "
            f"{present / 2**30:.1f} GiB present",
            "Read part of the stack with index=slice(start, stop)",
            MemoryError,
        )


def _part(array: Any, index: Index | None) -> Any:
    return array if index is None else array[index]


def _npy_header(stream: BinaryIO | IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def _single(path: Path, name: str, entry: Entry) -> Contents:
    return Contents(path, name, {"data": entry}, lambda key: entry if key == "data" else None)


def _open_npy(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    with _reading(path, name), path.open("rb") as stream:
        shape, dtype = _npy_header(stream)
    if dtype.hasobject:
        _refuse_pickle(path)

    def read(index: Index | None) -> Any:
        mapped = np.load(path, mmap_mode="r" if np.prod(shape) else None, allow_pickle=False)
        return np.array(_part(mapped, index))

    return _single(path, name, Entry(shape, dtype, read))


def _open_npz(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    with _reading(path, name):
        archive = stack.enter_context(zipfile.ZipFile(path))
        members = archive.namelist()
    if any(member.endswith(".pkl") for member in members):
        _refuse_pickle(path)
    entries = {}
    for member in members:
        if member.endswith(".npy"):
            with _reading(path, name), archive.open(member) as stream:
                shape, dtype = _npy_header(stream)
            if dtype.hasobject:
                _refuse_pickle(path)
            entries[member[:-4]] = Entry(shape, dtype, partial(_npz_array, archive, member))
    return Contents(path, name, entries, entries.get)


def _npz_array(archive: zipfile.ZipFile, member: str, index: Index | None) -> Any:
    with archive.open(member) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    return _part(array, index)


def _open_mat(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    from scipy.io import loadmat, whosmat

    with _reading(path, name):
        variables = whosmat(path)

    def read(key: str, index: Index | None) -> Any:
        return _part(loadmat(path, variable_names=[key])[key], index)

    entries = {
        key: Entry(shape, np.dtype(_MATLAB.get(kind, kind)), partial(read, key))
        for key, shape, kind in variables
        if kind in _MATLAB or kind.startswith(("int", "uint"))
    }
    return Contents(path, name, entries, entries.get)


def _open_hdf5(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    h5py = _checks.extra("h5py", "h5py", "io")
    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401  # registers the compression filters that detectors write
    with _reading(path, name):
        file = stack.enter_context(h5py.File(path, "r"))
    # MATLAB 7.3 stores its arrays in HDF5 with the axes in reverse.
    reverse = name.startswith("MATLAB")

    def entry_of(dataset: Any) -> Entry | None:
        if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
            return None
        shape = dataset.shape[::-1] if reverse else dataset.shape
        return Entry(shape, dataset.dtype, partial(read, dataset))

    def read(dataset: Any, index: Index | None) -> Any:
        if reverse:
            return _part(dataset[()].T, index)
        return dataset[() if index is None else index]

    def lookup(key: str) -> Entry | None:
        with _reading(path, name):
            return entry_of(file.get(key))

    entries: dict[str, Entry] = {}

    def visit(key: str, value: Any) -> None:
        entry = entry_of(value)
        if entry is not None:
            entries[key] = entry

    with _reading(path, name):
        file.visititems(visit)

    def attribute(key: str, attribute: str) -> str:
        return as_text(np.asarray(file[key].attrs.get(attribute, ""))) if key in file else ""

    return Contents(path, name, entries, lookup, attribute)


def _open_tif(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    tifffile = _checks.extra("tifffile", "tifffile", "io")
    with _reading(path, name):
        series = stack.enter_context(tifffile.TiffFile(path)).series[0]
        shape, dtype, color = tuple(series.shape), np.dtype(series.dtype), "S" in series.axes

    def read(index: Index | None) -> Any:
        return _part(series.asarray(), index)

    return _single(path, name, Entry(shape, dtype, read, color))


def _open_picture(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    image_module = _checks.extra("PIL.Image", "pillow", "io")
    with _reading(path, name):
        picture = stack.enter_context(image_module.open(path))
        color = picture.mode not in ("1", "L", "F", "I") and not picture.mode.startswith("I;")
        shape = (picture.height, picture.width, 3) if color else (picture.height, picture.width)
        kind = {"1": "bool", "F": "float32", "I": "int32"}.get(
            picture.mode, "uint16" if "16" in picture.mode else "uint8"
        )

    def read(index: Index | None) -> Any:
        return _part(np.asarray(picture.convert("RGB") if color else picture), index)

    return _single(path, name, Entry(shape, np.dtype(kind), read, color))


def _open_fabio(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    fabio = _checks.extra("fabio", "fabio", "io")
    with _reading(path, name), _errors_logged_are_raised("fabio"):
        image = stack.enter_context(fabio.open(str(path)))
        frames = image.nframes
        shape, dtype = tuple(image.shape), np.dtype(image.dtype)

    def read(index: Index | None) -> Any:
        with _errors_logged_are_raised("fabio"):
            array = image.data if frames == 1 else np.stack([image.get_frame(number).data for number in range(frames)])
        return _part(array, index)

    return _single(path, name, Entry(shape if frames == 1 else (frames, *shape), dtype, read))


@contextlib.contextmanager
def _errors_logged_are_raised(name: str) -> Iterator[None]:
    """fabio logs that a file is incomplete and fills it up: here that is an error."""
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


_MATLAB = {"double": "float64", "single": "float32", "logical": "bool"}
# Units a number may be given in, in SI units; "" is a number without one.
_UNITS = {"": 1.0, "m": 1.0, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "angstrom": 1e-10, "A": 1e-10, "J": 1.0}
_UNITS |= {"eV": 1.602176634e-19, "keV": 1.602176634e-16}
_HDF5 = b"\x89HDF\r\n\x1a\n"
_FORMATS: tuple[tuple[bytes, str, Callable[..., Contents]], ...] = (
    (b"\x93NUMPY", "npy", _open_npy),
    (b"PK\x03\x04", "npz", _open_npz),
    (_HDF5, "HDF5", _open_hdf5),
    (b"MATLAB 7.3", "MATLAB 7.3", _open_hdf5),
    (b"MATLAB 5.0", "MATLAB", _open_mat),
    (b"II*\0", "tif", _open_tif),
    (b"MM\0*", "tif", _open_tif),
    (b"II+\0", "tif", _open_tif),
    (b"MM\0+", "tif", _open_tif),
    (b"\x89PNG", "png", _open_picture),
    (b"\xff\xd8\xff", "jpeg", _open_picture),
    (b"{", "edf", _open_fabio),
    (b"\n{", "edf", _open_fabio),
    (b"###CBF", "cbf", _open_fabio),
)
