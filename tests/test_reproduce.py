"""The experiments of the paper, tiny: rows, figures, and what a second start does not do again."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import phaseret as pr

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")
pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples"))

TINY: dict[str, Any] = {
    "images": 60,
    "epochs": 1,
    "batch_size": 20,
    "learning_rate": 0.001,
    "one_cycle": True,
    "channels": [4, 8],
    "test_images": 16,
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
    "photons": {
        **TINY,
        "photons": [24.4, 0.244],
        "seed": 0,
        "solver_then_network": {"images": 60, "epochs": 1, "schedule": "hio:20,er:5", "depth": 3, "width": 4},
    },
    "complex_objects": {
        **TINY,
        "test_images": 8,
        "representation": "magnitude",
        "seed": 0,
        "solver": {"iterations": 300, "starts": 1, "default_starts": 1, "threshold": 0.15, "grown": [1]},
    },
}
PARTS = ("raw_psnr", "aligned_psnr", "aligned_ssim", "relative_magnitude_error", "is_object", "is_superposition")


@pytest.fixture(scope="module")
def reproduce() -> ModuleType:
    return importlib.import_module("reproduce")


def run(name: str, folder: Path) -> Any:
    """The module of the experiment and what its tiny configuration gave."""
    experiment = importlib.import_module("paper.experiment")
    module = importlib.import_module(f"paper.{name}")
    return module, module.run(experiment.Context(CONFIGURATIONS[name], None, folder / name))


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
    monkeypatch.setattr(importlib.import_module("paper.digits"), "fit", None)
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


def test_photons(tmp_path: Path) -> None:
    module, result = run("photons", tmp_path)
    found = {(row["photons"], row["method"]): row for row in result.rows}
    networks = {"network, magnitude", "network, poisson", "solver, then network", "best classical, then network"}
    methods = {*networks, *module.CLASSICAL}
    assert set(found) == {(level, method) for level in (24.4, 0.244) for method in methods}
    for method in module.CLASSICAL:
        assert found[24.4, method]["aligned_psnr"] > found[0.244, method]["aligned_psnr"] + 3
    drawn(module, result, tmp_path)


def test_complex_objects(tmp_path: Path) -> None:
    module, result = run("complex_objects", tmp_path)
    recovered = {row["method"]: row["recovered_percent"] for row in result.rows}
    assert recovered["rrr, box"] == 0
    assert recovered["rrr, told the support"] >= 75
    assert {f"network {name}, then rrr in its support grown by 1" for name in module.OUTPUTS} <= set(recovered)
    drawn(module, result, tmp_path)


# --- what the experiments say of estimates ----------------------------------------------------------------------------


def test_copies_and_superpositions_are_told_apart() -> None:
    from paper.scoring import copies

    digits = pr.datasets.mnist()[20:40]
    objects = torch.nn.functional.pad(digits, (2, 2, 2, 2))
    kinds = {
        "is_object": objects,
        "is_flip": objects.flip(-2, -1),
        "is_superposition": objects / 2 + objects.flip(-2, -1).roll(2, -1) / 2,
    }
    for kind, estimates in kinds.items():
        found = {name: value.double().mean().item() for name, value in copies(estimates, objects).items()}
        rest = {"is_object", "is_flip", "is_superposition"} - {kind}
        # Digits that nearly are their own flip may count as either.
        assert found[kind] >= 0.75, (kind, found)
        assert sum(found[name] for name in rest) <= 0.25, (kind, found)
    assert not copies(objects, objects)["is_novel_copy"].any()
    assert not copies(objects.roll(1, -1), objects)["is_novel_copy"].any()
    assert copies(objects.roll(2, -1), objects)["is_novel_copy"].all()
    blurred = torch.nn.functional.avg_pool2d(objects[:, None], 5, 1, 2)[:, 0]
    for other in (torch.full_like(objects, 0.1), blurred, blurred.roll(1, 0), blurred.mean(0).expand_as(objects)):
        assert copies(other, objects)["is_superposition"].double().mean() <= 0.25


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    from paper import digits

    with pytest.raises(ValueError, match=r"the data must hold 10000 images, got 4500\. Give MNIST's IDX files: --data"):
        digits.train({**TINY, "images": 10_000}, None, tmp_path)


def test_thinned_photons_are_independent_halves() -> None:
    from paper.digits import counted

    objects = pr.datasets.mnist()[:10]
    counts, unit = counted(objects, 50.0, 0)
    clean = pr.operators.fourier_intensity(objects, (64, 64))
    assert torch.equal(counts, counts.round())
    assert counts.mean().item() == pytest.approx(50, rel=0.02)
    torch.testing.assert_close((counts * unit).mean((-2, -1)), clean.mean((-2, -1)), rtol=0.02, atol=0)


# --- the command ------------------------------------------------------------------------------------------------------


def test_results_are_saved_and_drawn_again(
    reproduce: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reproduce, "configuration", lambda name, preset: CONFIGURATIONS[name])
    monkeypatch.delenv("PHASERET_DATA_DIR", raising=False)
    reproduce.main(["hybrid", "--out", str(tmp_path / "runs"), "--results", str(tmp_path)])
    saved = json.loads((tmp_path / "hybrid.json").read_text())
    assert saved["command"] == "python examples/reproduce.py hybrid --preset cpu"
    assert saved.keys() == {"command", "commit", "hardware", "seed", "budget", "rows"}
    assert "hybrid.png" in capsys.readouterr().out
    (tmp_path / "hybrid.png").unlink()
    reproduce.main(["--report", "--results", str(tmp_path)])
    assert (tmp_path / "hybrid.png").read_bytes().startswith(b"\x89PNG")


def test_every_experiment_has_both_presets(reproduce: ModuleType) -> None:
    for name in reproduce.EXPERIMENTS:
        for preset in ("cpu", "paper"):
            assert reproduce.configuration(name, preset)


@pytest.mark.parametrize("name", [path.stem for path in sorted((ROOT / "benchmarks/results").glob("*.json"))])
def test_committed_results_can_be_drawn_again(reproduce: ModuleType, name: str, tmp_path: Path) -> None:
    if name not in reproduce.EXPERIMENTS:
        return
    for kind in ("json", "npz"):
        source = ROOT / "benchmarks" / "results" / f"{name}.{kind}"
        if source.exists():
            (tmp_path / source.name).write_bytes(source.read_bytes())
    reproduce.report(name, tmp_path)
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_mistakes_of_the_command_are_one_line(reproduce: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (([], "name at least one experiment"), (["fig5", "--jobs", "0"], "--jobs must be at")):
        with pytest.raises(SystemExit):
            reproduce.main(arguments)
        assert message in capsys.readouterr().err
    for names in (["fig5"], []):
        with pytest.raises(SystemExit, match=r"reproduce: error: .*--results must hold "):
            reproduce.main([*names, "--report", "--results", "absent"])
    with pytest.raises(SystemExit, match="reproduce: error: fig5: mnist: root must be a folder that holds"):
        reproduce.main(["fig5", "--data", "absent"])
