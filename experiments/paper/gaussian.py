"""Gaussian phase retrieval: y = |A x|^2, whose only symmetry is the sign of x, or its phase if it is complex.

"naive" learns x itself, "active" the one of its copies that `phaseret.symmetry.canonicalize` chooses, "passive" the
data alone, "invariant" x up to its symmetry; the nearest neighbours' mean is what can be had without learning. The
error is that up to the symmetry, sqrt(sum |estimate - copy|^2 / sum |x|^2) over the test set: 1 for an estimate of
zero, which is the mean of x for given data. After Tayal, Lai, Kumar, Sun (2020), Inverse problems, deep learning, and
symmetry breaking, arXiv:2003.09077.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import phaseret as pr
from experiments import Context, Result, Row
from experiments.data import Patterns
from experiments.fit import Loss, Settings, estimate
from experiments.store import estimates_in, train_all, trained_once

OBJECTIVES = {"naive": "naive", "active": "active (canonical)", "passive": "passive", "invariant": "invariant"}
NEIGHBOURS = {"naive": "nearest neighbours", "active": "nearest neighbours, canonical"}
#: The mean of so many neighbours is tried; the best number for the validation data is taken.
COUNTS = (1, 2, 4, 8, 16, 32)
ROWS_PER_UNKNOWN = {"real": 4, "complex": 8}
#: Items held out for the choice of the best epoch: one for each so many to train on.
HELD_OUT = 5


class Dense(nn.Module):
    """Fully connected layers from m intensities to n numbers, real or complex."""

    def __init__(self, m: int, n: int, width: int, depth: int, is_complex: bool) -> None:
        super().__init__()
        sizes = [m, *[width] * (depth - 1)]
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 2 * n if is_complex else n))
        self.scale, self.is_complex = n, is_complex  # the mean intensity is n for unit variance

    def forward(self, intensity: Tensor) -> Tensor:
        x = self.layers(intensity / self.scale)
        return torch.view_as_complex(x.unflatten(-1, (-1, 2))) if self.is_complex else x


def operator_of(settings: Settings) -> pr.operators.Gaussian:
    """The measurement: one random matrix for all trainings of a size, or the square of one number."""
    n = settings["n"]
    if n == 1:
        return pr.operators.Gaussian(torch.ones(1, 1))
    dtype = torch.complex64 if settings["field"] == "complex" else torch.float32
    generator = torch.Generator().manual_seed(n)
    m = ROWS_PER_UNKNOWN[settings["field"]] * n
    return pr.operators.Gaussian(pr.operators.gaussian_matrix((n,), m, generator=generator, dtype=dtype))


def draw_objects(settings: Settings, count: int, seed: int) -> Tensor:
    """Objects (count, n): normal of unit variance, or for n = 1 uniform from -1 to 1."""
    generator = torch.Generator().manual_seed(seed)
    if settings["n"] == 1:
        return 2 * torch.rand(count, 1, generator=generator) - 1
    dtype = torch.complex64 if settings["field"] == "complex" else torch.float32
    return torch.randn(count, settings["n"], generator=generator, dtype=dtype)


def parts(settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """Objects to train on, for the choice of the best epoch, and for the test, which is the same for all seeds."""
    count, seed = settings["samples"], settings["seed"]
    training = draw_objects(settings, count, 10 + 2 * seed)
    validation = draw_objects(settings, max(count // HELD_OUT, HELD_OUT), 11 + 2 * seed)
    return training, validation, draw_objects(settings, settings["test_samples"], 1)


def canonical(obj: Tensor) -> Tensor:
    """The copy whose sum is positive: active symmetry breaking."""
    return pr.symmetry.canonicalize(obj, ndim=1, shift=False, flip=False, phase=True)


def loss_of(settings: Settings) -> Loss:
    """What the objective of the settings minimises."""
    name, operator = settings["objective"], operator_of(settings)

    def loss(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
        found = net(intensity)
        if name == "naive":
            return pr.losses.supervised_loss(found, obj, ndim=1)
        if name == "active":
            return pr.losses.supervised_loss(found, canonical(obj), ndim=1)
        if name == "invariant":
            return pr.losses.invariant_loss(found, obj, ndim=1, shift=False, flip=False, phase=True)
        return pr.losses.passive_loss(found, intensity, operator, domain=settings["domain"])

    return loss


def trained(settings: Settings, folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """One network, whose estimates of the test objects lie in the folder, and what its training took."""
    operator, is_complex = operator_of(settings), settings["field"] == "complex"

    def network() -> nn.Module:
        return Dense(operator.data_shape[0], settings["n"], settings["width"], settings["depth"], is_complex)

    def data() -> tuple[Patterns, Patterns]:
        training, validation, _ = parts(settings)
        # However few the samples, an epoch has as many steps.
        repeats = -(-settings["samples_per_epoch"] // len(training))
        repeated = training.repeat(repeats, 1)[: max(settings["samples_per_epoch"], len(training))]
        return Patterns(repeated, operator), Patterns(validation, operator)

    def test(net: nn.Module) -> Tensor:
        return estimate(net, operator(parts(settings)[2]), batch_size=10_000)

    return trained_once(network, loss_of(settings), data, settings, folder, test)


def errors(estimates: Tensor, objects: Tensor) -> dict[str, float]:
    """Relative errors before and after the symmetry is removed."""
    aligned = pr.symmetry.align(estimates, objects, ndim=1, shift=False, flip=False, phase=True).aligned
    size = objects.abs().square().sum()
    values = {"raw_error": estimates, "aligned_error": aligned}
    return {k: round(((x - objects).abs().square().sum() / size).sqrt().item(), 5) for k, x in values.items()}


def neighbours(settings: Settings) -> Row:
    """The errors of the mean of the nearest neighbours' objects, and how many were best for the validation data."""
    operator = operator_of(settings)
    known, validation, test = parts(settings)
    validation = validation[: len(test)]
    seen = operator(known)
    objects = known if settings["objective"] == "naive" else canonical(known)

    def means(of: Tensor) -> dict[int, Tensor]:
        nearest = [
            torch.cdist(part, seen).topk(min(COUNTS[-1], len(seen)), largest=False).indices
            for part in operator(of).split(500)
        ]
        found = objects[torch.cat(nearest)]
        return {count: found[:, :count].mean(1) for count in COUNTS}

    tried = {count: errors(mean, validation)["aligned_error"] for count, mean in means(validation).items()}
    best = min(tried, key=lambda count: tried[count])
    return {**errors(means(test)[best], test), "neighbours": best}


