"""The U-Net: sizes, scale, representations against slow formulas, and that it learns."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from phaseret.losses import passive_loss
from phaseret.models import UNet
from phaseret.operators import fourier_intensity

REPRESENTATIONS = ("magnitude", "intensity", "log_intensity", "autocorrelation", "root_autocorrelation")
OUTPUTS = ("nonnegative", "unit", "real", "modulus_phase", "real_imaginary")
SIZES = [((9,), (17,)), ((8,), (40,)), ((7, 5), (13, 12)), ((8, 8), (16, 15)), ((3, 4, 5), (6, 9, 9)), ((1, 1), (1, 1))]


def small(object_shape: tuple[int, ...], fourier_shape: tuple[int, ...], **options: object) -> UNet:
    """A small network with random weights and running statistics, in evaluation mode."""
    net = UNet(object_shape, fourier_shape, channels=(4, 8), **options)  # type: ignore[arg-type]
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5) if name.endswith("running_var") else value.normal_(std=0.5)
    return net.eval()


def seen_by(net: UNet, intensity: Tensor) -> tuple[Tensor, Tensor]:
    """What the network's first layer would see before it is cut into blocks, and the scale."""
    return net._represent(intensity)


# --- values -----------------------------------------------------------------------------------------------------------


def test_default_has_the_documented_number_of_parameters() -> None:
    net = UNet((28, 28), (64, 64))
    assert round(sum(parameter.numel() for parameter in net.parameters()) / 1e6, 1) == 1.9


def test_scale_is_the_root_mean_square_of_the_object() -> None:
    obj = torch.randn(3, 6, 7, dtype=torch.float64)
    _, scale = seen_by(UNet((6, 7), (12, 13)), fourier_intensity(obj, (12, 13)))
    torch.testing.assert_close(scale.flatten(), obj.square().mean((1, 2)).sqrt())


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_representations_equal_the_slow_formulas(representation: str, dtype: torch.dtype) -> None:
    obj = torch.randn(4, 5, dtype=dtype)
    seen, _ = seen_by(UNet((4, 5), (8, 11), representation=representation), fourier_intensity(obj, (8, 11))[None])
    x = obj.numpy()
    square = np.mean(np.abs(x) ** 2)
    expected = np.zeros((8, 11))
    for k in np.ndindex(8, 11):
        if representation.endswith("autocorrelation"):
            total = 0j
            for i in np.ndindex(4, 5):
                j = (i[0] + k[0]) % 8, (i[1] + k[1]) % 11
                total += x[j] * np.conj(x[i]) if j[0] < 4 and j[1] < 5 else 0
            expected[k] = (total.real + total.imag) / (square * x.size)
        else:
            wave = np.exp(-2j * np.pi * (k[0] * np.arange(4)[:, None] / 8 + k[1] * np.arange(5) / 11))
            y = np.abs(np.sum(x * wave)) ** 2 / (8 * 11) / square
            expected[k] = {"intensity": y, "magnitude": np.sqrt(y), "log_intensity": np.log(1 + y)}[representation]
    tolerance = 1e-12
    if representation == "root_autocorrelation":
        expected, tolerance = np.fft.fftshift(np.sign(expected) * np.sqrt(np.abs(expected))), 1e-6  # roots of rounding
    np.testing.assert_allclose(seen[0].numpy(), expected, atol=tolerance)


@pytest.mark.parametrize("representation", ["magnitude", "log_intensity"])
def test_intensities_below_0_count_as_0_in_magnitudes_and_logarithms(representation: str) -> None:
    intensity = torch.rand(2, 8, 11) + 0.1
    intensity[:, 3, 4] = -1
    net = UNet((4, 5), (8, 11), representation=representation, output="unit")  # whose scale is 1
    expected = seen_by(net, intensity.clamp(min=0))[0]
    torch.testing.assert_close(seen_by(net, intensity)[0], expected)
    intensity.requires_grad_()
    seen_by(net, intensity)[0].sum().backward()
    assert intensity.grad.isfinite().all()


# --- properties -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("object_shape", "fourier_shape"), SIZES)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_any_size_and_batch(
    object_shape: tuple[int, ...], fourier_shape: tuple[int, ...], output: str, representation: str
) -> None:
    net = small(object_shape, fourier_shape, output=output, representation=representation)
    for batch in [(), (3,), (2, 2)]:
        estimate = net(torch.rand(*batch, *fourier_shape))
        assert estimate.shape == (*batch, *object_shape)
        assert estimate.is_complex() == (output in ("modulus_phase", "real_imaginary"))
        assert torch.view_as_real(estimate.to(torch.complex64)).isfinite().all()


@given(
    n=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    more=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    levels=st.integers(1, 4),
)
def test_any_size_of_two_axes(n: tuple[int, int], more: tuple[int, int], levels: int) -> None:
    fourier_shape = tuple(2 * size - 1 + extra for size, extra in zip(n, more, strict=True))
    net = UNet(n, fourier_shape, channels=[2] * levels).eval()
    assert net(torch.rand(3, *fourier_shape)).shape == (3, *n)


@pytest.mark.parametrize("output", [output for output in OUTPUTS if output != "unit"])
@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e6])
def test_estimate_scales_with_the_object(output: str, representation: str, factor: float) -> None:
    net = small((6, 7), (12, 13), output=output, representation=representation).double()
    intensity = torch.rand(2, 12, 13, dtype=torch.float64)
    torch.testing.assert_close(net(factor**2 * intensity), factor * net(intensity))


