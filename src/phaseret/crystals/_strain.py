"""From the phase of a crystal's object to displacement and strain."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from phaseret import _checks, _fft, _memory

# The axes of one object.
_AXES = (-3, -2, -1)
# A derivative that is unknown is no loss where it enters with a weight below this share of the largest.
_NO_WEIGHT = 1e-6
# A warning tells if more than this share of the support does not hang together with the rest.
_APART = 0.01

Array = np.ndarray[Any, Any]


def _above(name: str) -> Any:
    """A module that stands above this one or beside it, for the methods that only pass their object on to it."""
    return importlib.import_module(f"phaseret.{name}")


@dataclass(frozen=True, eq=False, repr=False)
class StrainField:
    """The lattice of a crystal along one scattering vector: made by :func:`strain`.

    Displacement and strain are those against a perfect lattice, the one that fits best: what the object cannot tell,
    where the crystal lies and how it is turned and stretched as a whole, is taken off. Outside the support they are
    nan.

    Attributes:
        obj: (*, n1, n2, n3) the object in the middle of the grid, without phase ramp and offset; zero outside.
        support: (*, n1, n2, n3) boolean, the crystal.
        phase: (*, n1, n2, n3) of `obj`, unwrapped, in radians.
        displacement: (*, n1, n2, n3) the part of the displacement u along the scattering vector, in metres.
        strain: (*, n1, n2, n3) the derivative of it along the scattering vector: positive where the planes lie further
            apart.
        voxels: (3, 3) the vectors from one voxel to the next, a row for each axis, in metres.
        scattering_vector: (*, 3) that of the lattice that fits best, in 1/m: 2 pi over its length is the distance of
            its planes.
    """

    obj: Tensor
    support: Tensor
    phase: Tensor
    displacement: Tensor
    strain: Tensor
    voxels: Tensor
    scattering_vector: Tensor

    @property
    def ndim(self) -> int:
        """Axes of one object."""
        return len(_AXES)

    @torch.no_grad()
    def orthogonal(self, voxel_size: float | None = None) -> StrainField:
        """The same on a grid of cubes along the axes of the frame in which the voxels are given, x, y and z.

        Values are linear between voxels, from those in the crystal alone; a voxel lies in the crystal if at least half
        of it does.

        Args:
            voxel_size: Edge of a cube in metres. Default: that of a cube as large as a voxel.

        Returns:
            :class:`StrainField` on the smallest grid that holds the crystal with an empty voxel around it.

        Raises:
            ValueError: if voxel_size is not positive.
        """
        lean = self.voxels.detach().cpu().double()
        if voxel_size is None:
            voxel_size = float(torch.linalg.det(lean).abs() ** (1 / 3))
        size = _checks.number("voxel_size", voxel_size, above=0)
        sizes = self.support.shape[-3:]
        middle = torch.tensor([n // 2 for n in sizes])
        places = (self.support.reshape(-1, *sizes).any(0).nonzero().cpu() - middle).double() @ lean
        reach = [math.ceil(x) + 1 for x in ((places.abs().amax(0) + lean.abs().sum(0) / 2) / size).tolist()]
        axes = [size * torch.arange(-n, n + 1).double() for n in reach]
        points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1) @ torch.linalg.inv(lean) + middle
        where = points.movedim(-1, 0).numpy()
        share = _between(self.support, where)
        support = share >= 0.5

        def moved(x: Tensor) -> Tensor:
            inside = self.support & x.isfinite()
            weight = _between(inside, where)
            value = _between(x.where(inside, 0), where) / weight.where(weight > 0, 1)
            return value.where(support & (weight > 0), 0 if x.is_complex() else torch.nan).to(x)

        fields = {name: moved(getattr(self, name)) for name in ("obj", "phase", "displacement", "strain")}
        voxels = size * torch.eye(3).to(self.voxels)
        return replace(self, support=support.to(self.support.device), voxels=voxels, **fields)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write it to a .vti, .cxi, .h5 or .npz file: :func:`phaseret.io.save_reconstruction`."""
        _above("io").save_reconstruction(path, self, overwrite=overwrite)

    def plot(self, *, index: int = 0) -> Any:
        """A Matplotlib figure of it: :func:`phaseret.plotting.plot_strain_field`."""
        return _above("plotting").plot_strain_field(self, index=index)

    def __repr__(self) -> str:
        known = self.strain[self.strain.isfinite()]
        least, most = (float(x) for x in known.aminmax()) if known.numel() else (torch.nan, torch.nan)
        voxels = int(self.support.sum())
        return f"StrainField({tuple(self.obj.shape)}, {voxels} voxels in the crystal, strain {least:.2g} to {most:.2g})"


