"""Network, then a short tail of iterations, which objects leave as soon as their data are explained.

The networks are those of the package, trained on digits. "start" and the learned schedule behind it come from
`experiments.start` and `experiments.schedule`. The test digits lie anywhere on a 32 x 32 canvas. Solvers know the
canvas, that nothing is negative, and, where the row says so, that nothing exceeds 1; objects leave at the first check
at which the relative magnitude error is at most the tolerance. An object is solved if its aligned relative error is
below 5 %. The beta and the tolerance of the networks' rows were chosen on test digits 5000 to 5999. Seconds are of the
processor, the network included; ratios are to the first row of the same objects.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor

import phaseret as pr
from experiments import Context, Result, Row, digits, schedule
from experiments.fit import estimate, run_solver
from experiments.images import LOADERS
from experiments.paper.other_data import variant
from experiments.scoring import SOLVED, relative_error, solved_percent

LEARNED = "learned:20"  # the schedule of experiments/schedule.py
AT_A_TIME = 1000  # objects of one run


def run(context: Context) -> Result:
    """All starts and solvers of the configuration, on digits and on other objects."""
    config = context.config
    families = {"digits": digits.test_patterns({"test_images": config["test_images"]}, context.mnist)[0]}
    for name in config["others"]:
        images = LOADERS[name](context.data and context.objects).test
        families[name] = variant(images, min(config["test_images"], len(images)), 2)[:]
    rows: list[Row] = []
    arrays: dict[str, Any] = {}
    for name, objects in families.items():
        intensities = pr.operators.fourier_intensity(objects, digits.FOURIER_SHAPE)
        outputs: dict[str, Tensor] = {}
        needed = {"random": 0.0}
        for weights in config["networks"]:
            net = pr.models.load(f"unet_{weights}")
            outputs[weights], needed[weights] = _timed(estimate, net, intensities)
        first: Row = {}
        for asked in config["runs"]:
            truth, data, init = (
                _part(x, 0, asked["images"]) for x in (objects, intensities, outputs.get(asked["start"]))
            )
            found, seconds = _timed(_solved, asked, data, init)
            row = {"objects": name, **asked, "images": len(truth)}
            row |= _scores(found, truth, seconds + needed[asked["start"]] * len(truth) / len(objects))
            first = first or row
            for key in ("mean_iterations", "processor_seconds_per_image"):
                row[f"{key}_ratio"] = round(row[key] / first[key], 2)
            rows.append(row)
            arrays[f"solved_{len(rows) - 1}"] = _solved_at(found, truth)
    return Result(rows, 0, {"images": config["test_images"]}, arrays)


def _timed(work: Callable[..., Any], what: Any, intensities: Tensor, *more: Any) -> tuple[Any, float]:
    """What the work gives, and the seconds that the processor took for it; the first call is slower."""
    work(what, intensities[:8], *(None if part is None else part[:8] for part in more))
    began = time.process_time()
    return work(what, intensities, *more), time.process_time() - began


def _solved(asked: dict[str, Any], intensities: Tensor, init: Tensor | None) -> tuple[Tensor, Tensor]:
    """Estimates, and the iterations of all starts of each."""
    if asked["schedule"] == LEARNED:
        numbers, parts = schedule.load(), range(0, len(intensities), AT_A_TIME)
        with torch.no_grad():
            found = [schedule.run(numbers, intensities[n : n + AT_A_TIME], _part(init, n)) for n in parts]
        return torch.cat(found), torch.full((len(intensities),), schedule.ITERATIONS)
    known: dict[str, Any] = {
        "support": torch.ones(digits.CANVAS, dtype=torch.bool),
        "constraint": "nonnegative",
        "bounds": (0, 1) if asked["bounds"] else None,
        "tolerance": asked["tolerance"],
        "check_every": asked["check_every"],
        "starts": asked["starts"],
        "schedule": asked["schedule"],
    }
    results = [
        run_solver(pr.solvers.reconstruct, intensities[n : n + AT_A_TIME], init=_part(init, n), **known)
        for n in range(0, len(intensities), AT_A_TIME)
    ]
    return torch.cat([part.obj for part in results]), torch.cat([part.n_iters.sum(-1) for part in results])


def _part(x: Any, n: int, count: int = AT_A_TIME) -> Any:
    return None if x is None else x[n : n + count]


def _scores(found: tuple[Tensor, Tensor], objects: Tensor, seconds: float) -> Row:
    """What is said of the estimates and of what they cost."""
    estimates, iterations = found
    error = relative_error(estimates, objects, digits.FOURIER_SHAPE)
    return {
        "mean_iterations": round(iterations.double().mean().item(), 2),
        "iterations_of_90_percent": round(iterations.double().quantile(0.9).item()),
        "solved_percent": round(solved_percent(error).item(), 2),
        "median_relative_error": round(error.median().item(), 5),
        "processor_seconds_per_image": round(seconds / len(objects), 6),
    }


def _solved_at(found: tuple[Tensor, Tensor], objects: Tensor) -> np.ndarray[Any, Any]:
    """The iterations after which each object was solved, 0 where it was not."""
    estimates, iterations = found
    solved = relative_error(estimates, objects, digits.FOURIER_SHAPE) < SOLVED
    return torch.where(solved, iterations, 0).numpy().astype(np.uint16)


def draw(rows: list[Row], arrays: dict[str, Any]) -> Figure:
    """Share solved against iterations, one panel for each kind of object."""
    families = list(dict.fromkeys(row["objects"] for row in rows))
    figure = Figure(figsize=(6.5 * len(families), 4.4), layout="constrained")
    axes = figure.subplots(1, len(families), sharey=True, squeeze=False)[0]
    for axis, family in zip(axes, families, strict=True):
        own = [(k, row) for k, row in enumerate(rows) if row["objects"] == family]
        colours = iter(colormaps["tab20"].colors)  # type: ignore[attr-defined]
        for k, row in own:
            colour = next(colours)
            after = np.sort(arrays[f"solved_{k}"])
            solved = after[after > 0]
            bounds, style = ("0 to 1", "-") if row["bounds"] else ("0 on", "--")
            if row["tolerance"] is None:
                axis.plot(
                    row["mean_iterations"],
                    row["solved_percent"],
                    "s",
                    color=colour,
                    label=f"{row['start']}, {row['schedule']} for all",
                )
                continue
            share = 100 * np.arange(1, len(solved) + 1) / len(after)
            label = f"{row['start']}, {row['schedule']}, {bounds}"
            axis.step(solved, share, style, color=colour, where="post", label=label)
        axis.set(xscale="log", xlabel="iterations", title=family)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    axes[0].set_ylabel("solved (%)")
    return figure
