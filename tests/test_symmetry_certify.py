"""Tests of certify: against theorems and FLINT, and on polynomials made to mislead each step of the proof."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import convolve2d
from torch import Tensor

import phaseret as pr
from phaseret.solvers._result import _unmeasured
from phaseret.symmetry import _distance, _factor, _irreducible, _rivals, certify


def product(*factors: object) -> Tensor:
    """The image whose polynomial is the product of those of the factors, in whole numbers."""
    found = np.ones((1, 1), int)
    for factor in factors:
        found = convolve2d(found, np.asarray(factor))
    return torch.as_tensor(found)


def unlike(a: Tensor, b: Tensor) -> bool:
    """Are two objects no copies of each other?"""
    a, b = (x.to(torch.complex128) for x in (a, b))
    return float(pr.symmetry.align(a, b, phase=True).error) > 1e-10 * float(b.abs().square().mean())


def assert_rivals(obj: Tensor, rivals: Tensor) -> None:
    """They have the data of the object, and neither they nor the object are copies of each other."""
    shape = pr.operators.min_fourier_shape(obj.shape)
    tolerance = 1e-9 if obj.dtype in (torch.float64, torch.complex128) else 1e-5
    obj = obj if obj.is_floating_point() or obj.is_complex() else obj.double()
    expected = pr.operators.fourier_intensity(obj, shape)
    found = pr.operators.fourier_intensity(rivals, shape)
    assert ((found - expected).flatten(1).norm(dim=1) < tolerance * expected.norm()).all()
    all_of_them = [obj, *rivals]
    assert all(unlike(a, b) for k, a in enumerate(all_of_them) for b in all_of_them[:k])


A, B, C = (
    [[1, 2], [0, 3]],
    [[2, 0, 1], [1, 1, 4]],
    [[1, 5], [2, 3], [7, 1]],
)  # they do not factor, nor are their own flips
OWN = {
    "1 + x": [[1], [1]],
    "1 - y": [[1, -1]],
    "1 + x + x^2": [[1], [1], [1]],
    "x + y": [[0, 1], [1, 0]],
    "1 + x y": [[1, 0], [0, 1]],
    "x^4 + x^3 y + ... + y^4": np.eye(5, dtype=int)[::-1],
    "2 + x + 2 x^2": [[2], [1], [2]],
    "1 + x + y + 4 x y + x^2 y + ...": [[1, 1, 0], [1, 4, 1], [0, 1, 1]],
    "(1 + y)^3": [[1, 3, 3, 1]],
}

# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.uint16, torch.int64, torch.float16, torch.float32, torch.float64, torch.complex64]
)
def test_an_object_that_does_not_factor_is_unique_in_every_dtype(dtype: torch.dtype) -> None:
    obj = torch.zeros(7, 8, dtype=dtype)
    obj[2:5, 3:5] = torch.tensor(C).to(dtype)
    found = certify(obj)
    assert found.unique is True
    assert found.rivals[0].shape == (0, 7, 8)
    assert found.radius > 1e-3


@pytest.mark.parametrize("shape", [(3, 4), (1, 6), (6, 1), (1, 1)])
def test_one_pixel_or_none_is_unique(shape: tuple[int, int]) -> None:
    obj = torch.zeros(shape)
    assert certify(obj).unique is True
    obj[0, -1] = 2.5
    found = certify(obj)
    assert found.unique is True
    assert found.radius.isnan()
    assert repr(found) == "unique: proved"


@pytest.mark.parametrize("own", OWN)
def test_factors_that_are_their_own_flip_do_not_matter(own: str) -> None:
    factor = OWN[own]
    for obj in (
        product(factor),
        product(factor, factor),
        product(factor, C),
        product(factor, factor, C),
        product(factor, C).T,
    ):
        assert certify(obj, distance=False).unique is True
    found = certify(product(factor, A, C))
    assert found.unique is False
    assert found.radius == found.sigma == 0
    assert_rivals(product(factor, A, C), found.rivals[0])


def test_k_factors_give_two_to_the_power_of_k_minus_one_images() -> None:
    for factors, others in (((A, C), 1), ((A, B, C), 3), ((A, A), 1), ((A, A, A), 1), ((A, A, C), 2)):
        found = certify(product(*factors))
        assert found.unique is False
        assert len(found.factors[0]) == len(factors)
        assert len(found.rivals[0]) == others
        assert_rivals(product(*factors), found.rivals[0])
    flip = np.asarray(A)[::-1, ::-1]
    assert len(certify(product(A, flip)).rivals[0]) == 1  # the square of either
    assert len(certify(product(A, B, C), rivals=2).rivals[0]) == 2
    assert len(certify(product(A, B, C), rivals=0).rivals[0]) == 0
    assert (certify(product(A, C)).rivals[0] >= 0).all()
    assert "1 other with its data listed in rivals (1 without negative values)" in repr(certify(product(A, C)))


def test_factors_on_a_line_that_belong_together_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, groups, together = [], [], _factor.together

    def counted(f: list[list[int]], lifts: list[list[list[int]]], most: int, end: int) -> list[list[int]]:
        found = together(f, lifts, most, end)
        lines.append(len(lifts))
        groups.append(len(found))
        return found

    monkeypatch.setattr(_factor, "together", counted)
    a, b = (np.arange(1, 50).reshape(7, 7) ** 2 % p for p in (37, 41))
    found = certify(product(a, b), distance=False)
    assert sorted(x.shape for x in found.factors[0]) == [(7, 7), (7, 7)]
    assert lines[0] > 2
    assert groups == [2]


def test_gaussian_integers_are_factored() -> None:
    a, b = np.asarray(A) + 1j * np.asarray([[0, 1], [2, 0]]), np.asarray(C) - 2j * np.eye(3, 2)
    for dtype in (torch.complex64, torch.complex128):
        obj = product(a, b).to(dtype)
        found = certify(obj)
        assert found.unique is False
        assert found.rivals[0].dtype == dtype
        assert_rivals(obj, found.rivals[0])
    # real, and a product of a complex polynomial and its conjugate: the real image is one of two complex ones
    found = certify(product(a, a.conj()))
    assert found.unique is False
    assert "(complex)" in repr(found)
    assert_rivals(product(a, a.conj()), found.rivals[0])


def test_factors_with_irrational_coefficients_leave_no_proof() -> None:
    # (x + 1 + sqrt(2) y) (x + 1 - sqrt(2) y)
    found = certify(torch.tensor([[1, 0, -2], [2, 0, 0], [1, 0, 0]]))
    assert found.unique is None
    assert found.sigma < 1e-6
    assert repr(found).startswith("no proof found: it does not factor over the rational numbers")


def test_a_proof_in_one_direction_and_no_content_is_enough() -> None:
    obj = torch.zeros(11, 2)
    obj[0, 1] = obj[10, 0] = obj[10, 1] = 1  # x^10 + y + x^10 y: on every line a polynomial in x^10
    assert certify(obj).unique is True


def test_factors_of_one_direction_are_found_by_their_roots() -> None:
    for obj in (product([[2], [1]], C), product([[0, 2], [1, 0]], C), product([[1, 3, 1]], [[2], [1]])):
        assert certify(obj).unique is False
        assert_rivals(obj, certify(obj).rivals[0])
    assert certify(product([[1], [1]], [[2, 1]])).unique is True


# --- one and three dimensions ----------------------------------------------------------------------------------------


def test_a_row_is_unique_only_if_at_most_one_root_is_off_the_unit_circle() -> None:
    unique = ([1, 2], [1, 1, 1, 1, 1], [2, 1, 2], [1, 3, 3, 1], [2, 3, 1], [1, 0, 0, 1j], np.convolve([1, 1j], [3, 1]))
    for row in unique:
        assert certify(torch.tensor(row), ndim=1).unique is True, row
    lehmer = [1, 1, 0, -1, -1, -1, -1, -1, 0, 1, 1]  # eight of its ten roots lie on the circle
    several = ([1, 4, 1], [2, 5, 2], lehmer, [1, 2, 5], np.convolve([1, 1, 1], [2, 3, 6]), [1.5, 0, 0, 1j])
    for row in several:
        found = certify(torch.tensor(row)[None])
        assert found.unique is False, row
        assert_rivals(torch.tensor(row)[None], found.rivals[0])


def test_a_generic_row_of_n_pixels_has_two_to_the_power_of_n_minus_two_copies() -> None:
    obj = torch.randn(5, dtype=torch.complex128)
    found = certify(obj, ndim=1)
    assert found.unique is False
    assert found.rivals[0].shape == (7, 5)
    assert_rivals(obj[None], found.rivals[0][:, None])


def test_rows_that_are_too_long_are_not_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    assert certify(torch.rand(_rivals._LONGEST + 1), ndim=1).unique is None
    monkeypatch.setattr(_rivals, "_LONGEST", 5)
    assert certify(torch.rand(6), ndim=1).unique is None
    assert certify(torch.tensor([1.0, 5, 2, 7, 3]), ndim=1).unique is not None


def test_a_solid_is_proved_by_two_sections() -> None:
    solid = torch.randint(1, 256, (2, 4, 3, 5))
    found = certify(solid, ndim=3)
    assert found.unique == [True, True]
    assert found.radius.isnan().all()
    flat = torch.zeros(4, 3, 5)
    flat[:, 1] = torch.rand(4, 5)
    assert certify(flat, ndim=3).unique is True
    assert certify(flat, ndim=3).radius > 0


@pytest.mark.parametrize(
    "shapes", [((2, 2, 2), (3, 2, 2)), ((1, 1, 3), (3, 2, 1)), ((2, 2, 1), (1, 2, 2)), ((1, 2, 1), (2, 2, 2))]
)
def test_no_solid_that_factors_is_proved(shapes: tuple[tuple[int, int, int], ...]) -> None:
    a, b = (torch.randint(1, 9, shape).double() for shape in shapes)
    shape = [m + n - 1 for m, n in zip(*shapes, strict=True)]
    solid = torch.fft.irfftn(torch.fft.rfftn(a, shape) * torch.fft.rfftn(b, shape), shape).round()
    for axes in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        assert certify(solid.permute(axes), ndim=3).unique is not True


# --- no false proof --------------------------------------------------------------------------------------------------


@st.composite
def factors(draw: st.DrawFn) -> list[np.ndarray]:
    """Two or three images of small whole numbers, of any shape, with their pixels of zero at the border cut off."""
    number = st.integers(-3, 3)
    if draw(st.booleans()):
        number = st.builds(complex, number, number)
    found = []
    for _ in range(draw(st.integers(2, 3))):
        shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        image = np.array(draw(st.lists(number, min_size=math.prod(shape), max_size=math.prod(shape)))).reshape(shape)
        rows, columns = image.any(1).nonzero()[0], image.any(0).nonzero()[0]
        if len(rows):
            found.append(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return found


def is_its_own_flip(image: np.ndarray) -> bool:
    flip, place = image[::-1, ::-1].conj(), tuple(np.argwhere(image)[0])
    return bool((image * flip[place] == flip * image[place]).all())


def assert_no_false_proof(parts: list[np.ndarray]) -> None:
    obj, differ = product(*parts), [part for part in parts if not is_its_own_flip(part)]
    found = certify(obj, distance=False)
    if len(differ) > 1:
        assert found.unique is not True
    if found.unique is False:
        assert_rivals(obj, found.rivals[0])


@settings(max_examples=6)
@given(factors())
def test_no_product_of_two_that_differ_from_their_flips_is_ever_proved_unique(parts: list[np.ndarray]) -> None:
    assert_no_false_proof(parts)


@pytest.mark.slow
@settings(max_examples=100)
@given(factors())
def test_none_of_many_products_is_proved_unique(parts: list[np.ndarray]) -> None:
    assert_no_false_proof(parts)


def test_another_prime_proves_what_one_prime_cannot() -> None:
    p, q = itertools.islice(_irreducible.primes(250), 2)
    unlucky = product(A, C) + p * torch.randint(1, 4, (4, 3))  # a product modulo p
    vanishing = torch.randint(1, 99, (5, 4))
    vanishing[-1] *= p
    vanishing[:, 0] *= q
    for obj in (unlucky, vanishing):
        degrees = torch.tensor([obj.shape]) - 1
        assert not _irreducible.irreducible(_irreducible.residues(obj, p)[None], degrees, p) or obj is vanishing
        assert certify(obj).unique is True


def test_separable_images_are_products_of_two_rows() -> None:
    found = certify(product([[1], [2], [4]], [[3, 4, 6]]))
    assert found.unique is False
    assert [x.shape for x in found.factors[0]] == [(1, 3), (3, 1)]


def test_factors_are_listed_from_the_smallest_on() -> None:
    long = [[1], [2], [7], [3], [5], [9], [4]]
    for parts in ((long, A), (C, A), (A, C), (A, long, C)):
        sizes = [x.numel() for x in certify(product(*parts), distance=False).factors[0]]
        assert sizes == sorted(sizes)
        assert math.prod(sizes) == math.prod(np.size(part) for part in parts)


# --- FLINT -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_flint_finds_no_contradiction(images: int) -> None:
    flint = pytest.importorskip("flint")
    context = flint.fmpz_mpoly_ctx.get(["x", "y"], "lex")
    generator = np.random.default_rng(0)

    def free(image: np.ndarray) -> int:
        """How many irreducible factors over Q are not their own flip."""
        count = 0
        for factor, times in context.from_dict(
            {(int(i), int(j)): int(image[i, j]) for i, j in np.argwhere(image)}
        ).factor()[1]:
            places = np.array([*factor.to_dict()])
            dense = np.zeros(np.ptp(places, axis=0) + 1, object)
            for place, value in factor.to_dict().items():
                dense[tuple(place - places.min(0))] = int(value)
            count += times * (not is_its_own_flip(dense))
        return count

    seen = set()
    for _ in range(images):
        parts = [generator.integers(-2, 3, generator.integers(1, 5, 2)) for _ in range(generator.integers(1, 4))]
        obj = product(*parts)
        if obj.any():
            count, unique = free(obj.numpy()), certify(obj, distance=False).unique
            assert unique is not True or count < 2
            assert unique is False or count < 2  # FLINT's factors and ours are the same
            seen.add((count > 1, unique))
    assert seen >= {(True, False), (False, True)}


@pytest.mark.parametrize("kind", ["grey", "binary"])
def test_digits_are_unique(kind: str) -> None:
    digits = pr.datasets.mnist(train=False)[:40]
    found = certify(digits if kind == "grey" else digits > 0.5, distance=False)
    assert found.unique == [True] * 40


# --- the distance ----------------------------------------------------------------------------------------------------


def ruppert(f: np.ndarray) -> np.ndarray:
    """The matrix of (g, h) -> f y g_y - g y f_y - f x h_x + h x f_x, one product at a time."""
    m, n = f.shape[0] - 1, f.shape[1] - 1
    along_y, along_x = (lambda u: u * np.arange(u.shape[1])), (lambda u: u * np.arange(u.shape[0])[:, None])
    columns = []
    for a in range(m + 1):
        for b in range(n + 1):
            unit = np.zeros((m + 1, n + 1))
            unit[a, b] = 1
            columns += [(0, a, b, convolve2d(f, along_y(unit)) - convolve2d(unit, along_y(f)))] * (a > 0)
            columns += [(1, a, b, convolve2d(unit, along_x(f)) - convolve2d(f, along_x(unit)))] * (b > 0)
    return np.stack([image.ravel() for *_, image in sorted(columns, key=lambda column: column[:3])], 1)


@pytest.mark.parametrize("shape", [(2, 2), (2, 5), (4, 3), (6, 6)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_sigma_is_the_second_singular_value_of_ruppert_s_map(shape: tuple[int, int], dtype: torch.dtype) -> None:
    obj = torch.randn(shape, dtype=dtype)
    matrix = ruppert((obj / obj.norm()).numpy())
    singular = np.linalg.svd(matrix, compute_uv=False)
    assert singular[-1] < 1e-14
    gram = _distance._gram(obj / obj.norm())
    torch.testing.assert_close(gram, torch.tensor(matrix.conj().T @ matrix))
    found = certify(obj)
    torch.testing.assert_close(float(found.sigma), singular[-2], rtol=1e-3, atol=0)
    m, n = shape[0] - 1, shape[1] - 1
    most = singular[-2] / math.sqrt((m * m + n * n) * (m + 1) * (n + 1))
    assert 0.7 * most < float(found.radius) <= most


@pytest.mark.parametrize("refused", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("near", [1.0, 1e-4])
def test_the_radius_is_what_the_first_positive_matrix_proves(
    near: float, refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the formula, with a dense map, and factorisations that are refused; by far and where rounding counts."""
    angle = torch.arange(12, dtype=torch.float64).square().reshape(4, 3)
    obj = product(A, C) + near * torch.polar(1 + 0.5 * (3 * angle).sin(), angle)
    f = (obj / obj.norm()).numpy()
    (m, n), (rows, columns) = (3, 2), np.indices(f.shape)
    matrix = ruppert(f)
    gram, size = matrix.conj().T @ matrix, 2 * m * n + m + n
    known = np.concatenate([(rows * f)[1:].ravel(), (columns * f)[:, 1:].ravel()])
    known /= np.linalg.norm(known)
    trace = gram.trace().real
    seen, cholesky = [], torch.linalg.cholesky_ex

    def recorded(a: Tensor) -> Any:
        factor, info = cholesky(a)
        seen.append(a.numpy().copy())
        return factor, info + (2 <= len(seen) < 2 + refused)

    monkeypatch.setattr(torch.linalg, "cholesky_ex", recorded)
    sigma, radius = _distance.distance(obj)
    singular = np.linalg.svd(matrix, compute_uv=False)
    assert sigma == pytest.approx(singular[-2], rel=1e-6 if near == 1 else 1e-2)
    first = 1e-15 * trace / size
    rounding = first + 2**-52 * size * (2 * (1 + 8 / size) * trace + 20 * m**2 * math.log2(4 * 12))
    shares = [share for share in (0.98, 0.9, 0.6) if share * sigma**2 > rounding]
    assert len(shares) == 3
    assert near == 1 or rounding > 0.05 * sigma**2
    for a, share in zip(seen, [0, *shares], strict=False):
        expected = gram + trace / size * np.outer(known, known.conj()) + (first - share * sigma**2) * np.eye(size)
        np.testing.assert_allclose(a, expected, rtol=0, atol=1e-14 * trace)
    assert len(seen) == min(2 + refused, 4)
    if refused > 2:
        assert radius == 0
    else:
        bound = math.sqrt((shares[refused] * sigma**2 - rounding) / ((m * m + n * n) * (m + 1) * (n + 1)))
        assert radius == pytest.approx(bound * (1 - 1e-6) - 1e-14, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_a_distance_is_relative_to_the_norm_of_an_image_of_any_size(scale: float) -> None:
    obj = torch.tensor([[3.0, 1, 2], [2, 4, 1]], dtype=torch.float64)
    assert _distance.distance(scale * obj) == pytest.approx(_distance.distance(obj), rel=1e-12)


def test_a_singular_matrix_is_raised_until_it_has_a_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    obj, seen, cholesky = product(A, C).double(), [], torch.linalg.cholesky_ex

    def recorded(a: Tensor) -> Any:
        factor, info = cholesky(a)
        seen.append(float(a[0, 0]))
        return factor, info + (len(seen) < 4)

    monkeypatch.setattr(torch.linalg, "cholesky_ex", recorded)
    sigma, radius = _distance.distance(obj)
    gram = _distance._gram(obj / obj.norm())
    step = 1e-15 * float(gram.trace()) / len(gram)
    np.testing.assert_allclose(np.diff(seen), step * np.array([3.0, 12, 48]), rtol=0, atol=1e-15)
    assert sigma < 1e-6
    assert radius == 0


@pytest.mark.parametrize(
    "factor", [A, [[2], [1]], [[1, 1]], [[0, 1], [1, 0]], [[0, 0], [0, 1.0]], [[0, 0, 1.0], [0, 0, 0]]]
)
def test_nothing_that_factors_or_is_smaller_lies_within_the_radius(factor: list[list[float]]) -> None:
    other = torch.randn(4, 4, dtype=torch.float64)
    near = product(factor, other)  # the last two only move it in a larger box
    for size in (1e-1, 1e-2, 1e-3):
        obj = near + size * torch.randn(near.shape, dtype=torch.float64)
        found = certify(obj)
        assert found.unique is True
        assert 0 <= found.radius <= (obj - near).norm() / obj.norm()
        assert found.radius > 0 or size < 1e-2


def test_a_proof_is_no_distance() -> None:
    row = torch.exp(-(torch.arange(-4.5, 5, dtype=torch.float64) ** 2) / 8)
    gaussian, other = row[:, None] * row, certify(row, ndim=1).rivals[0][0][:, None] * row
    data = pr.operators.fourier_magnitude(torch.stack([gaussian, other]), (19, 19))
    torch.testing.assert_close(data[0], data[1], rtol=0, atol=1e-13)
    assert unlike(gaussian, other)
    rounded = product(torch.rand(5, 5), torch.rand(4, 6)).double() * (
        1 + 1e-15 * torch.randn(8, 10, dtype=torch.float64)
    )
    for obj in (gaussian, rounded):
        found = certify(obj)
        assert found.unique is True
        assert found.radius == 0
        assert found.sigma < 1e-5
        assert "; but others may be as near as rounding (sigma " in repr(found)


def test_large_objects_are_proved_without_a_distance() -> None:
    found = certify(torch.rand(52, 51))
    assert found.unique is True
    assert found.radius.isnan()
    assert certify(torch.rand(9, 9), distance=False).radius.isnan()


def test_images_too_large_to_be_factored_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rivals, "LARGEST", 10)
    found = certify(product(A, C), distance=False)
    assert found.unique is None
    assert "are not factored" in repr(found)


