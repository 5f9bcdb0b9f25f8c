"""Distances of single pixels, which the losses share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from phaseret import _checks

Word = Literal["mse", "l1", "huber"]
Criterion = Word | Callable[[Tensor, Tensor], Tensor]


def check_criterion(criterion: Any) -> None:
    """The criterion is a known word or a callable."""
    if not callable(criterion):
        _checks.choice("criterion", criterion, get_args(Word))


def pixelwise(criterion: Criterion, a: Tensor, b: Tensor) -> Tensor:
    """Distance of each pixel of a and b, real and with finite gradients."""
    check_criterion(criterion)
    if callable(criterion):
        values = criterion(a, b)
        if not isinstance(values, Tensor) or values.shape != a.shape or values.is_complex():
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            _checks.fail(
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


def poisson_floor(counts: Tensor) -> Tensor:
    """The background that keeps the logarithm of a dark pixel finite: machine precision times the item's mean count."""
    limits = torch.finfo(counts.dtype)
    return (limits.eps * counts.mean(tuple(range(1, counts.ndim)), keepdim=True)).clamp_min(limits.tiny)


def poisson_pixels(expected: Tensor, counts: Tensor) -> Tensor:
    r"""Minus the log-likelihood of counts Y where I > 0 are expected: :math:`I - Y \log I + \log \Gamma(Y + 1)`.

    Evaluated as :math:`Y (r - \log(1 + r))`, r = I / Y - 1, and a term of the data alone, because in single precision
    the textbook sum loses all digits at bright pixels.
    """
    some = counts > 0
    y = torch.where(some, counts, 1)
    r = (expected - y) / y
    logarithm = torch.where(r < -0.5, (expected / y).log(), r.clamp_min(-0.5).log1p())
    # log(Y!) - Y log Y + Y: Stirling's series where it is exact to double precision.
    large = y.clamp_min(64)
    stirling = (2 * math.pi * large).log() / 2 + 1 / (12 * large) - 1 / (360 * large**3) + 1 / (1260 * large**5)
    small = y.clamp_max(64)
    term = torch.where(y > 64, stirling, torch.lgamma(small + 1) - small * small.log() + small)
    return torch.where(some, y * (r - logarithm) + term, expected)
