"""The fully connected networks: MLP, the pair of PRCGAN, and the search for a latent variable."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from phaseret.metrics import mse
from phaseret.models import MLP, Cascade, PRCGANDiscriminator, PRCGANGenerator, latent_optimize
from phaseret.operators import FourierIntensity, Gaussian, gaussian_matrix


def blobs(count: int) -> Tensor:
    """A bright spot in the middle and a faint one somewhere on its right, with values between 0 and 1."""
    y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    row, column = 1 + 5 * torch.rand(count, 1, 1), 4.5 + 2 * torch.rand(count, 1, 1)
    middle = torch.exp(-((y - 3) ** 2 + (x - 2) ** 2) / 2)
    return torch.maximum(middle, 0.6 * torch.exp(-((y - row) ** 2 + (x - column) ** 2)))


def circular(obj: Tensor) -> Tensor:
    """The Fourier intensity without oversampling: m = n."""
    return torch.fft.fft2(obj, norm="ortho").abs().square()


def train(net: nn.Module, steps: int, lr: float, loss: object) -> None:
    optimizer = torch.optim.Adam(net.parameters(), lr)
    for _ in range(steps):
        value = loss()  # type: ignore[operator]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


# --- values -----------------------------------------------------------------------------------------------------------


def test_default_has_the_layers_of_the_source() -> None:
    net = MLP((28, 28), (28, 28))
    widths = [(layer.in_features, layer.out_features) for layer in net.layers if isinstance(layer, nn.Linear)]
    assert widths == [(784, 2048), (2048, 2048), (2048, 2048), (2048, 2048), (2048, 784)]
    kinds = [type(layer).__name__ for layer in net.layers]
    assert kinds == ["Linear", "ReLU", *["Linear", "BatchNorm1d", "ReLU"] * 3, "Linear"]


def test_generator_sees_as_many_latent_numbers_as_data() -> None:
    layer = PRCGANGenerator((28, 28), (28, 28)).layers[0]
    assert (layer.in_features, layer.out_features) == (2 * 784, 2048)


def test_first_weights_of_the_data_start_in_units_of_the_plain_transform() -> None:
    """Those of PyTorch's layers are uniform up to 1 / sqrt(inputs); latent variables and images keep them."""
    torch.manual_seed(0)
    parts = [
        (MLP((4,), (5, 5), width=400).layers[0].weight, 0, 25**-0.5),
        (PRCGANGenerator((4,), (5, 5), width=400).layers[0].weight, 25, 50**-0.5),
        (Cascade((4, 4), (5, 5), width=400).stages[0][0].weight, 0, 25**-0.5),
        (Cascade((4, 4), (5, 5), width=400).stages[1][0].weight.flip(1), 16, 41**-0.5),
        (Cascade((4, 4), (5, 5), width=400, feedback="magnitude").stages[1][0].weight, 0, 50**-0.5),
    ]
    assert MLP((4,), (5, 5), width=400, depth=2).layers[0].weight.abs().max() <= 25**-0.5
    for weight, others, bound in parts:
        assert weight[:, others:].abs().max().item() == pytest.approx(5 * bound, rel=0.01)
        if others:
            assert weight[:, :others].abs().max().item() == pytest.approx(bound, rel=0.01)


def test_mlp_equals_its_formula() -> None:
    net, intensity = MLP((2, 3), (4,), width=6, depth=2, output="real").double(), torch.rand(5, 4).double()
    first, last = net.layers[0], net.layers[2]
    for y, x in zip(intensity, net(intensity), strict=True):
        s = y.mean().sqrt()
        hidden = (first.weight @ (y.sqrt() / s) + first.bias).clamp(min=0)
        torch.testing.assert_close(x.flatten(), s * (last.weight @ hidden + last.bias))


@pytest.mark.parametrize("output", ["nonnegative", "real", "modulus_phase", "real_imaginary"])
def test_estimate_scales_with_the_object(output: str) -> None:
    net, intensity = MLP((3, 4), (5, 6), width=8, output=output).double().eval(), torch.rand(2, 5, 6).double()
    torch.testing.assert_close(net(9 * intensity), 3 * net(intensity))


def test_unit_output_lies_between_0_and_1_and_has_no_scale() -> None:
    net = MLP((3, 4), (5, 6), width=8).eval()
    estimate = net(1e3 * torch.rand(9, 5, 6))
    assert ((estimate >= 0) & (estimate <= 1)).all()


# --- properties -------------------------------------------------------------------------------------------------------


