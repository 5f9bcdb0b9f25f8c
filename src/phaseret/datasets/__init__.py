"""Objects to try things on: digits, the variants of images that show what the data cannot see, and crystals.

Which one should I use? :func:`mnist` for the handwritten digits of the paper, :class:`SymmetryVariant` to shift and
flip any images as the paper does, :func:`strained_crystal` for 3D objects of known shape and strain as one Bragg peak
shows them. All give objects; an operator of :mod:`phaseret.operators` turns them into data.
"""

from phaseret.datasets._crystals import strained_crystal
from phaseret.datasets._images import SymmetryVariant, mnist

__all__ = ["SymmetryVariant", "mnist", "strained_crystal"]
__dir__ = __all__.copy  # what dir() and completion show
