"""Volumes that lie in one file per frame, as rocking curves do: the same as the volume in one file."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch

import phaseret as pr
from phaseret.cli import main
from phaseret.io._layout import Told
from phaseret.io._readers import opened
from phaseret.io._series import as_volume, files_of

VOLUME = np.random.default_rng(0).integers(1, 1000, (5, 8, 9)).astype(np.int32)


def with_fabio(kind: str) -> Callable[[Path, Any], None]:
    def write(path: Path, value: Any) -> None:
        module = pytest.importorskip(f"fabio.{kind}image")
        getattr(module, f"{kind.capitalize()}Image")(data=value).write(str(path))

    return write


def with_tifffile(path: Path, value: Any) -> None:
    pytest.importorskip("tifffile").imwrite(path, value)


def with_h5py(path: Path, value: Any) -> None:
    with pytest.importorskip("h5py").File(path, "w") as file:
        file["intensity"], file["measured"] = value[None], value > 100


def as_text(path: Path, value: Any) -> None:
    np.savetxt(path, value, fmt="%d", encoding="utf-16" if path.stem.endswith("3") else None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, entered, with the volume in one file."""
    monkeypatch.chdir(tmp_path)
    np.save("whole.npy", VOLUME)
    return tmp_path


def same(found: pr.io.Measurement, expected: pr.io.Measurement) -> None:
    assert torch.equal(found.intensity, expected.intensity)
    assert found.ndim == expected.ndim == 3
    assert (found.mask is None) == (expected.mask is None)
    assert found.mask is None or torch.equal(found.mask, expected.mask)


@pytest.mark.parametrize(
    ("ending", "write"),
    [
        ("edf", with_fabio("edf")),
        ("cbf", with_fabio("cbf")),
        ("tif", with_tifffile),
        ("npy", np.save),
        ("txt", as_text),
    ],
)
def test_frames_of_one_file_each_are_a_volume_where_that_is_said(
    ending: str, write: Callable[[Path, Any], None], folder: Path
) -> None:
    for number, value in enumerate(VOLUME):
        write(Path(f"f_{number:03d}.{ending}"), value)
    for options in ({}, {"roi": ((1, 5), (0, 8), (1, 9)), "crop": (4, 6, 8), "bin": 2}, {"center": (1, 2, 3)}):
        expected = pr.io.load_intensity("whole.npy", ndim=3, **options)
        for path in (f"f_%03d.{ending}", f"f_*.{ending}", [f"f_{number:03d}.{ending}" for number in range(5)]):
            same(pr.io.load_intensity(path, ndim=3, **options), expected)
    assert pr.io.load_intensity(f"f_%03d.{ending}").ndim == 2  # a stack, unless it is said
    found = pr.io.load_intensity(f"f_%03d.{ending}", ndim=3)
    assert found.source == f"f_000.{ending} to f_004.{ending}"


def test_what_stands_beside_each_frame_counts(folder: Path) -> None:
    for number, value in enumerate(VOLUME):
        with_h5py(Path(f"f{number}.h5"), value)
    expected = pr.io.as_measurement(
        torch.from_numpy(VOLUME).float(), mask=torch.from_numpy(VOLUME > 100), ndim=3, center="middle"
    )
    same(pr.io.load_intensity("f%d.h5", ndim=3), expected)


@pytest.mark.parametrize("masked", [[0], [1, 2, 3, 4], [3]])
def test_a_mask_that_some_frames_lack_is_an_error(masked: list[int], folder: Path) -> None:
    h5py = pytest.importorskip("h5py")
    for number, value in enumerate(VOLUME):
        with h5py.File(f"f{number}.h5", "w") as file:
            file["data"] = value
            if number in masked:
                file["mask"] = value > 100
    there = "'mask' in f0.h5 and none in f1.h5" if 0 in masked else rf"none in f0.h5 and 'mask' in f{masked[0]}.h5"
    rule = f"the files of one volume must all hold one mask, or none, got {there}. Give each its own, or leave them out"
    for mask_is in (None, "measured"):
        with pytest.raises(ValueError, match=rf"{rule} with mask_is='ignored'\."):
            pr.io.load_intensity("f%d.h5", ndim=3, mask_is=mask_is)
    same(pr.io.load_intensity("f%d.h5", ndim=3, mask_is="ignored"), pr.io.load_intensity("whole.npy", ndim=3))


def test_masks_of_another_shape_are_named(folder: Path) -> None:
    for number, value in enumerate(VOLUME):
        np.savez(f"f{number}.npz", intensity=value, measured=np.ones((8, 8 if number == 2 else 9), bool))
    with pytest.raises(ValueError, match=r"must hold frames of one shape, \(8, 9\), got \(8, 8\) in f2.npz"):
        pr.io.load_intensity("f%d.npz", ndim=3)


