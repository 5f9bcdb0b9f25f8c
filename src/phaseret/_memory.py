"""How much is worked on at a time, and what is computed again instead of kept: the only file that asks for memory."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from phaseret import _checks

# Pixels whose temporaries stay in the cache of a CPU's core.
_CACHE = 2**17
# Pixels whose temporaries are a small share of any memory.
_SHARE = 2**25
# The share of a card's free memory to plan with: transforms take some for themselves, and some lies in gaps.
_PLANNED = 0.8
# glibc gives the top of the heap back to the system, and takes it anew, in every iteration, unless a block of nearly
# its largest threshold has been freed once; the block itself is never touched.
_HEAP_BYTES = 31 * 2**20
# What libraries say where memory ends, or where sizes are too large to be counted.
_SHORT = re.compile(
    r"allocate memory|[Oo]ut of memory|bad_alloc|nable to allocate|size calculation overflow|calculation overflowed|"
    r"[Mm]aximum allowed dimension|array is too big|multiplication overflow"
)


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
    """The bytes of memory that this process may use, or None where the system does not say.

    That is the machine's memory, or less where a limit of the process (``ulimit -v``, ``ulimit -d``) or of its control
    group (a batch system, a container) says so. The environment variable PHASERET_MEMORY, in GiB, replaces it.
    """
    asked = os.environ.get("PHASERET_MEMORY")
    if asked:
        try:
            return int(_checks.number("PHASERET_MEMORY", float(asked), above=0, at_most=2**33) * 2**30)
        except ValueError:
            _checks.fail(f"PHASERET_MEMORY must be a number of GiB above 0, got {asked!r}", "Use PHASERET_MEMORY=64")
    limits = [*_limits_of_the_process(), *_limits_of_its_group()]
    with contextlib.suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(limits, default=None)


def _limits_of_the_process() -> Iterator[int]:
    resource: Any = importlib.import_module("resource") if os.name == "posix" else None
    for name in ("RLIMIT_AS", "RLIMIT_DATA"):
        if hasattr(resource, name):
            soft = resource.getrlimit(getattr(resource, name))[0]
            if soft != resource.RLIM_INFINITY:
                yield soft


def _limits_of_its_group(system: Path = Path("/")) -> Iterator[int]:
    """Those of the control group, of both versions, and of the groups around it."""
    with contextlib.suppress(OSError):
        for line in (system / "proc/self/cgroup").read_text().splitlines():
            number, _, rest = line.partition(":")
            kinds, _, group = rest.partition(":")
            if number != "0" and "memory" not in kinds.split(","):
                continue
            root, name = ("sys/fs/cgroup", "memory.max")
            if number != "0":
                root, name = ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            inside = Path(group.lstrip("/"))
            for folder in (inside, *inside.parents):
                with contextlib.suppress(OSError, ValueError):  # "max"
                    yield int((system / root / folder / name).read_text())


def check_fits(what: str, needed: float, fix: str, got: str = "", device: torch.device | None = None) -> None:
    """So many bytes are there; `what` would take them, and `got` says of it what the user gave."""
    card = device is not None and device.type == "cuda"
    present = torch.cuda.mem_get_info(device)[1] if card else physical_memory()
    if present is not None and needed > present:
        got = f"{got}: " if got else ""
        _checks.fail(
            f"{what} must fit into memory, got {got}{needed / 2**30:.3g} GiB needed and {present / 2**30:.3g} GiB "
            "present",
            f"{fix}, or raise the limit with PHASERET_MEMORY=GiB",
            MemoryError,
        )


@contextlib.contextmanager
def in_memory(what: str, fix: str) -> Iterator[None]:
    """Where memory ends, the error says for what, and how much of it was asked for."""
    try:
        yield
    except Exception as error:
        asked = shortage(error)
        if asked is None:
            raise
        _checks.fail(f"{what} must fit into memory, got {asked}", fix, MemoryError)


def shortage(error: Exception) -> str | None:
    """How much memory was asked for when it ended, in words; None of an error of another kind, or that says it all."""
    said = " ".join(str(error).split())
    if "must fit into memory" in said:
        return None
    counted = re.search(r"allocate (\d+) bytes", said)
    if counted:
        return f"{int(counted[1]) / 2**30:.3g} GiB asked for at once"
    if named := re.search(r"allocate ([\d.]+ [KMGTPE]?i?B)", said):
        return f"{named[1]} asked for at once"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or _SHORT.search(said):
        return "more asked for than there is"
    return None


def keep_heap() -> None:
    """Let glibc keep the heap of a long run on a CPU: without it each iteration asks the system for its pages anew."""
    torch.empty(_HEAP_BYTES, dtype=torch.uint8)


def transformed() -> bool:
    """Whether a transform of `torch.func` is at work; True where torch, which has no public word for it, cannot say."""
    return bool(getattr(torch._C, "_are_functorch_transforms_active", lambda: True)())


def with_values(**tensors: Any) -> None:
    """No tensor stands for many to `torch.func.vmap`, nor lies on the meta device: there no value can be looked at."""
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            continue
        if value.is_meta:
            rule = f"{name} must hold values, got one on the device 'meta'"
            _checks.fail(rule, "What is found depends on them: use a device with memory")
        if transformed() and _is_mapped(value):
            rule = f"{name} must not be under torch.func.vmap, got one that is"
            _checks.fail(rule, "Pass the whole batch: the axes in front count its items")


def _is_mapped(value: Tensor) -> bool:
    """Whether a tensor stands for many to a `vmap` of `torch.func`, for which torch has no public word."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(value):
        if functorch.is_batchedtensor(value):
            return True
        value = functorch.get_unwrapped(value)
    return False


