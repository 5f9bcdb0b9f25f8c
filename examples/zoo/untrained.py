"""Complex digits in a loose box, each from its one pattern: no training set, no tight support.

The objects are those of the experiment ``complex``: digits as the modulus, times a smooth phase of about two pi; known
is the 28 x 28 box alone. `DeepImagePrior` (real and imaginary part, or modulus and phase) and `DoubleDIP` are fitted to
each pattern from several random weights, HIO, RAAR and RRR run in the box from random starts, and
:func:`~phaseret.solvers.reconstruct` runs as it does by default. The last rows are of the same digits without phase,
not negative. Steps and learning rates were chosen on training digits.

What was seen: the untrained networks recover no complex digit. They explain the data to 4 and 6 % (relative magnitude
error) with estimates of 11 dB, as HIO, RAAR and RRR do to 1 and 2 % with 11 and 12 dB: once more a small residual is no
proof, and choosing among runs by it gains 0.1 to 0.6 dB where the truth would choose 0.4 to 1.3 dB better ones. Descent
on the misfit stops in the minima in which the algorithms stagnate, and the smoothness of a network does not replace a
support. The default of `reconstruct` recovers nine in ten, in a fifth of the time. Of real digits the untrained network
makes 17 dB, some readable and none exact, where every algorithm's best start is.
"""

from __future__ import annotations

import time
import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import phaseret as pr
from paper.complex_objects import complex_digits
from paper.digits import FOURIER_SHAPE
from paper.experiment import Context, Result, Row
from training import Settings, computed_once, images_of
from zoo.scoring import best_by_residual, row, shown

BOX = (28, 28)
SHOWN = 8


def prior(settings: Settings, run: int) -> nn.Module:
    """An untrained network with the input and the weights of this run."""
    torch.manual_seed(run)
    if settings["output"] == "double":
        return pr.models.DoubleDIP(BOX, channels=settings["channels"], seed=run)
    return pr.models.DeepImagePrior(BOX, output=settings["output"], channels=settings["channels"], seed=run)


def fitted(settings: Settings, intensities: Tensor) -> Tensor:
    """What the networks of all runs become for each pattern, (runs, N, 28, 28)."""
    how = {"steps": settings["steps"], "lr": settings["lr"]}
    return torch.stack([prior(settings, run).fit(intensities, **how) for run in range(settings["runs"])])


def run(context: Context) -> Result:
    """Untrained networks and classical algorithms, on complex digits and on real ones."""
    warnings.filterwarnings("ignore", ".*starts.*")  # what the warning says of single patterns is what the rows count
    config = context.config
    digits = images_of(pr.datasets.mnist(context.mnist, train=False), config["test_images"])
    objects = {"complex": complex_digits(digits, 10**6), "nonnegative": digits}
    data = {kind: pr.operators.fourier_intensity(obj, FOURIER_SHAPE) for kind, obj in objects.items()}
    rows: list[Row] = []
    arrays = {"truth": shown(digits[:SHOWN], digits[:SHOWN], FOURIER_SHAPE)}

    def add(system: str, kind: str, constraint: str, runs: Tensor, seconds: float, **about: Any) -> None:
        obj, intensity = objects[constraint], data[constraint]
        if constraint == "nonnegative":
            system += ", real digits"
        about = {"values": "real" if constraint == "nonnegative" else "complex", **about}
        rows.append(row(system, kind, runs, obj, intensity, seconds=seconds, **about))
        arrays[system] = shown(best_by_residual(runs, intensity)[:SHOWN], obj[:SHOWN], FOURIER_SHAPE)

    for constraint in objects:
        for schedule in config["schedules"]:
            found = pr.solvers.reconstruct(
                data[constraint],
                schedule=schedule,
                support=torch.ones(BOX, dtype=torch.bool),
                constraint=constraint,
                starts=config["starts"],
            )
            add(schedule, "classical", constraint, found.objs.movedim(1, 0), found.seconds)
        began = time.perf_counter()
        found = pr.solvers.reconstruct(
            data[constraint],
            support=torch.ones(BOX, dtype=torch.bool),
            constraint=constraint,
            starts=config["default_starts"],
        )
        seconds = time.perf_counter() - began
        add("reconstruct's default", "classical", constraint, found.obj[None], seconds, starts=config["default_starts"])
        for system, settings in config["priors"].items():
            if (settings["output"] == "nonnegative") == (constraint == "nonnegative"):
                settings = {**settings, "runs": config["runs"], "images": len(digits)}
                folder = context.folder / system.replace(" ", "_").replace(",", "")
                runs, seconds = computed_once(folder, settings, partial(fitted, settings, data[constraint]))
                add(system, "untrained", constraint, runs, seconds, steps=settings["steps"])
    budget = {"test_images": len(digits), "runs": config["runs"]}
    return Result(rows, config["seed"], budget, arrays)
