"""The one loop of all projection algorithms, and their base class.

It works through patterns x starts in chunks that fit the cache, a block of `check_every` iterations at a time; the
residual of the estimate is taken at the end of a block and stays on the device. Within a block there is no branch on
values and no synchronisation.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from phaseret import _checks
from phaseret._module import Module, called_as
from phaseret.projections import ObjectConstraint
from phaseret.solvers import _compiled
from phaseret.solvers._options import STARTS, Options, spelled
from phaseret.solvers._result import Reconstruction
from phaseret.solvers._run import ALL, Items, Run, count_of, write
from phaseret.solvers._solve import solve
from phaseret.solvers._spectral import Spectral, form_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

Projection = Callable[[Tensor], Tensor]


class Step(Module):
    """A step of a recipe: an algorithm, or something done to the run between algorithms.

    Args:
        **options: The step's own numbers and words, kept as attributes and shown by `repr`.

    Attributes:
        finds_support: Whether a recipe that begins with it needs no support: it finds one.
        starts: How many starts a recipe with it has unless told otherwise.
    """

    n_iter: int = 0
    # Where it is given the starts run one after the other, until the error of one is small enough beside that of noise.
    explained: Callable[[Tensor, Tensor], Tensor] | None = None
    # Whether it works on all starts of a pattern as one, which then cannot run one after the other.
    together: bool = False
    finds_support: bool = False
    # Whether patterns have three axes unless `ndim` says otherwise.
    of_volumes: bool = False
    starts: int = STARTS

    def leaves(self) -> Iterator[Step]:
        """The steps it stands for, in order."""
        yield self

    def advance(self, run: Run) -> None:
        """Advance a run by this step."""
        raise NotImplementedError

    def check(self, run: Run) -> None:
        """Refuse a problem that the step is not made for."""

    def parts(self) -> list[Step]:
        """The steps that it consists of, itself among them, each once however often it is repeated."""
        return [part for part in self.modules() if isinstance(part, Step)]

    def support_of(self, intensity: Tensor, asked: Options) -> Tensor | None:
        """The support of a run that was given none, if the step knows one."""
        return None

    @spelled
    def forward(self, intensity: Tensor, **options: Unpack[Options]) -> Reconstruction:
        """Reconstruct objects from intensities; the options are those of :func:`reconstruct`."""
        return solve(self, intensity, options)

    __call__ = called_as(forward)


class AtOnce(Step):
    """A step that is done at once: a run that was saved goes on before it or behind it."""

    def work(self, run: Run) -> None:
        """Write the estimates, and the iterates to go on from."""
        raise NotImplementedError

    @torch.no_grad()
    def advance(self, run: Run) -> None:
        """Advance a run by this step."""
        if not run.done:  # else it goes on behind it
            self.work(run)
            run.note(self.n_iter, run.residual(run.estimate))
        run.done = 0


class Algorithm(Step):
    """The base class of all projection algorithms.

    A subclass writes `iterate`, and `query` where the magnitude of another point than the iterate is replaced; or,
    where these two do not say it, `step`. They run as written, on the whole grid, and on all patterns and starts at
    once unless the call says `chunk`. What an algorithm remembers from one iteration to the next (a momentum) belongs
    into its state: `enter` stacks it behind the iterate along a third axis, and `leave` takes the iterate out.

    Args:
        n_iter: Number of iterations.
        **options: The algorithm's own numbers, kept as attributes and shown by `repr`.

    Attributes:
        on_the_box: Whether `query` and `iterate` are formulas of each pixel (and of the projections of `known`) that
            are linear where nothing is allowed. Then they are evaluated on the support's box alone, and outside by
            two factors, which is faster. A class says so for itself: its subclasses do not inherit it.
        varies: Whether the formulas, or these factors, depend on the number n of the iteration.
        arrays: How many arrays of the grid's size each item needs while it is worked on, beside what the run keeps: a
            graphics card works on as many items at a time as fit into its free memory so. Subclasses do not inherit
            it either.
        descends: Whether it goes down the misfit of the data, as error reduction does, and does not search: then
            blurred intensities are scaled to the measured ones. Others are given the magnitudes before the blur.

    Example:
        >>> class Averaged(pr.solvers.Algorithm):
        ...     def iterate(self, x, p, known, n):
        ...         return self.share * known.project(p) + (1 - self.share) * x
        >>> intensity = pr.operators.fourier_intensity(torch.rand(8, 8), (16, 16))
        >>> Averaged(50, share=0.7)(intensity, support=torch.ones(8, 8) > 0, constraint="real").obj.shape
        torch.Size([8, 8])
    """

    on_the_box = False
    varies: bool = False
    arrays: float = 16.0
    descends: bool = False

    def __init__(self, n_iter: int = 1000, **options: Any) -> None:
        super().__init__(n_iter=_checks.integer("n_iter", n_iter), **options)

    def query(self, x: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        """The point y whose magnitude is replaced in iteration n, from the iterate x."""
        return x

    def iterate(self, x: Tensor, p: Tensor, known: ObjectConstraint, n: int) -> Tensor:
        """The next iterate, from the iterate x and p = P_M(y), in iteration n (counted from 0)."""
        name = type(self).__name__
        raise NotImplementedError(f"{name} must have iterate(self, x, p, known, n), which gives the next iterate")

    def step(self, x: Tensor, magnitude: Projection, known: ObjectConstraint, n: int) -> tuple[Tensor, Tensor]:
        """One iteration: the next iterate, and the point whose projection on what is known is the estimate."""
        p = magnitude(self.query(x, known, n))
        return self.iterate(x, p.clone(), known, n), p  # a formula in place leaves the estimate alone

    def enter(self, x: Tensor) -> Tensor:
        """The algorithm's own state, from an iterate (patterns, starts, *grid)."""
        return x

    def leave(self, state: Tensor) -> Tensor:
        """The iterate of a state: undoes `enter`."""
        return state

    def advance(self, run: Run) -> None:
        """Advance a run by all iterations."""
        iterate(run, self)


