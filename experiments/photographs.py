"""Pictures that scikit-image, scikit-learn and matplotlib bring along, as grey images between 0 and 1.

Photographs, textures, documents and micrographs, most of them public domain or CC0; scikit-learn's two are CC BY 2.0
(danielbuechele and vultilion, Flickr). The pictures that test images come from give no training image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from phaseret.bench._objects import SIZE, photograph, picture, scaled
from phaseret.bench._objects import TEST as TEST

# Photographs count twice.
TRAINING = 2 * ("astronaut", "motorcycle", "china") + ("clock", "hubble", "tissue", "brick", "grass", "gravel", "page")
VALIDATION = ("hopper", "flower")


def test_images(count: int) -> Tensor:
    """So many of the test images (N, 128, 128): first one of each picture, then the details."""
    return torch.stack([photograph(number) for number in range(count)]).float()


def crops(names: Sequence[str], count: int, size: int, seed: int) -> Tensor:
    """Random squares of the pictures (count, size, size), at random scales and in all eight orientations."""
    generator = torch.Generator().manual_seed(seed)

    def draw(below: int) -> int:
        return int(torch.randint(below, (), generator=generator))

    scales: dict[str, list[Tensor]] = {}
    for name in dict.fromkeys(names):
        image = picture(name).astype("float32")
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
