"""Reconstructions, written to files and read again."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from phaseret import _checks
from phaseret.io import _cxi, _layout
from phaseret.io._contents import as_text
from phaseret.io._measurement import Measurement
from phaseret.io._readers import opened
from phaseret.io._save import as_array, facts, writer

# Fields as they were called in files of earlier versions, and what they are called now.
_RENAMED = {"iterations": "checked"}


def save_reconstruction(
    path: str | os.PathLike[str],
    reconstruction: Any,
    *,
    measurement: Measurement | None = None,
    overwrite: bool = False,
) -> None:
    """Write what a solver returned to a file that `load_reconstruction`, and for CXI other programs too, read.

    The file is written under another name and renamed when it is complete. A .vti file is for programs that draw, and
    holds one object with all that has its shape: amplitude, phase, support, and of a `StrainField` displacement (in
    nanometres, as its spacing and origin) and strain, outside the crystal as nan.

    Args:
        path: Ends in .cxi, .h5 or .hdf5 (CXI in HDF5), .npz, or .vti (VTK's image data, which is not read back).
        reconstruction: What a solver of `phaseret.solvers` returned, or a `phaseret.crystals.StrainField`: all of its
            fields that are tensors, numbers, texts or lists of numbers.
        measurement: Where the data came from; its wavelength, distance and pixel size are written too.
        overwrite: Replace an existing file.

    Raises:
        TypeError: if the reconstruction has no object; the other errors are those of :func:`save_intensity`.
        ValueError: if a .vti file is asked for of a stack, or of voxels that lean (use `StrainField.orthogonal`).

    Source:
        The CXI file format 1.6: `entry_1/image_1` holds data, data_space "real", mask and process_1. PyNX's names
        (support beside it, process_1/configuration, process_1/results, the link entry_1/data_1/data) are used where
        CXI has none.
    """
    write = writer(path, overwrite)
    if not (dataclasses.is_dataclass(reconstruction) and isinstance(getattr(reconstruction, "obj", None), Tensor)):
        _checks.fail(
            f"reconstruction must be what a solver returned, got {type(reconstruction).__name__}",
            "Pass the Reconstruction itself; write other arrays with numpy.savez",
            error=TypeError,
        )
    arrays = _arrays(reconstruction)
    if measurement is not None:
        _checks.instance("measurement", measurement, Measurement, "Use as_measurement")
        arrays |= facts(measurement) | {"fourier_shape": np.array(measurement.fourier_shape)}
    write(arrays)


def _arrays(reconstruction: Any) -> dict[str, Any]:
    """The fields as arrays and texts; `plain` names those that are numbers or lists of numbers, not tensors."""
    arrays: dict[str, Any] = {}
    plain: list[str] = []
    for name in (field.name for field in dataclasses.fields(reconstruction)):
        value = getattr(reconstruction, name)
        if isinstance(value, Tensor):
            arrays[name] = as_array(value)
        elif isinstance(value, str):
            arrays[name] = value
        elif isinstance(value, int | float) or (
            isinstance(value, list | tuple) and np.asarray(value).dtype.kind in "iuf"
        ):
            arrays[name] = np.asarray(value)
            plain.append(name)
    error = getattr(reconstruction, "error", None)
    if isinstance(error, Tensor):  # one number for each object
        arrays["ndim"] = np.array(reconstruction.obj.ndim - error.ndim)
    elif hasattr(reconstruction, "ndim"):
        arrays["ndim"] = np.array(reconstruction.ndim)
    return arrays | {"plain": np.array(plain, dtype="S")}


def load_reconstruction(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `save_reconstruction` wrote, or the CXI result of another program.

    Args:
        path: The file.

    Returns:
        The fields by name: ``phaseret.solvers.Reconstruction(**fields)`` for a file of this library; of other
        programs' files `obj`, `support` and the numbers that they give of their result.

    Raises:
        ValueError: if the file holds no object, and as `load_intensity`.
    """
    fields: dict[str, Any] = {}
    with opened(path) as contents:
        names = {name: name for name in contents.entries if name not in _layout.FACTS}
        if contents.format == "HDF5":
            names = _cxi.result_names(contents)
        obj = contents.lookup(names.get("obj", "obj"))
        if obj is None or obj.dtype.kind not in "biufc":
            fix = "Write it with save_reconstruction"
            _checks.fail(f"{path} must hold a reconstruction, got no array 'obj'", fix)
        for field, name in names.items():
            entry = contents.lookup(name)
            if entry is not None and entry.dtype.kind in "biufcOSU":
                value = contents.read(name)
                fields[field] = value != 0 if field == "support" else value
    plain = {as_text(name) for name in fields.pop("plain", np.empty(0)).reshape(-1)}
    return {_RENAMED.get(field, field): _as_saved(value, field in plain) for field, value in fields.items()}


def _as_saved(value: np.ndarray[Any, Any], plain: bool) -> Any:
    """A text, a number or a list of them, or a tensor."""
    if value.dtype.kind in "OSU":
        return as_text(value)
    if plain:
        return value.tolist()
    widest = {"f": np.dtype(np.float64), "c": np.dtype(np.complex128)}.get(value.dtype.kind)  # of those torch knows
    known = value.dtype.newbyteorder("=") if widest is None or value.dtype.itemsize <= widest.itemsize else widest
    return torch.from_numpy(np.array(value, known, order="C"))
