"""Photon counting."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret._module import RandomModule, called_as

# Above this rate a count no longer fits the sampler's integers.
LARGEST_RATE = 1e18


def poisson_noise(
    intensity: Tensor,
    *,
    photons_per_pixel: float | None = None,
    total_photons: float | None = None,
    counts: bool = False,
    ndim: int = 2,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Photon counting: each pixel is a Poisson number whose mean is proportional to its intensity.

    .. math:: Y = \frac{1}{s} \, \mathrm{Poisson}(s I)

    The exposure s (counts per unit of intensity) is set for each item, such that its mean expected count over all its
    pixels is `photons_per_pixel`, or the sum is `total_photons`. With neither the intensity is the expected count
    itself, s = 1. The expectation is I and the variance I / s; with ``counts=True`` the factor 1 / s is left out.
    Negative intensities count as 0. Intensities that are not finite, or expect more than 1e18 counts, give nan; with a
    number of photons their whole item does, because its exposure is unknown. No gradient passes through.

    Args:
        intensity: Noise-free intensity, real floating.
        photons_per_pixel: Mean expected count of a pixel of each item. All pixels given count: the full plane for
            full data, the half plane for one-sided data (a detector sees the full plane: make the noise there).
        total_photons: Expected counts of each item.
        counts: Return counts, which are integers, instead of the intensity's units.
        ndim: Number of axes of one measurement, from 1 to 4 (coded patterns of a volume); all axes before them are a
            batch.
        generator: Source of the random numbers. Default: torch's.

    Shape:
        - intensity: (*, m1..md)
        - output: the same

    Returns:
        Real tensor, counts or the units of intensity; float16 and bfloat16 give float32. An item of zeros stays so.

    Raises:
        TypeError: if intensity is not real floating or an option is of the wrong kind.
        ValueError: if both numbers of photons are given, or an option is out of its range.

    Example:
        >>> intensity = pr.operators.fourier_intensity(torch.rand(4, 28, 28), (64, 64))
        >>> counts = poisson_noise(intensity, total_photons=1e8, counts=True)
        >>> counts.sum((-2, -1)).div(1e8).round(decimals=2)
        tensor([1., 1., 1., 1.])
    """
    _check_photons(photons_per_pixel, total_photons, counts, ndim, generator)
    ndim = int(ndim)
    _checks.real(intensity=intensity)
    _checks.rank(ndim, intensity=intensity)
    intensity = _fft.promote(intensity).detach().clamp(min=0)
    axes = tuple(range(-ndim, 0))
    rate, unit = intensity, intensity.new_ones(())
    photons = photons_per_pixel if total_photons is None else total_photons
    if photons is not None:
        # In units of the brightest pixel, so that no sum overflows.
        peak = _fft.divisor(intensity.amax(axes, keepdim=True))
        relative = intensity / peak
        level = relative.mean(axes, keepdim=True) if total_photons is None else relative.sum(axes, keepdim=True)
        exposure = float(photons) / _fft.divisor(level)
        rate, unit = exposure * relative, peak / exposure
    possible = rate < LARGEST_RATE
    generator = None if rate.is_meta else generator  # there is nothing to draw
    device = rate.device if generator is None else generator.device
    sample = torch.poisson(rate.where(possible, 0).to(device), generator=generator).to(rate.device)
    return (sample if counts else sample * unit).where(possible, math.nan)


def _check_photons(
    photons_per_pixel: float | None,
    total_photons: float | None,
    counts: bool,
    ndim: int,
    generator: torch.Generator | None,
) -> None:
    if photons_per_pixel is not None and total_photons is not None:
        given = f"photons_per_pixel={photons_per_pixel!r} and total_photons={total_photons!r}"
        _checks.fail(f"at most one number of photons must be given, got {given}", "Leave out one of them")
    for name, value in (("photons_per_pixel", photons_per_pixel), ("total_photons", total_photons)):
        if value is not None:
            _checks.number(name, value, above=0)
    _checks.flag(counts=counts)
    _checks.item_axes(ndim, most=4)  # several coded patterns of a volume are one measurement
    _checks.generator(generator)


class PoissonNoise(RandomModule):
    """Module of :func:`poisson_noise`, with the same options.

    Args:
        photons_per_pixel: Mean expected count of a pixel of each item.
        total_photons: Expected counts of each item. Default of both: the intensity is the expected count.
        counts: Return counts instead of the intensity's units.
        ndim: Number of axes of one measurement, from 1 to 4.
        generator: Source of the random numbers. Default: torch's.

    Example:
        >>> detector = torch.nn.Sequential(pr.operators.FourierIntensity((64, 64)), PoissonNoise(photons_per_pixel=10))
        >>> detector(torch.rand(4, 28, 28)).shape
        torch.Size([4, 64, 64])
    """

    def __init__(
        self,
        *,
        photons_per_pixel: float | None = None,
        total_photons: float | None = None,
        counts: bool = False,
        ndim: int = 2,
        generator: torch.Generator | None = None,
    ) -> None:
        _check_photons(photons_per_pixel, total_photons, counts, ndim, generator)
        super().__init__(
            photons_per_pixel=photons_per_pixel,
            total_photons=total_photons,
            counts=counts,
            ndim=ndim,
            generator=generator,
        )

    def forward(self, intensity: Tensor) -> Tensor:
        """The intensity with its noise."""
        return poisson_noise(intensity, **self.options)

    __call__ = called_as(forward)
