"""benchmarks.quality_peers: its quick problems are solved, and a row says so truly."""

from __future__ import annotations

import pytest

from benchmarks import quality_peers as peers


@pytest.mark.filterwarnings("ignore:.*reconstructions")
@pytest.mark.parametrize("task", [peers.fixed_points, peers.identities, peers.settling])
def test_the_quick_problems_of_peers_are_met(task):
    rows = list(task())
    assert rows
    assert all(row["met"] for row in rows)


def test_a_row_says_whether_the_threshold_was_met():
    assert peers.row("peer", "problem", "hio", 0.1, 0.2)["met"] is True
    assert peers.row("peer", "problem", "hio", 0.2, 0.2)["met"] is False
    assert peers.row("peer", "problem", "hio", float("nan"), 0.2)["met"] is False
    assert peers.row("peer", "problem", "hio", 0.3, 0.2, above=True) == {
        "of": "peer",
        "problem": "problem",
        "solved by": "hio",
        "found": 0.3,
        "wanted": "above 0.2",
        "met": True,
    }
