"""The state of a reconstruction while it runs, and how its patterns and starts are worked on in pieces.

Patterns x starts are one tensor (patterns, starts, *grid).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from phaseret import _checks, _memory
from phaseret._output import checksum_of
from phaseret.projections import MagnitudeConstraint, ObjectConstraint
from phaseret.solvers._problem import Problem

# Patterns and starts: slices of both, or the indices (items, 1) of either.
Items = tuple[Any, Any]
# What making a start, or measuring an estimate, needs in arrays.
ARRAYS_OF_A_START = 6.0
# What a start has, and what it means where there is none.
OF_A_START = {"error": math.inf, "estimate": 0.0, "support": True, "price": 1.0, "collapsed": False}
# All patterns and starts.
ALL: Items = (slice(None), slice(None))
_LISTS = ("history", "checked")
_SAVED = (
    "iterate", "estimate", "error", "support", "updates", "price", "collapsed", "level", "bound", "flat", "iteration",
    "leaf", "done", "state", "images", "sigma", "rivals", "solved",
    *_LISTS,
)  # fmt: skip


class Run:
    """The state of a reconstruction while it runs: what callbacks and the steps of a recipe see.

    Where a part of the object is known (`known`), iterates and estimates are the rest of it.

    Attributes:
        problem: The prepared problem.
        iterate: (patterns, starts, *grid) iterates.
        check_every: Iterations from one residual to the next.
        chunk: Patterns times starts worked on at a time; None as long as nobody said.
        estimate: (patterns, starts, *box) estimates on the support's box.
        error: (patterns, starts) relative magnitude errors of the estimates.
        tolerance: The error at which a start is solved; None for none.
        solved: (patterns, starts) the iteration at which each start was solved, or culled; -1 where it is neither.
        left: The number of starts that are neither, of all patterns.
        support: (patterns or 1, starts or 1, *box) support in use; None if all of the box is allowed.
        support_given: Whether the caller gave the support, and no step found it.
        half: A part of the box to which a step restricts the support for a while; usually None.
        updates: How often the support was updated.
        price: (patterns, starts) factors of the errors that rank starts of different size; None if they are alike.
        collapsed: (patterns, starts) boolean, the starts whose support fell to its least size; None if none was found.
        bred: Whether the iterates were mixed (:class:`Breed`) since the last check, and the estimates are older.
        room: (patterns, 1) how many pixels the object may have; None until a step asks.
        level: (patterns, starts) level of the object's modulus; None until a step finds it.
        bound: How many levels the modulus may have; None for any.
        flat: Whether a modulus above half of the level is set to it.
        images: (patterns) how many images have the data, 0 if unknown; None without :class:`Algebraic`.
        sigma: (patterns, 2) the singular values behind it.
        rivals: (patterns, r, *box) the other images, where any pattern has some.
        history: The errors at each check.
        checked: The iteration of each check.
        iteration: Iterations done so far.
        n_iter: Those of the whole recipe.
    """

    def __init__(self, problem: Problem, iterate: Tensor, check_every: int, chunk: int | None) -> None:
        self.problem, self.iterate, self.check_every = problem, iterate, check_every
        self.support, self.half, self.updates = problem.support, cast("Tensor | None", None), 0
        self.price, self.collapsed = cast("Tensor | None", None), cast("Tensor | None", None)
        self.room, self.bred = cast("Tensor | None", None), False
        self.level, self.bound, self.flat = cast("Tensor | None", None), cast("float | None", None), False
        self.images, self.sigma = cast("Tensor | None", None), cast("Tensor | None", None)
        self.rivals = cast("Tensor | None", None)
        self.estimate = iterate.new_zeros((*iterate.shape[:2], *problem.box_shape))
        self.error = torch.full(iterate.shape[:2], math.inf, dtype=problem.dtype, device=problem.device)
        self.tolerance: float | None = None
        self.solved = torch.full(iterate.shape[:2], -1, device=problem.device)
        self.left = self.solved.numel()
        self.history: list[Tensor] = []
        self.checked: list[int] = []
        self.iteration, self.n_iter = 0, 0
        self.stopped = False
        self.given = False
        self.support_given = True
        self.after_check: list[Callable[[Run], bool | None]] = []
        # Where the run stands: the leaf of the recipe, its iterations done, and its state.
        self.leaf, self.done, self.state = 0, 0, cast("Any", None)
        # How many items to work on at a time, if that was given or memory ended once; the grid that is counted with.
        self.chunk, self.chunk_given, self.pixels = chunk, chunk is not None, math.prod(problem.shape)
        self._told, self.compile = False, False
        # What a state says it belongs to, found out when one is asked for.
        self.made_from: Callable[[], dict[str, str]] = dict

    def state_dict(self) -> dict[str, Any]:
        """Everything that a later :meth:`load_state_dict` needs to go on exactly; tensors are copies."""
        saved = {name: getattr(self, name) for name in _SAVED} | {"made_from": self.made_from()}
        spread = self.problem.magnitude.spread
        saved["spread"] = None if spread is None else spread.state_dict()
        copied = {
            name: value.detach().clone() if isinstance(value, Tensor) else list(value) if name in _LISTS else value
            for name, value in saved.items()
        }
        return copied | {"checksum": checksum_of(copied)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        names = (*_SAVED, "spread", "made_from", "checksum")
        if set(state) != set(names):
            fix = "Pass what checkpoint was called with"
            _checks.fail(f"resume must hold {', '.join(names)}, got {', '.join(map(str, state))}", fix)
        if state["checksum"] != checksum_of({name: value for name, value in state.items() if name != "checksum"}):
            fix = "Load it anew, or begin without resume"
            _checks.fail("resume must be as checkpoint was called with it, got one that was changed or is damaged", fix)
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
        self.left = int((self.solved < 0).sum())
        if self.problem.magnitude.spread is not None:
            kept = {name: value.to(self.problem.device) for name, value in state["spread"].items()}
            self.problem.magnitude.spread.load_state_dict(kept)

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

    def unsolved(self, at_a_time: int) -> list[Items]:
        """The items that are not solved, so many at a time."""
        return self.items(self.solved < 0, at_a_time)

    def items(self, some: Tensor, at_a_time: int) -> list[Items]:
        """The items (patterns, starts) where it is true, so many at a time."""
        rows, columns = (i[:, None].split(at_a_time) for i in some.nonzero(as_tuple=True))
        return list(zip(rows, columns, strict=True)) if rows[0].numel() else []

    def leave(self) -> None:
        """Starts whose error solves them are solved from now on."""
        if self.tolerance is not None:
            now = (self.error <= self.tolerance) & (self.solved < 0)
            self.solved = torch.where(now, self.iteration, self.solved)
            self.left = int((self.solved < 0).sum())

    def cull(self, starts: Tensor) -> None:
        """End some starts (patterns, starts): as ones that were not begun, they have no estimate from now on."""
        self.solved = torch.where(starts, self.iteration, self.solved)
        self.left = int((self.solved < 0).sum())
        self.error = torch.where(starts, math.inf, self.error)
        self.estimate = torch.where(self.problem.over_object(starts), 0.0, self.estimate)

    @property
    def over(self) -> bool:
        """Whether nothing is left to do: a callback said so, or all starts are solved or culled."""
        return self.stopped or not self.left

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
                self.halve(count_of(todo[0]))
                todo = [half for items in todo for half in _halves(items)]
                continue
            done.append(todo.pop(0))
        return done

    def refuse_gradient(self) -> None:
        """For steps through which no gradient comes."""
        if self.problem.requires_grad or self.iterate.requires_grad:
            fix = 'Detach them, or use an algorithm such as schedule="rrr:400"'
            _checks.fail("intensity and options must not require a gradient, got one that does", fix)

    def residual(self, estimate: Tensor) -> Tensor:
        """The relative magnitude errors (patterns, s) of any estimates (patterns, s, *n)."""
        error = torch.empty(estimate.shape[:2], dtype=self.problem.dtype, device=estimate.device)

        def measure(items: Items) -> None:
            error[items] = self.magnitude(items).residual(estimate[items])

        self.in_pieces(measure, self.pieces(ARRAYS_OF_A_START, estimate))
        return error

    def part(self, problem: Problem, p: int, s: int) -> Run:
        """A run of one pattern, with its problem, from one start alone."""
        part = Run(problem, self.iterate[p : p + 1, s : s + 1].clone(), self.check_every, self.chunk)
        part.given, part.compile, part.after_check = self.given, self.compile, self.after_check
        part.support_given = self.support_given
        part.n_iter, part.tolerance = self.n_iter, self.tolerance
        return part

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

    def magnitude(self, items: Items) -> MagnitudeConstraint:
        """What was measured of some items."""
        rows, _ = items
        return self.problem.magnitude.index((rows,) if isinstance(rows, slice) else (rows, 0))

    def known(self, items: Items, whole: bool) -> ObjectConstraint:
        """What is known of some items, on the support's box or on the whole grid."""
        support = self.support
        if self.half is not None:
            support = self.half if support is None else support & self.half
        if support is not None and support.shape[:2].numel() > 1:
            one = slice(None) if isinstance(items[0], slice) else 0
            support = support[tuple(i if n > 1 else one for i, n in zip(items, support.shape[:2], strict=True))]
        known = self.problem.constraint(support, whole)
        if self.level is None:
            return known
        return known.at_level(self.problem.over_object(self.level[items]), self.bound, self.flat)

    def measured(self) -> Tensor:
        """The nearest arrays (patterns, starts, *grid) to the estimates that have the measured magnitudes: P_M x."""
        return self.problem.magnitude.project_fast(self.problem.embed(self.estimate.detach()))

    def to_refine(self) -> Tensor:
        """The estimates, for a step that refines them: made of the iterates where there are none, or older ones."""
        if self.checked and not self.bred:
            return self.estimate
        x = self.problem.magnitude.project_fast(self.iterate) if self.bred else self.iterate
        made = self.known(ALL, whole=False).project(self.problem.crop(x)).clone()
        return made.where(self.problem.over_object(self.solved < 0), self.estimate)

    def note(self, count: int, error: Tensor, leave: bool = False) -> None:
        """Note that `count` iterations were done, and their errors, of which those of solved starts stay.

        With `leave` others are solved now. Callbacks look and may end the run.
        """
        all_left = self.left == self.solved.numel()
        self.error = error if all_left else torch.where(self.solved < 0, error, self.error)
        self.done += count
        self.iteration += count
        self.bred = False
        self.history.append(self.error)
        self.checked.append(self.iteration)
        if leave:
            self.leave()
        self.stopped = any([bool(action(self)) for action in self.after_check])  # noqa: C419  (all of them act)


def count_of(items: Items) -> int:
    """How many patterns x starts."""
    patterns, starts = items
    if isinstance(patterns, Tensor):
        return len(patterns)
    return int((patterns.stop - patterns.start) * (starts.stop - starts.start))


def write(whole: Tensor, items: Items, part: Tensor) -> None:
    """Write what belongs to some items, unless it is there already."""
    if not isinstance(items[0], slice) or whole[items].data_ptr() != part.data_ptr():
        whole[items] = part


def _halves(items: Items) -> list[Items]:
    """The piece in two: half of its patterns, or of the starts of one; as it is where that cannot be."""
    if items is ALL or count_of(items) == 1:
        return [items]
    patterns, starts = items
    if isinstance(patterns, Tensor):
        return list(zip(patterns.tensor_split(2), starts.tensor_split(2), strict=True))
    if patterns.stop - patterns.start > 1:
        return [(part, starts) for part in _cut(patterns)]
    return [(patterns, part) for part in _cut(starts)]


def _cut(items: slice) -> list[slice]:
    middle = (items.start + items.stop + 1) // 2
    return [slice(items.start, middle), slice(middle, items.stop)]
