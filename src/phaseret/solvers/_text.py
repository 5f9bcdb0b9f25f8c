"""Schedules as text, read and written."""

from __future__ import annotations

import difflib
import inspect
import re
from typing import Any, NoReturn, TypeAlias

from torch import Tensor

from phaseret import _checks
from phaseret.solvers._algorithms import ALGORITHMS
from phaseret.solvers._loop import Step
from phaseret.solvers._support import Breed, Detwin, Shrinkwrap

# A step, or a number of repeats and what is repeated.
Part: TypeAlias = "Step | tuple[int, list[Part]]"

_WORDS: dict[str, type[Step]] = {**ALGORITHMS, "detwin": Detwin, "shrinkwrap": Shrinkwrap, "breed": Breed}
_WITHOUT_ITERATIONS = ("shrinkwrap", "breed")
# The words of other programs (PyNX, cohere, Hawk) and the names of the classes.
_FOREIGN = {
    **dict.fromkeys(("sup", "sw", "supportupdate", "support_update", "shrink_wrap", "threshold"), "shrinkwrap"),
    **dict.fromkeys(("gps", "gpsr"), "breed"),
    **dict.fromkeys(("detwinhio", "detwinraar", "twin", "detwin_hio"), "detwin"),
    **dict.fromkeys(("io", "hybrid", "fienup"), "hio"),
    **dict.fromkeys(("gs", "ap", "error_reduction"), "er"),
    **dict.fromkeys(("diff_map", "diffmap", "dr", "difference_map"), "dm"),
    **dict.fromkeys(("solvent_flip", "flip"), "sf"),
    "charge_flip": "cf",
    **{kind.__name__.lower(): word for word, kind in _WORDS.items() if kind.__name__.lower() != word},
}
_TOKEN = re.compile(r"\s*(?:([0-9]+\.?[0-9]*(?:e[+-]?[0-9]+)?|\.[0-9]+)|([a-z_]\w*)|'(\w*)'|\"(\w*)\"|(\S))", re.I)
_DIGITS, _DEPTH = 15, 50


