"""Recipes: algorithms one after the other, as objects and as text; and the one function for all of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

from phaseret import _checks
from phaseret.solvers._algorithms import HIO, RAAR, RRR, DifferenceMap, ErrorReduction
from phaseret.solvers._loop import Algorithm, Run, Step, solve
from phaseret.solvers._sparse import SparseRRR
from phaseret.solvers._support import Breed, Detwin, Shrinkwrap
from phaseret.solvers._variants import ADMM, ASR, CHIO, HPR, OSS, ChargeFlip, SolventFlip

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from phaseret.solvers._loop import Options
    from phaseret.solvers._result import Reconstruction

ALGORITHMS: dict[str, type[Algorithm | SparseRRR]] = {
    "er": ErrorReduction,
    "hio": HIO,
    "raar": RAAR,
    "dm": DifferenceMap,
    "rrr": RRR,
    "chio": CHIO,
    "asr": ASR,
    "hpr": HPR,
    "oss": OSS,
    "sf": SolventFlip,
    "cf": ChargeFlip,
    "admm": ADMM,
    "sparse": SparseRRR,
}
STEPS: dict[str, type[Step]] = {"shrinkwrap": Shrinkwrap, "breed": Breed}
_TOKEN = re.compile(r"\s*(?:(\d+)|([a-z_]+)|([*:,()]))")


class Recipe(Step):
    """Steps one after the other, `times` times over: a solver made of solvers.

    Args:
        *steps: Algorithms and other steps (:class:`Shrinkwrap`, :class:`Detwin`, :class:`Breed`, other recipes), or
            texts such as ``"6*(hio:50,er:20)"``.
        times: How often the whole is repeated.

    Text: steps are separated by commas; ``hio:50`` is an algorithm with its iterations (er, hio, raar, dm, rrr, chio,
    asr, hpr, oss, sf, cf, admm, sparse), ``shrinkwrap`` and ``breed`` are steps, ``detwin:20`` is 20 iterations of HIO
    with half of the support, and ``3*(...)`` or ``3*hio:50`` repeats.

    Example:
        >>> Recipe("2*(hio:50,er:20),er:100").n_iter
        240
        >>> recipe = Recipe(Recipe(RAAR(50, beta=0.85), Shrinkwrap(sigma=2.0), times=4), ErrorReduction(50))
        >>> recipe.n_iter
        250
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
        self.steps = nn.ModuleList([_Parser(step).recipe() if isinstance(step, str) else step for step in steps])
        self.n_iter = sum(leaf.n_iter for leaf in self.leaves())

    def leaves(self) -> list[Step]:
        """The steps it stands for, in order."""
        once = [leaf for step in self.steps if isinstance(step, Step) for leaf in step.leaves()]
        return once * self.times

    def forward(self, intensity: Tensor, **options: Unpack[Options]) -> Reconstruction:
        """Reconstruct objects from intensities; the options are those of :func:`reconstruct`."""
        return solve([self], intensity, **options)

    def __repr__(self) -> str:
        times = f", times={self.times}" if self.times > 1 else ""
        return f"Recipe({', '.join(map(repr, self.steps))}{times})"


