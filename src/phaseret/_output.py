"""Files that are written whole or not at all: the only way in which this package makes or replaces a file."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import importlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks

# Locks of files, which systems other than POSIX do not have.
FCNTL: Any = importlib.import_module("fcntl") if os.name == "posix" else None
_DAY = 86400.0
_SCRATCH = "phaseret-scratch-"
_LONGEST = 200  # bytes of a name that leave room for an ending: systems take 255


def check_free(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """The output path is a file in an existing folder, and does not exist yet unless `overwrite`."""
    target = _checks.path(path)
    _checks.flag(overwrite=overwrite)
    check_here(target)
    if not os.path.isdir(target.parent):
        fix = "Make it first"
        _checks.fail(f"path must lie in an existing folder, got {str(target.parent)!r}", fix, FileNotFoundError)
    if os.path.isdir(target):
        fix = "Name a file in it"
        _checks.fail(f"path must name a file, got the folder {str(target)!r}", fix, IsADirectoryError)
    if os.path.islink(target) and not os.path.exists(target):
        what = f"path must not be a link to what does not exist, got {str(target)!r}, a link to {os.readlink(target)!r}"
        _checks.fail(what, "Name the file itself, or remove the link", FileNotFoundError)
    check_writable("path", os.path.dirname(os.path.realpath(target)))
    try:
        os.lstat(target)
    except FileNotFoundError:
        pass
    except OSError as error:  # a name that is too long
        _checks.fail(
            f"path must be one that the system takes, got {error.strerror}: {str(target)!r}", "Shorten it", OSError
        )
    if os.path.exists(target) and not overwrite:
        fix = "Choose another path or set overwrite"
        _checks.fail(f"path must not exist yet, got {str(target)!r}", fix, FileExistsError)
    if os.path.exists(target) and not os.path.isfile(target):
        fix = "Devices and pipes are not replaced: name a file"
        _checks.fail(f"path must name a file, got the device {str(target)!r}", fix, OSError)
    if os.path.exists(target) and not os.access(target, os.W_OK):
        fix = "Choose another, or allow it"
        _checks.fail(f"path must be a file that may be written to, got {str(target)!r}", fix, PermissionError)
    return target


def check_here(target: Path, name: str = "path") -> None:
    """A path that is not whole lies in a folder that is still there."""
    try:
        if not target.is_absolute():
            os.getcwd()
    except OSError:
        what = f"{name} must lie in an existing folder, got {str(target)!r} in one that was removed"
        _checks.fail(what, "Change to one that exists, or give the whole path", FileNotFoundError)


def check_writable(name: str, folder: str) -> None:
    """What is written into the folder, which exists, may be."""
    if not os.access(folder, os.W_OK | os.X_OK):
        fix = "Choose another folder, or ask its owner"
        _checks.fail(f"{name} must lie in a folder that may be written to, got {folder!r}", fix, PermissionError)


@contextlib.contextmanager
def written(path: str | os.PathLike[str], overwrite: bool) -> Iterator[Path]:
    """A temporary path beside `path` to write to: renamed to it if all goes well, removed otherwise.

    A link stays, and the file that it leads to is replaced. What killed writers of the same file left is removed.
    """
    target = check_free(path, overwrite)
    place = Path(os.path.realpath(target))
    remove_parts(place)
    temporary = place.with_name(f".{_stem(place)}.{secrets.token_hex(4)}.part")
    try:
        with contextlib.ExitStack() as stack:
            while not temporary.exists():  # another writer may take it for left before it is locked
                temporary.touch()
                with contextlib.suppress(FileNotFoundError):
                    stack.enter_context(held(temporary))
            yield temporary
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            check_free(target, overwrite)
            if place.exists():
                shutil.copymode(place, temporary)
            temporary.replace(place)
    except (OSError, RuntimeError) as error:
        if isinstance(error, FileExistsError):
            raise
        full = is_full(error)
        said = "the disk is full" if full else " ".join(str(error).split()).rstrip(".")
        fix = "Free some space" if full else "Nothing was written"
        _checks.fail(f"{target} must be writable, got the error: {said}", fix, OSError)
    finally:
        temporary.unlink(missing_ok=True)


def is_full(error: BaseException) -> bool:
    """Whether it says that a disk, or the share of it that this process may use, is full."""
    texts = ("No space left", "unexpected pos")  # the latter is what torch.save says
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return getattr(error, "errno", None) in codes or any(text in str(error) for text in texts)


@contextlib.contextmanager
def scratch(purpose: str) -> Iterator[Path]:
    """A folder for files that are needed here alone; those that killed processes left are removed."""
    with contextlib.ExitStack() as stack:
        try:
            remove_left(Path(tempfile.gettempdir()), f"{_SCRATCH}*", seconds=60)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_SCRATCH)))
        except OSError as error:
            fix = "Set TMPDIR to a folder that can be written to"
            _checks.fail(f"a temporary folder must be there {purpose}, got the error: {error}", fix, OSError)
        stack.enter_context(held(folder))
        yield folder


def no_room(folder: Path, purpose: str) -> tuple[str, str]:
    """What is wrong where a disk is full that holds a folder of :func:`scratch`, and how to mend it."""
    what = f"the temporary folder {folder.parent} must have room {purpose}, got a full disk"
    return what, "Set TMPDIR to a folder with more"


def remove_parts(path: Path) -> None:
    """Remove what killed writers of the file left."""
    remove_left(path.parent, f".{glob.escape(_stem(path))}.*.part")


def beside(path: str | os.PathLike[str], ending: str) -> Path:
    """The path with something behind its name; a name that is too long for that is replaced by its checksum."""
    target = Path(path)
    return target.with_name(_stem(target) + ending)


def _stem(path: Path) -> str:
    name = os.fsencode(path.name)
    return path.name if len(name) <= _LONGEST else hashlib.sha256(name).hexdigest()[:32]


@contextlib.contextmanager
def held(path: Path, *, wait: bool = True) -> Iterator[None]:
    """While this process works on a file or a folder it holds a lock on it, which ends with the process.

    Whoever has it already is waited for, or answered with an OSError. A system or a disk without locks has none.
    """
    if FCNTL is None:
        yield
        return
    number = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError) if wait else contextlib.nullcontext():
            FCNTL.flock(number, FCNTL.LOCK_EX | (0 if wait else FCNTL.LOCK_NB))
        yield
    finally:
        os.close(number)


def remove_left(folder: Path, pattern: str, seconds: float = 0.0) -> None:
    """Remove what killed processes left: files and folders, at least so old, of which nobody holds a lock.

    Without locks they are known by an age of a day.
    """
    seconds = _DAY if FCNTL is None else seconds
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):  # another process works on it or was faster, or it belongs to somebody else
            if time.time() - path.lstat().st_mtime < seconds:
                continue
            with held(path, wait=False):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a text and of the name, type, shape and bytes of each tensor."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().resolve_conj().resolve_neg().contiguous()
        total.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
    return total.hexdigest()


def checksum_of(value: Any) -> str:
    """That of numbers, texts and tensors in lists, tuples and mappings, however nested."""
    tensors: dict[str, Tensor] = {}

    def text(part: Any, place: str) -> str:
        if isinstance(part, Tensor):
            tensors[place] = part
            return "tensor"
        if isinstance(part, Mapping):
            return f"{{{', '.join(f'{key!r}: ' + text(item, f'{place}/{key}') for key, item in part.items())}}}"
        if isinstance(part, list | tuple):
            return f"[{', '.join(text(item, f'{place}/{number}') for number, item in enumerate(part))}]"
        return repr(part)

    return checksum(text(value, ""), tensors)
