"""Noise and masks: means, variances and distributions against theory, with tolerances that the theory gives."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from phaseret import noise
from phaseret.operators import FourierIntensity, autocorrelation, fourier_intensity
from phaseret.symmetry import RandomSymmetry

NUMBER = 40_000
# (function, Module, options): all that draw random numbers.
RANDOM = [
    (noise.poisson_noise, noise.PoissonNoise, {"photons_per_pixel": 10.0}),
    (noise.poisson_noise, noise.PoissonNoise, {"total_photons": 1000.0, "counts": True}),
    (noise.gaussian_noise, noise.GaussianNoise, {"sigma": 0.1}),
    (noise.gaussian_noise, noise.GaussianNoise, {"sigma": 0.1, "domain": "magnitude", "clip": False}),
    (noise.alpha_noise, noise.AlphaNoise, {"alpha": 0.5}),
    (noise.readout_noise, noise.ReadoutNoise, {"sigma": 1.0, "resolution": 0.5}),
]
ALL = [*RANDOM, (noise.saturation, noise.Saturation, {"level": 0.5})]


def seeded(seed: int = 0, device: str | torch.device = "cpu") -> torch.Generator:
    return torch.Generator(device=device).manual_seed(seed)


def repeated(value: float, number: int = NUMBER) -> Tensor:
    return torch.full((1, number), value, dtype=torch.float64)


def check_moments(sample: Tensor, mean: float, variance: float, kurtosis: float = 3.0) -> None:
    """Mean and variance lie within five standard errors; the error of a variance follows from the kurtosis."""
    number = sample.numel()
    assert abs(sample.mean().item() - mean) < 5 * math.sqrt(variance / number)
    assert abs(sample.var().item() - variance) < 5 * variance * math.sqrt((kurtosis - 1) / number)


def clipped_normal(mean: float, sigma: float) -> tuple[float, float]:
    """Mean and variance of max(0, mean + sigma N)."""
    z = mean / sigma
    first = mean * stats.norm.cdf(z) + sigma * stats.norm.pdf(z)
    second = (mean**2 + sigma**2) * stats.norm.cdf(z) + mean * sigma * stats.norm.pdf(z)
    return first, second - first**2


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.3, 4.0, 50.0, 1e6])
def test_counts_without_a_number_of_photons_have_the_intensity_as_mean(rate: float) -> None:
    sample = noise.poisson_noise(repeated(rate), generator=seeded())
    check_moments(sample, rate, rate, kurtosis=3 + 1 / rate)
    assert torch.equal(sample, sample.round())
    if rate <= 50:
        values, observed = np.unique(sample.numpy(), return_counts=True)
        expected = NUMBER * stats.poisson.pmf(values, rate)
        likely = expected > 10
        chi_squared = ((observed - expected)[likely] ** 2 / expected[likely]).sum()
        assert stats.chi2.sf(chi_squared, likely.sum() - 1) > 1e-6


@pytest.mark.parametrize("unit", [1e-30, 1e-6, 1.0, 1e30])
@pytest.mark.parametrize("photons", [0.1, 10.0, 1e4])
def test_photons_per_pixel_is_the_mean_expected_count_of_each_item(photons: float, unit: float) -> None:
    # float32: the sum of the brighter item's pixels does not overflow either.
    brightness = torch.tensor([1.0, 100.0])[:, None, None]
    intensity = unit * brightness * torch.rand(2, 128, 128, generator=seeded())
    counts = noise.poisson_noise(intensity, photons_per_pixel=photons, counts=True, generator=seeded(1))
    error = math.sqrt(photons / 128**2)
    assert (counts.double().mean((1, 2)) - photons).abs().max() < 5 * error
    rescaled = noise.poisson_noise(intensity, photons_per_pixel=photons, generator=seeded(1))
    exposure = photons / (intensity.double() / unit).mean((1, 2), keepdim=True)
    torch.testing.assert_close(rescaled / unit, (counts / exposure).float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_total_photons_is_the_expected_sum_of_each_item(ndim: int) -> None:
    intensity = torch.rand(3, 4, 4, 4, 4, dtype=torch.float64) * torch.logspace(-3, 3, 3).reshape(3, 1, 1, 1, 1)
    counts = noise.poisson_noise(intensity, total_photons=1e6, counts=True, ndim=ndim, generator=seeded())
    totals = counts.sum(tuple(range(-ndim, 0)))
    assert totals.shape == intensity.shape[: 5 - ndim]
    assert (totals - 1e6).abs().max() < 6 * 1e3
    same = noise.poisson_noise(intensity, photons_per_pixel=1e6 / 4**ndim, counts=True, ndim=ndim, generator=seeded())
    assert torch.equal(counts, same)


def test_rescaled_counts_have_the_intensity_as_mean_and_its_ratio_to_the_exposure_as_variance() -> None:
    intensity = repeated(3.0)
    sample = noise.poisson_noise(intensity, photons_per_pixel=20, generator=seeded())
    exposure = 20 / 3
    check_moments(sample, 3.0, 3.0 / exposure, kurtosis=3 + 1 / 20)
    torch.testing.assert_close(sample * exposure, (sample * exposure).round())


def test_items_without_light_stay_dark_and_negative_intensities_count_as_zero() -> None:
    intensity = torch.stack([torch.zeros(8, 8), torch.ones(8, 8)])
    for options in ({}, {"photons_per_pixel": 100.0}, {"total_photons": 1e4}):
        sample = noise.poisson_noise(intensity, **options, generator=seeded())
        assert sample[0].tolist() == torch.zeros(8, 8).tolist()
        assert sample[1].mean() > 0.5
        negative = intensity.clone()
        negative[:, 0, 0] = -5.0
        expected = noise.poisson_noise(negative.clamp(min=0), **options, generator=seeded())
        assert torch.equal(noise.poisson_noise(negative, **options, generator=seeded()), expected)


def test_intensities_that_are_no_rates_give_nan() -> None:
    intensity = torch.tensor([[1.0, math.nan], [1.0, math.inf], [1.0, 1e19], [1.0, 1.0]])
    plain = noise.poisson_noise(intensity, ndim=1, generator=seeded())
    assert plain.isnan().tolist() == [[False, True], [False, True], [False, True], [False, False]]
    scaled = noise.poisson_noise(intensity, total_photons=10, ndim=1, generator=seeded())
    assert scaled.isnan().tolist() == [[True, True], [True, True], [False, False], [False, False]]


@pytest.mark.parametrize("clip", [False, True])
def test_gaussian_noise_on_the_intensity(clip: bool) -> None:
    for signal, sigma in ((5.0, 0.5), (0.5, 1.0), (0.0, 2.0)):
        sample = noise.gaussian_noise(repeated(signal), sigma=sigma, clip=clip, generator=seeded())
        mean, variance = clipped_normal(signal, sigma) if clip else (signal, sigma**2)
        check_moments(sample, mean, variance, kurtosis=8)
        assert (sample >= 0).all() == clip or signal == 5.0
        if not clip:
            assert stats.kstest(sample[0].numpy(), "norm", (signal, sigma)).pvalue > 1e-6


@pytest.mark.parametrize("clip", [False, True])
def test_gaussian_noise_on_the_magnitude(clip: bool) -> None:
    for magnitude, sigma in ((5.0, 0.5), (0.5, 1.0), (0.0, 1.0)):
        options = {"sigma": sigma, "domain": "magnitude", "clip": clip}
        sample = noise.gaussian_noise(repeated(magnitude**2), **options, generator=seeded())
        assert (sample >= 0).all()
        if not clip:
            # A non-central chi-squared variable, in units of sigma squared.
            check_moments(sample, magnitude**2 + sigma**2, 2 * sigma**4 + 4 * magnitude**2 * sigma**2, kurtosis=15)
        else:
            check_moments(sample.sqrt(), *clipped_normal(magnitude, sigma), kurtosis=8)


def test_alpha_noise_has_a_deviation_of_alpha_times_the_magnitude() -> None:
    for intensity, alpha in ((100.0, 2.0), (4.0, 3.0)):
        sample = noise.alpha_noise(repeated(intensity), alpha=alpha, generator=seeded())
        check_moments(sample, *clipped_normal(intensity, alpha * math.sqrt(intensity)), kurtosis=8)
    assert noise.alpha_noise(torch.tensor([0.0, -1.0]), alpha=3, generator=seeded()).tolist() == [0, 0]


def test_alpha_noise_is_the_limit_of_counting_many_photons() -> None:
    """The same mean and variance as a Poisson exposure of alpha^-2 photons per unit of intensity."""
    intensity, alpha = 1000.0, 0.5
    photons = intensity / alpha**2
    gaussian = noise.alpha_noise(repeated(intensity), alpha=alpha, generator=seeded())
    poisson = noise.poisson_noise(repeated(intensity), photons_per_pixel=photons, generator=seeded())
    for sample in (gaussian, poisson):
        check_moments(sample, intensity, alpha**2 * intensity)


@pytest.mark.parametrize("resolution", [None, 1.0, 0.25, 4.0])
def test_readout_noise_is_gaussian_and_rounded_to_its_resolution(resolution: float | None) -> None:
    sample = noise.readout_noise(repeated(100.3), sigma=2.0, resolution=resolution, generator=seeded())
    if resolution is None:
        check_moments(sample, 100.3, 4.0)
    else:
        # Rounding adds resolution^2 / 12 and no bias while sigma is at least half of it (exact to 1e-4 there).
        check_moments(sample, 100.3, 4.0 + resolution**2 / 12)
        assert torch.equal(sample / resolution, (sample / resolution).round())


@pytest.mark.parametrize("generator", [None, seeded()])
def test_correlography_noise_has_the_moments_of_an_average_of_periodograms(generator: torch.Generator | None) -> None:
    obj, frames, background = torch.rand(4, 5).double(), 3, 0.2
    intensity = fourier_intensity(obj, (8, 9))
    lags = autocorrelation(intensity, (8, 9)).real
    many = intensity.expand(20000, 8, 9)
    noisy = noise.correlography_noise(many, frames=frames, background=background, generator=generator)
    found = autocorrelation(noisy, (8, 9)).real
    level = lags + background * lags[0, 0]
    assert ((found.mean(0) - lags).abs() < 0.03 * level).all()
    assert ((found.var(0) * frames / level.square() - 1).abs() < 0.15).all()
    torch.testing.assert_close(found[0, 3, 2], found[0, -3, -2])


def test_readout_noise_clips_at_zero_if_asked() -> None:
    clipped = noise.readout_noise(repeated(0.5), sigma=2.0, generator=seeded())
    check_moments(clipped, *clipped_normal(0.5, 2.0), kurtosis=8)
    kept = noise.readout_noise(repeated(0.5), sigma=2.0, clip=False, generator=seeded())
    assert torch.equal(kept.clamp(min=0), clipped)
    assert kept.min() < 0


def test_shapes_are_known_without_values_whatever_draws() -> None:
    counted = noise.PoissonNoise(generator=torch.Generator())(torch.empty(2, 3, 4, device="meta"))
    assert (counted.shape, counted.device.type) == ((2, 3, 4), "meta")


def test_saturation_is_a_ceiling() -> None:
    intensity = torch.tensor([0.0, 1.0, 99.0, 100.0, 101.0, math.inf, math.nan])
    expected = torch.tensor([0.0, 1.0, 99.0, 100.0, 100.0, 100.0, math.nan])
    assert torch.equal(noise.saturation(intensity[:5], level=1e300), intensity[:5])
    assert torch.equal(noise.saturation(intensity, level=100).nan_to_num(nan=-1), expected.nan_to_num(nan=-1))


def test_masked_pixels_show_the_value() -> None:
    intensity = torch.rand(2, 3, 4)
    mask = torch.rand(3, 4) > 0.5
    for value in (0.0, -1.0):
        assert torch.equal(noise.mask_pixels(intensity, mask, value=value), intensity.where(mask, value))
    with pytest.raises(ValueError, match="value must fit the dtype of the intensity, which ends at 3"):
        noise.MaskPixels(mask, value=1e300)(intensity)
    assert torch.equal(noise.mask_pixels(intensity, mask, value=math.nan).isfinite(), mask.expand(2, 3, 4))
    each = torch.rand(2, 3, 4) > 0.5
    assert torch.equal(noise.mask_pixels(intensity, each), intensity * each)


@pytest.mark.parametrize("shape", [(9,), (8, 9), (7, 6), (5, 6, 4), (49, 98)], ids=str)
@pytest.mark.parametrize("radius", [0, 1, 1.5, 2])
def test_beam_stop_covers_the_disc_around_the_zero_frequency(shape: tuple[int, ...], radius: float) -> None:
    frequencies = np.meshgrid(*[np.fft.ifftshift(np.arange(m) - m // 2) for m in shape], indexing="ij")
    expected = sum(f**2 for f in frequencies) > radius**2
    mask = noise.beam_stop(shape, radius=radius)
    assert mask.dtype == torch.bool
    assert np.array_equal(mask, expected)
    assert np.array_equal(noise.beam_stop(shape, radius=radius, centered=True), np.fft.fftshift(expected))
    half = expected[..., : shape[-1] // 2 + 1]
    assert np.array_equal(noise.beam_stop(shape, radius=radius, onesided=True), half)
    leading = tuple(range(len(shape) - 1))
    both = noise.beam_stop(shape, radius=radius, onesided=True, centered=True)
    assert np.array_equal(both, np.fft.fftshift(half, axes=leading))


def test_dead_pixels_are_the_wanted_share() -> None:
    mask = noise.dead_pixels((200, 200), fraction=0.1, generator=seeded())
    assert abs((~mask).double().mean().item() - 0.1) < 5 * math.sqrt(0.1 * 0.9 / NUMBER)
    assert noise.dead_pixels((8, 8), fraction=0).all()


# --- properties ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "_module", "options"), RANDOM)
def test_the_same_seed_gives_the_same_noise(
    function: Callable[..., Tensor], _module: type[nn.Module], options: dict[str, Any]
) -> None:
    intensity = torch.rand(3, 8, 8)
    first = function(intensity, **options, generator=seeded(5))
    assert torch.equal(first, function(intensity, **options, generator=seeded(5)))
    assert not torch.equal(first, function(intensity, **options, generator=seeded(6)))
    torch.manual_seed(5)
    default = function(intensity, **options)
    assert torch.equal(default, first)


@pytest.mark.parametrize(("function", "_module", "options"), RANDOM)
def test_a_generator_of_the_cpu_gives_the_same_noise_on_every_device(
    function: Callable[..., Tensor], _module: type[nn.Module], options: dict[str, Any], device: torch.device
) -> None:
    intensity = torch.rand(3, 8, 8)
    there = function(intensity.to(device), **options, generator=seeded())
    assert there.device.type == device.type
    torch.testing.assert_close(there.cpu(), function(intensity, **options, generator=seeded()))
    assert function(intensity.to(device), **options, generator=seeded(0, device)).device.type == device.type


@given(brightness=st.floats(1e-3, 1e3), others=st.integers(0, 3))
def test_the_level_of_an_item_does_not_depend_on_the_others(brightness: float, others: int) -> None:
    """Same generator, same place in the batch: only the item's own intensity sets its exposure."""
    first = torch.rand(8, 8, dtype=torch.float64, generator=seeded())
    alone = noise.poisson_noise(first, photons_per_pixel=7, generator=seeded(1))
    rest = brightness * torch.rand(others, 8, 8, dtype=torch.float64, generator=seeded(2))
    together = noise.poisson_noise(torch.cat([first[None], rest]), photons_per_pixel=7, generator=seeded(1))
    torch.testing.assert_close(together[0], alone)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("function", "_module", "options"), ALL)
