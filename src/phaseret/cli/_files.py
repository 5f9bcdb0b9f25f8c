"""The files of a command: the pattern that is read with what goes with it, and what is written."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, io, plotting
from phaseret.cli._commands import Output, Pattern
from phaseret.cli._messages import typed
from phaseret.io._axes import Index
from phaseret.io._layout import MaskIs
from phaseret.io._load import OpenPattern, Wanted, opened_pattern
from phaseret.io._parts import frame_mask
from phaseret.io._series import OpenSeries, files_of

# How options are shown that name a file to be read.
_FILES = re.compile(r"\b(FILE|IMAGE|A|B)\b")
# The options of masks by what their non-zero pixels are.
_FLAGS = {"measured": "--mask", "bad": "--bad-pixels"}


def split(file: str) -> tuple[str, str | None]:
    """FILE::KEY in its two parts, unless it is the name of a file."""
    path, _, key = file.partition("::")
    return (file, None) if os.path.isfile(file) else (path, key or None)


def read(load: Callable[..., Tensor], file: str, name: str, **options: Any) -> Tensor:
    """What `load` reads from FILE::KEY, which was typed as `name`."""
    path, key = split(file)
    with typed(name):
        return load(path, key=key, **options)


class Reads(Pattern):
    """Opens the pattern, or stack of them, that is asked for."""

    @contextmanager
    def opened(self, dtype: torch.dtype = torch.float32) -> Iterator[Source]:
        """The files, each opened when it is needed; no pattern is read yet."""
        paths, keys = zip(*map(split, self.file), strict=True)
        key = keys[0]
        if len(set(keys)) > 1:
            _checks.fail(f"the files of one stack must have one KEY, got {', '.join(self.file)}", "Read them apart")
        wanted = Wanted(
            key,
            self.ndim,
            self.kind,
            self.center,
            self.mask_is,
            self.saturation,
            dtype,
            self.stack_axis,
            self.roi,
            self.crop,
            self.bin,
        )
        masks: dict[str, Tensor] = {}
        notes: list[str] = []
        typed_masks: tuple[tuple[str, str | None, MaskIs], ...] = (
            ("--mask", self.mask, "measured"),
            ("--bad-pixels", self.bad_pixels, "bad"),
        )
        for name, file, mask_is in typed_masks:
            if file:
                with typed(name):
                    masks[name], asked = frame_mask(*split(file), mask_is)
                    notes += [re.sub("mask_is='(measured|bad)'", lambda said: _FLAGS[said[1]], note) for note in asked]
        with ExitStack() as stack:
            with typed("FILE"):
                pattern = stack.enter_context(opened_pattern(paths if len(paths) > 1 else paths[0], wanted))
            yield Source(pattern, masks, tuple(notes))


@dataclass(frozen=True)
class Source:
    """Patterns in open files, and the masks that were typed."""

    pattern: OpenPattern | OpenSeries
    masks: dict[str, Tensor]
    notes: tuple[str, ...] = ()

    @property
    def is_stack(self) -> bool:
        """Whether there are several patterns."""
        return self.pattern.is_stack

    def read(self, index: Index | None) -> io.Measurement:
        """The pattern or that part of the stack, masked."""
        with typed("FILE", "intensity"):
            measurement = self.pattern.read(index, self.masks)
        return replace(measurement, notes=(*self.notes, *measurement.notes))

    def part(self, x: Tensor, index: Index | None) -> Tensor:
        """What goes with that part of the stack in an array that holds one item for each pattern, or one for all."""
        chosen = self.pattern.part(x.shape, index)
        return x if chosen is None else x[chosen if isinstance(chosen, int | slice) else list(chosen)]


def _same(written: str | None, read: str) -> bool:
    """Whether both are one file, whatever its names."""
    try:
        return written is not None and os.path.samefile(written, read)
    except (OSError, ValueError):
        return False


class Writes(Output):
    """Writes the files that are asked for."""

    def check(self) -> None:
        """Whatever is wrong with them is found before anything is read or computed."""
        self.check_apart("--output", self.output)
        self.check_apart("--figure", self.figure)
        if self.output and self.figure and os.path.realpath(self.output) == os.path.realpath(self.figure):
            rule = f"--figure must not be the file of --output, got {self.figure!r} for {self.output!r}"
            _checks.fail(rule, "Name another")
        if self.output:
            with typed("--output"):
                io.check_output(self.output, overwrite=self.overwrite)
        if self.figure:
            with typed("--figure"):
                plotting.check_figure(self.figure, overwrite=self.overwrite)

    def check_apart(self, name: str, written: str | None) -> None:
        """What is written is no file that is read."""
        for read in self._read() if written else ():
            if _same(written, read):
                rule = f"{name} must not be a file that is read, got {written!r}, which is {read!r}"
                _checks.fail(rule, "Name another")

    def _read(self) -> Iterator[str]:
        """Every file that was typed and that may be read."""
        for field in dataclasses.fields(self):
            if field.name not in ("output", "figure") and _FILES.search(field.metadata.get("metavar", "")):
                value = getattr(self, field.name) or ()
                for text in value if isinstance(value, list | tuple) else (value,):
                    yield from map(str, files_of(split(text)[0], must_match=False))

    def save(self, save: Callable[..., None], result: Any, **options: Any) -> None:
        """Write the result."""
        with typed("--output"):
            save(self.output, result, overwrite=self.overwrite, **options)

    def draw(self, plot: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Write the picture, if one is asked for."""
        if self.figure:
            with typed("--figure"):
                plotting.save_figure(self.figure, plot(*args, **options), overwrite=self.overwrite)
