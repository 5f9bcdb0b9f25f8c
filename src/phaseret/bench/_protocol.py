"""What a protocol is made of: an object, its data, and what is told of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from phaseret import _checks
from phaseret.projections import Constraint

#: The version of the protocols: their test sets and scores stay as they are under one name.
VERSION = "bench-1"
Noise = Literal["none", "poisson", "alpha", "gaussian"]


@dataclass(frozen=True, eq=False)
class Known:
    """What an entry is told of an object beside its intensity.

    Attributes:
        object_shape: Sizes of the estimate that is asked for.
        constraint: "nonnegative", "real" or "complex".
        support: (n1..nd) boolean, where the object may be non-zero; None where nothing is known but the sizes.
        mask: (m1..md) boolean, True where the data were measured; None: everywhere.
        noise: "none", "poisson", "alpha" (Gaussian on the intensity, in proportion to the magnitude) or "gaussian" (on
            the magnitude).
        level: The intensity that one photon stands for ("poisson"), the standard deviation over the magnitude ("alpha")
            or the standard deviation of the magnitude ("gaussian").
        photons: Mean number of photons per pixel, where they were counted.
        undersampled: Whether the data are fewer than 2n - 1 along an axis, so that other objects have them too.
    """

    object_shape: tuple[int, ...]
    constraint: Constraint
    support: Tensor | None = None
    mask: Tensor | None = None
    noise: Noise = "none"
    level: float = 0.0
    photons: float | None = None
    undersampled: bool = False

    def __repr__(self) -> str:
        """One line: of masks the sizes, and how many of their pixels are True."""
        shown = {
            name: f"{'x'.join(map(str, value.shape))}, {int(value.sum())} True" if isinstance(value, Tensor) else value
            for name, value in vars(self).items()
        }
        return f"Known({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def box(self) -> Tensor:
        """The support, or all pixels of the object where it is not known."""
        return torch.ones(self.object_shape, dtype=torch.bool) if self.support is None else self.support


@dataclass(frozen=True, eq=False)
class Item:
    """One object (*, n1..nd), its intensity (*, m1..md), and what is told of it.

    Attributes:
        name: Its own name in the test set.
        case: The part of the protocol that it belongs to, such as a noise level; "" where there is one.
        obj: The true object, which no entry sees.
        intensity: What was measured of it.
        known: What an entry is told.
        computed: Whether nobody knows the object, and `obj` is what stands for it: then it is in no checksum.
    """

    name: str
    case: str
    obj: Tensor
    intensity: Tensor
    known: Known
    computed: bool = False


@dataclass(frozen=True)
class Protocol:
    """A test set, and how often an entry is run on it.

    Attributes:
        name: What it is called.
        about: What it asks, in one sentence.
        make: From a case, a number and the folder of measured data to the item of this number.
        cases: Levels of noise or of difficulty, each with its own items and its own row.
        counts: Items of each case, in a quick run (the first ones of the first case) and in a whole one.
        seeds: Runs of each item, likewise.
        checksums: Of the items, likewise; frozen.
        relative: Whether the estimate may differ from the object by a factor, as measured data have no units.
    """

    name: str
    about: str
    make: Callable[[str, int, Path | None], Item]
    cases: tuple[str, ...] = ("",)
    counts: tuple[int, int] = (1, 1)
    seeds: tuple[int, int] = (1, 3)
    checksums: tuple[str, str] | None = field(default=None, repr=False)
    relative: bool = False

    def items(self, quick: bool = False, data: Path | None = None) -> list[Item]:
        """All items, case by case."""
        cases = self.cases[:1] if quick else self.cases
        return [self.make(case, number, data) for case in cases for number in range(self.counts[not quick])]


def checksum(items: Sequence[Item]) -> str:
    """SHA-256 of what entries and scores see: objects, intensities and masks, whose values are rounded beforehand."""
    found = hashlib.sha256()
    for item in items:
        for tensor in (None if item.computed else item.obj, item.intensity, item.known.mask, item.known.support):
            if tensor is not None:
                found.update(f"{item.name} {tuple(tensor.shape)} {tensor.dtype}".encode())
                found.update(tensor.contiguous().resolve_conj().numpy().tobytes())
    return found.hexdigest()


def rounded(x: Tensor, bits: int) -> Tensor:
    """The values (double precision) as multiples of 2^-bits of the power of two above the largest, in single precision.

    Computed in double precision, values of two processors differ by a millionth of such a step, and almost never after
    rounding: what is handed out is the same to the bit.
    """
    if x.is_complex():
        return torch.complex(rounded(x.real, bits), rounded(x.imag, bits))
    if x.dtype != torch.float64:
        _checks.fail(f"x must be in double precision, got {x.dtype}", "Use x.double()")
    _, exponent = torch.frexp(x.abs().max())
    step = 2.0 ** (int(exponent) - bits)
    return ((x / step).round() * step + 0.0).float()  # -0 becomes 0
