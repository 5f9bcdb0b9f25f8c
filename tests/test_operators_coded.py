"""Coded diffraction and ptychography against explicit sums, their masks and positions, derivatives and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import slow_operators as slow
from phaseret import testing
from phaseret.operators import (
    CodedDiffraction,
    FourierIntensity,
    Operator,
    Ptychography,
    coded_diffraction,
    coded_masks,
    ptychography,
)

DTYPES = (torch.float64, torch.complex128)
SHAPES = [((4,), (4,)), ((5,), (9,)), ((3, 4), (3, 4)), ((4, 3), (5, 8)), ((2, 3, 2), (3, 3, 4))]


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- values: coded diffraction ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("object_shape", "fourier_shape"), SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mask_dtype", DTYPES)
@pytest.mark.parametrize("centered", [False, True])
def test_coded_diffraction_is_the_transform_behind_each_mask(
    object_shape: tuple[int, ...],
    fourier_shape: tuple[int, ...],
    dtype: torch.dtype,
    mask_dtype: torch.dtype,
    centered: bool,
    device: torch.device,
) -> None:
    obj, masks = random(*object_shape, dtype=dtype), random(3, *object_shape, dtype=mask_dtype)
    planes = [slow.dft((mask * obj).numpy(), fourier_shape) for mask in masks]
    expected = np.stack([slow.centered(plane, plane.ndim) if centered else plane for plane in planes])
    op = CodedDiffraction(masks.to(device), fourier_shape, centered=centered)
    np.testing.assert_allclose(op.linear(obj.to(device)).cpu(), expected, atol=1e-12)
    np.testing.assert_allclose(op(obj.to(device)).cpu(), abs(expected) ** 2, atol=1e-12)


@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
def test_one_mask_of_ones_is_the_plain_fourier_intensity(norm: str) -> None:
    obj = random(2, 3, 4)
    coded = coded_diffraction(obj, torch.ones(1, 3, 4, dtype=torch.float64), (6, 8), norm=norm)
    torch.testing.assert_close(coded.squeeze(1), FourierIntensity((6, 8), norm=norm)(obj))


def test_default_fourier_shape_is_that_of_the_object() -> None:
    assert coded_diffraction(torch.rand(3, 4), coded_masks((3, 4), 5)).shape == (5, 3, 4)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("uniform", None),
        ("octanary", [(b1 * b2, p / 4) for b1 in (1, 1j, -1, -1j) for b2, p in ((0.5**0.5, 0.8), (3**0.5, 0.2))]),
        ("ternary", [(1, 0.25), (0, 0.5), (-1, 0.25)]),
        ("binary", [(0, 0.5), (1, 0.5)]),
    ],
)
def test_masks_have_their_distribution(kind: str, values: list[tuple[complex, float]] | None) -> None:
    masks = coded_masks((100, 100), 10, kind, generator=seeded(), dtype=torch.float64)
    count = masks.numel()
    if values is None:
        torch.testing.assert_close(masks.abs(), torch.ones_like(masks.real))
        assert all(abs((masks**k).mean()) < 4 / count**0.5 for k in (1, 2, 3))
        return
    shares = {value: (masks - value).abs().lt(1e-12).double().mean().item() for value, _ in values}
    assert sum(shares.values()) == pytest.approx(1)
    for value, probability in values:
        assert abs(shares[value] - probability) < 4 * (probability * (1 - probability) / count) ** 0.5
    if kind in ("octanary", "ternary"):  # the moments of the source, from the probabilities themselves
        second = sum(abs(value) ** 2 * p for value, p in values)
        assert sum(value * p for value, p in values) == pytest.approx(0)
        assert sum(abs(value) ** 4 * p for value, p in values) == pytest.approx(2 * second**2)
        assert second == pytest.approx(1 if kind == "octanary" else 0.5)


def test_masks_are_seeded_and_equal_in_every_precision() -> None:
    for kind in ("uniform", "octanary", "ternary", "binary"):
        double = coded_masks((5, 6), 3, kind, generator=seeded(3), dtype=torch.float64)
        single = coded_masks((5, 6), 3, kind, generator=seeded(3))
        torch.testing.assert_close(single, double.to(single.dtype), rtol=0, atol=0)
        assert not torch.equal(coded_masks((5, 6), 3, kind, generator=seeded(4), dtype=torch.float64), double)
    torch.manual_seed(5)
    first = coded_masks((4,), 2)
    torch.manual_seed(5)
    assert torch.equal(coded_masks((4,), 2), first)


# --- values: ptychography --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("object_shape", "probe_shape", "positions"),
    [
        ((9,), (4,), [[0], [2], [5]]),
        ((7, 6), (3, 4), [[0, 0], [4, 2], [1, 1], [2, 0]]),
        ((4, 5, 3), (3, 2, 3), [[1, 3, 0], [0, 0, 0]]),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("probe_dtype", DTYPES)
def test_ptychography_is_the_transform_of_each_exit_wave(
    object_shape: tuple[int, ...],
    probe_shape: tuple[int, ...],
    positions: list[list[int]],
    dtype: torch.dtype,
    probe_dtype: torch.dtype,
    device: torch.device,
) -> None:
    obj, probe = random(*object_shape, dtype=dtype), random(*probe_shape, dtype=probe_dtype)
    expected = []
    for corner in positions:
        window = tuple(slice(c, c + p) for c, p in zip(corner, probe_shape, strict=True))
        expected.append(slow.dft((probe * obj[window]).numpy(), probe_shape))
    for kind in (torch.int64, torch.int32, torch.float64):
        op = Ptychography(probe.to(device), torch.tensor(positions, dtype=kind, device=device))
        np.testing.assert_allclose(op.linear(obj.to(device)).cpu(), np.stack(expected), atol=1e-12)
        np.testing.assert_allclose(op(obj.to(device)).cpu(), abs(np.stack(expected)) ** 2, atol=1e-12)
    shifted = np.stack([slow.centered(plane, plane.ndim) for plane in expected])
    op = Ptychography(probe, torch.tensor(positions), centered=True)
    np.testing.assert_allclose(op.linear(obj), shifted, atol=1e-12)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("real", [False, True])
def test_a_fractional_position_moves_a_band_limited_probe_exactly(size: int, real: bool) -> None:
    waves = np.array([-3, -2, -1, 0, 1, 2, 3])
    weights = np.random.default_rng(0).normal(size=(2, 7)).T @ [1, 1j]
    weights = weights + weights[::-1].conj() if real else weights

    def probe(x: np.ndarray) -> np.ndarray:
        values = np.exp(2j * np.pi * np.outer(x, waves) / size) @ weights
        return values.real if real else values

    obj, x = random(30, dtype=torch.complex128), np.arange(size)
    positions = [0.0, 0.3, 5.5, 7.5, 11.75, 21.0]
    op = Ptychography(torch.from_numpy(probe(x)), torch.tensor(positions, dtype=torch.float64)[:, None])
    for position, field in zip(positions, op.linear(obj), strict=True):
        whole = round(position)
        exit_wave = probe(x - (position - whole)) * obj[whole : whole + size].numpy()
        np.testing.assert_allclose(field, slow.dft(exit_wave, (size,)), atol=1e-12)


def test_a_fractional_shift_keeps_the_power_of_a_smooth_probe() -> None:
    probe = torch.hann_window(16, dtype=torch.float64)[:, None] * torch.hann_window(16, dtype=torch.float64)
    positions = torch.tensor([[0.0, 0.0], [2.4, 1.7]], dtype=torch.float64)
    power = ptychography(torch.ones(20, 20, dtype=torch.float64), probe, positions).sum((-2, -1))
    torch.testing.assert_close(power[1], power[0], rtol=1e-4, atol=0)


def test_learned_positions_that_drift_out_stay_defined() -> None:
    positions = nn.Parameter(torch.tensor([[0.0], [4.0]], dtype=torch.float64))
    op = Ptychography(random(4, dtype=torch.complex128), positions)
    obj = random(8, dtype=torch.complex128)
    with torch.no_grad():
        positions.copy_(torch.tensor([[-0.75], [4.75]]))
    assert op(obj).isfinite().all()
    slow.assert_adjoint(op, obj, random(2, 4, dtype=torch.complex128))


# --- properties ------------------------------------------------------------------------------------------------------


@st.composite
def operators(draw: st.DrawFn) -> tuple[Operator, Tensor]:
    """Either operator of one to three axes with random options, and an object for it."""
    n = draw(testing.object_shapes(None))
    return draw(testing.operators(n, kinds=["coded", "ptychography"])), draw(testing.objects(n, generic=True))


@given(operators())
def test_adjoint_identity(case: tuple[Operator, Tensor]) -> None:
    op, obj = case
    slow.assert_adjoint(op, obj, random(*op.data_shape, dtype=torch.complex128))


@given(operators())
def test_gram_diagonal_is_what_each_pixel_of_the_object_adds(case: tuple[Operator, Tensor]) -> None:
    op, obj = case
    slow.assert_gram_diagonal(op, tuple(obj.shape), torch.rand(2, *op.data_shape, dtype=torch.float64))


@given(operators(), st.data())
def test_intensity_is_invariant_to_global_phase(case: tuple[Operator, Tensor], data: st.DataObject) -> None:
    op, obj = case
    symmetry = data.draw(testing.symmetries(obj, ndim=obj.ndim, group="phase,sign"))
    testing.assert_invariant(op, obj, symmetry=symmetry)


@given(operators())
def test_intensity_is_the_squared_modulus_of_the_linear_part(
    case: tuple[Operator, Tensor],
) -> None:
    op, obj = case
    torch.testing.assert_close(op(obj), op.linear(obj).abs().square())
    assert op(obj).shape == op.data_shape


def test_masks_break_the_shift_and_flip_symmetries() -> None:
    masks = coded_masks((6, 6), 3, generator=seeded(), dtype=torch.float64)
    obj = random(6, 6, dtype=torch.complex128)
    for copy in (obj.flip(0, 1).conj(), obj.roll((1, 2), (0, 1))):
        assert (coded_diffraction(copy, masks) - coded_diffraction(obj, masks)).abs().max() > 0.1


def test_octanary_masks_keep_the_norm_on_average() -> None:
    masks = coded_masks((4, 4), 4000, generator=seeded(), dtype=torch.float64)
    gram = slow.matrix(CodedDiffraction(masks), (4, 4))
    np.testing.assert_allclose(gram.conj().T @ gram / 4000, np.eye(16), atol=0.1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_equals_items(dtype: torch.dtype) -> None:
    obj = random(2, 3, 5, 4, dtype=dtype)
    slow.assert_batched(CodedDiffraction(random(3, 5, 4)), obj)
    slow.assert_batched(CodedDiffraction(random(3, 4, dtype=torch.complex128), (6,)), obj)
    slow.assert_batched(Ptychography(random(3, 2), torch.tensor([[0, 1], [2, 2]])), obj)
    slow.assert_batched(Ptychography(random(2, dtype=torch.complex128), torch.tensor([[0.5], [1.2]])), obj)


@pytest.mark.parametrize("chunk", [1, 4, 9])
def test_chunk_changes_nothing(chunk: int) -> None:
    obj, masks = random(3, 2, 4, 4), random(3, 4, 4, dtype=torch.complex128)
    slow.assert_chunked(CodedDiffraction(masks), CodedDiffraction(masks, chunk=chunk), obj)
    probe, positions = random(3, 3), torch.tensor([[0.0, 0.5], [1.0, 1.0]])
    slow.assert_chunked(Ptychography(probe, positions), Ptychography(probe, positions, chunk=chunk), obj)


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("other", DTYPES)
def test_gradients(dtype: torch.dtype, other: torch.dtype) -> None:
    obj = random(2, 4, dtype=dtype)
    obj[0, 1] = 0
    slow.assert_derivatives(coded_diffraction, obj, random(2, 4, dtype=other))
    slow.assert_derivatives(coded_diffraction, torch.zeros_like(obj), random(2, 4, dtype=other))
    slow.assert_derivatives(CodedDiffraction(random(2, 2, 2, dtype=other), (3, 4)), random(2, 2, dtype=dtype))
    positions = torch.tensor([[0], [2], [1]])
    slow.assert_derivatives(lambda obj, probe: ptychography(obj, probe, positions), obj, random(2, dtype=other))
    fractions = torch.tensor([[0.2], [1.7]], dtype=torch.float64)
    slow.assert_derivatives(ptychography, obj, random(2, dtype=other), fractions)
    slow.assert_derivatives(Ptychography(random(2, 2), torch.tensor([[0, 1]])), random(2, 3, dtype=dtype))


def test_gradients_of_linear_and_adjoint() -> None:
    ops = [
        CodedDiffraction(random(2, 3, dtype=torch.complex128), (4,)),
        Ptychography(random(2, dtype=torch.complex128), torch.tensor([[0.0], [0.75]], dtype=torch.float64)),
    ]
    for op in ops:
        slow.assert_derivatives(op.linear, random(2, 3, dtype=torch.complex128))
        field = random(*op.data_shape, dtype=torch.complex128)
        slow.assert_derivatives(lambda field, op=op: op.adjoint(field, (3,)), field)


@pytest.mark.parametrize("scale", [1e-30, 1e-23, 1e15])
def test_gradient_is_finite_at_any_scale(scale: float) -> None:
    masks = coded_masks((4, 4), 2, generator=seeded())
    probe, positions = torch.ones(3, 3), torch.tensor([[0, 0], [1, 1]])
    for function, arguments in ((coded_diffraction, (masks,)), (ptychography, (probe, positions))):
        obj = (torch.rand(4, 4) * scale).requires_grad_()
        (grad,) = torch.autograd.grad(function(obj, *arguments).sum(), obj)
        (one,) = torch.autograd.grad(function(obj / scale, *arguments).sum(), obj)
        torch.testing.assert_close(grad / scale, one * scale)


def test_torch_func_transforms() -> None:
    obj = random(3, 4, 4)
    for op in (CodedDiffraction(random(2, 4, 4)), Ptychography(random(3, 3), torch.tensor([[0.0, 0.5], [1.0, 1.0]]))):

        def value(obj: Tensor, op: CodedDiffraction | Ptychography = op) -> Tensor:
            return op(obj).square().sum()

        x = obj.clone().requires_grad_()
        (expected,) = torch.autograd.grad(value(x), x)
        torch.testing.assert_close(torch.func.vmap(torch.func.grad(value))(obj), expected)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (4, 2),
            TypeError,
            "object_shape must be a sequence of sizes, got 4. Use (4, 4).",
        ),
        (((4,), 0), ValueError, "count must be an integer of at least 1, got 0. Use 1 or more."),
        (
            ((4,), 2, "x"),
            ValueError,
            "kind must be one of 'uniform', 'octanary', 'ternary', 'binary', got 'x'. Choose one of these.",
        ),
    ],
)
def test_coded_masks_errors(arguments: tuple[object, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        coded_masks(*arguments)  # type: ignore[arg-type]
    assert str(caught.value) == f"coded_masks: {message}"


def test_coded_masks_generator_error() -> None:
    with pytest.raises(TypeError) as caught:
        coded_masks((4,), 2, generator=3)  # type: ignore[arg-type]
    message = "generator must be a torch.Generator, got 3. Use torch.Generator().manual_seed(0)."
    assert str(caught.value) == f"coded_masks: {message}"


def test_coded_masks_dtype_error() -> None:
    with pytest.raises(
        ValueError, match=r"coded_masks: dtype must be one of torch.float32, torch.float64, got torch.float16"
    ):
        coded_masks((4,), 2, dtype=torch.half)


MASKS = torch.ones(2, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([1],), {}, TypeError, "masks must be a torch.Tensor, got list. Use torch.as_tensor."),
        ((MASKS.bool(),), {}, TypeError, "masks must be real or complex floating, got torch.bool. Use masks.float()."),
        (
            (MASKS[:0],),
            {},
            ValueError,
            "masks must hold at least one element, got shape (0, 4, 4). Leave out empty batches.",
        ),
        (
            (torch.ones(4),),
            {},
            ValueError,
            "masks must have the shape (L, n1..nd) with d = 1, 2 or 3, got (4,). Give a single mask an "
            "axis with masks[None].",
        ),
        (
            (MASKS, 8),
            {},
            TypeError,
            "fourier_shape must be a sequence of sizes, got 8. Use (8, 8).",
        ),
        (
            (MASKS, (3, 8)),
            {},
            ValueError,
            "fourier_shape must be at least (4, 4), the shape of the object, got (3, 8). Pad more, or crop the object.",
        ),
        (
            (MASKS, (8,)),
            {},
            ValueError,
            "fourier_shape must be at least (4, 4), the shape of the object, got (8,). Pad more, or crop the object.",
        ),
        (
            (MASKS,),
            {"norm": 1},
            ValueError,
            "norm must be one of 'ortho', 'backward', 'forward', got 1. Choose one of these.",
        ),
        ((MASKS,), {"chunk": -1}, ValueError, "chunk must be an integer of at least 1, got -1. Use 1 or more."),
    ],
)
def test_coded_diffraction_construction_errors(
    arguments: tuple[object, ...], options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        CodedDiffraction(*arguments, **options)  # type: ignore[arg-type]
    assert str(caught.value) == f"CodedDiffraction: {message}"


PROBE, WHOLE = torch.ones(3, 3), torch.tensor([[0, 0], [2, 1]])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1, WHOLE), TypeError, "probe must be a torch.Tensor, got int. Use torch.as_tensor."),
        (
            (PROBE.int(), WHOLE),
            TypeError,
            "probe must be real or complex floating, got torch.int32. Use probe.float().",
        ),
        (
            (torch.tensor(1.0), WHOLE),
            ValueError,
            "probe must have at least 1 axes, got shape (). Add one with unsqueeze(0).",
        ),
        (
            (torch.ones(2, 2, 2, 2), WHOLE),
            ValueError,
            "probe.shape must have one to three sizes, got torch.Size([2, 2, 2, 2]). Leave out the axes of the batch.",
        ),
        ((PROBE, [[0, 0]]), TypeError, "positions must be a torch.Tensor, got list. Use torch.as_tensor."),
        (
            (PROBE, WHOLE + 0j),
            TypeError,
            "positions must be of an integer or real floating dtype, got torch.complex64. "
            "Use whole or fractional pixels.",
        ),
        (
            (PROBE, WHOLE[:, :1]),
            ValueError,
            "positions must have the shape (J, 2) for a probe of shape (3, 3), got (2, 1). One row for each position.",
        ),
        (
            (PROBE, WHOLE[:0]),
            ValueError,
            "positions must hold at least one element, got shape (0, 2). Leave out empty batches.",
        ),
        ((PROBE, WHOLE - 1), ValueError, "positions must be at least 0, got [-1.0, -1.0]. Subtract positions.amin(0)."),
        (
            (PROBE, WHOLE / torch.tensor([[1.0, 0.0], [1.0, 1.0]])),
            ValueError,
            "positions must be finite, got values from [0.0, nan] to [2.0, nan]. Drop them.",
        ),
    ],
)
def test_ptychography_construction_errors(arguments: tuple[object, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        Ptychography(*arguments)  # type: ignore[arg-type]
    assert str(caught.value) == f"Ptychography: {message}"


@pytest.mark.parametrize(
    ("obj", "error", "message"),
    [
        (None, TypeError, "obj must be a torch.Tensor, got NoneType. Use torch.as_tensor."),
        (
            torch.ones(3, 4, 4).int(),
            TypeError,
            "obj must be real or complex floating, got torch.int32. Use obj.float().",
        ),
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
    ],
)
def test_object_errors(obj: Tensor, error: type[Exception], message: str) -> None:
    for op in (CodedDiffraction(MASKS), Ptychography(PROBE, WHOLE)):
        for function, end in ((op, ""), (op.linear, ".linear")):
            with pytest.raises(error) as caught:
                function(obj)
            assert str(caught.value) == f"{type(op).__name__}{end}: {message}"


def test_object_shape_errors() -> None:
    with pytest.raises(
        ValueError,
        match=r"^CodedDiffraction: obj must have the shape \(\*, 4, 4\), got \(2, 5, 4\)\. Pad or crop it, or make an "
        r"operator of its shape\.$",
    ):
        CodedDiffraction(MASKS)(torch.ones(2, 5, 4))
    room = (
        r"must have at least the shape \(5, 4\), to hold all windows of the probe, got \(4, 9\)\. Pad "
        r"the object, or subtract"
    )
    with pytest.raises(ValueError, match=f"^ptychography: obj {room}"):
        ptychography(torch.ones(2, 4, 9), PROBE, WHOLE)
    with pytest.raises(ValueError, match=rf"^Ptychography\.adjoint: object_shape {room}"):
        Ptychography(PROBE, WHOLE).adjoint(torch.ones(2, 3, 3), (4, 9))


def test_adjoint_errors() -> None:
    coded, scan = CodedDiffraction(MASKS), Ptychography(PROBE, WHOLE)
    with pytest.raises(ValueError, match=r"adjoint: field must have the shape \(\*, 2, 4, 4\), got \(4, 4\)\. It is"):
        coded.adjoint(torch.ones(4, 4))
    with pytest.raises(ValueError, match=r"adjoint: object_shape must be \(4, 4\), got \(3, 4\)\. Leave it out\.$"):
        coded.adjoint(torch.ones(2, 4, 4), (3, 4))
    with pytest.raises(
        TypeError, match=r"adjoint: object_shape must be given, got None\. Pass the sizes \(n1, \.\.\., nd"
    ):
        scan.adjoint(torch.ones(2, 3, 3))
    with pytest.raises(
        ValueError, match=r"adjoint: field must have the shape \(\*, 2, 3, 3\), got \(3, 3, 3\)\. It is"
    ):
        scan.adjoint(torch.ones(3, 3, 3), (8, 8))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a mix of devices needs a GPU")
def test_device_errors() -> None:
    message = r"all tensors must lie on one device, got obj on cuda:0, masks on cpu\. Move them with \.to\(device\)\.$"
    with pytest.raises(ValueError, match=message):
        CodedDiffraction(MASKS)(torch.ones(4, 4, device="cuda"))


def test_device_errors_without_a_gpu() -> None:
    message = r"all tensors must lie on one device, got obj on meta, masks on cpu\. Move them with \.to\(device\)\.$"
    with pytest.raises(ValueError, match=message):
        CodedDiffraction(MASKS)(torch.ones(4, 4, device="meta"))
    with pytest.raises(
        ValueError, match=r"^Ptychography: all tensors must lie on one device, got probe on cpu, positi"
    ):
        Ptychography(PROBE, WHOLE.to("meta"))


# --- modules ---------------------------------------------------------------------------------------------------------


def test_a_real_dtype_sets_the_precision_and_keeps_complex_buffers_complex() -> None:
    masks = coded_masks((4, 4), 2, "uniform", generator=seeded())
    op = CodedDiffraction(masks)
    obj = torch.rand(4, 4)
    expected = op(obj)
    for dtype, held in (
        (torch.float64, torch.complex128),
        (torch.float16, torch.complex64),
        (torch.bfloat16, torch.complex64),
        (torch.complex128, torch.complex128),
    ):
        moved = CodedDiffraction(masks)
        if dtype.is_complex:
            with pytest.warns(UserWarning, match="Complex modules are a new feature"):
                moved.to(dtype)
        else:
            moved.to(dtype)
        assert moved.masks.dtype == held
        tolerance = {torch.float16: 2e-2, torch.bfloat16: 1e-1}.get(dtype, 1e-5)
        torch.testing.assert_close(moved(obj).float(), expected, rtol=tolerance, atol=tolerance)
    assert CodedDiffraction(masks).double().masks.dtype == torch.complex128
    scan = Ptychography(PROBE, WHOLE).half()
    assert (scan.probe.dtype, scan.positions.dtype) == (torch.float32, torch.int64)


def test_state_dict_carries_masks_probe_and_positions() -> None:
    masks = coded_masks((4, 4), 2, generator=seeded())
    other = CodedDiffraction(torch.zeros_like(masks))
    other.load_state_dict(CodedDiffraction(masks).state_dict())
    assert torch.equal(other.masks, masks)
    assert set(Ptychography(PROBE, WHOLE).state_dict()) == {"probe", "positions"}


def test_a_parameter_stays_one_and_is_learned() -> None:
    probe, positions = nn.Parameter(random(3, 3, dtype=torch.complex128)), nn.Parameter(WHOLE.double())
    op = Ptychography(probe, positions)
    assert dict(op.named_parameters()) == {"probe": probe, "positions": positions}
    op(random(5, 5)).sum().backward()
    assert probe.grad is not None
    assert positions.grad is not None
    chunked = Ptychography(probe, positions, chunk=1)
    grads = []
    for scan in (op, chunked):
        torch.manual_seed(0)
        grads += [torch.autograd.grad(scan(random(3, 5, 5)).square().sum(), (probe, positions))]
    torch.testing.assert_close(grads[0], grads[1])


def test_repr_shows_the_options() -> None:
    assert repr(CodedDiffraction(MASKS, (8, 8), centered=True)) == (
        "CodedDiffraction(masks=tensor of shape (2, 4, 4), fourier_shape=(8, 8), norm='ortho', centered=True)"
    )
    assert repr(Ptychography(PROBE, WHOLE.double(), chunk=2)) == (
        "Ptychography(probe=tensor of shape (3, 3), positions=tensor of shape (2, 2), norm='ortho', centered=False, "
        "chunk=2)"
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_cast_to_half_precision_keeps_the_pixels_of_positions(dtype: torch.dtype) -> None:
    positions, obj = torch.tensor([[0.0, 1001.5], [7.0, 517.0]]), torch.rand(10, 1024)
    op = Ptychography(torch.rand(2, 3, dtype=torch.complex64), positions)
    expected = op(obj)
    assert torch.equal(op.to(dtype)(obj), expected)
    assert torch.equal(op.positions, positions)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_promoted(dtype: torch.dtype) -> None:
    obj = torch.rand(4, 4).to(dtype)
    assert coded_diffraction(obj, MASKS.to(dtype)).dtype == torch.float32
    result = ptychography(torch.rand(5, 5).to(dtype), PROBE.to(dtype), torch.tensor([[0.5, 1]], dtype=dtype))
    assert result.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = coded_diffraction(obj.float(), MASKS)
    torch.testing.assert_close(inside, coded_diffraction(obj.float(), MASKS), rtol=0, atol=0)


def test_module_and_function_agree() -> None:
    obj = random(2, 5, 5)
    masks = random(2, 5, 5)
    options = {"norm": "backward", "centered": True, "chunk": 1}
    torch.testing.assert_close(
        CodedDiffraction(masks, (6, 7), **options)(obj),
        coded_diffraction(obj, masks, (6, 7), **options),  # type: ignore[arg-type]
    )
    torch.testing.assert_close(
        Ptychography(PROBE, WHOLE, **options)(obj),
        ptychography(obj, PROBE, WHOLE, **options),  # type: ignore[arg-type]
    )
    assert math.prod(CodedDiffraction(masks).data_shape) == 50


def test_masks_that_torch_conjugates_lazily_move_to_other_precisions() -> None:
    masks, obj = torch.randn(3, 4, 4, dtype=torch.complex64).conj(), torch.rand(4, 4)
    expected = CodedDiffraction(masks.resolve_conj())(obj)
    operator = CodedDiffraction(masks)
    torch.testing.assert_close(operator(obj), expected)
    torch.testing.assert_close(operator.double()(obj.double()).float(), expected)
