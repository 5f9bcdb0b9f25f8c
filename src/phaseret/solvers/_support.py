"""Where the object may be: a first guess from the data, and updates while a recipe runs."""

from __future__ import annotations

import math
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory
from phaseret.operators._validate import look_finite
from phaseret.projections import CONSTRAINTS, Constraint
from phaseret.projections._spread import Kernel, check_kernel, check_shares, shares
from phaseret.solvers._algorithms import HIO
from phaseret.solvers._extent import counted, filled, hull, reached, reached_beside
from phaseret.solvers._gaps import FEW, explained, filled_in_hull
from phaseret.solvers._loop import Algorithm, Step
from phaseret.solvers._problem import Problem
from phaseret.solvers._run import Run

Method = Literal["max", "rms", "level"]
Form = Literal["box", "hull"]
# A box is wider than the autocorrelation says by so many pixels.
_MORE = 2


def autocorrelation_support(
    intensity: Tensor,
    *,
    threshold: float | None = None,
    form: Form = "box",
    width: float = 0.66,
    mask: Tensor | None = None,
    point_spread: Tensor | None = None,
    constraint: Constraint = "complex",
    centered: bool = False,
    ndim: int = 2,
) -> Tensor:
    """A first guess of the support: a box that holds the object, from the extent of its autocorrelation.

    Along each axis the autocorrelation of an object of n pixels reaches n - 1 pixels to either side, whatever its
    shape. It counts where its mean over 3 pixels along each axis exceeds 5 times the noise, which is seen at the rim of
    the grid, and 0.0005 of its maximum, but for single pixels. What lies below that share t the box makes up for: it is
    wider than what counts by the factor 1.04 / (1 - sqrt(t)) and 2 pixels, but not wider than (m + 1) / 2 pixels of m.
    It lies in the middle of the data grid. :class:`Shrinkwrap` finds the shape inside it. With few photons, some 10^4
    of a dense object, the noise hides so much that the box may be too small; so it may be of blurred data, whose
    autocorrelation fades, where `point_spread` does not say how.

    Args:
        intensity: Measured intensity.
        threshold: Least autocorrelation that counts, relative to its maximum, in (0, 1), taken as it is: no mean, no
            wider box or hull. Default: from the noise, as said above.
        form: "box" or "hull".
        width: Width of the hull relative to that of the autocorrelation, in (0, 1]. What lies below the share t is made
            up for as of a convex object with d axes: the hull is wider by the factor 1 / (1 - t^(1/d)).
        mask: True where measured. Up to 1024 unmeasured pixels: the box belongs to the least extent that the
            autocorrelation can keep to, within the noise, whatever those pixels are, behind a beam stop of several
            speckles as well. More of them, or with form="hull", `threshold` or `point_spread`: they are estimated, from
            the opposite frequencies and such that the autocorrelation keeps to its extent or its hull; where gaps of a
            box are then much wider than speckles, as a saturated centre, the extent is that of what was measured beside
            them. The box of an item of which nothing was measured is half the grid.
        point_spread: What becomes of the intensity of one pixel, as in :func:`reconstruct`: the autocorrelation counts
            as it was before, as far as the noise allows.
        constraint: What the object is known to be: the autocorrelation of a "nonnegative" one is not negative either,
            and what is so, as a hidden zero frequency makes it, does not count.
        centered: Whether the zero frequency lies in the middle of the intensity.
        ndim: Number of axes of one pattern.

    Shape:
        - intensity: (*, m1..md)
        - mask: (*, m1..md), or what broadcasts to it
        - point_spread: (k1..kd), or one each (*, k1..kd)
        - output: (*, m1..md)

    Returns:
        Boolean tensor.

    Raises:
        TypeError: if intensity is not real floating or mask not boolean.
        ValueError: if a measured value is not finite; if threshold or width is out of range, or form unknown; if
            point_spread is negative, or its sum not 1.

    Example:
        >>> intensity = pr.operators.fourier_intensity(torch.ones(8, 8), (32, 32))
        >>> autocorrelation_support(intensity, threshold=0.01).sum()
        tensor(64)
        >>> autocorrelation_support(intensity).sum()
        tensor(121)

    Source:
        Fienup, Crimmins, Holsztynski (1982), Reconstruction of the support of an object from the support of its
        autocorrelation, doi:10.1364/JOSA.72.000610: the box is the simplest set that holds all solutions. How far it
        reaches beyond the noise is ours.
    """
    _checks.real(intensity=intensity)
    _memory.with_values(intensity=intensity, mask=mask)
    ndim = _checks.item_axes(ndim, intensity=intensity)
    if threshold is not None:
        threshold = _checks.number("threshold", threshold, above=0, at_most=1)
    _checks.choice("form", form, get_args(Form))
    width = _checks.number("width", width, above=0, at_most=1)
    _checks.choice("constraint", constraint, CONSTRAINTS)
    axes, positive = tuple(range(-ndim, 0)), constraint == "nonnegative"
    intensity = _fft.promote(intensity)
    if mask is not None:
        mask = _checks.mask(mask, intensity)
    look_finite(intensity, mask)
    _checks.flag(centered=centered)
    if centered:
        intensity = _fft.uncenter(intensity, axes)
        mask = None if mask is None else _fft.uncenter(mask, axes)
    factor = None if point_spread is None else _factor(point_spread, intensity, ndim)
    if mask is not None and form == "box" and threshold is None and factor is None:
        reach, wider = _reached_beside_gaps(intensity, mask, ndim, positive)
    else:
        if mask is not None:
            fill = filled_in_hull if form == "hull" else filled
            intensity = fill(intensity, mask, ndim, positive=positive)
        if form == "hull":
            inside, level = counted(intensity, ndim, threshold, positive, factor)
            return hull(_fft.center(inside, axes), ndim, width, level if threshold is None else None)
        reach, wider = reached(intensity, ndim, threshold, positive, factor)
    box = torch.ones_like(intensity, dtype=torch.bool)
    for axis, m in zip(axes, intensity.shape[-ndim:], strict=True):
        size = reach[..., axis] + 1
        if threshold is None:
            size = (wider * (size - 1)).ceil().add(_MORE).clamp(max=(m + 1) // 2)
        size = size[(...,) + (None,) * ndim]
        index = _fft.along(torch.arange(m, device=box.device), axis, ndim)
        first = (m - size).div(2, rounding_mode="floor")
        box = box & (index >= first) & (index < first + size)
    return box


def _reached_beside_gaps(intensity: Tensor, known: Tensor, ndim: int, positive: bool) -> tuple[Tensor, Tensor]:
    """The lags (*, d) that autocorrelation reaches, and how much wider (*) a box is, by what each item misses."""
    batch, shape = intensity.shape[:-ndim], intensity.shape[-ndim:]
    items, masks = intensity.reshape(-1, *shape), known.reshape(-1, *shape)
    missing = (~masks).flatten(1).sum(1).tolist()
    reach, wider = intensity.new_empty(len(items), ndim), intensity.new_ones(len(items))
    for axis, m in enumerate(shape):
        reach[:, axis] = (m + 1) // 2  # where nothing was measured
    for way, least, most in ((_beside_none, 0, 0), (explained, 1, FEW), (_beside_many, FEW + 1, shape.numel())):
        of = [n for n, count in enumerate(missing) if least <= count <= most and count < shape.numel()]
        if of and len(of) == len(items):
            reach, wider = way(items, masks, ndim, positive)
        elif of:
            reach[of], wider[of] = way(items[of], masks[of], ndim, positive)
    return reach.reshape(*batch, ndim), wider.reshape(batch)


def _beside_none(items: Tensor, known: Tensor, ndim: int, positive: bool) -> tuple[Tensor, Tensor]:
    return reached(items, ndim, None, positive)


def _beside_many(items: Tensor, known: Tensor, ndim: int, positive: bool) -> tuple[Tensor, Tensor]:
    items = filled(items, known, ndim, positive=positive)
    return reached_beside(items, known, ndim, *reached(items, ndim, None, positive))


def _factor(point_spread: Tensor, intensity: Tensor, ndim: int) -> Tensor:
    """What the point spread leaves of the autocorrelation, on the half grid."""
    shape = tuple(intensity.shape[-ndim:])
    check_kernel(point_spread, intensity, shape)
    check_shares(point_spread, ndim)
    kernel = shares(point_spread.to(intensity.dtype), ndim)
    _checks.broadcast("point_spread", kernel[(...,) + (slice(1),) * ndim], "the intensity", intensity, "kernel")
    return Kernel(kernel).factor(shape, real=False)


def shrinkwrap_support(
    obj: Tensor,
    *,
    threshold: float = 0.15,
    sigma: float = 3.0,
    method: Method = "rms",
    level: Tensor | float | None = None,
    least: float = 0.001,
    most: float = 0.25,
    ndim: int = 2,
) -> Tensor:
    """A support from an estimate: where its blurred modulus is above a threshold.

    Guards keep it sane: if the threshold would keep less than the share `least` of all pixels, or more than `most`,
    it is moved so that just that share is kept.

    Args:
        obj: Estimate on its grid, real or complex floating.
        threshold: Relative to the largest value ("max"), to the root mean square of the non-zero ones ("rms"), which a
            few bright pixels change less, or to a known level ("level"), which nothing can change.
        sigma: Standard deviation of the Gaussian blur in pixels; it wraps around the edges.
        method: "max", "rms" or "level".
        level: For the last, the modulus that the object has, one number or one for each item; before the blur a larger
            modulus counts as this one.
        least: Least share of the grid.
        most: Largest share of the grid.
        ndim: Number of axes of one item.

    Shape:
        - obj: (*, n1..nd)
        - level: (*), or a number
        - output: (*, n1..nd)

    Returns:
        Boolean tensor.

    Raises:
        TypeError: if obj is not floating.
        ValueError: if an option is out of range, or method="level" has no level.

    Example:
        >>> obj = torch.zeros(16, 16)
        >>> obj[4:8, 4:8] = 1
        >>> shrinkwrap_support(obj, sigma=0.5, threshold=0.5).sum()
        tensor(16)

    Source:
        Marchesini et al. (2003), X-ray image reconstruction from a diffraction pattern alone,
        doi:10.1103/PhysRevB.68.140101, with 0.2 of the maximum: it loses what is faint beside something bright.
    """
    _checks.floating(obj=obj)
    ndim = _checks.item_axes(ndim, obj=obj)
    _check_shrinkwrap(threshold, sigma, method, least, most)
    obj = _fft.promote(obj.detach())
    modulus = _fft.power(obj).sqrt()
    if (method == "level") != (level is not None):
        fix = "Give both or neither"
        _checks.fail(f"level must go with method='level', got level={level!r} with method={method!r}", fix)
    if level is not None:
        level = torch.as_tensor(level, dtype=modulus.dtype, device=modulus.device)
        if tuple(level.shape) not in ((), tuple(modulus.shape[:-ndim])):
            rule = f"level must be a number or one for each item, {tuple(modulus.shape[:-ndim])}"
            _checks.fail(f"{rule}, got {tuple(level.shape)}", "Use one number for all of them")
        level = level[(...,) + (None,) * ndim]
    blurred, cut = _blurred(modulus, threshold, sigma, method, ndim, level)
    room = torch.full(modulus.shape[:-ndim], math.prod(modulus.shape[-ndim:]), device=obj.device)
    return _guarded(blurred, cut, room, least, most)[0]


def _blurred(
    modulus: Tensor, threshold: float, sigma: float, method: Method, ndim: int, level: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The blurred modulus and where it is cut (an axis of one pixel for each of the item's), as a known level has."""
    axes, threshold = tuple(range(-ndim, 0)), float(threshold)
    if level is not None:
        return _fft.blur(modulus.minimum(level), ndim, 2 * (math.pi * sigma) ** 2), threshold * level
    blurred = _fft.blur(modulus, ndim, 2 * (math.pi * sigma) ** 2)
    if method == "max":
        return blurred, threshold * blurred.amax(axes, keepdim=True)
    power, count = blurred.square().sum(axes, keepdim=True), (modulus > 0).sum(axes, keepdim=True)
    return blurred, threshold * (power / count.clamp(min=1)).sqrt()


def _guarded(blurred: Tensor, level: Tensor, room: Tensor, least: float, most: float) -> tuple[Tensor, Tensor]:
    """Where it is above the level, but at least and most a share of `room` (*) pixels; and whether it had less (*)."""
    ndim = blurred.ndim - room.ndim
    sorted_ = blurred.flatten(-ndim).sort(-1, descending=True).values
    # The smallest of the largest so many values.
    lowest, highest = (
        sorted_.gather(-1, (float(share) * room).round().long().clamp(1, sorted_.shape[-1])[..., None] - 1).reshape(
            level.shape
        )
        for share in (most, least)
    )
    fell = (level > highest).reshape(room.shape)
    return blurred >= torch.minimum(torch.maximum(level, lowest), highest), fell


_WIDEST = 1e6  # pixels of a blur: more than any grid has along an axis


def _check_shrinkwrap(threshold: float, sigma: float, method: str, least: float, most: float) -> None:
    _checks.number("threshold", threshold, above=0)
    _checks.number("sigma", sigma, at_least=0, at_most=_WIDEST)
    _checks.choice("method", method, get_args(Method))
    _checks.number("least", least, at_least=0, at_most=1)
    _checks.number("most", most, above=0, at_most=1)
    if least > most:
        _checks.fail(f"least must not exceed most, got {least} and {most}", "Exchange them")


class Shrinkwrap(Step):
    """A step of a recipe that replaces the support by :func:`shrinkwrap_support` of the estimate, within the one given.

    Each time it is used the blur is narrower: sigma falls by the factor `decay` down to `least_sigma`. Every start has
    its own support. It keeps to a share of the room there is: the pixels of the given support, or without one those of
    :func:`autocorrelation_support`. A start whose support fell to the least share, and was kept there, has lost the
    object: it is ranked last, with an infinite score, it agrees with no other, and a warning tells of it.

    With ``method="level"`` the level is that of the step :class:`Level` before it, and the modulus is that of P_M x,
    which also shows what the support has cut off: so the support can grow again within the one given.

    Args:
        threshold: Relative to the largest value, the root mean square or the level.
        sigma: Standard deviation of the first blur in pixels.
        method: "max", "rms" or "level".
        least: Least share of the room.
        most: Largest share of the room.
        decay: Factor of sigma from one use to the next, in (0, 1].
        least_sigma: Smallest sigma.

    Example:
        >>> recipe = pr.solvers.Recipe("20*(hio:20,shrinkwrap),er:20")
        >>> intensity = pr.operators.fourier_intensity(torch.rand(8, 8), (24, 24))
        >>> r = recipe(intensity, support=autocorrelation_support(intensity), constraint="nonnegative")
        >>> r.obj.shape
        torch.Size([24, 24])
    """

    threshold: float
    sigma: float
    method: Method
    least: float
    most: float
    decay: float
    least_sigma: float

    def __init__(
        self,
        *,
        threshold: float = 0.15,
        sigma: float = 3.0,
        method: Method = "rms",
        least: float = 0.05,
        most: float = 1.0,
        decay: float = 0.9,
        least_sigma: float = 1.0,
    ) -> None:
        _check_shrinkwrap(threshold, sigma, method, least, most)
        super().__init__(
            threshold=threshold,
            sigma=sigma,
            method=method,
            least=least,
            most=most,
            decay=_checks.number("decay", decay, above=0, at_most=1),
            least_sigma=_checks.number("least_sigma", least_sigma, at_least=0, at_most=_WIDEST),
        )

    def advance(self, run: Run) -> None:
        problem = run.problem
        sigma = max(min(self.least_sigma, self.sigma), self.sigma * self.decay**run.updates)
        if run.room is None:
            run.room = _room(problem)
        if self.method == "level" and run.level is None:
            rule = "the level of the modulus must be known for shrinkwrap(method=level), got none"
            _checks.fail(rule, "Put a level before it, as in level,shrinkwrap(method=level)")
        level = None if self.method != "level" else problem.over_object(cast(Tensor, run.level))
        modulus = _fft.power(problem.embed(run.estimate.detach()) if level is None else run.measured()).sqrt()
        blurred, cut = _blurred(modulus, self.threshold, sigma, self.method, problem.ndim, level)
        blurred = problem.crop(blurred)
        if problem.support is not None:
            blurred = torch.where(problem.support, blurred, 0.0)
        found, run.collapsed = _guarded(blurred, cut, run.room.expand(run.error.shape), self.least, self.most)
        if problem.support is not None:
            found = found & problem.support
        # an estimate that has nothing inside keeps the support it has
        some = found.any(tuple(range(2, found.ndim)), keepdim=True)
        run.support = torch.where(some, found, True if run.support is None else run.support)
        run.updates += 1


def _room(problem: Problem) -> Tensor:
    """How many pixels the object of each pattern may have: (patterns, 1)."""
    if problem.support is not None:
        return problem.support.flatten(2).sum(-1).expand(problem.patterns, 1)
    if not problem.whole:
        return torch.full((problem.patterns, 1), math.prod(problem.box_shape), device=problem.device)
    intensity, mask = problem.magnitude.planes()
    spread = problem.magnitude.spread
    known = spread.form.values if spread is not None and isinstance(spread.form, Kernel) else None
    return autocorrelation_support(intensity, mask=mask, point_spread=known, ndim=problem.ndim).flatten(2).sum(-1)


class Detwin(Step):
    """A step of a recipe that runs an algorithm with half of the support, to choose between an object and its twin.

    The half lies on one side of the support's centre of mass, along its box's longest axis (or `axis`). An object in
    half of a symmetric support has its twin in the other half, so the two can no longer mix.

    Args:
        algorithm: What to run; a few tens of iterations. A number: so many of :class:`HIO`.
        axis: Axis that is halved, counted over the object's axes. Default: the longest of the support's box.

    Example:
        >>> intensity = pr.operators.fourier_intensity(torch.rand(8, 8), (16, 16))
        >>> recipe = pr.solvers.Recipe(pr.solvers.HIO(50), Detwin(pr.solvers.HIO(20)), pr.solvers.HIO(50))
        >>> recipe(intensity, support=torch.ones(8, 8) > 0, constraint="nonnegative").obj.shape
        torch.Size([8, 8])

    Source:
        Guizar-Sicairos, Fienup (2012), Understanding the twin-image problem in phase retrieval,
        doi:10.1364/JOSAA.29.002367.
    """

    algorithm: Algorithm
    axis: int | None

    def __init__(self, algorithm: Algorithm | int, *, axis: int | None = None) -> None:
        if isinstance(algorithm, int):
            algorithm = HIO(algorithm)
        if not isinstance(algorithm, Algorithm):
            got = type(algorithm).__name__
            _checks.fail(f"algorithm must be an algorithm, got {got}", "Use HIO(20)", TypeError)
        if axis is not None and (isinstance(axis, bool) or not isinstance(axis, int)):
            _checks.fail(f"axis must be an integer or None, got {axis!r}", "Use 0 or 1", TypeError)
        super().__init__(algorithm=algorithm, axis=axis)

    @property
    def n_iter(self) -> int:  # type: ignore[override]
        """Iterations of the algorithm."""
        return self.algorithm.n_iter

    def check(self, run: Run) -> None:
        if self.axis is not None and not -run.problem.ndim <= self.axis < run.problem.ndim:
            _checks.fail(
                f"axis of Detwin must be an axis of an object of {run.problem.ndim} axes, got {self.axis}",
                "Count the axes of the object from 0",
            )

    def advance(self, run: Run) -> None:
        box = run.problem.box_shape
        axis = box.index(max(box)) if self.axis is None else self.axis % len(box)
        support = run.problem.everywhere if run.support is None else run.support
        weight = support.to(run.problem.dtype)
        if others := [2 + a for a in range(len(box)) if a != axis]:
            weight = weight.sum(others, keepdim=True)
        position = torch.arange(box[axis], dtype=weight.dtype, device=weight.device)
        position = _fft.along(position, axis, len(box))
        middle = (weight * position).sum(2 + axis, keepdim=True) / weight.sum(2 + axis, keepdim=True)
        run.half = (position <= middle).expand_as(support)
        try:
            self.algorithm.advance(run)
        finally:
            run.half = None
