"""Pictures: tif, of one page or many, png, jpeg and bmp."""

from __future__ import annotations

import contextlib
import math
import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from phaseret import _checks
from phaseret.io._contents import Contents, Entry, errors_logged_are_raised, finite, part, reading

# The first pixel and the steps of each pass of an interlaced png (PNG, 3rd edition, 8.1), and of one that is not.
_WHOLE = ((0, 0, 1, 1),)
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

LOSSY = "JPEG leaves out what eyes do not see, so these are not the numbers that were measured"
LOSSY += ": use the file from before it was packed so"


def open_tif(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    """The series of a tif file; frames that were written one by one are one stack."""
    tifffile = _checks.extra("tifffile", "tifffile", "io")
    with reading(path, name):
        file = stack.enter_context(tifffile.TiffFile(path))
        with errors_logged_are_raised("tifffile"):
            if len(file.pages) == 0:  # which ends where pages lead in a circle: the series would not
                raise ValueError("it holds no page")
        said, every = str(file.pages[0].tags.valueof(270) or ""), file.series  # what it is described as
        series = [one for one in every if not one.keyframe.is_reduced] or list(every)  # others are smaller copies
        for one in series:
            pieces, page = math.prod(one.keyframe.chunked), one.keyframe
            if pieces > max(1, len(page.dataoffsets)):  # tifffile would look for each of them
                raise ValueError(f"it announces {pieces} pieces and holds {len(page.dataoffsets)}")
        entries = [_series(one) for one in series]
        doubts = [_doubt(one, said) for one in series]
    alike = {(entry.shape, entry.dtype, entry.color) for entry in entries}
    if len(entries) > 1 and len(alike) == 1:
        first = entries[0]
        entries = [Entry((len(entries), *first.shape), first.dtype, partial(_pages, entries), first.color)]
    names = ["data"] if len(entries) == 1 else [f"series_{number}" for number in range(len(entries))]
    notes = {key: note for key, note in zip(names, doubts, strict=False) if note}
    found = named(path, name, dict(zip(names, entries, strict=True)))
    return replace(
        found, attribute=lambda name, key: said if (name, key) == ("", "ImageDescription") else "", notes=notes
    )


def _doubt(series: Any, said: str) -> str:
    """What a tif file says of a series that is seldom meant, and what its description says."""
    found = (re.search(rf"^c{order}=(.*)$", said, re.MULTILINE) for order in "01")
    shift, scale = (match and finite(match[1]) for match in found)
    if said.startswith("ImageJ=") and None not in (shift, scale) and (shift, scale) != (0, 1):
        what = f"ImageJ shows its numbers as {shift:g} + {scale:g} times what is stored, which was not applied"
        return f"{what}: if counts are what it shows, apply it first"
    if series.keyframe.compression in (6, 7):
        return LOSSY
    if "S" in series.axes[:-1]:
        return (
            "the picture's colours lie one after the other and were taken for frames: if they are colours, save it grey"
        )
    if series.keyframe.tags.valueof(262) == 0 or _darkens(series.keyframe):  # not where nothing is said
        return (
            "the picture calls 0 white, and its numbers were taken as they are: if white shows what is large, invert it"
        )
    return ""


def _darkens(page: Any) -> bool:
    """Whether the numbers of a page stand for colours, and that of the largest is darker than that of 0."""
    table = page.colormap if int(page.photometric) == 3 else None
    return table is not None and bool(table[..., 0].sum() > table[..., -1].sum())


def _series(series: Any) -> Entry:
    """One series: its colours, if it has any, are its last axis."""
    shape, pages = tuple(series.shape), series.pages
    by_page = len(pages) == shape[0] and tuple(series.keyframe.shape) == shape[1:]

    def read(index: int | slice | None) -> Any:
        if index is not None and by_page:
            if isinstance(index, int):
                return _written(pages[index]).asarray()
            return np.stack([_written(pages[number]).asarray() for number in range(shape[0])[index]])
        for page in pages:
            _written(page)
        return part(series.asarray(), index)

    several = int(series.keyframe.photometric) in (0, 1) and shape[-1] > 2  # grey, and more than grey and alpha
    color = series.axes.endswith("S") and not several
    return Entry(shape, np.dtype(series.dtype), read, color, whole=not by_page)


def _written(page: Any) -> Any:
    """The page, of which nothing is missing: tifffile fills up what is.

    Of one piece that is not packed old programs leave out the size.
    """
    if page is None:
        raise ValueError("a page is missing, as where one of several files is")
    sizes, places = page.databytecounts, page.dataoffsets
    if 0 in sizes and not (len(places) == 1 and places[0] and page.is_contiguous):
        raise ValueError(f"{sizes.count(0)} of its {len(sizes)} pieces were never written")
    return page


def _pages(entries: list[Entry], index: int | slice | None) -> Any:
    if isinstance(index, int):
        return entries[index].read(None)
    return np.stack([entry.read(None) for entry in entries[index or slice(None)]])


def open_picture(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    """A png, jpeg or bmp picture: grey, or red, green, blue and where it is transparent alpha."""
    image_module = _checks.extra("PIL.Image", "pillow", "io")
    with reading(path, name), _of_any_size(image_module):
        if name == "png":
            with image_module.open(path) as first:
                first.verify()  # the checksums of its parts, which are else not looked at
            _check_rows(path)
        picture = stack.enter_context(image_module.open(path))
        mode = picture.mode
        color = mode not in ("1", "L", "F", "I") and not mode.startswith("I;")
        as_mode = "RGBA" if mode in ("RGBA", "LA", "PA", "La") or "transparency" in picture.info else "RGB"
        shape = (picture.height, picture.width, *((len(as_mode),) if color else ()))
        kind = {"1": "bool", "F": "float32", "I": "int32"}.get(mode, "uint16" if "16" in mode else "uint8")
        if color and name == "png":
            with path.open("rb") as stream:
                kind = "uint16" if stream.read(25)[24] == 16 else kind  # of which Pillow reads the upper 8 bits

        count = getattr(picture, "n_frames", 1) if name == "png" else 1  # a jpeg has smaller copies

    def read(index: int | slice | None) -> Any:
        return part(np.asarray(picture.convert(as_mode) if color else picture), index)

    found = named(path, name, {"data": Entry(shape, np.dtype(kind), read, color, whole=True)})
    more = f"the file holds {count} pictures, of which the first alone is read: save them apart, or as one tif file"
    return replace(found, notes={"data": more} if count > 1 else {})


def _check_rows(path: Path) -> None:
    """Whether all rows are in a png file whose parts are whole: Pillow fills up those that are not."""
    unpack, bytes_held = zlib.decompressobj(), 0
    with path.open("rb") as stream:
        width, height, depth, color, *_, interlaced = struct.unpack(">8x4x4xIIBBBBB4x", stream.read(33))
        while len(start := stream.read(8)) == 8 and not unpack.eof:
            size, kind = struct.unpack(">I4s", start)
            if kind == b"IHDR":
                raise ValueError("it has two headers")
            if kind != b"IDAT":
                stream.seek(size + 4, os.SEEK_CUR)
                continue
            packed = stream.read(size)
            stream.seek(4, os.SEEK_CUR)
            while packed and not unpack.eof:
                bytes_held += len(unpack.decompress(packed, 1 << 20))
                packed = unpack.unconsumed_tail
    bits = depth * {2: 3, 4: 2, 6: 4}.get(color, 1)
    rows = ((-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in (_PASSES if interlaced else _WHOLE))
    needed = sum(count * (1 + -(-bits * length // 8)) for length, count in rows if length > 0)
    if bytes_held < needed:
        raise ValueError(f"its rows have {needed} bytes, and it holds {bytes_held}")


@contextlib.contextmanager
def _of_any_size(image_module: Any) -> Iterator[None]:
    """Pillow has a limit of its own for pictures; here memory is the limit, which is looked at before one is read."""
    before, image_module.MAX_IMAGE_PIXELS = image_module.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        image_module.MAX_IMAGE_PIXELS = before


def named(path: Path, name: str, entries: dict[str, Entry]) -> Contents:
    """The contents of a file whose arrays are all known when it is opened."""
    return Contents(path, name, entries.get, lambda: entries)


def grey(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """The one number of each pixel of a colour picture, None where its colours differ or some of it is transparent."""
    colors, alpha = value[..., :3], value[..., 3:]
    if value.shape[-1] == 2:
        colors, alpha = value[..., :1], value[..., 1:]
    same = bool((colors == colors[..., :1]).all()) and bool((alpha == alpha.max(initial=0)).all())
    return colors[..., 0] if same else None
