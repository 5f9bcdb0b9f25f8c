"""How options are declared, and how each part of a command takes those that it needs."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any, TypeVar

Chosen = TypeVar("Chosen")


class Options:
    """Collects the options of a command, under headings, and the flag of each by its name."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser, self.flags = parser, dict[str, str]()
        self._add = parser.add_argument

    def heading(self, title: str) -> None:
        """What is added from here on stands under this title."""
        self._add = self.parser.add_argument_group(title).add_argument

    def add(self, *names: str, **settings: Any) -> None:
        """Add one, as `argparse.ArgumentParser.add_argument`."""
        action = self._add(*names, **settings)
        if names[0].startswith("-"):
            self.flags[action.dest] = names[-1]


def chosen(part: type[Chosen], options: argparse.Namespace) -> Chosen:
    """A part of a command, a dataclass, with the options that its fields name."""
    names = [field.name for field in dataclasses.fields(part)]  # type: ignore[arg-type]
    return part(**{name: getattr(options, name) for name in names if name in options})


def sizes(text: str) -> tuple[int, ...]:
    """N,M"""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be whole numbers such as 64,64, got {text!r}") from None


def limits(text: str) -> tuple[float, float]:
    """LOW,HIGH"""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be two numbers such as 0,1, got {text!r}") from None
    return low, high


def place(text: str) -> str | tuple[int, ...]:
    """Y,X, "middle" or "corner"."""
    return text if text in ("middle", "corner") else sizes(text)


def part(text: str) -> int | slice:
    """3 or 0:10"""
    try:
        parts = [int(part) if part else None for part in text.split(":")]
    except ValueError:
        parts = []
    if len(parts) == 1 and parts[0] is not None:
        return parts[0]
    if len(parts) == 2:
        return slice(*parts)
    raise argparse.ArgumentTypeError(f"must be a number or a range such as 0:10, got {text!r}")
