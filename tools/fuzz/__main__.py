"""Run a fuzzer: see `tools.fuzz`."""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import shlex
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process with threads cannot be forked

import torch

import phaseret
from results.provenance import RESULTS, about, commit, write_json
from tools.fuzz._attempt import Outcome, Target, attempt, attempts, processor_seconds, shortened

KEPT = Path(__file__).parent / "kept"
RECORD = RESULTS / "fuzz.json"


def targets() -> dict[str, Target]:
    """All of them by name."""
    from tools.fuzz import checkpoints, command, hdf5, kills, readers, schedule, weights

    modules = (readers, hdf5, weights, schedule, command, checkpoints, kills)
    return {name: target for module in modules for name, target in module.TARGETS.items()}


def kept(name: str) -> list[bytes]:
    """Inputs that once were findings."""
    return [file.read_bytes() for file in sorted((KEPT / name).glob("*"))]


def recorded() -> dict[str, dict[str, Any]]:
    """What stands in results/fuzz.json, by target."""
    rows = json.loads(RECORD.read_text(encoding="utf-8"))["rows"] if RECORD.exists() else []
    return {row["target"]: row for row in rows}


class Run:
    """One target for some time: what was tried, and what was found."""

    def __init__(self, name: str, target: Target, out: Path, folder: Path) -> None:
        self.name, self.target, self.out, self.folder = name, target, out, folder
        self.counts: Counter[str] = Counter()
        self.findings: dict[str, Path] = {}
        self.kills = 0

    def go(self, seconds: float, seed: int, most: int | None) -> None:
        """Try the seeds, what was kept, and changes of both, for so long."""
        begun = processor_seconds()
        self.folder.mkdir(exist_ok=True)
        seeds, before = self.target.seeds(self.folder), kept(self.name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for data in seeds if self.target.batch > 1 else ():  # so that all that this loads is there in the children
                self.target.run(self.folder, data)
        gc.freeze()
        self.try_(seeds)
        if self.counts["accepted"] != len(seeds):
            raise SystemExit(f"{self.name}: a valid input is not accepted: {dict(self.counts)}")
        self.try_(before)
        number, told = 0, time.monotonic()
        while processor_seconds() - begun < seconds and number != most:
            count = min(self.target.batch, (most or number + self.target.batch) - number)
            draws = [Random(f"{self.name} {seed} {number + i}") for i in range(count)]
            self.try_([self.target.mutate(rng, seeds + before) for rng in draws])
            number += count
            if time.monotonic() - told > 60:
                told = time.monotonic()
                print(self.summary(), flush=True)
        self.seconds = processor_seconds() - begun

    def try_(self, inputs: Sequence[bytes]) -> None:
        """Try them, and keep what is found."""
        while inputs:
            outcomes = attempts(self.target, inputs[: self.target.batch], self.folder)
            for data, outcome in zip(inputs, outcomes, strict=False):
                self.counts["finding" if outcome.is_finding else outcome.kind] += 1
                self.kills += int(outcome.said) if outcome.kind == "accepted" else 0
                if outcome.is_finding and outcome.kind not in self.findings:
                    self.found(data, outcome)
            inputs = inputs[len(outcomes) :]

    def found(self, data: bytes, outcome: Outcome) -> None:
        """Write it down, and then the shortest input that does the same."""
        stem = f"{self.name}-{re.sub('[^A-Za-z0-9]+', '-', outcome.kind)[:80].strip('-')}"
        self.findings[outcome.kind] = file = self.out / stem
        self.out.mkdir(parents=True, exist_ok=True)
        again = f"python -m tools.fuzz {self.name} --replay {shlex.quote(str(file))}"
        file.with_name(stem + ".txt").write_text(f"{outcome.kind}\n{again}\n\n{outcome.said}")
        file.write_bytes(data)
        print(f"{self.name}: {outcome.kind}\n    {again}", flush=True)
        file.write_bytes(shortened(self.target, data, outcome, self.folder))

    def summary(self) -> str:
        said = ", ".join(f"{count} {kind}" for kind, count in sorted(self.counts.items()))
        return f"{self.name}: {sum(self.counts.values())} inputs ({said}), {len(self.findings)} findings"

    def row(self) -> dict[str, object]:
        """What the target has been through with this run: counts add to those of its row in results/fuzz.json."""
        before = recorded().get(self.name, {})
        counts = {"runs": 1, "inputs": sum(self.counts.values()), "seconds": round(self.seconds), "kills": self.kills}
        counts |= {kind: self.counts[kind] for kind in ("accepted", "refused", "busy")}
        mended = len(kept(self.name))
        newly_mended = max(0, mended - before.get("mended", mended))
        return {
            "target": self.name,
            "about": self.target.about,
            **{name: before.get(name, 0) + count for name, count in counts.items()},
            "findings": max(0, before.get("findings", 0) - newly_mended) + len(self.findings),
            "mended": mended,
            "commits": list(dict.fromkeys([*before.get("commits", ()), commit(Path(phaseret.__file__).parent)])),
        }

    def record(self) -> None:
        """Write its row to results/fuzz.json."""
        rows = recorded() | {self.name: self.row()}
        head = about("python -m tools.fuzz TARGET --seconds N --record")
        write_json(RECORD, {**head, "rows": [rows[name] for name in targets() if name in rows]})


def main(words: Sequence[str] | None = None) -> int:
    torch.set_num_threads(1)
    known = targets()
    listing = "\n".join(f"  {name:16}{target.about}" for name, target in known.items())
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz", epilog=f"targets:\n{listing}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=[*known, "all"], metavar="TARGET", help="one of those below, or all")
    parser.add_argument("--seconds", type=float, default=60, help="of the processor, for each target (default: 60)")
    parser.add_argument("--inputs", type=int, help="end after so many changed inputs")
    parser.add_argument(
        "--seed", type=int, help="same seed, same inputs (default: 0, with --record one not run before)"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="folder of findings (default: runs/fuzz)")
    parser.add_argument("--record", action="store_true", help="add the figures to those in results/fuzz.json")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="try this input alone")
    options = parser.parse_args(words)
    found = 0
    for name in known if options.target == "all" else [options.target]:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
            run = Run(name, known[name], options.out, Path(place) / "work")
            if options.replay:
                run.folder.mkdir()
                run.target.seeds(run.folder)  # makes what an input needs beside it
                outcome = attempt(run.target, options.replay.read_bytes(), run.folder)
                print(f"{outcome.kind}\n{outcome.said}")
                return outcome.is_finding
            runs_before = recorded().get(name, {}).get("runs", 0) if options.record else 0
            run.go(options.seconds, runs_before if options.seed is None else options.seed, options.inputs)
        print(run.summary(), f"in {run.seconds:.0f} s of the processor", flush=True)
        if options.record:
            run.record()
        found += len(run.findings)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
