"""The problems that other packages test themselves with, solved here and held against their thresholds.

    PHASERET_DATA_DIR=... python -m benchmarks.quality_peers

The problems are those of the tests of solvephase 0.2.0, PhasePack and deepinv 0.5, in code of our own: sizes, noise,
iterations and thresholds are theirs, the random numbers ours. Errors are relative, |estimate - object| / |object|,
after alignment. A row says what was found, the threshold, and whether it was met. The last rows are a table of our own:
how RAAR's relaxation was chosen. Without PHASERET_DATA_DIR the digits are those that `phaseret.datasets.mnist` finds.
A few minutes on one core.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor

import phaseret as pr
from benchmarks.quality_solvers import DATA, IN_BOX, aligned_psnr, digits, photons
from experiments.scoring import relative_error, solved_percent
from phaseret import solvers
from phaseret.operators import CodedDiffraction, Gaussian, Operator, coded_masks, fourier_intensity, gaussian_matrix
from results.provenance import RESULTS, save

Row = dict[str, object]
NONNEGATIVE: dict[str, Any] = {"constraint": "nonnegative"}


def row(peer: str, problem: str, ours: str, found: float, threshold: float, *, above: bool = False) -> Row:
    """What was found, and whether it is below the threshold, or `above` it where that is asked."""
    met = found > threshold if above else found < threshold
    return {
        "of": peer,
        "problem": problem,
        "solved by": ours,
        "found": float(f"{found:.3g}"),
        "wanted": f"{'above' if above else 'below'} {threshold:g}",
        "met": met,
    }


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def full_box(n: int) -> Tensor:
    return torch.ones(n, n, dtype=torch.bool)


def uniform(n: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A positive object that fills its box."""
    return 0.2 + 0.8 * torch.rand(n, n, generator=seeded(seed), dtype=dtype)


