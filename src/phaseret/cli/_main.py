"""The command line as a whole: which commands there are, and how they report what goes wrong."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from phaseret._version import __version__
from phaseret._words import meant, shortened
from phaseret.cli._commands import Bench, Compare, Info, Reconstruct, Simulate
from phaseret.cli._messages import in_flags, readable
from phaseret.cli._options import add_options, chosen, flags, joined, spellings, valued
from phaseret.cli._streams import finish_printing, interrupted_later, prepare_streams, print_error, stop_printing

COMMANDS: dict[str, type[Any]] = {
    "info": Info,
    "reconstruct": Reconstruct,
    "simulate": Simulate,
    "compare": Compare,
    "bench": Bench,
}
_LONG = 400
# What others call an option, and where it stands here.
_ELSEWHERE = dict.fromkeys(
    ("--iterations", "--iteration", "--n-iter", "--n_iter", "--niter", "--max-iter", "--steps", "--cycles"),
    'the iterations stand in the recipe, as in --schedule "hio:500,er:50"',
)
_ELSEWHERE |= dict.fromkeys(
    ("--algorithm", "--method", "--solver", "--recipe", "--beta"),
    'algorithms and their numbers stand in the recipe, as in --schedule "hio(beta=0.8):500,er:50"',
)
_BEHIND = dict.fromkeys(
    ("--key", "--dataset", "--path"), "the array stands behind its file, as in pattern.h5::entry/data"
)
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
        message = readable(" ".join(shortened(message, _LONG).split()))  # one line, whatever was typed
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """What was asked for, help or the version, has arrived; else that is an error."""
        if message:
            print_error(message)
        try:
            finish_printing()
        except BrokenPipeError:
            stop_printing(sys.stdout)
            status = status or 1
        except OSError as error:
            print_error(f"{self.prog}: error: {error}")
            status = status or 1
        sys.exit(status)


def _meant(word: str, words: Sequence[str]) -> str:
    near = meant(word.lstrip("-"), [known.lstrip("-") for known in words])
    return f", did you mean {'--' * word.startswith('--')}{near}?" if near else ""


def _check_spelling(words: Sequence[str]) -> None:
    """Answer an option that does not exist with the one that was meant, and one without a value."""
    if not words or words[0] not in COMMANDS:
        return
    known = ["--help", "--debug", *spellings(COMMANDS[words[0]])]
    for word in words[1:]:
        flag = word.partition("=")[0]
        if flag == "--":
            return
        elsewhere = _ELSEWHERE | _BEHIND if words[0] == "reconstruct" else _BEHIND
        if flag in elsewhere and flag not in known:
            _Parser(prog=f"phaseret {words[0]}").error(f"there is no option {flag}: {elsewhere[flag]}")
        if flag.startswith("--") and flag not in known:
            _Parser(prog=f"phaseret {words[0]}").error(f"there is no option {flag}{_meant(flag, known)}")
        if word == f"{flag}=--":  # which argparse takes for no value at all
            _Parser(prog=f"phaseret {words[0]}").error(f"argument {flag}: must be a value, got '--'")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``phaseret`` command.

    Args:
        argv: The words after ``phaseret``. Default: those of the command line.

    Returns:
        0 if all went well, 1 after an error, 130 if interrupted. Wrong options end with `SystemExit` and 2.
    """
    prepare_streams()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # its network library logs what is raised too
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:  # before the command began, or when it had ended
        print_error("phaseret: interrupted")
        return 130


def _run(words: Sequence[str]) -> int:
    """The command that was typed; its exit status."""
    _check_spelling(words)
    options = _parser().parse_args(joined(words, {flag for command in COMMANDS.values() for flag in valued(command)}))
    name, typed = f"phaseret {options.command}", flags(COMMANDS[options.command])
    # Files hold masks and supports too.
    held = frozenset(option for option in ("mask", "support") if getattr(options, option, None) is None)
    said: set[str] = set()

    def say(kind: str, message: object) -> None:
        text = f"{name}: {kind}{readable(in_flags(message, typed, held))}"
        if text not in said:  # the blocks of a stack say the same
            print_error(text)
        said.add(text)

    quiet = logging.NullHandler()  # readers of files log what is wrong besides raising it
    logging.getLogger().addHandler(quiet)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)  # of other libraries, to those who program with them
        warnings.showwarning = lambda message, *_, **__: say("warning: ", message)
        try:
            # What a command does is loaded, and PyTorch with it, once it is known that it is to be done.
            with interrupted_later():
                module = _loaded(options.command)
            chosen(module.Command, options).run()
            finish_printing()
        except KeyboardInterrupt as interrupt:
            say("interrupted", f"; {interrupt}" if str(interrupt) else "")
            return 130
        except BrokenPipeError:
            stop_printing(sys.stdout)  # whoever read the output has enough
            return 1
        except Exception as error:
            if options.debug:
                raise
            say(*_worded(error))
            return 1
        finally:
            logging.getLogger().removeHandler(quiet)
    return 0


def _loaded(command: str) -> ModuleType:
    """The module of a command, and PyTorch with it."""
    try:
        return importlib.import_module(f"phaseret.cli._{command}")
    except Exception as error:
        if "torch" in sys.modules:
            raise
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        rule = f"PyTorch must be a package that can be loaded, got the error {said}"
        raise ImportError(f"{rule}. Look at the environment variables that it reads, or install it again.") from error


def _worded(error: Exception) -> tuple[str, str]:
    """What is said of an error, and of what kind it is: any but these is a fault of the program."""
    if isinstance(error, ImportError):
        return "error: ", str(error)
    from phaseret import _memory

    asked = _memory.shortage(error)
    if asked is not None:
        return "error: ", f"what is computed must fit into memory, got {asked}. Use a smaller part, or smaller sizes."
    if isinstance(error, ValueError | TypeError | OSError | MemoryError):
        return "error: ", str(error) or type(error).__name__
    return f"internal error: {type(error).__name__}: ", str(error)


def _parser() -> argparse.ArgumentParser:
    described: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    summary = "Phase retrieval of diffraction patterns."
    parser = _Parser(prog="phaseret", description=summary, epilog=EXAMPLES, **described)
    parser.add_argument("--version", action="version", version=f"phaseret {__version__}")
    # Not by help= of each: before Python 3.13 its column is too narrow for the longest name.
    listing = "\n".join(f"{name:<13}{command.SUMMARY}" for name, command in COMMANDS.items())
    commands = parser.add_subparsers(
        title="commands", description=listing, dest="command", required=True, metavar="COMMAND", help="one of these"
    )
    for name, command in COMMANDS.items():
        summary = f"{command.SUMMARY[0].upper()}{command.SUMMARY[1:]}."
        sub = commands.add_parser(name, description=summary, epilog=command.EXAMPLES, **described)
        sub.add_argument("--debug", action="store_true", help="show where in the program an error arose")
        add_options(sub, command)
    return parser