class _Parser:
    """Reads a schedule: ``item, item``, an item being ``[N *] (word [: N] | ( schedule ))``."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.tokens: list[tuple[int, str]] = []
        position = 0
        text = text.lower()
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if match is None:
                self.fail(len(text) - len(text[position:].lstrip()), "a step")
            self.tokens.append((match.start(match.lastindex or 0), match.group(match.lastindex or 0)))
            position = match.end()
        self.tokens.append((len(text), ""))

    def fail(self, position: int, expected: str) -> NoReturn:
        found = repr(self.text[position:]) if self.text[position:].strip() else "its end"
        known = ", ".join([*ALGORITHMS, *STEPS, "detwin"])
        _checks.fail(f"schedule {self.text!r} must have {expected} at {found}", f"The words are {known}")

    def take(self, *wanted: str) -> str | None:
        """The next token if it is one of those wanted."""
        token = self.tokens[self.at][1]
        if token in wanted:
            self.at += 1
            return token
        return None

    def number(self, expected: str) -> int:
        position, token = self.tokens[self.at]
        if not token.isdigit() or int(token) < 1:
            self.fail(position, expected)
        self.at += 1
        return int(token)

    def recipe(self) -> Step:
        result = self.items()
        if self.tokens[self.at][1]:
            self.fail(self.tokens[self.at][0], "a comma or an end")
        return result

    def items(self) -> Step:
        steps = [self.item()]
        while self.take(","):
            steps.append(self.item())
        return steps[0] if len(steps) == 1 else Recipe(*steps)

    def item(self) -> Step:
        position, token = self.tokens[self.at]
        if token.isdigit():
            times = self.number("a positive number of repeats")
            if not self.take("*"):
                self.fail(self.tokens[self.at][0], "a * after the number of repeats")
            return Recipe(self.item(), times=times)
        if self.take("("):
            inner = self.items()
            if not self.take(")"):
                self.fail(self.tokens[self.at][0], "a )")
            return inner
        if self.take(*STEPS):
            return STEPS[token]()
        if not self.take(*ALGORITHMS, "detwin"):
            self.fail(position, "a step")
        if not self.take(":"):
            self.fail(self.tokens[self.at][0], f"a : and the number of iterations after {token}")
        n_iter = self.number("a positive number of iterations")
        return Detwin(HIO(n_iter)) if token == "detwin" else ALGORITHMS[token](n_iter)


def reconstruct(
    intensity: Tensor,
    *,
    schedule: str | Step | None = None,
    support: Tensor | None = None,
    support_size: int | None = None,
    mask: Tensor | None = None,
    constraint: str = "complex",
    bounds: tuple[float, float] | None = None,
    phase_range: tuple[float, float] | None = None,
    ndim: int = 2,
    norm: str = "ortho",
    centered: bool = False,
    starts: int = 12,
    init: Tensor | None = None,
    seed: int = 0,
    generator: torch.Generator | None = None,
    check_every: int = 10,
    chunk: int | None = None,
    progress: bool = False,
    callback: Callable[[Run], bool | None] | None = None,
    checkpoint: Callable[[dict[str, Any]], None] | None = None,
    checkpoint_every: int = 1000,
    resume: dict[str, Any] | None = None,
) -> Reconstruction:
    r"""Reconstruct objects from their Fourier intensities.

    Every pattern is solved from several random starts; the estimate that explains the data best is the result, and
    :class:`Reconstruction` says whether the starts agree. The estimate is P_S P_M of the last iterate, and its error is

    .. math:: \sqrt{\textstyle\sum (|F X| - \sqrt Y)^2 / \sum Y}

    over the measured pixels. It warns when starts that fit the data equally well show different objects.

    Args:
        intensity: Measured intensity, squared object units.
        schedule: What to run, as text or as a :class:`Recipe` or algorithm. Default: "sparse:1400,er:30", which finds
            objects in a loose support, or in none (:class:`SparseRRR`); but "raar:400,er:100" with a `support_size`,
            and where a gradient is asked for.
        support: True where the object may be non-zero. Object-shaped (then in the corner of the grid, and the result
            has its shape) or data-shaped; one for all patterns or one each. May be left out with `support_size` or
            for a non-negative object.
        support_size: Number of non-zero pixels, their place unknown: the largest are kept.
        mask: True where measured. Unmeasured pixels are free: their intensity may hold anything.
        constraint: "complex", "real" or "nonnegative".
        bounds: (low, high) of the values inside the support; of the modulus for a complex object.
        phase_range: (low, high) of the phase of a complex object in radians, at most pi apart.
        ndim: Number of axes of one pattern (1, 2 or 3); the axes before them are a batch.
        norm: Normalisation of the transform: "ortho", "backward" or "forward".
        centered: Whether the zero frequency lies in the middle of the intensity (and mask).
        starts: Number of starts of each pattern.
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
        - result: obj (*, n1..nd)

    Returns:
        :class:`Reconstruction`.

    Raises:
        TypeError: if a tensor has the wrong dtype.
        ValueError: if intensities are negative, not finite or all zero; mask or support empty or of the wrong shape;
            a word of the schedule unknown; an option out of range.

    Example:
        >>> obj = torch.rand(2, 10, 10)
        >>> intensity = pr.operators.fourier_intensity(obj, (20, 20))
        >>> r = reconstruct(intensity, support=torch.ones(10, 10) > 0, constraint="nonnegative", starts=4)
        >>> r.obj.shape, r.errors.shape
        (torch.Size([2, 10, 10]), torch.Size([2, 4]))
    """
    if schedule is None:
        differentiable = torch.is_grad_enabled() and any(
            isinstance(t, Tensor) and t.requires_grad for t in (intensity, init)
        )
        schedule = "sparse:1400,er:30" if support_size is None and not differentiable else "raar:400,er:100"
    recipe = Recipe(schedule)
    return solve(
        [recipe],
        intensity,
        support=support,
        support_size=support_size,
        mask=mask,
        constraint=constraint,
        bounds=bounds,
        phase_range=phase_range,
        ndim=ndim,
        norm=norm,
        centered=centered,
        starts=starts,
        init=init,
        seed=seed,
        generator=generator,
        check_every=check_every,
        chunk=chunk,
        progress=progress,
        callback=callback,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        resume=resume,
    )
