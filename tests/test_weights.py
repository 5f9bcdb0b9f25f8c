"""The trained networks that come with the package: whole, small, described, and as good as their cards say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import phaseret as pr

pytest.importorskip("safetensors")

WEIGHTS = Path(pr.models.__file__).parent / "weights"
FILES = sorted(WEIGHTS.glob("*.safetensors"))


def published() -> dict[str, str]:
    """The checksum of each file in the table of the README."""
    text = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `(\w+\.safetensors)` \|.*\| `([0-9a-f]{64})` \|$", text, re.MULTILINE))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_file_is_small_and_has_the_published_checksum(file: Path) -> None:
    assert file.stat().st_size < 6e6
    net = pr.models.load(file.stem, sha256=published()[file.name])
    assert net.card["metrics"]
    assert "python " in net.card["command"]


def test_nothing_is_published_that_is_not_there() -> None:
    assert set(published()) == {file.name for file in FILES}


@pytest.mark.parametrize(("name", "better_than"), [("unet_dnn_p", 17.0), ("unet_invariant", 18.0)])
def test_networks_of_digits_score_as_their_cards_say(name: str, better_than: float, data_dir: Path) -> None:
    digits = pr.datasets.mnist(data_dir / "mnist", train=False)[:40]
    objects = pr.datasets.SymmetryVariant(digits, seed=1)[:]
    net = pr.models.load(name)
    with torch.no_grad():
        estimates = net(pr.operators.fourier_intensity(objects, (64, 64)))
    psnr = pr.metrics.psnr(estimates, objects).item()
    assert psnr > better_than
    assert psnr == pytest.approx(net.card["metrics"]["aligned_psnr"], abs=1)


def test_the_start_of_a_solver_is_as_near_as_its_card_says(data_dir: Path) -> None:
    digits = pr.datasets.mnist(data_dir / "mnist", train=False)[:100]
    objects = pr.datasets.SymmetryVariant(digits, seed=1)[:]
    net = pr.models.load("unet_start")
    with torch.no_grad():
        estimates = net(pr.operators.fourier_intensity(objects, (64, 64)))
    error = pr.symmetry.align(estimates, objects, fourier_shape=(64, 64)).error / objects.square().mean((1, 2))
    assert error.sqrt().median().item() == pytest.approx(net.card["metrics"]["median_relative_error"], abs=0.05)


def test_the_denoiser_of_digits_does_what_its_card_says(data_dir: Path) -> None:
    denoiser = pytest.importorskip("experiments.denoiser")  # needs lightning
    digits = denoiser.upright(pr.datasets.mnist(data_dir / "mnist", train=False)[:200])
    net = pr.models.load("unet_denoiser").float()
    noisy = digits + 0.3 * torch.randn(digits.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        clean = net(noisy.repeat_interleave(2, -1).repeat_interleave(2, -2))
    psnr = pr.metrics.psnr(clean, digits, align=False).item()
    assert psnr == pytest.approx(net.card["metrics"]["psnr_sigma_0.3"], abs=0.7)
