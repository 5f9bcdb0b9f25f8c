"""The arithmetic of factors: of polynomials in one and two variables modulo a prime, against slow sums and products."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest
from scipy.signal import convolve2d

from phaseret.symmetry import _factor, _rivals
from phaseret.symmetry._factor import P


def some(size: int, seed: int, p: int = P) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(1, p) for _ in range(size)]


def slow(a: list[int], b: list[int], p: int = P) -> list[int]:
    """The product, one term at a time."""
    found = [0] * (len(a) + len(b) - 1)
    for (i, x), (j, y) in itertools.product(enumerate(a), enumerate(b)):
        found[i + j] = (found[i + j] + x * y) % p
    return found


def plus(a: list[int], b: list[int], p: int = P) -> list[int]:
    return [(x + y) % p for x, y in itertools.zip_longest(a, b, fillvalue=0)]


def at(a: list[int], x: int) -> int:
    return sum(c * pow(x, k, P) for k, c in enumerate(a)) % P


def together(*parts: list[int]) -> list[int]:
    found = [1]
    for part in parts:
        found = slow(found, part)
    return found


def gauss(*factors: Any) -> Any:
    """The product of images of whole numbers, real or complex."""
    found = np.ones((1, 1), complex)
    for factor in factors:
        found = convolve2d(found, np.asarray(factor))
    return np.stack([np.rint(part).astype(int).astype(object) for part in (found.real, found.imag)])


def unit(a: Any, b: Any) -> bool:
    """Are they equal up to 1, i, -1 or -i?"""
    turns = (a, [-a[1], a[0]], [-a[0], -a[1]], [a[1], -a[0]])
    return a.shape == b.shape and any((np.stack(turn) == b).all() for turn in map(list, turns))


# --- one variable ----------------------------------------------------------------------------------------------------


def test_the_prime_has_the_norm_p_and_is_zero_where_i_is_its_root() -> None:
    a, b = _factor.PRIME
    assert a * a + b * b == P
    assert (a + b * _factor.I) % P == 0
    assert _factor.I**2 % P == P - 1


def test_products_and_quotients_of_polynomials() -> None:
    for m, n in ((1, 1), (2, 5), (7, 3), (40, 30)):
        a, b = some(m, 1), some(n, 2)
        assert _factor.times(a, b) == slow(a, b)
        assert _factor.minus(plus(a, b), b) == a
    most = [P - 1] * 40
    assert _factor.times(most, most) == slow(most, most)
    assert _factor.times([], [1]) == _factor.times([1], []) == _factor.minus([3, 4], [3, 4]) == []
    for p in (P, 257):
        a, b = some(9, 1, p), some(4, 2, p)
        quotient, remainder = _factor.divide(a, b, p)
        assert (len(quotient), len(remainder)) == (6, 3)
        assert plus(slow(quotient, b, p), remainder, p) == a
        assert _factor.divide(b, a, p) == ([], b)
        assert _factor.divide(slow(a, b, p), b, p) == (a, [])
        assert _factor.divide([0, 0, 1], [0, 1], p) == ([0, 1], [])
        assert slow(_factor.monic(a, p), a[-1:], p) == a


def test_the_greatest_common_divisor_is_monic() -> None:
    for p in (P, 257):
        a, b, c = [1, 0, 5], [2, 3], some(3, 3, p)  # 4 + 45 is not 0 modulo p
        assert _factor.gcd(slow(a, c, p), slow(b, c, p), p) == _factor.monic(c, p)
        assert _factor.gcd(a, b, p) == [1]
        assert _factor.gcd([], [*c, 0], p) == _factor.gcd(c, [], p) == _factor.monic(c, p)
    assert _factor.gcd([], []) == []


def test_powers_inverses_and_compositions_modulo_a_polynomial() -> None:
    u, a, b = some(6, 1), some(4, 2), some(5, 3)
    assert _factor.divide(slow(_factor.inverse(a, u), a), u)[1] == [1]
    assert _factor.divide(slow(_factor.inverse(slow(a, b), u), slow(a, b)), u)[1] == [1]
    assert len(_factor.inverse(a, u)) <= 5
    assert _factor.power(a, 13, u) == _factor.divide(together(*[a] * 13), u)[1]
    expected: list[int] = []
    for k, c in enumerate(a):
        expected = plus(expected, slow([c], together(*[b] * k)))
    assert _factor.composed(a, b, u) == _factor.divide(expected, u)[1]
    assert _factor.derivative([5, 6, 7, 8]) == [6, 14, 24]
    shifted = _factor.shifted(a, 77)
    assert [at(shifted, z) for z in range(5)] == [at(a, z + 77) for z in range(5)]
    assert _factor.shifted([], 3) == []
    for series in (a, some(9, 4), [3]):
        found = _factor._inverse_series(series, 5)
        assert len(found) == 6
        assert slow(found, series)[:6] == [1, 0, 0, 0, 0, 0][: len(found) + len(series) - 1]


def test_factors_on_a_line_are_those_it_is_made_of() -> None:
    no_square = next(c for c in range(2, 99) if pow(c, (P - 1) // 2, P) != 1)
    no_cube = next(c for c in range(2, 99) if pow(c, (P - 1) // 3, P) != 1)
    lines, squares = [[3, 1], [5, 1], [P - 7, 1]], [[-no_square % P, 0, 1], [(9 - no_square) % P, 6, 1]]
    cubes = [[-no_cube % P, 0, 0, 1], [(8 - no_cube) % P, 12, 6, 1]]
    for parts in (
        [(lines[0], 1)],
        [(lines[0], 3)],
        [(cubes[0], 1)],
        [(lines[0], 1), (lines[1], 2), (lines[2], 1)],
        [(squares[0], 1), (squares[1], 2), (lines[0], 1)],
        [(cubes[0], 1), (cubes[1], 1), (lines[2], 4)],
        [(cubes[0], 1), (squares[1], 1), (lines[1], 1), (lines[2], 1)],
    ):
        whole = together([17], *(part for part, count in parts for _ in range(count)))
        assert sorted(_factor.factors_on_line(whole)) == sorted(parts)


# --- two variables ---------------------------------------------------------------------------------------------------


def grid(rows: int, columns: int, seed: int) -> list[list[int]]:
    return [some(columns, 100 * seed + k) for k in range(rows)]


def trimmed(f: list[list[int]]) -> list[list[int]]:
    rows = [_factor.trim(row) for row in f]
    while rows and not rows[-1]:
        rows = rows[:-1]
    return rows


def slow_product(f: list[list[int]], g: list[list[int]]) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(len(f) + len(g) - 1)]
    for (i, a), (j, b) in itertools.product(enumerate(f), enumerate(g)):
        found[i + j] = plus(found[i + j], slow(a, b) if a and b else [])
    return found


def test_products_and_quotients_in_two_variables() -> None:
    f, g = grid(4, 3, 1), grid(3, 5, 2)
    f[1], g[0] = [], [4]  # rows may be of any length
    whole = slow_product(f, g)
    assert trimmed(_factor.product(f, g)) == trimmed(whole)
    assert trimmed(_factor.product(f, g, 2)) == trimmed([row[:3] for row in whole])
    assert trimmed(_factor.product(f, g, 0)) == trimmed([row[:1] for row in whole])
    assert _factor.divided(whole, g) == trimmed(f)
    whole[0] = plus(whole[0], [1])
    assert _factor.divided(whole, g) is None
    whole[-1] = plus(whole[-1], [1])
    assert _factor.divided(whole, g) is None
    assert _factor._at(f, 10) == [sum(10**k * (row[j] if row else 0) for k, row in enumerate(f)) % P for j in range(3)]


def test_what_all_coefficients_have_in_common_is_divided_out() -> None:
    f, common = grid(3, 3, 1), [5, 1, 1]
    f[1] = []
    assert _factor.content(f) == [1]
    whole = [slow(row, common) if row else [0, 0] for row in f]
    assert _factor.content([_factor.trim(row) for row in whole]) == common
    assert _factor._primitive(whole) == f
    g = grid(2, 2, 2)
    rest = _factor._remainder_without_content(slow_product(f, g), g)
    assert rest == []
    a, b = grid(4, 2, 5), grid(2, 2, 6)  # where b = 0, x is -b0 / b1 and the remainder has the value of a, up to b1^3
    [value] = _factor._remainder_without_content(a, b)
    expected: list[int] = []
    for k, row in enumerate(a):
        expected = plus(expected, together(row, *[[-x % P for x in b[0]]] * k, *[b[1]] * (3 - k)))
    assert _factor.monic(value) == [1]
    assert _factor.monic(expected) != [1]


def test_hensel_lifts_multiply_to_the_polynomial() -> None:
    parts, most = [[3, 1], [5, 2, 1], [7, 1], [8, 1, 1]], 5
    for count in (1, 2, 3, 4):
        chosen = parts[:count]
        start = together(*chosen)
        f = [start] + [some(len(start) - 1, k) for k in range(most)]  # powers of y; monic in x
        lifts = _factor.lifted_factors(f, chosen, most)
        assert [lift[0] for lift in lifts] == chosen
        assert all(len(lift) == most + 1 for lift in lifts)
        whole = lifts[0]
        for lift in lifts[1:]:
            whole = slow_product(whole, lift)[: most + 1]
        assert trimmed(whole) == trimmed(f)


def test_a_kernel_is_all_that_solves_the_equations() -> None:
    draw = random.Random(3)
    for rank, width in ((0, 3), (2, 5), (4, 4), (1, 1)):
        basis = [[0] * k + some(width - k, k) for k in range(rank)]
        if rank == 2:
            basis = [[0, *row[:3], 0] for row in basis]  # a column of zeros, and one whose pivot comes later
        rows = [[0] * width] + [
            [sum(w * row[k] for w, row in zip(weights, basis, strict=True)) % P for k in range(width)]
            for weights in ([draw.randrange(P) for _ in range(rank)] for _ in range(rank + 2))
        ]
        kernel = _factor._kernel(rows)
        assert len(kernel) == width - rank
        assert all(sum(a * b for a, b in zip(row, x, strict=True)) % P == 0 for row in rows for x in kernel)
        free = [k for k in range(width) if all(x[k] in (0, 1) for x in kernel)]
        assert len([k for k in free if any(x[k] for x in kernel)]) >= width - rank  # they are independent


# --- Gaussian integers -----------------------------------------------------------------------------------------------

A, B, C = [[1, 2], [0, 3]], [[2, 0, 1], [1, 1, 4]], [[1, 5], [2, 3], [7, 1]]
D = np.asarray([[3, 1 + 2j, 2], [1j, 4, -1], [2, 1, 1 - 3j]])


@pytest.mark.parametrize("obj", [A, C, D, [[2 - 1j, 4]]])
def test_the_smallest_multiple_is_the_polynomial_itself(obj: Any) -> None:
    whole, field = gauss(obj), _factor.in_field(gauss(obj))
    leading = field[-1][-1]
    for factor in (1, 12345, P - 1, _factor.I):
        moved = [[x * factor % P for x in row] for row in field]
        assert unit(_factor.smallest(moved, leading), whole)
        assert unit(_factor.smallest(moved, leading * (5 + 2 * _factor.I) * 3), whole)


def test_remainders_of_gaussian_integers() -> None:
    for x, y in (((17, 5), (2, 3)), ((-8, 31), (4, -1)), ((5, 0), (0, 2)), ((-7, -9), (-3, 1)), ((10**30, 7), (9, 8))):
        r = _factor._remainder(x, y)
        norm, off = y[0] ** 2 + y[1] ** 2, (x[0] - r[0], x[1] - r[1])
        assert (off[0] * y[0] + off[1] * y[1]) % norm == (off[1] * y[0] - off[0] * y[1]) % norm == 0
        assert 2 * (r[0] ** 2 + r[1] ** 2) <= norm


def test_a_product_is_exact_where_the_prime_is_larger_than_all_that_could_differ() -> None:
    root = math.isqrt(P)
    for size, exact in ((math.isqrt((root - 1) // 2), True), (math.isqrt((root - 1) // 2) + 1, False)):
        number = gauss([[0]])
        number[0, 0, 0] = size
        assert _factor.exactly(number, [number]) is exact
        number[:] = number[::-1]
        assert _factor.exactly(number, [number]) is exact
    assert _factor.size(gauss([[3 - 4j, 0], [-2, 1j]])) == 10
    assert _factor.exactly(gauss(A, C), [gauss(A), gauss(C)])
    assert _factor.exactly(gauss(np.asarray(A) * 3j, C), [gauss(A), gauss(C)])
    assert not _factor.exactly(gauss(A, C), [gauss(A), gauss(B)])
    assert not _factor.exactly(gauss(A, C), [gauss(A)])
    assert not _factor.exactly(gauss(A, C), [gauss(A), gauss(C), gauss([[0]])])
    wrong = gauss(A, C)
    wrong[0, 1, 1] += 1
    assert not _factor.exactly(wrong, [gauss(A), gauss(C)])


def assert_are(found: list[Any], parts: list[Any]) -> None:
    """The factors, in any order and up to units."""
    assert len(found) == len(parts)
    for part in parts:
        place = next(k for k, x in enumerate(found) if unit(x, gauss(part)))
        found = found[:place] + found[place + 1 :]


def test_contents_are_taken_out_in_both_directions() -> None:
    column, row = [[3], [1], [5j]], [[2, 7]]
    for parts in ((column, row, C), (column, C), (row, C), (C,), (column, row)):
        for order in itertools.permutations(parts):
            found, rest = _factor.contents(gauss(*order))
            assert_are(found, [part for part in parts if part is not C])
            assert unit(rest, gauss(C) if C in parts else gauss([[1]]))
    for turned in (column, row):
        assert_are(_factor.contents(gauss(np.asarray(turned).T, C))[0], [np.asarray(turned).T])


E4, F4 = np.asarray([[2, 1, 3], [1, -4, 1], [3, 1, 5]]), np.asarray([[1, 2, -1], [5, 1, 1], [1, -2, 4]])

G4 = np.asarray([[3, 0, 2, 4], [-4, -3, 3, 4], [-2, -2, 3, -1], [-2, 3, -2, 3]])  # of three factors on a line


@pytest.mark.parametrize("groups", ["known", "one by one"])
@pytest.mark.parametrize(
    "parts",
    [(A, C), (A, A), (A, A, A), (A, A, C), (C, A, C), (E4, E4, A), (A, E4, F4), (E4, D), (E4, F4, E4), (G4, G4, A)],
)
def test_factors_are_found_whatever_belongs_together(
    parts: tuple[Any, ...], groups: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if groups == "one by one":
        monkeypatch.setattr(_factor, "together", lambda f, lifts, most, end: [[k] for k in range(len(lifts))])
    for order in sorted({tuple(map(repr, some)): some for some in itertools.permutations(parts)}.items())[:2]:
        whole = gauss(*order[1])
        assert_are(_factor.factors(whole), list(parts))
        assert_are(_factor.factors(whole.swapaxes(1, 2)), [np.asarray(part).T for part in parts])


# --- products of factors ---------------------------------------------------------------------------------------------


def test_images_are_proportional_whatever_complex_number_is_between_them() -> None:
    image = np.array([[0, 3 - 2j, 4], [1j, 2 + 5j, -7]])

    def parts(x: np.ndarray) -> np.ndarray:
        return np.stack([np.rint(part).astype(int).astype(object) for part in (x.real, x.imag)])

    for factor in (1, -2, 3j, 2 - 5j):
        assert _rivals._proportional(parts(image), parts(factor * image))
        for place in ((0, 2), (1, 0), (1, 1), (1, 2), (0, 0)):
            for step in (1, 1j):
                other = factor * image
                other[place] += step
                assert not _rivals._proportional(parts(image), parts(other))
                assert not _rivals._proportional(parts(other), parts(image))


def test_the_square_free_part_has_each_root_once() -> None:
    def row(*factors: object) -> np.ndarray:
        found = np.array([1])
        for factor in factors:
            found = np.convolve(found, np.asarray(factor))
        return np.stack([np.rint(part).astype(int).astype(object) for part in (np.real(found), np.imag(found))])

    a, b, c = [2, 1], [3, 0, 1], [1 - 2j, 1j]
    for factors, once in (
        ((a, a), (a,)),
        ((a, b), (a, b)),
        ((a, a, a, b), (a, b)),
        ((a, a, b, b, c), (a, b, c)),
        ((c, c), (c,)),
    ):
        found, expected = _rivals._square_free(row(*factors)), row(*once)
        assert found.shape == expected.shape
        assert _rivals._proportional(found[:, None], expected[:, None])
