r"""Train the denoiser that knows digits, ``unet_denoiser`` of the package, and write its file.

    python -m experiments.denoiser --data FOLDER        a quarter of an hour of one core; FOLDER holds MNIST's IDX files

No digit is shown to it. What it learns from are Poisson counts of 64 x 64 pixels, 244 photons in a pixel on average, of
8,000 training digits: each is reconstructed from its counts alone, by 8 starts of RAAR in the box of 28 x 28 pixels.
Those that do not explain their counts are left out. Counts do not tell where in the box an image lies nor which of the
two twins it is: its centre of mass goes to the middle, and its longer tail upwards.

A U-Net from image to image sees these with white noise of :math:`\sigma` = 0.03 to 1.5, and is not told how much.
The squares of its errors count by :math:`1 / (\sigma^2 + 1 / 50)`, so that no level outweighs the others. Trained by
Muon as `start` is, on some of the same digits: the 500 test digits of ``phaseret bench`` and the last 1,000 others are
left out. It is judged by the PSNR of those 1,000. The file has half precision, and a network that takes images of
56 x 56 with each pixel doubled in both directions.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

import phaseret as pr
from experiments import digits, start
from experiments.zoo import mnist64

IMAGES, DECAY = 200_000, 80_000  # shown in all; the last of them
CHANNELS = (24, 48, 96)
DIGITS, PHOTONS, STARTS, EXPLAINED = 8000, 244, 8, 1.0  # measured, how brightly, and solved how, to which misfit
SIGMAS = 0.03, 1.5
LEVELS = (0.1, 0.3, 1.0)  # at which it is judged
OPTIONS: dict[str, Any] = {"output": "unit", "representation": "intensity"}


def network() -> pr.models.UNet:
    """Untrained: its "intensity" is an image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that such data would not determine an object
        net = pr.models.UNet(digits.SHAPE, digits.SHAPE, **OPTIONS, channels=CHANNELS, undersampled=True)
    return net.to(memory_format=torch.channels_last)


def upright(images: Tensor) -> Tensor:
    """Of the copies of each image that have the same intensity, shifted and turned by half, always the same one.

    The centre of mass comes to the middle, and the third moment along the rows is negative.
    """
    place = torch.arange(images.shape[-1], dtype=images.dtype) - images.shape[-1] // 2
    centred = []
    for image in images:
        mass = image.sum()
        row, column = (image.sum(1 - axis) @ place / mass for axis in (0, 1))
        moment = image.sum(1) @ (place - row) ** 3
        if moment > 0:
            image, row, column = image.flip(0, 1), -1 - row, -1 - column
        centred.append(image.roll((-int(row.round()), -int(column.round())), (0, 1)))
    return torch.stack(centred)


def from_counts(objects: Tensor, generator: torch.Generator) -> Tensor:
    """Images from the counts of objects, those that explain them."""
    found = []
    for batch in objects.split(250):
        intensity = pr.operators.fourier_intensity(batch, digits.FOURIER_SHAPE)
        unit = intensity.mean((-2, -1), keepdim=True) / PHOTONS
        counts = torch.poisson(intensity / unit, generator=generator)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of counts that no start explains
            r = pr.solvers.reconstruct(
                counts,
                schedule="raar(beta=0.9):300,er:50",
                starts=STARTS,
                support=torch.ones(digits.SHAPE, dtype=torch.bool),
                constraint="nonnegative",
            )
        found.append((r.obj * unit.sqrt())[r.misfit <= EXPLAINED])
    return upright(torch.cat(found))


def for_doubled(net: pr.models.UNet) -> pr.models.UNet:
    """The same network for images whose pixels are doubled, 56 x 56: as data of an object they determine it."""
    shape = tuple(2 * size for size in digits.SHAPE)
    twin = pr.models.UNet(digits.SHAPE, shape, **OPTIONS, channels=CHANNELS)
    weights = net.state_dict()
    first = next(iter(weights))
    twin.load_state_dict({**weights, first: weights[first].expand(-1, 4, -1, -1) / 4})
    return twin


def denoised(net: nn.Module, batch: Tensor, generator: torch.Generator) -> Tensor:
    """What the network makes of digits with noise is compared with the digits."""
    low, high = (torch.tensor(sigma).log() for sigma in SIGMAS)
    sigma = (low + (high - low) * torch.rand(len(batch), 1, 1, generator=generator)).exp()
    noisy = batch + sigma * torch.randn(batch.shape, generator=generator)
    return ((net(noisy) - batch).square() / (sigma.square() + 0.02)).mean()


def judged(net: nn.Module, objects: Tensor) -> dict[str, float | str]:
    """PSNR of other digits with noise, once the network has seen them."""
    generator = torch.Generator().manual_seed(0)
    found: dict[str, float | str] = {}
    for sigma in LEVELS:
        noisy = objects + sigma * torch.randn(objects.shape, generator=generator)
        with torch.no_grad():
            clean = net(noisy.repeat_interleave(2, -1).repeat_interleave(2, -2))
        found[f"psnr_sigma_{sigma:g}"] = round(float(pr.metrics.psnr(clean, objects, align=False)), 2)
    return {**found, "test": f"{len(objects):,} training digits that were left out"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge, write."""
    options = start.asked("denoiser", __doc__, IMAGES, DECAY, arguments)
    objects = start.images(options.data)[:, 2:-2, 2:-2].contiguous()
    shown = from_counts(objects[: -start.JUDGED][:DIGITS], torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    net = network()
    start.train(net, shown, options.images, options.decay, loss=denoised)
    net = for_doubled(net).eval().half().float()
    card = {
        "command": f"python -m experiments.denoiser --data FOLDER --images {options.images} --decay {options.decay}",
        "data": f"Poisson counts, {PHOTONS} photons per pixel, of {DIGITS:,} training digits of MNIST (LeCun, Cortes, "
        f"Burges), none of those that phaseret bench shows: {len(shown):,} images that were reconstructed from them, "
        f"{options.images:,} times one of them, with white noise of {SIGMAS[0]} to {SIGMAS[1]}. No digit was shown.",
        "licence": mnist64.LICENCE,
        "metrics": judged(net, upright(objects[-start.JUDGED :])),
    }
    print(card["metrics"])
    print(f"{options.out}: sha256 {pr.models.save(net.half(), options.out, card=card)}")


if __name__ == "__main__":
    main()