def test_frames_are_read_into_one_volume_that_holds_the_numbers_of_all(folder: Path) -> None:
    types = (np.uint8, np.uint16, np.float64, np.int32, np.uint8)
    values = [np.full((256, 256), number + 0.5 * (number == 2)) for number in (1, 60000, 2, 70000, 3)]
    for number, (dtype, value) in enumerate(zip(types, values, strict=True)):
        np.save(f"f{number}.npy", value.astype(dtype))
    with opened("f0.npy") as first:
        volume, notes = as_volume(files_of("f%d.npy"), first, "data", lambda contents: Told(), full=True)
        tracemalloc.start()
        found = volume.read("data")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert np.array_equal(found, np.stack(values))
    assert notes == []
    assert peak < 1.5 * found.nbytes


def test_a_volume_of_frames_takes_masks_and_background(folder: Path) -> None:
    objects = torch.rand(4, 4, 4) + 0.2
    volume = np.fft.fftshift(pr.operators.fourier_intensity(objects, (9, 9, 9)).numpy())
    dark, bad = np.full((9, 9), 0.25, np.float32), np.zeros((9, 9), np.uint8)
    bad[1, 2] = 1
    for number, value in enumerate(volume):
        np.save(f"v{number}.npy", value + dark)
    np.save("volume.npy", volume + dark)
    np.save("dark.npy", dark)
    np.save("bad.npy", bad)
    words = ["--ndim", "3", "--support", "4,4,4", "--constraint", "nonnegative", "--schedule", "er:5", "--starts", "1"]
    words += ["--bad-pixels", "bad.npy", "--background", "dark.npy", "-o"]
    assert main(["reconstruct", "volume.npy", *words, "one.npz"]) == 0
    assert main(["reconstruct", "v%d.npy", *words, "many.npz"]) == 0
    one, many = (pr.io.load_reconstruction(file) for file in ("one.npz", "many.npz"))
    torch.testing.assert_close(many["obj"], one["obj"])


def test_frames_that_are_no_volume_are_named(folder: Path) -> None:
    for number, value in enumerate(VOLUME):
        np.save(f"f{number}.npy", value[: 8 - (number == 3)])
    rule = r"the files of one volume must hold frames of one shape, \(8, 9\), got \(7, 9\) in f3.npy\. Crop them"
    with pytest.raises(ValueError, match=rule):
        pr.io.load_intensity("f%d.npy", ndim=3)
    Path("f3.npy").unlink()
    with pytest.warns(UserWarning, match="are one volume, whose axis of frames is not even without number 3"):
        assert pr.io.load_intensity("f%d.npy", ndim=3).fourier_shape == (4, 8, 9)
    with pytest.warns(UserWarning, match="are one stack, without number 3"):
        assert pr.io.load_intensity("f%d.npy").fourier_shape == (8, 9)
    with pytest.raises(ValueError, match="index must be None for a single pattern"):
        pr.io.load_intensity("f%d.npy", ndim=3, index=0)


