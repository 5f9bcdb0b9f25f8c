"""Up to which spatial frequency a reconstruction can be trusted: curves over rings (2D) or shells (3D)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from phaseret import _checks, _fft, symmetry
from phaseret.metrics._pair import aligned, pair
from phaseret.operators import FourierIntensity
from phaseret.operators._data import check_data, is_fourier, operator_of
from phaseret.symmetry._search import following, overlap


@dataclass(frozen=True, eq=False)
class RingCurve:
    """A curve over rings of equal spatial frequency, as :func:`frc` and :func:`prtf` give it.

    Attributes:
        frequency: (r) frequency of each ring, cycles per pixel, from 0 to at most 0.5.
        value: (*, r) the curve of each item.
        count: (r) number of pixels of each ring of the full plane.
    """

    frequency: Tensor
    value: Tensor
    count: Tensor


def frc(estimate: Tensor, obj: Tensor, *, align: bool = True, ndim: int = 2) -> RingCurve:
    r"""Fourier ring correlation of two objects: how alike they are at each spatial frequency.

    .. math:: \mathrm{FRC}(r) = \frac{\mathrm{Re} \sum_{k \in r} \hat F_k F_k^*}
        {\sqrt{\sum_{k \in r} |\hat F_k|^2 \sum_{k \in r} |F_k|^2}}

    with the Fourier transforms of the aligned estimate, cropped to the object's box, and of the object; 0 for a ring
    where one of them vanishes. With ``ndim=3`` the rings are shells, and it is the Fourier shell correlation (FSC).
    :func:`resolution` reads off where the curve falls below a threshold.

    Args:
        estimate: One object: a candidate, or the reconstruction from one half of the data; real or complex floating.
        obj: The other: the true object, or the reconstruction from the other half.
        align: Remove shift, conj_flip and global_phase first.
        ndim: Number of axes of one object (1, 2 or 3); all axes before them are a batch.

    Shape:
        - estimate, obj: (*, n1..nd); with `align` one of them may be (*, m1..md) with m >= 2n - 1, an object laid out
          on the whole grid, as a reconstruction without a box, which moves circularly on it
        - output: :class:`RingCurve` with value (*, r), r = min(n1..nd) // 2 + 1 of obj

    Returns:
        :class:`RingCurve` with values from -1 to 1.

    Raises:
        TypeError: if an argument is not a floating tensor.
        ValueError: if shapes or devices differ, or an option is unknown.

    Example:
        >>> obj = torch.rand(4, 28, 28)
        >>> curve = frc(pr.symmetry.conj_flip(obj), obj)
        >>> curve.value.shape, bool((curve.value > 0.999).all())
        (torch.Size([4, 15]), True)

    Source:
        van Heel, Schatz (2005), Fourier shell correlation threshold criteria, doi:10.1016/j.jsb.2005.05.009.
    """
    _checks.flag(align=align)
    estimate, obj, axes = pair(estimate, obj, ndim, align)
    ndim = len(axes)
    if align:
        estimate = aligned(estimate, obj, ndim).aligned
    shape = tuple(obj.shape[-ndim:])
    a, b = (_off_its_pedestal(x / _fft.unit(x, ndim) + 0j, shape) for x in (estimate, obj))
    rings = _fft.Rings(shape, obj)
    product = rings.sum(a.real * b.real + a.imag * b.imag)
    norm = _fft.root(rings.sum(_fft.power(a))) * _fft.root(rings.sum(_fft.power(b)))
    return RingCurve(rings.frequency, product / _fft.divisor(norm), rings.count)


def _off_its_pedestal(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The spectrum, in which the rounding of a large mean does not show at other frequencies."""
    axes = tuple(range(-len(shape), 0))
    mean = x.mean(axes, keepdim=True).detach()
    return _fft.spectrum(x - mean, shape) + _fft.pad(mean * math.sqrt(math.prod(shape)), shape)


