"""validate: what is wrong with the values is said once, with the place; good data and masked flaws pass."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phaseret.operators import fourier_intensity, validate
from phaseret.operators._origin import gathers_away

# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(6,), (5, 6), (2, 5, 6), (2, 3, 4, 5, 6)])
def test_good_data_passes(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    ndim = min(len(shape), 3)
    intensity = torch.rand(shape, device=device).to(dtype)
    intensity.flatten()[0] = 0
    mask = torch.rand(shape[-ndim:], device=device) > 0.3
    mask.flatten()[-1] = True
    assert validate(intensity, ndim=ndim) is None
    assert validate(intensity, mask=mask, ndim=ndim) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0])
def test_what_is_not_measured_is_not_looked_at(value: float) -> None:
    intensity = torch.rand(3, 4, 4)
    mask = torch.ones(3, 4, 4, dtype=torch.bool)
    mask[1, 2, 3] = False
    intensity[1, 2, 3] = value
    validate(intensity, mask=mask)


def test_the_intensity_of_any_object_is_valid() -> None:
    validate(fourier_intensity(torch.randn(3, 8, 8, dtype=torch.complex64), (16, 16)))


# --- properties ------------------------------------------------------------------------------------------------------


@given(
    index=st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 5)), value=st.sampled_from([math.nan, -2.0])
)
def test_one_wrong_value_is_found_wherever_it_is(index: tuple[int, int, int], value: float) -> None:
    intensity = torch.ones(3, 5, 6)
    intensity[index] = value
    with pytest.raises(ValueError, match=re.escape(f"got 1 other value, the first, {value:g}, at {index}.")):
        validate(intensity)


# --- errors ----------------------------------------------------------------------------------------------------------


def spoiled(**values: float) -> torch.Tensor:
    """Ones (2, 3, 4) with a value at indices written as i_j_k."""
    intensity = torch.ones(2, 3, 4)
    for name, value in values.items():
        intensity[tuple(map(int, name.strip("_").split("_")))] = value
    return intensity


MASK = torch.ones(2, 3, 4, dtype=torch.bool)
ONE_MASKED, ALL_MASKED = MASK.clone(), torch.zeros(3, 4, dtype=torch.bool)
ONE_MASKED[1] = False
ONE_DARK, UNMEASURED_LIGHT = torch.ones(2, 3, 4), torch.zeros(3, 4)
ONE_DARK[0] = 0
UNMEASURED_LIGHT[0, 0] = 1


@pytest.mark.parametrize(
    ("intensity", "mask", "message"),
    [
        (
            spoiled(_0_1_2=math.nan),
            None,
            "intensity must be finite where measured, got 1 other value, the first, nan, at (0, 1, 2). "
            "Mask them with mask = intensity.isfinite().",
        ),
        (
            spoiled(_0_1_2=math.inf, _1_0_0=-math.inf),
            MASK,
            "intensity must be finite where measured, got 2 other values, the first, inf, at (0, 1, 2). "
            "Mask them with mask = intensity.isfinite().",
        ),
        (
            spoiled(_1_2_3=-0.5),
            None,
            "intensity must be at least 0 where measured, got 1 other value, the first, -0.5, at (1, 2, 3). "
            "Set them to 0 with intensity.clamp(min=0), or mask them.",
        ),
        (
            spoiled(),
            ONE_MASKED,
            "mask must be True for a pixel of every item, got none in 1 of 2 items, the first at (1,). "
            "True means measured: use ~mask if yours marks the bad pixels.",
        ),
        (
            spoiled()[0],
            ALL_MASKED,
            "mask must be True for a pixel of every item, got none. "
            "True means measured: use ~mask if yours marks the bad pixels.",
        ),
        (
            ONE_DARK,
            None,
            "intensity must have a positive measured value in every item, got none in 1 of 2 items, the first at "
            "(0,). Leave out the patterns without light.",
        ),
        (
            UNMEASURED_LIGHT,
            UNMEASURED_LIGHT == 0,
            "intensity must have a positive measured value in every item, got none. "
            "Leave out the patterns without light.",
        ),
    ],
)
def test_wrong_values(intensity: torch.Tensor, mask: torch.Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(f'validate: {message}')}$"):
        validate(intensity, mask=mask)


def test_arguments_of_the_wrong_kind() -> None:
    y = torch.ones(2, 3, 4)
    cases: list[tuple[type[Exception], Any, dict[str, Any], str]] = [
        (TypeError, y.numpy(), {}, "intensity must be a torch.Tensor, got ndarray. Use torch.as_tensor."),
        (TypeError, y.int(), {}, "intensity must be real floating, got torch.int32. Use intensity.float()."),
        (
            ValueError,
            y[:0],
            {},
            "intensity must hold at least one element, got shape (0, 3, 4). Leave out empty batches.",
        ),
        (
            ValueError,
            y[0, 0],
            {},
            "intensity must have at least 2 axes, got shape (4,). Add one with unsqueeze(0).",
        ),
        (ValueError, y, {"ndim": 0}, "ndim must be an integer of at least 1, got 0. Use 1 or more."),
        (TypeError, y, {"mask": y}, "mask must be a boolean tensor, got torch.float32. Use mask.bool()."),
        (
            ValueError,
            y,
            {"mask": y[..., 1:] > 0},
            "mask must broadcast to the intensity (2, 3, 4), got (2, 3, 3). "
            "Use one mask for all items, of the shape of one measurement, or one for each.",
        ),
        (
            ValueError,
            y,
            {"mask": (y > 0).to("meta")},
            "all tensors must lie on one device, got intensity on cpu, mask on meta. Move them with .to(device).",
        ),
    ]
    for error, intensity, options, message in cases:
        with pytest.raises(error, match=f"^{re.escape(f'validate: {message}')}$"):
            validate(intensity, **options)


@pytest.mark.parametrize("size", [16, 33])
def test_light_gathers_within_a_sixteenth_of_the_frame(size: int) -> None:
    for distance in range(4):
        frame = torch.full((size, size), 1e-6)
        for row, column in ((-1, -1), (1, 1), (1, -1)):
            frame[size // 2 + row * distance, size // 2 + column * distance] = 1.0
        found = (True, True) if distance <= size // 16 else ()
        assert gathers_away(frame, None, 2) == found
        moved = frame.roll(-(size // 2), 1)
        assert gathers_away(moved, None, 2) == ((True, False) if found else ())
        assert gathers_away(moved.roll(-(size // 2), 0), None, 2) == ()
