"""MATLAB's files before 7.3, which are HDF5."""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from phaseret import _memory
from phaseret.io._contents import UNREAD, Contents, Entry, Lost, part, reading, too_large
from phaseret.io._pictures import named

_TYPES = {"double": "float64", "single": "float32", "logical": "bool"}
# The types of elements: numbers, letters, an array, what is packed. SciPy ends the process at any other.
_NUMBERS, _LETTERS, _ARRAY, _PACKED = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 12, 13)), frozenset((16, 17, 18)), 14, 15
# The classes of arrays that hold arrays.
_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE, _LAST_PLAIN = 1, 2, 3, 4, 5, 15
_COMPLEX = 0x800  # the flag of an array
# The types of an array's flags, sizes and name, as MATLAB and other programs write them.
_BEGINNINGS = [[6, sizes, name] for sizes in (5, 6) for name in (1, 16)]
# What MATLAB stores that is no array of numbers.
NO_ARRAY = {
    "sparse": Lost("a sparse matrix", "Save full(...) of it in MATLAB"),
    "cell": Lost("a cell array", "Save cat(3, ...{:}) of it in MATLAB, or the array in one of its cells"),
    "struct": Lost("an array of structs", "Save cat(3, ....field) of its field in MATLAB"),
    "object": Lost("an object such as a table or a string", "Save its numbers as a plain array in MATLAB"),
}
_HEADER, _DEEPEST, _AXES = 128, 32, 32
# The numbers of MATLAB 4 by their code, its classes, and the longest name that is believed.
_NUMBERS_4, _FULL_4, _TEXT_4, _SPARSE_4, _LONGEST_4 = ("f8", "f4", "i4", "i2", "u2", "u1"), 0, 1, 2, 64


