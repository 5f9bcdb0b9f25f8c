"""The leaderboard's protocol mnist64, tiny, and the weights that it writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

import phaseret as pr

pytest.importorskip("lightning")
pytest.importorskip("skimage")
pytestmark = pytest.mark.filterwarnings("default", "ignore:.*starts")

TINY = {"images": 100, "epochs": 1, "batch_size": 20, "learning_rate": 0.001}
CONFIG: dict[str, Any] = {
    "seed": 0,
    "test_images": 6,
    "starts": 2,
    "fig5": {**TINY, "channels": [4, 8], "test_images": 4, "headline_seeds": [0]},
    "small": {**TINY, "channels": [2, 4]},
    "finetune": {"images": 3, "steps": 5, "lr": 1e-3, "parameters": "all"},
    "rrr": {"iterations": 60, "beta": 1.2},
    "classical": {"er": 60, "rrr": 60},
    "tuning": {"images": 20, "hio": [0.01, 0.9]},
    "unrolled": {"Unrolled HIO": {**TINY, "algorithm": "hio", "stages": 2, "iterations": 2, "channels": 2}},
}


def test_systems_of_the_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments import Context
    from experiments.zoo import mnist64

    data = os.environ.get("PHASERET_DATA_DIR")
    folder = tmp_path / "runs/zoo/cpu/mnist64"
    context = Context(CONFIG, None if data is None else Path(data), folder)
    result = mnist64.run(context)
    rows = {row["system"]: row for row in result.rows}
    assert len(rows) == len(result.rows)
    assert {path.name for path in (tmp_path / "runs/paper/cpu/fig5/flip_shift").iterdir()} == set(mnist64.OBJECTIVES)
    for system in (*mnist64.OBJECTIVES.values(), *mnist64.SMALL.values()):
        network, adapted, solved = rows[system], rows[f"{system}, finetune"], rows[f"{system}, RRR"]
        assert (adapted["images"], solved["runs"]) == (3, 1)
        assert solved["relative_magnitude_error"] < 0.5 * network["relative_magnitude_error"]
        assert adapted["aligned_psnr"] != adapted["network_psnr"]
    assert rows["RRR, best of 2"]["best_by_residual_psnr"] > rows["ER, best of 2"]["best_by_residual_psnr"]
    assert rows["Unrolled HIO"]["iterations"] == rows["HIO, 6 iterations"]["iterations"] == 6
    assert rows["HIO, 6 iterations, tuned beta"]["beta"] in (0.01, 0.9)
    assert set(result.arrays) <= {"truth", *rows}
    # The files it writes give the networks of the rows.
    loaded = pr.models.load(folder / "unet_dnn_p.safetensors")
    objects, intensities = mnist64.digits.test_patterns({"test_images": 6}, context.mnist)
    with torch.no_grad():
        psnr = pr.metrics.psnr(loaded(intensities), objects).item()
    assert psnr == pytest.approx(rows["small U-Net DNN-P"]["aligned_psnr"], abs=0.05)
    assert loaded.card["metrics"]["aligned_psnr"] == rows["small U-Net DNN-P"]["aligned_psnr"]
    for function in ("fit", "save_array"):  # nothing is trained or adapted again
        monkeypatch.setattr(f"experiments.store.{function}", None)
    assert len(mnist64.run(context).rows) == len(rows)


def test_relaxation_is_tuned_on_training_digits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments import Context
    from experiments.zoo.mnist64 import DigitsBoard

    data = os.environ.get("PHASERET_DATA_DIR")
    board = DigitsBoard(Context(CONFIG, None if data is None else Path(data), Path()))
    asked, mnist = [], pr.datasets.mnist
    monkeypatch.setattr(
        pr.datasets, "mnist", lambda *args, train=True: asked.append(train) or mnist(*args, train=train)
    )
    assert board.best_beta("hio", 300) == 0.9  # with 0.01 it is error reduction, which stagnates
    assert asked == [True]


@pytest.mark.parametrize(("channels", "expected"), [(0, 7), (2, 9)])
def test_the_solver_may_iterate_as_often_as_the_unrolled_network_projects(
    channels: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.zoo.mnist64 import projections
    from phaseret.projections import MagnitudeConstraint

    count = []
    project = MagnitudeConstraint.project
    monkeypatch.setattr(MagnitudeConstraint, "project", lambda self, x: count.append(1) or project(self, x))
    net = pr.models.Unrolled((4, 4), (8, 8), stages=3, n_iter=2, channels=channels)
    net(torch.rand(2, 8, 8))
    assert len(count) == projections(net) == expected
