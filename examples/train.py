"""Train a U-Net without ground truth, and beside it the same network on ground truth.

    python examples/train.py

The digits lie anywhere on their canvas and half of them stand on their head; a detector sees nothing of that. The
passive loss compares measurements, so every copy of a digit is a right answer. The supervised loss asks for the one
copy that the file holds: the network cannot know which, and learns their average. The digits have half their size, so
that a minute suffices.

Prints the aligned PSNR of validation digits after each epoch, and for the test digits the scores of both networks and
their difference with its standard error; writes the answers, aligned with the truth, as train.png. Five seeds gave
17.2 dB (standard deviation 0.4 dB) to the passive loss and 15.8 dB (0.02 dB) to the supervised one, and every seed a
difference of at least 0.88 dB.

Time on one core: 40 s; without vector instructions: 80 s.
"""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import phaseret as pr

measure = pr.operators.FourierIntensity((32, 32))  # from an object of 16 x 16 to what a detector records


def digits(images: Tensor) -> pr.datasets.SymmetryVariant:
    """Digits of 14 x 14 pixels, shifted and flipped on a canvas of 16 x 16."""
    return pr.datasets.SymmetryVariant(nn.functional.avg_pool2d(images, 2), flip=True, shift=True, canvas=(16, 16))


@torch.no_grad()
def estimate(net: nn.Module, intensity: Tensor) -> Tensor:
    """What the trained network answers."""
    return net.eval()(intensity)


def train(name: str, data: pr.datasets.SymmetryVariant, validation: Tensor, epochs: int, seed: int) -> nn.Module:
    """One network; the name says what it learns from."""
    torch.manual_seed(seed)
    net = pr.models.UNet(
        object_shape=(16, 16),
        fourier_shape=(32, 32),
        representation="autocorrelation",
        output="unit",  # values from 0 to 1
        channels=(8, 32, 64),
    )
    steps = epochs * -(-len(data) // 32)
    optimizer = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    passive, supervised = pr.losses.PassiveLoss(), pr.losses.SupervisedLoss()
    for epoch in range(epochs):
        data.set_epoch(epoch)  # other shifts and flips in each epoch
        net.train()
        for batch in torch.randperm(len(data)).split(32):
            obj = data[batch]
            intensity = measure(obj)
            answer = net(intensity)
            loss = passive(answer, intensity) if name == "passive" else supervised(answer, obj)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        psnr = pr.metrics.psnr(estimate(net, measure(validation)), validation)  # after shift and flip
        print(f"{name}, epoch {epoch + 1}: loss {loss.item():.4f}, validation {psnr:.2f} dB", flush=True)
    return net


def draw(rows: dict[str, Tensor], path: str) -> None:
    """One row of objects for each name."""
    count = len(next(iter(rows.values())))
    figure = Figure(figsize=(count, 1.2 * len(rows)), layout="constrained")
    for panels, (name, objects) in zip(figure.subplots(len(rows), count), rows.items(), strict=True):
        panels[0].set_title(name, loc="left")
        for panel, obj in zip(panels, objects, strict=True):
            panel.imshow(obj.numpy(), cmap="gray", vmin=0, vmax=1)
            panel.set_axis_off()
    figure.savefig(path)


def main(images: int = 4500, epochs: int = 4, seed: int = 0, picture: str = "train.png") -> dict[str, Tensor]:
    """The aligned PSNR of each test digit, for both networks."""
    data, held_out = digits(pr.datasets.mnist()[:images]), digits(pr.datasets.mnist(train=False))[:]
    validation, test = held_out[:100], held_out[100:]
    scores, rows = {}, {"truth": test[:10]}
    for name in ("passive", "supervised"):
        net = train(name, data, validation, epochs, seed)
        answer = estimate(net, measure(test))
        scores[name] = pr.metrics.psnr(answer, test, reduction="none")
        rows[f"{name}, {scores[name].mean():.1f} dB"] = pr.symmetry.align(answer[:10], test[:10]).aligned
        error = pr.metrics.relative_magnitude_error(answer, measure(test))
        print(f"{name}: test {scores[name].mean():.2f} dB, error of the magnitude {error:.0%}")
    gain = scores["passive"] - scores["supervised"]
    print(f"passive - supervised: {gain.mean():.2f} dB, standard error {gain.std() / len(gain) ** 0.5:.2f} dB")
    draw(rows, picture)
    return scores


if __name__ == "__main__":
    main()
