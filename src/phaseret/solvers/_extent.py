"""How far the autocorrelation of a measured pattern reaches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from phaseret import _fft

# Autocorrelation counts above this share of its maximum and so often the noise. A box is wider than what counts.
FLOOR, SIGMAS, MOST, WIDER = 5e-4, 5.0, 0.25, 1.04
# Gaps are filled by so many steps of conjugate gradients within a known extent, or so many rounds with so many steps
# each, the extent looked at again in between. They end at this share of the first residual's energy. The edge of the
# extent is as soft as this factor of it.
_FILLS, _ROUNDS, _STEPS, _ENOUGH, _SOFT = 60, 6, 20, 1e-10, 1.25
# A gap is too wide to be filled if so much is left of it, blurred by a speckle. Then what was measured is faded out
# towards gaps by exp(-20 b), b being the gaps blurred by this share of the frame.
_WIDE, _FADE, _FADED = 0.35, 20.0, 0.012


def counted(
    intensity: Tensor, ndim: int, threshold: float | None, positive: bool = False, factor: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Where there is autocorrelation, lag 0 first, and above which share (*, 1..1) of its maximum it counts.

    Of `positive` objects it is not negative, and what is so does not count. `factor` (on the half grid) is what a point
    spread leaves of it: less counts where that is small, down to the noise, and the share is the largest anywhere.
    """
    axes, shape = tuple(range(-ndim, 0)), intensity.shape[-ndim:]
    # real intensities: their transform is that of their inverse up to a mirror, and the support is symmetric
    half = _fft.transform(intensity / _fft.root_unit(intensity, ndim).square(), ndim)
    left = torch.ones((), dtype=intensity.dtype, device=intensity.device)
    if factor is not None:
        half = half * torch.where(factor == 0, 0, factor.conj() / _fft.divisor(factor.abs()))
        left = _fft.full_from_half(factor.abs(), shape)
    correlation = _fft.full_from_half(half, shape)
    if threshold is None:
        correlation = smoothed(correlation, ndim)
    power = _fft.power(correlation)
    peak = power.amax(axes, keepdim=True)
    level = torch.zeros_like(peak)
    if threshold is None:
        noise = rim(power, ndim) / _fft.divisor(peak)
        level = (SIGMAS * noise.sqrt()).maximum(FLOOR * left).clamp(max=MOST)
    else:
        level = level + threshold * left
    height = correlation.real if positive else power.sqrt()
    inside = height >= level * peak.sqrt()
    if threshold is None:
        core = torch.stack([inside, *_beside(inside, axes)]).all(0)
        inside = torch.stack([core, *_beside(core, axes)]).any(0)  # without the single pixels that noise lifts
    if factor is not None:
        share = torch.where(inside, level / left.clamp(min=torch.finfo(left.dtype).tiny), 0.0)
        level = share.amax(axes, keepdim=True).clamp(max=MOST)
    return inside, level


