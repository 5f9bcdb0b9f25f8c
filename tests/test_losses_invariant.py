"""Tests of the invariant loss: equal to brute force, invariances, derivatives of any order, errors, Module."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import slow_symmetry as slow
from phaseret.losses import InvariantLoss, SupervisedLoss, invariant_loss
from phaseret.losses._invariant import _looks_measured
from phaseret.operators import fast_fourier_shape, min_fourier_shape
from phaseret.symmetry import RandomSymmetry, align, conj_flip, global_phase

SHAPES = [(5,), (4,), (3, 4), (4, 3), (1, 5), (2, 3, 2)]
DTYPES = (torch.float64, torch.complex128)
OPTIONS = [{}, {"flip": False}, {"shift": False}, {"phase": True}, {"phase": False}]


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("grid", ["default", "minimum", "large", "data-shaped"])
def test_equals_brute_force(
    n: tuple[int, ...], dtype: torch.dtype, options: dict[str, bool], grid: str, device: torch.device
) -> None:
    m = {
        "default": fast_fourier_shape(n, 1),
        "minimum": min_fourier_shape(n),
        "large": tuple(2 * size + 1 for size in n),
        "data-shaped": n,
    }[grid]
    estimate, obj = random(2, 3, *n, dtype=dtype), random(2, 3, *n, dtype=dtype)
    full = {"phase": dtype.is_complex} | options
    expected = np.zeros((2, 3))
    for i in np.ndindex(2, 3):
        expected[i] = slow.nearest(estimate[i].numpy(), obj[i].numpy(), m, **full)[0]
    options = options | {"ndim": len(n), "fourier_shape": None if grid == "default" else m}
    pair = estimate.to(device), obj.to(device)
    np.testing.assert_allclose(invariant_loss(*pair, reduction="none", **options).cpu(), expected)
    np.testing.assert_allclose(invariant_loss(*pair, **options).cpu(), expected.mean())
    np.testing.assert_allclose(invariant_loss(*pair, reduction="sum", **options).cpu(), expected.sum())


@pytest.mark.parametrize("n", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", OPTIONS)
def test_soft_minimum_equals_its_sum_over_the_group(
    n: tuple[int, ...], dtype: torch.dtype, options: dict[str, bool]
) -> None:
    m, t = tuple(2 * size + 3 for size in n), 0.3
    estimate, obj = random(2, *n, dtype=dtype), random(2, *n, dtype=dtype)
    options = {"phase": dtype.is_complex} | options
    group = {name: options[name] for name in ("shift", "flip") if name in options}
    found = invariant_loss(estimate, obj, ndim=len(n), fourier_shape=m, temperature=t, reduction="none", **options)
    for x, y, value in zip(estimate.numpy(), obj.numpy(), found, strict=True):
        # The copies that overlap are those on the smallest grid that holds them.
        target, terms = slow.padded(y, min_fourier_shape(n)), []
        for _, _, turned in slow.copies(x, min_fourier_shape(n), **group):
            inner = np.vdot(turned, target)
            factor = inner / abs(inner) if options["phase"] and inner != 0 else 1
            terms.append((abs(turned * factor - target) ** 2).sum() / y.size)
        assert math.isclose(-t * np.log(np.exp(-np.array(terms) / t).sum()), value, rel_tol=1e-9)


@pytest.mark.parametrize("temperature", [None, 0.1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_copy_anywhere_on_the_grid_is_taken(dtype: torch.dtype, temperature: float | None) -> None:
    obj, estimate = random(3, 4, 5, dtype=dtype), random(3, 4, 5, dtype=dtype)
    copies = RandomSymmetry(fourier_shape=(9, 12))(obj)
    options = {"temperature": temperature, "fourier_shape": (9, 12), "reduction": "none"}
    expected = invariant_loss(estimate, obj, **options)
    torch.testing.assert_close(invariant_loss(estimate, copies, **options), expected)
    torch.testing.assert_close(invariant_loss(copies, estimate, **options), expected)
    torch.testing.assert_close(invariant_loss(copies, estimate, **options | {"fourier_shape": None}), expected)
    if temperature is None:
        assert (invariant_loss(copies, obj, **options) < 1e-20).all()
        assert (invariant_loss(copies, copies.roll(1, -1), **options) < 1e-20).all()


def test_the_soft_minimum_of_a_pair_that_only_separates_is_not_that_of_the_empty_copies() -> None:
    estimate, obj = torch.full((3,), -1.0).double(), torch.ones(3).double()
    options = {"ndim": 1, "temperature": 0.1}
    values = [invariant_loss(estimate, obj, fourier_shape=(m,), **options) for m in (5, 6, 12)]
    torch.testing.assert_close(values, [values[0]] * 3)


def test_soft_minimum_approaches_the_minimum_from_below() -> None:
    estimate, obj = random(4, 6, 6), random(4, 6, 6)
    hard = invariant_loss(estimate, obj, reduction="none")
    previous = torch.full_like(hard, -math.inf)
    for t in (1.0, 0.1, 0.01, 1e-3, 1e-5):
        soft = invariant_loss(estimate, obj, temperature=t, reduction="none")
        rounding = 1e-12 * hard
        assert (soft <= hard + rounding).all()
        assert (soft >= hard - t * math.log(2 * 12 * 12) - rounding).all()
        assert (soft >= previous - rounding).all()
        previous = soft
    torch.testing.assert_close(previous, hard)


def test_the_value_keeps_its_digits_near_zero() -> None:
    obj = torch.rand(4, 64, 64)
    error = 1e-6 * torch.randn(4, 64, 64)
    found = invariant_loss(conj_flip(obj + error), obj, reduction="none")
    expected = (obj.double() - (obj + error).double()).square().mean((1, 2))
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=0)


def test_what_leaves_the_box_counts() -> None:
    assert invariant_loss(torch.ones(1, 4), torch.tensor([[0.0, 0, 1, 1]])).item() == pytest.approx(2 / 4)
    found = invariant_loss(torch.tensor([3.0, 0, 0, 1]), torch.tensor([0.0, 0, 3, 0]), ndim=1)
    assert found.item() == pytest.approx(1 / 4)
    found = invariant_loss(torch.tensor([0.0, 0, 3, 0]), torch.tensor([3.0, 0, 0, 1]), ndim=1)
    assert found.item() == pytest.approx(1 / 4)


# --- properties ------------------------------------------------------------------------------------------------------


@given(st.sampled_from(SHAPES), st.sampled_from(DTYPES), st.integers(0, 999))
def test_is_zero_on_every_copy(n: tuple[int, ...], dtype: torch.dtype, seed: int) -> None:
    torch.manual_seed(seed)
    d, m = len(n), fast_fourier_shape(n, 1)
    obj = torch.zeros(3, *m, dtype=dtype)
    obj[(..., *map(slice, n))] = random(3, *n, dtype=dtype)
    estimate = RandomSymmetry(ndim=d, fourier_shape=m)(obj).requires_grad_()
    loss = invariant_loss(estimate, obj, ndim=d, fourier_shape=m)
    loss.backward()
    assert loss.item() < 1e-28
    assert estimate.grad.abs().max() < 1e-13
    if not dtype.is_complex:
        assert loss.item() == 0


@given(st.sampled_from(SHAPES), st.sampled_from(DTYPES), st.sampled_from([None, 0.5]), st.integers(0, 999))
def test_does_not_depend_on_a_symmetry_of_either(
    n: tuple[int, ...], dtype: torch.dtype, temperature: float | None, seed: int
) -> None:
    torch.manual_seed(seed)
    d = len(n)
    options = {"ndim": d, "fourier_shape": n, "temperature": temperature, "reduction": "none"}
    estimate, obj = random(2, *n, dtype=dtype), random(2, *n, dtype=dtype)
    loss = invariant_loss(estimate, obj, **options)
    change = RandomSymmetry(ndim=d, fourier_shape=n)
    torch.testing.assert_close(invariant_loss(change(estimate), obj, **options), loss)
    torch.testing.assert_close(invariant_loss(estimate, change(obj), **options), loss)
    torch.testing.assert_close(invariant_loss(obj, estimate, **options), loss)


@given(st.sampled_from(SHAPES), st.sampled_from(DTYPES), st.integers(0, 999))
def test_equals_the_error_of_align_and_never_exceeds_the_supervised_loss(
    n: tuple[int, ...], dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    estimate, obj = random(3, *n, dtype=dtype), random(3, *n, dtype=dtype)
    loss = invariant_loss(estimate, obj, ndim=len(n), reduction="none")
    torch.testing.assert_close(loss, align(estimate, obj, ndim=len(n)).error)
    assert (loss <= SupervisedLoss(ndim=len(n), reduction="none")(estimate, obj) + 1e-12).all()


def test_without_the_group_it_is_the_supervised_loss() -> None:
    pair = random(3, 4, 5, dtype=torch.complex128), random(3, 4, 5, dtype=torch.complex128)
    loss = InvariantLoss(shift=False, flip=False, phase=False)(*pair)
    torch.testing.assert_close(loss, SupervisedLoss()(*pair))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("temperature", [None, 0.5])
def test_batch_equals_items(dtype: torch.dtype, temperature: float | None) -> None:
    pair = random(2, 3, 5, 6, dtype=dtype), random(2, 3, 5, 6, dtype=dtype)
    loss = invariant_loss(*pair, temperature=temperature, reduction="none")
    for i in np.ndindex(2, 3):
        one = invariant_loss(pair[0][i], pair[1][i], temperature=temperature, reduction="none")
        torch.testing.assert_close(loss[i], one)


@pytest.mark.parametrize("size", [1e-18, 1e18])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_the_winner_is_found_at_any_magnitude(size: float, dtype: torch.dtype) -> None:
    estimate, obj = torch.randn(4, 8, 8, dtype=dtype), torch.randn(4, 8, 8, dtype=dtype)
    loss = invariant_loss(estimate * size, obj * size)
    torch.testing.assert_close(loss / size / size, invariant_loss(estimate, obj))
    estimate = (estimate * 1e-30).requires_grad_()
    invariant_loss(estimate, obj * 1e-30).backward()
    assert estimate.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_promoted(dtype: torch.dtype) -> None:
    estimate = torch.rand(3, 8, 8).to(dtype).requires_grad_()
    loss = invariant_loss(estimate, torch.rand(3, 8, 8))
    assert loss.dtype == torch.float32
    loss.backward()
    assert estimate.grad.dtype == dtype
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert invariant_loss(estimate, torch.rand(3, 8, 8)).dtype == torch.float32


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [(4,), (2, 3), (2, 1, 2)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [*OPTIONS, {"temperature": 0.5}, {"temperature": 0.5, "phase": True}])
def test_gradients(n: tuple[int, ...], dtype: torch.dtype, options: dict[str, bool]) -> None:
    pair = tuple(random(2, *n, dtype=dtype).requires_grad_() for _ in range(2))

    def loss(estimate: Tensor, obj: Tensor) -> Tensor:
        return invariant_loss(estimate, obj, ndim=len(n), reduction="none", **options)

    assert gradcheck(loss, pair, fast_mode=True)
    assert gradgradcheck(loss, pair, fast_mode=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("temperature", [None, 0.5])
@pytest.mark.parametrize("zero", ["estimate", "obj", "both"])
def test_gradients_are_finite_at_zero(dtype: torch.dtype, temperature: float | None, zero: str) -> None:
    estimate = random(4, 4, dtype=dtype) * (zero == "obj")
    obj = (random(4, 4, dtype=dtype) * (zero == "estimate")).requires_grad_()
    estimate.requires_grad_()
    loss = invariant_loss(estimate, obj, temperature=temperature)
    gradients = torch.autograd.grad(loss, (estimate, obj), create_graph=True)
    assert all(g.isfinite().all() for g in gradients)
    second = torch.autograd.grad(sum(g.abs().square().sum() for g in gradients), (estimate, obj))
    assert all(g.isfinite().all() for g in second)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_is_the_one_of_the_winning_copy(dtype: torch.dtype) -> None:
    estimate, obj = random(3, 5, 6, dtype=dtype).requires_grad_(), random(3, 5, 6, dtype=dtype)
    invariant_loss(estimate, obj, reduction="sum").backward()
    found = align(obj, estimate.detach())
    torch.testing.assert_close(estimate.grad, 2 * (estimate.detach() - found.aligned) / 30)


def test_descent_reaches_a_copy_that_a_supervised_loss_would_not() -> None:
    obj = torch.zeros(12, 12).double()
    obj[1:6, 2:6] = torch.rand(5, 4).double()
    estimate = (conj_flip(obj).roll((-2, 1), (0, 1)) + 0.1 * random(12, 12)).requires_grad_()
    optimizer = torch.optim.SGD([estimate], lr=36)
    for _ in range(100):
        optimizer.zero_grad()
        loss = invariant_loss(estimate, obj)
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-12


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("temperature", [None, 0.5])
def test_functional_transforms(dtype: torch.dtype, temperature: float | None) -> None:
    estimate, obj = random(3, 4, 5, dtype=dtype).requires_grad_(), random(3, 4, 5, dtype=dtype)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return invariant_loss(x, y, temperature=temperature)

    each = torch.func.vmap(loss)(estimate, obj)
    torch.testing.assert_close(each, invariant_loss(estimate, obj, temperature=temperature, reduction="none"))
    (expected,) = torch.autograd.grad(each.sum(), estimate)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(estimate, obj), expected)
    tangent = random(3, 4, 5, dtype=dtype)
    _, change = torch.func.jvp(lambda x: loss(x, obj), (estimate.detach(),), (tangent,))
    torch.testing.assert_close(change, (expected.conj() * tangent).real.sum() / 3)


# --- errors ----------------------------------------------------------------------------------------------------------

X = torch.ones(2, 3, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: invariant_loss(X.tolist(), X),
            TypeError,
            "invariant_loss: estimate must be a torch.Tensor, got list. Use torch.as_tensor.",
        ),
        (
            lambda: invariant_loss(X, X.int()),
            TypeError,
            "invariant_loss: obj must be real or complex floating, got torch.int32. Use obj.float().",
        ),
        (
            lambda: invariant_loss(X, X, phase="no"),
            TypeError,
            "invariant_loss: phase must be True, False or None, got 'no'. Write it without quotes.",
        ),
        (
            lambda: InvariantLoss(phase="no"),
            TypeError,
            "InvariantLoss: phase must be True, False or None, got 'no'. Write it without quotes.",
        ),
        (
            lambda: invariant_loss(X, X[:, :2]),
            ValueError,
            "invariant_loss: shapes must be equal, or one of them that of the whole grid of at least (3, 7), "
            "got estimate (2, 3, 4), obj (2, 2, 4). Crop one of them.",
        ),
        (
            lambda: invariant_loss(X[:0], X[:0]),
            ValueError,
            "invariant_loss: estimate must hold at least one element, got shape (0, 3, 4). Leave out empty batches.",
        ),
        (
            lambda: invariant_loss(X[0, 0], X[0, 0]),
            ValueError,
            "invariant_loss: estimate must have at least 2 axes, got shape (4,). Add one with unsqueeze(0).",
        ),
        (
            lambda: invariant_loss(X, X.to("meta")),
            ValueError,
            "invariant_loss: all tensors must lie on one device, got estimate on cpu, obj on meta. "
            "Move them with .to(device).",
        ),
        (
            lambda: invariant_loss(X, X, ndim=4),
            ValueError,
            "invariant_loss: ndim must be 1, 2 or 3, got 4. Axes before these are a batch.",
        ),
        (
            lambda: invariant_loss(X, X, fourier_shape=(3, 3)),
            ValueError,
            "invariant_loss: fourier_shape must be at least the object's (3, 4), got (3, 3). Use "
            "min_fourier_shape((3, 4)).",
        ),
        (
            lambda: invariant_loss(X, X, temperature=0),
            ValueError,
            "invariant_loss: temperature must be a finite number above 0, got 0. Choose a number in this range.",
        ),
        (
            lambda: invariant_loss(X, X, reduction="max"),
            ValueError,
            "invariant_loss: reduction must be one of 'mean', 'sum', 'none', got 'max'. Choose one of these.",
        ),
        (
            lambda: InvariantLoss(temperature="warm"),
            TypeError,
            "InvariantLoss: temperature must be a finite number above 0, got 'warm'. Use "
            "float(temperature), or one number.",
        ),
        (
            lambda: InvariantLoss(ndim=0),
            ValueError,
            "InvariantLoss: ndim must be an integer of at least 1, got 0. Use 1 or more.",
        ),
        (
            lambda: InvariantLoss(fourier_shape=8),
            TypeError,
            "InvariantLoss: fourier_shape must be a sequence of sizes, got 8. Use (8, 8).",
        ),
        (
            lambda: InvariantLoss(reduction=None),
            ValueError,
            "InvariantLoss: reduction must be one of 'mean', 'sum', 'none', got None. Choose one of these.",
        ),
    ],
)
def test_errors(call, error: type[Exception], message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize("option", ["shift", "flip"])
def test_a_flag_that_is_no_boolean_is_refused_when_the_module_is_made(option: str) -> None:
    with pytest.raises(TypeError, match=f"InvariantLoss: {option} must be True or False, got 1"):
        InvariantLoss(**{option: 1})


# --- modules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ndim": 1},
        {"fourier_shape": (9, 9)},
        {"shift": False},
        {"flip": False},
        {"phase": True},
        {"temperature": 0.1},
        {"reduction": "none"},
    ],
)
def test_module_equals_function(options: dict[str, object]) -> None:
    estimate, obj = random(3, 4, 5), random(3, 4, 5)
    module = InvariantLoss(**options)
    assert torch.equal(module(estimate, obj), invariant_loss(estimate, obj, **options))
    assert torch.equal(copy.deepcopy(module)(estimate, obj), module(estimate, obj))
    for name, value in options.items():
        assert f"{name}={value!r}" in repr(module)


def test_phase_copies_are_forgiven_for_complex_and_on_request_for_real_objects() -> None:
    obj = torch.rand(6, 6).double()
    assert invariant_loss(global_phase(obj, 2.0), obj).item() < 1e-28
    assert invariant_loss(-obj, obj).item() > 0.1
    assert invariant_loss(-obj, obj, phase=True).item() == 0


def test_the_soft_minimum_has_the_digits_of_the_least_distance() -> None:
    obj = 1000 + torch.rand(3, 4)
    estimate = obj + 1e-2 * torch.rand(3, 4)  # whose distance is lost in the sum of squares, which is 1e7
    hard, soft = (invariant_loss(estimate, obj, temperature=t) for t in (None, 1e-3))
    assert 1e-6 < hard < 1e-4
    torch.testing.assert_close(soft, hard)


def test_only_real_objects_may_look_like_intensities():
    pattern = torch.fft.fft2(torch.rand(5, 6), s=(12, 12)).abs().square()
    for real in (pattern, pattern.roll((6, 6), (0, 1))):
        with pytest.warns(UserWarning, match="obj looks like measured intensities"):
            assert _looks_measured(real, 2) is True
    assert _looks_measured(pattern.to(torch.complex64), 2) is False
    assert _looks_measured(torch.rand(5, 6), 2) is False


def test_what_overlaps_with_nothing_misses_all_of_the_object() -> None:
    obj = random(4, 5, dtype=torch.complex128)
    loss = invariant_loss(torch.zeros_like(obj), obj)
    torch.testing.assert_close(loss, obj.abs().square().mean())
