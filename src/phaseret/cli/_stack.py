"""A stack of patterns, done in blocks along its first axis; each finished block is a file, kept until all are done."""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from phaseret import _checks, _memory, io, solvers
from phaseret._output import written
from phaseret.cli._team import LostProcess, Team
from phaseret.io._contents import numbers_of


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
class Stack:
    """The blocks, the folder that keeps what was made of them, and the processes that share them."""

    blocks: list[list[int]]
    folder: Path
    team: Team

    def file(self, number: int) -> Path:
        """What keeps the result of a block."""
        return self.folder / f"{number:06d}.npz"

    def run(
        self,
        solve: Callable[[list[int]], solvers.Reconstruction],
        finish: Callable[[solvers.Reconstruction], None],
        description: dict[str, str],
        shows_progress: bool,
    ) -> None:
        """Solve blocks as long as there are any; the first process finishes with the whole."""
        self._prepare(description | {"block": str(len(self.blocks[0]))})
        try:
            with self.team.at_work(self.folder):
                self.team.wait()
                mine = self._solve_some(solve, shows_progress)
                self.team.wait()
                self._gather(mine, finish)
                self.team.wait()
        except (LostProcess, KeyboardInterrupt) as error:
            self._report(error)
        except BaseException:
            if self.team.size == 1 and not any(self.folder.glob("*.npz")):
                self._leave()  # nothing was done that could be kept
            raise
        for number in mine:
            self.file(number).unlink()
        self._leave()

    def _solve_some(self, solve: Callable[[list[int]], solvers.Reconstruction], shows_progress: bool) -> list[int]:
        """Solve what is left together with the other processes; the numbers of the blocks that this one answers for."""
        kept = self.team.share([number for number in range(len(self.blocks)) if self.file(number).exists()])
        owners = {number: rank for rank in reversed(range(self.team.size)) for number in kept[rank]}
        left = [number for number in range(len(self.blocks)) if number not in owners]
        mine = [number for number, rank in owners.items() if rank == self.team.rank]
        bar = None
        if shows_progress and not self.team.rank:
            bar = importlib.import_module("tqdm.auto").tqdm(total=len(self.blocks), initial=len(owners), unit="block")
        for turn in self.team.turns(str(self.folder), len(left)):
            if bar is not None:
                bar.update(len(owners) + turn - bar.n)
            self._solve(left[turn], solve)
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

    def _prepare(self, run: dict[str, str]) -> None:
        """Make the folder, or see that what it holds belongs to this run."""
        if self.folder.exists() and not self.folder.is_dir():
            _checks.fail(f"{self.folder} must be a folder, got a file", "Remove it, or choose another output")
        self.folder.mkdir(exist_ok=True)
        note = self.folder / "run.json"
        if note.exists():
            try:
                kept = json.loads(note.read_text())
            except ValueError:
                _checks.fail(f"{note} must be whole, got a damaged file", "Remove the folder")
            check_same_run(kept, run, self.folder)
        with written(note, overwrite=True) as temporary:
            temporary.write_text(json.dumps(run, indent=1))

    def _solve(self, number: int, solve: Callable[[list[int]], solvers.Reconstruction]) -> None:
        block = self.blocks[number]
        try:
            result = solve(block)
        except ValueError as error:
            raise ValueError(f"patterns {block[0]} to {block[-1]}: {error}") from error
        io.save_reconstruction(self.file(number), result)

    def _leave(self) -> None:
        """Remove the folder; the last process removes a shared one."""
        (self.folder / "run.json").unlink(missing_ok=True)
        with suppress(OSError):  # not empty yet, or another process was faster
            self.team.forget(self.folder)
            self.folder.rmdir()

    def _report(self, error: BaseException) -> NoReturn:
        """Say who did not finish, how far the run came, and that it can be taken up again."""
        undone = [number for number in range(len(self.blocks)) if not self.file(number).exists()]
        lost, who = self.team.lost(self.folder), ""
        if lost:
            who = f"; lost: process {', '.join(map(str, lost))} of {self.team.size}"
        # The first sentence of what the network library says, without the place in its source.
        said = re.sub(r"\[/\S*\] *", "", str(error)).partition(". ")[0] or "interrupted"
        _checks.fail(
            f"a process was lost or stopped ({said}){who}; {len(self.blocks) - len(undone)} of {len(self.blocks)} "
            f"blocks are kept in {self.folder}",
            "The same command again does the rest",
            OSError,
        )


def check_same_run(kept: dict[str, str], run: dict[str, str], place: Path) -> None:
    """What was kept is of this run, or the error says which option differs."""
    if kept != run:
        other = ", ".join(sorted(name for name in {*kept, *run} if kept.get(name) != run.get(name)))
        fix = "Remove it, or choose another output"
        _checks.fail(f"{place} must be of this run, got one with another {other}", fix)


class _Whole:
    """One reconstruction of all patterns, put together from those of the blocks as they come."""

    def __init__(self, blocks: list[list[int]]) -> None:
        self.blocks, self.fields, self.seconds = blocks, dict[str, Any](), 0.0

    def put(self, number: int, part: dict[str, Any]) -> None:
        """Put the block of this number in its place."""
        before, size = (sum(map(len, self.blocks[:stop])) for stop in (number, len(self.blocks)))
        for name, value in part.items():
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