def test_discriminator_gives_one_logit_for_each_pair() -> None:
    net = PRCGANDiscriminator((3, 4), (5, 6), width=8).double().eval()
    obj, intensity = torch.randn(2, 3, 3, 4).double(), torch.rand(2, 3, 5, 6).double()
    logits = net(obj, intensity)
    assert logits.shape == (2, 3)
    torch.testing.assert_close(net(obj[1, 2], intensity[1, 2]), logits[1, 2])


def test_mlp_learns_data_that_do_not_determine_the_object() -> None:
    obj, test = blobs(256), blobs(128)
    net = MLP((8, 8), (8, 8), width=128)
    for steps, lr in ((100, 3e-3), (30, 3e-4)):
        train(net, steps, lr, lambda: mse(net(circular(obj)), obj, align=False).mean())
    trivial = (obj.mean(0) - test).square().mean()
    assert mse(net.eval()(circular(test)), test, align=False).mean() < 0.7 * trivial


def test_gaussian_vectors_are_learned_better_with_one_sign_for_each() -> None:
    operator = Gaussian(gaussian_matrix((4,), 24, dtype=torch.float32))
    obj, test = torch.randn(1024, 4), torch.randn(512, 4)
    errors = []
    for canonical in (False, True):
        torch.manual_seed(1)
        net = MLP((4,), (24,), width=64, depth=4, output="real")
        target = obj * obj[:, -1:].sign() if canonical else obj
        train(net, 100, 1e-2, lambda net=net, target=target: (net(operator(obj)) - target).square().mean())
        estimate = net.eval()(operator(test))
        either = [(estimate - sign * test).square().mean(1) for sign in (1, -1)]
        errors.append(torch.minimum(*either).mean())
    assert errors[1] < 0.3 * errors[0]


def test_generator_and_discriminator_learn_against_each_other() -> None:
    obj = blobs(64)
    generator, judge = PRCGANGenerator((8, 8), (8, 8), width=64), PRCGANDiscriminator((8, 8), (8, 8), width=64)
    loss = nn.functional.binary_cross_entropy_with_logits

    def judged() -> Tensor:
        true, made = judge(obj, circular(obj)), judge(generator(circular(obj)).detach(), circular(obj))
        return loss(true, torch.ones(64)) + loss(made, torch.zeros(64))

    before = (generator(circular(obj)) - obj).abs().mean()
    for _ in range(20):
        train(judge, 1, 1e-3, judged)
        train(
            generator,
            1,
            3e-3,
            lambda: (
                loss(judge(generator(circular(obj)), circular(obj)), torch.ones(64))
                + 1e3 * (generator(circular(obj)) - obj).abs().mean()
            ),
        )
    assert (generator(circular(obj)) - obj).abs().mean() < 0.7 * before
    assert (judge(obj, circular(obj)) > judge(generator(circular(obj)), circular(obj))).float().mean() > 0.5


# --- the search for a latent variable ---------------------------------------------------------------------------------


def trained_generator() -> PRCGANGenerator:
    """A generator that has seen other objects, with a latent variable that it used."""
    obj = blobs(512)
    net = PRCGANGenerator((8, 8), (8, 8), latent_shape=(16,), width=128)
    train(net, 100, 3e-3, lambda: (net(circular(obj), torch.randn(512, 16)) - obj).square().mean())
    return net.eval()


def misfit(estimate: Tensor, intensity: Tensor) -> Tensor:
    """By the formula: squared relative error of the magnitude."""
    magnitude = circular(estimate).sqrt()
    return (magnitude - intensity.sqrt()).square().sum((-2, -1)) / intensity.sum((-2, -1))


def test_latent_search_brings_the_estimates_to_the_data() -> None:
    net, test = trained_generator(), blobs(64)
    intensity = circular(test)
    first, last = net(intensity).detach(), latent_optimize(net, intensity, n_iter=40, lr=0.3)
    assert misfit(last, intensity).mean() < 0.6 * misfit(first, intensity).mean()


def test_latent_search_never_makes_a_misfit_worse() -> None:
    net, intensity = PRCGANGenerator((8, 8), (8, 8), width=16).eval(), circular(blobs(5))
    first = net(intensity)
    torch.testing.assert_close(latent_optimize(net, intensity, n_iter=0), first)
    for steps in (1, 5):
        assert (
            misfit(latent_optimize(net, intensity, n_iter=steps), intensity) <= misfit(first, intensity) + 1e-6
        ).all()


