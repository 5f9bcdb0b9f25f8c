"""How results are written: complete or not at all, and with the command, the commit and the machine they are from."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from phaseret._output import written
from phaseret._words import finite
from phaseret.bench import _machine
from phaseret.bench._machine import machine as machine

RESULTS = Path(__file__).parent


def commit(library: Path = RESULTS.parent / "src") -> str:
    """The commit of the working tree that the library lies in, with a + if the library has changes."""
    return _machine.commit(library)


def about(command: str) -> dict[str, object]:
    """The head of every file of results."""
    return {"command": command, "commit": commit(), "hardware": machine()}


def save_speed(name: str, rows: list[dict[str, object]]) -> None:
    """Write NAME.json of a benchmark whose figures depend on the processor's instructions: a row says with which.

    Rows of the same commit and machine with other instructions (`ATEN_CPU_CAPABILITY=avx2`) stay beside the new ones.
    """
    instructions = torch.backends.cpu.get_cpu_capability()
    file, machine_now = RESULTS / f"{name}.json", about("")
    kept: list[dict[str, object]] = []
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        same = before["commit"] == machine_now["commit"] and before["hardware"]["cpu"] == machine()["cpu"]
        kept = [row for row in before["rows"] if same and row.get("instructions", instructions) != instructions]
    save(name, [*kept, *({"instructions": instructions, **row} for row in rows)])


def save(name: str, rows: list[dict[str, object]], arguments: Sequence[str] | None = None) -> None:
    """Write NAME.json of the benchmark that runs; `arguments` make just this file, if those given make more."""
    script = Path(sys.argv[0])
    words = sys.argv[1:] if arguments is None else arguments
    command = " ".join([f"python -m {script.parent.name}.{script.stem}", *words])
    write_json(RESULTS / f"{name}.json", {**about(command), "rows": rows})


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file; what is no finite number is null there, as JSON has none."""
    text = json.dumps(finite(content), indent=1, allow_nan=False) + "\n"
    replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file completely or not at all; of several processes the last one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path, overwrite=True) as temporary:
        write(temporary)
