"""Active symmetry breaking: one representative of all objects that the data cannot tell apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret._module import Module, called_as
from phaseret.operators import fast_fourier_shape
from phaseret.symmetry._elements import Symmetry, check_group, grid, margins
from phaseret.symmetry._search import following

# An even symmetric object's centre lies between two pixels; rounding noise must not decide which one is taken.
_ROUND_UP = 0.5 + 2.0**-10
# The oblique part of the flip's odd function: small, since the rest varies less between similar objects, and of a
# direction so incommensurate that the symmetries of a pixel grid do not cancel in it.
_SHARE, _DIRECTION = 1 / 16, tuple(2 * math.exp(-i / 2) for i in range(3))


def canonicalize(
    obj: Tensor,
    *,
    ndim: int = 2,
    fourier_shape: Sequence[int] | None = None,
    shift: bool = True,
    flip: bool = True,
    phase: bool | None = None,
) -> Tensor:
    r"""Replace each object by the one representative of its orbit under shift, conjugate flip and global phase.

    All copies of an object that have the same Fourier magnitude give the same result, and the result gives itself. As
    training targets the representatives make the inverse problem single-valued. The rule, in this order:

    1. Centre c: the circular mean of the pixel positions on the padded grid, weighted by :math:`w = |x|^2`, along each
       axis. With :math:`\alpha_i(k) = 2 \pi (k_i - c_i) / m_i`, which moves along with the object:
    2. Flip: conjugate-flip the object if the following is negative, an odd function of it that its twin has with the
       opposite sign: the third circular moment of the weights, plus for complex objects the first moment of the phase
       gradient, each with a small oblique part that sees what is not in the sums over rows and columns,

       .. math:: \sum_k w_k \Big[ \sum_i 2^{1-i} \sin \alpha_i (1 - \cos \alpha_i) + \tfrac{1}{16} \sin \varphi \Big]
                 + \sum_i 2^{1-i} \sum_k \Big[ \sin \alpha_i + \tfrac{1}{16} \sin \varphi \Big]_{k + e_i / 2}
                 \mathrm{Im}\, \overline{x_k} x_{k + e_i}

       with :math:`\varphi = \sum_i 2 e^{(1 - i) / 2} (\sin \alpha_i + \tfrac{1}{4} \sin 2 \alpha_i)`.
    3. Shift: by whole pixels, so that c comes closest to the middle of the box, and no further than the non-zero
       pixels stay inside the box. With `fourier_shape`, to the middle of the padded grid without that limit.
    4. Phase: the sum of the pixels becomes real and not negative; for real objects, a sign.

    It is continuous in the object wherever the winner of each step does not change: the flip changes where the odd
    function is 0 (point-symmetric objects, whose twin is themselves, and a null set of others, near which rounding
    decides), the shift jumps by a pixel, and the phase is undefined where the sum of the pixels is 0. The flip of a
    complex object sees only the phase between neighbouring pixels. For Gaussian phase retrieval, whose only symmetry is
    the phase or sign, switch the others off.

    Args:
        obj: Object, real or complex floating. What is outside the object must be exactly 0 for it to be moved, unless
            `fourier_shape` is given.
        ndim: Number of axes of one object; all axes before them are a batch.
        fourier_shape: Give data-shaped representatives on this padded grid. The object may itself be data-shaped and
            wrapped around the edges. Default: object-shaped representatives of object-shaped objects.
        shift: Break the shift.
        flip: Break the conjugate flip.
        phase: Break the global phase of complex objects, the sign of real ones. Default: of complex objects only, since
            real objects are mostly non-negative images, whose sign is known.

    Shape:
        - obj: (*, n1..nd)
        - output: (*, n1..nd), or (*, m1..md) with fourier_shape

    Returns:
        Tensor of the dtype of obj; half precision is promoted to single. Exactly a copy of obj: no interpolation. Shift
        and flip are constants for the gradient, the phase follows obj.

    Raises:
        TypeError: if obj is not a floating tensor, or an option is of the wrong kind.
        ValueError: if obj has fewer than ndim axes, or fourier_shape does not hold it.

    Example:
        >>> digit = torch.zeros(28, 28)
        >>> digit[3:20, 5:17] = torch.rand(17, 12)
        >>> copy = digit.flip(-2, -1).roll((-4, 3), (-2, -1))
        >>> torch.equal(canonicalize(copy), canonicalize(digit))
        True

    Source:
        The principle, one connected representative per orbit: Tayal, Lai, Kumar, Sun (2020), Inverse problems, deep
        learning, and symmetry breaking, arXiv:2003.09077, which fixes one coordinate of Gaussian problems where this
        fixes the sum. For Fourier problems: Zhang, Wan, Zhuang, Sun (2024), arXiv:2403.15448, which centres the object
        and fixes the Fourier phase of one pixel and the sign of another's. The flip here is decided by the whole object
        instead, and every step is exact on the padded grid.
    """
    d, fourier_shape = check_group(ndim, fourier_shape, phase, shift=shift, flip=flip)
    _checks.floating(obj=obj)
    _checks.rank(d, obj=obj)
    obj = _fft.promote(obj)
    object_shape = tuple(obj.shape[-d:])
    breaks_phase = obj.is_complex() if phase is None else phase
    shape = grid(fourier_shape, object_shape)
    circle = fast_fourier_shape(object_shape, 1) if fourier_shape is None else shape
    with torch.no_grad():
        # With the largest value scaled to one, no moment over- or underflows.
        scaled = obj / _fft.largest(obj, d)
        centres, odd = _centre_and_side(scaled, circle)
        flipped = (odd < 0) & flip
        shifts = torch.zeros(*flipped.shape, d, dtype=torch.long, device=obj.device)
        if shift:
            shifts = _to_the_middle(centres, flipped, object_shape, shape)
            if fourier_shape is None:
                before, after = margins(obj, d, flipped)
                shifts = shifts.maximum(-before).minimum(after)
        total = scaled.sum(tuple(range(-d, 0)))
        angle = total.angle() * torch.where(flipped, 1, -1) if breaks_phase else torch.zeros_like(total.real)
        element = Symmetry(shifts, flipped, angle, object_shape, shape)
    placed = element.cropped(obj, shape)
    if not (breaks_phase and obj.is_complex()):
        return placed
    return following(placed, (placed / _fft.largest(placed, d)).sum(tuple(range(-d, 0))).conj())


def _centre_and_side(obj: Tensor, circle: Sequence[int]) -> tuple[list[Tensor], Tensor]:
    """The centre of each object along each axis on the grid `circle`, and the odd function that decides its flip."""
    d = len(circle)
    object_shape, axes = tuple(obj.shape[-d:]), tuple(range(-d, 0))
    weights = _fft.power(obj)
    centres, around = [], []
    skewness, place = torch.zeros_like(weights), torch.zeros_like(weights)
    for i, (n, m) in enumerate(zip(object_shape, circle, strict=True)):
        density = _fft.profile(weights, i, d)
        angle = 2 * torch.pi / m * torch.arange(n, device=obj.device, dtype=density.dtype)
        mean = torch.atan2((density * angle.sin()).sum(-1), (density * angle.cos()).sum(-1))
        centres.append(mean * m / (2 * torch.pi))
        around.append(_fft.along(angle - mean[..., None], i, d))
        skewness = skewness + around[i].sin() * (1 - around[i].cos()) / 2**i
        place = place + _DIRECTION[i] * _bent(around[i])
    odd = (weights * (skewness + _SHARE * place.sin())).sum(axes)
    if obj.is_complex():
        for i, (n, m) in enumerate(zip(object_shape, circle, strict=True)):
            following = obj.roll(-1, i - d)
            if m > n:
                following.narrow(i - d, n - 1, 1).zero_()
            between = place + _DIRECTION[i] * (_bent(around[i] + torch.pi / m) - _bent(around[i]))
            moment = (around[i] + torch.pi / m).sin() + _SHARE * between.sin()
            odd = odd + (moment * (obj.conj() * following).imag).sum(axes) / 2**i
    return centres, odd


def _to_the_middle(
    centres: Sequence[Tensor], flipped: Tensor, object_shape: Sequence[int], shape: Sequence[int]
) -> Tensor:
    """The shifts (*, d) that bring the centres to the middle of `shape`; a flip takes the centre c to n - 1 - c."""
    shifts = []
    for n, m, centre in zip(object_shape, shape, centres, strict=True):
        place = torch.where(flipped, n - 1 - centre, centre)
        shifts.append(((m - 1) / 2 - place + _ROUND_UP).floor().long())
    return torch.stack(shifts, -1)


def _bent(angle: Tensor) -> Tensor:
    """An odd function of the angle that differs on the two halves of the half circle."""
    return angle.sin() + (2 * angle).sin() / 4


class Canonicalize(Module):
    """Module of :func:`canonicalize`, with the same options: a transform for training targets.

    Args:
        ndim: Number of axes of one object (1, 2 or 3).
        fourier_shape: Give data-shaped representatives on this padded grid. Default: object-shaped ones.
        shift: Break the shift.
        flip: Break the conjugate flip.
        phase: Break the global phase, of real objects the sign. Default: of complex objects only.
    """

    def __init__(
        self,
        *,
        ndim: int = 2,
        fourier_shape: Sequence[int] | None = None,
        shift: bool = True,
        flip: bool = True,
        phase: bool | None = None,
    ) -> None:
        ndim, fourier_shape = check_group(ndim, fourier_shape, phase, shift=shift, flip=flip)
        super().__init__(ndim=ndim, fourier_shape=fourier_shape, shift=shift, flip=flip, phase=phase)

    def forward(self, obj: Tensor) -> Tensor:
        """The representatives of the objects."""
        return canonicalize(obj, **self.options)

    __call__ = called_as(forward)
