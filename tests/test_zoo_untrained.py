"""The leaderboard's protocol untrained, tiny: what stands in the rows is of the systems and objects it says."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest
import torch

import phaseret as pr

pytest.importorskip("lightning")
pytest.importorskip("skimage")
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.usefixtures("examples_path")]

SMALL = {"channels": [8, 8], "lr": 0.01}
CONFIG = {
    "seed": 0,
    "test_images": 2,
    "runs": 2,
    "starts": 2,
    "default_starts": 2,
    "schedules": ["hio:30,er:5"],
    "priors": {
        "few steps": {"output": "double", "steps": 2, **SMALL},
        "more steps": {"output": "double", "steps": 40, **SMALL},
        "real": {"output": "nonnegative", "steps": 5, **SMALL},
    },
}


def test_rows_of_complex_and_real_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import training
    from paper.experiment import Context
    from zoo import untrained

    data = os.environ.get("PHASERET_DATA_DIR")
    monkeypatch.setattr(pr.datasets, "mnist", cache(pr.datasets.mnist))
    context = Context(CONFIG, None if data is None else Path(data), tmp_path)
    first = untrained.run(context)
    rows = {row["system"]: row for row in first.rows}
    assert [(row["system"], row["values"], row["runs"]) for row in first.rows] == [
        ("hio:30,er:5", "complex", 2),
        ("reconstruct's default", "complex", 1),
        ("few steps", "complex", 2),
        ("more steps", "complex", 2),
        ("hio:30,er:5, real digits", "real", 2),
        ("reconstruct's default, real digits", "real", 1),
        ("real, real digits", "real", 2),
    ]
    assert rows["more steps"]["relative_magnitude_error"] < rows["few steps"]["relative_magnitude_error"]
    assert rows["reconstruct's default, real digits"]["success_percent"] == 100
    assert set(first.arrays) == {"truth", *rows}
    monkeypatch.setattr(training, "save_array", None)  # nothing is fitted again
    again = untrained.run(context)
    assert again.rows[2] == first.rows[2]


def test_each_run_has_its_own_network() -> None:
    from zoo.untrained import prior

    settings = {"output": "double", "channels": [4, 4]}
    first, again, other = prior(settings, 0), prior(settings, 0), prior(settings, 1)
    assert torch.equal(first(), again())
    assert not torch.equal(first(), other())
    assert type(prior({**settings, "output": "real_imaginary"}, 0)) is pr.models.DeepImagePrior
