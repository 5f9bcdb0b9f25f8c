"""``phaseret compare``: two objects, or two stacks of them, each pair after its alignment."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, metrics, plotting, symmetry
from phaseret.cli._commands import Compare
from phaseret.cli._files import Writes, split
from phaseret.cli._messages import as_json, typed
from phaseret.io._parts import named_object
from phaseret.symmetry._search import on_grid

# The scores of a pair that have a mean over the pairs of a stack.
_AVERAGED = ("relative_error", "correlation", "psnr", "ssim", "resolution_half")


class Command(Writes, Compare):
    """``phaseret compare``."""

    def run(self) -> None:
        """Print the scores, and draw the pair."""
        self.check()
        a, source_a, said_a = _object("A", self.estimate)
        b, source_b, said_b = _object("B", self.object)
        ndim = self._axes(a, b, said_a, said_b)
        pairs = _pairs(a, b, ndim)
        if dark := [number for number, (_, obj) in enumerate(pairs) if not bool(obj.any())]:
            which = ", ".join(map(str, dark[:5])) + ", ..." * (len(dark) > 5)
            fix = "Leave these items out of both: nothing can be compared with them"
            _checks.fail(f"B must not be 0 everywhere, got items that are: {which} of {self.object}", fix)
        found = [_scores(*pair) for pair in pairs]
        worst = min(range(len(pairs)), key=lambda item: found[item]["correlation"])
        sources = {"a": source_a, "b": source_b}
        self.draw(plotting.plot_comparison, *pairs[worst], ndim=ndim)
        if a.ndim == b.ndim == ndim:
            print(as_json(sources | found[0]) if self.json else _comparison(sources | found[0]))
            return
        mean = {name: sum(s[name] for s in found) / len(found) for name in _AVERAGED if name in found[0]}
        stack = sources | {"ndim": ndim, "mean": mean, "items": found}
        print(as_json(stack) if self.json else _comparisons(stack))
        if self.figure and not self.json:
            print(f"{'figure':18}pair {worst}, the least alike")

    def _axes(self, a: Tensor, b: Tensor, *said: int | None) -> int:
        """The number of axes of one object: as typed, as the files say, else 2, which is told."""
        known, fewest = {ndim for ndim in said if ndim is not None}, min(a.ndim, b.ndim)
        if self.ndim is not None:
            if _checks.item_axes(self.ndim) > fewest:
                shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
                _checks.fail(f"ndim must be at most the axes of A and B, {shapes}, got {self.ndim}", "Choose fewer")
            return self.ndim
        if len(known) > 1:
            one, other = said
            _checks.fail(f"ndim must be given where objects of A have {one} axes, of B {other}", "Use ndim=2 or ndim=3")
        if known:
            return min(*known, fewest)
        what = f"A and B with the shapes {tuple(a.shape)} and {tuple(b.shape)} were compared as stacks of pictures"
        _checks.warn(what, "If they are volumes, use ndim=3")
        return 2


def _object(place: str, file: str) -> tuple[Tensor, str, int | None]:
    """The object in a file, where it was found, and the number of its axes."""
    path, key = split(file)
    with typed(place):
        obj, name, ndim = named_object(path, key)
    fix = "Choose another file or another array, as FILE::KEY"
    if not bool(obj.isfinite().all()):
        _checks.fail(f"{place} must be finite, got {file} with NaN or infinity", fix)
    if not bool(obj.any()):
        _checks.fail(f"{place} must not be 0 everywhere, got {file}", fix)
    return obj, f"{file}: the object that this pattern was made from, {name}" if name else file, ndim


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
        "relative_error": math.sqrt(float(found.error) * math.prod(found.symmetry.object_shape) / (norm or 1.0)),
        "correlation": inner,
        "psnr": float(metrics.psnr(*moduli, data_range=range_, align=False, ndim=ndim)),
        "resolution_half": float(metrics.resolution(curve, criterion=0.5)),
        "frc": {"frequency": curve.frequency.tolist(), "value": curve.value.tolist()},
    }
    if min(obj.shape) >= 11:
        scores["ssim"] = float(metrics.ssim(*moduli, data_range=range_, align=False, ndim=ndim))
    return scores


def _pairs(a: Tensor, b: Tensor, ndim: int) -> list[tuple[Tensor, Tensor]]:
    """The objects that are compared with each other; where one of both is no stack, it is for all of the other."""
    (many_a, many_b), shapes = (x.shape[:-ndim] for x in (a, b)), f"{tuple(a.shape)} and {tuple(b.shape)}"
    if ndim > 3:
        rule = f"A and B must be objects of one to three axes, got {shapes} with ndim={ndim}"
        _checks.fail(rule, "Name arrays that belong together, as FILE::KEY, or use ndim=")
    if many_a and many_b and many_a != many_b:
        counts = " and ".join(" x ".join(map(str, many)) for many in (many_a, many_b))
        rule = f"A and B must be stacks of as many objects, or one of them a single object, got {counts} objects"
        fix = f"Name arrays that belong together, as FILE::KEY, or use ndim= where {ndim} is not the axes of one object"
        _checks.fail(f"{rule}, of the shapes {shapes}", fix)
    batch = many_a or many_b
    items = [x.expand(*batch, *x.shape[-ndim:]).reshape(-1, *x.shape[-ndim:]) for x in (a, b)]
    return [_same_shape(*pair) for pair in zip(*items, strict=True)]


def _same_shape(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both with zeros at the end, to the larger size of each axis, but where one is laid out on the grid."""
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


def _comparisons(stack: dict[str, Any]) -> str:
    """A row for each pair, and one for their mean."""
    names = [name for name in _AVERAGED if name in stack["mean"]]
    words = [name.replace("_half", "").replace("_", " ") for name in names]
    rows = [("pair", words)]
    for item, scores in [*enumerate(stack["items"]), ("mean", stack["mean"])]:
        rows.append((str(item), [f"{scores[name]:.4g}" for name in names]))
    lines = [f"{name:18}{stack[name.lower()]}" for name in "AB"]
    lines.append(f"{'compared':18}{len(stack['items'])} pairs of objects with {stack['ndim']} axes")
    return "\n".join(lines + [f"{name:18}{''.join(f'{value:16}' for value in row)}".rstrip() for name, row in rows])
