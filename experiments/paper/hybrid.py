"""Network, then solver: how often RRR and HIO finish, against iterations, from networks' outputs and random starts.

The networks are those of fig5 (variant flip_shift, first seed and larger budget; trained if they are not there). A
digit is solved if its aligned relative error is below 5 %. RRR runs with its default beta and with one that serves a
good start better. `classical` lists recipes that start at random. Times are per image, network included.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

import phaseret as pr
from experiments import Context, Result, Row, digits
from experiments.fit import run_solver, timed_estimate
from experiments.objectives import OBJECTIVES
from experiments.paper import fig5
from experiments.scoring import relative_error, solved_percent
from experiments.store import train_all

SOLVERS = {
    "RRR, beta 0.5": pr.solvers.RRR,
    "RRR, beta 1.2": partial(pr.solvers.RRR, beta=1.2),
    "HIO": pr.solvers.HIO,
}


def run(context: Context) -> Result:
    """All starts, both solvers, all numbers of iterations."""
    config = context.config
    networks = Context(config["fig5"], context.data, context.folder.parent / "fig5", context.jobs, context.bfloat16)
    seed = config["fig5"]["headline_seeds"][0]
    calls = {name: fig5.call(networks, "flip_shift", seed, name) for name in OBJECTIVES}
    for name in config["fig5"]["larger"]["objectives"]:
        calls[f"{name}, larger budget"] = fig5.larger_call(networks, name)
    train_all(digits.trained, list(calls.values()), context.jobs)
    test = {**calls["dnn_p"][0], "test_images": config["test_images"]}
    objects, intensities = digits.test_patterns(test, context.mnist)
    known = {"support": torch.ones(objects.shape[1:], dtype=torch.bool), "constraint": "nonnegative"}
    rows: list[Row] = []

    def add(start: str, solver: str, iterations: int, seconds: float, estimates: Tensor) -> None:
        error = relative_error(estimates, objects, digits.FOURIER_SHAPE)
        rows.append(
            {
                "start": start,
                "solver": solver,
                "iterations": iterations,
                "solved_percent": round(solved_percent(error).item(), 1),
                "median_relative_error": round(error.median().item(), 5),
                "seconds_per_image": round(seconds / len(objects), 6),
            }
        )

    outputs: dict[str, Tensor] = {}
    needed = {"random": 0.0}
    for name, call in calls.items():
        net, _ = digits.trained(*call)
        outputs[name], needed[name] = timed_estimate(net, intensities, context.bfloat16)
        add(name, "none", 0, needed[name], outputs[name])
    for solver, kind in SOLVERS.items():
        for iterations in config["iterations"]:
            for name in ("random", *calls):
                result = run_solver(kind(iterations), intensities, init=outputs.get(name), **known)
                add(name, solver, iterations, needed[name] + result.seconds, result.obj)
    for recipe in config["classical"]:
        options = {"schedule": recipe["schedule"], "starts": recipe["starts"]}
        result = run_solver(pr.solvers.reconstruct, intensities, **options, **known)
        total = recipe["starts"] * max(result.checked)
        title = f"{recipe['schedule']}, best of {recipe['starts']}"
        add("random", title, total, result.seconds, result.obj)
    return Result(rows, seed, {name: config["fig5"][name] for name in ("images", "epochs", "larger")})


def draw(rows: list[Row], arrays: dict[str, Any]) -> Figure:
    """Share solved against iterations, one panel per solver."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    axes = figure.subplots(1, len(SOLVERS), sharey=True)
    starts = list(dict.fromkeys(row["start"] for row in rows))
    for axis, solver in zip(axes, SOLVERS, strict=True):
        for number, start in enumerate(["random", *(start for start in starts if start != "random")]):
            found = [row for row in rows if (row["start"], row["solver"]) == (start, solver)]
            axis.plot(
                [row["iterations"] for row in found],
                [row["solved_percent"] for row in found],
                "o-",
                color="k" if start == "random" else f"C{number - 1}",
                markersize=4,
                label=start,
            )
        axis.set(xscale="log", xlabel="iterations", title=solver)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("solved (%)")
    axes[-1].legend(fontsize=8)
    return figure
