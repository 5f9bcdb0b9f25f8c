"""A proof that an object is the only one with its Fourier magnitude, or the others that have it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory
from phaseret.symmetry import _distance
from phaseret.symmetry._irreducible import irreducible, primes, residues
from phaseret.symmetry._rivals import Findings, Image, examine

# Primes that are tried.
_PRIMES = 2
_SOLIDS = "objects with three axes are proved irreducible, or not; they are not factored"


@dataclass(frozen=True, repr=False, eq=False)
class Certificate:
    """What :func:`certify` found. It prints as a sentence.

    Attributes:
        unique: True where a proof says that no other object has the data; False where the object factors and other
            objects have them, which `rivals` shows; None where neither was proved. Of a batch, (nested) lists of these.
        radius: (*) every object in the same box that is nearer than this, relative to the norm, is the only one with
            its data too. 0 where the object is not, and where rounding allows no more; nan where it was not computed.
        sigma: (*) the singular value that the radius is derived from, in floating point. Values below about 1e-6 are
            rounding. A proof is of little use where it is so small: another object has nearly the same data.
        factors: For each item, in the order of the flattened batch, the polynomials that it is a product of, as arrays
            of their coefficients; empty if it has one, or none were looked for.
        rivals: For each item other objects with its data, (k, n1..nd): all up to shift, flip and phase if they are few.
        reasons: For each item why nothing was proved, or "".
    """

    unique: Any
    radius: Tensor
    sigma: Tensor
    factors: list[list[Tensor]]
    rivals: list[Tensor]
    reasons: list[str]

    @property
    def verdict(self) -> list[str]:
        """A sentence for each item."""
        unique = _flat(self.unique, self.radius.ndim)
        radius, sigma = self.radius.flatten().tolist(), self.sigma.flatten().tolist()
        return [
            _sentence(*row) for row in zip(unique, radius, sigma, self.factors, self.rivals, self.reasons, strict=True)
        ]

    def __repr__(self) -> str:
        """The sentence of one item, or a summary of several."""
        verdict = self.verdict
        if len(verdict) == 1:
            return verdict[0]
        kinds = [text.split(":")[0] for text in verdict]
        counts = [f"{kinds.count(kind)} {kind}" for kind in ("unique", "not unique", "no proof found") if kind in kinds]
        radius = self.radius[self.radius.isfinite()]
        middle = f"; median radius {float(radius.median()):.1e}" if len(radius) else ""
        return f"{len(verdict)} objects: {', '.join(counts)}{middle}"


def _sentence(
    unique: bool | None, radius: float, sigma: float, factors: list[Tensor], rivals: Tensor, reason: str
) -> str:
    if unique is None:
        return f"no proof found: {reason}"
    parts = " and ".join(" x ".join(map(str, factor.shape)) for factor in factors)
    product = f"; it is a product of factors of {parts} pixels" if parts else ""
    if not unique:
        if not len(rivals):
            return f"not unique: others have its data{product}"
        count = f"{len(rivals)} other{'s' * (len(rivals) != 1)} with its data"
        allowed = 0 if rivals.is_complex() else int((rivals >= 0).flatten(1).all(1).sum())
        kind = " (complex)" if rivals.is_complex() else f" ({allowed} without negative values)" if allowed else ""
        return f"not unique: {count} listed in rivals{kind}{product}"
    text = f"unique: proved{product}, at most one of which is not its own flip" if product else "unique: proved"
    if radius > 0:
        return f"{text}; every object in its box within {radius:.1e} of its norm is, too"
    return text if math.isnan(radius) else f"{text}; but others may be as near as rounding (sigma {sigma:.1e})"


def certify(
    obj: Tensor, *, ndim: int = 2, fourier_shape: Sequence[int] | None = None, distance: bool = True, rivals: int = 16
) -> Certificate:
    r"""Prove that an object is the only one with its data, up to shift, conjugate flip and global phase.

    The data are the noise-free Fourier magnitude, or intensity, at m >= 2n - 1 samples along each axis, n those of the
    object's bounding box; of fewer samples nothing is proved. They
    are the product of the polynomial :math:`f(x, y) = \sum_{jk} X_{jk} x^j y^k` and its flip, and the object is the
    only one with them, among all real and complex objects of any support, if f does not factor over the complex numbers
    but for factors that are their own flip. That is proved modulo a prime, exactly: integers and floats, which are
    binary fractions, are reduced without rounding. Chance decides whether a proof is found, never whether it is right.

    Where none is found the object is factored, exactly, over the rational numbers and i. It is the only one with its
    data if at most one factor p differs from its flip (1 + x, x + y and 1 + x + x^2 do not: their roots lie on the unit
    circle); with k that do, all different, there are :math:`2^{k - 1}` objects, which differ in which factors are
    flipped.

    **A proof is not a distance.** An object whose rounded values do not factor may lie 1e-16 from one that does, and
    then data in floating point have several solutions. `radius` bounds the distance from below, by the second singular
    value `sigma` of Ruppert's map; it is pessimistic by a factor of 100 or more. This Gaussian is proved unique, since
    its values are rounded, and yet another image, not a copy, has its data to all digits:

        >>> row = torch.exp(-(torch.arange(-9.5, 10, dtype=torch.float64) ** 2) / 32)
        >>> gaussian, other = row[:, None] * row, certify(row, ndim=1).rivals[0][0][:, None] * row
        >>> found = certify(gaussian)
        >>> found.unique, float(found.radius)
        (True, 0.0)
        >>> data = torch.fft.fft2(torch.stack([gaussian, other]), (39, 39)).abs()
        >>> torch.allclose(data[0], data[1], rtol=0, atol=1e-12), torch.allclose(gaussian, other, atol=0.05)
        (True, False)

    One dimension is different: every polynomial in one variable is a product of linear ones, so that an object of one
    row is the only one with its data only if at most one root is off the unit circle; generic data are those of
    :math:`2^{n - 2}` rows of n pixels. In three dimensions the theorem is that of two, and a proof needs two sections,
    f(x, y, z0) and f(x0, y, z), that do not factor and keep the degrees. Such objects are not factored, and their
    distance is nan.

    The proof takes milliseconds for a digit and about half a second for 256 x 256 pixels, and grows like n to 3.5. It
    is computed in double precision on the device of the object, and on the CPU where that has none (MPS). Factors take
    seconds, and are looked for up to 4,096 pixels. The distance takes as long as solving a dense system of 2 n1 n2
    unknowns: 0.03 s for a digit, 0.2 to 1 s for 28 x 28 pixels; beyond 5,000 unknowns (50 x 50 pixels) it is nan.

    Args:
        obj: Object, real or complex floating, integer or boolean. Only its bounding box counts.
        ndim: Number of axes of one object; all axes before them are a batch.
        fourier_shape: Sizes (m1..md) of the data. An object that is laid out on the whole grid may wrap around its
            edges, and counts in one piece; one that is larger than (m + 1) / 2 then is not proved to be the only one.
            Default: as many samples as it takes, of an object in one piece.
        distance: Compute `radius` and `sigma`.
        rivals: List at most so many other objects for each item.

    Shape:
        - obj: (*, n1..nd)
        - radius, sigma: (*)

    Returns:
        A :class:`Certificate`.

    Raises:
        TypeError: if obj is not a tensor of numbers.
        ValueError: if obj is not finite, or has fewer than ndim axes; if fourier_shape is smaller than the object.

    Example:
        >>> certify(torch.tensor([[1, 2], [3, 5]]))
        unique: proved; every object in its box within 1.2e-02 of its norm is, too
        >>> a, b = torch.tensor([[1.0, 2], [0, 3]]), torch.tensor([[2.0, 0], [1, 1]])
        >>> product = torch.fft.irfft2(torch.fft.rfft2(a, (3, 3)) * torch.fft.rfft2(b, (3, 3)), (3, 3)).round()
        >>> certify(product).rivals[0]
        tensor([[[6., 0., 0.],
                 [7., 5., 0.],
                 [2., 3., 1.]]])

    Source:
        The theorem: Bruck, Sodin (1979), On the ambiguity of the image reconstruction problem, Opt. Commun. 30, 304,
        and Hayes (1982), The reconstruction of a multidimensional sequence from the phase or magnitude of its
        Fourier transform, doi:10.1109/TASSP.1982.1163863. The map: Ruppert (1999), Reducibility of polynomials f(x, y)
        modulo p, arXiv:math/9808021, and Gao (2003), Factoring multivariate polynomials via partial differential
        equations, doi:10.1090/S0025-5718-02-01428-X. Distances by it: Kaltofen, May, Yang, Zhi (2008), Approximate
        factorization of multivariate polynomials using singular value decomposition, J. Symbolic Computation 43, 359.
        The proof modulo a prime, and the bound with its rounding, are put together here.
    """
    _memory.with_values(obj=obj)
    ndim = _checks.item_axes(ndim, obj=_numbers(obj))
    _checks.flag(distance=distance)
    limit = _checks.integer("rivals", rivals, at_least=0)
    obj = _fft.promote(obj) if obj.is_floating_point() or obj.is_complex() else obj
    batch, shape = tuple(obj.shape[: obj.ndim - ndim]), tuple(obj.shape[obj.ndim - ndim :])
    items = obj.detach().reshape(-1, *shape)
    items = items.cpu() if items.device.type == "mps" else items  # which has no double precision
    items = items.long() if items.dtype in (torch.uint16, torch.uint32) else items  # torch gathers neither
    if fourier_shape is not None:
        fourier_shape = _grid(fourier_shape, shape)
    moved = _wrapped(items) if fourier_shape == shape else torch.zeros(len(items), ndim, dtype=torch.long)
    items = torch.stack([x.roll((-by).tolist(), tuple(range(ndim))) for x, by in zip(items, moved, strict=True)])
    first, sizes = _boxes(items)
    findings = _findings(items, first, sizes, limit)
    values = torch.full((2, len(items)), math.nan, dtype=torch.float64)
    for k, size in enumerate(sizes.tolist() if distance else []):
        axes = [n for n in size if n > 1]
        if findings[k].unique is False:
            values[:, k] = 0.0
        elif len(axes) == 2 and _distance.unknowns(axes[0] - 1, axes[1] - 1) <= _distance.LARGEST:
            values[:, k] = torch.tensor(_distance.distance(_box(items[k], first[k], sizes[k])))
    dtype = obj.real.dtype if obj.is_floating_point() or obj.is_complex() else torch.get_default_dtype()
    sigma, radius = (x.reshape(batch).to(obj.device, dtype) for x in values)
    found = Certificate(
        unique=_nested([found.unique for found in findings], batch),
        radius=radius,
        sigma=sigma,
        factors=[[_tensor(x, dtype, obj.device) for x in found.factors] for found in findings],
        rivals=[
            _embedded(found, items[k].shape, _place(first[k], sizes[k]), dtype)
            .roll(moved[k].tolist(), tuple(range(-ndim, 0)))
            .to(obj.device)
            for k, found in enumerate(findings)
        ],
        reasons=[found.reason for found in findings],
    )
    return found if fourier_shape is None else limited(found, [_too_large(n, fourier_shape) for n in sizes.tolist()])


def limited(found: Certificate, reasons: Sequence[str], *, part: bool = True) -> Certificate:
    """The same without the proofs of items that have a reason against them.

    A rival of all data is one of any `part` of them; of other data it is none.
    """
    batch = tuple(found.radius.shape)
    before = _flat(found.unique, len(batch))
    unique = [None if reason and (one or not part) else one for one, reason in zip(before, reasons, strict=True)]
    lost = [was is not now for was, now in zip(before, unique, strict=True)]
    radius = found.radius.masked_fill(torch.tensor(lost, device=found.radius.device).reshape(batch), math.nan)
    said = [new if gone else old for new, old, gone in zip(reasons, found.reasons, lost, strict=True)]
    rivals = [x if part or not reason else x[:0] for x, reason in zip(found.rivals, reasons, strict=True)]
    return dataclasses.replace(found, unique=_nested(unique, batch), radius=radius, rivals=rivals, reasons=said)


def unmeasured(count: int, pixels: int) -> str:
    """Why nothing is proved of an object whose pattern has gaps; "" if it has none."""
    return f"{count} of {pixels} pixels were not measured" if count else ""


def _nested(items: list[Any], batch: tuple[int, ...]) -> Any:
    """A flat list as (nested) lists of a batch; of no batch the item."""
    for size in reversed(batch[1:]):
        items = [items[k : k + size] for k in range(0, len(items), size)]
    return items if batch else items[0]


def _flat(items: Any, axes: int) -> list[Any]:
    """Undoes `_nested`."""
    items = [items]
    for _ in range(axes):
        items = list(itertools.chain.from_iterable(items))
    return items


def _grid(fourier_shape: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes of the data, which have an axis for each of the object's and hold it."""
    found = _checks.shape("fourier_shape", fourier_shape)
    if len(found) != len(shape) or any(n > m for n, m in zip(shape, found, strict=True)):
        rule = f"fourier_shape must be at least the object {shape}, got {found}"
        _checks.fail(rule, "Give the sizes of the pattern, one for each axis of an object")
    return found


