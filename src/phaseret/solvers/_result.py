"""What a solver returns."""

from __future__ import annotations

import dataclasses
import importlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.solvers._counts import EXPLAINED, expected_error
from phaseret.symmetry import Certificate, certify
from phaseret.symmetry._certify import limited, unmeasured
from phaseret.symmetry._search import search

if TYPE_CHECKING:
    import os

    from phaseret.solvers._problem import Problem
    from phaseret.solvers._run import Items, Run

# A start fits as well as the best one if its score is at most this factor larger, and agrees with it above this
# correlation.
_RIVAL, _AGREE = 1.25, 0.9
# The same of those that enter the mean: the best fits alone, which noise makes differ.
_FITS, _ALIKE = 1.1, 0.8
# A mean that fits so many times worse than the best start is none of one object: noise alone explains less.
_WORSE = 3.0
# By the number of images that have the data.
_VERDICTS = ("unknown", "unique", "several")
# What comparing a start with the best one needs, in arrays.
_ARRAYS = 12.0


def _above(name: str) -> Any:
    """A module that stands above this one, for the methods that only pass their object on to it."""
    return importlib.import_module(f"phaseret.{name}")


@dataclass(repr=False, eq=False)
class Reconstruction:
    """The reconstruction of each pattern, and what all starts say about it.

    The best start is the one with the least score. What noise leaves open each start fills in its own way: so the
    result is the mean of the best start and of those that fit as well, with a score up to 1.1 times its score, and
    show the same object, with a correlation above 0.8 after alignment. It is the best start alone where there are no
    others, where a gradient is asked for, and where starts run in turn (:class:`Enough`). A mean fits the data less
    closely than each of its starts, which fit the noise too: its error is no measure of that gain.

    Attributes:
        obj: (*, n1..nd) the result of each pattern: the best start, or the mean of it and those that fit and agree.
        error: (*) relative magnitude error of `obj`, sqrt(sum (|F obj| - sqrt(Y))^2 / sum Y) over measured pixels.
        support: (*, n1..nd) boolean, where the object was allowed to be non-zero.
        objs: (*, starts, n1..nd) estimates of all starts.
        errors: (*, starts) their errors; infinite where a start was not begun (:class:`Enough`) or was culled
            (:class:`Breed`): there is no estimate.
        scores: (*, starts) what ranks the starts: their errors, or, after a step that lets them have different numbers
            of pixels (:class:`SparseRRR`), the errors times the price of these; infinite where the support collapsed
            (:class:`Shrinkwrap`) or values are not finite.
        ranking: (*, starts) indices of the starts, the least score first.
        agreement: (*, starts) correlation of each start with the best one after alignment, between 0 and 1; 0 where the
            support collapsed. Beside a known part that of the rest, as it lies.
        prtf: (*, rings) phase retrieval transfer function: the magnitude of the mean of all aligned starts over the
            measured one, summed over rings of r / min(m1..md) cycles per pixel; 1 where the starts agree.
            :func:`phaseret.metrics.prtf` gives it for any reconstructions.
        history: (*, starts, checks) errors during the run.
        checked: The iteration of each check.
        seeds: The seed of each start.
        recipe: What was run.
        seconds: Wall time.
        averaged: (*, starts) boolean, the starts that `obj` is the mean of; of a best start alone that one.
        expected: (*) the error that counting noise alone leaves of such an object: its mean over Poisson numbers with
            the means abs(F obj)^2; 0 where the intensities are no counts, which are whole numbers.
        point_spread: (*, k1..kd) what became of the intensity of one pixel, with its sum 1 and its middle at index
            k // 2: given, or found with `coherence`; None without.
        images: (*) how many images with the data that agree with what was said of the object, up to shift, flip and
            phase, the exact solution found: 1 if there is no other, 0 if that is unknown; None without
            :class:`Algebraic`.
        sigma: (*, 2) the two least singular values behind it.
        notes: What was assumed where nobody said it, a line each, as ``phaseret reconstruct`` prints it; "" elsewhere.
        n_iters: (*, starts) the iterations of each start: those of the run, or fewer where the error came down to
            `tolerance` before, the start was culled, or was at rest; 0 of those that were not begun.
        rivals: (*, r, n1..nd) the other images: those of a pattern come first, `images` - 1 of them, then zeros; None
            where no pattern has any.
        data_shape: (m1..md), sizes of the Fourier pattern; empty where another operator measured, and of older files.
        unmeasured: (*) how many of its pixels were not measured.
    """

    obj: Tensor
    error: Tensor
    support: Tensor
    objs: Tensor
    errors: Tensor
    scores: Tensor
    ranking: Tensor
    agreement: Tensor
    prtf: Tensor
    history: Tensor
    checked: list[int]
    seeds: list[int]
    recipe: str
    seconds: float
    averaged: Tensor = dataclasses.field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    point_spread: Tensor | None = None
    expected: Tensor = dataclasses.field(default_factory=lambda: torch.zeros(0))
    images: Tensor | None = None
    sigma: Tensor | None = None
    rivals: Tensor | None = None
    data_shape: list[int] = dataclasses.field(default_factory=list)
    unmeasured: Tensor = dataclasses.field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    notes: str = ""
    n_iters: Tensor = dataclasses.field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))

    @property
    def misfit(self) -> Tensor:
        """(*) the error over the one that counting noise leaves: near 1 where that is all that is wrong.

        Far above 1 the object is wrong, or the data are not what they were taken for: a blur, a background. Below 1 the
        noise was fitted too, as a loose support lets it, which is no proof of the object. nan where the intensities are
        no counts.
        """
        return torch.where(self.expected > 0, self.error / self.expected, math.nan)

    @property
    def blur(self) -> Tensor | None:
        """(*, d) standard deviations of the point spread along each axis, in pixels; None without one."""
        if self.point_spread is None:
            return None
        batch = self.error.ndim
        kernel, widths = self.point_spread.flatten(0, batch - 1) if batch else self.point_spread[None], []
        for axis in range(1, kernel.ndim):
            profile = kernel.movedim(axis, 1).flatten(2).sum(-1) if kernel.ndim > 2 else kernel
            place = torch.arange(profile.shape[1]).to(profile)
            mean = (profile * place).sum(1, keepdim=True)
            widths.append((profile * (place - mean).square()).sum(1).sqrt())
        return torch.stack(widths, -1).reshape(*self.error.shape, -1)

    def __post_init__(self) -> None:
        if not self.averaged.numel():  # not told, as in files of earlier versions: the best start alone
            starts = torch.arange(self.scores.shape[-1], device=self.scores.device)
            self.averaged = starts == self.ranking[..., :1]
        if not self.expected.numel():
            self.expected = torch.zeros_like(self.error)
        if not self.unmeasured.numel():
            self.unmeasured = torch.zeros_like(self.error, dtype=torch.long)
        if not self.n_iters.numel():
            done = self.checked[-1] if self.checked else 0
            self.n_iters = torch.full(self.errors.shape, done, device=self.errors.device)

    @property
    def n_iter(self) -> Tensor:
        """(*) the iterations of the best start of each pattern."""
        return self.n_iters.gather(-1, self.ranking[..., :1]).squeeze(-1)

    @property
    def choice(self) -> list[str]:
        """What `obj` is, and why, in words: one text for each pattern."""
        starts = len(self.seeds)
        errors, scores, averaged = (
            x.detach().reshape(-1, starts).tolist() for x in (self.errors, self.scores, self.averaged)
        )
        best = self.ranking[..., 0].flatten().tolist()
        found = self.error.detach().flatten().tolist()
        misfits = self.misfit.detach().flatten().tolist()
        rows = zip(best, errors, scores, averaged, found, strict=True)
        return [_choice(*row) + _verdict(misfit) for row, misfit in zip(rows, misfits, strict=True)]

    @property
    def verdict(self) -> list[str] | None:
        """The worth of the exact solution, a word for each pattern: "unique", "several", "unknown"; None without it."""
        return None if self.images is None else [_VERDICTS[min(n, 2)] for n in self.images.flatten().tolist()]

    def save(self, path: str | os.PathLike[str], *, measurement: Any = None, overwrite: bool = False) -> None:
        """Write it to a CXI or npz file: :func:`phaseret.io.save_reconstruction`."""
        _above("io").save_reconstruction(path, self, measurement=measurement, overwrite=overwrite)

    def plot(self, *, measurement: Any = None, index: int = 0) -> Any:
        """A Matplotlib figure of it: :func:`phaseret.plotting.plot_reconstruction`."""
        return _above("plotting").plot_reconstruction(self, measurement=measurement, index=index)

    def certify(self, *, distance: bool = True, rivals: int = 16) -> Certificate:
        """Whether other objects have the noise-free data of `obj`: :func:`phaseret.symmetry.certify`.

        Nothing is proved of data that are no complete Fourier pattern: where pixels were not measured or blurred, where
        there are fewer than 2n - 1 samples along an axis, n those of the bounding box, or where another operator
        measured. `reasons` says so. What is listed in `rivals` has such data too; where another operator
        measured, nothing is listed.
        """
        ndim = self.obj.ndim - self.error.ndim
        found = certify(self.obj, ndim=ndim, fourier_shape=self.data_shape or None, distance=distance, rivals=rivals)
        reasons = [self._incomplete(count) for count in self.unmeasured.flatten().tolist()]
        return limited(found, reasons, part=bool(self.data_shape))

    def _incomplete(self, count: int) -> str:
        """Why the data of a pattern are no complete Fourier pattern; "" if they are."""
        if not self.data_shape:
            return "it is not known to explain a Fourier pattern"
        if self.point_spread is not None:
            return "the pattern is blurred"
        return unmeasured(count, math.prod(self.data_shape))

    def __repr__(self) -> str:
        starts = len(self.seeds)
        least, most = float(self.error.min()), float(self.error.max())
        error = f"{least:.3g}" if self.error.numel() == 1 else f"{least:.3g} to {most:.3g}"
        text = f"obj {tuple(self.obj.shape)} {self.obj.dtype}, error {error}, {starts} start{'s' * (starts > 1)}"
        if starts > 1:
            rivals = _rivals(self.scores)
            agree = float((self.agreement[rivals] > _AGREE).float().mean())
            text += f" ({agree:.0%} of the best agree)"
        return f"Reconstruction({text}, {self.checked[-1] if self.checked else 0} iterations, {self.seconds:.2g} s)"


