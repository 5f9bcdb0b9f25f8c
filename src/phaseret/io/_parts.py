"""Files to tensors: masks, supports and objects."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np
from torch import Tensor

from phaseret import _checks, _memory
from phaseret.io import _cxi, _layout
from phaseret.io._contents import Contents
from phaseret.io._layout import MaskIs
from phaseret.io._load import LAYOUTS, OTHER, OpenPattern, Wanted, object_tensor, opened_pattern
from phaseret.io._masks import as_inside, as_measured, doubts, inside_out, marked, mostly_bad
from phaseret.io._measurement import Place, say_notes, to_corner
from phaseret.io._readers import opened


@contextlib.contextmanager
def _opened_whole(path: str | os.PathLike[str], key: str | None) -> Iterator[Contents]:
    """A file of which all of an array is used, that of the key if there is one."""
    _checks.key(key)
    with opened(path) as contents, _memory.in_memory(str(path), "Use a smaller array"):
        yield contents


def load_mask(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    ndim: int = 2,
    center: Place | Sequence[int] | None = None,
    mask_is: Literal["measured", "bad"] = "measured",
) -> Tensor:
    """Read a mask of the detector's pixels, arranged like the intensity of `load_intensity`.

    Args:
        path: The file, of any kind that `load_intensity` reads.
        key: Name of the array. Default: CXI's mask, else an array called by what its pixels are (measured, valid,
            good, bad, invalid, beamstop) or mask, else the only one that is called so in a group, or the only one.
        ndim: Number of axes of one pattern. A mask of fewer axes is one for all frames of a volume.
        center: Where the file has the zero frequency: "middle", "corner" or its pixel, as the pattern has it. Default:
            what the file says of a pattern in it that the mask fits, else the middle; the file of a mask alone does not
            know it.
        mask_is: What the non-zero pixels are: "measured" (this library's convention) or "bad" (PyNX's). A CXI mask
            always marks bad ones.

    Returns:
        Boolean tensor, True = measured, the zero frequency at index 0.

    Raises:
        ValueError: as `load_intensity`.
    """
    mask, notes = frame_mask(path, key, mask_is)
    axes = min(_checks.item_axes(ndim), mask.ndim)
    if center is None:
        center, about_center = _beside(path, mask, ndim)
        notes += about_center
    say_notes(notes)
    if isinstance(center, Sequence) and not isinstance(center, str) and len(center) == ndim:
        center = tuple(center)[-axes:]
    return to_corner(mask, axes, center)


def _beside(path: str | os.PathLike[str], mask: Tensor, ndim: int) -> tuple[Place | tuple[int, ...], list[str]]:
    """Where the pattern in the file of a mask that fits it has its zero frequency, and what is to be asked about it."""
    with contextlib.suppress(ValueError), opened_pattern(path, Wanted(ndim=ndim, mask_is="ignored")) as pattern:
        axes = min(ndim, mask.ndim)
        if isinstance(pattern, OpenPattern) and pattern.shape[-axes:] == tuple(mask.shape[-axes:]):
            return pattern.origin()
    return "middle", []


def frame_mask(path: str | os.PathLike[str], key: str | None, mask_is: MaskIs) -> tuple[Tensor, list[str]]:
    """The mask as it lies in the frame, True = measured, and what is to be asked about it."""
    _checks.choice("mask_is", mask_is, get_args(MaskIs)[:2])
    with _opened_whole(path, key) as contents:
        inside = _layout.mask_in(contents, contents.where(key).strip("/")) if key and contents.children(key) else None
        key = inside[0] if inside else key
        name = key or contents.first(_cxi.MASK, *contents.called("", _layout.MASKS)) or contents.only(_layout.MASKS)
        value, fix = marked(contents, name), f"use mask_is={OTHER[mask_is]!r}"
        if _cxi.marks_bad(contents, name):
            value, mask_is = _cxi.without_good_bits(contents, name, value), "bad"
            fix = "save it as a plain array, of which that can be said"
        mask = as_measured(value, mask_is)
        said = [*doubts(name, value, mask_is)] or [*mostly_bad(f"the mask {name!r} of {contents.path}", mask, fix)]
        return mask, [*contents.noted(name), *said]


def load_support(path: str | os.PathLike[str], *, key: str | None = None) -> Tensor:
    """Read a support: True where the object may be non-zero.

    It is not moved: its place on the grid only decides where the object will lie.

    Args:
        path: The file, of any kind that `load_intensity` reads; also a saved reconstruction.
        key: Name of the array. Default: CXI's support, else an array called support, else the only one that is called
            so in a group, or the only one.

    Returns:
        Boolean tensor of the array's shape, without the axes of one around a picture: non-zero values are True.

    Raises:
        ValueError: if the array is 0 everywhere, and as `load_intensity`.
    """
    with _opened_whole(path, key) as contents:
        name = key or contents.first(_cxi.SUPPORT, _layout.SUPPORT) or contents.only((_layout.SUPPORT,))
        value = marked(contents, name)
        say_notes([*contents.noted(name), *doubts(name, value, None)])
    inside = as_inside(value)
    if sum(size > 1 for size in inside.shape) > 1:
        inside = inside.squeeze()
    if not bool(inside.any()):
        what = f"support must be non-zero somewhere, got 0 everywhere in {name!r} of {path}"
        _checks.fail(what, "Name another array with key=")
    say_notes(inside_out(f"the support {name!r} of {path}", inside))
    return inside


def load_object(path: str | os.PathLike[str], *, key: str | None = None) -> Tensor:
    """Read an object: from a saved reconstruction, of this library or in CXI, an array or a picture.

    Args:
        path: The file, of any kind that `load_intensity` reads. Colour pictures become grey by their luma.
        key: Name of the array. Default: CXI's image, else an array called obj or object, else the only one that is
            called so in a group, or the only one. In a file of a simulated pattern this is the object that it was made
            from.

    Returns:
        Tensor in single precision (double if the file has it), complex if the file's array is.

    Raises:
        ValueError: if the file holds a pattern and no object, and as `load_intensity`.
    """
    return named_object(path, key)[0]


def named_object(path: str | os.PathLike[str], key: str | None) -> tuple[Tensor, str | None, int | None]:
    """`load_object`, the array's name where it was found beside a pattern (simulated data), and the axes of one object.

    The number of axes is what the file says of it, or all axes of an array of one or two; None where nobody knows.
    """
    with _opened_whole(path, key) as contents:
        beside_pattern = key is None and contents.first(_cxi.PATTERN, "intensity") is not None
        name = key or contents.first(_cxi.OBJECT, *(() if beside_pattern else (_cxi.LINK,)), *_layout.OBJECTS)
        if name is None and beside_pattern:
            fix = "Reconstruct it first, or name another array with key="
            _checks.fail(f"{path} must hold an object, got a diffraction pattern", fix)
        name = name or contents.only(_layout.OBJECTS)
        value = contents.read(name)
        say_notes(contents.noted(name))
        if contents.entry(name).color:
            luma = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601; of grey and alpha the grey
            value = value[..., :3] @ luma if value.shape[-1] > 2 else value[..., 0]
        said = next(filter(None, (layout.told(contents, name).ndim for layout in LAYOUTS)), None)
        known = said if said and said <= value.ndim else value.ndim if value.ndim < 3 else None
        return object_tensor(contents, name, value), name if beside_pattern else None, known
