"""
Your own network, complex objects
=================================

Any Module from intensities to objects can be trained. A complex object has a complex
dtype and no channel axis: let the last layer give two channels and join them by
``torch.complex``.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

import phaseret as pr


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        layers = (
            nn.Conv2d(2, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 16 * 16, 512),
        )
        self.layers = nn.Sequential(*layers, nn.ReLU(), nn.Linear(512, 2 * 14 * 14))

    def forward(self, intensity):
        seen = torch.fft.fftshift(
            torch.fft.ifft2(intensity), dim=(-2, -1)
        )  # the autocorrelation of the object
        seen = seen / seen.abs().amax((-2, -1), keepdim=True)
        real, imaginary = (
            self.layers(torch.stack([seen.real, seen.imag], 1))
            .reshape(-1, 2, 14, 14)
            .unbind(1)
        )
        return torch.complex(real, imaginary)


torch.manual_seed(0)
digits = torch.nn.functional.avg_pool2d(pr.datasets.mnist(), 2)
objects = torch.polar(digits, digits)  # thick parts delay the wave more
train, test = objects[:4400], objects[4400:]
measure, net, loss = (
    pr.operators.FourierIntensity((32, 32)),
    Own(),
    pr.losses.InvariantLoss(),
)
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for obj in train.repeat(3, 1, 1).split(32):
    optimizer.zero_grad()
    loss(net(measure(obj)), obj).backward()
    optimizer.step()
answers = net(measure(test)).detach()
print(
    f"{pr.metrics.psnr(answers, test):.1f} dB for {len(test)} objects it was not trained on"
)

# %%
# The loss forgives what no intensity shows: shift, twin and global phase. So does the
# alignment that brings the answers onto the objects here. Phases are drawn where there is
# light. Without ground truth, replace the loss by ``PassiveLoss``, ``loss(net(intensity),
# intensity)``: complex objects then need much longer training.

figure, axes = plt.subplots(2, 4, figsize=(5, 2.8), layout="constrained")
for row, obj, answer in zip(axes, test[4:], answers[4:], strict=False):
    for pair, image in zip(
        (row[:2], row[2:]), (obj, pr.symmetry.align(answer, obj).aligned), strict=True
    ):
        pair[0].imshow(image.abs().numpy(), cmap="gray", vmin=0, vmax=1)
        phase = image.angle().where(image.abs() > 0.3, torch.nan)
        pair[1].imshow(phase.numpy(), cmap="twilight", vmin=-3.2, vmax=3.2)
for axis, name in zip(axes[0], ("object", "phase", "answer", "phase"), strict=True):
    axis.set_title(name)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
plt.show()
