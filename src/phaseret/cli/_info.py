"""``phaseret info``: what can be seen in a pattern before its reconstruction."""

from __future__ import annotations

from dataclasses import asdict, replace

from phaseret import io, plotting
from phaseret.cli._commands import Info
from phaseret.cli._files import Reads, Writes
from phaseret.cli._messages import as_json, in_flags
from phaseret.cli._options import flags


class Command(Writes, Reads, Info):
    """``phaseret info``."""

    def run(self) -> None:
        """Print what is found, and draw the pattern."""
        self.check()
        with self.opened() as source:
            measurement = source.read(self.index)
        found = io.inspect(measurement)
        found = replace(found, warnings=tuple(in_flags(text, flags(Info)) for text in found.warnings))
        self.draw(plotting.plot_pattern, measurement)
        print(as_json(asdict(found)) if self.json else found)
