"""The Fourier transform of a zero-padded object and its adjoint: the only file that calls `torch.fft`.

The object lies in the corner of the padded grid, so most rows of the grid are zero: each axis is padded just before
its own one-dimensional transform, and cropped just after it on the way back. Real objects are transformed to the
half spectrum, the non-negative frequencies of the last axis. float16 and bfloat16 are computed in float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

NORMS = ("ortho", "backward", "forward")
# The adjoint of the forward transform is the inverse transform with this normalisation.
ADJOINT_NORM = {"ortho": "ortho", "backward": "forward", "forward": "backward"}


def promote(x: Tensor) -> Tensor:
    """Half precision to single precision; other dtypes unchanged."""
    if x.dtype in (torch.float16, torch.bfloat16):
        return x.float()
    return x.to(torch.complex64) if x.dtype == torch.complex32 else x


def half_size(m: int) -> int:
    """Number of non-negative frequencies of a real signal of length m."""
    return m // 2 + 1


def pad_axis(x: Tensor, dim: int, size: int) -> Tensor:
    """Zeros at the end of axis `dim` (negative) up to `size`."""
    missing = size - x.shape[dim]
    return F.pad(x, [0, 0] * (-1 - dim) + [0, missing]) if missing else x


def pad(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Zeros at the end of the last axes, up to `shape`."""
    widths = [w for dim in range(1, len(shape) + 1) for w in (0, shape[-dim] - x.shape[-dim])]
    return F.pad(x, widths) if any(widths) else x


def crop(x: Tensor, shape: Sequence[int]) -> Tensor:
    """The corner of size `shape` of the last axes: a view."""
    for dim in range(1, len(shape) + 1):
        x = x.narrow(-dim, 0, shape[-dim])
    return x


def spectrum(obj: Tensor, shape: Sequence[int], norm: str = "ortho") -> Tensor:
    """Fourier transform of the zero-padded object: half spectrum if it is real, full spectrum if complex."""
    x = pad_axis(promote(obj), -1, shape[-1])
    x = torch.fft.fft(x, dim=-1, norm=norm) if x.is_complex() else torch.fft.rfft(x, dim=-1, norm=norm)
    for dim in range(2, len(shape) + 1):
        # Padding through the transpose lays the axis out contiguously: its transform is 2 to 3 times faster.
        x = pad_axis(x.transpose(-dim, -1), -1, shape[-dim])
        x = torch.fft.fft(x, dim=-1, norm=norm).transpose(-dim, -1)
    return x


def adjoint(field: Tensor, shape: Sequence[int], object_shape: Sequence[int], norm: str = "ortho") -> Tensor:
    """Adjoint of the full transform of a complex object: inverse transform, then crop to the object."""
    for dim in range(len(shape), 0, -1):
        field = torch.fft.ifft(field, dim=-dim, norm=ADJOINT_NORM[norm]).narrow(-dim, 0, object_shape[-dim])
    return field


def adjoint_half(half: Tensor, shape: Sequence[int], object_shape: Sequence[int], norm: str = "ortho") -> Tensor:
    """Adjoint of the full transform of a real object, given the half of a Hermitian field.

    Each frequency pair counts twice, as in the full plane; scale the half with `pair_weights` to count it once.
    """
    for dim in range(len(shape), 1, -1):
        half = torch.fft.ifft(half, dim=-dim, norm=ADJOINT_NORM[norm]).narrow(-dim, 0, object_shape[-dim])
    return torch.fft.irfft(half, n=shape[-1], dim=-1, norm=ADJOINT_NORM[norm]).narrow(-1, 0, object_shape[-1])


def pair_weights(m: int, like: Tensor) -> Tensor:
    """How many pixels of the full last axis each pixel of the half axis stands for: 1, 2, 2, ..., (1 if m is even)."""
    weights = torch.full((half_size(m),), 2.0, dtype=like.real.dtype, device=like.device)
    weights[0] = 1.0
    if m % 2 == 0:
        weights[-1] = 1.0
    return weights


def mirror(x: Tensor, axes: Sequence[int]) -> Tensor:
    """The values at the opposite frequency: index k to -k modulo the size, along `axes`."""
    return x.flip(tuple(axes)).roll((1,) * len(axes), tuple(axes)) if axes else x


