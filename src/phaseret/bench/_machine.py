"""What a run was made on and with, and what it took beside a transform that every machine can do."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from phaseret import operators

_PROCESS = Path("/proc/self")
# What limits the instructions of libraries that torch calls; ATEN_CPU_CAPABILITY shows in torch's own word.
_LIMITS = ("MKL_CBWR", "ONEDNN_MAX_CPU_ISA")


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    return {
        "cpu": name,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "instructions": ", ".join(
            [torch.backends.cpu.get_cpu_capability(), *(f"{x}={os.environ[x]}" for x in _LIMITS if x in os.environ)]
        ),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def commit(folder: Path) -> str:
    """The commit of the working tree that the folder lies in, with a + if the folder has changes."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout

    try:
        return git("rev-parse", "--short", "HEAD").strip() + ("+" if git("status", "--porcelain", ".").strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def package(module: Any) -> dict[str, str | None]:
    """The distribution that a module belongs to, its version, and its commit where it lies in a working tree.

    Where neither says which code that is, there is a checksum of it, too.
    """
    root = module.__name__.partition(".")[0]
    try:
        version = importlib.metadata.version(root)
    except importlib.metadata.PackageNotFoundError:
        version = None
    file: str | None = getattr(module, "__file__", None)
    found = commit(Path(file).parent) if file is not None and _is_tracked(Path(file)) else None
    told = {"package": root, "version": version, "commit": found}
    if file is None or (found is None and version is not None) or (found is not None and found.isalnum()):
        return told
    return told | {"code": code(Path(file), getattr(sys.modules.get(root), "__file__", None))}


def code(file: Path, root: str | None) -> str:
    """SHA-256 of the Python files of a package, or of the file of a module that lies in none."""
    whole = root is not None and Path(root).name == "__init__.py"
    files = sorted(Path(root).parent.rglob("*.py")) if root is not None and whole else [file]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files if path.is_file())).hexdigest()


def _is_tracked(file: Path) -> bool:
    """Whether a file is part of a working tree, and does not merely lie in one, as what is installed there does."""
    words = ["git", "ls-files", "--error-unmatch", file.name]
    try:
        return subprocess.run(words, cwd=file.parent, capture_output=True).returncode == 0
    except OSError:
        return False


def calibration() -> float:
    """Seconds of the calibrating transform: the intensities of 8 objects of 128 x 128 pixels on 256 x 256."""
    obj = torch.ones(8, 128, 128)
    taken = []
    for _ in range(12):
        began = time.perf_counter()
        operators.fourier_intensity(obj, (256, 256))
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[2:])


class Memory:
    """How far the memory of the process rises above what it is now, in MiB; None where the system does not say."""

    def __init__(self) -> None:
        try:
            (_PROCESS / "clear_refs").write_text("5")  # the highest mark begins anew
            self.before = self._status("VmRSS")
        except OSError:
            self.before = None
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    @staticmethod
    def _status(name: str) -> float | None:
        for line in (_PROCESS / "status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
        return None

    def risen(self) -> float | None:
        """The peak since this was made."""
        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated() / 2**20
        peak = None if self.before is None else self._status("VmHWM")
        return None if peak is None or self.before is None else round(max(0.0, peak - self.before), 1)


def python_path() -> None:
    """What lies in the current folder can be named, as with `python -m`."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
