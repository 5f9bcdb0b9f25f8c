"""The problem that files and options state, and what the solver makes of it."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory, io, solvers
from phaseret._words import meant
from phaseret.cli._commands import Pattern, Search
from phaseret.cli._files import Source, read, split
from phaseret.cli._find import REAL, Found, beside, box_of, find, off_centre, symmetries
from phaseret.cli._messages import typed
from phaseret.cli._phase import SYMMETRIC, with_phase
from phaseret.cli._stack import Job
from phaseret.cli._team import local_rank
from phaseret.io._axes import Index
from phaseret.io._load import AS_BACKGROUND
from phaseret.io._measurement import say_notes
from phaseret.operators._data import check_lit, without_background
from phaseret.projections import Constraint
from phaseret.solvers._reduce import quick_grid

# So many patterns of a stack tell what is assumed of all.
_SOME = 16


class Solves(Search, Pattern):
    """Looks for the object."""

    def given(self, source: Source) -> dict[str, Tensor]:
        """The arrays of the options, each read once."""
        found = {"support": self._support(source), "background": self._background(source)}
        found |= {
            name: read(io.load_object, file, f"--{name.replace('_', '-')}")
            for name in ("init", "point_spread", "known")
            if (file := getattr(self, name)) is not None
        }
        return {name: x for name, x in found.items() if x is not None}

    def job(self, source: Source, index: Index | None, known: dict[str, Tensor], assumed: Found | None = None) -> Job:
        """The pattern, or that part of the stack, with all arrays that its result depends on.

        What is `assumed` of all patterns of a stack some of them told.
        """
        measurement = source.read(index)
        if self.background is not None:
            open_ = tuple(note for note in measurement.notes if not note.endswith(AS_BACKGROUND))
            measurement = dataclasses.replace(measurement, notes=open_)
        arrays = {"FILE": measurement.intensity, "mask": measurement.mask, "support": None}
        if self.support is None:
            arrays["support"] = measurement.support
        found = None
        if self._finds_support(measurement):
            light, spread = self._looked_at(source, measurement, index, known)
            if assumed is not None:
                found = assumed.of(light)
                arrays["support"] = box_of(found.measurement, found.constraint, spread)
            else:
                found = self._found(light, spread, known, fractions=not self._keeps_frame())
                arrays["support"] = torch.ones(found.sizes, dtype=torch.bool)
        elif self._said() is None and "known" in known:
            found = beside(self._looked_at(source, measurement, index, known)[0], source.part(known["known"], index))
            if found.constraint != "complex":
                known = known | {"known": known["known"].real}
        if found is None and self.center is None:
            moved = off_centre(measurement, self._said())
            measurement = dataclasses.replace(measurement, notes=(*measurement.notes, *moved))
        if found is not None:
            known = {name: x for name, x in known.items() if name != "background"}
            measurement = found.measurement
            arrays |= {"FILE": measurement.intensity, "mask": measurement.mask}
        arrays |= {name: source.part(x, index) for name, x in known.items()}
        mask = ", ".join(filter(None, (self.mask, self.bad_pixels)))
        typed = {"FILE": ", ".join(self.file), "mask": mask}
        typed |= {name: getattr(self, name) for name in known}
        given = {name: x for name, x in arrays.items() if x is not None}
        place = given.get("support", given.get("known"))
        sizes = None if place is None else tuple(place.shape[-measurement.ndim :])
        # Blocks of a stack are put together, so that their grids must not depend on their masks.
        gaps = measurement.mask is not None or source.is_stack
        grid = None if sizes is None else self._coarser_grid(measurement.fourier_shape, sizes, gaps)
        if found is not None and grid is None and any(found.offset):
            grid = measurement.fourier_shape  # the fraction of a pixel is taken off on the frame
        return Job(measurement, given, typed, grid, found)

    def _looked_at(
        self, source: Source, measurement: io.Measurement, index: Index | None, known: dict[str, Tensor]
    ) -> tuple[io.Measurement, Tensor | None]:
        """The patterns without their background, and what blurs them."""
        if "background" in known:
            background = source.part(known["background"], index)
            light = without_background(measurement.intensity, background)
            check_lit(light, measurement.mask, measurement.ndim)
            measurement = dataclasses.replace(measurement, intensity=light)
        return measurement, source.part(known["point_spread"], index) if "point_spread" in known else None

    def _found(
        self, light: io.Measurement, spread: Tensor | None, known: dict[str, Tensor], *, fractions: bool
    ) -> Found:
        return find(
            light,
            self._said(),
            point_spread=spread,
            centred=self.center is not None,
            subtracted="background" in known,
            fractions=fractions,
        )

    def assumed(self, source: Source, numbers: list[int], known: dict[str, Tensor]) -> Found | None:
        """What some patterns, evenly spread over the stack, tell of all where nobody said it."""
        if self.support not in (None, "auto") or self.known is not None or self._schedule_finds_support():
            return None
        some = numbers[:: -(-len(numbers) // _SOME)]
        try:
            measurement = source.read(some)
        except ValueError:  # which its block tells, with the numbers of its patterns
            return None
        if not self._finds_support(measurement):
            return None
        return self._found(*self._looked_at(source, measurement, some, known), known, fractions=False)

    def _said(self) -> Constraint | None:
        """What the object is said to be: other options imply it."""
        if self.constraint is None and self.phase_range is not None:
            return "complex"
        if self.constraint is None and self.bounds is not None and self.bounds[0] < 0:
            return "real"
        return self.constraint

    def _finds_support(self, measurement: io.Measurement) -> bool:
        """Whether the support comes from the autocorrelation: it was asked for, or nothing else is known of it."""
        known = self.support is not None or self.known is not None or measurement.support is not None
        return self.support == "auto" or not (known or self._schedule_finds_support())

    def _schedule_finds_support(self) -> bool:
        """Whether the schedule begins with a step that finds the support itself."""
        return self.schedule is not None and solvers.Recipe(self.schedule).finds_support

    def solve(self, job: Job, *, progress: bool = False, **settings: Any) -> solvers.Reconstruction:
        """What the solver makes of it, on the CPU."""
        say_notes(job.measurement.notes)
        if self.undersampled and self._finds_support(job.measurement):
            what = "--undersampled changes nothing where the support is found, in at most (m + 1) / 2 pixels of m"
            _checks.warn(what, "Say how large the object is with --support N,M")
        device = _device(self.device)
        given: dict[str, Any] = {name: x.to(device) for name, x in job.arrays.items()}
        intensity = given.pop("FILE")
        if job.grid is not None:
            intensity = self._reduced(job, intensity, given)
        if job.found is not None:
            _check_real(job.found)
            if self.background is not None:
                given["background"] = 0.0  # it is subtracted: what is left are no counts
        constraint = self._said() if job.found is None else job.found.constraint
        if constraint is not None:
            given["constraint"] = constraint
        for name in ("support_size", "schedule", "starts", "bounds", "phase_range", "coherence"):
            if getattr(self, name) is not None:
                given[name] = getattr(self, name)
        solve = partial(
            solvers.reconstruct,
            undersampled=self.undersampled,
            seed=self.seed,
            compile=self.compile,
            ndim=job.measurement.ndim,
            tolerance=self.tolerance,
            progress=progress,
        )
        got = f"{self.starts or 'the default number of'} starts of {tuple(intensity.shape)}"
        with (
            warnings.catch_warnings(),
            _memory.in_memory(f"pattern and starts, {got},", "Use fewer --starts, or a smaller --block of a stack"),
        ):
            # the notes have said so, in pixels of the frame
            warnings.filterwarnings("ignore", ".*(outshines all about it|the light gathers)")
            if self._may_have_phase(job):
                same = {name: given[name] for name in ("background", "mask") if name in given}
                real, then = partial(solve, intensity, **given), partial(solve, intensity, **same)
                result = with_phase(real, then, intensity, given.get("mask"), settings)
            else:
                result = solve(intensity, **given, **settings)
        tensors: dict[str, Any] = {name: x.cpu() for name, x in vars(result).items() if isinstance(x, Tensor)}
        return dataclasses.replace(result, **tensors)

    def _may_have_phase(self, job: Job) -> bool:
        """Whether a pattern of which nothing was said but that it is one is not quite that of a real object."""
        said = (self.constraint, self.schedule, self.starts, self.support_size, self.bounds, self.init, self.known)
        if job.found is None or job.found.constraint == "complex" or self._keeps_frame() or any(said):
            return False
        measurement = job.found.measurement
        if measurement.intensity.ndim > measurement.ndim:
            return False
        return float(symmetries(measurement, job.found.sizes, job.found.offset)) < SYMMETRIC

    def _keeps_frame(self) -> bool:
        """Whether the pattern is solved as it is: that was asked for, or a blur is to be found, one of the frame's."""
        return bool(self.whole_frame or self.coherence or self.point_spread)

    def _coarser_grid(self, frame: tuple[int, ...], sizes: tuple[int, ...], gaps: bool) -> tuple[int, ...] | None:
        """The grid to solve on in place of the frame, if it has at most half of the pixels; a blur is the frame's."""
        if self._keeps_frame():
            return None
        if any(2 * n - 1 > m for n, m in zip(sizes, frame, strict=True)):  # the support of a whole frame, or too large
            return None
        grid = quick_grid(frame, sizes, gaps)
        return grid if 2 * math.prod(grid) <= math.prod(frame) else None

    def _reduced(self, job: Job, intensity: Tensor, given: dict[str, Any]) -> Tensor:
        """The pattern on the coarser grid; so is all that is given of the same shape."""
        place = given["support"] if "support" in given else given["known"]
        frame, sizes = job.measurement.fourier_shape, tuple(place.shape[-job.measurement.ndim :])
        if "background" in given:
            intensity = without_background(intensity, given.pop("background"))
            check_lit(intensity, given.get("mask"), job.measurement.ndim)
        if "init" in given:
            shape = tuple(given["init"].shape[-len(sizes) :])
            if shape == frame:
                found = self._finds_support(job.measurement)
                given["init"] = _into_box(given["init"], sizes) if found else _fft.crop(given["init"], sizes)
            elif shape != sizes:
                rule = f"init must have the shape of the support {sizes}, or of the pattern {frame}, got {shape}"
                _checks.fail(rule, "Pad it to that of the pattern, or use --whole-frame")
        options = {"fourier_shape": job.grid, "mask": given.pop("mask", None)}
        if job.found is not None:
            options |= {"constraint": job.found.constraint, "offset": job.found.offset}
        intensity, mask = solvers.reduce_pattern(intensity, sizes, **options)
        if mask is not None:
            given["mask"] = mask
        return intensity

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
        if re.fullmatch(r"\d+(\s*[xX*×;:]\s*\d+)+", self.support) and not os.path.exists(self.support):
            typed_as = ",".join(re.findall(r"\d+", self.support))
            _checks.fail(f"--support must be sizes N,M or a file, got {self.support!r}", f"Use --support {typed_as}")
        near = meant(self.support.lower(), ("auto", "none")) if self.support.isalpha() else ""
        if near and not os.path.exists(self.support):
            _checks.fail(f"--support must be a file that exists, got {self.support!r}", f"Did you mean {near!r}?")
        if not all(size.strip().isdecimal() for size in sizes):
            return read(io.load_support, self.support, "--support")
        frame = source.pattern.shape[-source.pattern.ndim :]
        if len(sizes) != len(frame):
            rule = f"support must have {len(frame)} sizes, one for each axis of a pattern, got {self.support}"
            _checks.fail(rule, "Use N,M for pictures, or say --ndim")
        shape = _checks.shape("support", tuple(map(_size, sizes)))
        _memory.check_fits("support", 3 * math.prod(shape), "Use a box that the pattern holds", self.support)
        return torch.ones(shape, dtype=torch.bool)


def _check_real(found: Found) -> None:
    """Warn of patterns of a stack that are not as those that told what is assumed of all."""
    if found.constraint == "complex" or not any(name == "non-negative" for name, _ in found.said):
        return
    like = symmetries(found.measurement, found.sizes, found.offset)
    other = int((like <= REAL).sum())
    if other:
        what = (
            f"{other} of {like.numel()} patterns are symmetric to {float(like.min()):.2f} and less, but their objects "
        )
        _checks.warn(
            f"{what}were taken as non-negative, as those of others", "Use --constraint complex if they are not"
        )


def _into_box(obj: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Objects on the whole frame in a box of these sizes, which is cut out where it holds most of them."""
    d = len(sizes)
    energy = _fft.power(obj).reshape(-1, *obj.shape[-d:]).sum(0)
    for axis, n in zip(range(-d, 0), sizes, strict=True):
        line = energy.movedim(axis, 0).flatten(1).sum(1) if d > 1 else energy
        held = torch.cat([line, line[: n - 1]]).unfold(0, n, 1).sum(-1)
        obj = obj.roll(-int(held.argmax()), axis)
    return _fft.crop(obj, sizes)


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
