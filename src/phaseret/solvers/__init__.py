"""Classical phase retrieval: every algorithm, batched over patterns and starts.

**Which one should I use?** If you are not sure, or know the support only roughly or not at all:
``pr.solvers.reconstruct(intensity, support=support, mask=mask, constraint="nonnegative")``. Its default recipe keeps
few pixels and finds how many (:class:`SparseRRR`), which tells the object from the mixtures with its twin that fit a
loose support better. With a tight support, in a fraction of the time:
``pr.solvers.rrr(intensity, support=support, constraint="nonnegative", starts=4)``; :func:`rrr` and
:func:`difference_map` find the most. For noisy data end with error reduction, which settles what they found:
``pr.solvers.reconstruct(intensity, schedule="raar:400,er:100", support=support, mask=mask)``. A network's output goes
in as ``init=``. For coded diffraction, Gaussian and other operators: :func:`truncated_amplitude_flow`; for counts,
:func:`maximum_likelihood` at the very end.

Always look at `agreement` of the :class:`Reconstruction`: a low residual is no proof, and several starts that come to
one object are more of one.
"""

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
from phaseret.solvers._gradient import (
    MaximumLikelihood,
    TruncatedAmplitudeFlow,
    WirtingerFlow,
    maximum_likelihood,
    spectral_initialization,
    truncated_amplitude_flow,
    wirtinger_flow,
)
from phaseret.solvers._loop import Algorithm, Run, Step
from phaseret.solvers._recipe import Recipe, reconstruct
from phaseret.solvers._result import Reconstruction
from phaseret.solvers._sparse import SparseRRR
from phaseret.solvers._support import Breed, Detwin, Shrinkwrap, autocorrelation_support, shrinkwrap_support
from phaseret.solvers._variants import (
    ADMM,
    ASR,
    CHIO,
    HPR,
    OSS,
    ChargeFlip,
    SolventFlip,
    admm,
    asr,
    charge_flip,
    chio,
    hpr,
    oss,
    solvent_flip,
)

__all__ = [
    "ADMM",
    "ASR",
    "CHIO",
    "HIO",
    "HPR",
    "OSS",
    "RAAR",
    "RRR",
    "Algorithm",
    "Breed",
    "ChargeFlip",
    "Detwin",
    "DifferenceMap",
    "ErrorReduction",
    "MaximumLikelihood",
    "Recipe",
    "Reconstruction",
    "Run",
    "Shrinkwrap",
    "SolventFlip",
    "SparseRRR",
    "Step",
    "TruncatedAmplitudeFlow",
    "WirtingerFlow",
    "admm",
    "asr",
    "autocorrelation_support",
    "charge_flip",
    "chio",
    "difference_map",
    "error_reduction",
    "hio",
    "hpr",
    "maximum_likelihood",
    "oss",
    "raar",
    "reconstruct",
    "rrr",
    "shrinkwrap_support",
    "solvent_flip",
    "spectral_initialization",
    "truncated_amplitude_flow",
    "wirtinger_flow",
]
