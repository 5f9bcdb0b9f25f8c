"""A measurement of your own: light that passes two diffusers on its way to the detector.

    python examples/own_operator.py

An operator is a class with a linear map and its adjoint. Losses and solvers then take it like those of the library:
here the adjoint is tested, and a complex object is recovered from photon counts by amplitude flow, by any optimiser of
PyTorch on the passive loss, and by refining the first with the likelihood of the counts.

Prints the mismatch of the adjoint and the error of each estimate, and writes the last one as own_operator.png.

Time on one core: 8 s; without vector instructions: 10 s.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import phaseret as pr


class TwoDiffusers(pr.operators.Operator):
    """The far field of the object behind a diffuser, behind a second diffuser, in the far field again."""

    masks: Tensor
    object_shape: tuple[int, ...]
    data_shape: tuple[int, ...]
    object_ndim = 2  # axes of one object, and of one measurement; all axes before them are a batch
    data_ndim = 2

    def __init__(self, object_shape: Sequence[int], data_shape: Sequence[int], seed: int = 0) -> None:
        super().__init__()
        self.object_shape, self.data_shape = tuple(object_shape), tuple(data_shape)
        angles = 2 * torch.pi * torch.rand(2, *data_shape, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("masks", torch.polar(torch.ones_like(angles), angles))  # moves with .to(device)

    def linear(self, obj: Tensor) -> Tensor:
        (n1, n2), (m1, m2) = self.object_shape, self.data_shape
        field = torch.fft.fft2(self.masks[0] * nn.functional.pad(obj, (0, m2 - n2, 0, m1 - n1)), norm="ortho")
        return torch.fft.fft2(self.masks[1] * field, norm="ortho")

    def adjoint(self, field: Tensor, object_shape: Sequence[int] | None = None) -> Tensor:
        n1, n2 = self.object_shape
        field = self.masks[1].conj() * torch.fft.ifft2(field, norm="ortho")
        return (self.masks[0].conj() * torch.fft.ifft2(field, norm="ortho"))[..., :n1, :n2]


def adjoint_mismatch(operator: TwoDiffusers) -> float:
    """How far <linear(x), y> is from <x, adjoint(y)>, relative to the norms: rounding, if all is well."""
    x = torch.randn(operator.object_shape, dtype=torch.complex64)
    y = torch.randn(operator.data_shape, dtype=torch.complex64)
    left = torch.vdot(operator.linear(x).flatten(), y.flatten())
    right = torch.vdot(x.flatten(), operator.adjoint(y).flatten())
    return float((left - right).abs() / (x.norm() * y.norm()))


def descend(start: Tensor, intensity: Tensor, operator: TwoDiffusers, steps: int) -> Tensor:
    """The pixels as parameters of a loss: what one does to train a network, with the object in its place."""
    passive = pr.losses.PassiveLoss(operator=operator, reduction="sum")
    obj = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([obj], lr=0.05 * float(start.abs().mean()))
    for _ in range(steps):
        optimizer.zero_grad()
        passive(obj, intensity).backward()
        optimizer.step()
    return obj.detach()


def main(photons: float = 1e5, steps: int = 200, picture: str = "own_operator.png") -> dict[str, float]:
    """The error of each estimate, relative to the object."""
    torch.manual_seed(0)
    modulus, phase = pr.datasets.mnist(train=False)[:2]
    obj = (0.3 + modulus) * torch.exp(2j * phase)  # (28, 28), complex
    obj = obj * (photons / obj.abs().square().sum()).sqrt()  # in units in which intensities are counts
    operator = TwoDiffusers((28, 28), (96, 96))
    print(f"adjoint: <A x, y> and <x, A* y> differ by {adjoint_mismatch(operator):.0e}")

    counts = torch.poisson(operator(obj))
    start = pr.solvers.spectral_initialization(counts, operator)
    flow = pr.solvers.truncated_amplitude_flow(counts, operator, n_iter=steps).obj
    estimates = {
        "spectral start": start,
        "truncated amplitude flow": flow,
        "Adam on the passive loss": descend(start, counts, operator, steps),
        "flow, then maximum likelihood": pr.solvers.maximum_likelihood(flow, counts, operator).obj,
    }
    errors = {}
    for name, estimate in estimates.items():
        # The data leave no more than the global phase open: the diffusers stand still.
        aligned = pr.symmetry.align(estimate, obj, shift=False, flip=False).aligned
        errors[name] = float((aligned - obj).norm() / obj.norm())
        print(f"{name:>30}: error {errors[name]:.1%}")
    pr.plotting.save_figure(picture, pr.plotting.plot_comparison(estimates[name], obj), overwrite=True)
    return errors


if __name__ == "__main__":
    main()
