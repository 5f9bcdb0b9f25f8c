"""What was measured of the autocorrelation, and how wide a blur it allows.

A blur of the intensities multiplies the autocorrelation by a factor. Where an object is sampled as it must be, its
autocorrelation has a region of its own on the grid and noise the rest: inside, the factor can be divided away. A wider
blur than the true one leaves negative intensities then, beside the zeros of the pattern. So the pattern itself tells
how wide the blur is, before anything is known of the object.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from phaseret import _fft, _memory
from phaseret.projections._spread import Autocorrelation, Gaussian
from phaseret.solvers._extent import corners, counted, hull, rim, smoothed
from phaseret.solvers._gaps import filled_in_hull

# The hull of the autocorrelation is so much wider than what counts. What is left out, of lags and by their noise, may
# make standard deviations of this share of the mean intensity.
_ROOM, _CUT = 1.15, 3e-3
# Variances in squared pixels that are tried one after the other, each so many times the last, and how often what lies
# between the last two is halved. Where none is too wide noise hides the blur, and this one is as good as another.
_FIRST, _LAST, _STEP, _HALVED, _HIDDEN = 0.002, 6.0, 1.3, 4, 0.25
# One that is alike in all directions is taken so much narrower; then it grows so often at most along each other axis.
# Of those that come out the larger one counts.
_NARROWER, _ROUNDS = (0.8, 0.5), 3


def measured(intensity: Tensor, mask: Tensor | None, ndim: int, counts: Tensor) -> Autocorrelation:
    """The autocorrelations of intensities (patterns, 1, m1..md), and whether they are counts (patterns).

    The noise of counts is known; that of others may follow the intensity, or be the same everywhere.
    """
    shape, axes = tuple(intensity.shape[-ndim:]), tuple(range(-ndim, 0))
    if mask is not None:
        intensity = filled_in_hull(intensity, mask.expand(intensity.shape), ndim)
    unit = _fft.root_unit(intensity.detach(), ndim)
    intensity = intensity / unit.square()
    half = _fft.transform(intensity, ndim)
    inside, level = counted(intensity.detach(), ndim, None)
    region = _fft.uncenter(hull(_fft.center(inside, axes), ndim, _ROOM, level), axes)
    power = _fft.full_from_half(_fft.power(half), shape)
    total, pixels, known = intensity.sum(axes, keepdim=True), math.prod(shape), counts.reshape(-1, *[1] * (ndim + 1))
    noise, power = torch.where(known, total / unit.square(), _noise(power, ndim)), smoothed(power, ndim)
    gain = _fft.half_from_full((power - noise).clamp(min=0) / _fft.divisor(power) * region).contiguous()
    per_intensity = torch.where(known, unit.square().reciprocal(), noise / _fft.divisor(total))
    variance = per_intensity * intensity.clamp(min=0) + torch.where(known, 0, noise / pixels)
    least = (_CUT * total / pixels).square()
    return Autocorrelation(shape, half * gain, gain.detach(), variance.detach(), least.detach(), unit)


def _noise(power: Tensor, ndim: int) -> Tensor:
    """The mean power (patterns, 1, 1..1) beyond the autocorrelation: in the corners of the grid, which that of few
    objects reaches, or at the largest lags along the axes, whichever is less.
    """
    axes, beyond = tuple(range(-ndim, 0)), corners(power.shape[-ndim:], power)
    inside = (power * beyond).sum(axes, keepdim=True) / beyond.sum()  # NaN along a line, which has no corners
    return torch.fmin(inside, rim(power, ndim))


@torch.no_grad()
def widest(autocorrelation: Autocorrelation) -> tuple[Gaussian, Tensor]:
    """The widest Gaussians (patterns) that leave no negative intensities; and whether (patterns, 1) that was seen.

    The first of them is alike in all directions; then it grows along those that allow it.
    """
    patterns, kept = len(autocorrelation.values), autocorrelation.variance
    at_a_time = _memory.items_at_a_time(kept.device, kept[0].numel(), 10 * kept.element_size())
    found = [_widest(autocorrelation.index(slice(first, first + at_a_time))) for first in range(0, patterns, at_a_time)]
    covariance, seen = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Gaussian(covariance), seen


def _widest(some: Autocorrelation) -> tuple[Tensor, Tensor]:
    """Their covariances (patterns, 1, d, d), and whether they were seen."""
    d, least = len(some.shape), some.least.flatten(1)
    eye, zero = torch.eye(d).to(least), torch.zeros_like(least)
    width = _reached(some, zero[..., None, None] * eye, eye, zero + _FIRST, _STEP)
    seen = width < _LAST
    found = torch.where(seen, width.clamp(min=_FIRST), _HIDDEN)[..., None, None] * eye
    if d == 1:
        return found, seen
    for part in _NARROWER:  # what is narrower than it may be has room to grow where it is wider
        grown = _grown(some, (part * width).clamp(min=_FIRST)[..., None, None] * eye)
        larger = seen & ((part == _NARROWER[0]) | (torch.linalg.det(grown) > torch.linalg.det(found)))
        found = grown.where(larger[..., None, None], found)
    return found, seen


def _grown(some: Autocorrelation, covariance: Tensor) -> Tensor:
    """Covariances (patterns, 1, d, d) that grow along one direction after the other, by as much as they may."""
    d, first = len(some.shape), covariance[..., 0, 0] / 8
    ways = [u @ u.mT for u in _directions(d).to(first)[..., None]]
    for _ in range(_ROUNDS * (d - 1)):
        grown = torch.stack([_reached(some, covariance, way, first, 2.0) for way in ways])
        most, which = torch.where(grown < _LAST, grown, 0.0).max(0)
        if not bool(most.any()):
            break
        covariance = covariance + most[..., None, None] * torch.stack(ways)[which]
    return covariance


def _reached(some: Autocorrelation, covariance: Tensor, way: Tensor, first: Tensor, step: float) -> Tensor:
    """How far (patterns, 1) covariances may grow along a way (d, d): 0 if not by `first`, `_LAST` if at all they may.

    Tried are steps, each so many times the last; what lies between the last two is halved.
    """
    good, bad, trial = torch.zeros_like(first), torch.full_like(first, math.inf), first
    while bool((bad.isinf() & (trial < _LAST)).any()):
        fine = some.allows(Gaussian(covariance + trial[..., None, None] * way)) | (trial >= _LAST)
        bad = torch.where(bad.isinf() & ~fine, trial, bad)
        good = torch.where(bad.isinf(), trial, good)
        trial = trial * step
    free, some_way = bad.isinf(), (good > 0) & bad.isfinite()
    for _ in range(_HALVED if bool(some_way.any()) else 0):
        middle = torch.where(some_way, (good + bad) / 2, good)
        fine = some.allows(Gaussian(covariance + middle[..., None, None] * way))
        good, bad = torch.where(fine, middle, good), torch.where(fine, bad, middle)
    return torch.where(free, _LAST, good)


def _directions(ndim: int) -> Tensor:
    """Directions (k, d), one of each pair of opposite ones: along a line, every 15 degrees, to the neighbours."""
    if ndim == 2:
        angles = torch.arange(12) * (math.pi / 12)
        return torch.stack([angles.cos(), angles.sin()], -1)
    places = [p for p in itertools.product((-1, 0, 1), repeat=ndim) if p > (0,) * ndim]
    return torch.nn.functional.normalize(torch.tensor(places, dtype=torch.float32), dim=-1)
