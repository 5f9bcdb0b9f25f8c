"""What ``reconstruct`` does: one pattern at once, a stack in blocks that are kept as they are finished.

Under ``torchrun`` each process takes every so-many-th block. A finished block is a file of its own, so a lost process,
a full disk or an impatient user costs only the blocks in work: the same command again does the rest.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import json
import math
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, distributed

from phaseret import _checks, _memory, io, plotting, solvers
from phaseret._output import written
from phaseret.cli._commands import check_outputs, load_pattern, save_figure, split
from phaseret.cli._words import typed
from phaseret.io._load import pattern_axes

# Locks of files, which systems other than POSIX do not have.
_fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None
# Options that do not change the result of a block.
_NEUTRAL = ("run", "command", "flags", "debug", "output", "figure", "overwrite", "quiet", "timeout", "device")


def reconstruct(options: argparse.Namespace) -> None:
    """``phaseret reconstruct``."""
    check_outputs(options)
    path, key = split(options.file)
    with typed("FILE"):
        shape, axes = pattern_axes(path, key=key, ndim=options.ndim)
    if len(shape) == axes or isinstance(options.index, int):
        measurement = load_pattern(options)
        with _checkpoints(options) as settings:
            _write(options, measurement, _solve(options, measurement, progress=_shows_progress(options), **settings))
        return
    if options.checkpoint_every is not None:
        fix = "A stack is kept by blocks: use block="
        _checks.fail(f"checkpoint_every must be left out for a stack, got {options.checkpoint_every}", fix)
    with _team(options.timeout) as team:
        _Stack(options, shape, axes, team).run()


@contextmanager
def _checkpoints(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The solver's settings that keep the state of a run in a file, and take it up again; gone when all went well."""
    if options.checkpoint_every is None:
        yield {}
        return
    file, run = Path(f"{options.output}.checkpoint"), _description(options)
    settings: dict[str, Any] = {"checkpoint_every": options.checkpoint_every}
    if file.exists():
        try:
            kept = torch.load(file, map_location="cpu", weights_only=True)
            made_by, settings["resume"] = kept["run"], kept["state"]
        except Exception as error:
            _checks.fail(f"{file} must be a whole checkpoint, got the error: {type(error).__name__}", "Remove it")
        _same_run(made_by, run, file)

    def keep(state: dict[str, Any]) -> None:
        with written(file, overwrite=True) as temporary:
            torch.save({"run": run, "state": state}, temporary)

    yield settings | {"checkpoint": keep}
    file.unlink(missing_ok=True)


def _description(options: argparse.Namespace) -> dict[str, str]:
    """What a result depends on, to tell whether kept parts belong to this run."""
    source = Path(split(options.file)[0]).resolve()
    run = {name: str(value) for name, value in vars(options).items() if name not in _NEUTRAL}
    return run | {"file": str(source), "changed": str(source.stat().st_mtime_ns)}


def _same_run(kept: dict[str, str], run: dict[str, str], place: Path) -> None:
    if kept != run:
        other = ", ".join(sorted(name for name in {*kept, *run} if kept.get(name) != run.get(name)))
        fix = "Remove it, or choose another output"
        _checks.fail(f"{place} must be of this run, got one with another {other}", fix)


def _write(options: argparse.Namespace, measurement: io.Measurement, result: solvers.Reconstruction) -> None:
    with typed("--output"):
        io.save_reconstruction(options.output, result, measurement=measurement, overwrite=options.overwrite)
    save_figure(options, lambda: plotting.plot_reconstruction(result, measurement=measurement))
    print(_summary(result))
    print(f"{'written':18}{', '.join(filter(None, (options.output, options.figure)))}")


def _summary(result: solvers.Reconstruction) -> str:
    patterns, starts = result.error.numel(), len(result.seeds)
    errors = [f"{float(error):.4g}" for error in (result.error.min(), result.error.max())]
    agree = (result.agreement > 0.9).sum(-1).double()
    rows = [
        ("object", " x ".join(map(str, result.obj.shape)) + f", {str(result.obj.dtype).removeprefix('torch.')}"),
        ("recipe", result.recipe),
        ("residual", errors[0] if patterns == 1 else f"{errors[0]} to {errors[1]} of {patterns} patterns"),
        ("agreement", f"{float(agree.mean()):.3g} of {starts} starts look like the best one"),
        ("time", f"{result.seconds:.3g} s"),
    ]
    return "\n".join(f"{name:18}{value}" for name, value in rows)


def _shows_progress(options: argparse.Namespace) -> bool:
    return not options.quiet and sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None


