"""Sparse RRR: the largest pixels, the price of pixels, the coarse grid, and what a run promises."""

from __future__ import annotations

import io
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import phaseret as pr
from phaseret import _fft, _memory, solvers
from phaseret.projections import MagnitudeConstraint
from phaseret.projections._object import keep_largest
from phaseret.solvers import _sparse
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


def test_the_price_is_that_of_akaikes_criterion_and_a_power_of_it_that_of_bayes():
    error, size, data = 0.1, torch.tensor(30.0), torch.tensor(200.0)
    for numbers in (1, 2):
        price = float(size_price(size, data, numbers))
        assert 2 * math.log(error * price) == pytest.approx(2 * math.log(error) + 2 * numbers * 30 / 200)
        bayes = 2 * math.log(error) + numbers * 30 * math.log(200) / 200
        assert 2 * math.log(error * price ** (math.log(200) / 2)) == pytest.approx(bayes)


class Slow:
    """The whole search: NumPy, full transforms, one start at a time, the object in the corner of the grid."""

    def __init__(self, intensity, inside, beta, every, real):
        self.intensity, self.inside, self.beta, self.every, self.real = intensity, inside, beta, every, real
        self.area = math.prod(inside)
        self.data = min(intensity.size, math.prod(2 * n - 1 for n in inside)) / (2 if real else 1)

    def fit(self, y):
        field = np.fft.fft2(y, norm="ortho")
        found = np.fft.ifft2(np.sqrt(self.intensity) * np.exp(1j * np.angle(field)), norm="ortho")
        return found.real if self.real else found

    def keep(self, y, size):
        inner = np.zeros_like(y)
        place = tuple(slice(0, n) for n in self.inside)
        inner[place] = np.maximum(y.real[place], 0) if self.real else y[place]
        least = np.sort(np.abs(inner).ravel())[-round(size)]
        return np.where(np.abs(inner) >= least, inner, 0)

    def error(self, y):
        field = np.abs(np.fft.fft2(y, norm="ortho"))
        return np.sqrt(((field - np.sqrt(self.intensity)) ** 2).sum() / self.intensity.sum())

    def price(self, size, per_number=2):
        """Of Akaike: 2 for each number."""
        return np.exp((1 if self.real else 2) * size * per_number / (2 * self.data))

    def trial(self, fitted, size, per_number):
        y = self.keep(fitted, size)
        for _ in range(8):
            y = self.keep(self.fit(y), size)
        return max(self.error(y), 1e-6) * self.price(size, per_number), size, y

    def block(self, start, count, tune, per_number):
        """Iterations and trials of a start: (iterate, size, best trial)."""
        x, size, best = start
        for _ in range(count):
            p = self.keep(x, size)
            x = x + self.beta * (self.fit(2 * p - x) - p)
        sizes = [size, size / 2**0.25, min(size * 2**0.25, self.area)] if tune else [size]
        found = min((self.trial(self.fit(x), size, per_number) for size in sizes), key=lambda trial: trial[0])
        return x, found[1], min(best, found, key=lambda trial: trial[0])

    def priced(self, trial, per_number):
        return max(self.error(trial[2]), 1e-6) * self.price(trial[1], per_number)

    def search(self, x, smallest, n_iter):
        """The best trial of each start, and the iterations at which the run is checked."""
        shares = np.linspace(0, 1, len(x)) if len(x) > 1 else [0.5]
        starts = [(y, self.area * smallest**share, (np.inf, 0, 0)) for y, share in zip(x, shares, strict=True)]
        done, checked, together = 0, [], n_iter - n_iter // 7
        prices = [np.log(self.data) if number % 3 == 2 else 2 for number in range(len(x))]
        tuned = [len(x) == 1 or number % 3 > 0 for number in range(len(x))]
        while done < together:
            count, tune, sharing = min(self.every, together - done), done >= together // 3, done < together // 3
            starts = [
                self.block(start, count, tune and one, price)
                for start, one, price in zip(starts, tuned, prices, strict=True)
            ]
            done += count
            checked.append(done)
            if sharing and done >= together // 3:
                trials = [best for *_, best in starts]
                sizes = [min(trials, key=lambda trial: self.priced(trial, price))[1] for price in prices]
                starts = [
                    (y, size if one else own, best)
                    for (y, own, best), one, size in zip(starts, tuned, sizes, strict=True)
                ]
        trials = [best for *_, best in starts]
        kinds = [range(kind, len(x), 3) for kind in range(min(3, len(x)))]
        leaders = [min(kind, key=lambda number: self.priced(trials[number], 2)) for kind in kinds]
        leaders.sort(key=lambda number: self.priced(trials[number], 2))
        last = {number: (trials[number][2], trials[number][1], (np.inf, 0, 0)) for number in leaders}
        while done < n_iter:
            count = min(self.every, n_iter - done)
            last = {number: self.block(start, count, True, 2) for number, start in last.items()}
            limit = self.priced(last[leaders[0]][2], 2)
            for number, (*_, best) in last.items():
                if self.priced(best, 2) <= limit:
                    trials[number] = best
            done += count
            checked.append(done)
        return trials, checked


