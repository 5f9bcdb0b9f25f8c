"""From an autocorrelation to the object by two null spaces: of the current F grad(phase), then of the object itself.

F(t) = |X(t)|^2 is a trigonometric polynomial on the torus, X(t) = sum x_j exp(i j t). Its current, Im(conj(X) grad X),
called J, is one of the same degree, and J / F is the gradient of the phase, which has no curl: a linear equation for J.
With J known, F grad X = (grad F / 2 + i J) X is a linear equation for X. All functions are sampled on a grid of more
than twice the degree of F; everything is in double precision, one object at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from phaseret import _fft

# Rows of the current's equation are weighted with (F + soft)^-power, F of mean 1; powers for real, complex objects.
_SOFT, _POWER = 1e-2, {True: 2, False: 1}
# How many vectors are sought, by so many rounds of inverse iteration, and so many with the equation itself.
_VECTORS, _ROUNDS, _REFINED = 4, 4, 4
# A shift of the spectrum for its Cholesky factor, in units of the mean eigenvalue, at first.
_SHIFT = 1e-15
# F is at least this, of mean 1, where something is divided by it, and so often its noise.
_LEAST, _ABOVE = 1e-9, 3.0
# The sums along a line vanish below this share of the largest coefficient.
_ZERO = 1e-10
# Singular values below the first are 0; residues are equal that differ by less than the second, relative; their line.
_NULL, _EQUAL, _LINE = 1e-9, 0.02, 3
# The current is looked for again as none at all where it fits less well, or where its equation has two solutions.
_MISFIT, _SINGULAR = 1e-6, 1e-6

Shape = tuple[int, int]


@dataclass
class Solution:
    """What the null spaces give."""

    objs: list[Tensor]  # (n1, n2) objects in the box, the one that fits the data best first
    sigma: Tensor  # (4) the least singular values of the equation of the current, without those known to be 0
    misfit: float  # how far the current is from that of an object, between 0 and 1
    still: bool  # whether the first was found with no current at all: it is its own flip
    choices: int  # of factors to flip, and so images, where factors were seen; 0 where none were


class _Waves:
    """Real functions on a grid whose wave vectors k reach to (m, n): cosines, and sines for complex objects.

    The cosines are all that a real object needs, whose current is even. Half a plane of wave vectors, 0 first.
    """

    def __init__(self, m: int, n: int, shape: Shape, real: bool, device: torch.device) -> None:
        k1, k2 = torch.arange(-m, m + 1, device=device), torch.arange(n + 1, device=device)
        self.k = torch.cartesian_prod(k2, k1).flip(-1)[m:]
        self.shape, self.real = shape, real
        self._line = self.k[:, 1] == 0
        self.gradient = 1j * self.k.T.double()

    def values(self, z: Tensor) -> Tensor:
        """The functions Re sum z_k exp(i k t): (*, K) -> (*, M1, M2)."""
        (m1, m2), (k1, k2) = self.shape, self.k.unbind(-1)
        field = z.new_zeros(*z.shape[:-1], m1, _fft.half_size(m2))
        field[..., k1 % m1, k2] = z / 2
        field[..., -k1[self._line] % m1, 0] += z[..., self._line].conj() / 2
        return _fft.inverse_sum(field, self.shape, real=True)

    def analysis(self, u: Tensor) -> Tensor:
        """The adjoint of `values`, as (*, K) numbers."""
        return _fft.transform(u, 2)[..., self.k[:, 0] % self.shape[0], self.k[:, 1]]

    def unpack(self, v: Tensor) -> Tensor:
        """Unknowns (*, 2K) of cosines, or (*, 4K) with sines behind them, as the z of both components (*, 2, K)."""
        if self.real:
            v = v.unflatten(-1, (2, -1))
            return torch.complex(v, torch.zeros_like(v))
        v = v.unflatten(-1, (2, 2, -1))
        return torch.complex(v[..., 0, :], -v[..., 1, :])

    def pack(self, z: Tensor) -> Tensor:
        """The adjoint of `unpack`."""
        return z.real.flatten(-2) if self.real else torch.stack([z.real, -z.imag], -2).flatten(-3)


class _Current:
    """The equation F G_y - G F_y - F H_x + H F_x = 0 of a current (G, H), as a matrix and as a map."""

    def __init__(self, f: Tensor, df: Tensor, waves: _Waves) -> None:
        self.f, self.df, self.waves = f, df, waves
        self.weight = (f.abs() + _SOFT) ** -_POWER[waves.real]
        self._root = (2 * self.weight / f.numel()).sqrt()

    def field(self, v: Tensor) -> Tensor:
        """The current (*, 2, M1, M2) of some unknowns."""
        return self.waves.values(self.waves.unpack(v))

    def __call__(self, v: Tensor) -> Tensor:
        """The two sides' difference (*, M1, M2), weighted."""
        (g, h), (d1, d2) = self.waves.unpack(v).unbind(-2), self.waves.gradient
        g, curl, h = self.waves.values(torch.stack([g, d2 * g - d1 * h, h], -2)).unbind(-3)
        return self._root * (self.f * curl - self.df[1] * g + self.df[0] * h)

    def adjoint(self, c: Tensor) -> Tensor:
        c, (d1, d2) = self._root * c, self.waves.gradient
        parts = torch.stack([self.f * c, self.df[0] * c, self.df[1] * c], -3)
        flow, x, y = self.waves.analysis(parts).unbind(-2)
        return self.waves.pack(torch.stack([-d2 * flow - y, d1 * flow + x], -2))

    def known(self) -> Tensor:
        """What solves it whatever the object: the currents of the two shifts, and grad F, where it is not odd."""
        zero = torch.zeros_like(self.f)
        fields = [torch.stack([self.f, zero]), torch.stack([zero, self.f])] + [self.df] * (not self.waves.real)
        return self.waves.pack(self.waves.analysis(torch.stack(fields))).T / self.f.numel() * self._twice()

    def _twice(self) -> Tensor:
        """2 for each unknown, but 1 for the constants."""
        twice = torch.where(self.waves.k.any(-1), 2.0, 1.0).to(self.f)
        return twice.repeat(2 if self.waves.real else 4)[:, None]

    def gram(self) -> Tensor:
        """The Gram matrix of the map: its lower triangle, with zeros above the diagonal blocks.

        With K(k, l) the weighted mean of conj(L e_k) L e_l over the grid, for the map L and plane waves e_k, its
        entries are sums of K(k, l) and K(k, -l), and these of six Fourier transforms at k - l and k + l.
        """
        (f1, f2), f, waves = self.df, self.f, self.waves
        products = torch.stack([f * f, f * f1, f * f2, f1 * f2, f2 * f2, f1 * f1]) * self.weight
        ff, p, q, r, gg, hh = _fft.full_plane(products, waves.shape, "forward")
        p, q = 1j * p, 1j * q
        d1, d2 = (_fft.frequencies(size).to(f.device) * size for size in waves.shape)
        tables = (ff, p, q, r, gg + d2 * q, hh + d1[:, None] * p)
        ff, p, q, r, gg, hh = (_flat(table, waves.real) for table in tables)
        k1, k2 = waves.k.double().unbind(-1)
        n = len(k1) if waves.real else 2 * len(k1)
        gram = f.new_zeros(2 * n, 2 * n)

        def fill(rows: slice, columns: slice, entries: Callable[[int, Tensor], Tensor]) -> None:
            minus, plus = (entries(s, _differences(waves.k, s * waves.k, waves.shape)) for s in (1, -1))
            _combine(minus, plus, waves.real, out=gram[rows, columns])

        g, h = slice(0, n), slice(n, None)
        fill(g, g, lambda s, at: (s * k2[:, None] * k2) * ff[at] + gg[at])
        fill(h, h, lambda s, at: (s * k1[:, None] * k1) * ff[at] + hh[at])
        fill(h, g, lambda s, at: s * k2 * p[at] - k1[:, None] * (s * k2 * ff[at] + q[at]) - r[at])
        return gram


