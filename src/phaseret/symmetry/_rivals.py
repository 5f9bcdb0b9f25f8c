"""What an image is a product of, exactly, and which other images have its data.

A factor p and its flip p~ = x^m y^n conj(p(1 / conj(x), 1 / conj(y))) cannot be told apart by the data f f~. Factors
that are their own flip do not matter. Where two others are left, flipping one of them gives another image.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.signal import convolve2d

from phaseret.operators import fourier_intensity, min_fourier_shape
from phaseret.symmetry._factor import (
    Gauss,
    content,
    contents,
    divide,
    exactly,
    factors,
    gcd,
    in_field,
    smallest,
)
from phaseret.symmetry._irreducible import irreducible, primes, root_of_minus_one, undivided

Image = np.ndarray[tuple[int, ...], np.dtype[Any]]

# Images up to this many pixels are factored: it takes seconds.
LARGEST = 64 * 64
# Rows up to this length are examined, and written as products of their roots.
_LONGEST, _ROOTS = 1024, 128
# Products that are tried for each object, and how far the data of a rival may be from those of the object, relatively.
_TRIES, _NEAR = 1024, 1e-8
# A root this far from the unit circle is not on it, as far as the list of images goes.
_OFF = 1e-6


@dataclass
class Findings:
    """True, False or None where nothing is proved; the factors, images with the same data, and why nothing is."""

    unique: bool | None
    factors: list[Image] = field(default_factory=list)
    rivals: list[Image] = field(default_factory=list)
    reason: str = ""


@dataclass
class _Part:
    """A factor: how many irreducible ones over C that are not their own flip it has at least, and if it has no more."""

    least: int
    known: bool
    free: list[Image]  # those, as far as they are known, in pieces
    fixed: Image  # what is left


def exact(image: Image) -> Gauss:
    """Integers (2, ...) that the values of an image of integers or floats are proportional to."""
    both = np.stack([image.real, np.imag(image)])
    if both.dtype.kind in "iub":
        return both.astype(object)
    mantissa, exponent = np.frexp(both.astype(np.float64))
    lowest = int(exponent[both != 0].min()) if both.any() else 0
    whole = np.rint(mantissa * 2.0**53).astype(np.int64).astype(object)
    shifts = np.maximum(exponent.astype(np.int64) - lowest, 0).astype(object)
    scaled = whole * 2**shifts
    common = math.gcd(*scaled.ravel().tolist())
    return scaled // max(1, common)


def examine(image: Image, limit: int) -> Findings:
    """What can be said of an image in its bounding box, of one or two axes of at least two pixels each."""
    row, g = image.ndim == 1, exact(image)
    if row:
        if len(image) > _LONGEST:
            return Findings(None, reason=f"rows of more than {_LONGEST} pixels are not examined")
        g = g[:, None]
        found = [g]
    else:
        found, rest = contents(g)
        if proved(rest):
            found.append(rest)
        elif rest[0].size > LARGEST:
            return Findings(None, reason=f"images of more than {LARGEST} pixels are not factored")
        elif rest[0].size > 1:
            found += factors(rest)
        if not exactly(g, found):
            return Findings(None, reason="its factors, if there are any, have too many digits")
    found.sort(key=lambda factor: factor[0].size)
    parts = [_part(factor) for factor in found]
    least = sum(part.least for part in parts)
    shown = [_as_image(factor) for factor in found] if len(found) > 1 else []
    if least >= 2:
        scale = np.linalg.norm(image.astype(np.complex128)) / np.linalg.norm(_as_image(g))
        rivals = [scale * rival for rival in _rivals(parts, g, limit)]
        return Findings(False, shown, [rival.reshape(image.shape) for rival in rivals])
    if all(part.known for part in parts):
        return Findings(True, shown)
    return Findings(None, shown, reason="it does not factor over the rational numbers, but may with irrational ones")


def _part(g: Gauss) -> _Part:
    """A factor without square, or a product of factors in one direction."""
    direction = _direction(g)
    if direction is not None:
        return _on_a_line(g, direction)
    image, own = _as_image(g), _proportional(g, _flip(g))
    if own:
        return _Part(0, proved(g), [], image)
    return _Part(1, proved(g), [image], np.ones((1, 1)))


def proved(g: Gauss) -> bool:
    """Is the polynomial proved irreducible over the complex numbers, modulo one of three primes?"""
    degrees = torch.tensor([g.shape[1:]]) - 1
    if not degrees.all():
        return False
    for p in itertools.islice(primes(max(*g.shape[1:], 250)), 3):
        residue = (g[0] + root_of_minus_one(p) * g[1]) % p
        f = torch.tensor(residue.astype(np.float64))[None]
        if irreducible(f, degrees, p)[0]:
            return True
        for rows, h, degree in ((residue, f, degrees[:, 0]), (residue.T, f.mT, degrees[:, 1])):
            whole, root = undivided(h, degree, p)
            if whole & root and rows[:, -1].any() and len(content(rows.tolist(), p)) == 1:
                return True
    return False


def _as_image(g: Gauss) -> Image:
    """In floats, real where it is; scaled where the numbers are too large."""
    top = max(map(abs, g.ravel().tolist()))
    scale = max(0, top.bit_length() - 53)
    re, im = (np.array([[x / 2**scale for x in row] for row in part.tolist()]) for part in g)
    return re + 1j * im if im.any() else re


def _flip(g: Gauss) -> Gauss:
    """The flipped conjugate."""
    turned = g[:, ::-1, ::-1].copy()
    turned[1] = -turned[1]
    return turned


def _proportional(a: Gauss, b: Gauss) -> bool:
    """Are they equal up to a number?"""
    place = tuple(np.argwhere((a[0] != 0) | (a[1] != 0))[0])
    at = (slice(None), *place)
    (p, q), (r, s) = a[at], b[at]
    left, right = (a[0] * r - a[1] * s, a[0] * s + a[1] * r), (b[0] * p - b[1] * q, b[0] * q + b[1] * p)
    return all(not (x != y).any() for x, y in zip(left, right, strict=True))


# --- factors in one direction: polynomials in t = x^a y^b ------------------------------------------------------------


def _direction(g: Gauss) -> tuple[int, int] | None:
    """The primitive step (a, b) between the coefficients, if all lie on one line."""
    places = np.argwhere((g[0] != 0) | (g[1] != 0))
    steps = places[1:] - places[0]
    length = math.gcd(*steps[-1].tolist())
    a, b = (steps[-1] // length).tolist()
    return (a, b) if (steps[:, 0] * b == steps[:, 1] * a).all() else None


def _on_a_line(g: Gauss, direction: tuple[int, int]) -> _Part:
    """A polynomial u(t): its factors t - z are irreducible, and their own flips where z lies on the unit circle."""
    a, b = direction
    rows, columns = g.shape[1:]
    count = max((rows - 1) // max(a, 1), (columns - 1) // max(abs(b), 1)) + 1
    steps = np.arange(count)
    u = g[:, steps * a, (steps * b if b >= 0 else columns - 1 + steps * b)]

    def placed(w: Image) -> Image:
        degree = np.arange(len(w))
        image = np.zeros((a * (len(w) - 1) + 1, abs(b) * (len(w) - 1) + 1), w.dtype)
        image[degree * a, degree * b if b >= 0 else -b * degree[::-1]] = w
        return image

    on_circle, off_circle = _divided_by_circle(u)
    off = least = off_circle.shape[1] - 1
    known = on_circle.shape[1] == 1 or _all_on_circle(on_circle)
    if not known and _any_off_circle(on_circle):  # with a root z of what is its own flip comes 1 / conj(z)
        least += 2 if _proportional(on_circle[:, None], _flip(on_circle[:, None])) else 1
    free, fixed = _pieces(off_circle, not off)
    some, rest = _pieces(on_circle, known)
    return _Part(least, known, [placed(piece) for piece in free + some], placed(np.convolve(fixed, rest)))


def _divided_by_circle(u: Gauss) -> tuple[Gauss, Gauss]:
    """u = w v exactly, where w = gcd(u, u~) has all roots of u on the unit circle; w = u where that is not sure."""
    one = np.array([[1], [0]], dtype=object)
    if _proportional(u[:, None], _flip(u[:, None])):
        return u, one
    [a], [b] = in_field(u[:, None]), in_field(_flip(u[:, None]))
    common = gcd(a, b)
    if len(common) == 1:
        return one, u
    w, v = (smallest([x], a[-1])[:, 0] for x in (common, divide(a, common)[0]))
    whole = exactly(u[:, None], [w[:, None], v[:, None]]) and _proportional(w[:, None], _flip(w[:, None]))
    return (w, v) if whole else (u, one)


def _square_free(u: Gauss) -> Gauss:
    """With each root once; u itself where that cannot be said."""
    slope = u[:, None, 1:] * np.arange(1, u.shape[1])
    [a], [b] = in_field(u[:, None]), in_field(slope)
    common = gcd(a, b)
    if len(common) == 1:
        return u
    rest, root = smallest([common], a[-1]), smallest([divide(a, common)[0]], a[-1])
    # a divisor of u and of its slope, of the degree of the greatest one or more
    divisor = exactly(slope, [rest, smallest([divide(b, common)[0]], b[-1])]) and exactly(u[:, None], [rest, root])
    return root[:, 0] if divisor else u


def _all_on_circle(w: Gauss) -> bool:
    """Do sign changes prove that all roots lie on the unit circle?

    With w~ = c w, w(e^it) e^(-i m t / 2) c^(1/2) is real. Values below their rounding have no sign.
    """
    u = _square_free(w)
    if not _proportional(u[:, None], _flip(u[:, None])):
        return False
    row = _as_image(u[:, None])[0].astype(complex)
    row /= abs(row).max()
    m = len(row) - 1
    angle = 0.1 + np.linspace(0, 2 * np.pi, 128 * m + 1)
    ratio = row[-1].conj() / row[0]
    values = np.exp(1j * angle[:, None] * (np.arange(m + 1) - m / 2)) @ row * np.sqrt(ratio / abs(ratio))
    certain = values.real[abs(values.real) > 1e-15 * (m + 16) * (m + 1) * 8 * np.pi]
    return int((np.diff(np.sign(certain)) != 0).sum()) >= m


def _any_off_circle(w: Gauss) -> bool:
    """Is there surely a root off the unit circle? One lies within m |u / u'| of every point."""
    row = _as_image(_square_free(w)[:, None])[0]
    row = row / abs(row).max()
    m = len(row) - 1
    if m > _ROOTS:
        return False
    for z in np.roots(row[::-1]):
        powers = z ** np.arange(m + 1)
        rounding = 1e-15 * (m + 16) * (abs(row) @ abs(powers))
        value, slope = (
            abs(row @ powers) + rounding,
            abs((row * np.arange(m + 1))[1:] @ powers[:-1]) - m * rounding / abs(z),
        )
        if slope > 0 and m * value / slope < abs(abs(z) - 1):
            return True
    return False


