"""The supervised loss: distance of the estimate to the object itself."""

from __future__ import annotations

from torch import Tensor

from phaseret import _checks, _fft
from phaseret._module import Module, called_as
from phaseret._reduction import Reduction, check_reduction, reduce
from phaseret.losses._criterion import Criterion, check_criterion, pixelwise


def supervised_loss(
    estimate: Tensor, obj: Tensor, *, ndim: int = 2, criterion: Criterion = "mse", reduction: Reduction = "mean"
) -> Tensor:
    r"""Compare an estimate with the object, pixel by pixel: the naive end-to-end objective DNN-V.

    .. math:: \frac{1}{n_1 \cdots n_d} \sum_x |\hat X_x - X_x|^2

    for ``criterion="mse"``. A shifted, flipped or phase-multiplied copy of the object is counted as wrong, although
    the data cannot tell it from the object; trained on data that holds such copies, a network answers with their
    superposition. :func:`passive_loss` and :func:`invariant_loss` do not have this fault.

    Args:
        estimate: Candidate object, real or complex.
        obj: The true object.
        ndim: Number of axes of one object (1, 2 or 3); all axes before them are a batch.
        criterion: "mse", "l1", "huber" (threshold 1), or a callable of two tensors that returns one value a pixel.
        reduction: "mean" or "sum" over the items, or "none": one value per item.

    Shape:
        - estimate, obj: (*, n1..nd)
        - output: (), or (*) with reduction="none"

    Returns:
        Real tensor.

    Raises:
        TypeError: if an argument is not a floating tensor.
        ValueError: if the shapes or devices differ, or an option is unknown.

    Example:
        >>> supervised_loss(torch.ones(3, 8, 8), torch.zeros(3, 8, 8), reduction="none")
        tensor([1., 1., 1.])

    Source:
        Manekar, Tayal, Kumar, Sun (2020), End-to-End Learning for Phase Retrieval, eq. 2.1.
    """
    _checks.floating(estimate=estimate, obj=obj)
    _checks.same_shape(estimate=estimate, obj=obj)
    _checks.same_device(estimate=estimate, obj=obj)
    ndim = _checks.item_axes(ndim, estimate=estimate, obj=obj)
    check_reduction(reduction)
    values = pixelwise(criterion, _fft.promote(estimate), _fft.promote(obj))
    return reduce(values.mean(tuple(range(-ndim, 0))), reduction)


class SupervisedLoss(Module):
    """Module of :func:`supervised_loss`, with the same options.

    Args:
        ndim: Number of axes of one object (1, 2 or 3).
        criterion: "mse", "l1", "huber", or a callable of two tensors that returns one value a pixel.
        reduction: "mean" or "sum" over the items, or "none": one value per item.

    Example:
        >>> SupervisedLoss(criterion="l1")(torch.ones(3, 8, 8), torch.zeros(3, 8, 8))
        tensor(1.)
    """

    def __init__(self, *, ndim: int = 2, criterion: Criterion = "mse", reduction: Reduction = "mean") -> None:
        check_criterion(criterion)
        check_reduction(reduction)
        super().__init__(ndim=_checks.item_axes(ndim), criterion=criterion, reduction=reduction)

    def forward(self, estimate: Tensor, obj: Tensor) -> Tensor:
        """The loss of (estimate, obj)."""
        return supervised_loss(estimate, obj, **self.options)

    __call__ = called_as(forward)
