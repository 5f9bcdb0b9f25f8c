"""
A measured pattern, from file to image
======================================

The logo of the ESRF, measured at its beamline ID10 (example data of PyNX, courtesy of
Yuriy Chushkin), in its known support and in a box that is a little too wide. Where the
environment variable ``PHASERET_DATA_DIR`` names no folder with that file, one like it is
simulated.
"""

import os
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import phaseret as pr

path = Path(os.environ.get("PHASERET_DATA_DIR", ".")) / "measured/esrf_logo_cdi.npz"
if not path.exists():
    path = Path(tempfile.mkdtemp()) / "simulated.npz"
    letters = torch.cat(list(pr.datasets.mnist()[[3, 2005, 4004]]), -1)
    obj = torch.zeros(256, 256)
    obj[114:142, 86:170] = letters
    intensity = torch.fft.fftshift(torch.fft.fft2(obj, norm="ortho").abs().square())
    counts = torch.poisson(3e4 * intensity)
    support = torch.nn.functional.max_pool2d((obj > 0).float()[None], 5, 1, 2)[0]
    np.savez(
        path,
        intensity=counts.numpy(),
        support=support.numpy(),
        valid=np.ones((256, 256), bool),
    )

measurement = pr.io.load_intensity(path, key="intensity")
mask = pr.io.load_mask(path, key="valid")
tight = pr.io.load_support(path, key="support")
rows, columns = (tight.any(1 - axis).nonzero().flatten().tolist() for axis in (0, 1))
place = slice(rows[0] - 6, rows[-1] + 7), slice(columns[0] - 6, columns[-1] + 7)
loose = torch.zeros_like(tight)
loose[place] = True

found = {}
for name, support in {"known support": tight, "a box, 6 too wide": loose}.items():
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of the box it says that the starts disagree, which the picture shows
        found[name] = pr.solvers.reconstruct(
            measurement.intensity,
            mask=mask,
            support=support,
            constraint="nonnegative",
            schedule="8*(hio:50,er:20)",
            starts=2,
            seed=0,
        )

# %%
# The wide box has the *smaller* residual and the wrong image: it holds the object
# together with its twin. The residual says nothing of that; a known support, or several
# starts that agree, do. The default schedule of ``reconstruct`` finds the right one in
# the wide box as well, in a minute.

figure, axes = plt.subplots(1, 3, figsize=(5, 2.3), layout="constrained")
pattern = torch.fft.fftshift(measurement.intensity)
axes[0].imshow(pattern.clamp(min=1).log10().numpy(), cmap="viridis")
axes[0].set_title("measured")
for axis, (name, result) in zip(axes[1:], found.items(), strict=True):
    image = pr.symmetry.align(result.obj, found["known support"].obj).aligned[place]
    axis.imshow(image.numpy(), cmap="gray", vmin=0, vmax=0.8 * float(image.max()))
    axis.set(title=name, xlabel=f"residual {result.error:.3f}")
for axis in axes:
    axis.set(xticks=[], yticks=[])
plt.show()