@torch.no_grad()
def strain(
    obj: Tensor,
    scattering_vector: Sequence[float] | Tensor,
    *,
    voxels: Sequence[float] | Tensor,
    support: Tensor | None = None,
    threshold: float = 0.3,
) -> StrainField:
    r"""Displacement and strain of a crystal from the phase of its object.

    An atom displaced by u scatters with a phase of -Q u more. So with the transforms of this library, which have the
    kernel exp(-2 pi i k n / m), on a pattern along whose axes q grows as its geometry says,

    .. math:: u_Q = -\frac{\varphi}{|Q|}, \qquad \epsilon = \frac{\partial u_Q}{\partial x_Q}

    are displacement and strain along Q. The flipped conjugate of an object, which has the same pattern, has the same
    strain, upside down: its sign is no matter of choice. Simulations with a phase of +Q u need their conjugate.

    The object is moved to the middle of the grid. Its phase ramp, first as the angle of the sum of products of
    neighbours, is taken off, the phase is unwrapped (scikit-image's, by reliability), and the plane that fits it best
    taken off too; the scattering vector of the result says which lattice is left. Both formulas take |Q| and the
    direction of Q as given: those of that lattice differ by about a thousandth, and so would the strain, of itself.
    The derivatives are the angles of products of neighbours inside the support: a wrap does not matter, nor a vortex,
    where no phase can be unwrapped. They are the means of both sides, at the surface those of the one side that there
    is. It has no gradient.

    Args:
        obj: The object, as a solver found it from the pattern.
        scattering_vector: Q of the pattern's zero frequency, in 1/m, 2 pi included.
        voxels: Edges of a voxel along the object's axes in metres, or its vectors, a row for each axis, as
            `BraggGeometry.voxels` gives them.
        support: True in the crystal. Default: where the modulus is at least `threshold` times its mean, weighted by
            the energy. Of either the largest part that hangs together counts.
        threshold: See `support`.

    Shape:
        - obj: (*, n1, n2, n3)
        - scattering_vector: (3,)
        - voxels: (3,) or (3, 3)
        - support: broadcasts to obj
        - output: fields (*, n1, n2, n3)

    Returns:
        :class:`StrainField`.

    Raises:
        TypeError: if obj is not complex, support not boolean.
        ValueError: if shapes do not fit, the voxels lie in a plane, the scattering vector is zero or no voxel is left.
        ImportError: if scikit-image is not installed.

    Example:
        >>> obj = pr.datasets.strained_crystal((12, 12, 12), generator=torch.Generator().manual_seed(0))
        >>> field = strain(obj, (0, 0, 2.7e10), voxels=(10e-9, 10e-9, 10e-9))
        >>> field.displacement.shape, bool(field.strain[field.strain.isfinite()].abs().max() < 0.02)
        (torch.Size([12, 12, 12]), True)

    Source:
        Robinson, Harder (2009), Coherent X-ray diffraction imaging of strain at the nanoscale, doi:10.1038/nmat2400,
        whose phase +Q u belongs to the kernel exp(+2 pi i k n / m).
    """
    _checks.floating(obj=obj)
    _memory.with_values(obj=obj)
    _checks.rank(3, obj=obj)
    if not obj.is_complex():
        rule = f"obj must be complex, got {obj.dtype}"
        _checks.fail(rule, 'A real object has no phase: reconstruct with constraint="complex"', TypeError)
    q, lean = _vector(scattering_vector), _vectors(voxels)
    threshold = _checks.number("threshold", threshold, above=0)
    obj = _fft.promote(obj.detach())
    if support is not None:
        _checks.boolean(support=support)
        _checks.same_device(obj=obj, support=support)
        support = _checks.broadcast("support", support, "obj", obj).reshape(-1, *obj.shape[-3:]).cpu()
    unwrap = _checks.extra("skimage.restoration", "scikit-image", "crystals").unwrap_phase
    items = obj.reshape(-1, *obj.shape[-3:]).cpu().to(torch.complex128)
    found = []
    with torch.device("cpu"):
        for number, item in enumerate(items):
            inside = _level_set(item, threshold) if support is None else support[number]
            found.append(_field(*_centred(item, inside), q, lean, unwrap))
    fields = [torch.stack(parts).reshape(obj.shape) for parts in list(zip(*found, strict=True))[:-1]]
    real = obj.real.dtype
    corrected = torch.stack([parts[-1] for parts in found]).reshape(*obj.shape[:-3], 3)
    kinds = (obj.dtype, torch.bool, real, real, real, real, real)
    results = (x.to(kind).to(obj.device) for x, kind in zip((*fields, lean, corrected), kinds, strict=True))
    return StrainField(*results)


