"""What is fitted to single measurements, and Cascade: DeepImagePrior, DoubleDIP, finetune, CorrelographyNet."""

from __future__ import annotations

import re
from functools import partial, reduce
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from torch import Tensor, nn

from phaseret.metrics import mse
from phaseret.models import (
    MLP,
    Cascade,
    CorrelographyNet,
    DeepImagePrior,
    DnCNN,
    DoubleDIP,
    PRCGANGenerator,
    UNet,
    finetune,
    latent_optimize,
    load,
    save,
)
from phaseret.noise import correlography_noise, poisson_noise
from phaseret.operators import FourierIntensity, Fresnel, fourier_intensity


def disks(count: int, n: int = 12) -> Tensor:
    """A disk and a smaller, brighter one inside it, on its right."""
    y, x = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    r = ((y - n / 2) ** 2 + (x - n / 2) ** 2).sqrt()
    row = n / 2 + 2 * torch.rand(count, 1, 1) - 1
    inner = ((y - row) ** 2 + (x - n / 2 - 2) ** 2).sqrt()
    return 0.5 * torch.sigmoid(n / 3 - r) + 0.5 * torch.sigmoid(3 * (1.5 - inner))


def misfit(estimate: Tensor, intensity: Tensor) -> Tensor:
    """By the formula: squared relative error of the magnitude."""
    magnitude = torch.fft.fft2(estimate, intensity.shape[-2:], norm="ortho").abs()
    return (magnitude - intensity.sqrt()).square().sum((-2, -1)) / intensity.sum((-2, -1))


def supervised(net: nn.Module, obj: Tensor, shape: tuple[int, int], steps: int, lr: float) -> nn.Module:
    optimizer = torch.optim.Adam(net.parameters(), lr)
    for _ in range(steps):
        loss = (net(fourier_intensity(obj, shape)) - obj).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


# --- values -----------------------------------------------------------------------------------------------------------


def test_cascade_has_the_stages_of_the_source() -> None:
    net = Cascade((28, 28), (28, 28), width=8)
    assert net.sizes == [(7, 7), (14, 14), (21, 21), (28, 28), (28, 28)]
    assert [layers[0].in_features for layers in net.stages] == [784, *[2 * 784] * 4]
    kinds = [type(layer).__name__ for layer in net.stages[0]]
    hidden = ["Linear", "BatchNorm1d", "ReLU"]
    assert kinds == ["Linear", "ReLU", "Dropout", *hidden, *hidden, "Dropout", *hidden, "Linear"]
    assert "Dropout" not in [type(layer).__name__ for layer in Cascade((4, 4), (4, 4), width=8, dropout=0).modules()]


def test_cascade_stages_see_the_magnitude_of_the_stage_before() -> None:
    net, intensity, seen = Cascade((4, 4), (8, 8), width=6, feedback="magnitude").eval(), torch.rand(2, 8, 8), []
    net.stages[-1].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    before = net.estimates(intensity)[-2]
    expected = torch.cat(
        [intensity.sqrt().flatten(1), torch.fft.fft2(before, (8, 8), norm="ortho").abs().flatten(1)], 1
    )
    torch.testing.assert_close(seen[0], expected)


def test_cascade_targets_are_the_object_at_each_size() -> None:
    obj = torch.rand(2, 3, 8, 8)
    targets = Cascade((8, 8), (8, 8), width=4).targets(obj)
    torch.testing.assert_close(targets[1], obj[..., ::2, ::2])
    torch.testing.assert_close(targets[-1], obj)
    assert [x.shape for x in Cascade((5,), (9,), width=4).targets(obj[0, 0, :5, 0])] == [(2,), (3,), (4,), (5,), (5,)]


def test_deep_image_prior_gives_an_object_of_its_kind() -> None:
    for output, kind in [("nonnegative", False), ("real", False), ("modulus_phase", True), ("real_imaginary", True)]:
        for shape in [(5,), (7, 4), (4, 5, 3)]:
            obj = DeepImagePrior(shape, output=output, channels=(4, 4))()
            assert obj.shape == shape
            assert obj.is_complex() == kind
    assert (DeepImagePrior((7, 4), channels=(4, 4))() >= 0).all()