def resolution(curve: RingCurve, *, criterion: Literal["half-bit"] | float = "half-bit") -> Tensor:
    r"""The resolution in pixels: the period 1 / f at which a curve first falls below a threshold.

    The frequency f is interpolated linearly between the rings. A curve that never falls below has the resolution of
    its last ring, 2 pixels if the size is even; one that does so at once has inf; one that is nan everywhere has nan.

    ============== ==========================================================================================
    criterion      threshold
    ============== ==========================================================================================
    "half-bit"     (0.2071 + 1.9102 / sqrt(count)) / (1.2071 + 0.9102 / sqrt(count)): half a bit of information
                   per pixel, for reconstructions from two halves of the data
    1 / 7          constant, for reconstructions from two halves of the data
    0.5            constant, against the true object; 0.5 and 1 / e are usual for the PRTF
    ============== ==========================================================================================

    Args:
        curve: What :func:`frc` or :func:`prtf` gave.
        criterion: "half-bit", or a constant between 0 and 1.

    Returns:
        (*) real tensor, pixels.

    Raises:
        TypeError: if curve is not a RingCurve or criterion neither a word nor a number.
        ValueError: if the criterion is unknown or out of its range.

    Example:
        >>> curve = RingCurve(torch.tensor([0, 0.25, 0.5]), torch.tensor([1, 0.8, 0.2]), torch.tensor([1, 8, 7]))
        >>> resolution(curve, criterion=0.5)
        tensor(2.6667)

    Source:
        The half-bit curve: van Heel, Schatz (2005), doi:10.1016/j.jsb.2005.05.009, here with all pixels of the ring
        counted as independent. 1 / 7 (0.143): Rosenthal, Henderson (2003), doi:10.1016/j.jmb.2003.07.013.
    """
    _checks.instance("curve", curve, RingCurve, "Use frc or prtf to get one")
    if isinstance(criterion, str):
        _checks.choice("criterion", criterion, ("half-bit",))
        root = curve.count.to(curve.value.dtype).sqrt()
        threshold = (0.2071 * root + 1.9102) / (1.2071 * root + 0.9102)
    else:
        criterion = _checks.number("criterion", criterion, above=0, at_most=1)
        threshold = torch.full_like(curve.frequency, criterion)
    # The zero frequency says nothing about resolution, and a ring without data nothing at all.
    excess = (curve.value - threshold).nan_to_num(nan=0)
    excess = torch.cat([excess[..., :1].clamp(min=0), excess[..., 1:]], dim=-1)
    below = excess < 0
    first = below.to(torch.uint8).argmax(-1, keepdim=True).clamp(min=1)
    before, after = excess.gather(-1, first - 1), excess.gather(-1, first)
    f0, f1 = curve.frequency[first - 1], curve.frequency[first]
    crossing = (f0 + (f1 - f0) * before / (before - after))[..., 0]
    crossing = crossing.where(below.any(-1), curve.frequency[-1])
    return 1 / crossing.where(curve.value.isfinite()[..., 1:].any(-1), math.nan)


