"""Messages of the library in the words of the command, and results as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from phaseret._words import finite

# What the library says to those who program, as those who type commands would say it.
_PHRASES = (
    (r"^(patterns \d+ to \d+: )?(?:[A-Z]\w*\.)?[a-zA-Z]\w*: ", r"\1"),
    (r"\bset overwrite\b", "use --overwrite"),
    (r"\bindex=slice\(start, stop\)", "--index START:STOP"),
    (r"\broi=\(\(a, b\), \.\.\.\)", "--roi A:B,..."),
    (r"\b(index|stack_axis) must be None for\b", r"\1 must be left out for"),
    (r" Use min_fourier_shape\([^.]*\)(, or undersampled=True[^.]*)?\.", " Leave it out for sizes that fit."),
    (r"\bLook at the mask, the key and the file\b", "Look at FILE::KEY, and at --mask or --bad-pixels if given"),
    (r"\buse centered=True, or torch\.fft\.ifftshift\(.*\)\.$", "use --center middle."),
    (r"make one with fourier_intensity", "make one with phaseret simulate"),
    (r"\bRead it with load_object, or name\b", "Give it to phaseret compare, or name"),
    (r"\bUse (load_intensity\(path\) or )?as_measurement\(intensity\)", "Look at the file"),
    (r"\bkey must name\b", "KEY in FILE::KEY must name"),
    (r"\bkey must say\b", "FILE::KEY must say"),
    (r"\bwith key=", "as FILE::KEY"),
    (r" or phaseret\.io\.save_intensity\b", ""),
    (r"\bUse \w+\.clamp\(min=0(\.0)?\)", "Set what is negative in it to 0"),
    (r" with \w+\.clamp\(min=0\)| with torch\.nan_to_num\([^)]*\)", ""),
    (r"\bMask them with mask = \w+\.isfinite\(\)", "Mask them with --mask or --bad-pixels"),
    (r"\bTrue means measured: use ~mask if yours marks the bad pixels", "Use --bad-pixels if it marks the bad pixels"),
    (r"\bAdd one with unsqueeze\(0\)", "Look at the axes of the array"),
)
# Advice that only who programs can follow: it is left out.
_PYTHON = re.compile(r"\b[a-z_]\w*\.[a-z_]+\([^)]*\)|\btorch\.\w|\b(Use|Pass) \w+\.(real|imag|to)\b")


@contextmanager
def typed(name: str, *words: str) -> Iterator[None]:
    """Errors of what is done with an option or a file say its `name`, as typed, instead of the library's `words`."""
    try:
        yield
    except (OSError, ValueError, TypeError) as error:
        said = re.sub(rf"(^\S+: |\bof )({'|'.join(words or ('path',))})(?= must\b)", rf"\1{name}", str(error))
        if said != str(error):
            error.args = (said,)
        raise


def in_flags(message: object, flags: Mapping[str, str], held: frozenset[str] = frozenset()) -> str:
    """A message of the library as one line, with the command's options in place of the function's arguments.

    Names in `held` are those that a file holds too and that were not typed: they are not blamed on the option.
    """
    text = " ".join(str(message).split())
    for pattern, plain in _PHRASES:
        text = re.sub(pattern, plain, text)
    first, *more = re.split(r"(?<=[.?]) (?=[A-Z])", text)
    text = " ".join([first, *(sentence for sentence in more if not _PYTHON.search(sentence))])
    for name, flag in flags.items():
        text = re.sub(rf"\b{name}=True\b", flag, text)
        # name='value', name=(1, 2), name=value: as they are typed
        text = re.sub(rf"\b{name}=(['\"])(\w+)\1", rf"{flag} \2", text)
        for whole, inside in re.findall(rf"\b({name}=[(\[]([\d., -]+)[)\]])", text):
            text = text.replace(whole, f"{flag} {inside.replace(' ', '')}")
        text = re.sub(rf"\b{name}=(?=[\w-])", f"{flag} ", text)
        text = re.sub(rf"\b{name}=", flag, text)
        if name not in held:
            text = re.sub(rf"(^|: ){name} (?=must\b|')", rf"\1{flag} ", text)
    return re.sub(r"\bslice\((-?\d+|None), (-?\d+|None), None\)", _range, text)


def readable(text: str) -> str:
    """The text with file names as they were typed, where the locale does not know all of their letters."""
    escaped = re.sub(r"\\udc([89a-f][0-9a-f])", lambda found: chr(0xDC00 + int(found[1], 16)), text)
    return escaped.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _range(found: re.Match[str]) -> str:
    return f"{found[1]}:{found[2]}".replace("None", "")


def as_json(value: Any) -> str:
    """JSON, whose numbers are finite: what is not becomes null."""
    return json.dumps(finite(value), indent=1)
