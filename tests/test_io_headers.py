"""What plain files tell by the names of their arrays, by their headers and by the columns of a table."""

from __future__ import annotations

import gzip
import math
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
import torch

import phaseret as pr

fabio = pytest.importorskip("fabio")

SHAPE = (26, 30)
COUNTS = np.random.default_rng(3).poisson(40.0, SHAPE)
GOOD = np.ones(SHAPE, bool)
GOOD[3:5, 7:10] = False


def unmeasured(found: Any) -> int:
    mask = found if isinstance(found, torch.Tensor) else found.mask
    return 0 if mask is None else int((~mask).sum())


def in_frame(found: pr.io.Measurement) -> np.ndarray[Any, Any]:
    return np.fft.fftshift(found.intensity.numpy(), (-2, -1))


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["measured", "valid", "good", "good_pixels", "bad", "badpixels", "invalid", "beamstop"]
)
def test_a_mask_is_what_its_name_says(name: str, tmp_path: Path) -> None:
    is_good = name in ("measured", "valid", "good", "good_pixels")
    np.savez(tmp_path / "x.npz", intensity=COUNTS, **{name: GOOD if is_good else ~GOOD})
    assert unmeasured(pr.io.load_intensity(tmp_path / "x.npz")) == 6
    np.savez(tmp_path / "mask.npz", **{name: GOOD if is_good else ~GOOD})
    right, wrong = ("measured", "bad") if is_good else ("bad", "measured")
    assert unmeasured(pr.io.load_mask(tmp_path / "mask.npz", mask_is=right)) == 6  # type: ignore[arg-type]
    with pytest.warns(
        UserWarning, match=rf"pixels of '{name}' were taken as {wrong}\. If its name is right, use mask_is='{right}'"
    ):
        pr.io.load_mask(tmp_path / "mask.npz", mask_is=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [None, "intensity"])
