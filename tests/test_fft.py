"""The transforms under everything: against numpy, explicit sums and their own definitions."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import slow_operators as slow
from phaseret import _fft

DTYPES = (torch.float64, torch.complex128)
# (object shape, grid), odd and even, padded along all, some or no axes
SHAPES = [
    ((4,), (7,)),
    ((5,), (5,)),
    ((3, 4), (6, 9)),
    ((3, 4), (3, 4)),
    ((3, 4), (3, 8)),
    ((4, 3), (7, 3)),
    ((2, 3, 4), (5, 6, 7)),
    ((2, 3, 4), (2, 6, 5)),
    ((2, 2, 3), (2, 2, 3)),
]
GRIDS = [(1,), (2,), (5,), (6,), (1, 4), (4, 5), (5, 4), (2, 3, 4), (3, 4, 5)]


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


def axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(range(-len(shape), 0))


def opposite(plane: np.ndarray) -> np.ndarray:
    """The value at the opposite frequency, pixel by pixel."""
    result = np.empty_like(plane)
    for k in np.ndindex(*plane.shape):
        result[k] = plane[tuple(-i % m for i, m in zip(k, plane.shape, strict=True))]
    return result


# --- values: transforms ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("object_shape", "shape"), SHAPES)
@pytest.mark.parametrize("norm", _fft.NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_spectrum_and_full_plane_are_the_transform_of_the_padded_object(
    object_shape: tuple[int, ...], shape: tuple[int, ...], norm: str, dtype: torch.dtype, device: torch.device
) -> None:
    obj = random(2, *object_shape, dtype=dtype)
    expected = np.fft.fftn(obj.numpy(), s=shape, axes=axes(shape), norm=norm)  # type: ignore[arg-type]
    half = expected if dtype.is_complex else expected[..., : shape[-1] // 2 + 1]
    np.testing.assert_allclose(_fft.spectrum(obj.to(device), shape, norm).cpu(), half, atol=1e-12)
    for take, of in ((None, lambda field: field), (_fft.power, lambda field: abs(field) ** 2)):
        plane = _fft.full_plane(obj.to(device), shape, norm, take)
        np.testing.assert_allclose(plane.cpu(), of(expected), atol=1e-12)
        assert plane.is_contiguous()


def test_spectrum_reuses_buffers_for_batches_of_any_size() -> None:
    buffers: dict[int, Tensor] = {}
    for items in (3, 2, 5, 1):
        obj = random(items, 3, 4)
        torch.testing.assert_close(_fft.spectrum(obj, (6, 9), "ortho", buffers), _fft.spectrum(obj, (6, 9)))


@pytest.mark.parametrize(("object_shape", "shape"), SHAPES)
@pytest.mark.parametrize("norm", _fft.NORMS)
def test_adjoints_are_those_of_the_transform(object_shape: tuple[int, ...], shape: tuple[int, ...], norm: str) -> None:
    obj, field = random(*object_shape, dtype=torch.complex128), random(*shape, dtype=torch.complex128)
    left = torch.vdot(_fft.full_plane(obj, shape, norm).flatten(), field.flatten())
    back = _fft.adjoint(field, shape, object_shape, norm)
    torch.testing.assert_close(left, torch.vdot(obj.flatten(), back.flatten()))
    hermitian = _fft.full_plane(random(*shape), shape)
    half = _fft.adjoint_half(_fft.half_from_full(hermitian), shape, object_shape, norm)
    torch.testing.assert_close(half + 0j, _fft.adjoint(hermitian, shape, object_shape, norm))


@pytest.mark.parametrize("shape", GRIDS)
def test_transform_and_inverse_undo_each_other_up_to_the_number_of_pixels(shape: tuple[int, ...]) -> None:
    for dtype in DTYPES:
        x = random(2, *shape, dtype=dtype)
        field = _fft.transform(x, len(shape))
        expected = np.fft.fftn(x.numpy(), axes=axes(shape))
        np.testing.assert_allclose(
            field, expected if dtype.is_complex else expected[..., : shape[-1] // 2 + 1], atol=1e-12
        )
        torch.testing.assert_close(_fft.inverse_sum(field, shape, not dtype.is_complex), x * x[0].numel())


# --- values: planes and their halves ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", GRIDS)
def test_full_from_half_completes_hermitian_planes_along_any_axis(shape: tuple[int, ...]) -> None:
    field = _fft.full_plane(random(2, *shape), shape)
    for dim, plane in itertools.product(axes(shape), (field, _fft.power(field))):
        half = plane.narrow(dim, 0, _fft.half_size(shape[dim]))
        torch.testing.assert_close(_fft.full_from_half(half, shape, dim), plane)


@pytest.mark.parametrize("shape", GRIDS)
def test_mirror_and_copy_opposite_half_reach_the_opposite_frequency(shape: tuple[int, ...]) -> None:
    plane = random(2, *shape)
    expected = np.stack([opposite(item.numpy()) for item in plane])
    np.testing.assert_array_equal(_fft.mirror(plane, axes(shape)), expected)
    half = _fft.half_size(shape[-1])
    filled = _fft.copy_opposite_half(plane, torch.empty(2, *shape[:-1], half, dtype=plane.dtype))
    np.testing.assert_array_equal(filled, expected[..., :half])
    assert _fft.mirror(plane, ()) is plane


@pytest.mark.parametrize("m", range(1, 8))
def test_pair_weights_count_each_pixel_of_the_plane_once(m: int) -> None:
    weights = _fft.pair_weights(m, torch.zeros((), dtype=torch.complex128))
    pixels = [min(k, m - k) for k in range(m)]
    assert weights.tolist() == [pixels.count(k) for k in range(m // 2 + 1)]
    assert weights.dtype == torch.float64


@pytest.mark.parametrize("shape", GRIDS)
def test_center_puts_the_zero_frequency_in_the_middle_and_uncenter_back(shape: tuple[int, ...]) -> None:
    plane = random(*shape)
    centered = _fft.center(plane, axes(shape))
    np.testing.assert_array_equal(centered, slow.centered(plane.numpy(), len(shape)))
    assert torch.equal(_fft.uncenter(centered, axes(shape)), plane)
    assert _fft.center(plane, ()) is _fft.uncenter(plane, ()) is plane


def test_pad_and_crop_keep_the_corner() -> None:
    obj = random(2, 3, 4)
    padded = _fft.pad(obj, (5, 6))
    assert padded.shape == (2, 5, 6)
    assert (padded != 0).sum() == obj.numel()
    assert torch.equal(_fft.crop(padded, (3, 4)), obj)
    assert _fft.pad(obj, (3, 4)) is obj
    assert torch.equal(_fft.pad_axis(obj, -2, 5), padded[..., :4])


@pytest.mark.parametrize("m", range(1, 8))
def test_frequencies_are_cycles_per_pixel(m: int) -> None:
    np.testing.assert_allclose(_fft.frequencies(m), np.fft.fftfreq(m))


# --- values: powers and magnitudes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_power_and_magnitude_are_the_modulus(scale: float, device: torch.device) -> None:
    field = (random(3, 4, 5, dtype=torch.complex128) * scale).to(device)
    field[0, 1, 2] = field[1] = 0
    np.testing.assert_allclose(_fft.magnitude(field, 2).cpu(), np.abs(field.cpu().numpy()), rtol=1e-14)
    np.testing.assert_allclose(_fft.power(field).cpu(), np.abs(field.cpu().numpy()) ** 2, rtol=1e-14)
    real = field.real
    assert torch.equal(_fft.magnitude(real, 2), real.abs())
    assert torch.equal(_fft.power(real), real.square())


def test_derivatives_of_power_and_magnitude() -> None:
    field = random(2, 3, 2, dtype=torch.complex128)
    slow.assert_derivatives(_fft.power, field)
    slow.assert_derivatives(lambda z: _fft.magnitude(z, 2), field)
    slow.assert_derivatives(_fft.power, torch.zeros_like(field))
    for function in (_fft.power, lambda z: _fft.magnitude(z, 1)):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*performance drop")
            torch.testing.assert_close(torch.func.vmap(function)(field), function(field))


def test_derivatives_of_the_magnitude_are_zero_where_it_is_zero() -> None:
    field = torch.zeros(2, 3, dtype=torch.complex128)
    field[0, 1] = 1
    field.requires_grad_()
    (grad,) = torch.autograd.grad(_fft.magnitude(field, 1).sum(), field, create_graph=True)
    torch.testing.assert_close(grad.detach(), field.detach())
    (second,) = torch.autograd.grad(grad.real.sum(), field)
    assert (second == 0).all()


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_relative_error_is_the_ratio_of_the_norms_at_any_scale(scale: float) -> None:
    magnitude, measured, weight = (torch.rand(3, 4, 5) for _ in range(3))
    expected = (weight * (magnitude - measured).square()).sum((1, 2)) / (weight * measured.square()).sum((1, 2))
    got = _fft.relative_error(scale * magnitude, scale * measured, 2, weight=weight)
    torch.testing.assert_close(got, expected.sqrt())


def test_relative_error_leaves_out_what_is_masked_and_says_what_dark_items_give() -> None:
    magnitude, measured = torch.rand(2, 6), torch.rand(2, 6)
    mask = torch.tensor([True, True, False, True, True, True])
    spoilt, field = measured.masked_fill(~mask, torch.nan), magnitude.masked_fill(~mask, torch.inf).requires_grad_()
    error = _fft.relative_error(field, spoilt, 1, mask=mask)
    kept = _fft.relative_error(magnitude[:, mask], measured[:, mask], 1)
    torch.testing.assert_close(error, kept)
    (grad,) = torch.autograd.grad(error.sum(), field)
    assert grad.isfinite().all()
    assert (grad[:, 2] == 0).all()
    zeros = torch.zeros(6)
    assert _fft.relative_error(magnitude[0], zeros, 1).isnan()
    torch.testing.assert_close(_fft.relative_error(magnitude[0], zeros, 1, dark=1.0), magnitude[0].norm())


def test_derivatives_of_the_relative_error() -> None:
    magnitude, measured = random(2, 5).abs().requires_grad_(), random(2, 5).abs().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: _fft.relative_error(a, b, 1), (magnitude, measured), fast_mode=True)
    (grad,) = torch.autograd.grad(_fft.relative_error(magnitude, magnitude.detach(), 1).sum(), magnitude)
    assert (grad == 0).all()


@pytest.mark.parametrize("shape", [(6,), (5, 8), (4, 6, 5)])
@pytest.mark.parametrize("onesided", [False, True])
def test_rings_hold_the_frequencies_that_round_to_their_own(shape: tuple[int, ...], onesided: bool) -> None:
    least = min(shape)
    x = random(2, *shape)
    rings = _fft.Rings(shape, x, onesided=onesided, centered=True)
    half = _fft.arrange(x, len(shape), onesided, True)
    total, count = torch.zeros(2, least // 2 + 1, dtype=x.dtype), torch.zeros(least // 2 + 1, dtype=torch.long)
    for k in np.ndindex(*shape):
        frequency = [np.fft.fftfreq(m)[i] for i, m in zip(k, shape, strict=True)]
        ring = math.floor(least * math.hypot(*frequency) + 0.5 + 1e-9)
        if ring <= least // 2:
            count[ring] += 1
            if not onesided or k[-1] <= shape[-1] // 2:
                total[:, ring] += x[(slice(None), *k)]
    torch.testing.assert_close(rings.sum(half), total)
    assert rings.count.tolist() == count.tolist()
    torch.testing.assert_close(rings.transfer(half, 2 * half.abs()), total / (2 * rings.sum(half.abs())))


# --- values: shifts and correlations ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("object_shape", "shape"), [((3,), (5,)), ((2, 3), (4, 5)), ((2, 2, 2), (3, 4, 3))])
@pytest.mark.parametrize("dtype", DTYPES)
def test_correlation_is_the_sum_over_pixels(
    object_shape: tuple[int, ...], shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    a, b = (_fft.pad(random(*object_shape, dtype=dtype), shape) for _ in range(2))
    direct, flipped = _fft.correlation(a, b, shape, flip=True)
    for s in np.ndindex(*shape):
        moved = b.roll([-i for i in s], axes(shape))
        twin = torch.from_numpy(opposite(a.numpy())).conj()
        torch.testing.assert_close(direct[s], (a.conj() * moved).sum())
        torch.testing.assert_close(flipped[s], (twin.conj() * moved).sum())
    assert len(_fft.correlation(a, b, shape, flip=False)) == 1
    points = torch.tensor([[0.0, 1.0, 2.0]] * len(shape), dtype=torch.float64)
    near = _fft.correlation_at(a, b, shape, points)
    np.testing.assert_allclose(near, direct[(slice(3),) * len(shape)] + 0j, atol=1e-12)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), st.data())
def test_fourier_shift_by_whole_pixels_is_a_roll(sizes: list[int], data: st.DataObject) -> None:
    shape = tuple(sizes)
    shifts = torch.tensor([data.draw(st.integers(-7, 7)) for _ in shape])
    for dtype in DTYPES:
        x = random(*shape, dtype=dtype)
        moved = _fft.fourier_shift(x, shifts.double(), shape)
        torch.testing.assert_close(moved, x.roll(shifts.tolist(), axes(shape)))
        assert moved.dtype == dtype


def test_fourier_shift_interpolates_trigonometrically() -> None:
    x = torch.arange(9, dtype=torch.float64)
    shifts = torch.tensor([[0.25], [-1.6]], dtype=torch.float64)
    moved = _fft.fourier_shift(torch.cos(2 * torch.pi * 3 * x / 9), shifts, (9,))
    torch.testing.assert_close(moved, torch.cos(2 * torch.pi * 3 * (x - shifts) / 9))


# --- properties and pieces -------------------------------------------------------------------------------------------


def test_promote_leaves_nothing_below_single_precision() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        assert _fft.promote(torch.ones(2, dtype=dtype)).dtype == torch.float32
    for dtype in (torch.float32, torch.complex64, *DTYPES, torch.int64):
        x = torch.ones(2, dtype=dtype)
        assert _fft.promote(x) is x


def test_adjoint_of_rows_a_power_of_two_apart() -> None:
    field = torch.randn(2, 4, 256, 3, dtype=torch.complex128)
    shape, object_shape = (4, 256, 3), (2, 100, 2)
    expected = torch.fft.ifftn(field, dim=(-3, -2, -1), norm="ortho")[:, :2, :100, :2]
    torch.testing.assert_close(_fft.adjoint(field, shape, object_shape), expected)
