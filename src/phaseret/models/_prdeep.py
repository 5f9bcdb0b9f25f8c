"""Regularisation by denoising: a solver whose knowledge of images is any denoiser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.models._layers import evaluating
from phaseret.models._misfit import Misfit

# What the authors run one after the other, in units of an image between 0 and 1.
_SIGMAS = (50 / 255, 40 / 255, 20 / 255, 10 / 255)


def prdeep(
    intensity: Tensor,
    denoiser: Callable[..., Tensor],
    *,
    init: Tensor,
    sigmas: Sequence[float] = _SIGMAS,
    n_iter: int = 200,
    lam: float = 1.0,
    step_size: float = 1.0,
    operator: Any = None,
    mask: Tensor | None = None,
    ndim: int = 2,
    undersampled: bool = False,
) -> Tensor:
    r"""Refine an estimate of a real object with a denoiser: regularisation by denoising (RED).

    .. math:: \min_x \tfrac{1}{2} \big\| |A x| - \sqrt Y \big\|^2 + \tfrac{\lambda}{2} x^T \big(x - D_\sigma(x)\big)

    by proximal gradient steps, for one noise level after the other:

    .. math:: z = x_k - t A^H \Big(A x_k - \sqrt Y \frac{A x_k}{|A x_k|}\Big), \qquad
              x_{k+1} = \frac{z + t \lambda D_\sigma(z)}{1 + t \lambda}

    With the default operator, whose :math:`A^H A` is the identity, t = 1 makes the first half the step of error
    reduction. It does not find an object from nothing: start it from the best of several runs of a classical solver.

    Args:
        intensity: Measured intensity.
        denoiser: Called as ``denoiser(x, sigma)`` with x (b, 1, n1..nd) and a number: a `DnCNN`, or any of deepinv. A
            Module is used in evaluation mode.
        init: Where to start: an estimate, in the units that the denoiser knows (mostly between 0 and 1).
        sigmas: Noise levels to run through, in the units of the object.
        n_iter: Number of iterations for each noise level.
        lam: Weight of the denoiser: the :math:`\lambda \sigma_w^2` of the source, with the standard deviation
            :math:`\sigma_w` of the noise of the magnitudes of an object with values from 0 to 255, whatever the
            range of this one. 0 is the descent on the data alone.
        step_size: The step size t, at most 1 over the largest eigenvalue of :math:`A^H A`.
        operator: The measurement, of real objects. Default: the Fourier transform of the padded object.
        mask: True where measured. Default: everywhere.
        ndim: Number of axes of one object, if no operator says it.
        undersampled: Allow m < 2n - 1 (but m >= n) without an operator, where other objects have the same data. A
            warning says so once.

    Shape:
        - intensity: (*, m1..md) with m >= 2n - 1, or m >= n if undersampled
        - init: (*, n1..nd)
        - output: (*, n1..nd)

    Returns:
        Real tensor.

    Raises:
        TypeError: if intensity or init is not real, denoiser cannot be called, or operator is not an Operator.
        ValueError: if an option is out of range, the batches differ, or m < 2n - 1 without `undersampled`.

    Example:
        >>> obj = torch.rand(2, 8, 8)
        >>> intensity = pr.operators.fourier_intensity(obj, (16, 16))
        >>> smooth = lambda x, sigma: torch.nn.functional.avg_pool2d(x, 3, 1, 1)
        >>> prdeep(intensity, smooth, init=torch.rand(2, 8, 8), sigmas=[0.1], n_iter=5).shape
        torch.Size([2, 8, 8])

    Source:
        Metzler, Schniter, Veeraraghavan, Baraniuk (2018), prDeep: robust phase retrieval with a flexible deep network,
        arXiv:1803.00212; RED: Romano, Elad, Milanfar (2017), doi:10.1137/16M1102884. In the source FASTA chooses t;
        here it is fixed. The proximal map is one round of its fixed-point iteration, as in the authors' code.
    """
    _checks.real(init=init)
    if not callable(denoiser):
        _checks.fail(
            f"denoiser must be callable, got {type(denoiser).__name__}",
            "Pass a DnCNN, or a function of (image, sigma)",
            error=TypeError,
        )
    misfit = Misfit(intensity, ndim, operator=operator, mask=mask)
    axes = misfit.object_ndim
    _checks.rank(axes, init=init)
    _checks.same_device(intensity=intensity, init=init)
    _checks.same_batch(("init", init, axes), ("intensity", intensity, misfit.ndim))
    _checks.sequence("sigmas", sigmas, "noise levels", "Give at least one, such as [0.1]")
    levels = [_checks.number("sigmas", sigma, at_least=0) for sigma in sigmas]
    if not levels:
        _checks.fail("sigmas must hold at least one noise level, got none", "Give at least one, such as [0.1]")
    n_iter = _checks.integer("n_iter", n_iter)
    step_size = _checks.number("step_size", step_size, above=0)
    pull = _checks.number("lam", lam, at_least=0) * step_size
    x = _fft.promote(init)
    batch, shape = x.shape[: x.ndim - axes], x.shape[x.ndim - axes :]
    _checks.flag(undersampled=undersampled)
    if operator is None:
        _checks.fourier_shape(misfit.shape, shape, undersampled)
    with torch.no_grad(), evaluating(denoiser):
        for sigma in levels:
            for _ in range(n_iter):
                z = x - step_size * misfit.gradient(x)
                clean = denoiser(z.reshape(-1, 1, *shape), sigma).reshape(*batch, *shape)
                x = (z + pull * clean) / (1 + pull)
    return x
