"""frc, prtf and resolution: against slow NumPy loops over the rings, and where the answer is known."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from phaseret import metrics, symmetry
from phaseret.metrics import RingCurve
from phaseret.operators import FourierIntensity, Gaussian

SHAPES = [(16, 16), (15, 15), (12, 17), (20,), (6, 7, 8)]


def ring_index(shape: tuple[int, ...]) -> np.ndarray:
    """Ring of each pixel of the Fourier plane: its frequency in units of one pixel of the shortest axis, rounded."""
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(*[np.fft.fftfreq(m) for m in shape], indexing="ij")))
    return np.floor(radius * min(shape) + 0.5).astype(int)


def slow_frc(x: np.ndarray, y: np.ndarray) -> list[float]:
    a, b = np.fft.fftn(x), np.fft.fftn(y)
    rings = ring_index(x.shape)
    values = []
    for r in range(min(x.shape) // 2 + 1):
        p, q = a[rings == r], b[rings == r]
        values.append(np.vdot(q, p).real / math.sqrt(np.vdot(p, p).real * np.vdot(q, q).real))
    return values


def slow_prtf(ensemble: np.ndarray, intensity: np.ndarray, used: np.ndarray) -> list[float]:
    axes = range(intensity.ndim)
    mean = sum(np.fft.fftn(x, intensity.shape, axes, norm="ortho") for x in ensemble) / len(ensemble)
    rings = ring_index(intensity.shape)
    values = []
    for r in range(min(intensity.shape) // 2 + 1):
        ring = (rings == r) & used
        values.append(abs(mean[ring]).sum() / np.sqrt(intensity[ring]).sum() if ring.any() else math.nan)
    return values


def copies(obj: Tensor, fourier_shape: tuple[int, ...], number: int) -> Tensor:
    """Random symmetric copies that stay in the box: the object has an empty margin."""
    d = len(fourier_shape)
    draw = symmetry.RandomSymmetry(ndim=d)
    return torch.stack([draw(obj) for _ in range(number)], -d - 1)


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_frc_is_that_of_the_definition(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, y = torch.randn(2, *shape, dtype=dtype), torch.randn(2, *shape, dtype=dtype)
    curve = metrics.frc(x, y, align=False, ndim=len(shape))
    expected = np.array([slow_frc(a, b) for a, b in zip(x.numpy(), y.numpy(), strict=True)])
    assert curve.value.numpy() == pytest.approx(expected)
    number = min(shape) // 2 + 1
    assert curve.frequency.tolist() == pytest.approx([r / min(shape) for r in range(number)])
    assert curve.count.tolist() == [(ring_index(shape) == r).sum() for r in range(number)]


def test_aligned_frc_is_that_of_the_aligned_estimate() -> None:
    x, y = torch.rand(3, 12, 13), torch.rand(3, 12, 13)
    aligned = symmetry.align(x, y).aligned
    assert torch.equal(metrics.frc(x, y).value, metrics.frc(aligned, y, align=False).value)


def test_frc_does_not_depend_on_the_unit() -> None:
    x, y = torch.rand(3, 12, 13), torch.rand(3, 12, 13)
    torch.testing.assert_close(metrics.frc(1e-30 * x, 1e30 * y).value, metrics.frc(x, y).value, rtol=1e-3, atol=1e-4)
    x, y = x.double(), y.double()
    torch.testing.assert_close(metrics.frc(1e-300 * x, 1e300 * y).value, metrics.frc(x, y).value)


def test_frc_does_not_lose_its_digits_on_a_pedestal() -> None:
    obj = torch.rand(2, 15, 12) + 1e5
    estimate = obj + 0.3 * torch.randn(2, 15, 12)
    for align in (False, True):
        expected = metrics.frc(estimate.double(), obj.double(), align=align).value
        torch.testing.assert_close(
            metrics.frc(estimate, obj, align=align).value.double(), expected, rtol=1e-3, atol=1e-3
        )


def test_an_empty_object_correlates_with_nothing() -> None:
    assert metrics.frc(torch.rand(8, 8), torch.zeros(8, 8)).value.tolist() == [0] * 5


def test_resolution_of_a_low_pass_is_its_cutoff() -> None:
    obj = torch.randn(5, 64, 64, dtype=torch.float64)
    keep = torch.from_numpy(ring_index((64, 64)) <= 16)
    mixed = np.fft.ifft2(np.where(keep, 1, -1) * np.fft.fft2(obj.numpy())).real  # nothing outside agrees
    for criterion in ("half-bit", 1 / 7, 0.5):
        pixels = metrics.resolution(metrics.frc(torch.from_numpy(mixed), obj, align=False), criterion=criterion)
        assert pixels.shape == (5,)
        assert ((pixels > 64 / 17) & (pixels <= 64 / 16)).all()


def test_half_bit_threshold_is_the_published_curve() -> None:
    count = torch.tensor([1, 8, 100])
    threshold = (0.2071 + 1.9102 / count.sqrt()) / (1.2071 + 0.9102 / count.sqrt())
    frequency = torch.tensor([0.0, 0.25, 0.5])
    for shift, expected in ((1e-3, 2.0), (-1e-3, math.inf)):
        curve = RingCurve(frequency, threshold + shift, count)
        assert metrics.resolution(curve).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 0.9, 0.7, 0.3, 0.8], 1 / 0.3125),
        ([1, 0.9, 0.7, 0.6, 0.6], 2),
        ([0.4, 0.9, 0.7, 0.6, 0.6], 2),
        ([0.4, 0.1, 0.7, 0.6, 0.6], math.inf),
        ([1, math.nan, 0.7, 0.3, 0.2], 1 / 0.3125),
        ([math.nan, math.nan, 0.7, 0.6, 0.6], 2),
        ([math.nan] * 5, math.nan),
    ],
)
def test_resolution_is_the_first_crossing(values: list[float], expected: float) -> None:
    curve = RingCurve(torch.linspace(0, 0.5, 5), torch.tensor([values]), torch.ones(5))
    # Between 0.7 at f = 1/4 and 0.3 at f = 3/8 the line passes 0.5 at f = 0.3125.
    assert metrics.resolution(curve, criterion=0.5).tolist() == pytest.approx([expected], nan_ok=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize(
    ("shape", "fourier_shape"), [((8, 7), (16, 16)), ((7, 7), (13, 15)), ((9,), (20,)), ((3, 4, 3), (6, 7, 6))], ids=str
)
def test_prtf_is_that_of_the_definition(
    shape: tuple[int, ...], fourier_shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    d = len(shape)
    obj = torch.randn(*shape, dtype=dtype)
    # Close enough to each other that align has nothing to do.
    ensemble = obj + 0.05 * torch.randn(4, *shape, dtype=dtype)
    if dtype.is_complex:
        first = ensemble[:1]
        inner = (ensemble.conj() * first).sum(tuple(range(-d, 0)), keepdim=True)
        ensemble = ensemble * inner / inner.abs()
    op = FourierIntensity(fourier_shape)
    intensity = op(obj)
    used = torch.rand(fourier_shape) > 0.2
    used[(0,) * d] = False
    for mask in (None, used):
        keep = np.ones(fourier_shape, bool) if mask is None else mask.numpy()
        curve = metrics.prtf(ensemble, intensity, op, mask=mask)
        expected = slow_prtf(ensemble.numpy(), intensity.numpy(), keep)
        assert curve.value.tolist() == pytest.approx(expected, nan_ok=True)
        assert curve.frequency.tolist() == pytest.approx([r / min(fourier_shape) for r in range(len(expected))])


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("fourier_shape", [(32, 32), (31, 33)])
def test_prtf_of_symmetric_copies_is_one(fourier_shape: tuple[int, int], dtype: torch.dtype) -> None:
    obj = torch.zeros(2, 16, 15, dtype=dtype)
    obj[:, 3:12, 4:11] = torch.randn(2, 9, 7, dtype=dtype)
    ensemble = copies(obj, fourier_shape, 5)
    op = FourierIntensity(fourier_shape)
    for reference in (None, obj):
        curve = metrics.prtf(ensemble, op(obj), op, reference=reference)
        assert curve.value.shape == (2, min(fourier_shape) // 2 + 1)
        torch.testing.assert_close(curve.value, torch.ones_like(curve.value))
    whole = symmetry.shift(ensemble, (20, 29), fourier_shape=fourier_shape)
    torch.testing.assert_close(metrics.prtf(whole, op(obj), op).value, curve.value)


def test_prtf_does_not_see_the_sign_of_real_objects() -> None:
    obj = torch.randn(5, 6)
    curve = metrics.prtf(torch.stack([obj, -obj, obj]), FourierIntensity((12, 12))(obj))
    torch.testing.assert_close(curve.value, torch.ones(7))


def test_prtf_of_random_phases_falls_as_the_root_of_their_number() -> None:
    """Objects without anything in common: the mean of K unit phasors has the modulus sqrt(pi / K) / 2 on average."""
    number = 25
    objects = torch.randn(number, 32, 32, dtype=torch.complex128)
    op = FourierIntensity((64, 64))
    curve = metrics.prtf(objects, op(objects).mean(0), op)
    # `align` finds a little agreement where there is none.
    expected = math.sqrt(math.pi / number) / 2
    assert expected <= curve.value[4:].mean().item() <= 1.3 * expected


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("norm", ["ortho", "backward"])
@pytest.mark.parametrize("fourier_shape", [(16, 16), (15, 17)])
def test_prtf_of_onesided_and_centered_data(fourier_shape: tuple[int, int], norm: str, centered: bool) -> None:
    obj = torch.rand(8, 8, dtype=torch.float64)
    ensemble = obj + 0.1 * torch.rand(3, 8, 8, dtype=torch.float64)
    plain = FourierIntensity(fourier_shape)
    mask = metrics.free_pixels(fourier_shape, radius=1, fraction=0.3, generator=torch.Generator().manual_seed(0))
    expected = metrics.prtf(ensemble, plain(obj), plain, mask=mask)
    for onesided in (False, True):
        op = FourierIntensity(fourier_shape, norm=norm, centered=centered, onesided=onesided)
        options = {"radius": 1, "fraction": 0.3, "centered": centered, "onesided": onesided}
        arranged = metrics.free_pixels(fourier_shape, generator=torch.Generator().manual_seed(0), **options)
        curve = metrics.prtf(ensemble, op(obj), op, mask=arranged)
        torch.testing.assert_close(curve.value, expected.value, equal_nan=True)
        assert torch.equal(curve.count, expected.count)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype: torch.dtype) -> None:
    x, y = torch.rand(3, 8, 8).to(dtype), torch.rand(3, 8, 8).to(dtype)
    assert torch.equal(metrics.frc(x, y).value, metrics.frc(x.float(), y.float()).value)
    intensity = torch.rand(16, 16).to(dtype)
    assert torch.equal(metrics.prtf(x, intensity).value, metrics.prtf(x.float(), intensity.float()).value)


def test_real_reconstructions_turn_to_a_complex_reference() -> None:
    ensemble, reference = torch.rand(3, 8, 8), torch.polar(torch.rand(8, 8), 6 * torch.rand(8, 8))
    intensity = torch.rand(16, 16)
    expected = metrics.prtf(ensemble + 0j, intensity, reference=reference)
    assert torch.equal(metrics.prtf(ensemble, intensity, reference=reference).value, expected.value)


# --- properties ------------------------------------------------------------------------------------------------------


def test_curves_do_not_see_the_symmetries() -> None:
    obj = torch.zeros(4, 16, 16, dtype=torch.complex128)
    obj[:, 4:12, 3:10] = torch.randn(4, 8, 7, dtype=torch.complex128)
    estimate = obj + 0.1 * torch.randn_like(obj) * (obj != 0)
    draw = symmetry.RandomSymmetry()
    torch.testing.assert_close(metrics.frc(draw(estimate), obj).value, metrics.frc(estimate, obj).value)
    intensity = FourierIntensity((32, 32))(obj[0])
    one, other = (metrics.prtf(e, intensity, reference=obj[0]).value for e in (estimate, draw(estimate)))
    torch.testing.assert_close(one, other)


def test_a_batch_gives_what_its_items_give(device: torch.device) -> None:
    obj = torch.rand(2, 3, 8, 9, device=device)
    estimate = obj + 0.2 * torch.rand_like(obj)
    curve = metrics.frc(estimate, obj)
    assert curve.value.shape == (2, 3, 5)
    assert curve.value.device == curve.count.device == curve.frequency.device == obj.device
    pixels = metrics.resolution(curve)
    assert pixels.shape == (2, 3)
    op = FourierIntensity((16, 18)).to(device)
    ensemble = obj[:, :, None] + 0.2 * torch.rand(2, 3, 4, 8, 9, device=device)
    agreement = metrics.prtf(ensemble, op(obj), op)
    for i, j in np.ndindex(2, 3):
        one = metrics.frc(estimate[i, j], obj[i, j])
        torch.testing.assert_close(one.value, curve.value[i, j])
        torch.testing.assert_close(metrics.resolution(one), pixels[i, j])
        torch.testing.assert_close(metrics.prtf(ensemble[i, j], op(obj[i, j]), op).value, agreement.value[i, j])


def test_no_value_is_looked_at() -> None:
    """Tensors without values pass, so nothing waits for a GPU."""
    obj, intensity = torch.rand(2, 8, 9, device="meta"), torch.rand(2, 16, 18, device="meta")
    assert metrics.resolution(metrics.frc(obj, obj.clone())).shape == (2,)
    curve = metrics.prtf(torch.rand(2, 3, 8, 9, device="meta"), intensity, mask=intensity > 0)
    assert metrics.resolution(curve, criterion=0.5).shape == (2,)


# --- errors ----------------------------------------------------------------------------------------------------------


def test_curves_compare_by_identity() -> None:
    curve = metrics.frc(torch.ones(4, 4), torch.ones(4, 4))
    assert curve == curve
    assert curve != metrics.frc(torch.ones(4, 4), torch.ones(4, 4))


def test_ensembles_that_do_not_fit() -> None:
    x, y = torch.rand(2, 3, 5, 4), torch.rand(2, 9, 7)
    cases: list[tuple[type[Exception], tuple[Any, ...], dict[str, Any], str]] = [
        (
            TypeError,
            (x, y, Gaussian(torch.ones(3, 4))),
            {},
            "operator must be a FourierIntensity, got Gaussian. The rings are those of far-field data.",
        ),
        (
            ValueError,
            (x, y[..., :6]),
            {},
            "fourier_shape must be at least (9, 7) = 2n-1 for an object of shape (5, 4), got (9, 6). "
            "Use min_fourier_shape((5, 4)), or undersampled=True where such data are wanted.",
        ),
        (
            ValueError,
            (x, y, FourierIntensity((10, 7))),
            {},
            "intensity must have the operator's data shape (10, 7), got (9, 7). Give the operator that "
            "measured this intensity.",
        ),
        (
            ValueError,
            (x, y),
            {"reference": x},
            "reference must have the shape of one reconstruction (2, 5, 4), or that of the grid, "
            "got (2, 3, 5, 4). Index or expand it.",
        ),
    ]
    for error, arguments, options, message in cases:
        with pytest.raises(error, match=f"^{re.escape(f'prtf: {message}')}$"):
            metrics.prtf(*arguments, **options)


def test_resolution_of_something_else() -> None:
    curve = metrics.frc(torch.rand(8, 8), torch.rand(8, 8))
    cases: list[tuple[type[Exception], Any, Any, str]] = [
        (TypeError, curve.value, "half-bit", "curve must be a RingCurve, got Tensor. Use frc or prtf to get one."),
        (ValueError, curve, "1/7", "criterion must be one of 'half-bit', got '1/7'. Choose one of these."),
        (
            ValueError,
            curve,
            1.5,
            "criterion must be a finite number above 0 and at most 1, got 1.5. Choose a number in this range.",
        ),
        (
            TypeError,
            curve,
            None,
            "criterion must be a finite number above 0 and at most 1, got None. Use float(criterion), or one number.",
        ),
    ]
    for error, given, criterion, message in cases:
        with pytest.raises(error, match=f"^{re.escape(f'resolution: {message}')}$"):
            metrics.resolution(given, criterion=criterion)


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_curves_have_the_gradient_of_the_best_phase_too(dtype: torch.dtype) -> None:
    ensemble = torch.randn(2, 3, 4, 5, dtype=dtype).requires_grad_()
    obj = torch.randn(2, 4, 5, dtype=dtype).requires_grad_()
    intensity = torch.rand(2, 8, 9, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x, y: metrics.frc(x[:, 0], y).value, (ensemble, obj), fast_mode=True)
    assert torch.autograd.gradcheck(lambda x: metrics.prtf(x, intensity).value, ensemble, fast_mode=True)
