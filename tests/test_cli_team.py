"""``phaseret reconstruct`` by several processes that share a stack, of which some are lost."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from torch import Tensor

import phaseret as pr
from commands import QUICK, assert_same, listing, prepared, run
from phaseret.cli import _solves, main
from phaseret.cli._team import Team
from processes import PROCESSES, places

pytest.importorskip("h5py")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return prepared(tmp_path, monkeypatch)


def lose_at_the_second_block() -> None:
    """The second process is killed at its second block."""
    solve, calls = pr.solvers.reconstruct, []

    def lose(*args: object, **options: object) -> pr.solvers.Reconstruction:
        calls.append(1)
        second = Path("second")
        if os.environ["RANK"] == "1" and len(calls) == 2:
            second.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        while os.environ["RANK"] == "0" and len(calls) == 2 and not second.exists():
            time.sleep(0.05)
        return solve(*args, **options)

    pr.solvers.reconstruct = lose


def wait_for_the_second() -> None:
    """The first process waits in its first block until the second has done all the others."""
    solve = pr.solvers.reconstruct

    def slow(*args: object, **options: object) -> pr.solvers.Reconstruction:
        while os.environ["RANK"] == "0" and len(list(Path("r.h5.parts").glob("*.npz"))) < 4:
            time.sleep(0.05)
        return solve(*args, **options)

    pr.solvers.reconstruct = slow


def lose_one_and_be_busy() -> None:
    """The second process is killed, the first has blocks left to do."""

    def lose(*args: object, **options: object) -> None:
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        Path("busy").touch()
        time.sleep(60)

    pr.solvers.reconstruct = lose


def change_nothing() -> None:
    """The command as it is."""


def command(line: str, place: dict[str, str], change: Callable[[], None]) -> None:
    """The command as one of several processes; what it prints goes into files that are named after its rank."""
    os.environ.update(place)
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{place['RANK']}.{name}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), stream)
    change()
    sys.exit(main(shlex.split(line)))


def processes(line: str, change: Callable[[], None] = change_nothing) -> list[BaseProcess]:
    """The command in two processes that share the work, as torchrun starts them."""
    both = [PROCESSES.Process(target=command, args=(line, place, change)) for place in places(2)]
    for process in both:
        process.start()
    return both


def ended(process: BaseProcess, rank: int, timeout: int = 120) -> tuple[int | None, str, str]:
    """Exit status, output and errors of a process of `processes`."""
    process.join(timeout)
    return process.exitcode, Path(f"{rank}.out").read_text(), Path(f"{rank}.err").read_text()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill")
def test_two_processes_share_a_stack_and_survive_a_loss(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second process is killed at its second block; the same command, by two processes, does the rest."""
    line = f"reconstruct stack.h5 {QUICK} --double --block 1 --timeout 60 -o r.h5"
    first, second = processes(line, lose_at_the_second_block)
    status, out, err = ended(first, 0)
    assert (status, ended(second, 1)[0], out) == (1, -9, ""), err
    assert "Traceback" not in err
    said = err.splitlines()[-1]
    assert said.startswith("phaseret reconstruct: error: a process was lost or stopped ("), err
    assert "; lost: process 1 of 2; 4 of 5 blocks are kept in r.h5.parts. The same command again" in said
    kept = listing(folder / "r.h5.parts")
    assert len([name for name in kept if name.endswith(".npz")]) == 4
    assert {"run.json", "process-1"} < kept

    said = [ended(process, rank) for rank, process in enumerate(processes(line))]
    assert [status for status, _, _ in said] == [0, 0], said
    assert "of 5 patterns" in said[0][1]
    assert said[1][1] == ""
    assert "r.h5.parts" not in listing(folder)
    assert run(f"reconstruct stack.h5 {QUICK} --double -o whole.h5", capsys)[0] == 0
    for name, value in pr.io.load_reconstruction("whole.h5").items():
        if isinstance(value, Tensor):
            assert_same(pr.io.load_reconstruction("r.h5")[name], value)


@pytest.mark.parametrize("name", ["LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK"])
def test_each_process_of_a_machine_has_its_own_card(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it was started; a card that is named is that card."""
    for other in ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setattr(torch, "empty", lambda *_, device: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert _solves._device("cuda") == "cuda:0"
    monkeypatch.setenv(name, "3")
    assert [_solves._device(given) for given in (None, "cuda", "cuda:0", "cpu")] == [
        "cuda:1",
        "cuda:1",
        "cuda:0",
        "cpu",
    ]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")
def test_processes_take_blocks_as_they_are_free(folder: Path) -> None:
    """The first process waits in its first block until the second has done all the others."""
    both = processes(f"reconstruct stack.h5 {QUICK} --block 1 --timeout 60 -o r.h5", wait_for_the_second)
    said = [ended(process, rank) for rank, process in enumerate(both)]
    assert [status for status, _, _ in said] == [0, 0], said
    assert "of 5 patterns" in said[0][1]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill")
def test_a_process_that_is_asked_to_end_names_the_one_that_was_lost(folder: Path) -> None:
    """As under torchrun: the second process is killed, then the first, with blocks left to do, is told to end."""
    first, second = processes(f"reconstruct stack.h5 {QUICK} --block 1 -o r.h5", lose_one_and_be_busy)
    second.join(120)
    assert second.exitcode == -9
    while first.is_alive() and not (folder / "busy").exists():
        time.sleep(0.1)
    first.terminate()
    status, out, err = ended(first, 0, 60)
    assert (status, out) == (1, ""), err
    assert "a process was lost or stopped (asked to end); lost: process 1 of 2; 0 of 5 blocks are kept" in err
    assert err.count("\n") == 1


def test_two_processes_can_find_the_lost_one_at_the_same_time(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl", exc_type=ImportError)
    first, second, third = (Team(rank, 3) for rank in range(3))
    with first.at_work(tmp_path), (tmp_path / "process-1").open("a"):
        assert second.lost(tmp_path) == []
        assert third.lost(tmp_path) == [1]
        with (tmp_path / "process-1").open() as looks:
            fcntl.flock(looks, fcntl.LOCK_SH)
            assert third.lost(tmp_path) == [1]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")
def test_two_runs_of_one_team_count_their_turns_apart() -> None:
    team = Team(0, 2, store=torch.distributed.HashStore())
    assert [list(team.turns(work, 2)) for work in ("a.parts", "b.parts")] == [[0, 1]] * 2