def test_half_precision_becomes_single_and_the_rest_stays(
    function: Callable[..., Tensor], _module: type[nn.Module], options: dict[str, Any], dtype: torch.dtype
) -> None:
    intensity = torch.rand(2, 8, 8).to(dtype)
    result = function(intensity, **options)
    assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert result.shape == intensity.shape
    assert result.isfinite().all()


@pytest.mark.parametrize(("function", "_module", "options"), ALL)
def test_no_value_is_looked_at(
    function: Callable[..., Tensor], _module: type[nn.Module], options: dict[str, Any]
) -> None:
    """Tensors without values pass, so nothing waits for a GPU."""
    assert function(torch.rand(2, 8, 8, device="meta"), **options).shape == (2, 8, 8)


def test_masks_cover_bright_pixels_of_the_operator() -> None:
    """The masks' conventions are those of the operators: a beam stop hides the brightest pixel of a bright object."""
    obj = torch.rand(2, 8, 8)
    for centered in (False, True):
        for onesided in (False, True):
            op = FourierIntensity((16, 18), centered=centered, onesided=onesided)
            mask = noise.beam_stop((16, 18), radius=0, centered=centered, onesided=onesided)
            assert (~mask).sum() == 1
            assert torch.equal(op(obj)[:, ~mask][:, 0], op(obj).amax((-2, -1)))


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "_module", "options"), [RANDOM[2], RANDOM[3], RANDOM[4]])
def test_gaussian_noise_is_differentiable(
    function: Callable[..., Tensor], _module: type[nn.Module], options: dict[str, Any]
) -> None:
    intensity = (1 + torch.rand(2, 4, 4, dtype=torch.float64)).requires_grad_()

    def fixed(x: Tensor) -> Tensor:
        return function(x, **options, generator=seeded())

    assert torch.autograd.gradcheck(fixed, intensity, fast_mode=True)
    assert torch.autograd.gradgradcheck(fixed, intensity, fast_mode=True)


