r"""Projections: the nearest object that agrees with the data, and the nearest one that agrees with what is known.

**Which one should I use?** :func:`project_magnitude` replaces the Fourier magnitude by the measured one and keeps the
phase; :func:`project_object` imposes support, realness, non-negativity, bounds. Every solver is made of the two. To
write an algorithm of your own, subclass :class:`phaseret.solvers.Algorithm`: it is handed both as
:class:`MagnitudeConstraint` and :class:`ObjectConstraint`, prepared once and cheap to apply many times.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory
from phaseret._fft import Norm
from phaseret._module import Module, called_as

__all__ = [
    "MagnitudeConstraint",
    "ObjectConstraint",
    "ProjectMagnitude",
    "ProjectObject",
    "hio_update",
    "project_magnitude",
    "project_object",
    "raar_update",
]

Constraint = Literal["complex", "real", "nonnegative"]
CONSTRAINTS = get_args(Constraint)


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

    Shape:
        - magnitude: (*, m1..md)

    Example:
        >>> constraint = MagnitudeConstraint(torch.ones(8, 8), real=True)
        >>> constraint.project(torch.randn(5, 8, 8)).shape
        torch.Size([5, 8, 8])
    """

    def __init__(
        self, magnitude: Tensor, *, mask: Tensor | None = None, real: bool = False, norm: Norm = "ortho", ndim: int = 2
    ) -> None:
        _checks.real(magnitude=magnitude)
        _checks.item_axes(ndim, magnitude=magnitude)
        _checks.choice("norm", norm, get_args(Norm))
        _checks.flag(real=real)
        if mask is not None:
            _checks.boolean(mask=mask)
            _checks.same_device(magnitude=magnitude, mask=mask)
            _checks.broadcast("mask", mask, "magnitude", magnitude, item="measurement")
        self.shape = tuple(magnitude.shape[-ndim:])
        self.ndim, self.real = ndim, real
        size = math.prod(self.shape)
        # magnitude = unit * |unnormalised transform|; the inverse without its factor wants magnitude / (unit * size)
        self._unit = {"ortho": size**-0.5, "backward": 1.0, "forward": 1.0 / size}[norm]
        self._size = size
        if mask is not None:
            magnitude = torch.where(mask, magnitude, 0.0)
        self.total = magnitude.square().flatten(-ndim).sum(-1)
        count = torch.ones((), dtype=magnitude.dtype, device=magnitude.device) if mask is None else mask.to(magnitude)
        if real:
            magnitude = _pair_sum(magnitude, self.shape)
            if mask is None:
                magnitude /= 2
                count = 2 * count
            else:
                count = _pair_sum(count, self.shape)
                magnitude = magnitude / count.clamp(min=1.0)
            count = count / 2 * _fft.pair_weights(self.shape[-1], magnitude)
        # without a mask a view of few numbers
        self._weight = count.expand(magnitude.shape[-ndim:]) if mask is None else count
        # What no object can explain: the two sides of a frequency pair differ.
        self._spread = (self.total - (self._weight * magnitude.square()).flatten(-ndim).sum(-1)).clamp(min=0.0)
        self._target = magnitude / (self._unit * size)
        self._scratch: tuple[torch.Size, list[_Slab]] | None = None
        self._free = None if mask is None else (self._weight == 0).to(magnitude.dtype) / size

    def index(self, items: Any) -> MagnitudeConstraint:
        """The constraint of some items: `items` indexes the batch axes of the magnitude."""
        part = object.__new__(MagnitudeConstraint)
        part.__dict__.update(self.__dict__)
        part._scratch = None
        batch = self._target.shape[: self._target.ndim - self.ndim]
        for name in ("_target", "_free", "_weight", "_spread", "total"):
            value = getattr(self, name)
            if value is not None and value.ndim >= len(batch) and value.shape[: len(batch)] == batch:
                setattr(part, name, value[items])
        return part

    def resized(self, shape: Sequence[int]) -> MagnitudeConstraint:
        """The constraint on a coarser grid: the lowest frequencies of the same objects, whose values are kept.

        What no object can explain, the difference between the two sides of a frequency pair, no longer counts.
        """
        part = object.__new__(MagnitudeConstraint)
        part.__dict__.update(self.__dict__)
        part.shape, part._size, part._scratch = tuple(shape), math.prod(shape), None
        part._unit = 1 / part._size
        part._target, part._weight = (
            _fft.resize_spectrum(plane, self.shape, shape, self.real) for plane in (self._target, self._weight)
        )
        if part._free is not None or part.shape != self.shape:
            part._free = (part._weight == 0).to(part._weight.dtype) / part._size
        part.total = (part._weight * part._target.square()).flatten(-self.ndim).sum(-1)
        part._spread = torch.zeros_like(part.total)
        return part

    @property
    def measured(self) -> Tensor:
        """Number of measured pixels of each item."""
        return self._weight.flatten(-self.ndim).sum(-1)

    def project(self, x: Tensor) -> Tensor:
        """The nearest array with the measured magnitude: (*, m1..md) -> (*, m1..md), differentiable.

        Where the spectrum is zero its phase is taken as 0 and its gradient as 0.
        """
        field = _fft.transform(x, self.ndim)
        modulus = _fft.magnitude(field, self.ndim)
        zero = modulus == 0
        scale = self._target / _fft.divisor(modulus)
        if self._free is not None:
            scale = scale + self._free
        field = torch.where(zero, self._target.to(field.dtype), field * scale)
        return _fft.inverse_sum(field, self.shape, self.real)

    def project_fast(self, x: Tensor, zeros: bool = False) -> Tensor:
        """`project` without gradient, in place on the spectrum's real view.

        A spectrum that is exactly zero, which only a given start can have, stays zero unless `zeros`.
        """
        field = _fft.transform(x, self.ndim)
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
        handed_over = [field]
        del field, rows, pairs, part
        return _fft.inverse_sum(handed_over.pop(), self.shape, self.real)

    def residual(self, obj: Tensor) -> Tensor:
        r"""Relative magnitude error: (*, n1..nd) -> (*).

        sqrt(sum((abs(F obj) - magnitude)^2) / sum(magnitude^2)) over measured pixels. The object may be cropped to any
        box that holds it: the magnitude does not see where it lies.
        """
        rows = _fft.transform(_fft.pad(obj, self.shape), self.ndim).flatten(-self.ndim)
        weight = self._weight.flatten(-self.ndim)
        if torch.is_grad_enabled() and rows.requires_grad:
            off = _fft.root(_fft.power(rows)) / self._size - self._target.flatten(-self.ndim)
            error = (off.square() * weight).sum(-1)
        else:
            pairs = torch.view_as_real(rows)
            error = torch.zeros(rows.shape[:-1], dtype=self._target.dtype, device=rows.device)
            for slab in self._slabs(rows):
                power = slab.power(pairs).sqrt_().mul_(1 / self._size).sub_(slab.target).square_()
                error += power.mul_(weight[..., slab.items]).sum(-1)
        return ((error * (self._unit * self._size) ** 2 + self._spread) / self.total).sqrt()

    def transfer(self, obj: Tensor) -> Tensor:
        """Ratio of the object's magnitude to the measured one, both summed over rings: (*, n1..nd) -> (*, rings).

        Ring r holds the frequencies that round to r / min(m1..md) cycles per pixel, up to one half. nan without light.
        """
        rows = _fft.transform(_fft.pad(obj, self.shape), self.ndim).flatten(-self.ndim)
        target, weight = self._target.flatten(-self.ndim), self._weight.flatten(-self.ndim)
        least = min(self.shape)
        radius = _fft.squared_frequencies(self.shape, obj).sqrt().flatten() * least
        index = radius.round().long().clamp(max=least // 2 + 1)

        def over_rings(values: Tensor) -> Tensor:
            sums = values.new_zeros((*values.shape[:-1], least // 2 + 2))
            return sums.index_add_(-1, index, values)[..., :-1]

        return over_rings(_fft.power(rows).sqrt() / self._size * weight) / over_rings(target * weight)

    def _slabs(self, rows: Tensor) -> list[_Slab]:
        """Pieces of flat spectra with their buffers and data, kept for the next call."""
        if self._scratch is None or self._scratch[0] != rows.shape:
            # A complex number takes the room of two pixels: the buffers stay in the cache, and small beside a volume.
            width = min(_memory.pixels_at_a_time(rows.device) // 2, rows.shape[-1])
            squares = torch.empty((*rows.shape[:-1], width, 2), dtype=self._target.dtype, device=rows.device)
            target = self._target.flatten(-self.ndim)
            free = None if self._free is None else self._free.flatten(-self.ndim)
            starts = range(0, rows.shape[-1], width)
            slabs = [_Slab(slice(low, low + width), width == rows.shape[-1], squares, target, free) for low in starts]
            self._scratch = rows.shape, slabs
        return self._scratch[1]


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


def _pair_sum(plane: Tensor, shape: Sequence[int]) -> Tensor:
    """Values of a full plane plus those at the opposite frequencies, on the half plane."""
    batch = plane.shape[: plane.ndim - len(shape)]
    flat = plane.reshape(-1, *shape)
    half = _fft.half_from_full(flat)
    return (half + _fft.copy_opposite_half(flat, torch.empty_like(half))).reshape(*batch, *half.shape[1:])


class ObjectConstraint:
    """What is known of the object: support, size of the support, realness, non-negativity, bounds, phase range.

    Args:
        support: True where the object may be non-zero; None for everywhere. It broadcasts against the object.
        support_size: Number of non-zero pixels: those of each item that matter most are kept.
        constraint: "complex", "real" or "nonnegative".
        bounds: (low, high) for the values inside the support; for a complex object, for its modulus.
        phase_range: (low, high) in radians for the phase of a complex object, at most pi apart.
        ndim: Number of axes of one item.
        dtype: Real dtype of the objects.

    Raises:
        TypeError: if an option is of the wrong kind.
        ValueError: if an option is unknown, out of range or out of order, or does not go with the constraint.

    Example:
        >>> ObjectConstraint(constraint="nonnegative", ndim=1).project(torch.tensor([1.0, -2.0, 3.0]))
        tensor([1., 0., 3.])
    """

    def __init__(
        self,
        *,
        support: Tensor | None = None,
        support_size: int | None = None,
        constraint: Constraint = "complex",
        bounds: tuple[float, float] | None = None,
        phase_range: tuple[float, float] | None = None,
        ndim: int = 2,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        _checks.choice("constraint", constraint, CONSTRAINTS)
        if support_size is not None:
            _checks.integer("support_size", support_size)
        _check_bounds(bounds, constraint)
        _check_phase_range(phase_range, constraint)
        _checks.item_axes(ndim)
        if support is not None:
            _checks.boolean(support=support)
        self.support_size, self.constraint = support_size, constraint
        self.bounds, self.phase_range, self.ndim, self.dtype = bounds, phase_range, ndim, dtype
        self.support = None if support is None else support.to(dtype)

    def within(self, support: Tensor | None) -> ObjectConstraint:
        """The same with another support."""
        part = copy.copy(self)
        part.support = None if support is None else support.to(self.dtype)
        return part

    def _values(self, x: Tensor) -> Tensor:
        """The nearest values, wherever the pixel lies; pixels that agree already are returned bit for bit."""
        if self.constraint == "nonnegative":
            x = x.clamp(min=0.0)
        if self.phase_range is not None:
            x = _to_cone(x, *self.phase_range)
        if self.bounds is not None:
            low, high = self.bounds
            if x.is_complex():
                modulus = _fft.root(_fft.power(x))
                unit = torch.where(modulus == 0, torch.ones_like(x), x / _fft.divisor(modulus))
                x = torch.where((modulus >= low) & (modulus <= high), x, unit * modulus.clamp(low, high))
            else:
                x = x.clamp(low, high)
        return x

    def _kept(self, x: Tensor, values: Tensor) -> Tensor:
        """1 at the `support_size` pixels of each item that it costs most to drop, 0 elsewhere.

        Both arguments are 0 outside the support; `values` are the nearest ones that agree, pixel by pixel.
        """
        x, values = x.detach(), values.detach()
        if self.bounds is not None:  # |x|^2 - |x - value|^2: clipped values are alike, what they stand for is not
            cost = (values.conj() * (2 * x - values)).real if values.is_complex() else values * (2 * x - values)
        else:
            cost = values if self.constraint == "nonnegative" else _fft.power(values)
        flat = cost.flatten(-self.ndim)
        least = flat.topk(min(cast(int, self.support_size), flat.shape[-1]), sorted=True).values[..., -1]
        return (cost >= least[(...,) + (None,) * self.ndim]).to(cost.dtype)

    def _supported(self, x: Tensor) -> Tensor:
        return x if self.support is None else x * self.support

    def project(self, x: Tensor) -> Tensor:
        """The nearest object that agrees: (*, n1..nd) -> (*, n1..nd), differentiable almost everywhere."""
        values = self._supported(self._values(x))
        return values if self.support_size is None else values * self._kept(self._supported(x), values)

    def choose(self, x: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
        """`inside` at the pixels where `x` agrees with what is known, `outside` at the others."""
        weight = self.support
        if self.support_size is not None:
            kept = self._kept(self._supported(x), self._supported(self._values(x)))
            weight = kept if weight is None else kept * weight
        if self.constraint == "nonnegative" or self.bounds is not None or self.phase_range is not None:
            if self.bounds is None and self.phase_range is None:
                # the comparison written as numbers, and blending instead of `where`, are many times faster
                agrees = torch.empty(x.shape, dtype=x.dtype, device=x.device)
                torch.ge(x.detach(), 0.0, out=agrees)
            else:
                agrees = (self._values(x) == x).to(x.real.dtype)
            weight = agrees if weight is None else agrees.mul_(weight)
        if weight is None:
            return inside
        if inside.is_complex():
            return outside + (inside - outside) * weight
        return torch.lerp(outside, inside, weight)


def _check_pair(name: str, pair: Any) -> None:
    """The value is a pair of numbers in order."""
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        _checks.fail(f"{name} must be a pair (low, high), got {pair!r}", "Use (0, 1), for example", TypeError)
    low, high = (_checks.number(f"{name}[{i}]", value) for i, value in enumerate(pair))
    if low > high:
        _checks.fail(f"{name} must be in order, got {pair!r}", f"Use ({high}, {low})")


def _check_bounds(bounds: Any, constraint: str) -> None:
    if bounds is None:
        return
    _check_pair("bounds", bounds)
    if constraint != "real" and bounds[0] < 0:
        rule = f"bounds must be non-negative for constraint={constraint!r}"
        _checks.fail(f"{rule}, got {bounds!r}", "Use a lower bound of at least 0")


def _check_phase_range(phase_range: Any, constraint: str) -> None:
    if phase_range is None:
        return
    _check_pair("phase_range", phase_range)
    if constraint != "complex":
        rule = "phase_range must go with constraint='complex'"
        _checks.fail(f"{rule}, got {constraint!r}", "Leave it out for real objects")
    if phase_range[1] - phase_range[0] > math.pi:
        _checks.fail(f"phase_range must span at most pi, got {phase_range!r}", "Wider ranges are not convex")


def _to_cone(x: Tensor, low: float, high: float) -> Tensor:
    """The nearest complex numbers with a phase between low and high: a convex cone."""
    middle, half = (low + high) / 2, (high - low) / 2
    turned = x * complex(math.cos(middle), -math.sin(middle))
    sign = 1.0 - 2.0 * (turned.imag < 0).to(turned.real.dtype)
    edge = torch.complex(torch.full_like(sign, math.cos(half)), sign * math.sin(half))
    along = (turned * edge.conj()).real.clamp(min=0.0)
    beyond_edge = turned.imag * sign * math.cos(half) - turned.real * math.sin(half)
    inside = (beyond_edge <= 0) & (turned.real >= 0)
    back = complex(math.cos(middle), math.sin(middle))
    return torch.where(inside, x, along * edge * back)


def hio_update(x: Tensor, p: Tensor, known: ObjectConstraint, beta: float | Tensor) -> Tensor:
    r"""One iteration of hybrid input-output: the next iterate.

    .. math:: x_{n+1} = \begin{cases} p & \text{where } p = P_M x_n \text{ agrees with what is known} \\
              x_n - \beta p & \text{elsewhere} \end{cases}

    Args:
        x: Iterate.
        p: Its projection on the data, P_M x.
        known: What is known of the object.
        beta: Feedback.

    Shape:
        - x, p: (*, m1..md)
        - output: (*, m1..md)

    Returns:
        Tensor of the dtype of x.

    Example:
        >>> x, p = torch.tensor([1.0, 2.0]), torch.tensor([-0.5, 3.0])
        >>> hio_update(x, p, ObjectConstraint(constraint="nonnegative", ndim=1), beta=0.5)
        tensor([1.2500, 3.0000])

    Source:
        Fienup (1982), Phase retrieval algorithms: a comparison, doi:10.1364/AO.21.002758, eq. 44.
    """
    _check_update(x, p, known, beta)
    return known.choose(p, p, x - beta * p)


def raar_update(x: Tensor, p: Tensor, known: ObjectConstraint, beta: float | Tensor) -> Tensor:
    r"""One iteration of relaxed averaged alternating reflections: the next iterate.

    .. math:: x_{n+1} = \beta \big(P_S(2 p - x_n) + x_n\big) + (1 - 2 \beta) p, \qquad p = P_M x_n

    Args:
        x: Iterate.
        p: Its projection on the data, P_M x.
        known: What is known of the object.
        beta: Relaxation.

    Shape:
        - x, p: (*, m1..md)
        - output: (*, m1..md)

    Returns:
        Tensor of the dtype of x.

    Example:
        >>> x, p = torch.tensor([1.0, 2.0]), torch.tensor([-0.5, 3.0])
        >>> raar_update(x, p, ObjectConstraint(constraint="nonnegative", ndim=1), beta=0.5)
        tensor([0.5000, 3.0000])

    Source:
        Luke (2005), Relaxed averaged alternating reflections for diffraction imaging,
        doi:10.1088/0266-5611/21/1/004.
    """
    _check_update(x, p, known, beta)
    return beta * (known.project(2 * p - x) + x) + (1 - 2 * beta) * p


def _check_update(x: Tensor, p: Tensor, known: ObjectConstraint, beta: float | Tensor) -> None:
    _checks.floating(x=x, p=p)
    _checks.same_device(x=x, p=p)
    _checks.same_shape(x=x, p=p)
    _checks.instance("known", known, ObjectConstraint, "Say what is known with ObjectConstraint(...)")
    if isinstance(beta, Tensor):
        _checks.real(beta=beta)
    else:
        _checks.number("beta", beta)


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
    _checks.item_axes(ndim, obj=obj, magnitude=magnitude)
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


def project_object(
    obj: Tensor,
    *,
    support: Tensor | None = None,
    support_size: int | None = None,
    constraint: Constraint = "complex",
    bounds: tuple[float, float] | None = None,
    phase_range: tuple[float, float] | None = None,
    ndim: int = 2,
) -> Tensor:
    """The nearest object that agrees with what is known of it.

    Zero outside the support; the real part for "real"; its positive part for "nonnegative"; values clipped to the
    bounds; the nearest point of the cone of allowed phases; with `support_size` the pixels of each item that it costs
    most to drop are kept: the largest by modulus (all that tie with the last one). What lies outside the support does
    not matter, NaN neither.

    Args:
        obj: Object, real or complex floating.
        support: True where the object may be non-zero. Default: everywhere.
        support_size: Number of non-zero pixels, their place unknown.
        constraint: "complex", "real" or "nonnegative".
        bounds: (low, high) of the values inside the support; of the modulus for a complex object.
        phase_range: (low, high) of the phase of a complex object in radians, at most pi apart.
        ndim: Number of axes of one item.

    Shape:
        - obj: (*, n1..nd)
        - support: (*, n1..nd), or what broadcasts to it
        - output: as obj

    Returns:
        Tensor, real unless constraint is "complex" and obj is complex.

    Raises:
        TypeError: if obj is not floating or support not boolean.
        ValueError: if the shapes do not fit or an option is unknown or out of order.

    Example:
        >>> project_object(torch.tensor([[3.0, -1.0], [2.0, 1.0]]), support_size=2, constraint="nonnegative")
        tensor([[3., 0.],
                [2., 0.]])

    Source:
        Fienup (1982), doi:10.1364/AO.21.002758, step 4 (error reduction); Elser, Lan, Bendory (2018),
        doi:10.1137/18M1170364 (support size).
    """
    _checks.floating(obj=obj)
    known = ObjectConstraint(
        support_size=support_size,
        constraint=constraint,
        bounds=bounds,
        phase_range=phase_range,
        ndim=ndim,
        dtype=_fft.promote(obj).real.dtype,
    )
    _checks.item_axes(ndim, obj=obj)
    obj = _fft.promote(obj)
    if support is not None:
        _checks.boolean(support=support)
        _checks.same_device(obj=obj, support=support)
        support = _checks.broadcast("support", support, "obj", obj)
        obj = torch.where(support, obj, 0.0)
    if constraint != "complex" and obj.is_complex():
        obj = obj.real
    if phase_range is not None and not obj.is_complex():
        obj = obj + 0j
    return known.within(support).project(obj)


class ProjectObject(Module):
    """Module of :func:`project_object`, with the same options.

    Args:
        support: True where the object may be non-zero. Default: everywhere.
        support_size: Number of non-zero pixels, their place unknown.
        constraint: "complex", "real" or "nonnegative".
        bounds: (low, high) of the values inside the support; of the modulus for a complex object.
        phase_range: (low, high) of the phase of a complex object in radians, at most pi apart.
        ndim: Number of axes of one item (1, 2 or 3).

    Example:
        >>> ProjectObject(constraint="nonnegative")(torch.tensor([[3.0, -1.0], [2.0, 1.0]]))
        tensor([[3., 0.],
                [2., 1.]])
    """

    support: Tensor | None

    def __init__(
        self,
        *,
        support: Tensor | None = None,
        support_size: int | None = None,
        constraint: Constraint = "complex",
        bounds: tuple[float, float] | None = None,
        phase_range: tuple[float, float] | None = None,
        ndim: int = 2,
    ) -> None:
        options: dict[str, Any] = {
            "support": support,
            "support_size": support_size,
            "constraint": constraint,
            "bounds": bounds,
            "phase_range": phase_range,
            "ndim": ndim,
        }
        ObjectConstraint(**options)  # refuses what is wrong
        super().__init__(**options)

    def forward(self, obj: Tensor) -> Tensor:
        """See :func:`project_object`."""
        return project_object(obj, **self.options)

    __call__ = called_as(forward)
