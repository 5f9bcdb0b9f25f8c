"""Train a network with Lightning: the machinery that all examples share.

`fit` trains, `Patterns` holds the data, `estimate` applies a network, `run_all` packs several trainings on one machine.
Every training

- writes its checkpoints completely or not at all, at the end of each epoch; started again with the same settings it
  goes on from the last one and ends with the weights that it would have had without the interruption,
- draws order and augmentation from seed and epoch alone, and what network and loss draw (dropout) from seed and
  step alone, so that neither the number of workers nor an interruption changes them,
- runs on several devices or machines under ``torchrun``: each step then takes the same images as on one device, but for
  what is left over of the last batch. Batch normalisation sees the whole batch on GPUs, on CPUs each process its share.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

Settings = dict[str, Any]
#: (network, objects, intensities) -> the value to minimise
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]

# What a training may need beside its own settings, and what it means where it is absent.
DEFAULTS = {"seed": 0, "batch_size": 32, "learning_rate": 1e-3, "one_cycle": True, "patience": 20, "bfloat16": False}


# --- data -------------------------------------------------------------------------------------------------------------


class Patterns(Dataset[tuple[Tensor, Tensor]]):
    """Objects and their intensities; a batch of items for a list of indices: (objects, intensities).

    Args:
        objects: (N, n1..nd) tensor, or a dataset such as `SymmetryVariant` that a list of indices gives a batch of.
        measure: From a batch of objects to their intensities.
        intensities: (N, m1..md) what was measured instead, such as noisy patterns, one for each object.
        augment: Tell the objects the epoch before it begins, by their `set_epoch`, so that they are drawn anew.
    """

    def __init__(
        self,
        objects: Any,
        measure: Callable[[Tensor], Tensor],
        intensities: Tensor | None = None,
        augment: bool = False,
    ) -> None:
        if augment and intensities is not None:
            raise ValueError("augment=True moves the objects, and their measured intensities would no longer fit.")
        self.objects, self.measure, self.intensities, self.augment = objects, measure, intensities, augment

    def set_epoch(self, epoch: int) -> None:
        if self.augment:
            self.objects.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index: Any) -> tuple[Tensor, Tensor]:
        objects = self.objects[index]
        return objects, self.measure(objects) if self.intensities is None else self.intensities[index]


class Batches(Sampler[list[int]]):
    """Indices of each batch, in an order that depends on seed and epoch alone; one rank's share of each batch."""

    def __init__(self, data: Patterns, batch_size: int, seed: int | None, rank: int = 0, ranks: int = 1) -> None:
        if batch_size % ranks:
            raise ValueError(f"batch_size must be a multiple of the {ranks} processes, got {batch_size}.")
        self.data, self.batch_size, self.seed, self.rank, self.ranks = data, batch_size, seed, rank, ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch
        self.data.set_epoch(epoch)

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(len(self.data)))
        if self.seed is not None:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(len(order), generator=generator).tolist()
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            # Every rank needs an equal share, or the average of their gradients is not the batch's.
            batch = batch[: len(batch) // self.ranks * self.ranks] or [*batch, *order][: self.ranks]
            yield batch[self.rank :: self.ranks]


# --- training ---------------------------------------------------------------------------------------------------------


class Training(L.LightningModule):
    """A network, what it is trained on, and how."""

    def __init__(self, net: nn.Module, loss: Loss, settings: Settings) -> None:
        super().__init__()
        self.save_hyperparameters({"settings": settings})
        self.net, self.loss, self.settings = net, loss, settings
        self.images, self.seconds = 0, 0.0

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        ranks = self.trainer.world_size
        torch.manual_seed((self.settings["seed"] * 1_000_003 + self.global_step) * ranks + self.global_rank)
        loss = self.loss(self.net, *batch)
        self.seen += len(batch[0]) * ranks
        speed = self.seen / (time.perf_counter() - self.started)
        self.log("loss", loss.detach(), prog_bar=True, on_epoch=True, on_step=False, batch_size=len(batch[0]))
        self.log("images/s", speed, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self.log("validation", self.loss(self.net, *batch), prog_bar=True, batch_size=len(batch[0]), sync_dist=True)

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
        optimizer = torch.optim.Adam(self.net.parameters(), self.settings["learning_rate"], fused=True)
        if not self.settings["one_cycle"]:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.settings["learning_rate"], steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it, which no interruption can cut in two."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        replace(Path(path), lambda temporary: torch.save(checkpoint, temporary))


class Lines(Callback):
    """One line per epoch, where a progress bar would be in the way: in log files and beside other trainings."""

    def __init__(self, title: str) -> None:
        self.title = title

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        assert isinstance(module, Training)
        if not trainer.is_global_zero:
            return
        done = trainer.current_epoch + 1
        left = module.seconds / max(module.images, 1) * module.seen * (trainer.max_epochs - done)
        speed = f"{module.images / module.seconds:.0f} images/s, {left:.0f} s left"
        value = float(trainer.callback_metrics["validation"])
        print(f"{self.title}: epoch {done}/{trainer.max_epochs}, validation {value:.5g}, {speed}", flush=True)


def fit(
    net: nn.Module,
    loss: Loss,
    data: Patterns,
    validation: Patterns,
    settings: Settings,
    folder: Path,
    title: str | None = None,
) -> dict[str, float]:
    """Train the network and leave it with the weights of its best epoch; what the training took.

    Args:
        net: Trained in place.
        loss: What to minimise; also what early stopping looks at on the validation data.
        data: To train on.
        validation: For early stopping and for the choice of the best epoch.
        settings: With epochs and whatever of `DEFAULTS` shall differ; everything else that tells this training from
            another may be in it: a training goes on from a checkpoint of the same settings only.
        folder: For best.ckpt, last.ckpt and the logs.
        title: Print one line per epoch that begins with it, instead of a progress bar.
    """
    settings = complete(settings)
    start = folder / "last.ckpt"
    if start.exists():
        check_resumable(start, settings)
    L.seed_everything(settings["seed"], verbose=False)
    quiet_lightning()
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    model = Training(net.to(memory_format=torch.channels_last), loss, settings)
    every_epoch: dict[str, Any] = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    best = ModelCheckpoint(folder, "best", monitor="validation", **every_epoch)
    last = ModelCheckpoint(folder, "last", **every_epoch)  # after the best one, whose state it holds
    progress: Callback = TQDMProgressBar() if title is None else Lines(title)
    trainer = L.Trainer(
        devices=devices,
        num_nodes=max(1, ranks // devices),
        strategy="ddp" if ranks > 1 else "auto",
        sync_batchnorm=ranks > 1 and torch.cuda.is_available(),
        precision="bf16-mixed" if settings["bfloat16"] else "32-true",
        max_epochs=settings["epochs"],
        callbacks=[best, last, EarlyStopping("validation", patience=settings["patience"]), progress],
        logger=loggers(folder),
        plugins=[WholeFiles()],
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        enable_model_summary=False,
        enable_progress_bar=title is None,
        use_distributed_sampler=False,
    )
    size, seed = settings["batch_size"], settings["seed"]
    if start.exists() and (ended := stopped_early(start, settings["patience"])) is not None:
        load_weights(net, folder / "best.ckpt")
        return report(net, data, *ended)
    trainer.fit(
        model,
        DataLoader(data, batch_size=None, sampler=Batches(data, size, seed, rank, ranks)),
        DataLoader(validation, batch_size=None, sampler=Batches(validation, 256, None, rank, ranks)),
        ckpt_path=start if start.exists() else None,
        weights_only=True,
    )
    load_weights(net, folder / "best.ckpt")
    return report(net, data, model.images, model.seconds, trainer.current_epoch)


def report(net: nn.Module, data: Patterns, images: int, seconds: float, epochs: int) -> dict[str, float]:
    """What a training took."""
    return {
        "images_per_second": round(images / seconds, 1),
        "training_seconds": round(seconds, 1),
        "training_images": len(data),
        "epochs": epochs,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
    }


def stopped_early(checkpoint: Path, patience: int) -> tuple[int, float, int] | None:
    """Images, seconds and epochs of a training whose patience was at its end in this checkpoint; None of others."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    waited = [state["wait_count"] for name, state in saved["callbacks"].items() if name.startswith("EarlyStopping")]
    return (*saved["speed"], saved["epoch"] + 1) if max(waited, default=0) >= patience else None


def loggers(folder: Path) -> list[Logger]:
    """log/version_N/metrics.csv, one for each start, and the same for TensorBoard where that is installed."""
    found: list[Logger] = [CSVLogger(folder, "log")]
    if find_spec("tensorboard") or find_spec("tensorboardX"):
        found.append(TensorBoardLogger(folder, "tensorboard"))
    return found


def complete(settings: Settings) -> Settings:
    """The settings with the defaults of what they leave out."""
    return {**DEFAULTS, **settings}


def load_weights(net: nn.Module, checkpoint: Path) -> None:
    """Give the network the weights that a training left in a checkpoint."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    net.load_state_dict({name.removeprefix("net."): value for name, value in state.items()})


def estimate(net: nn.Module, intensities: Tensor, bfloat16: bool = False, batch_size: int = 250) -> Tensor:
    """What the network makes of the intensities, as it will be used: no gradients, running statistics."""
    net.eval()
    with torch.no_grad(), torch.autocast(intensities.device.type, torch.bfloat16, enabled=bfloat16):
        return torch.cat([net(part) for part in intensities.split(batch_size)])


def bfloat16_is_fast() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = getattr(torch.cpu, "get_capabilities", dict)()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def check_resumable(checkpoint: Path, settings: Settings) -> None:
    """A clear error unless the checkpoint is one of a training with these settings."""
    try:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)["hyper_parameters"]["settings"]
    except (RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError):
        rule = f"{checkpoint} must be a checkpoint of these examples, got a file that cannot be read as one"
        raise ValueError(f"{rule}. Remove it, or give another --out.") from None
    differing = [
        f"{name} {saved.get(name)} there and {settings.get(name)} here"
        for name in {**saved, **settings}
        if saved.get(name) != settings.get(name)
    ]
    if differing:
        raise ValueError(
            f"a training must be continued with its own settings, but {checkpoint} differs: {'; '.join(differing)}. "
            "Give the options it was started with, or another --out."
        )


def quiet_lightning() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings(
        "ignore", ".*(does not have many workers|exists and is not empty|smaller than the logging interval|LeafSpec).*"
    )


# --- several trainings ------------------------------------------------------------------------------------------------


def run_all(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], jobs: int = 1) -> list[Any]:
    """``[function(*call) for call in calls]``, `jobs` at a time, each in a process with its share of the CPU's cores.

    On one GPU the processes share it. A failed call does not stop the others; the first error is raised at the end.
    """
    if jobs > 1 and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("jobs must be 1 under torchrun, where each training takes all processes. Leave out --jobs.")
    if jobs == 1:
        return [function(*call) for call in calls]
    threads = max(1, torch.get_num_threads() // jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        futures = [pool.submit(function, *call) for call in calls]
    return [future.result() for future in futures]


def finished(folder: Path, settings: Settings) -> dict[str, Any] | None:
    """What `finish` left in the folder for the same settings, None if it did not."""
    path = folder / "metrics.json"
    if not path.exists():
        return None
    saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return saved["metrics"] if saved["settings"] == settings else None


def finish(folder: Path, settings: Settings, metrics: dict[str, Any]) -> dict[str, Any]:
    """Keep what a training gave, and with which settings, so that it is not done again."""
    text = json.dumps({"settings": settings, "metrics": metrics}, indent=1) + "\n"
    replace(folder / "metrics.json", lambda path: path.write_text(text, encoding="utf-8"))
    return metrics


def trained_once(
    network: Callable[[], nn.Module],
    loss: Loss,
    data: Callable[[], tuple[Patterns, Patterns]],
    settings: Settings,
    folder: Path,
) -> tuple[nn.Module, dict[str, Any]]:
    """The network that these settings give, ready to be used, and what its training took; trained if it was not yet.

    Args:
        network: Makes the network; called after `torch.manual_seed` with the settings' seed.
        loss: As for `fit`.
        data: Gives the training and the validation data; called only if there is something to train.
        settings: As for `fit`.
        folder: For the checkpoints, the logs and metrics.json.
    """
    torch.manual_seed(complete(settings)["seed"])
    net, took = network(), finished(folder, settings)
    if took is None:
        took = finish(folder, settings, fit(net, loss, *data(), settings, folder, title="/".join(folder.parts[-2:])))
    else:
        load_weights(net, folder / "best.ckpt")
    return net.eval(), took


def computed_once(folder: Path, settings: Settings, compute: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """What `compute` gives with these settings, and the seconds it took; from the folder if it was done before."""
    found = finished(folder, settings)
    if found is None:
        began = time.perf_counter()
        result = compute()
        found = {"seconds": time.perf_counter() - began}
        save_array(folder / "estimates.npy", result)
        finish(folder, settings, found)
    return torch.from_numpy(np.load(folder / "estimates.npy")), found["seconds"]


def save_array(path: Path, array: Tensor) -> None:
    """Write a tensor as NumPy's file."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.save(file, array.numpy())

    replace(path, write)


def images_of(images: Tensor, count: int) -> Tensor:
    """The first so many images; an error if there are not as many."""
    if len(images) < count:
        raise ValueError(
            f"the data must hold {count} images, got {len(images)}. Give MNIST's IDX files: --data FOLDER."
        )
    return images[:count]


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")  # of several processes the last one wins
    write(temporary)
    temporary.replace(path)
