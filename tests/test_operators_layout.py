"""pad and crop: between the shape of an object and that of its grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phaseret.operators import crop, fourier_intensity, pad

SHAPES = [((3,), (7,)), ((4,), (4,)), ((3, 4), (5, 8)), ((4, 3), (9, 6)), ((2, 3, 4), (5, 6, 7))]


@pytest.mark.parametrize(("object_shape", "grid"), SHAPES)
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128, torch.bool, torch.int64, torch.bfloat16])
def test_pad_is_zeros_with_the_object_put_in(
    object_shape: tuple[int, ...], grid: tuple[int, ...], centered: bool, dtype: torch.dtype
) -> None:
    obj = (9 * torch.rand(2, *object_shape)).to(dtype)
    expected = torch.zeros(2, *grid, dtype=dtype)
    for index in np.ndindex(*object_shape):
        middle = [m // 2 - n // 2 if centered else 0 for n, m in zip(object_shape, grid, strict=True)]
        place = tuple(i + start for i, start in zip(index, middle, strict=True))
        expected[(slice(None), *place)] = obj[(slice(None), *index)]
    padded = pad(obj, grid, centered=centered)
    assert padded.dtype == dtype
    assert torch.equal(padded, expected)
    assert torch.equal(crop(padded, object_shape, centered=centered), obj)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 6)), min_size=1, max_size=3), st.booleans())
def test_crop_undoes_pad_and_the_far_field_does_not_see_where_the_object_lies(
    sizes: list[tuple[int, int]], centered: bool
) -> None:
    object_shape = tuple(n for n, _ in sizes)
    grid = tuple(2 * n - 1 + more for n, more in sizes)
    obj = torch.rand(2, *object_shape, dtype=torch.float64)
    padded = pad(obj, grid, centered=centered)
    assert torch.equal(crop(padded, object_shape, centered=centered), obj)
    dims = tuple(range(-len(grid), 0))
    measured = torch.fft.fftn(padded, dim=dims, norm="ortho").abs().square()
    torch.testing.assert_close(measured, fourier_intensity(obj, grid))


def test_the_middle_of_the_object_comes_to_the_middle_of_the_grid() -> None:
    for n in range(1, 6):
        for m in range(n, 9):
            obj = torch.zeros(n)
            obj[n // 2] = 1
            assert pad(obj, (m,), centered=True).argmax() == m // 2


def test_pad_and_crop_are_adjoint() -> None:
    obj, field = torch.rand(2, 3, 4, dtype=torch.complex128), torch.rand(2, 6, 9, dtype=torch.complex128)
    for centered in (False, True):
        one = (pad(obj, (6, 9), centered=centered).conj() * field).sum()
        torch.testing.assert_close(one, (obj.conj() * crop(field, (3, 4), centered=centered)).sum())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pad([1.0], (4,)), TypeError, "pad: obj must be a torch.Tensor, got list."),
        (lambda: pad(torch.ones(3, 3), 8), TypeError, "pad: fourier_shape must be a sequence of sizes, got 8."),
        (lambda: pad(torch.ones(3), (8, 8)), ValueError, "pad: obj must have at least 2 axes, got shape (3,)."),
        (lambda: pad(torch.ones(3, 3), (8, 2)), ValueError, "pad: fourier_shape must be at least (3, 3), the shape"),
        (lambda: pad(torch.ones(3), (8,), centered="no"), TypeError, "pad: centered must be True or False, got 'no'."),
        (lambda: crop(None, (4,)), TypeError, "crop: x must be a torch.Tensor, got NoneType."),
        (lambda: crop(torch.ones(3), (2, 2)), ValueError, "crop: x must have at least 2 axes, got shape (3,)."),
        (lambda: crop(torch.ones(3), (0,)), ValueError, "crop: object_shape must hold positive sizes, got (0,)."),
        (lambda: crop(torch.ones(3, 3), (4, 2)), ValueError, "crop: object_shape must be at most (3, 3), the shape of"),
        (lambda: crop(torch.ones(3), (2,), centered=0), TypeError, "crop: centered must be True or False, got 0."),
    ],
)
def test_bad_arguments(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(message)
