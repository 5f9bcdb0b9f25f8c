"""Objects from noisy autocorrelations: the U-Net that sees the autocorrelation."""

from __future__ import annotations

from collections.abc import Sequence

from phaseret.models._layers import Output
from phaseret.models._unet import UNet


class CorrelographyNet(UNet):
    r"""The network of deep-inverse correlography: the :class:`UNet` that sees the autocorrelation of the object.

    It is trained on synthetic noisy data alone: on objects of any kind, with
    :func:`phaseret.noise.correlography_noise`, or :class:`phaseret.noise.PoissonNoise` for few photons, drawn anew each
    time.

    Args:
        object_shape: Object sizes (n1, ..., nd), d = 1, 2 or 3.
        fourier_shape: Data sizes (m1, ..., md) with m >= 2n - 1.
        output: As in `UNet`.
        channels: As in `UNet`.
        onesided: As in `UNet`.
        undersampled: As in `UNet`.

    Shape:
        - intensity: (*, m1..md), or (*, m1.., md//2 + 1) if onesided, zero frequency at index 0
        - mask: boolean, True where measured; broadcasts to the data. Default: everywhere
        - output: (*, n1..nd)

    Raises:
        TypeError: if an argument is of the wrong kind, or intensity is complex.
        ValueError: if an option is unknown, m < 2n - 1 without `undersampled`, or intensity has other sizes.

    Example:
        >>> net = CorrelographyNet((28, 28), (56, 56), channels=(8, 16)).eval()
        >>> noisy = pr.noise.correlography_noise(torch.rand(4, 56, 56), frames=2)
        >>> net(noisy).shape
        torch.Size([4, 28, 28])

    Source:
        Metzler, Heide, Rangarajan et al. (2020), Deep-inverse correlography, doi:10.1364/OPTICA.374026: a U-Net on the
        measured autocorrelation, trained on synthetic data from a noise model. How this U-Net differs from others is
        said at :class:`UNet`.
        On the leaderboard (``correlography``), trained on strokes, it makes 16.3 and 15.5 dB of digits from 10 and 2
        exposures, the best classical algorithm 11.9 and 10.6 dB.
    """

    def __init__(
        self,
        object_shape: Sequence[int],
        fourier_shape: Sequence[int],
        *,
        output: Output = "nonnegative",
        channels: Sequence[int] = (32, 64, 128, 256),
        onesided: bool = False,
        undersampled: bool = False,
    ) -> None:
        super().__init__(
            object_shape,
            fourier_shape,
            representation="autocorrelation",
            output=output,
            channels=channels,
            onesided=onesided,
            undersampled=undersampled,
        )
        for name in ("representation", "mask_channel"):
            del self.options[name]
