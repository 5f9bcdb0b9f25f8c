"""Everything shown runs: docstring examples, README snippets, pages of docs/."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
import shlex
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

import phaseret as pr
from phaseret._words import DOCS
from phaseret.cli import main

ROOT = Path(__file__).parents[1]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def docstring_examples() -> list[doctest.DocTest]:
    """The examples of every module, private files included, with `torch`, `pr` and the module's own names."""
    found = {}
    finder = doctest.DocTestFinder(exclude_empty=True)
    for info in pkgutil.walk_packages(pr.__path__, "phaseret."):
        if info.name.endswith(".__main__"):
            continue
        module = importlib.import_module(info.name)
        for test in finder.find(module, extraglobs={"torch": torch, "pr": pr}):
            if test.examples:
                found[test.name] = test
    return list(found.values())


def page_examples() -> list[doctest.DocTest]:
    """The examples of README and docs/, which must import what they use."""
    pages = [*sorted((ROOT / "docs").glob("*.rst")), *sorted((ROOT / "docs").glob("*.inc"))]
    parser = doctest.DocTestParser()
    tests = [parser.get_doctest(page.read_text(encoding="utf-8"), {}, page.name, str(page), 0) for page in pages]
    return [test for test in tests if test.examples]


def readme_snippets(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(test: doctest.DocTest) -> None:
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=report.append)
    assert result.failed == 0, "".join(report)


@pytest.mark.parametrize("test", docstring_examples(), ids=lambda test: test.name.removeprefix("phaseret."))
def test_docstring_example(test: doctest.DocTest) -> None:
    run(test)


@pytest.mark.parametrize("test", page_examples(), ids=lambda test: test.name)
def test_page_example(test: doctest.DocTest) -> None:
    run(test)


@pytest.mark.once
def test_readme_shows_how_to_start() -> None:
    scripts = [(ROOT / f"docs/start/{name}.py").read_text(encoding="utf-8") for name in ("network", "pattern")]
    assert readme_snippets("python") == scripts


@pytest.mark.once
@pytest.mark.parametrize("snippet", readme_snippets("sh"), ids=lambda snippet: snippet[:17])
def test_readme_commands(snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plt.imsave(tmp_path / "picture.png", pr.datasets.mnist()[0].numpy(), cmap="gray", vmin=0, vmax=1)
    for line in snippet.splitlines():
        command, *words = shlex.split(line, comments=True)
        assert command == "phaseret"
        assert main(words) == 0


@pytest.mark.parametrize("script", sorted((ROOT / "docs/start").glob("*.py")), ids=lambda script: script.stem)
def test_start(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = script.read_text(encoding="utf-8").replace("mnist()", "mnist()[:64]")  # a minute of training less
    exec(compile(code, str(script), "exec"), {"__name__": "start"})
    assert (tmp_path / f"{script.stem}.png").exists()


def messages() -> list[tuple[str, int, int, str]]:
    """The warnings and errors of the library: file, line, length of what is always said, page that they name."""
    found = []
    for path in sorted((ROOT / "src/phaseret").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in ("fail", "warn", "warn_once"):
                parts = [part for argument in node.args[:2] for part in ast.walk(argument)]
                texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
                pages = [word.value for word in node.keywords if word.arg == "page"]
                page = "".join(str(page.value) for page in pages if isinstance(page, ast.Constant))
                found.append((path.name, node.lineno, sum(map(len, texts)), page))
    return found


@pytest.mark.once
def test_messages_of_more_than_two_lines_name_a_page() -> None:
    assert len(messages()) > 300
    assert [message for message in messages() if message[2] > 200 and not message[3]] == []


@pytest.mark.once
@pytest.mark.parametrize("place", sorted({page for *_, page in messages() if page}))
def test_the_pages_that_messages_name_exist(place: str) -> None:
    page, _, section = place.partition("#")
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    sections = [
        re.sub("[^a-z0-9]+", "-", line.lower()).strip("-")
        for line, under in pairwise(lines)
        if under and set(under) <= set("=-")
    ]
    assert section in sections


@pytest.mark.once
def test_the_address_of_a_page_is_that_of_the_repository() -> None:
    metadata = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert DOCS.startswith(re.findall('^Repository = "(.+)"$', metadata, re.MULTILINE)[0])


@pytest.mark.once
def test_readme_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []
