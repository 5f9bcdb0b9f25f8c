"""The experiments of the paper that train for seconds, tiny: they run, and their claims hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")
pytest.importorskip("skimage")
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.usefixtures("examples_path")]

BUDGET = {"learning_rate": 0.003, "epochs": 1}


def run(name: str, config: dict[str, Any], folder: Path) -> Any:
    """The result of an experiment with these settings; its figure can be drawn."""
    import importlib

    from paper.experiment import Context

    module = importlib.import_module(f"paper.{name}")
    data = os.environ.get("PHASERET_DATA_DIR")
    result = module.run(Context(config, None if data is None else Path(data), folder))
    assert module.draw(result.rows, result.arrays).axes
    return result


def test_fig1_copies_have_one_intensity(tmp_path: Path) -> None:
    result = run("fig1", {"digit": 7, "canvas": [48, 48], "fourier_shape": [96, 96]}, tmp_path)
    for row in result.rows:
        limit = {"float32": 1e-5, "float64": 1e-13}[row["precision"]]
        assert (row["difference_over_largest"] < limit) == row["symmetry"]
    assert {row["object"] for row in result.rows} == {"real", "complex"}


VECTORS = {
    "width": 32,
    "depth": 3,
    "domain": "magnitude",
    "batch_size": 100,
    "test_samples": 200,
    "seeds": [0],
    **BUDGET,
}


def test_fig2_more_samples_help_only_if_the_sign_is_broken(tmp_path: Path) -> None:
    config = {**VECTORS, "samples": [30, 2000], "samples_per_epoch": 20_000}
    result = run("fig2", config, tmp_path)
    errors = {(row["objective"], row["samples"]): row["aligned_error"] for row in result.rows}
    assert errors["naive", 2000] > 0.9
    assert errors["active", 2000] < 0.3
    assert errors["passive", 2000] < 0.3
    assert set(result.arrays) == {"training", "test", "naive", "active", "passive"}


def test_gaussian_runs_every_objective_and_neighbours(tmp_path: Path) -> None:
    config = {**VECTORS, "sizes": [3], "samples": [40, 200], "samples_per_epoch": 5000}
    result = run("gaussian", config, tmp_path)
    network = [row for row in result.rows if row["method"] == "network"]
    neighbours = [row for row in result.rows if row["method"] == "neighbours"]
    assert (len(network), len(neighbours)) == (2 * 2 * 4, 2 * 2 * 2)
    assert all(row["aligned_error"] <= row["raw_error"] for row in result.rows)
    errors = {(row["field"], row["objective"]): row["aligned_error"] for row in network if row["samples"] == 200}
    for field in ("real", "complex"):
        assert errors[field, "active"] < errors[field, "naive"]


def test_other_data_scores_networks_and_solvers_on_real_and_complex_images(tmp_path: Path) -> None:
    config = {
        **BUDGET,
        "data": ["faces", "cell", "atoms"],
        "images": 64,
        "channels": [4, 8],
        "complex_output": "modulus_phase",
        "seed": 0,
        "test_images": 4,
        "solver": {"iterations": 30, "starts": 2},
    }
    result = run("other_data", config, tmp_path)
    assert [(row["data"], row["method"]) for row in result.rows] == [
        (data, method) for data in config["data"] for method in ("dnn_v", "dnn_p", "invariant", "rrr", "hio")
    ]
    assert {row["data"] for row in result.rows if row["kind"] == "complex"} == {"cell"}
    for row in result.rows:
        assert row["aligned_psnr"] >= row["raw_psnr"]
        assert row["ambiguous_share_canonical"] <= row["ambiguous_share"]