def rim(power: Tensor, ndim: int) -> Tensor:
    """The mean (*, 1..1) at the largest lags along the axes, which an object of half the grid does not reach."""
    sizes = zip(range(-ndim, 0), power.shape[-ndim:], strict=True)
    rims = [power.narrow(axis, m // 2, 1).flatten(-ndim) for axis, m in sizes]
    return torch.cat(rims, -1).mean(-1)[(...,) + (None,) * ndim]


def smoothed(correlation: Tensor, ndim: int) -> Tensor:
    """Its mean over 3 pixels along each axis."""
    for axis in range(-ndim, 0):
        correlation = (correlation.roll(1, axis) + correlation + correlation.roll(-1, axis)) / 3
    return correlation


def reached(
    intensity: Tensor, ndim: int, threshold: float | None, positive: bool = False, factor: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The largest lags (*, d) along each axis at which there is autocorrelation, and how much wider (*) a box is."""
    axes, shape = tuple(range(-ndim, 0)), intensity.shape[-ndim:]
    inside, level = counted(intensity, ndim, threshold, positive, factor)
    reach = []
    for axis, m in zip(axes, shape, strict=True):
        reach.append(torch.where(_fft.profile(inside, axis, ndim), lags(m, intensity), 0).amax(-1))
    return torch.stack(reach, -1), WIDER / (1 - level.sqrt()).reshape(level.shape[:-ndim])


def reached_beside(intensity: Tensor, known: Tensor, ndim: int, reach: Tensor, wider: Tensor) -> tuple[Tensor, Tensor]:
    """The same of a pattern with gaps that were filled, where they are so wide that it was in vain, as a saturated
    centre is: by what was measured beside them, faded out towards them, which makes the autocorrelation a little wider.
    """
    axes, shape = tuple(range(-ndim, 0)), intensity.shape[-ndim:]
    hidden, mean = (~known).to(intensity.dtype), math.prod(shape) ** (1 / ndim)
    faded = torch.exp(-_FADE * _fft.blur(hidden, ndim, 2 * (math.pi * _FADED * mean) ** 2)).where(known, 0)
    beside, wider_then = reached(intensity * faded, ndim, None)
    speckle = mean / (beside + 1).prod(-1).pow(1 / ndim)
    spread = _fft.blur(hidden, ndim, 2 * (math.pi * speckle[(...,) + (None,) * ndim]).square())
    wide = spread.amax(axes) > _WIDE
    return torch.where(wide[..., None], reach.minimum(beside), reach), torch.where(wide, wider_then, wider)


def hull(inside: Tensor, ndim: int, width: float, level: Tensor | None = None, rim: float = 0.0) -> Tensor:
    """The convex hulls of sets (*, m1..md) that are their own mirrors in the middle, smaller by a factor about it.

    The sets reach so many pixels of `rim` beyond the middles of their pixels.

    If they are where autocorrelations exceed a share `level` (*, 1..1) of their maxima they are made wider first, by
    what the set of a convex body misses at most: the autocorrelation of its indicator has a concave d-th root (the
    inequality of Brunn and Minkowski), which from 1 at lag 0 falls to 0 no faster than a straight line.
    """
    shape, kind = inside.shape[-ndim:], torch.float32
    axes = [torch.arange(m, dtype=kind, device=inside.device) - m // 2 for m in shape]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)
    found, middle = [], points.new_zeros(1, ndim)
    level = torch.zeros((), dtype=kind, device=inside.device) if level is None else level
    widths = (width / (1 - level ** (1 / ndim))).expand(*inside.shape[:-ndim], *[1] * ndim).reshape(-1)
    for item, factor in zip(inside.reshape(-1, *shape), widths, strict=True):
        # of each line along the last axis the two ends say all; the middle belongs to each set, even to an empty one
        beside = torch.nn.functional.pad(item, (1, 1))
        ends = torch.cat([points[(item & ~(beside[..., :-2] & beside[..., 2:])).flatten()], middle])
        enclosed = torch.ones(len(points), dtype=torch.bool, device=inside.device)
        for direction in _directions(ndim).to(points):
            reach = factor * ((ends @ direction).abs().amax() + rim)
            enclosed &= (points @ direction).abs() <= reach + 1e-3
        found.append(enclosed.reshape(shape))
    return torch.stack(found).reshape(inside.shape)


def _directions(ndim: int) -> Tensor:
    """Directions that lie evenly over half of the circle or sphere."""
    count = {1: 1, 2: 90, 3: 256}[ndim]
    at = (torch.arange(count) + 0.5) / count
    if ndim == 1:
        return torch.ones(1, 1)
    if ndim == 2:
        return torch.stack(((math.pi * at).cos(), (math.pi * at).sin()), -1)
    turn, height = math.pi * (1 + math.sqrt(5)) * count * at, 1 - at  # Fibonacci's lattice
    radius = (1 - height.square()).sqrt()
    return torch.stack((turn.cos() * radius, turn.sin() * radius, height), -1)


def _beside(inside: Tensor, axes: Sequence[int]) -> list[Tensor]:
    """The neighbours of each pixel along each axis."""
    return [inside.roll(step, axis) for axis in axes for step in (1, -1)]


def lags(m: int, like: Tensor) -> Tensor:
    """Distances from lag 0 on a grid of m."""
    index = torch.arange(m, dtype=like.dtype, device=like.device)
    return torch.minimum(index, m - index)


def within(reach: Sequence[int], shape: Sequence[int], like: Tensor) -> Tensor:
    """The lags of at most so many pixels along each axis."""
    inside = torch.ones((), dtype=torch.bool, device=like.device)
    for axis, (n, m) in enumerate(zip(reach, shape, strict=True)):
        inside = inside & _fft.along(lags(m, like) <= n, axis, len(shape))
    return inside


def window(shape: Sequence[int], reach: Tensor, like: Tensor) -> Tensor:
    """1 within the extent (*, d) of the autocorrelation, and 0 from `_SOFT` times as far on, for half of the lags."""
    d, found = len(shape), torch.ones((), dtype=like.dtype, device=like.device)
    for axis, m in enumerate(shape):
        edge = ((lags(m, like) / (reach[..., axis, None] + 0.5) - 1) / (_SOFT - 1)).clamp(0, 1)
        edge = 0.5 + 0.5 * (math.pi * edge).cos()
        if axis == d - 1:
            edge = _fft.half_from_full(edge)
        found = found * _fft.along(edge, axis, d)
    return found


def corners(shape: Sequence[int], like: Tensor) -> Tensor:
    """The lags outside of the largest ellipsoid on the grid, which the autocorrelation of few objects reaches."""
    return 4 * _fft.full_from_half(_fft.squared_frequencies(shape, like), shape) > 1


def least(found: Tensor, known: Tensor, outside: Tensor, ndim: int, steps: int, positive: bool = False) -> Tensor:
    """The values at unknown pixels, from those given on, for which least of the autocorrelation lies outside: the sum
    of its squares times `outside`, weights (*) of half of the lags. That of `positive` objects is real, too.

    Conjugate gradients; so few steps find what little noise is needed for, and leave the rest. What is found below 0
    is 0.
    """
    axes, shape = tuple(range(-ndim, 0)), found.shape[-ndim:]
    outside = outside / found[(0,) * (found.ndim - ndim)].numel()
    imaginary = torch.full_like(outside, 1 / math.prod(shape)) if positive else outside

    def slope(x: Tensor) -> Tensor:
        seen = _fft.transform(x, ndim)
        seen = torch.complex(seen.real * outside, seen.imag * imaginary)
        return _fft.inverse_sum(seen, shape, real=True).where(~known, 0)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(axes, keepdim=True)

    rest = -slope(found)
    step, energy = rest, dot(rest, rest)
    limit = _ENOUGH * energy
    for _ in range(steps):
        turned = slope(step)
        length = torch.where(energy > limit, energy / _fft.divisor(dot(step, turned)), 0)
        found, rest = found + length * step, rest - length * turned
        energy, before = dot(rest, rest), energy
        step = rest + energy / _fft.divisor(before) * step
    return found.where(known, found.clamp(min=0))


def filled(intensity: Tensor, known: Tensor, ndim: int, reach: Tensor | None = None, positive: bool = False) -> Tensor:
    """The intensity with estimates at unmeasured pixels: those that leave the least autocorrelation beyond its extent.

    At first an unmeasured pixel takes what was measured at the opposite frequency: that is right of real objects. The
    extent `reach` (d), where it is not given, is found on the way: at first only the corners of the grid are known to
    be empty, and what is filled then shows more. The autocorrelation of `positive` objects is real.
    """
    axes, shape = tuple(range(-ndim, 0)), intensity.shape[-ndim:]
    values = intensity.where(known, 0)
    size = _fft.divisor(values.abs().amax(axes, keepdim=True))  # of which the squares are neither 0 nor infinite
    values = values / size
    found = values.where(known, _fft.mirror(values, axes))
    if reach is not None:
        outside = 1 - window(shape, reach, values)
        return intensity.where(known, size * least(found, known, outside, ndim, _FILLS, positive))
    outside = _fft.half_from_full(corners(shape, values).to(values.dtype))
    for n in range(_ROUNDS):
        if n:
            outside = 1 - window(shape, reached(found, ndim, None, positive)[0], values)
        found = least(found, known, outside, ndim, _STEPS, positive)
    return intensity.where(known, size * found)
