"""Files to tensors: patterns, masks, supports and objects."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from phaseret import _checks
from phaseret.io import _cxi, _layout
from phaseret.io._layout import MaskIs, Told
from phaseret.io._measurement import Kind, Measurement, Place, as_measurement, to_corner
from phaseret.io._readers import Contents, Index, opened

# The layouts of files, the first that says something is believed.
LAYOUTS = (_cxi, _layout)


def load_intensity(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    index: Index | None = None,
    ndim: int | None = None,
    kind: Kind = "intensity",
    center: Place | Sequence[int] | None = None,
    mask_is: MaskIs | None = None,
    saturation: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> Measurement:
    """Read a measured pattern, or a stack of them, from a file, ready for the solvers.

    The kind of file is recognised by its content: CXI/HDF5 (also MATLAB 7.3), npy, npz, mat, tif, png, jpeg, edf and
    cbf. The zero frequency moves from the middle of the frame to index 0. Pixels that the file's mask leaves out, that
    are not finite, negative or saturated are False in the mask and 0 in the intensity.

    Args:
        path: The file.
        key: Name of the array. Default: the place CXI gives it, else an array called intensity, iobs or data, else the
            only array there is.
        index: Part of the first axis of a stack, an integer or a slice; no other part of an HDF5 or npy file is read.
        ndim: Number of axes of one pattern. Default: what the file says, else all axes of an array of one or two;
            three axes may be a stack (2) or a volume (3), which has to be said.
        kind: "intensity", or "magnitude" if the file holds its square root.
        center: Where the file has the zero frequency: "middle" (index m // 2), "corner" (index 0) or its pixel, one
            index per axis. Default: the middle, unless a CXI image says that it is shifted.
        mask_is: What the non-zero pixels of the file's mask are: "measured" or "bad"; "ignored" leaves the mask out.
            Needed where the format and the name do not say (CXI: bad; arrays called measured or valid: measured).
        saturation: Values from here on are not trusted. Integers that reach the largest value of their type never are.
        dtype: Type of the intensity, torch.float32 or torch.float64.

    Returns:
        Measurement: `intensity`, `mask`, and what else the file holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty, truncated, of another kind, or holds pickled objects; if the array is not
            clear, complex, coloured, without a measured pixel, or 0 everywhere.
        MemoryError: if the array is larger than the memory.
        ImportError: if reading this kind of file needs a package that is not installed.

    Example:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = os.path.join(folder, "pattern.npz")
        ...     pr.io.save_intensity(file, pr.operators.fourier_intensity(torch.rand(28, 28), (64, 64)))
        ...     load_intensity(file).fourier_shape
        (64, 64)

    Source:
        Maia (2012), The Coherent X-ray Imaging Data Bank, doi:10.1038/nmeth.2110, and the CXI file format 1.6.
    """
    with opened_pattern(path, Wanted(key, ndim, kind, center, mask_is, saturation, dtype)) as pattern:
        return pattern.read(index)


@dataclass(frozen=True)
class Wanted:
    """What is asked of the file of a pattern; as in `load_intensity`."""

    key: str | None = None
    ndim: int | None = None
    kind: Kind = "intensity"
    center: Place | Sequence[int] | None = None
    mask_is: MaskIs | None = None
    saturation: float | None = None
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class OpenPattern:
    """The pattern or the stack of them in an open file: its shape is known, and any part of it can be read."""

    contents: Contents
    name: str
    shape: tuple[int, ...]
    ndim: int
    told: Told
    wanted: Wanted

    def read(self, index: Index | None = None) -> Measurement:
        """The whole, or that part of the stack."""
        wanted, told, contents = self.wanted, self.told, self.contents
        if index is not None and len(self.shape) <= self.ndim:
            fix = "Only a stack has one"
            _checks.fail(f"index must be None for a single pattern of shape {self.shape}, got {index!r}", fix)
        if told.magnitude is not None and wanted.kind != "magnitude":
            rule = f"kind must be 'magnitude' as {contents.path} says ({told.magnitude}), got {wanted.kind!r}"
            _checks.fail(rule, "Pass kind='magnitude'")
        center = told.center or "middle" if wanted.center is None else wanted.center
        return as_measurement(
            _tensor(contents.read(self.name, index), wanted.dtype),
            mask=self._mask(index),
            support=None if told.support is None else torch.from_numpy(self._beside(told.support, index) != 0),
            obj=None if told.obj is None else _object_tensor(self._beside(told.obj, index)),
            ndim=self.ndim,
            kind=wanted.kind,
            center=center,
            saturation=self._saturation(),
            pixel_size=told.pixel_size,
            wavelength=told.wavelength,
            distance=told.distance,
            source=str(contents.path),
        )

    def part(self, shape: Sequence[int], index: Index | None) -> Index | None:
        """The part of an array beside the stack, one for each pattern or one for all, that goes with its part."""
        if index is None or len(shape) < len(self.shape):
            return None
        if shape[0] == self.shape[0]:
            return index
        return 0 if shape[0] == 1 and isinstance(index, int) else None

    def _beside(self, name: str, index: Index | None) -> np.ndarray[Any, Any]:
        return self.contents.read(name, self.part(self.contents.entry(name).shape, index))

    def _mask(self, index: Index | None) -> Tensor | None:
        """The file's own mask."""
        if self.told.mask is None or self.wanted.mask_is == "ignored":
            return None
        name, said = self.told.mask
        meaning = self.wanted.mask_is or said
        if meaning is None:
            fix = "Pass mask_is='measured', 'bad' or 'ignored'"
            _checks.fail(f"mask_is must say what the non-zero pixels of {name!r} of {self.contents.path} are", fix)
        return _measured(self._beside(name, index), meaning)

    def _saturation(self) -> float | None:
        """The least value that is not trusted: integers at the largest of their type never are."""
        given, dtype = self.wanted.saturation, self.contents.entry(self.name).dtype
        if dtype.kind not in "iu":
            return given
        largest = float(np.iinfo(dtype).max)
        return largest if given is None else min(largest, given)


@contextlib.contextmanager
def opened_pattern(path: str | os.PathLike[str], wanted: Wanted) -> Iterator[OpenPattern]:
    """The pattern in a file, of which no value is read yet."""
    _checks.choice("dtype", wanted.dtype, (torch.float32, torch.float64))
    if wanted.mask_is is not None:
        _checks.choice("mask_is", wanted.mask_is, get_args(MaskIs))
    with opened(path) as contents:
        names = (layout.intensity(contents) for layout in LAYOUTS) if wanted.key is None else (wanted.key,)
        name = next(filter(None, names), None) or contents.only()
        entry = contents.entry(name)
        if entry.color or entry.dtype.kind not in "iufb":
            what, fix = str(entry.dtype), "Name another array with key="
            if entry.color:
                what = "a colour picture"
                fix = "A diffraction pattern is needed; of a picture of the object, make one with fourier_intensity"
            _checks.fail(f"{name!r} of {path} must hold one real number per pixel, got {what}", fix)
        told = Told()
        for layout in LAYOUTS:
            told = told.completed(layout.told(contents, name))
        ndim = _item_axes(f"{name!r} of {path} with the shape {entry.shape}", entry.shape, wanted.ndim, told.ndim)
        yield OpenPattern(contents, name, entry.shape, ndim, told, wanted)


def _item_axes(what: str, shape: tuple[int, ...], asked: int | None, said: int | None) -> int:
    """The number of axes of one pattern: as asked for, else as the file says, else all of one or two."""
    if asked is not None:
        if _checks.item_axes(asked) > len(shape):
            _checks.fail(f"ndim must be at most the number of axes of {what}, got {asked}", "Choose fewer axes")
        return int(asked)
    if said is not None and said <= len(shape):
        return said
    if len(shape) == 3 and shape[0] == 1:
        return 2
    if len(shape) not in (1, 2):
        fix = "Use ndim=2 for a stack of patterns or ndim=3 for volumes"
        _checks.fail(f"ndim must be given for {what}", fix)
    return len(shape)


def load_mask(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    ndim: int = 2,
    center: Place | Sequence[int] = "middle",
    mask_is: Literal["measured", "bad"] = "measured",
) -> Tensor:
    """Read a mask of the detector's pixels, arranged like the intensity of `load_intensity`.

    Args:
        path: The file, of any kind that `load_intensity` reads.
        key: Name of the array. Default: CXI's mask, else an array called measured, valid or mask, else the only one.
        ndim: Number of axes of one pattern. A mask of fewer axes is one for all frames of a volume.
        center: Where the file has the zero frequency: "middle", "corner" or its pixel.
        mask_is: What the non-zero pixels are: "measured" (this library's convention) or "bad" (PyNX's). A CXI mask
            always marks bad ones.

    Returns:
        Boolean tensor, True = measured, the zero frequency at index 0.

    Raises:
        ValueError: as `load_intensity`.
    """
    _checks.choice("mask_is", mask_is, get_args(MaskIs)[:2])
    with opened(path) as contents:
        name = key or contents.first(_cxi.MASK, *_layout.MASKS) or contents.only()
        mask = _measured(contents.read(name), "bad" if _cxi.marks_bad(contents, name) else mask_is)
    axes = min(_checks.item_axes(ndim), mask.ndim)
    if isinstance(center, Sequence) and not isinstance(center, str) and len(center) == ndim:
        center = center[-axes:]
    return to_corner(mask, axes, center)


def load_support(path: str | os.PathLike[str], *, key: str | None = None) -> Tensor:
    """Read a support: True where the object may be non-zero.

    It is not moved: its place on the grid only decides where the object will lie.

    Args:
        path: The file, of any kind that `load_intensity` reads; also a saved reconstruction.
        key: Name of the array. Default: CXI's support, else an array called support, else the only one.

    Returns:
        Boolean tensor of the array's shape: non-zero values are True.

    Raises:
        ValueError: if the array is 0 everywhere, and as `load_intensity`.
    """
    with opened(path) as contents:
        name = key or contents.first(_cxi.SUPPORT, _layout.SUPPORT) or contents.only()
        value = contents.read(name)
    if not value.any():
        _checks.fail(f"{name!r} of {path} must be non-zero somewhere, got 0 everywhere", "Name another array with key=")
    return torch.from_numpy(np.ascontiguousarray(value != 0))


def load_object(path: str | os.PathLike[str], *, key: str | None = None) -> Tensor:
    """Read an object: from a saved reconstruction, of this library or in CXI, an array or a picture.

    Args:
        path: The file, of any kind that `load_intensity` reads. Colour pictures become grey by their luma.
        key: Name of the array. Default: CXI's image, else an array called obj or object, else the only one. In a
            file of a simulated pattern this is the object that it was made from.

    Returns:
        Tensor in single precision (double if the file has it), complex if the file's array is.

    Raises:
        ValueError: if the file holds a pattern and no object, and as `load_intensity`.
    """
    return named_object(path, key)[0]


def named_object(path: str | os.PathLike[str], key: str | None) -> tuple[Tensor, str | None]:
    """`load_object`, and the array's name where it was found beside a pattern (simulated data)."""
    with opened(path) as contents:
        beside_pattern = key is None and contents.first(_cxi.PATTERN, "intensity") is not None
        name = key or contents.first(_cxi.OBJECT, *(() if beside_pattern else (_cxi.LINK,)), *_layout.OBJECTS)
        if name is None and beside_pattern:
            fix = "Reconstruct it first, or name another array with key="
            _checks.fail(f"{path} must hold an object, got a diffraction pattern", fix)
        name = name or contents.only()
        value = contents.read(name)
        if contents.entry(name).color:
            value = value[..., :3] @ np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
    return _object_tensor(value), name if beside_pattern else None


def _tensor(value: np.ndarray[Any, Any], dtype: torch.dtype) -> Tensor:
    """The array in the tensor's type; NumPy converts, since torch does not know all of a file's integer types."""
    numpy_type = torch.empty(0, dtype=dtype).numpy().dtype
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.ascontiguousarray(value, dtype=numpy_type))


def _object_tensor(value: np.ndarray[Any, Any]) -> Tensor:
    if value.dtype.kind == "c":
        return _tensor(value, torch.complex128 if value.dtype.itemsize > 8 else torch.complex64)
    return _tensor(value, torch.float64 if value.dtype == np.float64 else torch.float32)


def _measured(mask: np.ndarray[Any, Any], mask_is: MaskIs) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask != 0 if mask_is == "measured" else _cxi.is_good(mask)))
