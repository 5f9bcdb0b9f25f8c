"""Networks from an intensity to an estimate, without training loops or weights.

**Which one should I use?**

- To start: :class:`UNet`, with :class:`phaseret.losses.PassiveLoss`. It takes any object and data sizes, one to three
  axes, real and complex objects. Train it with any loop: ``examples/train.py`` is one,
  ``examples/train_lightning.py`` another.
- Data that do not determine the object (m < 2n - 1), or that are vectors: :class:`MLP`, whose ``data_shape`` may be
  anything (the others' ``fourier_shape`` is the padded grid, at least 2n - 1 unless ``undersampled=True``), trained on
  ground truth; then :class:`PRCGANGenerator` with :func:`latent_optimize`, or :class:`Cascade`.
- A trained network and one measurement that matters: :func:`finetune`.
- One measurement and no training set: :class:`DeepImagePrior`, and :class:`DoubleDIP` for complex objects.
- A classical solver that is nearly right: :func:`prdeep` with a :class:`DnCNN` removes the noise,
  :class:`IterativeRefinement` the artefacts; :class:`Unrolled` is a solver with few iterations, learned.
- Few photons: :class:`ResidualNet` in the near field, :class:`CorrelographyNet` in the far field.

All give an estimate for each item of a batch on its own, and take a mask at the call: ``net(intensity, mask=mask)``.
``UNet(..., mask_channel=True)`` sees it, too.
:func:`save` writes weights with what is known of them, :func:`load` reads them; trained ones come with the
package and are loaded by name, as in ``load("unet_dnn_p")``.
"""

from typing import TYPE_CHECKING, NoReturn

from phaseret import _checks
from phaseret.models._cascade import Cascade
from phaseret.models._correlography import CorrelographyNet
from phaseret.models._dncnn import DnCNN
from phaseret.models._files import load, save
from phaseret.models._finetune import finetune
from phaseret.models._mlp import MLP
from phaseret.models._prcgan import PRCGANDiscriminator, PRCGANGenerator, latent_optimize
from phaseret.models._prdeep import prdeep
from phaseret.models._prior import DeepImagePrior, DoubleDIP
from phaseret.models._refinement import IterativeRefinement
from phaseret.models._residual import ResidualNet
from phaseret.models._unet import UNet
from phaseret.models._unrolled import Unrolled

__all__ = [
    "MLP",
    "Cascade",
    "CorrelographyNet",
    "DeepImagePrior",
    "DnCNN",
    "DoubleDIP",
    "IterativeRefinement",
    "PRCGANDiscriminator",
    "PRCGANGenerator",
    "ResidualNet",
    "UNet",
    "Unrolled",
    "finetune",
    "latent_optimize",
    "load",
    "prdeep",
    "save",
]
__dir__ = __all__.copy  # what dir() and completion show

_RENAMED = {"correlography_noise": "phaseret.noise.correlography_noise"}


if not TYPE_CHECKING:  # by which any name would have a type

    def __getattr__(name: str) -> NoReturn:
        """Answer a name of another version with the one that is meant."""
        _checks.no_attribute(__name__, name, _RENAMED.get(name))
