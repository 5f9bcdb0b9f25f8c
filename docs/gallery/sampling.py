"""
How large must the pattern be?
==============================

An object of 100 x 120 pixels needs 199 x 239 samples: the data are the transform of its
autocorrelation, which is 2n - 1 pixels wide. ``fast_fourier_shape`` gives the next size
with a quick transform.
"""

import matplotlib.pyplot as plt
import torch

import phaseret as pr

print(
    pr.operators.min_fourier_shape((100, 120)), pr.operators.fast_fourier_shape((100, 120))
)

obj = torch.zeros(100, 120)
digits = torch.nn.functional.interpolate(pr.datasets.mnist()[None, 2:4], scale_factor=2)[0]
obj[22:78, 4:116] = torch.cat(list(digits), 1)
figure, axes = plt.subplots(1, 3, figsize=(5, 2.2), layout="constrained")
axes[0].imshow(obj.numpy(), cmap="gray")
axes[0].set_title("100 x 120")
for axis, shape in zip(axes[1:], ((200, 240), (128, 144)), strict=True):
    padded = torch.zeros(shape)
    padded[:100, :120] = obj
    autocorrelation = torch.fft.ifft2(torch.fft.fft2(padded).abs().square()).real
    axis.imshow(
        torch.fft.fftshift(autocorrelation).clamp(min=0).sqrt().numpy(), cmap="viridis"
    )
    axis.set_title(f"{shape[0]} x {shape[1]}")
for axis in axes:
    axis.set(xticks=[], yticks=[])
plt.show()

# %%
# Left the object, in the middle its autocorrelation as 200 x 240 samples tell it, with a
# dark margin that shows that it is whole. Right, from 128 x 144 samples, it runs over its
# edges and comes in again on the other side: other objects have the same data, and
# operators refuse the shape unless they are told ``undersampled=True``. More than 2n - 1
# samples tell nothing new of noise-free data; they average noise.
