"""Tables of numbers in texts, as people and spreadsheets write them: with titles, units, coordinates, missing cells."""

from __future__ import annotations

import codecs
import contextlib
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from phaseret import _memory
from phaseret.io._contents import Contents, Entry, part, reading
from phaseret.io._pictures import named

_COMMENT = re.compile(r"#|%|//|!")
_PLAIN = re.compile(r"(?:[+.\deE,\s]|-(?=[\d.]))*")
_FORTRAN = re.compile(r"([-+]?\d[\d.]*)[dD]([-+]?\d+)")
_MISSING = ("", "-", "--", "---", "na", "n/a", "#n/a", "nan", "null", "none", "masked")
# What the coordinates of a picture are called.
_DOWN, _ACROSS = ("y", "qy", "row", "v"), ("x", "qx", "col", "column", "u")
_COUNTED = ("", "first", "second", "third", "fourth")


def is_table(start: bytes, cut: bool) -> bool:
    """Whether a file begins as a table of numbers, after lines of comment, titles and names; `cut` if it goes on."""
    encoding = _encoding(start)
    if encoding == "utf-8-sig" and b"\0" in start:
        return False
    lines = start.decode(encoding, errors="replace").splitlines()
    if cut and len(lines) > 1:
        lines.pop()
    _, blocks = _parts(lines, cut)
    rows = [row for block in blocks for row in block]
    if cut and len(lines) == 1 and rows:
        rows[0].pop()
    return bool(rows) and all(map(_are_numbers, rows)) and len({*map(len, rows)}) == 1


