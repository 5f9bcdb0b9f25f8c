"""Blurred intensities: what a blur of the pattern costs, and what the solvers make of it that are told of it.

    python -m benchmarks.quality_blur [--seeds 3]

A complex object of 44 x 40 pixels in 128 x 128 and a strained crystal of 16 x 14 x 15 voxels in 40^3, in their known
supports; the pattern is blurred by a Gaussian, a turned one and one with a halo, then counted. Correlations with the
object after alignment, means over the noise and the starts of each seed.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from scipy import ndimage
from torch import Tensor

import phaseret as pr
from results.provenance import save

SIGMAS = (0.0, 0.5, 1.0)


def textured() -> tuple[Tensor, tuple[int, ...], str, float]:
    """The flat object with its grid, its schedule and the counts of its pattern."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 44), torch.linspace(-1, 1, 40), indexing="ij")
    inside = (y * y + x * x + 0.6 * x * y < 0.85) & (x - y < 0.95)
    noise = torch.randn(44, 40, generator=torch.Generator().manual_seed(0))
    texture = torch.from_numpy(ndimage.gaussian_filter(noise.numpy(), 2.0))
    modulus = (1 + 0.25 * texture / texture.std()).clamp(min=0.2)
    return inside * torch.polar(modulus, 0.6 * (x * y + 0.6 * y * y - x**3)), (128, 128), "6*(hio:50,er:20),er:100", 1e8


def crystal() -> tuple[Tensor, tuple[int, ...], str, float]:
    """The same of the crystal."""
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in (16, 14, 15)), indexing="ij")
    inside = (x * x + y * y + z * z + 0.8 * (y * z).abs() < 1) & (x + y + z < 1.1)
    phase = 0.9 * (y * z + 0.8 * x * x - 0.7 * z + 0.5 * x * y)
    return inside * torch.polar(torch.ones(16, 14, 15), phase), (40, 40, 40), "4*(hio:50,er:20),er:60", 1e7


def kernels(ndim: int) -> dict[str, Tensor]:
    """What blurs, by its name."""
    place = torch.arange(-6.0, 7.0)
    axes = torch.meshgrid(*[place] * ndim, indexing="ij")
    radius = sum(axis * axis for axis in axes)
    found = {f"Gaussian {sigma}": torch.exp(-radius / (2 * max(sigma, 1e-3) ** 2)) for sigma in SIGMAS}
    along, across = axes[0] + axes[1], axes[0] - axes[1]
    found["turned, 1.4 x 0.4"] = torch.exp(
        -(along**2 / 2 / 2.0**2 + across**2 / 2 / 0.6**2) - (radius - axes[0] ** 2 - axes[1] ** 2)
    )
    halo = torch.exp(-radius / (2 * 2.0**2))
    found["halo"] = 0.4 * halo / halo.sum() + 0.6 * (radius == 0)
    return {name: kernel / kernel.sum() for name, kernel in found.items()}


def correlation(estimates: Tensor, obj: Tensor) -> float:
    """The mean over the starts, after alignment."""
    aligned = pr.symmetry.align(estimates, obj.expand_as(estimates), ndim=obj.ndim).aligned
    inner = (aligned * obj.conj()).flatten(1).sum(1).abs()
    return float((inner / aligned.flatten(1).norm(dim=1) / obj.norm()).mean())


def main() -> None:
    """Blur, count, reconstruct, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of noises, with starts of their own")
    seeds = parser.parse_args().seeds
    rows: list[dict[str, Any]] = []
    for make in (textured, crystal):
        obj, grid, schedule, counts = make()
        sharp = pr.operators.fourier_intensity(obj, grid)
        for name, kernel in kernels(obj.ndim).items():
            blurred = torch.from_numpy(ndimage.convolve(sharp.numpy(), kernel.numpy(), mode="wrap"))
            told: dict[str, dict[str, Any]] = {
                "nothing": {},
                'coherence="gaussian"': {"coherence": "gaussian"},
                'coherence="free"': {"coherence": "free"},
                "point_spread": {"point_spread": kernel},
            }
            for what, option in told.items():
                found: dict[str, list[float]] = {"correlation": [], "residual": [], "seconds": []}
                for seed in range(seeds):
                    generator = torch.Generator().manual_seed(seed)
                    data = torch.poisson(blurred * (counts / blurred.sum()), generator)
                    known = {"support": obj != 0, "ndim": obj.ndim, "starts": 4, "seed": 100 * seed}
                    began = time.perf_counter()
                    r = pr.solvers.reconstruct(data, schedule=schedule, **known, **option)
                    found["seconds"].append(time.perf_counter() - began)
                    found["correlation"].append(correlation(r.objs, obj))
                    found["residual"].append(float(r.error))
                row = {"object": make.__name__, "blur": name, "told": what}
                row |= {key: sum(values) / seeds for key, values in found.items()}
                row["blur found"] = None if r.blur is None else [round(float(width), 2) for width in r.blur]
                rows.append(row)
                print(
                    f"{make.__name__:9} {name:18} {what:21} correlation {row['correlation']:.3f}, residual "
                    f"{row['residual']:.4f}, {row['seconds']:.1f} s {row['blur found'] or ''}",
                    flush=True,
                )
                save("quality_blur", rows)


if __name__ == "__main__":
    main()
