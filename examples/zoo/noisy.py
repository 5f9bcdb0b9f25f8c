"""Training data whose noise is drawn anew in each epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from training import Patterns


class FreshNoise(Patterns):
    """Objects and what is seen of them; the noise of a batch depends on seed, epoch and its first index alone.

    Args:
        objects: (N, n1..nd).
        measure: From a batch of objects, and a generator of random numbers, to what is seen of them.
        seed: Of the noise.
        renewed: Draw it anew in each epoch; for validation do not.
    """

    def __init__(
        self, objects: Tensor, measure: Callable[[Tensor, torch.Generator], Any], seed: int, renewed: bool = True
    ) -> None:
        super().__init__(objects, lambda batch: batch)
        self.noisy, self.seed, self.renewed, self.epoch = measure, seed, renewed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch if self.renewed else 0

    def __getitem__(self, index: Any) -> tuple[Tensor, Any]:
        first = index[0] if isinstance(index, list) else 0
        generator = torch.Generator().manual_seed((self.seed * 1009 + self.epoch) * len(self) + first)
        objects = self.objects[index]
        return objects, self.noisy(objects, generator)
