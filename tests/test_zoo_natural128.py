"""Natural images of the leaderboard, tiny: the source's noise, and systems that improve what they are given."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import phaseret as pr

for package in ("lightning", "matplotlib", "safetensors", "skimage", "sklearn"):
    pytest.importorskip(package)
pytestmark = pytest.mark.filterwarnings("default", "ignore:.*starts")


def config() -> dict[str, Any]:
    training = {"batch_size": 8, "learning_rate": 0.01, "one_cycle": True, "epochs": 1}
    return {
        "seed": 0,
        "alphas": [3],
        "test_images": 2,
        "solver": {"starts": 2, "first": 20, "iterations": 100},
        "runs": 2,
        "raar": {"schedule": "raar:20,er:5", "starts": 2},
        "prdeep": {"sigmas": [50, 10], "n_iter": 5, "lam": {3: 0.5}},
        "denoiser": {**training, "depth": 4, "channels": 16, "patches": 800, "size": 32, "sigma": 55},
        "refinement": {
            "images": 10,
            "solver": {"iterations": 50},
            "again": 10,
            "repeats": 2,
            "channels": [8, 16],
            "training": training,
        },
    }


def test_noise_is_that_of_the_source() -> None:
    from experiments.zoo.natural128 import measured

    image, alpha = torch.rand(1, 128, 128), 3
    found = 255**2 * measured(image, alpha, seed=0)[0].double().numpy() / 4
    padded = np.zeros((256, 256))
    padded[64:192, 64:192] = 255 * image[0].numpy()
    magnitude = np.abs(np.fft.fft2(padded)) / 256 * np.sqrt(128**2 / 256**2)
    noise = (found - magnitude**2) / magnitude
    bright = magnitude > 5 * alpha  # where clipping is rare
    assert bright.sum() > 10_000
    assert noise[bright].std() == pytest.approx(alpha, rel=0.05)
    assert abs(noise[bright].mean()) < 0.1
    assert found.min() >= 0


def test_no_picture_is_trained_on_and_tested() -> None:
    from experiments.photographs import TEST, TRAINING, VALIDATION, crops, test_images

    assert not set(TEST) & {*TRAINING, *VALIDATION}
    assert not set(TRAINING) & set(VALIDATION)
    images = test_images(12)
    assert images.shape == (12, 128, 128)
    squares = crops(VALIDATION, 5, 64, seed=0)
    assert squares.shape == (5, 64, 64)
    assert torch.equal(squares, crops(VALIDATION, 5, 64, seed=0))
    for values in (images, squares):
        assert 0 <= values.amin() < values.amax() <= 1


def test_noise_of_the_denoiser_depends_on_seed_epoch_and_index_alone() -> None:
    from experiments.data import FreshNoise
    from experiments.zoo.natural128 import noisy as with_noise

    images, measure = torch.rand(6, 8, 8), partial(with_noise, largest=0.2)
    data = FreshNoise(images, measure, seed=3)
    clean, (noisy, sigma) = data[[4, 1]]
    assert torch.equal(clean, images[[4, 1]])
    assert ((sigma >= 0) & (sigma <= 0.2)).all()
    assert torch.equal(FreshNoise(images, measure, seed=3)[[4, 1]][1][0], noisy)
    data.set_epoch(1)
    assert not torch.equal(data[[4, 1]][1][0], noisy)
    fixed = FreshNoise(images, measure, seed=3, renewed=False)
    fixed.set_epoch(1)
    assert torch.equal(fixed[[4, 1]][1][0], noisy)


def test_network_removes_artefacts_and_sees_estimates_of_both_twins(tmp_path: Path) -> None:
    from experiments.photographs import TRAINING, crops
    from experiments.store import trained_once
    from experiments.zoo.natural128 import Refiner, pairs, refining

    images = crops(TRAINING, 40, 32, seed=0)
    generator = torch.Generator().manual_seed(0)
    stripes = 0.2 * torch.sin(torch.arange(32) * 2.5 + 6 * torch.rand(40, 1, 1, generator=generator))
    training, validation = pairs(images, (images + stripes).flip((-2, -1)))
    assert (len(training), len(validation)) == (36 * 8, 4 * 8)
    image, seen = validation[torch.arange(32)]
    before = (seen - image).square().mean()
    assert before < 0.05  # turned onto their images: otherwise it is near 0.1
    settings = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01}
    net, _ = trained_once(lambda: Refiner([8, 16]), refining, lambda: (training, validation), settings, tmp_path)
    with torch.no_grad():
        assert (net(seen) - image).square().mean() < before / 3


def test_rows_tell_gain_and_budget_and_the_denoiser_is_written(tmp_path: Path) -> None:
    from experiments import Context
    from experiments.zoo.natural128 import run

    context = Context(config(), None, tmp_path)
    result = run(context)
    rows = {row["system"]: row for row in result.rows}
    assert list(result.arrays) == ["truth", *rows]
    assert all(len(images) == 2 for images in result.arrays.values())
    start = rows["HIO from the best of 50"]
    for row in result.rows:
        assert row["over_hio_db"] == pytest.approx(row["aligned_psnr"] - start["aligned_psnr"], abs=0.01)
    assert (start["solver_iterations"], start["denoisings"]) == (140, 0)
    assert (rows["prDeep"]["solver_iterations"], rows["prDeep"]["denoisings"]) == (150, 10)
    assert rows["prDeep"]["seconds_per_image"] > start["seconds_per_image"]
    # Error reduction settles on the data; a network knows nothing of them.
    errors = {name: row["relative_magnitude_error"] for name, row in rows.items()}
    assert errors["HIO from the best of 50, ER"] < errors["HIO from the best of 50"] < errors["HIO, network"]

    denoiser = pr.models.load(tmp_path / "dncnn.safetensors")
    metrics = denoiser.card["metrics"]["psnr_sigma_50"]
    assert metrics["noisy"] == pytest.approx(14.15, abs=0.1)
    assert metrics["denoised"] > metrics["noisy"] + 5
    assert run(context).rows == result.rows  # everything is found


def test_published_denoiser_does_what_its_card_says() -> None:
    from experiments.photographs import test_images
    from experiments.zoo.natural128 import denoised

    net = pr.models.load("dncnn")
    found = denoised(net, test_images(12), sigma=25)
    assert found["denoised"] > found["noisy"] + 7
    assert found == pytest.approx(net.card["metrics"]["psnr_sigma_25"], abs=0.1)  # other noise: +- 0.02 dB
