"""The oversampled Fourier measurement of far-field diffraction, in one, two and three dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators._far_field import FarField, check_options, data_shape

_MOST_OVERSAMPLING = 1e6


def min_fourier_shape(object_shape: Sequence[int]) -> tuple[int, ...]:
    """The smallest Fourier shape that determines an object up to the symmetries: 2n - 1 along each axis.

    Args:
        object_shape: Object sizes (n1, ..., nd).

    Returns:
        (2 n1 - 1, ..., 2 nd - 1): the size of the object's autocorrelation.

    Raises:
        TypeError: if object_shape is not a sequence of integers.
        ValueError: if it does not hold one to three positive sizes.

    Example:
        >>> min_fourier_shape((28, 28))
        (55, 55)

    Source:
        Hayes (1982), The reconstruction of a multidimensional sequence from the phase or magnitude of its Fourier
        transform, doi:10.1109/TASSP.1982.1163863.
    """
    return tuple(2 * n - 1 for n in _checks.shape("object_shape", object_shape))


def fast_fourier_shape(object_shape: Sequence[int], oversampling: float = 2.0) -> tuple[int, ...]:
    """A Fourier shape of at least 2n - 1 and `oversampling` times n whose transform is fast.

    Args:
        object_shape: Object sizes (n1, ..., nd).
        oversampling: Least ratio m / n of each axis. Below 2 - 1/n the rule m >= 2n - 1 decides.

    Returns:
        Sizes whose prime factors are 2, 3, 5 and 7.

    Raises:
        TypeError: if object_shape is not a sequence of integers or oversampling is not a number.
        ValueError: if a size or the oversampling is not positive, or the oversampling is above a million.

    Example:
        >>> fast_fourier_shape((28, 28)), fast_fourier_shape((67,), oversampling=3)
        ((56, 56), (210,))
    """
    sizes = _checks.shape("object_shape", object_shape)
    ratio = _checks.number("oversampling", oversampling, above=0, at_most=_MOST_OVERSAMPLING)
    return tuple(_next_smooth(max(2 * n - 1, math.ceil(ratio * n))) for n in sizes)


def _next_smooth(size: int) -> int:
    """The smallest number from `size` on whose prime factors are 2, 3, 5 and 7."""
    least = 2 * size  # there is a power of two before
    for sevens in _powers(7, size):
        for fives in _powers(5, size):
            for threes in _powers(3, size):
                odd = sevens * fives * threes
                least = min(least, odd << (-(-size // odd) - 1).bit_length())
    return least


def _powers(of: int, size: int) -> list[int]:
    """Those that are at most the size, and the one behind them."""
    found = [1]
    while found[-1] < size:
        found.append(found[-1] * of)
    return found


class _Fourier(FarField):
    """The oversampled Fourier transform; the two public Modules differ in the modulus they take."""

    undersampled: bool

    def __init__(
        self,
        fourier_shape: Sequence[int],
        *,
        norm: _fft.Norm = "ortho",
        centered: bool = False,
        onesided: bool = False,
        undersampled: bool = False,
        chunk: int | None = None,
    ) -> None:
        shape = check_options(fourier_shape, norm, centered, onesided)
        _checks.flag(undersampled=undersampled)
        plane = {"fourier_shape": shape, "norm": norm, "centered": centered, "onesided": onesided}
        super().__init__(shape, **plane, undersampled=undersampled, chunk=chunk)
        self.data_ndim = len(shape)

    @property
    def data_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Shape of one measurement: `fourier_shape`, its last size halved (m//2 + 1) if onesided."""
        return data_shape(self.fourier_shape, self.onesided)

    def weights(self, like: Tensor) -> Tensor:
        """How many pixels of the full plane each pixel of the data stands for: 1 and 2 in one-sided data."""
        return _fft.pair_weights(self.fourier_shape[-1], like) if self.onesided else super().weights(like)

    def _check(self, obj: Tensor, *, on_grid: bool = False) -> None:
        """Raise unless `obj` is a batch of objects, of which one `on_grid` may be laid out on the whole grid."""
        super()._check(obj)
        if self.onesided and obj.is_complex():
            fix = "A complex object has no half spectrum: use onesided=False"
            _checks.fail(f"onesided=True must have a real object, got {obj.dtype}", fix, TypeError)
        shape = tuple(obj.shape[-self.object_ndim :])
        if not on_grid or shape != self.fourier_shape:
            _checks.fourier_shape(self.fourier_shape, shape, self.undersampled)

    def _predicted(self, estimate: Tensor) -> Tensor:
        if not self._as_the_library_has_it:
            return self.linear(estimate)
        self._check(estimate, on_grid=True)
        return self._field(estimate)

    def _exit_waves(self, obj: Tensor) -> Tensor:
        return obj

    def _field(self, obj: Tensor, take: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        if not self.onesided:
            return super()._field(obj, take)
        half = _fft.spectrum(obj, self.fourier_shape, self.norm)
        return _fft.center((take(half) if take else half).contiguous(), self.centered_axes)

    def linear(self, obj: Tensor) -> Tensor:
        """The spectrum of the zero-padded object: (*, n1..nd) -> (*, m1..md), complex."""
        return super().linear(obj)

    def adjoint(self, field: Tensor, object_shape: Sequence[int] | None = None) -> Tensor:
        """The adjoint of `linear`: (*, m1..md) -> (*, n1..nd).

        Complex for a full field; real for a onesided one, since only real objects have one.
        """
        shape = self._adjoint_shape(object_shape)
        _checks.fourier_shape(self.fourier_shape, shape, self.undersampled)
        field = self._as_field(field, self.data_shape)
        if not self.onesided:
            return self._exit_waves_adjoint(field, shape).contiguous()
        once = _fft.uncenter(field, self.centered_axes) / _fft.pair_weights(self.fourier_shape[-1], field)
        return _fft.adjoint_half(once, self.fourier_shape, shape, self.norm).contiguous()


def fourier_intensity(
    obj: Tensor,
    fourier_shape: Sequence[int],
    *,
    norm: _fft.Norm = "ortho",
    centered: bool = False,
    onesided: bool = False,
    undersampled: bool = False,
    chunk: int | None = None,
) -> Tensor:
    r"""What a far-field detector records: the squared modulus of the zero-padded object's Fourier transform.

    .. math:: Y_k = \Big| s \sum_{x} X_x \exp(-2 \pi i \, k \cdot x / m) \Big|^2

    with s = 1 / sqrt(m1...md) for ``norm="ortho"``, 1 for "backward" and 1 / (m1...md) for "forward". It does not
    change under shift (on the padded grid), conj_flip and global_phase of the object. Its gradient is 0 where the
    spectrum is 0.

    Args:
        obj: Object, real or complex floating.
        fourier_shape: Sizes (m1, ..., md); their number says how many axes are transformed (1, 2 or 3).
        norm: "ortho", "backward" or "forward", as in `torch.fft`.
        centered: Put the zero frequency at index m // 2 instead of 0 (with `onesided`, of all axes but the last).
        onesided: For a real object keep the non-negative frequencies of the last axis only.
        undersampled: Allow m < 2n - 1 (but m >= n), where other objects have the same data. A warning says so once.
        chunk: Items computed at a time. Results do not depend on it; peak memory does.

    Shape:
        - obj: (*, n1..nd) with m >= 2n - 1, or m >= n if undersampled
        - output: (*, m1..md), or (*, m1.., md//2 + 1) if onesided

    Returns:
        Real tensor, squared object units; float16 and bfloat16 objects give float32.

    Raises:
        TypeError: if obj is not a floating tensor, or is complex while onesided.
        ValueError: if m < 2n - 1 without `undersampled`, or an option is unknown.

    Example:
        >>> fourier_intensity(torch.ones(4, 28, 28), (64, 64)).shape
        torch.Size([4, 64, 64])
        >>> fourier_intensity(torch.ones(2), (4,), norm="backward")
        tensor([4., 2., 0., 2.])

    Source:
        Manekar, Tayal, Kumar, Sun (2020), End-to-End Learning for Phase Retrieval, section 1.
    """
    plane: dict[str, Any] = {"norm": norm, "centered": centered, "onesided": onesided}
    return FourierIntensity(fourier_shape, **plane, undersampled=undersampled, chunk=chunk)(obj)


class FourierIntensity(_Fourier):
    """Module of :func:`fourier_intensity`, with the same options; also `linear` and `adjoint`.

    Args:
        fourier_shape: Sizes (m1, ..., md) of the padded grid.
        norm: "ortho", "backward" or "forward".
        centered: Zero frequency at index m // 2 instead of 0.
        onesided: Keep the non-negative frequencies of the last axis only.
        undersampled: Allow m < 2n - 1 (but m >= n), where other objects have the same data. A warning says so once.
        chunk: Items computed at a time.

    Example:
        >>> op = FourierIntensity((64, 64))
        >>> spectrum = op.linear(torch.ones(28, 28))
        >>> op.adjoint(spectrum, (28, 28)).shape
        torch.Size([28, 28])
    """


def fourier_magnitude(
    obj: Tensor,
    fourier_shape: Sequence[int],
    *,
    norm: _fft.Norm = "ortho",
    centered: bool = False,
    onesided: bool = False,
    undersampled: bool = False,
    chunk: int | None = None,
) -> Tensor:
    """The modulus of the zero-padded object's Fourier transform: the square root of :func:`fourier_intensity`.

    It neither overflows nor underflows for any magnitude the dtype can hold, and its gradient is 0 where it is 0.
    Arguments, shapes and errors are those of :func:`fourier_intensity`.

    Returns:
        Real tensor, object units.

    Example:
        >>> fourier_magnitude(torch.ones(2), (4,), norm="backward")
        tensor([2.0000, 1.4142, 0.0000, 1.4142])
    """
    plane: dict[str, Any] = {"norm": norm, "centered": centered, "onesided": onesided}
    return FourierMagnitude(fourier_shape, **plane, undersampled=undersampled, chunk=chunk)(obj)


class FourierMagnitude(_Fourier):
    """Module of :func:`fourier_magnitude`, with the same options; also `linear` and `adjoint`.

    Args:
        fourier_shape: Sizes (m1, ..., md) of the padded grid.
        norm: "ortho", "backward" or "forward".
        centered: Zero frequency at index m // 2 instead of 0.
        onesided: Keep the non-negative frequencies of the last axis only.
        undersampled: Allow m < 2n - 1 (but m >= n), where other objects have the same data. A warning says so once.
        chunk: Items computed at a time.
    """

    of_intensities = False

    def _measure(self, obj: Tensor) -> Tensor:
        return self._field(obj, lambda field: _fft.magnitude(field, self.object_ndim))
