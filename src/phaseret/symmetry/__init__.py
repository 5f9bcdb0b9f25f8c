"""What the data cannot see, shift, conjugate flip and global phase: apply it, remove it, or break it.

**Which one should I use?**

- `align` before an estimate is judged or shown: it removes the symmetry that separates it from the object. The
  metrics do this by default.
- `diagnose` before training with ground truth: it tells how ambiguous the training set is, and whether it only looks
  unambiguous because its objects all stand alike.
- `certify` to know whether any other object has the same data: a proof, and the others where there are some.
- `canonicalize` on the training targets if it is: one representative of each object's copies makes the problem
  single-valued. The loss `phaseret.losses.InvariantLoss` needs no such targets.
- `RandomSymmetry` to draw copies of training objects; `shift`, `conj_flip` and `global_phase` for a certain one, and
  `Symmetry` for one per item that can be inverted and composed.
- `subpixel_shift` for fractions of a pixel, which are interpolated and not an exact symmetry.

The group acts exactly on the padded grid. An object-shaped tensor is not padded unless `fourier_shape` is given.
"""

from phaseret.symmetry._align import Alignment, align
from phaseret.symmetry._canonical import Canonicalize, canonicalize
from phaseret.symmetry._certify import Certificate, certify
from phaseret.symmetry._diagnose import Ambiguity, diagnose
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
    "Ambiguity",
    "Canonicalize",
    "Certificate",
    "ConjFlip",
    "GlobalPhase",
    "RandomSymmetry",
    "Shift",
    "SubpixelShift",
    "Symmetry",
    "align",
    "canonicalize",
    "certify",
    "conj_flip",
    "diagnose",
    "global_phase",
    "shift",
    "subpixel_shift",
]
__dir__ = __all__.copy  # what dir() and completion show