def full_from_half(half: Tensor, shape: Sequence[int]) -> Tensor:
    """The full plane of a Hermitian (or, if real, centro-symmetric) half plane."""
    rest = half[..., 1 : (shape[-1] + 1) // 2].flip(-1)
    rest = mirror(rest, range(-len(shape), -1))
    return torch.cat([half, rest.conj() if rest.is_complex() else rest], dim=-1)


def half_from_full(full: Tensor) -> Tensor:
    """The non-negative frequencies of the last axis: a view."""
    return full.narrow(-1, 0, half_size(full.shape[-1]))


def copy_opposite_half(full: Tensor, out: Tensor) -> Tensor:
    """Fill `out` with the values of the full plane at the frequencies opposite to those of its half plane."""
    d = out.ndim - 1
    for flipped in itertools.product((False, True), repeat=d):
        # Along each axis index 0 stays and the others are reversed; the last axis keeps only its half.
        source, target, axes = full, out, []
        for axis, reverse in enumerate(flipped, start=1):
            count = out.shape[axis]
            source = (
                source.narrow(axis, source.shape[axis] - count + 1, count - 1) if reverse else source.narrow(axis, 0, 1)
            )
            target = target.narrow(axis, 1, count - 1) if reverse else target.narrow(axis, 0, 1)
            axes += [axis] * reverse
        target.copy_(source.flip(axes) if axes else source)
    return out


def power(field: Tensor) -> Tensor:
    """Squared absolute value, with a finite gradient everywhere."""
    return field.real.square() + field.imag.square() if field.is_complex() else field.square()


def center(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Zero frequency from index 0 to the middle of each of the axes."""
    return torch.fft.fftshift(x, dim=tuple(axes)) if axes else x


def uncenter(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Zero frequency from the middle to index 0 of each of the axes."""
    return torch.fft.ifftshift(x, dim=tuple(axes)) if axes else x


def correlation(estimate: Tensor, obj: Tensor, shape: Sequence[int], object_shape: Sequence[int], flip: bool) -> Tensor:
    """Circular cross-correlation on the padded grid: (*, 1 or 2, m1..md).

    At shift s the sum over k of ``conj(estimate[k]) obj[k + s]``; with `flip` a second plane holds the same for the
    estimate that is conjugate-flipped within the box of `object_shape`. Both arguments real, or both complex.
    """
    d = len(shape)
    a, b = spectrum(estimate, shape, "backward"), spectrum(obj, shape, "backward")
    planes = [a.conj() * b, a * b] if flip else [a.conj() * b]
    product = torch.stack(planes, dim=-d - 1)
    for dim in range(d, 1, -1):
        product = torch.fft.ifft(product, dim=-dim)
    complex_pair = estimate.is_complex()
    result = torch.fft.ifft(product, dim=-1) if complex_pair else torch.fft.irfft(product, n=shape[-1], dim=-1)
    if flip:
        # The product a * b reflects at the origin; the box's centre lies n - 1 pixels further.
        origin, centre = result.unbind(-d - 1)
        centre = centre.roll(tuple(1 - n for n in object_shape), tuple(range(-d, 0)))
        result = torch.stack([origin, centre], dim=-d - 1)
    return result


def in_chunks(function: Callable[[Tensor], Tensor], x: Tensor, item_axes: int, chunk: int | None) -> Tensor:
    """`function` of a batch, computed `chunk` items at a time.

    Only the pieces' inputs are kept for the gradient; everything else is computed again in the backward pass.
    """
    batch = x.shape[: x.ndim - item_axes]
    if chunk is None or batch.numel() <= chunk:
        return function(x)
    pieces = x.reshape(-1, *x.shape[x.ndim - item_axes :]).split(chunk)
    if x.requires_grad and torch.is_grad_enabled():
        results = [checkpoint(function, piece, use_reentrant=False) for piece in pieces]
    else:
        results = [function(piece) for piece in pieces]
    result = torch.cat(results)
    return result.reshape(*batch, *result.shape[1:])


def transform(x: Tensor, ndim: int) -> Tensor:
    """Transform of a whole grid without normalisation: half spectrum if `x` is real, full spectrum if complex."""
    dims = tuple(range(-ndim, 0))
    return torch.fft.fftn(x, dim=dims) if x.is_complex() else torch.fft.rfftn(x, dim=dims)


def inverse(field: Tensor, shape: Sequence[int], real: bool) -> Tensor:
    """Inverse of `transform` without its factor 1 / (m1...md)."""
    dims = tuple(range(-len(shape), 0))
    if real:
        return torch.fft.irfftn(field, s=tuple(shape), dim=dims, norm="forward")
    return torch.fft.ifftn(field, dim=dims, norm="forward")
