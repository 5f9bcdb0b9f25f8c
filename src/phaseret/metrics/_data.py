"""How well an estimate explains the measured data: no true object is needed, and no symmetry matters."""

from __future__ import annotations

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.metrics._common import largest, reduce
from phaseret.operators import FourierIntensity, FourierMagnitude, Operator


def relative_magnitude_error(
    estimate: Tensor,
    intensity: Tensor,
    operator: Operator | None = None,
    *,
    mask: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Relative distance between the magnitude an estimate would give and the measured one.

    .. math:: E = \frac{\big\| \, |A \hat X| - \sqrt{Y} \, \big\|_2}{\big\| \sqrt{Y} \big\|_2}

    over the measured pixels. It is 0 for every symmetric copy of a solution, and small for some wrong answers too: a
    small residual is no proof of a right object. One-sided data counts as the full plane it stands for; negative
    intensities count as 0.

    Args:
        estimate: Candidate object, real or complex floating.
        intensity: Measured intensity, squared object units.
        operator: The measurement A. Default: the two-dimensional orthonormal
            :class:`~phaseret.operators.FourierIntensity` on the full plane, of the data's shape.
        mask: True where the data is measured; data-shaped or (*, data-shaped). Default: everywhere.
        reduction: "mean" or "sum" over the items, or "none": one value per item.

    Shape:
        - estimate: (*, n1..nd)
        - intensity: (*, m1..md)
        - output: (), or (*) with reduction="none"

    Returns:
        Real tensor without unit; nan for an item whose measured pixels are all 0.

    Raises:
        TypeError: if estimate is not floating, intensity not real, mask not boolean or operator not an Operator.
        ValueError: if m < 2n - 1, batch or data shapes or devices differ, or an option is unknown.

    Example:
        >>> obj = torch.rand(4, 28, 28)
        >>> intensity = pr.operators.fourier_intensity(obj, (64, 64))
        >>> relative_magnitude_error(0.9 * obj, intensity)
        tensor(0.1000)

    Source:
        Fienup (1982), Phase retrieval algorithms: a comparison, equation 14 (its square, normalised by the data),
        doi:10.1364/AO.21.002758.
    """
    where = "relative_magnitude_error"
    magnitude, measured, weight, axes = _magnitudes(where, estimate, intensity, operator, mask)
    error = (weight * (magnitude - measured).square()).sum(axes)
    return reduce(where, (error / (weight * measured.square()).sum(axes)).sqrt(), reduction)


def r_factor(
    estimate: Tensor,
    intensity: Tensor,
    operator: Operator | None = None,
    *,
    mask: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""The crystallographer's R-factor: summed absolute differences of the magnitudes over their sum.

    .. math:: R = \frac{\sum \big| \, |A \hat X| - \sqrt{Y} \, \big|}{\sum \sqrt{Y}}

    over the measured pixels; with ``mask=free`` on held-out pixels it is the free R-factor. Arguments, shapes and
    errors are those of :func:`relative_magnitude_error`, which takes the 2-norm instead and is dominated by the
    brightest pixels.

    Returns:
        Real tensor without unit; nan for an item whose measured pixels are all 0.

    Example:
        >>> obj = torch.rand(4, 28, 28)
        >>> intensity = pr.operators.fourier_intensity(obj, (64, 64))
        >>> r_factor(0.9 * obj, intensity)
        tensor(0.1000)

    Source:
        IUCr Online Dictionary of Crystallography, R factor; Bruenger (1992), Free R value, doi:10.1038/355472a0,
        equation 1. No scale factor is fitted.
    """
    where = "r_factor"
    magnitude, measured, weight, axes = _magnitudes(where, estimate, intensity, operator, mask)
    error = (weight * (magnitude - measured).abs()).sum(axes)
    return reduce(where, error / (weight * measured).sum(axes), reduction)


def _magnitudes(
    where: str, estimate: Tensor, intensity: Tensor, operator: Operator | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, tuple[int, ...]]:
    """The computed and the measured magnitude, each 0 where not measured and in units of the item's largest measured
    one; how many pixels of the full plane each pixel stands for; and the data axes."""
    field, intensity, mask, operator = predicted(where, estimate, intensity, operator, mask)
    axes = tuple(range(-operator.data_ndim, 0))
    magnitude, measured = field.abs(), intensity.clamp(min=0).sqrt()
    if mask is not None:
        magnitude, measured = magnitude.where(mask, 0), measured.where(mask, 0)
    unit = largest(measured, axes)
    return magnitude / unit, measured / unit, multiplicity(operator, measured), axes


def predicted(
    where: str, estimate: Tensor, intensity: Tensor, operator: Operator | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None, Operator]:
    """Check the arguments; give the estimate's complex field at the detector, the data, its mask and the operator."""
    _checks.floating(where, estimate=estimate)
    _checks.real(where, intensity=intensity)
    _checks.same_device(where, estimate=estimate, intensity=intensity)
    if operator is None:
        _checks.rank(where, 2, estimate=estimate, intensity=intensity)
        _checks.fourier_shape(where, intensity.shape[-2:], estimate.shape[-2:])
        operator = FourierIntensity(intensity.shape[-2:])
    elif not isinstance(operator, Operator):
        fix = "Use one of phaseret.operators"
        _checks.fail(where, f"operator must be an Operator, got {type(operator).__name__}", fix, TypeError)
    _checks.rank(where, operator.object_ndim, estimate=estimate)
    _checks.rank(where, operator.data_ndim, intensity=intensity)
    _checks.same_batch(
        where, ("estimate", estimate, operator.object_ndim), ("intensity", intensity, operator.data_ndim)
    )
    field = operator.linear(estimate)
    if field.shape != intensity.shape:
        _checks.fail(
            where,
            f"intensity must have the operator's data shape {tuple(field.shape[-operator.data_ndim :])}, "
            f"got {tuple(intensity.shape[-operator.data_ndim :])}",
        )
    if mask is not None:
        _checks.boolean(where, mask=mask)
        _checks.same_device(where, intensity=intensity, mask=mask)
        try:
            mask = mask.expand_as(intensity)
        except RuntimeError:
            fix = "Use one mask for all items, of the data's shape, or one for each"
            _checks.fail(where, f"mask must fit the intensity {tuple(intensity.shape)}, got {tuple(mask.shape)}", fix)
    return field, _fft.promote(intensity), mask, operator


def multiplicity(operator: Operator, like: Tensor) -> Tensor:
    """How many pixels of the full plane each pixel of the data stands for: 1, unless the data is one-sided."""
    if isinstance(operator, FourierIntensity | FourierMagnitude) and operator.onesided:
        return _fft.pair_weights(operator.fourier_shape[-1], like)
    return torch.ones((), dtype=like.dtype, device=like.device)
