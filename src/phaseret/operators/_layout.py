"""Between the shape of an object and that of the grid it is transformed on."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from phaseret import _checks
from phaseret.operators._base import check_grid


def pad(obj: Tensor, fourier_shape: Sequence[int], *, centered: bool = False) -> Tensor:
    """Lay an object out on a larger grid, with zeros around it: as the far-field operators do before the transform.

    By default it lies in the corner, its first pixel at index 0. With `centered` its middle n // 2 comes to the middle
    m // 2 of the grid, where pictures and other programs have it; the far-field intensity is the same for both.

    Args:
        obj: Object, real or complex; or a support, which is boolean.
        fourier_shape: Sizes (m1, ..., md) of the grid; their number says how many axes are padded (1, 2 or 3).
        centered: Put the object in the middle instead of the corner.

    Shape:
        - obj: (*, n1..nd) with m >= n
        - output: (*, m1..md)

    Returns:
        Tensor of the dtype of `obj`.

    Raises:
        TypeError: if obj is not a tensor or fourier_shape not a sequence of integers.
        ValueError: if m < n, or fourier_shape does not hold one to three sizes.

    Example:
        >>> pad(torch.ones(2), (5,)), pad(torch.ones(2), (5,), centered=True)
        (tensor([1., 1., 0., 0., 0.]), tensor([0., 1., 1., 0., 0.]))
    """
    _checks.tensor(obj=obj)
    _checks.flag(centered=centered)
    grid = _checks.shape("fourier_shape", fourier_shape)
    _checks.rank(len(grid), obj=obj)
    shape = obj.shape[-len(grid) :]
    check_grid(grid, shape)
    widths: list[int] = []
    for start, n, m in zip(_corner(shape, grid, centered), shape, grid, strict=True):
        widths = [start, m - n - start, *widths]
    return F.pad(obj, widths)


def crop(x: Tensor, object_shape: Sequence[int], *, centered: bool = False) -> Tensor:
    """Take an object from a larger grid: what :func:`pad` has laid out there.

    Args:
        x: What lies on the grid: an object, or a support.
        object_shape: Sizes (n1, ..., nd) of the object; their number says how many axes are cropped (1, 2 or 3).
        centered: Take the middle instead of the corner.

    Shape:
        - x: (*, m1..md) with m >= n
        - output: (*, n1..nd)

    Returns:
        A view of `x`.

    Raises:
        TypeError: if x is not a tensor or object_shape not a sequence of integers.
        ValueError: if n > m, or object_shape does not hold one to three sizes.

    Example:
        >>> obj = torch.rand(3, 28, 28)
        >>> torch.equal(crop(pad(obj, (64, 64), centered=True), (28, 28), centered=True), obj)
        True
    """
    _checks.tensor(x=x)
    _checks.flag(centered=centered)
    shape = _checks.shape("object_shape", object_shape)
    _checks.rank(len(shape), x=x)
    grid = tuple(x.shape[-len(shape) :])
    if any(n > m for n, m in zip(shape, grid, strict=True)):
        _checks.fail(f"object_shape must be at most {grid}, the shape of the grid, got {shape}", "Use pad to enlarge")
    for axis, (start, n) in enumerate(zip(_corner(shape, grid, centered), shape, strict=True)):
        x = x.narrow(axis - len(shape), start, n)
    return x


def _corner(object_shape: Sequence[int], grid: Sequence[int], centered: bool) -> list[int]:
    """The index on the grid of the object's first pixel."""
    return [m // 2 - n // 2 if centered else 0 for n, m in zip(object_shape, grid, strict=True)]
