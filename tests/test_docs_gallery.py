"""The scripts of the gallery: each stands alone, runs without a warning and draws one picture."""

from __future__ import annotations

import ast
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs/_ext"))

from gallery import ORDER  # noqa: E402

SCRIPTS = sorted((ROOT / "docs/gallery").glob("*.py"))
# Those that take more than two seconds.
LONG = ("lightning_training", "masks_in_a_loader", "measured_logo", "own_network", "paper_in_a_loop", "your_own_loss")
MARKED = [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in LONG)) for path in SCRIPTS]


def run(path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of a script, with one figure open."""
    if path.stem == "deepinv_loops":
        pytest.importorskip("deepinv", reason="make test-deepinv installs it", exc_type=ImportError)
    monkeypatch.setattr(plt, "show", lambda: None)
    plt.close("all")
    names: dict[str, Any] = {"__name__": "__main__"}
    with warnings.catch_warnings():
        # Whether starts agree may hang on rounding. Lightning uses what torch no longer likes.
        warnings.filterwarnings("ignore", message=".*not unique")
        warnings.filterwarnings("ignore", message=".*`isinstance.treespec")
        warnings.filterwarnings("ignore", category=UserWarning, module="deepinv")
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    return names


@pytest.mark.once
@pytest.mark.parametrize("path", MARKED)
def test_a_script_draws_one_picture(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(path, monkeypatch)
    (number,) = plt.get_fignums()
    width, height = plt.figure(number).get_size_inches()
    assert width <= 5  # on a phone its letters are readable still
    assert height <= 5
    plt.close("all")


@pytest.mark.once
@pytest.mark.slow
def test_the_logo_is_simulated_where_it_is_not_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PHASERET_DATA_DIR", raising=False)
    monkeypatch.chdir(ROOT / "docs")
    names = run(ROOT / "docs/gallery/measured_logo.py", monkeypatch)
    assert names["path"].stem == "simulated"
    plt.close("all")


@pytest.mark.once
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_has_a_title_what_it_shows_what_to_look_at_and_little_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    title, line, about = (ast.get_docstring(ast.parse(text)) or "").split("\n", 2)
    assert set(line) == {"="}
    assert len(line) == len(title)
    assert about.strip()
    assert len(re.findall("^# %%", text, re.MULTILINE)) == 1
    body = text.split('"""', 2)[2]
    code = [line for line in body.splitlines() if line.strip() and not line.startswith(("#", "import", "from"))]
    assert 10 <= len(code) <= 60
    assert text.count("plt.show()") == 1


@pytest.mark.once
def test_the_order_names_every_script() -> None:
    assert sorted(ORDER) == [path.stem for path in SCRIPTS]
