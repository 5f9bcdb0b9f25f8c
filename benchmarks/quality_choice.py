"""Which start is the result? Rules of choosing one, or several, compared on the same starts of the default recipe.

    PHASERET_DATA_DIR=... python -m benchmarks.quality_choice [digits framed faces photos camera] [--starts FOLDER]

The objects fill a known box, or nearly, and are non-negative: test digits of MNIST, 28 x 28 (16) and in a frame of
32 x 32 (5), faces of 25 x 25 (8), photographs of 64 x 64 (4) and one of 128 x 128 pixels, the last three from
scikit-image. Each is measured without noise, with Gaussian noise of 0.02 to 0.1 on the magnitudes (values up to 1,
unitary transform), and with 1e3 to 1e6 photons: 210 patterns, 12 starts each. All rules see these starts:

- best own: the start nearest to the object, which nobody knows without it;
- returned: what `reconstruct` gives;
- Akaike, Bayes, residual: the start with the least 2 ln R + 2 k / N, 2 ln R + k ln(N) / N, ln R.

PSNR in dB after alignment, at most 60; for each rule the mean, the most that a pattern lies below its best own start,
and how many lie more than 3 dB below it. The starts of each set are kept in --starts (default: a folder
`quality_choice` among temporary files): an interrupted run of one commit goes on, and another rule costs no solving.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import phaseret as pr
from results.provenance import commit, save

MOST, EXACT, FAR = 60.0, 1e-6, 3.0
GAUSSIAN, PHOTONS = (0.0, 0.02, 0.05, 0.1), (1e3, 1e4, 1e5, 1e6)
Noise = tuple[str, float]
ALL: list[Noise] = [("Gaussian", level) for level in GAUSSIAN] + [("photons", level) for level in PHOTONS]
SOME: list[Noise] = [("Gaussian", 0.0), ("Gaussian", 0.05)]


def digits(count: int) -> Tensor:
    """Test digits from the 5000th on, in [0, 1]."""
    folder = os.environ.get("PHASERET_DATA_DIR")
    root = Path(folder) / "mnist" if folder else None
    return pr.datasets.mnist(root=root, train=False)[5000 : 5000 + count]


def faces() -> Tensor:
    """Eight faces, 25 x 25."""
    import skimage.data

    return torch.from_numpy(np.ascontiguousarray(skimage.data.lfw_subset()[:96:12])).float()


def photos(size: int, *names: str) -> Tensor:
    """The middle square of photographs, in grey values from 0 to 1."""
    import skimage.data

    images = []
    for name in names:
        x = torch.from_numpy(np.asarray(getattr(skimage.data, name)(), dtype=np.float32)) / 255
        x = x.mean(-1) if x.ndim == 3 else x
        top, left = ((n - min(x.shape)) // 2 for n in x.shape)
        x = x[top : top + min(x.shape), left : left + min(x.shape)]
        images.append(torch.nn.functional.interpolate(x[None, None], (size, size), mode="area")[0, 0])
    return torch.stack(images)


# Name -> the objects, the sides of the data, the noises.
SETS: dict[str, tuple[Callable[[], Tensor], int, list[Noise]]] = {
    "digits": (lambda: digits(16), 64, [*ALL[:4], ("photons", 1e3), ("photons", 1e4)]),
    "framed": (lambda: torch.nn.functional.pad(digits(5), (2, 2, 2, 2)), 64, [*SOME, ("photons", 1e4)]),
    "faces": (faces, 64, ALL),
    "photos": (lambda: photos(64, "camera", "moon", "cell", "retina"), 128, ALL),
    "camera": (lambda: photos(128, "camera"), 256, [*SOME, ("photons", 1e5)]),
}


def measure(obj: Tensor, size: int, kind: str, level: float) -> Tensor:
    """Intensities with Gaussian noise on the magnitudes, or with so many photons a pattern."""
    clean = pr.operators.fourier_intensity(obj, (size, size))
    generator = torch.Generator().manual_seed(0)
    if kind == "Gaussian":
        return (clean.sqrt() + level * torch.randn(clean.shape, generator=generator)).clamp(min=0).square()
    unit = clean.sum((-2, -1), keepdim=True) / level
    return torch.poisson(clean / unit, generator=generator) * unit


def solved(obj: Tensor, intensity: Tensor, file: Path) -> dict[str, Tensor]:
    """The result and all starts of each pattern, from the file if a run of this commit wrote them there."""
    if file.exists() and (kept := torch.load(file))["commit"] == commit():
        return kept["found"]  # type: ignore[no-any-return]
    box = torch.ones(obj.shape[1:], dtype=torch.bool)
    r = pr.solvers.reconstruct(intensity, support=box, constraint="nonnegative")
    found = {"obj": r.obj, "objs": r.objs, "errors": r.errors, "averaged": r.averaged}
    temporary = file.with_suffix(".part")
    torch.save({"commit": commit(), "found": found}, temporary)
    temporary.replace(file)
    return found


def psnr(estimate: Tensor, obj: Tensor) -> Tensor:
    """Of each item, after alignment."""
    return pr.metrics.psnr(estimate.contiguous(), obj, reduction="none").clamp(max=MOST)


def judged(obj: Tensor, size: int, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The PSNR of each pattern by each rule."""
    objs, errors = found["objs"], found["errors"].clamp(min=EXACT)
    single = psnr(objs.flatten(0, 1), obj[:, None].expand_as(objs).flatten(0, 1)).reshape(errors.shape)
    pixels = (objs != 0).flatten(2).sum(2)
    data = min(size**2, math.prod(2 * n - 1 for n in obj.shape[1:])) / 2
    criteria = {
        "Akaike": 2 * errors.log() + 2 * pixels / data,
        "Bayes": 2 * errors.log() + pixels * math.log(data) / data,
        "residual": errors,
    }
    chosen = {name: single.gather(1, value.argmin(1, keepdim=True))[:, 0] for name, value in criteria.items()}
    return {"best own": single.amax(1), "returned": psnr(found["obj"], obj), **chosen}


