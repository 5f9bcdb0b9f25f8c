"""``phaseret reconstruct`` of one pattern: its options, what it prints, writes and takes for granted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import phaseret as pr
from commands import QUICK, digit, fails, listing, pattern_of_a_curved_wave, prepared, run
from phaseret.cli import _main, main

h5py = pytest.importorskip("h5py")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return prepared(tmp_path, monkeypatch)


def test_reconstruct_solves_and_writes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(f"reconstruct pattern.h5 {QUICK} -o r.h5 --figure r.png --quiet", capsys)
    assert status == 0, err
    assert "object            10 x 9, float32" in out
    assert "written           r.h5, r.png" in out
    fields = pr.io.load_reconstruction("r.h5")
    found = pr.solvers.Reconstruction(**fields)
    measurement = pr.io.load_intensity("pattern.h5")
    expected = pr.solvers.reconstruct(
        measurement.intensity,
        schedule="raar:60,er:20",
        support=measurement.support,
        constraint="nonnegative",
        starts=3,
        seed=0,
    )
    assert torch.equal(found.obj, expected.obj)
    assert torch.equal(found.history, expected.history)
    assert found.seeds == expected.seeds
    assert found.recipe == expected.recipe
    assert (folder / "r.png").read_bytes().startswith(b"\x89PNG")
    assert listing(folder) == {"pattern.h5", "pattern.npy", "stack.h5", "stack.npy", "r.h5", "r.png"}


def test_reconstruct_takes_the_support_it_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outline = np.zeros((24, 20), np.uint8)
    outline[3:13, 4:13] = 1
    np.save("support.npy", outline)
    whole = (24, 20)
    for support, shape in (("support.npy", whole), ("11,10", (11, 10)), ("auto", (12, 10)), ("none", whole)):
        line = f"reconstruct pattern.h5 --schedule er:5 --constraint nonnegative --support {support}"
        status, _, err = run(f"{line} -o r.npz --overwrite", capsys)
        assert status == 0, err
        assert pr.io.load_object("r.npz").shape == shape, support
        allowed = int(pr.io.load_support("r.npz").sum())
        assert allowed == {"support.npy": 90, "11,10": 110, "auto": 120, "none": 480}[support]


def test_a_start_ends_at_the_tolerance(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = 'reconstruct pattern.h5 --schedule "raar:2000" --constraint nonnegative --starts 2 --quiet -o'
    assert run(f"{line} one.npz --tolerance 1e-3", capsys)[0] == 0
    found = pr.io.load_reconstruction("one.npz")
    assert (found["n_iters"] < 1999).all()
    assert (found["errors"] <= 1e-3).all()
    expected = pr.solvers.reconstruct(
        pr.io.load_intensity("pattern.h5").intensity,
        support=torch.ones(10, 9) > 0,
        schedule="raar:2000",
        constraint="nonnegative",
        starts=2,
        tolerance=1e-3,
    )
    assert torch.equal(found["n_iters"], expected.n_iters)
    assert "--tolerance must be a finite number above 0" in fails(f"{line} two.npz --tolerance 0", capsys)


def test_what_is_odd_in_a_pattern_is_said_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    intensity = pr.operators.fourier_intensity(digit(), (24, 20))
    np.save("corner.npy", intensity)
    intensity[5, 9] = 1e6
    np.save("hot.npy", torch.fft.fftshift(intensity))
    for file, words in (("corner", "the light gathers"), ("hot", r"the pixel \(17, 19\) outshines")):
        line = f"reconstruct {file}.npy --support 10,9 --schedule er:1 --constraint real --starts 1 --quiet"
        status, _, err = run(f"{line} -o {file}.h5", capsys)
        assert status == 0
        assert len(re.findall(words, err)) == 1, err
        assert len(re.findall(words, run(f"info {file}.npy", capsys)[1])) == 1
    level = re.search(r"use --saturation (\S+)\.", err)
    assert level is not None
    assert pr.io.load_intensity("hot.npy", saturation=float(level[1])).saturated == 1 / 480


def test_reconstruct_options_reach_the_solver(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}
    solve = pr.solvers.reconstruct

    def spy(intensity: Tensor, **options: object) -> pr.solvers.Reconstruction:
        seen.update(options, dtype=intensity.dtype)
        return solve(intensity, schedule="er:3", support=options["support"])

    monkeypatch.setattr(pr.solvers, "reconstruct", spy)
    np.save("good.npy", np.pad(np.ones((23, 20)), ((1, 0), (0, 0))))
    line = "--schedule hio:7 --starts 2 --seed 9 --constraint real --support-size 30 --init pattern.npy --mask good.npy"
    assert main(shlex.split(f"reconstruct pattern.h5 {line} --double --device cpu -o r.h5")) == 0
    assert seen["schedule"] == "hio:7"
    assert (seen["starts"], seen["seed"], seen["constraint"], seen["support_size"]) == (2, 9, "real", 30)
    assert torch.equal(seen["init"], digit())
    assert int((~seen["mask"]).sum()) == 20
    assert seen["dtype"] == torch.float64


def test_a_background_above_all_and_a_known_frame_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pattern = torch.fft.fftshift(pr.operators.fourier_intensity(torch.rand(2, 9, 8) + 0.2, (32, 30)), (-2, -1))
    np.save("s.npy", pattern.numpy())
    for line in ("s.npy --ndim 2", "s.npy --index 1 --ndim 2"):
        said = fails(f"reconstruct {line} --background 1e9 -o r.h5", capsys)
        assert "--background must be less than the intensity at some measured pixel of every pattern, got one" in said
    np.save("frame.npy", pattern[0].numpy())
    np.save("known.npy", np.ones((32, 30), np.float32))
    said = fails("reconstruct frame.npy --known known.npy -o r.h5", capsys)
    assert "--known must leave at least one pixel of the support unknown, got none" in said


def test_a_background_is_found_and_read_as_the_pattern_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the file is called and however it is arranged, the object stays: it is the answer without background."""
    objs = torch.rand(3, 9, 8, generator=torch.Generator().manual_seed(0)) + 0.2
    light = torch.fft.fftshift(pr.operators.fourier_intensity(objs, (32, 30)), (-2, -1)).numpy()
    dark = 5 * np.linspace(0.5, 1.5, 30) * np.ones((32, 1))
    with h5py.File("scan.h5", "w") as file:
        file["entry/data"], file["entry/dark"] = light[0] + dark, dark
    for name, plain in (("one", light[0]), ("last", np.moveaxis(light, 0, -1)), ("off", np.roll(light[0], 2, (0, 1)))):
        np.save(f"{name}.npy", plain)
        np.save(f"{name}_dark.npy", plain + (dark[..., None] if name == "last" else dark))
    np.save("first_dark.npy", light + dark)
    np.save("dark.npy", dark)
    np.save("alone.npy", dark[None])
    np.save("darks.npy", np.stack([0.5 * dark, 1.5 * dark]))
    for number in range(3):
        np.save(f"dark_{number}.npy", dark)
    options = "--support 9,8 --constraint nonnegative --schedule er:3 --starts 1 --overwrite -o r.npz --quiet"
    last, off = "--ndim 2 --stack-axis -1", "--center 18,17"
    for line, plain in (
        ("scan.h5 --background scan.h5", "one.npy"),
        ("scan.h5 --background scan.h5::entry/dark", "one.npy"),
        ("scan.h5 --background darks.npy", "one.npy"),
        ("scan.h5 --background alone.npy", "one.npy"),
        ("first_dark.npy --ndim 2 --background alone.npy", f"last.npy {last}"),
        (f"last_dark.npy {last} --background dark.npy", f"last.npy {last}"),
        (f"last_dark.npy {last} --background 'dark_%d.npy'", f"last.npy {last}"),
        ("first_dark.npy --ndim 2 --background darks.npy", f"last.npy {last}"),
        ("first_dark.npy --ndim 2 --index 1 --background darks.npy", f"last.npy {last} --index 1"),
        (f"off_dark.npy {off} --background dark.npy", f"off.npy {off}"),
    ):
        status, _, err = run(f"reconstruct {line} {options}", capsys)
        assert status == 0, err
        assert "negative or no numbers" not in err
        assert "was not used" not in err
        assert ("the mean of the 2 frames in darks.npy was taken for the background" in err) == ("darks" in line)
        assert err.count("the mean of") == ("darks" in line)
        found = pr.io.load_object("r.npz")
        assert run(f"reconstruct {plain} {options}", capsys)[0] == 0
        torch.testing.assert_close(found, pr.io.load_object("r.npz"), rtol=1e-2, atol=1e-2)
    said = fails(f"reconstruct scan.h5 --background scan.h5::entry/data {options}", capsys)
    assert "--background must be another array than the pattern, got 'entry/data' of scan.h5 for both" in said


