"""What holds for every public call: any dtype, layout and device that torch has, and nothing seen behind a mask."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
import pickle
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import phaseret as pr
from good_calls import (
    BOX,
    CALLS,
    CHECKED,
    DATA,
    FOUND,
    FOURIER,
    FRAME,
    MASK,
    OBJ,
    OPTIONS,
    PUBLIC,
    STRAIN,
    SUPPORT,
    call,
    called,
    good,
    made,
    spelt,
)

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("good_files")]

OURS = [path for path in CALLS if path.partition(".")[0] not in ("io", "datasets", "plotting", "models")]
OBJECTS = {"obj", "estimate", "ensemble", "dataset", "init"}
# What only moves pixels keeps their dtype.
KEEPS_DTYPE = {"symmetry.RandomSymmetry()", "symmetry.Symmetry()", "symmetry.shift", "symmetry.Shift()"}
KEEPS_DTYPE |= {"symmetry.conj_flip", "symmetry.ConjFlip()", "operators.pad", "operators.crop"}


def parts(value: Any) -> Iterator[Tensor]:
    """The tensors in what a call gave."""
    if isinstance(value, Tensor):
        yield value.detach()
    elif isinstance(value, list | tuple):
        for one in value:
            yield from parts(one)
    elif isinstance(value, nn.Module):
        yield from value.buffers()
    elif hasattr(value, "__dict__"):
        for one in vars(value).values():
            if isinstance(one, Tensor | list | tuple) or dataclasses.is_dataclass(one):
                yield from parts(one)


def given(path: str, **changed: Tensor) -> list[Tensor]:
    """What a good call with some tensors changed gives, with the same random numbers each time."""
    tensors, _, others = CALLS[path]
    torch.manual_seed(0)
    function, metric = called(path), made(path[:-2]) if path.startswith("metrics.") and path.endswith("()") else None
    if metric is None:
        return list(parts(call(function, {**tensors, **others, **changed})))
    metric.reset()
    call(function, {**tensors, **others, **changed})
    return list(parts(metric.compute()))


def alike(found: list[Tensor], expected: list[Tensor], **how: Any) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, equal_nan=True, rtol=1e-3, atol=1e-3, **how)


def floats(path: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in CALLS[path][0].items() if tensor.is_floating_point()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("path", OURS)
def test_half_precision_is_computed_in_single(path: str, dtype: torch.dtype) -> None:
    half = {name: tensor.to(dtype) for name, tensor in floats(path).items()}
    single = {name: tensor.float() for name, tensor in half.items()}
    alike(given(path, **half), given(path, **single), check_dtype=path not in KEEPS_DTYPE)


@pytest.mark.parametrize("path", OURS)
def test_a_lazy_view_is_what_it_shows(path: str) -> None:
    lazy = {name: torch.complex(torch.zeros_like(x), -x).conj().imag for name, x in floats(path).items()}
    assert all(tensor.is_neg() for tensor in lazy.values())
    strided = {name: x.transpose(0, -1).contiguous().transpose(0, -1) for name, x in floats(path).items()}
    alike(given(path, **lazy), given(path))
    alike(given(path, **strided), given(path))
    complex_ = {name: torch.complex(x, x.flip(-1)) for name, x in floats(path).items() if name in OBJECTS}
    try:
        expected = given(path, **complex_)
    except TypeError:  # which says that the call is for real objects
        return
    alike(given(path, **{name: x.conj().resolve_conj().conj() for name, x in complex_.items()}), expected)


@pytest.mark.parametrize("path", OURS)
def test_autocast_changes_nothing(path: str) -> None:
    expected = given(path)
    with torch.autocast("cpu", torch.bfloat16):
        found = given(path)
    alike(found, expected)


DRAWS = ["metrics.free_pixels", "noise.dead_pixels", "operators.coded_masks", "operators.gaussian_matrix"]


@pytest.mark.parametrize("path", [*OURS, *DRAWS, "datasets.strained_crystal"])
def test_the_default_dtype_changes_nothing(path: str) -> None:
    def found() -> list[Tensor]:
        if path in CALLS:
            return given(path)
        torch.manual_seed(0)
        return list(parts(call(PUBLIC[path], OPTIONS[path])))

    expected = found()
    torch.set_default_dtype(torch.float64)
    try:
        alike(found(), expected)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("path", [path for path in CALLS if path != "models.Cascade()"])  # which draws
def test_inference_mode_changes_nothing(path: str) -> None:
    """As in a validation step of Lightning."""
    expected = given(path)
    with torch.inference_mode():
        alike(given(path), expected)
        copies = {name: tensor.clone() for name, tensor in CALLS[path][0].items()}
    with torch.no_grad():
        alike(given(path, **copies), expected)


@pytest.mark.parametrize("path", OURS)
def test_no_call_changes_its_arguments(path: str) -> None:
    before = {name: tensor.clone() for name, tensor in CALLS[path][0].items()}
    given(path)
    for name, tensor in before.items():
        assert torch.equal(CALLS[path][0][name], tensor)


@pytest.mark.parametrize("path", [path for path in OURS if CALLS[path][0]])
def test_vmap_works_or_is_answered(path: str) -> None:
    """What looks at values takes batches itself, and says so."""
    name, tensor = next(iter(CALLS[path][0].items()))

    def one(x: Tensor) -> Tensor:
        given(path, **{name: x})
        return torch.zeros(())

    try:
        torch.func.vmap(one, randomness="different")(tensor.expand(2, *tensor.shape))
    except ValueError as error:
        if f"{name} must not be under torch.func.vmap, got one that is. Pass the whole batch" not in str(error):
            raise


NUMBERS = [(path, p) for path in OURS for p in spelt(path) if type(p.default) in (int, float)]
NUMBERS += [(path, p) for path in OURS for p in spelt(path) if type(CALLS[path][2].get(p.name)) in (int, float)]


@pytest.mark.parametrize(("path", "argument"), NUMBERS, ids=lambda value: getattr(value, "name", value))
def test_a_number_of_any_kind_is_a_number(path: str, argument: inspect.Parameter) -> None:
    value = CALLS[path][2].get(argument.name, argument.default)
    expected = given(path, **{argument.name: value})
    kinds = [np.int64, np.uint16] if isinstance(value, int) else [Fraction, np.float64]
    for kind in kinds:
        alike(given(path, **{argument.name: kind(value)}), expected)


@pytest.mark.parametrize(
    "result", [FOUND, CHECKED, CHECKED.known, FRAME, STRAIN, pr.symmetry.align(OBJ, OBJ)], ids=type
)
def test_results_are_compared_by_identity(result: Any) -> None:
    another = copy.deepcopy(result)
    assert result == result
    assert result != another
    assert len({result, another}) == 2


# --- masks -----------------------------------------------------------------------------------------------------------

MASKED = [path for path in OURS if {"mask", "support"} & {*CALLS[path][0]} and path != "projections.ObjectConstraint"]


def behind_the_mask(path: str, value: float) -> dict[str, Tensor]:
    """The tensors of a call with a mask, what lies behind it filled with one value."""
    tensors = CALLS[path][0]
    (name,) = {"mask", "support"} & {*tensors}
    mask = tensors[name].clone()
    mask[..., 1, 2] = mask[..., 3, 3] = False
    data = "intensity" if "intensity" in tensors else "magnitude" if "magnitude" in tensors else "obj"
    return {name: mask, data: tensors[data].masked_fill(~mask, value)}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30, -1e30])
@pytest.mark.parametrize("path", MASKED)
def test_what_stands_behind_a_mask_does_not_matter(path: str, value: float) -> None:
    alike(given(path, **behind_the_mask(path, value)), given(path, **behind_the_mask(path, 0.0)))


@pytest.mark.parametrize("options", [{}, {"normalize": True}, {"domain": "intensity"}, {"domain": "poisson"}])
def test_a_background_behind_the_mask_does_not_matter(options: dict[str, Any]) -> None:
    mask = torch.rand(3, 8, 8) > 0.3
    tensors = CALLS["losses.passive_loss"][0] | {"mask": mask}
    for value in (math.nan, math.inf, 1.0):
        background = torch.ones(3, 8, 8).masked_fill(~mask, value)
        estimate = tensors["estimate"].clone().requires_grad_()
        loss = pr.losses.passive_loss(**tensors | {"estimate": estimate}, background=background, **options)
        expected = pr.losses.passive_loss(**tensors, background=1.0, **options)
        torch.testing.assert_close(loss.detach(), expected)
        assert torch.autograd.grad(loss, estimate)[0].isfinite().all()
        refined = pr.solvers.maximum_likelihood(**tensors, operator=FOURIER, background=background / 10, n_iter=2)
        assert refined.obj.isfinite().all()


@pytest.mark.parametrize("domain", ["magnitude", "intensity"])
def test_a_criterion_of_a_user_sees_nothing_behind_the_mask(domain: Any) -> None:
    def decades(a: Tensor, b: Tensor) -> Tensor:
        return (a.log() - b.log()).square()

    mask = torch.rand(3, 8, 8) > 0.3
    tensors = CALLS["losses.passive_loss"][0] | {"mask": mask}
    estimate = (tensors["estimate"] + torch.rand(3, 4, 4)).requires_grad_()
    hidden = tensors["intensity"].masked_fill(~mask, math.nan)
    options = {"estimate": estimate, "domain": domain, "criterion": decades}
    found = pr.losses.passive_loss(**tensors | options | {"intensity": hidden})
    torch.testing.assert_close(found, pr.losses.passive_loss(**tensors | options))
    assert torch.autograd.grad(found, estimate)[0].isfinite().all()


def gradients(path: str, **changed: Tensor) -> list[Tensor]:
    """Those of all real floating arguments that have one."""
    tensors, _, others = CALLS[path]
    leaves = {name: {**tensors, **changed}[name].clone().requires_grad_() for name in floats(path)}
    torch.manual_seed(0)
    found = call(called(path), {**tensors, **others, **changed, **leaves})
    outputs = [x for x in ([found] if isinstance(found, Tensor) else vars(found).values()) if isinstance(x, Tensor)]
    outputs = [torch.view_as_real(x.resolve_conj()) if x.is_complex() else x for x in outputs]
    total = sum(x.nan_to_num().abs().sum() for x in outputs if x.requires_grad)
    if not isinstance(total, Tensor):
        return []
    with torch.autograd.set_detect_anomaly(True):  # which stops at a nan on the way, whatever becomes of it
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return [g for g in found if g is not None]


DIFFERENTIABLE = ("operators", "symmetry", "noise", "losses", "metrics", "projections")
STEPS = [
    path for path in OURS if path.startswith(DIFFERENTIABLE) and path not in ("symmetry.certify", "symmetry.diagnose")
]
STEPS = [path for path in STEPS if not (path.startswith("metrics.") and path.endswith("()"))]
STEPS = [
    path for path in STEPS if path not in ("symmetry.Symmetry", "operators.validate", "projections.ObjectConstraint")
]


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e30])
@pytest.mark.parametrize("path", [path for path in MASKED if path in STEPS and "Constraint" not in path])
def test_no_gradient_comes_from_behind_a_mask(path: str, value: float) -> None:
    found = gradients(path, **behind_the_mask(path, value))
    alike(found, gradients(path, **behind_the_mask(path, 0.0)))
    assert all(gradient.isfinite().all() for gradient in found)


@pytest.mark.parametrize("path", [path for path in STEPS if "Constraint" not in path])
def test_zeros_have_finite_gradients(path: str) -> None:
    for name in floats(path):
        for gradient in gradients(path, **{name: torch.zeros_like(CALLS[path][0][name])}):
            assert gradient.isfinite().all(), name


DRAWN: dict[str, Callable[[int], Tensor]] = {
    "HIO": lambda seed: pr.solvers.HIO(2)(DATA[0], support=SUPPORT, constraint="nonnegative", seed=seed).objs,
    "wirtinger_flow": lambda seed: (
        pr.solvers.wirtinger_flow(DATA[0], FOURIER, object_shape=BOX, n_iter=1, seed=seed).obj
    ),
    "SymmetryVariant": lambda seed: pr.datasets.SymmetryVariant(torch.ones(50, 4, 4), seed=seed).shifts,
    "DeepImagePrior": lambda seed: next(pr.models.DeepImagePrior(BOX, channels=(4, 4), seed=seed).buffers()),
}


@pytest.mark.parametrize("name", list(DRAWN))
def test_all_of_a_seed_counts(name: str) -> None:
    """Torch's generators look at 32 bits of it."""
    drawn = [DRAWN[name](seed) for seed in (0, 1, 2**32, 2**32 + 1, 2**33, 2**62, 2**63 - 1)]
    assert torch.equal(drawn[2], DRAWN[name](2**32))
    assert not any(torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])


