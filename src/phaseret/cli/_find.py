"""What patterns tell of themselves where nobody said it: their centre, the box of the object, whether it is real."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from phaseret import _fft, io, solvers
from phaseret.io._inspect import flat_level, friedel
from phaseret.io._measurement import in_file
from phaseret.projections import Constraint
from phaseret.solvers._gaps import disagreeing
from phaseret.solvers._reduce import quick_grid

# A pattern is that of a real object if its opposite frequencies agree so well. Another centre is taken if it is so good
# and leaves at most this share of the asymmetry about the middle.
REAL, _CENTRE, _BETTER = 0.9, 0.85, 0.7
# A pattern so symmetric about its middle has its centre there; larger frames are not looked at where all is said.
_EXACT, _LARGE = 0.98, 2**22


@dataclass(frozen=True)
class Found:
    """The patterns about their centre, which lies `offset` pixels from index 0; and what they tell.

    Attributes:
        measurement: The pattern, or some of a stack, without their background.
        pixel: The centre in the frame with the zero frequency in the middle; None for that middle.
        sizes: Those of the box that the autocorrelation allows.
        offset: The fraction of a pixel that is left of the centre.
        constraint: What the object is taken as.
        said: Rows of the summary: what was assumed, and why.
    """

    measurement: io.Measurement
    pixel: tuple[int, ...] | None
    sizes: tuple[int, ...]
    offset: tuple[float, ...]
    constraint: Constraint
    said: tuple[tuple[str, str], ...]

    def of(self, measurement: io.Measurement) -> Found:
        """The same of other patterns of the stack."""
        moved = measurement if self.pixel is None else measurement.about(self.pixel)
        return dataclasses.replace(self, measurement=moved)


def find(
    measurement: io.Measurement,
    constraint: Constraint | None,
    *,
    point_spread: Tensor | None = None,
    centred: bool,
    subtracted: bool,
    fractions: bool,
) -> Found:
    """Look at a pattern, or at some of a stack with one centre: `centred` if that is known, `constraint` if the object
    is, `subtracted` if the background is. Without `fractions` the centre is a whole pixel.
    """
    if not subtracted:
        level = tuple(flat_level(*_in_the_middle(measurement)))
        measurement = dataclasses.replace(measurement, notes=(*measurement.notes, *level))
    said, none, whole = [], (0.0,) * measurement.ndim, measurement
    offset: tuple[float, ...] = none
    centre: tuple[int, ...] | None = None
    many = (
        "" if measurement.intensity.ndim == measurement.ndim else f" ({len(measurement.intensity)} patterns, the least)"
    )
    middle = tuple(m // 2 for m in measurement.fourier_shape)
    if not centred and constraint != "complex":
        place, here, there = _centre(measurement)
        if there > _CENTRE and place != middle and 1 - there < _BETTER * (1 - here):
            centre = tuple(math.floor(c) for c in place)
            if not fractions:
                place = centre
            offset = tuple(c - p for c, p in zip(place, centre, strict=True))
            measurement = measurement.about(centre)
            shown = ",".join(f"{c:g}" for c in place)
            said.append(
                ("centre", f"{shown}, about which the pattern is symmetric to {there:.2f} (middle: {here:.2f})")
            )
    measurement, wrong = _without_wrong_centre(measurement)
    sizes = _box(measurement, constraint or "complex", point_spread)
    if constraint is None:
        real = _symmetry(measurement, sizes, offset)
        constraint, shown = "nonnegative" if real > REAL else "complex", f"{real:.3f}{many}"
        if constraint == "nonnegative":
            sizes = _box(measurement, constraint, point_spread)
            why = f"the pattern is symmetric to {shown}; if the object has a phase, use --constraint complex"
            said.append(("non-negative", why))
        else:
            # No symmetry, no centre of it.
            if centre is not None:
                measurement, wrong = _without_wrong_centre(whole)
            centre, offset, said = None, none, []
            sizes = _box(measurement, constraint, point_spread)
            said.append(("complex", f"the pattern is symmetric to {shown} only; a real object is above {REAL:g}"))
    return Found(measurement, centre, sizes, offset, constraint, (*said, *wrong))


def off_centre(measurement: io.Measurement, constraint: Constraint | None) -> list[str]:
    """A question, if a pattern of an object that is said to be real is symmetric about another centre."""
    if constraint in (None, "complex") or math.prod(measurement.fourier_shape) > _LARGE:
        return []
    place, here, there = _centre(measurement)
    middle = tuple(m // 2 for m in measurement.fourier_shape)
    if there <= _CENTRE or here > _EXACT or place == middle or 1 - there >= _BETTER * (1 - here):
        return []
    shown = ",".join(f"{c:g}" for c in place)
    what = f"the pattern of a real object is symmetric about its middle, and this one is to {here:.2f}"
    fix = f"use --center {','.join(map(str, in_file(measurement, place)))}"
    if any(c % 1 for c in place):
        fix = "use --support auto, which moves it there"
    return [f"{what}, but to {there:.2f} about {shown}: if that is its centre, {fix}"]


def _without_wrong_centre(measurement: io.Measurement) -> tuple[io.Measurement, list[tuple[str, str]]]:
    """One pattern without the pixels at the zero frequency that its others contradict, and what is said of them."""
    intensity, d = measurement.intensity, measurement.ndim
    if intensity.ndim > d:
        return measurement, []
    mask = torch.ones_like(intensity, dtype=torch.bool) if measurement.mask is None else measurement.mask
    wrong = disagreeing(intensity, mask, d)
    if not bool(wrong.any()):
        return measurement, []
    what = f"{int(wrong.sum())} pixels there contradict all others and count as unmeasured"
    measurement = dataclasses.replace(measurement, mask=mask & ~wrong, intensity=intensity.where(~wrong, 0.0))
    return measurement, [("zero frequency", f"{what}; if they are right, use --support N,M")]


def beside(measurement: io.Measurement, known: Tensor) -> Found:
    """Look at patterns of objects a part of which is known: whether they are real."""
    d, none = measurement.ndim, (0.0,) * measurement.ndim
    sizes, values = tuple(known.shape[-d:]), known[~known.isnan()]
    constraint: Constraint = "complex"
    if values.is_complex() and bool((values.imag != 0).any()):
        said = ("complex", "the known part is")
    elif (real := _symmetry(measurement, sizes, none)) <= REAL:
        said = ("complex", f"the pattern is symmetric to {real:.3f} only; a real object is above {REAL:g}")
    else:
        constraint = "real" if bool((values.real < 0).any()) else "nonnegative"
        why = f"the pattern is symmetric to {real:.3f}, and so is the known part; if not, use --constraint complex"
        said = ("real" if constraint == "real" else "non-negative", why)
    return Found(measurement, None, sizes, none, constraint, (said,))


def _centre(measurement: io.Measurement) -> tuple[tuple[float, ...], float, float]:
    """The centre of symmetry, and how symmetric the pattern is about the middle and about it."""
    intensity, mask = _in_the_middle(measurement)
    return friedel(np.sqrt(intensity), mask)


def _in_the_middle(measurement: io.Measurement) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The intensity and the mask with the zero frequency in the middle of the frame: of several the mean of all."""
    axes, shape = range(-measurement.ndim, 0), measurement.fourier_shape
    mask = torch.ones_like(measurement.intensity, dtype=torch.bool) if measurement.mask is None else measurement.mask
    values = measurement.intensity.double().reshape(-1, *shape)
    if len(values) > 1:
        values = values / values.flatten(1).mean(1).clamp(min=1e-300).reshape(-1, *[1] * len(shape))
    mask = mask.expand(measurement.intensity.shape).reshape(-1, *shape).all(0)
    return _fft.center(values.mean(0), axes).numpy(), _fft.center(mask, axes).numpy()


