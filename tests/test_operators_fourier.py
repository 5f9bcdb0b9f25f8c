"""The oversampled Fourier operators against explicit sums, their derivatives, symmetries and errors."""

from __future__ import annotations

import copy
import shutil
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import phaseret as pr
import slow_operators as slow
from phaseret import testing
from phaseret.operators import (
    Autocorrelation,
    FourierIntensity,
    FourierMagnitude,
    Operator,
    fast_fourier_shape,
    fourier_intensity,
    fourier_magnitude,
    min_fourier_shape,
)

MODULES = (FourierIntensity, FourierMagnitude)
# (object shape, Fourier shape): 1D, 2D and 3D, odd and even, the smallest m = 2n - 1 and more.
SHAPES = [
    ((5,), (9,)),
    ((4,), (10,)),
    ((1,), (1,)),
    ((3, 4), (5, 8)),
    ((4, 3), (8, 7)),
    ((1, 3), (2, 5)),
    ((2, 3, 2), (3, 5, 4)),
    ((2, 2, 3), (4, 3, 6)),
]
DTYPES = (torch.float64, torch.complex128)


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("object_shape", "fourier_shape"), SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
def test_equals_the_sum_over_pixels(
    object_shape: tuple[int, ...], fourier_shape: tuple[int, ...], dtype: torch.dtype, norm: str, device: torch.device
) -> None:
    obj = random(*object_shape, dtype=dtype).to(device)
    expected = slow.dft(obj.cpu().numpy(), fourier_shape, norm)
    op = FourierIntensity(fourier_shape, norm=norm)
    np.testing.assert_allclose(op.linear(obj).cpu(), expected, atol=1e-12)
    np.testing.assert_allclose(op(obj).cpu(), abs(expected) ** 2, atol=1e-12)
    magnitude = fourier_magnitude(obj, fourier_shape, norm=norm)
    np.testing.assert_allclose(magnitude.cpu(), abs(expected), atol=1e-12)
    assert magnitude.device.type == device.type


@pytest.mark.parametrize(("object_shape", "fourier_shape"), SHAPES)
@pytest.mark.parametrize("onesided", [False, True])
def test_centered_puts_the_zero_frequency_at_half_the_size(
    object_shape: tuple[int, ...], fourier_shape: tuple[int, ...], onesided: bool
) -> None:
    obj = random(*object_shape)
    plane = slow.dft(obj.numpy(), fourier_shape)
    if onesided:
        plane = plane[..., : fourier_shape[-1] // 2 + 1]
    expected = slow.centered(plane, len(fourier_shape) - onesided)
    op = FourierMagnitude(fourier_shape, centered=True, onesided=onesided)
    np.testing.assert_allclose(op.linear(obj), expected, atol=1e-12)
    np.testing.assert_allclose(op(obj), abs(expected), atol=1e-12)


@pytest.mark.parametrize(("object_shape", "fourier_shape"), SHAPES)
def test_onesided_is_the_first_half_of_the_last_axis(
    object_shape: tuple[int, ...], fourier_shape: tuple[int, ...]
) -> None:
    obj = random(2, *object_shape)
    half = FourierIntensity(fourier_shape, onesided=True)
    full = FourierIntensity(fourier_shape)
    keep = fourier_shape[-1] // 2 + 1
    assert half(obj).shape[1:] == half.data_shape
    torch.testing.assert_close(half(obj), full(obj)[..., :keep])
    torch.testing.assert_close(half.linear(obj), full.linear(obj)[..., :keep])


def test_a_real_object_gives_what_the_same_complex_object_gives() -> None:
    obj = random(2, 4, 5)
    for function in (fourier_intensity, fourier_magnitude):
        torch.testing.assert_close(function(obj, (8, 9)), function(obj + 0j, (8, 9)))


def test_intensity_is_the_square_of_the_magnitude() -> None:
    obj = random(3, 5, 4, dtype=torch.complex128)
    torch.testing.assert_close(fourier_intensity(obj, (9, 8)), fourier_magnitude(obj, (9, 8)).square())


def test_total_intensity_is_total_object_power_with_ortho() -> None:
    obj = random(6, 7, dtype=torch.complex128)
    torch.testing.assert_close(fourier_intensity(obj, (12, 13)).sum(), obj.abs().square().sum())


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-23, 1.0, 1e23, 1e30, 1e36])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_magnitude_scales_with_the_object_over_the_range_of_the_dtype(scale: float, dtype: torch.dtype) -> None:
    obj = torch.randn(2, 6, 5, dtype=dtype)
    torch.testing.assert_close(
        fourier_magnitude(obj * scale, (12, 9)) / scale, fourier_magnitude(obj, (12, 9)), rtol=2e-6, atol=2e-6
    )


