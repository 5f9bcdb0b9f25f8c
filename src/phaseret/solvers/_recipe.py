"""Recipes: algorithms one after the other, as objects and as text; and the one function for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from phaseret import _checks
from phaseret.solvers import _text
from phaseret.solvers._loop import Step, solve
from phaseret.solvers._options import Options, spelled

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from phaseret.solvers._result import Reconstruction


class Recipe(Step):
    """Steps one after the other, `times` times over: a solver made of solvers.

    Args:
        *steps: Algorithms and other steps (:class:`Shrinkwrap`, :class:`Detwin`, :class:`Breed`, other recipes), or
            texts such as ``"6*(hio:50,er:20)"``.
        times: How often the whole is repeated.

    Text: steps are separated by commas, and the first runs first. ``hio:50`` is an algorithm with its iterations (er,
    hio, raar, dm, rrr, chio, asr, hpr, oss, sf, cf, admm, sparse), ``shrinkwrap`` and ``breed`` are steps,
    ``detwin:20`` is 20 iterations of HIO with half of the support, and ``3*(...)`` or ``3*hio:50`` repeats. Options
    stand in brackets behind the word: ``hio(beta=0.8):50``, ``raar(beta=(0.75,0.95)):200``,
    ``shrinkwrap(sigma=2,method=rms)``.

    Example:
        >>> Recipe("2*(hio:50,er:20),er:100").n_iter
        240
        >>> steps = pr.solvers.RAAR(50, beta=0.85), pr.solvers.Shrinkwrap(sigma=2.0)
        >>> Recipe(Recipe(*steps, times=4), "er:50").text
        '4*(raar(beta=0.85):50,shrinkwrap(sigma=2.0)),er:50'
    """

    def __init__(self, *steps: Step | str, times: int = 1) -> None:
        super().__init__()
        self.times = _checks.integer("times", times)
        if not steps:
            _checks.fail("steps must hold at least one step, got none", "Use an algorithm such as HIO(50), or 'hio:50'")
        for step in steps:
            if not isinstance(step, Step | str):
                fix = 'Use an algorithm such as HIO(50), or "hio:50"'
                _checks.fail(f"steps must be steps or texts, got {type(step).__name__}", fix, TypeError)
        self.steps = nn.ModuleList(part for step in steps for part in _parts(step))
        self.n_iter = self.times * sum(step.n_iter for step in self._once())

    def _once(self) -> list[Step]:
        return cast("list[Step]", list(self.steps))

    def leaves(self) -> Iterator[Step]:
        """The steps it stands for, in order."""
        for _ in range(self.times):
            for step in self._once():
                yield from step.leaves()

    @property
    def text(self) -> str:
        """The recipe as text, which ``Recipe(text)`` reads back; an error where text cannot say a step."""
        return ",".join(_written(self))

    def __repr__(self) -> str:
        times = f", times={self.times}" if self.times > 1 else ""
        return f"Recipe({', '.join(map(repr, self.steps))}{times})"


def _parts(step: Step | str) -> list[Step]:
    """The steps that a text stands for, or the step itself."""
    return _made(_text.Parser(step).schedule()) if isinstance(step, str) else [step]


def _made(parts: list[_text.Part]) -> list[Step]:
    """Repeats become recipes."""
    return [part if isinstance(part, Step) else Recipe(*_made(part[1]), times=part[0]) for part in parts]


def _written(step: Step) -> list[str]:
    """The texts of a step, to be joined by commas."""
    if not isinstance(step, Recipe):
        return [_text.word_of(step)]
    texts = [text for part in step._once() for text in _written(part)]
    return texts if step.times == 1 else [f"{step.times}*({','.join(texts)})"]


@spelled
def reconstruct(intensity: Tensor, *, schedule: str | Step | None = None, **options: Unpack[Options]) -> Reconstruction:
    r"""Reconstruct objects from their Fourier intensities.

    Every pattern is solved from several random starts; the estimate that explains the data best is the result, and
    :class:`Reconstruction` says whether the starts agree. The estimate is P_S P_M of the last iterate, and its error is

    .. math:: \sqrt{\textstyle\sum (|F X| - \sqrt Y)^2 / \sum Y}

    over the measured pixels. It warns when starts that fit the data equally well show different objects.

    Args:
        intensity: Measured intensity, squared object units.
        schedule: What to run, as text or as a :class:`Recipe` or algorithm. Default: "sparse:1400,er:30", which finds
            objects in a loose support, or in none (:class:`SparseRRR`); but "raar:400,er:100" with a `support_size`,
            and where a gradient is asked for. The words are those of :class:`Recipe`.
        support: True where the object may be non-zero. Object-shaped (then in the corner of the grid, and the result
            has its shape) or data-shaped; one for all patterns or one each: the axes before these broadcast to the
            batch. May be left out with `support_size` or for a non-negative object.
        support_size: Number of non-zero pixels, their place unknown: the largest are kept.
        mask: True where measured; it broadcasts to the intensity. Unmeasured pixels are free: their intensity may hold
            anything.
        constraint: "complex", "real" or "nonnegative".
        bounds: (low, high) of the values inside the support; of the modulus for a complex object.
        phase_range: (low, high) of the phase of a complex object in radians, at most pi apart.
        ndim: Number of axes of one pattern (1, 2 or 3); the axes before them are a batch.
        norm: Normalisation of the transform: "ortho", "backward" or "forward".
        centered: Whether the zero frequency lies in the middle of the intensity (and mask).
        starts: Number of starts of each pattern. Default: 12 with the default schedule, and 1 with an algorithm or a
            schedule that is named, here as in ``HIO(50)(...)`` and ``Recipe(...)(...)``.
        init: Object-shaped or data-shaped start, for example a network's output: it replaces the first start. With an
            axis of starts before the object's axes it replaces all of them.
        seed: Start s is drawn from seed + s, whatever the batch, the chunks and the device.
        generator: Draws the seeds of the starts instead.
        check_every: Iterations from one residual to the next.
        chunk: Patterns times starts worked on at a time. Default: what fits a CPU's cache, or a GPU's free memory.
            Results do not depend on it.
        progress: Show a bar (needs tqdm).
        callback: Called with the :class:`Run` at each check; a true value ends the run.
        checkpoint: Called with a dict of tensors and numbers, which `torch.save` can keep, every `checkpoint_every`
            iterations.
        checkpoint_every: Iterations from one checkpoint to the next.
        resume: Such a dict, to go on exactly where it was made; all other arguments as then.

    Shape:
        - intensity: (*, m1..md)
        - support: (n1..nd), (m1..md), or one each (*, ...)
        - mask: (*, m1..md), or what broadcasts to it
        - result: obj (*, n1..nd)

    Returns:
        :class:`Reconstruction`.

    Raises:
        TypeError: if a tensor has the wrong dtype, or an option does not exist or is of the wrong kind.
        ValueError: if intensities are negative, not finite or all zero; mask or support empty or of the wrong shape;
            a word of the schedule is unknown; an option is out of range.

    Example:
        >>> obj = torch.rand(2, 10, 10)
        >>> intensity = pr.operators.fourier_intensity(obj, (20, 20))
        >>> r = reconstruct(intensity, support=torch.ones(10, 10) > 0, constraint="nonnegative", starts=4)
        >>> r.obj.shape, r.errors.shape
        (torch.Size([2, 10, 10]), torch.Size([2, 4]))
    """
    if schedule is None:
        given = (intensity, options.get("init"))
        differentiable = torch.is_grad_enabled() and any(isinstance(t, Tensor) and t.requires_grad for t in given)
        sparse = options.get("support_size") is None and not differentiable
        schedule = "sparse:1400,er:30" if sparse else "raar:400,er:100"
        if options.get("starts") is None:
            options["starts"] = 12
    if not isinstance(schedule, str | Step):
        rule = f"schedule must be a text, a Recipe or an algorithm, got {type(schedule).__name__}"
        _checks.fail(rule, 'Use an algorithm such as HIO(50), or "hio:50"', TypeError)
    return solve(Recipe(schedule), intensity, options)
