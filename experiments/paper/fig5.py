"""Fig. 5 as numbers: four variants of the digits, four objectives, one U-Net and one budget.

DNN-V learns the objects, DNN-P their intensities; "invariant" learns the objects up to symmetry, "canonical" learns one
representative of each object's copies (active symmetry breaking).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments import Context, Result, Row, digits
from experiments.objectives import TITLES
from experiments.pictures import as_pixels, grid, show
from experiments.store import train_all

VARIANTS = ("none", "shift", "flip", "flip_shift")
PANELS, PANEL_ROWS = 3, 5


def call(context: Context, variant: str, seed: int, objective: str) -> tuple[dict[str, Any], Path | None, Path]:
    """One training: what `digits.trained` is called with."""
    of_all = ("seeds", "headline_seeds", "headline_objectives", "larger")
    shared = {key: value for key, value in context.config.items() if key not in of_all}
    settings = {**shared, "variant": variant, "objective": objective, "seed": seed, "bfloat16": context.bfloat16}
    return settings, context.mnist, context.folder / variant / objective / f"seed{seed}"


def larger_call(context: Context, objective: str) -> tuple[dict[str, Any], Path | None, Path]:
    """The training of the headline variant on the larger budget."""
    seed = context.config["headline_seeds"][0]
    settings, data, _ = call(context, "flip_shift", seed, objective)
    settings.update({key: value for key, value in context.config["larger"].items() if key != "objectives"})
    return settings, data, context.folder / "larger" / objective / f"seed{seed}"


def run(context: Context) -> Result:
    """Train every variant with every objective, the headline variant with several seeds and on a larger budget."""
    config = context.config
    first, *more = [("flip_shift", seed) for seed in config["headline_seeds"]]
    others = [(variant, seed) for variant in VARIANTS[:-1] for seed in config["seeds"]]
    calls = []
    for variant, seed in [first, *others, *more]:
        for objective in TITLES if (variant, seed) not in more else config["headline_objectives"]:
            calls.append(call(context, variant, seed, objective))
    calls += [larger_call(context, objective) for objective in config.get("larger", {}).get("objectives", [])]
    took = train_all(digits.trained, calls, context.jobs)
    rows: list[Row] = []
    arrays: dict[str, Any] = {}
    for (settings, data, folder), cost in zip(calls, took, strict=True):
        found, estimates, objects = digits.scored(settings, data, folder)
        variant, objective, seed = settings["variant"], settings["objective"], settings["seed"]
        images = {"images": settings["images"]}
        rows.append({"variant": variant, "objective": objective, "seed": seed, **images, **found, **cost})
        if seed == first[1] and images["images"] == config["images"]:
            arrays[f"{variant} truth"] = as_pixels(objects[: PANELS * PANEL_ROWS])
            arrays[f"{variant} {objective}"] = as_pixels(estimates[: PANELS * PANEL_ROWS])
    order = [*TITLES]
    rows.sort(key=lambda r: (VARIANTS.index(r["variant"]), r["images"], order.index(r["objective"]), r["seed"]))
    base = [row for row in rows if row["images"] == config["images"]]
    budget = {"images": base[0]["training_images"], "epochs": max(row["epochs"] for row in base)}
    return Result(rows, config["headline_seeds"], budget, arrays)


def draw(rows: list[Row], arrays: dict[str, Any]) -> Figure:
    """The paper's panels for the headline variant, and the aligned PSNR of everything."""
    columns = ["truth", *TITLES]
    figure = Figure(figsize=(15, 8.2), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[1, 0.85])
    panels = upper.subfigures(1, PANELS, wspace=0.03)
    for number, panel in enumerate(panels):
        for column, name in zip(grid(panel, PANEL_ROWS, len(columns)).T, columns, strict=True):
            column[0].set_title(TITLES.get(name, name), fontsize=9)
            show(column, arrays[f"flip_shift {name}"][number * PANEL_ROWS :])
    left, right = lower.subplots(1, 2)
    for axis, key, label in (
        (left, "aligned_psnr", "aligned PSNR (dB)"),
        (right, "relative_magnitude_error", "relative magnitude error"),
    ):
        for number, (objective, title) in enumerate(TITLES.items()):
            for place, variant in enumerate(VARIANTS):
                same = [row for row in rows if (row["variant"], row["objective"]) == (variant, objective)]
                found = [row[key] for row in same if row["images"] == rows[0]["images"]]
                at = place + 0.2 * (number - 1.5)
                larger = [row[key] for row in same if row["images"] != rows[0]["images"]]
                axis.plot([at] * len(larger), larger, "k*", markersize=7)
                axis.bar(at, np.mean(found), 0.18, color=f"C{number}", label=title if place == 0 else None)
                axis.plot([at] * len(found), found, "k.", markersize=4)
        axis.set_xticks(range(len(VARIANTS)), [variant.replace("_", " + ") for variant in VARIANTS])
        axis.set_ylabel(label)
        axis.set_axisbelow(True)
        axis.grid(axis="y", alpha=0.3)
    left.set_ylim(10, 23.5)
    left.set_title("dots: seeds; stars: the larger budget", fontsize=9)
    left.legend(ncols=4, fontsize=9, loc="upper center")
    return figure
