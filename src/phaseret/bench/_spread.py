"""By how much the scores of a row may differ where the same is run on another machine."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from scipy.special import stdtrit

from phaseret._words import finite
from phaseret.bench._scores import SCORES

# A difference by chance alone is larger with this probability: that of three standard deviations.
_CHANCE = math.erfc(3 / math.sqrt(2))


def least(score: str) -> float:
    """The spread where chance has no part: in dB for a PSNR."""
    return 0.1 if score.endswith("psnr") else 0.005


def spreads(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By how much each score of a "run" and of the "mean" over all of them may differ on another machine.

    What chance does is seen twice: between the seeds of an item, and between a run and its twin. Both go into one
    variance, from which Student's t makes limits for the difference of two runs, and of two means.
    """
    items = [[run for run in runs if run["item"] == item] for item in dict.fromkeys(run["item"] for run in runs)]
    independent = [[*{_told(run): run for run in of}.values()] for of in items]
    found, part = {}, shared(runs)
    for score in (score for score in SCORES if score in runs[0]):
        squares, degrees, largest = 0.0, 0, 0.0
        for of, different in zip(items, independent, strict=True):
            values = _numbers([run[score] for run in different])
            pairs = [_numbers([run[score], run["twin"][score]]) for run in of if "twin" in run]
            if score == "raw_psnr":  # which of the copies that the data cannot tell apart is found is chance, too
                pairs.append(_numbers([different[0][score], different[0]["psnr"]]))
            for group in (values, *pairs):
                squares += sum((value - sum(group) / len(group)) ** 2 for value in group)
                degrees += max(0, len(group) - 1)
            seen = [*values, *(value for pair in pairs for value in pair)]
            largest = max(largest, max(seen, default=0.0) - min(seen, default=0.0))
        limit = float(stdtrit(degrees, 1 - _CHANCE / 2)) * math.sqrt(2 * squares / degrees) if degrees else 0.0
        found[score] = {
            "run": short(max(least(score), limit, largest)),
            "mean": short(max(least(score), limit * part)),
        }
    return found


def shared(runs: Sequence[dict[str, Any]]) -> float:
    """The part of the spread of a run that is left in the mean of these: 1 / sqrt(n) of n that differ."""
    same = Counter((run["item"], _told(run)) for run in runs)
    return math.sqrt(sum((count / len(runs)) ** 2 for count in same.values()))


def _told(run: dict[str, Any]) -> tuple[float | None, ...]:
    """What tells runs of an item apart: entries that draw nothing give the same with every seed."""
    return tuple(finite(run.get(score)) for score in SCORES)


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [value for value in map(number, values) if math.isfinite(value)]


def number(value: float | None) -> float:
    """A score; None is what a file holds where it was no number."""
    return math.nan if value is None else value


def short(value: Any) -> float:
    """As a report holds it."""
    return float(f"{float(value):.5g}")
