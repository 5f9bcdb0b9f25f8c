"""What a detector does to the intensity: noise, saturation, and pixels that see nothing.

Which one should I use? :class:`PoissonNoise` with the photons you have: counting statistics are the limit of every
diffraction experiment. :class:`GaussianNoise` and :class:`AlphaNoise` are what benchmarks use instead;
:class:`ReadoutNoise`, :class:`Saturation`, :func:`beam_stop` and :func:`dead_pixels` are what else a detector does.
:func:`correlography_noise` is that of measured autocorrelations.
All take an intensity and give one, so that they follow an operator::

    detector = torch.nn.Sequential(
        pr.operators.FourierIntensity((64, 64)),
        pr.noise.PoissonNoise(photons_per_pixel=10, counts=True),
        pr.noise.ReadoutNoise(sigma=2, resolution=1),
        pr.noise.Saturation(level=4095),
        pr.noise.MaskPixels(pr.noise.beam_stop((64, 64), radius=2)),
    )

Random numbers come from `generator`: the same seed gives the same noise, wherever the data lies if the generator stays
where it is. Without one they come from torch's own. An item's noise depends on its place in the batch, its level does
not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret._module import Module, called_as

__all__ = [
    "AlphaNoise",
    "GaussianNoise",
    "MaskPixels",
    "PoissonNoise",
    "ReadoutNoise",
    "Saturation",
    "alpha_noise",
    "beam_stop",
    "correlography_noise",
    "dead_pixels",
    "gaussian_noise",
    "mask_pixels",
    "poisson_noise",
    "readout_noise",
    "saturation",
]

Domain = Literal["intensity", "magnitude"]
# Above this rate a count no longer fits the sampler's integers.
LARGEST_RATE = 1e18


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers, drawn on the device of the generator."""
    device = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


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
        ndim: Number of axes of one measurement (1, 2 or 3); all axes before them are a batch.
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
        exposure = photons / _fft.divisor(level)
        rate, unit = exposure * relative, peak / exposure
    possible = rate < LARGEST_RATE
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
    _checks.item_axes(ndim)
    _checks.generator(generator)


class PoissonNoise(Module):
    """Module of :func:`poisson_noise`, with the same options.

    Args:
        photons_per_pixel: Mean expected count of a pixel of each item.
        total_photons: Expected counts of each item. Default of both: the intensity is the expected count.
        counts: Return counts instead of the intensity's units.
        ndim: Number of axes of one measurement (1, 2 or 3).
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


def gaussian_noise(
    intensity: Tensor,
    *,
    sigma: float,
    domain: Domain = "intensity",
    clip: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Additive Gaussian noise of one standard deviation for all pixels, on the intensity or on the magnitude.

    .. math:: Y = I + \sigma N \quad \text{or} \quad Y = (\sqrt I + \sigma N)^2, \qquad N \sim \mathcal{N}(0, 1)

    The expectation is I, or I + sigma^2 for the magnitude. By default what falls below 0 (of the sum that is formed,
    intensity or magnitude) is set to 0, which raises the expectation where the signal is not far above sigma.

    Args:
        intensity: Noise-free intensity, real floating.
        sigma: Standard deviation in the units of the intensity, or of the magnitude.
        domain: "intensity" or "magnitude".
        clip: Set negative values to 0. Without it the intensity may be negative, and a negative magnitude counts as
            its absolute value.
        generator: Source of the random numbers. Default: torch's.

    Shape:
        - intensity: any
        - output: the same

    Returns:
        Real tensor, the units of intensity; float16 and bfloat16 give float32.

    Raises:
        TypeError: if intensity is not real floating or an option is of the wrong kind.
        ValueError: if sigma is negative or the domain unknown.

    Example:
        >>> gaussian_noise(torch.full((10000,), 5.0), sigma=0.1).std().round(decimals=2)
        tensor(0.1000)

    Source:
        On the magnitude with sigma = 0.05: the phase retrieval benchmark of Chung et al. (2023), Diffusion posterior
        sampling for general noisy inverse problems, arXiv:2209.14687.
    """
    _check_gaussian(sigma, domain, clip, generator)
    _checks.real(intensity=intensity)
    signal = _fft.promote(intensity)
    if domain == "magnitude":
        signal = _fft.root(signal)
    noisy = signal + sigma * _normal(signal, generator)
    noisy = noisy.clamp(min=0) if clip else noisy
    return noisy.square() if domain == "magnitude" else noisy


