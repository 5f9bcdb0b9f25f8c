"""Starts one after the other, until one is good enough."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from phaseret.solvers._counts import expected_error

if TYPE_CHECKING:
    from phaseret.solvers._loop import Run
    from phaseret.solvers._problem import Problem

_OF_A_START = ("estimate", "error", "support", "price", "collapsed", "level")


def in_turn(run: Run, advance: Callable[[Run], None], limit: float) -> None:
    """Advance the starts of each pattern one by one, until the misfit of one is at most `limit`.

    Those that were not begun have an infinite error.
    """
    patterns, starts = run.error.shape
    rows: list[list[Run]] = []
    for p in range(patterns):
        problem = _pattern(run.problem, p)
        parts: list[Run] = []
        for s in range(starts):
            parts.append(run.part(problem, p, s))
            advance(parts[-1])
            run.stopped = parts[-1].stopped
            if run.stopped or bool((misfit(parts[-1]) <= limit).all()):
                break
        rows.append(parts)
        if run.stopped:
            break
    _join(run, rows)


def misfit(run: Run) -> Tensor:
    """The errors (patterns, starts) over those that counting noise leaves; nan where the intensities are no counts."""
    ratio = run.error / expected_error(run.problem.magnitude, run.estimate)
    return torch.where(run.problem.counts[:, None], ratio, math.nan)


def _pattern(problem: Problem, p: int) -> Problem:
    """The problem of one pattern."""
    if problem.patterns == 1:
        return problem
    row, support = slice(p, p + 1), problem.support
    support = support if support is None or len(support) == 1 else support[row]
    magnitude = problem.magnitude.index((row,))
    return dataclasses.replace(problem, batch=(), magnitude=magnitude, support=support, counts=problem.counts[row])


def _join(run: Run, rows: list[list[Run]]) -> None:
    """Write what the starts came to into the run of all of them."""
    patterns, count = run.error.shape
    each = [part for parts in rows for part in parts]
    for name in _OF_A_START:
        found = [x for part in each if isinstance(x := getattr(part, name), Tensor)]
        if not found:
            continue
        empty = math.inf if name == "error" else 0
        whole = torch.full((patterns, count, *found[0].shape[2:]), empty).to(found[0])
        for p, parts in enumerate(rows):
            for s, part in enumerate(parts):
                value = getattr(part, name)
                whole[p, s] = 1 if value is None else value[0, 0]
        setattr(run, name, whole)
    run.checked = max((part.checked for part in each), key=len)
    history = torch.full((len(run.checked), patterns, count), math.inf).to(run.error)
    for p, parts in enumerate(rows):
        for s, part in enumerate(parts):
            for k, error in enumerate(part.history):
                history[k, p, s] = error[0, 0]
    run.history = list(history)
    spread = run.problem.magnitude.spread
    if spread is not None and len(rows) == patterns > 1:
        each_spread = [parts[0].problem.magnitude.spread for parts in rows]
        for name in ("kernel", "covariance"):
            values = [value for x in each_spread if (value := getattr(x, name)) is not None]
            if values:
                spread.assign(**{name: torch.cat(values)})
