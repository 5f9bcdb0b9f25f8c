"""What the axes of an array in a file are: those of one pattern, that of a stack of them, and a region of interest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from phaseret import _checks

# So many times as high as wide is no frame of most detectors; there are some as wide.
_LONG = 4
Index = int | slice | Sequence[int]
Roi = Sequence[tuple[int | None, int | None]]


def plain(value: Any) -> Any:
    """The value with Python's own numbers in place of those of NumPy and torch."""
    if isinstance(value, np.ndarray | np.generic | Tensor):
        return value.tolist()
    if isinstance(value, list | tuple):
        return list(map(plain, value)) if isinstance(value, list) else tuple(map(plain, value))
    return value


def checked_index(index: Any) -> Index | None:
    """An integer, a slice or integers, as Python's own; None for all."""
    found = plain(index)
    if isinstance(found, slice):
        found = slice(*map(plain, (found.start, found.stop, found.step)))
        numbers = [x for x in (found.start, found.stop, found.step) if x is not None]
        if found.step == 0:
            _checks.fail(f"index must be a slice whose step is not 0, got {found}", "Leave the step out")
    else:
        several = isinstance(found, Sequence) and not isinstance(found, str)
        numbers = [] if found is None else list(found) if several else [found]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int):
            fix = "Use numpy.flatnonzero(index) where True marks the patterns" if len(numbers) > 1 else "Count from 0"
            _checks.fail(f"index must be an integer, a slice or integers, got {number!r}", fix, TypeError)
    checked: Index | None = found
    return checked


def stack_axis(format: str, shape: tuple[int, ...], ndim: int, asked: int | None) -> tuple[int, tuple[str, ...]]:
    """The axis that counts the patterns, and what was assumed."""
    if asked is not None:
        if len(shape) != ndim + 1:
            _checks.fail(f"stack_axis must be None for the shape {shape} and ndim={ndim}, got {asked}", "Leave it out")
        if isinstance(asked, bool) or not isinstance(asked, int) or not -len(shape) <= asked < len(shape):
            _checks.fail(f"stack_axis must be an axis of the shape {shape}, got {asked!r}", "Use 0 or -1")
        return asked % len(shape), ()
    if len(shape) > ndim + 1 > 2 and format.startswith("MATLAB"):
        rule = f"a stack in MATLAB's files must have one axis beside those of a pattern, got {shape} for ndim={ndim}"
        _checks.fail(rule, "Save it so, as reshape(x, m1, m2, []) in MATLAB")
    if len(shape) != ndim + 1:
        return 0, ()
    if shape.count(1) == 1:  # of one pattern
        return shape.index(1), ()
    first, last = shape[1:], shape[:-1]
    if ndim == 1:
        note = f"the first axis of {shape} was taken for that of the stack: if it is the last, use stack_axis=-1"
        columns = shape[1] <= _LONG < shape[0] and format != "text"  # of which that is asked anyway
        return 0, (note,) * columns
    if format.startswith("MATLAB"):
        if len(set(first)) == 1 and len(set(last)) > 1:
            note = f"the first axis of {shape} was taken for that of the stack: if it is the last, use stack_axis=-1"
            return 0, (note,)
        note = f"the last axis of {shape} was taken for that of the stack, as MATLAB has it: if it is the first, use "
        return ndim, (f"{note}stack_axis=0",)
    note = f"the first axis of {shape} was taken for that of the stack: if it is the"
    square = [axis for axis in range(1, len(shape)) if len({*shape[:axis], *shape[axis + 1 :]}) == 1]
    if len(set(first)) > 1 and square:  # frames are square along another axis alone
        middle = square[0] < ndim
        return 0, (f"{note} {'middle' if middle else 'last'}, use stack_axis={square[0] if middle else -1}",)
    along = max(first) / shape[-1]  # frames are seldom so high, where those along the last axis are not
    if along > _LONG and along > 2 * max(last) / min(last):
        return 0, (f"{note} last, use stack_axis=-1",)
    return 0, ()


def slices(roi: Roi, shape: Sequence[int], ndim: int) -> list[slice]:
    """The region of interest along the axes of a frame."""
    _checks.sequence("roi", roi, "pairs", "Use (start, stop) along each axis")
    fix = "Use (start, stop) along each axis, counted from 0"
    pairs = [tuple(pair) if isinstance(pair, Sequence) else pair for pair in roi]
    frame = tuple(shape[-ndim:])
    if len(pairs) != len(frame) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        _checks.fail(f"roi must be one pair for each axis of the frame {frame}, got {roi!r}", fix)
    parts = [slice(*pair) for pair in pairs]
    try:
        empty = not all(range(m)[part] for m, part in zip(frame, parts, strict=True))
    except TypeError:
        empty = True
    if empty:
        _checks.fail(f"roi must hold pixels of the frame {frame}, got {roi!r}", fix)
    return parts


def item_axes(what: str, shape: tuple[int, ...], asked: int | None, said: int | None) -> int:
    """The number of axes of one pattern: as asked for, else as the file says, else all of one or two."""
    if asked is not None:
        if _checks.item_axes(asked) > len(shape):
            _checks.fail(f"ndim must be at most the number of axes of {what}, got {asked}", "Choose fewer axes")
        if len(shape) > asked + 1 > 2 and shape[-1] == 1:
            _checks.fail(f"{what} must end in the axes of one pattern, got a last one of 1", "Save it without that")
        return int(asked)
    if said is not None and said <= len(shape):
        return said
    if len(shape) == 3 and shape.count(1) == 1:
        return 2
    if len(shape) not in (1, 2):
        fix = "Use ndim=2 for a stack of patterns or ndim=3 for volumes"
        _checks.fail(f"ndim must be given for {what}", fix)
    return len(shape)
