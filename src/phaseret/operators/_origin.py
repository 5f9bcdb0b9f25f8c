"""Where the light of measured patterns gathers, which tells a zero frequency that lies elsewhere."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor


@torch.no_grad()
def gathers_away(intensity: Tensor, measured: Tensor | None, ndim: int) -> tuple[bool, ...]:
    """The axes along which the light of the mean pattern gathers half a frame away from index 0, () if along none;
    looks at values, once.

    That is so where a tenth of it lies within a sixteenth of the frame about index m // 2 along these axes and about
    index 0 along the others, more than at other such places, and ten times as much for each pixel as about index 0
    along all. Frames of less than 16 pixels are not judged.
    """
    shape = intensity.shape[-ndim:]
    if min(shape) < 16:
        return ()
    values = intensity if measured is None else intensity.where(measured, 0)
    mean = values.reshape(-1, *shape).mean(0)
    known = torch.ones_like(mean) if measured is None else measured.reshape(-1, *shape).any(0).to(mean)
    places = list(product((False, True), repeat=ndim))
    sums = [mean.sum(), *(_about(x, place).sum() for x in (mean, known) for place in places)]
    light, *found = torch.stack(sums).tolist()
    lights, pixels = found[: len(places)], found[len(places) :]
    there = max(range(1, len(places)), key=lambda number: lights[number])
    clear = lights[there] > 0.1 * light and lights[there] * pixels[0] > 10 * lights[0] * pixels[there]
    return places[there] if clear and pixels[0] >= pixels[there] / 2 else ()


def _about(x: Tensor, away: tuple[bool, ...]) -> Tensor:
    """A sixteenth of the frame to either side of index 0, or of index m // 2 along the axes that are away."""
    for axis, half in enumerate(away):
        m = x.shape[axis]
        index = torch.arange(-(m // 16), m // 16 + 1, device=x.device) + m // 2 * half
        x = x.index_select(axis, index % m)
    return x


def where_it_gathers(there: str, taken: str) -> str:
    """The words for it."""
    return f"the light gathers at the {there} of the frame, and its {taken} was taken for the zero frequency"
