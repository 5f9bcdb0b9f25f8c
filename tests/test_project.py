"""The shape of the package: who imports whom, what an import loads, what is public, and that versions agree."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.metadata
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import phaseret
from phaseret import testing

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "phaseret"
PUBLIC = [getattr(phaseret, name) for name in phaseret.__all__ if isinstance(getattr(phaseret, name), ModuleType)]
PUBLIC.append(testing)  # Not in `__all__`: it needs an extra, and `import phaseret` loads none.

# --- the floor plan: imports only go down ----------------------------------------------------------------------------


def floor_plan() -> dict[str, int]:
    """Level of each module, from the table in the package's docstring: lines ``3  losses  metrics  ...``."""
    rows = re.findall(r"^ {4}(\d)  (.+)$", phaseret.__doc__ or "", re.MULTILINE)
    return {name: int(level) for level, names in rows for name in names.split()}


def modules_on_disk() -> set[str]:
    names = {path.name.removesuffix(".py") for path in PACKAGE.iterdir()}
    return names - {"__init__", "__pycache__", "py.typed"}


def imported_modules(source: str, package: str) -> Iterator[str]:
    """Dotted names of everything imported anywhere in the source, functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def arrows(source: str, package: str = "phaseret") -> set[str]:
    """First-level modules of phaseret that the source imports; "" for phaseret itself."""
    found = set()
    for name in imported_modules(source, package):
        if name == "phaseret":
            found.add("")
        elif name.startswith("phaseret."):
            found.add(name.split(".")[1])
    return found


def uses_transforms(source: str) -> bool:
    """Whether the source imports or reaches into the fft module of torch, numpy or scipy."""
    libraries = ("torch", "numpy", "np", "scipy")
    transforms = {f"{library}.fft" for library in libraries}
    imported = any(".".join(name.split(".")[:2]) in transforms for name in imported_modules(source, ""))
    return imported or any(
        isinstance(node, ast.Attribute)
        and node.attr in ("fft", "fftpack")
        and isinstance(node.value, ast.Name)
        and node.value.id in libraries
        for node in ast.walk(ast.parse(source))
    )


def sources() -> list[tuple[str, Path]]:
    """(first-level module, file) of every source file but the package's own `__init__`."""
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
    return [(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path) for path in files]


def test_the_floor_plan_names_every_module_and_no_other() -> None:
    assert modules_on_disk() == set(floor_plan())


@pytest.mark.parametrize(("module", "path"), [pytest.param(*s, id=str(s[1].relative_to(PACKAGE))) for s in sources()])
def test_imports_go_down(module: str, path: Path) -> None:
    level = floor_plan()
    package = ".".join(("phaseret", *path.relative_to(PACKAGE).parts[:-1]))
    found = arrows(path.read_text(encoding="utf-8"), package) - {module}
    wrong = sorted(name for name in found if level.get(name, 99) >= level[module])
    assert not wrong, f"{module} (level {level[module]}) must not import {wrong}: up or sideways in the floor plan"


def test_only_fft_calls_the_transforms() -> None:
    assert {path.name for _, path in sources() if uses_transforms(path.read_text(encoding="utf-8"))} == {"_fft.py"}


@pytest.mark.parametrize(
    ("source", "package", "expected"),
    [
        ("from phaseret import _fft, losses", "phaseret", {"_fft", "losses"}),
        ("from phaseret.operators._base import Operator", "phaseret", {"operators"}),
        ("import phaseret.solvers", "phaseret", {"solvers"}),
        ("import phaseret as pr", "phaseret", {""}),
        ("def f():\n    from phaseret import models", "phaseret", {"models"}),
        ("from . import metrics", "phaseret", {"metrics"}),
        ("from ..metrics import psnr", "phaseret.losses", {"metrics"}),
        ("from ._base import Operator", "phaseret.operators", {"operators"}),
        ("import torch\nfrom torch import nn", "phaseret", set()),
    ],
)
def test_arrows_finds_every_way_to_import(source: str, package: str, expected: set[str]) -> None:
    assert arrows(source, package) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch\nx = torch.fft.rfft(y)", True),
        ("import torch.fft", True),
        ("from torch import fft", True),
        ("from torch.fft import rfft as r", True),
        ("import numpy as np\nnp.fft.fft2(x)", True),
        ("from scipy import fft", True),
        ("from phaseret import _fft\n_fft.spectrum(x, (4,))", False),
        ("'torch.fft in a docstring'", False),
    ],
)
def test_uses_transforms_finds_every_way_to_call_one(source: str, expected: bool) -> None:
    assert uses_transforms(source) is expected


