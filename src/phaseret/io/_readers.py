"""What a file holds, found out by its content and not by its name.

Every reader gives the names, shapes and types of the arrays before any of them is read, so that the choice of an
array and the check that it fits into memory come first. Nothing is ever unpickled.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import importlib
import lzma
import math
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, NoReturn

import numpy as np

from phaseret import _checks, _memory
from phaseret._output import is_full, no_room, scratch
from phaseret.io._contents import (
    UNREAD,
    Contents,
    Entry,
    Lost,
    Refusal,
    errors_logged_are_raised,
    part,
    reading,
    same_word,
    too_large,
)
from phaseret.io._hdf5 import open_hdf5
from phaseret.io._headers import dummies, of_edf
from phaseret.io._layout import differences
from phaseret.io._matlab import header_of_4, open_mat, open_mat4
from phaseret.io._pictures import named, open_picture, open_tif
from phaseret.io._tables import is_table, open_table


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
    if is_table(start, len(start) == _BEGINNING):
        return open_table(path, "text", stack)
    known = (
        "HDF5/CXI, npy, npz, mat, tif, png, jpeg, bmp, edf and cbf files, tables of numbers, and these in gz, bz2 or xz"
    )
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
    _checks.fail(f"path must name a file without pickled Python objects, got {str(path)!r}", _PLAIN_ARRAYS)


def _open_packed(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    """Unpacked into a folder that goes when the file is closed, as far as that fits into memory."""
    folder = stack.enter_context(scratch(f"to unpack {path}"))
    inside = folder / (path.stem or "unpacked")
    with reading(path, name), _PACKED[name](path) as packed:
        size = _unpack(path, packed, inside)
    if not size:
        _checks.fail(f"path must name a file with data, got {str(path)!r}, which is empty", "Write or copy it again")
    with inside.open("rb") as stream:
        start = stream.read(_BEGINNING)
    if start.startswith((_GZIP, _BZIP2, _XZ)):
        _checks.fail(f"path must name a file that was packed once, got {str(path)!r}", "Unpack it first")
    try:
        contents = _open(inside, start, stack)
    except (ValueError, OSError) as error:
        error.args = (str(error).replace(str(inside), str(path)),)
        raise
    return replace(contents, path=path)


def _unpack(path: Path, packed: IO[bytes], inside: Path) -> int:
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
    entries, pickled = dict[str, Entry](), list[str]()
    for member in members:
        if member.endswith(".npy"):
            with reading(path, name), archive.open(member) as stream:
                shape, dtype = _npy_header(stream)
            if dtype.hasobject:
                pickled.append(member[:-4])
                continue
            entries[member[:-4]] = Entry(shape, dtype, partial(_npz_array, archive, member), whole=True)
    if not entries:
        _refuse_pickle(path)
    beside = (
        f"{shown} of the archive {'were' if files[1:] else 'was'} not read: unpack it, and name what is needed of them"
    )
    if pickled:
        holds = f"{', '.join(map(repr, pickled[:3]))}{' and more' * (len(pickled) > 3)} of the archive"
        beside = (
            f"{holds} {'hold' if pickled[1:] else 'holds'} pickled Python objects, which are not read: {_PLAIN_ARRAYS}"
        )
    return replace(
        named(path, name, entries | dict.fromkeys(pickled, UNREAD)),
        lookup=entries.get,
        missing=lambda key: Lost("pickled Python objects", _PLAIN_ARRAYS) if key in pickled else None,
        notes=dict.fromkeys(entries, beside) if files or pickled else {},
    )


def _npz_array(archive: zipfile.ZipFile, member: str, index: int | slice | None) -> Any:
    with archive.open(member) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    return part(array, index)


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
    found = _open_fabio(path, name, stack)
    with reading(path, name):
        count, shape = found.attribute("", "X-Binary-Number-of-Elements"), found.entries["data"].shape
        if count and int(count) != math.prod(shape):
            raise ValueError(f"it announces {count} numbers in {' x '.join(map(str, shape))} pixels")
    return found


def _open_fabio(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    fabio = _checks.extra("fabio", "fabio", "io")
    with reading(path, name), errors_logged_are_raised("fabio"), _few_dimensions():
        image = stack.enter_context(fabio.open(str(path)))
        frames = image.nframes
        shape, dtype = tuple(image.shape), np.dtype(image.dtype)
        every = (image if frames == 1 else image.get_frame(number) for number in range(frames))
        headers, shapes = zip(*((one.header, tuple(one.shape)) for one in every), strict=True)
        if other := [number for number in range(frames) if shapes[number] != shape]:
            rule = f"the frames of {path} must have one shape, {shape}, got {shapes[other[0]]} of frame {other[0]}"
            raise Refusal(rule, "Save it in a file of its own")

    texts = [{same_word(str(key)): str(value) for key, value in header.items()} for header in headers]
    asked = [lambda key, text=text: text.get(same_word(key)) for text in texts]
    # EDF keeps the errors of a frame in a block of their own, 1.Image.Error beside 1.Image.Psd.
    blocks = {name: list[int]() for name in ("data", "error")}
    for number, text in enumerate(texts):
        is_error = text.get("edfdatablockid", "").strip().lower().endswith(".error")
        blocks["error" if is_error else "data"].append(number)
    if not blocks["data"] or not blocks["error"]:
        blocks = {"data": list(range(frames))}

    def frame(number: int) -> Any:
        """A frame without the numbers that stand where nothing was measured."""
        values, dummy = (image.data if frames == 1 else image.get_frame(number).data), dummies(asked[number])
        return values if dummy is None else np.where(abs(values - dummy[0]) <= dummy[1], np.float32(np.nan), values)

    def read(numbers: list[int], index: int | slice | None) -> Any:
        with errors_logged_are_raised("fabio"):
            if len(numbers) == 1:
                return part(frame(numbers[0]), index)
            if isinstance(index, int):
                return frame(numbers[index])
            return np.stack([frame(number) for number in numbers[index or slice(None)]])

    entries = {}
    for key, numbers in blocks.items():
        alone = len(numbers) == 1
        entries[key] = Entry(shape if alone else (len(numbers), *shape), dtype, partial(read, numbers), whole=alone)
    found, numbers = named(path, name, entries), blocks["data"]
    differ = differences([f"frame {number}" for number in numbers], [of_edf(asked[number]) for number in numbers])
    notes = dict.fromkeys(["data"], differ[0]) if differ else {}
    return replace(found, attribute=lambda name, key: "" if name else asked[numbers[0]](key) or "", notes=notes)


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


_PLAIN_ARRAYS = "Loading them could run code, so save plain arrays with numpy.savez or phaseret.io.save_intensity"
_BEGINNING = 4096  # bytes by which a file is recognised
_CBF_SECTION = b"--CIF-BINARY-FORMAT-SECTION--"
_HDF5, _CBF_VALUES = b"\x89HDF\r\n\x1a\n", b"\x0c\x1a\x04\xd5"
_GZIP, _BZIP2, _XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"
_PACKED: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
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
    (_GZIP, "gzip", _open_packed),
    (_BZIP2, "bzip2", _open_packed),
    (_XZ, "xz", _open_packed),
)