def test_min_fourier_shape_is_the_size_of_the_autocorrelation() -> None:
    assert min_fourier_shape((28, 28)) == (55, 55)
    assert min_fourier_shape([1, 2, 3]) == (1, 3, 5)


def test_fast_fourier_shape_has_small_prime_factors() -> None:
    assert fast_fourier_shape((28, 28)) == (56, 56)
    assert fast_fourier_shape((67,), oversampling=3) == (210,)
    assert fast_fourier_shape((1, 2, 3), 1) == (1, 3, 5)
    for n in range(1, 200):
        (m,) = fast_fourier_shape((n,), 1.3)
        assert m >= max(2 * n - 1, 1.3 * n)
        for prime in (2, 3, 5, 7):
            while m % prime == 0:
                m //= prime
        assert m == 1


def test_the_autocorrelation_fits_at_the_smallest_shape() -> None:
    obj = random(3, 4, dtype=torch.complex128)
    shape = min_fourier_shape((3, 4))
    expected = np.fft.fftn(slow.autocorrelation(obj.numpy(), shape)).real
    np.testing.assert_allclose(fourier_intensity(obj, shape, norm="backward"), expected, atol=1e-12)


# --- properties ------------------------------------------------------------------------------------------------------


@st.composite
def problems(draw: st.DrawFn) -> tuple[Tensor, tuple[int, ...]]:
    """An object of one to three axes, real or complex, and a Fourier shape that is large enough."""
    obj = draw(testing.objects(ndim=None, margin=2))
    return obj, draw(testing.fourier_shapes(obj.shape))


@given(problems(), st.data())
def test_intensity_is_invariant_to_shift_conj_flip_and_global_phase(
    problem: tuple[Tensor, tuple[int, ...]], data: st.DataObject
) -> None:
    obj, shape = problem
    symmetry = data.draw(testing.symmetries(obj, ndim=obj.ndim, group="shift,flip,phase,sign"))
    testing.assert_invariant(FourierIntensity(shape), obj, symmetry=symmetry)


@given(problems())
def test_a_real_object_has_centro_symmetric_intensity(problem: tuple[Tensor, tuple[int, ...]]) -> None:
    obj, shape = problem
    axes = tuple(range(obj.ndim))
    intensity = fourier_intensity(obj.real if obj.is_complex() else obj, shape)
    torch.testing.assert_close(intensity, intensity.flip(axes).roll((1,) * obj.ndim, axes))


@given(problems(), st.booleans(), st.booleans(), st.sampled_from(["ortho", "backward", "forward"]))
def test_adjoint_identity(problem: tuple[Tensor, tuple[int, ...]], centered: bool, onesided: bool, norm: str) -> None:
    obj, shape = problem
    obj = obj.real if onesided and obj.is_complex() else obj
    op = FourierIntensity(shape, norm=norm, centered=centered, onesided=onesided)
    slow.assert_adjoint(op, obj, random(*op.data_shape, dtype=torch.complex128))


