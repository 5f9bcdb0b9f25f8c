"""The autocorrelation of the object: what the intensity looks like in object space."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from phaseret import _checks, _fft, _memory
from phaseret._module import Module, called_as
from phaseret.operators._far_field import check_options, data_shape


def autocorrelation(
    intensity: Tensor,
    fourier_shape: Sequence[int],
    *,
    norm: _fft.Norm = "ortho",
    centered: bool = False,
    onesided: bool = False,
    chunk: int | None = None,
) -> Tensor:
    r"""The object's autocorrelation: the inverse transform of its Fourier intensity.

    .. math:: R_k = \sum_x X[x + k] \, \overline{X[x]}

    It holds the same information as the intensity, but in pixels of the object: its extent is 2 n - 1, and its value
    at lag 0 is the object's power. With m >= 2 n - 1 no lag wraps around. It is linear in the intensity.

    Args:
        intensity: Fourier intensity, squared object units: what :func:`fourier_intensity` gives for the same
            options. Noise may be on it, and pixels that were not measured should be filled.
        fourier_shape: Sizes (m1, ..., md) of the full plane.
        norm: How the intensity is normalised: "ortho", "backward" or "forward". The result does not depend on it.
        centered: Zero frequency of the intensity and lag 0 of the result at index m // 2 instead of 0 (of onesided
            data, all axes of the frequency but the last).
        onesided: The intensity holds the non-negative frequencies of the last axis only.
        chunk: Items computed at a time. Results do not depend on it; peak memory does.

    Shape:
        - intensity: (*, m1..md), or (*, m1.., md//2 + 1) if onesided
        - output: (*, m1..md)

    Returns:
        Tensor, squared object units. Real from onesided data; complex from the full plane, where the imaginary part is
        zero if the object is real.

    Raises:
        TypeError: if intensity is not a real floating tensor.
        ValueError: if the shapes do not fit, or an option is unknown.

    Example:
        >>> intensity = pr.operators.fourier_intensity(torch.tensor([1.0, 2.0]), (4,), onesided=True)
        >>> autocorrelation(intensity, (4,), onesided=True)
        tensor([5., 2., 0., 2.])

    Source:
        The Wiener-Khinchin theorem; as a view of the data for learning: Metzler et al. (2020), Deep-inverse
        correlography, doi:10.1364/OPTICA.374026.
    """
    return Autocorrelation(fourier_shape, norm=norm, centered=centered, onesided=onesided, chunk=chunk)(intensity)


class Autocorrelation(Module):
    """Module of :func:`autocorrelation`, with the same options; it follows a Fourier operator.

    Args:
        fourier_shape: Sizes (m1, ..., md) of the full plane.
        norm: "ortho", "backward" or "forward", that of the intensity.
        centered: Zero frequency and lag 0 at index m // 2 instead of 0.
        onesided: The intensity holds the non-negative frequencies of the last axis only.
        chunk: Items computed at a time.

    Example:
        >>> options = {"fourier_shape": (64, 64), "onesided": True}
        >>> view = torch.nn.Sequential(pr.operators.FourierIntensity(**options), Autocorrelation(**options))
        >>> view(torch.rand(10, 28, 28)).shape
        torch.Size([10, 64, 64])
    """

    fourier_shape: tuple[int, ...]
    norm: _fft.Norm
    centered: bool
    onesided: bool
    chunk: int | None

    def __init__(
        self,
        fourier_shape: Sequence[int],
        *,
        norm: _fft.Norm = "ortho",
        centered: bool = False,
        onesided: bool = False,
        chunk: int | None = None,
    ) -> None:
        shape = check_options(fourier_shape, norm, centered, onesided)
        chunk = None if chunk is None else _checks.integer("chunk", chunk)
        super().__init__(fourier_shape=shape, norm=norm, centered=centered, onesided=onesided, chunk=chunk)

    def forward(self, intensity: Tensor) -> Tensor:
        """The autocorrelation: (*, m1..md) or onesided -> (*, m1..md)."""
        shape = self.fourier_shape
        _checks.real(intensity=intensity)
        fix = "For the other half of the data change onesided"
        _checks.item_shape("intensity", intensity, data_shape(shape, self.onesided), fix)
        return _memory.in_chunks(self, self._view, intensity, len(shape), self.chunk)

    __call__ = called_as(forward)

    def _view(self, intensity: Tensor) -> Tensor:
        d, pixels = len(self.fourier_shape), math.prod(self.fourier_shape)
        scale = {"ortho": 1.0, "backward": 1 / pixels, "forward": float(pixels)}[self.norm]
        axes = _fft.centered_axes(d, self.onesided, self.centered)
        intensity = scale * _fft.promote(intensity)
        if self.onesided:
            half = _fft.uncenter(intensity, axes)
            lags = _fft.adjoint_half(half + 0j, self.fourier_shape, self.fourier_shape, "backward")
        else:
            # The inverse transform of real data is the conjugate of the transform.
            half = _fft.spectrum(_fft.uncenter(intensity, axes), self.fourier_shape, "backward").conj()
            lags = _fft.full_from_half(half, self.fourier_shape)
        return _fft.center(lags, _fft.centered_axes(d, False, self.centered))
