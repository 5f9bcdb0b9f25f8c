"""Digits, flipped and shifted on a 32 x 32 canvas, from 64 x 64 noise-free intensities: the paper's own problem.

All systems know the canvas and that the object is not negative. The networks are the U-Nets of the paper's Fig. 5
(``fig5``), trained on objects (DNN-V), on intensities (DNN-P) and on objects up to symmetry (invariant), and the two
small ones that come with the package, whose input is the autocorrelation. Each network is also adapted to single
patterns with :func:`~phaseret.models.finetune` (the first digits only, as the column `images` says; `network psnr` is
the network's own score there), and its output goes into RRR as a start. The unrolled networks start from the same
random images as the algorithms beside them, which run for as many projections on the data, with their default
relaxation and with the constant one that is best on training digits. What starts at random is scored as one run, and
as the best of three by the residual.

What was seen: no network solves a digit in its one pass; 100 steps of `finetune` add 11 to 18 dB and solve up to three
in four of those that were learned with the symmetry in mind, none of DNN-V's, in several hundred times the time of 100
iterations of RRR, which solve 95 to 99 % from any network and 86 % from a random start. RAAR with learned relaxations
gains most of the unrolled networks: 4.1 dB over RAAR with the best constant one (5.4 over 0.9). Learned
relaxations of HIO gain nothing. A denoiser lifts HIO to 0.1 dB above the best constant one and takes 1.4 dB from RAAR,
and keeps the best estimates from becoming exact. RRR from three starts needs no network at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import phaseret as pr
from experiments import Context, Result, Row, digits
from experiments.board import Board
from experiments.data import HELD_OUT, Patterns, divided, images_of
from experiments.digits import CANVAS
from experiments.fit import Settings, run_solver, timed_estimate
from experiments.paper import fig5
from experiments.scoring import PART, row
from experiments.store import computed_once, train_all, trained_once

OBJECTIVES = {"dnn_v": "U-Net DNN-V", "dnn_p": "U-Net DNN-P", "invariant": "U-Net InvariantLoss"}
SMALL = {"dnn_p": "small U-Net DNN-P", "invariant": "small U-Net InvariantLoss"}
ALGORITHMS: dict[str, Callable[..., pr.solvers.Algorithm]] = {
    "er": pr.solvers.ErrorReduction,
    "hio": pr.solvers.HIO,
    "raar": partial(pr.solvers.RAAR, beta=0.9),
    "rrr": pr.solvers.RRR,
}
SHOWN = 12
LICENCE = "BSD-3-Clause, as phaseret. MNIST's page states no licence; it is usually given as CC BY-SA 3.0."


def run(context: Context) -> Result:
    """Networks, networks then finetune and RRR, unrolled networks, and the classical algorithms."""
    config = context.config
    calls = networks(context)
    train_all(digits.trained, list(calls.values()), context.jobs)
    for name, settings in config["unrolled"].items():
        unrolled(context, name, settings)
    board = DigitsBoard(context)
    board.classical()
    for name, settings in config["unrolled"].items():
        board.unrolled(name, *unrolled(context, name, settings))
    for system, call in calls.items():
        net, _ = digits.trained(*call)
        board.network(system, net, call[0])
        if system in SMALL.values():
            keep(net, board.rows, system, call[0], context.folder)
    budget = {name: config[name] for name in ("fig5", "small")} | {"test_images": config["test_images"]}
    return Result(board.rows, config["seed"], budget, board.arrays)


# --- systems that are trained -----------------------------------------------------------------------------------------


def networks(context: Context) -> dict[str, tuple[Settings, Path | None, Path]]:
    """What `digits.trained` is called with for each U-Net; those of fig5 lie where that experiment has them."""
    config = context.config
    folder = context.folder.absolute().parents[2] / "paper" / context.folder.parent.name / "fig5"
    paper = Context(config["fig5"], context.data, folder, context.jobs, context.bfloat16)
    seed = config["fig5"]["headline_seeds"][0]
    calls = {title: fig5.call(paper, "flip_shift", seed, name) for name, title in OBJECTIVES.items()}
    for name, title in SMALL.items():
        settings = {
            **config["small"],
            "variant": "flip_shift",
            "objective": name,
            "seed": config["seed"],
            "test_images": config["test_images"],
            "bfloat16": context.bfloat16,
        }
        calls[title] = (settings, context.mnist, context.folder / "small" / name)
    return calls


def unrolled(context: Context, name: str, settings: Settings) -> tuple[nn.Module, dict[str, Any]]:
    """A trained unrolled network and what its training took."""
    settings = {**settings, "seed": context.config["seed"]}
    options = {key: settings[key] for key in ("algorithm", "stages", "channels")}
    options["n_iter"] = settings["iterations"]

    def data() -> tuple[Patterns, Patterns]:
        training, validation = divided(images_of(pr.datasets.mnist(context.mnist), settings["images"]))
        seed = settings["seed"]
        return digits.patterns(digits.DEFAULTS, training, seed), digits.patterns(digits.DEFAULTS, validation, seed + 1)

    network = partial(pr.models.Unrolled, CANVAS, digits.FOURIER_SHAPE, **options)
    return trained_once(network, log_errors, data, settings, context.folder / folder_name(name))


def log_errors(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
    """Mean log of the errors of all stages, up to symmetry, from a random start."""
    estimates = net.estimates(intensity, torch.rand_like(obj))
    return log_error(estimates, obj.expand_as(estimates))


def log_error(estimates: Tensor, objects: Tensor) -> Tensor:
    """Mean log of the errors up to symmetry, in which the exact estimates do not drown the others."""
    return (pr.losses.invariant_loss(estimates, objects, reduction="none") + 1e-4).log().mean()


def keep(net: nn.Module, rows: list[Row], system: str, settings: Settings, folder: Path) -> None:
    """Write a small network as a file that can come with the package."""
    scores = next(row for row in rows if row["system"] == system)
    trained_on = "these intensities alone" if settings["objective"] == "dnn_p" else "the objects, up to symmetry"
    card = {
        "data": f"MNIST (LeCun, Cortes, Burges), the first {settings['images']} training digits, one in "
        f"{HELD_OUT} of them for early stopping, flipped or not and placed on a canvas of 32 x 32 pixels; "
        f"noise-free intensities of 64 x 64 pixels. Trained on {trained_on}.",
        "command": f"python -m experiments.run mnist64 --preset {folder.parent.name} --data FOLDER",
        "metrics": {
            "test": f"the first {settings['test_images']} test digits, flipped and placed likewise",
            **{key: scores[key] for key in ("aligned_psnr", "aligned_ssim", "relative_magnitude_error")},
        },
        "licence": LICENCE,
    }
    path = folder / f"unet_{settings['objective']}.safetensors"
    print(path, pr.models.save(net, path, card=card, overwrite=True))


def folder_name(system: str) -> str:
    """A system's name as that of a folder."""
    return system.lower().replace(",", "").replace(" ", "_")


