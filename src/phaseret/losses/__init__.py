"""What an estimate is trained or refined on: distances to the measurement, to the object, or to its orbit.

**Which one should I use?**

- `PassiveLoss` needs the measured intensity only. Use it when there is no ground truth, to refine a network on the
  very patterns it will see, and whenever the training set holds shifted or flipped copies.
- `InvariantLoss` needs the objects, and forgives exactly what the data cannot determine. With ground truth it is the
  first to try.
- `SupervisedLoss` needs the objects and their true place and orientation. Use it only where the symmetries are broken:
  after `phaseret.symmetry.canonicalize`, or with a known reference in the scene.

All are called as ``loss(estimate, target)`` and treat all leading axes as a batch; ``reduction="none"`` gives one value
per item.
"""

from phaseret.losses._invariant import InvariantLoss, invariant_loss
from phaseret.losses._passive import PassiveLoss, passive_loss
from phaseret.losses._supervised import SupervisedLoss, supervised_loss

__all__ = [
    "InvariantLoss",
    "PassiveLoss",
    "SupervisedLoss",
    "invariant_loss",
    "passive_loss",
    "supervised_loss",
]
__dir__ = __all__.copy  # what dir() and completion show
