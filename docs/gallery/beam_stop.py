"""
Behind a beam stop
==================

The middle of the pattern, which holds most of the light, was not measured. Masked it is
free; taken for zeros it contradicts the rest, and spoils the object.
"""

import warnings

import matplotlib.pyplot as plt
import torch

import phaseret as pr

obj = pr.datasets.mnist()[2]
intensity = pr.operators.fourier_intensity(obj, (64, 64))
counts = pr.noise.poisson_noise(intensity, photons_per_pixel=1000, counts=True)
mask = pr.noise.beam_stop((64, 64), radius=1.5)  # True where measured
known = {
    "support": torch.ones(28, 28) > 0,
    "constraint": "nonnegative",
    "starts": 4,
    "seed": 0,
}
solver = pr.solvers.Recipe("rrr:400,er:50")
found = {"masked": pr.solvers.reconstruct(counts, mask=mask, schedule=solver, **known)}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    found["as zeros"] = pr.solvers.reconstruct(counts * mask, schedule=solver, **known)

# %%
# The hidden pixels in red, and both results. The wrong one shows itself in its residual.

figure, axes = plt.subplots(1, 3, figsize=(5, 2.3), layout="constrained")
pattern = torch.fft.fftshift(counts.masked_fill(~mask, torch.nan))
axes[0].imshow(
    pattern.clamp(min=0.5).log10().numpy(),
    cmap=plt.get_cmap("viridis").with_extremes(bad="tab:red"),
)
axes[0].set_title("log counts")
for axis, (name, result) in zip(axes[1:], found.items(), strict=True):
    axis.imshow(
        pr.symmetry.align(result.obj, obj, scale=True).aligned.numpy(),
        cmap="gray",
        vmin=0,
        vmax=1,
    )
    psnr = pr.metrics.psnr(result.obj, obj, scale=True)
    axis.set(title=f"{name}: {psnr:.0f} dB", xlabel=f"residual {result.error:.3f}")
for axis in axes:
    axis.set(xticks=[], yticks=[])
plt.show()
