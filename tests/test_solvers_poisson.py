"""The refinement of counts as a step of a schedule."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import phaseret as pr
from phaseret.solvers import PoissonRefinement, Recipe

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(reconstructions (are not unique|were found by few)|undersampled|data of the shape .* do not determine)"
)


def dim_object() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A complex object, few counts of it, and its box."""
    generator = torch.Generator().manual_seed(3)
    obj = 0.6 * torch.polar(0.5 + torch.rand(9, 8, generator=generator), 3 * torch.rand(9, 8, generator=generator))
    counts = pr.noise.poisson_noise(pr.operators.fourier_intensity(obj, (20, 18)), generator=generator)
    return obj, counts, torch.ones(9, 8, dtype=torch.bool)


@pytest.mark.parametrize("norm", ["ortho", "backward"])
def test_the_step_is_the_function_from_the_estimates_on(norm: Any) -> None:
    obj, counts, box = dim_object()
    factor = 1.0 if norm == "ortho" else (20 * 18) ** -0.5
    start = factor * (obj + 0.1 * torch.randn(9, 8, dtype=obj.dtype, generator=torch.Generator().manual_seed(0)))
    mask = torch.rand(20, 18, generator=torch.Generator().manual_seed(1)) > 0.1
    options: dict[str, Any] = {"mask": mask, "support": box, "constraint": "complex"}
    found = PoissonRefinement(12)(counts, init=start, norm=norm, **options)
    operator = pr.operators.FourierIntensity((20, 18), norm=norm)
    expected = pr.solvers.maximum_likelihood(start, counts, operator, n_iter=12, **options)
    torch.testing.assert_close(found.obj, expected.obj, rtol=1e-3, atol=1e-3 * factor)
    error = pr.metrics.relative_magnitude_error(found.obj, counts, operator, mask=mask)
    assert float(found.error) == pytest.approx(float(error), rel=1e-4)  # of the object alone, without a background


def test_it_brings_the_error_of_few_counts_down_to_what_their_noise_leaves() -> None:
    obj, counts, box = dim_object()
    assert float((counts == 0).double().mean()) > 0.4  # most pixels counted nothing, or nearly
    options: dict[str, Any] = {"support": box, "constraint": "complex", "init": obj}
    by_projection, refined = Recipe("er:200")(counts, **options), Recipe("er:200,ml:40")(counts, **options)
    assert refined.expected > by_projection.expected  # whose object is too weak
    total = [
        float(pr.operators.fourier_intensity(r.obj, (20, 18)).sum() / counts.sum()) for r in (by_projection, refined)
    ]
    assert total[0] < total[1] < 1.01
    assert float(refined.misfit) < float(by_projection.misfit)


def test_it_leaves_what_are_no_counts_and_each_start_for_itself() -> None:
    _, counts, box = dim_object()
    both = torch.stack([counts + 0.25, counts])
    options: dict[str, Any] = {"support": box, "constraint": "complex", "starts": 2}
    before, after = Recipe("rrr:30,er:5")(both, **options), Recipe("rrr:30,er:5,ml:5")(both, **options)
    torch.testing.assert_close(after.objs[0], before.objs[0])
    assert not torch.allclose(after.objs[1], before.objs[1])
    single = Recipe("rrr:30,er:5,ml:5")(counts, **options)
    torch.testing.assert_close(after.objs[1], single.objs, rtol=1e-3, atol=1e-3)
    blurred = {**options, "point_spread": torch.tensor([[0.1, 0.8, 0.1]])}
    torch.testing.assert_close(Recipe("er:5,ml:5")(counts, **blurred).objs, Recipe("er:5")(counts, **blurred).objs)


def problem_of(shape: tuple[int, ...], grid: tuple[int, ...], kind: Any, dtype: torch.dtype) -> tuple[Any, Any, Any]:
    """An object of some kind, few counts of it, and a start near to it."""
    generator = torch.Generator().manual_seed(5)
    scale = 0.6 if kind == "complex" else 1.2
    obj = scale * (0.5 + torch.rand(shape, generator=generator, dtype=dtype))
    if kind == "complex":
        obj = torch.polar(obj, 3 * torch.rand(shape, generator=generator, dtype=dtype))
    operator = pr.operators.FourierIntensity(grid, undersampled=True)
    counts = torch.poisson(operator(obj), generator=generator)
    near = obj + 0.1 * torch.rand(shape, generator=generator, dtype=dtype)
    return counts, near, operator


