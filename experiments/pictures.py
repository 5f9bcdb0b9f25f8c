"""Images as they are kept beside the results, and how they are shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from torch import Tensor


def as_pixels(images: Tensor) -> Any:
    """Images with values from 0 to 1 as bytes, small enough to keep beside the results."""
    return images.clamp(0, 1).mul(255).round().to(torch.uint8).numpy()


def modulus_and_phase(obj: Tensor, inside: float = 0.0) -> Any:
    """Both as bytes, on an axis in front; no phase where the modulus is below this share of its largest value."""
    modulus = obj.abs()
    phase = torch.where(modulus >= inside * modulus.amax((-2, -1), keepdim=True), obj.angle() / (2 * torch.pi), 0)
    return as_pixels(torch.stack([modulus, phase + 0.5]))


def as_colours(obj: Any) -> Any:
    """Brightness for the modulus, at most 1; the hue is the phase of a complex object."""
    brightness = np.abs(obj).clip(max=1)
    hue = np.angle(obj) / (2 * np.pi) % 1
    return hsv_to_rgb(np.stack([hue, np.full_like(hue, float(np.iscomplexobj(obj))), brightness], -1))


def grid(figure: Any, lines: int, columns: int) -> Any:
    """Axes side by side, (lines, columns)."""
    return figure.subplots(lines, columns, squeeze=False, gridspec_kw={"wspace": 0.03, "hspace": 0.03})


def show(axes: Any, images: Any, **how: Any) -> None:
    """One image in each of these axes, as bytes in grey if nothing else is said; axes left over stay empty."""
    for axis in axes:
        axis.axis("off")
    for axis, image in zip(axes, images, strict=False):
        axis.imshow(image, **{"cmap": "gray", "vmin": 0, "vmax": 255, **how})


def label(axis: Any, text: str, fontsize: float) -> None:
    """Say on the left what a line of images is."""
    axis.text(-0.1, 0.5, text, transform=axis.transAxes, ha="right", va="center", fontsize=fontsize)


def estimates_of_systems(arrays: dict[str, Any]) -> Figure:
    """One line of test objects per system."""
    columns = len(next(iter(arrays.values())))
    figure = Figure(figsize=(1.05 * columns + 2.4, 1.05 * len(arrays)), layout="constrained")
    for line, (system, images) in zip(grid(figure, len(arrays), columns), arrays.items(), strict=True):
        show(line, images)
        label(line[0], system, fontsize=9)
    return figure
