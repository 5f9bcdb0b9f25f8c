"""What was finished is not done again: trainings and computations are found by their settings; several at a time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.data import Patterns
from experiments.fit import Loss, Settings, complete, fit, load_weights
from results.provenance import replace, write_json

_hear: Callable[[Any], object] | None = None  # in a call of `run_all`


def tell(news: Any) -> None:
    """What a call of `run_all` says to its `hear`."""
    if _hear is not None:
        _hear(news)


def run_all(
    function: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    jobs: int = 1,
    hear: Callable[[Any], object] | None = None,
) -> list[Any]:
    """``[function(*call) for call in calls]``, `jobs` at a time, each in a process with its share of the CPU's cores.

    On one GPU the processes share it. A failed call does not stop the others; the first error is raised at the end.
    What the calls `tell`, `hear` is called with, here and one at a time.
    """
    if jobs > 1 and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("jobs must be 1 under torchrun, where each training takes all processes. Leave out --jobs.")
    threads = torch.get_num_threads()
    if jobs == 1:
        _begin(threads, hear)
        try:
            return [function(*call) for call in calls]
        finally:
            _begin(threads, None)
    context = get_context("spawn")
    news = context.SimpleQueue()
    ear = Thread(target=_listen, args=(news.get, hear))
    ear.start()
    try:
        with ProcessPoolExecutor(jobs, context, _begin, (max(1, threads // jobs), news.put)) as pool:
            futures = [pool.submit(function, *call) for call in calls]
    finally:
        news.put(None)
        ear.join()
    return [future.result() for future in futures]


def _begin(threads: int, hear: Callable[[Any], object] | None) -> None:
    global _hear
    torch.set_num_threads(threads)
    _hear = hear


def _listen(get: Callable[[], Any], hear: Callable[[Any], object] | None) -> None:
    for news in iter(get, None):
        if hear is not None:
            hear(news)


def train_all(
    trained: Callable[..., tuple[nn.Module, dict[str, Any]]], calls: Sequence[tuple[Any, ...]], jobs: int = 1
) -> list[dict[str, Any]]:
    """What the trainings took, in the order of the calls; `trained` is made of `trained_once` and finds them again."""
    return run_all(_took, [(trained, *call) for call in calls], jobs)


def _took(trained: Callable[..., tuple[nn.Module, dict[str, Any]]], *call: Any) -> dict[str, Any]:
    return trained(*call)[1]


def finished(folder: Path, settings: Settings) -> dict[str, Any] | None:
    """What `finish` left in the folder for the same settings, None if it did not."""
    path = folder / "metrics.json"
    if not path.exists():
        return None
    saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return saved["metrics"] if saved["settings"] == settings else None


def finish(folder: Path, settings: Settings, metrics: dict[str, Any]) -> dict[str, Any]:
    """Keep what a training gave, and with which settings, so that it is not done again."""
    write_json(folder / "metrics.json", {"settings": settings, "metrics": metrics})
    return metrics


def trained_once(
    network: Callable[[], nn.Module],
    loss: Loss,
    data: Callable[[], tuple[Patterns, Patterns]],
    settings: Settings,
    folder: Path,
    test: Callable[[nn.Module], Tensor] | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """The network that these settings give, ready to be used, and what its training took; trained if it was not yet.

    Args:
        network: Makes the network; called after `torch.manual_seed` with the settings' seed.
        loss: As for `fit`.
        data: Gives the training and the validation data; called only if there is something to train.
        settings: As for `fit`.
        folder: For the checkpoints, the logs and metrics.json.
        test: From the trained network to the estimates that `estimates_in` shall find.
    """
    torch.manual_seed(complete(settings)["seed"])
    net, took = network(), finished(folder, settings)
    if took is None:
        took = fit(net, loss, *data(), settings, folder, title="/".join(folder.parts[-3:]))
        if test is not None:
            save_array(folder / ESTIMATES, test(net))
        finish(folder, settings, took)
    else:
        load_weights(net, folder / "best.ckpt")
    return net.eval(), took


def computed_once(folder: Path, settings: Settings, compute: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """What `compute` gives with these settings, and the seconds it took; from the folder if it was done before."""
    found = finished(folder, settings)
    if found is None:
        began = time.perf_counter()
        result = compute()
        found = {"seconds": time.perf_counter() - began}
        save_array(folder / ESTIMATES, result)
        finish(folder, settings, found)
    return estimates_in(folder), found["seconds"]


ESTIMATES = "estimates.npy"


def estimates_in(folder: Path) -> Tensor:
    """What `trained_once` or `computed_once` left there."""
    return torch.from_numpy(np.load(folder / ESTIMATES))


def save_array(path: Path, array: Tensor) -> None:
    """Write a tensor as NumPy's file."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.save(file, array.numpy())

    replace(path, write)
