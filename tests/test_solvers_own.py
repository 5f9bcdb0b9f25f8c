"""Algorithms that users write: they run as written, like the same formula in a plain loop on the whole grid."""

from __future__ import annotations

import math

import pytest
import torch

import phaseret as pr
from phaseret import solvers
from phaseret.solvers import Algorithm


class Clamped(Algorithm):
    def iterate(self, x, p, known, n):
        return known.choose(p, p, (x - 0.9 * p).clamp(-0.05, 0.05))


class Cooling(Algorithm):
    """It uses n and does not say so."""

    def iterate(self, x, p, known, n):
        return known.choose(p, p, x - 0.9 * 0.9**n * p)


class Bent(Algorithm):
    """Not linear in what it queries."""

    def query(self, x, known, n):
        return torch.where(x < 0, 0.5 * x, x)

    def iterate(self, x, p, known, n):
        return known.project(p) + 0.3 * torch.tanh(x - p)


class CoolingHIO(solvers.HIO):
    """A subclass of one of the library's, which say that they are linear outside the support."""

    def iterate(self, x, p, known, n):
        return known.choose(p, p, x - self.beta / (1 + n) * p)


class CoolingRAAR(solvers.RAAR):
    """It changes what `iterate` calls, not `iterate` itself."""

    def beta_at(self, n):
        return 0.9 * 0.95**n


class Blurred(Algorithm):
    """Mixes pixels, also across the edge of the support's box."""

    def iterate(self, x, p, known, n):
        return known.choose(p, p, x.roll(1, -1) - 0.9 * p)


def allowed(p, support):
    return support & (p >= 0)


def project(p, support):
    return torch.where(support, p.clamp(min=0), 0)


def raar(x, p, s, beta):
    return beta * (project(2 * p - x, s) + x) + (1 - 2 * beta) * p


LOOPS = {
    Clamped: (lambda x, n: x, lambda x, p, s, n: torch.where(allowed(p, s), p, (x - 0.9 * p).clamp(-0.05, 0.05))),
    Cooling: (lambda x, n: x, lambda x, p, s, n: torch.where(allowed(p, s), p, x - 0.9 * 0.9**n * p)),
    Bent: (lambda x, n: torch.where(x < 0, 0.5 * x, x), lambda x, p, s, n: project(p, s) + 0.3 * torch.tanh(x - p)),
    CoolingHIO: (lambda x, n: x, lambda x, p, s, n: torch.where(allowed(p, s), p, x - 0.9 / (1 + n) * p)),
    CoolingRAAR: (lambda x, n: x, lambda x, p, s, n: raar(x, p, s, 0.9 * 0.95**n)),
    Blurred: (lambda x, n: x, lambda x, p, s, n: torch.where(allowed(p, s), p, x.roll(1, -1) - 0.9 * p)),
}


def data():
    obj, start = torch.rand(2, 8, 8, dtype=torch.float64), torch.rand(2, 16, 16, dtype=torch.float64)
    support = torch.zeros(16, 16, dtype=torch.bool)
    support[1:8, 2:8] = torch.rand(7, 6) > 0.1
    return torch.fft.fft2(obj, (16, 16), norm="ortho").abs() ** 2, start, support


@pytest.mark.parametrize("kind", LOOPS, ids=lambda kind: kind.__name__)
def test_an_algorithm_runs_as_written(kind):
    intensity, x, support = data()
    r = kind(12)(intensity, support=support, constraint="nonnegative", init=x)
    query, update = LOOPS[kind]
    for n in range(12):
        field = torch.fft.fft2(query(x, n), norm="ortho")
        p = torch.fft.ifft2(intensity.sqrt() * field / field.abs(), norm="ortho").real
        x = update(x, p, support, n)
    torch.testing.assert_close(r.obj, project(p, support), atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    "kind", [solvers.HIO, solvers.RAAR, solvers.RRR, solvers.HPR, solvers.CHIO, solvers.SolventFlip]
)
def test_what_the_library_evaluates_on_the_box_is_what_its_formulas_give_on_the_grid(kind):
    """A subclass that changes nothing is evaluated on the whole grid."""
    intensity, x, support = data()
    options = {"support": support, "constraint": "nonnegative", "init": x}
    as_written = type("AsWritten", (kind,), {})
    torch.testing.assert_close(as_written(25)(intensity, **options).obj, kind(25)(intensity, **options).obj)


def test_a_subclass_may_say_that_it_allows_the_box():
    class Fast(Algorithm):
        on_the_box = True
        seen: list[tuple[int, ...]]

        def iterate(self, x, p, known, n):
            self.seen.append(tuple(x.shape))
            return known.choose(p, p, x - 0.9 * p)

    intensity, x, support = data()
    algorithm = Fast(5)
    algorithm.seen = []
    r = algorithm(intensity, support=support, constraint="nonnegative", init=x)
    assert set(algorithm.seen) == {(), (2, 1, 7, 6)}
    expected = solvers.HIO(5, beta=0.9)(intensity, support=support, constraint="nonnegative", init=x)
    torch.testing.assert_close(r.obj, expected.obj)


def test_the_numbers_of_an_algorithm_are_its_attributes():
    class Averaged(Algorithm):
        def iterate(self, x, p, known, n):
            return self.share * known.project(p) + (1 - self.share) * x

    share = torch.nn.Parameter(torch.tensor(0.5))
    assert repr(Averaged(3, share=0.5)) == "Averaged(n_iter=3, share=0.5)"
    algorithm = Averaged(3, share=share)
    intensity = pr.operators.fourier_intensity(torch.rand(6, 6), (12, 12))
    r = algorithm(intensity, support=torch.ones(6, 6, dtype=torch.bool), constraint="nonnegative")
    (gradient,) = torch.autograd.grad(r.error, share)
    assert math.isfinite(gradient)
    assert gradient != 0
