"""What a solver is asked: the measured magnitudes and what is known of the object, checked and laid out once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators import validate
from phaseret.operators._data import check_lit
from phaseret.operators._origin import gathers_away, where_it_gathers
from phaseret.projections import MagnitudeConstraint, ObjectConstraint
from phaseret.projections._spread import Kernel, PointSpread, check_kernel, check_shares, shares
from phaseret.solvers._coherence import Coherence
from phaseret.solvers._known import split
from phaseret.solvers._options import Options, asks_for_gradient
from phaseret.solvers._sharp import measured, widest


@dataclass
class Problem:
    """A prepared problem; patterns and starts are the two leading axes of all tensors."""

    batch: tuple[int, ...]  # shape of the intensity's batch as given; its items are the patterns
    shape: tuple[int, ...]  # data grid (m1..md)
    object_shape: tuple[int, ...]  # of the reconstructed object: that of the support as given
    box: tuple[slice, ...]  # the support's bounding box on the grid; the whole grid without a support
    magnitude: MagnitudeConstraint  # what was measured, for (patterns, 1, *grid)
    support: Tensor | None  # (patterns or 1, 1, *box), boolean; None if all of the box is allowed
    pixels: int  # in the largest support of a pattern
    known: ObjectConstraint  # what else is known of the object
    reference: Tensor | None  # the part that is known, (patterns or 1, 1, *object_shape); then all else is the rest
    real: bool  # whether the object is real
    dtype: torch.dtype  # real dtype of the computation
    device: torch.device
    requires_grad: bool  # whether the intensity or an option asks for a gradient
    counts: Tensor  # (patterns), boolean: whether the intensities are whole numbers, as counts are
    intensity: Tensor  # (patterns, 1, *grid) without its background, 0 where it was not measured
    mask: Tensor | None  # (patterns or 1, 1, *grid), where it was measured; None: everywhere

    @property
    def ndim(self) -> int:
        """Number of axes of one item."""
        return len(self.shape)

    @property
    def patterns(self) -> int:
        """Number of patterns."""
        return math.prod(self.batch)

    @property
    def box_shape(self) -> tuple[int, ...]:
        """Sizes of the support's box."""
        return tuple(s.stop - s.start for s in self.box)

    @property
    def everywhere(self) -> Tensor:
        """The support that is all of the box, (1, 1, *box)."""
        return torch.ones((1, 1, *self.box_shape), dtype=torch.bool, device=self.device)

    @property
    def whole(self) -> bool:
        """Whether the box is the whole grid."""
        return self.box_shape == self.shape

    @property
    def symmetries(self) -> dict[str, bool]:
        """What the data leave open: nothing beside a known part; the sign of a real object as the phase of others."""
        free = self.reference is None
        return {"shift": free, "flip": free, "phase": free and self.known.constraint != "nonnegative"}

    def over_object(self, value: Tensor) -> Tensor:
        """One number per item, to multiply objects with."""
        return value[(...,) + (None,) * self.ndim]

    def crop(self, x: Tensor) -> Tensor:
        """The box of arrays on the grid: a view."""
        index: tuple[Any, ...] = (..., *self.box)
        return x[index]

    def embed(self, x: Tensor, shape: Sequence[int] | None = None) -> Tensor:
        """Arrays on the box put into zeros on the grid (or on another shape that holds the box)."""
        shape = self.shape if shape is None else tuple(shape)
        widths = [w for s, n in zip(self.box[::-1], shape[::-1], strict=True) for w in (s.start, n - s.stop)]
        return torch.nn.functional.pad(x, widths)

    def constraint(self, support: Tensor | None, whole: bool) -> ObjectConstraint:
        """What is known of the object with this support (on the box), for arrays on the box or the whole grid."""
        if whole and not self.whole:
            return self.known.within(self.embed(self.everywhere if support is None else support), self.embed)
        return self.known.within(support)