def _flat(table: Tensor, real: bool) -> Tensor:
    """A table of Fourier coefficients laid out for `_differences`."""
    return _fft.center(table.real if real else table, (-2, -1)).flatten()


def _differences(k: Tensor, l: Tensor, shape: Shape) -> Tensor:
    """Where a flat table has k - l: (K, 2), (L, 2) -> (K, L)."""
    middle = (shape[0] // 2) * shape[1] + shape[1] // 2
    first, second = (part[:, 0] * shape[1] + part[:, 1] for part in (k, l))
    return first[:, None] - (second - middle)


def _combine(minus: Tensor, plus: Tensor, real: bool, out: Tensor) -> None:
    """Of K(k, l) and K(k, -l) the products of cosines; for complex objects with sines, beside and below."""
    if real:
        torch.add(minus, plus, out=out)
        return
    n, both, difference = len(minus), minus + plus, minus - plus
    out[:n, :n], out[:n, n:] = both.real, difference.imag
    out[n:, :n], out[n:, n:] = -both.imag, difference.real


class _Object:
    """The equation F grad X - e X = 0 of an object with e = conj(X) grad X, centred in its box."""

    def __init__(self, f: Tensor, e: Tensor, weight: Tensor, sizes: Shape, real: bool) -> None:
        self.f, self.e, self.weight, self.sizes, self.real = f, e, weight, sizes, real
        self.shape: Shape = (f.shape[0], f.shape[1])
        self.j = torch.cartesian_prod(*(torch.arange(n, device=f.device) for n in sizes))
        middle = torch.tensor([(n - 1) / 2 for n in sizes], dtype=torch.float64, device=f.device)
        self.x = (self.j - middle).T
        self._root = (weight / f.numel()).sqrt()

    def spectrum(self, v: Tensor) -> Tensor:
        """X on the grid: (*, n) -> (*, M1, M2)."""
        x = v.to(self.e.dtype).unflatten(-1, self.sizes)
        return _fft.inverse_sum(_fft.pad(x, self.shape), self.shape, real=False)

    def __call__(self, v: Tensor) -> Tensor:
        """The two sides' difference (*, 2, M1, M2)."""
        slope = self.spectrum(1j * self.x * v.unsqueeze(-2))
        return self._root * (self.f * slope - self.e * self.spectrum(v).unsqueeze(-3))

    def adjoint(self, c: Tensor) -> Tensor:
        c = self._root * c
        flow = _fft.crop(_fft.transform(self.f * c, 2), self.sizes).flatten(-2)
        rest = _fft.crop(_fft.transform((self.e.conj() * c).sum(-3), 2), self.sizes).flatten(-2)
        v = (-1j * self.x * flow).sum(-2) - rest
        return v.real if self.real else v

    def gram(self) -> Tensor:
        """The Gram matrix of the map, whose entries are values of five Fourier transforms at differences."""
        products = torch.stack([self.f**2 + 0j, *(self.f * self.e), _fft.power(self.e).sum(0) + 0j]) * self.weight
        at = _differences(self.j, self.j, self.shape)
        ff, e1, e2, ee = (_flat(table, real=False) for table in _fft.full_plane(products, self.shape, "forward"))
        x1, x2 = self.x
        half = 1j * (x1[:, None] * e1[at] + x2[:, None] * e2[at])
        gram = (x1[:, None] * x1 + x2[:, None] * x2) * ff[at] + half + half.mH + ee[at]
        return gram.real.contiguous() if self.real else gram


def _smallest(equation: _Current | _Object, known: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The least singular values (4) of an equation and their vectors (4, N), free of the known ones (N, r).

    The unknowns are scaled to columns of norm 1, and known vectors moved up in the Gram matrix. Inverse iteration with
    its Cholesky factor loses half of the digits to the square; corrections with the equation itself win them back.
    """
    gram = equation.gram()
    diagonal = gram.diagonal().real
    scale = torch.where(diagonal > 0, diagonal, 1.0).rsqrt()
    gram *= scale[:, None]
    gram *= scale
    gram.diagonal().copy_(torch.ones_like(scale))  # the sine of wave vector 0 is no unknown
    fixed = torch.linalg.qr(gram.new_zeros(len(gram), 0) if known is None else known / scale[:, None])[0]
    gram.addmm_(fixed, fixed.mH)
    factor = _cholesky(gram)
    del gram

    def solve(v: Tensor) -> Tensor:  # many times faster than cholesky_solve, which copies the factor
        half = torch.linalg.solve_triangular(factor, _free(v, fixed), upper=False)
        return torch.linalg.solve_triangular(factor.mH, half, upper=True)

    draw = torch.Generator().manual_seed(0)
    start = torch.randn(len(factor), _VECTORS, dtype=torch.float64, generator=draw, device="cpu")
    v = torch.linalg.qr(start.to(factor))[0]
    for _ in range(_ROUNDS):
        v = torch.linalg.qr(solve(v))[0]
    for last in [False] * _REFINED + [True]:
        rows = equation((v * scale[:, None]).T)
        u, sigma, w = torch.linalg.svd(_matrix(rows, v), full_matrices=False)
        v = v @ w.mH
        if not last:
            sides = _unmatrix(u * sigma, rows)
            excess = scale[:, None] * equation.adjoint(sides).T - v * sigma**2
            v = torch.linalg.qr(_free(v - solve(excess), fixed))[0]
    return sigma.flip(0), (v * scale[:, None]).T.flip(0)


def _free(v: Tensor, fixed: Tensor) -> Tensor:
    return v - fixed @ (fixed.mH @ v)


def _matrix(rows: Tensor, like: Tensor) -> Tensor:
    """Rows of an equation for some vectors as columns of a matrix, over the same numbers as the vectors."""
    if rows.is_complex() and not like.is_complex():
        rows = torch.view_as_real(rows)
    return rows.flatten(1).T


def _unmatrix(columns: Tensor, like: Tensor) -> Tensor:
    """Undoes `_matrix`."""
    rows = columns.T.contiguous()
    if like.is_complex() and not rows.is_complex():
        return torch.view_as_complex(rows.reshape(*like.shape, 2))
    return rows.reshape(like.shape)


def _cholesky(gram: Tensor) -> Tensor:
    """The Cholesky factor of a matrix of positive eigenvalues but for rounding."""
    shift = _SHIFT
    while True:
        gram.diagonal().add_(shift)
        factor, info = torch.linalg.cholesky_ex(gram)
        if not int(info):
            return factor
        shift *= 4


def _calibrated(
    current: Tensor, f: Tensor, df: Tensor, degree: Shape, real: bool, least: float
) -> tuple[Tensor, float]:
    """K = c J + d grad F such that (F_i F_j / 4 + K_i K_j) / F, which is Re conj(X_i) X_j, has the degree of F.

    Linear in d^2 + 1 / 4, c d and c^2: the null vector of as many columns; and how well it fits. The current of a real
    object is even and grad F odd: d is 0.
    """
    k1, k2 = (_fft.frequencies(size).to(f.device).abs() * size for size in f.shape)
    outside, columns = (k1[:, None] > degree[0] + 0.5) | (k2 > degree[1] + 0.5), []
    for u, v in ((df, df), (current, current)) if real else ((df, df), (current, current), (df, current)):
        products = torch.stack([u[i] * v[j] + u[j] * v[i] for i, j in ((0, 0), (1, 1), (0, 1))])
        parts = _fft.full_plane(products / f.clamp(min=least), f.shape, "forward")[:, outside]
        columns.append(torch.view_as_real(parts).flatten())
    matrix = torch.stack(columns, 1)
    norm = matrix.norm(dim=0)
    _, sigma, v = torch.linalg.svd(matrix / norm, full_matrices=False)
    constant, square, *mixed = v[-1] / norm  # twice, twice and once the products of c and d
    ratio = mixed[0] / (2 * square) if mixed else torch.zeros_like(square)
    rest = (constant / square - ratio.square()).abs().clamp(min=torch.finfo(f.dtype).tiny)
    return (current + ratio * df) * (4 * rest).rsqrt(), float(sigma[-1] / sigma[0])


def _centred(current: Tensor, f: Tensor, m: int, n: int) -> Tensor:
    """The current of the object in the middle of its box: none at the highest wave vectors."""
    parts = []
    for axis, j in enumerate(current):
        top, flow = (_fft.full_plane(x, f.shape).select(axis, (m, n)[axis]) for x in (f, j))
        parts.append(j - f * (top.conj() * flow).sum().real / _fft.power(top).sum())
    return torch.stack(parts)


def _residues(fields: Tensor, f: Tensor, df: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """The roots (2m) of F on a line of the torus, a polynomial of exp(i t_1), and G / F_x of each field there (2m, r).

    A field that F_x times numbers gives modulo each factor of F has one value at all roots of a factor.
    """
    k = torch.arange(-m, m + 1, device=f.device)
    rows = torch.cat([f[None, :, _LINE], df[:1, :, _LINE], fields[:, 0, :, _LINE]])
    coefficients = _fft.full_plane(rows, f.shape[:1], "forward")[:, k % f.shape[0]]
    companion = torch.diag(torch.ones(2 * m - 1, dtype=coefficients.dtype, device=f.device), -1)
    companion[:, -1] = -coefficients[0, :-1] / coefficients[0, -1]
    roots = torch.linalg.eigvals(companion)
    values = roots[:, None] ** k @ coefficients.T
    return roots, values[:, 2:] / values[:, 1:2]


def _factored(fields: Tensor, f: Tensor, df: Tensor, m: int, real: bool) -> list[Tensor]:
    """The currents of all images where the object has factors, from the null vectors.

    The roots of a factor and those of its flip, which lie across the unit circle, have residues of their own; the
    current of an image is the combination whose residues are 1 / 2i at its factors and -1 / 2i at their flips.
    """
    roots, residues = _residues(fields, f, df, m)
    scale, labels, centres = residues.abs().median(), torch.zeros(len(roots), dtype=torch.long), list[Tensor]()
    for i in roots.abs().log().abs().argsort().tolist():  # those near the circle are exact
        distances = [float((residues[i] - centre).norm() / scale) for centre in centres]
        if min(distances, default=1.0) >= _EQUAL:
            centres.append(residues[i])
            distances.append(0.0)
        labels[i] = min(range(len(distances)), key=distances.__getitem__)
    across = (roots[:, None] - 1 / roots.conj()).abs().argmin(1).cpu()
    pairs = {frozenset((int(a), int(labels[b]))) for a, b in zip(labels, across, strict=True)}
    if any(len(pair) != 2 for pair in pairs) or 2 * len(pairs) != len(centres) or not 1 < len(pairs) < _VECTORS:
        return []
    ordered = [tuple(sorted(pair)) for pair in sorted(pairs, key=min)]
    basis = fields if real else torch.cat([fields, df[None]])
    matrix = torch.stack(centres) if real else torch.nn.functional.pad(torch.stack(centres), (0, 1), value=1.0)
    currents = []
    for signs in itertools.product((1.0, -1.0), repeat=len(ordered) - 1):
        wanted = torch.zeros(len(centres), 1, dtype=matrix.dtype, device=f.device)
        for sign, (a, b) in zip((1.0, *signs), ordered, strict=True):
            wanted[a, 0] = torch.tensor(-0.5j * sign)
            wanted[b, 0] = -wanted[a, 0]
        equations = torch.cat([matrix.real, matrix.imag]), torch.cat([wanted.real, wanted.imag])
        weights = torch.linalg.pinv(equations[0]) @ equations[1]
        currents.append(torch.tensordot(weights[:, 0], basis, 1))
    return currents


def _divided(a: Tensor) -> tuple[Tensor, list[tuple[int, int]]]:
    """An autocorrelation without the factors (1 +- x)^2, (1 +- y)^2, which symmetric objects have; and their list."""
    factors: list[tuple[int, int]] = []
    for axis in (0, 1):
        for sign in (1, -1):
            while a.shape[axis] > 3 and _line_sum(a, axis, sign) < _ZERO * float(a.abs().max()):
                rows = a.movedim(axis, 0)
                quotient = [torch.zeros_like(rows[0])] * 2
                for row in rows[:-2]:
                    quotient.append(row - 2 * sign * quotient[-1] - quotient[-2])
                a = sign * torch.stack(quotient[2:]).movedim(0, axis)  # (1 + s x) (1 + s / x) = s (1 + s x)^2 / x
                a = (a + a.flip(0, 1).conj()) / 2
                factors.append((axis, sign))
    return a, factors


def _line_sum(a: Tensor, axis: int, sign: int) -> float:
    """The largest coefficient of the polynomial where its variable along the axis is -sign."""
    signs = torch.tensor([1.0, -sign], dtype=torch.float64, device=a.device).repeat(a.shape[axis])[: a.shape[axis]]
    return float((a.movedim(axis, -1) * signs).sum(-1).abs().max())


def _multiplied(x: Tensor, factors: list[tuple[int, int]]) -> Tensor:
    for axis, sign in factors:
        zero = torch.zeros_like(x.narrow(axis, 0, 1))
        x = torch.cat([x, zero], axis) + sign * torch.cat([zero, x], axis)
    return x


def solve(correlation: Tensor, real: bool, noise: float = 0.0) -> Solution:
    """The object of a centred autocorrelation (2 n1 - 1, 2 n2 - 1) in float64, as far as the null spaces tell.

    `noise` is that of each lag.
    """
    a, factors = _divided(correlation)
    m, n = (size // 2 for size in a.shape)
    shape = 4 * m + 4, 4 * n + 4
    k1, k2 = (torch.arange(-size, size + 1, device=a.device) for size in (m, n))
    grid = torch.zeros(3, *shape, dtype=torch.complex128, device=a.device)
    grid[:, k1[:, None] % shape[0], k2 % shape[1]] = torch.stack([a + 0j, 1j * k1[:, None] * a, 1j * k2 * a])
    f, *slopes = _fft.inverse_sum(grid, shape, real=False).real / a[m, n].real  # of mean 1
    df, unit = torch.stack(slopes), float(a[m, n].real)
    least = max(_LEAST, _ABOVE * noise * a.numel() ** 0.5 / unit)
    equation = _Current(f, df, _Waves(m, n, shape, real, a.device))
    sigma, vectors = _smallest(equation, equation.known())
    fields = equation.field(vectors)
    current, misfit = _calibrated(fields[0], f, df, (m, n), real, least)
    candidates = [torch.zeros_like(current)] if misfit > _MISFIT or float(sigma[1]) < _SINGULAR else []
    nullity = int((sigma < _NULL).sum())
    several = _factored(fields[:nullity], f, df, m, real) if 1 < nullity < _VECTORS else []
    candidates += several or [current]
    found = []
    for j in (_centred(j, f, m, n) for j in candidates):
        part = _Object(f, torch.complex(df / 2, j), equation.weight, (m + 1, n + 1), real)
        x = _smallest(part)[1][0]
        power = _fft.power(part.spectrum(x))
        x = x.unflatten(-1, (m + 1, n + 1)) * (unit / _fft.power(x).sum()).sqrt()
        found.append((float((power / power.mean() - f).norm()), not bool(j.any()), _multiplied(x, factors)))
    found.sort(key=lambda one: one[0])
    return Solution([x for _, _, x in found], sigma, misfit, still=found[0][1], choices=len(several))
