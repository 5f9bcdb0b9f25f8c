"""Pictures that scikit-image, scikit-learn and matplotlib bring along, as grey images between 0 and 1.

Photographs, textures, documents and micrographs, most of them public domain or CC0; scikit-learn's two are CC BY 2.0
(danielbuechele and vultilion, Flickr). The pictures that test images come from give no training image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.cbook
import torch
from skimage import data
from skimage.color import rgb2gray
from skimage.io import imread
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

SIZE = 128
# Photographs count twice.
TRAINING = 2 * ("astronaut", "motorcycle", "china") + ("clock", "hubble", "tissue", "brick", "grass", "gravel", "page")
VALIDATION = ("hopper", "flower")
# Each picture's largest square, and the square of half its size at this relative place, if there is one.
TEST: dict[str, tuple[float, float] | None] = {
    "camera": (0.25, 0.45),
    "chelsea": (0.2, 0.45),
    "coffee": (0.45, 0.35),
    "coins": (0.3, 0.3),
    "rocket": (0.3, 0.45),
    "moon": None,
    "retina": None,
}
SOURCES: dict[str, Callable[[], Any]] = {
    "motorcycle": lambda: data.stereo_motorcycle()[0],
    "china": lambda: load_sample_image("china.jpg"),
    "flower": lambda: load_sample_image("flower.jpg"),
    "hubble": data.hubble_deep_field,
    "tissue": data.immunohistochemistry,
    "hopper": lambda: imread(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)),
}


def picture(name: str) -> Any:
    """A picture in grey, by its name in SOURCES or else in skimage.data."""
    found = SOURCES[name]() if name in SOURCES else getattr(data, name)()
    return rgb2gray(found) if found.ndim == 3 else found / 255


def scaled(image: Any, factor: float) -> Tensor:
    """The picture made smaller without aliasing."""
    sides = [round(side * factor) for side in image.shape]
    whole = torch.tensor(image, dtype=torch.float32)[None, None]
    return nn.functional.interpolate(whole, sides, mode="bicubic", antialias=True)[0, 0].clamp(0, 1)


def test_images(count: int) -> Tensor:
    """So many of the test images (N, 128, 128): first one of each picture, then the details."""
    wholes, details = [], []
    for name, place in TEST.items():
        image = picture(name)
        side = min(image.shape)
        top, left = ((length - side) // 2 for length in image.shape)
        wholes.append(scaled(image[top : top + side, left : left + side], SIZE / side))
        if place is not None:
            top, left = (round((length - side // 2) * share) for length, share in zip(image.shape, place, strict=True))
            details.append(scaled(image[top : top + side // 2, left : left + side // 2], SIZE / (side // 2)))
    return torch.stack([*wholes, *details][:count])


def crops(names: Sequence[str], count: int, size: int, seed: int) -> Tensor:
    """Random squares of the pictures (count, size, size), at random scales and in all eight orientations."""
    generator = torch.Generator().manual_seed(seed)

    def draw(below: int) -> int:
        return int(torch.randint(below, (), generator=generator))

    scales: dict[str, list[Tensor]] = {}
    for name in dict.fromkeys(names):
        image = picture(name)
        smallest = SIZE / min(image.shape)
        scales[name] = [scaled(image, smallest ** (step / 4)) for step in range(5)]
    found = []
    for number in range(count):
        of_one = scales[names[number % len(names)]]
        image = of_one[draw(len(of_one))]
        top, left = (draw(length - size + 1) for length in image.shape)
        crop = image[top : top + size, left : left + size].rot90(draw(4))
        found.append(crop.flip(-1) if draw(2) else crop)
    return torch.stack(found)
