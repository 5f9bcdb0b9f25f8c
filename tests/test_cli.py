"""The command: what it prints and writes, and that whatever is wrong is one line, nothing overwritten, no half file."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import phaseret as pr
from phaseret.cli import _main, _reconstruct, main
from phaseret.cli._commands import Reconstruct
from phaseret.cli._messages import in_flags
from phaseret.cli._options import flags
from phaseret.cli._streams import interrupted_later
from phaseret.cli._team import Team
from processes import PROCESSES, places

pytest.importorskip("h5py")


def run(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit status, output and errors of a command line."""
    try:
        status = main(shlex.split(line))
    except SystemExit as end:
        status = int(end.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def fails(line: str, capsys: pytest.CaptureFixture[str], status: int = 1) -> str:
    """The one line that a command prints when it fails, and nothing else but warnings of what it did before."""
    found, out, err = run(line, capsys)
    err = "".join(said for said in err.splitlines(keepends=True) if ": warning: " not in said)
    assert (found, out) == (status, ""), (found, out, err)
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


def digit(seed: int = 0) -> Tensor:
    """A small object with a clear outline, of no symmetry."""
    generator = torch.Generator().manual_seed(seed)
    obj = torch.rand(10, 9, generator=generator) + 0.5
    obj[:4, :3] = 0
    return obj


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, entered, with a pattern, a stack of five, and the objects they were made from."""
    monkeypatch.chdir(tmp_path)
    objs = torch.stack([digit(seed) for seed in range(5)])
    support = torch.ones(10, 9, dtype=torch.bool)
    for name, obj in (("pattern", objs[0]), ("stack", objs)):
        intensity = pr.operators.fourier_intensity(obj, (24, 20))
        measurement = pr.io.as_measurement(intensity, support=support, wavelength=1e-10, distance=1.0, pixel_size=5e-5)
        pr.io.save_intensity(f"{name}.h5", measurement)
        np.save(f"{name}.npy", obj)
    return tmp_path


QUICK = '--schedule "raar:60,er:20" --constraint nonnegative --starts 3'


def assert_same(found: Tensor, expected: Tensor) -> None:
    """Of runs in double precision: other blocks round otherwise, and the iterations amplify that."""
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- help ------------------------------------------------------------------------------------------------------------


def test_what_is_wrong_is_one_line_whatever_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["info", "--a\nb\x85c", "x"], ["info", "x", "--index", "a\u2028b\n"], ["in\rfo"]):
        with pytest.raises(SystemExit):
            _main.main(words)
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run("--help", capsys)
    assert (status, err) == (0, "")
    for name, command in _main.COMMANDS.items():
        assert re.search(rf"^ +{name} +{command.SUMMARY}$", out, re.M)
        assert "examples:" in run(f"{name} --help", capsys)[1]
    assert run("--version", capsys)[1].startswith(f"phaseret {pr.__version__}")


def test_every_example_of_the_help_is_understood() -> None:
    texts = [_main.EXAMPLES, *(command.EXAMPLES for command in _main.COMMANDS.values())]
    joined = "\n".join(texts).replace("\\\n", "")
    lines = re.findall(r"^  (?:torchrun .*phaseret.cli|phaseret) (.*)", joined, re.M)
    lines = [re.sub(r"  +\(.*", "", line) for line in lines]
    lines = [line for line in lines if "COMMAND" not in line]
    assert len(lines) >= 14
    for line in lines:
        assert _main._parser().parse_args(shlex.split(line)).command in _main.COMMANDS


@pytest.mark.parametrize("words", ["--version", "--help", *(f"{name} --help" for name in _main.COMMANDS)])
def test_help_does_not_wait_for_pytorch(words: str) -> None:
    code = "import sys; sys.modules['torch'] = None; sys.modules['numpy'] = None; from phaseret.cli import main; main()"
    found = subprocess.run([sys.executable, "-c", code, *words.split()], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith(("phaseret 0.", "usage: phaseret"))


def test_the_package_is_the_command(folder: Path) -> None:
    found = [
        subprocess.run([sys.executable, "-m", module, "info", "pattern.h5"], capture_output=True, text=True)
        for module in ("phaseret", "phaseret.cli")
    ]
    assert found[0].returncode == 0
    assert (found[0].stdout, found[0].stderr) == (found[1].stdout, found[1].stderr)


@pytest.mark.skipif(os.name == "nt", reason="locales are those of POSIX")
def test_a_letter_that_the_locale_does_not_know_is_shown_as_one(tmp_path: Path) -> None:
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "phaseret", "info", "n\u00e9ant.npz"]
    found = subprocess.run(command, capture_output=True, cwd=tmp_path, env=plain, check=False)
    assert found.stderr.startswith(rb"phaseret info: error: FILE must name a file, got 'n\xe9ant.npz', which")


# --- info ------------------------------------------------------------------------------------------------------------


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


# --- simulate --------------------------------------------------------------------------------------------------------


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


# --- reconstruct -----------------------------------------------------------------------------------------------------


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


def test_a_stack_is_done_in_blocks_with_the_same_result(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = []
    for block in (1, 2, 5):
        status, out, err = run(f"reconstruct stack.h5 {QUICK} --double --block {block} -o r{block}.h5", capsys)
        assert status == 0, err
        assert "of 5 patterns" in out
        results.append(pr.io.load_reconstruction(f"r{block}.h5"))
        assert f"r{block}.h5.parts" not in listing(folder)
    for name in ("obj", "objs", "errors", "history", "support"):
        assert_same(results[1][name], results[0][name])
        assert_same(results[2][name], results[0][name])
    assert results[0]["obj"].shape == (5, 10, 9)
    assert run(f"reconstruct stack.h5 --index 3 {QUICK} --double -o one.h5", capsys)[0] == 0
    assert_same(pr.io.load_object("one.h5"), results[0]["obj"][3])
    assert run(f"reconstruct stack.h5 --index 2:4 {QUICK} --double -o two.h5 --figure two.png", capsys)[0] == 0
    assert_same(pr.io.load_object("two.h5"), results[0]["obj"][2:4])


@pytest.mark.parametrize("pattern", ["pattern.h5", "stack.h5 --block 2"])
def test_reconstruct_opens_its_file_once(pattern: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py = pytest.importorskip("h5py")
    opened, file = [], h5py.File

    def spy(path: object, mode: str, **options: object) -> object:
        if mode == "r":
            opened.append(str(path))
        return file(path, mode, **options)

    monkeypatch.setattr(h5py, "File", spy)
    np.save("good.npy", np.ones((24, 20)))
    assert main(shlex.split(f"reconstruct {pattern} {QUICK} --mask good.npy -o r.h5")) == 0
    assert opened == [pattern.split()[0]]


def test_a_mask_for_all_patterns_of_a_stack_may_have_its_axis(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = np.ones((1, 24, 20))
    good[0, 0, :3] = 0
    np.save("good.npy", good)
    for index in ("1", "1:3", ":"):
        found = json.loads(run(f"info stack.h5 --mask good.npy --index {index} --json", capsys)[1])
        assert found["missing"] == pytest.approx(3 / 480)


def interrupt_after(blocks: int, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    solve, calls = pr.solvers.reconstruct, []

    def stop(*args: object, **options: object) -> pr.solvers.Reconstruction:
        calls.append(1)
        if len(calls) > blocks:
            raise error
        return solve(*args, **options)

    monkeypatch.setattr(pr.solvers, "reconstruct", stop)


def test_an_interrupted_stack_keeps_its_blocks_and_is_taken_up(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"reconstruct stack.h5 {QUICK} --double --block 2 -o r.h5"
    with monkeypatch.context() as patch:
        interrupt_after(2, patch, KeyboardInterrupt())
        said = fails(line, capsys, status=130)
    expected = "interrupted; 2 of 3 blocks are kept in r.h5.parts. The same command again does the rest."
    assert said == f"phaseret reconstruct: {expected}\n"
    kept = {"000000.npz", "000000.json", "000001.npz", "000001.json", "run.json"}
    assert listing(folder / "r.h5.parts") == kept
    assert "r.h5" not in listing(folder)
    said = fails(f"reconstruct stack.h5 {QUICK} --double --block 2 --seed 1 -o r.h5", capsys)
    assert "r.h5.parts must be of this run, got one with another seed. Use --restart to begin anew, or choose" in said
    with monkeypatch.context() as patch:
        interrupt_after(1, patch, AssertionError("one block was left"))
        assert run(line, capsys)[0] == 0
    assert run(f"reconstruct stack.h5 {QUICK} --double -o whole.h5", capsys)[0] == 0
    assert_same(pr.io.load_object("r.h5"), pr.io.load_object("whole.h5"))


def test_a_killed_run_goes_on_from_its_checkpoint(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"reconstruct pattern.h5 {QUICK} --starts 2 --checkpoint-every 20 -o r.h5"
    solve, seen = pr.solvers.reconstruct, []

    def killed(*args: object, **options: object) -> pr.solvers.Reconstruction:
        keep = options["checkpoint"]

        def keep_and_die(state: dict[str, object]) -> None:
            keep(state)
            seen.append(state["iteration"])
            if len(seen) == 2:
                raise KeyboardInterrupt

        return solve(*args, **{**options, "checkpoint": keep_and_die})

    with monkeypatch.context() as patch:
        patch.setattr(pr.solvers, "reconstruct", killed)
        fails(line, capsys, status=130)
    assert seen == [20, 40]
    assert "r.h5.checkpoint" in listing(folder)
    assert "r.h5" not in listing(folder)
    said = fails(line.replace("--starts 2", "--starts 3"), capsys)
    assert "r.h5.checkpoint must be of this run, got one with another starts. Use --restart to begin" in said
    assert run(line, capsys)[0] == 0
    assert "r.h5.checkpoint" not in listing(folder)
    assert run(line.replace("-o r.h5", "-o whole.h5"), capsys)[0] == 0
    resumed, whole = pr.io.load_reconstruction("r.h5"), pr.io.load_reconstruction("whole.h5")
    for name in ("obj", "objs", "history", "errors"):
        assert torch.equal(resumed[name], whole[name]), name
    assert resumed["checked"] == whole["checked"]


def test_a_damaged_checkpoint_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "r.h5.checkpoint").write_bytes(b"half of it")
    line = "reconstruct pattern.h5 --schedule er:3 --checkpoint-every 2 -o r.h5"
    assert "r.h5.checkpoint must be a whole checkpoint, got the error: " in fails(line, capsys)
    torch.save({"another": torch.ones(3)}, "r.h5.checkpoint")
    assert "r.h5.checkpoint must be a whole checkpoint, got the error: KeyError. Use --restart" in fails(line, capsys)


def test_damaged_parts_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"reconstruct stack.h5 {QUICK} --block 2 -o r.h5"
    (folder / "r.h5.parts").touch()
    assert "r.h5.parts must be a folder, got a file. Remove it, or choose another output." in fails(line, capsys)
    (folder / "r.h5.parts").unlink()
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(1, patch, KeyboardInterrupt())
        fails(line, capsys, status=130)
    (folder / "r.h5.parts" / "run.json").write_text("{")
    assert "run.json must be whole, got a damaged file. Use --restart to begin anew." in fails(line, capsys)
    assert "r.h5" not in listing(folder)
    (folder / "r.h5.parts" / "mine").mkdir()
    said = "r.h5.parts/mine must be a file that an interrupted run kept, got a folder. Move it away, or choose"
    assert said in fails(f"{line} --restart", capsys)
    (folder / "r.h5.parts" / "mine").rmdir()
    assert run(f"{line} --restart", capsys)[0] == 0
    assert "r.h5.parts" not in listing(folder)
    (folder / "r.h5.checkpoint").mkdir()
    one = "reconstruct pattern.h5 --schedule er:3 --checkpoint-every 2 -o r.h5 --overwrite --restart"
    assert "r.h5.checkpoint must be a file that an interrupted run kept, got a folder" in fails(one, capsys)


def test_a_damaged_block_is_done_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"reconstruct stack.h5 {QUICK} --block 2 -o r.h5"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(2, patch, KeyboardInterrupt())
        fails(line, capsys, status=130)
    (folder / "r.h5.parts" / "000000.npz").write_bytes(b"PK\3\4half")
    (folder / "r.h5.parts" / "000001.json").write_text("[]")
    assert run(line, capsys)[0] == 0
    assert run(line.replace("r.h5", "whole.h5"), capsys)[0] == 0
    assert_same(pr.io.load_object("r.h5"), pr.io.load_object("whole.h5"))


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
    down, across = torch.meshgrid(torch.linspace(-1, 1, 14), torch.linspace(-1, 1, 12), indexing="ij")
    obj = torch.zeros(14, 12)
    obj[:4], obj[:, :3], obj[9:12, 5:] = 1.0, 0.7, 1.0
    wave = torch.polar(obj, 0.8 * (down * down + 0.7 * across * across + 0.3 * down * across))
    np.save("pattern.npy", pr.operators.fourier_intensity(wave, (56, 48), centered=True).numpy())
    status, out, err = run("reconstruct pattern.npy -o r.h5 --overwrite", capsys)
    assert status == 0, err
    assert "support           1.12 times as wide as the box that the autocorrelation allows\n" in out
    assert "complex           with a phase of at most a half turn it explains the pattern better" in out


def test_what_a_stack_is_taken_for_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All patterns have one centre, which all of them together tell; some that are unlike the others are counted."""
    objs = torch.rand(20, 9, 8) + 0.2
    real = torch.fft.fftshift(pr.operators.fourier_intensity(objs, (32, 30)), (-2, -1))
    np.save("stack.npy", real.roll((2, -1), (-2, -1)).numpy())
    shown = 'reconstruct stack.npy --ndim 2 --schedule "er:2" --starts 2 --block 7 --overwrite -o r.h5'
    status, out, err = run(shown, capsys)
    assert status == 0, err
    assert "centre            18,14, about which the pattern is symmetric to " in out
    assert re.search(
        r"non-negative      the pattern is symmetric to (1.0|0.9)\d+ \(10 patterns, the least\); if the obj", out
    )
    result = pr.solvers.Reconstruction(**pr.io.load_reconstruction("r.h5"))
    assert result.obj.dtype == torch.float32
    assert (result.obj >= 0).all()
    alone = run(shown.replace("stack.npy", "stack.npy --index 3"), capsys)[1]
    assert "centre            18,14, about" in alone
    turned = torch.polar(objs, 2 * torch.rand_like(objs))
    unlike = torch.fft.fftshift(pr.operators.fourier_intensity(turned, (32, 30)), (-2, -1))
    np.save("stack.npy", torch.cat([real[:9], unlike[9:10], real[10:]]).roll((2, -1), (-2, -1)).numpy())
    status, _, err = run(shown, capsys)  # every other one is looked at, not this one
    assert status == 0
    assert "1 of 7 patterns are symmetric to 0." in err
    np.save("stack.npy", unlike.numpy())
    out = run(shown, capsys)[1]
    assert "complex           the pattern is symmetric to " in out
    assert "centre" not in out
    assert torch.is_complex(pr.io.load_reconstruction("r.h5")["obj"])
    assert "centre" not in run(f"{shown} --constraint complex", capsys)[1]


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


def test_a_wrong_pattern_of_a_stack_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = np.ones((4, 8, 8), np.float32)
    stack[3] = 0
    np.save("holes.npy", stack)
    said = fails('reconstruct holes.npy --ndim 2 --block 2 --support 3,3 --schedule "er:2" -o r.h5', capsys)
    assert "error: patterns 2 to 3: FILE must hold a value above 0 in every pattern, got" in said
    assert listing(folder / "r.h5.parts") == {"000000.npz", "000000.json", "run.json"}
    fails('reconstruct holes.npy --ndim 2 --block 4 --support 3,3 --schedule "er:2" -o all.h5', capsys)
    assert "all.h5.parts" not in listing(folder)


def lose_at_the_second_block() -> None:
    """The second process is killed at its second block."""
    solve, calls = pr.solvers.reconstruct, []

    def lose(*args: object, **options: object) -> pr.solvers.Reconstruction:
        calls.append(1)
        second = Path("second")
        if os.environ["RANK"] == "1" and len(calls) == 2:
            second.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        while os.environ["RANK"] == "0" and len(calls) == 2 and not second.exists():
            time.sleep(0.05)
        return solve(*args, **options)

    pr.solvers.reconstruct = lose


def wait_for_the_second() -> None:
    """The first process waits in its first block until the second has done all the others."""
    solve = pr.solvers.reconstruct

    def slow(*args: object, **options: object) -> pr.solvers.Reconstruction:
        while os.environ["RANK"] == "0" and len(list(Path("r.h5.parts").glob("*.npz"))) < 4:
            time.sleep(0.05)
        return solve(*args, **options)

    pr.solvers.reconstruct = slow


def lose_one_and_be_busy() -> None:
    """The second process is killed, the first has blocks left to do."""

    def lose(*args: object, **options: object) -> None:
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        Path("busy").touch()
        time.sleep(60)

    pr.solvers.reconstruct = lose


def change_nothing() -> None:
    """The command as it is."""


def command(line: str, place: dict[str, str], change: Callable[[], None]) -> None:
    """The command as one of several processes; what it prints goes into files that are named after its rank."""
    os.environ.update(place)
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{place['RANK']}.{name}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), stream)
    change()
    sys.exit(main(shlex.split(line)))


