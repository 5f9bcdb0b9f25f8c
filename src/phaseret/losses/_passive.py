"""The passive loss: distance of the estimate's measurement to the measured one."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, get_args

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from phaseret import _checks, _fft, _memory
from phaseret._module import Module, called_as
from phaseret._reduction import Reduction, check_reduction, reduce
from phaseret.losses._compare import Comparison, Domain
from phaseret.losses._criterion import Criterion, check_criterion
from phaseret.losses._looks import Calls, asked, looks
from phaseret.losses._one_pass import OnePass
from phaseret.operators import Operator
from phaseret.operators._data import is_fourier, matched
from phaseret.operators._hot import ask_about_hot
from phaseret.projections._spread import check_shares, of_data


def passive_loss(
    estimate: Tensor,
    intensity: Tensor,
    operator: Operator | None = None,
    *,
    domain: Domain = "magnitude",
    criterion: Criterion = "mse",
    mask: Tensor | None = None,
    background: Tensor | float | None = None,
    point_spread: Tensor | None = None,
    normalize: bool = False,
    scale: bool = False,
    undersampled: bool = False,
    reduction: Reduction = "mean",
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
    still a function l(Y, \|F g(Y)\|^2) as in the paper: the intensity spans many decades, and its squared error is
    almost only that of the zero frequency. Trained on digits with ``domain="intensity"`` the same U-Net reached
    11.9 dB (aligned PSNR) where ``domain="magnitude"`` reached 15.9 to 16.3 dB. Magnitudes of photon counts also have
    nearly equal variance at every pixel.

    The gradient is that of the closed form, and 0 where the estimate's spectrum is 0. For the oversampled Fourier
    operators value and gradient are computed in one pass that keeps nothing but the gradient.

    Args:
        estimate: Candidate object, real or complex.
        intensity: Measured intensity, squared object units (counts for "poisson"), non-negative. What background
            subtraction left below 0 counts as 0 in the domains "magnitude" and "poisson".
        operator: What was measured. Default: the 2D oversampled Fourier transform with ``norm="ortho"``, its shape
            read from the data. Give `FourierIntensity` with its options for 1D, 3D, onesided or centered data: which
            of these the data are cannot be seen from their shape. The `chunk` of other operators is respected.
        domain: "magnitude", "intensity", "poisson" or "autocorrelation".
        criterion: "mse", "l1", "huber" (threshold 1), or a callable of two tensors that returns one value a pixel;
            "poisson" has its own.
        mask: Boolean, True where the pixel was measured. Default: everywhere. The value of an item without a measured
            pixel is nan, its gradient 0.
        background: What the detector counts without the object, a number of at least 0 or in the intensity's units and
            arrangement, one for all items or one for each. It is added to I in all domains, so that the noise of the
            data stays as it was measured.
        point_spread: What becomes of the intensity of one pixel, on a detector or from a source that is not quite
            coherent: its middle lies at index k // 2, and its sum is 1. One for all items or one for each, with the
            axes of the object; I is convolved with it, around the edges, before the background is added. It needs the
            memory and time of a computation step by step. The solvers take the same.
        normalize: Divide data and estimated intensity by the item's mean measured intensity: the value no longer
            depends on the data's scale, and dim items count as much as bright ones. Use it where intensities, or
            their squares in the domain "intensity", leave the range of the dtype. An item whose mean is not positive
            is left as it is. It does not make an estimate's own scale free: that is what `scale` does.
        scale: Multiply each estimate by the factor that gives it the total measured intensity, so that its own scale
            does not matter: for estimates in other units than the data, as those of a network that answers from 0 to 1
            are where the data are counts. Compare such estimates with ``scale=True`` in the metrics too. It needs the
            memory and time of a computation step by step.
        undersampled: Allow data of m < 2n - 1 (but m >= n), as benchmarks have them: 256 pixels in 384. The value stays
            exact, since what wraps around is in the model, but other objects have the same data: a warning says so
            once. An operator that was made with it needs it no more.
        reduction: "mean" or "sum" over the items, or "none": one value per item.

    Shape:
        - estimate: (*, n1, n2), or (*, m1, m2): an object laid out on the whole grid
        - intensity: (*, m1, m2) with m >= 2n - 1, or the data shape of the operator
        - mask: that of the data, or broadcast to it
        - point_spread: (k1, k2), or (*, k1, k2)
        - output: (), or (*) with reduction="none"

    Returns:
        Real tensor.

    Raises:
        TypeError: if the intensity is not real floating or the mask not boolean.
        ValueError: if m < 2n - 1 without `undersampled`, the batch shapes or devices differ, or an option is unknown.

    Example:
        >>> obj = torch.rand(3, 8, 8)
        >>> intensity = pr.operators.fourier_intensity(obj, (16, 16))
        >>> bool(passive_loss(obj.flip(-2, -1), intensity) < 1e-10)
        True

    Source:
        Manekar, Tayal, Kumar, Sun (2020), End-to-End Learning for Phase Retrieval, eq. 2.2; the autocorrelation form:
        Metzler et al. (2020), Deep-inverse correlography, doi:10.1364/OPTICA.374026.
    """
    options: dict[str, Any] = {"domain": domain, "criterion": criterion, "mask": mask, "background": background}
    options |= {
        "point_spread": point_spread,
        "normalize": normalize,
        "scale": scale,
        "undersampled": undersampled,
        "reduction": reduction,
    }
    return _loss(estimate, intensity, operator, _calls, **options)


