"""What is measured: maps from an object to its intensities, each with its linear part and adjoint.

**Which one should I use?**

- One far-field diffraction pattern of an isolated object (coherent diffraction imaging, the problem of the paper):
  :class:`FourierIntensity`, with ``onesided=True`` for real objects when only speed and memory matter.
  :func:`min_fourier_shape` and :func:`fast_fourier_shape` choose its size. :class:`FourierMagnitude` is its square
  root, :class:`Autocorrelation` its inverse transform: other views of the same data, as inputs for a network.
- Several far-field patterns of the same object: behind known masks :class:`CodedDiffraction`, under a probe that scans
  the object :class:`Ptychography`.
- An intensity at a short distance, a hologram: :class:`Fresnel`.
- Random linear measurements, the model of theory and of first experiments: :class:`Gaussian`.
- Anything else that is the squared modulus of a linear map: a subclass of :class:`Operator` with `linear` and
  `adjoint`. Losses and solvers ask for nothing more.

All of them are Modules over a function of the same name. ``op(obj)`` is the intensity, ``op.linear(obj)`` the complex
field before the modulus, ``op.adjoint(field, object_shape)`` the adjoint of that; leading dimensions are a batch, and
``chunk=`` computes so many items of it at a time. :func:`pad` and :func:`crop` lead from the object's shape to that of
the grid and back.
"""

from phaseret.operators._autocorrelation import Autocorrelation, autocorrelation
from phaseret.operators._base import Operator
from phaseret.operators._coded import CodedDiffraction, coded_diffraction, coded_masks
from phaseret.operators._fourier import (
    FourierIntensity,
    FourierMagnitude,
    fast_fourier_shape,
    fourier_intensity,
    fourier_magnitude,
    min_fourier_shape,
)
from phaseret.operators._fresnel import Fresnel, fresnel
from phaseret.operators._gaussian import Gaussian, gaussian, gaussian_matrix
from phaseret.operators._layout import crop, pad
from phaseret.operators._ptychography import Ptychography, ptychography
from phaseret.operators._validate import validate

__all__ = [
    "Autocorrelation",
    "CodedDiffraction",
    "FourierIntensity",
    "FourierMagnitude",
    "Fresnel",
    "Gaussian",
    "Operator",
    "Ptychography",
    "autocorrelation",
    "coded_diffraction",
    "coded_masks",
    "crop",
    "fast_fourier_shape",
    "fourier_intensity",
    "fourier_magnitude",
    "fresnel",
    "gaussian",
    "gaussian_matrix",
    "min_fourier_shape",
    "pad",
    "ptychography",
    "validate",
]
__dir__ = __all__.copy  # what dir() and completion show
