"""``phaseret reconstruct``: one pattern at once, a stack in blocks that are kept as they are finished.

Under ``torchrun`` each process takes the next block when it is free. A finished block is a file of its own, so a lost
process, a full disk or an impatient user costs only the blocks in work: the same command again does the rest.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, io, plotting, solvers
from phaseret._output import beside as beside_file
from phaseret._output import checksum_of, written
from phaseret._version import __version__
from phaseret.cli._commands import Reconstruct
from phaseret.cli._files import Reads, Writes, split
from phaseret.cli._phase import WIDER
from phaseret.cli._progress import Progress
from phaseret.cli._solves import Solves
from phaseret.cli._stack import Job, Stack, check_kept, check_same_run, in_blocks, remove_file
from phaseret.cli._team import team
from phaseret.io._series import files_of
from phaseret.solvers._options import STARTS


class Command(Writes, Solves, Reads, Reconstruct):
    """``phaseret reconstruct``."""

    def run(self) -> None:
        """Reconstruct the pattern, or the stack."""
        self.check()
        self.check_apart("what is kept beside --output", str(beside_file(self.output, ".checkpoint")))
        if self.block is not None:
            _checks.integer("block", self.block)
        if self.ndim is None and self.schedule is not None and solvers.Recipe(self.schedule).of_volumes:
            return dataclasses.replace(self, ndim=3).run()
        shows_bar = not self.quiet and sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None
        progress = Progress(not (self.quiet or shows_bar))
        with self.opened(torch.float64 if self.double else torch.float32) as source:
            known, description = self.given(source), self._description()
            if source.is_stack and not isinstance(self.index, int):
                if Path(self.output).suffix.lower() == ".vti":
                    rule = f"output must not end in .vti for a stack, got {self.output!r}: such a file holds one image"
                    _checks.fail(rule, "Write a .h5 file, or use index= for one pattern")
                if self.checkpoint_every is not None:
                    fix = "A stack is kept by blocks: use block="
                    rule = f"checkpoint_every must be left out for a stack, got {self.checkpoint_every}"
                    _checks.fail(rule, fix)
                with team(self.timeout) as together:
                    blocks = in_blocks(source.pattern.shape, self.index, self.starts or STARTS, self.block)
                    folder = beside_file(self.output, ".parts")
                    assumed = self.assumed(source, [n for block in blocks for n in block], known)
                    read = partial(self.job, source, known=known, assumed=assumed)
                    solve = partial(self.solve, callback=progress.of)
                    stack = Stack(blocks, folder, together, read, solve, progress)
                    stack.run(
                        lambda result: self._write(self.job(source, blocks[0][:1], known, assumed), result),
                        description,
                        restart=self.restart,
                        shows_progress=shows_bar,
                    )
                return
            job = self.job(source, self.index, known)
        file, run = beside_file(self.output, ".checkpoint"), description | job.checksums()
        if self.restart:
            remove_file(file)
        with _checkpoints(file, self.checkpoint_every, run) as settings:
            result = self.solve(job, progress=shows_bar, callback=progress.of, **settings)
            self._write(job, result)

    def _description(self) -> dict[str, str]:
        """What a result depends on beside the content of files, to tell whether kept parts belong to this run."""
        files = [str(Path(str(file)).resolve()) for name in self.file for file in files_of(split(name)[0])]
        aside = ("output", "figure", "overwrite", "restart", "device", "timeout", "quiet")
        run = {name: str(value) for name, value in vars(self).items() if name not in aside}
        return run | {"file": ", ".join(files), "version": __version__}

    def _assumed(self, job: Job, result: solvers.Reconstruction) -> list[tuple[str, str]]:
        """What was taken for granted where nobody said it."""
        rows = []
        if job.grid is not None:
            frame = _sizes(job.measurement.fourier_shape)
            grid = _sizes(job.grid)
            rows.append(("frame", f"{frame}, solved on {grid}, which hold the object" if grid != frame else frame))
        has_phase = job.found is not None and job.found.constraint != "complex" and result.obj.is_complex()
        if self._finds_support(job.measurement):
            blur = "; a blur that is yet to be found makes it smaller" * bool(self.coherence)
            wider = f"{WIDER:g} times as wide as " * has_phase
            rows.append(("support", f"{wider}the box that the autocorrelation allows{blur}"))
        if job.found is not None:
            rows += job.found.said
        if has_phase:
            why = "with a phase of at most a half turn it explains the pattern better; if it is real, say --constraint"
            rows = [
                ("complex", f"{why} nonnegative") if name == "non-negative" else (name, said) for name, said in rows
            ]
        return rows

    def _write(self, job: Job, result: solvers.Reconstruction) -> None:
        rows = self._assumed(job, result)
        notes = [*(f"{name}: {value}" for name, value in rows), *job.measurement.notes]
        result = dataclasses.replace(result, notes="\n".join(notes))
        self.save(io.save_reconstruction, result, measurement=job.measurement)
        files = [self.output]
        try:
            self.draw(plotting.plot_reconstruction, result, measurement=job.measurement)
            files += [self.figure] if self.figure else []
        finally:  # the result is there, whatever became of the picture
            print(_summary(result, rows))
            print(f"{'written':18}{', '.join(map(_place, files))}")


def _place(file: str) -> str:
    """The file, and where it lies if it is a link."""
    return f"{file} -> {os.path.realpath(file)}" if os.path.islink(file) else file


@contextmanager
def _checkpoints(file: Path, every: int | None, run: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The solver's settings that keep the state of a run in a file, and take it up again; gone when all went well."""
    if every is None:
        yield {}
        return
    settings: dict[str, Any] = {"checkpoint_every": every}
    check_kept(file)
    if file.exists():
        try:
            kept = torch.load(file, map_location="cpu", weights_only=True)
            made_by, settings["resume"] = kept["run"], kept["state"]
            # torch does not compare the checksums in the file
            if not isinstance(made_by, dict) or kept["checksum"] != checksum_of(settings["resume"]):
                raise ValueError
        except Exception as error:
            _checks.fail(
                f"{file} must be a whole checkpoint, got the error: {type(error).__name__}",
                "Use --restart to begin anew",
            )
        check_same_run(made_by, run, file)

    def keep(state: dict[str, Any]) -> None:
        with written(file, overwrite=True) as temporary:
            torch.save({"run": run, "state": state, "checksum": checksum_of(state)}, temporary)

    try:
        yield settings | {"checkpoint": keep}
    except KeyboardInterrupt:
        if not file.exists():
            raise
        raise KeyboardInterrupt(f"the state is kept in {file}. The same command again goes on") from None
    file.unlink(missing_ok=True)


