"""Near-field diffraction: the object wave after free-space propagation over a short distance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators._base import Operator, check_grid


def fresnel(
    obj: Tensor,
    fourier_shape: Sequence[int],
    *,
    fresnel_number: float | Sequence[float] | None = None,
    distance: float | Sequence[float] | None = None,
    wavelength: float | None = None,
    pixel_size: float | Sequence[float] | None = None,
    paraxial: bool = True,
    chunk: int | None = None,
) -> Tensor:
    r"""Near-field intensity: the object wave propagated in free space by its transfer function.

    .. math:: Y = \big| C \, F^{-1} H F P \, X \big|^2, \qquad
              H_k = \exp\Big( -\frac{i \pi u_k^2}{N} \Big), \qquad
              N = \frac{\Delta^2}{\lambda z}

    P pads the object with zeros to `fourier_shape` and C crops to the object again; u is the frequency in cycles per
    pixel and N the Fresnel number of one pixel of size :math:`\Delta`. With ``paraxial=False`` the phase of H is that
    of the angular spectrum, :math:`2 \pi z/\lambda \, (\sqrt{1 - (\lambda u / \Delta)^2} - 1)`, and evanescent waves
    decay over abs(z). The constant phase exp(2 pi i z / lambda) is left out.

    Without padding the propagation is circular: the wave that leaves on one side returns on the other, and no power
    is lost. With ``fourier_shape`` of at least 2 n - 1 nothing returns; what leaves the field of view is lost, and
    outside of the object is darkness (for an object in a bright beam, pad it with the beam first). H is sampled well
    if m >= 1 / N.

    Args:
        obj: Object wave (transmission times illumination), real or complex floating.
        fourier_shape: Sizes (m1, ..., md) of the grid on which it propagates, m >= n.
        fresnel_number: That of one pixel; negative propagates backwards. Give this, or distance, wavelength and
            pixel_size.
        distance: From object to detector; negative propagates backwards.
        wavelength: In the unit of distance.
        pixel_size: In the unit of distance, one for all axes or one for each.
        paraxial: Use the Fresnel kernel; otherwise the angular spectrum, which needs distance, wavelength and
            pixel_size.
        chunk: Items computed at a time. Results do not depend on it; peak memory does.

    A sequence of K distances or Fresnel numbers measures K intensities of each object.

    Shape:
        - obj: (*, n1..nd), one to three axes
        - output: (*, n1..nd), or (*, K, n1..nd) for a sequence of distances or Fresnel numbers

    Returns:
        Real tensor, squared object units.

    Raises:
        TypeError: if obj is not a floating tensor, or a quantity is not a number.
        ValueError: if m < n, a quantity is out of range, or too few or too many of them are given.

    Example:
        >>> wave = torch.exp(1j * torch.rand(10, 28, 28))
        >>> fresnel(wave, (28, 28), fresnel_number=0.1).shape
        torch.Size([10, 28, 28])
        >>> fresnel(wave, (56, 56), distance=[0.1, 0.2], wavelength=1e-10, pixel_size=1e-6).shape
        torch.Size([10, 2, 28, 28])

    Source:
        Goodman (2005), Introduction to Fourier Optics, sections 3.10 and 4.2; sampling: Voelz, Roggemann (2009),
        Digital simulation of scalar optical diffraction, doi:10.1364/AO.48.006132.
    """
    operator = Fresnel(
        fourier_shape,
        fresnel_number=fresnel_number,
        distance=distance,
        wavelength=wavelength,
        pixel_size=pixel_size,
        paraxial=paraxial,
        chunk=chunk,
    )
    _checks.tensor(obj=obj)
    return operator.to(obj.device)(obj)


class Fresnel(Operator):
    """Module of :func:`fresnel`, with the same options; also `linear` and `adjoint`, the propagation back.

    The kernel is held in double precision and used in that of the object.

    Args:
        fourier_shape: Sizes (m1, ..., md) of the grid on which the wave propagates.
        fresnel_number: That of one pixel. Give this, or distance, wavelength and pixel_size.
        distance: From object to detector; a sequence measures one intensity for each.
        wavelength: In the unit of distance.
        pixel_size: In the unit of distance.
        paraxial: Use the Fresnel kernel; otherwise the angular spectrum.
        chunk: Items computed at a time.

    Example:
        >>> op = Fresnel((28, 28), fresnel_number=0.1)
        >>> wave = torch.exp(1j * torch.rand(28, 28))
        >>> torch.allclose(op.adjoint(op.linear(wave)), wave, atol=1e-5)  # without padding it is unitary
        True
    """

    fourier_shape: tuple[int, ...]
    kernel: Tensor

    def __init__(
        self,
        fourier_shape: Sequence[int],
        *,
        fresnel_number: float | Sequence[float] | None = None,
        distance: float | Sequence[float] | None = None,
        wavelength: float | None = None,
        pixel_size: float | Sequence[float] | None = None,
        paraxial: bool = True,
        chunk: int | None = None,
    ) -> None:
        grid = _checks.shape("fourier_shape", fourier_shape)
        _checks.flag(paraxial=paraxial)
        waves, ratios = _in_wavelengths(len(grid), fresnel_number, distance, wavelength, pixel_size, paraxial)
        if not math.isfinite(4 * max(map(abs, waves)) * sum(ratio * ratio for ratio in ratios)):
            name, got = "fresnel_number", f"{fresnel_number!r}"
            if fresnel_number is None:
                name, got = "distance / wavelength", f"{distance!r} / {wavelength!r}"
            _checks.fail(f"{name} must give finite phases, got {got}", "Check the units")
        kernel = torch.stack([_transfer(grid, z, ratios, paraxial) for z in waves])
        physical = {"distance": distance, "wavelength": wavelength, "pixel_size": pixel_size, "paraxial": paraxial}
        super().__init__(fourier_shape=grid, fresnel_number=fresnel_number, **physical, chunk=chunk)
        self.several = isinstance(distance if fresnel_number is None else fresnel_number, Sequence)
        self.register_buffer("kernel", kernel if self.several else kernel[0], persistent=False)
        self.object_ndim, self.data_ndim = len(grid), len(grid) + self.several

    def __setattr__(self, name: str, value: Any) -> None:
        """An option that changes is checked, and changes the kernel."""
        if name in self.__dict__.get("_names", ()) and "kernel" in self._buffers:
            made = Fresnel(**{**self.options, name: value})
            own = (*self._names, "several", "object_ndim", "data_ndim")
            self.__dict__.update({key: kept for key, kept in vars(made).items() if key in own})
            value, name = made.kernel.to(self.kernel), "kernel"
        super().__setattr__(name, value)

    def _check(self, obj: Tensor) -> None:
        super()._check(obj)
        check_grid(self.fourier_shape, obj.shape[-self.object_ndim :])

    def linear(self, obj: Tensor) -> Tensor:
        """The wave at the detector: (*, n1..nd) -> (*, n1..nd) or (*, K, n1..nd), complex."""
        self._check(obj)
        return self._field(obj)

    def _field(self, obj: Tensor) -> Tensor:
        field = _fft.full_plane(obj, self.fourier_shape)
        field = field.unsqueeze(-self.object_ndim - 1) if self.several else field
        field = field * self.kernel.to(field.dtype)
        return _fft.adjoint(field, self.fourier_shape, obj.shape[-self.object_ndim :]).contiguous()

    def adjoint(self, field: Tensor, object_shape: Sequence[int] | None = None) -> Tensor:
        """Propagation back: the shape of `linear`'s result -> (*, n1..nd); `object_shape` may be left out."""
        _checks.floating(field=field)
        _checks.rank(self.data_ndim, field=field)
        shape = tuple(field.shape[-self.object_ndim :])
        self._adjoint_shape(object_shape, shape)
        check_grid(self.fourier_shape, shape)
        field = self._as_field(field, (len(self.kernel), *shape) if self.several else shape)
        spectrum = _fft.spectrum(field, self.fourier_shape)
        spectrum = spectrum * self.kernel.conj().to(spectrum.dtype)
        spectrum = spectrum.sum(-self.object_ndim - 1) if self.several else spectrum
        return _fft.adjoint(spectrum, self.fourier_shape, shape).contiguous()


