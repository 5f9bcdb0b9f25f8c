"""Tests of the passive loss: values, invariances, derivatives of any order, errors, Module."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import phaseret as pr
from phaseret import _memory, testing
from phaseret.losses import PassiveLoss, _one_pass, passive_loss
from phaseret.operators import FourierIntensity, FourierMagnitude, Operator

SHAPES = [
    ((9,), (5,)),
    ((10,), (5,)),
    ((9, 11), (5, 6)),
    ((10, 12), (4, 6)),
    ((7, 8, 6), (3, 4, 3)),
    ((6, 7, 9), (3, 4, 5)),
]
DOMAINS = ["magnitude", "intensity", "poisson", "autocorrelation"]


class AnyFourier(Operator):
    """A far-field operator that the loss does not know: it is computed step by step by plain autograd."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.object_ndim = self.data_ndim = len(shape)

    def linear(self, obj: Tensor) -> Tensor:
        return torch.fft.fftn(obj, s=self.shape, dim=tuple(range(-len(self.shape), 0)), norm="ortho")


def slow(estimate, intensity, domain, criterion, mask=None):  # type: ignore[no-untyped-def]
    """One item in NumPy, full complex plane."""
    axes = tuple(range(intensity.ndim))
    power = np.abs(np.fft.fftn(estimate, s=intensity.shape, axes=axes, norm="ortho")) ** 2
    inside = np.ones(intensity.shape, bool) if mask is None else mask
    if domain == "poisson":
        eps = np.finfo(np.float64).eps
        return (power - intensity * np.log(power + eps) + gammaln(intensity + 1))[inside].mean()
    distance = {
        "mse": lambda r: np.abs(r) ** 2,
        "l1": np.abs,
        "huber": lambda r: np.where(np.abs(r) < 1, np.abs(r) ** 2 / 2, np.abs(r) - 0.5),
    }[criterion]
    if domain == "magnitude":
        return distance(np.sqrt(power) - np.sqrt(intensity))[inside].mean()
    if domain == "intensity":
        return distance(power - intensity)[inside].mean()
    lags = np.fft.ifftn(np.where(inside, power - intensity, 0), axes=axes, norm="ortho")
    return distance(lags).sum() / inside.sum()


def cases() -> list[tuple]:
    return [
        (shape, n, *options)
        for (shape, n), *options in itertools.product(
            SHAPES, (False, True), DOMAINS, ("mse", "l1", "huber"), (False, True)
        )
        if not (options[1] == "poisson" and options[2] != "mse")
    ]


