"""Pixels that outshine all about them, as no pattern of an object does: hot ones, zingers, the direct beam."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory

# A pattern is looked at in its brightest pixels. One is hot that is so many times as bright as what lies in a window of
# such a width about it, but for one or two that may be hot too, and as the least of the pattern, a count; and that has
# such a share of the light.
_BRIGHTEST, _WIDTH, _TIMES, _SHARE = 64, 5, 100.0, 0.01


@dataclass(frozen=True)
class Hot:
    """The hot pixels of patterns.

    Attributes:
        count: How many there are.
        pixel: The brightest of them.
        pattern: The index of its pattern in the batch.
        share: Its part of the light of its pattern.
        level: A value that they exceed, and all others do not; None if there is none.
    """

    count: int
    pixel: tuple[int, ...]
    pattern: tuple[int, ...]
    share: float
    level: float | None

    def __str__(self) -> str:
        of = f" of pattern {', '.join(map(str, self.pattern))}" if self.pattern else ""
        more = f", one of {self.count} such," * (self.count > 1)
        return f"the pixel {self.pixel}{of}{more} outshines all about it, and holds {self.share:.1%} of the light"


def ask_about_hot(intensity: Tensor, measured: Tensor | None, ndim: int) -> bool:
    """Warn of hot pixels; whether there are any."""
    hot = hot_pixels(intensity, measured, ndim)
    if hot is None:
        return False
    place = ", ".join(map(str, (*hot.pattern, *hot.pixel)))
    mask = f"mask[{place}] = False"
    if hot.level is not None:
        below = f"intensity < {hot.level:.3g}"
        mask = f"mask = {below}" if measured is None else f"mask &= {below}"
    _checks.warn(str(hot), f"If it is broken, or the direct beam, leave it out: {mask}")
    return True


@torch.no_grad()
def hot_pixels(intensity: Tensor, measured: Tensor | None, ndim: int) -> Hot | None:
    """Those of patterns; looks at values, once. Frames of less than 16 pixels, or that memory is too short for, are not
    judged.

    The pattern of an object that is sampled finely enough is smooth: what is bright spreads over several pixels.
    """
    shape = intensity.shape[-ndim:]
    if min(shape) < 16:
        return None
    flat = _fft.promote(intensity).reshape(-1, math.prod(shape))
    known = None if measured is None else measured.expand_as(intensity).reshape_as(flat)
    count = _memory.items_at_a_time(flat.device, flat.shape[1], 16 + 48 * _BRIGHTEST * _WIDTH**ndim / flat.shape[1])
    found: list[tuple[Tensor, ...]] = []
    begin = 0

    def look() -> None:
        some = slice(begin, begin + count)
        found.append(_brightest(flat[some], None if known is None else known[some], shape))

    while begin < len(flat):
        if _memory.fits(look):
            begin += count
        elif count > 1:
            count //= 2
        else:
            return None
    hot, value, top, share, rest = (torch.cat(parts) for parts in zip(*found, strict=True))
    if not bool(hot.any()):
        return None
    item, rank = divmod(int(share.argmax()), top.shape[1])
    coolest, others = value[hot].amin(), rest.amax()
    level = float(coolest.sqrt() * others.sqrt()) if bool(coolest > 2 * others) else None
    index = [int(i) for i in torch.unravel_index(top[item, rank] + item * flat.shape[1], intensity.shape)]
    return Hot(int(hot.sum()), tuple(index[-ndim:]), tuple(index[:-ndim]), float(share[item, rank]), level)


def _brightest(flat: Tensor, known: Tensor | None, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """Which of the brightest pixels (P, k) of patterns (P, pixels) are hot; their values, places and shares of the
    light; and the largest value (P) of all other pixels."""
    flat = flat if known is None else flat.where(known, 0)
    seen = torch.ones_like(flat[:1]) if known is None else known.to(flat)
    value, top = flat.topk(min(_BRIGHTEST, flat.shape[1]))
    number = torch.arange(_WIDTH ** len(shape), device=flat.device)  # of the pixels about each, itself in the middle
    around = torch.zeros_like(top).unsqueeze(-1)
    for axis, m in enumerate(shape):
        stride, step = math.prod(shape[axis + 1 :]), number // _WIDTH**axis % _WIDTH - _WIDTH // 2
        around = around + (top.unsqueeze(-1) // stride % m + step) % m * stride
    others = number != len(number) // 2
    rival, seen_too = (
        (x.expand_as(flat).gather(1, around.flatten(1)).reshape(around.shape) * others) for x in (flat, seen)
    )
    rival, enough = rival.topk(len(shape)).values[..., -1], seen_too.mean(-1) >= 0.5
    least, light = torch.where(flat > 0, flat, math.inf).amin(1, keepdim=True), flat.sum(1, keepdim=True)
    hot = (value > _TIMES * rival.maximum(least)) & (value > _SHARE * light) & enough
    rest = flat.scatter(1, top, value.masked_fill(hot, 0)).amax(1)
    return hot, value, top, torch.where(hot, value / light, 0), rest
