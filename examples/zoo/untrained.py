"""Objects in a loose box, each from its one pattern: no training set, no tight support.

Three kinds of objects: simulated *crystals*, convex polygons of uniform modulus with a smooth phase within half a pi of
0, in a box of about six times their area; *complex digits* as in the experiment ``complex``, in the 28 x 28 box; *real
digits*, which are not negative. `DoubleDIP` (or `DeepImagePrior`) is fitted to each pattern from several random
weights; HIO, RAAR and RRR run in the box from random starts, HIO also with shrink-wrap, and
:func:`~phaseret.solvers.reconstruct` as it does by default. Steps and learning rates were chosen on other crystals and
on training digits.
"""

from __future__ import annotations

import time
import warnings
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial import Delaunay
from torch import Tensor, nn

import phaseret as pr
from paper.complex_objects import complex_digits
from paper.digits import FOURIER_SHAPE
from paper.experiment import Context, Result, Row
from training import Settings, computed_once, images_of
from zoo.scoring import best_by_residual, row, shown

SHOWN = 8
#: Of each kind of objects: what the solvers are told of them, and the side of the box.
KINDS = {"crystals": ("complex", 48), "complex digits": ("complex", 28), "real digits": ("nonnegative", 28)}


def crystals(count: int, size: int, seed: int) -> Tensor:
    """Convex hulls of eight random points, of modulus 1, with a smooth phase between -pi/2 and pi/2."""
    fine = 4  # of the pixels at the edge it counts how much of them lies inside
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


def objects_of(kind: str, count: int, context: Context) -> Tensor:
    """The objects of this kind, the same for all systems."""
    if kind == "crystals":
        return crystals(count, KINDS[kind][1], 0)
    digits = images_of(pr.datasets.mnist(context.mnist, train=False), count)
    return complex_digits(digits, 10**6) if kind == "complex digits" else digits


def prior(settings: Settings, run: int) -> nn.Module:
    """An untrained network with the input and the weights of this run."""
    torch.manual_seed(run)
    box, output = (settings["box"],) * 2, settings["output"]
    if output == "double":
        return pr.models.DoubleDIP(box, channels=settings["channels"], seed=run)
    return pr.models.DeepImagePrior(box, output=output, channels=settings["channels"], seed=run)


def fitted(settings: Settings, intensities: Tensor) -> Tensor:
    """What the networks of all runs become for each pattern, (runs, N, n, n)."""
    how = {"steps": settings["steps"], "lr": settings["lr"]}
    return torch.stack([prior(settings, run).fit(intensities, **how) for run in range(settings["runs"])])


def refined(estimates: Tensor, intensities: Tensor) -> Tensor:
    """ER from the estimates (N, n, n), in the support that their moduli tell."""
    modulus = estimates.abs()
    support = modulus > 0.2 * modulus.amax((-2, -1), keepdim=True)
    return pr.solvers.reconstruct(intensities, schedule="er:300", support=support, init=estimates, starts=1).obj


def compare(kind: str, context: Context) -> tuple[list[Row], dict[str, Any]]:
    """Rows and pictures of all systems on one kind of objects."""
    config, (constraint, box) = context.config, KINDS[kind]
    settings = config["objects"][kind]
    objects = objects_of(kind, settings["images"], context)
    shape = (2 * box, 2 * box) if kind == "crystals" else FOURIER_SHAPE
    data = pr.operators.fourier_intensity(objects, shape)
    rows: list[Row] = []
    arrays = {f"truth, {kind}": shown(objects[:SHOWN], objects[:SHOWN], shape)}

    def add(system: str, sort: str, runs: Tensor, seconds: float, **about: Any) -> None:
        system = f"{system}, {kind}"
        rows.append(row(system, sort, runs, objects, data, seconds=seconds, sample=kind, **about))
        arrays[system] = shown(best_by_residual(runs, data)[:SHOWN], objects[:SHOWN], shape)

    known = {"support": torch.ones((box, box), dtype=torch.bool), "constraint": constraint}
    for schedule in config["schedules"]:
        found = pr.solvers.reconstruct(data, schedule=schedule, starts=config["starts"], **known)
        add(schedule, "classical", found.objs.movedim(1, 0), found.seconds)
    found = pr.solvers.reconstruct(data, starts=config["default_starts"], **known)
    add("reconstruct's default", "classical", found.obj[None], found.seconds, starts=config["default_starts"])
    for system, how in settings["priors"].items():
        how = {**how, "runs": settings["runs"], "images": len(objects), "sample": kind, "box": box}
        folder = context.folder / f"{system}_{kind}".replace(" ", "_").replace(",", "")
        runs, seconds = computed_once(folder, how, partial(fitted, how, data))
        add(system, "untrained", runs, seconds, steps=how["steps"])
        if how["output"] == "double":
            began = time.perf_counter()
            better = refined(best_by_residual(runs, data), data)
            add(f"{system}, then ER", "untrained", better[None], seconds + time.perf_counter() - began)
    return rows, arrays


def run(context: Context) -> Result:
    """Untrained networks and classical algorithms, on each kind of objects."""
    warnings.filterwarnings("ignore", ".*starts.*")  # what the warning says of single patterns is what the rows count
    rows: list[Row] = []
    arrays: dict[str, Any] = {}
    for kind in context.config["objects"]:
        found = compare(kind, context)
        rows += found[0]
        arrays |= found[1]
    budget = {kind: settings["images"] for kind, settings in context.config["objects"].items()}
    return Result(rows, context.config["seed"], budget, arrays)
