"""The losses under DistributedDataParallel: two processes give the gradients of one at equal global batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import phaseret as pr
from processes import PROCESSES

LOSSES = {
    "passive": pr.losses.PassiveLoss,
    "passive, with masks": pr.losses.PassiveLoss,
    "invariant": pr.losses.InvariantLoss,
    "supervised": pr.losses.SupervisedLoss,
}


def gradients(model: nn.Module, loss: str, objects: torch.Tensor) -> list[torch.Tensor]:
    intensity = pr.operators.fourier_intensity(objects, (12, 12))
    estimate = model(intensity.flatten(1)).unflatten(1, (6, 6))
    target, known = intensity if "passive" in loss else objects, {}
    if "masks" in loss:
        known["mask"] = intensity > intensity.mean((-2, -1), keepdim=True)  # another number of pixels in each sample
    LOSSES[loss]()(estimate, target, **known).backward()
    return [parameter.grad for parameter in model.parameters()]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(144, 36)


def worker(rank: int, folder: str, objects: torch.Tensor) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = {loss: gradients(DistributedDataParallel(network()), loss, objects[rank::2]) for loss in LOSSES}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch was built without torch.distributed")
def test_two_processes_give_the_gradients_of_one(tmp_path: Path) -> None:
    objects = torch.rand(4, 6, 6)
    mp.start_processes(worker, (str(tmp_path), objects), nprocs=2, start_method=PROCESSES.get_start_method())
    expected = {loss: gradients(network(), loss, objects) for loss in LOSSES}
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), expected)
