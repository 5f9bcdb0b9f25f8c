"""The point spread of the intensities: a source that is not quite coherent, or a detector, blurs what is measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory
from phaseret.operators import Operator
from phaseret.operators._data import is_fourier

if TYPE_CHECKING:
    from typing_extensions import Self

# Half the width of the window on which a Gaussian is shown, in pixels.
_REACH = 12
# The least share of its own intensity that a pixel is taken to keep.
_LEAST_SHARE = 1e-3


class PointSpread:
    r"""What is measured of the intensity :math:`P = |F X|^2`: :math:`Y = P * \gamma`, which wraps around the grid.

    Attributes:
        form: The form of :math:`\gamma`, a :class:`Kernel` or a :class:`Gaussian`; while it is being found another one
            is put here, and all that hold this see it.
        autocorrelation: What was measured of it: the blur multiplies it by a factor, so what was before the blur
            follows. None where that is not asked for.
    """

    def __init__(self, form: Kernel | Gaussian, autocorrelation: Autocorrelation | None = None) -> None:
        self.form, self.autocorrelation = form, autocorrelation
        self._sharp: tuple[Kernel | Gaussian, Tensor] | None = None

    def index(self, items: Any) -> PointSpread:
        """That of some patterns: `items` indexes the batch axes."""
        part = PointSpread(self.form.index(items))
        if self.autocorrelation is not None:
            part.autocorrelation = self.autocorrelation.index(items)
        if self._sharp is not None and self._sharp[0] is self.form:
            sharp = self._sharp[1]
            part._sharp = part.form, sharp if len(sharp) == 1 else sharp[items]
        return part

    def sharp(self, real: bool) -> Tensor:
        """The root of the intensity as it was before the blur, (patterns, 1, m1..md).

        Of a real object the half of it, opposite frequencies averaged. What noise leaves below 0 is 0.
        """
        known = self.autocorrelation
        assert known is not None
        if self._sharp is None or self._sharp[0] is not self.form:
            intensity = known.before(self.form)
            if real:
                other = _fft.mirror(intensity, range(-len(known.shape), 0))
                intensity = _fft.half_from_full((intensity + other) / 2)
            self._sharp = self.form, _fft.root(intensity) * known.unit
        return self._sharp[1]

    def blurred(self, power: Tensor, shape: Sequence[int], real: bool) -> Tensor:
        """The intensity as it is measured, differentiable: (..., *shape), or on the half plane for a real object.

        Where rounding leaves less than what a pixel keeps of its own, that is taken instead.
        """
        seen = _fft.filtered(power, self.form.factor(shape, real), shape, real)
        return torch.maximum(seen, self.form.share(len(shape)) * power)

    def state_dict(self) -> dict[str, Tensor]:
        """The values of the form, under its name."""
        return {type(self.form).__name__.lower(): self.form.values.detach().clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the form that a state has."""
        self.form = Kernel(state["kernel"]) if "kernel" in state else Gaussian(state["gaussian"])


# The factor of a blur is taken to be this at least: what is left of less is rounding.
_LEAST_FACTOR = 1e-4
# An intensity is negative if it lies so many standard deviations below 0.
_NEGATIVE = 6.0


@dataclass
class Autocorrelation:
    """What was measured of the autocorrelations of some patterns, on the half grid of `shape`.

    Attributes:
        values: Those above their noise, by Wiener's filter.
        gain: The filter, between 0 and 1.
        variance: That of each pixel of the intensities.
        least: The smallest variance that counts, of intensities before a blur.
        unit: All intensities are in units of its square.
        widest: Covariance of the widest Gaussian that it allows, NaN where noise hides it; None if nobody asked.
    """

    shape: tuple[int, ...]
    values: Tensor  # (patterns, 1, *half grid), complex
    gain: Tensor  # the same, real
    variance: Tensor  # (patterns, 1, *shape)
    least: Tensor  # (patterns, 1, 1..1)
    unit: Tensor  # the same
    widest: Tensor | None = None  # (patterns, 1, d, d)

    def index(self, items: Any) -> Autocorrelation:
        """Those of some patterns: `items` indexes the batch axes."""
        values, gain, variance = self.values[items], self.gain[items], self.variance[items]
        widest = None if self.widest is None else self.widest[items]
        return Autocorrelation(self.shape, values, gain, variance, self.least[items], self.unit[items], widest)

    def before(self, form: Kernel | Gaussian, values: Tensor | None = None) -> Tensor:
        """The intensities before a blur, (patterns, 1, *shape), or planes of other values."""
        factor = form.factor(self.shape, real=False)
        inverse = factor.conj() / _fft.power(factor).clamp(min=_LEAST_FACTOR**2)
        values = (self.values if values is None else values) * inverse
        return _fft.inverse_sum(values, self.shape, real=True) / math.prod(self.shape)

    @torch.no_grad()
    def allows(self, form: Kernel | Gaussian) -> Tensor:
        """Whether the intensities (patterns, 1) were nowhere negative before a blur, but for noise."""
        d = len(self.shape)
        passed = self.before(form, self.gain.to(self.values.dtype)).square()  # what noise of one pixel becomes
        variance = _fft.filtered(self.variance, _fft.transform(passed, d), self.shape, real=False)
        deviation = variance.maximum(self.least).sqrt()
        return (self.before(form) >= -_NEGATIVE * deviation).flatten(-d).all(-1)


