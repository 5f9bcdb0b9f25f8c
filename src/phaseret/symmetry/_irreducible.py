"""A proof that polynomials in two variables do not factor: they do not even do so modulo a prime.

A factorisation over the complex numbers of a polynomial f of bidegree (m, n) with coefficients in Q or Q(i) exists over
a number field. By Gauss' lemma it survives reduction modulo a prime ideal above p, with its bidegrees, if the bidegree
of f does. So f is irreducible over the complex numbers if it is so over the algebraic closure of F_p, which four facts
modulo p prove together:

1. The bidegree survives: lines with full degree exist in both directions.
2. On a line y = y0 in F_p on which f has full degree m, the degree in x of a factor of f is a sum of degrees of
   irreducible factors of f(x, y0). Sums that are possible on all lines are 0 and m alone. The same for x = x0, with 0
   and n.
3. A 2 x 2 minor of the coefficients is not zero: f is not a(x) b(y). With 2 it is irreducible over F_p. (Or: 2 in one
   direction, and no common factor of the coefficients in the other.)
4. On some line f(x, y0) is square-free and has a root in F_p. Were f reducible over an extension of F_p, its factors
   would be conjugates of each other and share that root, which would be multiple.

All arithmetic is that of integers below 2^53 in double precision, hence exact on every device that has it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from phaseret import _memory

Counts = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

# Lines that are tried in each direction, and the sizes of matrices up to which many and from which few are tried at a
# time: calls take most of the time there, and memory counts here.
_LINES, _SMALL, _LARGE = 24, 40, 400


def primes(above: int) -> Iterator[int]:
    """Primes p = 1 mod 4, modulo which -1 is a square, in ascending order."""
    candidate = above + 1
    while True:
        if candidate % 4 == 1 and all(candidate % d for d in range(3, math.isqrt(candidate) + 1, 2)):
            yield candidate
        candidate += 1


def root_of_minus_one(p: int) -> int:
    """A square root of -1 modulo a prime p = 1 mod 4."""
    return next(r for r in (pow(a, (p - 1) // 4, p) for a in range(2, p)) if r * r % p == p - 1)


def residues(x: Tensor, p: int) -> Tensor:
    """Integers, floats (they are binary fractions) or complex floats modulo p, exactly, in double precision."""
    if x.is_complex():
        imaginary = residues(x.imag, p).long() * root_of_minus_one(p)
        return ((residues(x.real, p).long() + imaginary) % p).double()
    if not x.is_floating_point():
        return (x.long() % p).double()
    mantissa, exponent = torch.frexp(x.double())
    powers = torch.tensor([pow(2, e, p) for e in range(p - 1)], device=x.device)
    scale = powers[(exponent.long() - 53) % (p - 1)]
    return ((mantissa * 2.0**53).long() % p * scale % p).double()


def irreducible(f: Tensor, degrees: Tensor, p: int) -> Tensor:
    """Which polynomials are proved irreducible over the algebraic closure of F_p, with that very bidegree.

    f: (B, M + 1, N + 1) coefficients modulo p > M, N, zero beyond the degrees (B, 2), which are at least 1.
    """
    proved, root = undivided(f, degrees[:, 0], p)
    todo = proved.nonzero()[:, 0]
    for_y, root_y = undivided(f[todo].mT, degrees[todo, 1], p)
    proved[todo] = for_y & (root[todo] | root_y)
    todo = proved.nonzero()[:, 0]
    proved[todo] = ~_separable(f[todo], p)
    return proved


def _separable(f: Tensor, p: int) -> Tensor:
    """Which polynomials are a(x) b(y) modulo p: with one pixel that is not zero, all minors with it vanish."""
    items = torch.arange(len(f), device=f.device)
    first = (f != 0).flatten(1).to(torch.uint8).argmax(1)
    i, j = first // f.shape[2], first % f.shape[2]
    minors = f * f[items, i, j, None, None] - f[items, :, j, None] * f[items, i][:, None]
    return (minors % p == 0).flatten(1).all(1)


def undivided(f: Tensor, m: Tensor, p: int) -> tuple[Tensor, Tensor]:
    """Whether every factor over F_p has the degree 0 or m in x, and whether a simple root was seen on a line."""
    possible, root = [-1] * len(f), [False] * len(f)
    whole, todo = [1 | 1 << d for d in m.tolist()], list(range(len(f)))
    lines = 6 if len(f) * f.shape[1] ** 2 < _SMALL**2 else 3 if f.shape[1] < _LARGE else 1
    for start in range(2, 2 + _LINES, lines):
        y = range(start, start + lines)
        powers = torch.tensor([[pow(v, j, p) for v in y] for j in range(f.shape[2])], dtype=f.dtype, device=f.device)
        at_a_time = max(1, _memory.pixels_at_a_time(f.device) * 4 // (lines * f.shape[1] ** 2))
        left = []
        for some in (todo[k : k + at_a_time] for k in range(0, len(todo), at_a_time)):
            index = torch.tensor(some, device=f.device)
            counts = _degrees_on_lines((f[index] @ powers % p).mT, m[index], p).tolist()
            for item, seen in zip(some, counts, strict=True):
                for line in seen:
                    sums = 1  # bit s: some factors have the degree s together
                    for degree, count in enumerate(line):
                        for _ in range(count):
                            sums |= sums << degree
                    if sums > 1:
                        possible[item] &= sums
                        root[item] |= line[1] > 0
                if possible[item] != whole[item] or not root[item]:
                    left.append(item)
        todo = left
        if not todo:
            break
    proved = [a == b for a, b in zip(possible, whole, strict=True)]
    on_device = partial(torch.tensor, dtype=torch.bool, device=f.device)
    return on_device(proved), on_device(root)


@cache
def _inverses(p: int) -> list[int]:
    """Those modulo p of 0 (none), 1, 2, ..."""
    return [0, *(pow(a, -1, p) for a in range(1, p))]


def _degrees_on_lines(u: Tensor, m: Tensor, p: int) -> Counts:
    """How many irreducible factors of each degree the polynomials u (B, K, M + 1) have; none if they are no use.

    Those of use have the full degree m, no root 0, and no factor twice. To have one degree they are multiplied by
    powers of x, which adds the root 0.
    """
    items, lines, most = u.shape[0], u.shape[1], u.shape[2] - 1
    inverses = torch.tensor(_inverses(p), dtype=u.dtype, device=u.device)
    leading = u.gather(2, m[:, None, None].expand(items, lines, 1))
    useful = (leading[..., 0] != 0) & (u[..., 0] != 0)
    monic = u * inverses[leading.long()] % p
    place = torch.arange(most, device=u.device) - (most - m)[:, None]
    lower = monic.gather(2, place.clamp(min=0)[:, None].expand(items, lines, most)) * (place >= 0)[:, None]
    roots = _roots_by_field(lower.flatten(0, 1), p).reshape(items, lines, most).cpu().numpy().astype(np.int64)
    degrees = m.cpu().numpy()[:, None]
    roots -= (degrees < most)[..., None]
    count = np.zeros((items, lines, most + 1), np.int64)
    for d in range(1, most + 1):  # each irreducible factor of degree d has d roots in every field of a multiple degree
        count[..., d] = roots[..., d - 1] // d
        roots[..., 2 * d - 1 :: d] -= d * count[..., d, None]
    whole = (count @ np.arange(most + 1) == degrees) & (count >= 0).all(2)
    return count * (whole & useful.cpu().numpy())[..., None]


def _times(a: Tensor, b: Tensor, p: int) -> Tensor:
    """The matrix product modulo p, between -p/2 and p/2; NumPy's is the faster one of small matrices on a CPU."""
    if a.device.type != "cpu":
        c = a @ b
        return c.sub_((c * (1 / p)).round_(), alpha=p)
    product = np.matmul(a.numpy(), b.numpy())
    multiple = product * (1 / p)
    np.rint(multiple, out=multiple)
    multiple *= p
    product -= multiple
    return torch.from_numpy(product)