@pytest.mark.parametrize(("shape", "spacing"), [((7,), 2.0), ((9, 5), 2.5), ((6, 1, 8), 8.0)])
def test_double_prior_is_a_bounded_modulus_and_a_phase_of_splines(shape: tuple[int, ...], spacing: float) -> None:
    net = DoubleDIP(shape, channels=(4, 4), phase_channels=(4,), spacing=spacing).double()
    obj, coefficients = net(), net.phase()[0, 0]
    torch.testing.assert_close(obj.abs(), net.scale.exp() * net.modulus()[0, 0].sigmoid())
    phase = torch.zeros(shape, dtype=torch.float64)
    for index in product(*map(range, coefficients.shape)):
        terms = [
            torch.from_numpy(BSpline.basis_element(spacing * (k - 3 + np.arange(5)), False)(np.arange(n) + 0.5))
            for k, n in zip(index, shape, strict=True)
        ]
        spline = reduce(lambda a, b: a[..., None] * b, [term.nan_to_num() for term in terms])
        phase += coefficients[index].detach() * spline
    torch.testing.assert_close(obj.detach(), torch.polar(obj.detach().abs(), phase), rtol=1e-5, atol=1e-6)


# --- properties -------------------------------------------------------------------------------------------------------


def test_cascade_learns_and_no_gradient_runs_between_its_stages() -> None:
    obj = disks(64)
    net = Cascade((12, 12), (12, 12), width=32, dropout=0.05)
    intensity, targets = fourier_intensity(obj, (23, 23))[..., :12, :12], net.targets(obj)
    optimizer, losses = torch.optim.Adam(net.parameters(), 3e-3), []
    for _ in range(40):
        parts = [mse(x, y, align=False).mean() for x, y in zip(net.estimates(intensity), targets, strict=True)]
        losses.append(parts[-1].item())
        optimizer.zero_grad()
        sum(parts).backward()
        optimizer.step()
    assert losses[-1] < 0.3 * losses[0]
    optimizer.zero_grad()
    net(intensity).sum().backward()
    assert all(parameter.grad is None for parameter in net.stages[:-1].parameters())


@pytest.mark.parametrize("parameters", ["decoder", "all", ["last"]])
def test_finetuning_improves_a_trained_network_on_each_measurement(parameters: object) -> None:
    torch.manual_seed(0)
    net = supervised(UNet((12, 12), (24, 24), channels=(8, 16)), disks(32), (24, 24), 40, 1e-2)
    intensity = fourier_intensity(disks(2), (24, 24))
    before = net(intensity).detach()
    after = finetune(net, intensity, n_iter=20, lr=3e-3, parameters=parameters)  # type: ignore[arg-type]
    assert (misfit(after, intensity) < (0.9 if parameters == ["last"] else 0.6) * misfit(before, intensity)).all()


def test_finetuning_leaves_the_network_as_it_is_and_treats_items_one_by_one() -> None:
    net, intensity = MLP((4, 4), (8, 8), width=8).train(), torch.rand(2, 3, 8, 8)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        whole = finetune(net, intensity, n_iter=3, lr=1e-2)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    torch.testing.assert_close(finetune(net, intensity[1, 2], n_iter=3, lr=1e-2), whole[1, 2])
    torch.testing.assert_close(finetune(net, intensity, n_iter=0), net.eval()(intensity))


