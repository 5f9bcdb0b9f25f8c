"""Formulas: LaTeX to MathML with the converter Temml, kept in the folder temml, so that pages need no script.

Sphinx loads this file as an extension. By itself it draws all formulas of a built documentation on one sheet, to look
at, and says which look wrong: ``python docs/_ext/formulas.py docs/_build/html`` writes formulas.html there.
"""

from __future__ import annotations

import atexit
import functools
import html
import re
import sys
from pathlib import Path
from typing import Any

MATH = re.compile(r"<math.*?</math>", re.DOTALL)
COMMANDS = (
    "frac|sqrt|sum|prod|hat|bar|cdot|dots|left|right|min|max|log|exp|sin|cos|text|quad|mathrm|begin|end|alpha|beta"
)


@functools.cache
def converter() -> Any:
    """Temml in an engine for JavaScript."""
    from py_mini_racer import MiniRacer

    engine = MiniRacer()
    atexit.register(engine.close)  # left to the end of the interpreter it would wait for ever
    engine.eval((Path(__file__).parent / "temml/temml.min.js").read_text(encoding="utf-8"))
    return engine


@functools.cache
def to_mathml(latex: str, block: bool) -> str:
    """MathML of a formula, with its LaTeX as the text that is copied and read aloud."""
    written = str(converter().call("temml.renderToString", latex, {"displayMode": block, "throwOnError": True}))
    # What Temml leaves out: the thin space of TeX between what is complete and the name of a function.
    complete = r"(</mrow>|</msup>|</msub>|</msubsup>|</mstyle>)(<mrow><mi>[a-zA-Z]{2,}</mi><mo>\u2061)"
    written = re.sub(complete, r'\1<mspace width="0.1667em"></mspace>\2', written)
    return written.replace("<math", f'<math alttext="{html.escape(latex)}"', 1)


def faults(mathml: str) -> list[str]:
    """What a built formula shows that no author meant."""
    latex = html.unescape(re.findall(r'alttext="(.*?)"', mathml, re.DOTALL)[0])
    words = "".join(letter if len(letter) == 1 else " " for letter in one_by_one(mathml))
    found = [f"the letters of {word!r} stand one by one" for word in re.findall(COMMANDS, words)]
    rows = re.search(r"\\begin\{(cases|matrix|pmatrix|aligned)\}", latex)
    if re.search(r"\\\\[A-Za-z]", latex) or ("\\\\" in latex and not rows):
        found.append("a doubled backslash, which breaks the line")
    found += [f"{command} without braces" for command in re.findall(r"\\[dt]?frac(?:(?!\{)|\{[^{}]*\}(?!\{))", latex)]
    for brace in re.findall(r"<mo[^>]*>\{</mo>", mathml):
        if 'stretchy="false"' in brace:
            found.append("a brace that does not stretch")
    if "<merror" in mathml or "tml-error" in mathml:
        found.append("an error of the converter")
    return found


def one_by_one(mathml: str) -> list[str]:
    """What each element of a formula says, a space for all that is no identifier."""
    return [text if tag == "mi" else " " for tag, text in re.findall(r"<(m[a-z]+)[^>]*>([^<]*)", mathml)]


def built(folder: Path) -> dict[str, list[str]]:
    """The formulas of each page of a built documentation."""
    pages = {path: MATH.findall(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    return {path.relative_to(folder).as_posix(): found for path, found in pages.items() if found}


def sheet(folder: Path) -> str:
    """A page of all formulas, each once, with the page it stands on and what looks wrong."""
    first: dict[str, str] = {}
    for page, formulas in built(folder).items():
        for formula in formulas:
            first.setdefault(formula, page)
    rows = [
        f'<tr><td><a href="{page}">{page}</a></td><td>{formula}</td><td>{"; ".join(faults(formula))}</td></tr>'
        for formula, page in first.items()
    ]
    style = '<meta charset="utf-8"><link rel="stylesheet" href="_static/formulas.css">'
    return f"<!doctype html>{style}<title>Formulas</title><table>{''.join(rows)}</table>"


def visit(translator: Any, node: Any, block: bool) -> None:
    """Write a formula into a page; a formula that cannot be read is a warning of Sphinx."""
    from docutils import nodes
    from py_mini_racer import JSEvalException
    from sphinx.util import logging

    try:
        written = to_mathml(node.astext(), block)
    except JSEvalException as error:
        reason = str(error).splitlines()[0][:200]
        logging.getLogger(__name__).warning("formula %r: %s", node.astext(), reason, location=node)
        raise nodes.SkipNode from error
    translator.body.append(f'<div class="math">{written}</div>' if block else written)
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Connect the parts above with Sphinx."""
    inline, block = (functools.partial(visit, block=block) for block in (False, True))
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.add_css_file("formulas.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    target = Path(sys.argv[1]) / "formulas.html"
    target.write_text(sheet(Path(sys.argv[1])), encoding="utf-8")
    print(target)
