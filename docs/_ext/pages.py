"""The pages that are written from the library itself; nothing is listed by hand.

- An overview of each public module, and a page for each name in its `__all__`, a function together with its Module.
- One page of the command, from its --help.
- One table per file of results/, one section per file of examples/.
- The leaderboard, from results/leaderboard.json and the docstrings of its protocols.
- What the fuzzers tried, from results/fuzz.json.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import io
import json
import os
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

import phaseret
from phaseret import cli, solvers, testing
from phaseret.cli._main import COMMANDS

os.environ["COLUMNS"] = "90"  # width of the command's help
HERE = Path(__file__).parents[1]
ROOT = HERE.parent
API = HERE / "api"


@functools.cache
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


@functools.cache
def public_objects() -> set[object]:
    """All that has an entry."""
    return {getattr(module, member) for module in public_modules() for member in module.__all__}


def entries(module: ModuleType) -> list[list[str]]:
    """The names of a module, a function together with its Module: each list is one page."""
    together: dict[str, list[str]] = {}
    for name in sorted(module.__all__, key=lambda name: (plain(name), name[0].isupper())):
        together.setdefault(plain(name), []).append(name)
    return list(together.values())


@functools.cache
def places() -> dict[str, str]:
    """Where each public name is, by the name alone."""
    return {name: f"{module.__name__}.{name}" for module in public_modules() for name in module.__all__}


def plain(name: str) -> str:
    return name.replace("_", "").lower()


def is_used_only(cls: type) -> bool:
    """Whether it is a step of a recipe, which users make and call: its methods are for those who write one."""
    return issubclass(cls, solvers.Step) and cls not in (solvers.Step, solvers.Algorithm)


def class_entry(name: str, cls: type) -> str:
    """The class with what it inherits, but not from classes that have an entry of their own or lie outside phaseret."""
    public = public_objects()
    known = [base for base in cls.__mro__[1:] if base in public or not base.__module__.startswith("phaseret.")]
    entry = f".. autoclass:: {name}\n"
    if not is_used_only(cls):
        entry += f"   :members:\n   :inherited-members: {','.join(b.__name__ for b in known)}\n"
    return entry + ("   :show-inheritance:\n\n" if public.intersection(cls.__mro__[1:]) else "\n")


def leave_out_private_bases(app: Sphinx, name: str, cls: type, options: object, bases: list[type]) -> None:
    """Show the nearest base that has an entry, where there is one."""
    public = public_objects()
    bases[:] = [base for base in cls.__mro__[1:] if base in public][:1]


def show_constructor(app: Sphinx, what: str, name: str, obj: type, options: object, *signature: str | None) -> Any:
    """The parameters of a class are those of its constructor; Sphinx would show those of an inherited `__new__`."""
    if what != "class" or signature[0] != "(*args, **options)":
        return None
    return stringify_signature(inspect.signature(obj), show_annotation=False, show_return_annotation=False), None


def entry_page(module: ModuleType, names: list[str]) -> str:
    """One name, or a function and below it its Module."""
    page = heading(" and ".join(names), "=") + f".. currentmodule:: {module.__name__}\n\n"
    for name in names:
        member = getattr(module, name)
        if inspect.isclass(member):
            page += class_entry(name, member)
            if issubclass(member, solvers.Algorithm):
                page += f"``{name}(...)(intensity, ...)`` runs it, with the options of `reconstruct`.\n\n"
        else:
            page += f".. auto{'function' if callable(member) else 'data'}:: {name}\n\n"
    return page


def module_pages(module: ModuleType) -> dict[str, str]:
    """The module's docstring with a table of its names, and a page for each entry."""
    place = module.__name__.removeprefix("phaseret.")
    pages = {f"{place}/{names[0]}.rst": entry_page(module, names) for names in entries(module)}
    rows = [
        [", ".join(f"`~{module.__name__}.{name}`" for name in names), first_sentence(getattr(module, names[0]))]
        for names in entries(module)
    ]
    page = heading(module.__name__, "=") + f".. automodule:: {module.__name__}\n   :no-members:\n\n"
    page += table(["name", "in one line"], rows)
    pages[f"{place}.rst"] = page + hidden_toctree(f"{place}/{names[0]}" for names in entries(module))
    return pages


def hidden_toctree(pages: Iterable[str]) -> str:
    return ".. toctree::\n   :hidden:\n\n" + "".join(f"   {page}\n" for page in pages)


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
    pages = {name: text for module in modules for name, text in module_pages(module).items()}
    places = [module.__name__.removeprefix("phaseret.") for module in modules]
    rows = [[f":doc:`phaseret.{place} <{place}>`", first_sentence(m)] for place, m in zip(places, modules, strict=True)]
    pages["index.rst"] = heading("Modules", "=") + table(["module", "what it is"], rows) + hidden_toctree(places)
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
    for old in set(API.rglob("*.rst")) - {API / name for name in pages}:
        old.unlink()
    for name, text in pages.items():
        (API / name).parent.mkdir(parents=True, exist_ok=True)
        if not (API / name).exists() or (API / name).read_text(encoding="utf-8") != text:
            (API / name).write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before Sphinx reads any."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-bases", leave_out_private_bases)
    app.connect("autodoc-process-signature", show_constructor)
    return {"parallel_read_safe": True}
