"""The metrics as classes of torchmetrics: averages over all items of all batches (needs the package torchmetrics)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from phaseret import _checks
from phaseret._module import KeepsOptions
from phaseret._output import checksum
from phaseret._reduction import Reduction, check_reduction
from phaseret.metrics import _crystal, _data, _object
from phaseret.operators import Operator
from phaseret.projections._spread import check_shares

# What every metric of torchmetrics takes.
_OF_ALL_METRICS = (
    "compute_on_cpu",
    "dist_sync_on_step",
    "process_group",
    "dist_sync_fn",
    "distributed_available_fn",
    "sync_on_compute",
    "compute_with_cache",
)


class _Average(KeepsOptions, Metric):
    """Collects one value per item: their mean or sum, or with reduction="none" all of them."""

    is_differentiable = False
    full_state_update = False

    function: Callable[..., Tensor]
    reduction: Reduction

    def __init__(self, kwargs: dict[str, Any], **options: Any) -> None:
        try:
            super().__init__(**kwargs)
        except ValueError:  # which names what it does not know, in words of its own
            _checks.known(kwargs, (*options, *_OF_ALL_METRICS))
            raise
        check_reduction(options["reduction"])
        self._keep(options)
        # A MetricCollection takes metrics with equal states for one: the options in the name keep them apart.
        self._state = f"{type(self).__name__}({self.extra_repr()}){_fingerprint(options)}".replace(".", "_")
        if self.reduction == "none":
            self.add_state(self._state, [], dist_reduce_fx="cat")
        else:
            self.add_state(self._state, torch.zeros(2), dist_reduce_fx="sum")

    def _collect(self, *tensors: Tensor, **given: Any) -> None:
        values = self.function(*tensors, **(self.options | given | {"reduction": "none"})).flatten()
        if self.reduction == "none":
            getattr(self, self._state).append(values)
        else:
            number = values.new_full((), values.numel())
            setattr(self, self._state, getattr(self, self._state) + torch.stack([values.sum(), number]))

    def merge_state(self, incoming_state: Any) -> None:
        """Add what another metric of these options has collected: its values come after those of this one."""
        before = getattr(self, self._state)
        super().merge_state(incoming_state)
        self._computed, self._update_count = None, max(self._update_count, 1)
        if self.reduction == "none":
            own = list(before) if isinstance(before, list) else [before]
            merged = getattr(self, self._state)
            setattr(self, self._state, own + merged[: len(merged) - len(own)])

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._computed = None  # torchmetrics would go on to answer what it has computed before

    def compute(self) -> Tensor:
        """The mean, the sum or all of the values collected so far."""
        collected = getattr(self, self._state)
        if self.reduction == "none":  # the values of no batch are none
            return dim_zero_cat(collected) if len(collected) else torch.zeros(0, device=self.device)
        state: Tensor = dim_zero_cat(collected)
        total, number = state.unbind()
        return total / number if self.reduction == "mean" else total


def _fingerprint(options: dict[str, Any]) -> str:
    """What the printed options do not tell: the operator, and the values of all tensors."""
    modules = [value for value in options.values() if isinstance(value, nn.Module)]
    tensors = [value for value in options.values() if isinstance(value, Tensor)]
    for module in modules:
        tensors += [*module.parameters(), *module.buffers()]
    if not modules and not tensors:
        return ""
    # Numbers that a user's operator keeps as plain attributes are in no repr and no state.
    plain = [[vars(part) for part in module.modules()] for module in modules]
    told = [{k: v for k, v in part.items() if not k.startswith("_")} for parts in plain for part in parts]
    return f" {checksum(repr((modules, told)), {str(i): tensor for i, tensor in enumerate(tensors)})[:16]}"


class _OfObject(_Average):
    """A metric of an estimate and the true object."""

    def __init__(self, kwargs: dict[str, Any], **options: Any) -> None:
        _checks.item_axes(options["ndim"])
        _checks.flag(**{name: options[name] for name in ("align", "scale") if name in options})
        for name in ("data_range", "threshold"):
            if name in options:
                _checks.number(name, options[name], above=0)
        super().__init__(kwargs, **options)

    def update(self, estimate: Tensor, obj: Tensor) -> None:
        """Add a batch: (*, n1..nd) and the same."""
        self._collect(estimate, obj)

    if TYPE_CHECKING:

        def __call__(self, estimate: Tensor, obj: Tensor) -> Tensor:
            """The value of a batch, which is also added."""


class MSE(_OfObject):
    """Class of :func:`mse` for torchmetrics, with the same options.

    Args:
        align: Remove shift, conj_flip and global_phase first.
        scale: Multiply the estimate by the factor that fits best.
        ndim: Number of axes of one object (1, 2 or 3).
        reduction: "mean" or "sum" over all items, or "none": one value per item.
        **kwargs: As for every metric of torchmetrics.

    Example:
        >>> metric = MSE(align=False)
        >>> metric.update(torch.ones(2, 8, 8), torch.zeros(2, 8, 8))
        >>> metric.update(torch.zeros(2, 8, 8), torch.zeros(2, 8, 8))
        >>> metric.compute()
        tensor(0.5000)
    """

    higher_is_better = False
    function = staticmethod(_object.mse)

    def __init__(
        self,
        *,
        align: bool = True,
        scale: bool = False,
        ndim: int = 2,
        reduction: Reduction = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(kwargs, align=align, scale=scale, ndim=ndim, reduction=reduction)


class NMSE(_OfObject):
    """Class of :func:`nmse` for torchmetrics, with the same options.

    Args:
        align: Remove shift, conj_flip and global_phase first.
        scale: Multiply the estimate by the factor that fits best.
        ndim: Number of axes of one object (1, 2 or 3).
        reduction: "mean" or "sum" over all items, or "none": one value per item.
        **kwargs: As for every metric of torchmetrics.
    """

    higher_is_better = False
    function = staticmethod(_object.nmse)

    def __init__(
        self,
        *,
        align: bool = True,
        scale: bool = False,
        ndim: int = 2,
        reduction: Reduction = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(kwargs, align=align, scale=scale, ndim=ndim, reduction=reduction)


class PSNR(_OfObject):
    """Class of :func:`psnr` for torchmetrics, with the same options.

    Args:
        data_range: Largest minus smallest value an object can take.
        align: Remove shift, conj_flip and global_phase first.
        scale: Multiply the estimate by the factor that fits best.
        ndim: Number of axes of one object (1, 2 or 3).
        reduction: "mean" or "sum" over all items, or "none": one value per item.
        **kwargs: As for every metric of torchmetrics.

    Example:
        >>> from torchmetrics import MetricCollection
        >>> metrics = MetricCollection({"raw_psnr": PSNR(align=False), "aligned_psnr": PSNR()})
        >>> obj = torch.rand(4, 28, 28)
        >>> values = metrics(pr.symmetry.conj_flip(obj) + 0.01, obj)
        >>> values["raw_psnr"] < 10, values["aligned_psnr"] > 30
        (tensor(True), tensor(True))
    """

    higher_is_better = True
    function = staticmethod(_object.psnr)

    def __init__(
        self,
        *,
        data_range: float = 1.0,
        align: bool = True,
        scale: bool = False,
        ndim: int = 2,
        reduction: Reduction = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(kwargs, data_range=data_range, align=align, scale=scale, ndim=ndim, reduction=reduction)


class SSIM(_OfObject):
    """Class of :func:`ssim` for torchmetrics, with the same options.

    Args:
        data_range: Largest minus smallest value an object can take.
        win_size: Width of the window in pixels, odd and no larger than the object.
        align: Remove shift and flip first.
        scale: Multiply the estimate by the factor that fits best.
        ndim: Number of axes of one object (1, 2 or 3).
        reduction: "mean" or "sum" over all items, or "none": one value per item.
        **kwargs: As for every metric of torchmetrics.
    """

    higher_is_better = True
    function = staticmethod(_object.ssim)

    def __init__(
        self,
        *,
        data_range: float = 1.0,
        win_size: int = 11,
        align: bool = True,
        scale: bool = False,
        ndim: int = 2,
        reduction: Reduction = "mean",
        **kwargs: Any,
    ) -> None:
        _object.window_width(win_size)
        options = {"data_range": data_range, "win_size": win_size, "align": align, "scale": scale, "ndim": ndim}
        super().__init__(kwargs, **options, reduction=reduction)


class IoU(_OfObject):
    """Class of :func:`iou` for torchmetrics, with the same options.

    Args:
        align: Remove shift, conj_flip and global_phase first.
        ndim: Number of axes of one object (1, 2 or 3).
        reduction: "mean" or "sum" over all items, or "none": one value per item.
        **kwargs: As for every metric of torchmetrics.
    """

    higher_is_better = True
    function = staticmethod(_crystal.iou)

    def __init__(
        self,
        *,
        align: bool = True,
        ndim: int = 2,
        reduction: Reduction = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(kwargs, align=align, ndim=ndim, reduction=reduction)


class PhaseError(_OfObject):
    """Class of :func:`phase_error` for torchmetrics, with the same options.

    Args:
        align: Remove shift, conj_flip and global_phase first.
        ndim: Number of axes of one object (1, 2 or 3).
        reduction: "mean" or "sum" over all items, or "none": one value per item.
        **kwargs: As for every metric of torchmetrics.
    """

    higher_is_better = False
    function = staticmethod(_crystal.phase_error)

    def __init__(
        self,
        *,
        align: bool = True,
        ndim: int = 2,
        reduction: Reduction = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(kwargs, align=align, ndim=ndim, reduction=reduction)


class SuccessRate(_OfObject):
    """Class of :func:`success_rate` for torchmetrics, with the same options.

    Args:
        threshold: Largest relative error of a solved item (not squared).
        align: Remove shift, conj_flip and global_phase first.
        scale: Multiply the estimate by the factor that fits best.
        ndim: Number of axes of one object (1, 2 or 3).
        reduction: "mean" gives the rate, "sum" the number of solved items, "none" 1 or 0 for each item.
        **kwargs: As for every metric of torchmetrics.
    """

    higher_is_better = True
    function = staticmethod(_object.success_rate)

    def __init__(
        self,
        *,
        threshold: float = 0.05,
        align: bool = True,
        scale: bool = False,
        ndim: int = 2,
        reduction: Reduction = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(kwargs, threshold=threshold, align=align, scale=scale, ndim=ndim, reduction=reduction)


class _OfData(_Average):
    """A metric of an estimate and the measured data."""

    operator: Operator | None
    mask: Tensor | None
    point_spread: Tensor | None

    def __init__(
        self,
        operator: Operator | None = None,
        *,
        mask: Tensor | None = None,
        point_spread: Tensor | None = None,
        undersampled: bool = False,
        reduction: Reduction = "mean",
        **kwargs: Any,
    ) -> None:
        _checks.flag(undersampled=undersampled)
        if operator is not None:
            Operator.check(operator)
        if mask is not None:
            _checks.boolean(mask=mask)
        if point_spread is not None:
            check_shares(point_spread, 2 if operator is None else operator.object_ndim)
        options: dict[str, Any] = {"operator": operator, "mask": mask, "point_spread": point_spread}
        super().__init__(kwargs, **options, undersampled=undersampled, reduction=reduction)

    def update(self, estimate: Tensor, intensity: Tensor, *, mask: Tensor | None = None) -> None:
        """Add a batch: (*, n1..nd), (*, m1..md) and its mask, which goes together with the metric's own."""
        self._collect(estimate, intensity, mask=_checks.both_masks(self.mask, mask, intensity))

    if TYPE_CHECKING:

        def __call__(self, estimate: Tensor, intensity: Tensor, *, mask: Tensor | None = None) -> Tensor:
            """The value of a batch, which is also added."""


