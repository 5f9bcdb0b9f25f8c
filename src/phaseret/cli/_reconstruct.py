"""``phaseret reconstruct``: one pattern at once, a stack in blocks that are kept as they are finished.

Under ``torchrun`` each process takes the next block when it is free. A finished block is a file of its own, so a lost
process, a full disk or an impatient user costs only the blocks in work: the same command again does the rest.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory, io, plotting, solvers
from phaseret._output import beside, written
from phaseret._version import __version__
from phaseret.cli._commands import Pattern, Reconstruct, Search
from phaseret.cli._files import Reads, Source, Writes, read, split
from phaseret.cli._messages import typed
from phaseret.cli._stack import Job, Stack, check_same_run, in_blocks, remove_file
from phaseret.cli._team import local_rank, team
from phaseret.io._contents import Index
from phaseret.io._measurement import say_notes
from phaseret.io._series import files_of
from phaseret.solvers._options import STARTS
from phaseret.solvers._reduce import quick_grid, wide_gaps


class Solves(Search, Pattern):
    """Looks for the object."""

    def known(self, source: Source) -> dict[str, Tensor]:
        """The arrays of the options, each read once."""
        found = {"support": self._support(source), "background": self._background(source)}
        found |= {
            name: read(io.load_object, file, f"--{name.replace('_', '-')}")
            for name in ("init", "point_spread")
            if (file := getattr(self, name)) is not None
        }
        return {name: x for name, x in found.items() if x is not None}

    def job(self, source: Source, index: Index | None, known: dict[str, Tensor]) -> Job:
        """The pattern, or that part of the stack, with all arrays that its result depends on."""
        measurement = source.read(index)
        arrays = {"FILE": measurement.intensity, "mask": measurement.mask, "support": None}
        if self.support is None:
            arrays["support"] = measurement.support
        if self._finds_support(measurement):
            find = solvers.autocorrelation_support
            intensity = measurement.intensity
            if "background" in known:
                intensity = _without(source.part(known["background"], index), intensity)
            box = find(intensity, mask=measurement.mask, ndim=measurement.ndim)
            arrays["support"] = box if measurement.intensity.ndim > measurement.ndim else _cut_out(box)
        arrays |= {name: source.part(x, index) for name, x in known.items()}
        mask = ", ".join(filter(None, (self.mask, self.bad_pixels)))
        typed = {"FILE": ", ".join(self.file), "mask": mask}
        typed |= {name: getattr(self, name) for name in known}
        return Job(measurement, {name: x for name, x in arrays.items() if x is not None}, typed)

    def _finds_support(self, measurement: io.Measurement) -> bool:
        """Whether the support comes from the autocorrelation: it was asked for, or nothing else is known of it."""
        known = self.support is not None or self.support_size is not None or measurement.support is not None
        return self.support == "auto" or not known

    def solve(self, job: Job, *, progress: bool = False, **settings: Any) -> solvers.Reconstruction:
        """What the solver makes of it, on the CPU."""
        say_notes(job.measurement.notes)
        device = _device(self.device)
        given: dict[str, Any] = {name: x.to(device) for name, x in job.arrays.items()}
        intensity = given.pop("FILE")
        if "support" in given:
            sizes = tuple(given["support"].shape[-job.measurement.ndim :])
            if grid := self._coarser_grid(tuple(intensity.shape[-len(sizes) :]), sizes, given.get("mask")):
                intensity = _reduce(intensity, sizes, grid, given)
        for name in ("constraint", "support_size", "schedule", "starts", "bounds", "phase_range", "coherence"):
            if getattr(self, name) is not None:
                given[name] = getattr(self, name)
        got = f"{self.starts or 'the default number of'} starts of {tuple(intensity.shape)}"
        with _memory.in_memory(f"pattern and starts, {got},", "Use fewer --starts, or a smaller --block of a stack"):
            result = solvers.reconstruct(
                intensity,
                undersampled=self.undersampled,
                seed=self.seed,
                compile=self.compile,
                ndim=job.measurement.ndim,
                progress=progress,
                **given,
                **settings,
            )
        tensors: dict[str, Any] = {name: x.cpu() for name, x in vars(result).items() if isinstance(x, Tensor)}
        return dataclasses.replace(result, **tensors)

    def _coarser_grid(
        self, frame: tuple[int, ...], sizes: tuple[int, ...], mask: Tensor | None
    ) -> tuple[int, ...] | None:
        """The grid to solve on in place of the frame, if it has at most half of the pixels; a blur is the frame's."""
        if self.whole_frame or self.coherence or self.point_spread:
            return None
        if any(2 * n - 1 > m for n, m in zip(sizes, frame, strict=True)):  # the support of a whole frame, or too large
            return None
        grid = quick_grid(frame, sizes)
        fits = 2 * math.prod(grid) <= math.prod(frame) and (mask is None or not wide_gaps(mask, grid))
        return grid if fits else None

    def _background(self, source: Source) -> Tensor | None:
        """A number, or a pattern read as the measured one is."""
        if self.background is None:
            return None
        try:
            number = float(self.background)
        except ValueError:
            with typed("--background"):
                return source.pattern.background(*split(self.background))
        return torch.tensor(_checks.number("background", number, at_least=0))

    def _support(self, source: Source) -> Tensor | None:
        """That of the option: an array, or a box given by its sizes."""
        if self.support in (None, "none", "auto"):
            return None
        sizes = self.support.split(",")
        if not all(size.strip().isdecimal() for size in sizes):
            return read(io.load_support, self.support, "--support")
        frame = source.pattern.shape[-source.pattern.ndim :]
        if len(sizes) != len(frame):
            rule = f"support must have {len(frame)} sizes, one for each axis of a pattern, got {self.support}"
            _checks.fail(rule, "Use N,M for pictures, or say --ndim")
        shape = _checks.shape("support", tuple(map(_size, sizes)))
        _memory.check_fits("support", 3 * math.prod(shape), "Use a box that the pattern holds", self.support)
        return torch.ones(shape, dtype=torch.bool)


