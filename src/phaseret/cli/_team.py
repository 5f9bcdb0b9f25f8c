"""The processes that share the work, as ``torchrun`` starts them, and how the others find out that one is lost."""

from __future__ import annotations

import dataclasses
import importlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from torch import distributed

from phaseret import _checks

# Locks of files, which systems other than POSIX do not have.
_fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None


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
        if self.size == 1 or _fcntl is None:
            yield
            return
        file = folder / f"process-{self.rank}"
        with file.open("a") as stream:
            with suppress(OSError):  # of file systems without locks
                _fcntl.flock(stream, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
            try:
                yield
            finally:
                file.unlink(missing_ok=True)

    def lost(self, folder: Path) -> list[int]:
        """The other processes that ended without a word, as far as this system can tell."""
        found: list[int] = []
        for rank in range(self.size):
            with suppress(OSError), (folder / f"process-{rank}").open("r+") as stream:
                if _fcntl is not None and rank != self.rank:
                    _fcntl.flock(stream, _fcntl.LOCK_SH | _fcntl.LOCK_NB)  # shared: others may look at the same time
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
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdecimal()), 0)


@contextmanager
def team(timeout: float) -> Iterator[Team]:
    """The processes that ``torchrun`` started, or this one alone."""
    timeout = _checks.number("timeout", timeout, above=0)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team()
        return
    # When a process is lost, torchrun asks the others to end.
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        patience = timedelta(seconds=timeout)
        meet: Any = importlib.import_module("torch.distributed.rendezvous").rendezvous
        store, rank, size = next(meet("env://", timeout=patience))
        distributed.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=patience)
        yield Team(rank, size, timeout, store)
    finally:
        signal.signal(signal.SIGTERM, before)
        if distributed.is_initialized():
            distributed.destroy_process_group()