def test_adjoint_inverts_with_ortho() -> None:
    obj = random(2, 3, 4, dtype=torch.complex128)
    op = FourierIntensity((6, 7))
    torch.testing.assert_close(op.adjoint(op.linear(obj), (3, 4)), obj)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_equals_items(module: type[Operator], dtype: torch.dtype) -> None:
    slow.assert_batched(module((7, 6)), random(2, 3, 4, 3, dtype=dtype))
    slow.assert_batched(module((7,)), random(2, 3, 4, dtype=dtype))
    if dtype is torch.float64:
        slow.assert_batched(module((7, 6), onesided=True, centered=True), random(1, 5, 4, 3))


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("chunk", [1, 2, 5, 6, 99])
def test_chunk_changes_nothing(module: type[Operator], chunk: int) -> None:
    slow.assert_chunked(module((7, 6)), module((7, 6), chunk=chunk), random(2, 3, 4, 3))
    op = module((7, 6), chunk=chunk)
    assert op(random(4, 3)).shape == (7, 6)


def test_chunk_changes_nothing_under_the_transforms_of_torch_func() -> None:
    obj = random(3, 4, 3)
    values = []
    for chunk in (None, 1):
        op = FourierIntensity((7, 6), chunk=chunk)
        values.append(torch.func.grad(lambda x, op=op: op(x).square().sum())(obj))
    torch.testing.assert_close(values[1], values[0])


def test_chunk_keeps_only_the_input_for_the_gradient() -> None:
    saved: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel())
        return tensor

    obj = random(8, 4, 4).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        FourierIntensity((8, 8), onesided=True)(obj)
        whole, saved = sum(saved), []
        FourierIntensity((8, 8), onesided=True, chunk=1)(obj)
    assert sum(saved) <= obj.numel() < whole


