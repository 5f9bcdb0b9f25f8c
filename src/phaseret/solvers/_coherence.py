"""How far the intensities are blurred, found while the object is: the covariance of a Gaussian, or any point spread.

Source:
    Clark, Huang, Harder, Robinson (2012), doi:10.1038/ncomms1994: the point spread is found by Richardson and Lucy's
    iteration from the estimate. That a Gaussian is fitted first, to the magnitudes by Gauss and Newton's step, near the
    widest one that the pattern allows, is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor

from phaseret import _fft
from phaseret.projections import MagnitudeConstraint
from phaseret.projections._spread import Autocorrelation, Gaussian, Kernel, PointSpread

if TYPE_CHECKING:
    from phaseret.solvers._run import Items, Run

Coherence = Literal["gaussian", "free"]
# The smallest and largest variance, in squared pixels. What the pattern says of it may be wrong by the one, and then by
# this factor; upwards where it, or this part of it, leaves nothing negative.
_SMALLEST, _LARGEST, _UNCERTAIN, _FACTOR, _SMALLER = 1e-4, 16.0, 0.02, 2.0, 0.95
# A free point spread is a Gaussian at the first checks; then this many iterations at each, on a window of this width.
_GAUSSIAN_CHECKS, _ITERATIONS, _WIDTH = 15, 10, 11
# What all pixels of the window get at first, in all: those at 0 would stay there.
_EVERYWHERE = 1e-3
# What a fit needs, in arrays, beside one for each number that is fitted.
_ARRAYS = 8.0


@torch.no_grad()
def refine(coherence: str, run: Run) -> None:
    """At a check of a run: make the point spread of each pattern fit its best start better."""
    problem = run.problem
    ndim, rows = problem.ndim, torch.arange(problem.patterns, device=problem.device)
    best = run.estimate[rows, run.error.argmin(1), None]
    spread = cast(PointSpread, problem.magnitude.spread)
    form = spread.form
    if coherence == "free" and isinstance(form, Gaussian) and len(run.checked) > _GAUSSIAN_CHECKS:
        form = _free(form, problem.shape)
    new = form.values.clone()

    def fit(items: Items) -> None:
        magnitude, part = problem.magnitude.index(items[:1]), form.index(items[0])
        power = _fft.power(magnitude.spectrum(best[items[0]]))
        fitted = _fitted(part, magnitude, power) if isinstance(part, Gaussian) else _deconvolved(part, magnitude, power)
        if isinstance(part, Gaussian):
            known = cast(PointSpread, magnitude.spread).autocorrelation
            fitted = _near(fitted, cast(Autocorrelation, known))
        new[items[0]] = fitted

    run.in_pieces(fit, run.pieces(_ARRAYS + ndim * (ndim + 1) / 2, best))
    spread.form = type(form)(new)


def _near(fitted: Tensor, autocorrelation: Autocorrelation) -> Tensor:
    """Covariances no further from what the patterns allow than that is uncertain; any where noise hides it.

    The fit to an estimate that is still wrong may say anything.
    """
    widest = cast(Tensor, autocorrelation.widest)
    slack = _UNCERTAIN * torch.eye(fitted.shape[-1]).to(fitted)
    values, vectors = torch.linalg.eigh(widest.nan_to_num(0.0) + slack)
    root, inverse = (_matrix(values**power, vectors) for power in (0.5, -0.5))
    ratios, along = torch.linalg.eigh(inverse @ (fitted + slack) @ inverse)

    def within(most: float) -> Tensor:
        values, vectors = torch.linalg.eigh(root @ _matrix(ratios.clamp(max=most), along) @ root - slack)
        return _matrix(values.clamp(min=_SMALLEST), vectors)

    near, found = within(_FACTOR), within(1.0)
    for part in (_SMALLER * near, near):
        found = part.where(autocorrelation.allows(Gaussian(part))[..., None, None], found)
    return fitted.where(widest.isnan(), found)


def _matrix(values: Tensor, vectors: Tensor) -> Tensor:
    """The symmetric matrix of these eigenvalues and eigenvectors."""
    return (vectors * values[..., None, :]) @ vectors.mT


def together(forms: Sequence[Kernel | Gaussian], shape: Sequence[int]) -> Kernel | Gaussian:
    """The forms of some patterns as one of all: kernels, where some are free already."""
    if any(isinstance(form, Kernel) for form in forms):
        forms = [_free(form, shape) if isinstance(form, Gaussian) else form for form in forms]
    return type(forms[0])(torch.cat([form.values for form in forms]))


def _free(form: Gaussian, shape: Sequence[int]) -> Kernel:
    """The same, free in its shape."""
    return Kernel(_windowed(form.shown(shape))[:, None])


def _fitted(form: Gaussian, magnitude: MagnitudeConstraint, power: Tensor) -> Tensor:
    """One step of Gauss and Newton on the squared misfit of the magnitudes: the next covariance of a Gaussian."""
    shape, real, d = magnitude.shape, magnitude.real, magnitude.ndim
    seen = PointSpread(form).blurred(power, shape, real)
    modulus = seen.clamp(min=torch.finfo(seen.dtype).eps ** 2 * _fft.largest(seen, d)).sqrt()
    measured, weight = magnitude.measured_modulus, magnitude.weight.flatten(-d)
    pairs = [(a, b) for a in range(d) for b in range(a, d)]
    slopes = [_fft.filtered(power, form.slope(a, b, shape, real), shape, real) / (2 * modulus) for a, b in pairs]
    slope = torch.stack([x.flatten(-d) for x in slopes], -2)
    weighted = slope * weight[..., None, :]
    right, left = weighted @ (measured - modulus).flatten(-d)[..., None], weighted @ slope.mT
    ridge = 1e-6 * left.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] + torch.finfo(seen.dtype).tiny
    step, _ = torch.linalg.solve_ex(left + ridge * torch.eye(len(pairs)).to(left), right)
    new = form.values.clone()
    for i, (a, b) in enumerate(pairs):
        new[..., a, b] += step[..., i, 0]
        if a != b:
            new[..., b, a] += step[..., i, 0]
    values, vectors = torch.linalg.eigh(new)
    before = form.values.diagonal(dim1=-2, dim2=-1).amax(-1, keepdim=True)
    values = values.minimum(4 * before).clamp(_SMALLEST, _LARGEST)  # a variance; from a poor estimate not at one bound
    return _matrix(values, vectors)


def _deconvolved(form: Kernel, magnitude: MagnitudeConstraint, power: Tensor) -> Tensor:
    """Iterations of Richardson and Lucy for the point spread that makes the measured intensity of this one."""
    shape, real, d = magnitude.shape, magnitude.real, magnitude.ndim
    measured, used = magnitude.measured_modulus.square(), (magnitude.weight > 0).to(power)
    full = partial(_fft.full_from_half, shape=shape) if real else torch.clone
    spectrum, kernel = _fft.transform(full(power), d).conj(), form.values
    sizes, dims = kernel.shape[-d:], tuple(range(-d, 0))

    def seen_from(x: Tensor) -> Tensor:
        """Its correlation with the intensity, on the window."""
        found = _fft.inverse_sum(_fft.transform(full(x), d) * spectrum, shape, real=True)
        return _fft.crop(found.roll([k // 2 for k in sizes], dims), sizes)

    everything = _fft.divisor(seen_from(used.expand(power.shape)))
    for _ in range(_ITERATIONS):
        ratio = used * measured / _fft.divisor(PointSpread(Kernel(kernel)).blurred(power, shape, real))
        kernel = (kernel * seen_from(ratio) / everything).clamp(min=0)
        kernel = kernel / kernel.sum(dims, keepdim=True)
    return kernel


def _windowed(kernel: Tensor) -> Tensor:
    """The middle of a kernel of odd sizes, with something everywhere; its sum is 1."""
    for axis in range(1, kernel.ndim):
        size = kernel.shape[axis]
        kernel = kernel.narrow(axis, (size - min(size, _WIDTH)) // 2, min(size, _WIDTH))
    kernel = kernel + _EVERYWHERE / kernel[0].numel()
    return kernel / kernel.flatten(1).sum(1).reshape(-1, *[1] * (kernel.ndim - 1))
