"""What a file holds, found out by its content and not by its name.

Every reader gives the names, shapes and types of the arrays before any of them is read, so that the choice of an
array and the check that it fits into memory come first. Nothing is ever unpickled.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import importlib
import logging
import math
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, NoReturn

import numpy as np

from phaseret import _checks, _memory
from phaseret._output import is_full, no_room, scratch
from phaseret.io._contents import Contents, Entry, Refusal, part, reading, too_large
from phaseret.io._hdf5 import open_hdf5
from phaseret.io._headers import of_edf
from phaseret.io._layout import differences
from phaseret.io._matlab import header_of_4, open_mat, open_mat4
from phaseret.io._pictures import named, open_picture, open_tif


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Contents]:
    """The contents of the file, whose format is recognised by its first bytes."""
    file = _checks.readable(_checks.path(path))
    if not os.path.exists(file):
        what = f"path must name a file, got {str(file)!r}, which does not exist"
        if os.path.islink(file):
            what = f"path must name a file, got the link {str(file)!r}, whose target does not exist"
        _checks.fail(what, "Look for a misprint, or name its folder too", error=FileNotFoundError)
    if os.path.isdir(file):
        _checks.fail(
            f"path must name a file, got the folder {str(file)!r}", "Name a file in it", error=IsADirectoryError
        )
    if not os.path.isfile(file):
        fix = "Write what it sends to a file first"
        _checks.fail(f"path must name a file, got the pipe or device {str(file)!r}", fix, error=OSError)
    with reading(file, "readable"), file.open("rb") as stream:
        start = stream.read(_BEGINNING)
    if not start:
        _checks.fail(f"path must name a file with data, got {str(file)!r}, which is empty", "Write or copy it again")
    with contextlib.ExitStack() as stack:
        yield _open(file, start, stack)


def _open(path: Path, start: bytes, stack: contextlib.ExitStack) -> Contents:
    for magic, name, reader in _FORMATS:
        if start.startswith(magic):
            return reader(path, name, stack)
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
        _refuse_pickle(path)
    if _is_hdf5(path):
        return open_hdf5(path, "HDF5", stack)
    if header_of_4(start) is not None:
        return open_mat4(path, "MATLAB 4", stack)
    if _is_table(start):
        return _open_table(path, "text", stack)
    known = "HDF5/CXI, npy, npz, mat, tif, png, jpeg, bmp, edf and cbf files, tables of numbers, and these in gz"
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


def _open_gzip(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    """Unpacked into a folder that goes when the file is closed, as far as that fits into memory."""
    folder = stack.enter_context(scratch(f"to unpack {path}"))
    inside = folder / (path.stem or "unpacked")
    with reading(path, name), gzip.open(path) as packed:
        size = _unpack(path, packed, inside)
    if not size:
        _checks.fail(f"path must name a file with data, got {str(path)!r}, which is empty", "Write or copy it again")
    with inside.open("rb") as stream:
        start = stream.read(_BEGINNING)
    if start.startswith(_GZIP):
        _checks.fail(f"path must name a file that was packed once, got {str(path)!r}", "Unpack it first")
    try:
        contents = _open(inside, start, stack)
    except (ValueError, OSError) as error:
        error.args = (str(error).replace(str(inside), str(path)),)
        raise
    return replace(contents, path=path)


def _unpack(path: Path, packed: gzip.GzipFile, inside: Path) -> int:
    """Write what the file holds; its number of bytes, of which memory must hold twice as many."""
    most, size = _memory.physical_memory(), 0
    try:
        with inside.open("wb") as unpacked:
            while block := packed.read(1 << 20):
                size += len(block)
                if most is not None and 2 * size > most:
                    raise too_large(path, size, "Unpack it and read part of it")
                unpacked.write(block)
    except OSError as error:
        if not is_full(error):
            raise
        raise Refusal(*no_room(inside.parent, f"for {path} unpacked")) from error
    return size


def _npy_header(stream: BinaryIO | IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def _open_npy(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    with reading(path, name), path.open("rb") as stream:
        shape, dtype = _npy_header(stream)
        rest = path.stat().st_size - stream.tell() - math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        _refuse_pickle(path)

    def read(index: int | slice | None) -> Any:
        mapped = np.load(path, mmap_mode="r" if np.prod(shape) else None, allow_pickle=False)
        return np.array(part(mapped, index))

    more = f"the file goes on for {rest} bytes after its array, which alone is read: use numpy.savez for several"
    return replace(named(path, name, {"data": Entry(shape, dtype, read)}), notes={"data": more} if rest > 0 else {})


def _open_npz(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    with reading(path, name):
        archive = stack.enter_context(zipfile.ZipFile(path))
        members = archive.namelist()
    if any(member.endswith(".pkl") for member in members):
        _refuse_pickle(path)
    if {"data.npy", "format.npy", "shape.npy"} <= set(members):
        fix = "Save it whole: numpy.save(file, scipy.sparse.load_npz(file).toarray())"
        _checks.fail(f"path must name a file of whole arrays, got a sparse matrix in {str(path)!r}", fix)
    files = [member for member in members if not member.endswith(("/", ".npy"))]
    shown = f"{', '.join(map(repr, files[:3]))}{' and more' * (len(files) > 3)}" if files else "no file"
    if not any(member.endswith(".npy") for member in members):
        fix = (
            "Unpack it, and name a file in it, or all by a pattern such as 'folder/*.tif'"
            if files
            else "Write it again"
        )
        _checks.fail(f"path must name an archive of npy files, got one of {shown} in {str(path)!r}", fix)
    twice = [member for member, count in Counter(members).items() if count > 1 and member not in files]
    if twice:
        rule = f"path must name an archive of one array of each name, got two {twice[0][:-4]!r} in {str(path)!r}"
        _checks.fail(rule, "Write it again with numpy.savez")
    entries = {}
    for member in members:
        if member.endswith(".npy"):
            with reading(path, name), archive.open(member) as stream:
                shape, dtype = _npy_header(stream)
            if dtype.hasobject:
                _refuse_pickle(path)
            entries[member[:-4]] = Entry(shape, dtype, partial(_npz_array, archive, member), whole=True)
    not_read = f"{shown} of the archive {'were' if files[1:] else 'was'} not read"
    beside = f"{not_read}: unpack it, and name what is needed of them"
    return replace(named(path, name, entries), notes=dict.fromkeys(entries, beside) if files else {})


def _npz_array(archive: zipfile.ZipFile, member: str, index: int | slice | None) -> Any:
    with archive.open(member) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    return part(array, index)


def _is_table(start: bytes) -> bool:
    """Whether a file begins as a table of numbers, after lines of comment and the names of its columns."""
    encoding = _encoding(start)
    if encoding == "utf-8-sig" and b"\0" in start:
        return False
    lines = start.decode(encoding, errors="replace").splitlines()
    if len(start) == _BEGINNING and len(lines) > 1:
        lines.pop()  # it goes on
    rows = _rows(lines)
    cut = len(start) == _BEGINNING and len(lines) == 1
    return bool(rows) and _are_numbers(_words(rows[0])[: -1 if cut else None])


def _encoding(start: bytes) -> str:
    """How a text that begins so is written, by its byte-order mark."""
    marks = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16"}
    marks |= {codecs.BOM_UTF16_BE: "utf-16"}  # after the longer ones, which begin alike
    return next((name for mark, name in marks.items() if start.startswith(mark)), "utf-8-sig")


def _rows(lines: Sequence[str]) -> list[str]:
    """The lines of numbers: without comments, and without a first line of names, which has none for a first column of
    numbers that count the rows. What begins as a number beside numbers is no name, but one that is damaged.
    """
    rows = [line for line in lines if line.strip() and not line.lstrip().startswith(_COMMENTS)]
    if len(rows) > 1 and [row.lstrip(" ")[:1] in (",", ";", "\t") for row in rows[:2]] == [True, False]:
        return rows[1:]
    first = _words(rows[0]) if len(rows) > 1 else []
    names = [word for word in first if not _are_numbers([word])]
    fits = len(names) == len(first) or not any(word[:1].isdigit() or word.startswith(("+", "-", ".")) for word in names)
    named = bool(names) and fits and len(first) == len(_words(rows[1]))
    return rows[named:]


def _words(row: str) -> list[str]:
    """The numbers of a row; where semicolons or tabs part them, a comma stands for the point."""
    if ";" in row or ("\t" in row and "," in row):
        return [word.strip().replace(",", ".") for word in row.strip().strip(";\t").replace("\t", ";").split(";")]
    return [word.strip() for word in row.strip().strip(",").split(",")] if "," in row else row.split()


def _are_numbers(words: Sequence[str]) -> bool:
    try:
        return bool([float(word) for word in words])
    except ValueError:
        return False


def _open_table(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    """Rows of numbers that are parted by spaces, tabs, commas or semicolons."""
    _memory.check_fits(f"{path}, a text,", 8 * path.stat().st_size, "Save it as npy or HDF5")
    with reading(path, name):
        whole = path.read_bytes()
        rows = _rows(whole.decode(_encoding(whole), "replace").splitlines())
        array = np.loadtxt((" ".join(_words(row)) for row in rows), ndmin=2)
    table, values = Entry(array.shape, array.dtype, partial(part, array)), _over_coordinates(array)
    if values is None:
        values, counted = _without_numbers(array)
        note = f"the table was taken without {counted}, where numbers count on: if they are pixels, use key='table'"
        if not counted:
            return named(path, name, {"data": table})
    else:
        what = "column was taken for its coordinate" if values.ndim == 1 else "two columns were taken for x and y"
        what = f"the table's last column is the pattern, and its first {what}"
        note = f"{what}: if a row is one of pixels, use key='table'"
    entries = {"data": Entry(values.shape, values.dtype, partial(part, values)), "table": table}
    return replace(named(path, name, entries), notes={"data": note})


def _over_coordinates(table: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """The last of two or three columns, if those before it count every point of a grid: a curve or a picture."""
    axes = table.shape[1] - 1
    if axes not in (1, 2) or len(table) < 4:
        return None
    points = [np.unique(column, return_inverse=True) for column in table[:, :axes].T]
    shape = tuple(len(values) for values, _ in points)
    place = np.ravel_multi_index([index for _, index in points], shape)
    even = all(_are_even(values) for values, _ in points)
    if not even or min(shape) < 2 or math.prod(shape) != len(table) or len(np.unique(place)) != len(table):
        return None
    values = np.empty(len(table))
    values[place] = table[:, -1]
    return values.reshape(shape).T


def _without_numbers(table: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], str]:
    """The table without a first row and column that number the others, from 0 or 1 on; which of them it had."""
    counted = list[str]()
    for axis, name in enumerate(("the first row", "the first column")):
        if min(table.shape) > 4:
            line = (table[0] if axis == 0 else table[:, 0])[1:]  # behind what may be the corner of both
            if (np.diff(line) == 1).all() and line[0] in (0, 1, 2):
                table, counted = (table[1:] if axis == 0 else table[:, 1:]), [*counted, name]
    return table, " and ".join(counted)


def _are_even(values: np.ndarray[Any, Any]) -> bool:
    """Whether the coordinates lie on a grid, up to a tenth of its step: they are written with few digits."""
    grid = np.linspace(values[0], values[-1], len(values))
    return np.allclose(values, grid, rtol=0, atol=0.1 * np.ptp(values) / len(values))


def _open_cbf(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    """fabio looks for ever for the end of a file that was cut: here it is known to be whole before."""
    with reading(path, name):
        whole = path.read_bytes()
        start = whole.find(_CBF_VALUES)
        size = re.search(rb"X-Binary-Size:\s*(\d+)", whole[: max(start, 0)])
        if (
            start < 0
            or size is None
            or _CBF_SECTION not in whole[:start]
            or len(whole) < start + len(_CBF_VALUES) + int(size[1])
        ):
            raise ValueError("it ends before its values do")
    return _open_fabio(path, name, stack)


def _open_fabio(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    fabio = _checks.extra("fabio", "fabio", "io")
    with reading(path, name), _errors_logged_are_raised("fabio"), _few_dimensions():
        image = stack.enter_context(fabio.open(str(path)))
        frames = image.nframes
        shape, dtype = tuple(image.shape), np.dtype(image.dtype)
        headers = [image.header] if frames == 1 else [image.get_frame(number).header for number in range(frames)]

    def read(index: int | slice | None) -> Any:
        with _errors_logged_are_raised("fabio"):
            if frames == 1:
                return part(image.data, index)
            if isinstance(index, int):
                return image.get_frame(index % frames).data
            return np.stack([image.get_frame(number).data for number in range(frames)[index or slice(None)]])

    entry = Entry(shape if frames == 1 else (frames, *shape), dtype, read, whole=frames == 1)
    found = named(path, name, {"data": entry})
    texts = [{str(key): str(value) for key, value in header.items()} for header in headers]
    differ = differences([f"frame {number}" for number in range(frames)], [of_edf(text.get) for text in texts])
    notes = dict.fromkeys(["data"], differ[0]) if differ else {}
    return replace(found, attribute=lambda name, key: "" if name else texts[0].get(key, ""), notes=notes)


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


@contextlib.contextmanager
def _few_dimensions() -> Iterator[None]:
    """fabio counts to the largest N of a header's Dim_N: more than the 32 that arrays can have are an error."""
    frame = importlib.import_module("fabio.edfimage").EdfFrame
    counted = frame.get_data_rank

    def rank(*header: Any) -> int:
        found = int(counted(*header))
        if found > 32:
            raise ValueError(f"its header names dimension {found}")
        return found

    frame.get_data_rank = staticmethod(rank)
    try:
        yield
    finally:
        frame.get_data_rank = staticmethod(counted)


