"""Hot pixels: a question in every function that looks at measured values, and none of what an object scatters."""

from __future__ import annotations

import itertools
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import phaseret as pr


def scene(ndim: int, kind: str, size: int, seed: int) -> Tensor:
    """An object of one of the kinds whose patterns have the sharpest peaks."""
    draw, shape = torch.Generator().manual_seed(seed), (size,) * ndim
    if kind == "uniform":
        return torch.ones(shape)
    if kind == "random":
        return torch.rand(shape, generator=draw)
    obj = torch.zeros(shape)
    if kind == "corners":
        for corner in itertools.product((0, -1), repeat=ndim):
            obj[corner] = 1
    elif kind == "points":
        places = torch.randint(math.prod(shape), (3,), generator=draw)
        obj.view(-1)[places] = 1
    else:  # bars
        obj[:: 2 + seed % 3] = 1
    return obj


@given(
    st.sampled_from([(1, 20), (2, 12), (3, 10)]),
    st.sampled_from(["uniform", "random", "corners", "points", "bars"]),
    st.sampled_from([1.6, 2.0, 2.5, 4.0]),
    st.sampled_from([0.0, 30.0, 1e6]),
    st.integers(0, 2**32 - 1),
)
def test_no_pattern_of_an_object_that_is_sampled_finely_is_asked_about(
    place: tuple[int, int], kind: str, sampling: float, photons: float, seed: int
) -> None:
    ndim, size = place
    shape = (max(16, math.ceil(sampling * size)),) * ndim
    obj = scene(ndim, kind, size, seed % 1000)
    intensity = torch.fft.fftn(obj.double(), shape).abs().square()
    if photons:
        rate = (intensity * photons / intensity.sum()).numpy()
        intensity = torch.from_numpy(np.random.default_rng(seed).poisson(rate).astype(float))
    if bool((intensity > 0).any()):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", ".*outshines")
            pr.operators.validate(intensity, ndim=ndim)


@given(st.sampled_from([(1, 20), (2, 12), (3, 10)]), st.data(), st.integers(0, 1000))
def test_hot_pixels_are_named_and_the_mask_that_is_given_leaves_them_out(
    place: tuple[int, int], data: st.DataObject, seed: int
) -> None:
    ndim, size = place
    shape = (2 * size,) * ndim
    intensity = torch.fft.fftn(scene(ndim, "random", size, seed).double(), shape).abs().square()
    intensity = intensity / size**ndim
    pixels = st.tuples(*(st.integers(0, m - 1) for m in shape))
    hot = data.draw(st.lists(pixels, min_size=1, max_size=ndim, unique=True))
    for number, pixel in enumerate(hot):
        intensity[pixel] = 1e7 + 1e6 * number
    with pytest.warns(UserWarning, match="outshines") as caught:
        pr.operators.validate(intensity, ndim=ndim)
    text = str(caught[0].message)
    assert f"the pixel {hot[-1]}" in text
    assert ("one of" in text) == (len(hot) > 1)
    level = float(text.rpartition("< ")[2].rstrip("."))
    mask = intensity < level
    assert int((~mask).sum()) == len(hot)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pr.operators.validate(intensity, mask=mask, ndim=ndim)


def test_the_advice_keeps_the_mask_and_is_of_the_data_as_they_are() -> None:
    intensity, mask = hot_pattern(), torch.ones(24, 24, dtype=torch.bool)
    with pytest.warns(UserWarning, match="leave it out: mask &= intensity < "):
        pr.operators.validate(intensity, mask=mask)
    estimate = torch.rand(12, 12, requires_grad=True) * 1
    with pytest.warns(UserWarning, match=r"leave it out: mask = intensity < ") as caught:
        pr.losses.passive_loss(estimate, intensity + 5000, background=4999.0)
    assert float(str(caught[0].message).rpartition("< ")[2].rstrip(".")) > 5000
    half = (intensity / 1e4).half()
    with pytest.warns(UserWarning, match="outshines"):
        pr.operators.validate(half)


def hot_pattern() -> Tensor:
    intensity = pr.operators.fourier_intensity(scene(2, "random", 10, 0), (24, 24))
    intensity[5, 9] = 1e8
    return intensity


def test_every_door_asks() -> None:
    intensity, support = hot_pattern(), torch.ones(10, 10) > 0
    estimate = (3 * torch.rand(10, 10)).requires_grad_() * 1.0
    calls: dict[str, Any] = {
        "as_measurement": lambda: pr.io.as_measurement(intensity),
        "validate": lambda: pr.operators.validate(intensity),
        "reconstruct": lambda: pr.solvers.reconstruct(intensity, support=support, schedule="er:1", starts=1),
        "HIO": lambda: pr.solvers.HIO(1)(intensity, support=support),
        "reduce_pattern": lambda: pr.solvers.reduce_pattern(intensity, (10, 10)),
        "passive_loss": lambda: pr.losses.passive_loss(estimate, intensity),
        "PassiveLoss": lambda: pr.losses.PassiveLoss()(estimate, intensity),
    }
    for name, call in calls.items():
        with pytest.warns(UserWarning, match="outshines") as caught:
            call()
        assert any(said(name, str(one.message)) for one in caught), (name, [str(one.message) for one in caught])


def said(name: str, text: str) -> bool:
    """Whether the warning is that call's."""
    return text.startswith(f"{name}: the pixel (5, 9) outshines all about it, and holds 100.0% of the light. If it is ")


def test_pixels_are_counted_in_the_frame_and_a_saturation_leaves_them_out(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", torch.fft.fftshift(hot_pattern()).numpy())
    for options in ({}, {"roi": ((2, 23), (3, None)), "center": (12, 12)}, {"kind": "magnitude"}):
        with pytest.warns(UserWarning, match=r"the pixel \(17, 21\) outshines .* use saturation=") as caught:
            pr.io.load_intensity(tmp_path / "x.npy", **options)
        level = float(str(caught[0].message).partition("saturation=")[2].rstrip("."))
        assert pr.io.load_intensity(tmp_path / "x.npy", saturation=level, **options).notes == ()
    assert pr.io.load_intensity(tmp_path / "x.npy", saturation=math.inf).notes == ()


def test_a_hot_pixel_less_bright_than_the_middle_takes_a_mask() -> None:
    intensity = pr.operators.fourier_intensity(scene(2, "uniform", 30, 0), (64, 64), norm="backward")
    stack = torch.stack([intensity, intensity])
    stack[1, 31, 33] = 0.5 * intensity[0, 0]
    with pytest.warns(UserWarning, match=r"the pixel \(31, 33\) of pattern 1 .*, give a mask that leaves it out"):
        pr.io.as_measurement(stack)
    with pytest.warns(UserWarning, match=r"leave it out: mask\[1, 31, 33\] = False"):
        pr.operators.validate(stack)


@pytest.mark.filterwarnings("ignore:.*2n-1")
def test_what_was_not_measured_and_undersampled_data_are_no_matter() -> None:
    intensity = hot_pattern()
    mask = torch.ones(24, 24) > 0
    mask[5, 9] = False
    assert pr.io.as_measurement(intensity, mask=mask).notes == ()
    alone = torch.zeros(24, 24) > 0  # a pixel whose neighbours were not measured
    alone[5, 9] = alone[0, 0] = True
    pr.operators.validate(intensity, mask=alone)
    whole = pr.operators.fourier_intensity(torch.rand(24, 24) + 1, (24, 24), undersampled=True)
    estimate = (3 * torch.rand(24, 24)).requires_grad_() * 1.0
    pr.losses.passive_loss(estimate, whole, undersampled=True)
