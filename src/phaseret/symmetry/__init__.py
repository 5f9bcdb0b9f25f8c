"""What the data cannot see: shift, conjugate flip and global phase, and how to remove them."""

from phaseret.symmetry._align import Alignment, align
from phaseret.symmetry._canonical import Canonicalize, canonicalize
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
from phaseret.symmetry._subpixel import SubpixelShift, subpixel_shift

__all__ = [
    "Alignment",
    "Canonicalize",
    "ConjFlip",
    "GlobalPhase",
    "RandomSymmetry",
    "Shift",
    "SubpixelShift",
    "Symmetry",
    "align",
    "canonicalize",
    "conj_flip",
    "global_phase",
    "shift",
    "subpixel_shift",
]
