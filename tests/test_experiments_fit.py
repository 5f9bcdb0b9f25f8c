"""One training: interruptions and processes change nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import phaseret as pr
from fake_gpu import fake_gpu
from phaseret.operators import FourierIntensity
from processes import PROCESSES, places

pytest.importorskip("lightning")
pytestmark = pytest.mark.filterwarnings("default")

from experiments import fit as fit_module  # noqa: E402
from experiments.data import Patterns  # noqa: E402
from experiments.fit import estimate, fit, run_solver  # noqa: E402


class Net(nn.Module):
    """Without batch normalisation, whose statistics would differ between a batch and its halves."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 64), nn.Softplus())

    def forward(self, intensity: Tensor) -> Tensor:
        return self.layers(intensity.sqrt()).unflatten(-1, (8, 8))


def train(folder: Path, noise: float, place: dict[str, str] | None = None, killed_at: int = 0) -> None:
    """A training; as one of the processes of a place, and until a value of the loss at which its process is killed."""
    torch.set_num_threads(1)
    os.environ.update(place or {})
    calls = []

    def loss(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        added = noise * torch.rand_like(intensity) if net.training else 0
        return pr.losses.passive_loss(net(intensity + added), intensity)

    torch.manual_seed(0)
    objects = torch.rand(160, 8, 8)
    net, measure = Net(), FourierIntensity((16, 16))
    training, validation = (Patterns(part, measure) for part in objects.split(128))
    fit(net, loss, training, validation, {"epochs": 4, "batch_size": 16}, folder, "tiny")


def weights(folder: Path, name: str = "last") -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(folder / f"{name}.ckpt", weights_only=True)["state_dict"]
    return state


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    train(folder, 0.1)
    return folder


# --- interruptions and processes --------------------------------------------------------------------------------------


def test_a_training_says_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, 0)
    printed = capsys.readouterr().out
    assert printed.count("tiny: epoch ") == 4
    assert "tiny: epoch 4/4, validation 0.0" in printed


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill")
@pytest.mark.parametrize("moment", [14, 18])  # an epoch is 8 batches of training, 1 of validation
def test_a_training_killed_at_any_moment_ends_where_an_uninterrupted_one_ends(
    moment: int, uninterrupted: Path, tmp_path: Path
) -> None:
    killed = PROCESSES.Process(target=train, args=(tmp_path, 0.1, None, moment))
    killed.start()
    killed.join(120)
    assert killed.exitcode == -signal.SIGKILL
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 0
    train(tmp_path, 0.1)
    for name in ("last", "best"):
        resumed, expected = weights(tmp_path, name), weights(uninterrupted, name)
        assert all(torch.equal(resumed[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", ["last", "best"])
def test_a_checkpoint_with_a_flipped_bit_is_refused(name: str, uninterrupted: Path, tmp_path: Path) -> None:
    for each in ("last", "best"):
        content = bytearray((uninterrupted / f"{each}.ckpt").read_bytes())
        if each == name:
            content[len(content) // 2] ^= 1  # among the weights
        (tmp_path / f"{each}.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}\.ckpt must be a checkpoint of these experiments"):
        train(tmp_path, 0.1)


def test_two_processes_reach_what_one_reaches(tmp_path: Path) -> None:
    """As torchrun starts them."""
    both = [PROCESSES.Process(target=train, args=(tmp_path / "both", 0.0, place)) for place in places(2)]
    for process in both:
        process.start()
    train(tmp_path / "one", 0)
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    found, one = weights(tmp_path / "both"), weights(tmp_path / "one")
    for key in one:
        torch.testing.assert_close(found[key], one[key], rtol=1e-3, atol=1e-5)


def test_a_training_that_stopped_early_is_not_trained_on(tmp_path: Path) -> None:
    def flat(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
        return 0 * net(intensity).sum() + (1.0 if net.training else 2.0)

    measure = FourierIntensity((8, 8))
    data = Patterns(torch.rand(12, 4, 4), measure)
    settings = {"epochs": 9, "batch_size": 4, "patience": 2}
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16))
    first = fit(net, flat, data, data, settings, tmp_path, "tiny")
    assert first["epochs"] == 3
    expected, left = weights(tmp_path), tmp_path / ".last.ckpt.0a1b2c3d.part"
    left.touch()  # by a process that was killed
    assert fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 16)), flat, data, data, settings, tmp_path, "tiny") == first
    assert all(torch.equal(weights(tmp_path)[key], expected[key]) for key in expected)
    assert not left.exists()


def test_estimate_restores_nothing_and_keeps_items_apart() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4))
    x = torch.rand(7, 4, 4)
    torch.testing.assert_close(estimate(net, x, batch_size=3), estimate(net, x))
    assert not net.training


@pytest.mark.filterwarnings("ignore:.*starts")
def test_a_solver_runs_on_the_gpu_and_its_result_lies_where_the_data_do(monkeypatch: pytest.MonkeyPatch) -> None:
    intensity = pr.operators.fourier_intensity(torch.rand(2, 5, 6), (10, 12))
    known = {"support": torch.ones(5, 6, dtype=torch.bool), "init": torch.rand(2, 5, 6), "constraint": "nonnegative"}
    expected, devices = run_solver(pr.solvers.HIO(5), intensity, **known), []

    def step(*given: Tensor, **options: object) -> pr.solvers.Reconstruction:
        devices.extend(value.device.type for value in (*given, *options.values()) if isinstance(value, Tensor))
        return pr.solvers.HIO(5)(*given, **options)  # type: ignore[arg-type]

    with fake_gpu():
        monkeypatch.setattr(fit_module, "trained_on", lambda: torch.device("cuda"))
        found = run_solver(step, intensity, **known)
    assert devices == ["cuda"] * 3
    assert {value.device.type for value in vars(found).values() if isinstance(value, Tensor)} == {"cpu"}
    torch.testing.assert_close(found.objs, expected.objs)