def run(context: Context) -> Result:
    """Train all objectives for all sizes and numbers of samples; neighbours of the same samples."""
    config = dict(context.config)
    sizes, samples, seeds = config.pop("sizes"), config.pop("samples"), config.pop("seeds")
    settings = [
        {**config, "field": field, "n": n, "samples": count, "objective": objective, "seed": seed}
        for seed in seeds
        for field in ROWS_PER_UNKNOWN
        for n in sizes
        for count in samples
        for objective in OBJECTIVES
    ]
    rows = trained_rows(settings, context)
    for one in settings:
        if one["objective"] in NEIGHBOURS:
            rows.append({**about(one), "method": "neighbours", **neighbours(one)})
    budget = {"samples": max(samples), "steps": config["epochs"] * config["samples_per_epoch"] // config["batch_size"]}
    return Result(rows, seeds, budget)


def trained_rows(settings: list[Settings], context: Context) -> list[Row]:
    """Train one network for each of the settings and score its estimates of the test objects."""
    calls = [(one, folder_of(one, context)) for one in settings]
    took = train_all(trained, calls, context.jobs)
    rows = []
    for (one, folder), cost in zip(calls, took, strict=True):
        estimates = estimates_in(folder)
        rows.append({**about(one), "method": "network", **errors(estimates, parts(one)[2]), **cost})
        rows[-1]["training_images"] = one["samples"]  # each of them often
    return rows


def folder_of(settings: Settings, context: Context) -> Path:
    """Where a training keeps its files."""
    size = f"{settings['field']}{settings['n']}-{settings['samples']}"
    return context.folder / size / settings["objective"] / f"seed{settings['seed']}"


def about(settings: Settings) -> Row:
    """What tells one row from another."""
    return {name: settings[name] for name in ("field", "n", "samples", "objective", "seed")}


def curve(rows: list[Row], key: str = "aligned_error", **which: Any) -> tuple[list[int], list[list[float]]]:
    """Numbers of samples and the errors of all seeds, of the rows with these entries."""
    chosen = [row for row in rows if all(row[name] == value for name, value in which.items())]
    samples = sorted({row["samples"] for row in chosen})
    return samples, [[row[key] for row in chosen if row["samples"] == count] for count in samples]


def draw(rows: list[Row], arrays: dict[str, Any]) -> Figure:
    """Error against the number of samples, for every field and size."""
    fields, sizes = list(ROWS_PER_UNKNOWN), sorted({row["n"] for row in rows})
    figure = Figure(figsize=(4 * len(sizes), 7), layout="constrained")
    axes = figure.subplots(len(fields), len(sizes), sharex=True, sharey=True, squeeze=False)
    for i, field in enumerate(fields):
        for j, n in enumerate(sizes):
            axis = axes[i, j]
            for number, (objective, title) in enumerate(OBJECTIVES.items()):
                samples, found = curve(rows, field=field, n=n, objective=objective, method="network")
                axis.plot(samples, [np.mean(values) for values in found], "o-", color=f"C{number}", label=title)
            for number, (objective, title) in enumerate(NEIGHBOURS.items()):
                samples, found = curve(rows, field=field, n=n, objective=objective, method="neighbours")
                axis.plot(samples, [np.mean(values) for values in found], "x:", color=f"C{number}", label=title)
            axis.set_title(f"{field}, n = {n}, m = {ROWS_PER_UNKNOWN[field] * n}")
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.grid(alpha=0.3)
        axes[i, 0].set_ylabel("relative error up to the symmetry")
    for axis in axes[-1]:
        axis.set_xlabel("training samples")
    axes[0, 0].legend(fontsize=8)
    return figure
