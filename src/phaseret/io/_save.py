"""Tensors to files: CXI that other programs read, and npz."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from phaseret import _checks, _fft
from phaseret._output import check_free, written
from phaseret.io._load import CXI_INSIDE_SUPPORT, DETECTOR, IMAGE, INSTRUMENT, PLANCK_LIGHT
from phaseret.io._measurement import Measurement, as_measurement

_SUFFIXES = (".cxi", ".h5", ".hdf5", ".npz")


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Fail now, and not after a long run, if `save_reconstruction` or `save_intensity` could not write there.

    Args:
        path: Ends in .cxi, .h5 or .hdf5 (CXI in HDF5) or .npz.
        overwrite: Whether an existing file may be replaced.

    Raises:
        FileExistsError: if the file exists and `overwrite` is False.
        FileNotFoundError: if its folder does not exist.
        ImportError: if h5py is needed and not installed.
        ValueError: if the name ends otherwise.
    """
    _writer(path, overwrite)


def save_intensity(path: str | os.PathLike[str], measurement: Measurement | Tensor, *, overwrite: bool = False) -> None:
    """Write a measurement to a file that `load_intensity`, and for CXI other programs too, read.

    In the file the zero frequency lies in the middle of the frame (index m // 2), as detectors have it. The file is
    written under another name and renamed when it is complete.

    Args:
        path: Ends in .cxi, .h5 or .hdf5 (CXI in HDF5) or .npz.
        measurement: What to write; a tensor is a pattern, or a stack of 2D ones, with its zero frequency at index 0.
        overwrite: Replace an existing file.

    Raises:
        FileExistsError: if the file exists and `overwrite` is False.
        OSError: if it cannot be written, for example because the disk is full; then no file is left.
        ValueError: if the name ends otherwise.

    Source:
        The CXI file format 1.6: `entry_1/instrument_1/detector_1` holds data, mask (0 = good), distance and pixel
        sizes, `source_1` the photon energy in joule; `entry_1/data_1/data` is a link to the data.
    """
    writer = _writer(path, overwrite)
    if isinstance(measurement, Tensor):
        measurement = as_measurement(measurement)
    axes = range(-measurement.ndim, 0)
    arrays: dict[str, Any] = {"intensity": _array(_fft.center(measurement.intensity, axes)), "ndim": measurement.ndim}
    if measurement.mask is not None:
        arrays["measured"] = _array(_fft.center(measurement.mask, axes))
    for name in ("support", "obj"):
        if getattr(measurement, name) is not None:
            arrays[name] = _array(getattr(measurement, name))
    writer(arrays | _known_geometry(measurement))


def save_reconstruction(
    path: str | os.PathLike[str],
    reconstruction: Any,
    *,
    measurement: Measurement | None = None,
    overwrite: bool = False,
) -> None:
    """Write what a solver returned to a file that `load_reconstruction`, and for CXI other programs too, read.

    The file is written under another name and renamed when it is complete.

    Args:
        path: Ends in .cxi, .h5 or .hdf5 (CXI in HDF5) or .npz.
        reconstruction: What a solver of `phaseret.solvers` returned: all of its fields that are tensors, numbers,
            texts or lists of numbers.
        measurement: Where the data came from; its wavelength, distance and pixel size are written too.
        overwrite: Replace an existing file.

    Raises:
        FileExistsError: if the file exists and `overwrite` is False.
        OSError: if it cannot be written, for example because the disk is full; then no file is left.
        TypeError: if the reconstruction has no object.
        ValueError: if the name ends otherwise.

    Source:
        The CXI file format 1.6: `entry_1/image_1` holds data, data_space "real", mask and process_1. PyNX's names
        (support beside it, process_1/configuration, process_1/results, the link entry_1/data_1/data) are used where
        CXI has none.
    """
    writer = _writer(path, overwrite)
    if not (dataclasses.is_dataclass(reconstruction) and isinstance(getattr(reconstruction, "obj", None), Tensor)):
        _checks.fail(
            f"reconstruction must be what a solver returned, got {type(reconstruction).__name__}",
            "Pass the Reconstruction itself; write other arrays with numpy.savez",
            error=TypeError,
        )
    arrays = _arrays(reconstruction)
    if measurement is not None:
        arrays |= _known_geometry(measurement) | {"fourier_shape": np.array(measurement.fourier_shape)}
        arrays["ndim"] = measurement.ndim
    writer(arrays)


def _arrays(reconstruction: Any) -> dict[str, Any]:
    """The fields as arrays and texts; `plain` names those that are numbers or lists of numbers, not tensors."""
    arrays: dict[str, Any] = {}
    plain: list[str] = []
    for name in (field.name for field in dataclasses.fields(reconstruction)):
        value = getattr(reconstruction, name)
        if isinstance(value, Tensor):
            arrays[name] = _array(value)
        elif isinstance(value, str):
            arrays[name] = value
        elif isinstance(value, int | float) or (
            isinstance(value, list | tuple) and np.asarray(value).dtype.kind in "iuf"
        ):
            arrays[name] = np.asarray(value)
            plain.append(name)
    return arrays | {"plain": np.array(plain, dtype="S")}


