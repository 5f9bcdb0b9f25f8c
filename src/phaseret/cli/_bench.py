"""``phaseret bench``: solvers on frozen test sets, and whether a report holds."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from phaseret import _checks, bench
from phaseret.bench._report import aligned_columns, checked, key_of, load
from phaseret.bench._verify import counted
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
        with typed("FILE", "file"), redirect_stdout(sys.stderr):  # what entries print
            found = bench.verify(self.protocols[1], seed=self.seed, data=self.data)
        print(found, flush=True)
        if found.differences:
            rule = f"FILE must be what this version makes again, got {counted(len(found.differences), 'difference')}"
            _checks.fail(rule, "See above")

    def _run(self) -> None:
        folder = self.out or "bench"
        if self.add and self.overwrite:
            _checks.fail("--add must stand without --overwrite, got both", "Leave out one of them")
        try:
            with typed("--out", "folder", "path"):
                checked(folder, self.overwrite or self.add)
        except FileExistsError as error:
            error.args = (f"{error} With --add its report stays, and what it lacks is run.",)
            raise
        file = Path(folder) / "bench.json"
        before = file if self.add and file.exists() else None
        kept = partial(typed, "the report in --out", "before", "file")
        with kept():
            told = set() if before is None else {key_of(row) for row in load(before)["rows"]}
        held = len(told)

        def progress(report: bench.Report) -> None:
            """What is finished is kept, and said."""
            with typed("--out", "folder", "path"):
                report.save(folder, overwrite=self.overwrite or self.add or bool(told))
            for row in report.content["rows"]:
                if key_of(row) not in told:
                    told.add(key_of(row))
                    print(f"{', '.join(filter(None, key_of(row)))}: {_said(row)}", file=sys.stderr)

        asked = self._protocols(), self.entry or OWN
        try:
            with kept(), redirect_stdout(sys.stderr):  # what entries print
                report = bench.run(*asked, quick=self.quick, data=self.data, before=before, progress=progress)
        except KeyboardInterrupt:
            done = f"{file} has what is finished, and the same command with --add goes on" if told else ""
            raise KeyboardInterrupt(done) from None
        print(report.table())
        print(f"\nin {file}, bench.txt and bench.png" if len(told) > held else f"\nnothing was run: {file} has it all")

    def _protocols(self) -> Sequence[str]:
        if self.protocols or self.data or os.environ.get("PHASERET_DATA_DIR"):
            return self.protocols or [*bench.PROTOCOLS]
        _checks.warn("measured is left out, its pattern must be in a folder that is named", "Use --data FOLDER")
        return [name for name in bench.PROTOCOLS if name != "measured"]


def _said(row: dict[str, Any]) -> str:
    """What a row found."""
    count = row["items"] * row["seeds"]
    scores = f"{row['psnr']['single']:.2f} dB, solved {row['solved_percent']['single']:.0f} %"
    scores += f", {row['seconds']:.3g} s a run"
    failed = f"{row['failed']} of {counted(count, 'run')} failed: {row['reason']}"
    return failed if row["failed"] == count else f"{scores}; {failed}" if row["failed"] else scores


def _listing() -> str:
    """The protocols with what they ask, and the entries at hand."""
    protocols = [
        (name, f"{len(p.cases) * p.counts[1]} items, quick {p.counts[0]}", p.about)
        for name, p in bench.PROTOCOLS.items()
    ]
    lines = [f"{bench.VERSION}: protocols", *aligned_columns(protocols), "", "entries at hand", " ".join(bench.ENTRIES)]
    return "\n".join([*(line.rstrip() for line in lines), "", "phaseret bench --help shows how to enter yours"])
