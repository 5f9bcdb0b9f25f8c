"""What coded diffraction and ptychography share: the far fields of several exit waves of one object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators._base import Operator


class FarField(Operator):
    """Each exit wave is zero-padded to `fourier_shape` and transformed; a subclass makes them from the object."""

    norm: _fft.Norm
    centered: bool

    def __init__(
        self, grid: tuple[int, ...], *, norm: _fft.Norm, centered: bool, chunk: int | None, **options: Any
    ) -> None:
        _checks.choice("norm", norm, _fft.NORMS)
        _checks.flag(centered=centered)
        super().__init__(**options, norm=norm, centered=centered, chunk=chunk)
        self.fourier_shape = grid
        self.object_ndim, self.data_ndim = len(self.fourier_shape), len(self.fourier_shape) + 1

    def _exit_waves(self, obj: Tensor) -> Tensor:
        """(*, n1..nd) -> (*, K, p1..pd)."""
        raise NotImplementedError

    def linear(self, obj: Tensor) -> Tensor:
        """The spectra of the exit waves: (*, n1..nd) -> (*, K, m1..md), complex."""
        self._check(obj)
        return self._patterns(obj)

    def _field(self, obj: Tensor) -> Tensor:
        return self._patterns(obj)

    def _measure(self, obj: Tensor) -> Tensor:
        return self._patterns(obj, _fft.power)

    def _patterns(self, obj: Tensor, take: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        plane = _fft.full_plane(self._exit_waves(_fft.promote(obj)), self.fourier_shape, self.norm, take)
        return _fft.center(plane, self.centered_axes)

    def _exit_waves_adjoint(self, field: Tensor, shape: Sequence[int]) -> Tensor:
        """The adjoint of pad and transform: (*, K, m1..md) -> (*, K, p1..pd)."""
        return _fft.adjoint(_fft.uncenter(field, self.centered_axes), self.fourier_shape, shape, self.norm)

    @property
    def centered_axes(self) -> range:
        """The axes of the data whose zero frequency lies in the middle."""
        return _fft.centered_axes(self.object_ndim, False, self.centered)
