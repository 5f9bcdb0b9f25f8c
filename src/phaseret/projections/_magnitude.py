"""The measured Fourier magnitude as a constraint, and the projection on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory
from phaseret._fft import Norm
from phaseret._module import Module, called_as
from phaseret.projections._spread import Gaussian, Kernel, PointSpread


class MagnitudeConstraint:
    r"""The set of arrays on the data grid whose Fourier magnitude is the measured one.

    The square roots of the data are prepared once: for a real object the two magnitudes of a frequency pair are
    averaged over their measured pixels (what the full transform followed by the real part does), and the factors of
    the transforms are folded in. Unmeasured pixels keep the magnitude they have.

    Args:
        magnitude: Measured Fourier magnitude, zero frequency at index 0; unmeasured values may be anything.
        mask: True where measured; None if all is. It broadcasts against magnitude.
        real: Whether the object is real: the transforms then use the half spectrum.
        norm: Normalisation of the magnitude: "ortho", "backward" or "forward".
        ndim: Number of axes of one item.
        spread: What blurs the intensities, if anything does: then the magnitude is that before the blur, as far as the
            spread's autocorrelation tells of it. Without one the modulus of the spectrum is multiplied by
            magnitude / sqrt(blurred intensity), which is no projection, but ends nearest to what was measured.
        reference: A part of the object that is known, of the kind of the arrays: these are the rest of it, and the
            magnitude is that of both together.

    Shape:
        - magnitude: (*, m1..md)
        - reference: (*, n1..nd) in the corner of the grid, its batch that of the magnitude or 1

    Example:
        >>> constraint = MagnitudeConstraint(torch.ones(8, 8), real=True)
        >>> constraint.project(torch.randn(5, 8, 8)).shape
        torch.Size([5, 8, 8])
    """

    def __init__(
        self,
        magnitude: Tensor,
        *,
        mask: Tensor | None = None,
        real: bool = False,
        norm: Norm = "ortho",
        ndim: int = 2,
        spread: PointSpread | None = None,
        reference: Tensor | None = None,
    ) -> None:
        _checks.real(magnitude=magnitude)
        ndim = _checks.item_axes(ndim, magnitude=magnitude)
        _checks.choice("norm", norm, get_args(Norm))
        _checks.flag(real=real)
        if spread is not None:
            _checks.instance("spread", spread, PointSpread, "Give coherence or point_spread to a solver")
        if reference is not None:
            _checks.floating(reference=reference)
            _checks.same_device(magnitude=magnitude, reference=reference)
            if reference.is_complex() == real:
                rule = f"reference must be {'real' if real else 'complex'} for {real=}"
                _checks.fail(f"{rule}, got {reference.dtype}", "Give it the kind of the arrays", TypeError)
        if mask is not None:
            _checks.boolean(mask=mask)
            _checks.same_device(magnitude=magnitude, mask=mask)
            _checks.broadcast("mask", mask, "magnitude", magnitude, item="measurement")
        self.shape = self._measured_shape = tuple(magnitude.shape[-ndim:])
        self.ndim, self.real, self.spread = ndim, real, spread
        magnitude, size = _fft.promote(magnitude), math.prod(self.shape)
        # magnitude = unit * |unnormalised transform|; the inverse without its factor wants magnitude / (unit * size)
        self._unit = {"ortho": size**-0.5, "backward": 1.0, "forward": 1.0 / size}[norm]
        self._size, self._scale = size, self._unit * size
        if mask is not None:
            magnitude = torch.where(mask, magnitude, 0.0)
        self.total = magnitude.square().flatten(-ndim).sum(-1)
        count = torch.ones((), dtype=magnitude.dtype, device=magnitude.device) if mask is None else mask.to(magnitude)
        # What no object can explain: the two sides of a frequency pair differ.
        self._spread = torch.zeros_like(self.total)
        if real:
            one, other = _pairs(magnitude, self.shape)
            counts = (count, count) if mask is None else _pairs(count, self.shape)
            half, count = counts[0] * counts[1] * (one - other) / 2, counts[0] + counts[1]
            magnitude = (one + other) / count.clamp(min=1.0)
            weights = _fft.pair_weights(self.shape[-1], magnitude)
            self._spread = (half.square() * weights).flatten(-ndim).sum(-1)
            count = count / 2 * weights
        # without a mask a view of few numbers
        self._weight = count.expand(magnitude.shape[-ndim:]) if mask is None else count
        self._target = magnitude / self._scale
        # In the units of the target.
        self._reference = None if reference is None else self._spectrum_of(reference) / size
        self._scratch: tuple[torch.Size, Kernel | Gaussian | None, list[_Slab]] | None = None
        self._free = None if mask is None else (self._weight == 0).to(magnitude.dtype) / size

    def _copy(self) -> MagnitudeConstraint:
        """The same, with buffers of its own."""
        part = object.__new__(MagnitudeConstraint)
        part.__dict__.update(self.__dict__)
        part._scratch = None
        return part

    def index(self, items: Any) -> MagnitudeConstraint:
        """The constraint of some items: `items` indexes the batch axes of the magnitude."""
        part = self._copy()
        batch = self._target.shape[: self._target.ndim - self.ndim]
        for name in ("_target", "_free", "_weight", "_spread", "total", "_reference"):
            value = getattr(self, name)
            if value is not None and value.ndim >= len(batch) and value.shape[: len(batch)] == batch:
                setattr(part, name, value[items])
        part.spread = None if self.spread is None else self.spread.index(items)
        return part

    def resized(self, shape: Sequence[int]) -> MagnitudeConstraint:
        """The constraint on a coarser grid: the lowest frequencies of the same objects, whose values are kept.

        What no object can explain, the difference between the two sides of a frequency pair, no longer counts.
        """
        part = self._copy()
        part.shape, part._size = tuple(shape), math.prod(shape)
        part._unit = 1 / part._size
        part._target, part._weight = (
            _fft.resize_spectrum(plane, self.shape, shape, self.real) for plane in (self._target, self._weight)
        )
        if part._free is not None or part.shape != self.shape:
            part._free = (part._weight == 0).to(part._weight.dtype) / part._size
        if self._reference is not None:
            part._reference = _fft.resize_spectrum(self._reference, self.shape, shape, self.real)
        part.total = (part._weight * part._target.square()).flatten(-self.ndim).sum(-1)
        part._spread = torch.zeros_like(part.total)
        return part

    def without_reference(self) -> MagnitudeConstraint:
        """The constraint of whole objects."""
        part = self._copy()
        part._reference = None
        return part

    def as_measured(self) -> MagnitudeConstraint:
        """The constraint that scales blurred intensities to the measured ones, without what was before the blur."""
        if self.spread is None:
            return self
        part = self._copy()
        part.spread = PointSpread(self.spread.form)
        return part

    @property
    def _scales(self) -> bool:
        """Whether spectra are scaled, and not given a magnitude."""
        return self.spread is not None and self.spread.autocorrelation is None

    def _aim(self) -> Tensor:
        """The magnitude that spectra are given, in the units of the target: that before a blur."""
        if self.spread is None:
            return self._target
        sharp = self.spread.sharp(self.real) / self._scale
        if self.shape != self._measured_shape:
            sharp = _fft.resize_spectrum(sharp, self._measured_shape, self.shape, self.real)
        return sharp if self._free is None else sharp * (self._weight > 0)

    def planes(self) -> tuple[Tensor, Tensor | None]:
        """The measured intensity on the full plane, in some unit, and where it was measured; None if all was."""
        intensity, mask = self._target.square(), None if self._free is None else self._weight > 0
        if self.real:
            intensity = _fft.full_from_half(intensity, self.shape)
            mask = None if mask is None else _fft.full_from_half(mask, self.shape)
        return intensity, mask

    @property
    def measured_modulus(self) -> Tensor:
        """The measured magnitude in the units of the transform without normalisation."""
        return self._target * self._size

    @property
    def weight(self) -> Tensor:
        """How many measured pixels each pixel of the (half) plane stands for."""
        return self._weight

    @property
    def measured(self) -> Tensor:
        """Number of measured pixels of each item."""
        return self._weight.flatten(-self.ndim).sum(-1)

    @property
    def per_energy(self) -> float:
        """What an object of energy 1 sums up to in the units of `total`: Parseval."""
        return self._unit**2 * self._size

    @property
    def unequal(self) -> Tensor:
        """The share of `total` that no object can explain: the two sides of a frequency pair differ."""
        return self._spread / self.total

    def project(self, x: Tensor) -> Tensor:
        """The nearest array with the measured magnitude: (*, m1..md) -> (*, m1..md), differentiable.

        Where the spectrum is zero its phase is taken as 0 and its gradient as 0.
        """
        if self._scales:
            return self._project_blurred(x)
        field, aim = self.spectrum(x), self._aim()
        modulus = _fft.magnitude(field, self.ndim)
        zero = modulus == 0
        scale = aim / _fft.divisor(modulus)
        if self._free is not None:
            scale = scale + self._free
        return self._back(torch.where(zero, aim.to(field.dtype), field * scale))

    def project_fast(self, x: Tensor, zeros: bool = False) -> Tensor:
        """`project` without gradient, in place on the spectrum's real view.

        A spectrum that is exactly zero, which only a given start can have, stays zero unless `zeros`.
        """
        if self._scales:
            return self._project_blurred(x)
        return _fft.inverse_sum(self.fit(self.spectrum(x), zeros), self.shape, self.real)

    def fit(self, field: Tensor, zeros: bool = False) -> Tensor:
        """Spectra without normalisation, given the measured magnitude in place: those of `project_fast` over the
        number of pixels."""
        rows = field.flatten(-self.ndim)
        pairs = torch.view_as_real(rows)
        for slab in self._slabs(rows):
            part = rows if slab.whole else rows[..., slab.items]
            scale = slab.power(pairs)
            empty = scale == 0 if zeros else None
            scale.add_(slab.tiny).rsqrt_().mul_(slab.target)
            if slab.free is not None:
                scale.add_(slab.free)
            part.mul_(scale)
            if empty is not None:
                part.add_(empty * slab.target)
        return field if self._reference is None else field.sub_(self._reference)

    def _project_blurred(self, x: Tensor) -> Tensor:
        field = self.spectrum(x)
        scale = self._target / _fft.divisor(self.modulus(field))
        if self._free is not None:
            scale = scale + self._free
        return self._back(field * scale)

    def spectrum(self, x: Tensor) -> Tensor:
        """The spectrum without normalisation of objects (*, n1..nd) in a corner of the grid, with the known part."""
        return self.completed(self._spectrum_of(x))

    def completed(self, field: Tensor) -> Tensor:
        """Spectra without normalisation of the rest, with the known part."""
        return field if self._reference is None else torch.add(field, self._reference, alpha=self._size)

    def _spectrum_of(self, x: Tensor) -> Tensor:
        return _fft.transform(_fft.pad(x, self.shape), self.ndim)

    def _back(self, field: Tensor) -> Tensor:
        """The arrays of a spectrum in the units of the target, less the known part."""
        if self._reference is not None:
            field = field - self._reference
        return _fft.inverse_sum(field, self.shape, self.real)

    def modulus(self, field: Tensor) -> Tensor:
        """The magnitude that is measured of a spectrum without normalisation: blurred, if that is so."""
        power = _fft.power(field)
        return _fft.root(power if self.spread is None else self.spread.blurred(power, self.shape, self.real))

    def residual(self, obj: Tensor) -> Tensor:
        r"""Relative magnitude error: (*, n1..nd) -> (*).

        sqrt(sum((abs(F obj) - magnitude)^2) / sum(magnitude^2)) over measured pixels. The object may be cropped to any
        box that holds it: the magnitude does not see where it lies; but where a part of it is known it does.
        """
        return self.residual_of(self.spectrum(obj))

    def residual_of(self, field: Tensor) -> Tensor:
        """The same of spectra without normalisation."""
        rows, weight = field.flatten(-self.ndim), self._weight.flatten(-self.ndim)
        if self.spread is not None or (torch.is_grad_enabled() and rows.requires_grad):
            off = self.modulus(field) / self._size - self._target
            error = (off.square() * self._weight).flatten(-self.ndim).sum(-1)
        else:
            pairs = torch.view_as_real(rows)
            error = torch.zeros(rows.shape[:-1], dtype=self._target.dtype, device=rows.device)
            for slab in self._slabs(rows):
                modulus = slab.power(pairs).sqrt_()
                off = torch.sub(slab.target, modulus, alpha=1 / self._size, out=modulus)
                error += off.square_().mul_(weight[..., slab.items]).sum(-1)
        return _fft.root((error * (self._unit * self._size) ** 2 + self._spread) / self.total)

    def transfer(self, obj: Tensor) -> Tensor:
        """Ratio of the object's magnitude to the measured one, both summed over rings: (*, n1..nd) -> (*, rings).

        Ring r holds the frequencies that round to r / min(m1..md) cycles per pixel, up to one half. nan without light.
        """
        field = self.spectrum(obj)
        rings = _fft.Rings(self.shape, obj, onesided=self.real)
        return rings.transfer(self.modulus(field) / self._size * self._weight, self._target * self._weight)

    def _slabs(self, rows: Tensor) -> list[_Slab]:
        """Pieces of flat spectra with their buffers and data, kept for the next call."""
        form = None if self.spread is None else self.spread.form
        if self._scratch is None or self._scratch[0] != rows.shape or self._scratch[1] is not form:
            # A complex number takes the room of two pixels: the buffers stay in the cache, and small beside a volume.
            width = min(_memory.pixels_at_a_time(rows.device) // 2, rows.shape[-1])
            squares = torch.empty((*rows.shape[:-1], width, 2), dtype=self._target.dtype, device=rows.device)
            target = self._aim().flatten(-self.ndim)
            free = None if self._free is None else self._free.flatten(-self.ndim)
            starts = range(0, rows.shape[-1], width)
            slabs = [_Slab(slice(low, low + width), width == rows.shape[-1], squares, target, free) for low in starts]
            self._scratch = rows.shape, form, slabs
        return self._scratch[2]


class _Slab:
    """A piece of flat spectra: the data of its numbers, and buffers that all pieces share."""

    def __init__(self, items: slice, whole: bool, squares: Tensor, target: Tensor, free: Tensor | None) -> None:
        self.items, self.whole, self.tiny = items, whole, torch.finfo(target.dtype).tiny
        self.target, self.free = target[..., items], None if free is None else free[..., items]
        self.squares = squares[..., : self.target.shape[-1], :]
        self.real, self.imaginary = self.squares.unbind(-1)
        self.sum = torch.empty_like(self.real)

    def power(self, pairs: Tensor) -> Tensor:
        """Squared modulus of this piece of spectra given as pairs of numbers: cheaper than `abs` by far."""
        pairs = pairs if self.whole else pairs[..., self.items, :]
        torch.mul(pairs, pairs, out=self.squares)
        return torch.add(self.real, self.imaginary, out=self.sum)


def _pairs(plane: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The values of a full plane on the half plane, and those at the opposite frequencies."""
    batch = plane.shape[: plane.ndim - len(shape)]
    flat = plane.reshape(-1, *shape)
    half = _fft.half_from_full(flat)
    other = _fft.copy_opposite_half(flat, torch.empty_like(half))
    return half.reshape(*batch, *half.shape[1:]), other.reshape(*batch, *half.shape[1:])


