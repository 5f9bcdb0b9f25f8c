"""The command as a whole: its help, how it is started, and what an interrupt does."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import phaseret as pr
from commands import fails, interrupt_after, listing, prepared, run
from phaseret.cli import _main
from phaseret.cli._streams import interrupted_later

pytest.importorskip("h5py")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return prepared(tmp_path, monkeypatch)


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


def test_an_interrupt_before_a_command_begins_is_one_line_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_main, "_parser", interrupted)
    assert fails("info pattern.h5", capsys, status=130) == "phaseret: interrupted\n"


def test_interrupts_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(0, monkeypatch, KeyboardInterrupt())
    assert fails("reconstruct pattern.h5 -o r.h5", capsys, status=130) == "phaseret reconstruct: interrupted\n"
    assert "r.h5" not in listing(folder)


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
