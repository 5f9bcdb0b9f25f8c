"""
The paper's experiment in a plain loop
======================================

One network is trained twice on shifted and flipped digits: on the objects (DNN-V), and on
their intensities alone with the passive loss (DNN-P). Any training loop will do; this is
the shortest.
"""

import matplotlib.pyplot as plt
import torch

import phaseret as pr


def digits(count, train):
    images = torch.nn.functional.avg_pool2d(pr.datasets.mnist(train=train)[:count], 2)
    return pr.datasets.SymmetryVariant(images, flip=True, shift=True, canvas=(16, 16))[:]


train, test = digits(1500, True), digits(100, False)
measure = pr.operators.FourierIntensity((32, 32))


def trained(objective):
    torch.manual_seed(0)
    net = pr.models.UNet(
        (16, 16),
        (32, 32),
        representation="autocorrelation",
        output="unit",
        channels=(8, 32, 64),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(4):
        for objects in train[torch.randperm(len(train))].split(32):
            intensity = measure(objects)
            optimizer.zero_grad()
            objective(net(intensity), objects, intensity).backward()
            optimizer.step()
    return net.eval()(measure(test)).detach()


answers = {
    "DNN-V": trained(
        lambda estimate, objects, intensity: pr.losses.supervised_loss(estimate, objects)
    ),
    "DNN-P": trained(
        lambda estimate, objects, intensity: pr.losses.passive_loss(estimate, intensity)
    ),
}
for name, answer in answers.items():
    print(f"{name}: {pr.metrics.psnr(answer, test):.1f} dB after alignment")

# %%
# Six digits that neither network was trained on, and the answers, moved onto the truth.
# DNN-V was asked for all copies of each object at once and answers with their blurred
# superposition; DNN-P returns one of them. Both sharpen with more training: ``make demo``
# takes some minutes.

figure, axes = plt.subplots(3, 6, figsize=(5, 2.7), layout="constrained")
for row, (name, images) in zip(axes, {"object": test, **answers}.items(), strict=True):
    row[0].set_ylabel(name)
    for axis, image, truth in zip(row, images, test, strict=False):
        axis.imshow(
            pr.symmetry.align(image, truth).aligned.numpy(), cmap="gray", vmin=0, vmax=1
        )
        axis.set(xticks=[], yticks=[])
plt.show()
