r"""Natural images of 128 x 128 pixels under the noise of prDeep: denoising and deep iterative reconstruction.

The data are :math:`\max(0, |z|^2 + \alpha |z| N(0, 1))` with :math:`\alpha` = 2, 3, 4. z is the Fourier transform of an
image with values from 0 to 255, padded with zeros to 256 x 256 and normalised as prDeep's code does it: half of the
orthonormal one. All systems know the 128 x 128 box and that images are not negative. The test images are seven pictures
of scikit-image and five details of them; no training image is from these pictures.

HIO starts as in the source: 50 random starts of 50 iterations each, the best one by its residual continued for 1000
iterations with a feedback of 0.9 (here it goes on from the estimate, not from the iterate). *prDeep* and *deep
iterative reconstruction* go on from what that gives; *over_hio_db* is the gain over it in decibels. The denoiser is a
`DnCNN` with a noise map; its levels, and :math:`\lambda` = 0.45 for :math:`\alpha` = 2 and 3, were chosen on two other
pictures (the source's demo has, in units where the transform is orthonormal, :math:`0.1 \alpha^2`). The networks of
deep iterative reconstruction are two small U-Nets: the first one is used six times with ten iterations of HIO between,
as in the source, the second one cleans what comes of that.

At :math:`\alpha` = 2, 3, 4 deep iterative reconstruction gains 4.5, 4.1 and 3.5 dB, its first network alone 1.4 to 1.6;
prDeep 3.4, 3.9 and 3.3. The source of the former reports 18.97 dB for HIO, 20.76 after its first network and 21.63
after the iterations, at a signal-to-noise ratio of 33.4 dB. RAAR, of whose four starts the best by residual counts,
gives the worst images here. The squares that choose a network's epoch are of the training pictures, for the two
refining networks; those of the denoiser are of others. The figure shows :math:`\alpha` = 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import phaseret as pr
from experiments import Context, Result, Row
from experiments.board import Board
from experiments.data import FreshNoise, Patterns
from experiments.fit import Settings, run_solver
from experiments.photographs import SIZE, TEST, TRAINING, VALIDATION, crops, test_images
from experiments.store import computed_once, trained_once

FOURIER_SHAPE = (2 * SIZE, 2 * SIZE)
SHOWN, SHOWN_ALPHA = 8, 3
HELD_OUT = 10  # one image of so many chooses the best epoch
SETTLE = 50  # iterations of error reduction
TRAINING_SEED = 1000  # the solver's starts for training images are others than for test images


def measured(images: Tensor, alpha: float, seed: int) -> Tensor:
    r"""Intensities of images between 0 and 1 with the source's noise for images between 0 and 255.

    The source's transform is the orthonormal one of the padded image times :math:`\sqrt{n/m}`, the root of image over
    data pixels (its demo script, and the code of those who repeated it): here 1/2. What it measures is
    :math:`|z/2|^2 + \alpha |z/2| N` with the orthonormal z; in the units of :math:`|z|^2` that is four times as much,
    :math:`|z|^2 + 2 \alpha |z| N`, and for images between 0 and 1 the factor is :math:`2 \alpha / 255`.
    """
    factor = (np.prod(FOURIER_SHAPE) / images[0].numel()) ** 0.5
    generator = torch.Generator().manual_seed(seed)
    noise_free = pr.operators.fourier_intensity(images, FOURIER_SHAPE)
    return pr.noise.alpha_noise(noise_free, alpha=factor * alpha / 255, generator=generator)


# --- classical --------------------------------------------------------------------------------------------------------


def solved(schedule: str, intensities: Tensor, **options: Any) -> pr.solvers.Reconstruction:
    """A classical solver, told the box and that images are not negative."""
    box = torch.ones(SIZE, SIZE, dtype=torch.bool)
    known = {"support": box, "constraint": "nonnegative", "check_every": 50}
    return run_solver(pr.solvers.reconstruct, intensities, schedule=schedule, **known, **options)


def from_best(intensities: Tensor, starts: int, first: int, iterations: int, seed: int = 0) -> Tensor:
    """HIO as the source starts it: the best of several short runs by its residual, continued."""
    best = solved(f"hio:{first}", intensities, starts=starts, seed=seed).obj
    return solved(f"hio:{iterations}", intensities, starts=1, init=best).obj


# --- the denoiser -----------------------------------------------------------------------------------------------------


def noisy(clean: Tensor, generator: torch.Generator, largest: float) -> tuple[Tensor, Tensor]:
    """Images (N, n1, n2) with white noise, and its standard deviations (N), uniform up to the largest."""
    sigma = largest * torch.rand(len(clean), generator=generator)
    noise = torch.randn(clean.shape, generator=generator)
    return clean + sigma[:, None, None] * noise, sigma


def denoising(net: nn.Module, clean: Tensor, seen: Any) -> Tensor:
    """The denoised image is compared with the clean one."""
    return nn.functional.mse_loss(net(*seen), clean)


def denoiser(settings: Settings, folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The trained denoiser, and what its training took."""

    def network() -> nn.Module:
        return pr.models.DnCNN(depth=settings["depth"], channels=settings["channels"], noise_map=True)

    def data() -> tuple[Patterns, Patterns]:
        seed, count, size, largest = (settings[name] for name in ("seed", "patches", "size", "sigma"))
        training = crops(TRAINING, count, size, seed)
        validation = crops(VALIDATION, max(1, count // 50), size, seed + 1)
        with_noise = partial(noisy, largest=largest / 255)
        return FreshNoise(training, with_noise, seed), FreshNoise(validation, with_noise, seed + 1, renewed=False)

    return trained_once(network, denoising, data, settings, folder)


# --- deep iterative reconstruction ------------------------------------------------------------------------------------


class Refiner(nn.Module):
    """A small U-Net that subtracts the artefacts of an estimate: (N, n1, n2) with sizes that 4 divides -> the same."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        before = (1, *channels[:-1])
        self.down = nn.ModuleList(map(_twice, before, channels))
        self.up = nn.ModuleList(map(_twice, map(sum, pairwise(channels)), channels[:-1]))
        self.last = nn.Conv2d(channels[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The estimate without its artefacts."""
        features, skipped = x[:, None], []
        for level, convolutions in enumerate(self.down):
            features = convolutions(nn.functional.max_pool2d(features, 2) if level else features)
            skipped.append(features)
        for convolutions, skip in zip(reversed(self.up), skipped[-2::-1], strict=True):
            features = nn.functional.interpolate(features, scale_factor=2.0)
            features = convolutions(torch.cat([features, skip], 1))
        return x - self.last(features)[:, 0].to(x.dtype)


def _twice(before: int, after: int) -> nn.Sequential:
    """Two convolutions over 3 pixels, each with normalisation and ReLU."""
    layers: list[nn.Module] = []
    for width in (before, after):
        layers += [nn.Conv2d(width, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


def refining(net: nn.Module, image: Tensor, seen: Tensor) -> Tensor:
    """What the network makes of a solver's estimate is compared with the image, in decibels."""
    return 10 * (net(seen) - image).square().mean((-2, -1)).log10().mean()


def pairs(images: Tensor, estimates: Tensor) -> tuple[Patterns, Patterns]:
    """Estimates, turned and shifted onto their images, in all orientations: to train on, and to choose the epoch."""
    onto = pr.symmetry.align(estimates, images, fourier_shape=FOURIER_SHAPE).aligned
    held_out = torch.arange(len(images)) % HELD_OUT == 0

    def part(chosen: Tensor) -> Patterns:
        return Patterns(turned(images[chosen]), lambda objects: objects, turned(onto[chosen]))

    return part(~held_out), part(held_out)


def turned(images: Tensor) -> Tensor:
    """The images in all eight orientations."""
    return torch.cat([x.rot90(quarter, (-2, -1)) for x in (images, images.flip(-1)) for quarter in range(4)])


def refinement(
    settings: Settings, first: Callable[[Tensor], Tensor], networks: Sequence[nn.Module]
) -> pr.models.IterativeRefinement:
    """A start, and HIO between one network and the next."""

    def again(intensities: Tensor, init: Tensor) -> Tensor:
        return solved(f"hio:{settings['again']}", intensities, starts=1, init=init).obj

    return pr.models.IterativeRefinement([first] + [again] * (len(networks) - 1), networks)


def refiners(settings: Settings, solver: Settings, folder: Path) -> tuple[list[nn.Module], list[dict[str, Any]]]:
    """The networks in the order of their use, and what their trainings took.

    The first one is trained on what HIO gives and used several times, the last one is trained on what comes of that.
    """
    seed, alphas = settings["seed"], settings["alphas"]
    images = crops(TRAINING, settings["images"], SIZE, seed + 2)
    parts = images.tensor_split(len(alphas))
    intensities = torch.cat([measured(*pair, seed + 2) for pair in zip(parts, alphas, strict=True)])
    start = {**solver, **settings["solver"], "seed": TRAINING_SEED}
    about = {"solver": start, "images": len(images), "alphas": alphas, "seed": seed}
    estimates, _ = computed_once(folder / "solved", about, lambda: from_best(intensities, **start))
    training = {**settings["training"], **about, "channels": settings["channels"], "bfloat16": settings["bfloat16"]}

    def trained(inputs: Tensor, folder: Path, **more: Any) -> tuple[nn.Module, dict[str, Any]]:
        network = partial(Refiner, settings["channels"])
        return trained_once(network, refining, partial(pairs, images, inputs), {**training, **more}, folder)

    network, took = trained(estimates, folder / "first")
    repeated = [network] * settings["repeats"]
    known = refinement(settings, lambda data: estimates, [*repeated, nn.Identity()])
    improve = partial(known.before, intensities, len(repeated))
    more = {"again": settings["again"], "repeats": settings["repeats"]}
    improved, _ = computed_once(folder / "between", {**training, **more}, improve)
    last, took_last = trained(improved, folder / "last", **more)
    return [*repeated, last], [took, took_last]


# --- the protocol -----------------------------------------------------------------------------------------------------


class Level(Board):
    """All systems at one level of the noise."""

    def __init__(self, context: Context, alpha: float, objects: Tensor) -> None:
        self.context, self.config, self.solver = context, context.config, context.config["solver"]
        super().__init__(objects, measured(objects, alpha, self.config["seed"]), shown=SHOWN, alpha=alpha)

    def found(self, name: str, solve: Callable[[], Tensor], **settings: Any) -> tuple[Tensor, float]:
        """What a system makes of the data, and the seconds that it took."""
        about = {"images": len(self.objects), "seed": self.config["seed"], "bfloat16": self.context.bfloat16}
        about = {**self.about, **about, "solver": self.solver, **settings}
        return computed_once(self.context.folder / f"alpha{self.about['alpha']}" / name, about, solve)

    def add(self, system: str, kind: str, runs: Tensor, seconds: float, iterations: int, denoisings: int = 0) -> None:
        """Enter a system."""
        self.enter(system, kind, runs, seconds, solver_iterations=iterations, denoisings=denoisings)

    def classical(self) -> tuple[Tensor, float, int]:
        """HIO and RAAR; the estimate that the learned systems go on from, its seconds and iterations."""
        solver, runs, raar = self.solver, self.config["runs"], self.config["raar"]
        data, hio = self.intensities, f"hio:{solver['iterations']}"

        def singles() -> Tensor:
            return torch.stack([solved(hio, data, starts=1, seed=seed).obj for seed in range(runs)])

        single, time = self.found("single", singles, runs=runs)
        self.add("HIO", "classical", single, time, runs * solver["iterations"])
        self.arrays["HIO"] = self.picture(single[:1])
        start, time = self.found("start", lambda: from_best(data, **solver))
        steps = solver["starts"] * solver["first"] + solver["iterations"]
        self.add("HIO from the best of 50", "classical", start[None], time, steps)
        settled, more = self.found("settled", lambda: solved(f"er:{SETTLE}", data, starts=1, init=start).obj)
        self.add("HIO from the best of 50, ER", "classical", settled[None], time + more, steps + SETTLE)
        other, needed = self.found("raar", lambda: solved(intensities=data, **raar).obj, raar=raar)
        n_iter = raar["starts"] * pr.solvers.Recipe(raar["schedule"]).n_iter
        self.add("RAAR, ER", "classical", other[None], needed, n_iter)
        return start, time, steps

    def learned(self, start: Tensor, time: float, steps: int, clean: nn.Module, networks: Sequence[nn.Module]) -> None:
        """PrDeep and the networks of deep iterative reconstruction, from this estimate."""
        refining, data = self.config["refinement"], self.intensities
        mixed = partial(torch.autocast, data.device.type, torch.bfloat16, enabled=self.context.bfloat16)

        def denoise(x: Tensor, sigma: float) -> Tensor:
            with mixed():
                return clean(x, sigma)

        def refined(stages: int) -> Tensor:
            with torch.no_grad(), mixed():
                return refinement(refining, lambda _: start, networks[:stages])(data)

        options = {**self.config["prdeep"], "lam": self.config["prdeep"]["lam"][self.about["alpha"]]}
        options["sigmas"] = [sigma / 255 for sigma in options["sigmas"]]
        red, needed = self.found(
            "prdeep",
            lambda: pr.models.prdeep(data, denoise, init=start, **options),
            prdeep=options,
            denoiser=self.config["denoiser"],
        )
        calls = len(options["sigmas"]) * options["n_iter"]
        self.add("prDeep", "learned", red[None], time + needed, steps + calls, calls)
        one, needed = self.found("refined1", lambda: refined(1), refinement=refining)
        self.add("HIO, network", "learned", one[None], time + needed, steps, 1)
        count = len(networks)
        two, needed = self.found("refined2", lambda: refined(count), refinement=refining)
        again = (count - 1) * refining["again"]
        self.add("deep iterative reconstruction", "learned", two[None], time + needed, steps + again, count)


def denoised(clean: nn.Module, images: Tensor, sigma: float) -> dict[str, float]:
    """PSNR of images with noise (sigma of 255), and of what the denoiser makes of them."""
    noisy = images + sigma / 255 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = {"noisy": noisy, "denoised": clean(noisy, sigma / 255)}
    return {name: round(float(pr.metrics.psnr(x, images, align=False)), 2) for name, x in found.items()}


def write_weights(clean: nn.Module, objects: Tensor, context: Context) -> None:
    """The denoiser as a file, with what it does to the test images."""
    metrics = {f"psnr_sigma_{sigma}": denoised(clean, objects, sigma) for sigma in (10, 25, 50)}
    card = {
        "data": f"squares of {', '.join(dict.fromkeys(TRAINING))} of scikit-image, scikit-learn (china: CC BY 2.0, "
        f"danielbuechele) and matplotlib, at several scales; settings {context.config['denoiser']}",
        "command": "python -m experiments.run natural128",
        "metrics": {"test_images": f"{len(objects)} of {', '.join(TEST)}, 128 x 128, values from 0 to 1", **metrics},
        "licence": "BSD-3-Clause",
    }
    pr.models.save(clean, context.folder / "dncnn.safetensors", card=card, overwrite=True)


def run(context: Context) -> Result:
    """Train the denoiser and the networks; every system at every level of the noise."""
    config = context.config
    common = {"seed": config["seed"], "bfloat16": context.bfloat16}
    clean, cost = denoiser({**config["denoiser"], **common}, context.folder / "denoiser")
    settings = {**config["refinement"], **common, "alphas": config["alphas"]}
    networks, costs = refiners(settings, config["solver"], context.folder / "refinement")
    objects = test_images(config["test_images"])
    write_weights(clean, objects, context)
    rows: list[Row] = []
    arrays: dict[str, Any] = {}
    for alpha in config["alphas"]:
        level = Level(context, alpha, objects)
        level.learned(*level.classical(), clean, networks)
        start = next(row for row in level.rows if row["system"] == "HIO from the best of 50")
        rows += [{**row, "over_hio_db": round(row["aligned_psnr"] - start["aligned_psnr"], 2)} for row in level.rows]
        if alpha == SHOWN_ALPHA:
            arrays = level.arrays
    budget = {
        "test_images": len(objects),
        "denoiser_patches": cost["training_images"] * cost["epochs"],
        "denoiser_parameters": cost["parameters"],
        "refinement_images": config["refinement"]["images"],
        "refinement_parameters": costs[0]["parameters"],
    }
    return Result(rows, config["seed"], budget, arrays)
