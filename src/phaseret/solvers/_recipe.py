"""Recipes: algorithms one after the other, as objects and as text; and the one function for all of them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn, cast

from torch import Tensor, nn

from phaseret import _checks
from phaseret._words import meant, shortened
from phaseret.solvers._algebraic import Algebraic
from phaseret.solvers._algorithms import ALGORITHMS
from phaseret.solvers._breed import Breed
from phaseret.solvers._crystal import BRAGG, Enough, Hull, Level
from phaseret.solvers._levenberg import LevenbergMarquardt
from phaseret.solvers._likelihood import PoissonRefinement
from phaseret.solvers._loop import Step
from phaseret.solvers._options import Options, asks_for_gradient, check_names, spelled
from phaseret.solvers._solve import solve
from phaseret.solvers._support import Detwin, Shrinkwrap

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from phaseret.solvers._result import Reconstruction

_WORDS: dict[str, type[Step]] = {
    **ALGORITHMS,
    "algebraic": Algebraic,
    "breed": Breed,
    "detwin": Detwin,
    "enough": Enough,
    "hull": Hull,
    "level": Level,
    "lm": LevenbergMarquardt,
    "ml": PoissonRefinement,
    "shrinkwrap": Shrinkwrap,
}
_WITHOUT_ITERATIONS = ("shrinkwrap", "breed", "hull", "level", "enough", "algebraic")
# Words for whole schedules, all of them for patterns of three axes.
_NAMED = {"bragg": BRAGG}
# The words of other programs (PyNX, cohere, Hawk) and the names of the classes, without underscores.
_FOREIGN = {
    **dict.fromkeys(("sup", "sw", "supportupdate", "threshold"), "shrinkwrap"),
    **dict.fromkeys(("gps", "gpsr"), "breed"),
    **dict.fromkeys(("detwinhio", "detwinraar", "twin"), "detwin"),
    **dict.fromkeys(("io", "hybrid", "fienup"), "hio"),
    **dict.fromkeys(("gs", "ap"), "er"),
    **dict.fromkeys(("diffmap", "dr"), "dm"),
    "flip": "sf",
    "polish": "lm",
    **{kind.__name__.lower(): word for word, kind in _WORDS.items()},
    **{word: word for word in _WORDS},
}
_SEPARATED = "Steps are separated by commas, and the first runs first"
_DEPTH = 50
_SHOWN = 100  # letters of a schedule that an error shows


class Recipe(Step):
    """Steps one after the other, `times` times over: a solver made of solvers.

    Args:
        *steps: Algorithms and other steps (:class:`Shrinkwrap`, :class:`Detwin`, :class:`Breed`, other recipes), or
            texts such as ``"6*(hio:50,er:20)"``.
        times: How often the whole is repeated.

    Text: steps are separated by commas, and the first runs first. ``hio:50`` is an algorithm with its iterations (er,
    hio, raar, dm, rrr, chio, asr, hpr, oss, sf, cf, admm, sparse), ``shrinkwrap``, ``breed``, ``hull``, ``level`` and
    ``enough`` are steps, ``detwin:20`` is 20 iterations of HIO with half of the support, ``algebraic`` is the exact
    solution of :class:`Algebraic`, ``lm:20`` are 20 steps of :class:`LevenbergMarquardt`, ``ml:20`` of
    :class:`PoissonRefinement`, and ``3*(...)`` or ``3*hio:50`` repeats. ``bragg`` stands for the steps that find
    strained crystals from one Bragg peak, and takes the last three axes as those of a pattern unless `ndim` says
    otherwise. Options stand in brackets behind the word: ``hio(beta=0.8):50``, ``raar(beta=(0.75,0.95)):200``,
    ``shrinkwrap(sigma=2,method=rms)``, ``breed(best=sharpness,rule=sqrt_pa)``.

    Example:
        >>> Recipe("2*(hio:50,er:20),er:100").n_iter
        240
        >>> steps = pr.solvers.RAAR(50, beta=0.85), pr.solvers.Shrinkwrap(sigma=2.0)
        >>> Recipe(Recipe(*steps, times=4), "er:50").text
        '4*(raar(beta=0.85):50,shrinkwrap(sigma=2.0)),er:50'
    """

    def __init__(self, *steps: Step | str, times: int = 1) -> None:
        super().__init__()
        self.times, self._for_volumes = _checks.integer("times", times), False
        if not steps:
            _checks.fail("steps must hold at least one step, got none", "Use an algorithm such as HIO(50), or 'hio:50'")
        for step in steps:
            if not isinstance(step, Step | str):
                fix = 'Use an algorithm such as HIO(50), or "hio:50"'
                _checks.fail(f"steps must be steps or texts, got {type(step).__name__}", fix, TypeError)
        self.steps = nn.ModuleList(
            part for step in steps for part in ([step] if isinstance(step, Step) else _Parser(step).schedule())
        )

    @property
    def n_iter(self) -> int:  # type: ignore[override]
        """Iterations of all steps."""
        return self.times * sum(step.n_iter for step in self._once())

    def _once(self) -> list[Step]:
        return cast("list[Step]", list(self.steps))

    def leaves(self) -> Iterator[Step]:
        """The steps it stands for, in order."""
        for _ in range(self.times):
            for step in self._once():
                yield from step.leaves()

    @property
    def of_volumes(self) -> bool:  # type: ignore[override]
        """Whether a word in it stands for a schedule of patterns of three axes."""
        return self._for_volumes or any(step.of_volumes for step in self._once())

    @property
    def finds_support(self) -> bool:  # type: ignore[override]
        """Whether it begins with a step that finds the support."""
        return next(self.leaves()).finds_support

    @property
    def text(self) -> str:
        """The recipe as text, which ``Recipe(text)`` reads back; an error where text cannot say a step."""
        return ",".join(_written(self))

    def __repr__(self) -> str:
        times = f", times={self.times}" if self.times > 1 else ""
        return f"Recipe({', '.join(map(repr, self.steps))}{times})"


class _Parser:
    """Reads a schedule: ``item, item``, an item being ``[N *] (word [(option=value, ...)] [: N] | ( schedule ))``."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, len(text) - len(text.lstrip()), 0

    def schedule(self) -> list[Step]:
        """All of the text."""
        steps = self._items()
        if self.at < len(self.text):
            self._fail("a comma or an end", _SEPARATED)
        return steps

    def _fail(self, expected: str, fix: str = "", at: int | None = None) -> NoReturn:
        text, rest = (
            shortened(repr(part), _SHOWN) if part else ""  # letters that are escaped make it longer
            for part in (self.text, self.text[self.at if at is None else at :])
        )
        fix = fix or f"The words are {', '.join(_WORDS)}"
        _checks.fail(f"schedule {text or repr('')} must have {expected} at {rest or 'its end'}", fix)

    def _take(self, pattern: str) -> str:
        """What stands next, if the pattern fits it, and is then behind us; "" if it does not."""
        found = re.compile(rf"({pattern})\s*").match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[1]

    def _count(self, expected: str) -> int:
        place, digits = self.at, self._take(r"[\w.]+")
        if not re.fullmatch("[0-9]{1,15}", digits) or int(digits) < 1:
            self._fail(expected, "Write an integer from 1 on, of at most 15 digits", at=place)
        return int(digits)

    def _items(self) -> list[Step]:
        steps = self._item()
        while self._take(","):
            steps += self._item()
        return steps

    def _item(self) -> list[Step]:
        if self.text[self.at : self.at + 1].isdecimal():
            times = self._count("a positive number of repeats")
            if not self._take(r"\*"):
                self._fail("a * after the number of repeats")
            self._deeper()
            repeated = self._item()
            self.depth -= 1
            return [Recipe(*repeated, times=times)]
        if self._take(r"\("):
            self._deeper()
            inner = self._items()
            self.depth -= 1
            if not self._take(r"\)"):
                self._fail("a )", _SEPARATED)
            return inner
        place, word = self.at, self._take(r"[^\W\d]\w*").lower()
        if word in _NAMED:
            recipe = Recipe(*_Parser(_NAMED[word]).schedule())
            recipe._for_volumes = True
            return [recipe]
        if word not in _WORDS:
            self._fail("a step", _meant(word), at=place)
        return [self._step(word, place)]

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > _DEPTH:
            self._fail(f"at most {_DEPTH} brackets or repeats in one another", "Use fewer")

    def _step(self, word: str, place: int) -> Step:
        options, counts = self._options(word), []
        if word not in _WITHOUT_ITERATIONS:
            if not self._take(":"):
                self._fail(f"a : and the number of iterations after {word}", self._colon(word, place))
            counts = [self._count("a positive number of iterations")]
        try:
            return _WORDS[word](*counts, **options)
        except (TypeError, ValueError) as error:
            rule, _, fix = str(error).partition(": ")[2].rstrip(".").partition(". ")
            self._fail(f"options that {word} takes ({rule})", fix, at=place)

    def _colon(self, word: str, place: int) -> str:
        """How to write an algorithm for which another program says HIO**50 or 50*HIO."""
        behind = re.match(r"[\s*=]*([0-9]+)", self.text[self.at :])
        number = behind or re.search(r"([0-9]+)\s*\*\s*$", self.text[:place])
        return f"Write {word}:{number[1] if number else 50}. {_SEPARATED}"

    def _options(self, word: str) -> dict[str, Any]:
        """``(name=value, ...)``, or nothing."""
        known = _own_options(_WORDS[word])
        options: dict[str, Any] = {}
        while self._take("," if options else r"\("):
            place, name = self.at, self._take(r"\w*").lower()
            if name not in known or name in options:
                near = meant(name, known)
                fix = f"Did you mean {near!r}?" if near else f"Its options are {', '.join(known) or 'none'}"
                self._fail(f"an option of {word}, each once,", fix, at=place)
            if not self._take("="):
                self._fail(f"a = and the value after {name}", f"Write {name}=1, for example")
            options[name] = self._value()
        if options and not self._take(r"\)"):
            self._fail("a comma or a ) after the value", "Write hio(beta=0.8):50, for example")
        return options

    def _value(self) -> Any:
        """A number, a word (with or without quotes), or a pair of numbers in brackets."""
        place, text = self.at, self._take(r"\([^()]*\)|[-+]?[\w.]+(?:[-+]\d+)?|'\w*'|\"\w*\"")
        word = text.strip("'\"").lower()
        if word.isidentifier():
            return {"none": None, "true": True, "false": False}.get(word, word)
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            self._fail("a value", "Write a number, a word or a pair of numbers", at=place)


