"""Tests of canonicalize: one representative per orbit, the rule it documents, and what it leaves alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import slow_symmetry as slow
from phaseret.operators import fast_fourier_shape, fourier_magnitude
from phaseret.symmetry import Canonicalize, RandomSymmetry, align, canonicalize, conj_flip, global_phase

# Sizes of the content; the box is about twice as large.
CONTENTS = [(5,), (4,), (3, 4), (5, 4), (1, 5), (2, 3, 4)]
DTYPES = (torch.float64, torch.complex128)


def in_a_box(content: tuple[int, ...], dtype: torch.dtype, count: int = 4) -> Tensor:
    """Items whose content has an empty margin."""
    obj = torch.zeros(count, *[2 * size + 1 for size in content], dtype=dtype)
    obj[(..., *[slice(1, size + 1) for size in content])] = torch.randn(count, *content, dtype=dtype)
    return obj


def rule(x: np.ndarray, circle: tuple[int, ...]) -> tuple[float, list[float]]:
    """The odd function that decides the flip, and the circular centre, of one object, pixel by pixel."""
    centre = []
    for i, m in enumerate(circle):
        mean = sum(abs(x[k]) ** 2 * np.exp(2j * np.pi * k[i] / m) for k in np.ndindex(*x.shape))
        centre.append(float(np.angle(mean)) * m / (2 * np.pi))

    def angles(k: list[float]) -> list[float]:
        return [2 * np.pi * (k[i] - centre[i]) / m for i, m in enumerate(circle)]

    def oblique(alpha: list[float]) -> float:
        total = sum(2 * np.exp(-i / 2) * (np.sin(a) + np.sin(2 * a) / 4) for i, a in enumerate(alpha))
        return float(np.sin(total)) / 16

    odd = 0.0
    for k in np.ndindex(*x.shape):
        alpha = angles(list(k))
        skewness = sum(np.sin(a) * (1 - np.cos(a)) / 2**i for i, a in enumerate(alpha))
        odd += abs(x[k]) ** 2 * (skewness + oblique(alpha))
        for i, m in enumerate(circle):
            following, half = list(k), [float(j) for j in k]
            following[i] = (k[i] + 1) % m
            half[i] += 0.5
            step = x[tuple(following)] if following[i] < x.shape[i] else 0
            alpha = angles(half)
            odd += (np.sin(alpha[i]) + oblique(alpha)) / 2**i * (np.conj(x[k]) * step).imag
    return odd, centre


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wrapped", [False, True])
def test_follows_its_rule(content: tuple[int, ...], dtype: torch.dtype, wrapped: bool, device: torch.device) -> None:
    obj = torch.randn(3, *content, dtype=dtype) if wrapped else in_a_box(content, dtype, 3)
    box = tuple(obj.shape[1:])
    grid = tuple(2 * size for size in box) if wrapped else box
    circle = grid if wrapped else fast_fourier_shape(box, 1)
    given_shape = grid if wrapped else None
    results = canonicalize(obj.to(device), ndim=len(box), fourier_shape=given_shape, phase=True).cpu()
    for item, result in zip(obj.numpy(), results.numpy(), strict=True):
        odd, _ = rule(item, circle)
        turned = np.conj(np.flip(item)) if odd < 0 else item
        assert rule(turned, circle)[0] > 0
        centre = rule(turned, circle)[1]
        moves = []
        for i in range(len(box)):
            used = np.flatnonzero(np.abs(turned).sum(tuple(k for k in range(len(box)) if k != i)))
            move = math.floor((grid[i] - 1) / 2 - centre[i] + 0.5)
            moves.append(move if wrapped else min(max(move, -used[0]), box[i] - 1 - used[-1]))
        expected = np.roll(slow.padded(turned, grid), moves, range(len(box)))
        expected = expected * np.exp(-1j * np.angle(expected.sum()))
        np.testing.assert_allclose(result, expected, atol=1e-12)


def test_canonical_objects_are_centred_and_have_a_positive_sum() -> None:
    obj = in_a_box((5, 6), torch.complex128, 50)
    result = canonicalize(obj)
    total = result.sum((1, 2))
    torch.testing.assert_close(total.imag, torch.zeros(50).double(), atol=1e-12, rtol=0)
    assert (total.real > 0).all()
    weight = result.abs().square()
    for axis in (1, 2):
        size = obj.shape[axis]
        place = (weight.sum(3 - axis) * torch.arange(size)).sum(1) / weight.sum((1, 2))
        assert ((place - (size - 1) / 2).abs() < 0.6).all()


def test_gaussian_problems_have_a_phase_or_a_sign_only() -> None:
    real, field = torch.randn(20, 7).double(), torch.randn(20, 7, dtype=torch.complex128)
    options = {"ndim": 1, "shift": False, "flip": False, "phase": True}
    result = canonicalize(real, **options)
    assert torch.equal(result, real * real.sum(1, keepdim=True).sign())
    torch.testing.assert_close(canonicalize(-real, **options), result)
    result = canonicalize(field, **options)
    torch.testing.assert_close(result, field * (field.sum(1, keepdim=True).conj() / field.sum(1, keepdim=True).abs()))
    torch.testing.assert_close(canonicalize(global_phase(field, 2.0), **options), result)


def test_what_fills_its_box_does_not_move() -> None:
    obj = torch.rand(10, 6, 6) + 0.1
    assert torch.equal(canonicalize(obj, flip=False), obj)
    turned = canonicalize(obj)
    assert ((turned == obj).all(-1).all(-1) | (turned == conj_flip(obj)).all(-1).all(-1)).all()


def test_the_flip_sees_the_phase_of_an_object_of_symmetric_modulus() -> None:
    # A defocused disk: only the sign of the phase curvature tells it from its twin.
    k = torch.meshgrid(*[torch.arange(-7.0, 8)] * 2, indexing="ij")
    square = sum(a * a for a in k)
    obj = (square < 20) * torch.exp(0.05j * square)
    torch.testing.assert_close(canonicalize(obj), canonicalize(conj_flip(obj)))
    assert not torch.allclose(obj, conj_flip(obj), atol=0.1)


# --- properties ------------------------------------------------------------------------------------------------------


@given(st.sampled_from(CONTENTS), st.sampled_from(DTYPES), st.sampled_from([None, True]), st.integers(0, 999))
def test_all_copies_inside_the_box_have_one_representative(
    content: tuple[int, ...], dtype: torch.dtype, phase: bool | None, seed: int
) -> None:
    torch.manual_seed(seed)
    d = len(content)
    obj = in_a_box(content, dtype)
    result = canonicalize(obj, ndim=d, phase=phase)
    copy = RandomSymmetry(ndim=d, phase=phase)(obj)
    torch.testing.assert_close(canonicalize(copy, ndim=d, phase=phase), result)
    torch.testing.assert_close(canonicalize(result, ndim=d, phase=phase), result)
    big = tuple(2 * size for size in obj.shape[1:])
    torch.testing.assert_close(fourier_magnitude(result, big), fourier_magnitude(obj, big))


@given(st.sampled_from(CONTENTS), st.sampled_from(DTYPES), st.sampled_from([None, True]), st.integers(0, 999))
def test_all_copies_on_the_padded_grid_have_one_representative(
    content: tuple[int, ...], dtype: torch.dtype, phase: bool | None, seed: int
) -> None:
    torch.manual_seed(seed)
    d, m = len(content), tuple(2 * size + 1 for size in content)
    obj = torch.randn(3, *content, dtype=dtype)
    result = canonicalize(obj, ndim=d, fourier_shape=m, phase=phase)
    copy = RandomSymmetry(ndim=d, fourier_shape=m, phase=phase)(obj)
    torch.testing.assert_close(canonicalize(copy, ndim=d, fourier_shape=m, phase=phase), result)
    torch.testing.assert_close(canonicalize(result, ndim=d, fourier_shape=m, phase=phase), result)
    found = align(result, copy, ndim=d, fourier_shape=m, phase=True)
    torch.testing.assert_close(found.error, torch.zeros(3).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_objects_with_symmetric_marginals_have_one_representative(dtype: torch.dtype) -> None:
    # The sums of its rows and columns are symmetric, the object is not.
    obj = torch.tensor([[0, 1, 0], [1, 1, 0], [0, 0, 1]]).to(dtype)
    assert not torch.equal(obj, conj_flip(obj))
    assert torch.equal(canonicalize(conj_flip(obj)), canonicalize(obj))


@pytest.mark.parametrize("sizes", [(3, 3), (4, 4), (2, 5), (9,), (2, 3, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_binary_object_has_one_representative(sizes: tuple[int, ...], dtype: torch.dtype) -> None:
    d = len(sizes)
    content = (torch.rand(4000, *sizes) < 0.5).to(dtype)
    obj = torch.zeros(4000, *[size + 3 for size in sizes], dtype=dtype)
    obj[(..., *[slice(1, size + 1) for size in sizes])] = content
    copy = RandomSymmetry(ndim=d)(obj)
    assert torch.equal(canonicalize(copy, ndim=d, phase=False), canonicalize(obj, ndim=d, phase=False))
    twin = conj_flip(obj, ndim=d)
    assert torch.equal(canonicalize(twin, ndim=d, phase=False), canonicalize(obj, ndim=d, phase=False))


@given(st.sampled_from(DTYPES), st.integers(0, 99))
def test_is_continuous_away_from_its_boundaries(dtype: torch.dtype, seed: int) -> None:
    torch.manual_seed(seed)
    obj = torch.randn(20, 6, 5, dtype=dtype)
    m = (12, 10)
    near = obj + 1e-9 * torch.randn(20, 6, 5, dtype=dtype)
    distance = canonicalize(obj, fourier_shape=m) - canonicalize(near, fourier_shape=m)
    assert (distance.abs().amax((1, 2)) < 1e-7).double().mean() >= 0.95


@pytest.mark.parametrize("sizes", [(4, 4), (5, 4), (3, 5), (4, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_rounding_does_not_move_point_symmetric_objects(sizes: tuple[int, ...], dtype: torch.dtype) -> None:
    half = torch.rand(50, *sizes).to(dtype)
    symmetric = half + conj_flip(half)
    obj = torch.zeros(50, 16, 17, dtype=dtype)
    obj[:, 2 : 2 + sizes[0], 3 : 3 + sizes[1]] = symmetric
    moved = RandomSymmetry()(obj)
    torch.testing.assert_close(canonicalize(moved), canonicalize(obj))


@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_equals_items(dtype: torch.dtype) -> None:
    obj = in_a_box((3, 4), dtype, 6).reshape(2, 3, 7, 9)
    result = canonicalize(obj)
    for i in np.ndindex(2, 3):
        torch.testing.assert_close(result[i], canonicalize(obj[i]))


def test_real_objects_keep_their_sign_unless_asked() -> None:
    obj = -torch.rand(3, 5, 5)
    assert (canonicalize(obj) <= 0).all()
    assert (canonicalize(obj, phase=True) >= 0).all()


@pytest.mark.parametrize("size", [1e-30, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_any_magnitude_gives_the_same_representative(size: float, dtype: torch.dtype) -> None:
    obj = in_a_box((5, 6), dtype, 20)
    torch.testing.assert_close(canonicalize(obj * size) / size, canonicalize(obj))


def test_half_precision_is_promoted_and_zero_stays_zero() -> None:
    assert canonicalize(torch.rand(4, 5).half()).dtype == torch.float32
    assert not canonicalize(torch.zeros(4, 5, dtype=torch.complex64)).any()


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("phase", [False, True])
def test_gradients(dtype: torch.dtype, phase: bool) -> None:
    obj = torch.randn(2, 2, 2, dtype=dtype).requires_grad_()
    assert gradcheck(lambda x: canonicalize(x, phase=phase, fourier_shape=(3, 4)), (obj,), fast_mode=True)
    assert gradgradcheck(lambda x: canonicalize(x, phase=phase, fourier_shape=(3, 4)), (obj,), fast_mode=True)


def test_an_object_whose_pixels_sum_to_zero_has_finite_gradients() -> None:
    obj = torch.tensor([[1, -1], [1j, -1j]], dtype=torch.complex128, requires_grad=True)
    canonicalize(obj).abs().square().sum().backward()
    assert obj.grad.isfinite().all()


# --- errors ----------------------------------------------------------------------------------------------------------

X = torch.ones(2, 3, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: canonicalize(3), TypeError, "canonicalize: obj must be a torch.Tensor, got int. Use torch.as_tensor."),
        (
            lambda: canonicalize(X.int()),
            TypeError,
            "canonicalize: obj must be real or complex floating, got torch.int32. Use obj.float().",
        ),
        (
            lambda: canonicalize(X[0, 0]),
            ValueError,
            "canonicalize: obj must have at least 2 axes, got shape (4,). Add one with unsqueeze(0).",
        ),
        (
            lambda: canonicalize(X[:0]),
            ValueError,
            "canonicalize: obj must hold at least one element, got shape (0, 3, 4). Leave out empty batches.",
        ),
        (
            lambda: canonicalize(X, phase="no"),
            TypeError,
            "canonicalize: phase must be True, False or None, got 'no'. Write it without quotes.",
        ),
        (
            lambda: Canonicalize(phase=1),
            TypeError,
            "Canonicalize: phase must be True, False or None, got 1. Use bool(phase).",
        ),
        (
            lambda: canonicalize(X, ndim=5),
            ValueError,
            "canonicalize: ndim must be 1, 2 or 3, got 5. Axes before these are a batch.",
        ),
        (
            lambda: canonicalize(X, fourier_shape=(2, 9)),
            ValueError,
            "canonicalize: fourier_shape must be at least the object's (3, 4), got (2, 9). Use "
            "min_fourier_shape((3, 4)).",
        ),
        (
            lambda: Canonicalize(fourier_shape=(2, 0)),
            ValueError,
            "Canonicalize: fourier_shape must hold positive sizes, got (2, 0). Use sizes of at least 1.",
        ),
        (
            lambda: Canonicalize(flip="no"),
            TypeError,
            "Canonicalize: flip must be True or False, got 'no'. Write it without quotes.",
        ),
        (
            lambda: canonicalize(torch.ones(3, 4), shift=1),
            TypeError,
            "canonicalize: shift must be True or False, got 1. Use bool(shift).",
        ),
    ],
)
def test_errors(call, error: type[Exception], message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


# --- modules ---------------------------------------------------------------------------------------------------------


def test_module_equals_function() -> None:
    obj = in_a_box((3, 4), torch.complex128)
    for options in ({}, {"flip": False}, {"shift": False}, {"phase": False}, {"fourier_shape": (20, 21)}, {"ndim": 1}):
        if options == {"ndim": 1}:
            options = {"ndim": 1, "shift": False}
        assert torch.equal(Canonicalize(**options)(obj), canonicalize(obj, **options))
    shown = "Canonicalize(ndim=2, shift=True, flip=False)"
    assert repr(Canonicalize(flip=False)) == shown


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_vmap_over_a_batch_gives_the_batch(dtype: torch.dtype) -> None:
    obj = in_a_box((5, 4), dtype)
    assert torch.equal(torch.func.vmap(canonicalize)(obj), canonicalize(obj))
