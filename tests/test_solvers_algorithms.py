"""Every update against the published formula, written once more in NumPy with the full complex transform."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import phaseret as pr
from phaseret import solvers
from phaseret.solvers._algorithms import ALGORITHMS, _misfit

BETA = 0.8


def p_m(x, magnitude, mask):
    axes = range(-magnitude.ndim, 0)
    field = np.fft.fftn(x, axes=axes, norm="ortho")
    field = np.where(mask, magnitude * np.exp(1j * np.angle(field)), field)
    result = np.fft.ifftn(field, axes=axes, norm="ortho")
    return result if np.iscomplexobj(x) else result.real


def p_s(x, support, constraint):
    return np.where(support & (x >= 0 if constraint == "nonnegative" else True), x, 0)


def agrees(x, support, constraint):
    return support & (x >= 0) if constraint == "nonnegative" else support


def er(x, M, S, A, n):
    return S(M(x))


def hio(x, M, S, A, n):
    p = M(x)
    return np.where(A(p), p, x - BETA * p)


def raar(x, M, S, A, n):
    p = M(x)
    r_m = 2 * p - x
    r_s = 2 * S(r_m) - r_m
    return BETA / 2 * (r_s + x) + (1 - BETA) * p


def raar_schedule(x, M, S, A, n):
    beta = 0.95 + (0.6 - 0.95) * np.exp(-((n / 7) ** 3))
    p = M(x)
    r_m = 2 * p - x
    r_s = 2 * S(r_m) - r_m
    return beta / 2 * (r_s + x) + (1 - beta) * p


def dm(x, M, S, A, n):
    gamma_s, gamma_m = -1 / BETA, 1 / BETA
    f_s = S(x) + gamma_s * (S(x) - x)
    f_m = M(x) + gamma_m * (M(x) - x)
    return x + BETA * (S(f_m) - M(f_s))


def rrr(x, M, S, A, n):
    return x + BETA * (M(2 * S(x) - x) - S(x))


def chio(x, M, S, A, n):
    p = M(x)
    inside = np.where(BETA / 2 * x <= p, p, x - (1 - BETA / 2) / (BETA / 2) * p)
    return np.where(A(p), inside, x - BETA * p)


def asr(x, M, S, A, n):
    r_m = 2 * M(x) - x
    return (2 * S(r_m) - r_m + x) / 2


def hpr(x, M, S, A, n):
    p = M(x)
    y = (2 * p - x) + (BETA - 1) * p
    return ((2 * S(y) - y) + x + (1 - BETA) * p) / 2


def solvent_flip(x, M, S, A, n):
    return 2 * S(M(x)) - M(x)


PAIRS = {
    "asr": (solvers.ASR(4), asr),
    "hpr": (solvers.HPR(4, beta=BETA), hpr),
    "solvent flip": (solvers.SolventFlip(4), solvent_flip),
    "er": (solvers.ErrorReduction(4), er),
    "hio": (solvers.HIO(4, beta=BETA), hio),
    "raar": (solvers.RAAR(4, beta=BETA), raar),
    "raar schedule": (solvers.RAAR(4, beta=(0.6, 0.95)), raar_schedule),
    "dm": (solvers.DifferenceMap(4, beta=BETA), dm),
    "rrr": (solvers.RRR(4, beta=BETA), rrr),
}
PROBLEMS = {
    "2d even": ((8, 10), (4, 5)),
    "2d odd": ((9, 7), (4, 3)),
    "1d": ((15,), (7,)),
    "3d": ((5, 6, 7), (3, 3, 4)),
}


def problem(shape, object_shape, constraint, seed=0):
    """A noisy pattern that no object explains, a ragged support away from the corner, some unmeasured pixels."""
    rng = np.random.default_rng(seed)
    support = np.zeros(shape, dtype=bool)
    support[tuple(slice(1, 1 + n) for n in object_shape)] = rng.random(object_shape) < 0.8
    intensity = rng.random(shape)
    mask = rng.random(shape) < 0.9
    x = rng.standard_normal(shape)
    return intensity, mask, support, x + 1j * rng.standard_normal(shape) if constraint == "complex" else x


def data_for(intensity, mask, constraint):
    """Magnitude and mask of the reference; a real object needs both sides of each pair to be alike."""
    if constraint == "complex":
        return np.sqrt(intensity), mask
    axes = tuple(range(intensity.ndim))
    mirrored = [np.roll(np.flip(a, axes), 1, axes) for a in (np.sqrt(intensity) * mask, mask)]
    count = mask.astype(float) + mirrored[1]
    return (np.sqrt(intensity) * mask + mirrored[0]) / np.maximum(count, 1), count > 0


@pytest.mark.parametrize("constraint", ["complex", "real", "nonnegative"])
@pytest.mark.parametrize("sizes", PROBLEMS)
@pytest.mark.parametrize("name", PAIRS)
def test_four_iterations_equal_the_published_formula(name, sizes, constraint, device):
    algorithm, reference = PAIRS[name]
    shape, object_shape = PROBLEMS[sizes]
    intensity, mask, support, x0 = problem(shape, object_shape, constraint)
    seen = []
    algorithm(
        torch.from_numpy(intensity).to(device),
        mask=torch.from_numpy(mask).to(device),
        support=torch.from_numpy(support).to(device),
        constraint=constraint,
        init=torch.from_numpy(x0).to(device),
        ndim=len(shape),
        check_every=1,
        callback=lambda run: seen.append(run.iterate.cpu().numpy().copy()[0, 0]) is not None,
    )
    magnitude, measured = data_for(intensity, mask, constraint)
    x = x0
    for n, iterate in enumerate(seen):
        x = reference(
            x,
            lambda y: p_m(y, magnitude, measured),
            lambda y: p_s(y, support, constraint),
            lambda y: agrees(y, support, constraint),
            n,
        )
        np.testing.assert_allclose(iterate, x, atol=1e-10)
    assert len(seen) == 4


def iterates(algorithm, constraint, sizes="2d odd"):
    """What the loop computes, and the pieces a reference needs."""
    shape, object_shape = PROBLEMS[sizes]
    intensity, mask, support, x0 = problem(shape, object_shape, constraint)
    seen = []
    algorithm(
        torch.from_numpy(intensity),
        mask=torch.from_numpy(mask),
        support=torch.from_numpy(support),
        constraint=constraint,
        init=torch.from_numpy(x0),
        check_every=1,
        callback=lambda run: seen.append(run.iterate.numpy().copy()[0, 0]) is not None,
    )
    magnitude, measured = data_for(intensity, mask, constraint)
    return seen, x0, support, lambda y: p_m(y, magnitude, measured)


def test_chio_equals_the_published_formula():
    seen, x, support, M = iterates(solvers.CHIO(4, beta=BETA, alpha=BETA / 2), "nonnegative")
    for iterate in seen:
        x = chio(x, M, None, lambda y: agrees(y, support, "nonnegative"), 0)
        np.testing.assert_allclose(iterate, x, atol=1e-10)


@pytest.mark.parametrize("constraint", ["complex", "nonnegative"])
def test_oss_equals_the_published_formula(constraint):
    seen, x, support, M = iterates(solvers.OSS(30, beta=BETA, stages=2), constraint)
    rows, columns = np.fft.fftfreq(9), np.fft.fftfreq(7)

    def misfit(x):
        estimate = p_s(M(x), support, constraint)
        return np.linalg.norm(M(estimate) - estimate)

    best, kept = x, 0
    for n, iterate in enumerate(seen):
        new = hio(x, M, None, lambda y: agrees(y, support, constraint), n)
        alpha = 2 if n < 15 else 1 / 10  # times the size of the grid
        smooth = np.fft.ifft2(np.fft.fft2(new) * np.exp(-0.5 * (rows[:, None] ** 2 + columns**2) / alpha**2))
        new = np.where(support, new, smooth if constraint == "complex" else smooth.real)
        if n in (9, 14, 19, 29) and misfit(x) < misfit(best):
            best, kept = x, n
        x = best if n in (14, 29) else new
        np.testing.assert_allclose(iterate, x, atol=1e-10)
    assert kept
    assert len(seen) == 30


def test_oss_ends_with_the_best_estimate_that_it_looked_at():
    intensity, mask, support, x0 = map(torch.from_numpy, problem((8, 10), (4, 5), "complex"))
    options = {"mask": mask, "support": support, "init": x0, "check_every": 10}
    r = solvers.OSS(60, stages=3)(intensity, **options)
    looked = r.history[0, :-1]  # at the end of iterations 10, 20, ...: those of the iterates before
    assert r.error <= looked.min() + 1e-12


def test_oss_of_a_few_iterations_is_one_stage_that_moves():
    intensity, mask, support, x0 = map(torch.from_numpy, problem((8, 10), (4, 5), "complex"))
    seen = []
    look = lambda run: seen.append(run.iterate.clone()) is not None  # noqa: E731
    solvers.OSS(5)(intensity, mask=mask, support=support, init=x0, check_every=1, callback=look)
    assert all((a - b).norm() > 1e-3 for a, b in itertools.pairwise(seen[:-1]))


def test_charge_flipping_equals_the_published_formula():
    seen, x, _, M = iterates(solvers.ChargeFlip(4, delta=0.7), "nonnegative")
    for iterate in seen:
        p = M(x)
        x = np.where(p > 0.7 * p.std(), p, -p)
        np.testing.assert_allclose(iterate, x, atol=1e-10)


@pytest.mark.parametrize("constraint", ["complex", "nonnegative"])
def test_admm_equals_the_published_formula(constraint):
    seen, z, support, M = iterates(solvers.ADMM(4, beta=BETA), constraint)
    u = np.zeros_like(z)
    for iterate in seen:
        x = p_s(z - u, support, constraint)
        z = M(x + u)
        u = u + BETA * (x - z)
        np.testing.assert_allclose(iterate, z, atol=1e-10)


@pytest.mark.parametrize(
    ("make", "constraint", "message"),
    [
        (solvers.CHIO, "complex", "CHIO: constraint must be 'nonnegative', got 'complex'"),
        (solvers.ChargeFlip, "complex", "ChargeFlip: constraint must be 'real' or 'nonnegative', got 'complex'"),
    ],
)
def test_algorithms_refuse_objects_they_are_not_made_for(make, constraint, message):
    with pytest.raises(ValueError, match=message):
        make(2)(torch.rand(8, 8), support=torch.ones(4, 4, dtype=torch.bool), constraint=constraint)


@pytest.mark.parametrize("name", PAIRS)
def test_the_differentiable_path_equals_the_fast_one(name):
    algorithm, _ = PAIRS[name]
    intensity, mask, support, x0 = problem((8, 10), (4, 5), "nonnegative")
    x0 = torch.from_numpy(x0)
    options = {
        "mask": torch.from_numpy(mask),
        "support": torch.from_numpy(support),
        "constraint": "nonnegative",
        "check_every": 2,
    }
    fast = algorithm(torch.from_numpy(intensity), init=x0, **options)
    slow = algorithm(torch.from_numpy(intensity), init=x0.clone().requires_grad_(), **options)
    assert slow.obj.requires_grad
    torch.testing.assert_close(slow.obj.detach(), fast.obj)
    torch.testing.assert_close(slow.history.detach(), fast.history)


def test_a_learned_beta_gets_the_gradient_of_finite_differences():
    obj = torch.rand(4, 4, dtype=torch.float64)
    intensity = pr.operators.fourier_intensity(obj, (8, 8))
    support = torch.ones(4, 4, dtype=torch.bool)

    def error(beta, kind):
        r = kind(3, beta=beta)(intensity, support=support, constraint="real")
        return (r.obj - obj).square().sum()

    for kind in (solvers.HIO, solvers.RAAR, solvers.DifferenceMap, solvers.RRR):
        beta = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda b, kind=kind: error(b, kind), beta, fast_mode=True)


def test_a_beta_parameter_is_trained_through_the_loop():
    obj = torch.rand(4, 6, 6)
    intensity = pr.operators.fourier_intensity(obj, (12, 12))
    algorithm = solvers.HIO(3, beta=torch.nn.Parameter(torch.tensor(0.5)))
    assert [name for name, _ in algorithm.named_parameters()] == ["beta"]
    r = algorithm(intensity, support=torch.ones(6, 6, dtype=torch.bool), constraint="nonnegative")
    r.error.sum().backward()
    assert algorithm.beta.grad.isfinite()
    assert algorithm.beta.grad != 0


def test_the_intensity_gets_a_gradient_zeros_included():
    intensity = torch.rand(8, 8, dtype=torch.float64)
    intensity[2, 3] = 0.0
    intensity.requires_grad_()
    r = solvers.HIO(3)(intensity, support=torch.ones(4, 4, dtype=torch.bool), constraint="real")
    (gradient,) = torch.autograd.grad(r.obj.square().sum(), intensity)
    assert gradient.isfinite().all()
    assert (gradient != 0).any()
    assert gradient[2, 3] == 0


def test_both_estimates_of_the_difference_map_are_one_at_a_solution():
    obj = torch.rand(4, 4, dtype=torch.float64)
    magnitude = pr.operators.fourier_magnitude(obj, (8, 8))
    measured = pr.projections.MagnitudeConstraint(magnitude, real=True)
    support = torch.zeros(8, 8, dtype=torch.bool)
    support[:4, :4] = True
    known = pr.projections.ObjectConstraint(support=support, constraint="nonnegative", dtype=torch.float64)
    x = torch.nn.functional.pad(obj, (0, 4, 0, 4))
    first, second = solvers.DifferenceMap(beta=0.8).estimates(x, measured.project, known)
    torch.testing.assert_close(first, x)
    torch.testing.assert_close(second, x)


@pytest.mark.parametrize("name", PAIRS)
def test_a_solution_is_a_fixed_point(name):
    algorithm, _ = PAIRS[name]
    obj = torch.rand(5, 5, dtype=torch.float64)
    intensity = pr.operators.fourier_intensity(obj, (10, 10))
    r = algorithm(intensity, support=torch.ones(5, 5, dtype=torch.bool), constraint="nonnegative", init=obj)
    torch.testing.assert_close(r.obj, obj)
    assert r.error < 1e-7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: solvers.HIO(0), "HIO: n_iter must be an integer of at least 1, got 0"),
        (lambda: solvers.HIO(beta=0), "HIO: beta must be a finite number above 0 and at most 2.0, got 0"),
        (lambda: solvers.RAAR(beta=1.1), "RAAR: beta must be a finite number above 0 and at most 1.0, got 1.1"),
        (lambda: solvers.RAAR(beta=(0.5, 0.7, 0.9)), r"RAAR: beta must be a number or a pair \(b0, b1\), got"),
        (lambda: solvers.CHIO(alpha=0), "CHIO: alpha must be a finite number above 0 and at most 1, got 0"),
        (lambda: solvers.OSS(stages=1), "OSS: stages must be an integer of at least 2, got 1"),
        (lambda: solvers.ChargeFlip(delta=-1), "ChargeFlip: delta must be a finite number above 0, got -1"),
        (lambda: solvers.RRR(beta=float("nan")), "RRR: beta must be a finite number above 0 and at most 2.0, got nan"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_defaults_are_the_numbers_in_use():
    expected = {
        "ErrorReduction(n_iter=1000)",
        "HIO(n_iter=1000, beta=0.9)",
        "HPR(n_iter=1000, beta=0.9)",
        "RAAR(n_iter=1000, beta=0.97)",
        "DifferenceMap(n_iter=1000, beta=0.9)",
        "RRR(n_iter=1000, beta=0.5)",
        "CHIO(n_iter=1000, beta=0.9, alpha=0.4)",
        "OSS(n_iter=1000, beta=0.9, stages=10)",
        "ASR(n_iter=1000)",
        "SolventFlip(n_iter=1000)",
        "ChargeFlip(n_iter=1000, delta=1.2)",
        "ADMM(n_iter=1000, beta=1.0)",
        "SparseRRR(n_iter=1400, beta=0.7, smallest=0.0625)",
    }
    assert {repr(getattr(solvers, text.partition("(")[0])()) for text in expected} == expected


def test_repr_shows_the_options():
    assert repr(solvers.HIO(50, beta=0.7)) == "HIO(n_iter=50, beta=0.7)"
    assert repr(solvers.RAAR(50, beta=(0.5, 0.9))) == "RAAR(n_iter=50, beta=(0.5, 0.9))"
    assert repr(solvers.CHIO(5, alpha=0.5)) == "CHIO(n_iter=5, beta=0.9, alpha=0.5)"
    assert repr(solvers.OSS(5)) == "OSS(n_iter=5, beta=0.9, stages=10)"
    assert repr(solvers.ChargeFlip(5)) == "ChargeFlip(n_iter=5, delta=1.2)"
    assert repr(solvers.ErrorReduction(5)) == "ErrorReduction(n_iter=5)"


@pytest.mark.parametrize("word", [word for word in ALGORITHMS if word != "sparse"])
def test_no_axis_is_special(word):
    obj = torch.rand(3, 5, 2, dtype=torch.float64)
    intensity = pr.operators.fourier_intensity(obj, (7, 12, 5))
    step, order = ALGORITHMS[word](3), (1, 2, 0)
    options = {"constraint": "nonnegative", "support": torch.ones(3, 5, 2) > 0, "init": torch.rand_like(obj), "ndim": 3}
    found = step(intensity, **options).obj
    turned = {"support": options["support"].permute(order), "init": options["init"].permute(order)}
    torch.testing.assert_close(step(intensity.permute(order), **{**options, **turned}).obj, found.permute(order))


@pytest.mark.parametrize(("beta", "wrong"), [((0.5, 1.5), 1), ((0.0, 0.5), 0), ((1.01, 0.5), 0), ((0.5, -0.1), 1)])
def test_a_schedule_beyond_0_and_1_is_refused(beta, wrong):
    with pytest.raises(ValueError, match=rf"RAAR: beta\[{wrong}\] must be .*above 0.*at most 1, got {beta[wrong]}"):
        solvers.RAAR(5, beta=beta)


@pytest.mark.parametrize("kind", [solvers.HIO, solvers.RAAR, solvers.DifferenceMap, solvers.RRR, solvers.ADMM])
@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0, [0.5, 0.7]])
def test_a_beta_that_is_a_tensor_is_as_good_as_a_number(kind, value):
    with pytest.raises(ValueError, match=f"^{kind.__name__}: beta must be a"):
        kind(5, beta=torch.tensor(value))


def test_the_misfit_of_oss_is_that_of_each_pattern_and_start():
    x, known = (
        torch.randn(2, 3, 4, 5, dtype=torch.float64),
        pr.projections.ObjectConstraint(constraint="nonnegative", dtype=torch.float64),
    )
    found = _misfit(x, lambda y: 3 * y, known)
    assert found.shape == (2, 3, 1, 1)
    torch.testing.assert_close(found[..., 0, 0], 4 * x.clamp(min=0).square().sum((2, 3)))
