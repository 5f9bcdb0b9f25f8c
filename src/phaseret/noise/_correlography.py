"""The noise of measured autocorrelations."""

from __future__ import annotations

import torch
from torch import Tensor

from phaseret import _checks, _fft


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
    total = _gamma(frames, intensity, generator) / frames
    index = torch.arange(shape.numel(), device=intensity.device).reshape(shape)
    even = torch.where(index <= _fft.mirror(index, axes), total, _fft.mirror(total, axes))
    noisy = (lags + floor) * even - floor
    return _fft.full_plane(noisy, shape, "backward").real


def _gamma(order: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Numbers like these from the Gamma distribution of this order: each is the sum of `order` exponential ones."""
    device = like.device if generator is None else generator.device
    # What torch.distributions.Gamma calls, which takes no generator.
    return torch._standard_gamma(like.new_full(like.shape, order, device=device), generator=generator).to(like)