def _box(measurement: io.Measurement, constraint: Constraint, point_spread: Tensor | None) -> tuple[int, ...]:
    """The sizes of the box that the autocorrelation allows."""
    d = measurement.ndim
    box = box_of(measurement, constraint, point_spread)
    return tuple(int(box.movedim(axis, 0).reshape(box.shape[axis], -1).any(1).sum()) for axis in range(-d, 0))


def box_of(measurement: io.Measurement, constraint: Constraint, point_spread: Tensor | None) -> Tensor:
    """The box, data-shaped, that the autocorrelation allows."""
    return solvers.autocorrelation_support(
        measurement.intensity,
        mask=measurement.mask,
        point_spread=None if point_spread is None else point_spread.to(measurement.intensity),
        constraint=constraint,
        ndim=measurement.ndim,
    )


def _symmetry(measurement: io.Measurement, sizes: tuple[int, ...], offset: tuple[float, ...]) -> float:
    """The least correlation of opposite frequencies, on the coarser grid, where there is less noise."""
    return float(symmetries(measurement, sizes, offset).min())


def symmetries(measurement: io.Measurement, sizes: tuple[int, ...], offset: tuple[float, ...]) -> Tensor:
    """The correlation of opposite frequencies of each pattern."""
    frame, intensity, mask = measurement.fourier_shape, measurement.intensity, measurement.mask
    if all(2 * n - 1 <= m for n, m in zip(sizes, frame, strict=True)):
        grid = quick_grid(frame, sizes, gaps=mask is not None)
        intensity, mask = solvers.reduce_pattern(intensity, sizes, fourier_shape=grid, mask=mask, offset=offset)
    axes = tuple(range(-len(frame), 0))
    both = torch.ones_like(intensity) if mask is None else (mask & _fft.mirror(mask, axes)).to(intensity)
    magnitude = _fft.root(intensity)
    mean = (both * magnitude).sum(axes, keepdim=True) / both.sum(axes, keepdim=True).clamp(min=1)
    off = both * (magnitude - mean)
    return (off * _fft.mirror(off, axes)).sum(axes) / off.square().sum(axes).clamp(min=1e-30)