# --- Modules ---------------------------------------------------------------------------------------------------------

MADE = [path for path in OURS if path.endswith("()") and isinstance(made(path[:-2]), nn.Module)]


@pytest.mark.parametrize("path", MADE)
def test_a_copy_does_what_its_original_does(path: str) -> None:
    module = made(path[:-2])
    if hasattr(module, "reset"):
        module.reset()
    expected, tensors, others = given(path), *CALLS[path][::2]
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.manual_seed(0)
        if hasattr(other, "reset"):
            other.reset()
            other.update(**tensors, **others)
            found = other.compute()
        else:
            found = call(other, {**tensors, **others})
        alike(list(parts(found)), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("path", [path for path in MADE if not path.startswith("metrics.")])
def test_a_module_cast_to_half_precision_computes_as_before(path: str, dtype: torch.dtype) -> None:
    expected, tensors, others = given(path), *CALLS[path][::2]
    cast = copy.deepcopy(made(path[:-2])).to(dtype)
    torch.manual_seed(0)
    alike(list(parts(call(cast, {**tensors, **others}))), expected)


def test_options_of_modules_keep_what_half_precision_would_lose() -> None:
    module = pr.symmetry.SubpixelShift((1001.25, 0.0)).half()
    assert module.shifts.tolist() == [1001.25, 0.0]
    assert pr.symmetry.GlobalPhase(torch.tensor([1.2345678])).half().theta.item() == pytest.approx(1.2345678)
    assert pr.losses.PassiveLoss(background=torch.tensor([70000.0])).half().background.isfinite().all()
    assert pr.losses.PassiveLoss(background=torch.tensor([0.1])).double().background.dtype == torch.float64
    assert pr.symmetry.Shift(torch.tensor([70001])).type(torch.float16).shifts.tolist() == [70001]
    assert pr.noise.MaskPixels(MASK).type(torch.float32).mask.dtype == torch.bool


def test_a_state_of_another_kind_is_loaded_whole() -> None:
    probe = torch.rand(4, 4)
    whole = pr.operators.Ptychography(probe, torch.tensor([[0, 0], [3, 3]]))
    fractional = pr.operators.Ptychography(probe + 1j * probe.T, torch.tensor([[0.0, 0.5], [5.5, 3.0]]))
    whole.load_state_dict(fractional.state_dict())
    obj = torch.rand(10, 10)
    assert torch.equal(whole(obj), fractional(obj))
    assert whole.least_shape == fractional.least_shape
    with pytest.raises(ValueError, match=r"at least the shape \(10, 7\)"):
        whole(torch.rand(8, 7))
    state = fractional.state_dict() | {"positions": torch.tensor([[0.0, -3.0], [1.0, 1.0]])}
    with pytest.raises(ValueError, match="positions must be at least 0"):
        whole.load_state_dict(state)


# --- transformations of torch ----------------------------------------------------------------------------------------

BY_ITEM = [path for path in OURS if path.startswith(DIFFERENTIABLE) and path in STEPS and not path.endswith("()")]
BY_ITEM = [path for path in BY_ITEM if not path.startswith("noise.") or "mask" in path or "saturation" in path]


@pytest.mark.parametrize("path", [path for path in BY_ITEM if "Constraint" not in path])
def test_vmap_gives_what_a_batch_gives(path: str) -> None:
    tensors, _, others = CALLS[path]
    batch = {name: x for name, x in tensors.items() if x.shape[:1] == (3,) and name != "positions"}
    rest = {name: x for name, x in tensors.items() if name not in batch}
    if path.startswith(("losses.", "metrics.")) and path not in ("metrics.frc", "metrics.prtf"):
        others = others | {"reduction": "none"}

    def one(*items: Tensor) -> tuple[Tensor, ...]:
        return tuple(parts(call(called(path), {**dict(zip(batch, items, strict=True)), **rest, **others})))

    expected = list(parts(call(called(path), {**tensors, **others})))
    found = list(torch.func.vmap(one)(*batch.values()))
    alike(found, [b.expand(a.shape) for a, b in zip(found, expected, strict=True)])


@pytest.mark.parametrize("path", [path for path in STEPS if not path.startswith("symmetry.Symmetry")])
def test_shapes_are_known_without_values(path: str) -> None:
    tensors, _, others = CALLS[path]
    function = called(path)
    if path.endswith("()"):
        function = copy.deepcopy(function).to("meta")
    found = list(parts(call(function, {**{name: x.to("meta") for name, x in tensors.items()}, **others})))
    assert [x.shape for x in found] == [x.shape for x in given(path)]
    assert all(x.is_meta for x in found)


# (A class for torchmetrics that lies on another device than its data is answered by torchmetrics.)
@pytest.mark.parametrize("path", [path for path in CALLS if CALLS[path][0] and not path.startswith("metrics.")])
def test_what_looks_at_values_says_so_where_there_are_none(path: str) -> None:
    tensors, _, others = CALLS[path]
    function = called(path)
    if isinstance(function, nn.Module):
        function = copy.deepcopy(function).to("meta")
    try:
        call(function, {**{name: x.to("meta") for name, x in tensors.items()}, **others})
    except ValueError as error:
        if not re.search(r"must hold values, got one on the device 'meta'|must lie on one device", str(error)):
            raise


TRACED = [
    "operators.fresnel",
    "operators.gaussian",
    "symmetry.global_phase",
    "noise.mask_pixels",
    "losses.InvariantLoss()",
]


@pytest.mark.parametrize("path", [*TRACED, "symmetry.Symmetry()", "metrics.psnr", "projections.project_object"])
def test_torch_traces_a_call_whole(path: str) -> None:
    tensors, _, others = CALLS[path]
    torch._dynamo.reset()
    traced = torch.compile(called(path), backend="eager", fullgraph=True)
    alike(list(parts(call(traced, {**tensors, **others}))), given(path))


MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "conj_flip": pr.symmetry.conj_flip,
    "shift": lambda obj: pr.symmetry.shift(obj, (1, 3), fourier_shape=(8, 10)),
    "shifts": lambda obj: pr.symmetry.shift(obj, torch.tensor([1, 3])),
}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int64])
def test_whole_numbers_of_any_size_are_pixels(dtype: torch.dtype) -> None:
    obj, places = torch.rand(6, 300), torch.tensor([[0, 0], [2, 120], [1, 7]])
    narrow, probe = places.to(dtype), torch.rand(3, 4)
    assert torch.equal(pr.operators.ptychography(obj, probe, narrow), pr.operators.ptychography(obj, probe, places))
    batch = obj.expand(3, 6, 300)
    assert torch.equal(pr.symmetry.shift(batch, narrow), pr.symmetry.shift(batch, places))
    module = pr.symmetry.Shift(narrow)
    assert torch.equal(module.inverse()(module(batch)), batch)
    still = torch.zeros(3, dtype=torch.bool), torch.zeros(3), (6, 300), (12, 600)
    element = pr.symmetry.Symmetry(narrow, *still)
    assert torch.equal(element.inverse()(element(batch))[:, :6, :300], batch)


