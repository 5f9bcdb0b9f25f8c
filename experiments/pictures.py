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


def as_colours(obj: Any) -> Any:
    """Brightness for the modulus, at most 1; the hue is the phase of a complex object."""
    brightness = np.abs(obj).clip(max=1)
    hue = np.angle(obj) / (2 * np.pi) % 1
    return hsv_to_rgb(np.stack([hue, np.full_like(hue, float(np.iscomplexobj(obj))), brightness], -1))


def estimates_of_systems(arrays: dict[str, Any]) -> Figure:
    """One line of test objects per system."""
    columns = len(next(iter(arrays.values())))
    figure = Figure(figsize=(1.05 * columns + 2.4, 1.05 * len(arrays)), layout="constrained")
    axes = figure.subplots(len(arrays), columns, squeeze=False, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
    for line, (system, images) in zip(axes, arrays.items(), strict=True):
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image, cmap="gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(system, rotation=0, ha="right", va="center", fontsize=9)
    return figure
