"""A photograph in colour: its channels are searched for together, since their phases are nearly the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from phaseret import _fft, symmetry

Denoiser = Callable[[Tensor, Tensor], Tensor]
# Starts on a quarter of the frequencies along each axis, and how many of them go on; iterations with each pull.
_STARTS, _KEPT = 24, 4
_SEARCH, _AFTER = ((0.5, 1000), (0.3, 300)), ((0.3, 150),)
_BETA = 0.5  # of RRR
_EDGE = 0.3  # what the window lets pass at the largest frequency of a coarse grid, along an axis
_BLURRED = 0.03  # from what value on a pixel belongs to the blurred box
# Turns of RRR and denoiser on half the frequencies: their number, iterations of each, noise; margin around the box.
_TURNS, _STEPS, _LEVEL, _MARGIN = 24, 15, 25 / 255, 4
# Noise of the turns of data and denoiser on all frequencies, and their number.
_LAST, _REPEATED = (40 / 255, 20 / 255), 6
_RAISED = 0.5  # no frequency of a blurred image is raised by more than one over this
# Brightness and two differences of red, green and blue, each from 0 to 1; noise falls by the root of the squares.
_OPPONENT = ((1 / 3, 1 / 3, 1 / 3), (0.5, 0.0, -0.5), (0.25, -0.5, 0.25))
_OFFSET = (0.0, 0.5, 0.5)


def nearest_alike(field: Tensor, magnitude: Tensor, pull: float) -> Tensor:
    r"""Fields (..., channels, m1, m2) of the given magnitude whose phases are alike.

    Every channel is pulled, by a share from 0 to 1, to s times its magnitude y, with the complex s, common to all of a
    frequency, that fits best: :math:`s = \sum_c y_c z_c / \sum_c y_c^2`. Then it gets its magnitude.
    """
    if pull:
        common = (magnitude * field).sum(-3, keepdim=True) / magnitude.square().sum(-3, keepdim=True).clamp_min(1e-30)
        field = field.lerp(common * magnitude, pull)
    return magnitude * torch.sgn(field)


def signal_share(magnitude: Tensor, noise: float) -> Tensor:
    """Which share (m1, m2) of the power of noisy magnitudes (channels, m1, m2) is signal, by distance from zero."""
    m = magnitude.shape[-2:]
    least = min(m)
    ring = _fft.frequency_radius(m, [least] * 2).round().long().flatten()
    power = magnitude.square().mean(0).flatten()
    mean = power.new_zeros(int(ring.max()) + 1).index_add(0, ring, power) / ring.bincount()
    smooth = torch.nn.functional.avg_pool1d(mean[None], 5, 1, 2, count_include_pad=False)[0]
    return (1 - noise**2 / smooth.clamp_min(1e-30)).clamp_min(0)[ring].reshape(m)


class Grid:
    """The lowest frequencies of a pattern: what is known of an image in its box, blurred and on coarser pixels.

    A coarse pixel stands for `step` x `step` fine ones, and is the value at their centre of the image blurred by a
    Gaussian, which is cut off where it passes 0.3. So it is about from zero to the blurred box, for images from 0 to 1.

    Args:
        magnitude: (channels, m1, m2), orthonormal.
        shape: Sizes of the image (n1, n2).
        step: By how much coarser the pixels are: a divisor of all sizes.

    Attributes:
        magnitude: (channels, m1 / step, m2 / (2 step) + 1), that of the blurred image.
        bound: (m1 / step, m2 / step), the blurred box.
    """

    def __init__(self, magnitude: Tensor, shape: Sequence[int], step: int) -> None:
        self.whole, self.shape = (magnitude.shape[-2], magnitude.shape[-1]), tuple(shape)
        self.step, self.sizes = step, tuple(m // step for m in self.whole)
        factor = -4 * step**2 * math.log(_EDGE)
        window = torch.exp(-factor * _fft.squared_frequencies(self.whole, magnitude))
        centre = torch.full((2,), -(step - 1) / 2)
        ramps = [_fft.phase_ramp(move, m) for move, m in zip(centre, self.whole, strict=True)]
        ramp = ramps[0][:, None] * ramps[1][: window.shape[-1]]
        self._filter, self._window = window * ramp, self._low(window)
        self.magnitude = self._low(window * _fft.half_from_full(magnitude)) / step
        box = _fft.pad(torch.ones(self.shape), self.whole)
        bound = self.seen(box)
        self.bound = torch.where(bound > _BLURRED, bound.clamp(max=1), 0.0)

    def _low(self, half: Tensor) -> Tensor:
        return _fft.resize_spectrum(half, self.whole, self.sizes, True)

    def seen(self, image: Tensor) -> Tensor:
        """Images on the whole plane (*, m1, m2), blurred and on the coarse pixels."""
        low = self._low(_fft.spectrum(image, self.whole) * self._filter)
        return _fft.adjoint_half(low, self.sizes, self.sizes) / self.step

    def sharp(self, image: Tensor) -> Tensor:
        """Images of this grid on the fine pixels of the whole plane, (*, m1, m2), less blurred."""
        low = _fft.spectrum(image, self.sizes) * self.step / self._window.clamp_min(_RAISED)
        phase = torch.sgn(self._filter).conj()
        field = _fft.resize_spectrum(low, self.sizes, self.whole, True) * phase
        return _fft.adjoint_half(field, self.whole, self.whole)

    def explaining(self, image: Tensor, pull: float) -> Tensor:
        """Images (*, channels, m1, m2) led to the data."""
        near = nearest_alike(_fft.spectrum(image, self.sizes), self.magnitude, pull)
        return _fft.adjoint_half(near, self.sizes, self.sizes)

    def reflected(self, x: Tensor, n_iter: int, pull: float, averaged: int) -> tuple[Tensor, Tensor]:
        """After so many iterations of RRR: where they are, and the mean of the last images within the bounds."""
        total = torch.zeros_like(x)
        for number in range(n_iter):
            inside = torch.minimum(x.clamp_min(0), self.bound)
            x = x + _BETA * (self.explaining(2 * inside - x, pull) - inside)
            if number >= n_iter - averaged:
                total += inside
        return x, total / averaged

    def residual(self, image: Tensor) -> Tensor:
        """Norm of the error of the magnitudes of each (channels, m1, m2) of a batch."""
        wrong = _fft.spectrum(image, self.sizes).abs() - self.magnitude
        return (wrong * _fft.pair_weights(self.sizes[-1], wrong).sqrt()).flatten(1).norm(dim=1)

    def run(self, x: Tensor, plan: Sequence[tuple[float, int]], size: int) -> Tensor:
        """The images of each start (b, channels, m1, m2), best first and all laid upon the best, `size` at a time."""
        found = []
        for part in x.split(size):
            for pull, n_iter in plan:
                part, mean = self.reflected(part, n_iter, pull, n_iter // 3)
            found.append(mean)
        images = torch.cat(found)
        images = images[self.residual(images).argsort()]
        turned = symmetry.conj_flip(images, ndim=2).roll([s // self.step for s in self.shape], (-2, -1))
        nearer = [(other - images[0]).flatten(1).norm(dim=1) for other in (images, turned)]
        return torch.where((nearer[0] <= nearer[1])[:, None, None, None], images, turned)


def clean(image: Tensor, denoiser: Denoiser, level: float) -> Tensor:
    """Images (*, 3, n1, n2) without noise of this level: brightness and differences of colours, each for itself."""
    mixed = torch.tensor(_OPPONENT)
    offset = torch.tensor(_OFFSET)[:, None, None]
    planes = torch.einsum("ij,...jkl->...ikl", mixed, image) + offset
    levels = (level * mixed.norm(dim=1)).expand(planes.shape[:-2])
    found = denoiser(planes, levels)
    return torch.einsum("ij,...jkl->...ikl", torch.linalg.inv(mixed), found - offset)


def _turns(grid: Grid, x: Tensor, denoiser: Denoiser) -> Tensor:
    """RRR and denoiser in turns, the mean of the second half."""
    total = torch.zeros_like(x)
    rows, columns = (s // grid.step + 2 * _MARGIN for s in grid.shape)
    for number in range(_TURNS):
        _, mean = grid.reflected(x, _STEPS, 0.0, _STEPS // 2 + 1)
        part = mean.roll((_MARGIN, _MARGIN), (-2, -1))[..., :rows, :columns].contiguous()
        x = _fft.pad(clean(part, denoiser, _LEVEL), grid.sizes).roll((-_MARGIN, -_MARGIN), (-2, -1))
        if number >= _TURNS // 2:
            total += x
    return total / (_TURNS - _TURNS // 2)


def joint(intensity: Tensor, noise: float, denoiser: Denoiser, shape: Sequence[int], seed: int) -> Tensor:
    """The photograph (3, n1, n2), from 0 to 1, whose channels have these intensities (3, m1, m2) in noise.

    RRR from random images on a quarter of the frequencies along each axis, every channel pulled to one phase. The
    starts that explain them best go on: with half the frequencies, then without the pull and with a denoiser between,
    then with all frequencies. The mean of the last images is taken: what differs between them is wrong.
    """
    generator = torch.Generator().manual_seed(seed)
    magnitude, grid = intensity.sqrt(), tuple(intensity.shape[-2:])
    share = signal_share(magnitude, noise)
    quarter, half = (Grid(magnitude * share, shape, step) for step in (4, 2))
    x = torch.rand(_STARTS, *quarter.magnitude.shape[:1], *quarter.sizes, generator=generator) * quarter.bound
    kept = quarter.sharp(quarter.run(x, _SEARCH, 4)[:_KEPT])
    kept = half.run(half.seen(kept), _AFTER, 1)
    rows, columns = shape
    found = []
    for start in kept:
        image = half.sharp(_turns(half, start, denoiser))[..., :rows, :columns].clamp(0, 1)
        for level in _LAST:
            for _ in range(_REPEATED):
                field = _fft.spectrum(image, grid)
                field = field.lerp(_fft.half_from_full(magnitude) * torch.sgn(field), _fft.half_from_full(share) + 0j)
                image = clean(_fft.adjoint_half(field, grid, shape).clamp(0, 1), denoiser, level)
        found.append(image.clamp(0, 1))
    return torch.stack(found).mean(0)
