"""Networks from an intensity to an estimate, without training loops or weights.

Which one should I use? :class:`UNet`, with :class:`phaseret.losses.PassiveLoss`: it takes any object and data sizes,
one to three axes, real and complex objects. Train it with any loop; ``examples/end_to_end.py`` is one on Lightning.
"""

from phaseret.models._dncnn import DnCNN
from phaseret.models._files import load, save
from phaseret.models._mlp import MLP
from phaseret.models._prcgan import PRCGANDiscriminator, PRCGANGenerator, latent_optimize
from phaseret.models._prdeep import prdeep
from phaseret.models._unet import UNet

__all__ = [
    "MLP",
    "DnCNN",
    "PRCGANDiscriminator",
    "PRCGANGenerator",
    "UNet",
    "latent_optimize",
    "load",
    "prdeep",
    "save",
]