def test_empty_device_transfer_keeps_the_answer(device: torch.device) -> None:
    op = FourierMagnitude((8, 8)).to(device)
    obj = random(2, 4, 4)
    torch.testing.assert_close(op(obj.to(device)).cpu(), fourier_magnitude(obj, (8, 8)))


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(("object_shape", "fourier_shape"), [((3,), (6,)), ((2, 3), (4, 5)), ((2, 1, 2), (3, 2, 4))])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients(
    module: type[FourierIntensity], object_shape: tuple[int, ...], fourier_shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    obj = random(2, *object_shape, dtype=dtype)
    slow.assert_derivatives(module(fourier_shape), obj)
    slow.assert_derivatives(module(fourier_shape, centered=True, norm="backward"), obj)
    if dtype is torch.float64:
        slow.assert_derivatives(module(fourier_shape, onesided=True), obj)


@pytest.mark.parametrize("module", MODULES)
def test_gradients_of_linear_and_adjoint(module: type[FourierIntensity]) -> None:
    op = module((4, 5))
    slow.assert_derivatives(op.linear, random(2, 3, dtype=torch.complex128))
    slow.assert_derivatives(lambda field: op.adjoint(field, (2, 3)), random(4, 5, dtype=torch.complex128))


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_is_right_with_zeros_in_the_spectrum(dtype: torch.dtype) -> None:
    obj = torch.ones(2, dtype=dtype, requires_grad=True)  # zero at the Nyquist frequency
    assert fourier_intensity(obj, (4,))[2] == 0
    assert torch.autograd.gradcheck(lambda x: fourier_intensity(x, (4,)), (obj,), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: fourier_intensity(x, (4,)), (obj,), fast_mode=True)
    # The modulus has a kink there: the central difference of the kink is 0, as is the derivative by definition.
    assert torch.autograd.gradcheck(lambda x: fourier_magnitude(x, (4,)), (obj,), fast_mode=True)


@pytest.mark.parametrize("function", [fourier_intensity, fourier_magnitude])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, *DTYPES])
def test_all_derivatives_of_the_zero_object_are_zero_or_finite(
    function: Callable[..., Tensor], dtype: torch.dtype, device: torch.device
) -> None:
    obj = torch.zeros(2, 3, 4, dtype=dtype, device=device, requires_grad=True)
    (grad,) = torch.autograd.grad(function(obj, (5, 8)).sum(), obj, create_graph=True)
    assert (grad == 0).all()
    (second,) = torch.autograd.grad(grad.abs().square().sum() + (grad * obj).abs().sum(), obj)
    assert second.isfinite().all()


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e-23, 1e30, 1e36])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_gradient_of_the_magnitude_does_not_depend_on_the_scale(
    scale: float, dtype: torch.dtype, device: torch.device
) -> None:
    gradients = []
    for factor in (1.0, scale):
        torch.manual_seed(1)
        obj = (torch.randn(6, 5, dtype=dtype) * factor).to(device).requires_grad_()
        gradients += torch.autograd.grad(fourier_magnitude(obj, (12, 9)).sum(), obj)
    # At 1e-40 the object itself has only 17 bits left.
    torch.testing.assert_close(*gradients, rtol=1e-3 if scale < 1e-38 else 1e-5, atol=1e-3 if scale < 1e-38 else 1e-5)


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e-23, 1e17])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_gradient_of_the_intensity_is_finite_at_any_scale(scale: float, dtype: torch.dtype) -> None:
    obj = (torch.randn(6, 5, dtype=dtype) * scale).requires_grad_()
    (grad,) = torch.autograd.grad(fourier_intensity(obj, (12, 9)).sum(), obj)
    torch.testing.assert_close(grad.detach() / scale, 2 * obj.detach() / scale, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("function", [fourier_intensity, fourier_magnitude])
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_func_transforms(function: Callable[..., Tensor], dtype: torch.dtype) -> None:
    obj = random(3, 4, 2, dtype=dtype)
    weight = random(7, 5)

    def value(obj: Tensor) -> Tensor:
        return (weight * function(obj, (7, 5))).sum((-2, -1))

    x = obj.clone().requires_grad_()
    (expected,) = torch.autograd.grad(value(x).sum(), x)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*performance drop")
        torch.testing.assert_close(torch.func.vmap(value)(obj), value(obj))
        torch.testing.assert_close(torch.func.vmap(torch.func.grad(value))(obj), expected)
    tangent = torch.randn_like(obj)
    _, derivative = torch.func.jvp(value, (obj,), (tangent,))
    torch.testing.assert_close(derivative, (expected.conj() * tangent).real.sum((-2, -1)))
    hessian = torch.func.hessian(lambda x: value(x.reshape(4, 2)))(random(8))
    torch.testing.assert_close(hessian, hessian.T)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (
            (5,),
            {},
            TypeError,
            "fourier_shape must be a sequence of sizes, got 5. Use (5, 5).",
        ),
        (("ab",), {}, TypeError, "fourier_shape must be a sequence of sizes, got 'ab'. Use a tuple such as (64, 64)."),
        (((4.0, 4),), {}, TypeError, "fourier_shape must hold integers, got (4.0, 4). Use int() of each size."),
        (
            ((4, 4, 4, 4),),
            {},
            ValueError,
            "fourier_shape must have one to three sizes, got (4, 4, 4, 4). Leave out the axes of the batch.",
        ),
        (((),), {}, ValueError, "fourier_shape must have one to three sizes, got (). Leave out the axes of the batch."),
        (((4, 0),), {}, ValueError, "fourier_shape must hold positive sizes, got (4, 0). Use sizes of at least 1."),
        (
            ((4, 4),),
            {"norm": "x"},
            ValueError,
            "norm must be one of 'ortho', 'backward', 'forward', got 'x'. Choose one of these.",
        ),
        (((4, 4),), {"chunk": 0}, ValueError, "chunk must be an integer of at least 1, got 0. Use 1 or more."),
        (((4, 4),), {"chunk": 1.5}, TypeError, "chunk must be an integer of at least 1, got 1.5. Use int(chunk)."),
    ],
)
def test_construction_errors(
    module: type[Operator],
    arguments: tuple[object, ...],
    options: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error) as caught:
        module(*arguments, **options)  # type: ignore[arg-type]
    assert str(caught.value) == f"{module.__name__}: {message}"


