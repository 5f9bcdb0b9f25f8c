"""``phaseret reconstruct`` of a stack in blocks, and of what an interrupted run kept."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import phaseret as pr
from commands import QUICK, assert_same, fails, interrupt_after, listing, pattern_of_a_curved_wave, prepared, run
from phaseret.cli import _phase, main

pytest.importorskip("h5py")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return prepared(tmp_path, monkeypatch)


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


def stopped(reconstruct: Callable[..., Any], seen: list[int], count: int, *args: Any, **options: Any) -> Any:
    """A run that is interrupted once its state was kept so often; the iterations of these are written to `seen`."""
    keep = options["checkpoint"]

    def keep_and_stop(state: dict[str, Any]) -> None:
        keep(state)
        seen.append(state["iteration"])
        if len(seen) == count:
            raise KeyboardInterrupt

    return reconstruct(*args, **{**options, "checkpoint": keep_and_stop})


def test_a_killed_run_goes_on_from_its_checkpoint(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"reconstruct pattern.h5 {QUICK} --starts 2 --checkpoint-every 20 -o r.h5"
    seen: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(pr.solvers, "reconstruct", partial(stopped, pr.solvers.reconstruct, seen, 2))
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


def test_the_search_for_a_phase_goes_on_from_its_checkpoint(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part has what it found to the last digits, or nearly, as on another machine."""
    np.save("pattern.npy", pattern_of_a_curved_wave())
    monkeypatch.setattr(_phase, "_BETTER", float("inf"))
    monkeypatch.setattr(_phase, "_SCHEDULE", "rrr:60,er:10")
    solve = pr.solvers.reconstruct
    seen: list[tuple[bool, int]] = []

    def short(*args: object, stop: int = 0, nearly: float = 1, **options: object) -> pr.solvers.Reconstruction:
        keep, second = options.get("checkpoint"), "phase_range" in options

        def keep_and_die(state: dict[str, object]) -> None:
            keep(state)
            seen.append((second, state["iteration"]))
            if len(seen) == stop:
                raise KeyboardInterrupt

        if keep is not None:
            options["checkpoint"] = keep_and_die
        found = solve(*args, **{"schedule": "raar:40,er:10"} | options)
        return dataclasses.replace(found, objs=found.objs * (1 if second else nearly))

    line = "reconstruct pattern.npy -o r.h5"
    monkeypatch.setattr(pr.solvers, "reconstruct", short)
    assert run(line.replace("r.h5", "whole.h5"), capsys)[0] == 0
    whole = pr.io.load_reconstruction("whole.h5")
    line += " --checkpoint-every 20 --overwrite"
    for stop, nearly, kept in ((2, 1, [(False, 20), (False, 40)]), (4, 1 + 1e-5, [(True, 20), (True, 40)])):
        seen.clear()
        monkeypatch.setattr(pr.solvers, "reconstruct", partial(short, stop=stop))
        fails(line, capsys, status=130)
        assert seen[-2:] == kept
        monkeypatch.setattr(pr.solvers, "reconstruct", partial(short, nearly=nearly))
        seen.clear()
        assert run(line, capsys)[0] == 0
        assert seen[0] > kept[-1]
        assert "r.h5.checkpoint" not in listing(folder)
        resumed = pr.io.load_reconstruction("r.h5")
        assert resumed["obj"].is_complex()
        for name in ("obj", "objs", "history", "errors"):
            assert torch.equal(resumed[name], whole[name]), name


def test_a_damaged_checkpoint_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "r.h5.checkpoint").write_bytes(b"half of it")
    line = "reconstruct pattern.h5 --schedule er:3 --checkpoint-every 2 -o r.h5"
    assert "r.h5.checkpoint must be a whole checkpoint, got the error: " in fails(line, capsys)
    (folder / "r.h5.checkpoint").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(pr.solvers, "reconstruct", partial(stopped, pr.solvers.reconstruct, [], 1))
        fails(line, capsys, status=130)
    kept = torch.load("r.h5.checkpoint", weights_only=True)
    kept["state"]["history"][0] += 1  # as a whole file
    torch.save(kept, "r.h5.checkpoint")
    assert "r.h5.checkpoint must be a whole checkpoint, got the error: ValueError" in fails(line, capsys)
    torch.save({"another": torch.ones(3)}, "r.h5.checkpoint")
    assert "r.h5.checkpoint must be a whole checkpoint, got the error: KeyError. Use --restart" in fails(line, capsys)


def test_damaged_parts_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"reconstruct stack.h5 {QUICK} --block 2 -o r.h5"
    (folder / "r.h5.parts").touch()
    assert "r.h5.parts must be a folder, got a file. Remove it, or choose another output." in fails(line, capsys)
    (folder / "r.h5.parts").unlink()
    (folder / "r.h5.parts").symlink_to("nowhere")
    assert "r.h5.parts must be a folder, got a link to what does not exist. Remove it" in fails(line, capsys)
    (folder / "r.h5.parts").unlink()
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(1, patch, KeyboardInterrupt())
        fails(line, capsys, status=130)
    note = folder / "r.h5.parts" / "run.json"
    for damaged in ("{", "[]", "[" * 9999, "7"):
        note.write_text(damaged)
        assert "run.json must be whole, got a damaged file. Use --restart to begin anew." in fails(line, capsys)
    note.unlink()
    for number in ("run.json", "000000.json", "000000.npz"):
        kept = folder / "r.h5.parts" / number
        kept.unlink(missing_ok=True)
        os.mkfifo(kept)
        said = f"{number} must be a file that an interrupted run kept, got a pipe or device. Move it away, or choose"
        assert said in fails(line, capsys)
        assert said in fails(f"{line} --restart", capsys)
        kept.unlink()
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


def test_a_folder_that_another_run_removed_is_said_to_be_that(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solve = pr.solvers.reconstruct

    def late(*args: Any, **options: Any) -> Any:
        shutil.rmtree(folder / "r.h5.parts")
        return solve(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pr.solvers, "reconstruct", late)
        said = fails(f"reconstruct stack.h5 {QUICK} --block 2 -o r.h5", capsys)
    assert "r.h5.parts must stay until the run ends, got none: another run with this output has ended and" in said


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


def test_a_wrong_pattern_of_a_stack_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = np.ones((4, 8, 8), np.float32)
    stack[3] = 0
    np.save("holes.npy", stack)
    said = fails('reconstruct holes.npy --ndim 2 --block 2 --support 3,3 --schedule "er:2" -o r.h5', capsys)
    assert "error: patterns 2 to 3: FILE must hold a value above 0 in every pattern, got" in said
    assert listing(folder / "r.h5.parts") == {"000000.npz", "000000.json", "run.json"}
    fails('reconstruct holes.npy --ndim 2 --block 4 --support 3,3 --schedule "er:2" -o all.h5', capsys)
    assert "all.h5.parts" not in listing(folder)
