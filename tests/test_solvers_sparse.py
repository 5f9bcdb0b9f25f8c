"""Sparse RRR: the largest pixels, the price of pixels, the coarse grid, and what a run promises."""

from __future__ import annotations

import io
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import phaseret as pr
from phaseret import _fft, solvers
from phaseret.projections import MagnitudeConstraint
from phaseret.projections._object import keep_largest
from phaseret.solvers._sparse import _coarse_factor, size_price

pytestmark = pytest.mark.filterwarnings("ignore:.*reconstructions (are not unique|were found by few)")


def digits(count):
    """Small drawings with the few strokes of digits, 20 x 20."""
    generator = torch.Generator().manual_seed(3)
    obj = torch.zeros(count, 20, 20)
    for item in obj:
        for _ in range(4):
            (a, b, c, d) = torch.rand(4, generator=generator) * 18
            for t in torch.linspace(0, 1, 40):
                y, x = int(a + t * (b - a)), int(c + t * (d - c))
                item[y : y + 2, x : x + 2] = 0.3 + 0.7 * torch.rand((), generator=generator)
    return obj


def box(inner, outer):
    support = torch.zeros(outer, dtype=torch.bool)
    support[tuple(slice(0, n) for n in inner)] = True
    return support


def loose(n_iter=70, **options):
    intensity = pr.operators.fourier_intensity(digits(3), (40, 40))
    options = {"support": box((20, 20), (20, 20)), "constraint": "nonnegative", "starts": 5} | options
    return intensity, options, solvers.SparseRRR(n_iter)


# --- values ----------------------------------------------------------------------------------------------------------


def test_the_largest_pixels_are_kept_each_item_its_own_number():
    x = torch.tensor([[[3.0, -5.0], [1.0, 4.0]], [[0.0, 2.0], [-2.0, 1.0]]])
    expected = torch.tensor([[[0.0, -5.0], [0.0, 4.0]], [[0.0, 2.0], [-2.0, 0.0]]])
    assert torch.equal(keep_largest(x, torch.tensor([2.4, 1.6]), 2), expected)
    first = torch.tensor([[0.0, 2.0], [0.0, 0.0]])  # of equal ones
    assert torch.equal(keep_largest(x, torch.tensor([2.4, 1.0]), 2), torch.stack([expected[0], first]))
    assert torch.equal(keep_largest(x, torch.tensor([99.0, 99.0]), 2), x)
    turned = keep_largest(x * 1j, torch.tensor([2.0, 2.0]), 2)
    assert torch.equal(turned, expected * 1j)


def test_the_price_is_that_of_bayes_criterion():
    error, size, data = 0.1, torch.tensor(30.0), torch.tensor(200.0)
    for numbers in (1, 2):
        criterion = 2 * math.log(error) + numbers * 30 * math.log(200) / 200
        assert 2 * math.log(error * float(size_price(size, data, numbers))) == pytest.approx(criterion)


def slow_sparse(intensity, x, sizes, beta, n_iter):
    """Iterations with fixed sizes, then 8 of error reduction: NumPy, full transforms, one start at a time."""
    magnitude = np.sqrt(intensity)

    def fit(y):
        field = np.fft.fft2(y, norm="ortho")
        return np.fft.ifft2(magnitude * np.exp(1j * np.angle(field)), norm="ortho")

    def keep(y, size):
        inner = np.zeros_like(y)
        inner[:6, :5] = y[:6, :5]
        least = np.sort(np.abs(inner).ravel())[-round(size)]
        return np.where(np.abs(inner) >= least, inner, 0)

    found = []
    for start, size in zip(x, sizes, strict=True):
        for _ in range(n_iter):
            p = keep(start, size)
            start = start + beta * (fit(2 * p - start) - p)
        y = keep(fit(start), size)
        for _ in range(8):
            y = keep(fit(y), size)
        found.append(y)
    return np.stack(found)


def test_iterations_equal_a_slow_version():
    obj = torch.randn(6, 5, dtype=torch.complex128)
    intensity = pr.operators.fourier_intensity(obj, (14, 12))
    init = torch.randn(3, 14, 12, dtype=torch.complex128)
    step = solvers.SparseRRR(6, beta=0.6, smallest=0.25)
    r = step_result(step, intensity, support=box((6, 5), (14, 12)), init=init, starts=3)
    expected = slow_sparse(intensity.numpy(), init.numpy(), [30, 15, 7.5], 0.6, 6)
    torch.testing.assert_close(r.objs, torch.from_numpy(expected), atol=1e-9, rtol=1e-7)
    field = np.abs(np.fft.fft2(expected, norm="ortho"))
    error = np.sqrt(((field - intensity.sqrt().numpy()) ** 2).sum((1, 2)) / intensity.sum().item())
    torch.testing.assert_close(r.errors, torch.from_numpy(error))
    data = 11 * 9
    price = np.exp(2 * np.array([30, 15, 7.5]) * np.log(data) / (2 * data))
    torch.testing.assert_close(r.scores, torch.from_numpy(error * price))
    assert r.ranking.tolist() == np.argsort(error * price).tolist()