@pytest.mark.parametrize(("shape", "n", "is_complex", "domain", "criterion", "masked"), cases())
def test_value_is_the_mean_over_the_full_plane(shape, n, is_complex, domain, criterion, masked, device):
    estimate = torch.randn(3, *n, dtype=torch.complex128 if is_complex else torch.float64, device=device)
    intensity = 2 * torch.rand(3, *shape, dtype=torch.float64, device=device)
    mask = torch.rand(3, *shape, device=device) > 0.3 if masked else None
    operator = FourierIntensity(shape)
    values = passive_loss(
        estimate, intensity, operator, domain=domain, criterion=criterion, mask=mask, reduction="none"
    )
    expected = [
        slow(x.cpu().numpy(), y.cpu().numpy(), domain, criterion, m if m is None else m.cpu().numpy())
        for x, y, m in zip(estimate, intensity, mask if masked else [None] * 3, strict=True)
    ]
    np.testing.assert_allclose(values.cpu().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize(("shape", "n", "is_complex", "domain", "criterion", "masked"), cases())
def test_one_pass_gradient_equals_plain_autograd(shape, n, is_complex, domain, criterion, masked, device):
    estimate = torch.randn(3, *n, dtype=torch.complex128 if is_complex else torch.float64, device=device)
    estimate.requires_grad_()
    intensity = 2 * torch.rand(3, *shape, dtype=torch.float64, device=device)
    mask = torch.rand(shape, device=device) > 0.3 if masked else None
    weight = torch.tensor([1.0, 2.0, -3.0], dtype=torch.float64, device=device)
    # The measured intensity asks for a gradient: the loss is then composed of differentiable steps.
    gradients = []
    for data in (intensity, intensity.clone().requires_grad_()):
        options = {"domain": domain, "criterion": criterion, "mask": mask}
        values = passive_loss(estimate, data, FourierIntensity(shape), **options, reduction="none")
        gradients.append(torch.autograd.grad((values * weight).sum(), estimate)[0])
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("shape", [(9,), (10,), (7, 9), (8, 10), (5, 6, 8)])
@pytest.mark.parametrize(
    ("dtype", "onesided"), [(torch.float64, False), (torch.float64, True), (torch.complex128, False)]
)
@pytest.mark.parametrize("pixels", [1, 30, 2**20])
def test_the_parts_in_which_a_large_plane_is_worked_on_do_not_show(
    shape: tuple[int, ...], dtype: torch.dtype, onesided: bool, pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_memory, "pixels_at_a_time", lambda device, **_: pixels)
    operator = FourierIntensity(shape, onesided=onesided)
    n = [m // 2 for m in shape]
    estimate = torch.randn(3, *n, dtype=dtype, requires_grad=True)
    intensity = 2 * torch.rand(3, *operator.data_shape, dtype=torch.float64)
    weight = torch.tensor([1.0, 2.0, -3.0], dtype=torch.float64)
    for domain, mask in itertools.product(DOMAINS[:3], (None, torch.rand(operator.data_shape) > 0.3)):
        values, gradients = [], []
        # The measured intensity asks for a gradient: the loss is then composed of differentiable steps.
        for data in (intensity, intensity.clone().requires_grad_()):
            values.append(passive_loss(estimate, data, operator, domain=domain, mask=mask, reduction="none"))
            gradients.append(torch.autograd.grad((values[-1] * weight).sum(), estimate)[0])
        torch.testing.assert_close(*values)
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("shape", "n"), SHAPES)
@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("masked", [False, True])
def test_onesided_and_centered_data_give_the_value_of_the_full_plane(shape, n, domain, masked):
    obj, estimate = torch.rand(2, *n, dtype=torch.float64), torch.randn(2, *n, dtype=torch.float64, requires_grad=True)
    full = FourierIntensity(shape)
    mask = full(torch.rand(n, dtype=torch.float64)) > 0.3 if masked else None  # centro-symmetric
    expected = passive_loss(estimate, full(obj), full, domain=domain, mask=mask)
    expected_gradient = torch.autograd.grad(expected, estimate)[0]
    for centered, onesided in itertools.product((False, True), repeat=2):
        op = FourierIntensity(shape, centered=centered, onesided=onesided)
        arranged = mask
        if masked:
            half = mask[..., : shape[-1] // 2 + 1] if onesided else mask
            axes = tuple(range(-len(shape), -1 if onesided else 0))
            arranged = torch.fft.fftshift(half, dim=axes) if centered and axes else half
        value = passive_loss(estimate, op(obj), op, domain=domain, mask=arranged)
        torch.testing.assert_close(value, expected, equal_nan=True)  # nan for an item without a measured pixel
        torch.testing.assert_close(torch.autograd.grad(value, estimate)[0], expected_gradient, equal_nan=True)


@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
@pytest.mark.parametrize("domain", ["magnitude", "intensity"])
def test_norm_of_the_operator_scales_the_value(norm, domain):
    estimate, obj = torch.rand(4, 5, dtype=torch.float64), torch.rand(4, 5, dtype=torch.float64)
    op = FourierIntensity((9, 10), norm=norm)
    scale = {"ortho": 1, "backward": 90, "forward": 1 / 90}[norm] ** (1 if domain == "magnitude" else 2)
    expected = passive_loss(estimate, FourierIntensity((9, 10))(obj), domain=domain) * scale
    torch.testing.assert_close(passive_loss(estimate, op(obj), op, domain=domain), expected)


@pytest.mark.parametrize("domain", DOMAINS)
def test_an_operator_unknown_to_the_loss_gives_the_same(domain):
    if domain == "autocorrelation":
        pytest.skip("defined for the library's Fourier operators only")
    estimate = torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True)
    intensity = torch.rand(2, 8, 9, dtype=torch.float64)
    values = [passive_loss(estimate, intensity, op, domain=domain) for op in (AnyFourier((8, 9)), None)]
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*(torch.autograd.grad(value, estimate)[0] for value in values))


def test_poisson_value_is_minus_the_log_likelihood():
    from scipy.stats import poisson

    obj = 5 * torch.rand(4, 4, dtype=torch.float64) + 1
    expected = pr.operators.fourier_intensity(obj, (8, 8))
    counts = torch.poisson(expected)
    assert (counts == 0).any()
    value = passive_loss(obj, counts, domain="poisson")
    np.testing.assert_allclose(value, -poisson.logpmf(counts.numpy(), expected.numpy()).mean(), rtol=1e-9)


@pytest.mark.parametrize("count", [1.0, 2.0, 10.0, 63.0, 64.0, 65.0, 80.0, 1e3])
def test_poisson_value_of_a_perfect_estimate_is_that_of_the_counts_alone(count):
    obj = torch.zeros(4, 4, dtype=torch.float64)
    obj[0, 0] = (64 * count) ** 0.5  # its power is the same at each pixel
    value = passive_loss(obj, torch.full((8, 8), count, dtype=torch.float64), domain="poisson")
    expected = gammaln(count + 1) - count * math.log(count) + count
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-14 + 1e-15 * count * math.log(count))