def _verdict(misfit: float) -> str:
    """What counting noise says of the result of one pattern."""
    if math.isnan(misfit):
        return ""
    said = f"; {misfit:.2f} times the error that counting noise leaves"
    return said + ", which noise alone does not explain" * (misfit > EXPLAINED)


def _choice(best: int, errors: list[float], scores: list[float], averaged: list[bool], error: float) -> str:
    """What the result of one pattern is, and why."""
    if len(errors) == 1:
        return "the only start"
    begun = [k for k, error in enumerate(errors) if not math.isinf(error)]
    if not begun:
        return "no start was begun"
    if len(begun) == 1:
        return f"start {best}: error {errors[best]:.3g}, the only one that was begun and not culled"
    least = min(begun, key=errors.__getitem__)
    why, kept = f"start {best}: error {errors[best]:.3g}", [k for k in begun if scores[k] < math.inf]
    lost = "have values that are not finite" if any(map(math.isnan, errors)) else "have a support that collapsed"
    if not kept:
        why += f"; all starts {lost}"
    elif len(kept) < len(begun):
        why += f", the least of {len(kept)} starts; the others {lost}"
    elif errors == scores:
        why += ", the least"
    else:
        why += f", times the price of its pixels {scores[best]:.3g}, the least"
        if errors[least] < errors[best]:
            why += f" (start {least}: {errors[least]:.3g}, {scores[least]:.3g})"
    if sum(averaged) == 1:
        return why
    mean = f"mean of {sum(averaged)} of {len(begun)} starts that fit equally well and agree"
    if error <= errors[best]:
        return f"{mean}: error {error:.3g}; the best of them is {why}"
    return f"{mean}: error {error:.3g}, larger than theirs since each fits the noise too; the best of them is {why}"


