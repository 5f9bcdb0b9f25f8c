"""Tests of the bridges to deepinv: with deepinv where it can be imported, everywhere with its interface alone."""

from __future__ import annotations

import copy
import math
import sys
import warnings
from types import ModuleType

import pytest
import torch

import like_deepinv
import phaseret as pr
from phaseret.interop import from_deepinv, loss_from_deepinv, loss_to_deepinv, metric_to_deepinv, to_deepinv
from phaseret.testing import assert_adjoint


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
    torch.testing.assert_close(physics.A_vjp(obj.detach(), vector), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("kind", ["FourierIntensity", "FourierMagnitude", "CodedDiffraction"])
def test_their_data_fidelity_has_the_gradient_of_our_measurement(
    deepinv: ModuleType, kind: str, dtype: torch.dtype
) -> None:
    if kind == "CodedDiffraction":
        operator = pr.operators.CodedDiffraction(torch.randn(2, 8, 8, dtype=torch.complex64))
    else:
        operator = getattr(pr.operators, kind)((16, 16))
    physics = to_deepinv(operator, (8, 8), real=not dtype.is_complex)
    measured = physics.A(torch.randn(2, 1, 8, 8, dtype=dtype))
    torch.testing.assert_close(measured, operator(torch.zeros(2, 1, 8, 8)) + measured)
    x = torch.randn(2, 1, 8, 8, dtype=dtype, requires_grad=True)
    (expected,) = torch.autograd.grad((operator(x) - measured).square().sum() / 2, x)
    found = deepinv.optim.L2().grad(x.detach(), measured, physics)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_starts_are_real_for_real_images_and_complex_for_complex_ones(deepinv: ModuleType) -> None:
    operator = pr.operators.FourierIntensity((16, 16))
    measured = operator(torch.rand(2, 1, 8, 8))
    for real in (True, False):
        physics = to_deepinv(operator, (8, 8), real=real)
        for start in (physics.A_adjoint(measured), physics.A_dagger(measured)):
            assert start.shape == (2, 1, 8, 8)
            assert start.is_complex() is not real
        assert physics.B_adjoint(measured).is_complex()


def test_the_proximal_step_descends_to_where_its_gradient_vanishes(deepinv: ModuleType) -> None:
    physics = to_deepinv(pr.operators.FourierIntensity((16, 16)), (8, 8))
    measured, z = physics.A(torch.rand(3, 1, 8, 8)), torch.rand(3, 1, 8, 8)
    for gamma in (0.01, torch.tensor([0.1, 0.2, 0.4]).reshape(3, 1, 1, 1)):
        x = deepinv.optim.L2().prox(z, measured, physics, gamma=gamma)
        slope = gamma * physics.A_vjp(x, physics.A(x) - measured) + x - z
        start = gamma * physics.A_vjp(z, physics.A(z) - measured)
        assert (slope.norm(dim=(-2, -1)) < 0.1 * start.norm(dim=(-2, -1))).all()
    assert torch.equal(deepinv.optim.L2().prox(z, physics.A(z), physics, gamma=1.0), z)


def test_a_copy_of_a_physics_measures_with_its_own_operator(deepinv: ModuleType) -> None:
    masks, obj = torch.randn(2, 8, 8, dtype=torch.complex64), torch.rand(1, 1, 8, 8)
    for duplicate in (copy.deepcopy, lambda physics: physics.clone()):
        physics = to_deepinv(pr.operators.CodedDiffraction(masks.clone()))
        before, other = physics.A(obj), duplicate(physics)
        with torch.no_grad():
            for buffer in other.buffers():
                buffer.mul_(2)
        torch.testing.assert_close(physics.A(obj), before)
        torch.testing.assert_close(other.A(obj), 4 * before)
        torch.testing.assert_close(other.B(obj), 2 * physics.B(obj))


def test_our_metrics_are_called_as_their_metrics(deepinv: ModuleType) -> None:
    obj = torch.rand(3, 2, 8, 8)
    intensity = pr.operators.fourier_intensity(obj, (16, 16))
    for ours in (pr.metrics.psnr, pr.metrics.mse, pr.metrics.r_factor):
        theirs = metric_to_deepinv(ours)
        assert isinstance(theirs, deepinv.loss.metric.Metric)
        assert type(theirs).__name__ == ours.__name__
        estimate = obj.flip(-2, -1) + 0.01
        values = theirs(x_net=estimate, x=obj, y=intensity, physics=None, model=None)
        target = intensity if ours is pr.metrics.r_factor else obj
        torch.testing.assert_close(values, ours(estimate, target, reduction="none").mean(1))
    raw = metric_to_deepinv(pr.metrics.psnr, align=False)
    assert (raw(x_net=obj.flip(-2, -1), x=obj) < 20).all()


def test_deepinv_and_torchmetrics_are_told_the_same_of_which_values_are_better(deepinv: ModuleType) -> None:
    pytest.importorskip("torchmetrics")
    classes = [cls for name in pr.metrics.__all__ if hasattr(cls := getattr(pr.metrics, name), "higher_is_better")]
    assert len(classes) == 10
    for cls in classes:
        assert metric_to_deepinv(cls.function).lower_better is not cls.higher_is_better


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
    for ours in (pr.operators.FourierIntensity((7, 8)), pr.operators.FourierIntensity((7, 8), onesided=True)):
        assert from_deepinv(to_deepinv(ours, (3, 4))) is ours


class Physics(torch.nn.Module):
    """A phase retrieval of random data of any shape behind batch and channel."""

    def __init__(self, *data: int, img_size: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.data, self.img_size = data, img_size
        self.register_buffer("matrix", torch.randn(math.prod(data), 20, dtype=torch.complex64))

    def B(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) @ self.matrix.mT).reshape(-1, *self.data)

    def B_adjoint(self, y: torch.Tensor) -> torch.Tensor:
        assert y.shape[1:] == self.data
        return (y.flatten(1) @ self.matrix.conj()).reshape(-1, 1, 4, 5)


@pytest.mark.parametrize(("data", "given"), [((30,), 1), ((1, 6, 5), 2), ((3, 4, 5), 3)])
def test_data_of_any_number_of_axes_come_from_real_and_complex_objects(data: tuple[int, ...], given: int) -> None:
    for physics, told in ((Physics(*data), given), (Physics(*data, img_size=(1, 4, 5)), None)):
        operator = from_deepinv(physics, data_ndim=told)
        obj = torch.rand(2, 3, 4, 5)
        intensity = operator(obj)
        assert intensity.shape == (2, 3, *data[-given:])
        expected = (obj.flatten(0, 1).flatten(1) + 0j) @ physics.matrix.mT
        torch.testing.assert_close(intensity.flatten(0, 1).flatten(1), expected.abs().square())
        torch.testing.assert_close(operator(obj + 0j), intensity)
        for x in (obj, obj + 1j):
            assert_adjoint(operator, x, torch.randn(*intensity.shape, dtype=torch.complex64))
        assert operator(obj.double()).dtype == torch.float32
        assert copy.deepcopy(operator).double()(obj.double()).dtype == torch.float64


def test_a_physics_of_colour_images_or_of_other_data_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images of one channel, got img_size=\(3, 4, 5\). Make it with"):
        from_deepinv(Physics(30, img_size=(3, 4, 5)))
    with pytest.raises(ValueError, match=r"data_ndim must be 3 for data of the shape \(2, 3, 5\), got 1. Leave it out"):
        from_deepinv(Physics(2, 3, 5, img_size=(1, 4, 5)), data_ndim=1)


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
            lambda operator: from_deepinv(Physics(30)).linear(torch.ones(4)),
            ValueError,
            "obj must ",
        ),
        (
            lambda operator: to_deepinv(operator, real="yes"),
            TypeError,
            "to_deepinv: real must be .* got 'yes'",
        ),
    ],
)
def test_an_error_names_the_option_and_the_rule(deepinv: ModuleType, call, kind, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(kind, match=message):
        call(pr.operators.FourierIntensity((7, 8)))


@pytest.mark.parametrize(
    "call",
    [
        lambda: to_deepinv(pr.operators.FourierIntensity((7, 8))),
        lambda: loss_to_deepinv(pr.losses.PassiveLoss()),
        lambda: metric_to_deepinv(pr.metrics.psnr),
    ],
)
def test_where_deepinv_is_missing_the_error_says_how_to_get_it(call, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setitem(sys.modules, "deepinv", None)
    message = (
        r"^(loss_|metric_)?to_deepinv: deepinv must be importable, got .*Error.*\. Install it with pip install deepinv"
    )
    with pytest.raises(ImportError, match=message):
        call()


def test_a_misspelt_option_of_a_metric_is_answered_at_once() -> None:
    with pytest.raises(TypeError, match=r"^metric_to_deepinv: .*got 'scal'\. Did you mean 'scale'\?"):
        metric_to_deepinv(pr.metrics.psnr, scal=True)


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
        (
            metric_to_deepinv,
            torch.nn.MSELoss(),
            "metric_to_deepinv: metric must be .* got MSELoss. Use one of phaseret.metr",
        ),
        (metric_to_deepinv, pr.metrics.free_pixels, "metric must be a function of an estimate, got free_pixels"),
        (loss_to_deepinv, torch.nn.MSELoss(), "loss_to_deepinv: loss must be a PassiveLoss, .* got MSELoss"),
    ],
)
def test_error_names_the_argument_and_the_rule(function, argument, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TypeError, match=message):
        function(argument)
