"""MNIST without oversampling: noise-free magnitudes on the 28 x 28 grid of the object itself (m = n).

Such data do not determine the object; what is known of digits has to. Estimates are aligned by cyclic shift and
180-degree flip. The networks see the training set, each digit a little turned, stretched and sheared, anew in each
epoch: `MLP` (squared error), `PRCGANGenerator` against a `PRCGANDiscriminator` (log-GAN and 1000 times the absolute
error, latent variable 0) and `Cascade` (absolute error of the last stage, squared ones before). PRCGAN* looks for the
latent variable of each pattern, `finetune` adapts the last layers of the trained MLP, or the last stage of the cascade,
to it: both see the pattern alone. HIO and RAAR know that digits are not negative. The columns *source ssim* are
comparable with the sources' structural similarity, whose data range is twice the digits'.

The sources (Uelwer 2019, 2021) train 100 epochs of undistorted digits and report an aligned MSE of 0.0163 and an SSIM
of 0.839 for the MLP and 0.0170 for PRCGAN: here 0.0134 and 0.853 after 30 epochs, 0.0148 after 80. PRCGAN* is behind
its source: 0.0044 after 100 steps and 0.0019 after 1000 (on the first 128 digits), against 0.0029 and 0.0013. So is the
cascade: a raw SSIM of 0.836 against 0.875 to 0.882; it is above the MLP (0.823), as there (0.834). 100 steps of
`finetune` bring the MLP to 0.0037 and the cascade to 0.0031 (on the first 64 digits), at 40 to 60 times the cost of a
search as long.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

import phaseret as pr
from experiments import Context, Result
from experiments.board import Board
from experiments.data import Patterns, images_of
from experiments.fit import Settings, run_solver, timed_estimate
from experiments.store import computed_once, train_all, trained_once

SHAPE = (28, 28)
SHOWN = 10


def measure(objects: Tensor) -> Tensor:
    """Intensities on the object's own grid, without padding."""
    return torch.fft.fft2(objects, norm="ortho").abs().square()


class Distorted:
    """Images that are turned, stretched and sheared a little about their centre, anew in each epoch.

    The linear map of an image is the identity plus normal numbers of standard deviation `strength`.
    """

    def __init__(self, images: Tensor, strength: float, seed: int) -> None:
        self.images, self.strength, self.seed = images, strength, seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the maps of an epoch."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        linear = torch.eye(2) + self.strength * torch.randn(len(self.images), 2, 2, generator=generator)
        self.maps = nn.functional.pad(linear, (0, 1))  # no translation: data do not change with it

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> Tensor:
        images = self.images[index][:, None]
        grid = nn.functional.affine_grid(self.maps[index], list(images.shape), align_corners=False)
        return nn.functional.grid_sample(images, grid, mode="bicubic", align_corners=False)[:, 0].clamp(0, 1)


# --- networks and what they minimise ----------------------------------------------------------------------------------