def _roots_by_field(u: Tensor, p: int) -> Tensor:
    """(K, m) the number of distinct roots in F_{p^k}, k = 1..m, of the monic x^m + sum u[:, i] x^i modulo p > m.

    Q: a -> a^p is linear on F_p[x] / u and permutes its simple quotients' normal bases: the trace of Q^k counts the
    roots in F_{p^k}, a number of at most m < p.
    """
    lines, m = u.shape
    times = partial(_times, p=p)
    companion = torch.zeros(lines, m, m, dtype=u.dtype, device=u.device)
    companion[:, 1:, :-1] = torch.eye(m - 1, dtype=u.dtype, device=u.device)
    companion[:, :, -1] = -u
    power = companion
    for bit in f"{p:b}"[1:]:  # multiplication by x^p, whose column j is x^(p + j)
        power = times(power, power)
        if bit == "1":
            power = torch.cat([power[:, :, 1:], times(power, companion[:, :, -1:])], 2)
    q = torch.zeros(lines, m, 1, dtype=u.dtype, device=u.device)
    q[:, 0] = 1
    while q.shape[2] < m:  # its columns are x^(p j), twice as many each time
        q = torch.cat([q, times(power, q[:, :, : m - q.shape[2]])], 2)
        power = times(power, power) if q.shape[2] < m else power
    step = math.isqrt(m - 1) + 1
    small = [q]
    while len(small) < step:
        small.append(times(small[-1], q))
    flat, giant = torch.stack(small, 1).flatten(2), small[-1]
    traces = [torch.stack([s.diagonal(dim1=1, dim2=2).sum(1) for s in small], 1)]
    for _ in range(-(-m // step) - 1):  # the trace of Q^(i + step j) for all i at once
        traces.append(times(flat, giant.mT.reshape(lines, -1, 1))[:, :, 0])
        giant = times(giant, small[-1])
    return torch.cat(traces, 1)[:, :m] % p