def _too_large(sizes: list[int], fourier_shape: tuple[int, ...]) -> str:
    """Why nothing is proved of an object of these sizes; "" if the data are enough."""
    needed = tuple(max(1, 2 * n - 1) for n in sizes)
    if all(m >= least for m, least in zip(fourier_shape, needed, strict=True)):
        return ""
    box, pattern, least = (" x ".join(map(str, one)) for one in (sizes, fourier_shape, needed))
    return f"the data are {pattern} samples, and an object in a box of {box} pixels takes {least}"


def _wrapped(items: Tensor) -> Tensor:
    """(B, d) where items that lie on circles begin: behind the widest empty stretch of each axis. On the CPU."""
    found = torch.zeros(len(items), items.ndim - 1, dtype=torch.long)
    filled = (items != 0).cpu()
    for axis in range(1, items.ndim):
        lines = _fft.profile(filled, axis - 1, items.ndim - 1)
        for k, line in enumerate(lines):
            place = line.nonzero()[:, 0]
            if len(place):
                gaps = place - place.roll(1)
                gaps[0] += len(line)
                found[k, axis - 1] = place[gaps.argmax()]
    return found


def _numbers(obj: Any) -> Tensor:
    """The object is a tensor of finite numbers that this file can reduce exactly."""
    _checks.finite(obj=obj)
    if obj.dtype == torch.uint64:
        _checks.fail(
            f"obj must hold floats or integers of at most 63 bits, got {obj.dtype}", "Use obj.long()", TypeError
        )
    return obj


