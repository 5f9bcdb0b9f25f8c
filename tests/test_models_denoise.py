"""The denoiser DnCNN, and prDeep, which refines with any denoiser."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from phaseret.metrics import psnr
from phaseret.models import DnCNN, prdeep
from phaseret.operators import FourierIntensity, fourier_intensity, fourier_magnitude


def smooth(x: Tensor, sigma: float) -> Tensor:
    return nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def waves(count: int, n: int = 16) -> Tensor:
    """Smooth images with values between 0 and 1."""
    y, x = torch.meshgrid(torch.linspace(0, 1, n), torch.linspace(0, 1, n), indexing="ij")
    a, b, c = 6 * torch.rand(3, count, 1, 1)
    return 0.5 + 0.5 * torch.sin(a * x + b * y + c)


# --- values -----------------------------------------------------------------------------------------------------------


def test_default_has_the_layers_of_the_source() -> None:
    net = DnCNN()
    convolutions = [layer for layer in net.layers if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 17
    assert [layer.out_channels for layer in convolutions] == [64] * 16 + [1]
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in net.layers) == 15
    assert sum(isinstance(layer, nn.ReLU) for layer in net.layers) == 16


def test_denoiser_predicts_the_noise() -> None:
    net, x = DnCNN(depth=3, channels=4).eval(), torch.rand(2, 5, 6)
    torch.testing.assert_close(net(x), x - net.layers(x[:, None])[:, 0])


@pytest.mark.parametrize("mask", [False, True])
def test_prdeep_equals_a_slow_one(mask: bool) -> None:
    obj, init = torch.rand(4, 3).double(), torch.rand(4, 3).double()
    intensity = fourier_intensity(obj, (9, 8))
    measured = torch.rand(9, 8) > 0.3 if mask else torch.ones(9, 8, dtype=torch.bool)
    sigmas, n_iter, lam, step_size = [0.3, 0.1], 2, 0.7, 0.8
    seen: list[float] = []

    def denoiser(x: Tensor, sigma: float) -> Tensor:
        assert x.shape == (1, 1, 4, 3)
        seen.append(sigma)
        return (1 - sigma) * x

    estimate = prdeep(
        intensity, denoiser, init=init, sigmas=sigmas, n_iter=n_iter, lam=lam, step_size=step_size,
        mask=measured if mask else None,
    )  # fmt: skip
    x = init.numpy()
    for sigma in sigmas:
        for _ in range(n_iter):
            field = np.fft.fft2(x, (9, 8), norm="ortho")
            wrong = (field - np.sqrt(intensity.numpy()) * np.exp(1j * np.angle(field))) * measured.numpy()
            z = x - step_size * np.fft.ifft2(wrong, norm="ortho").real[:4, :3]
            x = (z + step_size * lam * (1 - sigma) * z) / (1 + step_size * lam)
    np.testing.assert_allclose(estimate.numpy(), x, atol=1e-12)
    assert seen == [0.3, 0.3, 0.1, 0.1]


def test_without_weight_prdeep_is_error_reduction() -> None:
    obj, x = torch.rand(6, 6).double(), torch.rand(6, 6).double()
    intensity = fourier_intensity(obj, (12, 12))
    estimate = prdeep(intensity, smooth, init=x, sigmas=[0.1], n_iter=3, lam=0)
    for _ in range(3):
        field = torch.fft.fft2(x, (12, 12), norm="ortho")
        x = torch.fft.ifft2(intensity.sqrt() * torch.exp(1j * field.angle()), norm="ortho").real[:6, :6]
    torch.testing.assert_close(estimate, x)


# --- properties -------------------------------------------------------------------------------------------------------


def test_denoiser_learns() -> None:
    torch.manual_seed(0)
    net = DnCNN(depth=4, channels=12)
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(100):
        clean = waves(16)
        loss = (net(clean + 0.2 * torch.randn_like(clean)) - clean).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    clean = waves(64)
    noisy = clean + 0.2 * torch.randn_like(clean)
    assert (net.eval()(noisy) - clean).square().mean() < 0.4 * (noisy - clean).square().mean()


def test_noise_map_says_the_level_of_each_image() -> None:
    net, x = DnCNN(depth=3, channels=4, noise_map=True).eval(), torch.rand(2, 3, 5, 6)
    sigma = torch.rand(2, 3)
    estimate = net(x, sigma)
    torch.testing.assert_close(estimate[1, 2], net(x[1, 2], float(sigma[1, 2])))
    assert not torch.equal(net(x, 0.1), net(x, 0.2))


def test_denoiser_without_a_noise_map_ignores_the_level() -> None:
    net, x = DnCNN(depth=3, channels=4).eval(), torch.rand(2, 5, 6)
    assert torch.equal(net(x, 0.3), net(x))


def test_prdeep_improves_an_estimate_from_noisy_data() -> None:
    obj = waves(4)
    magnitude = fourier_magnitude(obj, (32, 32)) + 0.05 * torch.randn(4, 32, 32)
    noisy, init = magnitude.clamp(min=0).square(), obj + 0.2 * torch.randn_like(obj)
    without = prdeep(noisy, smooth, init=init, sigmas=[0.1], n_iter=40, lam=0)
    refined = prdeep(noisy, smooth, init=init, sigmas=[0.1], n_iter=40, lam=1)
    scores = [psnr(x, obj, align=False).mean() for x in (init, without, refined)]
    assert scores[2] > scores[1] + 2
    assert scores[2] > scores[0] + 2


def test_prdeep_of_a_batch_equals_its_items_and_through_an_operator() -> None:
    obj, init = torch.rand(2, 3, 5, 6).double(), torch.rand(2, 3, 5, 6).double()
    operator = FourierIntensity((10, 13))
    options = {"sigmas": [0.1], "n_iter": 3}
    whole = prdeep(operator(obj), smooth, init=init, **options)  # type: ignore[arg-type]
    item = prdeep(operator(obj)[1, 2], smooth, init=init[1, 2], **options)  # type: ignore[arg-type]
    torch.testing.assert_close(whole[1, 2], item)
    torch.testing.assert_close(
        prdeep(operator(obj), smooth, init=init, operator=operator, **options),  # type: ignore[arg-type]
        whole,
    )


def test_prdeep_uses_a_network_in_evaluation_mode_and_leaves_its_parts_in_theirs() -> None:
    obj, init = torch.rand(2, 8, 8), torch.rand(2, 8, 8)
    net = DnCNN(depth=3, channels=4)
    net(torch.randn(4, 8, 8))  # moves the running statistics
    net.layers[2].eval()
    modes, state = [part.training for part in net.modules()], {k: v.clone() for k, v in net.state_dict().items()}
    found = prdeep(fourier_intensity(obj, (16, 16)), net, init=init, sigmas=[0.1], n_iter=2)
    assert [part.training for part in net.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    expected = prdeep(fourier_intensity(obj, (16, 16)), net.eval(), init=init, sigmas=[0.1], n_iter=2)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("ndim", [1, 3])
def test_prdeep_in_one_and_three_dimensions(ndim: int) -> None:
    obj = torch.rand(2, *[4] * ndim)
    net = DnCNN(ndim=ndim, depth=3, channels=4).eval()
    estimate = prdeep(fourier_intensity(obj, [8] * ndim), net, init=obj, sigmas=[0.1], n_iter=2, ndim=ndim)
    assert estimate.shape == obj.shape
    assert not estimate.requires_grad


def test_prdeep_takes_a_denoiser_of_deepinv() -> None:
    try:
        import deepinv
    except Exception as error:  # it imports torchvision, which fails in other ways than ImportError
        pytest.skip(f"deepinv cannot be imported: {error!r}")
    denoiser = deepinv.models.DnCNN(in_channels=1, out_channels=1, depth=3, nf=4, pretrained=None)
    obj = torch.rand(2, 8, 8)
    estimate = prdeep(fourier_intensity(obj, (16, 16)), denoiser, init=obj, sigmas=[0.1], n_iter=2)
    assert estimate.shape == (2, 8, 8)


# --- gradients --------------------------------------------------------------------------------------------------------


def test_gradients_are_right() -> None:
    net = DnCNN(ndim=1, depth=3, channels=3, noise_map=True).double().eval()
    x, sigma = torch.randn(2, 4).double().requires_grad_(), torch.rand(2).double().requires_grad_()
    assert torch.autograd.gradcheck(net, (x, sigma), fast_mode=True)


def test_prdeep_steps_along_the_gradient_of_the_misfit() -> None:
    obj, x = torch.rand(3, 4).double(), torch.rand(3, 4).double().requires_grad_()
    intensity = fourier_intensity(obj, (6, 8))
    error = 0.5 * (fourier_magnitude(x, (6, 8)) - intensity.sqrt()).square().sum()
    (gradient,) = torch.autograd.grad(error, x)
    estimate = prdeep(intensity, smooth, init=x.detach(), sigmas=[0.1], n_iter=1, lam=0, step_size=0.5)
    torch.testing.assert_close(estimate, x.detach() - 0.5 * gradient)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"init": torch.rand(4, 4) + 0j}, TypeError, "init must be real floating, got torch.complex64."),
        ({"init": torch.rand(2, 4, 4)}, ValueError, "init and intensity must have equal batch shapes, got (2,) from"),
        ({"denoiser": 3}, TypeError, "denoiser must be callable, got int."),
        ({"n_iter": 0}, ValueError, "n_iter must be an integer of at least 1, got 0."),
        ({"lam": -1}, ValueError, "lam must be a finite number at least 0"),
        ({"step_size": 0}, ValueError, "step_size must be a finite number above 0"),
        ({"sigmas": [-0.1]}, ValueError, "sigmas must be a finite number at least 0"),
        ({"sigmas": []}, ValueError, "sigmas must hold at least one noise level, got none."),
        (
            {"init": torch.rand(9, 4)},
            ValueError,
            "fourier_shape must be at least (17, 7) = 2n-1 for an object of shape (9, 4), got (8, 8).",
        ),
        (
            {"init": torch.rand(5, 4)},
            ValueError,
            "fourier_shape must be at least (9, 7) = 2n-1 for an object of shape (5, 4), got (8, 8). Use "
            "min_fourier_shape((5, 4)), or undersampled=True where such data are wanted.",
        ),
        (
            {"operator": FourierIntensity((8, 9))},
            ValueError,
            "intensity must have the shape (*, 8, 9) of the operator's data, got (*, 8, 8).",
        ),
        ({"operator": "fourier"}, TypeError, "operator must be an Operator, got str. Use one of phaseret.operators"),
    ],
)
def test_wrong_arguments(options: dict[str, object], error: type[Exception], message: str) -> None:
    arguments = {"denoiser": smooth, "init": torch.rand(4, 4), **options}
    with pytest.raises(error, match=f"^prdeep: {re.escape(message)}"):
        prdeep(torch.rand(8, 8), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: DnCNN(depth=1), ValueError, "depth must be an integer of at least 2, got 1."),
        (lambda: DnCNN(ndim=4), ValueError, "ndim must be 1, 2 or 3, got 4."),
        (
            lambda: DnCNN(depth=2, channels=2, noise_map=True)(torch.rand(4, 4)),
            TypeError,
            "sigma must be given to a network with a noise map, got None. Give the standard deviation",
        ),
        (
            lambda: DnCNN(depth=2, channels=2, noise_map=True)(torch.rand(4, 4, 4), torch.rand(3)),
            ValueError,
            "sigma must be one number or have the shape (4,), got (3,).",
        ),
        (
            lambda: DnCNN(depth=2, channels=2, noise_map=True)(torch.rand(2, 3, 4, 4), torch.rand(3, 2)),
            ValueError,
            "sigma must be one number or have the shape (2, 3), got (3, 2).",
        ),
        (
            lambda: DnCNN(depth=2, channels=2, noise_map=True)(torch.rand(4, 4), torch.tensor(1j)),
            TypeError,
            "sigma must be real floating, got torch.complex64.",
        ),
    ],
)
def test_wrong_denoisers(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^DnCNN: {re.escape(message)}"):
        call()  # type: ignore[operator]
