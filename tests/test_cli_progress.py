"""What the command says while a run lasts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

import phaseret as pr
from phaseret.cli._progress import Progress


def test_lines_come_now_and_then_and_not_of_short_runs(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    progress = Progress(True, clock=lambda: now[0])
    run: Any = SimpleNamespace(
        error=torch.tensor([[0.2, 0.1]]), problem=SimpleNamespace(shape=(30, 24)), iteration=70, n_iter=400
    )
    for seconds in (1, 4, 6, 20, 37, 38):
        now[0] = seconds
        progress.where = "block 2 of 3, " if seconds > 20 else ""
        progress.of(run)
    line = "2 starts on 30 x 24: iteration 70 of 400, residual 0.1"
    assert capsys.readouterr().err.splitlines() == [
        f"phaseret reconstruct: {line}, 6 s",
        f"phaseret reconstruct: block 2 of 3, {line}, 37 s",
    ]
    quiet = Progress(False, clock=lambda: 1000.0)
    quiet.next = 0
    quiet.of(run)
    assert capsys.readouterr().err == ""


def test_a_callback_sees_how_long_the_whole_recipe_is() -> None:
    seen: list[int] = []
    pr.solvers.reconstruct(
        torch.rand(12, 12),
        schedule="2*(hio:10,er:5)",
        starts=1,
        constraint="nonnegative",
        callback=lambda run: seen.append(run.n_iter),
    )
    assert set(seen) == {30}
