"""How long an iteration takes, in units of a bare rfft2 + irfft2 pair of the same batch.

    python -m benchmarks.speed_solvers [--seconds 4]

A row is one algorithm at one size, with the residual taken every 10 iterations, from the public API: the time of a
whole run divided by its iterations, so that preparing the data and comparing the starts is paid too. `textbook hio`
is HIO as it is usually written in torch. solvephase and cohere-core are measured, on one pattern, where they are
installed.

At 1 x 1024^2 solvephase takes three bare pairs, so that nothing that makes the pair could be three times as fast. Ours
takes 1.27 for an iteration and 6 for the run (HIO of 40 and of 160 iterations); docs/limits.rst tells where they go.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import phaseret as pr
from benchmarks.timing import compare
from results.provenance import machine, save_speed

SIZES = [(64, 64, 64), (8, 256, 256), (1, 1024, 1024), (1, 64, 64)]
ALGORITHMS = {
    "error_reduction": pr.solvers.ErrorReduction,
    "hio": pr.solvers.HIO,
    "raar": pr.solvers.RAAR,
    "rrr": pr.solvers.RRR,
    "difference_map": pr.solvers.DifferenceMap,
}


def textbook(magnitude: torch.Tensor, support: torch.Tensor, x: torch.Tensor, n_iter: int) -> torch.Tensor:
    """HIO with the full complex transform, an angle, a mask, and the residual in every iteration."""
    for _ in range(n_iter):
        field = torch.fft.fft2(x)
        _error = (field.abs() - magnitude).square().sum().sqrt()
        field = magnitude * torch.exp(1j * field.angle())
        p = torch.fft.ifft2(field).real
        x = torch.where(support & (p >= 0), p, x - 0.9 * p)
    return x


def solvephase_hio(magnitude: torch.Tensor, support: torch.Tensor, n_iter: int) -> dict[str, Callable[[], object]]:
    try:
        solvephase = importlib.import_module("solvephase")
    except ImportError:
        return {}
    image, inside = torch.fft.fftshift(magnitude[0]).numpy(), support.numpy()

    def run() -> None:
        solvephase.cdi(
            image,
            inside,
            schedule=f"hio:{n_iter}",
            constraint="positive",
            precision="single",
            device="cpu",
            check_every=10,
            tol=0.0,
        )

    return {"solvephase hio": run}


def cohere_hio(magnitude: torch.Tensor, n_iter: int) -> dict[str, Callable[[], object]]:
    """Its objects are complex, its support is half of the frame along each axis, its residual is taken every time.

    The time of its iterations alone: files, which it begins with, are read before.
    """
    try:
        phasing = importlib.import_module("cohere_core.controller.phasing")
    except ImportError:
        return {}
    parameters = {"algorithm_sequence": f"{n_iter}*HIO", "initial_support_area": (0.5, 0.5)}
    found: dict[str, Callable[[], object]] = {}
    for library in ("np", "torch"):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            file = f"{folder}/data.npy"
            np.save(file, torch.fft.fftshift(magnitude[0]).numpy())
            phasing.set_lib_from_pkg(library)
            ready = phasing.create_rec(dict(parameters), file, library, -1, debug=True)

        def run(library: str = library, ready: Any = ready) -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                phasing.set_lib_from_pkg(library)
                ready.iterate()

        found[f"cohere hio, {library}"] = run
    return found


def case(shape: tuple[int, ...], seconds: float) -> list[dict[str, object]]:
    """All candidates at one size."""
    batch, *grid = shape
    n_iter, cohere_iter = (100, 20) if batch * grid[0] * grid[1] < 2**20 else (40, 5)
    object_shape = tuple(m // 2 for m in grid)
    obj = torch.rand(batch, *object_shape)
    intensity = pr.operators.fourier_intensity(obj, grid)
    support = torch.ones(object_shape, dtype=torch.bool)
    padded = torch.nn.functional.pad(support, (0, grid[1] - object_shape[1], 0, grid[0] - object_shape[0]))
    magnitude = pr.operators.fourier_magnitude(obj, grid, norm="backward")
    start = torch.rand(batch, *grid)
    candidates: dict[str, Callable[[], object]] = {"pair": lambda: torch.fft.irfft2(torch.fft.rfft2(start), s=grid)}
    # batch-iterations in one call
    work = {"pair": 1.0, "textbook hio": 10.0, "solvephase hio": n_iter / batch}
    work |= {f"cohere hio, {library}": cohere_iter / batch for library in ("np", "torch")}
    for name, algorithm in ALGORITHMS.items():
        solver = algorithm(n_iter)
        candidates[name] = lambda solver=solver: solver(intensity, support=support, constraint="nonnegative")
    candidates["hio complex"] = lambda: pr.solvers.HIO(n_iter)(intensity, support=support, constraint="complex")
    candidates["textbook hio"] = lambda: textbook(magnitude, padded, start, 10)
    others = solvephase_hio(magnitude, padded, n_iter) | cohere_hio(magnitude, cohere_iter)
    rows: list[dict[str, object]] = []
    for name, result in compare(candidates | others, "pair", seconds=seconds, least_rounds=5).items():
        done = work.get(name, float(n_iter))
        rows.append(
            {
                "shape": list(shape),
                "algorithm": name,
                "ms per iteration": round(result["ms"] / done, 4),
                "bare pairs": round(result["ratio"] / done, 3),
                "bare pairs, 10 % to 90 % of rounds": [
                    round(result[key] / done, 3) for key in ("ratio_low", "ratio_high")
                ],
            }
        )
    hio = next(row["ms per iteration"] for row in rows if row["algorithm"] == "hio")
    for row in rows:
        row["times our hio"] = round(float(str(row["ms per iteration"])) / float(str(hio)), 2)
        print(row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="measuring time of each size")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(machine())
    rows = [row for shape in SIZES for row in case(shape, options.seconds)]
    save_speed("speed_solvers", rows)


if __name__ == "__main__":
    main()
