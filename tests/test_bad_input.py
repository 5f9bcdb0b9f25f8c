"""Bad input to every public function and class: one clear error each, which names the caller, the rule and a fix."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import phaseret as pr
from good_calls import CALLS, FUNCTIONS, MODULES, NOT_CALLED, PUBLIC, call, called, functions, good, spelt, tensors_of

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("good_files")]

# A permutation of pixels is for any dtype, and positions may be integers.
ANY_DTYPE = {
    ("operators.pad", "obj"),
    ("operators.crop", "x"),
    ("symmetry.certify", "obj"),
    ("symmetry.shift", "obj"),
    ("symmetry.conj_flip", "obj"),
    ("symmetry.ConjFlip()", "obj"),
    ("symmetry.Shift()", "obj"),
    ("symmetry.Symmetry()", "obj"),
    ("operators.ptychography", "positions"),
}
# Tensors whose sizes are free, unless they are a pair.
FREE = {"estimate", "obj", "ensemble", "probe", "init", "support"}
TAKES_NO_TENSOR = "models.DeepImagePrior()", "models.DoubleDIP()"


def clear(path: str, error: Exception) -> None:
    name = path.removesuffix("()").partition(".")[2]
    assert re.fullmatch(rf"{name}: .+ must .+, got .+\. [A-Z].+[.?]", str(error), re.DOTALL), repr(error)


def test_no_public_function_or_class_is_left_out() -> None:
    asked = set()
    for path, value in PUBLIC.items():
        paired = inspect.isclass(value) and functions(path) in FUNCTIONS
        module = inspect.isclass(value) and path.partition(".")[2] not in NOT_CALLED
        asked |= {path} if tensors_of(path) and not paired else set()
        asked |= {f"{path}()"} if module and any(hasattr(value, n) for n in ("forward", "update")) else set()
    assert len(MODULES) == 14
    assert asked - {*TAKES_NO_TENSOR} == set(CALLS) - {"symmetry.Symmetry()"}


@pytest.mark.parametrize("path", sorted({*PUBLIC, *CALLS}))
def test_the_good_call_is_good(path: str) -> None:
    if path.startswith("interop.") and path.partition(".")[2] in ("to_deepinv", "loss_to_deepinv", "metric_to_deepinv"):
        pytest.importorskip("deepinv")
    call(called(path), good(path))


# --- tensors ---------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    path: str
    argument: str
    kind: str
    value: Any
    error: type[Exception]


def cases() -> list[Case]:
    """Every way to get one argument wrong, for every argument that it is wrong for."""
    found = []
    for path, (tensors, axes, _) in CALLS.items():
        for name, given in tensors.items():

            def add(kind: str, value: Any, error: type[Exception], path: str = path, name: str = name) -> None:
                found.append(Case(path, name, kind, value, error))

            takes_any = (path, name) in ANY_DTYPE
            add("type", "text", TypeError)
            if not takes_any and (given.is_floating_point() or given.dtype == torch.bool):
                add("dtype", given.to(torch.int64), TypeError)
            real = name in ("intensity", "magnitude", "theta", "positions")
            if real or (name, path) == ("shifts", "symmetry.subpixel_shift"):
                add("dtype", given + 0j, TypeError)
            add("zero-size axis", given.narrow(-1, 0, 0), ValueError)
            add("empty batch", given.narrow(0, 0, 0), ValueError)
            if axes and name not in ("mask", "theta", "support"):
                add("rank", given.flatten()[0], ValueError)
            if len(tensors) > 1:
                add("device", given.to("meta"), ValueError)
                paired = {"estimate", "obj"} == set(tensors)
                if paired or name not in FREE:
                    add("shape", given[..., :-1], ValueError)
                if paired or name in ("estimate", "intensity", "ensemble", "mask"):
                    add("batch", given[:2], ValueError)
    return found


@pytest.mark.parametrize("case", cases(), ids=lambda case: "-".join(case[:3]))
def test_one_clear_error(case: Case) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  (any: which one it is, is what is tested)
        call(called(case.path), {**good(case.path), case.argument: case.value})
    assert type(caught.value) is case.error, repr(caught.value)
    clear(case.path, caught.value)
    either = case.kind in ("shape", "batch")  # where two do not fit together, one of them is named
    assert any(name in str(caught.value) for name in (CALLS[case.path][0] if either else [case.argument]))


# --- all arguments ---------------------------------------------------------------------------------------------------

TORCH_WORDS = {"dtype", "device"}  # torch refuses a device itself, and a dtype is a choice


class Nonsense:
    """A value that no argument takes."""


def arguments() -> list[tuple[str, inspect.Parameter]]:
    """Every argument of every public function and class, and of the calls of Modules, found by itself."""
    return [(path, p) for path in sorted({*PUBLIC, *CALLS}) for p in spelt(path) if p.name not in TORCH_WORDS]


def nonsense(argument: inspect.Parameter) -> list[Any]:
    """Values that the argument's type does not allow."""
    words = str(argument.annotation)
    text, nothing = bool(re.search(r"\bstr\b", words)), "None" in words or words == "Any" or argument.default is None
    arrays = [] if argument.name in ("entries", "protocols") else [np.zeros((2, 2)), np.zeros(())]
    return [Nonsense(), *arrays, *([] if text else ["no"]), *([] if nothing else [None])]


@pytest.mark.parametrize(("path", "argument"), arguments(), ids=lambda value: getattr(value, "name", value))
def test_an_argument_that_means_nothing_is_refused_by_name(path: str, argument: inspect.Parameter) -> None:
    for value in nonsense(argument):
        with pytest.raises((TypeError, ValueError)) as caught:
            call(called(path), {**good(path), argument.name: value})
        clear(path, caught.value)
        assert re.search(rf"\b{argument.name}\b.* must ", str(caught.value), re.DOTALL)


def test_every_error_says_how_to_fix_it() -> None:
    without = []
    for file in Path(pr.__file__).parent.rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        errors = [call for call in calls if ast.unparse(call.func) in ("fail", "_checks.fail")]
        without += [f"{file.name}:{call.lineno}" for call in errors if len(call.args) < 2]
    assert without == []
