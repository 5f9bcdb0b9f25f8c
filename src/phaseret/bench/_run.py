"""Entries are run: each item with several seeds, timed, and judged; whatever fails becomes a row with its reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from phaseret import _checks, operators, symmetry
from phaseret._version import __version__
from phaseret.bench import _machine
from phaseret.bench._entry import Entry, entry
from phaseret.bench._protocol import VERSION, Item, Protocol, checksum
from phaseret.bench._protocols import PROTOCOLS
from phaseret.bench._report import Report, digest, load, rows_of
from phaseret.bench._scores import OTHERS, SCORES, Quiet, decibels, judged
from phaseret.bench.entries import ENTRIES

_SHOWN = 4  # items of each protocol that the picture shows
_LARGEST = 1e15  # the squares of larger numbers have no sum in single precision


def attempt(solver: Entry, item: Item, seed: int, relative: bool) -> tuple[dict[str, Any], Tensor]:
    """One run and its scores, and the estimate; one that fails counts as an estimate of zeros."""
    began = time.perf_counter()
    failure, estimate = None, None
    try:
        with Quiet():
            estimate = solver(item, seed)
    except (Exception, SystemExit) as error:  # of the entry, whatever it is: the row says it
        failure = solver.failure(error)
    seconds = time.perf_counter() - began
    if failure is None:
        failure = wrong(estimate, item)
    if failure is not None or estimate is None:
        estimate = torch.zeros_like(item.obj)
    found: dict[str, Any] = {
        "item": item.name,
        "case": item.case,
        "entry": solver.name,
        "seed": seed,
        "failure": failure,
    }
    scores = scored(estimate.detach(), item, relative)
    return {**found, **scores, "seconds": float(f"{seconds:.4g}")}, estimate


def twin(solver: Entry, item: Item, seed: int, relative: bool) -> dict[str, float]:
    """The scores of a run made again with the data changed in their last digit."""
    found, _ = attempt(solver, nudged(item), seed, relative)
    return {name: found[name] for name in SCORES if name in found}


def has_twin(seed: int, items: Sequence[Item], quick: bool) -> bool:
    """Whether a run has a twin: one of each item, and all of an item that is alone in its protocol; no quick one."""
    return not quick and (seed == 0 or len(items) == 1)


def nudged(item: Item) -> Item:
    """The item with data changed as little as they can be, as the rounding of another machine changes what is computed.

    Counts, all whole, get one photon more in the brightest measured pixel. All other intensities get one more or one
    less in the last binary digit, alike at k and -k, so that those of a real object remain so.
    """
    data, known = item.intensity.clone(memory_format=torch.contiguous_format), item.known
    least = torch.finfo(data.dtype).eps
    if bool((data == data.round()).all()):
        holds = data < 1 / least  # where one more is another number
        measured = holds if known.mask is None else holds & known.mask
        data.view(-1)[torch.where(measured, data, -1.0).argmax()] += 1
    else:
        axes = [*range(-len(known.object_shape), 0)]
        drawn = torch.from_numpy(np.random.RandomState(0).uniform(-1, 1, tuple(data.shape)))
        data *= 1 + least * (drawn + drawn.flip(axes).roll([1] * len(axes), axes)).sign().to(data.dtype)
    return replace(item, intensity=data)


def wrong(estimate: Any, item: Item) -> str | None:
    """What an estimate lacks."""
    if not isinstance(estimate, Tensor):
        return f"the estimate must be a torch.Tensor, got {type(estimate).__name__}"
    sizes, batch = item.known.object_shape, tuple(item.obj.shape[: item.obj.ndim - len(item.known.object_shape)])
    grid = tuple(item.intensity.shape[len(batch) :])
    if tuple(estimate.shape) not in ((*batch, *sizes), (*batch, *grid)):
        return f"the estimate must have the shape {(*batch, *sizes)} or that of the data, got {tuple(estimate.shape)}"
    if not (estimate.is_floating_point() or estimate.is_complex()):
        return f"the estimate must be floating, got {estimate.dtype}"
    if estimate.is_complex() and not item.obj.is_complex():
        return f"the estimate of a real object must be real, got {estimate.dtype}"
    if not bool(estimate.isfinite().all()):
        return "the estimate must be finite, got nan or inf"
    largest = float(estimate.detach().abs().max())
    return None if largest < _LARGEST else f"the estimate must be below {_LARGEST:.0e}, got {largest:.1e}"


def scored(estimate: Tensor, item: Item, relative: bool) -> dict[str, float]:
    """The scores of one estimate; channels are aligned each for itself, and their errors averaged."""
    ndim = len(item.known.object_shape)
    shape = tuple(item.intensity.shape[item.intensity.ndim - ndim :])
    dtype = torch.complex64 if item.obj.is_complex() else torch.float32
    estimate = estimate.to("cpu", dtype)
    with Quiet():
        found = judged(
            estimate.reshape(-1, *estimate.shape[estimate.ndim - ndim :]),
            item.obj.reshape(-1, *item.known.object_shape),
            item.intensity.reshape(-1, *shape),
            ndim=ndim,
            operator=operators.FourierIntensity(shape, undersampled=True),
            mask=item.known.mask,
            freedom={"fourier_shape": shape, "scale": relative},
        )
    mean = {name: value.mean() for name, value in found.items()}
    peak = item.obj.abs().max() if relative else torch.ones(())
    power = (item.obj.abs() / peak).square().mean()
    scores: dict[str, Tensor] = {name: mean[name] for name in OTHERS if name in mean}
    scores |= {"psnr": decibels(mean["mse"]), "raw_psnr": decibels(mean["raw_mse"])}
    scores["error"] = (mean["mse"] / power).sqrt()
    return {name: float(f"{float(value):.5g}") for name, value in scores.items()}


def run(
    protocols: Sequence[str | Protocol],
    entries: Sequence[str],
    *,
    quick: bool = False,
    data: str | Path | None = None,
    before: str | Path | None = None,
    progress: Callable[[Report], object] | None = None,
) -> Report:
    """Run entries on protocols.

    An entry gets the intensity of one item, what is known of it (:class:`Known`) and a seed, and gives the estimate of
    the object; a Module gets a batch of one intensity alone, and runs once on each item. Neither sees the truth. A run
    that raises, or gives what cannot be judged, counts as an estimate of zeros; its row says why. Each item is run once
    more, with seed 0 (one that is alone with each seed) and data changed in their last digit: how far its scores move
    says what another machine may find.

    Args:
        protocols: Names in :data:`PROTOCOLS`, or protocols of your own.
        entries: Names in :data:`ENTRIES`, or ``"package.module:name"`` of your own.
        quick: Run the first items alone, with no data changed: minutes instead of an hour.
        data: The folder that holds the measured pattern. Default: what PHASERET_DATA_DIR names.
        before: The JSON that an earlier call left: its runs are kept, and what it has is not run again, so that a long
            run can be stopped, and an entry added. It must be of the same versions and code, and its digest must fit.
        progress: Called with the report so far after each entry on each protocol.

    Returns:
        The scores, with what they were made with.

    Raises:
        TypeError: if an argument is of the wrong kind.
        ValueError: if there is no such protocol, or the report before was made with something else.
        OSError: if there is no report before.
        ImportError: if an entry, or a package that objects come from, is not installed.

    Example:
        >>> report = run([], ["rrr"])  # or run(["digits"], ["rrr", "my_package.solvers:solve"], quick=True)
        >>> [*report.content][-4:]
        ['entries', 'protocols', 'rows', 'runs']
    """
    _checks.sequence("protocols", protocols, "protocols", f"Use some of {', '.join(PROTOCOLS)}")
    _checks.sequence("entries", entries, "names", f"Use some of {', '.join(ENTRIES)}, or names of your own")
    _checks.flag(quick=quick)
    if progress is not None and not callable(progress):
        _checks.fail(f"progress must be callable, got {progress!r}", "Pass a function of the report", TypeError)
    folder = None if data is None else _checks.path(data, "data")
    kept = None if before is None else _checks.path(before, "before")
    chosen = [protocol_named(protocol) for protocol in protocols]
    solvers = [entry(name) for name in dict.fromkeys(entries)]
    report = Report(_head(quick, solvers), {})
    if kept is not None:
        report.content.update(earlier(kept, report.content))
    has = {(run["protocol"], run["entry"]) for run in report.content["runs"]}
    for protocol in chosen:
        if all((protocol.name, solver.name) in has for solver in solvers):
            continue
        with Quiet():
            items = protocol.items(quick, folder)
        told = about(protocol, items, quick)
        if report.content["protocols"].setdefault(protocol.name, told) != told:
            fix = "Run all of them anew"
            _checks.fail(f"before must have the test set {protocol.name} of this version, got another one", fix)
        for item in items[:: max(1, len(items) // _SHOWN)][:_SHOWN]:
            report.pictures[protocol.name, item.name] = {"truth": item.obj}
        for solver in solvers:
            if (protocol.name, solver.name) in has:
                continue
            report.content["runs"] += _runs(solver, protocol, items, report)
            has.add((protocol.name, solver.name))
            order = [*report.content["protocols"]]
            report.content["runs"].sort(key=lambda run: order.index(run["protocol"]))
            report.content["rows"] = rows_of(report.content["runs"])
            if progress is not None:
                progress(report)
    return report


def earlier(file: Path, here: dict[str, Any]) -> dict[str, Any]:
    """What a report before holds, with the entries of this call; it must be one of the same versions."""
    found = load(file)
    if digest(found) != found["digest"]:
        _checks.fail("before must be as it was written, got a file that was changed since", "Run all anew")
    made = {name: here[name] for name in ("phaseret", "quick")}
    ran = {run["entry"] for run in found["runs"]}
    made |= {f"entries {name}": package for name, package in here["entries"].items() if name in ran}
    made |= {f"machine {name}": here["machine"][name] for name in ("cpu", "gpu", "instructions", "torch")}
    for name, value in made.items():
        of, _, part = name.partition(" ")
        stated = found[of].get(part) if part else found[of]
        if stated != value:
            rule = f"before must have {name} {value!r}, got {stated!r}"
            if of == "entries":
                rule = f"before must have the {part} that is here ({worded(value)}), got another ({worded(stated)})"
            _checks.fail(rule, "Run all anew, into another folder")
    entries = {**found["entries"], **here["entries"]}
    return {**found, "entries": entries, "calibration_ms": here["calibration_ms"]}


def worded(package: dict[str, Any]) -> str:
    """Which code an entry is of."""
    words = [f"{name} {str(package[name])[:8]}" for name in ("commit", "code") if package.get(name)]
    return ", ".join([" ".join(filter(None, (package["package"], package["version"]))), *words])


def protocol_named(protocol: Any) -> Protocol:
    """The protocol of this name."""
    if isinstance(protocol, Protocol):
        return protocol
    if not isinstance(protocol, str):
        _checks.fail(f"protocols must be names, got {protocol!r}", f"Use some of {', '.join(PROTOCOLS)}", TypeError)
    _checks.choice("protocols", protocol, PROTOCOLS)
    return PROTOCOLS[protocol]


def about(protocol: Protocol, items: Sequence[Item], quick: bool) -> dict[str, Any]:
    """What a report says of a protocol."""
    frozen = None if protocol.checksums is None else protocol.checksums[not quick]
    names = [item.name for item in items]
    return {"checksum": checksum(items), "frozen": frozen, "seeds": protocol.seeds[not quick], "items": names}


def runs_of(solver: Entry, seeds: int) -> int:
    """How often an entry runs on an item."""
    return 1 if isinstance(solver.solve, nn.Module) else seeds


def _head(quick: bool, solvers: Sequence[Entry]) -> dict[str, Any]:
    """What is said of the whole run."""
    return {
        "benchmark": VERSION,
        "phaseret": __version__,
        "machine": _machine.machine(),
        "quick": quick,
        "calibration_ms": float(f"{1000 * _machine.calibration():.4g}"),
        "entries": {solver.name: _machine.package(solver.module) for solver in solvers},
        "protocols": {},
        "rows": [],
        "runs": [],
    }


def _runs(solver: Entry, protocol: Protocol, items: Sequence[Item], report: Report) -> list[dict[str, Any]]:
    """All runs of an entry on a protocol, and its estimates of the items that the picture shows."""
    seeds = runs_of(solver, protocol.seeds[not report.content["quick"]])
    memory, found = _machine.Memory(), []
    for item in items:
        best, shown = float("inf"), report.pictures.get((protocol.name, item.name))
        for seed in range(seeds):
            scores, estimate = attempt(solver, item, seed, protocol.relative)
            found.append({"protocol": protocol.name, **scores})
            if shown is not None and scores["residual"] < best and scores["failure"] is None:
                best = scores["residual"]
                shape = tuple(item.intensity.shape[item.intensity.ndim - len(item.known.object_shape) :])
                freedom: dict[str, Any] = {"ndim": len(shape), "fourier_shape": shape, "scale": protocol.relative}
                shown[solver.name] = symmetry.align(
                    estimate.detach().cpu().to(item.obj.dtype), item.obj, **freedom
                ).aligned
    calibration, risen = report.content["calibration_ms"], memory.risen()
    by_name = {item.name: item for item in items}
    for scores in found:
        if has_twin(scores["seed"], items, report.content["quick"]):
            scores["twin"] = twin(solver, by_name[scores["item"]], scores["seed"], protocol.relative)
        scores["transforms"] = float(f"{1000 * scores['seconds'] / calibration:.4g}")
        scores["memory_mib"] = risen
    return found