FLOAT8 = [torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, *FLOAT8])
@pytest.mark.parametrize("move", MOVES)
def test_copies_of_any_dtype_are_exact(move: str, dtype: torch.dtype) -> None:
    obj = torch.randint(0, 7, (3, 4, 5)).to(dtype)
    moved = MOVES[move](obj)
    assert moved.dtype == dtype
    assert torch.equal(moved.double(), MOVES[move](obj.double()))


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize("move", MOVES)
def test_copies_of_complex_halves_are_exact(move: str) -> None:
    obj = torch.polar(torch.rand(3, 4, 5), torch.rand(3, 4, 5)).to(torch.complex32)
    assert torch.equal(MOVES[move](obj).to(torch.complex64), MOVES[move](obj.to(torch.complex64)))


@pytest.mark.parametrize("path", [path for path in CALLS if floats(path)])
def test_numbers_of_eight_bits_are_refused(path: str) -> None:
    moves = KEEPS_DTYPE - {"symmetry.RandomSymmetry()", "symmetry.Symmetry()"}
    for name, tensor in floats(path).items():
        if path in moves and name in ("obj", "x"):
            continue
        with pytest.raises(TypeError, match=rf": {name} must be .*got torch.float8"):
            given(path, **{name: tensor.to(torch.float8_e4m3fn)})