def reconstruction(run: Run, seeds: list[int], *, recipe: str, seconds: float, in_turn: bool = False) -> Reconstruction:
    """Rank the starts of a finished run, compare them, and give all tensors their public shapes.

    The result is the mean of those that fit and agree, or of starts that ran `in_turn` the best alone.
    """
    problem, error = run.problem, run.error
    patterns, starts = error.shape
    scores = error.detach() if run.price is None else error.detach() * run.price
    if run.collapsed is not None:
        scores = torch.where(run.collapsed, math.inf, scores)
    scores = scores.nan_to_num(math.inf, math.inf)
    ranking = scores.argsort(dim=-1, stable=True)
    best = ranking[:, 0]
    objs = problem.embed(run.estimate, problem.object_shape)
    rows = torch.arange(patterns, device=best.device)
    support = problem.everywhere if run.support is None else run.support
    support = problem.embed(support.expand(patterns, starts, *problem.box_shape)[rows, best], problem.object_shape)
    obj, chosen, batch = objs[rows, best], error[rows, best], problem.batch
    single = in_turn or obj.requires_grad
    alone = torch.arange(starts, device=best.device) == best[:, None]
    fits = alone if single else _rivals(scores, _FITS) & scores.isfinite()
    with torch.no_grad():
        agreement, averaged, mean, prtf = _compare(run, obj, objs, fits)
        averaged |= alone
        agreement = torch.where(scores.isfinite(), agreement, 0.0)
    if not single and starts > 1:
        obj, chosen, averaged = _mean_where_it_fits(run, mean, averaged, alone, obj, chosen)
        support = support | (obj != 0)
    expected = _expected(run, obj)
    if problem.reference is not None:
        obj, objs = obj + problem.reference[:, 0], objs + problem.reference
        support = support | (problem.reference[:, 0] != 0)
    result = Reconstruction(
        obj=obj.reshape(*batch, *problem.object_shape),
        error=chosen.reshape(batch),
        support=support.reshape(*batch, *problem.object_shape),
        objs=objs.reshape(*batch, starts, *problem.object_shape),
        errors=error.reshape(*batch, starts),
        scores=scores.reshape(*batch, starts),
        ranking=ranking.reshape(*batch, starts),
        agreement=agreement.reshape(*batch, starts),
        prtf=prtf.reshape(*batch, -1),
        history=torch.stack(run.history, -1).reshape(*batch, starts, -1),
        checked=list(run.checked),
        seeds=seeds,
        recipe=recipe,
        seconds=seconds,
        point_spread=_point_spread(run),
        averaged=averaged.reshape(*batch, starts),
        expected=expected.reshape(batch),
        images=None if run.images is None else run.images.reshape(batch),
        sigma=None if run.sigma is None else run.sigma.reshape(*batch, -1),
        rivals=None if run.rivals is None else _embedded(run.rivals, problem),
        data_shape=list(problem.shape),
        unmeasured=_unmeasured(problem).reshape(batch),
        n_iters=run.solved.where(run.solved >= 0, run.checked[-1] if run.checked else 0).reshape(*batch, starts),
    )
    warn_of_disagreement(result, in_turn=in_turn)
    return result


