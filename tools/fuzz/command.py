"""The command: options with values of all kinds, and surroundings such as closed streams and other alphabets."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import PIL.Image
import torch

import phaseret as pr
from phaseret.cli import main
from phaseret.cli._main import COMMANDS
from phaseret.cli._options import flags
from tools.fuzz._attempt import CLEAR, Refused, Target, Wrong, is_clear
from tools.fuzz._mutate import NUMBERS, words_mutated

SHORT = ("--schedule", "er:3", "--starts", "2", "-o", "out.h5", "--overwrite")
LINES = (
    ("info", "pattern.h5", "--json"),
    ("info", "simulated.h5", "--certify"),
    ("info", "stack.npz", "--ndim", "2", "--index", "0,2", "--figure", "out.png"),
    ("info", "frame_%d.npy", "--crop", "8,8", "--bin", "2", "--center", "5,6", "--roi", "0:12,0:10"),
    ("simulate", "picture.png", "--size", "6,6", "--photons", "1e4", "--beam-stop", "1", "-o", "out.npz"),
    ("simulate", "picture.png", "--phase", "picture.png", "--fourier-shape", "24,24", "--readout", "1", "-o", "out.h5"),
    ("reconstruct", "pattern.h5", "--support", "6,6", "--constraint", "real", "--bounds", "-0.5,0.5", *SHORT),
    ("reconstruct", "pattern.h5", "--mask", "mask.npy", "--init", "object.npy", "--background", "0.1", *SHORT),
    ("reconstruct", "pattern.h5", "--known", "known.npy", "--constraint", "nonnegative", *SHORT),
    ("reconstruct", "stack.npz", "--ndim", "2", "--support", "auto", "--block", "2", *SHORT),
    ("reconstruct", "pattern.h5", "--checkpoint-every", "2", "--double", "--figure", "out.png", *SHORT),
    ("compare", "object.npy", "picture.png", "--figure", "out.pdf"),
    ("@ascii", "compare", "object.npy", "object.npy", "--json"),
)
AROUND = ("@out-closed", "@err-closed", "@in-closed", "@out-full", "@err-full", "@out-broken", "@ascii")
AROUND += ("@WORLD_SIZE=2", "@WORLD_SIZE=x", "@RANK=-1", "@LOCAL_RANK=x", "@COLUMNS=x", "@COLUMNS=0", "@MPLBACKEND=x")
FILES = (
    "gone.h5",
    "link",
    "folder",
    "pipe",
    "empty",
    "object.npy",
    "mask.npy",
    "known.npy",
    "picture.png",
    "nan.npy",
    "words.txt",
)
VALUES = (*NUMBERS, *map(str.encode, FILES), *b"- -- auto none corner a,b 1,2,3 5,".split())
VALUES += (b"0:0", b"5:1", b":", b"::", b"pattern.h5::gone", b"\xff\xfe.npy", "é.npz".encode(), b"x" * 300, b"out.exe")
VALUES += (b"nonnegative", b"intensity", b"bad", b"cuda", b"mps", b"er:2,(", b"1,1", b"9" * 20 + b",1", b"frame_*.npy")


@cache
def files() -> dict[str, bytes]:
    """What lies in the folder of each call."""
    obj = torch.rand(6, 6, generator=torch.Generator().manual_seed(0))
    pattern = pr.operators.fourier_intensity(torch.stack([obj, obj.T, obj.flip(0)]), (12, 12))
    one = dataclasses.replace(pr.io.as_measurement(pattern[0]), support=torch.ones(6, 6, dtype=torch.bool))
    with TemporaryDirectory() as name:
        place = Path(name)
        pr.io.save_intensity(place / "pattern.h5", one)
        pr.io.save_intensity(place / "simulated.h5", dataclasses.replace(one, obj=obj))
        pr.io.save_intensity(place / "stack.npz", pattern)
        for number, frame in enumerate(pattern):
            np.save(place / f"frame_{number}.npy", frame.numpy())
        np.save(place / "object.npy", obj.numpy())
        np.save(place / "known.npy", obj.where(torch.arange(6) < 3, torch.nan).numpy())
        np.save(place / "mask.npy", np.arange(144).reshape(12, 12) != 5)
        np.save(place / "nan.npy", np.full((12, 12), np.nan))
        PIL.Image.fromarray((255 * obj).byte().numpy()).save(place / "picture.png")
        (place / "words.txt").write_text("no numbers\n")
        (place / "empty").touch()
        return {file.name: file.read_bytes() for file in sorted(place.iterdir())}


def put_files(folder: Path) -> None:
    """All of them, and what is none."""
    for name, content in files().items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir(exist_ok=True)
    (folder / "link").symlink_to("gone.h5")
    os.mkfifo(folder / "pipe")


def options() -> tuple[bytes, ...]:
    """All flags of all commands."""
    found = {flag.encode() for command in COMMANDS.values() for flag in flags(command).values()}
    return (*sorted(found), b"--debug", b"--help", b"-x", b"--")


def run(folder: Path, data: bytes) -> None:
    """The exit code, the lines of the standard error and the files that are left fit together."""
    words = [os.fsdecode(word.replace(b"/", b"")) for word in data.split(b"\0")]
    put_files(folder)
    with surroundings([word[1:] for word in words if word.startswith("@")], folder.with_name("said")) as said:
        code = called([word for word in words if not word.startswith("@")])
    check(code, said.read_text(errors="replace").splitlines(), "--debug" in words)
    if left := [file.name for file in folder.iterdir() if file.name.endswith(".part")]:
        raise Wrong(f"a part is left: {re.sub('[0-9a-f]{8}', 'X', left[0])}")
    if code:
        raise Refused(code)


def called(words: list[str]) -> Any:
    """The exit code of the command."""
    try:
        return main(words)
    except SystemExit as end:
        return end.code
    except CLEAR as error:  # as --debug shows it: the command does not stand in front of what it says itself
        if "--debug" in words and is_clear(type(error)(f"phaseret: {error}")):
            raise Refused(error) from None
        raise


def check(code: Any, lines: list[str], debug: bool) -> None:
    """Good is no error, bad is one; all lines are the command's own."""
    own = (
        r"phaseret( \w+)?: (error|warning|interrupted|block \d|\d+ starts? on )"  # the last: progress of a slow machine
    )
    strange = [line for line in lines if not re.match(own, line)]
    if strange and not debug:
        raise Wrong(f"said {strange[-1]}")
    errors = [line for line in lines if re.match(r"phaseret( \w+)?: error: ", line)]
    if code not in (0, 1, 2, 130) or (code == 0 and errors) or len(errors) > 1 or any(len(e) > 3000 for e in errors):
        raise Wrong(f"code {code} with {len(errors)} errors: {errors}")


