"""Chains from noise to counts: their step to the data, their likelihood, and what they make of counts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import phaseret as pr
from phaseret.bench import _annealed

UNIT, GRID = 0.3, (12, 12)


def drawn(seed: int = 0) -> tuple[Tensor, Tensor]:
    """An image and its counts on the whole plane."""
    generator = torch.Generator().manual_seed(seed)
    obj = torch.rand(6, 6, generator=generator)
    return obj, torch.poisson(pr.operators.fourier_intensity(obj, GRID) / UNIT, generator=generator)


# --- values -----------------------------------------------------------------------------------------------------------


def test_the_step_to_the_counts_is_the_minimum() -> None:
    generator, weight = torch.Generator().manual_seed(1), 7.0
    field = torch.randn(5, 4, dtype=torch.complex128, generator=generator)
    counts = torch.randint(0, 4, (5, 4), generator=generator).double()
    found = _annealed.nearest_explaining(field, counts, UNIT, weight)
    moduli = torch.linspace(1e-4, 4, 40_000, dtype=torch.float64)[:, None, None]
    value = moduli**2 / UNIT - 2 * counts * moduli.log() + weight / 2 * (moduli - field.abs()) ** 2
    assert torch.allclose(found.abs(), moduli[value.argmin(0)][..., 0, 0], atol=2e-4)
    assert torch.allclose(found.angle(), field.angle())


def test_the_likelihood_is_that_of_all_pixels() -> None:
    _, counts = drawn()
    images = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(2))
    half = ((counts + counts.roll((-1, -1), (0, 1)).flip(0, 1)) / 2)[:, :7]
    found = _annealed.unlikelihood(images, half, UNIT)
    expected = pr.operators.fourier_intensity(images, GRID) / UNIT
    slow = -torch.distributions.Poisson(expected).log_prob(counts).sum((-2, -1))
    assert torch.allclose(found - found[0], slow - slow[0], rtol=1e-3)


# --- properties -------------------------------------------------------------------------------------------------------


def test_a_denoiser_that_knows_the_image_gives_it() -> None:
    obj, counts = drawn()
    found = _annealed.posterior_mean(counts, UNIT, lambda x: obj.expand_as(x), obj.shape, 0)
    assert torch.allclose(pr.symmetry.align(found, obj, fourier_shape=GRID).aligned[:6, :6], obj, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same(seed: int) -> None:
    obj, counts = drawn()
    first, again = (_annealed.posterior_mean(counts, UNIT, lambda x: x / 2, obj.shape, seed) for _ in range(2))
    assert torch.equal(first, again)
