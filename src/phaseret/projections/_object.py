"""What is known of the object as a constraint, the projection on it, and the update lines that use it."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret._module import Module, called_as

Constraint = Literal["complex", "real", "nonnegative"]
Bounds = tuple[float | Tensor, float | Tensor]
CONSTRAINTS = get_args(Constraint)


class ObjectConstraint:
    """What is known of the object: support, size of the support, realness, non-negativity, bounds, phase range.

    Args:
        support: True where the object may be non-zero; None for everywhere. It broadcasts against the object.
        support_size: Number of non-zero pixels: those of each item that matter most are kept.
        constraint: "complex", "real" or "nonnegative".
        bounds: (low, high) for the values inside the support; for a complex object, for its modulus. Numbers, or
            tensors for each pixel.
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
        bounds: Bounds | None = None,
        phase_range: tuple[float, float] | None = None,
        ndim: int = 2,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        _checks.choice("constraint", constraint, CONSTRAINTS)
        if support_size is not None:
            _checks.integer("support_size", support_size)
        bounds = _checked_bounds(bounds, constraint, dtype)
        _look_at_bounds(bounds, constraint)
        _check_phase_range(phase_range, constraint)
        ndim = _checks.item_axes(ndim)
        if support is not None:
            _checks.boolean(support=support)
        self.support_size, self.constraint = support_size, constraint
        self.bounds, self.phase_range, self.ndim, self.dtype = bounds, phase_range, ndim, dtype
        self.support = None if support is None else support.to(dtype)
        self.flat: Tensor | None = None

    def at_level(self, level: Tensor, bound: float | None, flat: bool) -> ObjectConstraint:
        """The same of an object whose modulus has a level: at most `bound` times it; or, `flat`, it above its half."""
        part = copy.copy(self)
        if bound is not None:
            high = bound * level
            part.bounds = (-high if self.constraint == "real" else torch.zeros_like(high), high)
        part.flat = level if flat else None
        return part

    def within(self, support: Tensor | None, place: Callable[[Tensor], Tensor] | None = None) -> ObjectConstraint:
        """The same with another support; `place` puts bounds that are tensors where its pixels lie."""
        part = copy.copy(self)
        part.support = None if support is None else support.to(self.dtype)
        if place is not None and self.bounds is not None and isinstance(self.bounds[0], Tensor):
            part.bounds = cast("Bounds", tuple(map(place, cast("tuple[Tensor, Tensor]", self.bounds))))
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
                x = torch.where((modulus >= low) & (modulus <= high), x, unit * modulus.clamp(low, high))  # type: ignore[arg-type]  # both numbers or both tensors
            else:
                x = x.clamp(low, high)  # type: ignore[arg-type]
        if self.flat is not None:
            modulus = _fft.root(_fft.power(x))
            x = torch.where(modulus > self.flat / 2, x * (self.flat / _fft.divisor(modulus)), x)
        return x

    def _kept(self, x: Tensor, values: Tensor) -> Tensor:
        """1 at the `support_size` pixels of each item that it costs most to drop, 0 elsewhere.

        Both arguments are 0 outside the support; `values` are the nearest ones that agree, pixel by pixel.
        """
        x, values = x.detach(), values.detach()
        if (
            self.bounds is not None or self.flat is not None
        ):  # |x|^2 - |x - value|^2: clipped values are alike, what they stand for is not
            cost = (values.conj() * (2 * x - values)).real if values.is_complex() else values * (2 * x - values)
        else:
            cost = values if self.constraint == "nonnegative" else _fft.power(values)
        flat = cost.flatten(-self.ndim)
        size = min(cast(int, self.support_size), flat.shape[-1])
        least = flat.topk(size, sorted=True).values[..., -1:]
        return _first_of(flat, size, least).reshape(cost.shape).to(cost.dtype)

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
        limited = any(part is not None for part in (self.bounds, self.phase_range, self.flat))
        if self.constraint == "nonnegative" or limited:
            if not limited:
                # the comparison written as numbers, and blending instead of `where`, are many times faster
                agrees = torch.empty(x.shape, dtype=x.dtype, device=x.device)
                try:
                    torch.ge(x.detach(), 0.0, out=agrees)
                except RuntimeError:  # vmap knows no such output
                    agrees = (x.detach() >= 0).to(x.dtype)
            else:
                agrees = (self._values(x) == x).to(x.real.dtype)
            weight = agrees if weight is None else agrees.mul_(weight)
        if weight is None:
            return inside
        if inside.is_complex():
            return outside + (inside - outside) * weight
        return torch.lerp(outside, inside, weight)


def _check_order(name: str, pair: Sequence[Any]) -> None:
    """Both of a pair are numbers, in order."""
    low, high = (_checks.number(f"{name}[{i}]", value) for i, value in enumerate(pair))
    if low > high:
        _checks.fail(f"{name} must be in order, got {pair!r}", f"Use ({high}, {low})")


