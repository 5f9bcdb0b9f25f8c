"""The base class of all measurement operators."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from phaseret import _fft


class Operator(nn.Module):
    """A measurement: the squared absolute value of a linear map of the object.

    A subclass sets the two class attributes and writes `linear` and `adjoint`; losses and solvers need nothing more.

    Attributes:
        object_ndim: Number of axes of one object; all axes before them are a batch.
        data_ndim: Number of axes of one measurement.
    """

    object_ndim: int
    data_ndim: int

    def linear(self, obj: Tensor) -> Tensor:
        """The complex field at the detector, before the modulus is taken: (*, object) -> (*, data)."""
        raise NotImplementedError

    def adjoint(self, field: Tensor, object_shape: Sequence[int] | None = None) -> Tensor:
        """The adjoint of `linear` for complex objects: (*, data) -> (*, object).

        ``<linear(x), y> == <x, adjoint(y)>``; for real objects take the real part.
        """
        raise NotImplementedError

    def forward(self, obj: Tensor) -> Tensor:
        """The intensity: (*, object) -> (*, data), real and non-negative."""
        return _fft.power(self.linear(obj))
