"""A run from what is asked to what is returned: the problem, the starts, the steps, the comparison of the starts."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from phaseret import _checks, _fft, _memory
from phaseret._module import seeded
from phaseret.solvers._coherence import refine
from phaseret.solvers._known import check_energy, check_explained, check_known
from phaseret.solvers._options import Options, complete, made_from
from phaseret.solvers._problem import Problem, check_complex, check_determined, prepare
from phaseret.solvers._result import Reconstruction, reconstruction
from phaseret.solvers._run import ARRAYS_OF_A_START, OF_A_START, Items, Run
from phaseret.solvers._turns import in_turn

if TYPE_CHECKING:
    from phaseret.solvers._loop import Step


def solve(step: Step, intensity: Tensor, options: Options) -> Reconstruction:
    """Run a step, which may be a recipe of many, on a problem."""
    began = time.perf_counter()
    if step.of_volumes and getattr(intensity, "ndim", 0) > 2:
        options.setdefault("ndim", 3)
    asked = complete(options)
    if not step.n_iter:
        fix = "Put an algorithm before it, such as 'hio:50'"
        _checks.fail(f"the steps must hold an algorithm, got {step!r}", fix)
    parts = step.parts()
    own = asked["support"] is not None or asked["known"] is not None
    if not own:
        asked["support"] = next((s for part in parts if (s := part.support_of(intensity, asked)) is not None), None)
    restricted = own or asked["support"] is not None or not next(step.leaves()).finds_support
    problem = prepare(intensity, asked, restricted=restricted)
    check_energy(problem)
    if restricted:
        check_determined(problem)
    starts, shape = asked["starts"] or 1, (problem.patterns, *problem.shape)
    # Of each start at least the iterate is kept.
    needed = (1 if problem.real else 2) * problem.dtype.itemsize * starts * math.prod(shape)
    got = f"{starts} for each of {shape[0]} patterns {shape[1:]}"
    _memory.check_fits("starts", needed, "Use fewer of them", got, problem.device)
    if "constraint" not in options:
        check_complex(problem)
    seeds = _seeds(starts, asked["seed"], asked["generator"])
    run = _begin(step, problem, intensity, seeds, asked)
    run.support_given = own
    rules = [part.explained for part in parts if part.explained is not None and starts > 1]
    if rules:
        _check_turns(parts, asked)
    bar = _progress_bar(run, run.n_iter * (run.error.numel() if rules else 1)) if asked["progress"] else None
    try:
        if rules:
            in_turn(run, partial(_advance, step), rules)
        else:
            _advance(step, run)
    finally:
        if bar is not None:
            bar.close()
    if asked["coherence"] is not None:
        # by the point spread that was found last; that of a start that was not begun stays infinite
        run.error = run.error.where(run.error.isinf(), run.residual(run.estimate))
    del run.iterate  # its memory is free for the comparison of the starts
    told = check_known(run)
    result = reconstruction(run, seeds, in_turn=bool(rules), recipe=repr(step), seconds=time.perf_counter() - began)
    check_explained(problem, result, told)
    return result


def _check_turns(parts: list[Step], asked: Options) -> None:
    """Nothing is asked for that needs all starts at once."""
    for name in ("checkpoint", "resume"):
        if asked[name] is not None:
            _checks.fail(f"{name} must be left out where starts run in turn, got one", "Take enough off the schedule")
    for part in parts:
        if part.together:
            rule = f"{part!r} must be left out where starts run in turn"
            _checks.fail(f"{rule}, got one", "Take enough off the schedule, or use starts=1")


def _advance(step: Step, run: Run) -> None:
    """Advance a run by what is left of a step; starts that are solved keep what they have."""
    for leaf in itertools.islice(step.leaves(), run.leaf, None):
        if run.over:
            break
        solved, before = run.solved >= 0, {name: getattr(run, name) for name in OF_A_START}
        some_solved = run.left < solved.numel()
        leaf.advance(run)
        run.leaf += 1
        if some_solved:
            _keep(run, solved, before)
        run.leave()


def _keep(run: Run, solved: Tensor, before: dict[str, Tensor | None]) -> None:
    """Give the solved starts back what they had."""
    for name, had in before.items():
        now = getattr(run, name)
        if now is None or now is had:
            continue
        wide = solved if now.ndim == solved.ndim else run.problem.over_object(solved)
        setattr(run, name, torch.where(wide, OF_A_START[name] if had is None else had, now))


def _begin(step: Step, problem: Problem, intensity: Tensor, seeds: list[int], asked: Options) -> Run:
    """The run before its first iteration, or where the one to resume stood."""
    if problem.device.type == "cpu":
        _memory.keep_heap()
    shape = (problem.patterns, len(seeds), *problem.shape)
    dtype = problem.dtype if problem.real else problem.dtype.to_complex()
    run = Run(problem, torch.empty(shape, dtype=dtype, device=problem.device), asked["check_every"], asked["chunk"])
    run.given, run.compile, run.n_iter = asked["init"] is not None, asked["compile"], step.n_iter
    run.tolerance = asked["tolerance"]
    run.made_from = cache(partial(made_from, repr(step), intensity, asked))
    _fill(run, seeds, asked["init"])
    for part in step.parts():
        part.check(run)
    if asked["resume"] is not None:
        run.load_state_dict(asked["resume"])
    if asked["coherence"] is not None:
        run.after_check.append(partial(refine, asked["coherence"]))
    if asked["checkpoint"] is not None:
        run.after_check.append(_checkpoints(asked["checkpoint"], asked["checkpoint_every"]))
    if asked["callback"] is not None:
        run.after_check.append(asked["callback"])
    return run


def _checkpoints(save: Callable[[dict[str, Any]], None], every: int) -> Callable[[Run], None]:
    """An action that saves the run at the first check after each `every` iterations."""

    def action(run: Run) -> None:
        before = run.checked[-2] if len(run.checked) > 1 else 0
        if run.iteration // every > before // every:
            save(run.state_dict())

    return action


def _seeds(starts: int, seed: int, generator: torch.Generator | None) -> list[int]:
    """One seed per start."""
    if generator is None:
        return [seed + s for s in range(starts)]
    return torch.randint(2**62, (starts,), generator=generator, device=generator.device).tolist()


def _fill(run: Run, seeds: list[int], init: Tensor | None) -> None:
    """Write the iterates (patterns, starts, *grid) that a run starts from.

    Start s is white noise from its seed, the same for every pattern, with the measured magnitude; `init` replaces the
    first start, or all of them if it has an axis of starts.
    """
    problem, x = run.problem, run.iterate
    given = None if init is None else _init(problem, init, len(seeds))
    reference = None if problem.reference is None else _fft.pad(problem.reference, problem.shape)
    if given is not None:
        given = given if reference is None else given - reference
        x[:, : given.shape[1]] = given
        if given.shape[1] == len(seeds):
            return
    draw, kind = (torch.rand, torch.float32) if problem.real else (torch.randn, torch.complex64)
    generators = [seeded(seed) for seed in seeds]
    noise = torch.stack([draw(problem.shape, generator=g, dtype=kind, device="cpu") for g in generators])
    noise = noise.to(x.device, x.dtype)

    def project(items: Items) -> None:
        rows, columns = items
        if given is not None:
            columns = slice(max(1, columns.start), columns.stop)
        if columns.start < columns.stop:
            some = noise[columns].expand(rows.stop - rows.start, *[-1] * noise.ndim)
            if reference is not None:
                some = some - (reference if len(reference) == 1 else reference[rows])
            magnitude = problem.magnitude.index((rows,))
            x[rows, columns] = (magnitude.project if some.requires_grad else magnitude.project_fast)(some)

    run.in_pieces(project, run.pieces(ARRAYS_OF_A_START))


def _init(problem: Problem, init: Tensor, starts: int) -> Tensor:
    """The given starts as (patterns, 1 or starts, *grid)."""
    _checks.floating(init=init)
    _checks.rank(problem.ndim, init=init)
    sizes, batch = tuple(init.shape[-problem.ndim :]), tuple(init.shape[: -problem.ndim])
    fits = sizes in (problem.object_shape, problem.shape)
    if not fits or batch not in ((), problem.batch, (*problem.batch, starts)):
        item, each = problem.object_shape, (*problem.batch, *problem.object_shape)
        shapes = " or ".join(map(str, dict.fromkeys((item, each, (*problem.batch, starts, *item)))))
        _checks.fail(
            f"init must have the shape {shapes}, got {tuple(init.shape)}",
            f"Pad or crop it, also to the data's {problem.shape}",
        )
    if init.device != problem.device:
        _checks.fail(f"init must lie on {problem.device}, got {init.device}", "Move it with .to(device)")
    _checks.finite(init=init)
    if problem.real and init.is_complex():
        init = init.real
    count = starts if batch == (*problem.batch, starts) and batch != problem.batch else 1
    init = init.reshape(-1, count, *sizes) if batch else init.reshape(1, 1, *sizes)
    init = init.expand(problem.patterns, *init.shape[1:])
    widths = [w for n, m in zip(sizes[::-1], problem.shape[::-1], strict=True) for w in (0, m - n)]
    return nn.functional.pad(_fft.promote(init), widths)


def _progress_bar(run: Run, total: int) -> Any:
    """A tqdm bar of so many iterations that shows the least residual at each check."""
    tqdm = _checks.extra("tqdm.auto", "tqdm", "demo").tqdm
    bar = tqdm(total=total, unit="it", initial=run.iteration)

    def show(run: Run) -> None:
        bar.update(run.iteration - (run.checked[-2] if len(run.checked) > 1 else 0))
        bar.set_postfix(residual=f"{float(run.error.amin(-1).mean()):.3g}")

    run.after_check.append(show)
    return bar
