"""The elements of the group that a Fourier magnitude cannot see: shift, conjugate flip and global phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret._module import Module, RandomModule, called_as

# The sine of a phase that keeps a real object real, up to rounding.
_REAL = 1e-3


def grid(fourier_shape: Sequence[int] | None, object_shape: Sequence[int]) -> tuple[int, ...]:
    """The padded grid: `fourier_shape`, which must hold the object; without one the object's own grid."""
    if fourier_shape is None:
        return tuple(object_shape)
    shape = _checks.shape("fourier_shape", fourier_shape)
    if len(shape) != len(object_shape) or any(m < n for m, n in zip(shape, object_shape, strict=True)):
        fix = f"Use min_fourier_shape({tuple(object_shape)})"
        _checks.fail(f"fourier_shape must be at least the object's {tuple(object_shape)}, got {shape}", fix)
    return shape


def check_group(
    ndim: int, fourier_shape: Sequence[int] | None, phase: bool | None, **flags: bool
) -> tuple[int, tuple[int, ...] | None]:
    """Check the options that say which symmetries are meant, and of what; gives `ndim` and `fourier_shape`."""
    _checks.flag(**flags)
    _checks.switch("phase", phase)
    return _checks.item_axes(ndim), None if fourier_shape is None else _checks.shape("fourier_shape", fourier_shape)


def integer_shifts(shifts: Tensor | Sequence[int]) -> Tensor | tuple[int, ...]:
    """Check the shifts: one to three integers, or an integer tensor (*, d)."""
    if isinstance(shifts, Tensor):
        if shifts.is_floating_point() or shifts.is_complex() or shifts.dtype == torch.bool:
            fix = "Use subpixel_shift for fractions of a pixel"
            _checks.fail(f"shifts must be integers, got {shifts.dtype}", fix, TypeError)
        if shifts.ndim < 1 or not 1 <= shifts.shape[-1] <= 3:
            rule = f"shifts must have the shape (*, d) with d = 1, 2 or 3, got {tuple(shifts.shape)}"
            _checks.fail(rule, "One integer for each axis")
        return shifts.long()
    if isinstance(shifts, str) or not isinstance(shifts, Sequence):
        fix = "Use a tuple such as (1, 0)"
        _checks.fail(f"shifts must be a sequence of integers or a tensor, got {shifts!r}", fix, TypeError)
    if not all(isinstance(s, Integral) and not isinstance(s, bool) for s in shifts):
        fix = "Use subpixel_shift for fractions of a pixel"
        _checks.fail(f"shifts must be integers, got {tuple(shifts)}", fix, TypeError)
    if not 1 <= len(shifts) <= 3:
        _checks.fail(f"shifts must have one to three entries, got {tuple(shifts)}", "One for each axis")
    return tuple(int(s) for s in shifts)


def per_item(name: str, value: Tensor, batch: Sequence[int], rest: int = 0) -> Tensor:
    """Expand a tensor (*, rest axes) to the batch: one value per item, or one for all."""
    leading = value.shape[: value.ndim - rest]
    if len(leading) and tuple(leading) != tuple(batch):
        fix = "Give one for each item, or one for all"
        _checks.fail(f"{name} must have the batch shape {tuple(batch)} or none, got {tuple(leading)}", fix)
    return value.expand((*batch, *value.shape[value.ndim - rest :]))


# Dtypes that torch does not move, and those of as many bits that it does.
_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


def _movable(obj: Tensor) -> Tensor:
    """The object in a dtype that torch moves, without loss."""
    if obj.dtype in _SIGNED:
        return obj.view(_SIGNED[obj.dtype])
    narrow = obj.is_floating_point() and obj.dtype.itemsize == 1
    return obj.float() if narrow else _fft.promote(obj) if obj.is_complex() else obj


def _given_back(obj: Tensor, dtype: torch.dtype) -> Tensor:
    """What came of it in the dtype that was given."""
    return obj.view(dtype) if dtype in _SIGNED else obj.to(dtype)