def _array(value: Tensor) -> np.ndarray[Any, Any]:
    return np.asarray(_fft.promote(value.detach()).cpu().resolve_conj().resolve_neg().numpy())


def _known_geometry(measurement: Measurement) -> dict[str, Any]:
    names = ("pixel_size", "wavelength", "distance")
    return {name: getattr(measurement, name) for name in names if getattr(measurement, name) is not None}


def _writer(path: str | os.PathLike[str], overwrite: bool) -> Callable[[dict[str, Any]], None]:
    """The function that writes named arrays; everything that can be wrong with the path is found before."""
    target = check_free(path, overwrite)
    _checks.choice("the ending of path", target.suffix.lower(), _SUFFIXES)
    if target.suffix.lower() == ".npz":
        return lambda arrays: _write_npz(target, arrays, overwrite)
    h5py = _checks.extra("h5py", "h5py", "io")
    return lambda arrays: _write_cxi(target, arrays, overwrite, h5py)


def _write_npz(path: Path, arrays: dict[str, Any], overwrite: bool) -> None:
    with written(path, overwrite) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def _write_cxi(path: Path, arrays: dict[str, Any], overwrite: bool, h5py: Any) -> None:
    # Made in memory: HDF5 ends the process when the disk fills up while a file is open.
    content = BytesIO()
    with h5py.File(content, "w") as file:
        file["cxi_version"], file["number_of_entries"] = 160, 1
        file.attrs["default"], file.attrs["creator"] = "entry_1", "phaseret"
        entry = _group(file, "entry_1", "NXentry", default="data_1")
        entry["program_name"] = f"phaseret {version('phaseret')}"
        entry["start_time"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        instrument = _group(file, INSTRUMENT, "NXinstrument")
        detector = _group(file, DETECTOR, "NXdetector")
        _write_geometry(instrument, detector, arrays)
        data, axes = f"{IMAGE}/data", int(arrays.pop("ndim", 2))
        if "intensity" in arrays:
            data = f"{DETECTOR}/data"
            _dataset(detector, "data", arrays.pop("intensity"))
            if "measured" in arrays:
                _dataset(detector, "mask", (~arrays.pop("measured")).astype(np.uint32))
        if "obj" in arrays or "support" in arrays:
            _write_image(file, arrays, axes)
        link = _group(file, "entry_1/data_1", "NXdata", signal="data", interpretation=_interpretation(axes))
        link["data"] = h5py.SoftLink(f"/{data}")
    with written(path, overwrite) as temporary:
        temporary.write_bytes(content.getbuffer())


def _write_geometry(instrument: Any, detector: Any, arrays: dict[str, Any]) -> None:
    wavelength = arrays.pop("wavelength", None)
    if wavelength is not None:
        source = _group(instrument, "source_1", "NXsource")
        beam = _group(instrument, "beam_1", "NXbeam")
        for group, name, value, unit in (
            (source, "energy", PLANCK_LIGHT / wavelength, "J"),
            (source, "wavelength", wavelength, "m"),
            (beam, "incident_energy", PLANCK_LIGHT / wavelength, "J"),
            (beam, "incident_wavelength", wavelength, "m"),
        ):
            group[name] = value
            group[name].attrs["units"] = unit
    height, width = arrays.pop("pixel_size", (None, None))
    for name, value in (
        ("distance", arrays.pop("distance", None)),
        ("y_pixel_size", height),
        ("x_pixel_size", width),
    ):
        if value is not None:
            detector[name] = value
            detector[name].attrs["units"] = "m"


def _write_image(file: Any, arrays: dict[str, Any], axes: int) -> None:
    """The object with everything that is known of how it was found."""
    import h5py

    image = _group(file, IMAGE, "NXdata", signal="data", interpretation=_interpretation(axes))
    image["data_space"], image["data_type"], image["dimensionality"] = "real", "electron density", axes
    if "obj" in arrays:
        _dataset(image, "data", arrays.pop("obj"))
    if "support" in arrays:
        support = np.asarray(arrays.pop("support"), dtype=bool)
        _dataset(image, "support", support.astype(np.uint8))
        _dataset(image, "mask", support.astype(np.uint32) * CXI_INSIDE_SUPPORT)
    image["instrument_1"] = h5py.SoftLink(f"/{INSTRUMENT}")
    process = _group(image, "process_1", "NXprocess")
    process["program"], process["version"] = "phaseret", version("phaseret")
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


def _interpretation(axes: int) -> str:
    """NeXus's word for the number of axes of one item; "scaler" is what is found in the field for three."""
    return {1: "spectrum", 2: "image"}.get(axes, "scaler")
