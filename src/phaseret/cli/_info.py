"""``phaseret info``: what can be seen in a pattern before its reconstruction."""

from __future__ import annotations

import argparse
import dataclasses

from phaseret import io, plotting
from phaseret.cli._files import Output, Pattern
from phaseret.cli._messages import as_json, in_flags
from phaseret.cli._options import Options, chosen

SUMMARY = "say what can be seen in a pattern before its reconstruction"
EXAMPLES = """
examples:
  phaseret info pattern.h5
      Is it centred, sampled finely enough, complete? Read the warnings before you reconstruct.
  phaseret info scan.h5::entry/data/counts --ndim 2 --index 0:10
      The first ten patterns of the array entry/data/counts, a stack.
  phaseret info pattern.tif --mask good.npy --saturation 60000 --json
      With the mask in a file of its own (non-zero = measured), for a program to read.
"""


def add_options(options: Options) -> None:
    """Those of this command."""
    Pattern.add_options(options)
    options.heading("what to write")
    options.add("--json", action="store_true", help="print JSON")
    options.add("--figure", metavar="FILE", help="write a picture of the pattern")
    options.add("--overwrite", action="store_true", help="replace an existing picture")


def run(options: argparse.Namespace) -> None:
    """``phaseret info``."""
    output, asked = chosen(Output, options), chosen(Pattern, options)
    output.check()
    with asked.opened() as source:
        measurement = source.read(asked.index)
    found = io.inspect(measurement)
    found = dataclasses.replace(found, warnings=tuple(in_flags(text, options.flags) for text in found.warnings))
    output.draw(plotting.plot_pattern, measurement)
    print(as_json(dataclasses.asdict(found)) if options.json else found)
