"""What the detector counts without the object: subtracted by solvers, added to the model by losses and likelihoods."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import phaseret as pr
from phaseret.cli import main

DOMAINS = ["magnitude", "intensity", "poisson", "autocorrelation"]
SHAPE = (11, 12)


def problem(items: int = 3, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Objects, their intensities and a background of each that no object explains, in double precision."""
    g = torch.Generator().manual_seed(seed)
    obj = torch.rand(items, 5, 6, generator=g, dtype=torch.float64)
    dark = 0.2 + torch.rand(items, *SHAPE, generator=g, dtype=torch.float64)
    return obj, pr.operators.fourier_intensity(obj, SHAPE), dark


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_loss_adds_it_to_the_model(domain: Any, normalize: bool, masked: bool) -> None:
    if domain == "poisson" and normalize:
        return
    obj, intensity, dark = problem()
    measured = intensity.flip(0) + dark
    mask = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(1)) > 0.2 if masked else None
    found = pr.losses.passive_loss(
        obj, measured, domain=domain, mask=mask, background=dark, normalize=normalize, reduction="none"
    )
    counted = torch.ones(3, *SHAPE, dtype=torch.bool) if mask is None else mask
    for value, model, data, inside in zip(found, intensity + dark, measured, counted, strict=True):
        scale = data[inside].mean() if normalize else 1.0
        model, data = model / scale, data / scale
        if domain == "magnitude":
            pixels = (model.sqrt() - data.sqrt()).square()
        elif domain == "poisson":
            pixels = model - data * model.log() + torch.lgamma(data + 1)
        else:  # by Parseval's theorem the autocorrelation has the same value
            pixels = (model - data).square()
        torch.testing.assert_close(value, pixels[inside].mean(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("domain", DOMAINS)
def test_its_gradient_is_that_of_finite_differences_and_zero_at_the_object(domain: Any) -> None:
    obj, intensity, dark = problem(1)
    estimate = obj.flip(-1).contiguous().requires_grad_()

    def loss(x: Tensor) -> Tensor:
        return pr.losses.passive_loss(x, intensity + dark, domain=domain, background=dark)

    assert torch.autograd.gradcheck(loss, estimate, fast_mode=True)
    (gradient,) = torch.autograd.grad(loss(obj.requires_grad_()), obj)
    assert gradient.abs().max() < 1e-6


def test_a_number_one_for_all_and_one_for_each_are_the_same_and_a_call_replaces_it() -> None:
    obj, intensity, _ = problem()
    data = intensity + 0.5
    expected = pr.losses.passive_loss(obj.flip(0), data, background=torch.full(SHAPE, 0.5, dtype=torch.float64))
    for given in (0.5, torch.full((3, *SHAPE), 0.5, dtype=torch.float64), torch.tensor(0.5)):
        torch.testing.assert_close(pr.losses.PassiveLoss(background=given)(obj.flip(0), data), expected)
        torch.testing.assert_close(pr.losses.PassiveLoss(background=7.0)(obj.flip(0), data, background=given), expected)
    assert expected > 1e-4
    assert pr.losses.passive_loss(obj, data, background=0.5) < 1e-20


def test_the_data_may_be_centered_and_computed_in_pieces() -> None:
    obj, intensity, dark = problem()
    data = torch.fft.fftshift(intensity + dark, (-2, -1))
    operator = pr.operators.FourierIntensity(SHAPE, centered=True)
    assert pr.losses.passive_loss(obj, data, operator, background=torch.fft.fftshift(dark, (-2, -1))) < 1e-20
    coded = pr.operators.CodedDiffraction(pr.operators.coded_masks((5, 6), 2), chunk=1)
    light = torch.rand_like(coded(obj))
    assert pr.losses.passive_loss(obj, coded(obj) + light, coded, background=light) < 1e-20


@pytest.mark.parametrize("centered", [False, True])
def test_solvers_subtract_it(centered: bool) -> None:
    _, intensity, dark = problem()
    options: dict[str, Any] = {"support": torch.ones(5, 6, dtype=torch.bool), "constraint": "nonnegative"}
    expected = pr.solvers.RRR(5)(intensity, **options).obj
    data = intensity + dark
    if centered:
        data, dark = torch.fft.fftshift(data, (-2, -1)), torch.fft.fftshift(dark, (-2, -1))
    found = pr.solvers.RRR(5)(data, background=dark, centered=centered, **options).obj
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    one = pr.solvers.reconstruct(intensity[0] + 2, background=2.0, starts=1, schedule="rrr:5", **options).obj
    torch.testing.assert_close(one, expected[0], rtol=1e-8, atol=1e-8)


def test_gradient_methods_subtract_it_and_the_likelihood_holds_it() -> None:
    obj, _, _ = problem(1)
    operator = pr.operators.CodedDiffraction(pr.operators.coded_masks((5, 6), 6))
    data = operator(obj)
    dark = 0.5 + torch.rand(data.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for method in (pr.solvers.wirtinger_flow, pr.solvers.truncated_amplitude_flow):
        expected = method(data, operator, n_iter=5, constraint="nonnegative").obj
        found = method(data + dark, operator, n_iter=5, constraint="nonnegative", background=dark).obj
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
    start = obj + 0.1 * torch.rand(obj.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    refined = pr.solvers.maximum_likelihood(start, data + dark, operator, n_iter=40, background=dark)
    assert (refined.obj - obj).norm() < 1e-3 * (start - obj).norm()
    with pytest.raises(
        ValueError, match=r"maximum_likelihood: background must be above 0, got less\. Use background\.clamp"
    ):
        pr.solvers.maximum_likelihood(start, data, operator, background=torch.zeros(()))


def test_one_that_leaves_nothing_of_a_pattern_is_refused() -> None:
    _, intensity, _ = problem()
    dark = torch.stack([intensity[0] + 1, torch.zeros_like(intensity[1]), torch.zeros_like(intensity[2])])
    rule = "background must be less than the intensity at some measured pixel of every pattern, got one that is not"
    operator = pr.operators.FourierIntensity(intensity.shape[1:])
    support = torch.ones(5, 6, dtype=torch.bool)
    for call in (
        lambda **k: pr.solvers.HIO(2)(intensity, support=support, constraint="real", **k),
        lambda **k: pr.solvers.wirtinger_flow(intensity, operator, object_shape=(5, 6), n_iter=2, **k),
    ):
        for options in ({"background": dark}, {"background": 1e9}):
            with pytest.raises(ValueError, match=rule):
                call(**options)
        mask = torch.ones_like(intensity, dtype=torch.bool)
        mask[1] = dark[1] = intensity[1] > intensity[1].median()
        dark[0], dark[1] = 0, torch.where(mask[1], intensity[1], 0.0)  # what is left of the second was not measured
        call(background=dark)
        with pytest.raises(ValueError, match=rule):
            call(background=dark, mask=mask)
        dark[0], dark[1] = intensity[0] + 1, 0


@pytest.mark.parametrize(
    ("background", "error", "message"),
    [
        (-1.0, ValueError, "background must be a finite number at least 0"),
        ("dark", TypeError, "background must be a finite number at least 0"),
        (torch.zeros(4, 4), ValueError, r"background must broadcast to the intensity \(3, 11, 12\), got \(4, 4\)"),
        (torch.zeros(11, 12, dtype=torch.complex64), TypeError, "background must be real"),
    ],
)
def test_what_is_no_background_is_refused(background: Any, error: type[Exception], message: str) -> None:
    obj, intensity, _ = problem()
    with pytest.raises(error, match=f"passive_loss: {message}"):
        pr.losses.passive_loss(obj, intensity, background=background)
    with pytest.raises(error, match=message):
        pr.solvers.RRR(1)(intensity, support=torch.ones(5, 6, dtype=torch.bool), background=background)


@pytest.mark.parametrize("words", ["", "--roi 2:22,1:23", "--crop 16,18", "--center 9,12"])
def test_the_command_reads_it_as_it_reads_the_pattern(words: str, tmp_path: Path, monkeypatch: Any) -> None:
    """Half of the counts come from it, so that the pattern without it is half of them."""
    monkeypatch.chdir(tmp_path)
    frames = np.random.default_rng(0).integers(1, 1000, (2, 24, 26)).astype(np.float32)
    np.save("data.npy", frames[0])
    np.save("twice.npy", 2 * frames[0])
    np.save("stack.npy", frames)
    np.save("three.npy", 3 * frames)
    line = "--support 5,5 --constraint nonnegative --schedule er:2 --starts 1"
    for pair in (
        ("twice.npy --background data.npy", "data.npy"),
        ("twice.npy twice.npy --background data.npy", "data.npy data.npy"),
        ("three.npy --ndim 2 --background stack.npy", "stack.npy --ndim 2"),
    ):
        found = []
        for number, files in enumerate(pair):
            if "three" in files:
                np.save("stack.npy", 2 * frames)  # three less two
            assert main(shlex.split(f"reconstruct {files} {words} {line} -o {number}.npz --overwrite")) == 0
            if "three" in files:
                np.save("stack.npy", frames)
            found.append(pr.io.load_reconstruction(f"{number}.npz")["obj"])
        torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-3)


def test_a_background_of_nothing_at_all_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("data.npy", np.random.default_rng(0).integers(1, 90, (8, 10)))
    np.save("zeros.npy", np.zeros((8, 10)))
    line = "reconstruct data.npy --support 4,5 --schedule er:2 --starts 1 --quiet --overwrite -o"
    assert main(shlex.split(f"{line} plain.npz")) == main(shlex.split(f"{line} less.npz --background zeros.npy")) == 0
    plain, less = (pr.io.load_reconstruction(name)["obj"] for name in ("plain.npz", "less.npz"))
    torch.testing.assert_close(less, plain)


def test_counts_less_their_background_are_no_counts_to_the_command(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    obj = torch.rand(7, 6, generator=generator)
    counts = torch.poisson(pr.operators.fourier_intensity(30 * obj, (24, 24)) + 9, generator=generator)
    np.save("counts.npy", torch.fft.fftshift(counts).numpy())
    line = "reconstruct counts.npy --whole-frame --schedule er:20 --starts 1 --constraint nonnegative"
    for name, more in (("with", ""), ("less", "--background 9")):
        assert main(shlex.split(f"{line} --output {name}.npz {more}")) == 0
        assert ("counting noise" in capsys.readouterr().out) == (not more)
