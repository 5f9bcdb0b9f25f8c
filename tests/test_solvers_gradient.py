"""Gradient methods: one step against NumPy, batches item by item, recovery of Gaussian and coded data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import phaseret as pr
from phaseret import solvers

FLOWS = [solvers.wirtinger_flow, solvers.truncated_amplitude_flow]


def gaussian(n=12, m=96, seed=0, dtype=torch.complex128):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(m, n, generator=generator, dtype=dtype)
    return pr.operators.Gaussian(matrix), matrix.numpy()


def distance(estimate, obj, ndim):
    aligned = pr.symmetry.align(estimate, obj, ndim=ndim, shift=False, flip=False, phase=True).aligned
    return (aligned - obj).norm() / obj.norm()


# --- values ----------------------------------------------------------------------------------------------------------


def spectral(a, y, w):
    """The start, from the matrix a, data y and a mask w: G whitens, and weighs the eigenvector."""
    mean = y[w].mean()
    kept = y * (y <= 9 * mean) * w
    g = (w[:, None] * np.abs(a) ** 2).sum(0)
    g = g / g.mean()
    half = a / np.sqrt(g)
    _values, vectors = np.linalg.eigh(half.conj().T @ (kept[:, None] * half))
    z = np.sqrt(g) / (1 + g) * vectors[:, -1]
    return torch.from_numpy(z * np.sqrt(y[w].sum() / (w * np.abs(a @ z) ** 2).sum()))


@pytest.mark.parametrize("masked", [False, True])
def test_the_spectral_start_is_the_whitened_leading_eigenvector(masked):
    scale = torch.linspace(0.3, 2, 12, dtype=torch.float64)
    operator = pr.operators.Gaussian(gaussian()[0].matrix * scale)
    intensity = operator(torch.randn(12, dtype=torch.complex128))
    mask = torch.rand(96) > 0.3 if masked else torch.ones(96) > 0
    start = solvers.spectral_initialization(intensity, operator, mask=mask, n_iter=1500)
    expected = spectral(operator.matrix.numpy(), intensity.numpy(), mask.numpy())
    assert distance(start, expected, 1) < 1e-6


def test_the_spectral_start_does_not_lie_on_the_pixels_that_get_most_light():
    """A pixel in fifty gets nine times the light: without G the cosine is 0.05 to 0.14, with it 0.73 to 0.78."""
    g = torch.Generator().manual_seed(0)
    obj = torch.randn(32, 32, dtype=torch.complex128, generator=g)
    masks = pr.operators.coded_masks((32, 32), 8, generator=g, dtype=torch.float64)
    bright = torch.where(torch.rand(32, 32, generator=g) < 0.02, 3.0, 1.0)
    operator = pr.operators.CodedDiffraction(masks * bright)
    start = solvers.spectral_initialization(operator(obj), operator)
    cosine = (start.conj() * obj).sum().abs() / start.norm() / obj.norm()
    assert cosine > 0.5


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


@pytest.mark.parametrize("method", FLOWS)
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


@pytest.mark.parametrize("method", FLOWS)
def test_coded_diffraction_is_solved(method):
    obj = torch.randn(2, 10, 9, dtype=torch.complex64)
    masks = pr.operators.coded_masks((10, 9), 8, generator=torch.Generator().manual_seed(0))
    operator = pr.operators.CodedDiffraction(masks)
    r = method(operator(obj), operator, n_iter=1000)
    assert (r.error < 1e-3).all()


# --- properties ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", FLOWS)
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
    refined = solvers.maximum_likelihood(start, intensity, operator, n_iter=10, background=1e-9)
    alone = solvers.maximum_likelihood(start[2], intensity[2], operator, n_iter=10, background=1e-9)
    torch.testing.assert_close(refined.obj[2], alone.obj)


@pytest.mark.parametrize("method", FLOWS)
def test_a_flow_ends_when_it_has_converged_and_not_before(method):
    operator, _ = gaussian(12, 144)
    obj = torch.randn(12, dtype=torch.complex128)
    r = method(operator(obj), operator, n_iter=20000, init=obj + 0.1)
    assert r.checked[-1] < 10000
    assert r.error < 1e-13
    again = method(operator(obj), operator, n_iter=r.checked[-1] + 500, init=obj + 0.1, tol=0)
    assert again.checked[-1] == r.checked[-1] + 500
    assert distance(r.obj, again.obj, 1) < 1e-13


@pytest.mark.parametrize("method", FLOWS)
def test_a_descent_that_is_slow_but_goes_on_is_not_ended(method):
    operator, _ = gaussian(12, 144)
    obj = torch.randn(12, dtype=torch.complex128)
    r = method(operator(obj), operator, n_iter=300, mu=1e-7, init=obj + 0.1)
    assert r.checked[-1] == 300
    assert (r.history[..., 1:] < r.history[..., :-1]).all()


@pytest.mark.parametrize("method", FLOWS)
def test_what_has_converged_is_left_alone_while_the_rest_goes_on(method):
    operator, _ = gaussian(12, 144)
    obj = torch.randn(2, 12, dtype=torch.complex128)
    start = torch.stack((obj[0] + 1e-9, obj[1] + 0.3))
    together = method(operator(obj), operator, n_iter=20000, init=start)
    alone = [method(operator(o), operator, n_iter=20000, init=s) for o, s in zip(obj, start, strict=True)]
    assert alone[0].checked[-1] < alone[1].checked[-1] == together.checked[-1]
    for item, one in enumerate(alone):
        torch.testing.assert_close(together.obj[item], one.obj, rtol=0, atol=1e-13)
    at = len(alone[0].checked) - 1
    assert (together.history[0, 0, at:] == together.history[0, 0, -1]).all()


def test_the_tolerance_is_the_change_of_an_iteration_relative_to_the_norm():
    """At every tenth iteration: the mean change is taken from the objects that the same descent gives on its own."""
    operator, _ = gaussian(12, 144)
    obj = torch.randn(12, dtype=torch.complex128)
    tol, start, last, k = 1e-4, obj + 0.1, obj + 0.1, 0
    while k < 1000:
        k += 10
        x = solvers.truncated_amplitude_flow(operator(obj), operator, n_iter=k, init=start, tol=0).obj
        if (x - last).norm() <= 10 * tol * x.norm():
            break
        last = x
    r = solvers.truncated_amplitude_flow(operator(obj), operator, n_iter=1000, init=start, tol=tol)
    assert r.checked[-1] == k > 10
    torch.testing.assert_close(r.obj, x)


@pytest.mark.parametrize("method", FLOWS)
@pytest.mark.parametrize("constraint", ["complex", "real", "nonnegative"])
@pytest.mark.filterwarnings("ignore:.*reconstructions")
def test_starts_are_those_of_their_seeds_and_the_best_is_the_result(method, constraint):
    operator, _ = gaussian(12, 144)
    obj = torch.rand(2, 12, dtype=torch.float64)
    mask = torch.rand(144) > 0.1
    options = {"constraint": constraint, "n_iter": 60, "mask": mask}
    r = method(operator(obj), operator, starts=3, seed=4, **options)
    assert r.objs.shape == (2, 3, 12)
    assert r.history.shape == (2, 3, 6)
    assert r.seeds == [4, 5, 6]
    torch.testing.assert_close(r.objs[:, 0], method(operator(obj), operator, seed=4, **options).obj)
    for item in range(2):
        best = r.errors[item].argmin()
        assert r.ranking[item, 0] == best
        torch.testing.assert_close(r.obj[item], r.objs[item, best])
        a, b = r.objs[item], r.obj[item]
        expected = (a.conj() * b).sum(-1).abs() / (a.norm(dim=-1) * b.norm())
        torch.testing.assert_close(r.agreement[item], expected)
    given = torch.stack((obj + 0.1, obj + 0.2), dim=1)
    both = method(operator(obj), operator, init=given, **options)
    for start in range(2):
        one = method(operator(obj), operator, init=given[:, start], **options)
        torch.testing.assert_close(both.objs[:, start], one.obj)


CODED = pr.operators.coded_masks((6, 5), 6, generator=torch.Generator().manual_seed(0))
PLACES = torch.cartesian_prod(torch.arange(0, 4, 1), torch.arange(0, 3, 1))
OPERATORS = {
    "gaussian": pr.operators.Gaussian(pr.operators.gaussian_matrix((6, 5), 300)),
    "coded": pr.operators.CodedDiffraction(CODED),
    "coded padded": pr.operators.CodedDiffraction(CODED, (9, 10), centered=True),
    "fourier": pr.operators.FourierIntensity((11, 9)),
    "fourier onesided": pr.operators.FourierIntensity((11, 9), onesided=True),
    "fresnel": pr.operators.Fresnel((12, 10), fresnel_number=[0.1, 0.05]),
    "ptychography": pr.operators.Ptychography(torch.rand(3, 3) + 0.2, PLACES),
}


@pytest.mark.parametrize("method", FLOWS)
@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_takes_batches_starts_and_masks(name, real, method):
    operator = OPERATORS[name]
    if name == "fourier onesided" and not real:
        pytest.skip("a half spectrum is one of real objects")
    obj = torch.rand(2, 6, 5)
    obj = obj if real else torch.polar(obj, obj)
    intensity = operator(obj)
    mask = torch.rand(intensity.shape) > 0.1
    options = {"constraint": "real" if real else "complex", "object_shape": (6, 5), "n_iter": 20, "tol": 0}
    init = torch.stack((obj, 0.9 * obj + 0.05), dim=1)
    r = method(intensity, operator, mask=mask, init=init, **options)
    torch.testing.assert_close(r.objs[:, 0], obj, atol=1e-4, rtol=1e-4)
    assert r.objs.is_complex() is not real
    assert (r.errors[:, 0] < 1e-4).all()
    alone = method(intensity[1], operator, mask=mask[1], init=init[1, 1], **options)
    torch.testing.assert_close(r.objs[1, 1], alone.obj, atol=1e-5, rtol=1e-4)
    assert (r.errors[:, 1] < r.history[:, 1, 0] + 1e-6).all()


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("name", OPERATORS)
def test_the_refinement_takes_batches_and_masks_of_every_operator(name, real):
    operator = OPERATORS[name]
    if name == "fourier onesided" and not real:
        pytest.skip("a half spectrum is one of real objects")
    obj = 10 * torch.rand(2, 6, 5) + 1
    obj = obj if real else torch.polar(obj, torch.rand(2, 6, 5))
    intensity = operator(obj)
    mask = torch.rand(intensity.shape) > 0.1
    options = {"constraint": "real" if real else "complex", "n_iter": 10, "background": 1e-3}
    start = 1.05 * obj + 0.1
    r = solvers.maximum_likelihood(start, intensity, operator, mask=mask, **options)
    alone = solvers.maximum_likelihood(start[1], intensity[1], operator, mask=mask[1], **options)
    torch.testing.assert_close(r.obj[1], alone.obj, atol=1e-3, rtol=1e-3)
    axes = operator.data_ndim
    off = [(operator(x).sqrt() - intensity.sqrt()) * mask for x in (start, r.obj)]
    assert (off[1].flatten(-axes).norm(dim=-1) < 0.5 * off[0].flatten(-axes).norm(dim=-1)).all()


@pytest.mark.parametrize("method", FLOWS)
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


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("method", ["wirtinger_flow", "truncated_amplitude_flow", "maximum_likelihood"])
def test_gradients_pass_through_the_iterations_and_are_finite_where_it_is_dark(method, real):
    operator, data = pr.operators.FourierIntensity((6, 6)), torch.float64 if real else torch.complex128
    start, constraint = torch.rand(2, 3, 3, dtype=data) + 0.2, "real" if real else "complex"
    measured = operator(start + 0.1)

    def found(intensity, init):
        if method == "maximum_likelihood":
            return solvers.maximum_likelihood(init, intensity, operator, n_iter=2, constraint=constraint)
        return getattr(solvers, method)(intensity, operator, init=init, n_iter=2, constraint=constraint)

    given = measured.requires_grad_(), start.requires_grad_()
    assert torch.autograd.gradcheck(lambda *x: found(*x).obj, given, fast_mode=True)
    dark = measured.detach().index_put((torch.tensor(0), torch.tensor(2), torch.tensor(2)), torch.zeros(()).double())
    nothing = (start * torch.tensor([0.0, 1.0])[:, None, None]).detach()
    for intensity, init in ((dark, start.detach()), (dark, nothing)):
        given = intensity.requires_grad_(), init.requires_grad_()
        r = found(*given)
        total = r.obj.abs().square().sum() + r.errors.sum() + r.prtf.sum() + r.agreement.sum()
        assert all(x.isfinite().all() for x in torch.autograd.grad(total, given))


@pytest.mark.parametrize("shape", [(), (6, 6)])
def test_a_background_has_its_gradient(shape):
    operator, start = pr.operators.FourierIntensity((6, 6)), torch.rand(2, 3, 3, dtype=torch.float64) + 0.2
    measured, dark = operator(start + 0.1), torch.full(shape, 0.01, dtype=torch.float64, requires_grad=True)

    def found(b):
        return solvers.maximum_likelihood(start, measured, operator, n_iter=2, background=b).obj

    assert torch.autograd.gradcheck(found, dark, fast_mode=True)


@pytest.mark.parametrize("masked", [False, True])
def test_a_background_above_all_that_was_measured_is_asked_about(masked):
    """As where the intensities are no counts, but the background is that of counts."""
    operator, obj = pr.operators.FourierIntensity((8, 8)), torch.rand(3, 4, 4)
    intensity = operator(obj) * torch.tensor([1e-3, 1.0, 100.0])[:, None, None]
    mask = torch.rand(8, 8) > 0.3 if masked else None
    asked = (
        "the background is more than all that was measured, in 1 of 3 patterns. Give it in the units of the intensity"
    )
    for dark in (0.01, torch.full((8, 8), 0.01)):
        with pytest.warns(UserWarning, match=asked):
            solvers.maximum_likelihood(obj, intensity, operator, n_iter=1, background=dark, mask=mask)
    solvers.maximum_likelihood(obj, intensity, operator, n_iter=1, background=1e-6, mask=mask)
    few = (torch.arange(64) == 3).float().reshape(8, 8).expand(3, 8, 8)  # of few counts it may be more
    solvers.maximum_likelihood(obj, few, operator, n_iter=1)


@pytest.mark.parametrize("method", ["wirtinger_flow", "truncated_amplitude_flow"])
def test_a_start_without_light_stays_so(method):
    operator = pr.operators.FourierIntensity((8, 8))
    intensity, start = operator(torch.rand(2, 4, 4)), torch.rand(2, 4, 4)
    start[0] = 0
    r = getattr(solvers, method)(intensity, operator, init=start, n_iter=3)
    assert not r.obj[0].any()
    assert r.error[0] == 1
    assert r.error[1] < 1


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
        (
            lambda: solvers.wirtinger_flow(Y, OPERATOR, tol=-1),
            ValueError,
            "tol must be a finite number at least 0, got -1",
        ),
        (lambda: solvers.wirtinger_flow(Y, OPERATOR, starts=0), ValueError, "starts must be an integer of at least 1"),
        (
            lambda: solvers.wirtinger_flow(Y[None], OPERATOR, init=X.expand(3, 4, 12), starts=2),
            ValueError,
            r"init must have the shape \(12,\) or \(1, 12\) or \(1, 'starts', 12\), got \(3, 4, 12\) with starts=2",
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


def test_a_start_that_leaves_all_numbers_takes_nothing_from_the_others() -> None:
    operator = pr.operators.Gaussian(pr.operators.gaussian_matrix((8,), 80))
    obj = torch.randn(8, dtype=torch.complex64)
    starts = torch.stack([1e15 * obj, obj, 1j * obj])
    with pytest.warns(UserWarning, match="1 of 3 starts ended with values that are not finite: they are ranked last"):
        r = solvers.wirtinger_flow(operator(obj), operator, init=starts, n_iter=20)
    assert r.errors.isnan().tolist() == [True, False, False]
    assert r.scores[0] == math.inf
    assert r.ranking[-1] == 0
    torch.testing.assert_close(r.agreement, torch.tensor([0.0, 1.0, 1.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(r.prtf, torch.ones(1), atol=1e-3, rtol=0)


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


# --- the refinement against a slow one -------------------------------------------------------------------------------


def refined_slowly(start, counts, operator, dark, inside, count):
    """Conjugate gradients of Polak and Ribiere, the least likelihood along each line found to all digits."""

    def loss(x):
        model = operator(x) + dark
        return torch.where(inside, model - counts * model.log(), 0.0).sum()

    x, direction, last = start, torch.zeros_like(start), None
    for _ in range(count):
        leaf = x.clone().requires_grad_()
        descent = -torch.autograd.grad(loss(leaf), leaf)[0]
        if last is not None:
            ratio = (descent.conj() * (descent - last)).real.sum() / last.abs().square().sum()
            direction = ratio.clamp(min=0) * direction
        direction, last = descent + direction, descent
        field, along = operator.linear(x), operator.linear(direction)
        t = torch.zeros((), dtype=torch.float64)
        for _ in range(60):
            moved = field + t * along
            model = moved.abs().square() + dark
            rate = 2 * (moved.conj() * along).real
            bend = counts / model.square() * rate.square() + (1 - counts / model) * 2 * along.abs().square()
            slope, curvature = (torch.where(inside, part, 0.0).sum() for part in ((1 - counts / model) * rate, bend))
            t = t - slope / curvature.abs()
        x = x + t * direction
    return x


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("real", [False, True])
def test_the_refinement_is_that_of_conjugate_gradients_with_the_best_step(count, real):
    operator, _ = gaussian(6, 60)
    obj = 20 * torch.randn(6, dtype=torch.float64 if real else torch.complex128)
    dark = 1 + torch.rand(60, dtype=torch.float64)
    inside = torch.rand(60) > 0.2
    counts = torch.poisson(operator(obj) + dark)
    start = obj + torch.randn_like(obj)
    hidden = {"intensity": counts.where(inside, math.nan), "background": dark.where(inside, -1.0)}
    found = solvers.maximum_likelihood(start, operator=operator, n_iter=count, mask=inside, **hidden).obj
    expected = refined_slowly(start, counts, operator, dark, inside, count)
    assert (found - expected).norm() < 1e-4 * (expected - start).norm()


def test_the_refinement_of_a_non_negative_object_stays_so():
    operator, _ = gaussian(6, 60)
    counts = torch.poisson(operator(torch.tensor([5.0, 0, 5, 0, 5, 0], dtype=torch.float64)))
    start = torch.tensor([5.0, 0.1, 5, 0.1, 5, -3], dtype=torch.float64)
    free, clipped = (
        solvers.maximum_likelihood(start, counts, operator, n_iter=1, constraint=constraint).obj
        for constraint in ("real", "nonnegative")
    )
    assert free.min() < 0
    torch.testing.assert_close(clipped, free.clamp(min=0))


@pytest.mark.parametrize(
    ("background", "error", "message"),
    [
        (torch.ones(95), ValueError, r"background must broadcast to the intensity .*, got \(95,\)"),
        (torch.ones(96) + 0j, TypeError, "background must be real"),
        (torch.zeros(96), ValueError, "background must be above 0, got less. Use background.clamp"),
        (torch.full((96,), math.nan), ValueError, "background must"),
    ],
)
def test_a_background_that_no_likelihood_has_is_refused(background, error, message):
    with pytest.raises(error, match=f"^maximum_likelihood: {message}"):
        solvers.maximum_likelihood(X, Y, OPERATOR, background=background)


@pytest.mark.parametrize(
    "method", [solvers.spectral_initialization, solvers.wirtinger_flow, solvers.truncated_amplitude_flow]
)
def test_data_with_too_few_axes_are_refused(method):
    with pytest.raises(ValueError, match=rf"^{method.__name__}: intensity must have at least 2 axes, got "):
        method(torch.rand(8), pr.operators.FourierIntensity((8, 8)), object_shape=(4, 4))


def test_numbers_between_0_and_1_are_allowed_where_those_above_0_are():
    start = solvers.spectral_initialization(Y, OPERATOR, truncation=0.5, n_iter=1)
    bright = 0.25 * Y.mean() >= Y
    expected = solvers.spectral_initialization(Y * bright, OPERATOR, truncation=None, n_iter=1)
    assert distance(start / start.norm(), expected / expected.norm(), 1) < 1e-6
    for method, options in ((solvers.wirtinger_flow, {"mu": 0.5}), (solvers.truncated_amplitude_flow, {"mu": 0.5})):
        assert method(Y, OPERATOR, n_iter=1, **options).obj.isfinite().all()
    for gamma in (0.5, math.inf):
        assert solvers.truncated_amplitude_flow(Y, OPERATOR, n_iter=1, gamma=gamma).obj.isfinite().all()
    assert solvers.maximum_likelihood(X, Y, OPERATOR, n_iter=1, background=0.05).obj.isfinite().all()


def test_a_pixel_at_the_limit_of_the_truncation_is_kept():
    operator = pr.operators.Gaussian(torch.eye(3, dtype=torch.float64))
    intensity = torch.tensor([4.0, 4.1, 1.0], dtype=torch.float64)  # of a modulus of 1 the first is (1 + gamma)^2
    options = {"n_iter": 1, "init": torch.ones(3, dtype=torch.float64), "mu": 0.5, "gamma": 1.0, "constraint": "real"}
    found = solvers.truncated_amplitude_flow(intensity, operator, **options).obj
    torch.testing.assert_close(found, torch.tensor([1.5, 1.0, 1.0], dtype=torch.float64))


def test_the_recipe_says_what_was_asked():
    for dark, name in ((0.05, "0.05"), (torch.full((96,), 0.05), "(96,)")):
        r = solvers.maximum_likelihood(X, Y, OPERATOR, n_iter=2, background=dark)
        assert r.recipe == f"maximum_likelihood(n_iter=2, background={name})"
    assert solvers.wirtinger_flow(Y, OPERATOR, n_iter=2, mu=0.1).recipe == "wirtinger_flow(n_iter=2, mu=0.1)"
    r = solvers.truncated_amplitude_flow(Y, OPERATOR, n_iter=2, mu=0.5, gamma=0.25)
    assert r.recipe == "truncated_amplitude_flow(n_iter=2, mu=0.5, gamma=0.25)"


@pytest.mark.parametrize("method", ["wirtinger_flow", "truncated_amplitude_flow", "spectral_initialization"])
@pytest.mark.parametrize("coded", [False, True])
def test_values_that_cannot_have_been_measured_are_refused(method: str, coded: bool) -> None:
    """What is masked may hold anything."""
    masks = torch.polar(torch.ones(2, 3, 4), 6 * torch.rand(2, 3, 4))
    operator = pr.operators.CodedDiffraction(masks) if coded else pr.operators.FourierIntensity((8, 9))
    obj = torch.rand(2, 3, 4) + 0.2
    solve, options = getattr(solvers, method), {"n_iter": 2, "object_shape": None if coded else (3, 4)}
    measured = operator(obj)
    mask = torch.ones_like(measured, dtype=torch.bool)
    mask[1, ..., 0, 1] = False
    for value, rule in (
        (math.nan, "must be finite where measured"),
        (math.inf, "must be finite where measured"),
        (-1.0, "must be at least 0 where measured"),
    ):
        data = measured.masked_fill(~mask, value)
        with pytest.raises(ValueError, match=f"{method}: intensity {rule}"):
            solve(data, operator, **options)
        solve(data, operator, mask=mask, **options)
    data[0] = 0
    with pytest.raises(ValueError, match=f"{method}: intensity must have a positive measured value in every item"):
        solve(data, operator, mask=mask, **options)


def test_starts_of_a_flow_that_disagree_are_warned_of():
    init = torch.zeros(1, 2, 8, 8)
    init[0, 0, 1, 2], init[0, 1, 3:5, 3] = 1, 0.7
    with pytest.warns(UserWarning, match="1 of 1 reconstructions are not unique"):
        solvers.wirtinger_flow(
            torch.ones(1, 16, 16), pr.operators.FourierIntensity((16, 16)), n_iter=1, starts=2, init=init
        )


@pytest.mark.filterwarnings("ignore:.*above one half")
def test_as_many_pixels_as_a_pattern_has_are_a_size_of_a_support():
    intensity = pr.operators.fourier_intensity(torch.rand(4, 4), (8, 8))
    assert solvers.ErrorReduction(1)(intensity, support_size=64, constraint="real").obj.isfinite().all()
    with pytest.raises(ValueError, match="support_size must be at most the 64 pixels of a pattern, got 65"):
        solvers.ErrorReduction(1)(intensity, support_size=65, constraint="real")


@pytest.mark.filterwarnings("ignore:.*reconstructions")
@pytest.mark.parametrize("power", [-58, -40, 40, 58])
@pytest.mark.parametrize("constraint", ["complex", "real", "nonnegative"])
def test_the_unit_of_the_data_does_not_matter(constraint: str, power: int) -> None:
    operator, _ = gaussian(dtype=torch.complex64)
    data, unit = operator(torch.rand(3, 12)), torch.tensor([1.0, 2.0**power, 2.0 ** (power // 2)])[:, None]
    mask, first = torch.rand(3, 96) > 0.1, torch.rand(3, 12)
    for flow in FLOWS:
        for init in (None, first):
            options = {"n_iter": 20, "mask": mask, "constraint": constraint, "starts": 2}
            r = flow(data, operator, init=init, **options)
            given = None if init is None else init * unit
            found = flow(data * unit.square(), operator, init=given, **options)
            torch.testing.assert_close(found.obj / unit, r.obj)
            torch.testing.assert_close(found.objs / unit[..., None], r.objs)
            for name in ("error", "agreement", "prtf"):
                torch.testing.assert_close(getattr(found, name), getattr(r, name))
    start = solvers.spectral_initialization(data, operator, constraint=constraint)
    found = solvers.spectral_initialization(data * unit.square(), operator, constraint=constraint)
    torch.testing.assert_close(found / unit, start)


@pytest.mark.parametrize("power", [-40, 40])
def test_the_unit_of_the_likelihood_does_not_matter(power: int) -> None:
    operator, _ = gaussian(dtype=torch.complex64)
    data, unit, start = operator(torch.rand(3, 12)), 2.0**power, torch.rand(3, 12)
    r = solvers.maximum_likelihood(start, data, operator, background=0.5, n_iter=5)
    for b in (0.5 * unit**2, torch.tensor(0.5 * unit**2).expand(3, 96)):
        found = solvers.maximum_likelihood(start * unit, data * unit**2, operator, background=b, n_iter=5)
        torch.testing.assert_close(found.obj / unit, r.obj)


def test_starts_of_another_rank_are_refused() -> None:
    operator = pr.operators.FourierIntensity((12, 12))
    intensity = operator(torch.rand(5, 5))
    with pytest.raises(ValueError, match="init must have at least 2 axes"):
        solvers.wirtinger_flow(intensity, operator, init=torch.rand(5))
