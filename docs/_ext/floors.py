"""The floor plan of the package, drawn from what its files import: the directive `floorplan`."""

from __future__ import annotations

import ast
import html
import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

import phaseret

PACKAGE = Path(phaseret.__file__).parent
# What all others stand on; arrows to it would hide the rest.
GROUND = 2
WIDTH, ROW, BOX = 470, 62, 24


def levels() -> dict[str, int]:
    """The level of each module, from the docstring of the package."""
    rows = re.findall(r"^ {4}(\d)  (.+)$", phaseret.__doc__ or "", re.MULTILINE)
    return {name: int(level) for level, names in rows for name in names.split()}


def imported(name: str) -> set[str]:
    """The modules that any file of a module imports."""
    files = [PACKAGE / f"{name}.py"] if (PACKAGE / f"{name}.py").exists() else sorted((PACKAGE / name).rglob("*.py"))
    found = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "phaseret":
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("phaseret."):
                found.add(str(node.module).split(".")[1])
    return found & set(levels()) - {name}


def drawing(link: str) -> str:
    """The plan as SVG, the highest level on top; `link` leads to the page of a module."""
    level = levels()
    rows = {floor: [name for name in level if level[name] == floor] for floor in sorted(set(level.values()))}
    top = max(rows)
    place = {}
    for floor, names in rows.items():
        for number, name in enumerate(names):
            place[name] = ((number + 0.5) * WIDTH / len(names), (top - floor) * ROW + BOX)
    lines, boxes = [], []
    for name, (x, y) in place.items():
        below = imported(name)
        for other in sorted(below):
            if level[other] > GROUND:
                to, under = place[other]
                lines.append(f'<path d="M{x:.0f} {y + BOX / 2:.0f} L{to:.0f} {under - BOX / 2:.0f}"/>')
        told = html.escape(f"{name} imports {', '.join(sorted(below, key=lambda n: -level[n])) or 'nothing'}")
        width = 7 * len(name) + 9
        box = f'<rect x="{x - width / 2:.0f}" y="{y - BOX / 2:.0f}" width="{width}" height="{BOX}" rx="4"/>'
        box = f'<g><title>{told}</title>{box}<text x="{x:.0f}" y="{y + 4:.0f}">{name}</text></g>'
        public = name in phaseret.__all__ or name == "testing"
        boxes.append(f'<a href="{link.format(name)}">{box}</a>' if public else box)
    size = f'viewBox="0 0 {WIDTH} {top * ROW + 2 * BOX}"'
    label = "modules of phaseret in levels, with a line to each module of a lower level that they import"
    return f'<svg class="floors" {size} role="img" aria-label="{label}">{"".join(lines)}{"".join(boxes)}</svg>'


class FloorPlan(Directive):
    """The drawing, with links to the pages of the modules."""

    def run(self) -> list[nodes.Node]:
        return [nodes.raw("", drawing("api/{}.html"), format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("floorplan", FloorPlan)
    app.add_css_file("floors.css")
    return {"parallel_read_safe": True}
