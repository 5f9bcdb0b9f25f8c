"""A report is held against what this version makes again."""

from __future__ import annotations

import contextlib
import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from phaseret import _checks
from phaseret._version import __version__
from phaseret._words import finite
from phaseret.bench import _machine
from phaseret.bench._entry import entry
from phaseret.bench._protocol import Item, Protocol
from phaseret.bench._protocols import PROTOCOLS
from phaseret.bench._report import LEAST_SPREAD, digest, load, rows_of
from phaseret.bench._run import about, attempt, runs_of, worded
from phaseret.bench._scores import Quiet

#: The share of all runs that is made again.
SHARE = 0.1


@dataclass(frozen=True)
class Verification:
    """What was found out about a report.

    Attributes:
        count: Runs that were made again.
        differences: What does not agree, one sentence each; none if all is well.
        notes: What is different here and need not be wrong: versions and machines.
    """

    count: int
    differences: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """One line for each thing found."""
        told = [f"differs: {text}" for text in self.differences] + [f"note: {text}" for text in self.notes]
        one = self.count == 1
        agree = ("agrees" if one else "agree") if not self.differences else f"{'was' if one else 'were'} compared"
        return "\n".join([*told, f"{counted(self.count, 'run')} made again {agree}"])


def counted(count: int, word: str) -> str:
    """1 run, 2 runs."""
    return f"{count} {word}{'s' * (count != 1)}"


def verify(
    file: str | Path,
    *,
    seed: int = 0,
    data: str | Path | None = None,
    protocols: Sequence[Protocol] = (),
) -> Verification:
    """Hold a report against the frozen test sets, its own runs, and a tenth of them made again.

    A run that is made again must agree within the spread that its row states, and so must the mean over all runs of a
    row that are made again; on the machine and with the versions of the report, both within 0.1 dB.

    Args:
        file: The JSON that :func:`run` left.
        seed: Which tenth.
        data: The folder that holds the measured pattern. Default: what PHASERET_DATA_DIR names.
        protocols: Protocols that are not in :data:`PROTOCOLS`.

    Returns:
        What does not agree.

    Raises:
        OSError: if there is no such file.
        ValueError: if it is not of this version of the benchmark.
    """
    seed = _checks.integer("seed", seed, at_least=0)
    _checks.sequence("protocols", protocols, "protocols", "Use [protocol]")
    folder = None if data is None else _checks.path(data, "data")
    content = load(file)
    known = PROTOCOLS | {protocol.name: protocol for protocol in protocols}
    differences = [] if digest(content) == content["digest"] else ["the file was changed after it was written"]
    try:
        rows = finite(rows_of([{**run, "seed": int(run["seed"])} for run in content["runs"]]))
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return Verification(0, (*differences, "runs are missing, or are not what a run leaves"), ())
    if rows != content["rows"]:
        differences.append("the rows are not those of the runs")
    notes = list(_versions(content))
    items: dict[str, dict[str, Item]] = {}
    for name, stated in content["protocols"].items():
        if name not in known:
            differences.append(f"{name} is no protocol of this version")
            continue
        with Quiet():
            made = known[name].items(content["quick"], folder)
        items[name] = {item.name: item for item in made}
        differences += _test_set(name, stated, about(known[name], made, content["quick"]))
        differences += _left_out(known[name], made, content)
    chosen = _chosen(content["runs"], seed)
    again, count = _again(chosen, known, items, content, not notes)
    return Verification(count, (*differences, *again), tuple(notes))


def _versions(content: dict[str, Any]) -> Iterator[str]:
    """What the report was made with that is different here."""
    if content["phaseret"] != __version__:
        yield f"made with phaseret {content['phaseret']}, here {__version__}"
    here = _machine.machine()
    for name in ("cpu", "gpu", "threads", "torch"):
        if content["machine"].get(name) != here[name]:
            yield f"made with {name} {content['machine'].get(name)}, here {here[name]}"
    for name, stated in content["entries"].items():
        with contextlib.suppress(ImportError, TypeError, ValueError):
            found = _machine.package(entry(name).module)
            if found != stated:
                yield f"{name} is of {worded(found)}, not of {worded(stated)}"


