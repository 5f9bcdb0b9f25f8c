"""Entries of this library, each with the settings that its own pages name as the best, and the list of all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, models, operators, solvers
from phaseret.bench._protocol import Known

#: What can be named instead of package.module:name. The last ones are adapters, whose packages must be installed.
ENTRIES = {
    **{
        name: f"phaseret.bench.entries:{name}"
        for name in (
            "default",
            "rrr",
            "hio",
            "raar",
            "oss",
            "algebraic",
            "amplitude_flow",
            "prdeep",
            "mnist_box",
            "network",
        )
    },
    **{name: f"phaseret.bench.peers:{name}" for name in ("solvephase", "cohere", "deepinv")},
}
#: Those that are run where none is named.
OWN = ("default", "rrr", "hio", "raar")
# Short runs of which the best goes on, and their iterations: prDeep's way to begin, for images under noise.
_SHORT = (50, 50)
# The relative magnitude error at which a digit without noise is left: its own error is about 1 % then.
_EXPLAINED = 0.003


def _options(known: Known, seed: int) -> dict[str, Any]:
    """What is known, as the solvers take it."""
    return {
        "support": known.box,
        "mask": known.mask,
        "constraint": known.constraint,
        "ndim": len(known.object_shape),
        "undersampled": known.undersampled,
        "seed": seed,
    }


def _solved(schedule: str, intensity: Tensor, known: Known, seed: int, **options: Any) -> Tensor:
    return solvers.reconstruct(intensity, schedule=schedule, starts=1, **_options(known, seed), **options).obj


def default(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """What `reconstruct` does unless told otherwise, 12 starts of ``"sparse:1400,er:30"``; on crystals "bragg"."""
    options = _options(known, seed)
    if options["ndim"] == 3:
        return solvers.reconstruct(intensity, schedule="bragg", **{**options, "support": known.support}).obj
    return solvers.reconstruct(intensity, **options).obj


def mnist_box(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """The default, told that each of MNIST's digits was scaled into 20 x 20 pixels, as its makers say."""
    if known.object_shape != (28, 28) or known.constraint != "nonnegative":
        _checks.fail(f"the object must be a real digit of (28, 28), got {known.object_shape}", "Use another entry")
    support = torch.zeros(known.object_shape, dtype=torch.bool)
    support[:20, :20] = True
    return solvers.reconstruct(intensity, **{**_options(known, seed), "support": support}).obj


def network(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """The network "unet_start", then RRR of images up to 1 until the data are explained; the rest begins at random."""
    if tuple(intensity.shape) != (64, 64) or known.constraint != "nonnegative" or known.noise != "none":
        got = f"{tuple(intensity.shape)} with noise {known.noise}"
        _checks.fail(f"the data must be of real objects, (64, 64) without noise, got {got}", "Use another entry")
    canvas = torch.ones(32, 32, dtype=torch.bool)  # where that network puts a digit
    options = {**_options(known, seed), "support": canvas, "bounds": (0, 1), "tolerance": _EXPLAINED}
    with torch.no_grad():
        first = models.load("unet_start")(intensity)
    found = solvers.reconstruct(intensity, init=first, schedule="rrr(beta=1.3):100", starts=1, check_every=1, **options)
    if not found.error <= _EXPLAINED:
        found = solvers.reconstruct(intensity, schedule="rrr(beta=1.3):400", starts=4, **options)
    return torch.nn.functional.pad(found.obj, (0, 32, 0, 32))  # laid out on the grid of the data


def rrr(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """One start of RRR; under noise error reduction follows."""
    return _solved("rrr:1000" if known.noise == "none" else "rrr:300,er:50", intensity, known, seed)


def raar(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """One start of RAAR; under noise with beta = 0.9, and error reduction follows."""
    return _solved("raar:1000" if known.noise == "none" else "raar(beta=0.9):300,er:50", intensity, known, seed)


def oss(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """One start of OSS; error reduction follows."""
    return _solved("oss:1000,er:50", intensity, known, seed)


def algebraic(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """The exact solver, which draws nothing; for data without noise at twice the object's sizes."""
    return solvers.algebraic(intensity, support=known.support, constraint=known.constraint).obj


def hio(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """One start of HIO; under noise error reduction follows, on photographs as `_prepared` says."""
    if known.noise == "alpha":
        return _prepared(intensity, known, seed)
    return _solved("hio:1000" if known.noise == "none" else "hio:300,er:50", intensity, known, seed)


def _prepared(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """HIO as prDeep begins: the best of 50 starts of 50 iterations goes on for 1000, and error reduction follows."""
    starts, n_iter = _SHORT
    first = solvers.reconstruct(intensity, schedule=f"hio:{n_iter}", starts=starts, **_options(known, seed)).obj
    return _solved("hio:1000,er:50", intensity, known, seed, init=first)


def prdeep(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """Regularisation by denoising (prDeep) with the denoiser that comes with the package, after HIO."""
    if known.constraint == "complex" or known.noise != "alpha":
        _checks.fail(f"noise must be that of photographs, alpha, got {known.noise}", "Use another entry")
    # As on the leaderboard: levels, iterations, and the weight by the level of the noise.
    weight = 0.8 if known.level > 2 * 3.5 / 255 else 0.45
    options: dict[str, Any] = {"sigmas": [sigma / 255 for sigma in (40, 20, 10)], "n_iter": 50, "lam": weight}
    denoiser = models.load("dncnn")
    return models.prdeep(intensity, denoiser, init=_prepared(intensity, known, seed), **options)


def amplitude_flow(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """Truncated amplitude flow, one of the methods that PhasePack compares; it knows the sizes, not the support."""
    shape = tuple(intensity.shape[intensity.ndim - len(known.object_shape) :])
    operator = operators.FourierIntensity(shape, undersampled=known.undersampled)
    given: dict[str, Any] = {"object_shape": known.object_shape, "constraint": known.constraint, "mask": known.mask}
    return solvers.truncated_amplitude_flow(intensity, operator, seed=seed, **given).obj
