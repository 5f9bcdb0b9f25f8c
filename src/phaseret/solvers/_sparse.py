"""Sparse RRR: the object from a loose support, or none, by a number of non-zero pixels that is found on the way."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from phaseret import _checks, _fft
from phaseret.projections._object import keep_largest
from phaseret.solvers._extent import reached
from phaseret.solvers._loop import Step
from phaseret.solvers._run import Items, Run

# Residuals below this one count as this one: an exact fit is no better for being exact to more digits.
_EXACT = 1e-6
# Iterations from one choice of the size to the next, the factor between sizes, and the iterations that settle a trial.
_EVERY, _FACTOR, _SETTLE = 50, 2**0.25, 8
# The grid is halved while the support's box keeps this many pixels along its shorter side.
_LEAST_BOX = 64
_BEST = ("score", "error", "best_size", "estimate")
_STATE = ("iterate", "size", *_BEST)
# Autocorrelation above this share of its maximum is strong; all of it reaches further, at most by about this factor.
_STRONG, _LARGER = 0.04, 1.25
# Of so many starts the first keeps its size, and these tune it, by Akaike's and by Bayes' price. The best of each kind
# goes on at the end.
_KINDS, _AKAIKE, _BAYES = 3, 1, 2


class SparseRRR(Step):
    r"""A step of a recipe that finds the object in a loose support, by keeping few pixels: RRR with a tuned size.

    In a loose support a mixture of the object and its twin fits the data as well as the object; but it needs more
    pixels. Each start runs RRR, :math:`x \leftarrow x + \beta (P_M(2 P_k x - x) - P_k x)`, where :math:`P_k` imposes
    what is known and keeps the k largest pixels. Fits of different size are compared by Akaike's or by Bayes'
    information criterion,

    .. math:: 2 \ln R + 2 f k / N \quad\text{or}\quad 2 \ln R + f k \ln(N) / N

    with the residual R, f = 1 number per pixel of a real object and 2 of a complex one, and N independent data: the
    measured pixels, but no more than the autocorrelation of the support's box has, halved for a real object. By Bayes'
    price few pixels are found, which a mixture with the twin cannot do with; but a dense object with noise never pays
    it. So both are at work in the search, and Akaike's decides.

    1. The sizes of the starts go from the support's down to `smallest` of it. Every 50 iterations each start is
       settled by 8 iterations of error reduction and scored; its best estimate is kept.
    2. After 2/7 of the iterations two starts of three take the size of the best one, keep their iterates, and from then
       on move to the best of k / 2^(1/4), k, k 2^(1/4) whenever they are scored: the second of three by Akaike's price,
       the third by Bayes'. The first of three keeps its size. (A single start goes by Akaike's price.)
    3. After 6/7 the best start of each of these three kinds goes on, and tunes its size, all by Akaike's price: only
       then can a small one that is right be told from a large mixture with the twin. Of two of them what they find is
       kept at those checks where it is ahead of the one that was best before. Where starts are compared, N
       is also no more than what the strong part of the measured autocorrelation covers: a support may be far too loose.

    The support of the run becomes the non-zero pixels found, and its starts are ranked by R exp(f k / N), the residual
    times Akaike's price of their pixels. Without a support or support size the object is sought in half of the grid
    along each axis. A box of at least 128 pixels along its shorter side is first solved on a coarser grid, from the
    lowest frequencies alone, then on the full one; all patterns of a batch on the same; bounds for each pixel are those
    of the full grid, which is then the only one. Follow it by a few iterations
    of error reduction, which settle the other starts too. The run is checked every 50 iterations; the errors of the
    search are those of the grid it works on.

    Args:
        n_iter: Number of iterations.
        beta: Step of RRR, in (0, 2].
        smallest: Size of the last start relative to the support, in (0, 1].
        coarse: Factor between the full and the first grid. Default: the largest power of 2 that leaves 64 pixels of
            the box's shorter side.

    Example:
        >>> obj = torch.zeros(12, 12)
        >>> obj[3:9, 2:8] = torch.rand(6, 6)
        >>> recipe = pr.solvers.Recipe(SparseRRR(700), pr.solvers.ErrorReduction(20))
        >>> r = recipe(pr.operators.fourier_intensity(obj, (24, 24)), constraint="nonnegative", starts=12)
        >>> r.error < 1e-3
        tensor(True)

    Source:
        The algorithm: Elser, Lan, Bendory (2018), Benchmark problems for phase retrieval, doi:10.1137/18M1170364,
        with the size known. The criteria: Akaike (1974), A new look at the statistical model identification,
        doi:10.1109/TAC.1974.1100705; Schwarz (1978), Estimating the dimension of a model, doi:10.1214/aos/1176344136.
        That the size is tuned by them is ours.
    """

    arrays = 18.0
    beta: float
    smallest: float
    coarse: int | None

    def __init__(
        self, n_iter: int = 1400, *, beta: float = 0.7, smallest: float = 1 / 16, coarse: int | None = None
    ) -> None:
        super().__init__(
            n_iter=_checks.integer("n_iter", n_iter),
            beta=_checks.number("beta", beta, above=0, at_most=2.0),
            smallest=_checks.number("smallest", smallest, above=0, at_most=1),
            coarse=None if coarse is None else _checks.integer("coarse", coarse),
        )

    def check(self, run: Run) -> None:
        run.refuse_gradient()

    @torch.no_grad()
    def advance(self, run: Run) -> None:
        if run.level is not None:
            fix = "Put an algorithm behind it, such as 'rrr:400', or sparse before it"
            _checks.fail("level must not stand before sparse, which keeps to none, got one there", fix)
        problem, search = run.problem, self.n_iter - self.n_iter // 7
        rows = torch.arange(problem.patterns, device=problem.device)[:, None]
        if run.state is None or "start" not in run.state:
            full = _Stage(run, problem.shape)
            stage = self._search(run, full, search)
            run.estimate, size = full.lift(stage)
            run.price = size_price(size, full.covered, full.numbers)
            start = stage.leaders()
            last = _Stage(run, problem.shape, start)
            last.begin(full.problem.embed(run.estimate[rows, start]), size[rows, start])
            run.estimate = problem.crop(full.problem.embed(run.estimate))
            run.error = run.residual(run.estimate)
        else:
            start = run.state["start"].to(problem.device)
            last = _Stage(run, problem.shape, start)
            last.begin(run.iterate[:, : start.shape[1]], last.area, run.state)
        while run.done < self.n_iter and not run.stopped:
            count = min(_EVERY, self.n_iter - run.done)
            last.block(count, self.beta, tune=True)
            estimate = problem.crop(last.problem.embed(last.estimate))
            price = size_price(last.best_size, last.covered, last.numbers)
            error = run.residual(last.estimate)
            score = error.clamp(min=_EXACT) * price
            ahead = score <= score[:, :1]  # what does not overtake the favourite stays, as one of those alike
            wide = problem.over_object(ahead)
            had = (run.estimate[rows, start], cast(Tensor, run.price)[rows, start], run.error[rows, start])
            run.estimate = run.estimate.index_put((rows, start), estimate.where(wide, had[0]))
            run.price = cast(Tensor, run.price).index_put((rows, start), price.where(ahead, had[1]))
            run.state = last.saved() | {"start": start}
            run.note(count, run.error.index_put((rows, start), error.where(ahead, had[2])))
        run.iterate, run.support = problem.embed(run.estimate), run.estimate != 0
        run.state, run.done = None, 0

    def _search(self, run: Run, full: _Stage, n_iter: int) -> _Stage:
        """All starts, their sizes fixed for the first third; then two of three tune their size."""
        problem, starts, first_round = run.problem, run.iterate.shape[1], n_iter // 3
        stage = full
        factor = _coarse_factor(full, known=run.support is not None) if self.coarse is None else self.coarse
        if problem.known.bounds is not None and isinstance(problem.known.bounds[0], Tensor):
            factor = 1  # they are those of the full grid's pixels
        if factor > 1:
            stage = _Stage(run, tuple(max(1, m // factor) for m in problem.shape))
        exponent = torch.linspace(0, 1, starts) if starts > 1 else torch.full((1,), 0.5)
        size = stage.area * self.smallest ** exponent.to(stage.area)
        stage.begin(_fft.resample(run.iterate, stage.problem.shape, problem.ndim), size, run.state)
        while run.done < n_iter and not run.stopped:
            count = min(_EVERY, n_iter - run.done)
            stage.block(count, self.beta, tune=run.done >= first_round)
            if run.done < first_round <= run.done + count:
                stage.share_size()
            run.estimate = problem.crop(full.problem.embed(full.lift(stage)[0]))
            run.state = stage.saved()
            run.note(count, stage.error.clone())
        return stage


class _Stage(Run):
    """The starts on one grid, with the state of each.

    Attributes:
        size: (patterns, starts) numbers of pixels kept.
        best_size, estimate, error, score: Those of each start's best trial so far.
        area: (patterns, starts) numbers of pixels of the support.
        data: (patterns, starts) numbers of independent data.
        covered: The same, but no more than the strong part of the measured autocorrelation covers.
        power: (patterns, starts) power of Akaike's price that each start compares its sizes by.
        kinds: Which ones of every three starts tune their sizes.
    """

    def __init__(self, run: Run, shape: tuple[int, ...], start: Tensor | None = None) -> None:
        problem, support = run.problem, run.support
        box, ndim, ratios = problem.box, problem.ndim, list(zip(problem.shape, shape, strict=True))
        if problem.whole and support is None and problem.known.support_size is None:
            box = tuple(slice(0, (m + 1) // 2) for m in problem.shape)
        if start is not None and support is not None and support.shape[1] > 1:
            support = support[torch.arange(len(support), device=start.device)[:, None], start]
        if shape != problem.shape:
            box = tuple(slice(b.start * n // m, -(-b.stop * n // m)) for b, (m, n) in zip(box, ratios, strict=True))
            if support is not None:
                pool = (nn.functional.adaptive_max_pool1d, nn.functional.adaptive_max_pool2d)
                pooled = problem.embed(support).flatten(0, 1)[:, None].to(problem.dtype)
                pooled = (*pool, nn.functional.adaptive_max_pool3d)[ndim - 1](pooled, shape)
                support = pooled.reshape(*support.shape[:2], *shape) > 0
        problem = dataclasses.replace(problem, shape=shape, box=box, magnitude=problem.magnitude.resized(shape))
        if support is not None and shape != run.problem.shape:
            support = problem.crop(support)
        items = run.iterate.shape[:2] if start is None else tuple(start.shape)
        super().__init__(problem, run.iterate.new_empty((*items, 0)), run.check_every, run.chunk)
        self.run, self.pixels = run, run.pixels
        self.support, self.numbers = support, 1 if problem.real else 2
        support = problem.everywhere if support is None else support
        area = support.flatten(2).sum(-1).to(problem.dtype)
        if problem.known.support_size is not None:
            area = area.clamp(max=problem.known.support_size)
        correlation = torch.ones_like(area)
        for axis in range(ndim):
            used = _fft.profile(support, axis, ndim)
            place = torch.arange(1, used.shape[-1] + 1, device=used.device)
            length = (used * place).amax(-1) + (used * place.flip(0)).amax(-1) - used.shape[-1]
            correlation *= 2 * length - 1
        if problem.reference is not None:  # its correlation with the rest reaches further
            correlation = torch.full_like(correlation, math.prod(shape))
        data = torch.minimum(problem.magnitude.measured, correlation) / (2 if problem.real else 1)
        self.area, self.data = area.expand(items), data.expand(items)
        each = (problem.magnitude.index((slice(n, n + 1),)) for n in range(problem.patterns))
        strong = torch.cat([reached(pattern.planes()[0], ndim, _STRONG)[0] for pattern in each])
        covered = (2 * _LARGER * strong + 1).prod(-1) / (2 if problem.real else 1)
        self.covered = torch.minimum(self.data, covered)
        self.kinds = [kind for kind in (_AKAIKE, _BAYES) if kind < items[1]] or [0]
        bayes = torch.arange(items[1], device=area.device) % _KINDS == _BAYES
        self.power = torch.where(bayes, self.data.log() / 2, 1.0)
        if start is not None:
            self.kinds, self.power = list(range(items[1])), torch.ones_like(self.power)

    def begin(self, iterate: Tensor, size: Tensor, saved: dict[str, Tensor] | None = None) -> None:
        """Set the state to that of a new search, or to a saved one."""
        self.iterate, self.size = iterate.clone(), size.clone()
        self.estimate = iterate.new_zeros((*size.shape, *self.problem.box_shape))
        self.error, self.score = (torch.full_like(size, math.inf) for _ in range(2))
        self.best_size = size.clone()
        for name, value in (saved or {}).items():
            if name in _STATE:
                setattr(self, name, value.to(size.device).clone())

    def halve(self, count: int) -> None:
        """Later stages work on fewer items, too."""
        self.run.halve(count)
        self.chunk = self.run.chunk

    def saved(self) -> dict[str, Tensor]:
        """The state that `begin` goes on from."""
        return {name: getattr(self, name).clone() for name in _STATE}

    def block(self, count: int, beta: float, tune: bool) -> None:
        """Iterations, then a trial of each start's size; with `tune`, two starts of three also try its neighbours."""
        self.in_pieces(partial(self._settle, count, beta, tune), self.pieces(SparseRRR.arrays))

    def _settle(self, count: int, beta: float, tune: bool, items: Items) -> None:
        """The same of some of the items."""
        crop, largest, (rows, columns) = self.problem.crop, self.area, items
        magnitude, known = self.magnitude(items), self.known(items, whole=False)
        x, size = self.iterate[items].clone(), self.size[items]
        for _ in range(count):
            p = keep_largest(known.project(crop(x)), size, self.problem.ndim)
            y = x.neg()
            crop(y).add_(p, alpha=2)
            x.add_(magnitude.project_fast(y), alpha=beta)
            crop(x).sub_(p, alpha=beta)
        fitted = crop(magnitude.project_fast(x))
        chosen = self._trial(items, fitted, size)
        for kind in self.kinds if tune else ():
            first = columns.start + (kind - columns.start) % _KINDS
            if first >= columns.stop:
                continue
            own, them = slice(first - columns.start, None, _KINDS), (rows, slice(first, columns.stop, _KINDS))
            tuned = tuple(value[:, own] for value in chosen)
            for factor in (1 / _FACTOR, _FACTOR):
                near = torch.minimum(size[:, own] * factor, largest[them])
                tuned = self._better(self._trial(them, fitted[:, own], near), tuned)
            for value, new in zip(chosen, tuned, strict=True):
                value[:, own] = new
        best = self._better(chosen, tuple(getattr(self, name)[items] for name in _BEST))
        self.iterate[items], self.size[items] = x, chosen[2]
        for name, value in zip(_BEST, best, strict=True):
            getattr(self, name)[items] = value

    def _trial(self, items: Items, fitted: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        """Score, error, size and estimate of some starts settled with this size."""
        problem = self.problem
        magnitude, known = self.magnitude(items), self.known(items, whole=False)
        y = keep_largest(known.project(fitted), size, problem.ndim)
        for _ in range(_SETTLE):
            fitted = problem.crop(magnitude.project_fast(problem.embed(y)))
            y = keep_largest(known.project(fitted), size, problem.ndim)
        error = magnitude.residual(y)
        price = size_price(size, self.data[items], self.numbers) ** self.power[items]
        score = _finite(error.clamp(min=_EXACT) * price)
        return score, error, size.clone(), y

    def _better(self, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The better of two trials of each start: the one with the lower score."""
        lower = new[0] < old[0]
        wide = self.problem.over_object(lower)
        return tuple(torch.where(lower if a.ndim == 2 else wide, a, b) for a, b in zip(new, old, strict=True))

    def priced(self, power: Tensor | float) -> Tensor:
        """The errors (patterns, starts) of the best trials times this power of the price of their pixels."""
        price = size_price(self.best_size, self.data, self.numbers) ** power
        return _finite(self.error.clamp(min=_EXACT) * price)

    def leaders(self) -> Tensor:
        """The best start of each kind by Akaike's price, (patterns, at most `_KINDS`), the best of all first."""
        price = size_price(self.best_size, self.covered, self.numbers)
        score, starts = self.error.clamp(min=_EXACT) * price, self.error.shape[1]
        kinds = range(min(_KINDS, starts))
        found = torch.stack([kind + _KINDS * score[:, kind::_KINDS].argmin(1) for kind in kinds], 1)
        return found.gather(1, score.gather(1, found).argsort(dim=1, stable=True))

    def share_size(self) -> None:
        """The starts that tune take the size of the best one, each kind by its own price."""
        for kind in self.kinds:
            best = self.priced(self.power[:, kind, None]).argmin(1, keepdim=True)
            self.size[:, kind::_KINDS] = self.best_size.gather(1, best)

    def lift(self, coarse: _Stage) -> tuple[Tensor, Tensor]:
        """The best estimates of a stage on a coarser grid and their sizes, on this grid."""
        if coarse is self:
            return self.estimate.clone(), self.best_size.clone()
        own = self.problem
        size = coarse.best_size * (math.prod(own.shape) / math.prod(coarse.problem.shape))
        estimate = coarse.estimate.new_zeros((*size.shape, *own.box_shape))

        def refine(items: Items) -> None:
            fine = _fft.resample(coarse.problem.embed(coarse.estimate[items]), own.shape, own.ndim)
            found = self.known(items, whole=False).project(own.crop(fine))
            estimate[items] = keep_largest(found, size[items], own.ndim)

        self.in_pieces(refine, self.pieces(SparseRRR.arrays))
        return estimate, size


def size_price(size: Tensor, data: Tensor, numbers: int) -> Tensor:
    """The factor of the residual that `size` pixels of so many numbers cost by Akaike's criterion: exp(f k / N).

    A finite number: a start that is no worse than any other must not be lost where hardly anything was measured.
    """
    return torch.exp(numbers * size / data).clamp(max=torch.finfo(size.dtype).max ** 0.5)


def _finite(score: Tensor) -> Tensor:
    """What any trial has, and less than that of none."""
    return score.clamp(max=torch.finfo(score.dtype).max)


def _coarse_factor(full: _Stage, known: bool) -> int:
    """The largest power of 2 that leaves `_LEAST_BOX` pixels of the box, or of half of it if it is not known."""
    pixels = min(full.problem.box_shape) / (1 if known else 2)
    return int(2 ** max(0, math.floor(math.log2(pixels / _LEAST_BOX))))
