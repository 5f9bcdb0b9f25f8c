"""Gradient methods: one step against NumPy, batches item by item, recovery of Gaussian and coded data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import phaseret as pr
from phaseret import solvers


def gaussian(n=12, m=96, seed=0, dtype=torch.complex128):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(m, n, generator=generator, dtype=dtype)
    return pr.operators.Gaussian(matrix), matrix.numpy()


def distance(estimate, obj, ndim):
    aligned = pr.symmetry.align(estimate, obj, ndim=ndim, shift=False, flip=False, phase=True).aligned
    return (aligned - obj).norm() / obj.norm()


# --- values ----------------------------------------------------------------------------------------------------------


def test_the_spectral_start_is_the_leading_eigenvector():
    operator, a = gaussian()
    obj = torch.randn(12, dtype=torch.complex128)
    intensity = operator(obj)
    a = np.asarray(operator.linear(torch.eye(12, dtype=torch.complex128))).T
    y = intensity.numpy()
    kept = y * (y <= 9 * y.mean())
    _values, vectors = np.linalg.eigh(a.conj().T @ (kept[:, None] * a))
    z = vectors[:, -1]
    z = z * np.sqrt(y.sum() / (np.abs(a @ z) ** 2).sum())
    start = solvers.spectral_initialization(intensity, operator, n_iter=500)
    assert distance(start, torch.from_numpy(z), 1) < 1e-6


@pytest.mark.parametrize("masked", [False, True])
def test_one_step_of_wirtinger_flow_equals_the_published_formula(masked):
    operator, _ = gaussian()
    a = np.asarray(operator.linear(torch.eye(12, dtype=torch.complex128))).T
    z0 = torch.randn(12, dtype=torch.complex128)
    intensity = torch.rand(96, dtype=torch.float64)
    mask = torch.rand(96) > 0.3 if masked else torch.ones(96) > 0
    options = {"mask": mask} if masked else {}
    r = solvers.wirtinger_flow(intensity, operator, n_iter=1, mu=0.2, init=z0, **options)
    z, y, w = z0.numpy(), intensity.numpy(), mask.numpy()
    u = a @ z
    c = (w * np.abs(u) ** 2).sum() / (np.abs(z) ** 2).sum()
    step = min(1 - math.exp(-1 / 330), 0.2)
    expected = z - step / (c * y[w].mean()) * a.conj().T @ (w * (np.abs(u) ** 2 - y) * u)
    np.testing.assert_allclose(r.obj.numpy(), expected, atol=1e-12)


def test_one_step_of_truncated_amplitude_flow_equals_the_published_formula():
    operator, _ = gaussian()
    a = np.asarray(operator.linear(torch.eye(12, dtype=torch.complex128))).T
    z0 = torch.randn(12, dtype=torch.complex128)
    intensity = 12 * torch.rand(96, dtype=torch.float64)
    r = solvers.truncated_amplitude_flow(intensity, operator, n_iter=1, init=z0)
    z, y = z0.numpy(), intensity.numpy()
    u = a @ z
    c = (np.abs(u) ** 2).sum() / (np.abs(z) ** 2).sum()
    kept = np.abs(u) >= np.sqrt(y) / 1.7
    assert 0 < kept.sum() < 96
    expected = z - 0.6 / c * a.conj().T @ (kept * (u - np.sqrt(y) * u / np.abs(u)))
    np.testing.assert_allclose(r.obj.numpy(), expected, atol=1e-12)


def test_the_refinement_finds_the_minimum_of_the_likelihood():
    operator, _ = gaussian(4, 30)
    obj = 5 * torch.randn(4, dtype=torch.complex128)
    counts = torch.poisson(operator(obj))
    r = solvers.maximum_likelihood(obj, counts, operator, n_iter=60)
    x = r.obj.clone().requires_grad_()
    model = operator(x) + 0.1
    (gradient,) = torch.autograd.grad((model - counts * model.log()).sum(), x)
    assert gradient.abs().max() < 1e-6 * counts.sum()


def test_the_first_refinement_step_is_nearly_the_best_along_the_gradient():
    operator, _ = gaussian(4, 30)
    start = torch.randn(4, dtype=torch.complex128)
    counts = torch.poisson(operator(2 * torch.randn(4, dtype=torch.complex128)))

    def loss(x):
        model = operator(x) + 0.1
        return (model - counts * model.log()).sum()

    x = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x), x)
    found = loss(solvers.maximum_likelihood(start, counts, operator, n_iter=1).obj)
    steps = torch.linspace(0, 1, 2001, dtype=torch.float64) * 10 * start.norm() / gradient.norm()
    searched = min(loss(start - t * gradient) for t in steps)
    assert found <= searched + 5e-3 * abs(searched)
    assert found < loss(start)


# --- recovery --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [solvers.wirtinger_flow, solvers.truncated_amplitude_flow])
@pytest.mark.parametrize("real", [False, True])
def test_gaussian_data_are_solved(method, real, device):
    operator, _ = gaussian(12, 144)
    operator = operator.to(device)
    obj = torch.randn(2, 12, dtype=torch.float64 if real else torch.complex128, device=device)
    r = method(operator(obj), operator, n_iter=1500, constraint="real" if real else "complex")
    assert r.obj.is_complex() is not real
    assert (r.error < 1e-5).all()
    for item in range(2):
        assert distance(r.obj[item], obj[item], 1) < 1e-5


@pytest.mark.parametrize("method", [solvers.wirtinger_flow, solvers.truncated_amplitude_flow])
def test_coded_diffraction_is_solved(method):
    obj = torch.randn(2, 10, 9, dtype=torch.complex64)
    masks = pr.operators.coded_masks((10, 9), 8, generator=torch.Generator().manual_seed(0))
    operator = pr.operators.CodedDiffraction(masks)
    r = method(operator(obj), operator, n_iter=1000)
    assert (r.error < 1e-3).all()


# --- properties ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [solvers.wirtinger_flow, solvers.truncated_amplitude_flow])
def test_a_batch_of_very_different_scales_gives_what_its_items_give(method):
    operator, _ = gaussian()
    obj = torch.randn(3, 12, dtype=torch.complex128) * torch.tensor([1.0, 1e-3, 40.0])[:, None]
    intensity = operator(obj)
    together = method(intensity, operator, n_iter=40)
    assert together.history.shape == (3, 1, 4)
    for item in range(3):
        alone = method(intensity[item], operator, n_iter=40)
        torch.testing.assert_close(together.obj[item], alone.obj)
        torch.testing.assert_close(together.error[item], alone.error)
    start = solvers.spectral_initialization(intensity, operator)
    torch.testing.assert_close(start[1], solvers.spectral_initialization(intensity[1], operator))
    refined = solvers.maximum_likelihood(start, intensity, operator, n_iter=10)
    torch.testing.assert_close(
        refined.obj[2], solvers.maximum_likelihood(start[2], intensity[2], operator, n_iter=10).obj
    )


@pytest.mark.parametrize("method", [solvers.wirtinger_flow, solvers.truncated_amplitude_flow])
def test_a_non_negative_object_is_found_as_one(method):
    operator, _ = gaussian(12, 960)  # the start's error is 0.18 +- 0.04
    obj = torch.rand(2, 12, dtype=torch.float64)
    start = solvers.spectral_initialization(operator(obj), operator, constraint="nonnegative")
    assert (start >= 0).all()
    assert ((start - obj).norm(dim=-1) < 0.5 * obj.norm(dim=-1)).all()
    r = method(operator(obj), operator, n_iter=1000, constraint="nonnegative")
    torch.testing.assert_close(r.obj, obj, atol=1e-4, rtol=0)


def test_masks_and_supports_broadcast_and_unmeasured_values_do_not_matter():
    operator, _ = gaussian()
    obj = torch.randn(3, 12, dtype=torch.complex128)
    mask, support = torch.rand(96) > 0.2, torch.rand(12) > 0.1
    intensity = torch.where(mask, operator(obj), math.nan)
    for method in (solvers.wirtinger_flow, solvers.truncated_amplitude_flow):
        plain = method(operator(obj), operator, mask=mask, n_iter=5).obj
        torch.testing.assert_close(method(intensity, operator, mask=mask[None], n_iter=5).obj, plain)
    plain = solvers.maximum_likelihood(obj * support, operator(obj), operator, mask=mask, support=support, n_iter=5)
    given = torch.where(support, obj, math.nan)
    r = solvers.maximum_likelihood(given, intensity, operator, mask=mask[None], support=support[None], n_iter=5)
    torch.testing.assert_close(r.obj, plain.obj)


def test_the_refinement_keeps_support_and_sign_and_helps_noisy_data():
    obj = torch.zeros(16, 16)
    obj[3:12, 4:11] = 100 * torch.rand(9, 7)
    operator = pr.operators.FourierIntensity((32, 32))
    counts = torch.poisson(operator(obj))
    start = (obj + 5 * torch.randn(16, 16)).clamp(min=0)
    r = solvers.maximum_likelihood(start, counts, operator, support=obj > 0, constraint="nonnegative", n_iter=100)
    assert (r.obj[obj == 0] == 0).all()
    assert (r.obj >= 0).all()
    assert (r.obj - obj).norm() < 0.7 * (start * (obj > 0) - obj).norm()


# --- errors ----------------------------------------------------------------------------------------------------------

OPERATOR = gaussian()[0]
Y = torch.rand(96, dtype=torch.float64)
X = torch.rand(12, dtype=torch.complex128)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: solvers.wirtinger_flow(Y + 0j, OPERATOR),
            TypeError,
            "wirtinger_flow: intensity must be real floating",
        ),
        (lambda: solvers.wirtinger_flow(Y, torch.eye(3)), TypeError, "wirtinger_flow: operator must be an Operator"),
        (lambda: solvers.wirtinger_flow(Y, OPERATOR, mask=Y), TypeError, "mask must be a boolean tensor"),
        (
            lambda: solvers.wirtinger_flow(Y, OPERATOR, mask=Y[1:] > 0),
            ValueError,
            "mask must broadcast to the intensity",
        ),
        (lambda: solvers.wirtinger_flow(Y, OPERATOR, n_iter=0), ValueError, "n_iter must be an integer of at least 1"),
        (lambda: solvers.wirtinger_flow(Y, OPERATOR, mu=0), ValueError, "mu must be a finite number above 0, got 0"),
        (
            lambda: solvers.truncated_amplitude_flow(Y, OPERATOR, gamma=-1),
            ValueError,
            "gamma must be a finite number above",
        ),
        (lambda: solvers.spectral_initialization(Y, OPERATOR, truncation=0), ValueError, "truncation must be a finite"),
        (lambda: solvers.maximum_likelihood(X, Y, OPERATOR, background=0), ValueError, "background must be a finite"),
        (
            lambda: solvers.maximum_likelihood(X, Y, "fourier"),
            TypeError,
            "maximum_likelihood: operator must be an Operator",
        ),
        (lambda: solvers.maximum_likelihood(X, Y, OPERATOR, constraint="real"), TypeError, "estimate must be real for"),
        (lambda: solvers.wirtinger_flow(Y, OPERATOR, init=X, constraint="nonnegative"), TypeError, "init must be real"),
        (lambda: solvers.wirtinger_flow(Y, OPERATOR, constraint="positive"), ValueError, "constraint must be one of"),
        (
            lambda: solvers.maximum_likelihood(X, Y, OPERATOR, support=torch.ones(12, device="meta") > 0),
            ValueError,
            "all tensors must lie on one device, got estimate on cpu, support on meta",
        ),
        (
            lambda: solvers.maximum_likelihood(X, Y, OPERATOR, support=Y > 0),
            ValueError,
            "support must broadcast to the estimate",
        ),
    ],
)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_descent_that_leaves_all_numbers_says_so() -> None:
    obj = torch.rand(6, 6, generator=torch.Generator().manual_seed(0))
    operator = pr.operators.FourierIntensity((12, 12))
    with pytest.warns(UserWarning, match=r"^wirtinger_flow: the descent went beyond all numbers.*Use a smaller mu"):
        solvers.wirtinger_flow(operator(obj), operator, init=obj + 0.1, mu=1000.0, n_iter=100)


@pytest.mark.filterwarnings("ignore:.*do not determine an object")
def test_objects_on_the_whole_grid_are_starts_too() -> None:
    """Such as a solver's answer without a support: the same descent as through an operator that takes the sizes."""
    obj = torch.rand(2, 6, 5)
    operator = pr.operators.FourierIntensity((13, 11))
    other = pr.operators.FourierIntensity((13, 11), undersampled=True)
    data, start = operator(obj), torch.rand(2, 13, 11)
    support = pr.operators.pad(torch.ones(6, 5), (13, 11)) > 0
    for solve in (
        lambda op: pr.solvers.maximum_likelihood(start, 100 * data, op, support=support, n_iter=3),
        lambda op: pr.solvers.wirtinger_flow(data, op, init=start, constraint="real", n_iter=3),
        lambda op: pr.solvers.truncated_amplitude_flow(data, op, init=start, constraint="nonnegative", n_iter=3),
    ):
        found = solve(operator)
        assert found.obj.shape == (2, 13, 11)
        assert torch.equal(found.obj, solve(other).obj)