def _moved(
    obj: Tensor,
    shifts: Tensor,
    flipped: Tensor,
    object_shape: Sequence[int],
    fourier_shape: Sequence[int],
    shape: Sequence[int],
) -> Tensor:
    """The corner of size `shape` of the shifted, if `flipped` first conjugate-flipped, object on the padded grid.

    `shifts` (*, d) and `flipped` (*) have one entry per item. Whole rows are fetched, axis by axis. A flip turns the
    box of `object_shape` around its centre: index k to n - 1 - k.
    """
    d, dtype, obj = len(object_shape), obj.dtype, _movable(obj)
    batch = obj.shape[: obj.ndim - d]
    if obj.is_complex():
        obj = torch.where(flipped.reshape(*batch, *[1] * d), obj.conj(), obj)
    for i in range(d):
        size, sizes = obj.shape[i - d], list(obj.shape)
        sizes[i - d] = shape[i]
        index = torch.arange(shape[i], device=obj.device) - shifts[..., i, None]
        index = torch.where(flipped[..., None], object_shape[i] - 1 - index, index) % fourier_shape[i]
        index = _fft.along(index, i, d)
        obj = obj.gather(i - d, index.clamp(max=size - 1).expand(sizes))
        if size < fourier_shape[i]:
            obj = obj.masked_fill(index >= size, 0)
    return _given_back(obj, dtype)


def shift(obj: Tensor, shifts: Tensor | Sequence[int], *, fourier_shape: Sequence[int] | None = None) -> Tensor:
    """Move the object by whole pixels, circularly; the Fourier magnitude does not change.

    .. math:: (T_s x)_k = x_{(k - s) \\, \\mathrm{mod} \\, m}

    Exact on the padded grid. Without `fourier_shape` the tensor's own grid is rolled, so give a data-shaped
    tensor or one with an empty margin: what leaves an object's box on one side enters it on the other, and this is a
    symmetry of its oversampled magnitude only while nothing does. With `fourier_shape` the object is padded first.

    Args:
        obj: Object, real or complex, of any dtype.
        shifts: Pixels along each of the last d axes, positive towards larger indices: d integers for all items, or an
            integer tensor with one row per item. Their number d says how many axes an item has (1, 2 or 3).
        fourier_shape: Pad to these sizes (m1, ..., md) first. Default: no padding.

    Shape:
        - obj: (*, n1..nd)
        - shifts: (d,) or (*, d)
        - output: (*, n1..nd), or (*, m1..md) with fourier_shape

    Returns:
        Tensor of the dtype of obj.

    Raises:
        TypeError: if shifts are not integers.
        ValueError: if the shapes do not fit.

    Example:
        >>> shift(torch.tensor([1.0, 2.0, 3.0]), (1,))
        tensor([3., 1., 2.])
        >>> shift(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0], [1]]), fourier_shape=(3,))
        tensor([[1., 2., 0.],
                [0., 3., 4.]])
    """
    _checks.tensor(obj=obj)
    shifts = integer_shifts(shifts)
    d = shifts.shape[-1] if isinstance(shifts, Tensor) else len(shifts)
    _checks.rank(d, obj=obj)
    object_shape = obj.shape[-d:]
    shape = grid(fourier_shape, object_shape)
    if not isinstance(shifts, Tensor):
        return _given_back(_fft.pad(_movable(obj), shape).roll(shifts, tuple(range(-d, 0))), obj.dtype)
    _checks.same_device(obj=obj, shifts=shifts)
    batch = obj.shape[:-d]
    shifts = per_item("shifts", shifts, batch, 1)
    flipped = torch.zeros(batch, dtype=torch.bool, device=obj.device)
    return _moved(obj, shifts, flipped, object_shape, shape, shape)


class Shift(Module):
    """Module of :func:`shift`, with the same options.

    Args:
        shifts: Pixels along each of the last d axes, positive towards larger indices: d integers for all items, or an
            integer tensor with one row per item.
        fourier_shape: Pad to these sizes (m1, ..., md) first. Default: no padding.

    Example:
        >>> roll = Shift((1, 2))
        >>> image = torch.rand(8, 8)
        >>> torch.equal(torch.nn.Sequential(roll, roll.inverse())(image), image)
        True
    """

    shifts: Tensor | tuple[int, ...]
    fourier_shape: tuple[int, ...] | None

    def __init__(self, shifts: Tensor | Sequence[int], *, fourier_shape: Sequence[int] | None = None) -> None:
        shifts = integer_shifts(shifts)
        d = shifts.shape[-1] if isinstance(shifts, Tensor) else len(shifts)
        super().__init__(shifts=shifts, fourier_shape=check_group(d, fourier_shape, None)[1])

    def inverse(self) -> Shift:
        """The Module that moves back, on the grid that this one gives."""
        negative = -self.shifts if isinstance(self.shifts, Tensor) else tuple(-s for s in self.shifts)
        return Shift(negative, fourier_shape=self.fourier_shape)

    def forward(self, obj: Tensor) -> Tensor:
        """The moved object."""
        return shift(obj, **self.options)

    __call__ = called_as(forward)