# Those of the function; a Module has its own.
_calls: Calls = Counter()


def _loss(
    estimate: Tensor,
    intensity: Tensor,
    operator: Operator | None,
    calls: Calls,
    *,
    domain: Domain,
    criterion: Criterion,
    mask: Tensor | None,
    background: Tensor | float | None,
    point_spread: Tensor | None,
    normalize: bool,
    scale: bool,
    undersampled: bool,
    reduction: Reduction,
) -> Tensor:
    """The loss of the function and of the Module."""
    _check_options(operator, domain, criterion, normalize, scale, reduction)
    operator, mask = matched(estimate, intensity, operator, mask, undersampled)
    if is_fourier(operator):
        operator._check(estimate, on_grid=True)
    batch = estimate.shape[: estimate.ndim - operator.object_ndim]
    shapes = estimate.shape[len(batch) :], intensity.shape[len(batch) :]
    dark = None if background is None else _checks.background(background, intensity).expand_as(intensity)
    kernel = None if point_spread is None else of_data(point_spread, intensity, operator)
    if looks(calls, estimate, shapes):
        seen = intensity if dark is None else intensity - dark
        if (mask is not None and _unmeasured(mask, operator)) or (
            not scale
            and (
                (
                    is_fourier(operator)
                    and not operator.undersampled
                    and ask_about_hot(intensity, mask, operator.data_ndim)
                )
                or _doubted(estimate, seen, operator, mask)
                or (mask is None and _misplaced(estimate, seen, operator))
            )
        ):
            asked(calls, shapes)
    items = _as_items(estimate, intensity, mask, len(batch))
    comparison = Comparison.of(operator, domain, criterion, normalize, scale)
    if dark is not None:
        dark = dark if mask is None else dark.where(mask, 0)
        dark = dark.reshape(-1, *intensity.shape[len(batch) :]).to(items[1].dtype)
    if kernel is not None:
        kernel = kernel.reshape(-1, *kernel.shape[kernel.ndim - operator.data_ndim :]).to(items[1].dtype)
    return reduce(_values(comparison, *items, dark, kernel, chunk=operator.chunk).reshape(batch), reduction)


def _unmeasured(mask: Tensor, operator: Operator) -> bool:
    """Warn of items without a measured pixel."""
    measured = mask.flatten(mask.ndim - operator.data_ndim).any(-1)
    lost = measured.numel() - int(measured.sum())
    if lost:
        _checks.warn(
            f"the mask leaves no pixel of {lost} of {measured.numel()} items: their loss is nan, and with it the mean "
            "and the sum, but their gradient is 0",
            "Leave these items out",
            page="wrong.rst#the-network-s-loss-is-nan",
        )
    return bool(lost)


