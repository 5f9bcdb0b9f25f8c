"""The two null spaces of the exact solver: their equations, factors and currents, against dense and slow references."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from phaseret.solvers import _nullspace


def values(shape: tuple[int, ...], real: bool = True, dtype: torch.dtype = torch.float64) -> Tensor:
    """Objects without a border that is faint: moduli from 0.3 to 1, any phase."""
    modulus = 0.3 + 0.7 * torch.rand(shape, dtype=dtype)
    return modulus if real else torch.polar(modulus, 2 * math.pi * torch.rand(shape, dtype=dtype))


def sampled(obj: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """F of mean 1, its gradient and the current of an object, on a grid of the torus."""

    def spectrum(x: Tensor) -> Tensor:
        return torch.fft.ifft2(x + 0j, s=shape, norm="forward")

    rows, columns = (torch.arange(n, dtype=torch.float64) for n in obj.shape)
    x, slopes = spectrum(obj), torch.stack([spectrum(1j * k * obj) for k in (rows[:, None], columns)])
    power, unit = x.abs().square(), x.abs().square().mean()
    return power / unit, 2 * (x.conj() * slopes).real / unit, (x.conj() * slopes).imag / unit


def correlation(obj: Tensor) -> Tensor:
    """The centred autocorrelation."""
    power = torch.fft.fft2(obj, s=[2 * n - 1 for n in obj.shape]).abs().square()
    found = torch.fft.fftshift(torch.fft.ifft2(power))
    return found if obj.is_complex() else found.real


def test_one_current_is_the_null_vector_of_the_equation() -> None:
    """Of the definition, by slow transforms."""
    obj, t = values((4, 5), real=False), [2 * math.pi * torch.arange(n, dtype=torch.float64) / n for n in (16, 20)]
    waves = [torch.exp(1j * torch.outer(x, torch.arange(n).double())) for x, n in zip(t, obj.shape, strict=True)]
    spectrum = torch.einsum("aj,bk,jk->ab", *waves, obj)
    slopes = [
        torch.einsum("aj,bk,jk->ab", *waves, obj * 1j * torch.arange(n).reshape(shape))
        for n, shape in ((4, (4, 1)), (5, (1, 5)))
    ]
    f, unit = spectrum.abs().square(), spectrum.abs().square().mean()
    current = torch.stack([(spectrum.conj() * slope).imag for slope in slopes]) / unit
    df = torch.stack([2 * (spectrum.conj() * slope).real for slope in slopes]) / unit
    waves_of_f = _nullspace._Waves(3, 4, (16, 20), False, torch.device("cpu"))
    equation = _nullspace._Current(f / unit, df, waves_of_f)
    unknowns = waves_of_f.pack(waves_of_f.analysis(current)) * equation._twice()[:, 0] / f.numel()
    torch.testing.assert_close(equation.field(unknowns), current)
    assert equation(unknowns).norm() < 1e-12
    assert equation(equation.known().T).norm() < 1e-12
    part = _nullspace._Object(f / unit, (df / 2 + 1j * current), equation.weight, (4, 5), False)
    part.e = part.e - 1j * torch.tensor([1.5, 2.0])[:, None, None] * part.f  # it is centred in its box
    torch.testing.assert_close(part.spectrum(obj.flatten()[None])[0], spectrum)
    assert part(obj.flatten()[None]).norm() < 1e-12


@pytest.mark.parametrize("real", [True, False])
def test_a_gram_matrix_is_that_of_its_map(real: bool) -> None:
    f, df = values((16, 20)), torch.randn(2, 16, 20, dtype=torch.float64)
    e = torch.complex(df, torch.randn_like(df))
    maps = (
        _nullspace._Current(f, df, _nullspace._Waves(3, 4, (16, 20), real, f.device)),
        _nullspace._Object(f, e, f + 0.1, (4, 5), real),
    )
    for equation in maps:
        gram = equation.gram()
        unit = torch.eye(len(gram), dtype=gram.dtype)
        rows = equation(unit)
        columns = _nullspace._matrix(rows, unit)
        expected = columns.mH @ columns
        torch.testing.assert_close(gram.tril(), expected.tril())
        torch.testing.assert_close(equation.adjoint(rows).T, expected)
        torch.testing.assert_close(_nullspace._unmatrix(columns, rows), rows)


@pytest.mark.parametrize("real", [True, False])
def test_the_least_singular_values_are_those_of_the_dense_map(real: bool) -> None:
    """Of unknowns scaled to columns of norm 1, across what is known."""
    angle = (torch.arange(42, dtype=torch.float64) + 1).square().reshape(6, 7)
    obj = torch.polar(0.7 + 0.4 * (3 * angle).sin(), angle)
    obj = obj.abs() if real else obj
    f, df, current = sampled(obj, (24, 28))
    equation = _nullspace._Current(f, df, _nullspace._Waves(5, 6, (24, 28), real, f.device))
    known, unit = equation.known(), torch.eye(2 * len(equation.waves.k) * (1 if real else 2), dtype=torch.float64)
    matrix = _nullspace._matrix(equation(unit), unit)
    norm = matrix.norm(dim=0)
    counted = norm > 0  # the sines of wave vector 0 are no unknowns
    fixed = torch.linalg.qr((known * norm[:, None])[counted])[0]
    across = torch.eye(len(fixed), dtype=torch.float64) - fixed @ fixed.T
    rank = len(fixed) - fixed.shape[1]
    singular = torch.linalg.svdvals(matrix[:, counted] / norm[counted] @ across)[:rank].flip(0)
    sigma, vectors = _nullspace._smallest(equation, known)
    assert sigma[0] < 1e-13
    assert float(sigma[1]) == pytest.approx(float(singular[1]), rel=1e-3)  # it is compared with powers of ten
    torch.testing.assert_close(sigma[2:], singular[2:4], rtol=0.1, atol=0)
    # the null vector is the current, but for multiples of what is known
    wanted = equation.waves.pack(equation.waves.analysis(current)) * equation._twice()[:, 0]
    span = torch.cat([known, vectors[:1].T], 1)
    assert (span @ torch.linalg.lstsq(span, wanted[:, None])[0] - wanted[:, None]).norm() < 1e-9 * wanted.norm()
    # the vectors are orthonormal in the scaled unknowns, across what is known, and have these singular values
    scaled = (vectors * norm)[:, counted]
    torch.testing.assert_close(scaled @ scaled.T, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-10)
    assert (scaled @ fixed).abs().max() < 1e-10
    torch.testing.assert_close(equation(vectors).flatten(1).norm(dim=1), sigma, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("real", [True, False])
def test_a_multiple_of_a_current_is_calibrated_and_another_field_does_not_fit(real: bool) -> None:
    """The misfit is that of all products of two components, one Fourier coefficient at a time."""
    f, df, current = sampled(values((4, 6), real), (20, 28))
    mixed = 1.7 * current if real else -0.6 * current + 0.4 * df
    found, misfit = _nullspace._calibrated(mixed, f, df, (3, 5), real, 1e-9)
    torch.testing.assert_close(found, current if real else found.sign() * current.sign() * current)
    assert misfit < 1e-9
    other, least, columns = torch.randn(2, 20, 28, dtype=torch.float64), 0.3, []
    misfit = _nullspace._calibrated(other, f, df, (3, 5), real, least)[1]
    for u, v in ((df, df), (other, other)) if real else ((df, df), (other, other), (df, other)):
        column = []
        for i, j in ((0, 0), (1, 1), (0, 1)):
            parts = torch.fft.fft2((u[i] * v[j] + v[i] * u[j]) / f.clamp(min=least))
            column += [parts[a, b] for a in range(20) for b in range(28) if min(a, 20 - a) > 3 or min(b, 28 - b) > 5]
        columns.append(torch.view_as_real(torch.stack(column)).flatten())
    matrix = torch.stack([column / column.norm() for column in columns], 1)
    singular = torch.linalg.svdvals(matrix)
    assert misfit == pytest.approx(float(singular[-1] / singular[0]), rel=1e-9)


@pytest.mark.parametrize("scale", [1e-2, 30.0])
def test_nothing_is_divided_by_less_than_three_times_the_noise(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, calibrated = [], _nullspace._calibrated

    def recorded(*arguments: Any) -> Any:
        seen.append((arguments[1], arguments[-1]))
        return calibrated(*arguments)

    monkeypatch.setattr(_nullspace, "_calibrated", recorded)
    generator = torch.Generator().manual_seed(0)
    a = correlation(scale * (0.3 + torch.rand(6, 8, dtype=torch.float64, generator=generator)))
    noise = 1e-4 * float(a.max())
    draw = torch.randn(a.shape, dtype=torch.float64, generator=generator)
    noisy = a + noise * (draw + draw.flip(0, 1)) / 2**0.5
    noisy[5, 7] = a[5, 7]
    _nullspace.solve(a, True)
    _nullspace.solve(noisy, True, noise)
    (clean, none), (blurred, least) = seen
    assert none == 1e-9
    assert float((blurred - clean).square().mean().sqrt()) == pytest.approx(least / 3, rel=0.2)


@pytest.mark.parametrize("real", [True, False])
def test_the_image_that_fits_best_comes_first(real: bool) -> None:
    obj = values((5, 6), real)
    obj = obj + obj.flip(0, 1).conj()
    found = _nullspace.solve(correlation(obj), real)
    assert found.still
    off = [float((correlation(x) - correlation(obj)).abs().max() / correlation(obj).abs().max()) for x in found.objs]
    assert off[0] < 1e-6
    assert off == sorted(off)


@pytest.mark.parametrize("factors", [[(0, 1)], [(1, -1)], [(0, 1), (0, -1), (1, 1), (1, -1)], [(0, 1), (0, 1)]])
def test_factors_of_symmetric_objects_are_divided_out_and_multiplied_back(factors: list[tuple[int, int]]) -> None:
    obj = values((4, 5), real=False)
    whole = _nullspace._multiplied(obj, factors)
    slow = obj
    for axis, sign in factors:
        moved = slow.movedim(axis, 0)
        rows = [moved[0], *(b + sign * a for a, b in itertools.pairwise(moved)), sign * moved[-1]]
        slow = torch.stack(rows).movedim(0, axis)
    torch.testing.assert_close(whole, slow)
    rest, found = _nullspace._divided(correlation(whole))
    assert found == factors
    torch.testing.assert_close(rest, correlation(obj))


@pytest.mark.parametrize("axis", [0, 1])
def test_two_dimensions_are_left_where_a_factor_is_divided_out(axis: int) -> None:
    row = values((1, 5), real=False)
    whole = torch.cat([row, row]).movedim(0, axis)
    rest, found = _nullspace._divided(correlation(whole))
    assert found == []
    torch.testing.assert_close(rest, correlation(whole))


def test_a_current_is_that_of_the_object_in_the_middle_of_its_box() -> None:
    obj = values((4, 6), real=False)
    f, _, current = sampled(obj, (20, 24))
    middle = torch.tensor([1.5, 2.5], dtype=torch.float64)[:, None, None]
    off = torch.randn(2, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(_nullspace._centred(current + off * f, f, 3, 5), current - middle * f)