class Parser:
    """Reads a schedule: ``item, item``, an item being ``[N *] (word [(option=value, ...)] [: N] | ( schedule ))``."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0
        found = [(m.start(m.lastindex or 0), m.group(m.lastindex or 0)) for m in _TOKEN.finditer(text)]
        self.tokens = [(position, token.lower()) for position, token in found] + [(len(text), "")]

    def schedule(self) -> list[Part]:
        """All of the text."""
        parts = self._items()
        if self._token:
            self._fail("a comma or an end", _SEPARATED)
        return parts

    @property
    def _token(self) -> str:
        return self.tokens[self.at][1]

    def _fail(self, expected: str, fix: str = "", at: int | None = None) -> NoReturn:
        rest = self.text[self.tokens[self.at if at is None else at][0] :]
        fix = fix or f"The words are {', '.join(_WORDS)}"
        _checks.fail(f"schedule {self.text!r} must have {expected} at {repr(rest) if rest else 'its end'}", fix)

    def _take(self, wanted: str) -> bool:
        """Whether the next token is the one wanted, which is then behind us."""
        if self._token != wanted:
            return False
        self.at += 1
        return True

    def _count(self, expected: str) -> int:
        token = self._token
        if not token.isdecimal() or not token.isascii() or len(token) > _DIGITS or int(token) < 1:
            fix = f"Write an integer from 1 on, of at most {_DIGITS} digits"
            self._fail(expected, fix)
        self.at += 1
        return int(token)

    def _items(self) -> list[Part]:
        parts = self._item()
        while self._take(","):
            parts += self._item()
        return parts

    def _item(self) -> list[Part]:
        token = self._token
        if token[:1].isdecimal():
            times = self._count("a positive number of repeats")
            if not self._take("*"):
                self._fail("a * after the number of repeats")
            return [(times, self._item())]
        if self._take("("):
            self.depth += 1
            if self.depth > _DEPTH:
                self._fail(f"at most {_DEPTH} brackets in one another", "Use fewer")
            inner = self._items()
            self.depth -= 1
            if not self._take(")"):
                self._fail("a )", _SEPARATED)
            return inner
        if token not in _WORDS:
            self._fail("a step", _meant(token))
        return [self._step(token)]

    def _step(self, word: str) -> Step:
        place = self.at
        self.at += 1
        options = self._options(word) if self._take("(") else {}
        counts = []
        if word not in _WITHOUT_ITERATIONS:
            if not self._take(":"):
                self._fail(f"a : and the number of iterations after {word}", self._colon(word, place))
            counts = [self._count("a positive number of iterations")]
        try:
            return _WORDS[word](*counts, **options)
        except (TypeError, ValueError) as error:
            rule, _, fix = str(error).partition(": ")[2].rstrip(".").partition(". ")
            self._fail(f"options that {word} takes ({rule})", fix, at=place)

    def _colon(self, word: str, place: int) -> str:
        """How to write an algorithm for which another program says HIO**50 or 50*HIO."""
        behind = re.match(r"[\s*=]*([0-9]+)", self.text[self.tokens[self.at][0] :])
        before = self.tokens[place - 2][1] if place > 1 and self.tokens[place - 1][1] == "*" else "50"
        return f"Write {word}:{behind.group(1) if behind else before}. {_SEPARATED}"

    def _options(self, word: str) -> dict[str, Any]:
        """``name=value, ...)``."""
        known = [name for name in inspect.signature(_WORDS[word]).parameters if name not in ("n_iter", "algorithm")]
        options: dict[str, Any] = {}
        while True:
            name = self._token
            if name not in known or name in options:
                near = difflib.get_close_matches(name, known, 1)
                fix = f"Did you mean {near[0]!r}?" if near else f"Its options are {', '.join(known) or 'none'}"
                self._fail(f"an option of {word}, each once,", fix)
            self.at += 1
            if not self._take("="):
                self._fail(f"a = and the value after {name}", f"Write {name}=1, for example")
            options[name] = self._value()
            if self._take(")"):
                return options
            if not self._take(","):
                self._fail("a comma or a ) after the value", "Write hio(beta=0.8):50, for example")

    def _value(self) -> Any:
        """A number, a word, or a pair of them in brackets."""
        if self._take("("):
            first = self._value()
            if not self._take(","):
                self._fail("a comma in the pair", "Write (0.75, 0.95), for example")
            second = self._value()
            if not self._take(")"):
                self._fail("a ) after the pair", "Write (0.75, 0.95), for example")
            return first, second
        sign = -1 if self._take("-") else 1
        token = self._token
        if token[:1].isdecimal() or token[:1] == ".":
            self.at += 1
            if token.isdecimal() and len(token) <= _DIGITS:
                return sign * int(token)
            return sign * float(token)
        if sign < 0 or not token[:1].isalpha():
            self._fail("a value", "Write a number, a word or a pair of numbers")
        self.at += 1
        return {"none": None, "true": True, "false": False}.get(token, token)


_SEPARATED = "Steps are separated by commas, and the first runs first"


def _meant(token: str) -> str:
    """What to write for a word of another program, or for one that is nearly a word; "" if it is neither."""
    name = token.rstrip("0123456789")
    digits, name = token[len(name) :], name.rstrip("_")
    word = name if name in _WORDS else _FOREIGN.get(name)
    if word is None:
        near = difflib.get_close_matches(token, _WORDS, 1)
        return f"Did you mean {near[0]!r}? The words are {', '.join(_WORDS)}" if near else ""
    return f"Write {word}" if word in _WITHOUT_ITERATIONS else f"Write {word}:{digits or 50}. {_SEPARATED}"


def class_meant(name: str) -> str | None:
    """What to use for a class or function of another program or version; None if it is unknown."""
    word = name.lower() if name.lower() in _WORDS else _FOREIGN.get(name.lower())
    if word is None:
        return None
    kind = _WORDS[word].__name__
    return f"Use {kind}(n_iter)(intensity, ...)" if word in ALGORITHMS else f"Use {kind} as a step of a Recipe"


def word_of(step: Step) -> str:
    """The text of one step."""
    word = next((word for word, kind in _WORDS.items() if type(step) is kind), None)
    own = {name: value for name, value in step.options.items() if name not in ("n_iter", "algorithm")}
    if word is not None and not any(isinstance(value, Tensor) for value in own.values()):
        known = inspect.signature(type(step)).parameters
        shown = ",".join(f"{name}={value}" for name, value in own.items() if value != known[name].default)
        text = word + (f"({shown})" if shown else "") + (f":{step.n_iter}" if step.n_iter else "")
        if repr(Parser(text).schedule()) == repr([step]):
            return text.replace(" ", "")
    _checks.fail(f"a step must be one that text can say, got {step!r}", "Pass the recipe itself")