@pytest.mark.parametrize(
    ("obj", "error", "message"),
    [
        ([1.0], TypeError, "obj must be a torch.Tensor, got list. Use torch.as_tensor."),
        (torch.ones(4, 4).int(), TypeError, "obj must be real or complex floating, got torch.int32. Use obj.float()."),
        (
            torch.ones(4),
            ValueError,
            "obj must have at least 2 axes, got shape (4,). Add one with unsqueeze(0).",
        ),
        (
            torch.ones(0, 4, 4),
            ValueError,
            "obj must hold at least one element, got shape (0, 4, 4). Leave out empty batches.",
        ),
        (
            torch.ones(3, 0, 4),
            ValueError,
            "obj must hold at least one element, got shape (3, 0, 4). Leave out empty batches.",
        ),
        (
            torch.ones(3, 5, 4),
            ValueError,
            "fourier_shape must be at least (9, 7) = 2n-1 for an object of shape (5, 4), got (8, 8). "
            "Use min_fourier_shape((5, 4)), or undersampled=True where such data are wanted.",
        ),
    ],
)
@pytest.mark.parametrize("module", MODULES)
def test_object_errors(module: type[Operator], obj: Tensor, error: type[Exception], message: str) -> None:
    op = module((8, 8))
    for function, end in ((op, ""), (op.linear, ".linear")):
        with pytest.raises(error) as caught:
            function(obj)
        assert str(caught.value) == f"{module.__name__}{end}: {message}"


def test_a_complex_object_has_no_onesided_data() -> None:
    with pytest.raises(TypeError) as caught:
        fourier_intensity(torch.ones(4, 4) + 0j, (8, 8), onesided=True)
    assert str(caught.value) == (
        "fourier_intensity: onesided=True must have a real object, got torch.complex64. "
        "A complex object has no half spectrum: use onesided=False."
    )


@pytest.mark.parametrize(
    ("field", "shape", "error", "message"),
    [
        (torch.ones(8, 8), None, TypeError, "object_shape must be given, got None. Pass the sizes (n1, ..., nd)."),
        (
            torch.ones(8, 8),
            4,
            TypeError,
            "object_shape must be a sequence of sizes, got 4. Use (4, 4).",
        ),
        (
            torch.ones(3, 8, 7),
            (4, 4),
            ValueError,
            "field must have the shape (*, 8, 8), got (3, 8, 7). It is the shape of what linear gives.",
        ),
        (
            torch.ones(8),
            (4, 4),
            ValueError,
            "field must have the shape (*, 8, 8), got (8,). It is the shape of what linear gives.",
        ),
        (
            torch.ones(8, 8),
            (5, 4),
            ValueError,
            "fourier_shape must be at least (9, 7) = 2n-1 for an object of shape (5, 4), got (8, 8). "
            "Use min_fourier_shape((5, 4)), or undersampled=True where such data are wanted.",
        ),
        (
            torch.ones(8, 8).int(),
            (4, 4),
            TypeError,
            "field must be real or complex floating, got torch.int32. Use field.float().",
        ),
    ],
)
def test_adjoint_errors(field: Tensor, shape: tuple[int, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        FourierIntensity((8, 8)).adjoint(field, shape)
    assert str(caught.value) == f"FourierIntensity.adjoint: {message}"


def test_shape_helper_errors() -> None:
    with pytest.raises(
        TypeError,
        match=r"^min_fourier_shape: object_shape must be a sequence of sizes, got 4\. Use \(4, 4\)\.",
    ):
        min_fourier_shape(4)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError,
        match=r"^fast_fourier_shape: object_shape must hold positive sizes, got \(0,\)\. Use sizes of at least 1\.",
    ):
        fast_fourier_shape((0,))
    with pytest.raises(
        ValueError,
        match=r"^fast_fourier_shape: oversampling must be a finite number above 0 and at most 1000000\.0, got 0\. "
        r"Choose a number in this range\.",
    ):
        fast_fourier_shape((4,), 0)
    with pytest.raises(
        TypeError,
        match=r"^fast_fourier_shape: oversampling must be a finite number above 0 and at most 1000000\.0, got 'x'",
    ):
        fast_fourier_shape((4,), "x")  # type: ignore[arg-type]


def test_the_base_class_leaves_linear_and_adjoint_to_subclasses() -> None:
    class Unfinished(Operator):
        object_ndim = data_ndim = 1

    with pytest.raises(NotImplementedError):
        Unfinished()(torch.ones(3))
    with pytest.raises(NotImplementedError):
        Unfinished().adjoint(torch.ones(3))


# --- modules ---------------------------------------------------------------------------------------------------------


def test_a_subclass_needs_only_linear_and_adjoint() -> None:
    class Scaling(Operator):
        object_ndim = data_ndim = 1

        def linear(self, obj: Tensor) -> Tensor:
            return 2j * obj

    obj = random(5, 3)
    torch.testing.assert_close(Scaling()(obj), 4 * obj.square())
    slow.assert_chunked(Scaling(), Scaling(chunk=2), obj)


@pytest.mark.parametrize("function", [fourier_intensity, fourier_magnitude])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_promoted(function: Callable[..., Tensor], dtype: torch.dtype) -> None:
    obj = torch.rand(2, 4, 4).to(dtype).requires_grad_()
    result = function(obj, (8, 8))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, function(obj.float(), (8, 8)))
    result.sum().backward()
    assert obj.grad is not None
    assert obj.grad.dtype == dtype