class surroundings:
    """Standard streams and variables as the words say; what is said on the standard error goes to a file."""

    def __init__(self, words: list[str], said: Path) -> None:
        self.words, self.said = words, said

    def __enter__(self) -> Path:
        os.dup2(os.open(self.said, os.O_RDWR | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        closed = {word.partition("-")[0] for word in self.words if word.endswith("-closed")}
        for word in self.words:
            if "=" in word:
                variable, _, value = word.partition("=")
                os.environ[variable] = value
            elif word in ("out-full", "err-full"):
                os.dup2(os.open("/dev/full", os.O_RDWR), 1 if word == "out-full" else 2)
            elif word == "out-broken":
                reader, writer = os.pipe()
                os.close(reader)
                os.dup2(writer, 1)
        encoding = "ascii" if "ascii" in self.words else "utf-8"
        for number, name in enumerate(("in", "out", "err")):
            if name in closed:
                os.close(number)
                setattr(sys, f"std{name}", None)
            elif number:
                setattr(sys, f"std{name}", open(number, "w", encoding=encoding, closefd=False))
        return self.said

    def __exit__(self, *_: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()


def mutate(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """Options left out, added or with other values; now and then other surroundings."""
    pool = rng.choice((VALUES, options()))
    words = words_mutated(rng, rng.choice(seeds).split(b"\0"), pool)
    if rng.random() < 0.3:
        words.insert(0, rng.choice(AROUND).encode())
    return b"\0".join(words)


def seeds(folder: Path) -> list[bytes]:
    """The lines above; each is run here, so that all that this loads is there in the processes to come."""
    put_files(folder)
    before = Path.cwd()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        os.chdir(folder)
        for line in LINES:
            main([word for word in line if not word.startswith("@")])
        os.chdir(before)
    return ["\0".join(line).encode() for line in LINES]


TARGETS = {
    "command": Target(
        "the command: its options, and where it is called", seeds, run, mutate, 20, batch=1, may_take_long="solvers/"
    )
}
