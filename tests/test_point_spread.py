"""A known point spread in losses, metrics and gradient methods: against slow sums, and as their own gradients say."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import phaseret as pr
from phaseret import _fft, solvers
from phaseret.projections._spread import Gaussian

DOUBLE = torch.float64
DOMAINS = ["magnitude", "intensity", "poisson", "autocorrelation"]


def some_kernel(*shape: int) -> Tensor:
    kernel = torch.rand(shape, dtype=DOUBLE) + 0.1
    return kernel / kernel.sum()


def slowly_blurred(power: Tensor, kernel: Tensor) -> Tensor:
    """sum_j kernel(j) power(k - j), with indices that wrap around."""
    dims, total = tuple(range(-kernel.ndim, 0)), torch.zeros_like(power)
    for place in itertools.product(*map(range, kernel.shape)):
        shifts = [p - k // 2 for p, k in zip(place, kernel.shape, strict=True)]
        total += kernel[place] * power.roll(shifts, dims)
    return total


def scene(*shape: int, real: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Three estimates, other intensities, and the estimates' own."""
    estimate = torch.rand(3, *shape, dtype=DOUBLE) + 0.2
    estimate = estimate if real else torch.polar(estimate, 3 * torch.rand_like(estimate))
    grid = [2 * n + 1 for n in shape]
    own = _fft.power(torch.fft.fftn(estimate, grid, dim=tuple(range(-len(shape), 0)), norm="ortho"))
    return estimate, own * (0.5 + torch.rand_like(own)), own


def by_hand(domain: str, expected: Tensor, data: Tensor, mask: Tensor) -> Tensor:
    """The loss of each item, from the formulas."""
    axes = tuple(range(1, data.ndim))
    if domain == "magnitude":
        pixels = (expected.sqrt() - data.sqrt()) ** 2
    elif domain == "poisson":
        expected = expected + torch.finfo(DOUBLE).eps * data.mean(axes, keepdim=True)
        pixels = expected - data * expected.log() + torch.lgamma(data + 1)
    else:  # Parseval
        pixels = (expected - data) ** 2
    return (pixels * mask).sum(axes) / mask.sum(axes)


# --- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 3, 4)])
def test_the_loss_is_that_of_the_blurred_intensity(shape: tuple[int, ...], real: bool, domain: Any) -> None:
    estimate, data, own = scene(*shape, real=real)
    kernel, operator = some_kernel(*[3, 4, 2][: len(shape)]), pr.operators.FourierIntensity(own.shape[1:])
    mask = torch.rand(own.shape) > (0.0 if domain in ("poisson", "autocorrelation") else 0.2)
    options: dict[str, Any] = {"domain": domain, "mask": mask, "reduction": "none"}
    found = pr.losses.passive_loss(estimate, data, operator, point_spread=kernel, background=0.3, **options)
    expected = by_hand(domain, slowly_blurred(own, kernel) + 0.3, data, mask)
    torch.testing.assert_close(found, expected)
    centered = pr.operators.FourierIntensity(own.shape[1:], centered=True)
    axes = tuple(range(1, own.ndim))
    options["mask"] = torch.fft.fftshift(mask, axes)
    shifted = torch.fft.fftshift(data, axes)
    found = pr.losses.passive_loss(estimate, shifted, centered, point_spread=kernel, background=0.3, **options)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("centered", [False, True])
def test_half_planes_stand_for_full_ones(centered: bool, domain: Any) -> None:
    estimate, _, own = scene(4, 5)
    kernel = some_kernel(3, 3)
    kernel = (kernel + kernel.flip(0, 1)) / 2  # of others the data are not symmetric
    data = slowly_blurred(0.7 * own, kernel)
    whole, half = (
        pr.operators.FourierIntensity((9, 11), onesided=onesided, centered=centered) for onesided in (False, True)
    )
    planes = [data, _fft.half_from_full(data)]
    if centered:
        planes = [torch.fft.fftshift(planes[0], (1, 2)), torch.fft.fftshift(planes[1], 1)]
    options: dict[str, Any] = {"point_spread": kernel, "domain": domain, "reduction": "none"}
    torch.testing.assert_close(
        pr.losses.passive_loss(estimate, planes[1], half, **options),
        pr.losses.passive_loss(estimate, planes[0], whole, **options),
    )
    error = pr.metrics.relative_magnitude_error(estimate * 0.7**0.5, planes[1], half, point_spread=kernel)
    assert error < 1e-7


