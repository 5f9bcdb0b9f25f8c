"""CXI files, read and written: the names in them, the bits of their masks, their units.

Source:
    Maia (2012), The Coherent X-ray Imaging Data Bank, doi:10.1038/nmeth.2110, and the CXI file format 1.6. Where it
    has no name, PyNX's is used: `image_1/support`, `process_1/configuration`, `process_1/results`.
"""

from __future__ import annotations

from datetime import datetime, timezone
from io import BytesIO
from typing import Any

import numpy as np

from phaseret import _checks
from phaseret._version import __version__
from phaseret.io._layout import Told, mask_in
from phaseret.io._readers import Contents

_INSTRUMENT, _IMAGE, _DATA = "entry_1/instrument_1", "entry_1/image_1", "entry_1/data_1"
_DETECTOR, _RESULTS = f"{_INSTRUMENT}/detector_1", f"{_IMAGE}/process_1/results/"
PATTERN, MASK = f"{_DETECTOR}/data", f"{_DETECTOR}/mask"
OBJECT, SUPPORT, LINK = f"{_IMAGE}/data", f"{_IMAGE}/support", f"{_DATA}/data"
_PLANCK_LIGHT = 6.62607015e-34 * 299792458.0  # h c in J m, exact in the SI
# Bits of a mask that say something good of a pixel: it has signal, it lies in the support.
_HAS_SIGNAL, _INSIDE_SUPPORT = 0x1000, 0x10000
# NeXus's words for the number of axes of one item; "scaler" is what is found in the field for three.
_INTERPRETATIONS = {"spectrum": 1, "image": 2, "scaler": 3, "scalar": 3}


# --- read ------------------------------------------------------------------------------------------------------------


def intensity(contents: Contents) -> str | None:
    """The array of the intensity; a file that holds an object in its place is refused."""
    for name in (PATTERN, OBJECT, LINK):
        entry = contents.lookup(name)
        real_space = name != PATTERN and contents.text(f"{_IMAGE}/data_space") == "real"
        if entry is not None and (entry.dtype.kind == "c" or real_space):
            fix = "Read it with load_object, or name another array with key="
            _checks.fail(f"{contents.path} must hold an intensity, got an object in {name!r}", fix)
        if entry is not None:
            return name
    return None


def told(contents: Contents, name: str) -> Told:
    """What the places of CXI say of the array called `name`; nothing in files of other layouts."""
    folder, image = name.rpartition("/")[0], name.startswith(f"{_IMAGE}/")
    masks = _DETECTOR if folder == _DATA else folder
    said = contents.text(f"{_IMAGE}/data_type") if image else ""
    interpretation = contents.attribute(folder, "interpretation") or contents.attribute(_DATA, "interpretation")
    sizes = [contents.number(f"{_DETECTOR}/{axis}_pixel_size") for axis in "yx"]
    given = [size for size in sizes if size]
    return Told(
        ndim=_INTERPRETATIONS.get(interpretation),
        magnitude=said if said == "unphased amplitude" else None,
        center="corner" if image and contents.number(f"{_IMAGE}/is_fft_shifted") == 1 else None,
        mask=mask_in(contents, masks, "bad") if marks_bad(contents, f"{masks}/") else None,
        support=contents.first(SUPPORT),
        obj=None if image else contents.first(OBJECT),
        wavelength=_wavelength(contents),
        distance=contents.number(f"{_DETECTOR}/distance") or None,
        pixel_size=(sizes[0] or given[0], sizes[1] or given[0]) if given else None,
    )


def marks_bad(contents: Contents, mask: str) -> bool:
    """Whether the mask lies where CXI puts those whose non-zero pixels are bad."""
    return contents.format == "HDF5" and ("/image_" in mask or "/detector_" in mask)


def is_good(mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Where a mask of bad pixels has none of the bits that say something bad."""
    if mask.dtype.kind in "iu":
        mask = mask.astype(np.int64) & ~(_HAS_SIGNAL | _INSIDE_SUPPORT)
    return mask == 0


def result_names(contents: Contents) -> dict[str, str]:
    """The array of each field of a reconstruction."""
    names = {name.removeprefix(_RESULTS): name for name in contents.entries if name.startswith(_RESULTS)}
    return names | {"obj": OBJECT, "support": SUPPORT}


def _wavelength(contents: Contents) -> float | None:
    names = (f"{_INSTRUMENT}/source_1/wavelength", f"{_INSTRUMENT}/beam_1/incident_wavelength")
    if (wavelength := contents.number(*names)) is not None:
        return wavelength or None
    energy = contents.number(f"{_INSTRUMENT}/source_1/energy", f"{_INSTRUMENT}/beam_1/incident_energy")
    return _PLANCK_LIGHT / energy if energy else None


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
        energy = _PLANCK_LIGHT / wavelength
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