# --- words -----------------------------------------------------------------------------------------------------------

CLASSES = [
    ("losses.PassiveLoss", {"domian": "magnitude"}, "'domian'. Did you mean 'domain'?"),
    ("operators.FourierIntensity", {"fourier_shap": (8, 8)}, "'fourier_shap'. Did you mean 'fourier_shape'?"),
    ("solvers.HIO", {"iterations": 5}, "'iterations'. Did you mean 'n_iter'?"),
    ("solvers.DifferenceMap", {"betta": 5}, "'betta'. Did you mean 'beta'?"),
    ("noise.Saturation", {"top": 5}, "'top'. The options are level."),
    ("metrics.RFactor", {"maks": None}, "'maks'. Did you mean 'mask'?"),
    ("operators.FourierMagnitude", {"padding": 2}, "'padding'. The options are " + ", ".join(FOURIER.options) + "."),
    ("models.UNet", {"chanels": (4, 4)}, "'chanels'. Did you mean 'channels'?"),
    ("models.IterativeRefinement", {"network": []}, "'network'. Did you mean 'networks'?"),
    ("models.Unrolled", {"iterations": 2}, "'iterations'. Did you mean 'n_iter'?"),
    ("noise.ReadoutNoise", {"step": 2}, "'step'. Did you mean 'resolution'?"),
]


