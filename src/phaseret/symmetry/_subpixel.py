"""Shifts by fractions of a pixel: an interpolation, kept apart from the exact elements of the group."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret._module import Module, called_as
from phaseret.symmetry._elements import check_group, grid, per_item


def subpixel_shift(
    obj: Tensor, shifts: Tensor | Sequence[float], *, fourier_shape: Sequence[int] | None = None
) -> Tensor:
    r"""Move the object by any fraction of a pixel, circularly, by trigonometric interpolation.

    .. math:: T_s x = F^{-1} \big[ e^{-2 \pi i \, k \cdot s / m} \, (F x)_k \big]

    For whole pixels this is :func:`shift`, up to rounding. For fractions it keeps every Fourier magnitude but those at
    the Nyquist frequency of even sizes, which shrink by cos(pi s) so that real objects stay real; and it is not an
    exact symmetry of a bounded object, since the interpolated one spreads over the whole grid, ringing at sharp edges.

    Args:
        obj: Object, real or complex floating.
        shifts: Pixels along each of the last d axes, positive towards larger indices: d numbers for all items, or a
            real tensor with one row per item, which may require a gradient.
        fourier_shape: Pad to these sizes (m1, ..., md) first. Default: no padding.

    Shape:
        - obj: (*, n1..nd)
        - shifts: (d,) or (*, d)
        - output: (*, n1..nd), or (*, m1..md) with fourier_shape

    Returns:
        Tensor of the dtype of obj; half precision is promoted to single.

    Raises:
        TypeError: if obj is not floating, or shifts are not real.
        ValueError: if the shapes do not fit.

    Example:
        >>> wave = torch.cos(2 * torch.pi * torch.arange(8) / 8)
        >>> moved = subpixel_shift(wave, (0.5,))
        >>> moved.allclose(torch.cos(2 * torch.pi * (torch.arange(8) - 0.5) / 8), atol=1e-6)
        True
    """
    _checks.floating(obj=obj)
    obj = _fft.promote(obj)
    moves = _fractions(shifts)
    d = moves.shape[-1]
    _checks.rank(d, obj=obj)
    shape = grid(fourier_shape, obj.shape[-d:])
    # once around the grid is nowhere: what is left keeps its digits in the precision of the object
    moves = torch.stack([x - (x / m).round() * m for x, m in zip(moves.unbind(-1), shape, strict=True)], -1)
    moves = moves.to(obj.real.dtype)
    if not isinstance(shifts, Tensor):
        moves = moves.to(obj.device)
    _checks.same_device(obj=obj, shifts=moves)
    return _fft.fourier_shift(obj, per_item("shifts", moves, obj.shape[:-d], 1), shape)


class SubpixelShift(Module):
    """Module of :func:`subpixel_shift`, with the same options.

    Args:
        shifts: Pixels along each of the last d axes: d numbers for all items, or a real tensor with one row per item.
        fourier_shape: Pad to these sizes (m1, ..., md) first. Default: no padding.
    """

    shifts: Tensor
    fourier_shape: tuple[int, ...] | None

    def __init__(self, shifts: Tensor | Sequence[float], *, fourier_shape: Sequence[int] | None = None) -> None:
        shifts = _fractions(shifts)
        super().__init__(shifts=shifts, fourier_shape=check_group(shifts.shape[-1], fourier_shape, None)[1])

    def inverse(self) -> SubpixelShift:
        """The Module that moves back, on the grid that this one gives."""
        return SubpixelShift(-self.shifts, fourier_shape=self.fourier_shape)

    def forward(self, obj: Tensor) -> Tensor:
        """The moved object."""
        return subpixel_shift(obj, **self.options)

    __call__ = called_as(forward)


def _fractions(shifts: Tensor | Sequence[float]) -> Tensor:
    """Check the shifts: one to three numbers, or a real tensor (*, d)."""
    if not isinstance(shifts, Tensor):
        if isinstance(shifts, str) or not isinstance(shifts, Sequence):
            fix = "Use a tuple such as (0.5, 0)"
            _checks.fail(f"shifts must be a sequence of numbers or a tensor, got {shifts!r}", fix, TypeError)
        shifts = torch.tensor([_checks.number("shifts", s) for s in shifts], dtype=torch.float64)
    elif not shifts.is_floating_point():
        fix = "Use shift for whole pixels"
        _checks.fail(f"shifts must be real floating, got {shifts.dtype}", fix, TypeError)
    if shifts.ndim < 1 or not 1 <= shifts.shape[-1] <= 3:
        fix = "One number for each axis"
        _checks.fail(f"shifts must have the shape (*, d) with d = 1, 2 or 3, got {tuple(shifts.shape)}", fix)
    _checks.real(shifts=shifts)
    return shifts
