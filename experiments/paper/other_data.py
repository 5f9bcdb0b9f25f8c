"""The images that the paper hoped for: faces, natural images, cells, galaxies, MRI, crystals, and sparse ones.

Each image, at most 28 x 28 pixels, is flipped at random and put at a random place of a dark 32 x 32 canvas, anew in
each epoch. The sources that the test images come from are held out: other pictures of faces, other photographs, the
other side of a picture. Networks and classical algorithms know the canvas, and that real images are not negative.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import phaseret as pr
from experiments import Context, Result, Row
from experiments.data import HELD_OUT, Patterns
from experiments.digits import CANVAS, FOURIER_SHAPE
from experiments.fit import Settings, estimate, run_solver
from experiments.images import FROM_FILES, LOADERS, Images
from experiments.objectives import OBJECTIVES, TITLES
from experiments.pictures import as_colours, grid, show
from experiments.scoring import relative_error, solved_percent
from experiments.store import estimates_in, train_all, trained_once

LEARNED = ("dnn_v", "dnn_p", "invariant")
SOLVERS = ("rrr", "hio")
DIAGNOSED, SHOWN = 500, 3


# --- trainings --------------------------------------------------------------------------------------------------------


def variant(images: Tensor, count: int, seed: int) -> pr.datasets.SymmetryVariant:
    """So many of the images in a random order, repeated if they are few, flipped and shifted."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    repeated = order.repeat(-(-count // len(images)))[:count]
    return pr.datasets.SymmetryVariant(images[repeated], canvas=CANVAS, seed=seed)


