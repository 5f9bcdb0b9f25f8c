"""Messages of the library in the words of the command."""

from __future__ import annotations

import argparse
import re

# What the library says to those who program, as those who type commands would say it.
_PHRASES = (
    (r"^(?:Measurement\.)?[a-zA-Z]\w*: ", ""),
    (r"^patterns (\d+) to (\d+): [a-zA-Z]\w*: ", r"patterns \1 to \2: "),
    (r"\bset overwrite\b", "use --overwrite"),
    (r"\bindex=slice\(start, stop\)", "--index START:STOP"),
    (r" Use min_fourier_shape\([^.]*\)\.", " Leave it out for sizes that fit."),
    (r"make one with fourier_intensity", "make one with phaseret simulate"),
    (r"\bkey must name\b", "KEY in FILE::KEY must name"),
    (r"\bkey must say\b", "FILE::KEY must say"),
    (r"\bwith key=", "as FILE::KEY"),
    (r" or phaseret\.io\.save_intensity\b", ""),
)


def in_flags(message: object, options: argparse.Namespace) -> str:
    """A message of the library as one line, with the command's options in place of the function's arguments."""
    text = " ".join(str(message).split())
    for pattern, plain in _PHRASES:
        text = re.sub(pattern, plain, text)
    for name, flag in options.flags.items():
        # name='value', name=(1, 2), name=value: as they are typed
        text = re.sub(rf"\b{name}='(\w+)'", rf"{flag} \1", text)
        for tuple_ in re.findall(rf"\b{name}=\(([\d., ]+)\)", text):
            text = text.replace(f"{name}=({tuple_})", f"{flag} {tuple_.replace(' ', '')}")
        text = re.sub(rf"\b{name}=(?=\w)", f"{flag} ", text)
        text = re.sub(rf"\b{name}=", flag, text)
        if getattr(options, name) is not None or name not in ("mask", "support"):  # which files hold too
            text = re.sub(rf"(^|: ){name} must\b", rf"\1{flag} must", text)
    return text
