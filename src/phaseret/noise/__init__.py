"""What a detector does to the intensity: noise, saturation, and pixels that see nothing.

Which one should I use? :class:`PoissonNoise` with the photons you have: counting statistics are the limit of every
diffraction experiment. :class:`GaussianNoise` and :class:`AlphaNoise` are what benchmarks use instead;
:class:`ReadoutNoise`, :class:`Saturation`, :func:`beam_stop` and :func:`dead_pixels` are what else a detector does.
:func:`correlography_noise` is that of measured autocorrelations.
All take an intensity and give one, so that they follow an operator::

    detector = torch.nn.Sequential(
        pr.operators.FourierIntensity((64, 64)),
        pr.noise.PoissonNoise(photons_per_pixel=10, counts=True),
        pr.noise.ReadoutNoise(sigma=2, resolution=1),
        pr.noise.Saturation(level=4095),
        pr.noise.MaskPixels(pr.noise.beam_stop((64, 64), radius=2)),
    )

Counts are not in the units of the object: a network that answers from 0 to 1 fits them with
``PassiveLoss(scale=True)`` and ``psnr(..., scale=True)``; with ``counts=False`` the data keep the units of the
object.

Random numbers come from `generator`: the same seed gives the same noise, wherever the data lies if the generator stays
where it is. Without one they come from torch's own. An item's noise depends on its place in the batch, its level does
not. In the workers of a ``DataLoader`` each Module draws from a stream of its own, made of its seed and the loader's:
with ``torch.manual_seed`` before the loop they are the same again. A function draws from just the generator that it is
given, of which each worker has the same copy: seed it there.
"""

from phaseret.noise._correlography import correlography_noise
from phaseret.noise._gaussian import AlphaNoise, GaussianNoise, ReadoutNoise, alpha_noise, gaussian_noise, readout_noise
from phaseret.noise._photons import PoissonNoise, poisson_noise
from phaseret.noise._pixels import MaskPixels, Saturation, beam_stop, dead_pixels, mask_pixels, saturation

__all__ = [
    "AlphaNoise",
    "GaussianNoise",
    "MaskPixels",
    "PoissonNoise",
    "ReadoutNoise",
    "Saturation",
    "alpha_noise",
    "beam_stop",
    "correlography_noise",
    "dead_pixels",
    "gaussian_noise",
    "mask_pixels",
    "poisson_noise",
    "readout_noise",
    "saturation",
]
__dir__ = __all__.copy  # what dir() and completion show
