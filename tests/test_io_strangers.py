"""Files as other programs write them: layouts, links, stacks, masks, and what a file says of itself."""

from __future__ import annotations

import gzip
import math
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import phaseret as pr
from phaseret.io._readers import opened
from phaseret.io._stop import beam_stop

h5py = pytest.importorskip("h5py")
tifffile = pytest.importorskip("tifffile")

DETECTOR = "entry/instrument/detector"


def counts(shape: tuple[int, ...] = (20, 22), seed: int = 0) -> np.ndarray[Any, Any]:
    """A frame, or a stack of them, whose largest value is none of a saturated detector."""
    return np.random.default_rng(seed).integers(1, 1000, shape).astype(np.int32)


def frame(measurement: pr.io.Measurement) -> np.ndarray[Any, Any]:
    """The intensity as the detector has it."""
    axes = range(-measurement.ndim, 0)
    return np.fft.fftshift(measurement.intensity.numpy(), axes)


def unmeasured(measurement: pr.io.Measurement) -> int:
    return 0 if measurement.mask is None else int((~measurement.mask).sum())


def write(path: Path, arrays: dict[str, Any], attributes: dict[str, str] | None = None) -> Path:
    """An HDF5 file with these arrays and links, and attributes called GROUP@NAME."""
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file[name] = value
        for name, text in (attributes or {}).items():
            group, _, attribute = name.partition("@")
            file.require_group(group or "/").attrs[attribute] = text
    return path


NEXUS = {"entry@NX_class": "NXentry", "entry/instrument@NX_class": "NXinstrument", f"{DETECTOR}@NX_class": "NXdetector"}


# --- layouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attributes",
    [
        {"@default": "entry", "entry@default": "plot", "entry/plot@signal": "image"},
        {"entry@default": "plot", "entry/plot@signal": "image"},
        {"@default": "entry", "entry@default": "/entry/plot", "entry/plot@signal": "image"},
    ],
)
def test_nexus_shows_its_signal_by_default(attributes: dict[str, str], tmp_path: Path) -> None:
    arrays = {"entry/plot/image": counts(), "entry/plot/x": np.arange(22.0), "entry/other/image": counts(seed=1)}
    path = write(tmp_path / "x.nxs", arrays, attributes)
    assert np.array_equal(frame(pr.io.load_intensity(path)), counts())


@pytest.mark.parametrize("key", ["entry/data", "/entry/data", "entry//data/", "/entry/data/image", None])
def test_a_group_stands_for_its_signal_however_it_is_spelt(key: str | None, tmp_path: Path) -> None:
    path = write(tmp_path / "x.nxs", {"entry/data/image": counts(), "entry/data/errors": np.ones((20, 22))})
    with h5py.File(path, "a") as file:
        file["entry/data"].attrs["signal"] = "image"
    with pytest.warns(UserWarning, match=r"'entry/data/errors' of the file lies beside"):
        found = pr.io.load_intensity(path, key=key)
    assert np.array_equal(frame(found), counts())