def open_mat(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    """MATLAB's files before 7.3; the fields of a struct are arrays too: scan.intensity is scan/intensity."""
    from scipy.io import loadmat, whosmat

    with reading(path, name):
        complex_names = _check(path)
        variables = whosmat(path)

    def read(key: str, index: int | slice | None) -> Any:
        return part(loadmat(path, variable_names=[key])[key], index)

    entries, other = dict[str, Entry](), dict[str, Lost]()
    for key, shape, kind in variables:
        if kind in _TYPES or kind.startswith(("int", "uint")):
            dtype = np.dtype(_TYPES.get(kind, kind))
            dtype = np.result_type(dtype, np.complex64) if key in complex_names else dtype
            entries[key] = Entry(shape, dtype, partial(read, key), whole=True)
        elif kind == "struct":
            with reading(path, name):
                fields = _fields(key, loadmat(path, variable_names=[key], simplify_cells=True)[key])
            entries |= {name: found for name, found in fields.items() if isinstance(found, Entry)}
            other |= {name: found for name, found in fields.items() if isinstance(found, Lost)}
        elif kind != "char":
            other[key] = NO_ARRAY.get(kind, NO_ARRAY["object"])

    def where(key: str) -> str:
        return key if key in entries | other else key.replace(".", "/")

    return Contents(
        path,
        name,
        lambda key: entries.get(where(key)),
        lambda: entries | dict.fromkeys(other, UNREAD),
        where=where,
        missing=lambda key: other.get(where(key)),
    )


def open_mat4(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    """MATLAB's files of version 4: matrices, their real parts before the imaginary ones.

    Source:
        MAT-File Format (R2023b), "Level 4 MAT-file format".
    """
    entries, other = dict[str, Entry](), dict[str, Lost]()
    with reading(path, name):
        size = path.stat().st_size
        content, at = np.memmap(path, np.uint8, "r"), 0
        while at < size:
            header = header_of_4(content[at : at + 20 + _LONGEST_4].tobytes())
            if header is None:
                raise ValueError(f"what stands at byte {at} is no matrix of version 4")
            key, what, shape, dtype, parts, start = header
            at, start = at + start + parts * math.prod(shape) * dtype.itemsize, at + start
            if at > size:
                raise ValueError("it ends inside a matrix")
            if what == _SPARSE_4:
                other[key] = NO_ARRAY["sparse"]
            elif what == _FULL_4:
                stored = np.result_type(dtype, 1j) if parts == 2 else dtype
                entries[key] = Entry(shape, stored, partial(_matrix, content[start:at], dtype, shape))
    everything = entries | dict.fromkeys(other, UNREAD)
    return replace(named(path, name, everything), lookup=entries.get, missing=other.get)


def header_of_4(start: bytes) -> tuple[str, int, tuple[int, int], np.dtype[Any], int, int] | None:
    """Name, class, sizes, type, number of parts (2 of complex ones) and place of a matrix; None if none begins so."""
    for order in "<>" if len(start) > 20 else "":
        code, rows, columns, imaginary, length = np.frombuffer(start[:20], f"{order}i4").tolist()
        thousands, rest = divmod(code, 1000)
        kind, what = divmod(rest, 10)
        if thousands != (order == ">") or kind >= len(_NUMBERS_4) or what > _SPARSE_4 or min(rows, columns) < 0:
            continue
        text = start[20 : 20 + max(length, 0)]
        if imaginary in (0, 1) and 1 < length <= _LONGEST_4 and text[-1:] == b"\0":
            key = text.rstrip(b"\0").decode("latin-1")
            if key.isidentifier():
                return key, what, (rows, columns), np.dtype(order + _NUMBERS_4[kind]), 1 + imaginary, 20 + length
    return None


def _matrix(
    content: np.ndarray[Any, Any], dtype: np.dtype[Any], shape: tuple[int, int], index: int | slice | None
) -> Any:
    """The numbers of a matrix, which lie column by column."""
    values = np.frombuffer(content, dtype)
    planes = np.split(values, max(1, len(values) // max(1, math.prod(shape))))
    real, *imaginary = (part(x.reshape(shape, order="F"), index) for x in planes)
    if not imaginary:
        return real
    both = np.empty(real.shape, np.result_type(dtype, 1j))
    both.real, both.imag = real, imaginary[0]  # 1j times an infinite number has no real part
    return both


def _fields(key: str, value: Any) -> dict[str, Entry | Lost]:
    """The arrays in a struct, those of structs in it too, and what is none."""
    if isinstance(value, dict):
        inside = (_fields(f"{key}/{name}", part) for name, part in value.items())
        return {name: entry for fields in inside for name, entry in fields.items()}
    if isinstance(value, list):
        return {key: NO_ARRAY["struct"]}
    if hasattr(value, "toarray"):
        return {key: NO_ARRAY["sparse"]}
    array = np.asarray(value)
    if array.dtype.hasobject and array.size and hasattr(array.flat[0], "_fieldnames"):  # a struct of SciPy
        return {key: NO_ARRAY["struct"]}
    return {key: NO_ARRAY["cell"] if array.dtype.hasobject else Entry(array.shape, array.dtype, partial(part, array))}


def _check(path: Path) -> set[str]:
    """Every element of the file is of a kind that may stand there, and lies in what holds it; the names of the arrays
    that are complex, which SciPy does not tell before it reads them.

    Source:
        MAT-File Format (R2023b), "Level 5 MAT-file format".
    """
    content = np.memmap(path, np.uint8, "r").data
    if len(content) < _HEADER:
        raise ValueError("it ends inside its header")
    order = ">" if bytes(content[126:128]) == b"MI" else "<"
    names = []
    for kind, value in _elements(content[_HEADER:], order):
        if kind == _PACKED:
            names += [_check_array(*element, order) for element in _elements(_unpacked(path, value), order)]
        else:
            names.append(_check_array(kind, value, order))
    return set(filter(None, names))


def _unpacked(path: Path, value: memoryview) -> memoryview:
    most = _memory.physical_memory()
    unpack = zlib.decompressobj()
    content = unpack.decompress(value, most // 2 if most else 0)
    if unpack.unconsumed_tail:
        raise too_large(path, len(content), "Save part of it")
    return memoryview(content)


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The type and the bytes of each element; small ones stand in their own tag."""
    at = 0
    while at < len(content):
        if at + 8 > len(content):
            raise ValueError("it ends inside a tag")
        tag, size = (int(x) for x in np.frombuffer(content[at : at + 8], f"{order}u4"))
        if small := tag >> 16:
            tag, size, start, after = tag & 0xFFFF, small, at + 4, at + 8
        else:
            start = at + 8
            after = start + size + (0 if tag == _PACKED else -size % 8)
        if size > (4 if small else len(content) - start):
            raise ValueError("it ends inside an element")
        yield tag, content[start : start + size]
        at = after


def _check_array(kind: int, value: memoryview, order: str, depth: int = 0) -> str:
    """An array begins with its class, sizes and name, and holds what its class says. The name if it is complex."""
    parts = list(_elements(value, order))
    if kind != _ARRAY or (parts and depth > _DEEPEST):
        raise ValueError(f"an element of the type {kind} stands where an array should")
    if not parts:  # an empty one
        return ""
    begins = [tag for tag, _ in parts[:3]] in _BEGINNINGS
    if not begins or len(parts[0][1]) != 8 or len(parts[1][1]) % 4:
        raise ValueError("an array does not begin as one")
    sizes = np.frombuffer(parts[1][1], f"{order}i4")
    if not 2 <= len(sizes) <= _AXES or (sizes < 0).any():  # SciPy ends the process at letters without axes
        raise ValueError(f"an array has the sizes {sizes.tolist()}")
    flags = int(np.frombuffer(parts[0][1][:4], f"{order}u4")[0])
    holds, rest = flags & 0xFF, parts[3:]
    if holds in (_CELL, _STRUCT, _OBJECT):
        names = {_CELL: 0, _STRUCT: 2, _OBJECT: 3}[holds]
        for tag, inner in rest[names:]:
            _check_array(tag, inner, order, depth + 1)
        rest = rest[:names]
    allowed = _NUMBERS | (_LETTERS if holds == _CHAR else frozenset())
    if holds <= _LAST_PLAIN and any(tag not in allowed for tag, _ in rest):
        raise ValueError("an array holds an element of an unknown type")
    is_complex = bool(flags & _COMPLEX)
    real = 3 if holds == _SPARSE else 1  # rows, columns and values
    if _CHAR <= holds <= _LAST_PLAIN and len(rest) < real + is_complex:
        raise ValueError("an array lacks a part of its values")  # for which SciPy looks behind it
    return bytes(parts[2][1]).decode("latin-1") if is_complex else ""
