"""Kills: whatever moment a process is killed at, the next one goes on and ends where an undisturbed one ends."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

import phaseret as pr
from experiments.data import Patterns
from experiments.fit import fit
from phaseret.cli import main
from tools.fuzz._attempt import Refused, Target, Wrong

FILE_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
LONG_AGO = time.time() - 3 * 86400
MEASURE = pr.operators.FourierIntensity((8, 8))
CARD = {"data": "none", "command": "none", "metrics": {}, "licence": "BSD-3-Clause"}


def objects(count: int) -> Tensor:
    return torch.rand(count, 4, 4, generator=torch.Generator().manual_seed(0))


# --- jobs ------------------------------------------------------------------------------------------------------------


def training() -> dict[str, Tensor]:
    """Four epochs of `experiments.fit`, with noise: the weights of the best one and of the last."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 16), nn.Unflatten(-1, (4, 4)))

    def loss(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
        return pr.losses.passive_loss(net(intensity + torch.rand_like(intensity)), intensity)

    train, validation = (Patterns(part, MEASURE) for part in objects(40).split(32))
    fit(net, loss, train, validation, {"epochs": 4, "batch_size": 8}, Path("run"), "tiny", lambda news: None)
    last = torch.load("run/last.ckpt", weights_only=True)["state_dict"]
    return {**net.state_dict(), **{f"last {name}": value for name, value in last.items()}}


def reconstruction(*more: str) -> dict[str, Tensor]:
    """The command, with what it is told to keep on the way."""
    if not Path("in.npz").exists():
        pattern = MEASURE(objects(4))
        pr.io.save_intensity("in.npz", pattern if "--block" in more else pattern[0])
    words = ["reconstruct", "in.npz", "--support", "4,4", "--starts", "2", *more, "-o", "out.h5", "--overwrite"]
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = main(words)
    if code:
        raise (Wrong if "internal" in said.getvalue() else Refused)(said.getvalue())
    return {name: x for name, x in pr.io.load_reconstruction("out.h5").items() if isinstance(x, Tensor)}


def saving() -> dict[str, Tensor]:
    """Everything that is written, over what was there before; what lies there meanwhile is whole."""
    support = torch.ones(4, 4, dtype=torch.bool)
    found = pr.solvers.ErrorReduction(3)(MEASURE(objects(1)[0]), support=support, constraint="complex", seed=0)
    net = pr.models.MLP((4, 4), (8, 8), width=8)
    if Path("net").exists():
        pr.models.load("net")
    for name in ("r.h5", "r.npz"):
        if Path(name).exists():
            pr.io.load_reconstruction(name)
    if Path("i.cxi").exists():
        pr.io.load_intensity("i.cxi")
    for _ in range(3):
        pr.io.save_reconstruction("r.h5", found, overwrite=True)
        pr.io.save_reconstruction("r.npz", found, overwrite=True)
        pr.io.save_intensity("i.cxi", MEASURE(objects(1)[0]), overwrite=True)
        pr.models.save(net, "net", card=CARD, overwrite=True)
    return {"obj": pr.io.load_reconstruction("r.h5")["obj"], "intensity": pr.io.load_intensity("i.cxi").intensity}


ABOUT: dict[str, tuple[str, Callable[[], dict[str, Tensor]]]] = {
    "kill-training": ("trainings of experiments", training),
    "kill-stack": (
        "phaseret reconstruct of a stack",
        partial(reconstruction, "--ndim", "2", "--block", "1", "--schedule", "2*(hio:40,er:10)"),
    ),
    "kill-pattern": (
        "phaseret reconstruct --checkpoint-every",
        partial(reconstruction, "--checkpoint-every", "25", "--schedule", "4*(hio:40,er:10)"),
    ),
    "kill-saving": ("results, patterns and weights being saved", saving),
}
JOBS = {name: job for name, (_, job) in ABOUT.items()}

# --- kills -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing is warned of, and nothing printed."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(open(os.devnull, "w")):
        warnings.simplefilter("ignore")
        yield


def in_a_process(job: Callable[[], object], moment: str = "") -> int:
    """Do the job in a process that is killed at the moment: "time SECONDS" or "event NUMBER", an access to a file."""
    kind, _, number = moment.partition(" ")
    child = os.fork()
    if not child:
        try:
            if kind == "event":
                left = [int(number)]

                def watch(event: str, arguments: Any) -> None:
                    if event in FILE_EVENTS:
                        left[0] -= 1
                        if left[0] < 0:
                            os.kill(os.getpid(), signal.SIGKILL)

                sys.addaudithook(watch)
            with quiet():
                job()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(1)
    if kind == "time":
        time.sleep(float(number))
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@cache
def undisturbed(name: str, folder: Path) -> tuple[dict[str, Tensor], set[str], float]:
    """What the job gives, the files that it leaves, and its seconds."""
    before = Path.cwd()
    os.chdir(folder)
    with quiet():
        JOBS[name]()  # loads what it needs
        for file in list(folder.iterdir()):
            if file.is_file() and file.name != "in.npz":
                file.unlink()
        began = time.monotonic()
        found = JOBS[name]()
    os.chdir(before)
    return found, left_in(folder), time.monotonic() - began


def left_in(folder: Path) -> set[str]:
    """The files, but for logs, of which each start writes its own."""
    names = {str(file.relative_to(folder)) for file in folder.rglob("*")}
    return {name for name in names if not re.search(r"/(log|tensorboard)(/|$)", name)}


def run(name: str, folder: Path, data: bytes) -> int:
    """Kill the job at each of the moments, one line each; then let it come to its end. How often it was killed."""
    expected, files, _ = undisturbed(name, folder)
    codes = [in_a_process(JOBS[name], moment) for moment in data.decode().splitlines()]
    if 1 in codes:
        raise Wrong("a job that was to go on gave an error")
    for file in folder.rglob("*"):
        os.utime(file, (LONG_AGO, LONG_AGO))
    try:
        with quiet():
            found = JOBS[name]()
    except Exception as error:
        raise Wrong(f"a job that was to go on gave an error: {error}") from error
    if lost := [key for key in expected if not torch.equal(expected[key], found[key])]:
        raise Wrong(f"another result than an undisturbed one: {lost}")
    if left := left_in(folder) - files:
        raise Wrong(f"left behind: {re.sub('[0-9a-f]{8}|[0-9]+', 'X', ', '.join(sorted(left)))}")
    return codes.count(-signal.SIGKILL)


def seeds(name: str, folder: Path) -> list[bytes]:
    seconds = undisturbed(name, folder)[2]
    return [f"time {seconds / 2:.3f}".encode(), b"event 30"]


def mutate(name: str, rng: Random, seeds: Sequence[bytes]) -> bytes:
    """One to three moments: half of them in time, half at an access to a file."""
    longest = 2 * float(seeds[0].split()[1])
    draws = [rng.random() < 0.5 for _ in range(rng.choice((1, 1, 2, 3)))]
    moments = [
        f"time {rng.random() * longest:.3f}" if x else f"event {int(rng.random() * rng.choice((20, 200)))}"
        for x in draws
    ]
    return "\n".join(moments).encode()


TARGETS = {
    name: Target(
        about,
        partial(seeds, name),
        partial(run, name),
        partial(mutate, name),
        seconds=60,
        batch=1,
    )
    for name, (about, _) in ABOUT.items()
}
