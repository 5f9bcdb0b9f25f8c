"""The training of the denoiser of digits, tiny: what it learns from, and what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import phaseret as pr
from experiments import denoiser, start


def test_a_network_of_doubled_pixels_gives_the_same() -> None:
    net = denoiser.network().eval()
    x = torch.rand(2, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        doubled = denoiser.for_doubled(net).eval()(x.repeat_interleave(2, -1).repeat_interleave(2, -2))
        assert torch.allclose(doubled, net(x), atol=1e-5)


def test_a_network_is_trained_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(denoiser, "CHANNELS", (4, 4))
    monkeypatch.setattr(start, "JUDGED", 4)
    monkeypatch.setattr(
        start, "images", lambda folder: torch.rand(70, 32, 32, generator=torch.Generator().manual_seed(0))
    )
    denoiser.main(["--images", "100", "--decay", "64", "--out", str(tmp_path / "net.safetensors")])
    net = pr.models.load(str(tmp_path / "net.safetensors"))
    assert net.card["command"] == "python -m experiments.denoiser --data FOLDER --images 100 --decay 64"
    assert net.card["metrics"]["psnr_sigma_1"] > 0
    assert {x.dtype for x in net.parameters()} == {torch.float16}
    assert "sha256" in capsys.readouterr().out