def _vector(given: Sequence[float] | Tensor) -> Tensor:
    """The scattering vector on the CPU."""
    found = _numbers("scattering_vector", given)
    if found.shape != (3,) or not bool(found.isfinite().all()) or not bool(found.any()):
        rule = f"scattering_vector must be three finite numbers, not all zero, got {found.tolist()}"
        _checks.fail(rule, "Give Q in 1/m, as BraggGeometry.scattering_vector")
    return found


def _vectors(given: Sequence[float] | Tensor) -> Tensor:
    """The vectors of a voxel on the CPU."""
    found = _numbers("voxels", given)
    if found.shape == (3,):
        found = found.diag()
    volume = found / found.norm(dim=-1, keepdim=True) if found.shape == (3, 3) else found.new_zeros(3, 3)
    if not bool(torch.linalg.det(volume.nan_to_num()).abs() > _NO_WEIGHT):
        rule = f"voxels must be three lengths, or three vectors that span a volume, got {found.tolist()}"
        _checks.fail(rule, "Give them in metres, as BraggGeometry.voxels(shape)")
    return found


def _numbers(name: str, given: Any) -> Tensor:
    """A tensor, or what holds numbers, in double precision on the CPU."""
    try:
        return (
            torch.as_tensor(given, dtype=None if isinstance(given, Tensor) else torch.float64).detach().cpu().double()
        )
    except (TypeError, ValueError, RuntimeError, OverflowError):
        _checks.fail(f"{name} must hold numbers, got {given!r}", "Use a tuple such as (0.0, 0.0, 1e-8)", TypeError)


def _level_set(obj: Tensor, threshold: float) -> Tensor:
    """Where the modulus is at least so many times its mean, weighted by the energy, which bright spots hardly move."""
    modulus = obj.abs().where(obj.isfinite(), 0)
    level = modulus.pow(3).sum() / modulus.square().sum().clamp(min=torch.finfo(modulus.dtype).tiny)
    return modulus >= threshold * level


