"""The memory that a reconstruction of a volume needs, in arrays of the volume's size in single precision.

    python -m benchmarks.memory_solvers [--size 256]

Each figure is from a process of its own, beyond the intensity that the caller holds: "allocated" is the most that torch
had handed out at a time, "resident" the most that the system saw, buffers of the transforms and the allocator's
leftovers included.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable

import torch

import phaseret as pr
from benchmarks.timing import allocated
from results.provenance import machine, save

ALGORITHMS = {"hio": pr.solvers.HIO, "raar": pr.solvers.RAAR, "rrr": pr.solvers.RRR}


def kilobytes() -> tuple[int, int]:
    """Resident memory now and at most."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        pages = int(stream.read().split()[1])
    return pages * resource.getpagesize() // 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def volume(size: int) -> torch.Tensor:
    """The intensity of a volume of half the size, made without large intermediates."""
    intensity = torch.empty(size, size, size)
    for k, layer in enumerate(intensity):
        generator = torch.Generator().manual_seed(k)
        layer.exponential_(generator=generator)
    return intensity


def resident(run: Callable[[], object]) -> int:
    """Bytes that the process grew by at most."""
    before, _ = kilobytes()
    run()
    return (kilobytes()[1] - before) * 1024


def measure(name: str, kind: str, size: int, n_iter: int) -> None:
    """Print one figure."""
    torch.set_num_threads(1)
    solver, small = ALGORITHMS[name](n_iter), torch.rand(16, 16, 16)
    options = {"constraint": "nonnegative", "ndim": 3, "starts": 1, "check_every": 2}
    # what a first call loads is not counted
    solver(small, support=torch.ones(8, 8, 8, dtype=torch.bool), **options)
    intensity, support = volume(size), torch.ones(*[size // 2] * 3, dtype=torch.bool)
    count = {"resident": resident, "allocated": allocated}[kind]
    print(count(lambda: solver(intensity, support=support, **options)) / (4 * size**3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="pixels of the data along each axis")
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure, options.size, options.iterations)
        return
    rows: list[dict[str, object]] = []
    script = [sys.executable, "-m", "benchmarks.memory_solvers"]
    how = ["--size", str(options.size), "--iterations", str(options.iterations)]
    for name in ALGORITHMS:
        row: dict[str, object] = {"algorithm": name, "shape": [options.size] * 3}
        for kind in ("allocated", "resident"):
            command = [*script, *how, "--measure", name, kind]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            row[f"arrays {kind}"] = round(float(out), 2)
        rows.append(row)
        print(row, flush=True)
    print(machine())
    save("memory_solvers", rows)


if __name__ == "__main__":
    main()
