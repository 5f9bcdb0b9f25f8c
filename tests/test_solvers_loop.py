"""The loop: batches, chunks, seeds, starts, masks, and what it refuses."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import time
import warnings
from types import SimpleNamespace

import pytest
import torch

import phaseret as pr
from phaseret import _memory, solvers
from phaseret.solvers import _recipe, _run

# most runs here are too short to solve anything
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(reconstructions (are not unique|were found by few)|symmetric within noise)"
)


def box(*shape):
    return torch.ones(shape, dtype=torch.bool)


def patterns(count=3, n=6, m=12):
    obj = torch.rand(count, n, n)
    return obj, pr.operators.fourier_intensity(obj, (m, m))


def same(a, b):
    torch.testing.assert_close(a.objs, b.objs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(a.errors, b.errors, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("constraint", ["complex", "real", "nonnegative"])
def test_a_batch_gives_what_its_items_give_one_by_one(constraint, device):
    _, intensity = patterns()
    intensity, support = intensity.to(device), box(6, 6).to(device)
    together = solvers.HIO(25)(intensity, support=support, constraint=constraint, starts=2)
    for item in range(3):
        alone = solvers.HIO(25)(intensity[item], support=support, constraint=constraint, starts=2)
        torch.testing.assert_close(alone.objs, together.objs[item], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(alone.obj, together.obj[item], atol=1e-4, rtol=1e-4)
        assert alone.history.shape == together.history[item].shape == (2, 3)


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 100])
def test_results_do_not_depend_on_the_chunk(chunk):
    obj, _ = patterns()
    intensity = pr.operators.fourier_intensity(obj.double(), (12, 12))  # the iterations amplify the rounding
    support = torch.rand(3, 6, 6) > 0.1
    whole, parts = (
        solvers.RRR(25)(intensity, support=support, starts=3, constraint="nonnegative", chunk=size)
        for size in (None, chunk)
    )
    torch.testing.assert_close(parts.objs, whole.objs, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(parts.errors, whole.errors, atol=1e-8, rtol=1e-8)


def test_several_batch_axes_are_kept():
    _, intensity = patterns(4)
    support = torch.rand(4, 6, 6) > 0.1
    flat = solvers.HIO(7)(intensity, support=support, starts=2)
    r = solvers.HIO(7)(intensity.reshape(2, 2, 12, 12), support=support.reshape(2, 2, 6, 6), starts=2)
    assert r.obj.shape == (2, 2, 6, 6)
    assert r.objs.shape == (2, 2, 2, 6, 6)
    assert r.error.shape == (2, 2)
    assert r.errors.shape == r.ranking.shape == r.agreement.shape == (2, 2, 2)
    assert r.history.shape == (2, 2, 2, 1)
    assert r.checked == [7]
    torch.testing.assert_close(r.obj.flatten(0, 1), flat.obj)


def test_starts_are_reproducible_one_by_one_from_their_seeds():
    _, intensity = patterns(2)
    many = solvers.HIO(20)(intensity, support=box(6, 6), constraint="nonnegative", starts=3, seed=7)
    assert many.seeds == [7, 8, 9]
    one = solvers.HIO(20)(intensity, support=box(6, 6), constraint="nonnegative", seed=9)
    torch.testing.assert_close(one.obj, many.objs[:, 2], atol=1e-4, rtol=1e-4)
    other = solvers.HIO(20)(intensity, support=box(6, 6), constraint="nonnegative", seed=3)
    assert not torch.allclose(one.obj, other.obj)


def test_a_generator_decides_the_seeds():
    _, intensity = patterns(1)
    runs = [
        solvers.HIO(5)(intensity, support=box(6, 6), starts=2, generator=torch.Generator().manual_seed(g))
        for g in (1, 1, 2)
    ]
    assert runs[0].seeds == runs[1].seeds != runs[2].seeds
    torch.testing.assert_close(runs[0].objs, runs[1].objs)


def test_the_best_start_is_the_one_with_the_least_error():
    _, intensity = patterns()
    r = solvers.HIO(60)(intensity, support=box(6, 6), constraint="nonnegative", starts=4)
    torch.testing.assert_close(r.errors.gather(-1, r.ranking), r.errors.sort(-1).values)
    assert r.averaged.gather(-1, r.ranking[:, :1]).all()
    alone = r.averaged.sum(-1) == 1
    torch.testing.assert_close(r.error[alone], r.errors.amin(-1)[alone])
    torch.testing.assert_close(r.obj[alone], r.objs[torch.arange(3), r.ranking[:, 0]][alone])
    torch.testing.assert_close(r.history[..., -1], r.errors)
    torch.testing.assert_close(r.agreement.gather(-1, r.ranking[:, :1]), torch.ones(3, 1))


def alike(constraint):
    """Two noisy patterns, and five starts: four near the object, one of them its twin elsewhere, and another object."""
    generator = torch.Generator().manual_seed(7)
    kind = torch.complex128 if constraint == "complex" else torch.float64
    obj = torch.zeros(2, 8, 8, dtype=kind)
    obj[:, 1:6, 1:6] = torch.randn(2, 5, 5, dtype=kind, generator=generator)
    obj = obj.abs() if constraint == "nonnegative" else obj
    magnitude = pr.operators.fourier_magnitude(obj, (16, 16))
    noise = 0.02 * torch.randn(magnitude.shape, dtype=torch.float64, generator=generator)
    near = obj[:, None] + 0.02 * torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=generator)
    twin = obj.flip(-1, -2).conj()[:, None]
    other = torch.zeros_like(twin)
    other[..., 0, :] = 1
    init = torch.cat([near, -twin if constraint == "real" else twin, other], 1)
    options = {"support": box(8, 8), "constraint": constraint, "starts": 5, "init": init}
    return (magnitude + noise).clamp(min=0).square(), options


@pytest.mark.parametrize("constraint", ["complex", "real", "nonnegative"])
def test_the_result_is_the_mean_of_the_starts_that_fit_and_agree(constraint):
    intensity, options = alike(constraint)
    r = solvers.ErrorReduction(2)(intensity, **options)
    assert r.averaged.tolist() == 2 * [4 * [True] + [False]]
    for n, obj in enumerate(r.obj):
        best = r.objs[n, r.ranking[n, 0]].expand(4, 8, 8)
        moved = pr.symmetry.align(r.objs[n, :4], best, fourier_shape=(16, 16), phase=constraint != "nonnegative")
        mean = moved.aligned.mean(0)
        mean = mean.clamp(min=0) if constraint == "nonnegative" else mean
        torch.testing.assert_close(obj, mean)
        measured = pr.operators.fourier_magnitude(mean, (16, 16)) - intensity[n].sqrt()
        torch.testing.assert_close(r.error[n], (measured.square().sum() / intensity[n].sum()).sqrt())
    assert (r.support | (r.obj == 0)).all()


def test_an_exact_solution_stays_exact():
    _, options = alike("nonnegative")
    obj = options["init"][:, 3].clone()
    exact = pr.operators.fourier_intensity(obj, (16, 16))
    options["init"][:, 1] = obj.flip(-1, -2)
    r = solvers.ErrorReduction(2)(exact, **options)
    assert r.averaged[:, [0, 2, 4]].sum() == 0
    assert float(r.error.max()) < 1e-7  # the root of what rounding leaves of a difference
    torch.testing.assert_close(pr.symmetry.align(r.obj, obj).aligned, obj, atol=1e-13, rtol=0)


def test_with_a_gradient_the_result_is_the_best_start():
    intensity, options = alike("nonnegative")
    r = solvers.ErrorReduction(2)(intensity.requires_grad_(), **options)
    best = r.ranking[:, :1]
    assert torch.equal(r.averaged, torch.arange(5) == best)
    assert torch.equal(r.obj, r.objs[torch.arange(2), best[:, 0]])
    (gradient,) = torch.autograd.grad(r.obj.sum(), intensity)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("option", ["background", "point_spread", "bounds"])
@pytest.mark.parametrize("schedule", ["hio:3", "er:3", None])
def test_options_have_their_gradient_too(option, schedule):
    obj = torch.rand(4, 5, dtype=torch.float64) + 0.2
    intensity = 1.1 * pr.operators.fourier_intensity(obj, (8, 10)) + 0.1
    leaf = {
        "background": torch.full((8, 10), 0.05),
        "point_spread": torch.tensor([[0.02, 0.1, 0.02], [0.1, 0.5, 0.1], [0.03, 0.1, 0.03]]),
        "bounds": torch.full((4, 5), 0.6),
    }[option]

    def found(x: torch.Tensor) -> torch.Tensor:
        given = {"background": x, "point_spread": x.abs() / x.abs().sum(), "bounds": (torch.zeros_like(x), x)}[option]
        how = {"support": box(4, 5), "constraint": "nonnegative", "init": 0.9 * obj, "starts": 1, option: given}
        return solvers.reconstruct(intensity, schedule=schedule, **how).obj

    leaf = leaf.double().requires_grad_()
    if schedule is None:  # the default is one that has gradients
        assert torch.autograd.grad(found(leaf).sum(), leaf)[0].abs().sum() > 0
        return
    assert torch.autograd.gradcheck(found, leaf, fast_mode=True, atol=1e-4)


def test_the_choice_is_told_in_words():
    intensity, options = alike("nonnegative")
    r = solvers.ErrorReduction(2)(intensity, **options)
    best, error, own = int(r.ranking[0, 0]), float(r.error[0]), float(r.errors[0].min())
    expected = (
        f"mean of 4 of 5 starts that fit equally well and agree: error {error:.3g}, larger than theirs since each fits "
        f"the noise too; the best of them is start {best}: error {own:.3g}, the least"
    )
    assert r.choice[0] == expected
    other = solvers.ErrorReduction(2)(intensity[:1], **options | {"init": options["init"][:1, 3:], "starts": 2})
    assert other.choice == [f"start 0: error {float(other.errors[0, 0]):.3g}, the least"]
    assert solvers.ErrorReduction(2)(intensity, support=box(8, 8)).choice == 2 * ["the only start"]


def test_the_choice_tells_the_price_of_pixels():
    intensity, options = alike("nonnegative")
    r = solvers.ErrorReduction(2)(intensity[:1], **options | {"init": options["init"][:1, 3:], "starts": 2})
    error = r.errors[0]
    assert error[0] < error[1]
    scores = error[None, 1] * torch.tensor([[3.0, 2.0]])
    done = r.checked[-1]
    r = dataclasses.replace(r, scores=scores, ranking=scores.argsort(-1), averaged=torch.zeros(0) > 0)
    assert dataclasses.replace(r, n_iters=torch.zeros(0), checked=[1, done]).n_iters.eq(done).all()
    assert r.averaged.tolist() == [[False, True]]
    score, other = f"{2 * error[1]:.3g}", f"(start 0: {error[0]:.3g}, {3 * error[1]:.3g})"
    assert r.choice == [f"start 1: error {error[1]:.3g}, times the price of its pixels {score}, the least {other}"]


@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
@pytest.mark.parametrize("constraint", ["complex", "real"])
def test_the_error_is_the_relative_magnitude_error_of_the_object(norm, constraint):
    shape = (9, 8)
    intensity = torch.rand(shape)
    mask = torch.rand(shape) > 0.2
    support = torch.zeros(shape, dtype=torch.bool)
    support[2:6, 3:6] = True
    r = solvers.HIO(12)(intensity, mask=mask, support=support, constraint=constraint, norm=norm)
    magnitude = torch.fft.fft2(r.obj, norm=norm).abs()
    error = ((magnitude - intensity.sqrt()).square() * mask).sum() / (intensity * mask).sum()
    torch.testing.assert_close(r.error, error.sqrt())


def test_an_easy_pattern_is_solved_and_the_starts_agree():
    obj, intensity = patterns(2, 8, 20)
    r = solvers.RRR(1000)(intensity, support=box(8, 8), constraint="nonnegative", starts=3)
    aligned = pr.symmetry.align(r.obj, obj).aligned
    torch.testing.assert_close(aligned, obj, atol=1e-3, rtol=0)
    assert (r.agreement > 0.999).all()
    assert "100% of the best agree" in repr(r)


@pytest.mark.parametrize("power", [-40, 40])
@pytest.mark.parametrize("constraint", ["complex", "nonnegative"])
def test_which_starts_agree_does_not_depend_on_the_unit(constraint, power):
    _, intensity = patterns(2, 6, 16)
    run = functools.partial(solvers.ErrorReduction(20), support=box(6, 6), constraint=constraint, starts=3)
    r, found = run(intensity), run(intensity * 4.0**power)
    torch.testing.assert_close(found.agreement, r.agreement)
    assert torch.equal(found.averaged, r.averaged)
    torch.testing.assert_close(found.obj / 2.0**power, r.obj)


@pytest.mark.parametrize("constraint", ["complex", "nonnegative"])
def test_the_transfer_function_is_that_of_the_metrics(constraint):
    _, intensity = patterns(2, 6, 13)
    mask = torch.rand(13, 13) > 0.1
    r = solvers.HIO(8)(intensity, mask=mask, support=box(6, 6), constraint=constraint, starts=3)
    best = r.objs[torch.arange(2), r.ranking[:, 0]]
    expected = pr.metrics.prtf(r.objs, intensity, reference=best, mask=mask).value
    torch.testing.assert_close(r.prtf, expected, atol=1e-4, rtol=1e-4)


def test_an_object_and_its_negative_agree():
    obj, intensity = patterns()
    init = torch.stack([obj, -obj], 1)
    r = solvers.HIO(3)(intensity, support=box(6, 6), constraint="real", starts=2, init=init)
    torch.testing.assert_close(r.agreement, torch.ones(3, 2))
    torch.testing.assert_close(r.prtf, torch.ones(3, 7), atol=1e-3, rtol=0)


def test_starts_that_disagree_are_warned_of():
    intensity = torch.ones(16, 16)
    with pytest.warns(UserWarning, match="1 of 1 reconstructions are not unique: starts that fit the data as well"):
        r = solvers.ErrorReduction(2)(intensity, support=box(8, 8), starts=6)
    assert (r.agreement < 0.9).any()


def test_an_object_that_few_starts_found_is_warned_of():
    obj = torch.zeros(3, 6, 6)
    obj[:, [0, 1, 5], [1, 5, 2]] = 1 + torch.rand(3, 3)  # dense objects resemble each other
    intensity = pr.operators.fourier_intensity(obj, (12, 12))
    init = torch.stack([obj, *torch.rand(4, *obj.shape)], 1)
    with pytest.warns(UserWarning, match=r"3 of 3 reconstructions were found by few of their starts, [12] of 5 at"):
        r = solvers.HIO(1)(intensity, support=box(6, 6), constraint="nonnegative", starts=5, init=init)
    assert (r.scores[:, 1:].amin(-1) > 2 * r.scores[:, 0]).all()


def test_a_centered_pattern_gives_the_same_object():
    _, intensity = patterns()
    mask = torch.rand(12, 12) > 0.1
    plain = solvers.HIO(20)(intensity, mask=mask, support=box(6, 6), constraint="real")
    shifted = torch.fft.fftshift(intensity, (-2, -1))
    options = {"mask": torch.fft.fftshift(mask), "support": box(6, 6), "constraint": "real"}
    same(plain, solvers.HIO(20)(shifted, centered=True, **options))


def test_unmeasured_values_do_not_matter():
    _, intensity = patterns()
    mask = torch.rand(12, 12) > 0.1
    runs = []
    for fill in (0.0, math.nan, -5.0):
        data = torch.where(mask, intensity, fill)
        runs.append(solvers.RAAR(20)(data, mask=mask, support=box(6, 6), constraint="nonnegative"))
    torch.testing.assert_close(runs[0].obj, runs[1].obj)
    torch.testing.assert_close(runs[0].obj, runs[2].obj)


def test_masks_and_supports_broadcast_to_the_batch():
    _, intensity = patterns()
    mask, support = torch.rand(12, 12) > 0.1, torch.rand(6, 6) > 0.1
    plain = solvers.HIO(20)(intensity, mask=mask, support=support, constraint="real")
    for leading in ((1,), (3,)):
        masks, supports = mask.expand(*leading, 12, 12), support.expand(*leading, 6, 6)
        r = solvers.HIO(20)(intensity, mask=masks, support=supports, constraint="real")
        torch.testing.assert_close(r.objs, plain.objs)
    lines = torch.rand(12) > 0.2
    r = solvers.HIO(20)(intensity.reshape(3, 1, 12, 12), mask=lines, support=support[None, None], constraint="real")
    whole = solvers.HIO(20)(intensity, mask=lines.expand(12, 12), support=support, constraint="real")
    torch.testing.assert_close(r.objs.flatten(0, 1), whole.objs)
    each = torch.stack([mask, ~mask | mask])[:, None]
    r = solvers.HIO(20)(intensity[:2].expand(2, 2, 12, 12), mask=each, support=support, constraint="real")
    torch.testing.assert_close(r.obj[0], plain.obj[:2])


def test_reconstruct_tries_twelve_starts_and_an_algorithm_that_is_called_one():
    _, intensity = patterns()
    options = {"support": box(6, 6), "constraint": "nonnegative"}
    for r in (solvers.HIO(2)(intensity, **options), solvers.Recipe("hio:2")(intensity, **options)):
        assert len(r.seeds) == 1
    stop = {"callback": lambda run: True}
    assert len(solvers.reconstruct(intensity, **options, **stop).seeds) == 12
    assert len(solvers.reconstruct(intensity, schedule="hio:2", **options).seeds) == 12
    assert len(solvers.reconstruct(intensity, schedule=solvers.HIO(2), starts=None, **options).seeds) == 12
    assert len(solvers.reconstruct(intensity, support_size=20, **stop).seeds) == 12


def test_init_replaces_the_first_start_or_all_of_them():
    obj, intensity = patterns()
    support = box(6, 6)
    r = solvers.HIO(3)(intensity, support=support, constraint="nonnegative", init=obj, starts=2)
    torch.testing.assert_close(r.objs[:, 0], obj, atol=1e-5, rtol=0)
    assert (r.ranking[:, 0] == 0).all()
    assert (r.errors[:, 1] > 1e-2).all()
    padded = torch.nn.functional.pad(obj, (0, 6, 0, 6))
    both = torch.stack([padded, padded], 1)
    r = solvers.HIO(3)(intensity, support=support, constraint="nonnegative", init=both, starts=2)
    torch.testing.assert_close(r.objs, both[..., :6, :6], atol=1e-5, rtol=0)
    kept = both.clone()
    solvers.HIO(20)(intensity, support=support, init=both, starts=2)
    torch.testing.assert_close(both, kept)


def test_a_start_of_zeros_is_a_start_with_phase_zero():
    _, intensity = patterns(1)
    r = solvers.HIO(5)(intensity, support=box(6, 6), constraint="real", init=torch.zeros(6, 6))
    assert r.obj.abs().sum() > 0
    assert r.obj.isfinite().all()


def test_a_callback_sees_each_check_and_can_stop():
    _, intensity = patterns()
    seen = []

    def callback(run):
        seen.append((run.iteration, run.error.shape, run.estimate.shape))
        return run.iteration >= 20

    r = solvers.HIO(100)(intensity, support=box(6, 6), starts=2, check_every=10, callback=callback)
    assert seen == [(10, (3, 2), (3, 2, 6, 6)), (20, (3, 2), (3, 2, 6, 6))]
    assert r.checked == [10, 20]


def test_the_seconds_are_those_of_the_call():
    _, intensity = patterns()
    began = time.perf_counter()
    r = solvers.HIO(2)(intensity, support=S, constraint="nonnegative")
    assert 0 < r.seconds <= time.perf_counter() - began


def test_float64_stays_float64_and_half_is_promoted():
    _, intensity = patterns()
    assert solvers.HIO(2)(intensity.double(), support=box(6, 6)).obj.dtype == torch.complex128
    assert solvers.HIO(2)(intensity.half(), support=box(6, 6), constraint="real").obj.dtype == torch.float32


def test_support_size_alone_keeps_that_many_pixels():
    _, intensity = patterns()
    r = solvers.RRR(30)(intensity, support_size=36, constraint="nonnegative", starts=2)
    assert r.obj.shape == (3, 12, 12)
    assert ((r.objs != 0).sum((-1, -2)) <= 36).all()


def test_bounds_and_phase_range_hold():
    _, intensity = patterns()
    r = solvers.HIO(30)(intensity, support=box(6, 6), constraint="real", bounds=(0.2, 0.5))
    assert r.obj.min() >= 0.2
    assert r.obj.max() <= 0.5
    r = solvers.HIO(30)(intensity, support=box(6, 6), phase_range=(-0.3, 0.4))
    assert r.obj.angle().min() >= -0.3 - 1e-5
    assert r.obj.angle().max() <= 0.4 + 1e-5


GOOD = torch.rand(3, 12, 12) + 0.1
S = torch.ones(6, 6, dtype=torch.bool)


@pytest.mark.parametrize(
    ("intensity", "options", "error", "message"),
    [
        (GOOD + 0j, {"support": S}, TypeError, "HIO: intensity must be real floating, got torch.complex64"),
        (-GOOD, {"support": S}, ValueError, "HIO: intensity must be at least 0 where measured, got 432 other values"),
        (GOOD / 0, {"support": S}, ValueError, "HIO: intensity must be finite where measured, got 432 other values"),
        (
            0 * GOOD,
            {"support": S},
            ValueError,
            "HIO: intensity must have a positive measured value in every item, got none in 3",
        ),
        (
            GOOD,
            {"support": S, "mask": torch.zeros(12, 12) > 0},
            ValueError,
            "HIO: mask must be True for a pixel of every",
        ),
        (GOOD, {"support": S, "mask": torch.ones(12, 12)}, TypeError, "HIO: mask must be a boolean tensor"),
        (GOOD, {"support": S, "mask": torch.ones(11, 12) > 0}, ValueError, "HIO: mask must broadcast to the intensity"),
        (GOOD, {"support": ~S}, ValueError, "HIO: support must hold at least one pixel, got an empty one"),
        (GOOD, {"support": S.float()}, TypeError, "HIO: support must be a boolean tensor"),
        (GOOD, {"support": torch.ones(13, 6) > 0}, ValueError, r"HIO: support must be at most \(6, 6\) for data of"),
        (GOOD, {"support": torch.ones(7, 6) > 0}, ValueError, r"data's shape, got \(7, 6\)\. Use a smaller one"),
        (GOOD, {"support": S.expand(2, 6, 6)}, ValueError, r"HIO: support must broadcast to the batch shape \(3,\)"),
        (GOOD, {}, ValueError, "HIO: the object must be restricted for constraint='complex', got nothing"),
        (
            GOOD,
            {"support": S, "constraint": "positive"},
            ValueError,
            "HIO: constraint must be one of 'complex', 'real'",
        ),
        (GOOD, {"support": S, "starts": 0}, ValueError, "HIO: starts must be an integer of at least 1, got 0"),
        (GOOD, {"support": S, "seed": -1}, ValueError, "HIO: seed must be an integer of at least 0, got -1"),
        (GOOD, {"support": S, "check_every": 0}, ValueError, "HIO: check_every must be an integer of at least 1"),
        (GOOD, {"support": S, "chunk": 0}, ValueError, "HIO: chunk must be an integer of at least 1, got 0"),
        (GOOD, {"support": S, "ndim": 4}, ValueError, "HIO: ndim must be 1, 2 or 3, got 4"),
        (GOOD, {"support": S, "norm": "none"}, ValueError, "HIO: norm must be one of 'ortho', 'backward', 'forward'"),
        (
            GOOD,
            {"support": S, "init": torch.rand(5, 6)},
            ValueError,
            r"HIO: init must have the shape \(6, 6\) or \(3, 6, 6\)",
        ),
        (GOOD, {"support_size": 145}, ValueError, "HIO: support_size must be at most the 144 pixels of a pattern, got"),
        (GOOD, {"support_size": 0}, ValueError, "HIO: support_size must be an integer of at least 1, got 0"),
    ],
)
def test_bad_input_is_refused(intensity, options, error, message):
    with pytest.raises(error, match=message):
        solvers.HIO(2)(intensity, **options)
    with pytest.raises(error, match=message.replace("HIO: ", "reconstruct: ")):
        solvers.reconstruct(intensity, schedule="hio:2", **options)


def test_a_support_that_the_data_cannot_determine_is_warned_of():
    support = torch.zeros(12, 12, dtype=torch.bool)
    support[:10, :10] = True
    with pytest.warns(UserWarning, match="HIO: the support holds 100 of 144 pixels; above one half the data do not"):
        solvers.HIO(2)(GOOD, support=support)
    with pytest.warns(UserWarning, match="HIO: the support holds 73 of 144 pixels; above one half the data do not"):
        solvers.HIO(2)(GOOD, support_size=73)


@pytest.mark.parametrize("support", [(28, 28), "box", [[True]]])
def test_a_support_of_the_wrong_kind_is_named(support: object) -> None:
    with pytest.raises(TypeError, match=r"RRR: support must be a torch\.Tensor, got"):
        pr.solvers.RRR(n_iter=2)(torch.rand(16, 16), support=support)


def test_sizes_in_the_place_of_a_support_are_answered_with_a_box() -> None:
    said = (
        r"reconstruct: .*got \(28, 28\)\. Use torch\.ones\(\(28, 28\), dtype=torch\.bool\) for a box of these sizes\."
    )
    with pytest.raises(TypeError, match=said):
        pr.solvers.reconstruct(torch.rand(64, 64), support=(28, 28))


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("iterations", r"got 'iterations'. Give n_iter when the algorithm is made, as in HIO\(n_iter=50"),
        ("beta", "got 'beta'. Give beta when the algorithm is made"),
        ("suport", "got 'suport'. Did you mean 'support'"),
        ("positivity", "got 'positivity'. Did you mean 'constraint'"),
        ("x0", "got 'x0'. Did you mean 'init'"),
        ("colour", "got 'colour'. The options are support, support_size, known, mask"),
    ],
)
def test_an_option_that_does_not_exist_is_answered_with_the_one_that_was_meant(name, answer):
    for call, caller in (
        (solvers.HIO(2), "HIO"),
        (solvers.Recipe("hio:2"), "Recipe"),
        (solvers.reconstruct, "reconstruct"),
    ):
        with pytest.raises(TypeError, match=f"^{caller}: the name of an option must be a known one, {answer}"):
            call(GOOD, **{name: 1})


def test_the_own_option_of_reconstruct_is_meant_too():
    with pytest.raises(TypeError, match=r"^reconstruct: .*got 'shedule'. Did you mean 'schedule'\?"):
        solvers.reconstruct(GOOD, shedule="hio:2")


@pytest.mark.parametrize("unit", [1e-36, 1e36])
def test_intensities_at_the_ends_of_single_precision_are_refused_and_double_precision_is_named(unit):
    with pytest.raises(ValueError, match=r"^HIO: the largest intensity of an item must lie between 1e-29 and 3e\+34"):
        solvers.HIO(2)(unit * GOOD, support=S)
    wide = solvers.HIO(2)(unit * GOOD.double(), support=S).obj / unit**0.5
    torch.testing.assert_close(wide, solvers.HIO(2)(GOOD.double(), support=S).obj)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_start_that_is_not_finite_is_refused(value):
    init = torch.rand(6, 6).index_fill(0, torch.tensor([2]), value)
    operator = pr.operators.FourierIntensity((12, 12))
    said = r"must be finite, got other values\. Set them to 0 with torch\.nan_to_num\(\w+, 0, 0, 0\)"
    with pytest.raises(ValueError, match="HIO: init " + said):
        solvers.HIO(2)(GOOD, support=S, init=init)
    with pytest.raises(ValueError, match="wirtinger_flow: init " + said):
        solvers.wirtinger_flow(GOOD[0], operator, init=init + 0j)
    with pytest.raises(ValueError, match="maximum_likelihood: estimate " + said):
        solvers.maximum_likelihood(init, GOOD[0], operator)
    behind = torch.ones(6, 6, dtype=torch.bool).index_fill(0, torch.tensor([2]), False)
    assert solvers.maximum_likelihood(init, GOOD[0], operator, support=behind, n_iter=2).obj.isfinite().all()


@pytest.mark.parametrize("option", ["centered", "progress", "callback", "checkpoint", "generator"])
def test_options_of_the_wrong_kind_are_refused(option):
    with pytest.raises(TypeError, match=f"HIO: {option} must be"):
        solvers.HIO(2)(GOOD, support=S, **{option: "no"})


def test_the_signature_spells_the_options_out():
    for function in (solvers.reconstruct, solvers.HIO.forward, solvers.Recipe.forward):
        parameters = inspect.signature(function).parameters
        assert parameters["constraint"].default == "complex"
        assert parameters["starts"].default is None
        assert {"support", "mask", "callback", "resume"} <= set(parameters)
        assert "options" not in parameters


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("hio", r"Use HIO\(n_iter\)\(intensity, ...\)"),
        ("difference_map", r"Use DifferenceMap\(n_iter\)"),
        ("ER", r"Use ErrorReduction\(n_iter\)"),
        ("Sup", "Use Shrinkwrap as a step of a Recipe"),
        ("WirtingerFlow", r"Use wirtinger_flow\(intensity, operator\)"),
    ],
)
def test_names_of_other_versions_and_programs_are_answered_with_ours(name, answer):
    with pytest.raises(
        AttributeError, match=f"{name}: the name must be one of phaseret.solvers, got {name!r}. {answer}"
    ):
        getattr(solvers, name)
    with pytest.raises(AttributeError, match=r"module 'phaseret\.solvers' has no attribute 'nothing'"):
        _ = solvers.nothing


@pytest.mark.parametrize("place", [(0, 0), (2, 1)])
def test_a_modulus_known_at_every_pixel_is_kept_wherever_the_support_lies(place: tuple[int, int]) -> None:
    modulus = 0.5 + torch.rand(6, 7, dtype=torch.float64)
    obj = torch.nn.functional.pad(
        torch.polar(modulus, torch.rand(6, 7, dtype=torch.float64)), (place[1], 0, place[0], 0)
    )
    support, bound = obj != 0, obj.abs()
    intensity = pr.operators.fourier_intensity(torch.stack([obj, 2 * obj.flip(-1)]), (20, 20))[:1]
    found = pr.solvers.RRR(20)(intensity, support=support, bounds=(bound, bound), starts=2, seed=0)
    torch.testing.assert_close(found.obj.abs()[0], bound)
    right = pr.solvers.ErrorReduction(3)(intensity, support=support, bounds=(bound, bound), init=obj[None])
    torch.testing.assert_close(right.obj[0].abs(), bound)
    assert float(right.error.max()) < 1e-6
    with pytest.raises(ValueError, match=r"bounds must broadcast to the object \(\d+, \d+\), got \(2, 2\)"):
        pr.solvers.RRR(1)(intensity, support=support, bounds=(torch.zeros(2, 2), 1.0))


def test_the_repr_says_the_numbers() -> None:
    _, intensity = patterns()
    r = solvers.HIO(3)(intensity, support=box(6, 6), constraint="real", starts=2)
    r = dataclasses.replace(r, error=torch.tensor([0.2, 0.125, 0.25]), seconds=2.0)
    scores, agreement = torch.tensor([[0.2, 0.2], [0.1, 0.9], [0.3, 0.3]]), torch.tensor([[1.0, 0], [1, 0], [1, 1]])
    r = dataclasses.replace(r, scores=scores, agreement=agreement)
    text = "obj (3, 6, 6) torch.float32, error 0.125 to 0.25, 2 starts (80% of the best agree)"
    assert repr(r) == f"Reconstruction({text}, 3 iterations, 2 s)"
    r = dataclasses.replace(r, obj=r.obj[0], error=torch.tensor(0.2), seeds=[0], checked=[])
    assert repr(r) == "Reconstruction(obj (6, 6) torch.float32, error 0.2, 1 start, 0 iterations, 2 s)"


def test_there_may_be_more_starts_than_pixels_along_an_axis() -> None:
    obj, intensity = patterns(1, 3, 6)
    init = obj + torch.rand(8, 3, 3)
    options = {"support": box(3, 3), "constraint": "nonnegative"}
    together = solvers.HIO(2)(intensity[0], init=init, starts=8, **options)
    for start, one in zip(init, together.objs, strict=True):
        torch.testing.assert_close(solvers.HIO(2)(intensity[0], init=start, **options).obj, one)


@pytest.mark.parametrize(("patterns", "starts"), [(1, 1), (1, 4), (2, 3), (5, 1), (5, 3)])
@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5, 20])
def test_each_item_is_in_one_piece_and_no_piece_is_too_large(patterns: int, starts: int, chunk: int) -> None:
    run = SimpleNamespace(error=torch.empty(patterns, starts), at_a_time=lambda arrays: chunk)
    done = torch.zeros(patterns, starts)
    for items in solvers.Run.pieces(run, 1.0):
        done[items] += 1
        assert 0 < done[items].numel() <= chunk
        assert all(s.stop <= n for s, n in zip(items, done.shape, strict=True))
    assert (done == 1).all()


def test_starts_that_do_not_fit_into_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _, intensity = patterns()
    options = {"support": box(6, 6), "starts": 5}
    kept = 5 * 3 * 12 * 12 * 4  # bytes of the iterates of real objects
    monkeypatch.setattr(_memory, "physical_memory", lambda: kept)
    solvers.HIO(1)(intensity, constraint="real", **options)
    monkeypatch.setattr(_memory, "physical_memory", lambda: kept - 1)
    with pytest.raises(
        MemoryError, match=r"^HIO: starts must fit into memory, got 5 for each of 3 patterns \(12, 12\)"
    ):
        solvers.HIO(1)(intensity, constraint="real", **options)
    monkeypatch.setattr(_memory, "physical_memory", lambda: 2 * kept)
    solvers.HIO(1)(intensity, constraint="complex", **options)
    monkeypatch.setattr(_memory, "physical_memory", lambda: 2 * kept - 1)
    with pytest.raises(MemoryError, match=r"^HIO: starts must fit into memory"):
        solvers.HIO(1)(intensity, constraint="complex", **options)


def test_a_generator_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match=r"HIO: generator must be a torch.Generator.*, got 5"):
        solvers.HIO(1)(patterns()[1], support=box(6, 6), generator=5)


def test_without_a_schedule_the_sparse_one_is_taken_unless_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_recipe, "solve", lambda step, intensity, options: (repr(step), options["starts"]))
    sparse, plain = ((repr(solvers.Recipe(text)), 12) for text in ("sparse:1400,er:30", "raar:400,er:100"))
    _, intensity = patterns()
    leaf = intensity.clone().requires_grad_()
    assert solvers.reconstruct(intensity) == solvers.reconstruct(intensity, init=torch.rand(6, 6)) == sparse
    assert solvers.reconstruct(intensity, support_size=9) == solvers.reconstruct(leaf) == plain
    assert solvers.reconstruct(intensity, init=torch.rand(6, 6).requires_grad_()) == plain
    with torch.no_grad():
        assert solvers.reconstruct(leaf) == sparse


@pytest.mark.parametrize("hidden", [math.nan, math.inf, -1.0])
def test_no_gradient_comes_from_what_was_not_measured(hidden: float) -> None:
    intensity = patterns()[1].double()
    mask = torch.rand(12, 12) > 0.2
    leaf = intensity.where(mask, hidden).requires_grad_()
    obj = solvers.HIO(3)(leaf, support=box(6, 6), constraint="real", mask=mask).obj
    (found,) = torch.autograd.grad(obj.square().sum(), leaf)
    assert found.isfinite().all()
    assert (found[:, ~mask] == 0).all()
    assert (found[:, mask] != 0).any()


def test_the_warning_says_how_little_the_starts_agree() -> None:
    with pytest.warns(UserWarning, match="are not unique") as said:
        r = solvers.ErrorReduction(2)(torch.ones(16, 16), support=box(8, 8), constraint="complex", starts=6)
    rivals = r.agreement[r.scores <= 2 * r.scores.min()]
    assert f"(correlation down to {float(rivals.min()):.2f})" in str(said[0].message)


@pytest.mark.parametrize(("patterns", "starts"), [(1, 2), (1, 5), (2, 1), (2, 3), (3, 3), (5, 1)])
def test_halves_are_of_patterns_or_of_the_starts_of_one(patterns: int, starts: int) -> None:
    items = slice(2, 2 + patterns), slice(1, 1 + starts)
    first, second = _run._halves(items)
    axis = 0 if patterns > 1 else 1
    assert first[1 - axis] == second[1 - axis] == items[1 - axis]
    assert (first[axis].start, second[axis].stop) == (items[axis].start, items[axis].stop)
    assert first[axis].stop == second[axis].start
    assert 0 <= _run.count_of(first) * axis - _run.count_of(second) * axis <= 1
    one = slice(3, 4), slice(0, 1)
    assert _run._halves(one) == [one]


def test_the_memory_that_one_item_lacks_is_an_error_and_not_halved_again() -> None:
    tried: list[int] = []

    def work(items: tuple[slice, slice]) -> None:
        tried.append(_run.count_of(items))
        raise torch.cuda.OutOfMemoryError("tried to allocate 3 GiB")

    halved: list[int] = []
    run = SimpleNamespace(halve=halved.append)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="3 GiB"):
        solvers.Run.in_pieces(run, work, [(slice(0, 2), slice(0, 2))])
    assert tried == [4, 2, 1]
    assert halved == [4, 2]


@pytest.mark.parametrize("shape", [(24, 21), (40,), (12, 10, 9)])
@pytest.mark.parametrize("photons", [None, 1e7])
def test_a_pattern_that_a_real_object_explains_is_told_of_by_default(shape, photons):
    obj = torch.rand([n // 2 for n in shape])
    intensity = pr.operators.fourier_intensity(obj, shape)
    if photons:
        intensity = torch.poisson(intensity * (photons / intensity.sum()))
    options = {"support": torch.ones(obj.shape) > 0, "ndim": len(shape)}
    mask = torch.ones(shape, dtype=torch.bool)
    mask.view(-1)[1:3] = False
    with pytest.warns(
        UserWarning, match='1 of 1 patterns are symmetric within noise, .* Use constraint="nonnegative" or'
    ):
        solvers.HIO(1)(torch.where(mask, intensity, 1e9), mask=mask, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solvers.HIO(1)(intensity, constraint="complex", **options)  # who says so knows
        turned = torch.polar(obj, 3 * torch.rand(obj.shape))
        solvers.HIO(1)(pr.operators.fourier_intensity(turned, shape), **options)


@pytest.mark.parametrize("shape", [(32, 32), (31, 32), (40,), (12, 10, 9)])
def test_a_real_object_is_told_of_where_the_detector_ends_before_the_largest_frequency_has_its_opposite(shape):
    """An even frame about its middle holds -m/2, whose opposite is not measured: the two are not the same pixel."""
    obj = torch.rand([n // 3 for n in shape])
    whole = pr.operators.fourier_intensity(obj, [2 * m for m in shape], centered=True)
    middle = tuple(slice(m - m // 2, m - m // 2 + m) for m in shape)
    options = {"support": torch.ones([n // 2 for n in shape]) > 0, "ndim": len(shape), "centered": True}
    with pytest.warns(UserWarning, match="1 of 1 patterns are symmetric within noise"):
        solvers.HIO(1)(whole[middle], **options)


def test_photons_of_a_few_bright_pixels_do_not_hide_that_an_object_is_real() -> None:
    generator = torch.Generator().manual_seed(0)
    bars = torch.zeros(61, 90)
    bars[5:9, 10:38], bars[30:34, 50:80], bars[12:40, 44:48], bars[50:54, 4:30] = 1.0, 0.7, 0.9, 0.8
    bars[20:24, 20:24] = 6.0
    for obj, shape in ((0.3 + torch.rand(40, 40, generator=generator), (96, 90)), (bars, (200, 210))):
        intensity = pr.operators.fourier_intensity(obj, shape)
        counts = torch.poisson((intensity * (1e5 / intensity.sum())).expand(8, *shape), generator=generator)
        with pytest.warns(UserWarning, match="8 of 8 patterns are symmetric within noise"):
            solvers.HIO(1)(counts, support=torch.ones(obj.shape) > 0)


@pytest.mark.parametrize("case", ["weak phase", "weak phase, photons", "few pairs"])
def test_what_is_not_real_within_noise_is_not_told_of_as_real(case: str) -> None:
    generator = torch.Generator().manual_seed(0)
    line = torch.linspace(-1, 1, 16)
    phase = 0.05 * (line[:, None] * line + line.square()[:, None])
    obj = torch.polar(torch.rand(16, 16, generator=generator) + 0.5, 0 * phase if case == "few pairs" else phase)
    intensity = pr.operators.fourier_intensity(obj, (40, 40))
    mask = torch.ones(40, 40, dtype=torch.bool)
    if "photons" in case:
        intensity = torch.poisson(intensity * 1e10 / intensity.sum(), generator=generator)
    if case == "few pairs":
        mask[:18] = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solvers.HIO(1)(intensity, mask=mask, support=torch.ones(16, 16) > 0)


@pytest.mark.parametrize("centered", [False, True])
def test_a_zero_frequency_at_the_other_place_is_asked_about_once(centered: bool) -> None:
    intensity = pr.operators.fourier_intensity(torch.rand(8, 8) + 0.2, (32, 32), centered=not centered)
    options = {"support": torch.ones(8, 8) > 0, "constraint": "nonnegative", "centered": centered}
    with pytest.warns(UserWarning, match="HIO: the light gathers at the ") as said:
        pr.solvers.HIO(2)(intensity, **options)
    assert len(said) == 1
    fix = "leave centered out" if centered else r"use centered=True, or torch.fft.ifftshift(intensity, dim=(-2, -1))"
    assert str(said[0].message).endswith(f"was taken for the zero frequency. If it is not, {fix}.")
    if not centered:
        pr.solvers.HIO(2)(torch.fft.ifftshift(intensity, dim=(-2, -1)), **options)
    pr.solvers.HIO(2)(torch.rand(32, 32), **options)  # light everywhere says nothing


def test_a_measurement_in_the_place_of_an_intensity_is_answered_with_its_tensor() -> None:
    measurement = pr.io.as_measurement(torch.rand(8, 8))
    with pytest.raises(TypeError, match=r"must be a torch.Tensor, got Measurement. Use its .intensity."):
        pr.solvers.reconstruct(measurement)
    masked = pr.io.as_measurement(torch.rand(8, 8), mask=torch.rand(8, 8) > 0.5)
    with pytest.raises(TypeError, match=r"got Measurement. Use its .intensity, and mask= with its .mask."):
        pr.solvers.HIO(2)(masked)
    result = pr.solvers.HIO(2)(torch.rand(8, 8) + 1, constraint="nonnegative")
    with pytest.raises(TypeError, match=r"estimate must be a torch.Tensor, got Reconstruction. Use its .obj."):
        pr.losses.passive_loss(result, torch.rand(8, 8))


def test_a_start_that_is_not_finite_is_called_so() -> None:
    class Breaks(pr.solvers.Algorithm):
        def iterate(self, x, p, known, n):
            broken = p.clone()
            broken[:, 1] = torch.nan
            return broken if n > 3 else known.project(p)

    intensity = pr.operators.fourier_intensity(torch.rand(8, 8), (16, 16))
    with pytest.warns(UserWarning, match="1 of 3 starts ended with values that are not finite: they are ranked last"):
        r = Breaks(20)(intensity, support=box(8, 8), constraint="nonnegative", starts=3)
    assert r.ranking[-1] == 1
    assert r.choice[0].endswith("of 2 starts; the others have values that are not finite")
    near = (torch.rand(8, 8) + 0.1).expand(3, 8, 8)
    with pytest.warns(UserWarning, match="1 of 3 starts ended with values that are not finite"):
        r = Breaks(6)(intensity, support=box(8, 8), constraint="nonnegative", init=near, starts=3)
    assert r.averaged.tolist() == [True, False, True]
    assert r.prtf.isfinite().all()
    assert r.obj.isfinite().all()


def test_starts_none_of_which_is_finite_have_no_transfer_function() -> None:
    class Breaks(pr.solvers.Algorithm):
        def iterate(self, x, p, known, n):
            broken = known.project(p)
            return broken.where(torch.tensor([True, False])[:, None, None, None], torch.nan)

    intensity = pr.operators.fourier_intensity(torch.rand(2, 8, 8), (16, 16))
    with pytest.warns(UserWarning, match="3 of 6 starts ended with values that are not finite"):
        r = Breaks(6)(intensity, support=box(8, 8), constraint="nonnegative", starts=3)
    assert r.prtf.isnan().all(-1).tolist() == [False, True]
    assert r.prtf[0].isfinite().all()


def test_a_mean_that_fits_far_worse_than_its_starts_is_not_the_result() -> None:
    """Two objects with one pattern: a factor of their transform is turned."""
    generator = torch.Generator().manual_seed(0)
    part = torch.rand(1, 1, 7, 7, dtype=torch.float64, generator=generator) + 0.5
    kernel = torch.tensor([[1, 0.25], [0.15, 0]], dtype=torch.float64)[None, None]
    starts = torch.cat([torch.nn.functional.conv2d(part, k, padding=1)[0] for k in (kernel, kernel.flip(2, 3))])
    intensity = pr.operators.fourier_intensity(starts, (16, 16))
    torch.testing.assert_close(*intensity)
    options = {"support": box(8, 8), "constraint": "nonnegative", "init": starts, "starts": 2}
    r = solvers.ErrorReduction(1)(intensity[0], **options)
    assert 0.8 < float(r.agreement.min()) < 0.999
    assert int(r.averaged.sum()) == 1
    assert float(r.error) < 1e-6


def test_patterns_on_two_axes_have_a_support_each() -> None:
    intensity = pr.operators.fourier_intensity(torch.rand(2, 3, 5, 5), (12, 12))
    support = torch.rand(2, 3, 5, 5) > 0.3
    support[..., 0, 0] = True
    found = pr.solvers.HIO(3)(intensity, support=support, constraint="nonnegative").obj
    one = pr.solvers.HIO(3)(intensity[1, 2], support=support[1, 2], constraint="nonnegative", seed=0).obj
    assert found.shape == (2, 3, *one.shape)
    assert not found[~support].any()
    with pytest.raises(ValueError, match=r"support must broadcast to the batch shape \(2, 3\)"):
        pr.solvers.HIO(3)(intensity, support=support.transpose(0, 1), constraint="nonnegative")
