"""The third symmetry: complex objects in a loose box, where HIO, RAAR and RRR find nothing.

Digits are the modulus, a smooth random phase (a cubic polynomial of about two pi) multiplies it; the only constraint is
the 28 x 28 box. Networks with complex outputs learn passively and up to symmetry; another learns the modulus alone, up
to shift and flip. The support that a network's modulus shows (above a share of its maximum, grown by some pixels) then
goes into RRR, and with the widest margin into the default recipe of `reconstruct`, which narrows it further. A digit is
recovered if its aligned relative error is below 5 %; of several starts that of the smallest residual counts.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import phaseret as pr
from paper.digits import FOURIER_SHAPE, HELD_OUT
from paper.experiment import Context, Result, Row
from training import Patterns, Settings, estimate, finish, finished, fit, images_of, run_all, save_array

SHOWN = 8
# What each network is trained on and gives; "modulus" sees nothing of the phase.
OUTPUTS = {"dnn_p": "modulus_phase", "invariant": "modulus_phase", "modulus": "unit"}


def complex_digits(modulus: Tensor, seed: int) -> Tensor:
    """The digits with a smooth random phase each."""
    n = modulus.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(-1, 1, n), torch.linspace(-1, 1, n), indexing="ij")
    terms = torch.stack([x, y, x * y, x**2, y**2, x**3, y**3])
    phase = (torch.randn(len(modulus), len(terms), generator=generator) @ terms.flatten(1)).unflatten(-1, (n, n))
    return torch.polar(modulus, 2 * phase)


def dnn_p(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
    """The measurement is compared."""
    return pr.losses.passive_loss(net(intensity), intensity)


def invariant(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
    """The object is compared up to shift, flip and phase."""
    return pr.losses.invariant_loss(net(intensity), obj)


def modulus(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
    """The modulus is compared up to shift and flip."""
    return pr.losses.invariant_loss(net(intensity), obj.abs())


LOSSES = {"dnn_p": dnn_p, "invariant": invariant, "modulus": modulus}


def train(settings: Settings, data: Path | None, folder: Path) -> dict[str, Any]:
    """Train one network and apply it to the test objects; what the training took."""
    done = finished(folder, settings)
    if done is not None:
        return done
    objects = complex_digits(images_of(pr.datasets.mnist(data), settings["images"]), settings["seed"])
    objects = pr.datasets.SymmetryVariant.named("flip", objects, seed=settings["seed"])[:]
    split = len(objects) - len(objects) // HELD_OUT
    measure = pr.operators.FourierIntensity(FOURIER_SHAPE)
    training, validation = (Patterns(objects[part], measure) for part in (slice(split), slice(split, None)))
    torch.manual_seed(settings["seed"])
    net = pr.models.UNet(
        (28, 28),
        FOURIER_SHAPE,
        output=OUTPUTS[settings["objective"]],
        representation=settings["representation"],
        channels=settings["channels"],
    )
    loss = LOSSES[settings["objective"]]
    took = fit(net, loss, training, validation, settings, folder, title="/".join(folder.parts[-2:]))
    estimates = estimate(net, measure(test_objects(settings, data)), settings["bfloat16"])
    save_array(folder / "estimates.npy", estimates)
    return finish(folder, settings, took)


def test_objects(settings: Settings, data: Path | None) -> Tensor:
    """Complex test digits, the same for all."""
    return complex_digits(images_of(pr.datasets.mnist(data, train=False), settings["test_images"]), 10**6)


def relative_error(estimates: Tensor, objects: Tensor) -> Tensor:
    """|aligned estimate - object| / |object|, (N)."""
    found = pr.symmetry.align(estimates, objects, fourier_shape=FOURIER_SHAPE)
    square = found.error * objects[0].numel()
    return (square / objects.abs().square().sum((-2, -1))).sqrt()


def grown(support: Tensor, pixels: int) -> Tensor:
    """The support and all pixels at most so many away along both axes."""
    size = 2 * pixels + 1
    return nn.functional.max_pool2d(support.float()[:, None], size, stride=1, padding=pixels)[:, 0] > 0


def run(context: Context) -> Result:
    """Classical algorithms, networks, networks then solver, and the solver that is told the support."""
    config = dict(context.config)
    solver = config.pop("solver")
    calls = [
        ({**config, "objective": name, "bfloat16": context.bfloat16}, context.mnist, context.folder / name)
        for name in OUTPUTS
    ]
    took = run_all(train, calls, context.jobs)
    objects = test_objects(config, context.mnist)
    intensities = pr.operators.fourier_intensity(objects, FOURIER_SHAPE)
    rows: list[Row] = []
    arrays = {"truth": _pixels(objects)}

    def add(method: str, estimates: Tensor, seconds: float, **more: Any) -> None:
        error = relative_error(estimates, objects)
        arrays[method] = _pixels(estimates)
        rows.append(
            {
                "method": method,
                "recovered_percent": round(100 * (error < 0.05).double().mean().item(), 1),
                "median_relative_error": round(error.median().item(), 4),
                "seconds_per_image": round(seconds / len(objects), 5),
                **more,
            }
        )

    def solve(method: str, schedule: str | None, support: Tensor, starts: int, **more: Any) -> None:
        began = time.perf_counter()
        result = pr.solvers.reconstruct(
            intensities, schedule=schedule, support=support, starts=starts, constraint="complex"
        )
        add(method, result.obj, time.perf_counter() - began, schedule=schedule or "default", starts=starts, **more)

    box = torch.ones(28, 28, dtype=torch.bool)
    for name in ("hio", "raar", "rrr"):
        solve(f"{name}, box", f"{name}:{solver['iterations']},er:50", box, solver["starts"])
    solve("default recipe of reconstruct, box", None, box, solver["default_starts"])
    for (_, _, folder), cost, name in zip(calls, took, OUTPUTS, strict=True):
        estimates = torch.from_numpy(np.load(folder / "estimates.npy"))
        if estimates.is_complex():
            add(f"network {name}", estimates, 0.0, **cost)
        for pixels in solver["grown"]:
            shown = estimates.abs()
            support = grown(shown >= solver["threshold"] * shown.amax((-2, -1), keepdim=True), pixels)
            covered = pr.symmetry.align(support.float(), (objects.abs() > 0.1).float()).aligned > 0.5
            share = (covered & (objects.abs() > 0.1)).sum() / (objects.abs() > 0.1).sum()
            solve(
                f"network {name}, then rrr in its support grown by {pixels}",
                f"rrr:{solver['iterations']},er:50",
                support,
                solver["starts"],
                covered_percent=round(100 * share.item(), 1),
                support_pixels=round(support.sum().item() / len(support), 1),
            )
        solve(
            f"network {name}, then the default recipe in its support grown by {pixels}",
            None,
            support,
            solver["default_starts"],
        )
    solve("rrr, told the support", f"rrr:{solver['iterations']},er:50", objects.abs() > 0, solver["starts"])
    budget = {"images": took[0]["training_images"], "epochs": max(cost["epochs"] for cost in took)}
    return Result(rows, config["seed"], budget, arrays)


def _pixels(images: Tensor) -> Any:
    """Modulus and phase of the images shown, as bytes."""
    shown = images[:SHOWN].cpu()
    values = torch.stack([shown.abs().clamp(0, 1), shown.angle() / (2 * torch.pi) + 0.5])
    return values.mul(255).round().to(torch.uint8).numpy()


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
    axes = right.subplots(2 * len(shown), SHOWN, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
    for line, name in enumerate(shown):
        for part in range(2):
            for column in range(SHOWN):
                modulus, phase = arrays[name][:, column] / 255.0
                axis = axes[2 * line + part, column]
                axis.imshow(phase if part else modulus, cmap="twilight" if part else "gray", vmin=0, vmax=1)
                axis.axis("off")
        corner = axes[2 * line, 0]
        title = corner.text(0, 1.08, f"{name}: modulus, phase", transform=corner.transAxes, fontsize=8)
        title.set_in_layout(False)  # it is wider than its panel
    return figure