def parts(settings: Settings, images: Images) -> tuple[Any, Any, Tensor]:
    """Training and validation data, and test objects."""
    seed, count = settings["seed"], settings["images"]
    # Neighbours overlap and stand beside each other, so the last ones are held out, before they are turned.
    held_out = max(1, len(images.training) // HELD_OUT)
    training = variant(images.turned(images.training[:-held_out]), count, seed)
    validation = variant(images.turned(images.training[-held_out:]), max(1, count // HELD_OUT), seed + 1)
    test = variant(images.test, min(settings["test_images"], len(images.test)), 2)
    return training, validation, test[:]


def trained(settings: Settings, files: Path | None, folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """One network, whose estimates of the test objects lie in the folder, and what its training took."""
    training, validation, objects = parts(settings, LOADERS[settings["data"]](files))
    measure = pr.operators.FourierIntensity(FOURIER_SHAPE)
    output = settings["complex_output"] if objects.is_complex() else "unit"

    def network() -> nn.Module:
        return pr.models.UNet(CANVAS, FOURIER_SHAPE, output=output, channels=settings["channels"])

    def data() -> tuple[Patterns, Patterns]:
        return Patterns(training, measure, augment=True), Patterns(validation, measure)

    def test(net: nn.Module) -> Tensor:
        return estimate(net, measure(objects), settings["bfloat16"])

    return trained_once(network, OBJECTIVES[settings["objective"]], data, settings, folder, test)


# --- the experiment ---------------------------------------------------------------------------------------------------


def scores(estimates: Tensor, objects: Tensor) -> Row:
    """Scores of real and complex estimates."""
    error = relative_error(estimates, objects, FOURIER_SHAPE)
    intensities = pr.operators.fourier_intensity(objects, FOURIER_SHAPE)
    found: Row = {
        "raw_psnr": pr.metrics.psnr(estimates, objects, align=False),
        "aligned_psnr": pr.metrics.psnr(estimates, objects),
        "aligned_relative_error": error.mean(),
        "solved_percent": solved_percent(error),
        "relative_magnitude_error": pr.metrics.relative_magnitude_error(estimates, intensities),
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def run(context: Context) -> Result:
    """Train every objective on every kind of images; classical algorithms on the same test patterns."""
    config = dict(context.config)
    names, solver = config.pop("data"), config.pop("solver")
    files = context.objects if any(name in FROM_FILES for name in names) else None
    calls = {
        (name, objective): (
            {**config, "data": name, "objective": objective, "bfloat16": context.bfloat16},
            files,
            context.folder / name / objective,
        )
        for name in names
        for objective in LEARNED
    }
    took = dict(zip(calls, train_all(trained, list(calls.values()), context.jobs), strict=True))
    rows: list[Row] = []
    arrays: dict[str, Any] = {}
    for name in names:
        images = LOADERS[name](files)
        objects = parts(config, images)[2]
        found: dict[str, tuple[Tensor, Row]] = {
            objective: (estimates_in(calls[name, objective][2]), took[name, objective]) for objective in LEARNED
        }
        for algorithm in SOLVERS:
            found[algorithm] = solved(algorithm, objects, {**solver, "seed": config["seed"]})
        about = {"data": name, **described(images, objects, config["seed"])}
        arrays[f"{name} truth"] = objects[:SHOWN].numpy()
        for method, (estimates, cost) in found.items():
            rows.append({**about, "method": method, **scores(estimates, objects), **cost})
            shown = pr.symmetry.align(estimates[:SHOWN], objects[:SHOWN]).aligned
            arrays[f"{name} {method}"] = shown.numpy()
    return Result(rows, config["seed"], {"images": config["images"], "epochs": config["epochs"]}, arrays)


def described(images: Images, objects: Tensor, seed: int) -> Row:
    """What the rows say of the images."""
    known = images.turned(images.training)
    ambiguity = pr.symmetry.diagnose(variant(known, min(DIAGNOSED, len(known)), seed)[:], fourier_shape=FOURIER_SHAPE)
    return {
        "kind": "complex" if objects.is_complex() else "real",
        "different_training_images": len(known),
        "test_images": len(objects),
        "sources": images.sources,
        "ambiguous_share": round(ambiguity.share, 3),
        "ambiguous_share_canonical": round(ambiguity.share_canonical, 3),
    }


def solved(algorithm: str, objects: Tensor, solver: Settings) -> tuple[Tensor, Row]:
    """Estimates of an algorithm, and what they took."""
    intensities = pr.operators.fourier_intensity(objects, FOURIER_SHAPE)
    result = run_solver(
        pr.solvers.reconstruct,
        intensities,
        schedule=f"{algorithm}:{solver['iterations']},er:50",
        support=torch.ones(CANVAS, dtype=torch.bool),
        constraint="complex" if objects.is_complex() else "nonnegative",
        starts=solver["starts"],
        seed=solver["seed"],
    )
    cost = {"seconds_per_image": round(result.seconds / len(objects), 4)}
    return result.obj, {**cost, "iterations": solver["iterations"], "starts": solver["starts"]}


def draw(rows: list[Row], arrays: dict[str, Any]) -> Figure:
    """Test objects and aligned estimates of every kind of images, and the relative errors."""
    names = list(dict.fromkeys(row["data"] for row in rows))
    methods = [*LEARNED, *SOLVERS]
    titles = {"truth": "truth"} | {method: TITLES.get(method, method.upper()) for method in methods}
    lines = -(-len(names) // 2)
    figure = Figure(figsize=(13, 2.9 * lines + 3.5), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[2.9 * lines, 3.5])
    blocks = np.ravel(upper.subfigures(lines, 2, wspace=0.03, hspace=0.02, squeeze=False))
    for name, block in zip(names, blocks, strict=False):
        kind = next(row["kind"] for row in rows if row["data"] == name)
        block.suptitle(f"{name} ({kind})", fontsize=11)
        for column, (method, title) in zip(grid(block, SHOWN, len(titles)).T, titles.items(), strict=True):
            column[0].set_title(title, fontsize=9)
            show(column, map(as_colours, arrays[f"{name} {method}"]))
    axis = lower.subplots()
    for number, method in enumerate(methods):
        errors = [
            next(row["aligned_relative_error"] for row in rows if (row["data"], row["method"]) == (name, method))
            for name in names
        ]
        places = [place + 0.16 * (number - 2) for place in range(len(names))]
        axis.bar(places, errors, 0.15, color=f"C{number}", label=titles[method])
    axis.set_xticks(range(len(names)), names)
    axis.set_ylabel("aligned relative error")
    axis.set_axisbelow(True)
    axis.grid(axis="y", alpha=0.3)
    axis.legend(ncols=len(methods), fontsize=9, loc="upper left")
    axis.set_ylim(0, 1.25 * max(1.0, *(row["aligned_relative_error"] for row in rows)))
    return figure
