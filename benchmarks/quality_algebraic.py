"""How many objects the exact solver finds, how exactly, how fast, and whether it is ever wrong in saying "unique".

    PHASERET_DATA_DIR=... python -m benchmarks.quality_algebraic [SET ...] [--share 0.1] [--kept FOLDER]

Objects are cropped to their boxes and measured on 64 x 64 pixels (or the least even grid that holds them) in double
precision; the solver is told nothing but whether they are real. "solved" is a relative error of at most 1e-8 (noise: of
at most 0.01) up to flip and phase, with its 95 % interval; a verdict "unique" is false where the image is another one,
and for products always, for they have rivals. Seconds are those of the processor, on one core, with all steps.
What is solved is kept, item by item, in --kept: an interrupted run goes on. A row says how many items it has, and from
which commits they are.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import phaseret as pr
from benchmarks.shares import interval
from results.provenance import commit, save

EXACT, NOISY, DIFFERENT = 1e-8, 0.01, 1e-3


def draw(index: int) -> torch.Generator:
    return torch.Generator().manual_seed(index)


def uniform(index: int, *shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=draw(index))


def with_phase(obj: Tensor, index: int) -> Tensor:
    """Any phase for each pixel."""
    return torch.polar(obj, 2 * math.pi * uniform(index + 10**6, *obj.shape))


def digit(index: int) -> Tensor:
    """A test digit of MNIST in its box, as grey values over 255."""
    x = _digits()[index % 10000].double()
    rows, columns = (x != 0).nonzero().unbind(1)
    return x[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


_loaded: list[Tensor] = []


def _digits() -> Tensor:
    if not _loaded:
        folder = os.environ.get("PHASERET_DATA_DIR")
        _loaded.append(pr.datasets.mnist(root=Path(folder) / "mnist" if folder else None, train=False))
    return _loaded[0]


def product(index: int, *, real: bool) -> Tensor:
    """Two random factors of 4 to 9 pixels."""
    a, b, c, d = torch.randint(4, 10, (4,), generator=draw(index)).tolist()
    first, second = uniform(index + 2, a, b), uniform(index + 3, c, d)
    if not real:
        first, second = with_phase(first, index), with_phase(second, index + 7)
    shape = (a + c - 1, b + d - 1)
    obj = torch.fft.ifft2(torch.fft.fft2(first, s=shape) * torch.fft.fft2(second, s=shape))
    return obj.real if real else obj


def symmetrised(index: int) -> Tensor:
    """A digit and its mirror image in one axis, the other, or both."""
    x = digit(index)
    return x + x.flip(((0,), (1,), (0, 1))[index % 3])


def gaussian(index: int) -> Tensor:
    """Oblique Gaussians of widths from 1 to 5 pixels in boxes of 20 x 20."""
    w1, w2, tilt, y, x = uniform(index, 5).tolist()
    rows, columns = (torch.arange(20.0, dtype=torch.float64) - 9 - part for part in (y, x))
    rows, columns = rows[:, None] / (1 + 4 * w1), columns / (1 + 4 * w2)
    return torch.exp(-(rows**2 + columns**2 + tilt * rows * columns) / 2)


def faint(index: int) -> Tensor:
    """Random objects of 16 x 16 pixels in a border from 1e-1 to 1e-5 of them."""
    x = uniform(index, 16, 16)
    level = 10.0 ** -(1 + 4 * float(uniform(index + 1, 1)))
    border = torch.ones(16, 16, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    return torch.where(border, level * x, x)


# Name -> the objects by index, how many, photons (0: no noise), or a function of the index that gives them.
Photons = float | Callable[[int], float]
SETS: dict[str, tuple[Callable[[int], Tensor], int, Photons]] = {
    "digits, real": (digit, 1000, 0),
    "digits, complex": (lambda i: with_phase(digit(i), i), 200, 0),
    "random 28 x 28, real": (lambda i: uniform(i, 28, 28), 20, 0),
    "random 28 x 28, complex": (lambda i: with_phase(uniform(i, 28, 28), i), 10, 0),
    "random 40 x 40, real": (lambda i: uniform(i, 40, 40), 5, 0),
    "products, real": (lambda i: product(i, real=True), 150, 0),
    "products, complex": (lambda i: product(i, real=False), 50, 0),
    "symmetrised digits": (symmetrised, 200, 0),
    "Gaussians": (gaussian, 200, 0),
    "faint borders": (faint, 200, 0),
    "noisy digits": (digit, 200, lambda i: 10.0 ** (8 + 6 * float(uniform(i, 1)))),
    **{f"digits, real, {n:.0e} photons": (digit, 60, n) for n in (1e14, 1e13, 1e12, 1e11, 1e10)},
    **{
        f"digits, complex, {n:.0e} photons": (lambda i: with_phase(digit(i), i), 60, n)
        for n in (1e14, 1e13, 1e12, 1e11, 1e10)
    },
}


def distance(found: Tensor, obj: Tensor) -> float:
    """Relative, up to flip and phase, of an image in the corner of the grid."""
    shape, norm = obj.shape, found.abs().square().sum()
    found = found[: shape[0], : shape[1]]
    if norm - found.abs().square().sum() > DIFFERENT * norm:
        return math.inf
    errors = []
    for image in (found, found.flip(0, 1).conj()):
        inner = (image.conj() * obj).sum()
        errors.append(float((image * inner / inner.abs() - obj).norm() / obj.norm()))
    return min(errors)


def solve(obj: Tensor, photons: float, index: int) -> dict[str, Any]:
    """An item: its error, verdict and seconds."""
    grid = [max(64, 2 * n) for n in obj.shape]
    intensity = pr.operators.fourier_intensity(obj, grid)
    if photons:
        unit = intensity.sum() / photons
        intensity = torch.poisson(intensity / unit, generator=draw(index)) * unit
    began = time.process_time()
    result = pr.solvers.algebraic(intensity, constraint="complex" if obj.is_complex() else "real")
    seconds = time.process_time() - began
    assert result.verdict is not None
    assert result.sigma is not None
    found = {"error": distance(result.obj, obj), "verdict": result.verdict[0], "sigma": result.sigma.tolist()}
    return {**found, "seconds": seconds, "commit": commit()}


def entry(name: str, items: list[dict[str, Any]]) -> dict[str, object]:
    """A row of the table."""
    noisy, count = "photons" in name or "noisy" in name, len(items)
    limit = NOISY if noisy else EXACT
    errors = sorted(item["error"] for item in items)
    seconds = sorted(item["seconds"] for item in items)
    solved, unique = sum(e <= limit for e in errors), [item for item in items if item["verdict"] == "unique"]
    wrong = len(unique) if "products" in name else sum(item["error"] > max(limit, DIFFERENT) for item in unique)
    return {
        "objects": name,
        "items": count,
        "solved": solved,
        "solved, 95 %": interval(solved, count, digits=4),
        "error, median": errors[count // 2],
        "error, largest": errors[-1],
        "seconds, median": round(seconds[count // 2], 3),
        "seconds, largest": round(seconds[-1], 3),
        "verdicts": {word: sum(i["verdict"] == word for i in items) for word in ("unique", "several", "unknown")},
        "false unique": wrong,
        "sigma_2, least": min(item["sigma"][1] for item in items),
        "commits": sorted({item["commit"] for item in items}),
    }


def items(name: str, share: float, folder: Path) -> list[dict[str, Any]]:
    """Those of a set; what is kept is not solved again."""
    make, count, photons = SETS[name]
    path = folder / f"{name}.jsonl"
    kept = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    with path.open("a") as file:
        for i in range(len(kept), max(1, round(count * share))):
            kept.append(solve(make(i), photons(i) if callable(photons) else photons, i))
            file.write(json.dumps(kept[-1]) + "\n")
            file.flush()
    return kept


def main() -> None:
    """Solve what is not kept, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {'; '.join(SETS)}; default: all")
    parser.add_argument("--share", type=float, default=1.0, help="share of the items; default: all")
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "quality_algebraic")
    options = parser.parse_args()
    if unknown := [name for name in options.sets if name not in SETS]:
        parser.error(f"there is no set {unknown[0]}")
    if not os.environ.get("PHASERET_DATA_DIR"):
        print("quality_algebraic: skipped, PHASERET_DATA_DIR does not name the data folder")
        return
    options.kept.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    for name in options.sets or SETS:
        rows.append(entry(name, items(name, options.share, options.kept)))
        print(json.dumps(rows[-1]), flush=True)
        share = [] if options.share == 1 else ["--share", f"{options.share:g}"]
        save("quality_algebraic", rows, [*(f'"{name}"' for name in options.sets), *share])


if __name__ == "__main__":
    main()