def _checked_bounds(bounds: Any, constraint: str, dtype: torch.dtype) -> Bounds | None:
    """The bounds, in order and of a sign that the constraint allows: two numbers, or two tensors of the dtype.

    Values of tensors are not looked at: the lower bound is NaN where they are not such.
    """
    if bounds is None:
        return None
    fix = "Use (0, 1), for example"
    if isinstance(bounds, str) or not (isinstance(bounds, Sequence) or (hasattr(bounds, "shape") and bounds.shape)):
        _checks.fail(f"bounds must be a pair (low, high) of numbers or tensors, got {bounds!r}", fix, TypeError)
    bounds = tuple(bounds)
    if len(bounds) != 2:
        _checks.fail(f"bounds must be a pair (low, high), got {len(bounds)}", fix, TypeError)
    arrays = {f"bounds[{i}]": value for i, value in enumerate(bounds) if getattr(value, "shape", ())}
    _checks.tensor(**arrays)
    tensors = {f"bounds[{i}]": value for i, value in enumerate(bounds) if isinstance(value, Tensor)}
    if not tensors:
        _check_order("bounds", bounds)
        if constraint != "real" and bounds[0] < 0:
            rule = f"bounds must be non-negative for constraint={constraint!r}"
            _checks.fail(f"{rule}, got {bounds}", "Use a lower bound of at least 0")
        return cast("Bounds", bounds)
    _checks.real(**tensors)
    _checks.same_device(**tensors)
    device = next(iter(tensors.values())).device
    pair = [torch.as_tensor(value, dtype=dtype, device=device) for value in bounds]
    try:
        low, high = torch.broadcast_tensors(*pair)
    except RuntimeError:
        shapes = " and ".join(str(tuple(value.shape)) for value in pair)
        _checks.fail(f"bounds must broadcast to one shape, got {shapes}", "Give both that of the object")
    right = low <= high if constraint == "real" else (low >= 0) & (low <= high)
    return low.where(right, torch.nan), high


def _look_at_bounds(bounds: Bounds | None, constraint: str) -> None:
    """Bounds that are tensors are right at every pixel."""
    low = None if bounds is None else bounds[0]
    if isinstance(low, Tensor) and not low.is_meta and bool(low.isnan().any()):
        sign = "" if constraint == "real" else f", and non-negative for constraint={constraint!r}"
        rule = f"bounds must be numbers in order at every pixel{sign}"
        _checks.fail(f"{rule}, got some that are not", "Use (low, high) with low <= high")


def _check_phase_range(phase_range: Any, constraint: str) -> None:
    if phase_range is None:
        return
    if not isinstance(phase_range, Sequence) or isinstance(phase_range, str) or len(phase_range) != 2:
        _checks.fail(
            f"phase_range must be a pair (low, high), got {phase_range!r}", "Use (0, 1), for example", TypeError
        )
    _check_order("phase_range", phase_range)
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


def keep_largest(x: Tensor, size: Tensor, ndim: int) -> Tensor:
    """The `size` (*) largest pixels of each item (*, n1..nd) by modulus, of equal ones the first; 0 elsewhere."""
    modulus = _fft.power(x) if x.is_complex() else x.abs()
    flat = modulus.flatten(-ndim)
    size = size.round().long().clamp(1, flat.shape[-1])
    last = size - 1
    if x.device.type == "cpu":  # where sorting costs most of an iteration, and numbers are at hand
        rows = zip(flat.flatten(0, -2), last.flatten().tolist(), strict=True)
        least = torch.stack([row.kthvalue(len(row) - n).values for row, n in rows]).reshape(*last.shape, 1)
    else:
        least = flat.sort(-1, descending=True).values.gather(-1, last[..., None])
    return torch.where(_first_of(flat, size[..., None], least).reshape(x.shape), x, 0.0)


def _first_of(values: Tensor, size: int | Tensor, least: Tensor) -> Tensor:
    """True at the `size` largest of the values along the last axis, the last of which is `least`; of equal ones at the
    first."""
    above, equal = values > least, values == least
    room = size - above.sum(-1, keepdim=True)
    return above | (equal & (equal.cumsum(-1, dtype=torch.int32) <= room))


def hio_update(x: Tensor, p: Tensor, known: ObjectConstraint, beta: float | Tensor) -> Tensor:
    """The next iterate of hybrid input-output (:class:`phaseret.solvers.HIO`), with p = P_M x."""
    return known.choose(p, p, x - beta * p)


def raar_update(x: Tensor, p: Tensor, known: ObjectConstraint, beta: float | Tensor) -> Tensor:
    """The next iterate of relaxed averaged alternating reflections (:class:`phaseret.solvers.RAAR`), with p = P_M x."""
    return beta * (known.project(2 * p - x) + x) + (1 - 2 * beta) * p


