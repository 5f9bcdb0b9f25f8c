"""Tests of data below 2n - 1 samples on request: one word in operators, losses, metrics, solvers and networks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import phaseret as pr
from phaseret.testing import assert_adjoint

OBJ = torch.rand(2, 6, 5, generator=torch.Generator().manual_seed(0))
SHAPE = (8, 7)
DATA = torch.fft.fft2(OBJ, SHAPE, norm="ortho").abs().square()
SUPPORT = torch.ones(6, 5, dtype=torch.bool)
CALLS: dict[str, Callable[..., Any]] = {
    "FourierIntensity": lambda **o: pr.operators.FourierIntensity(SHAPE, **o)(OBJ),
    "FourierIntensity.adjoint": lambda **o: pr.operators.FourierIntensity(SHAPE, **o).adjoint(DATA, (6, 5)),
    "FourierMagnitude": lambda **o: pr.operators.FourierMagnitude(SHAPE, **o)(OBJ),
    "fourier_intensity": lambda **o: pr.operators.fourier_intensity(OBJ, SHAPE, **o),
    "fourier_magnitude": lambda **o: pr.operators.fourier_magnitude(OBJ, SHAPE, **o),
    "passive_loss": lambda **o: pr.losses.passive_loss(OBJ, DATA, **o),
    "passive_loss with operator": lambda **o: pr.losses.passive_loss(
        OBJ, DATA, pr.operators.FourierIntensity(SHAPE), **o
    ),
    "PassiveLoss": lambda **o: pr.losses.PassiveLoss(**o)(OBJ, DATA),
    "relative_magnitude_error": lambda **o: pr.metrics.relative_magnitude_error(OBJ, DATA, **o),
    "r_factor": lambda **o: pr.metrics.r_factor(OBJ, DATA, **o),
    "RFactor": lambda **o: pr.metrics.RFactor(**o)(OBJ, DATA),
    "poisson_log_likelihood": lambda **o: pr.metrics.poisson_log_likelihood(OBJ, DATA, **o),
    "prtf": lambda **o: pr.metrics.prtf(OBJ, DATA[0], **o),
    "HIO": lambda **o: pr.solvers.HIO(2)(DATA, support=SUPPORT, constraint="nonnegative", **o),
    "reconstruct": lambda **o: pr.solvers.reconstruct(
        DATA, schedule="hio:2", support=SUPPORT, constraint="nonnegative", starts=1, **o
    ),
    "prdeep": lambda **o: pr.models.prdeep(DATA, lambda x, s: x, init=torch.rand(2, 6, 5), sigmas=[0.1], n_iter=1, **o),
    "UNet": lambda **o: pr.models.UNet((6, 5), SHAPE, channels=(4, 4), **o)(DATA),
    "CorrelographyNet": lambda **o: pr.models.CorrelographyNet((6, 5), SHAPE, channels=(4, 4), **o)(DATA),
    "Unrolled": lambda **o: pr.models.Unrolled((6, 5), SHAPE, stages=1, n_iter=1, channels=2, **o)(DATA),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_error_names_the_word_with_which_the_call_works_and_warns_once(name: str) -> None:
    call, called = CALLS[name], name.split()[0]
    with pytest.raises(ValueError, match=rf"^{called}: .*2n-1 .*undersampled=True where such data are wanted"):
        call()
    said = rf"^{called}: data of the shape \(8, 7\) do not determine an object of shape \(6, 5\), .* \(11, 9\) = 2n-1"
    with pytest.warns(UserWarning, match=said) as heard:
        call(undersampled=True)
    assert len(heard) == 1
    call(undersampled=True)  # a warning would be an error
    with pytest.raises(TypeError, match="undersampled must be True or False, got 'yes'"):
        call(undersampled="yes")


def test_a_grid_smaller_than_the_object_is_refused_with_the_word_too() -> None:
    with pytest.raises(ValueError, match=r"got \(5, 8\). Use min_fourier_shape\(\(6, 5\)\)\.$"):
        pr.operators.fourier_intensity(OBJ, (5, 8), undersampled=True)
    with pytest.raises(ValueError, match=r"fourier_shape must be at least .* got \(8, 7\)"):
        pr.solvers.HIO(2)(DATA, support=torch.ones(9, 5, dtype=torch.bool), undersampled=True)


def test_an_operator_that_was_made_with_the_word_needs_it_no_more_elsewhere() -> None:
    operator = pr.operators.FourierIntensity(SHAPE, undersampled=True)
    with pytest.warns(UserWarning, match="PassiveLoss: data of the shape"):
        assert pr.losses.PassiveLoss(operator)(OBJ, DATA) < 1e-10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert pr.metrics.r_factor(OBJ, DATA, operator) < 1e-4


def test_the_word_changes_nothing_where_the_data_determine_the_object() -> None:
    intensity = pr.operators.fourier_intensity(OBJ, (11, 9))
    assert torch.equal(pr.operators.fourier_intensity(OBJ, (11, 9), undersampled=True), intensity)
    plain, allowed = (pr.models.UNet((6, 5), (11, 9), channels=(4, 4), undersampled=u) for u in (False, True))
    assert plain.load_state_dict(allowed.state_dict())
    coded = pr.operators.CodedDiffraction(torch.ones(2, 6, 5))
    assert pr.losses.passive_loss(OBJ, coded(OBJ), coded, undersampled=True) < 1e-10


@st.composite
def small_grids(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    return tuple(sizes), tuple(draw(st.integers(n, max(n, 2 * n - 1))) for n in sizes)


def plane(obj: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The transform as a sum over the pixels of the object: nothing is padded or wrapped around."""
    for axis, (n, m) in enumerate(zip(obj.shape[-len(shape) :], shape, strict=True), obj.ndim - len(shape)):
        k, x = torch.arange(m, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
        matrix = torch.exp(-2j * torch.pi * k * x / m) / m**0.5
        obj = torch.tensordot(obj.to(torch.complex128), matrix, ([axis], [1])).movedim(-1, axis)
    return obj


@pytest.mark.filterwarnings("ignore:.*do not determine")
@given(small_grids(), st.booleans(), st.integers(0, 2**31))
def test_values_and_adjoint_are_those_of_the_transform(grids: Any, real: bool, seed: int) -> None:
    (sizes, shape), draw = grids, torch.Generator().manual_seed(seed)
    obj = torch.randn(2, *sizes, dtype=torch.float64 if real else torch.complex128, generator=draw)
    operator = pr.operators.FourierIntensity(shape, undersampled=True)
    torch.testing.assert_close(operator(obj), plane(obj, shape).abs().square())
    assert_adjoint(operator, obj, torch.randn(2, *shape, dtype=torch.complex128, generator=draw))
    if real:
        half = pr.operators.FourierIntensity(shape, onesided=True, undersampled=True)
        torch.testing.assert_close(half(obj), operator(obj)[..., : shape[-1] // 2 + 1])


@pytest.mark.filterwarnings("ignore:.*do not determine")
@pytest.mark.parametrize("domain", ["magnitude", "intensity", "poisson", "autocorrelation"])
@given(small_grids(), st.booleans(), st.integers(0, 2**31))
def test_the_passive_loss_is_exact_with_what_wraps_around(domain: Any, grids: Any, real: bool, seed: int) -> None:
    (sizes, shape), draw = grids, torch.Generator().manual_seed(seed)
    dtype = torch.float64 if real else torch.complex128
    estimate = torch.randn(2, *sizes, dtype=dtype, generator=draw).requires_grad_()
    intensity = torch.rand(2, *shape, dtype=torch.float64, generator=draw)
    operator = pr.operators.FourierIntensity(shape, undersampled=True)
    value = pr.losses.passive_loss(estimate, intensity, operator, domain=domain)
    power = plane(estimate, shape).abs().square()
    if domain == "magnitude":
        slow = (power.sqrt() - intensity.sqrt()).square()
    elif domain == "poisson":
        power = power + torch.finfo(torch.float64).eps * intensity.mean(tuple(range(1, intensity.ndim)), keepdim=True)
        slow = power - intensity * power.log() + torch.lgamma(intensity + 1)
    else:
        slow = (power - intensity).square()
    torch.testing.assert_close(value, slow.mean(), rtol=1e-6, atol=1e-9)
    found, expected = (torch.autograd.grad(v, estimate, retain_graph=True)[0] for v in (value, slow.mean()))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.filterwarnings("ignore:.*do not determine")
def test_a_solver_explains_such_data_within_the_support() -> None:
    result = pr.solvers.ErrorReduction(100)(DATA, support=SUPPORT, constraint="nonnegative", undersampled=True)
    assert result.obj.shape == OBJ.shape
    first = pr.solvers.ErrorReduction(1)(DATA, support=SUPPORT, constraint="nonnegative", undersampled=True)
    assert (result.error < first.error).all()


@pytest.mark.filterwarnings("ignore:.*do not determine")
@pytest.mark.parametrize(
    ("sizes", "shape"), [((6, 5), (8, 7)), ((6, 5), (6, 12)), ((4,), (4,)), ((3, 4, 5), (4, 7, 9))]
)
def test_a_network_for_such_data_is_a_network_of_all_pixels(sizes: tuple[int, ...], shape: tuple[int, ...]) -> None:
    for representation in ("magnitude", "root_autocorrelation"):
        options = {"channels": (2, 4), "representation": representation, "output": "real", "undersampled": True}
        net = pr.models.UNet(sizes, shape, **options)
        data = torch.rand(3, *shape, requires_grad=True)
        found = net(data)
        assert found.shape == (3, *sizes)
        (gradient,) = torch.autograd.grad(net.eval()(data).square().sum(), data)
        assert (gradient != 0).any()
        assert pr.models.UNet(**net.options).options == net.options
