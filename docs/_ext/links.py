"""Links in docstrings and pages: names of the library and of others, and what is cited."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import types
import typing
from pathlib import Path
from typing import Any

from docutils import nodes
from pages import places
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.typing import stringify_annotation

import phaseret

CITED = re.compile(r"(doi|arXiv):((?:[a-z-]+/)?\d[\w./()-]*[\w/])")
HERE = Path(__file__).parents[1]
REPOSITORY = "https://github.com/phaseret/phaseret"


@functools.cache
def bibliography() -> dict[str, str]:
    """The key of each entry of references.bib by its doi or arXiv number."""
    text = (HERE / "references.bib").read_text(encoding="utf-8")
    entries = re.findall(r"^@\w+\{([^,]+),(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    return {number: key for key, fields in entries for number in re.findall(r"(?:doi|eprint) = \{(.+?)\}", fields)}


def cite(text: str, where: str) -> str:
    """Each doi and arXiv number as a link to the paper and to its entry in the bibliography."""

    def link(match: re.Match[str]) -> str:
        place = {"doi": "https://doi.org/", "arXiv": "https://arxiv.org/abs/"}[match[1]] + match[2]
        if match[2] not in bibliography():
            logging.getLogger(__name__).warning("%s cites %s, which is not in references.bib", where, match[0])
            return match[0]
        return f"`{match[0]} <{place}>`__ :cite:p:`{bibliography()[match[2]]}`"

    return CITED.sub(link, text)


def cite_in_page(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = cite(source[0], name)


PYTHON = "https://docs.python.org/3/library/"
TORCH = "https://docs.pytorch.org/docs/stable/"
# Where the types and functions of others are explained. A list, since an inventory of each would have to be fetched.
EXTERNAL = {
    "collections.abc.Callable": PYTHON + "collections.abc.html#collections.abc.Callable",
    "collections.abc.Iterable": PYTHON + "collections.abc.html#collections.abc.Iterable",
    "collections.abc.Iterator": PYTHON + "collections.abc.html#collections.abc.Iterator",
    "collections.abc.Mapping": PYTHON + "collections.abc.html#collections.abc.Mapping",
    "collections.abc.Sequence": PYTHON + "collections.abc.html#collections.abc.Sequence",
    "os.PathLike": PYTHON + "os.html#os.PathLike",
    "pathlib.Path": PYTHON + "pathlib.html#pathlib.Path",
    "Tensor": TORCH + "tensors.html#torch.Tensor",
    "nn.Module": TORCH + "generated/torch.nn.Module.html",
    "torch.Generator": TORCH + "generated/torch.Generator.html",
    "torch.Tensor": TORCH + "tensors.html#torch.Tensor",
    "torch.Tensor.to": TORCH + "generated/torch.Tensor.to.html",
    "torch._C.Generator": TORCH + "generated/torch.Generator.html",
    "torch.device": TORCH + "tensor_attributes.html#torch.device",
    "torch.dtype": TORCH + "tensor_attributes.html#torch.dtype",
    "torch.fft": TORCH + "fft.html",
    "torch.func.grad": TORCH + "generated/torch.func.grad.html",
    "torch.nn.Module": TORCH + "generated/torch.nn.Module.html",
    "torch.nn.Parameter": TORCH + "generated/torch.nn.parameter.Parameter.html",
    "torch.nn.modules.module.Module": TORCH + "generated/torch.nn.Module.html",
    "torch.save": TORCH + "generated/torch.save.html",
    "torch.testing.assert_close": TORCH + "testing.html#torch.testing.assert_close",
    "torch.utils.data.dataset.Dataset": TORCH + "data.html#torch.utils.data.Dataset",
    "numpy.ndarray": "https://numpy.org/doc/stable/reference/generated/numpy.ndarray.html",
    "Figure": "https://matplotlib.org/stable/api/figure_api.html#matplotlib.figure.Figure",
    "matplotlib.figure.Figure": "https://matplotlib.org/stable/api/figure_api.html#matplotlib.figure.Figure",
    "hypothesis.strategies.SearchStrategy": "https://hypothesis.readthedocs.io/en/latest/",
}


def link_name(app: Sphinx, env: Any, node: Any, contents: Any) -> Any:
    """A public name needs no path in a docstring: `align` leads to phaseret.symmetry.align from everywhere."""
    target = node.get("reftarget", "").removeprefix("pr.").removeprefix("phaseret.")
    if target in EXTERNAL:
        return nodes.reference("", "", contents, internal=False, refuri=EXTERNAL[target])
    place = places().get(target) or f"phaseret.{target}"
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
        if formula is None and ":" in line:
            lines[number] = cite(lines[number], name)


@functools.cache
def aliases() -> dict[str, list[Any]]:
    """The names that the package gives to types, as `Domain` to the words of domains, and what they stand for."""
    found: dict[str, list[Any]] = {}
    for place, module in sorted(sys.modules.items()):
        for name, value in vars(module).items() if place.startswith("phaseret") else ():
            if typing.get_origin(value) in (typing.Literal, typing.Union, types.UnionType):
                found.setdefault(name, []).append(value)
    return found


def alternatives(text: str) -> list[str]:
    """The types of a union, written as ``A | B[C | D]``."""
    parts, depth = [""], 0
    for piece in re.split(r"([\[\]]| \| )", text):
        depth += (piece == "[") - (piece == "]")
        if piece == " | " and not depth:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def spell_types(app: Sphinx, what: str, name: str, obj: Any, *others: object) -> None:
    """Say what a type allows instead of its private name; texts stand last, since Sphinx links nothing behind them."""
    recorded = app.env.current_document.autodoc_annotations.get(name, {})
    inside = vars(sys.modules.get(getattr(obj, "__module__", None) or "", phaseret))

    def spelled(match: re.Match[str]) -> str:
        everywhere = [] if match[0] in places() else aliases()[match[0]]  # a class may have the name of a type
        stands_for = [value for value in aliases()[match[0]] if value is inside.get(match[0])] or everywhere
        one = stands_for and all(value == stands_for[0] for value in stands_for)
        return stringify_annotation(stands_for[0], "smart") if one else match[0]

    names = re.compile(rf"(?<![\w.])({'|'.join(aliases())})\b")
    for parameter, text in recorded.items():
        parts = sorted(alternatives(names.sub(spelled, text)), key=lambda part: "Literal[" in part[:16])
        recorded[parameter] = " | ".join(parts)


def source_of(domain: str, info: dict[str, str]) -> str | None:
    """Where the code of a name stands in the repository."""
    found: Any = sys.modules.get(info["module"])
    for part in info["fullname"].split("."):
        found = getattr(found, part, None)
    try:
        lines, first = inspect.getsourcelines(inspect.unwrap(found))
        path = Path(inspect.getsourcefile(inspect.unwrap(found)) or "").resolve()
        place = path.relative_to(Path(phaseret.__file__).resolve().parent)
    except (TypeError, OSError, ValueError):  # an attribute, or what another package wrote
        return None
    return f"{REPOSITORY}/blob/main/src/phaseret/{place.as_posix()}#L{first}-L{first + len(lines) - 1}"


def prepare_page(app: Sphinx, name: str, template: str, context: dict[str, Any], tree: object) -> None:
    """The sidebar shows the names of the module that is open; a page that is written from the library has no source."""
    if "toctree" in context:
        every = context["toctree"]
        context["toctree"] = lambda **options: every(**options | {"collapse": True})
    if name.startswith("api/"):
        context["page_source_suffix"] = ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the parts above."""
    app.connect("source-read", cite_in_page)
    app.connect("missing-reference", link_name)
    app.connect("html-page-context", prepare_page, priority=400)  # before the theme
    app.config.linkcode_resolve = source_of
    app.connect("autodoc-process-docstring", escape_symbols, priority=400)
    app.connect("autodoc-process-signature", spell_types, priority=600)  # after Sphinx has recorded them
    return {"parallel_read_safe": True}
