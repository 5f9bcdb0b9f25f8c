"""Files: every kind is read to the same values, everything wrong is one clear error, nothing half-written is left."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import phaseret as pr
from phaseret import _memory, _output
from phaseret.io import _results

h5py = pytest.importorskip("h5py")


def pattern(shape: tuple[int, ...] = (16, 15), seed: int = 0) -> np.ndarray:
    """Counts in a detector's frame, zero frequency in the middle."""
    return np.random.default_rng(seed).integers(1, 1000, shape).astype(np.float32)


def corner(frame: np.ndarray, axes: tuple[int, ...] = (-2, -1)) -> Tensor:
    return torch.from_numpy(np.fft.ifftshift(frame, axes=axes).copy())


# --- values: every kind of file gives the same numbers ---------------------------------------------------------------


def write_npy(path: Path, frame: np.ndarray) -> None:
    with path.open("wb") as stream:
        np.save(stream, frame)


def write_npz(path: Path, frame: np.ndarray) -> None:
    with path.open("wb") as stream:
        np.savez(stream, pattern=frame)


def write_h5(path: Path, frame: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["some/where/counts"] = frame


def write_mat(path: Path, frame: np.ndarray) -> None:
    from scipy.io import savemat

    with path.open("wb") as stream:
        savemat(stream, {"counts": frame, "name": "a text"}, do_compression=True)


def write_mat73(path: Path, frame: np.ndarray) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file["counts"] = frame.T
    with path.open("rb+") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def write_tif(path: Path, frame: np.ndarray) -> None:
    pytest.importorskip("tifffile").imwrite(path, frame)


def write_edf(path: Path, frame: np.ndarray) -> None:
    pytest.importorskip("fabio").edfimage.EdfImage(data=frame).write(str(path))


WRITERS = [write_npy, write_npz, write_h5, write_mat, write_mat73, write_tif, write_edf]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("shape", [(16, 15), (9, 12)])
def test_every_kind_of_file_gives_the_same_pattern(write, shape, tmp_path: Path) -> None:
    frame, path = pattern(shape), tmp_path / "nothing_in_the_name"
    write(path, frame)
    found = pr.io.load_intensity(path)
    assert torch.equal(found.intensity, corner(frame))
    assert found.intensity.dtype == torch.float32
    assert found.mask is None
    assert found.fourier_shape == shape
    assert found.source == str(path)


@pytest.mark.filterwarnings("ignore:.*exactly 0 beside bright")  # random pixels need not be a pattern
@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_grey_pictures_are_read(mode: str, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    frame = pattern().astype(np.uint8 if mode == "L" else np.uint16) // 8
    image.fromarray(frame).save(tmp_path / "x.png")
    assert torch.equal(pr.io.load_intensity(tmp_path / "x.png").intensity, corner(frame.astype(np.float32)))


@pytest.mark.parametrize("dtype", ["<i2", ">u2", "<u4", ">i4", "<u8", ">f4", "<f8", "<f2"])
def test_every_type_of_number_is_read(dtype: str, tmp_path: Path) -> None:
    frame = pattern().astype(dtype)
    np.save(tmp_path / "x.npy", frame)
    found = pr.io.load_intensity(tmp_path / "x.npy", dtype=torch.float64)
    assert torch.equal(found.intensity, corner(frame.astype(np.float64)))


def test_unusable_pixels_are_masked_and_counted(tmp_path: Path) -> None:
    frame = pattern((4, 5))
    frame[0, 0], frame[0, 1], frame[1, 2], frame[2, 2], frame[3, 4] = np.nan, np.inf, -2, -1, 5000
    np.save(tmp_path / "x.npy", frame)
    found = pr.io.load_intensity(tmp_path / "x.npy", saturation=5000)
    good = np.isfinite(frame) & (frame >= 0) & (frame < 5000)
    assert torch.equal(found.mask, corner(good))
    assert torch.equal(found.intensity, corner(np.where(good, frame, 0)))
    assert (found.missing, found.negative, found.saturated) == (2 / 20, 2 / 20, 1 / 20)


def test_integers_at_the_largest_value_of_their_type_are_saturated(tmp_path: Path) -> None:
    frame = pattern((4, 5)).astype(np.uint16)
    frame[1, 1] = 65535
    np.save(tmp_path / "x.npy", frame)
    found = pr.io.load_intensity(tmp_path / "x.npy")
    assert found.saturated == 1 / 20
    assert int((~found.mask).sum()) == 1


def test_magnitude_is_squared(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", pattern())
    found = pr.io.load_intensity(tmp_path / "x.npy", kind="magnitude")
    assert torch.equal(found.intensity, corner(pattern()) ** 2)


def test_stacks_keep_their_axis_and_are_read_in_part(tmp_path: Path) -> None:
    stack = pattern((5, 8, 9))
    np.save(tmp_path / "x.npy", stack)
    write_h5(tmp_path / "x.h5", stack)
    for name in ("x.npy", "x.h5"):
        assert torch.equal(pr.io.load_intensity(tmp_path / name, ndim=2).intensity, corner(stack))
        assert pr.io.load_intensity(tmp_path / name, ndim=3).fourier_shape == (5, 8, 9)
        part = pr.io.load_intensity(tmp_path / name, ndim=2, index=slice(1, 3))
        assert torch.equal(part.intensity, corner(stack[1:3]))
        assert torch.equal(pr.io.load_intensity(tmp_path / name, ndim=2, index=-1).intensity, corner(stack[4]))


def test_one_axis_is_one_pattern_and_a_single_slice_a_stack_of_one(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pattern((12,)))
    np.save(tmp_path / "b.npy", pattern((1, 6, 7)))
    assert pr.io.load_intensity(tmp_path / "a.npy").ndim == 1
    assert pr.io.load_intensity(tmp_path / "b.npy").fourier_shape == (6, 7)


@pytest.mark.parametrize(("names", "expected"), [(("measured", 1), True), (("valid", 1), True)])
def test_masks_whose_name_says_it_are_used(names: tuple[str, int], expected: bool, tmp_path: Path) -> None:
    mask = np.ones((16, 15), bool)
    mask[2, 3] = False
    np.savez(tmp_path / "x.npz", intensity=pattern(), **{names[0]: mask})
    assert torch.equal(pr.io.load_intensity(tmp_path / "x.npz").mask, corner(mask)) is expected
    assert pr.io.load_intensity(tmp_path / "x.npz", mask_is="ignored").mask is None


def test_masks_whose_name_does_not_say_it_have_to_be_explained(tmp_path: Path) -> None:
    bad = np.zeros((16, 15), np.uint8)
    bad[2, 3] = 1
    np.savez(tmp_path / "x.npz", intensity=pattern(), mask=bad)
    with pytest.raises(ValueError, match=r"mask_is must say what the non-zero pixels of 'mask' .* Pass mask_is='mea"):
        pr.io.load_intensity(tmp_path / "x.npz")
    found = pr.io.load_intensity(tmp_path / "x.npz", mask_is="bad").mask
    assert torch.equal(found, corner(bad == 0))
    assert torch.equal(pr.io.load_mask(tmp_path / "x.npz", mask_is="bad"), corner(bad == 0))
    with pytest.warns(
        UserWarning, match=r"leaves out 99\.6% of the pixels\. If it means the opposite, use mask_is='bad'"
    ):
        assert torch.equal(pr.io.load_mask(tmp_path / "x.npz"), corner(bad != 0))


def test_a_mask_of_a_stack_is_shared_or_one_each(tmp_path: Path) -> None:
    stack, shared, each = pattern((3, 8, 9)), np.ones((8, 9), bool), np.ones((3, 8, 9), bool)
    shared[1, 1] = each[2, 0, 0] = False
    np.savez(tmp_path / "shared.npz", intensity=stack, measured=shared)
    np.savez(tmp_path / "each.npz", intensity=stack, measured=each)
    found = pr.io.load_intensity(tmp_path / "shared.npz", ndim=2, index=slice(1, 3))
    assert torch.equal(found.mask, corner(shared).expand(2, -1, -1))
    found = pr.io.load_intensity(tmp_path / "each.npz", ndim=2, index=slice(1, 3))
    assert torch.equal(found.mask, corner(each)[1:3])


@pytest.mark.parametrize("shape", [(8, 9), (1, 8, 9), (3, 8, 9), (8, 1)])
def test_a_mask_that_broadcasts_to_the_patterns_is_used(shape: tuple[int, ...], tmp_path: Path) -> None:
    stack, mask = pattern((3, 8, 9)), np.random.default_rng(1).random(shape) < 0.7
    whole = np.broadcast_to(mask, stack.shape)
    np.savez(tmp_path / "x.npz", intensity=stack, measured=mask)
    given = pr.io.as_measurement(torch.from_numpy(stack), mask=torch.from_numpy(mask), center="middle")
    assert torch.equal(given.mask, corner(whole))
    assert torch.equal(given.intensity, corner(np.where(whole, stack, 0)))
    bare = pr.io.as_measurement(torch.from_numpy(stack))
    assert torch.equal(bare.masked(torch.from_numpy(mask)).mask, torch.from_numpy(whole.copy()))
    for index in (None, 1, slice(1, 3)):
        found = pr.io.load_intensity(tmp_path / "x.npz", ndim=2, index=index)
        assert torch.equal(found.mask, corner(whole[slice(None) if index is None else index]))


def test_a_mask_of_the_detector_serves_all_frames_of_a_volume(tmp_path: Path) -> None:
    volume, mask = pattern((4, 8, 9)), np.random.default_rng(1).random((8, 9)) < 0.7
    np.save(tmp_path / "mask.npy", mask)
    for center in ("middle", (2, 4, 4)):
        found = pr.io.load_mask(tmp_path / "mask.npy", ndim=3, center=center)
        given = pr.io.as_measurement(torch.from_numpy(volume), ndim=3, center="middle").masked(found)
        assert torch.equal(given.mask, corner(np.broadcast_to(mask, volume.shape), (-3, -2, -1)))


def test_one_object_for_a_stack_of_as_many_patterns_as_it_has_rows(tmp_path: Path) -> None:
    obj = np.random.default_rng(0).random((5, 4)).astype(np.float32)
    np.savez(tmp_path / "x.npz", intensity=pattern((5, 12, 12)), obj=obj)
    assert torch.equal(pr.io.load_intensity(tmp_path / "x.npz", ndim=2, index=3).obj, torch.from_numpy(obj))


def test_support_and_object_come_along(tmp_path: Path) -> None:
    support = np.zeros((16, 15), np.uint8)
    support[3:6, 4:9] = 7
    np.savez(tmp_path / "x.npz", intensity=pattern(), support=support, obj=np.ones((4, 4), np.complex128))
    found = pr.io.load_intensity(tmp_path / "x.npz")
    assert torch.equal(found.support, torch.from_numpy(support != 0))
    assert found.obj.dtype == torch.complex128
    assert "support" in repr(found)
    assert torch.equal(pr.io.load_support(tmp_path / "x.npz"), found.support)
    assert torch.equal(pr.io.load_object(tmp_path / "x.npz"), found.obj)


def test_support_and_objects_of_a_part_of_a_stack(tmp_path: Path) -> None:
    each = np.random.default_rng(0).random((5, 4, 4)).astype(np.float32)
    np.savez(tmp_path / "x.npz", intensity=pattern((5, 8, 9)), support=each > 0.5, obj=each)
    np.savez(tmp_path / "y.npz", intensity=pattern((5, 8, 9)), support=each[0] > 0.5, obj=each[0])
    for index, part in ((slice(1, 3), each[1:3]), (4, each[4])):
        found = pr.io.load_intensity(tmp_path / "x.npz", ndim=2, index=index)
        assert torch.equal(found.obj, torch.from_numpy(part))
        assert torch.equal(found.support, torch.from_numpy(part > 0.5))
        assert torch.equal(pr.io.load_intensity(tmp_path / "y.npz", ndim=2, index=index).obj, torch.from_numpy(each[0]))


def test_load_object_makes_colour_grey_by_its_luma(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    colours = np.random.default_rng(0).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    image.fromarray(colours).save(tmp_path / "x.png")
    expected = 0.299 * colours[..., 0] + 0.587 * colours[..., 1] + 0.114 * colours[..., 2]
    assert np.allclose(pr.io.load_object(tmp_path / "x.png").numpy(), expected)


# --- the centre ------------------------------------------------------------------------------------------------------


def frame_with_center(center: tuple[int, int], size: int = 24) -> tuple[np.ndarray, Tensor]:
    """A frame of a pattern whose zero frequency lies at `center`, and the whole pattern, zero frequency first."""
    whole = pr.operators.fourier_intensity(torch.rand(10, 9, dtype=torch.float64), (2 * size, 2 * size))
    middle = np.fft.fftshift(whole.numpy())
    y, x = size - center[0], size - center[1]
    return middle[y : y + size, x : x + size], whole


def test_center_at_a_pixel_masks_what_the_frame_lacks(tmp_path: Path) -> None:
    frame, whole = frame_with_center((10, 13))
    np.save(tmp_path / "x.npy", frame)
    found = pr.io.load_intensity(tmp_path / "x.npy", center=(10, 13), dtype=torch.float64)
    frequency = np.fft.fftfreq(24, 1 / 24).astype(int)
    expected = whole.numpy()[np.ix_(frequency % 48, frequency % 48)]
    inside = np.outer((frequency >= -10) & (frequency < 14), (frequency >= -13) & (frequency < 11))
    assert np.array_equal(found.mask.numpy(), inside)
    assert np.allclose(found.intensity.numpy(), np.where(inside, expected, 0))


def test_center_corner_moves_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", pattern())
    assert torch.equal(pr.io.load_intensity(tmp_path / "x.npy", center="corner").intensity, torch.tensor(pattern()))


def test_inspect_asks_about_a_flat_level() -> None:
    generator = torch.Generator().manual_seed(0)
    line = torch.linspace(-1, 1, 30)
    obj = torch.exp(-4 * (line[:, None].square() + line.square()))
    intensity = pr.operators.fourier_intensity(obj, (96, 96))
    counts = torch.poisson(intensity * 1e6 / intensity.sum() + 0.5, generator=generator)
    said = pr.io.inspect(pr.io.as_measurement(counts)).warnings
    asked = [text for text in said if text.startswith("the pattern ends in a flat level of 0.")]
    assert len(asked) == 1
    assert float(asked[0].rpartition("background=")[2]) == pytest.approx(0.5, abs=0.05)
    speckled = pr.operators.fourier_intensity(torch.rand(30, 30, generator=generator), (96, 96))
    said = pr.io.inspect(pr.io.as_measurement(speckled)).warnings
    assert not any("flat level" in text for text in said)


def test_inspect_does_not_advise_a_centre_that_is_hardly_better() -> None:
    line = torch.linspace(-1, 1, 24)
    y, x = line[:, None], line
    phase = 0.4 * x * y - 0.2 * y**3 - 0.3 * x**3 - 1.2 * x.square() * y + x * y.square() - 0.6 * y.square()
    obj = torch.polar(torch.ones(24, 24), 1.2 * phase)
    found = pr.io.inspect(pr.io.as_measurement(pr.operators.fourier_intensity(obj, (96, 96))))
    assert max(abs(c - 48) for c in found.center_friedel) >= 1
    assert not any("load it with center" in text for text in found.warnings)


def test_inspect_finds_a_displaced_center() -> None:
    frame, _ = frame_with_center((10, 13))
    found = pr.io.inspect(pr.io.as_measurement(torch.from_numpy(frame.copy()), center="middle"))
    assert found.center_friedel == (10, 13)
    assert found.center_peak == (10, 13)
    assert "load it with center=(10, 13)" in found.warnings[0]


# --- inspect ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "shape"), [((20, 24), (64, 63)), ((7, 5), (33, 32)), ((6, 5, 7), (16, 15, 16))])
def test_inspect_measures_a_real_object(size: tuple[int, ...], shape: tuple[int, ...]) -> None:
    measured = pr.operators.fourier_intensity(torch.rand(size) + 0.1, shape)
    found = pr.io.inspect(pr.io.as_measurement(measured, ndim=len(size)))
    assert found.object_shape == size
    assert found.oversampling == tuple(m / n for m, n in zip(shape, size, strict=True))
    assert found.center_friedel == found.center_peak == found.center == tuple(m // 2 for m in shape)
    assert found.friedel == pytest.approx(1, abs=1e-5)
    assert found.warnings == ()
    assert found.total == pytest.approx(float(measured.sum()), rel=1e-5)


def test_friedel_symmetry_equals_a_slow_search() -> None:
    frame, mask = pattern((9, 10)).astype(float), np.random.default_rng(1).random((9, 10)) < 0.8
    found = pr.io.inspect(pr.io.as_measurement(torch.tensor(frame), mask=torch.tensor(mask), center="middle"))
    root = np.sqrt(frame)
    root = root - root[mask].mean()
    best, place = -1.0, None
    for i in range(2 * 9 - 1):
        for j in range(2 * 10 - 1):
            pairs = [
                (root[y, x], root[i - y, j - x])
                for y in range(9)
                for x in range(10)
                if 0 <= i - y < 9 and 0 <= j - x < 10 and mask[y, x] and mask[i - y, j - x]
            ]
            if len(pairs) > mask.sum() / 2:
                a, b = np.array(pairs).T
                score = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
                if score > best:
                    best, place = score, (i / 2, j / 2)
    assert found.center_friedel == place
    assert found.friedel == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("shape", [(32, 32), (32, 40), (33, 34)])
def test_inspect_does_not_warn_of_an_object_that_fills_its_half_of_the_frame(shape: tuple[int, int]) -> None:
    obj = torch.rand(16, 16) + 0.1
    found = pr.io.inspect(pr.io.as_measurement(pr.operators.fourier_intensity(obj, shape)))
    assert found.object_shape == (16, 16)
    assert found.warnings == ()


def test_inspect_warns_of_what_is_wrong() -> None:
    crowded = pr.operators.fourier_intensity(torch.rand(16, 16), (31, 31))
    assert "fills the frame: the object just fits" in pr.io.inspect(pr.io.as_measurement(crowded)).warnings[0]
    large = torch.fft.fft2(torch.rand(32, 32) * (torch.arange(32) < 24)).abs().square()
    assert "fills the frame" in pr.io.inspect(pr.io.as_measurement(large)).warnings[0]
    stopped = pr.operators.fourier_intensity(torch.rand(8, 8), (32, 32))
    stopped[0, 0] = float("nan")
    assert "the zero frequency was not measured" in pr.io.inspect(pr.io.as_measurement(stopped)).warnings[0]
    vortex = torch.rand(8, 8) * torch.exp(6.28j * torch.rand(8, 8))
    said = pr.io.inspect(pr.io.as_measurement(pr.operators.fourier_intensity(vortex, (32, 32)))).warnings
    assert any("Friedel symmetry is" in text for text in said)
    few = pr.operators.fourier_intensity(torch.rand(8, 8), (32, 32)) - 0.05
    said = " ".join(pr.io.inspect(pr.io.as_measurement(few)).warnings)
    assert "negative and were left out" in said
    assert "cannot be used" in said
    bright = pr.operators.fourier_intensity(torch.rand(8, 8), (32, 32))
    said = pr.io.inspect(pr.io.as_measurement(bright, saturation=float(bright.max()))).warnings
    assert any("saturated and were left out" in text for text in said)


def test_inspect_looks_at_the_mean_of_a_stack() -> None:
    stack = pr.operators.fourier_intensity(torch.rand(3, 12, 10), (32, 32))
    found = pr.io.inspect(pr.io.as_measurement(stack))
    assert (found.patterns, found.shape, found.object_shape) == (3, (32, 32), (12, 10))
    assert "32 x 32, 3 patterns" in str(found)


def test_inspect_of_the_measured_logo(data_dir: Path) -> None:
    logo = pr.io.load_intensity(data_dir / "measured" / "esrf_logo_cdi.npz")
    assert logo.fourier_shape == (512, 512)
    assert int((~logo.mask).sum()) == 2720
    assert int(logo.support.sum()) == 7577
    found = pr.io.inspect(logo)
    assert found.center_friedel == (256, 256)
    assert found.friedel > 0.999
    # The support is 143 x 126 pixels; with the centre of the pattern missing its size is known to about a tenth.
    assert all(abs(n - true) <= 15 for n, true in zip(found.object_shape, (143, 126), strict=True))
    assert "the zero frequency was not measured" in found.warnings[0]


def test_object_pixel_size() -> None:
    held = {"wavelength": 1e-10, "distance": 2.0, "pixel_size": (50e-6, 25e-6)}
    found = pr.io.as_measurement(torch.rand(20, 10) + 1, **held)
    assert found.object_pixel_size == pytest.approx((2e-10 / 20 / 50e-6, 2e-10 / 10 / 25e-6))
    assert "object pixel" in str(pr.io.inspect(found))
    assert pr.io.as_measurement(torch.rand(20, 10) + 1).object_pixel_size is None


# --- what is written is read again, by this library and by others ----------------------------------------------------


def measurement() -> pr.io.Measurement:
    obj = torch.polar(torch.rand(6, 5), torch.rand(6, 5))
    mask = torch.rand(2, 16, 15) < 0.9
    return pr.io.as_measurement(
        pr.operators.fourier_intensity(torch.stack([obj, obj * 2]), (16, 15)),
        mask=mask,
        support=torch.ones(6, 5, dtype=torch.bool),
        obj=obj,
        wavelength=1.5e-10,
        distance=1.25,
        pixel_size=(55e-6, 75e-6),
    )


@pytest.mark.parametrize("name", ["x.cxi", "x.h5", "x.hdf5", "x.npz"])
def test_save_intensity_and_load_intensity_are_inverse(name: str, tmp_path: Path) -> None:
    given = measurement()
    pr.io.save_intensity(tmp_path / name, given)
    found = pr.io.load_intensity(tmp_path / name)
    for field in ("intensity", "mask", "support", "obj"):
        assert torch.equal(getattr(found, field), getattr(given, field)), field
    assert (found.wavelength, found.distance, found.pixel_size) == (1.5e-10, 1.25, (55e-6, 75e-6))
    assert found.ndim == 2
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["x.cxi", "x.npz"])
@pytest.mark.parametrize("ndim", [1, 3])
def test_save_intensity_keeps_the_number_of_axes(name: str, ndim: int, tmp_path: Path) -> None:
    given = pr.io.as_measurement(torch.rand(4, 5, 6, 7)[(0,) * (3 - ndim)], ndim=ndim)
    pr.io.save_intensity(tmp_path / name, given)
    found = pr.io.load_intensity(tmp_path / name)
    assert found.ndim == ndim
    assert torch.equal(found.intensity, given.intensity)


def test_cxi_is_laid_out_as_the_standard_says(tmp_path: Path) -> None:
    given = measurement()
    pr.io.save_intensity(tmp_path / "x.cxi", given)
    with h5py.File(tmp_path / "x.cxi") as file:
        assert file["cxi_version"][()] == 160
        assert file["number_of_entries"][()] == 1
        detector = file["entry_1/instrument_1/detector_1"]
        assert np.array_equal(detector["data"], np.fft.fftshift(given.intensity, axes=(-2, -1)))
        assert detector["mask"].dtype == np.uint32
        assert np.array_equal(detector["mask"][()] == 0, np.fft.fftshift(given.mask, axes=(-2, -1)))
        assert (detector["y_pixel_size"][()], detector["x_pixel_size"][()]) == (55e-6, 75e-6)
        assert detector["distance"].attrs["units"] == "m"
        energy = file["entry_1/instrument_1/source_1/energy"][()]
        assert energy * 1.5e-10 == pytest.approx(1.98644586e-25, rel=1e-8)  # h c, CODATA 2018
        assert np.array_equal(file["entry_1/data_1/data"], detector["data"])
        assert file["entry_1"].attrs["NX_class"] == "NXentry"
        image = file["entry_1/image_1"]
        assert image["data_space"][()] == b"real"
        assert np.array_equal(image["data"], given.obj)
        assert np.array_equal(image["mask"], 0x10000 * given.support.numpy().astype(np.uint32))
        assert image["data"].dtype.kind == "c"


def test_cxi_of_other_programs_is_read(tmp_path: Path) -> None:
    """As PyNX 2022.1 and cdtools 0.3.2 write it: one mask bit means something good, the energy stands in for lambda."""
    frame, mask = pattern(), np.zeros((16, 15), np.uint32)
    mask[0, :3], mask[1, 1] = [1, 2, 0x200], 0x1000
    with h5py.File(tmp_path / "x.cxi", "w") as file:
        file["cxi_version"] = 140
        file["entry_1/instrument_1/detector_1/data"] = frame
        file["entry_1/instrument_1/detector_1/mask"] = mask
        file["entry_1/instrument_1/detector_1/distance"] = 1200.0
        file["entry_1/instrument_1/detector_1/distance"].attrs["units"] = "mm"
        file["entry_1/instrument_1/detector_1/x_pixel_size"] = 55e-6
        file["entry_1/instrument_1/source_1/energy"] = 1.98644586e-25 / 2e-10
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
    for key in (None, "entry_1/data_1/data"):
        found = pr.io.load_intensity(tmp_path / "x.cxi", key=key)
        assert torch.equal(found.mask, corner((mask == 0) | (mask == 0x1000)))
        assert torch.equal(found.intensity, corner(np.where(mask % 0x1000, 0, frame)))
        assert found.wavelength == pytest.approx(2e-10, rel=1e-6)
        assert (found.distance, found.pixel_size) == (pytest.approx(1.2), (55e-6, 55e-6))
    assert torch.equal(pr.io.load_mask(tmp_path / "x.cxi"), found.mask)


def test_cxi_images_say_where_their_center_is_and_what_they_hold(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.cxi", "w") as file:
        file["entry_1/image_1/data"] = pattern()
        file["entry_1/image_1/is_fft_shifted"] = 1
        file["entry_1/image_1/data_type"] = "unphased amplitude"
    assert torch.equal(pr.io.load_intensity(tmp_path / "x.cxi").intensity, torch.tensor(pattern()) ** 2)
    found = pr.io.load_intensity(tmp_path / "x.cxi", kind="intensity")
    assert torch.equal(found.intensity, torch.tensor(pattern()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_cxi_is_read_by_cdtools(tmp_path: Path) -> None:
    data = pytest.importorskip("cdtools.tools.data.data")
    given = measurement()
    pr.io.save_intensity(tmp_path / "x.cxi", given)
    with h5py.File(tmp_path / "x.cxi") as file:
        values, _ = data.get_data(file)
        assert np.array_equal(values, np.fft.fftshift(given.intensity, axes=(-2, -1)))
        assert np.array_equal(data.get_mask(file), np.fft.fftshift(given.mask, axes=(-2, -1)))
        assert data.get_wavelength(file) == pytest.approx(1.5e-10)
        assert data.get_detector_geometry(file)[0] == pytest.approx(1.25)


def test_a_tensor_is_saved_as_a_pattern(tmp_path: Path) -> None:
    given = torch.rand(8, 9)
    pr.io.save_intensity(tmp_path / "x.npz", given)
    assert torch.equal(pr.io.load_intensity(tmp_path / "x.npz").intensity, given)


@dataclasses.dataclass
class Result:
    """Stands for what a solver returns."""

    obj: Tensor
    support: Tensor | None
    error: Tensor
    history: Tensor
    seeds: list[int]
    recipe: str
    seconds: float
    nothing: None = None


def result() -> Result:
    support = torch.rand(6, 5) < 0.7
    obj = torch.polar(torch.rand(6, 5), torch.rand(6, 5))
    return Result(obj, support, torch.rand(()), torch.rand(4, 700), [3, 1, 4], "raar:400,er:100", 1.5)


def assert_same_fields(found: dict[str, object], given: object) -> None:
    for field in dataclasses.fields(given):
        value = getattr(given, field.name)
        if value is None:
            assert field.name not in found
        elif isinstance(value, Tensor):
            assert torch.equal(found[field.name], value), field.name
            assert found[field.name].dtype == value.dtype, field.name
        else:
            assert found[field.name] == value, field.name
            assert type(found[field.name]) is type(value), field.name


@pytest.mark.parametrize("name", ["x.h5", "x.npz"])
def test_save_reconstruction_and_load_reconstruction_are_inverse(name: str, tmp_path: Path) -> None:
    given = result()
    pr.io.save_reconstruction(tmp_path / name, given, measurement=measurement())
    assert_same_fields(pr.io.load_reconstruction(tmp_path / name), given)
    assert torch.equal(pr.io.load_object(tmp_path / name), given.obj)
    assert torch.equal(pr.io.load_support(tmp_path / name), given.support)


@pytest.mark.parametrize("name", ["x.h5", "x.npz"])
def test_fields_of_files_of_earlier_versions_get_their_present_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pr.io.save_reconstruction(tmp_path / name, result())
    monkeypatch.setattr(_results, "_RENAMED", {"seeds": "grains"})
    found = pr.io.load_reconstruction(tmp_path / name)
    assert found["grains"] == [3, 1, 4]
    assert "seeds" not in found


def test_reconstructions_are_laid_out_as_in_pynx(tmp_path: Path) -> None:
    given = result()
    pr.io.save_reconstruction(tmp_path / "x.cxi", given, measurement=measurement())
    with h5py.File(tmp_path / "x.cxi") as file:
        assert np.array_equal(file["entry_1/data_1/data"], given.obj)
        assert np.array_equal(file["entry_1/image_1/support"], given.support)
        assert np.array_equal(file["entry_1/image_1/mask"][()] != 0, given.support)
        assert file["entry_1/image_1/instrument_1/detector_1/distance"][()] == 1.25
        assert "entry_1/instrument_1/detector_1/data" not in file
        assert tuple(file["entry_1/image_1/process_1/configuration/iobs_shape"]) == (16, 15)
        assert np.allclose(file["entry_1/image_1/process_1/results/history"], given.history)


def test_reconstructions_of_other_programs_are_read(tmp_path: Path) -> None:
    obj = np.ones((4, 5), np.complex64)
    with h5py.File(tmp_path / "x.cxi", "w") as file:
        file["entry_1/image_1/data"], file["entry_1/image_1/mask"] = obj, obj.real.astype(np.int8)
        file["entry_1/image_1/support"] = h5py.SoftLink("/entry_1/image_1/mask")
        file["entry_1/image_1/process_1/results/llk_poisson"] = 1.25
        file["entry_1/image_1/process_1/results/cycle_history"] = np.zeros(3, [("cycle", "i4"), ("llk", "f8")])
    found = pr.io.load_reconstruction(tmp_path / "x.cxi")
    assert set(found) == {"obj", "support", "llk_poisson"}
    assert float(found["llk_poisson"]) == 1.25
    assert found["support"].dtype == torch.bool


@pytest.mark.parametrize("dtype", [">f8", ">c8", ">i4", np.longdouble, np.clongdouble, np.float16])
def test_a_reconstruction_of_any_type_is_read(dtype: Any, tmp_path: Path) -> None:
    obj = np.arange(20).reshape(4, 5).astype(dtype)
    with h5py.File(tmp_path / "x.cxi", "w") as file:
        file["entry_1/image_1/data"] = obj
    assert np.array_equal(pr.io.load_reconstruction(tmp_path / "x.cxi")["obj"].numpy(), obj)


# --- properties ------------------------------------------------------------------------------------------------------


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 99))
def test_as_measurement_of_a_batch_equals_its_items(rows: int, columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    stack = torch.randn(3, rows, columns, generator=generator) + 2
    stack[:, 0, 0] = 1
    batch = pr.io.as_measurement(stack, center="middle", saturation=4)
    masks = torch.ones_like(stack) > 0 if batch.mask is None else batch.mask
    for item in range(3):
        one = pr.io.as_measurement(stack[item], center="middle", saturation=4)
        assert torch.equal(one.intensity, batch.intensity[item])
        assert torch.equal(torch.ones_like(one.intensity) > 0 if one.mask is None else one.mask, masks[item])


@given(st.integers(2, 9), st.integers(2, 9), st.data())
def test_center_pixel_and_middle_agree(rows: int, columns: int, data: st.DataObject) -> None:
    values = torch.rand(rows, columns) + 0.1
    middle = pr.io.as_measurement(values, center="middle")
    pixel = pr.io.as_measurement(values, center=(rows // 2, columns // 2))
    assert torch.equal(middle.intensity, pixel.intensity)
    assert pixel.mask is None
    other = (data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1)))
    moved = pr.io.as_measurement(values, center=other)
    assert moved.intensity[0, 0] == values[other]


# --- errors: files that cannot be read -------------------------------------------------------------------------------


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"load_intensity: path must name a file, got '.*none', which does not"):
        pr.io.load_intensity(tmp_path / "none")
    with pytest.raises(IsADirectoryError, match=r"load_intensity: path must name a file, got the folder"):
        pr.io.load_intensity(tmp_path)


def test_empty_and_unknown_files(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ValueError, match=r"path must name a file with data, got '.*empty', which is empty\."):
        pr.io.load_intensity(tmp_path / "empty")
    (tmp_path / "text").write_text("a text of another kind" * 100)
    with pytest.raises(ValueError, match=r"path must name a file of a known kind, got '.*text'\. HDF5/CXI, npy, npz"):
        pr.io.load_intensity(tmp_path / "text")


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("kept", [0.5, 0.98])
def test_truncated_files_are_refused(write, kept: float, tmp_path: Path) -> None:
    path = tmp_path / "x"
    write(path, pattern((64, 64)))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"load_intensity: .*x must be a whole .* file, got the error: .*truncated"):
        pr.io.load_intensity(path)


def test_truncated_pictures_are_refused(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(pattern((64, 64)).astype(np.uint8)).save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"must be a whole png file"):
        pr.io.load_intensity(tmp_path / "x.png")


class Evil:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("kind", ["npy", "npz", "pickle", "torch"])
def test_pickled_objects_are_refused_and_never_run(kind: str, tmp_path: Path) -> None:
    evil = np.array([Evil(tmp_path / "run")], dtype=object)
    path = tmp_path / "x"
    with path.open("wb") as stream:
        if kind == "npy":
            np.save(stream, evil)
        elif kind == "npz":
            np.savez(stream, intensity=evil)
        elif kind == "torch":
            torch.save({"x": Evil(tmp_path / "run")}, stream)
        else:
            pickle.dump(evil, stream)
    with pytest.raises(
        ValueError, match=r"path must name a file without pickled Python objects, got .* could run code"
    ):
        pr.io.load_intensity(path)
    assert not (tmp_path / "run").exists()


def test_files_larger_than_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", pattern((8, 16, 16)))
    write_h5(tmp_path / "x.h5", pattern((8, 16, 16)))
    monkeypatch.setattr(_memory, "physical_memory", lambda: 4 * 16 * 16 * 9)
    for name in ("x.npy", "x.h5"):
        with pytest.raises(
            MemoryError, match=r"\(8, 16, 16\) of .* must fit into memory, .* GiB present\. Read part of"
        ):
            pr.io.load_intensity(tmp_path / name, ndim=2)
        assert pr.io.load_intensity(tmp_path / name, ndim=2, index=slice(0, 4)).intensity.shape == (4, 16, 16)


def test_arrays_that_are_not_clear(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=pattern(), b=pattern())
    with pytest.raises(
        ValueError, match=r"key must say which array of .*x.npz to read, got None\. It holds 'a' \(16, 15"
    ):
        pr.io.load_intensity(tmp_path / "x.npz")
    with pytest.raises(
        ValueError, match=r"key must name an array of .*x.npz, got 'c'\. It holds 'a' \(16, 15\) float32"
    ):
        pr.io.load_intensity(tmp_path / "x.npz", key="c")
    np.savez(tmp_path / "none.npz", a=np.float32(3))
    with pytest.raises(ValueError, match=r"key must say which array .* It holds no array\."):
        pr.io.load_intensity(tmp_path / "none.npz")
    np.savez(tmp_path / "many.npz", **{f"a{i}": pattern((2, 2)) for i in range(20)})
    with pytest.raises(ValueError, match=r" and 8 more\."):
        pr.io.load_intensity(tmp_path / "many.npz")


def test_a_reconstruction_is_no_intensity(tmp_path: Path) -> None:
    pr.io.save_reconstruction(tmp_path / "x.h5", result())
    with pytest.raises(
        ValueError, match=r"must hold an intensity, got an object in 'entry_1/image_1/data'\. Read it w"
    ):
        pr.io.load_intensity(tmp_path / "x.h5")


def test_an_intensity_is_no_reconstruction(tmp_path: Path) -> None:
    pr.io.save_intensity(tmp_path / "x.h5", torch.rand(4, 4))
    with pytest.raises(ValueError, match=r"load_reconstruction: .*x.h5 must hold a reconstruction, got no array 'obj'"):
        pr.io.load_reconstruction(tmp_path / "x.h5")


def test_surprising_axes_and_types(tmp_path: Path) -> None:
    np.save(tmp_path / "three.npy", pattern((3, 8, 9)))
    with pytest.raises(
        ValueError, match=r"ndim must be given for 'data' .* shape \(3, 8, 9\)\. Use ndim=2 for a stack"
    ):
        pr.io.load_intensity(tmp_path / "three.npy")
    with pytest.raises(ValueError, match=r"load_intensity: ndim must be 1, 2 or 3, got 4"):
        pr.io.load_intensity(tmp_path / "three.npy", ndim=4)
    with pytest.raises(ValueError, match=r"index must lie in a stack of 3, got 3"):
        pr.io.load_intensity(tmp_path / "three.npy", ndim=2, index=3)
    with pytest.raises(ValueError, match=r"index must lie in a stack of 3, got slice\(2, 2"):
        pr.io.load_intensity(tmp_path / "three.npy", ndim=2, index=slice(2, 2))
    np.save(tmp_path / "two.npy", pattern())
    with pytest.raises(
        ValueError, match=r"ndim must be at most the number of axes of 'data' .*\(16, 15\), got 3\. Cho"
    ):
        pr.io.load_intensity(tmp_path / "two.npy", ndim=3)
    with pytest.raises(ValueError, match=r"index must be None for a single pattern of shape \(16, 15\), got 0"):
        pr.io.load_intensity(tmp_path / "two.npy", index=0)
    np.save(tmp_path / "complex.npy", pattern() * 1j)
    with pytest.raises(ValueError, match=r"must hold one real number per pixel, got complex64"):
        pr.io.load_intensity(tmp_path / "complex.npy")
    colors = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    pytest.importorskip("PIL.Image").fromarray(colors).save(tmp_path / "c.png")
    with pytest.raises(ValueError, match=r"per pixel, got a colour picture\. A diffraction pattern is needed"):
        pr.io.load_intensity(tmp_path / "c.png")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, 4)), r"intensity must hold a value above 0 in every pattern, got none\. Look at the mask"),
        (np.full((4, 4), np.nan), r"intensity must hold a measured pixel in every pattern, got none\. Look at"),
        (np.full((4, 4), -1.0), r"intensity must hold a measured pixel in every pattern, got none"),
    ],
)
def test_patterns_without_content(values: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(ValueError, match=f"load_intensity: {message}"):
        pr.io.load_intensity(tmp_path / "x.npy")


def test_a_stack_names_its_empty_patterns(tmp_path: Path) -> None:
    stack = pattern((9, 4, 4))
    stack[[1, 3]] = 0
    np.save(tmp_path / "x.npy", stack)
    with pytest.raises(ValueError, match=r"in every pattern, got none in \[1, 3\] of 9\. Leave these patterns out"):
        pr.io.load_intensity(tmp_path / "x.npy", ndim=2)
    stack[:7] = 0
    np.save(tmp_path / "x.npy", stack)
    with pytest.raises(ValueError, match=r"none in \[0, 1, 2, 3, 4\] and more of 9"):
        pr.io.load_intensity(tmp_path / "x.npy", ndim=2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kind": "amplitude"}, ValueError, r"kind must be one of 'intensity', 'magnitude', got 'amplitude'"),
        ({"center": "edge"}, ValueError, r"center must be one of 'corner', 'middle', got 'edge'"),
        ({"center": (3, 99)}, ValueError, r"center must be a pixel inside the frame \(16, 15\), got \(3, 99\)"),
        ({"center": (3,)}, ValueError, r"center must be a pixel inside the frame \(16, 15\), got \(3,\)"),
        ({"saturation": -1}, ValueError, r"saturation must be a finite number above 0, got -1"),
        ({"ndim": 0}, ValueError, r"ndim must be an integer of at least 1, got 0"),
        ({"mask": torch.ones(16, 15)}, TypeError, r"mask must be a boolean tensor, got torch.float32"),
        (
            {"mask": torch.ones(5, 5) > 0},
            ValueError,
            r"mask must broadcast to the intensity \(16, 15\), got \(5, 5\)\. Use one mask for all",
        ),
        ({"support": torch.ones(5, 5)}, TypeError, r"support must be a boolean tensor"),
        ({"obj": torch.ones(5, 5, dtype=torch.int32)}, TypeError, r"obj must be real or complex floating"),
        ({"pixel_size": (1.0, 2.0, 3.0)}, ValueError, r"pixel_size must be one number or a pair \(y, x\), got"),
        ({"pixel_size": 0.0}, ValueError, r"pixel_size must be a finite number above 0"),
        ({"wavelength": -1.0}, ValueError, r"wavelength must be a finite number above 0"),
        ({"distance": "far"}, TypeError, r"distance must be a finite number above 0, got 'far'"),
    ],
)
def test_as_measurement_errors(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"as_measurement: {message}"):
        pr.io.as_measurement(torch.from_numpy(pattern()), **options)