def _pieces(u: Gauss, whole: bool) -> tuple[list[Image], Image]:
    """The polynomial as linear factors of its roots off the unit circle, and a rest; that alone if it is `whole`."""
    row = _as_image(u[:, None])[0]
    if whole or len(row) - 1 > _ROOTS:
        return [], row
    free, rest = [], row[-1:].astype(complex)
    for z in np.roots(row[::-1]):
        if abs(abs(z) - 1) < _OFF:
            rest = np.convolve(rest, [-z, 1])
        else:
            free.append(np.array([-z, 1]) if z.imag else np.array([-z.real, 1]))
    return free, (rest if np.iscomplexobj(row) else rest.real)


# --- images with the same data ---------------------------------------------------------------------------------------


def _rivals(parts: list[_Part], g: Gauss, limit: int) -> list[Image]:
    """The images with other factors flipped, up to shift, flip and phase, as far as `limit` allows."""
    image, fixed = _as_image(g), np.ones((1, 1))
    for part in parts:
        fixed = convolve2d(fixed, part.fixed)
    free = [piece for part in parts for piece in part.free]
    found = [] if np.iscomplexobj(image) else _flipped(_real(free), fixed, image, limit)
    return found or _flipped(free, fixed, image, limit)


def _flipped(free: list[Image], fixed: Image, image: Image, limit: int) -> list[Image]:
    """The products with some of the factors but the first flipped: those that are no copies and have the same data."""
    scale = np.linalg.norm(image)
    found: list[Image] = [image / scale]
    for choice in itertools.islice(itertools.product((False, True), repeat=max(0, len(free) - 1)), 1, _TRIES):
        if len(found) > limit:
            break
        rival = convolve2d(fixed, free[0])
        for piece, flipped in zip(free[1:], choice, strict=True):
            rival = convolve2d(rival, piece[::-1, ::-1].conj() if flipped else piece)
            rival = rival / np.linalg.norm(rival)
        if _same_data(rival, found[0]) and not any(_copies(rival, x) for x in found):
            inner = np.vdot(rival, found[0])
            found.append(rival * (inner / abs(inner) if abs(inner) > 1e-12 else 1))
    return [rival * scale + 0.0 for rival in found[1:]]


