"""An estimate, the data and their operator, checked together: the same in losses and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

from torch import Tensor

from phaseret import _checks
from phaseret.operators._base import Operator
from phaseret.operators._fourier import FourierIntensity


def operator_of(intensity: Tensor, operator: Any, undersampled: bool = False) -> Operator:
    """The operator, checked, which allows `undersampled` data if asked for.

    Without one it is the two-dimensional orthonormal Fourier intensity of the data's shape.
    """
    if operator is None:
        _checks.rank(2, intensity=intensity)
        return FourierIntensity(intensity.shape[-2:], undersampled=undersampled)
    Operator.check(operator)
    checked: Operator = operator
    if undersampled and is_fourier(checked) and not checked.undersampled:
        checked = FourierIntensity(**(checked.options | {"undersampled": True}))
    _checks.rank(checked.data_ndim, intensity=intensity)
    return checked


def matched(
    estimate: Any, intensity: Any, operator: Any, mask: Any, undersampled: bool = False
) -> tuple[Operator, Tensor | None]:
    """The operator, and the mask in the data's shape, of an estimate and data that belong together."""
    _checks.floating(estimate=estimate)
    _checks.real(intensity=intensity)
    _checks.same_device(estimate=estimate, intensity=intensity)
    _checks.flag(undersampled=undersampled)
    operator = operator_of(intensity, operator, undersampled)
    _checks.rank(operator.object_ndim, estimate=estimate)
    _checks.same_batch(("estimate", estimate, operator.object_ndim), ("intensity", intensity, operator.data_ndim))
    if operator.data_shape is not None:
        check_data(intensity, operator.data_shape)
    return operator, None if mask is None else _checks.mask(mask, intensity)


def without_background(intensity: Tensor, background: Any) -> Tensor:
    """What the object itself makes of the intensity; where noise leaves less than the background, 0."""
    return (intensity - _checks.background(background, intensity)).clamp(min=0)


def check_lit(intensity: Tensor, mask: Tensor | None, ndim: int) -> None:
    """Something of every item's intensity is left above its background; looks at it."""
    lit = intensity > 0 if mask is None else (intensity > 0) & mask
    if not bool(lit.flatten(-ndim).any(-1).all()):
        rule = "background must be less than the intensity at some measured pixel of every pattern, got one that is not"
        _checks.fail(rule, "Look at its units: it is subtracted")


def check_data(intensity: Tensor, data_shape: Sequence[int]) -> None:
    """The intensity has the operator's data shape."""
    got = tuple(intensity.shape[-len(data_shape) :])
    if got != tuple(data_shape):
        rule = f"intensity must have the operator's data shape {tuple(data_shape)}"
        _checks.fail(f"{rule}, got {got}", "Give the operator that measured this intensity")


def is_fourier(operator: Operator) -> TypeGuard[FourierIntensity]:
    """Whether the operator is the library's Fourier intensity: a subclass with a `linear` of its own is another one."""
    return isinstance(operator, FourierIntensity) and operator._as_the_library_has_it
