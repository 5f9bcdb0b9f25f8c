"""One training: interruptions and processes change nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from phaseret.operators import FourierIntensity

pytest.importorskip("lightning")
pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[1]

# A network without batch normalisation, whose statistics would differ between a batch and its halves.
SCRIPT = """
import sys
from pathlib import Path
import torch
from torch import nn
import phaseret as pr
from experiments.data import Patterns
from experiments.fit import fit

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
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


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
    from experiments.data import Patterns
    from experiments.fit import fit

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


def test_estimate_restores_nothing_and_keeps_items_apart() -> None:
    from experiments.fit import estimate

    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4))
    x = torch.rand(7, 4, 4)
    torch.testing.assert_close(estimate(net, x, batch_size=3), estimate(net, x))
    assert not net.training
