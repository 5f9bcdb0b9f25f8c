"""Whether values that nobody called intensities are their roots or logarithms: their digits and their spread tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

# Intensities of one ring are skewed to large values, by 2 for speckle, and roots by 0.6; logarithms to small ones, by
# -1.1, and they end soon above the median. So many pixels are looked at, no fewer tell, and so many make a ring.
_SKEWED, _REACH, _MOST, _LEAST, _RING = -0.25, 10.0, 1 << 20, 1024, 16
# Of the median light: a pattern with less was hardly measured.
_DIM = 0.01
# A ring whose values hardly differ tells nothing, nor does a pattern of which so much shares the largest value.
_FLAT, _TOP = 0.02, 0.01


def transformed(values: Tensor, ndim: int) -> str:
    """A question, if values (*, m1..md) are the roots or the logarithms of whole numbers, or spread as logarithms do.

    The zero frequency is at index 0; what was not measured is 0.
    """
    what, fix = "and were taken for the intensity", "if so, take their exponential first"
    some = values[(values > 0) & (values < 100)][: 1 << 16].double()  # whose squares have digits behind the point
    if some.numel() >= 16 and bool((some == some.round()).double().mean() <= 0.95):
        if _whole(some.square()):
            return "its values are the roots of whole numbers, as magnitudes of counts are: if so, use kind='magnitude'"
        for base, counts in (("10", 10**some), ("e", some.exp())):
            if _whole(counts[counts < 1000], least=2):
                return f"its values are logarithms to the base {base} of whole numbers, {what}: {fix}"
    first = values.reshape(-1, *values.shape[-ndim:])[0]
    return f"its values spread as logarithms do, {what}: {fix}" if ndim > 1 and _skewed(first.numpy()) else ""


def dim(intensity: Tensor, ndim: int, numbers: Sequence[int], count: int) -> Iterator[str]:
    """A question, if some patterns of a stack of `count`, of which those `numbers` were read, are all but dark."""
    light = intensity.detach().flatten(-ndim).sum(-1)
    if light.ndim != 1 or light.numel() < 3:
        return
    dark = (light < _DIM * light.median()).tolist()
    low = [number % count for number, is_dark in zip(numbers, dark, strict=True) if is_dark]
    if low:
        patterns, hold, them = ("pattern", "holds", "it") if len(low) == 1 else ("patterns", "hold", "them")
        shown = ", ".join(map(str, low[:6])) + (f" and {len(low) - 6} more" if len(low) > 6 else "")
        what = f"{patterns} {shown} of the stack {hold} less than a hundredth of the light of most others"
        only = f" with index={[n for n in range(count) if n not in low]}" if count <= 64 else ""
        yield f"{what}: if nothing was measured, leave {them} out{only}"


def _whole(numbers: Tensor, least: int = 1) -> bool:
    """Whether they are whole numbers up to rounding, from `least` on, of which there are enough to tell."""
    whole = numbers.round()
    return numbers.numel() >= 16 and not bool((((numbers - whole).abs() > 1e-2) | (whole < least)).any())


def _skewed(pattern: np.ndarray[Any, Any]) -> bool:
    """Whether the values about the zero frequency at index 0 are skewed on their rings as logarithms are."""
    shape, step = pattern.shape, -(-pattern.size // _MOST)
    some = (slice(0, shape[0], step), *map(slice, shape[1:]))
    away = [np.minimum(i, m - i) for i, m in zip(np.ogrid[some], shape, strict=True)]
    radius = np.sqrt(np.asarray(sum(x.astype(float) ** 2 for x in away))).astype(int)
    pattern = pattern[some].astype(float)
    lit = pattern > 0
    values, rings = pattern[lit], radius[lit]
    if values.size < _LEAST or values.max() > _REACH * np.median(values):
        return False
    if float((values == values.max()).mean()) > _TOP:
        return False
    pixels = np.maximum(np.bincount(rings), 1)
    mean = np.bincount(rings, values) / pixels
    off = values - mean[rings]
    spread = np.sqrt(np.bincount(rings, off**2) / pixels)
    tells = ((pixels >= _RING) & (spread > _FLAT * mean))[rings]
    return int(tells.sum()) >= _LEAST and float(((off[tells] / spread[rings][tells]) ** 3).mean()) < _SKEWED
