"""Adapters of other packages, each with its best documented settings; a package is imported when its entry is run."""

from __future__ import annotations

import contextlib
import importlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from phaseret import _checks, interop, operators
from phaseret.bench._protocol import Known


def _package(module: str, name: str) -> Any:
    """The module of a package that phaseret does not ask for."""
    try:
        return importlib.import_module(module)
    except ImportError:
        _checks.fail(f"the package {name} must be installed", f"Install it with pip install {name}", ImportError)


def _each(solve: Callable[[Tensor], Tensor], intensity: Tensor, ndim: int) -> Tensor:
    """What solves one pattern, on each of several."""
    batch = intensity.shape[: intensity.ndim - ndim]
    found = [solve(pattern) for pattern in intensity.reshape(-1, *intensity.shape[len(batch) :])]
    return torch.stack(found).reshape(*batch, *found[0].shape)


def _centred(x: Tensor) -> Any:
    """As an array with index 0 in the middle."""
    return x.roll([size // 2 for size in x.shape], [*range(x.ndim)]).numpy()


def _corner(array: Any) -> Tensor:
    """The opposite."""
    x = torch.from_numpy(np.ascontiguousarray(array))
    return x.roll([-(size // 2) for size in x.shape], [*range(x.ndim)])


def _on_grid(known: Known, grid: tuple[int, ...]) -> Tensor:
    """The support at the corner of the data's grid."""
    padded = torch.zeros(grid, dtype=torch.bool)
    padded[tuple(slice(n) for n in known.object_shape)] = known.box
    return padded


def solvephase(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """``solvephase.cdi`` with its default schedule, HIO of 500 iterations and error reduction of 100."""
    cdi = _package("solvephase", "solvephase").cdi
    constraint = {"nonnegative": "positive"}.get(known.constraint, known.constraint)
    grid = tuple(intensity.shape[intensity.ndim - len(known.object_shape) :])
    given = {"constraint": constraint, "intensity": True, "seed": seed, "precision": "single"}
    if known.mask is not None:
        given["measured"] = _centred(known.mask)
    support = _centred(_on_grid(known, grid))

    def solve(pattern: Tensor) -> Tensor:
        return _corner(cdi(_centred(pattern), support, **given).object)

    box = (slice(None),) * (intensity.ndim - len(grid)) + tuple(slice(n) for n in known.object_shape)
    estimate = _each(solve, intensity, len(grid))[box]
    return _fitting(estimate if known.constraint == "complex" else estimate.real, known, intensity)


def _fitting(estimate: Tensor, known: Known, intensity: Tensor) -> Tensor:
    """The estimate in units in which it explains the intensity."""
    axes = tuple(range(-len(known.object_shape), 0))
    measured = intensity if known.mask is None else intensity * known.mask
    grid = tuple(intensity.shape[intensity.ndim - len(axes) :])
    seen = operators.fourier_intensity(estimate.contiguous(), grid, undersampled=True)
    seen = seen if known.mask is None else seen * known.mask
    factor = (measured.sum(axes, keepdim=True) / seen.sum(axes, keepdim=True).clamp_min(1e-12)).sqrt()
    return estimate * factor


def cohere(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """cohere's sequence of HIO and error reduction with its shrinkwrap; its objects are complex."""
    phasing = _package("cohere_core.controller.phasing", "cohere-core")
    parameters = {
        "algorithm_sequence": "3*(20*ER+180*HIO)+20*ER",
        "initial_support_area": tuple(n / m for n, m in zip(known.object_shape, intensity.shape, strict=False)),
        "hio_beta": 0.9,
        "shrink_wrap_trigger": [1, 5],
        "shrink_wrap_type": "GAUSS",
        "shrink_wrap_gauss_sigma": 1.0,
        "shrink_wrap_threshold": 0.1,
    }

    draw = np.random.default_rng(seed)

    def solve(pattern: Tensor) -> Tensor:
        start = draw.random(pattern.shape) + 1j * draw.random(pattern.shape)  # as its own, whose seed is the clock
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            file = Path(folder) / "data.npy"
            np.save(file, _centred(pattern.sqrt()))
            np.save(file.with_name("image.npy"), start)
            phasing.set_lib_from_pkg("np")
            ready = phasing.create_rec(parameters | {"continue_dir": folder}, str(file), "np", -1, debug=True)
            ready.iterate()
        return _corner(np.asarray(ready.ds_image)).to(torch.complex64)

    estimate = _each(solve, intensity, len(known.object_shape))
    return _fitting(estimate if known.constraint == "complex" else estimate.abs(), known, intensity)


def deepinv(intensity: Tensor, known: Known, seed: int) -> Tensor:
    """deepinv's proximal gradient descent: its amplitude loss, its total-variation denoiser, a random start."""
    found = _package("deepinv", "deepinv")
    if known.constraint == "complex" or len(known.object_shape) != 2 or known.mask is not None:
        fix = "Use another protocol"
        _checks.fail("the object must be a real image without a mask, as its denoisers take it, got another one", fix)
    grid = tuple(intensity.shape[-2:])
    operator = operators.FourierIntensity(grid, undersampled=known.undersampled)
    physics = interop.to_deepinv(operator, known.object_shape)
    fidelity = found.optim.AmplitudeLoss()
    prior = found.optim.PnP(denoiser=found.models.TVDenoiser(n_it_max=20))
    data = intensity.reshape(-1, 1, *grid)
    noise = torch.rand(len(data), 1, *known.object_shape, generator=torch.Generator().manual_seed(seed))
    start = noise * (data.sum((-2, -1), keepdim=True) / noise.square().sum((-2, -1), keepdim=True)).sqrt()
    optimizer = found.optim.PGD(
        data_fidelity=fidelity,
        prior=prior,
        stepsize=0.5,
        sigma_denoiser=0.02,
        max_iter=300,
        custom_init=lambda y, physics: {"est": (start, start)},
    )
    with torch.no_grad():
        estimate = optimizer(data, physics).clamp(min=0)
    return estimate.reshape(*intensity.shape[:-2], *known.object_shape)
