"""Tests of the bridges to deepinv: with deepinv where it can be imported, everywhere with its interface alone."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType

import pytest
import torch

import like_deepinv
import phaseret as pr
from phaseret.interop import from_deepinv, loss_from_deepinv, loss_to_deepinv, to_deepinv


@pytest.fixture(params=["deepinv", "its interface"])
def deepinv(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if request.param == "its interface":
        monkeypatch.setitem(sys.modules, "deepinv", like_deepinv.module())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import deepinv
    except Exception as error:
        pytest.skip(f"deepinv cannot be imported: {error!r}")
    return deepinv


def test_their_measurement_loss_on_our_operator_gives_our_value(deepinv: ModuleType) -> None:
    operator = pr.operators.FourierIntensity((16, 16))
    physics = to_deepinv(operator, (8, 8))
    estimate, intensity = torch.rand(3, 1, 8, 8, requires_grad=True), operator(torch.rand(3, 1, 8, 8))
    theirs = deepinv.loss.MCLoss()(y=intensity, x_net=estimate, physics=physics)
    ours = pr.losses.PassiveLoss(operator, domain="intensity")(estimate, intensity)
    torch.testing.assert_close(theirs, ours)
    torch.testing.assert_close(*(torch.autograd.grad(value, estimate)[0] for value in (theirs, ours)))


def test_our_operator_behaves_as_their_physics(deepinv: ModuleType) -> None:
    operator = pr.operators.FourierIntensity((16, 16))
    physics = to_deepinv(operator, (8, 8), noise_model=deepinv.physics.GaussianNoise(0.1))
    obj = torch.rand(3, 1, 8, 8, dtype=torch.complex64)
    torch.testing.assert_close(physics.A(obj), operator(obj))
    assert not torch.equal(physics(obj), physics.A(obj))
    vector = torch.rand(3, 1, 16, 16)
    (expected,) = torch.autograd.grad((operator(obj.requires_grad_()) * vector).sum(), obj)
    torch.testing.assert_close(physics.A_vjp(obj.detach(), vector + 0j), expected)


def test_our_losses_are_called_as_their_losses(deepinv: ModuleType) -> None:
    obj, estimate = torch.rand(3, 1, 8, 8), torch.rand(3, 1, 8, 8)
    intensity = pr.operators.fourier_intensity(obj, (16, 16))
    physics = to_deepinv(pr.operators.FourierIntensity((16, 16)), (8, 8))
    for ours, target in (
        (pr.losses.PassiveLoss(), intensity),
        (pr.losses.SupervisedLoss(), obj),
        (pr.losses.InvariantLoss(), obj),
    ):
        theirs = loss_to_deepinv(ours)
        assert isinstance(theirs, deepinv.loss.Loss)
        value = theirs(x_net=estimate, x=obj, y=intensity, physics=physics, model=torch.nn.Identity())
        torch.testing.assert_close(value, ours(estimate, target))


def test_their_losses_are_called_as_ours(deepinv: ModuleType) -> None:
    obj, estimate = torch.rand(3, 1, 8, 8), torch.rand(3, 1, 8, 8)
    operator = pr.operators.FourierIntensity((16, 16))
    measured = loss_from_deepinv(deepinv.loss.MCLoss(), to_deepinv(operator, (8, 8)))
    expected = pr.losses.passive_loss(estimate, operator(obj), domain="intensity")
    torch.testing.assert_close(measured(estimate, operator(obj)), expected)
    supervised = loss_from_deepinv(deepinv.loss.SupLoss(torch.nn.MSELoss()))
    torch.testing.assert_close(supervised(estimate, obj), pr.losses.supervised_loss(estimate, obj))


@pytest.mark.filterwarnings("ignore:Complex modules:UserWarning")
def test_their_random_operator_is_one_of_ours(deepinv: ModuleType) -> None:
    physics = deepinv.physics.RandomPhaseRetrieval(m=90, img_size=(1, 4, 5), rng=torch.Generator().manual_seed(0))
    operator = from_deepinv(physics)
    obj = torch.randn(2, 3, 4, 5, dtype=torch.complex64)
    intensity = operator(obj)
    assert intensity.shape == (2, 3, 90)
    torch.testing.assert_close(intensity[1, 2], physics.A(obj[1, 2][None, None])[0])
    field = torch.randn(2, 3, 90, dtype=torch.complex64)
    torch.testing.assert_close(
        torch.vdot(field.flatten(), operator.linear(obj).flatten()),
        torch.vdot(operator.adjoint(field).flatten(), obj.flatten()),
        rtol=1e-4,
        atol=1e-4,
    )
    assert pr.losses.PassiveLoss(operator)(obj, intensity) < 1e-8


def test_an_operator_that_went_to_deepinv_and_back_is_the_same(deepinv: ModuleType) -> None:
    ours = pr.operators.FourierIntensity((7, 8))
    back = from_deepinv(to_deepinv(ours, (3, 4)), data_ndim=2)
    obj, field = torch.randn(2, 5, 3, 4, dtype=torch.complex64), torch.randn(2, 5, 7, 8, dtype=torch.complex64)
    torch.testing.assert_close(back(obj), ours(obj))
    torch.testing.assert_close(back.linear(obj[0, 0]), ours.linear(obj[0, 0]))
    torch.testing.assert_close(back.adjoint(field), ours.adjoint(field, (3, 4)))
    torch.testing.assert_close(back.adjoint(field[0, 0]), ours.adjoint(field[0, 0], (3, 4)))


def test_their_physics_holds_our_operator_and_moves_its_buffers(deepinv: ModuleType) -> None:
    operator = pr.operators.CodedDiffraction(torch.ones(2, 3, 4, dtype=torch.complex64), (7, 8))
    physics = to_deepinv(operator).to("meta")
    assert operator in list(physics.modules())
    assert [buffer.device.type for buffer in operator.buffers()] == ["meta"]


def test_a_loss_without_a_physics_is_given_none(deepinv: ModuleType) -> None:
    class Asks(torch.nn.Module):
        def forward(self, **given: object) -> object:
            return given

    estimate, target = torch.zeros(2), torch.ones(2)
    physics = to_deepinv(pr.operators.FourierIntensity((7, 8)))
    for kept in (None, physics):
        given = loss_from_deepinv(Asks(), kept)(estimate, target)
        assert given == {"x_net": estimate, "x": target, "y": target, "physics": kept, "model": None}


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda operator: to_deepinv(operator, noise_model=0.1),
            TypeError,
            "to_deepinv: noise_model must be callable, got float. Use one of deepinv.physics, such as GaussianNoise",
        ),
        (
            lambda operator: to_deepinv(operator, (0, 4)),
            ValueError,
            r"object_shape must hold positive sizes, got \(0, 4\)",
        ),
        (
            lambda operator: from_deepinv(to_deepinv(operator), data_ndim=0),
            ValueError,
            "from_deepinv: data_ndim must be .* 0",
        ),
        (
            lambda operator: loss_from_deepinv(torch.nn.Identity(), "physics"),
            TypeError,
            "loss_from_deepinv: physics must be .* got str. Use a deepinv physics, such as to_deepinv gives",
        ),
        (
            lambda operator: from_deepinv(to_deepinv(operator, (3, 4))).linear(torch.ones(4)),
            ValueError,
            "obj must ",
        ),
    ],
)
def test_an_error_names_the_option_and_the_rule(deepinv: ModuleType, call, kind, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(kind, match=message):
        call(pr.operators.FourierIntensity((7, 8)))


@pytest.mark.parametrize(
    "call",
    [lambda: to_deepinv(pr.operators.FourierIntensity((7, 8))), lambda: loss_to_deepinv(pr.losses.PassiveLoss())],
)
def test_where_deepinv_is_missing_the_error_says_how_to_get_it(call, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(sys.modules, "deepinv", None)
    message = r"^(loss_)?to_deepinv: deepinv must be importable, got .*Error.*\. Install it with pip install deepinv"
    with pytest.raises(ImportError, match=message):
        call()


@pytest.mark.parametrize(
    ("function", "argument", "message"),
    [
        (to_deepinv, "fourier", "to_deepinv: operator must be an Operator, got str"),
        (
            from_deepinv,
            torch.nn.Identity(),
            "from_deepinv: physics must have a linear part B and its B_adjoint, got Identity",
        ),
        (loss_from_deepinv, "mc", "loss_from_deepinv: loss must be a deepinv loss, got str"),
        (loss_to_deepinv, torch.nn.MSELoss(), "loss_to_deepinv: loss must be a PassiveLoss, .* got MSELoss"),
    ],
)
def test_error_names_the_argument_and_the_rule(function, argument, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TypeError, match=message):
        function(argument)
