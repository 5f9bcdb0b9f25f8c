"""``phaseret compare``: two objects, after their alignment."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, metrics, plotting, symmetry
from phaseret.cli._commands import Compare
from phaseret.cli._files import Writes, split
from phaseret.cli._messages import as_json, typed
from phaseret.io._load import named_object
from phaseret.symmetry._search import on_grid


class Command(Writes, Compare):
    """``phaseret compare``."""

    def run(self) -> None:
        """Print the scores, and draw the pair."""
        self.check()
        a, source_a = _object("A", self.estimate)
        b, source_b = _object("B", self.object)
        estimate, obj = _same_shape(a, b)
        scores = {"a": source_a, "b": source_b} | _scores(estimate, obj)
        self.draw(plotting.plot_comparison, estimate, obj, ndim=obj.ndim)
        print(as_json(scores) if self.json else _comparison(scores))


def _object(place: str, file: str) -> tuple[Tensor, str]:
    """The object in a file, and where it was found."""
    path, key = split(file)
    with typed(place):
        obj, name = named_object(path, key)
    if not bool(obj.isfinite().all()) or not bool(obj.any()):
        fix = "Choose another file or another array, as FILE::KEY"
        _checks.fail(f"{place} must be finite, and above 0 somewhere, got {file}", fix)
    return obj, f"{file}: the object that this pattern was made from, {name}" if name else file


def _scores(estimate: Tensor, obj: Tensor) -> dict[str, Any]:
    """How far the estimate is from the object after their alignment."""
    ndim = obj.ndim
    found = symmetry.align(estimate, obj, ndim=ndim, phase=True, scale=True)
    aligned = found.aligned
    obj = obj.to(aligned.dtype)
    curve = metrics.frc(aligned, obj, align=False, ndim=ndim)
    moduli = (aligned.abs(), obj.abs()) if obj.is_complex() else (aligned, obj)
    range_ = float(moduli[1].max() - moduli[1].min()) or 1.0
    norm = float(obj.abs().square().sum())
    inner = float((aligned.conj() * obj).sum().abs()) / (math.sqrt(norm * float(aligned.abs().square().sum())) or 1.0)
    scores = {
        "shift": found.shifts.tolist(),
        "flipped": bool(found.flipped),
        "phase": float(found.phase),
        "scale": float(found.scale),
        "relative_error": math.sqrt(float(found.error) * math.prod(found.symmetry.object_shape) / norm),
        "correlation": inner,
        "psnr": float(metrics.psnr(*moduli, data_range=range_, align=False, ndim=ndim)),
        "resolution_half": float(metrics.resolution(curve, criterion=0.5)),
        "frc": {"frequency": curve.frequency.tolist(), "value": curve.value.tolist()},
    }
    if min(obj.shape) >= 11:
        scores["ssim"] = float(metrics.ssim(*moduli, data_range=range_, align=False, ndim=ndim))
    return scores


def _same_shape(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both with zeros at the end, to the larger size of each axis, but where one is laid out on the grid."""
    if a.ndim != b.ndim or a.ndim > 3:
        shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
        rule = f"A and B must be single objects with equally many axes, one to three, got {shapes}"
        _checks.fail(rule, "Save one object of a stack")
    shape = [max(sizes) for sizes in zip(a.shape, b.shape, strict=True)]
    dtype = torch.promote_types(a.dtype, b.dtype)
    if a.shape != b.shape and on_grid(tuple(a.shape), tuple(b.shape)):
        return a.to(dtype), b.to(dtype)
    padded = [x.new_zeros(shape, dtype=dtype) for x in (a, b)]
    for x, place in zip((a, b), padded, strict=True):
        place[tuple(slice(n) for n in x.shape)] = x
    return padded[0], padded[1]


def _comparison(scores: dict[str, Any]) -> str:
    rows = [
        ("A", scores["a"]),
        ("B", scores["b"]),
        ("removed", f"shift {tuple(scores['shift'])}, {'flip, ' * scores['flipped']}phase {scores['phase']:.4g} rad, "
         f"factor {scores['scale']:.6g}"),
        ("relative error", f"{scores['relative_error']:.4g}"),
        ("correlation", f"{scores['correlation']:.4f}"),
        ("psnr", f"{scores['psnr']:.2f} dB"),
    ]  # fmt: skip
    if "ssim" in scores:
        rows.append(("ssim", f"{scores['ssim']:.4f}"))
    rows.append(("resolution", f"{scores['resolution_half']:.3g} pixels (ring correlation above 0.5)"))
    return "\n".join(f"{name:18}{value}" for name, value in rows)
