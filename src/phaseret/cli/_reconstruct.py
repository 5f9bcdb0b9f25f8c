"""``phaseret reconstruct``: one pattern at once, a stack in blocks that are kept as they are finished.

Under ``torchrun`` each process takes the next block when it is free. A finished block is a file of its own, so a lost
process, a full disk or an impatient user costs only the blocks in work: the same command again does the rest.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, io, plotting, solvers
from phaseret._output import written
from phaseret.cli._commands import Reconstruct, Search
from phaseret.cli._files import Reads, Source, Writes, read, split
from phaseret.cli._messages import typed
from phaseret.cli._stack import Stack, check_same_run, in_blocks
from phaseret.cli._team import local_rank, team
from phaseret.io._contents import Index
from phaseret.io._measurement import say_notes
from phaseret.io._series import files_of
from phaseret.solvers._options import STARTS


class Solves(Search):
    """Looks for the object."""

    def solve(
        self,
        source: Source,
        index: Index | None,
        measurement: io.Measurement,
        *,
        progress: bool = False,
        **settings: Any,
    ) -> solvers.Reconstruction:
        """What the solver makes of the pattern, or of that part of the stack, on the CPU."""
        device = _device(self.device)
        support = self._support(source, index, measurement)
        init = None if self.init is None else source.part(read(io.load_object, self.init, "--init"), index)
        dark = self._background(source, index)
        arrays = {"support": support, "init": init, "mask": measurement.mask, "background": dark}
        given: dict[str, Any] = {name: x.to(device) for name, x in arrays.items() if x is not None}
        for name in ("support_size", "schedule", "starts", "bounds", "phase_range"):
            if getattr(self, name) is not None:
                given[name] = getattr(self, name)
        try:
            result = solvers.reconstruct(
                measurement.intensity.to(device),
                constraint=self.constraint,
                seed=self.seed,
                compile=self.compile,
                ndim=measurement.ndim,
                progress=progress,
                **given,
                **settings,
            )
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "allocate" not in str(error):
                raise
            fix = "Use fewer --starts, or a smaller --block of a stack"
            got = f"{self.starts or 'the default number of'} starts of {tuple(measurement.intensity.shape)}"
            _checks.fail(f"pattern and starts must fit into memory, got {got}", fix, MemoryError)
        tensors: dict[str, Any] = {name: x.cpu() for name, x in vars(result).items() if isinstance(x, Tensor)}
        return dataclasses.replace(result, **tensors)

    def _background(self, source: Source, index: Index | None) -> Tensor | None:
        """A number, or a pattern read as the measured one is."""
        if self.background is None:
            return None
        try:
            number = float(self.background)
        except ValueError:
            with typed("--background"):
                return source.part(source.pattern.background(*split(self.background)), index)
        return torch.tensor(_checks.number("background", number, at_least=0))

    def _support(self, source: Source, index: Index | None, measurement: io.Measurement) -> Tensor | None:
        """That of the option or of the file: an array, or a box given by its sizes or seen in the autocorrelation."""
        if self.support is None:
            return measurement.support
        if self.support == "none":
            return None
        if self.support == "auto":
            return solvers.autocorrelation_support(measurement.intensity, mask=measurement.mask, ndim=measurement.ndim)
        sizes = self.support.split(",")
        if all(size.strip().isdecimal() for size in sizes):
            shape = _checks.shape("support", tuple(int(size) for size in sizes))
            if len(shape) != measurement.ndim:
                rule = f"support must have {measurement.ndim} sizes, one for each axis of a pattern, got {self.support}"
                _checks.fail(rule, "Use N,M for pictures, or say --ndim")
            return torch.ones(shape, dtype=torch.bool)
        return source.part(read(io.load_support, self.support, "--support"), index)


def _said(measurement: io.Measurement) -> io.Measurement:
    """The same, after its notes were said."""
    say_notes(measurement)
    return measurement


def _device(name: str | None) -> str:
    """The device by its name; of several graphics cards the processes of a machine take one each."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and (cards := torch.cuda.device_count()):
        name = f"cuda:{local_rank() % cards}"  # before anything is made: it would take memory of the first card
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        said = str(error).partition("\n")[0].rstrip(".")
        _checks.fail(f"device must be one that works here, got {name!r} ({said})", "Use cpu or cuda")
    return name


class Command(Writes, Solves, Reads, Reconstruct):
    """``phaseret reconstruct``."""

    def run(self) -> None:
        """Reconstruct the pattern, or the stack."""
        self.check()
        shows_progress = not self.quiet and sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None
        with self.opened(torch.float64 if self.double else torch.float32) as source:
            description = self._description()
            if source.is_stack and not isinstance(self.index, int):
                if self.checkpoint_every is not None:
                    fix = "A stack is kept by blocks: use block="
                    rule = f"checkpoint_every must be left out for a stack, got {self.checkpoint_every}"
                    _checks.fail(rule, fix)
                with team(self.timeout) as together:
                    blocks = in_blocks(source.pattern.shape, self.index, self.starts or STARTS, self.block)
                    first = blocks[0][:1]
                    Stack(blocks, Path(f"{self.output}.parts"), together).run(
                        lambda block: self.solve(source, block, _said(source.read(block))),
                        lambda result: self._write(source.read(first), result),
                        description,
                        shows_progress,
                    )
                return
            measurement = source.read(self.index)
        say_notes(measurement)
        with _checkpoints(Path(f"{self.output}.checkpoint"), self.checkpoint_every, description) as settings:
            result = self.solve(source, self.index, measurement, progress=shows_progress, **settings)
            self._write(measurement, result)

    def _description(self) -> dict[str, str]:
        """What a result depends on, to tell whether kept parts belong to this run."""
        files = [Path(str(file)).resolve() for name in self.file for file in files_of(split(name)[0])]
        beside = ("output", "figure", "overwrite", "device", "timeout", "quiet")
        run = {name: str(value) for name, value in vars(self).items() if name not in beside}
        changed = [str(file.stat().st_mtime_ns) for file in files]
        return run | {"file": ", ".join(map(str, files)), "changed": ", ".join(changed)}

    def _write(self, measurement: io.Measurement, result: solvers.Reconstruction) -> None:
        self.save(io.save_reconstruction, result, measurement=measurement)
        self.draw(plotting.plot_reconstruction, result, measurement=measurement)
        print(_summary(result))
        print(f"{'written':18}{', '.join(filter(None, (self.output, self.figure)))}")


@contextmanager
def _checkpoints(file: Path, every: int | None, run: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The solver's settings that keep the state of a run in a file, and take it up again; gone when all went well."""
    if every is None:
        yield {}
        return
    settings: dict[str, Any] = {"checkpoint_every": every}
    if file.exists():
        try:
            kept = torch.load(file, map_location="cpu", weights_only=True)
            made_by, settings["resume"] = kept["run"], kept["state"]
        except Exception as error:
            _checks.fail(f"{file} must be a whole checkpoint, got the error: {type(error).__name__}", "Remove it")
        check_same_run(made_by, run, file)

    def keep(state: dict[str, Any]) -> None:
        with written(file, overwrite=True) as temporary:
            torch.save({"run": run, "state": state}, temporary)

    yield settings | {"checkpoint": keep}
    file.unlink(missing_ok=True)


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
