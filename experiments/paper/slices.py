"""Slices of strained Bragg crystals: what passive training gives beside active breaking, on equal data.

Zhang et al. (2024) brought crystals into one orientation instead of training on the measurement. Here the same network
sees the same slices, as many of them and in the same order, and is told the objects as they are, one representative of
each, the objects up to symmetry, or the intensities alone. A slice is a cut through a crystal of
`datasets.strained_crystal` near its middle; its copies are a shift, the twin and a constant phase.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import phaseret as pr
from experiments import Context, Result, Row
from experiments.data import Patterns, divided
from experiments.digits import FOURIER_SHAPE
from experiments.fit import Settings, estimate
from experiments.objectives import OBJECTIVES, TITLES
from experiments.pictures import grid, modulus_and_phase, show
from experiments.scoring import correlation, relative_error
from experiments.store import estimates_in, train_all, trained_once

SHAPE = (31, 31)
CUTS = (12, 15, 18)  # of 31 planes along each axis: nine slices of a crystal
INSIDE = 0.3  # of the largest modulus
SHOWN = 4


@functools.lru_cache(maxsize=2)
def slices(count: int, seed: int, span: float) -> Tensor:
    """So many slices (count, 31, 31), each with a constant phase of its own; half of them are twins."""
    generator = torch.Generator().manual_seed(seed)
    cuts: list[Tensor] = []
    while len(cuts) < count:
        crystal = pr.datasets.strained_crystal(span=span * math.pi, generator=generator)
        cuts += [crystal.select(axis, place) for axis in range(3) for place in CUTS]
    phase = 2 * torch.pi * torch.rand(count, 1, 1, generator=generator)
    objects = torch.stack(cuts[:count]) * torch.polar(torch.ones_like(phase), phase)
    return pr.datasets.SymmetryVariant.named("flip", objects, seed=seed)[:]


def trained(settings: Settings, folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """One network, whose estimates of the test slices lie in the folder, and what its training took."""
    measure = pr.operators.FourierIntensity(FOURIER_SHAPE)

    def network() -> nn.Module:
        torch.manual_seed(settings["seed"])
        options = {name: settings[name] for name in ("representation", "channels")}
        return pr.models.UNet(SHAPE, FOURIER_SHAPE, output="modulus_phase", **options)

    def parts() -> tuple[Patterns, Patterns]:
        training, validation = divided(slices(settings["images"], 0, settings["span"]))
        return Patterns(training, measure), Patterns(validation, measure)

    def test(net: nn.Module) -> Tensor:
        return estimate(net, measure(test_objects(settings)), settings["bfloat16"])

    return trained_once(network, OBJECTIVES[settings["objective"]], parts, settings, folder, test)


def test_objects(settings: Settings) -> Tensor:
    """Slices of other crystals, the same for all."""
    return slices(settings["test_images"], 10**6, settings["span"])


def scored(estimates: Tensor, objects: Tensor) -> Row:
    """How near the estimates come once they are aligned: supports and phases, moduli, and both."""
    aligned = pr.symmetry.align(estimates, objects).aligned
    inside = torch.where(estimates.abs() > INSIDE * estimates.abs().amax((-2, -1), keepdim=True), estimates, 0)
    return {
        "aligned_relative_error": round(relative_error(estimates, objects, FOURIER_SHAPE).mean().item(), 4),
        "modulus_correlation": round(correlation(aligned.abs().flatten(1), objects.abs().flatten(1)).mean().item(), 4),
        "iou": round(pr.metrics.iou(inside, objects).item(), 4),
        "phase_error": round(pr.metrics.phase_error(inside, objects).item(), 4),
        "raw_relative_error": round(
            ((estimates - objects).norm(dim=(1, 2)) / objects.norm(dim=(1, 2))).mean().item(), 4
        ),
    }


def run(context: Context) -> Result:
    """Every objective with every seed."""
    config = dict(context.config)
    seeds = config.pop("seeds")
    calls = [
        (
            {**config, "objective": name, "seed": seed, "bfloat16": context.bfloat16},
            context.folder / name / f"seed{seed}",
        )
        for name in OBJECTIVES
        for seed in seeds
    ]
    took = train_all(trained, calls, context.jobs)
    objects = test_objects(config)
    rows, arrays = [], {"truth": modulus_and_phase(objects[:SHOWN], INSIDE)}
    for (settings, folder), cost in zip(calls, took, strict=True):
        estimates = estimates_in(folder)
        rows.append(
            {"objective": settings["objective"], "seed": settings["seed"], **scored(estimates, objects), **cost}
        )
        if settings["seed"] == seeds[0]:
            aligned = pr.symmetry.align(estimates[:SHOWN], objects[:SHOWN]).aligned
            arrays[settings["objective"]] = modulus_and_phase(aligned, INSIDE)
    budget = {"images": took[0]["training_images"], "epochs": max(cost["epochs"] for cost in took)}
    return Result(rows, seeds, budget, arrays)


def draw(rows: list[Row], arrays: dict[str, Any]) -> Figure:
    """Modulus and phase of the first test slices, the truth and each objective."""
    figure = Figure(figsize=(10, 3.1 * math.ceil(len(arrays) / 2)), layout="constrained")
    parts = figure.subfigures(math.ceil(len(arrays) / 2), 2, squeeze=False).flat
    for part, (name, (modulus, phase)) in zip(parts, arrays.items(), strict=False):
        upper, lower = grid(part, 2, SHOWN)
        show(upper, modulus)
        show(lower, phase, cmap="twilight")
        errors = [row["aligned_relative_error"] for row in rows if row["objective"] == name]
        about = f": relative error {sum(errors) / len(errors):.2f}" if errors else ""
        part.suptitle(TITLES.get(name, name) + about, fontsize=9)
    return figure