def _boxes(items: Tensor) -> tuple[Tensor, Tensor]:
    """(B, d) the first pixel of each item's bounding box and its sizes, on the CPU; 0 where there is no pixel."""
    ndim, first, sizes = items.ndim - 1, [], []
    filled = items != 0
    for axis in range(1, ndim + 1):
        line = _fft.profile(filled, axis - 1, ndim)
        place = torch.arange(line.shape[1], device=items.device)
        low, high = torch.where(line, place, line.shape[1]).amin(1), torch.where(line, place + 1, 0).amax(1)
        first.append(torch.where(line.any(1), low, 0))
        sizes.append(torch.where(line.any(1), high - low, 0))
    return torch.stack(first, 1).cpu(), torch.stack(sizes, 1).cpu()


def _box(item: Tensor, first: Tensor, size: Tensor) -> Tensor:
    """The item in its bounding box, without axes of one pixel."""
    return item[_place(first, size)].squeeze()


def _place(first: Tensor, size: Tensor) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for a, n in zip(first.tolist(), size.tolist(), strict=True))


def _findings(items: Tensor, first: Tensor, sizes: Tensor, limit: int) -> list[Findings]:
    """What is found of each item; those with the same axes of more than one pixel are proved together."""
    found = [Findings(True) for _ in items]
    for pattern in (sizes > 1).unique(dim=0):
        index = ((sizes > 1) == pattern).all(1).nonzero()[:, 0]
        axes = pattern.nonzero()[:, 0]
        if not len(axes):  # one pixel or none: the data say what it is
            continue
        proved = torch.zeros(len(index), dtype=torch.bool)
        if len(axes) > 1:
            proved = _proved(items[index.to(items.device)], first[index], sizes[index], axes.tolist())
        for k in index[~proved].tolist():
            if len(axes) > 2:
                found[k] = Findings(None, reason=_SOLIDS)
            else:
                found[k] = examine(_box(items[k], first[k], sizes[k]).resolve_conj().resolve_neg().cpu().numpy(), limit)
    return found


