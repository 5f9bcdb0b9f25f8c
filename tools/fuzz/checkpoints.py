"""What an interrupted run keeps, damaged: the next run says so, or ends where an undisturbed one ends."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

import torch

from tools.fuzz import kills
from tools.fuzz._attempt import Refused, Target, Wrong
from tools.fuzz._mutate import changed

# What is tried: where an interrupted run keeps it, and how many files there are half-way.
JOBS = {
    "training": ("checkpoints of a training", "run/*.ckpt", 2),
    "stack": ("finished blocks of a stack", "out.h5.parts/*", 4),
    "pattern": ("the checkpoint of a pattern", "out.h5.checkpoint", 1),
}
KEPT: dict[str, dict[str, bytes]] = {}  # of each job, the files of a run that was killed half-way


def half_way(name: str, folder: Path) -> list[bytes]:
    """Kill the job a bit later each time, until it has kept something; each of its files is a seed."""
    job = f"kill-{name}"
    kills.undisturbed(job, folder)
    _, pattern, count = JOBS[name]
    before = Path.cwd()
    os.chdir(folder)
    for event in range(20, 2000, 2):
        for file in sorted(folder.rglob("*"), reverse=True):
            if file.name != "in.npz":
                file.rmdir() if file.is_dir() else file.unlink()
        kills.in_a_process(kills.JOBS[job], f"event {event}")
        found = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        tried = [str(file.relative_to(folder)) for file in sorted(folder.glob(pattern)) if file.suffix != ".part"]
        if len(tried) >= count:
            break
    os.chdir(before)
    KEPT[name] = found
    return [f"{file}\n".encode() + found[file] for file in tried]


def run(name: str, folder: Path, data: bytes) -> None:
    """The first line names the file, whose content follows."""
    expected = kills.undisturbed(f"kill-{name}", folder)[0]
    file, _, content = data.partition(b"\n")
    files = KEPT[name] | ({file.decode(): content} if file.decode() in KEPT[name] else {})
    for path, kept in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(kept)
    try:
        found = kills.JOBS[f"kill-{name}"]()
    except ValueError as error:
        raise (Refused if "experiments" in str(error) or "its own settings" in str(error) else Wrong)(error) from error
    if any(not torch.equal(expected[key], found[key]) for key in expected):
        raise Wrong("another result, in silence")


def mutate(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """The content changed, not the name; the checksums of archives stay as they were."""
    file, _, content = rng.choice(seeds).partition(b"\n")
    return file + b"\n" + changed(rng, content, [seed.partition(b"\n")[2] for seed in seeds])


TARGETS = {
    f"resume-{name}": Target(about, partial(half_way, name), partial(run, name), mutate, seconds=60, batch=1)
    for name, (about, *_) in JOBS.items()
}
