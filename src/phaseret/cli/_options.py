"""How options are declared: each once, as a field of the command, or of the step of it that needs the option."""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

# How options are shown that name files and folders.
_FILES = re.compile(r"\b(FILE|FOLDER|IMAGE|A|B)\b")
# The largest integer that 64 bits hold, and the largest number in single precision.
_LARGEST, _SINGLE = 2**63 - 1, 3.4028234e38


def option(help: str, *names: str, default: Any = None, **settings: Any) -> Any:
    """A field that is an option: its flag is its name, unless `names` are given; its settings are those of argparse.

    A `heading` stands above it and those that follow.
    """
    return dataclasses.field(default=default, metadata={"help": help, "names": names, "default": default, **settings})


def switch(help: str) -> Any:
    """A field that is an option without a value."""
    return option(help, default=False, action="store_true")


def _declared(command: type[Any]) -> Iterator[tuple[str, tuple[str, ...], dict[str, Any]]]:
    """Each field that is an option: its name, how it is typed, its settings."""
    for field in (field for field in dataclasses.fields(command) if field.metadata):
        settings = dict(field.metadata)
        yield field.name, settings.pop("names") or (f"--{field.name.replace('_', '-')}",), settings


def flags(command: type[Any]) -> dict[str, str]:
    """The flag of each option."""
    return {name: names[-1] for name, names, _ in _declared(command) if names[-1].startswith("-")}


def spellings(command: type[Any]) -> Iterator[str]:
    """All ways to type an option."""
    for _, names, _ in _declared(command):
        yield from (name for name in names if name.startswith("-"))


def valued(command: type[Any]) -> Iterator[str]:
    """The flags that take a value."""
    for _, names, settings in _declared(command):
        if settings.get("action") is None:
            yield from (name for name in names if name.startswith("-"))


def add_options(parser: argparse.ArgumentParser, command: type[Any]) -> None:
    """Add those of the command."""
    add = parser.add_argument
    for _, names, settings in _declared(command):
        if heading := settings.pop("heading", None):
            add = parser.add_argument_group(heading).add_argument
        if _FILES.search(settings.get("metavar", "")):
            settings.setdefault("type", named)
        add(*names, **settings)


def chosen(command: type[Any], options: argparse.Namespace) -> Any:
    """The command as it was typed."""
    return command(**{name: getattr(options, name) for name, _, _ in _declared(command)})


def named(text: str) -> str:
    """The name of a file or a folder; a variable that a script has not set is none."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"must name a file or a folder, got {text!r}")
    return text


def whole(text: str) -> int:
    """A whole number that 64 bits hold."""
    try:
        value = int(text)
    except ValueError:  # of a text, or of one of thousands of digits
        value = _LARGEST + 1
    if abs(value) > _LARGEST:
        raise argparse.ArgumentTypeError(f"must be a whole number of at most {_LARGEST}, got {text!r}")
    return value


def number(text: str) -> float:
    """A number that single precision holds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= _SINGLE:
        raise argparse.ArgumentTypeError(f"must be a number of at most {_SINGLE:.3g} in size, got {text!r}")
    return value


def level(text: str) -> float:
    """A number, or inf for none."""
    return math.inf if text.strip() == "inf" else number(text)


def sizes(text: str) -> tuple[int, ...]:
    """N,M"""
    try:
        return tuple(whole(part) for part in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"must be whole numbers such as 64,64, got {text!r}") from None


def blocks(text: str) -> int | tuple[int, ...]:
    """K or K,L,M"""
    return sizes(text) if "," in text else whole(text)


def limits(text: str) -> tuple[float, float]:
    """LOW,HIGH"""
    try:
        low, high = (number(part) for part in text.split(","))
    except (argparse.ArgumentTypeError, ValueError):
        raise argparse.ArgumentTypeError(f"must be two numbers such as 0,1, got {text!r}") from None
    return low, high


def place(text: str) -> str | tuple[int, ...]:
    """Y,X, "middle" or "corner"."""
    try:
        return text if text in ("middle", "corner") else sizes(text)
    except argparse.ArgumentTypeError:
        more = ", and one between pixels is found where it is left out" if "." in text else ""
        raise argparse.ArgumentTypeError(
            f"must be middle, corner or a pixel such as 64,64{more}, got {text!r}"
        ) from None


def part(text: str) -> int | slice | list[int]:
    """3, 0:10 or 0,1,3"""
    try:
        if ":" in text:
            first, last = (whole(word) if word else None for word in text.split(":"))
            return slice(first, last)
        numbers = [whole(word) for word in text.split(",")]
    except (argparse.ArgumentTypeError, ValueError):
        raise argparse.ArgumentTypeError(f"must be a number, a range 0:10 or a list 0,1,3, got {text!r}") from None
    return numbers if "," in text else numbers[0]


def region(text: str) -> tuple[tuple[int | None, int | None], ...]:
    """Y0:Y1,X0:X1"""
    parts = [part(word) for word in text.split(",") if ":" in word]
    if len(parts) != len(text.split(",")):
        raise argparse.ArgumentTypeError(f"must be ranges such as 100:612,0:512, got {text!r}")
    return tuple((one.start, one.stop) for one in parts if isinstance(one, slice))


def joined(words: Sequence[str], takes_value: Collection[str]) -> list[str]:
    """The words typed, a negative number joined to the option before it, for which it would be taken: --bounds=-1,1."""
    found: list[str] = []
    for word in words:
        if found and found[-1] in takes_value and re.match(r"-(\.?\d|inf\b)", word):
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found
