"""Maximum likelihood as a step: the last one for counts, where noise is strong."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators import FourierIntensity
from phaseret.solvers._gradient import maximum_likelihood
from phaseret.solvers._loop import AtOnce
from phaseret.solvers._run import ARRAYS_OF_A_START, Items, Run

# What the likelihood takes for the background, in counts.
_BACKGROUND = 0.1


class _Transform(FourierIntensity):
    """The measurement of a run, which was looked at when the run began: of objects on any box."""

    def linear(self, obj: Tensor) -> Tensor:
        return self._field(obj)

    def adjoint(self, field: Tensor, object_shape: Sequence[int] | None = None) -> Tensor:
        return _fft.adjoint(field, self.fourier_shape, object_shape or self.fourier_shape, self.norm)


class PoissonRefinement(AtOnce):
    """A step of a recipe that refines the estimates of counts by :func:`maximum_likelihood`, inside their supports.

    Projections bring the magnitudes near to the roots of the counts, whose mean lies below the root of the mean: where
    most pixels counted nothing, the object they end with is too weak there. The likelihood of the counts has no such
    bias, and the error of a right object comes down to what counting noise leaves. It knows of no bounds, phases or
    :class:`Level`: the result is projected on what is known at the end; with `support_size` the pixels that are 0 stay
    so. It does nothing to intensities that are no counts, from which a `background` was subtracted, or which a
    `point_spread` or a `coherence` blurs.

    Args:
        n_iter: Iterations.

    Example:
        >>> obj = 10 * torch.rand(8, 8)
        >>> counts = pr.noise.poisson_noise(pr.operators.fourier_intensity(obj, (24, 24)))
        >>> recipe = pr.solvers.Recipe("rrr:200,er:50", PoissonRefinement(20))  # or "rrr:200,er:50,ml:20"
        >>> r = recipe(counts, support=torch.ones(8, 8) > 0, constraint="nonnegative")
        >>> r.misfit < 1.2
        tensor(True)

    Source:
        Thibault, Guizar-Sicairos (2012), Maximum-likelihood refinement for coherent diffractive imaging,
        doi:10.1088/1367-2630/14/6/063004.
    """

    def __init__(self, n_iter: int = 20) -> None:
        super().__init__(n_iter=_checks.integer("n_iter", n_iter))

    def check(self, run: Run) -> None:
        run.refuse_gradient()
        if run.problem.reference is not None:
            rule = "known must be left out for PoissonRefinement, got a part that is known"
            _checks.fail(rule, "Use error reduction, 'er:100', at the end instead")

    def work(self, run: Run) -> None:
        problem = run.problem
        run.estimate = run.to_refine()
        if problem.magnitude.spread is None:
            some = problem.counts[:, None] & (run.solved < 0) & run.estimate.flatten(2).isfinite().all(-1)
            pieces = run.items(some, run.at_a_time(4 * ARRAYS_OF_A_START))
            run.in_pieces(lambda items: _refine(run, items, self.n_iter), pieces)


def _refine(run: Run, items: Items, n_iter: int) -> None:
    """Estimates of some items (k, 1) whose data are counts, and their iterates, refined in units of counts."""
    problem, mask, known = run.problem, run.problem.mask, run.known(items, whole=False)
    rows = items[0], 0
    unit = problem.magnitude.per_energy**0.5
    before = run.estimate[items] * unit
    support = before != 0 if known.support_size is not None else None
    if support is None and known.support is not None:
        support = known.support.bool()
    found = maximum_likelihood(
        before,
        problem.intensity[rows],
        _Transform(problem.shape, undersampled=True),
        n_iter=n_iter,
        background=_BACKGROUND,
        mask=None if mask is None else mask[rows if len(mask) > 1 else (0, 0)],
        support=support,
        constraint=known.constraint,
        check_every=n_iter,
    ).obj
    refined = known.project(found / unit)
    run.estimate[items], run.iterate[items] = refined, problem.embed(refined)
