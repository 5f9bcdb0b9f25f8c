"""HDF5 in all its forms: layouts of detectors, and files of random groups, links, types, storage and attributes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np

import phaseret as pr
from tools.fuzz._attempt import Target
from tools.fuzz._mutate import mutated
from tools.fuzz.readers import FRAME, STACK, Intensity, read_in_every_way, reader, written

DETECTOR = "entry/instrument/detector"
CXI = "entry_1/instrument_1/detector_1"
NAMES = (
    "entry",
    "entry_1",
    "instrument",
    "instrument_1",
    "detector",
    "detector_1",
    "data",
    "data_1",
    "image_1",
    "mask",
)
NAMES += ("pixel_mask", "support", "data_000001", "data_000002", "beam_center_x", "beam_center_y", "x_pixel_size")
NAMES += (
    "distance",
    "saturation_value",
    "is_fft_shifted",
    "image_center",
    "incident_energy",
    "beam",
    "obj",
    "intensity",
)
NAMES += (
    "data_type",
    "data_space",
    "process_1",
    "results",
    "plain",
    "detectorSpecific",
    "background",
    "data_dark",
    "..",
    "é",
)
KEYS = ("NX_class", "signal", "default", "interpretation", "units", "MATLAB_class", "axes", "creator")
SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (3,), (12, 14), (3, 12, 14), (0, 12, 14), (1, 1, 1), (2,) * 6)
WORDS = ("NXentry", "NXdata", "NXdetector", "NXinstrument", "NXbeam", "data", "image", "spectrum", "scaler", "mm", "eV")
WORDS += ("pixel", "char", "/entry/data", "..", "", "x" * 5000, "unphased amplitude", "real")


def values(rng: Random) -> Any:
    """An array of a random shape, type and content."""
    shape, kind = (
        rng.choice(SHAPES),
        rng.choice(["u1", "<u2", ">i4", "u8", "i8", "f2", "f4", ">f8", "c8", "?", "S5", "b"]),
    )
    if kind == "b":
        return np.zeros(
            shape, [("real", "<f4"), ("imag", "<f4")] if rng.random() < 0.5 else [("r", "i2"), ("name", "S3")]
        )
    array = np.random.default_rng(rng.randrange(99)).integers(0, 200, shape).astype(kind)
    if array.size and kind not in ("S5", "?") and rng.random() < 0.4:
        extreme = np.array(rng.choice((0, 1, 2**31 - 1, 2**63 - 1)))
        if array.dtype.kind in "fc":
            extreme = np.array(rng.choice((np.nan, np.inf, -np.inf, 1e300, -1.0, 1e-310, 0.0)))
        with np.errstate(all="ignore"):
            array.reshape(-1)[:: rng.choice((1, 7, 10**9))] = extreme.astype(kind)
    return array


def put(rng: Random, group: Any, name: str, file: Any) -> None:
    """Something of that name."""
    kind = rng.randrange(9)
    if kind == 0:
        group.create_group(name)
    elif kind == 1:
        group[name] = h5py.SoftLink(rng.choice(("/", ".", name, "/entry/data", "nowhere", "/" + "x" * 300)))
    elif kind == 2:
        group[name] = h5py.ExternalLink(
            rng.choice(("file", "gone.h5", "", "/dev/zero")), rng.choice(("/", "entry/data"))
        )
    elif kind == 3:
        group[name] = file  # a circle
    elif kind == 4:
        layout = h5py.VirtualLayout((4, 12, 14), "i4")
        layout[1:3] = h5py.VirtualSource(rng.choice((".", "gone.h5")), rng.choice(("entry/data", name)), (2, 12, 14))
        group.create_virtual_dataset(name, layout)
    elif kind == 5:  # announced and never written
        shape = rng.choice(((2**40, 12, 14), (2**62,), (10**5, 10**5), (3, 12, 14)))
        group.create_dataset(name, shape, "u2", chunks=(1,) * (len(shape) - 1) + (7,), fillvalue=rng.choice((0, 1)))
    elif kind == 6:
        group[name] = rng.choice((rng.choice(WORDS), ["one", "two"], h5py.Empty("f4"), np.void(b"\0\1"), file.ref))
    elif kind == 7:
        options = rng.choice(({"compression": "gzip"}, {"fletcher32": True, "shuffle": True}, {"scaleoffset": 2}))
        group.create_dataset(name, data=rng.choice((FRAME, STACK)), chunks=True, **options)
    else:
        group[name] = values(rng)


def random_file(rng: Random, layout: Callable[[Any], None]) -> bytes:
    """A known layout with some random things in it, or put in the place of its own."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=rng.choice(("earliest", "latest"))) as file:
        layout(file)
        for _ in range(rng.choice((1, 2, 3, 10))):
            groups: list[Any] = [file]
            file.visititems(lambda _, found: groups.append(found) if isinstance(found, h5py.Group) else None)  # noqa: B023
            group = rng.choice(groups)
            name = rng.choice([*NAMES, *(key for key in group if key.isprintable())])
            try:
                if rng.random() < 0.4:
                    target = group[name] if name in group and rng.random() < 0.7 else group
                    target.attrs[rng.choice(KEYS)] = rng.choice((rng.choice(WORDS), values(rng), ["a", "b"], file.ref))
                else:
                    if name in group:
                        del group[name]
                    put(rng, group, name, file)
            except (ValueError, TypeError, OSError, KeyError, RuntimeError, OverflowError):
                pass  # HDF5 does not write that
    return buffer.getvalue()


