"""A stack of patterns, done in blocks along its first axis; each finished block is a file, kept until all are done."""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from phaseret import _checks, _memory, io, solvers
from phaseret._output import checksum, remove_left, written
from phaseret.cli._find import Found
from phaseret.cli._progress import Progress
from phaseret.cli._team import LostProcess, Team
from phaseret.io._contents import numbers_of

_AGAIN = "The same command again does the rest"


def in_blocks(
    shape: Sequence[int], index: slice | Sequence[int] | None, starts: int, block: int | None
) -> list[list[int]]:
    """The numbers of the patterns of the stack, or of that part of it, so many at a time."""
    numbers = numbers_of(index, shape[0])
    # Enough work to keep a device busy, little to lose.
    pixels = _memory.pixels_at_a_time(torch.device("cpu"), cached=False)
    fitting = max(1, pixels // (math.prod(shape[1:]) * starts))
    size = _checks.integer("block", fitting if block is None else block)
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


@dataclass(frozen=True)
class Job:
    """A pattern, or a block of them, and all arrays that its result depends on, with the files they were read from.

    `grid` is the coarser one that it is solved on; None for the frame as it is. `found` is what a single pattern tells.
    """

    measurement: io.Measurement
    arrays: dict[str, Tensor]
    files: dict[str, str]
    grid: tuple[int, ...] | None = None
    found: Found | None = None

    def checksums(self) -> dict[str, str]:
        """The checksum of each array, under the words by which a change of it is told."""
        words = {name: f"content of {' '.join(filter(None, (name, self.files.get(name))))}" for name in self.arrays}
        return {words[name]: checksum("", {name: array}) for name, array in self.arrays.items()}


@dataclass(frozen=True)
class Stack:
    """The blocks, the folder that keeps what was made of them, and the processes that share them."""

    blocks: list[list[int]]
    folder: Path
    team: Team
    read: Callable[[list[int]], Job]
    solve: Callable[[Job], solvers.Reconstruction]
    progress: Progress

    def file(self, number: int) -> Path:
        """What keeps the result of a block."""
        return self.folder / f"{number:06d}.npz"

    def note(self, number: int) -> Path:
        """What keeps the checksums of a block: those of its result, and of all that it was made from."""
        return self.file(number).with_suffix(".json")

    def run(
        self,
        finish: Callable[[solvers.Reconstruction], None],
        description: dict[str, str],
        *,
        restart: bool,
        shows_progress: bool,
    ) -> None:
        """Solve blocks as long as there are any; the first process finishes with the whole."""
        self._prepare(description | {"block": str(len(self.blocks[0]))}, restart)
        try:
            with self.team.at_work(self.folder):
                self.team.wait()
                mine = self._solve_some(shows_progress)
                self.team.wait()
                self._gather(mine, finish)
                self.team.wait()
        except LostProcess as error:
            self._report(error)
        except BaseException as error:
            if isinstance(error, Exception) and not self.folder.is_dir():
                got = "none: another run with this output has ended and removed it"
                _checks.fail(f"{self.folder} must stay until the run ends, got {got}", "Look at the output it wrote")
            if self.team.size == 1 and not any(self.folder.glob("*.npz")):
                self._leave()  # nothing was done that could be kept
            elif isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(f"{self._how_far()}. {_AGAIN}.") from None
            raise
        for number in mine:
            self.file(number).unlink(missing_ok=True)  # another run of the same was as fast
            self.note(number).unlink(missing_ok=True)
        self._leave()

    def _solve_some(self, shows_progress: bool) -> list[int]:
        """Solve what is left together with the other processes; the numbers of the blocks that this one answers for."""
        kept = self.team.share([number for number in range(len(self.blocks)) if self._kept(number)])
        owners = {number: rank for rank in reversed(range(self.team.size)) for number in kept[rank]}
        left = [number for number in range(len(self.blocks)) if number not in owners]
        mine = [number for number, rank in owners.items() if rank == self.team.rank]
        for number in mine:
            check_same_run(self._kept(number), self.read(self.blocks[number]).checksums(), self.folder)
        bar = None
        if shows_progress and not self.team.rank:
            bar = importlib.import_module("tqdm.auto").tqdm(total=len(self.blocks), initial=len(owners), unit="block")
        for turn in self.team.turns(str(self.folder), len(left)):
            if bar is not None:
                bar.update(len(owners) + turn - bar.n)
            self.progress.where = f"block {len(owners) + turn + 1} of {len(self.blocks)}, "
            self._solve(left[turn])
            mine.append(left[turn])
        if bar is not None:
            bar.update(len(self.blocks) - bar.n)
            bar.close()
        return mine

    def _gather(self, mine: list[int], finish: Callable[[solvers.Reconstruction], None]) -> None:
        """Bring the results to the first process, one block of each process at a time."""
        rounds = max(map(len, self.team.share(mine)))
        whole = _Whole(self.blocks)
        for turn in range(rounds):
            number = mine[turn] if turn < len(mine) else None
            for part in self.team.gather(
                None if number is None else (number, io.load_reconstruction(self.file(number)))
            ):
                if part is not None:
                    whole.put(*part)
        if not self.team.rank:
            finish(whole.reconstruction())

    def _prepare(self, run: dict[str, str], restart: bool) -> None:
        """Make the folder, or see that what it holds belongs to this run."""
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            got = "a file" if self.folder.exists() else "a link to what does not exist"
            _checks.fail(f"{self.folder} must be a folder, got {got}", "Remove it, or choose another output")
        self.folder.mkdir(exist_ok=True)
        if restart:
            for file in self.folder.iterdir():
                remove_file(file)
            self.team.wait()
        note = self.folder / "run.json"
        check_kept(note)
        if note.exists():
            try:
                kept = _noted(note)
            except (OSError, ValueError):
                _checks.fail(f"{note} must be whole, got a damaged file", "Use --restart to begin anew")
            check_same_run(kept, run, self.folder)
        try:
            _write(note, run)
        except OSError:
            with suppress(OSError):  # it holds what is kept
                self.folder.rmdir()
            raise

    def _solve(self, number: int) -> None:
        block = self.blocks[number]
        try:
            job = self.read(block)
            result = self.solve(job)
        except ValueError as error:
            raise ValueError(f"patterns {block[0]} to {block[-1]}: {error}") from error
        io.save_reconstruction(self.file(number), result, overwrite=True)
        _write(self.note(number), job.checksums() | {"result": _content(self.file(number))})

    def _kept(self, number: int) -> dict[str, str]:
        """The checksums of what a kept block was made from; none where it is not there, or not whole."""
        check_kept(self.note(number))
        check_kept(self.file(number))
        try:
            note = _noted(self.note(number))
            return note if note.pop("result") == _content(self.file(number)) else {}
        except (OSError, ValueError, KeyError):
            return {}

    def _leave(self) -> None:
        """Remove the folder; the last process removes a shared one."""
        (self.folder / "run.json").unlink(missing_ok=True)
        with suppress(OSError):  # not empty yet, or another process was faster
            self.team.forget(self.folder)
            remove_left(self.folder, ".*.part")
            self.folder.rmdir()

    def _report(self, error: BaseException) -> NoReturn:
        """Say who did not finish, how far the run came, and that it can be taken up again."""
        lost, who = self.team.lost(self.folder), ""
        if lost:
            who = f"; lost: process {', '.join(map(str, lost))} of {self.team.size}"
        # The first sentence of what the network library says, without the place in its source.
        said = re.sub(r"\[/\S*\] *", "", str(error)).partition(". ")[0] or "interrupted"
        _checks.fail(f"a process was lost or stopped ({said}){who}; {self._how_far()}", _AGAIN, OSError)

    def _how_far(self) -> str:
        done = [number for number in range(len(self.blocks)) if self.file(number).exists()]
        return f"{len(done)} of {len(self.blocks)} blocks are kept in {self.folder}"


def check_same_run(kept: Mapping[str, str], run: Mapping[str, str], place: Path) -> None:
    """What was kept is of this run, or the error says which option, or the content of which file, differs."""
    if kept != run:
        other = ", ".join(sorted(name for name in {*kept, *run} if kept.get(name) != run.get(name)))
        fix = "Use --restart to begin anew, or choose another output"
        _checks.fail(f"{place} must be of this run, got one with another {other}", fix)


def check_kept(file: Path) -> None:
    """A folder or a pipe in the place of what an interrupted run keeps is not from there, and stays."""
    if file.exists() and not file.is_file() and not (file.is_dir() and file.is_symlink()):
        got = "a folder" if file.is_dir() else "a pipe or device"
        what = f"{file} must be a file that an interrupted run kept, got {got}"
        _checks.fail(what, "Move it away, or choose another output")


def remove_file(file: Path) -> None:
    """Remove what an interrupted run kept, if it did."""
    check_kept(file)
    file.unlink(missing_ok=True)


def _write(file: Path, note: dict[str, str]) -> None:
    with written(file, overwrite=True) as temporary:
        temporary.write_text(json.dumps(note, indent=1))


def _noted(file: Path) -> dict[str, str]:
    """What a note says; a ValueError where it is damaged."""
    try:
        note = json.loads(_bytes(file))
    except RecursionError as error:
        raise ValueError(f"{file} is none") from error
    if not isinstance(note, dict):
        raise ValueError(f"{file} holds no mapping")
    return note


def _content(file: Path) -> str:
    return hashlib.sha256(_bytes(file)).hexdigest()


def _bytes(file: Path) -> bytes:
    if file.exists() and not file.is_file():  # a pipe would be waited for
        raise ValueError(f"{file} is no file")
    return file.read_bytes()


class _Whole:
    """One reconstruction of all patterns, put together from those of the blocks as they come."""

    def __init__(self, blocks: list[list[int]]) -> None:
        self.blocks, self.fields, self.seconds = blocks, dict[str, Any](), 0.0

    def put(self, number: int, part: dict[str, Any]) -> None:
        """Put the block of this number in its place."""
        before, size = (sum(map(len, self.blocks[:stop])) for stop in (number, len(self.blocks)))
        for name, value in part.items():
            if name == "rivals":  # of each block as many as it needs: they are not kept
                continue
            if isinstance(value, Tensor):
                shape = (size, *value.shape[1:])
                whole = self.fields.setdefault(name, value if shape == value.shape else value.new_empty(shape))
                whole[before : before + len(value)] = value
            else:
                self.fields[name] = value
        self.seconds += part["seconds"]

    def reconstruction(self) -> solvers.Reconstruction:
        """All of it."""
        return solvers.Reconstruction(**self.fields | {"seconds": self.seconds})
