"""Projections: the nearest point of each set, found independently in NumPy or by search."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

import phaseret as pr
from phaseret import _memory
from phaseret.projections import (
    MagnitudeConstraint,
    ObjectConstraint,
    project_magnitude,
    project_object,
)
from phaseret.projections._object import CONSTRAINTS, hio_update, keep_largest, raar_update

# --- values ----------------------------------------------------------------------------------------------------------

SHAPES = [(8,), (7,), (6, 8), (5, 7), (4, 5, 6), (3, 4, 5)]


def slow_project_magnitude(x, magnitude, mask, norm):
    axes = tuple(range(-magnitude.ndim, 0))
    field = np.fft.fftn(x, axes=axes, norm=norm)
    field = np.where(mask, magnitude * np.exp(1j * np.angle(field)), field)
    return np.fft.ifftn(field, axes=axes, norm=norm)


@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
@pytest.mark.parametrize("shape", SHAPES)
def test_complex_projection_equals_the_slow_one(shape, norm, device):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *shape)) + 1j * rng.standard_normal((2, *shape))
    magnitude, mask = rng.random(shape), rng.random(shape) < 0.8
    y = project_magnitude(
        torch.from_numpy(x).to(device),
        torch.from_numpy(magnitude).to(device),
        mask=torch.from_numpy(mask).to(device),
        norm=norm,
        ndim=len(shape),
    )
    np.testing.assert_allclose(y.cpu().numpy(), slow_project_magnitude(x, magnitude, mask, norm), atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_real_projection_equals_the_full_one_followed_by_the_real_part(shape, device):
    """For data that no real object explains, everywhere measured."""
    rng = np.random.default_rng(0)
    x, magnitude = rng.standard_normal((2, *shape)), rng.random(shape)
    y = project_magnitude(torch.from_numpy(x).to(device), torch.from_numpy(magnitude).to(device), ndim=len(shape))
    expected = slow_project_magnitude(x, magnitude, np.ones(shape, dtype=bool), "ortho").real
    np.testing.assert_allclose(y.cpu().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_fast_projection_equals_the_differentiable_one(shape, real, monkeypatch):
    monkeypatch.setattr(_memory, "pixels_at_a_time", lambda device: 14)
    mask = torch.rand(shape) > 0.2
    constraint = MagnitudeConstraint(torch.rand(2, 1, *shape).double(), mask=mask, real=real, ndim=len(shape))
    x = torch.randn(2, 3, *shape, dtype=torch.float64 if real else torch.complex128)
    torch.testing.assert_close(constraint.project_fast(x), constraint.project(x))
    item = constraint.index((slice(1, 2),))
    torch.testing.assert_close(item.project(x[1:]), constraint.project(x)[1:])
    torch.testing.assert_close(item.residual(x[1:]), constraint.residual(x)[1:])


@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_the_residual_is_the_relative_error_over_the_measured_pixels(shape, real, masked, norm):
    """Also where the two sides of a frequency pair differ, which no real object explains."""
    x = torch.randn(2, *shape, dtype=torch.float64 if real else torch.complex128, requires_grad=True)
    magnitude = torch.rand(2, *shape, dtype=torch.float64)
    mask = torch.rand(2, *shape) > 0.2 if masked else None
    known = MagnitudeConstraint(magnitude, mask=mask, real=real, norm=norm, ndim=len(shape))
    axes = tuple(range(1, 1 + len(shape)))
    weight = torch.ones_like(magnitude) if mask is None else mask.double()
    off = (torch.fft.fftn(x, dim=axes, norm=norm).abs() - magnitude).square() * weight
    expected = (off.sum(axes) / (magnitude.square() * weight).sum(axes)).sqrt()
    torch.testing.assert_close(known.residual(x), expected)
    torch.testing.assert_close(known.residual(x.detach()), expected.detach())


def test_zero_magnitude_gets_phase_zero():
    y = project_magnitude(torch.zeros(4, 4), torch.ones(4, 4))
    expected = torch.zeros(4, 4)
    expected[0, 0] = 4.0
    torch.testing.assert_close(y, expected)


def test_one_unmeasured_side_of_a_pair_follows_the_other():
    magnitude, mask = torch.ones(5, 6), torch.ones(5, 6) > 0
    mask[1, 2] = False
    x = torch.randn(5, 6)
    y = project_magnitude(x, magnitude, mask=mask)
    torch.testing.assert_close(y, project_magnitude(x, magnitude))
    mask[-1, -2] = False
    field = torch.fft.fft2(project_magnitude(x, magnitude, mask=mask))
    torch.testing.assert_close(field[1, 2], torch.fft.fft2(x)[1, 2])


def test_object_projections_in_closed_form():
    x = torch.tensor([[3.0, -1.0, 0.5], [2.0, 1.0, -4.0]])
    support = torch.tensor([[True, True, False], [True, True, True]])
    cases = [
        ({"support": support}, [[3.0, -1, 0], [2, 1, -4]]),
        ({"support": support, "constraint": "nonnegative"}, [[3.0, 0, 0], [2, 1, 0]]),
        ({"constraint": "real", "bounds": (-0.5, 2.5)}, [[2.5, -0.5, 0.5], [2, 1, -0.5]]),
        ({"constraint": "real", "support_size": 2}, [[3.0, 0, 0], [0, 0, -4]]),
        ({"constraint": "nonnegative", "support_size": 2}, [[3.0, 0, 0], [2, 0, 0]]),
        ({"support": support, "constraint": "nonnegative", "bounds": (0.2, 2)}, [[2.0, 0.2, 0], [2, 1, 0.2]]),
    ]
    for options, expected in cases:
        torch.testing.assert_close(project_object(x, **options), torch.tensor(expected))
    z = torch.tensor([1.0 + 1j, -2.0 + 0.5j])
    torch.testing.assert_close(project_object(z, constraint="nonnegative", ndim=1), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(project_object(z, bounds=(0, 1), ndim=1), z / z.abs())
    half_plane = project_object(torch.tensor([1.0 + 1j, -2.0 - 0.5j, 3.0 - 1j]), phase_range=(0, math.pi), ndim=1)
    torch.testing.assert_close(half_plane, torch.tensor([1.0 + 1j, -2.0 + 0j, 3.0 + 0j]))
    turned = project_object(z, phase_range=(0, math.pi / 4), ndim=1)
    torch.testing.assert_close(turned, torch.tensor([1.0 + 1j, 0j]))


def test_complex_pixels_without_a_phase_get_phase_zero_and_those_within_the_bounds_stay_bit_for_bit():
    z = torch.tensor([0j, 0.5j, -1, 3j, 0.4 - 0.6j, 0.1 + 0.2j])
    lifted = project_object(z, bounds=(0.5, 1), ndim=1)
    torch.testing.assert_close(lifted[[0, 3, 5]], torch.tensor([0.5, 1j, (0.1 + 0.2j) / math.hypot(0.2, 0.4)]))
    assert torch.equal(lifted[[1, 2, 4]], z[[1, 2, 4]])
    assert torch.equal(project_object(z[:1], bounds=(0, 1), ndim=1), z[:1])
    known = ObjectConstraint(bounds=(0.5, 1), ndim=1)  # what agrees with them is chosen
    assert known.choose(z, z.new_ones(6), z.new_zeros(6)).real.tolist() == [0, 1, 1, 0, 1, 0]


@given(st.floats(-3, 3), st.floats(0, math.pi), st.floats(-math.pi, math.pi), st.floats(0.1, 3))
def test_the_phase_projection_is_the_nearest_point_of_the_cone(low, width, angle, modulus):
    z = torch.polar(torch.tensor([modulus]).double(), torch.tensor([angle]).double())
    y = project_object(z, phase_range=(low, low + width), ndim=1)
    phases = torch.linspace(low, low + width, 401, dtype=torch.float64)
    lengths = (z.abs() * torch.cos(z.angle() - phases)).clamp(min=0)
    searched = (torch.polar(lengths, phases) - z).abs().min()
    assert (y - z).abs().item() <= searched.item() + 1e-9
    torch.testing.assert_close(project_object(y, phase_range=(low, low + width), ndim=1), y, atol=1e-6, rtol=0)


@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_the_pixels_kept_give_the_nearest_object_of_that_size(seed, bounded, with_support):
    """All choices of pixels are tried; values of both signs, which the bounds clip to one."""
    g = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(2, 3, generator=g, dtype=torch.float64)
    support = torch.rand(2, 3, generator=g) > 0.2 if with_support else torch.ones(2, 3) > 0
    size = min(2, int(support.sum()))
    bounds = (-0.5, 1.0) if bounded else None
    value = x.clamp(*bounds) if bounds else x
    candidates = []
    for kept in itertools.combinations(range(6), size):
        y = torch.zeros(6, dtype=torch.float64)
        y[list(kept)] = (value * support).flatten()[list(kept)]
        candidates.append((float((y - x.flatten()).norm()), y.reshape(2, 3)))
    found = project_object(x, support=support, support_size=size, constraint="real", bounds=bounds)
    assert int((found != 0).sum()) <= size
    assert float((found - x).norm()) == pytest.approx(min(candidates, key=lambda pair: pair[0])[0])


@given(st.integers(0, 10_000))
def test_the_largest_complex_pixels_are_kept_by_what_their_bounds_leave(seed):
    g = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(5, generator=g, dtype=torch.complex128)
    value = z / z.abs() * z.abs().clamp(0.2, 1)
    off = [float((torch.where(torch.arange(5) == i, value, 0) - z).norm()) for i in range(5)]
    found = project_object(z, support_size=1, bounds=(0.2, 1), ndim=1)
    assert float((found - z).norm()) == pytest.approx(min(off))


def test_what_is_not_measured_or_not_allowed_does_not_matter():
    x, magnitude = torch.randn(3, 4, 6, dtype=torch.complex128), torch.rand(3, 4, 6, dtype=torch.float64)
    mask = torch.rand(4, 6) > 0.3
    plain = project_magnitude(x, magnitude, mask=mask)
    magnitude = torch.where(mask, magnitude, math.nan).requires_grad_()
    y = project_magnitude(x, magnitude, mask=mask)
    torch.testing.assert_close(y, plain)
    (gradient,) = torch.autograd.grad(y.abs().square().sum(), magnitude)
    assert (gradient[..., ~mask] == 0).all()
    assert gradient.isfinite().all()
    for fill in (math.nan, math.inf):
        given = torch.where(mask, x, fill).requires_grad_()
        y = project_object(given, support=mask, bounds=(0.1, 0.7))
        torch.testing.assert_close(y, project_object(x, support=mask, bounds=(0.1, 0.7)))
        (gradient,) = torch.autograd.grad(y.abs().square().sum(), given)
        assert (gradient[..., ~mask] == 0).all()


@pytest.mark.parametrize("leading", [(), (1,), (3,)])
def test_masks_supports_and_magnitudes_broadcast_to_the_objects(leading):
    x = torch.randn(3, 4, 6, dtype=torch.float64)
    magnitude, mask, support = torch.rand(4, 6).double(), torch.rand(4, 6) > 0.2, torch.rand(4, 6) > 0.2
    each = [project_magnitude(item, magnitude, mask=mask) for item in x]
    got = project_magnitude(x, magnitude.expand(*leading, 4, 6), mask=mask.expand(*leading, 4, 6))
    torch.testing.assert_close(got, torch.stack(each))
    torch.testing.assert_close(project_object(x, support=support.expand(*leading, 4, 6)), x * support)
    torch.testing.assert_close(project_object(x, support=support[:1].expand(*leading, 1, 6)), x * support[:1])


@pytest.mark.parametrize("scale", [1e-25, 1e-15, 1e15, 1e20])
def test_the_magnitude_projection_scales_with_its_arguments_in_any_unit(scale):
    x, magnitude = torch.rand(8, 8, dtype=torch.float64), torch.rand(8, 8, dtype=torch.float64)
    y = project_magnitude((scale * x).float(), (scale * magnitude).float()).double() / scale
    torch.testing.assert_close(y, project_magnitude(x, magnitude), atol=1e-4, rtol=0)


def test_updates_in_closed_form():
    x, p = torch.tensor([1.0, 2.0, -1.0, 4.0]), torch.tensor([0.5, -1.0, -2.0, 3.0])
    support = torch.tensor([True, True, True, False])
    known = ObjectConstraint(support=support, constraint="nonnegative", ndim=1)
    torch.testing.assert_close(hio_update(x, p, known, 0.5), torch.tensor([0.5, 2.5, 0.0, 2.5]))
    # P_S(2 p - x) = (0, 0, 0, 0): the update is beta x + (1 - 2 beta) p
    torch.testing.assert_close(raar_update(x, p, known, 0.75), torch.tensor([0.5, 2.0, 0.25, 1.5]))


# --- properties ------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=12), st.integers(1, 6), st.sampled_from(CONSTRAINTS))
def test_of_equal_pixels_no_more_are_kept_than_asked_for(values, size, constraint):
    x = torch.tensor(values, dtype=torch.float64)
    y = project_object(x, support_size=size, constraint=constraint, ndim=1)
    allowed = x.clamp(min=0) if constraint == "nonnegative" else x
    assert (y != 0).sum() <= size
    assert ((y == 0) | (y == allowed)).all()
    assert y.square().sum() == allowed.square().sort(descending=True).values[:size].sum()
    assert torch.equal(y[None], keep_largest(allowed[None], torch.tensor([size]), 1))
    within = project_object(x, support_size=size, constraint="real", bounds=(-1, 1), ndim=1)
    assert (within != 0).sum() <= size


@given(st.integers(0, 10_000), st.booleans())
def test_projections_are_idempotent_and_batched(seed, real):
    g = torch.Generator().manual_seed(seed)
    dtype = torch.float64 if real else torch.complex128
    x = torch.randn(3, 6, 5, dtype=dtype, generator=g)
    magnitude = torch.rand(3, 6, 5, dtype=torch.float64, generator=g)
    y = project_magnitude(x, magnitude)
    torch.testing.assert_close(project_magnitude(y, magnitude), y)
    torch.testing.assert_close(project_magnitude(x[1], magnitude[1]), y[1])
    options = {"support_size": 7, "constraint": "real" if real else "complex"}
    s = project_object(x, **options)
    torch.testing.assert_close(project_object(s, **options), s)
    torch.testing.assert_close(project_object(x[2], **options), s[2])


def test_choose_takes_the_pixels_that_agree():
    x = torch.tensor([[1.0, -1.0], [2.0, 0.5]])
    inside, outside = torch.full((2, 2), 7.0), torch.full((2, 2), -7.0)
    support = torch.tensor([[True, True], [False, True]])
    known = ObjectConstraint(support=support, constraint="nonnegative")
    assert known.choose(x, inside, outside).tolist() == [[7, -7], [-7, 7]]
    known = ObjectConstraint(support_size=1, constraint="nonnegative", bounds=(0.0, 1.5))
    assert known.choose(x, inside, outside).tolist() == [[-7, -7], [-7, -7]]
    known = ObjectConstraint(constraint="real")
    assert known.choose(x, inside, outside) is inside
    known = ObjectConstraint(support=support)
    assert known.choose(x + 0j, inside + 0j, outside + 0j).real.tolist() == [[7, 7], [-7, 7]]


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradients_of_the_magnitude_projection(dtype):
    x = torch.randn(4, 3, dtype=dtype, requires_grad=True)
    magnitude = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(4, 3) > 0.2
    assert gradcheck(lambda x, m: project_magnitude(x, m, mask=mask), (x, magnitude), fast_mode=True)
    assert gradgradcheck(lambda x, m: project_magnitude(x, m, mask=mask), (x, magnitude), fast_mode=True)


def test_gradient_at_a_zero_of_the_spectrum_is_zero():
    x = torch.ones(4, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(project_magnitude(x, torch.ones(4, 4).double()).square().sum(), x)
    assert gradient.isfinite().all()
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_bounds_for_each_pixel_are_those_of_its_own(dtype):
    x = torch.randn(3, 4, 5, dtype=dtype)
    low, high = torch.sort(torch.rand(2, 4, 5, dtype=torch.float64), dim=0).values
    options = {"constraint": "real" if dtype == torch.float64 else "complex"}
    found = project_object(x, bounds=(low, high), **options)
    for k in range(20):
        one = project_object(
            x.flatten(1)[:, k], bounds=(low.flatten()[k].item(), high.flatten()[k].item()), ndim=1, **options
        )
        torch.testing.assert_close(found.flatten(1)[:, k], one)
    module = pr.projections.ProjectObject(bounds=(low, 1.0), **options)
    torch.testing.assert_close(module(x), project_object(x, bounds=(low, torch.tensor(1.0)), **options))
    assert torch.equal(module.bounds[0], low)
    assert copy.deepcopy(module).float().bounds.dtype == torch.float32
    torch.testing.assert_close(project_object(x, bounds=(high, high), **options).abs(), high.expand_as(x))


@pytest.mark.parametrize("constraint", ["complex", "real"])
def test_bounds_out_of_order_give_nan_and_no_call_looks_at_them(constraint):
    x, low = torch.randn(3, 4), torch.tensor([0.2, 0.8, -0.5, torch.nan])
    x = x if constraint == "real" else x + 0j

    def project(x):
        return project_object(x, bounds=(low, 0.5), constraint=constraint, ndim=1)

    wrong = torch.tensor([False, True, constraint == "complex", True])
    for found in (project(x), torch.func.vmap(project)(x), torch.compile(project, backend="eager", fullgraph=True)(x)):
        assert torch.equal(found.isnan(), wrong.expand(3, 4))


def test_the_gradient_of_pixels_within_complex_bounds_is_one_zeros_included():
    z = torch.tensor([[0, 0.3 + 0.4j], [2j, 0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(project_object(z, bounds=(0, 1)).real.sum(), z)
    torch.testing.assert_close(gradient[[0, 0, 1], [0, 1, 1]], torch.ones(3, dtype=torch.complex64))
    assert gradient.isfinite().all()


def test_gradients_of_the_object_projection():
    x = torch.randn(5, 5, dtype=torch.float64, requires_grad=True)
    support = torch.rand(5, 5) > 0.3
    options = {"support": support, "constraint": "nonnegative", "bounds": (0.0, 0.7)}
    assert gradcheck(lambda x: project_object(x, **options), x, fast_mode=True)
    z = torch.randn(5, 5, dtype=torch.complex128, requires_grad=True)
    assert gradcheck(
        lambda z: project_object(z, phase_range=(-1.0, 1.0), bounds=(0.2, 0.8), support_size=9), z, fast_mode=True
    )


# --- errors ----------------------------------------------------------------------------------------------------------

X = torch.rand(2, 4, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: project_magnitude(X.int(), X), TypeError, "project_magnitude: obj must be real or complex floating"),
        (lambda: project_magnitude(X, X + 0j), TypeError, "project_magnitude: magnitude must be real floating"),
        (lambda: project_magnitude(X, X[..., :3]), ValueError, r"magnitude must broadcast to obj \(2, 4, 4\)"),
        (lambda: project_magnitude(X, X, mask=X), TypeError, "project_magnitude: mask must be a boolean tensor"),
        (lambda: project_magnitude(X, X, mask=X[..., :3] > 0), ValueError, "mask must broadcast to obj"),
        (lambda: project_magnitude(X, X, norm="unit"), ValueError, "project_magnitude: norm must be one of 'ortho'"),
        (
            lambda: project_magnitude(X[None], X[None], ndim=4),
            ValueError,
            "project_magnitude: ndim must be 1, 2 or 3, got 4",
        ),
        (lambda: project_object(X[None], ndim=4), ValueError, "project_object: ndim must be 1, 2 or 3, got 4"),
        (
            lambda: pr.projections.ProjectMagnitude(norm="x"),
            ValueError,
            "ProjectMagnitude: norm must be one of 'ortho'",
        ),
        (lambda: pr.projections.ProjectMagnitude(mask=X), TypeError, "ProjectMagnitude: mask must be a boolean tensor"),
        (
            lambda: pr.projections.ProjectMagnitude(ndim=4),
            ValueError,
            "ProjectMagnitude: ndim must be 1, 2 or 3, got 4",
        ),
        (lambda: pr.projections.ProjectObject(constraint="x"), ValueError, "ProjectObject: constraint must be one of"),
        (lambda: pr.projections.ProjectObject(support=X), TypeError, "ProjectObject: support must be a boolean tensor"),
        (lambda: ObjectConstraint(bounds=(1, 0)), ValueError, "ObjectConstraint: bounds must be in order, got"),
        (lambda: project_object(X, constraint="positive"), ValueError, "project_object: constraint must be one of"),
        (lambda: project_object(X, support=X), TypeError, "project_object: support must be a boolean tensor"),
        (lambda: project_object(X, support=X[..., :3] > 0), ValueError, "support must broadcast to obj"),
        (lambda: project_object(X, support_size=0), ValueError, "support_size must be an integer of at least 1, got 0"),
        (
            lambda: project_object(X, bounds=1.0),
            TypeError,
            r"project_object: bounds must be a pair \(low, high\) of numbers or",
        ),
        (lambda: project_object(X, bounds={0.0, 1.0}), TypeError, r"bounds must be a pair \(low, high\) of numbers or"),
        (lambda: project_object(X, bounds=(0, X.numpy())), TypeError, r"bounds\[1\] must be a torch.Tensor, got ndarr"),
        (lambda: project_object(X, bounds=(X, X, X)), TypeError, r"bounds must be a pair \(low, high\), got 3"),
        (
            lambda: pr.projections.ProjectObject(bounds=(X, X - 1), constraint="real"),
            ValueError,
            "ProjectObject: bounds must be numbers in order at every pixel, got some",
        ),
        (lambda: ObjectConstraint(bounds=(X * torch.nan, 1)), ValueError, "bounds must be numbers in order"),
        (lambda: ObjectConstraint(bounds=(X - 1e3, 1e3)), ValueError, "and non-negative for constraint='complex', got"),
        (lambda: project_object(X, bounds=(X, X[:, :1, :2])), ValueError, "bounds must broadcast to one shape, got"),
        (lambda: project_object(X, bounds=(torch.zeros(7, 7), 1)), ValueError, "bounds must broadcast to obj"),
        (lambda: project_object(X, bounds=(1, 0)), ValueError, r"bounds must be in order, got \(1, 0\)"),
        (lambda: project_object(X, bounds=(-1, 1)), ValueError, "bounds must be non-negative for constraint='complex'"),
        (lambda: project_object(X, phase_range=(0, 4)), ValueError, "phase_range must span at most pi"),
        (
            lambda: project_object(X, phase_range=(0, 1), constraint="real"),
            ValueError,
            "phase_range must go with constraint='complex', got 'real'",
        ),
    ],
)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- modules ---------------------------------------------------------------------------------------------------------


def test_modules_are_their_functions():
    mask, support, magnitude = torch.rand(4, 4) > 0.2, torch.rand(4, 4) > 0.2, X + 1
    module = pr.projections.ProjectMagnitude(mask=mask, norm="backward")
    expected = project_magnitude(X, magnitude, mask=mask, norm="backward")
    torch.testing.assert_close(module(X, magnitude), expected)
    assert "mask" in module.state_dict()
    assert repr(module) == "ProjectMagnitude(mask=tensor of shape (4, 4), norm='backward', ndim=2)"
    other = torch.rand(2, 4, 4) > 0.3
    expected = project_magnitude(X, magnitude, mask=mask & other, norm="backward")
    torch.testing.assert_close(module(X, magnitude, mask=other), expected)
    alone = pr.projections.ProjectMagnitude()
    torch.testing.assert_close(alone(X, magnitude, mask=other), project_magnitude(X, magnitude, mask=other))
    with pytest.raises(ValueError, match=r"ProjectMagnitude: mask must broadcast to obj \(2, 4, 4\), got \(3, 4\)"):
        module(X, magnitude, mask=other[0, :3])
    module = pr.projections.ProjectObject(support=support, constraint="nonnegative", support_size=3)
    torch.testing.assert_close(
        module(X - 0.5), project_object(X - 0.5, support=support, constraint="nonnegative", support_size=3)
    )
    assert "support_size=3" in repr(module)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_pixels_kept_are_the_nearest_when_each_has_bounds_of_its_own(dtype):
    x = 2 * torch.randn(150, 5, dtype=dtype)
    low, high = torch.sort(2 * torch.rand(2, 150, 5, dtype=torch.float64), dim=0).values
    value = x / x.abs() * x.abs().clamp(low, high) if dtype.is_complex else x.clamp(low, high)
    pairs = torch.tensor([[i in pair for i in range(5)] for pair in itertools.combinations(range(5), 2)])
    least = (pairs * value[:, None] - x[:, None]).norm(dim=-1).amin(1)
    options = {"bounds": (low, high), "constraint": "complex" if dtype.is_complex else "real"}
    found = project_object(x, support_size=2, ndim=1, **options)
    assert ((found != 0).sum(1) == 2).all()
    torch.testing.assert_close((found - x).norm(dim=-1), least)


@pytest.mark.parametrize("items", [1, 3, 4, 5])
def test_spectra_in_slabs_are_those_in_one_piece_whatever_the_number_of_items(items, monkeypatch):
    x, magnitude = torch.randn(items, 4, 5, dtype=torch.complex128), torch.rand(items, 4, 5, dtype=torch.float64)
    whole = MagnitudeConstraint(magnitude)
    monkeypatch.setattr(_memory, "pixels_at_a_time", lambda device: 8)  # slabs of four
    parts = MagnitudeConstraint(magnitude)
    torch.testing.assert_close(parts.project_fast(x.clone()), whole.project(x))
    torch.testing.assert_close(parts.residual(x), whole.residual(x))
