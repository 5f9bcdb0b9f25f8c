"""Files of detectors, pictures, arrays and tables: each is read in every way that the package has."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import fabio
import h5py
import numpy as np
import PIL.Image
import scipy.io
import scipy.sparse
import tifffile
import torch

import phaseret as pr
from tools.fuzz._attempt import Target, Wrong, is_clear
from tools.fuzz._mutate import changed, mutated

FRAME = np.random.default_rng(0).integers(1, 1000, (12, 14)).astype(np.int32)
STACK = np.random.default_rng(1).integers(1, 1000, (3, 12, 14)).astype(np.uint16)
WAYS: tuple[Callable[[Path], Any], ...] = (
    pr.io.load_intensity,
    lambda file: pr.io.load_intensity(file, ndim=2, index=0),
    lambda file: pr.io.load_intensity(file, ndim=2, crop=(8, 8), bin=2),
    pr.io.load_object,
    pr.io.load_mask,
    pr.io.load_support,
    pr.io.load_reconstruction,
)


def read_in_every_way(folder: Path, data: bytes) -> None:
    """Each way gives something sound or a clear error; one of those if all refuse."""
    file, refusals = folder / "file", []
    file.write_bytes(data)
    for way in WAYS:
        try:
            found = way(file)
            if isinstance(found, pr.io.Measurement):
                pr.io.inspect(found)
                check_sound(found)
        except Exception as error:
            if not is_clear(error):
                raise
            refusals.append(error)
    if len(refusals) == len(WAYS):
        raise refusals[0]


def check_sound(found: pr.io.Measurement) -> None:
    """What a solver relies on."""
    if not bool(found.intensity.isfinite().all()) or bool((found.intensity < 0).any()):
        raise Wrong("an intensity that is not finite and at least 0")
    if found.mask is not None and (found.mask.dtype != torch.bool or bool(found.intensity[~found.mask].any())):
        raise Wrong("a mask that does not leave out what it should")


def written(write: Callable[[Path], object], name: str = "file") -> Callable[[Path], bytes]:
    """The bytes of a file that `write` makes."""

    def content(folder: Path) -> bytes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write(folder / name)
        return (folder / name).read_bytes()

    return content


def reader(about: str, *seeds: Callable[[Path], bytes], mutate: Callable[..., bytes] = mutated) -> Target:
    """A kind of files, by those that other libraries write."""
    return Target(about, lambda folder: [seed(folder) for seed in seeds], read_in_every_way, mutate)


# --- containers whose checksums would hide what is in them -----------------------------------------------------------


def npz_mutated(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """An archive with a changed member, its checksum right again; or one that is changed as a whole."""
    data, buffer = rng.choice(seeds), io.BytesIO()
    if rng.random() < 0.4 or not zipfile.is_zipfile(io.BytesIO(data)):
        return changed(rng, data, seeds)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
            members = [(name, old.read(name)) for name in old.namelist()]
            at = rng.randrange(len(members))
            members[at] = members[at][0], changed(rng, members[at][1], [content for _, content in members])
            for name, content in members:
                new.writestr(name, content)
    except Exception:  # a kept input is no archive any more
        return changed(rng, data, seeds)
    return buffer.getvalue()


def gzip_mutated(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """What is packed, changed; or the packed file."""
    try:
        inside = [gzip.decompress(seed) for seed in seeds if seed[:2] == b"\x1f\x8b"]
    except (OSError, EOFError, zlib.error):
        inside = []
    if rng.random() < 0.3 or not inside:
        return mutated(rng, seeds)
    return gzip.compress(mutated(rng, inside), 1)


def png_mutated(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """A changed picture; of most, the checksums of its chunks are right again."""
    data = mutated(rng, seeds)
    if rng.random() < 0.2:
        return data
    at, found = 8, data[:8]
    while at + 12 <= len(data):
        size = min(int.from_bytes(data[at : at + 4], "big"), max(0, len(data) - at - 12))
        body = data[at + 4 : at + 8 + size]
        found += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + size
    return found


def tif_mutated(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """A picture one of whose tags (number, type, count, value) is another; or any change."""
    data = rng.choice(seeds)
    if len(data) < 16 or data[:4] != b"II*\0" or rng.random() < 0.4:
        return changed(rng, data, seeds)
    start = int.from_bytes(data[4:8], "little")
    tags = int.from_bytes(data[start : start + 2], "little") or 1
    at = start + 2 + 12 * rng.randrange(tags) + rng.choice((0, 2, 4, 8))
    size = 2 if (at - start - 2) % 12 < 4 else 4
    value = rng.choice((0, 1, 2, 3, 4, 5, 7, 8, 12, 32, 64, 254, 258, 259, 317, 32773, 65535, 2**31, 2**32 - 1, start))
    data = data[:at] + (value % 256**size).to_bytes(size, "little") + data[at + size :]
    return data if rng.random() < 0.5 else changed(rng, data, seeds)


# --- seeds -----------------------------------------------------------------------------------------------------------


def picture(kind: str, array: Any, mode: str | None = None, **options: Any) -> Callable[[Path], bytes]:
    image = PIL.Image.fromarray(array)
    return written(lambda file: (image.convert(mode) if mode else image).save(file, kind, **options))


def tif_page_by_page(file: Path) -> None:
    with tifffile.TiffWriter(file) as writer:
        for page in STACK:
            writer.write(page, contiguous=False)


def edf_of_frames(file: Path) -> None:
    image = fabio.edfimage.EdfImage(data=FRAME, header={"title": "a frame"})
    image.append_frame(data=FRAME + 1)
    image.write(str(file))


def edf_of_one(file: Path) -> None:
    header = {
        "Center_1": "3.5 pixel",
        "Center_2": "4.5",
        "PSize_1": "172 um",
        "PSize_2": "1e-4",
        "Dummy": "7",
        "DDummy": "1",
    }
    fabio.edfimage.EdfImage(data=STACK[0], header=header | {"Saturation": "900"}).write(str(file))


def adsc(file: Path) -> None:
    header = {"PIXEL_SIZE": "0.1", "BEAM_CENTER_X": "0.9", "BEAM_CENTER_Y": "1.1", "CCD_IMAGE_SATURATION": "900"}
    fabio.adscimage.AdscImage(data=STACK[0], header=header).write(str(file))


def mat73(file: Path) -> None:
    with h5py.File(file, "w", userblock_size=512) as content:
        content["scan/intensity"] = FRAME.T
        content["scan"].attrs["MATLAB_class"] = np.bytes_("struct")
        content["scan/intensity"].attrs["MATLAB_class"] = np.bytes_("int32")
        content["words"] = np.frombuffer("words".encode("utf-16-le"), np.uint16).reshape(-1, 1)
        content["words"].attrs["MATLAB_class"] = np.bytes_("char")
    with file.open("rb+") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")


def mat73_cells(file: Path) -> None:
    mat73(file)
    with h5py.File(file, "r+") as content:
        inside = content.create_group("#refs#")
        cells = [inside.create_dataset(f"r{number}", data=frame.T).ref for number, frame in enumerate(STACK)]
        content.create_dataset("frames", data=np.array(cells, h5py.ref_dtype)[:, None], dtype=h5py.ref_dtype)
        content["frames"].attrs["MATLAB_class"] = np.bytes_("cell")


def cells(values: Sequence[Any]) -> Any:
    """A cell array of MATLAB."""
    found = np.empty((1, len(values)), dtype=object)
    for number, value in enumerate(values):
        found[0, number] = value
    return found


def table(**options: Any) -> Callable[[Path], bytes]:
    return written(lambda file: np.savetxt(file, FRAME / 7, header="counts", **options))


def table_in(encoding: str, **options: Any) -> Callable[[Path], bytes]:
    """As spreadsheets write tables, with a mark of the byte order and lines that end as in Windows."""
    return lambda folder: table(**options)(folder).decode().replace("\n", "\r\n").encode(encoding)


def of_mnist(folder: Path, data: bytes) -> None:
    (folder / "train-images-idx3-ubyte.gz").write_bytes(data)
    labels = struct.pack(">BBBBI", 0, 0, 8, 1, 2) + b"\1\2"
    (folder / "train-labels-idx1-ubyte").write_bytes(labels)
    images, values = pr.datasets.mnist(folder, labels=True)
    if len(images) != len(values):
        raise Wrong("as many labels as images")


def digits(folder: Path) -> list[bytes]:
    content = struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 28, 28) + bytes(range(196)) * 8
    return [gzip.compress(content), content]


Intensity = pr.operators.fourier_intensity(torch.rand(5, 6), (12, 14))
MAT = {"intensity": FRAME, "scan": {"intensity": FRAME.astype(float), "energy": 8.0, "name": "x"}, "flag": FRAME > 500}
CELLS = {
    "frames": cells(STACK),
    "deep": cells([cells([FRAME, "words"]), {"intensity": cells([FRAME[:2]]), "sparse": scipy.sparse.eye(5)}]),
    "records": np.array([(FRAME[:3], "a"), (FRAME[3:], "b")], dtype=[("image", "O"), ("name", "O")]),
    "sparse": scipy.sparse.csc_matrix(FRAME[:4] * (FRAME[:4] > 500)),
    "pattern": FRAME,
}
PLAIN = {name: CELLS[name] for name in ("sparse", "pattern")}
DECTRIS = "# Count_cutoff 900 counts\n# Beam_xy (3.00, 4.00) pixels\n# Pixel_size 172e-6 m x 172e-6 m\n"
TITLED = "run 5\n\ny [mm],x [mm],I,\n" + "".join(f'{y}, {x},"{y * x + 1}",\n' for y in range(9) for x in range(8))
TARGETS = {
    "npy": reader(
        "arrays of NumPy",
        written(lambda file: np.save(file.open("wb"), FRAME)),
        written(lambda file: np.save(file.open("wb"), np.asfortranarray(STACK.astype(">f8")))),
        written(lambda file: np.save(file.open("wb"), FRAME + 1j)),
    ),
    "npz": reader(
        "archives of NumPy, and this package's own",
        written(lambda file: np.savez(file.open("wb"), intensity=FRAME, mask=FRAME > 3)),
        written(lambda file: np.savez_compressed(file.open("wb"), STACK)),
        written(lambda file: pr.io.save_intensity(file, Intensity, overwrite=True), "file.npz"),
        mutate=npz_mutated,
    ),
    "mat": reader(
        "MATLAB before 7.3",
        written(lambda file: scipy.io.savemat(file, MAT, appendmat=False)),
        written(lambda file: scipy.io.savemat(file, MAT, appendmat=False, do_compression=True)),
        written(lambda file: scipy.io.savemat(file, CELLS, appendmat=False)),
        written(lambda file: scipy.io.savemat(file, CELLS, appendmat=False, do_compression=True)),
    ),
    "mat4": reader(
        "MATLAB 4",
        written(lambda file: scipy.io.savemat(file, {"x": FRAME * 1j} | PLAIN, appendmat=False, format="4")),
        written(lambda file: scipy.io.savemat(file, {"t": "words"} | PLAIN, appendmat=False, format="4")),
    ),
    "mat73": reader("MATLAB 7.3", written(mat73), written(mat73_cells)),
    "tif": reader(
        "TIFF, also page by page, packed, with 64 bits",
        written(lambda file: tifffile.imwrite(file, FRAME)),
        written(lambda file: tifffile.imwrite(file, STACK, bigtiff=True)),
        written(lambda file: tifffile.imwrite(file, STACK, byteorder=">", compression="zlib", predictor=True)),
        written(tif_page_by_page),
        written(lambda file: tifffile.imwrite(file, STACK, imagej=True, metadata={"c0": -5.0, "c1": 2.0})),
        written(lambda file: tifffile.imwrite(file, FRAME, description=DECTRIS, metadata=None)),
        picture("tiff", FRAME.astype(np.uint8), compression="tiff_adobe_deflate"),
        mutate=tif_mutated,
    ),
    "cbf": reader("CBF", written(lambda file: fabio.cbfimage.CbfImage(data=FRAME).write(str(file)))),
    "edf": reader("EDF", written(edf_of_frames), written(edf_of_one), written(adsc)),
    "edf.gz": reader(
        "EDF in gzip, bzip2 and xz",
        lambda folder: gzip.compress(written(edf_of_frames)(folder)),
        lambda folder: bz2.compress(written(edf_of_one)(folder)),
        lambda folder: lzma.compress(written(edf_of_one)(folder)),
        mutate=gzip_mutated,
    ),
    "png": reader(
        "PNG",
        picture("png", FRAME.astype(np.uint8)),
        picture("png", STACK[0]),
        picture("png", FRAME.astype(np.uint8), "P"),
        picture("png", FRAME.astype(np.uint8), "RGBA"),
        mutate=png_mutated,
    ),
    "bmp": reader("BMP", picture("bmp", FRAME.astype(np.uint8)), picture("bmp", FRAME.astype(np.uint8), "RGB")),
    "jpeg": reader("JPEG", picture("jpeg", FRAME.astype(np.uint8)), picture("jpeg", FRAME.astype(np.uint8), "RGB")),
    "text": reader(
        "tables of numbers, in UTF-8, UTF-16 and UTF-32",
        table(),
        table(delimiter=","),
        table(delimiter=" ; ", fmt="%d", comments="% "),
        table_in("utf-16", delimiter="\t"),
        table_in("utf-16", delimiter=";", fmt="%d"),
        table_in("utf-32"),
        table_in("utf-8-sig", delimiter=","),
        lambda _: TITLED.encode(),
        lambda _: "\n\n".join("\n".join("1 2 -- 3.5D2 # row" for _ in range(4)) for _ in range(3)).encode(),
    ),
    "mnist": Target("MNIST's files, in gzip or not", digits, of_mnist, gzip_mutated),
}  # fmt: skip