def test_a_dark_pixel_gets_the_gradient_0_of_its_magnitude() -> None:
    intensity = torch.tensor([0.0, 4.0], dtype=torch.float64, requires_grad=True)
    for seed in range(4):
        noisy = noise.gaussian_noise(intensity, sigma=0.1, domain="magnitude", generator=seeded(seed))
        (gradient,) = torch.autograd.grad(noisy.sum(), intensity)
        assert gradient[0] == 0
        assert gradient.isfinite().all()
        noisy = noise.alpha_noise(intensity, alpha=0.1, generator=seeded(seed))
        (gradient,) = torch.autograd.grad(noisy.sum(), intensity)
        assert gradient[0] == 1
        assert gradient.isfinite().all()


def test_counting_passes_no_gradient() -> None:
    intensity = torch.rand(4, 4, requires_grad=True)
    assert not noise.poisson_noise(intensity, photons_per_pixel=3).requires_grad


@pytest.mark.parametrize(
    "function", [lambda x: noise.saturation(x, level=0.5), lambda x: noise.mask_pixels(x, torch.eye(4) > 0)]
)
def test_what_is_cut_off_has_no_gradient(function: Callable[[Tensor], Tensor]) -> None:
    intensity = torch.rand(4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, intensity, fast_mode=True)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "_module", "options"), ALL)