def conj_flip(obj: Tensor, *, ndim: int = 2) -> Tensor:
    r"""Turn the object around the centre of its box and conjugate it: its twin, with the same Fourier magnitude.

    .. math:: (C x)_k = \overline{x_{n - 1 - k}}

    This is the reflection at the origin followed by a shift that puts the object back into its box, so it needs
    no padding and is exact on every grid. For a complex object the flip without the conjugate is not a symmetry.

    Args:
        obj: Object, real or complex, of any dtype.
        ndim: Number of axes of one object (1, 2 or 3).

    Shape:
        - obj: (*, n1..nd)
        - output: (*, n1..nd)

    Returns:
        Tensor of the dtype of obj.

    Raises:
        TypeError: if obj is not a tensor.
        ValueError: if obj has fewer than ndim axes.

    Example:
        >>> conj_flip(torch.tensor([1, 2j]), ndim=1)
        tensor([0.-2.j, 1.-0.j])
    """
    _checks.tensor(obj=obj)
    ndim = _checks.item_axes(ndim, obj=obj)
    flipped = _movable(obj).flip(tuple(range(-ndim, 0)))
    return _given_back(flipped.conj().resolve_conj() if flipped.is_complex() else flipped, obj.dtype)


class ConjFlip(Module):
    """Module of :func:`conj_flip`, with the same options. It is its own inverse.

    Args:
        ndim: Number of axes of one object (1, 2 or 3).
    """

    ndim: int

    def __init__(self, *, ndim: int = 2) -> None:
        super().__init__(ndim=_checks.item_axes(ndim))

    def inverse(self) -> ConjFlip:
        """The Module that undoes this one: the same."""
        return ConjFlip(ndim=self.ndim)

    def forward(self, obj: Tensor) -> Tensor:
        """The twin of the object."""
        return conj_flip(obj, **self.options)

    __call__ = called_as(forward)


def global_phase(obj: Tensor, theta: Tensor | float) -> Tensor:
    r"""Multiply the object by a constant phase factor; the Fourier magnitude does not change.

    .. math:: x \, e^{i \theta}

    The result is complex. The only phases a real object keeps its kind under are 0 and pi, its sign: write ``-obj``.

    Args:
        obj: Object, real or complex floating.
        theta: Phase in radians: a number for all items, or a real tensor with one entry per leading index of obj.

    Shape:
        - obj: (*, n1..nd)
        - theta: () or (*)
        - output: (*, n1..nd)

    Returns:
        Complex tensor; half precision is promoted to single.

    Raises:
        TypeError: if obj is not floating or theta is not real.
        ValueError: if the shape of theta is not that of obj's leading axes.

    Example:
        >>> global_phase(torch.ones(2, 1, 1), torch.tensor([0.0, torch.pi / 2])).real.round().flatten()
        tensor([1., -0.])
    """
    _checks.floating(obj=obj)
    obj = _fft.promote(obj)
    if isinstance(theta, Tensor):
        _checks.real(theta=theta)
        _checks.same_device(obj=obj, theta=theta)
        theta = _fft.promote(theta)
        if theta.ndim > obj.ndim or theta.shape != obj.shape[: theta.ndim]:
            rule = f"theta must have the shape of leading axes of obj {tuple(obj.shape)}"
            _checks.fail(f"{rule}, got {tuple(theta.shape)}", "Give one for each item, or one for all")
        return _turned(obj, theta)
    theta = _checks.number("theta", theta)
    return obj * complex(math.cos(theta), math.sin(theta))


