"""How good is an estimate?

Which one should I use? With a true object: :func:`psnr` and :func:`ssim`, which first remove the symmetries that no
measurement can see (``align=True``); :func:`success_rate` to compare solvers; :func:`frc` for the resolution; for
crystals :func:`iou` of the supports and :func:`phase_error` in radians.
Without one: :func:`relative_magnitude_error` or :func:`r_factor` against the measured data, better
:func:`poisson_log_likelihood` on :func:`free_pixels` that the reconstruction has not seen, and :func:`prtf` over many
starts; a small residual alone is no proof of a right object.

All give the mean over the items, as the losses do; ``reduction="none"`` gives one value per item. Each metric with a
reduction is also a class for torchmetrics and Lightning (:class:`PSNR`, :class:`RFactor`, ...), which need the
package torchmetrics: ``pip install "phaseret[train]"``. Several aligned metrics of one pair need one alignment: call
:func:`phaseret.symmetry.align` and give its result with ``align=False``.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from phaseret import _checks
from phaseret.metrics._crystal import iou, phase_error
from phaseret.metrics._data import free_pixels, poisson_log_likelihood, r_factor, relative_magnitude_error
from phaseret.metrics._object import mse, nmse, psnr, ssim, success_rate
from phaseret.metrics._resolution import RingCurve, frc, prtf, resolution

if TYPE_CHECKING:
    from phaseret.metrics._torchmetrics import (
        MSE,
        NMSE,
        PSNR,
        SSIM,
        IoU,
        PhaseError,
        PoissonLogLikelihood,
        RelativeMagnitudeError,
        RFactor,
        SuccessRate,
    )

__all__ = [
    "MSE",
    "NMSE",
    "PSNR",
    "SSIM",
    "IoU",
    "PhaseError",
    "PoissonLogLikelihood",
    "RFactor",
    "RelativeMagnitudeError",
    "RingCurve",
    "SuccessRate",
    "frc",
    "free_pixels",
    "iou",
    "mse",
    "nmse",
    "phase_error",
    "poisson_log_likelihood",
    "prtf",
    "psnr",
    "r_factor",
    "relative_magnitude_error",
    "resolution",
    "ssim",
    "success_rate",
]
__dir__ = __all__.copy  # what dir() and completion show

_CLASSES = (
    "IoU", "MSE", "NMSE", "PSNR", "PhaseError", "SSIM", "PoissonLogLikelihood", "RFactor", "RelativeMagnitudeError",
    "SuccessRate",
)  # fmt: skip
if find_spec("torchmetrics") is None:
    # A star import takes what is there.
    for _name in _CLASSES:
        __all__.remove(_name)


_RENAMED = {"fsc": "frc(..., ndim=3), the Fourier shell correlation"}


if not TYPE_CHECKING:  # by which any name would have a type

    def __getattr__(name: str) -> Any:
        """The classes for torchmetrics, which is imported when the first of them is asked for."""
        if name not in _CLASSES:
            _checks.no_attribute(__name__, name, _RENAMED.get(name))
        # An ImportError, not what hasattr expects: of an AttributeError in `from phaseret.metrics import PSNR` Python
        # says only that there is no such name.
        _checks.extra("torchmetrics", "torchmetrics", "train")
        from phaseret.metrics import _torchmetrics

        return getattr(_torchmetrics, name)
