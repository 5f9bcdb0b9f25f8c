"""The pictures of the page "What the data cannot see": ``python docs/cannot_see/pictures.py`` writes them here."""

import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor

import phaseret as pr

GRID = (64, 64)  # of the data; the objects have 28 x 28 pixels, or 32 x 32
BLUE = (0.3, 0.5, 1.0)


def four() -> Tensor:
    """A digit."""
    digits, labels = pr.datasets.mnist(train=False, labels=True)
    return digits[labels == 4][3]


def pattern(obj: Tensor) -> Tensor:
    """Intensities as they are shown: their logarithm over six decades, zero frequency in the middle."""
    intensity = pr.operators.fourier_intensity(obj, GRID, centered=True)
    return (intensity / intensity.max()).clamp(min=1e-6).log10()


def panels(rows: list[list[tuple[str, Tensor]]]) -> tuple[plt.Figure, list[plt.Axes]]:
    """Rows of titled images; white is positive, blue negative."""
    count = max(map(len, rows))
    figure, axes = plt.subplots(len(rows), count, figsize=(1.8 * count, 2.2 * len(rows)), layout="constrained")
    for axis, (title, image) in zip(axes.flat, (panel for row in rows for panel in row), strict=False):
        if image.shape == GRID:
            axis.imshow(image.numpy(), cmap="inferno", vmin=-6, vmax=0)
        else:
            image = image.clamp(0, 1)[..., None] + (-image).clamp(0, 1)[..., None] * torch.tensor(BLUE)
            axis.imshow(image.numpy())
        axis.set_title(title, fontsize=9)
        axis.set(xticks=[], yticks=[])
    return figure, list(axes.flat)


def copies() -> plt.Figure:
    """An object, three copies and something else, each above its pattern."""
    obj = torch.nn.functional.pad(four(), (2, 2, 2, 2))
    row = {
        "an object": obj,
        "shifted": pr.symmetry.shift(obj, (-5, 6)),
        "flipped": obj.flip(0, 1),
        "of the other sign": -obj,
        "mirrored": obj.flip(1),
    }
    names = ["its pattern", "the same", "the same", "the same", "another one"]
    patterns = list(zip(names, map(pattern, row.values()), strict=True))
    return panels([list(row.items()), patterns])[0]


def mean() -> plt.Figure:
    """What a network learns if the object and its flipped copy are equally right."""
    obj = four()
    intensity = pr.operators.fourier_intensity(obj, GRID)
    flip = pr.symmetry.conj_flip(obj)
    row = []
    for name, guess in ("the object", obj), ("its flip", flip), ("their mean", (obj + flip) / 2):
        pixels = ((guess - obj).square() + (guess - flip).square()).mean() / 2
        passive = pr.losses.passive_loss(guess, intensity)
        row.append((f"{name}\npixel by pixel {pixels:.2f}\npassive loss {abs(passive):.4f}", guess))
    return panels([row])[0]


def wrap() -> plt.Figure:
    """Two other objects that have the digit's data on its own 28 x 28 grid, and do not on 64 x 64."""
    obj = four()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about these very data
        small = pr.operators.fourier_intensity(obj, (28, 28), undersampled=True)
    noise = torch.rand(28, 28, generator=torch.Generator().manual_seed(0))
    others = {
        "rolled over its edge": obj.roll((14, 14), (0, 1)),
        "made of noise": pr.projections.project_magnitude(noise, small.sqrt()),
    }
    rows = [[("an object", obj)], [("its pattern, 64 x 64", pattern(obj))]]
    for name, other in others.items():
        change = pr.metrics.relative_magnitude_error(other, pr.operators.fourier_intensity(obj, GRID))
        rows[0].append((name, other))
        rows[1].append((f"differs by {100 * change:.0f} %", pattern(other)))
    return panels(rows)[0]


def solvers() -> plt.Figure:
    """What the live figure shows, as a picture: an object, its pattern, two answers, and the errors on the way."""
    obj = four()
    intensity = pr.operators.fourier_intensity(obj, GRID)
    known = {"support": torch.ones(28, 28) > 0, "constraint": "nonnegative", "starts": 1, "seed": 0, "check_every": 1}
    algorithms = {"error reduction": pr.solvers.ErrorReduction, "HIO": pr.solvers.HIO, "RRR": pr.solvers.RRR}
    runs = {name: algorithm(300)(intensity, **known) for name, algorithm in algorithms.items()}
    row = [("an object", obj), ("its pattern", pattern(obj))]
    row += [(f"300 steps of\n{name}", runs[name].obj) for name in ("error reduction", "RRR")]
    figure, axes = panels([[*row, ("", obj)]])
    axes[-1].clear()
    axes[-1].set(aspect="auto", box_aspect=1)
    for name, result in runs.items():
        axes[-1].semilogy(result.checked, result.history[0].numpy(), label=name)
    axes[-1].set_title("error of the magnitudes", fontsize=9)
    axes[-1].tick_params(labelsize=7)
    axes[-1].legend(fontsize=6)
    return figure


def main(folder: Path) -> None:
    """Write all of them."""
    for draw in (copies, mean, wrap, solvers):
        figure = draw()
        figure.savefig(folder / f"{draw.__name__}.png", dpi=100)
        plt.close(figure)


if __name__ == "__main__":
    main(Path(__file__).parent)
