"""The processes that share the work, as ``torchrun`` starts them, and how the others find out that one is lost."""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from torch import distributed

from phaseret import _checks
from phaseret._output import FCNTL

_LONGEST_WAIT = 1e8  # seconds, three years


@dataclasses.dataclass(frozen=True)
class Team:
    """The processes that share the work: this one's number and how many there are."""

    rank: int = 0
    size: int = 1
    timeout: float = 0.0
    store: Any = None  # where they count together

    def share(self, value: Any) -> list[Any]:
        """The values of all processes, on each of them; small ones."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _losses():
            distributed.all_gather_object(values, value)
        return values

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes on the first one; an empty list on the others."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _losses():
            distributed.gather_object(value, values if self.rank == 0 else None)
        return values if self.rank == 0 else []

    def turns(self, work: str, count: int) -> Iterator[int]:
        """Numbers below `count` of a piece of work, each taken by one process: whoever is free takes the next."""
        if self.size == 1:
            yield from range(count)
            return
        while True:
            with _losses():
                turn = self.store.add(f"turns of {work}", 1) - 1
            if turn >= count:
                return
            yield turn

    def wait(self) -> None:
        """All processes have come this far."""
        if self.size > 1:
            with _losses():
                distributed.monitored_barrier(timeout=timedelta(seconds=self.timeout), wait_all_ranks=True)

    @contextmanager
    def at_work(self, folder: Path) -> Iterator[None]:
        """While this process works it holds a lock there; whoever ends without a word leaves an unlocked file."""
        if self.size == 1 or FCNTL is None:
            yield
            return
        file = folder / f"process-{self.rank}"
        with file.open("a") as stream:
            with suppress(OSError):  # of file systems without locks
                FCNTL.flock(stream, FCNTL.LOCK_EX | FCNTL.LOCK_NB)
            try:
                yield
            finally:
                file.unlink(missing_ok=True)

    def lost(self, folder: Path) -> list[int]:
        """The other processes that ended without a word, as far as this system can tell."""
        found: list[int] = []
        for rank in range(self.size):
            with suppress(OSError), (folder / f"process-{rank}").open("r+") as stream:
                if FCNTL is not None and rank != self.rank:
                    FCNTL.flock(stream, FCNTL.LOCK_SH | FCNTL.LOCK_NB)  # shared: others may look at the same time
                    found.append(rank)
        return found

    def forget(self, folder: Path) -> None:
        """Remove the files of processes that were lost in a larger team."""
        for file in folder.glob("process-*"):
            if int(file.name.removeprefix("process-")) >= self.size or self.size == 1:
                file.unlink(missing_ok=True)


class LostProcess(Exception):
    """Another process ended, or this one was asked to."""


@contextmanager
def _losses() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise LostProcess(error) from error


def _stop(*_: object) -> NoReturn:
    raise LostProcess("asked to end")


def local_rank() -> int:
    """Which of its machine's processes this one is, as ``torchrun``, ``srun`` or ``mpirun`` says."""
    names = ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")
    return next((number for name in names if (number := _number(os.environ.get(name, ""))) is not None), 0)


def _announced() -> int:
    """How many processes there are, as ``torchrun`` says in the environment; what only looks like it is refused."""
    fix = "Start the command with torchrun, or unset WORLD_SIZE"
    text = os.environ.get("WORLD_SIZE") or "1"
    size = _number(text)
    if size is None or size < 1:
        _checks.fail(f"the environment variable WORLD_SIZE must be a number of processes, got {text!r}", fix)
    if size == 1:
        return size
    for name, least, most in (("RANK", 0, size - 1), ("MASTER_PORT", 1, 2**16 - 1)):
        value = _number(os.environ.get(name, ""))
        if value is None or not least <= value <= most:
            got = f"{os.environ.get(name)!r} with WORLD_SIZE={size}"
            _checks.fail(f"the environment variable {name} must be a number from {least} to {most}, got {got}", fix)
    if not os.environ.get("MASTER_ADDR"):
        _checks.fail(f"the environment variable MASTER_ADDR must be set, got none with WORLD_SIZE={size}", fix)
    return size


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 10 else None


@contextmanager
def team(timeout: float) -> Iterator[Team]:
    """The processes that ``torchrun`` started, or this one alone."""
    timeout = _checks.number("timeout", timeout, above=0, at_most=_LONGEST_WAIT)
    size = _announced()
    if size == 1:
        yield Team()
        return
    # When a process is lost, torchrun asks the others to end.
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        patience = timedelta(seconds=timeout)
        meet: Any = importlib.import_module("torch.distributed.rendezvous").rendezvous
        try:
            store, rank, size = next(meet("env://", timeout=patience))
            distributed.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=patience)
        except (RuntimeError, OSError) as error:
            said = " ".join(re.sub(r"\[/\S*\] *", "", str(error)).split()).partition(". ")[0].rstrip(".")
            where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            rule = f"all WORLD_SIZE={size} processes must meet at {where} within {timeout:g} s, got the error: {said}"
            _checks.fail(rule, "Start them with torchrun, or unset WORLD_SIZE", OSError)
        yield Team(rank, size, timeout, store)
    finally:
        signal.signal(signal.SIGTERM, before)
        if distributed.is_initialized():
            distributed.destroy_process_group()
