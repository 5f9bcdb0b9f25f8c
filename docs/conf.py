"""Sphinx configuration. Nothing is listed by hand and nothing is fetched.

- One page per public module, written from the module's `__all__` in the order of the floor plan.
- One page of the command, from its --help.
- One table per file of results/, one section per file of examples/.
- The leaderboard, from results/leaderboard.json and the docstrings of its protocols.
- What the fuzzers tried, from results/fuzz.json.
- Formulas become MathML with docutils' own converter, so that pages need no script from elsewhere.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import os
import re
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

import phaseret
from phaseret import cli, testing
from phaseret.cli._main import COMMANDS

os.environ["COLUMNS"] = "90"  # width of the command's help
HERE = Path(__file__).parent
ROOT = HERE.parent
API = HERE / "api"

project = "phaseret"
author = "The phaseret developers"
project_copyright = f"2026, {author}"
release = version = phaseret.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
default_role = "py:obj"

html_theme = "furo"
html_title = f"phaseret {release}"
html_math_renderer = "mathml"
html_show_sphinx = False

autodoc_default_options = {"exclude-members": "extra_repr"}
autodoc_inherit_docstrings = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Shape", "Source"]


# --- pages of modules ------------------------------------------------------------------------------------------------


def public_modules() -> list[ModuleType]:
    """Public modules in the order of the floor plan in the package's docstring, from the bottom up."""
    rows = re.findall(r"^ {4}\d  (.+)$", phaseret.__doc__ or "", re.MULTILINE)
    names = [name for row in reversed(rows) for name in row.split()]
    found = {name: getattr(phaseret, name) for name in phaseret.__all__} | {"testing": testing}
    return [found[name] for name in names if isinstance(found.get(name), ModuleType)]


def first_sentence(documented: object) -> str:
    return " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split())


def heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n\n"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A reStructuredText table of one-line cells."""
    lines = ["   * - " + "\n     - ".join(cell or "\\" for cell in row) for row in [header, *rows]]
    return ".. list-table::\n   :header-rows: 1\n\n" + "\n".join(lines) + "\n\n"


def public_objects() -> set[object]:
    """All that has an entry."""
    values = (getattr(module, member) for module in public_modules() for member in module.__all__)
    return {value for value in values if callable(value)}


def class_entry(name: str, cls: type) -> str:
    """The class with what it inherits, but not from classes that have an entry of their own or lie outside phaseret."""
    public = public_objects()
    known = [base for base in cls.__mro__[1:] if base in public or not base.__module__.startswith("phaseret.")]
    entry = f".. autoclass:: {name}\n   :members:\n   :inherited-members: {','.join(b.__name__ for b in known)}\n"
    return entry + ("   :show-inheritance:\n\n" if public.intersection(cls.__mro__[1:]) else "\n")


def leave_out_private_bases(app: Sphinx, name: str, cls: type, options: object, bases: list[type]) -> None:
    """Show the nearest base that has an entry, where there is one."""
    public = public_objects()
    bases[:] = [base for base in cls.__mro__[1:] if base in public][:1]


def module_page(module: ModuleType) -> str:
    """The module's docstring, a table of its names, then every name in full; a function stands before its Module."""
    members = {name: getattr(module, name) for name in module.__all__}
    order = sorted(members, key=lambda name: (name.replace("_", "").lower(), name[0].isupper()))
    entries = [[f"`{name}`", first_sentence(members[name])] for name in order if callable(members[name])]
    page = heading(module.__name__, "=") + f".. automodule:: {module.__name__}\n   :no-members:\n\n"
    page += f".. currentmodule:: {module.__name__}\n\n" + table(["name", "in one line"], entries)
    for name in order:
        if inspect.isclass(members[name]):
            page += class_entry(name, members[name])
        else:
            # What a value is, says the module: its own docstring is that of its type.
            page += f".. {'autofunction' if callable(members[name]) else 'py:data'}:: {name}\n\n"
    return page


def command_page() -> str:
    """The command's docstring, then the help of the command and of each of its commands."""
    texts = {"phaseret": command_help()}
    for name in COMMANDS:
        texts[f"phaseret {name}"] = command_help(name)
    page = heading("The phaseret command", "=") + (inspect.getdoc(cli) or "") + "\n\n"
    for name, text in texts.items():
        page += heading(name, "-") + ".. code-block:: text\n\n" + textwrap.indent(text, "   ") + "\n"
    return page


