"""The files of a command: the pattern that is read with what goes with it, and what is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, io, plotting
from phaseret.cli._messages import typed
from phaseret.cli._options import option, part, place, region, sizes, switch
from phaseret.io._contents import Index
from phaseret.io._layout import MaskIs
from phaseret.io._load import OpenPattern, Wanted, frame_mask, opened_pattern
from phaseret.io._series import OpenSeries


def split(file: str) -> tuple[str, str | None]:
    """FILE::KEY in its two parts."""
    path, _, key = file.partition("::")
    return path, key or None


def read(load: Callable[..., Tensor], file: str, name: str, **options: Any) -> Tensor:
    """What `load` reads from FILE::KEY, which was typed as `name`."""
    path, key = split(file)
    with typed(name):
        return load(path, key=key, **options)


@dataclass(frozen=True)
class Pattern:
    """The pattern, or stack of them, that is asked for."""

    file: tuple[str, ...] = option(
        "the pattern: HDF5/CXI, npy, npz, mat, tif, edf, ...; FILE::KEY names an array; several files, or a pattern "
        "such as 'frame_%%05d.tif', are one stack",
        "file",
        metavar="FILE",
        nargs="+",
    )
    ndim: int | None = option(
        "axes of one pattern; the axes before them are a stack", type=int, heading="reading the pattern"
    )
    index: int | slice | list[int] | None = option("part of a stack: 3, 0:10 or 0,1,3", type=part)
    stack_axis: int | None = option(
        "axis that counts the patterns; default: the first, in MATLAB's files the last", type=int
    )
    kind: Any = option('"intensity" or "magnitude", its square root; default: what FILE says, else the intensity')
    center: Any = option(
        'pixel of the zero frequency in the frame, "corner" or "middle" (index m // 2); default: what FILE says, else '
        "the middle",
        type=place,
        metavar="Y,X",
    )
    roi: Any = option("the part of the frame that is read", type=region, metavar="Y0:Y1,X0:X1")
    crop: tuple[int, ...] | None = option("keep N x M pixels about the zero frequency", type=sizes, metavar="N,M")
    bin: int = option("add up blocks of K x K pixels, after --crop", type=int, default=1, metavar="K")
    saturation: float | None = option("pixels from this value on are not trusted", type=float, metavar="VALUE")
    mask: str | None = option("mask: non-zero pixels were measured (in a CXI file: zero ones)", metavar="FILE")
    bad_pixels: str | None = option("mask: non-zero pixels are bad", metavar="FILE")
    mask_is: Any = option('what non-zero pixels of the mask in FILE itself are: "measured", "bad" or "ignored"')

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
        typed_masks: tuple[tuple[str, str | None, MaskIs], ...] = (
            ("--mask", self.mask, "measured"),
            ("--bad-pixels", self.bad_pixels, "bad"),
        )
        for name, file, mask_is in typed_masks:
            if file:
                with typed(name):
                    masks[name] = frame_mask(*split(file), mask_is)
        with ExitStack() as stack:
            with typed("FILE"):
                pattern = stack.enter_context(opened_pattern(paths if len(paths) > 1 else paths[0], wanted))
            yield Source(pattern, masks)


@dataclass(frozen=True)
class Source:
    """Patterns in open files, and the masks that were typed."""

    pattern: OpenPattern | OpenSeries
    masks: dict[str, Tensor]

    @property
    def is_stack(self) -> bool:
        """Whether there are several patterns."""
        return self.pattern.is_stack

    def read(self, index: Index | None) -> io.Measurement:
        """The pattern or that part of the stack, masked."""
        with typed("FILE", "intensity"):
            return self.pattern.read(index, self.masks)

    def part(self, x: Tensor, index: Index | None) -> Tensor:
        """What goes with that part of the stack in an array that holds one item for each pattern, or one for all."""
        chosen = self.pattern.part(x.shape, index)
        return x if chosen is None else x[chosen if isinstance(chosen, int | slice) else list(chosen)]


@dataclass(frozen=True)
class Output:
    """The files to be written; none takes the place of another unless asked."""

    output: str = ""
    figure: str | None = None
    overwrite: bool = switch("replace existing files")

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
