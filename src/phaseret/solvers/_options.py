"""The options that every call of a solver takes: their types, their defaults, and the answer to a wrong one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

import torch
from torch import Tensor

from phaseret import _checks
from phaseret._fft import Norm
from phaseret._output import checksum
from phaseret.projections import Bounds, Constraint
from phaseret.solvers._coherence import Coherence

if TYPE_CHECKING:
    from phaseret.solvers._run import Run

Called = TypeVar("Called", bound=Callable[..., Any])


class Options(TypedDict, total=False):
    """The keyword options that every solver takes; :func:`phaseret.solvers.reconstruct` explains them."""

    support: Tensor | None
    support_size: int | None
    known: Tensor | None
    mask: Tensor | None
    background: Tensor | float | None
    coherence: Coherence | None
    point_spread: Tensor | None
    constraint: Constraint
    bounds: Bounds | None
    phase_range: tuple[float, float] | None
    ndim: int
    norm: Norm
    centered: bool
    undersampled: bool
    starts: int | None
    init: Tensor | None
    seed: int
    generator: torch.Generator | None
    check_every: int
    tolerance: float | None
    chunk: int | None
    compile: bool
    progress: bool
    callback: Callable[[Run], bool | None] | None
    checkpoint: Callable[[dict[str, Any]], None] | None
    checkpoint_every: int
    resume: dict[str, Any] | None


# How many starts `reconstruct` tries unless it is told; an algorithm that is called runs from one.
STARTS = 12
# An option that is not named here is None unless it is given.
_DEFAULTS: Options = {
    "constraint": "complex",
    "ndim": 2,
    "norm": "ortho",
    "centered": False,
    "undersampled": False,
    "seed": 0,
    "check_every": 10,
    "compile": False,
    "progress": False,
    "checkpoint_every": 1000,
}
_OF_ALGORITHMS = {
    name: f"Give {name} when the algorithm is made, as in HIO(n_iter=50, beta=0.9), or in a schedule, 'hio:50'"
    for name in ("n_iter", "beta", "times")
}


def complete(options: Mapping[str, Any]) -> Options:
    """All options, those that are not given with their defaults; a wrong name or kind is refused."""
    check_names(options)
    asked: dict[str, Any] = {**dict.fromkeys(Options.__annotations__), **_DEFAULTS, **options}
    _checks.flag(**{name: asked[name] for name in ("centered", "undersampled", "compile", "progress")})
    for name in ("check_every", "checkpoint_every"):
        asked[name] = _checks.integer(name, asked[name])
    asked["ndim"] = _checks.item_axes(asked["ndim"])
    for name in ("starts", "chunk"):
        if asked[name] is not None:
            asked[name] = _checks.integer(name, asked[name])
    asked["tolerance"] = checked_tolerance(asked["tolerance"])
    if asked["resume"] is not None:
        _checks.instance("resume", asked["resume"], dict, "Pass what checkpoint was called with")
    asked["seed"] = _checks.integer("seed", asked["seed"], at_least=0)
    _checks.generator(asked["generator"])
    for name in ("callback", "checkpoint"):
        if asked[name] is not None and not callable(asked[name]):
            _checks.fail(f"{name} must be a function, got {asked[name]!r}", "Pass the function itself", TypeError)
    return cast(Options, asked)


def checked_tolerance(tolerance: float | None) -> float | None:
    """The error at which a start is solved, in (0, 1]; None for none."""
    return None if tolerance is None else _checks.number("tolerance", tolerance, above=0, at_most=1)


# The options on which the state of a run depends.
_DEPENDS = (
    "support", "support_size", "known", "mask", "background", "constraint", "bounds", "phase_range", "ndim", "norm",
    "centered", "coherence", "point_spread", "init", "seed", "tolerance",
)  # fmt: skip


def made_from(schedule: str, intensity: Tensor, asked: Options) -> dict[str, str]:
    """The checksum of all that a state depends on, by its name."""
    given = {"intensity": intensity, "schedule": schedule, **{name: asked.get(name) for name in _DEPENDS}}
    found = {}
    for name, value in given.items():
        parts = dict(enumerate(value if isinstance(value, list | tuple) else [value]))  # bounds are a pair
        tensors = {str(i): part for i, part in parts.items() if isinstance(part, Tensor)}
        found[name] = checksum(repr([part for part in parts.values() if not isinstance(part, Tensor)]), tensors)
    return found


def asks_for_gradient(intensity: Any, asked: Mapping[str, Any]) -> bool:
    """Whether the intensity, or a tensor among the options, requires a gradient where one is recorded."""
    options = [value if isinstance(value, list | tuple) else [value] for value in asked.values()]  # bounds are a pair
    given = [intensity, *(part for parts in options for part in parts)]
    return torch.is_grad_enabled() and any(isinstance(part, Tensor) and part.requires_grad for part in given)


def check_names(options: Mapping[str, Any], *own: str) -> None:
    """The options exist; `own` are those that the function itself has beside them."""
    _checks.known(options, (*Options.__annotations__, *own), _OF_ALGORITHMS)


def spelled(function: Called) -> Called:
    """The function, whose signature at run time spells the options out: for `help`, notebooks and these pages.

    Editors and type checkers read them off the annotation ``**options: Unpack[Options]``.
    """
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    types = {name: getattr(kind, "__forward_arg__", kind) for name, kind in Options.__annotations__.items()}
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS.get(name), annotation=kind)
        for name, kind in types.items()
    ]
    function.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    return function
