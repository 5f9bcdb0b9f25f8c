"""The leaderboard: learned, untrained and classical systems on equal data, scored by one function.

    python examples/leaderboard.py mnist28 --data FOLDER      # train, score, enter into leaderboard.json
    python examples/leaderboard.py --report                   # draw all figures again from the saved results

Each protocol is a module of examples/zoo with a configuration file beside it, with the presets "cpu" and "paper". Its
rows replace those it had in benchmarks/results/leaderboard.json; estimates of some test objects are drawn in
leaderboard_NAME.png. A killed run, started again, goes on from its last checkpoints. FOLDER holds mnist/ with the IDX
files (default: the environment's PHASERET_DATA_DIR).
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure

from paper.experiment import Context, Result
from reproduce import commit, configuration, machine, parse, repeat, save_arrays, save_figure
from training import bfloat16_is_fast, quiet_lightning, replace

PROTOCOLS: tuple[str, ...] = ("mnist28", "mnist64", "untrained", "natural128", "near_field", "correlography")


def entered(board: dict[str, Any], name: str, result: Result, about: dict[str, Any]) -> dict[str, Any]:
    """The leaderboard with the rows of a protocol, in place of those it had before."""
    rows = [row for row in board.get("rows", []) if row["protocol"] != name]
    rows += [{"protocol": name, **row} for row in result.rows]
    protocols = {**board.get("protocols", {}), name: {**about, "seed": result.seed, "budget": result.budget}}
    order = [protocol for protocol in PROTOCOLS if protocol in protocols]
    rows.sort(key=lambda row: order.index(row["protocol"]))
    return {"protocols": {protocol: protocols[protocol] for protocol in order}, "rows": rows}


def save(name: str, result: Result, command: str, folder: Path) -> None:
    """The protocol's part of leaderboard.json, leaderboard_NAME.npz and .png."""
    path = folder / "leaderboard.json"
    board = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    about = {"command": command, "commit": commit(), "hardware": machine()}
    text = json.dumps(entered(board, name, result, about), indent=1) + "\n"
    replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    save_arrays(folder / f"leaderboard_{name}.npz", result.arrays)
    report(name, folder)


def report(name: str, folder: Path) -> None:
    """Draw the figure of a protocol from its saved estimates."""
    saved = folder / f"leaderboard_{name}.npz"
    if not saved.exists():
        raise ValueError(f"--results must hold {saved.name}, got {folder}. Run the protocol first: without --report.")
    with np.load(saved) as file:
        save_figure(saved.with_suffix(".png"), draw(dict(file)))


def draw(arrays: dict[str, Any]) -> Figure:
    """One line of test objects per system."""
    columns = len(next(iter(arrays.values())))
    figure = Figure(figsize=(1.05 * columns + 2.4, 1.05 * len(arrays)), layout="constrained")
    axes = figure.subplots(len(arrays), columns, squeeze=False, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
    for line, (system, images) in zip(axes, arrays.items(), strict=True):
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image, cmap="gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(system, rotation=0, ha="right", va="center", fontsize=9)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments, "leaderboard", __doc__, PROTOCOLS, Path("runs/zoo"))
    matplotlib.use("Agg")
    quiet_lightning()
    names = options.experiments or [n for n in PROTOCOLS if (options.results / f"leaderboard_{n}.npz").exists()]
    if not names:
        sys.exit(f"leaderboard: error: --results must hold saved results, got {options.results}. Run a protocol first.")
    for name in names:
        started = time.perf_counter()
        folder = options.out / options.preset / name
        config = configuration(name, options.preset, "zoo")
        context = Context(config, options.data, folder, options.jobs, bfloat16_is_fast())
        try:
            if options.report:
                report(name, options.results)
                continue
            result = importlib.import_module(f"zoo.{name}").run(context)
        except (ValueError, OSError) as error:
            sys.exit(f"leaderboard: error: {name}: {error}")
        save(name, result, repeat("leaderboard", name, options), options.results)
        print(f"{name}: {time.perf_counter() - started:.0f} s on {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
