"""Factors of a polynomial in two variables with coefficients in Z[i], exactly: for the few images that have any.

Everything is computed modulo one large prime p = 1 mod 4, in which i is a number, by Zassenhaus' method: content,
factors on one line, their Hensel lift along the other variable, and the products that are polynomials with small
coefficients. Which of the lifted factors belong together is known from their logarithmic derivatives (Lecerf 2010, New
recombination algorithms for bivariate polynomial factorization based on Hensel lifting): few products are tried. What
is congruent modulo a prime ideal above p and smaller than sqrt(p) is equal: so the answer is exact, or none.

Polynomials in one variable are lists of numbers, in two lists of these, the lowest degree first.
"""

from __future__ import annotations

import itertools
import math
import random

import numpy as np

from phaseret.symmetry._irreducible import root_of_minus_one

# (2, ...) real and imaginary parts, Python's integers
Gauss = np.ndarray[tuple[int, ...], np.dtype[np.object_]]
Poly = list[int]

P = 2**384 + 417
I = root_of_minus_one(P)


def _generator() -> tuple[int, int]:
    """a + b i of the norm P that is 0 modulo P where i is I (Cornacchia)."""
    a, b = P, I
    while b * b > P:
        a, b = b, a % b
    c = math.isqrt(P - b * b)
    return (b, c) if (b + c * I) % P == 0 else (b, -c)


PRIME = _generator()
# Powers of y, above those of a polynomial, that say which of its factors on a line belong together.
_BEYOND = 2

# --- one variable ----------------------------------------------------------------------------------------------------


def trim(a: Poly) -> Poly:
    """Without zeros on top."""
    while a and not a[-1]:
        a = a[:-1]
    return a


def times(a: Poly, b: Poly) -> Poly:
    """The product, by one of large integers."""
    if not a or not b:
        return []
    width = 100  # bytes that hold a sum of products

    def pack(c: Poly) -> int:
        return int.from_bytes(b"".join(x.to_bytes(width, "little") for x in c), "little")

    size = len(a) + len(b) - 1
    product = (pack(a) * pack(b)).to_bytes(width * size, "little")
    return [int.from_bytes(product[k : k + width], "little") % P for k in range(0, width * size, width)]


def divide(a: Poly, b: Poly, p: int = P) -> tuple[Poly, Poly]:
    """Quotient and remainder."""
    rest, inverse, degree = list(a), pow(b[-1], -1, p), len(b) - 1
    quotient = [0] * max(0, len(a) - degree)
    for k in reversed(range(len(quotient))):
        c = quotient[k] = rest[k + degree] * inverse % p
        if c:
            rest[k : k + degree] = [(r - c * x) % p for r, x in zip(rest[k : k + degree], b, strict=False)]
    return quotient, trim(rest[:degree])


def monic(a: Poly, p: int = P) -> Poly:
    """With leading coefficient 1."""
    inverse = pow(a[-1], -1, p)
    return [x * inverse % p for x in a]


def gcd(a: Poly, b: Poly, p: int = P) -> Poly:
    """The monic greatest common divisor."""
    a, b = trim(a), trim(b)
    while b:
        a, b = b, divide(a, b, p)[1]
    return monic(a, p) if a else []


def inverse(a: Poly, u: Poly) -> Poly:
    """The inverse of a modulo u."""
    old, new, x, y = u, divide(a, u)[1], [], [1]
    while len(new) > 1:
        q, r = divide(old, new)
        old, new, x, y = new, r, y, minus(x, times(q, y))
    scale = pow(new[0], -1, P)
    return divide([c * scale % P for c in y], u)[1]


def minus(a: Poly, b: Poly) -> Poly:
    """The difference."""
    return trim([(x - y) % P for x, y in itertools.zip_longest(a, b, fillvalue=0)])


def derivative(a: Poly) -> Poly:
    """With respect to the variable."""
    return trim([k * c % P for k, c in enumerate(a)][1:])


def power(a: Poly, exponent: int, u: Poly) -> Poly:
    """A power modulo u."""
    result = [1]
    for bit in f"{exponent:b}":
        result = divide(times(result, result), u)[1]
        if bit == "1":
            result = divide(times(result, a), u)[1]
    return result


def composed(a: Poly, b: Poly, u: Poly) -> Poly:
    """a(b) modulo u: with b = x^P, the P-th power of a."""
    result: Poly = []
    for c in reversed(a):
        result = minus(divide(times(result, b), u)[1], [-c % P])
    return result


