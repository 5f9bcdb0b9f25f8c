"""Accidents of disks, folders and streams: full, removed, not to be read or written. Each ends in one clear error."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import phaseret as pr
from commands import three_files
from phaseret import _output, plotting
from phaseret.cli import main

posix = pytest.mark.skipif(os.name != "posix", reason="needs limits and modes of POSIX")
SOLVE = ("reconstruct", "p.npz", "--support", "8,8", "--constraint", "nonnegative", "--schedule", "er:20", "-o")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return three_files(tmp_path, monkeypatch)


def fails(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line with which a command ends."""
    assert main(words) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if ": warning: " not in line]
    assert len(said) == 1, said
    assert re.match(r"phaseret [a-z]+: error: ", said[0]), said
    return said[0]


@contextlib.contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may become larger than so many bytes, as on a disk that is full."""
    resource: Any = importlib.import_module("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def modes_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modes of files count for whoever runs the tests, be it their administrator."""

    def access(path: Any, asked: int) -> bool:
        return bool(os.path.exists(path)) and (os.stat(path).st_mode >> 6) & asked == asked

    monkeypatch.setattr(os, "access", access)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- full disks -------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("ending", ["png", "pdf", "svg", "svgz", "eps", "tif", "jpg"])
def test_a_picture_on_a_full_disk_is_one_error_and_no_file(ending: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = plotting.plot_pattern(pr.io.as_measurement(torch.rand(6, 6)))
    with disk_of(100), pytest.raises(OSError, match=r"must be writable, got the error: the disk is full"):
        plotting.save_figure(tmp_path / f"a.{ending}", figure)
    assert listing(tmp_path) == []


@posix
@pytest.mark.parametrize("name", ["r.npz", "r.h5", "r.vti"])
def test_results_on_a_full_disk_are_one_error_and_no_file(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("h5py")
    pytest.importorskip("pyevtk")
    before = listing(folder)
    with disk_of(100):
        assert re.search(
            "the disk is full|must have room for a .vti file, got a full disk", fails(capsys, *SOLVE, name)
        )
        stack = ("reconstruct", "s.npz", "--ndim", "2", "--block", "1", *SOLVE[2:], "s.h5")
        assert "run.json must be writable, got the error: the disk is full" in fails(capsys, *stack)
    assert listing(folder) == before
    assert not [*Path(tempfile.gettempdir()).glob(f"{_output._SCRATCH}*/image.vti")]


def test_without_a_temporary_folder_no_work_is_begun(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyevtk")
    Path("p.npz.gz").write_bytes(gzip.compress(Path("p.npz").read_bytes()))

    def none(*_: Any, **__: Any) -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "mkdtemp", none)
    rule = "a temporary folder must be there to {}, got the error: .* Set TMPDIR to a folder that can be written to"
    with pytest.raises(OSError, match=rule.format("make a .vti file in")):
        pr.io.check_output("r.vti")
    with pytest.raises(OSError, match=rule.format("unpack p.npz.gz")):
        pr.io.load_intensity("p.npz.gz")


@posix
def test_a_result_without_its_picture_is_kept_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    with disk_of(8000):
        assert main([*SOLVE, "r.npz", "--figure", "r.png"]) == 1
    captured = capsys.readouterr()
    assert captured.out.endswith(f"{'written':18}r.npz\n")
    assert captured.err.endswith("error: r.png must be writable, got the error: the disk is full. Free some space.\n")
    assert pr.io.load_reconstruction("r.npz")["obj"].shape == (8, 8)


def test_a_picture_that_needs_a_program_that_is_not_here(tmp_path: Path) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()

    def savefig(*_: Any, **__: Any) -> None:
        raise RuntimeError("'xelatex' not found; install it.")

    figure.savefig = savefig
    message = "a.pgf must be drawn by Matplotlib, got the error: 'xelatex' not found; install it. Use a .png"
    with pytest.raises(OSError, match=re.escape(message)):
        plotting.save_figure(tmp_path / "a.pgf", figure)


# --- folders and files that are gone, or belong to others -------------------------------------------------------------


@posix
@pytest.mark.parametrize("place", ["gone/x.npz", "here/x.npz"])
def test_a_link_to_what_does_not_exist_is_named_as_such(place: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    link = tmp_path / "l.npz"
    link.symlink_to(tmp_path / place)
    for overwrite in (False, True):
        with pytest.raises(FileNotFoundError, match=rf"must not be a link to what does not exist, got .*{place}'"):
            pr.io.save_intensity(link, torch.rand(4, 4) + 1, overwrite=overwrite)
    assert link.is_symlink()
    assert listing(tmp_path / "here") == []


@posix
@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("reconstruct", "{}/p.npz", *SOLVE[2:], "r.npz"), "--output"),
        (("simulate", "{}/o.npy", "-o", "x.npz"), "--output"),
        (("compare", "{}/o.npy", "{}/o.npy", "--ndim", "2", "--figure", "x.png"), "--figure"),
        (("bench", "digits", "--out", "b"), "--out"),
    ],
)
def test_a_folder_that_was_removed_is_named(
    words: tuple[str, ...],
    option: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    Path("../gone").rmdir()
    said = fails(capsys, *(word.format(folder) for word in words))
    assert f"{option} must lie in an existing folder, got '" in said
    assert "in one that was removed. Change to one that exists, or give the whole path." in said


@posix
def test_what_may_not_be_written_is_refused_before_the_work(
    folder: Path, modes_count: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, mode in (("ro", 0o500), ("blind", 0o600)):
        Path(name).mkdir()
        Path(name).chmod(mode)
        assert f"--output must lie in a folder that may be written to, got '{folder / name}'" in fails(
            capsys, *SOLVE, f"{name}/r.npz"
        )
    for out in ("ro", "ro/deep/er"):
        assert "--out must lie in a folder that may be written to, got" in fails(
            capsys, "bench", "digits", "--out", out
        )
    assert "--out must be a folder, got the file" in fails(capsys, "bench", "digits", "--out", "p.npz/b")
    Path("kept.npz").write_bytes(b"mine")
    Path("kept.npz").chmod(0o400)
    assert "--output must be a file that may be written to, got 'kept.npz'" in fails(
        capsys, *SOLVE, "kept.npz", "--overwrite"
    )
    assert Path("kept.npz").read_bytes() == b"mine"


@posix
def test_what_may_not_be_read_is_said_to_be_that(
    folder: Path, modes_count: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("p.npz").chmod(0o200)
    rule = "must be one that you may read, got 'p.npz': permission denied. Ask its owner, or copy it."
    assert f"FILE {rule}" in fails(capsys, "info", "p.npz")
    assert f"--mask {rule}" in fails(capsys, "info", "s.npz", "--mask", "p.npz")
    with pytest.raises(PermissionError, match=re.escape(f"load: path {rule}")):
        pr.models.load("p.npz")
    stat = os.stat

    def guarded(path: Any, *args: Any, **options: Any) -> os.stat_result:
        if "blind" in str(path):
            raise PermissionError(13, "Permission denied")
        return stat(path, *args, **options)

    monkeypatch.setattr(os, "stat", guarded)
    assert "FILE must be one that you may read, got 'blind/x.h5'" in fails(capsys, "info", "blind/x.h5")


def test_a_folder_in_the_place_of_a_checkpoint_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("r.npz.checkpoint").mkdir()
    for more in ((), ("--restart",)):
        said = fails(capsys, *SOLVE, "r.npz", "--checkpoint-every", "5", *more)
        assert "r.npz.checkpoint must be a file that an interrupted run kept, got a folder. Move it away" in said


@posix
def test_a_pipe_is_not_waited_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe")
    for words in (("info", "pipe"), ("compare", "pipe", "o.npy"), ("info", "p.npz", "--mask", "pipe")):
        assert "must name a file, got the pipe or device 'pipe'" in fails(capsys, *words)
    assert "FILE must be a JSON of bench-1, got a pipe or device: 'pipe'" in fails(capsys, "bench", "verify", "pipe")


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("info", ""), "FILE"),
        (("info", "p.npz", " "), "FILE"),
        (("info", "p.npz", "--mask", ""), "--mask"),
        ((*SOLVE, ""), "-o/--output"),
        ((*SOLVE, "r.npz", "--figure", ""), "--figure"),
        (("simulate", "", "-o", "x.npz"), "IMAGE"),
        (("compare", "o.npy", ""), "B"),
        (("bench", "--out", ""), "--out"),
    ],
)
def test_a_name_that_a_script_has_not_set_is_refused(
    words: tuple[str, ...], option: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = listing(folder)
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert f"error: argument {option}: must name a file or a folder, got '" in capsys.readouterr().err
    assert listing(folder) == before


def test_a_file_that_is_read_is_not_taken_for_what_a_run_has_kept(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("p.npz").rename("r.npz.checkpoint")
    for more in ((), ("--restart",), ("--checkpoint-every", "5", "--restart")):
        said = fails(capsys, "reconstruct", "r.npz.checkpoint", *SOLVE[2:], "r.npz", *more)
        assert "what is kept beside --output must not be a file that is read, got 'r.npz.checkpoint'" in said
    assert pr.io.load_intensity("r.npz.checkpoint").fourier_shape == (16, 16)


# --- streams ----------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.once
@pytest.mark.parametrize("words", ["--help", "--version", "info --help"])
def test_help_that_cannot_be_printed_is_an_error(words: str) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "phaseret.cli", *words.split()]
        found = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert found.returncode == 1
    assert re.fullmatch(
        r"phaseret.*: error: the standard output must be writable, got the error: No .*\n", found.stderr
    )
