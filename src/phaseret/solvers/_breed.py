"""Guided starts: a step that mixes all starts with the best of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.solvers._loop import Step
from phaseret.solvers._run import Items, Run
from phaseret.solvers._support import shrinkwrap_support
from phaseret.symmetry import align

Best = Literal["error", "sharpness", "area", "phase"]
Rule = Literal[
    "sqrt", "max", "mean", "harmonic", "sqrt_pa", "max_pa", "mean_pa", "b_pa", "twice_pa", "sqrt_fourier", "switch"
]
# What mixing a start with the best one needs, in arrays.
_ARRAYS = 20.0


def _modulus(x: Tensor) -> Tensor:
    return _fft.power(x).sqrt()


def _phase(x: Tensor) -> Tensor:
    """x / |x|, or the sign of a real one; 1 where x is 0."""
    length = _modulus(x)
    return torch.where(length > 0, x / _fft.divisor(length), 1.0)


def _sqrt(a: Tensor, b: Tensor) -> Tensor:
    product = _fft.power(a) * _fft.power(b)
    return torch.where(product > 0, _fft.divisor(product).pow(0.25), 0.0)


def _harmonic(a: Tensor, b: Tensor) -> Tensor:
    total = a + b
    return torch.where(total != 0, 2 * a * b / torch.where(total != 0, total, 1.0), 0.0)


# The child of the best start a and another one, b, that is aligned with it.
_CHILDREN: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sqrt": lambda a, b: _sqrt(a, b) * _phase(a + b),
    "max": lambda a, b: torch.maximum(_modulus(a), _modulus(b)) * _phase(a + b),
    "mean": lambda a, b: (a + b) / 2,
    "harmonic": _harmonic,
    "sqrt_pa": lambda a, b: _sqrt(a, b) * _phase(a),
    "max_pa": lambda a, b: torch.maximum(_modulus(a), _modulus(b)) * _phase(a),
    "mean_pa": lambda a, b: (_modulus(a) + _modulus(b)) / 2 * _phase(a),
    "b_pa": lambda a, b: _modulus(b) * _phase(a),
    "twice_pa": lambda a, b: (2 * _modulus(a) - _modulus(b)) * _phase(a),
}


class Breed(Step):
    r"""A step of a recipe that mixes all starts with the best one: guided multi-start.

    Every other start b is aligned with the best one a (shift, flip, and the phase, or the sign of a real object that
    may be negative) and replaced by a child of both; the best goes on as it is. With `keep` only so many of the best go
    on: the others are culled, and cost nothing more. A culled start has an infinite error and no estimate; its
    iterations stand in `n_iters`, and its errors until then in the `history`.

    ================  ==================================================================  ===============
    rule              child                                                               cohere's name
    ================  ==================================================================  ===============
    "sqrt"            :math:`\sqrt{|a| |b|}`, phase of a + b                              sqrt_ab
    "max"             :math:`\max(|a|, |b|)`, phase of a + b                              max_ab
    "mean"            :math:`(a + b) / 2`                                                 avg_ab
    "harmonic"        :math:`2 a b / (a + b)`                                             2ab_a_b
    "sqrt_pa"         :math:`\sqrt{|a| |b|}`, phase of a                                  sqrt_ab_pa
    "max_pa"          :math:`\max(|a|, |b|)`, phase of a                                  max_ab_pa
    "mean_pa"         :math:`(|a| + |b|) / 2`, phase of a                                 avg_ab_pa
    "b_pa"            :math:`|b|`, phase of a                                             b_pa
    "twice_pa"        :math:`2 |a| - |b|`, phase of a                                     2a_b_pa
    "sqrt_fourier"    "sqrt" of the spectra                                               sqrt_ab_recip
    "switch"          each pixel from a or b by chance, the same for all patterns         pixel_switch
    ================  ==================================================================  ===============

    Args:
        best: Which start is the best: the one with the least "error"; the least "sharpness" :math:`\sum |x|^4`, for
            crystals, whose density is even; the largest "area", pixels above a fifth of the largest modulus after a
            blur of half a pixel; or the largest "phase", the sum of the absolute phases there, from their mean (of
            complex objects).
        rule: How a child is made.
        keep: Share of the starts of each pattern, in (0, 1], that go on; its number is rounded up. Of starts that are
            left at this point: ``4*(hio:50,breed(keep=0.5))`` halves them four times. Starts that are solved stay.

    Example:
        >>> recipe = pr.solvers.Recipe("3*(hio:50,er:20,breed(best=sharpness,rule=sqrt_pa)),er:50")
        >>> intensity = pr.operators.fourier_intensity(torch.rand(8, 8), (16, 16))
        >>> recipe(intensity, support=torch.ones(8, 8) > 0, constraint="nonnegative", starts=4).objs.shape
        torch.Size([4, 8, 8])

    Source:
        Chen, Miao, Wang, Lee (2007), Application of optimization technique to noncrystalline x-ray diffraction
        microscopy: Guided hybrid input-output method, doi:10.1103/PhysRevB.76.064113, for the geometric mean of real
        objects; Clark et al. (2015), Three-dimensional imaging of dislocation propagation during crystal growth and
        dissolution, doi:10.1038/nmat4320, for sharpness. The rules are those that cohere offers; where it takes half
        the sum of two phases, which jumps where they differ by more than a half turn, here it is the phase of the sum.
    """

    best: Best
    rule: Rule
    keep: float
    together = True

    def __init__(self, *, best: Best = "error", rule: Rule = "sqrt", keep: float = 1.0) -> None:
        _checks.choice("best", best, get_args(Best))
        _checks.choice("rule", rule, get_args(Rule))
        super().__init__(best=best, rule=rule, keep=_checks.number("keep", keep, above=0, at_most=1))

    def check(self, run: Run) -> None:
        if self.best == "phase" and run.problem.real:
            fix = "Use best='error': a real object has no phase"
            _checks.fail("best of Breed must not be 'phase' for a real object, got 'phase'", fix)

    def advance(self, run: Run) -> None:
        problem, estimate = run.problem, run.estimate
        rows = torch.arange(problem.patterns, device=problem.device)
        score = self._score(run)
        self._cull(run, score)
        best = score.argmin(-1)
        leaders, child = estimate[rows, best], torch.empty_like(estimate)
        options: dict[str, Any] = {
            "ndim": problem.ndim,
            "fourier_shape": problem.shape,
            **problem.symmetries,
        }

        def mix(items: Items) -> None:
            reference = leaders[items[0], None].expand_as(estimate[items])
            aligned = align(estimate[items], reference, **options).aligned
            child[items] = self._child(run, reference, aligned, items)

        run.in_pieces(mix, run.pieces(_ARRAYS))
        iterate = problem.embed(child)
        iterate[rows, best] = run.iterate[rows, best]
        run.iterate, run.bred = iterate, True
        # the children lie where the best start does, and as high
        if run.support is not None and run.support.shape[1] > 1:
            run.support = run.support.expand(problem.patterns, *run.support.shape[1:])
            run.support = run.support[rows, best, None].expand_as(run.support).clone()
        if run.level is not None:
            run.level = run.level[rows, best, None].expand_as(run.level).clone()
        if run.collapsed is not None:
            run.collapsed = run.collapsed[rows, best, None].expand_as(run.collapsed).clone()

    def _child(self, run: Run, a: Tensor, b: Tensor, items: Items) -> Tensor:
        problem = run.problem
        if self.rule == "sqrt_fourier":
            first, second = (_fft.transform(problem.embed(x), problem.ndim) for x in (a, b))
            child = _fft.inverse_sum(_CHILDREN["sqrt"](first, second), problem.shape, problem.real)
            return problem.crop(child) / math.prod(problem.shape)
        if self.rule == "switch":
            generator = torch.Generator().manual_seed(run.iteration)
            coins = (
                torch.rand(
                    run.error.shape[1], *problem.box_shape, generator=generator, device="cpu", dtype=torch.float32
                )
                < 0.5
            )
            return torch.where(coins[items[1]].to(a.device), a, b)
        return _CHILDREN[self.rule](a, b)

    def _cull(self, run: Run, score: Tensor) -> None:
        """End the starts that are not among the best of those that are neither culled yet nor solved."""
        if self.keep == 1:
            return
        running = run.solved < 0
        order = score.where(running, -math.inf).argsort(dim=-1, stable=True).argsort(-1)  # the others first
        # in Python's numbers: rounding would keep one more
        kept = torch.tensor([math.ceil(round(self.keep * n, 9)) for n in range(running.shape[-1] + 1)])
        kept = kept.to(running.device)[running.sum(-1, keepdim=True)]
        run.cull(order >= kept + (~running).sum(-1, keepdim=True))

    def _score(self, run: Run) -> Tensor:
        """What the best start has least of (patterns, starts); infinite of those that are culled."""
        if self.best == "error":
            return run.error.nan_to_num(math.inf, math.inf)
        score = torch.empty_like(run.error)

        def measure(items: Items) -> None:
            score[items] = _SCORES[self.best](run.estimate[items], run.problem.ndim)

        run.in_pieces(measure, run.pieces(_ARRAYS))
        return score.where(run.error.isfinite(), math.inf)


def _sharpness(x: Tensor, ndim: int) -> Tensor:
    return _fft.power(x).square().sum(tuple(range(-ndim, 0)))


def _inside(x: Tensor, ndim: int) -> Tensor:
    return shrinkwrap_support(x, threshold=0.2, sigma=0.5, least=0, most=1, ndim=ndim).to(x.real.dtype)


def _area(x: Tensor, ndim: int) -> Tensor:
    return -_inside(x, ndim).sum(tuple(range(-ndim, 0)))


def _summed_phase(x: Tensor, ndim: int) -> Tensor:
    axes, inside = tuple(range(-ndim, 0)), _inside(x, ndim)
    mean = (_phase(x) * inside).sum(axes, keepdim=True)
    return -((x * mean.conj()).angle().abs() * inside).sum(axes)


_SCORES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "sharpness": _sharpness,
    "area": _area,
    "phase": _summed_phase,
}
