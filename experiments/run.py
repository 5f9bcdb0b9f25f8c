"""Run experiments of the paper and protocols of the leaderboard, keep their results, and draw them.

    python -m experiments.run fig5 mnist28 --data FOLDER      # train, score, write results/fig5.json, enter mnist28
    python -m experiments.run --report                        # draw all figures again from the saved results

The presets of each configuration file are "cpu" (what two cores do in minutes to an hour) and "paper" (the full
protocol). An experiment of the paper writes NAME.json with all numbers, NAME.npz with the images shown, and NAME.png; a
protocol replaces its own rows of leaderboard.json, and writes leaderboard_NAME.npz and .png. A killed run, started
again, goes on from its last checkpoints; trainings that are done are not done again. With ``torchrun -m`` in place of
``python -m`` each training of the paper runs on all processes. FOLDER holds mnist/ with the IDX files and objects/ with
other images (default: the environment's PHASERET_DATA_DIR).
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
import yaml

from experiments import Context, Result
from experiments.fit import bfloat16_is_fast, quiet_lightning
from experiments.pictures import estimates_of_systems
from results.provenance import RESULTS, about, replace, write_json

PAPER = ("fig1", "fig2", "fig5", "ablation", "hybrid", "tail", "photons", "complex", "other_data", "slices", "gaussian")
ZOO = ("mnist28", "mnist64", "untrained", "natural128", "near_field", "correlography")
HERE = Path(__file__).parent


def place(name: str) -> str:
    """The folder of an experiment."""
    return "paper" if name in PAPER else "zoo"


def file_of(name: str, results: Path, kind: str) -> Path:
    """Where an experiment's results, images or figure are."""
    return results / (f"{name}.{kind}" if name in PAPER else f"leaderboard_{name}.{kind}")


def configuration(name: str, preset: str) -> dict[str, Any]:
    """The preset's settings of an experiment, from the file beside its module."""
    presets: dict[str, Any] = yaml.safe_load((HERE / place(name) / f"{name}.yaml").read_text(encoding="utf-8"))
    return presets[preset]


def listed() -> str:
    """All experiments, each with the first line of its module."""
    lines = []
    for names, title in ((PAPER, "the paper:"), (ZOO, "the leaderboard:")):
        lines.append(title)
        for name in names:
            text = (HERE / place(name) / f"{name}.py").read_text(encoding="utf-8")
            lines.append(f"  {name:14} {(ast.get_docstring(ast.parse(text)) or '').splitlines()[0]}")
    return "\n".join(lines)


# --- results ----------------------------------------------------------------------------------------------------------


def save(name: str, result: Result, command: str, results: Path) -> None:
    """Write what the experiment found, and draw it."""
    head = {**about(command), "seed": result.seed, "budget": result.budget}
    if name in PAPER:
        write_json(file_of(name, results, "json"), {**head, "rows": result.rows})
    else:
        path = results / "leaderboard.json"
        board = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"protocols": {}, "rows": []}
        write_json(path, entered(board, name, result, head))
    if result.arrays:

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez_compressed(file, **result.arrays)

        replace(file_of(name, results, "npz"), write)
    report(name, results)


def entered(board: dict[str, Any], name: str, result: Result, head: dict[str, Any]) -> dict[str, Any]:
    """The leaderboard with the rows of a protocol, in place of those it had before."""
    rows = [row for row in board["rows"] if row["protocol"] != name]
    rows += [{"protocol": name, **row} for row in result.rows]
    protocols = {**board["protocols"], name: head}
    order = [protocol for protocol in ZOO if protocol in protocols]
    rows.sort(key=lambda row: order.index(row["protocol"]))
    return {"protocols": {protocol: protocols[protocol] for protocol in order}, "rows": rows}


def saved(name: str, results: Path) -> Path:
    """The file without which an experiment's figure cannot be drawn."""
    return file_of(name, results, "json" if name in PAPER else "npz")


def report(name: str, results: Path) -> None:
    """Draw the figure of an experiment from its saved results."""
    needed, images, arrays = saved(name, results), file_of(name, results, "npz"), {}
    if not needed.exists():
        raise ValueError(
            f"--results must hold {needed.name}, got {results}. Run the experiment first: without --report."
        )
    if images.exists():
        with np.load(images) as file:
            arrays = dict(file)
    if name in PAPER:
        rows = json.loads(needed.read_text(encoding="utf-8"))["rows"]
        figure = importlib.import_module(f"experiments.paper.{name}").draw(rows, arrays)
    else:
        figure = estimates_of_systems(arrays)
    path = file_of(name, results, "png")
    replace(path, lambda temporary: figure.savefig(temporary, format="png", dpi=100, bbox_inches="tight"))
    print(path)


# --- the command ------------------------------------------------------------------------------------------------------


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run", description=__doc__, epilog=listed(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("experiments", nargs="*", choices=[*PAPER, *ZOO, []], metavar="NAME", help="see the list below")
    add("--preset", choices=("cpu", "paper"), default="cpu", help="budget (default: cpu)")
    add("--data", type=Path, metavar="FOLDER", help="with mnist/ and objects/ (default: $PHASERET_DATA_DIR)")
    add("--out", type=Path, default=Path("runs"), help="checkpoints and logs (default: runs)")
    add("--results", type=Path, default=RESULTS, help="default: results")
    add("--jobs", type=int, default=1, metavar="N", help="trainings at a time, sharing cores and GPU (default: 1)")
    add("--report", action="store_true", help="train nothing: draw the figures of the saved results again")
    options = parser.parse_args(arguments)
    if not options.experiments and not options.report:
        parser.error("name at least one experiment, or give --report")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {options.jobs}")
    if options.data is None and "PHASERET_DATA_DIR" in os.environ:
        options.data = Path(os.environ["PHASERET_DATA_DIR"])
    return options


def run(name: str, options: argparse.Namespace) -> None:
    """Run one experiment and save what it found."""
    started = time.perf_counter()
    folder = options.out / place(name) / options.preset / name
    settings = configuration(name, options.preset)
    context = Context(settings, options.data, folder, options.jobs, bfloat16_is_fast())
    result = importlib.import_module(f"experiments.{place(name)}.{name}").run(context)
    if int(os.environ.get("RANK", "0")) == 0:
        command = f"python -m experiments.run {name} --preset {options.preset}" + " --data FOLDER" * bool(options.data)
        save(name, result, command, options.results)
        print(f"{name}: {time.perf_counter() - started:.0f} s on {torch.get_num_threads()} threads")


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    matplotlib.use("Agg")
    quiet_lightning()
    # What the warning says of single reconstructions is what the tables count.
    warnings.filterwarnings("ignore", ".*starts.*")
    names = options.experiments or [name for name in (*PAPER, *ZOO) if saved(name, options.results).exists()]
    if not names:
        sys.exit(f"run: error: --results must hold saved results, got {options.results}. Run an experiment first.")
    for name in names:
        try:
            if options.report:
                report(name, options.results)
            else:
                run(name, options)
        except (ValueError, OSError) as error:
            sys.exit(f"run: error: {name}: {error}")


if __name__ == "__main__":
    main()
