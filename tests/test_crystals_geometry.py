"""Where the pixels of a Bragg peak lie: turned vectors one by one, other programs, what the voxels are, errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from phaseret.crystals import BraggGeometry, geometry_from_q, rocking_geometry

GEOMETRIES: list[dict[str, Any]] = [
    {"delta": 0.0, "nu": 35.0, "step": 0.01, "axis": (0, 1, 0)},
    {"delta": 33.0, "nu": 2.0, "step": -0.006, "axis": (1, 0, 0)},
    {"delta": 14.5, "nu": -21.0, "step": 0.02, "axis": (0.3, -2.0, 0.5)},
]
DETECTOR = {"wavelength": 1.39e-10, "distance": 1.2, "pixel_size": (55e-6, 70e-6)}
SHAPE = (6, 8, 9)


def pixel_by_pixel(shape: tuple[int, ...], delta: float, nu: float, step: float, axis: tuple[float, ...]) -> Tensor:
    """The scattering vector of each pixel, from the turned detector and the turned sample."""
    k = 2 * math.pi / DETECTOR["wavelength"]
    detector = Rotation.from_euler("y", nu, degrees=True) * Rotation.from_euler("x", -delta, degrees=True)
    height, width = DETECTOR["pixel_size"]
    q = np.zeros((*shape, 3))
    for i, j, m in np.ndindex(*shape):
        flat = [-(m - shape[2] // 2) * width, -(j - shape[1] // 2) * height, DETECTOR["distance"]]
        place = detector.apply(flat)
        sample = Rotation.from_rotvec(math.radians(step * (i - shape[0] // 2)) * np.array(axis) / np.linalg.norm(axis))
        q[i, j, m] = sample.inv().apply(k * (place / np.linalg.norm(place) - [0, 0, 1]))
    return torch.from_numpy(q)


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", GEOMETRIES)
def test_a_rocking_curve_is_that_of_turned_vectors(given: dict[str, Any]) -> None:
    geometry, q = rocking_geometry(**DETECTOR, **given), pixel_by_pixel(SHAPE, **given)
    middle = tuple(m // 2 for m in SHAPE)
    torch.testing.assert_close(geometry.scattering_vector, q[middle])
    for axis in range(3):
        ahead, behind = (tuple(m + s * (n == axis) for n, m in enumerate(middle)) for s in (1, -1))
        exact = (q[ahead] - q[behind]) / 2
        torch.testing.assert_close(geometry.steps[axis], exact, rtol=1e-6, atol=1e-6 * float(exact.norm()))
    fitted = geometry_from_q(q)
    close = {"rtol": 1e-6, "atol": 2e-3 * float(geometry.steps.norm(dim=1).max())}
    torch.testing.assert_close(fitted.scattering_vector, geometry.scattering_vector, **close)
    torch.testing.assert_close(fitted.steps, geometry.steps, **close)


@pytest.mark.parametrize("given", GEOMETRIES)
def test_a_rocking_curve_is_that_of_xrayutilities(given: dict[str, Any]) -> None:
    xu = pytest.importorskip("xrayutilities")
    if sum(x != 0 for x in given["axis"]) > 1:
        pytest.skip("its circles turn about x, y and z")
    circle = "xyz"[[x != 0 for x in given["axis"]].index(True)] + "+"
    convert = xu.QConversion([circle], ["y+", "x-"], [0, 0, 1], wl=1e10 * DETECTOR["wavelength"])
    height, width = DETECTOR["pixel_size"]
    middle = (SHAPE[1] // 2, SHAPE[2] // 2)
    convert.init_area("y-", "x-", *middle, *SHAPE[1:], distance=DETECTOR["distance"], pwidth1=height, pwidth2=width)
    angles = given["step"] * (np.arange(SHAPE[0]) - SHAPE[0] // 2)
    q = 1e10 * torch.as_tensor(np.stack(convert.area(angles, given["nu"], given["delta"]), -1))
    torch.testing.assert_close(q, pixel_by_pixel(SHAPE, **given), rtol=1e-9, atol=1e-9 * float(q.abs().max()))
    found, expected = geometry_from_q(q), rocking_geometry(**DETECTOR, **given)
    close = {"rtol": 1e-6, "atol": 2e-3 * float(expected.steps.norm(dim=1).max())}
    torch.testing.assert_close(found.steps, expected.steps, **close)
    torch.testing.assert_close(found.scattering_vector, expected.scattering_vector, **close)


def test_voxels_are_what_the_pattern_resolves() -> None:
    geometry = rocking_geometry(**DETECTOR, **GEOMETRIES[2])
    voxels = geometry.voxels(SHAPE)
    # The kernel exp(-2 pi i k n / m) is exp(-i q r) on pixels and voxels.
    products = voxels @ geometry.steps.T
    expected = torch.diag(2 * math.pi / torch.tensor(SHAPE).double())
    torch.testing.assert_close(products, expected, rtol=1e-12, atol=1e-12)


def test_voxels_of_a_flat_detector_are_wavelength_times_distance_over_its_size() -> None:
    geometry = rocking_geometry(**DETECTOR, delta=0.0, nu=35.0, step=0.01, axis=(0, 1, 0))
    voxels = geometry.voxels((64, 64, 64))
    # Rows lie across the plane of scattering: this axis leans nowhere.
    edge = DETECTOR["wavelength"] * DETECTOR["distance"] / (64 * DETECTOR["pixel_size"][0])
    torch.testing.assert_close(voxels[1], torch.tensor([0, -edge, 0], dtype=torch.float64), rtol=1e-9, atol=1e-20)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_axis_that_counts_the_other_way_has_the_other_sign(axis: int) -> None:
    given = GEOMETRIES[2] | {"pixel_size": [55e-6, 70e-6]}
    plain = rocking_geometry(**DETECTOR | given)
    other = {**given, "step": -given["step"]} if axis == 0 else given
    if axis:
        other["pixel_size"][axis - 1] *= -1
    signs = torch.tensor([-1.0 if n == axis else 1.0 for n in range(3)]).double()
    torch.testing.assert_close(rocking_geometry(**DETECTOR | other).steps, signs[:, None] * plain.steps)


def test_any_regular_grid_is_found_to_rounding() -> None:
    steps = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, -1.0], [1.0, 0.0, 5.0]])
    index = torch.stack(torch.meshgrid(*[torch.arange(m) - m // 2 for m in (4, 5, 2)], indexing="ij"), -1)
    middle = torch.tensor([100.0, 200.0, 300.0])
    for dtype in (torch.float32, torch.float64):
        found = geometry_from_q((middle + index.float() @ steps).to(dtype))
        torch.testing.assert_close(found.steps, steps.to(dtype))
        torch.testing.assert_close(found.scattering_vector, middle.to(dtype))


# --- errors ----------------------------------------------------------------------------------------------------------


def test_a_grid_that_bends_is_told() -> None:
    index = torch.stack(torch.meshgrid(*[torch.arange(9.0) - 4] * 3, indexing="ij"), -1)
    bent = index + 0.1 * torch.stack([index[..., 1] ** 2, *[torch.zeros(9, 9, 9)] * 2], -1)
    with pytest.warns(UserWarning, match=r"geometry_from_q: the pixels lie up to 0.93 steps away from a regular grid"):
        geometry_from_q(bent)


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"wavelength": 0}, ValueError, "wavelength must be a finite number above 0, got 0"),
        ({"distance": -1}, ValueError, "distance must be a finite number above 0, got -1"),
        ({"pixel_size": 0}, ValueError, "pixel_size must not be zero, got 0"),
        ({"pixel_size": (1, 1, 1)}, ValueError, r"pixel_size must be one number or \(y, x\)"),
        ({"delta": "5"}, TypeError, "delta must be a finite number, got '5'"),
        ({"axis": "y"}, TypeError, "axis must be a sequence of three numbers, got 'y'"),
        ({"axis": (0, 0)}, ValueError, "axis must be a vector of three numbers, not all zero"),
        ({"step": 0}, ValueError, "the pixels must not lie in a plane, got steps of 0, "),
        ({"nu": 0, "delta": 0}, ValueError, "the pixels must not lie in a plane"),
        ({"nu": 0, "delta": 180, "axis": (0, 0, 1)}, ValueError, "the pixels must not lie in a plane"),
    ],
)
def test_errors_of_a_rocking_curve_say_what_to_do(changed: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"rocking_geometry: {text}"):
        rocking_geometry(**DETECTOR | GEOMETRIES[0] | changed)


@pytest.mark.parametrize(
    ("q", "error", "text"),
    [
        (np.zeros((4, 4, 4, 3)), TypeError, "q must be a torch.Tensor, got ndarray"),
        (torch.rand(3, 4, 4, 4), ValueError, r"q must have the shape \(m1, m2, m3, 3\) .*, got \(3, 4, 4, 4\)"),
        (torch.rand(4, 1, 4, 3), ValueError, r"at least two pixels along each axis, got \(4, 1, 4, 3\)"),
        (torch.zeros(4, 4, 4, 3), ValueError, "the pixels must not lie in a plane, got steps of 0, 0, 0 1/m"),
    ],
)
def test_errors_of_scattering_vectors_say_what_to_do(q: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"geometry_from_q: .*{text}"):
        geometry_from_q(q)


def test_a_pattern_of_a_peak_is_a_volume() -> None:
    geometry = BraggGeometry(torch.tensor([0.0, 0.0, 1.0]), torch.eye(3))
    with pytest.raises(ValueError, match=r"BraggGeometry.voxels: fourier_shape must have three sizes, got \(8, 8\)"):
        geometry.voxels((8, 8))
