"""The U-Net: one network for real and complex objects in one, two and three dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from phaseret import _checks, _fft
from phaseret._module import called_as
from phaseret.models._layers import CONV, NORM, OUTPUTS, Model, Output, as_estimate, as_items, levels, normalised

Representation = Literal["magnitude", "intensity", "log_intensity", "autocorrelation", "root_autocorrelation"]
_UP = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}


class UNet(Model):
    r"""The U-Net of Ronneberger et al. (2015), from an intensity to an estimate of the object.

    .. math:: g(Y) = s \, U(r(Y / s^2)), \qquad s^2 = \frac{1}{n_1 \cdots n_d} \sum_k Y_k

    with the representation r and the U-Net U. The scale s is the root mean square of the object (Parseval, for data
    of ``norm="ortho"``), so the estimate follows the units of the data, :math:`g(c^2 Y) = c \, g(Y)`, and dark data
    give a dark estimate. ``output="unit"`` is for objects with values between 0 and 1, such as images: the data have
    their units then, and s is 1. Use it where it applies. Trained without ground truth, a network whose output has no
    upper bound likes to explain the data by one bright point beside half of the object's autocorrelation, a
    holographic reference that does not exist (aligned PSNR of digits after four epochs: 14.2 dB with "nonnegative",
    16.9 dB with "unit").

    What differs from the source: the data come in as blocks, not pixels (each block of at least 2 x 2 frequencies is
    one pixel of as many channels), because data are about twice as large as the object or more: all layers work on a
    grid just larger than the object, and nothing is computed to be cropped. There is no skip connection at the finest
    level, where a frequency has nothing to do with the object's pixel at the same place; with one, training without
    ground truth depends on the seed (digits after three epochs: 14.1 or 16.4 dB; without, 16.1 to 16.2 dB for three
    seeds). Convolutions are padded, so sizes are free and the other skip connections are not cropped; each is followed
    by batch normalisation; three poolings, not four, and 32 channels at first, not 64 (1.9 million parameters, not
    31 million).

    Args:
        object_shape: Object sizes (n1, ..., nd), d = 1, 2 or 3.
        fourier_shape: Data sizes (m1, ..., md) with m >= 2n - 1.
        representation: What the network sees: "magnitude", "intensity", "log_intensity" (log(1 + Y / s^2)),
            "autocorrelation" (of the object: the inverse transform of Y / s^2) or "root_autocorrelation" (its square
            root with the sign kept and lag 0 in the middle, where convolutions find it in one piece; for short
            trainings). Intensities below 0, as a background leaves them, count as 0 in magnitudes and logarithms.
        output: What it gives: "nonnegative", "unit" (between 0 and 1), "real", and for complex objects
            "modulus_phase" or "real_imaginary".
        channels: Channels of each level, from the finest; one pooling between two levels.
        onesided: The data hold the non-negative frequencies of the last axis only.
        undersampled: Allow m < 2n - 1 (but m >= n), where other objects have the same data. A warning says so once.
        mask_channel: Show the network the mask of each call beside the data, so that it can tell a pixel that was not
            measured from a dark one. Use it where masks differ from sample to sample or leave out bright pixels; train
            it with masks like those that it will see.

    Shape:
        - intensity: (*, m1..md), or (*, m1.., md//2 + 1) if onesided, zero frequency at index 0
        - mask: boolean, True where measured; broadcasts to the data. Default: everywhere
        - output: (*, n1..nd)

    Raises:
        TypeError: if an argument is of the wrong kind, or intensity is complex.
        ValueError: if an option is unknown, m < 2n - 1 without `undersampled`, or intensity has other sizes.

    Example:
        >>> net = UNet(object_shape=(28, 28), fourier_shape=(64, 64))
        >>> net(torch.rand(4, 64, 64)).shape
        torch.Size([4, 28, 28])

    Source:
        Ronneberger, Fischer, Brox (2015), U-Net: Convolutional Networks for Biomedical Image Segmentation,
        doi:10.1007/978-3-319-24574-4_28; used for phase retrieval by Manekar, Tayal, Kumar, Sun (2020), End-to-End
        Learning for Phase Retrieval, section 3. The autocorrelation as input: Metzler et al. (2020), Deep-inverse
        correlography, doi:10.1364/OPTICA.374026.
    """

    decoder = ("up", "merge", "last")

    def __init__(
        self,
        object_shape: Sequence[int],
        fourier_shape: Sequence[int],
        *,
        representation: Representation = "magnitude",
        output: Output = "nonnegative",
        channels: Sequence[int] = (32, 64, 128, 256),
        onesided: bool = False,
        undersampled: bool = False,
        mask_channel: bool = False,
    ) -> None:
        super().__init__()
        self.object_shape = _checks.shape("object_shape", object_shape)
        self.fourier_shape = _checks.shape("fourier_shape", fourier_shape)
        _checks.flag(onesided=onesided, undersampled=undersampled, mask_channel=mask_channel)
        _checks.fourier_shape(self.fourier_shape, self.object_shape, undersampled)
        _checks.choice("representation", representation, get_args(Representation))
        _checks.choice("output", output, OUTPUTS)
        widths = levels("channels", channels)
        if onesided and OUTPUTS[output] > 1:
            fix = "The data of a complex object have no half spectrum: use onesided=False"
            _checks.fail(f"onesided=True must have a real output, got {output!r}", fix)
        self.representation, self.output, self.onesided = representation, output, onesided
        d = len(self.object_shape)
        pairs = zip(self.fourier_shape, self.object_shape, strict=True)
        self.block = tuple(max(2 if m >= 2 * n - 1 else 1, m // n) for m, n in pairs)
        self.down = nn.ModuleList()
        self.mask_channel = mask_channel
        before = math.prod(self.block) * (2 if mask_channel else 1)
        for width in widths:
            self.down.append(_convolutions(d, before, width))
            before = width
        self.up, self.merge = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(widths) - 1)):
            width = widths[level]
            self.up.append(_UP[d](before, width, 2, stride=2))
            self.merge.append(_convolutions(d, 2 * width if level else width, width))
            before = width
        self.pool = _POOL[d](2, ceil_mode=True)
        self.last = CONV[d](before, OUTPUTS[output], 1)
        self.options = {
            "object_shape": self.object_shape,
            "fourier_shape": self.fourier_shape,
            "representation": representation,
            "output": output,
            "channels": tuple(widths),
            "onesided": self.onesided,
            "undersampled": undersampled,
            "mask_channel": mask_channel,
        }

    def forward(self, intensity: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """The estimate: (*, m1..md) -> (*, n1..nd)."""
        d = len(self.fourier_shape)
        *rest, m = self.fourier_shape
        expected = (*rest, _fft.half_size(m) if self.onesided else m)
        fix = "Build the network with the fourier_shape and onesided of the data"
        items = as_items(intensity, expected, self.last.weight, mask, fix)
        with _fft.full_precision(intensity):
            seen, scale = self._represent(items)
        blocks = _blocks(seen, self.block)
        if self.mask_channel:
            blocks = torch.cat([blocks, _blocks(self._measured(items, mask, intensity), self.block)], 1)
        features = self._u(blocks.to(self.last.weight.dtype))
        x = as_estimate(_middle(features, self.object_shape).to(scale.dtype), self.output) * scale
        return x.reshape(*intensity.shape[:-d], *self.object_shape)

    __call__ = called_as(forward)

    def _measured(self, items: Tensor, mask: Tensor | None, intensity: Tensor) -> Tensor:
        """1 where a pixel of the full plane was measured, 0 elsewhere: (b, m1..md)."""
        if mask is None:
            seen = torch.ones_like(items)
        else:
            seen = _checks.mask(mask, intensity).reshape(items.shape).to(items.dtype)
        return _fft.full_from_half(seen, self.fourier_shape) if self.onesided else seen

    def _represent(self, intensity: Tensor) -> tuple[Tensor, Tensor]:
        """What the network sees of the intensity, (b, m1..md), and the scale (b, 1..1)."""
        if self.onesided:
            intensity = _fft.full_from_half(intensity, self.fourier_shape)
        seen, scale = normalised(intensity, math.prod(self.object_shape), self.output)
        if self.representation == "magnitude":
            seen = _fft.root(seen)
        elif self.representation == "log_intensity":
            seen = seen.clamp_min(0).log1p()
        elif self.representation.endswith("autocorrelation"):
            # Hermitian: its even real part and its odd imaginary part (0 for real objects) lie in one real array.
            half = _fft.spectrum(seen, self.fourier_shape, "backward") / math.prod(self.object_shape)
            full = _fft.full_from_half(half, self.fourier_shape)
            seen = full.real - full.imag
            if self.representation == "root_autocorrelation":
                seen = _fft.center(_fft.root(seen) - _fft.root(-seen), range(1, seen.ndim))
        return seen, scale

    def _u(self, x: Tensor) -> Tensor:
        """The U: (b, c, k1..kd) -> (b, channels of the output, k1..kd)."""
        skipped: list[Tensor] = []
        for convolutions in self.down:
            x = convolutions(self.pool(x) if skipped else x)
            skipped.append(x)
        for level, up, convolutions in zip(reversed(range(len(self.up))), self.up, self.merge, strict=True):
            x = _fft.crop(up(x), skipped[level].shape[2:])
            x = convolutions(torch.cat([x, skipped[level]], 1) if level else x)
        return self.last(x)


def _convolutions(d: int, before: int, after: int) -> nn.Sequential:
    """Twice a convolution over 3 pixels, normalisation and ReLU."""
    layers: list[nn.Module] = []
    for width in (before, after):
        layers += [CONV[d](width, after, 3, padding=1, bias=False), NORM[d](after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _blocks(x: Tensor, block: Sequence[int]) -> Tensor:
    """Each block of pixels to one pixel of c channels: (b, m1..md) -> (b, c, k1..kd), k = m / block rounded up."""
    d, items = len(block), x.shape[0]  # len(x) would fix the number of items where the network is exported
    sizes = [-(-m // width) for m, width in zip(x.shape[1:], block, strict=True)]
    x = _fft.pad(x, [k * width for k, width in zip(sizes, block, strict=True)])
    x = x.reshape(items, *[size for pair in zip(sizes, block, strict=True) for size in pair])
    x = x.permute(0, *range(2, 2 * d + 1, 2), *range(1, 2 * d, 2))
    return x.reshape(items, math.prod(block), *sizes)


def _middle(x: Tensor, shape: Sequence[int]) -> Tensor:
    """The middle of size `shape` of the last axes: a view."""
    for dim, size in enumerate(shape, x.ndim - len(shape)):
        x = x.narrow(dim, (x.shape[dim] - size) // 2, size)
    return x
