"""Recipes, supports, twins, breeding, checkpoints."""

from __future__ import annotations

import inspect
import io
import math
import re
import types

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import phaseret as pr
from phaseret import solvers
from phaseret.solvers import Recipe
from phaseret.solvers._algorithms import ALGORITHMS
from phaseret.solvers._gaps import FEW
from phaseret.solvers._solve import _checkpoints

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(reconstructions (are not unique|were found by few)|symmetric within noise)"
)

S = torch.ones(6, 6, dtype=torch.bool)


def patterns(count=2, n=6, m=12):
    obj = torch.rand(count, n, n)
    return obj, pr.operators.fourier_intensity(obj, (m, m))


# --- schedules -------------------------------------------------------------------------------------------------------


def words(recipe):
    return [(type(leaf).__name__, leaf.n_iter) for leaf in recipe.leaves()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hio:5", [("HIO", 5)]),
        (" RAAR:4 , er:1 ", [("RAAR", 4), ("ErrorReduction", 1)]),
        ("2*hio:3", [("HIO", 3)] * 2),
        ("2*(hio:3,2*(er:1),shrinkwrap)", ([("HIO", 3), *[("ErrorReduction", 1)] * 2, ("Shrinkwrap", 0)]) * 2),
        ("detwin:7,breed", [("Detwin", 7), ("Breed", 0)]),
        ("((dm:1))", [("DifferenceMap", 1)]),
    ],
)
def test_text_is_read(text, expected):
    recipe = Recipe(text)
    assert words(recipe) == expected
    assert recipe.n_iter == sum(n for _, n in expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Recipe: schedule '' must have a step at its end"),
        (
            "hoi:5",
            "Recipe: schedule 'hoi:5' must have a step at 'hoi:5'. Did you mean 'hio'.* The words are er, hio, raar",
        ),
        ("hio", "must have a : and the number of iterations after hio at its end"),
        ("hio:0", "must have a positive number of iterations at '0'"),
        ("hio:5,", "must have a step at its end"),
        ("hio:5 er:5", "must have a comma or an end at 'er:5'"),
        ("3(hio:5)", r"must have a \* after the number of repeats at '\(hio:5\)'"),
        ("2*(hio:5", r"must have a \) at its end"),
        ("hio:5;er:2", "must have a comma or an end at ';er:2'. Steps are separated by commas"),
        ("0*hio:5", r"must have a positive number of repeats at '0\*hio:5'"),
    ],
)
def test_text_that_is_no_schedule_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Recipe(text)


def steps_of(recipe):
    return [repr(leaf) for leaf in recipe.leaves()]


def test_text_carries_options():
    recipe = Recipe(
        "hio(beta=0.8):50, raar(beta=(.6,0.95)):20, 2*Shrinkwrap( sigma=2, method='rms' ), sparse(coarse=2):70"
    )
    assert steps_of(recipe) == [
        repr(solvers.HIO(50, beta=0.8)),
        repr(solvers.RAAR(20, beta=(0.6, 0.95))),
        *[repr(solvers.Shrinkwrap(sigma=2, method="rms"))] * 2,
        repr(solvers.SparseRRR(70, coarse=2)),
    ]
    assert steps_of(Recipe("detwin(axis=-1):9,cf(delta=1e-1):3,sparse(coarse=none):70")) == [
        repr(solvers.Detwin(9, axis=-1)),
        repr(solvers.ChargeFlip(3, delta=0.1)),
        repr(solvers.SparseRRR(70)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hio(beat=0.8):5", r"must have an option of hio, each once, at 'beat=0.8\):5'. Did you mean 'beta'"),
        ("hio(beta=1,beta=1):5", r"must have an option of hio, each once, at 'beta=1\):5'"),
        ("breed(beta=1)", "an option of breed, each once, at .* Did you mean 'best'"),
        ("hio(beta 1):5", r"must have a = and the value after beta at '1\):5'"),
        ("hio(beta=):5", r"must have a value at '\):5'. Write a number, a word or a pair"),
        ("hio(beta=1;):5", r"must have a comma or a \) after the value at ';\):5'"),
        ("raar(beta=(1,;)):5", r"must have a value at '\(1,;\)\):5'. Write a number, a word or a pair"),
        ("raar(beta=(1,2):5", r"must have a comma or a \) after the value at ':5'"),
        (
            "hio(beta=7):5",
            r"that hio takes \(beta must be .* above 0 and at most 2.0, got 7\) at 'hio\(beta=7\):5'. Choose",
        ),
        ("er:5,hio(beta=fast):5", r"that hio takes \(beta must be .*, got 'fast'\) at 'hio\(beta=fast\):5'"),
        ("hio:" + "9" * 5000, "must have a positive number of iterations at .* of at most 15 digits"),
        ("(" * 5000, "must have at most 50 brackets or repeats in one another"),
    ],
)
def test_options_in_text_that_are_wrong_are_named_with_their_place(text, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Recipe(text)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("HIO**50", "Write hio:50"),
        ("ER**20*HIO**50", "Write er:20. Steps are separated by commas, and the first runs first"),
        ("3*(20*ER+180*HIO)", "Write er:20"),
        ("hio50", "Write hio:50"),
        ("hio 50", "Write hio:50"),
        ("hio:5,sup", "Write shrinkwrap"),
        ("SW", "Write shrinkwrap"),
        ("hio:5+er:5", "Steps are separated by commas"),
        ("DetwinHIO:20", "Write detwin:50"),
        ("difference_map:50", "Write dm:50"),
        ("ErrorReduction:50", "Write er:50"),
        ("shrinkwarp", "Did you mean 'shrinkwrap'?"),
    ],
)
def test_the_words_of_other_programs_are_answered_with_ours(text, answer):
    with pytest.raises(ValueError, match="Recipe: schedule") as caught:
        Recipe(text)
    assert answer in str(caught.value)


