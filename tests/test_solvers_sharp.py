"""What a pattern tells of its own blur: the intensities before one, and the widest that leaves nothing negative."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import phaseret as pr
from phaseret import _fft, solvers
from phaseret.projections import MagnitudeConstraint
from phaseret.projections._spread import Autocorrelation, Gaussian, Kernel, PointSpread
from phaseret.solvers import _coherence
from phaseret.solvers._sharp import measured, widest

DOUBLE = torch.float64
KERNEL = torch.tensor([[0.0, 0.1, 0.0], [0.1, 0.6, 0.1], [0.0, 0.1, 0.0]], dtype=torch.float64)
SHAPES = [((9,), (26,)), ((9, 7), (24, 21)), ((5, 6, 4), (16, 15, 13))]


def some_object(size: tuple[int, ...], *, real: bool) -> Tensor:
    obj = torch.rand(size, dtype=DOUBLE) + 0.3
    return obj if real else torch.polar(obj, 2 * torch.rand(size, dtype=DOUBLE))


def blurred(obj: Tensor, grid: tuple[int, ...], form: Any) -> tuple[Tensor, Tensor]:
    """The intensity of an object, and the same after a blur: (1, 1, *grid)."""
    sharp = _fft.power(torch.fft.fftn(obj, grid))[None, None]
    return sharp, PointSpread(form).blurred(sharp, grid, real=False)


def seen_in(data: Tensor, ndim: int, *, counts: bool = False, mask: Tensor | None = None) -> Autocorrelation:
    return measured(data, mask, ndim, torch.tensor([counts] * len(data)))


def gaussian(*rows: tuple[float, ...]) -> Gaussian:
    return Gaussian(torch.tensor(rows, dtype=DOUBLE)[None, None])


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize(("size", "grid"), SHAPES)
def test_a_blur_is_undone(size: tuple[int, ...], grid: tuple[int, ...], real: bool) -> None:
    """To what lags below the floor of the autocorrelation's extent leave."""
    d = len(size)
    root = 0.5 * torch.eye(d, dtype=DOUBLE) + 0.3 * torch.rand(d, d, dtype=DOUBLE)
    uneven = torch.rand(1, 1, *[3] * d, dtype=DOUBLE) * 0.1
    uneven[(0, 0, *[1] * d)] = 0
    uneven[(0, 0, *[1] * d)] = 1 - uneven.sum()
    for form in (Gaussian((root @ root.mT)[None, None]), Kernel(uneven / uneven.sum())):
        sharp, data = blurred(some_object(size, real=real), grid, form)
        found = PointSpread(form, seen_in(data, d)).sharp(real)
        sharp = _fft.half_from_full(sharp) if real else sharp
        error = (found - sharp.sqrt()).norm() / sharp.sqrt().norm()
        assert error < 0.02


def test_unmeasured_pixels_are_filled_before() -> None:
    form = gaussian((0.5, 0.1), (0.1, 0.4))
    sharp, data = blurred(some_object((9, 7), real=False), (24, 21), form)
    mask = torch.ones(24, 21, dtype=torch.bool)
    mask[5:7, 9:11] = False
    damaged = torch.where(mask, data, 0)
    found = PointSpread(form, seen_in(damaged, 2, mask=mask)).sharp(real=False)
    assert (found - sharp.sqrt()).norm() < 0.02 * sharp.sqrt().norm()
    constraint = MagnitudeConstraint(damaged.sqrt(), mask=mask, norm="backward")
    constraint.spread = PointSpread(form, seen_in(damaged, 2, mask=mask))
    x = torch.randn(1, 1, 24, 21, dtype=torch.complex128)
    before, after = (torch.fft.fft2(y)[0, 0] for y in (x, constraint.project(x)))
    torch.testing.assert_close(after[~mask], before[~mask])  # they keep what they have
    torch.testing.assert_close(after[mask].abs(), found[0, 0][mask])


@pytest.mark.parametrize("real", [False, True])
def test_the_magnitude_before_the_blur_is_what_is_set(real: bool) -> None:
    form = gaussian((0.6, -0.2), (-0.2, 0.4))
    sharp, data = blurred(some_object((9, 7), real=real), (24, 21), form)
    constraint = MagnitudeConstraint(data.sqrt(), real=real, norm="backward")
    plain = constraint.project_fast(torch.rand(1, 1, 24, 21, dtype=DOUBLE if real else torch.complex128))
    constraint.spread = PointSpread(form, seen_in(data, 2))
    x = torch.rand(1, 1, 24, 21, dtype=plain.dtype)
    for project in (constraint.project, constraint.project_fast):
        found = torch.fft.fft2(project(x.clone())).abs()
        assert (found - sharp.sqrt()).norm() < 0.02 * sharp.sqrt().norm()
    scaled = constraint.as_measured()
    expected = MagnitudeConstraint(data.sqrt(), real=real, norm="backward", spread=PointSpread(form)).project(x)
    torch.testing.assert_close(scaled.project(x), expected)


@pytest.mark.parametrize(
    ("rows", "share"),
    [
        (((0.04, 0.0), (0.0, 0.04)), 0.25),
        (((0.5, 0.0), (0.0, 0.5)), 0.25),
        (((1.1, 0.0), (0.0, 0.3)), 0.25),
        (((1.0, 0.6), (0.6, 0.8)), 0.25),
        (((0.9, -0.5), (-0.5, 0.5)), 0.5),  # its axes lie between the directions that are tried
    ],
)
def test_the_widest_blur_that_a_pattern_allows_is_its_own(rows: tuple[tuple[float, float], ...], share: float) -> None:
    form = gaussian(*rows)
    _, data = blurred(some_object((18, 15), real=False), (64, 60), form)
    data = torch.poisson(data * (1e8 / data.sum()))
    found, seen = widest(seen_in(data, 2, counts=True))
    assert seen.all()
    off = (found.values - form.values).abs()
    assert (off <= share * form.values.diagonal(dim1=-2, dim2=-1).amax() + 0.02).all()


