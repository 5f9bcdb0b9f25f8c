"""Files of which a part was never written or is lost: readers fill up what is missing."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import torch

import phaseret as pr

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


def test_a_mask_may_be_written_where_it_is_not_the_same(tmp_path: Path) -> None:
    hdf5(tmp_path / "x.h5", "data", SHAPE, SHAPE, slice(None), FRAMES[0])
    found = load(hdf5(tmp_path / "x.h5", "mask", SHAPE, (5, 22), slice(0, 3), 1), mask_is="bad")
    assert found.mask is not None
    assert int((~found.mask).sum()) == 3 * 22


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
