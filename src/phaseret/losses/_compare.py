"""What the passive loss compares, step by step: any operator, any criterion, any derivative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from phaseret import _fft
from phaseret.losses._criterion import Criterion, pixelwise, poisson_floor, poisson_pixels
from phaseret.operators import FourierIntensity, Operator
from phaseret.operators._data import check_data, is_fourier
from phaseret.projections._spread import seen

Domain = Literal["magnitude", "intensity", "poisson", "autocorrelation"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The measurement and how its data are compared, for any batch of B items.

    Attributes:
        operator: The measurement; a far-field one with the zero frequency at index 0.
        centered: The axes of the given data whose zero frequency lies in the middle.
        domain: What is compared.
        criterion: The distance of a pixel.
        normalize: Whether data and estimates are divided by the mean of the data.
        scale: Whether estimates are multiplied by the factor that gives them the total of the data.
    """

    operator: Operator
    centered: range
    domain: Domain
    criterion: Criterion
    normalize: bool
    scale: bool = False

    @classmethod
    def of(cls, operator: Operator, domain: Domain, criterion: Criterion, normalize: bool, scale: bool) -> Comparison:
        """The comparison in the data of an operator as it is given."""
        centered = range(0)
        if is_fourier(operator):
            centered = operator.centered_axes
            operator = FourierIntensity(**(operator.options | {"centered": False, "chunk": None}))
        return cls(operator, centered, domain, criterion, normalize, scale)

    def prepared(self, intensity: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Data and mask with the zero frequency at index 0, and a factor (B) for the estimates or None."""
        if mask is not None:
            # An unmeasured pixel may hold any value, NaN too.
            intensity, mask = intensity.masked_fill(~mask, 0), _fft.uncenter(mask, self.centered)
        intensity = _fft.uncenter(intensity, self.centered)
        if self.domain == "poisson":
            intensity = intensity.clamp_min(0)
        if not self.normalize:
            return intensity, mask, None
        scale = self._mean(intensity, mask)
        # An item without light has no scale: it stays as it is.
        scale = scale.where(scale >= torch.finfo(scale.dtype).tiny, 1)
        return intensity / scale.reshape(-1, *[1] * self.operator.data_ndim), mask, scale.rsqrt()

    def values(
        self,
        estimate: Tensor,
        intensity: Tensor,
        mask: Tensor | None,
        background: Tensor | None = None,
        kernel: Tensor | None = None,
    ) -> Tensor:
        """One value per item, as a composition of differentiable steps; `kernel` is what blurs the intensity."""
        intensity, mask, factors = self.prepared(intensity, mask)
        dark: Tensor | float = 0.0 if background is None else _fft.uncenter(background, self.centered)
        if factors is not None:
            estimate = estimate * factors.reshape(-1, *[1] * self.operator.object_ndim)
            dark = dark * factors.square().reshape(-1, *[1] * self.operator.data_ndim)
        if self.scale:  # in units of their own the derivative of the factor, as of a square, is a number
            estimate = estimate / _fft.unit(estimate, self.operator.object_ndim)
        field = self.operator._predicted(estimate)
        check_data(intensity, field.shape[1:])
        if self.scale:
            field = field * self._fitting(seen(_fft.power(field), kernel, self.operator), intensity - dark, mask)
        if self.domain == "magnitude":
            # Below the square root of the smallest number the derivatives of the modulus overflow: it counts as 0.
            vanishing = _fft.power(field) < 4 * torch.finfo(field.dtype).tiny
            field = field.masked_fill(vanishing, 0)
            if background is None and kernel is None:
                expected = field.abs()
            else:
                expected = _fft.root(seen(_fft.power(field), kernel, self.operator) + dark)
            return self._mean(self._pixels(expected, _fft.root(intensity), mask), mask)
        expected = seen(_fft.power(field), kernel, self.operator) + dark
        if self.domain == "autocorrelation":
            return self._autocorrelation(expected, intensity, mask)
        if self.domain == "poisson":
            pixels = poisson_pixels(expected + poisson_floor(intensity), intensity)
        else:
            pixels = self._pixels(expected, intensity, mask)
        return self._mean(pixels, mask)

    def _pixels(self, expected: Tensor, measured: Tensor, mask: Tensor | None) -> Tensor:
        """The criterion of each pixel; a callable, which may take logarithms, sees ones where nothing was measured."""
        if mask is not None and callable(self.criterion):
            expected, measured = expected.where(mask, 1), measured.where(mask, 1)
        return pixelwise(self.criterion, expected, measured)

    def _fitting(self, power: Tensor, measured: Tensor, mask: Tensor | None) -> Tensor:
        """The factor (B, 1..1) that gives an estimate the total of what was measured; 1 for one without light."""
        total = self._mean(power, mask)
        dark = ~(total > 0)
        if self.domain == "magnitude":
            measured = measured.clamp_min(0)
        factor = _fft.root(self._mean(measured, mask) / total.masked_fill(dark, 1))
        return factor.masked_fill(dark, 1).reshape(-1, *[1] * self.operator.data_ndim)

    def _autocorrelation(self, power: Tensor, intensity: Tensor, mask: Tensor | None) -> Tensor:
        """The distance of the inverse transforms of the measured pixels, over all lags."""
        operator = cast(FourierIntensity, self.operator)  # passive_loss refuses others
        shape = operator.fourier_shape

        def inverse(plane: Tensor) -> Tensor:
            plane = plane if mask is None else plane.masked_fill(~mask, 0)
            return _fft.adjoint((_fft.full_from_half(plane, shape) if operator.onesided else plane) + 0j, shape, shape)

        pixels = pixelwise(self.criterion, inverse(power), inverse(intensity)).flatten(1).mean(1)
        if mask is None:
            return pixels
        # The mean over the measured pixels, so that Parseval's theorem gives the value of "intensity".
        return _fft.quotient(pixels, self._mean(mask.to(pixels.dtype), None))

    def _mean(self, pixels: Tensor, mask: Tensor | None) -> Tensor:
        """Mean over the measured pixels of the full plane, per item; nan without one."""
        weights = self.operator.weights(pixels)
        if mask is None and weights.ndim == 0:
            return pixels.flatten(1).mean(1)
        if mask is None:
            weights = weights.expand(1, *pixels.shape[1:])
        else:
            weights = mask.to(pixels.dtype) * weights if weights.ndim else mask.to(pixels.dtype)
        return _fft.quotient((pixels * weights).flatten(1).sum(1), weights.flatten(1).sum(1))
