"""Entries of this library, each with the settings that its own pages name as the best, and the list of all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, models, operators, solvers, symmetry
from phaseret.bench._annealed import posterior_mean
from phaseret.bench._colour import joint
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
            "refined",
            "mnist_box",
            "network",
            "annealed",
            "joint_colour",
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


def annealed(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """About the posterior mean of a digit, by chains that a denoiser, shown none, leads from noise to the counts."""
    if known.object_shape != (28, 28) or known.constraint != "nonnegative" or known.noise != "poisson":
        got = f"{known.object_shape} with noise {known.noise}"
        _checks.fail(f"the data must be counts of a real digit of (28, 28), got {got}", "Use another entry")
    net = models.load("unet_denoiser").float()  # its file is in half precision

    def denoiser(x: Tensor) -> Tensor:
        return net(x.repeat_interleave(2, -1).repeat_interleave(2, -2))

    with torch.no_grad():
        return posterior_mean(intensity / known.level, known.level, denoiser, known.object_shape, seed)


def joint_colour(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """A photograph whose channels are pulled to one phase while they are searched for, coarse pixels first."""
    sizes = (*known.object_shape, *intensity.shape[-2:])
    if intensity.ndim != 3 or len(intensity) != 3 or known.noise != "gaussian" or any(size % 4 for size in sizes):
        got = f"{tuple(intensity.shape)} with noise {known.noise}"
        _checks.fail(
            f"the data must be of three colours in Gaussian noise, (3, m1, m2), all sizes multiples of 4, got {got}",
            "Use another entry",
        )
    with torch.no_grad():
        return joint(intensity, known.level, models.load("dncnn").eval(), known.object_shape, seed)


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
    _photographs(known)
    return _denoised(intensity, known, _prepared(intensity, known, seed), (40, 20, 10), 50)


def refined(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """HIO and prDeep in turns, as networks take turns with HIO in deep iterative reconstruction.

    It begins with the mean of three runs of both, and the estimates after the second turn are averaged too: what
    differs between runs is wrong.
    """
    _photographs(known)
    starts = torch.stack([_prepared(intensity, known, 3 * seed + number) for number in range(3)])
    found = _denoised(intensity.expand(3, -1, -1), known, starts, (40, 20), 10)
    shape = tuple(intensity.shape)
    onto = symmetry.align(found, found[:1].expand_as(found), fourier_shape=shape).aligned
    x, kept = onto.mean(0)[tuple(map(slice, known.object_shape))], []
    for turn in range(6):
        x = _solved("hio:20", intensity, known, seed, init=x)
        x = _denoised(intensity, known, x, (40, 20), 8)
        if turn >= 2:
            kept.append(x)
            x = torch.stack(kept).mean(0)
    return _denoised(intensity, known, x, (20, 10), 25)


def _photographs(known: Known) -> None:
    if known.constraint == "complex" or known.noise != "alpha":
        _checks.fail(f"noise must be that of photographs, alpha, got {known.noise}", "Use another entry")


def _denoised(intensity: Tensor, known: Known, init: Tensor, levels: tuple[int, ...], n_iter: int) -> Tensor:
    """The estimate after so many iterations of prDeep at each level of 255."""
    # As on the leaderboard: the weight by the level of the noise.
    options: dict[str, Any] = {"n_iter": n_iter, "lam": 0.8 if known.level > 2 * 3.5 / 255 else 0.45}
    sigmas = [sigma / 255 for sigma in levels]
    return models.prdeep(intensity, models.load("dncnn"), init=init, sigmas=sigmas, **options)


def amplitude_flow(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """Truncated amplitude flow, one of the methods that PhasePack compares; it knows the sizes, not the support."""
    shape = tuple(intensity.shape[intensity.ndim - len(known.object_shape) :])
    operator = operators.FourierIntensity(shape, undersampled=known.undersampled)
    given: dict[str, Any] = {"object_shape": known.object_shape, "constraint": known.constraint, "mask": known.mask}
    return solvers.truncated_amplitude_flow(intensity, operator, seed=seed, **given).obj
