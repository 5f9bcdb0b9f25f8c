"""What the far-field operators share: the transforms of one or several exit waves of an object on a larger grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators._base import Operator


def check_options(fourier_shape: Any, norm: Any, centered: Any, onesided: Any = False) -> tuple[int, ...]:
    """The options of a Fourier plane are what they should be; returns the shape as a tuple."""
    _checks.choice("norm", norm, _fft.NORMS)
    _checks.flag(centered=centered, onesided=onesided)
    return _checks.shape("fourier_shape", fourier_shape)


def data_shape(fourier_shape: tuple[int, ...], onesided: bool) -> tuple[int, ...]:
    """Shape of the data on a grid: the last axis of one-sided data holds the non-negative frequencies only."""
    *rest, last = fourier_shape
    return (*rest, _fft.half_size(last) if onesided else last)


class FarField(Operator):
    """Each exit wave is zero-padded to `fourier_shape` and transformed; a subclass makes them from the object."""

    fourier_shape: tuple[int, ...]
    norm: _fft.Norm
    centered: bool
    onesided: bool = False

    def __init__(self, grid: tuple[int, ...], **options: Any) -> None:
        super().__init__(**options)
        self.fourier_shape, self.object_ndim, self.data_ndim = grid, len(grid), len(grid) + 1

    @property
    def centered_axes(self) -> range:
        """The axes of the data whose zero frequency lies in the middle."""
        return _fft.centered_axes(self.object_ndim, self.onesided, self.centered)

    def _exit_waves(self, obj: Tensor) -> Tensor:
        """(*, n1..nd) -> (*, K, p1..pd)."""
        raise NotImplementedError

    def linear(self, obj: Tensor) -> Tensor:
        """The spectra of the exit waves: (*, n1..nd) -> (*, K, m1..md), complex."""
        self._check(obj)
        return self._field(obj)

    def _measure(self, obj: Tensor) -> Tensor:
        return self._field(obj, _fft.power)

    def _field(self, obj: Tensor, take: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """The spectra, or a pointwise function `take` of them."""
        plane = _fft.full_plane(self._exit_waves(_fft.promote(obj)), self.fourier_shape, self.norm, take)
        return _fft.center(plane, self.centered_axes)

    def _exit_waves_adjoint(self, field: Tensor, shape: Sequence[int]) -> Tensor:
        """The adjoint of pad and transform: (*, K, m1..md) -> (*, K, p1..pd)."""
        return _fft.adjoint(_fft.uncenter(field, self.centered_axes), self.fourier_shape, shape, self.norm)

    def _light(self, weight: Tensor) -> Tensor:
        """The diagonal of F^H diag(weight) F, F being pad and transform: (*, K, m1..md) -> (*, K, 1..1), one number."""
        light = weight.sum(tuple(range(-self.object_ndim, 0)), keepdim=True)
        power = {"ortho": -1, "backward": 0, "forward": -2}[self.norm]
        return light * float(math.prod(self.fourier_shape)) ** power