def project_magnitude(
    obj: Tensor, magnitude: Tensor, *, mask: Tensor | None = None, norm: Norm = "ortho", ndim: int = 2
) -> Tensor:
    r"""The nearest array with the measured Fourier magnitude: keep the phase, replace the magnitude.

    .. math:: P_M x = F^{-1} \Big[ M \frac{F x}{|F x|} \Big]

    at measured pixels; unmeasured ones keep F x, whatever the magnitude holds there. Where F x is zero its phase is
    taken as 0 and its gradient as 0. For a real `obj` the magnitudes of opposite frequencies are averaged, so that the
    result is real.

    Args:
        obj: Array on the data grid, real or complex floating.
        magnitude: Measured magnitude, square root of the intensity, zero frequency at index 0.
        mask: True where measured. Default: everywhere.
        norm: Normalisation of the magnitude: "ortho", "backward" or "forward".
        ndim: Number of axes of one item (1, 2 or 3).

    Shape:
        - obj: (*, m1..md)
        - magnitude and mask: (*, m1..md), or what broadcasts to it
        - output: as obj

    Returns:
        Tensor of the dtype of obj.

    Raises:
        TypeError: if obj is not floating, magnitude not real, or mask not boolean.
        ValueError: if the shapes do not fit or an option is unknown.

    Example:
        >>> x = torch.rand(8, 8)
        >>> magnitude = pr.operators.fourier_magnitude(x[:4, :4], (8, 8))
        >>> y = project_magnitude(x, magnitude)
        >>> torch.allclose(torch.fft.fft2(y, norm="ortho").abs(), magnitude, atol=1e-5)
        True

    Source:
        Gerchberg, Saxton (1972), Optik 35, 237; Fienup (1982), doi:10.1364/AO.21.002758, step 2.
    """
    _checks.floating(obj=obj)
    _checks.real(magnitude=magnitude)
    _check_magnitude_options(mask, norm, ndim)
    ndim = _checks.item_axes(ndim, obj=obj, magnitude=magnitude)
    _checks.same_device(obj=obj, magnitude=magnitude, mask=mask)
    mask = None if mask is None else _checks.broadcast("mask", mask, "obj", obj)
    obj = _fft.promote(obj)
    target = _checks.broadcast("magnitude", magnitude, "obj", obj).to(obj.real.dtype)
    return MagnitudeConstraint(target, mask=mask, real=not obj.is_complex(), norm=norm, ndim=ndim).project(obj)


