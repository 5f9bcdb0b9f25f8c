"""The figures in tables of the pages are those of results/: what is measured anew shows where a page is old."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.once

# Page and head of the first column of a table, and the results and columns that it quotes.
PSNR, BLUR = ("mean aligned PSNR of best",), ("correlation", "blur")
TAIL = ("mean_iterations", "mean_iterations_ratio", "processor_seconds_per_image", "solved_percent", "schedule")
TABLES = {
    ("limits", "object"): (("quality_blur",), BLUR),
    ("paper", "trained on"): (("fig5",), ("aligned_psnr",)),
    ("paper", "photons per pixel"): (("photons",), ("aligned_psnr",)),
    ("paper", ""): (("other_data",), ("aligned_relative_error",)),
    ("solved", "start and schedule"): (("tail",), TAIL),
    ("units", "photons in the pattern"): (("quality_solvers_noise", "quality_solvers_default"), PSNR),
}


def tables(page: str) -> dict[str, list[list[str]]]:
    """The rows of each list-table of a page, by the head of its first column."""
    found = {}
    for block in re.findall(
        r"^\.\. list-table::\n(.*?)(?=^\S|\Z)", (ROOT / f"docs/{page}.rst").read_text("utf-8"), re.M | re.S
    ):
        rows = [
            [" ".join(cell.split()) for cell in re.split(r"^     -", row, flags=re.M)]
            for row in re.split(r"^   \* -", block, flags=re.M)[1:]
        ]
        found[rows[0][0]] = rows
    return found


def measured(name: str, columns: tuple[str, ...]) -> list[float]:
    """The numbers of a result in these columns, in milliseconds where they are seconds, and their means over seeds."""
    rows = json.loads((ROOT / f"results/{name}.json").read_text("utf-8"))["rows"]
    found, alike = [], defaultdict(list)
    for row in rows:
        kind = [(key, row[key]) for key in row if not isinstance(row[key], float) and "seed" not in key]
        for column in columns:
            scale = 1e3 if "seconds" in column else 1
            numbers = [scale * float(text) for text in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", str(row.get(column)))]
            found += numbers
            alike[str(kind), column].append(numbers)
    return found + [fmean(number for numbers in group for number in numbers) for group in alike.values() if group[0]]


@pytest.mark.parametrize(("page", "head"), TABLES)
def test_the_decimals_of_a_table_were_measured(page: str, head: str) -> None:
    names, columns = TABLES[page, head]
    known = [number for name in names for number in measured(name, columns)]
    _, *rows = tables(page)[head]
    decimals = [text for row in rows for cell in row[1:] for text in re.findall(r"(?<![\w.])\d+\.\d+", cell)]
    assert len(decimals) > 5
    steps = {text: 0.501 * 10.0 ** -len(text.partition(".")[2]) for text in decimals}
    assert [text for text in decimals if min(abs(float(text) - number) for number in known) > steps[text]] == []