def _widths(blur: Tensor) -> str:
    """Those of each axis, averaged over the patterns."""
    return " x ".join(f"{float(width):.2f}" for width in blur.reshape(-1, blur.shape[-1]).mean(0))


def _sizes(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


def _summary(result: solvers.Reconstruction, assumed: list[tuple[str, str]]) -> str:
    patterns, starts = result.error.numel(), len(result.seeds)
    errors = [f"{float(error):.4g}" for error in (result.error.min(), result.error.max())]
    agree, means = (result.agreement > 0.9).sum(-1).double(), int((result.averaged.sum(-1) > 1).sum())
    rows = [
        *assumed,
        ("object", f"{_sizes(result.obj.shape)}, {str(result.obj.dtype).removeprefix('torch.')}"),
        ("recipe", result.recipe),
        ("residual", errors[0] if patterns == 1 else f"{errors[0]} to {errors[1]} of {patterns} patterns"),
        ("choice", result.choice[0] if patterns == 1 else f"mean of several starts in {means} of {patterns} patterns"),
        ("agreement", f"{float(agree.mean()):.3g} of {starts} starts look like the best one"),
        *([] if result.verdict is None else [("exact solution", ", ".join(dict.fromkeys(result.verdict)))]),
        *([] if result.blur is None else [("blur", f"{_widths(result.blur)} pixels (standard deviation)")]),
        ("time", f"{result.seconds:.3g} s"),
    ]
    return "\n".join(f"{name:18}{value}" for name, value in rows)
