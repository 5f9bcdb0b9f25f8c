"""A good call of every public function and Module, and where to find them: what the tests of all of them share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import cache, partial
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import phaseret as pr

MODULES = [getattr(pr, name) for name in pr.__all__ if isinstance(getattr(pr, name), ModuleType)]
# What a call gives back is not an input.
RESULTS = {"RingCurve", "Alignment", "Ambiguity", "Certificate", "Measurement", "Inspection", "Reconstruction", "Run"}
RESULTS |= {"Item", "Known", "Protocol", "Report", "Verification", "BraggGeometry", "StrainField"}
# Bases whose call a subclass writes, and steps that do nothing without an algorithm.
NOT_CALLED = {"Operator", "Algorithm", "Step", "Shrinkwrap", "Breed", "Hull", "Level", "Enough"}

# --- good calls ------------------------------------------------------------------------------------------------------

# Tensors by name, the number of axes of one item, and the other arguments.
GoodCall = tuple[dict[str, Tensor], int, dict[str, Any]]
OBJ, DATA, MASK = torch.rand(3, 4, 4), torch.rand(3, 8, 8), torch.ones(3, 8, 8, dtype=torch.bool)
BOX, SHAPE = (4, 4), (8, 8)
PAIR: GoodCall = ({"estimate": torch.rand(3, 4, 4), "obj": OBJ}, 2, {})
MEASURED: GoodCall = ({"estimate": OBJ, "intensity": DATA, "mask": MASK}, 2, {})
PATTERNS: GoodCall = ({"intensity": DATA, "mask": MASK}, 2, {})
SUPPORT = torch.ones(BOX, dtype=torch.bool)
# Data that an object has, for what solves nothing else.
EXACT: GoodCall = (
    {"intensity": pr.operators.fourier_intensity(torch.polar(OBJ + 0.5, 6 * torch.rand(3, 4, 4)), SHAPE)},
    2,
    {"support": SUPPORT},
)
FOURIER = pr.operators.FourierIntensity(SHAPE)
OPTICS = {"fourier_shape": SHAPE, "distance": 1.0, "wavelength": 1.0, "pixel_size": 1.0}
OPTICS_OF_A_PEAK = {"distance": 1.0, "wavelength": 1e-10, "pixel_size": 1e-4}
PROBLEM = {"n_iter": 2, "object_shape": BOX}
UPDATE = {"known": pr.projections.ObjectConstraint(), "beta": 0.9}
ELEMENT = {"shifts": torch.zeros(3, 2).long(), "flipped": torch.zeros(3).bool(), "phase": torch.zeros(3)}
FRAME = pr.io.as_measurement(DATA[0])
FOUND = pr.solvers.HIO(2)(DATA[0], support=SUPPORT, constraint="complex")
PEAK = torch.stack(torch.meshgrid(*[torch.arange(3.0)] * 3, indexing="ij"), -1) + 10
CRYSTAL = torch.polar(torch.ones(3, 4, 4, 4), torch.rand(3, 4, 4, 4))
OF_A_LATTICE = {"scattering_vector": (0.0, 0.0, 1e9), "voxels": (1e-8, 1e-8, 1e-8)}
STRAIN = pr.crystals.strain(CRYSTAL[0], **OF_A_LATTICE)
SMALL = {"object_shape": BOX, "data_shape": SHAPE, "width": 8}
TINY: dict[str, Any] = {"object_shape": BOX, "channels": (4, 4)}
UNET = pr.models.UNet(BOX, SHAPE, channels=(4, 4))
NETWORK = pr.models.DnCNN(depth=2, channels=4)
GENERATOR = pr.models.PRCGANGenerator(BOX, SHAPE, latent_shape=BOX, width=8)
CARD = {"data": "none", "command": "none", "metrics": {}, "licence": "none"}
ALGORITHMS = [
    name
    for name, value in vars(pr.solvers).items()
    if inspect.isclass(value) and issubclass(value, pr.solvers.Step) and name not in NOT_CALLED
]
CHECKED = pr.bench.Item("one", "", OBJ[0], FOURIER(OBJ[0]), pr.bench.Known(BOX, "nonnegative"))
PROTOCOL = pr.bench.Protocol("own", "one object", lambda case, number, data: CHECKED)
# Good arguments of each function without tensors, and of each class that needs any.
OPTIONS: dict[str, dict[str, Any]] = {
    "operators.Autocorrelation": {"fourier_shape": SHAPE},
    "operators.CodedDiffraction": {"masks": torch.ones(2, 4, 4)},
    "operators.FourierIntensity": {"fourier_shape": SHAPE},
    "operators.FourierMagnitude": {"fourier_shape": SHAPE},
    "operators.Fresnel": OPTICS,
    "operators.Gaussian": {"matrix": torch.ones(5, 4, 4)},
    "operators.Ptychography": {"probe": torch.ones(2, 2), "positions": torch.zeros(3, 2)},
    "operators.coded_masks": {"object_shape": SHAPE, "count": 2},
    "operators.fast_fourier_shape": {"object_shape": SHAPE},
    "operators.gaussian_matrix": {"object_shape": SHAPE, "count": 2},
    "operators.min_fourier_shape": {"object_shape": SHAPE},
    "symmetry.GlobalPhase": {"theta": 1.0},
    "symmetry.Shift": {"shifts": (1, 0)},
    "symmetry.SubpixelShift": {"shifts": (1.0, 0.0)},
    "symmetry.Symmetry": {**ELEMENT, "object_shape": BOX, "fourier_shape": SHAPE},
    "noise.AlphaNoise": {"alpha": 1.0},
    "noise.GaussianNoise": {"sigma": 1.0},
    "noise.MaskPixels": {"mask": MASK},
    "noise.ReadoutNoise": {"sigma": 1.0},
    "noise.Saturation": {"level": 1.0},
    "noise.beam_stop": {"fourier_shape": SHAPE, "radius": 1.0},
    "noise.dead_pixels": {"data_shape": SHAPE, "fraction": 0.1},
    "metrics.SSIM": {"win_size": 3},
    "metrics.free_pixels": {"fourier_shape": SHAPE},
    "metrics.resolution": {"curve": pr.metrics.frc(OBJ, OBJ)},
    **{f"solvers.{name}": {"n_iter": 2} for name in ALGORITHMS},
    "solvers.Algebraic": {},
    "solvers.Detwin": {"algorithm": pr.solvers.HIO(2)},
    "solvers.Recipe": {"steps": "hio:2"},
    "models.Cascade": SMALL,
    "models.CorrelographyNet": {**TINY, "fourier_shape": SHAPE},
    "models.DeepImagePrior": TINY,
    "models.DoubleDIP": {**TINY, "phase_channels": (4,)},
    "models.DnCNN": {"depth": 2, "channels": 4},
    "models.IterativeRefinement": {
        "solvers": partial(pr.solvers.HIO(2), constraint="nonnegative"),
        "networks": [NETWORK],
    },
    "models.MLP": SMALL,
    "models.PRCGANDiscriminator": SMALL,
    "models.PRCGANGenerator": {**SMALL, "latent_shape": BOX},
    "models.ResidualNet": {"operator": FOURIER, "object_shape": BOX, "channels": (4, 4)},
    "models.UNet": {**TINY, "fourier_shape": SHAPE},
    "models.Unrolled": {"object_shape": BOX, "fourier_shape": SHAPE, "stages": 1, "n_iter": 1, "channels": 4},
    "models.load": {"path": "network.safetensors"},
    "models.save": {"model": UNET, "path": "network.safetensors", "card": CARD, "overwrite": True},
    "io.check_output": {"path": "none.npz"},
    "io.load_intensity": {"path": "pattern.npz"},
    "io.load_mask": {"path": "mask.npy"},
    "io.load_object": {"path": "reconstruction.npz"},
    "io.load_reconstruction": {"path": "reconstruction.npz"},
    "io.load_support": {"path": "mask.npy"},
    "io.save_intensity": {"path": "pattern.npz", "measurement": FRAME, "overwrite": True},
    "io.save_reconstruction": {"path": "reconstruction.npz", "reconstruction": FOUND, "overwrite": True},
    "io.inspect": {"measurement": FRAME},
    "bench.run": {"protocols": [PROTOCOL], "entries": ["hio"], "quick": True},
    "bench.verify": {"file": "bench/bench.json", "protocols": [PROTOCOL]},
    "crystals.rocking_geometry": {**OPTICS_OF_A_PEAK, "delta": 0.0, "nu": 30.0, "step": 0.1, "axis": (0, 1, 0)},
    "datasets.mnist": {"train": False},
    "datasets.strained_crystal": {"object_shape": (8, 8, 8)},
    "plotting.check_figure": {"path": "none.png"},
    "plotting.plot_ambiguity": {"ambiguity": pr.symmetry.diagnose(torch.rand(6, 4, 4))},
    "plotting.plot_pattern": {"measurement": FRAME},
    "plotting.plot_reconstruction": {"reconstruction": FOUND},
    "plotting.plot_strain_field": {"field": STRAIN},
    "plotting.save_figure": {"path": "pattern.png", "figure": pr.plotting.plot_pattern(FRAME), "overwrite": True},
    "interop.from_deepinv": {"physics": SimpleNamespace(B=abs, B_adjoint=abs)},
    "interop.loss_from_deepinv": {"loss": NETWORK},
    "interop.loss_to_deepinv": {"loss": pr.losses.PassiveLoss()},
    "interop.metric_to_deepinv": {"metric": pr.metrics.psnr},
    "interop.to_deepinv": {"operator": FOURIER},
}
# Brackets mark the call of a Module, which is made with OPTIONS; that of a pair follows from its function.
CALLS: dict[str, GoodCall] = {
    "operators.autocorrelation": ({"intensity": DATA}, 2, {"fourier_shape": (8, 8)}),
    "operators.coded_diffraction": ({"obj": OBJ, "masks": torch.ones(2, 4, 4)}, 2, {}),
    "operators.fourier_intensity": ({"obj": OBJ}, 2, {"fourier_shape": (8, 8)}),
    "operators.fourier_magnitude": ({"obj": OBJ}, 2, {"fourier_shape": (8, 8)}),
    "operators.fresnel": ({"obj": OBJ}, 2, OPTICS),
    "operators.gaussian": ({"obj": OBJ, "matrix": torch.ones(5, 4, 4)}, 2, {}),
    "operators.ptychography": ({"obj": OBJ, "probe": torch.ones(2, 2), "positions": torch.zeros(3, 2)}, 2, {}),
    "operators.crop": ({"x": OBJ}, 2, {"object_shape": (3, 4)}),
    "operators.pad": ({"obj": OBJ}, 2, {"fourier_shape": (8, 8)}),
    "operators.validate": ({"intensity": DATA, "mask": MASK}, 2, {}),
    "symmetry.align": PAIR,
    "symmetry.canonicalize": ({"obj": OBJ}, 2, {}),
    "symmetry.certify": ({"obj": OBJ}, 2, {}),
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
    "metrics.iou": PAIR,
    "metrics.mse": PAIR,
    "metrics.nmse": PAIR,
    "metrics.phase_error": PAIR,
    "metrics.poisson_log_likelihood": MEASURED,
    "metrics.prtf": ({"ensemble": torch.rand(3, 2, 4, 4), "intensity": DATA, "mask": MASK}, 2, {}),
    "metrics.psnr": PAIR,
    "metrics.r_factor": MEASURED,
    "metrics.relative_magnitude_error": MEASURED,
    "metrics.ssim": (PAIR[0], 2, {"win_size": 3}),
    "metrics.success_rate": PAIR,
    "projections.project_magnitude": ({"obj": DATA, "magnitude": DATA, "mask": MASK}, 2, {}),
    "projections.project_object": ({"obj": DATA, "support": MASK}, 2, {}),
    "projections.MagnitudeConstraint": ({"magnitude": DATA, "mask": MASK}, 2, {}),
    "projections.ObjectConstraint": ({"support": MASK}, 0, {}),
    "solvers.algebraic": EXACT,
    "solvers.autocorrelation_support": PATTERNS,
    "solvers.maximum_likelihood": (MEASURED[0], 2, {"operator": FOURIER, "n_iter": 2}),
    "solvers.reconstruct": (
        PATTERNS[0],
        2,
        {"schedule": "hio:2", "support": SUPPORT, "starts": 1, "constraint": "complex"},
    ),
    "solvers.reduce_pattern": (PATTERNS[0], 2, {"object_shape": (4, 3)}),
    "solvers.shrinkwrap_support": ({"obj": OBJ}, 2, {}),
    "solvers.spectral_initialization": (PATTERNS[0], 2, {"operator": FOURIER, **PROBLEM}),
    "solvers.truncated_amplitude_flow": (PATTERNS[0], 2, {"operator": FOURIER, **PROBLEM}),
    "solvers.wirtinger_flow": (PATTERNS[0], 2, {"operator": FOURIER, **PROBLEM}),
    "crystals.geometry_from_q": ({"q": PEAK}, 4, {}),
    "crystals.strain": ({"obj": CRYSTAL, "support": torch.ones(3, 4, 4, 4, dtype=torch.bool)}, 3, OF_A_LATTICE),
    "models.finetune": (PATTERNS[0], 2, {"model": UNET, "n_iter": 1}),
    "models.latent_optimize": ({**PATTERNS[0], "latent": torch.rand(3, 4, 4)}, 2, {"network": GENERATOR, "n_iter": 1}),
    "models.prdeep": ({**PATTERNS[0], "init": OBJ}, 2, {"denoiser": NETWORK, "n_iter": 1}),
    "io.as_measurement": ({**PATTERNS[0], "support": MASK, "obj": OBJ}, 2, {}),
    "datasets.SymmetryVariant": ({"images": OBJ}, 1, {}),
    "plotting.plot_comparison": ({"estimate": OBJ[0], "obj": OBJ[0]}, 2, {}),
    "symmetry.Symmetry": (ELEMENT, 0, {"object_shape": BOX, "fourier_shape": SHAPE}),
    # The calls of Modules that no function stands for.
    "symmetry.RandomSymmetry()": ({"obj": OBJ}, 2, {}),
    "symmetry.Symmetry()": ({"obj": OBJ}, 2, {}),
    "models.DnCNN()": ({"x": OBJ}, 2, {}),
    "models.PRCGANGenerator()": ({**PATTERNS[0], "latent": torch.rand(3, 4, 4)}, 2, {}),
    "models.PRCGANDiscriminator()": ({**PATTERNS[0], "obj": OBJ}, 2, {}),
    "models.Unrolled()": ({**PATTERNS[0], "init": OBJ}, 2, {}),
    **{f"models.{name}()": PATTERNS for name in ("Cascade", "CorrelographyNet", "MLP", "ResidualNet", "UNet")},
    "models.IterativeRefinement()": PATTERNS,
    **{f"solvers.{name}()": (PATTERNS[0], 2, {"support": SUPPORT, "constraint": "nonnegative"}) for name in ALGORITHMS},
}


def public() -> Iterator[tuple[str, Any]]:
    """Every public function and class that is given something."""
    for module in MODULES:
        for name in module.__all__:
            if callable(value := getattr(module, name)) and name not in RESULTS:
                yield f"{module.__name__.rpartition('.')[2]}.{name}", value


PUBLIC = dict(public())


def functions(path: str) -> str:
    """The path of a class as that of its function would be, and of a function as itself, without underscores."""
    return path.replace("_", "").lower()


FUNCTIONS = {functions(path): path for path, value in PUBLIC.items() if inspect.isfunction(value)}


@cache
def made(path: str) -> Any:
    return call(PUBLIC[path], OPTIONS.get(path, {}))


def called(path: str) -> Callable[..., Any]:
    """What is called: a function, a class, or with brackets a Module that is made: its call, or a metric's update."""
    if not path.endswith("()"):
        return PUBLIC[path]
    module = made(path[:-2])
    return getattr(module, "update", module)


