"""Fig. 1: shifted and flipped copies of an object, and their one common intensity.

Also what the paper says of complex objects, and changes that look alike but are not symmetries.
"""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

import phaseret as pr
from experiments import Context, Result, Row
from experiments.pictures import as_colours

MIDDLE, CORNERS = (10, 10), ((1, 18), (19, 2))  # places of a digit's first pixel on a canvas of 48 x 48
PHASE = 1.0


def copies(digit: Tensor, canvas: tuple[int, ...]) -> dict[str, dict[str, tuple[Tensor, bool]]]:
    """For a real and a complex object its copies on the canvas, and whether they are copies by a symmetry."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=digit.dtype) for n in digit.shape), indexing="ij")
    wavy = torch.polar(digit, 2 * x + 3 * y * y)

    def at(obj: Tensor, place: tuple[int, int]) -> Tensor:
        return pr.symmetry.shift(obj, place, fourier_shape=canvas)

    flip, phase = pr.symmetry.conj_flip, pr.symmetry.global_phase
    return {
        "real": {
            "object": (at(digit, MIDDLE), True),
            "shifted": (at(digit, CORNERS[0]), True),
            "flipped": (at(flip(digit), MIDDLE), True),
            "flipped, shifted": (at(flip(digit), CORNERS[1]), True),
            "one axis flipped": (at(digit.flip(-1), MIDDLE), False),
        },
        "complex": {
            "object": (at(wavy, MIDDLE), True),
            "global phase": (at(phase(wavy, PHASE), MIDDLE), True),
            "flipped": (at(flip(wavy), MIDDLE), True),
            "all three": (at(phase(flip(wavy), PHASE), CORNERS[1]), True),
            "flipped, no conjugate": (at(wavy.flip(-2, -1), MIDDLE), False),
        },
    }


def run(context: Context) -> Result:
    """Measure all copies in single and double precision."""
    config = context.config
    images, values = pr.datasets.mnist(context.mnist, train=False, labels=True)
    digit, shape = images[values == config["digit"]][0], tuple(config["fourier_shape"])
    rows: list[Row] = []
    arrays: dict[str, Any] = {}
    for dtype in (torch.float32, torch.float64):
        for kind, found in copies(digit.to(dtype), tuple(config["canvas"])).items():
            intensities = {name: pr.operators.fourier_intensity(obj, shape) for name, (obj, _) in found.items()}
            expected = intensities["object"]
            for name, (obj, symmetric) in found.items():
                difference = (intensities[name] - expected).abs().max()
                row = {
                    "object": kind,
                    "copy": name,
                    "symmetry": symmetric,
                    "precision": str(dtype).removeprefix("torch."),
                    "difference_over_largest": (difference / expected.max()).item(),
                    "difference_over_mean": (difference / expected.mean()).item(),
                }
                if name != "object":
                    rows.append(row)
                if dtype == torch.float32:
                    arrays[f"{kind} {name}"] = obj.numpy()
                    # Six decades are shown.
                    shown = intensities[name].clamp_min(1e-6 * expected.max()).log10()
                    arrays[f"{kind} {name} intensity"] = torch.fft.fftshift(shown).half().numpy()
    return Result(rows, None, config, arrays)


def draw(rows: list[Row], arrays: dict[str, Any]) -> Figure:
    """The copies in two rows, and below each its intensity."""
    worst = {
        (row["object"], row["copy"]): row["difference_over_largest"] for row in rows if row["precision"] == "float32"
    }
    names = [name.removesuffix(" intensity") for name in arrays if name.endswith(" intensity")]
    figure = Figure(figsize=(11, 9.6), layout="constrained")
    axes = figure.subplots(4, len(names) // 2)
    for number, name in enumerate(names):
        kind, copy = name.split(" ", 1)
        row, column = 2 * (number // (len(names) // 2)), number % (len(names) // 2)
        upper, lower = axes[row, column], axes[row + 1, column]
        upper.imshow(as_colours(arrays[name]))
        upper.set_title(f"{kind} object" if copy == "object" else copy, fontsize=11)
        lower.imshow(arrays[f"{name} intensity"].astype(float), cmap="viridis")
        lower.set_title("log intensity" if copy == "object" else f"differs by {worst[kind, copy]:.1e}", fontsize=10)
        for axis in (upper, lower):
            axis.set_xticks([])
            axis.set_yticks([])
    figure.suptitle(
        "Copies with one intensity, and (last column) none. Differences in units of the largest intensity, float32",
        fontsize=11,
    )
    return figure