class _Form:
    """The values that say what the form is, and the factor of the autocorrelation that follows, kept for each grid."""

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self._factors: dict[tuple[tuple[int, ...], bool], Tensor] = {}

    def index(self, items: Any) -> Self:
        """That of some patterns: `items` indexes the batch axes."""
        part = type(self)(self.values if len(self.values) == 1 else self.values[items])
        part._factors = {key: x if len(x) == 1 else x[items] for key, x in self._factors.items()}
        return part

    def factor(self, shape: Sequence[int], real: bool) -> Tensor:
        """What multiplies the autocorrelation: on the half grid, or for a real object on all of it."""
        key = tuple(shape), real
        if key not in self._factors:
            self._factors[key] = self._factor(key[0], real)
        return self._factors[key]

    def _factor(self, shape: tuple[int, ...], real: bool) -> Tensor:
        raise NotImplementedError


class Kernel(_Form):
    r""":math:`\gamma` itself.

    Args:
        values: That of each pattern, or one for all, its middle at index k // 2; its sum is 1.

    Shape:
        - values: (patterns or 1, 1, k1..kd)
    """

    def shown(self, shape: Sequence[int]) -> Tensor:
        """The kernel: (patterns or 1, k1..kd)."""
        return self.values[:, 0]

    def share(self, ndim: int) -> Tensor:
        """The least that a pixel keeps of its own intensity."""
        middle: tuple[Any, ...] = (..., *(slice(k // 2, k // 2 + 1) for k in self.values.shape[-ndim:]))
        return self.values[middle].clamp(min=_LEAST_SHARE)

    def _factor(self, shape: tuple[int, ...], real: bool) -> Tensor:
        d = len(shape)
        sizes, dims = self.values.shape[-d:], tuple(range(-d, 0))
        corner = _fft.pad(self.values, shape).roll([-(k // 2) for k in sizes], dims)
        return _fft.full_plane(corner, shape, "backward").real if real else _fft.transform(corner, d)


class Gaussian(_Form):
    r"""A Gaussian. What is left of the autocorrelation is one too.

    For a covariance C it is :math:`\exp(-2 \pi^2 f^T C f)` at :math:`f_a = \Delta_a / m_a`, as the wave's mutual
    coherence has it.

    Args:
        values: The covariances, in squared pixels.

    Shape:
        - values: (patterns or 1, 1, d, d)
    """

    def slope(self, a: int, b: int, shape: Sequence[int], real: bool) -> Tensor:
        """The derivative of the factor by the element a, b of the covariance, and by b, a."""
        return self.factor(shape, real) * (self._exponent(a, b, shape, real) * (1 if a == b else 2))

    def shown(self, shape: Sequence[int]) -> Tensor:
        """The kernel on a window of pixels that the grid holds: (patterns or 1, k1..kd)."""
        covariance, d = self.values[:, 0], len(shape)
        places = [torch.arange(-r, r + 1).to(covariance) for r in (min(_REACH, (m - 1) // 2) for m in shape)]
        at = torch.stack(torch.meshgrid(places, indexing="ij"), -1).flatten(0, -2)
        # A Gaussian narrower than a pixel by far stands for none.
        inverse = torch.linalg.inv(covariance + 1e-2 * torch.eye(d).to(covariance))
        return (-(at @ inverse * at).sum(-1) / 2).softmax(-1).reshape(-1, *map(len, places))

    def share(self, ndim: int) -> Tensor:
        """The least that a pixel keeps of its own intensity."""
        share = (1 + 2 * math.pi * self.values.diagonal(dim1=-2, dim2=-1)).rsqrt().prod(-1) / 2
        return share.reshape(*share.shape, *[1] * ndim)

    def _factor(self, shape: tuple[int, ...], real: bool) -> Tensor:
        d = len(shape)
        total = torch.zeros((), dtype=self.values.dtype, device=self.values.device)
        for a in range(d):
            for b in range(d):
                value = self.values[..., a, b].reshape(*self.values.shape[:2], *[1] * d)
                total = total + value * self._exponent(a, b, shape, real)
        return total.exp()

    def _exponent(self, a: int, b: int, shape: Sequence[int], real: bool) -> Tensor:
        """-2 pi^2 f_a f_b on the grid of the factor."""
        d, plane = len(shape), torch.full((), -2 * math.pi**2).to(self.values)
        for axis in (a, b):
            f = _fft.frequencies(shape[axis])
            if a != b:
                f = f.where(f != -0.5, 0)  # it stands for 0.5 as well
            f = f.to(plane) if real or axis < d - 1 else _fft.half_from_full(f.to(plane))
            plane = plane * _fft.along(f, axis, d)
        return plane


def check_kernel(kernel: Any, intensity: Tensor, shape: tuple[int, ...]) -> None:
    """The point spread is real and fits on the detector, its last axes `shape`."""
    _checks.real(point_spread=kernel)
    _checks.rank(len(shape), point_spread=kernel)
    _checks.same_device(intensity=intensity, point_spread=kernel)
    sizes = tuple(kernel.shape[-len(shape) :])
    if any(k > m for k, m in zip(sizes, shape, strict=True)):
        _checks.fail(f"point_spread must be no larger than the data {shape}, got {sizes}", "Crop it about its middle")


def check_shares(kernel: Any, ndim: int) -> None:
    """The point spread is not negative, and its sum is 1; looks at it."""
    _checks.real(point_spread=kernel)
    _checks.rank(ndim, point_spread=kernel)
    _check_signs(kernel)
    total = kernel.sum(tuple(range(-ndim, 0)))
    if (total - 1).abs().max() > 0.01:
        least, most = total.min(), total.max()
        said = f"{float(least):.3g}" if least == most else f"{float(least):.3g} to {float(most):.3g}"
        _checks.fail(f"point_spread must sum to 1, got {said}", "Divide it by its sum")


def _check_signs(kernel: Tensor) -> None:
    _checks.finite(point_spread=kernel)
    if (kernel < 0).any():
        _checks.fail("point_spread must not be negative, got negative numbers", "Use point_spread.clamp(min=0)")


def shares(kernel: Tensor, ndim: int) -> Tensor:
    """The point spread over its sum."""
    return kernel / kernel.sum(tuple(range(-ndim, 0)), keepdim=True)


def of_data(kernel: Tensor, intensity: Tensor, operator: Operator) -> Tensor:
    """The point spread for data of an operator, with the axes of the data, one for all items or one each."""
    d, axes = operator.object_ndim, operator.data_ndim
    if axes < d:
        rule = f"operator must measure on a detector of {d} axes where there is a point_spread"
        _checks.fail(f"{rule}, got {type(operator).__name__}", "Leave point_spread out")
    shape = operator.fourier_shape if is_fourier(operator) else tuple(intensity.shape[-d:])
    check_kernel(kernel, intensity, shape)
    batch, own = tuple(intensity.shape[:-axes]), tuple(kernel.shape[:-d])
    if own not in ((), batch):
        fix = f"Give one for all items, {tuple(kernel.shape[-d:])}, or one each"
        _checks.fail(f"point_spread must have the batch shape {batch} of the intensity or none, got {own}", fix)
    looked_at = kernel.device.type == "cpu" and not (_memory.transformed() or torch.compiler.is_compiling())
    if looked_at and not kernel.requires_grad:  # no device need be waited for, and nobody changes it by small steps
        check_shares(kernel, d)
    return shares(kernel.to(intensity.dtype), d).reshape(*own, *[1] * (axes - d), *kernel.shape[-d:])


def seen(power: Tensor, kernel: Tensor | None, operator: Operator) -> Tensor:
    """The intensity (*, data) of an operator as it is measured with that kernel of `of_data`."""
    if kernel is None:
        return power
    spread = PointSpread(Kernel(kernel))
    if not is_fourier(operator) or not operator.onesided:
        return spread.blurred(power, power.shape[-operator.object_ndim :], real=False)
    shape, axes = operator.fourier_shape, operator.centered_axes
    plane = _fft.full_from_half(_fft.uncenter(power, axes), shape)
    return _fft.center(_fft.half_from_full(spread.blurred(plane, shape, real=False)), axes)
