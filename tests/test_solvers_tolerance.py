"""Starts that are solved: when they leave, what they keep, and what that changes for the others, which is nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import phaseret as pr
from phaseret import solvers
from phaseret.solvers._spectral import form_of

# most runs here are too short to solve anything
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(reconstructions (are not unique|were found by few)|symmetric within noise|do not determine)"
)

# Below every error.
NEVER = 1e-300
SPECTRAL = [solvers.ErrorReduction, solvers.RAAR, solvers.RRR, solvers.ASR, solvers.SolventFlip]
SIZES = {1: (9,), 2: (7, 6), 3: (4, 3, 4)}


def problem(kind: str, ndim: int = 2, count: int = 3, masked: bool = False) -> tuple[Tensor, dict[str, Any]]:
    """Intensities of random objects in double precision, and what a solver is told of them."""
    size = SIZES[ndim]
    generator = torch.Generator().manual_seed(ndim)
    obj = torch.rand(count, *size, dtype=torch.float64, generator=generator)
    if kind == "complex":
        obj = torch.polar(obj, 6 * torch.rand(obj.shape, dtype=torch.float64, generator=generator))
    if kind == "real":
        obj = obj - 0.3
    shape = tuple(2 * n + n % 2 for n in size)
    support = torch.ones(count, *size) > 0
    support.view(count, -1)[:, 2] = False  # inside the box
    options: dict[str, Any] = {"support": support, "constraint": kind, "ndim": ndim, "starts": 2}
    if masked:
        options["mask"] = torch.rand(shape, generator=generator) > 0.1
    return pr.operators.fourier_intensity(obj * support, shape), options


def gap(history: Tensor) -> float:
    """A tolerance that some starts reach before the last check and others never, far from all errors in rounding."""
    least = history[..., :-1].amin(-1).flatten().sort().values
    widest = (least[1:] - least[:-1]).argmax()
    return float(least[widest : widest + 2].mean())


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize(("kind", "ndim"), [("nonnegative", 2), ("complex", 2), ("real", 1), ("nonnegative", 3)])
@pytest.mark.parametrize("algorithm", [*SPECTRAL, solvers.HIO, solvers.HPR, solvers.DifferenceMap, solvers.OSS])
def test_a_tolerance_that_nothing_reaches_changes_nothing(
    algorithm: type[solvers.Algorithm], kind: str, ndim: int, masked: bool
) -> None:
    intensity, options = problem(kind, ndim, masked=masked)
    plain, other = (algorithm(12)(intensity, tolerance=tolerance, **options) for tolerance in (None, NEVER))
    torch.testing.assert_close(other.objs, plain.objs, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(other.errors, plain.errors, rtol=1e-7, atol=1e-8)
    assert other.n_iters.unique().tolist() == plain.n_iters.unique().tolist() == [12]


def slow_error(run: solvers.Run, intensity: Tensor, mask: Tensor | None) -> Tensor:
    """The relative magnitude errors of a run's estimates from the transform of each."""
    ndim = run.problem.ndim
    field = torch.fft.fftn(run.problem.embed(run.estimate), dim=tuple(range(-ndim, 0)), norm="ortho").abs()
    data, weight = intensity[:, None], torch.ones_like(intensity[0]) if mask is None else mask.to(intensity)
    off = ((field - data.sqrt()).square() * weight).flatten(2).sum(-1)
    return (off / (data * weight).flatten(2).sum(-1)).sqrt()


@pytest.mark.parametrize(
    ("kind", "ndim", "masked"), [("nonnegative", 2, True), ("complex", 2, False), ("real", 1, True)]
)
@pytest.mark.parametrize("algorithm", SPECTRAL)
def test_the_error_that_costs_no_transform_is_that_of_the_estimate(
    algorithm: type[solvers.Algorithm], kind: str, ndim: int, masked: bool
) -> None:
    intensity, options = problem(kind, ndim, masked=masked)
    off: list[float] = []

    def look(run: solvers.Run) -> None:
        off.append(float((run.error - slow_error(run, intensity, options.get("mask"))).abs().max()))

    algorithm(9)(intensity, tolerance=NEVER, check_every=1, callback=look, **options)
    assert len(off) == 9
    assert max(off) < 1e-12