class Around(nn.Module):
    """A user's Module around a network, whose call takes any option."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.inside = net

    def forward(self, *tensors: Tensor, **options: Tensor) -> Tensor:
        return self.inside(*tensors, **options)


class ModelEmaV2(nn.Module):
    """As in timm."""

    __module__ = "timm.utils.model_ema"

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.module = net


WRAPS = {
    "timm's": ModelEmaV2,
    "compile": partial(torch.compile, backend="eager"),
    "DataParallel": nn.DataParallel,
    "AveragedModel": torch.optim.swa_utils.AveragedModel,
    "compile of AveragedModel": lambda net: torch.compile(torch.optim.swa_utils.AveragedModel(net), backend="eager"),
    "a user's": Around,
}


@pytest.mark.parametrize("wrap", list(WRAPS))
def test_a_network_that_is_wrapped_is_told_the_mask_as_well(wrap: str) -> None:
    net = UNet((4, 4), (8, 8), channels=(4, 4), output="real", mask_channel=True)
    intensity, mask = torch.rand(2, 8, 8), torch.rand(2, 8, 8) > 0.3
    told = net.eval()(intensity, mask=mask)
    assert not torch.allclose(told, net(intensity.where(mask, 0)))
    wrapped = WRAPS[wrap](net)
    torch.testing.assert_close(finetune(wrapped, intensity, n_iter=0, mask=mask, parameters="all"), told)
    if wrap != "a user's":
        expected = finetune(net, intensity, n_iter=2, lr=1e-2, mask=mask)
        torch.testing.assert_close(finetune(wrapped, intensity, n_iter=2, lr=1e-2, mask=mask), expected)
        for naming in (net, wrapped):
            names = [name for name, _ in naming.named_parameters() if "up" in name or "last" in name]
            found = finetune(wrapped, intensity, n_iter=2, lr=1e-2, mask=mask, parameters=names)
            expected = finetune(net, intensity, n_iter=2, lr=1e-2, mask=mask, parameters=["up", "last"])
            torch.testing.assert_close(found, expected)


def test_finetuning_through_an_operator_and_a_mask() -> None:
    net, intensity = MLP((4, 4), (8, 8), width=8).double(), torch.rand(2, 8, 8).double()
    expected = finetune(net, intensity, n_iter=3, lr=1e-2)
    mask = torch.ones(2, 8, 8, dtype=torch.bool)
    torch.testing.assert_close(finetune(net, intensity, n_iter=3, lr=1e-2, operator=FourierIntensity((8, 8))), expected)
    torch.testing.assert_close(finetune(net, intensity, n_iter=3, lr=1e-2, mask=mask), expected)
    mask[0, 0, 0] = False
    masked = finetune(net, intensity, n_iter=3, lr=1e-2, mask=mask)
    torch.testing.assert_close(masked[1], expected[1])
    assert not torch.equal(masked[0], expected[0])


def test_deep_image_prior_explains_one_measurement() -> None:
    obj = disks(1)[0]
    intensity = 25 * fourier_intensity(obj, (24, 24))
    prior = DeepImagePrior((12, 12), channels=(16, 16))
    assert misfit(prior.fit(intensity, n_iter=80), intensity) < 0.05


def test_double_prior_explains_a_complex_object() -> None:
    obj = (0.2 + disks(1)[0]) * torch.exp(2j * disks(1)[0].T)
    intensity = fourier_intensity(obj, (24, 24))
    prior = DoubleDIP((12, 12), channels=(16, 16), spacing=3)
    found = prior.fit(intensity, n_iter=80, lr=0.03)
    assert found.is_complex()
    assert misfit(found, intensity) < 0.05


def test_learning_rate_of_a_fit_falls_along_a_cosine() -> None:
    """By plain Adam with PyTorch's schedule."""
    net = DeepImagePrior((5, 6), output="real", channels=(4,)).double()
    intensity = fourier_intensity(torch.rand(5, 6).double(), (9, 11))
    found = net.fit(intensity, n_iter=6, lr=0.1)
    scale = (intensity.sum() / 30).sqrt()
    optimizer = torch.optim.Adam(net.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)
    estimates = [net()]
    for _ in range(6):
        loss = misfit(scale * estimates[-1], intensity)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        estimates.append(net())
    best = min(estimates, key=lambda x: misfit(scale * x, intensity).item())
    torch.testing.assert_close(found, (scale * best).detach())


def test_fit_of_a_batch_equals_its_items_and_leaves_the_prior_as_it_is() -> None:
    prior = DeepImagePrior((5, 6), output="real", channels=(4, 4)).double()
    before, intensity = prior().detach(), fourier_intensity(torch.rand(2, 2, 5, 6).double(), (9, 11))
    mask = torch.rand(9, 11) > 0.2
    whole = prior.fit(intensity, n_iter=4, mask=mask)
    torch.testing.assert_close(prior.fit(intensity[1, 0], n_iter=4, mask=mask), whole[1, 0])
    torch.testing.assert_close(prior.fit(100 * intensity, n_iter=4, mask=mask), 10 * whole)
    assert torch.equal(prior(), before)


def test_fit_through_an_operator() -> None:
    operator = Fresnel((6, 6), fresnel_number=0.2)
    intensity = operator(torch.exp(1j * disks(1, 6)))
    estimate = DoubleDIP((6, 6), channels=(4, 4)).fit(intensity, n_iter=20, operator=operator)
    assert estimate.shape == (1, 6, 6)
    assert (operator(estimate) - intensity).square().mean() < (operator(torch.ones(6, 6)) - intensity).square().mean()


