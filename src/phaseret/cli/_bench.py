"""``phaseret bench``: solvers on frozen test sets, and whether a report holds."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from phaseret import _checks, bench
from phaseret.bench._report import aligned_columns, checked, load
from phaseret.bench.entries import OWN
from phaseret.cli._commands import Bench
from phaseret.cli._messages import typed


class Command(Bench):
    """``phaseret bench``."""

    def run(self) -> None:
        """List, verify or run."""
        if self.protocols and self.protocols[0] == "verify":
            self._verify()
        elif self.protocols or self.entry or self.out or self.quick or self.add or self.overwrite:
            self._run()
        else:
            print(_listing())

    def _verify(self) -> None:
        if len(self.protocols) != 2:
            rule = f"verify must be followed by one FILE, got {len(self.protocols) - 1}"
            _checks.fail(rule, "Give the bench.json of a run")
        with typed("FILE", "file"):
            found = bench.verify(self.protocols[1], seed=self.seed, data=self.data)
        print(found)
        if found.differences:
            rule = f"FILE must be what this version makes again, got {len(found.differences)} differences"
            _checks.fail(rule, "They stand above")

    def _run(self) -> None:
        folder = self.out or "bench"
        with typed("--out", "folder", "path"):
            checked(folder, self.overwrite or self.add)
        file = Path(folder) / "bench.json"
        before = file if self.add and file.exists() else None
        kept = partial(typed, "the report in --out", "before", "file")
        with kept():
            told = set() if before is None else {_key(row) for row in load(before)["rows"]}

        def progress(report: bench.Report) -> None:
            """What is finished is kept, and said."""
            with typed("--out", "folder", "path"):
                report.save(folder, overwrite=self.overwrite or self.add or bool(told))
            for row in report.content["rows"]:
                if _key(row) not in told:
                    told.add(_key(row))
                    scores = f"{row['psnr']['single']:.2f} dB, solved {row['solved_percent']['single']:.0f} %"
                    print(
                        f"{', '.join(filter(None, _key(row)))}: {scores}, {row['seconds']:.3g} s a run", file=sys.stderr
                    )

        names = self.protocols or [*bench.PROTOCOLS]
        if not self.protocols and not (self.data or os.environ.get("PHASERET_DATA_DIR")):
            names = [name for name in names if name != "measured"]
            _checks.warn("measured is left out, its pattern must be in a folder that is named", "Use --data FOLDER")
        asked = names, self.entry or OWN
        with kept():
            report = bench.run(*asked, quick=self.quick, data=self.data, before=before, progress=progress)
        print(report.table())
        print(f"\nin {Path(folder) / 'bench.json'}, bench.txt and bench.png")


def _key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["protocol"], row["case"], row["entry"]


def _listing() -> str:
    """The protocols with what they ask, and the entries at hand."""
    protocols = [
        (name, f"{len(p.cases) * p.counts[1]} items, quick {p.counts[0]}", p.about)
        for name, p in bench.PROTOCOLS.items()
    ]
    lines = [f"{bench.VERSION}: protocols", *aligned_columns(protocols), "", "entries at hand", " ".join(bench.ENTRIES)]
    return "\n".join([*lines, "", "phaseret bench --help shows how to enter yours"])