def recomputed(operator: nn.Module, function: Callable[..., Tensor], *args: Tensor | None) -> Tensor:
    """`function` of the arguments; nothing else is kept for the gradient, for which it is computed again.

    The arguments and the tensors of `operator`, which it uses, must be the same then: autograd looks after what it
    keeps, but not after what is computed again. Random numbers that the operator of a user draws are the same.
    The transforms of `torch.func` cannot compute again: for them everything is kept.
    """
    if transformed():  # then all is kept, which is right, only larger
        return function(*args)

    def state() -> tuple[list[Tensor], list[int]]:
        used = [x for x in (*args, *operator.parameters(), *operator.buffers()) if x is not None]
        return used, [0 if x.is_inference() else x._version for x in used]

    before, versions = ([], None) if torch.compiler.is_compiling() else state()

    def chunk(*given: Tensor | None) -> Tensor:
        used, now = state() if versions is not None else ([], None)
        if now != versions or any(x is not y for x, y in zip(used, before, strict=True)):
            rule = "the tensors of a call with chunk must stay as they are until its backward pass, got changed ones"
            _checks.fail(rule, "Call backward before they change, or leave chunk out", RuntimeError)
        return function(*given)

    of_a_user = not type(operator).__module__.startswith("phaseret.")
    result: Tensor = checkpoint(chunk, *args, use_reentrant=False, preserve_rng_state=of_a_user)
    return result


def in_chunks(
    operator: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor, item_axes: int, chunk: int | None
) -> Tensor:
    """`function` of a batch, computed `chunk` items at a time; `operator` holds the tensors that it uses.

    Only the pieces' inputs are kept for the gradient; everything else is computed again in the backward pass.
    """
    batch = x.shape[: x.ndim - item_axes]
    if chunk is None or batch.numel() <= chunk:
        return function(x)
    pieces = x.reshape(-1, *x.shape[x.ndim - item_axes :]).split(chunk)
    if x.requires_grad and torch.is_grad_enabled():
        results = [recomputed(operator, function, piece) for piece in pieces]
    else:
        results = [function(piece) for piece in pieces]
    result = torch.cat(results)
    return result.reshape(*batch, *result.shape[1:])
