"""What every network keeps: batches, sizes, dtypes, compilation, memory formats, state, files, errors, gradients."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from phaseret import models
from phaseret.operators import Fresnel

CARD = {"data": "none", "command": "none", "metrics": {"mse": 0.5}, "licence": "BSD-3-Clause"}


@dataclass(frozen=True)
class System:
    """A small network: `build` makes it, `item` is the shape of what it is given, `obj` that of its estimate."""

    build: Callable[[], nn.Module]
    item: tuple[int, ...]
    obj: tuple[int, ...]
    complex: bool = False


SYSTEMS = {
    "MLP": System(lambda: models.MLP((5, 7), (6, 9), width=8), (6, 9), (5, 7)),
    "MLP vector": System(lambda: models.MLP((5,), (24,), width=8, output="real"), (24,), (5,)),
    "MLP complex": System(
        lambda: models.MLP((2, 3, 4), (3, 5, 7), width=8, output="modulus_phase"), (3, 5, 7), (2, 3, 4), True
    ),
    "UNet": System(lambda: models.UNet((5, 7), (10, 13), channels=(4, 8), output="real"), (10, 13), (5, 7)),
    "UNet complex": System(
        lambda: models.UNet((3, 4, 5), (6, 9, 9), channels=(4, 8), output="real_imaginary"), (6, 9, 9), (3, 4, 5), True
    ),
    "DnCNN": System(lambda: models.DnCNN(depth=4, channels=6), (5, 7), (5, 7)),
    "DnCNN 3D": System(lambda: models.DnCNN(ndim=3, depth=3, channels=4), (3, 4, 5), (3, 4, 5)),
    "PRCGANGenerator": System(
        lambda: models.PRCGANGenerator((5, 7), (5, 7), latent_shape=(3,), width=8), (5, 7), (5, 7)
    ),
    "Cascade": System(lambda: models.Cascade((5, 7), (6, 9), stages=((2, 2), (5, 7), (5, 7)), width=8), (6, 9), (5, 7)),
    "Cascade magnitude": System(lambda: models.Cascade((5, 7), (5, 9), width=8, feedback="magnitude"), (5, 9), (5, 7)),
    "Unrolled": System(lambda: models.Unrolled((5, 7), (9, 14), stages=2, n_iter=2, channels=4), (9, 14), (5, 7)),
    "Unrolled complex": System(
        lambda: models.Unrolled(
            (3, 4, 5), (6, 9, 9), algorithm="raar", stages=2, n_iter=2, constraint="complex", channels=4
        ),
        (6, 9, 9),
        (3, 4, 5),
        True,
    ),
    "ResidualNet": System(
        lambda: models.ResidualNet(Fresnel((9, 11), fresnel_number=0.2), (5, 7), channels=(4, 8)), (5, 7), (5, 7), True
    ),
    "ResidualNet intensity": System(
        lambda: models.ResidualNet(
            Fresnel((5, 7), fresnel_number=0.2), (5, 7), sees="intensity", output="real", channels=(4, 6, 8)
        ),
        (5, 7),
        (5, 7),
    ),
    "CorrelographyNet": System(
        lambda: models.CorrelographyNet((5, 7), (10, 13), channels=(4, 8), output="real"), (10, 13), (5, 7)
    ),
}
names = pytest.mark.parametrize("name", SYSTEMS)
of_data = pytest.mark.parametrize("name", [name for name in SYSTEMS if not name.startswith("DnCNN")])


def built(name: str) -> nn.Module:
    """The network with random weights and running statistics, in evaluation mode."""
    net = SYSTEMS[name].build()
    for key, value in net.state_dict().items():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5) if key.endswith("running_var") else value.normal_(std=0.3)
    return net.eval()


def data(name: str, *batch: int) -> Tensor:
    return torch.rand(*batch, *SYSTEMS[name].item)


# --- batches, dtypes, devices -----------------------------------------------------------------------------------------


@names
@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 2)])
def test_any_batch(name: str, batch: tuple[int, ...]) -> None:
    system, x = SYSTEMS[name], data(name, *batch)
    estimate = built(name)(x)
    assert estimate.shape == (*batch, *system.obj)
    assert estimate.is_complex() == system.complex
    assert torch.view_as_real(estimate + 0j).isfinite().all()


@names
def test_batch_equals_its_items(name: str) -> None:
    net, x = built(name).double(), data(name, 2, 3).double()
    items = torch.stack([net(item) for item in x.flatten(0, 1)])
    torch.testing.assert_close(net(x).flatten(0, 1), items)


@names
def test_dtype_follows_the_data(name: str) -> None:
    net, x = built(name), data(name, 2)
    expected = net(x)
    assert expected.real.dtype == torch.float32
    torch.testing.assert_close(net(x.bfloat16()), net(x.bfloat16().float()))
    assert net(x.double()).real.dtype == torch.float64
    double = net.double()(x.double())
    assert double.real.dtype == torch.float64
    torch.testing.assert_close(double.to(expected.dtype), expected, rtol=1e-3, atol=1e-3)


@names
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_of_the_layers_is_not_that_of_the_estimate(
    name: str, dtype: torch.dtype, device: torch.device
) -> None:
    net, x = built(name).to(device), data(name, 2).to(device)
    expected = net(x)
    with torch.autocast(device.type, dtype):
        mixed = net(x)
    assert mixed.dtype == net.to(dtype)(x).dtype == expected.dtype
    assert (mixed - expected).norm() < 0.1 * expected.norm()  # at most 0.014 of all networks


@names
def test_a_lazy_or_strided_view_is_what_it_shows(name: str) -> None:
    net, x = built(name).double(), data(name, 2, 3).double()
    lazy = torch.complex(torch.zeros_like(x), -x).conj().imag
    assert lazy.is_neg()
    for view in (lazy, x.transpose(0, -1).contiguous().transpose(0, -1)):
        torch.testing.assert_close(net(view), net(x))


@names
def test_dark_data_give_finite_estimates_and_gradients(name: str) -> None:
    net, x = built(name), torch.zeros(2, *SYSTEMS[name].item, requires_grad=True)
    estimate = net(x)
    estimate.abs().sum().backward()
    assert torch.view_as_real(estimate + 0j).isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@names
def test_any_device(name: str, device: torch.device) -> None:
    net, x = built(name), data(name, 2)
    expected = net(x)
    estimate = net.to(device)(x.to(device))
    assert estimate.device.type == device.type
    torch.testing.assert_close(estimate.cpu(), expected, rtol=1e-3, atol=1e-3)


# --- compilation and memory formats -----------------------------------------------------------------------------------


@names
def test_compiled_gives_the_same(name: str) -> None:
    torch.compiler.reset()
    net, x = built(name), data(name, 2)
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), net(x))


@names
def test_channels_last_changes_nothing(name: str) -> None:
    net, x = built(name), data(name, 2)
    expected = net(x)
    fourth = any(parameter.ndim == 4 for parameter in net.parameters())
    fifth = any(parameter.ndim == 5 for parameter in net.parameters())
    formats = [torch.channels_last] * fourth + [torch.channels_last_3d] * fifth
    for layout in formats:
        torch.testing.assert_close(net.to(memory_format=layout)(x), expected, rtol=1e-4, atol=1e-4)


# --- gradients --------------------------------------------------------------------------------------------------------


@names
def test_every_parameter_has_a_gradient(name: str) -> None:
    net, x = built(name).train(), data(name, 3).requires_grad_()
    estimates = net.estimates(x) if isinstance(net, models.Cascade) else [net(x)]
    sum(estimate.abs().square().sum() for estimate in estimates).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert [key for key, value in net.named_parameters() if value.grad is None or not value.grad.isfinite().all()] == []


# --- masks ------------------------------------------------------------------------------------------------------------


@of_data
def test_what_stands_at_unmeasured_pixels_changes_nothing(name: str) -> None:
    net, x = built(name).double(), data(name, 3).double()
    mask = torch.rand(x.shape) > 0.2
    expected = net(x, mask=mask)
    assert expected.shape == (3, *SYSTEMS[name].obj)
    for value in (0.0, 1e4, torch.nan):
        other = x.masked_fill(~mask, value).requires_grad_()
        estimate = net(other, mask=mask)
        torch.testing.assert_close(estimate, expected)
        (gradient,) = torch.autograd.grad(estimate.abs().sum(), other)
        assert gradient.isfinite().all()
        assert not gradient[~mask].any()
    assert not torch.allclose(net(x), expected)
    torch.testing.assert_close(net(x, mask=torch.ones_like(mask)), net(x))
    torch.testing.assert_close(net(x, mask=mask[1])[1], expected[1])
    torch.testing.assert_close(net(x[1], mask=mask[1]), expected[1])


@of_data
def test_masks_that_do_not_fit_are_refused(name: str) -> None:
    net, x = built(name), data(name, 2)
    where = type(net).__name__
    with pytest.raises(TypeError, match=f"^{where}: mask must be a boolean tensor, got torch.float32"):
        net(x, mask=torch.ones_like(x))
    with pytest.raises(ValueError, match=f"^{where}: mask must broadcast to the intensity"):
        net(x, mask=torch.ones(3, *x.shape[1:], dtype=torch.bool))


@names
def test_shapes_are_known_without_memory(name: str) -> None:
    net = built(name).to("meta")
    estimate = net(data(name, 2).to("meta"))
    assert estimate.device.type == "meta"
    assert estimate.shape == (2, *SYSTEMS[name].obj)


# --- state and files --------------------------------------------------------------------------------------------------


@names
def test_state_dict_round_trip(name: str) -> None:
    net, other, x = built(name), built(name), data(name, 2)
    assert not torch.equal(net(x), other(x))
    other.load_state_dict(net.state_dict())
    torch.testing.assert_close(net(x), other(x))


@names
def test_file_round_trip(name: str, tmp_path: Path) -> None:
    net, x = built(name), data(name, 2)
    checksum = models.save(net, tmp_path / "net.safetensors", card=CARD)
    given = {key: getattr(net, key) for key in net.given}
    loaded = models.load(tmp_path / "net.safetensors", sha256=checksum, **given)
    assert type(loaded) is type(net)
    assert loaded.card == CARD
    assert not loaded.training
    assert torch.equal(loaded(x), net(x))


@names
def test_repr_shows_the_options(name: str) -> None:
    net = built(name)
    assert all(f"{value!r}" in repr(net) for key, value in net.options.items())


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ndim", [2, 3])
def test_an_image_of_too_few_axes_gives_one_clear_error(ndim: int) -> None:
    with pytest.raises(ValueError, match=rf"^DnCNN: x must have at least {ndim} axes, got shape \(3,\)"):
        models.DnCNN(ndim=ndim, depth=2, channels=2)(torch.rand(3))


@of_data
def test_wrong_sizes_give_one_clear_error(name: str) -> None:
    net, wanted = built(name), SYSTEMS[name].item
    where = type(net).__name__
    sizes = ", ".join(map(str, wanted))
    for shape in [(2, *wanted[:-1], wanted[-1] + 1), (1,)]:
        with pytest.raises(
            ValueError, match=re.escape(f"{where}: intensity must have the shape (*, {sizes}), got {shape}")
        ):
            net(torch.rand(shape))


@names
def test_wrong_dtypes_give_one_clear_error(name: str) -> None:
    with pytest.raises(
        TypeError, match=f"{type(built(name)).__name__}: (intensity|x) must be real floating, got torch.c"
    ):
        built(name)(data(name, 2) + 0j)


@names
def test_data_on_another_device(name: str) -> None:
    with pytest.raises(ValueError, match=f"{type(built(name)).__name__}: all tensors must lie on one device"):
        built(name)(data(name, 2).to("meta"))