class RelativeMagnitudeError(_OfData):
    """Class of :func:`relative_magnitude_error` for torchmetrics, with the same options.

    Args:
        operator: The measurement. Default: the 2D Fourier intensity of the data's shape.
        mask: True where the data is measured. A call takes another one, ``metric(estimate, intensity, mask=m)``; with
            both, a pixel counts where both say so.
        point_spread: What becomes of the intensity of one pixel: that of the estimate is blurred by it.
        undersampled: Allow data of m < 2n - 1, which other objects have too.
        reduction: "mean" or "sum" over all items, or "none": one value per item.
        **kwargs: As for every metric of torchmetrics.

    Example:
        >>> metric = RelativeMagnitudeError()
        >>> obj = torch.rand(4, 28, 28)
        >>> metric(0.9 * obj, pr.operators.fourier_intensity(obj, (64, 64)))
        tensor(0.1000)
    """

    higher_is_better = False
    function = staticmethod(_data.relative_magnitude_error)


class RFactor(_OfData):
    """Class of :func:`r_factor` for torchmetrics, with the same options.

    Args:
        operator: The measurement. Default: the 2D Fourier intensity of the data's shape.
        mask: True where a pixel counts. A call takes another one; with both, a pixel counts where both say so.
        point_spread: What becomes of the intensity of one pixel: that of the estimate is blurred by it.
        undersampled: Allow data of m < 2n - 1, which other objects have too.
        reduction: "mean" or "sum" over all items, or "none": one value per item.
        **kwargs: As for every metric of torchmetrics.
    """

    higher_is_better = False
    function = staticmethod(_data.r_factor)


class PoissonLogLikelihood(_OfData):
    """Class of :func:`poisson_log_likelihood` for torchmetrics, with the same options.

    Args:
        operator: The measurement. Default: the 2D Fourier intensity of the data's shape.
        mask: True where a pixel counts. A call takes another one; with both, a pixel counts where both say so.
        point_spread: What becomes of the intensity of one pixel: that of the estimate is blurred by it.
        undersampled: Allow data of m < 2n - 1, which other objects have too.
        reduction: "mean" or "sum" over all items, or "none": one value per item.
        **kwargs: As for every metric of torchmetrics.
    """

    higher_is_better = True
    function = staticmethod(_data.poisson_log_likelihood)
