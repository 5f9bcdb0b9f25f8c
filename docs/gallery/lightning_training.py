"""
Training with Lightning, in mixed precision
===========================================

A network, an operator and a loss are Modules: a LightningModule is ten lines. Transforms
and losses stay in single precision where ``precision="bf16-mixed"`` makes the network's
layers faster.
"""

import logging
import warnings

import lightning
import matplotlib.pyplot as plt
import torch

import phaseret as pr


class Passive(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        options = {
            "representation": "autocorrelation",
            "output": "unit",
            "channels": (8, 32, 64),
        }
        self.net = pr.models.UNet((14, 14), (32, 32), **options)
        self.loss, self.losses = pr.losses.PassiveLoss(), []

    def training_step(self, intensity):
        loss = self.loss(self.net(intensity), intensity)
        self.losses.append(float(loss.detach()))
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
warnings.simplefilter("ignore")  # its advice about workers
lightning.seed_everything(0, verbose=False)
objects = torch.nn.functional.avg_pool2d(pr.datasets.mnist()[:1024], 2)
intensities = pr.operators.fourier_intensity(objects, (32, 32))
loader = torch.utils.data.DataLoader(intensities, batch_size=32, shuffle=True)
model = Passive()
quiet = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
lightning.Trainer(max_epochs=2, precision="bf16-mixed", accelerator="cpu", **quiet).fit(
    model, loader
)

# %%
# The loss has no ground truth in it, and falls all the same. A longer example with
# validation, metrics and a checkpoint: ``examples/train_lightning.py``.

figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
axis.semilogy(model.losses)
axis.set(xlabel="step of 32 patterns", ylabel="passive loss")
plt.show()
