"""The floor plan that the documentation draws is that of the imports."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs/_ext"))

import floors  # noqa: E402

pytestmark = pytest.mark.once


def test_modules_import_from_lower_floors_alone() -> None:
    level = floors.levels()
    arrows = [(name, other) for name in level for other in floors.imported(name)]
    assert {("solvers", "projections"), ("losses", "operators"), ("cli", "io")} <= set(arrows)
    assert [arrow for arrow in arrows if level[arrow[0]] <= level[arrow[1]]] == []


def test_the_plan_holds_every_module_once_and_links_to_those_that_are_public() -> None:
    plan = floors.drawing("api/{}.html")
    names = re.findall(r"<text [^>]*>(\w+)</text>", plan)
    assert sorted(names) == sorted(floors.levels())
    assert set(re.findall(r'href="api/(\w+)\.html"', plan)) == {*floors.phaseret.__all__, "testing"}


def test_boxes_of_a_floor_do_not_overlap() -> None:
    boxes = re.findall(r'<rect x="(-?\d+)" y="(\d+)" width="(\d+)"', floors.drawing(""))
    spans = [(int(y), int(x), int(x) + int(width)) for x, y, width in boxes]
    for (row, _, end), (other, start, _) in zip(sorted(spans), sorted(spans)[1:], strict=False):
        assert row != other or end < start
    assert all(start >= 0 and end <= floors.WIDTH for _, start, end in spans)