def _solve(
    options: argparse.Namespace,
    measurement: io.Measurement,
    *,
    rank: int = 0,
    progress: bool = False,
    **settings: Any,
) -> solvers.Reconstruction:
    """What the solver makes of a pattern or a block of them, on the CPU."""
    device = _device(options.device, rank)
    ndim = measurement.ndim
    chosen = {
        "support": _support(options, measurement),
        "support_size": options.support_size,
        "schedule": options.schedule,
        "starts": options.starts,
        "init": _initial(options, ndim),
        "bounds": options.bounds,
        "phase_range": options.phase_range,
    }
    given = {name: _moved(value, device) for name, value in chosen.items() if value is not None}
    measurement = measurement.to(device)
    try:
        result = solvers.reconstruct(
            measurement.intensity,
            mask=measurement.mask,
            constraint=options.constraint,
            seed=options.seed,
            ndim=ndim,
            progress=progress,
            **given,
            **settings,
        )
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        fix = "Use fewer --starts, or of a stack a smaller --block"
        got = f"{options.starts or 'the default number of'} starts of {tuple(measurement.intensity.shape)}"
        _checks.fail(f"pattern and starts must fit into memory, got {got}", fix, MemoryError)
    tensors = {name: getattr(result, name) for name in _names(result)}
    return dataclasses.replace(result, **{name: _moved(value, "cpu") for name, value in tensors.items()})


def _device(name: str | None, rank: int) -> str:
    if name is None:
        return f"cuda:{rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        said = str(error).partition("\n")[0].rstrip(".")
        _checks.fail(f"device must be one that works here, got {name!r} ({said})", "Use cpu or cuda")
    return name


def _initial(options: argparse.Namespace, ndim: int) -> Tensor | None:
    if options.init is None:
        return None
    path, key = split(options.init)
    with typed("--init"):
        return _part(io.load_object(path, key=key), options, ndim)


def _names(result: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(result)]


def _moved(value: Any, device: str) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


def _support(options: argparse.Namespace, measurement: io.Measurement) -> Tensor | None:
    """Of the option or of the file: an array, or a box given by its sizes or seen in the autocorrelation."""
    if options.support is None:
        return measurement.support
    if options.support == "none":
        return None
    if options.support == "auto":
        return solvers.autocorrelation_support(measurement.intensity, mask=measurement.mask, ndim=measurement.ndim)
    sizes = options.support.split(",")
    if all(size.strip().isdecimal() for size in sizes):
        shape = _checks.shape("support", tuple(int(size) for size in sizes))
        if len(shape) != measurement.ndim:
            rule = f"support must have {measurement.ndim} sizes, one for each axis of a pattern, got {options.support}"
            _checks.fail(rule, "Use N,M for pictures, or say --ndim")
        return torch.ones(shape, dtype=torch.bool)
    path, key = split(options.support)
    with typed("--support"):
        return _part(io.load_support(path, key=key), options, measurement.ndim)


def _part(x: Tensor, options: argparse.Namespace, ndim: int) -> Tensor:
    """Of an array for each pattern of the stack, those of the patterns in work."""
    return x if options.index is None or x.ndim <= ndim else x[options.index]


