"""One input, tried in a process of its own whose memory and time are bounded, and what became of it."""

from __future__ import annotations

import faulthandler
import json
import os
import re
import resource
import select
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NoReturn

import torch

from tools.fuzz._mutate import mutated

#: What a clear error may be, and how it begins: the name of what was called, the rule.
CLEAR = (ValueError, TypeError, OSError, ImportError, MemoryError)
_WORDING = re.compile(r"[A-Za-z_.]+: .*\bmust\b", re.DOTALL)
_LONGEST = 3000
ASLEEP = 300  # seconds of the clock in which nothing at all happens


@dataclass(frozen=True)
class Target:
    """What is fuzzed.

    Attributes:
        about: One line.
        seeds: Makes valid inputs, in the folder where they will be tried.
        run: Tries an input in that folder, which is empty; raises what is wrong, or the package's clear error; may
            tell how many kills it survived.
        mutate: Makes an input out of the seeds.
        seconds: Of the processor, for one input.
        memory: Bytes beside those of a process that has done nothing.
        batch: Inputs tried in one process, which saves time; 1 where one would leave something behind.
        may_take_long: What a hang's traceback names where the input asked for so much work.
    """

    about: str
    seeds: Callable[[Path], list[bytes]]
    run: Callable[[Path, bytes], int | None]
    mutate: Callable[[Random, Sequence[bytes]], bytes] = mutated
    seconds: int = 10
    memory: int = 2 << 30
    batch: int = 25
    may_take_long: str = "\0"


@dataclass(frozen=True)
class Outcome:
    """What became of an input: "accepted", "refused", "busy", or a finding that is known by its `kind`."""

    kind: str
    said: str = field(default="", compare=False)

    @property
    def is_finding(self) -> bool:
        return self.kind not in ("accepted", "refused", "busy")


class Refused(Exception):
    """A clear error that was not raised but printed."""


class Wrong(AssertionError):
    """An answer that fails a check of the target."""


def is_clear(error: BaseException) -> bool:
    """Whether an error is one of the package's own."""
    text = str(error)
    return isinstance(error, Refused) or (
        isinstance(error, CLEAR) and bool(_WORDING.match(text)) and len(text) < _LONGEST
    )


def attempt(target: Target, data: bytes, folder: Path) -> Outcome:
    """Try one input in the folder, which is emptied before."""
    return attempts(target, [data], folder)[0]


def attempts(target: Target, inputs: Sequence[bytes], folder: Path) -> list[Outcome]:
    """Try inputs one after the other in one process, until one of them is a finding: the outcomes so far."""
    log = folder.with_name("log")
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _try(target, inputs, folder, writer, log)
    os.close(writer)
    # Naps are counted here and not on the clock: whoever stops these processes for a while costs them nothing.
    told, naps = b"", 0
    while naps < ASLEEP:
        if select.select([reader], [], [], 1)[0]:
            if not (part := os.read(reader, 65536)):
                break
            told, naps = told + part, 0
        else:
            naps += 1
    else:
        os.kill(child, signal.SIGKILL)
    os.close(reader)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    outcomes = [Outcome(*json.loads(line)) for line in told.splitlines()]
    if code and not (outcomes and outcomes[-1].is_finding):
        said = log.read_text(errors="replace") if log.exists() else ""
        name = "asleep" if naps == ASLEEP else "hang" if code == -signal.SIGPROF else signal.Signals(-code).name
        busy = name == "hang" and target.may_take_long in said
        outcomes.append(Outcome("busy" if busy else f"{name}{_place(said)}", said))
    return outcomes


def _try(target: Target, inputs: Sequence[bytes], folder: Path, writer: int, log: Path) -> NoReturn:
    """In the process that may be lost: bound it, try, tell, end."""
    try:
        stream = log.open("w")
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        faulthandler.enable(stream)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        faulthandler.register(signal.SIGPROF, stream, chain=True)
        warnings.simplefilter("ignore")
        torch.compiler.set_stance("force_eager")  # the compiler's threads did not come along: it would wait for them
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + target.memory,) * 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (target.memory,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for data in inputs:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            os.chdir(folder)
            signal.setitimer(signal.ITIMER_PROF, target.seconds)
            try:
                outcome = Outcome("accepted", str(target.run(folder, data) or 0))
            except BaseException as error:
                trace = "".join(traceback.format_exception(error))[-20000:]
                outcome = Outcome("refused" if is_clear(error) else _kind(error), trace)
            os.write(writer, json.dumps([outcome.kind, outcome.said]).encode() + b"\n")
            if outcome.is_finding:
                break
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os.kill(os.getpid(), signal.SIGABRT)  # it could not even tell
    raise AssertionError


def _kind(error: BaseException) -> str:
    """What tells findings apart: the type, and where in the package and at last it arose; or what check failed."""
    if isinstance(error, Wrong):
        return "wrong: " + re.sub(r"\s+", " ", re.sub(r"\d+", "N", str(error)))[:160]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "phaseret" in frame.filename or "experiments" in frame.filename]
    places = dict.fromkeys(f"{Path(frame.filename).name}:{frame.name}" for frame in [*ours[-2:], *frames[-1:]])
    return f"{type(error).__name__} in {' > '.join(places)}"


def _place(said: str) -> str:
    """Where a process was when it was lost, as its dump of the stack says, the last call first."""
    frames = re.findall(r'File "([^"]+)", line \d+ in (\S+)', said)
    ours = [frame for frame in frames if "phaseret/" in frame[0]]
    places = dict.fromkeys(f"{Path(name).name}:{function}" for name, function in [*ours[:1], *frames[:1]])
    return f" in {' > '.join(places)}" if places else ""


def processor_seconds() -> float:
    """Seconds of the processor for this process and those that it waited for: no other load counts."""
    return sum(os.times()[:4])


def shortened(target: Target, data: bytes, found: Outcome, folder: Path, seconds: float = 10) -> bytes:
    """The input without what the finding can do without, as far as is known after so long."""
    size, at, end = max(1, len(data) // 2), 0, processor_seconds() + seconds
    while data and processor_seconds() < end:
        shorter = data[:at] + data[at + size :]
        if attempt(target, shorter, folder) == found:
            data = shorter
        else:
            at += size
        if at >= len(data):
            if size == 1:
                break
            at, size = 0, max(1, size // 2)
    return data
