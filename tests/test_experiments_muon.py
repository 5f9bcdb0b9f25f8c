"""The optimiser of short trainings: orthogonal steps, compared with singular values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from experiments.muon import Muon, orthogonal


def step_of(gradient: Tensor, lr: float = 0.1) -> Tensor:
    """What the first step adds to a parameter of zeros."""
    parameter = nn.Parameter(torch.zeros_like(gradient))
    parameter.grad = gradient
    Muon([parameter], lr).step()
    return parameter.detach()


def conditioned(rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and V' of a matrix whose singular values are between 0.2 and 1."""
    u, values, v = torch.linalg.svd(torch.randn(rows, columns, dtype=torch.float64), full_matrices=False)
    return u, torch.linspace(1, 0.2, len(values), dtype=torch.float64), v


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 4), (3, 9), (9, 3), (5, 1), (1, 5)])
def test_singular_values_become_about_one_and_singular_vectors_stay(shape: tuple[int, int]) -> None:
    u, values, v = conditioned(*shape)
    found = u.T @ orthogonal(u * values @ v) @ v.T
    torch.testing.assert_close(found, torch.diag(found.diagonal()), rtol=0, atol=1e-9)
    assert ((found.diagonal() > 0.65) & (found.diagonal() < 1.25)).all()


@pytest.mark.parametrize("shape", [(6, 6), (8, 3, 3, 3), (16, 4, 2, 2)])
def test_a_step_goes_down_with_the_size_of_one_of_adam(shape: tuple[int, ...]) -> None:
    u, values, v = conditioned(shape[0], torch.Size(shape[1:]).numel())
    gradient = (u * values @ v).reshape(shape)
    step = step_of(gradient)
    assert (step * gradient).sum() < 0
    assert 0.65 < step.square().mean().sqrt() / (0.1 * 0.2) < 1.25


def test_vectors_and_numbers_take_normalised_steps() -> None:
    vector, number = torch.tensor([3.0, -4.0]), torch.tensor(-7.0)
    along = step_of(vector)
    torch.testing.assert_close(along / along.norm(), -vector / 5)
    assert 0 < step_of(number) < 0.1 * 0.2 * 1.25


@pytest.mark.parametrize(("share", "expected"), [(0.25, -1.0), (0.9, 1.0)])
def test_the_momentum_is_that_of_nesterov(share: float, expected: float) -> None:
    """After -1 and 0.1, one goes along (1 - share) * (0.1 + share * 0.1 - share**2); along share - 0.1 without him."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = Muon([parameter], 1.0, share)
    for gradient in (-1.0, 0.1):
        before = parameter.detach().clone()
        parameter.grad = torch.tensor([gradient])
        optimizer.step()
    assert torch.sign(parameter.detach() - before) == expected


# --- properties -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_a_step_does_not_depend_on_the_scale_of_the_loss(factor: float) -> None:
    gradient = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(step_of(factor * gradient), step_of(gradient))


def test_it_finds_a_minimum_where_directions_are_unequally_steep() -> None:
    """A thousand times: plain descent would need thousands of steps."""
    u, _, v = conditioned(6, 6)
    target, steepness = torch.randn(6, 6, dtype=torch.float64), torch.logspace(0, -3, 6, dtype=torch.float64)
    parameter = nn.Parameter(torch.zeros_like(target))
    optimizer = Muon([parameter], 1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, 200)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = (steepness * (u.T @ (parameter - target) @ v.T).square()).sum()
        value.backward()
        return value.detach()

    first = loss()
    for _ in range(200):
        optimizer.step(loss)  # type: ignore[arg-type]
        schedule.step()
    assert loss() < 1e-3 * first


# --- edges ------------------------------------------------------------------------------------------------------------


def test_no_gradient_and_a_gradient_of_zeros_change_nothing() -> None:
    parameter = nn.Parameter(torch.ones(2, 2))
    optimizer = Muon([parameter], 0.1)
    assert optimizer.step() is None
    parameter.grad = torch.zeros(2, 2)
    optimizer.step()
    assert torch.equal(parameter.detach(), torch.ones(2, 2))
