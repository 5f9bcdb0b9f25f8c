"""The images that the paper hoped for: faces, natural images, cells, galaxies, MRI, crystals, and sparse ones.

Each image, at most 28 x 28 pixels, is flipped at random and put at a random place of a dark 32 x 32 canvas, anew in
each epoch. The sources that the test images come from are held out: other pictures of faces, other photographs, the
other side of a picture. Networks and classical algorithms know the canvas, and that real images are not negative.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from skimage import data as pictures
from skimage.color import rgb2gray
from skimage.transform import downscale_local_mean
from torch import Tensor, nn

import phaseret as pr
from paper.complex_objects import relative_error
from paper.digits import FOURIER_SHAPE, HELD_OUT
from paper.experiment import Context, Result, Row
from paper.fig1 import as_colours
from training import Patterns, Settings, estimate, finish, finished, fit, run_all, save_array

SIZE, CANVAS = 28, (32, 32)
OBJECTIVES = {"dnn_v": "DNN-V", "dnn_p": "DNN-P", "invariant": "invariant"}
SOLVERS = ("rrr", "hio")
DIAGNOSED, SHOWN = 500, 3
CELL = np.s_[230:490, 290:550]  # where it lies in its picture


# --- images -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Images:
    """Images (N, n1, n2) with moduli of at most 1, to train on and for the test."""

    training: Tensor
    test: Tensor
    sources: str  # what they are and how they were divided
    turned: Callable[[Tensor], Tensor] = lambda images: images  # from training images to those in other orientations


def tensor(image: Any, factor: int = 1) -> Tensor:
    """Grey values from 0 to 1, or complex values, of a picture or of a stack, averaged over blocks of pixels."""
    image = np.asarray(image)
    if image.shape[-1] == 3:
        image = rgb2gray(image)
    elif image.dtype == np.uint8:
        image = image / 255
    blocks = (1,) * (image.ndim - 2) + (factor, factor)
    if np.iscomplexobj(image):
        small = downscale_local_mean(image.real, blocks) + 1j * downscale_local_mean(image.imag, blocks)
        return torch.tensor(small, dtype=torch.complex64)
    return torch.tensor(downscale_local_mean(image, blocks), dtype=torch.float32)


def patches(image: Tensor, step: int, contrast: float) -> Tensor:
    """Square patches of a picture or of a stack, those with at least this standard deviation."""
    found = image.unfold(-2, SIZE, step).unfold(-2, SIZE, step).reshape(-1, SIZE, SIZE)
    return found[found.flatten(1).std(1) >= contrast]


def halves(image: Tensor, contrast: float) -> tuple[Tensor, Tensor]:
    """Overlapping patches of the left half and of the right half, which are a patch apart."""
    middle = image.shape[-1] // 2
    left, right = image[..., :middle], image[..., middle + SIZE :]
    return patches(left, SIZE // 4, contrast), patches(right, SIZE // 2, contrast)


def orientations(images: Tensor) -> Tensor:
    """Quarter turns and mirror images, for what has no natural orientation; the flip of a real image is a half turn."""
    turned = [images.rot90(quarter, (-2, -1)) for quarter in range(4 if images.is_complex() else 2)]
    return torch.cat([*turned, *(image.flip(-1) for image in turned)])


def mirrored(images: Tensor) -> Tensor:
    """The images and their mirror images."""
    return torch.cat([images, images.flip(-1)])


def brightest(images: Tensor) -> Tensor:
    """Each with the largest modulus 1."""
    return images / images.abs().amax((-2, -1), keepdim=True).clamp_min(1e-12)


def faces(folder: Path | None) -> Images:
    found = torch.tensor(pictures.lfw_subset()[:100], dtype=torch.float32)
    return Images(found[:80], found[80:], "LFW: 80 pictures of faces and their mirror images; 20 others", mirrored)


def natural(folder: Path | None) -> Images:
    names = ("camera", "astronaut", "rocket", "coins"), ("chelsea", "moon", "coffee")
    seen = [tensor(getattr(pictures, name)(), 4) for name in names[0]]
    unseen = [tensor(getattr(pictures, name)(), 4) for name in names[1]]
    training = torch.cat([patches(image, SIZE // 4, 0.05) for image in seen])
    test = torch.cat([patches(image, SIZE // 2, 0.05) for image in unseen])
    return Images(training, test, f"patches of {', '.join(names[0])}; of {', '.join(names[1])}")


def nuclei(folder: Path | None) -> Images:
    """Single nuclei of a fluorescence image, those of its left two thirds and those of the rest."""
    assert folder is not None
    with np.load(folder / "nuclei_dsb2018.npz") as file:
        crops, labels, numbers = file["crops40"], file["labels"], file["crop_labels"]
    columns = torch.tensor([float(np.nonzero(labels == number)[1].mean()) for number in numbers])
    left = columns < 2 / 3 * labels.shape[1]
    small = brightest(tensor(crops, 2))
    sources = f"{int(left.sum())} nuclei in all orientations; {int((~left).sum())} of another region"
    return Images(small[left], small[~left], sources, orientations)


def cell(folder: Path | None) -> Images:
    """A phase image: the object is a wave of modulus 1, delayed by up to pi."""
    left, right = halves(tensor(pictures.cell()[CELL]), 0.05)
    training, test = (torch.polar(torch.ones_like(part), torch.pi * part) for part in (left, right))
    sources = "phase of one cell's image, exp(i pi x): patches of its left half in all orientations; of its right half"
    return Images(training, test, sources, orientations)


def galaxies(folder: Path | None) -> Images:
    sky = tensor(pictures.hubble_deep_field())
    # What rises above the sky's own grain.
    left, right = halves((sky - sky.quantile(0.7)).clamp_min(0), 0.08)
    sources = "patches of the Hubble deep field's left half in all orientations; of its right half"
    return Images(brightest(left), brightest(right), sources, orientations)


def mri(folder: Path | None) -> Images:
    """Coil images of a brain, complex; the data were under-sampled, so they hold some aliasing."""
    assert folder is not None
    with np.load(folder / "mri_brain_kspace.npz") as file:
        kspace = torch.from_numpy(file["kspace"])
    images = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(kspace, dim=(-2, -1))), dim=(-2, -1))
    images = images / images.abs().max()
    left, right = halves(images, 0.1)
    sources = "complex brain MRI, 8 coils: patches of the left half of one slice; of its right half"
    return Images(brightest(left), brightest(right), sources)


def crystals(folder: Path | None) -> Images:
    """Slices of one crystal: those across two of its axes, and those across the third, which cut the same object."""
    assert folder is not None
    with np.load(folder / "bcdi_crystal_slices.npz") as file:
        slices = {axis: tensor(file[f"slices_{axis}"], 5) for axis in "xyz"}
    side = max(max(part.shape[1:]) for part in slices.values())
    padded = {
        axis: nn.functional.pad(part, (0, side - part.shape[-1], 0, side - part.shape[-2]))
        for axis, part in slices.items()
    }
    training, test = torch.cat([padded["z"], padded["y"]]), padded["x"]
    sources = f"ONE crystal: {len(training)} slices across two axes in all orientations; {len(test)} across the third"
    return Images(brightest(training), orientations(brightest(test)), sources, orientations)


def atoms(folder: Path | None) -> Images:
    """Three to eight point-like atoms of different brightness in the dark."""
    generator = torch.Generator().manual_seed(0)
    count, most = 4000, 8
    places = 2 + (SIZE - 5) * torch.rand(count, most, 2, generator=generator)
    numbers = torch.randint(3, most + 1, (count, 1), generator=generator)
    bright = (0.5 + 0.5 * torch.rand(count, most, generator=generator)) * (torch.arange(most) < numbers)
    y, x = ((torch.arange(SIZE) - places[..., axis, None]).square() for axis in (0, 1))
    spread = 2 * 0.6**2
    images = torch.einsum("ba,bay,bax->byx", bright, (-y / spread).exp(), (-x / spread).exp()).clamp(max=1)
    return Images(images[:-200], images[-200:], "3 to 8 points of Gaussian shape at random places")


LOADERS: dict[str, Callable[[Path | None], Images]] = {
    "faces": faces,
    "natural": natural,
    "nuclei": nuclei,
    "cell": cell,
    "galaxies": galaxies,
    "mri": mri,
    "crystals": crystals,
    "atoms": atoms,
}
FROM_FILES = ("nuclei", "mri", "crystals")


# --- trainings --------------------------------------------------------------------------------------------------------


def variant(images: Tensor, count: int, seed: int) -> pr.datasets.SymmetryVariant:
    """So many of the images in a random order, repeated if they are few, flipped and shifted."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    repeated = order.repeat(-(-count // len(images)))[:count]
    return pr.datasets.SymmetryVariant(images[repeated], canvas=CANVAS, seed=seed)


