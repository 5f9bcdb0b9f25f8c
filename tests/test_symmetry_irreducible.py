"""Proofs modulo a prime: the degrees of factors on lines, roots in every field, and what they prove together."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from phaseret.symmetry import _factor, _irreducible

A = [[1, 2], [0, 3]]


def product(*factors: object) -> torch.Tensor:
    """The image whose polynomial is the product of those of the factors, in whole numbers."""
    found = np.ones((1, 1), int)
    for factor in factors:
        found = convolve2d(found, np.asarray(factor))
    return torch.as_tensor(found)


def test_what_factors_in_an_extension_of_the_field_is_not_proved() -> None:
    p, other = 257, 3  # which has no square root modulo 257
    generator = np.random.default_rng(0)
    for _ in range(30):
        a, b = generator.integers(0, p, (2, *generator.integers(2, 4, 2)))
        f = (convolve2d(a, a) - other * convolve2d(b, b)) % p
        degrees = torch.tensor([f.shape]) - 1
        assert not _irreducible.irreducible(torch.tensor(f).double()[None], degrees, p)


def test_products_and_polynomials_of_less_degree_are_not_proved_modulo_a_prime() -> None:
    p, generator = 257, np.random.default_rng(0)
    for _ in range(30):
        a, b = (generator.integers(0, p, generator.integers(1, 4, 2)) for _ in range(2))
        f = convolve2d(a, b) % p
        if min(f.shape) > 1 and max(a.shape) > 1 and max(b.shape) > 1:
            degrees = torch.tensor([f.shape]) - 1
            assert not _irreducible.irreducible(torch.tensor(f).double()[None], degrees, p)
        if min(a.shape) > 1:
            less = torch.tensor(np.pad(a, ((0, 1), (0, 0)))).double()[None]
            assert not _irreducible.irreducible(less, torch.tensor([less.shape[1:]]) - 1, p)


def test_degrees_of_factors_on_a_line() -> None:
    p = 257
    # (x - 1) (x - 2) (x^2 - 3) (x^3 + x + 4) of degree 7, whose cubic has no root; and with a double root
    cubic = next(c for c in range(p) if all((x**3 + x + c) % p for x in range(p)))
    parts = [[-1, 1], [-2, 1], [-3, 0, 1], [cubic, 1, 0, 1]]
    square = [[-1, 1], [-1, 1], [-3, 0, 1], [cubic, 1, 0, 1]]
    u = torch.tensor([[product(*([x] for x in some))[0].tolist() for some in (parts, square)]]) % p
    count = _irreducible._degrees_on_lines(u.double(), torch.tensor([7]), p)
    assert count.tolist() == [[[0, 2, 1, 1, 0, 0, 0, 0], [0] * 8]]
    padded = torch.nn.functional.pad(u, (0, 4))
    count = _irreducible._degrees_on_lines(padded.double(), torch.tensor([7]), p)
    assert count.tolist() == [[[0, 2, 1, 1, *[0] * 8], [0] * 12]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.complex128])
def test_residues_are_those_of_binary_fractions(dtype: torch.dtype) -> None:
    x = (torch.randn(50, dtype=torch.float64) * 2 ** (20 * torch.rand(50) - 12)).to(dtype)
    p, smallest = 257, 2**90  # every value is a multiple of 1 / smallest
    i = _irreducible.root_of_minus_one(p)
    assert i * i % p == p - 1
    for value, residue in zip(x.tolist(), _irreducible.residues(x, p).tolist(), strict=True):
        parts = [int(complex(value).real * smallest), int(complex(value).imag * smallest)]
        assert (int(residue) * smallest - parts[0] - i * parts[1]) % p == 0


def test_lines_on_which_the_degree_falls_are_left_out() -> None:
    """Those at 2, 3, ..., 7 in both directions: a proof comes from the others."""
    p, generator = 257, np.random.default_rng(0)
    vanishing = np.array([1])
    for root in range(2, 8):
        vanishing = np.convolve(vanishing, [-root, 1]) % p
    for side in (0, -1):  # no root 0, or the full degree
        f = generator.integers(1, p, (6, 7))
        f[side] = vanishing
        for h in (torch.tensor(f).double(), torch.tensor(f.T).double().mT):
            whole, root = _irreducible.undivided(h[None], torch.tensor([5]), p)
            assert whole.tolist() == [True]
            assert root.dtype == torch.bool
        assert _irreducible.irreducible(torch.tensor(f).double()[None], torch.tensor([[5, 6]]), p).tolist() == [True]


def test_what_is_proved_of_one_does_not_depend_on_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    p, generator = 257, np.random.default_rng(1)
    images = [convolve2d(A, generator.integers(1, p, (4, 4))) % p for _ in range(3)]
    images += [generator.integers(1, p, (5, 5)) for _ in range(5)]
    images += [np.outer(range(1, 6), generator.integers(1, p, 5)) % p]
    small = generator.integers(1, p, (3, 4))
    images += [np.pad(small, ((0, 2), (0, 1)))]
    f = torch.tensor(np.stack(images)).double()
    degrees = torch.tensor([[4, 4]] * 9 + [[2, 3]])
    expected = [False] * 3 + [True] * 5 + [False, True]
    assert _irreducible.irreducible(f, degrees, p).tolist() == expected
    for k in range(10):
        assert _irreducible.irreducible(f[k : k + 1], degrees[k : k + 1], p).tolist() == expected[k : k + 1]
    for small, large in ((0, 400), (0, 1)):  # three lines at a time, and one
        monkeypatch.setattr(_irreducible, "_SMALL", small)
        monkeypatch.setattr(_irreducible, "_LARGE", large)
        assert _irreducible.irreducible(f, degrees, p).tolist() == expected
    monkeypatch.setattr(_irreducible._memory, "pixels_at_a_time", lambda device: 1)
    assert _irreducible.irreducible(f, degrees, p).tolist() == expected


@pytest.mark.parametrize("m", [1, 2, 3, 5, 8, 9, 16])
def test_roots_are_counted_in_every_field(m: int) -> None:
    """Those in the field of p^k numbers are the common ones with x^(p^k) - x, and the first are seen one by one."""
    p, generator = 257, np.random.default_rng(m)
    u = torch.tensor(generator.integers(0, p, (4, m))).double()
    found = _irreducible._roots_by_field(u, p)
    assert found.shape == (4, m)
    for row, counts in zip(u.long().tolist(), found.long().tolist(), strict=True):
        values = [(pow(x, m, p) + sum(c * pow(x, k, p) for k, c in enumerate(row))) % p for x in range(p)]
        assert counts[0] == values.count(0)
        whole = [*row, 1]
        frobenius, image = _power_of_x(p, whole, p), [0, 1]
        for k, count in enumerate(counts):
            image = frobenius if k == 0 else _composed(image, frobenius, whole, p)
            off = _factor.trim([(x - y) % p for x, y in itertools.zip_longest(image, [0, 1], fillvalue=0)])
            assert count == len(_factor.gcd(off, whole, p) if off else whole) - 1


def _power_of_x(exponent: int, u: list[int], p: int) -> list[int]:
    found = [1]
    for _ in range(exponent):
        found = _factor.divide([0, *found], u, p)[1]
    return found


def _composed(a: list[int], b: list[int], u: list[int], p: int) -> list[int]:
    found: list[int] = []
    for c in reversed(a):
        moved = np.convolve(found, b).tolist() if found and b else []
        found = _factor.divide([(x + y) % p for x, y in itertools.zip_longest(moved, [c], fillvalue=0)], u, p)[1]
    return found


def test_separable_images_are_told_modulo_a_prime() -> None:
    p = 257
    separable = np.outer([0, 0, 3, 250], [0, 5, 0, 200]) % p
    other = separable.copy()
    other[0, 3] = 1
    f = torch.tensor(np.stack([separable, other, np.outer([1, 2, 3, 4], [1, 255, 7, 9]) % p])).double()
    assert _irreducible._separable(f, p).tolist() == [True, False, True]
    assert _irreducible._separable(f[1:2], p).tolist() == [False]


def test_primes_are_those_that_leave_one_divided_by_four() -> None:
    found = list(itertools.islice(_irreducible.primes(250), 5))
    assert found == [257, 269, 277, 281, 293]
    assert list(itertools.islice(_irreducible.primes(4), 4)) == [5, 13, 17, 29]
    assert next(_irreducible.primes(257)) == 269
    assert _irreducible._inverses(13)[1:] == [pow(a, 11, 13) for a in range(1, 13)]