def open_table(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    """Rows of numbers that are parted by spaces, tabs, commas or semicolons."""
    _memory.check_fits(f"{path}, a text,", 8 * path.stat().st_size, "Save it as npy or HDF5")
    with reading(path, name):
        whole = path.read_bytes()
        title, blocks = _parts(whole.decode(_encoding(whole), "replace").splitlines())
        array = np.loadtxt((" ".join(row) for block in blocks for row in block), ndmin=2)
    values, note = _meant(array, title, [len(block) for block in blocks])
    entries = {"data": Entry(values.shape, values.dtype, partial(part, values))}
    table = entries | {"table": Entry(array.shape, array.dtype, partial(part, array))}
    found = named(path, name, entries)
    return replace(found, lookup=table.get, notes={"data": note}) if note else found


def _meant(array: np.ndarray[Any, Any], title: str, rows: Sequence[int]) -> tuple[np.ndarray[Any, Any], str]:
    """The pattern in the table, which has so many rows in each of its blocks, and what was assumed."""
    values, note = _over_coordinates(array, title)
    if values is not None:
        return values, f"{note}: if a row is one of pixels, use key='table'"
    if len(rows) > 1 and len({*rows}) == 1 and rows[0] > 1:
        note = f"the table's {len(rows)} blocks were taken for frames: if they are one, use key='table'"
        return array.reshape(len(rows), rows[0], -1), note
    values, counted = _without_numbers(array)
    note = f"the table was taken without {counted}, where numbers count on: if they are pixels, use key='table'"
    return values, note if counted else ""


# --- lines -----------------------------------------------------------------------------------------------------------


def _encoding(start: bytes) -> str:
    """How a text that begins so is written, by its byte-order mark."""
    marks = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16"}
    marks |= {codecs.BOM_UTF16_BE: "utf-16"}  # after the longer ones, which begin alike
    return next((name for mark, name in marks.items() if start.startswith(mark)), "utf-8-sig")


def _parts(lines: Sequence[str], cut: bool = False) -> tuple[str, list[list[list[str]]]]:
    """The last line before the numbers, and the numbers as words: of each block its rows.

    Lines before them that hold no numbers are titles, as is one of names that has none for a first column of numbers
    which count the rows, and one of the two sizes, of which one is not known if the text is `cut`. Blocks are parted by
    empty lines and by comments.
    """
    title, kept = "", list[tuple[bool, str]]()
    after_gap = False
    for line in lines:
        row = _COMMENT.split(line, maxsplit=1)[0].rstrip()
        if row.strip():
            kept.append((after_gap, row))
        elif not kept:
            title = line or title
        after_gap = not row.strip()
    first = _first(kept)
    if first:
        title = kept[first - 1][1]
    every = kept[first:]
    if all(row.endswith((",", ";")) for _, row in every):  # no cell follows
        every = [(gap, row[:-1]) for gap, row in every]
    blocks = list[list[list[str]]]()
    for number, (gap, row) in enumerate(every):
        if gap or not number:
            blocks.append([])
        blocks[-1].append(_words(row))
    if len(blocks) == 1:
        head, *rest = blocks[0]
        sizes = {str(len(rest)), str(len(rest[0]))} if rest and len(rest[0]) != 2 == len(head) else {""}
        if sizes == {*head} or (cut and sizes & {*head}):
            blocks[0] = rest
    return title, blocks


def _first(kept: Sequence[tuple[bool, str]]) -> int:
    """The number of the first row of numbers, though some of them may be damaged."""
    rows = [row for _, row in kept]
    parting = (",", ";", "\t")
    if len(rows) > 1 and [row.lstrip(" ")[:1] in parting for row in rows[:2]] == [True, False]:
        return 1
    before = list[str]()
    for number, row in enumerate(rows):
        words = _words(row)
        if _are_numbers(words):
            return number - _is_damaged(before, len(words))
        before = words
    return 0


def _is_damaged(words: Sequence[str], count: int) -> bool:
    """Whether a row beside one of so many numbers has words that begin as numbers, and numbers: it holds no names."""
    names = [word for word in words if not _are_numbers([word])]
    begun = any(word[:1].isdigit() or word.startswith(("+", "-", ".")) for word in names)
    return len(words) == count and len(names) < count and begun


def _words(row: str) -> list[str]:
    """The numbers of a row; where semicolons or tabs part them, a comma stands for the point."""
    row = row.strip(" ")
    if ";" in row or ("\t" in row and "," in row):
        words = row.strip("\t").replace("\t", ";").replace(",", ".").split(";")
    else:
        words = row.strip().split(",") if "," in row else row.split()
    if _PLAIN.fullmatch(row) and all(map(str.strip, words)):
        return [word.strip() for word in words]
    return [_number(word.strip().strip("\"'").strip()) for word in words]


def _number(word: str) -> str:
    """A number as Python writes it; of a missing one, that it is none."""
    if word.lower() in _MISSING:
        return "nan"
    fortran = _FORTRAN.fullmatch(word)
    return f"{fortran[1]}e{fortran[2]}" if fortran else word


def _are_numbers(words: Sequence[str]) -> bool:
    """Whether all words are numbers, and one of them at least is not missing."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return False
    return any(not math.isnan(value) for value in values)


# --- columns ---------------------------------------------------------------------------------------------------------


def _over_coordinates(table: np.ndarray[Any, Any], title: str) -> tuple[np.ndarray[Any, Any] | None, str]:
    """The first column behind one or two that count every point of a grid, a curve or a picture, and what was assumed.

    There are few columns behind it, as that of its errors. Which of two is x is what the title says, else the first.
    """
    columns = table.shape[1]
    for axes in (2, 1):
        behind = columns - axes - 1
        values = _on_grid(table, axes) if 0 <= behind < 3 else None
        if values is not None:
            which = "last" if not behind else _COUNTED[axes + 1]
            names = re.findall(r"[a-z_]+", title.lower().replace("q_", "q"))
            down, across = (next((i for i, name in enumerate(names) if name in some), -1) for some in (_DOWN, _ACROSS))
            turned = axes == 2 and 0 <= down < across
            what = "two columns were taken for y and x" if turned else "two columns were taken for x and y"
            note = f"the table's {which} column is the pattern, and its first "
            note += "column was taken for its coordinate" if axes == 1 else what
            note += ", those behind it left out" if behind else ""
            return values if turned else values.T, note
    return None, ""


def _on_grid(table: np.ndarray[Any, Any], axes: int) -> np.ndarray[Any, Any] | None:
    """The column behind the coordinates, arranged by them, the first first; None if they count no grid."""
    coordinates = table[:, :axes]
    if len(table) < 4 or not np.isfinite(coordinates).all():
        return None
    points = [np.unique(column, return_inverse=True) for column in coordinates.T]
    shape = tuple(len(values) for values, _ in points)
    place = np.ravel_multi_index([index for _, index in points], shape)
    even = all(_are_even(values) for values, _ in points)
    if not even or min(shape) < 2 or math.prod(shape) != len(table) or len(np.unique(place)) != len(table):
        return None
    values = np.empty(len(table))
    values[place] = table[:, axes]
    return values.reshape(shape)


def _without_numbers(table: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], str]:
    """The table without a first row and column that number the others, or are their coordinates; which it had."""
    counted = list[str]()
    for axis, name in enumerate(("the first row", "the first column")):
        if min(table.shape) > 4:
            line = (table[0] if axis == 0 else table[:, 0])[1:]  # behind what may be the corner of both
            steps = np.diff(line) if np.isfinite(line).all() else np.zeros(1)
            counts = (steps == 1).all() and line[0] in (0, 1, 2)
            if counts or (len(line) >= 8 and steps[0] and np.allclose(steps, steps.mean(), rtol=1e-2, atol=0)):
                table, counted = (table[1:] if axis == 0 else table[:, 1:]), [*counted, name]
    return table, " and ".join(counted)


def _are_even(values: np.ndarray[Any, Any]) -> bool:
    """Whether the coordinates lie on a grid, up to a tenth of its step: they are written with few digits."""
    grid = np.linspace(values[0], values[-1], len(values))
    return np.allclose(values, grid, rtol=0, atol=0.1 * np.ptp(values) / len(values))
