"""``phaseret info``: what can be seen in a pattern before its reconstruction."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from phaseret import io, plotting
from phaseret.cli._files import Output, Pattern
from phaseret.cli._messages import as_json, in_flags
from phaseret.cli._options import flags, option, switch

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


@dataclass(frozen=True)
class Command(Output, Pattern):
    """``phaseret info``."""

    figure: str | None = option("write a picture of the pattern", metavar="FILE", heading="what to write")
    json: bool = switch("print JSON")

    def run(self) -> None:
        """Print what is found, and draw the pattern."""
        self.check()
        with self.opened() as source:
            measurement = source.read(self.index)
        found = io.inspect(measurement)
        found = replace(found, warnings=tuple(in_flags(text, flags(Command)) for text in found.warnings))
        self.draw(plotting.plot_pattern, measurement)
        print(as_json(asdict(found)) if self.json else found)
