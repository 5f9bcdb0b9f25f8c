"""What a training sees: objects with their intensities, in an order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

HELD_OUT = 20  # one training image in so many is for early stopping, not for training
Sliced = TypeVar("Sliced")


def images_of(images: Tensor, count: int) -> Tensor:
    """The first so many images; an error if there are not as many."""
    if len(images) < count:
        raise ValueError(
            f"the data must hold {count} images, got {len(images)}. Give MNIST's IDX files: --data FOLDER."
        )
    return images[:count]


def divided(images: Sliced) -> tuple[Sliced, Sliced]:
    """Those to train on, and the last ones for early stopping."""
    split = len(images) - len(images) // HELD_OUT
    return images[:split], images[split:]


def complex_digits(modulus: Tensor, seed: int) -> Tensor:
    """The digits with a smooth random phase each, a cubic polynomial of about two pi."""
    n = modulus.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.linspace(-1, 1, n), torch.linspace(-1, 1, n), indexing="ij")
    terms = torch.stack([x, y, x * y, x**2, y**2, x**3, y**3])
    phase = (torch.randn(len(modulus), len(terms), generator=generator) @ terms.flatten(1)).unflatten(-1, (n, n))
    return torch.polar(modulus, 2 * phase)


class Patterns(Dataset[tuple[Tensor, Tensor]]):
    """Objects and their intensities; a batch of items for a list of indices: (objects, intensities).

    Args:
        objects: (N, n1..nd) tensor, or a dataset such as `SymmetryVariant` that a list of indices gives a batch of.
        measure: From a batch of objects to their intensities.
        intensities: (N, m1..md) what was measured instead, such as noisy patterns, one for each object.
        augment: Tell the objects the epoch before it begins, by their `set_epoch`, so that they are drawn anew.
    """

    def __init__(
        self,
        objects: Any,
        measure: Callable[[Tensor], Tensor],
        intensities: Tensor | None = None,
        augment: bool = False,
    ) -> None:
        if augment and intensities is not None:
            raise ValueError("augment=True moves the objects, and their measured intensities would no longer fit.")
        self.objects, self.measure, self.intensities, self.augment = objects, measure, intensities, augment

    def set_epoch(self, epoch: int) -> None:
        if self.augment:
            self.objects.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, index: Any) -> tuple[Tensor, Tensor]:
        objects = self.objects[index]
        return objects, self.measure(objects) if self.intensities is None else self.intensities[index]


class FreshNoise(Patterns):
    """Objects and what is seen of them; the noise of a batch depends on seed, epoch and its first index alone.

    Args:
        objects: (N, n1..nd).
        measure: From a batch of objects, and a generator of random numbers, to what is seen of them.
        seed: That of the noise.
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


class Batches(Sampler[list[int]]):
    """Indices of each batch, in an order that depends on seed and epoch alone; one rank's share of each batch."""

    def __init__(self, data: Patterns, batch_size: int, seed: int | None, rank: int = 0, ranks: int = 1) -> None:
        if batch_size % ranks:
            raise ValueError(f"batch_size must be a multiple of the {ranks} processes, got {batch_size}.")
        self.data, self.batch_size, self.seed, self.rank, self.ranks = data, batch_size, seed, rank, ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch
        self.data.set_epoch(epoch)

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(len(self.data)))
        if self.seed is not None:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(len(order), generator=generator).tolist()
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            # Every rank needs an equal share, or the average of their gradients is not the batch's.
            batch = batch[: len(batch) // self.ranks * self.ranks] or [*batch, *order][: self.ranks]
            yield batch[self.rank :: self.ranks]
