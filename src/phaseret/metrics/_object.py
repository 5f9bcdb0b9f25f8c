"""How far an estimate is from the true object: with `align`, after the symmetries have been removed."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret._reduction import Reduction, check_reduction, reduce
from phaseret.metrics._pair import aligned, pair
from phaseret.symmetry._search import box_of


def mse(
    estimate: Tensor,
    obj: Tensor,
    *,
    align: bool = True,
    scale: bool = False,
    ndim: int = 2,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Mean squared error per object pixel, by default after the symmetries have been removed.

    .. math:: \mathrm{mse} = \frac{1}{n_1 \cdots n_d} \, \min_{T} \| T \hat X - X \|_2^2

    over all shifts on the padded grid, the conjugate flip and, for complex objects, the global phase (see
    :func:`phaseret.symmetry.align`). What the best T moves out of the object's box counts as error too, so the value
    is 0 only for a copy of the object. ``align=False`` takes T = 1: the raw error, which also punishes the copies
    that no measurement can tell apart.

    Args:
        estimate: Candidate object, real or complex floating.
        obj: True object.
        align: Remove shift, conj_flip and global_phase first.
        scale: Multiply the estimate by the positive factor that fits best, for estimates in other units than the
            object, such as the roots of counts.
        ndim: Number of axes of one object (1, 2 or 3); all axes before them are a batch.
        reduction: "mean" or "sum" over the items, or "none": one value per item.

    Shape:
        - estimate, obj: (*, n1..nd); with `align` one of them may be (*, m1..md) with m >= 2n - 1, an object laid out
          on the whole grid, as a reconstruction without a box, which moves circularly on it
        - output: (), or (*) with reduction="none"

    Returns:
        Real tensor, squared object units.

    Raises:
        TypeError: if an argument is not a floating tensor.
        ValueError: if shapes or devices differ, or an option is unknown.

    Example:
        >>> obj = torch.rand(4, 28, 28)
        >>> mse(pr.symmetry.conj_flip(obj), obj).round(decimals=4)
        tensor(0.)
        >>> mse(pr.symmetry.conj_flip(obj), obj, align=False, reduction="none") > 0.1
        tensor([True, True, True, True])

    Source:
        The orbit's distance divided by the number of pixels, as in the symmetry-adjusted error of Zhang, Wan, Zhuang,
        Sun (2024), What is wrong with end-to-end learning for phase retrieval?, arXiv:2403.15448.
    """
    check_options(align, scale, reduction)
    estimate, obj, axes = pair(estimate, obj, ndim, align)
    return reduce(_squared_error(estimate, obj, align, scale, axes), reduction)


def _squared_error(estimate: Tensor, obj: Tensor, align: bool, scale: bool, axes: tuple[int, ...]) -> Tensor:
    if align or scale:
        return aligned(estimate, obj, len(axes), align, scale).error
    return _fft.power(estimate - obj).mean(axes)


