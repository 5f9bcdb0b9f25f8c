"""The experiments of the paper, tiny: rows, figures, claims, and what a second start does not do again."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

import phaseret as pr
from experiments import Context
from experiments.objectives import OBJECTIVES

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")
pytest.importorskip("skimage")
# Many small trainings whose rows are judged, hardly their quality: once is enough.
pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("default", "ignore:.*starts")]

TINY: dict[str, Any] = {
    "images": 60,
    "epochs": 1,
    "batch_size": 20,
    "learning_rate": 0.001,
    "one_cycle": True,
    "channels": [4, 8],
    "test_images": 16,
}
TAIL = {
    "start": "invariant",
    "schedule": "rrr(beta=1.3):60",
    "bounds": True,
    "tolerance": 0.02,
    "check_every": 1,
    "starts": 1,
    "images": 4,
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "fig5": {
        **TINY,
        "seeds": [0],
        "headline_seeds": [0, 1],
        "headline_objectives": ["dnn_p"],
        "larger": {"images": 80, "epochs": 1, "objectives": ["dnn_p"]},
    },
    "ablation": {**TINY, "representations": ["magnitude"], "learning_rates": [0.001, 0.01], "seeds": [0]},
    "hybrid": {
        "test_images": 8,
        "iterations": [5, 200],
        "classical": [{"schedule": "rrr:200", "starts": 2}],
        "fig5": {**TINY, "headline_seeds": [0], "larger": {"images": 80, "epochs": 1, "objectives": ["invariant"]}},
    },
    "tail": {
        "test_images": 6,
        "networks": ["invariant"],
        "others": ["faces"],
        "runs": [
            TAIL,
            TAIL | {"bounds": False, "tolerance": None},
            TAIL | {"start": "random", "schedule": "rrr(beta=1.3):20", "check_every": 10, "starts": 2},
            TAIL | {"schedule": "learned:20", "tolerance": None},
        ],
    },
    "photons": {
        **TINY,
        "photons": [24.4, 0.244],
        "seed": 0,
        "solver_then_network": {"images": 60, "epochs": 1, "schedule": "hio:20,er:5", "depth": 3, "width": 4},
    },
    "complex": {
        **TINY,
        "test_images": 2,
        "representation": "magnitude",
        "seed": 0,
        "solver": {"iterations": 300, "starts": 1, "default_starts": 1, "threshold": 0.15, "grown": [1]},
    },
}
PARTS = ("raw_psnr", "aligned_psnr", "aligned_ssim", "relative_magnitude_error", "is_object", "is_superposition")


def run(name: str, folder: Path, config: dict[str, Any] | None = None) -> Any:
    """The module of the experiment and what its tiny configuration gave."""
    module = importlib.import_module(f"experiments.paper.{name}")
    return module, module.run(Context(CONFIGURATIONS[name] if config is None else config, None, folder / name))


def drawn(module: Any, result: Any, folder: Path) -> None:
    path = folder / "figure.png"
    module.draw(json.loads(json.dumps(result.rows)), result.arrays).savefig(path, dpi=30)
    assert path.stat().st_size > 3000


# --- experiments ------------------------------------------------------------------------------------------------------


def test_fig5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, result = run("fig5", tmp_path)
    found = [(row["variant"], row["objective"], row["seed"]) for row in result.rows]
    objectives = ("dnn_v", "dnn_p", "invariant", "canonical")
    singles = [(variant, objective, 0) for variant in ("none", "shift", "flip") for objective in objectives]
    headline = [("flip_shift", objective, 0) for objective in objectives]
    headline.insert(2, ("flip_shift", "dnn_p", 1))
    assert found == [*singles, *headline, ("flip_shift", "dnn_p", 0)]
    assert [row["training_images"] for row in result.rows] == [57] * 17 + [76]
    assert all(row.keys() >= {*PARTS, "epochs", "training_images", "images_per_second"} for row in result.rows)
    assert all(row["aligned_psnr"] >= row["raw_psnr"] - 1e-4 for row in result.rows)
    assert result.budget == {"images": 57, "epochs": 1}
    drawn(module, result, tmp_path)
    # A second start trains nothing.
    monkeypatch.setattr("experiments.store.fit", None)
    assert run("fig5", tmp_path)[1].rows == result.rows


def test_ablation(tmp_path: Path) -> None:
    module, result = run("ablation", tmp_path)
    found = {(row["domain"], row["learning_rate"]): row for row in result.rows}
    assert set(found) == {
        *((domain, rate) for domain in ("magnitude", "intensity", "poisson") for rate in (0.001, 0.01)),
        ("autocorrelation", 0.01),
    }
    # Parseval: the same objective.
    same, other = found["autocorrelation", 0.01], found["intensity", 0.01]
    assert same["aligned_psnr"] == pytest.approx(other["aligned_psnr"], abs=0.1)
    drawn(module, result, tmp_path)


def test_hybrid(tmp_path: Path) -> None:
    module, result = run("hybrid", tmp_path)
    by_start = {(row["start"], row["solver"], row["iterations"]): row["solved_percent"] for row in result.rows}
    assert by_start["dnn_p", "none", 0] == 0
    assert by_start["random", "rrr:200, best of 2", 400] >= 80
    for solver in ("RRR, beta 0.5", "RRR, beta 1.2", "HIO"):
        for start in ("random", "dnn_p", "invariant, larger budget"):
            assert by_start[start, solver, 5] <= by_start[start, solver, 200]
    drawn(module, result, tmp_path)


def test_tail(tmp_path: Path) -> None:
    module, result = run("tail", tmp_path)
    assert [row["objects"] for row in result.rows] == 4 * ["digits"] + 4 * ["faces"]
    assert {row["images"] for row in result.rows} == {4}
    short, fixed, random, learned = result.rows[:4]
    assert learned["mean_iterations"] == 20
    assert short["mean_iterations"] < 60
    assert fixed["mean_iterations"] == 60
    assert random["mean_iterations"] <= 40  # of both starts
    assert short["mean_iterations_ratio"] == short["processor_seconds_per_image_ratio"] == 1
    for k, row in enumerate(result.rows):
        assert (result.arrays[f"solved_{k}"] > 0).mean() == pytest.approx(row["solved_percent"] / 100, abs=1e-3)
    drawn(module, result, tmp_path)


def test_photons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("experiments.paper.photons")
    short = {name: re.sub(r"\d{2,}", "20", schedule) for name, schedule in module.CLASSICAL.items()}
    monkeypatch.setattr(module, "CLASSICAL", short)
    module, result = run("photons", tmp_path, {**CONFIGURATIONS["photons"], "test_images": 6})
    found = {(row["photons"], row["method"]): row for row in result.rows}
    networks = {"network, magnitude", "network, poisson", "solver, then network", "best classical, then network"}
    methods = {*networks, *module.CLASSICAL}
    assert set(found) == {(level, method) for level in (24.4, 0.244) for method in methods}
    drawn(module, result, tmp_path)


@pytest.mark.slow
def test_photons_more_of_them_help_every_solver(tmp_path: Path) -> None:
    module, result = run("photons", tmp_path)
    found = {(row["photons"], row["method"]): row for row in result.rows}
    for method in module.CLASSICAL:
        assert found[24.4, method]["aligned_psnr"] > found[0.244, method]["aligned_psnr"] + 3


def test_complex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    solve = pr.solvers.reconstruct
    monkeypatch.setattr(
        pr.solvers, "reconstruct", lambda data, **options: solve(data, **{**options, "schedule": "hio:20,er:5"})
    )
    module, result = run("complex", tmp_path)
    methods = {row["method"] for row in result.rows}
    assert {"rrr, box", "rrr, told the support"} <= methods
    assert {f"network {name}, then rrr in its support grown by 1" for name in module.NETWORKS} <= methods
    drawn(module, result, tmp_path)


@pytest.mark.slow
def test_complex_digits_are_recovered_by_a_solver_that_is_told_the_support(tmp_path: Path) -> None:
    _, result = run("complex", tmp_path, {**CONFIGURATIONS["complex"], "test_images": 8})
    recovered = {row["method"]: row["recovered_percent"] for row in result.rows}
    assert recovered["rrr, box"] == 0
    assert recovered["rrr, told the support"] >= 75


def test_fig1_copies_have_one_intensity(tmp_path: Path) -> None:
    module, result = run("fig1", tmp_path, {"digit": 7, "canvas": [48, 48], "fourier_shape": [96, 96]})
    for row in result.rows:
        limit = {"float32": 1e-5, "float64": 1e-13}[row["precision"]]
        assert (row["difference_over_largest"] < limit) == row["symmetry"]
    assert {row["object"] for row in result.rows} == {"real", "complex"}
    drawn(module, result, tmp_path)


BUDGET = {"learning_rate": 0.003, "epochs": 1}
VECTORS = {
    "width": 32,
    "depth": 3,
    "domain": "magnitude",
    "batch_size": 100,
    "test_samples": 200,
    "seeds": [0],
    **BUDGET,
}


def test_fig2(tmp_path: Path) -> None:
    module, result = run("fig2", tmp_path, {**VECTORS, "samples": [30, 60], "samples_per_epoch": 1000})
    drawn(module, result, tmp_path)
    assert {(row["objective"], row["samples"]) for row in result.rows} == {
        (objective, samples) for objective in module.OBJECTIVES for samples in (30, 60)
    }
    assert set(result.arrays) == {"training", "test", "naive", "active", "passive"}


@pytest.mark.slow
def test_fig2_more_samples_help_only_if_the_sign_is_broken(tmp_path: Path) -> None:
    _, result = run("fig2", tmp_path, {**VECTORS, "samples": [30, 2000], "samples_per_epoch": 20_000})
    errors = {(row["objective"], row["samples"]): row["aligned_error"] for row in result.rows}
    assert errors["naive", 2000] > 0.9
    assert errors["active", 2000] < 0.3
    assert errors["passive", 2000] < 0.3


def test_gaussian_runs_every_objective_and_neighbours(tmp_path: Path) -> None:
    config = {**VECTORS, "sizes": [3], "samples": [40, 200], "samples_per_epoch": 5000}
    module, result = run("gaussian", tmp_path, config)
    drawn(module, result, tmp_path)
    network = [row for row in result.rows if row["method"] == "network"]
    neighbours = [row for row in result.rows if row["method"] == "neighbours"]
    assert (len(network), len(neighbours)) == (2 * 2 * 4, 2 * 2 * 2)
    assert all(row["aligned_error"] <= row["raw_error"] for row in result.rows)
    errors = {(row["field"], row["objective"]): row["aligned_error"] for row in network if row["samples"] == 200}
    for field in ("real", "complex"):
        assert errors[field, "active"] < errors[field, "naive"]


def test_slices_compare_objectives_on_equal_data(tmp_path: Path) -> None:
    config = {**BUDGET, "images": 40, "channels": [4, 8], "representation": "magnitude", "span": 2, "seeds": [0, 1]}
    module, result = run("slices", tmp_path, {**config, "test_images": 4})
    drawn(module, result, tmp_path)
    assert [(row["objective"], row["seed"]) for row in result.rows] == [
        (objective, seed) for objective in OBJECTIVES for seed in (0, 1)
    ]
    for cost in ("training_images", "epochs", "parameters"):
        assert len({row[cost] for row in result.rows}) == 1
    one, other = module.slices(18, 0, 2), module.slices(18, 10**6, 2)
    assert one.shape == (18, 31, 31)
    assert not (one == other).flatten(1).all(1).any()
    exact = module.scored(one.roll(1, 1).flip(1, 2).conj() * 1j, one)
    assert max(exact["aligned_relative_error"], exact["phase_error"]) < 1e-3
    assert exact["iou"] == 1
    assert exact["raw_relative_error"] > 0.5


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
    module, result = run("other_data", tmp_path, config)
    drawn(module, result, tmp_path)
    assert [(row["data"], row["method"]) for row in result.rows] == [
        (data, method) for data in config["data"] for method in ("dnn_v", "dnn_p", "invariant", "rrr", "hio")
    ]
    assert {row["data"] for row in result.rows if row["kind"] == "complex"} == {"cell"}
    for row in result.rows:
        assert row["aligned_psnr"] >= row["raw_psnr"]
        assert row["ambiguous_share_canonical"] <= row["ambiguous_share"]