def test_dark_data_give_a_dark_estimate() -> None:
    net = small((6, 7), (12, 13))
    intensity = torch.rand(2, 12, 13)
    intensity[0] = 0
    estimate = net(intensity)
    assert (estimate[0] == 0).all()
    torch.testing.assert_close(estimate[1], net(intensity[1]))


@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("fourier_shape", [(13,), (12, 13), (13, 12), (6, 7, 8)])
def test_onesided_data_have_the_scale_of_the_whole_plane(representation: str, fourier_shape: tuple[int, ...]) -> None:
    obj = torch.rand(*[size // 2 for size in fourier_shape], dtype=torch.float64)
    whole = UNet(obj.shape, fourier_shape, representation=representation)
    half = UNet(obj.shape, fourier_shape, representation=representation, onesided=True)
    seen, scale = seen_by(whole, fourier_intensity(obj, fourier_shape)[None])
    seen_half, scale_half = seen_by(half, fourier_intensity(obj, fourier_shape, onesided=True)[None])
    torch.testing.assert_close(scale_half, scale)
    torch.testing.assert_close(seen_half, seen)


def test_nonnegative_output_is_the_positive_part() -> None:
    net = small((6, 7), (12, 13), output="real")
    intensity = torch.rand(20, 12, 13)
    estimate = net(intensity)
    net.output = "nonnegative"
    torch.testing.assert_close(net(intensity), estimate.relu())


def test_unit_output_lies_between_0_and_1_and_starts_dark() -> None:
    intensity = 1e3 * torch.rand(20, 12, 13)
    estimate = small((6, 7), (12, 13), output="unit")(intensity)
    assert ((estimate >= 0) & (estimate <= 1)).all()
    assert UNet((6, 7), (12, 13), output="unit")(intensity).mean() < 0.25  # 0.12 with a standard deviation of 0.02
    seen, scale = seen_by(UNet((6, 7), (12, 13), output="unit", representation="intensity"), intensity)
    assert torch.equal(seen, intensity)
    assert (scale == 1).all()


def test_channels_last_changes_nothing(device: torch.device) -> None:
    net = small((28, 28), (64, 64), output="real").to(device)
    intensity = torch.rand(2, 64, 64, device=device)
    expected = net(intensity)
    torch.testing.assert_close(net.to(memory_format=torch.channels_last)(intensity), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("output", OUTPUTS)
def test_it_learns_one_object_from_its_intensity(output: str) -> None:
    obj = torch.rand(4, 8, 8) * (torch.exp(1j * torch.rand(4, 8, 8)) if "_" in output else 1)
    intensity = fourier_intensity(obj, (16, 16))
    net = UNet((8, 8), (16, 16), channels=(16, 32), output=output)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = passive_loss(net(intensity), intensity)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_gradients_are_right_and_finite_for_zeros(representation: str) -> None:
    net = small((2, 3), (3, 5), representation=representation, output="real_imaginary").double()
    intensity = torch.rand(1, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, intensity, fast_mode=True)
    assert torch.autograd.gradgradcheck(net, intensity, fast_mode=True)
    dark = torch.rand(2, 3, 5, dtype=torch.float64)
    dark[0], dark[1, 2] = 0, 0
    dark.requires_grad_()
    net(dark).abs().sum().backward()
    assert dark.grad is not None
    assert dark.grad.isfinite().all()


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fourier_shape": (54, 64)}, "fourier_shape must be at least (55, 55) = 2n-1 for an object of shape (28, 28)"),
        ({"fourier_shape": (64,)}, "fourier_shape must be at least (55, 55) = 2n-1 for an object of shape (28, 28)"),
        ({"representation": "phase"}, "representation must be one of 'magnitude', 'intensity', 'log_intensity', "),
        (
            {"output": "complex"},
            "output must be one of 'nonnegative', 'unit', 'real', 'modulus_phase', 'real_imaginary'",
        ),
        ({"channels": (32, 0)}, "channels must be an integer of at least 1, got 0."),
        ({"channels": ()}, "channels must hold at least one level, got ()."),
        ({"onesided": True, "output": "modulus_phase"}, "onesided=True must have a real output, got 'modulus_phase'."),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    sizes = {"object_shape": (28, 28), "fourier_shape": (64, 64), **options}
    with pytest.raises(ValueError, match=f"^UNet: {re.escape(message)}"):
        UNet(**sizes)  # type: ignore[arg-type]


def test_channels_must_be_a_sequence() -> None:
    message = "UNet: channels must be a sequence of integers, got 32. Give one width per level, such as (32, 64)."
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        UNet((4, 4), (8, 8), channels=32)  # type: ignore[arg-type]


def test_wrong_data_name_what_was_given() -> None:
    net = small((28, 28), (64, 64))
    message = "UNet: intensity must have the shape (*, 64, 64), got (2, 64, 33). "
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        net(torch.rand(2, 64, 33))
    with pytest.raises(ValueError, match=re.escape("(*, 64, 33), got (64,).")):
        small((28, 28), (64, 64), onesided=True)(torch.rand(64))
    with pytest.raises(TypeError, match=re.escape("UNet: intensity must be real floating, got torch.complex64.")):
        net(torch.rand(64, 64) + 0j)


# --- modules ----------------------------------------------------------------------------------------------------------


def test_repr_shows_the_options() -> None:
    net = UNet((6, 7), (12, 13), representation="intensity", onesided=True)
    expected = (
        "object_shape=(6, 7), fourier_shape=(12, 13), representation='intensity', output='nonnegative', "
        "channels=(32, 64, 128, 256), onesided=True, undersampled=False, mask_channel=False"
    )
    assert net.extra_repr() == expected
