"""Where the light of measured patterns gathers, which tells a zero frequency that lies elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from phaseret import _fft


@torch.no_grad()
def gathers_away(intensity: Tensor, measured: Tensor | None, ndim: int) -> bool:
    """Whether the light of the mean pattern gathers half a frame away from index 0; looks at values, once.

    That is so where a tenth of it lies within a sixteenth of the frame about index m // 2 along each axis, and ten
    times as much for each pixel as about index 0. Frames of less than 16 pixels are not judged.
    """
    shape = intensity.shape[-ndim:]
    if min(shape) < 16:
        return False
    values = intensity if measured is None else intensity.where(measured, 0)
    mean, axes = values.reshape(-1, *shape).mean(0), tuple(range(ndim))
    known = torch.ones_like(mean) if measured is None else measured.reshape(-1, *shape).any(0).to(mean)
    sums = [mean.sum()]
    for place in (mean, known):
        here, there = (x.roll([m // 16 for m in shape], axes) for x in (place, _fft.uncenter(place, axes)))
        sums += [_fft.crop(x, [2 * (m // 16) + 1 for m in shape]).sum() for x in (here, there)]
    light, light_here, light_there, pixels_here, pixels_there = torch.stack(sums).tolist()
    clear: bool = light_there > 0.1 * light and light_there * pixels_here > 10 * light_here * pixels_there
    return clear and pixels_here >= pixels_there / 2


def where_it_gathers(there: str, taken: str) -> str:
    """The words for it."""
    return f"the light gathers at the {there} of the frame, and its {taken} was taken for the zero frequency"
