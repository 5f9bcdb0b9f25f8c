"""The training of the denoiser of digits, tiny: what it learns from, and what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import phaseret as pr
from experiments import denoiser, start


def test_a_network_of_doubled_pixels_gives_the_same() -> None:
    net = denoiser.network().eval()
    x = torch.rand(2, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        doubled = denoiser.for_doubled(net).eval()(x.repeat_interleave(2, -1).repeat_interleave(2, -2))
        assert torch.allclose(doubled, net(x), atol=1e-5)


@given(shift=st.tuples(st.integers(-4, 4), st.integers(-4, 4)), turned=st.booleans(), seed=st.integers(0, 99))
def test_copies_of_one_intensity_are_one_image(shift: tuple[int, int], turned: bool, seed: int) -> None:
    image = torch.zeros(28, 28)
    image[9:19, 8:20] = torch.rand(10, 12, generator=torch.Generator().manual_seed(seed))
    copy = (image.flip(0, 1) if turned else image).roll(shift, (0, 1))
    one, other = denoiser.upright(torch.stack([image, copy]))
    near = [other.roll((i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)]  # a half may be rounded either way
    assert min(float((one - x).abs().max()) for x in near) <= 1e-6
    place = torch.arange(28.0) - 14
    row = one.sum(1) @ place / one.sum()
    assert abs(row) <= 0.5 + 1e-4
    assert one.sum(1) @ (place - row) ** 3 <= 1e-2


def test_images_are_those_that_their_counts_tell() -> None:
    objects = pr.datasets.mnist(train=False)[:4]
    found = denoiser.from_counts(torch.stack(list(objects)), torch.Generator().manual_seed(0))
    assert 2 <= len(found) <= 4  # the others are not explained
    for image in found:
        assert max(float(pr.metrics.psnr(image, digit, align=False)) for digit in denoiser.upright(objects)) > 35


def test_a_network_is_trained_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = torch.stack([*pr.datasets.mnist(train=False)[:12]])
    monkeypatch.setattr(denoiser, "CHANNELS", (4, 4))
    monkeypatch.setattr(denoiser, "STARTS", 2)
    monkeypatch.setattr(denoiser, "EXPLAINED", 5.0)
    monkeypatch.setattr(start, "JUDGED", 4)
    monkeypatch.setattr(start, "BATCH", 4)
    monkeypatch.setattr(start, "images", lambda folder: torch.nn.functional.pad(digits, (2, 2, 2, 2)))
    denoiser.main(["--images", "16", "--decay", "8", "--out", str(tmp_path / "net.safetensors")])
    net = pr.models.load(str(tmp_path / "net.safetensors"))
    assert net.card["command"] == "python -m experiments.denoiser --data FOLDER --images 16 --decay 8"
    assert net.card["metrics"]["psnr_sigma_1"] > 0
    assert {x.dtype for x in net.parameters()} == {torch.float16}
    assert "sha256" in capsys.readouterr().out
