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
def test_a_step_of_a_matrix_goes_down_and_has_a_known_size(shape: tuple[int, ...]) -> None:
    rows, columns = shape[0], torch.Size(shape[1:]).numel()
    u, values, v = conditioned(rows, columns)
    gradient = (u * values @ v).reshape(shape)
    step = step_of(gradient)
    assert (step * gradient).sum() < 0
    assert 0.65 < step.square().mean().sqrt() / (0.1 * 0.4) < 1.25


def test_a_matrix_has_the_momentum_of_nesterov() -> None:
    """Its steps are those along (1 - share) * gradient + share * average."""
    first, second = torch.randn(2, 3, 4, dtype=torch.float64)
    parameter = nn.Parameter(torch.zeros_like(first))
    optimizer = Muon([parameter], 1.0, momentum=0.75)
    for gradient in (first, second):
        before = parameter.detach().clone()
        parameter.grad = gradient
        optimizer.step()
    average = 0.75 * 0.25 * first + 0.25 * second
    expected = -0.4 * 4**0.5 * orthogonal(0.25 * second + 0.75 * average)
    torch.testing.assert_close(parameter.detach() - before, expected)


@pytest.mark.parametrize("shape", [(), (5,), (1, 5, 1, 1), (5, 1)])
def test_what_is_no_matrix_moves_as_with_adam(shape: tuple[int, ...]) -> None:
    ours, theirs = (nn.Parameter(torch.ones(shape, dtype=torch.float64)) for _ in range(2))
    optimizers = Muon([ours], 0.01), torch.optim.Adam([theirs], 0.01)
    schedules = [torch.optim.lr_scheduler.OneCycleLR(each, 0.01, 20) for each in optimizers]
    for _ in range(20):
        ours.grad = torch.randn(shape, dtype=torch.float64)
        theirs.grad = ours.grad.clone()
        for each in (*optimizers, *schedules):
            each.step()
    torch.testing.assert_close(ours, theirs)
    assert (ours != 1).all()


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
