"""What a command says of a long run while it lasts: a line now and then, on the standard error."""

from __future__ import annotations

import time
from collections.abc import Callable

from phaseret.cli._streams import print_error
from phaseret.solvers import Run

# The first line comes after so many seconds, and each other one after so many more.
_FIRST, _EVERY = 5.0, 30.0


class Progress:
    """Lines for runs without a bar; what takes no longer than some seconds passes without a word."""

    def __init__(self, shown: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.shown, self.clock, self.began = shown, clock, clock()
        self.next, self.where = self.began + _FIRST, ""

    def say(self, text: str) -> None:
        """A line, if it is time for one."""
        now = self.clock()
        if self.shown and now >= self.next:
            print_error(f"phaseret reconstruct: {text}, {now - self.began:.0f} s")
            self.next = now + _EVERY

    def of(self, run: Run) -> None:
        """How far a run is: for a solver's callback."""
        count, sizes = run.error.shape[-1], " x ".join(map(str, run.problem.shape))
        starts, least = f"{count} start{'s' * (count > 1)}", float(run.error.detach().amin(-1).mean())
        self.say(f"{self.where}{starts} on {sizes}: iteration {run.iteration} of {run.n_iter}, residual {least:.3g}")
