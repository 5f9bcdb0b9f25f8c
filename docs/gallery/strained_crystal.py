"""
A strained crystal from one Bragg peak
======================================

A crystal in a coherent beam gives a 3D pattern. Its object has an even modulus, and as
its phase the displacement of the lattice. The schedule ``"bragg"`` needs to know nothing
else.
"""

import math

import matplotlib.pyplot as plt
import torch

import phaseret as pr

generator = torch.Generator().manual_seed(0)
obj = pr.datasets.strained_crystal((12, 12, 12), span=3.5, generator=generator)
intensity = pr.operators.fourier_intensity(obj, (26, 26, 26))
counts = pr.noise.poisson_noise(intensity * (1e5 / intensity.max()), generator=generator)
found = pr.solvers.reconstruct(
    counts, schedule="bragg", constraint="complex", ndim=3, seed=0
)
print(found.choice[0])
iou, error = (
    pr.metrics.iou(found.obj, obj, ndim=3),
    pr.metrics.phase_error(found.obj, obj, ndim=3),
)
print(f"overlap of the supports {iou:.3f}, phase error {error:.3f} rad")

# %%
# The middle slice, after alignment. Where the modulus is zero there is no phase.
# ``found.misfit`` near 1 says that counting noise alone explains the residual; that, and
# not a small residual, is what to look at.

aligned = pr.symmetry.align(found.obj, obj, ndim=3).aligned[:12, :12, :12]
figure, axes = plt.subplots(2, 3, figsize=(5, 3.5), layout="constrained")
pattern = torch.fft.fftshift(counts)[13]
for row, crystal, name in zip(axes, (obj, aligned), ("object", "found"), strict=True):
    crystal = crystal[6]
    row[0].imshow(pattern.clamp(min=0.5).log10().numpy(), cmap="viridis")
    row[1].imshow(crystal.abs().numpy(), cmap="gray", vmin=0)
    phase = crystal.angle().where(crystal.abs() > 0.3, torch.nan)
    shown = row[2].imshow(phase.numpy(), cmap="twilight", vmin=-math.pi, vmax=math.pi)
    row[1].set_title(f"{name}: modulus")
    row[2].set_title("phase")
axes[0, 0].set_title("pattern")
axes[1, 0].remove()
for axis in axes.flat:
    axis.set_axis_off()
figure.colorbar(shown, ax=axes[:, 2], ticks=[-3, 0, 3], label="rad")
plt.show()
