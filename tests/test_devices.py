"""Everything runs where its tensors lie: on a fake GPU, with the numbers of the CPU and without waiting for it."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torchmetrics import Metric

import phaseret as pr
from fake_gpu import FakeGPU, fake_gpu
from good_calls import ALGORITHMS, CALLS, PUBLIC, call, called, good, made, spelt

if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 8):
    pytest.skip("the fake GPU uses private names of torch and was tried with 2.8 to 2.13", allow_module_level=True)

# most runs here are too short to solve anything
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*reconstructions (are not unique|were found by few)"),
    pytest.mark.usefixtures("good_files"),
]

# --- every public function and Module ---------------------------------------------------------------------------------

# Calls that make the CPU wait for the GPU: how often at most, and what for.
CHECKS = "patterns and support are looked at once before the iterations, and the starts are compared after them"
ON_CPU = "drawn on the CPU, so that a seed gives the same everywhere"
STEPS = "each item is solved alone, and each of its steps is taken or not: how many there are is a matter of rounding"
FINITE = "starts that are given, and a descent that ends, are looked at once"
RINGS = "the numbers of the rings are computed on the CPU"
FILES = "what is written or drawn goes to the CPU"
WAITS: dict[str, tuple[int, str]] = {
    **{f"solvers.{name}()": (19, CHECKS) for name in ALGORITHMS},
    "solvers.SparseRRR()": (20, f"{CHECKS}; its exponents are uploaded"),
    **dict.fromkeys(("solvers.algebraic", "solvers.Algebraic()", "solvers.LevenbergMarquardt()"), (2000, STEPS)),
    "solvers.reconstruct": (19, CHECKS),
    "models.IterativeRefinement()": (18, CHECKS),
    "solvers.spectral_initialization": (2, f"{ON_CPU}; {CHECKS}"),
    **{
        f"solvers.{name}": (4, f"{ON_CPU}; {CHECKS}; {FINITE}")
        for name in ("truncated_amplitude_flow", "wirtinger_flow")
    },
    "solvers.maximum_likelihood": (3, f"{CHECKS}; {FINITE}"),
    "solvers.autocorrelation_support": (
        2,
        "values that are not finite are refused, and items differ in how much they miss",
    ),
    "solvers.reduce_pattern": (4, "patterns and mask are looked at, hot pixels too, the offset is uploaded"),
    "datasets.SymmetryVariant": (2, ON_CPU),
    "operators.coded_masks": (1, ON_CPU),
    "operators.gaussian_matrix": (1, ON_CPU),
    "metrics.frc": (2, RINGS),
    "metrics.prtf": (2, RINGS),
    "noise.beam_stop": (1, RINGS),
    "operators.fresnel": (1, "the transfer function is computed on the CPU, in double precision; the Module keeps it"),
    "operators.ptychography": (1, "positions must lie within the object; the Module looks when it is made"),
    "operators.Ptychography": (1, "positions must lie within the object"),
    "operators.validate": (5, "it looks at values: that is what it is for"),
    "symmetry.certify": (200, "each step of the proof looks at what is left to prove"),
    "symmetry.diagnose": (12, "it looks at values, and tells shares"),
    "symmetry.Symmetry()": (1, "the phase of a real object must be 0 or pi"),
    "noise.mask_pixels": (1, "a mask must leave pixels"),
    "noise.MaskPixels": (1, "a mask must leave pixels"),
    "crystals.geometry_from_q": (3, ON_CPU),
    "crystals.strain": (9, f"{ON_CPU}: scikit-image unwraps there, and scipy finds what hangs together"),
    "io.as_measurement": (9, "it looks at values, tells shares, and asks what seems wrong"),
    "io.inspect": (1, FILES),
    "io.save_intensity": (1, FILES),
    "io.save_reconstruction": (14, FILES),
    "models.save": (46, f"{FILES}; the network is built again without values"),
    "plotting.plot_ambiguity": (8, FILES),
    "plotting.plot_comparison": (7, FILES),
    "plotting.plot_pattern": (1, FILES),
    "plotting.plot_reconstruction": (6, FILES),
    "plotting.plot_strain_field": (5, FILES),
}
# Calls that compute in double precision where the device has it, and why.
ALIGNS = "copies that are equally near are told from rounding"
EXACT = "the least singular values lie far below single precision"
DOUBLES: dict[str, str] = {
    **dict.fromkeys(("solvers.algebraic", "solvers.Algebraic()", "solvers.LevenbergMarquardt()"), EXACT),
    "symmetry.align": ALIGNS,
    "symmetry.certify": "integers below 2^53 are exact in it; without it the CPU proves",
    "symmetry.diagnose": ALIGNS,
    **{
        f"metrics.{name}": ALIGNS
        for name in ("frc", "iou", "mse", "nmse", "phase_error", "prtf", "psnr", "ssim", "success_rate")
    },
    **{f"metrics.{name}()": ALIGNS for name in ("IoU", "MSE", "NMSE", "PSNR", "PhaseError", "SSIM", "SuccessRate")},
    "plotting.plot_comparison": ALIGNS,
    "symmetry.SubpixelShift()": "shifts many times around the grid keep their digits",
    "operators.fresnel": "the transfer function comes from the CPU in double precision",
}
NEED_DOUBLES = {path for path, reason in DOUBLES.items() if reason == EXACT}  # and say so
HOLDS_DOUBLES = {"operators.Fresnel()", "symmetry.SubpixelShift()"}  # Modules, before they are moved
NO_GRADIENT = {
    "solvers.SparseRRR()",
    "solvers.LevenbergMarquardt()",
    "solvers.Algebraic()",
    "solvers.algebraic",
    "solvers.PoissonRefinement()",
}


class Outcome(NamedTuple):
    values: list[Tensor]
    gradients: list[Tensor | None]
    gpu: FakeGPU | None


def moved(value: Any, device: str) -> Any:
    """A copy of an argument with all its tensors on the device; floating ones require a gradient if it did."""
    if isinstance(value, Tensor):
        return value.detach().clone().to(device).requires_grad_(value.requires_grad)
    if isinstance(value, nn.Module):
        return copy.deepcopy(value).to(device)
    if isinstance(value, partial):
        return partial(moved(value.func, device), **moved(value.keywords, device))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value) if f.init]
        return dataclasses.replace(value, **{name: moved(getattr(value, name), device) for name in names})
    if isinstance(value, dict):
        return {name: moved(one, device) for name, one in value.items()}
    return [moved(one, device) for one in value] if isinstance(value, list) else value


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors of an argument or a result."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, nn.Module):
        yield from value.state_dict().values()
    elif isinstance(value, partial):
        yield from tensors_in(value.func)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from tensors_in([getattr(value, f.name) for f in dataclasses.fields(value)])
    elif isinstance(value, (dict, list, tuple)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(one)


def rounded(value: Tensor, seed: int) -> Tensor:
    """The values as another processor might round them: each is off by up to one unit in its last place."""
    if not (value.is_floating_point() or value.is_complex()):
        return value
    dtype = value.real.dtype if value.is_complex() else value.dtype
    off = 2 * torch.rand(value.shape, generator=torch.Generator().manual_seed(seed), dtype=dtype, device="cpu") - 1
    return value.detach() * (1 + torch.finfo(dtype).eps * off)


def outcome(path: str, device: str, gpu: FakeGPU | None = None, rounding: int | None = None) -> Outcome:
    """What the good call of a function, a class or a Module gives on a device, and its gradients."""
    owner = made(path[:-2]) if path.endswith("()") else None
    torch.manual_seed(0)
    given = good(path)
    for name in CALLS.get(path, ({},))[0]:
        if rounding is not None:
            given[name] = rounded(given[name], rounding)
        if path not in NO_GRADIENT and (given[name].is_floating_point() or given[name].is_complex()):
            given[name] = given[name].detach().requires_grad_()
    given, owner = moved(given, device), moved(owner, device)
    if any(p.name == "device" for p in spelt(path)):
        given["device"] = device
    if gpu is not None:
        gpu.waits.clear()
        gpu.doubles.clear()
    function = called(path) if owner is None else getattr(owner, "update", owner)
    result = call(function, given)
    values = list(tensors_in(owner.compute() if isinstance(owner, Metric) else result))
    learned = owner.parameters() if isinstance(owner, nn.Module) else ()
    inputs = [x for x in (*given.values(), *learned) if isinstance(x, Tensor) and x.requires_grad]
    outputs = [x for x in values if x.requires_grad and x.grad_fn is not None]
    gradients: list[Tensor | None] = []
    if inputs and outputs:
        parts = [torch.view_as_real(x) if x.is_complex() else x for x in outputs]
        directions = [torch.rand(x.shape).to(device) for x in parts]
        gradients = list(torch.autograd.grad(parts, inputs, directions, allow_unused=True))
    return Outcome(values, gradients, gpu)


def takes_a_device(path: str) -> bool:
    """Whether a call is given tensors, a Module or a device."""
    given = [good(path), made(path[:-2]) if path.endswith("()") else None]
    return any(True for _ in tensors_in(given)) or any(p.name == "device" for p in spelt(path))


def off_by(found: Outcome, expected: Outcome) -> Iterator[float]:
    """How much each tensor of two outcomes differs at most, as a share of the number plus the largest one beside it."""
    assert len(found.values) == len(expected.values)
    assert [g is None for g in found.gradients] == [g is None for g in expected.gradients]
    for a, b in zip([*found.values, *found.gradients], [*expected.values, *expected.gradients], strict=True):
        if a is not None and b is not None and b.numel():
            a, b = a.detach().cpu(), b.detach()
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            same = (a == b) | (a.isnan() & b.isnan())
            a, b = (x if x.is_floating_point() or x.is_complex() else x.double() for x in (a, b))
            share = (a - b).abs() / (b.abs() + b.abs().amax())
            yield share.where(~same, 0.0).nan_to_num(torch.inf).amax().item()


def assert_same(path: str, found: Outcome, expected: Outcome, tolerance: float) -> None:
    """Two outcomes have the same numbers, as far as rounding leaves them."""
    off = list(off_by(found, expected))
    if max(off, default=0.0) > tolerance:
        # where a phase is steep, another rounding of the input moves a gradient by more: no device can do better
        again = [list(off_by(outcome(path, "cpu", rounding=seed), expected)) for seed in range(8)]
        allowed = [tolerance + 10 * max(each) for each in zip(*again, strict=True)]
        assert all(x <= most for x, most in zip(off, allowed, strict=True)), f"off by {off}, {allowed} at most"


def run(path: str, kind: str) -> tuple[Outcome, Outcome]:
    """The outcome on a fake GPU and that on the CPU."""
    if path.startswith("interop.") and path.partition(".")[2] in ("to_deepinv", "loss_to_deepinv", "metric_to_deepinv"):
        pytest.importorskip("deepinv")
    expected = outcome(path, "cpu")
    with fake_gpu(kind) as gpu:
        found = outcome(path, kind, gpu)
        assert {x.device.type for x in found.values} <= {kind}
        moves = [None if x is None else x.cpu() for x in found.gradients]
        return found._replace(values=[x.cpu() for x in found.values], gradients=moves), expected


@pytest.mark.parametrize("path", sorted(path for path in {*PUBLIC, *CALLS} if takes_a_device(path)))
def test_a_call_gives_on_a_gpu_what_it_gives_on_the_cpu(path: str) -> None:
    found, expected = run(path, "cuda")
    assert_same(path, found, expected, 1e-4)
    gpu = found.gpu
    assert gpu is not None
    most, _reason = WAITS.get(path, (0, ""))
    assert sum(gpu.waits.values()) <= most, gpu.waits
    assert bool(gpu.doubles) == (path in DOUBLES), gpu.doubles


@pytest.mark.parametrize("path", sorted({*DOUBLES, *HOLDS_DOUBLES} - NEED_DOUBLES))
def test_a_call_that_uses_double_precision_does_without_where_there_is_none(path: str) -> None:
    found, expected = run(path, "mps")
    assert_same(path, found, expected, 1e-3)


# --- what the good calls do not reach ---------------------------------------------------------------------------------

SIZES = (20, 18)
OPERATOR = pr.operators.FourierIntensity(SIZES)
HALF = pr.operators.FourierIntensity(SIZES, onesided=True)


@pytest.fixture
def given() -> dict[str, Tensor]:
    obj = torch.rand(3, 9, 8)
    return {
        "obj": obj,
        "estimate": torch.rand(3, 9, 8, requires_grad=True),
        "wave": torch.randn(3, 9, 8, dtype=torch.complex64, requires_grad=True),
        "intensity": OPERATOR(obj),
        "support": torch.ones(9, 8, dtype=torch.bool),
    }


def reconstruct(
    schedule: str, intensity: Tensor, support: Tensor, constraint: str = "nonnegative", starts: int = 3
) -> Tensor:
    options = {"support": support, "constraint": constraint, "starts": starts}
    return pr.solvers.reconstruct(intensity, schedule=schedule, **options).objs


LOSSES: dict[str, Callable[..., Tensor]] = {
    "counts": lambda estimate, intensity, **_: pr.losses.passive_loss(estimate, intensity, domain="poisson"),
    "of waves": lambda wave, intensity, **_: pr.losses.passive_loss(wave, intensity),
    "onesided": lambda obj, estimate, **_: pr.losses.passive_loss(estimate, HALF(obj), HALF, normalize=True),
    "invariant": lambda obj, wave, **_: pr.losses.invariant_loss(wave, obj + 0j, temperature=0.1),
}
RUNS: dict[str, Callable[..., Tensor]] = {
    "recipe": lambda intensity, support, **_: reconstruct("hio:9,shrinkwrap,raar:5,er:5", intensity, support),
    "of waves": lambda intensity, support, **_: reconstruct("rrr:9", intensity, support, "complex"),
}


def on_gpu(function: Callable[..., Tensor], given: dict[str, Tensor]) -> tuple[FakeGPU, Tensor]:
    """What a function counts and gives with all its tensors on the GPU."""
    with fake_gpu() as gpu:
        given = moved(given, "cuda")
        gpu.waits.clear()
        result = function(**given)
        assert result.is_cuda
        return gpu, result.cpu()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_gradients_are_those_of_the_cpu_and_do_not_wait(name: str, given: dict[str, Tensor]) -> None:
    def gradient(**tensors: Tensor) -> Tensor:
        loss = LOSSES[name](**tensors)
        (slope,) = (
            x for x in torch.autograd.grad(loss, list(tensors.values())[1:3], allow_unused=True) if x is not None
        )
        return torch.cat([loss.detach()[None], torch.view_as_real(slope + 0j).flatten()])

    gpu, found = on_gpu(gradient, given)
    torch.testing.assert_close(found, gradient(**given), rtol=1e-4, atol=1e-6)
    assert not gpu.waits
    assert not gpu.doubles


@pytest.mark.parametrize("name", RUNS)
def test_reconstructions_are_those_of_the_cpu(name: str, given: dict[str, Tensor]) -> None:
    torch.testing.assert_close(on_gpu(RUNS[name], given)[1], RUNS[name](**given), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("schedule", ["hio:{}", "raar:{}", "rrr:{}", "dm:{}", "sparse:{}"])
def test_iterations_do_not_wait(schedule: str, given: dict[str, Tensor]) -> None:
    def waits(count: int) -> Counter[str]:
        def run(intensity: Tensor, support: Tensor, **_: Tensor) -> Tensor:
            return reconstruct(schedule.format(count), intensity, support, starts=1)

        return on_gpu(run, given)[0].waits

    assert waits(11) == waits(31)


def test_a_network_trains_without_waiting(given: dict[str, Tensor]) -> None:
    net, loss = pr.models.UNet((9, 8), SIZES, channels=(4, 8)), pr.losses.PassiveLoss(mask=torch.rand(SIZES) > 0.1)
    expected = torch.autograd.grad(loss(net(given["intensity"]), given["intensity"]), list(net.parameters()))
    with fake_gpu() as gpu:
        intensity = given["intensity"].to("cuda")
        net.to("cuda")
        loss.to("cuda")
        gpu.waits.clear()
        loss(net(intensity), intensity).backward()
        assert not gpu.waits
        found = [p.grad.cpu() for p in net.parameters()]
    torch.testing.assert_close(found, list(expected), rtol=1e-3, atol=1e-5)


def test_a_run_leaves_nothing_behind_but_its_result(given: dict[str, Tensor]) -> None:
    with fake_gpu() as gpu:
        intensity, support = given["intensity"].to("cuda"), given["support"].to("cuda")
        before = gpu.held
        result = pr.solvers.HIO(5)(intensity, support=support, constraint="nonnegative", starts=3)
        kept = [x for x in vars(result).values() if isinstance(x, Tensor)]
        assert gpu.held - before <= sum(x.inner.untyped_storage().nbytes() for x in kept)  # type: ignore[attr-defined]


def test_an_aligned_pair_is_refined_without_double_precision(given: dict[str, Tensor]) -> None:
    estimate = pr.symmetry.subpixel_shift(given["obj"], (0.25, -0.5), fourier_shape=SIZES)
    obj = pr.operators.pad(given["obj"], SIZES)
    expected = pr.symmetry.align(estimate, obj, upsample=4, fourier_shape=SIZES)
    with fake_gpu("mps"):
        found = pr.symmetry.align(estimate.to("mps"), obj.to("mps"), upsample=4, fourier_shape=SIZES)
        torch.testing.assert_close(found.shifts.cpu(), expected.shifts)


@pytest.mark.parametrize(
    "path", sorted(path for path in {*PUBLIC, *CALLS} if path.partition(".")[0] not in ("bench", "interop"))
)
def test_a_call_on_the_cpu_does_not_depend_on_the_default_device(path: str) -> None:
    expected = outcome(path, "cpu")
    with fake_gpu(), torch.device("cuda"):
        found = outcome(path, "cpu")
        if any(True for _ in tensors_in(CALLS.get(path, ({},))[0])):
            assert {x.device.type for x in found.values} <= {"cpu"}
        assert_same(path, found._replace(values=[x.cpu() for x in found.values]), expected, 1e-4)


class Generator(torch.Generator):
    """A source of random numbers that says it lies on the fake GPU."""

    device = property(lambda self: FakeGPU.current.device)  # type: ignore[assignment]


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_random_operators_are_drawn_where_their_generator_lies(kind: str) -> None:
    with fake_gpu(kind):
        generator = Generator().manual_seed(0)
        for name in ("uniform", "octanary", "ternary", "binary"):
            masks = pr.operators.coded_masks((8, 8), 2, name, generator=generator)
            assert masks.device.type == kind
            assert masks.real.dtype == torch.float32
        assert pr.operators.gaussian_matrix((4, 4), 3, generator=generator, dtype=torch.complex64).device.type == kind
        noisy = pr.noise.poisson_noise(torch.ones(4, 4, device=kind), generator=generator)
        assert noisy.device.type == kind


# --- the fake GPU itself ----------------------------------------------------------------------------------------------


def test_the_fake_gpu_refuses_what_a_gpu_refuses() -> None:
    with fake_gpu():
        x = torch.ones(2, device="cuda")
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(2)
        with pytest.raises(TypeError, match="numpy"):
            x.numpy()
    with fake_gpu("mps"), pytest.raises(TypeError, match="float64"):
        torch.ones(2).to("mps").double()


def test_the_fake_gpu_sees_waits_and_memory() -> None:
    with fake_gpu() as gpu:
        x = torch.ones(3, 4, 4).to("cuda")
        assert gpu.held == x.nbytes
        pr.operators.validate(x)
        assert gpu.waits
        assert gpu.peak > x.nbytes
        del x
        assert gpu.held == 0
