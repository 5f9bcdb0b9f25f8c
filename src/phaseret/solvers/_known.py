"""A part of the object that is known: a reference beside it, or what stays while the rest changes.

What is looked for is the rest. The known part lies in the magnitude constraint, so that to every algorithm its pixels
are pixels where nothing is allowed, and no start is moved, flipped or turned.

Source:
    McNulty et al. (1992), High-resolution imaging by Fourier transform x-ray holography,
    doi:10.1126/science.256.5059.1009; Lo et al. (2018), In situ coherent diffractive imaging,
    doi:10.1038/s41467-018-04259-9.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.projections import Constraint
from phaseret.solvers._extent import within

if TYPE_CHECKING:
    from phaseret.solvers._problem import Problem
    from phaseret.solvers._result import Reconstruction
    from phaseret.solvers._run import Items, Run

# Iterations of error reduction that compare the known part with what the data say, and the share of its error that they
# leave at most without it, beyond what more free pixels explain of noise; errors below the next one are exact. A run
# that is not at its end tells nothing: with the known part the second half of them leaves more than the last share.
_TRIED, _BETTER, _EXACT, _RESTS = 50, 0.5, 1e-3, 0.97
# What an iteration of it needs, in arrays.
_ARRAYS = 7.0
# A known part has at most so many times the energy of its pattern. Starts that agree on one object above this
# correlation, with an error of so many times what noise leaves and more than the last share, do not fit beside it.
_ENERGY, _AGREE, _EXPLAINED, _ERROR = 2.0, 0.7, 1.5, 0.02
# Noise is learned from lags that no object reaches, if there are so many.
_LAGS = 32


def split(
    known: Tensor, support: Tensor | None, intensity: Tensor, constraint: Constraint, ndim: int
) -> tuple[Tensor, Tensor]:
    """Where the object is unknown, and the known part with 0 there."""
    _checks.floating(known=known)
    _checks.rank(ndim, known=known)
    _checks.same_device(intensity=intensity, known=known)
    if known.is_complex() and constraint != "complex":
        rule = f"known must be real for constraint={constraint!r}"
        _checks.fail(f"{rule}, got {known.dtype}", "Pass known.real", TypeError)
    unknown = known.isnan()
    values = torch.where(unknown, 0.0, known)
    _checks.finite(known=values)
    if constraint == "nonnegative" and bool((values < 0).any()):
        fix = "Use constraint='real', or known.clamp(min=0)"
        _checks.fail("known must not be negative for constraint='nonnegative', got negative numbers", fix)
    if support is not None:
        _checks.boolean(support=support)
        _checks.same_device(intensity=intensity, support=support)
        sizes = tuple(known.shape[-ndim:]), tuple(support.shape[-ndim:])
        if sizes[0] != sizes[1]:
            fix = "Give both for the same pixels: NaN where the object is unknown"
            _checks.fail(f"known must have the support's sizes {sizes[1]}, got {sizes[0]}", fix)
        unknown = unknown & support
    if bool(known.isnan().flatten(-ndim).all(-1).any()):
        fix = "Leave it out, or give the values where they are known"
        _checks.fail("known must hold at least one known pixel of each pattern, got NaN everywhere", fix)
    if not bool(unknown.flatten(-ndim).any(-1).all()):
        fix = "NaN stands where the object is unknown"
        _checks.fail("known must leave at least one pixel of the support unknown, got none", fix)
    dtype = intensity.dtype if constraint != "complex" else intensity.dtype.to_complex()
    return unknown, values.to(dtype)


@torch.no_grad()
def check_energy(problem: Problem) -> None:
    """The known part alone explains no more than the pattern, as Parseval has it."""
    magnitude, reference = problem.magnitude, problem.reference
    if reference is None or magnitude.planes()[1] is not None:
        return
    share = _fft.power(reference).flatten(1).sum(1) * magnitude.per_energy / magnitude.total[:, 0]
    most = float(share.max())
    if most > _ENERGY:
        rule = "known must hold no more energy than the pattern"
        fix = "Look at its units, the intensity is in squared units of the object, and at norm"
        _checks.fail(f"{rule}, got {most:.3g} times as much", fix)


@torch.no_grad()
def check_explained(problem: Problem, result: Reconstruction, told: Tensor | None) -> None:
    """Warn where starts agree on an object beside the known part, but noise does not explain the error.

    Of the patterns (patterns) that are `told` of nothing more is said.
    """
    if problem.reference is None:
        return
    begun = result.errors.isfinite()
    alike = ((result.agreement >= _AGREE) | ~begun).all(-1) & (begun.sum(-1) > 1)
    error, expected = result.error.flatten(), result.expected.flatten()
    expected = torch.where(expected > 0, expected, _left_by_noise(problem))
    wrong = alike.flatten() & (error > _EXPLAINED * expected) & (error > _ERROR)
    wrong = wrong if told is None else wrong & ~told
    count, worst = int(wrong.sum()), int(torch.where(wrong, error, 0.0).argmax())
    if count:
        _checks.warn(
            f"the data of {count} of {problem.patterns} patterns are not explained beside the known part: all starts "
            f"find much the same object with an error of {float(error[worst]):.2g}, where noise leaves some "
            f"{float(expected[worst]):.2g}",
            "Look at the place and the direction of the known part, and for a blur, a background or a wrong centre",
            page="limits.rst#what-is-known-of-the-object",
        )


def _left_by_noise(problem: Problem) -> Tensor:
    """The error (patterns) that noise leaves, which is seen at lags of no object; infinite where there are too few."""
    intensity, mask = problem.magnitude.planes()
    d, shape = problem.ndim, problem.shape
    inside = within([n - 1 for n in _sizes(problem)], shape, intensity)
    if mask is not None or int((~inside).sum()) < _LAGS:
        return torch.full((problem.patterns,), math.inf, dtype=problem.dtype, device=problem.device)
    correlation = _fft.full_plane(intensity[:, 0], shape)
    deviation = _fft.power(correlation)[:, ~inside].mean(1).sqrt().reshape(-1, *[1] * d)
    data = intensity[:, 0]
    lost = deviation.square() / (4 * data.maximum(deviation / 2).clamp(min=torch.finfo(data.dtype).tiny))
    share = lost.flatten(1).sum(1) / data.flatten(1).sum(1)
    return (share + problem.magnitude.unequal[:, 0]).sqrt()


def _sizes(problem: Problem) -> tuple[int, ...]:
    """Those of the box of all that the object may be, with its known part."""
    place = problem.embed(problem.everywhere, problem.object_shape)
    if problem.reference is not None:
        place = place | (problem.reference != 0)
    return tuple(line.stop - line.start for line in _fft.bounding_box(place.flatten(0, 1).any(0)))


@torch.no_grad()
def check_known(run: Run) -> Tensor | None:
    """Warn where the data do not agree with the known part: without it they are explained much better; says where.

    Error reduction goes on from the best start of each pattern with the known part and, for comparison, with its
    pixels as free as the others.
    """
    problem = run.problem
    if problem.reference is None:
        return None
    rows, best = torch.arange(problem.patterns, device=problem.device), run.error.argmin(1)
    rest = problem.embed(run.estimate[rows, best, None])
    reference = _fft.pad(problem.reference, problem.shape).expand(rest.shape)
    support = problem.everywhere if problem.support is None else problem.support
    rule = problem.constraint(support, whole=True)
    before, held, free = (torch.empty_like(run.error[:, :1]) for _ in range(3))
    factor = torch.empty_like(rest.flatten(2)[..., 0])

    def compare(items: Items) -> None:
        magnitude, given = problem.magnitude.index((items[0],)), reference[items]
        place = cast(Tensor, rule.support)
        known = rule.within(place if len(place) == 1 else place[items[0]])
        x, whole = rest[items], rest[items] + given
        bare = magnitude.without_reference()
        for k in range(_TRIED):
            if 2 * k == _TRIED:
                before[items] = magnitude.residual(x)
            x = known.project(magnitude.project_fast(x))
            p = bare.project_fast(whole)
            whole = torch.where(given != 0, p, known.project(p.clone()))
        held[items], free[items] = magnitude.residual(x), bare.residual(whole)
        inner = (given.conj() * whole).flatten(2).sum(-1)
        factor[items] = inner / _fft.power(given).flatten(2).sum(-1)

    run.in_pieces(compare, run.pieces(_ARRAYS, rest))
    # Noise is explained by free numbers: what is left of it goes with the data that are not used up.
    data = problem.magnitude.measured  # those of a real object count twice, as its pixels do here
    unknown, more = (2 * x.flatten(2).sum(-1) for x in (support, reference != 0))
    noise = ((data - unknown - more).clamp(min=1) / (data - unknown).clamp(min=1)).clamp(max=1).sqrt()
    wrong = (free < _BETTER * noise * held) & (held > _EXACT) & (held > _RESTS * before)
    worst = int(torch.where(wrong, free / held, math.inf).argmin())
    if bool(wrong.any()):
        _checks.warn(
            f"the data of {int(wrong.sum())} of {problem.patterns} patterns do not agree with the known part: with its "
            f"pixels free the error falls from {float(held.flatten()[worst]):.2g} to "
            f"{float(free.flatten()[worst]):.2g}, and they come out some {_said(factor.flatten()[worst])} times as "
            "given",
            "Look at its place, its units (the intensity is in squared units of the object) and its phase",
            page="limits.rst#what-is-known-of-the-object",
        )
    return wrong[:, 0]


def _said(factor: Tensor) -> str:
    """A factor in words."""
    value = factor.item()
    return f"{value:.2g}" if not isinstance(value, complex) else f"{abs(value):.2g} exp({factor.angle().item():.2g}i)"