def test_scale_and_normalize_see_the_blurred_intensity() -> None:
    estimate, data, own = scene(4, 5)
    kernel, mask = some_kernel(3, 4), torch.rand(9, 11) > 0.3
    seen = slowly_blurred(own, kernel)
    factor = (data * mask).sum((1, 2)) / (seen * mask).sum((1, 2))
    options: dict[str, Any] = {"point_spread": kernel, "mask": mask, "reduction": "none"}
    torch.testing.assert_close(
        pr.losses.passive_loss(estimate, data, scale=True, **options),
        by_hand("magnitude", factor[:, None, None] * seen, data, mask.expand_as(data)),
    )
    mean = (data * mask).sum((1, 2)) / mask.sum()
    torch.testing.assert_close(
        pr.losses.passive_loss(estimate, data, normalize=True, **options),
        by_hand("magnitude", seen, data, mask.expand_as(data)) / mean,
    )


def test_a_kernel_for_each_item_and_one_that_does_nothing() -> None:
    estimate, data, _ = scene(4, 5)
    kernels = torch.stack([some_kernel(3, 4) for _ in range(3)])
    near = pr.operators.Fresnel((4, 5), fresnel_number=[0.3, 0.1], chunk=2).double()
    for operator, y in ((None, data), (near, near(estimate + 0.1))):
        found = pr.losses.passive_loss(estimate, y, operator, point_spread=kernels, reduction="none")
        each = [
            pr.losses.passive_loss(*item, operator, point_spread=k)
            for *item, k in zip(estimate, y, kernels, strict=True)
        ]
        torch.testing.assert_close(found, torch.stack(each))
        nothing = torch.zeros(3, 3, dtype=DOUBLE)
        nothing[1, 1] = 1
        torch.testing.assert_close(
            pr.losses.passive_loss(estimate, y, operator, point_spread=nothing),
            pr.losses.passive_loss(estimate, y, operator),
        )


def test_metrics_know_the_blur_and_their_classes_do() -> None:
    estimate, _, own = scene(4, 5)
    kernel = some_kernel(3, 4)
    data = 1e3 * slowly_blurred(own, kernel)
    found = {
        name: getattr(pr.metrics, name)(estimate * 1e3**0.5, data, point_spread=kernel, reduction="none")
        for name in ("relative_magnitude_error", "r_factor", "poisson_log_likelihood")
    }
    assert all((values.abs() < 1e-9).all() for values in found.values())
    assert (pr.metrics.r_factor(estimate * 1e3**0.5, data, reduction="none") > 1e-3).all()
    pytest.importorskip("torchmetrics")
    metric = pr.metrics.RFactor(point_spread=kernel, reduction="none")
    assert (metric(estimate * 1e3**0.5, data) < 1e-9).all()


