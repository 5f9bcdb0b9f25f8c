"""The exact solver: what it finds, what it says of it, what it refuses; and Levenberg-Marquardt."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import phaseret as pr
from phaseret.cli import main
from phaseret.solvers import algebraic
from phaseret.solvers._levenberg import LeastSquares


def values(shape: tuple[int, ...], real: bool = True, dtype: torch.dtype = torch.float64) -> Tensor:
    """Objects without a border that is faint: moduli from 0.3 to 1, any phase."""
    modulus = 0.3 + 0.7 * torch.rand(shape, dtype=dtype)
    return modulus if real else torch.polar(modulus, 2 * math.pi * torch.rand(shape, dtype=dtype))


def measured(obj: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
    shape = shape or pr.operators.min_fourier_shape(tuple(obj.shape[-2:]))
    return pr.operators.fourier_intensity(obj, shape)


def distance(found: Tensor, obj: Tensor) -> float:
    """Relative, up to flip and phase; both lie in the corner, and the found one has zeros behind it."""
    found, rest = found[: obj.shape[0], : obj.shape[1]], found.abs().square().sum()
    assert rest - found.abs().square().sum() < 1e-6 * rest
    errors = []
    for image in (found, found.flip(0, 1).conj()):
        inner = (image.conj() * obj).sum()
        errors.append(float((image * inner / inner.abs() - obj).norm() / obj.norm()))
    return min(errors)


def solved(obj: Tensor, shape: tuple[int, int] | None = None, **options: Any) -> pr.solvers.Reconstruction:
    constraint = "complex" if obj.is_complex() else "real"
    return pr.solvers.algebraic(measured(obj, shape), **{"constraint": constraint, **options})


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("shape", [(2, 2), (5, 5), (4, 7), (7, 4), (8, 8)])
def test_an_object_is_found_to_rounding_and_is_the_only_one(shape: tuple[int, int], real: bool) -> None:
    obj = values(shape, real)
    result = solved(obj)
    assert distance(result.obj, obj) < 1e-9
    if min(shape) > 2:  # two rows have few coefficients, and factor in chance
        assert result.verdict == ["unique"]
        assert result.sigma[0] < 1e-12 < 1e-6 < result.sigma[1]


@pytest.mark.parametrize("grid", [(15, 15), (16, 16), (16, 21), (31, 24)])
def test_the_box_is_read_off_any_grid_that_holds_the_autocorrelation(grid: tuple[int, int]) -> None:
    obj = values((8, 8), real=False)
    result = solved(obj, grid)
    assert result.support.sum() == 64
    assert result.support[:8, :8].all()
    assert distance(result.obj, obj) < 1e-9


def test_a_digit_with_holes_and_faint_borders_is_found() -> None:
    obj = torch.zeros(9, 7, dtype=torch.float64)
    obj[1:-1, 2:5] = values((7, 3))
    obj[3:5, 3] = 0
    obj[0, 3], obj[-1, 1], obj[4, 0], obj[5, -1] = 0.02, 0.05, 0.01, 0.004
    result = solved(obj, (20, 20), constraint="nonnegative")
    assert distance(result.obj, obj) < 1e-8
    assert (result.obj >= 0).all()


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_symmetric_objects_are_found(axes: tuple[int, ...], size: int, real: bool) -> None:
    """In an axis, where F may vanish on a line; and in the centre, where it is a square and has no current."""
    obj = values((size, size), real)
    obj = obj + (obj.flip(axes).conj() if len(axes) == 2 else obj.flip(axes))
    assert distance(solved(obj).obj, obj) < 1e-6


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("axis", [0, 1])
def test_antisymmetric_objects_are_found(axis: int, real: bool) -> None:
    """Whose autocorrelation has the factor (1 - x)^2 an odd number of times."""
    for size in (6, 7):
        obj = values((size, size), real)
        assert distance(solved(obj - obj.flip(axis)).obj, obj - obj.flip(axis)) < 1e-6


# --- what the image is worth -----------------------------------------------------------------------------------------


def product(real: bool) -> Tensor:
    """An object with two factors, each of which may be flipped alone."""
    first, second = values((4, 5), real), values((5, 4), real)
    obj = torch.fft.ifft2(torch.fft.fft2(first, s=(8, 8)) * torch.fft.fft2(second, s=(8, 8)))
    return obj.real if real else obj


@pytest.mark.parametrize("real", [True, False])
def test_both_images_of_a_product_are_found(real: bool) -> None:
    """One of them is the object, the other has one of its factors flipped; both have the data."""
    obj = product(real)
    result = solved(obj, (16, 17))
    assert result.verdict == ["several"]
    assert result.images is not None
    assert int(result.images) == 2
    assert result.rivals is not None
    assert result.sigma.max() < 1e-9
    both = [result.obj, *result.rivals]
    assert min(distance(x, obj) for x in both) < 1e-8 < 1e-2 < max(distance(x, obj) for x in both)
    for x in both:
        torch.testing.assert_close(pr.operators.fourier_intensity(x[:8, :8], (16, 17)), measured(obj, (16, 17)))


def test_three_factors_have_four_images() -> None:
    parts = [
        [[5, -2, 1], [1, 3, -4], [2, 0, 3]],
        [[4, 1, -3], [-2, 2, 1], [0, 1, 5]],
        [[3, 2, 2], [1, -5, 1], [-1, 2, 4]],
    ]
    factors = torch.fft.fft2(torch.tensor(parts, dtype=torch.float64), s=(7, 7))
    obj = torch.fft.ifft2(factors.prod(0)).real
    result = solved(torch.stack([obj, values((7, 7))]), (16, 20))
    assert result.verdict == ["several", "unique"]
    assert result.images is not None
    assert result.images.tolist() == [4, 1]
    assert result.rivals is not None
    assert result.rivals.shape == (2, 3, 16, 20)
    assert not result.rivals[1].any()
    assert min(distance(x, obj) for x in (result.obj[0], *result.rivals[0])) < 1e-7


# Both have one pattern; the second has a pixel of -1, and none where the first has its 4 in the corner.
TWO = (
    [[4, 3, 17, 3, 18], [14, 17, 38, 21, 18], [32, 31, 61, 28, 28], [34, 32, 63, 13, 38], [6, 7, 33, 7, 10]],
    [[2, 3, 13, 9, 18], [10, 13, 40, 21, 24], [22, 29, 59, 38, 32], [32, 22, 57, 23, 46], [6, 5, 33, -1, 20]],
)


@pytest.mark.parametrize(
    ("said", "which"),
    [
        ({"constraint": "complex"}, (0, 1)),
        ({"constraint": "real"}, (0, 1)),
        ({"constraint": "nonnegative"}, (0,)),
        ({"constraint": "real", "bounds": (-63.0, -3.0)}, (0,)),
        ({"constraint": "real", "bounds": (-1.0, 59.5)}, (1,)),
        ({"constraint": "complex", "bounds": (2.5, 100.0)}, (0,)),
        ({"constraint": "nonnegative", "bounds": (torch.zeros(5, 5), torch.tensor(TWO[0]) + 1.0)}, (0,)),
        ({"constraint": "real", "bounds": (torch.tensor(TWO[1]) - 1.0, 99.0)}, (1,)),
        ({"constraint": "complex", "phase_range": (1.0, 2.0)}, (0,)),
    ],
)
def test_a_rival_that_does_not_agree_with_what_is_said_does_not_count(
    said: dict[str, Any], which: tuple[int, ...]
) -> None:
    objs = torch.tensor(TWO, dtype=torch.float64)
    intensity = pr.operators.fourier_intensity(objs[0], (12, 13))
    torch.testing.assert_close(pr.operators.fourier_intensity(objs[1], (12, 13)), intensity)
    result = algebraic(intensity, support=torch.ones(5, 5) > 0, **said)
    assert result.verdict == ["several" if len(which) == 2 else "unique"]
    assert (result.rivals is None) == (len(which) == 1)
    assert result.error < 1e-6
    for x, k in zip([result.obj, *([] if result.rivals is None else result.rivals)], which, strict=True):
        assert min(distance(x.to(torch.complex128), y + 0j) for y in (objs if len(which) == 2 else objs[[k]])) < 1e-5


def test_nor_does_one_that_the_support_does_not_hold() -> None:
    first, second = [[0, 1, 2], [3, 5, 1], [4, 1, 6]], [[0, 2, 1], [3, 7, 4], [2, 1, 3]]
    factors = torch.fft.fft2(torch.tensor([first, second], dtype=torch.float64), s=(5, 5))
    obj = torch.fft.ifft2(factors.prod(0)).real.round()
    assert not obj[[0, 0, 1], [0, 1, 0]].any()  # the other one has its two zeros at opposite corners
    intensity = pr.operators.fourier_intensity(obj, (12, 12))
    assert algebraic(intensity, constraint="real", support=torch.ones(5, 5) > 0).verdict == ["several"]
    alone = algebraic(intensity, constraint="real", support=obj != 0)
    assert alone.verdict == ["unique"]
    torch.testing.assert_close(alone.obj, obj, rtol=0, atol=1e-6)


def test_a_phase_range_is_where_the_phases_are_turned_to() -> None:
    obj = torch.polar(0.5 + torch.rand(4, 5, dtype=torch.float64), 2 + 1.5 * torch.rand(4, 5, dtype=torch.float64))
    intensity = pr.operators.fourier_intensity(obj, (9, 10))
    result = algebraic(intensity, phase_range=(2.0, 3.5))
    assert result.verdict == ["unique"]
    assert result.error < 1e-12
    with pytest.warns(UserWarning, match="no image that has the data of 1 of 1 patterns agrees with what is said"):
        narrow = algebraic(intensity, phase_range=(2.0, 2.2))
    assert narrow.verdict == ["unknown"]


@pytest.mark.filterwarnings("ignore:.*does not explain")
@pytest.mark.parametrize("width", [1.0, 1.5, 2.0])
def test_a_gaussian_is_not_called_unique(width: float) -> None:
    """It has no factors, but nearly so: other images are nowhere far from its data."""
    x = (torch.arange(12, dtype=torch.float64) - 5.3) / width
    obj = torch.exp(-(x[:, None].square() + 0.9 * x.square() + 0.1 * x[:, None] * x) / 2)
    assert solved(obj, (24, 24)).verdict != ["unique"]


@pytest.mark.parametrize("real", [True, False])
def test_an_object_that_is_its_own_flip_is_not_called_unique(real: bool) -> None:
    """Its data are a square, and so have two equal factors at least."""
    obj = values((7, 7), real)
    assert solved(obj + obj.flip(0, 1).conj(), (14, 14)).verdict == ["unknown"]


@pytest.mark.parametrize("real", [True, False])
def test_counts_are_solved_to_their_noise(real: bool) -> None:
    obj = values((8, 8), real)
    clean = measured(obj, (20, 20))
    noisy = torch.poisson(clean * (1e14 / clean.sum())) / (1e14 / clean.sum())
    result = pr.solvers.algebraic(noisy, constraint="real" if real else "complex")
    assert result.support.sum() == 64
    assert distance(result.obj, obj) < 1e-4
    assert result.verdict == ["unique"]
    assert 1e-10 < result.sigma[0] < result.sigma[1]


def test_single_precision_is_raised_and_the_box_found_all_the_same() -> None:
    obj = values((3, 8, 7), dtype=torch.float32)
    result = solved(obj, (20, 20))
    assert result.obj.dtype == torch.float32
    assert result.support.sum((1, 2)).tolist() == [56, 56, 56]
    assert result.verdict == ["unique"] * 3
    for found, one in zip(result.obj, obj, strict=True):
        assert distance(found, one) < 1e-4


def test_a_batch_is_its_items() -> None:
    small, large = values((4, 5), real=False), values((6, 5), real=False)
    intensity = torch.stack([measured(small, (14, 13)), measured(large, (14, 13))])
    both = pr.solvers.algebraic(intensity[None])
    assert both.obj.shape == (1, 2, 14, 13)
    assert both.verdict == ["unique", "unique"]
    assert both.sigma.shape == (1, 2, 2)
    for i in range(2):
        alone = pr.solvers.algebraic(intensity[i])
        torch.testing.assert_close(both.obj[0, i], alone.obj)
        torch.testing.assert_close(both.sigma[0, i], alone.sigma, rtol=1e-6, atol=1e-12)


def test_the_layout_and_norm_of_the_data_and_a_background_are_those_of_the_call() -> None:
    obj = values((5, 6))
    data = pr.operators.fourier_intensity(obj, (12, 13), norm="backward", centered=True)
    result = pr.solvers.algebraic(data + 2.5, norm="backward", centered=True, background=2.5, constraint="real")
    assert distance(result.obj, obj) < 1e-9


# --- supports, recipes, starts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("flip", [False, True])
def test_the_object_lies_in_the_support(flip: bool) -> None:
    obj = torch.zeros(9, 10, dtype=torch.float64)
    obj[2:7, 3:9] = values((5, 6)) * torch.ones(5, 6).triu(-1)
    obj = obj.flip(0, 1) if flip else obj
    result = solved(obj, (20, 20), support=obj != 0)
    assert min(float((sign * result.obj - obj).norm()) for sign in (1, -1)) < 1e-9
    assert torch.equal(result.support, obj != 0)


def test_an_image_starts_another_algorithm_in_its_box() -> None:
    obj = values((3, 6, 7), real=False)
    result = pr.solvers.reconstruct(measured(obj, (16, 16)), schedule="algebraic,er:5")
    assert result.objs.shape == (3, 1, 16, 16)
    assert result.checked == [1, 6]
    assert result.verdict == ["unique"] * 3
    assert (result.error < 1e-12).all()
    assert result.support.sum((1, 2)).tolist() == [42, 42, 42]


@pytest.mark.filterwarnings("ignore:.*reconstructions (are not unique|were found by few)")
def test_it_replaces_the_first_of_several_starts() -> None:
    obj = values((6, 7))
    options: dict[str, Any] = {"constraint": "nonnegative", "starts": 3, "check_every": 1}
    result = pr.solvers.reconstruct(measured(obj, (16, 16)), schedule="algebraic,hio:3", **options)
    assert result.ranking[0] == 0
    assert result.errors[0] < 1e-7 < 1e-3 < result.errors[1:].min()
    support = result.support[:6, :7]
    alone = pr.solvers.reconstruct(measured(obj, (16, 16)), schedule="hio:3", support=support, **options)
    within = pr.solvers.reconstruct(measured(obj, (16, 16)), schedule="algebraic,hio:3", support=support, **options)
    torch.testing.assert_close(within.errors[1:], alone.errors[1:])


def test_recipes_say_it_in_words() -> None:
    recipe = pr.solvers.Recipe("algebraic,2*(er:5,lm:3)")
    assert recipe.text == "algebraic,2*(er:5,lm:3)"
    assert [type(leaf).__name__ for leaf in recipe.leaves()][:3] == [
        "Algebraic",
        "ErrorReduction",
        "LevenbergMarquardt",
    ]
    with pytest.raises(ValueError, match="Write lm:20"):
        pr.solvers.Recipe("polish20")


def test_a_run_that_was_saved_goes_on_with_the_verdict() -> None:
    intensity, kept = measured(values((5, 5)), (12, 12)), []
    options: dict[str, Any] = {"constraint": "real", "check_every": 2, "checkpoint_every": 2}
    recipe = pr.solvers.Recipe("algebraic,er:4")
    whole = recipe(intensity, checkpoint=kept.append, **options)
    again = recipe(intensity, resume=kept[0], **options)
    assert again.verdict == whole.verdict == ["unique"]
    assert torch.equal(again.obj, whole.obj)
    assert torch.equal(again.sigma, whole.sigma)


# --- errors ----------------------------------------------------------------------------------------------------------


def refused(match: str, shape: tuple[int, ...] = (12, 12), **options: Any) -> None:
    with pytest.raises(ValueError, match=match):
        pr.solvers.algebraic(torch.rand(shape), **options)


def test_what_cannot_be_solved_exactly_is_refused_with_the_reason() -> None:
    mask = torch.ones(12, 12, dtype=torch.bool)
    mask[3, 4] = False
    refused("algebraic: mask must be left out for an exact solution, which needs the autocorrelation", mask=mask)
    refused(r"ndim must be 2 .*, got 1: a polynomial of one variable always has factors", ndim=1, constraint="real")
    refused(r"ndim must be 2 .*, got 3: the equations of a volume do not fit into memory", (8, 8, 8), ndim=3)
    refused("point_spread and coherence must be left out", point_spread=torch.ones(3, 3) / 9)
    refused(r"the autocorrelation must end within the grid.*, got 0\.\d+ of its peak .*Use reconstruct")
    row = pr.operators.fourier_intensity(torch.rand(1, 6, dtype=torch.float64), (8, 14))
    with pytest.raises(ValueError, match=r"must have two dimensions for an exact solution, got 1 x 6 pixels"):
        pr.solvers.algebraic(row, constraint="real")
    large = measured(values((300, 300)))
    with pytest.raises(MemoryError, match="an object of 300 x 300 pixels"):
        pr.solvers.algebraic(large, constraint="real")


def test_fewer_samples_than_2n_minus_1_are_refused_or_told() -> None:
    obj = values((8, 8), real=False)
    for data in (measured(obj, (28, 28))[::2, ::2], measured(obj, (28, 16))[::2]):
        with pytest.raises(ValueError, match="the autocorrelation must end within the grid"):
            pr.solvers.algebraic(data)
    with pytest.warns(UserWarning, match="does not explain 1 of 1 patterns: .* sampled at less than 2n - 1"):
        result = pr.solvers.algebraic(measured(obj, (26, 26))[::2, ::2])
    assert result.verdict == ["unknown"]


# --- Levenberg-Marquardt ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("shape", [(12,), (7, 6), (5, 4, 6)])
def test_its_system_is_that_of_automatic_differentiation(shape: tuple[int, ...], real: bool) -> None:
    places = torch.stack([torch.randint(n, (9,)) for n in shape], 1).unique(dim=0)
    b, w, x = torch.rand(shape).double(), (torch.rand(shape) > 0.3).double(), values((len(places),), real)
    fit = LeastSquares(b, w, places, real)

    def residual(parts: Tensor) -> Tensor:
        pixels = parts if real else torch.complex(*parts.unflatten(0, (2, -1)))
        grid = torch.zeros(shape, dtype=pixels.dtype).index_put(tuple(places.T), pixels)
        return (w * (torch.fft.fftn(grid).abs() - b)).flatten()

    parts = x if real else torch.cat([x.real, x.imag])
    jacobian = torch.autograd.functional.jacobian(residual, parts)
    normal, gradient = fit.system(fit.field(x))
    torch.testing.assert_close(normal, jacobian.T @ jacobian)
    torch.testing.assert_close(gradient, jacobian.T @ residual(parts))
    assert fit.cost(fit.field(x)) == pytest.approx(float(residual(parts).square().sum()))


@pytest.mark.parametrize("real", [True, False])
def test_it_ends_a_near_start_at_rounding(real: bool) -> None:
    """In the support, behind a mask, for each pattern and start."""
    obj, mask = values((2, 6, 6), real), torch.ones(14, 14, dtype=torch.bool)
    mask[:2, 3:5] = mask[7, 7] = False
    support = torch.ones(6, 6, dtype=torch.bool).triu(-4)
    obj, data = obj * support, measured(obj * support, (14, 14)).masked_fill(~mask, math.nan)
    init = obj[:, None] + 1e-4 * torch.randn(2, 3, 6, 6, dtype=torch.float64)
    solver, options = pr.solvers.LevenbergMarquardt(30), {"constraint": "real" if real else "complex"}
    result = solver(data, mask=mask, support=support, init=init, starts=3, **options)
    assert result.errors.max() < 1e-7
    assert (result.objs * ~support == 0).all()
    for one, found in zip(obj, result.objs, strict=True):
        assert max(distance(x, one) for x in found) < 1e-10


def test_no_step_of_it_makes_the_error_larger() -> None:
    x, places = values((30,), real=False), torch.cartesian_prod(torch.arange(5), torch.arange(6))
    fit = LeastSquares(torch.rand(11, 12).double(), None, places, real=False)
    costs = [fit.cost(fit.field(fit.minimize(x, n))) for n in range(8)]
    assert all(b <= a for a, b in itertools.pairwise(costs))
    assert costs[-1] < 0.9 * costs[0]


def test_a_size_of_the_support_keeps_the_pixels_of_the_start() -> None:
    obj = torch.zeros(31, 31)
    obj[3:7, 4:8] = values((4, 4), dtype=torch.float32)
    data = pr.operators.fourier_intensity(obj[:16, :16], (31, 31))
    init = obj + 0.01 * torch.rand(31, 31) * (obj > 0)
    result = pr.solvers.LevenbergMarquardt(10)(data, support_size=16, constraint="real", init=init)
    assert torch.equal(result.obj != 0, obj != 0)
    torch.testing.assert_close(result.obj, obj)


def test_it_refuses_a_blur() -> None:
    with pytest.raises(ValueError, match="must be left out for LevenbergMarquardt"):
        pr.solvers.LevenbergMarquardt(3)(
            torch.rand(12, 12), support=torch.ones(4, 4) > 0, constraint="real", point_spread=torch.ones(3, 3) / 9
        )
    with pytest.raises(MemoryError, match="a box of"):
        pr.solvers.LevenbergMarquardt(3)(torch.rand(600, 600), constraint="nonnegative")


# --- properties ------------------------------------------------------------------------------------------------------


@given(st.integers(3, 7), st.integers(3, 7), st.integers(0, 2), st.integers(0, 3), st.booleans(), st.integers(0, 2**31))
def test_every_object_is_found_on_every_grid(n1: int, n2: int, more1: int, more2: int, real: bool, seed: int) -> None:
    torch.manual_seed(seed)
    obj = values((n1, n2), real)
    assert distance(solved(obj, (2 * n1 - 1 + more1, 2 * n2 - 1 + more2)).obj, obj) < 1e-6


def test_flips_and_shifts_of_the_object_change_nothing() -> None:
    obj = values((5, 6))
    moved = torch.nn.functional.pad(obj.flip(0, 1), (2, 1, 1, 2))
    a, b = (solved(x, (18, 18)) for x in (obj, moved))
    torch.testing.assert_close(a.sigma, b.sigma, rtol=1e-6, atol=1e-12)
    assert distance(b.obj, obj) < 1e-9


def test_the_command_takes_it_as_a_schedule_and_files_keep_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pattern, out = tmp_path / "pattern.npz", tmp_path / "out.npz"
    pr.io.save_intensity(pattern, measured(values((2, 6, 5)), (14, 14)))
    words = f"reconstruct {pattern} --ndim 2 --schedule algebraic --constraint real --double -o {out}"
    assert main(words.split()) == 0
    assert re.search(r"exact solution +unique\n", capsys.readouterr().out)
    result = pr.solvers.Reconstruction(**pr.io.load_reconstruction(out))
    assert result.verdict == ["unique", "unique"]
    assert result.sigma is not None
    assert result.sigma.shape == (2, 2)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
@pytest.mark.parametrize("grid", [(13, 15), (16, 16)])
def test_the_unit_of_the_data_changes_nothing(grid: tuple[int, int], scale: float) -> None:
    obj = values((6, 7))
    result = pr.solvers.algebraic(scale * measured(obj, grid), constraint="real")
    assert result.verdict == ["unique"]
    assert distance(result.obj, scale**0.5 * obj) < 1e-9


def test_with_bounds_too_an_object_that_fits_in_two_places_lies_in_the_first() -> None:
    obj = values((5, 5)).tril()
    support = torch.zeros(8, 8, dtype=torch.bool)
    support[:5, :5] = obj != 0
    support[2:7, 2:7] |= obj != 0
    result = solved(obj, (20, 20), support=support, constraint="nonnegative", bounds=(0, 1))
    torch.testing.assert_close(result.obj[:5, :5], obj)