def _mean_where_it_fits(
    run: Run, mean: Tensor, averaged: Tensor, alone: Tensor, obj: Tensor, error: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The mean of the averaged starts where it fits about as well as the best, else that; its error, and of which."""
    problem = run.problem
    mean = problem.constraint(problem.support, whole=False).project(problem.crop(mean)[:, None])
    fitted = run.residual(mean)[:, 0]
    several = (averaged.sum(-1) > 1) & (fitted <= _WORSE * error.clamp(min=torch.finfo(error.dtype).eps ** 0.5))
    mean = problem.embed(mean[:, 0], problem.object_shape)
    obj = torch.where(problem.over_object(several), mean, obj)
    return obj, torch.where(several, fitted, error), torch.where(several[:, None], averaged, alone)


@torch.no_grad()
def _expected(run: Run, obj: Tensor) -> Tensor:
    """The error (patterns) that counting noise leaves of the objects; 0 where the intensities are no counts."""
    counts, found = run.problem.counts, torch.zeros_like(run.error[:, 0])
    if counts.device.type == "cpu" and not counts.any():  # a graphics card would have to be waited for
        return found

    def expect(items: Items) -> None:
        rows, _ = items
        found[rows] = expected_error(run.problem.magnitude.index((rows,)), obj[rows, None])[:, 0]

    run.in_pieces(expect, run.pieces(_ARRAYS, run.error[:, :1]))
    return found * counts


def _embedded(rivals: Tensor, problem: Problem) -> Tensor:
    """Other images on the box as objects."""
    return problem.embed(rivals, problem.object_shape).reshape(*problem.batch, -1, *problem.object_shape)


def _unmeasured(problem: Problem) -> Tensor:
    """How many pixels of each pattern were not."""
    measured = problem.magnitude.weight.flatten(-problem.ndim).sum(-1, dtype=torch.long).reshape(-1)  # exact
    return (math.prod(problem.shape) - measured).expand(problem.patterns).contiguous()


def _point_spread(run: Run) -> Tensor | None:
    """The kernel of each pattern."""
    problem = run.problem
    if problem.magnitude.spread is None:
        return None
    kernel = problem.magnitude.spread.form.shown(problem.shape)
    return kernel.expand(problem.patterns, *kernel.shape[1:]).reshape(*problem.batch, *kernel.shape[1:])


def _compare(run: Run, best: Tensor, objs: Tensor, fits: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the starts have in common after alignment with the best one.

    Their correlations with it; which of those that fit are alike, and the mean of these; and the transfer function of
    all of them. They are compared in the precision of the run: what rounding could confuse correlates equally well.
    """
    problem, (patterns, starts) = run.problem, objs.shape[:2]
    axes = tuple(range(-problem.ndim, 0))
    agreement = torch.ones((patterns, starts), dtype=problem.dtype, device=objs.device)
    averaged = torch.ones_like(agreement, dtype=torch.bool)
    total = objs[:, 0] if starts == 1 else objs.new_zeros((patterns, *problem.shape))
    mean = torch.zeros_like(total)

    def compare(items: Items) -> None:
        rows, _ = items
        # one start that is not finite would spoil the sums of all
        finite = problem.over_object(run.error[items].isfinite())
        some, reference = objs[items].where(finite, 0), best[rows, None]
        found = search(some, reference.expand_as(some), problem.shape, **problem.symmetries)
        moved = found(some)
        inner = (_fft.crop(moved, problem.object_shape).conj() * reference).sum(axes).real.clamp(min=0)
        norms = _fft.power(some).sum(axes).sqrt() * _fft.power(reference).sum(axes).sqrt()
        agreement[items] = inner / norms.clamp(min=torch.finfo(norms.dtype).tiny)
        averaged[items] = fits[items] & (agreement[items] > _ALIKE)
        weight = averaged[items].to(problem.dtype)
        of_all, of_some = moved.sum(1), (moved * problem.over_object(weight)).sum(1)
        total[rows] += of_all  # after all that takes memory
        mean[rows] += of_some

    pieces = run.pieces(_ARRAYS)
    if starts > 1:
        pieces = run.in_pieces(compare, pieces)
        total /= problem.over_object(run.error.isfinite().sum(-1).clamp(min=1))
        mean /= problem.over_object(averaged.sum(-1).clamp(min=1))
    prtf: dict[int, Tensor] = {}

    def transfer(items: Items) -> None:
        rows, columns = items
        if not columns.start:
            prtf[rows.start] = problem.magnitude.index((rows,)).transfer(total[rows, None])

    run.in_pieces(transfer, pieces)
    curve = torch.cat([prtf[start] for start in sorted(prtf)]).flatten(1)
    known = run.error.isfinite().any(-1, keepdim=True)
    return agreement, averaged, mean, curve.where(known, math.nan)


def _rivals(scores: Tensor, factor: float = _RIVAL) -> Tensor:
    """Which starts fit as well as the best one."""
    return scores <= factor * scores.amin(-1, keepdim=True)


def warn_of_disagreement(result: Reconstruction, in_turn: bool = False) -> None:
    """Warn where starts that fit equally well show different objects, or where most starts show another object.

    Of starts that run in turn one whose error noise explains ends the search: then it may well be alone.
    """
    rivals, agree = _rivals(result.scores) & result.scores.isfinite(), result.agreement >= _AGREE
    different, agreeing = (rivals & ~agree).any(-1), agree.sum(-1)
    undefined = result.errors.isnan()
    begun = result.errors.isfinite() | undefined
    lost = result.scores.isinf() & begun
    few = (2 * agreeing < begun.sum(-1)) & ~different & ~(lost | ~begun).all(-1)
    if in_turn:
        few &= begun.all(-1) & ~(result.error <= EXPLAINED * result.expected)
    starts = agree.shape[-1]
    least, found = torch.where(rivals, result.agreement, 1.0).amin(), torch.where(few, agreeing, starts).amin()
    # all from the device at once
    numbers = (least, different.sum(), few.sum(), found, (lost & ~undefined).sum(), undefined.sum(), lost.all(-1).sum())
    least, *counts = torch.stack([x.to(least.dtype) for x in numbers]).tolist()
    unlike, rare, fewest, collapsed, infinite, all_of_them = map(int, counts)
    without = f"are ranked last, and {all_of_them} of {few.numel()} reconstructions have no other start"
    if collapsed:
        _checks.warn(
            f"the supports of {collapsed} of {lost.numel()} starts fell to the least that their step allows: they lost "
            f"the object and {without}",
            "Lower the step's threshold, as in shrinkwrap(threshold=0.05), or its least for an object that is so small",
            page="wrong.rst#the-support-collapsed-or-filled-the-field",
        )
    if infinite:
        _checks.warn(
            f"{infinite} of {lost.numel()} starts ended with values that are not finite: they {without}",
            "Look at the algorithm and its numbers, such as beta, and use float64",
        )
    if unlike:
        _checks.warn(
            f"{unlike} of {different.numel()} reconstructions are not unique: starts that fit the data as well as the "
            f"best one show another object (correlation down to {least:.2f}). A low residual is no proof here",
            "Use a tighter support, more starts or more iterations, and compare the starts in `objs`",
            page="believe.rst#agreement-of-starts",
        )
    if rare:
        _checks.warn(
            f"{rare} of {few.numel()} reconstructions were found by few of their starts, {fewest} of "
            f"{starts} at least; the others fit the data worse and show another object",
            "Look at `agreement`, and use more starts or more iterations to be sure",
            page="believe.rst#agreement-of-starts",
        )
