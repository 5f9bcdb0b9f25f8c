"""Do the tests notice small faults? Changes the library in one place at a time and runs the tests that see it.

    python -m tools.mutants                                          # all of the packages in PACKAGES: hours
    python -m tools.mutants --sample 400 --seed 1 --jobs 2           # a random sample: a score with its interval
    python -m tools.mutants src/phaseret/losses/_passive.py --list   # what would be changed
    python -m tools.mutants --again                                  # the survivors, after tests were added

The first call records which test runs which line of which file. Then every mutant runs in a process forked from one
that has imported torch, the library and the tests: the changed function gets its new code there, and the tests that run
its line follow, the quickest first, until one fails. Only what an import runs (defaults,
constants) needs an import of its own. A mutant is killed when a test fails or takes much longer than it did.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import importlib.machinery
import inspect
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
import scipy.optimize  # noqa: F401
import torch  # noqa: F401  both are loaded once, before any fork
from coverage import Coverage

from benchmarks.shares import interval
from tools._mutations import Finder, Mutant

ROOT = Path(__file__).parents[1]
PACKAGES = [f"src/phaseret/{name}" for name in ("operators", "losses", "projections", "symmetry", "solvers")]
TESTS = ("background", "bad_input", "checks", "devices", "fft", "interop", "losses", "memory", "metrics", "noise",
         "operators", "point_spread", "projections", "promises", "solvers", "symmetry", "testing")  # fmt: skip
QUIET = ["-q", "--tb=short", "--no-header", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-p", "no:xdist"]
SURVIVED, KILLED, ELSEWHERE = 0, 1, 3  # exit codes of a mutant's process; a signal is too slow or a crash
EQUIVALENT = Path(__file__).with_name("equivalent.json")
MEMORY = 2**33
LONGEST = 60.0  # seconds of tests, traced, that a mutant may take; those that come after them are not asked


class _Plugin:
    """Collects the tests, and runs `loop` in place of all of them."""

    def __init__(self, loop: Callable[[pytest.Session], object]) -> None:
        self.loop = loop

    def pytest_sessionstart(self) -> None:
        """No search for smaller examples, and the same examples each time."""
        import hypothesis  # not sooner: pytest rewrites its plugin

        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        hypothesis.settings.register_profile("mutants", phases=phases, database=None, derandomize=True)
        hypothesis.settings.load_profile("mutants")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.loop(session)
        return True


def _pytest(loop: Callable[[pytest.Session], object], files: Iterable[str]) -> int:
    (ROOT / "runs/mutants").mkdir(parents=True, exist_ok=True)
    os.dup2(os.open(ROOT / "runs/mutants/log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    return pytest.main([*QUIET, *sorted(files)], plugins=[_Plugin(loop)])


def _forked(tasks: Iterable[Callable[[], object]], jobs: int) -> Iterator[tuple[int, int]]:
    """Run each task in a process of its own and give (number, exit code) as they end."""
    fork, running = multiprocessing.get_context("fork"), {}
    for number, task in enumerate(tasks):
        while len(running) >= jobs:
            yield from _ended(running)
        running[number] = fork.Process(target=_leave, args=(task,))
        running[number].start()
    while running:
        yield from _ended(running)


def _ended(running: dict[int, Any]) -> list[tuple[int, int]]:
    wait([process.sentinel for process in running.values()])
    done = [number for number, process in running.items() if process.exitcode is not None]
    return [(number, running.pop(number).exitcode) for number in done]


def _leave(task: Callable[[], object]) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    code = task()
    os._exit(code if isinstance(code, int) else 0)


# --- which test sees which line --------------------------------------------------------------------------------------


def _record(path: Path, known: dict[str, list[Any]]) -> Callable[[pytest.Session], None]:
    """Write the text of each test, its seconds, the lines that it runs, and whether it passes."""

    def loop(session: pytest.Session) -> None:
        from results import provenance  # not sooner: see in_imports

        seen: dict[str, list[Any]] = {}
        tracer = Coverage(data_file=None, config_file=False, include=[f"{ROOT / package}/*" for package in PACKAGES])
        tracer.set_option("run:disable_warnings", ["no-data-collected"])  # as a test of another package collects none
        tracer.start()
        for item, following in zip(session.items, [*session.items[1:], None], strict=True):
            text = inspect.getsource(item.function)  # type: ignore[attr-defined]
            if item.nodeid in known and known[item.nodeid][0] == text:
                seen[item.nodeid] = known[item.nodeid]
                continue
            failed, start = session.testsfailed, time.process_time()
            tracer.switch_context(item.nodeid)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            tracer.switch_context("")
            seconds = time.process_time() - start
            seen[item.nodeid] = [text, seconds, {}, failed == session.testsfailed]
        tracer.stop()
        data = tracer.get_data()
        for file in data.measured_files():
            name = str(Path(file).relative_to(ROOT))
            for line, tests in sorted(data.contexts_by_lineno(file).items()):
                for test in tests:
                    if test:
                        seen[test][2].setdefault(name, []).append(line)
        provenance.write_json(path, seen)

    return loop


def recorded() -> dict[str, tuple[float, dict[str, list[int]]]]:
    """Seconds and lines of each test that passes, recorded anew where a test or the library changed."""
    library = b"".join(path.read_bytes() for name in PACKAGES for path in sorted((ROOT / name).glob("*.py")))
    folder, seen = ROOT / "runs/mutants" / hashlib.sha256(library).hexdigest()[:12], {}
    for test in sorted(path for name in TESTS for path in (ROOT / "tests").glob(f"test_{name}*.py")):
        path = folder / f"{test.stem}-{hashlib.sha256(test.read_bytes()).hexdigest()[:12]}.json"
        if not path.exists():
            print(f"recording {test.name}", flush=True)
            before = [json.loads(old.read_text()) for old in folder.glob(f"{test.stem}-????????????.json")]
            known = {name: row for rows in before for name, row in rows.items()}
            list(_forked([partial(_pytest, _record(path, known), [str(test)])], 1))
        seen.update(json.loads(path.read_text()))
    return {test: (seconds, lines) for test, (_, seconds, lines, passed) in seen.items() if passed}


# --- the mutants -----------------------------------------------------------------------------------------------------


class _Judge:
    """Runs the tests of each mutant until one fails."""

    def __init__(self, tests: dict[str, tuple[float, dict[str, list[int]]]]) -> None:
        self.seconds = {test: seconds for test, (seconds, _) in tests.items()}
        self.seen: dict[tuple[str, int], set[str]] = {}
        for test, (_, files) in tests.items():
            for file, lines in files.items():
                for line in lines:
                    self.seen.setdefault((file, line), set()).add(test)

    def see(self, mutant: Mutant) -> set[str]:
        """The tests that run a mutant's line; of what an import runs, those that run what stands around it."""
        first, last = mutant.lines if mutant.function else mutant.scope
        return set[str]().union(*(self.seen.get((mutant.file, n), ()) for n in range(first, last + 1)))

    def tests(self, mutant: Mutant) -> list[str]:
        """The tests that can see a mutant, the quickest first; cases of one function and other packages come later."""
        found = self.see(mutant)
        # No line is seen of what torch compiles or an import runs: whoever runs any line of the file may run this one.
        found = found or set().union(*(tests for (file, _), tests in self.seen.items() if file == mutant.file))
        own, ranks, order = f"tests/test_{Path(mutant.file).parent.name}", Counter[str](), list[tuple[float, str]]()
        for seconds, test in sorted((self.seconds[test], test) for test in found):
            function = test.partition("[")[0]
            ranks[function] += 1
            order.append((seconds * ranks[function] * (1 if test.startswith(own) else 2), test))
        chosen, left = [], LONGEST
        for _, test in sorted(order):
            left -= self.seconds[test]
            if left < 0 and chosen:
                break
            chosen.append(test)
        return chosen

    def run(self, mutant: Mutant, session: pytest.Session) -> int:
        """The exit code of the process of one mutant."""
        items = {item.nodeid: item for item in session.items}
        tests = [items[test] for test in self.tests(mutant) if test in items]
        for item, following in zip(tests, [*tests[1:], None], strict=True):
            # They end the process: the first where it computes, however busy the machine is, the other where it waits.
            signal.setitimer(signal.ITIMER_PROF, 5 + 10 * self.seconds[item.nodeid])
            signal.setitimer(signal.ITIMER_REAL, 60 + 20 * self.seconds[item.nodeid])
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                return KILLED
        return SURVIVED

    def in_functions(self, mutants: list[Mutant], jobs: int, say: Callable[[int, int], None]) -> int:
        """Judge mutants of bodies of functions, by changing the functions that an import made."""

        def loop(session: pytest.Session) -> None:
            known: dict[tuple[str, str, int], list[FunctionType]] = {}
            for function in gc.get_objects():
                if type(function) is FunctionType:  # isinstance would ask lazy objects
                    code = function.__code__
                    known.setdefault((code.co_filename, code.co_name, code.co_firstlineno), []).append(function)
            gc.freeze()

            def task(mutant: Mutant) -> int:
                path, place = ROOT / mutant.file, mutant.function or ("", 0)
                functions = known.get((str(path), *place), [])
                try:
                    for code in _codes(compile(mutant.apply(path.read_bytes()), str(path), "exec")):
                        if (code.co_name, code.co_firstlineno) == place:
                            for function in functions:
                                function.__code__ = code
                except ValueError:  # it uses other variables of its surroundings
                    return ELSEWHERE
                return self.run(mutant, session) if functions else ELSEWHERE

            for number, code in _forked([partial(task, mutant) for mutant in mutants], jobs):
                say(number, code)

        return _pytest(loop, {test.split("::")[0] for mutant in mutants for test in self.tests(mutant)})

    def in_imports(self, mutant: Mutant) -> int:
        """Judge a mutant of what an import runs, in a process that has not imported the library yet."""
        path, code = ROOT / mutant.file, SURVIVED
        loader: Any = importlib.machinery.SourceFileLoader
        get_code = loader.get_code

        def changed(self: Any, name: str) -> CodeType:
            if Path(self.path) == path:
                return compile(mutant.apply(path.read_bytes()), str(path), "exec")
            return get_code(self, name)

        def loop(session: pytest.Session) -> None:
            nonlocal code
            code = self.run(mutant, session)

        loader.get_code = changed
        ended = _pytest(loop, {test.split("::")[0] for test in self.tests(mutant)})
        return KILLED if ended else code


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _codes(part)


