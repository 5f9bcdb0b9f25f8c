"""Phase objects in the near field, seen by few photons: Goy et al. (2018).

Transparent objects of 28 x 28 pixels delay a plane wave by up to pi; 32 x 32 pixels of the beam are detected at a
distance with a Fresnel number of 1/32 per pixel, which spreads each pixel over the whole field, with 10 photons per
pixel on average, or one. Digits are objects that a prior says much of, patches of photographs such that it says little
of; the photographs of the test are others than those of the training (the patches that choose the epoch are not: they
overlap patches of the training). The residual network sees the approximant (magnitudes propagated back with phase 0)
or, for comparison, the raw intensity; one network for each number of photons.

Classical systems know what the networks know: the range of the phase, and that the margin of the beam is empty.
"Gerchberg-Saxton" is the algorithm that the source compares with; "likelihood + TV" minimises the Poisson likelihood
with the total variation of the phase as a penalty, from the estimate of Gerchberg-Saxton. Iterations of the first and
weight of the second are chosen for each number of photons on objects of the training set, by the error from the truth.

Scored are phases in units of their range: nothing but their constant is open, and the margin tells it. `correlation` is
the source's score, Pearson's between the phases.

What was seen: with one photon the network that sees the approximant is 1.0 dB better on digits and 0.3 dB on
photographs than the one that sees the intensity; with 10 photons it is 0.4 dB better on photographs and 0.1 dB worse on
digits. So the claim of the source, which speaks of a significant improvement, holds where photons are fewest; these are
differences of one seed and a small budget. Both networks are 8 dB or more above Gerchberg-Saxton with one photon, where
the best number of its iterations is one and it gains nothing over the approximant, and 6 to 8 dB above the penalised
likelihood, which on photographs with 10 photons is the best of all, at 20 times the cost.

The figure shows, from left to right, two digits at 10 photons and at one, and two photographs at 10 and at one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import phaseret as pr
from experiments import Context, Result, Row
from experiments.board import Board, together
from experiments.data import FreshNoise, Patterns, divided, images_of
from experiments.fit import Settings, estimate
from experiments.images import natural, orientations
from experiments.scoring import correlation
from experiments.store import trained_once

SEES = ("intensity", "approximant")
SHOWN = 2


class PhaseObject(pr.operators.Operator):
    """From the phase of an object, in units of its range, to the field at the detector; not linear in the phase.

    Args:
        near: Propagation from the object to the detector.
        delay: Range of the phase in radians.
        margin: Pixels of empty beam on all sides.
    """

    object_ndim = data_ndim = 2

    def __init__(self, near: pr.operators.Fresnel, delay: float, margin: int) -> None:
        super().__init__()
        self.near, self.delay = near, delay
        inside = torch.zeros(near.fourier_shape)
        inside[margin:-margin, margin:-margin] = 1
        self.register_buffer("inside", inside)

    def wave(self, image: Tensor) -> Tensor:
        """Behind the object."""
        return torch.polar(torch.ones_like(image), self.delay * image)

    def linear(self, obj: Tensor) -> Tensor:
        """At the detector."""
        return self.near.linear(self.wave(obj))

    def image(self, wave: Tensor) -> Tensor:
        """The phase of a wave, in units of the range and cut off there; that of the margin is 0."""
        beam = (wave * (1 - self.inside)).sum((-2, -1), keepdim=True)
        # Angles are told apart best in the middle of the range.
        centred = wave * beam.conj() * torch.exp(-0.5j * torch.tensor(self.delay))
        return (centred.angle() / self.delay + 0.5).clamp(0, 1) * self.inside


def physics(settings: Settings) -> PhaseObject:
    """The measurement of the settings."""
    side = 28 + 2 * settings["margin"]
    near = pr.operators.Fresnel((side, side), fresnel_number=settings["fresnel_number"])
    return PhaseObject(near, settings["delay"], settings["margin"])


def counted(operator: PhaseObject, photons: float, objects: Tensor, generator: torch.Generator) -> Tensor:
    """Counts in units of the beam."""
    return pr.noise.poisson_noise(operator(objects), photons_per_pixel=photons, generator=generator)


# --- objects ----------------------------------------------------------------------------------------------------------


def digits(settings: Settings, data: Path | None) -> tuple[Tensor, Tensor, Tensor]:
    """To train on, for validation, and for the test."""
    images = images_of(pr.datasets.mnist(data), settings["images"])
    return *divided(images), images_of(pr.datasets.mnist(data, train=False), settings["test_images"])


def photographs(settings: Settings, data: Path | None) -> tuple[Tensor, Tensor, Tensor]:
    """To train on, in all orientations and often enough; for validation, from one end of a picture; for the test."""
    found = natural(None)
    training, validation = divided(found.training)
    turned = orientations(training)
    turned = torch.cat([turned, pr.symmetry.conj_flip(turned)])
    repeats = -(-settings["images"] // len(turned))
    chosen = torch.linspace(0, len(found.test) - 1, min(settings["test_images"], len(found.test))).long()
    return turned.repeat(repeats, 1, 1)[: settings["images"]], validation, found.test[chosen]


OBJECTS: dict[str, Callable[[Settings, Path | None], tuple[Tensor, Tensor, Tensor]]] = {
    "digits": digits,
    "photographs": photographs,
}


# --- systems ----------------------------------------------------------------------------------------------------------


def distance(net: nn.Module, obj: Tensor, intensity: Tensor, operator: PhaseObject) -> Tensor:
    """Between the wave of the network and that of the object: no phase jumps."""
    return pr.losses.supervised_loss(net(intensity), operator.wave(obj))


def trained(
    settings: Settings, operator: PhaseObject, images: tuple[Tensor, Tensor], folder: Path
) -> tuple[nn.Module, Row]:
    """The network of the settings, and what its training took."""
    measure = partial(counted, operator, settings["photons"])

    def data() -> tuple[Patterns, Patterns]:
        seed = settings["seed"]
        return FreshNoise(images[0], measure, seed), FreshNoise(images[1], measure, seed + 1, renewed=False)

    def network() -> nn.Module:
        shape = operator.near.fourier_shape
        return pr.models.ResidualNet(operator.near, shape, sees=settings["sees"], channels=settings["channels"])

    return trained_once(network, partial(distance, operator=operator), data, settings, folder)


def approximant(intensities: Tensor, operator: PhaseObject) -> Tensor:
    """The phase after the magnitudes have been propagated back with phase 0."""
    return operator.image(operator.near.adjoint(intensities.sqrt() + 0j))


def gerchberg_saxton(intensities: Tensor, *, operator: PhaseObject, iterations: int) -> Tensor:
    """Alternating projections onto the magnitudes and onto the phase objects, from an empty beam."""
    image = torch.zeros_like(intensities)
    for _ in range(iterations):
        field = operator.linear(image)
        image = operator.image(operator.near.adjoint(torch.polar(intensities.sqrt(), field.angle())))
    return image


def likelihood_tv(
    intensities: Tensor, *, operator: PhaseObject, weight: float, start: Tensor, photons: float, iterations: int
) -> Tensor:
    """The phase of smallest negative log-likelihood of the counts plus weighted total variation, by Adam."""
    image = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], 0.05)
    counts, brighter = photons * intensities, Brighter(operator, photons)
    for _ in range(iterations):
        down, right = image.diff(dim=-2)[..., :, :-1], image.diff(dim=-1)[..., :-1, :]
        variation = (down.square() + right.square() + 1e-6).sqrt().mean((-2, -1)).sum()
        unlikely = pr.losses.passive_loss(image, counts, brighter, domain="poisson", reduction="sum")
        optimizer.zero_grad()
        (unlikely + weight * math.sqrt(photons) * variation).backward()
        optimizer.step()
        with torch.no_grad():
            image.clamp_(0, 1).mul_(operator.inside)
    return image.detach()


class Brighter(pr.operators.Operator):
    """A measurement in units of counts."""

    def __init__(self, operator: pr.operators.Operator, photons: float) -> None:
        super().__init__()
        self.operator, self.amplitude = operator, math.sqrt(photons)
        self.object_ndim, self.data_ndim = operator.object_ndim, operator.data_ndim

    def linear(self, obj: Tensor) -> Tensor:
        """The field at the detector, whose power is the expected count."""
        return self.amplitude * self.operator.linear(obj)


def best(settings: Sequence[Any], system: Callable[[Any], Tensor], objects: Tensor) -> Any:
    """The setting of a system whose estimates come closest to the objects, in decibels."""
    errors = [(system(setting) - objects).square().mean((-2, -1)).clamp_min(1e-12).log().mean() for setting in settings]
    return settings[int(torch.stack(errors).argmin())]


def pearson(estimates: Tensor, objects: Tensor) -> float:
    """Mean of Pearson's correlation over the items; that of a constant estimate counts as 0."""
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (estimates, objects))
    return float(f"{float(correlation(a, b).mean()):.4g}")


