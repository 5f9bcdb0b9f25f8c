"""Objects from few noisy speckle patterns, by a network that has seen synthetic data alone: Metzler et al. (2020).

An object out of sight lights a wall; its autocorrelation is the power spectrum of the speckle there, averaged over 100,
10 or 2 exposures, with the shot noise of about 0.4 photons per pixel and exposure (`photons_per_pixel`): the
noise model of `correlography_noise` with a background of 0.1. `CorrelographyNet` is trained once for all these numbers
of exposures, with the invariant loss, on random strokes: no digit, and no measured noise. The test objects are digits,
which are not strokes of this kind, and other strokes.

Classical systems know the 28 x 28 box, that objects are not negative, and are cut off at their largest possible value,
1. No autocorrelation is negative: lags below a number of standard deviations of the shot noise are set to 0 first,
which number is chosen for each system and number of exposures on other strokes. The best of several starts by residual
counts. The source compares with HIO and an alternating minimisation.

What was seen: of digits the network makes 16.5, 16.3 and 15.5 dB from 100, 10 and 2 exposures, the best classical
system 15.2, 11.9 and 10.6 dB; of strokes 16.0, 15.7 and 14.9 dB against 14.1, 11.3 and 10.0 dB. So it is 4 to 5 dB
ahead where the classical algorithms return noise. It gains little from more exposures: trained for minutes, it gives
smooth guesses, some of a wrong shape, where HIO and RAAR with 100 exposures give a noisy image of the right one. The
figure shows, from left to right, two digits at 100, 10 and 2 exposures, and two drawings of strokes.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import phaseret as pr
from experiments import Context, Result, Row
from experiments.board import Board, together
from experiments.data import HELD_OUT, FreshNoise, Patterns, images_of
from experiments.fit import Settings, estimate, run_solver
from experiments.objectives import invariant
from experiments.scoring import best_by_residual
from experiments.store import trained_once

SIZE, FOURIER_SHAPE = 28, (56, 56)
DETAIL = 32  # points that a stroke is drawn with
SHOWN = 2


# --- data -------------------------------------------------------------------------------------------------------------


def strokes(count: int, seed: int) -> Tensor:
    """(count, 28, 28) drawings of one to four strokes of one width: cubic curves and arcs of ellipses."""
    generator = torch.Generator().manual_seed(seed)
    most = 4

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    t = torch.linspace(0, 1, DETAIL)
    powers = torch.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    curves = uniform(3, SIZE - 4, most, 2, 4) @ powers
    angle = uniform(0, 2 * math.pi, most, 1) + uniform(math.pi / 2, 2 * math.pi, most, 1) * t
    arcs = uniform(9, SIZE - 10, most, 2, 1) + uniform(3, 7, most, 2, 1) * torch.stack([angle.sin(), angle.cos()], 2)
    points = torch.where(uniform(0, 1, most, 1, 1) < 0.35, arcs, curves)
    drawn = torch.arange(most) < torch.randint(1, most + 1, (count, 1), generator=generator)
    width = uniform(0.8, 1.7, 1, 1, 1)
    pixel = torch.arange(SIZE, dtype=torch.float32)
    images = torch.empty(count, SIZE, SIZE)
    for part in torch.arange(count).split(200):
        y, x = ((pixel - points[part, :, axis, :, None]).square() for axis in (0, 1))
        away = (y[..., :, None] + x[..., None, :]).amin(2).sqrt()
        images[part] = ((width[part] - away + 0.5).clamp(0, 1) * drawn[part, :, None, None]).amax(1)
    return images


def measured(objects: Tensor, generator: torch.Generator, *, frames: int, background: float) -> Tensor:
    """Fourier intensities as so many exposures show them."""
    clean = pr.operators.fourier_intensity(objects, FOURIER_SHAPE)
    return pr.noise.correlography_noise(clean, frames=frames, background=background, generator=generator)


def of_some_exposures(objects: Tensor, generator: torch.Generator, *, settings: Settings) -> Tensor:
    """The same with a random number of exposures, from few to many."""
    few, many = (math.log(settings["frames"][end]) for end in (-1, 0))
    frames = round(math.exp(few + (many - few) * float(torch.rand((), generator=generator))))
    return measured(objects, generator, frames=frames, background=settings["background"])


def photons_per_pixel(objects: Tensor, background: float) -> float:
    """Photons that make shot noise of this level: the mean lag over lag 0 and background, averaged over the objects."""
    clean = pr.operators.fourier_intensity(objects, FOURIER_SHAPE)
    # Parseval: the mean lag is the intensity at frequency 0, and lag 0 the sum of the intensity.
    ratio = clean[:, 0, 0] / clean.sum((-2, -1))
    return float(f"{float(ratio.mean()) / background:.2g}")


# --- systems ----------------------------------------------------------------------------------------------------------


def trained(settings: Settings, context: Context) -> tuple[nn.Module, Row]:
    """The network, trained on strokes, and what its training took."""

    def data() -> tuple[Patterns, Patterns]:
        count, seed = settings["images"], settings["seed"]
        measure = partial(of_some_exposures, settings=settings)
        training, validation = strokes(count, seed), strokes(max(1, count // HELD_OUT), seed + 1)
        return FreshNoise(training, measure, seed), FreshNoise(validation, measure, seed + 1, renewed=False)

    def network() -> nn.Module:
        shape = (SIZE, SIZE)
        return pr.models.CorrelographyNet(shape, FOURIER_SHAPE, output="unit", channels=settings["channels"])

    return trained_once(network, invariant, data, settings, context.folder / "net")


def without_floor(intensities: Tensor, deviations: float, *, frames: int, background: float) -> Tensor:
    """The intensities of the lags that stand out of the shot noise by so many standard deviations; not negative."""
    lags = torch.fft.fft2(intensities).real
    floor = deviations * background / math.sqrt(frames) * lags[..., :1, :1]
    return torch.fft.ifft2(lags.where(lags > floor, 0)).real.clamp(min=0)


def solved(intensities: Tensor, schedule: str | None, starts: int) -> Tensor:
    """Estimates of all starts: (N, m1, m2) -> (starts, N, n1, n2); without a schedule by the default one."""
    box = torch.ones(SIZE, SIZE, dtype=torch.bool)
    options = {"schedule": schedule, "support": box, "constraint": "nonnegative", "starts": starts}
    found = run_solver(pr.solvers.reconstruct, intensities, **options)
    return found.objs.clamp(max=1).transpose(0, 1)


# --- the comparison ---------------------------------------------------------------------------------------------------


def chosen(schedule: str | None, objects: Tensor, config: dict[str, Any], noise: dict[str, Any], seed: int) -> float:
    """The floor with which a classical system comes closest to objects for validation."""
    seen = measured(objects, torch.Generator().manual_seed(seed), **noise)
    errors = []
    for deviations in config["floors"]:
        runs = solved(without_floor(seen, deviations, **noise), schedule, 2)
        errors.append(
            pr.symmetry.align(best_by_residual(runs, seen), objects, fourier_shape=FOURIER_SHAPE).error.mean()
        )
    return config["floors"][int(torch.stack(errors).argmin())]


def run(context: Context) -> Result:
    """All numbers of exposures: classical algorithms and the network, on digits and on strokes."""
    config: Settings = {**context.config, "bfloat16": context.bfloat16}
    classical, tests, seed = config.pop("classical"), config.pop("test_images"), config["seed"]
    net, took = trained(config, context)
    digits = images_of(pr.datasets.mnist(context.mnist, train=False), tests)
    kinds = {"digits": digits, "strokes": strokes(tests, seed + 2)}
    tuned = strokes(classical["validation"], seed + 3)
    floors: dict[tuple[str, int], float] = {}
    boards = []
    for kind, objects in kinds.items():
        for frames in config["frames"]:
            noise = {"frames": frames, "background": config["background"]}
            intensities = measured(objects, torch.Generator().manual_seed(seed + 4), **noise)
            photons = photons_per_pixel(objects, config["background"])
            board = Board(objects, intensities, shown=SHOWN, data=kind, frames=frames, photons_per_pixel=photons)
            for name, (schedule, starts) in classical["systems"].items():
                if (name, frames) not in floors:
                    floors[name, frames] = chosen(schedule, tuned, classical, noise, seed + 5)
                floor = floors[name, frames]
                seen = without_floor(intensities, floor, **noise)
                board.time(name, "classical", lambda _, s=schedule, k=starts, y=seen: solved(y, s, k), floor=floor)
            apply = partial(estimate, net, bfloat16=context.bfloat16)
            board.time("CorrelographyNet", "learned", lambda seen, f=apply: f(seen)[None], **took)
            boards.append(board)
    rows, arrays = together(boards)
    return Result(rows, seed, {"images": config["images"], "epochs": config["epochs"]}, arrays)