class _Nowhere(ObjectConstraint):
    """What is known outside the support: nothing may be there."""

    def project(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def choose(self, x: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
        return outside


def on_the_box(algorithm: Algorithm) -> bool:
    """Whether the algorithm runs on the support's box alone: its own class says so, and nothing was replaced since."""
    kind = type(algorithm)
    replaced = vars(algorithm).keys() & {"query", "iterate", "step"}
    return vars(kind).get("on_the_box", False) and kind.step is Algorithm.step and not replaced


def _is_ours(algorithm: Algorithm) -> bool:
    """Whether its class is one of this library's, which keep nothing for all items."""
    return type(algorithm).__module__.startswith("phaseret.")


def arrays_of(algorithm: Algorithm) -> float:
    """The arrays that an item needs, as its own class says: those of a class that changes it are not known."""
    return float(vars(type(algorithm)).get("arrays", Algorithm.arrays))


def _entered(algorithm: Algorithm, iterate: Tensor) -> Tensor:
    """The state that the algorithm makes of the iterates, checked."""
    state = algorithm.enter(iterate)
    if not isinstance(state, Tensor) or state.shape[:2] != iterate.shape[:2]:
        got = tuple(state.shape) if isinstance(state, Tensor) else type(state).__name__
        rule = f"enter of {type(algorithm).__name__} must return a tensor (patterns, starts, ...), got {got}"
        _checks.fail(rule, "Stack what belongs to each iterate along a third axis", TypeError)
    return state


def _stepped(algorithm: Algorithm, x: Tensor, found: Any) -> tuple[Tensor, Tensor]:
    """What a step of the algorithm gave for the state x, checked."""
    name = type(algorithm).__name__
    if not isinstance(found, tuple) or len(found) != 2 or not all(isinstance(part, Tensor) for part in found):
        kinds = [type(part).__name__ for part in found] if isinstance(found, tuple) else type(found).__name__
        rule = f"step of {name} must return two tensors, the next iterate and the point to estimate from, got {kinds}"
        _checks.fail(rule, "Return what iterate gives, and p", TypeError)
    if found[0].shape != x.shape or found[0].dtype != x.dtype:
        rule = f"the next iterate of {name} must be {x.dtype} of shape {tuple(x.shape)}"
        _checks.fail(f"{rule}, got {found[0].dtype} of shape {tuple(found[0].shape)}", "Look at iterate and step")
    return found


def iterate(run: Run, algorithm: Algorithm) -> None:
    """Run the iterations of an algorithm that are still to be done."""
    own = itertools.chain(algorithm.parameters(), algorithm.buffers(), vars(algorithm).values())
    learned = any(t.requires_grad for t in own if isinstance(t, Tensor))
    learned = learned or run.iterate.requires_grad or run.problem.requires_grad
    differentiable = learned and torch.is_grad_enabled()
    if differentiable and run.tolerance is not None:
        fix = "Detach what requires one, or leave it out"
        _checks.fail("tolerance must be None where a gradient is asked for, got one", fix)
    with torch.set_grad_enabled(differentiable):
        way = _way(run, algorithm)
        if run.state is None:
            way.enter()
        # An algorithm of a user may remember or draw something for all items: it sees them at once.
        apart = run.chunk_given or on_the_box(algorithm) or _is_ours(algorithm)
        pieces = [ALL] if differentiable or not apart else run.pieces(way.arrays)
        left = run.error.numel()  # in the pieces
        while run.done < algorithm.n_iter and not run.over:
            if run.left < left:
                pieces = run.unsolved(run.at_a_time(way.arrays) if apart else left)
                left = run.left
            count = min(run.check_every, algorithm.n_iter - run.done)
            if differentiable:
                error = _block_of_all(run, algorithm, count)
            else:
                error = run.error.clone()
                pieces = run.in_pieces(partial(way.block, count, error), pieces)
            if run.after_check:
                run.iterate = way.leave()
            run.note(count, error, leave=True)
        run.iterate = way.leave().contiguous()
        run.state, run.done = None, 0


def _way(run: Run, algorithm: Algorithm) -> _Direct | Spectral:
    """How the iterations run: on spectra where starts may leave and the algorithm is of that kind."""
    if run.tolerance is not None and run.problem.magnitude.spread is None:
        form = form_of(algorithm) if on_the_box(algorithm) and _is_ours(algorithm) else None
        if form is not None:
            return Spectral(run, algorithm, form)
    return _Direct(run, algorithm)


def _block_of_all(run: Run, algorithm: Algorithm, count: int) -> Tensor:
    """So many iterations of all items, with gradients; their errors."""
    worker = _Worker(run, algorithm, ALL, differentiable=True)
    run.state, p = worker.block(run.state, run.done, count)
    run.estimate = worker.known.project(run.problem.crop(p))
    return worker.magnitude.residual(run.estimate)


class _Direct:
    """How iterations run as the algorithm says them; without a tolerance compiled, if that is asked for."""

    def __init__(self, run: Run, algorithm: Algorithm) -> None:
        self.run, self.algorithm, self.arrays = run, algorithm, arrays_of(algorithm)
        plain = run.problem.magnitude.spread is None and _is_ours(algorithm) and not algorithm.varies
        self.shortcut = _compiled.Shortcut() if run.compile and plain and run.tolerance is None else None

    def enter(self) -> None:
        """Make the state of the iterates."""
        self.run.state = _entered(self.algorithm, self.run.iterate)
        self.run.iterate = self.leave()

    def leave(self) -> Tensor:
        """The iterates of the state."""
        return self.algorithm.leave(self.run.state)

    def block(self, count: int, error: Tensor, items: Items) -> None:
        """So many iterations of some items, in place; their errors are written to `error`."""
        run = self.run
        worker, state = _Worker(run, self.algorithm, items, differentiable=False), run.state[items]
        if self.shortcut is not None and not worker.fresh:
            x, p = self.shortcut.block(*worker.pure(), state, count, whole=count_of(items) == error.numel())
        else:  # where memory may end halfway the state stays until then
            x, p = worker.block(state.clone() if state.is_cuda else state, run.done, count)
        estimate = worker.known.project(run.problem.crop(p))
        del p
        error[items] = worker.magnitude.residual(estimate)
        run.estimate[items] = estimate
        write(run.state, items, x)


class _Worker:
    """Some items, and what their iterations need."""

    def __init__(self, run: Run, algorithm: Algorithm, items: Items, differentiable: bool) -> None:
        self.algorithm, self.problem, self.differentiable = algorithm, run.problem, differentiable
        self.magnitude = run.magnitude(items)
        if algorithm.descends:
            self.magnitude = self.magnitude.as_measured()
        self.known = run.known(items, whole=False)
        self._known_whole = partial(run.known, items, whole=True)
        kind = type(algorithm)
        self.queries = kind.query is not Algorithm.query
        self.whole = run.problem.whole
        self.box: tuple[Any, ...] = (..., *run.problem.box)
        self.fast = on_the_box(algorithm) and not differentiable
        # Only a given start can have exact zeros in its spectrum.
        self.fresh = run.iteration == 0 and run.given

    @cached_property
    def known_whole(self) -> ObjectConstraint:
        """What is known, on the whole grid: made when it is needed, because it is as large as an iterate."""
        return self.known if self.problem.whole else self._known_whole()

    def block(self, x: Tensor, first: int, count: int) -> tuple[Tensor, Tensor]:
        """Iterations `first` to `first + count`: the new state, and the point whose projection is the estimate."""
        outside = None
        for n in range(first, first + count):
            p = None  # its memory is free for the next one
            if self.fast:
                if outside is None or self.algorithm.varies:
                    outside = self._outside(n)
                x, p = self._fast_step(x, n, *outside)
            else:
                found = self.algorithm.step(x, self._project, self.known_whole, n)
                x, p = _stepped(self.algorithm, x, found)
            self.fresh = False
        assert p is not None
        return x, p

    def pure(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """An iteration of whatever number, and what it is given before the state."""
        if self.fast:
            given = (self.algorithm, self.known, self.magnitude, self.box, self._outside(0))
            return _compiled.on_the_box, given
        return _compiled.on_the_grid, (self.algorithm, self.known_whole, self.magnitude)

    def _project(self, x: Tensor) -> Tensor:
        if self.differentiable:
            return self.magnitude.project(x)
        return self.magnitude.project_fast(x, zeros=self.fresh)

    def _outside(self, n: int) -> tuple[float, float, float]:
        """Outside the support x becomes a x + b p, and y is c x."""
        nowhere, (x, p) = _Nowhere(), torch.eye(2, dtype=torch.float64)
        c = float(self.algorithm.query(x, nowhere, n)[0]) if self.queries else 1.0
        a, b = self.algorithm.iterate(x, p, nowhere, n).tolist()
        return a, b, c

    def _fast_step(self, x: Tensor, n: int, a: float, b: float, c: float) -> tuple[Tensor, Tensor]:
        """One iteration in place: the formulas on the support's box, their linear part outside."""
        algorithm, known = self.algorithm, self.known
        if self.whole:
            p = self._project(algorithm.query(x, known, n) if self.queries else x)
            return algorithm.iterate(x, p, known, n), p
        inner, y = x[self.box], x
        if self.queries:
            y = x * c
            y[self.box] = algorithm.query(inner, known, n)
        p = self._project(y)
        updated = algorithm.iterate(inner, p[self.box], known, n)
        if a != 1:
            x.mul_(a)
        if b != 0:
            x.add_(p, alpha=b)
        inner.copy_(updated)
        return x, p
