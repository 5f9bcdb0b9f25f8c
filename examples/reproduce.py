"""The paper with numbers: each figure and claim as an experiment that one command repeats.

    python examples/reproduce.py fig5 --data FOLDER       # train, score, write fig5.json and fig5.png
    python examples/reproduce.py --report                 # draw all figures again from the saved results

Each experiment is a module of examples/paper with a configuration file beside it, which has the presets "cpu" (what two
cores do in minutes to an hour) and "paper" (the full protocol). Results go to benchmarks/results: NAME.json with all
numbers, NAME.npz with the images shown, NAME.png. A killed run, started again, goes on from its last checkpoints;
trainings that are done are not done again. With ``torchrun`` in place of ``python`` each training runs on all
processes. FOLDER holds mnist/ with the IDX files and objects/ with other images (default: the environment's
PHASERET_DATA_DIR).
"""

from __future__ import annotations

import argparse
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
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))  # results tell hardware and commit in the same words everywhere

from paper.experiment import Context, Result  # noqa: E402
from timing import commit, machine  # noqa: E402
from training import bfloat16_is_fast, quiet_lightning, replace  # noqa: E402

EXPERIMENTS = ("fig1", "fig2", "fig5", "ablation", "hybrid", "photons", "complex", "other_data", "gaussian")
MODULES = {name: f"paper.{name}" for name in EXPERIMENTS} | {"complex": "paper.complex_objects"}


def configuration(name: str, preset: str, package: str = "paper") -> dict[str, Any]:
    """The preset's settings of an experiment, from the file beside its module."""
    path = Path(__file__).parent / package / f"{name}.yaml"
    presets: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return presets[preset]


def save(name: str, result: Result, command: str, folder: Path) -> None:
    """NAME.json, NAME.npz if the figure shows images, and NAME.png."""
    about = {
        "command": command,
        "commit": commit(),
        "hardware": machine(),
        "seed": result.seed,
        "budget": result.budget,
        "rows": result.rows,
    }
    replace(folder / f"{name}.json", lambda path: path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8"))
    if result.arrays:
        save_arrays(folder / f"{name}.npz", result.arrays)
    report(name, folder)


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write the images of a figure."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    replace(path, write)


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure and say where."""
    replace(path, lambda temporary: figure.savefig(temporary, format="png", dpi=100, bbox_inches="tight"))
    print(path)


def report(name: str, folder: Path) -> None:
    """Draw the figure of an experiment from its saved results."""
    saved = folder / f"{name}.json"
    if not saved.exists():
        raise ValueError(f"--results must hold {saved.name}, got {folder}. Run the experiment first: without --report.")
    rows = json.loads(saved.read_text(encoding="utf-8"))["rows"]
    arrays: dict[str, Any] = {}
    if (folder / f"{name}.npz").exists():
        with np.load(folder / f"{name}.npz") as file:
            arrays = dict(file)
    save_figure(folder / f"{name}.png", importlib.import_module(MODULES[name]).draw(rows, arrays))


def parse(
    arguments: Sequence[str] | None, prog: str, about: str | None, names: Sequence[str], out: Path
) -> argparse.Namespace:
    """The options of the commands that run experiments and keep their results."""
    parser = argparse.ArgumentParser(prog=prog, description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("experiments", nargs="*", choices=[*names, []], metavar="NAME", help=", ".join(names))
    add("--preset", choices=("cpu", "paper"), default="cpu", help="budget (default: cpu)")
    add("--data", type=Path, metavar="FOLDER", help="with mnist/ and objects/ (default: $PHASERET_DATA_DIR)")
    add("--out", type=Path, default=out, help=f"checkpoints and logs (default: {out})")
    add("--results", type=Path, default=ROOT / "benchmarks/results", help="default: benchmarks/results")
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


def repeat(script: str, name: str, options: argparse.Namespace) -> str:
    """The command that runs an experiment again."""
    return f"python examples/{script}.py {name} --preset {options.preset}" + " --data FOLDER" * bool(options.data)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments, "reproduce", __doc__, EXPERIMENTS, Path("runs/paper"))
    matplotlib.use("Agg")
    quiet_lightning()
    # What the warning says of single reconstructions is what the tables count.
    warnings.filterwarnings("ignore", ".*starts.*")
    names = options.experiments or [n for n in EXPERIMENTS if (options.results / f"{n}.json").exists()]
    if not names:
        sys.exit(
            f"reproduce: error: --results must hold saved results, got {options.results}. Run an experiment first."
        )
    for name in names:
        started = time.perf_counter()
        context = Context(
            configuration(name, options.preset),
            options.data,
            options.out / options.preset / name,
            options.jobs,
            bfloat16_is_fast(),
        )
        try:
            if options.report:
                report(name, options.results)
                continue
            result = importlib.import_module(MODULES[name]).run(context)
        except (ValueError, OSError) as error:
            sys.exit(f"reproduce: error: {name}: {error}")
        if int(os.environ.get("RANK", "0")) == 0:
            save(name, result, repeat("reproduce", name, options), options.results)
            print(f"{name}: {time.perf_counter() - started:.0f} s on {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
