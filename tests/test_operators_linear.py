"""Gaussian and Fresnel measurements and the autocorrelation against matrices, closed forms and explicit sums."""

from __future__ import annotations

import copy
import math
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import slow_operators as slow
from phaseret import testing
from phaseret.operators import (
    Autocorrelation,
    FourierIntensity,
    FourierMagnitude,
    Fresnel,
    Gaussian,
    Operator,
    autocorrelation,
    fourier_intensity,
    fresnel,
    gaussian,
    gaussian_matrix,
)
from phaseret.operators._gaussian import _exact_products

DTYPES = (torch.float64, torch.complex128)


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def reduced_precision() -> Iterator[None]:
    """The user lets torch compute float32 products in TF32 or bfloat16."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


# --- values: Gaussian ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("object_shape", [(5,), (3, 4), (2, 3, 2)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("matrix_dtype", DTYPES)
def test_gaussian_is_the_product_with_each_row(
    object_shape: tuple[int, ...], dtype: torch.dtype, matrix_dtype: torch.dtype, device: torch.device
) -> None:
    obj, matrix = random(*object_shape, dtype=dtype), random(7, *object_shape, dtype=matrix_dtype)
    expected = np.array([(row * obj).sum().item() for row in matrix])
    op = Gaussian(matrix.to(device))
    np.testing.assert_allclose(op.linear(obj.to(device)).cpu(), expected, atol=1e-12)
    np.testing.assert_allclose(op(obj.to(device)).cpu(), abs(expected) ** 2, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gaussian_entries_have_mean_0_and_mean_square_1(dtype: torch.dtype) -> None:
    entries = gaussian_matrix((20, 20), 1000, generator=seeded(), dtype=dtype).flatten()
    bound = 5 / len(entries) ** 0.5
    assert entries.mean().abs() < bound
    assert (entries.abs().square().mean() - 1).abs() < 2 * bound
    assert (entries.abs() ** 4).mean() == pytest.approx(2 if dtype.is_complex else 3, rel=0.02)
    if dtype.is_complex:
        assert entries.square().mean().abs() < 2 * bound
        assert entries.real.square().mean() == pytest.approx(0.5, rel=0.01)


def test_gaussian_matrix_is_seeded_and_equal_in_every_precision() -> None:
    for single, double in ((torch.float32, torch.float64), (torch.complex64, torch.complex128)):
        first = gaussian_matrix((3, 4), 5, generator=seeded(1), dtype=double)
        assert torch.equal(gaussian_matrix((3, 4), 5, generator=seeded(1), dtype=single), first.to(single))
        assert not torch.equal(gaussian_matrix((3, 4), 5, generator=seeded(2), dtype=double), first)
    torch.manual_seed(1)
    assert torch.equal(gaussian_matrix((3, 4), 5), gaussian_matrix((3, 4), 5, generator=seeded(1)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("matrix_dtype", [torch.float32, torch.complex64])
@pytest.mark.usefixtures("reduced_precision")
def test_gaussian_ignores_reduced_precision(
    dtype: torch.dtype, matrix_dtype: torch.dtype, device: torch.device
) -> None:
    obj = torch.randn(16, 300, dtype=dtype, device=device, requires_grad=True)
    matrix = gaussian_matrix((300,), 400, generator=seeded(), dtype=matrix_dtype, device=device)
    wide = obj.detach().to(torch.complex128).requires_grad_()
    expected = gaussian(wide, matrix.to(torch.complex128))
    for enabled in (False, True):
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
            result = gaussian(obj, matrix)
        assert result.dtype == torch.float32
        torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-5 * 300)
        (grad,) = torch.autograd.grad(result.sum(), obj)
        (exact,) = torch.autograd.grad(expected.sum(), wide, retain_graph=True)
        exact = exact if dtype.is_complex else exact.real
        torch.testing.assert_close(grad.to(exact.dtype), exact, rtol=1e-5, atol=1e-5 * exact.abs().max().item())


def test_gaussian_computes_in_double_where_the_setting_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def mixed() -> str:
        raise RuntimeError("mix of the legacy and new APIs")

    obj, matrix = torch.rand(5, 30), gaussian_matrix((30,), 40, dtype=torch.float32)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", mixed)
    expected = (obj.double() @ matrix.double().T).float()
    assert torch.equal(Gaussian(matrix).linear(obj), expected)


# --- values: Fresnel -------------------------------------------------------------------------------------------------


def slow_fresnel(
    obj: np.ndarray,
    shape: tuple[int, ...],
    distance: float,
    wavelength: float,
    sizes: tuple[float, ...],
    paraxial: bool,
) -> np.ndarray:
    """Sum of plane waves, each with its own phase (or decay), on the crop of the grid."""
    spectrum = slow.dft(obj, shape)
    result = np.zeros(obj.shape, dtype=complex)
    for k in np.ndindex(*shape):
        u = [((i + m // 2) % m - m // 2) / m for i, m in zip(k, shape, strict=True)]
        sine2 = sum((wavelength * f / size) ** 2 for f, size in zip(u, sizes, strict=True))
        if paraxial:
            factor = np.exp(-1j * np.pi * distance / wavelength * sine2)
        elif sine2 <= 1:
            factor = np.exp(2j * np.pi * distance / wavelength * (np.sqrt(1 - sine2) - 1))
        else:
            factor = np.exp(-2 * np.pi / wavelength * (abs(distance) * np.sqrt(sine2 - 1) + 1j * distance))
        for x in np.ndindex(*obj.shape):
            phase = np.exp(2j * np.pi * sum(a * b / m for a, b, m in zip(k, x, shape, strict=True)))
            result[x] += spectrum[k] * factor * phase / np.sqrt(np.prod(shape))
    return result


@pytest.mark.parametrize(
    ("object_shape", "fourier_shape"),
    [((6,), (6,)), ((5,), (9,)), ((3, 4), (3, 4)), ((4, 3), (7, 6)), ((2, 2, 3), (3, 2, 4))],
)
@pytest.mark.parametrize("paraxial", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_fresnel_is_a_sum_of_plane_waves(
    object_shape: tuple[int, ...],
    fourier_shape: tuple[int, ...],
    paraxial: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    obj = random(*object_shape, dtype=dtype)
    sizes = (0.7, 1.1, 2.0)[: len(object_shape)]  # at 0.7 the largest frequencies are evanescent
    for distance in (3.0, -0.2):
        expected = slow_fresnel(obj.numpy(), fourier_shape, distance, 1.5, sizes, paraxial)
        op = Fresnel(fourier_shape, distance=distance, wavelength=1.5, pixel_size=sizes, paraxial=paraxial).to(device)
        np.testing.assert_allclose(op.linear(obj.to(device)).cpu(), expected, atol=1e-12)
        np.testing.assert_allclose(op(obj.to(device)).cpu(), abs(expected) ** 2, atol=1e-12)


def test_fresnel_number_stands_for_distance_wavelength_and_pixel_size() -> None:
    obj = random(4, 5, dtype=torch.complex128)
    number = 2e-6**2 / (1e-10 * 0.3)
    torch.testing.assert_close(
        fresnel(obj, (8, 9), fresnel_number=number),
        fresnel(obj, (8, 9), distance=0.3, wavelength=1e-10, pixel_size=2e-6),
    )


def test_fresnel_spreads_a_gaussian_beam_as_in_the_closed_form() -> None:
    x = torch.arange(128, dtype=torch.float64) - 64
    waist, distance = 6.0, 150.0  # in pixels, for wavelength 1
    q = 1 + 1j * distance / (math.pi * waist**2)
    beam = torch.exp(-(x[:, None] ** 2 + x**2) / waist**2)
    expected = torch.exp(-(x[:, None] ** 2 + x**2) / (waist**2 * q)) / q
    field = Fresnel((128, 128), distance=distance, wavelength=1, pixel_size=1).linear(beam)
    torch.testing.assert_close(field, expected, rtol=0, atol=1e-6)


def test_fresnel_repeats_a_grating_at_the_talbot_distance() -> None:
    period = 8
    grating = (torch.arange(32) % period < 3).double() + 0.1
    whole = Fresnel((32,), distance=2 * period**2, wavelength=1, pixel_size=1)
    torch.testing.assert_close(whole.linear(grating), grating + 0j)
    half = Fresnel((32,), distance=period**2, wavelength=1, pixel_size=1)
    torch.testing.assert_close(half.linear(grating), grating.roll(period // 2) + 0j)


def test_fresnel_tends_to_the_angular_spectrum_at_small_angles() -> None:
    obj = random(16, 16, dtype=torch.complex128)
    options = {"distance": 0.01, "wavelength": 1e-10, "pixel_size": 1e-6}
    fields = [Fresnel((16, 16), paraxial=paraxial, **options).linear(obj) for paraxial in (True, False)]
    torch.testing.assert_close(*fields, rtol=0, atol=1e-6)


def test_fresnel_follows_an_option_that_changes() -> None:
    optics: dict[str, Any] = {"distance": 1.0, "wavelength": 0.5, "pixel_size": 1.0}
    obj = torch.polar(torch.rand(2, 6, 6), torch.rand(2, 6, 6))
    changes = {"distance": [2.0, 3.0], "wavelength": 0.7, "pixel_size": (2.0, 1.0), "paraxial": False}
    for name, value in (changes | {"fourier_shape": (8, 9)}).items():
        operator = Fresnel((7, 7), **optics).to(torch.float32)
        before = operator(obj)
        twin = copy.deepcopy(operator)
        setattr(twin, name, value)
        expected = Fresnel(**{"fourier_shape": (7, 7), **optics, name: value})
        torch.testing.assert_close(twin(obj), expected(obj))
        assert repr(twin) == repr(expected)
        assert torch.equal(operator(obj), before)
        with pytest.raises((TypeError, ValueError), match=f"^Fresnel: {name} must"):
            setattr(twin, name, "no")
        torch.testing.assert_close(twin(obj), expected(obj))


def test_fresnel_without_distance_is_the_identity() -> None:
    obj = random(5, dtype=torch.complex128)
    op = Fresnel((9,), distance=[0.0, 1.0], wavelength=1, pixel_size=1)
    torch.testing.assert_close(op.linear(obj)[0], obj)


def test_fresnel_of_several_distances_is_each_of_them() -> None:
    obj = random(2, 4, 5)
    numbers = [0.5, 0.1, -0.2]
    several = fresnel(obj, (8, 10), fresnel_number=numbers)
    assert several.shape == (2, 3, 4, 5)
    each = torch.stack([fresnel(obj, (8, 10), fresnel_number=number) for number in numbers], dim=1)
    torch.testing.assert_close(several, each)
    assert fresnel(obj, (8, 10), fresnel_number=[0.5]).shape == (2, 1, 4, 5)


def test_padding_keeps_the_wave_from_returning_on_the_other_side() -> None:
    obj = torch.zeros(32, dtype=torch.complex128)
    obj[1] = 1
    free = Fresnel((4096,), fresnel_number=0.02).linear(obj)
    padded, circular = (Fresnel((m,), fresnel_number=0.02).linear(obj) for m in (128, 32))
    assert (padded - free).norm() < 0.2 * (circular - free).norm()


def test_fresnel_is_held_in_double_precision_and_used_in_that_of_the_object() -> None:
    op = Fresnel((4,), fresnel_number=1e-3)
    assert op.kernel.dtype == torch.complex128
    assert op(torch.rand(4)).dtype == torch.float32
    assert op(random(4)).dtype == torch.float64
    assert op.to(torch.float32).kernel.dtype == torch.complex64


# --- values: autocorrelation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("object_shape", "fourier_shape"),
    [((4,), (7,)), ((3,), (8,)), ((3, 2), (5, 4)), ((2, 3), (4, 5)), ((2, 1, 2), (3, 2, 4))],
)
@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
@pytest.mark.parametrize("centered", [False, True])
def test_autocorrelation_is_the_sum_of_products(
    object_shape: tuple[int, ...], fourier_shape: tuple[int, ...], norm: str, centered: bool, device: torch.device
) -> None:
    for dtype, onesided in ((torch.complex128, False), (torch.float64, False), (torch.float64, True)):
        obj = random(*object_shape, dtype=dtype)
        options = {"norm": norm, "centered": centered, "onesided": onesided}
        expected = slow.autocorrelation(obj.numpy(), fourier_shape)
        expected = slow.centered(expected, len(fourier_shape)) if centered else expected
        intensity = fourier_intensity(obj.to(device), fourier_shape, **options)  # type: ignore[arg-type]
        result = autocorrelation(intensity, fourier_shape, **options)  # type: ignore[arg-type]
        assert result.is_complex() is not onesided
        np.testing.assert_allclose(result.cpu(), expected.real if onesided else expected, atol=1e-12)


def test_autocorrelation_of_any_full_plane_is_its_inverse_transform() -> None:
    intensity = torch.rand(3, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(autocorrelation(intensity, (5, 6), norm="backward"), torch.fft.ifft2(intensity))


# --- properties ------------------------------------------------------------------------------------------------------


@st.composite
def operators(draw: st.DrawFn) -> tuple[Operator, Tensor]:
    """Either operator of one to three axes with random options, and an object for it."""
    n = draw(testing.object_shapes(None))
    return draw(testing.operators(n, kinds=["gaussian", "fresnel"])), draw(testing.objects(n, generic=True))


@given(operators())
def test_adjoint_identity(case: tuple[Operator, Tensor]) -> None:
    op, obj = case
    slow.assert_adjoint(op, obj, torch.randn_like(op.linear(obj).to(torch.complex128)))


def test_gram_diagonal_is_what_each_pixel_of_the_object_adds() -> None:
    for dtype in DTYPES:
        op = Gaussian(gaussian_matrix((3, 4), 20, dtype=torch.float64).to(dtype))
        slow.assert_gram_diagonal(op, (3, 4), torch.rand(2, 20, dtype=torch.float64))
    assert Fresnel((3, 4), fresnel_number=1.0).gram_diagonal(torch.ones(3, 4)) is None


@given(operators(), st.data())
def test_intensity_is_invariant_to_global_phase(case: tuple[Operator, Tensor], data: st.DataObject) -> None:
    op, obj = case
    symmetry = data.draw(testing.symmetries(obj, ndim=obj.ndim, group="phase,sign"))
    testing.assert_invariant(op, obj, symmetry=symmetry)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.floats(-1e3, 1e3), st.booleans())
def test_fresnel_without_padding_is_unitary_and_its_adjoint_propagates_back(
    sizes: list[int], distance: float, paraxial: bool
) -> None:
    options = {"wavelength": 0.5, "pixel_size": 1.0, "paraxial": paraxial}  # no evanescent waves up to 2 axes
    sizes = sizes[:2]
    obj = random(*sizes, dtype=torch.complex128)
    there = Fresnel(sizes, distance=distance, **options)  # type: ignore[arg-type]
    back = Fresnel(sizes, distance=-distance, **options)  # type: ignore[arg-type]
    torch.testing.assert_close(there(obj).sum(), obj.abs().square().sum())
    torch.testing.assert_close(there.adjoint(there.linear(obj)), obj)
    torch.testing.assert_close(back.linear(there.linear(obj)), obj)


@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_equals_items(dtype: torch.dtype) -> None:
    obj = random(2, 3, 4, 5, dtype=dtype)
    slow.assert_batched(Gaussian(random(7, 4, 5, dtype=torch.complex128)), obj)
    slow.assert_batched(Gaussian(random(7, 5)), obj)
    slow.assert_batched(Fresnel((4, 7), fresnel_number=0.3), obj)
    slow.assert_batched(Fresnel((7,), fresnel_number=[0.3, 1]), obj)
    view = Autocorrelation((4, 5))
    torch.testing.assert_close(
        view(obj.real), torch.stack([view(item) for item in obj.real.flatten(0, 1)]).reshape(obj.shape)
    )


@pytest.mark.parametrize("chunk", [1, 4, 9])
def test_chunk_changes_nothing(chunk: int) -> None:
    obj, matrix = random(3, 2, 4, dtype=torch.complex128), random(6, 4, dtype=torch.complex128)
    slow.assert_chunked(Gaussian(matrix), Gaussian(matrix, chunk=chunk), obj)
    slow.assert_chunked(Fresnel((6,), fresnel_number=1), Fresnel((6,), fresnel_number=1, chunk=chunk), obj)
    intensity = torch.rand(3, 2, 4)
    torch.testing.assert_close(autocorrelation(intensity, (4,), chunk=chunk), autocorrelation(intensity, (4,)))


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients(dtype: torch.dtype) -> None:
    obj = random(2, 4, dtype=dtype)
    obj[0, 1] = 0
    for other in DTYPES:
        slow.assert_derivatives(gaussian, obj, random(3, 4, dtype=other))
        slow.assert_derivatives(gaussian, torch.zeros_like(obj), random(3, 4, dtype=other))
    slow.assert_derivatives(Fresnel((5,), fresnel_number=0.7), obj)
    slow.assert_derivatives(Fresnel((5,), fresnel_number=[0.7, 2]), torch.zeros_like(obj))
    slow.assert_derivatives(
        Fresnel((3, 2), distance=1, wavelength=1.5, pixel_size=1, paraxial=False), random(2, 2, dtype=dtype)
    )


def test_gradients_of_linear_and_adjoint() -> None:
    for op in (Gaussian(random(5, 3, dtype=torch.complex128)), Fresnel((4,), fresnel_number=[0.7, 2])):
        obj = random(3, dtype=torch.complex128)
        slow.assert_derivatives(op.linear, obj)
        slow.assert_derivatives(op.adjoint, op.linear(obj))


def test_gradients_of_the_autocorrelation() -> None:
    slow.assert_derivatives(lambda y: autocorrelation(y, (3, 4), centered=True), torch.rand(2, 3, 4).double())
    slow.assert_derivatives(lambda y: autocorrelation(y, (3, 4), onesided=True), torch.rand(2, 3, 3).double())
    view = nn.Sequential(FourierIntensity((5,), onesided=True), Autocorrelation((5,), onesided=True))
    slow.assert_derivatives(view, random(2, 3))
    slow.assert_derivatives(view, torch.zeros(3).double())


@pytest.mark.parametrize("scale", [1e-30, 1e-23, 1e15])
def test_gradient_is_finite_at_any_scale(scale: float) -> None:
    for op in (Gaussian(gaussian_matrix((4,), 6, generator=seeded())), Fresnel((7,), fresnel_number=0.3)):
        obj = (torch.rand(4) * scale).requires_grad_()
        (grad,) = torch.autograd.grad(op(obj).sum(), obj)
        (one,) = torch.autograd.grad(op(obj / scale).sum(), obj)
        torch.testing.assert_close(grad / scale, one * scale)


def test_torch_func_transforms() -> None:
    obj = random(3, 4)
    for op in (Gaussian(random(6, 4)), Fresnel((7,), fresnel_number=[0.3, 1])):

        def value(obj: Tensor, op: Gaussian | Fresnel = op) -> Tensor:
            return op(obj).square().sum()

        x = obj.clone().requires_grad_()
        (expected,) = torch.autograd.grad(value(x), x)
        torch.testing.assert_close(torch.func.vmap(torch.func.grad(value))(obj), expected)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (
            (4, 2),
            {},
            TypeError,
            "object_shape must be a sequence of sizes, got 4. Use (4, 4).",
        ),
        (((4,), 2.5), {}, TypeError, "count must be an integer of at least 1, got 2.5. Use int(count)."),
        (
            ((4,), 2),
            {"generator": 3},
            TypeError,
            "generator must be a torch.Generator, got 3. Use torch.Generator().manual_seed(0).",
        ),
        (
            ((4,), 2),
            {"dtype": torch.half},
            ValueError,
            "dtype must be one of torch.float32, torch.float64, torch.complex64, torch.complex128, got "
            "torch.float16. Choose one of these.",
        ),
    ],
)
def test_gaussian_matrix_errors(
    arguments: tuple[object, ...], options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        gaussian_matrix(*arguments, **options)  # type: ignore[arg-type]
    assert str(caught.value) == f"gaussian_matrix: {message}"


MATRIX = torch.ones(3, 4)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((2,), {}, TypeError, "matrix must be a torch.Tensor, got int. Use torch.as_tensor."),
        (
            (MATRIX.int(),),
            {},
            TypeError,
            "matrix must be real or complex floating, got torch.int32. Use matrix.float().",
        ),
        (
            (torch.ones(4),),
            {},
            ValueError,
            "matrix must have the shape (M, n1..nd) with d = 1, 2 or 3, got (4,). Give a single row an "
            "axis with matrix[None].",
        ),
        (
            (torch.ones(0, 4),),
            {},
            ValueError,
            "matrix must hold at least one element, got shape (0, 4). Leave out empty batches.",
        ),
        ((MATRIX,), {"chunk": 0}, ValueError, "chunk must be an integer of at least 1, got 0. Use 1 or more."),
    ],
)
def test_gaussian_construction_errors(
    arguments: tuple[object, ...], options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        Gaussian(*arguments, **options)  # type: ignore[arg-type]
    assert str(caught.value) == f"Gaussian: {message}"


RULE = "fresnel_number, or distance with wavelength and pixel_size, must be given, got"


@pytest.mark.parametrize(
    ("shape", "options", "error", "message"),
    [
        (
            4,
            {"fresnel_number": 1},
            TypeError,
            "fourier_shape must be a sequence of sizes, got 4. Use (4, 4).",
        ),
        ((4,), {}, ValueError, f"{RULE} none of them. Give one description of the distance."),
        (
            (4,),
            {"distance": 1, "wavelength": 1},
            ValueError,
            f"{RULE} distance, wavelength. Give one description of the distance.",
        ),
        (
            (4,),
            {"fresnel_number": 1, "wavelength": 1},
            ValueError,
            f"{RULE} fresnel_number, wavelength. Give one description of the distance.",
        ),
        (
            (4,),
            {"fresnel_number": 1, "paraxial": False},
            ValueError,
            "fresnel_number must be left out with paraxial=False, got both. "
            "The angular spectrum needs distance, wavelength and pixel_size.",
        ),
        (
            (4,),
            {"fresnel_number": [1, 0]},
            ValueError,
            "fresnel_number must not be 0, got 0. It is infinite at distance 0.",
        ),
        (
            (4,),
            {"fresnel_number": [1.0, 1e-320]},
            ValueError,
            "fresnel_number must give finite phases, got [1.0, 1e-320]. Check the units.",
        ),
        (
            (4,),
            {"fresnel_number": 1e-320},
            ValueError,
            "fresnel_number must give finite phases, got 1e-320. Check the units.",
        ),
        (
            (4,),
            {"distance": 1e300, "wavelength": 1e-300, "pixel_size": 1},
            ValueError,
            "distance / wavelength must give finite phases, got 1e+300 / 1e-300. Check the units.",
        ),
        (
            (4,),
            {"fresnel_number": torch.ones(2)},
            TypeError,
            "fresnel_number must be a number or a sequence of numbers, got Tensor. Use fresnel_number.tolist().",
        ),
        (
            (4,),
            {"distance": np.ones(2), "wavelength": 1, "pixel_size": 1},
            TypeError,
            "distance must be a number or a sequence of numbers, got ndarray. Use distance.tolist().",
        ),
        (
            (4,),
            {"fresnel_number": "x"},
            TypeError,
            "fresnel_number must be a finite number, got 'x'. Use float(fresnel_number), or one number.",
        ),
        (
            (4,),
            {"fresnel_number": []},
            ValueError,
            "fresnel_number must hold at least one number, got []. Give a number or a list.",
        ),
        (
            (4,),
            {"fresnel_number": [1, math.nan]},
            ValueError,
            "fresnel_number must be a finite number, got nan. Choose a number in this range.",
        ),
        (
            (4,),
            {"distance": 1, "wavelength": 0, "pixel_size": 1},
            ValueError,
            "wavelength must be a finite number above 0, got 0. Choose a number in this range.",
        ),
        (
            (4,),
            {"distance": 1, "wavelength": 1, "pixel_size": -1},
            ValueError,
            "pixel_size must be a finite number above 0, got -1. Choose a number in this range.",
        ),
        (
            (4, 4),
            {"distance": 1, "wavelength": 1, "pixel_size": [1, 1, 1]},
            ValueError,
            "pixel_size must be one number or 2, got 3. Give one for each axis, or one for all.",
        ),
        (
            (4,),
            {"fresnel_number": 1, "chunk": 0},
            ValueError,
            "chunk must be an integer of at least 1, got 0. Use 1 or more.",
        ),
    ],
)
def test_fresnel_construction_errors(
    shape: tuple[int, ...], options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        Fresnel(shape, **options)  # type: ignore[arg-type]
    assert str(caught.value) == f"Fresnel: {message}"


@pytest.mark.parametrize(
    ("obj", "error", "message"),
    [
        ([1.0], TypeError, "obj must be a torch.Tensor, got list. Use torch.as_tensor."),
        (torch.ones(4).int(), TypeError, "obj must be real or complex floating, got torch.int32. Use obj.float()."),
        (
            torch.ones(()),
            ValueError,
            "obj must have at least 1 axes, got shape (). Add one with unsqueeze(0).",
        ),
        (
            torch.ones(0, 4),
            ValueError,
            "obj must hold at least one element, got shape (0, 4). Leave out empty batches.",
        ),
    ],
)
def test_object_errors(obj: Tensor, error: type[Exception], message: str) -> None:
    for op in (Gaussian(MATRIX), Fresnel((4,), fresnel_number=1)):
        for function, end in ((op, ""), (op.linear, ".linear")):
            with pytest.raises(error) as caught:
                function(obj)
            assert str(caught.value) == f"{type(op).__name__}{end}: {message}"


def test_shape_errors() -> None:
    propagate = Fresnel((4,), fresnel_number=[1, 2])
    with pytest.raises(
        ValueError, match=r"^gaussian: obj must have the shape \(\*, 4\), got \(2, 5\)\. Pad or crop it"
    ):
        gaussian(torch.ones(2, 5), MATRIX)
    with pytest.raises(
        ValueError, match=r"^Gaussian\.adjoint: field must have the shape \(\*, 3\), got \(4,\)\. It is"
    ):
        Gaussian(MATRIX).adjoint(torch.ones(4))
    with pytest.raises(
        ValueError, match=r"^Gaussian\.adjoint: object_shape must be \(4,\), got \(5,\)\. Leave it out\.$"
    ):
        Gaussian(MATRIX).adjoint(torch.ones(3), (5,))
    grid = (
        r"fourier_shape must be at least \(5,\), the shape of the object, got \(4,\)\. Pad more, or crop the object\.$"
    )
    with pytest.raises(ValueError, match=f"^Fresnel: {grid}"):
        propagate(torch.ones(5))
    with pytest.raises(ValueError, match=rf"^Fresnel\.adjoint: {grid}"):
        propagate.adjoint(torch.ones(2, 5))
    with pytest.raises(
        ValueError, match=r"^Fresnel\.adjoint: field must have the shape \(\*, 2, 4\), got \(3, 4\)\. It is"
    ):
        propagate.adjoint(torch.ones(3, 4))
    with pytest.raises(
        ValueError,
        match=r"^Fresnel\.adjoint: field must have at least 2 axes, got shape \(4,\)\. Add one with unsqueeze\(0\)\.$",
    ):
        propagate.adjoint(torch.ones(4))
    with pytest.raises(
        ValueError, match=r"^Fresnel\.adjoint: object_shape must be \(4,\), got \(3,\)\. Leave it out\.$"
    ):
        propagate.adjoint(torch.ones(2, 4), (3,))
    with pytest.raises(TypeError, match=r"^fresnel: obj must be a torch\.Tensor, got list\. Use torch\.as_tensor\.$"):
        fresnel([1.0], (4,), fresnel_number=1)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"^gaussian: all tensors must lie on one device, got obj on meta, matrix on cpu"
    ):
        gaussian(torch.ones(4, device="meta"), MATRIX)


@pytest.mark.parametrize(
    ("intensity", "shape", "options", "error", "message"),
    [
        (1, (4,), {}, TypeError, "intensity must be a torch.Tensor, got int. Use torch.as_tensor."),
        (
            torch.ones(4) + 0j,
            (4,),
            {},
            TypeError,
            "intensity must be real floating, got torch.complex64. Use intensity.abs() or intensity.real.",
        ),
        (
            torch.ones(2, 3),
            (4,),
            {},
            ValueError,
            "intensity must have the shape (*, 4), got (2, 3). For the other half of the data change onesided.",
        ),
        (
            torch.ones(4),
            (4, 4),
            {"onesided": True},
            ValueError,
            "intensity must have the shape (*, 4, 3), got (4,). For the other half of the data change onesided.",
        ),
        (
            torch.ones(0, 4),
            (4,),
            {},
            ValueError,
            "intensity must hold at least one element, got shape (0, 4). Leave out empty batches.",
        ),
        (
            torch.ones(4),
            4,
            {},
            TypeError,
            "fourier_shape must be a sequence of sizes, got 4. Use (4, 4).",
        ),
        (
            torch.ones(4),
            (4,),
            {"norm": ""},
            ValueError,
            "norm must be one of 'ortho', 'backward', 'forward', got ''. Choose one of these.",
        ),
        (
            torch.ones(4),
            (4,),
            {"chunk": 0},
            ValueError,
            "chunk must be an integer of at least 1, got 0. Use 1 or more.",
        ),
    ],
)
def test_autocorrelation_errors(
    intensity: Tensor, shape: tuple[int, ...], options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        autocorrelation(intensity, shape, **options)  # type: ignore[arg-type]
    assert str(caught.value) == f"autocorrelation: {message}"


# --- modules ---------------------------------------------------------------------------------------------------------


def test_buffers_follow_the_dtype_and_state_dict_carries_the_matrix() -> None:
    op = Gaussian(gaussian_matrix((4,), 3, generator=seeded()))
    assert op.double().matrix.dtype == torch.complex128
    assert op.half().matrix.dtype == torch.complex64
    other = Gaussian(torch.zeros(3, 4, dtype=torch.complex64))
    other.load_state_dict(op.state_dict())
    assert torch.equal(other.matrix, op.matrix)
    assert Fresnel((4,), fresnel_number=1).state_dict() == {}


def test_repr_shows_the_options() -> None:
    assert repr(Gaussian(MATRIX)) == "Gaussian(matrix=tensor of shape (3, 4))"
    assert repr(Fresnel((4, 4), fresnel_number=[1, 2], chunk=3)) == (
        "Fresnel(fourier_shape=(4, 4), fresnel_number=[1, 2], paraxial=True, chunk=3)"
    )
    assert repr(Fresnel((4,), distance=1, wavelength=2, pixel_size=3, paraxial=False)) == (
        "Fresnel(fourier_shape=(4,), distance=1, wavelength=2, pixel_size=3, paraxial=False)"
    )
    assert repr(Autocorrelation((4, 4), onesided=True)) == (
        "Autocorrelation(fourier_shape=(4, 4), norm='ortho', centered=False, onesided=True)"
    )


def test_an_operator_checks_its_objects_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for op in (Gaussian(MATRIX), Fresnel((4,), fresnel_number=1)):
        seen: list[Tensor] = []
        check = type(op)._check
        monkeypatch.setattr(type(op), "_check", lambda self, obj, c=check, s=seen: (s.append(obj), c(self, obj)))
        op(torch.rand(4))
        op.linear(torch.rand(4))
        assert len(seen) == 2


def test_an_operator_of_the_user_needs_the_two_numbers_and_the_two_maps() -> None:
    class Doubled(Operator):
        object_ndim = data_ndim = 1

        def __init__(self, gain: Tensor, chunk: int | None = None) -> None:
            super().__init__(gain=gain, chunk=chunk)

        def linear(self, obj: Tensor) -> Tensor:
            return self.gain * obj

    op = Doubled(torch.tensor([2.0]), chunk=1)
    torch.testing.assert_close(op(torch.ones(3, 4)), torch.full((3, 4), 4.0))
    assert repr(op) == "Doubled(gain=tensor of shape (1,), chunk=1)"
    assert op.double().gain.dtype == torch.float64
    assert op.data_shape is None
    assert op.weights(torch.ones(2)) == 1
    with pytest.raises(TypeError, match=r"^Doubled: obj must be real or complex floating"):
        op(torch.ones(3, 4, dtype=torch.int64))


@pytest.mark.parametrize("given", ["fourier", FourierIntensity, None, 3])
def test_what_is_no_operator_is_refused_in_one_wording(given: Any) -> None:
    with pytest.raises(TypeError, match=r"operator must be an Operator, got \w+\. Use one of phaseret\.operators, or"):
        Operator.check(given)
    with pytest.raises(ValueError, match=r"operator must measure intensities, got FourierMagnitude\. Use Fourier"):
        Operator.check(FourierMagnitude((4,)))
    Operator.check(FourierMagnitude((4,)), intensities=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_promoted(dtype: torch.dtype) -> None:
    obj = torch.rand(4).to(dtype)
    assert gaussian(obj, MATRIX.to(dtype)).dtype == torch.float32
    assert fresnel(obj, (4,), fresnel_number=1).dtype == torch.float32
    assert autocorrelation(obj, (4,)).dtype == torch.complex64
    assert autocorrelation(obj, (6,), onesided=True).dtype == torch.float32


def test_module_and_function_agree() -> None:
    obj = random(2, 4)
    torch.testing.assert_close(Gaussian(MATRIX.double(), chunk=1)(obj), gaussian(obj, MATRIX.double(), chunk=1))
    options = {"distance": [1.0, 2.0], "wavelength": 0.5, "pixel_size": 1.0, "paraxial": False, "chunk": 1}
    torch.testing.assert_close(Fresnel((6,), **options)(obj), fresnel(obj, (6,), **options))  # type: ignore[arg-type]
    intensity = torch.rand(3, 4)
    options = {"norm": "backward", "centered": True, "chunk": 2}
    torch.testing.assert_close(
        Autocorrelation((3, 4), **options)(intensity),
        autocorrelation(intensity, (3, 4), **options),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("far", [0, 1])
def test_one_distance_of_several_that_no_phase_has_is_refused(far: int) -> None:
    distance = [1.0, 1.0]
    distance[far] = 1e304
    with pytest.raises(ValueError, match=r"must give finite phases, got .*1e[+]?304.*Check the units"):
        Fresnel((8, 8), distance=distance, wavelength=1e-5, pixel_size=1e-5)


@pytest.mark.parametrize("make", [lambda: Fresnel((8, 8), fresnel_number=1.0), lambda: Gaussian(torch.rand(5, 8, 8))])
def test_a_field_on_another_device_is_refused_by_name(make: Any) -> None:
    op = make()
    field = op.linear(torch.rand(8, 8)).to("meta")
    with pytest.raises(ValueError, match=r"field.*device"):
        op.adjoint(field, (8, 8))


@pytest.mark.parametrize("allowed", [False, True])
def test_while_compiling_single_precision_is_exact_unless_tf32_is_allowed(
    monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    settings = types.SimpleNamespace(matmul=types.SimpleNamespace(allow_tf32=allowed))
    monkeypatch.setattr(torch.backends, "cuda", settings)
    assert _exact_products() == (not allowed)