def command_help(*words: str) -> str:
    """What ``phaseret WORDS --help`` prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        cli.main([*words, "--help"])
    return printed.getvalue()


# --- results and examples --------------------------------------------------------------------------------------------


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


def results_section(path: Path) -> str:
    """Command, hardware, figure if there is one, and rows of one file of results/."""
    result = json.loads(path.read_text(encoding="utf-8"))
    columns = list(dict.fromkeys(key for row in result["rows"] for key in row))
    rows = [[cell(row.get(key)) for key in columns] for row in result["rows"]]
    about = f"``{result['command']}`` at commit {result['commit']}; {cell(result['hardware'])}\n\n"
    if path.with_suffix(".png").exists():
        about += f".. image:: ../../results/{path.stem}.png\n   :alt: the table below as a figure\n\n"
    return (
        heading(path.stem.replace("_", " "), "-")
        + about
        + table([cell(column.replace("_", " ")) for column in columns], rows)
    )


def docstring(path: Path) -> str:
    """What a Python file says of itself, without running it."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem


# What every row of the leaderboard has, and the heading of its column.
SCORES = {
    "kind": "kind",
    "runs": "runs",
    "raw_psnr": "raw PSNR",
    "aligned_psnr": "aligned PSNR",
    "best_by_residual_psnr": "PSNR, best by residual",
    "best_by_oracle_psnr": "PSNR, best by oracle",
    "aligned_mse": "aligned MSE",
    "best_by_residual_mse": "MSE, best by residual",
    "aligned_ssim": "aligned SSIM",
    "success_percent": "solved (%)",
    "relative_magnitude_error": "magnitude error",
    "seconds_per_image": "s per image",
}


def leaderboard_page() -> str:
    """Each protocol of the leaderboard: what it is, a figure, the scores, and whatever else its rows tell."""
    path = ROOT / "results/leaderboard.json"
    board = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"protocols": {}}
    page = heading("Leaderboard", "=") + (HERE / "leaderboard.inc").read_text(encoding="utf-8") + "\n"
    for name, about in board["protocols"].items():
        rows = [row for row in board["rows"] if row["protocol"] == name]
        others = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in (*SCORES, "protocol")]
        # What tells the rows apart stands beside the system; what only some rows have, in a table of its own.
        told = [key for key in others if all(key in row for row in rows) and len({str(row[key]) for row in rows}) > 1]
        some = [key for key in others if not all(key in row for row in rows)]
        page += heading(name, "-") + docstring(ROOT / f"experiments/zoo/{name}.py") + "\n\n"
        page += f"``{about['command']}`` at commit {about['commit']}; {cell(about['hardware'])}; "
        page += f"{cell(about['budget'])}\n\n.. image:: ../../results/leaderboard_{name}.png\n"
        page += f"   :alt: estimates of the systems of {name}\n\n"
        for columns in ([*told, *SCORES], [*told, *some]):
            shown = [row for row in rows if columns[-1] in SCORES or any(key in row for key in some)]
            titles = [SCORES.get(key, key.replace("_", " ")) for key in columns]
            page += table(titles, [[cell(row.get(key)) for key in columns] for row in shown]) if shown else ""
    return page


def robustness_page() -> str:
    """What the fuzzers tried, and what became of it."""
    result = json.loads((ROOT / "results/fuzz.json").read_text(encoding="utf-8"))
    rows = result["rows"]
    keys = ("inputs", "seconds", "kills", "mended", "findings")
    inputs, seconds, kills, mended, findings = (sum(row.get(key, 0) for row in rows) for key in keys)
    page = heading("What it has been through", "=") + (HERE / "robustness.inc").read_text(encoding="utf-8")
    page += f"\n{inputs:,} inputs in {seconds / 60:.0f} minutes of the processor. Findings that are not mended: "
    page += f"{findings}; inputs that once were findings, mended and kept: {mended}. {kills:,} kills: "
    page += ", ".join(f"{row['kills']} of {row['about']}" for row in rows if row["kills"]) + ".\n\n"
    page += f"``{result['command']}``; {cell(result['hardware'])}\n\n"
    columns = ["target", "about", "runs", "inputs", "accepted", "refused", "busy", "kills"]
    columns += ["seconds", "findings", "mended", "commits"]
    return page + table(columns, [[cell(row.get(key)) for key in columns] for row in rows])


