"""Steps for crystals, whose modulus is nearly flat: a support from the data, the level, enough starts."""

from __future__ import annotations

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators._data import without_background
from phaseret.solvers._counts import EXPLAINED
from phaseret.solvers._extent import hull
from phaseret.solvers._gaps import filled_in_hull
from phaseret.solvers._loop import Step
from phaseret.solvers._options import Options
from phaseret.solvers._problem import Problem
from phaseret.solvers._run import Run
from phaseret.solvers._support import autocorrelation_support

# The schedule "bragg": strained crystals from one Bragg peak. Noise leaves no fixed point to RRR and RAAR: with larger
# steps than these the support loses what it had where most pixels counted nothing.
_ROUND = "raar(beta=0.7):15,er:5"
_NARROW = ",".join(
    f"{times}*({_ROUND},level,shrinkwrap(method=level,sigma=1.2,decay=0.92,least_sigma=0.5,threshold={threshold}))"
    for times, threshold in ((4, 0.25), (4, 0.35), (4, 0.45))
)
_FLAT = f"8*(level(flat=true),{_ROUND},shrinkwrap(method=level,sigma=0.5,least_sigma=0.5,threshold=0.3))"
# One by one, missing pixels come back and superfluous ones go: P_M x shows a quarter or more of what is missing.
_SETTLE = ",".join(
    f"5*(er:8,shrinkwrap(method=level,sigma=0,least_sigma=0,threshold={threshold}))" for threshold in (0.2, 0.35)
)
_FOUND = "hull(width=0.6,room=1.1),level(ratio=2.8),rrr(beta=0.4):800"
BRAGG = f"{_FOUND},{_NARROW},{_FLAT},level(bound=none),er:10,{_SETTLE},er:10,ml:20,enough"


class Hull(Step):
    """A step of a recipe that gives a run without a support one: the convex hull of the autocorrelation, made smaller.

    It is :func:`autocorrelation_support` with ``form="hull"``, laid out on the whole grid. A support that is given to
    the run is left as it is. A `point_spread` of the run is allowed for; a `coherence` that is yet to be found makes
    the hull smaller, and asks for a larger width.

    Args:
        width: Width relative to that of the autocorrelation, in (0, 1]. Default: 0.66, the largest that the schedule
            "bragg" comes to, which begins with 0.6 and has room for 1.1 times as much.
        room: How many times as wide :class:`Shrinkwrap` may let the support become again.

    Example:
        >>> intensity = pr.operators.fourier_intensity(torch.ones(8, 8) + 0j, (24, 24))
        >>> r = pr.solvers.Recipe(Hull(width=0.7), "rrr:20")(intensity, constraint="complex")
        >>> r.support.shape
        torch.Size([24, 24])
    """

    width: float
    room: float
    finds_support = True

    def __init__(self, *, width: float = 0.66, room: float = 1.0) -> None:
        super().__init__(
            width=_checks.number("width", width, above=0, at_most=1), room=_checks.number("room", room, at_least=1)
        )

    def support_of(self, intensity: Tensor, asked: Options) -> Tensor | None:
        if asked["background"] is not None:
            intensity = without_background(intensity, asked["background"])
        return autocorrelation_support(
            intensity,
            form="hull",
            width=self._widest,
            mask=asked["mask"],
            point_spread=asked["point_spread"],
            centered=asked["centered"],
            ndim=asked["ndim"],
        )

    def advance(self, run: Run) -> None:
        problem, widest = run.problem, run.problem.support
        if self.width < self._widest and not run.support_given and widest is not None:
            narrow = hull(problem.embed(widest), problem.ndim, self.width / self._widest, rim=0.5)
            run.support = problem.crop(narrow & problem.embed(widest))

    @property
    def _widest(self) -> float:
        return min(1.0, self.room * self.width)


