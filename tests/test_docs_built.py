"""The built documentation: no warning, a page for each public name, formulas as they were meant, links that lead on.

In a browser, where there is one: no complaint, no request, no page wider than a phone, a live figure that works.
"""

from __future__ import annotations

import html
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch

import phaseret as pr
from browser import Browser, executable

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs/_ext"))

from finding import WORDS  # noqa: E402
from formulas import built, faults, to_mathml  # noqa: E402

PUBLIC = [
    (name, item) for name in (*pr.__all__, "testing") for item in importlib.import_module(f"phaseret.{name}").__all__
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built anew where a warning is an error."""
    folder = tmp_path_factory.mktemp("docs")
    for part in ("docs", "examples", "experiments", "benchmarks", "results", "tools"):
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
def test_links_within_the_pages_lead_somewhere(pages: Path) -> None:
    texts = {page.resolve(): page.read_text(encoding="utf-8") for page in pages.rglob("*.html")}
    places = {page: {unquote(name) for name in re.findall(r'\bid="([^"]+)"', text)} for page, text in texts.items()}
    lost = set()
    for page, text in texts.items():
        for link in set(re.findall(r'<a [^>]*href="(?![a-z]+:)([^"]+)"', text)):
            path, _, place = unquote(html.unescape(link)).partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (place and place not in places.get(target, ())):
                lost.add((page.name, link))
    assert lost == set()


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


@pytest.mark.once
def test_names_of_functions_stand_apart_from_what_is_before_them() -> None:
    assert '</msup><mspace width="0.1667em"></mspace><mrow><mi>sin' in to_mathml(r"2^n \sin x", block=True)


@pytest.mark.once
def test_types_are_spelled_out_and_lead_on(pages: Path) -> None:
    page = (pages / "api/losses/passive_loss.html").read_text(encoding="utf-8")
    assert page.count("<em>Literal</em><em>[</em><em>'magnitude'</em>") == 2  # of the function and of the Module
    assert page.count('href="https://docs.python.org/3/library/collections.abc.html#collections.abc.Callable"') == 2
    assert "~" not in re.sub("<[^>]*>", "", page.split("<article")[1])


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
    names = [p for p in inspect.signature(documented).parameters if not p.startswith("_")]
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []
    for member, value in inspect.getmembers(documented) if inspect.isclass(documented) else []:
        own = inspect.isfunction(value) and value.__module__.startswith("phaseret")
        assert member.startswith("_") or not own or inspect.getdoc(value), member


# --- in a browser -----------------------------------------------------------------------------------------------------

LOOKS = [
    pytest.param(width, dark, id=f"{width}-{'dark' if dark else 'light'}") for width in (1300, 390) for dark in (0, 1)
]
FIGURE = "document.querySelector('form.live-figure')"
NAMED = f"{FIGURE}.elements"


@pytest.fixture(scope="module")
def browser(pages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if executable() is None:
        pytest.skip("no chromium or chrome is on the PATH: pages are not looked at")
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def figure(pages: Path, browser: Browser) -> Browser:
    """The page of the live figure."""
    browser.open((pages / "cannot_see.html").as_uri())
    return browser


def middle(browser: Browser, selector: str) -> tuple[float, float]:
    """Where the middle of an element is in the window, after it has been moved into sight."""
    box = f"document.querySelector('{selector}')"
    browser.ask(f"{box}.scrollIntoView({{behavior: 'instant', block: 'center'}})")
    x, y, width, height = browser.ask(
        f"(({{x, y, width, height}}) => [x, y, width, height])({box}.getBoundingClientRect())"
    )
    return x + width / 2, y + height / 2


@pytest.mark.once
@pytest.mark.parametrize(("width", "dark"), LOOKS)
@pytest.mark.parametrize("page", ["index", "cannot_see", "api/losses/passive_loss"])
def test_pages_fit_the_window_and_nothing_complains(
    pages: Path, browser: Browser, page: str, width: int, dark: bool
) -> None:
    browser.open((pages / f"{page}.html").as_uri(), width=width, dark=dark)
    wide, room = browser.ask("[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]")
    assert wide <= room == width
    red = browser.ask("Number(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0])")
    assert red < 60 if dark else red > 200
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []


# What a newcomer would type, and the page that answers.
ASKED = {
    "own network complex": "auto_gallery/own_network",
    "mask per sample": "auto_gallery/masks_in_a_loader",
    "train on own images": "auto_gallery/masks_in_a_loader",
    "lightning mixed precision": "auto_gallery/lightning_training",
    "property test": "auto_gallery/your_own_loss",
    "hypothesis invariance": "auto_gallery/your_own_loss",
    "3d shrinkwrap prtf": "cheatsheet",
    "cxi beamstop": "auto_gallery/file_to_file",
    "hio against network": "auto_gallery/network_and_solver",
    "deepinv": "auto_gallery/deepinv_loops",
    "pynx": "peers",
    "few photons": "auto_gallery/few_photons",
    "how many photons": "units",
    "background units": "units",
    "learned beta raar": "auto_gallery/unrolled",
    "oversampling ratio": "auto_gallery/sampling",
    "shrinkwrap schedule": "auto_gallery/schedules",
    "compare with truth aligned": "api/symmetry/align",
    "strain vti": "crystals",
    "resume interrupted": "long_runs",
    "checkpoint": "long_runs",
    "enter benchmark": "benchmark",
    "pretrained weights": "install",
    "partial coherence": "auto_gallery/partial_coherence",
    "prtf": "api/metrics/prtf",
    "troubleshoot": "wrong",
    "cite": "citation",
    "changelog": "changelog",
}


@pytest.mark.once
def test_one_search_finds_the_page_that_answers(pages: Path, browser: Browser) -> None:
    browser.open((pages / "search.html").as_uri())
    browser.wait("Search.hasIndex()")
    for words, answer in ASKED.items():
        asked = f"[...new Set(Search._performSearch(...Search._parseQuery('{words}')).reverse().map((hit) => hit[0]))]"
        found = browser.ask(f"{asked}.slice(0, 5)")
        assert answer in found, (words, found)


@pytest.mark.once
def test_every_page_that_has_words_exists(pages: Path) -> None:
    assert [page for page in WORDS if not (pages / f"{page}.html").exists()] == []


@pytest.mark.once
@pytest.mark.parametrize("word", ["superposition", "shrinkwrap", "install"])
def test_search_finds_words_without_a_server(pages: Path, browser: Browser, word: str) -> None:
    browser.open((pages / "search.html").as_uri() + f"?q={word}")
    browser.wait("document.querySelectorAll('#search-results li').length > 0")
    found = browser.ask("[...document.querySelectorAll('#search-results li a')].map((link) => link.pathname)")
    assert [path for path in found if not Path(unquote(path)).exists()] == []


@pytest.mark.once
@pytest.mark.parametrize("algorithm", ["ErrorReduction", "HIO", "RRR"])
def test_the_live_figure_computes_what_the_solvers_do(figure: Browser, algorithm: str) -> None:
    """Its mathematics is tested in tests/test_docs_figure.py; this is the browser's."""
    found = figure.ask(f"phaseretFigure.run({{algorithm: '{algorithm}', n: 25, seed: 1}})")
    intensity, start = (
        torch.tensor(found[name], dtype=torch.float64).reshape(64, 64) for name in ("intensity", "start")
    )
    known = {"support": torch.ones(32, 32) > 0, "constraint": "nonnegative", "starts": 1}
    result = getattr(pr.solvers, algorithm)(25)(intensity, **known, init=start)
    estimate = torch.tensor(found["estimate"], dtype=torch.float64).reshape(64, 64)[:32, :32]
    assert (estimate - result.obj).norm() < 1e-4 * result.obj.norm()


@pytest.mark.once
def test_the_pattern_stands_still_while_keys_move_the_object(figure: Browser) -> None:
    picture = f"{FIGURE}.querySelector('canvas.object').toDataURL()"
    before = figure.ask(picture)
    for control in ("down", "right", "phase"):
        figure.ask(f"{NAMED}.{control}.focus()")
        for _ in range(7):
            figure.press("ArrowRight")
    figure.ask(f"{NAMED}.flip.focus()")
    figure.press(" ")
    told = f"['down', 'right', 'phase'].map((name) => {NAMED}[name + '_value'].value)"
    assert figure.ask(told) == ["7 px", "7 px", "7°"]
    assert figure.ask(f"{NAMED}.flip.checked")
    assert figure.ask(picture) != before
    assert 0 < float(figure.ask(f"{NAMED}.change.value")) < 1e-12
    assert figure.ask(f"{NAMED}.verdict.value") == "the pattern stands still"
    figure.ask(f"{NAMED}.mirror.focus()")
    figure.press(" ")
    assert float(figure.ask(f"{NAMED}.change.value")) > 1e-3
    assert figure.ask(f"{NAMED}.verdict.value") == "another pattern"


@pytest.mark.once
def test_the_solver_runs_pauses_and_begins_anew(figure: Browser) -> None:
    status = f"{NAMED}.status.value"
    start = middle(figure, "button[name=run]")
    figure.drag([start])
    figure.wait(f"Number({status}.match(/[0-9]+/)) >= 10")
    figure.drag([start])
    paused = figure.ask(status)
    assert figure.ask(f"{NAMED}.run.textContent") == "Start"
    assert figure.ask(f"new Promise((done) => setTimeout(() => done({status}), 100))") == paused
    figure.drag([middle(figure, "button[name=step]")])
    assert figure.ask(status) != paused
    figure.drag([middle(figure, "button[name=again]")])
    assert figure.ask(status).startswith("Iteration 0:")
    figure.drag([middle(figure, "button[name=run]")])
    figure.wait(f"{NAMED}.run.textContent === 'Start'")  # it stops where the data are explained
    assert "It is the object above" in figure.ask(status)
    assert len(figure.ask(f"{FIGURE}.querySelector('polyline').getAttribute('points')").split()) > 50


@pytest.mark.once
@pytest.mark.parametrize("way", ["mouse", "touch", "keys"])
def test_an_object_can_be_drawn(pages: Path, browser: Browser, way: str) -> None:
    browser.open((pages / "cannot_see.html").as_uri(), width=390 if way == "touch" else 1300)
    browser.ask(f"{NAMED}.clear.click()")
    canvas = f"{FIGURE}.querySelector('canvas.object')"
    x, y = middle(browser, "canvas.object")
    assert browser.ask(f"{NAMED}.status.value") == "Draw something: there are no data."
    if way == "keys":
        browser.ask(f"{canvas}.focus()")
        for _ in range(8):
            browser.press("ArrowDown", shift=True)
        browser.ask(f"{canvas}.blur()")
    else:
        browser.drag([(x, y), (x + 15, y), (x + 15, y + 20)], touch=way == "touch")
    bright = (
        f"[...{canvas}.getContext('2d').getImageData(0, 0, 64, 64).data].filter((v, k) => k % 4 === 0 && v > 99).length"
    )
    assert browser.ask(bright) > 15
    assert browser.complaints == []


@pytest.mark.once
def test_the_brush_draws_where_the_pointer_is_wherever_the_object_was_moved(figure: Browser) -> None:
    figure.ask(f"{NAMED}.clear.click(), {NAMED}.flip.click(), {NAMED}.down.value = 28, {NAMED}.right.value = -20")
    x, y = middle(figure, "canvas.object")
    canvas = f"{FIGURE}.querySelector('canvas.object')"
    pixel = figure.ask(f"{canvas}.clientWidth") / 64
    figure.drag([(x + (column - 31.5) * pixel, y + (row - 31.5) * pixel) for row, column in ((62, 12), (62, 16))])
    seen = f"{canvas}.getContext('2d').getImageData(0, 0, 64, 64).data"
    bright = figure.ask(f"[...{seen}].flatMap((value, k) => (k % 4 === 0 && value > 200 ? [k / 4] : []))")
    assert {(k // 64, k % 64) for k in bright} >= {(62, column) for column in range(12, 17)}
    assert {k // 64 for k in bright} <= {60, 61, 62, 63}  # the brush is four pixels wide


@pytest.mark.once
def test_with_reduced_motion_there_are_few_pictures(pages: Path, browser: Browser) -> None:
    browser.open((pages / "cannot_see.html").as_uri(), still=True)
    shown = browser.ask(
        f"""new Promise((done) => {{
          const shown = new Set();
          const look = setInterval(() => shown.add({NAMED}.status.value.match(/[0-9]+/)[0]), 20);
          {NAMED}.run.click();
          setTimeout(() => (clearInterval(look), done([...shown])), 1500);
        }})"""
    )
    assert shown == ["0", "100"]


@pytest.mark.once
def test_a_picture_stands_for_the_live_figure_on_paper_and_without_a_script(pages: Path, browser: Browser) -> None:
    shown = f"[{FIGURE}, document.querySelector('.instead-of-live-figure')].map((part) => part.offsetHeight > 0)"
    browser.open((pages / "cannot_see.html").as_uri())
    assert browser.ask(shown) == [True, False]
    browser.open((pages / "cannot_see.html").as_uri(), media="print")
    assert browser.ask(shown) == [False, True]
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open((pages / "cannot_see.html").as_uri())
    assert browser.ask(shown) == [False, True]
    browser.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.once
def test_every_part_of_the_live_figure_says_what_it_is(figure: Browser) -> None:
    nodes = figure.call("Accessibility.getFullAXTree")["nodes"]
    parts = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    asked = {"slider": 3, "checkbox": 2, "combobox": 2, "spinbutton": 1, "application": 1}
    for role, count in asked.items():
        names = [name for found, name in parts if found == role]
        assert len([name for name in names if name.strip()]) >= count, (role, names)
    assert {"Start", "One step", "Reset", "Clear, to draw"} <= {name for role, name in parts if role == "button"}
    assert len([name for role, name in parts if role in ("image", "img") and name]) >= 3
