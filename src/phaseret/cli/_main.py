"""The options of the command, and how it reports what goes wrong."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, NoReturn, TextIO

import torch

from phaseret import _checks
from phaseret.cli import _commands, _reconstruct
from phaseret.cli._words import in_flags

_PHASERET = """
begin with:
  phaseret simulate picture.png --size 64,64 -o pattern.h5     (or take a pattern that you measured)
  phaseret info pattern.h5
  phaseret reconstruct pattern.h5 --constraint nonnegative --schedule hio:1500,er:50 --starts 4 -o result.h5 \\
      --figure result.png
  phaseret compare result.h5 pattern.h5                        (with the object that the pattern was made from)
  phaseret COMMAND --help                         (every option, with examples)
"""
_INFO = """
examples:
  phaseret info pattern.h5
      Is it centred, sampled finely enough, complete? Read the warnings before you reconstruct.
  phaseret info scan.h5::entry/data/counts --ndim 2 --index 0:10
      The first ten patterns of the array entry/data/counts, a stack.
  phaseret info pattern.tif --mask good.npy --saturation 60000 --json
      With the mask in a file of its own (non-zero = measured), for a program to read.
"""
_RECONSTRUCT = """
examples:
  phaseret reconstruct pattern.h5 -o result.h5
      With the support of the file, if it has one, and the default recipe: 12 starts of "sparse:1400,er:30", which
      finds objects in a loose support, or in none. Half a minute for a pattern of 512 x 512 pixels, minutes for larger.
  phaseret reconstruct pattern.h5 --support support.npy --constraint nonnegative --schedule hio:1500,er:50 \\
      --starts 4 -o result.h5 --figure result.png
      A real, non-negative object in a known support, many times faster; the picture shows the object and whether
      the starts agree.
  phaseret reconstruct pattern.h5 --support 140,120 --schedule "6*(hio:50,er:20)" --seed 1 -o result.h5
      A box of 140 x 120 pixels as the support, and a recipe of your own.
  phaseret reconstruct pattern.h5 --support auto --schedule "20*(raar:30,shrinkwrap),er:100" -o result.h5
      Only the pattern is known: begin with the box that the autocorrelation allows, and find the shape inside it.
  torchrun --nproc-per-node 4 -m phaseret.cli reconstruct stack.h5 --ndim 2 -o result.h5
      A stack of patterns, shared by four processes, on their GPUs if there are any. Finished patterns are kept in
      result.h5.parts until all are done: the same command again carries on.

A low residual is no proof: look at how many starts agree. Each start begins with random phases from its own seed.
"""
_SIMULATE = """
examples:
  phaseret simulate picture.png -o pattern.h5
      The noise-free pattern at twice the picture's size; the file holds the object and its support too.
  phaseret simulate picture.png --size 64,64 --fourier-shape 192,192 --photons 1e6 --beam-stop 3 -o pattern.h5
      A million photons behind a beam stop of 3 pixels radius.
  phaseret simulate modulus.png --phase phase.png -o pattern.h5
      A complex object; black to white of the second picture is a phase of 0 to 2 pi.
