"""What a single pattern tells of itself where nobody said it: its centre, the box of its object, whether it is real."""

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
from phaseret.projections import Constraint
from phaseret.solvers._reduce import quick_grid

# A pattern is that of a real object if its opposite frequencies agree so well. Another centre is taken if it is so good
# and leaves at most this share of the asymmetry about the middle.
REAL, _CENTRE, _BETTER = 0.9, 0.85, 0.7


@dataclass(frozen=True)
class Found:
    """The pattern about its centre, which lies `offset` pixels from index 0; and what it tells.

    Attributes:
        measurement: The pattern, without its background.
        sizes: Those of the box that the autocorrelation allows.
        offset: The fraction of a pixel that is left of the centre.
        constraint: What the object is taken as.
        said: Rows of the summary: what was assumed, and why.
    """

    measurement: io.Measurement
    sizes: tuple[int, ...]
    offset: tuple[float, ...]
    constraint: Constraint
    said: tuple[tuple[str, str], ...]


def find(
    measurement: io.Measurement,
    constraint: Constraint | None,
    *,
    point_spread: Tensor | None = None,
    centred: bool,
    subtracted: bool,
    fractions: bool,
) -> Found:
    """Look at a single pattern: `centred` if its centre is known, `constraint` if the object is, `subtracted` if the
    background is. Without `fractions` the centre is a whole pixel.
    """
    if not subtracted:
        level = tuple(flat_level(*_in_the_middle(measurement)))
        measurement = dataclasses.replace(measurement, notes=(*measurement.notes, *level))
    said, none, whole = [], (0.0,) * measurement.ndim, measurement
    offset: tuple[float, ...] = none
    middle = tuple(m // 2 for m in measurement.fourier_shape)
    if not centred and constraint != "complex":
        place, here, there = _centre(measurement)
        if there > _CENTRE and place != middle and 1 - there < _BETTER * (1 - here):
            pixel = tuple(math.floor(c) for c in place)
            if not fractions:
                place = pixel
            offset = tuple(c - p for c, p in zip(place, pixel, strict=True))
            measurement = measurement.about(pixel)
            shown = ",".join(f"{c:g}" for c in place)
            said.append(
                ("centre", f"{shown}, about which the pattern is symmetric to {there:.2f} (middle: {here:.2f})")
            )
    sizes = _box(measurement, constraint or "complex", point_spread)
    if constraint is None:
        real = _symmetry(measurement, sizes, offset)
        constraint = "nonnegative" if real > REAL else "complex"
        if constraint == "nonnegative":
            sizes = _box(measurement, constraint, point_spread)
            why = f"the pattern is symmetric to {real:.3f}; if the object has a phase, use --constraint complex"
            said.append(("non-negative", why))
        else:
            # No symmetry, no centre of it.
            measurement, offset, said = whole, none, []
            sizes = _box(measurement, constraint, point_spread)
            said.append(("complex", f"the pattern is symmetric to {real:.3f} only; a real object is above {REAL:g}"))
    return Found(measurement, sizes, offset, constraint, tuple(said))


def _centre(measurement: io.Measurement) -> tuple[tuple[float, ...], float, float]:
    """The centre of symmetry, and how symmetric the pattern is about the middle and about it."""
    intensity, mask = _in_the_middle(measurement)
    return friedel(np.sqrt(intensity), mask)


def _in_the_middle(measurement: io.Measurement) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The intensity and the mask with the zero frequency in the middle of the frame."""
    axes = range(-measurement.ndim, 0)
    mask = torch.ones_like(measurement.intensity, dtype=torch.bool) if measurement.mask is None else measurement.mask
    return _fft.center(measurement.intensity, axes).double().numpy(), _fft.center(mask, axes).numpy()


def _box(measurement: io.Measurement, constraint: Constraint, point_spread: Tensor | None) -> tuple[int, ...]:
    """The sizes of the box that the autocorrelation allows."""
    d = measurement.ndim
    box = box_of(measurement, constraint, point_spread)
    return tuple(int(box.movedim(axis, 0).reshape(box.shape[axis], -1).any(1).sum()) for axis in range(d))


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
    """The correlation of opposite frequencies on the coarser grid, where the noise is least."""
    grid = quick_grid(measurement.fourier_shape, sizes, gaps=measurement.mask is not None)
    intensity, mask = solvers.reduce_pattern(
        measurement.intensity, sizes, fourier_shape=grid, mask=measurement.mask, offset=offset
    )
    axes = tuple(range(-len(grid), 0))
    both = torch.ones_like(intensity) if mask is None else (mask & _fft.mirror(mask, axes)).to(intensity)
    magnitude = _fft.root(intensity)
    off = both * (magnitude - (both * magnitude).sum() / both.sum().clamp(min=1))
    return float((off * _fft.mirror(off, axes)).sum() / off.square().sum().clamp(min=1e-30))
