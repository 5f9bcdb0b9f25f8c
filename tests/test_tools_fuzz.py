"""The fuzzers: what they call a finding, and that a fault is found; kept inputs are none any more."""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random
from typing import NoReturn

import pytest
import torch

pytest.importorskip("h5py")
pytest.importorskip("tifffile")
pytest.importorskip("fabio")
pytest.importorskip("lightning")
if not hasattr(os, "fork"):
    pytest.skip("this system cannot fork", allow_module_level=True)

from tools.fuzz.__main__ import KEPT, Run, main, recorded, targets
from tools.fuzz._attempt import Outcome, Target, Wrong, attempt, attempts, shortened
from tools.fuzz._mutate import mutated

SEED = b"sizes 12 14 and then the values of it all"


def reader(folder: Path, data: bytes) -> None:
    """A reader of sizes with a fault: it trusts that none is 0."""
    words = data.split()
    if not words or words[0] != b"sizes":
        raise ValueError("read: path must name a file of sizes. Choose another.")
    for word in words[1:3]:
        if word.isdigit():
            12 // int(word)


def target(run: object, **options: object) -> Target:
    return Target("planted", lambda folder: [SEED], run, **options)  # type: ignore[arg-type]


def test_a_planted_fault_is_found_and_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.fuzz.__main__.shortened", lambda target, data, *_: data)
    run = Run("planted", target(reader), tmp_path / "found", tmp_path / "work")
    run.go(seconds=60, seed=0, most=200)
    assert list(run.findings) == ["ZeroDivisionError in test_tools_fuzz.py:reader"]
    assert run.counts["accepted"]
    assert run.counts["refused"]
    [file] = run.findings.values()
    with pytest.raises(ZeroDivisionError):
        reader(tmp_path, file.read_bytes())
    assert "ZeroDivisionError: integer division" in file.with_name(file.name + ".txt").read_text()


def refuse_to_compile(graph: object, examples: object) -> NoReturn:
    raise AssertionError("compiled")


def compiled(folder: Path, data: bytes) -> None:
    torch.compile(lambda x: x + 1, backend=refuse_to_compile)(torch.ones(1))


def test_nothing_is_compiled_where_threads_of_the_compiler_would_be_waited_for(tmp_path: Path) -> None:
    assert attempt(target(compiled), SEED, tmp_path / "work").kind == "accepted"


def hang(folder: Path, data: bytes) -> None:
    while True:
        pass


def wrong(folder: Path, data: bytes) -> None:
    raise Wrong("5 values of 7")


def clear(folder: Path, data: bytes) -> None:
    raise ValueError("read: data must be other. Change them.")


def greedy(folder: Path, data: bytes) -> None:
    bytearray(1 << 40)


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        (reader, "accepted"),
        (wrong, "wrong: N values of N"),
        (greedy, "MemoryError in test_tools_fuzz.py:greedy"),
        (lambda folder, data: os.abort(), "SIGABRT in test_tools_fuzz.py:<lambda>"),
        (clear, "refused"),
        (lambda folder, data: int("x"), "ValueError in test_tools_fuzz.py:<lambda>"),
    ],
)
def test_what_became_of_an_input(run: object, kind: str, tmp_path: Path) -> None:
    found = attempt(target(run), SEED, tmp_path / "work").kind
    assert found == kind or found == "SIGABRT" == kind[:7]  # where it could not even tell its place


def test_a_hang_ends_and_the_rest_of_the_batch_is_left(tmp_path: Path) -> None:
    began = time.process_time()
    outcomes = attempts(target(hang, seconds=0.1), [SEED, SEED], tmp_path / "work")
    assert [outcome.kind for outcome in outcomes] == ["hang in test_tools_fuzz.py:hang"]
    busy = target(hang, seconds=0.1, may_take_long="in hang")
    assert attempt(busy, SEED, tmp_path / "work").kind == "busy"
    assert time.process_time() - began < 10


def test_an_input_keeps_what_its_finding_needs(tmp_path: Path) -> None:
    def run(folder: Path, data: bytes) -> None:
        assert b"values" not in data

    data = b"the values of all"
    found = attempt(target(run), data, tmp_path / "work")
    assert shortened(target(run), data, found, tmp_path / "work") == b"values"
    assert found == Outcome(found.kind)


def test_same_seed_same_inputs() -> None:
    first, again = ([mutated(Random(f"x {number}"), [SEED]) for number in range(200)] for _ in range(2))
    assert first == again
    assert len(set(first)) > 150


def test_a_run_adds_to_those_recorded_and_draws_other_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr("tools.fuzz.__main__.RECORD", tmp_path / "fuzz.json")
    monkeypatch.setattr("tools.fuzz.__main__.targets", lambda: {"planted": target(clear_or_not, mutate=drawn)})
    monkeypatch.setattr("tools.fuzz.__main__.commit", lambda folder: f"commit {len(recorded())}")
    go = Run.go
    monkeypatch.setattr(Run, "go", lambda run, seconds, seed, most: (tried.append(seed), go(run, seconds, seed, most)))
    for _ in range(2):
        assert main(["planted", "--record", "--inputs", "30", "--seconds", "60", "--out", str(tmp_path)]) == 0
    row = recorded()["planted"]
    assert tried == [0, 1]
    assert (row["runs"], row["inputs"], row["accepted"] + row["refused"]) == (2, 62, 62)
    assert row["commits"] == ["commit 0", "commit 1"]


def clear_or_not(folder: Path, data: bytes) -> int:
    return 1 if data == SEED else clear(folder, data) or 0


def drawn(rng: Random, seeds: list[bytes]) -> bytes:
    return rng.randbytes(8)


@pytest.mark.parametrize(
    ("open_before", "kept_before", "kept_now", "expected"),
    [(1, 2, 2, 1), (1, 2, 3, 0), (0, 2, 3, 0), (2, 3, 2, 2)],
)
def test_a_finding_stays_in_the_record_until_it_is_kept(
    open_before: int, kept_before: int, kept_now: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {"target": "planted", "findings": open_before, "mended": kept_before, "kills": 3}
    monkeypatch.setattr("tools.fuzz.__main__.recorded", lambda: {"planted": before})
    monkeypatch.setattr("tools.fuzz.__main__.kept", lambda name: [b""] * kept_now)
    run = Run("planted", target(clear), tmp_path, tmp_path)
    run.kills, run.seconds = 4, 1.0
    assert (run.row()["findings"], run.row()["kills"]) == (expected, 7)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(targets()))
def test_two_seconds_of_each_fuzzer_find_nothing(name: str, tmp_path: Path) -> None:
    run = Run(name, targets()[name], tmp_path / "found", tmp_path / "work")
    run.go(seconds=2, seed=0, most=None)
    assert run.findings == {}


@pytest.mark.parametrize("name", [name for name in targets() if (KEPT / name).exists() and not name.startswith("kill")])
def test_what_once_was_found_is_mended(name: str, tmp_path: Path) -> None:
    chosen = targets()[name]
    kept = [file.read_bytes() for file in sorted((KEPT / name).iterdir())]
    assert {outcome.kind for outcome in attempts(chosen, kept, tmp_path / "work")} <= {"accepted", "refused"}
