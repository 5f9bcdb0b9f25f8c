"""The built documentation: no warning, a page for each public name, formulas as they were meant, links that lead on."""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import phaseret as pr

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs/_ext"))

from formulas import built, faults, to_mathml  # noqa: E402

PUBLIC = [
    (name, item) for name in (*pr.__all__, "testing") for item in importlib.import_module(f"phaseret.{name}").__all__
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built anew where a warning is an error."""
    folder = tmp_path_factory.mktemp("docs")
    for part in ("docs", "examples", "experiments", "benchmarks", "results"):
        if (ROOT / part).exists():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("_build", "api", "auto_gallery"))
    for page in ROOT.glob("*.md"):
        shutil.copy(page, folder)
    # Without running the scripts of the gallery, which have tests of their own.
    quick = ["-D", "sphinx_gallery_conf.plot_gallery=False"]
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", *quick, "-b", "html", "docs", "html"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder / "html"


@pytest.mark.once
def test_every_public_name_has_an_entry(pages: Path) -> None:
    written = "".join(page.read_text(encoding="utf-8") for page in pages.glob("api/**/*.html"))
    assert [item for name, item in PUBLIC if f'id="phaseret.{name}.{item}"' not in written] == []


@pytest.mark.once
def test_every_formula_looks_as_it_was_meant(pages: Path) -> None:
    formulas = built(pages)
    assert sum(map(len, formulas.values())) > 100
    wrong = {page: [fault for formula in found for fault in faults(formula)] for page, found in formulas.items()}
    assert {page: found for page, found in wrong.items() if found} == {}


@pytest.mark.once
def test_pages_ask_for_nothing_from_elsewhere(pages: Path) -> None:
    asked = re.compile(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="(?:https?:)?//[^"]+"')
    found = {page.name: asked.findall(page.read_text(encoding="utf-8")) for page in pages.rglob("*.html")}
    assert {page: links for page, links in found.items() if links} == {}


@pytest.mark.once
@pytest.mark.parametrize(
    ("latex", "fault"),
    [
        (r"\\frac{1}{2} x", "a doubled backslash, which breaks the line"),
        (r"f r a c 1 2", "the letters of 'frac' stand one by one"),
        (r"\tfrac12 (x)", r"\tfrac without braces"),
        (r"\frac{1}2", r"\frac{1} without braces"),
    ],
)
def test_faults_of_formulas_are_found(latex: str, fault: str) -> None:
    assert fault in faults(to_mathml(latex, block=True))


@pytest.mark.once
@pytest.mark.parametrize("latex", [r"\frac{1}{2} \log f", r"\begin{cases} a & b \\ c & d \end{cases}", r"\hat{X}_k"])
def test_good_formulas_have_no_fault(latex: str) -> None:
    assert faults(to_mathml(latex, block=True)) == []


def described(documented: object) -> str:
    """A docstring, and those of the functions whose arguments it says to have."""
    text = inspect.getdoc(documented) or ""
    public = {item: getattr(importlib.import_module(f"phaseret.{name}"), item) for name, item in PUBLIC}
    others = re.findall(r"\bthose\s+of\s+(?::\w+:)?`~?(?:\w+\.)*(\w+)`", text, re.IGNORECASE)
    return text + "".join(inspect.getdoc(public.get(other)) or "" for other in others)


@pytest.mark.once
@pytest.mark.parametrize(("name", "item"), PUBLIC)
def test_docstrings_say_what_everything_is(name: str, item: str) -> None:
    documented = getattr(importlib.import_module(f"phaseret.{name}"), item)
    if not callable(documented):  # a value, which the docstring of its module explains
        return
    assert inspect.getdoc(documented)
    text = described(documented)
    told = [p for p in inspect.signature(documented).parameters if not re.search(rf"\b{p}\b", text)]
    assert told == []
    for member, value in inspect.getmembers(documented) if inspect.isclass(documented) else []:
        own = inspect.isfunction(value) and value.__module__.startswith("phaseret")
        assert member.startswith("_") or not own or inspect.getdoc(value), member
