"""Steps for crystals: the hull of the autocorrelation, the level of the modulus, starts in turn, and "bragg"."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import phaseret as pr
from phaseret import solvers
from phaseret.cli import _commands
from phaseret.projections import MagnitudeConstraint, ObjectConstraint
from phaseret.solvers import Enough, Hull, Recipe, Shrinkwrap, _solve
from phaseret.solvers._counts import expected_error, root_spread
from phaseret.solvers._extent import counted, filled, hull
from phaseret.solvers._gaps import filled_in_hull

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(reconstructions (are not unique|were found by few)|symmetric within noise|holds .* of .* pixels)"
)

BLOCK = torch.ones(6, 6) > 0


def counts_of(obj: Tensor, m: int, peak: float = 1e5, seed: int = 0) -> Tensor:
    intensity = pr.operators.fourier_intensity(obj, (m,) * obj.ndim)
    generator = torch.Generator().manual_seed(seed)
    return pr.noise.poisson_noise(intensity * (peak / intensity.max()), generator=generator)


# --- the hull --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(9,), (9, 7), (7, 9, 5)])
def test_the_hull_of_a_box_is_the_box_of_that_share_of_its_autocorrelation(shape: tuple[int, ...]) -> None:
    d = len(shape)
    intensity = pr.operators.fourier_intensity(torch.ones(shape), tuple(2 * n + 6 for n in shape))
    half = solvers.autocorrelation_support(intensity, form="hull", width=0.5, threshold=1e-4, ndim=d)
    # the autocorrelation reaches n - 1 pixels, half of it (n - 1) / 2: n pixels in the middle
    expected = torch.zeros_like(half)
    expected[tuple(slice((2 * n + 6) // 2 - n // 2, (2 * n + 6) // 2 + n // 2 + 1) for n in shape)] = True
    assert torch.equal(half, expected)


@pytest.mark.parametrize("shape", [(6,), (6, 7), (4, 5, 6)])
def test_the_hull_of_all_is_all_and_that_of_nothing_is_the_middle(shape: tuple[int, ...]) -> None:
    every = torch.ones(2, *shape, dtype=torch.bool)
    every[1] = False
    found = hull(every, len(shape), 1.0)
    assert found[0].all()
    assert found[1].nonzero().tolist() == [[m // 2 for m in shape]]


@pytest.mark.parametrize("shape", [(16,), (16, 17), (9, 10, 11)])
def test_a_pattern_without_light_says_nothing_of_the_support(shape: tuple[int, ...]) -> None:
    lit, d = pr.operators.fourier_intensity(torch.ones([4] * len(shape)), shape), len(shape)
    for form in ("box", "hull"):
        both = solvers.autocorrelation_support(torch.stack([lit, 0 * lit]), form=form, ndim=d)
        assert torch.equal(both[0], solvers.autocorrelation_support(lit, form=form, ndim=d))
        half = math.prod((m + 1) // 2 for m in shape)
        assert int(both[1].sum()) == half if form == "box" else int(both[1].sum()) > half


def test_a_hull_makes_up_for_what_lies_below_the_share_that_counts() -> None:
    inside = torch.zeros(2, 40, 40) > 0
    inside[:, 12:29, 15:26] = True
    level = torch.tensor([0.04, 0.0])[:, None, None]
    found = hull(inside, 2, 0.5, level)
    assert torch.equal(found[0], hull(inside[0], 2, 0.5 / 0.8))  # 1 / (1 - 0.04^(1/2))
    assert torch.equal(found[1], hull(inside[1], 2, 0.5))
    obj = pr.datasets.strained_crystal((13, 13, 13), generator=torch.Generator().manual_seed(0))
    intensity = pr.operators.fourier_intensity(obj, (32, 32, 32))
    draw = torch.Generator().manual_seed(1)
    counts = [pr.noise.poisson_noise(intensity * (peak / intensity.max()), generator=draw) for peak in (1e4, 1e6)]
    few, many = (solvers.autocorrelation_support(x, form="hull", ndim=3).sum() for x in counts)
    # with nothing made up for
    narrow, wide = (hull(counted(x, 3, None)[0].roll((16, 16, 16), (0, 1, 2)), 3, 0.66).sum() for x in counts)
    assert abs(few / many - 1) < 0.5 * abs(narrow / wide - 1)


def test_the_hull_has_the_shape_of_the_object_where_the_box_has_not() -> None:
    y, x = torch.meshgrid(torch.arange(-8, 9), torch.arange(-8, 9), indexing="ij")
    diamond = (y.abs() + x.abs() <= 8).float()
    intensity = pr.operators.fourier_intensity(diamond, (48, 48))
    found = solvers.autocorrelation_support(intensity, form="hull", width=0.5, threshold=1e-4)
    assert diamond.sum() <= found.sum() <= 1.1 * diamond.sum()
    assert solvers.autocorrelation_support(intensity, threshold=1e-4).sum() == 17 * 17


def test_hulls_of_a_batch_are_those_of_its_items_and_centred_data_are_told() -> None:
    obj = torch.rand(2, 6, 6) + 1
    obj[1, 3:] = 0
    intensity = pr.operators.fourier_intensity(obj, (20, 20))
    both = solvers.autocorrelation_support(intensity, form="hull")
    for k in range(2):
        assert torch.equal(both[k], solvers.autocorrelation_support(intensity[k], form="hull"))
    centred = torch.fft.fftshift(intensity, (-2, -1))
    assert torch.equal(both, solvers.autocorrelation_support(centred, form="hull", centered=True))


def test_a_hull_gives_a_support_to_a_run_without_one_and_leaves_one_that_is_given() -> None:
    intensity = pr.operators.fourier_intensity(torch.rand(6, 6) + 0j, (20, 20))
    recipe = Recipe(Hull(width=0.6), "rrr:10")
    found = recipe(intensity, constraint="complex")
    expected = solvers.autocorrelation_support(intensity, form="hull", width=0.6)
    assert torch.equal(found.support, expected)
    assert recipe(intensity, support=BLOCK, constraint="complex").obj.shape == (6, 6)


def test_a_hull_with_room_begins_narrow_and_lets_the_support_grow() -> None:
    intensity = pr.operators.fourier_intensity(torch.rand(2, 9, 8) + 0j, (32, 31))
    options: dict[str, Any] = {"constraint": "complex", "starts": 2}
    narrow = solvers.autocorrelation_support(intensity, form="hull", width=0.5)
    wide = solvers.autocorrelation_support(intensity, form="hull", width=0.65)
    begun = Recipe(Hull(width=0.5, room=1.3), "er:1")(intensity, **options).support
    assert begun is not None
    begun = begun.expand(2, 2, 32, 31)
    assert (begun & ~wide[:, None]).sum() == 0
    assert ((begun.sum((2, 3)) / narrow.sum((1, 2))[:, None] - 1).abs() < 0.2).all()  # a pixel of the rim
    everything = "shrinkwrap(method=level,sigma=0,least_sigma=0,threshold=1e-6)"
    grown = Recipe(Hull(width=0.5, room=1.3), f"er:1,level,{everything},er:1")(intensity, **options).support
    assert grown is not None
    assert torch.equal(grown, wide)
    given = Recipe(Hull(width=0.5, room=1.3), "er:1")(intensity, support=torch.ones(9, 8) > 0, **options).support
    assert given is None or bool(given.all())
    assert Hull(width=0.9, room=1.3)._widest == 1


def test_a_background_makes_the_hull_no_smaller() -> None:
    obj = torch.polar(torch.ones(8, 8), torch.linspace(0, 1, 8).expand(8, 8))
    intensity = pr.operators.fourier_intensity(obj, (32, 32))
    options: dict[str, Any] = {"constraint": "complex"}
    expected = Recipe("hull,er:1")(intensity, **options).support
    dark = torch.full_like(intensity, 100.0)
    assert torch.equal(Recipe("hull,er:1")(intensity + dark, background=dark, **options).support, expected)
    assert torch.equal(Recipe("hull,er:1")(intensity + 100, background=100.0, **options).support, expected)


# --- the level -------------------------------------------------------------------------------------------------------


def seen(recipe: str, intensity: Tensor, **options: Any) -> solvers.Run:
    """The run at its last check."""
    runs: list[solvers.Run] = []
    Recipe(recipe)(intensity, callback=runs.append, check_every=1, **options)
    return runs[-1]


@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
@pytest.mark.parametrize("constraint", ["complex", "nonnegative"])
def test_with_the_ratio_of_the_pixels_parseval_gives_the_modulus(norm: Any, constraint: Any) -> None:
    obj = torch.zeros(6, 6)
    obj[:3] = 2.5
    intensity = pr.operators.fourier_intensity(obj, (16, 16), norm=norm)
    run = seen("level(ratio=2),er:1", intensity, support=BLOCK, constraint=constraint, norm=norm)
    assert run.level is not None
    torch.testing.assert_close(run.level, torch.full((1, 1), 2.5))


def test_unmeasured_pixels_count_with_what_the_autocorrelation_asks_for() -> None:
    intensity = pr.operators.fourier_intensity(torch.ones(6, 6) + 0j, (20, 20))
    mask = torch.ones(20, 20) > 0
    mask[0, 0] = False  # a twelfth of the power
    run = seen("level(ratio=1),er:1", intensity.where(mask, torch.nan), mask=mask, support=BLOCK)
    assert run.level is not None
    torch.testing.assert_close(run.level, torch.ones(1, 1), atol=0.02, rtol=0)


def test_without_a_ratio_the_level_is_the_median_of_what_is_bright() -> None:
    obj = torch.ones(6, 6)
    obj[0], obj[1] = 0.2, 1.6
    obj = torch.polar(obj, torch.linspace(0, 1, 6).expand(6, 6))
    intensity = pr.operators.fourier_intensity(obj, (16, 16))
    run = seen("er:20,level,er:1", intensity, support=BLOCK, init=obj, constraint="complex")
    assert run.level is not None
    torch.testing.assert_close(run.level, torch.ones(1, 1), atol=1e-4, rtol=0)


def test_the_modulus_stays_below_its_bound_and_is_flat_if_that_is_asked_for() -> None:
    obj = torch.polar(torch.rand(6, 6), torch.rand(6, 6))
    intensity = pr.operators.fourier_intensity(obj, (16, 16))
    bounded = seen("level(ratio=1,bound=1.2),rrr:20", intensity, support=BLOCK, constraint="complex")
    assert bounded.level is not None
    assert bounded.estimate.abs().max() <= 1.2 * bounded.level[0, 0] * (1 + 1e-5)
    flat = seen("level(ratio=1,flat=true),rrr:20", intensity, support=BLOCK, constraint="complex")
    assert flat.level is not None
    modulus = flat.estimate.abs() / flat.level[0, 0]
    assert ((modulus <= 0.5 + 1e-5) | ((modulus - 1).abs() < 1e-5)).all()
    free = seen("level(ratio=1),rrr:20,level(bound=none),er:5", intensity, support=BLOCK, constraint="complex")
    assert free.bound is None


@pytest.mark.parametrize("constraint", ["complex", "real", "nonnegative"])
def test_the_flat_constraint_sets_values_above_half_of_the_level_and_keeps_signs(constraint: Any) -> None:
    known = ObjectConstraint(constraint=constraint, ndim=1)
    x = torch.tensor([0.3, 0.6, 3.0, -0.6])
    x = x + 0j if constraint == "complex" else x
    expected = torch.tensor([0.3, 1.0, 1.0, 0.0 if constraint == "nonnegative" else -1.0]).to(x.dtype)
    torch.testing.assert_close(known.at_level(torch.ones(1), None, True).project(x), expected)
    clipped = torch.tensor([0.3, 0.6, 1.1, 0.0 if constraint == "nonnegative" else -0.6]).to(x.dtype)
    torch.testing.assert_close(known.at_level(torch.ones(1), 1.1, False).project(x), clipped)
    assert known.flat is None
    assert known.bounds is None


def test_a_level_refuses_what_is_none() -> None:
    with pytest.raises(ValueError, match="Level: bound must be"):
        solvers.Level(bound=0.5)
    with pytest.raises(ValueError, match="Level: ratio must be"):
        solvers.Level(ratio=0)
    with pytest.raises(ValueError, match="Hull: width must be"):
        Hull(width=1.5)


def test_a_level_with_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="bounds must not be given to a schedule with level, got some"):
        Recipe("level(ratio=1),rrr:5")(torch.ones(8, 8), support=torch.ones(4, 4) > 0, bounds=(0, 1))


# --- shrinkwrap relative to a level ----------------------------------------------------------------------------------


def test_the_modulus_below_the_level_is_blurred_and_cut() -> None:
    obj = 3 * torch.rand(16, 16)
    i = torch.fft.fftfreq(16) * 16
    kernel = torch.exp(-(i.square() + i[:, None].square()) / (2 * 1.5**2))
    blurred = torch.fft.ifft2(torch.fft.fft2(obj.clamp(max=1.0)) * torch.fft.fft2(kernel / kernel.sum())).real
    expected = blurred >= 0.9 * blurred.max()
    threshold = float(0.9 * blurred.max())
    found = solvers.shrinkwrap_support(obj, threshold=threshold, sigma=1.5, method="level", level=1.0, least=0, most=1)
    assert 0 < expected.sum() < 256
    assert torch.equal(found, expected)


def test_a_level_that_a_step_would_not_keep_to_is_refused() -> None:
    data = counts_of(torch.ones(6, 6) + 0j, 16)
    with pytest.raises(ValueError, match="level must not stand before sparse"):
        Recipe("level(ratio=1),sparse:9")(data, support=BLOCK, constraint="complex")


def test_children_have_the_level_of_the_best_start() -> None:
    levels: list[Tensor] = []
    obj = torch.rand(6, 6, generator=torch.Generator().manual_seed(0))
    Recipe("er:2,level,breed,er:2")(
        counts_of(obj, 16),
        support=BLOCK,
        constraint="nonnegative",
        starts=3,
        check_every=1,
        callback=lambda run: levels.append(run.level),
    )
    assert levels[:2] == [None, None]
    assert levels[2][0].unique().numel() == 1


def test_a_bright_pixel_changes_nothing_where_the_level_is_known() -> None:
    obj = torch.zeros(12, 12)
    obj[3:9, 3:9] = 1
    options: dict[str, Any] = {"sigma": 0.6, "threshold": 0.4, "least": 0, "most": 1}
    level = solvers.shrinkwrap_support(obj, method="level", level=1.0, **options)
    obj[5, 5] = 1000
    assert torch.equal(level, solvers.shrinkwrap_support(obj, method="level", level=1.0, **options))
    assert solvers.shrinkwrap_support(obj, method="max", **options).sum() < 10


def test_levels_of_a_batch_are_one_for_each_item() -> None:
    obj = torch.rand(3, 8, 8)
    level = torch.tensor([0.5, 1.0, 2.0])
    options: dict[str, Any] = {"method": "level", "sigma": 0.5, "threshold": 0.4, "least": 0, "most": 1}
    found = solvers.shrinkwrap_support(obj, level=level, **options)
    for k in range(3):
        assert torch.equal(found[k], solvers.shrinkwrap_support(obj[k], level=float(level[k]), **options))


def test_a_level_goes_with_its_method_and_must_be_found_first() -> None:
    with pytest.raises(ValueError, match="level must go with method='level', got level=None with method='level'"):
        solvers.shrinkwrap_support(torch.ones(4, 4), method="level")
    with pytest.raises(ValueError, match=r"level must go with method='level', got level=1.0 with method='rms'"):
        solvers.shrinkwrap_support(torch.ones(4, 4), level=1.0)
    with pytest.raises(ValueError, match=r"level must be a number or one for each item, \(2,\), got \(3,\)"):
        solvers.shrinkwrap_support(torch.ones(2, 4, 4), method="level", level=torch.ones(3))
    with pytest.raises(ValueError, match=r"the level of the modulus must be known for shrinkwrap\(method=level\)"):
        Recipe("er:1", Shrinkwrap(method="level"))(torch.ones(8, 8), support=torch.ones(4, 4) > 0)


def test_a_support_that_lost_a_pixel_gets_it_back() -> None:
    obj = torch.zeros(8, 8)
    obj[1:6, 2:7] = 1
    obj = torch.polar(obj, torch.linspace(0, 2, 8).expand(8, 8))
    inside = obj != 0
    missing = inside.clone()
    missing[1, 2] = False
    intensity = pr.operators.fourier_intensity(obj, (20, 20))
    recipe = "level(ratio=1,bound=none),er:8,shrinkwrap(method=level,sigma=0,least_sigma=0,threshold=0.35),er:1"
    run = seen(recipe, intensity, support=torch.ones(8, 8) > 0, init=obj * missing, constraint="complex")
    assert run.support is not None
    assert run.support[0, 0, 1, 2]


# --- counting noise --------------------------------------------------------------------------------------------------


def test_the_spread_of_roots_of_counts_is_that_of_drawn_ones() -> None:
    mean = torch.tensor([0.0, 1e-3, 0.1, 0.7, 2.0, 9.0, 60.0, 70.0, 1e4], dtype=torch.float64)
    drawn = torch.poisson(mean.expand(200_000, -1), generator=torch.Generator().manual_seed(0))
    expected = (drawn.sqrt() - mean.sqrt()).square()
    deviation = expected.std(0) / 200_000**0.5
    assert ((root_spread(mean) - expected.mean(0)).abs() <= 5 * deviation + 1e-6).all()
    assert root_spread(mean)[-1] == pytest.approx(0.25, rel=1e-4)
    torch.testing.assert_close(root_spread(torch.tensor(63.999)), root_spread(torch.tensor(64.0)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("norm", ["ortho", "backward"])
@pytest.mark.parametrize("real", [True, False])
def test_the_truth_has_the_error_that_is_expected(norm: Any, real: bool) -> None:
    obj = 3 * torch.rand(8, 8, generator=torch.Generator().manual_seed(1))
    obj = obj if real else torch.polar(obj, obj)
    counts = torch.poisson(
        pr.operators.fourier_intensity(obj, (32, 32), norm=norm), generator=torch.Generator().manual_seed(2)
    )
    constraint = MagnitudeConstraint(counts.sqrt(), real=real, norm=norm)
    ratio = constraint.residual(obj) / expected_error(constraint, obj)
    assert ratio == pytest.approx(1, abs=0.15)  # 1024 numbers, 5 deviations of some 3 %


def test_a_reconstruction_tells_its_misfit_of_counts_alone() -> None:
    obj = 10 * torch.rand(6, 6, generator=torch.Generator().manual_seed(0))
    clean = pr.operators.fourier_intensity(obj, (16, 16))
    counts = torch.poisson(clean, generator=torch.Generator().manual_seed(0))
    options: dict[str, Any] = {"support": BLOCK, "constraint": "nonnegative", "init": obj}
    both = solvers.ErrorReduction(20)(torch.stack([clean, counts]), **options)
    assert both.misfit.isnan().tolist() == [True, False]
    assert both.misfit[1] < 1.2
    assert "times the error that counting noise leaves" in both.choice[1]
    assert "counting noise" not in both.choice[0]
    torch.testing.assert_close(both.misfit[1], solvers.ErrorReduction(20)(counts, **options).misfit)
    wrong = solvers.ErrorReduction(1)(100 * counts, support=BLOCK, constraint="nonnegative")
    assert wrong.misfit > 1.3
    assert wrong.choice[0].endswith(", which noise alone does not explain")
    assert solvers.ErrorReduction(20)(counts, background=1.0, **options).misfit.isnan()


@pytest.mark.filterwarnings("ignore:.*outshines all about it")
def test_numbers_too_large_for_fractions_are_no_counts() -> None:
    obj = torch.rand(6, 6, generator=torch.Generator().manual_seed(0))
    clean = (1e15 * pr.operators.fourier_intensity(obj, (16, 16))).round()
    assert solvers.ErrorReduction(2)(clean, support=BLOCK, constraint="nonnegative").misfit.isnan()
    counts = torch.poisson(clean / 1e11, generator=torch.Generator().manual_seed(0))
    counts[0, 0] = 1e9
    assert solvers.ErrorReduction(2)(counts, support=BLOCK, constraint="nonnegative").misfit.isfinite()


# --- starts in turn --------------------------------------------------------------------------------------------------


def test_texts_say_how_many_starts_there_are_at_most() -> None:
    most = min(part.starts for part in Recipe("bragg").parts())
    assert most == pr.solvers.Enough.starts
    assert f"at most {most}, one after the other" in str(pr.solvers.reconstruct.__doc__)
    assert f"with --schedule bragg at most {most})" in inspect.getsource(_commands)


def test_starts_end_with_the_first_good_one_and_are_those_of_the_same_seeds() -> None:
    obj = 10 * torch.rand(6, 6, generator=torch.Generator().manual_seed(0))
    counts = torch.poisson(pr.operators.fourier_intensity(obj, (16, 16)), generator=torch.Generator().manual_seed(0))
    options: dict[str, Any] = {"support": BLOCK, "constraint": "nonnegative"}
    all_of_them = Recipe("er:3")(counts, starts=5, **options)
    misfit = all_of_them.errors / all_of_them.expected
    limit = float(misfit.sort().values[1]) * 1.001
    first = int((misfit <= limit).nonzero()[0])
    found = Recipe("er:3", Enough(misfit=limit))(counts, starts=5, **options)
    begun = found.errors.isfinite()
    assert begun.sum() <= first + 1 + (first < 4)
    assert begun[: int(begun.sum())].all()
    torch.testing.assert_close(found.errors[begun], all_of_them.errors[begun])
    assert found.agreement[~begun].sum() == 0
    assert found.checked == all_of_them.checked
    none = Recipe("er:3", Enough(misfit=1e-6))(counts, starts=3, **options)
    torch.testing.assert_close(none.errors, all_of_them.errors[:3])
    assert none.averaged.tolist() == [k == int(none.errors.argmin()) for k in range(3)]  # no mean
    torch.testing.assert_close(none.obj, none.objs[none.errors.argmin()])


@pytest.mark.parametrize(
    ("error", "expected", "explained"),
    [
        (0.0129, 0.01, True),  # bright: 1.3 times what noise leaves
        (0.0131, 0.01, False),
        (0.2059, 0.2, True),  # sqrt(0.205^2 + 0.02^2) = 0.205973
        (0.2060, 0.2, False),
        (0.0, 0.0, False),  # no counts
    ],
)
def test_strong_noise_explains_less_beyond_itself(error: float, expected: float, explained: bool) -> None:
    assert bool(Enough().explained(torch.tensor(error), torch.tensor(expected))) is explained
    given = Enough(misfit=error / expected * 1.001 if expected else 2.0)
    assert bool(given.explained(torch.tensor(error), torch.tensor(expected))) is (expected > 0)
    with pytest.raises(TypeError, match=r"^Enough\.explained: error must be a torch\.Tensor, got float"):
        Enough().explained(0.1, torch.tensor(0.1))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_no_support_is_seen_in_values_that_are_not_finite(value: float) -> None:
    intensity = pr.operators.fourier_intensity(torch.ones(8, 8), (32, 32)) - 0.01
    expected = solvers.autocorrelation_support(intensity)  # without their background counts may lie below 0
    intensity[3, 4] = value
    message = (
        r"autocorrelation_support: intensity must be finite where measured, got 1 other value, the first, .*\(3, 4\)"
    )
    with pytest.raises(ValueError, match=message):
        solvers.autocorrelation_support(intensity)
    assert torch.equal(solvers.autocorrelation_support(intensity, mask=intensity.isfinite()), expected)


def test_a_batch_in_turn_gives_what_its_items_give() -> None:
    obj = 10 * torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))
    counts = torch.poisson(pr.operators.fourier_intensity(obj, (16, 16)), generator=torch.Generator().manual_seed(0))
    support = torch.ones(3, 6, 6) > 0
    support[1, 0] = support[2, :, 0] = False
    recipe = Recipe("rrr:30,er:5,shrinkwrap,er:5,enough(misfit=1.5)")
    options: dict[str, Any] = {"constraint": "nonnegative", "starts": 4}
    both = recipe(counts, support=support, **options)
    for k in range(3):
        one = recipe(counts[k], support=support[k], **options)
        torch.testing.assert_close(both.errors[k], one.errors)
        torch.testing.assert_close(both.history[k], one.history)
        torch.testing.assert_close(both.agreement[k], one.agreement)
        torch.testing.assert_close(both.obj[k], one.obj)
        torch.testing.assert_close(both.prtf[k], one.prtf)
        torch.testing.assert_close(both.misfit[k], one.misfit)
        assert torch.equal(both.support[k], one.support)
        assert both.choice[k] == one.choice[0]


def test_a_blur_that_is_found_in_turn_is_told() -> None:
    obj = torch.polar(torch.ones(6, 6), torch.linspace(0, 1, 6).expand(6, 6))
    counts = torch.stack([counts_of(obj, 16), counts_of(obj.mT * 1.0, 16)])
    r = Recipe("rrr:20,enough(misfit=1e-6)")(counts, support=BLOCK, coherence="gaussian", starts=2)
    assert r.point_spread is not None
    assert r.point_spread.shape[0] == 2
    assert r.blur is not None
    assert r.blur.shape == (2, 2)
    first = Recipe("rrr:20,enough(misfit=100)")(counts[0], support=BLOCK, coherence="gaussian", starts=2)
    assert first.errors.isfinite().tolist() == [True, False]


def test_a_callback_ends_all_starts_in_turn() -> None:
    counts = counts_of(torch.ones(6, 6) + 0j, 16)
    r = Recipe("rrr:50,enough(misfit=1e-6)")(
        counts, support=BLOCK, constraint="complex", starts=3, callback=lambda run: run.iteration >= 20
    )
    assert r.checked == [10, 20]
    assert r.errors.isfinite().tolist() == [True, False, False]
    assert r.n_iters.tolist() == [20, 0, 0]
    assert r.choice[0].startswith("start 0: error ")
    assert "the only one that was begun" in r.choice[0]


def test_reconstruct_tries_four_in_turn_and_twelve_at_once() -> None:
    data = torch.rand(16, 16) + 0.5  # no counts: no start is good enough
    options: dict[str, Any] = {"support": BLOCK, "constraint": "complex"}
    assert len(solvers.reconstruct(data, schedule="er:2,enough", **options).seeds) == 4
    assert len(solvers.reconstruct(data, schedule="er:2", **options).seeds) == 12


@pytest.mark.parametrize("last", [True, False])
def test_a_start_that_ends_the_search_may_be_alone_also_the_last(last: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    obj = 20 * torch.polar(torch.rand(6, 6, generator=generator) + 0.5, 3 * torch.rand(6, 6, generator=generator))
    counts = pr.noise.poisson_noise(pr.operators.fourier_intensity(obj, (16, 16)), generator=generator)
    other = 20 * torch.randn(3, 6, 6, dtype=obj.dtype, generator=generator)
    init = torch.cat([other[:2], obj[None] if last else other[2:]])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        r = Recipe("er:3,enough")(counts, support=BLOCK, constraint="complex", init=init, starts=3)
    assert r.errors.isfinite().all()
    assert (r.misfit < 1.3) == last
    assert ("show another object" in " ".join(str(warning.message) for warning in told)) != last


def test_starts_in_turn_keep_no_state() -> None:
    counts = counts_of(torch.ones(6, 6) + 0j, 16)
    with pytest.raises(ValueError, match="checkpoint must be left out where starts run in turn"):
        Recipe("rrr:5,enough")(counts, support=BLOCK, checkpoint=print, starts=2)


@pytest.mark.parametrize("word", ["breed", "algebraic"])
def test_a_step_of_all_starts_is_refused_in_turn(word: str) -> None:
    data = pr.operators.fourier_intensity(torch.rand(5, 6, dtype=torch.float64), (12, 13))
    recipe = Recipe(f"{word},er:2,enough")
    with pytest.raises(ValueError, match=f"(?i){word}.* must be left out where starts run in turn"):
        recipe(data, support=torch.ones(5, 6) > 0, constraint="real", starts=2)
    alone = recipe(data, support=torch.ones(5, 6) > 0, constraint="real")
    assert alone.verdict == (["unique"] if word == "algebraic" else None)


def test_a_start_beside_a_known_part_is_good_enough_by_the_counts_of_both() -> None:
    obj = torch.zeros(9, 9, dtype=torch.float64)
    obj[:4, :4] = torch.rand(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    obj[7, 7] = 30
    known = obj.clone()
    known[:4, :4] = torch.nan
    counts = torch.poisson(pr.operators.fourier_intensity(obj, (18, 18)), generator=torch.Generator().manual_seed(0))
    options: dict[str, Any] = {"known": known, "constraint": "nonnegative", "init": obj, "starts": 2}
    found = Recipe("er:20,enough(misfit=1.2)")(counts, **options)
    assert found.errors.isfinite().tolist() == [True, False]
    assert 0.8 < found.misfit < 1.2
    constraint = MagnitudeConstraint(counts.sqrt(), real=True)
    torch.testing.assert_close(found.expected, expected_error(constraint, found.obj))


def test_the_blur_in_turn_is_that_of_the_best_start() -> None:
    counts = counts_of(torch.rand(6, 6, generator=torch.Generator().manual_seed(0)), 16)
    options: dict[str, Any] = {"support": BLOCK, "constraint": "nonnegative", "coherence": "free", "check_every": 1}
    turns = Recipe("er:20,enough(misfit=1e-6)")(counts, starts=3, **options)
    best = Recipe("er:20")(counts, seed=int(turns.errors.argmin()), **options)
    torch.testing.assert_close(turns.point_spread, best.point_spread)
    torch.testing.assert_close(turns.errors.min(), best.error)


def test_a_callback_that_ends_it_early_leaves_patterns_that_were_not_begun() -> None:
    obj = torch.rand(6, 6, generator=torch.Generator().manual_seed(0))
    counts = torch.stack([counts_of(obj, 16), counts_of(obj.mT, 16, seed=1), counts_of(obj, 16, seed=2)])
    calls = []
    found = Recipe("er:20,shrinkwrap,er:2,enough(misfit=1e-6)")(
        counts,
        support=BLOCK,
        constraint="nonnegative",
        coherence="free",
        check_every=1,
        starts=2,
        callback=lambda run: calls.append(run) or len(calls) == 48,  # in the third start, before it shrinks
    )
    assert found.errors.isfinite().tolist() == [[True, True], [True, False], [False, False]]
    assert found.n_iters.tolist() == [[22, 22], [4, 0], [0, 0]]
    assert found.scores[1, 0].isfinite()
    assert found.choice[2] == "no start was begun"
    assert found.point_spread is not None
    assert found.point_spread.shape == (3, 11, 11)


# --- the schedule ----------------------------------------------------------------------------------------------------


def test_bragg_is_a_schedule_that_its_text_gives_back() -> None:
    recipe = Recipe("bragg")
    assert recipe.text.startswith("hull(width=0.6,room=1.1),level(ratio=2.8),rrr(beta=0.4):")
    assert recipe.text.endswith(",enough")
    assert Recipe(recipe.text).text == recipe.text
    assert Recipe("2*(bragg),er:5").n_iter == 2 * recipe.n_iter + 5


@pytest.mark.parametrize(
    ("shape", "schedule", "given", "axes"),
    [
        ((2, 6, 6, 6), "bragg", {}, 3),
        ((6, 6, 6), " Bragg,er:1", {}, 3),
        ((6, 6, 6), "bragg", {"ndim": 2}, 2),
        ((6, 6), "bragg", {}, 2),
        ((6, 6, 6), "er:1", {}, 2),
    ],
)
def test_bragg_is_for_volumes_unless_told_otherwise(
    shape: tuple[int, ...],
    schedule: str,
    given: dict[str, int],
    axes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def prepare(intensity: Tensor, options: dict[str, Any], **more: Any) -> None:
        asked.append(options["ndim"])
        raise InterruptedError

    monkeypatch.setattr(_solve, "prepare", prepare)
    call: Callable[..., Any]
    for call in (partial(solvers.reconstruct, schedule=schedule), Recipe(schedule), Recipe("er:1", Recipe(schedule))):
        with pytest.raises(InterruptedError):
            call(torch.rand(shape), **given)
    assert asked == [axes] * 3


def accepted(seed: int) -> bool:
    """Whether counting noise explains what the schedule finds of a small strained crystal; then it must be right."""
    obj = pr.datasets.strained_crystal((9, 9, 9), span=math.pi, generator=torch.Generator().manual_seed(seed))
    r = solvers.reconstruct(counts_of(obj, 20, seed=seed), schedule="bragg", constraint="complex")
    if r.misfit >= 1.3:
        return False
    assert pr.metrics.iou(r.obj, obj, ndim=3) >= 0.97
    assert pr.metrics.phase_error(r.obj, obj, ndim=3) <= 0.08
    return True


def test_a_small_strained_crystal_is_found_without_any_truth() -> None:
    """Ten of twelve are, at once; the others take all starts, and are distrusted."""
    assert any(accepted(seed) for seed in range(4))


@pytest.mark.slow
def test_most_small_strained_crystals_are_found() -> None:
    assert sum(accepted(seed) for seed in range(8)) >= 3


# --- behind a beam stop -----------------------------------------------------------------------------------------------


def convex(*sizes: int, seed: int) -> Tensor:
    """A convex object of two or three axes with random phases that vary slowly."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in sizes], indexing="ij")
    inside = sum(axis.square() for axis in axes) + 0.6 * axes[0] * axes[-1] < 0.8
    draw = torch.Generator().manual_seed(seed)
    phase = sum(2 * float(torch.rand((), generator=draw)) * (axis + 0.5).square() for axis in axes)
    return torch.polar(torch.as_tensor(inside).double(), torch.as_tensor(phase).double())


