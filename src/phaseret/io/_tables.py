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
from phaseret._words import shortened
from phaseret.io._contents import Contents, Entry, Refusal, part, reading
from phaseret.io._pictures import named

_COMMENT = re.compile(r"#|%|//|!")
_PLAIN = re.compile(r"(?:(?<![\d.])[-+](?=[\d.])|[.\deE, \t])*")
# Exponents after a D, and those of three digits, before which Fortran leaves out the letter.
_FORTRAN = re.compile(r"([-+]?(?:\d[\d.]*(?=[dD])|\d*\.\d+(?=[-+]\d{3}$)))[dD]?([-+]?\d+)")
# What spreadsheets and C of old write for no number, in which a sign of comments stands.
_NO_NUMBER = re.compile(
    r"""(?:#(?:N/[AD]|NV|[¡¿]?[A-ZÀ-Þ]+(?:/0)?[!?])|[-+]?1\.#(?:INF|IND|[QS]NAN)\d*)(?=[\s,;"']|$)|#{3,}(?=[,;\t])"""
)
# Thousands parted by what is no point or comma; numbers with a decimal comma, or one between thousands; one in quotes.
_GROUPS = re.compile(r"([-+]?\d{1,3}(?:['’\u00a0\u202f\u2009 ]\d{3})+)((?:[.,]\d*)?)")
_AS_NUMBER = re.compile(r"[-+]?\d[\d.,]*(?:[eE][-+]?\d+)?")
_COMMAS = (re.compile(r"[-+]?\d+(?:,\d+)?(?:[eE][-+]?\d+)?"), re.compile(r"[-+]?\d{1,3}(?:,\d{3})*(?:\.\d+)?"))
_QUOTED = re.compile(r'"([-+]?\d+,\d+(?:[eE][-+]?\d+)?|[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?)"')
# Words of a table whose thousands are parted by one sign: those that have it, and those that are too small for it.
_THOUSANDS = {
    ".": (re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?"), re.compile(r"[-+]?\d{1,3}(?:,\d+)?")),
    ",": (re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?"), re.compile(r"[-+]?\d{1,3}(?:\.\d+)?")),
}
_MISSING = ("", "-", "--", "---", "na", "n/a", "#n/a", "nan", "null", "none", "masked")
_TRUE = {"true": "1", "false": "0"}
# What the coordinates of a picture are called.
_DOWN, _ACROSS = ("y", "qy", "row", "v"), ("x", "qx", "col", "column", "u")
_COUNTED = ("", "first", "second", "third", "fourth")
# No pattern has so few columns.
_NARROW = 4


def is_table(start: bytes, cut: bool) -> bool:
    """Whether a file begins as a table of numbers, after lines of comment, titles and names; `cut` if it goes on."""
    encoding = _encoding(start)
    if encoding == "utf-8-sig" and b"\0" in start:
        return False
    lines = start.decode(encoding, errors="replace").splitlines()
    if cut and len(lines) > 1:
        lines.pop()
    _, blocks = _parts(lines, cut, _thousands(lines))
    rows = [row for block in blocks for row in block]
    if cut and len(lines) == 1 and rows:
        rows[0].pop()
    alike = sum(len(row) == len(rows[0]) and _are_numbers(row) for row in rows)
    return 2 * alike > len(rows)  # one that is unlike the others is named when all are read


def open_table(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    """Rows of numbers that are parted by spaces, tabs, commas or semicolons."""
    _memory.check_fits(f"{path}, a text,", 8 * path.stat().st_size, "Save it as npy or HDF5")
    with reading(path, name):
        whole = path.read_bytes()
        lines = whole.decode(_encoding(whole), "replace").splitlines()
        sign = _thousands(lines)
        title, blocks = _parts(lines, sign=sign)
        rows = [row for block in blocks for row in block]
        try:
            array = np.loadtxt(map(" ".join, rows), ndmin=2)
        except ValueError:
            _check_rows(path, rows)
            raise
    values, note = _meant(array, title, [len(block) for block in blocks])
    if sign and {".": ",", ",": "."}[sign] not in "".join(lines):  # else that is the point
        counted = f"the table's {sign!r} was taken for a sign between thousands: if it stands for the point"
        counted += ", write other than three digits behind it"
        note = f"{note}; {counted}" if note else counted
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
    if 1 < array.shape[1] <= _NARROW and len(array) > 8 * array.shape[1]:
        note = (
            f"the table's {array.shape[1]} columns were taken for pixels of {len(array)} rows: if they are coordinates "
        )
        return array, f"{note}and values, write the values alone, in the rows and columns of the pattern"
    values, counted = _without_numbers(array)
    note = f"the table was taken without {counted}, where numbers count on: if they are pixels, use key='table'"
    return values, note if counted else ""


def _check_rows(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Say which row has fewer or more words than the first, or one that is no number."""
    for number, row in enumerate(rows):
        if len(row) != len(rows[0]):
            what = f"{path} must hold as many numbers in every row as in the first, {len(rows[0])}, got {len(row)}"
            raise Refusal(f"{what} in row {number} of them", "Complete that row, or leave it out")
        if not _are_numbers(row) and (word := next((word for word in row if not _is_number(word)), None)) is not None:
            what = f"{path} must hold a number in every cell, got {shortened(word, 60)!r} in row {number} of them"
            raise Refusal(what, "Write nan for what is missing, and a point before decimals")


# --- lines -----------------------------------------------------------------------------------------------------------


def _encoding(start: bytes) -> str:
    """How a text that begins so is written, by its byte-order mark."""
    marks = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF16_LE: "utf-16"}
    marks |= {codecs.BOM_UTF16_BE: "utf-16"}  # after the longer ones, which begin alike
    return next((name for mark, name in marks.items() if start.startswith(mark)), "utf-8-sig")


def _thousands(lines: Sequence[str]) -> str:
    """The sign, a point or a comma, that parts thousands; none where it may stand for the decimal point, as where a
    number has it and others than three digits behind, or four before, or where no column has numbers without it, too.
    """
    for sign, (large, small) in _THOUSANDS.items():
        found = set[tuple[int, str]]()
        for line in lines if any(map(large.search, lines)) else ():
            cells = re.split(r"[;\t]", line) if sign == "." else line.split()
            if sign == "," and ('"' in line or len(cells) == 1):
                cells = re.findall(r'"[^"]*"|[^",]+', line)
            for column, cell in enumerate(cell.strip(" \"'") for cell in cells):
                if _AS_NUMBER.fullmatch(cell):
                    kind = "large" if large.fullmatch(cell) else "small" if small.fullmatch(cell) else "other"
                    found.add((column, kind))
            if any(kind == "other" for _, kind in found):
                break
        else:
            if any(kind == "large" and (column, "small") in found for column, kind in found):
                return sign
    return ""


def _parts(lines: Sequence[str], cut: bool = False, sign: str = "") -> tuple[str, list[list[list[str]]]]:
    """The last line before the numbers, and the numbers as words: of each block its rows.

    Lines before them that hold no numbers are titles, as is one of names that has none for a first column of numbers
    which count the rows, and one of the two sizes, of which one is not known if the text is `cut`. Blocks are parted by
    empty lines and by comments.
    """
    title, kept = "", list[tuple[bool, str]]()
    after_gap = False
    for line in lines:
        row = _COMMENT.split(_NO_NUMBER.sub("nan", line), maxsplit=1)[0].rstrip()
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
        blocks[-1].append(_words(row, sign))
    if len(blocks) == 1:
        head, *rest = blocks[0]
        sizes = {str(len(rest)), str(len(rest[0]))} if rest and len(rest[0]) != 2 == len(head) else {""}
        alone = cut or head == [str(len(rest))]  # as fit2d counts the rows
        if sizes == {*head} or (cut and sizes & {*head}) or (rest and 1 == len(head) < len(rest[0]) and alone):
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


def _words(row: str, sign: str = "") -> list[str]:
    """The numbers of a row; where semicolons or tabs part them, or spaces alone do, a comma stands for the point.

    `sign` is what parts thousands, where that is known.
    """
    row = row.strip(" ")
    if '"' in row:
        row = _QUOTED.sub(lambda found: _pointed(found[1], sign), row)
    if ";" in row or ("\t" in row and "," in row):
        words = [_pointed(word, sign) for word in row.strip("\t").replace("\t", ";").split(";")]
    elif "," in row and len(cells := row.split()) > 1 and all(map(_COMMAS[sign == ","].fullmatch, cells)):
        words = [_pointed(cell, sign) for cell in cells]
    else:
        words = row.strip().split(",") if "," in row else row.split()
    if _PLAIN.fullmatch(row) and all(map(str.strip, words)):
        return [word.strip() for word in words]
    return [_number(word.strip().strip("\"'").strip()) for word in words]


def _pointed(word: str, sign: str) -> str:
    """A number with a point before its decimals, and nothing between thousands, which `sign` parts or what can part
    nothing else.
    """
    for each, (large, _) in _THOUSANDS.items():
        is_one = each == sign or word.count(each) > 1 or {".", ","} <= {*word}
        if is_one and large.fullmatch(word.strip(" \"'")):
            word = word.replace(each, "")
    return word.replace(",", ".")


def _number(word: str) -> str:
    """A number as Python writes it; of a missing one, that it is none."""
    if word.lower() in _MISSING:
        return "nan"
    if word.lower() in _TRUE:
        return _TRUE[word.lower()]
    word = word.replace("\N{MINUS SIGN}", "-")
    if groups := _GROUPS.fullmatch(word):
        word = re.sub(r"[^-+\d]", "", groups[1]) + groups[2].replace(",", ".")
    fortran = _FORTRAN.fullmatch(word)
    return f"{fortran[1]}e{fortran[2]}" if fortran else word


def _are_numbers(words: Sequence[str]) -> bool:
    """Whether all words are numbers, and one of them at least is not missing."""
    return all(map(_is_number, words)) and not all(math.isnan(float(word)) for word in words)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


# --- columns ---------------------------------------------------------------------------------------------------------


def _over_coordinates(table: np.ndarray[Any, Any], title: str) -> tuple[np.ndarray[Any, Any] | None, str]:
    """The first column behind those that count the points of a grid, a curve, a picture or frames, and what was
    assumed.

    There are few columns behind it, as that of its errors. Which of two is x is what the title says, else the first;
    of three it has to say x and y.
    """
    columns = table.shape[1]
    names = re.findall(r"[a-z_]+", title.lower().replace("q_", "q"))
    down, across = (next((i for i, name in enumerate(names) if name in some), -1) for some in (_DOWN, _ACROSS))
    is_said = {down, across} < {0, 1, 2} and down != across
    for axes in (3, 2, 1) if is_said else (2, 1):
        behind = columns - axes - 1
        values = _on_grid(table, axes) if 0 <= behind < 3 else None
        if values is None:
            continue
        turned = axes == 2 and 0 <= down < across
        order = {3: (3 - down - across, down, across), 2: (0, 1) if turned else (1, 0), 1: (0,)}[axes]
        what = {1: "column was taken for its coordinate", 3: "three were taken for x, y and the frame"}
        what[2] = "two columns were taken for y and x" if turned else "two columns were taken for x and y"
        note = f"the table's {'last' if not behind else _COUNTED[axes + 1]} column is the pattern, and its first "
        note += f"{what[axes]}{', those behind it left out' if behind else ''}"
        if lost := values.size - len(table):
            note += f"; {lost} points that it lacks were not measured"
        return values.transpose(order), note
    return None, ""


def _on_grid(table: np.ndarray[Any, Any], axes: int) -> np.ndarray[Any, Any] | None:
    """The column behind the coordinates, arranged by them, the first first; None if they count no grid, or less than
    half of one.
    """
    coordinates = table[:, :axes]
    if len(table) < 4 or not np.isfinite(coordinates).all():
        return None
    points = [np.unique(column, return_inverse=True) for column in coordinates.T]
    shape = tuple(len(values) for values, _ in points)
    place = np.ravel_multi_index([index for _, index in points], shape)
    even = all(_are_even(values) for values, _ in points)
    few = math.prod(shape) > 2 * len(table)
    if not even or few or min(shape) < 2 or len(np.unique(place)) != len(table):
        return None
    values = np.full(math.prod(shape), np.nan)
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