def divided(settings: Settings, images: Images) -> tuple[Any, Any, Tensor]:
    """Training and validation data, and test objects."""
    seed, count = settings["seed"], settings["images"]
    # Neighbours overlap and stand beside each other, so the last ones are held out, before they are turned.
    held_out = max(1, len(images.training) // HELD_OUT)
    training = variant(images.turned(images.training[:-held_out]), count, seed)
    validation = variant(images.turned(images.training[-held_out:]), max(1, count // HELD_OUT), seed + 1)
    test = variant(images.test, min(settings["test_images"], len(images.test)), 2)
    return training, validation, test[:]


def loss_of(objective: str) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """What the objective minimises."""

    def loss(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
        found = net(intensity)
        if objective == "dnn_v":
            return pr.losses.supervised_loss(found, obj)
        if objective == "invariant":
            return pr.losses.invariant_loss(found, obj)
        return pr.losses.passive_loss(found, intensity)

    return loss


def train(settings: Settings, files: Path | None, folder: Path) -> dict[str, Any]:
    """Train one network and leave its estimates of the test objects in the folder; what the training took."""
    done = finished(folder, settings)
    if done is not None:
        return done
    training, validation, test = divided(settings, LOADERS[settings["data"]](files))
    measure = pr.operators.FourierIntensity(FOURIER_SHAPE)
    torch.manual_seed(settings["seed"])
    output = settings["complex_output"] if test.is_complex() else "unit"
    net = pr.models.UNet(CANVAS, FOURIER_SHAPE, output=output, channels=settings["channels"])
    took = fit(
        net,
        loss_of(settings["objective"]),
        Patterns(training, measure, augment=True),
        Patterns(validation, measure),
        settings,
        folder,
        title="/".join(folder.parts[-2:]),
    )
    save_array(folder / "estimates.npy", estimate(net, measure(test), settings["bfloat16"]))
    return finish(folder, settings, took)


# --- the experiment ---------------------------------------------------------------------------------------------------


def scores(estimates: Tensor, objects: Tensor) -> Row:
    """Scores of real and complex estimates."""
    error = relative_error(estimates, objects)
    intensities = pr.operators.fourier_intensity(objects, FOURIER_SHAPE)
    found: Row = {
        "raw_psnr": pr.metrics.psnr(estimates, objects, align=False),
        "aligned_psnr": pr.metrics.psnr(estimates, objects),
        "aligned_relative_error": error.mean(),
        "solved_percent": 100 * (error < 0.05).double().mean(),
        "relative_magnitude_error": pr.metrics.relative_magnitude_error(estimates, intensities),
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def run(context: Context) -> Result:
    """Train every objective on every kind of images; classical algorithms on the same test patterns."""
    config = dict(context.config)
    names, solver = config.pop("data"), config.pop("solver")
    files = context.objects if any(name in FROM_FILES for name in names) else None
    calls = [
        (
            {**config, "data": name, "objective": objective, "bfloat16": context.bfloat16},
            files,
            context.folder / name / objective,
        )
        for name in names
        for objective in OBJECTIVES
    ]
    took = {call[2]: cost for call, cost in zip(calls, run_all(train, calls, context.jobs), strict=True)}
    rows: list[Row] = []
    arrays: dict[str, Any] = {}
    for name in names:
        images = LOADERS[name](files)
        objects = divided(config, images)[2]
        intensities = pr.operators.fourier_intensity(objects, FOURIER_SHAPE)
        known = images.turned(images.training)
        different = variant(known, min(DIAGNOSED, len(known)), config["seed"])
        ambiguity = pr.symmetry.diagnose(different[:], fourier_shape=FOURIER_SHAPE)
        about: Row = {
            "data": name,
            "kind": "complex" if objects.is_complex() else "real",
            "different_training_images": len(known),
            "test_images": len(objects),
            "sources": images.sources,
            "ambiguous_share": round(ambiguity.share, 3),
            "ambiguous_share_canonical": round(ambiguity.share_canonical, 3),
        }
        found: dict[str, tuple[Tensor, Row]] = {}
        for objective in OBJECTIVES:
            folder = context.folder / name / objective
            found[objective] = torch.from_numpy(np.load(folder / "estimates.npy")), took[folder]
        for method in SOLVERS:
            began = time.perf_counter()
            result = pr.solvers.reconstruct(
                intensities,
                schedule=f"{method}:{solver['iterations']},er:50",
                support=torch.ones(CANVAS, dtype=torch.bool),
                constraint="complex" if objects.is_complex() else "nonnegative",
                starts=solver["starts"],
                seed=config["seed"],
            )
            cost = {"seconds_per_image": round((time.perf_counter() - began) / len(objects), 4)}
            found[method] = result.obj, {**cost, **solver}
        arrays[f"{name} truth"] = objects[:SHOWN].numpy()
        for method, (estimates, cost) in found.items():
            rows.append({**about, "method": method, **scores(estimates, objects), **cost})
            shown = pr.symmetry.align(estimates[:SHOWN], objects[:SHOWN]).aligned
            arrays[f"{name} {method}"] = shown.numpy()
    return Result(rows, config["seed"], {"images": config["images"], "epochs": config["epochs"]}, arrays)


def draw(rows: list[Row], arrays: dict[str, Any]) -> Figure:
    """Test objects and aligned estimates of every kind of images, and the relative errors."""
    names = list(dict.fromkeys(row["data"] for row in rows))
    titles = {"truth": "truth", **OBJECTIVES, **{solver: solver.upper() for solver in SOLVERS}}
    methods = list(titles)[1:]
    lines = -(-len(names) // 2)
    figure = Figure(figsize=(13, 2.9 * lines + 3.5), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[2.9 * lines, 3.5])
    blocks = np.ravel(upper.subfigures(lines, 2, wspace=0.03, hspace=0.02, squeeze=False))
    for name, block in zip(names, blocks, strict=False):
        kind = next(row["kind"] for row in rows if row["data"] == name)
        block.suptitle(f"{name} ({kind})", fontsize=11)
        axes = block.subplots(SHOWN, len(titles), squeeze=False, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
        for column, (method, title) in enumerate(titles.items()):
            axes[0, column].set_title(title, fontsize=9)
            for axis in axes[:, column]:
                axis.axis("off")
            for axis, image in zip(axes[:, column], arrays[f"{name} {method}"], strict=False):
                axis.imshow(as_colours(image))
    axis = lower.subplots()
    for number, method in enumerate(methods):
        errors = [
            next(row["aligned_relative_error"] for row in rows if (row["data"], row["method"]) == (name, method))
            for name in names
        ]
        places = [place + 0.16 * (number - 2) for place in range(len(names))]
        axis.bar(places, errors, 0.15, color=f"C{number}", label=titles[method])
    axis.set_xticks(range(len(names)), names)
    axis.set_ylabel("aligned relative error")
    axis.set_axisbelow(True)
    axis.grid(axis="y", alpha=0.3)
    axis.legend(ncols=len(methods), fontsize=9, loc="upper left")
    axis.set_ylim(0, 1.25 * max(1.0, *(row["aligned_relative_error"] for row in rows)))
    return figure
