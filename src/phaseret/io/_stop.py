"""A beam stop that was stored as zeros: what it hides was not measured, whatever the file says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from phaseret import _fft

# A stop comes so near to the zero frequency, in pixels. Its zeros lie where rings are brighter than so many of the
# least value above 0, a count; what borders on it near the zero frequency has so many, and such a share of its ring.
_NEAR, _COUNTS, _BRIGHT, _SHARE = 2, 2.0, 3.0, 0.4
# Speckle of mean mu has no count in a pixel by the chance 1 / (1 + mu), in about so many pixels at once, and there are
# no more than so many ways to go on from each; what hangs together by a chance below the last one is a stop. So is a
# zero frequency within a border that is brighter than this share of all that lies further out. A beam is not stopped
# that is so many times as bright as the border.
_GRAIN, _WAYS, _CHANCE, _OUTER, _BEAM = 2.0, 4.0, 1e-3, 0.98, 20.0


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
    medians = np.zeros(ring.max() + 1)
    order = np.argsort(ring[measured], kind="stable")
    numbers, starts = np.unique(ring[measured][order], return_index=True)
    medians[numbers] = [np.median(x) for x in np.split(values[measured][order], starts[1:])]
    bright = np.maximum.accumulate(medians[::-1])[::-1][ring]  # what the stop hides outshines what lies around it
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
    if level < count * _BRIGHT or bordering < _SHARE * float(bright[rim].mean()):
        return None
    if values[(square <= values.ndim) & measured].max(initial=0) > _BEAM * level:
        return None
    grains = hidden.sum() / _GRAIN**values.ndim
    surprise = grains * np.log((1 + bright[hidden] / count) / _WAYS).clip(min=0).mean()
    beyond = values[measured & (square > 4 * square[rim].max())]
    brightest = beyond.size > 0 and level > np.quantile(beyond, _OUTER) and bool(hidden[square == 0].all())
    return hidden if surprise > -math.log(_CHANCE) or brightest else None
