"""Tests of the group elements: shift, conj_flip, global_phase, subpixel_shift, Symmetry and RandomSymmetry."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from phaseret.operators import fourier_magnitude
from phaseret.symmetry import (
    ConjFlip,
    GlobalPhase,
    RandomSymmetry,
    Shift,
    SubpixelShift,
    Symmetry,
    conj_flip,
    global_phase,
    shift,
    subpixel_shift,
)

# (object shape, padded grid): 1D, 2D and 3D, odd and even.
GRIDS = [((5,), (9,)), ((4,), (8,)), ((3, 4), (6, 7)), ((4, 3), (7, 6)), ((2, 3, 4), (3, 6, 7)), ((3, 2, 1), (5, 4, 2))]
DTYPES = (torch.float64, torch.complex128)


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


def some_symmetry(batch: tuple[int, ...], n: tuple[int, ...], m: tuple[int, ...], *, real: bool) -> Symmetry:
    shifts = torch.stack([torch.randint(-size, size, batch) for size in m], dim=-1)
    turn = torch.rand(batch, dtype=torch.float64)
    return Symmetry(shifts, turn < 0.5, math.pi * (turn * 8).round() if real else 7 * turn, n, m)


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), GRIDS)
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16, torch.bool, torch.int32])
def test_shift_is_numpy_roll_for_all_items_and_for_each(
    n: tuple[int, ...], m: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> None:
    obj = (random(2, 3, *n) * 3).to(dtype)
    padded = np.pad(obj.numpy(), [(0, 0), (0, 0), *[(0, b - a) for a, b in zip(n, m, strict=True)]])
    axes = tuple(range(len(n)))
    moves = torch.stack([torch.randint(-9, 9, (2, 3)) for _ in n], dim=-1)
    for array, shape in ((obj.numpy(), None), (padded, m)):
        one = shift(obj.to(device), moves[0, 0].tolist(), fourier_shape=shape)
        assert one.dtype == dtype
        np.testing.assert_array_equal(one.cpu(), np.roll(array, moves[0, 0].tolist(), [a + 2 for a in axes]))
        same = shift(obj.to(device), moves[0, 0].to(device), fourier_shape=shape)
        assert torch.equal(same, one)
        each = shift(obj.to(device), moves.to(device), fourier_shape=shape).cpu()
        for i in np.ndindex(2, 3):
            np.testing.assert_array_equal(each[i], np.roll(array[i], moves[i].tolist(), axes))


@pytest.mark.parametrize("n", [n for n, _ in GRIDS])
@pytest.mark.parametrize("dtype", DTYPES)
def test_conj_flip_reverses_and_conjugates(n: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    obj = random(3, *n, dtype=dtype)
    expected = np.stack([np.conj(np.flip(item)) for item in obj.numpy()])
    np.testing.assert_array_equal(conj_flip(obj.to(device), ndim=len(n)).cpu(), expected)


def test_global_phase_multiplies_every_item_by_its_factor(device: torch.device) -> None:
    obj, theta = random(2, 3, 4, dtype=torch.complex128), torch.tensor([0.3, -2.0], dtype=torch.float64)
    expected = obj.numpy() * np.exp(1j * theta.numpy())[:, None, None]
    np.testing.assert_allclose(global_phase(obj.to(device), theta.to(device)).cpu(), expected)
    np.testing.assert_allclose(global_phase(obj.to(device), 0.7).cpu(), obj.numpy() * np.exp(0.7j))
    np.testing.assert_allclose(global_phase(obj.real, math.pi), -obj.real.numpy(), atol=1e-15)


@pytest.mark.parametrize(
    ("given_", "result"),
    [(torch.float16, torch.complex64), (torch.bfloat16, torch.complex64), (torch.float64, torch.complex128)],
)
def test_global_phase_is_computed_in_single_precision_or_more(given_: torch.dtype, result: torch.dtype) -> None:
    assert global_phase(torch.ones(3).to(given_), torch.tensor(0.5).to(torch.float16)).dtype == result


@pytest.mark.parametrize(("n", "m"), GRIDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_subpixel_shift_of_whole_pixels_is_shift(
    n: tuple[int, ...], m: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> None:
    obj = random(2, *n, dtype=dtype).to(device)
    moves = torch.stack([torch.randint(-9, 9, (2,)) for _ in n], dim=-1).to(device)
    for shape in (None, m):
        torch.testing.assert_close(
            subpixel_shift(obj, moves.double(), fourier_shape=shape), shift(obj, moves, fourier_shape=shape)
        )
        several = [float(v) for v in moves[0]]
        torch.testing.assert_close(
            subpixel_shift(obj, several, fourier_shape=shape), shift(obj, moves[0].tolist(), fourier_shape=shape)
        )


@pytest.mark.parametrize("m", [(7,), (8,), (5, 6)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_subpixel_shift_interpolates_with_the_dirichlet_kernel(m: tuple[int, ...], dtype: torch.dtype) -> None:
    obj, move = random(*m, dtype=dtype), [0.3, -1.7][: len(m)]
    expected = obj.numpy()
    for axis, (size, s) in enumerate(zip(m, move, strict=True)):
        k = np.arange(-((size - 1) // 2), (size - 1) // 2 + 1)
        distance = np.arange(size)[:, None] - np.arange(size) - s
        kernel = np.exp(2j * np.pi * distance[..., None] * k / size).sum(-1).real
        if size % 2 == 0:
            kernel = kernel + np.cos(np.pi * s) * np.cos(np.pi * (np.arange(size)[:, None] - np.arange(size)))
        expected = np.moveaxis(np.tensordot(kernel / size, expected, (1, axis)), 0, axis)
    np.testing.assert_allclose(subpixel_shift(obj, move), expected, atol=1e-12)


# --- properties ------------------------------------------------------------------------------------------------------

grids = st.sampled_from(GRIDS)
dtypes = st.sampled_from(DTYPES)


@given(grids, dtypes, st.lists(st.integers(-20, 20), min_size=3, max_size=3))
def test_magnitude_is_invariant_to_shift(
    grid: tuple[tuple[int, ...], tuple[int, ...]], dtype: torch.dtype, moves: list[int]
) -> None:
    n, m = grid
    obj = random(2, *n, dtype=dtype)
    moved = shift(obj, moves[: len(n)], fourier_shape=m)
    expected = fourier_magnitude(obj, m)
    np.testing.assert_allclose(abs(np.fft.fftn(moved, axes=range(1, len(m) + 1), norm="ortho")), expected, atol=1e-12)


@given(grids, dtypes)
def test_magnitude_is_invariant_to_conj_flip(grid: tuple[tuple[int, ...], tuple[int, ...]], dtype: torch.dtype) -> None:
    n, _ = grid
    m = tuple(2 * size for size in n)
    obj = random(2, *n, dtype=dtype)
    torch.testing.assert_close(fourier_magnitude(conj_flip(obj, ndim=len(n)), m), fourier_magnitude(obj, m))


def test_flip_without_conjugate_is_no_symmetry_of_a_complex_object() -> None:
    obj = random(5, 5, dtype=torch.complex128)
    assert not fourier_magnitude(obj.flip(0, 1), (9, 9)).allclose(fourier_magnitude(obj, (9, 9)), rtol=0.1)


@given(st.floats(-10, 10))
def test_magnitude_is_invariant_to_global_phase(theta: float) -> None:
    obj = random(4, 5, dtype=torch.complex128)
    torch.testing.assert_close(fourier_magnitude(global_phase(obj, theta), (8, 9)), fourier_magnitude(obj, (8, 9)))


@given(grids, dtypes, st.integers(0, 99))
def test_symmetries_form_a_group(grid: tuple[tuple[int, ...], tuple[int, ...]], dtype: torch.dtype, seed: int) -> None:
    torch.manual_seed(seed)
    n, m = grid
    real = not dtype.is_complex
    obj = random(2, 3, *n, dtype=dtype)
    g, h, k = (some_symmetry((2, 3), n, m, real=real) for _ in range(3))
    padded = shift(obj, [0] * len(n), fourier_shape=m)
    torch.testing.assert_close((g @ h)(obj), g(h(obj)))
    torch.testing.assert_close(((g @ h) @ k)(obj), (g @ (h @ k))(obj))
    torch.testing.assert_close(g.inverse()(g(obj)), padded)
    torch.testing.assert_close((g @ g.inverse())(obj), padded)
    torch.testing.assert_close(g.inverse().inverse()(obj), g(obj))
    assert g(obj).dtype == dtype
    again = g.inverse().shifts
    size = torch.tensor(m)
    assert ((again >= -((size - 1) // 2)) & (again <= size // 2)).all()


@given(grids, dtypes, st.integers(0, 99))
def test_symmetry_is_flip_then_shift_then_phase_item_by_item(
    grid: tuple[tuple[int, ...], tuple[int, ...]], dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    n, m = grid
    obj = random(3, *n, dtype=dtype)
    g = some_symmetry((3,), n, m, real=not dtype.is_complex)
    for item, moves, flipped, theta, result in zip(obj, g.shifts, g.flipped, g.phase, g(obj), strict=True):
        expected = conj_flip(item, ndim=len(n)) if flipped else item
        expected = global_phase(shift(expected, moves.tolist(), fourier_shape=m), float(theta))
        torch.testing.assert_close(result + 0j, expected)


def test_one_symmetry_acts_on_all_items() -> None:
    g = Symmetry(torch.tensor([1, 2]), torch.tensor(True), torch.tensor(0.5), (3, 4), (5, 7))
    obj = random(2, 3, 4, dtype=torch.complex128)
    torch.testing.assert_close(g(obj), torch.stack([g(item) for item in obj]))


def test_a_subpixel_shift_of_any_length_keeps_its_digits() -> None:
    obj = torch.rand(8, 8)
    far = subpixel_shift(obj, (2.0**40 + 1, -(2.0**33) + 3.25))
    torch.testing.assert_close(far, subpixel_shift(obj, (1.0, 3.25)))


@given(grids, st.floats(-3, 3))
def test_subpixel_shift_keeps_all_magnitudes_of_odd_grids(
    grid: tuple[tuple[int, ...], tuple[int, ...]], move: float
) -> None:
    n, _ = grid
    odd = tuple(2 * size + 1 for size in n)
    moved = subpixel_shift(random(2, *n), [move] * len(n), fourier_shape=odd)
    torch.manual_seed(0)
    back = subpixel_shift(moved, [-move] * len(n))
    magnitude = [abs(np.fft.fftn(x, axes=range(1, len(n) + 1))) for x in (moved, back)]
    np.testing.assert_allclose(*magnitude, atol=1e-10)


@given(grids, dtypes, st.booleans(), st.booleans(), st.sampled_from([True, False, 1]), st.sampled_from([None, True]))
def test_random_symmetry_keeps_the_magnitude(
    grid: tuple[tuple[int, ...], tuple[int, ...]],
    dtype: torch.dtype,
    pad: bool,
    flip: bool,
    move: bool | int,
    phase: bool | None,
) -> None:
    n, m = grid
    obj = torch.zeros(4, *n, dtype=dtype)
    obj[(..., *[slice(size // 3, None) for size in n])] = 1 + torch.rand(4, *[s - s // 3 for s in n]).to(dtype)
    transform = RandomSymmetry(move, flip, phase, ndim=len(n), fourier_shape=m if pad else None)
    moved = transform(obj)
    assert moved.shape == (4, *(m if pad else n))
    assert moved.dtype == dtype
    big = tuple(2 * size for size in m)
    axes = range(1, len(n) + 1)
    before, after = (abs(np.fft.fftn(x.numpy(), s=m if pad else big, axes=axes)) for x in (obj, moved))
    np.testing.assert_allclose(before, after, atol=1e-10)


def test_random_symmetry_reaches_all_places_and_both_orientations_and_stays_inside() -> None:
    obj = torch.zeros(400, 5, 6)
    obj[:, 1:3, 2:5] = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    moved = RandomSymmetry()(obj)
    assert torch.equal(moved.sum((1, 2)), obj.sum((1, 2)))
    places = {(int(i[0]), int(i[1])) for i in (moved == 6).nonzero()[:, 1:]}
    # 4 x 4 places of a 2 x 3 content; its last corner, or after a flip its first one.
    assert places == {(i, j) for i in range(5) for j in range(6)} - {(0, 4), (0, 5), (4, 0), (4, 1)}
    assert 120 < int((moved.flatten(1).argmax(1) < moved.flatten(1).ne(0).int().argmax(1) + 1).sum()) < 280
    assert torch.equal(RandomSymmetry(shift=False, flip=False)(obj), obj)
    few = RandomSymmetry(shift=(1, 0), flip=False)(obj)
    assert {(int(i[0]), int(i[1])) for i in (few == 6).nonzero()[:, 1:]} == {(1, 4), (2, 4), (3, 4)}


def test_random_symmetry_on_the_padded_grid_reaches_every_shift() -> None:
    drawn = RandomSymmetry(fourier_shape=(4, 5)).draw(torch.ones(500, 2, 2))
    assert {tuple(s) for s in drawn.shifts.tolist()} == {(i, j) for i in range(-1, 3) for j in range(-2, 3)}
    drawn = RandomSymmetry(shift=1, fourier_shape=(4, 5)).draw(torch.ones(500, 2, 2))
    assert {tuple(s) for s in drawn.shifts.tolist()} == {(i, j) for i in range(-1, 2) for j in range(-1, 2)}


def test_random_symmetry_changes_the_sign_of_real_objects_only_on_request() -> None:
    obj = torch.ones(200, 3, 3)
    assert (RandomSymmetry()(obj) == 1).all()
    signs = RandomSymmetry(phase=True)(obj)[:, 0, 0]
    assert 60 < int((signs == -1).sum()) < 140
    assert (signs.abs() == 1).all()


def test_random_symmetry_repeats_with_the_same_seed() -> None:
    obj = torch.zeros(20, 9, 9)
    obj[:, 3:5, 2:4] = torch.rand(20, 2, 2)
    results = [RandomSymmetry(generator=torch.Generator().manual_seed(s))(obj) for s in (1, 1, 2)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_empty_and_full_objects_do_not_move() -> None:
    assert torch.equal(RandomSymmetry()(torch.zeros(4, 5, 5)), torch.zeros(4, 5, 5))
    assert torch.equal(RandomSymmetry(flip=False)(torch.ones(4, 5, 5)), torch.ones(4, 5, 5))


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [((3,), (5,)), ((2, 2), (3, 4)), ((1, 2, 2), (1, 2, 3))])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients(n: tuple[int, ...], m: tuple[int, ...], dtype: torch.dtype) -> None:
    obj = random(2, *n, dtype=dtype).requires_grad_()
    moves = torch.stack([torch.randint(-9, 9, (2,)) for _ in n], dim=-1)
    fractions = random(2, len(n)).requires_grad_()
    theta = random(2).requires_grad_()
    g = some_symmetry((2,), n, m, real=not dtype.is_complex)
    for function, inputs in (
        (lambda x: shift(x, moves, fourier_shape=m), (obj,)),
        (lambda x: conj_flip(x, ndim=len(n)), (obj,)),
        (global_phase, (obj, theta)),
        (lambda x, s: subpixel_shift(x, s, fourier_shape=m), (obj, fractions)),
        (g, (obj,)),
    ):
        assert gradcheck(function, inputs, fast_mode=True)
        assert gradgradcheck(function, inputs, fast_mode=True)


# --- errors ----------------------------------------------------------------------------------------------------------

X = torch.ones(2, 3, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: shift([1], (1,)), TypeError, "shift: obj must be a torch.Tensor, got list. Use torch.as_tensor."),
        (
            lambda: shift(X, 3),
            TypeError,
            "shift: shifts must be a sequence of integers or a tensor, got 3. Use a tuple such as (1, 0).",
        ),
        (
            lambda: shift(X, (0.5, 1)),
            TypeError,
            "shift: shifts must be integers, got (0.5, 1). Use subpixel_shift for fractions of a pixel.",
        ),
        (
            lambda: shift(X, torch.ones(2)),
            TypeError,
            "shift: shifts must be integers, got torch.float32. Use subpixel_shift for fractions of a pixel.",
        ),
        (lambda: shift(X, ()), ValueError, "shift: shifts must have one to three entries, got (). One for each axis."),
        (
            lambda: shift(torch.ones(1, 1, 1, 1), torch.zeros(4).long()),
            ValueError,
            "shift: shifts must have the shape (*, d) with d = 1, 2 or 3, got (4,). One integer for each axis.",
        ),
        (
            lambda: shift(X, torch.tensor(1)),
            ValueError,
            "shift: shifts must have the shape (*, d) with d = 1, 2 or 3, got (). One integer for each axis.",
        ),
        (
            lambda: shift(X[0, 0], (1, 2)),
            ValueError,
            "shift: obj must have at least 2 axes, got shape (4,). Add one with unsqueeze(0).",
        ),
        (
            lambda: shift(X[:0], (1, 2)),
            ValueError,
            "shift: obj must hold at least one element, got shape (0, 3, 4). Leave out empty batches.",
        ),
        (
            lambda: shift(X, torch.ones(3, 2, dtype=torch.long)),
            ValueError,
            "shift: shifts must have the batch shape (2,) or none, got (3,). Give one for each item, or one for all.",
        ),
        (
            lambda: shift(X, (1, 2), fourier_shape=(3, 3)),
            ValueError,
            "shift: fourier_shape must be at least the object's (3, 4), got (3, 3). Use min_fourier_shape((3, 4)).",
        ),
        (
            lambda: shift(X, (1, 2), fourier_shape=(8,)),
            ValueError,
            "shift: fourier_shape must be at least the object's (3, 4), got (8,). Use min_fourier_shape((3, 4)).",
        ),
        (lambda: conj_flip(3), TypeError, "conj_flip: obj must be a torch.Tensor, got int. Use torch.as_tensor."),
        (
            lambda: conj_flip(X, ndim=4),
            ValueError,
            "conj_flip: ndim must be 1, 2 or 3, got 4. Axes before these are a batch.",
        ),
        (
            lambda: conj_flip(X, ndim=0),
            ValueError,
            "conj_flip: ndim must be an integer of at least 1, got 0. Use 1 or more.",
        ),
        (
            lambda: conj_flip(X[0, 0]),
            ValueError,
            "conj_flip: obj must have at least 2 axes, got shape (4,). Add one with unsqueeze(0).",
        ),
        (
            lambda: global_phase(X.int(), 1.0),
            TypeError,
            "global_phase: obj must be real or complex floating, got torch.int32. Use obj.float().",
        ),
        (
            lambda: global_phase(X, "pi"),
            TypeError,
            "global_phase: theta must be a finite number, got 'pi'. Use float(theta), or one number.",
        ),
        (
            lambda: global_phase(X, math.nan),
            ValueError,
            "global_phase: theta must be a finite number, got nan. Choose a number in this range.",
        ),
        (
            lambda: global_phase(X, torch.ones(3)),
            ValueError,
            "global_phase: theta must have the shape of leading axes of obj (2, 3, 4), got (3,). Give one "
            "for each item, or one for all.",
        ),
        (
            lambda: global_phase(X, torch.ones(2) * 1j),
            TypeError,
            "global_phase: theta must be real floating, got torch.complex64. Use theta.abs() or theta.real.",
        ),
        (
            lambda: subpixel_shift(X.int(), (1.0,)),
            TypeError,
            "subpixel_shift: obj must be real or complex floating, got torch.int32. Use obj.float().",
        ),
        (
            lambda: subpixel_shift(X, 1.0),
            TypeError,
            "subpixel_shift: shifts must be a sequence of numbers or a tensor, got 1.0. Use a tuple such as (0.5, 0).",
        ),
        (
            lambda: subpixel_shift(X, torch.tensor([1])),
            TypeError,
            "subpixel_shift: shifts must be real floating, got torch.int64. Use shift for whole pixels.",
        ),
        (
            lambda: subpixel_shift(X, [1.0] * 4),
            ValueError,
            "subpixel_shift: shifts must have the shape (*, d) with d = 1, 2 or 3, got (4,). One number for each axis.",
        ),
        (
            lambda: Symmetry(torch.tensor([1]), torch.tensor(True), torch.tensor(0.0), (2, 2), (4, 4)),
            ValueError,
            "Symmetry: shifts must have the shape (*, d) = (2,), got (1,). One row of d shifts for each "
            "item of flipped.",
        ),
        (
            lambda: Symmetry(torch.tensor([1]), torch.tensor(1), torch.tensor(0.0), (2,), (4,)),
            TypeError,
            "Symmetry: flipped must be a boolean tensor, got torch.int64. Use flipped.bool().",
        ),
        (
            lambda: Symmetry(torch.tensor([1]), torch.tensor(True), torch.tensor(0.0), (2,), (5,))(X),
            ValueError,
            "Symmetry: obj must have the shape (*, (2,)) or (*, (5,)), got (2, 3, 4). An element acts on "
            "the shapes it was made for.",
        ),
        (
            lambda: some_symmetry((), (2,), (4,), real=True) @ some_symmetry((), (2,), (5,), real=True),
            ValueError,
            "Symmetry: both elements must have equal object_shape and fourier_shape, got (2,), (4,) and "
            "(2,), (5,). Make both on one padded grid.",
        ),
        (
            lambda: some_symmetry((3,), (3, 4), (6, 8), real=True)(X),
            ValueError,
            "Symmetry: shifts must have the batch shape (2,) or none, got (3,). Give one for each item, "
            "or one for all.",
        ),
        (
            lambda: RandomSymmetry(shift=(1, 2, 3)),
            ValueError,
            "RandomSymmetry: shift must be a bool, an integer or 2 integers, got (1, 2, 3). Use True for "
            "all shifts, or the largest one in pixels.",
        ),
        (
            lambda: RandomSymmetry(shift=2.5),
            TypeError,
            "RandomSymmetry: shift must be a bool, an integer or 2 integers, got 2.5. Use True for all "
            "shifts, or the largest one in pixels.",
        ),
        (
            lambda: RandomSymmetry(phase="no"),
            TypeError,
            "RandomSymmetry: phase must be True, False or None, got 'no'. Write it without quotes.",
        ),
        (
            lambda: some_symmetry((), (3, 4), (6, 8), real=True)(X.to("meta")),
            ValueError,
            "Symmetry: all tensors must lie on one device, got obj on meta, shifts on cpu. Move them with .to(device).",
        ),
        (
            lambda: RandomSymmetry(generator=3),
            TypeError,
            "RandomSymmetry: generator must be a torch.Generator, got 3. Use torch.Generator().manual_seed(0).",
        ),
        (
            lambda: RandomSymmetry(shift=-1),
            ValueError,
            "RandomSymmetry: shift must be an integer of at least 0, got -1. Use 0 or more.",
        ),
        (
            lambda: RandomSymmetry()(X.int()),
            TypeError,
            "RandomSymmetry: obj must be real or complex floating, got torch.int32. Use obj.float().",
        ),
        (
            lambda: RandomSymmetry(fourier_shape=(3, 3))(X),
            ValueError,
            "RandomSymmetry: fourier_shape must be at least the object's (3, 4), got (3, 3). Use "
            "min_fourier_shape((3, 4)).",
        ),
    ],
)
def test_errors(call, error: type[Exception], message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


# --- modules ---------------------------------------------------------------------------------------------------------


def test_modules_equal_their_functions() -> None:
    obj = random(2, 3, 4, dtype=torch.complex128)
    moves, fractions, theta = torch.tensor([[1, 2], [0, -3]]), random(2, 2), random(2)
    pairs = [
        (Shift((1, -2), fourier_shape=(5, 7)), shift(obj, (1, -2), fourier_shape=(5, 7))),
        (Shift(moves), shift(obj, moves)),
        (ConjFlip(ndim=1), conj_flip(obj, ndim=1)),
        (GlobalPhase(0.4), global_phase(obj, 0.4)),
        (GlobalPhase(theta), global_phase(obj, theta)),
        (SubpixelShift((0.5, 1)), subpixel_shift(obj, (0.5, 1))),
        (SubpixelShift(fractions, fourier_shape=(5, 7)), subpixel_shift(obj, fractions, fourier_shape=(5, 7))),
    ]
    several = random(4, 2)
    moved = torch.stack([subpixel_shift(obj[0], row) for row in several])
    torch.testing.assert_close(SubpixelShift(several)(obj[:1].expand(4, -1, -1)), moved)
    for module, expected in pairs:
        torch.testing.assert_close(module(obj), expected)
        torch.testing.assert_close(copy.deepcopy(module)(obj), expected)


def test_modules_compose_and_their_inverses_undo_them() -> None:
    obj = random(2, 8, 9, dtype=torch.complex128)
    parts = [
        Shift((3, -2)),
        ConjFlip(),
        GlobalPhase(1.3),
        Shift(torch.tensor([[1, 2], [3, 4]])),
        SubpixelShift((1.5, 2)),
    ]
    there = nn.Sequential(*parts)
    back = nn.Sequential(*[part.inverse() for part in reversed(parts[:-1])])
    torch.testing.assert_close(back(there[:-1](obj)), obj)
    odd = obj[:, :7]
    torch.testing.assert_close(parts[-1].inverse()(parts[-1](odd)), odd)


def test_tensor_options_are_buffers() -> None:
    assert set(Shift(torch.tensor([1, 2])).state_dict()) == {"shifts"}
    assert set(GlobalPhase(torch.tensor(1.0)).state_dict()) == {"theta"}
    assert set(SubpixelShift((1.0, 2.0)).state_dict()) == {"shifts"}


def test_modules_show_their_options() -> None:
    assert repr(Shift((1, 2), fourier_shape=(4, 4))) == "Shift(shifts=(1, 2), fourier_shape=(4, 4))"
    assert repr(Shift(torch.ones(5, 2, dtype=torch.long))) == "Shift(shifts=tensor of shape (5, 2))"
    assert repr(ConjFlip(ndim=3)) == "ConjFlip(ndim=3)"
    assert repr(GlobalPhase(0.5)) == "GlobalPhase(theta=0.5)"
    assert repr(GlobalPhase(torch.ones(3))) == "GlobalPhase(theta=tensor of shape (3,))"
    assert repr(SubpixelShift((0.5, 1))) == "SubpixelShift(shifts=tensor of shape (2,))"
    generator = torch.Generator()
    assert (
        repr(RandomSymmetry(3, flip=False, generator=generator)) == "RandomSymmetry(shift=(3, 3), flip=False, ndim=2)"
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16])
def test_shifts_of_narrow_integers_can_be_undone(dtype: torch.dtype) -> None:
    obj, shifts = torch.rand(7, 300), torch.tensor([1, 100], dtype=dtype)
    move = Shift(shifts)
    assert torch.equal(move(obj), obj.roll((1, 100), (0, 1)))
    assert torch.equal(move.inverse()(move(obj)), obj)
    element = Symmetry(shifts, torch.tensor(False), torch.tensor(0.0), (7, 300), (7, 300))
    assert torch.equal((element @ element)(obj), obj.roll((2, 200), (0, 1)))
    assert torch.equal(element.inverse()(element(obj)), obj)


def test_a_phase_turns_complex_objects_signs_real_ones_and_leaves_supports() -> None:
    obj, flipped = torch.rand(3, 3) + 1, torch.tensor(False)
    for phase in (0.0, torch.pi / 2, torch.pi):
        element = Symmetry(torch.tensor([1, 0]), flipped, torch.tensor(phase), (3, 3), (6, 6))
        placed = torch.zeros(6, 6)
        placed[1:4, :3] = obj
        assert torch.equal(element(obj > 0), placed > 0)
        torch.testing.assert_close(element(obj + 0j), placed * torch.tensor(1j * phase).exp())
        if phase in (0.0, torch.pi):
            torch.testing.assert_close(element(obj), placed * (1 if phase == 0 else -1))
        else:
            with pytest.raises(
                TypeError, match=r"^Symmetry: obj must be complex, or the phase 0 or pi, got .* 1\.571\."
            ):
                element(obj)
            assert element.cropped(obj, (6, 6)).isnan().all()  # where nothing may be looked at
    with pytest.raises(TypeError, match=r"^Symmetry: obj must be real or complex floating, got torch\.uint8\."):
        element(obj.to(torch.uint8))


def test_elements_are_compared_by_identity() -> None:
    g, h = (some_symmetry((2,), (3, 4), (6, 8), real=True) for _ in range(2))
    assert g == g
    assert g != h
    assert len({g, h}) == 2


def test_random_symmetry_takes_integers_of_numpy() -> None:
    assert RandomSymmetry(np.int64(2)).shift == RandomSymmetry(2).shift == (2, 2)


@pytest.mark.parametrize(("move", "of"), [(shift, torch.long), (subpixel_shift, torch.float32)])
@pytest.mark.parametrize("sizes", [(3, 0), (3, 4), (0,)])
def test_shifts_along_no_axis_or_too_many_are_refused(move: Any, of: torch.dtype, sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"shifts must have the shape \(\*, d\) .*, got {re.escape(str(sizes))}"):
        move(torch.rand(3, 4, 4), torch.zeros(sizes, dtype=of))
