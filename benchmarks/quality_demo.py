"""Why the demo trains the network that it trains: images per second without matrix units, decibels, and their price.

    python -m benchmarks.quality_demo [--jobs 2] [--seeds 3]

Images per second are those of training steps with the passive loss on one thread: with all that the processor has, with
AVX-512 but no bfloat16 or matrix units, and with AVX2 alone. From them follow the minutes of a training with as many
images as the demo's. Of the networks that may be cheap enough DNN-P is trained once as in the demo, but with their
settings; the gap is that to the demo's DNN-V. The demo's own trainings are those of ``make demo``, over seeds. Finished
trainings are found again in runs/quality_demo.
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
from experiments.data import HELD_OUT
from experiments.end_to_end import PRESETS
from experiments.fit import OPTIMIZERS, quiet_lightning
from experiments.objectives import OBJECTIVES
from experiments.store import run_all
from results.provenance import save

DEMO = {**PRESETS["demo"], "test_images": 500}
FULL = digits.DEFAULTS["channels"]
QUARTER = [width // 4 for width in FULL]
NETWORKS: dict[str, dict[str, Any]] = {
    "as in the paper's presets": {"channels": FULL, "optimizer": "adam"},
    "the same, bfloat16": {"channels": FULL, "optimizer": "adam", "bfloat16": True},
    "half the channels": {"channels": [width // 2 for width in FULL], "optimizer": "adam"},
    "half the channels, bfloat16": {"channels": [width // 2 for width in FULL], "optimizer": "adam", "bfloat16": True},
    "a quarter": {"channels": QUARTER, "optimizer": "adam"},
    "a quarter, Muon": {"channels": QUARTER},
    "a quarter, a fifth level": {"optimizer": "adam"},
    "the demo's: a quarter, a fifth level, Muon": {},
}
TRAINED = list(NETWORKS)[4:]
*OTHERS, OURS = TRAINED
ARITHMETIC = {
    "native": {},
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
}
RUNS = Path("runs/quality_demo")
SCORES = "aligned_psnr", "raw_psnr", "aligned_ssim", "is_superposition", "relative_magnitude_error", "epochs"


def speeds() -> dict[str, float]:
    """Images per second of each network, by the arithmetic of this process."""
    torch.set_num_threads(1)
    objects = pr.datasets.SymmetryVariant.named("flip_shift", torch.rand(32, 28, 28), canvas=digits.CANVAS)[:]
    intensities = pr.operators.fourier_intensity(objects, digits.FOURIER_SHAPE)

    def step(settings: dict[str, Any]) -> Any:
        settings = {**digits.DEFAULTS, **DEMO, **settings}
        net = digits.network(settings).to(memory_format=torch.channels_last)
        optimizer = OPTIMIZERS[settings["optimizer"]](net.parameters(), 1e-3)

        def once() -> None:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=settings["bfloat16"]):
                loss = OBJECTIVES["dnn_p"](net, objects, intensities)
            loss.backward()
            optimizer.step()

        return once

    found = compare({name: step(own) for name, own in NETWORKS.items()}, OURS, seconds=25.0, least_rounds=5)
    return {name: round(len(objects) / found[name]["ms"] * 1e3, 1) for name in NETWORKS}


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
    """Scores of one training; done once."""
    quiet_lightning()
    _, took = digits.trained(settings, None, folder)
    found, _, _ = digits.scored(settings, None, folder)
    return {**found, **took}


def price(speed: dict[str, float], found: dict[str, Any] | None, supervised: float) -> dict[str, object]:
    """Speed and minutes of a training by arithmetic; where it was done, decibels and those won in each minute."""
    images = DEMO["epochs"] * (DEMO["images"] - DEMO["images"] // HELD_OUT)
    minutes = {name: images / value / 60 for name, value in speed.items()}
    row: dict[str, object] = {"images/s": speed, "minutes": {name: round(value, 2) for name, value in minutes.items()}}
    if found is None:
        return row
    gap = found["aligned_psnr"] - supervised
    won = {name: round(gap / value, 2) for name, value in minutes.items()}
    return {**row, "aligned_psnr": found["aligned_psnr"], "gap": round(gap, 2), "gap per minute": won}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each objective")
    parser.add_argument("--speeds", action="store_true", help="print images per second of this process as JSON, only")
    options = parser.parse_args()
    if options.speeds:
        print(json.dumps(speeds()))
        return
    by_arithmetic = speeds_by_arithmetic()
    runs = [(objective, seed) for seed in range(options.seeds) for objective in ("dnn_v", "dnn_p")]
    calls = [({**DEMO, "objective": name, "seed": seed}, RUNS / name / str(seed)) for name, seed in runs]
    calls += [({**DEMO, **NETWORKS[name]}, RUNS / "others" / str(place)) for place, name in enumerate(OTHERS)]
    found = run_all(training, calls, options.jobs)
    ours = dict(zip(runs, found, strict=False))
    trained = {OURS: ours["dnn_p", 0], **dict(zip(OTHERS, found[len(runs) :], strict=True))}
    supervised = ours["dnn_v", 0]["aligned_psnr"]
    rows: list[dict[str, object]] = []
    for name, own in NETWORKS.items():
        speed = {arithmetic: values[name] for arithmetic, values in by_arithmetic.items()}
        settings = {**DEMO, **own}
        about = {"network": name, "channels": str(settings["channels"]), "optimizer": settings["optimizer"]}
        rows.append({**about, **price(speed, trained.get(name), supervised)})
    rows += [
        {"objective": objective, "seed": seed, **{key: scores[key] for key in SCORES}}
        for (objective, seed), scores in ours.items()
    ]
    for seed in range(options.seeds):
        passive, supervised = (ours[name, seed]["aligned_psnr"] for name in ("dnn_p", "dnn_v"))
        rows.append({"objective": "both", "seed": seed, "gap": round(passive - supervised, 2)})
    for row in rows:
        print(row)
    save("quality_demo", rows, [])


if __name__ == "__main__":
    main()
