"""What the pages that are written at build time are made of: headings, tables, cells."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n\n"


def table(header: list[str], rows: list[list[str]], *, sortable: bool = False) -> str:
    """A reStructuredText table of one-line cells; a sortable one keeps its first column in sight (tables.js, .css)."""
    options = "   :header-rows: 1\n" + ("   :stub-columns: 1\n   :class: sortable\n" if sortable else "")
    lines = ["   * - " + "\n     - ".join(cell or "\\" for cell in row) for row in [header, *rows]]
    return f".. list-table::\n{options}\n" + "\n".join(lines) + "\n\n"


def hidden_toctree(pages: Iterable[str]) -> str:
    return ".. toctree::\n   :hidden:\n\n" + "".join(f"   {page}\n" for page in pages)


def cell(value: Any) -> str:
    """One value for the reader: four digits of a float, 64 x 64 for a shape."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(inner)}" for key, inner in value.items() if inner is not None)
    if isinstance(value, list):
        return (" x " if all(isinstance(inner, int) for inner in value) else ", ").join(map(cell, value))
    text = "" if value is None else " ".join(str(value).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*")


def docstring(path: Path) -> str:
    """What a Python file says of itself, without running it."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem
