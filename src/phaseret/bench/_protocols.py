"""The protocols of bench-1. What stands here is frozen: another test set has another version."""

from __future__ import annotations

import functools
import math
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
PHOTONS, ALPHAS, SPANS, PEAK = (244, 24, 2.4, 0.24), (2, 3, 4), (2, 3.5, 5), 1e5


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


def _crystal(case: str, number: int, data: Path | None) -> Item:
    obj = rounded(_objects.crystal(float(case.split()[0]) * math.pi, number), _OBJECT_BITS).to(torch.complex128)
    brightest = operators.fourier_intensity(obj, (64, 64, 64)).max()
    obj = obj * rounded((PEAK / brightest).sqrt(), 16).double()
    item = _item(f"crystal {number}, {case}", case, obj, (64, 64, 64), "complex")
    counts = torch.from_numpy(_random(case, number).poisson(rounded(item.intensity, _DATA_BITS).numpy()))
    # As they are: whole numbers.
    known = Known(**{**vars(item.known), "noise": "poisson", "level": 1.0, "photons": float(counts.double().mean())})
    return Item(item.name, case, rounded(obj, _OBJECT_BITS), counts.float(), known)


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


_FROZEN: dict[str, tuple[str, str]] = {
    "digits": (
        "5def01aaa2d74d2fe15ec482893bc770de5f7df0e804c4a05aed12d819539731",
        "98de35e16abd3d328dfba710c336ee3f2af2c895792a577a043a0bce19a81f84",
    ),
    "digits-complex": (
        "f643badd39d35e6eb52bf36cb06f03528f01f33b509d00e7e3cf211b5be85b2b",
        "63b7b1cb27db62c5c4e6851003544ec85af3cff8ca7b30afbe6329a69bebb35b",
    ),
    "digits-critical": (
        "b184bc66aa7960ca721f1a7e4496d198e54dc3aec8e4cce6bac25ec50545e1b4",
        "6867a937f4e06b643dedaa6181f662dc089d92f44107765f992432eb8e7b9074",
    ),
    "photons": (
        "6df8882a3f1e734c5b4bc9393ba566257cceb94299bc90a6113962e73f73d220",
        "91ae84f7610e8532667d4b3ddcc076769344785c571bb3071470f53dc5d2324f",
    ),
    "natural": (
        "5fd7784fdedc50f5c7e1e8fe08403d8c0adbcd91e431f42387693b9cdc075821",
        "10014cf404b0fbbf3cd503a92a4d5b9d216caf1372dc2346801d7ee243399a3b",
    ),
    "dps": (
        "c11e799c9444dd0b99d8ba25a1c7dcbbbdda6730b0014343dd91ee969eb01218",
        "c727564e7a7b06e6e087edba7d6d38deb4699b5fb485ed3c80cc9a5821c21b0a",
    ),
    "bragg": (
        "d588388dffb2494b55bb9f6070990bd01961564eb363a38792e0b823a7e652cb",
        "aa2c1bc4a8a6c092f59de56e739e6c1267eb2208cb7dee9455784ed36f929c66",
    ),
    "measured": (
        "22a43d8a10b32ff5757ad4146dbeae433bdf149d18cafdb4c778c65fdc5d075c",
        "22a43d8a10b32ff5757ad4146dbeae433bdf149d18cafdb4c778c65fdc5d075c",
    ),
}


def _protocols() -> list[Protocol]:
    real, photograph = "real, non-negative digits of 28 x 28 pixels", "photographs"
    return [
        Protocol("digits", f"{real} in their box, 64 x 64 data without noise", _digit, counts=(5, 50), seeds=(2, 3)),
        Protocol(
            "digits-complex",
            "digits with a smooth random phase of 2 pi and no known support, 64 x 64 data without noise",
            _complex_digit,
            counts=(2, 20),
            seeds=(2, 3),
        ),
        Protocol(
            "digits-critical", f"{real}, 28 x 28 data without noise", _critical_digit, counts=(5, 50), seeds=(2, 3)
        ),
        Protocol(
            "photons",
            f"{real} in their box, 64 x 64 counts of few photons",
            _counted_digit,
            tuple(f"{photons:g} photons per pixel" for photons in PHOTONS),
            counts=(2, 10),
            seeds=(2, 3),
        ),
        Protocol(
            "natural",
            f"grey {photograph} of 128 x 128 pixels, 256 x 256 data with the noise of prDeep",
            _photograph,
            tuple(f"alpha {alpha}" for alpha in ALPHAS),
            counts=(1, 3),
            seeds=(1, 2),
        ),
        Protocol(
            "dps",
            f"{photograph} in colour of 256 x 256 pixels, 384 x 384 magnitudes with noise of 0.05",
            _colour_photograph,
            counts=(1, 3),
            seeds=(1, 2),
        ),
        Protocol(
            "bragg",
            "strained crystals in 64 x 64 x 64 counts of at most 1e5, their phases spanning 2 to 5 pi",
            _crystal,
            tuple(f"{span:g} pi" for span in SPANS),
            counts=(1, 4),
            seeds=(1, 1),
            relative=True,
        ),
        Protocol("measured", "a measured X-ray pattern of a logo, from a loose box", _measured, relative=True),
    ]


#: The protocols by name.
PROTOCOLS = {
    protocol.name: Protocol(**{**vars(protocol), "checksums": _FROZEN.get(protocol.name)}) for protocol in _protocols()
}
