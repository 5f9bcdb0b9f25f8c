"""How all speed benchmarks measure: one thread, interleaved rounds in one run, medians, ratios.

The candidates of a case take turns within each round, so that a slow moment of the machine hits all of them; each
ratio is the median over rounds of the candidate's time divided by the reference's time in the same round.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


def compare(
    candidates: dict[str, Callable[[], object]], reference: str, *, seconds: float = 4.0, least_rounds: int = 9
) -> dict[str, dict[str, float]]:
    """Median milliseconds and median ratio to `reference` of each candidate, measured side by side."""
    cuda = torch.cuda.is_available()

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


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = models[0] if models else name
    return {
        "cpu": name,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def commit() -> str:
    """The commit of the working tree, with a + if it has changes."""
    try:
        text = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "src"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return text.strip() + ("+" if dirty.strip() else "")


def save(name: str, rows: list[dict[str, object]], arguments: Sequence[str] | None = None) -> None:
    """Write results/NAME.json, complete or not at all; `arguments` make just this file, if those given make more."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    script = Path(sys.argv[0]).resolve()
    root = Path(__file__).resolve().parents[1]
    shown = script.relative_to(root) if script.is_relative_to(root) else script.name
    command = " ".join(["python", str(shown), *(sys.argv[1:] if arguments is None else arguments)])
    text = json.dumps({"command": command, "commit": commit(), "hardware": machine(), "rows": rows}, indent=1)
    path.with_suffix(".tmp").write_text(text + "\n")
    path.with_suffix(".tmp").replace(path)
