"""Tests of the supervised loss."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from phaseret.losses import SupervisedLoss, supervised_loss


@pytest.mark.parametrize("shape", [(5,), (4, 5), (3, 4, 5)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize(("criterion", "power"), [("mse", 2), ("l1", 1)])
def test_value_is_the_mean_distance_of_the_pixels(shape, dtype, criterion, power, device):
    estimate, obj = (torch.randn(2, 3, *shape, dtype=dtype, device=device) for _ in range(2))
    values = supervised_loss(estimate, obj, ndim=len(shape), criterion=criterion, reduction="none")
    expected = ((estimate - obj).abs() ** power).flatten(2).mean(-1)
    torch.testing.assert_close(values, expected)
    options = {"ndim": len(shape), "criterion": criterion}
    torch.testing.assert_close(supervised_loss(estimate, obj, **options), expected.mean())
    torch.testing.assert_close(supervised_loss(estimate, obj, **options, reduction="sum"), expected.sum())


@pytest.mark.parametrize("word", ["mse", "l1", "huber"])
def test_criteria_equal_those_of_torch(word):
    function = {"mse": torch.nn.MSELoss, "l1": torch.nn.L1Loss, "huber": torch.nn.HuberLoss}[word]
    estimate, obj = 3 * torch.randn(2, 4, 5), torch.randn(2, 4, 5)
    torch.testing.assert_close(supervised_loss(estimate, obj, criterion=word), function()(estimate, obj))
    torch.testing.assert_close(
        supervised_loss(estimate, obj, criterion=function(reduction="none")), function()(estimate, obj)
    )


@given(st.integers(1, 6), st.integers(1, 6))
def test_a_shifted_copy_is_counted_as_wrong(height, width):
    obj = torch.zeros(height + 1, width + 1)
    obj[0, 0] = 1
    assert supervised_loss(obj, obj) == 0
    assert supervised_loss(obj.roll((1, 1), (0, 1)), obj) == pytest.approx(2 / obj.numel())


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("criterion", ["mse", "l1", "huber"])
def test_gradcheck_and_gradgradcheck(dtype, criterion):
    estimate, obj = 2 * torch.randn(2, 3, 4, dtype=dtype), torch.randn(2, 3, 4, dtype=dtype)
    estimate.requires_grad_()
    assert gradcheck(lambda x: supervised_loss(x, obj, criterion=criterion, reduction="none"), estimate, fast_mode=True)
    assert gradgradcheck(
        lambda x: supervised_loss(x, obj, criterion=criterion, reduction="none"), estimate, fast_mode=True
    )


@pytest.mark.parametrize("criterion", ["mse", "l1", "huber"])
def test_gradient_is_finite_at_the_solution(criterion):
    estimate = torch.ones(4, 4, dtype=torch.complex64, requires_grad=True)
    (gradient,) = torch.autograd.grad(supervised_loss(estimate, estimate.detach(), criterion=criterion), estimate)
    assert not gradient.any()


def test_half_precision_is_computed_in_single_precision():
    value = supervised_loss(torch.ones(4, 4).bfloat16(), torch.zeros(4, 4).bfloat16())
    assert value.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([1.0], torch.ones(4, 4)), {}, TypeError, "estimate must be a torch.Tensor, got list"),
        ((torch.ones(4, 4).int(), torch.ones(4, 4)), {}, TypeError, "estimate must be real or complex floating"),
        (
            (torch.ones(4, 4), torch.ones(4, 5)),
            {},
            ValueError,
            r"shapes must be equal, got estimate \(4, 4\), obj \(4, 5\)",
        ),
        ((torch.ones(4), torch.ones(4)), {}, ValueError, "estimate must have at least 2 axes"),
        ((torch.ones(0, 4, 4), torch.ones(0, 4, 4)), {}, ValueError, "estimate must hold at least one element"),
        ((torch.ones(4, 4), torch.ones(4, 4)), {"criterion": "l3"}, ValueError, "criterion must be one of 'mse'"),
        ((torch.ones(4, 4), torch.ones(4, 4)), {"reduction": "all"}, ValueError, "reduction must be one of 'mean'"),
        ((torch.ones(1, 1, 4, 4),) * 2, {"ndim": 4}, ValueError, "ndim must be 1, 2 or 3, got 4. Axes before these"),
        ((torch.ones(4, 4), torch.ones(4, 4)), {"ndim": 0}, ValueError, "ndim must be an integer of at least 1, got 0"),
    ],
)
def test_error_names_the_argument_and_the_rule(arguments, options, error, message):
    with pytest.raises(error, match=message):
        supervised_loss(*arguments, **options)


def test_module_equals_function():
    estimate, obj = torch.rand(2, 4, 4, 4), torch.rand(2, 4, 4, 4)
    options = {"ndim": 3, "criterion": "huber", "reduction": "none"}
    torch.testing.assert_close(SupervisedLoss(**options)(estimate, obj), supervised_loss(estimate, obj, **options))
    assert "ndim=3, criterion='huber', reduction='none'" in repr(SupervisedLoss(**options))