"""
_COMPARE = """
examples:
  phaseret compare result.h5 truth.npy
      Scores after the symmetries that no measurement can see are removed, and the resolution by ring correlation.
  phaseret compare start1.h5 start2.h5 --figure pair.png
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
    options = _parser().parse_args(argv)
    name = f"phaseret {options.command}"

    def say(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        print(f"{name}: warning: {in_flags(message, options)}", file=sys.stderr)

    quiet = logging.NullHandler()  # readers of files log what is wrong besides raising it
    logging.getLogger().addHandler(quiet)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = say
        try:
            options.run(options)
            _finish_printing(options.command)
        except KeyboardInterrupt:
            print(f"{name}: interrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:
            _stop_printing()  # whoever read the output has enough
            return 1
        except Exception as error:
            if options.debug:
                raise
            known = isinstance(
                error, (ValueError, TypeError, OSError, ImportError, MemoryError, torch.OutOfMemoryError)
            )
            kind = "error" if known else f"internal error: {type(error).__name__}"
            print(f"{name}: {kind}: {in_flags(error, options)}", file=sys.stderr)
            return 1
        finally:
            logging.getLogger().removeHandler(quiet)
    return 0


def _finish_printing(command: str) -> None:
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
    parser = _Parser(
        prog="phaseret",
        description="Phase retrieval of diffraction patterns.",
        epilog=_PHASERET,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"phaseret {version('phaseret')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")

    def command(name: str, run: Callable[[Any], None], summary: str, examples: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        sub.set_defaults(run=run)
        sub.add_argument("--debug", action="store_true", help="show where in the program an error arose")
        return sub

    info = command("info", _commands.info, "say what can be seen in a pattern before its reconstruction", _INFO)
    _pattern_options(info)
    info.add_argument("--json", action="store_true", help="print JSON")
    info.add_argument("--figure", metavar="FILE", help="write a picture of the pattern")
    info.add_argument("--overwrite", action="store_true", help="replace an existing picture")

    reconstruct = command("reconstruct", _reconstruct.reconstruct, "reconstruct the object of a pattern", _RECONSTRUCT)
    _pattern_options(reconstruct)
    _reconstruct_options(reconstruct)

    simulate = command("simulate", _commands.simulate, "make a diffraction pattern from a picture", _SIMULATE)
    _simulate_options(simulate)

    compare = command("compare", _commands.compare, "compare two objects after alignment", _COMPARE)
    compare.add_argument("estimate", metavar="A", help="a reconstruction, an array or a picture; FILE or FILE::KEY")
    compare.add_argument("object", metavar="B", help="what it is compared with")
    compare.add_argument("--json", action="store_true", help="print JSON")
    compare.add_argument(
        "--figure", metavar="FILE", help="write a picture of the aligned pair and the ring correlation"
    )
    compare.add_argument("--overwrite", action="store_true", help="replace an existing picture")
    for sub in (info, reconstruct, simulate, compare):
        named = (action for action in sub._actions if action.option_strings and action.dest != "help")
        sub.set_defaults(flags={action.dest: action.option_strings[-1] for action in named})
    return parser


def _pattern_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE", help="the pattern: HDF5/CXI, npy, npz, mat, tif, edf, ...; FILE::KEY names an array"
    )
    group = parser.add_argument_group("reading the pattern")
    group.add_argument("--ndim", type=int, help="axes of one pattern; the axes before them are a stack")
    group.add_argument("--index", type=_index, help="part of a stack: 3 or 0:10")
    group.add_argument("--kind", default="intensity", help='"intensity" (default) or "magnitude", its square root')
    group.add_argument(
        "--center",
        type=_center,
        metavar="Y,X",
        help='pixel of the zero frequency, or "corner"; default: the middle of the frame (index m // 2)',
    )
    group.add_argument("--saturation", type=float, metavar="VALUE", help="pixels from this value on are not trusted")
    group.add_argument("--mask", metavar="FILE", help="mask: non-zero pixels were measured (in a CXI file: zero ones)")
    group.add_argument("--bad-pixels", metavar="FILE", help="mask: non-zero pixels are bad")
    group.add_argument(
        "--mask-is", help='what non-zero pixels of the mask in FILE itself are: "measured", "bad" or "ignored"'
    )


def _reconstruct_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is known of the object")
    group.add_argument(
        "--support",
        metavar="FILE|N,M|auto|none",
        help="where the object may be: an array (non-zero inside), a box of this size, the box that the "
        "autocorrelation allows, or nothing known; default: the support in FILE, if there is one",
    )
    group.add_argument(
        "--support-size", type=int, metavar="K", help="only the K largest pixels are kept; place unknown"
    )
    group.add_argument("--constraint", default="complex", help='"complex" (default), "real" or "nonnegative"')
    group.add_argument(
        "--bounds", type=_range, metavar="LOW,HIGH", help="of the object's values; of its modulus if complex"
    )
    group.add_argument("--phase-range", type=_range, metavar="LOW,HIGH", help="of a complex object's phase, in radians")
    group = parser.add_argument_group("how to find it")
    group.add_argument(
        "--schedule",
        metavar="RECIPE",
        help='for example "hio:1000,er:50" or "6*(hio:50,er:20)"; default: "sparse:1400,er:30", which needs no tight '
        "support but several times as long",
    )
    group.add_argument("--starts", type=int, help="random starts per pattern (default: 12, with --schedule 1)")
    group.add_argument("--seed", type=int, default=0, help="same seed, same answer (default: 0)")
    group.add_argument("--init", metavar="FILE", help="begin with this object instead of random phases")
    group.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: a GPU if there is one")
    group.add_argument("--double", action="store_true", help="compute in double precision")
    group.add_argument(
        "--checkpoint-every",
        type=int,
        metavar="N",
        help="of one pattern, keep the state every N iterations in OUTPUT.checkpoint; the same command again goes on",
    )
    group.add_argument("--block", type=int, help="patterns of a stack that are done, and kept, at a time")
    group.add_argument(
        "--timeout", type=float, default=1800, help="seconds to wait for other processes (default: 1800)"
    )
    group.add_argument("--quiet", action="store_true", help="no progress bar")
    group = parser.add_argument_group("what to write")
    group.add_argument("-o", "--output", metavar="FILE", required=True, help="the result: .h5, .cxi or .npz")
    group.add_argument("--figure", metavar="FILE", help="a picture of the object, the residuals and the agreement")
    group.add_argument("--overwrite", action="store_true", help="replace existing files")


def _simulate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="the object: a picture or an array; FILE or FILE::KEY")
    group = parser.add_argument_group("the object")
    group.add_argument("--phase", metavar="IMAGE", help="its phase, 0 to 2 pi from the smallest to the largest value")
    group.add_argument("--size", type=_sizes, metavar="N,M", help="resize the picture to this")
    group = parser.add_argument_group("the measurement")
    group.add_argument("--fourier-shape", type=_sizes, metavar="M,M", help="sizes of the pattern, at least 2n - 1")
    group.add_argument("--oversampling", type=float, default=2.0, help="else at least this times the size (default: 2)")
    group.add_argument("--photons", type=float, metavar="N", help="counts in the whole pattern, with their noise")
    group.add_argument("--readout", type=float, metavar="SIGMA", help="Gaussian noise of the electronics")
    group.add_argument("--beam-stop", type=float, metavar="RADIUS", help="pixels around the centre that see nothing")
    group.add_argument("--seed", type=int, default=0, help="same seed, same noise (default: 0)")
    group = parser.add_argument_group("what to write")
    group.add_argument("-o", "--output", metavar="FILE", required=True, help="the pattern: .h5, .cxi or .npz")
    group.add_argument("--figure", metavar="FILE", help="a picture of the pattern")
    group.add_argument("--overwrite", action="store_true", help="replace existing files")


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be whole numbers such as 64,64, got {text!r}") from None


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be two numbers such as 0,1, got {text!r}") from None
    return low, high


def _center(text: str) -> str | tuple[int, ...]:
    return text if text in ("middle", "corner") else _sizes(text)


def _index(text: str) -> int | slice:
    try:
        parts = [int(part) if part else None for part in text.split(":")]
    except ValueError:
        parts = []
    if len(parts) == 1 and parts[0] is not None:
        return parts[0]
    if len(parts) == 2:
        return slice(*parts)
    raise argparse.ArgumentTypeError(f"must be a number or a range such as 0:10, got {text!r}")