def judge(mutants: list[Mutant], jobs: int) -> Iterator[tuple[Mutant, int]]:
    """Each mutant with the exit code of its process, as they end."""
    judge, answers = _Judge(recorded()), multiprocessing.get_context("fork").SimpleQueue()
    body, rest = [], []
    for mutant in mutants:
        if not judge.tests(mutant):
            yield mutant, SURVIVED
        else:
            (body if mutant.function and judge.see(mutant) else rest).append(mutant)

    def functions() -> int:
        ended = judge.in_functions(body, jobs, lambda *answer: answers.put(answer)) if body else 0
        answers.put(None)
        return ended

    worker = multiprocessing.get_context("fork").Process(target=_leave, args=(functions,))
    worker.start()
    for number, code in iter(answers.get, None):
        if code == ELSEWHERE:
            rest.append(body[number])
        else:
            yield body[number], code
    worker.join()
    if worker.exitcode:
        raise SystemExit("The tests could not be run: see runs/mutants/log.")
    for number, code in _forked([partial(judge.in_imports, mutant) for mutant in rest], jobs):
        yield rest[number], code


# --- the report ------------------------------------------------------------------------------------------------------


def survivors_of(before: dict[str, Any], mutants: list[Mutant]) -> list[Mutant]:
    """The mutants that survived in an earlier report, wherever their lines are now; lines that are gone have none."""
    places: dict[tuple[str, str, str], list[Mutant]] = {}
    for mutant in mutants:
        places.setdefault((mutant.file, *mutant.change((ROOT / mutant.file).read_bytes())), []).append(mutant)
    found = []
    for old in before["survivors"]:
        same = places.get((old["file"], old["before"], old["after"]), [])
        if same:
            found.append(min(same, key=lambda mutant: abs(mutant.lines[0] - old["line"])))
    return found


