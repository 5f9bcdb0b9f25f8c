"""What a terminal does to a command: streams that are closed, full, or of an encoding that lacks letters; Ctrl-C."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TextIO


def prepare_streams() -> None:
    """A closed stream takes what is printed and shows nothing; letters that one does not know are escaped."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened would take its place, and what is printed
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115  (as long as the process)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        # Else PYTHONUNBUFFERED lets each print fail by itself.
        sys.stdout.reconfigure(write_through=False)


@contextlib.contextmanager
def interrupted_later() -> Iterator[None]:
    """Ctrl-C waits for the end of what is done here: some modules, loaded by half, swallow it or raise other errors."""
    if threading.current_thread() is not threading.main_thread():  # no other one can be interrupted
        yield
        return
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        signal.raise_signal(signal.SIGINT)


def print_error(text: str) -> None:
    """One line on the standard error; where it cannot be written the work goes on all the same."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        stop_printing(sys.stderr)


def finish_printing() -> None:
    """What was printed has arrived, or that is an error too: a full disk takes no output."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        stop_printing(sys.stdout)
        from phaseret import _checks

        fix = "Free some space, or print elsewhere"
        _checks.fail(f"the standard output must be writable, got the error: {error.strerror}", fix, OSError)


def stop_printing(stream: TextIO) -> None:
    """What could not be printed is not tried again when the program ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
