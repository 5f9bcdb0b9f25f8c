"""The group of symmetries written out in NumPy, one element and one item at a time, to compare with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.inexact]


def padded(x: Array, shape: tuple[int, ...]) -> Array:
    return np.pad(x, [(0, m - n) for n, m in zip(x.shape, shape, strict=True)])


def copies(
    x: Array, shape: tuple[int, ...], *, shift: bool = True, flip: bool = True
) -> Iterator[tuple[bool, tuple[int, ...], Array]]:
    """(flipped, shift, copy on the padded grid), in the order in which ties are decided."""
    places = itertools.product(*map(range, shape)) if shift else [(0,) * x.ndim]
    for flipped, place in itertools.product([False, True] if flip else [False], list(places)):
        turned = np.conj(np.flip(x)) if flipped else x
        yield flipped, place, np.roll(padded(turned, shape), place, range(x.ndim))


def nearest(
    estimate: Array, obj: Array, shape: tuple[int, ...], *, shift: bool = True, flip: bool = True, phase: bool
) -> tuple[float, bool, tuple[int, ...]]:
    """Smallest squared distance of a copy of the estimate to the object per object pixel, its flip and its shift."""
    best = (np.inf, False, (0,) * obj.ndim)
    target = padded(obj, shape)
    for flipped, place, copy in copies(estimate, shape, shift=shift, flip=flip):
        inner = np.vdot(copy, target)
        if phase and inner != 0:
            copy = copy * (inner / abs(inner))
        distance = float((abs(copy - target) ** 2).sum() / obj.size)
        if distance < best[0] - 1e-12:
            best = (distance, flipped, place)
    return best
