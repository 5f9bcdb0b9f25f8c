"""The trainings of the examples: orders, interruptions and processes change nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from phaseret.datasets import SymmetryVariant
from phaseret.operators import FourierIntensity

pytest.importorskip("lightning")
pytestmark = pytest.mark.filterwarnings("default")

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

# A network without batch normalisation, whose statistics would differ between a batch and its halves.
SCRIPT = """
import sys
from pathlib import Path
import torch
from torch import nn
import phaseret as pr
from training import Patterns, fit

def loss(net, obj, intensity):
    noise = float(sys.argv[3]) * torch.rand_like(intensity) if net.training else 0
    return pr.losses.passive_loss(net(intensity + noise), intensity)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 64), nn.Softplus())
    def forward(self, intensity):
        return self.layers(intensity.sqrt()).unflatten(-1, (8, 8))

if __name__ == "__main__":
    torch.manual_seed(0)
    objects = torch.rand(160, 8, 8)
    net, measure = Net(), pr.operators.FourierIntensity((16, 16))
    settings = {"epochs": int(sys.argv[2]), "batch_size": 16}
    training, validation = (Patterns(part, measure) for part in objects.split(128))
    fit(net, loss, training, validation, settings, Path(sys.argv[1]), "tiny")
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "tiny.py"
    path.write_text(SCRIPT)
    return path


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(EXAMPLES), "OMP_NUM_THREADS": "1"}


def weights(folder: Path, name: str = "last") -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(folder / f"{name}.ckpt", weights_only=True)["state_dict"]
    return state


@pytest.fixture(scope="module")
def uninterrupted(script: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    command = [sys.executable, str(script), str(folder), "8", "0.1"]
    printed = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True).stdout
    assert printed.count("tiny: epoch ") == 8
    assert "tiny: epoch 8/8, validation 0.0" in printed
    return folder


# --- interruptions and processes --------------------------------------------------------------------------------------


def test_a_training_killed_at_any_moment_ends_where_an_uninterrupted_one_ends(
    script: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    command = [sys.executable, str(script), str(tmp_path), "8", "0.1"]
    killed = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not (tmp_path / "last.ckpt").exists() and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] < 7
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    for name in ("last", "best"):
        resumed, expected = weights(tmp_path, name), weights(uninterrupted, name)
        assert all(torch.equal(resumed[key], expected[key]) for key in expected)


def test_two_processes_reach_what_one_reaches(script: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, python in (("one", [sys.executable]), ("both", launcher)):
        command = [*python, str(script), str(tmp_path / name), "8", "0"]
        subprocess.run(command, env=environment(), check=True, capture_output=True)
    both, one = weights(tmp_path / "both"), weights(tmp_path / "one")
    for key in one:
        torch.testing.assert_close(both[key], one[key], rtol=1e-3, atol=1e-5)


def test_a_training_that_stopped_early_is_not_trained_on(tmp_path: Path) -> None:
    from training import Patterns, fit

    def flat(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
        return 0 * net(intensity).sum() + (1.0 if net.training else 2.0)

    measure = FourierIntensity((8, 8))
    data = Patterns(torch.rand(12, 4, 4), measure)
    settings = {"epochs": 9, "batch_size": 4, "patience": 2}
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16))
    first = fit(net, flat, data, data, settings, tmp_path, "tiny")
    assert first["epochs"] == 3
    expected = weights(tmp_path)
    assert fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 16)), flat, data, data, settings, tmp_path, "tiny") == first
    assert all(torch.equal(weights(tmp_path)[key], expected[key]) for key in expected)


# --- data -------------------------------------------------------------------------------------------------------------


def variant() -> SymmetryVariant:
    return SymmetryVariant(torch.rand(21, 6, 6), canvas=(8, 8), seed=3)


def test_batches_depend_on_seed_and_epoch_alone_and_ranks_share_them() -> None:
    from training import Batches, Patterns

    data = Patterns(variant(), FourierIntensity((16, 16)))
    first = list(Batches(data, 4, seed=1))
    assert sorted(chain.from_iterable(first)) == list(range(21))
    assert first == list(Batches(data, 4, seed=1)) != list(Batches(data, 4, seed=2))
    again = Batches(data, 4, seed=1)
    again.set_epoch(1)
    assert list(again) != first
    ranks = [list(Batches(data, 4, 1, rank, 2)) for rank in (0, 1)]
    for whole, *parts in zip(first[:-1], *ranks, strict=False):
        assert sorted(whole) == sorted(chain.from_iterable(parts))
    assert [len(parts[-1]) for parts in ranks] == [1, 1]  # one item is left over: both ranks need one
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 2 processes, got 5"):
        Batches(data, 5, 1, 0, 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_is_the_same_with_any_number_of_workers(workers: int) -> None:
    from training import Batches, Patterns

    torch.manual_seed(0)
    data = Patterns(variant(), FourierIntensity((16, 16)), augment=True)
    sampler = Batches(data, 4, seed=1)
    loader = DataLoader(data, batch_size=None, sampler=sampler, num_workers=workers)
    epochs = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        epochs.append(torch.cat([objects for objects, _ in loader]))
    data.objects.set_epoch(0)
    assert torch.equal(epochs[0], epochs[2])
    assert torch.equal(epochs[0], data.objects[list(chain.from_iterable(Batches(data, 4, seed=1)))])
    places = data.objects.shifts
    data.objects.set_epoch(1)
    assert not torch.equal(data.objects.shifts, places)
    torch.testing.assert_close(epochs[1].sum(0), data.objects[:].sum(0))  # in another order


def test_measured_patterns_cannot_be_augmented() -> None:
    from training import Patterns

    with pytest.raises(ValueError, match="augment=True moves the objects, and their measured intensities would no"):
        Patterns(variant(), FourierIntensity((16, 16)), torch.rand(21, 16, 16), augment=True)


# --- several trainings ------------------------------------------------------------------------------------------------


def test_run_all_gives_results_in_order_and_the_first_error() -> None:
    from training import run_all

    calls = [(2, 3), (3, 2), (10, 2)]
    assert run_all(pow, calls) == run_all(pow, calls, jobs=2) == [8, 9, 100]
    with pytest.raises(ZeroDivisionError):
        run_all(pow, [(2, 3), (0, -1), (0, 0)], jobs=2)


def test_several_trainings_at_once_and_several_processes_exclude_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    from training import run_all

    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="jobs must be 1 under torchrun"):
        run_all(pow, [(2, 3)], jobs=2)


def test_a_finished_training_is_known_by_its_settings(tmp_path: Path) -> None:
    from training import finish, finished

    settings: dict[str, Any] = {"images": 3, "photons": None, "channels": [8, 16]}
    assert finished(tmp_path / "new", settings) is None
    assert finish(tmp_path / "new", settings, {"loss": 0.5}) == {"loss": 0.5}
    assert finished(tmp_path / "new", settings) == {"loss": 0.5}
    assert finished(tmp_path / "new", {**settings, "images": 4}) is None


def test_estimate_restores_nothing_and_keeps_items_apart() -> None:
    from training import estimate

    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4))
    x = torch.rand(7, 4, 4)
    torch.testing.assert_close(estimate(net, x, batch_size=3), estimate(net, x))
    assert not net.training
