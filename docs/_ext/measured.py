"""The pages made of the committed files of results/: a summary, one for each, leaderboard, benchmark, fuzzers."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from rst import cell, docstring, heading, hidden_toctree, table

HERE = Path(__file__).parents[1]
ROOT = HERE.parent
RESULTS = ROOT / "results"

Row = dict[str, Any]

# Files with a page of their own making.
APART = ("leaderboard", "bench", "fuzz")
# The beginning of a file's name, and the heading under which its page is listed; all others are experiments.
KINDS = {
    "quality": "How good",
    "speed": "How fast",
    "memory": "How much memory",
    "mutants": "How well tested",
    "": "The paper",
}

# What every row of the leaderboard has, and the heading of its column.
SCORES = {
    "aligned_psnr": "aligned PSNR",
    "best_by_residual_psnr": "PSNR, best by residual",
    "success_percent": "solved (%)",
    "seconds_per_image": "s per image",
    "kind": "kind",
    "runs": "runs",
    "raw_psnr": "raw PSNR",
    "best_by_oracle_psnr": "PSNR, best by oracle",
    "aligned_mse": "aligned MSE",
    "best_by_residual_mse": "MSE, best by residual",
    "aligned_ssim": "aligned SSIM",
    "relative_magnitude_error": "magnitude error",
}
# What the rows of the benchmark have, and the heading of its column.
WORKS = {
    "psnr": "PSNR (dB): single / by residual / oracle",
    "spread": "\\+-",
    "solved_percent": "solved (%): single / by residual / oracle",
    "iou": "IoU of the supports",
    "phase_error": "phase error (rad)",
    "ssim": "SSIM",
    "correlation": "correlation",
    "residual": "residual",
    "seconds": "s a run",
    "transforms": "transforms a run",
    "memory_mib": "MiB",
}
# What tells the cases of a protocol apart.
CASES = ("data", "sample", "alpha", "photons", "frames")


def picture(path: Path, levels: int, alt: str) -> str:
    """A picture, which a phone shows in a width at which its letters can be read."""
    return f".. container:: wide\n\n   .. image:: {'../' * levels}results/{path.name}\n      :alt: {alt}\n\n"


def provenance(about: Row) -> str:
    return f"``{about['command']}`` at commit {about['commit']}; {cell(about['hardware'])}"


def columns_of(rows: list[Row]) -> list[str]:
    """The columns of some rows; first the one of words that tells most rows apart, which stays in sight."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    words = [key for key in columns if all(isinstance(row.get(key), str) for row in rows)]
    first = max(words, key=lambda key: len({row[key] for row in rows}), default=columns[0])
    return [first, *(key for key in columns if key != first)]


def question(path: Path, result: Row) -> str:
    """The first paragraph of the file that made a result; and what it says of that one, where it makes several."""
    for folder in ("benchmarks", "experiments/paper", "tools"):
        for name in (
            path.stem,
            result["command"].rpartition("benchmarks.")[2].split()[0],
            path.stem.rpartition("_")[0],
        ):
            if (ROOT / folder / f"{name}.py").exists():
                about = docstring(ROOT / folder / f"{name}.py")
                part = path.stem.removeprefix(f"{name}_")
                own = re.findall(rf"^- {part}: (.+?)(?=^- |\n\n)", about, re.MULTILINE | re.DOTALL)
                return cell(" ".join([*(text[:1].upper() + text[1:] for text in own), about.split("\n\n")[0]]))
    raise FileNotFoundError(f"no file makes {path}")


def result_page(path: Path) -> str:
    """What a result is, command, hardware, figure if there is one, and rows."""
    result = json.loads(path.read_text(encoding="utf-8"))
    columns = columns_of(result["rows"])
    page = heading(path.stem.replace("_", " "), "=") + question(path, result) + "\n\n"
    page += provenance(result) + f". :download:`{path.name} <../../../results/{path.name}>`\n\n"
    if path.with_suffix(".png").exists():
        page += picture(path.with_suffix(".png"), 3, "the table below as a figure")
    rows = [[cell(row.get(key)) for key in columns] for row in result["rows"]]
    return page + table([cell(column.replace("_", " ")) for column in columns], rows, sortable=True)


def leaderboard() -> Row:
    path = RESULTS / "leaderboard.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"protocols": {}, "rows": []}