@pytest.mark.parametrize("kind", ["complex", "real", "nonnegative"])
@pytest.mark.parametrize(
    ("shape", "grid", "dtype"),
    [
        ((17,), (40,), torch.float32),
        ((9, 8), (19, 21), torch.float64),
        ((13, 8), (19, 16), torch.float32),  # undersampled
        ((4, 3, 5), (9, 8, 11), torch.float32),
    ],
)
def test_counts_of_any_axes_and_kind_are_refined_as_the_function_does(
    shape: tuple[int, ...], grid: tuple[int, ...], dtype: torch.dtype, kind: Any
) -> None:
    counts, near, operator = problem_of(shape, grid, kind, dtype)
    mask = torch.rand(grid, generator=torch.Generator().manual_seed(1)) > 0.1  # not alike at k and -k
    options: dict[str, Any] = {"mask": mask, "support": torch.ones(shape, dtype=torch.bool), "constraint": kind}
    expected = pr.solvers.maximum_likelihood(near, counts, operator, n_iter=9, **options).obj
    whole = {"ndim": len(shape), "undersampled": True, "init": near, **options}
    found = PoissonRefinement(9)(counts, **whole).obj
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    axes = tuple(range(-len(shape), 0))
    moved, seen = torch.fft.fftshift(counts, dim=axes), torch.fft.fftshift(mask, dim=axes)
    centred = PoissonRefinement(9)(moved, **{**whole, "mask": seen, "centered": True}).obj
    torch.testing.assert_close(centred, found, rtol=1e-3, atol=1e-3)


def test_bright_counts_do_not_overflow_whatever_the_norm() -> None:
    operator = pr.operators.FourierIntensity((1 << 16,), norm="forward")
    half = 3e8 * torch.randn(50, generator=torch.Generator().manual_seed(0))
    obj = torch.cat([half, half.flip(0)])  # whose spectrum passes through 0
    counts = operator(obj).round()
    assert bool((counts > 1e9).any() & (counts < 1e4).any())
    options: dict[str, Any] = {"support": torch.ones(100) > 0, "constraint": "real", "norm": "forward", "ndim": 1}
    start = 1.1 * obj
    found = PoissonRefinement(10)(counts, init=start, **options)
    assert float((found.obj - obj).norm()) < 0.1 * float((start - obj).norm())


def test_where_it_does_nothing_the_run_goes_on_as_without_it() -> None:
    obj, counts, box = dim_object()
    options: dict[str, Any] = {"support": box, "constraint": "complex"}
    for noise, more in (
        (0.25, {}),
        (0.0, {"background": 1e-3}),
        (0.0, {"point_spread": torch.tensor([[0.1, 0.8, 0.1]])}),
    ):
        data, of = counts + noise, {**options, **more}
        torch.testing.assert_close(PoissonRefinement(3)(data, init=obj, **of).obj, obj)
        plain, mixed = Recipe("2*hio:5,er:5")(data, **of), Recipe("ml:3,2*(hio:5,ml:3),er:5")(data, **of)
        torch.testing.assert_close(mixed.obj, plain.obj)
    data = torch.stack([counts + 0.25, counts])
    both = Recipe("ml:2,2*(hio:5,ml:3),raar:3")(data, starts=2, **options)
    for i in range(2):
        alone = Recipe("ml:2,2*(hio:5,ml:3),raar:3")(data[i], starts=2, **options)
        torch.testing.assert_close(both.objs[i], alone.objs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("first", "schedule"), [("er:30", "er:30,ml:5"), ("er:15", "2*(er:15,ml:5)")])
def test_starts_that_are_solved_stay_as_they_are(first: str, schedule: str) -> None:
    _, counts, box = dim_object()
    options: dict[str, Any] = {"support": box, "constraint": "complex", "starts": 4, "check_every": 5}
    ends = Recipe(first)(counts, **options).errors.sort().values
    tolerance = float((ends[1] + ends[2]) / 2)
    before = Recipe(first)(counts, tolerance=tolerance, **options)
    found = Recipe(schedule)(counts, tolerance=tolerance, **options)
    solved = before.errors <= tolerance
    assert int(solved.sum()) == 2
    assert torch.equal(found.objs[solved], before.objs[solved])
    assert torch.equal(found.errors[solved], before.errors[solved])
    assert not torch.allclose(found.objs[~solved], before.objs[~solved])