def _in_wavelengths(
    d: int, fresnel_number: Any, distance: Any, wavelength: Any, pixel_size: Any, paraxial: bool
) -> tuple[list[float], list[float]]:
    """The distances in wavelengths, and wavelength / pixel size along each of the d axes."""
    physical = {"distance": distance, "wavelength": wavelength, "pixel_size": pixel_size}
    given = [name for name, value in physical.items() if value is not None]
    if len(given) != (3 if fresnel_number is None else 0):
        got = ", ".join((["fresnel_number"] if fresnel_number is not None else []) + given) or "none of them"
        rule = "fresnel_number, or distance with wavelength and pixel_size, must be given"
        _checks.fail(f"{rule}, got {got}", "Give one description of the distance")
    if fresnel_number is not None:
        if not paraxial:
            fix = "The angular spectrum needs distance, wavelength and pixel_size"
            _checks.fail("fresnel_number must be left out with paraxial=False, got both", fix)
        numbers = _numbers("fresnel_number", fresnel_number)
        if 0 in numbers:
            _checks.fail("fresnel_number must not be 0, got 0", "It is infinite at distance 0")
        return [1 / number for number in numbers], [1.0] * d
    length = _checks.number("wavelength", wavelength, above=0)
    sizes = _numbers("pixel_size", pixel_size, above=0)
    if len(sizes) not in (1, d):
        fix = "Give one for each axis, or one for all"
        _checks.fail(f"pixel_size must be one number or {d}, got {len(sizes)}", fix)
    waves = [z / length for z in _numbers("distance", distance)]
    return waves, [length / size for size in sizes * (d if len(sizes) == 1 else 1)]


def _numbers(name: str, value: Any, *, above: float | None = None) -> list[float]:
    if hasattr(value, "tolist") and not isinstance(value, Real):
        rule = f"{name} must be a number or a sequence of numbers, got {type(value).__name__}"
        _checks.fail(rule, f"Use {name}.tolist()", TypeError)
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not values:
        _checks.fail(f"{name} must hold at least one number, got {value!r}", "Give a number or a list")
    return [_checks.number(name, one, above=above) for one in values]


def _transfer(shape: Sequence[int], waves: float, ratios: Sequence[float], paraxial: bool) -> Tensor:
    """Transfer function of a distance of `waves` wavelengths; `ratios` are wavelength / pixel size along each axis."""
    square = torch.zeros((), dtype=torch.float64)  # of the sine of the angle to the axis
    for axis, (m, ratio) in enumerate(zip(shape, ratios, strict=True)):
        sine = _fft.along(ratio * _fft.frequencies(m), axis, len(shape))
        square = square + sine.square()
    if paraxial:
        return torch.polar(torch.ones_like(square), -math.pi * waves * square)
    cosine = (1 - square).abs().sqrt()
    # A propagating wave turns by cosine - 1, written without cancellation; an evanescent one decays.
    turn = torch.where(square > 1, -1.0, -square / (1 + cosine))
    decay = torch.where(square > 1, torch.exp(-2 * math.pi * abs(waves) * cosine), 1.0)
    return torch.polar(decay, 2 * math.pi * waves * turn)