def step_result(step, intensity, **options):
    return solvers.Recipe(step)(intensity, **options)


@pytest.mark.parametrize(("shape", "new"), [((12, 15), (6, 7)), ((9,), (4,)), ((6, 8, 5), (3, 4, 2))])
@pytest.mark.parametrize("complex_", [False, True])
def test_resampling_keeps_band_limited_objects(shape, new, complex_):
    x = torch.randn(2, *new, dtype=torch.complex128 if complex_ else torch.float64)
    d = len(shape)
    # what the coarse grid cannot pair is not kept
    x = _fft.resample(_fft.resample(x, shape, d), new, d)
    fine = _fft.resample(x, shape, d)
    torch.testing.assert_close(_fft.resample(fine, new, d), x)
    torch.testing.assert_close(fine.mean(tuple(range(1, d + 1))), x.mean(tuple(range(1, d + 1))))
    assert fine.is_complex() == complex_


@pytest.mark.parametrize("complex_", [False, True])
def test_the_coarse_constraint_is_that_of_the_lowest_frequencies(complex_):
    fine = torch.randn(16, 12, dtype=torch.complex128 if complex_ else torch.float64)
    magnitude = _fft.transform(fine, 2).abs() if complex_ else _fft.transform(fine + 0j, 2).abs()
    mask = torch.rand(16, 12) > 0.1
    mask = mask & _fft.mirror(mask, (0, 1))
    constraint = MagnitudeConstraint(magnitude, mask=mask, real=not complex_, norm="backward")
    coarse = constraint.resized((8, 6))
    obj = _fft.resample(fine, (8, 6), 2)
    torch.testing.assert_close(coarse.project(obj), obj)
    assert float(coarse.residual(obj)) < 1e-12
    low = torch.tensor([0, 1, 2, 3, -3, -2, -1])[:, None], torch.tensor([0, 1, 2, -2, -1])
    assert float(coarse.measured) == float(mask[low].sum())
    expected = (magnitude * mask)[low].square().sum()
    error = (_fft.transform(2.0 * obj + 0j, 2).abs() * 4)[
        torch.tensor([0, 1, 2, 3, -3, -2, -1])[:, None], torch.tensor([0, 1, 2, -2, -1])
    ]
    slow = (((error - magnitude[low]) * mask[low]).square().sum() / expected).sqrt()
    torch.testing.assert_close(coarse.residual(2.0 * obj), slow)


# --- what it is for --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("support", [box((30, 30), (48, 48)), None], ids=["loose box", "none"])
def test_objects_are_found_exactly_without_a_tight_support(support):
    obj = digits(2)
    intensity = pr.operators.fourier_intensity(obj, (48, 48))
    r = solvers.reconstruct(
        intensity, schedule="sparse:1050,er:30", support=support, constraint="nonnegative", starts=8
    )
    truth = torch.nn.functional.pad(obj, (0, 28, 0, 28))
    assert float(pr.symmetry.align(r.obj, truth).error.max()) < 1e-6
    found, size = r.support.sum((-2, -1)), (obj > 0).sum((-2, -1))
    assert ((size <= found) & (found <= 1.5 * size)).all()
    assert float(r.error.max()) < 1e-3


def test_a_large_box_is_solved_on_the_coarse_grid_first():
    obj = torch.nn.functional.interpolate(digits(1)[None], scale_factor=2, mode="bilinear")[0, 0]
    intensity = pr.operators.fourier_intensity(obj, (96, 96))
    options = {"support": box((48, 48), (96, 96)), "constraint": "nonnegative", "starts": 6}
    r = solvers.Recipe(solvers.SparseRRR(1400, coarse=2), "er:30")(intensity, **options)
    truth = torch.nn.functional.pad(obj, (0, 56, 0, 56))
    aligned = pr.symmetry.align(r.obj, truth).aligned
    assert float(torch.corrcoef(torch.stack([aligned.flatten(), truth.flatten()]))[0, 1]) > 0.95
    assert r.obj.shape == (96, 96)


@pytest.mark.parametrize(
    ("shape", "known", "factor"),
    [((127, 300), True, 1), ((128, 300), True, 2), ((300, 256), True, 4), ((128,), False, 1), ((256, 256), False, 2)],
)
def test_the_coarse_grid_leaves_64_pixels_of_the_shorter_side(shape, known, factor):
    full = SimpleNamespace(problem=SimpleNamespace(box_shape=shape))
    assert _coarse_factor(full, known) == factor


# --- properties of the run -------------------------------------------------------------------------------------------


