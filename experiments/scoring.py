"""What is said of estimates: scores before and after alignment, which copy of the object they are, and the leaderboard.

Every system of every protocol of the leaderboard is judged by `row` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import phaseret as pr
from experiments import Row
from phaseret.bench._scores import SOLVED, apart, decibels, judged

KINDS = ("classical", "learned", "untrained")
PART = 250  # items that are aligned at a time

#: An output is a copy of the object if their correlation after alignment is at least this, and a novel one if it is the
#: flip by at least such a margin, or lies so many pixels away from the object.
COPY, MARGIN, AWAY = 0.9, 0.02, 2
#: An output is a superposition of the object and its flip if both have at least this share in the combination of the
#: two that fits best, and if the combination explains more of the output than the better copy alone, by this share of
#: its square. A blurred copy has nothing to gain from the other one.
SHARE, GAIN = 0.2, 0.15


def scores(estimates: Tensor, objects: Tensor) -> dict[str, float]:
    """Mean scores of (N, n1, n2) estimates, and the shares of those that are a copy or a superposition.

    The relative magnitude error is that of noise-free intensities, also where noisy ones were measured.
    """
    shape = pr.operators.fast_fourier_shape(objects.shape[-2:], 2)
    values: dict[str, list[Tensor]] = {}
    for part in torch.arange(len(objects)).split(500):
        estimate, obj = estimates[part], objects[part]
        seen = pr.operators.fourier_intensity(obj, shape)
        found = {
            "raw_psnr": pr.metrics.psnr(estimate, obj, align=False, reduction="none"),
            "aligned_psnr": pr.metrics.psnr(estimate, obj, reduction="none"),
            "aligned_ssim": pr.metrics.ssim(estimate, obj, reduction="none"),
            "relative_magnitude_error": pr.metrics.relative_magnitude_error(estimate, seen, reduction="none"),
            **copies(estimate, obj),
        }
        for name, value in found.items():
            values.setdefault(name, []).append(value.double())
    return {name: round(torch.cat(value).mean().item(), 5) for name, value in values.items()}


def copies(estimates: Tensor, objects: Tensor) -> dict[str, Tensor]:
    """Whether the estimate of each item is the object, its flip, a superposition of the two, or none of these.

    Both copies are put where they fit the estimate best, and the combination a * object + b * flip with a, b >= 0 that
    fits it best is computed. A novel copy is one that is turned, or that lies elsewhere than the object.
    """
    straight = pr.symmetry.align(objects, estimates, flip=False)
    turned = pr.symmetry.align(pr.symmetry.conj_flip(objects), estimates, flip=False)
    first, second = straight.aligned.flatten(1).real, turned.aligned.flatten(1).real
    target = estimates.flatten(1).real
    of_object, of_flip = correlation(first, target), correlation(second, target)
    # Weights of the two copies by the normal equations; a negative one means that the other copy alone fits best.
    aa, bb, ab = (first * first).sum(1), (second * second).sum(1), (first * second).sum(1)
    at, bt = (first * target).sum(1), (second * target).sum(1)
    determinant = (aa * bb - ab * ab).clamp_min(1e-12)
    a, b = (bb * at - ab * bt) / determinant, (aa * bt - ab * at) / determinant
    both = correlation(a[:, None] * first + b[:, None] * second, target)
    least = torch.minimum(a, b) / (a + b).clamp_min(1e-12)
    is_copy = torch.maximum(of_object, of_flip) >= COPY
    is_object = is_copy & (of_object >= of_flip)
    is_flip = is_copy & (of_flip > of_object)
    better = torch.maximum(of_object, of_flip)
    superposed = ~is_copy & (least >= SHARE) & (both.square() - better.square() >= GAIN)
    moved = (torch.where(is_flip[:, None], turned.shifts, straight.shifts).abs() >= AWAY).any(1)
    turned_for_sure = is_flip & (of_flip >= of_object + MARGIN)
    return {
        "is_object": is_object,
        "is_flip": is_flip,
        "is_superposition": superposed,
        "is_novel_copy": turned_for_sure | (is_copy & moved),
    }


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """The normalised product of vectors (N, d), (N); that with a vector of zeros is 0."""
    product = (one * other).sum(1)
    return product / (one.norm(dim=1) * other.norm(dim=1)).clamp_min(1e-12)


def relative_error(estimates: Tensor, objects: Tensor, fourier_shape: Sequence[int]) -> Tensor:
    """|aligned estimate - object| / |object|, (*, n1, n2) -> (*)."""
    square = pr.symmetry.align(estimates, objects, fourier_shape=fourier_shape).error * objects.shape[-2:].numel()
    return (square / objects.abs().square().sum((-2, -1))).sqrt()


def solved_percent(error: Tensor) -> Tensor:
    """The share of objects whose relative error is below `SOLVED`."""
    return 100 * (error < SOLVED).double().mean()


# --- rows of the leaderboard ------------------------------------------------------------------------------------------


def row(
    system: str,
    kind: str,
    runs: Tensor,
    objects: Tensor,
    intensities: Tensor,
    *,
    seconds: float,
    operator: Any = None,
    symmetric: bool = True,
    **about: Any,
) -> Row:
    """Scores of a system; those of single runs, of the run that fits the data best, and of the best run, kept apart.

    Args:
        system: Its name.
        kind: One of `KINDS`.
        runs: (K, N, n1..n2), estimates of K independent runs; of a deterministic system one.
        objects: (N, n1, n2) the truth.
        intensities: (N, m1, m2) what the systems were given.
        seconds: Time for all runs of all items together.
        operator: The measurement. Default: the Fourier transform of the padded object.
        symmetric: Whether the data leave shift and flip open, as those of the far field do; else only the phase is.
        about: Further columns.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    how = {"operator": operator, "freedom": freedom(intensities, symmetric)}
    parts = torch.arange(len(objects)).split(PART)
    judgements = [[judged(run[p], objects[p], intensities[p], **how) for p in parts] for run in runs]
    mse, ssim, residual, raw = (
        torch.stack([torch.cat([part[name] for part in of]) for of in judgements])
        for name in ("mse", "ssim", "residual", "raw_mse")
    )
    kept = apart(mse, residual, mse)
    relative = (kept["by_residual"] / objects.abs().square().mean((-2, -1)).double()).sqrt()
    values = {
        "raw_psnr": decibels(raw).mean(),
        "aligned_psnr": decibels(mse).mean(),
        "aligned_mse": mse.mean(),
        "aligned_ssim": ssim.mean(),
        "best_by_residual_psnr": decibels(kept["by_residual"]).mean(),
        "best_by_oracle_psnr": decibels(kept["oracle"]).mean(),
        "best_by_residual_mse": kept["by_residual"].mean(),
        "success_percent": solved_percent(relative),
        "relative_magnitude_error": apart(residual, residual, mse)["by_residual"].mean(),
    }
    scores = {name: float(f"{float(value):.5g}") for name, value in values.items()}
    cost = {"seconds_per_image": float(f"{seconds / len(objects):.4g}")}
    return {"system": system, "kind": kind, "runs": len(runs), **scores, **cost, **about}


def best_by_residual(runs: Tensor, intensities: Tensor, operator: Any = None) -> Tensor:
    """(K, N, n1, n2) -> (N, n1, n2): the run of each item that fits its data best."""
    fits = torch.stack([_misfit(run, intensities, operator) for run in runs])
    return runs[fits.argmin(0), torch.arange(runs.shape[1])]


def _misfit(estimates: Tensor, intensities: Tensor, operator: Any) -> Tensor:
    return pr.metrics.relative_magnitude_error(estimates, intensities, operator, reduction="none")


def freedom(intensities: Tensor, symmetric: bool) -> dict[str, Any]:
    """What `align` may change: shifts are cyclic on the grid of the intensities."""
    shape = tuple(intensities.shape[-2:]) if symmetric else None
    return {"fourier_shape": shape, "shift": symmetric, "flip": symmetric}
