"""IoU of the supports and error of the phase: closed forms, symmetries, errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from phaseret import symmetry
from phaseret.metrics import iou, phase_error


def cube(first: int, last: int, n: int = 9) -> torch.Tensor:
    obj = torch.zeros(n, n, n, dtype=torch.complex64)
    obj[first:last, first:last, first:last] = 1
    return obj


def test_iou_of_two_cubes_is_that_of_their_volumes() -> None:
    assert iou(cube(2, 5), cube(2, 6), ndim=3) == pytest.approx(27 / 64)
    assert iou(cube(2, 5), cube(4, 7), align=False, ndim=3) == pytest.approx(1 / 53)
    assert iou(cube(0, 0), cube(2, 5), ndim=3) == 0
    assert iou(cube(0, 0), cube(0, 0), ndim=3).isnan()


def test_what_lies_outside_the_box_of_the_object_counts_as_outside() -> None:
    estimate = torch.zeros(9, 9, 9)
    estimate[2:7, 2:5, 2:5] = 1
    assert iou(estimate, torch.ones(3, 3, 3), ndim=3) == pytest.approx(27 / 45)


def test_phase_error_of_a_step_is_its_mean_from_the_best_phase() -> None:
    obj = torch.ones(10, dtype=torch.complex64)
    estimate = obj.clone()
    estimate[:5] *= torch.exp(torch.tensor(0.4j))  # the mean direction is half of it
    assert phase_error(estimate, obj, ndim=1) == pytest.approx(0.2, abs=1e-6)
    assert phase_error(estimate, obj, align=False, ndim=1) == pytest.approx(0.2, abs=1e-6)
    assert phase_error(-estimate, obj, align=False, ndim=1) == pytest.approx((math.pi + math.pi - 0.4) / 2, abs=1e-5)


def test_phase_error_leaves_out_what_only_one_has_and_moduli_do_not_matter() -> None:
    obj = torch.polar(torch.tensor([1.0, 2.0, 3.0, 0.0]), torch.tensor([0.1, 0.7, -0.3, 0.0]))
    estimate = obj * torch.tensor([0.0, 5.0, 0.1, 1.0]) + torch.tensor([0, 0, 0, 1.0])
    assert phase_error(estimate, obj, align=False, ndim=1) == pytest.approx(0, abs=1e-6)
    assert phase_error(obj * torch.tensor([1.0, 0, 0, 0]), obj.flip(0), align=False, ndim=1).isnan()


def test_neither_sees_the_symmetries_and_items_are_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    obj = torch.randn(3, 6, 5, dtype=torch.complex64, generator=generator)
    obj[:, 0] = obj[:, :, -1] = 0
    moved = symmetry.conj_flip(obj) * 1j
    for metric, perfect in ((iou, 1.0), (phase_error, 0.0)):
        found = metric(moved, obj, reduction="none")
        assert found.shape == (3,)
        torch.testing.assert_close(found, torch.full((3,), perfect), atol=1e-5, rtol=0)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("metric", [iou, phase_error])
def test_an_item_that_is_not_finite_has_no_value(metric: Any, dtype: torch.dtype, align: bool) -> None:
    obj = torch.ones(3, 4, 5, dtype=dtype)
    for value in (math.nan, math.inf):
        spoilt = obj.clone()
        spoilt[1, 2, 3] = value
        for pair in ((spoilt, obj), (obj, spoilt)):
            assert metric(*pair, align=align, reduction="none").isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("metric", [iou, phase_error])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.ones(4, 4), torch.ones(4, 5)), ValueError, "shapes must be equal"),
        ((torch.ones(4, 4).long(), torch.ones(4, 4)), TypeError, "estimate must be"),
    ],
)
def test_wrong_tensors_are_refused(metric: Any, arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        metric(*arguments)


def test_the_classes_average_what_the_functions_give() -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    from phaseret.metrics import IoU, PhaseError

    obj = cube(2, 6)
    for cls, function in ((IoU, iou), (PhaseError, phase_error)):
        metric = cls(ndim=3)
        assert isinstance(metric, torchmetrics.Metric)
        metric.update(cube(2, 5)[None], obj[None])
        metric.update(obj[None], obj[None])
        expected = (function(cube(2, 5), obj, ndim=3) + function(obj, obj, ndim=3)) / 2
        torch.testing.assert_close(metric.compute(), expected)
