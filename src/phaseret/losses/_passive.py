"""The passive loss: distance of the estimate's measurement to the measured one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual

from phaseret import _checks, _fft, _memory
from phaseret.losses._criterion import (
    Criterion,
    check_criterion,
    check_reduction,
    pixelwise,
    poisson_floor,
    poisson_pixels,
    reduce_items,
)
from phaseret.losses._one_pass import OnePass, Setting
from phaseret.operators import FourierIntensity, FourierMagnitude, Operator

DOMAINS = ("magnitude", "intensity", "poisson", "autocorrelation")


def passive_loss(
    estimate: Tensor,
    intensity: Tensor,
    operator: Operator | None = None,
    *,
    domain: str = "magnitude",
    criterion: Criterion = "mse",
    mask: Tensor | None = None,
    normalize: bool = False,
    reduction: str = "mean",
) -> Tensor:
    r"""Compare the measurement that an estimate would give with the measured one: the passive objective DNN-P.

    With the intensity I = :math:`|F \hat X|^2` of the estimate and the measured one Y, the value is the mean over
    all measured pixels of the full plane of

    ================= =====================================================================
    domain            per pixel, with ``criterion="mse"``
    ================= =====================================================================
    "magnitude"       :math:`(\sqrt I - \sqrt Y)^2`
    "intensity"       :math:`(I - Y)^2`, the literal squared error of eq. 2.2
    "poisson"         :math:`I - Y \log I + \log \Gamma(Y + 1)`, minus the log-likelihood of the counts Y, with a
                      background of machine precision times the item's mean count added to I
    "autocorrelation" :math:`|F^{-1}(I - Y)|^2`, equal to "intensity" for this criterion (Parseval)
    ================= =====================================================================

    It does not change under shift (on the padded grid), conj_flip and global_phase of the estimate, so a network is
    free to answer with any of the copies that the data cannot tell apart. The default is the magnitude, which is
    still a function l(Y, \|F g(Y)\|^2) as in the paper: the intensity spans many decades and its squared error is
    little but that of the zero frequency. Trained on digits with ``domain="intensity"`` the same U-Net reached
    11.9 dB (aligned PSNR) where ``domain="magnitude"`` reached 15.9 to 16.3 dB. Magnitudes of photon counts also have
    nearly equal variance at every pixel.

    The gradient is that of the closed form, and 0 where the estimate's spectrum is 0. For the oversampled Fourier
    operators value and gradient are computed in one pass that keeps nothing but the gradient.

    Args:
        estimate: Candidate object, real or complex.
        intensity: Measured intensity, squared object units (counts for "poisson"), non-negative.
        operator: What was measured. Default: the 2D oversampled Fourier transform with ``norm="ortho"``, its shape
            read from the data. Give `FourierIntensity` with its options for 1D, 3D, onesided or centered data: which
            of these the data are cannot be seen from their shape. The `chunk` of other operators is respected.
        domain: "magnitude", "intensity", "poisson" or "autocorrelation".
        criterion: "mse", "l1", "huber" (threshold 1), or a callable of two tensors that returns one value a pixel;
            "poisson" has its own.
        mask: Boolean, True where the pixel was measured. Default: everywhere. The value of an item without a measured
            pixel is nan.
        normalize: Divide data and estimated intensity by the item's mean measured intensity: the value no longer
            depends on the data's scale, and dim items count as much as bright ones. Use it where intensities, or
            their squares in the domain "intensity", leave the range of the dtype.
        reduction: "mean" over the items, "sum" over the items, or "none": one value per item.

    Shape:
        - estimate: (*, n1, n2)
        - intensity: (*, m1, m2) with m >= 2n - 1, or the data shape of the operator
        - mask: that of the data, or broadcast to it
        - output: (), or (*) with reduction="none"

    Returns:
        Real tensor.

    Raises:
        TypeError: if the intensity is not real floating or the mask not boolean.
        ValueError: if m < 2n - 1, the batch shapes or devices differ, or an option is unknown.

    Example:
        >>> obj = torch.rand(3, 8, 8)
        >>> intensity = pr.operators.fourier_intensity(obj, (16, 16))
        >>> bool(passive_loss(obj.flip(-2, -1), intensity) < 1e-10)
        True

    Source:
        Manekar, Tayal, Kumar, Sun (2020), End-to-End Learning for Phase Retrieval, eq. 2.2; the autocorrelation form:
        Metzler et al. (2020), Deep-inverse correlography, doi:10.1364/OPTICA.374026.
    """
    _check_options(operator, domain, criterion, normalize, reduction)
    _checks.floating(estimate=estimate)
    _checks.real(intensity=intensity)
    if operator is None:
        _checks.rank(2, estimate=estimate, intensity=intensity)
        operator = FourierIntensity(tuple(intensity.shape[-2:]))
    _checks.rank(operator.object_ndim, estimate=estimate)
    _checks.rank(operator.data_ndim, intensity=intensity)
    _checks.same_batch(("estimate", estimate, operator.object_ndim), ("intensity", intensity, operator.data_ndim))
    if mask is not None:
        _checks.boolean(mask=mask)
    _checks.same_device(estimate=estimate, intensity=intensity, mask=mask)
    batch = estimate.shape[: estimate.ndim - operator.object_ndim]
    if mask is not None:
        mask = _checks.mask(mask, intensity).reshape(-1, *intensity.shape[len(batch) :])
    estimate = _fft.promote(estimate).reshape(-1, *estimate.shape[len(batch) :])
    intensity = _fft.promote(intensity).reshape(-1, *intensity.shape[len(batch) :])
    dtype = torch.promote_types(estimate.real.dtype, intensity.dtype)
    estimate, intensity = estimate.to(torch.promote_types(estimate.dtype, dtype)), intensity.to(dtype)
    given, axes = operator, range(0)
    if isinstance(operator, FourierIntensity):
        _checks.fourier_shape(operator.fourier_shape, estimate.shape[1:])
        _check_data_shape(intensity, operator.data_shape)
        axes = range(-operator.data_ndim, -1 if operator.onesided else 0) if operator.centered else axes
        operator = FourierIntensity(operator.fourier_shape, norm=operator.norm, onesided=operator.onesided)

    def prepared(intensity: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Data and mask with the zero frequency at index 0, and for each estimate a factor or None."""
        if mask is not None:
            # An unmeasured pixel may hold any value, NaN too.
            intensity, mask = intensity.masked_fill(~mask, 0), _fft.uncenter(mask, axes)
        intensity = _fft.uncenter(intensity, axes)
        if not normalize:
            return intensity, mask, None
        scale = _mean(intensity, mask, operator).clamp_min(torch.finfo(intensity.dtype).tiny)
        return intensity / scale.reshape(-1, *[1] * operator.data_ndim), mask, scale.rsqrt()

    def step_by_step(estimate: Tensor, intensity: Tensor, mask: Tensor | None) -> Tensor:
        intensity, mask, factors = prepared(intensity, mask)
        if factors is not None:
            estimate = estimate * factors.reshape(-1, *[1] * operator.object_ndim)
        return _step_by_step(estimate, intensity, mask, operator, domain, criterion)

    if (
        isinstance(operator, FourierIntensity)
        and isinstance(criterion, str)
        and _one_pass_applies(estimate, intensity, operator, domain, criterion)
    ):
        shape, norm, onesided = operator.fourier_shape, operator.norm, operator.onesided
        setting = Setting(shape, norm, onesided, domain, criterion, prepared, step_by_step)
        wanted = estimate.requires_grad and torch.is_grad_enabled()
        values, _ = OnePass.apply(estimate, intensity, mask, setting, wanted)
    elif given.chunk is None or given.chunk >= len(estimate):
        values = step_by_step(estimate, intensity, mask)
    else:
        masks = [None] * len(estimate) if mask is None else mask.split(given.chunk)
        pieces = zip(estimate.split(given.chunk), intensity.split(given.chunk), masks, strict=False)
        values = torch.cat([_memory.recomputed(step_by_step, *piece) for piece in pieces])
    return reduce_items(values.reshape(batch), reduction)


