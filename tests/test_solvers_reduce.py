"""A frame on a coarser grid: the same samples of the same intensity, with gaps and without."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import phaseret as pr
from phaseret import solvers
from phaseret.cli import main
from phaseret.cli._phase import with_phase
from phaseret.operators import fourier_intensity
from phaseret.solvers._extent import filled

DOUBLE = torch.float64


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize(("n", "m"), [((7,), (40,)), ((7, 6), (33, 40)), ((4, 5, 3), (20, 21, 12)), ((8, 8), (15, 90))])
def test_the_coarser_pattern_is_that_of_the_object(
    n: tuple[int, ...], m: tuple[int, ...], dtype: torch.dtype, norm: str, centered: bool
) -> None:
    obj, options = torch.randn(2, *n, dtype=dtype), {"norm": norm, "centered": centered}
    found, mask = solvers.reduce_pattern(fourier_intensity(obj, m, **options), n, **options)
    grid = found.shape[1:]
    assert mask is None
    assert all(2 * size - 1 <= new <= old for size, new, old in zip(n, grid, m, strict=True))
    torch.testing.assert_close(found, fourier_intensity(obj, grid, **options))


@given(st.integers(1, 6), st.integers(0, 9), st.integers(0, 9))
def test_any_grid_from_2n_minus_1_to_the_frame_will_do(n: int, less: int, more: int) -> None:
    obj, grid = torch.rand(n, 2, dtype=DOUBLE), (2 * n - 1 + less, 3)
    frame = fourier_intensity(obj, (grid[0] + more, 7))
    found, _ = solvers.reduce_pattern(frame, (n, 2), fourier_shape=grid)
    torch.testing.assert_close(found, fourier_intensity(obj, grid))


@pytest.mark.parametrize("centered", [False, True])
def test_narrow_gaps_are_filled(centered: bool) -> None:
    obj = torch.rand(10, 12, dtype=DOUBLE)
    frame = fourier_intensity(obj, (80, 90), centered=centered)
    mask = torch.rand(80, 90) > 0.03
    middle = (40, 45) if centered else (0, 0)
    mask[tuple(slice(m, m + 4) for m in middle)] = False  # also on the brightest pixel
    damaged = torch.where(mask, frame, torch.nan)
    found, left = solvers.reduce_pattern(damaged, (10, 12), mask=mask, centered=centered)
    expected = fourier_intensity(obj, found.shape, centered=centered).sqrt()
    assert left is not None
    off = (found.sqrt() - expected).abs() / expected.square().mean().sqrt()
    assert float(off[left].max()) < 0.02
    assert int((~left).sum()) <= 0.03 * left.numel()
    assert solvers.reduce_pattern(frame, (10, 12), mask=torch.ones_like(mask), centered=centered)[1] is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("place", [(-2, -2), (7, -3), (29, 12)])
def test_a_gap_as_wide_as_a_speckle_is_filled_rightly(place: tuple[int, int], dtype: torch.dtype) -> None:
    obj = torch.rand(12, 10, dtype=DOUBLE) if dtype == DOUBLE else torch.randn(12, 10, dtype=dtype)
    frame = fourier_intensity(obj, (64, 60))
    mask = torch.ones(64, 60, dtype=torch.bool)
    mask[:5, :5] = False
    mask = mask.roll(place, (0, 1))
    constraint = "complex" if obj.is_complex() else "nonnegative"
    found, left = solvers.reduce_pattern(torch.where(mask, frame, 0), (12, 10), mask=mask, constraint=constraint)
    assert left is not None
    assert int((~left).sum()) <= 9
    off = found.sqrt() - fourier_intensity(obj, found.shape).sqrt()
    assert float(off.abs().max()) < 0.03 * float(frame.mean().sqrt())
    # so is the extent of the object, which the gap hides
    if constraint == "nonnegative":
        boxes = (solvers.autocorrelation_support(frame, mask=m, constraint=constraint) for m in (mask, None))
        sizes = torch.tensor([[int(box.any(axis).sum()) for axis in (0, 1)] for box in boxes])
        assert int((sizes[0] - sizes[1]).abs().max()) <= 3  # what the gap hides of the extent is found


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_gaps_are_filled_in_any_unit_and_measured_values_stay(scale: float) -> None:
    frame = fourier_intensity(torch.rand(12, 10), (64, 60))
    frame[30, 30] = -0.1 * frame.mean()
    mask = torch.ones(64, 60, dtype=torch.bool)
    mask[:3, :3] = False
    expected = filled(frame, mask, 2)
    assert torch.equal(expected[mask], frame[mask])
    torch.testing.assert_close(filled(scale * frame, mask, 2) / scale, expected, rtol=1e-3, atol=1e-4 * frame.max())


@pytest.mark.parametrize("corner", [(50, 30), (-6, -7)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_what_a_wide_gap_hides_does_not_reach_what_was_measured(corner: tuple[int, int], dtype: torch.dtype) -> None:
    obj = 0.2 + torch.rand(20, 24, dtype=torch.float64) if dtype == DOUBLE else torch.randn(20, 24, dtype=dtype)
    frame = fourier_intensity(obj, (160, 180))
    mask = torch.ones(160, 180, dtype=torch.bool).roll((-corner[0], -corner[1]), (0, 1))
    mask[:14, :14] = False
    mask = mask.roll(corner, (0, 1))
    found, left = solvers.reduce_pattern(frame, (20, 24), mask=mask)
    assert left is not None
    assert found.shape == (50, 60)
    assert 9 <= int((~left).sum()) <= 50
    expected = fourier_intensity(obj, found.shape).sqrt()
    off = (found.sqrt() - expected)[left]
    assert float(off.norm() / expected[left].norm()) < 0.12  # 0.2 and more if the lags are cut off sharply


def test_what_is_not_in_the_autocorrelation_is_left_out() -> None:
    obj = torch.rand(8, 8, dtype=DOUBLE)
    frame = fourier_intensity(obj, (128, 128))
    noise = frame.mean() * torch.randn(128, 128, dtype=DOUBLE)
    grid = (16, 16)
    clean = fourier_intensity(obj, grid)
    off = solvers.reduce_pattern((frame + noise).clamp(min=0), (8, 8), fourier_shape=grid)[0] - clean
    direct = (frame + noise).clamp(min=0)[::8, ::8] * (128 / 16) ** 2 - clean  # the same pixels of the frame
    assert off.square().mean() < 0.25 * direct.square().mean()


def test_a_batch_gives_what_its_items_give() -> None:
    frames, mask = fourier_intensity(torch.rand(3, 5, 4), (24, 25)), torch.rand(3, 24, 25) > 0.1
    together = solvers.reduce_pattern(frames, (5, 4), mask=mask)
    for i in range(3):
        alone = solvers.reduce_pattern(frames[i], (5, 4), mask=mask[i])
        torch.testing.assert_close(alone[0], together[0][i])
        assert torch.equal(alone[1], together[1][i])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"object_shape": (9, 4)}, r"fourier_shape must be at least \(17, 7\) = 2n-1"),
        ({"fourier_shape": (7, 40)}, r"fourier_shape must be at most that of the intensity \(16, 16\), got \(7, 40\)"),
        ({"fourier_shape": (6, 7)}, r"fourier_shape must be at least \(7, 7\) = 2n-1"),
        ({"mask": torch.zeros(16, 16) > 0}, "mask"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        solvers.reduce_pattern(torch.rand(16, 16), **{"object_shape": (4, 4), **options})


def test_the_command_solves_a_large_frame_on_a_coarser_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    obj = torch.zeros(10, 12)
    obj[2:9, 1:11] = torch.rand(7, 10)
    frame = fourier_intensity(obj, (91, 95))
    frame[40:42] += 1e3  # seen by the mask alone
    mask = torch.ones(91, 95, dtype=torch.bool)
    mask[40:42] = False
    pr.io.save_intensity(tmp_path / "pattern.npz", pr.io.as_measurement(frame, mask=mask))
    np.save(tmp_path / "init.npy", pr.operators.pad(obj, (91, 95)).numpy())
    found = {}
    for option in ("", "--whole-frame"):
        out = tmp_path / f"result{option}.npz"
        words = f"--support 10,12 --constraint nonnegative --schedule hio:20,er:20 --starts 1 --background 0 {option}"
        start = ["--init", str(tmp_path / "init.npy")]
        assert main(["reconstruct", str(tmp_path / "pattern.npz"), *words.split(), *start, "-o", str(out)]) == 0
        printed = capsys.readouterr().out
        assert ("91 x 95, solved on 30 x 30, which hold the object" in printed) == (not option)
        found[option] = pr.io.load_reconstruction(out)["obj"]
        assert found[option].shape == obj.shape
    for estimate in found.values():
        assert float(pr.metrics.nmse(estimate, obj, align=True)) < 1e-2


def test_a_background_does_not_hide_the_box(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = fourier_intensity(torch.rand(10, 12), (91, 95))
    pr.io.save_intensity(tmp_path / "pattern.npz", frame + 1000 * frame.mean())
    words = f"--background {1000 * float(frame.mean())} --constraint nonnegative --schedule er:5 --starts 1 --double"
    assert main(["reconstruct", str(tmp_path / "pattern.npz"), *words.split(), "-o", str(tmp_path / "r.npz")]) == 0
    capsys.readouterr()
    found = pr.io.load_reconstruction(tmp_path / "r.npz")["obj"].shape
    assert all(n <= box for n, box in zip((10, 12), found, strict=True))


def test_the_command_finds_the_box_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 13), torch.linspace(-1, 1, 11), indexing="ij")
    obj = ((y * y + x * x + 0.5 * x * y < 0.9) & (x + y < 0.9)) * torch.polar(1 + 0.3 * y, 0.8 * x * y)
    frame = fourier_intensity(obj, (96, 90))
    frame = torch.poisson(frame * (1e7 / frame.sum()))
    pr.io.save_intensity(tmp_path / "pattern.npz", frame)
    pr.io.save_intensity(tmp_path / "stack.npz", pr.io.as_measurement(frame.expand(2, 96, 90)))
    words = ["--schedule", "hio:10,er:5", "--starts", "1", "-o", str(tmp_path / "r.npz"), "--overwrite"]
    assert main(["reconstruct", str(tmp_path / "pattern.npz"), *words]) == 0
    printed = capsys.readouterr().out
    assert "the box that the autocorrelation allows" in printed
    assert "96 x 90, solved on " in printed
    found = pr.io.load_reconstruction(tmp_path / "r.npz")["obj"].shape
    assert all(n <= box <= 1.5 * n for n, box in zip((13, 11), found, strict=True))
    # the boxes of a stack need not be the same
    assert main(["reconstruct", str(tmp_path / "stack.npz"), *words]) == 0
    printed = capsys.readouterr().out
    assert "the box that the autocorrelation allows" in printed
    assert "solved on" not in printed
    assert pr.io.load_reconstruction(tmp_path / "r.npz")["obj"].shape == (2, 96, 90)


def between_pixels(obj: torch.Tensor, frame: tuple[int, ...], center: tuple[float, ...]) -> torch.Tensor:
    """The intensity with its zero frequency at any place of the frame."""
    field = obj.to(torch.complex128)
    for axis, (m, c) in enumerate(zip(frame, center, strict=True)):
        n = obj.shape[axis]
        turns = torch.outer(torch.arange(m, dtype=DOUBLE) - c, torch.arange(n, dtype=DOUBLE)) / m
        field = torch.tensordot(torch.polar(torch.ones_like(turns), -2 * torch.pi * turns), field.movedim(axis, 0), 1)
        field = field.movedim(0, axis)
    return field.abs().square() / (frame[0] * frame[1])


@pytest.mark.parametrize("shape", [(64, 75), (63, 64)])
def test_a_fraction_of_a_pixel_is_taken_off_the_centre(shape: tuple[int, int]) -> None:
    obj = torch.rand(8, 10, dtype=DOUBLE)
    frame = between_pixels(obj, shape, (0.3, -0.5))
    found, _ = solvers.reduce_pattern(frame, (8, 10), offset=(0.3, -0.5))
    torch.testing.assert_close(found, fourier_intensity(obj, found.shape))
    torch.testing.assert_close(between_pixels(obj, shape, (0, 0)), fourier_intensity(obj, shape))
    with pytest.raises(ValueError, match=r"offset must hold 2 numbers, one for each axis, got \(0.3,\)"):
        solvers.reduce_pattern(frame, (8, 10), offset=(0.3,))


def aperture() -> torch.Tensor:
    """Three bars of different transmission."""
    obj = torch.zeros(22, 26, dtype=DOUBLE)
    obj[2:6, 1:22], obj[6:20, 3:8], obj[11:15, 8:25] = 1, 0.8, 0.6
    return obj


def test_the_command_finds_the_centre_and_that_the_object_is_real(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    obj = aperture()
    frame = between_pixels(obj, (128, 120), (61.5, 62))
    frame = torch.poisson(frame * (1e7 / frame.sum()), generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "pattern.npy", frame.numpy())
    words = ["--schedule", "4*(hio:50,er:10)", "--starts", "4", "-o", str(tmp_path / "r.npz")]
    assert main(["reconstruct", str(tmp_path / "pattern.npy"), *words]) == 0
    printed = capsys.readouterr().out
    assert "centre            61.5,62, about which the pattern is symmetric to 1.00 (middle: 0.50)" in printed
    assert "non-negative      the pattern is symmetric to " in printed
    found = pr.io.load_reconstruction(tmp_path / "r.npz")["obj"]
    assert not found.is_complex()
    shape = [max(a, b) for a, b in zip(found.shape, obj.shape, strict=True)]
    padded = [pr.operators.pad(x.to(DOUBLE), shape) for x in (found, obj)]
    aligned = pr.symmetry.align(*padded).aligned
    assert float(torch.corrcoef(torch.stack([aligned.flatten(), padded[1].flatten()]))[0, 1]) > 0.9


def test_the_command_says_that_an_object_is_not_real(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 22), torch.linspace(-1, 1, 26), indexing="ij")
    frame = fourier_intensity(torch.polar(aperture(), (3 * x * x + 2 * y + 4 * x * y).double()), (128, 120))
    pr.io.save_intensity(tmp_path / "pattern.npz", frame)
    words = ["--schedule", "er:5", "--starts", "1", "-o", str(tmp_path / "r.npz"), "--overwrite"]
    assert main(["reconstruct", str(tmp_path / "pattern.npz"), *words]) == 0
    printed = capsys.readouterr().out
    assert "complex           the pattern is symmetric to " in printed
    assert pr.io.load_reconstruction(tmp_path / "r.npz")["obj"].is_complex()
    assert main(["reconstruct", str(tmp_path / "pattern.npz"), "--constraint", "nonnegative", *words]) == 0
    assert "symmetric to" not in capsys.readouterr().out
    assert not pr.io.load_reconstruction(tmp_path / "r.npz")["obj"].is_complex()


def test_a_start_on_the_frame_is_moved_into_the_box(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    obj = aperture()
    pr.io.save_intensity(tmp_path / "pattern.npz", fourier_intensity(obj, (128, 120)))
    np.save(tmp_path / "init.npy", pr.operators.pad(obj, (128, 120)).roll((50, 110), (0, 1)).numpy())
    words = ["--init", str(tmp_path / "init.npy"), "--schedule", "er:1", "--starts", "1", "-o", str(tmp_path / "r.npz")]
    assert main(["reconstruct", str(tmp_path / "pattern.npz"), "--constraint", "nonnegative", *words]) == 0
    capsys.readouterr()
    assert float(pr.io.load_reconstruction(tmp_path / "r.npz")["error"]) < 1e-3
    np.save(tmp_path / "init.npy", np.ones((7, 7)))
    assert main(["reconstruct", str(tmp_path / "pattern.npz"), "--overwrite", *words]) == 1
    assert "--init must have the shape of the support (" in (said := capsys.readouterr().err)
    assert "or of the pattern (128, 120), got (7, 7)" in said


@pytest.mark.parametrize("curve", [0.0, 0.8])
def test_a_phase_is_taken_where_it_explains_what_no_real_object_does(curve: float) -> None:
    """Bars in a curved wave: the non-negative object has the right shape, and leaves a sixth of the data."""
    y, x = torch.linspace(-1, 1, 20)[:, None], torch.linspace(-1, 1, 18)
    bars = torch.zeros(20, 18)
    bars[2:18, 1:5] = bars[9:20, 12:16] = 1
    bars[:5, 8:17] = 0.8
    intensity = fourier_intensity(torch.polar(bars, curve * (x.square() + y.square())), (56, 52))
    counts = torch.poisson(intensity * 1e6 / intensity.sum())
    options: dict[str, Any] = {"support": torch.ones(22, 20) > 0, "constraint": "nonnegative", "starts": 4}
    real = partial(solvers.reconstruct, counts, schedule="hio:100,er:20", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        first, found = real(), with_phase(real, partial(solvers.reconstruct, counts), counts, None, {})
    if curve == 0:
        assert torch.equal(found.obj, first.obj)
        return
    assert found.obj.is_complex()
    assert float(first.error) > 0.1 > 0.05 > float(found.error)
    assert found.recipe.startswith(first.recipe + ", then with a phase Recipe(")
    (n1, n2), shown = found.obj.shape, found.obj.abs()
    padded = torch.nn.functional.pad(bars, (0, n2 - 18, 0, n1 - 20))
    shown = pr.symmetry.align(shown, padded, fourier_shape=(56, 52)).aligned
    assert float((shown * padded).sum() / shown.norm() / padded.norm()) > 0.99


@pytest.mark.parametrize("form", ["box", "hull"])
@pytest.mark.parametrize("power", [-116, -60, 60, 116])
def test_the_unit_of_a_pattern_does_not_change_its_support(power: int, form: str) -> None:
    obj = torch.zeros(2, 32, 32)
    obj[0, :9, :7], obj[1, :5, :12] = torch.rand(9, 7), torch.rand(5, 12)
    intensity, mask = fourier_intensity(obj, (64, 64)), torch.ones(64, 64, dtype=torch.bool)
    mask[0, :2] = mask[20:22, 30] = False
    unit = torch.tensor([1.0, 2.0**power])[:, None, None]
    for known in (None, mask):
        support = partial(solvers.autocorrelation_support, form=form, mask=known)
        assert torch.equal(support(intensity * unit), support(intensity))