def test_more_errors(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"as_measurement: intensity must be real floating, got torch.int64"):
        pr.io.as_measurement(torch.ones(4, 4, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"inspect: measurement must be a Measurement, got Tensor\. Use load_intensity"):
        pr.io.inspect(torch.ones(4, 4))
    np.save(tmp_path / "zero.npy", np.zeros((4, 4)))
    with pytest.raises(
        ValueError, match=r"load_support: support must be non-zero somewhere, got .* 'data' of .*zero.npy"
    ):
        pr.io.load_support(tmp_path / "zero.npy")
    with pytest.raises(ValueError, match=r"load_mask: mask_is must be one of 'measured', 'bad', got 'good'"):
        pr.io.load_mask(tmp_path / "zero.npy", mask_is="good")
    with pytest.raises(ValueError, match=r"load_intensity: mask_is must be one of 'measured', 'bad', 'ignored'"):
        pr.io.load_intensity(tmp_path / "zero.npy", mask_is="good")
    with pytest.raises(
        ValueError, match=r"load_intensity: dtype must be one of torch.float32, torch.float64, got torch.b"
    ):
        pr.io.load_intensity(tmp_path / "zero.npy", dtype=torch.bfloat16)
    with pytest.raises(ValueError, match=r"load_object: key must name an array of .*zero.npy, got 'x'"):
        pr.io.load_object(tmp_path / "zero.npy", key="x")


@pytest.mark.parametrize(("package", "write"), [("h5py", write_h5), ("tifffile", write_tif), ("fabio", write_edf)])
def test_a_missing_package_is_named(package: str, write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x", pattern())
    monkeypatch.setitem(sys.modules, package, None)
    message = rf'load_intensity: the package {package} must be installed\. Install it with pip install "phaseret\[io\]"'
    with pytest.raises(ImportError, match=message):
        pr.io.load_intensity(tmp_path / "x")


# --- errors: files that cannot be written ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.h5", "x.npz"])
def test_existing_files_are_kept(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(FileExistsError, match=r"save_intensity: path must not exist yet, got .* or set overwrite"):
        pr.io.save_intensity(tmp_path / name, torch.rand(4, 4))
    with pytest.raises(FileExistsError, match=r"save_reconstruction: path must not exist yet"):
        pr.io.save_reconstruction(tmp_path / name, result())
    assert (tmp_path / name).read_text() == "precious"
    pr.io.save_intensity(tmp_path / name, torch.rand(4, 4), overwrite=True)
    assert pr.io.load_intensity(tmp_path / name).fourier_shape == (4, 4)


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"path must lie in an existing folder, got '.*none'\. Make it first"):
        pr.io.save_intensity(tmp_path / "none" / "x.h5", torch.rand(4, 4))
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(IsADirectoryError, match=r"path must name a file, got the folder '.*folder.h5'"):
        pr.io.save_intensity(tmp_path / "folder.h5", torch.rand(4, 4))
    with pytest.raises(
        ValueError, match=r"the ending of path must be one of '.cxi', '.h5', '.hdf5', '.npz', '.vti', got '.tif'"
    ):
        pr.io.save_intensity(tmp_path / "x.tif", torch.rand(4, 4))
    with pytest.raises(TypeError, match=r"reconstruction must be what a solver returned, got Tensor"):
        pr.io.save_reconstruction(tmp_path / "x.h5", torch.rand(4, 4))
    assert [path.name for path in tmp_path.iterdir()] == ["folder.h5"]


def test_check_output_finds_what_would_be_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pr.io.check_output(tmp_path / "x.h5")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"check_output: the ending of path must be one of '.cxi'"):
        pr.io.check_output(tmp_path / "x.tif")
    (tmp_path / "x.npz").write_text("precious")
    with pytest.raises(FileExistsError, match=r"check_output: path must not exist yet"):
        pr.io.check_output(tmp_path / "x.npz")
    pr.io.check_output(tmp_path / "x.npz", overwrite=True)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"check_output: the package h5py must be installed"):
        pr.io.check_output(tmp_path / "x.h5")