def _one_pass_applies(
    estimate: Tensor, intensity: Tensor, operator: FourierIntensity, domain: str, criterion: str
) -> bool:
    return (
        (domain != "autocorrelation" or criterion == "mse")
        and unpack_dual(estimate).tangent is None
        and not (operator.onesided and estimate.is_complex())
        and not intensity.requires_grad
        and unpack_dual(intensity).tangent is None
        and not torch.compiler.is_compiling()
    )


def _step_by_step(
    estimate: Tensor,
    intensity: Tensor,
    mask: Tensor | None,
    operator: Operator,
    domain: str,
    criterion: Criterion,
) -> Tensor:
    """One value per item, as a composition of differentiable steps: any operator, any criterion, any derivative."""
    field = operator.linear(estimate)
    _check_data_shape(intensity, tuple(field.shape[1:]))
    if domain == "autocorrelation":
        return _autocorrelation_distance(_fft.power(field), intensity, mask, operator, criterion)
    if domain == "poisson":
        pixels = poisson_pixels(_fft.power(field) + poisson_floor(intensity), intensity)
    elif domain == "magnitude":
        # Below the square root of the smallest number the derivatives of the modulus overflow: it counts as 0.
        vanishing = _fft.power(field) < 4 * torch.finfo(field.dtype).tiny
        pixels = pixelwise(criterion, field.masked_fill(vanishing, 0).abs(), _fft.root(intensity))
    else:
        pixels = pixelwise(criterion, _fft.power(field), intensity)
    return _mean(pixels, mask, operator)


