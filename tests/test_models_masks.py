"""Tests of masks that come with the samples: networks that see them, data loaders, Lightning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import phaseret as pr
from phaseret.testing import assert_batch_is_items

SIZES, SHAPE = (6, 7), (12, 14)


def net(**options: Any) -> pr.models.UNet:
    return pr.models.UNet(SIZES, SHAPE, channels=(4, 8), output="real", mask_channel=True, **options).eval()


@pytest.mark.parametrize("onesided", [False, True])
@pytest.mark.parametrize("representation", ["magnitude", "autocorrelation"])
def test_a_network_that_is_told_the_mask_sees_it_and_nothing_behind_it(representation: Any, onesided: bool) -> None:
    network = net(representation=representation, onesided=onesided)
    intensity = pr.operators.fourier_intensity(torch.rand(3, *SIZES), SHAPE, onesided=onesided)
    mask = torch.rand(intensity.shape) > 0.2
    found = network(intensity, mask=mask)
    for value in (0.0, 1e4, torch.nan):
        torch.testing.assert_close(network(intensity.masked_fill(~mask, value), mask=mask), found)
    everywhere = torch.ones_like(mask[0])
    torch.testing.assert_close(network(intensity, mask=everywhere), network(intensity))
    dark = intensity.masked_fill(~mask, 0.0)
    networks = [network, *(net(representation=representation, onesided=onesided) for _ in range(3))]
    differ = [float((one(dark) - one(intensity, mask=mask)).detach().abs().max()) for one in networks]
    assert max(differ) > 1e-6  # a dark pixel is not a hidden one
    torch.testing.assert_close(network(intensity, mask=mask[0])[0], found[0])
    assert_batch_is_items(lambda x: network(x, mask=mask[0]), intensity)
    with pytest.raises(ValueError, match="mask must broadcast to the intensity"):
        network(intensity, mask=torch.ones(5, 5, dtype=torch.bool))


def test_the_network_keeps_the_option_and_others_need_no_channel(tmp_path: Path) -> None:
    network = net()
    assert pr.models.UNet(**network.options).options == network.options
    plain = pr.models.UNet(SIZES, SHAPE, channels=(4, 8))
    assert network.down[0][0].in_channels == 2 * plain.down[0][0].in_channels
    with pytest.raises(TypeError, match="mask_channel must be True or False, got 1"):
        pr.models.UNet(SIZES, SHAPE, mask_channel=1)


def test_finetune_gives_the_network_the_mask_of_each_item() -> None:
    network, intensity = net(), pr.operators.fourier_intensity(torch.rand(2, *SIZES), SHAPE)
    mask = torch.rand(2, *SHAPE) > 0.2
    still = pr.models.finetune(network, intensity, mask=mask, n_iter=0)
    torch.testing.assert_close(still, network(intensity, mask=mask))


class Passive(L.LightningModule):
    """Training on what a loader gives: a Measurement, or a pair of intensity and mask."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.loss = net().train(), pr.losses.PassiveLoss()
        self.error = pr.metrics.RFactor()
        self.seen: list[Tensor] = []

    def training_step(self, batch: Any) -> Tensor:
        intensity, mask = batch if isinstance(batch, (tuple, list)) else (batch.intensity, batch.mask)
        estimate = self.net(intensity, mask=mask)
        self.error.update(estimate, intensity, mask=mask)
        self.log("r_factor", self.error)
        self.seen.append(mask)
        return self.loss(estimate, intensity, mask=mask)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*`isinstance.treespec", "ignore:GPU available"
)
@pytest.mark.parametrize("kind", ["pairs", "measurements"])
def test_lightning_trains_with_the_mask_of_each_sample(kind: str, tmp_path: Path) -> None:
    intensity = pr.operators.fourier_intensity(torch.rand(4, *SIZES), SHAPE)
    masks = torch.rand(4, *SHAPE) > 0.2
    intensity = intensity.masked_fill(~masks, torch.nan)
    if kind == "pairs":
        data: Any = TensorDataset(intensity, masks)
    else:
        data = [pr.io.as_measurement(x, mask=m) for x, m in zip(intensity, masks, strict=True)]
    module = Passive()
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = L.Trainer(max_epochs=1, accelerator="cpu", devices=1, default_root_dir=tmp_path, **quiet)
    trainer.fit(module, DataLoader(data, batch_size=2))
    assert torch.equal(torch.cat(module.seen), masks)
    assert all(parameter.isfinite().all() for parameter in module.parameters())