@pytest.mark.parametrize(("size", "grid"), SHAPES)
def test_a_wider_blur_would_leave_negative_intensities(size: tuple[int, ...], grid: tuple[int, ...]) -> None:
    d, eye = len(size), torch.eye(len(size), dtype=DOUBLE)
    _, data = blurred(some_object(size, real=False), grid, Gaussian(0.4 * eye[None, None]))
    known = seen_in(data, d)
    assert known.allows(Gaussian(0.3 * eye[None, None])).all()
    assert not known.allows(Gaussian(1.2 * eye[None, None])).any()


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e22, 1e30])
def test_intensities_in_any_unit_are_unblurred(scale: float) -> None:
    form = gaussian((0.5, 0.1), (0.1, 0.4))
    sharp, data = blurred(some_object((9, 7), real=False), (24, 21), form)
    single = Gaussian(form.values.float())
    known = seen_in((data * scale).float(), 2)
    found = PointSpread(single, known).sharp(real=False).double() / scale**0.5
    assert (found - sharp.sqrt()).norm() < 0.02 * sharp.sqrt().norm()
    torch.testing.assert_close(widest(known)[0].values, widest(seen_in(data.float(), 2))[0].values, atol=0.05, rtol=0.1)


@pytest.mark.parametrize("steps", ["rrr:3", "er:3"])
def test_the_gradient_through_blurred_intensities_is_right(steps: str) -> None:
    """Against a difference, along one direction."""
    form = gaussian((0.5, 0.1), (0.1, 0.4))
    data = blurred(some_object((5, 4), real=False), (12, 11), form)[1][0, 0]
    data = (data + 0.05 * data.mean() * torch.rand(12, 11, dtype=DOUBLE)).requires_grad_()
    options: dict[str, Any] = {"support": torch.ones(5, 4) > 0, "constraint": "complex", "point_spread": KERNEL}

    def value(intensity: Tensor) -> Tensor:
        return _fft.power(solvers.Recipe(steps)(intensity, **options).obj).sum()

    (gradient,) = torch.autograd.grad(value(data), data)
    way = torch.randn(12, 11, dtype=DOUBLE) * data.detach() * 1e-6
    expected = (value(data.detach() + way) - value(data.detach() - way)) / 2
    torch.testing.assert_close((gradient * way).sum(), expected, rtol=1e-3, atol=0)


def test_noise_hides_a_blur_and_then_nothing_is_claimed() -> None:
    _, data = blurred(some_object((9, 7), real=False), (24, 21), gaussian((0.5, 0.0), (0.0, 0.5)))
    dim = torch.poisson(data * (30 / data.sum()))
    found, seen = widest(seen_in(dim, 2, counts=True))
    assert not seen.any()
    torch.testing.assert_close(found.values[0, 0], 0.25 * torch.eye(2, dtype=DOUBLE))
    bright, both = seen_in(data, 2), torch.cat([data, data * 0 + dim])
    covariances, each = widest(seen_in(both, 2))
    assert each[0].all()
    torch.testing.assert_close(covariances.values[0], widest(bright)[0].values[0])


def test_a_fit_stays_near_what_the_pattern_allows() -> None:
    _, data = blurred(some_object((9, 7), real=False), (24, 21), gaussian((0.5, 0.1), (0.1, 0.6)))
    known = seen_in(data, 2)
    allowed = widest(known)[0].values
    known.widest = allowed
    near = allowed * 0.9
    torch.testing.assert_close(_coherence._near(near, known), near)
    wild = torch.tensor([[9.0, 0.0], [0.0, 1e-3]], dtype=DOUBLE)[None, None]
    found = _coherence._near(wild, known)
    largest, least = (torch.linalg.eigvalsh(x[0, 0]) for x in (allowed, found))
    assert (least > 0).all()
    assert least.amax() <= 2.05 * largest.amax() + 0.05
    known.widest = torch.full_like(allowed, torch.nan)
    torch.testing.assert_close(_coherence._near(wild, known), wild)


@pytest.mark.filterwarnings("ignore:.*reconstructions (are not unique|were found by few)")
def test_random_starts_find_what_a_turned_blur_hides() -> None:
    size, grid = (14, 12), (40, 38)
    place = [torch.linspace(-1, 1, n, dtype=DOUBLE) for n in size]
    support = (place[0][:, None] ** 2 + place[1] ** 2 < 1.1) & (place[0][:, None] - place[1] < 0.9)
    obj = some_object(size, real=False) * support
    data = blurred(obj, grid, gaussian((1.0, 0.6), (0.6, 0.8)))[1][0, 0]
    data = torch.poisson(data * (1e8 / data.sum()))
    errors = []
    for kind in (solvers.HIO, _Scaled):
        steps = [step for _ in range(6) for step in (kind(50), solvers.ErrorReduction(20))]
        recipe = solvers.Recipe(*steps, solvers.ErrorReduction(100))
        r = recipe(data, support=support, constraint="complex", coherence="gaussian", starts=4)
        errors.append(float(pr.metrics.nmse(r.obj, obj, align=True, scale=True)))
    assert errors[0] < 0.5 * errors[1]


class _Scaled(solvers.HIO):
    """HIO with blurred intensities scaled to the measured ones, which is no projection."""

    descends = True