def project_object(
    obj: Tensor,
    *,
    support: Tensor | None = None,
    support_size: int | None = None,
    constraint: Constraint = "complex",
    bounds: Bounds | None = None,
    phase_range: tuple[float, float] | None = None,
    known: Tensor | None = None,
    ndim: int = 2,
) -> Tensor:
    """The nearest object that agrees with what is known of it.

    Zero outside the support; the real part for "real"; its positive part for "nonnegative"; values clipped to the
    bounds (NaN where those are tensors that are not in order, which no call looks at); the nearest point of the cone of
    allowed phases; with `support_size` the pixels of each item that it costs
    most to drop are kept: the largest by modulus, of equal ones the first, never more. What lies outside the support
    does not matter, NaN neither. Where the object is known it has the known values, whatever else is said.

    Args:
        obj: Object, real or complex floating.
        support: True where the object may be non-zero. Default: everywhere.
        support_size: Number of non-zero pixels, their place unknown.
        constraint: "complex", "real" or "nonnegative".
        bounds: (low, high) of the values inside the support; of the modulus for a complex object. Numbers, or tensors
            for each pixel: (a, a) is a known modulus.
        phase_range: (low, high) of the phase of a complex object in radians, at most pi apart.
        known: The object where it is known, NaN elsewhere. `support_size` does not count its pixels.
        ndim: Number of axes of one item.

    Shape:
        - obj: (*, n1..nd)
        - support, known: (*, n1..nd), or what broadcasts to it
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
        >>> project_object(torch.tensor([3.0, -1.0]), known=torch.tensor([torch.nan, 5.0]), ndim=1)
        tensor([3., 5.])

    Source:
        Fienup (1982), doi:10.1364/AO.21.002758, step 4 (error reduction); Elser, Lan, Bendory (2018),
        doi:10.1137/18M1170364 (support size).
    """
    _checks.floating(obj=obj)
    rule = ObjectConstraint(
        support_size=support_size,
        constraint=constraint,
        phase_range=phase_range,
        ndim=ndim,
        dtype=_fft.promote(obj).real.dtype,
    )
    rule.bounds = _checked_bounds(bounds, constraint, rule.dtype)
    ndim = _checks.item_axes(ndim, obj=obj)
    obj = _fft.promote(obj)
    if known is not None:
        obj = torch.where(_given(known, obj, constraint).isnan(), obj, 0.0)
    if support is not None:
        _checks.boolean(support=support)
        _checks.same_device(obj=obj, support=support)
        support = _checks.broadcast("support", support, "obj", obj)
        obj = torch.where(support, obj, 0.0)
    if constraint != "complex" and obj.is_complex():
        obj = obj.real
    if phase_range is not None and not obj.is_complex():
        obj = obj + 0j
    for value in rule.bounds or ():
        if isinstance(value, Tensor):
            _checks.same_device(obj=obj, bounds=value)
            _checks.broadcast("bounds", value, "obj", obj)
    found = rule.within(support).project(obj)
    return found if known is None else torch.where(known.isnan(), found, known.to(found.dtype))


def _given(known: Tensor, obj: Tensor, constraint: str) -> Tensor:
    """The known part, checked: of the constraint's kind, and for one object or each."""
    _checks.floating(known=known)
    _checks.same_device(obj=obj, known=known)
    if known.is_complex() and (constraint != "complex" or not obj.is_complex()):
        rule = f"known must be real for constraint={constraint!r} and a {obj.dtype} obj"
        _checks.fail(f"{rule}, got {known.dtype}", "Pass known.real, or a complex obj", TypeError)
    return _checks.broadcast("known", known, "obj", obj)


class ProjectObject(Module):
    """Module of :func:`project_object`, with the same options.

    Args:
        support: True where the object may be non-zero. Default: everywhere.
        support_size: Number of non-zero pixels, their place unknown.
        constraint: "complex", "real" or "nonnegative".
        bounds: (low, high) of the values inside the support; of the modulus for a complex object. Numbers, or tensors
            for each pixel: (a, a) is a known modulus.
        phase_range: (low, high) of the phase of a complex object in radians, at most pi apart.
        known: The object where it is known, NaN elsewhere. `support_size` does not count its pixels.
        ndim: Number of axes of one item (1, 2 or 3).

    Example:
        >>> ProjectObject(constraint="nonnegative")(torch.tensor([[3.0, -1.0], [2.0, 1.0]]))
        tensor([[3., 0.],
                [2., 1.]])
    """

    support: Tensor | None
    known: Tensor | None

    def __init__(
        self,
        *,
        support: Tensor | None = None,
        support_size: int | None = None,
        constraint: Constraint = "complex",
        bounds: Bounds | None = None,
        phase_range: tuple[float, float] | None = None,
        known: Tensor | None = None,
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
        if known is not None:
            _checks.floating(known=known)
        options["known"] = known
        if own := [value.dtype for value in bounds or () if isinstance(value, Tensor)]:
            pair = _checked_bounds(bounds, constraint, functools.reduce(torch.promote_types, own, torch.float32))
            options["bounds"] = torch.stack(cast("tuple[Tensor, Tensor]", pair))
        super().__init__(**options)

    def forward(self, obj: Tensor) -> Tensor:
        """See :func:`project_object`."""
        return project_object(obj, **self.options)

    __call__ = called_as(forward)
