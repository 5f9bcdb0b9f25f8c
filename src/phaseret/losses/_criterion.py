"""What all losses share: distances of single pixels and reductions over items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks

Criterion = str | Callable[[Tensor, Tensor], Tensor]

CRITERIA = ("mse", "l1", "huber")
REDUCTIONS = ("mean", "sum", "none")


def check_criterion(where: str, criterion: Any) -> None:
    """The criterion is a known word or a callable."""
    if not callable(criterion):
        _checks.choice(where, "criterion", criterion, CRITERIA)


def check_reduction(where: str, reduction: Any) -> None:
    """The reduction is a known word."""
    _checks.choice(where, "reduction", reduction, REDUCTIONS)


def pixelwise(where: str, criterion: Criterion, a: Tensor, b: Tensor) -> Tensor:
    """Distance of each pixel of a and b, real and with finite gradients."""
    check_criterion(where, criterion)
    if callable(criterion):
        values = criterion(a, b)
        if not isinstance(values, Tensor) or values.shape != a.shape or values.is_complex():
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            _checks.fail(
                where,
                f"criterion must return one real value a pixel, shape {tuple(a.shape)}, got {got}",
                "A torch.nn loss does so with reduction='none'",
            )
        return values
    residual = a - b
    if criterion == "mse":
        return residual.real.square() + residual.imag.square() if residual.is_complex() else residual.square()
    distance = residual.abs()
    if criterion == "l1":
        return distance
    return torch.where(distance < 1, distance.square() / 2, distance - 0.5)


def reduce_items(per_item: Tensor, reduction: str) -> Tensor:
    """The mean or sum over all items, or the items as they are."""
    if reduction == "mean":
        return per_item.mean()
    return per_item.sum() if reduction == "sum" else per_item