# --- batches, errors -------------------------------------------------------------------------------------------------


def test_a_batch_gives_what_its_items_give() -> None:
    batch = torch.zeros(2, 4, 9, 8)
    for k, item in enumerate(
        (product(A, C), torch.rand(9, 8), torch.rand(4, 5), torch.rand(1, 3), torch.zeros(1, 1), product([[1, 1]], C))
    ):
        batch[k // 4, k % 4, : item.shape[0], -item.shape[1] :] = item
    batch[1, 2, 3:5, 2:] = torch.rand(2, 6)
    batch[1, 3, 4, 4] = 1
    found = certify(batch)
    assert found.radius.shape == found.sigma.shape == (2, 4)
    for k in range(8):
        one = certify(batch[k // 4, k % 4])
        assert found.unique[k // 4][k % 4] is one.unique
        assert found.verdict[k] == one.verdict[0]
        torch.testing.assert_close(found.radius[k // 4, k % 4], one.radius, equal_nan=True)
        torch.testing.assert_close(found.rivals[k], one.rivals[0])
    assert repr(found).startswith("8 objects: 6 unique, 2 not unique; median radius ")


def test_a_reconstruction_tells_whether_it_is_the_only_one() -> None:
    obj = product(A, C).double()
    intensity = pr.operators.fourier_intensity(obj, (8, 8))
    result = pr.solvers.HIO(2)(intensity, support=torch.ones(4, 3, dtype=torch.bool), constraint="real")
    result.obj = obj
    assert result.certify().unique is False
    assert_rivals(obj, result.certify(rivals=1).rivals[0])
    assert repr(result.certify(rivals=0)).startswith("not unique: others have its data; it is a product of factors of ")


BOX = torch.ones(4, 3, dtype=torch.bool)


def solved(obj: Tensor, shape: tuple[int, int] = (8, 8), **options: Any) -> pr.solvers.Reconstruction:
    """The object as a solver would return it."""
    intensity = pr.operators.fourier_intensity(obj, shape, undersampled=True)
    result = pr.solvers.ErrorReduction(1)(intensity, constraint="complex", **options)
    result.obj = obj
    return result


@pytest.mark.filterwarnings("ignore:.*(do not determine|undersampled|above one half)")
def test_of_data_that_are_no_complete_pattern_nothing_is_proved() -> None:
    obj, rival = torch.rand(4, 3, dtype=torch.float64) + 0.5, product(A, C).double()
    proved = solved(obj, support=BOX).certify()
    assert proved.unique is True
    assert proved.radius > 0
    gaps = torch.ones(8, 8, dtype=torch.bool)
    gaps[1, 2] = gaps[7, 6] = False
    kernel = torch.tensor([[0.1, 0.8, 0.1]], dtype=torch.float64)
    for options, reason in (
        ({"mask": gaps}, "2 of 64 pixels were not measured"),
        ({"point_spread": kernel}, "the pattern is blurred"),
        (
            {"undersampled": True, "shape": (6, 6)},
            "the data are 6 x 6 samples, and an object in a box of 4 x 3 pixels takes 7 x 5",
        ),
    ):
        found = solved(obj, support=BOX, **options).certify()
        assert repr(found) == f"no proof found: {reason}"
        assert found.unique is None
        assert found.radius.isnan()
        # what has all of the data has a part of them too
        assert solved(rival, support=BOX, **options).certify().unique is False


def test_nor_of_what_another_operator_measured_or_an_older_file_holds() -> None:
    obj = torch.rand(2, 4, 4, dtype=torch.float64)
    masks = torch.polar(torch.ones(5, 4, 4, dtype=torch.float64), 6 * torch.rand(5, 4, 4, dtype=torch.float64))
    operator = pr.operators.CodedDiffraction(masks)
    found = pr.solvers.wirtinger_flow(operator(obj), operator, n_iter=1, init=obj).certify()
    assert found.unique == [None, None]
    assert found.reasons == ["it is not known to explain a Fourier pattern"] * 2
    # Rivals of a product have its Fourier magnitude, and not what the operator measures.
    rival = product(A, C).double()
    operator = pr.operators.CodedDiffraction(masks[:, :, :3])
    found = pr.solvers.wirtinger_flow(operator(rival), operator, n_iter=1, init=rival).certify()
    assert found.unique is None
    assert found.rivals[0].shape == (0, 4, 3)
    assert repr(found) == "no proof found: it is not known to explain a Fourier pattern"
    fourier = pr.operators.FourierIntensity((8, 8))
    mask = torch.ones(2, 8, 8, dtype=torch.bool)
    mask[1, 3, 3] = False
    found = pr.solvers.wirtinger_flow(fourier(obj), fourier, n_iter=1, init=obj, mask=mask).certify()
    assert found.unique == [True, None]
    assert found.reasons == ["", "1 of 64 pixels were not measured"]
    kernel = torch.tensor([[[0.1, 0.8, 0.1]], [[0.2, 0.6, 0.2]]], dtype=torch.float64)
    blurred = pr.solvers.wirtinger_flow(fourier(obj), fourier, n_iter=1, init=obj, point_spread=kernel)
    torch.testing.assert_close(blurred.point_spread, kernel)
    assert blurred.certify().reasons == ["the pattern is blurred"] * 2


def test_pixels_of_a_large_pattern_are_counted_to_the_last() -> None:
    shape = (4097, 4099)  # more than single precision tells apart
    magnitude = SimpleNamespace(weight=torch.ones(()).expand(shape))
    problem = SimpleNamespace(magnitude=magnitude, shape=shape, ndim=2, patterns=2)
    assert _unmeasured(cast(Any, problem)).tolist() == [0, 0]


def test_an_object_that_wraps_around_its_grid_counts_in_one_piece() -> None:
    obj = torch.zeros(3, 9, 8, dtype=torch.float64)
    obj[0, :4, :3] = product(A, C)
    obj[1, :3, :3] = torch.tensor([[1, 2, 3], [4, 9, 1], [2, 2, 7]])
    obj[2] = torch.rand(9, 8)
    moved = obj.roll((-2, 6), (1, 2))
    assert certify(moved[0]).unique is True  # of an object of 9 x 8 pixels
    found = certify(moved, fourier_shape=(9, 8))
    assert found.unique == [False, True, None]
    assert found.verdict[2] == (
        "no proof found: the data are 9 x 8 samples, and an object in a box of 9 x 8 pixels takes 17 x 15"
    )
    expected = pr.operators.fourier_intensity(obj[0, :4, :3], (9, 8))
    torch.testing.assert_close(torch.fft.fft2(found.rivals[0][0], norm="ortho").abs().square(), expected)
    assert certify(torch.zeros(2, 5, 5), fourier_shape=(5, 5)).unique == [True, True]
    with pytest.raises(ValueError, match=r"certify: fourier_shape must be at least the object \(9, 8\), got \(8, 8\)"):
        certify(moved, fourier_shape=(8, 8))


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"certify: obj must be finite, got other values"):
        certify(torch.tensor([[1.0, math.nan]]))
    with pytest.raises(
        TypeError, match=r"certify: obj must hold floats or integers of at most 63 bits, got torch.uint64"
    ):
        certify(torch.ones(2, 2, dtype=torch.uint64))
    with pytest.raises(ValueError, match="certify: obj must have at least 2 axes"):
        certify(torch.rand(3))


def test_factors_with_too_many_digits_are_no_proof() -> None:
    found = certify(torch.tensor([[1, 3], [2.0**100, 3 * 2.0**100]], dtype=torch.float64), distance=False)
    assert found.unique is None
    assert repr(found) == "no proof found: its factors, if there are any, have too many digits"


def test_an_object_anywhere_on_its_grid_is_the_object_of_its_box() -> None:
    """Over the edge too, in one and two dimensions."""
    obj = torch.zeros(11, 12)
    obj[:5, :5] = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3], [5, 8, 9, 7, 9], [3, 2, 3, 8, 4], [6, 2, 6, 4, 3.0]])
    line = torch.zeros(9)
    line[:3] = torch.tensor([1.0, 0.0, 1.0])  # 1 + x^2, of which a flip makes nothing new
    for shift in range(9):
        assert certify(obj.roll((shift, -shift), (0, 1)), fourier_shape=(11, 12)).unique is True
        moved = certify(line.roll(shift), ndim=1, fourier_shape=(9,))
        assert moved.unique == certify(line[:3], ndim=1).unique