class Level(Step):
    r"""A step of a recipe that finds the level of the object's modulus, and from then on keeps the modulus to it.

    A crystal seen at one of its Bragg peaks has nearly the same modulus everywhere, whatever its strain. With a `ratio`
    the level follows from the data alone, by Parseval: :math:`\sqrt{P \, r / k}` with the power P of the object, and
    k / r pixels, where the support holds k. Without one it is the median modulus of P_M x inside the support, of the
    pixels above half of the level so far (at first of the root mean square). All algorithms keep to it but
    :class:`SparseRRR`, which is refused behind it, and until their end :class:`LevenbergMarquardt` and
    :class:`PoissonRefinement`.

    Args:
        ratio: How many times more pixels the support has than the object. Default: the level is the median.
        bound: The modulus is at most so many levels; None for no bound.
        flat: A modulus above half of the level is set to it.

    Example:
        >>> recipe = pr.solvers.Recipe("level(ratio=1),rrr:50,level(bound=none),er:20")
        >>> intensity = pr.operators.fourier_intensity(torch.ones(8, 8) + 0j, (16, 16))
        >>> recipe(intensity, support=torch.ones(8, 8) > 0, constraint="complex").obj.shape
        torch.Size([8, 8])
    """

    ratio: float | None
    bound: float | None
    flat: bool

    def __init__(self, *, ratio: float | None = None, bound: float | None = 1.1, flat: bool = False) -> None:
        _checks.flag(flat=flat)
        super().__init__(
            ratio=None if ratio is None else _checks.number("ratio", ratio, above=0),
            bound=None if bound is None else _checks.number("bound", bound, at_least=1),
            flat=flat,
        )

    def check(self, run: Run) -> None:
        if run.problem.known.bounds is not None:
            fix = "Leave them out: the step bounds the modulus"
            _checks.fail("bounds must not be given to a schedule with level, got some", fix)
        if run.problem.reference is not None:
            rule = "known must be left out of a schedule with level, whose object has one modulus, got one"
            _checks.fail(rule, "Take level and hull off the schedule")

    @torch.no_grad()
    def advance(self, run: Run) -> None:
        problem, shape = run.problem, run.error.shape
        inside = problem.everywhere if run.support is None else run.support
        pixels = inside.flatten(2).sum(-1).to(problem.dtype)
        if self.ratio is not None:
            level = (_power(problem)[:, None] * self.ratio / pixels).sqrt().expand(shape).clone()
        else:
            modulus = _fft.power(problem.crop(run.measured())).sqrt().flatten(2)
            inside = inside.flatten(2).expand(modulus.shape)
            if run.level is None:
                run.level = ((modulus.square() * inside).sum(-1) / pixels).sqrt()
            core = modulus.where(inside & (modulus > run.level[..., None] / 2), torch.nan)
            found = core.nanmedian(-1).values
            level = found.where(found.isfinite(), run.level)
        run.level, run.bound, run.flat = level, self.bound, self.flat


def _power(problem: Problem) -> Tensor:
    """The sum of squares (patterns) of each object; of unmeasured pixels as much as its autocorrelation asks for."""
    intensity, mask = problem.magnitude.planes()
    if mask is not None:
        intensity = filled_in_hull(intensity, mask.expand(intensity.shape), problem.ndim)
    return intensity.flatten(1).sum(-1) * intensity.shape[-problem.ndim :].numel()


# Where the error e that noise leaves is large, a wrong part of the object adds little to it: the largest that noise
# explains is sqrt((_STRICT e)^2 + _WRONG^2).
_STRICT, _WRONG = 1.025, 0.02


class Enough(Step):
    """A step of a recipe that ends the search: the starts run one after the other, until one is good enough.

    A start is good enough if it fits the pattern as closely as counting noise lets it: if its error is at most `misfit`
    times the error that such noise alone leaves (:class:`Reconstruction`). Then no other start is begun: the errors of
    those left are infinite. The result is the best start alone, no mean. Intensities that are no counts have no such
    error, and all starts run, unless a `tolerance` is given: a start that it finds solved is good enough, too. Steps of
    all starts (:class:`Breed`, :class:`Algebraic`), `checkpoint` and `resume` do not go with it, but where there is one
    start.

    Args:
        misfit: Largest error relative to the error e that counting noise leaves. Default: 1.3, and where noise is
            strong less: no error above sqrt((1.025 e)^2 + 0.02^2), since a wrong part of the object adds little to it.

    Example:
        >>> obj = 10 * torch.rand(8, 8)
        >>> counts = pr.noise.poisson_noise(pr.operators.fourier_intensity(obj, (24, 24)))
        >>> recipe = pr.solvers.Recipe("rrr:200,er:50,enough(misfit=1.5)")
        >>> r = recipe(counts, support=torch.ones(8, 8) > 0, constraint="nonnegative", starts=8)
        >>> r.errors.isfinite().sum() < 8, r.misfit < 1.5
        (tensor(True), tensor(True))
    """

    misfit: float | None
    starts = 4

    def __init__(self, *, misfit: float | None = None) -> None:
        super().__init__(misfit=None if misfit is None else _checks.number("misfit", misfit, above=0))

    def explained(self, error: Tensor, expected: Tensor) -> Tensor:
        """Which errors counting noise explains.

        Args:
            error: Relative magnitude errors.
            expected: Those that counting noise alone leaves, as :class:`Reconstruction` has them; 0 explains nothing.

        Shape:
            - error, expected, output: (*)

        Returns:
            Boolean tensor.

        Raises:
            TypeError: if error or expected is no tensor.

        Example:
            >>> Enough().explained(torch.tensor([0.012, 0.22]), torch.tensor([0.01, 0.2]))
            tensor([ True, False])
        """
        _checks.tensor(error=error, expected=expected)
        if self.misfit is not None:
            most = self.misfit * expected
        else:
            most = torch.minimum(EXPLAINED * expected, ((_STRICT * expected).square() + _WRONG**2).sqrt())
        return (expected > 0) & (error <= most)

    def advance(self, run: Run) -> None:
        """The starts end here."""
