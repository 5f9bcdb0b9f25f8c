"""The one loop of all projection algorithms, and their base class.

Patterns x starts are one tensor (patterns, starts, *grid). The loop works through it in chunks that fit the cache, a
block of `check_every` iterations at a time; the residual of the estimate is taken at the end of a block and stays on
the device. Within a block there is no branch on values and no synchronisation.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from phaseret import _checks, _fft, _memory
from phaseret._module import Module, called_as
from phaseret.projections import ObjectConstraint
from phaseret.solvers import _compiled
from phaseret.solvers._coherence import refine
from phaseret.solvers._options import Options, complete, made_from, spelled
from phaseret.solvers._problem import Problem, check_complex, check_determined, prepare
from phaseret.solvers._result import Reconstruction, reconstruction

if TYPE_CHECKING:
    from typing_extensions import Unpack

Items = tuple[slice, slice]
# What making a start, or measuring an estimate, needs in arrays.
_ARRAYS_OF_A_START = 6.0
Projection = Callable[[Tensor], Tensor]


class Step(Module):
    """A step of a recipe: an algorithm, or something done to the run between algorithms.

    Args:
        **options: The step's own numbers and words, kept as attributes and shown by `repr`.
    """

    n_iter: int = 0

    def leaves(self) -> Iterator[Step]:
        """The steps it stands for, in order."""
        yield self

    def advance(self, run: Run) -> None:
        """Advance a run by this step."""
        raise NotImplementedError

    def check(self, run: Run) -> None:
        """Refuse a problem that the step is not made for."""

    @spelled
    def forward(self, intensity: Tensor, **options: Unpack[Options]) -> Reconstruction:
        """Reconstruct objects from intensities; the options are those of :func:`reconstruct`."""
        return solve(self, intensity, options)

    __call__ = called_as(forward)


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
        run.iterate_with(self)


class _Nowhere(ObjectConstraint):
    """What is known outside the support: nothing may be there."""

    def project(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def choose(self, x: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
        return outside


class Run:
    """The state of a reconstruction while it runs: what callbacks and the steps of a recipe see.

    Attributes:
        problem: The prepared problem.
        iterate: (patterns, starts, *grid) iterates.
        check_every: Iterations from one residual to the next.
        chunk: Patterns times starts worked on at a time; None as long as nobody said.
        estimate: (patterns, starts, *box) estimates on the support's box.
        error: (patterns, starts) relative magnitude errors of the estimates.
        support: (patterns or 1, starts or 1, *box) support in use; None if all of the box is allowed.
        half: A part of the box to which a step restricts the support for a while; usually None.
        updates: How often the support was updated.
        price: (patterns, starts) factors of the errors that rank starts of different size; None if they are alike.
        collapsed: (patterns, starts) boolean, the starts whose support fell to its least size; None if none was found.
        room: (patterns, 1) how many pixels the object may have; None until a step asks.
        history: The errors at each check.
        checked: The iteration of each check.
        iteration: Iterations done so far.
    """

    def __init__(self, problem: Problem, iterate: Tensor, check_every: int, chunk: int | None) -> None:
        self.problem, self.iterate, self.check_every = problem, iterate, check_every
        self.support, self.half, self.updates = problem.support, cast("Tensor | None", None), 0
        self.price, self.collapsed = cast("Tensor | None", None), cast("Tensor | None", None)
        self.room = cast("Tensor | None", None)
        self.estimate = iterate.new_zeros((*iterate.shape[:2], *problem.box_shape))
        self.error = torch.full(iterate.shape[:2], math.inf, dtype=problem.dtype, device=problem.device)
        self.history: list[Tensor] = []
        self.checked: list[int] = []
        self.iteration = 0
        self.stopped = False
        self.given = False
        self.after_check: list[Callable[[Run], bool | None]] = []
        # Where the run stands: the leaf of the recipe, its iterations done, and its state.
        self.leaf, self.done, self.state = 0, 0, cast("Any", None)
        # How many items to work on at a time, if that was given or memory ended once; the grid that is counted with.
        self.chunk, self._chunk_given, self.pixels = chunk, chunk is not None, math.prod(problem.shape)
        self._told, self.compile = False, False
        # What a state says it belongs to, found out when one is asked for.
        self.made_from: Callable[[], dict[str, str]] = dict

    def state_dict(self) -> dict[str, Any]:
        """Everything that a later :meth:`load_state_dict` needs to go on exactly; tensors are copies."""
        saved = {name: getattr(self, name) for name in _SAVED} | {"made_from": self.made_from()}
        saved |= {name: getattr(self.problem.magnitude.spread, name, None) for name in _SPREAD}
        return {
            name: value.detach().clone() if isinstance(value, Tensor) else list(value) if name in _LISTS else value
            for name, value in saved.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        names = (*_SAVED, *_SPREAD, "made_from")
        if set(state) != set(names):
            fix = "Pass what checkpoint was called with"
            _checks.fail(f"resume must hold {', '.join(names)}, got {', '.join(map(str, state))}", fix)
        now, then = self.made_from(), state["made_from"]
        other = [name for name in now if now[name] != then.get(name)]
        if other:
            fix = "Pass what was passed then, or begin without resume"
            _checks.fail(f"resume must be of this run, got one with another {', '.join(other)}", fix)
        if state["iterate"].shape != self.iterate.shape or state["estimate"].shape != self.estimate.shape:
            got = f"{tuple(state['iterate'].shape)} and {tuple(state['estimate'].shape)}"
            expected = f"{tuple(self.iterate.shape)} and {tuple(self.estimate.shape)}"
            _checks.fail(
                f"resume must hold iterates and estimates of shapes {expected}, got {got}",
                "Pass the same intensity, support and starts as then",
            )
        moved = {
            name: value.to(self.problem.device).clone() if isinstance(value, Tensor) else value
            for name, value in state.items()
        }
        for name in _SAVED:
            setattr(self, name, list(moved[name]) if name in _LISTS else moved[name])
        if self.problem.magnitude.spread is not None:
            self.problem.magnitude.spread.assign(**{name: moved[name] for name in _SPREAD})

    def at_a_time(self, arrays: float) -> int:
        """How many items to work on at a time, each of which needs so many arrays of the grid's size meanwhile."""
        if self.chunk is not None:
            return self.chunk
        return _memory.items_at_a_time(self.problem.device, self.pixels, arrays * self.estimate.element_size())

    def pieces(self, arrays: float, of: Tensor | None = None) -> list[Items]:
        """Slices of the patterns and starts, or of those of another tensor, of at most so many items."""
        (patterns, starts), chunk = (self.error if of is None else of).shape[:2], self.at_a_time(arrays)
        wide, deep = min(starts, chunk), max(1, chunk // starts)
        return [
            (slice(p, min(p + deep, patterns)), slice(s, min(s + wide, starts)))
            for p in range(0, patterns, deep)
            for s in range(0, starts, wide)
        ]

    def in_pieces(self, work: Callable[[Items], None], pieces: list[Items]) -> list[Items]:
        """Do the work for each piece, or for halves where a graphics card's memory ends; the pieces that it came to.

        The work of a piece changes nothing before all of it is done.
        """
        done, todo = [], list(pieces)
        while todo:
            halves = _halves(todo[0])
            if len(halves) == 1:
                work(todo[0])  # an error of memory says what was asked for
            elif not _memory.fits(partial(work, todo[0])):
                self.halve(_count(todo[0]))
                todo = [half for items in todo for half in _halves(items)]
                continue
            done.append(todo.pop(0))
        return done

    def residual(self, estimate: Tensor) -> Tensor:
        """The relative magnitude errors (patterns, s) of any estimates (patterns, s, *n)."""
        error = torch.empty(estimate.shape[:2], dtype=self.problem.dtype, device=estimate.device)

        def measure(items: Items) -> None:
            error[items] = self.problem.magnitude.index(items[:1]).residual(estimate[items])

        self.in_pieces(measure, self.pieces(_ARRAYS_OF_A_START, estimate))
        return error

    def halve(self, count: int) -> None:
        """From now on work on half of so many items at a time, and say so once."""
        self.chunk = max(1, count // 2)
        if not self._told:
            _checks.warn(
                f"the memory of {self.problem.device} ended with {count} patterns x starts at a time; the run goes on "
                f"with {self.chunk}",
                f"Give chunk={self.chunk}, or less, to spare the attempt",
            )
        self._told = True

    def known(self, items: Items, whole: bool) -> ObjectConstraint:
        """What is known of some items, on the support's box or on the whole grid."""
        support = self.support
        if support is not None:
            support = support[tuple(s if n > 1 else slice(None) for s, n in zip(items, support.shape[:2], strict=True))]
        if self.half is not None:
            support = self.half if support is None else support & self.half
        return self.problem.constraint(support, whole)

    def note(self, count: int, error: Tensor) -> None:
        """Note that `count` iterations were done, and their errors; callbacks look and may end the run."""
        self.error = error
        self.done += count
        self.iteration += count
        self.history.append(error)
        self.checked.append(self.iteration)
        self.stopped = any([bool(action(self)) for action in self.after_check])  # noqa: C419  (all of them act)

    def iterate_with(self, algorithm: Algorithm) -> None:
        """Run the iterations of an algorithm that are still to be done."""
        own = itertools.chain(algorithm.parameters(), algorithm.buffers(), vars(algorithm).values())
        learned = any(t.requires_grad for t in own if isinstance(t, Tensor))
        learned = learned or self.iterate.requires_grad or self.problem.requires_grad
        differentiable = learned and torch.is_grad_enabled()
        with torch.set_grad_enabled(differentiable):
            if self.state is None:
                self.state = _entered(algorithm, self.iterate)
                self.iterate = algorithm.leave(self.state)
            # An algorithm of a user may remember or draw something for all items: it sees them at once.
            apart = self._chunk_given or on_the_box(algorithm) or _is_ours(algorithm)
            pieces = [_ALL] if differentiable or not apart else self.pieces(arrays_of(algorithm))
            shortcut = None
            if self.compile and self.problem.magnitude.spread is None and _is_ours(algorithm) and not algorithm.varies:
                shortcut = _compiled.Shortcut()
            while self.done < algorithm.n_iter and not self.stopped:
                count = min(self.check_every, algorithm.n_iter - self.done)
                if differentiable:
                    error = self._block_of_all(algorithm, count)
                else:
                    error = torch.empty_like(self.error)
                    pieces = self.in_pieces(partial(self._block, algorithm, count, error, shortcut), pieces)
                self.iterate = algorithm.leave(self.state)
                self.note(count, error)
            self.iterate = self.iterate.contiguous()
            self.state, self.done = None, 0

    def _block_of_all(self, algorithm: Algorithm, count: int) -> Tensor:
        """So many iterations of all items, with gradients; their errors."""
        worker = _Worker(self, algorithm, _ALL, differentiable=True)
        self.state, p = worker.block(self.state, self.done, count)
        self.estimate = worker.known.project(self.problem.crop(p))
        return worker.magnitude.residual(self.estimate)

    def _block(
        self, algorithm: Algorithm, count: int, error: Tensor, shortcut: _compiled.Shortcut | None, items: Items
    ) -> None:
        """So many iterations of some items, in place; their errors are written to `error`."""
        worker, state = _Worker(self, algorithm, items, differentiable=False), self.state[items]
        if shortcut is not None and not worker.fresh:
            x, p = shortcut.block(*worker.pure(), state, count, whole=_count(items) == error.numel())
        else:  # where memory may end halfway the state stays until then
            x, p = worker.block(state.clone() if state.is_cuda else state, self.done, count)
        estimate = worker.known.project(self.problem.crop(p))
        del p
        error[items] = worker.magnitude.residual(estimate)
        self.estimate[items] = estimate
        if x.data_ptr() != state.data_ptr():
            state.copy_(x)


# All patterns and starts.
_ALL: Items = (slice(None), slice(None))
_LISTS = ("history", "checked")
_SPREAD = ("kernel", "covariance")
_SAVED = (
    "iterate", "estimate", "error", "support", "updates", "price", "collapsed", "iteration", "leaf", "done", "state",
    *_LISTS,
)  # fmt: skip


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


def _count(items: Items) -> int:
    """How many patterns x starts."""
    return math.prod(s.stop - s.start for s in items)


def _halves(items: Items) -> list[Items]:
    """The piece in two: half of its patterns, or of the starts of one; as it is where that cannot be."""
    patterns, starts = items
    if items == _ALL or _count(items) == 1:
        return [items]
    if patterns.stop - patterns.start > 1:
        return [(part, starts) for part in _cut(patterns)]
    return [(patterns, part) for part in _cut(starts)]


def _cut(items: slice) -> list[slice]:
    middle = (items.start + items.stop + 1) // 2
    return [slice(items.start, middle), slice(middle, items.stop)]


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


class _Worker:
    """Some items, and what their iterations need."""

    def __init__(self, run: Run, algorithm: Algorithm, items: Items, differentiable: bool) -> None:
        self.algorithm, self.problem, self.differentiable = algorithm, run.problem, differentiable
        self.magnitude = run.problem.magnitude.index(items[:1])
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


def solve(step: Step, intensity: Tensor, options: Options) -> Reconstruction:
    """Run a step, which may be a recipe of many, on a problem."""
    began = time.perf_counter()
    asked = complete(options)
    if not step.n_iter:
        fix = "Put an algorithm before it, such as 'hio:50'"
        _checks.fail(f"the steps must hold an algorithm, got {step!r}", fix)
    problem = prepare(intensity, asked)
    check_determined(problem)
    starts, shape = asked["starts"] or 1, (problem.patterns, *problem.shape)
    # Of each start at least the iterate is kept.
    needed = (1 if problem.real else 2) * problem.dtype.itemsize * starts * math.prod(shape)
    got = f"{starts} for each of {shape[0]} patterns {shape[1:]}"
    _memory.check_fits("starts", needed, "Use fewer of them", got, problem.device)
    if "constraint" not in options:
        check_complex(problem)
    seeds = _seeds(starts, asked["seed"], asked["generator"])
    run = _begin(step, problem, intensity, seeds, asked)
    bar = _progress_bar(run, step.n_iter) if asked["progress"] else None
    try:
        for leaf in itertools.islice(step.leaves(), run.leaf, None):
            if run.stopped:
                break
            leaf.advance(run)
            run.leaf += 1
    finally:
        if bar is not None:
            bar.close()
    if asked["coherence"] is not None:
        run.error = run.residual(run.estimate)  # by the point spread that was found last
    del run.iterate  # its memory is free for the comparison of the starts
    return reconstruction(run, seeds, recipe=repr(step), seconds=time.perf_counter() - began)


def _begin(step: Step, problem: Problem, intensity: Tensor, seeds: list[int], asked: Options) -> Run:
    """The run before its first iteration, or where the one to resume stood."""
    if problem.device.type == "cpu":
        _memory.keep_heap()
    shape = (problem.patterns, len(seeds), *problem.shape)
    dtype = problem.dtype if problem.real else problem.dtype.to_complex()
    run = Run(problem, torch.empty(shape, dtype=dtype, device=problem.device), asked["check_every"], asked["chunk"])
    run.given, run.compile = asked["init"] is not None, asked["compile"]
    run.made_from = cache(partial(made_from, repr(step), intensity, asked))
    _fill(run, seeds, asked["init"])
    for part in step.modules():
        if isinstance(part, Step):
            part.check(run)
    if asked["resume"] is not None:
        run.load_state_dict(asked["resume"])
    if asked["coherence"] is not None:
        run.after_check.append(partial(refine, asked["coherence"]))
    if asked["checkpoint"] is not None:
        run.after_check.append(_checkpoints(asked["checkpoint"], asked["checkpoint_every"]))
    if asked["callback"] is not None:
        run.after_check.append(asked["callback"])
    return run


def _checkpoints(save: Callable[[dict[str, Any]], None], every: int) -> Callable[[Run], None]:
    """An action that saves the run at the first check after each `every` iterations."""

    def action(run: Run) -> None:
        before = run.checked[-2] if len(run.checked) > 1 else 0
        if run.iteration // every > before // every:
            save(run.state_dict())

    return action


def _seeds(starts: int, seed: int, generator: torch.Generator | None) -> list[int]:
    """One seed per start."""
    if generator is None:
        return [seed + s for s in range(starts)]
    return torch.randint(2**62, (starts,), generator=generator, device=generator.device).tolist()


def _fill(run: Run, seeds: list[int], init: Tensor | None) -> None:
    """Write the iterates (patterns, starts, *grid) that a run starts from.

    Start s is white noise from its seed, the same for every pattern, with the measured magnitude; `init` replaces the
    first start, or all of them if it has an axis of starts.
    """
    problem, x = run.problem, run.iterate
    given = None if init is None else _init(problem, init, len(seeds))
    if given is not None:
        x[:, : given.shape[1]] = given
        if given.shape[1] == len(seeds):
            return
    draw, kind = (torch.rand, torch.float32) if problem.real else (torch.randn, torch.complex64)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    noise = torch.stack([draw(problem.shape, generator=g, dtype=kind) for g in generators]).to(x.device, x.dtype)

    def project(items: Items) -> None:
        rows, columns = items
        if given is not None:
            columns = slice(max(1, columns.start), columns.stop)
        if columns.start < columns.stop:
            some = noise[columns].expand(rows.stop - rows.start, *[-1] * noise.ndim)
            x[rows, columns] = problem.magnitude.index((rows,)).project_fast(some)

    run.in_pieces(project, run.pieces(_ARRAYS_OF_A_START))


def _init(problem: Problem, init: Tensor, starts: int) -> Tensor:
    """The given starts as (patterns, 1 or starts, *grid)."""
    _checks.floating(init=init)
    _checks.rank(problem.ndim, init=init)
    sizes, batch = tuple(init.shape[-problem.ndim :]), tuple(init.shape[: -problem.ndim])
    fits = sizes in (problem.object_shape, problem.shape)
    if not fits or batch not in ((), problem.batch, (*problem.batch, starts)):
        item, each = problem.object_shape, (*problem.batch, *problem.object_shape)
        shapes = " or ".join(map(str, dict.fromkeys((item, each, (*problem.batch, starts, *item)))))
        _checks.fail(
            f"init must have the shape {shapes}, got {tuple(init.shape)}",
            f"Pad or crop it, also to the data's {problem.shape}",
        )
    if init.device != problem.device:
        _checks.fail(f"init must lie on {problem.device}, got {init.device}", "Move it with .to(device)")
    _checks.finite(init=init)
    if problem.real and init.is_complex():
        init = init.real
    count = starts if batch == (*problem.batch, starts) and batch != problem.batch else 1
    init = init.reshape(-1, count, *sizes) if batch else init.reshape(1, 1, *sizes)
    init = init.expand(problem.patterns, *init.shape[1:])
    widths = [w for n, m in zip(sizes[::-1], problem.shape[::-1], strict=True) for w in (0, m - n)]
    return nn.functional.pad(_fft.promote(init), widths)


def _progress_bar(run: Run, total: int) -> Any:
    """A tqdm bar that shows the least residual at each check."""
    tqdm = _checks.extra("tqdm.auto", "tqdm", "demo").tqdm
    bar = tqdm(total=total, unit="it")

    def show(run: Run) -> None:
        bar.update(run.iteration - bar.n)
        bar.set_postfix(residual=f"{float(run.error.amin(-1).mean()):.3g}")

    run.after_check.append(show)
    return bar
