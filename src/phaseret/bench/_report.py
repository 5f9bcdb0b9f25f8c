"""What a run leaves: one JSON, one table, one picture."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from phaseret import _checks, plotting
from phaseret._output import check_free, check_here, check_writable, written
from phaseret._words import finite
from phaseret.bench._protocol import VERSION
from phaseret.bench._scores import SCORES, SOLVED, apart
from phaseret.bench._spread import number, short, spreads

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FILES = ("bench.json", "bench.txt", "bench.png")
_PARTS = ("phaseret", "machine", "quick", "entries", "protocols", "rows", "runs", "digest")
_HEADER = (
    "protocol", "case", "entry", "failed", "solved %", "by residual", "oracle", "PSNR", "by residual", "oracle", "+-",
    "raw", "SSIM", "corr.", "seconds", "transforms", "MiB",
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """The scores of entries on protocols.

    Attributes:
        content: What the JSON holds: "rows", one for each protocol, case and entry, with the "spread" of each score;
            "runs", one for each item and seed, those with seed 0, and all of an item that is alone in its protocol,
            with the scores of their "twin"; and what they were made with.
        pictures: Of the first items, by (protocol, item): the truth and the aligned estimates, by entry.
    """

    content: dict[str, Any]
    pictures: dict[tuple[str, str], dict[str, Tensor]]

    def table(self) -> str:
        """The rows as text."""
        return "\n".join(aligned_columns([_HEADER, *(_cells(row) for row in self.content["rows"])])) + _notes(
            self.content
        )

    def plot(self) -> Figure:
        """The truth and the estimates of the first items: moduli, of volumes the middle slice."""
        figure_class = _checks.extra("matplotlib.figure", "matplotlib", "demo").Figure
        held = {name for found in self.pictures.values() for name in found}  # a report that was added to has none
        names = ["truth", *(name for name in self.content["entries"] if name in held)]
        short = [name.rpartition(":")[2] for name in names]
        rows, columns = max(1, len(self.pictures)), len(names)
        figure = figure_class(figsize=(1.4 * columns, 1.4 * rows + 0.3), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for row, ((_, item), found) in enumerate(self.pictures.items()):
            largest = float(found["truth"].abs().max())
            for column, name in enumerate(names):
                panel = panels[row][column]
                if name in found:
                    panel.imshow(_shown(found[name]) / largest, cmap="gray", vmin=0, vmax=1)
                panel.set(xticks=[], yticks=[])
                if row == 0:
                    same = short.count(short[column]) > 1
                    panel.set_title(name.replace(":", ":\n") if same else short[column], fontsize=7)
                if column == 0:
                    panel.set_ylabel(item.replace(", ", "\n"), fontsize=6)
        return figure

    def save(self, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write bench.json, bench.txt and bench.png into a folder, which is made if need be."""
        place = checked(folder, overwrite)
        place.mkdir(parents=True, exist_ok=True)
        content = {**finite(self.content), "digest": ""}
        content["digest"] = digest(content)
        texts = (json.dumps(content, indent=1) + "\n", self.table() + "\n")
        for name, text in zip(_FILES, texts, strict=False):
            with written(place / name, overwrite) as temporary:
                temporary.write_text(text, encoding="utf-8")
        plotting.save_figure(place / _FILES[2], self.plot(), overwrite=overwrite)
        return [place / name for name in _FILES]


def checked(folder: str | Path, overwrite: bool) -> Path:
    """The folder, in which all can be written, and nothing is replaced unless that is asked for."""
    place = _checks.path(folder, "folder")
    check_here(place, "folder")
    _checks.extra("matplotlib.figure", "matplotlib", "demo")
    there = next(path for path in (place, *place.absolute().parents) if os.path.exists(path))
    if not there.is_dir():
        _checks.fail(f"folder must be a folder, got the file {str(there)!r}", "Choose another", NotADirectoryError)
    check_writable("folder", str(there))
    for name in _FILES if place.is_dir() else ():
        check_free(place / name, overwrite)
    return place


