"""The metrics as classes of torchmetrics: averages over all items of all batches (needs the package torchmetrics)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from phaseret import _checks
from phaseret.metrics import _data, _image
from phaseret.metrics._common import REDUCTIONS
from phaseret.operators import Operator


class _Average(Metric):
    """Collects one value per item: their mean or sum, or with reduction="none" all of them."""

    is_differentiable = False
    full_state_update = False

    def __init__(self, function: Callable[..., Tensor], reduction: str, kwargs: dict[str, Any], **options: Any) -> None:
        super().__init__(**kwargs)
        _checks.choice("reduction", reduction, REDUCTIONS)
        self.function, self.reduction, self.options = function, reduction, options
        # A MetricCollection takes metrics with equal states for one: the options in the name keep them apart.
        self._state = f"{type(self).__name__}({self.extra_repr()})".replace(".", "_")
        if reduction == "none":
            self.add_state(self._state, [], dist_reduce_fx="cat")
        else:
            self.add_state(self._state, torch.zeros(2), dist_reduce_fx="sum")

    def _collect(self, *tensors: Tensor, **options: Any) -> None:
        values = self.function(*tensors, reduction="none", **self.options, **options).flatten()
        if self.reduction == "none":
            getattr(self, self._state).append(values)
        else:
            number = values.new_full((), values.numel())
            setattr(self, self._state, getattr(self, self._state) + torch.stack([values.sum(), number]))

    def compute(self) -> Tensor:
        """The mean, the sum or all of the values collected so far."""
        state: Tensor = dim_zero_cat(getattr(self, self._state))
        if self.reduction == "none":
            return state
        total, number = state.unbind()
        return total / number if self.reduction == "mean" else total

    def extra_repr(self) -> str:
        """The options."""
        return ", ".join(f"{name}={value!r}" for name, value in (self.options | {"reduction": self.reduction}).items())


class _OfObject(_Average):
    """A metric of an estimate and the true object."""

    def __init__(
        self, function: Callable[..., Tensor], reduction: str, kwargs: dict[str, Any], *, ndim: int, **options: Any
    ) -> None:
        _checks.item_axes(ndim)
        for name in ("data_range", "threshold"):
            if name in options:
                _checks.number(name, options[name], above=0)
        super().__init__(function, reduction, kwargs, **options, ndim=ndim)

    def update(self, estimate: Tensor, obj: Tensor) -> None:
        """Add a batch: (*, n1..nd) and the same."""
        self._collect(estimate, obj)


class MSE(_OfObject):
    """Class of :func:`mse` for torchmetrics, with the same options.

    Example:
        >>> metric = MSE(align=False)
        >>> metric.update(torch.ones(2, 8, 8), torch.zeros(2, 8, 8))
        >>> metric.update(torch.zeros(2, 8, 8), torch.zeros(2, 8, 8))
        >>> metric.compute()
        tensor(0.5000)
    """

    higher_is_better = False

    def __init__(self, *, align: bool = True, ndim: int = 2, reduction: str = "mean", **kwargs: Any) -> None:
        super().__init__(_image.mse, reduction, kwargs, align=align, ndim=ndim)


class NMSE(_OfObject):
    """Class of :func:`nmse` for torchmetrics, with the same options."""

    higher_is_better = False

    def __init__(self, *, align: bool = True, ndim: int = 2, reduction: str = "mean", **kwargs: Any) -> None:
        super().__init__(_image.nmse, reduction, kwargs, align=align, ndim=ndim)


class PSNR(_OfObject):
    """Class of :func:`psnr` for torchmetrics, with the same options.

    Example:
        >>> from torchmetrics import MetricCollection
        >>> metrics = MetricCollection({"raw_psnr": PSNR(align=False), "aligned_psnr": PSNR()})
        >>> obj = torch.rand(4, 28, 28)
        >>> values = metrics(pr.symmetry.conj_flip(obj) + 0.01, obj)
        >>> values["raw_psnr"] < 10, values["aligned_psnr"] > 30
        (tensor(True), tensor(True))
    """

    higher_is_better = True

    def __init__(
        self,
        *,
        data_range: float = 1.0,
        align: bool = True,
        ndim: int = 2,
        reduction: str = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(_image.psnr, reduction, kwargs, data_range=data_range, align=align, ndim=ndim)


class SSIM(_OfObject):
    """Class of :func:`ssim` for torchmetrics, with the same options."""

    higher_is_better = True

    def __init__(
        self,
        *,
        data_range: float = 1.0,
        win_size: int = 11,
        align: bool = True,
        ndim: int = 2,
        reduction: str = "mean",
        **kwargs: Any,
    ) -> None:
        _image.window_width(win_size)
        options = {"data_range": data_range, "win_size": win_size, "align": align}
        super().__init__(_image.ssim, reduction, kwargs, ndim=ndim, **options)


class SuccessRate(_OfObject):
    """Class of :func:`success_rate` for torchmetrics, with the same options."""

    higher_is_better = True

    def __init__(
        self,
        *,
        threshold: float = 0.05,
        align: bool = True,
        ndim: int = 2,
        reduction: str = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(_image.success_rate, reduction, kwargs, threshold=threshold, align=align, ndim=ndim)


class _OfData(_Average):
    """A metric of an estimate and the measured data."""

    mask: Tensor | None

    def __init__(
        self,
        function: Callable[..., Tensor],
        operator: Operator | None,
        mask: Tensor | None,
        reduction: str,
        kwargs: dict[str, Any],
    ) -> None:
        if operator is not None:
            _data.check_operator(operator)
        if mask is not None:
            _checks.boolean(mask=mask)
        super().__init__(function, reduction, kwargs)
        self.operator = operator
        self.register_buffer("mask", mask)

    def update(self, estimate: Tensor, intensity: Tensor) -> None:
        """Add a batch: (*, n1..nd) and (*, m1..md)."""
        self._collect(estimate, intensity, operator=self.operator, mask=self.mask)


class RelativeMagnitudeError(_OfData):
    """Class of :func:`relative_magnitude_error` for torchmetrics, with the same options.

    Example:
        >>> metric = RelativeMagnitudeError()
        >>> obj = torch.rand(4, 28, 28)
        >>> metric(0.9 * obj, pr.operators.fourier_intensity(obj, (64, 64)))
        tensor(0.1000)
    """

    higher_is_better = False

    def __init__(
        self,
        operator: Operator | None = None,
        *,
        mask: Tensor | None = None,
        reduction: str = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(_data.relative_magnitude_error, operator, mask, reduction, kwargs)


class RFactor(_OfData):
    """Class of :func:`r_factor` for torchmetrics, with the same options."""

    higher_is_better = False

    def __init__(
        self,
        operator: Operator | None = None,
        *,
        mask: Tensor | None = None,
        reduction: str = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(_data.r_factor, operator, mask, reduction, kwargs)


class PoissonLogLikelihood(_OfData):
    """Class of :func:`poisson_log_likelihood` for torchmetrics, with the same options."""

    higher_is_better = True

    def __init__(
        self,
        operator: Operator | None = None,
        *,
        mask: Tensor | None = None,
        reduction: str = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(_data.poisson_log_likelihood, operator, mask, reduction, kwargs)