def test_a_start_that_is_no_number_does_not_end_the_others() -> None:
    _, counts, box = dim_object()

    class Breaks(pr.solvers.Algorithm):
        def iterate(self, x: torch.Tensor, p: torch.Tensor, known: Any, n: int) -> torch.Tensor:
            x = known.project(p)
            x[:, 0] = torch.nan
            return x

    with pytest.warns(UserWarning, match="1 of 2 starts ended with values that are not finite"):
        found = Recipe(Breaks(5), "ml:3")(counts, support=box, constraint="complex", starts=2)
    assert found.errors.isfinite().tolist() == [False, True]


def test_it_keeps_to_the_number_of_pixels_and_to_the_support_in_use() -> None:
    _, counts, _ = dim_object()
    found = Recipe("raar:30,er:5,ml:5")(counts, support_size=20, constraint="complex")
    kept = Recipe("raar:30,er:5")(counts, support_size=20, constraint="complex")
    assert torch.equal(found.obj != 0, kept.obj != 0)
    assert not torch.allclose(found.obj, kept.obj)
    shrunk = Recipe("er:30,shrinkwrap(threshold=0.6),ml:5")(counts, support=torch.ones(9, 8) > 0, constraint="complex")
    assert 0 < int((shrunk.obj != 0).sum()) == int(shrunk.support.sum()) < 72


@pytest.mark.parametrize("schedule", ["ml:3,hio:6,er:3", "3*(er:5,ml:3),hio:4,er:2", "er:6,ml:4"])
def test_chunks_and_going_on_change_nothing(schedule: str) -> None:
    _, counts, box = dim_object()
    options: dict[str, Any] = {"support": box, "constraint": "complex", "starts": 4, "check_every": 3}
    states: list[dict[str, Any]] = []
    whole = Recipe(schedule)(counts, checkpoint=states.append, checkpoint_every=1, **options)
    small = Recipe(schedule)(counts, chunk=1, **options)
    torch.testing.assert_close(small.objs, whole.objs, rtol=1e-3, atol=1e-3)
    assert len(states) == len(whole.checked)
    for state in states:
        again = Recipe(schedule)(counts, resume=state, **options)
        torch.testing.assert_close(again.objs, whole.objs, rtol=1e-3, atol=1e-3)
        assert again.checked == whole.checked


@pytest.mark.parametrize("word", ["ml:3", "lm:2"])
def test_what_was_bred_is_refined(word: str) -> None:
    _, counts, box = dim_object()
    options: dict[str, Any] = {"support": box, "constraint": "complex", "starts": 3}
    seen: list[torch.Tensor] = []

    class Looks(pr.solvers.Breed):
        def advance(self, run: pr.solvers.Run) -> None:
            super().advance(run)
            seen.append(run.problem.magnitude.project(run.iterate)[0, :, :9, :8])

    found = Recipe("hio:9", Looks(), word)(counts, **options)
    expected = Recipe(word)(counts, init=seen[0], **options)
    torch.testing.assert_close(found.objs, expected.objs, rtol=1e-3, atol=1e-3)


def test_starts_that_run_in_turn_are_refined_each() -> None:
    _, counts, box = dim_object()
    options: dict[str, Any] = {"support": box, "constraint": "real", "starts": 3}
    data = torch.stack([counts + 0.25, counts])
    seen = torch.rand(2, 20, 18, generator=torch.Generator().manual_seed(2)) > 0.1
    found = Recipe("er:9,ml:5,enough(misfit=0.01)")(data, mask=seen, **options)  # never enough
    expected = Recipe("er:9,ml:5")(data, mask=seen, **options)
    torch.testing.assert_close(found.objs, expected.objs, rtol=1e-3, atol=1e-3)


def test_it_refuses_what_it_does_not_know_of() -> None:
    _, counts, box = dim_object()
    known = torch.full((9, 8), torch.nan, dtype=torch.complex64)
    known[0, 0] = 1
    with pytest.raises(ValueError, match="known must be left out for PoissonRefinement"):
        PoissonRefinement(3)(counts, known=known, constraint="complex")
    with pytest.raises(ValueError, match="must not require a gradient"):
        PoissonRefinement(3)(counts.requires_grad_(), support=box, constraint="complex")
