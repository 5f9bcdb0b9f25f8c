"""How often each algorithm finds the object, and how long it takes: Marchesini's question on our data.

    PHASERET_DATA_DIR=... python -m benchmarks.quality_solvers [digits objects noise default crystals] [--count N]

- digits: MNIST 28 in 64, noise-free, box support, non-negative, 1000 iterations, five starts each; 100 objects.
- objects: digits with a smooth random phase (complex), tight and loose support, three starts; 50 objects.
- noise: digits at four photon levels, 300 iterations, three starts; 30 objects.
- default: all of these cases with the default of `reconstruct`, twelve starts; 10 objects. With noise also HIO and RAAR
  with three starts on the same objects.
- crystals: synthetic crystals after Elser, Lan, Bendory (2018), doi:10.1137/18M1170364, made here: support size only,
  DC unknown, ten starts; 3 crystals of each kind. How the published easy, medium and hard ones were graded is not known
  to us: here random atoms, and crystals whose interatomic distances repeat more.

--count is the number of objects of each case; those above are the default. The measured logo has a script of its own,
quality_logo.py.

Success is an aligned relative error, |estimate - object| / |object|, below 5 %. "best" is the best of all starts by
residual. The time to a solution is told in iterations, and in bare transform pairs of the same batch (rfft2 + irfft2;
fft2 + ifft2 for complex objects). How many an iteration takes, start and end of a run included, is measured side by
side with them: it depends far less on the load of the machine than seconds do; speed_solvers.py measures both on a
quiet one. Without PHASERET_DATA_DIR the digits are those that `phaseret.datasets.mnist` finds.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import phaseret as pr
from benchmarks.timing import compare
from experiments.data import complex_digits
from experiments.scoring import SOLVED, relative_error, solved_percent
from phaseret import solvers
from results.provenance import RESULTS, save

Row = dict[str, object]
DATA, BOX, DIGITS = (64, 64), torch.ones(28, 28) > 0, "digits 28 in 64, box"
IN_BOX: dict[str, Any] = {"support": BOX, "constraint": "nonnegative"}


def digits(count: int) -> Tensor:
    """The first test digits, in [0, 1]."""
    folder = os.environ.get("PHASERET_DATA_DIR")
    root = Path(folder) / "mnist" if folder else None
    return pr.datasets.mnist(root=root, train=False)[:count]


def entry(case: str, algorithm: str, r: solvers.Reconstruction, obj: Tensor, pairs: float) -> Row:
    """Success of single starts and of the best start, the errors behind them, and what a solution takes."""
    single = relative_error(r.objs, obj.unsqueeze(-3).expand_as(r.objs), DATA)
    best = single.gather(-1, r.ranking[..., :1])
    solved = single < SOLVED
    iterations = first_below(r)[solved].median().item() if solved.any() else None
    return {
        "case": case,
        "algorithm": algorithm,
        "objects": len(obj),
        "single success %": round(solved_percent(single).item(), 1),
        "best success %": round(solved_percent(best).item(), 1),
        "median error": float(f"{single.median().item():.3g}"),
        "median error of best": float(f"{best.median().item():.3g}"),
        "median residual": float(f"{r.errors.median().item():.3g}"),
        "median iterations to solve": iterations,
        "bare pairs per iteration": round(pairs, 2),
        "bare pairs to solve": None if iterations is None else round(pairs * iterations),
    }


def pairs_per_iteration(
    steps: dict[str, solvers.Step], intensity: Tensor, *, starts: int = 4, **options: Any
) -> dict[str, float]:
    """Bare transform pairs that an iteration of each solver takes, on 64 starts or so, measured side by side."""
    patterns = max(1, 64 // starts)
    intensity = intensity[:patterns]
    if options.get("support") is not None and options["support"].ndim == 3:
        options["support"] = options["support"][:patterns]
    shape, batch = intensity.shape[-2:], (len(intensity), starts, *intensity.shape[-2:])
    if options.get("constraint", "complex") == "complex":
        x = torch.randn(batch, dtype=torch.complex64)
        candidates: dict[str, Callable[[], object]] = {"pair": lambda: torch.fft.ifft2(torch.fft.fft2(x))}
    else:
        y = torch.rand(batch)
        candidates = {"pair": lambda: torch.fft.irfft2(torch.fft.rfft2(y), s=shape)}
    for name, step in steps.items():
        candidates[name] = lambda step=step: solvers.reconstruct(intensity, schedule=step, starts=starts, **options)
    found = compare(candidates, "pair", seconds=1, least_rounds=3)
    return {name: found[name]["ratio"] / step.n_iter for name, step in steps.items()}


def first_below(r: solvers.Reconstruction) -> Tensor:
    """The first checked iteration at which the residual came within 1.1 times (plus 1e-3 of) its last value."""
    last = 1.1 * r.errors[..., None] + 1e-3
    index = (r.history <= last).to(torch.int8).argmax(-1)
    return torch.tensor(r.checked)[index]


def algorithms(n_iter: int) -> dict[str, solvers.Step]:
    """Every projection algorithm, and two recipes of as many iterations."""
    return {
        "error_reduction": solvers.ErrorReduction(n_iter),
        "hio": solvers.HIO(n_iter),
        "chio": solvers.CHIO(n_iter),
        "raar": solvers.RAAR(n_iter),
        "raar(beta=0.9)": solvers.RAAR(n_iter, beta=0.9),
        "raar(beta=0.95)": solvers.RAAR(n_iter, beta=0.95),
        "raar, Luke's schedule 0.75 to 0.99": solvers.RAAR(n_iter, beta=(0.75, 0.99)),
        "difference_map": solvers.DifferenceMap(n_iter),
        "rrr": solvers.RRR(n_iter),
        "asr": solvers.ASR(n_iter),
        "hpr": solvers.HPR(n_iter),
        "oss": solvers.OSS(n_iter),
        "solvent_flip": solvers.SolventFlip(n_iter),
        "charge_flip": solvers.ChargeFlip(n_iter),
        "admm": solvers.ADMM(n_iter),
        "N*(hio:80,er:20)": solvers.Recipe(f"{n_iter // 100}*(hio:80,er:20)"),
    }


# Those made for non-negative objects.
NONNEGATIVE = ("chio", "charge_flip")


def run_digits(count: int) -> Iterator[Row]:
    obj = digits(count)
    intensity = pr.operators.fourier_intensity(obj, DATA)
    pairs = pairs_per_iteration(algorithms(100), intensity, **IN_BOX)
    for name, algorithm in algorithms(1000).items():
        yield entry(DIGITS, name, algorithm(intensity, **IN_BOX, starts=5), obj, pairs[name])
    pairs = pairs_per_iteration({"rrr": solvers.RRR(100)}, intensity, constraint="nonnegative")
    r = solvers.RRR(1000)(intensity, constraint="nonnegative", starts=2)
    yield entry("digits, no support", "rrr", r, torch.nn.functional.pad(obj, (0, 36, 0, 36)), pairs["rrr"])


def complex_cases(obj: Tensor) -> dict[str, Tensor]:
    """The supports that are told of complex digits."""
    return {"complex digits, exact support": obj != 0, "complex digits, 28 x 28 box": BOX}


def run_objects(count: int) -> Iterator[Row]:
    obj = complex_digits(digits(count), 0)
    intensity = pr.operators.fourier_intensity(obj, DATA)
    for case, support in complex_cases(obj).items():
        short, long = (
            {name: step for name, step in algorithms(n).items() if name not in NONNEGATIVE} for n in (100, 1000)
        )
        pairs = pairs_per_iteration(short, intensity, support=support)
        for name, algorithm in long.items():
            yield entry(case, name, algorithm(intensity, support=support, starts=3), obj, pairs[name])


def photons(clean: Tensor, total: float) -> Tensor:
    """The intensities as `total` photons see them, in their own units."""
    scale = total / clean.sum((-1, -2), keepdim=True)
    return torch.poisson(clean * scale, generator=torch.Generator().manual_seed(0)) / scale


PHOTONS = (1e6, 1e5, 1e4, 1e3)
ENDED = tuple(f"{name}:300,er:50" for name in ("hio", "raar(beta=0.9)", "raar", "rrr"))


def aligned_psnr(r: solvers.Reconstruction, obj: Tensor) -> Row:
    """Mean over the objects, of the best start of each."""
    return {"mean aligned PSNR of best": round(pr.metrics.psnr(r.obj, obj).item(), 2)}


def run_noise(count: int) -> Iterator[Row]:
    obj = digits(count)
    clean = pr.operators.fourier_intensity(obj, DATA)
    ended: dict[str, solvers.Step] = {name: solvers.Recipe(name) for name in ENDED}
    pairs = pairs_per_iteration(algorithms(100) | ended, clean, starts=3, **IN_BOX)
    for total in PHOTONS:
        noisy = photons(clean, total)
        for name, algorithm in (algorithms(300) | ended).items():
            r = algorithm(noisy, **IN_BOX, starts=3)
            yield entry(f"digits, {total:.0e} photons", name, r, obj, pairs[name]) | aligned_psnr(r, obj)


def run_default(count: int) -> Iterator[Row]:
    """What `reconstruct` does if nothing else is asked for: twelve starts, each far more costly than one of HIO."""
    real, default = digits(count), "default of reconstruct"
    few: dict[str, solvers.Step] = {name: solvers.Recipe(name) for name in ("hio:300", *ENDED[:2])}
    recipe: dict[str, solvers.Step] = {default: solvers.Recipe("sparse:1400,er:30")}
    clean = pr.operators.fourier_intensity(real, DATA)
    pairs = pairs_per_iteration(recipe | few, clean, starts=12, **IN_BOX)
    yield entry(DIGITS, default, solvers.reconstruct(clean, **IN_BOX), real, pairs[default])
    for total in PHOTONS:
        case, noisy = f"digits, {total:.0e} photons", photons(clean, total)
        r = solvers.reconstruct(noisy, **IN_BOX)
        yield entry(case, default, r, real, pairs[default]) | aligned_psnr(r, real)
        for name, step in few.items():
            r = step(noisy, **IN_BOX, starts=3)
            yield entry(case, f"{name}, 3 starts", r, real, pairs[name]) | aligned_psnr(r, real)
    obj = complex_digits(real, 0)
    intensity = pr.operators.fourier_intensity(obj, DATA)
    for case, support in complex_cases(obj).items():
        pairs = pairs_per_iteration(recipe, intensity, starts=12, support=support)
        yield entry(case, default, solvers.reconstruct(intensity, support=support), obj, pairs[default])


def waves(place: Tensor, size: int) -> Tensor:
    """The transform of an atom that is a point, on the half plane of frequencies that determine the rest."""
    rows, columns = torch.fft.fftfreq(size, dtype=torch.float64), torch.arange(size // 2 + 1).double() / size
    return torch.exp(-2j * torch.pi * (rows[:, None] * place[0] + columns * place[1]))


def contrast(field: Tensor) -> float:
    """Mean of the squared over the square of the mean intensity: 2 for random atoms, more if distances repeat."""
    intensity = field.abs().square().flatten()[1:]
    return float(intensity.square().mean() / intensity.mean() ** 2)


def crystal(atoms: int, seed: int, *, aim: float | None, size: int = 128, width: float = 0.55) -> tuple[Tensor, float]:
    """Counts of a synthetic crystal, the zero frequency unknown, and its contrast.

    Equal Gaussian atoms lie at random periodic places at least three pixels apart. With `aim`, atoms are then moved
    one by one, where that brings the contrast nearer to it. Width, counts, and the empty Nyquist frequencies are
    those of the published patterns.
    """
    g = torch.Generator().manual_seed(seed)

    def free(place: Tensor, others: list[Tensor]) -> bool:
        return all(((place - other + size / 2) % size - size / 2).norm() > 3 for other in others)

    places: list[Tensor] = []
    while len(places) < atoms:
        place = torch.rand(2, generator=g) * size
        if free(place, places):
            places.append(place)
    field = torch.stack([waves(place, size) for place in places]).sum(0)
    found = contrast(field)
    while aim is not None and found < aim:
        number, place = int(torch.randint(atoms, (), generator=g)), torch.rand(2, generator=g) * size
        others = places[:number] + places[number + 1 :]
        moved = field - waves(places[number], size) + waves(place, size)
        if contrast(moved) > found and free(place, others):
            places[number], field, found = place, moved, contrast(moved)
    k = torch.fft.fftfreq(size, dtype=torch.float64)
    falloff = torch.exp(-4 * (torch.pi * width) ** 2 * (k[:, None] ** 2 + k[: size // 2 + 1] ** 2))
    half = torch.poisson(2.3 * field.abs().square() * falloff, generator=g).float()
    half[0, 0] = half[size // 2] = half[:, size // 2] = 0
    # the first column holds both frequencies of a pair; the columns left out are those of the others
    half[size // 2 + 1 :, 0] = half[1 : size // 2, 0].flip(0)
    rest = half[:, 1 : size // 2].flip(0, 1).roll(1, 0)
    return torch.cat([half, rest], dim=1), found


def run_crystals(count: int) -> Iterator[Row]:
    """RRR with nothing but the support size; solved when 95 % of the power lies in the support."""
    published = {100: (1.87, 2.15, 3.01), 140: (2.37, 3.00, 3.93)}
    limit, crystals, starts = 20000, count, 10
    for (atoms, log10), aim in itertools.product(published.items(), (None, 2.2, 2.4)):
        spent, contrasts = [], []
        for number in range(crystals):
            counts, found = crystal(atoms, number, aim=aim)
            contrasts.append(found)
            mask, power = torch.ones_like(counts, dtype=torch.bool), counts.sum()
            mask[0, 0] = False

            def solved(run: solvers.Run, power: Tensor = power) -> bool:
                zero = run.estimate.sum((-1, -2)).square() / run.estimate[0, 0].numel()
                return bool((run.estimate.square().sum((-1, -2)) > 0.95 * (power + zero)).all())

            for start in range(starts):
                solver = solvers.RRR(limit, beta=0.5)
                r = solver(
                    counts,
                    mask=mask,
                    support_size=8 * atoms,
                    constraint="nonnegative",
                    seed=start,
                    check_every=1,
                    callback=solved,
                )
                spent.append(r.checked[-1])
        iterations = torch.tensor(spent)
        won = int((iterations < limit).sum())
        yield {
            "case": f"crystals of {atoms} atoms, {'as drawn' if aim is None else f'contrast {aim}'}",
            "algorithm": "rrr",
            "crystals": crystals,
            "contrast": round(sum(contrasts) / len(contrasts), 2),
            "solved %": round(100 * won / len(spent), 1),
            "median iterations": int(iterations.median()),
            "log10 of median iterations": round(math.log10(iterations.median()), 2),
            "log10 of iterations per solution": round(math.log10(sum(spent) / won), 2) if won else None,
            "log10 of iterations per solution, published (easy, medium, hard)": log10,
        }


# What to run, and of how many objects.
TASKS: dict[str, tuple[Callable[[int], Iterator[Row]], int]] = {
    "digits": (run_digits, 100),
    "objects": (run_objects, 50),
    "noise": (run_noise, 30),
    "default": (run_default, 10),
    "crystals": (run_crystals, 3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", choices=[*TASKS, []], help="what to run. Default: all")
    parser.add_argument("--count", type=int, help="objects of each case. Default: as above")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for task in options.tasks or TASKS:
        began, rows = time.perf_counter(), []
        run, count = TASKS[task]
        for row in run(count if options.count is None else options.count):
            print(row, flush=True)
            rows.append(row)
        save(
            f"quality_solvers_{task}", rows, [task, *([] if options.count is None else ["--count", str(options.count)])]
        )
        print(f"{RESULTS / f'quality_solvers_{task}.json'}: {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
