"""How good is an estimate?

Which one should I use? With a true object: :func:`psnr` and :func:`ssim`, which first remove the symmetries that no
measurement can see (``align=True``); :func:`success_rate` to compare solvers. Without one:
:func:`relative_magnitude_error` or :func:`r_factor` against the measured data, and remember that a small residual is
no proof of a right object. All give the mean over the items, as the losses do; ``reduction="none"`` gives one value
per item.
"""

from phaseret.metrics._data import r_factor, relative_magnitude_error
from phaseret.metrics._image import mse, nmse, psnr, ssim, success_rate

__all__ = [
    "mse",
    "nmse",
    "psnr",
    "r_factor",
    "relative_magnitude_error",
    "ssim",
    "success_rate",
]
