"""Normal random numbers on the intensity, on the magnitude, and from the electronics."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret._module import RandomModule, called_as

Domain = Literal["intensity", "magnitude"]


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers, drawn on the device of the generator."""
    device = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


def _check(
    generator: torch.Generator | None,
    clip: bool = True,
    *,
    domain: Domain = "intensity",
    resolution: float | None = None,
    **scale: float,
) -> None:
    """The options of one of these noises; `scale` is what its random numbers are multiplied by."""
    for name, value in scale.items():
        _checks.number(name, value, at_least=0)
    _checks.choice("domain", domain, get_args(Domain))
    if resolution is not None:
        _checks.number("resolution", resolution, above=0)
    _checks.flag(clip=clip)
    _checks.generator(generator)


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
    _check(generator, clip, domain=domain, sigma=sigma)
    _checks.real(intensity=intensity)
    signal = _fft.promote(intensity)
    if domain == "magnitude":
        signal = _fft.root(signal)
    noisy = signal + float(sigma) * _normal(signal, generator)
    noisy = noisy.clamp(min=0) if clip else noisy
    return noisy.square() if domain == "magnitude" else noisy


class GaussianNoise(RandomModule):
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
        _check(generator, clip, domain=domain, sigma=sigma)
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
    _check(generator, alpha=alpha)
    _checks.real(intensity=intensity)
    intensity = _fft.promote(intensity).clamp(min=0)
    return (intensity + float(alpha) * _fft.root(intensity) * _normal(intensity, generator)).clamp(min=0)


class AlphaNoise(RandomModule):
    """Module of :func:`alpha_noise`, with the same options.

    Args:
        alpha: Standard deviation over magnitude, in the units of the magnitude.
        generator: Source of the random numbers. Default: torch's.
    """

    def __init__(self, *, alpha: float, generator: torch.Generator | None = None) -> None:
        _check(generator, alpha=alpha)
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
    r"""What the electronics add when a pixel is read: Gaussian noise, then rounding to the resolution of the converter.

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
    _check(generator, clip, resolution=resolution, sigma=sigma)
    _checks.real(intensity=intensity)
    intensity = _fft.promote(intensity)
    noisy = intensity + float(sigma) * _normal(intensity, generator)
    if resolution is not None:
        noisy = (noisy / float(resolution)).round() * float(resolution)
    return noisy.clamp(min=0) if clip else noisy


class ReadoutNoise(RandomModule):
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
        _check(generator, clip, resolution=resolution, sigma=sigma)
        super().__init__(sigma=sigma, resolution=resolution, clip=clip, generator=generator)

    def forward(self, intensity: Tensor) -> Tensor:
        """The intensity with its noise."""
        return readout_noise(intensity, **self.options)

    __call__ = called_as(forward)
