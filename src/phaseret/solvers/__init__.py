"""Classical phase retrieval: every algorithm, batched over patterns and starts."""

from phaseret.solvers._algorithms import (
    HIO,
    RAAR,
    RRR,
    DifferenceMap,
    ErrorReduction,
    difference_map,
    error_reduction,
    hio,
    raar,
    rrr,
)
from phaseret.solvers._loop import Algorithm, Run
from phaseret.solvers._result import Reconstruction

__all__ = [
    "HIO",
    "RAAR",
    "RRR",
    "Algorithm",
    "DifferenceMap",
    "ErrorReduction",
    "Reconstruction",
    "Run",
    "difference_map",
    "error_reduction",
    "hio",
    "raar",
    "rrr",
]