def factors_on_line(u: Poly) -> list[tuple[Poly, int]]:
    """The monic irreducible factors and how often each divides (Cantor and Zassenhaus)."""
    u = monic(u)
    rest, found = divide(u, gcd(u, derivative(u)))[0], []
    draw, image, degree = random.Random(0), [0, 1], 0
    frobenius = power([0, 1], P, rest) if len(rest) > 2 else []
    while len(rest) > 1:
        degree += 1
        if 2 * degree > len(rest) - 1:
            found.append(rest)
            break
        frobenius = divide(frobenius, rest)[1]
        image = composed(divide(image, rest)[1], frobenius, rest)  # x^(P^degree)
        some = gcd(minus(image, [0, 1]), rest)
        rest, parts = divide(rest, some)[0], [some]
        while parts:
            part = parts.pop()
            if len(part) - 1 <= degree:
                found += [part] * (len(part) > 1)
                continue
            element = norm = [draw.randrange(P) for _ in part[1:]]
            for _ in range(degree - 1):
                element = composed(element, divide(frobenius, part)[1], part)
                norm = divide(times(norm, element), part)[1]
            half = gcd(minus(power(norm, (P - 1) // 2, part), [1]), part)
            parts += [half, divide(part, half)[0]]
    counts = []
    for part in found:
        count, left = 0, u
        while True:
            quotient, remainder = divide(left, part)
            if remainder:
                break
            count, left = count + 1, quotient
        counts.append((part, count))
    return counts


# --- two variables: f[i] is the coefficient of x^i, a polynomial in y ------------------------------------------------


def product(f: list[Poly], g: list[Poly], most: int | None = None) -> list[Poly]:
    """The product, of which the degrees in y are kept up to `most`."""
    width = max(map(len, f)) + max(map(len, g)) - 1
    flat = times(*([x for row in h for x in [*row, *[0] * (width - len(row))]] for h in (f, g)))
    rows = [flat[k : k + width][: None if most is None else most + 1] for k in range(0, len(flat), width)]
    return rows[: len(f) + len(g) - 1]


def content(f: list[Poly], p: int = P) -> Poly:
    """The greatest common divisor of the coefficients."""
    found: Poly = []
    for row in f:
        found = gcd(found, row, p)
        if len(found) == 1:
            break
    return found


def shifted(row: Poly, y: int) -> Poly:
    """The polynomial in z = variable - y (Taylor)."""
    row = list(row)
    for k in range(len(row)):
        for j in reversed(range(k, len(row) - 1)):
            row[j] = (row[j] + y * row[j + 1]) % P
    return row


def lifted_factors(f: list[Poly], parts: list[Poly], most: int) -> list[list[Poly]]:
    """The factors of f, monic in x, that are `parts` at y = 0, up to y^most (Hensel), as lists of powers of y."""
    if len(parts) == 1:
        return [f]
    first, others = parts[0], parts[1]
    for part in parts[2:]:
        others = times(others, part)
    bezout, a, b = inverse(others, first), [first], [others]
    for k in range(1, most + 1):
        rest = f[k]
        for j in range(1, k):
            rest = minus(rest, times(a[j], b[k - j]))
        step = divide(times(bezout, rest), first)[1]
        a.append(step)
        b.append(divide(minus(rest, times(others, step)), first)[0])
    return [a, *lifted_factors(b, parts[1:], most)]


def together(f: list[Poly], lifts: list[list[Poly]], most: int, end: int) -> list[list[int]]:
    """Which factors of f, known up to y^(end - 1), divide a polynomial factor together or not at all.

    A polynomial factor, the product of some and of a series in y, has the logarithmic derivative in x that is the sum
    of theirs; f times it has no power of y above those of f. The weights of all such sums are a linear space. Those
    that have the same weight in all of them are together in every factor.
    """
    draw, equations = random.Random(2), []
    for _ in lifts:
        x = draw.randrange(P)
        whole, columns = _at(f, x)[:end], []
        for lift in lifts:
            slope = [[k * c % P for c in row] for k, row in enumerate(lift)][1:]
            quotient = times(_at(slope, x), _inverse_series(_at(lift, x), end - 1))[:end]
            columns.append((times(whole, quotient) + [0] * end)[most + 1 : end])
        equations += [list(row) for row in zip(*columns, strict=True)]
    weights = zip(*_kernel(equations), strict=True)
    groups: dict[tuple[int, ...], list[int]] = {}
    for k, weight in enumerate(weights):
        groups.setdefault(weight, []).append(k)
    return list(groups.values())


def _at(f: list[Poly], x: int) -> Poly:
    """f(x, y), a polynomial in y."""
    found: Poly = []
    for row in reversed(f):
        found = [(a * x + b) % P for a, b in itertools.zip_longest(found, row, fillvalue=0)]
    return found


def _kernel(rows: list[list[int]]) -> list[list[int]]:
    """A basis of the solutions of the homogeneous equations (Gauss and Jordan)."""
    width, pivots = len(rows[0]), list[int]()
    solved: list[list[int]] = []
    for column in range(width):
        row = next((row for row in rows if row[column]), None)
        if row is None:
            continue
        rows.remove(row)
        scale = pow(row[column], -1, P)
        row = [x * scale % P for x in row]
        rows, solved = (
            [[(x - other[column] * y) % P for x, y in zip(other, row, strict=True)] for other in some]
            for some in (rows, solved)
        )
        pivots.append(column)
        solved.append(row)
    basis = []
    for free in set(range(width)) - set(pivots):
        vector = [int(k == free) for k in range(width)]
        for column, row in zip(pivots, solved, strict=True):
            vector[column] = -row[free] % P
        basis.append(vector)
    return basis


def divided(f: list[Poly], g: list[Poly]) -> list[Poly] | None:
    """f / g where it is a polynomial, for g without content."""
    f, quotient = list(f), []
    while len(f) >= len(g):
        c, remainder = divide(f[-1], g[-1]) if trim(f[-1]) else ([], [])
        if remainder:
            return None
        quotient.append(c)
        base = len(f) - len(g)
        f = [*f[:base], *(minus(x, times(c, y)) for x, y in zip(f[base:], g, strict=True))][:-1]
    return None if any(map(trim, f)) else quotient[::-1]


# --- between Z[i] and the field --------------------------------------------------------------------------------------


def in_field(g: Gauss) -> list[Poly]:
    """The coefficients modulo P."""
    return [trim(row) for row in ((g[0] + I * g[1]) % P).tolist()]


def smallest(f: list[Poly], leading: int) -> Gauss:
    """The smallest coefficients in Z[i] of the multiple of f that has this leading one, without common factor."""
    scale, width = leading * pow(f[-1][-1], -1, P), max(map(len, f))
    r = np.array([[*(x * scale % P for x in row), *[0] * (width - len(row))] for row in f], dtype=object)
    a, b = PRIME
    k, l = (2 * r * a + P) // (2 * P), (P - 2 * r * b) // (2 * P)
    found = np.stack([r - a * k + b * l, -a * l - b * k])
    common = (0, 0)
    for z in zip(*(part.ravel().tolist() for part in found), strict=True):
        while any(z):
            common, z = z, _remainder(common, z)
    re, im = common
    norm = re * re + im * im
    return np.stack([(found[0] * re + found[1] * im) // norm, (found[1] * re - found[0] * im) // norm])


def _remainder(x: tuple[int, int], y: tuple[int, int]) -> tuple[int, int]:
    """Of the division in Z[i]."""
    norm = y[0] ** 2 + y[1] ** 2
    k = (2 * (x[0] * y[0] + x[1] * y[1]) + norm) // (2 * norm)
    l = (2 * (x[1] * y[0] - x[0] * y[1]) + norm) // (2 * norm)
    return x[0] - k * y[0] + l * y[1], x[1] - k * y[1] - l * y[0]


def size(g: Gauss) -> int:
    """A bound of the sum of the moduli."""
    return int(abs(g).sum())


def exactly(f: Gauss, parts: list[Gauss]) -> bool:
    """Is f a multiple of the product of the parts, not only modulo P?"""
    if not all(size(part) for part in parts):
        return False
    whole, one = in_field(f), [[1]]
    for part in parts:
        one = product(one, in_field(part))
    one, whole = [trim(row) for row in one], [trim(row) for row in whole]
    same = len(one) == len(whole) and all(
        not minus([x * whole[-1][-1] for x in a], [x * one[-1][-1] for x in b]) for a, b in zip(one, whole, strict=True)
    )
    # the difference of f lead(product) and product lead(f) is 0 modulo a prime of the norm P, and smaller
    return same and 2 * size(f) * math.prod(map(size, parts)) < math.isqrt(P)


# --- factors ---------------------------------------------------------------------------------------------------------


def contents(g: Gauss) -> tuple[list[Gauss], Gauss]:
    """The factors in x and in y alone of a polynomial (2, m + 1, n + 1) without monomial factor, and what is left."""
    f, found = in_field(g), []
    leading = f[-1][-1]
    for turned in (False, True):
        alone = content(f)
        if len(alone) > 1:
            part = smallest([alone], leading)
            found.append(part.swapaxes(1, 2) if turned else part)
            f = [divide(row, alone)[0] for row in f]
        f = [trim(list(row)) for row in itertools.zip_longest(*f, fillvalue=0)]  # turned, and back
    return found, smallest(f, leading)


def factors(g: Gauss) -> list[Gauss]:
    """The factors over Q(i) of a polynomial without content, as often as they divide, if they are small numbers."""
    if g.shape[1] > g.shape[2]:
        return [part.swapaxes(1, 2) for part in factors(g.swapaxes(1, 2))]
    f = in_field(g)
    return _two_variables(f, f[-1][-1])


def _two_variables(f: list[Poly], leading: int) -> list[Gauss]:
    """The factors over Q(i) of one without content."""
    most, draw = max(map(len, f)) - 1, random.Random(1)
    end = most + 1 + _BEYOND
    while True:
        y = draw.randrange(P)
        at = [shifted(row, y) for row in f]
        if at[-1][0]:
            break
    parts = factors_on_line([row[0] if row else 0 for row in at])
    coprime = []
    for part, count in parts:
        whole = [1]
        for _ in range(count):
            whole = times(whole, part)
        coprime.append((whole, part, count))
    series = _inverse_series(at[-1], end - 1)
    normal = [(times(series, row) + [0] * end)[:end] for row in at]
    columns = [trim([row[k] for row in normal]) for k in range(end)]
    lifts = [
        [list(row) for row in itertools.zip_longest(*lift, fillvalue=0)]
        for lift in lifted_factors(columns, [whole for whole, *_ in coprime], end - 1)
    ]
    groups = together(at, lifts, most, end)
    top, found, rest, number = at[-1], [], f, 1
    while 2 * number <= len(groups):
        for some in itertools.combinations(groups, number):
            chosen, candidate = [k for group in some for k in group], [top]
            for k in chosen:
                candidate = product(candidate, lifts[k], most)
            q = [trim(shifted(trim(row), -y % P)) for row in candidate]
            q = _primitive(q)
            small = smallest(q, leading)
            if size(small) ** 3 < math.isqrt(P) and (quotient := divided(rest, q)) is not None:
                found += _roots(small, q, [coprime[k][2] for k in chosen], leading)
                rest = quotient
                groups = [group for group in groups if group not in some]
                break
        else:
            number += 1
    if len(rest) > 1:
        found += _roots(smallest(rest, leading), rest, [coprime[k][2] for group in groups for k in group], leading)
    return found


def _roots(small: Gauss, f: list[Poly], counts: list[int], leading: int) -> list[Gauss]:
    """The factor f, or where it is a power of a polynomial that one as often."""
    count = math.gcd(*counts)
    if count == 1:
        return [small]
    repeated, other = f, _primitive([[k * c % P for c in row] for k, row in enumerate(f)][1:])
    while other:  # gcd(f, df/dx) = root^(count - 1), by Euclid's method
        repeated, other = other, _remainder_without_content(repeated, other)
    root = divided(f, repeated)
    return [smallest(root, leading)] * count if root is not None else [small]


def _remainder_without_content(f: list[Poly], g: list[Poly]) -> list[Poly]:
    """The remainder of a multiple of f by g, as polynomials in x."""
    while len(f) >= len(g):
        base, top = len(f) - len(g), f[-1]
        f = [times(g[-1], row) for row in f]
        f = [*f[:base], *(minus(x, times(top, y)) for x, y in zip(f[base:], g, strict=True))][:-1]
        while f and not trim(f[-1]):
            f = f[:-1]
    return _primitive(f)


def _primitive(f: list[Poly]) -> list[Poly]:
    """Without what all its coefficients have in common."""
    f = [trim(row) for row in f]
    common = content(f)
    return [divide(row, common)[0] if row else [] for row in f]


def _inverse_series(a: Poly, most: int) -> Poly:
    """1 / a up to the power `most`."""
    found = [pow(a[0], -1, P)]
    for k in range(1, most + 1):
        total = sum(a[j] * found[k - j] for j in range(1, min(k, len(a) - 1) + 1))
        found.append(-total * found[0] % P)
    return found