@pytest.mark.parametrize("more", ["", "--support 9,8"])
def test_options_say_what_the_object_is(folder: Path, capsys: pytest.CaptureFixture[str], more: str) -> None:
    pattern = torch.fft.fftshift(pr.operators.fourier_intensity(torch.rand(9, 8) + 0.2, (32, 30)))
    np.save("p.npy", pattern.numpy())
    for option, complex_ in (("--phase-range 0,1", True), ("--bounds=-1,1", False)):
        status, _, err = run(f'reconstruct p.npy {option} {more} --schedule "er:2" --overwrite -o r.h5', capsys)
        assert status == 0, err
        assert pr.io.load_reconstruction("r.h5")["obj"].is_complex() == complex_


def test_a_known_part_says_whether_the_object_is_real(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    obj = torch.rand(9, 8) + 0.2
    for name, kind in (("nonnegative", obj), ("real", obj - 0.7), ("complex", torch.polar(obj, 3 * torch.rand(9, 8)))):
        pattern = pr.operators.fourier_intensity(kind, (18, 17))
        np.save("p.npy", torch.fft.fftshift(pattern).numpy())
        known = (kind + 0j).numpy().copy()
        known[:, 4:] = np.nan
        np.save("known.npy", known)
        status, out, err = run('reconstruct p.npy --known known.npy --schedule "er:2" --overwrite -o r.h5', capsys)
        assert status == 0, err
        assert f"{name.replace('nonn', 'non-n'):18}the " in out
        assert pr.io.load_reconstruction("r.h5")["obj"].is_complex() == (name == "complex")
    real = run('reconstruct p.npy --known known.npy --constraint complex --schedule "er:2" --overwrite -o r.h5', capsys)
    assert "the known part is" not in real[1]


def test_compile_is_passed_on(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    solve = pr.solvers.reconstruct
    monkeypatch.setattr(
        pr.solvers, "reconstruct", lambda *args, compile, **options: seen.append(compile) or solve(*args, **options)
    )
    for flag in ("", "--compile"):
        assert run(f"reconstruct pattern.h5 {QUICK} {flag} --overwrite -o r.h5", capsys)[0] == 0
    assert seen == [False, True]


def test_data_below_2n_minus_1_pass_where_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "reconstruct pattern.h5 -o r.h5 --support 16,15 --undersampled --schedule er:2 --starts 1"
    status, _, said = run(line, capsys)
    assert status == 0
    assert "do not determine" in said
    assert pr.io.load_object("r.h5").shape == (16, 15)


def test_what_was_assumed_stands_in_the_result(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("counts.npy", np.fft.fftshift(pr.io.load_intensity("pattern.h5").intensity))
    words = "reconstruct counts.npy --support auto --kind intensity --schedule er:2 --starts 1 -o"
    for name in ("r.h5", "r.npz"):
        status, out, _ = run(f"{words} {name} --quiet", capsys)
        assert status == 0
        notes = pr.solvers.Reconstruction(**pr.io.load_reconstruction(name)).notes
        assert "support: the box that the autocorrelation allows" in notes.splitlines()
        for name, _, value in (line.partition(": ") for line in notes.splitlines()):
            assert f"{name:18}{value}" in out
    run(f"reconstruct pattern.h5 {QUICK} -o told.npz", capsys)
    assert pr.io.load_reconstruction("told.npz")["notes"] == ""


def test_a_schedule_for_crystals_reads_volumes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def reconstruct(intensity: Tensor, *, ndim: int, **options: object) -> None:
        asked.append(ndim)
        raise KeyboardInterrupt

    monkeypatch.setattr(pr.solvers, "reconstruct", reconstruct)
    np.save("counts.npy", np.ones((6, 6, 6)))
    for more in ("", "--ndim 2"):
        _main.main(shlex.split(f"reconstruct counts.npy --kind intensity --schedule bragg -o r.npz --quiet {more}"))
    assert asked == [3, 2]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("how", ["as it is", "patched", "dead"])
def test_a_zero_frequency_that_all_others_contradict_is_not_believed(
    folder: Path, capsys: pytest.CaptureFixture[str], how: str, ndim: int
) -> None:
    """A centre that was patched, or did not count, is no measurement."""
    generator = torch.Generator().manual_seed(3)
    obj = 0.3 + torch.rand((11, 10, 9)[-ndim:], generator=generator)
    intensity = pr.operators.fourier_intensity(obj, (48, 44, 40)[-ndim:], centered=True)
    counts = torch.poisson(intensity * (1e7 / intensity.sum()), generator=generator)
    centre = tuple(slice(m // 2 - 1, m // 2 + 2) for m in counts.shape)
    if how == "patched":
        counts[centre] = counts[tuple(m // 2 + 2 for m in counts.shape)]
    if how == "dead":
        counts[centre] = 1.0
    np.save("pattern.npy", counts.numpy())
    line = f'reconstruct pattern.npy --ndim {ndim} --constraint nonnegative --schedule "er:2" --starts 2 --overwrite'
    status, out, err = run(f"{line} -o r.h5", capsys)
    assert status == 0, err
    found = re.search(r"zero frequency    (\d+) pixels there contradict all others and count as unmeasured", out)
    assert (found is not None) == (how != "as it is"), out
    if found is not None:  # an edge or corner that was patched may be right by chance
        assert 0.6 * 3**ndim < int(found[1]) <= 1.5 * 3**ndim
    notes = pr.io.load_reconstruction("r.h5")["notes"]
    assert ("contradict all others" in notes) == (how != "as it is")


@pytest.mark.slow
def test_the_box_of_an_object_that_may_have_a_phase_is_told_as_wider(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("pattern.npy", pattern_of_a_curved_wave())
    status, out, err = run("reconstruct pattern.npy -o r.h5 --overwrite", capsys)
    assert status == 0, err
    assert "support           1.12 times as wide as the box that the autocorrelation allows\n" in out
    assert "complex           with a phase of at most a half turn it explains the pattern better" in out
