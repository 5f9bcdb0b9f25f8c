"""r_factor, relative_magnitude_error, poisson_log_likelihood and free_pixels: against slow NumPy on the full plane."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln
from torch import Tensor

from phaseret import metrics, solvers, symmetry
from phaseret.operators import FourierIntensity, FourierMagnitude, Operator, fourier_intensity

DATA_METRICS = [metrics.relative_magnitude_error, metrics.r_factor, metrics.poisson_log_likelihood]
CASES = [((6,), (12,)), ((6,), (11,)), ((5, 4), (9, 8)), ((4, 5), (10, 9)), ((3, 2, 3), (5, 4, 6))]


def slow(name: str, estimate: np.ndarray, intensity: np.ndarray, used: np.ndarray) -> float:
    """One metric of one item, on the full plane, zero frequency at index 0, norm "ortho"."""
    axes = range(intensity.ndim)
    expected = np.abs(np.fft.fftn(estimate, intensity.shape, axes, norm="ortho")) ** 2
    expected, measured = expected[used], intensity[used]
    if name == "relative_magnitude_error":
        return np.linalg.norm(np.sqrt(expected) - np.sqrt(measured)) / np.linalg.norm(np.sqrt(measured))
    if name == "r_factor":
        return np.abs(np.sqrt(expected) - np.sqrt(measured)).sum() / np.sqrt(measured).sum()

    def log_probability(rate: np.ndarray) -> np.ndarray:
        log_rate = np.log(np.where(rate > 0, rate, 1))
        return measured * log_rate - rate - gammaln(measured + 1)

    return (log_probability(expected) - log_probability(measured)).mean()


class Mixing(Operator):
    """A dense measurement: objects with one axis, data with two."""

    object_ndim, data_ndim = 1, 2

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.randn(3, 4, 5, dtype=torch.complex128))

    def linear(self, obj: Tensor) -> Tensor:
        return torch.einsum("abn,...n->...ab", self.matrix, obj.to(self.matrix.dtype))


def problem(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Two estimates, and two measurements of other objects in counts, some of them 0, one pixel without any light."""
    obj = 3 * torch.randn(2, *shape, dtype=dtype)
    return obj + torch.randn_like(obj), obj


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize(("shape", "fourier_shape"), CASES, ids=str)
@pytest.mark.parametrize("metric", DATA_METRICS)
def test_value_is_that_of_the_definition(
    metric: Callable[..., Tensor], shape: tuple[int, ...], fourier_shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    estimate, obj = problem(shape, dtype)
    op = FourierIntensity(fourier_shape)
    counts = torch.poisson(op(obj))
    used = torch.rand(2, *fourier_shape) > 0.3
    for mask in (torch.ones_like(used), used):
        items = zip(estimate.numpy(), counts.numpy(), mask.numpy(), strict=True)
        expected = [slow(metric.__name__, *item) for item in items]
        assert metric(estimate, counts, op, mask=mask, reduction="none").tolist() == pytest.approx(expected)
    shared = metric(estimate, counts, op, mask=used[0], reduction="none")
    torch.testing.assert_close(shared, metric(estimate, counts, op, mask=used[:1].expand_as(used), reduction="none"))


@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(("shape", "fourier_shape"), CASES, ids=str)
@pytest.mark.parametrize("metric", DATA_METRICS)
def test_onesided_data_counts_as_the_full_plane(
    metric: Callable[..., Tensor], shape: tuple[int, ...], fourier_shape: tuple[int, ...], centered: bool, norm: str
) -> None:
    estimate, obj = problem(shape)
    full = FourierIntensity(fourier_shape, norm=norm, centered=centered)
    half = FourierIntensity(fourier_shape, norm=norm, centered=centered, onesided=True)
    generator = torch.Generator().manual_seed(1)
    free = {"fourier_shape": fourier_shape, "radius": 0, "fraction": 0.4, "exclude": 0.1, "centered": centered}
    masks = [metrics.free_pixels(**free, onesided=o, generator=generator.manual_seed(1)) for o in (False, True)]
    for keep in ((None, None), (~masks[0], ~masks[1])):
        one, other = (
            metric(estimate, op(obj), op, mask=m, reduction="none") for op, m in zip((full, half), keep, strict=True)
        )
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("metric", DATA_METRICS)
def test_an_object_may_be_laid_out_on_the_whole_grid(metric: Callable[..., Tensor], dtype: torch.dtype) -> None:
    """As by a solver that was given a support of the data's shape, wherever the object lies on it."""
    estimate, obj = problem((5, 4), dtype)
    for onesided in (False, True)[: 1 if dtype.is_complex else 2]:
        op = FourierIntensity((11, 8), centered=True, onesided=onesided)
        placed = symmetry.shift(estimate, (8, 3), fourier_shape=(11, 8))
        torch.testing.assert_close(metric(placed, op(obj), op), metric(estimate, op(obj), op))


def test_the_default_operator_is_the_plane_of_the_data() -> None:
    estimate, obj = problem((5, 4))
    op = FourierIntensity((11, 8))
    for metric in DATA_METRICS:
        assert metric(estimate, op(obj)).item() == metric(estimate, op(obj), op).item()
        message = "operator must measure intensities, got FourierMagnitude. Use FourierIntensity."
        with pytest.raises(ValueError, match=f"^{metric.__name__}: {message}$"):
            metric(estimate, op(obj), FourierMagnitude((11, 8)))


@pytest.mark.parametrize("metric", DATA_METRICS)
def test_any_operator_will_do(metric: Callable[..., Tensor]) -> None:
    op = Mixing()
    obj, estimate = (torch.randn(2, 5, dtype=torch.complex128) for _ in range(2))
    values = metric(estimate, op(obj), op, reduction="none")
    expected, measured = op(estimate), op(obj)
    if metric is metrics.poisson_log_likelihood:
        slow_values = (measured * (expected / measured).log() - expected + measured).mean((1, 2))
    else:
        p = 2 if metric is metrics.relative_magnitude_error else 1
        difference = (expected.sqrt() - measured.sqrt()).flatten(1)
        slow_values = difference.norm(p, -1) / measured.sqrt().flatten(1).norm(p, -1)
    torch.testing.assert_close(values, slow_values)
    assert metric(obj, op(obj), op).item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("metric", DATA_METRICS)
def test_what_is_not_measured_does_not_matter(metric: Callable[..., Tensor]) -> None:
    estimate, obj = problem((5, 4))
    intensity = fourier_intensity(obj, (11, 8))
    mask = torch.rand(11, 8) > 0.3
    spoiled = intensity.clone()
    for bad in (math.nan, math.inf, -1.0, 1e300):
        spoiled[:, ~mask] = bad
        assert metric(estimate, spoiled, mask=mask).item() == metric(estimate, intensity, mask=mask).item()


@pytest.mark.parametrize("metric", DATA_METRICS)
def test_negative_intensities_count_as_zero_and_nan_shows(metric: Callable[..., Tensor]) -> None:
    estimate, obj = problem((5, 4))
    intensity = fourier_intensity(obj, (11, 8))
    intensity[:, 3, 4] = 0
    negative = intensity.clone()
    negative[:, 3, 4] = -5
    assert metric(estimate, negative).item() == metric(estimate, intensity).item()
    negative[0, 3, 4] = math.nan
    assert metric(estimate, negative, reduction="none").isnan().tolist() == [True, False]


@pytest.mark.parametrize("metric", DATA_METRICS)
def test_an_item_without_a_measured_pixel_has_no_value(metric: Callable[..., Tensor]) -> None:
    estimate, obj = problem((5, 4))
    intensity = fourier_intensity(obj, (11, 8))
    mask = torch.ones(2, 11, 8, dtype=torch.bool)
    mask[1] = False
    assert metric(estimate, intensity, mask=mask, reduction="none").isnan().tolist() == [False, True]
    if metric is not metrics.poisson_log_likelihood:
        assert metric(estimate, 0 * intensity, reduction="none").isnan().all()


def test_log_likelihood_where_rate_or_counts_are_zero() -> None:
    rate_zero = torch.zeros(1, dtype=torch.float64)
    assert metrics.poisson_log_likelihood(rate_zero, torch.tensor([2.0]), FourierIntensity((1,))).item() == -math.inf
    assert metrics.poisson_log_likelihood(rate_zero, torch.tensor([0.0]), FourierIntensity((1,))).item() == 0
    one = torch.ones(1, dtype=torch.float64)
    assert metrics.poisson_log_likelihood(3 * one, torch.tensor([0.0]), FourierIntensity((1,))).item() == -9


@given(st.floats(1e-12, 1e6), st.floats(1e-3, 1e6))
def test_the_likelihood_keeps_its_digits_where_little_light_is_expected(rate: float, count: float) -> None:
    one = torch.tensor([[math.sqrt(rate)]], dtype=torch.float32)
    counts = torch.tensor([[count]], dtype=torch.float32)
    y = counts.double().item()
    expected = y * math.log(one.double().square().item() / y) - (one.double().square().item() - y)
    found = metrics.poisson_log_likelihood(one, counts, FourierIntensity((1,))).item()
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6 * y)