numbers = st.floats(0.01, 1.0)
algorithms = st.one_of(
    *(st.builds(kind, st.integers(1, 9)) for kind in (solvers.ErrorReduction, solvers.ASR, solvers.SolventFlip)),
    *(
        st.builds(kind, st.integers(1, 9), beta=numbers)
        for kind in (solvers.HIO, solvers.RAAR, solvers.DifferenceMap, solvers.RRR, solvers.HPR, solvers.ADMM)
    ),
    st.builds(solvers.RAAR, st.integers(1, 9), beta=st.tuples(numbers, numbers)),
    st.builds(solvers.CHIO, st.integers(1, 9), beta=numbers, alpha=numbers),
    st.builds(solvers.OSS, st.integers(1, 9), stages=st.integers(2, 9)),
    st.builds(solvers.ChargeFlip, st.integers(1, 9), delta=numbers),
    st.builds(solvers.SparseRRR, st.integers(1, 9), smallest=numbers, coarse=st.none() | st.integers(1, 4)),
    st.builds(solvers.Detwin, st.integers(1, 9), axis=st.none() | st.integers(-2, 1)),
    st.builds(solvers.Shrinkwrap, sigma=numbers, method=st.sampled_from(["max", "rms"]), decay=numbers),
    st.builds(
        solvers.Breed,
        best=st.sampled_from(["error", "sharpness", "area", "phase"]),
        rule=st.sampled_from(["sqrt", "b_pa", "sqrt_fourier", "switch"]),
    ),
)
recipes = st.recursive(
    algorithms,
    lambda steps: st.builds(
        lambda parts, times: Recipe(*parts, times=times), st.lists(steps, min_size=1, max_size=3), st.integers(1, 3)
    ),
    max_leaves=6,
)


@given(recipes)
def test_a_recipe_written_as_text_is_read_back(step):
    recipe = Recipe(step)
    again = Recipe(recipe.text)
    assert steps_of(again) == steps_of(recipe)
    assert again.text == recipe.text
    assert again.n_iter == recipe.n_iter


class Own(solvers.Algorithm):
    def iterate(self, x, p, known, n):
        return known.project(p)


@pytest.mark.parametrize("step", [Own(3), solvers.Detwin(solvers.RAAR(3)), solvers.HIO(3, beta=torch.tensor(0.5))])
def test_a_step_that_text_cannot_say_is_refused(step):
    with pytest.raises(ValueError, match="a step must be one that text can say, got"):
        _ = Recipe("hio:5", step).text


def test_a_schedule_of_any_length_ends_when_the_callback_says_so():
    _, intensity = patterns(1)
    r = solvers.reconstruct(
        intensity, schedule="999999999*(hio:5,er:5)", support=S, callback=lambda run: run.iteration >= 20
    )
    assert r.checked == [5, 10, 15, 20]


def test_steps_without_an_algorithm_are_refused():
    with pytest.raises(ValueError, match=r"Recipe: the steps must hold an algorithm, got Recipe\(Shrinkwrap"):
        Recipe("shrinkwrap,breed")(torch.rand(12, 12), support=S)


def test_bad_steps_are_refused():
    with pytest.raises(ValueError, match="Recipe: steps must hold at least one step, got none"):
        Recipe()
    with pytest.raises(TypeError, match="Recipe: steps must be steps or texts, got int"):
        Recipe(5)
    with pytest.raises(ValueError, match="Recipe: times must be an integer of at least 1, got 0"):
        Recipe("hio:1", times=0)
    with pytest.raises(TypeError, match="Detwin: algorithm must be an algorithm, got Shrinkwrap"):
        solvers.Detwin(solvers.Shrinkwrap())
    with pytest.raises(ValueError, match="Recipe: axis of Detwin must be an axis of an object of 2 axes, got 2"):
        Recipe(solvers.Detwin(solvers.HIO(1), axis=2))(torch.rand(12, 12), support=S)


def test_repr_shows_the_steps():
    recipe = Recipe(solvers.HIO(5), "2*er:3")
    assert repr(recipe) == "Recipe(HIO(n_iter=5, beta=0.9), Recipe(ErrorReduction(n_iter=3), times=2))"
    assert "Shrinkwrap(threshold=0.15, sigma=3.0" in repr(Recipe("shrinkwrap"))
    assert (
        repr(Recipe("hio:5,2*(er:3)")) == "Recipe(HIO(n_iter=5, beta=0.9), Recipe(ErrorReduction(n_iter=3), times=2))"
    )


def test_a_recipe_is_its_algorithms_one_after_the_other():
    _, intensity = patterns()
    r = solvers.reconstruct(intensity, schedule="2*(hio:5,er:3)", support=S, constraint="nonnegative", starts=2)
    assert r.checked == [5, 8, 13, 16]
    iterate = None
    for algorithm in [solvers.HIO(5), solvers.ErrorReduction(3)] * 2:
        kept = []
        last = algorithm(
            intensity,
            support=S,
            constraint="nonnegative",
            starts=2,
            init=iterate,
            callback=lambda run, kept=kept: kept.append(run.iterate.clone()) is not None,
        )
        iterate = kept[-1]
    torch.testing.assert_close(r.objs, last.objs, atol=1e-4, rtol=1e-4)
    assert Recipe("hio:3")(intensity, support=S).obj.shape == (2, 6, 6)


# --- supports --------------------------------------------------------------------------------------------------------


def test_the_autocorrelation_reaches_twice_as_far_as_the_object():
    obj = torch.ones(9, 5)
    for centered in (False, True):
        intensity = pr.operators.fourier_intensity(obj, (32, 21), centered=centered)
        support = solvers.autocorrelation_support(intensity, threshold=1e-4, centered=centered)
        assert support.any(1).sum() == 9
        assert support.any(0).sum() == 5
    batch = torch.stack([intensity, 3 * intensity])
    assert torch.equal(solvers.autocorrelation_support(batch, threshold=1e-4, centered=True)[1], support)
    masked = torch.where(torch.rand(32, 21) > 0.01, intensity, torch.nan)
    assert solvers.autocorrelation_support(masked, mask=masked.isfinite(), centered=True).any()


