"""NeXus files, those of Eiger detectors and of BLISS among them: the signal by default, and what its detector says.

Source:
    NeXus 2024.02: the rules for `@default` and `@signal`, the classes NXdetector (`pixel_mask`, `saturation_value`,
    `beam_center_x`), NXbeam and NXdata. DECTRIS, the HDF5 file format of Eiger: frames in `entry/data/data_000001`,
    masks in `detectorSpecific`, the beam centre in pixels.
"""

from __future__ import annotations

import math

from phaseret.io._contents import Contents, same_word
from phaseret.io._layout import (
    DARKS,
    LEVELS,
    PIXELS,
    Pair,
    Told,
    above_0,
    beside,
    exposure,
    folder_of,
    has_pixels_of,
    inside,
    mask_in,
)

PLANCK_LIGHT = 6.62607015e-34 * 299792458.0  # h c in J m, exact in the SI
# So near to the corner no beam is in pixels: numbers below it are metres.
_METRES = 0.25
# The words for the number of axes of one item.
INTERPRETATIONS = {"spectrum": 1, "image": 2, "scaler": 3, "scalar": 3}


def intensity(contents: Contents) -> str | None:
    """The array that the file shows by default, or that of its only detector."""
    return next(filter(None, (signal(contents, entry) for entry in _entries(contents))), None)


def signal(contents: Contents, entry: str) -> str | None:
    """The array that an entry shows by default, or that of its only detector."""
    name = _by_default(contents, entry) or inside(entry, "data")
    found = contents.lookup(name)
    if found is not None and found.numbers and found.dtype.kind in "iuf" and len(found.shape) > 1:
        return name
    images = list(filter(None, (_image(contents, detector) for detector in detectors(contents, entry))))
    return images[0] if len(images) == 1 else None


def told(contents: Contents, name: str) -> Told:
    """What the detector says whose array it is; nothing in files of other layouts."""
    place = contents.where(name)
    entry = place.partition("/")[0]
    group = place if contents.children(place) else folder_of(place)
    word = contents.attribute(place, "interpretation") or contents.attribute(group, "interpretation")
    detector = _detector_of(contents, place)
    if detector is None:
        return Told(ndim=INTERPRETATIONS.get(word), beside=beside(contents, group))
    folders = (detector, *(f"{detector}/{key}" for key in contents.children(detector) if key == "detectorSpecific"))
    shown = name.strip("/") if contents.children(name) else folder_of(name)  # which may hold a link to the array alone
    masks = [mask_in(contents, folder, "bad") for folder in folders]
    other = next(filter(None, masks), mask_in(contents, shown, "bad"))
    fitting = other in masks or (other is not None and has_pixels_of(contents, other[0], name))
    levels = [name for folder in folders for name in contents.called(folder, LEVELS)]
    size = pixel_size(contents, detector)
    return Told(
        ndim=INTERPRETATIONS.get(word),
        center=_beam(contents, detector, size),
        pair=_of_each(contents, detector),
        mask=other if fitting else None,
        saturation=above_0(contents.number(*levels)),
        wavelength=wavelength(contents, entry),
        distance=contents.quantity(f"{detector}/distance", f"{detector}/detector_distance") or None,
        pixel_size=size,
        exposure=exposure(contents, folders),
        beside=(
            *beside(contents, *dict.fromkeys((group, *folders, shown))),
            *([other[0]] if other and not fitting else []),
        ),
    )


def dark(name: str) -> bool:
    """Whether an array is called as one that was measured without the object."""
    return same_word(name) in DARKS


def groups(contents: Contents, parent: str, kind: str) -> list[str]:
    """The groups of that class; where classes are not written, those whose name begins as the class does."""
    found = []
    for key in contents.children(parent):
        name = inside(parent, key)
        said = contents.attribute(name, "NX_class")
        if said == f"NX{kind}" or (not said and key.startswith(kind) and contents.children(name)):
            found.append(name)
    return found


def detectors(contents: Contents, entry: str) -> list[str]:
    """The detectors of an entry."""
    instruments = groups(contents, entry, "instrument")
    return [name for instrument in instruments for name in groups(contents, instrument, "detector")]


def pixel_size(contents: Contents, detector: str) -> tuple[float, float] | None:
    """That of a detector, (y, x); where one is written it is that of both."""
    height, width = (contents.quantity(f"{detector}/{axis}_pixel_size") for axis in "yx")
    one = height or width
    return None if not one else (height or one, width or one)


def wavelength(contents: Contents, entry: str) -> float | None:
    """That of the beam, from its energy where it is not written."""
    for parent in (*groups(contents, entry, "instrument"), *groups(contents, entry, "sample")):
        for kind in ("beam", "source", "monochromator"):
            for group in groups(contents, parent, kind):
                found = contents.quantity(f"{group}/incident_wavelength", f"{group}/wavelength")
                if found is not None:
                    return found or None
                energy = contents.quantity(f"{group}/incident_energy", f"{group}/energy")
                if energy:
                    return PLANCK_LIGHT / energy
    return None


def _entries(contents: Contents) -> list[str]:
    """The entry that the file shows by default, or its only one."""
    found = groups(contents, "", "entry")
    default = contents.attribute("", "default")
    return [default] if default in found else found if len(found) == 1 else []


def _by_default(contents: Contents, group: str) -> str | None:
    """The group of the signal that `default` leads to."""
    for _ in range(8):
        if contents.attribute(group, "signal"):
            return group
        key = contents.attribute(group, "default")
        if not key:
            break
        group = key.strip("/") if key.startswith("/") else inside(group, key)
    return None


def _image(contents: Contents, detector: str) -> str | None:
    """The frames of a detector, under the first of the names that they have."""
    for name in contents.called(detector, ("data", "image", "images", "frames")):
        found = contents.lookup(name)
        if found is not None and found.numbers and len(found.shape) > 1:
            return name
    return None


def _detector_of(contents: Contents, place: str) -> str | None:
    """The detector whose array lies there, or the only one of the entry that has images or says nothing of them."""
    found = detectors(contents, place.partition("/")[0])
    within = [name for name in found if place.startswith(f"{name}/")]
    if within:
        return within[0]
    able = [name for name in found if _image(contents, name) or contents.lookup(f"{name}/data") is None]
    return able[0] if len(able) == 1 else None


def _beam(contents: Contents, detector: str, sizes: tuple[float, float] | None) -> tuple[float, float] | None:
    """The pixel of the direct beam, (y, x); lengths are taken for pixels of their size. Zeros say nothing.

    Numbers without a unit are pixels, as Eiger's are, unless they are so small that they can only be metres.
    """
    found = []
    for axis, size in zip("yx", sizes or (None, None), strict=True):
        name = f"{detector}/beam_center_{axis}"
        unit = contents.unit(name)
        value = contents.quantity(name) if unit else contents.number(name)
        if not value:
            return None
        is_length = unit not in PIXELS or (not unit and bool(size) and abs(value) < _METRES)
        if is_length and not size:
            return None
        found.append(value / size if is_length and size else value)
    return (found[0], found[1]) if all(map(math.isfinite, found)) else None


def _of_each(contents: Contents, detector: str) -> Pair | None:
    """What is asked about where the beam is said of each pattern, and not alike."""
    names = [f"{detector}/beam_center_{axis}" for axis in "yx"]
    varied = [name for name in names if len({x for x in contents.numbers(name) if math.isfinite(x)}) > 1]
    return Pair(f"{' and '.join(map(repr, varied))}, not one number for all patterns,") if varied else None
