"""Measurements to files: CXI and VTK that other programs read, and npz."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from torch import Tensor

from phaseret import _checks, _fft
from phaseret._output import check_free, written
from phaseret.io import _cxi, _vtk
from phaseret.io._measurement import Measurement, as_measurement

_SUFFIXES = (".cxi", ".h5", ".hdf5", ".npz", ".vti")


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Fail now, and not after a long run, if `save_reconstruction` or `save_intensity` could not write there.

    Args:
        path: Ends in .cxi, .h5 or .hdf5 (CXI in HDF5), .npz, or .vti (VTK's image data, which is not read back).
        overwrite: Whether an existing file may be replaced.

    Raises:
        FileExistsError: if the file exists and `overwrite` is False.
        FileNotFoundError: if its folder does not exist, or the path is a link to what does not exist.
        ImportError: if h5py or pyevtk is needed and not installed.
        ValueError: if the name ends otherwise.
    """
    writer(path, overwrite)


def save_intensity(path: str | os.PathLike[str], measurement: Measurement | Tensor, *, overwrite: bool = False) -> None:
    """Write a measurement to a file that `load_intensity`, and for CXI other programs too, read.

    In the file the zero frequency lies in the middle of the frame (index m // 2), as detectors have it. The file is
    written under another name and renamed when it is complete. A link stays, and the file that it leads to is written.

    Args:
        path: Ends in .cxi, .h5 or .hdf5 (CXI in HDF5), .npz, or .vti (VTK's image data, which is not read back).
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
    write = writer(path, overwrite)
    if isinstance(measurement, Tensor):
        measurement = as_measurement(measurement)
    _checks.instance("measurement", measurement, Measurement, "Use as_measurement")
    axes = range(-measurement.ndim, 0)
    arrays: dict[str, Any] = {"intensity": as_array(_fft.center(measurement.intensity, axes))}
    if measurement.mask is not None:
        arrays["measured"] = as_array(_fft.center(measurement.mask, axes))
    for name in ("support", "obj"):
        if getattr(measurement, name) is not None:
            arrays[name] = as_array(getattr(measurement, name))
    write(arrays | facts(measurement))


def as_array(value: Tensor) -> np.ndarray[Any, Any]:
    """The tensor as an array of a type that files have."""
    return np.asarray(_fft.promote(value.detach()).cpu().resolve_conj().resolve_neg().numpy())


def facts(measurement: Measurement) -> dict[str, Any]:
    """The numbers that are known of a measurement."""
    names = ("ndim", "pixel_size", "wavelength", "distance")
    return {name: getattr(measurement, name) for name in names if getattr(measurement, name) is not None}


def writer(path: str | os.PathLike[str], overwrite: bool) -> Callable[[dict[str, Any]], None]:
    """The function that writes named arrays; everything that can be wrong with the path is found before."""
    target = check_free(path, overwrite)
    ending = target.suffix.lower()
    _checks.choice("the ending of path", ending, _SUFFIXES)
    made: Callable[[dict[str, Any]], bytes] = _npz
    if ending == ".vti":
        with _vtk.folder():
            pass
        made = partial(_vtk.content, hl=_checks.extra("pyevtk.hl", "pyevtk", "crystals"))
    elif ending != ".npz":
        made = partial(_cxi.content, h5py=_checks.extra("h5py", "h5py", "io"))

    def write(arrays: dict[str, Any]) -> None:
        # Made in memory: when the disk fills up, HDF5 ends the process and numpy leaves a broken archive to complain.
        content = made(arrays)
        with written(target, overwrite) as temporary:
            temporary.write_bytes(content)

    return write


def _npz(arrays: dict[str, Any]) -> bytes:
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
