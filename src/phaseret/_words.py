"""Words that were meant, texts that are cut, numbers that JSON has: for messages, before PyTorch is loaded."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

# Where the documentation is read: messages that need more than two lines name a page there.
DOCS = "https://github.com/phaseret/phaseret/blob/main/docs"

# What people type who come from other programs and versions.
_OTHER_WORDS = {
    "n_iter": ("iterations", "iters", "niter", "num_iter", "max_iter", "maxiter", "nb_cycle", "steps"),
    "starts": ("restarts", "n_starts", "num_starts", "nstarts"),
    "init": ("x0", "initial", "guess", "start", "obj"),
    "constraint": ("real", "nonnegative", "positive", "positivity"),
    "resolution": ("step",),
    "nonnegative": ("positive", "positivity"),
    "measured": ("good", "valid"),
    "middle": ("center", "centre", "centered"),
    "bad": ("invalid", "dead", "hot"),
    "bin": ("rebin", "downsample"),
    "center": ("origin", "beam"),
    "index": ("frame", "frames"),
    "background": ("dark", "bg", "bkg"),
    "saturation": ("threshold", "overload", "cutoff"),
}


def meant(word: str, known: Iterable[str]) -> str:
    """The word that was meant by one that is not known; an empty text where that cannot be told."""
    words = list(known)
    other = (ours for ours, theirs in _OTHER_WORDS.items() if ours in words and word.lower() in theirs)
    begun = [name for name in words if len(word) > 2 and name.startswith(word)]
    near = begun if len(begun) == 1 else difflib.get_close_matches(word, words, 1)
    return next(other, "") or next(iter(near), "")


def shortened(text: str, longest: int = 600) -> str:
    """The text, without its middle if it is endless: what a user gave may have any length."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"


def finite(content: Any) -> Any:
    """The same with None in place of infinite numbers and NaN, which JSON does not have."""
    if isinstance(content, dict):
        return {name: finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
