"""An entry is found by its name, and called so that what it changes of torch stays its own."""

from __future__ import annotations

import contextlib
import copy
import importlib
import inspect
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from phaseret import _checks
from phaseret._words import meant
from phaseret.bench import _machine
from phaseret.bench._protocol import Item
from phaseret.bench.entries import ENTRIES

_KINDS = "a function (intensity, known, seed) -> estimate, or an instance of a Module (intensity) -> estimate"


@dataclass(frozen=True)
class Entry:
    """A solver by its name: a function (intensity, known, seed) -> estimate, or a Module (intensity) -> estimate."""

    name: str
    solve: Any
    module: Any

    def __call__(self, item: Item, seed: int) -> Tensor:
        """The estimate of one item; whatever an entry changes in place is its own."""
        torch.manual_seed(seed)
        intensity = item.intensity.clone()
        with settings_kept():
            if not isinstance(self.solve, nn.Module):
                return self.solve(intensity, copy.deepcopy(item.known), seed)
            device = next((parameter.device for parameter in self.solve.parameters()), intensity.device)
            with torch.no_grad():
                found = self.solve.eval()(intensity[None].to(device))
        if isinstance(found, Tensor) and found.shape[:1] != (1,):
            got = f"{tuple(found.shape)} for {(1, *intensity.shape)}"
            raise ValueError(f"a Module must return a batch of one estimate, with the axis of the batch, got {got}")
        return found[0] if isinstance(found, Tensor) else found

    def failure(self, error: BaseException) -> str:
        """What an error of this entry says, in one line, and where in its file it arose."""
        ours = self.module.__name__.startswith("phaseret.")
        return _line(error) + ("" if ours else _place(error, self.module.__file__))


@contextlib.contextmanager
def settings_kept() -> Iterator[list[str]]:
    """The settings of torch are put back at the end; those that were changed are in the list then."""
    changed: list[str] = []
    before = {name: read() for name, (read, _) in _SETTINGS.items()}
    try:
        yield changed
    finally:
        for name, (read, write) in _SETTINGS.items():
            if read() != before[name]:
                write(before[name])
                changed.append(name)


_SETTINGS: dict[str, tuple[Any, Any]] = {
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "default device": (torch.get_default_device, torch.set_default_device),
    "number of threads": (torch.get_num_threads, torch.set_num_threads),
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "deterministic algorithms": (
        torch.get_deterministic_debug_mode,  # 0, 1 where they are only asked for by a warning, or 2
        lambda mode: torch.use_deterministic_algorithms(mode > 0, warn_only=mode == 1),
    ),
}


def entry(name: Any) -> Entry:
    """The entry of this name: one of `ENTRIES`, or MODULE:NAME that can be imported from the current folder."""
    path, attribute = _parts(name)
    _machine.python_path()
    module = _imported(name, path)
    solve = getattr(module, attribute, None)
    refused = f"entries must name what can be called, got {name!r}"
    if isinstance(solve, type):
        fix = f"Name {_KINDS}: solver = {attribute}(...) in its file, and {path}:solver here"
        _checks.fail(f"{refused}: the class {attribute}", fix)
    if solve is None:
        near = meant(attribute, [word for word in vars(module) if not word.startswith("_")])
        fix = f"Name {_KINDS}" + (f". Did you mean '{path}:{near}'?" if near else "")
        _checks.fail(f"{refused}: nothing of this name", fix)
    if not callable(solve):
        _checks.fail(f"{refused}: {solve!r}", f"Name {_KINDS}")
    _check_arguments(name, solve)
    return Entry(name, solve, module)


def _parts(name: Any) -> tuple[str, str]:
    """The module of an entry, and its name there."""
    path, colon, attribute = ENTRIES.get(name, name).partition(":") if isinstance(name, str) else ("", "", "")
    if colon and not path.endswith(".py") and all(part.isidentifier() for part in (*path.split("."), attribute)):
        return path, attribute
    words = re.sub(r"[/\\]+", ".", path).strip(".").removesuffix(".py")
    fits = [*words.split("."), attribute] if colon else words.rpartition(".")[::2]
    guess = f"{words}:{attribute}" if colon else words.replace(".", ":") if words.count(".") == 1 else ""
    guess = guess if guess and all(part.isidentifier() for part in fits) else meant(path.lower(), ENTRIES)
    fix = f"Use one of {', '.join(ENTRIES)}, or the module and the name of a function or Module of yours: "
    fix += "my_package.solvers:solve" + (f". Did you mean '{guess}'?" if guess else "")
    _checks.fail(f"entries must be names such as package.module:name, got {name!r}", fix, TypeError)


def _imported(name: str, path: str) -> Any:
    """The module, which leaves the settings of torch as they are; what it raises says where."""

    def fail(said: str, fix: str) -> NoReturn:
        _checks.fail(f"entries must be importable, got {name!r}: {said}", fix, ImportError)

    try:
        with settings_kept() as changed:
            module = importlib.import_module(path)
    except (Exception, SystemExit) as error:  # of somebody's file, whatever it is
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{path}.".startswith(f"{missing}."):
            fail(str(error), "Install it, or go to the folder that it lies in")
        said = str(error) if missing else _line(error)
        fix = f"Install {missing}" if missing else "Mend its file, which must run when it is imported"
        fail(said + _place(error, path.replace(".", "/") + ".py"), fix)
    if changed:
        fix = "Set it inside the function if the solver needs it"
        _checks.warn(f"{path} sets torch's {' and '.join(changed)} when it is imported, which is put back", fix)
    return module


def _check_arguments(name: str, solve: Any) -> None:
    """A call with the wrong number of arguments is refused before anything is run."""
    module = isinstance(solve, nn.Module)
    try:
        signature = inspect.signature(solve.forward if module else solve, follow_wrapped=False)
    except (TypeError, ValueError):  # nothing says what it takes
        return
    try:
        signature.bind(*(("intensity",) if module else ("intensity", "known", "seed")))
    except TypeError:
        of = "(intensity) where they are Modules" if module else "(intensity, known, seed)"
        fix = "Name a function (intensity, known, seed) that calls it"
        empty = inspect.Parameter.empty
        bare = [parameter.replace(default=empty, annotation=empty) for parameter in signature.parameters.values()]
        takes = signature.replace(parameters=bare, return_annotation=empty)
        _checks.fail(f"entries must take {of}, got {name!r}, which takes {takes}", fix)


def _line(error: BaseException) -> str:
    """What an error says, in one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:300] if str(error) else type(error).__name__


def _place(error: BaseException, file: str | None) -> str:
    """Where in an entry's file an error arose, if it did so there."""
    ends = (file or "").replace("\\", "/")
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if ends]
    lines = [frame for frame in lines if frame.filename.replace("\\", "/").endswith(ends)]
    return f" ({ends.rpartition('/')[2]}, line {lines[-1].lineno})" if lines else ""