def summary() -> str:
    """The best classical system and the best network of each case of the leaderboard, those that lose first."""
    board, duels = leaderboard(), []
    for name in board["protocols"]:
        cases: dict[str, list[Row]] = {}
        for row in (row for row in board["rows"] if row["protocol"] == name):
            told = [
                cell(row[key]) if isinstance(row[key], str) else f"{key} {row[key]:g}" for key in CASES if key in row
            ]
            cases.setdefault(", ".join([name.replace("_", " "), *told]), []).append(row)
        for case, rows in cases.items():
            best = [
                max(of_kind, key=lambda row: row["best_by_residual_psnr"])
                for of_kind in ([row for row in rows if (row["kind"] == "classical") == side] for side in (True, False))
            ]
            duels.append((best[1]["best_by_residual_psnr"] - best[0]["best_by_residual_psnr"], case, *best))
    rows = [
        [case, f"{gain:+.1f}", *(text for row in best for text in (cell(row["system"]), *numbers(row)))]
        for gain, case, *best in sorted(duels, key=lambda duel: -duel[0])
    ]
    wins = sum(duel[0] > 0 for duel in duels)
    header = ["data", "gain, dB", "best classical", "dB", "solved, %", "s", "best network", "dB", "solved, %", "s"]
    page = f"A network, alone or with a solver behind it, is ahead in {wins} of {len(duels)} cases of the "
    page += (
        ":doc:`leaderboard <leaderboard>`, by the PSNR after alignment of the run with the least residual. The gain "
    )
    page += "is that of the best network over the best solver. Click a heading to sort.\n\n"
    return page + table(header, rows, sortable=True)


def numbers(row: Row) -> list[str]:
    keys = ("best_by_residual_psnr", "success_percent", "seconds_per_image")
    return [f"{row[key]:.1f}" for key in keys[:2]] + [f"{row[keys[2]]:.2g}"]


def overview(results: list[Path]) -> str:
    """The summary, and a list of all results by kind."""
    page = heading("Measured results", "=") + heading("Where a network wins, where it loses", "-") + summary()
    page += (HERE / "summary.inc").read_text(encoding="utf-8") + "\n" + heading("All results", "-")
    page += (HERE / "results.inc").read_text(encoding="utf-8") + "\n"
    left = list(results)
    for kind, title in KINDS.items():
        rows = []
        for path in [path for path in left if path.stem.startswith(kind)]:
            left.remove(path)
            about = question(path, json.loads(path.read_text(encoding="utf-8")))
            rows.append([f":doc:`{path.stem.replace('_', ' ')} <results/{path.stem}>`", about])
        page += heading(title, "~") + table(["result", "what was asked"], rows) if rows else ""
    return page + hidden_toctree(f"results/{path.stem}" for path in results)


def leaderboard_page() -> str:
    """Each protocol of the leaderboard: what it is, a figure, the scores, and whatever else its rows tell."""
    board = leaderboard()
    page = heading("Leaderboard", "=") + (HERE / "leaderboard.inc").read_text(encoding="utf-8") + "\n"
    for name, about in board["protocols"].items():
        rows = [row for row in board["rows"] if row["protocol"] == name]
        others = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in (*SCORES, "protocol")]
        # What tells the rows apart stands beside the system; what only some rows have, in a table of its own.
        told = [key for key in others if all(key in row for row in rows) and len({str(row[key]) for row in rows}) > 1]
        some = [key for key in others if not all(key in row for row in rows)]
        cases = [key for key in told if key == "system" or key in CASES]
        page += heading(name, "-") + docstring(ROOT / f"experiments/zoo/{name}.py") + "\n\n"
        page += f"{provenance(about)}; {cell(about['budget'])}\n\n"
        page += picture(RESULTS / f"leaderboard_{name}.png", 2, f"estimates of the systems of {name}")
        for columns in ([*cases, *SCORES, *(key for key in told if key not in cases)], [*cases, *some]):
            shown = [row for row in rows if "runs" in columns or any(key in row for key in some)]
            titles = [SCORES.get(key, key.replace("_", " ")) for key in columns]
            cells = [[cell(row.get(key)) for key in columns] for row in shown]
            page += table(titles, cells, sortable=True) if shown else ""
    return page


