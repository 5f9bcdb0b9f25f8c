"""How much is worked on at a time, and what is computed again instead of kept: the only file that asks for memory."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Pixels whose temporaries stay in the cache of a CPU's core.
_CACHE = 2**17
# Pixels whose temporaries are a small share of any memory.
_SHARE = 2**25
# The share of a card's free memory to plan with: transforms take some for themselves, and some lies in gaps.
_PLANNED = 0.8
# glibc gives the top of the heap back to the system, and takes it anew, in every iteration, unless a block of nearly
# its largest threshold has been freed once; the block itself is never touched.
_HEAP_BYTES = 31 * 2**20


def pixels_at_a_time(device: torch.device, *, cached: bool = True) -> int:
    """How many pixels to work on at a time on this device.

    A CPU works on what fits its cache, unless the work (a matrix product, a file) gains nothing from that.
    """
    return _CACHE if cached and device.type == "cpu" else _SHARE


def items_at_a_time(device: torch.device, pixels: int, pixel_bytes: float) -> int:
    """How many items of so many pixels fit a CPU's cache, or the free memory of a graphics card.

    `pixel_bytes` are those of all arrays that an item needs while it is worked on.
    """
    if device.type != "cuda":
        return max(1, pixels_at_a_time(device) // pixels)
    free, _ = torch.cuda.mem_get_info(device)
    # What PyTorch keeps for itself after earlier runs is free too.
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(1, int(_PLANNED * free / (pixels * pixel_bytes)))


def fits(work: Callable[[], object]) -> bool:
    """Do the work; False where the memory of the graphics card ended, with all that the work held given back."""
    try:
        work()
        return True
    except torch.cuda.OutOfMemoryError:
        pass  # what it holds is free once it is gone
    torch.cuda.empty_cache()
    return False


def physical_memory() -> int | None:
    """The bytes of memory of this machine, or None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def keep_heap() -> None:
    """Let glibc keep the heap of a long run on a CPU: without it each iteration asks the system for its pages anew."""
    torch.empty(_HEAP_BYTES, dtype=torch.uint8)


def recomputed(function: Callable[..., Tensor], *args: Tensor | None) -> Tensor:
    """`function` of the arguments; nothing else is kept for the gradient, for which it is computed again.

    The transforms of `torch.func` cannot compute again: for them everything is kept.
    """
    # torch has no public word for this; without the private one all is kept, which is right, only larger.
    transformed = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)
    if transformed():
        return function(*args)
    result: Tensor = checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False)
    return result


def in_chunks(function: Callable[[Tensor], Tensor], x: Tensor, item_axes: int, chunk: int | None) -> Tensor:
    """`function` of a batch, computed `chunk` items at a time.

    Only the pieces' inputs are kept for the gradient; everything else is computed again in the backward pass.
    """
    batch = x.shape[: x.ndim - item_axes]
    if chunk is None or batch.numel() <= chunk:
        return function(x)
    pieces = x.reshape(-1, *x.shape[x.ndim - item_axes :]).split(chunk)
    if x.requires_grad and torch.is_grad_enabled():
        results = [recomputed(function, piece) for piece in pieces]
    else:
        results = [function(piece) for piece in pieces]
    result = torch.cat(results)
    return result.reshape(*batch, *result.shape[1:])