# --- scores -----------------------------------------------------------------------------------------------------------


class DigitsBoard(Board):
    """Systems on the test digits, and the random starts of those that need one."""

    def __init__(self, context: Context) -> None:
        self.context, self.config = context, context.config
        test = {"test_images": self.config["test_images"]}
        super().__init__(*digits.test_patterns(test, context.mnist), shown=SHOWN)
        self.known = {"support": torch.ones(CANVAS, dtype=torch.bool), "constraint": "nonnegative"}
        generator = torch.Generator().manual_seed(self.config["seed"])
        self.starts = torch.rand(len(self.objects), self.config["starts"], *CANVAS, generator=generator)

    def enter(self, system: str, kind: str, runs: Tensor, seconds: float, show: bool = True, **about: Any) -> None:
        """A row of one run of those given, (K, N, n1, n2), and if there are several another of the best."""
        count = len(runs)
        super().enter(system, kind, runs[:1], seconds / count, show, **about)
        if count > 1:
            super().enter(f"{system}, best of {count}", kind, runs, seconds, show=False, **about)

    def network(self, system: str, net: nn.Module, settings: Settings) -> None:
        """A network, and what finetune and RRR make of it."""
        few, how = self.config["finetune"]["images"], dict(self.config["finetune"])
        del how["images"]
        how["n_iter"] = how.pop("steps")
        outputs, needed = timed_estimate(net, self.intensities, settings["bfloat16"])
        self.enter(system, "learned", outputs[None], needed, parameters=sum(p.numel() for p in net.parameters()))
        adapted, seconds = computed_once(
            self.context.folder / folder_name(f"{system} finetune"),
            {**settings, "finetune": self.config["finetune"]},
            partial(pr.models.finetune, net, self.intensities[:few], **how),
        )
        own = row(system, "learned", outputs[None, :few], self.objects[:few], self.intensities[:few], seconds=0.0)
        about = {"images": few, "steps": how["n_iter"], "network_psnr": own["aligned_psnr"]}
        self.enter(f"{system}, finetune", "learned", adapted[None], seconds, **about)
        self.rrr(f"{system}, RRR", "learned", outputs[:, None], needed)

    def rrr(self, system: str, kind: str, starts: Tensor, needed: float) -> None:
        """Some iterations of RRR from these starts (N, K, n1, n2)."""
        how = self.config["rrr"]
        solver = pr.solvers.RRR(how["iterations"], beta=how["beta"])
        found = run_solver(solver, self.intensities, init=starts, starts=starts.shape[1], **self.known)
        self.enter(system, kind, found.objs.movedim(1, 0), needed + found.seconds, show=False, **how)

    def solve(self, system: str, algorithm: str, iterations: int, **options: float) -> None:
        """An algorithm from the random starts."""
        solver = ALGORITHMS[algorithm](iterations, **options)
        found = run_solver(solver, self.intensities, init=self.starts, starts=self.starts.shape[1], **self.known)
        self.enter(system, "classical", found.objs.movedim(1, 0), found.seconds, iterations=iterations, **options)

    def best_beta(self, algorithm: str, iterations: int) -> float:
        """The one relaxation of all iterations that is best on training digits, by the log error of their estimates."""
        objects, intensities, starts = self.tuning

        def error(beta: float) -> float:
            solver = ALGORITHMS[algorithm](iterations, beta=beta)
            found = run_solver(solver, intensities, init=starts, starts=1, **self.known)
            return log_error(found.obj, objects).item()

        best: float = min(self.config["tuning"][algorithm], key=error)
        return best

    @cached_property
    def tuning(self) -> tuple[Tensor, Tensor, Tensor]:
        """Training digits, their intensities, and one random start each."""
        seed = self.config["seed"]
        images = images_of(pr.datasets.mnist(self.context.mnist), self.config["tuning"]["images"])
        objects, intensities = digits.patterns(digits.DEFAULTS, images, seed)[:]
        starts = torch.rand(len(objects), 1, *CANVAS, generator=torch.Generator().manual_seed(seed))
        return objects, intensities, starts

    def classical(self) -> None:
        """The algorithms with as many iterations as they need, and RRR with as few as behind a network."""
        for name, iterations in self.config["classical"].items():
            self.solve(name.upper(), name, iterations)
        self.rrr("RRR, few iterations", "classical", self.starts, 0.0)

    def unrolled(self, system: str, net: nn.Module, took: dict[str, Any]) -> None:
        """An unrolled network from the random starts, after its algorithm with as many projections on the data.

        That has the relaxation of the table, and the constant one that is best on training digits.
        """
        count, plain = projections(net), f"{net.algorithm.upper()}, {projections(net)} iterations"
        if plain not in self.arrays:
            self.solve(plain, net.algorithm, count)
            beta = self.best_beta(net.algorithm, count)
            self.solve(f"{plain}, tuned beta", net.algorithm, count, beta=beta)
        began = time.perf_counter()
        runs = [self._applied(net, starts) for starts in self.starts.unbind(1)]
        seconds = time.perf_counter() - began
        self.enter(system, "learned", torch.stack(runs), seconds, iterations=count, parameters=took["parameters"])

    def _applied(self, net: nn.Module, starts: Tensor) -> Tensor:
        with torch.no_grad():
            parts = zip(self.intensities.split(PART), starts.split(PART), strict=True)
            return torch.cat([net(intensity, init) for intensity, init in parts])


def projections(net: nn.Module) -> int:
    """How often an unrolled network projects on the data."""
    stages = len(net.beta)
    return stages * net.n_iter + (stages if len(net.networks) else 1)