# --- what an import loads --------------------------------------------------------------------------------------------


def distribution(requirement: str) -> str:
    """Normalised name in a requirement such as ``scikit-image>=0.22; extra == "demo"``."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()


def extra_modules() -> set[str]:
    """Import names of everything that pyproject.toml lists under an extra."""
    requires = importlib.metadata.requires("phaseret") or []
    extras = {distribution(r) for r in requires if "extra ==" in r} - {"phaseret"}
    provided = importlib.metadata.packages_distributions().items()
    return {module for module, owners in provided if extras & {distribution(owner) for owner in owners}}


def test_import_loads_no_extra() -> None:
    """And a module is loaded when it is first named."""
    code = (
        "import sys; before = set(sys.modules); import phaseret; dir(phaseret); assert 'torch' not in sys.modules; "
        "own = set(sys.modules) - before; import torch, numpy, scipy; before = set(sys.modules); "
        "print(phaseret.losses.PassiveLoss.__module__, hasattr(phaseret, 'lossses')); from phaseret import *; "
        "print(*sorted({name.partition('.')[0] for name in own | set(sys.modules) - before}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    named, loaded = (set(line.split()) for line in result.stdout.splitlines())
    assert named == {"phaseret.losses._passive", "False"}
    assert "phaseret" in loaded
    assert extra_modules() >= {
        "lightning",
        "mlxtend",
        "skimage",
        "matplotlib",
        "h5py",
        "sphinx",
        "pytest",
        "hypothesis",
    }
    assert loaded & extra_modules() == set()
    assert result.stderr == ""


# --- what is public --------------------------------------------------------------------------------------------------


def public_objects(module: ModuleType) -> dict[str, object]:
    return {name: getattr(module, name) for name in module.__all__}


def short(module: ModuleType) -> str:
    return module.__name__.removeprefix("phaseret.")


def snake(name: str) -> str:
    """Function name of a Module: FourierIntensity -> fourier_intensity, HIO -> hio."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def pairs() -> list[tuple[str, str, str]]:
    """(module, function, Module) of every function with a class of the same name."""
    found = []
    for module in PUBLIC:
        classes = {snake(name): name for name, value in public_objects(module).items() if inspect.isclass(value)}
        functions = [name for name, value in public_objects(module).items() if inspect.isfunction(value)]
        found += [(module.__name__, name, classes[name]) for name in functions if name in classes]
    return found


def test_all_names_every_public_module() -> None:
    public = {name for name in modules_on_disk() if not name.startswith("_")}
    assert public == {*phaseret.__all__, "cli", "testing"}


