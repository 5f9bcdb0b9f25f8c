"""What the data cannot see: shift, conjugate flip and global phase, and how to remove them."""

from phaseret.symmetry._align import Alignment, align
from phaseret.symmetry._elements import (
    ConjFlip,
    GlobalPhase,
    RandomSymmetry,
    Shift,
    Symmetry,
    conj_flip,
    global_phase,
    shift,
)

__all__ = [
    "Alignment",
    "ConjFlip",
    "GlobalPhase",
    "RandomSymmetry",
    "Shift",
    "Symmetry",
    "align",
    "conj_flip",
    "global_phase",
    "shift",
]