def test_the_error_does_not_drift() -> None:
    """In single precision, after hundreds of iterations; and the iterate belongs to its spectrum."""
    intensity, options = problem("nonnegative")
    data = intensity.float()

    def look(run: solvers.Run) -> None:
        torch.testing.assert_close(run.error, run.residual(run.estimate), rtol=1e-4, atol=1e-6)
        s = run.known((slice(None), slice(None)), whole=False).project(run.problem.crop(run.iterate))
        if run.iteration < 700:
            torch.testing.assert_close(run.estimate, s, rtol=1e-4, atol=1e-4)

    solvers.RRR(700)(data, tolerance=1e-30, check_every=100, callback=look, **options)


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("kind", ["nonnegative", "complex"])
def test_the_error_of_the_object_is_rounding_in_single_precision(kind: str, masked: bool) -> None:
    obj = torch.rand(9, 12, 12)
    intensity = pr.operators.fourier_intensity(obj, (24, 24))
    mask = torch.rand(24, 24) > 0.1 if masked else None
    r = solvers.ErrorReduction(1)(intensity, support=torch.ones(12, 12) > 0, constraint=kind, init=obj, mask=mask)
    assert r.error.max() < 2e-6


def test_beside_a_known_part_the_error_is_that_of_the_whole() -> None:
    obj = torch.rand(3, *SIZES[2], dtype=torch.float64)
    obj[:, :2] = 0.4
    intensity = pr.operators.fourier_intensity(obj, (14, 12))
    known = torch.full(SIZES[2], torch.nan, dtype=torch.float64)
    known[:2] = 0.4
    options: dict[str, Any] = {"known": known, "constraint": "real", "starts": 2}
    plain, other = (solvers.RRR(11)(intensity, tolerance=tolerance, **options) for tolerance in (None, NEVER))
    torch.testing.assert_close(other.errors, plain.errors, rtol=1e-9, atol=0)
    torch.testing.assert_close(other.objs, plain.objs, rtol=1e-9, atol=1e-9)


def test_the_form_of_an_iteration() -> None:
    form = form_of(solvers.RRR(1, beta=0.7))
    assert form is not None
    assert form.first
    assert (form.query, form.point) == ((-1, 2), (1, 0))
    assert form.update == pytest.approx((1, 0.7, -0.7))
    raar = form_of(solvers.RAAR(1, beta=(0.5, 0.9)), 0)
    assert raar is not None
    assert (raar.point, raar.update) == ((-1, 2), (0.5, 0, 0.5))
    # what chooses by pixels; P_S z of HPR is not x where the solution is found
    assert [form_of(kind(1)) for kind in (solvers.HIO, solvers.CHIO, solvers.HPR)] == [None] * 3


# --- properties -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [None, 1, 2])
@pytest.mark.parametrize("algorithm", [solvers.RRR, solvers.RAAR, solvers.HIO, solvers.ADMM, solvers.DifferenceMap])
@pytest.mark.parametrize("kind", ["nonnegative", "complex"])
def test_starts_leave_at_the_check_that_finds_them_solved_and_the_others_do_not_notice(
    algorithm: type[solvers.Algorithm], kind: str, chunk: int | None
) -> None:
    intensity, options = problem(kind, count=4)
    options |= {"check_every": 3, "starts": 3}
    whole = algorithm(20)(intensity, tolerance=NEVER, **options)
    before = whole.history[..., :-1]  # at the last check estimates are P_S P_M of the iterate
    tolerance = gap(whole.history)
    some = algorithm(20)(intensity, tolerance=tolerance, chunk=chunk, **options)
    reached = before <= tolerance
    first = torch.where(reached.any(-1), reached.to(torch.uint8).argmax(-1), len(whole.checked) - 1)
    assert torch.equal(some.n_iters, torch.tensor(whole.checked)[first])
    assert len(some.n_iters.unique()) > 1
    checks = torch.arange(len(some.checked) - 1)
    expected = before.gather(-1, torch.minimum(checks, first[..., None]))
    torch.testing.assert_close(some.history[..., :-1], expected, rtol=1e-8, atol=1e-10)
    assert torch.equal(some.n_iter, some.n_iters.gather(-1, some.ranking[:, :1])[:, 0])


