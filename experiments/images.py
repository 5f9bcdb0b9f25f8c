"""Images that are not digits, at most 28 x 28 pixels: faces, natural images, cells, galaxies, MRI, crystals, atoms.

The sources that the test images come from are held out: other pictures, or the other side of a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage import data as pictures
from skimage.color import rgb2gray
from skimage.transform import downscale_local_mean
from torch import Tensor, nn

SIZE = 28
CELL = np.s_[230:490, 290:550]  # where it lies in its picture


@dataclass(frozen=True)
class Images:
    """Images (N, n1, n2) with moduli of at most 1, to train on and for the test."""

    training: Tensor
    test: Tensor
    sources: str  # what they are and how they were divided
    turned: Callable[[Tensor], Tensor] = lambda images: images  # from training images to those in other orientations


def tensor(image: Any, factor: int = 1) -> Tensor:
    """Grey values from 0 to 1, or complex values, of a picture or of a stack, averaged over blocks of pixels."""
    image = np.asarray(image)
    if image.shape[-1] == 3:
        image = rgb2gray(image)
    elif image.dtype == np.uint8:
        image = image / 255
    blocks = (1,) * (image.ndim - 2) + (factor, factor)
    if np.iscomplexobj(image):
        small = downscale_local_mean(image.real, blocks) + 1j * downscale_local_mean(image.imag, blocks)
        return torch.tensor(small, dtype=torch.complex64)
    return torch.tensor(downscale_local_mean(image, blocks), dtype=torch.float32)


def patches(image: Tensor, step: int, contrast: float) -> Tensor:
    """Square patches of a picture or of a stack, those with at least this standard deviation."""
    found = image.unfold(-2, SIZE, step).unfold(-2, SIZE, step).reshape(-1, SIZE, SIZE)
    return found[found.flatten(1).std(1) >= contrast]


def halves(image: Tensor, contrast: float) -> tuple[Tensor, Tensor]:
    """Overlapping patches of the left half and of the right half, which are a patch apart."""
    middle = image.shape[-1] // 2
    left, right = image[..., :middle], image[..., middle + SIZE :]
    return patches(left, SIZE // 4, contrast), patches(right, SIZE // 2, contrast)


def orientations(images: Tensor) -> Tensor:
    """Quarter turns and mirror images, for what has no natural orientation; the flip of a real image is a half turn."""
    turned = [images.rot90(quarter, (-2, -1)) for quarter in range(4 if images.is_complex() else 2)]
    return torch.cat([*turned, *(image.flip(-1) for image in turned)])


def mirrored(images: Tensor) -> Tensor:
    """The images and their mirror images."""
    return torch.cat([images, images.flip(-1)])


def brightest(images: Tensor) -> Tensor:
    """Each with the largest modulus 1."""
    return images / images.abs().amax((-2, -1), keepdim=True).clamp_min(1e-12)


def faces(folder: Path | None) -> Images:
    found = torch.tensor(pictures.lfw_subset()[:100], dtype=torch.float32)
    return Images(found[:80], found[80:], "LFW: 80 pictures of faces and their mirror images; 20 others", mirrored)


def natural(folder: Path | None) -> Images:
    names = ("camera", "astronaut", "rocket", "coins"), ("chelsea", "moon", "coffee")
    seen = [tensor(getattr(pictures, name)(), 4) for name in names[0]]
    unseen = [tensor(getattr(pictures, name)(), 4) for name in names[1]]
    training = torch.cat([patches(image, SIZE // 4, 0.05) for image in seen])
    test = torch.cat([patches(image, SIZE // 2, 0.05) for image in unseen])
    return Images(training, test, f"patches of {', '.join(names[0])}; of {', '.join(names[1])}")


def nuclei(folder: Path | None) -> Images:
    """Single nuclei of a fluorescence image, those of its left two thirds and those of the rest."""
    assert folder is not None
    with np.load(folder / "nuclei_dsb2018.npz") as file:
        crops, labels, numbers = file["crops40"], file["labels"], file["crop_labels"]
    columns = torch.tensor([float(np.nonzero(labels == number)[1].mean()) for number in numbers])
    left = columns < 2 / 3 * labels.shape[1]
    small = brightest(tensor(crops, 2))
    sources = f"{int(left.sum())} nuclei in all orientations; {int((~left).sum())} of another region"
    return Images(small[left], small[~left], sources, orientations)


def cell(folder: Path | None) -> Images:
    """A phase image: the object is a wave of modulus 1, delayed by up to pi."""
    left, right = halves(tensor(pictures.cell()[CELL]), 0.05)
    training, test = (torch.polar(torch.ones_like(part), torch.pi * part) for part in (left, right))
    sources = "phase of one cell's image, exp(i pi x): patches of its left half in all orientations; of its right half"
    return Images(training, test, sources, orientations)


def galaxies(folder: Path | None) -> Images:
    sky = tensor(pictures.hubble_deep_field())
    # What rises above the sky's own grain.
    left, right = halves((sky - sky.quantile(0.7)).clamp_min(0), 0.08)
    sources = "patches of the Hubble deep field's left half in all orientations; of its right half"
    return Images(brightest(left), brightest(right), sources, orientations)


def mri(folder: Path | None) -> Images:
    """Coil images of a brain, complex; the data were under-sampled, so they hold some aliasing."""
    assert folder is not None
    with np.load(folder / "mri_brain_kspace.npz") as file:
        kspace = torch.from_numpy(file["kspace"])
    images = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(kspace, dim=(-2, -1))), dim=(-2, -1))
    images = images / images.abs().max()
    left, right = halves(images, 0.1)
    sources = "complex brain MRI, 8 coils: patches of the left half of one slice; of its right half"
    return Images(brightest(left), brightest(right), sources)


def crystals(folder: Path | None) -> Images:
    """Slices of one crystal: those across two of its axes, and those across the third, which cut the same object."""
    assert folder is not None
    with np.load(folder / "bcdi_crystal_slices.npz") as file:
        slices = {axis: tensor(file[f"slices_{axis}"], 5) for axis in "xyz"}
    side = max(max(part.shape[1:]) for part in slices.values())
    padded = {
        axis: nn.functional.pad(part, (0, side - part.shape[-1], 0, side - part.shape[-2]))
        for axis, part in slices.items()
    }
    training, test = torch.cat([padded["z"], padded["y"]]), padded["x"]
    sources = f"ONE crystal: {len(training)} slices across two axes in all orientations; {len(test)} across the third"
    return Images(brightest(training), orientations(brightest(test)), sources, orientations)


def atoms(folder: Path | None) -> Images:
    """Three to eight point-like atoms of different brightness in the dark."""
    generator = torch.Generator().manual_seed(0)
    count, most = 4000, 8
    places = 2 + (SIZE - 5) * torch.rand(count, most, 2, generator=generator)
    numbers = torch.randint(3, most + 1, (count, 1), generator=generator)
    bright = (0.5 + 0.5 * torch.rand(count, most, generator=generator)) * (torch.arange(most) < numbers)
    y, x = ((torch.arange(SIZE) - places[..., axis, None]).square() for axis in (0, 1))
    spread = 2 * 0.6**2
    images = torch.einsum("ba,bay,bax->byx", bright, (-y / spread).exp(), (-x / spread).exp()).clamp(max=1)
    return Images(images[:-200], images[-200:], "3 to 8 points of Gaussian shape at random places")


LOADERS: dict[str, Callable[[Path | None], Images]] = {
    "faces": faces,
    "natural": natural,
    "nuclei": nuclei,
    "cell": cell,
    "galaxies": galaxies,
    "mri": mri,
    "crystals": crystals,
    "atoms": atoms,
}
FROM_FILES = ("nuclei", "mri", "crystals")
