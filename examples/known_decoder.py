"""An autoencoder whose decoder is known, and a cycle through the measurement, are the passive loss.

    python examples/known_decoder.py

Two ways to train without ground truth go by other names. An autoencoder of measurements, encoder = the network g,
decoder = the physics |F .|^2, which has nothing to learn; and the cycle of CycleGAN, from a measurement Y to an object
and back. Both compare Y with |F g(Y)|^2, and so does the passive loss. The other half of a cycle, from an object by way
of its measurement back to the object, is the supervised loss: it averages over shift and flip.

Prints the value of each objective, and how far the gradient that it gives the network is from the passive loss's.

Time on one core: 4 s; without vector instructions: 6 s.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import phaseret as pr


class Autoencoder(nn.Module):
    """From magnitudes to magnitudes: a network, then the measurement as its decoder."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, intensity: Tensor) -> Tensor:
        """What the detector would see of the encoder's object, as a magnitude."""
        return self.decoder(self.encoder(intensity)).sqrt()


def gradient(loss: Tensor, net: nn.Module) -> Tensor:
    """The derivative by all parameters of the network."""
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(net.parameters()))])


def main(digits: int = 16) -> dict[str, tuple[float, float]]:
    """For each objective its value, and the distance of its gradient from the passive loss's, relative to that."""
    objects = pr.datasets.mnist()[:digits].double()
    measure = pr.operators.FourierIntensity((64, 64))
    intensity = measure(objects)
    torch.manual_seed(0)
    net = pr.models.UNet((28, 28), (64, 64), output="unit", channels=(8, 16)).double()

    objectives = {
        "passive loss": pr.losses.passive_loss(net(intensity), intensity),
        "autoencoder": nn.functional.mse_loss(Autoencoder(net, measure)(intensity), intensity.sqrt()),
        "cycle from data": nn.functional.mse_loss(
            pr.operators.fourier_magnitude(net(intensity), (64, 64)), intensity.sqrt()
        ),
        "cycle from objects": pr.losses.supervised_loss(net(measure(objects)), objects),
    }
    expected = gradient(objectives["passive loss"], net)
    found = {}
    for name, loss in objectives.items():
        own = expected if name == "passive loss" else gradient(loss, net)
        found[name] = loss.item(), ((own - expected).norm() / expected.norm()).item()
        print(f"{name:>18}: {found[name][0]:.12f}, gradient differs by {found[name][1]:.1e}")
    return found


if __name__ == "__main__":
    main()
