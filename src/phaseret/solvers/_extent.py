"""How far the autocorrelation of a measured pattern reaches."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from phaseret import _fft

# Autocorrelation counts above this share of its maximum and so often the noise. A box is wider than what counts.
_FLOOR, _SIGMAS, _MOST, _WIDER = 5e-4, 5.0, 0.25, 1.04
# Unmeasured pixels are estimated so often, in so many steps, at first with an extent of this share of the grid; the
# extent's edge is as soft as this factor of it.
_ROUNDS, _STEPS, _WIDEST, _SOFT = 4, 10, 0.42, 1.25


def counted(intensity: Tensor, ndim: int, threshold: float | None) -> tuple[Tensor, Tensor]:
    """Where there is autocorrelation, lag 0 first, and above which share (*, 1..1) of its maximum it counts."""
    axes, shape = tuple(range(-ndim, 0)), intensity.shape[-ndim:]
    # real intensities: their transform is that of their inverse up to a mirror, and the support is symmetric
    correlation = _fft.full_from_half(_fft.transform(intensity, ndim), shape)
    if threshold is None:
        for axis in axes:
            correlation = (correlation.roll(1, axis) + correlation + correlation.roll(-1, axis)) / 3
    power = _fft.power(correlation)
    peak = power.amax(axes, keepdim=True)
    level = torch.zeros_like(peak)
    if threshold is None:
        rims = [power.narrow(axis, m // 2, 1).flatten(power.ndim - ndim) for axis, m in zip(axes, shape, strict=True)]
        noise = torch.cat(rims, -1).mean(-1).reshape(peak.shape) / peak
        level = (_SIGMAS * noise.sqrt()).clamp(_FLOOR, _MOST)
    else:
        level = level + threshold
    return power.sqrt() >= level * peak.sqrt(), level


def reached(intensity: Tensor, ndim: int, threshold: float | None) -> tuple[Tensor, Tensor]:
    """The largest lags (*, d) along each axis at which there is autocorrelation, and how much wider (*) a box is."""
    axes, shape = tuple(range(-ndim, 0)), intensity.shape[-ndim:]
    inside, level = counted(intensity, ndim, threshold)
    reach = []
    for axis, m in zip(axes, shape, strict=True):
        others = tuple(a for a in axes if a != axis)
        there = inside.any(others) if others else inside
        reach.append(torch.where(there, lags(m, intensity), 0).amax(-1))
    return torch.stack(reach, -1), _WIDER / (1 - level.sqrt()).reshape(level.shape[:-ndim])


def hull(inside: Tensor, ndim: int, width: float) -> Tensor:
    """The convex hulls of sets (*, m1..md) that are their own mirrors in the middle, smaller by a factor about it."""
    shape, kind = inside.shape[-ndim:], torch.float32
    axes = [torch.arange(m, dtype=kind, device=inside.device) - m // 2 for m in shape]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)
    found = []
    for item in inside.reshape(-1, *shape):
        # of each line along the last axis the two ends say all
        ends = points[(item & ~(item.roll(1, -1) & item.roll(-1, -1))).flatten()]
        within = torch.ones(len(points), dtype=torch.bool, device=inside.device)
        for direction in _directions(ndim).to(points):
            reach = width * (ends @ direction).amax()
            within &= (points @ direction).abs() <= reach + 1e-3
        found.append(within.reshape(shape))
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


def lags(m: int, like: Tensor) -> Tensor:
    """Distances from lag 0 on a grid of m."""
    index = torch.arange(m, dtype=like.dtype, device=like.device)
    return torch.minimum(index, m - index)


def completed(intensity: Tensor, mask: Tensor, ndim: int) -> Tensor:
    """The intensity with estimates at unmeasured pixels: those with the least autocorrelation outside its extent.

    Conjugate gradients of the squared autocorrelation times a weight, which is 0 within the extent.
    """
    axes, shape = tuple(range(-ndim, 0)), intensity.shape[-ndim:]
    tiny = torch.finfo(intensity.dtype).tiny
    reach = torch.stack([intensity.new_full(intensity.shape[:-ndim], _WIDEST * m) for m in shape], -1)

    def gradient(x: Tensor) -> Tensor:
        return torch.where(mask, 0.0, _fft.inverse_sum(_fft.transform(x, ndim) * outside, shape, real=True))

    for _ in range(_ROUNDS):
        window = torch.ones((), dtype=intensity.dtype, device=intensity.device)
        for axis, m in zip(axes, shape, strict=True):
            edge = ((lags(m, intensity) / (reach[..., axis, None] + 0.5) - 1) / (_SOFT - 1)).clamp(0, 1)
            edge = 0.5 + 0.5 * (math.pi * edge).cos()
            window = window * edge.reshape(*edge.shape[:-1], *(m if a == axis else 1 for a in axes))
        outside = _fft.half_from_full(1 - window) / math.prod(shape)
        residual = -gradient(intensity)
        direction, square = residual, residual.square().sum(axes, keepdim=True)
        for _ in range(_STEPS):
            turned = gradient(direction)
            length = square / (direction * turned).sum(axes, keepdim=True).clamp(min=tiny)
            intensity = intensity + length * direction
            residual = residual - length * turned
            before, square = square, residual.square().sum(axes, keepdim=True)
            direction = residual + square / before.clamp(min=tiny) * direction
        reach, _ = reached(intensity, ndim, None)
    return intensity
