"""The point spread of the intensities: a source that is not quite coherent, or a detector, blurs what is measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from phaseret import _fft

# Half the width of the window on which a Gaussian is shown, in pixels.
_REACH = 12
# The least share of its own intensity that a pixel is taken to keep.
_LEAST_SHARE = 1e-3


class PointSpread:
    r"""What is measured of the intensity :math:`P = |F X|^2`: :math:`Y = P * \gamma`, which wraps around the grid.

    The transform of :math:`\gamma` is what is left of the autocorrelation of the object; for a Gaussian of covariance C
    it is :math:`\exp(-2 \pi^2 f^T C f)` at :math:`f_a = \Delta_a / m_a`, as the wave's mutual coherence has it.

    Args:
        kernel: :math:`\gamma` of each pattern, or one for all, its middle at index k // 2; its sum is 1. Or
        covariance: that of a Gaussian, in squared pixels.

    Shape:
        - kernel: (patterns or 1, 1, k1..kd)
        - covariance: (patterns or 1, 1, d, d)
    """

    def __init__(self, kernel: Tensor | None = None, covariance: Tensor | None = None) -> None:
        self.assign(kernel, covariance)

    def assign(self, kernel: Tensor | None = None, covariance: Tensor | None = None) -> None:
        """Become another one: all that hold it see it."""
        self.kernel, self.covariance = kernel, covariance
        self._factors: dict[tuple[tuple[int, ...], bool], Tensor] = {}

    def index(self, items: Any) -> PointSpread:
        """That of some patterns: `items` indexes the batch axes."""
        kernel, covariance = (x if x is None or len(x) == 1 else x[items] for x in (self.kernel, self.covariance))
        part = PointSpread(kernel, covariance)
        part._factors = {key: x if len(x) == 1 else x[items] for key, x in self._factors.items()}
        return part

    def blurred(self, power: Tensor, shape: Sequence[int], real: bool) -> Tensor:
        """The intensity as it is measured, differentiable: (..., *shape), or on the half plane for a real object.

        Where rounding leaves less than what a pixel keeps of its own, that is taken instead.
        """
        seen = _fft.filtered(power, self.factor(shape, real), shape, real)
        return torch.maximum(seen, self._share(len(shape)) * power)

    def factor(self, shape: Sequence[int], real: bool) -> Tensor:
        """What multiplies the autocorrelation: on the half grid, or for a real object on all of it."""
        key = tuple(shape), real
        if key not in self._factors:
            self._factors[key] = self._factor(key[0], real)
        return self._factors[key]

    def slope(self, a: int, b: int, shape: Sequence[int], real: bool) -> Tensor:
        """The derivative of the factor of a Gaussian by the element a, b of its covariance, and by b, a."""
        return self.factor(shape, real) * (self._exponent(a, b, shape, real) * (1 if a == b else 2))

    def shown(self, shape: Sequence[int]) -> Tensor:
        """The kernel, a Gaussian on a window of pixels that the grid holds: (patterns or 1, k1..kd)."""
        if self.covariance is None:
            assert self.kernel is not None
            return self.kernel[:, 0]
        covariance, d = self.covariance[:, 0], len(shape)
        places = [torch.arange(-r, r + 1).to(covariance) for r in (min(_REACH, (m - 1) // 2) for m in shape)]
        at = torch.stack(torch.meshgrid(places, indexing="ij"), -1).flatten(0, -2)
        # A Gaussian narrower than a pixel by far stands for none.
        inverse = torch.linalg.inv(covariance + 1e-2 * torch.eye(d).to(covariance))
        return (-(at @ inverse * at).sum(-1) / 2).softmax(-1).reshape(-1, *map(len, places))

    def _share(self, ndim: int) -> Tensor:
        if self.covariance is None:
            assert self.kernel is not None
            middle: tuple[Any, ...] = (..., *(slice(k // 2, k // 2 + 1) for k in self.kernel.shape[-ndim:]))
            return self.kernel[middle].clamp(min=_LEAST_SHARE)
        share = (1 + 2 * math.pi * self.covariance.diagonal(dim1=-2, dim2=-1)).rsqrt().prod(-1) / 2
        return share.reshape(*share.shape, *[1] * ndim)

    def _factor(self, shape: tuple[int, ...], real: bool) -> Tensor:
        d = len(shape)
        if self.covariance is None:
            assert self.kernel is not None
            sizes, dims = self.kernel.shape[-d:], tuple(range(-d, 0))
            corner = _fft.pad(self.kernel, shape).roll([-(k // 2) for k in sizes], dims)
            return _fft.full_plane(corner, shape, "backward").real if real else _fft.transform(corner, d)
        total = torch.zeros((), dtype=self.covariance.dtype, device=self.covariance.device)
        for a in range(d):
            for b in range(d):
                value = self.covariance[..., a, b].reshape(*self.covariance.shape[:2], *[1] * d)
                total = total + value * self._exponent(a, b, shape, real)
        return total.exp()

    def _exponent(self, a: int, b: int, shape: Sequence[int], real: bool) -> Tensor:
        """-2 pi^2 f_a f_b on the grid of the factor."""
        assert self.covariance is not None
        d, plane = len(shape), torch.full((), -2 * math.pi**2).to(self.covariance)
        for axis in (a, b):
            f = _fft.frequencies(shape[axis])
            if a != b:
                f = f.where(f != -0.5, 0)  # it stands for 0.5 as well
            f = f.to(plane) if real or axis < d - 1 else _fft.half_from_full(f.to(plane))
            plane = plane * f.reshape(-1, *[1] * (d - 1 - axis))
        return plane