def processes(line: str, change: Callable[[], None] = change_nothing) -> list[BaseProcess]:
    """The command in two processes that share the work, as torchrun starts them."""
    both = [PROCESSES.Process(target=command, args=(line, place, change)) for place in places(2)]
    for process in both:
        process.start()
    return both


def ended(process: BaseProcess, rank: int, timeout: int = 120) -> tuple[int | None, str, str]:
    """Exit status, output and errors of a process of `processes`."""
    process.join(timeout)
    return process.exitcode, Path(f"{rank}.out").read_text(), Path(f"{rank}.err").read_text()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill")
def test_two_processes_share_a_stack_and_survive_a_loss(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second process is killed at its second block; the same command, by two processes, does the rest."""
    line = f"reconstruct stack.h5 {QUICK} --double --block 1 --timeout 60 -o r.h5"
    first, second = processes(line, lose_at_the_second_block)
    status, out, err = ended(first, 0)
    assert (status, ended(second, 1)[0], out) == (1, -9, ""), err
    assert "Traceback" not in err
    said = err.splitlines()[-1]
    assert said.startswith("phaseret reconstruct: error: a process was lost or stopped ("), err
    assert "; lost: process 1 of 2; 4 of 5 blocks are kept in r.h5.parts. The same command again" in said
    kept = listing(folder / "r.h5.parts")
    assert len([name for name in kept if name.endswith(".npz")]) == 4
    assert {"run.json", "process-1"} < kept

    said = [ended(process, rank) for rank, process in enumerate(processes(line))]
    assert [status for status, _, _ in said] == [0, 0], said
    assert "of 5 patterns" in said[0][1]
    assert said[1][1] == ""
    assert "r.h5.parts" not in listing(folder)
    assert run(f"reconstruct stack.h5 {QUICK} --double -o whole.h5", capsys)[0] == 0
    for name, value in pr.io.load_reconstruction("whole.h5").items():
        if isinstance(value, Tensor):
            assert_same(pr.io.load_reconstruction("r.h5")[name], value)


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


@pytest.mark.parametrize("name", ["LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK"])
def test_each_process_of_a_machine_has_its_own_card(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it was started; a card that is named is that card."""
    for other in ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setattr(torch, "empty", lambda *_, device: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert _reconstruct._device("cuda") == "cuda:0"
    monkeypatch.setenv(name, "3")
    assert [_reconstruct._device(given) for given in (None, "cuda", "cuda:0", "cpu")] == [
        "cuda:1",
        "cuda:1",
        "cuda:0",
        "cpu",
    ]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")
def test_processes_take_blocks_as_they_are_free(folder: Path) -> None:
    """The first process waits in its first block until the second has done all the others."""
    both = processes(f"reconstruct stack.h5 {QUICK} --block 1 --timeout 60 -o r.h5", wait_for_the_second)
    said = [ended(process, rank) for rank, process in enumerate(both)]
    assert [status for status, _, _ in said] == [0, 0], said
    assert "of 5 patterns" in said[0][1]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill")
def test_a_process_that_is_asked_to_end_names_the_one_that_was_lost(folder: Path) -> None:
    """As under torchrun: the second process is killed, then the first, with blocks left to do, is told to end."""
    first, second = processes(f"reconstruct stack.h5 {QUICK} --block 1 -o r.h5", lose_one_and_be_busy)
    second.join(120)
    assert second.exitcode == -9
    while first.is_alive() and not (folder / "busy").exists():
        time.sleep(0.1)
    first.terminate()
    status, out, err = ended(first, 0, 60)
    assert (status, out) == (1, ""), err
    assert "a process was lost or stopped (asked to end); lost: process 1 of 2; 0 of 5 blocks are kept" in err
    assert err.count("\n") == 1


def test_two_processes_can_find_the_lost_one_at_the_same_time(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl", exc_type=ImportError)
    first, second, third = (Team(rank, 3) for rank in range(3))
    with first.at_work(tmp_path), (tmp_path / "process-1").open("a"):
        assert second.lost(tmp_path) == []
        assert third.lost(tmp_path) == [1]
        with (tmp_path / "process-1").open() as looks:
            fcntl.flock(looks, fcntl.LOCK_SH)
            assert third.lost(tmp_path) == [1]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")
def test_two_runs_of_one_team_count_their_turns_apart() -> None:
    team = Team(0, 2, store=torch.distributed.HashStore())
    assert [list(team.turns(work, 2)) for work in ("a.parts", "b.parts")] == [[0, 1]] * 2


# --- compare ---------------------------------------------------------------------------------------------------------


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


# --- words of the command ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        (
            "reconstruct: point_spread must not be negative, got negative numbers. Use point_spread.clamp(min=0).",
            "--point-spread must not be negative, got negative numbers. Set what is negative in it to 0.",
        ),
        ("HIO: intensity must be finite, got 2. Mask them with mask = intensity.isfinite().",
         "intensity must be finite, got 2. Mask them with --mask or --bad-pixels."),
        ("x: init must have at least 2 axes, got shape (3,). Add one with unsqueeze(0).",
         "--init must have at least 2 axes, got shape (3,). Look at the axes of the array."),
        ("x: init must be finite, got other values. Set them to 0 with torch.nan_to_num(init).",
         "--init must be finite, got other values. Set them to 0."),
        ("x: background must be real floating, got torch.int64. Use background.float().",
         "--background must be real floating, got torch.int64."),
        ("x: the light gathers at the middle. If it is not, use centered=True, or torch.fft.ifftshift(intensity, "
         "dim=(-2, -1)).", "the light gathers at the middle. If it is not, use --center middle."),
    ],
)  # fmt: skip
def test_advice_is_what_can_be_typed(said: str, typed: str) -> None:
    assert in_flags(said, flags(Reconstruct)) == typed