def test_log_likelihood_is_accurate_for_many_counts_in_single_precision() -> None:
    rate = torch.full((200,), 1e6)
    counts = torch.poisson(rate.double())
    expected = (counts * (rate.double() / counts).log() - (rate.double() - counts)).mean().item()
    values = metrics.poisson_log_likelihood(rate.sqrt()[:, None], counts.float()[:, None], FourierIntensity((1,)))
    assert values.item() == pytest.approx(expected, rel=2e-3)


def test_log_likelihood_of_the_truth_is_about_minus_a_half() -> None:
    obj = 100 * torch.rand(32, 32, dtype=torch.float64)
    expected = fourier_intensity(obj, (64, 64))
    counts = torch.poisson(expected)
    # Half a chi-squared variable a pixel: mean 1/2, variance 1/2.
    error = math.sqrt(0.5 / 64**2)
    assert metrics.poisson_log_likelihood(obj, counts).item() == pytest.approx(-0.5, abs=5 * error)


def test_free_log_likelihood_tells_an_overfitted_object_from_a_right_one() -> None:
    """Objects with more freedom than the data explain the pixels they saw better, and on average the others worse."""
    obj = torch.rand(200, 4, 4, dtype=torch.float64)
    counts = torch.poisson(20 * fourier_intensity(obj, (16, 16)))
    truth = math.sqrt(20) * obj
    free = metrics.free_pixels((16, 16), radius=1, generator=torch.Generator().manual_seed(0))
    scores = {}
    for size in (4, 8):
        estimate = torch.zeros(200, size, size, dtype=torch.float64)
        estimate[:, :4, :4] = truth
        estimate.requires_grad_()
        optimiser = torch.optim.Adam([estimate], lr=0.02)
        for _ in range(60):
            optimiser.zero_grad()
            (-metrics.poisson_log_likelihood(estimate, counts, mask=~free)).backward()
            optimiser.step()
        with torch.no_grad():
            scores[size] = [metrics.poisson_log_likelihood(estimate, counts, mask=m).item() for m in (~free, free)]
    assert scores[8][0] > scores[4][0]
    assert scores[8][1] < scores[4][1]