@torch.no_grad()
def _doubted(estimate: Tensor, intensity: Tensor, operator: Operator, mask: Tensor | None) -> bool:
    """Warn where a network answers between 0 and 1, but the data are brighter than those of any such object.

    Those of ones are the brightest. In the far field there is a sharper limit: the squares of such values add up to no
    more than the values themselves, so to the largest magnitude, that of the zero frequency.
    """
    axes = tuple(range(-operator.data_ndim, 0))
    ones = torch.ones_like(estimate.reshape(-1, *estimate.shape[estimate.ndim - operator.object_ndim :])[0])
    brightest = _fft.power(operator._predicted(ones))
    share = operator.weights(brightest).expand_as(brightest)
    share = share / share.sum()
    seen = _fft.promote(intensity if mask is None else intensity.where(mask, 0))
    limit = (share * brightest).sum()
    if is_fourier(operator):
        # The mean pattern: where its zero frequency is hidden, or not the brightest, it says nothing about units.
        known = seen if mask is None else seen.masked_fill(~mask, -math.inf)
        pattern = known.reshape(-1, brightest.numel()).mean(0)
        top = pattern.index_select(0, brightest.argmax().reshape(1))[0]
        top = top.where(top >= pattern.amax(), math.inf)
        limit = limit.minimum((brightest.amax() * top).sqrt() / ones.numel())
    low, high, measured, most = torch.stack([*estimate.aminmax(), (share * seen).sum(axes).mean(), limit]).tolist()
    # A network whose values end at 0 alone may yet answer with larger ones.
    bounded = (low > 0 and high <= 1) or (low >= 0 and high == 1)
    doubted: bool = bounded and measured > 2 * most
    if doubted:
        _checks.warn(
            f"the estimates lie between 0 and 1, but the data have a mean of {measured:.3g} per pixel, where those of "
            f"such an object have at most {most:.3g}: no such estimate explains them",
            "If these are counts, use PoissonNoise(counts=False), which keeps the units of the object, or scale=True "
            "in the loss and the metrics, or a network whose answer follows the data: UNet(output='nonnegative')",
            page="units.rst#units-intensities-or-counts",
        )
    return doubted