def test_intensities_of_the_wrong_kind(
    function: Callable[..., Tensor], _module: type[nn.Module], options: dict[str, Any]
) -> None:
    name = function.__name__
    cases = [
        (TypeError, [1.0], "intensity must be a torch.Tensor, got list. Use torch.as_tensor."),
        (TypeError, torch.ones(2, 2).int(), "intensity must be real floating, got torch.int32. Use intensity.float()."),
        (
            TypeError,
            torch.ones(2, 2) + 0j,
            "intensity must be real floating, got torch.complex64. Use intensity.abs() or intensity.real.",
        ),
        (
            ValueError,
            torch.ones(0, 2, 2),
            "intensity must hold at least one element, got shape (0, 2, 2). Leave out empty batches.",
        ),
    ]
    for error, intensity, message in cases:
        with pytest.raises(error, match=f"^{re.escape(f'{name}: {message}')}$"):
            function(intensity, **options)


BAD_OPTIONS: list[tuple[Callable[..., Tensor], type[nn.Module], type[Exception], dict[str, Any], str]] = [
    (
        noise.poisson_noise,
        noise.PoissonNoise,
        ValueError,
        {"photons_per_pixel": 1.0, "total_photons": 5.0},
        "at most one number of photons must be given, got photons_per_pixel=1.0 and total_photons=5.0. "
        "Leave out one of them.",
    ),
    (
        noise.poisson_noise,
        noise.PoissonNoise,
        ValueError,
        {"photons_per_pixel": 0},
        "photons_per_pixel must be a finite number above 0, got 0. Choose a number in this range.",
    ),
    (
        noise.poisson_noise,
        noise.PoissonNoise,
        TypeError,
        {"total_photons": "many"},
        "total_photons must be a finite number above 0, got 'many'. Use float(total_photons), or one number.",
    ),
    (
        noise.poisson_noise,
        noise.PoissonNoise,
        ValueError,
        {"ndim": 0},
        "ndim must be an integer of at least 1, got 0. Use 1 or more.",
    ),
    (
        noise.poisson_noise,
        noise.PoissonNoise,
        ValueError,
        {"ndim": 5},
        "ndim must be 1, 2, 3 or 4, got 5. Axes before these are a batch.",
    ),
    (
        noise.poisson_noise,
        noise.PoissonNoise,
        TypeError,
        {"counts": "yes"},
        "counts must be True or False, got 'yes'. Write it without quotes.",
    ),
    (
        noise.gaussian_noise,
        noise.GaussianNoise,
        TypeError,
        {"sigma": 1, "clip": "no"},
        "clip must be True or False, got 'no'. Write it without quotes.",
    ),
    (
        noise.readout_noise,
        noise.ReadoutNoise,
        TypeError,
        {"sigma": 1, "clip": 0},
        "clip must be True or False, got 0. Use bool(clip).",
    ),
    (
        noise.poisson_noise,
        noise.PoissonNoise,
        TypeError,
        {"generator": 3},
        "generator must be a torch.Generator, got 3. Use torch.Generator().manual_seed(0).",
    ),
    (
        noise.gaussian_noise,
        noise.GaussianNoise,
        ValueError,
        {"sigma": -1},
        "sigma must be a finite number at least 0, got -1. Choose a number in this range.",
    ),
    (
        noise.gaussian_noise,
        noise.GaussianNoise,
        ValueError,
        {"sigma": 1, "domain": "amplitude"},
        "domain must be one of 'intensity', 'magnitude', got 'amplitude'. Did you mean 'magnitude'?",
    ),
    (
        noise.gaussian_noise,
        noise.GaussianNoise,
        TypeError,
        {"sigma": 1, "generator": 0},
        "generator must be a torch.Generator, got 0. Use torch.Generator().manual_seed(0).",
    ),
    (
        noise.alpha_noise,
        noise.AlphaNoise,
        ValueError,
        {"alpha": math.nan},
        "alpha must be a finite number at least 0, got nan. Choose a number in this range.",
    ),
    (
        noise.alpha_noise,
        noise.AlphaNoise,
        TypeError,
        {"alpha": 1, "generator": 0},
        "generator must be a torch.Generator, got 0. Use torch.Generator().manual_seed(0).",
    ),
    (
        noise.readout_noise,
        noise.ReadoutNoise,
        ValueError,
        {"sigma": -0.5},
        "sigma must be a finite number at least 0, got -0.5. Choose a number in this range.",
    ),
    (
        noise.readout_noise,
        noise.ReadoutNoise,
        ValueError,
        {"sigma": 1, "resolution": 0},
        "resolution must be a finite number above 0, got 0. Choose a number in this range.",
    ),
    (
        noise.readout_noise,
        noise.ReadoutNoise,
        TypeError,
        {"sigma": 1, "generator": 0},
        "generator must be a torch.Generator, got 0. Use torch.Generator().manual_seed(0).",
    ),
    (
        noise.saturation,
        noise.Saturation,
        ValueError,
        {"level": 0},
        "level must be a finite number above 0, got 0. Choose a number in this range.",
    ),
]


