"""What users install: wheel and sdist are built, looked at, and tried in empty environments.

    make test-install                                            all environments, some of the tests: minutes
    make test-install WITH="--all-tests lowest newest"           the whole suite
    make test-install WITH="--python 3.10 --torch any lowest"    the lowest torch too, on another Python

"lowest" holds the lowest release that pyproject.toml allows of each package that it names, "newest" the newest ones,
"core" no extra, and each other one the extra of its name alone. PyTorch is that of constraints.txt, unless asked
otherwise. The tests are those of the sdist, and run from there.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("train", "demo", "io", "crystals", "testing")
ENVIRONMENTS = ("core", *EXTRAS, "lowest", "newest")
# Those of what other packages do for us, and one of each kind of mathematics.
TESTS = (
    *("datasets", "io", "models_weights", "metrics_torchmetrics", "plotting", "testing", "types", "weights"),
    *("fft", "losses_invariant", "losses_passive", "operators_fourier", "solvers_loop", "symmetry_align"),
)


def run(*command: str | Path, cwd: Path = ROOT, **settings: str) -> str:
    """What the command prints; it ends all if it fails, and says why."""
    found = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    if found.returncode:
        sys.exit(f"{found.stdout}\ninstall_check: error: {' '.join(map(str, command))} failed")
    return found.stdout


def built(folder: Path) -> tuple[Path, Path]:
    """The wheel, made from the sdist as installers make it, and the unpacked sdist; both hold what they should."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    run(sys.executable, "-m", "check_wheel_contents", wheel)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    places = {name.partition("/")[0] for name in names}
    information = metadata.partition("/")[0]
    assert places == {"phaseret", information}, f"the wheel holds {places}"
    trained = {
        f"phaseret/models/weights/{file.name}" for file in ROOT.glob("src/phaseret/models/weights/*.safetensors")
    }
    assert {"phaseret/py.typed", f"{information}/licenses/LICENSE"} | trained <= names, f"the wheel holds only {names}"
    dead = re.findall(r"\]\((?!https?:|#)[^)]*\)", text)
    assert not dead, f"links of the README lead nowhere outside the repository: {dead}"
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, filter="data")
        else:
            archive.extractall(folder)
    return wheel, folder / sdist.name.removesuffix(".tar.gz")


class Environment:
    """One environment, made to hold exactly what is asked for, time after time: what stays need not be copied again."""

    def __init__(self, folder: Path, python: str, torch: str, wheel: Path, source: Path) -> None:
        self.folder, self.torch, self.wheel, self.source = folder, torch, wheel, source
        self.requirements = folder.with_name("requirements.txt")
        # uv looks for files where pip was told to look.
        self.settings = {"UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
        self.uv("venv", "--quiet", "--python", python, folder)
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def uv(self, *words: str | Path) -> str:
        return run(sys.executable, "-m", "uv", *words, **self.settings)

    def _resolved(self, *words: str | Path) -> str:
        return self.uv("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python", self.python, *words)

    def _pinned(self) -> list[str]:
        """The PyTorch that all environments share, with the name of its build."""
        if self.torch == "any":
            return []
        wanted = self.folder.with_name("torch.in")
        wanted.write_text(f"torch=={self.torch}\n", encoding="utf-8")
        return re.findall(r"^torch==.*$", self._resolved(wanted), re.MULTILINE)

    def install(self, name: str) -> None:
        """The packages of the environment of that name, and no other."""
        wanted = self.folder.with_name("wanted.in")
        extra = "test" if name == "newest" else name if name in EXTRAS else ""
        project = f"phaseret[{extra}] @ {self.wheel.as_uri()}"
        constraints = self.folder.with_name("torch.txt")
        constraints.write_text("\n".join(self._pinned()), encoding="utf-8")
        wanted.write_text(project, encoding="utf-8")
        if name == "lowest":
            asked = ("--resolution", "lowest-direct", "--extra", "test", self.source / "pyproject.toml")
            lines = self._resolved("--constraint", constraints, *asked) + f"\nphaseret @ {self.wheel.as_uri()}\n"
        else:
            lines = self._resolved("--constraint", constraints, wanted)
        self.requirements.write_text(lines, encoding="utf-8")
        self.uv("pip", "sync", "--quiet", "--python", self.python, self.requirements)
        self.uv("pip", "check", "--python", self.python)

    def try_out(self, name: str, all_tests: bool) -> str:
        """What works there, in one line."""
        extras = EXTRAS if name in ("lowest", "newest") else (name,) if name in EXTRAS else ()
        with tempfile.TemporaryDirectory() as empty:
            said = run(self.python, "-I", ROOT / "tools/smoke.py", *extras, cwd=Path(empty)).splitlines()[-1]
        if name in ("lowest", "newest"):
            where = run(self.python, "-c", "import phaseret; print(phaseret.__file__)", cwd=self.source)
            assert self.folder.name in Path(where.strip()).parts, f"the tests would be those of {where}"
            tests = ["tests"] if all_tests else [f"tests/test_{test}.py" for test in TESTS]
            words = ("-m", "pytest", "-n", os.environ.get("WORKERS", "2"), "-o", "addopts=", "-q", "--no-header")
            report = run(self.python, *words, *tests, cwd=self.source, OMP_NUM_THREADS="1")
            said += f"; tests: {report.strip().splitlines()[-1].strip('= ')}"
        return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environments", nargs="*", metavar="ENVIRONMENT", help=f"of {', '.join(ENVIRONMENTS)}")
    parser.add_argument("--python", default=sys.executable, help="version or path; default: the one that runs this")
    parser.add_argument(
        "--torch", help='version, or "any" that the environment allows; default: that of constraints.txt'
    )
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="put wheel and sdist there, if all went well")
    parser.add_argument("--all-tests", action="store_true", help="not only some")
    options = parser.parse_args()
    if unknown := set(options.environments) - set(ENVIRONMENTS):
        parser.error(f"there is no environment {', '.join(sorted(unknown))}, only {', '.join(ENVIRONMENTS)}")
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    torch = options.torch or re.findall(r"^torch==(\S+)", pins, re.MULTILINE)[0]
    with tempfile.TemporaryDirectory(prefix="install-") as temporary:
        folder = Path(temporary)
        wheel, source = built(folder / "dist")
        print(f"{wheel.name}: built and whole", flush=True)
        environment = Environment(folder / "environment", options.python, torch, wheel, source)
        for name in options.environments or ENVIRONMENTS:
            environment.install(name)
            print(f"{name}: {environment.try_out(name, options.all_tests)}", flush=True)
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            for file in (wheel, *wheel.parent.glob("*.tar.gz")):
                shutil.copy2(file, options.keep)


if __name__ == "__main__":
    main()
