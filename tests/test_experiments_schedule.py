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
    learned = schedule.learn(schedule.plain(), intensity, init, objects, 8)
    errors = [
        pr.losses.invariant_loss(schedule.run(numbers, intensity, init), objects)
        for numbers in (schedule.plain(), learned)
    ]
    assert errors[1] < errors[0]


def small() -> pr.models.UNet:
    torch.manual_seed(0)
    options = {"output": "unit", "representation": "root_autocorrelation", "channels": (8, 16)}
    return pr.models.UNet(digits.CANVAS, digits.FOURIER_SHAPE, **options)


class Answers(torch.nn.Module):
    """A network that has learned its answer to each pattern by heart."""

    def __init__(self, answers: torch.Tensor, patterns: torch.Tensor) -> None:
        super().__init__()
        self.answers, self.patterns = torch.nn.Parameter(answers), patterns.flatten(1)

    def forward(self, intensity: torch.Tensor) -> torch.Tensor:
        return self.answers[torch.cdist(intensity.flatten(1), self.patterns).argmin(1)]


def test_the_network_learns_with_the_numbers_where_they_end_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(schedule, "BATCH", 3)
    monkeypatch.setattr(schedule, "RATES", {"network": 5e-3, "numbers": 2e-3})
    intensity, init, objects = problem()
    net, begun = Answers(init.clone(), intensity), schedule.plain()[:, :2]
    numbers = schedule.together(net, begun, objects, 20 * len(objects), 10 * len(objects), share=0)
    assert not net.training
    assert bool((numbers != begun).any())
    assert bool((begun == schedule.plain()[:, :2]).all())
    answers = net.answers.detach()
    before, both, only_numbers = (
        schedule.errors(schedule.run(n, intensity, x), objects).mean()
        for n, x in ((begun, init), (numbers, answers), (numbers, init))
    )
    assert both < only_numbers < before
    assert "0 images" in capsys.readouterr().out


def test_distortions_are_small_and_leave_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = torch.nn.functional.avg_pool2d(problem()[2], 5, 1, 2)
    found = schedule.distorted(objects, torch.Generator().manual_seed(0), 0.5)
    same = (found == objects).all((1, 2))
    assert bool(((objects - found).square().mean((1, 2)) < objects.square().mean((1, 2))).all())
    everyone, nobody = (schedule.distorted(objects, torch.Generator().manual_seed(0), share) for share in (1, 0))
    assert torch.equal(nobody, objects)
    assert torch.equal(everyone[~same], found[~same])
    assert bool((everyone != objects).any(2).any(1).all())
    assert 0 <= everyone.min() <= everyone.max() <= 1
    monkeypatch.setattr(schedule, "AFFINE", 0)
    monkeypatch.setattr(schedule, "BENT", 0)
    torch.testing.assert_close(schedule.distorted(objects, torch.Generator(), 1), objects, atol=1e-5, rtol=0)


def test_what_an_image_asks_for_is_cut_at_what_its_own_error_can_ask_for() -> None:
    objects = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(0))
    answer = (objects + 0.2).requires_grad_(True)
    norm = (answer - objects).flatten(1).norm(dim=1) / objects.flatten(1).norm(dim=1)
    norm.mean().backward()  # the relative error itself, whose gradient is as long as can be
    assert answer.grad is not None
    torch.testing.assert_close(schedule._cut(answer.grad * 7, objects), answer.grad)
    torch.testing.assert_close(schedule._cut(answer.grad / 2, objects), answer.grad / 2)
    assert not schedule._cut(torch.zeros(3, 5, 4), objects).any()


def test_what_was_learned_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(schedule.start, "JUDGED", 2)
    monkeypatch.setattr(schedule, "DIGITS", 2)
    monkeypatch.setattr(schedule, "BATCH", 2)
    card = {"command": "none", "data": "none.", "licence": "BSD-3-Clause", "metrics": {}}
    first, second, numbers = (tmp_path / name for name in ("first", "second.safetensors", "schedule.json"))
    pr.models.save(small(), first, card=card)
    files = ["--network", str(first), "--out", str(numbers), "--out-network", str(second)]
    schedule.main([*files, "--steps", "1", "--images", "8", "--decay", "4"])
    content = json.loads(numbers.read_text(encoding="utf-8"))
    assert torch.tensor(content["numbers"]).shape == schedule.load().shape == (3, 20, 7)
    assert "of 2 training digits" in capsys.readouterr().out
    trained = pr.models.load(second)
    assert trained.card["metrics"]["solved_percent_after_20_learned"] == content["solved_percent"]
    assert trained.card["command"].startswith("none --out FILE; python -m experiments.schedule")
    assert not torch.equal(*(next(net.parameters()) for net in (trained, small())))
