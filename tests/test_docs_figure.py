"""The live figure of docs/cannot_see.rst computes what the library does; its pictures are those of their script."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import Tensor

import phaseret as pr

DOCS = Path(__file__).parents[1] / "docs"
GRID, BOX = (64, 64), (32, 32)
KNOWN: dict[str, Any] = {"support": torch.ones(BOX) > 0, "constraint": "nonnegative", "check_every": 1}
ALGORITHMS = {
    "ErrorReduction": pr.solvers.ErrorReduction,
    "HIO": pr.solvers.HIO,
    "RRR": pr.solvers.RRR,
}

Ask = Callable[[str], Any]


@pytest.fixture(scope="module")
def ask() -> Ask:
    """The value of an expression of JavaScript beside the figure's mathematics, in an engine without a page."""
    racer = pytest.importorskip("py_mini_racer")
    engine = racer.MiniRacer()
    engine.eval((DOCS / "_static/cannot_see.js").read_text(encoding="utf-8"))
    return lambda expression: json.loads(engine.eval(f"JSON.stringify({expression})"))


def grid(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(GRID)


def in_python(algorithm: str, n: int, intensity: Tensor, start: Tensor) -> tuple[pr.solvers.Reconstruction, Tensor]:
    """What the library gives from the same starts (*, 64, 64), and the iterates it ends with."""
    iterates = []
    result = ALGORITHMS[algorithm](n)(
        intensity, **KNOWN, init=start, starts=len(start), callback=lambda run: iterates.append(run.iterate[0].clone())
    )
    return result, iterates[-1]


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["2", "3", "4", "5", "7", "F"])
def test_the_pattern_is_that_of_the_operator(ask: Ask, name: str) -> None:
    found = ask(f"phaseretFigure.run({{object: '{name}', n: 0}})")
    obj = grid(found["object"])[:32, :32]
    assert obj.max() == 1
    assert grid(found["object"]).count_nonzero() == obj.count_nonzero() > 20  # all of it lies in the box
    torch.testing.assert_close(grid(found["intensity"]), pr.operators.fourier_intensity(obj, GRID), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*found by few of their starts:UserWarning")  # they are one run
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_step_is_that_of_the_solver(ask: Ask, algorithm: str) -> None:
    """Each from where the figure is: in a whole run all algorithms but error reduction magnify rounding."""
    found = ask(
        f"""(() => {{
          const intensity = phaseretFigure.intensityOf(phaseretFigure.real(phaseretFigure.objectNamed("5")));
          const solver = new phaseretFigure.Solver(intensity, "{algorithm}", 3);
          const [iterates, estimates] = [[Array.from(solver.iterate)], []];
          for (let k = 0; k < 40; k++) {{
            solver.step();
            iterates.push(Array.from(solver.iterate));
            estimates.push(Array.from(solver.estimate));
          }}
          return {{ intensity: Array.from(intensity), iterates, estimates, errors: solver.errors }};
        }})()"""
    )
    iterates = torch.stack([grid(values) for values in found["iterates"]])
    result, ends = in_python(algorithm, 1, grid(found["intensity"]), iterates[:-1])
    torch.testing.assert_close(ends, iterates[1:], rtol=0, atol=1e-12)
    estimates = torch.stack([grid(values)[:32, :32] for values in found["estimates"]])
    torch.testing.assert_close(result.objs, estimates, rtol=0, atol=1e-12)
    torch.testing.assert_close(result.errors.tolist(), found["errors"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [1, 10, 25])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_whole_run_is_that_of_the_solver(ask: Ask, algorithm: str, n: int) -> None:
    """Twenty-five steps of HIO make a difference of 1e-16 one of 2e-9 at most (16 runs); after 40 it is 6e-6."""
    found = ask(f"phaseretFigure.run({{object: '4', algorithm: '{algorithm}', n: {n}, seed: 1}})")
    result, end = in_python(algorithm, n, grid(found["intensity"]), grid(found["start"])[None])
    for ours, theirs in (grid(found["iterate"]), end[0]), (grid(found["estimate"])[:32, :32], result.obj):
        assert (ours - theirs).norm() < 1e-4 * theirs.norm()
    torch.testing.assert_close(torch.tensor(found["errors"], dtype=torch.float64), result.history[0], rtol=1e-4, atol=0)


def test_a_start_has_the_measured_magnitude(ask: Ask) -> None:
    found = ask("phaseretFigure.run({object: '7', n: 0, seed: 5})")
    intensity = torch.fft.fft2(grid(found["start"]), norm="ortho").abs().square()
    torch.testing.assert_close(intensity, grid(found["intensity"]), rtol=0, atol=1e-12)
    assert ask("phaseretFigure.run({object: '7', n: 0, seed: 6})")["start"] != found["start"]


# --- symmetries -------------------------------------------------------------------------------------------------------


def moved(ask: Ask, moves: str) -> tuple[Tensor, float]:
    """A copy of the object 4, complex, and the largest change of its pattern."""
    found = ask(
        f"""(() => {{
          const object = phaseretFigure.objectNamed("4");
          const copy = phaseretFigure.copyWith(object, {moves});
          const before = phaseretFigure.intensityOf(phaseretFigure.real(object));
          const change = phaseretFigure.largestChange(phaseretFigure.intensityOf(copy), before);
          return {{ re: Array.from(copy.re), im: Array.from(copy.im), change }};
        }})()"""
    )
    return torch.complex(grid(found["re"]), grid(found["im"])), found["change"]


def test_copies_are_those_of_the_library_and_the_pattern_stands_still(ask: Ask) -> None:
    obj, none = moved(ask, "{}")
    assert none == 0
    copy, change = moved(ask, "{flip: true, phase: 0.7, down: 20, right: -9}")
    expected = pr.symmetry.global_phase(obj[:32, :32].flip(0, 1), 0.7)
    expected = pr.symmetry.shift(torch.nn.functional.pad(expected, (0, 32, 0, 32)), (20, -9))
    torch.testing.assert_close(copy, expected, rtol=0, atol=1e-15)
    assert change < 1e-13


def test_the_mirror_image_has_another_pattern(ask: Ask) -> None:
    assert moved(ask, "{mirror: true}")[1] > 1e-3


@pytest.mark.parametrize("flip", ["true", "false"])
def test_alignment_finds_how_an_answer_was_moved(ask: Ask, flip: str) -> None:
    found = ask(
        f"""(() => {{
          const object = phaseretFigure.objectNamed("4");
          const shown = {{ flip: true, phase: 1, down: 20, right: -9 }};
          const answer = phaseretFigure.copyWith(object, {{ flip: {flip}, down: 17, right: -4 }});
          return phaseretFigure.compare(answer, object, shown);
        }})()"""
    )
    assert found["correlation"] == pytest.approx(1)
    assert (found["flip"], found["down"], found["right"]) == (flip == "false", -3, 5)
    assert found["asItStands"] < 0.9


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.once
def test_pictures_are_those_of_their_script(tmp_path: Path) -> None:
    runpy.run_path(str(DOCS / "cannot_see/pictures.py"))["main"](tmp_path)
    kept = {path.name for path in (DOCS / "cannot_see").glob("*.png")}
    assert kept == {path.name for path in tmp_path.glob("*.png")}
    for name in kept - {"solvers.png"}:  # the path of a solver depends on the processor
        ours, theirs = (plt.imread(folder / name)[..., :3] for folder in (DOCS / "cannot_see", tmp_path))
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).mean() < 0.01, name
