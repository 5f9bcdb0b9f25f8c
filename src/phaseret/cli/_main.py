"""The command line as a whole: which commands there are, and how they report what goes wrong."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NoReturn

import torch

from phaseret import _checks
from phaseret.cli import _compare, _info, _reconstruct, _simulate
from phaseret.cli._messages import in_flags
from phaseret.cli._options import add_options, chosen, flags, joined, valued

COMMANDS = {"info": _info, "reconstruct": _reconstruct, "simulate": _simulate, "compare": _compare}
# Errors whose message says all; any other is a fault of the program.
_KNOWN = (ValueError, TypeError, OSError, ImportError, MemoryError, torch.OutOfMemoryError)
EXAMPLES = """
begin with:
  phaseret simulate picture.png --size 64,64 -o pattern.h5     (or take a pattern that you measured)
  phaseret info pattern.h5
  phaseret reconstruct pattern.h5 --constraint nonnegative --schedule hio:1500,er:50 --starts 4 -o result.h5 \\
      --figure result.png
  phaseret compare result.h5 pattern.h5                        (with the object that the pattern was made from)
  phaseret COMMAND --help                         (every option, with examples)
"""


class _Parser(argparse.ArgumentParser):
    """Mistakes in the options are one line too."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``phaseret`` command.

    Args:
        argv: The words after ``phaseret``. Default: those of the command line.

    Returns:
        0 if all went well, 1 after an error, 130 if interrupted. Wrong options end with `SystemExit` and 2.
    """
    words = sys.argv[1:] if argv is None else argv
    options = _parser().parse_args(
        joined(words, {flag for command in COMMANDS.values() for flag in valued(command.Command)})
    )
    name, typed = f"phaseret {options.command}", flags(options.run)
    # Files hold masks and supports too.
    held = frozenset(option for option in ("mask", "support") if getattr(options, option, None) is None)

    said: set[str] = set()

    def say(message: Warning | str, *_: Any, **__: Any) -> None:
        text = in_flags(message, typed, held)
        if text not in said:  # the blocks of a stack say the same
            print(f"{name}: warning: {text}", file=sys.stderr)
        said.add(text)

    quiet = logging.NullHandler()  # readers of files log what is wrong besides raising it
    logging.getLogger().addHandler(quiet)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = say
        try:
            chosen(options.run, options).run()
            _finish_printing()
        except KeyboardInterrupt:
            print(f"{name}: interrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:
            _stop_printing()  # whoever read the output has enough
            return 1
        except Exception as error:
            if options.debug:
                raise
            kind = "error" if isinstance(error, _KNOWN) else f"internal error: {type(error).__name__}"
            print(f"{name}: {kind}: {in_flags(error, typed, held)}", file=sys.stderr)
            return 1
        finally:
            logging.getLogger().removeHandler(quiet)
    return 0


def _finish_printing() -> None:
    """What was printed has arrived, or that is an error too: a full disk takes no output."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _stop_printing()
        fix = "Free some space, or print elsewhere"
        _checks.fail(f"the standard output must be writable, got the error: {error.strerror}", fix, OSError)


def _stop_printing() -> None:
    """What could not be printed is not tried again when the program ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    described: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    summary = "Phase retrieval of diffraction patterns."
    parser = _Parser(prog="phaseret", description=summary, epilog=EXAMPLES, **described)
    parser.add_argument("--version", action="version", version=f"phaseret {version('phaseret')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for name, command in COMMANDS.items():
        summary = f"{command.SUMMARY[0].upper()}{command.SUMMARY[1:]}."
        sub = commands.add_parser(name, help=command.SUMMARY, description=summary, epilog=command.EXAMPLES, **described)
        sub.add_argument("--debug", action="store_true", help="show where in the program an error arose")
        add_options(sub, command.Command)
        sub.set_defaults(run=command.Command)
    return parser
