"""The Fourier transform of a zero-padded object and its adjoint: the only file that calls `torch.fft`.

The object lies in the corner of the padded grid, so most rows of the grid are zero: each axis is padded just before
its own one-dimensional transform, and cropped just after it on the way back. Real objects are transformed to the
half spectrum, the non-negative frequencies of the last axis. float16 and bfloat16 are computed in float32.

Beside the transforms: how axes are laid out, magnitudes and quotients whose gradients are finite, rings, correlations,
shifts between pixels, blurs and other grids.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

Norm = Literal["ortho", "backward", "forward"]
NORMS: tuple[Norm, ...] = get_args(Norm)
# The adjoint of the forward transform is the inverse transform with this normalisation.
ADJOINT_NORM: dict[str, Norm] = {"ortho": "ortho", "backward": "forward", "forward": "backward"}


def full_precision(like: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Without autocast on the tensor's device."""
    device = like.device.type
    known = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if known else contextlib.nullcontext()


def promote(x: Tensor) -> Tensor:
    """Half precision to single precision; other dtypes unchanged."""
    if x.dtype in (torch.float16, torch.bfloat16):
        return x.float()
    return x.to(torch.complex64) if x.dtype == torch.complex32 else x


def double(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype in double precision, or as it is on a device that has none (MPS, Apple's GPUs)."""
    return dtype if device.type == "mps" else torch.promote_types(dtype, torch.float64)


def to_complex(dtype: torch.dtype) -> torch.dtype:
    """The complex dtype of this precision, in words that torch.compile follows."""
    return torch.promote_types(dtype, torch.complex32)


def half_size(m: int) -> int:
    """Number of non-negative frequencies of a real signal of length m."""
    return m // 2 + 1


def quick_size(least: int) -> int:
    """The next even size without prime factors above 5: such transforms are quick."""
    size = least + least % 2
    while 30**40 % size:  # of 2, 3 and 5 alone
        size += 2
    return size


def frequencies(m: int) -> Tensor:
    """Frequency of each index of a transform of length m, in cycles per pixel, in double precision."""
    return torch.fft.fftfreq(m, dtype=torch.float64)


def _dense(x: Tensor) -> Tensor:
    """With memory for each value: before PyTorch 2.10 the transforms of a CPU refuse what `expand` has made."""
    return x.contiguous() if 0 in x.stride() else x


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


def along(lines: Tensor, axis: int, ndim: int) -> Tensor:
    """Lines (*, m) along an axis of items of `ndim` axes, which broadcast along the others."""
    before = axis % ndim
    return lines.reshape(*lines.shape[:-1], *[1] * before, -1, *[1] * (ndim - 1 - before))


def profile(x: Tensor, axis: int, ndim: int) -> Tensor:
    """What items of `ndim` axes show along one of them, (*, m): the sum over the others; of truths whether any is."""
    others = tuple(a for a in range(-ndim, 0) if a % ndim != axis % ndim)
    if not others:
        return x
    return x.any(others) if x.dtype == torch.bool else x.sum(others)


def bounding_box(inside: Tensor) -> tuple[slice, ...]:
    """The slices that just hold what is True."""
    places = inside.nonzero()
    low, high = torch.stack([places.amin(0), places.amax(0)]).tolist()  # both from the device at once
    return tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))


def spectrum(
    obj: Tensor, shape: Sequence[int], norm: str = "ortho", buffers: dict[int, Tensor] | None = None
) -> Tensor:
    """Fourier transform of the zero-padded object: half spectrum if it is real, full spectrum if complex.

    `buffers` keeps the padded arrays, with their zeros, for the next batch of the same objects (not differentiable).
    """

    def padded(x: Tensor, axis: int) -> Tensor:
        if buffers is None:
            return pad_axis(x, -1, shape[-axis])
        if axis not in buffers or len(buffers[axis]) < len(x):
            buffers[axis] = x.new_zeros(*x.shape[:-1], shape[-axis])
        buffers[axis][: len(x), ..., : x.shape[-1]].copy_(x)
        return buffers[axis][: len(x)]

    x = _dense(padded(promote(obj), 1))
    x = torch.fft.fft(x, dim=-1, norm=norm) if x.is_complex() else torch.fft.rfft(x, dim=-1, norm=norm)
    for axis in range(2, len(shape) + 1):
        # Padding through the transpose lays the axis out contiguously: its transform is 2 to 3 times faster.
        x = torch.fft.fft(padded(x.transpose(-axis, -1), axis), dim=-1, norm=norm).transpose(-axis, -1)
    return x