def places(rows: list[Row]) -> list[tuple[int, Row]]:
    """The rows from the best mean of single runs down, each with one more than the number of those it is behind.

    A row is behind another one if it lacks more than chance says: rows of one place are not told apart. Each spread is
    that of a difference of two equal means, so the variance of one mean is half its square.
    """

    def behind(row: Row, other: Row) -> bool:
        limit = math.hypot(*(of["spread"]["psnr"]["mean"] for of in (row, other))) / math.sqrt(2)
        return bool(other["psnr"]["single"] - row["psnr"]["single"] > limit)

    ordered = sorted(rows, key=lambda row: -row["psnr"]["single"])
    return [(1 + sum(behind(row, other) for other in rows), row) for row in ordered]


def works_page() -> str:
    """Each protocol of the benchmark: what its rows say, written by hand, and the rows, best first."""
    report = json.loads((RESULTS / "bench.json").read_text(encoding="utf-8"))
    begin, *parts = re.split(r"^(\S+)\n-+\n", (HERE / "works.inc").read_text(encoding="utf-8"), flags=re.MULTILINE)
    page = heading("What works, measured", "=") + begin
    page += f"{report['benchmark']}, {'the quick run' if report['quick'] else 'the whole run'} of phaseret "
    page += f"{report['phaseret']}; {cell(report['machine'])}. :download:`bench.json <../../results/bench.json>`\n\n"
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        page += heading(name, "-") + text.strip() + "\n\n"
        of = [row for row in report["rows"] if row["protocol"] == name]
        cases = list(dict.fromkeys(row["case"] for row in of))
        kinds = [key for key in WORKS if any(key in row for row in of)]
        cells = []
        for case in cases:
            for place, row in places([row for row in of if row["case"] == case]):
                which = [case] if any(cases) else []
                cells.append([row["entry"], *which, str(place), *(worked(key, row.get(key)) for key in kinds)])
        which = ["case"] if any(cases) else []
        page += table(["entry", *which, "place", *(WORKS[key] for key in kinds)], cells, sortable=True) if of else ""
    return page


def worked(key: str, value: Any) -> str:
    """One score: the mean of single runs, and those by the residual and by the truth where they differ from it."""
    if key == "spread":
        return f"{value['psnr']['mean']:.1f}"
    if not isinstance(value, dict):
        return cell(value)
    digits = {"psnr": 2, "solved_percent": 0}.get(key, 3)
    texts = [f"{value[kind]:.{digits}f}" for kind in ("single", "by_residual", "oracle")]
    return " / ".join(texts) if key in ("psnr", "solved_percent") else texts[0]


def robustness_page() -> str:
    """What the fuzzers tried, and what became of it."""
    result = json.loads((RESULTS / "fuzz.json").read_text(encoding="utf-8"))
    rows = result["rows"]
    keys = ("inputs", "seconds", "kills", "mended", "findings")
    inputs, seconds, kills, mended, findings = (sum(row.get(key, 0) for row in rows) for key in keys)
    page = heading("What it has been through", "=") + (HERE / "robustness.inc").read_text(encoding="utf-8")
    page += f"\n{inputs:,} inputs in {seconds / 60:.0f} minutes of the processor. Findings that are not mended: "
    page += f"{findings}; inputs that once were findings, mended and kept: {mended}. {kills:,} kills: "
    page += ", ".join(f"{row['kills']} of {row['about']}" for row in rows if row["kills"]) + ".\n\n"
    page += f"``{result['command']}``; {cell(result['hardware'])}\n\n"
    columns = ["target", "about", "runs", "inputs", "accepted", "refused", "busy", "kills"]
    columns += ["seconds", "findings", "mended", "commits"]
    return page + table(columns, [[cell(row.get(key)) for key in columns] for row in rows], sortable=True)


def pages() -> dict[str, str]:
    """All pages by the names of their files."""
    results = [path for path in sorted(RESULTS.glob("*.json")) if path.stem not in APART]
    found = {f"results/{path.stem}.rst": result_page(path) for path in results}
    return found | {
        "results.rst": overview(results),
        "leaderboard.rst": leaderboard_page(),
        "works.rst": works_page(),
        "robustness.rst": robustness_page(),
    }


def setup(app: Any) -> dict[str, bool]:
    """The look of the tables and the script that sorts them."""
    app.add_css_file("tables.css")
    app.add_js_file("tables.js")
    return {"parallel_read_safe": True}
