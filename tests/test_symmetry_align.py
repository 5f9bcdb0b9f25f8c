"""Tests of align: equal to brute force over the whole group, ties, subpixel refinement, extremes, derivatives."""

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
from phaseret import _fft, _memory
from phaseret.operators import fast_fourier_shape, min_fourier_shape
from phaseret.symmetry import RandomSymmetry, align, conj_flip, global_phase, shift, subpixel_shift

SHAPES = [(5,), (4,), (3, 4), (4, 3), (1, 5), (2, 3, 2)]
DTYPES = (torch.float64, torch.complex128)
OPTIONS = [{}, {"flip": False}, {"shift": False}, {"phase": True}, {"phase": False}]


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


def blobs(n: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A smooth object that fades before its edges, without any symmetry."""
    axes = [torch.arange(size, dtype=torch.float64) / size for size in n]
    k = torch.meshgrid(*axes, indexing="ij")
    bumps = [torch.exp(-sum((a - c) ** 2 for a in k) / (2 * w * w)) for c, w in ((0.45, 0.09), (0.58, 0.06))]
    obj = bumps[0] + 0.8 * bumps[1]
    return obj * torch.exp(2j * bumps[0]) if dtype.is_complex else obj


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
    estimate, obj = random(3, *n, dtype=dtype), random(3, *n, dtype=dtype)
    given_shape = None if grid == "default" else m
    found = align(estimate.to(device), obj.to(device), ndim=len(n), fourier_shape=given_shape, **options)
    options = {"phase": dtype.is_complex} | options
    for i in range(3):
        error, flipped, place = slow.nearest(estimate[i].numpy(), obj[i].numpy(), m, **options)
        assert math.isclose(error, float(found.error[i]), rel_tol=1e-9)
        assert bool(found.flipped[i]) == flipped
        assert tuple(int(s) % size for s, size in zip(found.shifts[i], m, strict=True)) == place
        copy = found.symmetry(estimate.to(device))[i].cpu().numpy()
        assert math.isclose((abs(copy - slow.padded(obj[i].numpy(), m)) ** 2).sum() / obj[i].numel(), error)
        box = tuple(slice(size) for size in n)
        np.testing.assert_allclose(found.aligned[i].cpu(), copy[box], atol=1e-12)
    assert found.aligned.shape == estimate.shape
    assert found.aligned.dtype == dtype


@pytest.mark.parametrize("n", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("upsample", [1, 4])
def test_a_pair_of_which_one_is_laid_out_on_the_grid_equals_brute_force(
    n: tuple[int, ...], dtype: torch.dtype, options: dict[str, bool], upsample: int
) -> None:
    m, d = tuple(2 * size for size in n), len(n)
    whole, obj = random(2, *m, dtype=dtype), random(2, *n, dtype=dtype)
    found = align(whole, obj, ndim=d, upsample=upsample, **options)
    options = {"phase": dtype.is_complex} | options
    group = {name: options[name] for name in ("shift", "flip") if name in options}
    for i in range(2):
        # What moves the estimate to the object moves the object's copies to the estimate, by the inverse.
        errors = []
        for _, _, turned in slow.copies(obj[i].numpy(), m, **group):
            inner = np.vdot(turned, whole[i].numpy())
            factor = inner / abs(inner) if options["phase"] and inner != 0 else 1
            errors.append((abs(turned * factor - whole[i].numpy()) ** 2).sum() / obj[i].numel())
        if upsample == 1:
            assert math.isclose(min(errors), found.error[i], rel_tol=1e-9)
        else:
            assert found.error[i] < min(errors) + 1e-9
    assert found.aligned.shape == obj.shape
    back = align(obj, whole, ndim=d, upsample=upsample, **options)
    assert back.aligned.shape == whole.shape
    if upsample == 1:
        torch.testing.assert_close(back.error, found.error)
        torch.testing.assert_close(found.symmetry(whole)[(..., *map(slice, n))], found.aligned)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_result_that_wraps_around_the_grid_is_brought_to_the_smaller_object(dtype: torch.dtype) -> None:
    obj = random(3, 4, 5, dtype=dtype)
    moved = RandomSymmetry(fourier_shape=(9, 12))(obj)
    found = align(moved, obj)
    torch.testing.assert_close(found.aligned, obj)
    torch.testing.assert_close(found.symmetry(moved), _fft.pad(obj, (9, 12)))
    torch.testing.assert_close(align(moved, obj, upsample=3, scale=True).aligned, obj)
    torch.testing.assert_close(align(obj, moved).aligned, moved)


def test_a_grid_that_is_too_small_for_the_object_must_be_named() -> None:
    obj = random(6, 6)
    moved = RandomSymmetry(fourier_shape=(9, 9))(obj)
    message = r"^align: shapes must be equal, or one of them that of the whole grid of at least \(11, 11\), got"
    with pytest.raises(ValueError, match=message):
        align(moved, obj)
    torch.testing.assert_close(align(moved, obj, fourier_shape=(9, 9)).aligned, obj)
    with pytest.raises(ValueError, match=r"that of the whole grid \(12, 12\), got estimate \(9, 9\), obj \(6, 6\)"):
        align(moved, obj, fourier_shape=(12, 12))
    with pytest.raises(ValueError, match="shapes must be equal"):
        align(random(13, 5), random(6, 6))


def test_without_options_the_pair_is_compared_as_it_is() -> None:
    estimate, obj = random(2, 4, 5, dtype=torch.complex128), random(2, 4, 5, dtype=torch.complex128)
    found = align(estimate, obj, shift=False, flip=False, phase=False)
    assert torch.equal(found.aligned, estimate)
    torch.testing.assert_close(found.error, (estimate - obj).abs().square().mean((1, 2)))


def test_scale_is_the_best_positive_factor() -> None:
    obj = random(6, 5, 5)
    factor = torch.rand(6).double() + 0.1
    found = align(conj_flip(obj) * factor[:, None, None], obj, scale=True)
    torch.testing.assert_close(found.scale, 1 / factor)
    torch.testing.assert_close(found.aligned, obj)
    torch.testing.assert_close(align(obj, obj).scale, torch.ones(6).double())
    for unit in (1e-30, 1e-22, 1e20, 1e35):  # whose squares do not fit into single precision
        for single in (obj.float(), obj.to(torch.complex64)):
            found = align(conj_flip(single) * unit, single, scale=True)
            torch.testing.assert_close(found.aligned, single)
            torch.testing.assert_close(found.scale * unit, torch.ones(6))
    opposite = align(-torch.ones(1, 3, 3), torch.ones(1, 3, 3), shift=False, scale=True)
    assert opposite.scale.item() == 0


@pytest.mark.parametrize("n", [(41,), (24, 25)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("flip", [False, True])
def test_upsample_finds_fractions_of_a_pixel(n: tuple[int, ...], dtype: torch.dtype, flip: bool) -> None:
    d = len(n)
    obj = blobs(n, dtype).expand(3, *n)
    moves = torch.tensor([[0.37, -0.81], [-1.6, 2.25], [3.0, 0.0]], dtype=torch.float64)[:, :d]
    estimate = subpixel_shift(obj, moves)
    if dtype.is_complex:
        estimate = global_phase(estimate, torch.tensor([1.0, -2.0, 3.0]).double())
    if flip:
        estimate = conj_flip(estimate, ndim=d)
    found = align(estimate, obj, ndim=d, upsample=100)
    assert (found.flipped == flip).all()
    torch.testing.assert_close(found.shifts, -moves, atol=0.011, rtol=0)
    torch.testing.assert_close(found.aligned, obj, atol=5e-3, rtol=0)
    whole = align(estimate, obj, ndim=d)
    assert (found.error[:2] < whole.error[:2] / 20).all()
    assert not whole.shifts.is_floating_point()
    assert torch.equal(found.symmetry.shifts, whole.symmetry.shifts)
    single = align(estimate.to(torch.complex64 if dtype.is_complex else torch.float32), obj.to(estimate.dtype), ndim=d)
    assert torch.equal(single.shifts, whole.shifts)


def test_upsample_decides_the_flip_after_the_refinement() -> None:
    # On whole pixels the wrong orientation fits this half-shifted pair better.
    n = (16, 15)
    k = torch.meshgrid(*[torch.arange(size, dtype=torch.float64) for size in n], indexing="ij")
    obj = sum(
        h * torch.exp(-sum((a - c - s) ** 2 for a, c in zip(k, (8, 7.5), strict=True)) / (2 * w * w))
        for h, s, w in ((1, 0, 1.5), (0.7, 1.5, 1.0))
    )
    estimate = subpixel_shift(obj, (0.37, 0.37))
    assert align(estimate, obj).flipped.item()
    found = align(estimate, obj, upsample=50)
    assert not found.flipped.item()
    assert found.error.item() < 1e-5


def test_upsample_equals_a_search_over_subpixel_shifts() -> None:
    obj, estimate = blobs((15, 16), torch.float64), random(15, 16)
    found = align(estimate, obj, upsample=4, flip=False)
    errors = {}
    for j, k in np.ndindex(7, 7):
        move = (found.symmetry.shifts + (torch.tensor([j, k]) - 3) / 4).double()
        placed = subpixel_shift(estimate, move, fourier_shape=found.symmetry.fourier_shape)
        errors[tuple(move.tolist())] = -(placed[:15, :16] * obj).sum().item()
    assert tuple(found.shifts.tolist()) == min(errors, key=errors.get)  # type: ignore[arg-type]


# --- properties ------------------------------------------------------------------------------------------------------


@given(st.sampled_from(SHAPES), st.sampled_from(DTYPES), st.integers(0, 999))
def test_undoes_any_symmetry(n: tuple[int, ...], dtype: torch.dtype, seed: int) -> None:
    torch.manual_seed(seed)
    d, m = len(n), fast_fourier_shape(n, 1)
    obj = torch.zeros(3, *m, dtype=dtype)
    obj[(..., *map(slice, n))] = random(3, *n, dtype=dtype)
    estimate = RandomSymmetry(ndim=d, fourier_shape=m)(obj)
    found = align(estimate, obj, ndim=d, fourier_shape=m)
    torch.testing.assert_close(found.aligned, obj)
    torch.testing.assert_close(found.error, torch.zeros(3).double())
    assert found.error.max() < 1e-28


@given(st.sampled_from(SHAPES), st.sampled_from(DTYPES), st.integers(0, 999))
def test_error_does_not_depend_on_a_symmetry_of_the_estimate(n: tuple[int, ...], dtype: torch.dtype, seed: int) -> None:
    torch.manual_seed(seed)
    d, m = len(n), tuple(2 * size for size in n)
    estimate, obj = random(2, *m, dtype=dtype), random(2, *m, dtype=dtype)
    copy = RandomSymmetry(ndim=d, fourier_shape=m)(estimate)
    error = align(estimate, obj, ndim=d, fourier_shape=m).error
    torch.testing.assert_close(align(copy, obj, ndim=d, fourier_shape=m).error, error)
    torch.testing.assert_close(align(obj, estimate, ndim=d, fourier_shape=m).error, error)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("upsample", [1, 5])
@pytest.mark.parametrize("values", [1, 2**18])
def test_batch_equals_items(dtype: torch.dtype, upsample: int, values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    estimate, obj = random(2, 3, 5, 6, dtype=dtype), random(2, 3, 5, 6, dtype=dtype)
    monkeypatch.setattr(_memory, "pixels_at_a_time", lambda device: values)
    found = align(estimate, obj, upsample=upsample)
    for i in np.ndindex(2, 3):
        one = align(estimate[i], obj[i], upsample=upsample)
        assert one.shifts.shape == (2,)
        for name in ("aligned", "shifts", "flipped", "phase", "scale", "error"):
            torch.testing.assert_close(getattr(found, name)[i], getattr(one, name))


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_equal_candidates_are_decided_by_their_order(dtype: torch.dtype, device: torch.device) -> None:
    # A constant, a symmetric, and a periodic object: several elements fit equally well, but for rounding.
    torch.manual_seed(1)
    point = torch.rand(32, 32).to(dtype)
    symmetric = point + conj_flip(point)
    found = align(symmetric.to(device), symmetric.to(device))
    assert not found.flipped.item()
    assert found.shifts.tolist() == [0, 0]
    periodic = torch.rand(4, 4).to(dtype).repeat(4, 4)
    found = align(periodic.roll((1, 2), (0, 1)).to(device), periodic.to(device), fourier_shape=(16, 16))
    assert not found.flipped.item()
    assert found.shifts.tolist() == [3, 2]
    found = align(conj_flip(periodic.roll((1, 2), (0, 1))).to(device), periodic.to(device), fourier_shape=(16, 16))
    assert found.flipped.item()
    assert found.shifts.tolist() == [3, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_a_tiny_asymmetry_decides_the_flip(dtype: torch.dtype) -> None:
    k = torch.meshgrid(*[torch.arange(-32.0, 32)] * 2, indexing="ij")
    obj = torch.exp(-sum(a * a for a in k) / 400).to(dtype)
    obj = obj + conj_flip(obj)
    obj[20, 25] += 1e-3
    found = align(conj_flip(obj), obj)
    assert found.flipped.item()
    assert found.error.item() < 1e-12
    found = align(obj.roll((0, 1), (0, 1)), obj, fourier_shape=(64, 64))
    assert found.shifts.tolist() == [0, -1]


def test_zero_and_equal_estimates_stay_as_they_are() -> None:
    obj = random(2, 6, 6, dtype=torch.complex128)
    for estimate in (torch.zeros_like(obj), obj):
        found = align(estimate, obj)
        torch.testing.assert_close(found.aligned, estimate)
        assert not found.flipped.any()
        assert not found.shifts.any()
        torch.testing.assert_close(found.phase, torch.zeros(2).double())
    assert align(obj, torch.zeros_like(obj)).error.isfinite().all()


@pytest.mark.parametrize("size", [1e-30, 1e-18, 1e18, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_any_magnitude_is_aligned(size: float, dtype: torch.dtype) -> None:
    obj = torch.zeros(12, 12, dtype=dtype)
    obj[2:9, 3:10] = torch.randn(7, 7, dtype=dtype)
    copy = conj_flip(obj).roll((1, -2), (0, 1))
    found = align(copy * size, obj * size)
    torch.testing.assert_close(found.aligned / size, obj)
    assert found.error.item() < 1e-10 * size * size or size == 1e30
    if dtype.is_complex:
        found = align(global_phase(copy, 2.0) * size, obj / size)
        torch.testing.assert_close(found.aligned / size, obj)


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        (torch.float16, torch.float16, torch.float32),
        (torch.bfloat16, torch.float32, torch.float32),
        (torch.float32, torch.complex64, torch.complex64),
        (torch.complex64, torch.float64, torch.complex128),
    ],
)
def test_dtypes_are_promoted(first: torch.dtype, second: torch.dtype, result: torch.dtype) -> None:
    obj = torch.zeros(8, 8)
    obj[1:6, 2:7] = torch.randn(5, 5)
    found = align(conj_flip(obj).to(first), obj.to(second))
    assert found.aligned.dtype == result
    assert found.error.dtype == result.to_real()
    assert found.error.item() < 1e-3


def test_a_real_estimate_of_a_complex_object_gets_its_phase() -> None:
    obj = global_phase(torch.rand(6, 6).double(), 1.2)
    found = align(obj.abs(), obj)
    torch.testing.assert_close(found.phase, torch.tensor(1.2).double())
    torch.testing.assert_close(found.aligned, obj)


def test_what_leaves_the_box_counts_as_an_error() -> None:
    estimate, obj = torch.ones(1, 4), torch.zeros(1, 4)
    obj[0, 2:] = 1
    found = align(estimate, obj)
    assert found.error.item() == pytest.approx(2 / 4)
    small = align(torch.tensor([3.0, 0, 0, 1]), torch.tensor([0.0, 0, 3, 0]), ndim=1)
    assert small.aligned.tolist() == [0, 0, 3, 0]
    assert small.error.item() == pytest.approx(1 / 4)


def test_nothing_is_found_for_nan_but_other_items_are_safe() -> None:
    obj = random(3, 5, 5)
    estimate = conj_flip(obj)
    estimate[1, 2, 2] = math.nan
    found = align(estimate, obj)
    assert found.error[1].isnan()
    torch.testing.assert_close(found.aligned[::2], obj[::2])


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"scale": True}, {"phase": False}])
def test_gradients_take_shift_and_flip_as_constants(dtype: torch.dtype, options: dict[str, bool]) -> None:
    estimate, obj = (random(2, 3, 3, dtype=dtype).requires_grad_() for _ in range(2))
    for name in ("error", "aligned"):

        def result(x: Tensor, y: Tensor, name: str = name) -> Tensor:
            return getattr(align(x, y, **options), name)

        assert gradcheck(result, (estimate, obj), fast_mode=True)
        assert gradgradcheck(result, (estimate, obj), fast_mode=True)
    assert gradcheck(lambda x: align(x, obj.detach(), phase=False, upsample=3).aligned, (estimate,), fast_mode=True)


@pytest.mark.parametrize("of", [(1, 1), (0, 1), (1, 0), (0, 0)])
def test_zeros_have_finite_gradients_of_the_phase(of: tuple[int, int]) -> None:
    pair = [(factor * random(2, 3, 3, dtype=torch.complex128)).requires_grad_() for factor in of]
    found = align(*pair, scale=True)
    (found.error.sum() + found.aligned.abs().square().sum()).backward()
    assert all(x.grad.isfinite().all() for x in pair)


# --- errors ----------------------------------------------------------------------------------------------------------

X = torch.ones(2, 3, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: align(X.tolist(), X),
            TypeError,
            "align: estimate must be a torch.Tensor, got list. Use torch.as_tensor.",
        ),
        (
            lambda: align(X, X.int()),
            TypeError,
            "align: obj must be real or complex floating, got torch.int32. Use obj.float().",
        ),
        (
            lambda: align(X, X, phase="no"),
            TypeError,
            "align: phase must be True, False or None, got 'no'. Write it without quotes.",
        ),
        *[
            (
                lambda name=name: align(X, X, **{name: "no"}),
                TypeError,
                f"align: {name} must be True or False, got 'no'. Write it without quotes.",
            )
            for name in ("shift", "flip", "scale")
        ],
        (
            lambda: align(X, X[0]),
            ValueError,
            "align: shapes must be equal, got estimate (2, 3, 4), obj (3, 4). Expand or index one of them.",
        ),
        (
            lambda: align(X[:, :0], X[:, :0]),
            ValueError,
            "align: estimate must hold at least one element, got shape (2, 0, 4). Leave out empty batches.",
        ),
        (
            lambda: align(X[0, 0], X[0, 0]),
            ValueError,
            "align: estimate must have at least 2 axes, got shape (4,). Add one with unsqueeze(0).",
        ),
        (
            lambda: align(X, X, ndim=4),
            ValueError,
            "align: ndim must be 1, 2 or 3, got 4. Axes before these are a batch.",
        ),
        (
            lambda: align(X, X, ndim="2"),
            TypeError,
            "align: ndim must be an integer of at least 1, got '2'. Use int(ndim).",
        ),
        (
            lambda: align(X, X, upsample=0),
            ValueError,
            "align: upsample must be an integer of at least 1, got 0. Use 1 or more.",
        ),
        (
            lambda: align(X, X, upsample=1.5),
            TypeError,
            "align: upsample must be an integer of at least 1, got 1.5. Use int(upsample).",
        ),
        (
            lambda: align(X, X, fourier_shape=(3, 3)),
            ValueError,
            "align: fourier_shape must be at least the object's (3, 4), got (3, 3). Use min_fourier_shape((3, 4)).",
        ),
        (
            lambda: align(X, X, fourier_shape=64),
            TypeError,
            "align: fourier_shape must be a sequence of sizes, got 64. Use (64, 64).",
        ),
        (
            lambda: align(X, X.to("meta")),
            ValueError,
            "align: all tensors must lie on one device, got estimate on cpu, obj on meta. Move them with .to(device).",
        ),
    ],
)
def test_errors(call, error: type[Exception], message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


# --- real data -------------------------------------------------------------------------------------------------------


def test_digits_turned_and_moved_are_found_again(data_dir) -> None:  # type: ignore[no-untyped-def]
    from phaseret.datasets import SymmetryVariant, mnist

    digits = mnist(data_dir / "mnist", train=False)[:200]
    variant = SymmetryVariant(digits, canvas=(40, 40))
    plain = shift(digits, (6, 6), fourier_shape=(40, 40))
    found = align(variant[:], plain)
    assert found.error.max() == 0
    assert torch.equal(found.aligned, plain)
    noisy = align(variant[:] + 0.1 * torch.randn(200, 40, 40), plain)
    assert ((noisy.shifts == found.shifts).all(-1) & (noisy.flipped == found.flipped)).double().mean() > 0.9


def test_alignments_are_compared_by_identity() -> None:
    first, second = align(X, X), align(X, X)
    assert first == first
    assert first != second


@pytest.mark.parametrize(("device", "dtype"), [("cpu", torch.complex128), ("mps", torch.complex64)])
def test_precision_is_the_finest_that_the_device_has(device: str, dtype: torch.dtype) -> None:
    assert _fft.double(torch.complex64, torch.device(device)) == dtype


def test_a_shift_of_numbers_goes_where_the_object_is():
    assert subpixel_shift(torch.ones(3, 4, device="meta"), (0.5,)).is_meta
