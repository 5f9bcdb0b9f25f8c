"""Muon: descent by orthogonal steps, for short trainings."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

#: The quintic whose iteration takes singular values between 0 and 1 to about 1, as fast as one can, not to 1 exactly.
QUINTIC = 3.4445, -4.7750, 2.0315
ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Each step goes along the orthogonalised momentum of the gradient, so that it changes all directions as much.

    A parameter counts as a matrix with one row for each of its first axis: a filter for each output channel. One
    without further axes, such as a bias, is a matrix of one column, whose step is its momentum of norm about 1. Steps
    are scaled to 0.2 ``lr`` root mean square, about that of Adam's, where a square matrix is orthogonal.

    Args:
        parameters: To be optimised.
        lr: The learning rate.
        momentum: The share of the past in the average of gradients; a schedule may move it.

    Source:
        Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks,
        https://kellerjordan.github.io/posts/muon; the scale of its steps: Liu et al. (2025), Muon is scalable for LLM
        training, arXiv:2502.16982.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step along the gradients; those that `closure` computes, if it is given."""
        with torch.enable_grad():
            value = None if closure is None else closure()
        for group in self.param_groups:
            rate, share = group["lr"], group["momentum"]
            for parameter in group["params"]:
                if (gradient := parameter.grad) is None:
                    continue
                past = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                past.lerp_(gradient, 1 - share)
                ahead = gradient.lerp(past, share)  # Nesterov's
                matrix = ahead.reshape(len(ahead), -1) if ahead.ndim else ahead.reshape(1, 1)
                direction = orthogonal(matrix).reshape(parameter.shape)
                parameter.add_(direction, alpha=-0.2 * rate * max(matrix.shape) ** 0.5)
        return value


def orthogonal(matrix: Tensor) -> Tensor:
    """U V' of a matrix U S V', about: its singular values become 0.7 to 1.2 unless they are tiny beside the largest."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / wide.norm().clamp_min(1e-12)
    first, third, fifth = QUINTIC
    for _ in range(ROUNDS):
        square = x @ x.T
        x = first * x + (third * square + fifth * square @ square) @ x
    return x if wide is matrix else x.T
