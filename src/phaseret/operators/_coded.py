"""Coded diffraction patterns: the far field of the object behind several known masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators._base import check_grid, held
from phaseret.operators._far_field import FarField, check_options

Kind = Literal["uniform", "octanary", "ternary", "binary"]


def coded_masks(
    object_shape: Sequence[int],
    count: int,
    kind: Kind = "octanary",
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""Random masks for :func:`coded_diffraction`, every pixel drawn independently.

    =========== ========================================================================= =================
    kind        distribution of a pixel d                                                 mean of \|d\|^2
    =========== ========================================================================= =================
    "uniform"   exp(i theta), theta uniform in [0, 2 pi): a phase plate                   1
    "octanary"  b1 b2 with b1 one of 1, -1, i, -i, each with probability 1/4, and         1
                b2 = sqrt(1/2) with probability 4/5, sqrt(3) with probability 1/5
    "ternary"   1 with probability 1/4, 0 with probability 1/2, -1 with probability 1/4   1/2
    "binary"    0 or 1, each with probability 1/2: a shutter array                        1/2
    =========== ========================================================================= =================

    Octanary and ternary pixels satisfy E d = 0 and E \|d\|^4 = 2 (E \|d\|^2)^2, the moments that the source's proof of
    recovery needs; octanary and uniform ones also E d^2 = 0.
    Of ternary and binary masks a share of 2^-count of the pixels is 0 in all: nothing is measured of the object there.

    Args:
        object_shape: Object sizes (n1, ..., nd).
        count: Number of masks.
        kind: "uniform", "octanary", "ternary" or "binary".
        generator: Source of the random numbers. Default: torch's. Masks drawn from the same state are the
            same for every dtype and device.
        dtype: float32 or float64; uniform and octanary masks are complex of this precision.
        device: Where to put them. Default: the generator's device.

    Returns:
        Tensor (count, n1..nd).

    Raises:
        TypeError: if object_shape or count is not integer.
        ValueError: if they are not positive, or the kind or dtype is unknown.

    Example:
        >>> coded_masks((28, 28), 4, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([4, 28, 28])

    Source:
        Candès, Li, Soltanolkotabi (2015), Phase retrieval from coded diffraction patterns,
        doi:10.1016/j.acha.2014.09.004: its admissible random variables. The octanary scale is that of the same
        authors' Phase retrieval via Wirtinger flow, doi:10.1109/TIT.2015.2399924, smaller by sqrt(2). Uniform and
        binary masks are common in practice and not covered by the proof.
    """
    shape = (_checks.integer("count", count), *_checks.shape("object_shape", object_shape))
    _checks.choice("kind", kind, get_args(Kind))
    _checks.choice("dtype", dtype, (torch.float32, torch.float64))
    _checks.generator(generator)
    source = generator.device if generator is not None else torch.device("cpu")
    drawn = _fft.double(torch.float32, source)
    draw, second = torch.rand(2, *shape, dtype=drawn, device=source, generator=generator)
    if kind == "uniform":
        masks = torch.polar(torch.ones_like(draw), 2 * math.pi * draw)
    elif kind == "octanary":
        b1 = torch.tensor([1, 1j, -1, -1j], dtype=drawn.to_complex(), device=source)
        b2 = torch.tensor([math.sqrt(0.5), math.sqrt(3)], dtype=drawn, device=source)
        masks = b1[(4 * draw).long()] * b2[(second >= 0.8).long()]
    elif kind == "ternary":
        masks = (draw < 0.25).to(drawn) - (draw >= 0.75).to(drawn)
    else:
        masks = (draw < 0.5).to(drawn)
    return masks.to(device or source, dtype.to_complex() if masks.is_complex() else dtype)


