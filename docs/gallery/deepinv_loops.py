"""
In deepinv: its loops, our measurement
======================================

Plug-and-play and training are deepinv's here; the operator, the loss and the score are
ours. It needs ``pip install deepinv``, some gigabytes with torchvision, and is therefore
not run when these pages are made: the picture is what it drew with deepinv 0.5.0.

.. image:: /deepinv_loops.png
   :alt: digits, the starts, what plug-and-play makes of them, and the scores of a training
"""

import logging

import deepinv
import matplotlib.pyplot as plt
import torch

import phaseret as pr

torch.manual_seed(0)
digits = pr.datasets.mnist()[:, None]  # with a channel, as images have there
psnr = pr.interop.metric_to_deepinv(pr.metrics.psnr)  # aligned first

# Plug and play: their ADMM with a denoiser, from the answer of a solver of ours.
test = digits[4000:4006]
physics = pr.interop.to_deepinv(pr.operators.FourierIntensity((64, 64)), (28, 28))
noisy = pr.noise.poisson_noise(physics.A(test), photons_per_pixel=3)
known = {"support": torch.ones(28, 28) > 0, "constraint": "nonnegative", "seed": 0}
start = pr.solvers.Recipe("raar(beta=0.9):100,er:20")(noisy, **known).obj
prior = deepinv.optim.PnP(deepinv.models.TVDenoiser(n_it_max=20))
options = {"stepsize": 0.1, "sigma_denoiser": 0.003, "max_iter": 10, "early_stop": False}
admm = deepinv.optim.ADMM(data_fidelity=deepinv.optim.L2(), prior=prior, **options)
found = admm(noisy, physics, init=(start, start))


class Network(deepinv.models.Reconstructor):
    def __init__(self):
        super().__init__()
        seen = {
            "representation": "autocorrelation",
            "output": "unit",
            "channels": (8, 32, 64),
        }
        self.net = pr.models.UNet((14, 14), (32, 32), **seen)

    def forward(self, y, physics, **options):
        return self.net(y)


# Their trainer, with the passive loss: the objects serve for the score alone.
logging.disable(logging.INFO)
network = Network()
half = torch.nn.functional.avg_pool2d(digits, 2)
physics = pr.interop.to_deepinv(pr.operators.FourierIntensity((32, 32)), (14, 14))
pairs = [{"x": x, "y": physics.A(x[None])[0]} for x in half]
loader = torch.utils.data.DataLoader
train, held_out = loader(pairs[:1500], 32), loader(pairs[4400:], 32)
quiet = {"save_path": None, "show_progress_bar": False}
trainer = deepinv.Trainer(
    model=network,
    physics=physics,
    optimizer=torch.optim.Adam(network.parameters(), lr=3e-3),
    train_dataloader=train,
    eval_dataloader=held_out,
    losses=pr.interop.loss_to_deepinv(pr.losses.PassiveLoss()),
    metrics=psnr,
    epochs=3,
    online_measurements=False,
    **quiet,
)
trainer.train()

# sphinx_gallery_thumbnail_path = "deepinv_loops.png"
# %%
# Above digits, the solver's answers from three photons per pixel, and what plug-and-play
# makes of them; below the score of the network on digits that it was not trained on.

figure = plt.figure(figsize=(5, 5), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=(3, 2))
rows = {"object": test, "start": start, "ADMM": found}
for row, (name, images) in zip(above.subplots(3, 6), rows.items(), strict=True):
    for axis, image, obj in zip(row, images, test, strict=True):
        shown = pr.symmetry.align(image, obj).aligned[0].numpy()
        axis.imshow(shown, cmap="gray", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
    score = "" if images is test else f"\n{psnr(images, test).mean():.1f} dB"
    row[0].set_ylabel(name + score)
axis = below.subplots()
(scores,) = trainer.eval_metrics_history.values()
axis.plot(range(1, len(scores) + 1), scores, "o-")
axis.set(xlabel="epoch", ylabel="aligned PSNR, dB", xticks=range(1, len(scores) + 1))
plt.show()
