"""What a file tells of its pattern: which array it is, what its mask means, where its centre and geometry stand.

A layout is a module with two functions, listed in `_load.LAYOUTS`: `intensity(contents)` gives the name of the array
that holds the pattern, and `told(contents, name)` what the file says of it. This module has those of files without a
layout of their own, whose arrays have plain names: the npz files of this library, arrays that somebody saved.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from phaseret.io._measurement import Place
from phaseret.io._readers import Contents

MaskIs = Literal["measured", "bad", "ignored"]
# What arrays are called, the first choice first, where no layout gives them a place.
MASKS, SUPPORT, OBJECTS = ("measured", "valid", "mask"), "support", ("obj", "object")
FACTS = ("wavelength", "distance", "pixel_size", "fourier_shape", "ndim")


@dataclass(frozen=True)
class Told:
    """What a file says of the pattern in it, arrays by their names; None where it says nothing.

    Attributes:
        ndim: Number of axes of one pattern.
        magnitude: The words by which it says that it holds the square root of the intensity.
        center: Where the zero frequency lies.
        mask: The array that is the mask, and what its non-zero pixels are if that is certain.
        support: The array that is the support.
        obj: The array that is the object.
        wavelength: In metres.
        distance: In metres.
        pixel_size: Detector pixel (y, x) in metres.
    """

    ndim: int | None = None
    magnitude: str | None = None
    center: Place | None = None
    mask: tuple[str, MaskIs | None] | None = None
    support: str | None = None
    obj: str | None = None
    wavelength: float | None = None
    distance: float | None = None
    pixel_size: tuple[float, float] | None = None

    def completed(self, other: Told) -> Told:
        """The same, and where it says nothing what the other says."""
        both = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)}
        return Told(**{name: second if first is None else first for name, (first, second) in both.items()})


def intensity(contents: Contents) -> str | None:
    """The array of numbers that is called as a pattern, or the only one."""
    numbers = [name for name, entry in contents.arrays.items() if entry.dtype.kind in "iuf"]
    called = [name for name in ("intensity", "iobs", "data") if name in numbers]
    return called[0] if called else numbers[0] if len(numbers) == 1 else None


def told(contents: Contents, name: str) -> Told:
    """What the plain names say."""
    size = contents.lookup("pixel_size")
    pair = contents.read("pixel_size").reshape(-1) if size is not None and size.shape in ((), (2,)) else None
    return Told(
        ndim=int(contents.number("ndim") or 0) or None,
        mask=mask_in(contents, name.rpartition("/")[0], None),
        support=contents.first(SUPPORT),
        obj=contents.first(OBJECTS[0]),
        wavelength=contents.number("wavelength") or None,
        distance=contents.number("distance") or None,
        pixel_size=None if pair is None else (float(pair[0]), float(pair[-1])),
    )


def mask_in(contents: Contents, folder: str, mask_is: MaskIs | None) -> tuple[str, MaskIs | None] | None:
    """The mask in a folder, whose name says that its non-zero pixels were measured, or says nothing: then `mask_is`."""
    clear, unclear = [f"{folder}/{name}".lstrip("/") for name in MASKS[:2]], f"{folder}/{MASKS[2]}".lstrip("/")
    if (name := contents.first(*clear)) is not None:
        return name, "measured"
    return None if contents.first(unclear) is None else (unclear, mask_is)