@pytest.mark.parametrize("counts", [3.0, 1e3, 1e6, 4e7])
def test_poisson_value_keeps_its_digits_at_bright_pixels(counts):
    obj = counts**0.5 * (1 + torch.rand(4, 4, dtype=torch.float64))
    data = torch.poisson(pr.operators.fourier_intensity(obj, (8, 8)))
    expected = passive_loss(obj, data, domain="poisson")
    value = passive_loss(obj.float(), data.float(), domain="poisson")
    torch.testing.assert_close(value.double(), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1e4])
def test_poisson_gradient_does_not_depend_on_the_unit(scale):
    estimate, intensity = torch.rand(4, 4).requires_grad_(), torch.rand(8, 8)
    (expected,) = torch.autograd.grad(passive_loss(estimate, intensity, domain="poisson"), estimate)
    small = (scale * estimate.detach()).requires_grad_()
    (gradient,) = torch.autograd.grad(passive_loss(small, scale**2 * intensity, domain="poisson"), small)
    torch.testing.assert_close(gradient / scale, expected, rtol=1e-3, atol=1e-5)


def test_an_item_without_a_measured_pixel_has_no_value():
    mask = torch.tensor([True, False])[:, None, None].expand(2, 8, 8)
    for criterion in ("mse", torch.nn.MSELoss(reduction="none")):
        values = passive_loss(
            torch.rand(2, 4, 4), torch.rand(2, 8, 8), mask=mask, criterion=criterion, reduction="none"
        )
        assert values.isnan().tolist() == [False, True]


@pytest.mark.parametrize("criterion", ["mse", torch.nn.MSELoss(reduction="none")])
def test_mixed_precision_of_the_arguments_is_promoted(criterion):
    for estimate, intensity in [
        (torch.rand(4, 4), torch.rand(8, 8, dtype=torch.float64)),
        (torch.rand(4, 4, dtype=torch.float64), torch.rand(8, 8)),
    ]:
        assert passive_loss(estimate, intensity, criterion=criterion).dtype == torch.float64


def test_the_chunk_of_an_operator_is_respected():
    obj = torch.rand(5, 4, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(3, 4, 4) > 0.2
    masks = pr.operators.coded_masks((4, 4), 3, generator=torch.Generator().manual_seed(0))
    whole, pieces = (pr.operators.CodedDiffraction(masks, chunk=chunk) for chunk in (None, 2))
    seen = []
    linear = pieces.linear
    pieces.linear = lambda x: seen.append(len(x)) or linear(x)
    data = whole(torch.rand(5, 4, 4)).double()
    values = [passive_loss(obj, data, op, mask=mask) for op in (whole, pieces)]
    assert seen == [2, 2, 1]
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*(torch.autograd.grad(value, obj)[0] for value in values))


def test_autocorrelation_mse_equals_intensity_mse():
    estimate, intensity = torch.rand(2, 4, 5, dtype=torch.float64), torch.rand(2, 8, 9, dtype=torch.float64)
    torch.testing.assert_close(
        passive_loss(estimate, intensity, domain="autocorrelation"),
        passive_loss(estimate, intensity, domain="intensity"),
    )


def test_callable_criterion_equals_its_word():
    estimate = torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True)
    intensity = torch.rand(2, 8, 9, dtype=torch.float64)
    for word, function in {"l1": torch.nn.L1Loss, "huber": torch.nn.HuberLoss, "mse": torch.nn.MSELoss}.items():
        values = [passive_loss(estimate, intensity, criterion=c) for c in (word, function(reduction="none"))]
        torch.testing.assert_close(*values)
        torch.testing.assert_close(*(torch.autograd.grad(value, estimate)[0] for value in values))


@given(testing.objects(batch=None, margin=3), st.data(), st.sampled_from(["magnitude", "intensity", "autocorrelation"]))
def test_loss_is_zero_on_every_symmetric_copy(obj, data, domain):
    intensity = pr.operators.fourier_intensity(obj, data.draw(testing.fourier_shapes(obj.shape[-2:])))
    copy_ = data.draw(testing.symmetries(obj, group="shift,flip,phase,sign"))(obj)
    value = passive_loss(copy_, intensity, domain=domain)
    assert value < 1e-20 * intensity.square().mean().clamp_min(1)


@given(
    scale=st.sampled_from([1e-6, 1e-3, 1.0, 1e3, 1e6]),
    domain=st.sampled_from(["magnitude", "intensity", "autocorrelation"]),
    criterion=st.sampled_from(["mse", "l1", "huber"]),
)
def test_normalized_value_does_not_depend_on_the_scale_of_the_data(scale, domain, criterion):
    generator = torch.Generator().manual_seed(1)
    estimate = torch.rand(3, 4, 5, dtype=torch.float64, generator=generator)
    intensity = torch.rand(3, 8, 9, dtype=torch.float64, generator=generator)
    mask = torch.rand(3, 8, 9, generator=generator) > 0.2
    options = {"domain": domain, "criterion": criterion, "mask": mask, "normalize": True, "reduction": "none"}
    expected = passive_loss(estimate, intensity, **options)
    torch.testing.assert_close(passive_loss(scale * estimate, scale**2 * intensity, **options), expected)


