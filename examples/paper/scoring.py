"""What the experiments say of estimates: scores before and after alignment, and which copy of the object they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import phaseret as pr

#: An output is a copy of the object if their correlation after alignment is at least this, and a novel one if it is the
#: flip by at least such a margin, or lies so many pixels away from the object.
COPY, MARGIN, AWAY = 0.9, 0.02, 2
#: An output is a superposition of the object and its flip if both have at least this share in the combination of the
#: two that fits best, and if the combination explains more of the output than the better copy alone, by this share of
#: its square. A blurred copy has nothing to gain from the other one.
SHARE, GAIN = 0.2, 0.15


def scores(estimates: Tensor, objects: Tensor, intensities: Tensor | None = None) -> dict[str, float]:
    """Mean scores of (N, n1, n2) estimates, and the shares of those that solved or are a copy or a superposition.

    The relative magnitude error compares with the objects' own, noise-free intensities unless they are given.
    """
    shape = pr.operators.fast_fourier_shape(objects.shape[-2:], 2)
    values: dict[str, list[Tensor]] = {}
    for part in torch.arange(len(objects)).split(500):
        estimate, obj = estimates[part], objects[part]
        seen = pr.operators.fourier_intensity(obj, shape) if intensities is None else intensities[part]
        found = {
            "raw_psnr": pr.metrics.psnr(estimate, obj, align=False, reduction="none"),
            "aligned_psnr": pr.metrics.psnr(estimate, obj, reduction="none"),
            "aligned_ssim": pr.metrics.ssim(estimate, obj, reduction="none"),
            "relative_magnitude_error": pr.metrics.relative_magnitude_error(estimate, seen, reduction="none"),
            **copies(estimate, obj),
        }
        for name, value in found.items():
            values.setdefault(name, []).append(value.double())
    return {name: round(torch.cat(value).mean().item(), 5) for name, value in values.items()}


def copies(estimates: Tensor, objects: Tensor) -> dict[str, Tensor]:
    """For each item whether the estimate is the object, its flip, a superposition of the two, or nothing of these.

    Both copies are put where they fit the estimate best, and the combination a * object + b * flip with a, b >= 0 that
    fits it best is computed. A novel copy is one that is turned, or that lies elsewhere than the object.
    """
    straight = pr.symmetry.align(objects, estimates, flip=False)
    turned = pr.symmetry.align(pr.symmetry.conj_flip(objects), estimates, flip=False)
    first, second = straight.aligned.flatten(1).real, turned.aligned.flatten(1).real
    target = estimates.flatten(1).real
    of_object, of_flip = _correlation(first, target), _correlation(second, target)
    # Weights of the two copies by the normal equations; a negative one means that the other copy alone fits best.
    aa, bb, ab = (first * first).sum(1), (second * second).sum(1), (first * second).sum(1)
    at, bt = (first * target).sum(1), (second * target).sum(1)
    determinant = (aa * bb - ab * ab).clamp_min(1e-12)
    a, b = (bb * at - ab * bt) / determinant, (aa * bt - ab * at) / determinant
    both = _correlation(a[:, None] * first + b[:, None] * second, target)
    least = torch.minimum(a, b) / (a + b).clamp_min(1e-12)
    is_copy = torch.maximum(of_object, of_flip) >= COPY
    is_object = is_copy & (of_object >= of_flip)
    is_flip = is_copy & (of_flip > of_object)
    better = torch.maximum(of_object, of_flip)
    superposed = ~is_copy & (least >= SHARE) & (both.square() - better.square() >= GAIN)
    moved = (torch.where(is_flip[:, None], turned.shifts, straight.shifts).abs() >= AWAY).any(1)
    turned_for_sure = is_flip & (of_flip >= of_object + MARGIN)
    return {
        "is_object": is_object,
        "is_flip": is_flip,
        "is_superposition": superposed,
        "is_novel_copy": turned_for_sure | (is_copy & moved),
    }


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    product = (one * other).sum(1)
    return product / (one.norm(dim=1) * other.norm(dim=1)).clamp_min(1e-12)


def as_pixels(images: Tensor) -> Any:
    """Images with values from 0 to 1 as bytes, small enough to keep beside the results."""
    return images.clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
