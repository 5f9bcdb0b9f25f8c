"""An autoencoder whose decoder is known, and a cycle through the measurement, are the passive loss.

    python examples/known_decoder.py

Two ways to train without ground truth go by other names. An autoencoder of measurements, encoder = the network g,
decoder = the physics |F .|^2, which has nothing to learn; and the cycle of CycleGAN, from a measurement Y to an object
and back. Both compare Y with |F g(Y)|^2, and so does the passive loss: this prints the values of the three, and the
largest difference between the gradients that they give the network. The other half of a cycle, from an object by way of
its measurement back to the object, is the supervised loss: it averages over shift and flip, as DNN-V does.
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
        magnitude: Tensor = self.decoder(self.encoder(intensity)).sqrt()
        return magnitude


def gradients(loss: Tensor, net: nn.Module) -> Tensor:
    """The derivative by all parameters of the network."""
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(net.parameters()))])


def compare(digits: Tensor) -> dict[str, tuple[float, float]]:
    """The value of each objective, and how far its gradient is from the passive loss's, relative to that."""
    measure = pr.operators.FourierIntensity((64, 64))
    intensity = measure(digits)
    torch.manual_seed(0)
    net = pr.models.UNet((28, 28), (64, 64), output="unit", channels=(8, 16)).double()

    passive = pr.losses.passive_loss(net(intensity), intensity)
    autoencoder = nn.functional.mse_loss(Autoencoder(net, measure)(intensity), intensity.sqrt())
    obj = net(intensity)
    cycle = (pr.operators.fourier_magnitude(obj, (64, 64)) - intensity.sqrt()).square().mean()
    back = pr.losses.supervised_loss(net(measure(digits)), digits)

    expected = gradients(passive, net)
    found = {"passive loss": passive, "autoencoder": autoencoder, "cycle from data": cycle, "cycle from objects": back}
    values = {}
    for name, loss in found.items():
        gradient = expected if loss is passive else gradients(loss, net)
        values[name] = loss.item(), ((gradient - expected).norm() / expected.norm()).item()
    return values


def main() -> None:
    for name, (value, difference) in compare(pr.datasets.mnist()[:16].double()).items():
        print(f"{name:>18}: {value:.12f}, gradient differs by {difference:.1e}")


if __name__ == "__main__":
    main()