@pytest.mark.parametrize(("function", "module", "error", "options", "message"), BAD_OPTIONS)
def test_bad_options_fail_at_once(
    function: Callable[..., Tensor],
    module: type[nn.Module],
    error: type[Exception],
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(error, match=f"^{re.escape(f'{function.__name__}: {message}')}$"):
        function(torch.ones(2, 2), **options)
    with pytest.raises(error, match=f"^{re.escape(f'{module.__name__}: {message}')}$"):
        module(**options)


def test_photons_of_an_item_that_is_too_flat() -> None:
    message = "poisson_noise: intensity must have at least 2 axes, got shape (4,). Add one with unsqueeze(0)."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        noise.poisson_noise(torch.ones(4), photons_per_pixel=1)


def test_masks_that_do_not_fit() -> None:
    intensity, mask = torch.ones(2, 3, 4), torch.ones(3, 4, dtype=torch.bool)
    cases: list[tuple[type[Exception], Any, dict[str, Any], str]] = [
        (TypeError, mask.float(), {}, "mask must be a boolean tensor, got torch.float32. Use mask.bool()."),
        (TypeError, [True], {}, "mask must be a torch.Tensor, got list. Use torch.as_tensor."),
        (TypeError, mask, {"value": None}, "value must be a finite number, got None. Use float(value), or one number."),
        (
            ValueError,
            mask,
            {"value": math.inf},
            "value must be a finite number, got inf. Choose a number in this range.",
        ),
    ]
    for error, wrong, options, message in cases:
        with pytest.raises(error, match=f"^{re.escape(f'mask_pixels: {message}')}$"):
            noise.mask_pixels(intensity, wrong, **options)
        with pytest.raises(error, match=f"^{re.escape(f'MaskPixels: {message}')}$"):
            noise.MaskPixels(wrong, **options)
    with pytest.raises(
        ValueError, match=r"^mask_pixels: mask must broadcast to the intensity \(2, 3, 4\), got \(4, 3\)."
    ):
        noise.mask_pixels(intensity, mask.T)
    with pytest.raises(
        ValueError, match=r"^mask_pixels: all tensors must lie on one device, got intensity on cpu, mask on"
    ):
        noise.mask_pixels(intensity, mask.to("meta"))


def test_beam_stops_and_dead_pixels_with_bad_options() -> None:
    cases: list[tuple[type[Exception], Callable[[], Tensor], str]] = [
        (
            TypeError,
            lambda: noise.beam_stop(64, radius=1),
            "beam_stop: fourier_shape must be a sequence of sizes, got 64. Use (64, 64).",
        ),
        (
            ValueError,
            lambda: noise.beam_stop((8, 8), radius=-1),
            "beam_stop: radius must be a finite number at least 0, got -1. Choose a number in this range.",
        ),
        (
            ValueError,
            lambda: noise.beam_stop((8, 8), radius=6),
            "beam_stop: radius must leave pixels of the shape (8, 8), got 6.0. Choose a smaller one.",
        ),
        (
            ValueError,
            lambda: noise.dead_pixels((8, 0), fraction=0.1),
            "dead_pixels: data_shape must hold positive sizes, got (8, 0). Use sizes of at least 1.",
        ),
        (
            ValueError,
            lambda: noise.dead_pixels((8, 8), fraction=1.1),
            "dead_pixels: fraction must be a finite number at least 0 and at most 1, got 1.1. Choose a "
            "number in this range.",
        ),
        (
            TypeError,
            lambda: noise.dead_pixels((8, 8), fraction=0.1, generator=0),
            "dead_pixels: generator must be a torch.Generator, got 0. Use torch.Generator().manual_seed(0).",
        ),
        (
            ValueError,
            lambda: noise.dead_pixels((8, 8), fraction=1),
            "dead_pixels: fraction must leave pixels of the shape (8, 8), got 1.0. Use a smaller one.",
        ),
        (
            ValueError,
            lambda: noise.mask_pixels(torch.ones(2, 3), torch.zeros(2, 3).bool()),
            "mask_pixels: mask must leave pixels, got one that is False everywhere. It is True where measured.",
        ),
        (
            ValueError,
            lambda: noise.MaskPixels(torch.zeros(2, 3).bool()),
            "MaskPixels: mask must leave pixels, got one that is False everywhere. It is True where measured.",
        ),
        (
            TypeError,
            lambda: noise.MaskPixels(torch.ones(2, 3).bool())(torch.ones(2, 3).int()),
            "MaskPixels: intensity must be real floating, got torch.int32. Use intensity.float().",
        ),
        (
            ValueError,
            lambda: noise.correlography_noise(torch.rand(8, 8), frames=0),
            "correlography_noise: frames must be an integer of at least 1, got 0. Use 1 or more.",
        ),
        (
            ValueError,
            lambda: noise.correlography_noise(torch.rand(8, 8), frames=1, background=-1),
            "correlography_noise: background must be a finite number at least 0, got -1. Choose a number in this "
            "range.",
        ),
        (
            TypeError,
            lambda: noise.beam_stop((8, 8), radius=1, centered="no"),  # type: ignore[arg-type]
            "beam_stop: centered must be True or False, got 'no'. Write it without quotes.",
        ),
    ]
    for error, call, message in cases:
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            call()


# --- modules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "module", "options"), ALL)
def test_modules_call_their_function(
    function: Callable[..., Tensor], module: type[nn.Module], options: dict[str, Any]
) -> None:
    intensity = torch.rand(3, 8, 8)
    torch.manual_seed(1)
    expected = function(intensity, **options)
    torch.manual_seed(1)
    assert torch.equal(module(**options)(intensity), expected)
    for name, value in options.items():
        assert f"{name}={value!r}" in repr(module(**options))


def test_modules_follow_an_operator(device: torch.device) -> None:
    mask = noise.beam_stop((16, 16), radius=1, device=device) & noise.dead_pixels((16, 16), fraction=0.1).to(device)
    detector = nn.Sequential(
        FourierIntensity((16, 16)),
        noise.PoissonNoise(photons_per_pixel=1000, counts=True),
        noise.ReadoutNoise(sigma=2, resolution=1),
        noise.Saturation(level=4095),
        noise.MaskPixels(mask),
    ).to(device)
    obj = torch.rand(5, 8, 8, device=device)
    counts = detector(obj)
    assert counts.shape == (5, 16, 16)
    assert counts.device.type == device.type
    assert torch.equal(counts, counts.round())
    assert counts.min() == 0
    assert counts.max() <= 4095
    assert not counts[:, ~mask].any()


def test_a_mask_is_a_buffer_that_moves_and_is_saved() -> None:
    module = noise.MaskPixels(torch.eye(3) > 0)
    assert torch.equal(module.state_dict()["mask"], torch.eye(3) > 0)
    assert module.to("meta").mask.device.type == "meta"
    assert repr(module) == "MaskPixels(mask=tensor of shape (3, 3), value=0.0)"


def test_masks_of_the_module_and_of_the_call_go_together() -> None:
    intensity, own, each = torch.rand(4, 5, 6) + 1, torch.rand(5, 6) > 0.3, torch.rand(4, 5, 6) > 0.3
    module = noise.MaskPixels(own, value=-1.0)
    expected = torch.where(own & each, intensity, torch.tensor(-1.0))
    assert torch.equal(module(intensity, mask=each), expected)
    assert torch.equal(module(intensity, mask=each[2])[2], expected[2])
    assert torch.equal(module(intensity.masked_fill(~own, math.nan), mask=each), expected)
    with pytest.raises(TypeError, match=r"^MaskPixels: mask must be a boolean tensor, got torch.float32\."):
        module(intensity, mask=each.float())


def test_correlography_noise_follows_its_generator() -> None:
    intensity = torch.rand(2, 8, 8)
    results = [noise.correlography_noise(intensity, frames=2, generator=seeded(seed)) for seed in (0, 0, 1)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize(("function", "module", "options"), ALL)
def test_options_are_attributes_that_a_call_reads(
    function: Callable[..., Tensor], module: type[nn.Module], options: dict[str, Any]
) -> None:
    made, intensity = module(**options), torch.rand(3, 8, 8)
    name, value = next(iter(options.items()))
    setattr(made, name, 2 * value)
    torch.manual_seed(1)
    expected = function(intensity, **{**options, name: 2 * value})
    torch.manual_seed(1)
    assert torch.equal(made(intensity), expected)


def test_a_copied_module_has_its_own_generator() -> None:
    module = noise.PoissonNoise(photons_per_pixel=5, generator=seeded(3))
    twin, intensity = copy.deepcopy(module), torch.rand(4, 4)
    assert torch.equal(module(intensity), twin(intensity))
    assert "generator" not in repr(module)


class Transformed(Dataset[list[Tensor]]):
    """The same item again and again, through every Module that draws random numbers."""

    def __init__(self) -> None:
        shared = seeded(5)
        self.transforms = [module(**options, generator=shared) for _, module, options in RANDOM]
        self.transforms += [RandomSymmetry(shift=2, fourier_shape=(16, 16), generator=seeded(5))]  # one of its own

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> list[Tensor]:
        return [transform(torch.arange(1.0, 65).reshape(8, 8)) for transform in self.transforms]


def test_workers_draw_apart_from_one_another_and_anew_in_each_epoch() -> None:
    def epochs() -> list[list[Tensor]]:
        loader = DataLoader(Transformed(), batch_size=4, num_workers=2, generator=seeded())
        return [[torch.cat(items) for items in zip(*loader, strict=True)] for _ in range(2)]

    found = epochs()
    for drawn, again in zip(*found, strict=True):
        assert not torch.equal(drawn[:4], drawn[4:])  # of the first worker and of the second
        assert not torch.equal(drawn, again)
    for drawn, same in zip(found, epochs(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(drawn, same, strict=True))


def test_a_generator_reaches_a_spawned_process_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    data, intensity = Transformed(), torch.rand(4, 4)
    data.transforms[0](intensity)
    monkeypatch.setattr("phaseret._module.get_spawning_popen", object)
    sent = pickle.dumps(data)
    monkeypatch.undo()
    there = pickle.loads(sent)
    for _ in range(2):  # those that share one generator go on sharing it
        for own, other in zip(data.transforms, there.transforms, strict=True):
            assert torch.equal(own(intensity), other(intensity))


def test_few_photons_cost_information_as_expected() -> None:
    """The relative error of the magnitudes of counts falls as one over the root of the photons."""
    intensity = fourier_intensity(torch.rand(8, 8, dtype=torch.float64), (16, 16)) + 1.0
    errors = []
    for photons in (1e3, 1e5):
        noisy = noise.poisson_noise(intensity.expand(50, 16, 16), photons_per_pixel=photons, generator=seeded())
        errors.append((noisy.sqrt() - intensity.sqrt()).square().mean().sqrt().item())
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.05)
