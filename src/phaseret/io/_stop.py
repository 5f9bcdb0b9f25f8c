"""A beam stop that was stored as zeros: what it hides was not measured, whatever the file says."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from phaseret import _fft

# A stop comes so near to the zero frequency, in pixels. Its zeros lie where rings are brighter than so many of the
# least value above 0, a count; what borders on it near the zero frequency has so many, and such a share of its ring; if
# all that it hides is as bright, so many were lost.
_NEAR, _COUNTS, _BRIGHT, _SHARE, _LOST = 2, 2.5, 3.0, 0.4, 40.0


def beam_stop(values: Tensor, measured: Tensor, ndim: int) -> Tensor | None:
    """The pixels (*, m1..md) of each pattern that a beam stop with its arm hides; None where there are none.

    They are exactly 0, hang together, reach the zero frequency at index 0 or nearly so, and border on bright ones: a
    pattern is continuous, and falls from there to a dark place over some pixels. An arm is followed as far as rings
    are bright enough to tell its zeros from those of few photons.
    """
    shape = values.shape[-ndim:]
    axes = tuple(range(-ndim, 0))
    zero = (values == 0) & measured
    near = zero.roll([_NEAR] * ndim, axes)
    near = _fft.crop(near, [min(2 * _NEAR + 1, m) for m in shape]).flatten(-ndim).any(-1).reshape(-1)
    if not bool(near.any()):
        return None
    found = torch.zeros_like(zero).reshape(-1, *shape)
    items = [_fft.center(x.detach().reshape(-1, *shape), axes).cpu() for x in (values, zero, measured)]
    for number in near.nonzero().flatten().tolist():
        hidden = _hidden(*(x[number].numpy() for x in items))
        if hidden is not None:
            found[number] = _fft.uncenter(torch.from_numpy(hidden), axes).to(found.device)
    return found.reshape(zero.shape) if bool(found.any()) else None


def _hidden(
    values: np.ndarray[Any, Any], zero: np.ndarray[Any, Any], measured: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any] | None:
    """The pixels that the stop hides of one pattern, its zero frequency in the middle; None if there is none."""
    from scipy.ndimage import binary_dilation, binary_opening, label

    away = np.ogrid[tuple(slice(-(m // 2), m - m // 2) for m in values.shape)]
    square = np.asarray(sum(x * x for x in away))
    ring = np.sqrt(square).astype(int)
    lit = values[(values > 0) & measured]
    if not lit.size:
        return None
    count = lit.min()
    sums, pixels = (np.bincount(ring[measured], weights) for weights in (values[measured], None))
    mean = sums / np.maximum(pixels, 1)
    bright = np.maximum.accumulate(mean[::-1])[::-1]  # what the stop hides is brighter than what lies around it
    bright = np.append(bright, np.zeros(ring.max() + 1 - len(bright)))[ring]
    parts, _ = label(zero & (bright > _COUNTS * count))
    core = square <= _NEAR**2 * values.ndim
    names = np.unique(parts[core & (parts > 0)])
    hidden = np.isin(parts, names)
    # what hangs on by threads of single pixels is no part of it
    middle = label(binary_opening(hidden) | (hidden & core))[0]
    hidden &= binary_dilation(np.isin(middle, np.unique(middle[core & (middle > 0)])))
    rim = binary_dilation(hidden) & ~hidden & measured
    if not rim.any():
        return None
    rim &= square <= 4 * (1 + np.sqrt(square[rim].min())) ** 2
    level, bordering = float(np.median(values[rim])), float(values[rim].mean())
    clear = level > count * max(_BRIGHT, _LOST / int(hidden.sum()))
    return hidden if clear and bordering > _SHARE * float(bright[rim].mean()) else None