@pytest.mark.parametrize(("sizes", "grid", "radius"), [((14, 15), (40, 44), 2.1), ((9, 8, 10), (24, 20, 24), 1.5)])
def test_what_a_beam_stop_hides_is_what_the_autocorrelation_asks_for(
    sizes: tuple[int, ...], grid: tuple[int, ...], radius: float
) -> None:
    obj = torch.stack([convex(*sizes, seed=seed) for seed in (0, 1)])
    intensity = pr.operators.fourier_intensity(obj, grid)
    known = pr.noise.beam_stop(grid, radius=radius)
    hidden = intensity.masked_fill(~known, 1e9)
    found = filled_in_hull(hidden, known.expand(hidden.shape), len(grid))
    axes = tuple(range(1, 1 + len(grid)))
    off = ((found - intensity).square().sum(axes) / (intensity * ~known).square().sum(axes)).sqrt()
    assert (off < 0.02).all()
    assert torch.equal(found[..., known], intensity[..., known])
    hulls = [
        solvers.autocorrelation_support(x, form="hull", mask=mask, ndim=len(grid)).sum(axes)
        for x, mask in ((hidden, known), (intensity, None))
    ]
    assert ((hulls[0] / hulls[1] - 1).abs() < 0.1).all()
    alone = filled_in_hull(hidden[0], known, len(grid))
    torch.testing.assert_close(alone, found[0], rtol=1e-6, atol=1e-6 * float(intensity.max()))


