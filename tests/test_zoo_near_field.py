"""The near-field protocol, tiny: its physics is right, and networks do better than what they see."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("skimage")
pytestmark = pytest.mark.filterwarnings("default", "ignore:.*starts")

SETTINGS = {"fresnel_number": 1 / 32, "delay": math.pi, "margin": 2, "seed": 0}


def framed(count: int) -> torch.Tensor:
    """Smooth phases in an empty margin."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 1, 4, 4, generator=generator)
    image = torch.nn.functional.interpolate(coarse, size=(28, 28), mode="bilinear")[:, 0]
    return torch.nn.functional.pad(image, (2, 2, 2, 2))


def test_the_image_of_a_wave_is_its_phase_up_to_the_global_one() -> None:
    from experiments.zoo.near_field import physics

    operator = physics(SETTINGS)
    image = framed(3)
    wave = operator.wave(image) * torch.exp(1j * torch.tensor([0.0, 2.0, -3.0]))[:, None, None]
    torch.testing.assert_close(operator.image(wave), image, atol=1e-4, rtol=0)
    torch.testing.assert_close(operator(image).mean((-2, -1)), torch.ones(3))  # a phase object absorbs nothing


def test_gerchberg_saxton_and_the_likelihood_come_closer_than_the_approximant() -> None:
    from experiments.zoo.near_field import approximant, counted, gerchberg_saxton, likelihood_tv, physics

    operator, image = physics(SETTINGS), framed(4)
    seen = counted(operator, 100.0, image, torch.Generator().manual_seed(0))
    first, turned = approximant(seen, operator), gerchberg_saxton(seen, operator=operator, iterations=20)
    best = likelihood_tv(seen, operator=operator, weight=1.0, start=turned, photons=100.0, iterations=100)
    errors = [(found - image).square().mean() for found in (first, turned, best)]
    assert errors[2] < errors[1] < errors[0]
    torch.testing.assert_close(gerchberg_saxton(seen, operator=operator, iterations=1), first, atol=1e-4, rtol=0)


def test_fresh_noise_depends_on_seed_and_epoch_alone() -> None:
    from experiments.data import FreshNoise
    from experiments.zoo.near_field import counted, physics

    operator, image = physics(SETTINGS), framed(4)

    def measure(objects: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return counted(operator, 10.0, objects, generator)

    data, other = (FreshNoise(image, measure, 0) for _ in range(2))
    assert torch.equal(data[[2, 1]][1], other[[2, 1]][1])
    data.set_epoch(1)
    assert not torch.equal(data[[2, 1]][1], other[[2, 1]][1])
    assert torch.equal(data[[2, 1]][0], image[[2, 1]])
    fixed = FreshNoise(image, measure, 0, renewed=False)
    fixed.set_epoch(1)
    assert torch.equal(fixed[[2, 1]][1], other[[2, 1]][1])


def test_both_networks_do_better_than_the_approximant(tmp_path: Path) -> None:
    from experiments import Context
    from experiments.zoo import near_field

    config: dict[str, Any] = {
        **SETTINGS,
        "data": ["digits"],
        "photons": [100.0],
        "images": 1500,
        "epochs": 1,
        "batch_size": 32,
        "learning_rate": 0.003,
        "channels": [8, 16],
        "test_images": 20,
        "classical": {"iterations": [5], "weights": [3.0], "descents": 20, "tuned_on": 5},
    }
    data = os.environ.get("PHASERET_DATA_DIR")
    result = near_field.run(Context(config, None if data is None else Path(data), tmp_path))
    rows = {row["system"]: row for row in result.rows}
    assert ["truth", *rows] == list(result.arrays)
    seen, raw = rows["ResidualNet on the approximant"], rows["ResidualNet on the intensity"]
    assert min(seen["aligned_psnr"], raw["aligned_psnr"]) > rows["approximant"]["aligned_psnr"]
    assert seen["parameters"] > raw["parameters"]
    for entry in rows.values():
        assert entry["raw_psnr"] == pytest.approx(entry["aligned_psnr"], abs=0.01)
        assert -1 <= entry["correlation"] <= 1
