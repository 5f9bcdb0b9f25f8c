"""Recipes, supports, twins, breeding, checkpoints."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

import phaseret as pr
from phaseret import solvers
from phaseret.solvers import Recipe

pytestmark = pytest.mark.filterwarnings("ignore:.*reconstructions (are not unique|were found by few)")

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
        ("hoi:5", "Recipe: schedule 'hoi:5' must have a step at 'hoi:5'. The words are er, hio, raar"),
        ("hio", "must have a : and the number of iterations after hio at its end"),
        ("hio:0", "must have a positive number of iterations at '0'"),
        ("hio:5,", "must have a step at its end"),
        ("hio:5 er:5", "must have a comma or an end at 'er:5'"),
        ("3(hio:5)", r"must have a \* after the number of repeats at '\(hio:5\)'"),
        ("2*(hio:5", r"must have a \) at its end"),
        ("hio:5;er:2", "must have a step at ';er:2'"),
        ("0*hio:5", r"must have a positive number of repeats at '0\*hio:5'"),
    ],
)
def test_text_that_is_no_schedule_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Recipe(text)


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
    assert "Shrinkwrap(threshold=0.2, sigma=3.0" in repr(Recipe("shrinkwrap"))


def test_a_recipe_is_its_algorithms_one_after_the_other():
    _, intensity = patterns()
    r = solvers.reconstruct(intensity, schedule="2*(hio:5,er:3)", support=S, constraint="nonnegative", starts=2)
    assert r.iterations == [5, 8, 13, 16]
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0}, "threshold must be a finite number above 0, got 0"),
        ({"sigma": -1}, "sigma must be a finite number at least 0, got -1"),
        ({"method": "mean"}, "method must be one of 'max', 'rms', got 'mean'"),
        ({"least": 0.5, "most": 0.1}, "least must not exceed most, got 0.5 and 0.1"),
    ],
)
def test_shrinkwrap_refuses_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=f"shrinkwrap_support: {message}"):
        solvers.shrinkwrap_support(torch.rand(8, 8), **options)
    with pytest.raises(ValueError, match=f"Shrinkwrap: {message}"):
        solvers.Shrinkwrap(**options)


def test_shrinkwrap_finds_the_support_of_most_objects():
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
    assert 2 * solved.sum() >= len(obj)
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
        assert resumed.iterations == whole.iterations


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
