"""A stack of patterns, done in blocks along its first axis; each finished block is a file, kept until all are done."""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from phaseret import _checks, _memory, io, solvers
from phaseret._output import written
from phaseret.cli._team import LostProcess, Team

Block = slice | list[int]


def in_blocks(
    shape: Sequence[int], index: slice | Sequence[int] | None, starts: int, block: int | None
) -> Sequence[Block]:
    """The patterns of the stack, or of that part of it, so many at a time."""
    if index is not None and not isinstance(index, slice):
        size = len(index) if block is None else _checks.integer("block", block)
        return [list(index[start : start + size]) for start in range(0, len(index), size)]
    patterns = range(shape[0])[index or slice(None)]
    if not patterns:
        _checks.fail(f"index must lie in a stack of {shape[0]}, got {index}", f"Count from 0 to {shape[0] - 1}")
    # Enough work to keep a device busy, little to lose.
    pixels = _memory.pixels_at_a_time(torch.device("cpu"), cached=False)
    fitting = max(1, pixels // (math.prod(shape[1:]) * starts))
    size = _checks.integer("block", fitting if block is None else block)
    parts = [patterns[start : start + size] for start in range(0, len(patterns), size)]
    return [slice(part.start, part.stop) for part in parts]


@dataclass(frozen=True)
class Stack:
    """The blocks, the folder that keeps what was made of them, and the processes that share them."""

    blocks: Sequence[Block]
    folder: Path
    team: Team

    def file(self, number: int) -> Path:
        """What keeps the result of a block."""
        return self.folder / f"{number:06d}.npz"

    def run(
        self,
        solve: Callable[[Block], solvers.Reconstruction],
        finish: Callable[[solvers.Reconstruction], None],
        description: dict[str, str],
        shows_progress: bool,
    ) -> None:
        """Solve this process's blocks; the first process finishes with the whole."""
        self._prepare(description | {"block": str(self.blocks[0])})
        mine: Iterable[int] = range(self.team.rank, len(self.blocks), self.team.size)
        numbers = list(mine)
        if shows_progress and not self.team.rank:
            mine = importlib.import_module("tqdm.auto").tqdm(numbers, unit="block")
        try:
            with self.team.at_work(self.folder):
                self.team.wait()
                for number in mine:
                    if not self.file(number).exists():
                        self._solve(number, solve)
                parts = self.team.gather({number: io.load_reconstruction(self.file(number)) for number in numbers})
                if parts:
                    found = {number: fields for part in parts for number, fields in part.items()}
                    finish(_joined([found[number] for number in range(len(self.blocks))]))
                self.team.wait()
        except (LostProcess, KeyboardInterrupt) as error:
            self._report(error)
        except BaseException:
            if self.team.size == 1 and not any(self.folder.glob("*.npz")):
                self._leave()  # nothing was done that could be kept
            raise
        for number in numbers:
            self.file(number).unlink()
        self._leave()

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

    def _solve(self, number: int, solve: Callable[[Block], solvers.Reconstruction]) -> None:
        block = self.blocks[number]
        try:
            result = solve(block)
        except ValueError as error:
            numbers = f"{block.start} to {block.stop - 1}" if isinstance(block, slice) else ", ".join(map(str, block))
            raise ValueError(f"patterns {numbers}: {error}") from error
        io.save_reconstruction(self.file(number), result)

    def _leave(self) -> None:
        """Remove the folder; the last process removes a shared one."""
        (self.folder / "run.json").unlink(missing_ok=True)
        self.team.forget(self.folder)
        with suppress(OSError):
            self.folder.rmdir()

    def _report(self, error: BaseException) -> NoReturn:
        """Say who did not finish, how far the run came, and that it can be taken up again."""
        undone = [number for number in range(len(self.blocks)) if not self.file(number).exists()]
        behind = sorted({number % self.team.size for number in undone})
        lost, who = self.team.lost(self.folder), ""
        if self.team.size > 1:
            which = ", ".join(map(str, lost or behind))
            who = f"; {'lost' if lost else 'not finished'}: process {which} of {self.team.size}"
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


def _joined(parts: Sequence[dict[str, Any]]) -> solvers.Reconstruction:
    """One reconstruction of all patterns from those of the blocks."""
    joined = dict(parts[0])
    for name, value in joined.items():
        if isinstance(value, Tensor):
            joined[name] = torch.cat([part[name] for part in parts])
    joined["seconds"] = sum(part["seconds"] for part in parts)
    return solvers.Reconstruction(**joined)
