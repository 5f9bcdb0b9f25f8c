"""Gaussian phase retrieval: the object measured through a dense random matrix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators._base import Operator, held

DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)


def gaussian_matrix(
    object_shape: Sequence[int],
    count: int,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.complex64,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""A random measurement matrix for :func:`gaussian`, one row for each value measured.

    Its entries are independent, normal, of mean 0 and mean square 1: N(0, 1) for a real dtype, N(0, 1/2) + i N(0, 1/2)
    for a complex one. So the mean of \|a x\|^2 is the squared norm of x, and the mean of A^H A is `count` times the
    identity; divide the matrix by sqrt(count) to keep norms on average.

    Args:
        object_shape: Object sizes (n1, ..., nd).
        count: Number of values measured. A generic object is determined, up to its sign or global phase, by 2 n - 1
            values if it is real and 4 n - 4 if it is complex, n = n1...nd.
        generator: Source of the random numbers. Default: torch's. Matrices drawn from the same state are the
            same for every precision and device.
        dtype: float32, float64, complex64 or complex128.
        device: Where to put it. Default: the generator's device.

    Returns:
        Tensor (count, n1..nd).

    Raises:
        TypeError: if object_shape or count is not integer.
        ValueError: if they are not positive, or the dtype is unknown.

    Example:
        >>> gaussian_matrix((8,), 32, dtype=torch.float32).shape
        torch.Size([32, 8])

    Source:
        Candès, Li, Soltanolkotabi (2015), Phase retrieval via Wirtinger flow, the Gaussian model,
        doi:10.1109/TIT.2015.2399924; for the counts: Balan, Casazza, Edidin (2006), On signal reconstruction without
        phase, doi:10.1016/j.acha.2005.07.001; Conca, Edidin, Hering, Vinzant (2015), An algebraic characterization of
        injectivity in phase retrieval, doi:10.1016/j.acha.2014.06.005.
    """
    shape = (_checks.integer("count", count), *_checks.shape("object_shape", object_shape))
    _checks.choice("dtype", dtype, DTYPES)
    _checks.generator(generator)
    source = generator.device if generator is not None else torch.device("cpu")
    drawn = _fft.double(torch.complex64 if dtype.is_complex else torch.float32, source)
    return torch.randn(shape, dtype=drawn, device=source, generator=generator).to(device or source, dtype)


def gaussian(obj: Tensor, matrix: Tensor, *, chunk: int | None = None) -> Tensor:
    r"""Gaussian phase retrieval: squared moduli of the object's products with the rows of a matrix.

    .. math:: y_i = \Big| \sum_x A_{i,x} X_x \Big|^2

    It does not change under the global phase of the object (its sign, if object and matrix are real), its only
    symmetry. The product is computed in full precision, whatever autocast and torch's setting for the precision of
    float32 products say.

    Args:
        obj: Object, real or complex floating.
        matrix: Measurement matrix, real or complex, one row for each value. See :func:`gaussian_matrix`.
        chunk: Items computed at a time. Results do not depend on it; peak memory does.

    Shape:
        - obj: (*, n1..nd), one to three axes
        - matrix: (M, n1..nd)
        - output: (*, M)

    Returns:
        Real tensor, squared object units.

    Raises:
        TypeError: if obj or matrix is not a floating tensor.
        ValueError: if the shapes do not fit.

    Example:
        >>> matrix = gaussian_matrix((8,), 32)
        >>> gaussian(torch.rand(10, 8), matrix).shape
        torch.Size([10, 32])

    Source:
        Tayal, Lai, Kumar, Sun (2020), Inverse problems, deep learning, and symmetry breaking, arXiv:2003.09077.
    """
    return Gaussian(matrix, chunk=chunk)(obj)


class Gaussian(Operator):
    """Module of :func:`gaussian`, with the same options; also `linear` and `adjoint`.

    Args:
        matrix: Measurement matrix (M, n1..nd), real or complex; a Parameter is learned with the object.
        chunk: Items computed at a time.

    Example:
        >>> op = Gaussian(gaussian_matrix((8, 8), 256))
        >>> op.adjoint(op.linear(torch.ones(8, 8))).shape
        torch.Size([8, 8])
    """

    matrix: Tensor
    data_ndim = 1

    def __init__(self, matrix: Tensor, *, chunk: int | None = None) -> None:
        _checks.floating(matrix=matrix)
        if not 2 <= matrix.ndim <= 4:
            rule = "matrix must have the shape (M, n1..nd) with d = 1, 2 or 3"
            _checks.fail(f"{rule}, got {tuple(matrix.shape)}", "Give a single row an axis with matrix[None]")
        super().__init__(matrix=held(matrix), chunk=chunk)
        self.object_shape = tuple(matrix.shape[1:])
        self.object_ndim = matrix.ndim - 1

    @property
    def data_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Shape of one measurement: the number of rows of the matrix."""
        return (len(self.matrix),)

    def linear(self, obj: Tensor) -> Tensor:
        """The products with the rows: (*, n1..nd) -> (*, M), complex unless object and matrix are real."""
        self._check(obj)
        return self._field(obj)

    def _field(self, obj: Tensor) -> Tensor:
        return _product(_fft.promote(obj).flatten(-self.object_ndim), self.matrix.flatten(1).T)

    def adjoint(self, field: Tensor, object_shape: Sequence[int] | None = None) -> Tensor:
        """The adjoint of `linear`: (*, M) -> (*, n1..nd), complex; `object_shape` may be left out."""
        shape = self._adjoint_shape(object_shape, self.object_shape)
        flat = _product(self._as_field(field, self.data_shape), self.matrix.flatten(1).conj())
        return flat.unflatten(-1, shape)

    def gram_diagonal(self, weight: Tensor, object_shape: Sequence[int] | None = None) -> Tensor:
        """The diagonal of ``A^H diag(weight) A``: (*, M) -> (*, n1..nd)."""
        return _product(weight, _fft.power(self.matrix).flatten(1)).unflatten(-1, self.matrix.shape[1:])


def _product(x: Tensor, matrix: Tensor) -> Tensor:
    """``x @ matrix`` in the precision of its arguments: no autocast, no TF32, no bfloat16."""
    dtype = torch.promote_types(x.dtype, matrix.dtype)
    wide = dtype
    if not _exact_products():
        wide = _fft.double(dtype, x.device)
    with _fft.full_precision(x):
        return (x.to(wide) @ matrix.to(wide)).to(dtype)


def _exact_products() -> bool:
    """Whether torch computes float32 products in float32 on every device."""
    if torch.compiler.is_compiling():  # which cannot ask for more
        return not torch.backends.cuda.matmul.allow_tf32
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # set through the newer torch.backends...fp32_precision
        return False
