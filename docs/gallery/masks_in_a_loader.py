"""
Train on your own images, a mask for each sample
================================================

A folder of pictures becomes a training set: each is read, made small and measured, and has
its own beam stop and dead pixels. The mask goes with its sample into the network and into
the loss, and what stands at a hidden pixel, even NaN, does not matter.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import phaseret as pr

folder = Path(tempfile.mkdtemp())  # here stands your folder; this one gets digits
for number, digit in enumerate(pr.datasets.mnist()[:1200]):
    plt.imsave(folder / f"{number:04}.png", digit.numpy(), cmap="gray", vmin=0, vmax=1)


def small(path):
    picture = pr.io.load_object(path) / 255  # of any size, grey or in colour
    return torch.nn.functional.interpolate(picture[None, None], (14, 14), mode="area")[0, 0]


class Pictures(torch.utils.data.Dataset):
    def __init__(self, folder):
        self.objects = torch.stack([small(path) for path in sorted(folder.glob("*.png"))])

    def __len__(self):
        return len(self.objects)

    def __getitem__(self, number):
        generator = torch.Generator().manual_seed(number)  # the same mask in each epoch
        mask = torch.rand(32, 32, generator=generator) > 0.1  # a tenth is dead
        radius = 1.5 * float(torch.rand((), generator=generator))
        mask &= pr.noise.beam_stop((32, 32), radius=radius)
        intensity = pr.operators.fourier_intensity(self.objects[number], (32, 32))
        return intensity.masked_fill(~mask, torch.nan), mask


torch.manual_seed(0)
data = Pictures(folder)
net = pr.models.UNet(
    (14, 14), (32, 32), output="unit", channels=(8, 32, 64), mask_channel=True
)
loss = pr.losses.PassiveLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
for _ in range(4):
    for intensity, mask in torch.utils.data.DataLoader(data, batch_size=32, shuffle=True):
        optimizer.zero_grad()
        loss(net(intensity, mask=mask), intensity, mask=mask).backward()
        optimizer.step()

# %%
# Above three patterns, the zero frequency in the middle, with what was hidden in red;
# below those that the network's answers would give. They have no holes: where nothing was
# measured the object speaks. The seed keeps the mask of each sample; without it masks
# differ from epoch to epoch, which makes more of few pictures.

patterns, masks = next(iter(torch.utils.data.DataLoader(data, batch_size=3)))
answered = net.eval()(patterns, mask=masks).detach()
figure, axes = plt.subplots(2, 3, figsize=(5, 3.6), layout="constrained")
colours = plt.get_cmap("viridis").with_extremes(bad="tab:red")
answers = pr.operators.fourier_intensity(answered, (32, 32))
for row, shown, name in zip(
    axes, (patterns, answers), ("measured", "of the answer"), strict=True
):
    row[0].set_ylabel(name)
    for axis, pattern, like in zip(row, shown, answers, strict=True):
        pattern = torch.fft.fftshift(pattern).clamp(min=1e-4).log10()
        axis.imshow(pattern.numpy(), cmap=colours, vmin=-4, vmax=float(like.max().log10()))
        axis.set(xticks=[], yticks=[])
plt.show()
