"""Muon: descent by orthogonal steps, for short trainings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

#: The quintic whose iteration takes singular values between 0 and 1 to about 1, as fast as one can, not to 1 exactly.
QUINTIC = 3.4445, -4.7750, 2.0315
ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Matrices move along their orthogonalised momentum, which changes all directions as much; the rest as with Adam.

    A parameter counts as a matrix with one row for each of its first axis: a filter for each output channel. What has
    one row or one column only, such as a bias, is the rest. Steps of a square matrix have 0.4 ``lr`` root mean square.

    Args:
        parameters: To be optimised.
        lr: The learning rate.
        betas: Those of Adam, for the rest; a schedule may move the first.
        momentum: The share of the past in the average of a matrix's gradients.

    Source:
        Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks,
        https://kellerjordan.github.io/posts/muon; the scale of its steps: Liu et al. (2025), Muon is scalable for LLM
        training, arXiv:2502.16982, with 0.2. Adam: Kingma, Ba (2015), arXiv:1412.6980.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        momentum: float = 0.95,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step along the gradients; those that `closure` computes, if it is given."""
        with torch.enable_grad():
            value = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if (gradient := parameter.grad) is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state |= {"count": 0, "mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient)}
                if gradient.ndim > 1 and min(len(gradient), gradient[0].numel()) > 1:
                    step = orthogonal_step(gradient, state["mean"], group["momentum"])
                else:
                    step = adam_step(gradient, state, *group["betas"])
                parameter.add_(step, alpha=-group["lr"])
        return value


def orthogonal_step(gradient: Tensor, mean: Tensor, share: float) -> Tensor:
    """The orthogonal direction of the gradients' average, looked at one step ahead; the average is moved."""
    mean.lerp_(gradient, 1 - share)
    matrix = gradient.lerp(mean, share).flatten(1)
    return 0.4 * max(matrix.shape) ** 0.5 * orthogonal(matrix).reshape(gradient.shape)


def adam_step(gradient: Tensor, state: dict[str, Any], first: float, second: float) -> Tensor:
    """The average of the gradients over the root of that of their squares; both are moved."""
    state["count"] += 1
    state["mean"].lerp_(gradient, 1 - first)
    state["square"].lerp_(gradient.square(), 1 - second)
    mean, square = (state[name] / (1 - beta ** state["count"]) for name, beta in (("mean", first), ("square", second)))
    return mean / (square.sqrt() + 1e-8)


def orthogonal(matrix: Tensor) -> Tensor:
    """U V' of a matrix U S V', about: its singular values become 0.7 to 1.2 unless they are tiny beside the largest."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / wide.norm().clamp_min(1e-12)
    first, third, fifth = QUINTIC
    for _ in range(ROUNDS):
        square = x @ x.T
        x = first * x + (third * square + fifth * square @ square) @ x
    return x if wide is matrix else x.T
