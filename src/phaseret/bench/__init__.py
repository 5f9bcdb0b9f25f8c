"""A benchmark of phase retrieval that others can enter: frozen test sets, one way to score, nothing hidden.

Which one should I use? The command ``phaseret bench`` (see the page on the benchmark); :func:`run` and :func:`verify`
are the same from Python. An entry is a function (intensity, known, seed) -> estimate, or a Module (intensity) ->
estimate. :data:`PROTOCOLS` says what is asked, :data:`ENTRIES` which solvers are at hand.
"""

from phaseret.bench._protocol import VERSION, Item, Known, Protocol
from phaseret.bench._protocols import PROTOCOLS
from phaseret.bench._report import Report
from phaseret.bench._run import run
from phaseret.bench._verify import Verification, verify
from phaseret.bench.entries import ENTRIES

__all__ = ["ENTRIES", "PROTOCOLS", "VERSION", "Item", "Known", "Protocol", "Report", "Verification", "run", "verify"]
__dir__ = __all__.copy  # what dir() and completion show