@pytest.mark.parametrize("shape", [(4,), (3, 3), (2, 2, 3)])
def test_finetune_takes_the_axes_of_an_item_from_the_network(shape: tuple[int, ...]) -> None:
    data = tuple(2 * n for n in shape)
    net, intensity = MLP(shape, data, width=8).double().eval(), torch.rand(3, *data).double()
    found = finetune(net, intensity, n_iter=3, lr=1e-2)
    torch.testing.assert_close(found, finetune(net, intensity, n_iter=3, lr=1e-2, ndim=len(shape)))
    torch.testing.assert_close(found[1], finetune(net, intensity[1], n_iter=3, lr=1e-2))


def test_what_is_fitted_to_data_has_no_gradient() -> None:
    data = torch.rand(2, 8, 8, requires_grad=True)
    net = PRCGANGenerator((4, 4), (8, 8), width=8)
    fits = [finetune(net, data, n_iter=2), latent_optimize(net, data, n_iter=2)]
    fits += [prior.fit(data, n_iter=2) for prior in (DeepImagePrior((4, 4), channels=(2,)), DoubleDIP((4, 4)))]
    assert not any(found.requires_grad for found in fits)
    assert data.grad is None


def test_unknown_data_give_unknown_estimates() -> None:
    net, intensity = MLP((3, 3), (6, 6), width=8).eval(), torch.rand(2, 6, 6)
    intensity[0, 0, 0] = torch.nan
    for found in (net(intensity), finetune(net, intensity, n_iter=2)):
        assert found[0].isnan().all()
        assert found[1].isfinite().all()
    assert DeepImagePrior((3, 3), channels=(4,)).fit(intensity, n_iter=2)[0].isnan().all()
    known = ~intensity.isnan()
    assert DeepImagePrior((3, 3), channels=(4,)).fit(intensity, n_iter=2, mask=known).isfinite().all()


@pytest.mark.parametrize("output", ["nonnegative", "modulus_phase", "real_imaginary", "double"])
def test_priors_keep_their_precision_under_autocast(output: str) -> None:
    prior = DoubleDIP((5, 6)) if output == "double" else DeepImagePrior((5, 6), output=output)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = prior()
    assert mixed.dtype == prior().dtype
    torch.testing.assert_close(mixed, prior(), rtol=0.2, atol=0.2)
    intensity = fourier_intensity(torch.rand(5, 6), (9, 11))
    with torch.autocast("cpu", torch.bfloat16):
        fitted = prior.fit(intensity, n_iter=3)
    torch.testing.assert_close(fitted, prior.fit(intensity, n_iter=3))


def test_priors_start_from_their_seed() -> None:
    state = [DeepImagePrior((5, 6), channels=(4, 4), seed=seed).layers.seen for seed in (0, 0, 1)]
    assert torch.equal(state[0], state[1])
    assert not torch.equal(state[0], state[2])


def test_correlography_network_learns_from_synthetic_noise_alone() -> None:
    torch.manual_seed(0)
    net = CorrelographyNet((12, 12), (24, 24), channels=(8, 16))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(40):
        obj = disks(16)
        loss = mse(net(poisson_noise(fourier_intensity(obj, (24, 24)), photons_per_pixel=2)), obj, align=False).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    obj = disks(16)
    intensity = fourier_intensity(obj, (24, 24))
    for noisy in (poisson_noise(intensity, photons_per_pixel=2), correlography_noise(intensity, frames=50)):
        assert mse(net.eval()(noisy), obj, align=False).mean() < 0.2 * obj.square().mean()


@pytest.mark.parametrize(
    "prior",
    [
        DeepImagePrior((5, 6), channels=(4, 4)),
        DoubleDIP((5, 6), channels=(4, 4)),
        DoubleDIP((5, 6), channels=(4,), phase_channels=(4, 2), spacing=1.5, seed=3),
    ],
)
def test_priors_compile_and_go_to_files(prior: DeepImagePrior, tmp_path: Path) -> None:
    torch.compiler.reset()
    expected = prior()
    torch.testing.assert_close(torch.compile(prior, backend="eager", fullgraph=True)(), expected)
    torch.testing.assert_close(prior.to(memory_format=torch.channels_last)(), expected, rtol=1e-4, atol=1e-4)
    card = {"data": "", "command": "", "metrics": {}, "licence": ""}
    save(prior, tmp_path / "prior", card=card)
    torch.testing.assert_close(load(tmp_path / "prior")(), expected, rtol=1e-4, atol=1e-4)


