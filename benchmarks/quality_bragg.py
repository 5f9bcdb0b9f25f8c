"""Strained crystals from one Bragg peak, without truth: how many the schedule "bragg" finds, and what it says of them.

    python -m benchmarks.quality_bragg [--cases flat graded ...] [--seeds 1000 1020] [--spans 2 3.5 5]

Crystals of `phaseret.datasets.strained_crystal`, at most 31 voxels along each axis, in 64^3; their phase spans so many
pi. Counts, at most 1e5 in a pixel unless the case says otherwise. A crystal is found if intersection over union of the
supports is at least 0.97 and the mean absolute error of the phase at most 0.08 rad, after alignment. "accepted" are
those whose error `phaseret.solvers.Enough` takes for explained by counting noise; "false" the ones of them that were
not found. The interval is Wilson's, of 95 %. Seconds are those of the processor, on one core.

Rows that the file has are kept and not done again (those of other commits too: each says its own), so that the seeds
may be cut into parts. The cases:

- flat, wulff: a modulus of 1; polyhedra, and equilibrium shapes.
- dim, bright: 1e4 and 1e6 counts.
- graded, pitted: a modulus that is not flat, as `strained_crystal` has it.
- stop: a beam stop hides a ball of 2 pixels about the strongest one.
- blurred: the intensities by 0.5 pixels, reconstructed with ``coherence="gaussian"``; and blurred, untold without.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from typing import Any

import torch

import phaseret as pr
from benchmarks.shares import interval
from results.provenance import RESULTS, about, commit, write_json

GRID, FILE = (64, 64, 64), RESULTS / "quality_bragg.json"
LEAST_IOU, MOST_PHASE = 0.97, 0.08
# What is made of the crystal, counts at the peak, and what the solver is told.
CASES: dict[str, dict[str, Any]] = {
    "flat": {},
    "wulff": {"kind": "wulff"},
    "dim": {"peak": 1e4},
    "bright": {"peak": 1e6},
    "graded": {"modulus": "graded"},
    "pitted": {"modulus": "pitted"},
    "stop": {"stop": 2},
    "blurred": {"blur": 0.5, "coherence": "gaussian"},
    "blurred, untold": {"blur": 0.5},
}


def crystal(
    seed: int, span: float, *, peak: float = 1e5, stop: int = 0, blur: float = 0, **options: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """The object, its counts, and where they were measured."""
    generator = torch.Generator().manual_seed(seed)
    obj = pr.datasets.strained_crystal(span=span * math.pi, generator=generator, **options)
    intensity = pr.operators.fourier_intensity(obj, GRID)
    if blur:
        k = torch.fft.fftfreq(GRID[0])
        total = k[:, None, None] ** 2 + k[:, None] ** 2 + k**2
        factor = torch.exp(-2 * (math.pi * blur) ** 2 * total)
        intensity = torch.fft.ifftn(torch.fft.fftn(intensity) * factor).real.clamp(min=0)
    counts = pr.noise.poisson_noise(intensity * (peak / intensity.max()), generator=generator)
    if not stop:
        return obj, counts, None
    place = torch.tensor(torch.unravel_index(counts.argmax(), GRID))
    axes = [(torch.arange(m) - p + m // 2) % m - m // 2 for m, p in zip(GRID, place.tolist(), strict=True)]
    radius = sum(axis**2 for axis in torch.meshgrid(*axes, indexing="ij"))
    return obj, counts, torch.as_tensor(radius > stop**2)


def row(case: str, span: float, seed: int) -> dict[str, Any]:
    """One crystal, reconstructed and scored."""
    options = dict(CASES[case])
    told = {"coherence": options.pop("coherence")} if "coherence" in options else {}
    obj, counts, mask = crystal(seed, span, **options)
    began = time.process_time()
    r = pr.solvers.reconstruct(counts, schedule="bragg", mask=mask, constraint="complex", ndim=3, seed=seed, **told)
    seconds = time.process_time() - began
    iou, phase = (float(f(r.obj, obj, ndim=3)) for f in (pr.metrics.iou, pr.metrics.phase_error))
    return {
        "case": case,
        "span / pi": span,
        "seed": seed,
        "voxels": int((obj != 0).sum()),
        "counts": float(counts.sum()),
        "iou": round(iou, 4),
        "phase error": round(phase, 4),
        "misfit": round(float(r.misfit), 3),
        "starts": int(r.errors.isfinite().sum()),
        "found": iou >= LEAST_IOU and phase <= MOST_PHASE,
        "accepted": bool(pr.solvers.Enough().explained(r.error, r.expected)),
        "seconds": round(seconds, 1),
        "commit": commit(),
    }


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line for each case and span."""
    lines = []
    for key in dict.fromkeys((row["case"], row["span / pi"]) for row in rows):
        own = [row for row in rows if (row["case"], row["span / pi"]) == key]
        found = sum(row["found"] for row in own)
        accepted = [row for row in own if row["accepted"]]
        medians = {
            name: round(float(torch.tensor([row[name] for row in own]).double().quantile(0.5)), 4)
            for name in ("iou", "phase error", "misfit")
        }
        lines.append(
            {
                "case": key[0],
                "span / pi": key[1],
                "crystals": len(own),
                "found": found,
                "interval": interval(found, len(own)),
                **{f"median {name}": value for name, value in medians.items()},
                "accepted": len(accepted),
                "false": sum(not row["found"] for row in accepted),
                "mean seconds": round(sum(row["seconds"] for row in own) / len(own), 1),
                "most seconds": max(row["seconds"] for row in own),
            }
        )
    return lines


def keep(new: list[dict[str, Any]]) -> None:
    """Add rows to the file."""
    keys = ("case", "span / pi", "seed")
    merged = {tuple(row[key] for key in keys): row for row in [*kept(), *new]}
    order = {case: place for place, case in enumerate(CASES)}
    rows = [merged[key] for key in sorted(merged, key=lambda key: (order[key[0]], *key[1:]))]
    write_json(FILE, about("python -m benchmarks.quality_bragg") | {"rows": summary(rows), "crystals": rows})


def kept() -> list[dict[str, Any]]:
    """The crystals that the file has."""
    found: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["crystals"] if FILE.exists() else []
    return found


def main() -> None:
    """Reconstruct what the file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=[*CASES], help="default: all")
    parser.add_argument("--seeds", nargs=2, type=int, default=(1000, 1020), metavar=("FIRST", "END"))
    parser.add_argument("--spans", nargs="+", type=float, default=(2.0, 3.5, 5.0), help="in units of pi")
    parser.add_argument("--again", action="store_true", help="do rows again that the file has")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    before = [] if options.again else kept()
    done = {(row["case"], row["span / pi"], row["seed"]) for row in before}
    rows = []
    for seed in range(*options.seeds):
        for case in options.cases:
            for span in options.spans:
                if (case, span, seed) not in done:
                    rows.append(row(case, span, seed))
                    print(rows[-1], flush=True)
                    keep(rows)
    for line in summary(kept()):
        print(line)


if __name__ == "__main__":
    main()
