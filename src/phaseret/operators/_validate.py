"""The check of measured values, which no other function makes because looking at values stalls a GPU."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

from phaseret import _checks, _memory
from phaseret.operators._hot import ask_about_hot


def validate(intensity: Tensor, *, mask: Tensor | None = None, ndim: int = 2) -> None:
    """Look at the values of measured data once, before they are used many times.

    All other functions check types, shapes and devices only. The values must be finite and non-negative where
    measured, each item needs a measured pixel, and one of them must be positive. A warning names a pixel that
    outshines all about it, as hot ones do.

    Args:
        intensity: Measured intensity.
        mask: True where the data is measured; what lies elsewhere is not looked at. Default: everywhere.
        ndim: Number of axes of one measurement (1, 2 or 3); all axes before them are a batch.

    Shape:
        - intensity: (*, m1..md)
        - mask: that of the data, or broadcast to it

    Returns:
        Nothing.

    Raises:
        TypeError: if intensity is not real floating or mask not boolean.
        ValueError: if shapes or devices do not fit; if a measured value is nan, infinite or negative; if all pixels
            of an item are masked, or all its measured values zero. The message says how many and where the first is.

    Example:
        >>> intensity = torch.rand(4, 64, 64)
        >>> intensity[2, 0, 5] = float("nan")
        >>> validate(intensity, mask=intensity.isfinite())
    """
    _checks.real(intensity=intensity)
    ndim = _checks.item_axes(ndim, intensity=intensity)
    if mask is None:
        mask = torch.ones((), dtype=torch.bool, device=intensity.device)
    mask = _checks.mask(mask, intensity)
    look(intensity, mask, ndim)
    ask_about_hot(intensity.detach(), mask, ndim)


def look(intensity: Tensor, mask: Tensor, ndim: int) -> None:
    """The values of a mask and of data that fit, with any number of axes."""
    _memory.with_values(intensity=intensity, mask=mask)
    axes = tuple(range(-ndim, 0))
    dark = ~mask.any(axes), ~(mask & (intensity > 0)).any(axes)
    wrong = mask & ~intensity.isfinite(), mask & (intensity < 0)
    # good data cost one look: the messages look again
    unmeasured, infinite, negative, unlit = torch.stack([x.any() for x in (dark[0], *wrong, dark[1])]).tolist()
    if unmeasured:
        _refuse_items(
            dark[0],
            "mask must be True for a pixel of every item",
            "True means measured: use ~mask if yours marks the bad pixels",
        )
    if infinite:
        _refuse_values(intensity, wrong[0], "finite", "Mask them with mask = intensity.isfinite()")
    if negative:
        fix = "Set them to 0 with intensity.clamp(min=0), or mask them"
        _refuse_values(intensity, wrong[1], "at least 0", fix)
    if unlit:
        _refuse_items(
            dark[1],
            "intensity must have a positive measured value in every item",
            "Leave out the patterns without light",
        )


def look_finite(intensity: Tensor, mask: Tensor | None) -> None:
    """What was measured is finite; it may be below 0, as counts without their background are."""
    wrong = ~intensity.isfinite() if mask is None else mask & ~intensity.isfinite()
    if bool(wrong.any()):
        _refuse_values(intensity, wrong, "finite", "Mask them with mask = intensity.isfinite()")


def _refuse_values(intensity: Tensor, wrong: Tensor, rule: str, fix: str) -> NoReturn:
    places = wrong.nonzero()
    first = tuple(places[0].tolist())
    number = f"{len(places)} other value{'s' * (len(places) > 1)}"
    got = f"got {number}, the first, {intensity[first].item():g}, at {first}"
    _checks.fail(f"intensity must be {rule} where measured, {got}", fix)


def _refuse_items(wrong: Tensor, rule: str, fix: str) -> NoReturn:
    places = wrong.nonzero()
    first = tuple(places[0].tolist())
    got = f"none in {len(places)} of {wrong.numel()} items, the first at {first}" if first else "none"
    _checks.fail(f"{rule}, got {got}", fix)