def test_latent_search_leaves_the_network_as_it_is() -> None:
    net, intensity = PRCGANGenerator((8, 8), (8, 8), width=16).train(), circular(blobs(5))
    net.layers[3].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        latent_optimize(net, intensity, n_iter=3)
    assert net.training
    assert not net.layers[3].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_latent_search_of_a_batch_equals_its_items() -> None:
    net = PRCGANGenerator((8, 8), (8, 8), width=16).double().eval()
    intensity = circular(blobs(6).double()).reshape(2, 3, 8, 8)
    latent = torch.randn(2, 3, 8, 8).double()
    whole = latent_optimize(net, intensity, n_iter=4, latent=latent)
    torch.testing.assert_close(latent_optimize(net, intensity[1, 2], n_iter=4, latent=latent[1, 2]), whole[1, 2])


def test_latent_search_through_an_operator_and_a_mask() -> None:
    net, obj = PRCGANGenerator((8, 8), (16, 16), width=16).double().eval(), blobs(3).double()
    operator = FourierIntensity((16, 16))
    intensity = operator(obj)
    expected = latent_optimize(net, intensity, n_iter=4)
    torch.testing.assert_close(latent_optimize(net, intensity, n_iter=4, operator=operator), expected)
    mask = torch.ones(16, 16, dtype=torch.bool)
    torch.testing.assert_close(latent_optimize(net, intensity, n_iter=4, mask=mask), expected)
    mask[0, 0] = False
    assert not torch.equal(latent_optimize(net, intensity, n_iter=4, mask=mask), expected)


# --- gradients --------------------------------------------------------------------------------------------------------


def test_gradients_are_right() -> None:
    net = PRCGANGenerator((2, 2), (2, 3), latent_shape=(2,), width=4, output="real_imaginary").double().eval()
    intensity = (0.1 + torch.rand(2, 2, 3).double()).requires_grad_()
    latent = torch.randn(2, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(net, (intensity, latent), fast_mode=True)
    assert torch.autograd.gradgradcheck(net, (intensity, latent), fast_mode=True)


def test_latent_optimize_never_reads_unmeasured_pixels() -> None:
    net, intensity = PRCGANGenerator((4, 4), (4, 4), width=8).double(), torch.rand(2, 4, 4).double()
    mask = torch.rand(2, 4, 4) > 0.2
    broken = intensity.masked_fill(~mask, torch.nan)
    expected = latent_optimize(net, intensity, n_iter=3, mask=mask)
    assert expected.isfinite().all()
    torch.testing.assert_close(latent_optimize(net, broken, n_iter=3, mask=mask), expected)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MLP((4, 4), (4, 4), depth=1), "MLP: depth must be an integer of at least 2, got 1."),
        (lambda: MLP((4, 4), (4, 4), width=0), "MLP: width must be an integer of at least 1, got 0."),
        (lambda: MLP((4, 4), (4, 4), output="phase"), "MLP: output must be one of 'nonnegative', 'unit', 'real', "),
        (lambda: MLP((4, 0), (4, 4)), "MLP: object_shape must hold positive sizes, got (4, 0)."),
        (
            lambda: PRCGANGenerator((4, 4), (4, 4), width=4)(torch.rand(2, 4, 4), torch.rand(2, 3)),
            "PRCGANGenerator: latent must have the shape (2, 4, 4), got (2, 3). Give one for each item.",
        ),
        (
            lambda: PRCGANDiscriminator((4, 4), (5, 5), width=4)(torch.rand(3, 4, 4), torch.rand(2, 5, 5)),
            "PRCGANDiscriminator: obj must have the shape (2, 4, 4), got (3, 4, 4). Give one for each item.",
        ),
        (
            lambda: PRCGANDiscriminator((4, 4), (5, 5), width=4)(torch.rand(2, 4, 4), torch.rand(2, 4, 4)),
            "PRCGANDiscriminator: intensity must have the shape (*, 5, 5), got (2, 4, 4).",
        ),
        (
            lambda: latent_optimize(PRCGANGenerator((4, 4), (4, 4), width=4), torch.rand(4, 4), lr=0),
            "latent_optimize: lr must be a finite number above 0",
        ),
    ],
)
def test_wrong_values(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        call()  # type: ignore[operator]


def test_wrong_kinds() -> None:
    with pytest.raises(TypeError, match=r"^latent_optimize: network must be a PRCGANGenerator, got MLP\. Make one"):
        latent_optimize(MLP((4, 4), (4, 4), width=4), torch.rand(4, 4))  # type: ignore[arg-type]
    net = PRCGANGenerator((4, 4), (4, 4), width=4)
    with pytest.raises(TypeError, match=r"^latent_optimize: operator must be an Operator, got Linear\. Use one of"):
        latent_optimize(net, torch.rand(4, 4), operator=nn.Linear(2, 2))