def test_an_object_whose_autocorrelation_leaves_no_room_is_filled_along_its_axes() -> None:
    intensity = pr.operators.fourier_intensity(torch.ones(12, 12) + 0j, (24, 24))
    known = pr.noise.beam_stop((24, 24), radius=1.1)
    torch.testing.assert_close(filled_in_hull(intensity, known, 2), filled(intensity, known, 2))


@pytest.mark.slow
def test_a_strained_crystal_is_found_behind_a_beam_stop() -> None:
    draw = torch.Generator().manual_seed(1)
    obj = pr.datasets.strained_crystal((15, 15, 15), span=math.pi, generator=draw)
    counts = counts_of(obj, 32, seed=1)
    mask = pr.noise.beam_stop((32, 32, 32), radius=1.1)
    r = solvers.reconstruct(counts, schedule="bragg", mask=mask, constraint="complex")
    assert r.misfit < 1.3
    assert pr.metrics.iou(r.obj, obj, ndim=3) >= 0.97


def test_patterns_in_turn_may_have_one_support_together() -> None:
    obj = 10 * torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(0))
    counts = torch.poisson(pr.operators.fourier_intensity(obj, (16, 16)), generator=torch.Generator().manual_seed(0))
    recipe, options = Recipe("er:5,enough(misfit=1.5)"), {"constraint": "nonnegative", "starts": 2}
    together = recipe(counts, support=BLOCK, **options)
    alone = recipe(counts, support=BLOCK.expand(2, *BLOCK.shape), **options)
    torch.testing.assert_close(together.objs, alone.objs)
