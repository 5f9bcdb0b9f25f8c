"""Slow NumPy versions of the operators, by explicit sums and matrices, and what phaseret.testing leaves to us."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from phaseret import testing
from phaseret.operators import Operator


def dft(obj: np.ndarray, shape: Sequence[int], norm: str = "ortho") -> np.ndarray:
    """Fourier transform of one zero-padded object, as the sum over its pixels for each frequency."""
    scale = {"ortho": np.prod(shape) ** -0.5, "backward": 1.0, "forward": 1.0 / np.prod(shape)}[norm]
    result = np.zeros(shape, dtype=complex)
    for k in np.ndindex(*shape):
        for x in np.ndindex(*obj.shape):
            result[k] += obj[x] * np.exp(-2j * np.pi * sum(a * b / m for a, b, m in zip(k, x, shape, strict=True)))
    return scale * result


def centered(plane: np.ndarray, axes: int) -> np.ndarray:
    """Zero frequency from index 0 to index m // 2 of the first `axes` axes."""
    result = np.empty_like(plane)
    for k in np.ndindex(*plane.shape):
        moved = [(i + m // 2) % m if axis < axes else i for axis, (i, m) in enumerate(zip(k, plane.shape, strict=True))]
        result[tuple(moved)] = plane[k]
    return result


def autocorrelation(obj: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Sum over the pixels x of obj[x + k] conj(obj[x]), for every lag k of the grid."""
    result = np.zeros(shape, dtype=complex)
    for x, y in itertools.product(np.ndindex(*obj.shape), repeat=2):
        lag = tuple((b - a) % m for a, b, m in zip(x, y, shape, strict=True))
        result[lag] += obj[y] * np.conj(obj[x])
    return result


def matrix(operator: Operator, object_shape: Sequence[int]) -> np.ndarray:
    """The matrix of the operator's linear part, column by column."""
    size = int(np.prod(object_shape))
    columns = torch.eye(size, dtype=torch.complex128).reshape(size, *object_shape)
    return operator.linear(columns).reshape(size, -1).T.numpy()


def assert_adjoint(operator: Operator, obj: Tensor, field: Tensor) -> None:
    """The adjoint is one, and contiguous."""
    testing.assert_adjoint(operator, obj, field)
    assert operator.adjoint(field, obj.shape[obj.ndim - operator.object_ndim :]).is_contiguous()


def assert_gram_diagonal(operator: Operator, shape: tuple[int, ...], weight: Tensor) -> None:
    """Weighted power of the field of each pixel's own object; or None."""
    found = operator.gram_diagonal(weight, shape)
    if found is None:
        return
    pixels = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
    power = operator.linear(pixels).abs().square()
    expected = (power.flatten(1) @ weight.flatten(1).T.to(power.dtype)).T.reshape(-1, *shape)
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-5, atol=1e-6 * float(expected.max()))


def assert_batched(operator: Operator, obj: Tensor) -> None:
    """A batch of any shape gives what its items give one by one, contiguous."""
    for function in (operator, operator.linear):
        testing.assert_batch_is_items(function, obj, ndim=operator.object_ndim)
        assert function(obj).is_contiguous()


def assert_chunked(whole: Operator, pieces: Operator, obj: Tensor) -> None:
    """The operator that works in pieces gives the same result, gradient and second derivative."""
    results = []
    for operator in (whole, pieces):
        x = obj.clone().requires_grad_()
        y = operator(x)
        (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(grad.abs().square().sum(), x)
        results += [(y.detach(), grad.detach(), second)]
        torch.testing.assert_close(operator(obj), y.detach())
    torch.testing.assert_close(*results)


def assert_derivatives(function: Callable[..., Tensor], *inputs: Tensor) -> None:
    """First derivatives, backward and forward, and second ones agree with finite differences."""
    inputs = tuple(x.detach().requires_grad_() for x in inputs)
    assert gradcheck(function, inputs, check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(function, inputs, fast_mode=True)
