"""One network, one objective, one set of digits: the training that several experiments are made of.

Settings (all optional but images and epochs): variant, objective, domain, representation, channels, photons and
those of `fit.fit`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import phaseret as pr
from experiments.data import Patterns, divided, images_of
from experiments.fit import Loss, Settings, estimate
from experiments.objectives import OBJECTIVES
from experiments.scoring import scores
from experiments.store import estimates_in, trained_once

SHAPE, CANVAS, FOURIER_SHAPE = (28, 28), (32, 32), (64, 64)  # of a digit, of a shifted one, of the data
DEFAULTS: Settings = {
    "variant": "flip_shift",
    "objective": "dnn_p",
    "domain": "magnitude",
    "representation": "magnitude",
    "channels": [32, 64, 128, 256],
    "photons": None,  # per detector pixel; None: no noise
    "test_images": 1000,
    "seed": 0,
    "augment": False,
}


def objective(settings: Settings) -> Loss:
    """What the settings' objective minimises; the passive one in the settings' domain."""
    if settings["objective"] != "dnn_p":
        return OBJECTIVES[settings["objective"]]
    photons = settings["photons"] or 100.0  # of noise-free data: some number that a likelihood can be of

    def passive(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
        estimate, domain = net(intensity), settings["domain"]
        if domain == "poisson":  # the likelihood is that of counts
            counts_per_unit = photons / intensity.mean((-2, -1), keepdim=True).clamp_min(1e-12)
            estimate, intensity = estimate * counts_per_unit.sqrt(), intensity * counts_per_unit
        return pr.losses.passive_loss(estimate, intensity, domain=domain)

    return passive


def network(settings: Settings) -> nn.Module:
    """The U-Net of the settings, with the weights of its seed."""
    torch.manual_seed(settings["seed"])
    return pr.models.UNet(
        CANVAS if "shift" in settings["variant"] else SHAPE,
        FOURIER_SHAPE,
        output="unit",
        representation=settings["representation"],
        channels=settings["channels"],
    )


def counted(objects: Tensor, photons: float, seed: int) -> tuple[Tensor, Tensor]:
    """Photons that the detector counts, so many a pixel on average, and the intensity that one of them stands for.

    Each object is exposed for as long as it takes; how long is known, so the unit is that of the noise-free data.
    """
    generator = torch.Generator().manual_seed(seed)
    counts, units = [], []
    for part in objects.split(1000):
        clean = pr.operators.fourier_intensity(part, FOURIER_SHAPE)
        counts.append(pr.noise.poisson_noise(clean, photons_per_pixel=photons, counts=True, generator=generator))
        units.append(clean.mean((-2, -1), keepdim=True) / photons)
    return torch.cat(counts), torch.cat(units)


def patterns(settings: Settings, images: Tensor, seed: int) -> Patterns:
    """The variant of these images that the settings name, and its intensities."""
    objects = pr.datasets.SymmetryVariant.named(settings["variant"], images, canvas=CANVAS, seed=seed)
    noisy = None
    if settings["photons"] is not None:
        counts, unit = counted(objects[:], settings["photons"], seed)
        noisy = counts * unit
    return Patterns(objects, pr.operators.FourierIntensity(FOURIER_SHAPE), noisy, settings["augment"])


def test_patterns(settings: Settings, data: Path | None) -> tuple[Tensor, Tensor]:
    """Test objects, the same for every seed, and their intensities."""
    settings = {**DEFAULTS, **settings}
    test = patterns(settings, images_of(pr.datasets.mnist(data, train=False), settings["test_images"]), 2)
    return test[:]


def trained(settings: Settings, data: Path | None, folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of the settings and what its training took; trained if it was not yet.

    The folder gets metrics.json, best.ckpt, and the estimates of the test digits.
    """
    settings = {**DEFAULTS, **settings}

    def parts() -> tuple[Patterns, Patterns]:
        training, validation = divided(images_of(pr.datasets.mnist(data), settings["images"]))
        seed, still = settings["seed"], {**settings, "augment": False}
        return patterns(settings, training, seed), patterns(still, validation, seed + 1)

    def test(net: nn.Module) -> Tensor:
        return estimate(net, test_patterns(settings, data)[1], settings.get("bfloat16", False))

    return trained_once(partial(network, settings), objective(settings), parts, settings, folder, test)


def scored(settings: Settings, data: Path | None, folder: Path) -> tuple[dict[str, float], Tensor, Tensor]:
    """Scores of the estimates that the training left in the folder, the estimates, and the test objects."""
    objects, _ = test_patterns(settings, data)
    estimates = estimates_in(folder)
    return scores(estimates, objects), estimates, objects
