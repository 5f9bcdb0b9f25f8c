"""What is known of the object beside its support: a part of it, a reference beside it, its modulus."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import phaseret as pr
from phaseret import _fft, solvers
from phaseret.cli import main
from phaseret.projections import MagnitudeConstraint, project_magnitude, project_object
from phaseret.solvers._algorithms import ALGORITHMS

DOUBLE, NAN = torch.float64, math.nan
# most runs here are too short to solve anything
pytestmark = pytest.mark.filterwarnings("ignore:.*reconstructions (are not unique|were found by few)")


def random(*shape: int, kind: str = "complex") -> Tensor:
    """A dense object."""
    modulus = 0.2 + torch.rand(shape, dtype=DOUBLE)
    if kind == "complex":
        return torch.polar(modulus, 6 * torch.rand(shape, dtype=DOUBLE))
    return modulus if kind == "nonnegative" else modulus * (2.0 * (torch.rand(shape) > 0.3) - 1)


def half_known(*shape: int, kind: str = "complex") -> tuple[Tensor, Tensor, Tensor]:
    """An object whose first columns are known, and its intensity."""
    obj = random(*shape, kind=kind)
    known = obj.clone()
    known[..., shape[-1] // 2 :] = NAN
    return obj, known, pr.operators.fourier_intensity(obj, [2 * n + 1 for n in shape[-2:]])


def beside_a_point(kind: str) -> tuple[Tensor, Tensor, Tensor]:
    """A sample and, more than its width away, a bright pinhole: all else is known to be empty."""
    known = torch.zeros(9, 30, dtype=torch.complex128 if kind == "complex" else DOUBLE)
    known[4, 28] = 6.0
    obj = known.clone()
    obj[:, :9], known[:, :9] = random(9, 9, kind=kind), NAN
    return obj, known, pr.operators.fourier_intensity(obj, (18, 60), norm="backward")


# --- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["complex", "real", "nonnegative"])
def test_off_axis_holography_is_what_the_autocorrelation_shows(kind: Any) -> None:
    """The correlation with a point that is far enough away lies apart from that of the sample with itself."""
    obj, known, intensity = beside_a_point(kind)
    shown = torch.fft.ifft2(intensity).roll((4, 28), (0, 1))[:9, :9] / 6
    torch.testing.assert_close(shown if kind == "complex" else shown.real, obj[:, :9])
    found = solvers.reconstruct(
        intensity, known=known, constraint=kind, norm="backward", schedule="raar:300,er:100", starts=3
    )
    torch.testing.assert_close(found.obj[:, :9].to(shown.dtype), shown, atol=1e-4, rtol=0)
    assert torch.equal(found.obj[:, 9:], obj[:, 9:])
    assert torch.equal(found.support, obj != 0)
    assert (found.agreement > 0.999).all()


@pytest.mark.parametrize("word", [word for word in ALGORITHMS if word not in ("sparse", "chio", "cf")])
def test_every_algorithm_finds_what_lies_beside_a_known_half(word: str) -> None:
    obj, known, intensity = half_known(12, 12)
    found = solvers.reconstruct(intensity, known=known, schedule=f"{word}:300,er:50", starts=3)
    assert (found.obj - obj).norm() < 2e-3 * obj.norm()
    assert torch.equal(found.obj[:, :6], obj[:, :6])


@pytest.mark.parametrize(
    "schedule", ["chio:300,er:50", "cf:150,er:200", "sparse:700,er:50", "sparse(coarse=2):350,er:200"]
)
def test_so_do_those_for_real_objects_and_the_default(schedule: str) -> None:
    obj, known, intensity = half_known(12, 12, kind="nonnegative")
    found = solvers.reconstruct(intensity, known=known, constraint="nonnegative", schedule=schedule, starts=3)
    assert (found.obj - obj).norm() < 2e-3 * obj.norm()


def test_a_step_that_finds_supports_leaves_too_large_an_unknown_part_to_be_told() -> None:
    obj = random(8, 8)
    known = obj.clone()
    known[1:] = NAN
    intensity = torch.fft.fft2(obj, norm="ortho").abs().square()
    with pytest.warns(UserWarning, match="the support holds 56 of 64 pixels"):
        solvers.Recipe("hull,er:1")(intensity, known=known, init=obj, constraint="complex")


@pytest.mark.parametrize("kind", ["complex", "real"])
def test_levenberg_and_marquardt_end_it_at_rounding(kind: Any) -> None:
    obj, known, intensity = half_known(2, 6, 7, kind=kind)
    near = obj + 0.01 * random(2, 6, 7, kind=kind)
    found = solvers.LevenbergMarquardt(20)(intensity, known=known, constraint=kind, init=near)
    torch.testing.assert_close(found.obj, obj, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ndim", [1, 3])
def test_volumes_and_lines_have_known_parts_too(ndim: int) -> None:
    obj = random(*[8] * ndim, kind="real")
    known = obj.clone()
    known[..., 5:] = NAN
    intensity = pr.operators.fourier_intensity(obj, [17] * ndim)
    found = solvers.reconstruct(
        intensity, known=known, constraint="real", ndim=ndim, schedule="raar:200,er:100", starts=2
    )
    torch.testing.assert_close(found.obj, obj, atol=1e-5, rtol=0)


def test_what_changes_is_found_behind_a_beam_stop_beside_what_stays() -> None:
    """In situ: one static part for all frames of a series; the support lies in the middle of the grid."""
    obj = torch.zeros(3, 40, 40, dtype=torch.complex128)
    obj[:, 11:27, 13:27] = random(3, 16, 14)
    obj[1:, 11:27, 13:22] = obj[0, 11:27, 13:22]
    support, known = obj[0] != 0, obj[0].clone()
    known[:, 22:27] = NAN
    mask = torch.ones(40, 40, dtype=torch.bool)
    mask[18:22, 18:22] = False
    intensity = _fft.power(torch.fft.fftn(obj, dim=(-2, -1), norm="ortho"))
    intensity = torch.fft.fftshift(intensity, (-2, -1)).where(mask, NAN)
    found = solvers.reconstruct(
        intensity, mask=mask, support=support, known=known, centered=True, schedule="raar:200,er:50", starts=2
    )
    torch.testing.assert_close(found.obj, obj, atol=1e-4, rtol=0)
    assert torch.equal(found.support, support.expand(3, -1, -1))
    alone = solvers.reconstruct(
        intensity[2], mask=mask, support=support, known=known, centered=True, schedule="raar:200,er:50", starts=2
    )
    torch.testing.assert_close(alone.obj, found.obj[2])


def test_a_blur_that_is_known_and_one_that_is_found_go_with_it() -> None:
    obj, known, intensity = half_known(12, 12)
    line = torch.exp(-2 * torch.arange(-2, 3, dtype=DOUBLE) ** 2)  # a standard deviation of half a pixel
    kernel = torch.outer(line, line) / line.sum() ** 2
    blurred = torch.zeros_like(intensity)
    for i, j in itertools.product(range(5), range(5)):
        blurred += kernel[i, j] * intensity.roll((i - 2, j - 2), (0, 1))
    options: dict[str, Any] = {"known": known, "schedule": "er:300", "starts": 1, "init": obj + 0.2 * random(12, 12)}
    sharp = solvers.reconstruct(blurred, **options)
    given = solvers.reconstruct(blurred, point_spread=kernel, **options)
    assert (given.obj - obj).norm() < 1e-2 * obj.norm()
    fitted = solvers.reconstruct(blurred, coherence="gaussian", **options)
    assert fitted.error < 0.5 * sharp.error
    assert (fitted.obj - obj).norm() < 0.7 * (sharp.obj - obj).norm()


# --- properties -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["complex", "real", "nonnegative"])
def test_two_iterations_are_those_of_the_public_projections(kind: Any) -> None:
    """Hybrid input-output of the deviation from what is known, which is 0 where the object is known."""
    _, known, intensity = half_known(5, 6, kind=kind)
    unknown, values = known.isnan(), known.nan_to_num()
    start = random(5, 6, kind=kind)
    x, unknown, values = (_fft.pad(t, intensity.shape) for t in (start, unknown, values))
    p = project_magnitude(x, intensity.sqrt())
    agrees = unknown & (p >= 0) if kind == "nonnegative" else unknown
    second = torch.where(agrees, p, x - 0.7 * (p - values))
    expected = project_object(project_magnitude(second, intensity.sqrt())[:5, :6], known=known, constraint=kind)
    found = solvers.HIO(2, beta=0.7)(intensity, known=known, constraint=kind, init=start)
    torch.testing.assert_close(found.obj, expected)
    off = pr.operators.fourier_intensity(expected, intensity.shape).sqrt() - intensity.sqrt()
    torch.testing.assert_close(found.error, off.norm() / intensity.sum().sqrt())


def test_starts_are_neither_moved_nor_turned_nor_flipped() -> None:
    obj, known, intensity = half_known(6, 8)
    twisted = [obj, 1j * obj, obj.conj().flip(0, 1), obj.roll(1, 0)]
    starts = torch.stack([torch.where(known.isnan(), x, obj) for x in twisted])
    options: dict[str, Any] = {"init": starts, "starts": 4}
    step = solvers.ErrorReduction(1)
    found = step(intensity, known=known, **options)
    expected = torch.stack(
        [
            project_object(project_magnitude(_fft.pad(x, intensity.shape), intensity.sqrt())[:6, :8], known=known)
            for x in starts
        ]
    )
    torch.testing.assert_close(found.objs, expected)
    rest = torch.where(known.isnan(), expected, 0).flatten(1)
    inner = (rest.conj() @ rest[0]).real / rest.norm(dim=1) / rest[0].norm()
    torch.testing.assert_close(found.agreement, inner.clamp(min=0))
    torch.testing.assert_close(found.obj, obj)
    # guided starts mix them as they lie
    bred = solvers.Recipe("er:1,breed(rule=mean),er:1")(intensity, known=known, **options)
    child = torch.cat([obj[None], (expected[1:] + obj) / 2])
    second = torch.stack(
        [
            project_object(project_magnitude(_fft.pad(x, intensity.shape), intensity.sqrt())[:6, :8], known=known)
            for x in child
        ]
    )
    torch.testing.assert_close(bred.objs, second)


def test_zeros_that_are_known_are_a_support() -> None:
    _, _, intensity = half_known(6, 8)
    support = torch.rand(6, 8) > 0.4
    known = torch.where(support, NAN, 0.0).to(DOUBLE)
    options: dict[str, Any] = {"schedule": "hio:20", "starts": 2}
    torch.testing.assert_close(
        solvers.reconstruct(intensity, known=known, **options).objs,
        solvers.reconstruct(intensity, support=support, **options).objs,
    )


def test_each_pattern_may_have_its_own_part_and_pieces_change_nothing() -> None:
    obj, known, intensity = half_known(3, 6, 8)
    known[1, :3] = NAN
    known[1, 3:] = obj[1, 3:]
    options: dict[str, Any] = {"known": known, "schedule": "hio:20,sparse:50,shrinkwrap,er:3", "starts": 3}
    found = solvers.reconstruct(intensity, **options)
    assert torch.equal(found.objs, solvers.reconstruct(intensity, chunk=1, **options).objs)
    for i in range(3):
        one = solvers.reconstruct(intensity[i], **options | {"known": known[i]})
        torch.testing.assert_close(one.objs, found.objs[i])
        assert torch.equal(found.obj[i][~known[i].isnan()], obj[i][~known[i].isnan()])


def test_the_number_of_pixels_counts_the_rest() -> None:
    _, known, intensity = half_known(6, 8)
    found = solvers.reconstruct(intensity, known=known, support_size=5, schedule="rrr:20", starts=1)
    assert (found.obj[:, 4:] != 0).sum() == 5


@pytest.mark.parametrize("dtype", [DOUBLE, torch.complex128])
def test_the_magnitude_constraint_holds_a_reference(dtype: torch.dtype) -> None:
    kind = "complex" if dtype.is_complex else "real"
    reference, x = random(3, 4, kind=kind), random(2, 7, 8, kind=kind)
    magnitude, mask = torch.rand(2, 7, 8, dtype=DOUBLE), torch.rand(7, 8) > 0.2
    whole = _fft.pad(reference, (7, 8))
    held = MagnitudeConstraint(magnitude, mask=mask, real=not dtype.is_complex, reference=reference[None])
    expected = project_magnitude(x + whole, magnitude, mask=mask) - whole
    torch.testing.assert_close(held.project(x), expected)
    torch.testing.assert_close(held.project_fast(x), expected)
    plain = MagnitudeConstraint(magnitude, mask=mask, real=not dtype.is_complex)
    for given in (x, x.clone().requires_grad_()):
        torch.testing.assert_close(held.residual(given).detach(), plain.residual(x + whole))
    torch.testing.assert_close(held.transfer(x), plain.transfer(x + whole), equal_nan=True)
    torch.testing.assert_close(held.without_reference().project(x), plain.project(x))
    with pytest.raises(TypeError, match=r"MagnitudeConstraint: reference must be (real|complex) for real="):
        MagnitudeConstraint(magnitude, real=dtype.is_complex, reference=reference[None])


# --- gradients ------------------------------------------------------------------------------------------------------


def test_gradients_reach_the_intensity_and_the_known_part() -> None:
    _, known, intensity = half_known(4, 6)
    rest, values = known.isnan(), known.nan_to_num()

    def run(intensity: Tensor, values: Tensor) -> Tensor:
        given = torch.where(rest, NAN, values)
        return solvers.RAAR(4)(intensity, known=given, support=torch.ones(4, 6) > 0, check_every=4).obj

    inputs = intensity.requires_grad_(), values.requires_grad_()
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)
    with pytest.raises(ValueError, match="intensity and options must not require a gradient"):
        solvers.SparseRRR(50)(intensity.detach(), known=torch.where(rest, NAN, values))


# --- what is told ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["complex", "nonnegative"])
@pytest.mark.parametrize(("factor", "said"), [(0.5, r"some 2( exp\(-?0.0\d*i\))? times"), (1.25, "some 0.8")])
def test_a_scaled_reference_is_told(kind: Any, factor: float, said: str) -> None:
    _, known, intensity = beside_a_point(kind)
    intensity = torch.stack([intensity, intensity])
    options: dict[str, Any] = {"norm": "backward", "schedule": "raar:200,er:100", "starts": 2, "constraint": kind}
    solvers.reconstruct(intensity, known=known, **options)  # warnings are errors
    with pytest.warns(UserWarning, match=f"the data of 2 of 2 patterns do not agree with the known part.* {said}"):
        solvers.reconstruct(intensity, known=factor * known, **options)


def test_noise_is_no_disagreement_and_a_wrong_part_is_one_in_noise_too() -> None:
    obj, known, _ = half_known(16, 16, kind="nonnegative")
    factor = math.sqrt(1e6 / obj.square().sum())
    counts = torch.poisson(factor**2 * pr.operators.fourier_intensity(obj, (40, 40)))
    options: dict[str, Any] = {"constraint": "nonnegative", "schedule": "raar:100,er:50", "starts": 2}
    found = solvers.reconstruct(counts, known=factor * known, **options)
    assert (found.obj / factor - obj).norm() < 0.1 * obj.norm()
    with pytest.warns(UserWarning, match="do not agree with the known part"):
        solvers.reconstruct(counts, known=1.4 * factor * known, **options)


@pytest.mark.filterwarnings("ignore:.*do not determine an object")
def test_free_pixels_that_explain_noise_do_not_count() -> None:
    """Complex pixels with hardly more data than numbers: without the known part noise is fitted nearly exactly."""
    obj, known, _ = half_known(12, 12)
    known[:, 6:10] = obj[:, 6:10]
    factor = math.sqrt(1e4 / obj.abs().square().sum())
    counts = torch.poisson(factor**2 * _fft.power(torch.fft.fft2(obj, (15, 15), norm="ortho")))
    solvers.RAAR(200)(counts, known=factor * known, undersampled=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"known": torch.ones(6, 8)},
            ValueError,
            "known must leave at least one pixel of the support unknown, got none",
        ),
        ({"known": torch.ones(6, 8, dtype=torch.long)}, TypeError, "known must be real or complex floating"),
        ({"known": torch.full((6, 8), math.inf)}, ValueError, "known must be finite"),
        ({"known": torch.ones(8)}, ValueError, "known must have at least 2 axes"),
        (
            {"known": torch.full((5, 8), NAN), "support": torch.ones(6, 8) > 0},
            ValueError,
            r"sizes \(6, 8\), got \(5, 8\)",
        ),
        (
            {"known": torch.eye(6, 8).where(torch.eye(6, 8) > 0, NAN).expand(2, 6, 8), "support": torch.ones(6, 8) > 0},
            ValueError,
            "known must broadcast to",
        ),
        ({"known": 1j * torch.ones(6, 8), "constraint": "real"}, TypeError, "known must be real for constraint='real'"),
        ({"known": -torch.ones(6, 8), "constraint": "nonnegative"}, ValueError, "known must not be negative"),
    ],
)
def test_what_cannot_be_known_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        solvers.HIO(2)(torch.ones(13, 17), **options)


@pytest.mark.filterwarnings("ignore:.*do not agree with the known part")
@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
def test_a_part_that_is_more_than_all_or_nothing_is_refused(norm: Any) -> None:
    obj, known, _ = half_known(2, 6, 8)
    obj[1], known[1] = obj[0], obj[0]  # hardly anything is unknown of the second
    known[1, 0, 0] = NAN
    intensity = pr.operators.fourier_intensity(obj, (13, 17), norm=norm)
    options: dict[str, Any] = {"norm": norm, "constraint": "complex"}
    solvers.ErrorReduction(1)(intensity, known=1.4 * known, **options)
    rule = r"ErrorReduction: known must hold no more energy than the pattern, got 2\.[12]\d? times as much"
    with pytest.raises(ValueError, match=rule):
        solvers.ErrorReduction(1)(intensity, known=1.5 * known, **options)
    with pytest.raises(ValueError, match=rule):
        solvers.ErrorReduction(1)(intensity.half().float(), known=(1.5 * known).to(torch.complex64), **options)
    gaps = torch.ones(13, 17, dtype=torch.bool)
    gaps[0, 0] = False  # who knows how much it held
    solvers.ErrorReduction(1)(intensity, known=1.5 * known, mask=gaps, **options)
    known[0] = NAN
    with pytest.raises(
        ValueError, match="known must hold at least one known pixel of each pattern, got NaN everywhere"
    ):
        solvers.ErrorReduction(1)(intensity, known=known, **options)


@pytest.mark.parametrize("schedule", ["er:1", "hio:20", "raar:30", "sparse:50"])
@pytest.mark.parametrize("kind", ["complex", "nonnegative"])
def test_a_run_that_is_not_at_its_end_tells_nothing(kind: Any, schedule: str) -> None:
    _, known, intensity = half_known(16, 16, kind=kind)
    solvers.reconstruct(intensity, known=known, schedule=schedule, starts=1, constraint=kind)  # warnings are errors


@pytest.mark.parametrize("noise", ["none", "counts", "gaussian"])
@pytest.mark.parametrize("kind", ["complex", "nonnegative"])
def test_a_part_in_another_place_is_told(kind: Any, noise: str) -> None:
    """The pinhole lies two pixels nearer than it should, or in another row: the sample cannot move along."""
    _, known, intensity = beside_a_point(kind)
    if noise == "counts":
        factor = 1e6 / intensity.sum()
        intensity, known = torch.poisson(intensity * factor), known * factor.sqrt()
    elif noise == "gaussian":
        intensity = (intensity + 0.02 * intensity.mean() * torch.randn_like(intensity)).clamp(min=0)
    options: dict[str, Any] = {"norm": "backward", "schedule": "raar:150,er:50", "starts": 2, "constraint": kind}
    both = torch.stack([intensity, intensity])
    solvers.reconstruct(both, known=known, **options)  # warnings are errors
    beside = known.clone()
    beside[:, 9:] = known[:, 9:].roll((2, -2), (0, 1))
    said = "the data of 1 of 2 patterns are not explained beside the known part: all starts find much the same"
    with pytest.warns(UserWarning, match=said):
        solvers.reconstruct(both, known=torch.stack([known, beside]), **options)


def test_a_run_goes_on_with_the_same_known_part_only() -> None:
    _, known, intensity = half_known(6, 8)
    states: list[dict[str, Any]] = []
    options: dict[str, Any] = {"known": known, "starts": 2}
    whole = solvers.HIO(20)(intensity, checkpoint=states.append, checkpoint_every=10, **options)
    assert torch.equal(solvers.HIO(20)(intensity, resume=states[0], **options).objs, whole.objs)
    with pytest.raises(ValueError, match="resume must be of this run, got one with another known"):
        solvers.HIO(20)(intensity, resume=states[0], **options | {"known": known / 2})


def test_the_command_reads_a_known_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    obj, known, _ = half_known(10, 10, kind="nonnegative")
    intensity = torch.fft.fftshift(pr.operators.fourier_intensity(obj, (60, 60)))  # a coarser grid holds it
    np.save("pattern.npy", intensity.numpy())
    np.save("known.npy", known.numpy())
    command = "reconstruct pattern.npy --known known.npy --constraint nonnegative --schedule raar:200,er:50 --starts 2"
    main([*command.split(), "--double", "-o", "found.npz"])
    found = pr.io.load_object("found.npz")
    torch.testing.assert_close(found.to(DOUBLE), obj, atol=1e-4, rtol=0)


# --- a known modulus ------------------------------------------------------------------------------------------------


def up_to_the_phase(found: Tensor, obj: Tensor) -> Tensor:
    inner = (found.conj() * obj).sum((-2, -1), keepdim=True)
    return found * inner / inner.abs()


def smooth_phase(*shape: int) -> Tensor:
    coarse = torch.rand(1, 1, *[4] * len(shape), dtype=DOUBLE)
    return 2 * torch.nn.functional.interpolate(coarse, size=shape, mode="bicubic")[0, 0]


@pytest.mark.parametrize("even", [True, False])
def test_two_planes_give_the_phase(even: bool) -> None:
    """Gerchberg and Saxton's problem: the modulus of a batch of objects, and their far field.

    An even modulus is that of the twin as well.
    """
    modulus = torch.ones(16, 16, dtype=DOUBLE) if even else random(16, 16, kind="nonnegative")
    obj = torch.polar(modulus.expand(2, -1, -1), torch.stack([smooth_phase(16, 16) for _ in range(2)]))
    intensity = pr.operators.fourier_intensity(obj, (32, 32))
    found = solvers.reconstruct(
        intensity,
        support=modulus > 0,
        constraint="complex",
        bounds=(modulus, modulus),
        schedule="raar:300,er:100",
        starts=4,
    )
    torch.testing.assert_close(found.obj.abs(), modulus.expand(2, -1, -1))
    aligned = pr.symmetry.align(found.obj, obj, shift=False, flip=even).aligned
    torch.testing.assert_close(aligned, obj, atol=1e-3, rtol=0)


def test_a_fresnel_plane_is_a_far_field_behind_a_curved_wave() -> None:
    """One transform: the curvature belongs to the object, whose modulus it leaves; it is where to start."""
    modulus, place = random(16, 16, kind="nonnegative"), torch.arange(16, dtype=DOUBLE) - 8
    curved = torch.polar(torch.ones_like(modulus), 0.03 * (place[:, None] ** 2 + place**2))
    obj = torch.polar(modulus, smooth_phase(16, 16))
    intensity = pr.operators.fourier_intensity(obj * curved, (32, 32))
    found = solvers.reconstruct(
        intensity,
        support=modulus > 0,
        constraint="complex",
        bounds=(modulus, modulus),
        schedule="er:400",
        starts=1,
        init=modulus * curved,
    )
    torch.testing.assert_close(up_to_the_phase(found.obj * curved.conj(), obj), obj, atol=1e-3, rtol=0)


def test_planes_of_a_near_field_are_projected_on_in_turn_or_all_at_once() -> None:
    """With gamma = infinity and mu = 1 amplitude flow is the mean of the projections on the planes."""
    obj = torch.polar(random(12, 12, kind="nonnegative"), smooth_phase(12, 12))
    operator = pr.operators.Fresnel((12, 12), fresnel_number=[1e9, 0.1, 0.05]).double()
    intensity, start = operator(obj), obj.abs() + 0j
    found = solvers.truncated_amplitude_flow(intensity, operator, gamma=math.inf, mu=1.0, n_iter=1, init=start)
    field = operator.linear(start)
    expected = operator.adjoint(intensity.sqrt() * field / field.abs()) / 3
    torch.testing.assert_close(found.obj, expected)
    found = solvers.truncated_amplitude_flow(intensity, operator, gamma=math.inf, mu=1.0, n_iter=1500, init=start)
    torch.testing.assert_close(up_to_the_phase(found.obj, obj), obj, atol=1e-2, rtol=0)


def test_bounds_of_each_pixel_keep_to_the_full_grid() -> None:
    obj = random(12, 12, kind="nonnegative")
    obj[:3, :3] = 0
    intensity = pr.operators.fourier_intensity(obj, (24, 24))
    found = solvers.reconstruct(
        intensity,
        support=obj > 0,
        constraint="nonnegative",
        bounds=(0 * obj, obj),
        schedule="sparse(coarse=2):100",
        starts=2,
    )
    assert (found.objs <= obj + 1e-12).all()