@pytest.mark.parametrize("frames", [9, 30])
def test_the_centre_of_the_frames_is_that_of_their_axes_in_the_volume(frames: int, folder: Path) -> None:
    edf = pytest.importorskip("fabio.edfimage")
    volume = np.ones((frames, 20, 24), np.float32)
    volume[frames // 2, 9, 11] = 100
    for number, value in enumerate(volume):
        header = {"Center_1": "11.5", "Center_2": "9.5"}
        edf.EdfImage(data=value, header=header).write(f"e_{number:02d}.edf")
    note = rf"beam centre \({frames // 2}, 9, 11\), of the middle frame, was"
    with pytest.warns(UserWarning, match=f"{note} taken for the zero frequency. If .*one index per axis"):
        found = pr.io.load_intensity("e_%02d.edf", ndim=3)
    expected = pr.io.as_measurement(torch.from_numpy(volume), ndim=3, center=(frames // 2, 9, 11))
    same(found, expected)
    assert found.intensity[0, 0, 0] == 100
    same(pr.io.load_intensity("e_%02d.edf", ndim=3, center=(frames // 2, 9, 11)), expected)
    with pytest.warns(UserWarning, match=r"beam centre \(9, 11\) was taken"):
        assert pr.io.load_intensity("e_%02d.edf").intensity.shape == (frames, 20, 24)


def with_header(kind: str, path: Path, value: Any, said: dict[str, float]) -> None:
    """A frame whose file says these: the centre and the exposure."""
    if kind == "edf":
        words = {"Center_2": said["centre"] + 0.5, "Center_1": 4.5, "ExposureTime": said["exposure"]}
        edf = pytest.importorskip("fabio.edfimage").EdfImage
        edf(data=value, header={key: str(each) for key, each in words.items()}).write(str(path))
    elif kind == "cbf":
        image = pytest.importorskip("fabio.cbfimage").CbfImage(data=value)
        lines = f"# Beam_xy (4, {said['centre']}) pixels\r\n# Exposure_time {said['exposure']} s"
        image.header["_array_data.header_contents"] = lines
        image.write(str(path))
    else:
        with pytest.importorskip("h5py").File(path, "w") as file:
            detector = "entry/instrument/detector"
            file[f"{detector}/data"], file[f"{detector}/count_time"] = value, said["exposure"]
            file[f"{detector}/beam_center_y"], file[f"{detector}/beam_center_x"] = said["centre"], 4.0
            classes = {"entry": "NXentry", "entry/instrument": "NXinstrument", detector: "NXdetector"}
            for group, name in classes.items():
                file[group].attrs["NX_class"] = name


@pytest.mark.parametrize("kind", ["edf", "cbf", "nxs"])
def test_what_the_frames_of_a_volume_say_otherwise_than_the_first_is_asked_about(kind: str, folder: Path) -> None:
    for number, value in enumerate(VOLUME):
        said = {"centre": 3.0 if number == 2 else 4.0, "exposure": 1.0 + (number == 3)}
        with_header(kind, Path(f"f{number}.{kind}"), value, said)
    differ = f"centre (4.0, 4.0) in f0.{kind} and (3.0, 4.0) in f2.{kind}"
    exposure = f"exposure 1.0 in f0.{kind} and 2.0 in f3.{kind}"
    asked = "what the first says was taken for all; scale or move the frames if that is wrong"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pr.io.load_intensity(f"f%d.{kind}", ndim=3)
        known = pr.io.load_intensity(f"f%d.{kind}", ndim=3, center="middle")
        even = pr.io.load_intensity([f"f{number}.{kind}" for number in (0, 1, 4)], ndim=3)
    assert f"the frames of the volume differ, {differ}, {exposure}: {asked}" in found.notes
    assert f"the frames of the volume differ, {exposure}: {asked}" in known.notes
    assert not [note for note in even.notes if "differ" in note]


def test_frames_of_one_edf_file_are_compared_too(folder: Path) -> None:
    edf = pytest.importorskip("fabio.edfimage").EdfImage
    image = edf(data=VOLUME[0], header={"ExposureTime": "1"})
    for number, value in enumerate(VOLUME[1:], 1):
        image.append_frame(data=value, header={"ExposureTime": "0.5" if number == 4 else "1"})
    image.write("all.edf")
    with pytest.warns(
        UserWarning, match=r"the frames of the volume differ, exposure 1.0 in frame 0 and 0.5 in frame 4\."
    ):
        same(pr.io.load_intensity("all.edf", ndim=3), pr.io.load_intensity("whole.npy", ndim=3))


@pytest.mark.parametrize("path", ["f%d.npz", "whole.npy", "whole.h5", "whole.mat"])
def test_a_region_of_a_volume_needs_only_its_own_memory(path: str, folder: Path, monkeypatch: Any) -> None:
    volume = np.random.default_rng(1).integers(1, 1000, (64, 64, 64)).astype(np.float32)
    for number, value in enumerate(volume):
        np.savez(f"f{number}.npz", intensity=value, measured=value > 100)
    np.save("whole.npy", volume)
    with pytest.importorskip("h5py").File("whole.h5", "w") as file:
        file["intensity"], file["measured"] = volume, volume > 100
    with pytest.importorskip("h5py").File("whole.mat", "w", userblock_size=512) as file:  # with its axes in reverse
        file["intensity"], file["measured"] = volume.T, volume.T > 100
    with open("whole.mat", "r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    region = ((10, 21), (3, 30), (-9, None))
    expected = pr.io.load_intensity(path, ndim=3, center="corner").intensity[10:21, 3:30, -9:]
    monkeypatch.setenv("PHASERET_MEMORY", "0.0009")
    with pytest.raises(MemoryError, match=r"Read part of it with roi=\(\(a, b\), \.\.\.\), or raise the limit"):
        pr.io.load_intensity(path, ndim=3)
    assert torch.equal(pr.io.load_intensity(path, ndim=3, roi=region, center="corner").intensity, expected)


@pytest.mark.parametrize("name", ["x.h5", "x.mat", "x.npy", "x.npz", "x.tif"])
@pytest.mark.parametrize("index", [slice(None, None, -1), slice(4, 0, -2), slice(-2, None), slice(1, 4, 2), -1, [3, 1]])
def test_every_format_gives_the_same_part(name: str, index: Any, tmp_path: Path) -> None:
    stack, path = np.random.default_rng(0).integers(1, 99, (5, 6, 7)).astype(np.float32), tmp_path / name
    if path.suffix in (".h5", ".mat"):
        with pytest.importorskip("h5py").File(path, "w", userblock_size=512) as file:
            file["intensity"] = stack.T if path.suffix == ".mat" else stack
        if path.suffix == ".mat":
            with path.open("r+b") as stream:
                stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    elif path.suffix == ".tif":
        pytest.importorskip("tifffile").imwrite(path, stack)
    else:
        (np.save if path.suffix == ".npy" else np.savez)(path, stack)
    with opened(path) as contents:
        assert np.array_equal(contents.read(contents.only(), index), stack[index])


def test_what_is_read_as_a_whole_is_counted_as_a_whole(folder: Path, monkeypatch: Any) -> None:
    stack = np.random.default_rng(1).integers(1, 1000, (64, 64, 64)).astype(np.float32)
    np.savez("stack.npz", intensity=stack)
    scipy.io.savemat("stack.mat", {"intensity": stack})
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite("stack.tif", stack)
    tifffile.imwrite("blocks.tif", stack, volumetric=True, tile=(16, 16, 16))  # a page that cannot be cut
    frames = [
        pr.io.load_intensity(path, ndim=2, index=slice(3, 5), stack_axis=0) for path in ("stack.npz", "stack.mat")
    ]
    monkeypatch.setenv("PHASERET_MEMORY", "0.0009")
    for path in ("stack.npz", "stack.mat", "blocks.tif"):
        with pytest.raises(MemoryError, match=r"\(64, 64, 64\) of .* Save it as npy or HDF5, of which a part can be"):
            pr.io.load_intensity(path, ndim=2, index=slice(3, 5), stack_axis=0)
    found = pr.io.load_intensity("stack.tif", ndim=2, index=slice(3, 5))
    assert all(torch.equal(found.intensity, one.intensity) for one in frames)


@pytest.mark.parametrize("other", [np.uint32, np.float32])
def test_a_frame_is_saturated_where_its_own_type_ends(other: Any, folder: Path) -> None:
    frame = VOLUME[0].copy()
    frame[2, 3] = 65535
    np.save("f_1.npy", frame.astype(np.uint16))
    np.save("f_2.npy", frame.astype(other))  # where that is a number as others
    found = pr.io.load_intensity("f_*.npy", ndim=3)
    assert found.mask is not None
    bad = np.argwhere(~np.fft.fftshift(found.mask.numpy()))
    assert bad.tolist() == [[0, 2, 3]]
    found = pr.io.load_intensity("f_*.npy", ndim=3, saturation=np.inf)
    assert found.mask is None
    assert found.intensity.max() == 65535


def test_frames_in_the_order_of_letters_are_asked_about(folder: Path) -> None:
    for number in range(11):
        np.save(f"f_{number}.npy", VOLUME[0] + number)
    names = sorted(map(str, Path().glob("f_*.npy")))
    asked = r"in the order of the letters of their names, f_10\.npy before f_2\.npy\. If their numbers count the frames"
    with pytest.warns(UserWarning, match=asked):
        pr.io.load_intensity(names, ndim=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pr.io.load_intensity(names)  # patterns of a stack
        pr.io.load_intensity(names[:2] + names[3:], ndim=3)  # f_0, f_1, f_2
        pr.io.load_intensity("f_*.npy", ndim=3)


@pytest.mark.parametrize("place", ["detector", "beside"])
def test_frames_of_one_volume_that_were_exposed_for_different_times_are_asked_about(place: str, folder: Path) -> None:
    h5py = pytest.importorskip("h5py")

    def notes(times: list[float]) -> tuple[str, ...]:
        with h5py.File("x.h5", "w") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            group = file if place == "beside" else file.create_group("entry/instrument/detector")
            if place == "detector":
                for name in ("entry", "instrument", "detector"):
                    file[group.name.partition(name)[0] + name].attrs["NX_class"] = f"NX{name}"
            group["data"], group["count_time"] = VOLUME, times
            file.flush()
            return pr.io.load_intensity("x.h5", ndim=3).notes

    assert notes([1.0, 1.0, 10.0, 1.0, 1.0]) == (
        "the frames of the volume were exposed for times of 1 to 10: scale them to one if they hold counts",
    )
    assert notes([1.0, 1.0001, 1.0, 1.0, 1.0]) == notes([0.0, 1.0, 1.0, 1.0, 2.0]) == ()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pr.io.load_intensity("x.h5", ndim=2)  # patterns of a stack may differ
