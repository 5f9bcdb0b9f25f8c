"""The correlography protocol, tiny: its data are what it says, and the published network helps where solvers fail."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import phaseret as pr

pytest.importorskip("lightning")
pytestmark = pytest.mark.filterwarnings("default", "ignore:.*starts")


def test_strokes_are_drawings_that_depend_on_the_seed_alone() -> None:
    from experiments.zoo.correlography import strokes

    drawings = strokes(300, 0)
    assert torch.equal(drawings, strokes(300, 0))
    assert not torch.equal(drawings, strokes(300, 1))
    assert drawings.amin() == 0
    assert drawings.amax() == 1
    assert (drawings.flatten(1).amax(1) > 0.5).all()
    assert 0.05 < drawings.mean() < 0.3


def test_without_floor_gives_the_data_back_where_there_is_no_noise() -> None:
    from experiments.zoo.correlography import FOURIER_SHAPE, strokes, without_floor

    clean = pr.operators.fourier_intensity(strokes(5, 0), FOURIER_SHAPE)
    found = without_floor(clean, 0.0, frames=10, background=0.1)
    assert (found - clean).norm() < 1e-4 * clean.norm()


def test_a_floor_brings_noisy_data_closer_to_the_clean_ones() -> None:
    from experiments.zoo.correlography import FOURIER_SHAPE, measured, strokes, without_floor

    objects, noise = strokes(20, 0), {"frames": 10, "background": 0.3}
    clean = pr.operators.fourier_intensity(objects, FOURIER_SHAPE)
    seen = measured(objects, torch.Generator().manual_seed(0), **noise)
    errors = [(found - clean).norm() for found in (seen.clamp(min=0), without_floor(seen, 1.0, **noise))]
    assert errors[1] < errors[0]


def test_photons_follow_from_the_shot_noise_of_a_speckle_pattern() -> None:
    """Counts of speckle patterns, the slow way: their power spectrum has the background that the formula says."""
    from experiments.zoo.correlography import FOURIER_SHAPE, photons_per_pixel, strokes

    obj, background = strokes(1, 3), 0.1
    photons = photons_per_pixel(obj, background)
    generator = torch.Generator().manual_seed(0)
    field = torch.randn(400, *FOURIER_SHAPE, dtype=torch.complex64, generator=generator)
    field[:, 28:], field[:, :, 28:] = 0, 0
    field[:, :28, :28] *= obj.sqrt()  # an incoherent object lights the wall
    speckle = torch.fft.fft2(field).abs().square()
    counts = torch.poisson(photons * speckle / speckle.mean(), generator=generator)
    power = torch.fft.fft2(counts).abs().square().mean(0)
    lags = torch.fft.fft2(pr.operators.fourier_intensity(obj, FOURIER_SHAPE)).real[0]
    dark = lags < 1e-3 * lags[0, 0]  # lags that the object does not have
    bright = (lags > 0.1 * lags[0, 0]) & (lags < 0.9 * lags[0, 0])  # the mean intensity adds to lag 0
    shot = power[dark].mean()
    scale = ((power[bright] - shot) / lags[bright]).mean()
    assert float(shot / (scale * lags[0, 0])) == pytest.approx(background, rel=0.15)


def test_rows_and_pictures_are_those_of_all_data_and_systems(tmp_path: Path) -> None:
    from experiments import Context
    from experiments.zoo import correlography

    config: dict[str, Any] = {
        "frames": [4, 2],
        "background": 0.1,
        "images": 1600,
        "epochs": 1,
        "batch_size": 16,
        "learning_rate": 0.003,
        "channels": [8, 16, 32],
        "seed": 0,
        "test_images": 8,
        "classical": {
            "floors": [1.0],
            "validation": 2,
            "systems": {"HIO": ["hio:100,er:20", 2], "OSS": ["oss:100", 2]},
        },
    }
    data = os.environ.get("PHASERET_DATA_DIR")
    result = correlography.run(Context(config, None if data is None else Path(data), tmp_path))
    assert len(result.rows) == 2 * 2 * 3
    assert next(iter(result.arrays)) == "truth"
    assert {len(images) for images in result.arrays.values()} == {2 * 2 * correlography.SHOWN}
    assert {row["system"] for row in result.rows} == {"HIO", "OSS", "CorrelographyNet"}
    assert {(row["data"], row["frames"]) for row in result.rows} == {
        (d, f) for d in ("digits", "strokes") for f in (4, 2)
    }


@pytest.mark.once
def test_the_published_network_beats_the_solvers_on_all_data() -> None:
    board = json.loads((Path(__file__).parents[1] / "results" / "leaderboard.json").read_text(encoding="utf-8"))
    rows = [row for row in board["rows"] if row["protocol"] == "correlography"]
    found = [row for row in rows if row["system"] == "CorrelographyNet"]
    assert found
    for learned in found:
        same = [row for row in rows if (row["data"], row["frames"]) == (learned["data"], learned["frames"])]
        assert max(same, key=lambda row: row["best_by_residual_psnr"]) is learned
