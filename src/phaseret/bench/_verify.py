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

from phaseret import _checks
from phaseret._version import __version__
from phaseret._words import finite
from phaseret.bench import _machine
from phaseret.bench._entry import Entry, entry
from phaseret.bench._protocol import Item, Protocol
from phaseret.bench._protocols import PROTOCOLS
from phaseret.bench._report import digest, key_of, load, rows_of
from phaseret.bench._run import about, attempt, has_twin, runs_of, worded
from phaseret.bench._scores import Quiet
from phaseret.bench._spread import least, shared, spreads

#: The share of all runs that is made again.
SHARE = 0.1
Run = dict[str, Any]


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

    On the machine and with the versions of the report every score of a run that is made again must agree within 0.1 dB
    or 0.005. Elsewhere the spread that the row states for the score decides: if a run lies outside, or the mean of
    those made again, all runs of the row are made again, and the mean of all must lie within the spread of the mean,
    or of both means where the runs scatter more here. What says how far chance goes, the twins of runs (:func:`run`),
    must be there.

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
    again, chosen = _Again(known, items, not notes), _chosen(content["runs"], seed)
    for row in rows:
        of = [run for run in content["runs"] if key_of(run) == key_of(row)]
        again.row(row["spread"], [run for run in of if run in chosen], [run for run in of if run not in chosen])
    return Verification(again.count, (*differences, *again.differences), tuple(notes))


def _versions(content: dict[str, Any]) -> Iterator[str]:
    """What the report was made with that is different here."""
    if content["phaseret"] != __version__:
        yield f"made with phaseret {content['phaseret']}, here {__version__}"
    here = _machine.machine()
    for name in ("cpu", "gpu", "instructions", "threads", "torch"):
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
        own = [run for run in runs if run["entry"] == name and has_twin(run["seed"], items, content["quick"])]
        if not all("twin" in run for run in own):
            yield f"{protocol.name}, {name}: runs lack their twins"


def _chosen(runs: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """A tenth of the runs of each row, at least one."""
    generator, found = random.Random(seed), []
    for key in dict.fromkeys(map(key_of, runs)):
        of = [run for run in runs if key_of(run) == key]
        found += generator.sample(of, max(1, round(SHARE * len(of))))
    return found


class _Again:
    """Runs are made again: what differs, and how many these are."""

    def __init__(self, known: dict[str, Protocol], items: dict[str, dict[str, Item]], here: bool) -> None:
        self.known, self.items, self.here = known, items, here
        self.solvers: dict[str, Entry | None] = {}
        self.differences: list[str] = []
        self.count = 0

    def row(self, spread: dict[str, dict[str, float]], chosen: list[Run], rest: list[Run]) -> None:
        """Hold the chosen runs of a row, and their mean, against what they become here.

        On another machine a few runs may be farther away than any two that the row has seen. If one is, or their mean,
        the rest is made again too, and the mean over all decides: by the spread that is stated, or, where the runs
        scatter more here, by that of both.
        """
        pairs, part = self._pairs(chosen), shared(chosen)
        name = ", ".join(filter(None, key_of(chosen[0])))
        limits = {score: least(score) if self.here else limit["run"] for score, limit in spread.items()}
        far = [f"{name}, {_which(pair[0])}: {text}" for pair in pairs for text in _far([pair], limits)]
        if len(pairs) > 1:
            limits = {score: max(least(score), part * limit) for score, limit in limits.items()}
            far += [f"{name}, the mean of {len(pairs)} runs: {text}" for text in _far(pairs, limits)]
        if far and not self.here:
            pairs += self._pairs(rest)
            limits = _of_both(spread, spreads([found for _, found in pairs]) if pairs else spread)
            far = [f"{name}, the mean of {counted(len(pairs), 'run')}: {text}" for text in _far(pairs, limits)]
        self.differences += far

    def _pairs(self, runs: list[Run]) -> list[tuple[Run, Run]]:
        """Each run as it is stated and as it is here, if it can be made."""
        made = []
        for stated in runs:
            item, solver = self.items.get(stated["protocol"], {}).get(stated["item"]), self._solver(stated["entry"])
            if item is None or solver is None:
                continue
            found, _ = attempt(solver, item, stated["seed"], self.known[stated["protocol"]].relative)
            made.append((stated, found))
            if bool(stated["failure"]) != bool(found["failure"]):
                name = ", ".join([*filter(None, key_of(stated)), _which(stated)])
                was, became = (run["failure"] or "no failure" for run in (stated, found))
                self.differences.append(f"{name}: {was} became {became}")
        self.count += len(made)
        return made

    def _solver(self, name: str) -> Entry | None:
        if name not in self.solvers:
            self.solvers[name] = None
            try:
                self.solvers[name] = entry(name)
            except (ImportError, TypeError, ValueError) as error:
                self.differences.append(f"{name} cannot be run here: {error}")
        return self.solvers[name]


def _of_both(stated: dict[str, dict[str, float]], here: dict[str, dict[str, float]]) -> dict[str, float]:
    """By how much the means of a row may differ; the variance of each is half the square of its spread."""
    limits = {score: limit["mean"] for score, limit in stated.items()}
    both = {score: math.hypot(limit, here[score]["mean"]) / math.sqrt(2) for score, limit in limits.items()}
    return {score: max(limit, both[score]) for score, limit in limits.items()}


def _which(run: Run) -> str:
    return f"{run['item']}, seed {run['seed']}"


def _far(pairs: list[tuple[Run, Run]], limits: dict[str, float]) -> Iterator[str]:
    """The scores of one run, or of the mean of several, that differ by more than they may."""
    for score, limit in limits.items():
        apart = [_apart(stated[score], found[score]) for stated, found in pairs]
        mean = sum(apart) / len(apart) if apart else 0.0
        if abs(mean) <= limit:
            continue
        if len(pairs) > 1:
            yield f"{score} is {abs(mean):.4g} away, more than {limit:.4g}"
        else:
            stated, found = pairs[0]
            yield f"{score} {stated[score]} became {found[score]}, more than {limit:.4g} away"


def _apart(stated: float | None, found: float) -> float:
    """By how much a score differs; a file holds None in place of what is no number."""
    here = finite(found)
    return 0.0 if stated == here else math.inf if stated is None or here is None else stated - found
