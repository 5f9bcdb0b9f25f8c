"""How fast `certify` proves, alone and in batches, and how fast it finds the distance, on one thread.

    python -m benchmarks.speed_certify

Random objects that fill their box, in milliseconds of the processor for each; the median of several runs. "product" of
two random whole-numbered objects is factored. The last column counts bare matrix products of that size in float64, of
which the proof is made.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

import phaseret as pr
from results.provenance import save_speed

CASES = [(28, 1), (28, 256), (64, 1), (64, 32), (128, 1), (128, 8), (256, 1)]
DISTANCES = [(20, torch.float32), (28, torch.float32), (28, torch.complex64), (40, torch.float32)]


def milliseconds(function: Callable[[], object], repeats: int) -> float:
    times = []
    function()
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return statistics.median(times) * 1e3


def main() -> None:
    """Measure all cases and write results/speed_certify.json."""
    torch.set_num_threads(1)
    draw, rows = torch.Generator().manual_seed(0), []

    def row(what: str, size: int, count: int, found: float) -> None:
        matrix = torch.rand(size, size, dtype=torch.float64)
        bare = milliseconds(lambda: [matrix @ matrix for _ in range(20)], 9) / 20
        rows.append(
            {
                "what": what,
                "pixels": f"{size} x {size}",
                "batch": count,
                "ms_each": round(found / count, 3),
                "matrix_products": round(found / count / bare),
            }
        )
        print(*rows[-1].values(), sep="\t", flush=True)

    for size, count in CASES:
        objects = torch.rand(count, size, size, generator=draw)
        drawn = [torch.rand(count, size, size, generator=draw) for _ in range(9 if size * count < 100 else 3)]
        assert pr.symmetry.certify(objects, distance=False).unique == [True] * count
        proof = statistics.median(milliseconds(lambda x=x: pr.symmetry.certify(x, distance=False), 1) for x in drawn)
        row("proof", size, count, proof)
    for size, dtype in DISTANCES:
        image = torch.randn(size, size, dtype=dtype, generator=draw)
        both = milliseconds(lambda image=image: pr.symmetry.certify(image), 3)
        row(f"proof and distance, {'complex' if dtype.is_complex else 'real'}", size, 1, both)
    for size in (20, 28, 48):
        a, b = (torch.randint(0, 256, (size // 2, size // 2), generator=draw).double() for _ in range(2))
        shape = (size - 1, size - 1)
        image = torch.fft.irfft2(torch.fft.rfft2(a, shape) * torch.fft.rfft2(b, shape), shape).round()
        assert pr.symmetry.certify(image, distance=False).unique is False
        row("product", size - 1, 1, milliseconds(lambda x=image: pr.symmetry.certify(x, distance=False), 1))
    save_speed("speed_certify", rows)


if __name__ == "__main__":
    main()
