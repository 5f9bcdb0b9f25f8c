"""The metrics as torchmetrics classes: alone, in a MetricCollection, in Lightning, saved and merged."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from phaseret import metrics
from phaseret.operators import CodedDiffraction, FourierIntensity, fourier_intensity

OF_OBJECT = [
    (metrics.MSE, metrics.mse, {"align": False}),
    (metrics.NMSE, metrics.nmse, {}),
    (metrics.PSNR, metrics.psnr, {"data_range": 2.0}),
    (metrics.SSIM, metrics.ssim, {"win_size": 7, "data_range": 3.0, "align": False}),
    (metrics.SuccessRate, metrics.success_rate, {"threshold": 0.2}),
]
OF_DATA = [
    (metrics.RelativeMagnitudeError, metrics.relative_magnitude_error),
    (metrics.RFactor, metrics.r_factor),
    (metrics.PoissonLogLikelihood, metrics.poisson_log_likelihood),
]


def batches() -> list[tuple[Tensor, Tensor]]:
    """Batches of different sizes and ranks, some items nearly right."""
    shapes = [(4, 9, 8), (1, 9, 8), (2, 3, 9, 8), (9, 8)]
    objects = [torch.rand(shape) for shape in shapes]
    return [(obj + 0.2 * torch.rand(*obj.shape[:-2], 1, 1) * torch.rand_like(obj), obj) for obj in objects]


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("cls", "function", "options"), OF_OBJECT)
def test_class_averages_the_function_over_all_items(
    cls: Callable[..., Any], function: Callable[..., Tensor], options: dict[str, Any], reduction: str
) -> None:
    metric = cls(reduction=reduction, **options)
    values = []
    for estimate, obj in batches():
        metric.update(estimate, obj)
        values.append(function(estimate, obj, reduction="none", **options).flatten())
    every = torch.cat(values)
    expected = {"mean": every.mean(), "sum": every.sum(), "none": every}[reduction]
    torch.testing.assert_close(metric.compute(), expected)
    metric.reset()
    estimate, obj = batches()[0]
    torch.testing.assert_close(metric(estimate, obj), function(estimate, obj, reduction=reduction, **options))


@pytest.mark.parametrize(("cls", "function"), OF_DATA)
def test_class_of_data_averages_the_function(cls: Callable[..., Any], function: Callable[..., Tensor]) -> None:
    op = FourierIntensity((20, 17), onesided=True)
    mask = torch.rand(20, 9) > 0.3
    metric, values = cls(op, mask=mask), []
    for estimate, obj in batches():
        metric.update(estimate, op(obj))
        values.append(function(estimate, op(obj), op, mask=mask, reduction="none").flatten())
    torch.testing.assert_close(metric.compute(), torch.cat(values).mean())
    default = cls()
    estimate, obj = batches()[0]
    intensity = fourier_intensity(obj, (20, 17))
    torch.testing.assert_close(default(estimate, intensity), function(estimate, intensity))


# --- properties ------------------------------------------------------------------------------------------------------


def test_a_collection_keeps_metrics_apart_whose_first_values_agree() -> None:
    """torchmetrics merges metrics of equal states; ours may agree on one batch and differ on the next."""
    from torchmetrics import MetricCollection

    collection = MetricCollection(
        {
            "strict": metrics.SuccessRate(threshold=0.01),
            "loose": metrics.SuccessRate(threshold=0.5),
            "raw": metrics.MSE(align=False),
            "aligned": metrics.MSE(),
            "nmse": metrics.NMSE(),
        }
    )
    obj = torch.rand(2, 9, 8)
    collection.update(obj, obj)
    collection.update(1.1 * obj, obj)
    collection.update(obj.flip(-2, -1), obj)
    values = collection.compute()
    assert values["strict"].item() == pytest.approx(2 / 3)
    assert values["loose"].item() == 1
    assert values["raw"] > 0.02
    assert 0 < values["aligned"] < 0.01
    assert values["nmse"].item() == pytest.approx(0.01 / 3, rel=1e-3)


def test_a_collection_keeps_masks_and_operators_apart_whose_first_values_agree() -> None:
    from torchmetrics import MetricCollection

    free, obj = torch.rand(20, 17) < 0.2, torch.rand(4, 9, 8)
    data = fourier_intensity(obj, (20, 17))
    masks = torch.rand(2, 5, 9, 8).exp(), torch.rand(2, 5, 9, 8).exp()
    kinds = {
        "work": metrics.RFactor(mask=~free),
        "free": metrics.RFactor(mask=free),
        "same": metrics.RFactor(mask=free.clone()),
        **{f"coded{i}": metrics.RFactor(CodedDiffraction(m[0])) for i, m in enumerate(masks)},
    }
    far_field = MetricCollection({name: kinds[name] for name in ("work", "free", "same")})
    wrong = torch.rand(4, 9, 8)
    for estimate in (0.9 * obj, wrong):
        far_field.update(estimate, data)
    values = far_field.compute()
    for name, mask in {"work": ~free, "free": free, "same": free}.items():
        expected = (0.1 + metrics.r_factor(wrong, data, mask=mask)) / 2
        torch.testing.assert_close(values[name], expected)
    names = [metric._state for metric in kinds.values()]
    assert names[1] == names[2]
    assert len(set(names)) == 4


@pytest.mark.parametrize(("cls", "function"), OF_DATA)
@pytest.mark.parametrize("own", [None, torch.rand(20, 17) > 0.3])
def test_a_mask_that_comes_with_the_batch_goes_together_with_the_metrics_own(
    cls: Callable[..., Any], function: Callable[..., Tensor], own: Tensor | None
) -> None:
    estimate, obj = batches()[0]
    mask = torch.rand(4, 20, 17) > 0.2
    both = mask if own is None else mask & own
    intensity = fourier_intensity(obj, (20, 17)).masked_fill(~both, torch.nan)
    metric = cls(mask=own)
    expected = function(estimate, intensity, mask=both)
    torch.testing.assert_close(metric(estimate, intensity, mask=mask), expected)
    torch.testing.assert_close(metric.compute(), expected)
    if own is not None:
        with pytest.raises(ValueError, match=rf"^{cls.__name__}: mask must broadcast to the intensity \(4, 20, 17\)"):
            metric.update(estimate, intensity, mask=mask[:3])


def test_a_collection_of_classes_is_named_after_them() -> None:
    from torchmetrics import MetricCollection

    collection = MetricCollection([metrics.PSNR(), metrics.SSIM(win_size=7)], prefix="val/")
    assert set(collection(*batches()[0])) == {"val/PSNR", "val/SSIM"}


def test_the_values_of_no_batch_are_none() -> None:
    metric = metrics.PSNR(reduction="none")
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        assert metric.compute().shape == (0,)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_classes_can_be_copied_pickled_saved_and_merged(reduction: str) -> None:
    first, second = batches()[:2]
    metric = metrics.PSNR(reduction=reduction)
    metric.update(*first)
    for other in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        torch.testing.assert_close(other.compute(), metric.compute())
    metric.persistent(True)
    fresh = metrics.PSNR(reduction=reduction)
    fresh.persistent(True)
    fresh.update(*second)
    fresh.compute()
    fresh.load_state_dict(metric.state_dict())
    with warnings.catch_warnings():
        # torchmetrics counts updates of this instance only and warns before the first.
        warnings.simplefilter("ignore", UserWarning)
        torch.testing.assert_close(fresh.compute(), metric.compute())
    both, part = metrics.PSNR(reduction=reduction), metrics.PSNR(reduction=reduction)
    both.update(*first)
    both.update(*second)
    part.update(*second)
    metric.merge_state(part)
    torch.testing.assert_close(metric.compute(), both.compute())
    empty = metrics.PSNR(reduction=reduction)
    empty.merge_state(metric.metric_state)
    torch.testing.assert_close(empty.compute(), both.compute())
    with pytest.raises(ValueError, match="to be present in incoming state"):
        metric.merge_state(metrics.PSNR(reduction=reduction, data_range=255.0).metric_state)


def test_operator_and_mask_move_with_the_class(device: torch.device) -> None:
    mask = torch.rand(20, 17) > 0.3
    metric = metrics.RFactor(FourierIntensity((20, 17)), mask=mask).to(device)
    estimate, obj = (x.to(device) for x in batches()[0])
    assert metric(estimate, fourier_intensity(obj, (20, 17))).device.type == device.type
    assert metric.mask.device.type == device.type


def test_classes_say_which_values_are_better() -> None:
    better = {"IoU", "PSNR", "SSIM", "SuccessRate", "PoissonLogLikelihood"}
    for cls in [*(entry[0] for entry in [*OF_OBJECT, *OF_DATA]), metrics.IoU, metrics.PhaseError]:
        assert cls.higher_is_better is (cls.__name__ in better)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [entry[0] for entry in [*OF_OBJECT, *OF_DATA]])
def test_an_unknown_reduction_fails_at_once(cls: Callable[..., Any]) -> None:
    message = f"{cls.__name__}: reduction must be one of 'mean', 'sum', 'none', got 'median'. Did you mean 'mean'?"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        cls(reduction="median")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: metrics.MSE(ndim=7),
            ValueError,
            "MSE: ndim must be 1, 2 or 3, got 7. Axes before these are a batch.",
        ),
        (
            lambda: metrics.NMSE(ndim="2"),
            TypeError,
            "NMSE: ndim must be an integer of at least 1, got '2'. Use int(ndim).",
        ),
        (
            lambda: metrics.PSNR(data_range=-1),
            ValueError,
            "PSNR: data_range must be a finite number above 0, got -1. Choose a number in this range.",
        ),
        (lambda: metrics.SSIM(win_size=4), ValueError, "SSIM: win_size must be odd, got 4. Use 3 or 5."),
        (
            lambda: metrics.SSIM(data_range=0),
            ValueError,
            "SSIM: data_range must be a finite number above 0, got 0. Choose a number in this range.",
        ),
        (
            lambda: metrics.SuccessRate(threshold=-1),
            ValueError,
            "SuccessRate: threshold must be a finite number above 0, got -1. Choose a number in this range.",
        ),
        (
            lambda: metrics.RFactor("x"),
            TypeError,
            "RFactor: operator must be an Operator, got str. Use one of phaseret.operators, or a subclass of Operator.",
        ),
        (
            lambda: metrics.RFactor(mask=torch.ones(3)),
            TypeError,
            "RFactor: mask must be a boolean tensor, got torch.float32. Use mask.bool().",
        ),
    ],
)
def test_impossible_options_fail_at_once(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


def test_without_torchmetrics_the_functions_work_and_the_classes_say_what_is_missing() -> None:
    code = """
