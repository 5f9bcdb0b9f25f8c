"""Unmeasured pixels of a pattern, from what its autocorrelation may not have."""

from __future__ import annotations

import torch
from torch import Tensor

from phaseret import _fft
from phaseret.solvers._extent import corners, counted, filled, hull, least

# The hull is looked at so many times, is so much wider than what counts, and leaves this share of the lags at least.
_ROUNDS, _WIDER, _LEAST = 3, 1.1, 0.1
# The corners of the grid are empty if at most this share of the maximum is left there, of noise: a cube leaves more.
_CORNERS = 5e-5
# Steps of conjugate gradients.
_STEPS = 30


def filled_in_hull(intensity: Tensor, known: Tensor, ndim: int, positive: bool = False) -> Tensor:
    """The intensity with estimates at unmeasured pixels: those that leave the least autocorrelation outside its hull.

    The extent along each axis, which `filled` keeps to, says little of crystals: their autocorrelation fills a fifth of
    such a box. It fills no corner of the grid, where least squares begin. The convex hull of what then rises above the
    noise is a region outside of which there is nothing, and they give the pixels again; which is repeated, since the
    hull is another then. Items that do reach the corners, or leave too little of the grid, have what `filled` gives.
    """
    axes, shape = tuple(range(-ndim, 0)), intensity.shape[-ndim:]
    values = intensity.where(known, 0)
    size = _fft.divisor(values.abs().amax(axes, keepdim=True))
    values = values / size
    rough = filled(values, known, ndim, positive=positive)
    outside = corners(shape, rough).expand(rough.shape)
    found = _least(values, known, outside, ndim)
    power = _fft.power(_fft.full_from_half(_fft.transform(found, ndim), shape))
    left = power.where(outside, torch.nan).nanmean(axes, keepdim=True) / power.amax(axes, keepdim=True)
    for _ in range(_ROUNDS):
        inside = _fft.center(counted(found, ndim, None, positive)[0], axes)
        outside = _fft.uncenter(~hull(inside, ndim, _WIDER), axes)
        enough = (left <= _CORNERS) & (outside.to(found.dtype).mean(axes, keepdim=True) >= _LEAST)
        found = torch.where(enough, _least(found, known, outside, ndim), rough)
    return intensity.where(known, size * found)


def _least(found: Tensor, known: Tensor, outside: Tensor, ndim: int) -> Tensor:
    """The values at unknown pixels that leave least outside of a region."""
    weights = _fft.half_from_full(outside.to(found.dtype))
    return least(found, known, weights, ndim, _STEPS)
