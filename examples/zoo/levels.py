"""Protocols that repeat a comparison, with other objects or another level of noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from paper.experiment import Row
from zoo.scoring import best_by_residual, row, shown

SHOWN = 2


class Level:
    """One of the comparisons: the rows of the systems, and their estimates of some objects.

    Args:
        objects: (N, n1, n2) the truth.
        intensities: (N, m1, m2) what the systems are given.
        operator: As for `zoo.scoring.row`.
        symmetric: As for `zoo.scoring.row`.
        further: Gives further columns, from all runs.
        about: Columns that tell this comparison from the others.
    """

    def __init__(
        self,
        objects: Tensor,
        intensities: Tensor,
        *,
        operator: Any = None,
        symmetric: bool = True,
        further: Callable[[Tensor], Row] = lambda runs: {},
        **about: Any,
    ) -> None:
        self.objects, self.intensities, self.operator, self.symmetric = objects, intensities, operator, symmetric
        self.further, self.about = further, about
        self.rows: list[Row] = []
        self.shown = {"truth": self._shown(objects[None])}

    def add(self, name: str, kind: str, system: Callable[[Tensor], Tensor], **more: Any) -> Tensor:
        """Apply a system, which gives the estimates of all runs (K, N, n1, n2), and score it; the estimates."""
        began = time.perf_counter()
        runs = system(self.intensities)
        seconds = time.perf_counter() - began
        how: dict[str, Any] = {"seconds": seconds, "operator": self.operator, "symmetric": self.symmetric}
        about = {**self.about, **self.further(runs), **more}
        self.rows.append(row(name, kind, runs, self.objects, self.intensities, **how, **about))
        self.shown[name] = self._shown(runs)
        return runs

    def _shown(self, runs: Tensor) -> Any:
        best = best_by_residual(runs[:, :SHOWN], self.intensities[:SHOWN], self.operator)
        return shown(best, self.objects[:SHOWN], self.intensities.shape[-2:], self.symmetric)


def together(levels: Sequence[Level]) -> tuple[list[Row], dict[str, Any]]:
    """All rows, and all estimates shown by system: first those of the first level."""
    arrays = {
        name: torch.cat([torch.from_numpy(level.shown[name]) for level in levels]).numpy() for name in levels[0].shown
    }
    return [entry for level in levels for entry in level.rows], arrays