@pytest.mark.parametrize("unit", [1e-15, 1e15])
@pytest.mark.parametrize("metric", DATA_METRICS[:2])
def test_relative_errors_do_not_depend_on_the_unit(metric: Callable[..., Tensor], unit: float) -> None:
    estimate, obj = (x.float() for x in problem((5, 4)))
    intensity = fourier_intensity(obj, (11, 8))
    scaled = metric(unit * estimate, unit**2 * intensity)
    torch.testing.assert_close(scaled, metric(estimate, intensity), rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("metric", DATA_METRICS)
def test_half_precision_is_computed_in_single(metric: Callable[..., Tensor], dtype: torch.dtype) -> None:
    estimate, obj = (x.to(dtype) for x in problem((5, 4)))
    intensity = fourier_intensity(obj, (11, 8)).to(dtype)
    value = metric(estimate, intensity)
    assert value.dtype == torch.float32
    assert value.item() == metric(estimate.float(), intensity.float()).item()


def test_the_residual_of_real_data_is_that_of_its_readme(data_dir: Path) -> None:
    """The measured pattern, centred and with a beam stop, against any object: R as the data's README defines it."""
    with np.load(data_dir / "measured" / "esrf_logo_cdi.npz") as file:
        data, valid = file["intensity"].astype(float), file["valid"]
    obj = 100 * torch.rand(200, 200, dtype=torch.float64)
    field = np.fft.fftshift(np.fft.fft2(obj.numpy(), (512, 512), norm="ortho"))
    expected = np.sqrt(((abs(field) - np.sqrt(data)) ** 2)[valid].sum() / data[valid].sum())
    op, mask = FourierIntensity((512, 512), centered=True), torch.from_numpy(valid)
    value = metrics.relative_magnitude_error(obj, torch.from_numpy(data), op, mask=mask)
    assert value.item() == pytest.approx(expected)


def test_free_pixels_expose_the_twin_mixture_of_real_data(data_dir: Path) -> None:
    """In a loose box the measured logo gives a lower residual and an unreadable mixture of twins: only held-out pixels
    tell it from the right object."""
    with np.load(data_dir / "measured" / "esrf_logo_cdi.npz") as file:
        intensity, valid, support = (
            torch.from_numpy(np.fft.ifftshift(file[name]) if name != "support" else file[name])
            for name in ("intensity", "valid", "support")
        )
    rows, columns = (support.any(axis).nonzero()[:, 0] for axis in (1, 0))
    known = support[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].bool()
    free = metrics.free_pixels((512, 512), generator=torch.Generator().manual_seed(0))
    seen, unseen = valid & ~free, valid & free
    scores = []
    for region in (known, torch.ones_like(known)):
        options = {"support": region, "mask": seen, "constraint": "nonnegative"}
        start = solvers.HIO(n_iter=150)(intensity, generator=torch.Generator().manual_seed(0), **options).obj
        obj = solvers.ErrorReduction(n_iter=30)(intensity, init=start, **options).obj
        scores.append([metrics.r_factor(obj, intensity, mask=mask).item() for mask in (seen, unseen)])
        scores[-1].append(metrics.poisson_log_likelihood(obj, intensity, mask=unseen).item())
    (right, right_free, right_likelihood), (wrong, wrong_free, wrong_likelihood) = scores
    assert wrong < right
    assert wrong_free > 1.3 * right_free
    assert wrong_likelihood < 2 * right_likelihood < 0


# --- properties ------------------------------------------------------------------------------------------------------


@given(shift=st.tuples(st.integers(0, 6), st.integers(0, 4)), flip=st.booleans(), theta=st.floats(0, 6))
def test_data_metrics_do_not_see_the_symmetries(shift: tuple[int, int], flip: bool, theta: float) -> None:
    torch.manual_seed(0)
    estimate, obj = problem((5, 4), torch.complex128)
    op = FourierIntensity((25, 22))
    copy = torch.zeros(2, 12, 9, dtype=estimate.dtype)
    copy[:, :5, :4] = estimate
    copy = symmetry.global_phase(copy.roll(shift, (-2, -1)), theta)
    copy = symmetry.conj_flip(copy) if flip else copy
    for metric in DATA_METRICS:
        torch.testing.assert_close(metric(copy, op(obj), op), metric(estimate, op(obj), op))


@pytest.mark.parametrize("metric", DATA_METRICS)
def test_a_batch_gives_what_its_items_give(metric: Callable[..., Tensor], device: torch.device) -> None:
    obj = torch.rand(2, 3, 5, 4, device=device)
    estimate, op = obj + 0.1 * torch.rand_like(obj), FourierIntensity((9, 8)).to(device)
    values = metric(estimate, op(obj), op, reduction="none")
    assert values.shape == (2, 3)
    assert values.device == obj.device
    items = [metric(a, op(b), op) for a, b in zip(estimate.flatten(0, 1), obj.flatten(0, 1), strict=True)]
    torch.testing.assert_close(values.flatten(), torch.stack(items))
    torch.testing.assert_close(metric(estimate, op(obj), op), values.mean())
    torch.testing.assert_close(metric(estimate, op(obj), op, reduction="sum"), values.sum())


@pytest.mark.parametrize("metric", DATA_METRICS)
def test_no_value_is_looked_at(metric: Callable[..., Tensor]) -> None:
    """Tensors without values pass, so nothing waits for a GPU."""
    estimate, intensity = torch.rand(2, 5, 4, device="meta"), torch.rand(2, 9, 7, device="meta")
    assert metric(estimate, intensity, mask=intensity > 0, reduction="none").shape == (2,)


@pytest.mark.parametrize("shape", [(64, 64), (63, 50), (400,), (24, 25, 26)], ids=str)
def test_free_pixels_are_islands_with_their_mirror_images(shape: tuple[int, ...]) -> None:
    free = metrics.free_pixels(shape, generator=torch.Generator().manual_seed(0)).numpy()
    assert free.shape == shape
    mirror = np.roll(np.flip(free), 1, range(len(shape)))
    assert (free == mirror).all()
    radius = np.sqrt(sum(np.meshgrid(*[np.fft.fftfreq(m) ** 2 for m in shape], indexing="ij")))
    assert not free[radius <= 0.05].any()
    # Every free pixel outside the reach of the middle has a free neighbour: islands, not pixels.
    neighbours = sum(np.roll(free, s, axis) for axis in range(len(shape)) for s in (-1, 1))
    assert (neighbours[free & (radius > 0.05 + 4 / min(shape))] > 0).all()


def test_free_pixels_are_the_wanted_share_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    for fraction in (0.05, 0.2):
        options = {"fraction": fraction, "exclude": 0.0, "generator": generator}
        share = np.mean([metrics.free_pixels((256, 256), **options).float().mean().item() for _ in range(20)])
        assert share == pytest.approx(fraction, rel=0.05)


@pytest.mark.parametrize("exclude", [0.3, 0.45, 0.6])
def test_the_share_of_free_pixels_is_that_of_the_pixels_outside_the_middle(exclude: float) -> None:
    f = torch.fft.fftfreq(96)
    outside = (f[:, None] ** 2 + f**2).sqrt() > exclude
    options = {"fraction": 0.1, "exclude": exclude, "generator": torch.Generator().manual_seed(0)}
    share = np.mean([metrics.free_pixels((96, 96), **options)[outside].float().mean().item() for _ in range(200)])
    assert share == pytest.approx(0.1, rel=0.15)


def test_free_pixels_of_single_pixels_and_of_the_zero_frequency() -> None:
    free = metrics.free_pixels((6, 6), radius=0, exclude=0, fraction=0.5, generator=torch.Generator().manual_seed(0))
    assert not free[0, 0]
    assert free.any()


def test_free_pixels_are_seeded_and_arranged_like_the_data() -> None:
    def draw(**options: bool) -> Tensor:
        return metrics.free_pixels((17, 20), generator=torch.Generator().manual_seed(3), **options)

    full = draw()
    assert torch.equal(full, draw())
    assert torch.equal(draw(onesided=True), full[:, :11])
    assert torch.equal(draw(centered=True), torch.from_numpy(np.fft.fftshift(full.numpy())))
    both = draw(onesided=True, centered=True)
    assert torch.equal(both, torch.from_numpy(np.fft.fftshift(full[:, :11].numpy(), axes=0)))


def test_free_pixels_lie_on_the_device_of_the_generator(device: torch.device) -> None:
    generator = torch.Generator(device=device).manual_seed(0)
    assert metrics.free_pixels((16, 16), generator=generator).device.type == device.type


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", DATA_METRICS)
def test_data_metrics_are_differentiable(metric: Callable[..., Tensor]) -> None:
    estimate, obj = problem((4, 3), torch.complex128)
    intensity = fourier_intensity(obj, (8, 5))
    estimate.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: metric(x, intensity), estimate, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: metric(x, intensity), estimate, fast_mode=True)


