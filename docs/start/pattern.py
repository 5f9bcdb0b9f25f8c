import torch

import phaseret as pr

obj = pr.datasets.mnist()[0]
intensity = pr.operators.fourier_intensity(obj, (64, 64))  # or yours: pr.io.load_intensity("pattern.cxi").intensity
support = torch.ones(28, 28).bool()  # True where the object may be non-zero
solver = pr.solvers.RRR(n_iter=500)
result = solver(intensity, support=support, constraint="nonnegative", starts=4, seed=0)
print(result)
print(pr.metrics.psnr(result.obj, obj))  # compared after shift and flip, which no measurement sees: above 90 dB
pr.plotting.plot_reconstruction(result).savefig("pattern.png")
