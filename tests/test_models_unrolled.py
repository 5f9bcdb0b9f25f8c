"""Networks around projections and solvers: Unrolled, IterativeRefinement, ResidualNet."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from phaseret.losses import passive_loss
from phaseret.metrics import mse
from phaseret.models import DnCNN, IterativeRefinement, ResidualNet, Unrolled
from phaseret.noise import poisson_noise
from phaseret.operators import FourierIntensity, Fresnel, Gaussian, fourier_intensity, gaussian_matrix
from phaseret.solvers import HIO, RAAR


def spots(count: int, n: int = 8) -> Tensor:
    """A few bright pixels, blurred."""
    obj = torch.rand(count, n, n) * (torch.rand(count, n, n) > 0.8)
    return nn.functional.avg_pool2d(obj, 3, 1, 1) * 4


def fit(parameters: object, steps: int, lr: float, loss: object) -> list[float]:
    optimizer, values = torch.optim.Adam(parameters, lr), []  # type: ignore[arg-type]
    for _ in range(steps):
        value = loss()  # type: ignore[operator]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("constraint", ["nonnegative", "real", "complex"])
@pytest.mark.parametrize(("algorithm", "solver"), [("hio", HIO), ("raar", RAAR)])
@pytest.mark.parametrize(("object_shape", "fourier_shape"), [((6, 5), (12, 11)), ((7,), (15,))])
def test_untrained_network_is_the_algorithm(
    algorithm: str, solver: type, constraint: str, object_shape: tuple[int, ...], fourier_shape: tuple[int, ...]
) -> None:
    dtype = torch.complex128 if constraint == "complex" else torch.float64
    obj, init = torch.rand(2, *object_shape, dtype=dtype), torch.rand(2, *object_shape, dtype=dtype)
    intensity = 9 * fourier_intensity(obj, fourier_shape)
    net = Unrolled(
        object_shape,
        fourier_shape,
        algorithm=algorithm,
        stages=3,
        n_iter=4,
        beta=0.8,
        constraint=constraint,
        channels=3,
    ).double()
    support = torch.ones(object_shape, dtype=torch.bool)
    # the solver gives the estimate before its last iteration, the network the one after it
    expected = solver(n_iter=13, beta=0.8)(
        intensity, support=support, constraint=constraint, init=init, ndim=len(object_shape)
    ).obj
    torch.testing.assert_close(net(intensity, init), expected, rtol=1e-4, atol=1e-4)


def test_start_may_lie_on_the_grid_of_the_data() -> None:
    net, intensity, init = Unrolled((4, 5), (8, 9), stages=1, n_iter=2), torch.rand(3, 8, 9), torch.rand(3, 4, 5)
    padded = nn.functional.pad(init, (0, 4, 0, 4))
    torch.testing.assert_close(net(intensity, padded), net(intensity, init))


@pytest.mark.parametrize("sees", ["approximant", "intensity"])
def test_residual_network_sees_what_it_says(sees: str) -> None:
    operator = Fresnel((6, 6), fresnel_number=0.2)
    net = ResidualNet(operator, (6, 6), sees=sees, channels=(3,)).double()
    intensity, seen = torch.rand(6, 6).double(), []
    net.first.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0][0].numpy()))
    net(intensity[None].expand(2, 6, 6))
    if sees == "intensity":
        expected = intensity.numpy()[None] / intensity.mean().numpy()
    else:
        u = np.fft.fftfreq(6)
        kernel = np.exp(1j * np.pi * (u[:, None] ** 2 + u**2) / 0.2)
        wave = np.fft.ifft2(kernel * np.fft.fft2(np.sqrt(intensity.numpy())))
        wave /= np.sqrt(np.mean(np.abs(wave) ** 2))
        expected = np.stack([wave.real, wave.imag])
    np.testing.assert_allclose(seen[0], expected, atol=1e-9)


def test_refinement_alternates_solvers_and_networks() -> None:
    calls: list[object] = []

    def solver(intensity: Tensor, init: Tensor | None = None) -> Tensor:
        calls.append(None if init is None else init.clone())
        return intensity.sqrt() if init is None else init + 1

    net = IterativeRefinement(solver, [nn.Identity(), nn.ReLU()])
    intensity = torch.rand(2, 4, 4)
    torch.testing.assert_close(net(intensity), intensity.sqrt() + 1)
    assert calls[0] is None
    torch.testing.assert_close(calls[1], intensity.sqrt())
    torch.testing.assert_close(net.before(intensity, 0), intensity.sqrt())


# --- properties -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1e-3, 50.0])
def test_unrolled_estimate_scales_with_the_object(factor: float) -> None:
    net, intensity = Unrolled((4, 5), (8, 9), stages=2, n_iter=2, channels=3).double(), torch.rand(3, 8, 9).double()
    nn.init.normal_(net.networks[0][2].weight)
    torch.testing.assert_close(net(factor**2 * intensity), factor * net(intensity))


def test_the_loss_of_unrolled_iterations_falls_along_its_gradient() -> None:
    """Through chaotic iterations a few steps of an optimizer may end anywhere; the gradient itself may not."""
    net = Unrolled((8, 8), (16, 16), stages=2, n_iter=3, channels=8).double()
    intensity = fourier_intensity(spots(8).double(), (16, 16))
    before = passive_loss(net(intensity), intensity)
    before.backward()
    assert net.beta.grad is not None
    assert (net.beta.grad.isfinite() & (net.beta.grad != 0)).all()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in net.parameters()]
    norm = torch.stack([g.norm() for g in gradients]).norm()
    start = [p.detach().clone() for p in net.parameters()]
    losses = []
    for length in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7):
        with torch.no_grad():
            for p, s, g in zip(net.parameters(), start, gradients, strict=True):
                p.copy_(s - length / norm * g)
            losses.append(passive_loss(net(intensity), intensity).item())
    assert min(losses) < before.item()


@pytest.mark.parametrize("channels", [0, 3])
def test_stages_are_estimates_of_their_own_that_end_in_that_of_a_call(channels: int) -> None:
    torch.manual_seed(0)
    net = Unrolled((4, 5), (8, 9), stages=3, n_iter=2, channels=channels).double()
    for network in net.networks:
        nn.init.normal_(network[2].weight)
    intensity, init = torch.rand(2, 8, 9).double(), torch.rand(2, 4, 5).double()
    estimates = net.estimates(intensity, init)
    torch.testing.assert_close(estimates[-1], net(intensity, init))
    first = Unrolled((4, 5), (8, 9), stages=1, n_iter=2, channels=channels).double()
    own = {name: value for name, value in net.state_dict().items() if not name.startswith(("networks.1", "networks.2"))}
    first.load_state_dict({**own, "beta": net.beta.detach()[:1]})
    torch.testing.assert_close(estimates[0], first(intensity, init))
    (gradient,) = torch.autograd.grad(estimates[1].sum(), net.beta)
    assert (gradient != 0).tolist() == [False, True, False]


def test_unrolled_learns_stage_by_stage() -> None:
    """Losses of the training end at 0.5 to 0.8 of their start, whatever the seed: their median well below one."""
    falls = []
    for _ in range(3):
        net = Unrolled((8, 8), (16, 16), algorithm="raar", stages=3, n_iter=4, channels=8)
        intensity = fourier_intensity(spots(64), (16, 16))
        data = intensity.expand(3, *intensity.shape)
        losses = fit(net.parameters(), 25, 1e-2, lambda: passive_loss(net.estimates(intensity), data))  # noqa: B023
        falls.append(losses[-1] / losses[0])
    assert sorted(falls)[1] < 0.85


@pytest.mark.parametrize(
    ("sees", "output"), [("approximant", "phase"), ("intensity", "phase"), ("approximant", "real")]
)
def test_residual_network_learns(sees: str, output: str) -> None:
    torch.manual_seed(0)
    operator = Fresnel((8, 8), fresnel_number=0.2)
    phase = spots(32)
    obj = torch.exp(1j * phase) if output == "phase" else phase
    intensity = poisson_noise(operator(obj), photons_per_pixel=10)
    net = ResidualNet(operator, (8, 8), sees=sees, output=output, channels=(8, 16))
    losses = fit(net.parameters(), 40, 1e-2, lambda: (net(intensity) - obj).abs().square().mean())
    assert losses[-1] < 0.3 * losses[0]


def test_residual_network_takes_any_operator() -> None:
    obj = torch.rand(2, 3, 4, 5)
    for operator in (FourierIntensity((9, 10)), Fresnel((8, 8), fresnel_number=[0.1, 0.2])):
        net = ResidualNet(operator, (4, 5), output="real", channels=(3, 4)).eval()
        assert net(operator(obj)).shape == (2, 3, 4, 5)
    vector = Gaussian(gaussian_matrix((5,), 20))
    assert ResidualNet(vector, (5,), channels=(3,)).eval()(vector(torch.rand(2, 5))).shape == (2, 5)


def test_refinement_learns_to_clean_what_its_solver_gives() -> None:
    torch.manual_seed(0)
    obj = spots(32)
    intensity = poisson_noise(fourier_intensity(obj, (16, 16)), photons_per_pixel=50)
    support = torch.ones(8, 8, dtype=torch.bool)
    solver = partial(HIO(n_iter=20), support=support, constraint="nonnegative")
    net = IterativeRefinement(solver, [DnCNN(depth=3, channels=8), DnCNN(depth=3, channels=8)])
    for stage, network in enumerate(net.networks):
        given = net.before(intensity, stage)
        fit(network.parameters(), 40, 1e-2, lambda network=network, given=given: (network(given) - obj).square().mean())
        network.eval()
    first, last = net.before(intensity, 0), net(intensity)
    assert mse(last, obj, align=False).mean() < 0.9 * mse(first, obj, align=False).mean()
    assert not net.before(intensity, 1).requires_grad


def test_state_of_the_refinement_is_that_of_its_networks() -> None:
    net = IterativeRefinement(HIO(n_iter=2), [DnCNN(depth=2, channels=2) for _ in range(2)])
    other = IterativeRefinement(HIO(n_iter=2), [DnCNN(depth=2, channels=2) for _ in range(2)])
    other.load_state_dict(net.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("constraint", ["real", "complex"])
def test_gradients_are_right(constraint: str) -> None:
    net = Unrolled((2, 2), (3, 4), stages=2, n_iter=1, constraint=constraint, channels=2).double()
    for network in net.networks:
        nn.init.normal_(network[2].weight, std=0.1)
    intensity = (0.1 + torch.rand(1, 3, 4).double()).requires_grad_()
    assert torch.autograd.gradcheck(net, intensity, fast_mode=True)
    near = ResidualNet(Fresnel((3, 3), fresnel_number=0.3), (3, 3), channels=(2,)).double().eval()
    assert torch.autograd.gradcheck(near, (0.1 + torch.rand(1, 3, 3).double()).requires_grad_(), fast_mode=True)


def test_unrolled_leaves_unmeasured_pixels_free() -> None:
    obj, mask = torch.rand(3, 4, 5).double(), torch.rand(3, 8, 9) > 0.1
    intensity = fourier_intensity(obj, (8, 9))
    net = Unrolled((4, 5), (8, 9), stages=1, n_iter=2, channels=0, constraint="real").double()
    torch.testing.assert_close(net(intensity.masked_fill(~mask, torch.nan), obj, mask=mask), obj)
    torch.testing.assert_close(net.estimates(intensity, obj, mask=mask)[-1], net(intensity, obj, mask=mask))
    assert not torch.allclose(net(intensity.where(mask, 0), obj), obj, atol=1e-3)


def test_refinement_gives_the_mask_to_its_solvers() -> None:
    intensity, mask, seen = torch.rand(2, 8, 8), torch.rand(2, 8, 8) > 0.2, []

    def solver(data: Tensor, **options: Tensor) -> Tensor:
        seen.append(options.get("mask"))
        return data[..., :4, :4]

    net = IterativeRefinement(solver, [nn.Identity(), nn.Identity()])
    net(intensity, mask=mask[0])
    assert len(seen) == 2
    assert all(given is not None and torch.equal(given, mask[:1].expand(2, 8, 8)) for given in seen)
    net(intensity)
    assert seen[2:] == [None, None]


# --- errors -----------------------------------------------------------------------------------------------------------

NEAR = Fresnel((6, 6), fresnel_number=0.2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Unrolled((4, 4), (6, 8)), ValueError, "Unrolled: fourier_shape must be at least (7, 7) = 2n-1"),
        (
            lambda: Unrolled((4,), (8,), algorithm="er"),
            ValueError,
            "Unrolled: algorithm must be one of 'hio', 'raar', got",
        ),
        (
            lambda: Unrolled((4,), (8,), constraint="positive"),
            ValueError,
            "Unrolled: constraint must be one of 'complex'",
        ),
        (
            lambda: Unrolled((4,), (8,), stages=0),
            ValueError,
            "Unrolled: stages must be an integer of at least 1, got 0.",
        ),
        (lambda: Unrolled((4,), (8,), beta=0), ValueError, "Unrolled: beta must be a finite number above 0"),
        (
            lambda: Unrolled((4,), (8,))(torch.rand(2, 8), torch.rand(4)),
            ValueError,
            "Unrolled: init must have the shape (2, 4) or (2, 8), got (4,).",
        ),
        (
            lambda: Unrolled((4,), (8,))(torch.rand(8), torch.rand(4) + 0j),
            TypeError,
            "Unrolled: init must be real for constraint='nonnegative', got torch.complex64. Use init.real.",
        ),
        (
            lambda: ResidualNet(nn.ReLU(), (6, 6)),
            TypeError,
            "ResidualNet: operator must be an Operator, got ReLU. Use one of",
        ),
        (lambda: ResidualNet(NEAR, (6,)), ValueError, "ResidualNet: object_shape must have 2 sizes, got (6,)."),
        (
            lambda: ResidualNet(NEAR, (6, 6), sees="phase"),
            ValueError,
            "ResidualNet: sees must be one of 'approximant', 'i",
        ),
        (
            lambda: ResidualNet(NEAR, (6, 6), output="x"),
            ValueError,
            "ResidualNet: output must be one of 'phase', 'nonneg",
        ),
        (
            lambda: ResidualNet(FourierIntensity((12, 12)), (6, 6), sees="intensity"),
            ValueError,
            "ResidualNet: sees='intensity' must have data of the object's shape (6, 6), got (12, 12). Use sees='approx",
        ),
        (
            lambda: IterativeRefinement(HIO(2), []),
            ValueError,
            "IterativeRefinement: networks must hold at least one netw",
        ),
        (
            lambda: IterativeRefinement(HIO(2), [3]),
            TypeError,
            "IterativeRefinement: networks must hold torch.nn.Modules, got int.",
        ),
        (
            lambda: IterativeRefinement(3, [nn.ReLU()]),
            TypeError,
            "IterativeRefinement: solvers must hold what can be calle",
        ),
        (
            lambda: IterativeRefinement([HIO(2), HIO(2)], [nn.ReLU()]),
            ValueError,
            "IterativeRefinement: solvers must be one or 1, one for each network, got 2.",
        ),
        (
            lambda: IterativeRefinement(lambda y: 3, [nn.ReLU()])(torch.rand(4)),
            TypeError,
            "IterativeRefinement: solvers must give a tensor, or a result with a tensor obj, got int.",
        ),
        (
            lambda: IterativeRefinement(HIO(2), [nn.ReLU()]).before(torch.rand(4, 4), 1),
            ValueError,
            "IterativeRefinement.before: stage must be below 1, the number of networks, got 1.",
        ),
    ],
)
def test_wrong_arguments(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        call()  # type: ignore[operator]
