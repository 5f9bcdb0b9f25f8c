"""Pixels that are full, hidden or dead."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret._module import Module, called_as


def saturation(intensity: Tensor, *, level: float) -> Tensor:
    r"""A detector that is full: no pixel gives more than `level`.

    .. math:: Y = \min(I, \mathrm{level})

    A saturated pixel says only that the intensity was at least this much. Take it as not measured:
    ``mask = intensity < level``.

    Args:
        intensity: Intensity, real floating.
        level: Largest value a pixel can give, in the units of intensity.

    Shape:
        - intensity: any
        - output: the same

    Returns:
        Real tensor, the units of intensity; float16 and bfloat16 give float32.

    Raises:
        TypeError: if intensity is not real floating or level not a number.
        ValueError: if level is not positive.

    Example:
        >>> saturation(torch.tensor([1.0, 5.0, 70000.0]), level=65535)
        tensor([1.0000e+00, 5.0000e+00, 6.5535e+04])
    """
    level = _checks.number("level", level, above=0)
    _checks.real(intensity=intensity)
    intensity = _fft.promote(intensity)
    return intensity.clamp(max=min(level, torch.finfo(intensity.dtype).max))


class Saturation(Module):
    """Module of :func:`saturation`, with the same options.

    Args:
        level: Largest value a pixel can give, in the units of intensity.
    """

    def __init__(self, *, level: float) -> None:
        super().__init__(level=_checks.number("level", level, above=0))

    def forward(self, intensity: Tensor) -> Tensor:
        """The intensity, at most `level`."""
        return saturation(intensity, **self.options)

    __call__ = called_as(forward)


def mask_pixels(intensity: Tensor, mask: Tensor, *, value: float = 0.0) -> Tensor:
    """Pixels that see nothing: the intensity where the mask is True, `value` elsewhere.

    Args:
        intensity: Intensity, real floating.
        mask: True where the pixel is measured; combine masks with ``&``. It broadcasts against the intensity.
        value: What an unmeasured pixel shows. Use nan to make sure that nothing reads it.

    Shape:
        - intensity: (*, m1..md)
        - mask: (m1..md), or (*, m1..md)
        - output: that of intensity

    Returns:
        Real tensor, the units of intensity; float16 and bfloat16 give float32.

    Raises:
        TypeError: if intensity is not real floating, mask not boolean or value not a number.
        ValueError: if the mask does not fit, leaves no pixel or lies on another device.

    Example:
        >>> mask_pixels(torch.ones(2, 3), torch.tensor([True, False, True]))
        tensor([[1., 0., 1.],
                [1., 0., 1.]])
    """
    _checks.real(intensity=intensity)
    _checks.boolean(mask=mask)
    masked = _masked(intensity, mask, value)
    _check_some(mask)
    return masked


def _masked(intensity: Tensor, mask: Tensor | None, value: float) -> Tensor:
    intensity = _fft.promote(intensity)
    return intensity.where(_checks.mask(mask, intensity), _checked_value(value, torch.finfo(intensity.dtype).max))


def _checked_value(value: float, most: float | None = None) -> float:
    """A number of at most this size, or nan."""
    if isinstance(value, float) and math.isnan(value):
        return value
    value = _checks.number("value", value)
    if most is not None and abs(value) > most:
        _checks.fail(f"value must fit the dtype of the intensity, which ends at {most:g}, got {value:g}", "Use nan")
    return value


def _check_some(mask: Tensor) -> None:
    if torch.compiler.is_compiling():
        return
    try:
        some = bool(mask.any())
    except RuntimeError:  # under vmap, or on the meta device, there are no values to look at
        return
    if not some:
        _checks.fail("mask must leave pixels, got one that is False everywhere", "It is True where measured")


class MaskPixels(Module):
    """Module of :func:`mask_pixels`, with the same options; the mask is a buffer.

    Args:
        mask: True where the pixel is measured. A call may add one of its batch: measured is what both say.
        value: What an unmeasured pixel shows.

    Example:
        >>> mask = beam_stop((64, 64), radius=2) & dead_pixels((64, 64), fraction=0.01)
        >>> MaskPixels(mask)(torch.ones(4, 64, 64)).shape
        torch.Size([4, 64, 64])
    """

    mask: Tensor
    value: float

    def __init__(self, mask: Tensor, *, value: float = 0.0) -> None:
        _checks.boolean(mask=mask)
        _checked_value(value)
        _check_some(mask)
        super().__init__(mask=mask, value=value)

    def forward(self, intensity: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """The intensity where it is measured, `value` elsewhere."""
        _checks.real(intensity=intensity)
        return _masked(intensity, _checks.both_masks(self.mask, mask, intensity), self.value)

    __call__ = called_as(forward)


def beam_stop(
    fourier_shape: Sequence[int],
    *,
    radius: float,
    centered: bool = False,
    onesided: bool = False,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""The mask of a round beam stop over the zero frequency: False within `radius` pixels of it.

    .. math:: M_k = \big( k_1^2 + \dots + k_d^2 > \mathrm{radius}^2 \big)

    Args:
        fourier_shape: Sizes (m1, ..., md) of the full plane.
        radius: Radius in pixels; 0 covers the zero frequency only.
        centered: Zero frequency at index m // 2 instead of 0 (with `onesided`, of all axes but the last).
        onesided: The non-negative frequencies of the last axis only.
        device: Where the mask lies. Default: the CPU.

    Returns:
        Boolean tensor, True where measured: (m1..md), or (m1.., md//2 + 1) if onesided.

    Raises:
        TypeError: if fourier_shape is not a sequence of integers or radius not a number.
        ValueError: if the radius is negative, or covers every pixel.

    Example:
        >>> beam_stop((5, 5), radius=1, centered=True).int()
        tensor([[1, 1, 1, 1, 1],
                [1, 1, 0, 1, 1],
                [1, 0, 0, 0, 1],
                [1, 1, 0, 1, 1],
                [1, 1, 1, 1, 1]], dtype=torch.int32)
    """
    shape = _checks.shape("fourier_shape", fourier_shape)
    radius = _checks.number("radius", radius, at_least=0)
    _checks.flag(centered=centered, onesided=onesided)
    mask = _fft.arrange(_fft.frequency_radius(shape, shape) > radius, len(shape), onesided, centered)
    if not mask.any():
        _checks.fail(f"radius must leave pixels of the shape {shape}, got {radius}", "Choose a smaller one")
    return mask.to(device)


def dead_pixels(
    data_shape: Sequence[int],
    *,
    fraction: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The mask of a detector with dead pixels at random places: False for each with probability `fraction`.

    Args:
        data_shape: Shape of one measurement.
        fraction: Probability of a pixel to be dead.
        generator: Source of the random numbers. Default: torch's. The mask lies on its device.

    Returns:
        Boolean tensor, True where measured.

    Raises:
        TypeError: if data_shape is not a sequence of integers or fraction not a number.
        ValueError: if the fraction is out of its range, or no pixel is left.

    Example:
        >>> dead_pixels((512, 512), fraction=0.01).float().mean().round(decimals=2)
        tensor(0.9900)
    """
    shape = _checks.shape("data_shape", data_shape)
    fraction = _checks.number("fraction", fraction, at_least=0, at_most=1)
    _checks.generator(generator)
    device = None if generator is None else generator.device
    mask = torch.rand(shape, generator=generator, device=device, dtype=torch.float32) >= fraction
    if not mask.any():
        _checks.fail(f"fraction must leave pixels of the shape {shape}, got {fraction}", "Use a smaller one")
    return mask