def nexus(file: Any) -> None:
    for group, kind in (("entry", "NXentry"), ("entry/instrument", "NXinstrument"), (DETECTOR, "NXdetector")):
        file.require_group(group).attrs["NX_class"] = kind
    file.attrs["default"], file["entry"].attrs["default"] = "entry", "data"
    file[f"{DETECTOR}/data"], file[f"{DETECTOR}/pixel_mask"] = STACK, np.zeros((12, 14), np.uint32)
    for name, value in (("beam_center_x", 7.0), ("beam_center_y", 6.0), ("distance", 1.5), ("saturation_value", 60000)):
        file[f"{DETECTOR}/{name}"] = value
    file["entry/data/image"] = h5py.SoftLink(f"/{DETECTOR}/data")
    file["entry/data"].attrs["signal"] = "image"


def eiger(file: Any) -> None:
    file["entry/data/data_000001"], file["entry/data/data_000002"] = STACK, STACK[:1]
    file[f"{DETECTOR}/detectorSpecific/pixel_mask"] = np.zeros((12, 14), np.uint32)


def cxi(file: Any) -> None:
    file[f"{CXI}/data"], file[f"{CXI}/mask"] = STACK, np.zeros((12, 14), np.uint32)
    file["entry_1/image_1/data"], file["entry_1/image_1/support"] = FRAME.astype("f4"), FRAME > 0
    file["entry_1/image_1/is_fft_shifted"], file["entry_1/image_1/data_space"] = 1, "real"
    file["entry_1/data_1/data"] = h5py.SoftLink(f"/{CXI}/data")


LAYOUTS = (nexus, eiger, cxi, lambda file: None)


def of_layout(layout: Callable[[Any], None], **options: Any) -> Callable[[Path], bytes]:
    def write(path: Path) -> None:
        with h5py.File(path, "w", **options) as file:
            layout(file)

    return written(write)


def built(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """A file of random parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = random_file(rng, rng.choice(LAYOUTS))
    return data if rng.random() < 0.8 else mutated(rng, [data])


SEEDS = (
    of_layout(nexus),
    of_layout(eiger, libver="latest"),
    of_layout(cxi),
    written(lambda file: pr.io.save_intensity(file, Intensity, overwrite=True), "file.h5"),
)
TARGETS = {
    "hdf5": reader("HDF5 (CXI, NeXus, Eiger), damaged", *SEEDS),
    "hdf5-parts": Target(
        "HDF5 of random groups, links, types, storage, attributes",
        lambda folder: [seed(folder) for seed in SEEDS],
        read_in_every_way,
        built,
    ),
}
