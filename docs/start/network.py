import torch

import phaseret as pr

digits = torch.nn.functional.avg_pool2d(pr.datasets.mnist(), 2)  # 14 x 14 pixels
patterns = pr.operators.fourier_intensity(digits, (32, 32))  # what a detector records
network = {"representation": "autocorrelation", "output": "unit", "channels": (8, 32, 64)}
model = pr.models.UNet((14, 14), (32, 32), **network)
loss = pr.losses.PassiveLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for pattern in patterns.repeat(3, 1, 1).split(32):
    optimizer.zero_grad()
    loss(model(pattern), pattern).backward()  # no ground truth enters
    optimizer.step()
answer = model(patterns[:8])[1].detach()
pr.plotting.plot_comparison(answer, digits[1]).savefig("network.png")
