"""Few photons: networks that have seen noisy patterns only, against the best classical algorithm.

Networks are trained without ground truth on one noisy pattern of each digit, with the passive loss on the magnitude and
with the likelihood of the counts. "solver, then network" gives a network the best of three classical reconstructions
and trains it passively too; to keep it from copying the noise, each pattern's photons are thinned at random into two
independent halves: one is reconstructed, the other is the target. "best classical, then network" applies this network
to the classical reconstructions that are best at this level. The classical algorithms know that the object is not
negative and lies in the 28 x 28 box, and are cut off at its largest possible value, 1; the best of three starts by
residual is scored.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import phaseret as pr
from experiments import Context, Result, Row, digits
from experiments.data import Patterns, divided, images_of
from experiments.fit import Settings, estimate, run_solver
from experiments.pictures import as_pixels, grid, label, show
from experiments.scoring import scores
from experiments.store import train_all, trained_once

LOSSES = ("magnitude", "poisson")
CLASSICAL = {
    "HIO": "hio:300",
    "HIO, then ER": "hio:300,er:50",
    "RAAR, then ER": "raar(beta=0.9):300,er:50",
    "RRR, then ER": "rrr:300,er:50",
    "OSS": "oss:300",
    "SparseRRR, then ER": "sparse:1400,er:30",
}
STARTS = 3
SHOWN = 6


def run(context: Context) -> Result:
    """All levels of photons: networks, classical algorithms, and the two together."""
    config = dict(context.config)
    levels, solved = config.pop("photons"), config.pop("solver_then_network")
    shared: Settings = {**config, "variant": "flip", "bfloat16": context.bfloat16}
    direct = [
        ({**shared, "photons": level, "domain": domain}, context.mnist, context.folder / f"{level:g}" / domain)
        for level in levels
        for domain in LOSSES
    ]
    both = [
        ({**shared, **solved, "photons": level}, context.mnist, context.folder / f"{level:g}" / "solver-network")
        for level in levels
    ]
    took = train_all(digits.trained, direct, context.jobs) + train_all(refined, both, context.jobs)
    rows: list[Row] = []
    arrays: dict[str, Any] = {}
    for (settings, data, folder), cost in zip([*direct, *both], took, strict=True):
        found, estimates, objects = digits.scored(settings, data, folder)
        name = f"network, {settings['domain']}" if folder.name in LOSSES else "solver, then network"
        rows.append({"photons": settings["photons"], "method": name, "kind": "network", **found, **cost})
        arrays[f"{settings['photons']:g} {name}"] = as_pixels(estimates[:SHOWN])
        arrays["truth"] = as_pixels(objects[:SHOWN])
    for level, call in zip(levels, both, strict=True):
        objects, intensities = digits.test_patterns({**shared, "photons": level}, context.mnist)
        best: tuple[float, Tensor] = (-np.inf, objects)
        for name, schedule in CLASSICAL.items():
            result = reconstruct(schedule, intensities)
            estimates = result.obj.clamp(max=1)  # as the networks know
            found = scores(estimates, objects)
            seconds = {"seconds_per_image": round(result.seconds / len(objects), 6)}
            rows.append({"photons": level, "method": name, "kind": "classical", **found, **seconds})
            best = max(best, (found["aligned_psnr"], estimates), key=lambda pair: pair[0])
        arrays[f"{level:g} best classical"] = as_pixels(best[1][:SHOWN])
        found = scores(estimate(refined(*call)[0], best[1], context.bfloat16), objects)
        rows.append({"photons": level, "method": "best classical, then network", "kind": "network", **found})
    budget = {"images": took[0]["training_images"], "epochs": max(row.get("epochs", 0) for row in rows)}
    return Result(sorted(rows, key=lambda row: -row["photons"]), config.get("seed", 0), budget, arrays)


def reconstruct(schedule: str, intensities: Tensor) -> pr.solvers.Reconstruction:
    """The best of three starts by residual."""
    box = torch.ones(digits.SHAPE, dtype=torch.bool)
    options = {"schedule": schedule, "support": box, "constraint": "nonnegative", "starts": STARTS}
    return run_solver(pr.solvers.reconstruct, intensities, **options)


# --- solver, then network ---------------------------------------------------------------------------------------------


def refined(settings: Settings, data: Path | None, folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """A network trained from classical reconstructions of one half of the photons, on the other half."""
    settings = {**digits.DEFAULTS, **settings}

    def parts() -> tuple[Patterns, Patterns]:
        seed = settings["seed"]
        images = images_of(pr.datasets.mnist(data), settings["images"])
        objects = pr.datasets.SymmetryVariant.named(settings["variant"], images, seed=seed)[:]
        counts, unit = digits.counted(objects, settings["photons"], seed)
        generator = torch.Generator().manual_seed(seed + 1)
        half = torch.binomial(counts, torch.full_like(counts, 0.5), generator=generator)
        starts = reconstruct(settings["schedule"], half * 2 * unit).obj
        # A pattern's second half beside the unit of its own exposure, by which the loss finds its intensity.
        targets = torch.stack([counts - half, unit.expand_as(counts)], 1)
        training, validation = zip(divided(starts), divided(targets), strict=True)
        return Patterns(training[0], torch.clone, training[1]), Patterns(validation[0], torch.clone, validation[1])

    def test(net: nn.Module) -> Tensor:
        _, intensities = digits.test_patterns(settings, data)
        return estimate(net, reconstruct(settings["schedule"], intensities).obj, settings["bfloat16"])

    network = partial(Refinement, settings["depth"], settings["width"])
    return trained_once(network, likelihood, parts, settings, folder, test)


class Refinement(nn.Module):
    """A residual network from a reconstruction to a better one, with values between 0 and 1."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.net = pr.models.DnCNN(depth=depth, channels=width)

    def forward(self, image: Tensor) -> Tensor:
        """(b, n1, n2) -> (b, n1, n2)."""
        return self.net(image).clamp(0, 1)


def likelihood(net: nn.Module, start: Tensor, target: Tensor) -> Tensor:
    """The likelihood of the photons that the start was not made from: half of all, so the intensity is halved too."""
    counts, unit = target[:, 0], target[:, 1]
    return pr.losses.passive_loss(net(start) * (2 * unit[:, :1, :1]).rsqrt(), counts, domain="poisson")


def draw(rows: list[Row], arrays: dict[str, Any]) -> Figure:
    """Aligned PSNR against photons, and what the methods make of the first test digits."""
    levels = sorted({row["photons"] for row in rows}, reverse=True)
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = Figure(figsize=(14, 9), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.35])
    axis = left.subplots()
    for method in methods:
        found = {row["photons"]: row for row in rows if row["method"] == method}
        style = "o-" if found[levels[0]]["kind"] == "network" else "s--"
        axis.plot(levels, [found[level]["aligned_psnr"] for level in levels], style, label=method, markersize=4)
    axis.set(xscale="log", xlabel="photons per detector pixel", ylabel="aligned PSNR (dB)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    shown = ["best classical", *(method for method in methods if method.startswith(("network", "solver")))]
    lines = [("truth", "truth"), *((f"{level:g} {name}", f"{level:g}: {name}") for level in levels for name in shown)]
    for axes, (key, title) in zip(grid(right, len(lines), SHOWN), lines, strict=True):
        show(axes, arrays[key])
        label(axes[0], title, fontsize=7)
    return figure