def example_section(path: Path) -> str:
    """Name and first line of an example as its title, then the file."""
    title = f"{path.name}: {docstring(path).splitlines()[0].rstrip('.')}"
    return heading(title, "-") + f".. literalinclude:: ../../examples/{path.name}\n\n"


def write_pages(app: Sphinx) -> None:
    """Write everything under docs/api."""
    modules = public_modules()
    pages = {f"{module.__name__.removeprefix('phaseret.')}.rst": module_page(module) for module in modules}
    entries = [
        [f":doc:`{module.__name__} <{page.removesuffix('.rst')}>`", first_sentence(module)]
        for module, page in zip(modules, pages, strict=True)
    ]
    toctree = ".. toctree::\n   :hidden:\n\n" + "".join(f"   {page.removesuffix('.rst')}\n" for page in pages)
    pages["index.rst"] = heading("Modules", "=") + table(["module", "what it is"], entries) + toctree
    pages["command.rst"] = command_page()
    pages["results.rst"] = heading("Measured results", "=") + (HERE / "results.inc").read_text(encoding="utf-8")
    results = sorted((ROOT / "results").glob("*.json"))
    pages["results.rst"] += "\n" + "".join(
        results_section(path) for path in results if path.stem not in ("leaderboard", "fuzz")
    )
    pages["leaderboard.rst"] = leaderboard_page()
    pages["robustness.rst"] = robustness_page()
    pages["examples.rst"] = heading("Examples", "=") + (HERE / "examples.inc").read_text(encoding="utf-8") + "\n"
    pages["examples.rst"] += "".join(map(example_section, sorted((ROOT / "examples").glob("*.py"))))
    API.mkdir(exist_ok=True)
    for old in set(API.glob("*.rst")) - {API / name for name in pages}:
        old.unlink()
    for name, text in pages.items():
        if not (API / name).exists() or (API / name).read_text(encoding="utf-8") != text:
            (API / name).write_text(text, encoding="utf-8")


# --- docstrings and formulas -----------------------------------------------------------------------------------------


def link_public_name(app: Sphinx, env: Any, node: Any, contents: Any) -> Any:
    """A public name needs no path in a docstring: `align` leads to phaseret.symmetry.align from everywhere."""
    places = {name: f"{module.__name__}.{name}" for module in public_modules() for name in module.__all__}
    target = node.get("reftarget", "").removeprefix("pr.").removeprefix("phaseret.")
    place = places.get(target) or f"phaseret.{target}"
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", place, node, contents)


def escape_symbols(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """A single star or bar is itself, as in (*, n1, n2) or a modulus: escape it outside code, formulas, grid tables."""
    code_or_symbol = re.compile(r"(``.*?``|`.*?`|\*\*)|(?<!\\)([*|])")
    formula = None  # indentation of the math directive that the line belongs to
    for number, line in enumerate(lines):
        indentation = len(line) - len(line.lstrip())
        if line.lstrip().startswith(".. math::"):
            formula = indentation
        elif line and formula is not None and indentation <= formula:
            formula = None
        if formula is None and not line.lstrip().startswith((">>>", "...", "+-", "|", "* ")):
            lines[number] = code_or_symbol.sub(lambda match: match[1] or "\\" + match[2], line)


def to_mathml(latex: str, as_block: bool) -> str:
    """MathML of a formula. The converter lacks \\big, the browser's business, and \\dots, which is \\ldots."""
    known = re.sub(r"\\dots(?![A-Za-z])", r"\\ldots", re.sub(r"\\[Bb]igg?[lrm]?(?![A-Za-z])", "", latex))
    try:
        return latex2mathml.tex2mathml(known, as_block=as_block)
    except MathError as error:
        logging.getLogger(__name__).warning("formula %r: %s", latex, error)
        return f"<code>{latex}</code>"


def visit_math(translator: Any, node: nodes.math) -> None:
    translator.body.append(to_mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def visit_math_block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{to_mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Connect the parts above."""
    app.connect("builder-inited", write_pages)
    app.connect("missing-reference", link_public_name)
    app.connect("autodoc-process-bases", leave_out_private_bases)
    app.connect("autodoc-process-docstring", escape_symbols, priority=400)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