@pytest.mark.parametrize("algorithm", [solvers.RRR, solvers.HIO])
@pytest.mark.parametrize(
    ("kind", "ndim", "masked"), [("nonnegative", 2, True), ("complex", 2, False), ("real", 1, True)]
)
def test_a_batch_gives_what_its_items_give(
    algorithm: type[solvers.Algorithm], kind: str, ndim: int, masked: bool
) -> None:
    intensity, options = problem(kind, ndim, masked=masked)
    support = options.pop("support")
    options |= {"check_every": 2}
    tolerance = gap(algorithm(16)(intensity, support=support, tolerance=NEVER, **options).history)
    batch = algorithm(16)(intensity, support=support, tolerance=tolerance, **options)
    assert len(batch.n_iters.unique()) > 1
    for n in range(len(intensity)):
        alone = algorithm(16)(intensity[n], support=support[n], tolerance=tolerance, **options)
        assert torch.equal(alone.n_iters, batch.n_iters[n])
        torch.testing.assert_close(alone.objs, batch.objs[n], rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(alone.errors, batch.errors[n], rtol=1e-8, atol=1e-10)


def test_starts_that_are_solved_pass_by_all_later_steps_and_the_run_ends_with_the_last() -> None:
    intensity, options = problem("nonnegative", count=2)
    options |= {"check_every": 1, "starts": 3}
    tolerance = gap(solvers.RRR(12)(intensity, tolerance=NEVER, **options).history)
    short = solvers.Recipe("rrr:12")(intensity, tolerance=tolerance, **options)
    solved = short.errors <= tolerance
    assert 0 < solved.sum() < solved.numel()
    for then in ("shrinkwrap", "hio:3", "breed", "lm:1", "sparse:14", "detwin:2", "level", "er:2"):
        longer = solvers.Recipe(f"rrr:12,{then},er:1")(intensity, tolerance=tolerance, **options)
        assert torch.equal(longer.objs[solved], short.objs[solved]), then
        assert torch.equal(longer.errors[solved], short.errors[solved]), then
        assert torch.equal(longer.scores[solved], short.scores[solved]), then
        assert torch.equal(longer.n_iters[solved], short.n_iters[solved]), then
        assert (longer.n_iters[~solved] > 12).all()
    with pytest.warns(UserWarning, match=f"the supports of {int((~solved).sum())} of {solved.numel()} starts fell"):
        longer = solvers.Recipe("rrr:12,shrinkwrap(threshold=0.99,least=0.9),er:1")(
            intensity, tolerance=tolerance, **options
        )
    assert torch.equal(longer.scores[solved], short.errors[solved])
    assert longer.scores[~solved].isinf().all()
    everything = solvers.Recipe("rrr:12,shrinkwrap,3*(hio:10,er:10)")(intensity, tolerance=1.0, **options)
    assert everything.checked == [1]
    assert (everything.n_iters == 1).all()


def test_what_a_step_before_has_solved_is_not_iterated() -> None:
    obj = torch.rand(5, 5, dtype=torch.float64)
    intensity = pr.operators.fourier_intensity(obj, (12, 12))
    options: dict[str, Any] = {"support": torch.ones(5, 5) > 0, "constraint": "nonnegative", "tolerance": 1e-6}
    r = solvers.Recipe("rrr:2,lm:20,hio:50")(intensity, init=obj + 1e-3, **options)
    assert r.n_iter == 22
    assert r.error < 1e-6


def test_turns_end_with_a_start_that_is_solved() -> None:
    intensity, options = problem("nonnegative", count=1)
    options["starts"] = 4
    recipe = solvers.Recipe("rrr:6,enough")
    r = recipe(intensity, tolerance=1.0, check_every=2, **options)
    assert r.n_iters.tolist() == [[2, 0, 0, 0]]
    assert recipe(intensity, tolerance=NEVER, **options).n_iters.tolist() == [[6, 6, 6, 6]]


def test_half_of_a_support_of_each_pattern_goes_with_any_chunk() -> None:
    intensity, options = problem("nonnegative")
    whole, parts = (solvers.Recipe("detwin:4,hio:4")(intensity, chunk=chunk, **options) for chunk in (None, 1))
    torch.testing.assert_close(parts.objs, whole.objs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("schedule", ["rrr:20,er:4", "raar:20,er:4", "hio:20,er:4"])
def test_a_run_goes_on_from_a_checkpoint(schedule: str) -> None:
    intensity, options = problem("nonnegative")
    options |= {"schedule": schedule, "check_every": 2}
    tolerance = gap(solvers.reconstruct(intensity, tolerance=NEVER, **options).history[..., :8])
    states: list[dict[str, Any]] = []
    options |= {"tolerance": tolerance}
    whole = solvers.reconstruct(intensity, checkpoint=states.append, checkpoint_every=6, **options)
    assert len(whole.n_iters.unique()) > 1
    for state in states:
        again = solvers.reconstruct(intensity, resume=state, **options)
        torch.testing.assert_close(again.objs, whole.objs, rtol=1e-9, atol=1e-9)
        assert torch.equal(again.n_iters, whole.n_iters)


class Heavy(solvers.Algorithm):
    """Somebody's error reduction with a momentum."""

    def enter(self, x: Tensor) -> Tensor:
        return torch.stack((x, x), dim=2)

    def leave(self, state: Tensor) -> Tensor:
        return state[:, :, 0]

    def step(self, x: Tensor, magnitude: Any, known: Any, n: int) -> tuple[Tensor, Tensor]:
        now, last = x.unbind(2)
        p = magnitude(now + 0.2 * (now - last))
        return torch.stack((known.project(p), now), dim=2), p


def test_an_algorithm_of_somebody_with_a_state_of_its_own() -> None:
    intensity, options = problem("nonnegative", count=4)
    options |= {"check_every": 2}
    whole = Heavy(16)(intensity, **options)
    tolerance = gap(whole.history)
    some = Heavy(16)(intensity, tolerance=tolerance, **options)
    kept = some.errors > tolerance
    assert 0 < kept.sum() < kept.numel()
    torch.testing.assert_close(some.objs[kept], whole.objs[kept], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("flow", [solvers.wirtinger_flow, solvers.truncated_amplitude_flow])
def test_a_flow_leaves_alone_what_is_solved(flow: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    obj = torch.randn(3, 8, dtype=torch.complex128, generator=generator)
    matrix = torch.randn(64, 8, dtype=torch.complex128, generator=generator)
    operator = pr.operators.Gaussian(matrix)
    options = {"n_iter": 200, "check_every": 10, "starts": 2, "tol": 0}
    whole = flow(operator(obj), operator, **options)
    tolerance = gap(whole.history)
    some = flow(operator(obj), operator, tolerance=tolerance, **options)
    reached = whole.history <= tolerance
    first = torch.where(reached.any(-1), reached.to(torch.uint8).argmax(-1), len(whole.checked) - 1)
    assert torch.equal(some.n_iters, torch.tensor(whole.checked)[first])
    torch.testing.assert_close(some.errors, whole.history.gather(-1, first[..., None])[..., 0], rtol=1e-9, atol=0)


# --- errors -----------------------------------------------------------------------------------------------------------


def test_a_tolerance_is_a_share() -> None:
    intensity, options = problem("nonnegative")
    for wrong in (0, 1.5, -1e-3):
        with pytest.raises(ValueError, match=r"HIO: tolerance must be a finite number above 0 and at most 1, got"):
            solvers.HIO(3)(intensity, tolerance=wrong, **options)


def test_there_are_no_gradients_of_what_leaves() -> None:
    intensity, options = problem("nonnegative")
    with pytest.raises(ValueError, match="tolerance must be None where a gradient is asked for, got one"):
        solvers.RRR(3)(intensity.requires_grad_(), tolerance=1e-3, **options)