def test_a_group_of_several_arrays_lists_them(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", {"scan/a": counts(), "scan/b": counts()})
    with pytest.raises(ValueError, match=r"got the group 'scan'\. It holds 'scan/a', 'scan/b'"):
        pr.io.load_intensity(path, key="scan")


@pytest.mark.parametrize("key", [None, "entry/data", "entry/data/data_000002"])
def test_frames_of_an_eiger_are_joined_in_their_order(key: str | None, tmp_path: Path) -> None:
    frames = counts((5, 20, 22))
    for number, part in enumerate((slice(0, 3), slice(3, 5)), start=1):
        write(tmp_path / f"run_data_00000{number}.h5", {"entry/data/data": frames[part]})
    links = {
        f"entry/data/data_00000{number}": h5py.ExternalLink(f"run_data_00000{number}.h5", "entry/data/data")
        for number in (1, 2)
    }
    mask = np.zeros((20, 22), np.uint32)
    mask[2, 3], mask[4, 5] = 1, 1 << 8
    path = write(tmp_path / "run_master.h5", {f"{DETECTOR}/detectorSpecific/pixel_mask": mask, **links}, NEXUS)
    found = pr.io.load_intensity(path, key=key, ndim=2)
    expected = np.where(mask == 0, frames if key != "entry/data/data_000002" else frames[3:], 0)
    assert np.array_equal(frame(found), expected)
    assert unmeasured(found) == 2 * len(expected)
    if key is None:
        for index in (4, slice(1, 4), [0, 3], slice(4, 0, -2)):
            assert np.array_equal(frame(pr.io.load_intensity(path, ndim=2, index=index)), expected[index])
        (tmp_path / "run_data_000002.h5").unlink()
        with pytest.raises(ValueError, match=r"'entry/data/data_000002' .* link to .* in 'run_data_000002\.h5'"):
            pr.io.load_intensity(path, ndim=2)


@pytest.mark.parametrize(
    ("array", "mask", "missing"),
    [
        ("entry_1/instrument_1/detector_1/data", "entry_1/instrument_1/detector_1/mask", 1),
        ("entry_2/instrument_1/detector_1/data", "entry_2/instrument_1/detector_1/mask", 1),
        ("entry_1/data_1/data", "entry_1/data_1/mask", 1),
        ("entry_1/image_1/data", "entry_1/image_1/mask", 1),
        (f"{DETECTOR}/data", f"{DETECTOR}/pixel_mask", 1),
        ("1.1/instrument/eiger/data", "1.1/instrument/eiger/pixel_mask", 1),
    ],
)
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_mask_counts_wherever_the_layout_has_it(
    array: str, mask: str, missing: int, slash: str, tmp_path: Path
) -> None:
    bad = np.zeros((20, 22), np.uint32)
    bad[3, 4] = 1
    path = write(tmp_path / "x.h5", {array: counts(), mask: bad})
    if "eiger" in array:
        with h5py.File(path, "a") as file:
            for group, kind in (
                ("1.1", "NXentry"),
                ("1.1/instrument", "NXinstrument"),
                ("1.1/instrument/eiger", "NXdetector"),
            ):
                file[group].attrs["NX_class"] = kind
    assert unmeasured(pr.io.load_intensity(path, key=slash + array)) == missing
    assert unmeasured(pr.io.load_intensity(path, key=slash + array, mask_is="ignored")) == 0


def test_a_link_has_the_mask_of_what_it_leads_to(tmp_path: Path) -> None:
    bad = np.zeros((20, 22), np.uint32)
    bad[3, 4] = 1
    link = h5py.SoftLink(f"/{DETECTOR}/data")
    arrays = {f"{DETECTOR}/data": counts(), f"{DETECTOR}/pixel_mask": bad, "entry/measurement/eiger": link}
    path = write(tmp_path / "x.h5", arrays, NEXUS)
    assert unmeasured(pr.io.load_intensity(path, key="entry/measurement/eiger")) == 1


def test_arrays_beside_the_pattern_are_named(tmp_path: Path) -> None:
    folder = "entry_1/instrument_1/detector_1"
    path = write(tmp_path / "x.cxi", {f"{folder}/data": counts(), f"{folder}/data_dark": counts(seed=1)})
    with pytest.warns(UserWarning, match=r"'.*/data_dark' of the file lies beside .* not used\. If .* background="):
        found = pr.io.load_intensity(path)
    assert "data_dark" in found.notes[0]
    assert any("data_dark" in text for text in pr.io.inspect(found).warnings)


@pytest.mark.parametrize("units", ["", "pixel", "m", "mm"])
def test_the_beam_centre_of_a_file_is_used_and_said(units: str, tmp_path: Path) -> None:
    size = {"m": 75e-6, "mm": 0.075}.get(units, 1.0)
    path = write(tmp_path / "x.h5", {f"{DETECTOR}/data": counts()}, NEXUS)
    with h5py.File(path, "a") as file:
        for axis, pixel in (("x", 7), ("y", 12)):
            file[f"{DETECTOR}/beam_center_{axis}"] = pixel * size
            file[f"{DETECTOR}/beam_center_{axis}"].attrs["units"] = units
            file[f"{DETECTOR}/{axis}_pixel_size"] = 75e-6
            file[f"{DETECTOR}/{axis}_pixel_size"].attrs["units"] = "m"
    with pytest.warns(UserWarning, match=r"beam centre \(12, 7\) was taken for the zero frequency"):
        found = pr.io.load_intensity(path)
    given = pr.io.load_intensity(path, center=(12, 7))
    assert torch.equal(found.intensity, given.intensity)
    assert torch.equal(found.mask, given.mask)
    assert pr.io.load_intensity(path, center="middle").mask is None


@pytest.mark.parametrize(
    ("units", "distance", "said"),
    [
        ("m", 2.0, []),
        ("cm", 0.02, []),
        ("", 2.0, [f"no unit stands beside '{DETECTOR}/distance': SI was taken, metres and joules"]),
        ("ft", None, [f"'{DETECTOR}/distance' is in 'ft', which is no unit known here: it was not used"]),
    ],
)
def test_a_unit_that_is_missing_or_not_known_is_said(
    units: str, distance: float | None, said: list[str], tmp_path: Path
) -> None:
    arrays = {f"{DETECTOR}/data": counts(), f"{DETECTOR}/distance": 2.0, f"{DETECTOR}/saturation_value": 900.0}
    words = {f"{DETECTOR}/distance@units": units, f"{DETECTOR}/saturation_value@units": "counts"}
    path = write(tmp_path / "x.h5", arrays, NEXUS)
    with h5py.File(path, "a") as file:
        for place, unit in words.items():
            name, _, attribute = place.partition("@")
            file[name].attrs[attribute] = unit
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        found = pr.io.load_intensity(path)
    assert (found.distance, list(found.notes)) == (distance, said)
    assert unmeasured(found) == (counts() > 900).sum() > 0


def test_the_units_of_a_pair_count_too_and_in_cxi_they_are_si(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", {"data": counts(), "pixel_size": [55.0, 75.0]})
    with h5py.File(path, "a") as file:
        file["pixel_size"].attrs["units"] = "\u00b5m"
    assert pr.io.load_intensity(path).pixel_size == pytest.approx((55e-6, 75e-6))
    folder = "entry_1/instrument_1/detector_1"
    arrays = {"cxi_version": 160, f"{folder}/data": counts(), f"{folder}/distance": 2.0}
    assert pr.io.load_intensity(write(tmp_path / "x.cxi", arrays)).distance == 2


@pytest.mark.parametrize("value", [[b"two"], ["two", "three"], b"two", True], ids=["bytes", "texts", "one", "bool"])
def test_what_is_no_number_in_the_place_of_one_says_nothing(value: object, tmp_path: Path) -> None:
    names = (
        f"{DETECTOR}/distance",
        f"{DETECTOR}/x_pixel_size",
        f"{DETECTOR}/y_pixel_size",
        f"{DETECTOR}/beam_center_x",
    )
    path = write(tmp_path / "x.h5", {f"{DETECTOR}/data": counts()}, NEXUS)
    with h5py.File(path, "a") as file:
        for name in names:
            file[name] = value
    found = pr.io.load_intensity(path)
    assert (found.distance, found.pixel_size, unmeasured(found)) == (None, None, 0)


def test_the_bit_of_a_support_means_something_good_in_images_alone(tmp_path: Path) -> None:
    """CXI 1.6: the bit is free for anybody in the mask of a detector, where a bit that is set means something bad."""
    mask = np.zeros((20, 22), np.uint32)
    mask[0, :5] = [0x1, 0x80, 0x1000, 0x10000, 0x11000]
    for folder, good in (("entry_1/image_1", 3), ("entry_1/instrument_1/detector_1", 1)):
        arrays = {"cxi_version": 160, f"{folder}/data": counts(), f"{folder}/mask": mask}
        path = write(tmp_path / "x.cxi", arrays)
        assert unmeasured(pr.io.load_intensity(path)) == 5 - good
        assert int((~pr.io.load_mask(path, key=f"{folder}/mask")).sum()) == 5 - good
    np.savez(tmp_path / "x.npz", data=counts(), bad=mask)
    assert unmeasured(pr.io.load_intensity(tmp_path / "x.npz")) == 5


def test_texts_in_the_place_of_an_object_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", {"obj": np.array([[b"one", b"two"]])})
    with pytest.raises(ValueError, match=r"load_object: 'obj' of .* must hold one number per pixel, got .S3"):
        pr.io.load_object(path)


def test_a_beam_centre_outside_the_frame_is_not_used(tmp_path: Path) -> None:
    arrays = {f"{DETECTOR}/data": counts(), f"{DETECTOR}/beam_center_x": 700.0, f"{DETECTOR}/beam_center_y": 3.0}
    path = write(tmp_path / "x.h5", arrays, NEXUS)
    with pytest.warns(UserWarning, match=r"centre \(3\.0, 700\.0\) lies outside the frame and was not used"):
        assert pr.io.load_intensity(path).mask is None


@pytest.mark.parametrize("name", ["saturation_value", "detectorSpecific/countrate_correction_count_cutoff"])
def test_values_above_what_the_file_says_are_saturated(name: str, tmp_path: Path) -> None:
    values = counts()
    level = int(np.sort(values.reshape(-1))[-4])
    path = write(tmp_path / "x.h5", {f"{DETECTOR}/data": values, f"{DETECTOR}/{name}": level}, NEXUS)
    assert unmeasured(pr.io.load_intensity(path)) == (values > level).sum() > 0
    assert pr.io.load_intensity(path, saturation=1e9).mask is None


@pytest.mark.parametrize(
    ("pieces", "lost"),
    [
        ([(0, 10), (10, 20)], 0),
        ([(0, 12), (8, 20)], 0),
        ([(0, 10), (0, 10), (5, 10)], 10),
        ([(0, 8), (0, 8), (14, 20)], 6),
        ([(0, 20), (3, 5)], 0),
    ],
)
def test_what_no_part_of_a_virtual_array_covers_was_not_measured_also_where_parts_overlap(
    pieces: list[tuple[int, int]], lost: int, tmp_path: Path
) -> None:
    layout = h5py.VirtualLayout((20, 22), np.int32)
    for number, (first, stop) in enumerate(pieces):
        write(tmp_path / f"{number}.h5", {"data": counts()[first:stop]})
        layout[first:stop] = h5py.VirtualSource(f"{number}.h5", "data", (stop - first, 22))
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    found = pr.io.load_intensity(tmp_path / "master.h5")
    assert unmeasured(found) == 22 * lost


def test_a_virtual_array_that_grows_with_its_source_is_read(tmp_path: Path) -> None:
    end = h5py.h5s.UNLIMITED
    layout = h5py.VirtualLayout((20, 22), np.int32, maxshape=(None, 22))
    source = h5py.VirtualSource("part.h5", "data", (20, 22), maxshape=(None, 22))
    layout[:end] = source[:end]
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file.create_dataset("data", data=counts(), maxshape=(None, 22))
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    assert np.array_equal(frame(pr.io.load_intensity(tmp_path / "master.h5")), counts())


def test_a_virtual_array_without_one_of_its_files_is_refused(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((20, 22), np.int32)
    for name, rows in (("upper.h5", slice(0, 10)), ("lower.h5", slice(10, 20))):
        write(tmp_path / name, {"data": counts()[rows]})
        layout[rows] = h5py.VirtualSource(name, "data", (10, 22))
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    assert np.array_equal(frame(pr.io.load_intensity(tmp_path / "master.h5")), counts())
    write(tmp_path / "lower.h5", {"other": counts()})
    with pytest.raises(ValueError, match=r"one in 'data' in 'lower\.h5', which does not hold it"):
        pr.io.load_intensity(tmp_path / "master.h5")
    (tmp_path / "lower.h5").unlink()
    with pytest.raises(ValueError, match=r"must find all its parts, got one in 'lower\.h5', which is not there"):
        pr.io.load_intensity(tmp_path / "master.h5")


def test_values_in_a_foreign_file_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_bytes(bytes(range(1, 101)))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("data", (10, 10), "u1", external=[(str(tmp_path / "private.txt"), 0, 100)])
    with pytest.raises(ValueError, match=r"must lie in .* itself, got an external file, '.*private\.txt'"):
        pr.io.load_intensity(tmp_path / "x.h5")


def test_links_in_a_circle_and_into_nothing_are_survived(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", {"a/b": h5py.SoftLink("/a"), "c": h5py.SoftLink("/nowhere"), "d": counts()})
    assert np.array_equal(frame(pr.io.load_intensity(path)), counts())
    with pytest.raises(ValueError, match=r"'c' of .* got a link to '/nowhere', which the file does not hold"):
        pr.io.load_intensity(path, key="c")


def test_odd_entries_of_an_hdf5_file_raise_nothing_raw(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["entry_1/data_1/data"] = counts()
        file["entry_1/data_1"].attrs.create("interpretation", np.array([], "S3"))
        file.create_dataset(b"\xff\xfe", data=counts())
        file["pixel_size"] = "55 um"
    assert np.array_equal(frame(pr.io.load_intensity(tmp_path / "x.h5")), counts())


# --- MATLAB ----------------------------------------------------------------------------------------------------------


def save_mat(path: Path, variables: dict[str, Any]) -> Path:
    from scipy.io import savemat

    savemat(path, variables)
    return path


@pytest.mark.parametrize("key", [None, "scan.intensity", "scan/intensity"])
def test_fields_of_a_struct_are_arrays(key: str | None, tmp_path: Path) -> None:
    mask = np.ones((20, 22), np.uint8)
    mask[3, 4] = 0
    fields = {"intensity": counts().astype(float), "mask": mask, "energy": 8.0, "note": "pinhole", "in": {"x": 1.0}}
    path = save_mat(tmp_path / "x.mat", {"scan": fields})
    with pytest.raises(ValueError, match=r"mask_is must say what the non-zero pixels of 'scan/mask'"):
        pr.io.load_intensity(path, key=key)
    found = pr.io.load_intensity(path, key=key, mask_is="measured")
    assert np.array_equal(frame(found), np.where(mask, counts(), 0))


def test_numbers_and_texts_of_a_mat_file_are_no_patterns(tmp_path: Path) -> None:
    path = save_mat(tmp_path / "x.mat", {"I": counts().astype(float), "dx": 13e-6, "note": "pinhole"})
    assert np.array_equal(frame(pr.io.load_intensity(path)), counts())


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", "i2", "u2", "u1", "c16"])
def test_files_of_matlab_4_hold_the_same(dtype: str, order: str, tmp_path: Path) -> None:
    values = np.array(counts((20, 22)) % 250, order + dtype)
    values = values + 3j * values.T[:1, :1] if dtype == "c16" else values
    matrices = {"words": "intensity", "energy": 8.0, "x": values, "sparse": scipy.sparse.csc_matrix(counts())}
    scipy.io.savemat(tmp_path / "5.mat", matrices)
    (tmp_path / "4.mat").write_bytes(b"".join(in_matlab_4(name, matrices[name], order) for name in ("energy", "x")))
    scipy.io.savemat(tmp_path / "scipy.mat", matrices, format="4")
    expected = pr.io.load_object(tmp_path / "5.mat", key="x")
    for name in ("4.mat", "scipy.mat"):
        found = pr.io.load_object(tmp_path / name, key="x")
        assert torch.equal(found, expected.to(found.dtype))
        assert found.is_complex() == (dtype == "c16")
    with pytest.raises(ValueError, match=r"'sparse' of .* must be there as an array, got a sparse matrix\. Save full"):
        pr.io.load_intensity(tmp_path / "scipy.mat", key="sparse")
    whole = (tmp_path / "4.mat").read_bytes()
    for end in (len(whole) - 1, len(whole) // 2):
        (tmp_path / "cut.mat").write_bytes(whole[:end])
        with pytest.raises(ValueError, match="must be a whole MATLAB 4 file, got the error: it ends inside a matrix"):
            pr.io.load_intensity(tmp_path / "cut.mat")
    (tmp_path / "cut.mat").write_bytes(whole + b"more")
    with pytest.raises(ValueError, match=rf"what stands at byte {len(whole)} is no matrix of version 4"):
        pr.io.load_intensity(tmp_path / "cut.mat")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", "i2", "u2", "u1"])
@pytest.mark.parametrize("imaginary", [False, True])
def test_numbers_of_matlab_4_are_read_to_the_bit(dtype: str, order: str, imaginary: bool, tmp_path: Path) -> None:
    real, imag = np.random.default_rng(0).integers(0, 256, (2, 5, 7 * np.dtype(dtype).itemsize), np.uint8).view(dtype)
    expected = real.astype(np.result_type(real, 1j)) if imaginary else real
    if imaginary:
        expected.imag = imag
    empty, words = np.zeros((0, 5)), in_matlab_4("words", np.full((1, 3), 65.0), order)
    words = np.array([1 + 1000 * (order == ">")], order + "i4").tobytes() + words[4:]  # the code of a text
    before, after = in_matlab_4("none", empty, order) + words, in_matlab_4("last", 1.0, order)
    parts = b"".join(x.astype(order + dtype).tobytes(order="F") for x in (real, imag)[: 1 + imaginary])
    header = in_matlab_4("x", np.zeros((5, 7), dtype), order)[:22]
    header = header[:12] + np.array([imaginary], order + "i4").tobytes() + header[16:]
    (tmp_path / "x.mat").write_bytes(before + header + parts + after)
    with opened(tmp_path / "x.mat") as contents:
        assert {*contents.entries} == {"none", "x", "last"}
        assert contents.read("none").shape == (0, 5)
        for index in (None, 3, slice(1, 4)):
            found = contents.read("x", index)
            assert found.dtype.newbyteorder("=") == expected.dtype
            same = expected if index is None else expected[index]
            assert found.astype(expected.dtype).tobytes() == same.tobytes()
        assert contents.number("last") == 1


def in_matlab_4(name: str, value: Any, order: str) -> bytes:
    """A matrix as the format describes it; its code is 1000 O + 10 P + T."""
    array = np.atleast_2d(value)
    parts = [array.real, array.imag] if array.dtype.kind == "c" else [array]
    kinds = ["f8", "f4", "i4", "i2", "u2", "u1"]
    kind = np.result_type(parts[0]).str[1:]
    code = 1000 * (order == ">") + 10 * kinds.index(kind)
    header = np.array([code, *array.shape, len(parts) - 1, len(name) + 1], f"{order}i4").tobytes()
    numbers = (part.astype(order + kind).tobytes(order="F") for part in parts)
    return header + name.encode() + b"\0" + b"".join(numbers)


@pytest.mark.parametrize(
    ("shape", "axis", "said"),
    [((20, 22, 4), -1, "last"), ((20, 20, 4), -1, "last"), ((4, 20, 20), 0, "first"), ((4, 4, 4), -1, "last")],
)
def test_the_stack_axis_of_matlab_is_the_last_unless_only_the_others_agree(
    shape: tuple[int, ...], axis: int, said: str, tmp_path: Path
) -> None:
    values = counts(shape).astype(float)
    path = save_mat(tmp_path / "x.mat", {"intensity": values})
    with pytest.warns(UserWarning, match=rf"the {said} axis of .* stack"):
        found = pr.io.load_intensity(path, ndim=2)
    assert np.array_equal(frame(found), np.moveaxis(values, axis, 0))
    for asked in (0, 1, 2, -1):
        given = pr.io.load_intensity(path, ndim=2, stack_axis=asked)
        assert np.array_equal(frame(given), np.moveaxis(values, asked, 0))
    with pytest.raises(ValueError, match="stack_axis must be an axis of the shape"):
        pr.io.load_intensity(path, ndim=2, stack_axis=3)


def test_files_of_matlab_whose_sizes_and_names_are_of_the_types_of_other_programs_are_read(tmp_path: Path) -> None:
    path = save_mat(tmp_path / "x.mat", {"intensity": counts().astype(float)})
    content = bytearray(path.read_bytes())
    sizes, name = 128 + 8 + 16, 128 + 8 + 16 + 16
    assert (content[sizes], content[name]) == (5, 1)
    content[sizes], content[name] = 6, 16  # numbers without a sign, UTF-8
    path.write_bytes(content)
    assert np.array_equal(frame(pr.io.load_intensity(path)), counts())


@pytest.mark.parametrize("kind", [4, 5])
def test_a_file_of_matlab_that_lacks_a_text_or_the_places_of_numbers_is_refused(kind: int, tmp_path: Path) -> None:
    path = save_mat(tmp_path / "x.mat", {"intensity": counts().astype(float), "note": np.zeros((1, 1))})
    content = bytearray(path.read_bytes())
    at = 128 + 8 + int.from_bytes(content[132:136], "little")  # of the second array, of which no value is left
    content[at + 16] = kind
    values = len(content) - 16
    content[at + 4 : at + 8] = (values - at - 8).to_bytes(4, "little")
    path.write_bytes(content[:values])
    with pytest.raises(ValueError, match="an array lacks a part of its values"):
        pr.io.load_intensity(path, key="intensity")


def test_a_last_axis_that_looks_like_that_of_a_stack_is_asked_about(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", counts((20, 20, 3)))
    with pytest.warns(UserWarning, match="If it is the last, use stack_axis=-1"):
        assert len(pr.io.load_intensity(tmp_path / "x.npy", ndim=2).intensity) == 20


# --- stacks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("big", [False, True])
def test_frames_written_one_by_one_to_a_tif_are_a_stack(big: bool, tmp_path: Path) -> None:
    frames = counts((4, 20, 22)).astype(np.uint16)
    with tifffile.TiffWriter(tmp_path / "x.tif", bigtiff=big) as writer:
        for one in frames:
            writer.write(one, photometric="minisblack")
    assert np.array_equal(frame(pr.io.load_intensity(tmp_path / "x.tif", ndim=2)), frames)
    for index in (1, slice(1, 3), [0, 3]):
        assert np.array_equal(frame(pr.io.load_intensity(tmp_path / "x.tif", ndim=2, index=index)), frames[index])


def test_pages_of_other_sizes_are_chosen_by_name(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(counts().astype(np.uint16), photometric="minisblack")
        writer.write(counts((5, 6)).astype(np.uint16), photometric="minisblack")
    with pytest.raises(ValueError, match=r"It holds 'series_0' \(20, 22\) uint16, 'series_1' \(5, 6\) uint16"):
        pr.io.load_intensity(tmp_path / "x.tif")
    assert np.array_equal(frame(pr.io.load_intensity(tmp_path / "x.tif", key="series_0")), counts())


def series(folder: Path) -> tuple[list[Path], np.ndarray[Any, Any]]:
    """Twelve files of one frame each, of which the third lacks a pixel."""
    frames = counts((12, 20, 22)).astype(np.float32)
    frames[2, 3, 4] = np.nan
    names = [folder / f"frame_{number}.npy" for number in range(12)]
    for name, one in zip(names, frames, strict=True):
        np.save(name, one)
    return names, frames


@pytest.mark.parametrize("how", ["names", "glob", "counted"])
def test_several_files_are_one_stack(how: str, tmp_path: Path) -> None:
    names, frames = series(tmp_path)
    (tmp_path / "frame_x.txt").write_text("no frame")
    path = {"names": names, "glob": str(tmp_path / "frame_*.npy"), "counted": str(tmp_path / "frame_%d.npy")}[how]
    found = pr.io.load_intensity(path)  # frame_10 comes after frame_9
    assert np.array_equal(frame(found), np.nan_to_num(frames))
    assert unmeasured(found) == 1
    assert not found.mask[2].all()
    for index in (-1, slice(1, 3), [2, 0]):
        assert np.array_equal(frame(pr.io.load_intensity(path, index=index)), np.nan_to_num(frames[index]))
    with pytest.raises(ValueError, match=r"index must lie in a stack of 12, got 12"):
        pr.io.load_intensity(path, index=12)


def test_files_that_hold_stacks_are_joined(tmp_path: Path) -> None:
    frames = counts((5, 20, 22))
    np.save(tmp_path / "a.npy", frames[:2])
    np.save(tmp_path / "b.npy", frames[2:])
    found = pr.io.load_intensity([tmp_path / "a.npy", tmp_path / "b.npy"], ndim=2, index=slice(1, 4))
    assert np.array_equal(frame(found), frames[1:4])


def test_a_file_of_another_shape_is_named_and_a_pattern_without_files_is_refused(tmp_path: Path) -> None:
    names, frames = series(tmp_path)
    np.save(names[4], frames[4, :-1])
    with pytest.raises(ValueError, match=r"one shape, \(20, 22\), got \(19, 22\) in .*frame_4\.npy"):
        pr.io.load_intensity(names)
    with pytest.raises(FileNotFoundError, match=r"path must match files, got '.*none_\*\.npy', which matches none"):
        pr.io.load_intensity(str(tmp_path / "none_*.npy"))
    with pytest.raises(ValueError, match="got an empty list"):
        pr.io.load_intensity([])


def test_dark_frames_are_named_with_the_way_round_them(tmp_path: Path) -> None:
    frames = counts((4, 20, 22))
    frames[2] = 0
    np.save(tmp_path / "x.npy", frames)
    with pytest.raises(ValueError, match=r"none in \[2\] of 4\. Leave these patterns out with index=\[0, 1, 3\]"):
        pr.io.load_intensity(tmp_path / "x.npy", ndim=2)
    assert np.array_equal(frame(pr.io.load_intensity(tmp_path / "x.npy", ndim=2, index=[0, 1, 3])), frames[[0, 1, 3]])


@pytest.mark.parametrize("name", ["x.npy", "x.h5", "f*.npy"])
def test_numbers_of_numpy_and_torch_are_numbers(name: str, tmp_path: Path) -> None:
    stack = counts((5, 20, 22))
    np.save(tmp_path / "x.npy", stack)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["intensity"] = stack
    for number, value in enumerate(stack):
        np.save(tmp_path / f"f{number}.npy", value)
    read: Any = partial(pr.io.load_intensity, tmp_path / name, ndim=2)
    for index in (np.int64(3), np.array([4, 1]), torch.tensor([0, 2]), torch.tensor(2), [np.int32(1), 3], (0, 2)):
        assert np.array_equal(frame(read(index=index)), stack[np.asarray(index)])
    assert np.array_equal(frame(read(index=slice(np.int64(1), np.int64(3)))), stack[1:3])
    options = {"center": (11, 9), "crop": (8, 6), "bin": 2, "roi": ((1, 19), (2, 20))}
    same = {name: np.array(value) for name, value in options.items()}
    assert torch.equal(read(**options).intensity, read(**same).intensity)
    for index in ([True, False, True, False, False], stack[:, 0, 0] > 0, True, 1.5, "1", [[0, 1]], slice(0.5, 2)):
        with pytest.raises(TypeError, match=r"^load_intensity: index must be an integer, a slice or integers, got"):
            read(index=index)
    with pytest.raises(ValueError, match=r"^load_intensity: index must be a slice whose step is not 0, got slice"):
        read(index=slice(0, 5, 0))


def test_measurements_make_batches(tmp_path: Path) -> None:
    names, frames = series(tmp_path)
    items = [pr.io.load_intensity(name) for name in names]
    first, *_, last = DataLoader(items, batch_size=4)  # type: ignore[arg-type, var-annotated]
    assert np.array_equal(frame(first), np.nan_to_num(frames[:4]))
    assert unmeasured(first) == 1
    assert last.mask is None
    items[1] = pr.io.as_measurement(torch.rand(5, 5))
    with pytest.raises(
        ValueError, match=r"^default_collate: .* must have one shape, \(20, 22\), got \(5, 5\) of number 1"
    ):
        next(iter(DataLoader(items, batch_size=4)))  # type: ignore[arg-type]


# --- packed, pictures, tables ----------------------------------------------------------------------------------------


def test_packed_files_and_tables_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", counts())
    packed = gzip.compress((tmp_path / "x.npy").read_bytes())
    (tmp_path / "x.npy.gz").write_bytes(packed)
    assert np.array_equal(frame(pr.io.load_intensity(tmp_path / "x.npy.gz")), counts())
    (tmp_path / "cut.npy.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ValueError, match=r"cut\.npy\.gz must be a whole gzip file"):
        pr.io.load_intensity(tmp_path / "cut.npy.gz")
    (tmp_path / "twice.gz").write_bytes(gzip.compress(packed))
    with pytest.raises(ValueError, match="must name a file that was packed once"):
        pr.io.load_intensity(tmp_path / "twice.gz")


@pytest.mark.parametrize("delimiter", [" ", "\t", ",", ";", ", "])
def test_tables_of_numbers_are_read(delimiter: str, tmp_path: Path) -> None:
    np.savetxt(tmp_path / "x.txt", counts(), fmt="%d", delimiter=delimiter, header="counts of a run")
    assert np.array_equal(frame(pr.io.load_intensity(tmp_path / "x.txt")), counts())
    (tmp_path / "note.txt").write_text("no numbers here")
    with pytest.raises(ValueError, match=r"must name a file of a known kind, got '.*note\.txt'"):
        pr.io.load_intensity(tmp_path / "note.txt")


def painted(path: Path, grey: np.ndarray[Any, Any], mode: str) -> Path:
    pillow = pytest.importorskip("PIL.Image")
    pillow.fromarray(grey).convert(mode).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("m.png", "L"),
        ("m.png", "RGB"),
        ("m.png", "RGBA"),
        ("m.png", "P"),
        ("m.png", "1"),
        ("m.bmp", "RGB"),
        ("m.bmp", "L"),
    ],
)
def test_painted_masks_are_read(name: str, mode: str, tmp_path: Path) -> None:
    grey = np.full((20, 22), 255, np.uint8)
    grey[3:5, 4:8] = 0
    path = painted(tmp_path / name, grey, mode)
    assert np.array_equal(np.fft.fftshift(pr.io.load_mask(path).numpy()), grey > 0)
    assert np.array_equal(pr.io.load_support(path).numpy(), grey > 0)


def test_soft_edges_are_cut_at_the_half_and_said_and_colours_are_refused(tmp_path: Path) -> None:
    grey = np.full((20, 22), 255, np.uint8)
    grey[3:5, 4:8], grey[5, 4:8], grey[2, 4:8] = 0, 100, 200
    with pytest.warns(UserWarning, match=r"load_mask: 8 pixels of .* are neither black nor white"):
        mask = pr.io.load_mask(painted(tmp_path / "m.png", grey, "L"))
    assert int((~mask).sum()) == 12
    colors = np.zeros((4, 5, 3), np.uint8)
    colors[0, 0, 1] = 255
    pytest.importorskip("PIL.Image").fromarray(colors).save(tmp_path / "c.png")
    with pytest.raises(ValueError, match="must be grey, got a picture in colours"):
        pr.io.load_mask(tmp_path / "c.png")


def test_a_flipped_bit_of_a_png_is_found(tmp_path: Path) -> None:
    whole = bytearray(painted(tmp_path / "x.png", counts().astype(np.uint8), "L").read_bytes())
    whole[whole.index(b"IDAT") + 20] ^= 16
    (tmp_path / "x.png").write_bytes(whole)
    with pytest.raises(ValueError, match=r"x\.png must be a whole png file"):
        pr.io.load_intensity(tmp_path / "x.png")


@pytest.mark.parametrize("load", [pr.io.load_mask, pr.io.load_support])
def test_no_number_is_neither_measured_nor_inside(load: Callable[..., torch.Tensor], tmp_path: Path) -> None:
    values = np.ones((20, 22))
    values[3:5, 4:8] = np.nan
    np.save(tmp_path / "x.npy", values)
    assert int((~load(tmp_path / "x.npy")).sum()) == 8


def test_records_and_archives_of_other_files_are_called_so(tmp_path: Path) -> None:
    records = np.zeros((4, 4), [("counts", "f4"), ("error", "f4")])
    np.save(tmp_path / "x.npy", records)
    np.savez(tmp_path / "x.npz", all=records)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["all"] = records
    for name in ("x.npy", "x.npz", "x.h5"):
        with pytest.raises(ValueError, match=r"holds '\w+' \(4, 4\), records of counts, error: save the field that"):
            pr.io.load_intensity(tmp_path / name)
    np.save(tmp_path / "words.npy", [["a", "b"]])
    with pytest.raises(ValueError, match=r"It holds 'data' \(1, 2\), texts\."):
        pr.io.load_intensity(tmp_path / "words.npy")
    scipy.io.savemat(tmp_path / "x.mat", {"scan": records})
    with pytest.raises(ValueError, match="got an array of structs"):
        pr.io.load_intensity(tmp_path / "x.mat")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/1.tif", b"")
    with pytest.raises(ValueError, match=r"an archive of npy files, got one of 'a/1\.tif' in .* Unpack it"):
        pr.io.load_intensity(tmp_path / "x.zip")
    np.savez(tmp_path / "none.npz")
    with pytest.raises(ValueError, match=r"an archive of npy files, got one of no file in"):
        pr.io.load_intensity(tmp_path / "none.npz")


def test_what_lies_beside_an_array_of_numpy_is_said(tmp_path: Path) -> None:
    frames = counts((2, 12, 12))
    with (tmp_path / "two.npy").open("wb") as stream:  # numpy reads one array at a time
        for one in frames:
            np.save(stream, one)
    rest = 128 + frames[0].nbytes
    with pytest.warns(
        UserWarning, match=f"goes on for {rest} bytes after its array, which alone is read. Use numpy.savez"
    ):
        found = pr.io.load_intensity(tmp_path / "two.npy")
    np.testing.assert_array_equal(frame(found), frames[0])
    np.savez(tmp_path / "x.npz", intensity=frames[0])
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("more/a.tif", b"")
        archive.writestr("notes.txt", "30 s")
    with pytest.warns(UserWarning, match=r"'more/a.tif', 'notes.txt' of the archive were not read. Unpack it"):
        found = pr.io.load_intensity(tmp_path / "x.npz")
    np.testing.assert_array_equal(frame(found), frames[0])
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("intensity.npy", b"")
    with pytest.raises(ValueError, match="one array of each name, got two 'intensity' in"):
        pr.io.load_intensity(tmp_path / "x.npz")


@pytest.mark.parametrize("word", ["1.5.2", "0x10", "-3,5", "+2e", ".5x", "12 34"])
def test_a_number_of_the_first_row_that_is_damaged_is_no_heading(word: str, tmp_path: Path) -> None:
    rows = lines(counts((6, 6)), ";")
    (tmp_path / "t.csv").write_text("\n".join([f"{word};7;3;9;5;6", *rows]))
    if word == "-3,5":  # a decimal comma is none
        assert pr.io.load_intensity(tmp_path / "t.csv").intensity.shape == (7, 6)
    else:
        with pytest.raises(ValueError, match="must"):
            pr.io.load_intensity(tmp_path / "t.csv")


# --- what is questioned ----------------------------------------------------------------------------------------------


def peaked(seed: int = 0) -> torch.Tensor:
    obj = torch.rand(14, 14, generator=torch.Generator().manual_seed(seed))
    return pr.operators.fourier_intensity(obj, (32, 34))


def test_a_zero_frequency_in_the_corner_is_seen(tmp_path: Path) -> None:
    np.save(tmp_path / "corner.npy", peaked().numpy())
    np.save(tmp_path / "middle.npy", np.fft.fftshift(peaked().numpy()))
    assert pr.io.load_intensity(tmp_path / "middle.npy").notes == ()
    with pytest.warns(UserWarning, match=r"gathers at the corner .* use center='corner'"):
        pr.io.load_intensity(tmp_path / "corner.npy")
    assert pr.io.load_intensity(tmp_path / "corner.npy", center="corner").notes == ()
    with pytest.warns(UserWarning, match=r"as_measurement: the light gathers at the middle .* use center='middle'"):
        pr.io.as_measurement(torch.fft.fftshift(peaked()))


def test_a_flat_top_was_not_measured(tmp_path: Path) -> None:
    values = np.fft.fftshift(peaked().numpy())
    scaled = (4095 * values / np.sort(values.reshape(-1))[-20]).clip(max=4095).astype(np.uint16)
    np.save(tmp_path / "x.npy", scaled)
    with pytest.warns(UserWarning, match=r"2\d pixels share the largest value, 4095, .* use saturation=inf"):
        found = pr.io.load_intensity(tmp_path / "x.npy")
    assert unmeasured(found) == int((scaled == 4095).sum())
    assert found.saturated == pytest.approx(unmeasured(found) / scaled.size)
    assert pr.io.load_intensity(tmp_path / "x.npy", saturation=4095).notes == ()
    trusted = pr.io.load_intensity(tmp_path / "x.npy", saturation=math.inf)
    assert trusted.notes == ()
    assert trusted.mask is None


def test_each_pattern_of_a_stack_has_a_top_of_its_own() -> None:
    values = peaked()
    assert pr.io.as_measurement(torch.stack([100 * values / values.max()] * 6)).mask is None
    clipped = (4095 * values / values.flatten().sort().values[-20]).clamp(max=4095)
    with pytest.warns(UserWarning, match="share the largest value"):
        both = pr.io.as_measurement(torch.stack([clipped, clipped / 2]))
    assert both.mask is not None
    assert torch.equal(both.mask[0], both.mask[1])


def test_who_said_what_is_saturated_is_asked_about_a_plateau_below() -> None:
    values = peaked()
    clipped = (1048575 * values / values.flatten().sort().values[-20]).clamp(max=1048575)
    with pytest.warns(UserWarning, match="If the detector was saturated there, use saturation=1048575"):
        assert pr.io.as_measurement(clipped, saturation=2e6).mask is None


def test_a_plateau_of_a_large_part_is_asked_about() -> None:
    plateau = torch.full((16, 16), 20.0)
    plateau[:8] = torch.arange(8.0)[:, None]
    with pytest.warns(UserWarning, match=r"128 pixels share the largest value, 20. If .* use saturation=20"):
        found = pr.io.as_measurement(plateau)
    assert found.saturated == 0


@pytest.mark.filterwarnings("ignore:.*exactly 0 beside bright")  # random pixels need not be a pattern
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 30.0))
def test_counts_of_few_photons_have_no_flat_top(seed: int, mean: float) -> None:
    rate = peaked(1)
    photons = np.random.default_rng(seed).poisson((rate * mean / rate.mean()).numpy())
    if photons.any():
        assert pr.io.as_measurement(torch.from_numpy(photons).float()).notes == ()


def test_a_mask_that_leaves_out_nearly_all_is_questioned(tmp_path: Path) -> None:
    good = np.ones((20, 22), np.int32)
    good[8:11, 8:11] = 0
    path = write(tmp_path / "x.cxi", {"entry_1/image_1/data": counts(), "entry_1/image_1/mask": good})
    with pytest.warns(UserWarning, match=r"leaves out 98\.0% of the pixels\. If .* use mask_is='measured'"):
        pr.io.load_intensity(path)
    assert unmeasured(pr.io.load_intensity(path, mask_is="measured")) == 9


# --- parts of the frame ----------------------------------------------------------------------------------------------


@given(st.integers(9, 24), st.integers(9, 24), st.integers(1, 5), st.booleans())
def test_binning_keeps_the_zero_frequency_and_the_photons(m: int, n: int, count: int, masked: bool) -> None:
    values = torch.from_numpy(counts((m, n)).astype(np.float32))
    mask = torch.ones(m, n, dtype=torch.bool)
    mask[m // 2, n // 2] = not masked
    found = pr.io.as_measurement(values, mask=mask, center="middle").binned(count)
    rows, columns = found.fourier_shape
    # the block that holds the zero frequency, of pixels in the middle of the frame
    top, left = (size // 2 - (count // 2 if count % 2 else 0) for size in (m, n))
    block = values[top : top + count, left : left + count].sum()
    whole = values[top - count * (rows // 2) :][: rows * count, left - count * (columns // 2) :][:, : columns * count]
    assert whole.shape == (rows * count, columns * count)
    if masked:
        assert unmeasured(found) == 1
        assert not bool(found.mask[0, 0])
        torch.testing.assert_close(found.intensity.sum(), whole.sum() - block)
    else:
        torch.testing.assert_close(found.intensity[0, 0], block)
        torch.testing.assert_close(found.intensity.sum(), whole.sum())
    assert m - rows * count < 2 * count
    assert n - columns * count < 2 * count


@given(st.integers(1, 20), st.integers(1, 22))
def test_a_crop_keeps_the_lowest_frequencies(n1: int, n2: int) -> None:
    found = pr.io.as_measurement(torch.from_numpy(counts().astype(np.float32)), center="middle").cropped((n1, n2))
    start = (10 - n1 // 2, 11 - n2 // 2)
    assert np.array_equal(frame(found), counts()[start[0] : start[0] + n1, start[1] : start[1] + n2])


def test_parts_of_the_frame_are_read_with_their_masks(tmp_path: Path) -> None:
    bad = np.zeros((20, 22), np.uint8)
    bad[13, 9] = 1
    path = write(tmp_path / "x.h5", {f"{DETECTOR}/data": counts(), f"{DETECTOR}/pixel_mask": bad}, NEXUS)
    found = pr.io.load_intensity(path, roi=((8, 18), (None, 12)))
    assert np.array_equal(frame(found), np.where(bad, 0, counts())[8:18, :12])
    assert unmeasured(found) == 1
    centred = pr.io.load_intensity(path, roi=((8, 18), (None, 12)), center=(13, 6))  # counted in the whole frame
    assert torch.equal(centred.intensity, found.intensity)
    assert pr.io.load_intensity(path, crop=(12, 12), bin=2).fourier_shape == (6, 6)
    for roi, message in ((((3, 3), (0, 5)), "roi must hold pixels"), (((0, 5),), "roi must be one pair for each axis")):
        with pytest.raises(ValueError, match=message):
            pr.io.load_intensity(path, roi=roi)
    with pytest.raises(
        ValueError, match=r"crop must be one size per axis, at most the frame \(20, 22\), got \(21, 4\)"
    ):
        pr.io.load_intensity(path, crop=(21, 4))
    with pytest.raises(ValueError, match="bin must be at most half of the frame"):
        pr.io.load_intensity(path, bin=21)


# --- what lies beside, and what numbers say ---------------------------------------------------------------------------


def lines(table: np.ndarray, sep: str = ",") -> list[str]:
    return [sep.join(map(str, row)) for row in table.tolist()]


@pytest.mark.parametrize("sep", [",", ";", "\t"])
@pytest.mark.parametrize("first", [0, 1])
def test_numbers_of_rows_and_columns_of_a_table_are_no_pixels(tmp_path: Path, sep: str, first: int) -> None:
    path, values = tmp_path / "t.csv", counts()
    across = sep.join(str(k + first) for k in range(values.shape[1]))
    down = [f"{k + first}{sep}{row}" for k, row in enumerate(lines(values, sep))]
    corner = f"{sep}{across}"
    for text, left in (
        ([across, *lines(values, sep)], "the first row,"),
        (down, "the first column,"),
        ([corner, *down], "the first column,"),
        ([f"0{corner}", *down], "the first row and the first column,"),
    ):
        path.write_text("\n".join(text))
        with pytest.warns(UserWarning, match=f"the table was taken without {left} where numbers count on"):
            found = pr.io.load_intensity(path, center="corner")
        np.testing.assert_array_equal(found.intensity, values)
    path.write_text("\n".join(lines(values, sep)))
    np.testing.assert_array_equal(pr.io.load_intensity(path, center="corner").intensity, values)


def test_a_mark_of_the_byte_order_hides_no_row(tmp_path: Path) -> None:
    path, values = tmp_path / "t.csv", counts()
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join(lines(values)).encode())
    np.testing.assert_array_equal(pr.io.load_intensity(path, center="corner").intensity, values)


@pytest.mark.filterwarnings("ignore:.*lies? beside the pattern")
@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_an_array_that_goes_with_a_pattern_is_not_taken_for_another_one(tmp_path: Path, ending: str) -> None:
    for beside in ("dark", "background", "flatfield", "errors", "weights", "support", "motor"):
        path = tmp_path / f"{beside}.{ending}"
        arrays = {"frame": counts(), beside: np.ones(3 if beside == "motor" else counts().shape)}
        np.savez(path, **arrays) if ending == "npz" else write(path, arrays)
        np.testing.assert_array_equal(pr.io.load_intensity(path, center="corner").intensity, counts())
    np.savez(tmp_path / "two.npz", one=counts(), other=counts())
    with pytest.raises(ValueError, match="key must say which array"):
        pr.io.load_intensity(tmp_path / "two.npz")


def test_links_in_circles_hide_nothing(tmp_path: Path) -> None:
    path = tmp_path / "circle.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("entry")
        group["self"], group["up"] = h5py.SoftLink("/entry/self"), h5py.SoftLink("/entry")
        group["one"], group["two"] = h5py.SoftLink("/entry/two"), h5py.SoftLink("/entry/one")
        group["data"] = counts()
    for key in (None, "entry", "entry/up/data"):
        np.testing.assert_array_equal(pr.io.load_intensity(path, key=key, center="corner").intensity, counts())
    with pytest.raises(ValueError, match=r"'entry/self' of .* must be there|key must name an array"):
        pr.io.load_intensity(path, key="entry/self")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_roots_of_counts_are_asked_about(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "x.npy"

    def load(values: torch.Tensor, **options: Any) -> None:
        np.save(path, values.numpy())
        pr.io.load_intensity(path, center="corner", **options)

    whole = torch.poisson(pr.operators.fourier_intensity(torch.rand(8, 8, dtype=dtype), (24, 24)) * 50)
    with pytest.warns(
        UserWarning, match="the roots of whole numbers, as magnitudes of counts are. If so, use kind='magn"
    ):
        load(whole.sqrt())
    for other in (whole, whole + 0.25, whole * 0.37, whole.square(), torch.rand(24, 24, dtype=dtype)):
        load(other)  # warnings are errors
    for kind in ("magnitude", "intensity"):
        load(whole.sqrt(), kind=kind)


# --- a beam stop that was stored as zeros -----------------------------------------------------------------------------


def counts_behind_a_stop(arm: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Counts with a disc of zeros beside the middle and an arm from it, and where it is; the corner is the origin."""
    generator = torch.Generator().manual_seed(0)
    intensity = pr.operators.fourier_intensity(torch.rand(16, 20, generator=generator), (64, 64))
    counts = 1 + torch.poisson(intensity * 1e7 / intensity.sum(), generator=generator)
    y, x = torch.meshgrid(torch.arange(64) - 32, torch.arange(64) - 32, indexing="ij")
    stop = (y - 1) ** 2 + (x + 2) ** 2 <= 25
    if arm:
        stop |= (x + 2).abs().le(1) & (y > 0)
    stop = torch.fft.ifftshift(stop)
    return counts.masked_fill(stop, 0), stop


@pytest.mark.parametrize("arm", [False, True])
def test_a_beam_stop_stored_as_zeros_is_left_out_and_said(arm: bool) -> None:
    counts, stop = counts_behind_a_stop(arm)
    with pytest.warns(UserWarning, match=rf"as_measurement: {int(stop.sum())} pixels about the zero frequency are exa"):
        found = pr.io.as_measurement(counts)
    assert found.mask is not None
    torch.testing.assert_close(~found.mask, stop)
    assert found.missing == pytest.approx(float(stop.double().mean()))
    said = pr.io.inspect(found).warnings
    assert any("the zero frequency was not measured" in text for text in said)
    stack = torch.stack([counts, counts + 1])  # each pattern by itself
    with pytest.warns(UserWarning, match="beam stop"):
        many = pr.io.as_measurement(stack)
    assert many.mask is not None
    torch.testing.assert_close(~many.mask, torch.stack([stop, torch.zeros_like(stop)]))


def test_a_mask_that_says_that_the_zeros_were_measured_is_believed_with_a_question() -> None:
    counts, stop = counts_behind_a_stop(arm=False)
    with pytest.warns(UserWarning, match="but the mask says that they were measured. If they were not, leave them out"):
        found = pr.io.as_measurement(counts, mask=torch.ones_like(stop))
    assert found.mask is None
    assert pr.io.as_measurement(counts, mask=~stop).notes == ()


def test_a_zero_frequency_that_was_set_to_0_is_left_out() -> None:
    intensity = pr.operators.fourier_intensity(torch.rand(8, 8) + 0.2, (32, 32))
    intensity[0, 0] = 0
    with pytest.warns(UserWarning, match="a pixel about the zero frequency is exactly 0"):
        found = pr.io.as_measurement(intensity)
    assert found.mask is not None
    assert (~found.mask).nonzero().tolist() == [[0, 0]]


@pytest.mark.parametrize("mean", [0.2, 1.0, 3.0, 8.0, 20.0])
@pytest.mark.parametrize("kind", ["flat", "speckle", "nonnegative", "signed"])
def test_zeros_of_few_counts_that_chance_explains_are_no_beam_stop(kind: str, mean: float) -> None:
    """Of 32 patterns of random objects, dark places about a bright middle among them, at most one is taken for one."""
    shape = (32, 24, 24)
    obj = torch.rand(32, 12, 12) if kind == "nonnegative" else torch.randn(32, 12, 12)
    obj = torch.complex(obj, torch.randn(32, 12, 12)) if kind == "speckle" else obj
    intensity = torch.ones(shape) if kind == "flat" else pr.operators.fourier_intensity(obj, shape[1:])
    counts = torch.poisson(mean * intensity / intensity.mean((1, 2), keepdim=True))
    found = beam_stop(counts, torch.ones(shape, dtype=torch.bool), 2)
    assert found is None or found.flatten(1).any(1).sum() <= 1


@pytest.mark.parametrize("photons", [1e2, 1e4, 1e6])
def test_few_photons_are_no_beam_stop(photons: float) -> None:
    intensity = pr.operators.fourier_intensity(torch.rand(16, 20), (64, 64))
    counts = torch.poisson(intensity * photons / intensity.sum())
    assert pr.io.as_measurement(counts).mask is None
    assert pr.io.as_measurement(counts.roll((32, 32), (0, 1)), center="middle").mask is None  # nor is a dark rim


def test_a_mask_of_the_other_sense_that_leaves_nothing_is_questioned(tmp_path: Path) -> None:
    stop = np.zeros((20, 22), np.int32)
    stop[9:11, 10:12] = 1
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["cxi_version"] = 160
        file["entry_1/image_1/data"], file["entry_1/image_1/mask"] = counts() * (1 - stop), 1 - stop
    rule = r"must hold a value above 0 in every pattern, got none\. .*\. The mask 'entry_1/image_1/mask' leaves out "
    with pytest.raises(
        ValueError, match=rf"{rule}99\.1% of the pixels\. If it means the opposite, use mask_is='measured'"
    ):
        pr.io.load_intensity(tmp_path / "a.cxi")
    assert unmeasured(pr.io.load_intensity(tmp_path / "a.cxi", mask_is="measured")) == 4


def test_a_row_of_numbers_is_not_the_pattern_where_that_may_be_in_cells(tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    frames = np.empty((1, 2), object)
    frames[0] = [counts(), counts()]
    scipy_io.savemat(tmp_path / "a.mat", {"frames": frames, "angles": np.arange(5.0)})
    message = (
        r"key must say which array of .* to read, got None\. It holds 'angles' \(1, 5\) float64, 'frames', a cell array"
    )
    with pytest.raises(ValueError, match=message):
        pr.io.load_intensity(tmp_path / "a.mat")
    assert pr.io.load_intensity(tmp_path / "a.mat", key="angles", ndim=1).fourier_shape == (5,)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (0, 5, 5)])
def test_an_array_without_pixels_is_no_picture(shape: tuple[int, ...], tmp_path: Path) -> None:
    frames = np.empty((1, 1), object)
    frames[0, 0] = counts()
    pytest.importorskip("scipy.io").savemat(tmp_path / "a.mat", {"frames": frames, "rest": np.zeros(shape)})
    with pytest.raises(ValueError, match=r"key must say which array of .* It holds 'rest' .*, 'frames', a cell array"):
        pr.io.load_intensity(tmp_path / "a.mat")
