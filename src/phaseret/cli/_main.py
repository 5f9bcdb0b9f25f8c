"""The command line as a whole: which commands there are, and how they report what goes wrong."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from phaseret._version import __version__
from phaseret.cli._commands import Compare, Info, Reconstruct, Simulate
from phaseret.cli._messages import in_flags, readable
from phaseret.cli._options import add_options, chosen, flags, joined, spellings, valued

COMMANDS: dict[str, type[Any]] = {
    "info": Info,
    "reconstruct": Reconstruct,
    "simulate": Simulate,
    "compare": Compare,
}
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
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        if choice is not None:
            message += _meant(choice[1], re.findall(r"[^ ,']+", choice[2]))
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _meant(word: str, words: Sequence[str]) -> str:
    near = difflib.get_close_matches(word.lstrip("-"), [known.lstrip("-") for known in words], 1)
    return f", did you mean {'--' * word.startswith('--')}{near[0]}?" if near else ""


def _check_spelling(words: Sequence[str]) -> None:
    """Answer an option that does not exist with the one that was meant, before anything that is missing."""
    if not words or words[0] not in COMMANDS:
        return
    known = ["--help", "--debug", *spellings(COMMANDS[words[0]])]
    for word in words[1:]:
        flag = word.partition("=")[0]
        if flag == "--":
            return
        if flag.startswith("--") and flag not in known:
            _Parser(prog=f"phaseret {words[0]}").error(f"there is no option {flag}{_meant(flag, known)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``phaseret`` command.

    Args:
        argv: The words after ``phaseret``. Default: those of the command line.

    Returns:
        0 if all went well, 1 after an error, 130 if interrupted. Wrong options end with `SystemExit` and 2.
    """
    words = sys.argv[1:] if argv is None else argv
    _check_spelling(words)
    options = _parser().parse_args(joined(words, {flag for command in COMMANDS.values() for flag in valued(command)}))
    name, typed = f"phaseret {options.command}", flags(COMMANDS[options.command])
    # Files hold masks and supports too.
    held = frozenset(option for option in ("mask", "support") if getattr(options, option, None) is None)
    said: set[str] = set()

    def say(kind: str, message: object) -> None:
        text = f"{name}: {kind}: {readable(in_flags(message, typed, held))}"
        if text not in said:  # the blocks of a stack say the same
            print(text, file=sys.stderr)
        said.add(text)

    quiet = logging.NullHandler()  # readers of files log what is wrong besides raising it
    logging.getLogger().addHandler(quiet)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # of other libraries, to those who program with them
        warnings.showwarning = lambda message, *_, **__: say("warning", message)
        try:
            # What a command does is loaded, and PyTorch with it, once it is known that it is to be done.
            chosen(importlib.import_module(f"phaseret.cli._{options.command}").Command, options).run()
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
            kind = "error" if _says_all(error) else f"internal error: {type(error).__name__}"
            say(kind, error)
            return 1
        finally:
            logging.getLogger().removeHandler(quiet)
    return 0


def _says_all(error: Exception) -> bool:
    """Whether the message is enough; any other error is a fault of the program."""
    if isinstance(error, ValueError | TypeError | OSError | ImportError | MemoryError):
        return True
    import torch

    return isinstance(error, torch.OutOfMemoryError)


def _finish_printing() -> None:
    """What was printed has arrived, or that is an error too: a full disk takes no output."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _stop_printing()
        from phaseret import _checks

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
    parser.add_argument("--version", action="version", version=f"phaseret {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for name, command in COMMANDS.items():
        summary = f"{command.SUMMARY[0].upper()}{command.SUMMARY[1:]}."
        sub = commands.add_parser(name, help=command.SUMMARY, description=summary, epilog=command.EXAMPLES, **described)
        sub.add_argument("--debug", action="store_true", help="show where in the program an error arose")
        add_options(sub, command)
    return parser
