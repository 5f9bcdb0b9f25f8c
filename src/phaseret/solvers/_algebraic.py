"""The exact solver: the box of an object from its autocorrelation, the object by two null spaces, and its worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory
from phaseret.projections import ObjectConstraint
from phaseret.solvers import _nullspace
from phaseret.solvers._levenberg import LeastSquares, check_double, magnitudes
from phaseret.solvers._loop import AtOnce
from phaseret.solvers._nullspace import Shape
from phaseret.solvers._options import Options, spelled
from phaseret.solvers._run import Run
from phaseret.solvers._solve import solve

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from phaseret.solvers._result import Reconstruction

# The autocorrelation counts above this share of its peak and where a row of it has a largest value, or a root mean
# square, of so often the noise at the rim, which neighbouring lags share. Noise above the last share is too much.
_ROUNDING, _PEAK, _MEAN, _NOISY = 1e-13, 16.0, 5.0, 1e-3
# Two rows of noise differ in their root mean squares by less than this factor.
_FLAT = 1.25
# An image explains data whose autocorrelation is its own to this factor of the noise, or to this share of the peak.
_EXPLAINS, _EXACT = 2.0, 1e-12
# It is the only one where sigma_1 / sigma_2 is below the first, sigma_2 above the second, the misfit below the third.
_RATIO, _DISTINCT, _FITS = 0.1, 1e-6, 0.05
_POLISHING = 100
_INSTEAD = "Use reconstruct(intensity, ...) with its default schedule"


def _middle(correlation: Tensor, lags: Sequence[int]) -> Tensor:
    """So many lags along each axis about lag 0: a view."""
    for axis, n in enumerate(lags):
        correlation = correlation.narrow(axis, correlation.shape[axis] // 2 - n // 2, n)
    return correlation


class Pattern:
    """A pattern in double precision, and its autocorrelation with lag 0 in the middle.

    Args:
        magnitude: (M1, M2), of a transform without normalisation.
        real: Whether its object is real.

    Attributes:
        peak: The autocorrelation at lag 0.
        noise: The root mean square of the noise at each lag, as the largest lags have it; 0 where none is seen.
    """

    def __init__(self, magnitude: Tensor, real: bool) -> None:
        self.magnitude, self.real, self.shape = magnitude, real, tuple(magnitude.shape)
        self.correlation = self._correlate(magnitude.square())
        self.peak = float(magnitude.square().mean())
        floors = [self._floor(axis) for axis in (0, 1)]
        self.noise = max((floor for floor in floors if floor is not None), default=0.0)

    def _correlate(self, intensity: Tensor) -> Tensor:
        plane = _fft.center(_fft.full_plane(intensity, intensity.shape, "forward").conj(), (0, 1))
        return plane.real if self.real else plane

    def _rows(self, axis: int) -> Tensor:
        """|a| by its lag along an axis, 0 to M // 2."""
        size = self.correlation.movedim(axis, 0).abs()
        return size[: size.shape[0] // 2 + 1].flip(0)

    def _floor(self, axis: int) -> float | None:
        """The noise at the largest lag of an axis; None if that may belong to the object.

        On an even grid no object of 2n - 1 <= M pixels reaches it. On an odd one it may, and is hardly flat and low.
        """
        before, last = self._rows(axis)[-2:].square().mean(1).sqrt().tolist()
        flat = max(before, last) <= _FLAT * min(before, last) and last <= _NOISY * self.peak
        return last if flat or self.shape[axis] % 2 == 0 else None

    def box(self) -> Shape:
        """The sizes of the object, off the extent of the autocorrelation."""
        return self._reach(0) + 1, self._reach(1) + 1

    def _reach(self, axis: int) -> int:
        """The largest lag that noise does not explain; the noise is learned on the way there, from the rim inwards."""
        rows = self._rows(axis)
        squares, peaks = rows.square().mean(1).tolist(), rows.amax(1).tolist()
        noise, count = self.noise**2, 1
        for lag in range((self.correlation.shape[axis] - 1) // 2, 0, -1):
            most = max(_ROUNDING * self.peak, _PEAK * noise**0.5)
            if peaks[lag] > most or squares[lag] > max((_ROUNDING * self.peak) ** 2, _MEAN**2 * noise):
                return lag
            noise, count = (noise * count + squares[lag]) / (count + 1), count + 1
        return 0

    def crop(self, box: Shape) -> Tensor:
        """The autocorrelation of an object of these sizes."""
        return _middle(self.correlation, [2 * n - 1 for n in box]).contiguous()

    def explained(self, x: Tensor) -> bool:
        """Whether an object anywhere on the grid has these data, to their noise."""
        field = _fft.full_plane(_fft.pad(x, self.shape), self.shape, "backward")
        return self._left(field, self.shape) <= max(_EXPLAINS * self.noise, _EXACT * self.peak)

    def _left(self, field: Tensor, lags: Sequence[int]) -> float:
        """The root mean square of what the autocorrelation of a field lacks, over so many lags in the middle."""
        left = _middle(self._correlate(_fft.power(field) - self.magnitude.square()), lags)
        return float(_fft.power(left).mean().sqrt())

    def polished(self, x: Tensor) -> tuple[Tensor, bool]:
        """The object after a few steps of Levenberg-Marquardt, and whether it explains the data."""
        places = torch.cartesian_prod(*(torch.arange(n, device=x.device) for n in x.shape))
        fit = LeastSquares(self.magnitude, None, places, self.real)
        pixels = fit.minimize(x.flatten(), _POLISHING)
        error = self._left(fit.field(pixels), [2 * n - 1 for n in x.shape])
        return pixels.reshape(x.shape), error <= max(_EXPLAINS * self.noise, _EXACT * self.peak)


@dataclass
class _Found:
    """The images of a pattern, and what they are worth."""

    images: list[Tensor]  # those that explain the data; if none does the one that comes nearest
    sigma: Tensor
    explains: bool
    all_of_them: bool  # whether no other image has the data


def _solved(pattern: Pattern, box: Shape) -> _Found:
    """The objects of these sizes that have the pattern, if there are any."""
    found = _nullspace.solve(pattern.crop(box), pattern.real, pattern.noise)
    tried = [pattern.polished(obj) for obj in found.objs]
    explains, images = tried[0][1], [tried[0][0]]
    for image, also in tried[1:]:
        if explains and also and not any(_same(image, one) for one in images):
            images.append(image)
    first, second = found.sigma[:2].tolist()
    alone = first < _RATIO * second and second > _DISTINCT and found.misfit < _FITS and not found.still
    all_of_them = len(images) == found.choices if len(images) > 1 else alone and explains
    return _Found(images, found.sigma[:2], explains, all_of_them)


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether two images are one up to flip and phase."""
    inner = [float((x.conj() * second).sum().abs()) for x in (first, first.flip(0, 1).conj())]
    return max(inner) > (1 - _DISTINCT) * float(first.norm() * second.norm())


class Algebraic(AtOnce):
    r"""The exact solution of nearly noise-free patterns in two dimensions: no start, no support, no iterations.

    The step of :func:`algebraic`, which says what it does: its image replaces the first start, as `init` does, and
    where no support was given its box becomes that start's support. A recipe that begins with it needs no support
    and runs from one start unless `starts` says otherwise.

    Example:
        >>> intensity = pr.operators.fourier_intensity(torch.rand(8, 8, dtype=torch.float64), (16, 16))
        >>> r = pr.solvers.reconstruct(intensity, schedule="algebraic,er:50", constraint="nonnegative")
        >>> r.verdict
        ['unique']
    """

    n_iter = 1
    finds_support = True
    starts = 1
    together = True

    def __init__(self) -> None:
        super().__init__()

    def check(self, run: Run) -> None:
        run.refuse_gradient()
        problem = run.problem
        check_double(problem.device)
        if problem.ndim == 1:
            rule = "ndim must be 2 for an exact solution, got 1: a polynomial of one variable always has factors"
            _checks.fail(f"{rule}, and up to 2^(n - 2) objects share their data", "Use reconstruct with a support")
        if problem.ndim == 3:
            rule = "ndim must be 2 for an exact solution, got 3: the equations of a volume do not fit into memory"
            _checks.fail(rule, _INSTEAD)
        mask = problem.magnitude.planes()[1]
        if mask is not None and not bool(mask.all()):
            rule = "mask must be left out for an exact solution, which needs the autocorrelation and so all pixels"
            _checks.fail(f"{rule}, got one", _INSTEAD)
        if problem.reference is not None:
            _checks.fail(
                "known must be left out for an exact solution, which finds all of the object, got one", _INSTEAD
            )
        if problem.magnitude.spread is not None:
            rule = "point_spread and coherence must be left out for an exact solution, got one of them"
            _checks.fail(rule, _INSTEAD)

    def work(self, run: Run) -> None:
        problem, everything = run.problem, (slice(None), slice(None))
        estimate = run.known(everything, whole=False).project(problem.crop(run.iterate)).clone()
        support = torch.ones_like(estimate[:, :1], dtype=torch.bool) if problem.support is None else problem.support
        n1, n2 = (min(n, (m + 1) // 2) for n, m in zip(problem.box_shape, problem.shape, strict=True))
        largest = None if problem.whole else (n1, n2)
        patterns = [Pattern(plane, problem.real) for plane in magnitudes(run)[0]]
        found = [_solve(pattern, largest) for pattern in patterns]
        box = torch.ones_like(estimate, dtype=torch.bool)
        most, barred, images = max(len(one.images) for one in found) - 1, 0, list[int]()
        rivals = torch.zeros_like(estimate[:, :1]).repeat(1, most, *[1] * problem.ndim)
        for p, one in enumerate(found):
            inside, known = support[min(p, len(support) - 1), 0], run.known((slice(p, p + 1), slice(0, 1)), whole=False)
            laid = [_laid(patterns[p], image, inside, known) for image in one.images]
            allowed = [at for at, agrees in laid if agrees]
            barred += one.explains and not allowed
            (obj, place), *others = allowed or [laid[0][0]]
            images.append((len(allowed) > 1 or one.all_of_them) * len(allowed))
            estimate[p, 0], box[p, 0] = 0, False
            estimate[p, 0][place], box[p, 0][place] = obj.to(estimate.dtype), True
            for row, (other, at) in zip(rivals[p], others, strict=False):
                row[at] = other.to(row.dtype)
        if run.support is None and problem.whole:
            run.support = box
        run.estimate = run.known(everything, whole=False).project(estimate)
        run.iterate = torch.cat([problem.embed(run.estimate[:, :1]), run.iterate[:, 1:]], 1)
        run.images = torch.tensor(images, device=problem.device)
        run.rivals = rivals[:, : max(images) - 1] if max(images) > 1 else None
        run.sigma = torch.stack([one.sigma for one in found]).to(problem.dtype)
        failed = sum(not one.explains for one in found)
        if failed:
            _checks.warn(
                f"the exact solution does not explain {failed} of {len(found)} patterns: their objects nearly have "
                "factors, their noise is too large for it, or they are sampled at less than 2n - 1",
                _INSTEAD,
                page="exact.rst#what-it-can-do",
            )
        if barred:
            _checks.warn(
                f"no image that has the data of {barred} of {len(found)} patterns agrees with what is said of it",
                "Look at support, constraint, bounds and phase_range",
            )


def _solve(pattern: Pattern, largest: Shape | None) -> _Found:
    """The object of the box that the autocorrelation tells, or of a known one where noise may hide some of it."""
    if pattern.noise > _NOISY * pattern.peak:
        share = pattern.noise / pattern.peak
        rule = "the autocorrelation must end within the grid, as for nearly noise-free data of m >= 2n - 1 pixels"
        _checks.fail(f"{rule}, got {share:.2g} of its peak at the largest lags", _INSTEAD)
    boxes = [pattern.box()]
    if largest is not None:
        told = boxes.pop()
        boxes.append((min(told[0], largest[0]), min(told[1], largest[1])))
        if pattern.noise > _ROUNDING * pattern.peak and largest != boxes[0]:
            boxes.append(largest)
    for box in boxes:
        _check_box(box, pattern)
        found = _solved(pattern, box)
        if found.explains:
            break
    return found


def _check_box(box: Shape, pattern: Pattern) -> None:
    """The object has two dimensions, and its equations fit into memory."""
    sizes = f"{box[0]} x {box[1]} pixels"
    if min(box) < 2:
        rule = f"the object must have two dimensions for an exact solution, got {sizes}"
        _checks.fail(f"{rule}, and up to 2^(n - 2) objects share the data of a single row", _INSTEAD)
    unknowns = (2 * box[0] - 1) * (2 * box[1] - 1) * (1 if pattern.real else 2)
    device = pattern.magnitude.device
    _memory.check_fits("the equations", 3 * 8 * unknowns**2, _INSTEAD, f"an object of {sizes}", device)


Laid = tuple[Tensor, tuple[slice, slice]]


def _laid(pattern: Pattern, image: Tensor, inside: Tensor, known: ObjectConstraint) -> tuple[Laid, bool]:
    """An image, or its flip, where it agrees with what is known, and whether it does: what agrees has the data."""
    first = None
    for obj, place in _placed(image, inside, known):
        first = first or (obj, place)
        whole = obj.new_zeros(inside.shape)
        whole[place] = obj
        given = whole.to(known.dtype.to_complex() if whole.is_complex() else known.dtype)
        moved = (known.project(given[None, None])[0, 0] - given).to(whole)
        if moved.norm() <= _DISTINCT * obj.norm() or pattern.explained(whole + moved):
            return (obj, place), True
    return cast(Laid, first), False


def _placed(obj: Tensor, support: Tensor, known: ObjectConstraint) -> Iterator[Laid]:
    """The object or its flip, and its place, with most of its power in the support; all if something tells them apart.

    What the data and the support leave open: the largest pixels have the phase 0 in the mean, or all lie about the
    middle of the given phases, and the place is near the corner.
    """
    power = _fft.power(obj)
    mean = (obj * power).sum()
    obj = obj * torch.where(mean == 0, torch.ones_like(mean), mean.conj() / mean.abs())
    both = torch.stack([obj, obj.flip(0, 1).conj().resolve_conj()])
    rows, columns = (torch.arange(n, device=obj.device) for n in obj.shape)
    first, second = (float((_fft.power(x) * (rows[:, None] + columns)).sum()) for x in both)
    both = both.flip(0) if second < first else both
    if known.phase_range is not None and obj.is_complex():
        for x in both:
            phases = x.angle()[_fft.power(x) > _DISTINCT**2 * power.max()]
            turn = (sum(known.phase_range) - phases.min() - phases.max()) / 2
            x *= torch.polar(torch.ones_like(turn), turn)
    inside = torch.nn.functional.conv2d(support[None].double(), _fft.power(both)[:, None])
    best = (inside >= (1 - 1e-9) * inside.max()).nonzero()  # those that rounding tells apart
    if known.bounds is None:
        best = best[:1]
    elif not isinstance(known.bounds[0], Tensor):
        best = best[[k for k, row in enumerate(best) if k == 0 or row[0] != best[k - 1, 0]]]
    for flip, top, left in best.tolist():
        place = slice(top, top + obj.shape[0]), slice(left, left + obj.shape[1])
        yield both[flip], place
        if known.constraint == "real" and known.bounds is not None:
            yield -both[flip], place


@spelled
def algebraic(intensity: Tensor, **options: Unpack[Options]) -> Reconstruction:
    r"""Solve nearly noise-free patterns in two dimensions exactly: no start, no support, no iterations.

    The spectrum X is a polynomial of its two phases t, and the data :math:`F = |X|^2` are one too. Its *current*

    .. math:: J = \operatorname{Im}(\bar X \nabla X) = F \, \nabla \arg X

    has the same degree, and the gradient of the phase has no curl, which is a linear equation for J:

    .. math:: F \, (\partial_1 J_2 - \partial_2 J_1) = J_2 \, \partial_1 F - J_1 \, \partial_2 F.

    Where X has no factors, J is its only solution but for known ones, of the shifts and of F itself. A second linear
    equation, :math:`F \nabla X = (\tfrac{1}{2} \nabla F + i J) X`, gives the object. Its sizes are read off the extent
    of the autocorrelation, and a few steps of :class:`LevenbergMarquardt` end it at rounding: 1e-15, for it computes in
    double precision whatever the dtype of the data. The object lies in the corner of the grid, or in the given support
    where it fits best.

    `verdict` says what the image is worth, by the two least singular values of the first equation in `sigma`, which
    are 0 for an exact solution and for a second one. "unique": it is the only image with the data that agrees with what
    was said of the object (`constraint`, `support`, `bounds`, `phase_range`), up to shift, flip and phase; it explains
    them to their noise, and sigma_1 < 0.1 sigma_2, sigma_2 > 1e-6 or all other images were found and do not agree.
    "several": X has factors, and `rivals` are the other images that agree and explain the data as well. "unknown" does
    not mean wrong. Warnings tell of patterns that the image does not explain, and of images that do not agree.
    Intensities of 1e12 photons are noisy in this respect (:doc:`/exact`);
    :func:`reconstruct` takes over there.

    Time and memory grow with the sixth and fourth power of the object's side: a digit takes 0.1 s, a real object of 40
    x 40 pixels some seconds, a complex one of 28 x 28 as many.

    Args:
        intensity: Measured intensity of all pixels, at least 2n - 1 along an axis for n pixels of the object.
        **options: Those of :func:`reconstruct` but for `mask`, `coherence` and `point_spread`. A constraint "real" or
            "nonnegative" halves the unknowns.

    Shape:
        - intensity: (*, m1, m2)
        - result: obj (*, n1, n2) of the support, or (*, m1, m2) without one

    Returns:
        :class:`Reconstruction`.

    Raises:
        ValueError: if there is a mask or a point spread; if ndim is not 2; if the autocorrelation does not end within
            the grid; if the object is a single row.
        MemoryError: if the equations do not fit into memory.

    Example:
        >>> obj = torch.polar(torch.rand(8, 7).double(), 6.28 * torch.rand(8, 7).double())
        >>> r = algebraic(pr.operators.fourier_intensity(obj, (16, 16)))
        >>> r.verdict, bool(r.error < 1e-12)
        (['unique'], True)

    Source:
        The equation of J is that of Gao (2003), Factoring multivariate polynomials via partial differential equations,
        doi:10.1090/S0025-5718-02-01428-X, after Ruppert (1999), on the torus; that a measured polynomial is factored
        by least singular values is Kaltofen, May, Yang, Zhi (2008), J. Symb. Comput. 43, 359; that factors are
        what the data leave open is Bruck, Sodin (1979), doi:10.1016/0030-4018(79)90358-4, and Hayes (1982),
        doi:10.1109/TASSP.1982.1163863. The weights, the calibration of J and the second equation are ours.
    """
    return solve(Algebraic(), intensity, options)