def test_normalized_magnitude_value_is_the_squared_relative_error():
    estimate, intensity = torch.rand(4, 5, dtype=torch.float64), torch.rand(8, 9, dtype=torch.float64)
    magnitude = pr.operators.fourier_magnitude(estimate, (8, 9))
    expected = (magnitude - intensity.sqrt()).square().sum() / intensity.sum()
    torch.testing.assert_close(passive_loss(estimate, intensity, normalize=True), expected)


@pytest.mark.parametrize("batch", [(), (1,), (70,), (2, 3)])
@pytest.mark.parametrize("is_complex", [False, True])
def test_batch_equals_its_items(batch, is_complex, device):
    estimate = torch.randn(*batch, 28, 28, dtype=torch.complex64 if is_complex else torch.float32, device=device)
    intensity = torch.rand(*batch, 64, 64, device=device)
    values = passive_loss(estimate, intensity, reduction="none")
    assert values.shape == batch
    one_by_one = [
        passive_loss(x, y) for x, y in zip(estimate.reshape(-1, 28, 28), intensity.reshape(-1, 64, 64), strict=True)
    ]
    torch.testing.assert_close(values.reshape(-1), torch.stack(one_by_one))
    torch.testing.assert_close(passive_loss(estimate, intensity), values.mean())
    torch.testing.assert_close(passive_loss(estimate, intensity, reduction="sum"), values.sum())


def test_unmeasured_pixels_may_hold_anything():
    estimate = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    intensity = torch.rand(8, 9, dtype=torch.float64)
    mask = torch.rand(8, 9) > 0.3
    spoilt = intensity.masked_fill(~mask, float("nan"))
    for domain in DOMAINS:
        values = [passive_loss(estimate, data, domain=domain, mask=mask) for data in (intensity, spoilt)]
        torch.testing.assert_close(*values)
        torch.testing.assert_close(*(torch.autograd.grad(value, estimate)[0] for value in values))


def test_negative_data_count_as_zero_magnitude():
    estimate, intensity = torch.rand(4, 5), torch.rand(8, 9) - 0.3
    torch.testing.assert_close(passive_loss(estimate, intensity), passive_loss(estimate, intensity.clamp_min(0)))