def _real(free: list[Image]) -> list[Image]:
    """Factors of a real image with those that are their conjugates in one, so that all are real."""
    left, found = list(free), []
    while left:
        piece = left.pop(0)
        if np.iscomplexobj(piece):
            twin = next((k for k, x in enumerate(left) if x.shape == piece.shape and _parallel(x, piece.conj())), None)
            if twin is None:
                return []
            left.pop(twin)
            piece = convolve2d(piece, piece.conj()).real
        found.append(piece)
    return found


def _parallel(a: Image, b: Image) -> bool:
    return bool(abs(np.vdot(a, b)) > (1 - 1e-10) * np.linalg.norm(a) * np.linalg.norm(b))


def _copies(a: Image, b: Image) -> bool:
    """Are images of norm 1 each other's copies? They fill the same box, so that no shift is left."""
    return _parallel(a, b) or _parallel(a[::-1, ::-1].conj(), b)


def _same_data(a: Image, b: Image) -> bool:
    """Do images of norm 1 have one Fourier intensity?"""
    if a.shape != b.shape:
        return False
    shape = min_fourier_shape(a.shape)
    first, second = (fourier_intensity(torch.as_tensor(x.copy()), shape) for x in (a, b))
    return bool((first - second).norm() < _NEAR * second.norm())