def _centred(obj: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
    """The object and the largest part of its support, in the middle of the grid, round which it may have lain."""
    support = support & (obj != 0) & obj.isfinite()
    if not bool(support.any()):
        _checks.fail("the support must hold voxels where obj is not zero, got none", "Lower threshold, or look at obj")
    shifts = []
    for axis, n in enumerate(obj.shape):
        line = support.movedim(axis, 0).flatten(1).sum(1)
        turns = torch.polar(line.double(), 2 * torch.pi * torch.arange(n).double() / n)
        shifts.append(n // 2 - round(float(turns.sum().angle()) * n / (2 * torch.pi)))
    obj, support = (x.roll(shifts, (0, 1, 2)) for x in (obj, support))
    parts, count = ndimage.label(support.numpy())
    if count > 1:
        sizes = np.bincount(parts.ravel())[1:]
        lost = 1 - sizes.max() / sizes.sum()
        if lost > _APART:
            _checks.warn(
                f"{lost:.0%} of the support hangs together with the rest nowhere and is left out",
                "Raise threshold, or give the support of the crystal",
            )
        support = torch.from_numpy(parts == 1 + sizes.argmax())
    return obj.where(support, 0), support


def _field(obj: Tensor, support: Tensor, q: Tensor, lean: Tensor, unwrap: Any) -> tuple[Tensor, ...]:
    """Object, support, phase, displacement, strain, and the scattering vector of the lattice that fits best."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) - n // 2 for n in obj.shape), indexing="ij"), -1).double()
    first = torch.tensor([float(_products(obj, axis).sum().angle()) for axis in range(3)], dtype=grid.dtype)
    flat = obj * torch.polar(torch.ones_like(obj.real), -(grid @ first))
    phase = _unwrapped(flat.angle(), support, unwrap)
    places = torch.cat([grid[support], torch.ones(int(support.sum()), 1).double()], 1)
    plane = torch.from_numpy(np.linalg.lstsq(places.numpy(), phase[support].numpy(), rcond=None)[0])
    phase = (phase - grid @ plane[:3] - plane[3]).where(support, torch.nan)
    ramp = first + plane[:3]
    flat = obj * torch.polar(torch.ones_like(obj.real), -(grid @ ramp) - plane[3])
    # The gradient in the frame of the voxels' vectors: their inverse times the differences along the axes.
    inverse = torch.linalg.inv(lean)
    lattice, length = q + inverse @ ramp, q.norm()
    slope = -_derivative(flat, support, (q / length) @ inverse) / length
    return flat, support, phase, -phase / length, slope, lattice


def _unwrapped(phase: Tensor, support: Tensor, unwrap: Any) -> Tensor:
    """The phase without wraps inside the support, in the box of which it is looked at, with an empty voxel around."""
    box = _fft.bounding_box(support)
    outside = np.pad(~support[box].numpy(), 1, constant_values=True)
    wrapped = np.ma.masked_array(np.pad(phase[box].numpy(), 1), mask=outside)
    # Its sorting starts from random numbers.
    found = np.ma.getdata(unwrap(wrapped, rng=0)).astype(np.float64)[1:-1, 1:-1, 1:-1]
    phase = phase.clone()
    phase[box] = torch.from_numpy(found)
    return phase


def _products(obj: Tensor, axis: int) -> Tensor:
    """Each voxel's next one along an axis, times its conjugate: zero where either lies outside."""
    n = obj.shape[axis]
    return obj.narrow(axis, 1, n - 1) * obj.narrow(axis, 0, n - 1).conj()


def _derivative(obj: Tensor, support: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of the phase's differences along the axes, nan where one of them is unknown."""
    total = torch.zeros_like(obj.real).where(support, torch.nan)
    for axis, weight in enumerate(weights.tolist()):
        if abs(weight) <= _NO_WEIGHT * float(weights.abs().max()):
            continue
        products = _products(obj, axis)
        edge = torch.zeros_like(obj.narrow(axis, 0, 1))
        sides = [torch.cat(parts, axis) for parts in ((products, edge), (edge, products))]
        count = sum((side != 0).double() for side in sides)
        total = total + weight * sum(side.angle().where(side != 0, 0) for side in sides) / count  # 0 / 0 is nan
    return total


def _between(x: Tensor, where: Array) -> Tensor:
    """Values (*, n1, n2, n3) at fractional indices (3, ...), zero outside."""
    items = x.detach().reshape(-1, *x.shape[-3:]).cpu()
    items = items.to(torch.complex128 if x.is_complex() else torch.float64)
    found = [torch.from_numpy(ndimage.map_coordinates(item.numpy(), where, order=1)) for item in items]
    return torch.stack(found).reshape(*x.shape[:-3], *where.shape[1:])