# Gradients


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck_and_gradgradcheck(dtype, domain, masked):
    estimate = torch.randn(2, 3, 4, dtype=dtype, requires_grad=True)
    intensity = torch.rand(2, 6, 8, dtype=torch.float64)
    mask = torch.rand(2, 6, 8) > 0.3 if masked else None

    def loss(x):
        return passive_loss(x, intensity, domain=domain, mask=mask, reduction="none")

    assert gradcheck(loss, estimate, check_forward_ad=True, check_batched_grad=True, fast_mode=True)
    assert gradgradcheck(loss, estimate, check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("domain", DOMAINS)
def test_nested_forward_derivatives(domain):
    estimate, intensity = torch.rand(3, 3, dtype=torch.float64), torch.rand(6, 6, dtype=torch.float64)

    def loss(x):
        return passive_loss(x, intensity, domain=domain)

    expected = torch.func.hessian(loss)(estimate)
    torch.testing.assert_close(torch.func.jacfwd(torch.func.jacfwd(loss))(estimate), expected)
    torch.testing.assert_close(torch.func.jacrev(torch.func.jacfwd(loss))(estimate), expected)


@pytest.mark.parametrize(
    "options", [{}, {"mask": True}, {"normalize": True}, {"centered": True}, {"mask": True, "normalize": True}]
)
def test_nothing_but_the_gradient_is_kept(options):
    estimate = torch.rand(2, 8, 8, requires_grad=True)
    intensity, mask = torch.rand(2, 16, 16), torch.rand(16, 16) > 0.3
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        passive_loss(
            estimate,
            intensity,
            FourierIntensity((16, 16), centered=options.get("centered", False)),
            mask=mask if "mask" in options else None,
            normalize=options.get("normalize", False),
        )
    given = {x.untyped_storage().data_ptr() for x in (estimate, intensity, mask)}
    new = [x for x in kept if x.untyped_storage().data_ptr() not in given]
    assert [tuple(x.shape) for x in new] == [(2, 8, 8)]


def test_gradient_by_the_data():
    estimate = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    intensity = torch.rand(2, 6, 8, dtype=torch.float64, requires_grad=True)
    for domain in ("magnitude", "intensity", "autocorrelation"):
        assert gradcheck(
            lambda x, y, d=domain: passive_loss(x, y, domain=d, reduction="none"), (estimate, intensity), fast_mode=True
        )


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("criterion", ["mse", "l1", "huber"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.float64])
@pytest.mark.parametrize("level", [0.0, 1e-23, 1e-40])
def test_gradient_is_finite_where_the_spectrum_vanishes(domain, criterion, dtype, level, device):
    if domain == "poisson" and criterion != "mse":
        pytest.skip("poisson has its own criterion")
    # A constant object has exact zeros in its spectrum, a zero object nothing else.
    for estimate in (torch.zeros(2, 4, 4, dtype=dtype), torch.ones(2, 4, 4, dtype=dtype)):
        estimate = (estimate * (level if level else 1)).to(device).requires_grad_()
        for data in (torch.zeros(2, 8, 8), torch.rand(2, 8, 8)):
            intensity = data.to(device, estimate.real.dtype)
            value = passive_loss(estimate, intensity, domain=domain, criterion=criterion)
            (gradient,) = torch.autograd.grad(value, estimate, create_graph=True)
            assert torch.isfinite(value)
            assert torch.isfinite(gradient).all()
            assert torch.isfinite(torch.autograd.grad((gradient * gradient.conj()).real.sum(), estimate)[0]).all()


def test_gradient_is_zero_at_zero():
    estimate = torch.zeros(4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(passive_loss(estimate, torch.rand(8, 8)), estimate)
    assert not gradient.any()


@pytest.mark.parametrize("level", [1e-30, 1e-15, 1.0, 1e15, 1e30])
def test_values_of_any_size_are_right_in_double_precision(level):
    obj, estimate = torch.rand(4, 5, dtype=torch.float64), torch.rand(4, 5, dtype=torch.float64)
    expected = passive_loss(estimate, pr.operators.fourier_intensity(obj, (8, 9)))
    scaled = (level * estimate).requires_grad_()
    value = passive_loss(scaled, pr.operators.fourier_intensity(level * obj, (8, 9)))
    torch.testing.assert_close(value / level**2, expected)
    assert torch.isfinite(torch.autograd.grad(value, scaled)[0]).all()


@pytest.mark.parametrize("level", [1e-15, 1e-6, 1e6, 1e15])
def test_values_of_any_size_are_right_in_single_precision(level):
    obj, estimate = torch.rand(4, 5), torch.rand(4, 5)
    expected = passive_loss(estimate, pr.operators.fourier_intensity(obj, (8, 9)))
    value = passive_loss(level * estimate, pr.operators.fourier_intensity(level * obj, (8, 9)))
    torch.testing.assert_close(value / level**2, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single_precision(dtype):
    estimate = torch.rand(2, 4, 5).to(dtype).requires_grad_()
    intensity = torch.rand(2, 8, 9).to(dtype)
    value = passive_loss(estimate, intensity)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, passive_loss(estimate.float(), intensity.float()))
    assert torch.autograd.grad(value, estimate)[0].dtype == dtype


def test_autocast_does_not_touch_the_transform(device):
    estimate = torch.rand(2, 28, 28, device=device, requires_grad=True)
    intensity = torch.rand(2, 64, 64, device=device)
    expected = passive_loss(estimate, intensity)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        value = passive_loss(estimate, intensity)
    torch.testing.assert_close(value, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_torch_func_transforms(dtype):
    estimate, intensity = torch.randn(3, 4, 5, dtype=dtype), torch.rand(3, 8, 9, dtype=torch.float64)
    mask = torch.rand(8, 9) > 0.2

    def loss(x, y):
        return passive_loss(x, y, mask=mask)

    leaf = estimate.clone().requires_grad_()
    (expected,) = torch.autograd.grad(passive_loss(leaf, intensity, mask=mask, reduction="sum"), leaf)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(estimate, intensity), expected)
    torch.testing.assert_close(torch.func.grad(loss)(estimate, intensity), expected / 3)
    torch.testing.assert_close(
        torch.func.vmap(loss)(estimate, intensity), passive_loss(estimate, intensity, mask=mask, reduction="none")
    )
    masks = torch.rand(3, 8, 9) > 0.2
    torch.testing.assert_close(
        torch.func.vmap(lambda x, y, m: passive_loss(x, y, mask=m))(estimate, intensity, masks),
        passive_loss(estimate, intensity, mask=masks, reduction="none"),
    )
    for axis in (0, 1):
        values = torch.func.vmap(loss, in_dims=axis)(leaf.movedim(0, axis), intensity.movedim(0, axis))
        torch.testing.assert_close(torch.autograd.grad(values.sum(), leaf)[0], expected)
    pairs = torch.func.vmap(torch.func.vmap(loss, in_dims=(0, None)), in_dims=(None, 0))(leaf, intensity)
    torch.testing.assert_close(torch.autograd.grad(pairs.diagonal().sum(), leaf)[0], expected)
    direction = torch.randn_like(estimate)
    _, tangent = torch.func.jvp(lambda x: passive_loss(x, intensity, mask=mask), (estimate,), (direction,))
    torch.testing.assert_close(tangent, (expected.conj() * direction).real.sum() / 3)
    if dtype == torch.float64:
        one = estimate[0, :2, :2], intensity[0, :3, :4]
        over = [
            twice(lambda x: passive_loss(x, one[1]))(one[0])
            for twice in (torch.func.hessian, lambda f: torch.func.jacrev(torch.func.jacrev(f)))
        ]
        torch.testing.assert_close(*over)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_torch_compile(device):
    estimate = torch.rand(2, 8, 8, device=device, requires_grad=True)
    intensity = torch.rand(2, 16, 16, device=device)
    loss = PassiveLoss()
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    value = compiled(2 * estimate, intensity)  # what a network gives has a history
    torch.testing.assert_close(value, loss(2 * estimate, intensity))
    value = compiled(estimate, intensity)
    torch.testing.assert_close(
        torch.autograd.grad(value, estimate)[0], torch.autograd.grad(loss(estimate, intensity), estimate)[0]
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_cuda_graph_capture():
    estimate = torch.rand(4, 28, 28, device="cuda", requires_grad=True)
    intensity = torch.rand(4, 64, 64, device="cuda")
    loss = PassiveLoss()
    expected = torch.autograd.grad(loss(estimate, intensity), estimate)[0]
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            torch.autograd.grad(loss(estimate, intensity), estimate)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = torch.autograd.grad(loss(estimate, intensity), estimate)[0]
    graph.replay()
    torch.testing.assert_close(captured, expected)


# Errors


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([[1.0]], torch.ones(8, 8)), {}, TypeError, "estimate must be a torch.Tensor, got list. Use torch.as_tensor."),
        ((torch.ones(4, 4), 1.0), {}, TypeError, "intensity must be a torch.Tensor, got float"),
        ((torch.ones(4, 4).int(), torch.ones(8, 8)), {}, TypeError, "estimate must be real or complex floating"),
        (
            (torch.ones(4, 4), torch.ones(8, 8) + 0j),
            {},
            TypeError,
            "intensity must be real floating, got torch.complex64",
        ),
        (
            (torch.ones(4, 4), torch.ones(6, 8)),
            {},
            ValueError,
            r"at least \(7, 7\) = 2n-1 for an object of shape \(4, 4\)",
        ),
        ((torch.ones(4), torch.ones(8, 8)), {}, ValueError, "estimate must have at least 2 axes"),
        ((torch.ones(4, 4), torch.ones(8)), {}, ValueError, "intensity must have at least 2 axes"),
        ((torch.ones(2, 4, 4), torch.ones(3, 8, 8)), {}, ValueError, r"equal batch shapes, got \(2,\) .* and \(3,\)"),
        ((torch.ones(2, 4, 4), torch.ones(8, 8)), {}, ValueError, "equal batch shapes"),
        ((torch.ones(0, 4, 4), torch.ones(0, 8, 8)), {}, ValueError, "estimate must hold at least one element"),
        (
            (torch.ones(4, 4).to_sparse(), torch.ones(8, 8)),
            {},
            TypeError,
            "estimate must be a dense tensor, got one of",
        ),
        (
            (torch.nested.nested_tensor([torch.ones(4, 4)], layout=torch.jagged), torch.ones(1, 8, 8)),
            {},
            TypeError,
            r"estimate must be a dense tensor, got a nested one. Use torch.nested.to_padded_tensor\(estimate, 0\)",
        ),
        (
            (torch.ones(4, 4), torch.ones(8, 8)),
            {"domain": "amplitude"},
            ValueError,
            "domain must be one of 'magnitude'",
        ),
        ((torch.ones(4, 4), torch.ones(8, 8)), {"criterion": "l2"}, ValueError, "criterion must be one of 'mse', 'l1'"),
        (
            (torch.ones(4, 4), torch.ones(8, 8)),
            {"criterion": torch.nn.MSELoss()},
            ValueError,
            r"one real value a pixel, shape \(1, 8, 8\), got \(\). A torch.nn loss does so with reduction='none'",
        ),
        (
            (torch.ones(4, 4), torch.ones(8, 8)),
            {"reduction": "max"},
            ValueError,
            "reduction must be one of 'mean', 'sum'",
        ),
        ((torch.ones(4, 4), torch.ones(8, 8)), {"mask": torch.ones(8, 8)}, TypeError, "mask must be a boolean tensor"),
        (
            (torch.ones(4, 4), torch.ones(8, 8)),
            {"mask": torch.ones(7, 8).bool()},
            ValueError,
            r"mask must broadcast to the intensity \(8, 8\), got \(7, 8\)",
        ),
        (
            (torch.ones(4, 4), torch.ones(8, 8)),
            {"domain": "poisson", "criterion": "l1"},
            ValueError,
            "criterion must not be given with domain='poisson'",
        ),
        (
            (torch.ones(4, 4), torch.ones(8, 8), FourierMagnitude((8, 8))),
            {},
            ValueError,
            "operator must measure intensities, got FourierMagnitude. Use FourierIntensity",
        ),
        (
            (torch.ones(4, 4), torch.ones(8, 8)),
            {"domain": "poisson", "normalize": True},
            ValueError,
            "normalize must be False with domain='poisson', got True",
        ),
        (
            (torch.ones(4, 4, device="meta"), torch.ones(8, 8)),
            {},
            ValueError,
            "all tensors must lie on one device, got estimate on meta, intensity on cpu",
        ),
        (
            (torch.ones(4, 4), torch.ones(8), FourierIntensity((8, 8))),
            {},
            ValueError,
            r"intensity must have at least 2 axes, got shape \(8,\)",
        ),
        ((torch.ones(4, 4), torch.ones(8, 8), "fourier"), {}, TypeError, "operator must be an Operator, got str"),
        (
            (torch.ones(4, 4), torch.ones(8, 8), FourierIntensity((9, 9))),
            {},
            ValueError,
            r"intensity must have the operator's data shape \(9, 9\), got \(8, 8\)",
        ),
        (
            (torch.ones(4, 4), torch.ones(8, 8), FourierIntensity((8, 8), onesided=True)),
            {},
            ValueError,
            r"operator's data shape \(8, 5\)",
        ),
        (
            (torch.ones(4, 4) + 0j, torch.ones(8, 5), FourierIntensity((8, 8), onesided=True)),
            {},
            TypeError,
            "onesided=True must have a real object",
        ),
        (
            (torch.ones(4, 4), torch.ones(8, 8), AnyFourier((8, 8))),
            {"domain": "autocorrelation"},
            ValueError,
            "operator must be far-field Fourier",
        ),
    ],
)
def test_error_names_the_argument_the_rule_and_the_fix(arguments, options, error, message):
    with pytest.raises(error, match=message):
        passive_loss(*arguments, **options)