def _turned(obj: Tensor, theta: Tensor) -> Tensor:
    """The object times exp(i theta), with one angle for each of its leading indices."""
    factor = torch.polar(torch.ones_like(theta), theta).to(_fft.to_complex(obj.dtype))
    return obj * factor.reshape([*theta.shape, *[1] * (obj.ndim - theta.ndim)])


class GlobalPhase(Module):
    """Module of :func:`global_phase`, with the same options.

    Args:
        theta: Phase in radians: a number for all items, or a real tensor with one for each.
    """

    theta: Tensor | float

    def __init__(self, theta: Tensor | float) -> None:
        if isinstance(theta, Tensor):
            _checks.real(theta=theta)
        else:
            theta = _checks.number("theta", theta)
        super().__init__(theta=theta)

    def inverse(self) -> GlobalPhase:
        """The Module with the opposite phase."""
        return GlobalPhase(-self.theta)

    def forward(self, obj: Tensor) -> Tensor:
        """The object times the phase factor."""
        return global_phase(obj, **self.options)

    __call__ = called_as(forward)


@dataclass(frozen=True, eq=False)
class Symmetry:
    r"""An element of the group, one per item: flip, then shift, then global phase on the padded grid.

    .. math:: g\,x = e^{i \theta} \, T_s \, C^f x

    Called with an object-shaped or data-shaped tensor it gives the transformed data-shaped one. ``g.inverse()(g(x))``
    is the padded x, and ``(g @ h)(x)`` is ``g(h(x))``, both exact but for the rounding of the phase factor.

    Attributes:
        shifts: (*, d) integers, pixels modulo the padded grid.
        flipped: (*) boolean, whether the object is conjugate-flipped (around the centre of its box) first.
        phase: (*) real, radians; for a real object 0 or pi, which keep it real. A boolean one, a support, only moves.
        object_shape: Sizes (n1, ..., nd) of the box.
        fourier_shape: Sizes (m1, ..., md) of the padded grid.

    Example:
        >>> g = Symmetry(torch.tensor([1]), torch.tensor(True), torch.tensor(0.0), (2,), (4,))
        >>> x = torch.tensor([1.0, 2.0])
        >>> g(x), g.inverse()(g(x)), (g @ g)(x)
        (tensor([0., 2., 1., 0.]), tensor([1., 2., 0., 0.]), tensor([1., 2., 0., 0.]))
    """

    shifts: Tensor
    flipped: Tensor
    phase: Tensor
    object_shape: tuple[int, ...]
    fourier_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check the shapes."""
        _checks.boolean(flipped=self.flipped)
        _checks.real(phase=self.phase)
        object.__setattr__(self, "phase", _fft.promote(self.phase))
        _checks.tensor(shifts=self.shifts)
        object.__setattr__(self, "shifts", integer_shifts(self.shifts))
        _checks.same_device(shifts=self.shifts, flipped=self.flipped, phase=self.phase)
        object.__setattr__(self, "object_shape", _checks.shape("object_shape", self.object_shape))
        fourier_shape = _checks.shape("fourier_shape", self.fourier_shape)
        object.__setattr__(self, "fourier_shape", grid(fourier_shape, self.object_shape))
        expected = (*self.flipped.shape, len(self.object_shape))
        if tuple(self.shifts.shape) != expected:
            rule = f"shifts must have the shape (*, d) = {expected}, got {tuple(self.shifts.shape)}"
            _checks.fail(rule, "One row of d shifts for each item of flipped")
        _checks.same_shape(flipped=self.flipped, phase=self.phase)

    def __call__(self, obj: Tensor) -> Tensor:
        """The transformed object: (*, n1..nd) or (*, m1..md) -> (*, m1..md)."""
        d = len(self.object_shape)
        _checks.tensor(obj=obj)
        if obj.dtype != torch.bool:  # the phase of a whole number, which may have no sign, has no answer
            _checks.floating(obj=obj)
        _checks.same_device(obj=obj, shifts=self.shifts)
        if obj.is_floating_point():
            self._keeps_real()
        if tuple(obj.shape[-d:]) not in (self.object_shape, self.fourier_shape):
            rule = f"obj must have the shape (*, {self.object_shape}) or (*, {self.fourier_shape})"
            _checks.fail(f"{rule}, got {tuple(obj.shape)}", "An element acts on the shapes it was made for")
        return self.cropped(obj, self.fourier_shape)

    def _keeps_real(self) -> None:
        """Raise where a phase turns a real object; while torch compiles or maps there are no values to look at."""
        if torch.compiler.is_compiling():
            return
        turned = self.phase.sin().abs()
        try:
            most = turned.max().item()
        except RuntimeError:
            return
        if most >= _REAL:
            phase = self.phase[turned >= _REAL][0].item()
            rule = f"obj must be complex, or the phase 0 or pi, got a real obj and the phase {phase:.4g}"
            _checks.fail(rule, "Use obj + 0j", TypeError)

    def cropped(self, obj: Tensor, shape: Sequence[int]) -> Tensor:
        """The corner of size `shape` of the transformed object; NaN where a phase would turn a real one."""
        d = len(self.object_shape)
        batch = obj.shape[:-d]
        shifts = per_item("shifts", self.shifts, batch, 1)
        flipped = per_item("flipped", self.flipped, batch)
        phase = per_item("phase", self.phase, batch)
        found = _moved(obj, shifts, flipped, self.object_shape, self.fourier_shape, shape)
        if obj.dtype == torch.bool:
            return found
        if obj.is_complex():
            return _turned(_fft.promote(found), phase)
        # Looking whether a phase turns a real object would make a GPU wait.
        sign = phase.cos().round().where(phase.sin().abs() < _REAL, torch.nan)
        return found * sign.to(found.dtype).reshape(*batch, *[1] * d)

    def inverse(self) -> Symmetry:
        """The element that undoes this one."""
        sign = torch.where(self.flipped, 1, -1)
        shifts = wrap(sign[..., None] * self.shifts, self.fourier_shape)
        return replace(self, shifts=shifts, phase=sign * self.phase)

    def __matmul__(self, first: Symmetry) -> Symmetry:
        """The element that acts as `first`, then as this one."""
        if (self.object_shape, self.fourier_shape) != (first.object_shape, first.fourier_shape):
            _checks.fail(
                "both elements must have equal object_shape and fourier_shape, got "
                f"{self.object_shape}, {self.fourier_shape} and {first.object_shape}, {first.fourier_shape}",
                "Make both on one padded grid",
            )
        sign = torch.where(self.flipped, -1, 1)
        shifts = wrap(self.shifts + sign[..., None] * first.shifts, self.fourier_shape)
        phase = self.phase + sign * first.phase
        return replace(self, shifts=shifts, flipped=self.flipped ^ first.flipped, phase=phase)


def wrap(shifts: Tensor, shape: Sequence[int]) -> Tensor:
    """The representative of the shifts modulo the sizes that is smallest in absolute value: in [-(m-1)//2, m//2]."""
    axes = zip(shifts.unbind(-1), shape, strict=True)
    return torch.stack([(s + (m - 1) // 2) % m - (m - 1) // 2 for s, m in axes], dim=-1)


def margins(obj: Tensor, d: int, flipped: Tensor) -> tuple[Tensor, Tensor]:
    """How many rows of zeros lie before and after each item's content along each axis, (*, d), once it is flipped."""
    content, pairs = obj != 0, []
    for i in range(-d, 0):
        line = _fft.profile(content, i, d)
        before, after = line.int().argmax(-1), line.flip(-1).int().argmax(-1)
        pairs.append((torch.where(flipped, after, before), torch.where(flipped, before, after)))
    return torch.stack([p[0] for p in pairs], dim=-1), torch.stack([p[1] for p in pairs], dim=-1)


class RandomSymmetry(RandomModule):
    """A random element of the group for each item: a transform for training data.

    Without `fourier_shape` the shifts are drawn from those that keep every non-zero pixel inside the object's box,
    so each draw is an exact symmetry of the oversampled magnitude; an object that fills its box does not move. With
    `fourier_shape` the object is padded and may go anywhere on the padded grid, circularly.

    Args:
        shift: True draws from all allowed shifts, an integer (or one per axis) from those of at most that many pixels,
            False does not shift.
        flip: Conjugate-flip half of the items.
        phase: Draw a global phase from [0, 2 pi), of a real object a sign. Default: only for complex objects.
        ndim: Number of axes of one object (1, 2 or 3).
        fourier_shape: Pad to these sizes first. Default: no padding.
        generator: Source of the random numbers. Default: torch's. In the workers of a DataLoader each has a stream of
            its own, from this seed and that of the loader.

    Shape:
        - obj: (*, n1..nd)
        - output: (*, n1..nd), or (*, m1..md) with fourier_shape

    Raises:
        TypeError: if obj is not floating, or an option is of the wrong kind.
        ValueError: if the shapes do not fit.

    Example:
        >>> digit = torch.zeros(28, 28)
        >>> digit[4:24, 8:20] = torch.rand(20, 12)
        >>> moved = RandomSymmetry()(digit)
        >>> digit.sum().allclose(moved.sum()), moved.shape
        (True, torch.Size([28, 28]))
    """

    shift: bool | tuple[int, ...]
    flip: bool
    phase: bool | None
    ndim: int
    fourier_shape: tuple[int, ...] | None

    def __init__(
        self,
        shift: bool | int | Sequence[int] = True,
        flip: bool = True,
        phase: bool | None = None,
        *,
        ndim: int = 2,
        fourier_shape: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        ndim, fourier_shape = check_group(ndim, fourier_shape, phase, flip=flip)
        _checks.generator(generator)
        super().__init__(
            shift=_largest_shifts(shift, ndim),
            flip=flip,
            phase=phase,
            ndim=ndim,
            fourier_shape=fourier_shape,
            generator=generator,
        )

    def draw(self, obj: Tensor) -> Symmetry:
        """Draw one element per item of `obj`."""
        d = self.ndim
        _checks.floating(obj=obj)
        _checks.rank(d, obj=obj)
        object_shape, batch = obj.shape[-d:], obj.shape[:-d]
        shape = grid(self.fourier_shape, object_shape)
        source = obj.device if self.generator is None else self.generator.device
        # One uniform number for each axis, the flip and the phase of each item; the same draws for all options.
        dtype = _fft.promote(obj).real.dtype
        uniform = torch.rand(*batch, d + 2, dtype=dtype, device=source, generator=self.generator).to(obj.device)
        flipped = (uniform[..., d] < 0.5) & self.flip
        phase = torch.zeros(batch, dtype=dtype, device=obj.device)
        if self.phase or (self.phase is None and obj.is_complex()):
            turn = uniform[..., d + 1]
            phase = torch.pi * (2 * turn if obj.is_complex() else (turn < 0.5).to(dtype))
        low, high = self._allowed(obj, flipped, shape)
        shifts = (low + (uniform[..., :d] * (high - low + 1)).long()).minimum(high)
        return Symmetry(shifts, flipped, phase, tuple(object_shape), shape)

    def _allowed(self, obj: Tensor, flipped: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Least and largest allowed shift of each item along each axis."""
        if self.fourier_shape is None:
            before, high = margins(obj, self.ndim, flipped)
            low = -before
        else:
            high = torch.tensor([m // 2 for m in shape]).to(obj.device).expand(*flipped.shape, -1)
            low = torch.tensor([-((m - 1) // 2) for m in shape]).to(obj.device).expand(*flipped.shape, -1)
        if self.shift is True:
            return low, high
        most = torch.tensor(self.shift if self.shift else [0] * self.ndim).to(obj.device)
        return low.maximum(-most), high.minimum(most)

    def forward(self, obj: Tensor) -> Tensor:
        """The randomly transformed objects."""
        element = self.draw(obj)
        return element.cropped(obj, element.fourier_shape)

    __call__ = called_as(forward)


def _largest_shifts(shift: bool | int | Sequence[int], ndim: int) -> bool | tuple[int, ...]:
    """Check the shifts that may be drawn: all, none, or the largest ones along each axis."""
    if isinstance(shift, bool):
        return shift
    rule = f"shift must be a bool, an integer or {ndim} integers, got {shift!r}"
    fix = "Use True for all shifts, or the largest one in pixels"
    if not isinstance(shift, Integral | Sequence) or isinstance(shift, str):
        _checks.fail(rule, fix, TypeError)
    most = (shift,) * ndim if isinstance(shift, Integral) else tuple(shift)
    if len(most) != ndim:
        _checks.fail(rule, fix)
    return tuple(_checks.integer("shift", s, at_least=0) for s in most)
