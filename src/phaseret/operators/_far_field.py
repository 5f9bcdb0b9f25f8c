"""What coded diffraction and ptychography share: the far fields of several exit waves of one object."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators._base import Operator


class FarField(Operator):
    """Each exit wave is zero-padded to `fourier_shape` and transformed; a subclass makes them from the object."""

    def __init__(self, fourier_shape: Sequence[int], *, norm: str, centered: bool, chunk: int | None) -> None:
        super().__init__(chunk=chunk)
        _checks.choice("norm", norm, _fft.NORMS)
        self.fourier_shape = tuple(fourier_shape)
        self.norm, self.centered = norm, bool(centered)
        self.object_ndim, self.data_ndim = len(self.fourier_shape), len(self.fourier_shape) + 1

    def _exit_waves(self, obj: Tensor) -> Tensor:
        """(*, n1..nd) -> (*, K, p1..pd)."""
        raise NotImplementedError

    def linear(self, obj: Tensor) -> Tensor:
        """The spectra of the exit waves: (*, n1..nd) -> (*, K, m1..md), complex."""
        self._check(obj)
        return self._patterns(obj)

    def _measure(self, obj: Tensor) -> Tensor:
        return self._patterns(obj, _fft.power)

    def _patterns(self, obj: Tensor, take: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        plane = _fft.full_plane(self._exit_waves(_fft.promote(obj)), self.fourier_shape, self.norm, take)
        return _fft.center(plane, self._centered_axes())

    def _exit_waves_adjoint(self, field: Tensor, shape: Sequence[int]) -> Tensor:
        """The adjoint of pad and transform: (*, K, m1..md) -> (*, K, p1..pd)."""
        return _fft.adjoint(_fft.uncenter(field, self._centered_axes()), self.fourier_shape, shape, self.norm)

    def _centered_axes(self) -> range:
        return range(-self.object_ndim, 0) if self.centered else range(0)