@torch.no_grad()
def _misplaced(estimate: Tensor, intensity: Tensor, operator: Operator) -> bool:
    """Warn where data of the estimates' own shape, as objects are, cannot be intensities of such estimates.

    That of an object without negative values is the largest at zero frequency.
    """
    shape = tuple(intensity.shape[intensity.ndim - operator.data_ndim :])
    if not is_fourier(operator) or tuple(estimate.shape[estimate.ndim - operator.object_ndim :]) != shape:
        return False
    pattern = _fft.promote(intensity).reshape(-1, *shape).mean(0)
    origin = tuple(m // 2 if operator.centered else 0 for m in shape)
    low, zero, largest = torch.stack([estimate.amin(), pattern[origin], pattern.amax()]).tolist()
    misplaced: bool = low >= 0 and largest > 2 * zero
    if misplaced:
        _checks.warn(
            f"the estimates are not negative, so that their intensities are largest at zero frequency, but the "
            f"intensity, which has their shape {shape}, is not",
            "If it is the object, use InvariantLoss or SupervisedLoss; if its zero frequency lies elsewhere, an "
            "operator with centered=True",
            page="wrong.rst#the-network-s-loss-stands-still",
        )
    return misplaced


def _as_items(
    estimate: Tensor, intensity: Tensor, mask: Tensor | None, batch_axes: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The tensors with one batch axis, estimate and intensity in one precision."""
    if mask is not None:
        mask = mask.reshape(-1, *intensity.shape[batch_axes:])
    estimate = _fft.promote(estimate).reshape(-1, *estimate.shape[batch_axes:])
    intensity = _fft.promote(intensity).reshape(-1, *intensity.shape[batch_axes:])
    dtype = torch.promote_types(estimate.real.dtype, intensity.dtype)
    return estimate.to(torch.promote_types(estimate.dtype, dtype)), intensity.to(dtype), mask


def _values(
    comparison: Comparison,
    estimate: Tensor,
    intensity: Tensor,
    mask: Tensor | None,
    background: Tensor | None,
    kernel: Tensor | None,
    *,
    chunk: int | None,
) -> Tensor:
    """One value per item, in one pass where that is possible."""
    if background is None and kernel is None and _one_pass_applies(comparison, estimate, intensity):
        wanted = estimate.requires_grad and torch.is_grad_enabled()
        values, _ = OnePass.apply(estimate, intensity, mask, comparison, wanted)
        return values
    if chunk is None or chunk >= len(estimate):
        return comparison.values(estimate, intensity, mask, background, kernel)
    if kernel is not None:
        kernel = kernel.expand(len(estimate), *kernel.shape[1:])
    optional = ([None] * len(estimate) if x is None else x.split(chunk) for x in (mask, background, kernel))
    pieces = zip(estimate.split(chunk), intensity.split(chunk), *optional, strict=False)
    return torch.cat([_memory.recomputed(comparison.operator, comparison.values, *piece) for piece in pieces])


def _one_pass_applies(comparison: Comparison, estimate: Tensor, intensity: Tensor) -> bool:
    return (
        not comparison.scale
        and is_fourier(comparison.operator)
        and isinstance(comparison.criterion, str)
        and (comparison.domain != "autocorrelation" or comparison.criterion == "mse")
        and unpack_dual(estimate).tangent is None
        and not intensity.requires_grad
        and unpack_dual(intensity).tangent is None
        and not torch.compiler.is_compiling()
    )


def _check_options(operator: Any, domain: Any, criterion: Any, normalize: Any, scale: Any, reduction: Any) -> None:
    if operator is not None:
        Operator.check(operator)
    _checks.choice("domain", domain, get_args(Domain))
    check_criterion(criterion)
    _checks.flag(normalize=normalize, scale=scale)
    check_reduction(reduction)
    if domain == "poisson" and normalize:
        _checks.fail("normalize must be False with domain='poisson', got True", "Counts have no free scale")
    if domain == "poisson" and criterion != "mse":
        fix = "Leave criterion at its default"
        _checks.fail(f"criterion must not be given with domain='poisson', got {criterion!r}", fix)
    if domain == "autocorrelation" and operator is not None and not is_fourier(operator):
        fix = "Use domain='intensity', which has the same value for far-field data"
        _checks.fail(f"operator must be far-field Fourier for {domain=}, got {type(operator).__name__}", fix)


class PassiveLoss(Module):
    """Module of :func:`passive_loss`, with the same options.

    Args:
        operator: What was measured. Default: the 2D oversampled Fourier transform, its shape read from the data.
        domain: "magnitude", "intensity", "poisson" or "autocorrelation".
        criterion: "mse", "l1", "huber", or a callable of two tensors that returns one value a pixel.
        mask: True where the pixel was measured. A call takes another one, ``loss(estimate, intensity, mask=m)``; with
            both, a pixel counts as measured where both say so.
        background: What the detector counts without the object; that of a call, ``loss(x, y, background=b)``, replaces
            it.
        point_spread: What becomes of the intensity of one pixel; that of a call replaces it as well.
        normalize: Divide data and estimated intensity by the item's mean measured intensity.
        scale: Multiply each estimate by the factor that gives it the total measured intensity.
        undersampled: Allow data of m < 2n - 1, which other objects have too.
        reduction: "mean" or "sum" over the items, or "none": one value per item.

    Example:
        >>> loss = PassiveLoss()
        >>> estimate = torch.zeros(3, 8, 8, requires_grad=True)
        >>> loss(estimate, torch.ones(3, 16, 16))
        tensor(1., grad_fn=<MeanBackward0>)
    """

    mask: Tensor | None
    background: Tensor | float | None
    point_spread: Tensor | None

    def __init__(
        self,
        operator: Operator | None = None,
        *,
        domain: Domain = "magnitude",
        criterion: Criterion = "mse",
        mask: Tensor | None = None,
        background: Tensor | float | None = None,
        point_spread: Tensor | None = None,
        normalize: bool = False,
        scale: bool = False,
        undersampled: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        _check_options(operator, domain, criterion, normalize, scale, reduction)
        if mask is not None:
            _checks.boolean(mask=mask)
            axes = min(mask.ndim, 2 if operator is None else operator.data_ndim)
            if not mask.flatten(-axes).any(-1).all():
                _checks.fail("mask must leave each item a measured pixel (True), got none", "Is it inverted?")
        if isinstance(background, Tensor):
            _checks.real(background=background)
        elif background is not None:
            _checks.number("background", background, at_least=0)
        if point_spread is not None:
            check_shares(point_spread, 2 if operator is None else operator.object_ndim)
        how: dict[str, Any] = {"domain": domain, "criterion": criterion, "mask": mask, "background": background}
        _checks.flag(undersampled=undersampled)
        how |= {"point_spread": point_spread, "normalize": normalize, "scale": scale, "undersampled": undersampled}
        super().__init__(operator=operator, **how, reduction=reduction)
        self._calls: Calls = Counter()

    def forward(
        self,
        estimate: Tensor,
        intensity: Tensor,
        *,
        mask: Tensor | None = None,
        background: Tensor | float | None = None,
        point_spread: Tensor | None = None,
    ) -> Tensor:
        """The loss of (estimate, intensity)."""
        given: dict[str, Any] = {"mask": _checks.both_masks(self.mask, mask, intensity)}
        if background is not None:
            given["background"] = background
        if point_spread is not None:
            given["point_spread"] = point_spread
        options = self.options | given
        return _loss(estimate, intensity, options.pop("operator"), self._calls, **options)

    __call__ = called_as(forward)