def test_what_others_call_an_option_is_answered_with_ours(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert '--schedule "hio:500,er:50"' in fails("reconstruct pattern.h5 -o r.h5 --iterations 5", capsys, status=2)
    assert '--schedule "hio(beta=0.8)' in fails("reconstruct pattern.h5 -o r.h5 --beta 0.9", capsys, status=2)
    said = fails("reconstruct pattern.h5 -o r.h5 --support 46x50", capsys)
    assert "--support must be sizes N,M or a file, got '46x50'. Use --support 46,50." in said


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "phaseret: error: the following arguments are required: COMMAND (see phaseret --help)"),
        ("paint", "phaseret: error: argument COMMAND: invalid choice: 'paint'"),
        ("info", "phaseret info: error: the following arguments are required: FILE (see phaseret info --help)"),
        (
            "recon pattern.h5",
            "(choose from 'info', 'reconstruct', 'simulate', 'compare', 'bench'), did you mean reconstruct? (see",
        ),
        ("reconstruct pattern.h5 --suport s.npy", "there is no option --suport, did you mean --support? (see"),
        ("reconstruct pattern.h5 -o r.h5 --constrain=real", "no option --constrain, did you mean --constraint? (see"),
        (
            "info pattern.h5 --wavelets",
            "phaseret info: error: there is no option --wavelets (see phaseret info --help)",
        ),
        ("info pattern.h5 --center 3,x", "argument --center: must be whole numbers such as 64,64, got '3,x'"),
        (
            "info pattern.h5 --index 1:2:3",
            "argument --index: must be a number, a range 0:10 or a list 0,1,3, got '1:2:3'",
        ),
        ("reconstruct pattern.h5 -o r.h5 --bounds 1", "argument --bounds: must be two numbers such as 0,1, got '1'"),
        ("info pattern.h5 --index a", "argument --index: must be a number, a range 0:10 or a list 0,1,3, got 'a'"),
        ("reconstruct pattern.h5", "the following arguments are required: -o/--output"),
        (
            "reconstruct pattern.h5 -o r.h5 --starts x",
            "argument --starts: must be a whole number of at most 922",
        ),
        ("simulate pattern.npy -o r.h5 --size 3.5", "argument --size: must be whole numbers such as 64,64, got '3.5'"),
    ],
)
def test_wrong_options_are_one_line(line: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in fails(line, capsys, status=2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="paths, pipes and /dev/full are those of POSIX")
@pytest.mark.once
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("info none.h5", "phaseret info: error: FILE must name a file, got 'none.h5', which does not exist. Look"),
        ("info dir", "FILE must name a file, got the folder 'dir'. Name a file in it."),
        ("info empty.h5", "FILE must name a file with data, got 'empty.h5', which is empty. Write or copy it again."),
        ("info text", "FILE must name a file of a known kind, got 'text'"),
        ("info cut.h5", "cut.h5 must be a whole HDF5 file, got the error: "),
        ("info evil.npz", "FILE must name a file without pickled Python objects, got 'evil.npz'"),
        ("info evil.npy", "FILE must name a file without pickled Python objects, got 'evil.npy'"),
        (
            "info stack.npy",
            "error: --ndim must be given for 'data' of stack.npy with the shape (5, 10, 9). Use --ndim 2 for",
        ),
        ("info pattern.h5 --kind amplitude", "kind must be one of 'intensity', 'magnitude', got 'amplitude'"),
        ("info pattern.h5::none", "KEY in FILE::KEY must name an array of pattern.h5, got 'none'"),
        ("info two.npz", "FILE::KEY must say which array of two.npz to read, got None. It holds 'a'"),
        ("info masked.npz", "--mask-is must say what the non-zero pixels of 'mask' of masked.npz are. Pass --mask-is "),
        ("info pattern.h5 --center 99,0", "center must be a pixel inside the frame (24, 20), got (99, 0)"),
        ("info pattern.h5 --mask stack.npy", "--mask must broadcast to the intensity (24, 20), got (5, 10, 9)"),
        ("info negative.npy", "FILE must hold a measured pixel in every pattern, got none"),
        ("info nan.npy", "got none. Look at FILE::KEY, and at --mask or --bad-pixels if given."),
        ("info pattern.h5 --mask none.npy", "--mask must name a file, got 'none.npy', which does not exist"),
        ("info pattern.h5 --mask nothing.npy", "--mask must hold a measured pixel in every pattern, got none"),
        ("info pattern.h5 --bad-pixels none.npy", "--bad-pixels must name a file, got 'none.npy', which does not"),
        ("info pattern.h5 --bad-pixels zero.npy", "--bad-pixels must broadcast to the intensity (24, 20), got (10, 9)"),
        ("info pattern.h5 --index 0", "--index must be left out for a single pattern of shape (24, 20), got 0. Only a"),
        ("info stack.h5 --index 9:", "--index must lie in a stack of 5, got 9:. Count from 0 to 4."),
        ("info complex.npy", "must hold one real number per pixel, got complex64. Name another array as FILE::KEY."),
        ("info zero.npy", "FILE must hold a value above 0 in every pattern, got none"),
        (
            "info pattern.h5 --figure old.h5",
            "--figure must not exist yet, got 'old.h5'. Choose another path or use --overwrite.",
        ),
        ("info pattern.h5 --figure p.xyz", "the ending of --figure must be one of "),
        (
            "reconstruct pattern.h5 -o old.h5",
            "phaseret reconstruct: error: --output must not exist yet, got 'old",
        ),
        ("reconstruct pattern.h5 -o none/r.h5", "--output must lie in an existing folder, got 'none'"),
        ("reconstruct pattern.h5 -o /dev/full", "--output must not exist yet, got '/dev/full'"),
        ("reconstruct pattern.h5 -o pipe.h5 --overwrite", "--output must name a file, got the device 'pipe.h5'"),
        ("reconstruct none.h5 -o r.h5", "FILE must name a file, got 'none.h5', which does not exist"),
        ("reconstruct negative.npy -o r.h5", "FILE must hold a measured pixel in every pattern, got none"),
        ("reconstruct pattern.h5 -o r.h5 --init none.npy", "--init must name a file, got 'none.npy', which does"),
        ("reconstruct pattern.h5 -o r.h5 --init zero.npy::x", "KEY in FILE::KEY must name an array of zero.npy"),
        ("reconstruct pattern.h5 -o r.h5 --init complex.npy", "--init must have the shape (10, 9) or (12, 10, 9), got"),
        ("reconstruct pattern.h5 -o r.h5 --support none.npy", "--support must name a file, got 'none.npy', which does"),
        ("reconstruct pattern.h5 -o r.h5 --support 9", "--support must have 2 sizes, one for each axis of a pattern"),
        ("reconstruct pattern.h5 -o r.h5 --support-size 999", "--support-size must be at most the 480 pixels of a"),
        ("reconstruct pattern.h5 -o r.h5 --figure old.h5", "--figure must not exist yet, got 'old.h5'"),
        ("reconstruct pattern.h5 -o r.h5 --support zero.npy", "'data' of zero.npy must be non-zero somewhere"),
        ("reconstruct pattern.h5 -o r.h5 --support 0,3", "support must hold positive sizes, got "),
        ("reconstruct pattern.h5 -o r.h5 --support 99,99", "--support must be at most (12, 10) for data of (24, 20)"),
        ("reconstruct pattern.h5 -o r.h5 --support 16,15", "; or --undersampled where such data are wanted"),
        ("reconstruct pattern.h5 -o r.h5 --schedule dance:7", "--schedule 'dance:7' must have a step at 'dance:7'"),
        ("reconstruct pattern.h5 -o r.h5 --constraint happy", "--constraint must be one of 'complex', "),
        ("reconstruct pattern.h5 -o r.h5 --starts 0", "starts must be an integer of at least 1, got 0"),
        ("reconstruct pattern.h5 -o r.h5 --device abacus", "device must be one that works here, got 'abacus' ("),
        ("reconstruct stack.h5 -o r.h5 --index 9:", "index must lie in a stack of 5, got "),
        ("reconstruct stack.h5 -o r.h5 --block 0", "block must be an integer of at least 1, got 0"),
        (
            "reconstruct stack.h5 -o r.h5 --checkpoint-every 9",
            "--checkpoint-every must be left out for a stack, got 9. A stack is kept by blocks: use --block.",
        ),
        (
            "reconstruct stack.h5 -o r.h5 --timeout 0",
            "timeout must be a finite number above 0 and at most 1",
        ),
        (
            "reconstruct pattern.h5 -o r.tif",
            "the ending of --output must be one of '.cxi', '.h5', '.hdf5', '.npz', '.vti'",
        ),
        ("reconstruct pattern.h5 -o r.h5 --figure p.xyz", "the ending of --figure must be one of "),
        (
            "reconstruct bare.h5 -o r.h5 --support none",
            "Give --support or --support-size, or --constraint nonnegative.",
        ),
        ("simulate negative.npy -o r.h5", "negative.npy must be finite, non-negative and above 0 somewhere"),
        (
            "simulate complex.npy -o r.h5",
            "complex.npy must be real, got torch.complex64. Give modulus and phase as two",
        ),
        ("simulate none.png -o r.h5", "IMAGE must name a file, got 'none.png', which does not exist"),
        ("simulate pattern.npy -o r.h5 --phase none.png", "--phase must name a file, got 'none.png', which does not"),
        ("simulate pattern.npy -o r.h5 --phase nan.npy --size 8,8", "nan.npy must be finite, non-negative and above 0"),
        ("simulate pattern.npy -o r.h5 --phase nothing.npy", "nothing.npy must be finite, non-negative and above 0"),
        (
            "simulate pattern.npy -o r.h5 --phase good.npy",
            "--phase must have the shape of IMAGE, (10, 9), got (24, 20)",
        ),
        (
            "simulate pattern.npy -o r.h5 --fourier-shape 32",
            "--fourier-shape must have one size for each axis of IMAGE",
        ),
        ("simulate pattern.npy -o r.h5 --readout -3", "--readout must be a finite number at least 0, got -3.0"),
        ("simulate pattern.npy -o r.h5 --beam-stop -3", "--beam-stop must be a finite number at least 0, got -3.0"),
        ("simulate pattern.npy -o r.h5 --seed -3", "--seed must be an integer of at least 0, got -3"),
        ("simulate pattern.npy -o old.h5", "--output must not exist yet, got 'old.h5'"),
        (
            "simulate pattern.npy -o r.tif",
            "the ending of --output must be one of '.cxi', '.h5', '.hdf5', '.npz', '.vti', got '.tif'",
        ),
        ("simulate pattern.npy -o r.h5 --fourier-shape 12,12", "--fourier-shape must be at least (19, 17) = 2n-1"),
        ("simulate pattern.npy -o r.h5 --photons -3", "photons must be a finite number above 0, got -3.0"),
        ("simulate pattern.npy -o r.h5 --size 3", "--size must be two numbers, for a picture of two axes, got (3,)"),
        (
            "simulate pattern.npy -o r.h5 --phase zero.npy",
            "zero.npy must be finite, non-negative and above 0 somewhere",
        ),
        (
            "compare some.npy stack.npy --ndim 2",
            "A and B must be stacks of as many objects, or one of them a single object, got 3 and 5 objects, of the",
        ),
        (
            "compare pattern.npy stack.npy --ndim 3",
            "--ndim must be at most the axes of A and B, (10, 9) and (5, 10, 9)",
        ),
        (
            "compare bare.h5 pattern.npy",
            "bare.h5 must hold an object, got a diffraction pattern. Reconstruct it first, or",
        ),
        (
            "info found.h5",
            "found.h5 must hold an intensity, got an object in 'entry_1/image_1/data'. Give it to phaseret compare, or",
        ),
        ("compare pattern.npy zero.npy", "B must not be 0 everywhere, got zero.npy"),
        ("compare none.npy pattern.npy", "A must name a file, got 'none.npy', which does not exist"),
        ("compare pattern.npy pattern.npy --figure old.h5", "--figure must not exist yet, got 'old.h5'"),
        ("compare pattern.npy text", "B must name a file of a known kind, got 'text'"),
    ],
)
def test_whatever_is_wrong_is_one_line(
    line: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "text").write_text("a text")
    (folder / "old.h5").write_text("precious")
    (folder / "cut.h5").write_bytes((folder / "pattern.h5").read_bytes()[:3000])
    (folder / "empty.h5").touch()
    (folder / "dir").mkdir()
    os.mkfifo("pipe.h5")
    np.save("evil.npy", np.array([{}], dtype=object))
    np.savez("evil.npz", np.array([{}], dtype=object))
    np.save("nan.npy", np.full((8, 8), np.nan))
    np.save("nothing.npy", np.zeros((24, 20)))
    np.save("good.npy", np.ones((24, 20)))
    np.save("negative.npy", -np.ones((8, 8)))
    np.save("zero.npy", np.zeros((10, 9)))
    np.save("some.npy", np.ones((3, 10, 9)))
    np.save("complex.npy", np.ones((4, 4), np.complex64))
    np.savez("two.npz", a=np.ones((4, 4)), b=np.ones((4, 4)))
    np.savez("masked.npz", intensity=np.ones((4, 4)), mask=np.ones((4, 4)))
    pr.io.save_intensity("bare.h5", pr.operators.fourier_intensity(digit(), (24, 20)))
    measured = pr.io.load_intensity("pattern.h5")
    found = pr.solvers.ErrorReduction(2)(measured.intensity, support=measured.support, constraint="real")
    pr.io.save_reconstruction("found.h5", found)
    names, before = listing(folder), {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    said = fails(line, capsys)
    assert message in said
    assert "path" not in said.replace("another path", "")
    assert listing(folder) == names
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_colour_picture_is_no_pattern(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save("colour.png")
    said = fails("reconstruct colour.png -o r.h5", capsys)
    assert "got a colour picture. A diffraction pattern is needed; of a picture of the object, make one with " in said
    assert said.endswith("make one with phaseret simulate.\n")


@pytest.mark.parametrize(
    "command", ["reconstruct pattern.h5 -o r.h5", "info pattern.h5", "simulate pattern.npy -o r.h5"]
)
def test_a_missing_matplotlib_is_said_before_the_work(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    interrupt_after(0, monkeypatch, AssertionError("the work began"))
    said = fails(f"{command} --figure r.png", capsys)
    assert 'the package matplotlib must be installed. Install it with pip install "phaseret[demo]".' in said
    assert not {"r.h5", "r.png"} & listing(folder)


def test_advice_is_given_in_options(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shifted = np.roll(pr.operators.fourier_intensity(digit(), (24, 20)).numpy(), (14, 9), (0, 1))
    np.save("shifted.npy", shifted)
    assert "of the frame: load it with --center 14,9" in run("info shifted.npy", capsys)[1]


def test_unforeseen_errors_are_one_line_too(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object) -> None:
        raise ZeroDivisionError("over\nmy feet")

    monkeypatch.setattr(pr.io, "inspect", stumble)
    assert fails("info pattern.h5", capsys) == "phaseret info: internal error: ZeroDivisionError: over my feet\n"
    with pytest.raises(ZeroDivisionError):
        main(["info", "pattern.h5", "--debug"])


def test_interrupts_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(0, monkeypatch, KeyboardInterrupt())
    assert fails("reconstruct pattern.h5 -o r.h5", capsys, status=130) == "phaseret reconstruct: interrupted\n"
    assert "r.h5" not in listing(folder)


def test_warnings_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Six starts of three steps of error reduction do not agree."""
    status, _, err = run("reconstruct pattern.h5 --schedule er:3 --starts 6 --constraint complex -o r.h5", capsys)
    assert status == 0
    assert err.startswith("phaseret reconstruct: warning: 1 of 1 reconstructions are not unique")
    assert err.count("\n") == 1


@pytest.mark.once
def test_what_cannot_be_printed_is_an_error(folder: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    for unbuffered in ("", "1"):
        with open("/dev/full", "w") as full:
            found = subprocess.run(
                [sys.executable, "-m", "phaseret.cli", "info", "pattern.h5"],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            )
        assert found.returncode == 1
        assert re.fullmatch(
            "phaseret info: error: the standard output must be .*No space left on device.*\n", found.stderr
        )


def test_too_little_memory_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 3221225472 bytes."
    interrupt_after(0, monkeypatch, RuntimeError(short))
    said = fails("reconstruct pattern.h5 -o r.h5 --starts 99", capsys)
    assert "pattern and starts, 99 starts of (24, 20), must fit into memory, got 3 GiB asked for at once. Use f" in said
    interrupt_after(0, monkeypatch, RuntimeError("something else"))
    assert "internal error: RuntimeError: something else" in fails("reconstruct pattern.h5 -o r.h5", capsys)


def test_the_installed_command_runs(folder: Path) -> None:
    """A full disk, which a limit on the size of files imitates, in a process of its own."""
    pytest.importorskip("resource")
    code = (
        "import resource, sys\nfrom phaseret.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\nsys.exit(main())"
    )
    line = ["simulate", "stack.npy", "--fourier-shape", "48,48,48", "-o", "x.h5"]
    found = subprocess.run([sys.executable, "-c", code, *line], capture_output=True, text=True)
    assert found.returncode == 1
    assert found.stdout == ""
    expected = "x.h5 must be writable, got the error: the disk is full. Free some space."
    assert found.stderr == f"phaseret simulate: error: {expected}\n"
    assert listing(folder) == {"pattern.h5", "pattern.npy", "stack.h5", "stack.npy"}


def test_data_below_2n_minus_1_pass_where_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "reconstruct pattern.h5 -o r.h5 --support 16,15 --undersampled --schedule er:2 --starts 1"
    status, _, said = run(line, capsys)
    assert status == 0
    assert "do not determine" in said
    assert pr.io.load_object("r.h5").shape == (16, 15)


def test_an_interrupt_waits_until_what_is_loaded_is_whole(request: pytest.FixtureRequest) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    whole = []

    def load() -> None:
        with interrupted_later():
            signal.raise_signal(signal.SIGINT)
            whole.append(True)

    with pytest.raises(KeyboardInterrupt):
        load()
    assert whole
    with interrupted_later():
        pass


def test_a_picture_does_not_take_the_place_of_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.png").symlink_to("r.h5")
    said = fails("reconstruct p.h5 -o r.h5 --figure r.png --overwrite", capsys)
    assert "--figure must not be the file of --output, got 'r.png' for 'r.h5'. Name another" in said


def test_a_warning_can_be_copied(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(
        "reconstruct pattern.h5 --support 12,10 --schedule er:2 --starts 1 -o r.npz --overwrite", capsys
    )
    assert status == 0
    assert 'Use --constraint nonnegative or "real"; say --constraint complex if' in err


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
