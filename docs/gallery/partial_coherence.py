"""
A beam that is not quite coherent
=================================

A blur of one pixel of the detector spoils the object, and the residual hardly shows it.
``coherence="gaussian"`` finds the widths of the blur together with the object.
"""

import warnings

import matplotlib.pyplot as plt
import torch

import phaseret as pr

obj = torch.nn.functional.interpolate(
    pr.datasets.mnist()[None, 7:8], (40, 40), mode="bicubic"
)[0, 0].clamp(0, 1)
intensity = pr.operators.fourier_intensity(obj, (96, 96))
profile = (-torch.arange(-4, 5).square() / 2).exp()  # a Gaussian of one pixel
kernel = profile[:, None] * profile / profile.sum() ** 2
around = torch.nn.functional.pad(intensity[None, None], (4, 4, 4, 4), mode="circular")
blurred = torch.nn.functional.conv2d(around, kernel[None, None])[0, 0]
generator = torch.Generator().manual_seed(0)
counts = pr.noise.poisson_noise(
    blurred, photons_per_pixel=300, counts=True, generator=generator
)

support = torch.nn.functional.max_pool2d(obj[None], 3, 1, 1)[0] > 0.05
options = {
    "support": support,
    "constraint": "nonnegative",
    "schedule": "raar:300,er:50",
    "starts": 4,
    "seed": 0,
}
images = {"object": obj}
for name, coherence in {"told nothing": None, "gaussian": "gaussian"}.items():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that starts disagree, which the picture shows
        result = pr.solvers.reconstruct(counts, coherence=coherence, **options)
    images[name] = pr.symmetry.align(result.obj, obj, scale=True).aligned
    print(f"{name}: residual {result.error:.3f}, {result.misfit:.1f} times that of noise")
print("widths of the blur found:", [round(width, 2) for width in result.blur.tolist()])

# %%
# Told nothing, the solver bends the object to explain the blur. The residual of that is
# small, but twice what counting noise leaves (``misfit``): this tells a blur, a
# background or a wrong support from noise. More: :doc:`/limits`.

figure, axes = plt.subplots(1, 3, figsize=(5, 2.1), layout="constrained")
for axis, (name, image) in zip(axes, images.items(), strict=True):
    axis.imshow(image.numpy(), cmap="gray", vmin=0, vmax=1)
    axis.set(title=name, xticks=[], yticks=[])
    if name != "object":
        axis.set_xlabel(f"{pr.metrics.psnr(image, obj):.0f} dB")
plt.show()