def test_module_refuses_a_mask_without_a_measured_pixel():
    for mask in (torch.zeros(8, 8, dtype=torch.bool), torch.eye(2, dtype=torch.bool)[:, :1, None].expand(2, 8, 8)):
        with pytest.raises(ValueError, match="mask must leave each item a measured pixel"):
            PassiveLoss(mask=mask)
    with pytest.raises(TypeError, match="PassiveLoss: mask must be a boolean tensor"):
        PassiveLoss(mask=torch.ones(8, 8))


# Module


def test_module_equals_function_and_keeps_its_options():
    estimate, intensity, mask = torch.rand(2, 4, 4), torch.rand(2, 8, 8), torch.rand(8, 8) > 0.3
    op = FourierIntensity((8, 8))
    loss = PassiveLoss(op, domain="intensity", criterion="huber", mask=mask, normalize=True, reduction="none")
    expected = passive_loss(
        estimate, intensity, op, domain="intensity", criterion="huber", mask=mask, normalize=True, reduction="none"
    )
    for module in (loss, copy.deepcopy(loss)):
        torch.testing.assert_close(module(estimate, intensity), expected)
    for part in (
        "domain='intensity'",
        "criterion='huber'",
        "mask=tensor of shape (8, 8)",
        "normalize=True",
        "FourierIntensity",
    ):
        assert part in repr(loss)
    assert list(loss.state_dict()) == ["mask"]