def coded_diffraction(
    obj: Tensor,
    masks: Tensor,
    fourier_shape: Sequence[int] | None = None,
    *,
    norm: _fft.Norm = "ortho",
    centered: bool = False,
    chunk: int | None = None,
) -> Tensor:
    r"""Far-field intensities of the object behind each of L masks.

    .. math:: Y_{l,k} = \Big| s \sum_x d_l[x] \, X[x] \exp(-2 \pi i \, k \cdot x / m) \Big|^2

    with the scale s of :func:`fourier_intensity`. The masks remove shift and conj_flip from the symmetries: only the
    global phase of the object stays unknown.

    Args:
        obj: Object, real or complex floating.
        masks: The L masks, real or complex; they multiply the object. See :func:`coded_masks`.
        fourier_shape: Sizes (m1, ..., md) of each pattern, m >= n. Default: those of the object, as in the source.
        norm: "ortho", "backward" or "forward", as in `torch.fft`.
        centered: Put the zero frequency at index m // 2 instead of 0.
        chunk: Items computed at a time. Results do not depend on it; peak memory does.

    Shape:
        - obj: (*, n1..nd), one to three axes
        - masks: (L, n1..nd)
        - output: (*, L, m1..md)

    Returns:
        Real tensor, squared object units.

    Raises:
        TypeError: if obj or masks is not a floating tensor.
        ValueError: if the shapes do not fit, m < n, or an option is unknown.

    Example:
        >>> masks = coded_masks((28, 28), 4)
        >>> coded_diffraction(torch.rand(10, 28, 28), masks).shape
        torch.Size([10, 4, 28, 28])

    Source:
        Candès, Li, Soltanolkotabi (2015), Phase retrieval from coded diffraction patterns,
        doi:10.1016/j.acha.2014.09.004. In the source the conjugate of the mask multiplies; here it
        is the mask itself.
    """
    return CodedDiffraction(masks, fourier_shape, norm=norm, centered=centered, chunk=chunk)(obj)


class CodedDiffraction(FarField):
    """Module of :func:`coded_diffraction`, with the same options; also `linear` and `adjoint`.

    Args:
        masks: The L masks (L, n1..nd), real or complex; a Parameter is learned with the object.
        fourier_shape: Sizes (m1, ..., md) of each pattern. Default: those of the object.
        norm: "ortho", "backward" or "forward".
        centered: Zero frequency at index m // 2 instead of 0.
        chunk: Items computed at a time.

    Example:
        >>> op = CodedDiffraction(coded_masks((28, 28), 4), (56, 56))
        >>> op.adjoint(op.linear(torch.ones(28, 28))).shape
        torch.Size([28, 28])
    """

    masks: Tensor

    def __init__(
        self,
        masks: Tensor,
        fourier_shape: Sequence[int] | None = None,
        *,
        norm: _fft.Norm = "ortho",
        centered: bool = False,
        chunk: int | None = None,
    ) -> None:
        _checks.floating(masks=masks)
        if not 2 <= masks.ndim <= 4:
            rule = f"masks must have the shape (L, n1..nd) with d = 1, 2 or 3, got {tuple(masks.shape)}"
            _checks.fail(rule, "Give a single mask an axis with masks[None]")
        object_shape = tuple(masks.shape[1:])
        grid = object_shape if fourier_shape is None else _checks.shape("fourier_shape", fourier_shape)
        check_grid(grid, object_shape)
        check_options(grid, norm, centered)
        options = {"masks": held(masks), "fourier_shape": grid, "norm": norm, "centered": centered}
        super().__init__(grid, **options, chunk=chunk)
        self.object_shape = object_shape

    @property
    def data_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Shape of one measurement: the number of masks, then `fourier_shape`."""
        return (len(self.masks), *self.fourier_shape)

    def _exit_waves(self, obj: Tensor) -> Tensor:
        return self.masks * obj.unsqueeze(-self.object_ndim - 1)

    def adjoint(self, field: Tensor, object_shape: Sequence[int] | None = None) -> Tensor:
        """The adjoint of `linear`: (*, L, m1..md) -> (*, n1..nd), complex; `object_shape` may be left out."""
        shape = self._adjoint_shape(object_shape, self.object_shape)
        waves = self._exit_waves_adjoint(self._as_field(field, self.data_shape), shape)
        return (self.masks.conj() * waves).sum(-self.object_ndim - 1)

    def gram_diagonal(self, weight: Tensor, object_shape: Sequence[int] | None = None) -> Tensor:
        """The diagonal of ``A^H diag(weight) A``: (*, L, m1..md) -> (*, n1..nd)."""
        return (_fft.power(self.masks) * self._light(weight)).sum(-self.object_ndim - 1)