def report(judged: list[tuple[Mutant, int]], everything: int, before: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """The table per file, and the survivors with what explains them; `before` are rows whose killed ones count too."""
    explained = {(e["file"], e["before"], e["after"]): e["why"] for e in json.loads(EQUIVALENT.read_text())}
    survivors, files = [], {}
    for old in before:
        files[old["file"]] = {"file": old["file"], "mutants": old["killed"], "killed": old["killed"], "equivalent": 0}
    for mutant, code in sorted(judged, key=lambda judgement: (judgement[0].file, judgement[0].span)):
        row = files.setdefault(mutant.file, {"file": mutant.file, "mutants": 0, "killed": 0, "equivalent": 0})
        row["mutants"] += 1
        if code != SURVIVED:
            row["killed"] += 1
        else:
            before, after = mutant.change((ROOT / mutant.file).read_bytes())
            why = explained.get((mutant.file, before, after))
            row["equivalent"] += why is not None
            survivors.append({"file": mutant.file, "line": mutant.lines[0], "before": before, "after": after})
            survivors[-1].update({"equivalent": why} if why else {})
    rows = list(files.values())
    total, killed, equal = (sum(row[name] for row in rows) for name in ("mutants", "killed", "equivalent"))
    rows.append({"file": "all", "mutants": total, "killed": killed, "equivalent": equal})
    for row in rows:
        row["score"] = round(row["killed"] / max(1, row["mutants"] - row["equivalent"]), 3)
    head = {"mutants there are": everything, "judged": total, "interval": interval(killed, total - equal)}
    return {**head, "rows": rows, "survivors": survivors}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", help="files to change, default: all of the packages")
    parser.add_argument("--sample", type=int, help="judge this many, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--again", action="store_true", help="judge the survivors in results/mutants.json again, only")
    parser.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    asked = parser.parse_args()
    files = asked.files or [str(path) for name in PACKAGES for path in sorted(Path(name).glob("*.py"))]
    mutants = [mutant for file in files for mutant in Finder(file, Path(file).read_bytes()).found]
    everything = len(mutants)
    path, earlier = ROOT / "results/mutants.json", dict[str, Any](rows=[])
    if asked.again:
        earlier = json.loads(path.read_text())
        mutants = survivors_of(earlier, mutants)
    elif asked.sample:
        mutants = random.Random(asked.seed).sample(mutants, min(asked.sample, everything))
    judged, words = [], {None: "", SURVIVED: "survived", KILLED: "killed"}
    for mutant, code in ((mutant, None) for mutant in mutants) if asked.list else judge(mutants, asked.jobs):
        before, after = mutant.change(Path(mutant.file).read_bytes())
        print(f"{mutant.file}:{mutant.lines[0]} {words.get(code, 'killed: too slow, or crashed')}")
        print(f"  - {before}\n  + {after}", flush=True)
        judged.append((mutant, code))
    if asked.list:
        return
    from results import provenance  # not sooner: see in_imports

    content = report(judged, everything, [row for row in earlier["rows"] if row["file"] != "all"])
    for row in content["rows"]:
        print(f"{row['file']:45} {row['mutants']:5} {row['killed']:5} {row['equivalent']:5} {row['score']:7.1%}")
    command = " ".join(["python -m tools.mutants", *sys.argv[1:]])
    if asked.again:
        command = f"{earlier['command']}; {command}"
    provenance.write_json(path, {**provenance.about(command), **content})


if __name__ == "__main__":
    main()
