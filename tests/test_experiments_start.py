"""The training of the network that starts a solver, tiny: what it leaves out, how its rate runs, and what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import phaseret as pr
from experiments import start


def test_digits_of_the_benchmark_are_left_out() -> None:
    kept = {start.as_bytes(digit[2:-2, 2:-2]) for digit in start.images(None)}
    assert len(kept) == 4500
    assert not kept & {start.as_bytes(digit) for digit in pr.datasets.mnist(train=False)}


def test_the_rate_rises_stays_and_falls_to_zero() -> None:
    rates = [start.rate(seen, 30_000, 10_000) / start.RATE for seen in (0, 3136, 6336, 20_000, 25_000, 30_000)]
    assert rates == [0.01, 0.5, 1.0, 1.0, 0.5, 0.0]


def test_a_network_is_trained_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start, "CHANNELS", (4, 4))
    monkeypatch.setattr(start, "JUDGED", 4)
    monkeypatch.setattr(
        start, "images", lambda folder: torch.rand(70, 32, 32, generator=torch.Generator().manual_seed(0))
    )
    start.main(["--images", "100", "--decay", "64", "--out", str(tmp_path / "net.safetensors")])
    net = pr.models.load(str(tmp_path / "net.safetensors"))
    assert net.card["command"] == "python -m experiments.start --data FOLDER --images 100 --decay 64"
    assert net.card["metrics"]["solved_percent_after_20"] == 0
    assert "sha256" in capsys.readouterr().out