def smooth(x: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur of so many pixels that wraps around."""
    k = torch.fft.fftfreq(len(x))
    window = torch.exp(-2 * (math.pi * sigma) ** 2 * (k[:, None] ** 2 + k**2))
    return torch.fft.ifft2(torch.fft.fft2(x) * window).real


def blob(n: int, seed: int) -> Tensor:
    """A smooth positive object with an outline of three lobes."""
    places = torch.arange(n) - (n - 1) / 2
    y, x = torch.meshgrid(places, places, indexing="ij")
    angle, turn = torch.atan2(y, x), 6 * torch.rand((), generator=seeded(seed))
    outline = 1 + 0.25 * torch.cos(3 * angle + turn) + 0.1 * torch.sin(2 * angle)
    texture = smooth(torch.rand(n, n, generator=seeded(seed)), 1.0)
    texture = 0.3 + (texture - texture.min()) / (texture.max() - texture.min())
    return torch.where(torch.hypot(y, x) < 0.38 * n * outline, texture, 0.0)


def complex_blob(n: int, seed: int) -> Tensor:
    """The same with a smooth phase."""
    return torch.polar(blob(n, seed), 6 * smooth(torch.randn(n, n, generator=seeded(seed + 1)), 2.0))


def distance(estimate: Tensor, obj: Tensor) -> float:
    """Relative error where only the phase is free."""
    inner = (estimate.conj() * obj).sum()
    return float((estimate * inner / inner.abs() - obj).norm() / obj.norm())


def aligned(estimate: Tensor, obj: Tensor, grid: tuple[int, int]) -> float:
    return float(relative_error(estimate, obj, grid))


# --- far field -------------------------------------------------------------------------------------------------------


def hybrid() -> Iterator[Row]:
    """Single starts, several starts, and a pattern without its middle."""
    objs = torch.stack([uniform(32, seed) for seed in range(5)])
    y = fourier_intensity(objs, (64, 64))
    r = solvers.reconstruct(y, schedule="hio:800,er:100", support=full_box(32), starts=1, **NONNEGATIVE)
    worst = relative_error(r.obj, objs, (64, 64)).sort().values[3]
    name = "random 32 x 32 that fills its box, single start, the fourth of five"
    yield row("solvephase", name, "hio:800,er:100", float(worst), 1e-3)
    obj = uniform(32, 0, torch.float64)
    y = fourier_intensity(obj, (64, 64))
    r = solvers.HIO(400)(y, support=full_box(32), starts=8, **NONNEGATIVE)
    error = relative_error(r.objs, obj.expand(8, 32, 32), (64, 64))
    yield row("solvephase", "the same, best of 8 starts", "hio:400", aligned(r.obj, obj, (64, 64)), 1e-3)
    yield row(
        "solvephase",
        "largest over smallest error of these",
        "hio:400",
        float(error.max() / error.min()),
        10,
        above=True,
    )
    obj = blob(32, 6).double()
    y = fourier_intensity(obj, (64, 64))
    measured = torch.ones(64, 64, dtype=torch.bool)
    measured[:3, :3] = measured[:3, -2:] = measured[-2:, :3] = measured[-2:, -2:] = False
    recipe: dict[str, Any] = {"schedule": "hio:800,er:200", "support": obj > 0, "starts": 4, **NONNEGATIVE}
    known = aligned(solvers.reconstruct(y, mask=measured, **recipe).obj, obj, (64, 64))
    zeros = aligned(solvers.reconstruct(torch.where(measured, y, 0.0), **recipe).obj, obj, (64, 64))
    name = "smooth object in its support, beam stop of 5 x 5 pixels"
    yield row("solvephase", f"{name}, masked", "hio:800,er:200", known, 1e-4)
    yield row("solvephase", f"{name}, taken as zeros", "hio:800,er:200", zeros, 0.1, above=True)


def settling() -> Iterator[Row]:
    """Each algorithm with its defaults, best of four starts: the last residual over that after ten iterations."""
    objs = torch.stack([uniform(16, seed) for seed in range(24)])
    y = fourier_intensity(objs, (32, 32))
    for name in ("er", "hio", "dm", "raar", "rrr", "asr", "hpr", "oss"):
        r = solvers.reconstruct(y, schedule=f"{name}:300", support=full_box(16), starts=4, **NONNEGATIVE)
        first, last = (errors.gather(-1, r.ranking[:, :1])[:, 0] for errors in (r.history[..., 0], r.errors))
        ratio = float((last / first).median())
        problem = "residual after 300 iterations over that after 10, median of 24 objects"
        yield row("solvephase", problem, name, ratio, 0.7 if name == "er" else 0.2)


def fixed_points() -> Iterator[Row]:
    """An iteration from the object itself."""
    obj = uniform(16, 1, torch.float64)
    y = fourier_intensity(obj, (32, 32))
    for name in ("er", "hio", "raar", "dm", "rrr"):
        step = solvers.Recipe(f"{name}:20")
        r = step(y, support=full_box(16), init=obj, **NONNEGATIVE)
        yield row(
            "solvephase", "distance from the object after 20 iterations from it", name, distance(r.obj, obj), 1e-12
        )


def supports() -> Iterator[Row]:
    """A complex object in its own support; positive ones of which the pattern alone is known."""
    obj = complex_blob(32, 2)
    r = solvers.reconstruct(fourier_intensity(obj, (64, 64)), schedule="dm:500,er:50", support=obj != 0)
    yield row("solvephase", "complex blob in its support", "dm:500,er:50", aligned(r.obj, obj, (64, 64)), 1e-3)
    cases = ((32, 3, 2, "40*(hio:20,shrinkwrap),er:200", 1e-3), (128, 10, 4, "30*(hio:20,shrinkwrap),er:100", 1e-2))
    for n, seed, starts, schedule, threshold in cases:
        obj, grid = blob(n, seed), (2 * n, 2 * n)
        y = fourier_intensity(obj, grid)
        options: dict[str, Any] = {"support": solvers.autocorrelation_support(y), "starts": starts, **NONNEGATIVE}
        r = solvers.reconstruct(y, schedule=schedule, **options)
        found = aligned(r.obj, torch.nn.functional.pad(obj, (0, n, 0, n)), grid)
        yield row("solvephase", f"support from the autocorrelation, {2 * n} x {2 * n}", schedule, found, threshold)


def counts() -> Iterator[Row]:
    """A smooth object at two levels of photons, and eight drawings of one without noise."""
    obj = blob(32, 4)
    for total, threshold in ((1e6, 0.1), (1e9, 0.01)):
        scaled = obj * math.sqrt(total / float(obj.square().sum()))
        y = torch.poisson(fourier_intensity(scaled.double(), (64, 64)), generator=seeded(0)).float()
        options: dict[str, Any] = {"support": obj > 0, "starts": 4, **NONNEGATIVE}
        r = solvers.reconstruct(y, schedule="oss:1000,er:50", **options)
        yield row("solvephase", f"{total:.0e} photons", "oss:1000,er:50", aligned(r.obj, scaled, (64, 64)), threshold)
    objs = torch.stack([blob(32, seed) for seed in range(8)])
    y = fourier_intensity(objs, (64, 64))
    r = solvers.reconstruct(y, schedule="hio:400,er:100", support=objs > 0, starts=4, **NONNEGATIVE)
    solved = float(solved_percent(relative_error(r.obj, objs, (64, 64))))
    yield row("solvephase", "% solved of eight objects without noise", "hio:400,er:100", solved, 99.9, above=True)


# --- random measurements ---------------------------------------------------------------------------------------------

FLOWS: dict[str, Callable[..., solvers.Reconstruction]] = {
    "wirtinger_flow": solvers.wirtinger_flow,
    "truncated_amplitude_flow": solvers.truncated_amplitude_flow,
}


def gaussian(n: int, ratio: int, seed: int) -> tuple[Operator, Tensor]:
    g = seeded(seed)
    matrix = gaussian_matrix((n,), ratio * n, generator=g, dtype=torch.complex128)
    return Gaussian(matrix), torch.randn(n, generator=g, dtype=torch.complex128)


def coded(n: int, masks: int, seed: int) -> tuple[Operator, Tensor]:
    g = seeded(seed)
    operator = CodedDiffraction(coded_masks((n, n), masks, generator=g, dtype=torch.float64))
    return operator, torch.randn(n, n, generator=g, dtype=torch.complex128)


def random_measurements() -> Iterator[Row]:
    """Gaussian and coded measurements by both flows."""
    for (name, flow), (n, ratio, count, kept, peer, threshold) in product(
        FLOWS.items(),
        (
            (64, 8, 3, 3, "solvephase", 1e-5),
            (64, 6, 10, 9, "solvephase", 1e-5),
            (100, 8, 3, 3, "PhasePack", 1e-4),
            (100, 5, 3, 3, "PhasePack", 1e-4),
        ),
    ):
        if peer == "PhasePack" and name == "wirtinger_flow":
            continue
        errors = []
        for seed in range(count):
            operator, obj = gaussian(n, ratio, seed)
            errors.append(distance(flow(operator(obj), operator, n_iter=4000).obj, obj))
        problem = f"Gaussian, {n} unknowns, {ratio} times as many data, number {kept} of {count}"
        yield row(peer, problem, name, sorted(errors)[kept - 1], threshold)
    for masks in (6, 8):
        operator, obj = coded(32, masks, 0)
        found = distance(solvers.truncated_amplitude_flow(operator(obj), operator, n_iter=600).obj, obj)
        yield row("solvephase", f"coded diffraction 32 x 32, {masks} masks", "truncated_amplitude_flow", found, 1e-5)
    operator, obj = coded(256, 8, 1)
    y = operator(obj)
    start = solvers.spectral_initialization(y, operator)
    cosine = float((start.conj() * obj).sum().abs() / start.norm() / obj.norm())
    name = "coded diffraction 256 x 256, 8 masks"
    yield row("solvephase", f"{name}, cosine of the start", "spectral_initialization", cosine, 0.65, above=True)
    found = distance(solvers.truncated_amplitude_flow(y, operator, n_iter=300).obj, obj)
    yield row("solvephase", name, "truncated_amplitude_flow", found, 1e-5)


# --- identities ------------------------------------------------------------------------------------------------------


def identities() -> Iterator[Row]:
    """What deepinv asserts of its operators."""
    operator, obj = coded(8, 4, 0)
    y = operator(obj)
    yield row("deepinv", "smallest datum", "CodedDiffraction", float(-y.min()), 1e-5)
    yield row("deepinv", "y(x) - y(-x)", "CodedDiffraction", float((y - operator(-obj)).abs().max()), 1e-5)
    weight = torch.rand(y.shape, generator=seeded(1), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((weight * operator(obj.requires_grad_())).sum(), obj)
    expected = 2 * operator.adjoint(weight * operator.linear(obj.detach()))
    yield row(
        "deepinv", "gradient against 2 A^H (w A x)", "CodedDiffraction", float((gradient - expected).abs().max()), 1e-5
    )
    for d in (1, 2, 3):
        x = torch.randn((2, *(5,) * d), generator=seeded(d), dtype=torch.complex128)
        turned = (
            x
            * torch.tensor([0.3 - 0.8j, -1j]).reshape(2, *[1] * d)
            / torch.tensor([0.73**0.5, 1.0]).reshape(2, *[1] * d)
        )
        back = pr.symmetry.align(turned, x, ndim=d, shift=False, flip=False).aligned
        yield row("deepinv", f"phase put right, {d} axes", "symmetry.align", float((back - x).abs().max()), 1e-5)


def relaxations() -> Iterator[Row]:
    """How often a start of RAAR finds the object, and what noise leaves, by beta."""
    obj = digits(220)[200:]
    y = fourier_intensity(obj, DATA)
    texture = smooth(torch.rand(48, 48, generator=seeded(1)), 1.5)
    texture = (texture - texture.min()) / (texture.max() - texture.min())
    turned = complex_blob(32, 5)
    for beta in (0.9, 0.95, 0.97, 0.98, 0.99, (0.75, 0.97)):
        found: Row = {"of": "phaseret", "problem": "RAAR by beta, 500 iterations", "solved by": f"raar(beta={beta})"}
        step = solvers.RAAR(500, beta=beta)
        r = step(y, starts=5, **IN_BOX)
        error = relative_error(r.objs, obj[:, None].expand_as(r.objs), DATA)
        found["% of digits, single starts"] = round(float(solved_percent(error)), 1)
        r = step(fourier_intensity(texture, (96, 96)), support=full_box(48), starts=8, **NONNEGATIVE)
        error = relative_error(r.objs, texture.expand_as(r.objs), (96, 96))
        found["% of starts of a dense texture"] = round(float(solved_percent(error)), 1)
        r = step(fourier_intensity(turned, (64, 64)), support=turned != 0, starts=8)
        error = relative_error(r.objs, turned.expand_as(r.objs), (64, 64))
        found["% of starts of a complex blob"] = round(float(solved_percent(error)), 1)
        for total in (1e6, 1e5, 1e4):
            ended = solvers.Recipe(solvers.RAAR(300, beta=beta), solvers.ErrorReduction(50))
            r = ended(photons(y, total), starts=3, **IN_BOX)
            found[f"dB of digits at {total:.0e} photons"] = aligned_psnr(r, obj)["mean aligned PSNR of best"]
        yield found


TASKS = (hybrid, settling, fixed_points, supports, counts, random_measurements, identities, relaxations)


def main() -> None:
    """Run everything, print the rows, and write them."""
    warnings.simplefilter("ignore")
    began, rows = time.perf_counter(), []
    for task in TASKS:
        for found in task():
            print(found, flush=True)
            rows.append(found)
    save("quality_peers", rows)
    held = [found["met"] for found in rows if "met" in found]
    took = time.perf_counter() - began
    print(f"{sum(map(bool, held))} of {len(held)} met; {RESULTS / 'quality_peers.json'}: {took:.0f} s")


if __name__ == "__main__":
    main()
