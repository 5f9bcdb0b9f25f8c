"""How often each algorithm finds the object, and how long it takes: Marchesini's question on our data.

    PHASERET_DATA_DIR=... python benchmarks/quality_solvers.py [digits objects noise crystals] [--count 100]

- digits: MNIST 28 in 64, noise-free, box support, non-negative, 1000 iterations, five starts each.
- crystals: synthetic crystals after Elser, Lan, Bendory (2018), made here: support size only, DC unknown; one crystal
  of each size for each 20 of --count. Their atoms are random; the published ones are graded by hardness.
- objects: digits with a smooth random phase (complex), tight and loose support.
- noise: digits at four photon levels; the error is that of the aligned object.

Success is an aligned relative error, |estimate - object| / |object|, below 5 %. "best" is the best of all starts by
residual. Without PHASERET_DATA_DIR the digits are those that `phaseret.datasets.mnist` finds.
"""

from __future__ import annotations

import argparse
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

import phaseret as pr
from phaseret import solvers
from timing import RESULTS, save

Row = dict[str, object]


def digits(count: int) -> Tensor:
    """The first test digits, in [0, 1]."""
    folder = os.environ.get("PHASERET_DATA_DIR")
    root = Path(folder) / "mnist" if folder else None
    return pr.datasets.mnist(root=root, train=False)[:count]


def relative_error(estimate: Tensor, obj: Tensor, fourier_shape: tuple[int, int]) -> Tensor:
    """|aligned estimate - object| / |object| of each start (*, starts, n, n)."""
    target = obj.unsqueeze(-3).expand_as(estimate)
    square = pr.symmetry.align(estimate, target, fourier_shape=fourier_shape).error * obj[0].numel()
    return (square / target.abs().square().sum((-1, -2))).sqrt()


def scores(r: solvers.Reconstruction, obj: Tensor, fourier_shape: tuple[int, int]) -> Row:
    """Success of single starts and of the best start, and the errors behind them."""
    single = relative_error(r.objs, obj, fourier_shape)
    best = single.gather(-1, r.ranking[..., :1])
    solved = single < 0.05
    iterations = first_below(r)
    return {
        "single success %": round(100 * solved.double().mean().item(), 1),
        "best success %": round(100 * (best < 0.05).double().mean().item(), 1),
        "median error": float(f"{single.median().item():.3g}"),
        "median error of best": float(f"{best.median().item():.3g}"),
        "median residual": float(f"{r.errors.median().item():.3g}"),
        "median iterations to solve": iterations[solved].median().item() if solved.any() else None,
        "seconds per start": float(f"{r.seconds / r.errors.numel():.3g}"),
    }


def first_below(r: solvers.Reconstruction) -> Tensor:
    """The first checked iteration at which the residual came within 1.1 times (plus 1e-3 of) its last value."""
    last = 1.1 * r.errors[..., None] + 1e-3
    index = (r.history <= last).to(torch.int8).argmax(-1)
    return torch.tensor(r.iterations)[index]


ALGORITHMS: dict[str, solvers.Step] = {
    "error_reduction": solvers.ErrorReduction(1000),
    "hio": solvers.HIO(1000),
    "chio": solvers.CHIO(1000),
    "raar": solvers.RAAR(1000),
    "raar, Luke's schedule 0.75 to 0.99": solvers.RAAR(1000, beta=(0.75, 0.99)),
    "difference_map": solvers.DifferenceMap(1000),
    "rrr": solvers.RRR(1000),
    "asr": solvers.ASR(1000),
    "hpr": solvers.HPR(1000),
    "oss": solvers.OSS(1000),
    "solvent_flip": solvers.SolventFlip(1000),
    "charge_flip": solvers.ChargeFlip(1000),
    "admm": solvers.ADMM(1000),
    "10*(hio:80,er:20)": solvers.Recipe("10*(hio:80,er:20)"),
}
COMPLEX = {name: step for name, step in ALGORITHMS.items() if name not in ("chio", "charge_flip")}


def run_digits(count: int) -> Iterator[Row]:
    obj = digits(count)
    intensity = pr.operators.fourier_intensity(obj, (64, 64))
    for name, algorithm in ALGORITHMS.items():
        r = algorithm(intensity, support=torch.ones(28, 28) > 0, constraint="nonnegative", starts=5)
        yield {"case": "digits 28 in 64, box", "algorithm": name, "objects": count, **scores(r, obj, (64, 64))}
    r = solvers.RRR(1000)(intensity, constraint="nonnegative", starts=2)
    padded = torch.nn.functional.pad(obj, (0, 36, 0, 36))
    yield {"case": "digits, no support", "algorithm": "rrr", "objects": count, **scores(r, padded, (64, 64))}


def run_objects(count: int) -> Iterator[Row]:
    """Complex objects: the digit is the modulus, the phase is smooth and random, up to about two pi."""
    modulus = digits(count)
    g = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 28), torch.linspace(-1, 1, 28), indexing="ij")
    terms = torch.stack([x, y, x * y, x**2, y**2, x**3, y**3])
    phase = (torch.randn(count, len(terms), generator=g) @ terms.flatten(1)).unflatten(-1, (28, 28))
    obj = torch.polar(modulus, 2 * phase)
    intensity = pr.operators.fourier_intensity(obj, (64, 64))
    for case, support in (("exact support", modulus > 0), ("28 x 28 box", torch.ones(28, 28) > 0)):
        for name, algorithm in COMPLEX.items():
            r = algorithm(intensity, support=support, starts=3)
            yield {"case": f"complex digits, {case}", "algorithm": name, "objects": count, **scores(r, obj, (64, 64))}


