"""VTK's image data, which ParaView, VisIt and PyVista show: written, not read.

Source:
    The XML format of VTK, type ImageData: arrays of points on a grid with an origin and a spacing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from phaseret import _checks
from phaseret._output import is_full, no_room, scratch

# Programs that draw take 1e-9 for nothing: lengths are written in nanometres.
_NANO = 1e9
# What is written of a measurement, a reconstruction or a strain field.
_SHOWN = ("intensity", "measured", "obj", "support", "phase", "displacement", "strain")
# What may lean against the axes, of the length of an edge.
_SQUARE = 1e-4


def folder() -> AbstractContextManager[Path]:
    """Where a file is made before it is read into memory: what writes it takes nothing but names."""
    return scratch("to make a .vti file in")


def content(arrays: dict[str, Any], hl: Any) -> bytes:
    """The bytes of a file with the arrays that have the shape of the intensity, or else of the object."""
    image = np.asarray(arrays["intensity"] if "intensity" in arrays else arrays["obj"])
    if not 1 <= image.ndim <= 3 or image.ndim != int(arrays.get("ndim", image.ndim)):
        rule = f"a .vti file holds one image of at most three axes, got shape {image.shape}"
        _checks.fail(rule, "Write a stack to .h5, or one item of it here")
    sizes = image.shape + (1,) * (3 - image.ndim)
    points: dict[str, Any] = {}
    for name in (name for name in _SHOWN if name in arrays):
        array = np.asarray(arrays[name])
        if array.shape == image.shape:
            points |= {key: np.ascontiguousarray(part.reshape(sizes)) for key, part in _parts(name, array, arrays)}
    spacing = _spacing(arrays, image.ndim)
    origin = tuple(-(n // 2) * edge for n, edge in zip(sizes, spacing, strict=True))
    with folder() as place:
        try:
            file = hl.imageToVTK(str(place / "image"), origin=origin, spacing=spacing, pointData=points)
        except OSError as error:
            if not is_full(error):
                raise
            _checks.fail(*no_room(place, "for a .vti file"), OSError)
        return Path(file).read_bytes()


def _parts(name: str, array: Any, arrays: dict[str, Any]) -> list[tuple[str, Any]]:
    """An array in types that VTK has: a complex one as amplitude and phase, lengths in nanometres."""
    if array.dtype.kind == "c":
        parts = {"amplitude": np.abs(array), "phase": np.angle(array)}
        return [(part, value) for part, value in parts.items() if part not in arrays]
    if name == "displacement":
        array = array * _NANO
    return [(name, array.astype(np.uint8) if array.dtype.kind == "b" else array)]


def _spacing(arrays: dict[str, Any], axes: int) -> tuple[float, ...]:
    """Edges of a voxel in nanometres; 1 where they are unknown."""
    if "voxels" not in arrays:
        return (1.0, 1.0, 1.0)
    voxels = np.asarray(arrays["voxels"], dtype=float)
    edges = np.diagonal(voxels)
    if not (edges > 0).all() or np.abs(voxels - np.diag(edges)).max() > _SQUARE * edges.min():
        rule = f"a .vti file holds voxels along x, y and z, got the vectors {voxels.tolist()}"
        _checks.fail(rule, "Use field.orthogonal() first")
    return tuple(_NANO * float(edge) for edge in edges)