@pytest.mark.parametrize("metric", DATA_METRICS[:2])
def test_gradients_are_finite_at_zero_magnitude_and_at_the_solution(metric: Callable[..., Tensor]) -> None:
    obj = torch.rand(4, 3, dtype=torch.float64)
    intensity = fourier_intensity(obj, (8, 6))
    for start in (torch.zeros_like(obj), torch.ones_like(obj), obj):
        estimate = start.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(metric(estimate, intensity), estimate)
        assert gradient.isfinite().all()


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", DATA_METRICS)
def test_arguments_that_do_not_fit(metric: Callable[..., Tensor]) -> None:
    name = metric.__name__
    x, y = torch.rand(2, 5, 4), torch.rand(2, 9, 7)
    op = FourierIntensity((9, 7))
    cases = [
        (
            ValueError,
            (x, y[..., :6]),
            {},
            "fourier_shape must be at least (9, 7) = 2n-1 for an object of shape (5, 4), got (9, 6). "
            "Use min_fourier_shape((5, 4)), or undersampled=True where such data are wanted.",
        ),
        (
            TypeError,
            (x, y, len),
            {},
            "operator must be an Operator, got builtin_function_or_method. Use one of phaseret.operators, "
            "or a subclass of Operator.",
        ),
        (
            ValueError,
            (x, torch.rand(2, 10, 7), op),
            {},
            "intensity must have the operator's data shape (9, 7), got (10, 7). Give the operator that "
            "measured this intensity.",
        ),
        (
            ValueError,
            (x, y),
            {"reduction": None},
            "reduction must be one of 'mean', 'sum', 'none', got None. Choose one of these.",
        ),
    ]
    for error, arguments, options, message in cases:
        with pytest.raises(error, match=f"^{re.escape(f'{name}: {message}')}$"):
            metric(*arguments, **options)


