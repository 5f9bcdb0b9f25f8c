"""The pages made of results/: the summary, the order of their columns, and how their tables are sorted in a browser."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from phaseret import bench

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs/_ext"))

import measured  # noqa: E402

pytestmark = pytest.mark.once


def row(system: str, kind: str, psnr: float, **more: object) -> dict[str, object]:
    numbers = {"best_by_residual_psnr": psnr, "success_percent": 0.0, "seconds_per_image": 0.5}
    return {"protocol": "near_field", "system": system, "kind": kind, **numbers, **more}


def test_the_summary_compares_the_best_of_each_kind_case_by_case(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = {"data": "digits", "photons": 1.0}, {"data": "digits", "photons": 10.0}
    rows = [row("HIO", "classical", 10.0, **one), row("OSS", "classical", 12.0, **one)]
    rows += [row("MLP", "learned", 15.25, **one), row("prior", "untrained", 11.0, **one)]
    rows += [row("HIO", "classical", 20.0, **two), row("MLP", "learned", 19.0, **two)]
    monkeypatch.setattr(measured, "leaderboard", lambda: {"protocols": {"near_field": {}}, "rows": rows})
    text = measured.summary()
    assert "ahead in 1 of 2 cases" in text
    cells = [line.strip(" *-") for line in text.split("near field, digits, photons 1\n")[1].splitlines()[:6]]
    assert cells == ["+3.2", "OSS", "12.0", "0.0", "0.5", "MLP"]
    assert text.index("photons 1\n") < text.index("photons 10\n")


def test_the_column_that_tells_rows_apart_stands_first() -> None:
    rows = [{"instructions": "AVX2", "ms": 1.0, "case": "small"}, {"instructions": "AVX2", "ms": 2.0, "case": "large"}]
    assert measured.columns_of(rows) == ["case", "instructions", "ms"]
    assert measured.columns_of([{"ms": 1.0}, {"ms": 2.0}]) == ["ms"]


def test_rows_that_chance_tells_apart_share_a_place() -> None:
    means = ((20, 1), (24, 0.1), (22, 3), (23.8, 0.1))
    rows = [{"psnr": {"single": psnr}, "spread": {"psnr": {"mean": spread}}} for psnr, spread in means]
    found = [(place, row["psnr"]["single"]) for place, row in measured.places(rows)]
    # 0.2 is more than hypot(0.1, 0.1) / sqrt(2); 2 is less than hypot(3, 0.1) / sqrt(2), and than hypot(3, 1) / sqrt(2)
    assert found == [(1, 24), (2, 23.8), (1, 22), (3, 20)]


def test_scores_show_how_they_were_chosen_where_it_matters() -> None:
    value = {"single": 12.345, "by_residual": 13.0, "oracle": 14.0, "mean": 0.3}
    assert measured.worked("psnr", value) == "12.35 / 13.00 / 14.00"
    assert measured.worked("iou", value) == "12.345"
    assert (measured.worked("spread", {"psnr": value}), measured.worked("seconds", 0.123456)) == ("0.3", "0.1235")


def test_every_protocol_of_the_benchmark_has_its_words() -> None:
    page = measured.works_page()
    report = json.loads((ROOT / "results/bench.json").read_text(encoding="utf-8"))
    assert set(report["protocols"]) <= set(bench.PROTOCOLS)
    for name in bench.PROTOCOLS:
        assert f"\n{name}\n{'-' * len(name)}\n" in page
    for row in report["rows"]:
        assert f"   * - {row['entry']}\n" + (f"     - {row['case']}\n" if row["case"] else "") in page


def test_every_result_says_what_was_asked() -> None:
    for path in (ROOT / "results").glob("*.json"):
        if path.stem not in measured.APART:
            about = measured.question(path, json.loads(path.read_text(encoding="utf-8")))
            assert about.endswith((".", "?", ":")), path


@pytest.mark.parametrize(
    ("texts", "descending", "expected"),
    [
        (["10", "9.5", "", "-1", "+3 dB", "word"], False, [3, 4, 1, 0, 5, 2]),
        (["10", "9.5", "", "-1", "+3 dB", "word"], True, [0, 1, 4, 3, 5, 2]),
        (["1,000", "200", "1e-3"], False, [2, 1, 0]),
        (["b", "a", "B"], False, [1, 0, 2]),  # equal ones stay as they are
    ],
)
def test_columns_are_sorted_by_their_numbers(texts: list[str], descending: bool, expected: list[int]) -> None:
    engine = pytest.importorskip("py_mini_racer").MiniRacer()
    try:
        engine.eval((ROOT / "docs/_static/tables.js").read_text(encoding="utf-8"))
        assert (
            json.loads(engine.eval(f"JSON.stringify(order({json.dumps(texts)}, {json.dumps(descending)}))")) == expected
        )
    finally:
        engine.close()
