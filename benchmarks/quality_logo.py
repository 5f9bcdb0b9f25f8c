"""A measured pattern, a loose support: which solver shows the right image, and what does its residual say?

The pattern is the ESRF logo of the PyNX example data (courtesy of Yuriy Chushkin, ESRF id10). The known support gives
the reference. A box that is 6 pixels wider on each side lets mixtures of the object and its twin fit better than the
object itself. Reads ``measured/esrf_logo_cdi.npz`` below the folder that PHASERET_DATA_DIR names.

    PHASERET_DATA_DIR=... python -m benchmarks.quality_logo
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

import phaseret as pr
from results.provenance import RESULTS, save

MARGIN = 6
# Every projection algorithm, with as many iterations; the first two are in the picture.
PLAIN = {
    "HIO": "8*(hio:50,er:20)",
    "RAAR": "raar(beta=0.9):520,er:40",
    "ER": "er:560",
    "CHIO": "chio:520,er:40",
    "DM": "dm:520,er:40",
    "RRR": "rrr:520,er:40",
    "ASR": "asr:520,er:40",
    "HPR": "hpr:520,er:40",
    "OSS": "oss:520,er:40",
    "solvent flipping": "sf:520,er:40",
    "charge flipping": "cf:520,er:40",
    "ADMM": "admm:520,er:40",
    "shrinkwrap": "10*(hio:46,er:10,shrinkwrap)",
    "detwin": "detwin:60,hio:460,er:40",
}
SHOWN = 2


def main() -> None:
    """Reconstruct, compare, write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="number of runs of the default recipe")
    seeds = parser.parse_args().seeds
    folder = os.environ.get("PHASERET_DATA_DIR")
    if folder is None:
        print("quality_logo: skipped, PHASERET_DATA_DIR does not name the data folder")
        return
    data = np.load(Path(folder) / "measured" / "esrf_logo_cdi.npz")
    intensity, mask = torch.from_numpy(data["intensity"]), torch.from_numpy(data["valid"])
    tight = torch.from_numpy(data["support"]) > 0
    rows, columns = (tight.any(1 - axis).nonzero() for axis in (0, 1))
    box = torch.zeros_like(tight)
    box[
        int(rows[0]) - MARGIN : int(rows[-1]) + MARGIN + 1, int(columns[0]) - MARGIN : int(columns[-1]) + MARGIN + 1
    ] = True

    def run(name: str, reference: torch.Tensor | None, **options: Any) -> tuple[torch.Tensor, dict[str, Any]]:
        began = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            r = pr.solvers.reconstruct(intensity, mask=mask, constraint="nonnegative", centered=True, **options)
        seconds = time.perf_counter() - began
        obj, correlation = r.obj, 1.0
        if reference is not None:
            obj = pr.symmetry.align(r.obj, reference).aligned
            correlation = float(torch.corrcoef(torch.stack([obj.flatten(), reference.flatten()]))[0, 1])
        row = {
            "name": name,
            "residual": float(r.error),
            "correlation": correlation,
            "pixels": int((r.obj != 0).sum()),
            "starts": len(r.seeds),
            "starts_like_the_best": int((r.agreement > 0.9).sum()),
            "warned": any("not unique" in str(w.message) for w in caught),
            "seconds": seconds,
            "recipe": r.recipe,
        }
        alike = f"{row['starts_like_the_best']}/{row['starts']} starts like the best, warned {row['warned']}"
        print(f"{name:28} R {row['residual']:.4f}, correlation {correlation:.3f}, {alike}, {seconds:.0f} s", flush=True)
        return obj, row

    reference, row = run("known support", None, support=tight, schedule="8*(hio:50,er:20)", starts=2)
    images, table = [reference], [row]
    for name, schedule in PLAIN.items():
        obj, row = run(f"loose box, {name}", reference, support=box, schedule=schedule, starts=2)
        images += [obj] * (len(images) <= SHOWN)
        table.append(row)
    for seed in range(seeds):
        obj, row = run(f"loose box, default, seed {seed}", reference, support=box, seed=1000 * seed)
        images.append(obj)
        table.append(row)
        save("quality_logo", table)
    _picture(images, table[: 1 + SHOWN] + table[1 + len(PLAIN) :], tight)


def _picture(images: list[torch.Tensor], table: list[dict[str, Any]], tight: torch.Tensor) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    place = tight.nonzero()
    low, high = place.amin(0) - 3 * MARGIN, place.amax(0) + 3 * MARGIN
    figure, axes = pyplot.subplots(1, len(images), figsize=(2.2 * len(images), 3.2), layout="constrained")
    for axis, image, row in zip(axes, images, table, strict=True):
        part = image[low[0] : high[0], low[1] : high[1]]
        axis.imshow(part, cmap="gray", vmin=0, vmax=0.8 * float(part.max()))
        title = f"{row['name'].replace(', ', chr(10), 1)}\nR {row['residual']:.3f}, corr. {row['correlation']:.2f}"
        axis.set_title(title, fontsize=8)
        axis.axis("off")
    figure.savefig(RESULTS / "quality_logo.png", dpi=80)


if __name__ == "__main__":
    main()