@pytest.mark.parametrize(("path", "options", "answer"), CLASSES, ids=[path for path, *_ in CLASSES])
def test_the_name_of_an_option_that_does_not_exist_is_answered(path: str, options: dict[str, Any], answer: str) -> None:
    module, name = path.split(".")
    with pytest.raises(TypeError) as raised:
        call(getattr(getattr(pr, module), name), {**OPTIONS.get(path, {}), **options})
    assert str(raised.value) == f"{name}: the name of an option must be a known one, got {answer}"


@pytest.mark.parametrize(
    ("module", "name", "instead"),
    [
        ("metrics", "fsc", "frc(..., ndim=3), the Fourier shell correlation"),
        ("models", "correlography_noise", "phaseret.noise.correlography_noise"),
        ("solvers", "hio", "HIO(n_iter)(intensity, ...)"),
        ("solvers", "WirtingerFlow", "wirtinger_flow(intensity, operator)"),
    ],
)
def test_a_name_of_another_version_is_answered_with_ours(module: str, name: str, instead: str) -> None:
    with pytest.raises(AttributeError) as raised:
        getattr(getattr(pr, module), name)
    assert str(raised.value) == f"{name}: the name must be one of phaseret.{module}, got {name!r}. Use {instead}."
    with pytest.raises(AttributeError, match=f"module 'phaseret.{module}' has no attribute 'nothing'"):
        getattr(getattr(pr, module), "nothing")  # noqa: B009


