"""
Schedules, as PyNX and cohere write them
========================================

A schedule is a text: algorithms with their iterations, support updates and loops. These
three are what one would run in three programs; how the words of the others translate is
in :doc:`/peers`.
"""

import matplotlib.pyplot as plt
import torch

import phaseret as pr

obj = torch.nn.functional.pad(pr.datasets.mnist()[5], (2, 2, 2, 2))
intensity = pr.operators.fourier_intensity(obj, (80, 80))
counts = pr.noise.poisson_noise(intensity, photons_per_pixel=100, counts=True)
loose = torch.ones(40, 40) > 0

schedules = {
    "PyNX: (Sup*ER**10*HIO**40)**6": "6*(hio:40,er:10,shrinkwrap)",
    "cohere: 3*(20*ER+80*HIO)+20*ER": "3*(er:20,hio:80),er:20",
    "here: RRR, then ER": "rrr:300,er:20",
}
figure, axis = plt.subplots(figsize=(5, 3.4), layout="constrained")
for (name, schedule), colour in zip(
    schedules.items(), ("tab:blue", "tab:orange", "tab:green"), strict=True
):
    options = {
        "support": loose,
        "constraint": "nonnegative",
        "starts": 1,
        "seed": 1,
        "check_every": 5,
    }
    result = pr.solvers.reconstruct(counts, schedule=schedule, **options)
    axis.plot(result.checked, result.history[0], color=colour, label=name)
    print(f"{name}: residual {result.error:.3f}, of noise {result.expected:.3f}")

# %%
# The residual during the run. HIO wanders and error reduction settles: each short drop is
# an ``er``. The line is what counting noise leaves of the truth; below it the noise is
# fitted too.

axis.axhline(float(result.expected), color="0.6", linestyle=":", label="what noise leaves")
axis.set(xlabel="iteration", ylabel="residual", ylim=(0, 0.3))
axis.legend(fontsize=8)
plt.show()