@pytest.mark.parametrize("options", [{}, {"domain": "intensity"}, {"domain": "poisson"}, {"normalize": True}])
@pytest.mark.parametrize("own", [None, torch.rand(8, 8) > 0.3])
def test_a_mask_that_comes_with_the_batch_goes_together_with_the_modules_own(options, own):
    mask = torch.rand(3, 8, 8) > 0.2
    both = mask if own is None else mask & own
    intensity = (5 * torch.rand(3, 8, 8)).masked_fill(~both, math.nan)
    estimate = torch.rand(3, 4, 4, requires_grad=True)
    loss = PassiveLoss(mask=own, **options)
    results = [loss(estimate, intensity, mask=mask), passive_loss(estimate, intensity, mask=both, **options)]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*[torch.autograd.grad(value, estimate)[0] for value in results])
    with pytest.raises(ValueError, match=r"^PassiveLoss: mask must broadcast to the intensity \(3, 8, 8\), got \(2,"):
        loss(estimate, intensity, mask=mask[:2])


# What the data may be


@pytest.mark.parametrize("operator", [None, AnyFourier((8, 8)), FourierIntensity((8, 8), centered=True)])
@pytest.mark.parametrize("domain", DOMAINS[:3])
def test_an_item_without_a_measured_pixel_has_no_value_and_no_gradient(operator, domain):
    mask = torch.ones(3, 8, 8, dtype=torch.bool)
    mask[1] = False
    estimate, intensity = torch.rand(3, 4, 4, requires_grad=True), torch.rand(3, 8, 8)
    values = passive_loss(estimate, intensity, operator, domain=domain, mask=mask, reduction="none")
    (grad,) = torch.autograd.grad(values.nanmean(), estimate)
    kept = passive_loss(estimate[::2], intensity[::2], operator, domain=domain)
    (expected,) = torch.autograd.grad(kept, estimate)
    assert values.isnan().tolist() == [False, True, False]
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize("domain", ["magnitude", "intensity", "autocorrelation"])
def test_normalize_leaves_items_without_a_positive_mean_as_they_are(domain):
    estimate, intensity = torch.rand(3, 4, 4, requires_grad=True), torch.rand(3, 8, 8)
    intensity[1] -= 2 * intensity[1].mean()
    intensity[2] = 0
    values = passive_loss(estimate, intensity, domain=domain, normalize=True, reduction="none")
    plain = passive_loss(estimate, intensity, domain=domain, reduction="none")
    torch.testing.assert_close(values[1:], plain[1:])
    gradients = [torch.autograd.grad(value[1:].sum(), estimate)[0] for value in (values, plain)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("operator", [None, AnyFourier((8, 8))])
def test_a_negative_count_says_what_none_says(operator):
    estimate, counts = torch.rand(2, 4, 4, requires_grad=True), torch.randint(-2, 5, (2, 8, 8)).float()
    values = [passive_loss(estimate, y, operator, domain="poisson") for y in (counts, counts.clamp(min=0))]
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*[torch.autograd.grad(value, estimate)[0] for value in values])


