"""The HDF5 files of libspimage and of Hawk before CXI: `/real`, `/mask` and what they are as numbers beside them.

Source:
    Maia, Ekeberg, van der Spoel, Hajdu (2010), Hawk: the image reconstruction package for coherent X-ray diffractive
    imaging, doi:10.1107/S0021889810036083; what libspimage writes, its version 2.
"""

from __future__ import annotations

import math

from phaseret.io._contents import Contents
from phaseret.io._layout import Told

_NAMES = ("real", "mask", "image_center", "shifted", "scaled", "phased")


def intensity(contents: Contents) -> str | None:
    """The array of the pattern, if it is one: images with phases are objects or waves."""
    return "real" if _is_one(contents) and contents.number("phased") != 1 else None


def told(contents: Contents, name: str) -> Told:
    """What the numbers beside the array say; nothing in files of other layouts."""
    if contents.where(name) != "real" or not _is_one(contents):
        return Told()
    x, y, *_ = (float(value) for value in [*contents.read("image_center").reshape(-1), 0, 0])
    between = (y, x) if min(x, y) > 0 and math.isfinite(x + y) else None
    return Told(
        magnitude="" if contents.number("scaled") == 1 else None,  # whose square is the intensity
        center="corner" if contents.number("shifted") == 1 else between,
        mask=("mask", "measured"),
        wavelength=contents.number("lambda") or None,
        distance=contents.number("detector_distance") or None,
    )


def _is_one(contents: Contents) -> bool:
    entries = [contents.lookup(name) for name in _NAMES] if contents.format == "HDF5" else [None]
    return all(entry is not None and entry.dtype.kind in "iuf" for entry in entries)
