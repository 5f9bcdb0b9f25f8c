"""One network, one objective, one set of digits: the training that several experiments are made of.

Settings (all optional but images and epochs): variant, objective, domain, representation, channels, photons and
those of `training.fit`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import phaseret as pr
from paper.scoring import scores
from training import Patterns, Settings, estimate, finish, finished, fit, images_of, load_weights, save_array

FOURIER_SHAPE = (64, 64)
HELD_OUT = 20  # one training image in so many is for early stopping, not for training
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


class Objective:
    """(network, objects, intensities) -> loss, for the objectives of the paper and beyond."""

    def __init__(self, settings: Settings) -> None:
        self.name, self.domain = settings["objective"], settings["domain"]
        self.photons = settings["photons"] or 100.0  # of noise-free data: some number that a likelihood can be of

    def __call__(self, net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
        estimate = net(intensity)
        if self.name == "dnn_v":
            return pr.losses.supervised_loss(estimate, obj)
        if self.name == "canonical":
            return pr.losses.supervised_loss(estimate, pr.symmetry.canonicalize(obj))
        if self.name == "invariant":
            return pr.losses.invariant_loss(estimate, obj)
        if self.domain == "poisson":
            # The likelihood is that of counts.
            counts_per_unit = self.photons / intensity.mean((-2, -1), keepdim=True).clamp_min(1e-12)
            return pr.losses.passive_loss(
                estimate * counts_per_unit.sqrt(), intensity * counts_per_unit, domain="poisson"
            )
        return pr.losses.passive_loss(estimate, intensity, domain=self.domain)


def network(settings: Settings, object_shape: tuple[int, ...]) -> nn.Module:
    """The U-Net of the settings, with the weights of its seed."""
    torch.manual_seed(settings["seed"])
    return pr.models.UNet(
        object_shape,
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
    objects = pr.datasets.SymmetryVariant.named(settings["variant"], images, seed=seed)
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


def train(settings: Settings, data: Path | None, folder: Path) -> dict[str, Any]:
    """Train one network and apply it to the test digits; what the training took. One that is done is not repeated.

    Writes metrics.json, estimates.npy (of the test digits) and best.ckpt into the folder.
    """
    settings = {**DEFAULTS, **settings}
    done = finished(folder, settings)
    if done is not None:
        return done
    images = images_of(pr.datasets.mnist(data), settings["images"])
    split = len(images) - len(images) // HELD_OUT
    training = patterns(settings, images[:split], settings["seed"])
    validation = patterns({**settings, "augment": False}, images[split:], settings["seed"] + 1)
    net = network(settings, training.objects.object_shape)
    took = fit(net, Objective(settings), training, validation, settings, folder, title="/".join(folder.parts[-3:]))
    _, intensities = test_patterns(settings, data)
    estimates = estimate(net, intensities, settings.get("bfloat16", False))
    save_array(folder / "estimates.npy", estimates)
    return finish(folder, settings, took)


def scored(settings: Settings, data: Path | None, folder: Path) -> tuple[dict[str, float], Tensor, Tensor]:
    """Scores of the estimates that `train` left in the folder, the estimates, and the test objects."""
    objects, _ = test_patterns(settings, data)
    estimates = torch.from_numpy(np.load(folder / "estimates.npy"))
    # The relative magnitude error is that of noise-free data, also where noisy ones were measured.
    return scores(estimates, objects), estimates, objects


def trained(folder: Path, settings: Settings, object_shape: tuple[int, ...]) -> nn.Module:
    """The network that `train` left in the folder."""
    net = network({**DEFAULTS, **settings}, object_shape)
    load_weights(net, folder / "best.ckpt")
    return net.eval()
