"""
A mask for each sample
======================

Each pattern has its own beam stop and dead pixels. The mask goes with its sample into the
network and into the loss, and what stands at a hidden pixel, even NaN, does not matter.
"""

import matplotlib.pyplot as plt
import torch

import phaseret as pr

torch.manual_seed(0)
objects = torch.nn.functional.avg_pool2d(pr.datasets.mnist()[:2000], 2)
intensities = pr.operators.fourier_intensity(objects, (32, 32))
masks = torch.rand(len(objects), 32, 32) > 0.1  # a tenth is dead, others in each pattern
for mask, radius in zip(masks, torch.rand(len(masks)).tolist(), strict=True):
    mask &= pr.noise.beam_stop((32, 32), radius=1.5 * radius)
data = torch.utils.data.TensorDataset(intensities.masked_fill(~masks, torch.nan), masks)

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
# measured the object speaks.

estimates = net.eval()(data[:3][0], mask=masks[:3]).detach()
answered = pr.operators.fourier_intensity(estimates, (32, 32))
figure, axes = plt.subplots(2, 3, figsize=(5, 3.6), layout="constrained")
colours = plt.get_cmap("viridis").with_extremes(bad="tab:red")
for row, patterns, name in zip(
    axes, (data[:3][0], answered), ("measured", "of the answer"), strict=True
):
    row[0].set_ylabel(name)
    for axis, pattern, like in zip(row, patterns, intensities, strict=False):
        shown = torch.fft.fftshift(pattern).clamp(min=1e-4).log10()
        axis.imshow(shown.numpy(), cmap=colours, vmin=-4, vmax=float(like.max().log10()))
        axis.set(xticks=[], yticks=[])
plt.show()