# --- the comparison ---------------------------------------------------------------------------------------------------


class Phases(Board):
    """Systems on phase objects, with the source's score of the first run."""

    def enter(self, system: str, kind: str, runs: Tensor, seconds: float, show: bool = True, **about: Any) -> None:
        """A row, with the source's score."""
        about = {"correlation": pearson(runs[0], self.objects), **about}
        super().enter(system, kind, runs, seconds, show, **about)


def compared(context: Context, kind: str, photons: float) -> Phases:
    """All systems on one kind of objects, at one level of photons."""
    config: Settings = {**context.config, "data": kind, "photons": photons, "bfloat16": context.bfloat16}
    classical = config.pop("classical")
    operator = physics(config)
    measure = partial(counted, operator, photons)
    training, validation, objects = (
        nn.functional.pad(part, [config["margin"]] * 4) for part in OBJECTS[kind](config, context.mnist)
    )
    intensities = measure(objects, torch.Generator().manual_seed(config["seed"] + 2))
    how: dict[str, Any] = {"shown": SHOWN, "operator": operator, "symmetric": False}
    board = Phases(objects, intensities, **how, data=kind, photons=photons)
    board.time("approximant", "classical", lambda seen: approximant(seen, operator)[None])
    tuned = training[torch.linspace(0, len(training) - 1, classical["tuned_on"]).long()]
    known = measure(tuned, torch.Generator().manual_seed(config["seed"] + 1))
    project = partial(gerchberg_saxton, operator=operator)
    steps = best(classical["iterations"], lambda number: project(known, iterations=number), tuned)
    board.time("Gerchberg-Saxton", "classical", lambda seen: project(seen, iterations=steps)[None], iterations=steps)
    begun = project(known, iterations=steps)
    descend = partial(likelihood_tv, operator=operator, photons=photons, iterations=classical["descents"])
    weight = best(classical["weights"], lambda value: descend(known, weight=value, start=begun), tuned)

    def penalised(seen: Tensor) -> Tensor:
        return descend(seen, weight=weight, start=project(seen, iterations=steps))[None]

    board.time("likelihood + TV", "classical", penalised, weight=weight)
    for sees in SEES:
        folder = context.folder / f"{kind}-{photons:g}" / sees
        net, took = trained({**config, "sees": sees}, operator, (training, validation), folder)
        apply = partial(estimate, net, bfloat16=context.bfloat16)
        board.time(f"ResidualNet on the {sees}", "learned", lambda seen, f=apply: operator.image(f(seen))[None], **took)
    return board


def run(context: Context) -> Result:
    """All objects and photons: approximant, classical algorithms, networks."""
    config = context.config
    boards = [compared(context, kind, photons) for kind in config["data"] for photons in config["photons"]]
    rows, arrays = together(boards)
    images = max(entry.get("training_images", 0) for entry in rows)
    return Result(rows, config["seed"], {"images": images, "epochs": config["epochs"]}, arrays)
