"""A part of the object that is known: a reference beside it, or what stays while the rest changes.

What is looked for is the rest. The known part lies in the magnitude constraint, so that to every algorithm its pixels
are pixels where nothing is allowed, and no start is moved, flipped or turned.

Source:
    McNulty et al. (1992), High-resolution imaging by Fourier transform x-ray holography,
    doi:10.1126/science.256.5059.1009; Lo et al. (2018), In situ coherent diffractive imaging,
    doi:10.1038/s41467-018-04259-9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.projections import Constraint

if TYPE_CHECKING:
    from phaseret.solvers._run import Items, Run

# Iterations of error reduction that compare the known part with what the data say, and the share of its error that they
# leave at most without it, beyond what more free pixels explain of noise; errors below the last one are exact.
_TRIED, _BETTER, _EXACT = 50, 0.5, 1e-3
# What an iteration of it needs, in arrays.
_ARRAYS = 7.0


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
    if not bool(unknown.flatten(-ndim).any(-1).all()):
        fix = "NaN stands where the object is unknown"
        _checks.fail("known must leave at least one pixel of the support unknown, got none", fix)
    dtype = intensity.dtype if constraint != "complex" else intensity.dtype.to_complex()
    return unknown, values.to(dtype)


@torch.no_grad()
def check_known(run: Run) -> None:
    """Warn where the data do not agree with the known part: without it they are explained much better.

    Error reduction goes on from the best start of each pattern with the known part and, for comparison, with its
    pixels as free as the others.
    """
    problem = run.problem
    if problem.reference is None:
        return
    rows, best = torch.arange(problem.patterns, device=problem.device), run.error.argmin(1)
    rest = problem.embed(run.estimate[rows, best, None])
    reference = _fft.pad(problem.reference, problem.shape).expand(rest.shape)
    support = problem.support
    if support is None:
        support = torch.ones((1, 1, *problem.box_shape), dtype=torch.bool, device=problem.device)
    rule = problem.constraint(support, whole=True)
    held, free = (torch.empty_like(run.error[:, :1]) for _ in range(2))
    factor = torch.empty_like(rest.flatten(2)[..., 0])

    def compare(items: Items) -> None:
        magnitude, given = problem.magnitude.index((items[0],)), reference[items]
        place = cast(Tensor, rule.support)
        known = rule.within(place if len(place) == 1 else place[items[0]])
        x, whole = rest[items], rest[items] + given
        bare = magnitude.without_reference()
        for _ in range(_TRIED):
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
    worst = int((free / held).argmin())
    wrong = int(((free < _BETTER * noise * held) & (held > _EXACT)).sum())
    if wrong:
        _checks.warn(
            f"the data of {wrong} of {problem.patterns} patterns do not agree with the known part: with its pixels "
            f"free the error falls from {float(held.flatten()[worst]):.2g} to {float(free.flatten()[worst]):.2g}, and "
            f"they come out some {_said(factor.flatten()[worst])} times as given",
            "Look at its place, its units (the intensity is in squared units of the object) and its phase",
            page="limits.rst#what-is-known-of-the-object",
        )


def _said(factor: Tensor) -> str:
    """A factor in words."""
    value = factor.item()
    return f"{value:.2g}" if not isinstance(value, complex) else f"{abs(value):.2g} exp({factor.angle().item():.2g}i)"
