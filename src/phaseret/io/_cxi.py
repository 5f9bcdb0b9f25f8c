"""CXI files, read and written: the names in them, the bits of their masks, their units.

Source:
    Maia (2012), The Coherent X-ray Imaging Data Bank, doi:10.1038/nmeth.2110, and the CXI file format 1.6. Where it
    has no name, PyNX's is used: `image_1/support`, `process_1/configuration`, `process_1/results`.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timezone
from io import BytesIO
from typing import Any

import numpy as np

from phaseret import _checks
from phaseret._version import __version__
from phaseret.io import _nexus
from phaseret.io._contents import Contents
from phaseret.io._layout import Pair, Told, above_0, beside, folder_of, mask_in
from phaseret.io._measurement import Place

_INSTRUMENT, _IMAGE, _DATA = "entry_1/instrument_1", "entry_1/image_1", "entry_1/data_1"
_DETECTOR, _RESULTS = f"{_INSTRUMENT}/detector_1", f"{_IMAGE}/process_1/results/"
PATTERN, MASK = f"{_DETECTOR}/data", f"{_DETECTOR}/mask"
OBJECT, SUPPORT, LINK = f"{_IMAGE}/data", f"{_IMAGE}/support", f"{_DATA}/data"
# Bits of a mask that say something good of a pixel: it is above the background, it lies in the support.
_HAS_SIGNAL, _INSIDE_SUPPORT = 0x1000, 0x10000
# entry_1/data_1 and the like: a group that CXI numbers.
_PLACE = re.compile(r"(?P<entry>entry_\d+)/(?:instrument_\d+/)?(?P<kind>detector|image|data)_\d+")


# --- read ------------------------------------------------------------------------------------------------------------


def intensity(contents: Contents) -> str | None:
    """The array of the intensity, of several detectors that of the one that data_1 shows; a file that holds an object
    in its place is refused.
    """
    shown = contents.where(LINK)
    found = _PLACE.match(shown)
    first = (shown,) if found is not None and found["kind"] == "detector" else ()
    for name in (*first, PATTERN, OBJECT, LINK):
        entry = contents.lookup(name)
        real_space = name in (OBJECT, LINK) and contents.text(f"{_IMAGE}/data_space") == "real"
        if entry is not None and (entry.dtype.kind == "c" or real_space):
            fix = "Read it with load_object, or name another array with key="
            _checks.fail(f"{contents.path} must hold an intensity, got an object in {name!r}", fix)
        if entry is not None:
            return name
    return None


def told(contents: Contents, name: str) -> Told:
    """What the places of CXI say of the array called `name`; nothing in files of other layouts."""
    place = contents.where(name)
    found = _PLACE.match(place)
    if found is None or contents.format != "HDF5":
        return Told()
    entry, folder, image = found["entry"], found[0], found["kind"] == "image"
    detector = folder if found["kind"] == "detector" else f"{entry}/instrument_1/detector_1"
    folders = (folder, detector) if found["kind"] == "data" else (folder,)
    masks = [mask_in(contents, each, "bad") for each in folders]
    said = contents.text(f"{folder}/data_type") if image else ""
    groups = (folder, folder_of(name), f"{entry}/data_1")
    words = [
        contents.attribute(place, "interpretation"),
        *(contents.attribute(each, "interpretation") for each in groups),
    ]
    return Told(
        ndim=_nexus.INTERPRETATIONS.get(next(filter(None, words), "")),
        magnitude="" if said == "unphased amplitude" else None,
        center=_center(contents, folder) if image else None,
        pair=_corner(contents, detector),
        mask=next(filter(None, masks), None),
        support=contents.first(f"{entry}/image_1/support"),
        obj=None if image else contents.first(f"{entry}/image_1/data"),
        saturation=above_0(contents.number(f"{detector}/saturation_value")),
        wavelength=_nexus.wavelength(contents, entry),
        distance=contents.quantity(f"{detector}/distance") or None,
        pixel_size=_nexus.pixel_size(contents, detector),
        beside=beside(contents, *dict.fromkeys((*folders, detector))),
    )


def others(contents: Contents, name: str) -> list[str]:
    """The patterns of the other detectors of a CXI file."""
    found, instrument = _PLACE.match(contents.where(name)), f"{name.partition('/')[0]}/instrument_1"
    if found is None or found["kind"] == "image":
        return []
    places = [f"{instrument}/{key}/data" for key in contents.children(instrument) if key.startswith("detector_")]
    return [place for place in places if contents.first(place)]


def _center(contents: Contents, image: str) -> Place | tuple[float, ...] | None:
    """Where an image has its zero frequency: it was shifted to the corner, or its pixel, written x first."""
    if contents.number(f"{image}/is_fft_shifted") == 1:
        return "corner"
    center = contents.lookup(f"{image}/image_center")
    if center is None or center.dtype.kind not in "iuf" or center.shape not in ((2,), (3,)):
        return None
    x, y, *_ = (float(value) for value in contents.read(f"{image}/image_center"))
    return (y, x) if x and y and math.isfinite(x + y) else None


def _corner(contents: Contents, detector: str) -> Pair | None:
    """What is asked about where the corner of the detector is told, x first, as seen from the beam."""
    name, size = f"{detector}/corner_position", _nexus.pixel_size(contents, detector)
    entry = contents.lookup(name)
    if size is None or entry is None or entry.dtype.kind not in "iuf" or entry.shape not in ((2,), (3,)):
        return None
    x, y, *_ = (abs(float(value)) for value in contents.read(name))
    return Pair(f"the pixel that {name!r} of the file tells", (y / size[0], x / size[1]), True)


def marks_bad(contents: Contents, mask: str) -> bool:
    """Whether the mask lies where CXI puts those whose non-zero pixels are bad."""
    place = contents.where(mask)
    bits = place.rpartition("/")[2] in ("mask", "pixel_mask")
    return contents.format == "HDF5" and bits and (bool(_PLACE.match(place)) or place.endswith("pixel_mask"))


def without_good_bits(contents: Contents, name: str, mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A mask of bad pixels without the bits by which CXI says something good of a pixel.

    That it lies in the support is said in the mask of an image; the bit is free for anybody in that of a detector.
    """
    found = _PLACE.match(contents.where(name))
    if found is None or contents.format != "HDF5" or mask.dtype.kind not in "iu":
        return mask
    good = _HAS_SIGNAL | (_INSIDE_SUPPORT if found["kind"] == "image" else 0)
    return mask.astype(np.int64) & ~good


