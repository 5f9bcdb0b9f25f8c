"""How all benchmarks measure: one thread, interleaved rounds in one run, medians, ratios; the peak of allocations.

The candidates of a case take turns within each round, so that a slow moment of the machine hits all of them; each
ratio is the median over rounds of the candidate's time divided by the reference's time in the same round. All find
a heap that glibc keeps: else a bare pair of large transforms may ask the system for its pages anew in every call, which
takes as long as the transforms, and the ratios would depend on what ran before.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile


def compare(
    candidates: dict[str, Callable[[], object]], reference: str, *, seconds: float = 4.0, least_rounds: int = 9
) -> dict[str, dict[str, float]]:
    """Median milliseconds and median ratio to `reference` of each candidate, measured side by side."""
    cuda = torch.cuda.is_available()
    torch.empty(31 * 2**20, dtype=torch.uint8)  # freed at once: from now on glibc keeps as much

    def once(function: Callable[[], object], repeats: int) -> float:
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(repeats):
            function()
        if cuda:
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / repeats

    repeats = {}
    for name, function in candidates.items():
        once(function, 1)
        repeats[name] = max(1, round(0.02 / once(function, 1)))
    rounds: dict[str, list[float]] = {name: [] for name in candidates}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rounds[reference]) < least_rounds:
        for name, function in candidates.items():
            rounds[name].append(once(function, repeats[name]))
    base = rounds[reference]
    result = {}
    for name, times in rounds.items():
        ratios = sorted(t / b for t, b in zip(times, base, strict=True))
        result[name] = {
            "ms": statistics.median(times) * 1e3,
            "ratio": statistics.median(ratios),
            "ratio_low": ratios[len(ratios) // 10],
            "ratio_high": ratios[-1 - len(ratios) // 10],
            "rounds": len(times),
        }
    return result


def allocated(function: Callable[[], object]) -> int:
    """Bytes that torch hands out at most while the function runs, beyond those that are out before."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        function()
    # One "[memory]" event for each allocation and release.
    events = sorted((e.start_ns(), e.nbytes()) for e in seen.profiler.kineto_results.events() if e.name() == "[memory]")
    return max(itertools.accumulate(size for _, size in events))