@pytest.mark.parametrize("options", [{}, {"centered": True}, {"onesided": True}])
@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_an_estimate_laid_out_on_the_whole_grid_is_measured_where_it_lies(options, domain, dtype):
    if options.get("onesided"):
        dtype = torch.float64
    op = FourierIntensity((8, 9), **options)
    obj = torch.rand(2, 4, 5, dtype=dtype)
    intensity = op(torch.rand(2, 4, 5, dtype=dtype))
    whole = pr.operators.pad(obj, (8, 9)).roll((5, 3), (-2, -1)).requires_grad_()
    value = passive_loss(whole, intensity, op, domain=domain)
    torch.testing.assert_close(value, passive_loss(obj, intensity, op, domain=domain))
    assert gradcheck(lambda x: passive_loss(x, intensity, op, domain=domain), whole, fast_mode=True)


# --- pieces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dtype", "sizes"),
    [
        ((8, 10), torch.float32, [2, 2, 2, 1]),  # 48 pixels of a half plane
        ((8, 10), torch.complex64, [1] * 7),
        ((5, 9), torch.float32, [4, 3]),
        ((5, 9), torch.complex64, [2, 2, 2, 1]),
        ((4, 2, 3), torch.float32, [4, 3]),  # not six and one
        ((60,), torch.float32, [3, 3, 1]),
        ((999,), torch.float32, [1] * 7),
    ],
)
def test_a_batch_is_cut_into_equal_pieces_of_what_fits(
    shape: tuple[int, ...], dtype: torch.dtype, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_memory, "pixels_at_a_time", lambda device: 100)
    cuts = list(_one_pass._pieces(torch.empty(7, *[2] * len(shape), dtype=dtype), shape))
    assert [len(range(7)[cut]) for cut in cuts] == sizes
    assert torch.equal(torch.cat([torch.arange(7)[cut] for cut in cuts]), torch.arange(7))


@pytest.mark.parametrize(("pixels", "sizes"), [(100, [3] * 6 + [2]), (1000, [20]), (30, [1] * 20), (1, [1] * 20)])
def test_large_spectra_are_cut_into_columns_that_fit(
    pixels: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_memory, "pixels_at_a_time", lambda device: pixels)
    found = list(_one_pass._columns(torch.empty(1, 20, 30)))
    assert found == [(sum(sizes[:i]), size) for i, size in enumerate(sizes)]


def test_data_of_another_shape_than_the_operator_measures_are_named_by_theirs() -> None:
    rule = r"intensity must have the operator's data shape \(8, 8\), got \(7, 9\)\. Give the operator that measured"
    with pytest.raises(ValueError, match=f"^passive_loss: {rule}"):
        passive_loss(torch.rand(3, 4, 4), torch.rand(3, 7, 9), operator=FourierIntensity((8, 8)))


def test_data_of_another_shape_are_refused_where_only_the_estimate_tells_it() -> None:
    class Stretched(Operator):
        object_ndim = data_ndim = 2

        def linear(self, obj: Tensor) -> Tensor:
            return torch.cat([obj, obj], -1)

    with pytest.raises(ValueError, match=r"intensity must have the operator's data shape \(4, 10\), got \(4, 1\)"):
        passive_loss(torch.rand(4, 5), torch.rand(4, 1), Stretched())