def spelt(path: str) -> list[inspect.Parameter]:
    """The arguments of a call that have names."""
    function = called(path)
    found = inspect.signature(getattr(function, "forward", function) if path.endswith("()") else function)
    return [p for p in found.parameters.values() if p.kind is not p.VAR_KEYWORD]


def tensors_of(path: str) -> set[str]:
    return {p.name for p in spelt(path) if str(p.annotation).startswith("Tensor")}


def of_pairs() -> Iterator[tuple[str, GoodCall]]:
    """The good calls of the Modules that stand for functions."""
    for path, value in PUBLIC.items():
        if inspect.isclass(value) and functions(path) in FUNCTIONS:
            tensors, axes, _ = CALLS[FUNCTIONS[functions(path)]]
            asked = tensors_of(f"{path}()")
            yield f"{path}()", ({name: tensor for name, tensor in tensors.items() if name in asked}, axes, {})


def call(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    steps = [given[name] for name in given if name == "steps"]  # Recipe(*steps)
    return function(*steps, **{name: value for name, value in given.items() if name != "steps"})


def good(path: str) -> dict[str, Any]:
    """The arguments of a good call."""
    tensors, _, others = CALLS.get(path, ({}, 0, OPTIONS.get(path, {})))
    return {**tensors, **others}


def write_files() -> None:
    """The files that good calls read, into the current folder."""
    pr.io.save_intensity("pattern.npz", FRAME)
    pr.io.save_reconstruction("reconstruction.npz", FOUND)
    pr.models.save(UNET, "network.safetensors", card=CARD)
    np.save("mask.npy", np.ones(SHAPE))
    pr.bench.run(**OPTIONS["bench.run"]).save("bench")


CALLS |= dict(of_pairs())
