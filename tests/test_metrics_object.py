"""mse, nmse, psnr, ssim and success_rate: against scikit-image, closed forms and a brute-force search."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from phaseret import metrics, symmetry

IMAGE_METRICS = [metrics.mse, metrics.nmse, metrics.psnr, metrics.ssim, metrics.success_rate]
SHAPES = [(28, 28), (13, 16), (31,), (12, 15, 13)]


def pair(shape: tuple[int, ...], batch: tuple[int, ...] = (3,), dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [torch.rand(*batch, *shape, dtype=dtype) for _ in range(2)]


def reference_ssim(x: Tensor, y: Tensor, data_range: float = 1.0) -> float:
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return structural_similarity(x.numpy(), y.numpy(), data_range=data_range, **options)


def slow_ssim(x: np.ndarray, y: np.ndarray, win_size: int) -> float:
    """Wang et al., equation 13, one window at a time."""
    offsets = np.indices([win_size] * x.ndim) - win_size // 2
    weights = np.exp(-(offsets**2).sum(0) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for corner in np.ndindex(*(n - win_size + 1 for n in x.shape)):
        box = tuple(slice(c, c + win_size) for c in corner)
        a, b = x[box], y[box]
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
        cov = (weights * (a - mean_a) * (b - mean_b)).sum()
        top = (2 * mean_a * mean_b + 0.01**2) * (2 * cov + 0.03**2)
        values.append(top / ((mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2)))
    return float(np.mean(values))


def nearest_copy(estimate: np.ndarray, obj: np.ndarray) -> float:
    """Smallest squared distance over all circular shifts on a large grid, the conjugate flip and the global phase."""
    padded = [np.zeros([2 * n for n in obj.shape], complex) for _ in range(2)]
    box = tuple(slice(n) for n in obj.shape)
    padded[0][box], padded[1][box] = estimate, np.flip(estimate).conj()
    target = np.zeros_like(padded[0])
    target[box] = obj
    best = math.inf
    for copy in padded:
        for shifts in itertools.product(*(range(m) for m in copy.shape)):
            moved = np.roll(copy, shifts, range(copy.ndim))
            inner = np.vdot(moved, target)
            phase = inner / abs(inner) if np.iscomplexobj(obj) and inner else 1
            best = min(best, float(np.sum(abs(moved * phase - target) ** 2)))
    return best


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_ssim_equals_scikit_image(shape: tuple[int, ...], data_range: float) -> None:
    x, y = (data_range * a for a in pair(shape))
    y = 0.7 * x + 0.3 * y
    values = metrics.ssim(x, y, data_range=data_range, align=False, ndim=len(shape), reduction="none")
    expected = [reference_ssim(a, b, data_range) for a, b in zip(x, y, strict=True)]
    assert values.tolist() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("win_size", [3, 7, 13])
def test_ssim_win_size_is_the_width_of_the_window(win_size: int) -> None:
    x, y = pair((13, 16))
    values = metrics.ssim(x, y, win_size=win_size, align=False, reduction="none")
    expected = [slow_ssim(a, b, win_size) for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    assert values.tolist() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_mse_nmse_and_psnr_equal_scikit_image(shape: tuple[int, ...]) -> None:
    x, y = pair(shape)
    ndim = len(shape)
    raw = {"align": False, "ndim": ndim, "reduction": "none"}
    items = list(zip(x.numpy(), y.numpy(), strict=True))
    assert metrics.mse(x, y, **raw).tolist() == pytest.approx([((a - b) ** 2).mean() for a, b in items])
    assert metrics.nmse(x, y, **raw).sqrt().tolist() == pytest.approx([normalized_root_mse(b, a) for a, b in items])
    for data_range in (1.0, 3.0):
        expected = [peak_signal_noise_ratio(b, a, data_range=data_range) for a, b in items]
        assert metrics.psnr(x, y, data_range=data_range, **raw).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("shape", [(7,), (4, 5), (2, 3, 3)], ids=str)
def test_aligned_mse_is_the_distance_to_the_nearest_copy(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, y = torch.randn(2, *shape, dtype=dtype), torch.randn(2, *shape, dtype=dtype)
    distances = np.array([nearest_copy(a, b) for a, b in zip(x.numpy(), y.numpy(), strict=True)])
    options = {"ndim": len(shape), "reduction": "none"}
    powers = np.array([np.sum(abs(b) ** 2) for b in y.numpy()])
    assert metrics.mse(x, y, **options).tolist() == pytest.approx(distances / math.prod(shape))
    assert metrics.nmse(x, y, **options).tolist() == pytest.approx(distances / powers)
    expected = 10 * np.log10(4 * math.prod(shape) / distances)
    assert metrics.psnr(x, y, data_range=2, **options).tolist() == pytest.approx(expected)


def test_aligned_ssim_is_that_of_the_aligned_estimate() -> None:
    x, y = pair((17, 14))
    aligned = symmetry.align(x, y).aligned
    assert metrics.ssim(x, y).item() == metrics.ssim(aligned, y, align=False).item()


def test_success_is_a_relative_error_at_most_the_threshold() -> None:
    obj = torch.rand(4, 9, 9)
    factors = torch.tensor([1.0, 1.04, 1.06, 2.0])
    estimate = obj * factors[:, None, None]
    assert metrics.success_rate(estimate, obj, reduction="none").tolist() == [1, 1, 0, 0]
    assert metrics.success_rate(estimate, obj).item() == 0.5
    assert metrics.success_rate(estimate, obj, reduction="sum").item() == 2
    assert metrics.success_rate(estimate, obj, threshold=0.1).item() == 0.75


def test_an_item_without_a_number_is_not_solved() -> None:
    obj = torch.rand(2, 9, 9)
    estimate = obj.clone()
    estimate[0, 0, 0] = math.nan
    assert metrics.success_rate(estimate, obj, align=False, reduction="none").tolist() == [0, 1]


def test_equal_objects_have_infinite_psnr_and_an_empty_one_no_nmse() -> None:
    x = torch.rand(9, 9)
    assert metrics.psnr(x, x, align=False).item() == math.inf
    assert math.isnan(metrics.nmse(x, torch.zeros(9, 9)).item())


@pytest.mark.parametrize("unit", [1e-30, 1e-12, 1e12, 1e30])
def test_relative_metrics_do_not_depend_on_the_unit(unit: float) -> None:
    x, y = pair((13, 13), dtype=torch.float32)
    for align in (False, True):
        error = metrics.nmse(unit * x, unit * y, align=align)
        torch.testing.assert_close(error, metrics.nmse(x, y, align=align), rtol=1e-4, atol=0)
        torch.testing.assert_close(
            metrics.psnr(unit * x, unit * y, data_range=unit, align=align),
            metrics.psnr(x, y, align=align),
            rtol=1e-4,
            atol=0,
        )
        torch.testing.assert_close(
            metrics.ssim(unit * x, unit * y, data_range=unit, align=align),
            metrics.ssim(x, y, align=align),
            rtol=1e-3,
            atol=1e-4,
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("metric", IMAGE_METRICS)
def test_half_precision_is_computed_in_single(metric: Callable[..., Tensor], dtype: torch.dtype) -> None:
    x, y = (a.to(dtype) for a in pair((12, 12)))
    value = metric(x, y)
    assert value.dtype == torch.float32
    assert value.item() == metric(x.float(), y.float()).item()


# --- properties ------------------------------------------------------------------------------------------------------


@given(shift=st.tuples(st.integers(-20, 20), st.integers(-20, 20)), flip=st.booleans(), theta=st.floats(0, 6))
def test_aligned_metrics_do_not_see_the_symmetries(shift: tuple[int, int], flip: bool, theta: float) -> None:
    generator = torch.Generator().manual_seed(0)
    # The margin of 6 pixels on each side of the 8 x 8 content holds every shift within the box.
    inside = [(s + 6) % 13 - 6 for s in shift]
    obj = torch.zeros(2, 20, 20, dtype=torch.complex128)
    obj[:, 6:14, 6:14] = torch.randn(2, 8, 8, dtype=torch.complex128, generator=generator)
    copy = symmetry.global_phase(torch.roll(obj, inside, (-2, -1)), theta)
    copy = symmetry.conj_flip(copy) if flip else copy
    assert metrics.mse(copy, obj).item() < 1e-20
    assert metrics.nmse(copy, obj).item() < 1e-20
    assert metrics.psnr(copy, obj).item() > 200
    assert metrics.success_rate(copy, obj).item() == 1


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("metric", IMAGE_METRICS)
def test_a_batch_gives_what_its_items_give(metric: Callable[..., Tensor], align: bool, device: torch.device) -> None:
    x, y = (a.to(device) for a in pair((12, 13), batch=(2, 3)))
    options = {"align": align}
    values = metric(x, y, reduction="none", **options)
    assert values.shape == (2, 3)
    assert values.device == x.device
    items = [metric(a, b, **options) for a, b in zip(x.flatten(0, 1), y.flatten(0, 1), strict=True)]
    torch.testing.assert_close(values.flatten(), torch.stack(items))
    torch.testing.assert_close(metric(x, y, reduction="mean", **options), values.mean())
    torch.testing.assert_close(metric(x, y, reduction="sum", **options), values.sum())


@pytest.mark.parametrize("metric", [metrics.mse, metrics.nmse])
def test_alignment_never_makes_it_worse(metric: Callable[..., Tensor]) -> None:
    x, y = pair((12, 13), batch=(20,))
    assert (metric(x, y, reduction="none") <= metric(x, y, align=False, reduction="none") + 1e-12).all()


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("metric", IMAGE_METRICS)
def test_no_value_is_looked_at(metric: Callable[..., Tensor], align: bool) -> None:
    """Tensors without values pass, so nothing waits for a GPU."""
    x = torch.rand(2, 12, 12, device="meta")
    assert metric(x, x.clone(), align=align).shape == ()


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("metric", [metrics.mse, metrics.nmse, metrics.psnr, metrics.ssim])
def test_metrics_are_differentiable(metric: Callable[..., Tensor], align: bool) -> None:
    x, y = pair((11, 12), batch=(1,))
    x = (y + 0.1 * x).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: metric(a, y, align=align), x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda a: metric(a, y, align=align), x, fast_mode=True)


@pytest.mark.parametrize("metric", [*IMAGE_METRICS, metrics.frc])
def test_a_result_on_the_whole_grid_is_judged_like_the_object_cut_out_of_it(metric: Callable[..., Any]) -> None:
    obj, noise = torch.rand(2, 3, 12, 13, dtype=torch.float64)
    estimate = obj + 0.1 * noise
    whole = torch.zeros(3, 24, 28, dtype=torch.float64)
    whole[:, :12, :13] = estimate
    placed = symmetry.conj_flip(whole).roll((5, -9), (-2, -1))
    found, expected = metric(placed, obj), metric(estimate, obj)
    if metric is metrics.frc:
        found, expected = found.value, expected.value
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="shapes must be equal"):
        metric(placed, obj, align=False)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", IMAGE_METRICS)
def test_pairs_that_do_not_fit(metric: Callable[..., Tensor]) -> None:
    x = torch.rand(2, 12, 12)
    rule = r"shapes must be equal, got estimate \(2, 12, 12\), obj \(12, 12\). Expand or index one of them."
    with pytest.raises(ValueError, match=f"^{metric.__name__}: {rule}$"):
        metric(x, x[0])


@pytest.mark.parametrize("metric", IMAGE_METRICS)
def test_options_that_do_not_exist(metric: Callable[..., Tensor]) -> None:
    name, x = metric.__name__, torch.rand(2, 12, 12)
    cases = [
        (
            {"reduction": "median"},
            r"reduction must be one of 'mean', 'sum', 'none', got 'median'. Did you mean 'mean'\?",
        ),
        ({"ndim": 4}, r"ndim must be 1, 2 or 3, got 4. Axes before these are a batch."),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=f"^{name}: {message}$"):
            metric(x, x, **options)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim])
def test_a_data_range_that_is_no_range(metric: Callable[..., Tensor]) -> None:
    name, x = metric.__name__, torch.rand(12, 12)
    for value in (0, -1.0, math.inf):
        with pytest.raises(
            ValueError, match=f"^{name}: data_range must be a finite number above 0, got {value}. Choose"
        ):
            metric(x, x, data_range=value)
    with pytest.raises(
        TypeError,
        match=rf"^{name}: data_range must be a finite number above 0, got None\. Use float\(data_range\), or one ",
    ):
        metric(x, x, data_range=None)


def test_a_threshold_that_is_not_positive() -> None:
    x = torch.rand(12, 12)
    with pytest.raises(
        ValueError,
        match=r"^success_rate: threshold must be a finite number above 0, got 0. Choose a number in this range.$",
    ):
        metrics.success_rate(x, x, threshold=0)


def test_a_window_that_does_not_fit() -> None:
    x = torch.rand(8, 10)
    with pytest.raises(
        ValueError,
        match=r"^ssim: win_size must be at most 8, the object's smallest size, got 11. Use win_size=7.$",
    ):
        metrics.ssim(x, x)
    with pytest.raises(ValueError, match=r"^ssim: win_size must be odd, got 6. Use 5 or 7.$"):
        metrics.ssim(x, x, win_size=6)
    assert metrics.ssim(x, x, win_size=7).item() == pytest.approx(1)


def test_ssim_takes_real_objects_only() -> None:
    x = torch.rand(12, 12)
    message = r"^ssim: estimate must be real floating, got torch.complex64. Use estimate.abs\(\) or estimate.real.$"
    with pytest.raises(TypeError, match=message):
        metrics.ssim(x + 0j, x)


def test_nmse_does_not_lose_its_digits_on_a_pedestal() -> None:
    obj = torch.rand(2, 15, 12) + 1e5
    estimate = obj + 0.1 * torch.randn(2, 15, 12)
    for align in (False, True):
        expected = metrics.nmse(estimate.double(), obj.double(), align=align)
        torch.testing.assert_close(metrics.nmse(estimate, obj, align=align).double(), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("unit", [1e-300, 1e-120, 1e120, 1e300])
def test_nmse_in_double_precision_does_not_depend_on_the_unit(unit: float) -> None:
    x, y = torch.rand(2, 2, 9, 8, dtype=torch.float64)
    for align in (False, True):
        found, expected = metrics.nmse(unit * x, unit * y, align=align), metrics.nmse(x, y, align=align)
        torch.testing.assert_close(found, expected)


def test_ssim_does_not_lose_its_digits_on_a_pedestal() -> None:
    obj = torch.rand(2, 24, 24, dtype=torch.float64)
    estimate = obj + 0.3 * torch.randn(2, 24, 24, dtype=torch.float64)
    expected = metrics.ssim(estimate + 1e4, obj + 1e4, align=False)
    got = metrics.ssim((estimate + 1e4).float(), (obj + 1e4).float(), align=False)
    torch.testing.assert_close(got.double(), expected, atol=2e-3, rtol=0)
    assert 0.1 < got < 0.9


@pytest.mark.parametrize("align", [False, True])
def test_a_perfect_item_leaves_the_gradients_of_the_others_alone(align: bool) -> None:
    obj = torch.rand(3, 8, 8, dtype=torch.float64)
    estimate = obj * torch.tensor([1.0, 0.5, 0.8])[:, None, None]
    estimate.requires_grad_()
    values = metrics.psnr(estimate, obj, align=align, reduction="none")
    assert values[0] == math.inf
    (found,) = torch.autograd.grad(values[values.isfinite()].sum(), estimate)
    rest = estimate.detach()[1:].requires_grad_()
    (expected,) = torch.autograd.grad(metrics.psnr(rest, obj[1:], align=align, reduction="sum"), rest)
    assert (found[0] == 0).all()
    torch.testing.assert_close(found[1:], expected)