def _check_magnitude_options(mask: Any, norm: str, ndim: Any) -> None:
    _checks.item_axes(ndim)
    _checks.choice("norm", norm, _fft.NORMS)
    if mask is not None:
        _checks.boolean(mask=mask)


class ProjectMagnitude(Module):
    """Module of :func:`project_magnitude`, with the same options.

    Args:
        mask: True where measured; joined with the mask of a call: a pixel counts where both say so.
        norm: Normalisation of the magnitude: "ortho", "backward" or "forward".
        ndim: Number of axes of one item (1, 2 or 3).

    Example:
        >>> project = ProjectMagnitude(norm="backward")
        >>> project(torch.rand(5, 8, 8), torch.ones(8, 8)).shape
        torch.Size([5, 8, 8])
    """

    mask: Tensor | None

    def __init__(self, *, mask: Tensor | None = None, norm: Norm = "ortho", ndim: int = 2) -> None:
        _check_magnitude_options(mask, norm, ndim)
        super().__init__(mask=mask, norm=norm, ndim=ndim)

    def forward(self, obj: Tensor, magnitude: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """See :func:`project_magnitude`."""
        options = self.options
        if mask is not None and self.mask is not None:
            _checks.boolean(mask=mask)
            _checks.same_device(obj=obj, mask=mask)
            mask = _checks.broadcast("mask", mask, "obj", obj) & _checks.broadcast("mask", self.mask, "obj", obj)
        return project_magnitude(obj, magnitude, **options | ({} if mask is None else {"mask": mask}))

    __call__ = called_as(forward)