def test_free_pixels_with_bad_options() -> None:
    cases = [
        (
            TypeError,
            {"fourier_shape": 64},
            "fourier_shape must be a sequence of sizes, got 64. Use (64, 64).",
        ),
        (
            ValueError,
            {"fraction": 0},
            "fraction must be a finite number above 0 and at most 0.5, got 0. Choose a number in this range.",
        ),
        (
            ValueError,
            {"fraction": 0.6},
            "fraction must be a finite number above 0 and at most 0.5, got 0.6. Choose a number in this range.",
        ),
        (ValueError, {"radius": -1}, "radius must be an integer of at least 0, got -1. Use 0 or more."),
        (
            ValueError,
            {"exclude": -0.1},
            "exclude must be a finite number at least 0, got -0.1. Choose a number in this range.",
        ),
        (ValueError, {"exclude": 0.8}, "exclude must leave pixels of the shape (8, 8), got 0.8. Choose a smaller one."),
        (
            TypeError,
            {"generator": 3},
            "generator must be a torch.Generator, got 3. Use torch.Generator().manual_seed(0).",
        ),
    ]
    for error, options, message in cases:
        with pytest.raises(error, match=f"^{re.escape(f'free_pixels: {message}')}$"):
            metrics.free_pixels(**({"fourier_shape": (8, 8)} | options))
