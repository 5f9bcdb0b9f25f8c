"""Starts one after the other, until one is good enough."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from phaseret.solvers._coherence import together
from phaseret.solvers._counts import expected_error
from phaseret.solvers._run import OF_A_START

if TYPE_CHECKING:
    from phaseret.solvers._problem import Problem
    from phaseret.solvers._run import Run


def in_turn(run: Run, advance: Callable[[Run], None], rules: Sequence[Callable[[Tensor, Tensor], Tensor]]) -> None:
    """Advance the starts of each pattern one by one, until the error of one is small enough by all rules.

    Those that were not begun have an infinite error.
    """
    patterns, starts = run.error.shape
    rows: list[list[Run]] = []
    for p in range(patterns):
        parts: list[Run] = []
        for s in range(starts):
            parts.append(run.part(_pattern(run.problem, p), p, s))
            advance(parts[-1])
            run.stopped = parts[-1].stopped
            if run.stopped or bool((_enough(parts[-1], rules) | (parts[-1].solved >= 0)).all()):
                break
        rows.append(parts)
        if run.stopped:
            break
    _join(run, rows)


def _enough(run: Run, rules: Sequence[Callable[[Tensor, Tensor], Tensor]]) -> Tensor:
    """Which errors (patterns, starts) are small enough; none where the intensities are no counts."""
    expected = expected_error(run.problem.magnitude, run.estimate) * run.problem.counts[:, None]
    return torch.stack([rule(run.error, expected) for rule in rules]).all(0)


def _pattern(problem: Problem, p: int) -> Problem:
    """The problem of one pattern, with a point spread of its own."""
    row = slice(p, p + 1)
    each = {name: getattr(problem, name) for name in ("support", "reference", "counts", "intensity", "mask")}
    own = {name: x if x is None or len(x) == 1 else x[row] for name, x in each.items()}
    return dataclasses.replace(problem, batch=(), magnitude=problem.magnitude.index((row,)), **own)


def _join(run: Run, rows: list[list[Run]]) -> None:
    """Write what the starts came to into the run of all of them."""
    patterns, count = run.error.shape
    each = [part for parts in rows for part in parts]
    for part in each:
        part.solved = part.solved.where(part.solved >= 0, part.iteration)  # nothing of it is left to do
    for name in (*OF_A_START, "level", "solved"):
        found = [x for part in each if isinstance(x := getattr(part, name), Tensor)]
        if not found:
            continue
        empty = math.inf if name == "error" else 0
        whole = torch.full((patterns, count, *found[0].shape[2:]), empty).to(found[0])
        for p, parts in enumerate(rows):
            for s, part in enumerate(parts):
                value = getattr(part, name)
                whole[p, s] = OF_A_START.get(name, 1) if value is None else value[0, 0]
        setattr(run, name, whole)
    run.checked = max((part.checked for part in each), key=len)
    history = torch.full((len(run.checked), patterns, count), math.inf).to(run.error)
    for p, parts in enumerate(rows):
        for s, part in enumerate(parts):
            for k, error in enumerate(part.history):
                history[k, p, s] = error[0, 0]
    run.history = list(history)
    spread = run.problem.magnitude.spread
    if spread is not None:
        # those of the best starts
        best = [min(parts, key=lambda part: float(part.error.nan_to_num(math.inf))) for parts in rows]
        forms = [own.form for part in best if (own := part.problem.magnitude.spread) is not None]
        forms += [spread.form.index(slice(p, p + 1)) for p in range(len(rows), patterns)]
        spread.form = together(forms, run.problem.shape)