import sys
sys.modules["torchmetrics"] = None
import torch
from phaseret import metrics
print(metrics.mse(torch.ones(4, 4), torch.ones(4, 4), align=False).item())
for statement in ("metrics.PSNR", "from phaseret.metrics import PSNR"):
    try:
        exec(statement)
    except ImportError as error:
        print(error)
print("PSNR" in dir(metrics))
from phaseret.metrics import *
print(psnr is metrics.psnr)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message = 'PSNR: the package torchmetrics must be installed. Install it with pip install "phaseret[train]".'
    assert result.stdout.splitlines() == ["0.0", message, message, "False", "True"]


def test_the_module_lists_its_classes() -> None:
    assert {"PSNR", "RFactor", "psnr"} <= set(dir(metrics))


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match=r"^module 'phaseret.metrics' has no attribute 'LPIPS'$"):
        _ = metrics.LPIPS


# --- modules ---------------------------------------------------------------------------------------------------------


def test_classes_are_modules_that_show_their_options() -> None:
    assert isinstance(metrics.PSNR(), nn.Module)
    assert repr(metrics.PSNR(data_range=2)) == "PSNR(data_range=2, align=True, scale=False, ndim=2, reduction='mean')"
    assert "FourierIntensity(fourier_shape=(4, 4)" in repr(metrics.RFactor(FourierIntensity((4, 4))))


def test_lightning_logs_the_average_over_the_epoch(tmp_path: Path) -> None:
    import lightning

    data = torch.rand(10, 9, 8)

    class Net(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(0.5))
            self.psnr = metrics.PSNR()
            self.success = metrics.SuccessRate()

        def training_step(self, batch: Tensor, index: int) -> Tensor:
            return ((self.scale * batch - batch) ** 2).mean()

        def validation_step(self, batch: Tensor, index: int) -> None:
            for name in ("psnr", "success"):
                metric = getattr(self, name)
                metric.update(self.scale * batch, batch)
                self.log(name, metric)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.0)

    net = Net()
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(net, loader, loader)
    expected = metrics.psnr(0.5 * data, data)
    assert trainer.callback_metrics["psnr"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert trainer.callback_metrics["success"].item() == 0
