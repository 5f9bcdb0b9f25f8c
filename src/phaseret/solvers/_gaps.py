"""Unmeasured pixels of a pattern, from what its autocorrelation may not have."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from phaseret import _fft
from phaseret.solvers._extent import counted, filled, hull, lags

# The hull is looked at so many times, is so much wider than what counts, and leaves this share of the lags at least.
_ROUNDS, _WIDER, _LEAST = 3, 1.1, 0.1
# The corners of the grid are empty if at most this share of the maximum is left there, of noise: a cube leaves more.
_CORNERS = 5e-5
# Conjugate gradients end after so many steps, or at this share of the first residual's energy.
_STEPS, _ENOUGH = 30, 1e-8


def filled_in_hull(intensity: Tensor, known: Tensor, ndim: int, positive: bool = False) -> Tensor:
    """The intensity with estimates at unmeasured pixels: those that leave the least autocorrelation outside its hull.

    The extent along each axis, which `filled` keeps to, says little of crystals: their autocorrelation fills a fifth of
    such a box. It fills no corner of the grid, where least squares begin. The convex hull of what then rises above the
    noise is a region outside of which there is nothing, and they give the pixels again; which is repeated, since the
    hull is another then. Items that do reach the corners, or leave too little of the grid, have what `filled` gives.
    """
    axes, shape = tuple(range(-ndim, 0)), intensity.shape[-ndim:]
    rough = filled(intensity, known, ndim, positive=positive)
    corners = sum(
        (2 * lags(m, rough) / m).square().reshape([-1 if a == axis else 1 for a in axes])
        for axis, m in zip(axes, shape, strict=True)
    )
    outside = (cast(Tensor, corners) > 1).expand(rough.shape)
    found = _least(intensity.where(known, 0), known, outside, ndim).clamp(min=0)
    power = _fft.power(_fft.full_from_half(_fft.transform(found, ndim), shape))
    left = power.where(outside, torch.nan).nanmean(axes, keepdim=True) / power.amax(axes, keepdim=True)
    for _ in range(_ROUNDS):
        inside = _fft.center(counted(found, ndim, None, positive)[0], axes)
        outside = _fft.uncenter(~hull(inside, ndim, _WIDER), axes)
        enough = (left <= _CORNERS) & (outside.to(found.dtype).mean(axes, keepdim=True) >= _LEAST)
        found = torch.where(enough, _least(found, known, outside, ndim).clamp(min=0), rough)
    return found


def _least(found: Tensor, known: Tensor, outside: Tensor, ndim: int) -> Tensor:
    """The values at unknown pixels for which the energy of the autocorrelation outside is least, from those given."""
    axes, shape = tuple(range(-ndim, 0)), found.shape[-ndim:]
    # of the half of the lags that a real pattern's have, their number of pixels divided out
    window = _fft.half_from_full(outside.to(found.dtype)) / found[(0,) * (found.ndim - ndim)].numel()

    def slope(x: Tensor) -> Tensor:
        return _fft.inverse_sum(_fft.transform(x, ndim) * window, shape, real=True).where(~known, 0)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(axes, keepdim=True)

    rest = -slope(found)
    step, energy = rest, dot(rest, rest)
    limit = _ENOUGH * energy
    for _ in range(_STEPS):
        turned = slope(step)
        length = torch.where(energy > limit, energy / _fft.divisor(dot(step, turned)), 0)
        found, rest = found + length * step, rest - length * turned
        energy, before = dot(rest, rest), energy
        step = rest + energy / _fft.divisor(before) * step
    return found