def _test_set(name: str, stated: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    """Where the test set of the report is not the frozen one, nor that of this machine."""
    if stated["frozen"] != here["frozen"]:
        yield f"{name}: the frozen checksum is not that of this version"
    if stated["checksum"] != here["checksum"]:
        yield f"{name}: the test set is not the one that is made here"
    if stated["items"] != here["items"] or stated["seeds"] != here["seeds"]:
        yield f"{name}: items or seeds are not those of the protocol"
    if here["frozen"] not in (None, here["checksum"]):
        yield f"{name}: the test set that is made here is not the frozen one: packages that it comes from changed"


def _left_out(protocol: Protocol, items: Sequence[Item], content: dict[str, Any]) -> Iterator[str]:
    """Entries that do not have every run of the protocol once: whoever leaves out the worst has a better mean."""
    runs = [run for run in content["runs"] if run["protocol"] == protocol.name]
    names = [item.name for item in items]
    for name in dict.fromkeys(run["entry"] for run in runs):
        seeds = protocol.seeds[not content["quick"]]
        found = [(run["item"], run["seed"]) for run in runs if run["entry"] == name]
        try:
            seeds = runs_of(entry(name), seeds)
        except (ImportError, TypeError, ValueError):  # which is said where it is to run
            seeds = 1 if {seed for _, seed in found} == {0} else seeds
        if Counter(found) != Counter((item, seed) for item in names for seed in range(seeds)):
            yield f"{protocol.name}, {name}: the runs are not those of all items and seeds"


def _chosen(runs: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """A tenth of the runs of each row, at least one."""
    generator, found = random.Random(seed), []
    for key in dict.fromkeys((run["protocol"], run["case"], run["entry"]) for run in runs):
        of = [run for run in runs if (run["protocol"], run["case"], run["entry"]) == key]
        found += generator.sample(of, max(1, round(SHARE * len(of))))
    return found


def _again(
    chosen: list[dict[str, Any]],
    known: dict[str, Protocol],
    items: dict[str, dict[str, Item]],
    content: dict[str, Any],
    here: bool,
) -> tuple[list[str], int]:
    """What differs of the runs made again, and how many these are."""
    differences: list[str] = []
    means: dict[tuple[str, str, str], list[float]] = {}
    solvers: dict[str, Any] = {}
    rows = {(row["protocol"], row["case"], row["entry"]): row for row in rows_of(content["runs"])}
    for stated in chosen:
        item = items.get(stated["protocol"], {}).get(stated["item"])
        if item is None:
            continue
        if stated["entry"] not in solvers:
            try:
                solvers[stated["entry"]] = entry(stated["entry"])
            except (ImportError, TypeError, ValueError) as error:
                solvers[stated["entry"]] = None
                differences.append(f"{stated['entry']} cannot be run here: {error}")
        if solvers[stated["entry"]] is None:
            continue
        found, _ = attempt(solvers[stated["entry"]], item, stated["seed"], known[stated["protocol"]].relative)
        key = stated["protocol"], stated["case"], stated["entry"]
        allowed = LEAST_SPREAD if here else rows[key]["spread"]["run"]
        difference = _apart(stated["psnr"], found["psnr"])
        means.setdefault(key, []).append(difference)
        name = f"{', '.join(filter(None, key))}, {item.name}, seed {stated['seed']}"
        if bool(stated["failure"]) != bool(found["failure"]):
            differences.append(f"{name}: {stated['failure'] or 'no failure'} became {found['failure'] or 'no failure'}")
        elif abs(difference) > allowed:
            differences.append(f"{name}: {stated['psnr']} dB became {found['psnr']} dB, more than {allowed} dB away")
    for key, parts in means.items():
        # The stated spread of the mean is that of all runs of the row.
        row = rows[key]
        total = row["items"] * row["seeds"]
        allowed = LEAST_SPREAD if here else row["spread"]["mean"] * (total / len(parts)) ** 0.5
        mean = float(torch.tensor(parts).mean())
        if abs(mean) > allowed:
            differences.append(
                f"{', '.join(filter(None, key))}: the mean is {mean:.4g} dB away, more than {allowed:.4g}"
            )
    return differences, sum(map(len, means.values()))


def _apart(stated: float | None, found: float) -> float:
    """By how many dB a score differs; a file holds None in place of what is no number."""
    here = finite(found)
    return 0.0 if stated == here else math.inf if stated is None or here is None else stated - found
