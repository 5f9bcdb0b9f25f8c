"""Systems of the leaderboard, compared on equal data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

import phaseret as pr
from experiments import Row
from experiments.pictures import as_pixels
from experiments.scoring import best_by_residual, freedom, row


class Board:
    """Systems compared on equal data: their rows, and their estimates of the first objects as bytes.

    Args:
        objects: (N, n1, n2) the truth.
        intensities: (N, m1, m2) what the systems are given.
        shown: Number of objects whose estimates are kept as images.
        operator: As for `row`.
        symmetric: As for `row`.
        about: Columns that all rows have.
    """

    def __init__(
        self,
        objects: Tensor,
        intensities: Tensor,
        *,
        shown: int,
        operator: Any = None,
        symmetric: bool = True,
        **about: Any,
    ) -> None:
        self.objects, self.intensities, self.shown, self.about = objects, intensities, shown, about
        self.operator, self.symmetric = operator, symmetric
        self.rows: list[Row] = []
        self.arrays = {"truth": self.picture(objects[None])}

    def enter(self, system: str, kind: str, runs: Tensor, seconds: float, show: bool = True, **about: Any) -> None:
        """A row from the estimates of all runs, (K, N, n1, n2); if there are fewer, those of the first objects."""
        count = runs.shape[1]
        how: dict[str, Any] = {"seconds": seconds, "operator": self.operator, "symmetric": self.symmetric}
        of = self.objects[:count], self.intensities[:count]
        self.rows.append(row(system, kind, runs, *of, **how, **self.about, **about))
        if show:
            self.arrays[system] = self.picture(runs)

    def time(self, system: str, kind: str, solve: Callable[[Tensor], Tensor], **about: Any) -> None:
        """Apply a system, which gives the estimates of all runs, and enter it."""
        began = time.perf_counter()
        runs = solve(self.intensities)
        self.enter(system, kind, runs, time.perf_counter() - began, **about)

    def picture(self, runs: Tensor) -> Any:
        """The modulus of the run that fits the data best, aligned, for the first objects."""
        runs = runs[:, : self.shown]
        objects, intensities = self.objects[: runs.shape[1]], self.intensities[: runs.shape[1]]
        best = best_by_residual(runs, intensities, self.operator)
        return as_pixels(pr.symmetry.align(best, objects, **freedom(intensities, self.symmetric)).aligned.abs())


def together(boards: Sequence[Board]) -> tuple[list[Row], dict[str, Any]]:
    """All rows, and all estimates shown by system: first those of the first board."""
    arrays = {name: np.concatenate([board.arrays[name] for board in boards]) for name in boards[0].arrays}
    return [entry for board in boards for entry in board.rows], arrays
