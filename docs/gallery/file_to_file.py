"""
CXI in, CXI out
===============

From a detector's file to a file that other programs for coherent imaging read: load,
look, reconstruct, save. The file is made first; yours may also be HDF5, NeXus, TIFF, EDF,
CBF, NumPy or Matlab. The file has the mask of the beam stop in it; one that is a file of
its own is ``pr.io.load_mask(FILE)``, ``& measurement.mask`` where the pattern has one too;
where the pattern has its zero frequency beside the middle, ``center=`` says so to both.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import phaseret as pr

folder = Path(tempfile.mkdtemp())
obj = pr.datasets.mnist()[7]
counts = pr.noise.poisson_noise(
    pr.operators.fourier_intensity(obj, (80, 80)), photons_per_pixel=300, counts=True
)
stop = pr.noise.beam_stop((80, 80), radius=1.5)
geometry = {"pixel_size": 75e-6, "wavelength": 1e-10, "distance": 1.0}
pr.io.save_intensity(
    folder / "pattern.cxi", pr.io.as_measurement(counts, mask=stop, **geometry)
)

measurement = pr.io.load_intensity(folder / "pattern.cxi")
print(pr.io.inspect(measurement))  # centred, sampled finely enough, complete?
support = torch.ones(30, 30) > 0
result = pr.solvers.RRR(400)(
    measurement.intensity,
    mask=measurement.mask,
    support=support,
    constraint="nonnegative",
    starts=4,
    seed=0,
)
pr.io.save_reconstruction(folder / "result.cxi", result, measurement=measurement)
print(sorted(pr.io.load_reconstruction(folder / "result.cxi")))

# %%
# What was measured, the beam stop in red, and what came out of the file. The object's
# pixel follows from the geometry, so that the picture has a scale.

nanometre = measurement.object_pixel_size[0] * 1e9
again = pr.io.load_object(folder / "result.cxi")
figure, axes = plt.subplots(1, 2, figsize=(5, 2.6), layout="constrained")
pattern = torch.fft.fftshift(
    measurement.intensity.masked_fill(~measurement.mask, torch.nan)
)
axes[0].imshow(
    pattern.clamp(min=0.5).log10().numpy(),
    cmap=plt.get_cmap("viridis").with_extremes(bad="tab:red"),
)
axes[0].set(title="log10 of the counts", xticks=[], yticks=[])
axes[1].imshow(
    again.abs().numpy(), cmap="gray", extent=(0, 30 * nanometre, 30 * nanometre, 0)
)
axes[1].set(title="result.cxi", xlabel="nm")
plt.show()