def _cut_out(box: Tensor) -> Tensor:
    """A box of True without what is around it."""
    sizes = [int(box.movedim(axis, 0).reshape(box.shape[axis], -1).any(1).sum()) for axis in range(box.ndim)]
    return torch.ones(sizes, dtype=torch.bool)


def _without(background: Tensor, intensity: Tensor) -> Tensor:
    """What the object itself makes of the intensity."""
    return (intensity - _checks.background(background, intensity)).clamp(min=0)


def _reduce(intensity: Tensor, sizes: tuple[int, ...], grid: tuple[int, ...], given: dict[str, Any]) -> Tensor:
    """The pattern on the grid; so is all that is given of the same shape."""
    if "background" in given:
        intensity = _without(given.pop("background"), intensity)
    if "init" in given and given["init"].shape[-len(sizes) :] == intensity.shape[-len(sizes) :]:
        given["init"] = _fft.crop(given["init"], sizes)
    intensity, mask = solvers.reduce_pattern(intensity, sizes, fourier_shape=grid, mask=given.pop("mask", None))
    if mask is not None:
        given["mask"] = mask
    return intensity


def _size(text: str) -> int:
    """A size that was typed; more digits than numbers have make it too large."""
    return int(text) if len(text) < 20 else 10**20


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
            known, description = self.known(source), self._description()
            if source.is_stack and not isinstance(self.index, int):
                if self.checkpoint_every is not None:
                    fix = "A stack is kept by blocks: use block="
                    rule = f"checkpoint_every must be left out for a stack, got {self.checkpoint_every}"
                    _checks.fail(rule, fix)
                with team(self.timeout) as together:
                    blocks = in_blocks(source.pattern.shape, self.index, self.starts or STARTS, self.block)
                    folder = beside(self.output, ".parts")
                    stack = Stack(blocks, folder, together, partial(self.job, source, known=known), self.solve)
                    stack.run(
                        lambda result: self._write(source.read(blocks[0][:1]), result),
                        description,
                        restart=self.restart,
                        shows_progress=shows_progress,
                    )
                return
            job = self.job(source, self.index, known)
        file, run = beside(self.output, ".checkpoint"), description | job.checksums()
        if self.restart:
            remove_file(file)
        with _checkpoints(file, self.checkpoint_every, run) as settings:
            result = self.solve(job, progress=shows_progress, **settings)
            self._write(job.measurement, result)

    def _description(self) -> dict[str, str]:
        """What a result depends on beside the content of files, to tell whether kept parts belong to this run."""
        files = [str(Path(str(file)).resolve()) for name in self.file for file in files_of(split(name)[0])]
        aside = ("output", "figure", "overwrite", "restart", "device", "timeout", "quiet")
        run = {name: str(value) for name, value in vars(self).items() if name not in aside}
        return run | {"file": ", ".join(files), "version": __version__}

    def _write(self, measurement: io.Measurement, result: solvers.Reconstruction) -> None:
        self.save(io.save_reconstruction, result, measurement=measurement)
        self.draw(plotting.plot_reconstruction, result, measurement=measurement)
        frame, sizes = (tuple(x.shape[-measurement.ndim :]) for x in (measurement.intensity, result.obj))
        grid = self._coarser_grid(frame, sizes, measurement.mask)
        rows = [("frame", f"{_sizes(frame)}, solved on {_sizes(grid)}, which hold the object")] if grid else []
        if self._finds_support(measurement):
            rows.append(("support", "the box that the autocorrelation allows"))
        print(_summary(result, rows))
        print(f"{'written':18}{', '.join(map(_place, filter(None, (self.output, self.figure))))}")


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
    if file.exists():
        try:
            with zipfile.ZipFile(file) as archive:  # torch does not compare the checksums in it
                if archive.testzip() is not None:
                    raise ValueError
            kept = torch.load(file, map_location="cpu", weights_only=True)
            made_by, settings["resume"] = kept["run"], kept["state"]
        except Exception as error:
            _checks.fail(
                f"{file} must be a whole checkpoint, got the error: {type(error).__name__}",
                "Use --restart to begin anew",
            )
        check_same_run(made_by, run, file)

    def keep(state: dict[str, Any]) -> None:
        with written(file, overwrite=True) as temporary:
            torch.save({"run": run, "state": state}, temporary)

    yield settings | {"checkpoint": keep}
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