@dataclasses.dataclass(frozen=True)
class _Team:
    """The processes that share the work: this one's number and how many there are."""

    rank: int = 0
    size: int = 1
    timeout: float = 0.0

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes on the first one; an empty list on the others."""
        self.wait()
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _losses():
            distributed.gather_object(value, values if self.rank == 0 else None)
        return values if self.rank == 0 else []

    def wait(self) -> None:
        """All processes have come this far."""
        if self.size > 1:
            with _losses():
                distributed.monitored_barrier(timeout=timedelta(seconds=self.timeout), wait_all_ranks=True)


class _LostProcess(Exception):
    """Another process ended, or this one was asked to."""


@contextmanager
def _losses() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise _LostProcess(error) from error


def _stop(*_: object) -> NoReturn:
    raise _LostProcess("asked to end")


@contextmanager
def _team(timeout: float) -> Iterator[_Team]:
    """The processes that ``torchrun`` started, or this one alone."""
    timeout = _checks.number("timeout", timeout, above=0)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield _Team()
        return
    # When a process is lost, torchrun asks the others to end.
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        distributed.init_process_group("gloo", timeout=timedelta(seconds=timeout))
        yield _Team(distributed.get_rank(), size, timeout)
    finally:
        signal.signal(signal.SIGTERM, before)
        if distributed.is_initialized():
            distributed.destroy_process_group()


class _Stack:
    """A stack of patterns, in blocks along its first axis; each finished block is a file in `folder`."""

    def __init__(self, options: argparse.Namespace, shape: Sequence[int], axes: int, team: _Team) -> None:
        self.options, self.team = options, team
        patterns = range(shape[0])[options.index or slice(None)]
        if not patterns:
            fix = f"Count from 0 to {shape[0] - 1}"
            _checks.fail(f"index must lie in a stack of {shape[0]}, got {options.index}", fix)
        per_pattern = math.prod(shape[1:]) * (options.starts or 1)
        # Enough work to keep a device busy, little to lose.
        pixels = _memory.pixels_at_a_time(torch.device("cpu"), cached=False)
        size = _checks.integer("block", max(1, pixels // per_pattern) if options.block is None else options.block)
        self.blocks = [patterns[start : start + size] for start in range(0, len(patterns), size)]
        self.folder = Path(f"{options.output}.parts")

    def file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"

    def run(self) -> None:
        """Do this process's blocks; the first process writes the whole."""
        self.prepare()
        mine = range(self.team.rank, len(self.blocks), self.team.size)
        try:
            with _alive(self.folder, self.team):
                self.share(mine)
        except BaseException:
            if self.team.size == 1 and not any(self.folder.glob("*.npz")):
                self.leave()  # nothing was done that could be kept
            raise
        for number in mine:
            self.file(number).unlink()
        self.leave()

    def leave(self) -> None:
        """Remove the folder; of a shared one the last process does."""
        (self.folder / "run.json").unlink(missing_ok=True)
        for file in self.folder.glob("process-*"):
            if int(file.name.removeprefix("process-")) >= self.team.size or self.team.size == 1:
                file.unlink(missing_ok=True)  # of a process that was lost in a larger team
        with suppress(OSError):
            self.folder.rmdir()

    def share(self, mine: range) -> None:
        """Solve the blocks that are this process's, and bring all together."""
        try:
            self.team.wait()
            for number in self.shown(mine):
                if not self.file(number).exists():
                    self.solve(number)
            parts = self.team.gather({number: io.load_reconstruction(self.file(number)) for number in mine})
            if parts:
                found = {number: fields for part in parts for number, fields in part.items()}
                measurement = load_pattern(self.options_of(self.blocks[0][:1]))
                _write(self.options, measurement, _joined([found[number] for number in range(len(self.blocks))]))
            self.team.wait()
        except (_LostProcess, KeyboardInterrupt) as error:
            self.report(error)

    def prepare(self) -> None:
        """Make the folder, or see that what it holds belongs to this run."""
        run = _description(self.options) | {"block": str(len(self.blocks[0]))}
        if self.folder.exists() and not self.folder.is_dir():
            _checks.fail(f"{self.folder} must be a folder, got a file", "Remove it, or choose another output")
        self.folder.mkdir(exist_ok=True)
        note = self.folder / "run.json"
        if note.exists():
            try:
                kept = json.loads(note.read_text())
            except ValueError:
                _checks.fail(f"{note} must be whole, got a damaged file", "Remove the folder")
            _same_run(kept, run, self.folder)
        with written(note, overwrite=True) as temporary:
            temporary.write_text(json.dumps(run, indent=1))

    def shown(self, numbers: range) -> Any:
        """The numbers of blocks, with a bar on the first process."""
        if self.team.rank or not _shows_progress(self.options):
            return numbers
        tqdm = importlib.import_module("tqdm.auto").tqdm
        return tqdm(numbers, unit="block")

    def options_of(self, patterns: range) -> argparse.Namespace:
        return argparse.Namespace(**vars(self.options) | {"index": slice(patterns.start, patterns.stop)})

    def solve(self, number: int) -> None:
        options = self.options_of(self.blocks[number])
        try:
            result = _solve(options, load_pattern(options), rank=int(os.environ.get("LOCAL_RANK", "0")))
        except ValueError as error:
            raise ValueError(f"patterns {options.index.start} to {options.index.stop - 1}: {error}") from error
        io.save_reconstruction(self.file(number), result)

    def report(self, error: BaseException) -> NoReturn:
        """Say who did not finish, how far the run came, and that it can be taken up again."""
        undone = [number for number in range(len(self.blocks)) if not self.file(number).exists()]
        behind = sorted({number % self.team.size for number in undone})
        lost, who = _lost(self.folder, self.team), ""
        if self.team.size > 1:
            which = ", ".join(map(str, lost or behind))
            who = f"; {'lost' if lost else 'not finished'}: process {which} of {self.team.size}"
        # Of what the network library says, the first sentence without the place in its source.
        said = re.sub(r"\[/\S*\] *", "", str(error)).partition(". ")[0] or "interrupted"
        _checks.fail(
            f"a process was lost or stopped ({said}){who}; {len(self.blocks) - len(undone)} of {len(self.blocks)} "
            f"blocks are kept in {self.folder}",
            "The same command again does the rest",
            OSError,
        )


@contextmanager
def _alive(folder: Path, team: _Team) -> Iterator[None]:
    """While this process works it holds the lock of a file; whoever ends without a word leaves the file unlocked."""
    if team.size == 1 or _fcntl is None:
        yield
        return
    file = folder / f"process-{team.rank}"
    with file.open("a") as stream:
        with suppress(OSError):  # of file systems without locks
            _fcntl.flock(stream, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


def _lost(folder: Path, team: _Team) -> list[int]:
    """The other processes that ended without a word, as far as this system can tell."""
    found: list[int] = []
    for rank in range(team.size):
        with suppress(OSError), (folder / f"process-{rank}").open("r+") as stream:
            if _fcntl is not None and rank != team.rank:
                _fcntl.flock(stream, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
                found.append(rank)
    return found


def _joined(parts: Sequence[dict[str, Any]]) -> solvers.Reconstruction:
    """One reconstruction of all patterns from those of the blocks."""
    joined = dict(parts[0])
    for name, value in joined.items():
        if isinstance(value, Tensor):
            joined[name] = torch.cat([part[name] for part in parts])
    joined["seconds"] = sum(part["seconds"] for part in parts)
    return solvers.Reconstruction(**joined)
