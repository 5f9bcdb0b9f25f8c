"""From one value per item to one number: the `reduction` of losses and metrics."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import Tensor

from phaseret import _checks

Reduction = Literal["mean", "sum", "none"]


def check_reduction(reduction: Any) -> None:
    """The reduction is one of the three words."""
    _checks.choice("reduction", reduction, get_args(Reduction))


def reduce(values: Tensor, reduction: Reduction) -> Tensor:
    """The mean or the sum of the values of all items, or the values as they are."""
    if reduction == "mean":
        return values.mean()
    return values.sum() if reduction == "sum" else values
