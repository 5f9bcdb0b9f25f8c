"""When a loss looks at values, to ask about what cannot be right: seldom, since looking makes a GPU wait."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from phaseret import _memory

# Calls by the shapes of estimates and of what they are compared with. At some the values are looked at: at first a
# network need not reach the ends of its range.
Calls = Counter[tuple[torch.Size, torch.Size]]
_LOOKS = (1, 10, 100, 1000)
_MOST_SHAPES = 256


def looks(calls: Calls, estimate: Tensor, shapes: tuple[torch.Size, torch.Size]) -> bool:
    """Whether the loss looks in this call: the estimate is the real answer of a network, and values can be seen."""
    if torch.compiler.is_compiling() or estimate.is_complex() or estimate.grad_fn is None:
        return False
    if estimate.is_cuda and torch.cuda.is_current_stream_capturing():
        return False
    if _memory.transformed() or estimate.is_meta:
        return False
    if len(calls) == _MOST_SHAPES:  # those of pictures of any size have no end
        calls.clear()
    calls[shapes] += 1
    return calls[shapes] in _LOOKS


def asked(calls: Calls, shapes: tuple[torch.Size, torch.Size]) -> None:
    """It was asked about: once is enough."""
    calls[shapes] = _LOOKS[-1]