def test_complex_half_precision_is_promoted() -> None:
    obj = torch.rand(2, 4, 4) + 0.5j
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="ComplexHalf support is experimental")
        result = fourier_intensity(obj.to(torch.complex32), (8, 8))
    torch.testing.assert_close(result, fourier_intensity(obj, (8, 8)), rtol=1e-2, atol=1e-2)
    assert result.dtype == torch.float32


def test_autocast_leaves_the_transform_in_single_precision(device: torch.device) -> None:
    obj = torch.rand(2, 4, 4, device=device, requires_grad=True)
    for function in (fourier_intensity, fourier_magnitude):
        (expected,) = torch.autograd.grad(function(obj, (8, 8)).sum(), obj)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            result = function(obj, (8, 8))
            half = function(obj.bfloat16(), (8, 8))
        assert result.dtype == half.dtype == torch.float32
        torch.testing.assert_close(result, function(obj, (8, 8)), rtol=0, atol=0)
        torch.testing.assert_close(torch.autograd.grad(result.sum(), obj)[0], expected)


@pytest.mark.once  # Inductor cannot write C++ for a processor without vector instructions.
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler: torch.compile cannot build its kernels")
@pytest.mark.parametrize("module", MODULES)
def test_torch_compile(module: type[Operator]) -> None:
    op = module((6, 6))
    obj = torch.rand(2, 3, 3, requires_grad=True)
    (expected,) = torch.autograd.grad(op(obj).sum(), obj)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler announces that it runs complex operations as they are
        result = torch.compile(op)(obj)
        (grad,) = torch.autograd.grad(result.sum(), obj)
    torch.testing.assert_close(result, op(obj))
    torch.testing.assert_close(grad, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("module", MODULES)
def test_cuda_graph(module: type[Operator]) -> None:
    op, obj = module((16, 16)), torch.rand(4, 8, 8, device="cuda")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            op(obj)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = op(obj)
    obj.copy_(torch.rand(4, 8, 8, device="cuda"))
    graph.replay()
    torch.testing.assert_close(result, op(obj))


@pytest.mark.parametrize("module", MODULES)
def test_module_shows_its_options_and_has_no_state(module: type[Operator]) -> None:
    op = module((8, 9), norm="backward", onesided=True, undersampled=False, chunk=4)  # type: ignore[call-arg]
    options = "fourier_shape=(8, 9), norm='backward', centered=False, onesided=True, undersampled=False, chunk=4"
    assert repr(op) == f"{module.__name__}({options})"
    assert op.state_dict() == {}
    assert repr(copy.deepcopy(op)) == repr(op)
    assert (op.object_ndim, op.data_ndim) == (2, 2)


@pytest.mark.parametrize(
    ("function", "module"), [(fourier_intensity, FourierIntensity), (fourier_magnitude, FourierMagnitude)]
)
def test_module_and_function_agree(function: Callable[..., Tensor], module: type[Operator]) -> None:
    obj = random(2, 3, 4)
    options = {"norm": "forward", "centered": True, "onesided": True, "chunk": 1}
    torch.testing.assert_close(module((6, 8), **options)(obj), function(obj, (6, 8), **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"centered": "no"}, {"onesided": 1}, {"centered": None}, {"norm": "x"}])
