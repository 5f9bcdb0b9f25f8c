"""The heaps in which HDF5 keeps texts: a damaged one must not be read, for HDF5 itself then never ends."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

# A collection of the global heap begins so, and with three bytes that say nothing and that HDF5 does not look at; it is
# looked for this far from both ends of a file, where writers put it.
_BEGIN, _FAR = b"GCOL\x01", 2**26
_HEAD, _OBJECT = struct.Struct("<8sQ"), struct.Struct("<HHIQ")


def damaged_heap(path: Path) -> int | None:
    """Where a damaged collection begins in a file with sizes of 8 bytes; None if there is none.

    It is a row of objects, each with its size; what is free at the end is the object 0.

    Source:
        The HDF Group, HDF5 file format specification 3.0, III.E, disk format: global heap.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = len(data)
        for low, high in [(0, end)] if end <= 2 * _FAR else [(0, _FAR), (end - _FAR, end)]:
            at = data.find(_BEGIN, low, high)
            while at >= 0:
                if not _is_whole(data, at):
                    return at
                at = data.find(_BEGIN, at + 1, high)
    return None


def _is_whole(data: mmap.mmap, at: int) -> bool:
    """Whether the objects of a collection fill it, one after the other."""
    if at + _HEAD.size > len(data):
        return False
    end, place = at + _HEAD.unpack_from(data, at)[1], at + _HEAD.size
    if end > len(data):
        return False
    while place + _OBJECT.size <= end:
        index, _, _, size = _OBJECT.unpack_from(data, place)
        needed = _OBJECT.size + -(-size // 8) * 8 if index else size
        if not _OBJECT.size <= needed <= end - place:
            return False
        place += needed
    return True
