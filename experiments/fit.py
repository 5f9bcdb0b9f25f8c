"""One training with Lightning, which survives any interruption.

`fit` trains, `estimate` applies a network, `run_solver` runs a solver. A training

- writes its checkpoints completely or not at all, at the end of each epoch; started again with the same settings it
  goes on from the last one and ends with the weights that it would have had without the interruption,
- draws order and augmentation from seed and epoch alone, and what network and loss draw (dropout) from seed and
  step alone, so that neither the number of workers nor an interruption changes them,
- runs on several devices or machines under ``torchrun``: each step then takes the same images as on one device, but for
  what is left over of the last batch. Batch normalisation sees the whole batch on GPUs, on CPUs each process its share.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor, nn
from torch.utils.data import DataLoader

import phaseret as pr
from experiments.data import Batches, Patterns
from experiments.muon import Muon
from experiments.progress import Progress, print_epoch
from phaseret._output import remove_parts
from results.provenance import replace

Settings = dict[str, Any]
#: (network, objects, intensities) -> the value to minimise
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]

# What a training may need beside its own settings, and what it means where it is absent.
DEFAULTS = {
    "seed": 0,
    "batch_size": 32,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "one_cycle": True,
    "patience": 20,
    "bfloat16": False,
}
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "muon": Muon,
}


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
        self.log("loss", loss.detach(), on_epoch=True, on_step=False, batch_size=len(batch[0]))
        self.log("images/s", self.seen / (time.perf_counter() - self.started))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self.log("validation", self.loss(self.net, *batch), batch_size=len(batch[0]), sync_dist=True)

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
        optimizer = OPTIMIZERS[self.settings["optimizer"]](self.net.parameters(), self.settings["learning_rate"])
        if not self.settings["one_cycle"]:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.settings["learning_rate"], steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it, which no interruption can cut in two."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        replace(Path(path), lambda temporary: torch.save(checkpoint, temporary))


class News(Callback):
    """Tells how far the training is: about twice a second, and at the end of each epoch."""

    def __init__(self, title: str, tell: Callable[[Progress], None], images: int) -> None:
        self.title, self.tell, self.images = title, tell, images
        self.told = 0.0

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        if time.perf_counter() - self.told >= 0.5:
            assert isinstance(module, Training)
            seconds = module.seconds + time.perf_counter() - module.started
            self.say(trainer, module.images + module.seen, seconds, trainer.current_epoch)

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        assert isinstance(module, Training)
        self.say(trainer, module.images, module.seconds, trainer.current_epoch + 1, epoch_ended=True)

    def say(self, trainer: L.Trainer, images: int, seconds: float, epoch: int, epoch_ended: bool = False) -> None:
        """Tell that so many images in so many seconds were trained on."""
        if not trainer.is_global_zero:
            return
        self.told = time.perf_counter()
        text = f"epoch {epoch}/{trainer.max_epochs}"
        if (value := trainer.callback_metrics.get("validation")) is not None:
            text += f", validation {float(value):.5g}"
        part = images / (self.images * trainer.max_epochs)
        text += f", {images / seconds:.0f} images/s"
        self.tell(Progress(self.title, part, seconds / part, text, epoch_ended))


def fit(
    net: nn.Module,
    loss: Loss,
    data: Patterns,
    validation: Patterns,
    settings: Settings,
    folder: Path,
    title: str,
    tell: Callable[[Progress], None] = print_epoch,
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
        title: What the training is called in its news.
        tell: Is given the news of the training. Default: print one line per epoch.
    """
    settings = complete(settings)
    start = folder / "last.ckpt"
    for checkpoint in (start, folder / "best.ckpt"):
        remove_parts(checkpoint)
    if start.exists():
        check_resumable(start, settings)
        check_resumable(folder / "best.ckpt", settings)
    L.seed_everything(settings["seed"], verbose=False)
    quiet_lightning()
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    model = Training(net.to(memory_format=torch.channels_last), loss, settings)
    every_epoch: dict[str, Any] = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    best = ModelCheckpoint(folder, "best", monitor="validation", **every_epoch)
    last = ModelCheckpoint(folder, "last", **every_epoch)  # after the best one, whose state it holds
    news = News(title, tell, len(data))
    trainer = L.Trainer(
        devices=devices,
        num_nodes=max(1, ranks // devices),
        strategy="ddp" if ranks > 1 else "auto",
        sync_batchnorm=ranks > 1 and torch.cuda.is_available(),
        precision="bf16-mixed" if settings["bfloat16"] else "32-true",
        max_epochs=settings["epochs"],
        callbacks=[best, last, EarlyStopping("validation", patience=settings["patience"]), news],
        logger=loggers(folder),
        plugins=[WholeFiles()],
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        enable_model_summary=False,
        enable_progress_bar=False,
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


def trained_on() -> torch.device:
    """Where `fit` trains: a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def run_solver(step: Callable[..., Any], intensities: Tensor, **options: Any) -> pr.solvers.Reconstruction:
    """What `reconstruct`, an algorithm or a recipe makes of the intensities, computed where networks are trained.

    Its tensors lie where the intensities do.
    """
    there, here = trained_on(), intensities.device
    given = {name: value.to(there) if isinstance(value, Tensor) else value for name, value in options.items()}
    found = step(intensities.to(there), **given)
    tensors = {name: value.to(here) for name, value in vars(found).items() if isinstance(value, Tensor)}
    return dataclasses.replace(found, **tensors)


def estimate(net: nn.Module, intensities: Tensor, bfloat16: bool = False, batch_size: int = 250) -> Tensor:
    """What the network makes of the intensities, as it will be used: no gradients, running statistics.

    It is computed where the network was trained; then network and estimates lie where the intensities do.
    """
    there, here = trained_on(), intensities.device
    net.eval().to(there)
    with torch.no_grad(), torch.autocast(there.type, torch.bfloat16, enabled=bfloat16):
        found = torch.cat([net(part.to(there)).to(here) for part in intensities.split(batch_size)])
    net.to(here)
    return found


def timed_estimate(net: nn.Module, intensities: Tensor, bfloat16: bool) -> tuple[Tensor, float]:
    """What `estimate` gives, and its seconds."""
    estimate(net, intensities[:32], bfloat16)  # the first call is slower
    began = time.perf_counter()
    return estimate(net, intensities, bfloat16), time.perf_counter() - began


def bfloat16_is_fast() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = getattr(torch.cpu, "get_capabilities", dict)()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def check_resumable(checkpoint: Path, settings: Settings) -> None:
    """A clear error unless the checkpoint is one of a training with these settings."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            if archive.testzip() is not None:  # torch does not compare the checksums
                raise zipfile.BadZipFile
        saved = dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["hyper_parameters"]["settings"])
    except Exception:  # whatever is in the file
        rule = f"{checkpoint} must be a checkpoint of these experiments, got a file that cannot be read as one"
        raise ValueError(f"{rule}. Remove its folder, or give another --out.") from None
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
