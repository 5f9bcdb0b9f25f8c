"""Strained crystals: shape, oversampling, span and ramp of the phase, modulus."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from phaseret.datasets import strained_crystal
from phaseret.operators import fourier_intensity


def made(seed: int, *sizes: int, **options: Any) -> torch.Tensor:
    return strained_crystal(sizes or (16, 15, 17), generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize("kind", ["polyhedron", "wulff"])
@pytest.mark.parametrize("seed", range(5))
def test_a_crystal_is_convex_and_fills_its_share_of_the_middle_of_the_box(kind: Any, seed: int) -> None:
    obj = made(seed, kind=kind)
    inside = obj != 0
    assert 0.13 < inside.double().mean() <= 0.2
    places = inside.nonzero()
    first, behind = places.amin(0), torch.tensor(obj.shape) - 1 - places.amax(0)
    assert (first - behind).abs().max() <= 1
    for axis in range(3):  # along each line one piece
        line = torch.cat([torch.zeros_like(inside.narrow(axis, 0, 1)), inside], axis).to(torch.int8)
        assert (line.diff(dim=axis) == 1).sum(axis).max() == 1


@pytest.mark.parametrize("span", [0.0, 2.0, 6.0])
def test_the_phase_has_its_span_exactly_and_no_ramp(span: float) -> None:
    obj = made(0, span=span)
    points = (obj != 0).nonzero()
    phase = unwrapped(obj)
    torch.testing.assert_close(phase.amax() - phase.amin(), torch.tensor(span, dtype=torch.float64), atol=1e-4, rtol=0)
    along = (points - points.double().mean(0)).T @ (phase - phase.mean())
    assert along.abs().max() < 1e-3 * max(span, 1) * len(points)


def unwrapped(obj: torch.Tensor) -> torch.Tensor:
    """The phase of the crystal's pixels: from neighbour to neighbour it changes by less than pi."""
    inside, angle = obj != 0, obj.angle().double()
    phase, known = angle.clone(), torch.zeros_like(inside)
    known[tuple(inside.nonzero()[0])] = True
    while not (known == inside).all():
        for axis in range(3):
            for step in (1, -1):
                near, there = phase.roll(step, axis), known.roll(step, axis)
                new = there & inside & ~known
                turns = ((near - angle) / (2 * math.pi)).round()
                phase = torch.where(new, angle + 2 * math.pi * turns, phase)
                known = known | new
    return phase[inside]


def test_a_flat_modulus_is_1_a_graded_one_falls_to_its_share_and_pits_are_deep() -> None:
    flat, graded, pitted = (made(0, modulus=m)[made(0, modulus=m) != 0].abs() for m in ("flat", "graded", "pitted"))
    torch.testing.assert_close(flat, torch.ones_like(flat))
    torch.testing.assert_close(torch.stack([graded.amin(), graded.amax()]), torch.tensor([0.6, 1.0]))
    assert pitted.amin() < 0.3
    assert pitted.amax() <= 1
    assert (pitted > 0.9).double().mean() > 0.7


def test_twice_the_box_oversamples_along_each_axis_by_more_than_two() -> None:
    obj = made(1, 15, 15, 15, span=3.0)
    correlation = torch.fft.ifftn(fourier_intensity(obj, (32, 32, 32))).abs()
    for axis in range(3):
        assert correlation.narrow(axis, 15, 3).max() < 1e-5 * correlation.max()


def test_a_generator_gives_the_same_crystal_again_and_another_one_another() -> None:
    assert torch.equal(made(3), made(3))
    assert not torch.equal(made(3) != 0, made(4) != 0)
    torch.manual_seed(0)
    first = strained_crystal((8, 8, 8))
    assert not torch.equal(first, strained_crystal((8, 8, 8)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"object_shape": (8, 8)}, "object_shape must be three sizes of at least 8, got \\(8, 8\\)"),
        ({"object_shape": (8, 8, 7)}, "object_shape must be three sizes of at least 8"),
        ({"span": -1.0}, "span must be"),
        ({"kind": "cube"}, "kind must be one of 'polyhedron', 'wulff', got 'cube'"),
        ({"modulus": "rough"}, "modulus must be one of 'flat', 'graded', 'pitted', got 'rough'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"strained_crystal: {message}"):
        strained_crystal(**options)
