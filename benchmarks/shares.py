"""How sure a share is that was counted."""

from __future__ import annotations

from scipy.stats import binomtest


def interval(found: int, count: int, digits: int = 3) -> list[float]:
    """Wilson's interval, which holds the share of all in 95 of 100 samples."""
    return [round(float(end), digits) for end in binomtest(found, count).proportion_ci(method="wilson")]
