"""How many objects `certify` proves to be the only ones with their data, and how far the others are at least.

    PHASERET_DATA_DIR=... python -m benchmarks.quality_certify [--digits 10000] [--distances 100]

All objects in single precision, as the library reads them, but for the binary ones. The time is that of the processor
without the distance, the radius that of the first objects of each kind, relative to their norm, where it is computed
(up to 50 x 50 pixels). "own flip" counts the unique ones that have factors that are their own flip.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from skimage import data as pictures
from torch import Tensor

import phaseret as pr
from experiments.images import LOADERS, brightest, tensor
from results.provenance import save


def squares(image: Tensor, size: int, most: int) -> Tensor:
    """Parts of a picture beside each other, the brightest first."""
    found = image.unfold(0, size, size).unfold(1, size, size).reshape(-1, size, size)
    return found[found.flatten(1).sum(1).argsort(descending=True)[:most]]


def kinds(folder: Path | None, digits: int) -> Iterator[tuple[str, Tensor]]:
    """The objects of each row."""
    test = pr.datasets.mnist(None if folder is None else folder / "mnist", train=False)[:digits]
    yield "digits", test
    yield "digits, binary", (test > 0.5).to(torch.uint8)
    phase = torch.rand(test[:1000].shape, generator=torch.Generator().manual_seed(0))
    yield "digits, random phase", torch.polar(test[:1000], 2 * torch.pi * phase)
    yield "digits, made symmetric left to right", torch.cat([test, test.flip(-1)], -1)[:100]
    for name in ("faces", "natural", "galaxies", "cell", "mri", "atoms", "nuclei", "crystals"):
        if folder is not None or name not in ("mri", "nuclei", "crystals"):
            images = LOADERS[name](None if folder is None else folder / "objects")
            yield name, torch.cat([images.training, images.test])[:300]
    sky = brightest(tensor(pictures.hubble_deep_field()).sub(0.1).clamp(min=0))
    for size in (64, 128):
        yield f"galaxies, {size}", squares(sky, size, 40 if size == 64 else 20)
        yield f"natural, {size}", squares(tensor(pictures.camera()), size, 40 if size == 64 else 16)
    draw = torch.Generator().manual_seed(0)
    for size, count in ((28, 500), (64, 40), (128, 5), (256, 1)):
        yield f"random, {size}", torch.rand(count, size, size, generator=draw)
        yield f"random complex, {size}", torch.randn(count, size, size, dtype=torch.complex64, generator=draw)
        yield f"random binary, {size}", (torch.rand(count, size, size, generator=draw) > 0.5).to(torch.uint8)


def main() -> None:
    """Prove all kinds and write results/quality_certify.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=int, default=10_000)
    parser.add_argument("--distances", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    place = os.environ.get("PHASERET_DATA_DIR")
    rows: list[dict[str, object]] = []
    for name, objects in kinds(None if place is None else Path(place), options.digits):
        start = time.process_time()
        proofs = [pr.symmetry.certify(part, distance=False) for part in objects.split(500)]
        seconds = time.process_time() - start
        unique = [verdict for proof in proofs for verdict in proof.unique]
        products = sum(bool(factors) for proof in proofs for factors in proof.factors)
        radius = torch.full((1,), torch.nan)
        if min(objects.shape[1:]) <= 50:
            radius = pr.symmetry.certify(objects[: options.distances]).radius
        rows.append(
            {
                "objects": name,
                "pixels": " x ".join(map(str, objects.shape[1:])),
                "count": len(objects),
                "unique": unique.count(True),
                "own_flip": products - unique.count(False),
                "not_unique": unique.count(False),
                "no_proof": unique.count(None),
                "ms_each": round(seconds / len(objects) * 1e3, 2),
                "radius_median": float(f"{float(radius.median()):.2g}"),
                "radius_min": float(f"{float(radius.min()):.2g}"),
            }
        )
        print(*rows[-1].values(), sep="\t", flush=True)
    save("quality_certify", rows)


if __name__ == "__main__":
    main()
