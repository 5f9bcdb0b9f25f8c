"""Tests of our operators and metrics in deepinv's own algorithms and trainer: `make test-deepinv` installs it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import phaseret as pr
from phaseret.interop import from_deepinv, metric_to_deepinv, to_deepinv
from phaseret.testing import assert_adjoint

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        import deepinv
    except Exception as error:  # it imports torchvision, which fails in other ways than ImportError
        pytest.skip(f"deepinv cannot be imported: {error!r}", allow_module_level=True)

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning:deepinv"), pytest.mark.filterwarnings("ignore:Complex")]


@pytest.fixture(params=["FourierIntensity", "FourierMagnitude"])
def problem(request: pytest.FixtureRequest) -> tuple[Any, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A physics, two images of boxes, their data and starts that are not far from them."""
    draw = torch.Generator().manual_seed(0)
    obj = torch.zeros(2, 1, 16, 16)
    obj[0, 0, 3:9, 4:12], obj[1, 0, 5:13, 2:7] = 0.8, 0.5
    physics = to_deepinv(getattr(pr.operators, request.param)((32, 32)), (16, 16))
    return physics, obj, physics.A(obj), (obj + 0.1 * torch.randn(obj.shape, generator=draw)).clamp(0, 1)


class Blur(deepinv.models.Denoiser):
    """A denoiser of real images that mixes each with its local mean, the more the more noise there is."""

    def forward(self, x: torch.Tensor, sigma: Any, **_: Any) -> torch.Tensor:
        share = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1, 1, 1).clamp(0, 1)
        return (1 - share) * x + share * torch.nn.functional.avg_pool2d(x, 3, 1, 1)


@pytest.mark.parametrize("algorithm", ["GD", "PGD", "HQS", "ADMM", "DRS", "FISTA"])
def test_plug_and_play_comes_closer_to_the_data_and_to_the_object(algorithm: str, problem: Any) -> None:
    physics, obj, measured, start = problem
    tv = deepinv.models.TVDenoiser(n_it_max=20)
    prior = deepinv.optim.RED(tv) if algorithm == "GD" else deepinv.optim.PnP(tv)
    model = getattr(deepinv.optim, algorithm)(
        data_fidelity=deepinv.optim.L2(), prior=prior, stepsize=0.05, sigma_denoiser=0.01, max_iter=30, early_stop=False
    )
    found = model(measured, physics, init=(start, start))
    assert not found.is_complex()
    assert found.shape == obj.shape
    before, after = ((physics.A(x) - measured).norm() for x in (start, found))
    assert after < before
    assert pr.metrics.mse(found, obj) < pr.metrics.mse(start, obj)
    assert model(measured, physics).dtype == torch.float32  # from the start that deepinv makes itself


def test_diffusion_posterior_sampling_heeds_the_data(problem: Any) -> None:
    physics, obj, measured, _ = problem
    found = {}
    for weight in (0.0, 1.0):
        sampler = deepinv.sampling.DPS(Blur(), num_steps=30, weight=weight)
        found[weight] = sampler(measured, physics, x_init=(2, 1, 16, 16), seed=0)
        assert found[weight].shape == obj.shape
        assert not found[weight].is_complex()
    free, guided = ((physics.A(x) - measured).norm() for x in found.values())
    assert guided < free
    assert sampler(measured, physics, seed=1).shape == obj.shape  # of the shape that the physics gives


def test_diffpir_heeds_the_data(problem: Any) -> None:
    physics, obj, measured, start = problem
    sampler = deepinv.sampling.DiffPIR(Blur(), deepinv.optim.L2(), sigma=0.05, max_iter=20)
    found = sampler(measured, physics, seed=1, x_init=start)
    assert found.shape == obj.shape
    assert not found.is_complex()
    assert (physics.A(found) - measured).norm() < (physics.A(torch.full_like(obj, 0.5)) - measured).norm()
    assert sampler(measured, physics, seed=1).isfinite().all()


def test_their_trainer_shows_our_aligned_metrics(tmp_path: Path) -> None:
    obj = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    physics = to_deepinv(pr.operators.FourierIntensity((16, 16)), (8, 8))

    class Network(deepinv.models.Reconstructor):
        def __init__(self) -> None:
            super().__init__()
            self.net = pr.models.UNet((8, 8), (16, 16), channels=(4, 8))

        def forward(self, y: torch.Tensor, physics: Any, **_: Any) -> torch.Tensor:
            return self.net(y)

    model = Network()
    pairs = [{"x": x, "y": y} for x, y in zip(obj, physics.A(obj), strict=True)]
    loader = torch.utils.data.DataLoader(pairs, batch_size=3)  # type: ignore[arg-type]
    metrics = [metric_to_deepinv(pr.metrics.psnr, scale=True), metric_to_deepinv(pr.metrics.r_factor)]
    trainer = deepinv.Trainer(
        model=model,
        physics=physics,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        train_dataloader=loader,
        epochs=1,
        losses=pr.interop.loss_to_deepinv(pr.losses.PassiveLoss()),
        metrics=metrics,
        online_measurements=False,
        save_path=str(tmp_path),
        verbose=False,
        show_progress_bar=False,
    )
    trainer.train()
    shown = trainer.test(loader, compare_no_learning=False)
    with torch.no_grad():
        estimate = model.eval()(physics.A(obj), physics)
    expected = {
        "psnr": pr.metrics.psnr(estimate, obj, scale=True),
        "r_factor": pr.metrics.r_factor(estimate, physics.A(obj)),
    }
    for name, value in expected.items():
        torch.testing.assert_close(torch.tensor(shown[name]).float(), value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: deepinv.physics.RandomPhaseRetrieval(m=90, img_size=(1, 8, 9)),
        lambda: deepinv.physics.StructuredRandomPhaseRetrieval((1, 8, 9), (1, 16, 18), n_layers=2),
        lambda: deepinv.physics.Ptychography(
            (1, 8, 9), probe=torch.ones(1, 8, 9, dtype=torch.complex64), shifts=torch.tensor([[0, 0], [2, -1], [-3, 1]])
        ),
    ],
    ids=["random", "structured", "ptychography"],
)
def test_their_phase_retrieval_is_one_of_our_operators(make: Any) -> None:
    physics = make()
    operator = from_deepinv(physics)
    obj = torch.rand(2, 3, 8, 9)
    intensity = operator(obj)
    expected = physics.A(obj.reshape(6, 1, 8, 9) + 0j)
    torch.testing.assert_close(intensity.flatten(), expected.flatten())
    for x in (obj, torch.randn_like(obj + 0j)):
        assert_adjoint(operator, x, torch.randn(intensity.shape, dtype=torch.complex64))
    assert pr.losses.passive_loss(obj, intensity, operator) < 1e-8
    field = torch.randn(2, 3, 8, 9, requires_grad=True)
    pr.losses.passive_loss(field, intensity, operator).backward()
    assert field.grad is not None
    found = pr.solvers.maximum_likelihood(obj[0], intensity[0], operator, constraint="real", n_iter=2)
    assert found.obj.shape == (3, 8, 9)
    with pytest.raises(ValueError, match=r"obj must have the shape \(\*, 8, 9\)"):
        operator(torch.rand(9, 8))