def load(file: str | Path) -> dict[str, Any]:
    """What a JSON of this benchmark holds."""
    path, fix = _checks.path(file, "file"), "Give the bench.json of a run"
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):  # it would be waited for
        _checks.fail(f"file must be a JSON of {VERSION}, got a pipe or device: {str(path)!r}", fix, OSError)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        rule = f"file must be a JSON of {VERSION}, got what cannot be read ({error.strerror}): {str(path)!r}"
        _checks.fail(rule, fix, OSError)
    try:
        content = json.loads(text)
        lacks = [name for name in _PARTS if name not in content]
        if content["benchmark"] == VERSION and not lacks:
            return dict(content)
        found = f"one of {content['benchmark']!r}" + (f" without {', '.join(lacks)}" if lacks else "")
    except (ValueError, KeyError, TypeError):
        found = "another file"
    _checks.fail(f"file must be a JSON of {VERSION}, got {found}: {str(path)!r}", fix)


def digest(content: dict[str, Any]) -> str:
    """SHA-256 of everything else in the JSON."""
    rest = {name: value for name, value in content.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def key_of(row: dict[str, Any]) -> tuple[str, str, str]:
    """The protocol, case and entry of a row or a run."""
    return row["protocol"], row["case"], row["entry"]


def rows_of(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The row of each protocol, case and entry, from its runs in the order in which they were made."""
    found = []
    for (protocol, case, entry), group in groupby(runs, key_of):
        found.append({"protocol": protocol, "case": case, "entry": entry, **_row(list(group))})
    return found


def _row(runs: list[dict[str, Any]]) -> dict[str, Any]:
    items = [*dict.fromkeys(run["item"] for run in runs)]
    by_item = [[run for run in runs if run["item"] == item] for item in items]

    def values(name: str) -> Tensor:
        """(seeds, items)"""
        return torch.tensor([[number(run[name]) for run in of] for of in by_item], dtype=torch.float64).T

    failures = [run["failure"] for run in runs if run["failure"]]
    error, residual = values("error"), values("residual").nan_to_num(math.inf)
    row: dict[str, Any] = {"items": len(items), "seeds": len(error), "failed": len(failures)}
    row["reason"] = failures[0] if failures else None
    solved = apart((error < SOLVED).double(), residual, error)
    row["solved_percent"] = {name: short(100 * value.mean()) for name, value in solved.items()}
    for score in SCORES:
        if score in runs[0]:  # of single runs, of the best by residual, and of the best by the truth
            kept = apart(values(score), residual, error)
            row[score] = {name: short(value.mean()) for name, value in kept.items()}
    row["spread"] = spreads(runs)
    row["seconds"] = short(values("seconds").mean())
    row["transforms"] = short(values("transforms").mean())
    row["memory_mib"] = runs[0]["memory_mib"]
    return row


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    def three(name: str, digits: int) -> list[str]:
        return [f"{row[name][kind]:.{digits}f}" for kind in ("single", "by_residual", "oracle")]

    memory, ssim = row["memory_mib"], row.get("ssim")
    return (
        *key_of(row), f"{row['failed']}/{row['items'] * row['seeds']}",
        *three("solved_percent", 0), *three("psnr", 2), f"{row['spread']['psnr']['mean']:.1f}",
        f"{row['raw_psnr']['single']:.2f}", "" if ssim is None else f"{ssim['single']:.3f}",
        f"{row['correlation']['single']:.3f}", f"{row['seconds']:.3g}", f"{row['transforms']:.3g}",
        "" if memory is None else f"{memory:.0f}",
    )  # fmt: skip


def _notes(content: dict[str, Any]) -> str:
    """What the columns do not say."""
    notes = [
        f"\n\n{content['benchmark']}, phaseret {content['phaseret']}; a transform takes {content['calibration_ms']} ms"
    ]
    for name, protocol in content["protocols"].items():
        if protocol["frozen"] not in (None, protocol["checksum"]):
            notes.append(
                f"{name}: the test set is not the frozen one; these scores are not those of {content['benchmark']}"
            )
    reasons = {(row["protocol"], row["entry"]): row["reason"] for row in content["rows"] if row["reason"]}
    notes += [f"{protocol}, {name}: {reason}" for (protocol, name), reason in reasons.items()]
    return "\n".join(notes)


def aligned_columns(lines: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table, whose first column of numbers is the fourth."""
    cells = [list(line) for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            f"{cell:<{w}}" if i < 3 else f"{cell:>{w}}" for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]


def _shown(obj: Tensor) -> Any:
    """The modulus as (rows, columns), or (rows, columns, 3) for three channels; the middle slice of a volume."""
    modulus = obj.abs().float()
    if modulus.ndim == 3:
        modulus = modulus.permute(1, 2, 0) if len(modulus) == 3 else modulus[len(modulus) // 2]
    return modulus.numpy()