def prtf(
    ensemble: Tensor,
    intensity: Tensor,
    operator: FourierIntensity | None = None,
    *,
    reference: Tensor | None = None,
    mask: Tensor | None = None,
    undersampled: bool = False,
) -> RingCurve:
    r"""Phase retrieval transfer function: at which frequencies reconstructions from many starts agree on the phase.

    .. math:: \mathrm{PRTF}(r) = \frac{\sum_{k \in r} \big| \frac{1}{K} \sum_{j=1}^{K} F(T_j \hat X_j)_k \big|}
        {\sum_{k \in r} \sqrt{Y_k}}

    over the measured pixels of each ring, T_j being the symmetry that brings reconstruction j closest to the
    reference (on the padded grid, so it does not change the magnitude; the sign of real objects is free). It is 1
    where all reconstructions have the measured magnitude and one phase, about 1 / sqrt(K) where their phases are
    random, and nan for a ring without measured light. All starts may agree on a wrong object: agreement is no proof.

    Args:
        ensemble: K reconstructions of each pattern, real or complex floating.
        intensity: Measured intensity, squared object units.
        operator: The measurement, with its sizes, norm, centering and one-sidedness. Default: the two-dimensional
            orthonormal :class:`~phaseret.operators.FourierIntensity` on the full plane, of the data's shape.
        reference: Object to align with. Default: the first reconstruction of each pattern.
        mask: True where the data is measured; broadcasts to the data. Default: everywhere.
        undersampled: Allow data of m < 2n - 1 (but m >= n), which other objects have too.

    Shape:
        - ensemble: (*, K, n1..nd) with m >= 2n - 1, or (*, K, m1..md): objects laid out on the whole grid
        - intensity: (*, m1..md)
        - reference: (*, n1..nd) or (*, m1..md) too
        - output: :class:`RingCurve` with value (*, r), r = min(m1..md) // 2 + 1

    Returns:
        :class:`RingCurve`; frequencies in cycles per object pixel.

    Raises:
        TypeError: if ensemble is not floating, intensity not real, mask not boolean or operator not a FourierIntensity.
        ValueError: if m < 2n - 1 without `undersampled`, or batch or data shapes or devices differ.

    Example:
        >>> obj = torch.rand(28, 28)
        >>> intensity = pr.operators.fourier_intensity(obj, (64, 64))
        >>> curve = prtf(torch.stack([obj, pr.symmetry.conj_flip(obj)]), intensity)
        >>> curve.value.shape, bool((curve.value - 1).abs().max() < 1e-3)
        (torch.Size([33]), True)

    Source:
        Chapman et al. (2006), High-resolution ab initio three-dimensional x-ray diffraction microscopy,
        doi:10.1364/JOSAA.23.001179. In the source the ratio is averaged over the ring; here numerator and denominator
        are summed, so that pixels without counts do no harm.
    """
    _checks.floating(ensemble=ensemble)
    _checks.real(intensity=intensity)
    if reference is not None:
        _checks.floating(reference=reference)
    _checks.same_device(ensemble=ensemble, intensity=intensity, reference=reference)
    _checks.flag(undersampled=undersampled)
    far_field = operator_of(intensity, operator, undersampled)
    if not is_fourier(far_field):
        fix = "The rings are those of far-field data"
        _checks.fail(f"operator must be a FourierIntensity, got {type(far_field).__name__}", fix, TypeError)
    shape, d = far_field.fourier_shape, far_field.data_ndim
    _checks.rank(d + 1, ensemble=ensemble)
    check_data(intensity, far_field.data_shape)
    _checks.same_batch(("ensemble", ensemble, d + 1), ("intensity", intensity, d))
    if reference is None:
        reference = ensemble.select(-d - 1, 0)
    box, given = tuple(ensemble.shape[-d:]), tuple(reference.shape[-d:])
    if reference.shape[:-d] != ensemble.shape[: -d - 1] or not (given in (box, shape) or box == shape):
        expected = (*ensemble.shape[: -d - 1], *box)
        rule = f"reference must have the shape of one reconstruction {expected}, or that of the grid"
        _checks.fail(f"{rule}, got {tuple(reference.shape)}", "Index or expand it")
    aligned = _brought_to(reference, ensemble, far_field)
    magnitude = far_field._predicted(aligned.mean(-d - 1)).abs()
    if mask is not None:
        mask = _checks.mask(mask, intensity)
        intensity = intensity.where(mask, 0)
    measured = _fft.root(_fft.promote(intensity))
    rings = _fft.Rings(shape, measured, onesided=far_field.onesided, centered=far_field.centered)
    weight = far_field.weights(measured)
    if mask is not None:
        magnitude = magnitude.where(mask, 0)
    value = rings.transfer(weight * magnitude, weight * measured)
    return RingCurve(rings.frequency, value, rings.count)


def _brought_to(reference: Tensor, ensemble: Tensor, operator: FourierIntensity) -> Tensor:
    """Each reconstruction laid out on the grid where it is closest to the reference."""
    d = operator.object_ndim
    operator._check(ensemble, on_grid=True)
    target = reference.unsqueeze(-d - 1).expand(*ensemble.shape[:-d], *reference.shape[-d:])
    element = symmetry.align(ensemble, target, ndim=d, fourier_shape=operator.fourier_shape, phase=True).symmetry
    dtype = torch.promote_types(_fft.promote(ensemble).dtype, reference.dtype)
    placed = element.cropped(ensemble.to(dtype), element.fourier_shape)
    return following(placed, overlap(placed, target, d)) if placed.is_complex() else placed