def nmse(
    estimate: Tensor,
    obj: Tensor,
    *,
    align: bool = True,
    scale: bool = False,
    ndim: int = 2,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Normalised mean squared error: the squared error divided by the squared norm of the object.

    .. math:: \mathrm{nmse} = \min_{T} \| T \hat X - X \|_2^2 \,/\, \| X \|_2^2

    Its square root is the relative error. Arguments, shapes and errors are those of :func:`mse`.

    Returns:
        Real tensor without unit; nan, with a gradient of 0, for an object of zeros.

    Example:
        >>> obj = torch.rand(28, 28)
        >>> nmse(0.9 * obj, obj)
        tensor(0.0100)
    """
    check_options(align, scale, reduction)
    estimate, obj, axes = pair(estimate, obj, ndim, align)
    return reduce(_relative(estimate, obj, align, scale, axes), reduction)


def _relative(estimate: Tensor, obj: Tensor, align: bool, scale: bool, axes: tuple[int, ...]) -> Tensor:
    unit = _fft.unit(obj, len(axes))
    estimate, obj = estimate / unit, obj / unit
    power = _fft.power(obj).sum(axes) / math.prod(box_of(estimate, obj, len(axes)))
    return _fft.quotient(_squared_error(estimate, obj, align, scale, axes), power)


def success_rate(
    estimate: Tensor,
    obj: Tensor,
    *,
    threshold: float = 0.05,
    align: bool = True,
    scale: bool = False,
    ndim: int = 2,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""The share of items that are solved: relative error :math:`\min_T \|T \hat X - X\| / \|X\|` below a threshold.

    Arguments, shapes and errors are those of :func:`mse`, except:

    Args:
        threshold: Largest relative error of a solved item (not squared).
        reduction: "mean" gives the rate, "sum" the number of solved items, "none" 1 or 0 for each item.

    Returns:
        Real tensor between 0 and 1. An item whose error is nan is not solved.

    Example:
        >>> obj = torch.rand(4, 28, 28)
        >>> estimate = obj.clone()
        >>> estimate[0] = torch.rand(28, 28)
        >>> success_rate(estimate, obj)
        tensor(0.7500)
    """
    threshold = _checks.number("threshold", threshold, above=0)
    check_options(align, scale, reduction)
    estimate, obj, axes = pair(estimate, obj, ndim, align)
    error = _relative(estimate, obj, align, scale, axes).sqrt()
    return reduce((error <= threshold).to(error.dtype), reduction)


def psnr(
    estimate: Tensor,
    obj: Tensor,
    *,
    data_range: float = 1.0,
    align: bool = True,
    scale: bool = False,
    ndim: int = 2,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Peak signal-to-noise ratio, by default after the symmetries have been removed.

    .. math:: \mathrm{psnr} = 10 \log_{10} \frac{\mathrm{data\_range}^2}{\mathrm{mse}}

    The other arguments, shapes and errors are those of :func:`mse`. The mean is that of the items' decibels.

    Args:
        data_range: Largest minus smallest value an object can take.

    Returns:
        Real tensor in dB; inf, with a gradient of 0, where the error is 0.

    Example:
        >>> obj = torch.rand(2, 28, 28)
        >>> psnr(obj + 0.1, obj, align=False, reduction="none").round()
        tensor([20., 20.])
        >>> psnr(255 * (obj + 0.1), 255 * obj, data_range=255, align=False).round()
        tensor(20.)
    """
    data_range = _checks.number("data_range", data_range, above=0)
    check_options(align, scale, reduction)
    estimate, obj, axes = pair(estimate, obj, ndim, align)
    error = _squared_error(estimate / data_range, obj / data_range, align, scale, axes)
    # A perfect item has no slope, and the gradients of the others stay as they are.
    perfect = error == 0
    decibels = -10 * error.masked_fill(perfect, 1).log10()
    return reduce(decibels.masked_fill(perfect, math.inf), reduction)


def ssim(
    estimate: Tensor,
    obj: Tensor,
    *,
    data_range: float = 1.0,
    win_size: int = 11,
    align: bool = True,
    scale: bool = False,
    ndim: int = 2,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Structural similarity, by default after the symmetries have been removed.

    .. math:: \mathrm{ssim} = \Big\langle
        \frac{(2 \mu_x \mu_y + C_1)(2 \sigma_{xy} + C_2)}{(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)}
        \Big\rangle

    with local means, variances and covariance under a Gaussian window of standard deviation 1.5 pixels,
    C1 = (0.01 data_range)^2 and C2 = (0.03 data_range)^2, averaged over the windows that lie inside the object. With
    `align` the estimate is first brought to the object by :func:`phaseret.symmetry.align` and cropped to its box. Only
    real objects have a structural similarity (complex ones are a `TypeError`); for complex ones align, then compare the
    moduli. Arguments, shapes and errors are otherwise those of :func:`mse`, and:

    Args:
        data_range: Largest minus smallest value an object can take.
        win_size: Width of the window in pixels, odd and no larger than the object.

    Returns:
        Real tensor of at most 1.

    Example:
        >>> obj = torch.rand(2, 28, 28)
        >>> moved = pr.symmetry.conj_flip(obj)
        >>> ssim(moved, obj), ssim(moved, obj, align=False) < 0.1
        (tensor(1.), tensor(True))

    Source:
        Wang, Bovik, Sheikh, Simoncelli (2004), Image quality assessment: from error visibility to structural
        similarity, equation 13, doi:10.1109/TIP.2003.819861. Equal to scikit-image's `structural_similarity` with
        ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False``.
    """
    data_range = _checks.number("data_range", data_range, above=0)
    width = window_width(win_size)
    _checks.real(estimate=estimate, obj=obj)
    check_options(align, scale, reduction)
    estimate, obj, axes = pair(estimate, obj, ndim, align)
    ndim = len(axes)
    smallest = min(obj.shape[-ndim:])
    if width > smallest:
        fix = f"Use win_size={smallest - 1 + smallest % 2}"
        _checks.fail(f"win_size must be at most {smallest}, the object's smallest size, got {width}", fix)
    if align or scale:
        estimate = aligned(estimate, obj, ndim, align, scale).aligned
    # Variances do not see an offset, but their digits do: they are those of values around 0.
    offset = (obj / data_range).mean(axes, keepdim=True)
    x, y = estimate / data_range - offset, obj / data_range - offset
    products = _window(torch.stack([x, y, x * x, y * y, x * y]), width, axes)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = products.unbind()
    var_x, var_y, cov = mean_xx - mean_x * mean_x, mean_yy - mean_y * mean_y, mean_xy - mean_x * mean_y
    mean_x, mean_y = mean_x + offset, mean_y + offset
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    structure = (2 * cov + c2) / (var_x + var_y + c2)
    return reduce((luminance * structure).mean(axes), reduction)


def check_options(align: Any, scale: Any, reduction: Any) -> None:
    """The options that all metrics of objects have are what they should be."""
    _checks.flag(align=align, scale=scale)
    check_reduction(reduction)


def window_width(win_size: int) -> int:
    """Check the width of a window, which has a middle."""
    width = _checks.integer("win_size", win_size)
    if width % 2 == 0:
        _checks.fail(f"win_size must be odd, got {width}", f"Use {width - 1} or {width + 1}")
    return width


def _window(x: Tensor, width: int, axes: tuple[int, ...]) -> Tensor:
    """Weighted mean under the Gaussian window, where it lies inside: each axis becomes width - 1 shorter."""
    weights = [math.exp(-0.5 * ((i - width // 2) / 1.5) ** 2) for i in range(width)]
    total = sum(weights)
    for axis in axes:
        size = x.shape[axis] - width + 1
        result = x.narrow(axis, 0, size) * (weights[0] / total)
        for i in range(1, width):
            result = torch.add(result, x.narrow(axis, i, size), alpha=weights[i] / total)
        x = result
    return x
