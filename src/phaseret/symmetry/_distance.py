"""How far an image is at least from the nearest one that factors: singular values of Ruppert's map."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from phaseret import _fft

# Unknowns of the linear system up to which it is solved.
LARGEST = 5000


def unknowns(m: int, n: int) -> int:
    """Those of an image of (m + 1) x (n + 1) pixels."""
    return 2 * m * n + m + n


def distance(image: Tensor) -> tuple[float, float]:
    r"""The second smallest singular value of Ruppert's map of an image in its box, and a lower bound of a distance.

    R(f) takes (g, h), of the degrees of x df/dx and y df/dy, to f y dg/dy - g y df/dy - f x dh/dx + h x df/dx, with |f|
    = 1. (x df/dx, y df/dy) goes to 0. A polynomial f' in the box that factors, or whose box is smaller, has a second
    such pair, and |R(f) - R(f')| <= K |f - f'| with K^2 = (m^2 + n^2) (m + 1) (n + 1): so |f - f'| >= sigma / K.

    A Cholesky factorisation of the Gram matrix minus s exists only if all eigenvalues are above s, less a rounding
    that is bounded a priori (Rump 2006), and the errors of its entries are bounded: the distance is a bound with its
    rounding.
    """
    f = image.to(torch.promote_types(image.dtype, torch.float64))
    f = f / f.abs().amax()
    f = f / torch.linalg.vector_norm(f)
    m, n = f.shape[0] - 1, f.shape[1] - 1
    gram = _gram(f)
    row, column = (torch.arange(k, dtype=f.real.dtype, device=f.device) for k in f.shape)
    known = torch.cat([(row[:, None] * f)[1:].flatten(), (column * f)[:, 1:].flatten()])
    known = known / torch.linalg.vector_norm(known)
    size, trace = len(gram), float(gram.diagonal().real.sum())
    gram += trace / size * known[:, None] * known.conj()
    diagonal, eps = gram.diagonal(), torch.finfo(torch.float64).eps
    raised, info = 0.0, True
    while info:  # rounding may have made it singular
        step = max(3 * raised, 1e-15 * trace / size)
        diagonal += step
        raised += step
        factor, info = torch.linalg.cholesky_ex(gram)
    found = torch.linspace(0, 7, 3 * size, dtype=f.real.dtype, device=f.device).cos().reshape(size, 3).to(f.dtype)
    for _ in range(8):  # inverse iteration
        basis = torch.linalg.qr(found)[0]
        found = torch.cholesky_solve(basis, factor)
    least = max(0.0, 1 / float(torch.linalg.eigvalsh(basis.mH @ found)[-1]) - raised)
    # of Cholesky's factors, and of the entries that come from transforms, with the usual bounds
    rounding = raised + eps * size * (2 * (1 + 8 / size) * trace + 20 * max(m, n) ** 2 * math.log2(4 * f.numel()))
    shift, bound = 0.0, 0.0
    for share in (0.98, 0.9, 0.6):
        diagonal -= share * least - shift
        shift = share * least
        if shift <= rounding:
            break
        if not torch.linalg.cholesky_ex(gram)[1]:
            bound = math.sqrt((shift - rounding) / ((m * m + n * n) * (m + 1) * (n + 1))) * (1 - 1e-6) - 1e-14
            break
    return math.sqrt(least), max(0.0, bound)


def _gram(f: Tensor) -> Tensor:
    """The Gram matrix of R(f): every entry is a sum of values of six correlations, so that it costs its size."""
    m, n = f.shape[0] - 1, f.shape[1] - 1
    u, v = (torch.arange(k, dtype=f.real.dtype, device=f.device) - (k - 1) / 2 for k in f.shape)
    u = u[:, None]
    shape = (2 * m + 1, 2 * n + 1)

    def table(weight: Tensor | float) -> Tensor:
        """The sums over pixels k of conj(f_k) weight_k f_(k + lag), lags from -m, -n."""
        return _fft.correlation(weight * f, f, shape, False)[0].roll((m, n), (0, 1))

    c, cu, cv, cuu, cvv, cuv = (table(w) for w in (1.0, u, v, u * u, v * v, u * v))
    rows, columns = torch.arange(m + 1, device=f.device), torch.arange(n + 1, device=f.device)
    g, h = (rows[1:], columns), (rows, columns[1:])

    def at(t: Tensor, k: tuple[Tensor, Tensor], l: tuple[Tensor, Tensor]) -> Tensor:  # [a, b, a', b']
        first, second = k[0][:, None] - l[0] + m, k[1][:, None] - l[1] + n
        return t[first[:, None, :, None], second[None, :, None, :]]

    a, b = u[:, 0], v
    ga, gb, ha = a[1:, None, None, None], b[:, None, None], a[:, None, None, None]
    gb2, ha2 = b, a[:, None]
    gg = gb * (2 * gb2 - gb) * at(c, g, g) - 2 * gb2 * at(cv, g, g) + at(cvv, g, g)
    hh = ha * (2 * ha2 - ha) * at(c, h, h) - 2 * ha2 * at(cu, h, h) + at(cuu, h, h)
    far = ga - 2 * ha2
    gh = gb * far * at(c, g, h) + gb * at(cu, g, h) - far * at(cv, g, h) - at(cuv, g, h)
    size_g, size_h = m * (n + 1), (m + 1) * n
    gg, gh, hh = gg.reshape(size_g, size_g), gh.reshape(size_g, size_h), hh.reshape(size_h, size_h)
    return torch.cat([torch.cat([gg, gh], 1), torch.cat([gh.mH, hh], 1)])