_BEGINNING = 4096  # bytes by which a file is recognised
_COMMENTS = ("#", "%", "//", "!")
_CBF_SECTION = b"--CIF-BINARY-FORMAT-SECTION--"
_HDF5, _GZIP, _CBF_VALUES = b"\x89HDF\r\n\x1a\n", b"\x1f\x8b", b"\x0c\x1a\x04\xd5"
_FORMATS: tuple[tuple[bytes, str, Callable[..., Contents]], ...] = (
    (b"\x93NUMPY", "npy", _open_npy),
    (b"PK\x03\x04", "npz", _open_npz),
    (b"PK\x05\x06", "npz", _open_npz),  # without a file
    (_HDF5, "HDF5", open_hdf5),
    (b"MATLAB 7.3", "MATLAB 7.3", open_hdf5),
    (b"MATLAB 5.0", "MATLAB", open_mat),
    (b"II*\0", "tif", open_tif),
    (b"MM\0*", "tif", open_tif),
    (b"II+\0", "tif", open_tif),
    (b"MM\0+", "tif", open_tif),
    (b"\x89PNG", "png", open_picture),
    (b"\xff\xd8\xff", "jpeg", open_picture),
    (b"BM", "bmp", open_picture),
    (b"{", "edf", _open_fabio),
    (b"\n{", "edf", _open_fabio),
    (b"###CBF", "cbf", _open_cbf),
    (_GZIP, "gzip", _open_gzip),
)
