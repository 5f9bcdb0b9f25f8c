"""Where the pixels of a Bragg peak's pattern lie in reciprocal space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory

# The least volume of three unit vectors that are no plane.
_FLAT = 1e-6
# So many steps at most may a pixel lie away from the regular grid that stands for all of them.
_BENT = 0.5


@dataclass(frozen=True, eq=False)
class BraggGeometry:
    """A Bragg peak's pattern in reciprocal space: the regular grid on which its pixels lie.

    Attributes:
        scattering_vector: (3,) q of the pixel with the zero frequency, in 1/m, 2 pi included.
        steps: (3, 3) by how much q changes from one pixel to the next, a row for each axis of the pattern, in 1/m.
    """

    scattering_vector: Tensor
    steps: Tensor

    def voxels(self, fourier_shape: Sequence[int]) -> Tensor:
        r"""The vectors from one voxel of the object to the next, a row for each axis, in metres.

        They are the rows of :math:`2\pi\, \mathrm{diag}(1/m) B^{-T}` with the steps as rows of B.

        Args:
            fourier_shape: Sizes (m1, m2, m3) of the pattern that the object was found from.

        Returns:
            Real tensor (3, 3).

        Raises:
            ValueError: if fourier_shape has not three sizes.
        """
        sizes = _checks.shape("fourier_shape", fourier_shape)
        if len(sizes) != 3:
            _checks.fail(f"fourier_shape must have three sizes, got {sizes}", "A Bragg peak's pattern is a volume")
        count = torch.tensor(sizes, dtype=self.steps.dtype, device=self.steps.device)
        return 2 * math.pi * torch.linalg.inv(self.steps).T / count[:, None]


def geometry_from_q(q: Tensor) -> BraggGeometry:
    """The geometry from the scattering vector of each pixel, as xrayutilities gives it for any diffractometer.

    The regular grid is the one that fits best. A flat detector's pixels lie on a curved surface; a warning tells where
    that bends the grid by more than half of a step.

    Args:
        q: The scattering vectors in the frame of the crystal, in 1/m, 2 pi included. ``xrayutilities``' arrays qx, qy,
            qz: ``1e10 * torch.as_tensor(numpy.stack([qx, qy, qz], -1))``.

    Shape:
        - q: (m1, m2, m3, 3) with at least two pixels along each axis, arranged as frames are: the zero frequency in the
          middle, at index m // 2

    Returns:
        :class:`BraggGeometry`.

    Raises:
        TypeError: if q is not a real floating tensor.
        ValueError: if its shape is another, or the pixels lie in a plane.

    Example:
        >>> axes = [torch.linspace(-1e8, 1e8, 5)] * 3
        >>> q = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1) + torch.tensor([0, 0, 3e10])
        >>> geometry_from_q(q).scattering_vector[2] / 1e10
        tensor(3.)
    """
    _checks.real(q=q)
    _memory.with_values(q=q)
    if q.ndim != 4 or q.shape[3] != 3 or min(q.shape) < 2:
        rule = f"q must have the shape (m1, m2, m3, 3) with at least two pixels along each axis, got {tuple(q.shape)}"
        _checks.fail(rule, "Stack qx, qy and qz along a new last axis")
    q = _fft.promote(q.detach())
    values = q.cpu().double()
    sizes, steps = values.shape[:3], []
    grid = values.mean((0, 1, 2)).expand_as(values).clone()
    middle = values.mean((0, 1, 2))
    for axis, m in enumerate(sizes):
        place = torch.arange(m).to(values) - (m - 1) / 2
        line = values.movedim(axis, 0).flatten(1, 2).mean(1)
        step = (place[:, None] * line).sum(0) / place.square().sum()
        shape = [m if other == axis else 1 for other in range(3)]
        grid += place.reshape(*shape, 1) * step
        middle = middle + (m // 2 - (m - 1) / 2) * step
        steps.append(step)
    geometry = _made(middle, torch.stack(steps))
    bent = float(((values - grid) @ torch.linalg.inv(torch.stack(steps))).abs().max())
    if bent > _BENT:
        _checks.warn(
            f"the pixels lie up to {bent:.2g} steps away from a regular grid: the object found from them is blurred",
            "Crop the pattern about its peak, or bring it to a regular grid first",
        )
    return BraggGeometry(*(x.to(q.dtype).to(q.device) for x in vars(geometry).values()))


def rocking_geometry(
    *,
    wavelength: float,
    distance: float,
    pixel_size: float | Sequence[float],
    delta: float,
    nu: float,
    step: float,
    axis: Sequence[float],
) -> BraggGeometry:
    r"""The geometry of a rocking curve: a frame for each angle of the sample, behind one another along the first axis.

    The laboratory frame has z along the beam, y upwards, and x to the left as seen along the beam. The detector's
    middle (index m // 2) lies in the direction (sin nu cos delta, sin delta, cos nu cos delta), and the detector is
    perpendicular to it. At delta = nu = 0 its rows count downwards and its columns to the right, as seen along the
    beam. With :math:`k = 2\pi / \lambda` and unit vectors :math:`e_y, e_x` along rows and columns, the steps are

    .. math:: \varphi\; Q \times a, \qquad k \frac{p_y}{D} e_y, \qquad k \frac{p_x}{D} e_x

    for turns by the angle phi about the axis a: the sample turns, and so q turns back in the frame of the crystal,
    which is that of the laboratory in the middle of the curve.

    Args:
        wavelength: In metres.
        distance: From sample to detector, in metres.
        pixel_size: Detector pixel in metres, one number or (y, x); negative where the axis counts the other way.
        delta: Elevation of the detector above the horizontal plane, in degrees.
        nu: Its angle in that plane, in degrees, towards x.
        step: The turn of the sample from one frame to the next, in degrees; negative for the other sense.
        axis: What it turns about, right-handed: (1, 0, 0) is x.

    Returns:
        :class:`BraggGeometry` in double precision.

    Raises:
        TypeError: if an option is of the wrong kind.
        ValueError: if a number is out of range, delta and nu are the beam itself, or the axis is parallel to the
            scattering vector, so that nothing changes from frame to frame.

    Example:
        >>> geometry = rocking_geometry(
        ...     wavelength=1.4e-10, distance=1.0, pixel_size=55e-6, delta=0.0, nu=35.0, step=0.01, axis=(0, 1, 0)
        ... )
        >>> [round(float(v.norm()) * 1e9, 1) for v in geometry.voxels((64, 64, 64))]
        [21.9, 39.8, 41.7]

    Source:
        Li et al. (2020), General approaches for shear-correcting coordinate transformations in Bragg coherent
        diffraction imaging: Part II, arXiv:1909.05354, for the frames; the steps here are the derivatives of q.
    """
    wavelength = _checks.number("wavelength", wavelength, above=0)
    distance = _checks.number("distance", distance, above=0)
    height, width = _pixel(pixel_size)
    delta, nu = (math.radians(_checks.number(*given)) for given in (("delta", delta), ("nu", nu)))
    turn = math.radians(_checks.number("step", step))
    about = _axis(axis)
    k = 2 * math.pi / wavelength
    (sin_d, cos_d), (sin_n, cos_n) = ((math.sin(a), math.cos(a)) for a in (delta, nu))
    double = torch.float64
    out = torch.tensor([sin_n * cos_d, sin_d, cos_n * cos_d], dtype=double)
    down = torch.tensor([sin_n * sin_d, -cos_d, cos_n * sin_d], dtype=double)
    right = torch.tensor([-cos_n, 0.0, sin_n], dtype=double)
    q = k * (out - torch.tensor([0.0, 0.0, 1.0], dtype=double))
    steps = (turn * torch.linalg.cross(q, about), k * height / distance * down, k * width / distance * right)
    return _made(q, torch.stack(steps))


def _pixel(given: float | Sequence[float]) -> tuple[float, float]:
    """Height and width, neither of them zero."""
    sizes = (given, given) if not isinstance(given, Sequence) else tuple(given)
    if len(sizes) != 2:
        _checks.fail(f"pixel_size must be one number or (y, x), got {given!r}", "Leave out the angle: that is step=")
    height, width = (_checks.number("pixel_size", size) for size in sizes)
    if not height * width:
        _checks.fail(f"pixel_size must not be zero, got {given!r}", "Give it in metres")
    return height, width


def _axis(given: Sequence[float]) -> Tensor:
    """A unit vector."""
    _checks.sequence("axis", given, "three numbers", "Use (1, 0, 0) for x, (0, 1, 0) for y")
    found = torch.tensor([_checks.number("axis", x) for x in given], dtype=torch.float64)
    if len(found) != 3 or not found.any():
        _checks.fail(f"axis must be a vector of three numbers, not all zero, got {given!r}", "Use (0, 1, 0) for y")
    return found / found.norm()


def _made(q: Tensor, steps: Tensor) -> BraggGeometry:
    """The geometry, if its steps span space."""
    lengths = steps.norm(dim=1)
    if not bool(lengths.min() > 0) or not bool(torch.linalg.det(steps / lengths[:, None]).abs() > _FLAT):
        rule = f"the pixels must not lie in a plane, got steps of {', '.join(f'{x:.3g}' for x in lengths.tolist())} 1/m"
        _checks.fail(rule, "Look at the angles: the axis of rocking must not be the scattering vector's")
    return BraggGeometry(q, steps)
