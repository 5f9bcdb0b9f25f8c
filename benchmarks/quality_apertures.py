"""Planar apertures as detectors see them, by the one command: ``phaseret reconstruct FILE`` and nothing else.

    python -m benchmarks.quality_apertures [NAME ...]

Rings, bars, letters, holes and slits of 60 x 60 pixels with soft edges, lit by a wave whose curvature is up to 1.5 rad
at the rim, in patterns of 240 x 240: about a point between pixels, blurred, counted (3e6 photons; 1e6 for the last
four, which are blurred more and were not looked at when the thresholds of the command were chosen), on a background.
The zero frequency is wrong as files have it: clipped to the ninth largest value, patched by the median of what
surrounds 5 x 5 pixels, or dead in 3 x 3. "correlation" is that with the aperture after twin, shift and phase, "modulus"
that of the moduli. Seconds are of the processor, the start of Python included.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from results.provenance import save

Array = NDArray[Any]
SIZE, GRID, CORNER = 60, 240, 90
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def disc(row: float, column: float, radius: float) -> Array:
    """With an edge of a pixel."""
    return np.clip(radius - np.hypot(ROWS - row, COLUMNS - column) + 0.5, 0, 1)


def ring(row: float, column: float, inner: float, outer: float) -> Array:
    """Between two radii."""
    return disc(row, column, outer) - disc(row, column, inner)


def bar(row: int, column: int, height: int, width: int) -> Array:
    """A rectangle by its corner and its sizes."""
    return 1.0 * ((row <= ROWS) & (row + height > ROWS) & (column <= COLUMNS) & (column + width > COLUMNS))


def leg(row: int, column: int, slope: float, step: int) -> Array:
    """A slanting stroke, up or down."""
    return sum((bar(row + step * k, column + int(slope * k), 1, 7) for k in range(22)), np.zeros((SIZE, SIZE)))


APERTURES: dict[str, Array] = {
    "ring": ring(26, 26, 13, 22),
    "ring and disc": ring(20, 20, 8, 15) + 0.8 * disc(44, 46, 7),
    "broken ring": ring(24, 24, 12, 22) * (1 - bar(20, 30, 8, 28)) + disc(27, 22, 4),
    "annulus": ring(26, 28, 16, 24) * (1 - bar(22, 0, 9, 26)) + bar(24, 26, 5, 8),
    "bars": bar(3, 3, 5, 30) + bar(14, 10, 40, 6) + bar(20, 28, 6, 26) + bar(40, 30, 14, 5),
    "E": bar(4, 4, 40, 8) + bar(4, 12, 7, 18) + bar(20, 12, 6, 13) + bar(37, 12, 7, 18),
    "R": bar(4, 4, 44, 7) + ring(15, 12, 5, 11) * (COLUMNS > 10) + leg(26, 12, 0.7, 1),
    "K": bar(4, 4, 44, 7) + leg(26, 11, 0.8, -1) + leg(26, 11, 0.8, 1),
    "holes": disc(10, 10, 7) + disc(14, 40, 5) + disc(38, 18, 9) + disc(48, 46, 4),
    "zones": sum((ring(28, 28, *r) for r in ((11, 14.5), (18, 20.5), (23, 25))), disc(28, 28, 7))
    * (1 - bar(30, 34, 26, 4)),
    "slits": bar(8, 10, 36, 6) + bar(8, 24, 36, 6) + bar(30, 40, 8, 8),
}
# Curvature, blur, background of a pixel, photons, what is wrong with the zero frequency, where it lies between pixels.
CASES: dict[str, tuple[str, float, float, float, float, str, tuple[float, float]]] = {
    "ring": ("ring", 1.0, 0.5, 0.02, 3e6, "clipped", (0.3, -0.2)),
    "ring and disc": ("ring and disc", 0.5, 0.5, 0.02, 3e6, "patched", (0.1, 0.4)),
    "broken ring": ("broken ring", 0.0, 0.5, 0.02, 3e6, "patched", (-0.3, 0.2)),
    "annulus": ("annulus", 1.5, 0.5, 0.02, 3e6, "dead", (0.25, 0.25)),
    "bars": ("bars", 1.0, 0.5, 0.02, 3e6, "patched", (0.2, 0.1)),
    "E": ("E", 0.0, 0.5, 0.02, 3e6, "clipped", (0.4, -0.1)),
    "R": ("R", 0.8, 0.5, 0.02, 3e6, "patched", (0.0, 0.3)),
    "K": ("K", 1.5, 0.4, 0.02, 3e6, "clipped", (-0.2, -0.4)),
    "holes": ("holes", 0.5, 0.5, 0.02, 3e6, "dead", (0.3, 0.3)),
    "zones": ("zones", 0.0, 0.5, 0.02, 3e6, "patched", (0.1, -0.3)),
    "slits": ("slits", 0.7, 0.5, 0.02, 3e6, "clipped", (0.2, 0.2)),
    "ring, harder": ("ring", 0.6, 0.6, 0.05, 1e6, "patched", (-0.1, 0.2)),
    "slits, harder": ("slits", 1.2, 0.6, 0.05, 1e6, "dead", (0.3, 0.0)),
    "holes, harder": ("holes", 0.0, 0.6, 0.05, 1e6, "clipped", (0.2, -0.3)),
    "E, harder": ("E", 1.0, 0.6, 0.05, 1e6, "patched", (-0.4, 0.1)),
}


def measured(name: str) -> tuple[Array, Array]:
    """The counts, and the complex aperture."""
    of, curvature, blur, background, photons, wrong, (down, across) = CASES[name]
    generator = np.random.default_rng(sum(map(ord, name)))
    y, x = (2 * ROWS / SIZE - 1, 2 * COLUMNS / SIZE - 1)
    modulus = ndimage.gaussian_filter(np.clip(APERTURES[of], 0, 1), 0.5)
    obj = modulus * np.exp(1j * curvature * (y * y + 0.8 * x * x + 0.3 * x * y))
    wave = np.zeros((GRID, GRID), complex)
    inside = slice(CORNER, CORNER + SIZE)
    wave[inside, inside] = obj
    rows, columns = np.mgrid[:GRID, :GRID]
    wave *= np.exp(2j * np.pi * (rows * down + columns * across) / GRID)
    intensity = ndimage.gaussian_filter(np.abs(np.fft.fftshift(np.fft.fft2(wave))) ** 2, blur)
    counts = generator.poisson(intensity * photons / intensity.sum() + background).astype(float)
    c = GRID // 2
    if wrong == "clipped":
        counts = np.minimum(counts, np.sort(counts.ravel())[-9])
    elif wrong == "patched":
        frame = np.ones((7, 7), dtype=bool)
        frame[1:-1, 1:-1] = False
        counts[c - 2 : c + 3, c - 2 : c + 3] = np.median(counts[c - 3 : c + 4, c - 3 : c + 4][frame])
    else:
        counts[c - 1 : c + 2, c - 1 : c + 2] = 1.0
    return counts, obj


def correlation(found: Array, obj: Array) -> float:
    """The largest over shifts, of the estimate and of its twin."""
    sizes = [a + b for a, b in zip(found.shape, obj.shape, strict=True)]
    spectrum = np.fft.fft2(obj, sizes)
    twins = (np.conj(np.fft.fft2(x, sizes)) for x in (found, np.conj(found[::-1, ::-1])))
    most = max(np.abs(np.fft.ifft2(spectrum * twin)).max() for twin in twins)
    return float(most / np.linalg.norm(found) / np.linalg.norm(obj))


def main() -> None:
    """Print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}; default: all")
    names = parser.parse_args().names or list(CASES)
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"there is no aperture {unknown[0]}")
    rows: list[dict[str, object]] = []
    for name in names:
        counts, obj = measured(name)
        with tempfile.TemporaryDirectory() as folder:
            pattern, result = Path(folder) / "pattern.npy", Path(folder) / "result.npz"
            np.save(pattern, counts)
            began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            words = [sys.executable, "-m", "phaseret", "reconstruct", str(pattern), "-o", str(result)]
            subprocess.run(words, check=True, capture_output=True)
            seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began
            found = np.load(result)["obj"]
        _, curvature, blur, _, photons, wrong, _ = CASES[name]
        row = {
            "aperture": name,
            "zero frequency": wrong,
            "curvature": curvature,
            "blur": blur,
            "photons": photons,
            "correlation": round(correlation(found, obj), 3),
            "modulus": round(correlation(np.abs(found), np.abs(obj)), 3),
            "seconds": round(seconds, 1),
        }
        print(row, flush=True)
        rows.append(row)
    if names == list(CASES):
        save("quality_apertures", rows)


if __name__ == "__main__":
    main()