def test_options_without_their_names_are_answered_by_the_class_that_was_called() -> None:
    with pytest.raises(TypeError) as raised:
        pr.solvers.HIO(5, 0.9)  # type: ignore[call-arg]
    assert str(raised.value) == (
        "HIO: at most 1 options must be given without a name, got 2. Name them: n_iter=, beta=."
    )


# --- defaults --------------------------------------------------------------------------------------------------------

# What an option is that is left out, wherever there is one of this name; None of any other name.
DEFAULTS: dict[str, Any] = {
    "align": True, "alpha": 0.4, "beta": 0.9, "centered": False, "check_every": 10, "checkpoint_every": 1000,
    "clip": True, "closest": 0.5, "compile": False, "constraint": "complex", "counts": False, "criterion": "mse",
    "data_range": 1.0, "decay": 0.9, "delta": 1.2, "domain": "magnitude", "dtype": torch.float32, "exclude": 0.05,
    "far": 0.8, "flip": True, "fraction": 0.05, "gamma": 0.7, "kind": "octanary", "least": 1e-3, "least_sigma": 1.0,
    "method": "rms", "most": 0.25, "mu": 0.2, "n_iter": 1000, "ndim": 2, "norm": "ortho", "normalize": False,
    "onesided": False, "oversampling": 2.0, "paraxial": True, "progress": False, "radius": 3, "real": False,
    "reduction": "mean", "scale": False, "seed": 0, "shift": True, "sigma": 3.0, "smallest": 1 / 16, "stages": 10,
    "threshold": 0.15, "times": 1, "truncation": 3.0, "undersampled": False, "upsample": 1, "value": 0.0,
    "win_size": 11,
}  # fmt: skip
EXCEPT: dict[str, dict[str, Any]] = {
    "crystals.strain": {"threshold": 0.3},
    "datasets.strained_crystal": {
        "object_shape": (31, 31, 31),
        "kind": "polyhedron",
        "modulus": "flat",
        "span": 2 * torch.pi,
    },
    "interop.to_deepinv": {"real": True},
    "metrics.SuccessRate": {"threshold": 0.05},
    "metrics.resolution": {"criterion": "half-bit"},
    "metrics.success_rate": {"threshold": 0.05},
    "noise.GaussianNoise": {"domain": "intensity"},
    "noise.correlography_noise": {"background": 0.0},
    "noise.gaussian_noise": {"domain": "intensity"},
    "operators.gaussian_matrix": {"dtype": torch.complex64},
    "solvers.ADMM": {"beta": 1.0},
    "symmetry.certify": {"distance": True, "rivals": 16},
    "solvers.PoissonRefinement": {"n_iter": 20},
    "solvers.RRR": {"beta": 0.5},
    "solvers.SparseRRR": {"beta": 0.7, "n_iter": 1400},
    "solvers.Breed": {"best": "error", "rule": "sqrt", "keep": 1.0},
    "solvers.RAAR": {"beta": 0.97},
    "solvers.Shrinkwrap": {"least": 0.05, "most": 1.0},
    "solvers.Enough": {"misfit": None},
    "solvers.Hull": {"width": 0.66, "room": 1.0},
    "solvers.Level": {"bound": 1.1, "flat": False},
    "solvers.autocorrelation_support": {"form": "box", "threshold": None, "width": 0.66},
    "solvers.maximum_likelihood": {"background": 0.1, "n_iter": 50},
    "solvers.spectral_initialization": {"n_iter": 100},
    "solvers.truncated_amplitude_flow": {"mu": 0.6},
}


@pytest.mark.parametrize("path", [path for path in PUBLIC if path.split(".")[0] in {o.split(".")[0] for o in OURS}])
def test_an_option_has_the_same_default_everywhere_and_may_be_given(path: str) -> None:
    defaults = {p.name: p.default for p in spelt(path) if p.default is not p.empty}
    table = {name: DEFAULTS.get(name) for name in defaults} | EXCEPT.get(path, {})
    assert defaults == table
    assert {name: type(value) for name, value in defaults.items()} == {name: type(table[name]) for name in table}
    call(PUBLIC[path], {**table, **good(path)})
