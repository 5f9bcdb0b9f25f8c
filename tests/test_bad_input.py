"""Bad input to every public function on tensors: one clear error each, which names the caller, the rule and a fix."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import phaseret as pr

MODULES = (pr.operators, pr.symmetry, pr.noise, pr.losses, pr.metrics)
# A good call of each function: its tensors by name, the number of axes of one item of each, and the other arguments.
OBJ, DATA, MASK = torch.rand(3, 4, 4), torch.rand(3, 8, 8), torch.ones(3, 8, 8, dtype=torch.bool)
PAIR = ({"estimate": OBJ, "obj": OBJ}, 2, {})
MEASURED = ({"estimate": OBJ, "intensity": DATA, "mask": MASK}, 2, {})
CALLS: dict[str, tuple[dict[str, Tensor], int, dict[str, Any]]] = {
    "operators.autocorrelation": ({"intensity": DATA}, 2, {"fourier_shape": (8, 8)}),
    "operators.coded_diffraction": ({"obj": OBJ, "masks": torch.ones(2, 4, 4)}, 2, {}),
    "operators.fourier_intensity": ({"obj": OBJ}, 2, {"fourier_shape": (8, 8)}),
    "operators.fourier_magnitude": ({"obj": OBJ}, 2, {"fourier_shape": (8, 8)}),
    "operators.fresnel": ({"obj": OBJ}, 2, {"fourier_shape": (8, 8), "fresnel_number": 0.1}),
    "operators.gaussian": ({"obj": OBJ, "matrix": torch.ones(5, 4, 4)}, 2, {}),
    "operators.ptychography": ({"obj": OBJ, "probe": torch.ones(2, 2), "positions": torch.zeros(3, 2)}, 2, {}),
    "operators.crop": ({"x": OBJ}, 2, {"object_shape": (3, 4)}),
    "operators.pad": ({"obj": OBJ}, 2, {"fourier_shape": (8, 8)}),
    "operators.validate": ({"intensity": DATA, "mask": MASK}, 2, {}),
    "symmetry.align": PAIR,
    "symmetry.canonicalize": ({"obj": OBJ}, 2, {}),
    "symmetry.conj_flip": ({"obj": OBJ}, 2, {}),
    "symmetry.global_phase": ({"obj": OBJ + 0j, "theta": torch.zeros(3)}, 0, {}),
    "symmetry.shift": ({"obj": OBJ, "shifts": torch.zeros(3, 2, dtype=torch.long)}, 2, {}),
    "symmetry.subpixel_shift": ({"obj": OBJ, "shifts": torch.zeros(3, 2)}, 2, {}),
    "symmetry.diagnose": ({"dataset": torch.rand(4, 4, 4)}, 1, {}),
    "noise.alpha_noise": ({"intensity": DATA}, 0, {"alpha": 1.0}),
    "noise.correlography_noise": ({"intensity": DATA}, 2, {"frames": 1}),
    "noise.gaussian_noise": ({"intensity": DATA}, 0, {"sigma": 1.0}),
    "noise.mask_pixels": ({"intensity": DATA, "mask": MASK}, 0, {}),
    "noise.poisson_noise": ({"intensity": DATA}, 2, {}),
    "noise.readout_noise": ({"intensity": DATA}, 0, {"sigma": 1.0}),
    "noise.saturation": ({"intensity": DATA}, 0, {"level": 1.0}),
    "losses.invariant_loss": PAIR,
    "losses.passive_loss": MEASURED,
    "losses.supervised_loss": PAIR,
    "metrics.frc": PAIR,
    "metrics.mse": PAIR,
    "metrics.nmse": PAIR,
    "metrics.poisson_log_likelihood": MEASURED,
    "metrics.prtf": ({"ensemble": torch.rand(3, 2, 4, 4), "intensity": DATA, "mask": MASK}, 2, {}),
    "metrics.psnr": PAIR,
    "metrics.r_factor": MEASURED,
    "metrics.relative_magnitude_error": MEASURED,
    "metrics.ssim": ({"estimate": OBJ, "obj": OBJ}, 2, {"win_size": 3}),
    "metrics.success_rate": PAIR,
}
# A permutation of pixels is for any dtype, and positions may be integers.
ANY_DTYPE = {
    ("operators.pad", "obj"),
    ("operators.crop", "x"),
    ("symmetry.shift", "obj"),
    ("symmetry.conj_flip", "obj"),
    ("operators.ptychography", "positions"),
}
# Functions whose arguments are not tensors; their own tests hold their errors.
OTHERS = {"coded_masks", "gaussian_matrix", "fast_fourier_shape", "min_fourier_shape"}
OTHERS |= {"beam_stop", "dead_pixels", "free_pixels", "resolution"}


def called(path: str) -> Callable[..., Any]:
    module, name = path.split(".")
    function: Callable[..., Any] = getattr(getattr(pr, module), name)
    return function


def refused(path: str, name: str, value: Any) -> Exception | None:
    """The exception that the call raises with one argument replaced."""
    tensors, _, options = CALLS[path]
    try:
        called(path)(**{**tensors, name: value}, **options)
    except Exception as error:  # any: which one it is, is what is tested
        return error
    return None


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
        for name, good in tensors.items():

            def add(kind: str, value: Any, error: type[Exception], path: str = path, name: str = name) -> None:
                found.append(Case(path, name, kind, value, error))

            takes_any = (path, name) in ANY_DTYPE
            add("type", "text", TypeError)
            if not takes_any and (good.is_floating_point() or good.dtype == torch.bool):
                add("dtype", good.to(torch.int64), TypeError)
            if name in ("intensity", "theta", "positions") or (name, path) == ("shifts", "symmetry.subpixel_shift"):
                add("dtype", good + 0j, TypeError)
            add("zero-size axis", good.narrow(-1, 0, 0), ValueError)
            add("empty batch", good.narrow(0, 0, 0), ValueError)
            if axes and name not in ("mask", "theta"):
                add("rank", good.flatten()[0], ValueError)
            if len(tensors) > 1:
                add("device", good.to("meta"), ValueError)
                paired = {"estimate", "obj"} <= set(tensors)
                if (paired or name not in ("estimate", "obj", "ensemble")) and name != "probe":
                    add("shape", good[..., :-1], ValueError)
                if paired or name in ("estimate", "intensity", "ensemble", "mask"):
                    add("batch", good[:2], ValueError)
    return found


@pytest.mark.parametrize("case", cases(), ids=lambda case: "-".join(case[:3]))
def test_one_clear_error(case: Case) -> None:
    error = refused(case.path, case.argument, case.value)
    assert type(error) is case.error, repr(error)
    name = case.path.partition(".")[2]
    assert re.fullmatch(rf"{name}: .+ must .+, got .+\. [A-Z].+[.?]", str(error), re.DOTALL), str(error)
    if case.kind != "shape":
        assert case.argument in str(error)


@pytest.mark.parametrize("path", CALLS)
def test_the_good_call_is_good(path: str) -> None:
    tensors, _, options = CALLS[path]
    called(path)(**tensors, **options)


def test_no_public_function_is_left_out() -> None:
    functions = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in MODULES
        for name in module.__all__
        if inspect.isfunction(getattr(module, name)) and name not in OTHERS
    }
    assert functions == set(CALLS)


# --- options ---------------------------------------------------------------------------------------------------------

# The modules whose every function and class refuses every argument that means nothing.
REFUSING = (pr.operators, pr.losses, pr.metrics)
# A good call of each callable that needs other arguments than those in CALLS, and what is a result and not called.
SHAPE = (8, 8)
OPTIONS: dict[str, dict[str, Any]] = {
    "operators.Autocorrelation": {"fourier_shape": SHAPE},
    "operators.CodedDiffraction": {"masks": torch.ones(2, 4, 4)},
    "operators.FourierIntensity": {"fourier_shape": SHAPE},
    "operators.FourierMagnitude": {"fourier_shape": SHAPE},
    "operators.Fresnel": {"fourier_shape": SHAPE, "distance": 1.0, "wavelength": 1.0, "pixel_size": 1.0},
    "operators.Gaussian": {"matrix": torch.ones(5, 4, 4)},
    "operators.Operator": {},
    "operators.Ptychography": {"probe": torch.ones(2, 2), "positions": torch.zeros(3, 2)},
    "operators.coded_masks": {"object_shape": SHAPE, "count": 2},
    "operators.fast_fourier_shape": {"object_shape": SHAPE},
    "operators.fresnel": {"obj": OBJ, "fourier_shape": SHAPE, "distance": 1.0, "wavelength": 1.0, "pixel_size": 1.0},
    "operators.gaussian_matrix": {"object_shape": SHAPE, "count": 2},
    "operators.min_fourier_shape": {"object_shape": SHAPE},
    "losses.InvariantLoss": {},
    "losses.PassiveLoss": {},
    "losses.SupervisedLoss": {},
    "metrics.free_pixels": {"fourier_shape": SHAPE},
    "metrics.resolution": {"curve": pr.metrics.frc(OBJ, OBJ)},
}
RESULTS = {"RingCurve"}
TORCH_WORDS = {"dtype", "device"}  # torch refuses a device itself, and a dtype is a choice


def good_call(path: str) -> dict[str, Any]:
    if path in OPTIONS:
        return OPTIONS[path]
    if path in CALLS:
        return {**CALLS[path][0], **CALLS[path][2]}
    return {}  # a metric's class


def option_cases() -> list[tuple[str, str]]:
    """Every argument of every public function and class of these modules, found by itself."""
    found = []
    for module in REFUSING:
        for name in module.__all__:
            if name not in RESULTS:
                path = f"{module.__name__.rpartition('.')[2]}.{name}"
                spelt = inspect.signature(called(path)).parameters.values()
                found += [(path, p.name) for p in spelt if p.kind is not p.VAR_KEYWORD and p.name not in TORCH_WORDS]
    return found


class Nonsense:
    """A value that no argument takes."""


@pytest.mark.parametrize(("path", "name"), option_cases(), ids="-".join)
@pytest.mark.parametrize("value", ["no", Nonsense()], ids=["word", "object"])
def test_an_argument_that_means_nothing_is_refused_by_name(path: str, name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        called(path)(**{**good_call(path), name: value})
    given = path.partition(".")[2]
    assert re.fullmatch(rf"{given}: .*\b{name}\b.* must .+, got .+\. [A-Z].+[.?]", str(caught.value), re.DOTALL)


@pytest.mark.parametrize("path", sorted({path for path, _ in option_cases()}))
def test_the_call_without_nonsense_is_good(path: str) -> None:
    called(path)(**good_call(path))


def test_every_error_says_how_to_fix_it() -> None:
    without = []
    for file in Path(pr.__file__).parent.rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        errors = [call for call in calls if ast.unparse(call.func) in ("fail", "_checks.fail")]
        without += [f"{file.name}:{call.lineno}" for call in errors if len(call.args) < 2]
    assert without == []