# --- gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("real", [True, False])
def test_gradients_are_those_of_the_values(real: bool, domain: Any) -> None:
    estimate, data, _ = scene(3, 4, real=real)
    mask = torch.rand(7, 9) > 0.2
    inputs = estimate.requires_grad_(), some_kernel(3, 2).requires_grad_()

    def loss(estimate: Tensor, kernel: Tensor) -> Tensor:
        return pr.losses.passive_loss(estimate, data, point_spread=kernel, mask=mask, domain=domain)

    assert torch.autograd.gradcheck(loss, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(loss, inputs, fast_mode=True)


def test_a_spectrum_of_zeros_has_a_gradient_of_zero() -> None:
    estimate = torch.zeros(1, 4, 5, dtype=DOUBLE, requires_grad=True)
    loss = pr.losses.passive_loss(estimate, torch.rand(1, 9, 11, dtype=DOUBLE), point_spread=some_kernel(3, 3))
    (gradient,) = torch.autograd.grad(loss, estimate)
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("method", ["wirtinger_flow", "truncated_amplitude_flow", "maximum_likelihood"])
def test_the_first_step_goes_down_the_gradient_of_the_loss(method: str, real: bool) -> None:
    masks = pr.operators.coded_masks((4, 5), 3, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    operator, kernel = pr.operators.CodedDiffraction(masks).double(), some_kernel(2, 3)
    start = torch.rand(2, 4, 5, dtype=DOUBLE if real else torch.complex128) + 0.3
    data = operator(torch.rand_like(start)) + 0.2
    mask = torch.rand(data.shape) > 0.2
    options: dict[str, Any] = {"mask": mask, "point_spread": kernel, "constraint": "real" if real else "complex"}
    how: dict[str, Any] = {"mask": mask, "point_spread": kernel, "reduction": "sum"}
    if method == "maximum_likelihood":
        step = solvers.maximum_likelihood(start, data, operator, n_iter=1, background=0.1, **options)
        how |= {"domain": "poisson", "background": 0.1}
    else:
        own = {} if method == "wirtinger_flow" else {"gamma": math.inf}
        step = getattr(solvers, method)(data, operator, n_iter=1, init=start, **own, **options)
        how |= {"domain": "intensity" if method == "wirtinger_flow" else "magnitude"}
    leaf = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(pr.losses.passive_loss(leaf, data, operator, **how), leaf)
    for moved, down in zip(step.obj - start, -gradient, strict=True):
        cosine = (moved.conj() * down).real.sum() / moved.norm() / down.norm()
        torch.testing.assert_close(cosine, torch.ones((), dtype=DOUBLE))


@pytest.mark.parametrize("method", [solvers.wirtinger_flow, solvers.truncated_amplitude_flow])
def test_flows_find_the_object_behind_a_blur(method: Any) -> None:
    masks = pr.operators.coded_masks((6, 6), 8, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    operator, kernel = pr.operators.CodedDiffraction(masks, (12, 12)).double(), some_kernel(3, 3)
    obj = torch.randn(6, 6, dtype=torch.complex128)
    data = slowly_blurred(operator(obj), kernel)
    options: dict[str, Any] = {"object_shape": (6, 6), "n_iter": 800, "init": obj + 0.1 * torch.randn_like(obj)}
    found = method(data, operator, point_spread=kernel, **options)
    assert found.error < 1e-4
    assert method(data, operator, **options).error > 1e-2
    refined = solvers.maximum_likelihood(found.obj, data, operator, point_spread=kernel, background=1e-9, n_iter=5)
    assert refined.error <= 1.01 * found.error


# --- errors and Modules ---------------------------------------------------------------------------------------------

X, Y = torch.rand(2, 4, 5), torch.rand(2, 9, 11)


@pytest.mark.parametrize("form", ["box", "hull"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_support_is_that_of_the_pattern_before_the_blur(ndim: int, form: Any) -> None:
    """A blur takes away what lies at large lags: of a smooth object without a point spread the support is too small."""
    line = torch.hann_window(14, periodic=False, dtype=DOUBLE)[1:-1]
    obj = [line, line[:, None] * line, line[:, None, None] * line[:, None] * line][ndim - 1]
    sharp = pr.operators.fourier_intensity(obj, [40] * ndim)
    profile = torch.exp(-(torch.arange(-6.0, 7.0, dtype=DOUBLE) ** 2) / 4.5)
    kernel = [profile, profile[:, None] * profile, profile[:, None, None] * profile[:, None] * profile][ndim - 1]
    kernel = kernel / kernel.sum()
    dims = tuple(range(-ndim, 0))
    corner = _fft.pad(kernel, sharp.shape).roll([-6] * ndim, dims)
    blurred = torch.fft.ifftn(torch.fft.fftn(sharp) * torch.fft.fftn(corner)).real
    find, options = solvers.autocorrelation_support, {"form": form, "ndim": ndim}
    expected, blind = find(sharp, **options), find(blurred, **options)
    told = find(blurred, point_spread=kernel, **options)
    assert (expected & ~told).sum() == 0
    assert (expected & ~blind).any()
    assert told.sum() <= 1.3 * expected.sum()
    aside = _fft.pad(kernel, [17] * ndim)  # its middle lies elsewhere: the phase of what is left does not matter
    assert torch.equal(find(blurred.roll([-2] * ndim, dims), point_spread=aside, **options), told)
    one = torch.ones([1] * ndim, dtype=DOUBLE)
    assert torch.equal(find(sharp, point_spread=one, **options), expected)
    both = find(
        torch.stack([blurred, sharp]), point_spread=torch.stack([kernel, 0 * kernel]) + _point(kernel), **options
    )
    assert torch.equal(both[0], find(blurred, point_spread=kernel, **options))
    assert torch.equal(both[1], expected)


def _point(kernel: Tensor) -> Tensor:
    """What makes a kernel of zeros, the second one, one of a single pixel."""
    found = torch.stack([torch.zeros_like(kernel)] * 2)
    found[(1, *(k // 2 for k in kernel.shape))] = 1
    return found


def test_steps_that_find_supports_know_the_blur() -> None:
    obj = torch.outer(*[torch.hann_window(14, periodic=False, dtype=DOUBLE)[1:-1]] * 2)
    sharp = pr.operators.fourier_intensity(obj, (40, 40))
    profile = torch.exp(-(torch.arange(-6.0, 7.0, dtype=DOUBLE) ** 2) / 4.5)
    kernel = torch.outer(profile, profile) / profile.sum() ** 2
    blurred = slowly_blurred(sharp, kernel)
    expected = solvers.autocorrelation_support(blurred, point_spread=kernel, form="hull", width=0.66)
    assert expected.sum() > solvers.autocorrelation_support(blurred, form="hull").sum()
    found = solvers.Recipe("hull,er:1")(blurred, point_spread=kernel, constraint="complex")
    assert torch.equal(found.support, expected)
    rooms = []
    for kernels in ({}, {"point_spread": kernel}):
        solvers.Recipe("er:1,shrinkwrap,er:1")(
            blurred, constraint="nonnegative", callback=lambda run: rooms.append(run.room), **kernels
        )
    assert rooms[1] is not None
    assert rooms[3] > rooms[1]
    for wrong, message in (
        (-kernel, "must not be negative"),
        (2 * kernel, "must sum to 1"),
        (kernel.expand(3, -1, -1), r"point_spread must broadcast to the intensity \(40, 40\)"),
    ):
        with pytest.raises(ValueError, match=f"autocorrelation_support: .*{message}"):
            solvers.autocorrelation_support(sharp, point_spread=wrong)


@pytest.mark.parametrize(
    ("kernel", "error", "message"),
    [
        (torch.ones(3, 3, dtype=torch.complex64), TypeError, "point_spread must be real"),
        (torch.ones(3), ValueError, "point_spread must have at least 2 axes"),
        (torch.ones(10, 3), ValueError, r"point_spread must be no larger than the data \(9, 11\), got \(10, 3\)"),
        (torch.ones(3, 3, 3), ValueError, r"must have the batch shape \(2,\) of the intensity or none, got \(3,\)"),
    ],
)
def test_what_is_no_point_spread_is_refused(kernel: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"passive_loss: .*{message}"):
        pr.losses.passive_loss(X, Y, point_spread=kernel)
    with pytest.raises(error, match=f"r_factor: .*{message}"):
        pr.metrics.r_factor(X, Y, point_spread=kernel)


def test_functions_look_at_a_kernel_on_the_cpu_that_nobody_is_fitting() -> None:
    for wrong, message in (
        (torch.tensor([[-1.0, 2.0]]), "must not be negative"),
        (torch.tensor([[math.nan, 1.0]]), "must be finite"),
    ):
        for call in (pr.losses.passive_loss, pr.metrics.r_factor, pr.metrics.relative_magnitude_error):
            with pytest.raises(ValueError, match=f"{call.__name__}: point_spread {message}"):
                call(X, Y, point_spread=wrong)
        fitted = wrong.clone().requires_grad_()
        pr.losses.passive_loss(X, Y, point_spread=fitted).backward()
        assert fitted.grad is not None
        each = torch.func.vmap(lambda x, y, k: pr.losses.passive_loss(x, y, point_spread=k))
        assert each(X, Y, wrong.expand(2, -1, -1)).shape == (2,)


def test_values_are_looked_at_once_when_a_module_is_made_or_a_solver_called() -> None:
    calls: list[Any] = [lambda k: pr.losses.PassiveLoss(point_spread=k)]
    operator = pr.operators.FourierIntensity((9, 11))
    calls += [
        lambda k: pr.losses.passive_loss(X, Y, point_spread=k),
        lambda k: pr.metrics.r_factor(X, Y, point_spread=k),
    ]
    calls.append(lambda k: solvers.wirtinger_flow(Y, operator, object_shape=(4, 5), point_spread=k))
    calls.append(lambda k: solvers.maximum_likelihood(X, Y, operator, point_spread=k))
    for call in calls:
        with pytest.raises(ValueError, match="point_spread must sum to 1, got 9"):
            call(torch.ones(3, 3))
        with pytest.raises(ValueError, match="point_spread must not be negative"):
            call(torch.tensor([[-1.0, 2.0]]))
    half = pr.operators.FourierIntensity((9, 11), onesided=True)
    with pytest.raises(ValueError, match="operator must not be onesided where there is a point_spread"):
        solvers.maximum_likelihood(X, half(X), half, point_spread=torch.ones(1, 1))
    flat = pr.operators.Gaussian(pr.operators.gaussian_matrix((4, 5), 7))
    with pytest.raises(ValueError, match="operator must measure on a detector of 2 axes where there is a point_spread"):
        pr.losses.passive_loss(X, flat(X), flat, point_spread=torch.ones(1, 1))


def test_the_module_keeps_its_kernel_and_a_call_replaces_it() -> None:
    kernels = [some_kernel(3, 3).float(), some_kernel(3, 4).float()]
    loss = pr.losses.PassiveLoss(point_spread=kernels[0])
    assert set(dict(loss.named_buffers())) == {"point_spread"}
    torch.testing.assert_close(loss(X, Y), pr.losses.passive_loss(X, Y, point_spread=kernels[0]))
    torch.testing.assert_close(
        loss(X, Y, point_spread=kernels[1]), pr.losses.passive_loss(X, Y, point_spread=kernels[1])
    )
    assert not torch.allclose(loss(X, Y), pr.losses.passive_loss(X, Y))


@pytest.mark.parametrize("shape", [(64,), (32, 48), (24, 24, 30)])
def test_a_pixel_keeps_at_least_half_of_what_a_wide_gaussian_leaves_in_its_middle(shape: tuple[int, ...]) -> None:
    d = len(shape)
    for sigma in (0.3, 1.0, 3.0):
        gaussian = Gaussian((sigma**2 * torch.eye(d, dtype=torch.float64))[None, None])
        middle = 1 / sum(math.exp(-(k**2) / (2 * sigma**2)) for k in range(-30, 31)) ** d
        share = float(gaussian.share(d)) / middle
        assert share < 1
        if sigma == 3:
            assert share == pytest.approx(0.5, rel=0.03)
