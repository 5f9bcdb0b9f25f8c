"""What other programs call things and where they put them: names, groups, headers of detectors, tables with titles."""

from __future__ import annotations

import bz2
import contextlib
import lzma
import re
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st

import phaseret as pr
from phaseret.cli import main
from phaseret.io._load import Wanted, opened_pattern

fabio = pytest.importorskip("fabio")

SHAPE = (26, 30)
COUNTS = np.random.default_rng(3).poisson(40.0, SHAPE)
GOOD = np.ones(SHAPE, bool)
GOOD[3:5, 7:10] = False
LEVEL = int(np.sort(COUNTS.ravel())[-4])
OVER = int((LEVEL < COUNTS).sum())


def unmeasured(found: Any) -> int:
    return 0 if found.mask is None else int((~found.mask).sum())


def in_frame(found: pr.io.Measurement) -> np.ndarray[Any, Any]:
    return np.fft.fftshift(found.intensity.numpy(), tuple(range(-found.ndim, 0)))


def heard(path: Path, **options: Any) -> tuple[pr.io.Measurement, str]:
    """What is read, and all that is said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = pr.io.load_intensity(path, **options)
    return found, " ".join(str(one.message) for one in caught)


def write(path: Path, arrays: dict[str, Any], attributes: dict[str, Any] | None = None) -> Path:
    """An HDF5 file with these arrays and links, and attributes called GROUP@NAME."""
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file[name] = value
        for name, value in (attributes or {}).items():
            group, _, attribute = name.partition("@")
            (file[group] if group in file else file.require_group(group or "/")).attrs[attribute] = value
    return path


# --- names and places ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sense", ["good", "valid", "measured", "bad", "invalid", "dead", "hot", "beamstop"])
@pytest.mark.parametrize("form", ["{}", "{}_pixels", "{}Pixels", "{} mask", "mask_{}", "{}-pixel-mask", "{}pix"])
def test_masks_are_what_their_names_say_however_they_are_spelt(sense: str, form: str, tmp_path: Path) -> None:
    name = form.format(sense)
    mask = GOOD if sense in ("good", "valid", "measured") else ~GOOD
    np.savez(tmp_path / "x.npz", data=COUNTS, **{name: mask.astype(float)})
    for key in (None, "data"):
        assert unmeasured(pr.io.load_intensity(tmp_path / "x.npz", key=key)) == 6
    write(tmp_path / "x.h5", {"scan/data": COUNTS, f"scan/{name.upper()}": mask})
    assert unmeasured(pr.io.load_intensity(tmp_path / "x.h5")) == 6


def test_a_list_of_pixels_is_no_mask_and_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", data=COUNTS, hot_pixels=np.argwhere(~GOOD))
    found, said = heard(tmp_path / "x.npz", key="data")
    assert unmeasured(found) == 0
    assert "'hot_pixels' of the file lies beside the pattern and was not used" in said


@pytest.mark.parametrize("name", ["mask", "masks/bad", "entry/mask", "calibration/pixel_mask"])
@pytest.mark.parametrize("key", [None, "entry/data/data"])
def test_a_mask_in_another_group_is_named(name: str, key: str | None, tmp_path: Path) -> None:
    write(tmp_path / "x.h5", {"entry/data/data": COUNTS, name: ~GOOD * 1.0, "entry/at": np.ones((40, 2))})
    assert f"{name!r} of the file lies beside the pattern" in heard(tmp_path / "x.h5", key=key)[1]


def test_what_belongs_to_another_pattern_is_not_named(tmp_path: Path) -> None:
    arrays = {"1.1/det/data": COUNTS, "2.1/det/data": COUNTS, "2.1/det/mask": ~GOOD, "2.1/info/beam_center_x": 3.0}
    arrays |= {"2.1/info/beam_center_y": 4.0, "2.1/info/saturation_value": LEVEL, "1.1/other/bad": np.ones((4, 5))}
    assert heard(write(tmp_path / "x.h5", arrays), key="1.1/det/data")[1] == ""


@pytest.mark.parametrize("names", [("center_{}",), ("c{}",), ("beam_{}",), ("{}_center",), ("BeamPos{}",)])
def test_coordinates_that_may_be_the_beam_are_asked_about(names: tuple[str], tmp_path: Path) -> None:
    arrays = {names[0].format("x"): 9, names[0].format("y"): 11}
    np.savez(tmp_path / "x.npz", data=COUNTS, **arrays)
    write(tmp_path / "x.h5", {"scan/data": COUNTS} | {f"meta/{name}": value for name, value in arrays.items()})
    for file in ("x.npz", "x.h5"):
        assert (
            "(11, 9), were not used. If that is the pixel of the beam, use center=(11, 9)" in heard(tmp_path / file)[1]
        )
        assert heard(tmp_path / file, center="middle")[1] == ""


@pytest.mark.parametrize("place", ["data@beam_center", "data@Center", "meta@none"])
def test_a_pair_is_asked_about_wherever_it_stands(place: str, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"data": COUNTS} | ({"meta/center": np.array([11, 9])} if "none" in place else {})
    write(tmp_path / "x.h5", arrays, {place: (11, 9)})
    assert "(11, 9), was not used. If that is the pixel of the beam, use center=(11, 9)" in heard(tmp_path / "x.h5")[1]


def test_a_beam_centre_in_lengths_without_a_pixel_size_is_asked_about(tmp_path: Path) -> None:
    folder = "entry/instrument/detector"
    arrays = {f"{folder}/data": COUNTS, f"{folder}/beam_center_x": 2.7, f"{folder}/beam_center_y": 3.1}
    found, said = heard(write(tmp_path / "x.h5", arrays, {f"{folder}/beam_center_{axis}@units": "mm" for axis in "xy"}))
    assert unmeasured(found) == 0
    assert "in 'mm', were not used. Give the pixel of the beam with center=, one index per axis" in said


@pytest.mark.parametrize("name", ["saturation_value", "SaturationLevel", "overload", "Count_cutoff"])
def test_a_saturation_counts_beside_the_pattern_and_is_named_elsewhere(name: str, tmp_path: Path) -> None:
    assert (
        unmeasured(pr.io.load_intensity(write(tmp_path / "a.h5", {"scan/data": COUNTS, f"scan/{name}": LEVEL}))) == OVER
    )
    path = write(tmp_path / "b.h5", {"scan/data": COUNTS, f"meta/{name}": LEVEL})
    assert f"'meta/{name}' of the file, {LEVEL}, was not used" in heard(path)[1]
    assert unmeasured(heard(path, saturation=LEVEL + 1)[0]) == OVER
    assert heard(path, saturation=LEVEL + 1)[1] == ""


@pytest.mark.parametrize("value", [20.0, np.full(SHAPE, 20.0)])
@pytest.mark.parametrize("name", ["background", "dark_frame", "bkg", "pedestal"])
def test_a_background_is_named_also_if_it_is_a_number(name: str, value: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", data=COUNTS, **{name: value})
    assert f"what {name!r} does, give it to the solver as background=" in heard(tmp_path / "x.npz")[1]
    np.savez(tmp_path / "x.npz", data=COUNTS, **{name: 0.0})
    assert heard(tmp_path / "x.npz")[1] == ""


def test_a_row_of_numbers_is_no_pattern_where_there_are_pictures(tmp_path: Path) -> None:
    arrays = {"1.1/instrument/eiger/image": COUNTS, "1.1/instrument/roi1/data": np.arange(3.0)}
    classes = {"1.1@NX_class": "NXentry", "1.1/instrument@NX_class": "NXinstrument"}
    classes |= {f"1.1/instrument/{name}@NX_class": "NXdetector" for name in ("eiger", "roi1")}
    for attributes in ({}, classes):
        path = write(tmp_path / "x.h5", arrays, attributes)
        assert np.array_equal(in_frame(pr.io.load_intensity(path)), COUNTS)


@pytest.mark.parametrize("key", [None, "entry/data"])
def test_all_frames_are_read_where_the_signal_is_the_first_part(key: str | None, tmp_path: Path) -> None:
    frames = np.stack([COUNTS, COUNTS + 1, COUNTS + 2])
    arrays = {"entry/data/data_000001": frames[:2], "entry/data/data_000002": frames[2:]}
    classes = {"entry@NX_class": "NXentry", "entry/data@NX_class": "NXdata", "entry/data@signal": "data_000001"}
    path = write(tmp_path / "x.h5", arrays, classes)
    assert np.array_equal(in_frame(pr.io.load_intensity(path, key=key, ndim=2)), frames)
    assert len(pr.io.load_intensity(path, key="entry/data/data_000001", ndim=2).intensity) == 2


@pytest.mark.parametrize("key", ["scan", "/scan/", "./scan", "scan/./intensity", "scan//intensity"])
def test_a_group_stands_for_what_is_called_as_a_pattern_in_it(key: str, tmp_path: Path) -> None:
    found = pr.io.load_intensity(write(tmp_path / "x.h5", {"scan/intensity": COUNTS, "scan/good": GOOD}), key=key)
    assert np.array_equal(in_frame(found), COUNTS * GOOD)


@pytest.mark.parametrize("shown", [1, 2])
def test_of_several_detectors_the_shown_one_is_read_and_the_others_are_named(shown: int, tmp_path: Path) -> None:
    folder = "entry_1/instrument_1/detector_{}"
    arrays: dict[str, Any] = {f"{folder.format(number)}/data": COUNTS * number for number in (1, 2)}
    arrays |= {"cxi_version": 160, f"{folder.format(shown)}/mask": (~GOOD).astype(np.uint32)}
    arrays |= {"entry_1/data_1/data": h5py.SoftLink(f"/{folder.format(shown)}/data")}
    found, said = heard(write(tmp_path / "x.cxi", arrays))
    assert np.array_equal(in_frame(found), shown * COUNTS * GOOD)
    assert f"'{folder.format(3 - shown)}/data' of the file lies beside the pattern and was not used" in said
    found, said = heard(tmp_path / "x.cxi", key="/entry_1/data_1/data")
    assert np.array_equal(in_frame(found), shown * COUNTS * GOOD)
    assert said == ""


@pytest.mark.parametrize("shifted", [0, 1])
@pytest.mark.parametrize("scaled", [0, 1])
def test_files_of_libspimage_say_what_they_hold(shifted: int, scaled: int, tmp_path: Path) -> None:
    values, good = (np.sqrt(COUNTS) if scaled else COUNTS), GOOD.astype(int)
    if shifted:
        values, good = np.fft.ifftshift(values), np.fft.ifftshift(good)
    arrays = {"real": values, "mask": good, "image_center": [15.0, 13.0, 0.0], "lambda": [1e-9]}
    arrays |= {name: [float(value)] for name, value in (("shifted", shifted), ("scaled", scaled), ("phased", 0))}
    arrays |= {"detector_distance": [2.0], "pixel_size": [1e-5, 1e-5, 0.0], "num_dimensions": [2.0], "version": [2]}
    path = write(tmp_path / "x.h5", arrays)
    for key in (None, "/real"):
        found, said = heard(path, key=key)
        assert said == ""
        assert in_frame(found) == pytest.approx(COUNTS * GOOD)
        assert unmeasured(found) == 6
        assert (found.wavelength, found.distance) == (1e-9, 2.0)
    with h5py.File(path, "a") as file:
        file["phased"][...], file["imag"] = 1, values
    with pytest.raises(ValueError, match="key must say which array"):
        pr.io.load_intensity(path)


# --- masks and values ------------------------------------------------------------------------------------------------

SQUARE = np.random.default_rng(5).integers(1, 900, (24, 24))
TURNS = {
    "is transposed": np.transpose,
    "is upside down": np.flipud,
    "has left and right swapped": np.fliplr,
    "is turned by half": lambda x: x[::-1, ::-1],
}


@pytest.mark.parametrize("how", [None, *TURNS])
@pytest.mark.parametrize("value", [0, -1, np.nan])
@pytest.mark.parametrize("frames", [1, 3])
def test_a_mask_that_fits_when_it_is_turned_is_questioned(how: str, value: float, frames: int, tmp_path: Path) -> None:
    good = np.ones(SQUARE.shape, bool)
    good[2:5, 14:21] = False
    mask = TURNS[how](good) if how else good
    values = np.stack([np.where(good, SQUARE + number, value) for number in range(frames)])
    np.savez(tmp_path / "x.npz", data=values, good=mask)
    for ndim in (2, 3):
        _, said = heard(tmp_path / "x.npz", ndim=ndim, saturation=np.inf)
        assert ("leaves out pixels that hold values" in said) == (how is not None)
        assert how is None or f"fits those without if it {how}. Turn it" in said


def test_a_mask_of_dark_pixels_or_of_lit_ones_is_not_questioned(tmp_path: Path) -> None:
    bad = np.zeros(SQUARE.shape, bool)
    bad[2:5, 9:20] = True
    for values in (SQUARE, np.where(SQUARE > 700, SQUARE, 0)):  # nothing is wrong with them, or most are dark
        np.savez(tmp_path / "x.npz", data=values, bad=bad)
        assert "hold values" not in heard(tmp_path / "x.npz", saturation=np.inf)[1]


def test_a_mask_of_the_other_axes_is_refused_with_what_to_do(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", data=COUNTS, good=GOOD.T)
    with pytest.raises(ValueError, match=r"broadcast to the intensity \(26, 30\), got \(30, 26\)\. Transpose it"):
        pr.io.load_intensity(tmp_path / "x.npz")


@pytest.mark.parametrize("mask_is", ["measured", "bad"])
def test_a_mask_that_leaves_nearly_all_out_is_questioned(mask_is: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", (mask_is == "bad") == GOOD)
    other = {"measured": "bad", "bad": "measured"}[mask_is]
    with pytest.warns(UserWarning, match=rf"leaves out 99\.2% .* If it means the opposite, use mask_is='{other}'"):
        pr.io.load_mask(tmp_path / "x.npy", mask_is=mask_is)
    assert int((~pr.io.load_mask(tmp_path / "x.npy", mask_is=other)).sum()) == 6
    write(tmp_path / "x.cxi", {"cxi_version": 160, "entry_1/instrument_1/detector_1/mask": GOOD.astype(np.uint32)})
    with pytest.warns(UserWarning, match=r"leaves out 99\.2% .* If it means the opposite, save it as a plain array"):
        pr.io.load_mask(tmp_path / "x.cxi")


@pytest.mark.parametrize(("shape", "axis"), [((24, 24, 3), -1), ((24, 3, 24), 1), ((24, 24, 19), -1)])
def test_frames_that_are_square_along_another_axis_alone_are_asked_about(
    shape: tuple[int, ...], axis: int, tmp_path: Path
) -> None:
    stack = np.random.default_rng(0).integers(1, 900, shape)
    np.save(tmp_path / "x.npy", stack)
    name = "last" if axis == -1 else "middle"
    assert f"If it is the {name}, use stack_axis={axis}" in heard(tmp_path / "x.npy", ndim=2)[1]
    found, said = heard(tmp_path / "x.npy", ndim=2, stack_axis=axis)
    assert said == ""
    assert np.array_equal(in_frame(found), np.moveaxis(stack, axis, 0))
    np.save(tmp_path / "x.npy", np.moveaxis(stack, axis, 0))
    assert heard(tmp_path / "x.npy", ndim=2)[1] == ""


def test_axes_of_one_around_a_support_are_left_out(tmp_path: Path) -> None:
    for shape in ((1, 5, 6), (5, 6, 1), (5, 6), (1, 5, 1, 6)):
        np.save(tmp_path / "x.npy", np.ones(shape))
        assert pr.io.load_support(tmp_path / "x.npy").shape == (5, 6)
    np.save(tmp_path / "x.npy", np.ones((1, 6)))
    assert pr.io.load_support(tmp_path / "x.npy").shape == (1, 6)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"crop": (60, 60)},
        {"bin": 2},
        {"crop": (60, 62), "bin": (2, 1)},
        {"roi": ((6, 76), (4, 74))},
        {"roi": ((30, 70), (20, 60)), "crop": (36, 36)},
        {"center": (40, 40)},
        {"center": (44, 39), "crop": (60, 60)},
    ],
)
def test_the_centre_that_is_advised_is_that_of_the_file(options: dict[str, Any], tmp_path: Path) -> None:
    """Whatever part of the frame is read: with the advice there is none left to give."""
    obj = np.random.default_rng(3).random((12, 12))
    pattern = np.fft.fftshift(abs(np.fft.fft2(obj, (80, 84))) ** 2)
    np.save(tmp_path / "x.npy", np.roll(pattern, (3, -5), (0, 1)))
    told = [text for text in pr.io.inspect(pr.io.load_intensity(tmp_path / "x.npy", **options)).warnings if "=" in text]
    assert [text.partition(": ")[2] for text in told] == ["load it with center=(43, 37)"]
    found = pr.io.inspect(pr.io.load_intensity(tmp_path / "x.npy", **options | {"center": (43, 37)}))
    assert not any("center=" in text for text in found.warnings)


@pytest.mark.parametrize("shape", [(63, 75), (64, 75), (63, 64)])
def test_fftshift_in_place_of_its_inverse_is_seen(shape: tuple[int, int], tmp_path: Path) -> None:
    obj = np.random.default_rng(3).random((20, 20))
    pattern = abs(np.fft.fft2(obj, shape)) ** 2
    np.save(tmp_path / "x.npy", np.fft.fftshift(np.fft.fftshift(pattern)))
    last = tuple(m - 1 if m % 2 else 0 for m in shape)
    said = heard(tmp_path / "x.npy")[1]
    assert f"gathers at the pixel {last} of the frame" in said
    assert "If fftshift moved it there, undo that with ifftshift." in said
    np.save(tmp_path / "x.npy", np.fft.ifftshift(np.load(tmp_path / "x.npy")))
    found, said = heard(tmp_path / "x.npy")
    assert (found.intensity[0, 0], said) == (pytest.approx(pattern[0, 0]), "")
    np.save(tmp_path / "x.npy", np.fft.ifftshift(pattern))
    at = tuple((m + 1) // 2 for m in shape)
    said = heard(tmp_path / "x.npy", center="corner")[1]
    assert f"gathers at the pixel {at} of the frame" in said
    assert heard(tmp_path / "x.npy", center=at)[0].intensity[0, 0] == pytest.approx(pattern[0, 0])


def speckle(kind: str, seed: int) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(seed)
    obj = random.random((24, 24)) if kind == "real" else np.exp(2j * np.pi * random.random((24, 24)))
    return np.fft.fftshift(abs(np.fft.fft2(obj, (96, 100))) ** 2)


@pytest.mark.parametrize("kind", ["real", "complex"])
@given(seed=st.integers(0, 99))
def test_pictures_of_logarithms_are_questioned(kind: str, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path, pattern = tmp_path_factory.mktemp("x") / "x.npy", speckle(kind, seed)
    share = pattern / pattern.max()
    for logs in (np.log10(1 + 1e3 * pattern), np.log(share + 1e-9) + 21, np.round(255 * np.log1p(1e6 * share) / 14)):
        np.save(path, logs)
        assert "its values spread as logarithms do" in heard(path)[1]


@pytest.mark.parametrize("kind", ["real", "complex"])
@given(seed=st.integers(0, 99), photons=st.sampled_from([1e3, 1e5, 1e7]), dark=st.sampled_from([0, 3, 100]))
def test_intensities_and_roots_are_not_taken_for_logarithms(
    kind: str, seed: int, photons: float, dark: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path, pattern = tmp_path_factory.mktemp("x") / "x.npy", speckle(kind, seed)
    counts = np.random.default_rng(seed).poisson(pattern * (photons / pattern.sum()) + dark)
    level = max(1, int(np.median(counts)))
    for values in (pattern, np.sqrt(pattern), counts, np.minimum(counts, level), np.roll(counts, 48, 0)):
        np.save(path, values)
        assert "spread as" not in heard(path)[1]


@pytest.mark.parametrize("scale", [1e-30, 1e-4, 1e-3])
def test_small_numbers_are_no_roots_and_no_logarithms(scale: float, tmp_path: Path) -> None:
    pattern = np.fft.fftshift(abs(np.fft.fft2(np.random.default_rng(3).random((20, 20)), (64, 64))) ** 2)
    np.save(tmp_path / "x.npy", scale / pattern.max() * pattern)
    assert heard(tmp_path / "x.npy")[1] == ""


@pytest.mark.parametrize("offset", [(0.5, 0.5), (0.0, 0.5), (2.0, -3.0), (0.0, 0.0)])
def test_a_centre_beside_the_middle_is_said_also_between_pixels(
    offset: tuple[float, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    obj = torch.rand(12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, x = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
    wave = torch.polar(obj, 2 * np.pi * (offset[0] * y + offset[1] * x).double() / 32)
    intensity = pr.operators.fourier_intensity(wave, (32, 32), centered=True)
    place = tuple(16 + shift for shift in offset)
    between, away = any(shift % 1 for shift in offset), any(offset)
    said = " ".join(pr.io.inspect(pr.io.as_measurement(intensity, center="middle")).warnings)
    shown = "(" + ", ".join(f"{c:g}" for c in place) + ")"
    assert (f"symmetric about {shown}, between pixels" in said) == between
    assert ("symmetric about" in said) == away
    np.save(tmp_path / "x.npy", intensity.numpy())
    words = ["reconstruct", str(tmp_path / "x.npy"), "--support", "12,12", "--schedule", "er:2", "--starts", "1"]
    words += ["--constraint", "nonnegative"]
    for number, more in enumerate(([], ["--center", "middle"], ["--constraint", "complex"])):
        main([*words, *more, "-o", str(tmp_path / f"{number}.h5")])
        fix = "use --support auto" if between else f"use --center {place[0]:g},{place[1]:g}"
        heard_of = f"if that is its centre, {fix}".lower() in capsys.readouterr().err.lower().replace("\n", " ")
        assert heard_of == (away and not more)


@given(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)), st.sampled_from([(8, 12, 9), (9, 10, 16)]))
def test_blocks_may_differ_along_the_axes(counts: tuple[int, ...], shape: tuple[int, ...]) -> None:
    values = torch.from_numpy(np.random.default_rng(0).integers(1, 900, shape)).double()
    mask = torch.ones(shape, dtype=torch.bool)
    mask[1, 2, 3] = False
    whole = pr.io.as_measurement(values, mask=mask, ndim=3, pixel_size=(1e-6, 2e-6), saturation=float("inf"))
    found = whole.binned(counts)
    for axis, count in enumerate(counts):  # one axis after the other is the same
        whole = whole.binned([count if other == axis else 1 for other in range(3)])
    assert torch.equal(found.intensity, whole.intensity)
    assert torch.equal(found.intensity > 0, torch.ones_like(found.intensity) > 0 if found.mask is None else found.mask)
    assert found.pixel_size == pytest.approx((1e-6 * counts[1], 2e-6 * counts[2]))
    if len(set(counts)) == 1:
        assert torch.equal(
            found.intensity,
            pr.io.as_measurement(values, mask=mask, ndim=3, saturation=float("inf")).binned(counts[0]).intensity,
        )


def test_blocks_of_single_axes_from_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curve = np.random.default_rng(0).integers(1, 900, (8, 20, 24))
    np.save(tmp_path / "x.npy", curve)
    assert main(["info", str(tmp_path / "x.npy"), "--ndim", "3", "--bin", "1,2,2"]) == 0
    assert "8 x 10 x 12" in capsys.readouterr().out
    with opened_pattern(tmp_path / "x.npy", Wanted(ndim=3, bin=(2, 2, 1))) as pattern:
        np.save(tmp_path / "dark.npy", np.full((20, 24), 5.0))
        assert torch.equal(pattern.background(str(tmp_path / "dark.npy"), None), torch.full((10, 24), 20.0))
    for wrong in ((2, 2), (1, 2, 13), (2, 2, 2, 2)):
        with pytest.raises(
            ValueError, match=r"bin must be at most half of the frame .* one number for all axes or for"
        ):
            pr.io.load_intensity(tmp_path / "x.npy", ndim=3, bin=wrong)


@given(
    st.sampled_from([(16, 16), (24, 33), (16, 17, 20)]),
    st.integers(1, 7),
    st.sampled_from([1.0, 1e-6, 300.0]),
)
def test_light_that_gathers_elsewhere_along_some_axes_is_asked_about(
    shape: tuple[int, ...], number: int, scale: float
) -> None:
    ndim = len(shape)
    away = [bool(number >> axis & 1) for axis in range(ndim)]
    frame = torch.ones(shape)
    frame[tuple(m // 2 for m in shape)] = 1e5
    axes = tuple(axis for axis, half in enumerate(away) if half)
    moved = torch.fft.ifftshift(frame, axes) * scale if axes else frame * scale
    pixel = tuple(0 if half else m // 2 for m, half in zip(shape, away, strict=True))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = pr.io.as_measurement(moved, ndim=ndim, center="middle", saturation=float("inf"))
    said = " ".join(str(one.message) for one in caught)
    if not axes:
        assert said == ""
    elif all(away):
        assert "use center='corner'" in said
    else:
        assert f"gathers at the pixel {pixel} of the frame" in said
        assert f"use center={pixel}" in said
        right = pr.io.as_measurement(moved, ndim=ndim, center=pixel, saturation=float("inf"))
        assert right.intensity[(0,) * ndim] == found.intensity.max()


def test_the_pixel_where_light_gathers_counts_in_the_whole_frame(tmp_path: Path) -> None:
    frame = np.ones((40, 44), np.float32)
    frame[4, 26] = 1e5
    np.save(tmp_path / "x.npy", frame)
    options: dict[str, Any] = {"roi": ((4, 36), (10, 42)), "saturation": np.inf}
    assert "use center=(4, 26)" in heard(tmp_path / "x.npy", **options)[1]
    assert heard(tmp_path / "x.npy", center=(4, 26), **options)[0].intensity[0, 0] == 1e5


def test_a_solver_asks_about_single_axes_too() -> None:
    intensity = pr.operators.fourier_intensity(torch.ones(9, 9), (32, 32))
    for centered, shift in ((False, "ifftshift"), (True, "fftshift")):
        values = torch.fft.fftshift(intensity, (-2,))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pr.solvers.HIO(2)(values, support=torch.ones(9, 9, dtype=torch.bool), centered=centered)
        said = " ".join(str(one.message) for one in caught)
        assert f"use torch.fft.{shift}(intensity, dim=({-1 if centered else -2},))" in said


@given(st.sampled_from([4095.0, 1.0, 2.5e-7, 3e9]), st.sampled_from(["intensity", "magnitude"]), st.integers(0, 20))
def test_a_flat_top_is_left_out_whatever_the_scale(level: float, kind: Any, seed: int) -> None:
    values = torch.rand(40, 40, generator=torch.Generator().manual_seed(seed)).double() ** 8
    values = values / values.flatten().sort().values[-30]
    values = torch.where(values < 1, 0.85 * values, 1.0)  # few come near
    values = level * (values if kind == "intensity" else values.sqrt())
    at_top = int((values == values.max()).sum())
    with pytest.warns(UserWarning, match=rf"{at_top} pixels share the largest value"):
        found = pr.io.as_measurement(values, kind=kind)
    assert unmeasured(found) == at_top == 30
    few = torch.poisson(torch.full((40, 40), 1.5), generator=torch.Generator().manual_seed(seed))
    assert pr.io.as_measurement(few * min(level, 1.0), kind=kind).mask is None


@pytest.mark.parametrize("kind", ["intensity", "magnitude"])
@pytest.mark.parametrize("change", ["subtracted", "divided"])
@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_a_plateau_that_is_no_longer_flat_is_asked_about(kind: Any, change: str, scale: float) -> None:
    rng = np.random.default_rng(0)
    obj = torch.from_numpy(rng.random((28, 28)))
    pattern = pr.operators.fourier_intensity(obj, (64, 64), centered=True).numpy()
    sharp = 4095 * pattern / pattern.max()
    flat = np.minimum(4095 * pattern / np.sort(pattern.ravel())[-30], 4095)
    for values, is_flat in ((sharp, False), (flat, True)):
        changed = (values - rng.normal(0, 3, values.shape)).clip(0) if change == "subtracted" else values
        changed = changed / rng.normal(1, 0.01, values.shape) if change == "divided" else changed
        changed = scale * (changed if kind == "intensity" else np.sqrt(changed))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = pr.io.as_measurement(torch.from_numpy(changed), center="middle", kind=kind)
        said = " ".join(str(one.message) for one in caught)
        assert ("lie within a tenth of the largest value" in said) == is_flat
        if is_flat:
            level = float(re.search("use saturation=([-.e0-9]+[0-9])", said)[1])  # type: ignore[index]
            left = pr.io.as_measurement(torch.from_numpy(changed), center="middle", kind=kind, saturation=level)
            assert 30 <= unmeasured(left) - unmeasured(found) <= 45


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_numbers_that_wrapped_below_0_are_questioned(dtype: Any, tmp_path: Path) -> None:
    with np.errstate(over="ignore"):
        np.save(tmp_path / "x.npy", COUNTS.astype(dtype) - dtype(35))
    assert f"numbers just below {int(np.iinfo(dtype).max) + 1}, and none lies between" in heard(tmp_path / "x.npy")[1]
    marked = np.where(GOOD, COUNTS.astype(dtype), np.iinfo(dtype).max - (np.arange(30) % 2).astype(dtype))
    np.save(tmp_path / "x.npy", marked.astype(dtype))  # two numbers, as detectors mark two kinds of pixels
    assert "just below" not in heard(tmp_path / "x.npy")[1]
    bright = np.random.default_rng(0).integers(1, np.iinfo(dtype).max - 5, SHAPE, dtype)
    np.save(tmp_path / "x.npy", bright)
    assert "just below" not in heard(tmp_path / "x.npy")[1]


def test_numbers_of_each_frame_count_where_they_agree(tmp_path: Path) -> None:
    folder = "entry/instrument/detector"
    arrays = {f"{folder}/data": np.stack([COUNTS] * 4), f"{folder}/beam_center_x": np.full(4, 9.0)}
    arrays |= {f"{folder}/beam_center_y": np.full((4, 1), 11.0), f"{folder}/saturation_value": np.full(4, LEVEL)}
    found, said = heard(write(tmp_path / "x.h5", arrays), ndim=2, center="middle")
    assert said == ""
    assert unmeasured(found) == 4 * OVER
    write(tmp_path / "x.h5", arrays | {f"{folder}/beam_center_y": np.full(4, 11.0)})
    assert "beam centre (11, 9) was taken" in heard(tmp_path / "x.h5", ndim=2)[1]
    write(tmp_path / "x.h5", arrays | {f"{folder}/saturation_value": np.array([LEVEL, LEVEL, LEVEL, 2 * LEVEL])})
    assert unmeasured(heard(tmp_path / "x.h5", ndim=2, center="middle")[0]) == 0


@pytest.mark.parametrize(("numbers", "pixel"), [((11, 9, 0), "(11, 9)"), ((-1, -1), ""), ((0, 0), "")])
def test_a_pair_that_says_nothing_is_not_asked_about(numbers: tuple[int, ...], pixel: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", data=COUNTS, center=numbers)
    said = heard(tmp_path / "x.npz")[1]
    assert f"use center={pixel}" in said if pixel else said == ""


@pytest.mark.parametrize(
    "name", ["diffraction_amplitude", "measuredModulus", "fourier_magnitudes", "fmag", "data@quantity"]
)
def test_a_word_of_the_name_says_that_it_is_the_magnitude(name: str, tmp_path: Path) -> None:
    array, _, attribute = name.partition("@")
    said = {name: "amplitude"} if attribute else {}
    found, text = heard(write(tmp_path / "x.h5", {array: np.sqrt(COUNTS) * 1.5}, said))
    assert "was taken for the magnitude, as its" in text
    assert in_frame(found) == pytest.approx(2.25 * COUNTS)
    for other in ("amplitude_squared", "intensity_from_amplitude", "stamp", "modulated"):
        assert "magnitude" not in heard(write(tmp_path / "x.h5", {other: COUNTS}))[1]


@pytest.mark.parametrize("place", ["scan/is_fft_shifted", "scan@is_fft_shifted", "scan/data@is_fft_shifted"])
def test_a_pattern_that_is_said_to_be_shifted_has_its_origin_in_the_corner(place: str, tmp_path: Path) -> None:
    for value in (0, 1):
        arrays, attributes = {"scan/data": COUNTS}, {place: value} if "@" in place else {}
        path = write(tmp_path / "x.h5", arrays | ({} if attributes else {place: value}), attributes)
        assert pr.io.load_intensity(path).intensity[0, 0] == (COUNTS[0, 0] if value else COUNTS[13, 15])


@pytest.mark.parametrize("base", ["10", "e"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logarithms_of_counts_are_questioned(base: str, dtype: Any, tmp_path: Path) -> None:
    values = (np.log10 if base == "10" else np.log)(COUNTS + 1.0).astype(dtype)
    np.save(tmp_path / "x.npy", values)
    assert f"its values are logarithms to the base {base} of whole numbers" in heard(tmp_path / "x.npy")[1]
    assert heard(tmp_path / "x.npy", kind="intensity")[1] == ""
    np.save(tmp_path / "x.npy", values * 1.01)
    assert heard(tmp_path / "x.npy")[1] == ""


@pytest.mark.parametrize("color", [0, 2, 4, 6])
def test_colours_of_16_bits_are_no_pattern_and_may_be_a_mask(color: int, tmp_path: Path) -> None:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[color]
    planes = np.repeat(np.where(GOOD, 60000 + COUNTS, 0)[..., None], channels, -1).astype(">u2")
    planes[..., 3 if color == 6 else channels - (color == 4) :] = 65535
    rows = b"".join(b"\0" + row.tobytes() for row in planes)
    header = struct.pack(">IIBBBBB", *SHAPE[::-1], 16, color, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = (struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x)) for name, x in chunks)
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # its white is not one number
        assert int((~pr.io.load_mask(tmp_path / "x.png")).sum()) == 6
    if color == 0:
        assert np.array_equal(in_frame(pr.io.load_intensity(tmp_path / "x.png")), np.where(GOOD, 60000 + COUNTS, 0))
    else:
        with pytest.raises(ValueError, match=r"must be grey, or have colours of 8 bits, got uint16\. Save it grey"):
            pr.io.load_intensity(tmp_path / "x.png")


@pytest.mark.parametrize("packer", [bz2, lzma])
def test_files_are_unpacked_however_they_are_packed(packer: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", COUNTS)
    packed = packer.compress((tmp_path / "x.npy").read_bytes())
    (tmp_path / "x.npy.z").write_bytes(packed)
    assert np.array_equal(in_frame(pr.io.load_intensity(tmp_path / "x.npy.z")), COUNTS)
    (tmp_path / "cut.npy.z").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ValueError, match=rf"cut\.npy\.z must be a whole {'bzip2' if packer is bz2 else 'xz'} file"):
        pr.io.load_intensity(tmp_path / "cut.npy.z")
    (tmp_path / "twice.z").write_bytes(packer.compress(packed))
    with pytest.raises(ValueError, match="must name a file that was packed once"):
        pr.io.load_intensity(tmp_path / "twice.z")


# --- MATLAB ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_complex_arrays_of_matlab_are_no_patterns(compressed: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"wave": COUNTS + 2j, "obj": COUNTS}, do_compression=compressed)
    with pytest.raises(ValueError, match=r"'wave' of .* must hold one real number per pixel, got complex128"):
        pr.io.load_intensity(path, key="wave")
    assert torch.equal(pr.io.load_object(path, key="wave").imag, torch.full(SHAPE, 2.0, dtype=torch.float64))
    assert np.array_equal(in_frame(pr.io.load_intensity(path, key="obj")), COUNTS)


@given(st.sampled_from(range(3)), st.sampled_from([(4, 4, 4), (4, 6, 5)]), st.integers(0, 3))
def test_a_mask_that_is_stored_as_the_stack_is_arranged_as_it(
    tmp_path_factory: pytest.TempPathFactory, axis: int, shape: tuple[int, ...], seed: int
) -> None:
    path = tmp_path_factory.mktemp("mat") / "x.mat"
    rng = np.random.default_rng(seed)
    values, bad = rng.integers(1, 900, shape), rng.random(shape) < 0.2
    scipy.io.savemat(path, {"data": values, "bad": bad})
    found, _ = heard(path, ndim=2, stack_axis=axis, center="corner", saturation=np.inf)
    expected = np.moveaxis(np.where(bad, 0, values), axis, 0)
    assert np.array_equal(found.intensity.numpy(), expected)
    part, _ = heard(path, ndim=2, stack_axis=axis, center="corner", saturation=np.inf, index=[2, 0])
    assert np.array_equal(part.intensity.numpy(), expected[[2, 0]])


# --- headers ---------------------------------------------------------------------------------------------------------

DECTRIS = f"""# Pixel_size 172e-6 m x 172e-6 m
# Count_cutoff {LEVEL} counts
# Wavelength 1.5 A
# Detector_distance 2.5 m
# Beam_xy (9.00, 11.00) pixels
"""


def test_the_header_that_dectris_writes_into_a_tif_counts(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", COUNTS.astype(np.int32), description=DECTRIS, metadata=None)
    found, said = heard(tmp_path / "x.tif")
    assert "beam centre (11, 9) was taken" in said
    assert found.intensity[0, 0] == COUNTS[11, 9]
    assert (found.pixel_size, found.wavelength, found.distance) == ((172e-6, 172e-6), 1.5e-10, 2.5)
    assert unmeasured(heard(tmp_path / "x.tif", center="middle")[0]) == OVER


def test_what_imagej_shows_otherwise_than_it_is_stored_is_said(tmp_path: Path) -> None:
    stored = (COUNTS + 32768).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", stored, imagej=True, metadata={"c0": -32768.0, "c1": 1.0})
    assert (
        "ImageJ shows its numbers as -32768 + 1 times what is stored, which was not applied"
        in heard(tmp_path / "x.tif")[1]
    )
    tifffile.imwrite(tmp_path / "x.tif", stored, imagej=True, metadata={"c0": 0.0, "c1": 1.0})
    assert heard(tmp_path / "x.tif")[1] == ""


@pytest.mark.parametrize("signs", [" {} ", " = {} ", ": {} ", ",{}, "])
def test_signs_in_the_header_of_dectris_say_no_more_than_a_space(signs: str, tmp_path: Path) -> None:
    header = re.sub(r"# (\w+) (.*)", lambda line: f"# {line[1]}{signs.format(line[2])}", DECTRIS.strip()) + "\n"
    tifffile.imwrite(tmp_path / "x.tif", COUNTS.astype(np.int32), description=header, metadata=None)
    found, _ = heard(tmp_path / "x.tif")
    assert found.intensity[0, 0] == COUNTS[11, 9]
    assert (found.pixel_size, found.wavelength, found.distance) == ((172e-6, 172e-6), 1.5e-10, 2.5)
    assert unmeasured(heard(tmp_path / "x.tif", center="middle")[0]) == OVER


def edf(path: Path, values: np.ndarray[Any, Any], **header: str) -> Path:
    fabio.edfimage.EdfImage(data=values, header=header).write(str(path))
    return path


@pytest.mark.parametrize("size", ["0.000172", "172e-6 m", "172 um", "0.172 mm", "172_um", "1.72e-4_m"])
def test_lengths_of_edf_have_units_and_keys_no_case(size: str, tmp_path: Path) -> None:
    header = {
        "psize_1": size,
        "PSize_2": size,
        "WAVELENGTH": "1.5 A",
        "SampleDistance": "250 cm",
        "Saturation": str(LEVEL),
    }
    found, said = heard(edf(tmp_path / "x.edf", COUNTS.astype(np.uint32), **header))
    assert said == ""
    assert found.pixel_size == pytest.approx((172e-6, 172e-6))
    assert (found.wavelength, found.distance) == (pytest.approx(1.5e-10), pytest.approx(2.5))
    assert unmeasured(found) == OVER


def test_the_centre_of_edf_may_have_a_unit(tmp_path: Path) -> None:
    found, said = heard(edf(tmp_path / "x.edf", COUNTS, Center_1="9.5_pixel", Center_2="11.5 pixel"))
    assert "beam centre (11, 9) was taken" in said
    assert found.intensity[0, 0] == COUNTS[11, 9]


@pytest.mark.parametrize("frames", [1, 3])
def test_the_errors_of_edf_are_no_frames(frames: int, tmp_path: Path) -> None:
    content = b""
    for block in (f"{number}.Image.{kind}" for number in range(frames) for kind in ("Psd", "Error")):
        values = np.sqrt(COUNTS) if block.endswith("Error") else COUNTS + int(block[0])
        data = values.astype("<f4").tobytes()
        text = f"{{\nEDF_DataBlockID = {block} ;\nByteOrder = LowByteFirst ;\nDataType = FloatValue ;\n"
        text += f"Dim_1 = {SHAPE[1]} ;\nDim_2 = {SHAPE[0]} ;\nSize = {len(data)} ;\n"
        content += text.ljust(1022).encode() + b"}\n" + data
    (tmp_path / "x.edf").write_bytes(content)
    found, said = heard(tmp_path / "x.edf", ndim=2)
    expected = [COUNTS + number for number in range(frames)]
    assert np.array_equal(in_frame(found), expected[0] if frames == 1 else expected)
    assert "'error' of the file lies beside the pattern and was not used" in said
    last, _ = heard(tmp_path / "x.edf", ndim=2, key="error")
    np.testing.assert_allclose(in_frame(last).reshape(-1, *SHAPE)[-1], np.sqrt(COUNTS), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint32, np.float32])
@pytest.mark.parametrize("frames", [1, 3])
def test_the_dummy_of_edf_was_not_measured(dtype: Any, frames: int, tmp_path: Path) -> None:
    values = np.where(GOOD, COUNTS, 9999).astype(dtype)
    image = fabio.edfimage.EdfImage(data=values, header={"Dummy": "10000", "DDummy": "1"})
    for _ in range(frames - 1):
        image.append_frame(data=values, header={"Dummy": "10000", "DDummy": "1"})
    image.write(str(tmp_path / "x.edf"))
    found, _ = heard(tmp_path / "x.edf", ndim=2, saturation=np.inf)
    assert np.array_equal(in_frame(found), np.broadcast_to(COUNTS * GOOD, found.intensity.shape))
    edf(tmp_path / "x.edf", values, Dummy="0", DDummy="1")  # says nothing
    assert unmeasured(heard(tmp_path / "x.edf", saturation=np.inf)[0]) == 0


def test_the_header_of_adsc_counts_in_millimetres(tmp_path: Path) -> None:
    header = {
        "PIXEL_SIZE": "0.1",
        "BEAM_CENTER_X": "0.9",
        "BEAM_CENTER_Y": "1.1",
        "DISTANCE": "250.0",
        "WAVELENGTH": "1.5",
    }
    header |= {"CCD_IMAGE_SATURATION": str(LEVEL)}
    fabio.adscimage.AdscImage(data=COUNTS.astype(np.uint16), header=header).write(str(tmp_path / "x.img"))
    found, said = heard(tmp_path / "x.img")
    assert "beam centre (11, 9) was taken" in said
    assert found.intensity[0, 0] == COUNTS[11, 9]
    assert (found.pixel_size, found.distance) == (pytest.approx((1e-4, 1e-4)), pytest.approx(0.25))
    assert unmeasured(heard(tmp_path / "x.img", center="middle")[0]) == OVER


# --- darks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dark", "background", "bkg", "data_dark"])
def test_the_background_of_an_archive_is_what_is_called_so(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **{"bias": np.ones(SHAPE), name: np.full(SHAPE, 5.0)})
    np.save(tmp_path / "x.npy", COUNTS)
    with opened_pattern(tmp_path / "x.npy", Wanted()) as pattern:
        assert torch.equal(pattern.background(str(tmp_path / "x.npz"), None), torch.full(SHAPE, 5.0))
        assert torch.equal(pattern.background(str(tmp_path / "x.npz"), "bias"), torch.ones(SHAPE))


@pytest.mark.parametrize("value", [-3.0, np.nan])
def test_what_is_no_background_is_said(value: float, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", COUNTS)
    np.save(tmp_path / "dark.npy", np.where(GOOD, 5.0, value))
    with (
        opened_pattern(tmp_path / "x.npy", Wanted()) as pattern,
        pytest.warns(UserWarning, match=r"0\.77% of the pixels of the background in .* and count as 0\. Give what"),
    ):
        pattern.background(str(tmp_path / "dark.npy"), None)


def test_a_background_below_0_counts_as_0_in_its_pixel_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((20, 22)))
    dark = np.full((20, 22), 4.0)
    dark[3, 5] = -1
    np.save(tmp_path / "dark.npy", dark)
    with opened_pattern(tmp_path / "x.npy", Wanted(bin=2)) as pattern, pytest.warns(UserWarning, match="count as 0"):
        light = pattern.background(str(tmp_path / "dark.npy"), None)
    assert light.unique().tolist() == [12, 16]


def test_of_several_files_the_dark_one_is_named(tmp_path: Path) -> None:
    for number in range(3):
        np.save(tmp_path / f"f{number}.npy", COUNTS * (number != 1))
    with pytest.raises(ValueError, match=r"That is number 1 of the stack, in .*f1\.npy: index= leaves it out\.$"):
        pr.io.load_intensity(tmp_path / "f*.npy")
    assert len(pr.io.load_intensity(tmp_path / "f*.npy", index=[0, 2]).intensity) == 2


# --- tables ----------------------------------------------------------------------------------------------------------

Y, X = (axis.ravel() for axis in np.mgrid[: SHAPE[0], : SHAPE[1]])


@pytest.mark.parametrize(
    "head",
    [
        "x [mm]\ty [mm]\tI [counts]\n",
        "Detector: Pilatus\nExposure: 1 s\n\n",
        "[counts]\nunit = photons\n",
        f"{SHAPE[0]} {SHAPE[1]}\n",
        "# one\n\n% two\n",
        "!" * 3000 + "\n",
    ],
)
def test_titles_before_a_table_are_no_numbers(head: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(head + "\n".join(" ".join(map(str, row)) for row in COUNTS))
    found, said = heard(tmp_path / "x.txt")
    assert said == ""
    assert np.array_equal(in_frame(found), COUNTS)


@pytest.mark.parametrize(
    ("written", "parting"),
    [("{}.0D+00", " "), ("{}d0", ","), ('"{}"', ","), ("'{}'", ";"), ("{} ", "\t"), ("{}", ", "), ("{} # row", "\n")],
)
def test_numbers_are_read_however_they_are_written(written: str, parting: str, tmp_path: Path) -> None:
    values = COUNTS[:, :1] if parting == "\n" else COUNTS
    rows = (parting.join(written.format(value) for value in row) for row in values)
    (tmp_path / "x.csv").write_text("\n".join(rows))
    assert np.array_equal(np.fft.fftshift(pr.io.load_intensity(tmp_path / "x.csv", ndim=2).intensity), values)


@pytest.mark.parametrize("end", ["", ","])
@pytest.mark.parametrize("missing", ["", "--", "n/a", "NaN", "null", "-"])
def test_cells_without_a_number_were_not_measured(missing: str, end: str, tmp_path: Path) -> None:
    cells = np.where(GOOD, COUNTS.astype(str), missing)
    cells[:, -1] = np.where(np.arange(SHAPE[0]) % 2, cells[:, -1], missing)
    (tmp_path / "x.csv").write_text("\n".join(",".join(row) + end for row in cells))
    found = pr.io.load_intensity(tmp_path / "x.csv")
    measured = cells != missing
    assert np.array_equal(in_frame(found), COUNTS * measured)
    assert unmeasured(found) == (~measured).sum()


@pytest.mark.parametrize(
    ("head", "down_first"),
    [
        ("y x I\n", True),
        ("# columns: row (px), col (px), counts\n", True),
        ("x y I\n", False),
        ("", False),
        ("Qy,Qx,I\n", True),
    ],
)
@pytest.mark.parametrize("more", [0, 1, 2])
def test_the_names_of_coordinates_say_which_is_which(head: str, down_first: bool, more: int, tmp_path: Path) -> None:
    columns = [Y, X] if down_first else [X, Y]
    columns += [COUNTS.ravel(), *[np.sqrt(COUNTS.ravel())] * more]
    (tmp_path / "x.txt").write_text(head + "\n".join(",".join(map(str, row)) for row in np.stack(columns, 1).tolist()))
    found, said = heard(tmp_path / "x.txt")
    assert np.array_equal(in_frame(found), COUNTS)
    assert f"were taken for {'y and x' if down_first else 'x and y'}" in said
    assert ("those behind it left out" in said) == bool(more)


def test_a_curve_with_its_errors_is_a_curve(tmp_path: Path) -> None:
    curve = COUNTS[0].astype(float)
    np.savetxt(tmp_path / "x.dat", np.c_[0.01 * np.arange(30), curve, np.sqrt(curve)], header="q I sigma")
    found, said = heard(tmp_path / "x.dat")
    assert np.array_equal(in_frame(found), curve)
    assert "second column is the pattern, and its first column was taken for its coordinate, those behind it" in said
    assert heard(tmp_path / "x.dat", key="table")[0].intensity.shape == (30, 3)


@pytest.mark.parametrize("between", ["\n", "# New slice\n", "\n\n"])
def test_blocks_of_a_table_are_frames(between: str, tmp_path: Path) -> None:
    frames = np.stack([COUNTS, COUNTS + 1, COUNTS + 2])
    blocks = ("\n".join(" ".join(map(str, row)) for row in one) + "\n" for one in frames)
    (tmp_path / "x.txt").write_text(between.join(blocks))
    found, said = heard(tmp_path / "x.txt", ndim=2)
    assert np.array_equal(in_frame(found), frames)
    assert "3 blocks were taken for frames. If they are one, use key='table'" in said
    assert heard(tmp_path / "x.txt", key="table")[0].intensity.shape == (78, 30)


def test_the_coordinates_around_a_table_are_no_pixels(tmp_path: Path) -> None:
    framed = np.zeros((27, 31))
    framed[0, 1:], framed[1:, 0], framed[1:, 1:] = 0.5 * np.arange(30) - 7.5, 0.25 * np.arange(26), COUNTS
    np.savetxt(tmp_path / "x.txt", framed, fmt="%.4f")
    found, said = heard(tmp_path / "x.txt")
    assert np.array_equal(in_frame(found), COUNTS)
    assert "without the first row and the first column, where numbers count on" in said


def test_infinite_numbers_in_a_table_say_nothing_raw(tmp_path: Path) -> None:
    values = COUNTS.astype(float)
    values[0, :] = values[:, 0] = np.inf
    np.savetxt(tmp_path / "x.txt", values)
    assert unmeasured(pr.io.load_intensity(tmp_path / "x.txt")) == 55


# --- what lies elsewhere, or means something else --------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "entry/data", "entry/data/data", "entry/instrument/detector/data"])
@pytest.mark.parametrize("name", ["mask", "pixel_mask", "good_pixels"])
def test_a_mask_beside_the_link_that_shows_the_pattern_counts_or_is_named(
    name: str, key: str | None, tmp_path: Path
) -> None:
    classes = {"entry": "entry", "entry/instrument": "instrument", "entry/data": "data"}
    classes["entry/instrument/detector"] = "detector"
    attributes = {f"{group}@NX_class": f"NX{kind}" for group, kind in classes.items()} | {"entry/data@signal": "data"}
    arrays = {
        "entry/instrument/detector/data": COUNTS,
        "entry/data/data": h5py.SoftLink("/entry/instrument/detector/data"),
        f"entry/data/{name}": GOOD if name == "good_pixels" else ~GOOD,
        "entry/data/dark": np.ones(SHAPE),
    }
    found, said = heard(
        write(tmp_path / "x.nxs", arrays, attributes | {"@default": "entry", "entry@default": "data"}), key=key
    )
    used = key != "entry/instrument/detector/data"
    assert unmeasured(found) == (6 if used else 0)
    assert ("'entry/data/dark'" if used else f"'entry/data/{name}'") in said


@pytest.mark.parametrize("shape", [(4,), (13, 15), ()])
def test_a_mask_of_other_pixels_beside_the_link_that_shows_the_pattern_is_named(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    classes = {"entry": "entry", "entry/instrument": "instrument", "entry/data": "data"}
    classes["entry/instrument/detector"] = "detector"
    attributes = {f"{group}@NX_class": f"NX{kind}" for group, kind in classes.items()} | {"entry/data@signal": "data"}
    arrays = {
        "entry/instrument/detector/data": np.stack([COUNTS] * 4),
        "entry/data/data": h5py.SoftLink("/entry/instrument/detector/data"),
        "entry/data/mask": np.ones(shape, np.uint8),
    }
    found, said = heard(write(tmp_path / "x.nxs", arrays, attributes), ndim=2)
    assert found.mask is None
    assert ("'entry/data/mask' of the file lies beside the pattern and was not used" in said) == (shape != ())


@pytest.mark.parametrize("link", ["hard", "soft"])
def test_a_mask_beside_another_link_to_the_pattern_is_named(link: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", {"raw/frames": COUNTS, "show/good_pixels": GOOD})
    with h5py.File(path, "a") as file:
        file["show/data"] = file["raw/frames"] if link == "hard" else h5py.SoftLink("/raw/frames")
    assert "'show/good_pixels' of the file lies beside the pattern and was not used" in heard(path)[1]
    with h5py.File(path, "a") as file:  # the mask of another pattern
        del file["show/data"]
        file["show/data"] = COUNTS + 1
    assert heard(path, key="raw/frames")[1] == ""


@pytest.mark.parametrize("mask_is", ["measured", "bad"])
def test_what_a_mask_is_that_the_file_does_not_hold_is_said_to_say_nothing(mask_is: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", COUNTS)
    _, said = heard(tmp_path / "x.npy", mask_is=mask_is)
    assert f"x.npy holds no mask of its own, of which mask_is='{mask_is}' would say what it is. Leave it out" in said
    assert heard(tmp_path / "x.npy", mask_is="ignored")[1] == ""


def test_what_a_mask_is_that_the_file_does_not_hold_is_said_as_it_was_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", COUNTS)
    np.save(tmp_path / "mask.npy", ~GOOD)
    argv = ["info", str(tmp_path / "x.npy"), "--mask", str(tmp_path / "mask.npy"), "--mask-is", "bad"]
    assert main(argv) == 0
    assert "x.npy holds no mask of its own, of which --mask-is bad would say what it is" in capsys.readouterr().out


def test_pictures_of_several_detectors_are_not_joined(tmp_path: Path) -> None:
    arrays = {"scan/scan_data/data_01": np.stack([COUNTS] * 2), "scan/scan_data/data_02": np.stack([COUNTS + 1] * 2)}
    path = write(tmp_path / "x.nxs", arrays)
    with pytest.raises(ValueError, match=r"got the group 'scan/scan_data'\. It holds 'scan/scan_data/data_01'"):
        pr.io.load_intensity(path, key="scan/scan_data", ndim=2)
    found, _ = heard(path, key="scan/scan_data/data_02", ndim=2)
    assert np.array_equal(in_frame(found), arrays["scan/scan_data/data_02"])
    for digits in (3, 4, 6):  # frames of one
        numbers = (1, 2, 999, 1000)
        arrays = {f"a/data_{number:0{digits}}": COUNTS[None] + number for number in numbers}
        found, _ = heard(write(tmp_path / f"{digits}.nxs", arrays), key="a", ndim=2)
        assert np.array_equal(in_frame(found), [COUNTS + number for number in numbers])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("bits", [15, 16, 31, 32])
@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("added", [1, 10])
def test_gaps_at_the_end_of_a_narrower_type_were_not_measured(
    dtype: Any, bits: int, frames: int, added: int, tmp_path: Path
) -> None:
    values = np.stack([COUNTS] * frames).astype(dtype)
    values[:, 10:14] = added * (2**bits - 1)
    values[:, 20, :9] = added * (2**bits - 2)
    np.save(tmp_path / "x.npy", values)
    found, said = heard(tmp_path / "x.npy", ndim=2)
    assert unmeasured(found) == frames * (4 * SHAPE[1] + 9)
    assert "share the largest value" in said
    assert heard(tmp_path / "x.npy", ndim=2, saturation=np.inf)[0].mask is None


def test_arrays_of_matlab_with_more_axes_are_refused(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "x.mat", {"x": np.zeros((26, 30, 1, 6)) + COUNTS[..., None, None]})
    match = r"one axis beside those of a pattern, got \(26, 30, 1, 6\) for ndim=2. Save it so, as reshape\(x, m1, m2"
    with pytest.raises(ValueError, match=match):
        pr.io.load_intensity(tmp_path / "x.mat", ndim=2)


@pytest.mark.parametrize(
    ("shape", "asked"),
    [
        ((48, 64, 6), True),
        ((195, 487, 60), True),
        ((60, 195, 487), False),
        ((100, 514, 1030), False),
        ((10, 195, 1475), False),
        ((2, 9, 40), False),
    ],
)
def test_frames_that_would_be_high_and_narrow_are_asked_about(
    shape: tuple[int, ...], asked: bool, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.full(shape, 7, np.uint16) + np.arange(shape[-1], dtype=np.uint16))
    with opened_pattern(tmp_path / "x.npy", Wanted(ndim=2)) as pattern:
        said = " ".join(pattern.notes)
    assert ("if it is the last, use stack_axis=-1" in said) == asked


def test_further_pictures_of_a_png_are_said(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    first, *more = (image_module.fromarray((COUNTS + number).astype(np.uint8)) for number in range(3))
    first.save(tmp_path / "x.png", save_all=True, append_images=more)
    found, said = heard(tmp_path / "x.png")
    assert np.array_equal(in_frame(found), COUNTS)
    assert "the file holds 3 pictures, of which the first alone is read" in said


@pytest.mark.parametrize("turned", [False, True])
def test_a_table_of_colours_that_shows_0_as_white_is_said(turned: bool, tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint16) * 257
    tifffile.imwrite(
        tmp_path / "x.tif",
        GOOD.astype(np.uint8) * 255,
        photometric="palette",
        colormap=np.stack([grey[::-1] if turned else grey] * 3),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert torch.equal(pr.io.load_mask(tmp_path / "x.tif"), torch.from_numpy(np.fft.ifftshift(GOOD)))
    assert any("calls 0 white" in str(one.message) for one in caught) == turned


@pytest.mark.parametrize("attribute", ["units", "long_name", "label"])
def test_an_attribute_that_says_logarithm_is_asked_about(attribute: str, tmp_path: Path) -> None:
    logarithm = "'data' sounds like a logarithm"
    texts = {
        "log10(counts)": logarithm,
        "ln(I)": logarithm,
        "log1p of counts": logarithm,
        "logged counts": "",
        "LN2": "",
    }
    for text, said in texts.items():
        found = heard(write(tmp_path / "x.h5", {"data": COUNTS}, {f"data@{attribute}": text}))[1]
        assert said in found
        assert bool(said) == bool(found)


def test_a_curve_of_its_own_is_read_without_a_question(tmp_path: Path) -> None:
    curve = torch.rand(50)
    saved = pr.io.as_measurement(curve, ndim=1, support=curve > 0.5, obj=torch.rand(50))
    pr.io.save_intensity(tmp_path / "x.h5", saved)
    found, said = heard(tmp_path / "x.h5")
    assert said == ""
    assert torch.equal(found.intensity, curve)


@pytest.mark.parametrize("frames", [0, 2])
def test_a_mask_lies_as_the_pattern_of_its_file_does(frames: int, tmp_path: Path) -> None:
    values = np.stack([COUNTS] * frames) if frames else COUNTS
    detector = {f"entry/instrument/detector/{axis}": x for axis, x in (("beam_center_x", 9), ("beam_center_y", 11))}
    attributes = {"entry@NX_class": "NXentry", "entry/instrument@NX_class": "NXinstrument"}
    attributes["entry/instrument/detector@NX_class"] = "NXdetector"
    arrays = {"entry/instrument/detector/data": values, "entry/instrument/detector/pixel_mask": ~GOOD, **detector}
    path = write(tmp_path / "x.nxs", arrays, attributes)
    with pytest.warns(UserWarning, match=r"load_mask: the file's beam centre \(11, 9\) was taken"):
        mask = pr.io.load_mask(path)
    assert np.array_equal(mask.numpy(), np.roll(GOOD, (-11, -9), (0, 1)))
    assert torch.equal(pr.io.load_mask(path, center=(11, 9)), mask)
    own = heard(path, ndim=2)[0].mask
    assert own is not None
    assert bool((mask | ~own).all())
    assert torch.equal(pr.io.load_mask(path, center="middle"), torch.from_numpy(np.fft.ifftshift(GOOD)))
    del arrays["entry/instrument/detector/beam_center_x"]
    assert torch.equal(pr.io.load_mask(write(path, arrays, attributes)), pr.io.load_mask(path, center="middle"))


def test_pickled_objects_beside_arrays_are_said_and_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", data=COUNTS, params=np.array({"energy": 8.0}, dtype=object))
    found, said = heard(tmp_path / "x.npz")
    assert np.array_equal(in_frame(found), COUNTS)
    assert (
        "'params' of the archive holds pickled Python objects, which are not read. Loading them could run code" in said
    )
    with pytest.raises(ValueError, match=r"'params' of .* must be there as an array, got pickled Python objects"):
        pr.io.load_intensity(tmp_path / "x.npz", key="params")
    frames = np.array([COUNTS, COUNTS[:9]], dtype=object)
    np.savez(tmp_path / "x.npz", frames=frames, angles=np.arange(9.0))  # the row of numbers is not the pattern
    with pytest.raises(ValueError, match=r"It holds 'angles' \(9,\) float64, 'frames', pickled Python objects"):
        pr.io.load_intensity(tmp_path / "x.npz")


def test_a_master_beside_the_files_that_it_shows_is_said(tmp_path: Path) -> None:
    write(tmp_path / "x_data_000001.h5", {"entry/data/data": COUNTS[None]})
    link = h5py.ExternalLink("x_data_000001.h5", "/entry/data/data")
    write(tmp_path / "x_master.h5", {"entry/data/data_000001": link})
    assert (
        "x_master.h5 of the files is called as one that shows what others hold" in heard(tmp_path / "x_*.h5", ndim=2)[1]
    )
    assert heard(tmp_path / "x_master.h5", ndim=2)[1] == heard(tmp_path / "x_data_*.h5", ndim=2)[1] == ""


@pytest.mark.parametrize("word", ["units", "unit", "Unit"])
def test_the_unit_stands_in_either_attribute(word: str, tmp_path: Path) -> None:
    arrays = {"data": COUNTS, "distance": 2500.0, "wavelength": 0.15, "pixel_size": 55.0}
    attributes = {f"distance@{word}": "mm", f"wavelength@{word}": "nm ", f"pixel_size@{word}": "um"}
    found, said = heard(write(tmp_path / "x.h5", arrays, attributes))
    assert said == ""
    assert (found.distance, found.wavelength) == (pytest.approx(2.5), pytest.approx(1.5e-10))
    assert found.pixel_size == pytest.approx((55e-6, 55e-6))


def test_a_file_that_is_being_written_is_said_to_be_open(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    path = write(tmp_path / "x.h5", {"data": COUNTS})
    with path.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with contextlib.suppress(OSError), h5py.File(path):
            pytest.skip("HDF5 was built without locks")
        with pytest.raises(
            ValueError, match="A program has it open: wait for that, or set HDF5_USE_FILE_LOCKING=FALSE"
        ):
            pr.io.load_intensity(path)


def test_a_curve_may_stand_in_a_column(tmp_path: Path) -> None:
    curve, good = COUNTS[0], GOOD[3]
    scipy.io.savemat(tmp_path / "x.mat", {"I": curve[:, None], "good": good[:, None]})
    found, said = heard(tmp_path / "x.mat", ndim=1)
    assert said == ""
    assert np.array_equal(in_frame(found), (curve * good)[None])
    np.savetxt(tmp_path / "x.txt", curve)
    with opened_pattern(tmp_path / "x.txt", Wanted(ndim=1)) as pattern:
        mask = torch.from_numpy(good[:, None])
        assert np.array_equal(in_frame(pattern.read(masks={"--mask": mask})), (curve * good)[None])
    np.save(tmp_path / "x.npy", COUNTS[:2].T)
    found, said = heard(tmp_path / "x.npy", ndim=1)
    assert "the first axis of (30, 2) was taken for that of the stack. If it is the last, use stack_axis=-1" in said
    assert np.array_equal(in_frame(heard(tmp_path / "x.npy", ndim=1, stack_axis=-1)[0]), COUNTS[:2])
    np.save(tmp_path / "x.npy", COUNTS[:4])
    assert heard(tmp_path / "x.npy", ndim=1)[1] == ""


@pytest.mark.parametrize("name", ["dark", "pedestal", "background", "Dark Current"])
def test_a_background_that_an_attribute_says_is_named(name: str, tmp_path: Path) -> None:
    _, said = heard(write(tmp_path / "x.h5", {"data": COUNTS}, {f"data@{name}": 12.5}))
    word = name.lower().replace(" ", "")
    assert f"its {word} 12.5 was not used. If it still holds that, give it to the solver as background=" in said
    assert heard(write(tmp_path / "x.h5", {"data": COUNTS}, {f"data@{name}": 0.0}))[1] == ""


def test_what_attributes_say_of_the_numbers_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", {"data": COUNTS}, {"data@scaling_factor": 2.0, "data@offset": 5.0})
    assert "'data' has scaling_factor 2 and offset 5, which were not applied" in heard(path)[1]
    path = write(tmp_path / "x.h5", {"data": COUNTS}, {"data@scaling_factor": 1.0, "data@offset": 0.0})
    assert heard(path)[1] == ""
    path = write(tmp_path / "x.h5", {"data": COUNTS}, {"data@data_type": "unphased amplitude"})
    assert "was taken for the magnitude, as its datatype, 'unphased amplitude', says" in heard(path)[1]
    assert unmeasured(heard(write(tmp_path / "x.h5", {"data": COUNTS}, {"data@valid_max": LEVEL}))[0]) == OVER


def test_a_centre_outside_of_the_region_of_interest_is_said_as_it_was_given(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", data=COUNTS)
    match = r"center must be a pixel inside roi=\(\(10, 26\), \(0, None\)\), got \(9, 15\)\. Count from 0 in the whole"
    with pytest.raises(ValueError, match=match):
        pr.io.load_intensity(tmp_path / "x.npz", roi=((10, 26), (0, None)), center=(9, 15))
    found, _ = heard(tmp_path / "x.npz", roi=((10, 26), (0, None)), center=(11, 15))
    assert found.intensity[0, 0] == COUNTS[11, 15]
    np.savez(tmp_path / "x.npz", data=COUNTS, beam_center_y=9.0, beam_center_x=15.0)  # the direct beam, not the peak
    found, said = heard(tmp_path / "x.npz", roi=((10, 26), (0, 20)))
    assert "the file's centre (9.0, 15.0) lies outside the region of interest and was not used" in said
    assert found.intensity[0, 0] == COUNTS[18, 10]
