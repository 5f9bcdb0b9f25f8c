"""One row of the leaderboard: every system of every protocol is judged by this function alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import phaseret as pr
from paper.experiment import Row
from paper.scoring import as_pixels

SOLVED = 0.05  # aligned relative error below which an object counts as solved
KINDS = ("classical", "learned", "untrained")
PART = 250  # items that are aligned at a time


def row(
    system: str,
    kind: str,
    runs: Tensor | Sequence[Tensor],
    objects: Tensor,
    intensities: Tensor,
    *,
    seconds: float,
    operator: Any = None,
    fourier_shape: Sequence[int] | None = None,
    symmetric: bool = True,
    data_range: float = 1.0,
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
        fourier_shape: Grid on which shifts are cyclic. Default: that of the intensities.
        symmetric: Whether the data leave shift and flip open, as those of the far field do; else only the phase is.
        data_range: Span of the object's values, for PSNR and SSIM.
        about: Further columns.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    runs = torch.stack([*runs])
    shape = tuple(intensities.shape[-2:]) if fourier_shape is None else tuple(fourier_shape)
    freedom = {"fourier_shape": shape if symmetric else None, "shift": symmetric, "flip": symmetric}
    mse, ssim, residual, raw = (torch.empty(runs.shape[:2], dtype=torch.float64) for _ in range(4))
    for number, estimates in enumerate(runs):
        for part in torch.arange(len(objects)).split(PART):
            estimate, obj, at = estimates[part], objects[part], (number, part)
            found = pr.symmetry.align(estimate, obj, **freedom)
            mse[at] = found.error.double()
            aligned, truth = (x.abs() if objects.is_complex() else x for x in (found.aligned, obj))
            ssim[at] = pr.metrics.ssim(aligned, truth, align=False, data_range=data_range, reduction="none").double()
            raw[at] = (estimate - obj).abs().square().mean((-2, -1)).double()
            residual[at] = pr.metrics.relative_magnitude_error(
                estimate, intensities[part], operator, reduction="none"
            ).double()
    chosen = residual.argmin(0, keepdim=True)
    by_residual, oracle = mse.gather(0, chosen)[0], mse.amin(0)
    relative = (by_residual / objects.abs().square().mean((-2, -1)).double()).sqrt()
    values = {
        "raw_psnr": psnr(raw, data_range),
        "aligned_psnr": psnr(mse, data_range),
        "aligned_mse": mse.mean(),
        "aligned_ssim": ssim.mean(),
        "best_by_residual_psnr": psnr(by_residual, data_range),
        "best_by_oracle_psnr": psnr(oracle, data_range),
        "best_by_residual_mse": by_residual.mean(),
        "success_percent": 100 * (relative < SOLVED).double().mean(),
        "relative_magnitude_error": residual.gather(0, chosen).mean(),
    }
    scores = {name: float(f"{float(value):.5g}") for name, value in values.items()}
    cost = {"seconds_per_image": float(f"{seconds / len(objects):.4g}")}
    return {"system": system, "kind": kind, "runs": len(runs), **scores, **cost, **about}


def psnr(mse: Tensor, data_range: float) -> Tensor:
    """Mean decibels; an exact estimate counts with 120 dB, about what single precision can tell."""
    return 10 * (data_range**2 / mse.clamp_min(1e-12 * data_range**2)).log10().mean()


def best_by_residual(runs: Tensor | Sequence[Tensor], intensities: Tensor, operator: Any = None) -> Tensor:
    """(K, N, n1, n2) -> (N, n1, n2): of the runs of each item the one that fits its data best."""
    runs = torch.stack([*runs])
    fits = [pr.metrics.relative_magnitude_error(run, intensities, operator, reduction="none") for run in runs]
    return runs[torch.stack(fits).argmin(0), torch.arange(runs.shape[1])]


def shown(estimates: Tensor, objects: Tensor, fourier_shape: Sequence[int] | None, symmetric: bool = True) -> Any:
    """Aligned estimates (their moduli) of the objects given, as bytes."""
    freedom = {"fourier_shape": fourier_shape if symmetric else None, "shift": symmetric, "flip": symmetric}
    return as_pixels(pr.symmetry.align(estimates, objects, **freedom).aligned.abs())
