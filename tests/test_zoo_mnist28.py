"""The leaderboard's protocol mnist28, tiny: what each system claims to do, it does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("lightning")
pytest.importorskip("skimage")
pytestmark = pytest.mark.filterwarnings("default", "ignore:.*starts")

NETWORK = {"width": 64, "distort": 0.1, "epochs": 3, "batch_size": 50, "learning_rate": 0.003}
CONFIG = {
    "seed": 0,
    "images": 600,
    "held_out": 100,
    "test_images": 20,
    "networks": {"mlp": NETWORK, "prcgan": NETWORK, "cascade": NETWORK},
    "search": [{"steps": 5, "lr": 0.3, "images": 20}],
    "finetune": {"networks": ["mlp", "cascade"], "steps": 5, "lr": 0.001, "images": 10},
    "classical": {"iterations": 30, "starts": 2, "HIO": 0.8, "RAAR": 0.87},
}


def test_systems_explain_their_data_and_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments import Context
    from experiments.zoo import mnist28

    data = os.environ.get("PHASERET_DATA_DIR")
    context = Context(CONFIG, None if data is None else Path(data), tmp_path)
    first = mnist28.run(context)
    rows = {row["system"]: row for row in first.rows}
    misfit = {system: row["relative_magnitude_error"] for system, row in rows.items()}
    assert misfit["PRCGAN*, 5 steps"] < misfit["PRCGAN"]
    for system in ("MLP", "Cascade"):
        assert misfit[f"{system}, fine-tuned for 5 steps"] < misfit[f"{system}, the first 10 images"]
    assert max(misfit["HIO (0.8), 30 iterations"], misfit["RAAR (0.87), 30 iterations"]) < 0.2 * misfit["MLP"]
    assert [row["runs"] for row in first.rows] == [2, 2, *[1] * 8]
    for row in first.rows:
        assert row["aligned_source_ssim"] > row["aligned_ssim"]  # of twice the data range
        assert row["test_images"] == (10 if "10 images" in row["system"] or "fine-tuned" in row["system"] else 20)
    monkeypatch.setattr("experiments.store.fit", None)  # nothing is trained or searched again
    monkeypatch.setattr("experiments.store.save_array", None)
    again = mnist28.run(context)
    for row in (*first.rows, *again.rows):
        del row["seconds_per_image"]
    assert again.rows == first.rows


def test_data_do_not_tell_cyclic_copies_apart() -> None:
    from experiments.zoo.mnist28 import measure

    obj = torch.rand(3, 28, 28)
    for copy in (obj.roll((5, -3), (1, 2)), obj.flip(1, 2)):
        torch.testing.assert_close(measure(copy), measure(obj))


def test_images_are_distorted_anew_in_each_epoch() -> None:
    from experiments.zoo.mnist28 import Distorted

    y, x = torch.meshgrid(torch.arange(28) - 13.5, torch.arange(28) - 13.5, indexing="ij")
    images = torch.exp(-(y**2 / 10 + x**2 / 24)).expand(200, 28, 28)
    data, still = Distorted(images, 0.1, 3), Distorted(images, 0.0, 3)
    torch.testing.assert_close(still[[4, 2]], images[[4, 2]], rtol=0, atol=1e-5)
    first = data[list(range(200))]
    assert ((first >= 0) & (first <= 1)).all()
    assert (first - images).abs().amax((-2, -1)).min() > 1e-3
    mass = first.sum((-2, -1))
    for axis in (y, x):  # the centre of mass stays where it is, by the formula
        assert ((first * axis).sum((-2, -1)) / mass).abs().max() < 0.1
    # The widths are those of the inverse of each map, by their second moments.
    inverse = torch.linalg.inv(data.maps[:, :, :2].flip(1, 2))
    expected = inverse @ torch.diag(torch.tensor([5.0, 12.0])) @ inverse.mT
    second = [[(first * a * b).sum((-2, -1)) / mass for b in (y, x)] for a in (y, x)]
    found = torch.stack([torch.stack(line, -1) for line in second], -2)
    torch.testing.assert_close(found, expected, rtol=0.15, atol=0.7)
    assert torch.equal(data[[7]], first[7:8])
    data.set_epoch(1)
    assert not torch.equal(data[[7]], first[7:8])
    data.set_epoch(0)
    assert torch.equal(data[[7]], first[7:8])


def gradients(value: torch.Tensor, net: nn.Module) -> dict[str, Any]:
    parameters = dict(net.named_parameters())
    return dict(zip(parameters, torch.autograd.grad(value, list(parameters.values())), strict=True))


def test_each_adversary_has_gradients_of_its_own_loss_only() -> None:
    """By two losses with all gradients, as two optimisers would use them."""
    from experiments.zoo.mnist28 import Adversaries, adversarial, measure

    obj = torch.rand(6, 28, 28)
    intensity, net = measure(obj), Adversaries(width=8).double()
    obj, intensity = obj.double(), intensity.double()
    both = gradients(adversarial(net, obj, intensity), net)
    estimates = net.generator(intensity)
    believed = net.discriminator(estimates, intensity).sigmoid()
    generator = -believed.log().mean() + 1e3 * (estimates - obj).abs().mean()
    for name, expected in gradients(generator, net.generator).items():
        torch.testing.assert_close(both[f"generator.{name}"], expected)
    true = net.discriminator(obj, intensity).sigmoid()
    false = net.discriminator(estimates.detach(), intensity).sigmoid()
    discriminator = -(true.log() + (1 - false).log()).mean() / 2
    for name, expected in gradients(discriminator, net.discriminator).items():
        torch.testing.assert_close(both[f"discriminator.{name}"], expected)