@pytest.mark.parametrize("name", ["x.h5", "x.npz"])
def test_a_pattern_is_not_taken_for_an_object(name: str, tmp_path: Path) -> None:
    pr.io.save_intensity(tmp_path / name, torch.rand(8, 8))
    with pytest.raises(ValueError, match=r"load_object: .* must hold an object, got a diffraction pattern\. Reconstr"):
        pr.io.load_object(tmp_path / name)
    obj = torch.rand(4, 4)
    simulated = pr.io.as_measurement(pr.operators.fourier_intensity(obj, (8, 8)), obj=obj)
    pr.io.save_intensity(tmp_path / name, simulated, overwrite=True)
    assert torch.equal(pr.io.load_object(tmp_path / name), obj)


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    """The size a process may write is limited, which fails the same way as a full disk."""
    pytest.importorskip("resource")
    pr.io.save_intensity(tmp_path / "old.h5", torch.ones(4, 4))
    code = (
        "import resource, sys, torch, phaseret as pr\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "for name in ('old.h5', 'new.h5', 'new.npz'):\n"
        "    try: pr.io.save_intensity(sys.argv[1] + '/' + name, torch.rand(256, 256), overwrite=True)\n"
        "    except OSError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    expected = "save_intensity: {} must be writable, got the error: the disk is full. Free some space."
    assert run.stdout.splitlines() == [expected.format(tmp_path / x) for x in ("old.h5", "new.h5", "new.npz")]
    assert [path.name for path in tmp_path.iterdir()] == ["old.h5"]
    assert torch.equal(pr.io.load_intensity(tmp_path / "old.h5").intensity, torch.ones(4, 4))


def interrupted(path: Path) -> None:
    with _output.written(path, overwrite=False) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt


def overtaken(path: Path) -> None:
    with _output.written(path, overwrite=False) as temporary:
        temporary.write_text("ours")
        path.write_text("theirs")


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match=r"written: path must not exist yet"):
        overtaken(tmp_path / "x")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "theirs")]


# --- the dataclass ---------------------------------------------------------------------------------------------------


def test_measurement_moves_between_types_and_devices(device: torch.device) -> None:
    moved = measurement().to(device, torch.float64)
    assert moved.intensity.dtype == torch.float64
    assert moved.mask.dtype == moved.support.dtype == torch.bool
    assert {x.device.type for x in (moved.intensity, moved.mask, moved.support, moved.obj)} == {device.type}
    assert moved.to("cpu").wavelength == 1.5e-10


def test_measurement_repr() -> None:
    found = pr.io.as_measurement(torch.rand(8, 8) + 1, source="somewhere")
    assert repr(found) == "Measurement((8, 8), ndim=2, unmeasured=0.00%, source='somewhere')"


def test_npz_members_that_are_no_arrays_are_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", intensity=pattern())
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("notes.txt", "a text")
    with pytest.warns(UserWarning, match="'notes.txt' of the archive was not read"):
        found = pr.io.load_intensity(tmp_path / "x.npz")
    assert found.fourier_shape == (16, 15)
