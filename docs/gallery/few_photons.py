"""
Few photons
===========

What is left of a digit when the detector counts 100,000 photons, or 1,000. The residual
grows as the light falls, and is no fault of the solver's: ``expected`` says what counting
noise alone leaves.
"""

import warnings

import matplotlib.pyplot as plt
import torch

import phaseret as pr

obj = pr.datasets.mnist(train=False)[3]
intensity = pr.operators.fourier_intensity(obj, (64, 64))
box = torch.ones(28, 28) > 0
figure, axes = plt.subplots(2, 3, figsize=(5, 3.9), layout="constrained")
for column, photons in zip(axes.T, (1e5, 1e4, 1e3), strict=True):
    generator = torch.Generator().manual_seed(0)
    counts = pr.noise.poisson_noise(
        intensity, total_photons=photons, counts=True, generator=generator
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the dimmest it says that the starts disagree
        result = pr.solvers.reconstruct(
            counts,
            schedule="raar(beta=0.9):300,er:50",
            support=box,
            constraint="nonnegative",
            starts=4,
            seed=0,
        )
    score = pr.metrics.psnr(result.obj, obj, scale=True)  # counts have a scale of their own
    print(
        f"{photons:.0e} photons: error {result.error:.2f}, of noise {result.expected:.2f}"
    )
    column[0].imshow(
        torch.fft.fftshift(counts).clamp(min=0.3).log10().numpy(), cmap="viridis"
    )
    column[0].set_title(f"{photons:,.0f} photons", fontsize=10)
    column[1].imshow(
        pr.symmetry.align(result.obj, obj, scale=True).aligned.numpy(),
        cmap="gray",
        vmin=0,
        vmax=1,
    )
    column[1].set_title(f"{score:.1f} dB")
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("log counts")
axes[1, 0].set_ylabel("object found")
plt.show()

# %%
# Above the number of photons in the whole pattern, below the aligned PSNR. With a tenth
# of the light fine detail goes first: the photons far from the middle are few. A network
# behind the solver helps here, see :doc:`/choose`.
