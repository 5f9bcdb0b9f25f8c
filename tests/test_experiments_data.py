"""What a training sees: orders and augmentation depend on seed and epoch alone."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from torch.utils.data import DataLoader

from experiments.data import Batches, Patterns
from phaseret.datasets import SymmetryVariant
from phaseret.operators import FourierIntensity

pytestmark = pytest.mark.filterwarnings("default")


def variant() -> SymmetryVariant:
    return SymmetryVariant(torch.rand(21, 6, 6), canvas=(8, 8), seed=3)


def test_batches_depend_on_seed_and_epoch_alone_and_ranks_share_them() -> None:
    data = Patterns(variant(), FourierIntensity((16, 16)))
    first = list(Batches(data, 4, seed=1))
    assert sorted(chain.from_iterable(first)) == list(range(21))
    assert first == list(Batches(data, 4, seed=1)) != list(Batches(data, 4, seed=2))
    again = Batches(data, 4, seed=1)
    again.set_epoch(1)
    assert list(again) != first
    ranks = [list(Batches(data, 4, 1, rank, 2)) for rank in (0, 1)]
    for whole, *parts in zip(first[:-1], *ranks, strict=False):
        assert sorted(whole) == sorted(chain.from_iterable(parts))
    assert [len(parts[-1]) for parts in ranks] == [1, 1]  # one item is left over: both ranks need one
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 2 processes, got 5"):
        Batches(data, 5, 1, 0, 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_is_the_same_with_any_number_of_workers(workers: int) -> None:
    torch.manual_seed(0)
    data = Patterns(variant(), FourierIntensity((16, 16)), augment=True)
    sampler = Batches(data, 4, seed=1)
    loader = DataLoader(data, batch_size=None, sampler=sampler, num_workers=workers)
    epochs = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        epochs.append(torch.cat([objects for objects, _ in loader]))
    data.objects.set_epoch(0)
    assert torch.equal(epochs[0], epochs[2])
    assert torch.equal(epochs[0], data.objects[list(chain.from_iterable(Batches(data, 4, seed=1)))])
    places = data.objects.shifts
    data.objects.set_epoch(1)
    assert not torch.equal(data.objects.shifts, places)
    torch.testing.assert_close(epochs[1].sum(0), data.objects[:].sum(0))  # in another order


def test_measured_patterns_cannot_be_augmented() -> None:
    with pytest.raises(ValueError, match="augment=True moves the objects, and their measured intensities would no"):
        Patterns(variant(), FourierIntensity((16, 16)), torch.rand(21, 16, 16), augment=True)