@pytest.mark.parametrize("module", [*MODULES, Autocorrelation])
def test_options_that_mean_nothing_are_refused_when_they_are_given(module: Any, options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises((TypeError, ValueError), match=rf"^{module.__name__}: {name} must be .+, got "):
        module((8, 8), **options)


# --- operators of users that start from one of these -----------------------------------------------------------------


class Gained(FourierIntensity):
    """A detector behind an amplifier."""

    def linear(self, obj: Tensor) -> Tensor:
        return 3 * super().linear(obj)


def test_a_subclass_measures_what_its_own_linear_says() -> None:
    obj, intensity = torch.rand(2, 4, 5), torch.rand(2, 8, 9)
    operator, plain = Gained((8, 9)), FourierIntensity((8, 9))
    torch.testing.assert_close(operator(obj), 9 * plain(obj))
    for function in (pr.losses.passive_loss, pr.metrics.r_factor, pr.metrics.relative_magnitude_error):
        torch.testing.assert_close(function(obj, intensity, operator), function(3 * obj, intensity, plain))
    with pytest.raises(TypeError, match=r"^prtf: operator must be a FourierIntensity, got Gained"):
        pr.metrics.prtf(torch.rand(3, 2, 4, 5), intensity, operator)


class Weighed(FourierIntensity):
    """Pixels that count more than others."""

    def weights(self, like: Tensor) -> Tensor:
        return torch.arange(1.0, 10).to(like.real)


@pytest.mark.parametrize("criterion", ["l1", torch.nn.MSELoss(reduction="none")])
def test_a_subclass_weighs_as_its_own_weights_say(criterion: Any) -> None:
    obj, intensity = torch.rand(2, 4, 5), torch.rand(2, 8, 9)
    magnitudes = pr.operators.fourier_magnitude(obj, (8, 9)), intensity.sqrt()
    distance = torch.nn.L1Loss(reduction="none") if criterion == "l1" else criterion
    expected = (distance(*magnitudes) * torch.arange(1.0, 10)).mean() / 5
    torch.testing.assert_close(pr.losses.passive_loss(obj, intensity, Weighed((8, 9)), criterion=criterion), expected)


class Dimmed(FourierIntensity):
    """A detector that sees a part of the light."""

    def forward(self, obj: Tensor) -> Tensor:
        return super().forward(obj) / 2


@pytest.mark.parametrize("name", ["passive_loss", "r_factor", "wirtinger_flow", "maximum_likelihood"])
def test_a_forward_of_its_own_is_said_not_to_count(name: str) -> None:
    obj, replaced, plain = torch.rand(2, 4, 5), FourierIntensity((8, 9)), FourierIntensity((8, 9))
    replaced.forward = lambda obj: plain(obj) / 2
    intensity = 1000 * plain(obj)
    function = getattr(next(m for m in (pr.losses, pr.metrics, pr.solvers) if hasattr(m, name)), name)
    given = (intensity,) if name == "wirtinger_flow" else (obj, intensity)
    options = {"object_shape": (4, 5)} if name == "wirtinger_flow" else {}
    for operator in (Dimmed((8, 9)), replaced):
        pr._checks._warned.cache_clear()
        rule = f"^{name}: the operator {type(operator).__name__} has a forward of its own, which does not count here"
        with pytest.warns(UserWarning, match=rule):
            function(*given, operator, **options)
    plain.forward = torch.compile(plain.forward, backend="eager")  # is the library's all the same
    pr._checks._warned.cache_clear()
    function(*given, plain, **options)
