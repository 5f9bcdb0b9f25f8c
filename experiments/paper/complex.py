"""The third symmetry: complex objects in a loose box, where HIO, RAAR and RRR find nothing.

Digits are the modulus, a smooth random phase (a cubic polynomial of about two pi) multiplies it; the only constraint is
the 28 x 28 box. Networks with complex outputs learn passively and up to symmetry; another learns the modulus alone, up
to shift and flip. The support that a network's modulus shows (above a share of its maximum, grown by some pixels) then
goes into RRR, and with the widest margin into the default recipe of `reconstruct`, which narrows it further. A digit is
recovered if its aligned relative error is below 5 %; the one of several starts with the smallest residual counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import phaseret as pr
from experiments import Context, Result, Row
from experiments.data import Patterns, complex_digits, divided, images_of
from experiments.digits import FOURIER_SHAPE, SHAPE
from experiments.fit import Loss, Settings, estimate, run_solver
from experiments.objectives import dnn_p, invariant
from experiments.pictures import grid, modulus_and_phase, show
from experiments.scoring import relative_error, solved_percent
from experiments.store import estimates_in, train_all, trained_once

SHOWN = 8


def modulus(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
    """The modulus is compared up to shift and flip."""
    return pr.losses.invariant_loss(net(intensity), obj.abs())


# What each network is trained on and gives; "modulus" sees nothing of the phase.
NETWORKS: dict[str, tuple[Loss, str]] = {
    "dnn_p": (dnn_p, "modulus_phase"),
    "invariant": (invariant, "modulus_phase"),
    "modulus": (modulus, "unit"),
}


def trained(settings: Settings, data: Path | None, folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """One network, whose estimates of the test objects lie in the folder, and what its training took."""
    loss, output = NETWORKS[settings["objective"]]
    measure = pr.operators.FourierIntensity(FOURIER_SHAPE)

    def network() -> nn.Module:
        options = {name: settings[name] for name in ("representation", "channels")}
        return pr.models.UNet(SHAPE, FOURIER_SHAPE, output=output, **options)

    def parts() -> tuple[Patterns, Patterns]:
        objects = complex_digits(images_of(pr.datasets.mnist(data), settings["images"]), settings["seed"])
        objects = pr.datasets.SymmetryVariant.named("flip", objects, seed=settings["seed"])[:]
        training, validation = divided(objects)
        return Patterns(training, measure), Patterns(validation, measure)

    def test(net: nn.Module) -> Tensor:
        return estimate(net, measure(test_objects(settings, data)), settings["bfloat16"])

    return trained_once(network, loss, parts, settings, folder, test)


def test_objects(settings: Settings, data: Path | None) -> Tensor:
    """Complex test digits, the same for all."""
    return complex_digits(images_of(pr.datasets.mnist(data, train=False), settings["test_images"]), 10**6)


def grown(support: Tensor, pixels: int) -> Tensor:
    """The support and all pixels at most so many away along both axes."""
    size = 2 * pixels + 1
    return nn.functional.max_pool2d(support.float()[:, None], size, stride=1, padding=pixels)[:, 0] > 0


def run(context: Context) -> Result:
    """Classical algorithms, networks, networks then solver, and the solver that is told the support."""
    config = dict(context.config)
    how = config.pop("solver")
    calls = [
        ({**config, "objective": name, "bfloat16": context.bfloat16}, context.mnist, context.folder / name)
        for name in NETWORKS
    ]
    took = train_all(trained, calls, context.jobs)
    compared = Comparison(test_objects(config, context.mnist), how)
    for name, algorithm in {"hio": "hio", "raar": "raar(beta=0.9)", "rrr": "rrr"}.items():
        compared.solve(f"{name}, box", algorithm, torch.ones(SHAPE, dtype=torch.bool))
    compared.solve("default recipe of reconstruct, box", None, torch.ones(SHAPE, dtype=torch.bool))
    for (_, _, folder), cost, name in zip(calls, took, NETWORKS, strict=True):
        compared.network(name, estimates_in(folder), cost)
    compared.solve("rrr, told the support", "rrr", compared.objects.abs() > 0)
    budget = {"images": took[0]["training_images"], "epochs": max(cost["epochs"] for cost in took)}
    return Result(compared.rows, config["seed"], budget, compared.arrays)


class Comparison:
    """Methods on the same objects: their rows, and their estimates of the objects shown."""

    def __init__(self, objects: Tensor, how: Settings) -> None:
        self.objects, self.how = objects, how
        self.intensities = pr.operators.fourier_intensity(objects, FOURIER_SHAPE)
        self.rows: list[Row] = []
        self.arrays = {"truth": modulus_and_phase(objects[:SHOWN])}

    def add(self, method: str, estimates: Tensor, seconds: float, **more: Any) -> None:
        """Score a method."""
        error = relative_error(estimates, self.objects, FOURIER_SHAPE)
        self.arrays[method] = modulus_and_phase(estimates[:SHOWN])
        self.rows.append(
            {
                "method": method,
                "recovered_percent": round(solved_percent(error).item(), 1),
                "median_relative_error": round(error.median().item(), 4),
                "seconds_per_image": round(seconds / len(self.objects), 5),
                **more,
            }
        )

    def solve(self, method: str, algorithm: str | None, support: Tensor, **more: Any) -> None:
        """An algorithm, or the default recipe, in this support."""
        schedule = None if algorithm is None else f"{algorithm}:{self.how['iterations']},er:50"
        starts = self.how["default_starts" if algorithm is None else "starts"]
        result = run_solver(
            pr.solvers.reconstruct,
            self.intensities,
            schedule=schedule,
            support=support,
            starts=starts,
            constraint="complex",
        )
        self.add(method, result.obj, result.seconds, schedule=schedule or "default", starts=starts, **more)

    def network(self, name: str, estimates: Tensor, cost: dict[str, Any]) -> None:
        """A network, and the solvers in the supports that its modulus shows."""
        if estimates.is_complex():
            self.add(f"network {name}", estimates, 0.0, **cost)
        modulus, truth = estimates.abs(), self.objects.abs() > 0.1
        for pixels in self.how["grown"]:
            support = grown(modulus >= self.how["threshold"] * modulus.amax((-2, -1), keepdim=True), pixels)
            covered = pr.symmetry.align(support.float(), truth.float()).aligned > 0.5
            about = {
                "covered_percent": round(100 * ((covered & truth).sum() / truth.sum()).item(), 1),
                "support_pixels": round(support.sum().item() / len(support), 1),
            }
            self.solve(f"network {name}, then rrr in its support grown by {pixels}", "rrr", support, **about)
        self.solve(f"network {name}, then the default recipe in its support grown by {pixels}", None, support)


def draw(rows: list[Row], arrays: dict[str, Any]) -> Figure:
    """Share recovered by each method, and modulus and phase of the first objects."""
    figure = Figure(figsize=(14, 0.42 * len(rows) + 1.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.1, 1])
    axis = left.subplots()
    names = [row["method"] for row in rows]
    bars = axis.barh(range(len(rows)), [row["recovered_percent"] for row in rows], color="C0")
    axis.bar_label(bars, fmt="%.0f", padding=2, fontsize=8)
    axis.set_yticks(range(len(rows)), names, fontsize=8)
    axis.invert_yaxis()
    axis.set(xlim=(0, 108), xlabel="recovered (%)")
    best = max((row for row in rows if row["method"].startswith("network")), key=lambda row: row["recovered_percent"])
    shown = ["truth", "rrr, box", best["method"]]
    axes = grid(right, 2 * len(shown), SHOWN)
    for upper, lower, name in zip(axes[::2], axes[1::2], shown, strict=True):
        modulus, phase = arrays[name]
        show(upper, modulus)
        show(lower, phase, cmap="twilight")
        title = upper[0].text(0, 1.08, f"{name}: modulus, phase", transform=upper[0].transAxes, fontsize=8)
        title.set_in_layout(False)  # it is wider than its panel
    return figure
