"""The files of a command: the pattern that is read with what goes with it, and what is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from phaseret import io, plotting
from phaseret.cli._commands import Output, Pattern
from phaseret.cli._messages import typed
from phaseret.io._load import OpenPattern, Wanted, opened_pattern


def split(file: str) -> tuple[str, str | None]:
    """FILE::KEY in its two parts."""
    path, _, key = file.partition("::")
    return path, key or None


def read(load: Callable[..., Tensor], file: str, name: str, **options: Any) -> Tensor:
    """What `load` reads from FILE::KEY, which was typed as `name`."""
    path, key = split(file)
    with typed(name):
        return load(path, key=key, **options)


class Reads(Pattern):
    """Opens the pattern, or stack of them, that is asked for."""

    @contextmanager
    def opened(self, dtype: torch.dtype = torch.float32) -> Iterator[Source]:
        """The file, opened once; no pattern is read yet."""
        path, key = split(self.file)
        wanted = Wanted(key, self.ndim, self.kind, self.center, self.mask_is, self.saturation, dtype)
        place = {"center": self.center or "middle"}
        with ExitStack() as stack:
            with typed("FILE"):
                pattern = stack.enter_context(opened_pattern(path, wanted))
            masks = {}
            for name, file, mask_is in (("--mask", self.mask, "measured"), ("--bad-pixels", self.bad_pixels, "bad")):
                if file:
                    masks[name] = read(io.load_mask, file, name, ndim=pattern.ndim, mask_is=mask_is, **place)
            yield Source(pattern, masks)


@dataclass(frozen=True)
class Source:
    """An open file of patterns, and the masks that were typed."""

    pattern: OpenPattern
    masks: dict[str, Tensor]

    @property
    def is_stack(self) -> bool:
        """Whether there are several patterns."""
        return len(self.pattern.shape) > self.pattern.ndim

    def read(self, index: int | slice | None) -> io.Measurement:
        """The pattern or that part of the stack, masked."""
        with typed("FILE", "intensity"):
            measurement = self.pattern.read(index)
        for name, mask in self.masks.items():
            with typed(name, "mask", "intensity"):
                measurement = measurement.masked(self.part(mask, index))
        return measurement

    def part(self, x: Tensor, index: int | slice | None) -> Tensor:
        """What goes with that part of the stack in an array that holds one item for each pattern, or one for all."""
        index = self.pattern.part(x.shape, index)
        return x if index is None else x[index]


class Writes(Output):
    """Writes the files that are asked for."""

    def check(self) -> None:
        """Whatever is wrong with them is found before anything is read or computed."""
        if self.output:
            with typed("--output"):
                io.check_output(self.output, overwrite=self.overwrite)
        if self.figure:
            with typed("--figure"):
                plotting.check_figure(self.figure, overwrite=self.overwrite)

    def save(self, save: Callable[..., None], result: Any, **options: Any) -> None:
        """Write the result."""
        with typed("--output"):
            save(self.output, result, overwrite=self.overwrite, **options)

    def draw(self, plot: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Write the picture, if one is asked for."""
        if self.figure:
            with typed("--figure"):
                plotting.save_figure(self.figure, plot(*args, **options), overwrite=self.overwrite)
