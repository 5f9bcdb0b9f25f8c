"""The protocols of bench-1. What stands here is frozen: another test set has another version."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from phaseret import operators, solvers
from phaseret.bench import _objects
from phaseret.bench._protocol import Item, Known, Protocol, rounded

# Of objects and of intensities: far below what single precision tells, far above what processors differ by.
_OBJECT_BITS, _DATA_BITS = 20, 30
PHOTONS, ALPHAS = (244, 24, 2.4, 0.24), (2, 3, 4)


def _item(name: str, case: str, obj: Tensor, shape: tuple[int, ...], constraint: Any, **known: Any) -> Item:
    """An object with its noise-free intensity, both in double precision."""
    clean = operators.fourier_intensity(obj, shape, undersampled=True)
    object_shape = tuple(obj.shape[obj.ndim - len(shape) :])
    undersampled = any(m < 2 * n - 1 for m, n in zip(shape, object_shape, strict=True))
    return Item(name, case, obj, clean, Known(object_shape, constraint, undersampled=undersampled, **known))


def _finished(item: Item, intensity: Tensor | None = None, **known: Any) -> Item:
    """The same with its intensity, or a noisy one, rounded, and all in single precision."""
    obj = rounded(item.obj, _OBJECT_BITS)
    data = rounded(item.intensity if intensity is None else intensity, _DATA_BITS)
    return Item(item.name, item.case, obj, data, Known(**{**vars(item.known), **known}))


def _digit(case: str, number: int, data: Path | None) -> Item:
    obj = _objects.digits()[number]
    support = torch.ones(28, 28, dtype=torch.bool)
    return _finished(_item(f"digit {number}", case, obj, (64, 64), "nonnegative", support=support))


def _complex_digit(case: str, number: int, data: Path | None) -> Item:
    obj = rounded(_objects.complex_digit(number), _OBJECT_BITS).to(torch.complex128)
    return _finished(_item(f"digit {number}", case, obj, (64, 64), "complex"))


def _critical_digit(case: str, number: int, data: Path | None) -> Item:
    return _finished(_item(f"digit {number}", case, _objects.digits()[number], (28, 28), "nonnegative"))


def _counted_digit(case: str, number: int, data: Path | None) -> Item:
    photons = float(case.split()[0])
    support = torch.ones(28, 28, dtype=torch.bool)
    item = _item(f"digit {number}, {case}", case, _objects.digits()[number], (64, 64), "nonnegative", support=support)
    clean = rounded(item.intensity, _DATA_BITS).double()
    unit = float(rounded(clean.mean() / photons, 16))
    counts = _random(case, number).poisson(clean.numpy() / unit)
    return _finished(item, torch.from_numpy(counts * unit), noise="poisson", level=unit, photons=photons)


def _photograph(case: str, number: int, data: Path | None) -> Item:
    # prDeep's transform of a padded image is half of the orthonormal one, its images have values up to 255.
    level = 2 * float(case.split()[-1]) / 255
    obj = (_objects.photograph(number) * 255).round() / 255
    support = torch.ones(obj.shape, dtype=torch.bool)
    item = _item(f"photograph {number}, {case}", case, obj, (256, 256), "nonnegative", support=support)
    clean = rounded(item.intensity, _DATA_BITS).double()
    noise = torch.from_numpy(_random(case, number).standard_normal(clean.shape))
    noisy = (clean + level * clean.sqrt() * noise).clamp(min=0)
    return _finished(item, noisy, noise="alpha", level=level)


def _colour_photograph(case: str, number: int, data: Path | None) -> Item:
    obj = (_objects.colour_photograph(number) * 255).round() / 255
    item = _item(f"{_objects.COLOUR[number]}", case, obj, (384, 384), "nonnegative")
    clean = rounded(item.intensity, _DATA_BITS).double()
    noise = torch.from_numpy(_random("dps", number).standard_normal(clean.shape))
    noisy = (clean.sqrt() + 0.05 * noise).clamp(min=0).square()
    return _finished(item, noisy, noise="gaussian", level=0.05)


def _random(case: str, number: int) -> np.random.RandomState:
    """Whose numbers are the same in every version of NumPy."""
    return np.random.RandomState([*case.encode(), number])


@functools.lru_cache(maxsize=1)
def _logo(data: Path | None) -> tuple[Tensor, Tensor, Tensor]:
    """Intensity, mask, and what is taken for the truth: the reconstruction in the known support, in its loose box."""
    intensity, mask, support = _objects.logo(data)
    rows, columns = (support.any(1 - axis).nonzero()[:, 0] for axis in (0, 1))
    top, left = (int(places[0]) - _objects.MARGIN for places in (rows, columns))
    bottom, right = (int(places[-1]) + _objects.MARGIN + 1 for places in (rows, columns))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = solvers.reconstruct(
            intensity,
            schedule="8*(hio:50,er:20)",
            support=support[top:bottom, left:right],
            mask=mask,
            constraint="nonnegative",
            starts=4,
        )
    return intensity, mask, found.obj


def _measured(case: str, number: int, data: Path | None) -> Item:
    intensity, mask, obj = _logo(data)
    return Item("logo", case, obj, intensity, Known(tuple(obj.shape), "nonnegative", mask=mask), True)


_FROZEN: dict[str, tuple[str, str]] = {}


def _protocols() -> list[Protocol]:
    real, photograph = "real, non-negative digits of 28 x 28 pixels", "photographs"
    return [
        Protocol("digits", f"{real} in their box, 64 x 64 data without noise", _digit, count=50, quick=5),
        Protocol(
            "digits-complex",
            "digits with a smooth random phase of 2 pi and no known support, 64 x 64 data without noise",
            _complex_digit,
            count=20,
            quick=2,
        ),
        Protocol("digits-critical", f"{real}, 28 x 28 data without noise", _critical_digit, count=50, quick=5),
        Protocol(
            "photons",
            f"{real} in their box, 64 x 64 counts of few photons",
            _counted_digit,
            tuple(f"{photons:g} photons per pixel" for photons in PHOTONS),
            count=15,
            quick=2,
        ),
        Protocol(
            "natural",
            f"grey {photograph} of 128 x 128 pixels, 256 x 256 data with the noise of prDeep",
            _photograph,
            tuple(f"alpha {alpha}" for alpha in ALPHAS),
            count=3,
            quick=1,
            seeds=2,
        ),
        Protocol(
            "dps",
            f"{photograph} in colour of 256 x 256 pixels, 384 x 384 magnitudes with noise of 0.05",
            _colour_photograph,
            count=3,
            quick=1,
            seeds=2,
        ),
        Protocol("measured", "a measured X-ray pattern of a logo, from a loose box", _measured, seeds=3, relative=True),
    ]


#: The protocols by name.
PROTOCOLS = {
    protocol.name: Protocol(**{**vars(protocol), "checksums": _FROZEN.get(protocol.name)}) for protocol in _protocols()
}
