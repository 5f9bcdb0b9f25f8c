"""Words that were meant, and texts that are cut: what messages are made of, before PyTorch is loaded."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# What people type who come from other programs.
_OTHER_WORDS = {
    **dict.fromkeys(("iterations", "iters", "niter", "num_iter", "max_iter", "maxiter", "nb_cycle", "steps"), "n_iter"),
    **dict.fromkeys(("restarts", "n_starts", "num_starts", "nstarts"), "starts"),
    **dict.fromkeys(("x0", "initial", "guess", "start", "obj"), "init"),
    **dict.fromkeys(("real", "nonnegative", "positive", "positivity"), "constraint"),
}


def meant(word: str, known: Iterable[str]) -> str:
    """The word that was meant by one that is not known; an empty text where that cannot be told."""
    words, other = list(known), _OTHER_WORDS.get(word.lower(), "")
    return other if other in words else next(iter(difflib.get_close_matches(word, words, 1)), "")


def shortened(text: str, longest: int = 600) -> str:
    """The text, without its middle if it is endless: what a user gave may have any length."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"
