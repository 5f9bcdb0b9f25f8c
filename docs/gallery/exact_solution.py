"""
The exact solution of a pattern without noise
=============================================

``algebraic`` needs no start, no support and no iterations: it solves linear equations. It
is for nearly noise-free data; this shows how bright they must be.
"""

import matplotlib.pyplot as plt
import torch

import phaseret as pr

generator = torch.Generator().manual_seed(0)
phase = 6.28 * torch.rand(9, 8, generator=generator, dtype=torch.float64)
obj = torch.polar(0.3 + torch.rand(9, 8, generator=generator, dtype=torch.float64), phase)
intensity = pr.operators.fourier_intensity(obj, (24, 24))
photons, errors = [10.0**power for power in range(9, 19)], []
for total in photons:
    counts = torch.poisson(intensity * total / intensity.sum(), generator=generator)
    result = pr.solvers.algebraic(counts)
    aligned = pr.symmetry.align(result.obj[:9, :8], obj, scale=True).aligned
    errors.append(float((aligned - obj).norm() / obj.norm()))
    print(f"{total:.0e} photons: error {errors[-1]:.0e}, {result.verdict[0]}")

# %%
# A complex object with a random phase at each pixel is the hardest case for iterations.
# Here its error falls with the square root of the photons. The verdict "unique" says that
# no other object has these data. Larger objects need more photons, and far dimmer data
# are refused, with a word of what to use instead. More: :doc:`/exact`.

figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
axis.loglog(photons, errors, "o-")
axis.set(xlabel="photons in the pattern", ylabel="relative error of the object")
plt.show()