def entry(objects: str, noise: str, of: dict[str, Tensor], averaged: Tensor) -> dict[str, Any]:
    """A row of the table."""
    row: dict[str, Any] = {"objects": objects, "noise": noise, "patterns": len(averaged)}
    for name, value in of.items():
        below = of["best own"] - value
        row[name] = round(float(value.mean()), 2)
        if name != "best own":
            row[f"{name}, most below"] = round(float(below.max()), 2)
            row[f"{name}, more than {FAR:g} dB below"] = int((below > FAR).sum())
    return {**row, "starts in the mean": round(float(averaged.mean()), 1)}


def rows(names: list[str], folder: Path) -> Iterator[dict[str, Any]]:
    """One for each set and noise, and at last one for all patterns."""
    parts: list[tuple[dict[str, Tensor], Tensor]] = []
    for name in names:
        make, size, noises = SETS[name]
        obj = make()
        for kind, level in noises:
            noise = f"{kind} {level:g}" if level else "none"
            found = solved(obj, measure(obj, size, kind, level), folder / f"{name}_{kind}_{level:g}.pt")
            parts.append((judged(obj, size, found), found["averaged"].sum(1).double()))
            yield entry(name, noise, *parts[-1])
    together = {rule: torch.cat([of[rule] for of, _ in parts]) for rule in parts[0][0]}
    yield entry("all", "all", together, torch.cat([averaged for _, averaged in parts]))


def main() -> None:
    """Solve what is not kept, compare, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; default: all")
    parser.add_argument("--starts", type=Path, default=Path(tempfile.gettempdir()) / "quality_choice")
    options = parser.parse_args()
    if unknown := [name for name in options.sets if name not in SETS]:
        parser.error(f"there is no set {unknown[0]}")
    if not os.environ.get("PHASERET_DATA_DIR"):
        print("quality_choice: skipped, PHASERET_DATA_DIR does not name the data folder")
        return
    options.starts.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    table = []
    with torch.no_grad():
        for row in rows(options.sets or list(SETS), options.starts):
            table.append(row)
            figures = itertools.islice(row.items(), 3, None)
            print(f"{row['objects']:8}{row['noise']:>14}: " + ", ".join(f"{k} {v}" for k, v in figures), flush=True)
    save("quality_choice", table, options.sets)


if __name__ == "__main__":
    main()
