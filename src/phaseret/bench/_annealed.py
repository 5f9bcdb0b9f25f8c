"""An image from few photons: chains that a denoiser leads from noise to what explains the counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from phaseret import _fft, symmetry

Denoiser = Callable[[Tensor], Tensor]
# Chains, and how many of them go on; the noise at the beginning, from where they go on, and at the end; steps to there.
_CHAINS, _KEPT = 16, 4
_FIRST, _SECOND, _LAST = (1.0, 30), (0.4, 20), 0.05
# Steps to the counts for each look at the denoiser; their weight beside the counts'; how far counts may lead from it.
_STEPS, _WEIGHT, _FREE = 10, 3.0, 4.0
_POWER = 0.1  # mean square of a digit


def nearest_explaining(field: Tensor, counts: Tensor, unit: float, weight: float) -> Tensor:
    r"""The field that makes counts more likely and stays near: the minimum of :math:`f(z) + w / 2 |z - z_0|^2`.

    f is :math:`|z|^2 / u - k \log |z|^2`, for k counts where one photon stands for the intensity u. The phase stays as
    it is, and the modulus a solves :math:`(2 / u + w) a^2 - w |z_0| a - 2 k = 0`.
    """
    modulus, curvature = _fft.magnitude(field, 2), 2 / unit + weight
    root = (weight * modulus).square() + 8 * curvature * counts
    return torch.polar((weight * modulus + root.sqrt()) / (2 * curvature), field.angle())


def unlikelihood(x: Tensor, counts: Tensor, unit: float) -> Tensor:
    """How unlikely images (b, n1, n2) make counts on the half plane: minus the logarithm, without what is constant."""
    expected = (_fft.power(_fft.spectrum(x, _whole(counts))) / unit).clamp_min(1e-6)
    return ((expected - counts * expected.log()) * _fft.pair_weights(_whole(counts)[-1], expected)).sum((-2, -1))


def _whole(counts: Tensor) -> tuple[int, int]:
    """The sizes of the whole plane (m1, m2), m2 even, of counts on the half."""
    return counts.shape[-2], 2 * (counts.shape[-1] - 1)


def posterior_mean(counts: Tensor, unit: float, denoiser: Denoiser, shape: Sequence[int], seed: int) -> Tensor:
    """About the mean of the images (n1, n2) that explain the counts (m1, m2) and that a denoiser takes for clean.

    Chains begin with noise. In each step the denoiser is asked for the image behind it, iterations lead that image to
    the counts and back to it, and noise is added again, less each time. The chains that make the counts most likely go
    on, several from each, from noise in between. All are laid upon the best, and weighed by how likely they are, in
    units of what lies between the best and the last of the best quarter.
    """
    generator = torch.Generator().manual_seed(seed)
    # Opposite frequencies of a real image are counted twice.
    counts = _fft.half_from_full((counts + _fft.mirror(counts, (-2, -1))) / 2)
    last = min(_LAST, 0.55 * unit**0.5)
    x = _noise((_CHAINS, *shape), generator)
    for number, (first, steps) in enumerate((_FIRST, _SECOND)):
        if number:
            best = unlikelihood(x, counts, unit).argsort()[:_KEPT]
            x = x[best].repeat_interleave(_CHAINS // _KEPT, 0) + first * _noise(x.shape, generator)
        levels = torch.linspace(math.log(first), math.log(last), steps).exp().tolist()
        x = _chains(x, counts, unit, denoiser, levels, generator)
    found = unlikelihood(x, counts, unit)
    order = found.argsort()
    grid = _whole(counts)
    onto = symmetry.align(x, x[order[:1]].expand_as(x), fourier_shape=grid).aligned
    scale = (found[order[_CHAINS // 4]] - found[order[0]]).clamp_min(1.0)
    weights = ((found[order[0]] - found) / scale).softmax(0)
    return (weights[:, None, None] * onto).sum(0)


def _noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator)


def _chains(
    x: Tensor, counts: Tensor, unit: float, denoiser: Denoiser, levels: Sequence[float], generator: torch.Generator
) -> Tensor:
    """Images (b, n1, n2) with noise of the first level, to what the denoiser makes of them at the last one."""
    grid, shape = _whole(counts), x.shape[1:]
    weight = 4 * _WEIGHT / unit
    for level in levels:
        if level != levels[0]:
            x = x + level * _noise(x.shape, generator)
        clean = denoiser(x)
        # The denoiser's own error: that of the best linear one, freed.
        pull = 1 / ((_FREE * level) ** 2 * _POWER / (level**2 + _POWER))
        x = clean
        for _ in range(_STEPS):
            near = nearest_explaining(_fft.spectrum(x, grid), counts, unit, weight)
            x = (weight * _fft.adjoint_half(near, grid, shape) + pull * clean) / (weight + pull)
    return clean.clamp(0, 1)
