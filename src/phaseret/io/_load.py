"""Files to tensors: patterns, masks, supports and objects."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from phaseret import _checks
from phaseret.io._files import Contents, Entry, Index, as_text, opened
from phaseret.io._measurement import Measurement, check_ndim, measure, to_corner

INSTRUMENT, IMAGE, DATA = "entry_1/instrument_1", "entry_1/image_1", "entry_1/data_1"
DETECTOR = f"{INSTRUMENT}/detector_1"
RESULTS = f"{IMAGE}/process_1/results/"
PLANCK_LIGHT = 6.62607015e-34 * 299792458.0  # h c in J m, exact in the SI
# Bits of a CXI mask that say something good of a pixel: it has signal, it lies in the support.
CXI_HAS_SIGNAL, CXI_INSIDE_SUPPORT = 0x1000, 0x10000
_INTERPRETATIONS = {"spectrum": 1, "image": 2, "scaler": 3, "scalar": 3}
_GEOMETRY = ("wavelength", "distance", "pixel_size", "fourier_shape", "ndim")
_MASK_MEANINGS = ("measured", "bad", "ignored")


def load_intensity(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    index: Index | None = None,
    ndim: int | None = None,
    kind: str = "intensity",
    center: str | Sequence[int] | None = None,
    mask_is: str | None = None,
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
    _checks.choice("dtype", dtype, (torch.float32, torch.float64))
    with opened(path) as contents:
        name = _data_name(contents, key)
        entry = _pattern(contents, name)
        axes = _item_axes(contents, name, entry.shape, ndim)
        if index is not None and len(entry.shape) <= axes:
            _checks.fail(
                f"index must be None for a single pattern of shape {entry.shape}, got {index!r}",
                "Only a stack has one",
            )
        _check_kind(contents, name, kind)
        values = contents.read(name, index)
        mask = _file_mask(contents, name, axes, entry.shape, index, mask_is)
        if entry.dtype.kind in "iu":
            largest = float(np.iinfo(entry.dtype).max)
            saturation = largest if saturation is None else min(largest, saturation)
        if center is None:
            shifted = name.startswith(f"{IMAGE}/") and contents.number(f"{IMAGE}/is_fft_shifted") == 1
            center = "corner" if shifted else "middle"
        batch = entry.shape[: len(entry.shape) - axes]
        support = _beside(contents, [f"{IMAGE}/support", "support"], batch, index)
        obj = _beside(contents, ["obj"] if name.startswith(f"{IMAGE}/") else [f"{IMAGE}/data", "obj"], batch, index)
        facts = _geometry(contents)
    return measure(
        _tensor(values, dtype),
        mask,
        ndim=axes,
        kind=kind,
        center=center,
        saturation=saturation,
        support=None if support is None else torch.from_numpy(support != 0),
        obj=None if obj is None else _object_tensor(obj),
        source=str(path),
        **facts,
    )


def pattern_axes(path: str | os.PathLike[str], *, key: str | None, ndim: int | None) -> tuple[tuple[int, ...], int]:
    """The shape of the intensity in a file, and how many of its last axes are one pattern; reads no values."""
    with opened(path) as contents:
        name = _data_name(contents, key)
        shape = _pattern(contents, name).shape
        return shape, _item_axes(contents, name, shape, ndim)


def load_mask(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    ndim: int = 2,
    center: str | Sequence[int] = "middle",
    mask_is: str = "measured",
) -> Tensor:
    """Read a mask of the detector's pixels, arranged like the intensity of `load_intensity`.

    Args:
        path: The file, of any kind that `load_intensity` reads.
        key: Name of the array. Default: CXI's mask, else an array called measured, valid or mask, else the only one.
        ndim: Number of axes of one pattern.
        center: Where the file has the zero frequency: "middle", "corner" or its pixel.
        mask_is: What the non-zero pixels are: "measured" (this library's convention) or "bad" (PyNX's). A CXI mask
            always marks bad ones.

    Returns:
        Boolean tensor, True = measured, the zero frequency at index 0.

    Raises:
        ValueError: as `load_intensity`.
    """
    _checks.choice("mask_is", mask_is, _MASK_MEANINGS[:2])
    with opened(path) as contents:
        name = key or _known(contents, f"{DETECTOR}/mask", "measured", "valid", "mask") or _only_array(contents)
        value = contents.read(name)
        measured = _measured(value, "bad" if _is_cxi(contents, name) else mask_is)
    ndim = check_ndim(ndim, measured.shape)
    return to_corner(torch.from_numpy(measured), ndim, center)


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
        name = key or _known(contents, f"{IMAGE}/support", "support") or _only_array(contents)
        value = contents.read(name)
    if not value.any():
        _checks.fail(f"{name!r} of {path} must be non-zero somewhere, got 0 everywhere", "Name another array with key=")
    return torch.from_numpy(np.ascontiguousarray(value != 0))


def load_object(path: str | os.PathLike[str], *, key: str | None = None) -> Tensor:
    """Read an object: from a saved reconstruction, of this library or in CXI, an array or a picture.

    Args:
        path: The file, of any kind that `load_intensity` reads. Colour pictures become grey by their luma.
        key: Name of the array. Default: CXI's image, else an array called obj or object, else the only one. Of a file
            of a simulated pattern this is the object that it was made from.

    Returns:
        Tensor in single precision (double if the file has it), complex if the file's array is.

    Raises:
        ValueError: if the file holds a pattern and no object, and as `load_intensity`.
    """
    with opened(path) as contents:
        name = key or _object_name(contents)
        entry = _entry(contents, name)
        value = contents.read(name)
        if entry.color:
            value = value[..., :3] @ np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
    return _object_tensor(value)


def pattern_object(path: str | os.PathLike[str]) -> str | None:
    """The name of the object that a file of a pattern holds beside it (simulated data); None of other files."""
    with opened(path) as contents:
        return _object_name(contents) if _holds_pattern(contents) else None


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
        if contents.format == "HDF5":
            names = {name.removeprefix(RESULTS): name for name in contents.entries if name.startswith(RESULTS)}
            names |= {"obj": f"{IMAGE}/data", "support": f"{IMAGE}/support"}
        else:
            names = {name: name for name in contents.entries if name not in _GEOMETRY}
        if contents.lookup(names.get("obj", "obj")) is None:
            fix = "Write it with save_reconstruction"
            _checks.fail(f"{path} must hold a reconstruction, got no array 'obj'", fix)
        for field, name in names.items():
            entry = contents.lookup(name)
            if entry is not None and entry.dtype.names is None:
                value = contents.read(name)
                fields[field] = value != 0 if field == "support" else value
    plain = {as_text(name) for name in fields.pop("plain", np.empty(0)).reshape(-1)}
    renamed = {"iterations": "checked"} if plain else {}  # what files of this library called it first
    return {renamed.get(field, field): _as_saved(value, field in plain) for field, value in fields.items()}


def _as_saved(value: np.ndarray[Any, Any], plain: bool) -> Any:
    """A text, a number or a list of them, or a tensor."""
    if value.dtype.kind in "OSU":
        return as_text(value)
    return value.tolist() if plain else torch.from_numpy(np.array(value, order="C"))


def _entry(contents: Contents, name: str) -> Entry:
    entry = contents.lookup(name)
    if entry is None:
        contents.no_such_array(name)
    return entry


def _pattern(contents: Contents, name: str) -> Entry:
    """The entry of an intensity."""
    entry = _entry(contents, name)
    if entry.color or entry.dtype.kind not in "iufb":
        what, fix = str(entry.dtype), "Name another array with key="
        if entry.color:
            what = "a colour picture"
            fix = "A diffraction pattern is needed; of a picture of the object, make one with fourier_intensity"
        _checks.fail(f"{name!r} of {contents.path} must hold one real number per pixel, got {what}", fix)
    return entry


def _tensor(value: np.ndarray[Any, Any], dtype: torch.dtype) -> Tensor:
    """The array in the tensor's type; NumPy converts, since torch does not know all of a file's integer types."""
    numpy_type = torch.empty(0, dtype=dtype).numpy().dtype
    with np.errstate(over="ignore"):
        return torch.from_numpy(np.ascontiguousarray(value, dtype=numpy_type))


def _object_tensor(value: np.ndarray[Any, Any]) -> Tensor:
    if value.dtype.kind == "c":
        return _tensor(value, torch.complex128 if value.dtype.itemsize > 8 else torch.complex64)
    return _tensor(value, torch.float64 if value.dtype == np.float64 else torch.float32)


def _known(contents: Contents, *names: str) -> str | None:
    """The first of the names that the file has an array of."""
    for name in names:
        entry = contents.lookup(name)
        if entry is not None and entry.shape:
            return name
    return None


def _beside(
    contents: Contents, names: Sequence[str], batch: tuple[int, ...], index: Index | None
) -> np.ndarray[Any, Any] | None:
    """An array that goes with the patterns, the first of the names: one for all, or that part of one each."""
    name = _known(contents, *names)
    if name is None:
        return None
    one_each = bool(batch) and _entry(contents, name).shape[: len(batch)] == batch
    return contents.read(name, index if one_each else None)


def _holds_pattern(contents: Contents) -> bool:
    return _known(contents, f"{DETECTOR}/data", "intensity") is not None


def _object_name(contents: Contents) -> str:
    """The name of the object; a pattern is not taken for one."""
    if not _holds_pattern(contents):
        name = _known(contents, f"{IMAGE}/data", f"{DATA}/data", "obj", "object")
        return name or _only_array(contents)
    name = _known(contents, f"{IMAGE}/data", "obj", "object")
    if name is None:
        fix = "Reconstruct it first, or name another array with key="
        _checks.fail(f"{contents.path} must hold an object, got a diffraction pattern", fix)
    return name


def _only_array(contents: Contents) -> str:
    names = list(contents.arrays)
    if len(names) != 1:
        _checks.fail(f"key must say which array of {contents.path} to read, got None", contents.listing())
    return names[0]


def _data_name(contents: Contents, key: str | None) -> str:
    """The name of the intensity."""
    if key is not None:
        return key
    for name in (f"{DETECTOR}/data", f"{IMAGE}/data", f"{DATA}/data"):
        entry = contents.lookup(name)
        real_space = name != f"{DETECTOR}/data" and contents.text(f"{IMAGE}/data_space") == "real"
        if entry is not None and (entry.dtype.kind == "c" or real_space):
            fix = "Read it with load_object, or name another array with key="
            _checks.fail(f"{contents.path} must hold an intensity, got an object in {name!r}", fix)
        if entry is not None:
            return name
    numbers = [name for name, entry in contents.arrays.items() if entry.dtype.kind in "iuf"]
    preferred = [name for name in ("intensity", "iobs", "data") if name in numbers]
    if preferred:
        return preferred[0]
    return numbers[0] if len(numbers) == 1 else _only_array(contents)


def _item_axes(contents: Contents, name: str, shape: tuple[int, ...], ndim: int | None) -> int:
    """The number of axes of one pattern: as asked for, else as the file says, else all of one or two."""
    if ndim is not None:
        return check_ndim(ndim, shape)
    said = contents.number("ndim") or _INTERPRETATIONS.get(
        contents.attribute(name.rpartition("/")[0], "interpretation") or contents.attribute(DATA, "interpretation")
    )
    if said is not None and said <= len(shape):
        return int(said)
    if len(shape) == 3 and shape[0] == 1:
        return 2
    if len(shape) not in (1, 2):
        fix = "Use ndim=2 for a stack of patterns or ndim=3 for volumes"
        _checks.fail(f"ndim must be given for {name!r} of {contents.path} with the shape {shape}", fix)
    return len(shape)


def _check_kind(contents: Contents, name: str, kind: str) -> None:
    """The file does not say the opposite of the caller."""
    said = contents.text(f"{IMAGE}/data_type") if name.startswith(f"{IMAGE}/") else ""
    if said == "unphased amplitude" and kind != "magnitude":
        _checks.fail(
            f"kind must be 'magnitude' as {contents.path} says ({said}), got {kind!r}", "Pass kind='magnitude'"
        )


def _is_cxi(contents: Contents, name: str) -> bool:
    return contents.format == "HDF5" and ("/image_" in name or "/detector_" in name)


def _measured(value: np.ndarray[Any, Any], mask_is: str) -> np.ndarray[Any, Any]:
    if mask_is == "measured":
        return np.ascontiguousarray(value != 0)
    if value.dtype.kind in "iu":
        value = value.astype(np.int64) & ~(CXI_HAS_SIGNAL | CXI_INSIDE_SUPPORT)
    return np.ascontiguousarray(value == 0)


def _file_mask(
    contents: Contents,
    name: str,
    axes: int,
    shape: tuple[int, ...],
    index: Index | None,
    mask_is: str | None,
) -> Tensor | None:
    """The file's own mask of the intensity called `name`."""
    if mask_is is not None:
        _checks.choice("mask_is", mask_is, _MASK_MEANINGS)
    beside = f"{name.rpartition('/')[0]}/" if "/" in name else ""
    if contents.format == "HDF5" and beside == f"{DATA}/":
        beside = f"{DETECTOR}/"
    clear = _known(contents, f"{beside}measured", f"{beside}valid")
    found = clear or _known(contents, f"{beside}mask")
    if found is None or mask_is == "ignored":
        return None
    meaning = mask_is or ("measured" if clear else "bad" if _is_cxi(contents, found) else None)
    if meaning is None:
        fix = "Pass mask_is='measured', 'bad' or 'ignored'"
        _checks.fail(f"mask_is must say what the non-zero pixels of {found!r} of {contents.path} are", fix)
    whole = _entry(contents, found).shape == shape and len(shape) > axes
    value = contents.read(found, index if whole else None)
    return torch.from_numpy(_measured(value, meaning))


def _geometry(contents: Contents) -> dict[str, Any]:
    """Wavelength, distance and pixel size in metres, as far as the file holds them."""
    wavelength = contents.number(
        f"{INSTRUMENT}/source_1/wavelength", f"{INSTRUMENT}/beam_1/incident_wavelength", "wavelength"
    )
    energy = contents.number(f"{INSTRUMENT}/source_1/energy", f"{INSTRUMENT}/beam_1/incident_energy")
    if wavelength is None and energy:
        wavelength = PLANCK_LIGHT / energy
    sizes = [contents.number(f"{DETECTOR}/{axis}_pixel_size") for axis in "yx"]
    given = [size for size in sizes if size]
    pixel_size = (sizes[0] or given[0], sizes[1] or given[0]) if given else None
    stored = contents.lookup("pixel_size")
    if stored is not None and stored.shape in ((), (2,)):
        values = contents.read("pixel_size").reshape(-1)
        pixel_size = (float(values[0]), float(values[-1]))
    return {
        "wavelength": wavelength or None,
        "distance": contents.number(f"{DETECTOR}/distance", "distance") or None,
        "pixel_size": pixel_size,
    }
