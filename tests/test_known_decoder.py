"""The example that shows what an autoencoder with a known decoder is."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_an_autoencoder_with_a_known_decoder_is_the_passive_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    found = importlib.import_module("known_decoder").compare(torch.rand(4, 28, 28).double())
    value, _ = found["passive loss"]
    for name in ("autoencoder", "cycle from data"):
        assert found[name][0] == pytest.approx(value, rel=1e-12)
        assert found[name][1] < 1e-12
    assert found["cycle from objects"][1] > 0.1


def test_it_prints_every_objective(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    importlib.import_module("known_decoder").main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == [
        "passive loss",
        "autoencoder",
        "cycle from data",
        "cycle from objects",
    ]
