"""Channels that are searched for together: the pull to one phase, the coarse grids, and what comes out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from phaseret.bench import _colour

SHAPE, GRID, NOISE = (24, 16), (36, 24), 0.01


def photograph(seed: int = 0) -> Tensor:
    """Smooth, and alike in its three channels (3, 24, 16)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, 6, 4, generator=generator)
    grey = torch.nn.functional.interpolate(coarse, SHAPE, mode="bicubic", antialias=True)[0].clamp(0, 1)
    return grey * torch.tensor([0.9, 0.7, 0.5])[:, None, None]


def magnitude(image: Tensor) -> Tensor:
    return torch.fft.fft2(image, s=GRID, norm="ortho").abs()


# --- values -----------------------------------------------------------------------------------------------------------


def test_the_pull_ends_at_the_common_phase_that_fits_best() -> None:
    generator = torch.Generator().manual_seed(1)
    field = torch.randn(3, 5, 4, dtype=torch.complex128, generator=generator)
    measured = torch.rand(3, 5, 4, dtype=torch.float64, generator=generator)
    found = _colour.nearest_alike(field, measured, 1.0)
    angles = torch.linspace(-math.pi, math.pi, 20_001, dtype=torch.float64)[:, None, None, None]
    distance = (
        (torch.polar(measured.expand(len(angles), -1, -1, -1), angles + 0 * measured) - field).abs().square().sum(1)
    )
    best = angles[distance.argmin(0), 0, 0, 0]
    assert torch.allclose(found, torch.polar(measured, best.expand(3, -1, -1)), atol=1e-3)
    alone = _colour.nearest_alike(field, measured, 0.0)
    assert torch.allclose(alone, torch.polar(measured, field.angle()))


def test_half_a_pull_lies_between() -> None:
    field, measured = torch.tensor([[[1 + 0j]], [[1j]]]), torch.ones(2, 1, 1)
    angles = _colour.nearest_alike(field, measured, 0.5).angle().flatten()
    expected = math.atan(1 / 3)  # of (1 + (1 + i) / 2) / 2
    assert torch.allclose(angles, torch.tensor([expected, math.pi / 2 - expected]))


def test_the_share_of_the_signal_is_that_of_its_power() -> None:
    drawn = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    share = _colour.signal_share((2 * drawn).abs(), 1.0)
    assert share[8:-8, 8:-8].mean().item() == pytest.approx(0.75, abs=0.02)
    assert not _colour.signal_share((0.5 * drawn).abs(), 1.0).any()


@pytest.mark.parametrize("step", [2, 4])
def test_a_coarse_grid_has_the_magnitudes_of_the_blurred_image(step: int) -> None:
    image = photograph()
    grid = _colour.Grid(magnitude(image), SHAPE, step)
    seen = grid.seen(padded(image))
    assert torch.allclose(torch.fft.rfft2(seen, norm="ortho").abs(), grid.magnitude, atol=1e-6)


def padded(image: Tensor) -> Tensor:
    return torch.nn.functional.pad(image, (0, GRID[1] - SHAPE[1], 0, GRID[0] - SHAPE[0]))


def test_a_coarse_pixel_is_the_blurred_image_at_its_centre() -> None:
    grid = _colour.Grid(magnitude(photograph()), SHAPE, 4)
    # A wave of one period has one value at all centres, but for the window.
    rows = torch.arange(GRID[0], dtype=torch.float32)
    wave = torch.cos(2 * math.pi * rows / GRID[0])[:, None].expand(GRID)
    centres = 4 * torch.arange(GRID[0] // 4) + 1.5
    passed = 0.3 ** ((8 / GRID[0]) ** 2)
    expected = passed * torch.cos(2 * math.pi * centres / GRID[0])
    assert torch.allclose(grid.seen(wave), expected[:, None].expand(grid.sizes), atol=1e-5)


# --- properties -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [2, 4])
def test_images_stay_about_in_the_blurred_box(step: int) -> None:
    image = photograph()
    grid = _colour.Grid(magnitude(image), SHAPE, step)
    box = grid.seen(padded(torch.ones(1, *SHAPE)))
    assert box.min() > -0.03  # the window ends at 0.3, so that the blur rings a little
    assert box.max() < 1.03
    assert torch.equal(grid.bound.flip(0, 1).roll([n // step for n in SHAPE], (0, 1)) > 0, grid.bound > 0)
    outside = grid.seen(padded(image))[:, grid.bound == 0]
    assert outside.abs().max() <= 0.05


def test_what_is_smooth_comes_back_from_a_coarse_grid() -> None:
    rows, columns = (torch.arange(m) / m for m in GRID)
    wave = 0.5 + 0.3 * torch.cos(2 * math.pi * rows)[:, None] * torch.sin(2 * math.pi * columns)
    grid = _colour.Grid(magnitude(photograph()), SHAPE, 2)
    assert torch.allclose(grid.sharp(grid.seen(wave)), wave, atol=1e-5)


def test_what_the_denoiser_leaves_stays() -> None:
    image = photograph()
    seen: list[Tensor] = []

    def nothing(planes: Tensor, levels: Tensor) -> Tensor:
        seen.append(levels)
        return planes

    assert torch.allclose(_colour.clean(image, nothing, 0.1), image, atol=1e-6)
    assert torch.allclose(seen[0], 0.1 * torch.tensor([3**-0.5, 2**-0.5, 0.375**0.5]))


@pytest.mark.parametrize("pull", [0.0, 0.5])
def test_what_explains_the_data_stays(pull: float) -> None:
    image = photograph()
    grid = _colour.Grid(magnitude(image), SHAPE, 2)
    start = grid.seen(padded(image))[None]
    _, mean = grid.reflected(start, 20, pull, 10)  # channels in proportion have one phase
    assert (mean - start).norm() < 0.06 * start.norm()  # the blur rings
    assert grid.residual(start).item() == pytest.approx(0, abs=1e-4)


def test_starts_come_out_in_order_and_turned_alike() -> None:
    image = photograph()
    grid = _colour.Grid(magnitude(image), SHAPE, 2)
    right = grid.seen(padded(image))
    turned = grid.seen(padded(image.flip(-2, -1)))
    starts = torch.stack([torch.rand(3, *grid.sizes, generator=torch.Generator().manual_seed(0)), right, turned])
    found = grid.run(starts, ((0.0, 3),), 2)
    assert torch.allclose(found[0], found[1], atol=1e-4)
    assert (found[2] - found[0]).norm() > 0.2 * found[0].norm()


def test_a_denoiser_that_knows_the_image_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_colour, "_SEARCH", ((0.5, 20),))
    image = photograph()
    planes = torch.stack(
        [image.mean(0), (image[0] - image[2]) / 2 + 0.5, (image[0] + image[2] - 2 * image[1]) / 4 + 0.5]
    )

    def knowing(seen: Tensor, levels: Tensor) -> Tensor:
        return planes if seen.shape[-2:] == SHAPE else seen

    first, again = (_colour.joint(magnitude(image).square(), NOISE, knowing, SHAPE, 0) for _ in range(2))
    assert torch.allclose(first, image, atol=1e-5)
    assert torch.equal(first, again)
