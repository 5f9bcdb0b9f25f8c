"""Files of which a part was never written or is lost: readers fill up what is missing."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import phaseret as pr
from phaseret.io._hdf5 import open_hdf5
from phaseret.io._written import stored

SHAPE = (20, 22)
load = pr.io.load_intensity
FRAMES = np.random.default_rng(0).integers(1, 200, (6, *SHAPE)).astype(np.uint16)
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def in_file(found: torch.Tensor) -> np.ndarray[Any, Any]:
    return torch.fft.fftshift(found, dim=(-2, -1)).numpy()


# --- png -------------------------------------------------------------------------------------------------------------


def png(path: Path, shape: tuple[int, int], rows: list[bytes], interlaced: bool) -> Path:
    """A grey picture whose rows these are: its parts are whole."""
    header = struct.pack(">IIBBBBB", *shape[::-1], 8, 0, 0, 0, interlaced)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = ((b"IHDR", header), (b"IDAT", packed[:9]), (b"IDAT", packed[9:]), (b"IEND", b""))
    body = (struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x)) for name, x in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    return path


@pytest.mark.parametrize("shape", [SHAPE, (3, 9), (2, 1)])
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_without_its_last_row_is_not_whole(shape: tuple[int, int], interlaced: bool, tmp_path: Path) -> None:
    picture = FRAMES[0, : shape[0], : shape[1]].astype(np.uint8)
    passes = [picture[y::dy, x::dx] for x, y, dx, dy in PASSES] if interlaced else [picture]
    rows = [row.tobytes() for part in passes if part.size for row in part]
    whole, short = (png(tmp_path / f"{n}.png", shape, rows[:n], interlaced) for n in (len(rows), len(rows) - 1))
    assert np.array_equal(pr.io.load_object(whole).numpy(), picture)
    with pytest.raises(ValueError, match=r"must be a whole png file, got the error: its rows have \d+ bytes"):
        pr.io.load_object(short)


def test_a_png_with_two_headers_is_refused(tmp_path: Path) -> None:
    """The last would count, and what it announces is not there."""
    whole = png(tmp_path / "x.png", SHAPE, [row.tobytes() for row in FRAMES[0].astype(np.uint8)], False).read_bytes()
    header = whole[12:29].replace(struct.pack(">I", SHAPE[0]), struct.pack(">I", 10 * SHAPE[0]))
    second = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "x.png").write_bytes(whole[:33] + second + whole[33:])
    with pytest.raises(ValueError, match="it has two headers"):
        load(tmp_path / "x.png")


def test_colours_and_bits_of_png_files_of_other_programs_are_whole(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA"):
        for bits in (1, 2, 4, 8) if mode == "P" else (8,):
            image.fromarray((FRAMES[0, :7, :13] % 2).astype(np.uint8)).convert(mode).save(tmp_path / "x.png", bits=bits)
            assert pr.io.load_object(tmp_path / "x.png").shape == (7, 13)


# --- tif -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tif_without_one_of_its_strips_is_not_whole(compression: str | None, tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, FRAMES[0], rowsperstrip=4, compression=compression)
    assert np.array_equal(in_file(load(path).intensity), FRAMES[0])
    with tifffile.TiffFile(path) as file:
        sizes = file.pages[0].tags["StripByteCounts"]  # type: ignore[union-attr]
        place, size = sizes.valueoffset, sizes.valuebytecount // 5
    data = bytearray(path.read_bytes())
    data[place + 2 * size : place + 3 * size] = bytes(size)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"must be a whole tif file, got the error: 1 of its 5 pieces were never writ"):
        load(path)


def test_a_tif_that_does_not_say_the_size_of_its_only_strip_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, FRAMES[0])
    with tifffile.TiffFile(path) as file:
        size = file.pages[0].tags["StripByteCounts"]  # type: ignore[union-attr]
        place, stop = size.valueoffset, size.valueoffset + size.valuebytecount
    data = bytearray(path.read_bytes())
    data[place:stop] = bytes(stop - place)
    path.write_bytes(data)
    assert np.array_equal(in_file(load(path).intensity), FRAMES[0])


def test_an_ome_tif_without_some_of_its_pages_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.ome.tif"
    tifffile.imwrite(path, FRAMES, photometric="minisblack", ome=True, metadata={"axes": "TYX"})
    with tifffile.TiffFile(path) as file:
        said = file.ome_metadata
    assert said is not None
    tifffile.imwrite(path, FRAMES[:4], photometric="minisblack", description=said.encode(), metadata=None)
    assert np.array_equal(in_file(load(path, ndim=2, index=3).intensity), FRAMES[3])
    for index in (None, 4, [0, 5]):
        with pytest.raises(ValueError, match=r"must be a whole tif file, got the error: a page is missing, as where"):
            load(path, ndim=2, index=index)


# --- HDF5 ------------------------------------------------------------------------------------------------------------


def hdf5(path: Path, name: str, shape: tuple[int, ...], chunks: tuple[int, ...], written: Any, value: Any) -> Path:
    with h5py.File(path, "a") as file:
        file.create_dataset(name, shape, "i4", chunks=chunks)[written] = value
    return path


@pytest.mark.parametrize("chunks", [(4, 22), (4, 5), (7, 9)])
def test_what_was_not_written_of_an_array_was_not_measured(chunks: tuple[int, int], tmp_path: Path) -> None:
    rows = slice(0, 2 * chunks[0])
    found = load(hdf5(tmp_path / "x.h5", "data", SHAPE, chunks, rows, FRAMES[0][rows]))
    assert found.mask is not None
    assert np.array_equal(in_file(found.mask.int()), (np.arange(20)[:, None] < rows.stop) & np.ones(SHAPE, bool))
    assert np.array_equal(in_file(found.intensity)[rows], FRAMES[0][rows])


@pytest.mark.parametrize("frames", [1, 4])
def test_frames_that_were_not_written_are_named_and_the_others_read(frames: int, tmp_path: Path) -> None:
    path = hdf5(tmp_path / "x.h5", "data", (12, *SHAPE), (frames, *SHAPE), slice(0, 4), FRAMES[:4])
    with pytest.raises(ValueError, match=r"a measured pixel in every pattern, got none in \[4, 5, 6, 7, 8\] and more"):
        load(path, ndim=2)
    for index in (3, slice(0, 4), [0, 2], slice(3, None, -1)):
        found = load(path, ndim=2, index=index)
        assert found.mask is None
        assert np.array_equal(in_file(found.intensity), FRAMES[:4][index])


def test_frames_of_several_arrays_that_were_not_written_are_named(tmp_path: Path) -> None:
    for number, stop in ((1, 3), (2, 1)):
        name = f"entry/data/data_{number:06}"
        path = hdf5(tmp_path / "x.h5", name, (3, *SHAPE), (1, *SHAPE), slice(0, stop), FRAMES[:stop])
    with pytest.raises(ValueError, match=r"a measured pixel in every pattern, got none in \[4, 5\]"):
        load(path, key="entry/data", ndim=2)


def values(path: Path, index: int | slice | None = None) -> np.ndarray[Any, Any]:
    """What the reader of HDF5 gives."""
    with contextlib.ExitStack() as stack:
        entry = open_hdf5(path, "MATLAB" if path.suffix == ".mat" else "HDF5", stack).lookup("data")
        assert entry is not None
        return np.asarray(entry.read(index))


def assert_lost_where_filled(path: Path) -> None:
    """Unmeasured is what HDF5 fills up with zeros, of all rows and of some; nothing that is measured is 0 here."""
    with h5py.File(path) as file:
        raw = file["data"][()]
    expected = np.where(raw == 0, np.nan, raw)
    for index in (None, 0, slice(1, None), slice(0, None, 2), slice(None, None, -1)):
        wanted = expected if index is None else expected[index]
        assert np.array_equal(values(path, index), wanted, equal_nan=True)


@st.composite
def layouts(draw: st.DrawFn, shape: tuple[int, ...], overlap: bool) -> list[tuple[str, Any, Any]]:
    """Which of two sources of that shape a virtual array takes, what of it, and where it puts that."""
    found, taken = list[tuple[str, Any, Any]](), np.zeros(shape, dtype=bool)
    for _ in range(draw(st.integers(1, 3))):
        take, put = [], []
        for size in shape:
            step, apart = draw(st.integers(1, 3)), draw(st.integers(1, 2))
            start = draw(st.integers(0, size - 1))
            count = draw(st.integers(1, min(-(-(size - start) // step), -(-size // apart))))
            place = draw(st.integers(0, size - 1 - apart * (count - 1)))
            take.append(slice(start, start + step * (count - 1) + 1, step))
            put.append(slice(place, place + apart * (count - 1) + 1, apart))
        if overlap or not taken[tuple(put)].any():
            found.append((draw(st.sampled_from(["a", "b"])), tuple(take), tuple(put)))
            taken[tuple(put)] = True
    return found


@settings(max_examples=40)
@given(data=st.data())
def test_what_was_not_written_of_the_arrays_that_a_virtual_one_is_made_of_was_not_measured(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 7), min_size=2, max_size=3)))
    folder = tmp_path_factory.mktemp("virtual")
    for name in "ab":
        chunks = tuple(data.draw(st.integers(1, size)) for size in shape)
        edges = [sorted(data.draw(st.tuples(*2 * [st.integers(0, 7)]))) for _ in shape]  # whole chunks
        written = tuple(slice(a * step, b * step) for (a, b), step in zip(edges, chunks, strict=True))
        hdf5(folder / f"{name}.h5", "data", shape, chunks, written, 7)
    # The second is made of the first. HDF5 is not sure of parts without a source that lie over others.
    for inner, outer in (("", "one"), ("one", "two")):
        layout = h5py.VirtualLayout(shape, np.int32)
        for name, taken, put in data.draw(layouts(shape, overlap=not inner)):
            layout[put] = h5py.VirtualSource(f"{inner or name}.h5", "data", shape)[taken]
        with h5py.File(folder / f"{outer}.h5", "w") as file:
            file.create_virtual_dataset("data", layout)
        assert_lost_where_filled(folder / f"{outer}.h5")


def test_chunks_that_follow_each_other_are_one_region(tmp_path: Path) -> None:
    """Else a virtual array of as many sources as frames would look at each chunk for each of them."""
    path = hdf5(tmp_path / "x.h5", "data", (9, *SHAPE), (2, 10, 22), slice(0, 4), 7)
    with h5py.File(path, "a") as file:
        file["data"][6] = 7
        regions = stored(file["data"])
    assert regions is not None
    found = [tuple((places.start, places.stop) for places in region.places) for region in regions]
    assert sorted(found) == [(row, half, (0, 22)) for row in ((0, 4), (6, 8)) for half in ((0, 10), (10, 20))]


@pytest.mark.parametrize("written", [slice(0, 2), slice(0, 0)])
def test_a_scan_that_was_stopped_is_read_by_its_master_as_far_as_it_came(written: slice, tmp_path: Path) -> None:
    end = h5py.h5s.UNLIMITED
    for number, rows in ((1, slice(None)), (2, written)):
        hdf5(tmp_path / f"lima_{number}.h5", "data", (3, *SHAPE), (1, *SHAPE), rows, 7)
    hdf5(tmp_path / "frame.h5", "data", SHAPE, (5, *SHAPE[1:]), slice(0, 10), 7)
    layout = h5py.VirtualLayout((8, *SHAPE), np.int32, maxshape=(None, *SHAPE))
    layout[3:6] = h5py.VirtualSource("lima_1.h5", "data", (3, *SHAPE))
    layout[6] = h5py.VirtualSource("frame.h5", "data", SHAPE)
    grows = h5py.VirtualSource("lima_2.h5", "data", (3, *SHAPE), maxshape=(None, *SHAPE))
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    assert_lost_where_filled(tmp_path / "master.h5")
    layout = h5py.VirtualLayout((3, *SHAPE), np.int32, maxshape=(None, *SHAPE))
    layout[:end] = grows[:end]
    with h5py.File(tmp_path / "growing.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    assert_lost_where_filled(tmp_path / "growing.h5")


def test_a_part_that_was_written_in_part_and_cannot_be_followed_is_refused(tmp_path: Path) -> None:
    hdf5(tmp_path / "rows.h5", "data", (20 * 22,), (22,), slice(0, 44), 7)
    layout = h5py.VirtualLayout(SHAPE, np.int32)
    layout[...] = h5py.VirtualSource("rows.h5", "data", (20 * 22,))
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    with pytest.raises(ValueError, match=r"of equal rows of them, got pixels of another shape"):
        load(tmp_path / "master.h5")
    with h5py.File(tmp_path / "rows.h5", "a") as file:
        file["data"][...] = 7
    assert (values(tmp_path / "master.h5") == 7).all()


def test_what_was_not_written_of_an_array_of_matlab_was_not_measured(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "x.mat", "data", (3, 22, 20), (1, 11, 20), (slice(0, 2), slice(0, 11)), 7)
    for index, columns in ((None, slice(None)), (3, 3), (slice(2, 9), slice(2, 9))):
        found = values(path, index)
        expected = np.full((20, 22, 3), np.nan)
        expected[:, :11, :2] = 7
        assert np.array_equal(found, expected[columns], equal_nan=True)


def test_a_mask_may_be_written_where_it_is_not_the_same(tmp_path: Path) -> None:
    hdf5(tmp_path / "x.h5", "data", SHAPE, SHAPE, slice(None), FRAMES[0])
    found = load(hdf5(tmp_path / "x.h5", "mask", SHAPE, (5, 22), slice(0, 3), 1), mask_is="bad")
    assert found.mask is not None
    assert int((~found.mask).sum()) == 3 * 22


@pytest.mark.parametrize("chunks", [None, (5, 22)])
@pytest.mark.parametrize("rows", [0, 5])
@pytest.mark.parametrize(("fill", "mask_is"), [(0, "bad"), (1, "measured")])
def test_a_mask_that_is_asked_for_by_name_may_be_written_in_part(
    fill: int, mask_is: Any, rows: int, chunks: tuple[int, ...] | None, tmp_path: Path
) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        mask = file.create_dataset("my_mask", SHAPE, np.uint8, chunks=chunks, fillvalue=fill)
        if rows:
            mask[:rows] = 1 - fill
    good = np.arange(20)[:, None] * np.ones(22) >= rows
    assert np.array_equal(in_file(pr.io.load_mask(path, key="my_mask", mask_is=mask_is)), good)
    if fill:
        assert np.array_equal(pr.io.load_support(path, key="my_mask").numpy(), good)


def test_a_support_may_be_written_where_it_is_alone(tmp_path: Path) -> None:
    hdf5(tmp_path / "x.cxi", "entry_1/image_1/data", SHAPE, SHAPE, slice(None), FRAMES[0])
    hdf5(tmp_path / "x.cxi", "entry_1/image_1/support", SHAPE, (5, 22), slice(0, 5), 1)
    inside = np.arange(20)[:, None] < np.full(SHAPE, 5)
    assert np.array_equal(pr.io.load_support(tmp_path / "x.cxi"), inside)
    assert np.array_equal(pr.io.load_reconstruction(tmp_path / "x.cxi")["support"], inside)


def test_a_tif_whose_pages_lead_in_a_circle_is_not_whole(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", FRAMES[:3], photometric="minisblack", metadata=None)
    data = bytearray((tmp_path / "x.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        first, last = file.pages[0].offset, file.pages[-1].offset
    (count,) = struct.unpack_from("<H", data, last)
    struct.pack_into("<I", data, last + 2 + 12 * count, first)
    (tmp_path / "x.tif").write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.tif must be a whole tif file, got the error: .* circular reference"):
        load(tmp_path / "x.tif", ndim=2)


# --- cbf -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [19, 21])
def test_a_cbf_that_does_not_hold_the_pixels_it_announces_is_not_whole(rows: int, tmp_path: Path) -> None:
    pytest.importorskip("fabio").cbfimage.CbfImage(data=FRAMES[0].astype(np.int32)).write(str(tmp_path / "x.cbf"))
    whole, told = (tmp_path / "x.cbf").read_bytes(), b"Second-Dimension: "
    assert whole.count(told + b"20") == 1
    (tmp_path / "x.cbf").write_bytes(whole.replace(told + b"20", told + str(rows).encode()))
    with pytest.raises(ValueError, match=r"x\.cbf must be a whole cbf file"):
        load(tmp_path / "x.cbf")


# --- jpeg ------------------------------------------------------------------------------------------------------------


def test_a_pattern_in_jpeg_is_said_to_have_lost_something_and_a_picture_is_not(tmp_path: Path) -> None:
    picture = pytest.importorskip("PIL.Image").fromarray((FRAMES[0] % 200).astype(np.uint8))
    picture.save(tmp_path / "x.jpg", quality=95)
    assert pr.io.load_object(tmp_path / "x.jpg").shape == SHAPE
    with pytest.warns(UserWarning, match=r"JPEG leaves out what eyes do not see, .* Use the file from before"):
        load(tmp_path / "x.jpg")