@pytest.mark.parametrize(("real", "inside"), [(False, (6, 5)), (True, (7, 6))])
@pytest.mark.parametrize(("starts", "n_iter"), [(1, 21), (2, 21), (3, 14), (5, 25), (3, 6)])
def test_the_search_equals_a_slow_version(starts, n_iter, real, inside, monkeypatch):
    """A complex object in a support, and a non-negative one without, which is sought in half of the grid."""
    monkeypatch.setattr(_sparse, "_EVERY", 3)  # what is tuned is the same, before rounding has grown
    dtype, generator = torch.float64 if real else torch.complex128, torch.Generator().manual_seed(starts)
    obj = torch.randn(6, 5, dtype=dtype, generator=generator)
    intensity = pr.operators.fourier_intensity(obj.abs() if real else obj, (14, 11))
    init = torch.randn(starts, 14, 11, dtype=dtype, generator=generator)
    slow = Slow(intensity.numpy(), inside, 0.6, 3, real)
    trials, checked = slow.search(init.numpy(), 0.26, n_iter)
    known = {"constraint": "nonnegative"} if real else {"support": box(inside, (14, 11))}
    step = solvers.Recipe(solvers.SparseRRR(n_iter, beta=0.6, smallest=0.26))
    r = step(intensity, init=init, starts=starts, **known)
    assert r.checked == checked
    torch.testing.assert_close(r.objs, torch.from_numpy(np.stack([y for *_, y in trials])), atol=1e-8, rtol=1e-7)
    errors = torch.tensor([slow.error(y) for *_, y in trials])
    torch.testing.assert_close(r.errors, errors, atol=1e-9, rtol=1e-7)
    prices = torch.tensor([slow.price(size) for _, size, _ in trials])
    torch.testing.assert_close(r.scores, errors * prices, atol=1e-9, rtol=1e-7)
    assert r.ranking.tolist() == np.argsort((errors * prices).numpy(), kind="stable").tolist()


def test_the_search_is_checked_every_50_iterations_and_the_next_step_begins_anew():
    intensity, options, _ = loose()
    assert solvers.Recipe(solvers.SparseRRR(70), "er:10")(intensity, **options).checked == [50, 60, 70, 80]


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
    assert ((size <= found) & (found <= 3 * size)).all()
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


@pytest.fixture
def stages(monkeypatch):
    """The stages of the runs that follow, as they are made."""
    made = []

    class Noted(_sparse._Stage):
        def __init__(self, *given):
            super().__init__(*given)
            made.append(self)

    monkeypatch.setattr(_sparse, "_Stage", Noted)
    return made


@pytest.mark.parametrize("known", [True, False])
def test_the_coarse_grid_is_chosen_by_the_box_or_half_of_an_unknown_one(known, stages, monkeypatch):
    monkeypatch.setattr(_sparse, "_LEAST_BOX", 2)
    intensity = pr.operators.fourier_intensity(torch.rand(6, 5), (14, 11))
    support = box((6, 5), (14, 11)) if known else None
    if known:
        support[0, 0] = False
    step_result(solvers.SparseRRR(7), intensity, support=support, constraint="nonnegative")
    shapes = [(14, 11), (7, 5), (14, 11)] if known else [(14, 11), (14, 11)]
    assert [stage.problem.shape for stage in stages] == shapes


def test_a_coarse_grid_has_a_pixel_along_each_axis(stages):
    intensity = pr.operators.fourier_intensity(torch.rand(2, 9), (4, 20))
    step_result(solvers.SparseRRR(7, coarse=5), intensity, support=torch.ones(2, 9) > 0, constraint="nonnegative")
    assert stages[1].problem.shape == (1, 4)


