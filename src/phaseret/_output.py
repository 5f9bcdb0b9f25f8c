"""Files that are written whole or not at all: the only way in which this package makes or replaces a file."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from phaseret import _checks


def check_free(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """The output path is a file in an existing folder, and does not exist yet unless `overwrite`."""
    target = _checks.path(path)
    _checks.flag(overwrite=overwrite)
    if not target.parent.is_dir():
        fix = "Make it first"
        _checks.fail(f"path must lie in an existing folder, got {str(target.parent)!r}", fix, FileNotFoundError)
    if target.is_dir():
        fix = "Name a file in it"
        _checks.fail(f"path must name a file, got the folder {str(target)!r}", fix, IsADirectoryError)
    if target.exists() and not overwrite:
        fix = "Choose another path or set overwrite"
        _checks.fail(f"path must not exist yet, got {str(target)!r}", fix, FileExistsError)
    if target.exists() and not target.is_file():
        fix = "Devices and pipes are not replaced: name a file"
        _checks.fail(f"path must name a file, got the device {str(target)!r}", fix, OSError)
    if not os.access(target.parent, os.W_OK):
        fix = "Choose another folder, or ask its owner"
        rule = f"path must lie in a folder that may be written to, got {str(target.parent)!r}"
        _checks.fail(rule, fix, PermissionError)
    return target


@contextlib.contextmanager
def written(path: str | os.PathLike[str], overwrite: bool) -> Iterator[Path]:
    """A temporary path beside `path` to write to: renamed to it if all goes well, removed otherwise."""
    target = check_free(path, overwrite)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        check_free(target, overwrite)
        temporary.replace(target)
    except (OSError, RuntimeError) as error:
        if isinstance(error, FileExistsError):
            raise
        code = getattr(error, "errno", None)
        # "unexpected pos" is what torch.save says
        full = code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        full = full or any(text in str(error) for text in ("No space left", "unexpected pos"))
        said = "the disk is full" if full else " ".join(str(error).split()).rstrip(".")
        fix = "Free some space" if full else "Nothing was written"
        _checks.fail(f"{target} must be writable, got the error: {said}", fix, OSError)
    finally:
        temporary.unlink(missing_ok=True)
