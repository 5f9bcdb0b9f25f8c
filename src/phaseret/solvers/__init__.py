"""Classical phase retrieval: every algorithm, batched over patterns and starts.

**Which one should I use?** If you are not sure, or know the support only roughly or not at all:
``pr.solvers.reconstruct(intensity, support=support, mask=mask, constraint="nonnegative")``. Its default recipe keeps
few pixels and finds how many (:class:`SparseRRR`), which tells the object from the mixtures with its twin that fit a
loose support better. With a tight support, in a fraction of the time:
``pr.solvers.RRR(500)(intensity, support=support, constraint="nonnegative", starts=4)``; :class:`RRR` and
:class:`DifferenceMap` find the most. For noisy data end with error reduction, which settles what they found:
``pr.solvers.reconstruct(intensity, schedule="raar:400,er:100", support=support, mask=mask)``. A network's output goes
in as ``init=``. For data nearly free of noise: :func:`algebraic`, which needs neither starts nor a support, and
says whether the result is the only one. For coded diffraction, Gaussian and other operators:
:func:`truncated_amplitude_flow`; for counts, :func:`maximum_likelihood` at the end. For an algorithm of your own: a
subclass of :class:`Algorithm`.

Always look at `choice` and `agreement` of the :class:`Reconstruction`: what the result is, and whether other starts
came to it. A low residual is no proof, and several starts that come to one object are more of one.
"""

from typing import TYPE_CHECKING, NoReturn

from phaseret import _checks
from phaseret.solvers._algebraic import Algebraic, algebraic
from phaseret.solvers._algorithms import (
    ADMM,
    ASR,
    CHIO,
    HIO,
    HPR,
    OSS,
    RAAR,
    RRR,
    ChargeFlip,
    DifferenceMap,
    ErrorReduction,
    SolventFlip,
)
from phaseret.solvers._breed import Breed
from phaseret.solvers._crystal import Enough, Hull, Level
from phaseret.solvers._gradient import (
    maximum_likelihood,
    spectral_initialization,
    truncated_amplitude_flow,
    wirtinger_flow,
)
from phaseret.solvers._levenberg import LevenbergMarquardt
from phaseret.solvers._likelihood import PoissonRefinement
from phaseret.solvers._loop import Algorithm, Step
from phaseret.solvers._recipe import Recipe, reconstruct
from phaseret.solvers._recipe import class_meant as _class_meant
from phaseret.solvers._reduce import reduce_pattern
from phaseret.solvers._result import Reconstruction
from phaseret.solvers._run import Run
from phaseret.solvers._sparse import SparseRRR
from phaseret.solvers._support import Detwin, Shrinkwrap, autocorrelation_support, shrinkwrap_support

__all__ = [
    "ADMM",
    "ASR",
    "CHIO",
    "HIO",
    "HPR",
    "OSS",
    "RAAR",
    "RRR",
    "Algebraic",
    "Algorithm",
    "Breed",
    "ChargeFlip",
    "Detwin",
    "DifferenceMap",
    "Enough",
    "ErrorReduction",
    "Hull",
    "Level",
    "LevenbergMarquardt",
    "PoissonRefinement",
    "Recipe",
    "Reconstruction",
    "Run",
    "Shrinkwrap",
    "SolventFlip",
    "SparseRRR",
    "Step",
    "algebraic",
    "autocorrelation_support",
    "maximum_likelihood",
    "reconstruct",
    "reduce_pattern",
    "shrinkwrap_support",
    "spectral_initialization",
    "truncated_amplitude_flow",
    "wirtinger_flow",
]
__dir__ = __all__.copy  # what dir() and completion show


_FUNCTIONS = {
    "WirtingerFlow": "wirtinger_flow(intensity, operator)",
    "TruncatedAmplitudeFlow": "truncated_amplitude_flow(intensity, operator)",
    "MaximumLikelihood": "maximum_likelihood(estimate, intensity, operator)",
}


if not TYPE_CHECKING:  # by which any name would have a type

    def __getattr__(name: str) -> NoReturn:
        """Answer a name of another version or program with the one that is meant."""
        _checks.no_attribute(__name__, name, _FUNCTIONS.get(name) or _class_meant(name))
