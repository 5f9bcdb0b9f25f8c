"""
A known reference: holography
=============================

With a pinhole of known brightness beside the object the autocorrelation shows the object
at once. ``known=`` uses all of the data: the object comes out sharper, and where it is,
with no shift or twin left open.
"""

import matplotlib.pyplot as plt
import torch

import phaseret as pr

digit = pr.datasets.mnist(train=False)[0]
scene = torch.nn.functional.pad(digit, (0, 33))
scene[14, -1] = pinhole = (digit.square().sum() / 3).sqrt()  # a third of the digit's light
generator = torch.Generator().manual_seed(0)
intensity = pr.operators.fourier_intensity(scene, (60, 128))
counts = pr.noise.poisson_noise(intensity, total_photons=1e5, generator=generator)

correlation = torch.fft.ifft2(counts, norm="ortho").real * (60 * 128) ** 0.5
read_off = correlation.roll((14, scene.shape[1] - 1), (0, 1))[:28, :28] / pinhole

known = scene.clone()
known[:, :28] = torch.nan  # what is to be found
result = pr.solvers.reconstruct(
    counts, known=known, constraint="nonnegative", schedule="raar:100,er:30", starts=2
)

# %%
# Errors are those of the object as it lies, without alignment. The reference makes the
# problem easy, and costs light. More: :doc:`/limits`.

figure, axes = plt.subplots(2, 2, figsize=(5, 4), layout="constrained")
axes[0, 0].imshow(scene.numpy(), cmap="gray", vmax=1)
axes[0, 0].set_title("digit and pinhole")
axes[0, 1].imshow(
    torch.fft.fftshift(correlation).clamp(min=0).sqrt().numpy(), cmap="viridis"
)
axes[0, 1].set_title("autocorrelation")
for axis, image, name in zip(
    axes[1], (read_off, result.obj[:, :28]), ("read off it", "known="), strict=True
):
    axis.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
    axis.set_title(f"{name}: error {(image - digit).norm() / digit.norm():.2f}")
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
plt.show()
