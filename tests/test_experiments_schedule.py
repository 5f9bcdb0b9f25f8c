"""Twenty learned iterations, tiny: they begin as RRR, and learning makes them better."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import phaseret as pr
from experiments import digits, schedule


def problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    objects = torch.nn.functional.pad(pr.datasets.mnist(train=False)[:6], (2, 2, 2, 2))
    noise = torch.randn(objects.shape, generator=torch.Generator().manual_seed(0))
    return pr.operators.fourier_intensity(objects, digits.FOURIER_SHAPE), (objects + 0.1 * noise).clamp(0, 1), objects


def test_curves_are_linear_between_the_radii() -> None:
    hats = schedule.hats()
    torch.testing.assert_close(hats.sum(0), torch.ones(64, 33))
    torch.testing.assert_close(hats[:, 0, 3], torch.eye(7)[1])
    torch.testing.assert_close(hats[:, 0, 5], torch.tensor([0, 0.5, 0.5, 0, 0, 0, 0]))


def test_the_numbers_at_the_beginning_are_those_of_rrr() -> None:
    intensity, init, _ = problem()
    known = {"support": torch.ones(32, 32, dtype=torch.bool), "constraint": "nonnegative", "bounds": (0, 1)}
    expected = pr.solvers.RRR(schedule.ITERATIONS, beta=1.3)(intensity, init=init, starts=1, **known).obj
    found = schedule.run(schedule.plain(), intensity, init)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_learning_makes_the_error_smaller() -> None:
    intensity, init, objects = problem()
    learned = schedule.learn(intensity, init, objects, 8)
    errors = [
        pr.losses.invariant_loss(schedule.run(numbers, intensity, init), objects)
        for numbers in (schedule.plain(), learned)
    ]
    assert errors[1] < errors[0]


def test_what_was_learned_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(schedule.start, "JUDGED", 2)
    monkeypatch.setattr(schedule, "DIGITS", 2)
    monkeypatch.setattr(schedule, "BATCH", 2)
    schedule.main(["--steps", "1", "--out", str(tmp_path / "schedule.json")])
    content = json.loads((tmp_path / "schedule.json").read_text(encoding="utf-8"))
    assert torch.tensor(content["numbers"]).shape == schedule.load().shape == (3, 20, 7)
    assert "of 2 training digits" in capsys.readouterr().out