@pytest.mark.parametrize(("shape", "size"), [((12,), (4,)), ((15, 8), (3, 4)), ((9, 10, 7), (3, 2, 4))])
@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_the_first_guess_is_the_box_in_the_middle(shape, size, scale):
    intensity = pr.operators.fourier_intensity(scale * torch.ones(2, *size), shape)
    expected = torch.zeros(2, *shape, dtype=torch.bool)
    expected[(slice(None), *(slice((m - n) // 2, (m - n) // 2 + n) for m, n in zip(shape, size, strict=True)))] = True
    for threshold in (0.01, 1 / (2 * math.prod(size))):  # the least lag of a box is one pixel of all of them
        found = solvers.autocorrelation_support(intensity, threshold=threshold, ndim=len(shape))
        assert torch.equal(found, expected)
    single = solvers.autocorrelation_support(intensity, threshold=1, ndim=len(shape))
    assert (single.flatten(1).sum(1) == 1).all()


def soft(shape, sigma):
    """A Gaussian that is cut off at the edge of its box."""
    lines = [torch.exp(-(torch.linspace(-1, 1, n) ** 2) / (2 * sigma**2)) for n in shape]
    return math.prod(line.reshape([-1 if a == b else 1 for b in range(len(shape))]) for a, line in enumerate(lines))


def apart(*shape):
    """Two bright blocks in opposite corners, and a faint one between."""
    obj = torch.zeros(shape)
    obj[tuple(slice(0, n // 4) for n in shape)] = 1
    obj[tuple(slice(n - n // 4, n) for n in shape)] = 0.8
    obj[tuple(slice(n // 2, n // 2 + 2) for n in shape)] = 0.2
    return obj


OBJECTS = {
    "dense": (torch.ones(24, 17), (64, 48)),
    "fills half": (torch.ones(16, 16), (32, 31)),
    "soft": (soft((30, 24), 0.4), (96, 80)),
    "faint edge": (soft((20, 20), 0.55), (40, 41)),
    "apart": (apart(40, 30), (128, 96)),
    "soft solid": (soft((14, 12, 10), 0.5), (32, 30, 24)),
    "solids apart": (apart(16, 12, 14), (40, 36, 32)),
    "complex": (torch.polar(soft((20, 26), 0.5), torch.linspace(0, 5, 26).expand(20, 26)), (64, 64)),
    "line": (soft((40,), 0.5), (128,)),
}


@pytest.mark.parametrize("stop", [0, 1], ids=["", "beam stop"])
@pytest.mark.parametrize("photons", [1e7, 1e5])
@pytest.mark.parametrize("name", OBJECTS)
def test_the_first_guess_holds_the_object(name, photons, stop):
    obj, shape = OBJECTS[name]
    ndim = len(shape)
    intensity = pr.operators.fourier_intensity(obj, shape)
    intensity = torch.poisson(intensity * (photons / intensity.sum()))
    near = [torch.arange(m).minimum(m - torch.arange(m)) <= stop for m in shape]
    mask = ~math.prod(n.reshape([-1 if a == b else 1 for b in range(ndim)]).int() for a, n in enumerate(near)).bool()
    found = solvers.autocorrelation_support(intensity, mask=mask if stop else None, ndim=ndim)
    sizes = [
        int(found.any([a for a in range(ndim) if a != axis] or 0).sum() if ndim > 1 else found.sum())
        for axis in range(ndim)
    ]
    assert all(size <= (m + 1) // 2 for size, m in zip(sizes, shape, strict=True))
    # the part of the object that a box of these sizes holds, at its best place
    energy = obj.abs().double().square()
    for axis, size in enumerate(sizes):
        line = energy.sum([a for a in range(ndim) if a != axis]) if ndim > 1 else energy
        windows = line.unfold(0, min(size, len(line)), 1).sum(-1)
        assert windows.max() > 0.999 * line.sum(), sizes
    if not stop:
        assert math.prod(sizes) < 4 * obj.numel()


def textured(*shape):
    """Values of all sizes, sharp at the edges of the box."""
    return 0.1 + torch.rand(shape, generator=torch.Generator().manual_seed(1)).square()


HIDDEN = {
    "even": (torch.ones(32, 36), (128, 120)),
    "textured": (textured(40, 33), (101, 96)),
    "apart": (apart(40, 36), (128, 100)),
    "complex": (torch.polar(textured(36, 30), torch.linspace(0, 3, 30).expand(36, 30)), (96, 90)),
}


@pytest.mark.parametrize("photons", [None, 1e7], ids=["", "counts"])
@pytest.mark.parametrize("speckles", [2, 3, 4, 6])
@pytest.mark.parametrize("name", HIDDEN)
def test_behind_a_stop_of_several_speckles_the_box_is_the_least_that_explains_the_rest(name, speckles, photons):
    obj, shape = HIDDEN[name]
    intensity = pr.operators.fourier_intensity(obj, shape)
    near = [
        torch.minimum(torch.arange(m), m - torch.arange(m)) < speckles * m / n / 2
        for m, n in zip(shape, obj.shape, strict=True)
    ]
    mask = ~(near[0][:, None] & near[1])
    if photons is not None:
        intensity = torch.poisson(intensity * photons / intensity[mask].sum())
    found = solvers.autocorrelation_support(intensity, mask=mask)
    sizes = [int(found.any(1 - axis).sum()) for axis in (0, 1)]
    assert all(n <= size <= 1.25 * n + 3 for n, size in zip(obj.shape, sizes, strict=True)), sizes


@pytest.mark.parametrize("name", ["dense", "apart", "complex"])
def test_a_wide_hidden_centre_does_not_hide_the_box(name):
    """A saturated centre of many pixels, much wider than speckles: what lies beside it tells the extent."""
    obj = {"dense": torch.ones(40, 36), "apart": apart(40, 36), "complex": soft((40, 36), 0.8) * (1 + 1j)}[name]
    intensity = pr.operators.fourier_intensity(obj, (384, 390), centered=True)
    counts = torch.poisson(intensity * 1e7 / intensity.sum())
    away = (torch.arange(384)[:, None] - 192).square() + (torch.arange(390) - 195).square()
    mask = away > 27**2
    assert int((~mask).sum()) > FEW
    found = solvers.autocorrelation_support(counts, mask=mask, centered=True)
    sizes = [int(found.any(1 - axis).sum()) for axis in (0, 1)]
    assert all(n <= size <= 2.5 * n for n, size in zip(obj.shape, sizes, strict=True)), sizes


def test_first_guesses_of_a_batch_are_those_of_its_items():
    intensity = pr.operators.fourier_intensity(torch.rand(2, 3, 7, 9), (24, 30))
    mask = torch.rand(2, 1, 24, 30) > 0.02
    found = solvers.autocorrelation_support(intensity, mask=mask)
    for i in range(2):
        for j in range(3):
            assert torch.equal(found[i, j], solvers.autocorrelation_support(intensity[i, j], mask=mask[i, 0]))


def test_each_item_has_the_box_that_it_has_alone_whatever_the_others_miss():
    generator = torch.Generator().manual_seed(0)
    intensity = pr.operators.fourier_intensity(torch.rand(12, 15, generator=generator) + 0.2, (64, 64))
    lag = torch.fft.fftfreq(64) * 64
    stop, whole = lag[:, None].square() + lag.square() > 30, torch.ones(64, 64, dtype=torch.bool)
    many = whole.clone()
    many.view(-1)[torch.randperm(4096, generator=generator)[: FEW + 50]] = False
    masks = torch.stack([stop, many, whole, ~whole])
    found = solvers.autocorrelation_support(intensity.expand(2, 4, -1, -1), mask=masks)
    alone = [solvers.autocorrelation_support(intensity, mask=mask) for mask in masks]
    assert torch.equal(found, torch.stack(alone).expand_as(found))
    assert torch.equal(alone[2], solvers.autocorrelation_support(intensity))
    assert [int(alone[3].any(axis).sum()) for axis in (1, 0)] == [32, 32]  # nothing was measured


def test_the_box_behind_a_stop_has_no_unit():
    """Not even where a background was subtracted, and the sum says nothing."""
    generator = torch.Generator().manual_seed(0)
    intensity = pr.operators.fourier_intensity(torch.rand(12, 15, generator=generator) + 0.2, (64, 64))
    lag = torch.fft.fftfreq(64) * 64
    stop = lag[:, None].square() + lag.square() > 30
    seen = (intensity - intensity.mean()).where(stop, 0)
    assert seen.sum() < 0
    boxes = [solvers.autocorrelation_support(seen * unit, mask=stop) for unit in (1, 1e12, 1e-12)]
    assert torch.equal(boxes[0], boxes[1])
    assert torch.equal(boxes[0], boxes[2])
    assert [int(boxes[0].any(axis).sum()) for axis in (1, 0)] == [15, 18]


def test_the_defaults_of_the_supports_are_the_numbers_in_use():
    own = {name: p.default for name, p in inspect.signature(solvers.shrinkwrap_support).parameters.items()}
    assert own | {"obj": 0} == {"obj": 0, **SHRINKWRAP, "level": None, "ndim": 2}
    of_the_room = {"least": 0.05, "most": 1.0}
    assert solvers.Shrinkwrap().options == SHRINKWRAP | of_the_room | {"decay": 0.9, "least_sigma": 1.0}
    assert inspect.signature(solvers.autocorrelation_support).parameters["threshold"].default is None


SHRINKWRAP = {"threshold": 0.15, "sigma": 3.0, "method": "rms", "least": 0.001, "most": 0.25}


def test_the_root_mean_square_is_that_of_the_pixels_that_are_not_zero():
    obj = torch.zeros(3, 6, 6)
    obj[0, 2, 3], obj[1, 1, :4] = 2.0, torch.tensor([1.0, 2.0, 3.0, 4.0])
    options = {"sigma": 0, "method": "rms", "least": 0, "most": 1}
    # Above every pixel the brightest stays; with a level of 0 all are as bright.
    counts = {1.01: [1, 2, 36], 0.8: [1, 2, 36], 0.7: [1, 3, 36], 0.3: [1, 4, 36]}
    for threshold, expected in counts.items():
        found = solvers.shrinkwrap_support(obj, threshold=threshold, **options)
        assert found.flatten(1).sum(1).tolist() == expected, threshold


def test_shrinkwrap_narrows_its_blur_each_time_down_to_the_least():
    _, intensity = patterns()
    wrap = solvers.Shrinkwrap(threshold=0.6, sigma=2.0, least=0, most=1, decay=0.5, least_sigma=0.8)
    seen, support = [], torch.zeros(12, 12, dtype=torch.bool)
    support[2:9, 3:11] = True
    recipe = Recipe(*[solvers.HIO(2), wrap] * 4, "hio:1")
    recipe(
        intensity,
        support=support,
        check_every=1,
        callback=lambda run: seen.append((run.problem.embed(run.estimate), run.support)),
    )
    seen = seen[1::2]  # the estimate before each update; the support after it is that of the next
    for (estimate, _), (_, found), sigma in zip(seen, seen[1:], (2.0, 1.0, 0.8), strict=False):
        expected = solvers.shrinkwrap_support(estimate, threshold=0.6, sigma=sigma, least=0, most=1) & support
        assert torch.equal(found[..., :7, :8], expected[..., 2:9, 3:11])


@pytest.mark.parametrize("method", ["max", "rms"])
@pytest.mark.parametrize("complex_", [False, True])
def test_shrinkwrap_equals_a_slow_one(method, complex_):
    obj = torch.rand(2, 9, 8, dtype=torch.float64) ** 4
    if complex_:
        obj = torch.polar(obj, torch.rand(2, 9, 8, dtype=torch.float64))
    found = solvers.shrinkwrap_support(obj, threshold=0.5, sigma=1.1, method=method, least=0, most=1)
    rows, columns = np.fft.fftfreq(9)[:, None], np.fft.fftfreq(8)
    kernel = np.exp(-2 * np.pi**2 * 1.1**2 * (rows**2 + columns**2))
    for item, support in zip(obj.abs().numpy(), found.numpy(), strict=True):
        blurred = np.fft.ifft2(np.fft.fft2(item) * kernel).real
        level = blurred.max() if method == "max" else np.sqrt((blurred**2).mean())
        np.testing.assert_array_equal(support, blurred >= 0.5 * level)


def test_shrinkwrap_keeps_within_its_guards():
    obj = torch.rand(3, 10, 10)
    assert (solvers.shrinkwrap_support(obj, threshold=5.0, least=0.05).sum((-1, -2)) == 5).all()
    assert (solvers.shrinkwrap_support(obj, threshold=1e-3, most=0.25).sum((-1, -2)) == 25).all()


def collapsing(*starts):
    """The starts of two patterns go through a support update that keeps every pixel above half of the brightest."""
    obj = 1 + torch.rand(2, 8, 8)
    intensity = pr.operators.fourier_intensity(obj, (20, 20))
    spot = torch.zeros(2, 8, 8)
    spot[:, 3, 4] = 4
    init = torch.stack([{"object": obj, "spot": spot}[name] for name in starts], 1)
    update = solvers.Shrinkwrap(threshold=0.5, sigma=0, method="max", least=0.1)
    recipe = Recipe(solvers.HIO(1), solvers.Shrinkwrap(threshold=0.01, sigma=0), _Keep(init), update, "er:1")
    return recipe(intensity, support=torch.ones(8, 8) > 0, constraint="nonnegative", starts=len(starts), init=init)


class _Keep(solvers.Step):
    """Every start shows what it was given."""

    def __init__(self, init):
        super().__init__()
        self.init = init

    def advance(self, run):
        run.estimate = self.init.clone()


def test_a_start_whose_support_collapsed_is_ranked_last_and_warned_of():
    with pytest.warns(UserWarning, match=r"the supports of 4 of 6 starts fell to the least .* and 0 of 2 reconstruc"):
        r = collapsing("spot", "object", "spot")
    assert r.scores.isinf().tolist() == r.agreement.eq(0).tolist() == 2 * [[True, False, True]]
    assert r.ranking[:, 0].tolist() == [1, 1]
    assert r.averaged.tolist() == 2 * [[False, True, False]]
    torch.testing.assert_close(r.obj, r.objs[:, 1])
    assert r.choice[0].endswith("the least of 1 starts; the others have a support that collapsed")


def test_starts_that_agree_on_a_collapsed_support_do_not_count():
    with pytest.warns(UserWarning, match=r"the supports of 4 of 4 starts fell .* and 2 of 2 reconstructions have no"):
        r = collapsing("spot", "spot")
    assert (r.agreement == 0).all()
    assert r.averaged.tolist() == 2 * [[True, False]]
    assert r.choice[0].endswith("all starts have a support that collapsed")
    assert "0% of the best agree" in repr(r)


def test_a_collapse_is_known_after_a_resumption():
    obj = 1 + torch.rand(8, 8)
    intensity = pr.operators.fourier_intensity(obj, (20, 20))
    recipe = Recipe("hio:5", solvers.Shrinkwrap(threshold=50.0), "er:5")
    options = {"support": torch.ones(8, 8) > 0, "constraint": "nonnegative", "starts": 2, "check_every": 1}
    states = []
    with pytest.warns(UserWarning, match="the supports of 2 of 2 starts fell"):
        recipe(intensity, checkpoint=states.append, checkpoint_every=7, **options)
    with pytest.warns(UserWarning, match="the supports of 2 of 2 starts fell"):
        r = recipe(intensity, resume=states[0], **options)
    assert r.scores.isinf().all()


@pytest.mark.parametrize("constraint", ["complex", "nonnegative"])
def test_without_a_support_the_room_is_that_of_the_autocorrelation(constraint):
    seen = []
    intensity = pr.operators.fourier_intensity(torch.rand(2, 6, 5), (40, 30))
    options = {"support_size": 20} if constraint == "complex" else {}
    mask = torch.ones(40, 30, dtype=torch.bool)
    mask[0, 3:5] = False
    Recipe("hio:3,shrinkwrap,hio:1")(
        intensity, mask=mask, constraint=constraint, callback=lambda run: seen.append(run.room), **options
    )
    mask = mask if constraint == "complex" else mask | mask.flip(0, 1).roll((1, 1), (0, 1))
    expected = solvers.autocorrelation_support(intensity, mask=mask).sum((-2, -1))
    assert seen[-1].flatten().tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0}, "threshold must be a finite number above 0, got 0"),
        ({"sigma": -1}, "sigma must be a finite number at least 0 and at most 1000000.0, got -1"),
        ({"sigma": 1e300}, r"sigma must be .* at most 1000000.0, got 1e\+300"),
        ({"method": "mean"}, "method must be one of 'max', 'rms', 'level', got 'mean'"),
        ({"least": 0.5, "most": 0.1}, "least must not exceed most, got 0.5 and 0.1"),
    ],
)
def test_shrinkwrap_refuses_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=f"shrinkwrap_support: {message}"):
        solvers.shrinkwrap_support(torch.rand(8, 8), **options)
    with pytest.raises(ValueError, match=f"Shrinkwrap: {message}"):
        solvers.Shrinkwrap(**options)


def test_shrinkwrap_refuses_a_least_blur_that_no_grid_has():
    with pytest.raises(ValueError, match=r"least_sigma must be .* at most 1000000.0, got 1e\+300"):
        solvers.Shrinkwrap(sigma=1e6, least_sigma=1e300)


def test_shrinkwrap_finds_the_support_of_several_objects():
    obj = torch.zeros(8, 40, 40)
    obj[:, 12:20, 10:24] = 1 + torch.rand(8, 8, 14)
    obj[:, 12:16, 10:16] = 0
    intensity = pr.operators.fourier_intensity(obj[:, 12:20, 10:24], (40, 40))
    guess = solvers.autocorrelation_support(intensity)
    r = solvers.reconstruct(
        intensity, schedule="20*(hio:20,shrinkwrap),er:20", support=guess, constraint="nonnegative", starts=3
    )
    assert (r.support.sum((-1, -2)) < guess.sum((-1, -2))).all()
    solved = r.error < 0.05
    assert solved.sum() >= 3  # 7 with a standard deviation of 1
    aligned = pr.symmetry.align(r.obj, obj, fourier_shape=(80, 80)).aligned[solved]
    assert ((aligned * obj[solved]).sum() / (aligned.norm() * obj[solved].norm())) > 0.99


def test_detwin_runs_in_half_of_the_support():
    _, intensity = patterns()
    seen = []
    recipe = Recipe(solvers.Detwin(solvers.HIO(4), axis=1), "hio:4")
    recipe(intensity, support=S, init=torch.rand(6, 6), callback=lambda run: seen.append(run.estimate.clone()))
    assert (seen[0][..., 3:] == 0).all()
    assert (seen[0][..., :3] != 0).any()
    assert (seen[1][..., 3:] != 0).any()


@pytest.mark.parametrize(("axis", "halved"), [(None, 1), (0, 0), (1, 1), (-2, 0)])
@pytest.mark.parametrize("given", [True, False])
def test_the_half_of_detwin_ends_at_the_centre_of_mass_of_the_support(axis, halved, given):
    support = torch.zeros(2, 4, 7, dtype=torch.bool)
    support[0], support[1, :, :2], support[1, 1, 5:] = True, True, True
    seen = []
    recipe = Recipe(solvers.Detwin(solvers.ErrorReduction(1), axis=axis))
    options = {"constraint": "nonnegative", "bounds": (0.01, 10.0)}  # so that no pixel of the half is 0
    recipe(
        torch.rand(2, 8, 14),
        support=support if given else None,
        **options,
        callback=lambda run: seen.append(run.estimate[:, 0] != 0),
    )
    support = support if given else torch.ones_like(seen[0])
    places = torch.arange(support.shape[1 + halved], dtype=torch.float64)
    places = places[:, None] if halved == 0 else places
    middle = (support * places).sum((-1, -2), keepdim=True) / support.sum((-1, -2), keepdim=True)
    half = support & (places <= middle)
    assert torch.equal(seen[0], half)


def test_breeding_aligns_the_sign_of_a_real_object():
    """Two starts that are one object and its negative are bred to that object, not to the difference of the two."""
    obj, intensity = patterns()
    obj = obj - 0.5
    intensity = pr.operators.fourier_intensity(obj, (12, 12))
    init = torch.stack([obj, -obj], 1)
    seen = []
    recipe = Recipe("er:1,breed,er:1")
    r = recipe(
        intensity, support=S, constraint="real", starts=2, init=init, callback=lambda run: seen.append(run.error)
    )
    torch.testing.assert_close(r.objs[:, 0], obj, atol=1e-4, rtol=0)
    torch.testing.assert_close(r.objs[:, 1], obj, atol=1e-3, rtol=0)


def test_breeding_aligns_a_start_that_crosses_the_edge_of_the_grid():
    obj, intensity = patterns()
    obj = torch.nn.functional.pad(obj, (0, 6, 0, 6))
    init = torch.stack([obj, obj.roll((9, 8), (-2, -1))], 1)
    r = Recipe("er:1,breed,er:1")(intensity, constraint="nonnegative", starts=2, init=init)
    torch.testing.assert_close(r.objs[:, 1], r.objs[:, 0], atol=1e-3, rtol=0)


def test_breeding_mixes_the_starts_with_the_best():
    obj, intensity = patterns()
    kept = []
    recipe = Recipe("er:1,breed,er:1")
    twin = pr.symmetry.conj_flip(obj)
    init = torch.stack([obj, twin], 1)
    recipe(intensity, support=S, constraint="nonnegative", starts=2, init=init, callback=lambda r: kept.append(r))
    torch.testing.assert_close(kept[-1].estimate[:, 0], kept[-1].estimate[:, 1], atol=1e-4, rtol=0)
    r = solvers.reconstruct(intensity, schedule="3*(hio:30,er:5,breed),er:20", support=S, constraint="real", starts=4)
    assert r.errors.max() < 0.3


class Look(solvers.Step):
    """Keeps what a run is at, whenever it is reached."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def advance(self, run):
        self.seen.append((run.iterate.clone(), run.estimate.clone(), run.error.clone()))


def phase_of(x):
    return np.where(x == 0, 1, x / np.where(x == 0, 1, np.abs(x)))


RULES = {
    "sqrt": lambda a, b: np.sqrt(np.abs(a) * np.abs(b)) * phase_of(a + b),
    "max": lambda a, b: np.maximum(np.abs(a), np.abs(b)) * phase_of(a + b),
    "mean": lambda a, b: (a + b) / 2,
    "harmonic": lambda a, b: 2 / (1 / a + 1 / b),
    "sqrt_pa": lambda a, b: np.sqrt(np.abs(a) * np.abs(b)) * phase_of(a),
    "max_pa": lambda a, b: np.maximum(np.abs(a), np.abs(b)) * phase_of(a),
    "mean_pa": lambda a, b: (np.abs(a) + np.abs(b)) / 2 * phase_of(a),
    "b_pa": lambda a, b: np.abs(b) * phase_of(a),
    "twice_pa": lambda a, b: (2 * np.abs(a) - np.abs(b)) * phase_of(a),
}


def bred(rule, complex_object, best="error"):
    """The best start, the two others turned to its phase, and their children, by a recipe on nearly equal starts."""
    dtype = torch.complex128 if complex_object else torch.float64
    obj = torch.rand(6, 6, dtype=torch.float64) + 0.1
    obj = obj * torch.polar(torch.ones_like(obj), torch.rand(6, 6, dtype=torch.float64)) if complex_object else obj
    intensity = pr.operators.fourier_intensity(obj, (12, 12))
    init = obj + 0.02 * torch.randn(3, 6, 6, dtype=dtype)
    before, after = Look(), Look()
    recipe = Recipe(solvers.ErrorReduction(1), before, solvers.Breed(rule=rule, best=best), after)
    recipe(intensity, support=S, constraint="complex" if complex_object else "real", starts=3, init=init)
    (_, estimate, error), (iterate, _, _) = before.seen[0], after.seen[0]
    estimate, iterate = estimate[0].numpy(), iterate[0].numpy()[..., :6, :6]
    lead = int(error[0].argmin())
    a, others = estimate[lead], [i for i in range(3) if i != lead]
    turned = [estimate[i] * phase_of((estimate[i].conj() * a).sum()) for i in others]
    return a, turned, iterate[others], (before, after, lead)


@pytest.mark.parametrize("complex_object", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_a_child_is_what_its_rule_says(rule, complex_object):
    a, others, children, (before, after, lead) = bred(rule, complex_object)
    for b, child in zip(others, children, strict=True):
        np.testing.assert_allclose(child, RULES[rule](a, b), atol=1e-9)
    torch.testing.assert_close(after.seen[0][0][0, lead], before.seen[0][0][0, lead], rtol=0, atol=0)


@pytest.mark.parametrize("complex_object", [False, True])
def test_a_child_of_the_spectra_is_the_inverse_transform_of_their_geometric_mean(complex_object):
    a, others, children, _ = bred("sqrt_fourier", complex_object)
    for b, child in zip(others, children, strict=True):
        spectrum = RULES["sqrt"](*(np.fft.fft2(x, (12, 12)) for x in (a, b)))
        expected = np.fft.ifft2(spectrum)[:6, :6]
        np.testing.assert_allclose(child, expected if complex_object else expected.real, atol=1e-9)


def test_a_switched_child_has_each_pixel_from_one_of_both():
    a, others, children, _ = bred("switch", True)
    for b, child in zip(others, children, strict=True):
        of_a, of_b = np.isclose(child, a, atol=1e-9), np.isclose(child, b, atol=1e-9)
        assert (of_a | of_b).all()
        assert of_a.any()
        assert of_b.any()
    assert not np.array_equal(np.isclose(children[0], a), np.isclose(children[1], a))


@pytest.mark.parametrize("best", ["error", "sharpness", "area", "phase"])
def test_the_best_start_is_the_one_that_was_asked_for(best):
    """Three objects: a low one of much phase, a peaked one of little, and a small one, the only one that fits."""
    wide = torch.full((6, 6), 0.5, dtype=torch.float64)
    steep = torch.polar(wide, torch.linspace(-2, 2, 6, dtype=torch.float64)[:, None].expand(6, 6))
    low = torch.polar(wide, torch.full_like(wide, 0.3))
    low[2:4, 2:4] *= 2
    small = torch.zeros(6, 6, dtype=torch.complex128)
    small[1:4, 1:5] = torch.rand(3, 4, dtype=torch.float64) + 1.0
    objs = torch.stack((steep, low, small))
    small_fits = pr.operators.fourier_intensity(small, (12, 12))
    before, after = Look(), Look()
    recipe = Recipe(Keep(1), before, solvers.Breed(best=best), after)
    recipe(small_fits, support=S, starts=3, init=objs)
    same = [torch.equal(before.seen[0][0][0, i], after.seen[0][0][0, i]) for i in range(3)]
    inside = np.abs(objs.numpy())
    scores = {
        "error": [1, 1, 0],
        "sharpness": (inside**4).sum((1, 2)),
        "area": -(inside > 0).sum((1, 2)).astype(float),
        "phase": [
            -np.abs(np.angle(o * phase_of(phase_of(o[o != 0]).sum()).conj())[o != 0]).sum() for o in objs.numpy()
        ],
    }[best]
    assert same.index(True) == int(np.argmin(scores))
    assert same.count(True) == 1


class Keep(solvers.Algorithm):
    """Leaves the iterate as it is, and makes it the estimate."""

    def step(self, x, magnitude, known, n):
        return x, x


def test_a_schedule_says_how_starts_are_bred():
    recipe = Recipe("2*(hio:3,breed(best=sharpness,rule=max_pa)),breed,er:1")
    assert steps_of(recipe)[1::2][:2] == ["Breed(best='sharpness', rule='max_pa', keep=1.0)"] * 2
    assert recipe.text == "2*(hio:3,breed(best=sharpness,rule=max_pa)),breed,er:1"
    assert Recipe("hio:3,breed(keep=0.5),er:1").text == "hio:3,breed(keep=0.5),er:1"
    with pytest.raises(ValueError, match=r"Breed: keep must be a finite number above 0 and at most 1, got 0"):
        solvers.Breed(keep=0)
    with pytest.raises(ValueError, match=r"Breed: rule must be one of 'sqrt', 'max'.* got 'sqrtpa'"):
        solvers.Breed(rule="sqrtpa")
    with pytest.raises(ValueError, match=r"best of Breed must not be 'phase' for a real object"):
        Recipe("er:1,breed(best=phase),er:1")(patterns()[1], support=S, constraint="real")


@pytest.mark.parametrize("algorithm", ["hio", "rrr", "oss", "cf"])
def test_culled_starts_end_there_and_the_others_go_on_as_with_all(algorithm):
    """Of 5 starts the 3 best ones of each pattern go on; what they come to does not depend on the others."""
    _, intensity = patterns()
    options = {"support": S, "constraint": "nonnegative", "starts": 5, "chunk": 2, "check_every": 1}
    left = []
    every, r = (
        solvers.reconstruct(intensity, schedule=f"er:6,breed{text},{algorithm}:4,er:3", callback=look, **options)
        for text, look in (("", None), ("(keep=0.5)", lambda run: left.append(run.left)))
    )
    assert left == [10] * 6 + [6] * 7
    for n in range(2):
        best = set(every.history[n, :, 5].argsort()[:3].tolist())
        assert int(r.ranking[n, 0]) in best
        for s in range(5):
            done = 13 if s in best else 6
            assert int(r.n_iters[n, s]) == done
            torch.testing.assert_close(r.history[n, s, :done], every.history[n, s, :done])
            assert bool(r.history[n, s, done:].isinf().all())
            if s in best:
                torch.testing.assert_close(r.objs[n, s], every.objs[n, s])
            else:
                assert not r.objs[n, s].any()
                assert r.agreement[n, s] == 0


def test_no_start_is_kept_by_rounding():
    intensity = pr.operators.fourier_intensity(torch.rand(4, 4), (8, 8))
    options = {"support": torch.ones(4, 4) > 0, "constraint": "nonnegative", "starts": 50}
    r = Recipe("er:1,breed(keep=0.3),er:1")(intensity, **options)
    assert r.errors.isfinite().sum() == 15


def test_of_all_starts_one_is_always_left_and_said_to_be():
    _, intensity = patterns()
    options = {"support": S, "constraint": "nonnegative", "starts": 5}
    r = Recipe("4*(hio:2,breed(best=sharpness,keep=0.5)),er:2")(intensity, **options)
    assert bool((r.errors.isfinite().sum(-1) == 1).all())
    assert "the only one that was begun and not culled" in r.choice[0]
    assert bool((r.n_iters.sort(-1).values == torch.tensor([2, 2, 4, 6, 10])).all())


def test_starts_that_are_solved_are_not_culled():
    obj, intensity = patterns()
    init = torch.stack([obj, *torch.rand(3, *obj.shape)], 1)
    recipe = Recipe("er:3,breed(best=area,keep=0.1),hio:4")
    r = recipe(intensity, support=S, constraint="nonnegative", starts=4, init=init, tolerance=1e-3, check_every=1)
    assert bool((r.n_iters[:, 0] == 1).all())
    assert bool((r.errors[:, 0] <= 1e-3).all())
    assert bool((r.errors.isfinite().sum(-1) == 2).all())


def test_a_run_goes_on_from_a_checkpoint_behind_a_culling():
    _, intensity = patterns()
    recipe, kept = Recipe("hio:4,breed(keep=0.5),hio:6,er:2"), []
    options = {"support": S, "constraint": "nonnegative", "starts": 4, "check_every": 2}
    whole = recipe(intensity, checkpoint=kept.append, checkpoint_every=6, **options)
    again = recipe(intensity, resume=kept[0], **options)
    assert torch.equal(again.objs, whole.objs)
    assert torch.equal(again.n_iters, whole.n_iters)


@pytest.mark.parametrize("rule", ["sqrt", "sqrt_fourier", "switch"])
def test_breeding_in_pieces_gives_the_same_in_three_dimensions(rule):
    obj = torch.rand(2, 4, 3, 5, dtype=torch.float64)
    obj = torch.polar(obj, obj)
    intensity = pr.operators.fourier_intensity(obj, (8, 7, 10))
    options = {"support": torch.ones(4, 3, 5) > 0, "ndim": 3, "starts": 3}
    step = Recipe(solvers.HIO(5), solvers.Breed(rule=rule, best="sharpness"), solvers.ErrorReduction(2))
    whole = step(intensity, **options, chunk=6)
    torch.testing.assert_close(step(intensity, **options, chunk=1).objs, whole.objs)
    torch.testing.assert_close(step(intensity[1], **options).objs, whole.objs[1])


def test_no_start_of_a_real_object_is_lost_by_its_sign():
    """Starts near the object or its negative stay that near, in twelve drawings at once."""
    obj = torch.rand(12, 6, 6, dtype=torch.float64) - 0.3
    intensity = pr.operators.fourier_intensity(obj, (12, 12))
    signs = torch.tensor([1.0, -1, 1, -1, -1, 1, -1, 1], dtype=torch.float64)[:, None, None]
    init = signs * (obj[:, None] + 0.01 * torch.randn(12, 8, 6, 6, dtype=torch.float64))
    r = Recipe("er:1,breed,er:1")(intensity, support=S, constraint="real", starts=8, init=init)
    assert r.errors.max() < 0.05
    distance = torch.minimum((r.objs - obj[:, None]).norm(dim=(-1, -2)), (r.objs + obj[:, None]).norm(dim=(-1, -2)))
    assert (distance < 0.1 * obj.norm(dim=(-1, -2))[:, None]).all()


# --- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schedule", ["hio:40,er:20", "admm:60", "3*(raar:20,shrinkwrap)", "hio:20,detwin:20,hio:20", "rrr:30,breed,dm:30"]
)
def test_a_resumed_run_equals_an_uninterrupted_one(schedule):
    _, intensity = patterns()
    options = {"schedule": schedule, "support": S, "constraint": "nonnegative", "starts": 3, "check_every": 5}
    saved = []

    def save(state):
        buffer = io.BytesIO()
        torch.save(state, buffer)
        saved.append(buffer)

    whole = solvers.reconstruct(intensity, checkpoint=save, checkpoint_every=10, **options)
    assert len(saved) == 6
    for buffer in saved:
        buffer.seek(0)
        resumed = solvers.reconstruct(intensity, resume=torch.load(buffer, weights_only=True), **options)
        assert torch.equal(resumed.objs, whole.objs)
        assert torch.equal(resumed.history, whole.history)
        assert resumed.checked == whole.checked


def test_a_checkpoint_of_another_run_is_refused():
    _, intensity = patterns()
    saved = []
    solvers.reconstruct(intensity, schedule="hio:10", support=S, checkpoint=saved.append, checkpoint_every=10)
    with pytest.raises(ValueError, match="reconstruct: resume must hold iterates and estimates of shapes"):
        solvers.reconstruct(intensity, schedule="hio:10", support=S, starts=2, resume=saved[0])
    with pytest.raises(ValueError, match=r"reconstruct: resume must hold iterate, estimate, error, .* got x"):
        solvers.reconstruct(intensity, schedule="hio:10", support=S, resume={"x": 1})


def test_progress_shows_a_bar(capsys):
    pytest.importorskip("tqdm")
    _, intensity = patterns()
    solvers.reconstruct(intensity, schedule="hio:20", support=S, progress=True)
    assert "20/20" in capsys.readouterr().err


def test_help_names_every_word_of_a_schedule():
    words = set(re.findall(r"[a-z]+", Recipe.__doc__))
    assert {*ALGORITHMS, "shrinkwrap", "breed", "detwin"} <= words


def test_an_endless_schedule_is_not_repeated_whole() -> None:
    with pytest.raises(
        ValueError, match=r"schedule 'hio:5,x+ \.\.\. x+' must have a step at 'x+ \.\.\. x+'\."
    ) as caught:
        Recipe("hio:5," + "x" * 10**5)
    assert len(str(caught.value)) < 500


def test_the_box_of_curves_is_that_of_each() -> None:
    intensity = pr.operators.fourier_intensity(torch.rand(3, 9)[:, None], (1, 48))[:, 0]
    together = solvers.autocorrelation_support(intensity, ndim=1)
    for one, box in zip(intensity, together, strict=True):
        assert torch.equal(solvers.autocorrelation_support(one, ndim=1), box)


@pytest.mark.filterwarnings("ignore:.*reconstructions")
def test_children_have_the_support_of_the_best_start() -> None:
    obj = torch.zeros(16, 16)
    obj[2:8, 3:7] = torch.rand(6, 4) + 0.5
    twin = pr.symmetry.shift(obj.flip(0, 1), (1, 1))
    intensity = pr.operators.fourier_intensity(obj, (32, 32))
    start = torch.stack([obj, twin])
    options = {"support": torch.ones(16, 16) > 0, "constraint": "nonnegative", "init": start, "starts": 2}
    r = solvers.reconstruct(intensity, schedule="er:2,shrinkwrap(sigma=1,least_sigma=1),er:1,breed,er:2", **options)
    assert float(r.errors.max()) < 1e-3


def test_a_gradient_flows_through_breed() -> None:
    intensity = pr.operators.fourier_intensity(torch.rand(5, 5), (10, 10)).requires_grad_()
    options = {"support": torch.ones(5, 5) > 0, "constraint": "nonnegative", "starts": 2}
    r = solvers.reconstruct(intensity, schedule="er:3,breed,er:3", **options)
    (gradient,) = torch.autograd.grad(r.objs.sum(), intensity)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("item", ["(er:1)", "2*er:1"])
def test_brackets_and_repeats_side_by_side_are_not_in_one_another(item):
    assert len(list(Recipe(",".join([item] * 60)).leaves())) >= 60


def test_a_run_is_saved_at_the_first_check_after_each_so_many_iterations():
    saved = []
    save = _checkpoints(lambda state: saved.append(state), 10)
    for checked in ([4], [4, 8], [4, 8, 12], [4, 8, 12, 16], [4, 8, 12, 16, 20], [12], [12, 19], [10], [5, 10]):
        run = types.SimpleNamespace(checked=checked, iteration=checked[-1], state_dict=lambda last=checked: last)
        save(run)
    assert saved == [[4, 8, 12], [4, 8, 12, 16, 20], [12], [10], [5, 10]]
    saved.clear()
    save(types.SimpleNamespace(checked=[10, 15], iteration=15, state_dict=dict))
    assert saved == []


def test_detwin_halves_at_the_centre_of_mass_whatever_the_form_of_the_support() -> None:
    halves: list[Tensor] = []

    class Kept(solvers.ErrorReduction):
        def advance(self, run: solvers.Run) -> None:
            halves.append(run.half)
            super().advance(run)

    triangle = torch.ones(7, 9).triu() > 0
    for axis in (0, 1):
        Recipe(solvers.Detwin(Kept(1), axis=axis))(torch.rand(20, 20), support=triangle, constraint="real")
        rows = torch.arange(triangle.shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1))
        expected = (rows <= (triangle * rows).sum() / triangle.sum()).expand(triangle.shape)
        assert torch.equal(halves[-1][0, 0], expected)


def test_a_word_that_is_missing_in_a_schedule_is_answered_with_all_words() -> None:
    with pytest.raises(ValueError, match=r"must have a \* after the number of repeats.*\. The words are .*hio"):
        Recipe("3(hio:5)")