def same(a, b):
    torch.testing.assert_close(a.objs, b.objs, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(a.scores, b.scores, atol=1e-4, rtol=1e-3)


def test_a_batch_gives_what_its_items_give_one_by_one(device):
    intensity, options, step = loose()
    supports = torch.stack([box((20, 20), (20, 20)), box((20, 17), (20, 20)), torch.rand(20, 20) > 0.2])
    options["support"] = supports.to(device)
    together = step_result(step, intensity.to(device), **options)
    for item in range(3):
        alone = step_result(step, intensity[item].to(device), **options | {"support": supports[item].to(device)})
        torch.testing.assert_close(alone.objs, together.objs[item], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(alone.scores, together.scores[item], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_results_do_not_depend_on_the_chunk(chunk):
    intensity, options, step = loose(140)
    same(step_result(step, intensity, **options), step_result(step, intensity, chunk=chunk, **options))


def test_the_seed_decides():
    intensity, options, step = loose()
    first, again, other = (step_result(step, intensity, seed=seed, **options) for seed in (5, 5, 60))
    assert torch.equal(first.objs, again.objs)
    assert not torch.allclose(first.objs, other.objs)


@pytest.mark.parametrize("coarse", [1, 2])
def test_a_resumed_run_equals_an_uninterrupted_one(coarse):
    intensity, options, _ = loose()
    recipe = solvers.Recipe(solvers.SparseRRR(420, coarse=coarse), "er:10")
    saved = []

    def save(state):
        buffer = io.BytesIO()
        torch.save(state, buffer)
        saved.append(buffer)

    whole = recipe(intensity, checkpoint=save, checkpoint_every=50, **options)
    assert len(saved) >= 8
    for buffer in saved:
        buffer.seek(0)
        resumed = recipe(intensity, resume=torch.load(buffer, weights_only=True), **options)
        assert torch.equal(resumed.objs, whole.objs)
        assert torch.equal(resumed.scores, whole.scores)
        assert torch.equal(resumed.history, whole.history)


@pytest.mark.parametrize("stop_at", [1, 3, 8])
def test_a_callback_can_stop_it(stop_at):
    intensity, options, _ = loose()
    seen = []

    def callback(run):
        seen.append(run.estimate.shape)
        return len(seen) == stop_at

    r = step_result(solvers.SparseRRR(420), intensity, callback=callback, **options)
    assert seen == [(3, 5, 20, 20)] * stop_at
    assert len(r.checked) == stop_at
    assert torch.isfinite(r.objs).all()


@pytest.mark.parametrize("shape", [(16,), (6, 5, 4)])
@pytest.mark.parametrize("constraint", ["complex", "real", "nonnegative"])
def test_any_number_of_axes_and_one_start(shape, constraint):
    obj = torch.rand(shape) + (1j * torch.rand(shape) if constraint == "complex" else 0)
    intensity = pr.operators.fourier_intensity(obj, tuple(2 * n for n in shape))
    options = {"support": torch.ones(shape) > 0, "constraint": constraint, "ndim": len(shape), "starts": 1}
    r = step_result(solvers.SparseRRR(140, coarse=2), intensity, **options)
    assert r.obj.shape == shape
    assert float(r.error) < 0.9
    assert torch.equal(r.support, r.obj != 0)


def test_support_size_is_the_largest_size():
    intensity, options, step = loose(support_size=25)
    r = step_result(step, intensity, **options)
    assert int((r.objs != 0).flatten(-2).sum(-1).max()) <= 25


@pytest.mark.parametrize("coarse", [1, 2])
def test_every_start_keeps_to_its_own_support(coarse):
    intensity, options, _ = loose()
    before = solvers.Recipe("hio:20,shrinkwrap")
    supports = []

    def callback(run):
        supports.append(run.support)

    recipe = solvers.Recipe(before, solvers.SparseRRR(105, coarse=coarse), "hio:5")
    r = recipe(intensity, callback=callback, **options)
    given, found = supports[-2], supports[-1]
    assert given.shape == found.shape == (3, 5, 20, 20)
    assert not (found & ~given).any()
    assert (found.flatten(2).sum(-1) < given.flatten(2).sum(-1)).any()
    assert not ((r.objs != 0) & ~given).any()


def test_unmeasured_values_do_not_matter():
    intensity, options, step = loose()
    mask = torch.rand(40, 40) > 0.1
    a, b = (step_result(step, torch.where(mask, intensity, v), mask=mask, **options) for v in (0.0, 7.0))
    assert torch.equal(a.objs, b.objs)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_iter": 0}, "SparseRRR: n_iter must be .*, got 0"),
        ({"beta": 0}, "SparseRRR: beta must be .*above 0.*, got 0"),
        ({"beta": 2.5}, "SparseRRR: beta must be .*at most 2.*, got 2.5"),
        ({"smallest": 0}, "SparseRRR: smallest must be .*above 0.*, got 0"),
        ({"smallest": 2}, "SparseRRR: smallest must be .*at most 1.*, got 2"),
        ({"coarse": 0}, "SparseRRR: coarse must be .*, got 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        solvers.SparseRRR(**options)


def test_a_gradient_is_refused():
    intensity, options, step = loose()
    with pytest.raises(ValueError, match="Recipe: intensity and init must not require a gradient"):
        step_result(step, intensity.requires_grad_(), **options)


# --- modules ---------------------------------------------------------------------------------------------------------


def test_the_word_and_the_repr():
    recipe = solvers.Recipe("sparse:700,er:30")
    assert recipe.n_iter == 730
    assert "SparseRRR(n_iter=700, beta=0.7, smallest=0.0625)" in repr(recipe)
