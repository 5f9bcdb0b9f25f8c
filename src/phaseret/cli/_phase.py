"""An object that was taken as non-negative with a phase of its own, where that explains its pattern better."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from phaseret import solvers

# A pattern that is more symmetric than this leaves no phase to be found.
SYMMETRIC = 0.99
# So many of the best starts go on, in a box so much wider; a phase must lower the score, the error times the price of
# its pixels, to this share.
_STARTS, WIDER, _BETTER = 6, 1.12, 0.8
# The support follows the estimate, at first much wider than what stands out of it.
_ROUND = "rrr:40,er:5,shrinkwrap(sigma=2.5,decay=0.93,least_sigma=1,threshold={})"
_SCHEDULE = ",".join(("er:1", *(f"4*({_ROUND.format(t)})" for t in (0.1, 0.12, 0.14, 0.16, 0.18, 0.2)), "er:30"))


def with_phase(
    real: Callable[[], solvers.Reconstruction],
    solve: Callable[..., solvers.Reconstruction],
    intensity: Tensor,
    mask: Tensor | None,
    settings: dict[str, Any],
) -> solvers.Reconstruction:
    """The reconstruction of one pattern: what `real` gives, or an object whose phase keeps to a half turn.

    A curved wave or a thin phase leaves a pattern nearly symmetric, and a non-negative object that explains the rest as
    well as it can: it has about the right shape. From there the phase is found, since the sign of the real part tells
    the object from its twin. Warnings are those of the one that is kept. By the `settings` both keep one state.
    """
    kept = dict(settings.get("resume", {}))
    first, told = _heard(real, **_of_part("real", settings, kept))
    grid = intensity.shape
    sizes = [min(math.ceil(WIDER * n), (m + 1) // 2) for n, m in zip(first.obj.shape, grid, strict=True)]
    widths = [
        w for n, m in zip(first.obj.shape[::-1], sizes[::-1], strict=True) for w in ((m - n) // 2, m - n - (m - n) // 2)
    ]
    best = first.ranking[first.errors[first.ranking].isfinite()][:_STARTS]
    # what was found on another machine may differ in its last digits
    init = kept.setdefault("init", nn.functional.pad(first.objs[best], widths)).to(intensity.device)
    second, told_then = _heard(
        solve,
        **_of_part("phase", settings, kept),
        init=init,
        starts=len(init),
        support=torch.ones(sizes, dtype=torch.bool, device=intensity.device),
        constraint="complex",
        phase_range=(-math.pi / 2, math.pi / 2),
        schedule=_SCHEDULE,
    )
    # both have two numbers of each pixel for a datum: the data of a real object come in pairs
    measured = intensity.numel() if mask is None else int(mask.sum())
    data = min(measured, math.prod(2 * n - 1 for n in first.obj.shape))
    scores = [_score(found, data) for found in (first, second)]
    better = scores[1] < _BETTER * scores[0]
    for warning in told_then if better else told:
        warnings.warn(warning.message, stacklevel=2)
    if not better:
        return first
    recipe = f"{first.recipe}, then with a phase {second.recipe}"
    return dataclasses.replace(second, recipe=recipe, seconds=first.seconds + second.seconds)


def _of_part(part: str, settings: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    """The settings of one part of a run, whose state is kept beside that of the other."""
    if "checkpoint" not in settings:
        return settings

    def keep(state: dict[str, Any]) -> None:
        kept[part] = state
        settings["checkpoint"](dict(kept))

    return settings | {"checkpoint": keep, "resume": kept.get(part)}


def _score(found: solvers.Reconstruction, data: int) -> float:
    """The error of the best start times Akaike's price of its pixels."""
    best = int(found.ranking[0])
    return float(found.errors[best]) * math.exp(2 * int((found.objs[best] != 0).sum()) / data)


def _heard(
    solve: Callable[..., solvers.Reconstruction], **options: Any
) -> tuple[solvers.Reconstruction, list[warnings.WarningMessage]]:
    """What is returned, and the warnings, kept until one is chosen."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        return solve(**options), told