class Adversaries(nn.Module):
    """The two networks of PRCGAN, the second half as wide; from intensities to estimates it is the generator."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.generator = pr.models.PRCGANGenerator(SHAPE, SHAPE, width=width)
        self.discriminator = pr.models.PRCGANDiscriminator(SHAPE, SHAPE, width=width // 2)

    def forward(self, intensity: Tensor) -> Tensor:
        """The estimate without a latent variable."""
        estimates: Tensor = self.generator(intensity)
        return estimates


def squared(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
    """The mean squared error."""
    return nn.functional.mse_loss(net(intensity), obj)


def adversarial(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
    """The losses of generator and discriminator at once; the generator's absolute error of the trained pair.

    Each network has gradients from its own loss only, so that one Adam for both is the same as one for each.
    """
    assert isinstance(net, Adversaries)
    if not net.training:
        return nn.functional.l1_loss(net(intensity), obj)
    judge, score = net.discriminator, nn.functional.binary_cross_entropy_with_logits
    estimates = net.generator(intensity)
    fixed = {name: parameter.detach() for name, parameter in judge.named_parameters()}
    fooled = torch.func.functional_call(judge, fixed, (estimates, intensity))
    true, false = judge(obj, intensity), judge(estimates.detach(), intensity)
    yes, no = torch.ones_like(true), torch.zeros_like(true)
    generator = score(fooled, yes) + 1e3 * nn.functional.l1_loss(estimates, obj)
    return generator + (score(true, yes) + score(false, no)) / 2


def staged(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
    """The errors of all stages; the mean squared error of the last for the trained cascade."""
    assert isinstance(net, pr.models.Cascade)
    if not net.training:
        return squared(net, obj, intensity)
    *before, last = zip(net.estimates(intensity), net.targets(obj), strict=True)
    return torch.stack([nn.functional.mse_loss(*pair) for pair in before]).sum() + nn.functional.l1_loss(*last)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": partial(pr.models.MLP, SHAPE, SHAPE),
    "prcgan": Adversaries,
    "cascade": partial(pr.models.Cascade, SHAPE, SHAPE),
}
TITLES = {"mlp": "MLP", "prcgan": "PRCGAN", "cascade": "Cascade"}
LOSSES = {"mlp": squared, "prcgan": adversarial, "cascade": staged}


def settings_of(name: str, context: Context) -> Settings:
    """Everything that tells one training from another."""
    config = context.config
    common = {key: config[key] for key in ("seed", "images", "held_out")}
    return {**common, **config["networks"][name], "bfloat16": context.bfloat16}


def trained(name: str, context: Context) -> tuple[nn.Module, dict[str, Any]]:
    """The network of this name, trained if it was not yet, and what that took."""
    settings = settings_of(name, context)

    def data() -> tuple[Patterns, Patterns]:
        images = images_of(pr.datasets.mnist(context.mnist), settings["images"])
        training, validation = images.split([len(images) - settings["held_out"], settings["held_out"]])
        held_out = Patterns(validation, measure)
        if "distort" not in settings:
            return Patterns(training, measure), held_out
        return Patterns(Distorted(training, settings["distort"], settings["seed"]), measure, augment=True), held_out

    options = {key: settings[key] for key in ("width", "dropout") if key in settings}
    return trained_once(partial(NETWORKS[name], **options), LOSSES[name], data, settings, context.folder / name)


# --- the protocol -----------------------------------------------------------------------------------------------------


def source_ssim(estimates: Tensor, objects: Tensor) -> float:
    """Mean structural similarity as the sources have it: scikit-image's default of their time for floating images.

    Its window is a square of 7 pixels and its data range 2, twice the digits', which gives higher values.
    """
    from skimage.metrics import structural_similarity

    pairs = zip(estimates.flatten(0, -3).numpy(), objects.flatten(0, -3).numpy(), strict=True)
    return round(fmean(structural_similarity(*pair, data_range=2.0) for pair in pairs), 4)


def solve(intensities: Tensor, settings: Settings, solver: Callable[..., Any]) -> Tensor:
    """Estimates of all starts of a classical algorithm, (starts, N, 28, 28)."""
    algorithm = solver(settings["iterations"], beta=settings["beta"])
    result = run_solver(algorithm, intensities, constraint="nonnegative", starts=settings["starts"])
    return result.objs.transpose(0, 1).contiguous()


def searched(net: nn.Module, intensities: Tensor, search: Settings) -> Tensor:
    """The estimates of PRCGAN*, some items at a time."""
    assert isinstance(net, Adversaries)
    find = partial(pr.models.latent_optimize, net.generator, n_iter=search["steps"], lr=search["lr"])
    return torch.cat([find(part) for part in intensities.split(256)])


class DigitsBoard(Board):
    """Systems on the test digits, or on the first of them, with the sources' scores."""

    def enter(self, system: str, kind: str, runs: Tensor, seconds: float, show: bool = True, **about: Any) -> None:
        """A row, with the sources' scores of all runs."""
        alike = self.objects[: runs.shape[1]].expand_as(runs)
        more = {
            "raw_mse": round((runs - alike).square().mean().item(), 5),
            "raw_source_ssim": source_ssim(runs, alike),
            "aligned_source_ssim": source_ssim(pr.symmetry.align(runs, alike, fourier_shape=SHAPE).aligned, alike),
            "test_images": runs.shape[1],
        }
        super().enter(system, kind, runs, seconds, show, **about, **more)


def run(context: Context) -> Result:
    """Classical solvers, networks, and networks that are adapted to each pattern."""
    config = context.config
    train_all(trained, [(name, context) for name in NETWORKS], context.jobs)
    objects = images_of(pr.datasets.mnist(context.mnist, train=False), config["test_images"])
    board = DigitsBoard(objects, measure(objects), shown=SHOWN)
    classical(board, context)
    networks(board, context)
    budget = {"images": config["images"] - config["held_out"], "networks": config["networks"]}
    return Result(board.rows, config["seed"], budget, board.arrays)


def classical(board: DigitsBoard, context: Context) -> None:
    """HIO and RAAR."""
    config = context.config["classical"]
    for solver in (pr.solvers.HIO, pr.solvers.RAAR):
        name, beta = solver.__name__, config[solver.__name__]
        settings = {"iterations": config["iterations"], "starts": config["starts"], "beta": beta}
        settings["test_images"] = len(board.objects)
        compute = partial(solve, board.intensities, settings, solver)
        estimates, seconds = computed_once(context.folder / name, settings, compute)
        board.enter(f"{name} ({beta}), {config['iterations']} iterations", "classical", estimates, seconds)


def networks(board: DigitsBoard, context: Context) -> None:
    """The networks, then searches of the latent variable, and networks adapted to single patterns."""
    nets: dict[str, nn.Module] = {}
    outputs: dict[str, tuple[Tensor, float]] = {}
    for name, title in TITLES.items():
        nets[name], took = trained(name, context)
        outputs[name] = estimates, seconds = timed_estimate(nets[name], board.intensities, context.bfloat16)
        board.enter(title, "learned", estimates[None], seconds, **took)

    for search in context.config["search"]:
        settings = {**settings_of("prcgan", context), "search": search}
        find = partial(searched, nets["prcgan"], board.intensities[: search["images"]], search)
        estimates, seconds = computed_once(context.folder / f"prcgan_{search['steps']}", settings, find)
        board.enter(f"PRCGAN*, {search['steps']} steps", "learned", estimates[None], seconds)

    tuning = context.config["finetune"]
    for name in tuning["networks"]:
        settings, part = {**settings_of(name, context), "finetune": tuning}, board.intensities[: tuning["images"]]
        adapt = partial(pr.models.finetune, nets[name], part, n_iter=tuning["steps"], lr=tuning["lr"])
        estimates, seconds = computed_once(context.folder / f"{name}_finetune", settings, adapt)
        before, needed = outputs[name]
        share, title = len(part) / len(board.objects), TITLES[name]
        board.enter(f"{title}, the first {len(part)} images", "learned", before[None, : len(part)], share * needed)
        board.enter(f"{title}, fine-tuned for {tuning['steps']} steps", "learned", estimates[None], seconds)