def _meant(token: str) -> str:
    """What to write for a word of another program, or for one that is nearly a word; "" if it is neither."""
    name = token.rstrip("0123456789")
    digits, word = token[len(name) :], _FOREIGN.get(name.replace("_", ""))
    if word is None:
        near = meant(token, _WORDS)
        return f"Did you mean {near!r}? The words are {', '.join(_WORDS)}" if near else ""
    return f"Write {word}" if word in _WITHOUT_ITERATIONS else f"Write {word}:{digits or 50}. {_SEPARATED}"


def class_meant(name: str) -> str | None:
    """What to use for a class or function of another program or version; None if it is unknown."""
    word = _FOREIGN.get(name.lower().replace("_", ""))
    if word is None:
        return None
    kind = _WORDS[word].__name__
    return f"{kind}(n_iter)(intensity, ...)" if word in ALGORITHMS else f"{kind} as a step of a Recipe"


def _own_options(kind: type[Step]) -> dict[str, Any]:
    """The options that stand in brackets behind the word of a step, with their defaults."""
    found = inspect.signature(kind).parameters.values()
    return {p.name: p.default for p in found if p.name not in ("n_iter", "algorithm")}


def _written(step: Step) -> list[str]:
    """The texts of a step, to be joined by commas."""
    if not isinstance(step, Recipe):
        return [_word_of(step)]
    texts = [text for part in step._once() for text in _written(part)]
    return texts if step.times == 1 else [f"{step.times}*({','.join(texts)})"]