def result_names(contents: Contents) -> dict[str, str]:
    """The array of each field of a reconstruction."""
    names = {name.removeprefix(_RESULTS): name for name in contents.entries if name.startswith(_RESULTS)}
    return names | {"obj": OBJECT, "support": SUPPORT}


# --- written ---------------------------------------------------------------------------------------------------------


def content(arrays: dict[str, Any], h5py: Any) -> bytes:
    """The bytes of a file with these arrays, texts and numbers by the plain names of this library."""
    buffer, left = BytesIO(), dict(arrays)
    with h5py.File(buffer, "w") as file:
        file["cxi_version"], file["number_of_entries"] = 160, 1
        file.attrs["default"], file.attrs["creator"] = "entry_1", "phaseret"
        entry = _group(file, "entry_1", "NXentry", default="data_1")
        entry["program_name"] = f"phaseret {__version__}"
        entry["start_time"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        instrument, detector = _group(file, _INSTRUMENT, "NXinstrument"), _group(file, _DETECTOR, "NXdetector")
        _write_geometry(instrument, detector, left)
        shown, axes = OBJECT, int(left.pop("ndim", 2))
        if "intensity" in left:
            shown = PATTERN
            _dataset(detector, "data", left.pop("intensity"))
            if "measured" in left:
                _dataset(detector, "mask", (~left.pop("measured")).astype(np.uint32))
        word = {1: "spectrum", 2: "image"}.get(axes, "scaler")
        if "obj" in left or "support" in left:
            image = _group(file, _IMAGE, "NXdata", signal="data", interpretation=word)
            image["dimensionality"], image["instrument_1"] = axes, h5py.SoftLink(f"/{_INSTRUMENT}")
            _write_image(image, left)
        _group(file, _DATA, "NXdata", signal="data", interpretation=word)["data"] = h5py.SoftLink(f"/{shown}")
    return buffer.getvalue()


def _write_geometry(instrument: Any, detector: Any, arrays: dict[str, Any]) -> None:
    wavelength, distance = arrays.pop("wavelength", None), arrays.pop("distance", None)
    height, width = arrays.pop("pixel_size", (None, None))
    facts = [(detector, "distance", distance, "m"), (detector, "y_pixel_size", height, "m")]
    facts += [(detector, "x_pixel_size", width, "m")]
    if wavelength is not None:
        energy = _nexus.PLANCK_LIGHT / wavelength
        source, beam = _group(instrument, "source_1", "NXsource"), _group(instrument, "beam_1", "NXbeam")
        facts += [(source, "energy", energy, "J"), (source, "wavelength", wavelength, "m")]
        facts += [(beam, "incident_energy", energy, "J"), (beam, "incident_wavelength", wavelength, "m")]
    for group, name, value, unit in facts:
        if value is not None:
            group[name] = value
            group[name].attrs["units"] = unit


def _write_image(image: Any, arrays: dict[str, Any]) -> None:
    """The object with everything that is known of how it was found."""
    image["data_space"], image["data_type"] = "real", "electron density"
    if "obj" in arrays:
        _dataset(image, "data", arrays.pop("obj"))
    if "support" in arrays:
        support = np.asarray(arrays.pop("support"), dtype=bool)
        _dataset(image, "support", support.astype(np.uint8))
        _dataset(image, "mask", support.astype(np.uint32) * _INSIDE_SUPPORT)
    process = _group(image, "process_1", "NXprocess")
    process["program"], process["version"] = "phaseret", __version__
    configuration = _group(process, "configuration", "NXcollection")
    if "fourier_shape" in arrays:
        configuration["iobs_shape"] = arrays.pop("fourier_shape")
    results = _group(process, "results", "NXcollection")
    for name, value in arrays.items():
        _dataset(results, name, value)


def _group(parent: Any, name: str, nexus: str, **attributes: str) -> Any:
    group = parent.require_group(name)
    group.attrs["NX_class"] = nexus
    group.attrs.update(attributes)
    return group


def _dataset(group: Any, name: str, value: Any) -> None:
    """Large arrays are compressed."""
    array = value if isinstance(value, str) else np.asarray(value)
    if isinstance(array, np.ndarray) and array.dtype.kind == "U":
        array = array.astype("S")
    if isinstance(array, np.ndarray) and array.size > 1024:
        group.create_dataset(name, data=array, chunks=True, shuffle=True, compression="gzip")
    else:
        group[name] = array
