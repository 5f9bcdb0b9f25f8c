"""Blurred intensities: the model against slow sums, what is fitted, and runs that find it."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

import phaseret as pr
from phaseret import _fft, solvers
from phaseret.cli import main
from phaseret.projections import MagnitudeConstraint
from phaseret.projections._spread import Gaussian, Kernel, PointSpread
from phaseret.solvers import _coherence

# most runs here are too short to solve anything
pytestmark = pytest.mark.filterwarnings("ignore:.*reconstructions (are not unique|were found by few)")
DOUBLE = torch.float64


def gaussian(*rows: tuple[float, ...]) -> PointSpread:
    return PointSpread(Gaussian(torch.tensor(rows, dtype=DOUBLE)[None, None]))


def slowly_blurred(power: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """sum_j kernel(j) power(k - j), with indices that wrap around."""
    dims, total = tuple(range(-kernel.ndim, 0)), torch.zeros_like(power)
    for place in itertools.product(*map(range, kernel.shape)):
        shifts = [p - k // 2 for p, k in zip(place, kernel.shape, strict=True)]
        total += kernel[place] * power.roll(shifts, dims)
    return total


def some_kernel(*shape: int) -> torch.Tensor:
    kernel = torch.rand(shape, dtype=DOUBLE) + 0.1
    return kernel / kernel.sum()


def scene(size: tuple[int, ...], grid: tuple[int, ...], dtype: torch.dtype = torch.complex128) -> Any:
    """An object without symmetry, in a support that is no box, and its intensities."""
    support = torch.ones(size, dtype=torch.bool)
    support[(slice(0, size[0] // 2), *[slice(0, n // 3) for n in size[1:]])] = False
    obj = (torch.rand(size, dtype=DOUBLE) + 0.5).to(dtype) * support
    if dtype.is_complex:
        obj = obj * torch.exp(0.8j * torch.rand(size, dtype=DOUBLE))
    return obj, support, _fft.power(torch.fft.fftn(obj, grid, norm="ortho"))


@pytest.mark.parametrize(
    ("shape", "sizes"), [((9,), (3,)), ((8, 11), (3, 4)), ((11, 8), (1, 5)), ((5, 6, 7), (3, 2, 3))]
)
def test_a_kernel_blurs_as_the_slow_sum(shape: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    power, kernel = torch.rand(2, 3, *shape, dtype=DOUBLE), some_kernel(*sizes)
    found = PointSpread(Kernel(kernel[None, None])).blurred(power, shape, real=False)
    torch.testing.assert_close(found, slowly_blurred(power, kernel))


@pytest.mark.parametrize("covariance", [((2.5, 0.0), (0.0, 1.6)), ((2.5, 1.2), (1.2, 1.8)), ((2.5, -1.2), (-1.2, 1.8))])
def test_a_gaussian_blurs_as_its_samples_do(covariance: tuple[tuple[float, float], ...]) -> None:
    spread, power = gaussian(*covariance), torch.rand(1, 1, 30, 27, dtype=DOUBLE)
    place = torch.arange(-13, 14, dtype=DOUBLE)
    y, x = torch.meshgrid(place, place, indexing="ij")
    (a, b), (_, c) = covariance
    kernel = torch.exp(-(c * y * y - 2 * b * x * y + a * x * x) / (2 * (a * c - b * b)))
    found = spread.blurred(power, (30, 27), real=False)
    torch.testing.assert_close(found[0, 0], slowly_blurred(power[0, 0], kernel / kernel.sum()), rtol=1e-3, atol=0)


@given(st.integers(2, 6), st.integers(2, 6), st.floats(1e-3, 9.0), st.floats(1e-3, 9.0), st.floats(-0.9, 0.9))
def test_a_blur_keeps_the_sum_and_makes_nothing_negative(m: int, n: int, a: float, c: float, part: float) -> None:
    cross, power = part * math.sqrt(a * c), torch.rand(1, 1, 2 * m, n, dtype=DOUBLE)
    found = gaussian((a, cross), (cross, c)).blurred(power, (2 * m, n), real=False)
    assert (found >= 0).all()
    total = _fft.filtered(
        power, gaussian((a, cross), (cross, c)).form.factor((2 * m, n), False), (2 * m, n), False
    ).sum()
    torch.testing.assert_close(total, power.sum())


@pytest.mark.parametrize("shape", [(8, 9), (9, 8), (6, 5, 8)])
@pytest.mark.parametrize("kind", ["gaussian", "kernel"])
def test_the_half_plane_of_a_real_object_is_that_of_the_whole(kind: str, shape: tuple[int, ...]) -> None:
    d = len(shape)
    if kind == "gaussian":
        root = torch.rand(d, d, dtype=DOUBLE)
        spread = PointSpread(Gaussian((root @ root.mT)[None, None]))
    else:  # of one that is not symmetric a centro-symmetric plane sees the symmetric part
        kernel = some_kernel(*[3] * d)
        spread = PointSpread(Kernel(((kernel + kernel.flip(tuple(range(d)))) / 2)[None, None]))
    obj = torch.randn(2, 1, *[m // 2 for m in shape], dtype=DOUBLE)
    power = _fft.power(torch.fft.fftn(obj, shape, dim=tuple(range(-d, 0))))
    whole = spread.blurred(power, shape, real=False)
    half = spread.blurred(_fft.half_from_full(power), shape, real=True)
    torch.testing.assert_close(half, _fft.half_from_full(whole))


@pytest.mark.parametrize("real", [False, True])
def test_the_slope_of_a_gaussian_is_the_derivative_of_its_factor(real: bool) -> None:
    covariance = torch.tensor([[1.5, 0.4], [0.4, 0.9]], dtype=DOUBLE)[None, None].requires_grad_()
    spread = Gaussian(covariance)
    factor = spread.factor((6, 7), real)
    for a, b in ((0, 0), (1, 1), (0, 1)):
        for place in ((1, 2), (4, 3), (5, 1)):
            (gradient,) = torch.autograd.grad(factor[0, 0][place], covariance, retain_graph=True)
            gradient = gradient[0, 0]
            expected = gradient[a, b] if a == b else gradient[a, b] + gradient[b, a]
            torch.testing.assert_close(spread.slope(a, b, (6, 7), real)[0, 0][place], expected)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_modulus_is_multiplied_by_measured_over_blurred(dtype: torch.dtype, masked: bool) -> None:
    magnitude, kernel = torch.rand(6, 7, dtype=DOUBLE) + 0.5, some_kernel(3, 3)
    kernel = (kernel + kernel.flip(0, 1)) / 2
    magnitude = (magnitude + _fft.mirror(magnitude, (0, 1))) / 2  # as a real object has it
    mask = torch.rand(6, 7) > 0.3 if masked else torch.ones(6, 7, dtype=torch.bool)
    mask &= _fft.mirror(mask, (0, 1))
    x = torch.randn(6, 7, dtype=dtype)
    spread = PointSpread(Kernel(kernel[None, None]))
    constraint = MagnitudeConstraint(
        magnitude[None, None], mask=mask if masked else None, real=not dtype.is_complex, spread=spread
    )
    field = torch.fft.fft2(x, norm="ortho")
    factor = torch.where(mask, magnitude / slowly_blurred(_fft.power(field), kernel).sqrt(), 1)
    expected = torch.fft.ifft2(field * factor, norm="ortho")
    for project in (constraint.project, constraint.project_fast):
        torch.testing.assert_close(project(x[None, None])[0, 0].to(expected.dtype), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_residual_compares_what_is_blurred(dtype: torch.dtype) -> None:
    obj, _, power = scene((5, 4), (10, 9), dtype)
    kernel = some_kernel(3, 3)
    kernel = (kernel + kernel.flip(0, 1)) / 2
    spread, options = PointSpread(Kernel(kernel[None, None])), {"real": not dtype.is_complex, "norm": "ortho"}
    data = slowly_blurred(power, kernel)
    blurred = MagnitudeConstraint(data.sqrt()[None, None], spread=spread, **options)
    torch.testing.assert_close(blurred.residual(obj[None, None]), torch.zeros(1, 1, dtype=DOUBLE), atol=1e-7, rtol=0)
    torch.testing.assert_close(blurred.transfer(obj[None, None]), torch.ones(1, 1, 6, dtype=DOUBLE)[..., : 9 // 2 + 1])
    sharp = MagnitudeConstraint(data.sqrt()[None, None], **options).residual(obj[None, None])
    expected = ((power.sqrt() - data.sqrt()).square().sum() / data.sum()).sqrt()
    torch.testing.assert_close(sharp[0, 0], expected)


def test_the_gradient_of_the_projection_is_right() -> None:
    spread = gaussian((0.8, 0.2), (0.2, 1.1))
    constraint = MagnitudeConstraint(torch.rand(1, 1, 4, 5, dtype=DOUBLE) + 0.5, spread=spread)
    x = torch.randn(1, 1, 4, 5, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(constraint.project, (x,), fast_mode=True)


@pytest.mark.parametrize(
    ("size", "grid", "dtype"),
    [
        ((9,), (24,), torch.complex128),
        ((7, 6), (18, 15), torch.complex128),
        ((7, 6), (18, 15), torch.float64),
        ((4, 5, 4), (10, 12, 11), torch.complex128),
    ],
)
def test_the_true_object_shows_the_true_covariance(
    size: tuple[int, ...], grid: tuple[int, ...], dtype: torch.dtype
) -> None:
    obj, _, power = scene(size, grid, dtype)
    d = len(size)
    root = torch.eye(d, dtype=DOUBLE) + 0.4 * torch.rand(d, d, dtype=DOUBLE)
    truth = (root @ root.mT)[None, None]
    data = PointSpread(Gaussian(truth)).blurred(power[None, None], grid, real=False)
    spread = PointSpread(Gaussian(0.25 * torch.eye(d, dtype=DOUBLE)[None, None]))
    magnitude = MagnitudeConstraint(data.sqrt(), real=not dtype.is_complex, ndim=d, spread=spread)
    own = _fft.power(_fft.transform(_fft.pad(obj, grid), d))[None, None]
    for _ in range(12):
        assert isinstance(spread.form, Gaussian)
        spread.form = Gaussian(_coherence._fitted(spread.form, magnitude, own))
    torch.testing.assert_close(spread.form.values, truth, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.float64])
def test_a_free_kernel_is_that_of_richardson_and_lucy(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    obj, _, power = scene((4, 3), (9, 8), dtype)
    truth, begun = (some_kernel(3, 5) for _ in range(2))
    if not dtype.is_complex:  # whose data show the symmetric part alone
        truth, begun = ((k + k.flip(0, 1)) / 2 for k in (truth, begun))
    data, mask = slowly_blurred(power, truth), torch.rand(9, 8) > 0.2
    mask &= _fft.mirror(mask, (0, 1))
    ratio = mask * data / slowly_blurred(power, begun)
    expected = torch.zeros(3, 5, dtype=DOUBLE)
    for y, x in itertools.product(range(3), range(5)):
        seen = power.roll((y - 1, x - 2), (0, 1))
        expected[y, x] = begun[y, x] * (seen * ratio).sum() / (seen * mask).sum()
    monkeypatch.setattr(_coherence, "_ITERATIONS", 1)
    own = _fft.power(_fft.transform(_fft.pad(obj, (9, 8)), 2))[None, None]
    for kernel, following in ((begun, expected / expected.sum()), (truth, truth)):
        magnitude = MagnitudeConstraint(data.sqrt()[None, None], mask=mask, real=not dtype.is_complex)
        found = _coherence._deconvolved(Kernel(kernel[None, None]), magnitude, own)
        torch.testing.assert_close(found[0, 0], following)


def run_of(coherence: str | None, data: torch.Tensor, support: torch.Tensor, **options: Any) -> Any:
    recipe = solvers.Recipe(options.pop("schedule", "4*(hio:50,er:20),er:60"))
    return recipe(data, support=support, coherence=coherence, constraint="complex", ndim=support.ndim, **options)


@pytest.mark.parametrize(("size", "grid"), [((10, 9), (30, 28)), ((6, 5, 6), (16, 15, 16))])
def test_a_blur_is_found_with_the_object(size: tuple[int, ...], grid: tuple[int, ...]) -> None:
    obj, support, power = scene(size, grid)
    d = len(size)
    covariance = torch.diag(torch.linspace(0.8, 1.2, d, dtype=DOUBLE))[None, None]
    data = PointSpread(Gaussian(covariance)).blurred(power[None, None], grid, real=False)[0, 0]
    near = {"init": obj * (1 + 0.2 * torch.randn(size)), "schedule": "er:300"}
    without, found = (run_of(how, data, support, **near) for how in (None, "gaussian"))
    assert without.point_spread is None
    assert without.blur is None
    assert float(found.error) < 0.2 * float(without.error)
    torch.testing.assert_close(found.blur, torch.linspace(0.8, 1.2, d, dtype=DOUBLE).sqrt(), atol=0.05, rtol=0)
    known = run_of(None, data, support, point_spread=found.point_spread, **near)
    torch.testing.assert_close(known.point_spread, found.point_spread)
    assert float(known.error) < 0.2 * float(without.error)


def test_random_starts_find_a_blurred_object() -> None:
    obj, support, power = scene((10, 9), (30, 28))
    data = gaussian((1.0, 0.3), (0.3, 0.8)).blurred(power[None, None], (30, 28), real=False)[0, 0]
    errors = [pr.metrics.nmse(run_of(c, data, support, starts=4).obj, obj, align=True) for c in (None, "gaussian")]
    assert errors[1] < 0.5 * errors[0]


def test_sharp_data_are_not_blurred() -> None:
    obj, support, power = scene((8, 9), (24, 25))
    r = run_of("gaussian", power, support, init=obj * (1 + 0.2 * torch.randn(8, 9)), schedule="er:300")
    assert (r.blur < 0.15).all()  # that is no blur
    assert float(r.error) < 0.01


def test_a_free_kernel_fits_better_than_a_gaussian() -> None:
    obj, support, power = scene((10, 9), (40, 38))
    kernel = torch.zeros(7, 7, dtype=DOUBLE)
    kernel[3, 3], kernel[3, 0], kernel[3, 6], kernel[1, 3], kernel[5, 3] = 0.6, 0.1, 0.1, 0.1, 0.1
    data = slowly_blurred(power, kernel)
    gauss, free = (
        run_of(how, data, support, init=obj, schedule="er:300", check_every=3) for how in ("gaussian", "free")
    )
    assert free.point_spread.shape == (11, 11)
    torch.testing.assert_close(free.point_spread.sum(), torch.ones((), dtype=DOUBLE))
    assert float(free.error) < 0.8 * float(gauss.error)


def test_a_batch_finds_what_its_items_find() -> None:
    scenes = [scene((6, 5), (14, 13)) for _ in range(3)]
    data = torch.stack(
        [gaussian((1.0, 0.0), (0.0, 0.5)).blurred(s[2][None, None], (14, 13), False)[0, 0] for s in scenes]
    )
    support = scenes[0][1]
    together = run_of("gaussian", data, support, starts=2, schedule="hio:30", chunk=2)
    assert together.point_spread.shape == (3, 13, 13)
    assert together.blur.shape == (3, 2)
    for i in range(3):
        alone = run_of("gaussian", data[i], support, starts=2, schedule="hio:30")
        torch.testing.assert_close(alone.objs, together.objs[i], atol=1e-8, rtol=1e-8)
        torch.testing.assert_close(alone.point_spread, together.point_spread[i], atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("coherence", ["gaussian", "free"])
def test_a_run_is_taken_up_again_exactly(coherence: str) -> None:
    _, support, power = scene((6, 5), (14, 13))
    states: list[dict[str, Any]] = []
    options = {"starts": 2, "schedule": "hio:200,er:20", "checkpoint_every": 50}
    whole = run_of(coherence, power, support, checkpoint=states.append, **options)
    for state in states[1], states[2]:
        again = run_of(coherence, power, support, resume=state, **options)
        assert torch.equal(again.objs, whole.objs)
        assert torch.equal(again.point_spread, whole.point_spread)
    with pytest.raises(ValueError, match="resume must be of this run, got one with another coherence"):
        run_of(None, power, support, resume=states[1], **options)


def test_the_search_for_sparse_objects_takes_it_too() -> None:
    obj, support, power = scene((6, 5), (16, 15))
    data = gaussian((1.2, 0.0), (0.0, 1.2)).blurred(power[None, None], (16, 15), False)[0, 0]
    near = {"init": obj * (1 + 0.1 * torch.randn(6, 5)), "schedule": "sparse(smallest=1):140,er:200"}
    sharp, r = (run_of(c, data, support, **near) for c in (None, "gaussian"))
    assert float(r.error) < 0.85 * float(sharp.error)


def test_a_gradient_flows_through_a_blurred_run() -> None:
    _, support, power = scene((4, 3), (8, 7))
    power.requires_grad_()
    known = {"support": support, "constraint": "complex"}  # so few pixels may look symmetric
    r = solvers.HIO(3)(power, point_spread=some_kernel(3, 3), **known)
    (gradient,) = torch.autograd.grad(r.obj.abs().sum(), power)
    assert gradient.isfinite().all()
    assert gradient.any()


KERNEL = torch.full((3, 3), 1 / 9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"coherence": "lorentz"}, "coherence must be one of 'gaussian', 'free', got 'lorentz'"),
        ({"coherence": "gaussian", "point_spread": KERNEL}, "coherence='gaussian' must be left out where point_spread"),
        ({"point_spread": 2 * KERNEL}, r"point_spread must sum to 1, got 2\. Divide it by its sum"),
        ({"point_spread": KERNEL.neg()}, "point_spread must not be negative"),
        ({"point_spread": KERNEL / 0}, "point_spread must be finite"),
        ({"point_spread": torch.full((9, 1), 1 / 9)}, r"point_spread must be no larger than the data \(8, 8\)"),
        ({"point_spread": KERNEL.expand(2, 3, 3)}, r"point_spread must broadcast to the batch shape \(\)"),
        ({"point_spread": torch.ones(3)}, "point_spread must have at least 2"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        solvers.HIO(5)(torch.rand(8, 8), support=torch.ones(4, 4) > 0, **options)


def test_the_command_finds_a_blur(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, power = scene((6, 6), (16, 16))
    spread = gaussian((1.0, 0.0), (0.0, 1.0))
    data = spread.blurred(power[None, None], (16, 16), False)[0, 0].float()
    pr.io.save_intensity(tmp_path / "pattern.npz", data)
    np.save(tmp_path / "kernel.npy", spread.form.shown((16, 16))[0, 2:13, 2:13].numpy())
    common = [
        "reconstruct",
        str(tmp_path / "pattern.npz"),
        "--support",
        "6,6",
        "--schedule",
        "hio:60,er:20",
        "--starts",
        "2",
    ]
    for option in (["--coherence", "gaussian"], ["--point-spread", str(tmp_path / "kernel.npy")]):
        out = tmp_path / f"{option[0]}.npz"
        assert main([*common, *option, "-o", str(out)]) == 0
        printed = capsys.readouterr().out
        assert "blur " in printed
        assert "pixels (standard deviation)" in printed
        result = pr.io.load_reconstruction(out)
        assert result["point_spread"].shape in ((15, 15), (11, 11))