@pytest.mark.parametrize(("size", "dtype"), [(None, torch.float64), (9, torch.float64), (None, torch.complex128)])
def test_a_stage_knows_support_sizes_and_data_of_its_grid(size, dtype, stages):
    """The support on the coarse grid covers that on the fine one; the data are those of its autocorrelation's box."""
    support = torch.zeros(14, 12, dtype=torch.bool)
    support[2:7, 3:8] = True
    support[3, 4] = support[2, 3:] = support[2:6, 7] = False
    obj = torch.rand(14, 12, dtype=torch.float64).to(dtype) * support
    constraint = "complex" if dtype.is_complex else "nonnegative"
    known = {"support": support, "support_size": size, "constraint": constraint, "starts": 2}
    step_result(solvers.SparseRRR(7, coarse=2), torch.fft.fft2(obj, norm="ortho").abs().square(), **known)
    full, coarse, alone = stages
    for stage, shape in ((full, (14, 12)), (coarse, (7, 6)), (alone, (14, 12))):
        factor = 14 // shape[0]
        expected = support.unflatten(1, (-1, factor)).unflatten(0, (-1, factor)).any((1, 3))
        assert torch.equal(stage.problem.embed(stage.support)[0, 0], expected)
        assert torch.equal(stage.area, torch.full_like(stage.area, size or int(expected.sum())))
        rows, columns = (expected.any(axis).nonzero() for axis in (1, 0))
        data = math.prod(int(2 * (place.max() - place.min()) + 1) for place in (rows, columns))
        data = min(data, math.prod(shape)) / (1 if dtype.is_complex else 2)
        assert torch.equal(stage.data, torch.full_like(stage.data, data))


def test_less_at_a_time_is_remembered_where_memory_ends(stages, monkeypatch):
    intensity, options, step = loose()
    plain, refused = step_result(step, intensity, **options), []

    def fits(work):
        rows, columns = work.args[-1] if getattr(work, "func", work).__name__ == "_settle" else (slice(0), slice(0))
        if len(range(*rows.indices(3))) * len(range(*columns.indices(5))) > 7:
            refused.append(work)
            return False
        work()
        return True

    monkeypatch.setattr(_memory, "fits", fits)
    with pytest.warns(UserWarning, match="ended with 15 patterns x starts at a time; the run goes on with 7"):
        found = step_result(step, intensity, **options)
    assert len(refused) == 2  # of 15 and of 10, in the first block alone
    same(found, plain)


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


@pytest.mark.parametrize("schedule", ["sparse:100", "er:2,lm:2", "algebraic"])
def test_a_gradient_is_refused_where_none_comes_through(schedule):
    known = {"support": torch.ones(4, 4) > 0, "constraint": "complex"}
    intensity = pr.operators.fourier_intensity(torch.randn(4, 4, dtype=torch.complex64), (8, 8)).requires_grad_()
    with pytest.raises(ValueError, match="reconstruct: intensity and options must not require a gradient"):
        solvers.reconstruct(intensity, schedule=schedule, **known)
    with pytest.raises(ValueError, match="reconstruct: intensity and options must not require a gradient"):
        solvers.reconstruct(intensity.detach(), schedule=schedule, init=torch.rand(4, 4, requires_grad=True), **known)
    with torch.no_grad():
        assert not solvers.reconstruct(intensity, schedule=schedule, **known).obj.requires_grad


def test_without_gradients_the_default_takes_a_parameter():
    intensity = pr.operators.fourier_intensity(torch.rand(4, 4), (8, 8)).requires_grad_()
    with torch.no_grad():
        assert (
            not solvers.reconstruct(intensity, support=torch.ones(4, 4) > 0, constraint="nonnegative").obj.isnan().any()
        )


@pytest.mark.parametrize("constraint", ["complex", "nonnegative"])
@pytest.mark.parametrize("measured", [2, 20])
def test_starts_are_kept_where_hardly_anything_was_measured(measured, constraint):
    intensity = pr.operators.fourier_intensity(torch.rand(48, 48), (96, 96))
    mask = (torch.arange(96 * 96) < measured).reshape(96, 96)
    r = solvers.SparseRRR(14)(intensity, mask=mask, support=torch.ones(48, 48) > 0, constraint=constraint, starts=3)
    assert r.scores.isfinite().all()
    assert (r.objs != 0).flatten(1).any(1).all()
    assert r.errors.max() < 1


# --- modules ---------------------------------------------------------------------------------------------------------


def test_the_word_and_the_repr():
    recipe = solvers.Recipe("sparse:700,er:30")
    assert recipe.n_iter == 730
    assert "SparseRRR(n_iter=700, beta=0.7, smallest=0.0625)" in repr(recipe)
