"""Masks and supports as people make them: whole numbers, bits, NaN, pictures painted in black and white."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from phaseret import _checks
from phaseret.io._contents import Contents, same_word
from phaseret.io._layout import MASKS, MaskIs
from phaseret.io._pictures import grey

OWN = "the mask of the file"
_PICTURES = ("png", "jpeg", "bmp", "tif")


def marked(contents: Contents, name: str) -> np.ndarray[Any, Any]:
    """The values of a mask or a support, one number per pixel; of a picture black or white, from its half on white."""
    value = contents.read(name, filled=True)
    if contents.entry(name).color:
        plain = grey(value)
        if plain is None:
            fix = "Save it in black and white, without transparent pixels"
            _checks.fail(f"{name!r} of {contents.path} must be grey, got a picture in colours", fix)
        value = plain
    if value.dtype.kind not in "biuf":
        _checks.fail(
            f"{name!r} of {contents.path} must hold one real number per pixel, got {value.dtype}",
            "Name another array with key=",
        )
    if contents.format in _PICTURES and value.dtype.kind in "iu" and value.min(initial=0) >= 0:
        half = value > value.max(initial=0) / 2
        between = int(((value > 0) & (value < value.max(initial=0))).sum())
        if between:
            _checks.warn(
                f"{between} pixels of {contents.path} are neither black nor white, and from the half on were taken as "
                "white",
                "Save it without soft edges, in a format without losses",
            )
        return np.asarray(half)
    return value


def as_measured(mask: np.ndarray[Any, Any], mask_is: MaskIs) -> Tensor:
    """True where measured: a pixel without a number never is."""
    _check_numbers("mask", mask)
    good = mask != 0 if mask_is == "measured" else mask == 0
    return torch.from_numpy(np.ascontiguousarray(good & ~_not_numbers(mask)))


def doubts(name: str, mask: np.ndarray[Any, Any], mask_is: MaskIs | None) -> Iterator[str]:
    """What looks wrong in a mask that is taken for one of measured pixels (or inside of a support), not of bad ones."""
    said = MASKS.get(same_word(name))
    if None not in (said, mask_is) and said != mask_is:
        yield f"the non-zero pixels of {name!r} were taken as {mask_is}: if its name is right, use mask_is={said!r}"
    value = mask[~_not_numbers(mask)] if mask.dtype.kind == "f" else mask
    if mask_is == "bad" or mask.dtype.kind == "b" or not value.size:
        return
    low, high = value.min(), value.max()
    between = int(((value != low) & (value != high)).sum())
    if low < high and not (value == 0).any():
        yield f"{name!r} is 0 nowhere and leaves no pixel out: if its {low:g} means one to leave out, make it 0"
    elif between:
        yield (
            f"{between} pixels of {name!r} are neither {low:g} nor {high:g} and count as those that are not 0: if they "
            "are bits of what is wrong with a pixel, it is a mask of bad ones"
        )


def mostly_bad(what: str, mask: Tensor, fix: str) -> Iterator[str]:
    """A question, if a mask leaves out more than half of the pixels."""
    share = 1 - float(mask.double().mean())
    if share > 0.5:
        yield f"{what} leaves out {share:.1%} of the pixels: if it means the opposite, {fix}"


def inside_out(what: str, support: Tensor) -> Iterator[str]:
    """A question, if a support holds all of its border, and a tenth of it or more is a hole."""
    rim = (support.select(axis, end) for axis in range(support.ndim) for end in (0, -1))
    if support.ndim > 1 and all(bool(face.all()) for face in rim) and float((~support).double().mean()) >= 0.1:
        yield f"{what} holds all of its border and is empty inside: if it means the opposite, invert it"


def wrapped(values: np.ndarray[Any, Any]) -> Iterator[str]:
    """A question, if unsigned numbers lie just below the largest of their type, and none between those and the others:
    those that were to be negative do.
    """
    if values.dtype.kind != "u" or values.dtype.itemsize == 1 or not values.size:
        return
    largest = int(np.iinfo(values.dtype).max)
    high = values > largest - largest // 64
    count = int(high.sum())
    if count >= 5 and len(np.unique(values[high][:4096])) > 2 and values[~high].max(initial=0) < largest // 2:
        what = f"{count} pixels hold numbers just below {largest + 1}, and none lies between those and the others"
        yield f"{what}: if something was subtracted from unsigned numbers, make them floating ones before"


def misplaced(what: str, mask: Tensor, values: Tensor) -> Iterator[str]:
    """A question, if the pixels that a mask of one frame leaves out hold values, and pixels without one lie where it
    leaves out others when it is transposed or turned over.
    """
    bad, shape = ~mask.squeeze(), tuple(values.shape[-2:])
    if tuple(bad.shape) != shape or not 4 <= int(bad.sum()) <= bad.numel() / 2:
        return
    lit = (values.isfinite() & (values > 0)).reshape(-1, *shape).any(0)
    if float(lit.double().mean()) < 0.75 or float(lit[bad].double().mean()) <= 0.5:
        return
    turns = {"is transposed": bad.T} if shape[0] == shape[1] else {}
    turns |= {
        "is upside down": bad.flip(0),
        "has left and right swapped": bad.flip(1),
        "is turned by half": bad.flip(0, 1),
    }
    how = next((how for how, turned in turns.items() if not bool(lit[turned].any())), None)
    if how is not None:
        what = f"{what} leaves out pixels that hold values, and fits those without if it {how}"
        yield f"{what}: turn it if that is so"


def as_inside(support: np.ndarray[Any, Any]) -> Tensor:
    """True inside: non-zero, and a number."""
    _check_numbers("support", support)
    return torch.from_numpy(np.ascontiguousarray((support != 0) & ~_not_numbers(support)))


def _check_numbers(name: str, value: np.ndarray[Any, Any]) -> None:
    if value.dtype.kind not in "biufc":
        _checks.fail(f"{name} must hold numbers, got {value.dtype}", "Name another array, or leave it out")


def _not_numbers(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.isnan(value) if value.dtype.kind == "f" else np.zeros((), dtype=bool)


def fitted(name: str, mask: Tensor, shape: Sequence[int]) -> Tensor:
    """The mask, which must be one for all patterns of `shape` or one for each; axes of one may be too many."""
    for candidate in (mask, mask.squeeze()):
        try:
            if torch.broadcast_shapes(candidate.shape, tuple(shape)) == tuple(shape):
                return candidate
        except RuntimeError:
            continue
    fix = "Use one mask for all patterns, of the shape of one, or one for each"
    if tuple(mask.shape[-2:]) == tuple(shape[-2:])[::-1]:
        fix = "Transpose it: it has the pixels of the other axis along each"
    if name == OWN:
        fix = f"{fix}; mask_is='ignored' leaves it out"
    _checks.fail(f"{name} must broadcast to the intensity {tuple(shape)}, got {tuple(mask.shape)}", fix)
