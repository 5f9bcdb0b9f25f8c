"""How an estimate is judged, and how the scores of several runs are kept apart."""

from __future__ import annotations

import math
import warnings
from typing import Any

from torch import Tensor

from phaseret import metrics, symmetry

# The scores of a run, as far as they are for its object.
OTHERS = ("ssim", "correlation", "residual", "iou", "phase_error")
SCORES = ("psnr", "raw_psnr", "error", *OTHERS)
#: Aligned relative error below which an object counts as solved.
SOLVED = 0.05
# The error of an exact estimate, about what single precision can tell: 120 dB.
_EXACT = 1e-12
# The width of the window of the structural similarity.
_WINDOW = 11


def judged(
    estimate: Tensor,
    obj: Tensor,
    intensity: Tensor,
    *,
    ndim: int = 2,
    operator: Any = None,
    mask: Tensor | None = None,
    freedom: dict[str, Any],
) -> dict[str, Tensor]:
    """Scores of estimates (*, n1..nd), one value of each for each item.

    "mse" and "ssim" (of moduli, where objects are complex) and "correlation" after alignment, "raw_mse" without, and
    "residual", which needs no truth: the relative magnitude error; of complex volumes the "iou" of the supports and the
    "phase_error" too. `freedom` says what alignment may change.
    """
    axes = tuple(range(-ndim, 0))
    found = symmetry.align(estimate, obj, ndim=ndim, **freedom)
    still = {**freedom, "shift": False, "flip": False, "phase": False}
    aligned, truth = (x.abs() if obj.is_complex() else x for x in (found.aligned, obj))
    peak = truth.amax(axes, keepdim=True) if freedom.get("scale") else truth.new_ones(())
    product = (found.aligned * obj.conj()).sum(axes).abs()
    norms = found.aligned.abs().square().sum(axes) * obj.abs().square().sum(axes)
    scores = {
        "mse": found.error / peak.reshape(-1).square() if freedom.get("scale") else found.error,
        "raw_mse": symmetry.align(estimate, obj, ndim=ndim, **still).error,
        "correlation": product / norms.sqrt().clamp_min(_EXACT),
        "residual": metrics.relative_magnitude_error(estimate, intensity, operator, mask=mask, reduction="none"),
    }
    if min(obj.shape[obj.ndim - ndim :]) >= _WINDOW:
        scores["ssim"] = metrics.ssim(aligned / peak, truth / peak, align=False, ndim=ndim, reduction="none")
    if ndim == 3 and obj.is_complex():
        parts = estimate, obj
        scores["iou"] = metrics.iou(*parts, ndim=ndim, reduction="none")
        scores["phase_error"] = metrics.phase_error(*parts, ndim=ndim, reduction="none").nan_to_num(math.pi)
    return {name: value.double() for name, value in scores.items()}


def decibels(mse: Tensor) -> Tensor:
    """PSNR of values between 0 and 1; an exact estimate counts with 120 dB, about what single precision can tell."""
    return -10 * mse.clamp_min(_EXACT).log10()


def apart(values: Tensor, residual: Tensor, error: Tensor) -> dict[str, Tensor]:
    """Values (K, N) of K runs: all, those of the run of each item with the least residual, and with the least error."""
    by_residual, oracle = (least.argmin(0, keepdim=True) for least in (residual, error))
    return {"single": values, "by_residual": values.gather(0, by_residual), "oracle": values.gather(0, oracle)}


class Quiet(warnings.catch_warnings):
    """Nothing is said of data that do not determine their object, nor of starts that disagree: the scores say it."""

    def __enter__(self) -> None:
        """Hear no warning from here on."""
        super().__enter__()
        warnings.simplefilter("ignore")