@pytest.mark.parametrize("module", PUBLIC, ids=short)
def test_every_public_name_has_a_place_in_all(module: ModuleType) -> None:
    assert len(set(module.__all__)) == len(module.__all__)
    own = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and f"{value.__module__}.".startswith(f"{module.__name__}.")
    }
    assert own <= set(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("module", [phaseret, *PUBLIC], ids=short)
def test_dir_and_completion_show_the_public_names_alone(module: ModuleType) -> None:
    assert dir(module) == sorted(module.__all__)


def test_every_public_name_has_one_import_path() -> None:
    places: dict[int, list[str]] = {}
    for module in PUBLIC:
        for name, value in public_objects(module).items():
            places.setdefault(id(value), []).append(f"{module.__name__}.{name}")
    assert [paths for paths in places.values() if len(paths) > 1] == []


@pytest.mark.parametrize("module", PUBLIC, ids=short)
def test_every_public_name_is_documented(module: ModuleType) -> None:
    assert (module.__doc__ or "").strip()
    named = {name: value for name, value in public_objects(module).items() if callable(value)}
    assert [name for name, value in named.items() if not inspect.getdoc(value)] == []


def is_called(value: object) -> bool:
    """Whether it is a function or a Module to call: not what these return, and not what others are made from."""
    is_module = isinstance(value, type) and issubclass(value, torch.nn.Module)
    return inspect.isfunction(value) or (is_module and not value.__subclasses__())


@pytest.mark.parametrize("module", PUBLIC, ids=short)
def test_tests_of_a_public_name_stand_in_the_files_of_its_module(module: ModuleType) -> None:
    files = (ROOT / "tests").glob(f"test_{short(module)}*.py")
    words = {word for file in files for word in re.findall(r"\w+", file.read_text(encoding="utf-8"))}
    assert {name for name, value in public_objects(module).items() if is_called(value)} <= words


def parameters(function: object, *, skip: int) -> dict[str, tuple[object, object]]:
    """(default, annotation) of each parameter after the first `skip`."""
    found = list(inspect.signature(function).parameters.values())[skip:]  # type: ignore[arg-type]
    return {p.name: (p.default, p.annotation) for p in found if p.kind is not p.VAR_KEYWORD}


@pytest.mark.parametrize(("module", "function", "cls"), pairs(), ids=lambda value: value.removeprefix("phaseret."))
def test_function_and_module_have_the_same_options(module: str, function: str, cls: str) -> None:
    names = importlib.import_module(module)
    one, other = getattr(names, function), getattr(names, cls)
    call = other.update if hasattr(other, "update") else other.forward
    expected = parameters(one, skip=0)
    assert parameters(call, skip=1) | parameters(other.__init__, skip=1) == expected


def documented(cls: type) -> set[str]:
    """The names under ``Args:`` of a class's docstring."""
    text = re.search(r"^Args:\n((?: {4}.*\n?|\n)*)", inspect.getdoc(cls) or "", re.MULTILINE)
    return set(re.findall(r"^ {4}\*?(\w+):", text[1], re.MULTILINE)) if text else set()


def made_by_users() -> list[type]:
    """Every public class but those whose objects a call gives back: dataclasses, which have attributes, and `Run`."""
    found = [value for module in PUBLIC for value in public_objects(module).values() if inspect.isclass(value)]
    return [cls for cls in found if not dataclasses.is_dataclass(cls) and cls is not phaseret.solvers.Run]


@pytest.mark.parametrize("cls", made_by_users(), ids=lambda cls: cls.__name__)
def test_hovering_over_a_class_shows_its_options(cls: type) -> None:
    assert documented(cls) == set(parameters(cls.__init__, skip=1))  # type: ignore[misc]


def test_no_function_is_long() -> None:
    """Lines without docstring."""
    long = []
    for _, path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                spared = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) and first.end_lineno else 0
                if (node.end_lineno or 0) - node.lineno + 1 - spared > 60:
                    long.append(f"{path.relative_to(PACKAGE)}: {node.name}")
    assert long == []


def test_snake_names_pair_function_and_module() -> None:
    examples = {"FourierIntensity": "fourier_intensity", "HIO": "hio", "RFactor": "r_factor", "UNet": "u_net"}
    assert {name: snake(name) for name in examples} == examples


# --- versions --------------------------------------------------------------------------------------------------------


def test_versions_agree() -> None:
    version = phaseret.__version__
    assert importlib.metadata.version("phaseret") == version
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r'^version: "?([^"\n]+)"?$', citation, re.MULTILINE) == [version]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[?([\w.]+)\]?", changes, re.MULTILINE)[0] == version
    recipe = (ROOT / "conda/recipe.yaml").read_text(encoding="utf-8")
    assert re.findall(r'^  version: "([^"\n]+)"$', recipe, re.MULTILINE) == [version]


def test_python_versions_agree() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    least = re.findall(r'^requires-python = ">=([\d.]+)"', project, re.MULTILINE)
    assert least == re.findall(r'^python_version = "([\d.]+)"', project, re.MULTILINE)
    for page in ("README.md", "docs/install.rst"):
        assert f"Python {least[0]} or later" in (ROOT / page).read_text(encoding="utf-8")
    tested = re.findall(r"Python :: (3\.\d+)", project)
    assert set(tested) >= set(least)
    assert f"Python-{tested[0]}_to_{tested[-1]}-" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_core_requirements_agree() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    core = re.findall(r'"([\w-]+)>=([\d.]+)"', re.findall(r"^dependencies = (.*)$", project, re.MULTILINE)[0])
    recipe = (ROOT / "conda/recipe.yaml").read_text(encoding="utf-8")
    for name, least in core:
        assert f"- {'pytorch' if name == 'torch' else name} >={least}\n" in recipe
    for page in ("README.md", "docs/install.rst"):
        assert f"PyTorch {dict(core)['torch']} or later" in (ROOT / page).read_text(encoding="utf-8")


def test_the_address_is_the_same_everywhere() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (address,) = re.findall(r'^Repository = "https://(.*)"$', project, re.MULTILINE)
    files = [*ROOT.glob("*.*"), *(ROOT / "conda").iterdir(), *(ROOT / ".github").rglob("*.*")]
    kinds = (".md", ".cff", ".toml", ".yml", ".yaml")
    text = "".join(file.read_text(encoding="utf-8") for file in files if file.suffix in kinds)
    assert set(re.findall(r"github\.com/[\w-]+/phaseret\b", text)) == {address}
