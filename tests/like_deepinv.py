"""The part of deepinv's interface that the bridges use, in its words: for machines where deepinv cannot be imported.

It computes what deepinv 0.5 computes: the tests of the bridges run with it everywhere, and with deepinv where that is
installed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn


class Physics(nn.Module):
    def __init__(self, A: Callable[..., Tensor] = lambda x, **_: x, noise_model: Any = None) -> None:
        super().__init__()
        self.forw, self.noise_model = A, noise_model or nn.Identity()

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        return self.forw(x, **kwargs)

    def clone(self) -> Physics:
        return copy.deepcopy(self)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        return self.noise_model(self.A(x, **kwargs))


class LinearPhysics(Physics):
    def __init__(
        self, A: Callable[..., Tensor] = lambda x, **_: x, A_adjoint: Callable[..., Tensor] = lambda y, **_: y
    ) -> None:
        super().__init__(A)
        self.A_adj = A_adjoint

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        return self.A_adj(y, **kwargs)


class PhaseRetrieval(Physics):
    def __init__(self, B: LinearPhysics, *, noise_model: Any = None) -> None:
        super().__init__(noise_model=noise_model)
        self.B = B

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        return self.B(x, **kwargs).abs().square()

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        return self.B_adjoint(y, **kwargs)

    def A_dagger(self, y: Tensor, **kwargs: Any) -> Tensor:
        return self.B_adjoint(y * self.B(self.A_adjoint(y)))

    def B_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        return self.B.A_adjoint(y, **kwargs)

    def A_vjp(self, x: Tensor, v: Tensor) -> Tensor:
        return 2 * self.B_adjoint(self.B(x) * v)


class RandomPhaseRetrieval(PhaseRetrieval):
    def __init__(self, m: int, img_size: tuple[int, ...], rng: torch.Generator) -> None:
        matrix = torch.randn(m, math.prod(img_size), dtype=torch.cfloat, generator=rng) / m**0.5
        super().__init__(
            LinearPhysics(
                lambda x, **_: x.reshape(len(x), -1).to(matrix.dtype) @ matrix.mT,
                lambda y, **_: (y.to(matrix.dtype) @ matrix.conj()).reshape(-1, *img_size),
            )
        )


class GaussianNoise(nn.Module):
    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sigma * torch.randn_like(x)


class Loss(nn.Module):
    pass


class MCLoss(Loss):
    def forward(self, y: Tensor, x_net: Tensor, physics: Physics, **kwargs: Any) -> Tensor:
        return nn.functional.mse_loss(physics.A(x_net), y)


class SupLoss(Loss):
    def __init__(self, metric: nn.Module) -> None:
        super().__init__()
        self.metric = metric

    def forward(self, x_net: Tensor, x: Tensor, **kwargs: Any) -> Tensor:
        return self.metric(x_net, x)


class Metric(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lower_better = True

    def forward(self, x_net: Tensor, x: Tensor, **kwargs: Any) -> Any:
        return self.metric(x_net, x, **kwargs)


class L2:
    def grad(self, x: Tensor, y: Tensor, physics: Any) -> Tensor:
        gradient: Tensor = physics.A_vjp(x, physics.A(x) - y)
        return gradient

    def prox(self, x: Tensor, y: Tensor, physics: Any, gamma: Any) -> Tensor:
        nearest: Tensor = physics.prox_l2(x, y, gamma)
        return nearest


def module() -> ModuleType:
    """A module for `import deepinv`."""
    deepinv = ModuleType("deepinv")
    kinds = (LinearPhysics, PhaseRetrieval, RandomPhaseRetrieval, GaussianNoise)
    deepinv.physics = SimpleNamespace(**{kind.__name__: kind for kind in kinds})  # type: ignore[attr-defined]
    deepinv.loss = SimpleNamespace(Loss=Loss, MCLoss=MCLoss, SupLoss=SupLoss)  # type: ignore[attr-defined]
    deepinv.loss.metric = SimpleNamespace(Metric=Metric)  # type: ignore[attr-defined]
    deepinv.optim = SimpleNamespace(L2=L2)  # type: ignore[attr-defined]
    return deepinv