def _autocorrelation_distance(
    power: Tensor, intensity: Tensor, mask: Tensor | None, operator: Operator, criterion: Criterion
) -> Tensor:
    """One value per item: the distance of the inverse transforms of the measured pixels, every lag."""
    assert isinstance(operator, FourierIntensity)  # by _check_options
    shape = operator.fourier_shape

    def inverse(plane: Tensor) -> Tensor:
        plane = plane if mask is None else plane.masked_fill(~mask, 0)
        return _fft.adjoint((_fft.full_from_half(plane, shape) if operator.onesided else plane) + 0j, shape, shape)

    pixels = pixelwise(criterion, inverse(power), inverse(intensity))
    # The mean over the measured pixels, so that Parseval's theorem gives the value of "intensity".
    share = 1.0 if mask is None else _mean(mask.to(pixels.dtype), None, operator)
    return pixels.flatten(1).mean(1) / share


def _mean(pixels: Tensor, mask: Tensor | None, operator: Operator) -> Tensor:
    """Mean over the measured pixels of the full plane, per item."""
    weights = None if mask is None else mask.to(pixels.dtype)
    if isinstance(operator, FourierIntensity) and operator.onesided:
        pairs = _fft.pair_weights(operator.fourier_shape[-1], pixels)
        weights = (1.0 if weights is None else weights) * pairs.expand(1, *pixels.shape[1:])
    if weights is None:
        return pixels.flatten(1).mean(1)
    return (pixels * weights).flatten(1).sum(1) / weights.flatten(1).sum(1)


def _check_options(operator: Any, domain: str, criterion: Criterion, normalize: bool, reduction: str) -> None:
    if operator is not None and not isinstance(operator, Operator):
        fix = "Pass one of phaseret.operators, or a subclass of Operator"
        _checks.fail(f"operator must be an Operator, got {type(operator).__name__}", fix, TypeError)
    if isinstance(operator, FourierMagnitude):
        fix = "Use FourierIntensity, and domain='magnitude' to compare magnitudes"
        _checks.fail("operator must measure intensities, got FourierMagnitude", fix)
    _checks.choice("domain", domain, DOMAINS)
    check_criterion(criterion)
    check_reduction(reduction)
    if domain == "poisson" and normalize:
        _checks.fail("normalize must be False with domain='poisson', got True", "Counts have no free scale")
    if domain == "poisson" and criterion != "mse":
        fix = "Leave criterion at its default"
        _checks.fail(f"criterion must not be given with domain='poisson', got {criterion!r}", fix)
    if domain == "autocorrelation" and operator is not None and not isinstance(operator, FourierIntensity):
        fix = "Use domain='intensity', which has the same value for far-field data"
        _checks.fail(f"operator must be far-field Fourier for {domain=}, got {type(operator).__name__}", fix)


def _check_data_shape(intensity: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(intensity.shape[1:]) != expected:
        given = f"got {tuple(intensity.shape[1:])} per item"
        fix = "Give the operator that measured this intensity"
        _checks.fail(f"intensity must have the data shape {expected} of the operator, {given}", fix)


class PassiveLoss(nn.Module):
    """Module of :func:`passive_loss`, with the same options.

    Example:
        >>> loss = PassiveLoss()
        >>> estimate = torch.zeros(3, 8, 8, requires_grad=True)
        >>> loss(estimate, torch.ones(3, 16, 16))
        tensor(1., grad_fn=<MeanBackward0>)
    """

    mask: Tensor | None

    def __init__(
        self,
        operator: Operator | None = None,
        *,
        domain: str = "magnitude",
        criterion: Criterion = "mse",
        mask: Tensor | None = None,
        normalize: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        _check_options(operator, domain, criterion, normalize, reduction)
        if mask is not None:
            _checks.boolean(mask=mask)
            axes = min(mask.ndim, 2 if operator is None else operator.data_ndim)
            if not mask.flatten(-axes).any(-1).all():
                _checks.fail("mask must leave each item a measured pixel (True), got none", "Is it inverted?")
        self.operator = operator
        self.domain, self.criterion, self.normalize, self.reduction = domain, criterion, normalize, reduction
        self.register_buffer("mask", mask)

    def forward(self, estimate: Tensor, intensity: Tensor) -> Tensor:
        """The loss of (estimate, intensity)."""
        return passive_loss(
            estimate,
            intensity,
            self.operator,
            domain=self.domain,
            criterion=self.criterion,
            mask=self.mask,
            normalize=self.normalize,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        mask = "" if self.mask is None else f", mask={tuple(self.mask.shape)}"
        return (
            f"domain={self.domain!r}, criterion={self.criterion!r}{mask}, "
            f"normalize={self.normalize}, reduction={self.reduction!r}"
        )