def test_arrays_beside_the_pattern_that_nobody_knows_are_named(key: str | None, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", intensity=COUNTS, shadow=~GOOD, times=np.arange(3), curve=np.ones(30))
    with pytest.warns(UserWarning, match="'shadow' of the file lies beside the pattern and was not used"):
        pr.io.load_intensity(tmp_path / "x.npz", key=key)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["scan/intensity"], file["scan/shadow"] = COUNTS, GOOD
    with pytest.warns(UserWarning, match="'scan/shadow' of the file lies beside"):
        pr.io.load_intensity(tmp_path / "x.h5", key=key and "scan/intensity")


def test_an_array_that_was_asked_for_by_name_has_no_doubt_about_its_like(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=COUNTS, b=COUNTS)
    assert pr.io.load_intensity(tmp_path / "x.npz", key="a").notes == ()


@pytest.mark.parametrize("name", ["magnitude", "amplitude", "modulus", "fourier_magnitude"])
def test_a_magnitude_is_what_its_name_says(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **{name: np.sqrt(COUNTS)})
    with pytest.warns(UserWarning, match=f"'{name}' was taken for the magnitude.*use kind='intensity'"):
        found = pr.io.load_intensity(tmp_path / "x.npz")
    np.testing.assert_allclose(in_frame(found), COUNTS, rtol=1e-6)
    plain = pr.io.load_intensity(tmp_path / "x.npz", kind="intensity")
    np.testing.assert_allclose(in_frame(plain), np.sqrt(COUNTS), rtol=1e-6)


def test_a_logarithm_is_questioned(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", log_intensity=np.log1p(COUNTS))
    with pytest.warns(UserWarning, match="'log_intensity' sounds like a logarithm and was taken for the intensity"):
        pr.io.load_intensity(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (
            np.where(GOOD, 3, 1),
            r"'data' is 0 nowhere and leaves no pixel out\. If its 1 means one to leave out, make it 0",
        ),
        (
            np.where(GOOD, 0, 8) + 2 * (np.arange(30) % 13 == 0),
            r"\d+ pixels of 'data' are neither 0 nor \d+ .* bad ones",
        ),
        (np.where(GOOD, 1.0, 0.3), r"'data' is 0 nowhere .* its 0\.3 means"),
    ],
)
@pytest.mark.parametrize("load", [pr.io.load_mask, pr.io.load_support])
def test_a_mask_with_more_than_yes_and_no_is_questioned(load: Any, mask: Any, said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", mask)
    with pytest.warns(UserWarning, match=said):
        load(tmp_path / "mask.npy")


def test_a_group_stands_for_what_it_shows(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.nxs", "w") as file:
        for number, name in enumerate(("a", "b")):
            entry = file.create_group(name)
            entry.attrs["NX_class"], entry.attrs["default"] = "NXentry", "plot"
            plot = entry.create_group("plot")
            plot.attrs["NX_class"], plot.attrs["signal"] = "NXdata", "counts"
            plot["counts"] = COUNTS + number
        detector = file.create_group("2.1/instrument/eiger")
        file["2.1"].attrs["NX_class"], detector.attrs["NX_class"] = "NXentry", "NXdetector"
        detector["data"] = np.stack([COUNTS, COUNTS])
    for number, name in enumerate(("a", "/b")):
        np.testing.assert_array_equal(in_frame(pr.io.load_intensity(tmp_path / "x.nxs", key=name)), COUNTS + number)
    assert pr.io.load_intensity(tmp_path / "x.nxs", key="2.1", ndim=2).intensity.shape == (2, *SHAPE)


@pytest.mark.parametrize("text", ["40", b"40", [b"40"], ["40"], 40, [40], np.full(3, 40)])
def test_numbers_count_however_they_are_stored(text: Any, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.cxi", "w") as file:
        image = file.create_group("entry_1/image_1")
        image["data"], image["data_type"] = np.sqrt(COUNTS), np.array([b"unphased amplitude"])
    np.testing.assert_allclose(in_frame(pr.io.load_intensity(tmp_path / "x.cxi")), COUNTS, rtol=1e-6)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        detector = file.create_group("entry/instrument/detector")
        detector["data"], detector["saturation_value"] = COUNTS, text
    assert unmeasured(pr.io.load_intensity(tmp_path / "x.h5")) == (COUNTS > 40).sum()


@pytest.mark.parametrize("name", ["entry/instrument/detector", "entry_1/instrument_1/detector_1"])
@pytest.mark.parametrize("level", [-1, 0, np.nan])
def test_a_saturation_that_is_no_count_says_nothing(name: str, level: float, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file[f"{name}/data"], file[f"{name}/saturation_value"] = COUNTS, level
        file[f"{name}/pixel_mask"] = np.zeros((0, 0))
    assert unmeasured(pr.io.load_intensity(tmp_path / "x.h5")) == 0


@pytest.mark.parametrize("name", ["sat", "overflow"])
def test_a_number_of_saturated_pixels_is_no_level(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", data=COUNTS, **{name: 3})  # type: ignore[arg-type]
    assert unmeasured(pr.io.load_intensity(tmp_path / "x.npz")) == 0


def test_a_saturation_that_leaves_out_most_pixels_is_asked_about(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", data=COUNTS, saturation=37)
    with pytest.warns(UserWarning, match=r"file's saturation 37 leaves out \d\d\.\d% of the pixels\. If it is not the"):
        assert unmeasured(pr.io.load_intensity(tmp_path / "x.npz")) == (COUNTS > 37).sum()
    np.savez(tmp_path / "x.npz", data=COUNTS, saturation=1)
    with pytest.raises(
        ValueError, match=r"got none\. .* The file's saturation 1 leaves out 100\.0% of the pixels\. If"
    ):
        pr.io.load_intensity(tmp_path / "x.npz")


@pytest.mark.parametrize("unit", ["m", "mm", "micrometer", None])
def test_a_beam_in_lengths_is_divided_by_the_pixel(unit: str | None, tmp_path: Path) -> None:
    scale = {"m": 1.0, "mm": 1e3, "micrometer": 1e6, None: 1.0}[unit]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        detector = file.create_group("entry/instrument/detector")
        detector["data"] = COUNTS
        for name, x in {"beam_center_y": 11 * 75e-6, "beam_center_x": 9 * 55e-6}.items():
            detector[name] = scale * x
            detector[name].attrs.update({} if unit is None else {"units": unit})
        for name, x in {"y_pixel_size": 75.0, "x_pixel_size": 55.0}.items():
            detector[name] = x
            detector[name].attrs["units"] = "micrometre"
    with pytest.warns(UserWarning, match=r"beam centre \(11, 9\) was taken for the zero frequency"):
        assert pr.io.load_intensity(tmp_path / "x.h5").intensity[0, 0] == COUNTS[11, 9]


def test_a_beam_that_moves_is_said(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        detector = file.create_group("entry/instrument/detector")
        detector["data"], detector["beam_center_y"] = np.stack([COUNTS, COUNTS]), [11.0, 11.0]
        detector["beam_center_x"] = [9.0, 10.0]
    with pytest.warns(UserWarning, match=r"beam_center_x', not one number for all patterns, was not used\. Give the"):
        pr.io.load_intensity(tmp_path / "x.h5", ndim=2)


def test_the_corner_of_a_detector_is_asked_about(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.cxi", "w") as file:
        file["cxi_version"], detector = 160, file.create_group("entry_1/instrument_1/detector_1")
        detector["data"], detector["corner_position"] = COUNTS, [9 * 55e-6, -11 * 75e-6, 0.7]
        detector["x_pixel_size"], detector["y_pixel_size"] = 55e-6, 75e-6
    with pytest.warns(UserWarning, match=r"corner_position' of the file tells, \(11, 9\), was not used"):
        pr.io.load_intensity(tmp_path / "x.cxi")


@pytest.mark.parametrize("place", ["masks/all/mask", "detector/n0/mask", "a/data/mask"])
def test_a_mask_deeper_in_the_file_is_named_and_found(place: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["measurement/n0/data"], file[place], file["a/data/x"] = COUNTS, GOOD, np.ones(SHAPE[1])
    with pytest.warns(UserWarning, match=f"'{place}' of the file lies beside the pattern"):
        pr.io.load_intensity(tmp_path / "x.h5")
    assert unmeasured(pr.io.load_mask(tmp_path / "x.h5")) == 6


# --- headers ---------------------------------------------------------------------------------------------------------

DECTRIS = """# Detector: PILATUS
# Pixel_size 172e-6 m x 150e-6 m
# Count_cutoff 48 counts
# Wavelength 1.5 A
# Detector_distance 0.9 m
# Beam_xy (14.2, 11.0) pixels"""


@pytest.mark.parametrize("packed", [False, True])
def test_the_header_of_a_cbf_counts(packed: bool, tmp_path: Path) -> None:
    image = fabio.cbfimage.CbfImage(data=COUNTS.astype(np.int32))
    image.header["_array_data.header_contents"] = DECTRIS.replace("\n", "\r\n")
    image.write(str(tmp_path / "x.cbf"))
    path = tmp_path / "x.cbf"
    if packed:
        path = tmp_path / "x.cbf.gz"
        path.write_bytes(gzip.compress((tmp_path / "x.cbf").read_bytes()))
    with pytest.warns(UserWarning, match=r"beam centre \(11, 14\) was taken for the zero frequency"):
        found = pr.io.load_intensity(path)
    assert unmeasured(pr.io.load_intensity(path, center="middle")) == (COUNTS > 48).sum()
    assert found.intensity[0, 0] == COUNTS[11, 14]
    assert (found.distance, found.pixel_size) == (0.9, (150e-6, 172e-6))
    assert found.wavelength == pytest.approx(1.5e-10)


def test_the_header_of_an_edf_counts(tmp_path: Path) -> None:
    header = {"Center_1": "14.5", "Center_2": "11.7", "PSize_1": "1e-5 m", "PSize_2": "2e-5", "WaveLength": "1e-10"}
    fabio.edfimage.EdfImage(data=COUNTS.astype(np.uint16), header=header | {"saturation_value": "48"}).write(
        str(tmp_path / "x.edf")
    )
    with pytest.warns(UserWarning, match=r"beam centre \(11, 14\) was taken for the zero frequency"):
        found = pr.io.load_intensity(tmp_path / "x.edf")
    assert unmeasured(pr.io.load_intensity(tmp_path / "x.edf", center="middle")) == (COUNTS > 48).sum()
    assert (found.pixel_size, found.wavelength, found.distance) == ((2e-5, 1e-5), 1e-10, None)


@pytest.mark.parametrize(
    "text", ["", "# Beam_xy (0, 0) pixels", "# Count_cutoff none", "# Wavelength 1.5 ell", "# Pixel_size 1.2.3 m x . m"]
)
def test_a_header_that_says_nothing_changes_nothing(text: str, tmp_path: Path) -> None:
    image = fabio.cbfimage.CbfImage(data=COUNTS.astype(np.int32))
    image.header["_array_data.header_contents"] = text
    image.write(str(tmp_path / "x.cbf"))
    found = pr.io.load_intensity(tmp_path / "x.cbf")
    np.testing.assert_array_equal(in_frame(found), COUNTS)
    assert found.notes == ()
    assert found.wavelength is None


def test_lengths_of_a_header_are_divided_by_the_pixel(tmp_path: Path) -> None:
    text = DECTRIS.replace("172e-6 m x 150e-6 m", "0.172 mm x 0.15 mm").replace(
        "(14.2, 11.0) pixels", "(2.408, 1.65) mm"
    )
    tifffile.imwrite(tmp_path / "x.tif", COUNTS.astype(np.int32), description=text, metadata=None)
    with pytest.warns(UserWarning, match=r"beam centre \(11, 14\) was taken for the zero frequency"):
        assert pr.io.load_intensity(tmp_path / "x.tif").intensity[0, 0] == COUNTS[11, 14]
    text = text.replace("# Pixel_size 0.172 mm x 0.15 mm\n", "")
    tifffile.imwrite(tmp_path / "x.tif", COUNTS.astype(np.int32), description=text, metadata=None)
    assert unmeasured(pr.io.load_intensity(tmp_path / "x.tif")) == (COUNTS > 48).sum()  # of the whole frame


@pytest.mark.parametrize("unit", [" pixels", " px", " pix", ""])
def test_a_beam_of_a_header_is_in_pixels_unless_it_says_otherwise(unit: str, tmp_path: Path) -> None:
    """What stands in the next line is no unit."""
    text = DECTRIS.replace("# ", "").replace("(14.2, 11.0) pixels", f"(14.2, 11.0){unit}")
    tifffile.imwrite(tmp_path / "x.tif", COUNTS.astype(np.int32), description=text, metadata=None)
    with pytest.warns(UserWarning, match=r"beam centre \(11, 14\) was taken for the zero frequency"):
        assert pr.io.load_intensity(tmp_path / "x.tif").intensity[0, 0] == COUNTS[11, 14]


@pytest.mark.parametrize("offset", [(0.0, 0.0), (200.0, 100.0), (-3.0, 2.0)])
def test_the_centre_of_an_edf_is_counted_from_its_offset(offset: tuple[float, float], tmp_path: Path) -> None:
    header = {f"Offset_{axis}": f"{start} pixel" for axis, start in zip("21", offset, strict=True)}
    header |= {f"Center_{axis}": f"{c + start}" for axis, c, start in zip("21", (11.5, 14.5), offset, strict=True)}
    fabio.edfimage.EdfImage(data=COUNTS.astype(np.uint16), header=header).write(str(tmp_path / "x.edf"))
    with pytest.warns(UserWarning, match=r"beam centre \(11, 14\) was taken for the zero frequency"):
        assert pr.io.load_intensity(tmp_path / "x.edf").intensity[0, 0] == COUNTS[11, 14]


def test_a_length_that_nothing_has_is_said_and_not_used(tmp_path: Path) -> None:
    header = {"WaveLength": "1.54", "PSize_1": "55", "PSize_2": "55", "beam_x": "14", "beam_y": "11"}
    fabio.edfimage.EdfImage(data=COUNTS.astype(np.uint16), header=header).write(str(tmp_path / "x.edf"))
    with pytest.warns(UserWarning, match="was not used") as said:
        found = pr.io.load_intensity(tmp_path / "x.edf")
    assert (found.wavelength, found.pixel_size) == (None, None)
    texts = [str(one.message) for one in said]
    assert [text.partition(": ")[2] for text in texts] == [
        "the file's wavelength would be 1.54 m and was not used. Look at its unit.",
        "the file's pixel size would be 55 m and was not used. Look at its unit.",
        "the file's centre, (11, 14), was not used. If that is the pixel of the beam, use center=(11, 14).",
    ]


def test_frames_of_unlike_shapes_in_one_file_are_named(tmp_path: Path) -> None:
    image = fabio.edfimage.EdfImage(data=COUNTS.astype(np.uint16), header={})
    image.append_frame(data=COUNTS[:9].astype(np.uint16), header={})
    image.write(str(tmp_path / "x.edf"))
    with pytest.raises(ValueError, match=r"must have one shape, \(26, 30\), got \(9, 30\) of frame 1\. Save it in"):
        pr.io.load_intensity(tmp_path / "x.edf", ndim=2)


# --- tables, pictures, series ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parting", "point", "head"),
    [
        (",", ".", ""),
        (";", ".", "# detector\n"),
        (";", ",", ""),
        ("\t", ",", ""),
        (" ", ".", "% x\n"),
        (",", ".", None),
    ],
)
def test_tables_as_spreadsheets_write_them(parting: str, point: str, head: str | None, tmp_path: Path) -> None:
    rows = [parting.join(f"{value:.2f}".replace(".", point) for value in row) for row in COUNTS]
    names = parting.join(f"c{number}" for number in range(SHAPE[1])) + "\n"
    (tmp_path / "x.csv").write_text((names if head is None else head) + "\n".join(rows))
    np.testing.assert_array_equal(in_frame(pr.io.load_intensity(tmp_path / "x.csv")), COUNTS)


def test_columns_of_coordinates_are_not_pixels(tmp_path: Path) -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    shuffled = np.random.default_rng(0).permutation(COUNTS.size)
    table = np.c_[0.5 * x.ravel(), 2 * y.ravel() - 7, COUNTS.ravel()][shuffled]
    np.savetxt(tmp_path / "xyz.txt", table)
    with pytest.warns(
        UserWarning, match="last column is the pattern, and its first two columns were taken for x and y"
    ):
        np.testing.assert_array_equal(in_frame(pr.io.load_intensity(tmp_path / "xyz.txt")), COUNTS)
    np.savetxt(tmp_path / "curve.txt", np.c_[np.arange(30) * 0.1, COUNTS[0]])
    with pytest.warns(UserWarning, match="its first column was taken for its coordinate"):
        found = pr.io.load_intensity(tmp_path / "curve.txt", ndim=1)
    np.testing.assert_array_equal(np.fft.fftshift(found.intensity.numpy()), COUNTS[0])
    assert pr.io.load_intensity(tmp_path / "curve.txt", key="table", ndim=1).intensity.shape == (30, 2)
    for narrow in (COUNTS[:, :3], np.linspace(0, 1, 5000)[:, None] ** [1.1, 2]):
        np.savetxt(tmp_path / "narrow.txt", narrow)
        with pytest.warns(UserWarning, match=f"table's {narrow.shape[1]} columns were taken for pixels of"):
            assert pr.io.load_intensity(tmp_path / "narrow.txt").intensity.shape == narrow.shape


def test_what_a_tif_seldom_means_is_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "white.tif", (~GOOD * 255).astype(np.uint8), photometric="miniswhite")
    with pytest.warns(UserWarning, match="calls 0 white, and its numbers were taken as they are"):
        assert unmeasured(pr.io.load_mask(tmp_path / "white.tif", mask_is="bad")) == 6
    frames = np.stack([COUNTS, COUNTS + 1, COUNTS + 2]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "three.tif", frames, photometric="rgb", planarconfig="separate")
    with pytest.warns(UserWarning, match="colours lie one after the other and were taken for frames"):
        np.testing.assert_array_equal(in_frame(pr.io.load_intensity(tmp_path / "three.tif", ndim=2)), frames)


def test_a_tif_that_does_not_say_what_is_white_is_not_doubted(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "silent.tif", COUNTS.astype(np.uint16), metadata=None)
    content = (tmp_path / "silent.tif").read_bytes()
    said = np.array([262, 3], "<u2").tobytes()  # the tag of what is white, a short number
    assert content.count(said) == 1
    (tmp_path / "silent.tif").write_bytes(content.replace(said, np.array([1286, 3], "<u2").tobytes()))
    np.testing.assert_array_equal(in_frame(pr.io.load_intensity(tmp_path / "silent.tif")), COUNTS)


def test_what_attributes_and_plain_names_say_of_the_detector_counts(tmp_path: Path) -> None:
    level = int(np.sort(COUNTS.ravel())[-4])
    over = int((level < COUNTS).sum())
    with h5py.File(tmp_path / "on_array.h5", "w") as file:
        file["data"] = COUNTS
        file["data"].attrs.update({"saturation_value": level, "beam_center_y": 11.0, "beam_center_x": 9.0})
    with h5py.File(tmp_path / "on_group.h5", "w") as file:
        file["scan/data"] = COUNTS
        file["scan"].attrs.update({"saturation": level, "beam_center_y": 11.0, "beam_center_x": 9.0})
    np.savez(tmp_path / "plain.npz", data=COUNTS, saturation=level, beam_center_y=11.0, beam_center_x=9.0)
    for name in ("on_array.h5", "on_group.h5", "plain.npz"):
        with pytest.warns(UserWarning, match=r"beam centre \(11, 9\) was taken"):
            assert pr.io.load_intensity(tmp_path / name).intensity[0, 0] == COUNTS[11, 9]
        assert unmeasured(pr.io.load_intensity(tmp_path / name, center="middle")) == over


def test_a_pair_that_may_be_the_centre_is_asked_about(tmp_path: Path) -> None:
    np.savez(tmp_path / "pair.npz", data=COUNTS, center=np.array([11, 9]))
    with pytest.warns(UserWarning, match=r"'center' of the file, \(11, 9\), was not used. .* use center=\(11, 9\)"):
        pr.io.load_intensity(tmp_path / "pair.npz")
    assert pr.io.load_intensity(tmp_path / "pair.npz", center=(11, 9)).intensity[0, 0] == COUNTS[11, 9]
    np.savez(tmp_path / "middle.npz", data=COUNTS, center=np.array(SHAPE) // 2)
    pr.io.load_intensity(tmp_path / "middle.npz")


def test_a_stack_that_is_narrow_along_its_last_axis_is_questioned(tmp_path: Path) -> None:
    np.save(tmp_path / "last.npy", np.stack([COUNTS, COUNTS + 1], -1))
    with pytest.warns(UserWarning, match="If it is the last, use stack_axis=-1"):
        pr.io.load_intensity(tmp_path / "last.npy", ndim=2)


def test_a_hole_in_a_series_is_said(tmp_path: Path) -> None:
    for number in (1, 2, 4, 6):
        np.save(tmp_path / f"f_{number}.npy", COUNTS + number)
    with pytest.warns(UserWarning, match=r"are one stack, without number 3, 5\. Look whether all are there"):
        assert pr.io.load_intensity(tmp_path / "f_%d.npy").intensity.shape == (4, *SHAPE)
    even = [tmp_path / f"f_{number}.npy" for number in (4, 2, 6)]
    assert pr.io.load_intensity(even).notes == ()


@pytest.mark.parametrize("shape", [(1, *SHAPE), (SHAPE[0], 1, SHAPE[1]), (*SHAPE, 1)])
def test_an_axis_of_one_counts_one_pattern(shape: tuple[int, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", COUNTS.reshape(shape))
    scipy.io.savemat(tmp_path / "x.mat", {"I": COUNTS.reshape(shape)})
    for name in ("x.npy", "x.mat")[: 1 if shape[-1] == 1 else 2]:  # MATLAB has no last axis of one
        for ndim in (None, 2):
            found = pr.io.load_intensity(tmp_path / name, ndim=ndim)
            np.testing.assert_array_equal(in_frame(found), COUNTS[None])
    np.save(tmp_path / "x.npy", np.stack([COUNTS.reshape(shape)] * 3))
    if shape[-1] == 1:
        with pytest.raises(
            ValueError, match=r"must end in the axes of one pattern, got a last one of 1\. Save it with"
        ):
            pr.io.load_intensity(tmp_path / "x.npy", ndim=2)


def test_samples_of_grey_are_frames(tmp_path: Path) -> None:
    frames = np.stack([COUNTS + number for number in range(5)]).astype(np.uint16)
    last = np.moveaxis(frames, 0, -1)
    tifffile.imwrite(tmp_path / "x.tif", last, planarconfig="contig", photometric="minisblack")
    np.testing.assert_array_equal(in_frame(pr.io.load_intensity(tmp_path / "x.tif", ndim=2, stack_axis=-1)), frames)


def test_a_mask_below_0_is_not_painted(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", -(~GOOD).astype(np.int8))
    assert unmeasured(pr.io.load_mask(tmp_path / "x.tif", mask_is="bad")) == 6


def test_files_in_folders_of_folders_and_other_words_of_printf(tmp_path: Path) -> None:
    for number, folder in enumerate(("a/1", "a/2/b/c", "a/10")):
        (tmp_path / folder).mkdir(parents=True)
        np.save(tmp_path / folder / f"f_{number:03d}.npy", COUNTS + number)
        np.save(tmp_path / f"g_{number:03d}.npy", COUNTS + number)
    for pattern in ("a/**/f_*.npy", "g_%03d.npy", "g_%03i.npy", "g_%u.npy", "g_*.npy"):
        found = pr.io.load_intensity(tmp_path / pattern)
        np.testing.assert_array_equal(in_frame(found), [COUNTS, COUNTS + 1, COUNTS + 2])
    with pytest.raises(IsADirectoryError, match=r"got the folder .* or all by a pattern such as '.*\*\.tif'"):
        pr.io.load_intensity(tmp_path / "a")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["t_-0.2", "t_-0.1", "t_0.0", "t_0.1", "t_0.2"], ""),
        (["t-1", "t-2", "t-10"], ""),  # a hyphen
        (["2021-03-04", "2021-11-02", "2022-01-01"], ""),
        (["t_-0.3", "t_-0.2", "t_-0.1"], ""),
        (["-90deg", "-45deg", "-30deg"], ""),
        (["r5-2", "r5-3", "r5-10"], ""),
        (["t=-10,x=1", "t=-2,x=0", "t=-2,x=3"], ""),
        (["t_-0p25", "t_0p25", "t_0p5"], ""),
        (["t_0,25", "t_0,5", "t_1,0"], ""),
        (["p-1", "p0", "p+1"], ""),
        (["t_0.25", "t_0.5", "t_0.75", "t_1.0"], ""),
        (["t_0.05", "t_0.10", "t_0.5"], ""),
        (["t_1e-05", "t_0.001", "t_0.02"], ""),
        (["s1.8", "s1.9", "s1.10", "s1.11"], ""),  # scans
        (["t_1.11", "t_1.9"], "1.11.npy comes before .*1.9.npy. If they count, name the files one by one"),
        (["f1_2", "f1_10", "f2_1"], ""),
        (["20210304050607080901", "20210304050607080902"], ""),  # more digits than a float has
        (["i (1)", "i (2)", "i (10)"], ""),
    ],
)
def test_files_of_a_pattern_are_in_the_order_of_their_numbers(names: list[str], said: str, tmp_path: Path) -> None:
    for number, name in enumerate(names):
        np.save(tmp_path / f"{name}.npy", COUNTS + number)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = pr.io.load_intensity(tmp_path / "*.npy")
    np.testing.assert_array_equal(in_frame(found), [COUNTS + number for number in range(len(names))])
    heard = " ".join(str(one.message) for one in caught if "without number" not in str(one.message))
    assert re.search(said, heard) if said else heard == ""


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        (["r12.0001", "r12.0002", "r12.0004"], True),
        (["r12.001", "r12.002", "r12.004"], True),
        (["s1.8", "s1.9", "s1.11", "s1.20"], True),
        (["e8.33", "e8.35", "e8.40"], False),
        (["t0.001", "t0.002", "t0.004"], False),
        (["t_0p1", "t_0p2", "t_0p4"], False),
    ],
)
def test_decimals_are_not_missed_among_counts_nor_counts_among_decimals(
    names: list[str], asked: bool, tmp_path: Path
) -> None:
    for name in names:
        np.save(tmp_path / f"{name}.npy", COUNTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pr.io.load_intensity(tmp_path / "*.npy")
    assert any("are one stack, without number" in note for note in found.notes) == asked


@pytest.mark.parametrize(
    "names", [["i_20210304050607", "i_20230405060708"], ["i_1614830767", "i_1614830801", "i_1614830900"]]
)
def test_times_in_names_do_not_count(names: list[str], tmp_path: Path) -> None:
    for number, name in enumerate(names):
        np.save(tmp_path / f"{name}.npy", COUNTS + number)
    found = pr.io.load_intensity(tmp_path / "i_*.npy")  # took the memory of as many numbers as seconds lie between
    np.testing.assert_array_equal(in_frame(found), [COUNTS + number for number in range(len(names))])
    assert found.notes == ()


def test_a_folder_may_have_signs_of_patterns_in_its_name(tmp_path: Path) -> None:
    for folder in ("[12] x*", "1 x"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "[12] x*" / "f_1.npy", COUNTS)
    np.save(tmp_path / "1 x" / "f_1.npy", COUNTS + 1)
    for pattern in ("f_*.npy", "f_%d.npy"):
        np.testing.assert_array_equal(in_frame(pr.io.load_intensity(tmp_path / "[12] x*" / pattern)), COUNTS)
    np.testing.assert_array_equal(in_frame(pr.io.load_intensity(tmp_path / "[1] x" / "f_*.npy")), COUNTS + 1)


def test_a_file_that_is_named_twice_is_said(tmp_path: Path) -> None:
    for name in ("a_1", "a_2"):
        np.save(tmp_path / f"{name}.npy", COUNTS)
    with pytest.warns(UserWarning, match=r"a_1\.npy of the files is named twice\. Name it once if that is wrong"):
        pr.io.load_intensity([tmp_path / "a_*.npy", tmp_path / "a_1.npy"])
    with pytest.warns(UserWarning, match=r"a_1\.npy and 1 more of the files are named twice"):
        pr.io.load_intensity([tmp_path / "a_?.npy", tmp_path / "a_*.npy"], ndim=3)


@pytest.mark.parametrize("name", ["dark.npy", "background_1.npy", "f_mask.npy"])
def test_a_file_that_is_called_otherwise_than_the_others_is_named(name: str, tmp_path: Path) -> None:
    for file in ("f_1.npy", "f_2.npy", name):
        np.save(tmp_path / file, COUNTS)
    with pytest.warns(UserWarning, match=f"{name} of the files is called as what goes with a pattern"):
        pr.io.load_intensity(tmp_path / "*.npy")
    np.save(tmp_path / f"g_{name}", COUNTS)
    assert pr.io.load_intensity([tmp_path / name, tmp_path / f"g_{name}"]).notes == ()


def test_every_value_can_be_trusted(tmp_path: Path) -> None:
    counts = np.minimum(COUNTS * 5, 255).astype(np.uint8)
    np.save(tmp_path / "x.npy", counts)
    assert unmeasured(pr.io.load_intensity(tmp_path / "x.npy")) == (counts == 255).sum()
    assert unmeasured(pr.io.load_intensity(tmp_path / "x.npy", saturation=float("inf"))) == 0


@pytest.mark.parametrize("dtype", ["i4", "u2", "f4", "f8"])
@pytest.mark.parametrize("word", ["_FillValue", "missing_value"])
def test_the_number_that_marks_what_is_missing_was_not_measured(dtype: str, word: str, tmp_path: Path) -> None:
    values = COUNTS.astype(dtype)
    values[2, 3:7] = 9999
    with h5py.File(tmp_path / "x.nc", "w") as file:
        file["data"] = values
        file["data"].attrs[word] = np.array([9999], dtype)
    found = pr.io.load_intensity(tmp_path / "x.nc", center="corner", saturation=math.inf)
    assert found.mask is not None
    assert np.array_equal(~found.mask.numpy(), values == 9999)
    with h5py.File(tmp_path / "x.nc", "a") as file:
        file["data"].attrs[word] = np.array([0], dtype)  # dark pixels are counted
    assert unmeasured(pr.io.load_intensity(tmp_path / "x.nc", saturation=math.inf)) == 0


def test_a_scale_that_was_not_applied_is_said(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"], file["b"] = COUNTS, COUNTS
        file["a"].attrs.update({"scale_factor": 2.5, "add_offset": np.array([10.0])})
        file["b_scaling_factor"], file["b_offset"] = 0.5, 0.0
    rule = "which {} not applied. If they make counts of its numbers, apply them first"
    with pytest.warns(UserWarning, match="'a' has scale_factor 2.5 and add_offset 10, " + rule.format("were")):
        pr.io.load_intensity(tmp_path / "x.h5", key="a")
    with pytest.warns(UserWarning, match="'b' has b_scaling_factor 0.5, " + rule.format("was")):
        pr.io.load_intensity(tmp_path / "x.h5", key="b")


@pytest.mark.parametrize("virtual", [False, True])
def test_a_filter_that_is_not_installed_is_named(virtual: bool, tmp_path: Path) -> None:
    stored = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    stored.set_chunk(COUNTS.shape)
    stored.set_filter(32999, h5py.h5z.FLAG_OPTIONAL, ())
    with h5py.File(tmp_path / "x.h5", "w") as file:
        space = h5py.h5s.create_simple(COUNTS.shape)
        packed = h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_INT32, space, stored)
        packed.write_direct_chunk((0, 0), b"packed", 0)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        layout = h5py.VirtualLayout(COUNTS.shape, "i4")
        layout[...] = h5py.VirtualSource("x.h5", "data", COUNTS.shape)
        file.create_virtual_dataset("data", layout)
    rule = r"must be packed by a filter that is installed, got 32999 \(no name\)\. Install hdf5plugin, or ask"
    with pytest.raises(ValueError, match=rule):
        pr.io.load_intensity(tmp_path / ("v.h5" if virtual else "x.h5"))


def test_the_small_copy_in_a_tif_is_no_pattern(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(COUNTS.astype(np.uint16))
        file.write(COUNTS[::2, ::2].astype(np.uint8), subfiletype=1)
    np.testing.assert_array_equal(in_frame(pr.io.load_intensity(tmp_path / "x.tif")), COUNTS)


def test_a_package_that_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "x.tif", COUNTS)
    (tmp_path / "tifffile.py").write_text("raise ValueError('no such backend.')")
    monkeypatch.delitem(sys.modules, "tifffile")
    monkeypatch.syspath_prepend(tmp_path)
    rule = (
        r"load_intensity: the package tifffile must be one that can be loaded, got the error: no such backend\. Look at"
    )
    with pytest.raises(ImportError, match=rule):
        pr.io.load_intensity(tmp_path / "x.tif")


@pytest.mark.parametrize("key", ["a", "/a", "a/", "a/b", "a.b", "a/b/pattern"])
def test_a_group_stands_for_the_pattern_in_it_in_every_kind_of_file(key: str, tmp_path: Path) -> None:
    arrays = {"pattern": 1.0 * COUNTS, "bad_pixels": ~GOOD}
    scipy.io.savemat(tmp_path / "x.mat", {"a": {"b": arrays}, "c": 1.0 * COUNTS})
    np.savez(tmp_path / "x.npz", **{f"a/b/{name}": value for name, value in arrays.items()}, c=COUNTS)  # type: ignore[arg-type]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.update({f"a/b/{name}": value for name, value in arrays.items()})
        file["c"] = COUNTS
    for name in ("x.mat", "x.npz", "x.h5")[: 1 if "." in key else 3]:
        found = pr.io.load_intensity(tmp_path / name, key=key)
        assert unmeasured(found) == 6
        np.testing.assert_array_equal(in_frame(found), COUNTS * GOOD)


@pytest.mark.parametrize("name", ["mask", "good_pixels", "background", "flatfield"])
def test_a_group_stands_for_no_mask_unless_that_is_asked_for(name: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file[f"a/{name}"], file["b/data"] = GOOD * 1.0, COUNTS
    with pytest.raises(ValueError, match=f"got the group 'a'. It holds 'a/{name}'"):
        pr.io.load_intensity(tmp_path / "x.h5", key="a")
    if name in ("mask", "good_pixels"):
        assert unmeasured(pr.io.load_mask(tmp_path / "x.h5", key="a")) == 6


def test_a_mask_that_does_not_fit_can_be_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", data=COUNTS, bad_pixels=np.zeros((5, 4)))
    with pytest.raises(ValueError, match=r"or one for each; mask_is='ignored' leaves it out\."):
        pr.io.load_intensity(tmp_path / "x.npz")
    assert unmeasured(pr.io.load_intensity(tmp_path / "x.npz", mask_is="ignored")) == 0


@pytest.mark.parametrize("load", [pr.io.load_intensity, pr.io.load_mask, pr.io.load_support, pr.io.load_object])
@pytest.mark.parametrize("key", [3, ["data"], b"data"])
def test_a_key_is_a_text(load: Any, key: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", COUNTS)
    with pytest.raises(
        TypeError, match=rf"^{load.__name__}: key must be a text or None, got .*\. Use one name, such as"
    ):
        load(tmp_path / "x.npy", key=key)


def test_what_names_no_file_is_called_so(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", COUNTS)
    for array in (COUNTS, torch.from_numpy(COUNTS)):
        with pytest.raises(TypeError, match=r"path must name a file, got an array\. Give as_measurement the values\.$"):
            pr.io.load_intensity(array)  # type: ignore[arg-type]
    with (
        (tmp_path / "x.npy").open("rb") as file,
        pytest.raises(TypeError, match=r"got one that is open\. Give its name"),
    ):
        pr.io.load_intensity(file)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"got 'center'\. Did you mean 'middle'"):
        pr.io.load_intensity(tmp_path / "x.npy", center="center")  # type: ignore[arg-type]


def test_supports_and_objects_are_found_by_their_names_in_groups(tmp_path: Path) -> None:
    obj = COUNTS * (1 + 2j)
    scipy.io.savemat(tmp_path / "x.mat", {"found": {"object": obj, "support": GOOD, "errors": COUNTS}})
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["found/object"], file["found/support"], file["found/probe"] = obj, GOOD, obj
    for name in ("x.mat", "x.h5"):
        assert np.array_equal(pr.io.load_object(tmp_path / name), obj)
        assert np.array_equal(pr.io.load_support(tmp_path / name), GOOD)


def test_a_support_that_is_inside_out_is_questioned(tmp_path: Path) -> None:
    inside = np.zeros(SHAPE, bool)
    inside[5:20, 6:25] = True
    np.save(tmp_path / "x.npy", ~inside)
    with pytest.warns(
        UserWarning, match="holds all of its border and is empty inside. If it means the opposite, invert"
    ):
        pr.io.load_support(tmp_path / "x.npy")
    for right in (inside, np.ones(SHAPE), GOOD):
        np.save(tmp_path / "x.npy", right)
        pr.io.load_support(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("center", (23, 11)),
        ("center", (11, 23)),
        ("beam_xy", (11, 23)),
        ("center_yx", (23, 11)),
        ("direct_beam", (11, 23)),
        ("origin", (23.3, 10.8)),
    ],
)
@pytest.mark.parametrize("as_text", ["{} {}", "({}, {})", "[{};{}]", None])
def test_the_order_of_a_centre_is_what_its_name_or_the_light_says(
    name: str, stored: tuple[float, float], as_text: str | None, tmp_path: Path
) -> None:
    pattern = np.fft.fftshift(abs(np.fft.fft2(np.random.default_rng(0).random((9, 9)), (40, 44))) ** 2)
    value = np.array(stored) if as_text is None else as_text.format(*stored)
    np.savez(tmp_path / "x.npz", data=np.roll(pattern, (3, -11), (0, 1)), **{name: value})  # type: ignore[arg-type]
    with pytest.warns(
        UserWarning, match=rf"'{name}' of the file, .* was not used\. If that is .* use center=\(23, 11\)"
    ):
        pr.io.load_intensity(tmp_path / "x.npz")
    with pytest.warns(
        UserWarning, match=rf"'{name}' of the file, .* was not used\. If that is .* use center=\(23, 11\)"
    ):
        pr.io.load_intensity(tmp_path / "x.npz", roi=((2, 38), (0, 40)))
    assert pr.io.load_intensity(tmp_path / "x.npz", center=(23, 11)).intensity[0, 0] == pytest.approx(pattern[20, 22])


@pytest.mark.parametrize(
    ("stored", "ndim", "said"),
    [
        ((3000, 3), 2, "not used. Give the pixel of the beam with center="),
        ((11, 9, 3), 2, "not used. Give the pixel of the beam with center="),
        ((11, 9), 3, "not used. Give the pixel of the beam with center="),
        ((13, 15), 3, ""),
        ((0, 0), 2, ""),
        ((math.nan, 9), 2, ""),
    ],
)
def test_what_is_advised_for_a_centre_is_a_pixel_of_the_frame(
    stored: tuple[float, ...], ndim: int, said: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "x.npz", data=np.stack([COUNTS] * 3), center=stored)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pr.io.load_intensity(tmp_path / "x.npz", ndim=ndim)
    texts = [str(one.message) for one in caught]
    assert len(texts) == bool(said)
    assert all(said in text for text in texts)


@pytest.mark.parametrize("name", ["logI", "LnI", "I_log", "LOG_I", "intensity_dB", "log10counts", "log1p_counts"])
def test_a_logarithm_is_told_by_its_name(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **{name: COUNTS * 1.3})  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match=f"'{name}' sounds like a logarithm and was taken for the intensity"):
        pr.io.load_intensity(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("mag", True), ("amps", True), ("Fobs", True), ("magnitude_02", True), ("amp2", False), ("amp_sq", False)],
)
def test_a_square_of_magnitudes_is_no_magnitude(name: str, is_one: bool, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **{name: COUNTS * 1.3})  # type: ignore[arg-type]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = pr.io.load_intensity(tmp_path / "x.npz")
    np.testing.assert_allclose(in_frame(found), (COUNTS * 1.3) ** (2 if is_one else 1), rtol=1e-6)
    assert len(said) == is_one


@pytest.mark.parametrize("low", [[2], [0, 3]])
@pytest.mark.parametrize("way", ["stack", "files", "last"])
def test_patterns_that_are_all_but_dark_are_named(low: list[int], way: str, tmp_path: Path) -> None:
    frames = np.stack([COUNTS // 40 + np.eye(*SHAPE, dtype=int) if k in low else 100 * COUNTS for k in range(6)])
    path: Path = tmp_path / "x.npy"
    options: dict[str, Any] = {} if way == "files" else {"ndim": 2, "stack_axis": -1 if way == "last" else 0}
    np.save(path, np.moveaxis(frames, 0, -1) if way == "last" else frames)
    if way == "files":
        path = tmp_path / "f_%d.npy"
        for number, frame in enumerate(frames):
            np.save(tmp_path / f"f_{number}.npy", frame)
    good = [k for k in range(6) if k not in low]
    shown = (
        rf"patterns? {', '.join(map(str, low))} of the stack holds? less than a hundredth .* with index=\[{good[0]}, "
    )
    with pytest.warns(UserWarning, match=shown):
        pr.io.load_intensity(path, **options)
    found = pr.io.load_intensity(path, index=good, **options)
    np.testing.assert_array_equal(in_frame(found), frames[good])
    assert pr.io.load_intensity(path, index=low[0], **options).notes == ()
