"""The pages that are written from the library itself; nothing is listed by hand.

- An overview of each public module, and a page for each name in its `__all__`, a function together with its Module.
- One page of the command, from its --help.
- One section per file of examples/.
- Those of measured.py, from results/.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import os
import re
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import measured
from rst import docstring, heading, hidden_toctree, table
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


@functools.cache
def public_objects() -> set[object]:
    """All that has an entry."""
    values = (getattr(module, member) for module in public_modules() for member in module.__all__)
    return {value for value in values if callable(value)}


def entries(module: ModuleType) -> list[list[str]]:
    """The functions and classes of a module, a function together with its Module: each list is one page."""
    together: dict[str, list[str]] = {}
    callables = [name for name in module.__all__ if callable(getattr(module, name))]
    for name in sorted(callables, key=lambda name: (plain(name), name[0].isupper())):
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
            page += f".. autofunction:: {name}\n\n"
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
    page += table(["name", "in one line"], rows) + f".. currentmodule:: {module.__name__}\n\n"
    # What a value is, says the module.
    values = sorted(name for name in module.__all__ if not callable(getattr(module, name)))
    page += "".join(f".. py:data:: {name}\n\n" for name in values)
    pages[f"{place}.rst"] = page + hidden_toctree(f"{place}/{names[0]}" for names in entries(module))
    return pages


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


# --- examples -------------------------------------------------------------------------------------------------------


def example_section(path: Path) -> str:
    """Name and first line of an example as its title, then the file, folded."""
    title = f"{path.name}: {docstring(path).splitlines()[0].rstrip('.')}"
    folded = f".. dropdown:: {path.name}\n\n   .. literalinclude:: ../../examples/{path.name}\n\n"
    return heading(title, "-") + folded


def write_pages(app: Sphinx) -> None:
    """Write everything under docs/api."""
    modules = public_modules()
    pages = {name: text for module in modules for name, text in module_pages(module).items()}
    places = [module.__name__.removeprefix("phaseret.") for module in modules]
    rows = [[f":doc:`phaseret.{place} <{place}>`", first_sentence(m)] for place, m in zip(places, modules, strict=True)]
    pages["index.rst"] = heading("Modules", "=") + table(["module", "what it is"], rows) + hidden_toctree(places)
    pages["command.rst"] = command_page()
    pages |= measured.pages()
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
