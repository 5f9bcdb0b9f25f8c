"""``phaseret compare``: two objects, or two stacks of them, after their alignment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import phaseret as pr
from commands import digit, fails, listing, prepared, run

pytest.importorskip("h5py")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return prepared(tmp_path, monkeypatch)


def test_compare_removes_the_symmetries(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    obj = digit()
    moved = torch.zeros(14, 13)
    moved[4:, 4:] = 3 * pr.symmetry.conj_flip(obj)
    np.save("moved.npy", moved)
    status, out, err = run("compare moved.npy pattern.npy --figure c.png", capsys)
    assert (status, err) == (0, "")
    assert "flip" in out
    assert "correlation       1.0000" in out
    assert "resolution        2.17 pixels" in out
    assert "c.png" in listing(folder)
    found = json.loads(run("compare moved.npy pattern.npy --json", capsys)[1])
    assert found["flipped"] is True
    assert found["scale"] == pytest.approx(1 / 3)
    assert found["relative_error"] == pytest.approx(0, abs=1e-3)
    assert found["ssim"] == pytest.approx(1)
    assert found["frc"]["value"] == pytest.approx([1] * 7, abs=1e-3)


def test_compare_does_not_see_the_sign_of_real_objects(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    obj = torch.randn(12, 12)
    np.save("a.npy", obj)
    np.save("b.npy", -obj)
    found = json.loads(run("compare a.npy b.npy --json", capsys)[1])
    assert found["relative_error"] == pytest.approx(0, abs=1e-3)
    assert found["phase"] == pytest.approx(np.pi)


def test_compare_says_that_it_took_the_object_of_a_pattern(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("simulate pattern.npy -o new.h5", capsys)[0] == 0
    out = run("compare new.h5 pattern.npy", capsys)[1]
    assert "A                 new.h5: the object that this pattern was made from, entry_1/image_1/data\n" in out
    assert "B                 pattern.npy\n" in out
    assert "correlation       1.0000" in out


def test_compare_of_stacks_scores_each_pair(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = torch.from_numpy(np.load("stack.npy"))
    moved = stack.flip(1, 2) * torch.arange(1, 6)[:, None, None]
    np.save("moved.npy", moved)
    status, out, err = run("compare moved.npy stack.npy", capsys)
    assert status == 0
    assert "(5, 10, 9) were compared as stacks of pictures. If they are volumes, use --ndim 3." in err
    assert "compared          5 pairs of objects with 2 axes" in out
    found = json.loads(run("compare moved.npy stack.npy --ndim 2 --json", capsys)[1])
    assert found["ndim"] == 2
    assert [item["scale"] for item in found["items"]] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert found["mean"]["correlation"] == pytest.approx(1)
    single = json.loads(run("compare stack.npy pattern.npy --json", capsys)[1])  # one object for all
    alone = json.loads(run("compare pattern.npy stack.npy --json", capsys)[1])
    assert len(single["items"]) == len(alone["items"]) == 5
    assert single["items"][0]["correlation"] == pytest.approx(1)
    assert single["mean"]["correlation"] < 0.99
    np.save("some.npy", stack[:, :, 1:])
    status, out, err = run("compare some.npy stack.npy --ndim 2 --figure pair.png", capsys)
    assert "figure            pair " in out


def test_compare_refuses_an_item_that_is_zero(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    obj = torch.rand(3, 8, 8)
    np.save("a.npy", obj)
    obj[1] = 0
    np.save("dark.npy", obj)
    message = "B must not be 0 everywhere, got items that are: 1 of dark.npy"
    assert message in fails("compare a.npy dark.npy --ndim 2", capsys)


def test_compare_takes_the_axes_of_an_object_from_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    volumes = torch.rand(2, 12, 12, 12) + 1
    for name, batch in (("volume.h5", 0), ("volumes.h5", slice(0, 2))):
        options = {"support": torch.ones(6, 6, 6, dtype=torch.bool), "ndim": 3, "constraint": "real"}
        pr.solvers.HIO(2)(volumes[batch], **options).save(name)
    found = json.loads(run("compare volume.h5 volume.h5 --json", capsys)[1])
    assert len(found["shift"]) == 3
    found = json.loads(run("compare volumes.h5 volume.h5 --json", capsys)[1])
    assert (found["ndim"], len(found["items"])) == (3, 2)
    assert found["items"][0]["correlation"] == pytest.approx(1)
    found = json.loads(run("compare volume.h5 volume.h5 --ndim 2 --json", capsys)[1])
    assert len(found["items"]) == 6


def test_compare_equals_the_metrics(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = torch.rand(16, 16) + 1, torch.rand(16, 16) + 1
    np.save("a.npy", a)
    np.save("b.npy", b)
    found = json.loads(run("compare a.npy b.npy --json", capsys)[1])
    best = pr.symmetry.align(a, b, scale=True)
    assert found["relative_error"] ** 2 == pytest.approx(float(best.error * 256 / b.square().sum()))
    range_ = float(b.max() - b.min())
    assert found["psnr"] == pytest.approx(float(pr.metrics.psnr(best.aligned, b, data_range=range_, align=False)))
    assert found["ssim"] == pytest.approx(float(pr.metrics.ssim(best.aligned, b, data_range=range_, align=False)))


def test_compare_takes_complex_and_real_objects(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("complex.npy", torch.polar(digit(), torch.full((10, 9), 0.5)))
    found = json.loads(run("compare complex.npy pattern.npy --json", capsys)[1])
    assert found["correlation"] == pytest.approx(1, abs=1e-4)
    assert found["phase"] == pytest.approx(-0.5, abs=1e-3)
    assert "ssim" not in found