def prepare(intensity: Tensor, asked: Options, restricted: bool = True) -> Problem:
    """Check what is asked and lay it out; looks at values, once. Something must restrict the object if so said."""
    mask, ndim = asked["mask"], asked["ndim"]
    validate(intensity, mask=mask, ndim=ndim)
    _checks.choice("norm", asked["norm"], _fft.NORMS)
    intensity = _fft.promote(intensity)
    shape, batch = tuple(intensity.shape[-ndim:]), tuple(intensity.shape[:-ndim])
    known = ObjectConstraint(
        support_size=asked["support_size"],
        constraint=asked["constraint"],
        bounds=asked["bounds"],
        phase_range=asked["phase_range"],
        ndim=ndim,
        dtype=intensity.dtype,
    )
    axes = _fft.centered_axes(ndim, onesided=False, centered=asked["centered"])
    values = _fft.uncenter(intensity.reshape(-1, 1, *shape), axes)
    if asked["background"] is not None:
        background = _checks.background(asked["background"], intensity)
        # Where noise leaves less than the background, the object's own intensity is taken as 0.
        values = values - _fft.uncenter(_per_pattern(background, batch, shape), axes)
    if mask is not None:
        mask = _fft.uncenter(_per_pattern(mask, batch, shape), axes)
        values = torch.where(mask, values, 0.0)
    if asked["background"] is not None:
        check_lit(values, None, ndim)
    _check_range(values, ndim)
    if away := gathers_away(values.detach(), mask, ndim):
        _ask_about_origin(asked["centered"], away)
    support, reference = _restricted(asked, known, intensity, restricted)
    object_shape, box, support, pixels = _place_support(
        support, intensity, ndim, asked["undersampled"], corner=reference is not None
    )
    known = known.within(None, lambda bound: _on_box(bound, intensity, object_shape, box))
    real = known.constraint != "complex"
    counts = _are_counts(values) & (asked["background"] is None)
    magnitude = MagnitudeConstraint(
        _fft.root(values), mask=mask, real=real, norm=asked["norm"], ndim=ndim, reference=reference
    )
    magnitude.spread = _spread(asked, intensity, values, mask, counts)
    return Problem(
        batch=batch,
        shape=shape,
        object_shape=object_shape,
        box=box,
        magnitude=magnitude,
        support=support,
        pixels=pixels,
        known=known,
        reference=reference,
        real=real,
        dtype=intensity.dtype,
        device=intensity.device,
        requires_grad=asks_for_gradient(intensity, asked),
        counts=counts,
        intensity=values.detach(),
        mask=mask,
    )


def _check_range(values: Tensor, ndim: int) -> None:
    """The squares of what is computed, sums over spectra without their norm, are numbers of the dtype."""
    limits = torch.finfo(values.dtype)
    tops = values.detach().amax(tuple(range(-ndim, 0)))
    least, most = torch.stack([tops.min(), tops.max()]).tolist()
    low, high = 1e9 * limits.tiny, 1e-4 * limits.max
    if least < low or most > high:
        rule = f"the largest intensity of an item must lie between {low:.1g} and {high:.1g} in {values.dtype}"
        wide = "" if values.dtype == torch.float64 else ", or intensity.double()"
        _checks.fail(f"{rule}, got {least if least < low else most:.2g}", f"Use other units{wide}")


def _ask_about_origin(centered: bool, away: tuple[bool, ...]) -> None:
    """Warn that the zero frequency seems to lie elsewhere, half a frame away along some axes."""
    dims = tuple(axis - len(away) for axis, half in enumerate(away) if half)
    shifted = f"torch.fft.{'' if centered else 'i'}fftshift(intensity, dim={dims})"
    taken, other = ("middle", "corner") if centered else ("corner", "middle")
    if not all(away):
        _checks.warn(where_it_gathers(f"{other} along the axes {dims}", taken), f"If it is not, use {shifted}")
    elif centered:
        _checks.warn(where_it_gathers(other, taken), "If it is not, leave centered out")
    else:
        _checks.warn(where_it_gathers(other, taken), f"If it is not, use centered=True, or {shifted}")


def _are_counts(values: Tensor) -> Tensor:
    """Whether the intensities (patterns, ...) are whole numbers, some of them so small that fractions would show."""
    small = (values > 0) & (values < 0.01 / torch.finfo(values.dtype).eps)
    return (values == values.round()).flatten(1).all(1) & small.flatten(1).any(1)


def _check_batch(name: str, value: Tensor, batch: tuple[int, ...], ndim: int) -> None:
    """There is one item for all patterns, or one for each."""
    own = tuple(value.shape[:-ndim])
    if len(own) > len(batch) or any(n not in (1, m) for n, m in zip(own[::-1], batch[::-1], strict=False)):
        fix = f"Give one for all patterns, {tuple(value.shape[-ndim:])}, or one each"
        _checks.fail(f"{name} must broadcast to the batch shape {batch} of the intensity, got {own}", fix)