def _proved(items: Tensor, first: Tensor, sizes: Tensor, axes: list[int]) -> Tensor:
    """Which items, all with these axes of more than one pixel, are proved irreducible."""
    corner = items
    for axis, start in enumerate(first.T, 1):  # every box moves to the corner; what is rolled in from there is zero
        place = (torch.arange(items.shape[axis], device=start.device) + start[:, None]) % items.shape[axis]
        shape = [len(items), *[1] * (items.ndim - 1)]
        shape[axis] = items.shape[axis]
        corner = corner.take_along_dim(place.reshape(shape).to(items.device), axis)
    kept = [n if k in axes else 1 for k, n in enumerate(sizes.amax(0).tolist())]
    corner = _fft.crop(corner, kept).reshape(len(items), *(kept[k] for k in axes))
    degrees = (sizes[:, axes] - 1).to(items.device)
    proved = torch.zeros(len(items), dtype=torch.bool, device=items.device)
    for p in itertools.islice(primes(max(250, *corner.shape[1:])), _PRIMES):
        todo = (~proved).nonzero()[:, 0]
        if not len(todo):
            break
        f, degree = residues(corner[todo], p), degrees[todo]
        if len(axes) == 2:
            proved[todo] = irreducible(f, degree, p)
        else:
            # a factor that has the degree 0 in x and y on one section has it in y and z on the other, or all of both
            at = [
                torch.tensor([pow(p // 3, k, p) for k in range(n)], dtype=f.dtype, device=f.device) for n in f.shape[1:]
            ]
            sections = f @ at[2] % p, torch.einsum("bxyz,x->byz", f, at[0]) % p
            both = [irreducible(g, degree[:, k : k + 2], p) for k, g in enumerate(sections)]
            proved[todo] = both[0] & both[1]
    return proved.cpu()


def _tensor(x: Image, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The array in this precision, complex if it is."""
    return torch.as_tensor(x).to(_fft.to_complex(dtype) if np.iscomplexobj(x) else dtype).to(device)


def _embedded(found: Findings, shape: Sequence[int], place: tuple[slice, ...], dtype: torch.dtype) -> Tensor:
    """The rivals of an item on its canvas, complex where one is."""
    if any(map(np.iscomplexobj, found.rivals)):
        dtype = _fft.to_complex(dtype)
    canvas = torch.zeros((len(found.rivals), *shape), dtype=dtype)
    for target, rival in zip(canvas, found.rivals, strict=True):
        target[place] = torch.as_tensor(rival).reshape(target[place].shape).to(dtype)
    return canvas