def _check_gaussian(sigma: float, domain: Domain, clip: bool, generator: torch.Generator | None) -> None:
    _checks.number("sigma", sigma, at_least=0)
    _checks.choice("domain", domain, get_args(Domain))
    _checks.flag(clip=clip)
    _checks.generator(generator)


class GaussianNoise(Module):
    """Module of :func:`gaussian_noise`, with the same options.

    Args:
        sigma: Standard deviation in the units of the intensity, or of the magnitude.
        domain: "intensity" or "magnitude".
        clip: Set negative values to 0.
        generator: Source of the random numbers. Default: torch's.
    """

    def __init__(
        self,
        *,
        sigma: float,
        domain: Domain = "intensity",
        clip: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        _check_gaussian(sigma, domain, clip, generator)
        super().__init__(sigma=sigma, domain=domain, clip=clip, generator=generator)

    def forward(self, intensity: Tensor) -> Tensor:
        """The intensity with its noise."""
        return gaussian_noise(intensity, **self.options)

    __call__ = called_as(forward)


def alpha_noise(intensity: Tensor, *, alpha: float, generator: torch.Generator | None = None) -> Tensor:
    r"""Gaussian noise on the intensity whose standard deviation is alpha times the magnitude, clipped at 0.

    .. math:: Y = \max(0, \; I + \alpha \sqrt I \, N), \qquad N \sim \mathcal{N}(0, 1)

    This is the benchmark noise of prDeep: the Gaussian approximation to counting alpha^-2 photons per unit of
    intensity, good where many are counted. Its authors scale images to [0, 255] and take alpha = 2, 3 or 4; their
    transform of an image padded to twice its size is half of the orthonormal one: give twice their alpha with an
    orthonormal intensity (and divide it by 255 for images in [0, 1]). The expectation is I where alpha^2 is far
    below I, and more elsewhere because of the clipping.

    Args:
        intensity: Noise-free intensity, real floating; negative values count as 0.
        alpha: Standard deviation over magnitude, in the units of the magnitude.
        generator: Source of the random numbers. Default: torch's.

    Shape:
        - intensity: any
        - output: the same

    Returns:
        Real tensor, the units of intensity; float16 and bfloat16 give float32.

    Raises:
        TypeError: if intensity is not real floating or an option is of the wrong kind.
        ValueError: if alpha is negative.

    Example:
        >>> alpha_noise(torch.full((10000,), 100.0), alpha=3).std().round()
        tensor(30.)

    Source:
        Metzler, Schniter, Veeraraghavan, Baraniuk (2018), prDeep: robust phase retrieval with a flexible deep
        network, arXiv:1803.00212.
    """
    _check_alpha(alpha, generator)
    _checks.real(intensity=intensity)
    intensity = _fft.promote(intensity).clamp(min=0)
    return (intensity + alpha * _fft.root(intensity) * _normal(intensity, generator)).clamp(min=0)


def _check_alpha(alpha: float, generator: torch.Generator | None) -> None:
    _checks.number("alpha", alpha, at_least=0)
    _checks.generator(generator)


class AlphaNoise(Module):
    """Module of :func:`alpha_noise`, with the same options.

    Args:
        alpha: Standard deviation over magnitude, in the units of the magnitude.
        generator: Source of the random numbers. Default: torch's.
    """

    def __init__(self, *, alpha: float, generator: torch.Generator | None = None) -> None:
        _check_alpha(alpha, generator)
        super().__init__(alpha=alpha, generator=generator)

    def forward(self, intensity: Tensor) -> Tensor:
        """The intensity with its noise."""
        return alpha_noise(intensity, **self.options)

    __call__ = called_as(forward)


def readout_noise(
    intensity: Tensor,
    *,
    sigma: float,
    resolution: float | None = None,
    clip: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""What the electronics add when a pixel is read: Gaussian noise, then rounding to the steps of the converter.

    .. math:: Y = \max\big(0, \; \Delta \, \mathrm{round}\big((I + \sigma N) / \Delta\big)\big),
        \qquad N \sim \mathcal{N}(0, 1)

    Rounding adds the variance resolution^2 / 12 and, for sigma of at least half of it, no bias; clipping raises the
    expectation of pixels within a few sigma of 0. No gradient passes through the rounding.

    Args:
        intensity: Intensity as collected, real floating: photon counts after :func:`poisson_noise`.
        sigma: Standard deviation in the units of intensity.
        resolution: Smallest difference the converter resolves, in the units of intensity. Default: no rounding.
        clip: Set negative values to 0. Without it they stay, as after the subtraction of a dark frame.
        generator: Source of the random numbers. Default: torch's.

    Shape:
        - intensity: any
        - output: the same

    Returns:
        Real tensor, the units of intensity; float16 and bfloat16 give float32.

    Raises:
        TypeError: if intensity is not real floating or an option is of the wrong kind.
        ValueError: if sigma is negative or resolution not positive.

    Example:
        >>> read = readout_noise(torch.full((10000,), 100.0), sigma=2, resolution=1)
        >>> read.mean().round(), read.std().round(), torch.equal(read, read.round())
        (tensor(100.), tensor(2.), True)
    """
    _check_readout(sigma, resolution, clip, generator)
    _checks.real(intensity=intensity)
    intensity = _fft.promote(intensity)
    noisy = intensity + sigma * _normal(intensity, generator)
    noisy = noisy if resolution is None else (noisy / resolution).round() * resolution
    return noisy.clamp(min=0) if clip else noisy


def _check_readout(sigma: float, resolution: float | None, clip: bool, generator: torch.Generator | None) -> None:
    _checks.number("sigma", sigma, at_least=0)
    if resolution is not None:
        _checks.number("resolution", resolution, above=0)
    _checks.flag(clip=clip)
    _checks.generator(generator)


class ReadoutNoise(Module):
    """Module of :func:`readout_noise`, with the same options.

    Args:
        sigma: Standard deviation in the units of intensity.
        resolution: Smallest difference the converter resolves. Default: no rounding.
        clip: Set negative values to 0.
        generator: Source of the random numbers. Default: torch's.
    """

    def __init__(
        self,
        *,
        sigma: float,
        resolution: float | None = None,
        clip: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        _check_readout(sigma, resolution, clip, generator)
        super().__init__(sigma=sigma, resolution=resolution, clip=clip, generator=generator)

    def forward(self, intensity: Tensor) -> Tensor:
        """The intensity with its noise."""
        return readout_noise(intensity, **self.options)

    __call__ = called_as(forward)


def correlography_noise(
    intensity: Tensor,
    *,
    frames: int,
    background: float = 0.0,
    ndim: int = 2,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""The intensity of a real object as correlography knows it: its autocorrelation is an average of few periodograms.

    .. math:: \hat r_l = (r_l + b) \, \frac{1}{K} \sum_{k=1}^{K} E_{lk} - b, \qquad E_{lk} \sim \mathrm{Exp}(1)

    The autocorrelation r of the object is the power spectrum of a random speckle pattern, so each of K frames gives at
    each lag l an exponentially distributed value, equal for l and -l and independent otherwise. The shot noise of a
    faint pattern is white: it adds the background b, whose mean is known and taken off. The result is the transform of
    :math:`\hat r`; it may be negative.

    Args:
        intensity: Noise-free Fourier intensity of real objects, the full plane.
        frames: Number K of frames.
        background: b, in units of the autocorrelation at lag 0.
        ndim: Number of axes of one item.
        generator: Source of the random numbers. Default: torch's.

    Shape:
        - intensity: (*, m1..md), zero frequency at index 0
        - output: the same

    Returns:
        Real tensor.

    Raises:
        TypeError: if intensity is not real floating, or an option is of the wrong kind.
        ValueError: if frames is not positive or background negative.

    Example:
        >>> intensity = pr.operators.fourier_intensity(torch.rand(8, 8), (16, 16))
        >>> noisy = correlography_noise(intensity, frames=10000)
        >>> (noisy - intensity).norm() < 0.05 * intensity.norm()
        tensor(True)

    Source:
        The statistics of averaged periodograms: Oppenheim, Schafer (2010), Discrete-time signal processing, section
        10.5; for correlography: Metzler et al. (2020), doi:10.1364/OPTICA.374026, who derive their noise model from
        them and use a normal approximation for many frames.
    """
    _checks.real(intensity=intensity)
    ndim, frames = _checks.item_axes(ndim, intensity=intensity), _checks.integer("frames", frames)
    background = _checks.number("background", background, at_least=0)
    _checks.generator(generator)
    intensity = _fft.promote(intensity)
    shape, axes = intensity.shape[-ndim:], tuple(range(-ndim, 0))
    # The object is real: its intensity and autocorrelation are even, and their transforms real.
    lags = _fft.full_plane(intensity, shape, "forward").real
    floor = background * lags.flatten(-ndim)[..., :1].unflatten(-1, (1,) * ndim)
    device = intensity.device if generator is None else generator.device
    total = torch.zeros(intensity.shape, dtype=intensity.dtype, device=device)
    for _ in range(frames):
        total += torch.empty_like(total).exponential_(generator=generator)
    total = total.to(intensity.device) / frames
    index = torch.arange(shape.numel(), device=intensity.device).reshape(shape)
    even = torch.where(index <= _fft.mirror(index, axes), total, _fft.mirror(total, axes))
    noisy = (lags + floor) * even - floor
    return _fft.full_plane(noisy, shape, "backward").real


def saturation(intensity: Tensor, *, level: float) -> Tensor:
    r"""A detector that is full: no pixel gives more than `level`.

    .. math:: Y = \min(I, \mathrm{level})

    A saturated pixel says only that the intensity was at least this much. Take it as not measured:
    ``mask = intensity < level``.

    Args:
        intensity: Intensity, real floating.
        level: Largest value a pixel can give, in the units of intensity.

    Shape:
        - intensity: any
        - output: the same

    Returns:
        Real tensor, the units of intensity; float16 and bfloat16 give float32.

    Raises:
        TypeError: if intensity is not real floating or level not a number.
        ValueError: if level is not positive.

    Example:
        >>> saturation(torch.tensor([1.0, 5.0, 70000.0]), level=65535)
        tensor([1.0000e+00, 5.0000e+00, 6.5535e+04])
    """
    _checks.number("level", level, above=0)
    _checks.real(intensity=intensity)
    return _fft.promote(intensity).clamp(max=level)


class Saturation(Module):
    """Module of :func:`saturation`, with the same options.

    Args:
        level: Largest value a pixel can give, in the units of intensity.
    """

    def __init__(self, *, level: float) -> None:
        _checks.number("level", level, above=0)
        super().__init__(level=level)

    def forward(self, intensity: Tensor) -> Tensor:
        """The intensity with its noise."""
        return saturation(intensity, **self.options)

    __call__ = called_as(forward)


def mask_pixels(intensity: Tensor, mask: Tensor, *, value: float = 0.0) -> Tensor:
    """Pixels that see nothing: the intensity where the mask is True, `value` elsewhere.

    Args:
        intensity: Intensity, real floating.
        mask: True where the pixel is measured; combine masks with ``&``. It broadcasts against the intensity.
        value: What an unmeasured pixel shows. Use nan to make sure that nothing reads it.

    Shape:
        - intensity: (*, m1..md)
        - mask: (m1..md), or (*, m1..md)
        - output: that of intensity

    Returns:
        Real tensor, the units of intensity; float16 and bfloat16 give float32.

    Raises:
        TypeError: if intensity is not real floating, mask not boolean or value not a number.
        ValueError: if the mask does not fit, leaves no pixel or lies on another device.

    Example:
        >>> mask_pixels(torch.ones(2, 3), torch.tensor([True, False, True]))
        tensor([[1., 0., 1.],
                [1., 0., 1.]])
    """
    _checks.real(intensity=intensity)
    _checks.boolean(mask=mask)
    _check_value(value)
    masked = _masked(intensity, mask, value)
    _check_some(mask)
    return masked


def _masked(intensity: Tensor, mask: Tensor | None, value: float) -> Tensor:
    mask = _checks.mask(mask, intensity)
    return _fft.promote(intensity).where(mask, value)


def _check_value(value: float) -> None:
    if not (isinstance(value, float) and math.isnan(value)):
        _checks.number("value", value)


def _check_some(mask: Tensor) -> None:
    if not mask.any():
        _checks.fail("mask must leave pixels, got one that is False everywhere", "It is True where measured")


class MaskPixels(Module):
    """Module of :func:`mask_pixels`, with the same options; the mask is a buffer.

    Args:
        mask: True where the pixel is measured. A call may add one of its batch: measured is what both say.
        value: What an unmeasured pixel shows.

    Example:
        >>> mask = beam_stop((64, 64), radius=2) & dead_pixels((64, 64), fraction=0.01)
        >>> MaskPixels(mask)(torch.ones(4, 64, 64)).shape
        torch.Size([4, 64, 64])
    """

    mask: Tensor
    value: float

    def __init__(self, mask: Tensor, *, value: float = 0.0) -> None:
        _checks.boolean(mask=mask)
        _check_value(value)
        _check_some(mask)
        super().__init__(mask=mask, value=value)

    def forward(self, intensity: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """The intensity where it is measured, `value` elsewhere."""
        _checks.real(intensity=intensity)
        return _masked(intensity, _checks.both_masks(self.mask, mask, intensity), self.value)

    __call__ = called_as(forward)


def beam_stop(
    fourier_shape: Sequence[int],
    *,
    radius: float,
    centered: bool = False,
    onesided: bool = False,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""The mask of a round beam stop over the zero frequency: False within `radius` pixels of it.

    .. math:: M_k = \big( k_1^2 + \dots + k_d^2 > \mathrm{radius}^2 \big)

    Args:
        fourier_shape: Sizes (m1, ..., md) of the full plane.
        radius: Radius in pixels; 0 covers the zero frequency only.
        centered: Zero frequency at index m // 2 instead of 0 (with `onesided`, of all axes but the last).
        onesided: The non-negative frequencies of the last axis only.
        device: Where the mask lies. Default: the CPU.

    Returns:
        Boolean tensor, True where measured: (m1..md), or (m1.., md//2 + 1) if onesided.

    Raises:
        TypeError: if fourier_shape is not a sequence of integers or radius not a number.
        ValueError: if the radius is negative, or covers every pixel.

    Example:
        >>> beam_stop((5, 5), radius=1, centered=True).int()
        tensor([[1, 1, 1, 1, 1],
                [1, 1, 0, 1, 1],
                [1, 0, 0, 0, 1],
                [1, 1, 0, 1, 1],
                [1, 1, 1, 1, 1]], dtype=torch.int32)
    """
    shape = _checks.shape("fourier_shape", fourier_shape)
    radius = _checks.number("radius", radius, at_least=0)
    _checks.flag(centered=centered, onesided=onesided)
    mask = _fft.arrange(_fft.frequency_radius(shape, shape) > radius, len(shape), onesided, centered)
    if not mask.any():
        _checks.fail(f"radius must leave pixels of the shape {shape}, got {radius}", "Choose a smaller one")
    return mask.to(device)


def dead_pixels(
    data_shape: Sequence[int],
    *,
    fraction: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The mask of a detector with dead pixels at random places: False for each with probability `fraction`.

    Args:
        data_shape: Shape of one measurement.
        fraction: Probability of a pixel to be dead.
        generator: Source of the random numbers. Default: torch's. The mask lies on its device.

    Returns:
        Boolean tensor, True where measured.

    Raises:
        TypeError: if data_shape is not a sequence of integers or fraction not a number.
        ValueError: if the fraction is out of its range, or no pixel is left.

    Example:
        >>> dead_pixels((512, 512), fraction=0.01).float().mean().round(decimals=2)
        tensor(0.9900)
    """
    shape = _checks.shape("data_shape", data_shape)
    fraction = _checks.number("fraction", fraction, at_least=0, at_most=1)
    _checks.generator(generator)
    device = None if generator is None else generator.device
    mask = torch.rand(shape, generator=generator, device=device) >= fraction
    if not mask.any():
        _checks.fail(f"fraction must leave pixels of the shape {shape}, got {fraction}", "Use a smaller one")
    return mask
