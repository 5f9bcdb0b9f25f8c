"""
A trained network, and a solver that starts from its answer
===========================================================

A network answers at once and not exactly; a solver is exact, or fails. Together they need
fewer iterations. The network comes with the package.
"""

import matplotlib.pyplot as plt
import torch

import phaseret as pr

digits = pr.datasets.mnist(train=False)[:60]
anywhere = pr.datasets.SymmetryVariant.named("flip_shift", digits)  # on 32 x 32 pixels
objects = anywhere[:]
intensity = pr.operators.fourier_intensity(objects, (64, 64))
net = pr.models.load("unet_dnn_p")  # trained on intensities, without ground truth
with torch.no_grad():
    answer = net(intensity)

known = {"support": torch.ones(32, 32) > 0, "constraint": "nonnegative", "seed": 0}
steps = (10, 20, 40, 80)
solved = {}
for name, init in (("RRR from random starts", None), ("RRR from the network", answer)):
    found = [pr.solvers.RRR(n)(intensity, init=init, starts=1, **known).obj for n in steps]
    solved[name] = [float(pr.metrics.success_rate(obj, objects)) for obj in found]
score, share = pr.metrics.psnr(answer, objects), pr.metrics.success_rate(answer, objects)
print(f"network alone: {score:.1f} dB, solved {share:.0%}")

# %%
# Solved is a relative error below 5 % after alignment. The network solves nothing by
# itself, and saves the solver about half of its iterations.

figure, axes = plt.subplots(
    2, 1, figsize=(5, 4.4), layout="constrained", height_ratios=(1, 1.6)
)
pictures, axis = axes
aligned = pr.symmetry.align(answer[:6], objects[:6]).aligned
shown = [torch.cat(list(images), 1) for images in (objects[:6], aligned)]
pictures.imshow(torch.cat(shown).numpy(), cmap="gray", vmin=0, vmax=1)
pictures.set(title="objects; below them the answers, aligned", xticks=[], yticks=[])
for name, share in solved.items():
    axis.plot(steps, [100 * value for value in share], "o-", label=name)
axis.set(xlabel="iterations", ylabel="solved (%)", ylim=(-3, 103))
axis.legend(loc="upper left")
plt.show()
