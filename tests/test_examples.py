"""The examples: each stands alone, and what a shortened run prints holds."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import phaseret as pr

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# What an example may import beside the standard library: PyTorch, this library and its extras.
PACKAGES = {"torch", "numpy", "phaseret", "matplotlib", "lightning", "torchmetrics", "hypothesis"}
DOWNLOADS = ("urllib", "requests", "urlopen", "torch.hub", "download", "http://", "https://")


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports an example by its name, without its folder on the path; it writes into an empty folder."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)  # code that is reported as text is looked up there
        spec.loader.exec_module(module)
        return module

    monkeypatch.chdir(tmp_path)
    return load


def printed(pattern: str, text: str) -> list[float]:
    """The numbers that a pattern's group finds in what was printed."""
    return [float(number) for number in re.findall(pattern, text)]


# --- the files --------------------------------------------------------------------------------------------------------


def imported(tree: ast.AST) -> set[str]:
    """First parts of the names of all imported modules."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_stands_alone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert imported(ast.parse(text)) <= PACKAGES | set(sys.stdlib_module_names)
    assert len(text.splitlines()) <= 120
    assert [word for word in DOWNLOADS if word in text] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_how_it_is_run_what_it_prints_and_how_long_it_takes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    about = ast.get_docstring(ast.parse(text)) or ""
    assert f"\n    python examples/{path.name}" in about
    assert re.search(r"\bprints\b", about, re.IGNORECASE)
    fast, slow = re.findall(r"Time on one core: (\d+) s; without vector instructions: (\d+) s\.", about)[0]
    assert max(int(fast), int(slow)) <= 120
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(
        rf"^\| \[{path.name}\]\(examples/{path.name}\) \| .* \| {fast} \({slow}\) \|$", readme, re.MULTILINE
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_main_runs_without_arguments(path: Path, example: Callable[[str], ModuleType]) -> None:
    parameters = inspect.signature(example(path.stem).main).parameters.values()
    assert [parameter.name for parameter in parameters if parameter.default is parameter.empty] == []


def test_the_examples_page_names_every_example() -> None:
    page = (ROOT / "docs" / "examples.inc").read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES if f"``{path.name}``" not in page] == []


# --- what they show ---------------------------------------------------------------------------------------------------


def test_two_images_have_one_pattern(example: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    found = example("only_one").main()
    assert found.unique is False
    assert len(found.rivals[0]) == 1
    text = capsys.readouterr().out
    assert "a digit: unique: proved" in text
    assert printed(r"patterns differ by (\S+)", text)[0] < 1e-5


def test_both_trainings_say_how_well_they_do(
    example: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    scores = example("train").main(images=128, epochs=1)
    text = capsys.readouterr().out
    assert {name: len(psnr) for name, psnr in scores.items()} == {"passive": 400, "supervised": 400}
    assert len(printed(r"validation ([\d.]+) dB", text)) == 2
    (gain,) = printed(r"passive - supervised: (-?[\d.]+) dB", text)
    assert gain == pytest.approx(float((scores["passive"] - scores["supervised"]).mean()), abs=0.01)
    assert (tmp_path / "train.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_passive_training_explains_the_data_better_than_supervised_training(
    example: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    example("train").main(images=1600, epochs=3)
    text = capsys.readouterr().out
    passive, supervised = printed(r"error of the magnitude (\d+)%", text)
    assert passive < supervised - 10


def test_lightning_trains_keeps_the_best_epoch_and_repeats_itself(
    example: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    module = example("train_lightning")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice about workers and loggers
        first = module.main(images=320, epochs=2)
        again = module.main(images=320, epochs=2)
    assert first == again
    assert first["aligned_psnr"] > first["raw_psnr"]
    assert printed(r" aligned_psnr: ([\d.]+)", capsys.readouterr().out)[0] == round(first["aligned_psnr"], 3)
    assert (tmp_path / "runs" / "lightning" / "best.ckpt").exists()


def truth_on(shape: torch.Size, obj: Tensor) -> Tensor:
    """The object padded to a shape."""
    return torch.nn.functional.pad(obj, (0, shape[1] - obj.shape[1], 0, shape[0] - obj.shape[0]))


def test_a_file_gives_the_object_that_it_was_made_from(
    example: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    module = example("reconstruct_file")
    obj = module.simulate("given.cxi")
    found = module.main("given.cxi", starts=6)
    assert pr.metrics.nmse(found.obj / found.obj.norm() * obj.norm(), truth_on(found.obj.shape, obj)) < 0.02
    text = capsys.readouterr().out
    (agree,) = printed(r"of all 6 starts, .* (\d) found this object", text)
    assert agree == int((found.agreement > 0.9).sum())
    (pixels,) = printed(r"phases of these agree down to ([\d.]+) pixels", text)
    assert 2 <= pixels < 4
    assert torch.equal(pr.io.load_reconstruction("result.cxi")["obj"], found.obj)
    assert (tmp_path / "result.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_file_one_is_made(example: Callable[[str], ModuleType], tmp_path: Path) -> None:
    example("reconstruct_file").main(starts=1, schedule="hio:20,er:10")
    assert pr.io.load_intensity(tmp_path / "pattern.cxi").fourier_shape == (128, 128)


def test_both_refinements_of_a_network_improve_its_answer(
    example: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    scores = example("refine_with_a_network").main(images=640, epochs=2, tests=20, steps=20)
    psnr = {name: values[0] for name, values in scores.items()}
    assert psnr["network, finetune of 20 steps"] > psnr["network"] + 0.5
    assert psnr["network, 100 iterations of RRR"] > psnr["network"] + 10
    assert scores["network, 100 iterations of RRR"][1] > 0.3
    assert len(printed(r"([\d.]+) dB, +\d+% solved", capsys.readouterr().out)) == len(scores) == 8


def test_a_users_operator_has_its_adjoint_and_serves_losses_and_solvers(
    example: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    module = example("own_operator")
    operator = module.TwoDiffusers((5, 6), (11, 9)).double()
    obj, field = torch.randn(2, 5, 6, dtype=torch.complex128), torch.randn(2, 11, 9, dtype=torch.complex128)
    left, right = torch.vdot(operator.linear(obj).flatten(), field.flatten()), operator.adjoint(field).flatten()
    torch.testing.assert_close(left, torch.vdot(obj.flatten(), right))
    errors = module.main(steps=100)
    assert errors.pop("spectral start") > 0.3
    assert max(errors.values()) < 0.15
    assert (tmp_path / "own_operator.png").read_bytes().startswith(b"\x89PNG")


def solved(algorithm: pr.solvers.Algorithm, **options: Any) -> Tensor:
    """What an algorithm makes of two small problems."""
    obj = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    intensity = pr.operators.fourier_intensity(obj, (16, 16))
    return algorithm(intensity, support=torch.ones(8, 8) > 0, constraint="nonnegative", starts=1, **options).obj


def test_drap_is_error_reduction_at_0_and_douglas_rachford_at_1(example: Callable[[str], ModuleType]) -> None:
    drap = example("own_algorithm").DRAP
    torch.testing.assert_close(solved(drap(20, lam=0.0)), solved(pr.solvers.ErrorReduction(20)))
    torch.testing.assert_close(solved(drap(20, lam=1.0)), solved(pr.solvers.ASR(20)))
    assert not torch.allclose(solved(drap(20, lam=0.5)), solved(drap(20, lam=1.0)))


def test_a_users_algorithm_stands_beside_those_of_the_library(
    example: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    found = example("own_algorithm").main(digits=10, n_iter=400)
    assert found["RRR"] >= 0.7
    assert found["DRAP"] > 0.2
    assert printed(r"(\d+)% solved", capsys.readouterr().out) == [round(100 * share) for share in found.values()]


def test_a_known_pinhole_beats_its_autocorrelation_at_every_dose(
    example: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = example("known_reference").main(digits=2)
    assert all(max(far, near) < 0.7 * read for read, far, near, _ in rows)
    assert printed(r"far (\d\.\d+)", capsys.readouterr().out) == pytest.approx([row[1] for row in rows], abs=6e-4)


def test_an_autoencoder_with_a_known_decoder_is_the_passive_loss(
    example: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    found = example("known_decoder").main(digits=4)
    value, _ = found["passive loss"]
    for name in ("autoencoder", "cycle from data"):
        assert found[name][0] == pytest.approx(value, rel=1e-12)
        assert found[name][1] < 1e-12
    assert found["cycle from objects"][1] > 0.1
    assert len(printed(r"differs by ([\d.e+-]+)", capsys.readouterr().out)) == len(found)


def test_a_users_loss_passes_its_property_tests(example: Callable[[str], ModuleType]) -> None:
    module = example("property_test")
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 4
    for test in tests:
        test()


def test_a_wrong_loss_is_reported_as_code_that_fails(example: Callable[[str], ModuleType]) -> None:
    report = example("property_test").main()
    code = report[report.index("import ") :]
    with pytest.raises(AssertionError, match="must not change under"):
        exec(compile(code, "report", "exec"), {"__name__": "report"})


def test_a_crystal_is_found_from_its_counts_and_its_strain_is_drawn(
    example: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("skimage", reason="the extra crystals is not installed")
    field = example("crystal_strain").main(size=12, grid=28)
    (error,) = printed(r"error: ([\d.]+) times", capsys.readouterr().out)
    assert error < 1.3
    assert 1e-5 < field.strain[field.strain.isfinite()].std() < 1e-1
    assert (tmp_path / "strain.png").read_bytes().startswith(b"\x89PNG")


def test_the_exact_solution_finds_the_digit_and_the_product_among_its_rivals(
    example: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    results = example("exact_solution").main(size=8)
    assert max(error for error, _ in results.values()) < 1e-7
    assert [verdict for _, verdict in results.values()] == ["unique", "several"]
    assert "digit: error" in capsys.readouterr().out
    assert (tmp_path / "exact_solution.png").read_bytes().startswith(b"\x89PNG")
