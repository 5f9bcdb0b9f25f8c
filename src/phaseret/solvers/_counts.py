"""How large an error counting noise alone leaves."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from phaseret.projections import MagnitudeConstraint

# Counting noise explains an error that is at most so many times what it leaves.
EXPLAINED = 1.3
# The mean of (sqrt(n) - sqrt(mu))^2 of Poisson numbers n is tabulated up to this mean mu, in steps of sqrt(mu).
_LARGEST, _STEPS = 64.0, 1024


@cache
def _table() -> Tensor:
    mean = (torch.arange(_STEPS + 1, dtype=torch.float64) * (math.sqrt(_LARGEST) / _STEPS)).square()[:, None]
    n = torch.arange(256, dtype=torch.float64)
    chance = (torch.special.xlogy(n, mean) - mean - torch.lgamma(n + 1)).exp()
    return (chance * (n.sqrt() - mean.sqrt()).square()).sum(-1)


def root_spread(mean: Tensor) -> Tensor:
    r"""The mean of :math:`(\sqrt{n} - \sqrt{\mu})^2` of Poisson numbers n with these means.

    At large means it is 1/4 + 7 / (64 mu).
    """
    table = _table().to(mean)
    place = mean.clamp(0, _LARGEST).sqrt() * (_STEPS / math.sqrt(_LARGEST))
    low = place.floor().clamp(max=_STEPS - 1)
    index, share = low.long(), place - low
    near = table[index] * (1 - share) + table[index + 1] * share
    return near.where(mean < _LARGEST, 0.25 + 7 / (64 * mean.clamp(min=1)))


def expected_error(magnitude: MagnitudeConstraint, obj: Tensor) -> Tensor:
    """The relative magnitude error that counts with the means |F obj|^2 have on average: (*, n1..nd) -> (*).

    The objects are the rest of one where the constraint has a known part.
    """
    mean = (magnitude.modulus(magnitude.spectrum(obj.detach())) * magnitude._unit).square()
    total = (root_spread(mean) * magnitude.weight).flatten(-magnitude.ndim).sum(-1)
    return (total / magnitude.total).sqrt()
