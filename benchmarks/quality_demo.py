"""Why the demo trains the network that it trains: images per second without matrix units, and decibels over seeds.

    python -m benchmarks.quality_demo [--jobs 2] [--seeds 3]

Images per second are those of training steps with the passive loss on one thread: with all that the processor has, with
AVX-512 but no bfloat16 or matrix units, and with AVX2 alone. Trainings are those of ``make demo``; finished ones are
found again in runs/quality_demo.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import phaseret as pr
from benchmarks.timing import compare
from experiments import digits
from experiments.end_to_end import PRESETS
from experiments.fit import quiet_lightning
from experiments.objectives import OBJECTIVES
from experiments.store import run_all
from results.provenance import save

DEMO = PRESETS["demo"]
FULL = digits.DEFAULTS["channels"]
NETWORKS = {
    "as in the paper's presets": {"channels": FULL},
    "the same, bfloat16": {"channels": FULL, "bfloat16": True},
    "half the channels": {"channels": [width // 2 for width in FULL]},
    "half the channels, bfloat16": {"channels": [width // 2 for width in FULL], "bfloat16": True},
    "few at full resolution": {"channels": [8, 32, 64, 128]},
    "a quarter of the channels": {"channels": [width // 4 for width in FULL]},
}
ARITHMETIC = {
    "native": {},
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
}


def speeds() -> dict[str, float]:
    """Images per second of each network, by the arithmetic of this process."""
    torch.set_num_threads(1)
    objects = pr.datasets.SymmetryVariant.named("flip_shift", torch.rand(32, 28, 28), canvas=digits.CANVAS)[:]
    intensities = pr.operators.fourier_intensity(objects, digits.FOURIER_SHAPE)

    def step(settings: dict[str, Any]) -> Any:
        net = digits.network({**digits.DEFAULTS, **DEMO, **settings}).to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(net.parameters(), 1e-3, fused=True)

        def once() -> None:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.get("bfloat16", False)):
                loss = OBJECTIVES["dnn_p"](net, objects, intensities)
            loss.backward()
            optimizer.step()

        return once

    names = list(NETWORKS)
    found = compare({name: step(NETWORKS[name]) for name in names}, names[0], seconds=5.0, least_rounds=5)
    return {name: round(len(objects) / found[name]["ms"] * 1e3, 1) for name in names}


def speeds_by_arithmetic() -> dict[str, dict[str, float]]:
    found = {}
    for name, variables in ARITHMETIC.items():
        command = [sys.executable, "-m", "benchmarks.quality_demo", "--speeds"]
        printed = subprocess.run(
            command, env={**os.environ, **variables}, check=True, stdout=subprocess.PIPE, text=True
        )
        found[name] = json.loads(printed.stdout)
    return found


def training(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Scores of one training of the demo; done once."""
    quiet_lightning()
    _, took = digits.trained(settings, None, folder)
    found, _, _ = digits.scored(settings, None, folder)
    return {**found, **took}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each objective")
    parser.add_argument("--speeds", action="store_true", help="print images per second of this process as JSON, only")
    options = parser.parse_args()
    if options.speeds:
        print(json.dumps(speeds()))
        return
    rows: list[dict[str, object]] = []
    by_arithmetic = speeds_by_arithmetic()
    for name, settings in NETWORKS.items():
        speed = {f"images_per_second_{arithmetic}": found[name] for arithmetic, found in by_arithmetic.items()}
        rows.append({"network": name, "channels": str(settings["channels"]), **speed})
    runs = [(seed, objective) for seed in range(options.seeds) for objective in ("dnn_v", "dnn_p")]
    calls = [
        (
            {**DEMO, "test_images": 500, "seed": seed, "objective": objective},
            Path(f"runs/quality_demo/{objective}/{seed}"),
        )
        for seed, objective in runs
    ]
    for (seed, objective), found in zip(runs, run_all(training, calls, options.jobs), strict=True):
        rows.append({"training": objective, "seed": seed, **found})
    for row in rows:
        print(row)
    save("quality_demo", rows, [])


if __name__ == "__main__":
    main()
