import torch

import phaseret as pr

obj = pr.datasets.mnist()[0]
intensity = pr.operators.fourier_intensity(obj, (64, 64))  # or pr.io.load_intensity(FILE)
support = torch.ones(28, 28).bool()  # True where the object may be non-zero
solver = pr.solvers.RRR(n_iter=500)
result = solver(intensity, support=support, constraint="nonnegative", starts=4, seed=0)
print(result)  # Reconstruction(obj (28, 28) torch.float32, error 2e-05, 4 starts ...
print(pr.metrics.psnr(result.obj, obj))  # after shift and flip, which no data show: about 100 dB
pr.plotting.plot_reconstruction(result).savefig("pattern.png")