def run_noise(count: int) -> Iterator[Row]:
    obj = digits(count)
    clean = pr.operators.fourier_intensity(obj, (64, 64))
    for photons in (1e6, 1e5, 1e4, 1e3):
        scale = photons / clean.sum((-1, -2), keepdim=True)
        g = torch.Generator().manual_seed(0)
        noisy = torch.poisson(clean * scale, generator=g) / scale
        for name in ("hio", "raar", "difference_map", "rrr", "oss", "hio:300,er:50", "rrr:300,er:50"):
            algorithm = solvers.Recipe(name) if ":" in name else type(ALGORITHMS[name])(300)
            r = algorithm(noisy, support=torch.ones(28, 28) > 0, constraint="nonnegative", starts=3)
            error = relative_error(r.objs, obj, (64, 64)).gather(-1, r.ranking[..., :1])[..., 0]
            psnr = -10 * (error.square() * obj.square().mean((-1, -2))).log10()
            yield {
                "case": f"digits, {photons:.0e} photons",
                "algorithm": name,
                "objects": count,
                "median error of best": float(f"{error.median().item():.3g}"),
                "mean aligned PSNR of best": round(psnr.mean().item(), 2),
                "median residual": float(f"{r.error.median().item():.3g}"),
                "seconds per start": float(f"{r.seconds / r.errors.numel():.3g}"),
            }


def crystal(atoms: int, seed: int, *, size: int = 128, width: float = 0.6, counts: float = 2.5) -> Tensor:
    """Counts of a synthetic crystal: equal Gaussian atoms at random places at least three pixels apart, periodic.

    The width and the counts per atom at low frequency are those of the published patterns, by eye.
    """
    g = torch.Generator().manual_seed(seed)
    places: list[Tensor] = []
    while len(places) < atoms:
        place = torch.rand(2, generator=g) * size
        if all(((place - other + size / 2) % size - size / 2).norm() > 3 for other in places):
            places.append(place)
    k = torch.fft.fftfreq(size, dtype=torch.float64)
    waves = [torch.exp(-2j * torch.pi * k[:, None] * torch.stack(places)[:, axis]) for axis in (0, 1)]
    field = torch.einsum("ya,xa->yx", *waves)
    intensity = counts * field.abs().square() * torch.exp(-4 * (torch.pi * width) ** 2 * (k[:, None] ** 2 + k**2))
    mean = (intensity + intensity.flip(0, 1).roll((1, 1), (0, 1))) / 2
    drawn = torch.poisson(mean, generator=g).float()
    # a frequency pair is counted once
    half = torch.arange(size)[:, None] * size + torch.arange(size)
    first = half <= half.flip(0, 1).roll((1, 1), (0, 1))
    return torch.where(first, drawn, drawn.flip(0, 1).roll((1, 1), (0, 1)))


def run_crystals(count: int) -> Iterator[Row]:
    """RRR with nothing but the support size; solved when 95 % of the power lies in the support."""
    published = {100: (1.87, 2.15, 3.01), 140: (2.37, 3.00, 3.93)}
    starts, limit = 10, 12000
    for atoms, log10 in published.items():
        for seed in range(max(1, count // 20)):
            counts = crystal(atoms, seed)
            mask = torch.ones_like(counts, dtype=torch.bool)
            mask[0, 0] = False
            total = counts[mask].sum()
            solved_at = torch.full((starts,), torch.inf)

            def solved(run: solvers.Run, total: Tensor = total, solved_at: Tensor = solved_at) -> bool:
                dc = run.estimate.sum((-1, -2)).square() / run.estimate[0, 0].numel()
                share = run.estimate.square().sum((-1, -2)) / (total + dc)
                new = (share[0] > 0.95) & solved_at.isinf()
                solved_at[new] = float(run.iteration)
                return bool(solved_at.isfinite().all())

            began = time.perf_counter()
            solvers.RRR(limit, beta=0.5)(
                counts,
                mask=mask,
                support_size=8 * atoms,
                constraint="nonnegative",
                starts=starts,
                check_every=10,
                callback=solved,
            )
            median = solved_at.median().item()
            found = solved_at.isfinite()
            spent = torch.where(found, solved_at, float(limit)).sum().item()
            yield {
                "case": f"crystal of {atoms} atoms, number {seed}",
                "algorithm": "rrr",
                "solved %": 100 * found.double().mean().item(),
                "median iterations": median if math.isfinite(median) else None,
                "log10 of iterations per solution": round(math.log10(spent / found.sum().item()), 2)
                if found.any()
                else None,
                "log10 of iterations per solution, published (easy, medium, hard)": log10,
                "seconds": round(time.perf_counter() - began, 1),
            }


TASKS: dict[str, Callable[[int], Iterator[Row]]] = {
    "digits": run_digits,
    "objects": run_objects,
    "noise": run_noise,
    "crystals": run_crystals,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", choices=[*TASKS, []], help="what to run. Default: all")
    parser.add_argument("--count", type=int, default=100, help="objects of each case")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for task in options.tasks or TASKS:
        began, rows = time.perf_counter(), []
        for row in TASKS[task](options.count):
            print(row, flush=True)
            rows.append(row)
        save(f"quality_solvers_{task}", rows)
        print(f"{RESULTS / f'quality_solvers_{task}.json'}: {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