def _word_of(step: Step) -> str:
    word = next((word for word, kind in _WORDS.items() if type(step) is kind), None)
    own = {} if word is None else {name: (step.options[name], d) for name, d in _own_options(type(step)).items()}
    if word is not None and not any(isinstance(value, Tensor) for value, _ in own.values()):
        shown = ",".join(f"{name}={value}" for name, (value, default) in own.items() if value != default)
        text = word + (f"({shown})" if shown else "") + ("" if word in _WITHOUT_ITERATIONS else f":{step.n_iter}")
        if repr(_Parser(text).schedule()) == repr([step]):
            return text.replace(" ", "")
    _checks.fail(f"a step must be one that text can say, got {step!r}", "Pass the recipe itself")


@spelled
def reconstruct(intensity: Tensor, *, schedule: str | Step | None = None, **options: Unpack[Options]) -> Reconstruction:
    r"""Reconstruct objects from their Fourier intensities.

    Every pattern is solved from several random starts; the one that explains the data best, or the mean of those that
    explain them as well and agree with it, is the result, and :class:`Reconstruction` says whether the starts agree.
    The estimate of a start is P_S P_M of its last iterate, and its error is

    .. math:: \sqrt{\textstyle\sum (|F X| - \sqrt Y)^2 / \sum Y}

    over the measured pixels. It warns when starts that fit the data equally well show different objects.

    Args:
        intensity: Measured intensity, squared object units.
        schedule: What to run, as text or as a :class:`Recipe` or algorithm. Default: "sparse:1400,er:30", which finds
            objects in a loose support, or in none (:class:`SparseRRR`); but "raar:400,er:100" with a `support_size`,
            and where a gradient is asked for. "bragg" is for strained crystals from one Bragg peak, needs no support,
            and takes the last three axes as those of a pattern unless `ndim` says otherwise. The words are those of
            :class:`Recipe`.
        support: True where the object may be non-zero. Object-shaped (then in the corner of the grid, and the result
            has its shape) or data-shaped; one for all patterns or one each: the axes before these broadcast to the
            batch. May be left out with `support_size`, for a non-negative object, or where the schedule begins with
            :class:`Hull`.
        support_size: Number of non-zero pixels, their place unknown: the largest are kept.
        known: The object where it is known, NaN where it is not: a reference beside it (holography), or what stays
            while the rest changes (in situ). It has the sizes of the support, and may stand for it: zeros are known to
            be empty. One for all patterns or one each; `support`, `support_size`, `bounds` and `phase_range` speak of
            the rest. Nothing is left open then: starts are compared as they lie, without shift, flip and phase.
            Warnings tell where the data do not agree with its values, and where starts agree on an object that leaves
            more of the data than noise explains, as beside a part in a wrong place. That does not show where another
            copy of both fits into the support, nor in much noise.
        background: What the detector counts without the object, a number or in the intensity's units and arrangement,
            one for all patterns or one for each: it is subtracted, and what is left below 0 counts as 0.
        coherence: Find out how far the intensities are blurred, as a source that is not quite coherent or a detector
            does it: "gaussian", whose widths and direction the pattern tells (a wider one would leave negative
            intensities) and which is fitted to its best start at each check, or "free" in its shape, which needs bright
            data and more iterations. Without it a blur of a pixel spoils the object, and the residual hardly shows it.
            End with error reduction: the others know the data from before the blur alone. A run takes two and
            a half times as long.
        point_spread: The same, known: what becomes of the intensity of one pixel, with its middle at index k // 2 and
            its sum 1; one for all patterns or one for each.
        mask: True where measured; it broadcasts to the intensity. Unmeasured pixels are free: their intensity may hold
            anything.
        constraint: "complex", "real" or "nonnegative". Where it is left out the object is taken as complex; a warning
            tells of a pattern that is symmetric within noise, which a real object explains.
        bounds: (low, high) of the values inside the support; of the modulus for a complex object. Numbers, or tensors
            for each pixel of the object, the same for all patterns: (a, a) is a known modulus, as two planes have it.
        phase_range: (low, high) of the phase of a complex object in radians, at most pi apart.
        ndim: Number of axes of one pattern (1, 2 or 3); the axes before them are a batch.
        norm: Normalisation of the transform: "ortho", "backward" or "forward".
        centered: Whether the zero frequency lies in the middle of the intensity (and mask).
        undersampled: Allow a support of more than (m + 1) / 2 pixels along an axis (but at most m): data below 2n - 1
            samples, as benchmarks have them, which other objects have too. A warning says so once.
        starts: Number of starts of each pattern. Default: 12, whatever the schedule, but 1 for one with "algebraic",
            and at most 4, one after the other, where it ends with :class:`Enough`; an algorithm or a recipe
            that is called itself, ``HIO(50)(intensity, ...)``, runs from one.
        init: Object-shaped or data-shaped start, for example a network's output: it replaces the first start. With an
            axis of starts before the object's axes it replaces all of them.
        seed: Start s is drawn from seed + s, whatever the batch, the chunks and the device.
        generator: Draws the seeds of the starts instead.
        check_every: Iterations from one residual to the next.
        tolerance: The error at which a start is solved. Those that a check of an algorithm, or the end of another step,
            finds so end there: they cost nothing more, whatever else runs, and `n_iters` keeps their iterations; the
            run ends with the last of them. The others go on as they would alone. For `ErrorReduction`, `RAAR`, `RRR`,
            `ASR` and `SolventFlip` a check costs no transform then: the estimate is the projection on what is known
            that an iteration makes, P_S x of RRR and P_S(2 P_M x - x) of RAAR, whose spectrum it needs anyway; at the
            end of the algorithm it is P_S P_M as always. With ``check_every=1`` starts end at the exact iteration.
            `compile` is without effect then, and there are no gradients.
        chunk: Patterns times starts worked on at a time. Default: what fits a CPU's cache, or a GPU's free memory.
            Results do not depend on it.
        compile: Let torch compile an iteration, and on CUDA record it as a graph that is replayed, where all patterns
            and starts fit at once: few launches instead of some twenty, which bound small grids. The numbers are the
            same to rounding. Compiling takes seconds for each algorithm, its numbers and shape, and needs a C++
            compiler on a CPU, Triton on CUDA; what fails is left out with a warning. After eight of them in one process
            torch compiles no more, and says so in its log. An algorithm of your own, `SparseRRR`, `OSS`, a schedule of
            beta, gradients and blurred data run without.
        progress: Show a bar (needs tqdm).
        callback: Called with the :class:`Run` at each check; a true value ends the run.
        checkpoint: Called with a dict of tensors and numbers, which `torch.save` can keep, every `checkpoint_every`
            iterations.
        checkpoint_every: Iterations from one checkpoint to the next.
        resume: Such a dict, to go on exactly where it was made; with other data, another schedule or other options that
            the state depends on it is refused, with the name of what differs.

    Shape:
        - intensity: (*, m1..md)
        - support, known: (n1..nd), (m1..md), or one each (*, ...)
        - mask: (*, m1..md), or what broadcasts to it
        - point_spread: (k1..kd), or one each (*, k1..kd)
        - result: obj (*, n1..nd)

    Returns:
        :class:`Reconstruction`.

    Raises:
        TypeError: if a tensor has the wrong dtype, or an option does not exist or is of the wrong kind.
        ValueError: if intensities are negative, not finite or all zero; mask or support empty or of the wrong shape;
            `known` is NaN everywhere or holds more than twice the energy of its pattern; a word of the schedule is
            unknown; an option is out of range.

    Example:
        >>> obj = torch.rand(2, 10, 10)
        >>> intensity = pr.operators.fourier_intensity(obj, (20, 20))
        >>> r = reconstruct(intensity, support=torch.ones(10, 10) > 0, constraint="nonnegative", starts=4)
        >>> r.obj.shape, r.errors.shape
        (torch.Size([2, 10, 10]), torch.Size([2, 4]))
    """
    check_names(options, "schedule")
    if schedule is None:
        sparse = options.get("support_size") is None and not asks_for_gradient(intensity, options)
        schedule = "sparse:1400,er:30" if sparse else "raar:400,er:100"
    if not isinstance(schedule, str | Step):
        rule = f"schedule must be a text, a Recipe or an algorithm, got {type(schedule).__name__}"
        _checks.fail(rule, 'Use an algorithm such as HIO(50), or "hio:50"', TypeError)
    recipe = Recipe(schedule)
    if options.get("starts") is None:
        options["starts"] = min(part.starts for part in recipe.parts())
    return solve(recipe, intensity, options)