def test_finetune_never_reads_unmeasured_pixels() -> None:
    intensity, mask = torch.rand(2, 8, 8).double(), torch.rand(2, 8, 8) > 0.2
    broken = intensity.masked_fill(~mask, torch.nan)
    net = UNet((4, 4), (8, 8), channels=(4, 8)).double().eval()
    plain = nn.Sequential(nn.Flatten(0), nn.Linear(64, 16), nn.Unflatten(0, (4, 4))).double()
    for model, parameters in ((net, "decoder"), (plain, "all")):
        expected = finetune(model, intensity, n_iter=3, mask=mask, parameters=parameters)
        assert expected.isfinite().all()
        torch.testing.assert_close(finetune(model, broken, n_iter=3, mask=mask, parameters=parameters), expected)
    torch.testing.assert_close(finetune(net, broken, n_iter=0, mask=mask), net(broken, mask=mask))


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: Cascade((8, 8), (8, 8), stages=[(4, 4)]),
            ValueError,
            "Cascade: stages must end with the object's shape (8, 8), got [(4, 4)].",
        ),
        (
            lambda: Cascade((8, 8), (8, 8), stages=[(4,), (8, 8)]),
            ValueError,
            "Cascade: stages must end with the object's",
        ),
        (
            lambda: Cascade((8, 8), (8, 8), dropout=1),
            ValueError,
            "Cascade: dropout must be a finite number at least 0 and at most 0.9, got 1",
        ),
        (
            lambda: Cascade((8, 8), (8, 8), feedback="phase"),
            ValueError,
            "Cascade: feedback must be one of 'image', 'mag",
        ),
        (
            lambda: Cascade((8, 8), (9, 6), feedback="magnitude"),
            ValueError,
            "Cascade: data_shape must be at least (8, 8) for feedback='magnitude', got (9, 6). Use feedback='image'.",
        ),
        (
            lambda: Cascade((8, 8), (8, 8), width=4).targets(torch.rand(3, 8, 9)),
            ValueError,
            "Cascade.targets: obj must have the shape (*, 8, 8), got (3, 8, 9).",
        ),
        (
            lambda: Cascade((8, 8), (8, 8), width=4).targets(torch.rand(3, 8, 8) + 0j),
            TypeError,
            "Cascade.targets: obj must be real floating, got torch.complex64.",
        ),
        (
            lambda: finetune(nn.Identity(), torch.rand(4, 4)),
            ValueError,
            "finetune: model must have a decoder for parameters='decoder', got Identity. Use parameters=",
        ),
        (
            lambda: finetune(MLP((4, 4), (4, 4), width=4), torch.rand(4, 4), parameters=["layer"]),
            ValueError,
            "finetune: parameters must be 'decoder', 'all', or name submodules or parameters of the model, got",
        ),
        (
            lambda: finetune(print, torch.rand(4, 4)),
            TypeError,
            "finetune: model must be a torch.nn.Module, got builtin",
        ),
        (
            lambda: finetune(MLP((4, 4), (4, 4), width=4), torch.rand(4, 4), n_iter=-1),
            ValueError,
            "finetune: n_iter must be an integer of at least 0, got -1.",
        ),
        (
            lambda: DeepImagePrior((4, 4), output="unit"),
            ValueError,
            "DeepImagePrior: output must be one of 'nonnegative'",
        ),
        (
            lambda: DoubleDIP((4, 4), channels=()),
            ValueError,
            "DoubleDIP: channels must hold at least one level, got ().",
        ),
        (
            lambda: DoubleDIP((4, 4), phase_channels=()),
            ValueError,
            "DoubleDIP: phase_channels must hold at least one level, got ().",
        ),
        (
            lambda: DoubleDIP((4, 4), spacing=0),
            ValueError,
            "DoubleDIP: spacing must be a finite number at least 0.01",
        ),
        (
            lambda: DeepImagePrior((4, 4), channels=(2,)).fit(torch.rand(8, 8) + 0j),
            TypeError,
            "DeepImagePrior.fit: intensity must be real floating, got torch.complex64.",
        ),
        (
            lambda: DoubleDIP((4, 4), channels=(2,)).fit(torch.rand(8, 8), lr=0),
            ValueError,
            "DoubleDIP.fit: lr must be a finite number above 0",
        ),
        (
            lambda: CorrelographyNet((4, 4), (6, 8)),
            ValueError,
            "CorrelographyNet: fourier_shape must be at least (7, 7) = 2n-1",
        ),
        (lambda: DnCNN(channels=0), ValueError, "DnCNN: channels must be an integer of at least 1, got 0."),
    ],
)
def test_wrong_arguments(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        call()  # type: ignore[operator]
