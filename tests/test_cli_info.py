"""``phaseret info`` and ``phaseret simulate``: what can be seen in a pattern, and how one is made."""

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


def test_info_prints_what_inspect_finds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run("info pattern.h5 --figure p.png", capsys)
    assert (status, err) == (0, "")
    assert out == f"{pr.io.inspect(pr.io.load_intensity('pattern.h5'))}\n"
    assert "object, about     10 x 9 pixels" in out
    assert "centre by Friedel (12, 10), symmetry 1.000" in out
    assert (folder / "p.png").read_bytes().startswith(b"\x89PNG")


def test_info_prints_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run("info stack.h5 --json", capsys)[1])
    assert found["patterns"] == 5
    assert found["object_shape"] == [10, 9]
    assert found["warnings"] == []


def test_info_reads_as_it_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = np.random.default_rng(0).random((4, 12, 12)).astype(np.float32) + 1
    good = np.ones((12, 12), np.uint8)
    good[0, :3] = 0
    np.savez("x.npz", a=frames**0.5, b=frames)
    np.save("good.npy", good)
    np.save("bad.npy", 1 - good)
    np.save("each.npy", np.stack([good] * 4))
    line = "info x.npz::a --json --ndim 2 --index 1:3 --kind magnitude --center 5,6 --saturation 2"
    found = json.loads(run(line, capsys)[1])
    expected = pr.io.load_intensity(
        "x.npz", key="a", ndim=2, index=slice(1, 3), kind="magnitude", center=(5, 6), saturation=2
    )
    assert found["total"] == pytest.approx(float(expected.intensity.sum()) / 2)
    assert found["patterns"] == 2
    for mask in ("--mask good.npy", "--bad-pixels bad.npy", "--mask each.npy"):
        found = json.loads(run(f"info x.npz::b --json --ndim 2 --index 0:2 {mask}", capsys)[1])
        assert found["missing"] == pytest.approx(3 / 144)


def test_info_of_the_measured_logo(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(f"info {data_dir}/measured/esrf_logo_cdi.npz", capsys)
    assert status == 0
    assert "512 x 512" in out
    assert "centre by Friedel (256, 256), symmetry 1.000" in out
    assert "warning: the zero frequency was not measured" in out


def test_simulate_makes_a_pattern_with_its_object(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run("simulate pattern.npy -o new.h5 --fourier-shape 24,20 --figure new.png", capsys)
    assert (status, err) == (0, "")
    assert out.startswith("pattern of 24 x 20 pixels")
    found = pr.io.load_intensity("new.h5")
    obj = digit() / digit().max()
    assert torch.equal(found.obj, obj)
    assert torch.equal(found.support, obj > 0)
    assert torch.allclose(found.intensity, pr.operators.fourier_intensity(obj, (24, 20)))
    assert "new.png" in listing(folder)


def test_info_certifies_the_object_in_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("simulate pattern.npy -o new.h5 --fourier-shape 24,20", capsys)
    status, out, _ = run("info new.h5 --certify", capsys)
    assert status == 0
    assert "\nobject: unique: proved; every object in its box within " in out
    about = json.loads(run("info new.h5 --certify --json", capsys)[1])
    assert about["unique"] is True
    assert about["radius"] > 0
    bad = np.zeros((24, 20))
    bad[3, 4] = 1
    np.save("bad.npy", bad)
    out = run("info new.h5 --certify --bad-pixels bad.npy", capsys)[1]
    assert out.endswith("object: no proof found: 1 of 480 pixels were not measured\n")
    assert "--certify needs a file that holds the object" in fails("info pattern.h5 --certify", capsys)


def test_what_certify_needs_is_said_in_options(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = pr.operators.fourier_intensity(digit()[:5, :5], (9, 9))
    pr.io.save_intensity("cut.h5", pr.io.as_measurement(small, obj=digit()))
    said = fails("info cut.h5 --certify", capsys)
    assert "--certify needs a pattern at least as large as its object (10, 9), got one of (9, 9)" in said


def test_info_certifies_the_one_object_of_several_patterns(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = torch.ones(3, 24, 20, dtype=torch.bool)
    mask[1:, 3, 4] = False
    data = pr.operators.fourier_intensity(digit(), (24, 20)).expand(3, 24, 20)
    for masked, found in ((mask, "unique: proved"), (mask[1:2], "no proof found: 1 of 480 pixels were not measured")):
        np.savez("several.npz", intensity=data.numpy(), mask=masked.expand(3, 24, 20).numpy(), obj=digit().numpy())
        status, out, _ = run("info several.npz --certify --ndim 2 --mask-is measured", capsys)
        assert status == 0
        assert f"\nobject: {found}" in out


def test_simulate_counts_photons(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "simulate pattern.npy -o {}.npz --photons 1e5 --beam-stop 1 --seed {} --oversampling 3"
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(line.format(name, seed), capsys)[0] == 0
    a, b, c = (pr.io.load_intensity(f"{name}.npz") for name in "abc")
    assert torch.equal(a.intensity, b.intensity)
    assert not torch.equal(a.intensity, c.intensity)
    assert torch.equal(a.intensity, a.intensity.round())
    assert a.fourier_shape == (30, 27)
    assert int((~a.mask).sum()) == 5
    expected = pr.operators.fourier_intensity(a.obj, (30, 27))
    assert float(expected.sum()) == pytest.approx(1e5, rel=1e-4)
    deviation = (a.intensity - expected)[a.mask] / expected[a.mask].clamp(min=1).sqrt()
    assert 0.8 < float(deviation.square().mean()) < 1.2


def test_simulate_reads_pictures_phases_and_sizes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = pytest.importorskip("PIL.Image")
    picture = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    image.fromarray(picture).save("modulus.png")
    image.fromarray(picture[..., 0]).save("phase.png")
    assert run("simulate modulus.png --phase phase.png --size 16,12 --readout 0.01 -o x.h5", capsys)[0] == 0
    found = pr.io.load_intensity("x.h5")
    assert found.obj.shape == (16, 12)
    assert found.obj.is_complex()
    assert found.fourier_shape == (32, 24)
    assert found.obj.abs().max() == pytest.approx(1)
    assert run("simulate modulus.png --size 16,16 -o y.h5", capsys)[2] == (
        "phaseret simulate: warning: the picture of 40 x 30 pixels in modulus.png loses its proportions in one of "
        "16 x 16. Use --size 16,12 or 21,16 to keep them.\n"
    )
    assert run("simulate modulus.png --size 13,10 -o z.h5", capsys)[2] == ""
