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
    assert set(algorithm.seen) == {(2,), (2, 1, 7, 6)}
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


# --- what users do besides -------------------------------------------------------------------------------------------


class Momentum(Algorithm):
    """Remembers its last step on itself, for all items together."""

    def step(self, x, magnitude, known, n):
        if n == 0:
            self.velocity = torch.zeros_like(x)
        p = magnitude(x)
        self.velocity = 0.5 * self.velocity + known.project(p) - x
        return x + self.velocity, p


class InPlace(Algorithm):
    """Averaged successive reflections, with p overwritten on the way."""

    def iterate(self, x, p, known, n):
        q = p.clone()
        p.mul_(2).sub_(x)
        return known.project(p) + x - q


@pytest.mark.filterwarnings("ignore:.*reconstructions (are not unique|were found by few)")
def test_what_an_algorithm_remembers_belongs_to_all_items():
    intensity = pr.operators.fourier_intensity(torch.rand(3, 40, 40).double(), (80, 80))
    options = {"support": torch.ones(40, 40) > 0, "constraint": "nonnegative", "starts": 12}
    whole = Momentum(25)(intensity, **options, chunk=36)
    torch.testing.assert_close(Momentum(25)(intensity, **options).objs, whole.objs)


def test_a_formula_in_place_leaves_the_estimate_alone():
    intensity = pr.operators.fourier_intensity(torch.rand(8, 8).double(), (16, 16))
    options = {"support": torch.ones(8, 8) > 0, "constraint": "nonnegative"}
    torch.testing.assert_close(InPlace(15)(intensity, **options).obj, solvers.ASR(15)(intensity, **options).obj)


@pytest.mark.parametrize("name", ["iterate", "step"])
def test_a_method_that_is_replaced_on_one_algorithm_runs(name):
    intensity = pr.operators.fourier_intensity(torch.rand(8, 8).double(), (16, 16))
    options = {"support": torch.ones(8, 8) > 0, "constraint": "nonnegative"}
    patched = solvers.HIO(10)
    setattr(patched, name, getattr(Clamped(10), name))
    torch.testing.assert_close(patched(intensity, **options).obj, Clamped(10)(intensity, **options).obj)


@pytest.mark.parametrize(
    ("methods", "error", "message"),
    [
        ({}, NotImplementedError, r"Mine must have iterate\(self, x, p, known, n\)"),
        ({"iterate": lambda self, x, p, known, n: None}, TypeError, r"Mine: step of Mine must return two tensors"),
        ({"step": lambda self, x, magnitude, known, n: x}, TypeError, r"Mine: step of Mine must return .*got Tensor"),
        ({"iterate": lambda self, x, p, known, n: p[..., :1]}, ValueError, r"Mine: the next iterate of Mine must be"),
        ({"iterate": lambda self, x, p, known, n: p + 0j}, ValueError, r"got torch.complex64"),
        ({"enter": lambda self, x: {"x": x}}, TypeError, r"Mine: enter of Mine must return a tensor .*, got dict"),
    ],
)
def test_methods_that_give_something_else_are_named(methods, error, message):
    mine = type("Mine", (Algorithm,), methods)
    with pytest.raises(error, match=message):
        mine(3)(torch.rand(16, 16), support=torch.ones(8, 8) > 0, constraint="nonnegative")


@pytest.mark.parametrize("name", ["step", "half", "leave"])
def test_a_number_is_not_called_like_a_method(name):
    with pytest.raises(ValueError, match=rf"^Clamped: an option must not have the name of a method .*, got '{name}'"):
        Clamped(5, **{name: 0.5})