def full_plane(
    obj: Tensor, shape: Sequence[int], norm: str = "ortho", take: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """The full spectrum of an object, real or complex, or a pointwise function `take` of it; contiguous.

    `take` sees one half of the plane of a real object and must keep its symmetry.
    """
    x, d = _dense(promote(obj)), len(shape)
    if x.shape[x.ndim - d :] == tuple(shape):
        dims, halved = tuple(range(-d, 0)), -1
        field = torch.fft.fftn(x, dim=dims, norm=norm) if x.is_complex() else torch.fft.rfftn(x, dim=dims, norm=norm)
    else:
        # With the first and the last axis swapped, the axis transformed last, and laid out contiguously, is the last.
        swapped, halved = [*shape], -d
        swapped[0], swapped[-1] = swapped[-1], swapped[0]
        field = spectrum(x.transpose(-d, -1), swapped, norm).transpose(-d, -1)
    plane = take(field) if take else field
    return plane.contiguous() if x.is_complex() else full_from_half(plane, shape, halved)


def adjoint(field: Tensor, shape: Sequence[int], object_shape: Sequence[int], norm: str = "ortho") -> Tensor:
    """Adjoint of the full transform of a complex object: inverse transform, then crop to the object."""
    field = _dense(field)
    if tuple(shape) == tuple(object_shape):
        return torch.fft.ifftn(field, dim=tuple(range(-len(shape), 0)), norm=ADJOINT_NORM[norm])
    field = torch.fft.ifft(field, dim=-1, norm=ADJOINT_NORM[norm]).narrow(-1, 0, object_shape[-1])
    for dim in range(2, len(shape) + 1):
        field = _inverse_axis(field, dim, object_shape[-dim], norm)
    return field


def _inverse_axis(field: Tensor, dim: int, size: int, norm: str) -> Tensor:
    """Inverse transform along axis `-dim`, cropped; as in `spectrum`, the axis is laid out contiguously for it."""
    along = field.transpose(-dim, -1).contiguous()
    cropped = torch.fft.ifft(along, dim=-1, norm=ADJOINT_NORM[norm]).narrow(-1, 0, size)
    if cropped.device.type == "cpu" and along.shape[-1] % 256 == 0:
        # The next step reads across the rows. Rows a power of two apart would push each other out of a CPU's cache.
        cropped = pad_axis(cropped, -1, size + 1).narrow(-1, 0, size)
    return cropped.transpose(-dim, -1)


def adjoint_half(half: Tensor, shape: Sequence[int], object_shape: Sequence[int], norm: str = "ortho") -> Tensor:
    """Adjoint of the full transform of a real object, given the half of a Hermitian field.

    Each frequency pair counts twice, as in the full plane; scale the half with `pair_weights` to count it once.
    """
    for dim in range(len(shape), 1, -1):
        half = _inverse_axis(half, dim, object_shape[-dim], norm)
    return torch.fft.irfft(half, n=shape[-1], dim=-1, norm=ADJOINT_NORM[norm]).narrow(-1, 0, object_shape[-1])


def pair_weights(m: int, like: Tensor) -> Tensor:
    """How many pixels of the full last axis each pixel of the half axis stands for: 1, 2, 2, ..., (1 if m is even)."""
    weights = torch.full((half_size(m),), 2.0, dtype=like.real.dtype, device=like.device)
    weights[:1] = 1.0  # filled where it lies: weights[0] would bring the number from the CPU, and wait
    if m % 2 == 0:
        weights[-1:] = 1.0
    return weights


def mirror(x: Tensor, axes: Sequence[int]) -> Tensor:
    """The values at the opposite frequency: index k to -k modulo the size, along `axes`."""
    return x.flip(tuple(axes)).roll((1,) * len(axes), tuple(axes)) if axes else x


def full_from_half(half: Tensor, shape: Sequence[int], dim: int = -1) -> Tensor:
    """The full plane of a Hermitian (or, if real, centro-symmetric) plane that is half along `dim` (negative)."""
    others = tuple(axis for axis in range(-len(shape), 0) if axis != dim)
    half = half.contiguous()  # one transposition is cheaper than mirroring across the layout of `spectrum`
    rest = half.narrow(dim, 1, (shape[dim] - 1) // 2).flip((*others, dim))
    rest = rest.roll((1,) * len(others), others) if others else rest
    return torch.cat([half, rest.conj() if rest.is_complex() else rest], dim=dim)


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


class _Power(torch.autograd.Function):
    """abs(z)**2 with a backward pass of one product instead of one for each part of z."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        return z.real.square().add_(z.imag.square())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        return z * (2 * grad)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        return 2 * (z.real * tangent.real + z.imag * tangent.imag)


def power(field: Tensor) -> Tensor:
    """Squared absolute value, with a finite gradient everywhere."""
    if not field.is_complex():
        return field.square()
    if _as_composition(field):
        return field.real.square() + field.imag.square()
    return _Power.apply(field)


def _as_composition(field: Tensor) -> bool:
    """Whether torch must see plain operations: to compile them, or for forward-mode derivatives.

    In a Function with a `jvp` of its own torch drops the outer tangent of nested ones.
    """
    return torch.compiler.is_compiling() or unpack_dual(field).tangent is not None


class _Magnitude(torch.autograd.Function):
    """abs(z), whose squares neither overflow nor underflow because each item is scaled by its largest value.

    The derivative is z / abs(z); it goes to 0 where abs(z) is below the square root of the smallest number, relative
    to the largest value of the item: far below the rounding of any transform.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, axes: int) -> Tensor:
        parts, dims = torch.view_as_real(z), tuple(range(-axes - 1, 0))
        largest = torch.maximum(parts.amax(dims, keepdim=True), -parts.amin(dims, keepdim=True))[..., 0]
        largest = largest.clamp_min(torch.finfo(parts.dtype).tiny)
        inverse = 1 / largest
        real, imag = z.real * inverse, z.imag * inverse
        return real.mul_(real).add_(imag.mul_(imag)).sqrt_().mul_(largest)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.axes = inputs[1]
        ctx.save_for_backward(inputs[0], output)
        ctx.save_for_forward(inputs[0], output)

    @staticmethod
    def _slope(ctx: Any) -> tuple[Tensor, Tensor]:
        """The two factors z / largest and largest / magnitude of z / magnitude."""
        z, magnitude = ctx.saved_tensors
        tiny = torch.finfo(magnitude.dtype).tiny
        inverse = 1 / magnitude.detach().amax(tuple(range(-ctx.axes, 0)), keepdim=True).clamp_min(tiny)
        relative = magnitude * inverse
        return z * inverse, relative / (relative.square() + tiny)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        z, slope = _Magnitude._slope(ctx)
        return z * (grad * slope), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        z, slope = _Magnitude._slope(ctx)
        return (z.real * tangent.real + z.imag * tangent.imag) * slope


def magnitude(field: Tensor, axes: int) -> Tensor:
    """Absolute value of items of `axes` axes, finite with a finite gradient for all finite fields."""
    # One fused kernel on a GPU; on the CPU its hypot costs more than the transform.
    if field.is_cuda or not field.is_complex() or _as_composition(field):
        return field.abs()
    return _Magnitude.apply(field, axes)


def root(x: Tensor) -> Tensor:
    """Square root whose derivative is 0 at 0; 0 for negative numbers, NaN for NaN."""
    positive = ~(x <= 0)
    return torch.where(positive, torch.where(positive, x, 1).sqrt(), 0)


def divisor(x: Tensor, otherwise: float = 1.0) -> Tensor:
    """Numbers to divide by: `otherwise` where they are not positive; NaN stays NaN."""
    return x.where(~(x <= 0), otherwise)


def quotient(total: Tensor, count: Tensor) -> Tensor:
    """total / count, nan with a derivative of 0 where the count is not positive."""
    return torch.where(count <= 0, math.nan, total / divisor(count))


def largest(x: Tensor, axes: int) -> Tensor:
    """The largest absolute value of each item of `axes` axes, kept as axes of size 1; 1 for an item of zeros."""
    return divisor(x.abs().amax(tuple(range(-axes, 0)), keepdim=True))


@torch.no_grad()
def unit(x: Tensor, axes: int) -> Tensor:
    """A power of two next to the largest absolute value of each item: over it, items lose no digit.

    Squares and products of such items neither overflow nor underflow, whatever unit they were given in.
    """
    most = largest(x, axes)
    return most / (2 * torch.frexp(most)[0])


@torch.no_grad()
def root_unit(x: Tensor, axes: int) -> Tensor:
    """A power of two next to the root of the largest value: over its square, items lose no digit."""
    most = largest(x, axes)
    return torch.ones_like(most).ldexp(torch.frexp(most)[1].clamp(-126, 126) // 2)


def relative_error(
    magnitude: Tensor,
    measured: Tensor,
    axes: int,
    *,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    dark: float | None = None,
) -> Tensor:
    """sqrt(sum w (magnitude - measured)^2 / sum w measured^2) over the last `axes` axes, for data of any scale.

    The derivative is 0 where the error is 0. What stands outside the boolean `mask` does not matter, nan neither.
    `dark` is what the norm of an item of zeros is taken for; without it such an item gives nan, with a derivative of 0.
    """
    dims = tuple(range(-axes, 0))
    if mask is not None:
        magnitude, measured = magnitude.where(mask, 0), measured.where(mask, 0)
    unit = largest(measured.detach(), axes)
    squares = ((magnitude - measured) / unit).square(), (measured / unit).square()
    error, total = ((x if weight is None else weight * x).sum(dims) for x in squares)
    return quotient(root(error), root(total)) if dark is None else root(error / divisor(total, dark**2))


def centered_axes(ndim: int, onesided: bool, centered: bool) -> range:
    """The axes of the data whose zero frequency lies in the middle: all, or all but the last of one-sided data."""
    return range(-ndim, -1 if onesided else 0) if centered else range(0)


def center(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Zero frequency from index 0 to the middle of each of the axes."""
    return torch.fft.fftshift(x, dim=tuple(axes)) if axes else x


def uncenter(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Zero frequency from the middle to index 0 of each of the axes."""
    return torch.fft.ifftshift(x, dim=tuple(axes)) if axes else x


def arrange(plane: Tensor, ndim: int, onesided: bool, centered: bool) -> Tensor:
    """From the full plane with the zero frequency at index 0 to the layout of the data."""
    plane = half_from_full(plane) if onesided else plane
    return center(plane, centered_axes(ndim, onesided, centered))


def frequency_radius(shape: Sequence[int], units: Sequence[float]) -> Tensor:
    """Distance of each pixel from the zero frequency; unit 1 is cycles per pixel, unit m pixels of the plane."""
    # Whole numbers first, so that multiples of m / unit come out exact.
    axes = [(frequencies(m) * m).round() * unit / m for m, unit in zip(shape, units, strict=True)]
    squares = [along(k.square(), axis, len(axes)) for axis, k in enumerate(axes)]
    return sum(squares[1:], squares[0]).sqrt_()


class Rings:
    """The rings of a Fourier plane, one pixel of the shortest axis wide, up to half a cycle per pixel.

    Args:
        shape: Sizes of the full plane.
        like: A tensor of the dtype and on the device of the values.
        onesided: The values are those of the non-negative frequencies of the last axis only.
        centered: The zero frequency of the values lies in the middle.

    Attributes:
        frequency: (r) frequency of each ring in cycles per pixel.
        count: (r) number of pixels of each ring of the full plane.
    """

    def __init__(self, shape: Sequence[int], like: Tensor, *, onesided: bool = False, centered: bool = False) -> None:
        least = min(shape)
        number = least // 2 + 1
        # All corners outside the largest ring form one more ring, which `sum` drops.
        index = frequency_radius(shape, [least] * len(shape)).add_(0.5).floor_().clamp_(max=number).int()
        self.count = index.flatten().bincount(minlength=number)[:number].to(like.device)
        self.frequency = torch.arange(number, dtype=like.real.dtype, device=like.device) / least
        self._index = arrange(index, len(shape), onesided, centered).to(like.device)

    def sum(self, x: Tensor) -> Tensor:
        """Sum over each ring: (*, m1..md) -> (*, r)."""
        x = x.flatten(-self._index.ndim)
        total = x.new_zeros(*x.shape[:-1], len(self.count) + 1)
        return total.index_add(-1, self._index.flatten(), x)[..., : len(self.count)]

    def transfer(self, magnitude: Tensor, measured: Tensor) -> Tensor:
        """The phase retrieval transfer function: the magnitude of a mean field over the measured one, each summed.

        Weigh both with the pixels of the full plane that each pixel stands for, 0 where not measured; nan for a ring
        without light.
        """
        return quotient(self.sum(magnitude), self.sum(measured))


def correlation(estimate: Tensor, obj: Tensor, shape: Sequence[int], flip: bool) -> list[Tensor]:
    """Circular cross-correlations on the padded grid, each (*, m1..md); both arguments real, or both complex.

    The first holds, at shift s, the sum over k of ``conj(estimate[k]) obj[k + s]``; with `flip` a second one holds
    the same for the estimate that is reflected at the origin and conjugated.
    """
    a, b = spectrum(estimate, shape, "backward"), spectrum(obj, shape, "backward")
    planes = []
    for product in (a.conj() * b, a * b) if flip else (a.conj() * b,):
        for dim in range(len(shape), 1, -1):
            product = torch.fft.ifft(product, dim=-dim)
        if estimate.is_complex():
            planes.append(torch.fft.ifft(product, dim=-1))
        else:
            planes.append(torch.fft.irfft(product, n=shape[-1], dim=-1))
    return planes


def correlation_at(estimate: Tensor, obj: Tensor, shape: Sequence[int], points: Tensor) -> Tensor:
    """The first of the correlations at any shifts: `points` (*, d, r) along each axis -> (*, r, ..., r).

    Complex and in double precision, where the device has it, by one matrix product per axis.
    """
    dtype, d = double(to_complex(obj.dtype), obj.device), len(shape)
    values = spectrum(estimate.to(dtype), shape).conj() * spectrum(obj.to(dtype), shape)
    for i in reversed(range(d)):
        ramp = phase_ramp(points[..., i, :], shape[i]).conj().transpose(-1, -2)
        rest = values.shape[-d:-1]
        values = (values.flatten(-d, -2) if d > 1 else values.unsqueeze(-2)) @ ramp
        values = values.unflatten(-2, rest).movedim(-1, -d) if d > 1 else values.squeeze(-2)
    return values


def phase_ramp(shifts: Tensor, size: int) -> Tensor:
    """The factors (*, size) of all frequencies that move a signal by the shifts (*).

    The Nyquist frequency of an even size is two frequencies in one, m/2 and -m/2: it takes the mean of their factors,
    so that real signals stay real.
    """
    frequency = torch.fft.fftfreq(size, device=shifts.device, dtype=shifts.dtype)
    angle = -2 * torch.pi * shifts[..., None] * frequency
    ramp = torch.polar(torch.ones_like(angle), angle)
    return torch.where(frequency == -0.5, ramp.real + 0j, ramp)


def fourier_shift(x: Tensor, shifts: Tensor, shape: Sequence[int]) -> Tensor:
    """Move items of `shape` by any shifts (*, d), circularly, by trigonometric interpolation."""
    d = len(shape)
    field = spectrum(x, shape, "backward")
    for i in range(d):
        ramp = phase_ramp(shifts[..., i].to(field.real.dtype), shape[i])
        ramp = ramp if i < d - 1 or x.is_complex() else half_from_full(ramp)
        field = field * along(ramp, i, d)
    if x.is_complex():
        return adjoint(field, shape, shape, "forward")
    return adjoint_half(field, shape, shape, "forward")


def transform(x: Tensor, ndim: int) -> Tensor:
    """Transform of a whole grid without normalisation: half spectrum if `x` is real, full spectrum if complex."""
    x, dims = _dense(x), tuple(range(-ndim, 0))
    return torch.fft.fftn(x, dim=dims) if x.is_complex() else torch.fft.rfftn(x, dim=dims)


def inverse_sum(field: Tensor, shape: Sequence[int], real: bool) -> Tensor:
    """The sum of the inverse of `transform`, without its factor 1 / (m1...md)."""
    dims = tuple(range(-len(shape), 0))
    if not real:
        return torch.fft.ifftn(field, dim=dims, norm="forward")
    if len(dims) > 1:  # in two steps, so that a field that is handed over is freed between them
        field = torch.fft.ifftn(field, dim=dims[:-1], norm="forward")
    return torch.fft.irfft(field, n=shape[-1], dim=-1, norm="forward")


def box_inverse_sum(field: Tensor, shape: Sequence[int], box: Sequence[slice], real: bool) -> Tensor:
    """The box of `inverse_sum`: lines without it are left out."""
    dims = tuple(range(-len(shape), -1))
    if dims:
        field = torch.fft.ifftn(field, dim=dims, norm="forward")
        lines: tuple[Any, ...] = (..., *box[:-1], slice(None))
        field = field[lines]
    if real:
        return torch.fft.irfft(field, n=shape[-1], dim=-1, norm="forward")[..., box[-1]]
    return torch.fft.ifft(field, dim=-1, norm="forward")[..., box[-1]]


def filtered(plane: Tensor, factor: Tensor, shape: Sequence[int], real: bool) -> Tensor:
    """A real plane whose transform is multiplied by `factor`, given on the half plane of the transform.

    With `real` the plane is centro-symmetric and itself given on its half, and `factor` on the full plane.
    """
    dims = tuple(range(-len(shape), 0))
    if real:
        seen = torch.fft.irfftn(torch.complex(plane, torch.zeros_like(plane)), s=tuple(shape), dim=dims)
        return torch.fft.rfftn(seen * factor, dim=dims).real
    return torch.fft.irfftn(torch.fft.rfftn(plane, dim=dims) * factor, s=tuple(shape), dim=dims)


def squared_frequencies(shape: Sequence[int], like: Tensor) -> Tensor:
    """Squared distance from the zero frequency in cycles per pixel: on the half plane for a real `like`."""
    total = torch.zeros((), dtype=like.real.dtype, device=like.device)
    for axis, m in enumerate(shape):
        k = torch.arange(m, dtype=total.dtype, device=total.device)
        k = torch.minimum(k, m - k) / m
        total = total + along(k.square(), axis, len(shape))
    return total if like.is_complex() else half_from_full(total)


def blur(x: Tensor, ndim: int, factor: float | Tensor) -> Tensor:
    """Items times exp(-factor |k|^2) at the frequencies k in cycles per pixel: a Gaussian blur that wraps around."""
    shape = x.shape[-ndim:]
    window = torch.exp(-factor * squared_frequencies(shape, x)) / math.prod(shape)
    return inverse_sum(transform(x, ndim) * window, shape, not x.is_complex())


def resize_spectrum(field: Tensor, shape: Sequence[int], new: Sequence[int], real: bool) -> Tensor:
    """The spectrum of items of `shape` on the frequencies of `new`: cropped, or with zeros at the new frequencies.

    Half spectra if `real`. The frequencies that are unpaired on one of the two grids (Nyquist) become zero.
    """
    d = len(shape)
    for dim, m, n in zip(range(-d, 0), shape, new, strict=True):
        if m == n:
            continue
        pairs, half = (min(m, n) - 1) // 2, real and dim == -1
        zeros = list(field.shape)
        zeros[dim] = (half_size(n) if half else n - pairs) - pairs - 1
        parts = [field.narrow(dim, 0, pairs + 1), field.new_zeros(zeros)]
        if not half:
            parts.append(field.narrow(dim, m - pairs, pairs))
        field = torch.cat(parts, dim)
    return field


def resample(x: Tensor, shape: Sequence[int], ndim: int) -> Tensor:
    """Items on a coarser or finer grid by trigonometric interpolation, as the lowest frequencies of both have them."""
    old = x.shape[-ndim:]
    if old == tuple(shape):
        return x
    field = resize_spectrum(transform(x, ndim) / old.numel(), old, shape, not x.is_complex())
    return inverse_sum(field, shape, not x.is_complex())
