"""Unmeasured pixels of a pattern, from what its autocorrelation may not have."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from phaseret import _fft
from phaseret.solvers._extent import (
    FLOOR,
    MOST,
    SIGMAS,
    WIDER,
    corners,
    counted,
    filled,
    hull,
    least,
    smoothed,
    within,
)

# The hull is looked at so many times, is so much wider than what counts, and leaves this share of the lags at least.
_ROUNDS, _WIDER, _LEAST = 3, 1.1, 0.1
# The corners of the grid are empty if at most this share of the maximum is left there, of noise: a cube leaves more.
_CORNERS = 5e-5
# Steps of conjugate gradients.
_STEPS = 30
# Up to so many unmeasured pixels are solved for exactly, with a ridge of this share: values 10^4 times as large as what
# they explain cost nothing. What counts may not rise by more than this factor above where it lies beyond an extent that
# leaves so many times as many lags empty as pixels are unmeasured.
# Factors of equations are kept for the next pattern, up to so many bytes.
FEW, _RIDGE, _LOUDER, _EMPTY, _KEPT = 1024, 1e-8, 3.0, 2, 2**28
# The zero frequency and the pixels so near to it are wrong if one differs by this share and so many standard deviations
# from what the others tell; then those that differ by this part of it. Lags up to this share of the grid leave too
# little to tell it from, and patterns of more pixels would take minutes.
_NEAR, _WRONG, _SIGMA, _BESIDE, _FILLS, _MANY = 2, 0.2, 30.0, 0.25, 0.45, 2**22


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


def explained(intensity: Tensor, known: Tensor, ndim: int, positive: bool = False) -> tuple[Tensor, Tensor]:
    """The least lags (*, d) beyond which there need be no autocorrelation, and how much wider (*) a box is.

    Of patterns with at most `FEW` unmeasured pixels. An extent explains a pattern if some values there leave, beyond
    it, nothing above the noise: least squares, solved exactly, since behind a stop of several speckles conjugate
    gradients end long before, and what they leave looks like autocorrelation. An extent that is too small is told by
    what lies just beyond it, however large the values in the gap may be. At the opposite frequency of what was
    measured the value is known of `positive` objects.
    """
    shape, plane = intensity.shape[-ndim:], None
    found = []
    for values, mask in zip(*(x.detach().cpu().reshape(-1, *shape) for x in (intensity, known)), strict=True):
        values = values.double().where(mask, 0)
        if positive:
            axes = tuple(range(-ndim, 0))
            values, mask = values.where(mask, _fft.mirror(values, axes)), mask | _fft.mirror(mask, axes)
        if plane is None or not torch.equal(mask, plane.known):  # the patterns of a stack have one as a rule
            plane = _Gaps(mask)
        found.append(_explained(values, plane))
    reach = torch.tensor([item for item, _ in found], dtype=intensity.dtype).reshape(*intensity.shape[:-ndim], ndim)
    wider = torch.tensor([WIDER / (1 - math.sqrt(level)) for _, level in found], dtype=intensity.dtype)
    return reach.to(intensity.device), wider.reshape(intensity.shape[:-ndim]).to(intensity.device)


def _explained(values: Tensor, gaps: _Gaps) -> tuple[list[int], float]:
    """The extent of one pattern, the smallest in proportion to the grid, then smaller along each axis that allows it;
    and the share of the sum of what was measured from which on autocorrelation counts."""
    shape, ndim = values.shape, values.ndim
    leaves = _Fit(values / _fft.divisor(values.where(gaps.known, 0).abs().sum()), gaps).leaves
    largest = [(m + 1) // 2 - 1 for m in shape]
    enough = gaps.known.numel() - _EMPTY * gaps.count
    wide = [[int(share * n) for n in largest] for share in (1.0, 0.95, 0.9, 0.8)]
    empty = [reach for reach in wide if math.prod(2 * n + 1 for n in reach) < enough]
    if not empty:
        return largest, FLOOR
    best, level = largest, min(leaves(reach)[1] for reach in empty)
    loudest = _LOUDER * level
    for axes_then in (range(ndim), *((axis,) for axis in range(ndim))):
        low, high, widest = 0.0, 1.0, best
        while max(widest[axis] for axis in axes_then) * (high - low) > 1:
            middle = (low + high) / 2
            reach = [round(middle * n) if axis in axes_then else n for axis, n in enumerate(widest)]
            most, counts = leaves(reach)
            if most > counts or counts > loudest:
                low = middle
            else:
                high, best, level = middle, reach, counts
    return [n + 1 for n in best], min(level, MOST)  # as wide as what counts elsewhere, which is blurred by a lag


def disagreeing(intensity: Tensor, known: Tensor, ndim: int) -> Tensor:
    """The pixels at the zero frequency of one pattern that the rest of it contradicts, as a patched centre is.

    The others have a least extent, and what the pixels at most `_NEAR` from the zero frequency are within it follows
    from least squares. Those disagree that differ by more than a share, and by more than the noise, and the ridge,
    leave open. Patterns of more than `_MANY` pixels are not looked at.
    """
    nothing = torch.zeros_like(known)
    if known.numel() > _MANY:
        return nothing
    shape, values, mask = intensity.shape, intensity.detach().cpu().double(), known.cpu()
    near = within([_NEAR] * ndim, shape, values)
    gaps = _Gaps(mask & ~near)
    if not mask[(0,) * ndim] or gaps.count > FEW or not gaps.known.any():
        return nothing
    values = values.where(mask, 0) / _fft.divisor(values.where(gaps.known, 0).abs().sum())
    reach, level = _explained(values, gaps)
    reach = [math.ceil(WIDER / (1 - math.sqrt(level)) * n) for n in reach]  # with what the noise hides
    if any(n > _FILLS * m for n, m in zip(reach, shape, strict=True)):
        return nothing
    expected, open_ = _Fit(values, gaps).told(reach)
    bound = open_ + _WRONG * expected.abs().maximum(values)
    off = (values - expected).abs().where(near & mask, 0)
    return ((off > _BESIDE * bound) & (off > bound).any()).to(known.device)


class _Gaps:
    """Where patterns were not measured, and the equations of what is there, which depend on an extent alone."""

    def __init__(self, known: Tensor) -> None:
        self.known, self.shape = known, known.shape
        self.place = (~known).nonzero().unbind(1)
        self.count = len(self.place[0])
        self._kept: dict[tuple[int, ...], tuple[Tensor, Tensor, Tensor]] = {}

    def beyond(self, reach: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """The lags outside of an extent, the same on the half grid, and the factor of the equations."""
        if tuple(reach) in self._kept:
            return self._kept[tuple(reach)]
        outside = ~within(reach, self.shape, torch.empty(0, dtype=torch.float64))
        weights = _fft.half_from_full(outside.double())
        between = torch.zeros((), dtype=torch.long)
        for index, m in zip(self.place, self.shape, strict=True):
            between = between * m + (index[:, None] - index) % m
        matrix = (_fft.inverse_sum(weights + 0j, self.shape, real=True) / self.known.numel()).flatten()[between]
        matrix.diagonal().add_(_RIDGE)
        found = outside, weights, torch.linalg.cholesky(matrix)
        if (len(self._kept) + 1) * matrix.nbytes <= _KEPT:
            self._kept[tuple(reach)] = found
        return found


class _Fit:
    """Least squares of the unmeasured pixels of one pattern, with as little of the autocorrelation beyond an extent."""

    def __init__(self, values: Tensor, gaps: _Gaps) -> None:
        self.gaps, self.shape, self.d = gaps, values.shape, values.ndim
        self.values = values.where(gaps.known, 0)
        self.measured = _fft.transform(self.values, self.d)

    def solved(self, reach: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The lags outside, the pattern's own autocorrelation there, the values and the factor of their equations."""
        outside, weights, factor = self.gaps.beyond(reach)
        place, pixels = self.gaps.place, self.values.numel()
        slope = _fft.inverse_sum(self.measured * weights, self.shape, real=True)[place] / pixels
        found = torch.cholesky_solve(-slope[:, None], factor).squeeze(1)
        left = _fft.full_from_half(_fft.transform(self.values.index_put(place, found), self.d), self.shape)
        return outside, left.where(outside, 0), found, factor

    def leaves(self, reach: Sequence[int]) -> tuple[float, float]:
        """What is left of the autocorrelation beyond an extent: the most of it, and from where on it counts."""
        outside, left, found, _ = self.solved(reach)
        seen = smoothed(outside.to(self.values.dtype), self.d)  # the noise is as high where it is a mean of fewer lags
        beyond = (_fft.power(smoothed(left, self.d)) / _fft.divisor(seen))[outside]
        free = max(len(beyond) - len(found), len(beyond) / 2)  # what is left of the noise by so many unknown values
        return math.sqrt(float(beyond.amax())), max(FLOOR, SIGMAS * math.sqrt(float(beyond.sum()) / free))

    def told(self, reach: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The pattern with the values that were found, and how far they may be wrong, which is 0 elsewhere."""
        outside, left, found, factor = self.solved(reach)
        inverse = torch.cholesky_inverse(factor)
        noise = _fft.power(left).sum() / outside.sum() / self.values.numel()
        wrong = _SIGMA * (noise * inverse.diagonal()).sqrt() + _RIDGE * _SIGMA * (inverse @ found).abs()
        place = self.gaps.place
        return self.values.index_put(place, found), torch.zeros_like(self.values).index_put(place, wrong)
