"""Objects in a loose box, each from its one pattern: no training set, no tight support.

Three samples: simulated *crystals*, convex polygons of uniform modulus with a smooth phase between -pi/2 and pi/2, in
a box of about six times their area; *complex digits* as in the experiment ``complex``, in the 28 x 28 box; *real
digits*, which are not negative. `DoubleDIP` and `DeepImagePrior` are fitted to each pattern from several random
weights; HIO, RAAR and RRR run in the box from as many random starts, HIO also with shrink-wrap, and
:func:`~phaseret.solvers.reconstruct` as it does by default. The run that fits the data of a complex object best also
goes through RAAR in the support that its modulus tells. The crystals are what `DoubleDIP` is made for; therefore the
default also runs with the bounds of their modulus and phase. Steps, learning rates, widths and the spacing of the
splines were chosen on other crystals and on training digits, the threshold of that support on these crystals.

What was seen: one in three fits of `DoubleDIP` recovers its crystal, and the residual tells which: of eight fits seven
crystals in eight, with RAAR behind it at 44 dB. That is what HIO with shrink-wrap recovers in a three-hundredth of the
time, and the default of `reconstruct` recovers all eight when it is told the bounds of modulus and phase (five when it
is not). Without shrink-wrap HIO, RAAR and RRR recover none in the loose box, at residuals below 1 %, nor does
`DeepImagePrior`, whose networks know of no bound. Digits, whose modulus is far from uniform, suit neither network:
`DoubleDIP` recovers one complex digit in ten, where shrink-wrap recovers six and the default nine; `DeepImagePrior`
makes 24 dB of real digits, which every algorithm recovers. The times of the networks are of a loaded machine.
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial import Delaunay
from torch import Tensor, nn

import phaseret as pr
from experiments import Context, Result, Row
from experiments.board import Board
from experiments.data import complex_digits, images_of
from experiments.digits import FOURIER_SHAPE
from experiments.fit import Settings, run_solver
from experiments.scoring import best_by_residual
from experiments.store import computed_once

SHOWN = 8
#: What the solvers are told of the objects of a sample, the side of their box, and the shape of the data.
SAMPLES = {
    "crystals": ("complex", 48, (96, 96)),
    "complex digits": ("complex", 28, FOURIER_SHAPE),
    "real digits": ("nonnegative", 28, FOURIER_SHAPE),
}


def crystals(count: int, size: int, seed: int) -> Tensor:
    """Convex hulls of eight random points, of modulus 1, with a smooth phase between -pi/2 and pi/2."""
    fine = 4  # places along each side of a pixel, of which those inside the crystal are counted
    places = (np.stack(np.mgrid[: fine * size, : fine * size], -1).reshape(-1, 2) + 0.5) / fine
    found = []
    for number in range(count):
        random = np.random.default_rng((seed, number))
        corners = random.uniform(-1, 1, (8, 2))
        corners = size / 2 + 0.31 * size * corners / np.abs(corners).max()
        inside = Delaunay(corners).find_simplex(places) >= 0
        modulus = inside.reshape(size, fine, size, fine).mean((1, 3))
        phase = gaussian_filter(random.standard_normal((3 * size, 3 * size)), size / 8)[size:-size, size:-size]
        phase *= np.pi / 2 / np.abs(phase[modulus > 0]).max()
        found.append(torch.from_numpy(modulus * np.exp(1j * phase)))
    return torch.stack(found).to(torch.complex64)


def objects_of(sample: str, count: int, context: Context) -> Tensor:
    """The objects of this sample, the same for all systems."""
    if sample == "crystals":
        return crystals(count, SAMPLES[sample][1], 0)
    digits = images_of(pr.datasets.mnist(context.mnist, train=False), count)
    return complex_digits(digits, 10**6) if sample == "complex digits" else digits


def prior(settings: Settings, run: int) -> nn.Module:
    """An untrained network with the input and the weights of this run."""
    torch.manual_seed(run)
    box, output = (settings["box"],) * 2, settings["output"]
    if output == "double":
        return pr.models.DoubleDIP(box, channels=settings["channels"], seed=run)
    return pr.models.DeepImagePrior(box, output=output, channels=settings["channels"], seed=run)


def fitted(settings: Settings, intensities: Tensor) -> Tensor:
    """What the networks of all runs become for each pattern, (runs, N, n, n)."""
    how = {"n_iter": settings["steps"], "lr": settings["lr"]}
    return torch.stack([prior(settings, run).fit(intensities, **how) for run in range(settings["runs"])])


def refined(estimates: Tensor, intensities: Tensor) -> Tensor:
    """RAAR from complex estimates (N, n, n), in the supports that their moduli tell."""
    modulus = estimates.abs()
    known = {"support": modulus > 0.05 * modulus.amax((-2, -1), keepdim=True), "init": estimates}
    return run_solver(pr.solvers.reconstruct, intensities, schedule="raar(beta=0.9):200,er:100", starts=1, **known).obj


def compare(sample: str, context: Context) -> tuple[list[Row], dict[str, Any]]:
    """Rows and pictures of all systems on one sample."""
    config, (constraint, box, shape) = context.config, SAMPLES[sample]
    settings = config["samples"][sample]
    objects = objects_of(sample, settings["images"], context)
    data = pr.operators.fourier_intensity(objects, shape)
    known = {"support": torch.ones((box, box), dtype=torch.bool), "constraint": constraint}
    board = Board(objects, data, shown=SHOWN, sample=sample)

    def add(system: str, kind: str, runs: Tensor, seconds: float, **about: Any) -> None:
        """Enter a system; if its objects are complex, also what RAAR makes of the run that fits the data best."""
        title = f"{system}, {sample}"
        board.enter(title, kind, runs, seconds, **about)
        if constraint == "complex":
            began = time.perf_counter()
            again = refined(best_by_residual(runs, data), data)[None]
            seconds += time.perf_counter() - began
            about = {"starts": settings["runs"], **about}
            board.enter(f"{title}, then RAAR", kind, again, seconds, show=False, **about)

    for schedule in config["schedules"]:
        found = run_solver(pr.solvers.reconstruct, data, schedule=schedule, starts=settings["runs"], **known)
        add(schedule, "classical", found.objs.movedim(1, 0), found.seconds)
    starts = config["default_starts"]
    found = run_solver(pr.solvers.reconstruct, data, starts=starts, **known)
    add("reconstruct's default", "classical", found.obj[None], found.seconds, starts=starts)
    if sample == "crystals":
        told = {"bounds": (0.0, 1.0), "phase_range": (-math.pi / 2, math.pi / 2)}
        found = run_solver(pr.solvers.reconstruct, data, starts=starts, **known, **told)
        add("default, told modulus and phase", "classical", found.obj[None], found.seconds, starts=starts)
    for system, how in settings["priors"].items():
        how = {**how, "runs": settings["runs"], "images": len(objects), "sample": sample, "box": box}
        folder = context.folder / f"{system}_{sample}".replace(" ", "_").replace(",", "")
        runs, seconds = computed_once(folder, how, partial(fitted, how, data))
        add(system, "untrained", runs, seconds, steps=how["steps"])
    truth = board.arrays.pop("truth")
    return board.rows, {f"truth, {sample}": truth, **board.arrays}


def run(context: Context) -> Result:
    """Untrained networks and classical algorithms, on each sample."""
    rows: list[Row] = []
    arrays: dict[str, Any] = {}
    for sample in context.config["samples"]:
        found = compare(sample, context)
        rows += found[0]
        arrays |= found[1]
    budget = {sample: settings["images"] for sample, settings in context.config["samples"].items()}
    return Result(rows, context.config["seed"], budget, arrays)
