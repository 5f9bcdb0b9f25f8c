"""What is measured: maps from an object to its intensities, each with its linear part and adjoint."""

from phaseret.operators._base import Operator
from phaseret.operators._fourier import (
    FourierIntensity,
    FourierMagnitude,
    fast_fourier_shape,
    fourier_intensity,
    fourier_magnitude,
    min_fourier_shape,
)

__all__ = [
    "FourierIntensity",
    "FourierMagnitude",
    "Operator",
    "fast_fourier_shape",
    "fourier_intensity",
    "fourier_magnitude",
    "min_fourier_shape",
]