def _per_pattern(value: Tensor, batch: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    """What broadcasts to (*batch, *shape) as (patterns, 1, *shape), or as (1, 1, *shape) where it is one for all."""
    one = math.prod(value.shape[: -len(shape)]) == 1
    return value.expand(*([1] * len(batch) if one else batch), *shape).reshape(-1, 1, *shape)


def _spread(
    asked: Options, intensity: Tensor, values: Tensor, mask: Tensor | None, counts: Tensor
) -> PointSpread | None:
    """What blurs the intensities, whose values (patterns, 1, *grid) are these: that is given, or to be found."""
    kernel, coherence, ndim = asked["point_spread"], asked["coherence"], asked["ndim"]
    if coherence is not None:
        _checks.choice("coherence", coherence, get_args(Coherence))
        if kernel is not None:
            rule = f"coherence={coherence!r} must be left out where point_spread says what it is"
            _checks.fail(f"{rule}, got both", "Give one of them")
    elif kernel is None:
        return None
    form = None if kernel is None else _point_spread(kernel, intensity, ndim)
    autocorrelation = measured(values, mask, ndim, counts)
    if form is not None:
        return PointSpread(form, autocorrelation)
    begun, seen = widest(autocorrelation)
    autocorrelation.widest = begun.values.where(seen[..., None, None], torch.nan)
    return PointSpread(begun, autocorrelation)


def _point_spread(kernel: Tensor, intensity: Tensor, ndim: int) -> Kernel:
    """The given one, with its middle as the sizes say."""
    shape, batch = tuple(intensity.shape[-ndim:]), tuple(intensity.shape[:-ndim])
    check_kernel(kernel, intensity, shape)
    check_shares(kernel, ndim)
    _check_batch("point_spread", kernel, batch, ndim)
    kernel = _per_pattern(kernel.to(intensity.dtype), batch, tuple(kernel.shape[-ndim:]))
    return Kernel(shares(kernel, ndim))


def _on_box(bound: Tensor, intensity: Tensor, shape: tuple[int, ...], box: tuple[slice, ...]) -> Tensor:
    """Bounds of the object's pixels, one for all patterns, on the support's box."""
    _checks.same_device(intensity=intensity, bounds=bound)
    try:
        return bound.expand(shape)[box].contiguous()
    except RuntimeError:
        fix = "Give one for each pixel of the object, the same for all patterns"
        _checks.fail(f"bounds must broadcast to the object {shape}, got {tuple(bound.shape)}", fix)


def _restricted(
    asked: Options, known: ObjectConstraint, intensity: Tensor, restricted: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Where the object may be but is not known, and the part that is known; None if that is 0 everywhere."""
    ndim, support, reference = known.ndim, asked["support"], None
    shape, batch = tuple(intensity.shape[-ndim:]), tuple(intensity.shape[:-ndim])
    if asked["known"] is not None:
        support, values = split(asked["known"], support, intensity, known.constraint, ndim)
        _check_batch("known", values, batch, ndim)
        if bool((values != 0).any()):
            reference = _per_pattern(values, batch, tuple(values.shape[-ndim:]))
    _check_restricted(known, support, shape, restricted)
    return support, reference


def _check_restricted(
    known: ObjectConstraint, support: Tensor | None, shape: tuple[int, ...], restricted: bool
) -> None:
    """What is known restricts the object, and its number of pixels is not more than there are."""
    size, pixels = known.support_size, math.prod(shape)
    if size is not None and size > pixels:
        rule = f"support_size must be at most the {pixels} pixels of a pattern"
        _checks.fail(f"{rule}, got {size}", "Use the number of pixels of the object")
    if restricted and support is None and size is None and known.constraint != "nonnegative":
        fix = "Give support= or support_size=, or constraint='nonnegative'"
        _checks.fail(f"the object must be restricted for constraint={known.constraint!r}, got nothing", fix)


def _place_support(
    support: Tensor | None, intensity: Tensor, ndim: int, undersampled: bool, corner: bool
) -> tuple[tuple[int, ...], tuple[slice, ...], Tensor | None, int]:
    """Object shape, box on the grid, the support on the box (None if it fills the box), and its largest size.

    The box begins in the corner of the grid if what lies in it must not move.
    """
    shape, batch = tuple(intensity.shape[-ndim:]), tuple(intensity.shape[:-ndim])
    if support is None:
        return shape, tuple(slice(0, m) for m in shape), None, math.prod(shape)
    _checks.boolean(support=support)
    _checks.same_device(intensity=intensity, support=support)
    _checks.rank(ndim, support=support)
    object_shape = tuple(support.shape[-ndim:])
    _check_size(object_shape, shape, undersampled)
    _check_batch("support", support, batch, ndim)
    support = _per_pattern(support, batch, object_shape)
    least, most, *ends = _extent(support, ndim)
    if not least:
        _checks.fail("support must hold at least one pixel, got an empty one", "True = the object may be non-zero")
    box = tuple(
        slice(0 if corner else first, n - last)
        for first, last, n in zip(ends[::2], ends[1::2], object_shape, strict=True)
    )
    if least == math.prod(s.stop - s.start for s in box):
        return object_shape, box, None, most
    index: tuple[Any, ...] = (..., *box)
    return object_shape, box, support[index].contiguous(), most


def _check_size(object_shape: tuple[int, ...], shape: tuple[int, ...], undersampled: bool) -> None:
    """The support is that of an object that the data determine, or of a larger one if asked for."""
    if object_shape == shape:
        return
    if undersampled:
        _checks.fourier_shape(shape, object_shape, undersampled)
    largest = tuple((m + 1) // 2 for m in shape)
    if not undersampled and any(n > most for n, most in zip(object_shape, largest, strict=True)):
        rule = f"support must be at most {largest} for data of {shape} (2n-1 for n pixels), or of the data's shape"
        fix = "Use a smaller one: the data determine no larger object; or undersampled=True where such data are wanted"
        _checks.fail(f"{rule}, got {object_shape}", fix)


def _extent(support: Tensor, ndim: int) -> list[int]:
    """The least and largest number of pixels of a pattern, and along each axis the empty rows before and behind them.

    All come from the device at once.
    """
    found = [*support.flatten(1).sum(-1).aminmax()]
    plane = support.flatten(0, -1 - ndim).any(0)
    for axis in range(ndim):
        used = _fft.profile(plane, axis, ndim)
        found += [used.to(torch.uint8).argmax(), used.flip(0).to(torch.uint8).argmax()]
    numbers: list[int] = torch.stack(found).tolist()
    return numbers


def check_determined(problem: Problem) -> None:
    """Warn where the support is so large that the data cannot determine the object (Hayes 1982)."""
    if problem.known.constraint == "nonnegative":
        return
    pixels = min(problem.pixels, problem.known.support_size or problem.pixels)
    if 2 * pixels > math.prod(problem.shape):
        _checks.warn(
            f"the support holds {pixels} of {math.prod(problem.shape)} pixels; above one half the data do "
            "not determine the object",
            "Use a tighter support or constraint='nonnegative'",
            page="wrong.rst#the-residual-is-low-and-the-starts-disagree",
        )


# A pattern is that of a real object if the magnitudes of opposite frequencies differ by less than this share, which is
# what noise leaves at few photons (less by _FEW of the root of their number: chance makes few alike), and as noise
# does: neighbours differ alike by no more than this correlation, or than so many of its standard deviations. It is
# judged if this share of what was measured has a partner.
_UNEQUAL, _FEW, _STRUCTURE, _DEVIATIONS, _PAIRED = 0.3, 0.6, 0.15, 4.0, 0.5


def check_complex(problem: Problem) -> None:
    """Warn where a real object explains the pattern as well as a complex one: its mirror is the same within noise."""
    axes = tuple(range(-problem.ndim, 0))
    intensity, mask = problem.magnitude.planes()
    known = torch.ones_like(intensity) if mask is None else mask.to(intensity)
    magnitude = _fft.root(intensity)  # in which counts have the same noise everywhere: a few bright pixels do not rule
    own, edge = (torch.full((), start, device=intensity.device) for start in (True, False))
    for axis, m in zip(axes, problem.shape, strict=True):
        index = _fft.along(torch.arange(m, device=intensity.device), axis, problem.ndim)
        own, edge = own & (index == 0), edge | (2 * index == m)
    known = known * ~(own | edge)  # its own mirror says nothing; that of the largest frequency lies beyond a detector
    both = known * _fft.mirror(known, axes)
    off = both * (magnitude - _fft.mirror(magnitude, axes))
    beside = [off.roll(1, axis) for axis in axes]
    alike = torch.stack([(off * x).sum(axes) for x in beside]).sum(0)
    # as much again where rounding alone is left, whose pattern means nothing
    energy = torch.stack([((x != 0) * off.square()).sum(axes) for x in beside]).sum(0)
    energy = energy + (100 * torch.finfo(intensity.dtype).eps * magnitude).square().sum(axes)
    pairs = both.sum(axes)
    limit = (_DEVIATIONS / (problem.ndim * pairs).clamp(min=1).sqrt()).clamp(min=_STRUCTURE)
    noise = alike / _fft.divisor(energy) < limit
    unequal = (off.square().sum(axes) / 2 / _fft.divisor((both * intensity).sum(axes))).sqrt()
    judged = pairs > _PAIRED * known.sum(axes)
    symmetric = int((judged & noise & (unequal < _UNEQUAL - _FEW / pairs.clamp(min=1).sqrt())).sum())
    if symmetric:
        _checks.warn(
            f"{symmetric} of {problem.patterns} patterns are symmetric within noise, as those of real objects are, but "
            'the constraint is "complex", by default, which has twice as much to find',
            'Use constraint="nonnegative" or "real"; say constraint="complex" if the object is complex nevertheless',
            page="wrong.rst#what-a-warning-means",
        )
