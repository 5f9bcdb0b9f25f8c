"""Run the tests and write the twenty that take longest into CONTRIBUTING.md, between its two marks.

    python -m tools.slowest                # the tests of make test
    python -m tools.slowest -m slow        # any other choice, in words of pytest

A test's time is that of the test and of the fixtures that it was the first to ask for, on a machine that has nothing
else to do.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from results.provenance import machine

ROOT = Path(__file__).parents[1]
FIRST, LAST = "<!-- slowest tests -->\n", "<!-- end of slowest tests -->\n"
SHOWN = 20


def main(options: list[str]) -> int:
    """Run, and replace the table if all tests pass."""
    command = ["-m", "pytest", "-n", "2", "--dist", "worksteal", *options]
    about, began = machine(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        run = subprocess.run([sys.executable, *command, f"--junitxml={report}"], cwd=ROOT, env=environment)
        if run.returncode:
            return run.returncode
        cases = [case.attrib for case in ElementTree.parse(report).iter("testcase")]
    seconds = time.perf_counter() - began
    text = f"`python {shlex.join(command)}` ran {len(cases)} tests in {seconds:.0f} s on {os.cpu_count()} cores of an "
    text += f"{about['cpu']} (load {about['load']} before), Python {about['python']}, torch {about['torch']}.\n\n"
    text += "| seconds | test |\n|---|---|\n"
    for case in sorted(cases, key=lambda case: -float(case["time"]))[:SHOWN]:
        file = case["classname"].replace(".", "/")
        text += f"| {float(case['time']):.1f} | `{file}.py::{case['name']}` |\n"
    page = ROOT / "CONTRIBUTING.md"
    before, rest = page.read_text(encoding="utf-8").split(FIRST)
    page.write_text(f"{before}{FIRST}{text}{LAST}{rest.split(LAST)[1]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
