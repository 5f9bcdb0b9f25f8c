"""Solvers on a simulated graphics card: what memory they take, when they wait, and what they do where memory ends."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

import phaseret as pr
from fake_gpu import GPU, FakeGPU, fake_gpu
from phaseret.solvers._algorithms import ALGORITHMS
from phaseret.solvers._loop import arrays_of
from phaseret.solvers._spectral import Spectral

# A few iterations from random starts find different objects.
pytestmark = pytest.mark.filterwarnings("ignore:.*reconstructions (are not unique|were found by few)")

PATTERNS, SIZE = 24, 16
ARRAY = 4 * SIZE**2  # bytes of one real grid


@contextmanager
def card(arrays: float, known: bool = True) -> Iterator[FakeGPU]:
    """A card that has room for so many grids; its free memory may be unknown, as where others take of it."""
    with fake_gpu() as gpu:
        hold, limit = gpu.hold, int(arrays * ARRAY)

        def bounded(x: GPU) -> None:
            hold(x)
            if gpu.held > limit:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")

        free = {"side_effect": lambda device: (limit - gpu.held, limit)} if known else {}
        with mock.patch.object(gpu, "hold", bounded), mock.patch.object(torch.cuda, "mem_get_info", **free) as info:
            if not known:
                info.return_value = 2**40, 2**40
            yield gpu


def patterns(count: int = PATTERNS, whole: bool = False) -> tuple[Tensor, Tensor]:
    """Intensities, and a support for each pattern on half of the grid or all of it."""
    generator = torch.Generator().manual_seed(0)
    obj = torch.rand(count, SIZE // 2, SIZE // 2, generator=generator)
    intensity = pr.operators.fourier_intensity(obj, (SIZE, SIZE))
    support = torch.rand(count, *[SIZE if whole else SIZE // 2] * 2, generator=generator) > 0.3
    support[:, 0, 0] = support[:, -1, -1] = True
    return intensity, support


def errors(step: pr.solvers.Step, device: str = "cpu", count: int = PATTERNS, **options: Any) -> Tensor:
    """The errors that a step comes to."""
    intensity, support = (x.to(device) for x in patterns(count, options.pop("whole", False)))
    options = {"constraint": "nonnegative", "check_every": 2} | options
    return step(intensity, support=support, **options).errors.cpu()


@pytest.mark.parametrize("whole", [False, True], ids=["box", "grid"])
@pytest.mark.parametrize("word", ALGORITHMS)
def test_an_algorithm_keeps_to_the_memory_that_is_free(word: str, whole: bool) -> None:
    """What it says it needs is enough: a quarter of the patterns is worked on at a time, and memory does not end."""
    step = ALGORITHMS[word](60 if word == "sparse" else 4)  # through all of its stages
    needed = step.arrays if word == "sparse" else arrays_of(step)
    # beside the pieces lie the data, the iterates, and what the algorithm remembers
    held = {"admm": 5, "sparse": 13}.get(word, 4) + 2 * whole
    with card(PATTERNS * (held + needed / 4)) as gpu:
        errors(step, "cuda", whole=whole)
    assert gpu.peak > PATTERNS * 2 * ARRAY


@pytest.mark.parametrize("whole", [False, True], ids=["box", "grid"])
@pytest.mark.parametrize("word", ["er", "raar", "rrr", "asr", "sf"])
def test_an_algorithm_on_spectra_keeps_to_the_memory_that_is_free(word: str, whole: bool) -> None:
    """Beside the pieces there are the spectra of the iterates, and of their projections."""
    with card(PATTERNS * (6 + 2 * whole + Spectral.arrays / 4)) as gpu:
        errors(ALGORITHMS[word](4), "cuda", whole=whole, tolerance=1e-9)
    assert gpu.peak > PATTERNS * 2 * ARRAY


@pytest.mark.parametrize("word", ["hio", "dm", "sparse"])
def test_a_run_goes_on_in_halves_where_memory_ends(word: str) -> None:
    """Of a card that says more is free than there is, in the middle of a block; nothing is lost or done twice."""
    step = ALGORITHMS[word](60 if word == "sparse" else 6)
    arrays = PATTERNS * (10 if word == "sparse" else 6)
    with pytest.warns(UserWarning, match="the memory of cuda:0 ended with") as said, card(arrays, known=False):
        found = errors(step, "cuda")
    told = [str(warning.message) for warning in said]
    assert len(told) == 1
    assert re.search(
        r"ended with \d+ patterns x starts at a time; the run goes on with \d+\. Give chunk=\d+, or less", told[0]
    )
    torch.testing.assert_close(found, errors(step), rtol=1e-4, atol=1e-6)


class Own(pr.solvers.Algorithm):
    """Somebody's error reduction."""

    def iterate(self, x: Tensor, p: Tensor, known: Any, n: int) -> Tensor:
        return known.project(p)


def test_an_algorithm_of_somebody_is_run_again_only_where_it_may_be_cut() -> None:
    """Without chunk it sees all items at once, and torch says what did not fit."""
    with card(PATTERNS * 5), pytest.raises(torch.cuda.OutOfMemoryError):
        errors(Own(4), "cuda")
    with card(PATTERNS * 5), pytest.warns(UserWarning, match="goes on with 12"):
        found = errors(Own(4), "cuda", chunk=PATTERNS)
    torch.testing.assert_close(found, errors(Own(4)), rtol=1e-4, atol=1e-6)


def test_the_starts_are_compared_in_the_memory_that_is_free() -> None:
    held: list[int] = []

    def look(run: pr.solvers.Run) -> None:
        held.append(gpu.held)
        gpu.peak = gpu.held

    with card(PATTERNS * 3.7) as gpu:
        errors(pr.solvers.HIO(2), "cuda", count=PATTERNS // 4, starts=4, callback=look)
    assert gpu.peak - held[-1] < PATTERNS * 2 * ARRAY


@pytest.mark.parametrize("starts", [1, 3])
@pytest.mark.parametrize("constraint", ["nonnegative", "complex"])
def test_a_run_waits_at_its_start_and_end_alone(starts: int, constraint: str) -> None:
    """The data are looked at three times, the support once; starts and a table are uploaded; warnings need one look."""
    with fake_gpu() as gpu:
        errors(pr.solvers.HIO(2), "cuda", count=2, starts=starts, constraint=constraint)
    places = [place for place in gpu.waits.elements() if place.startswith(("solvers", "operators"))]
    assert len(places) == 8, gpu.waits


@pytest.mark.parametrize("word", ["hio", "rrr", "raar"])
def test_with_a_tolerance_a_check_waits_once_and_what_leaves_is_as_on_a_processor(word: str) -> None:
    step, options = ALGORITHMS[word](9), {"count": 6, "check_every": 3, "tolerance": 1e-9}
    with fake_gpu() as gpu:
        errors(step, "cuda", **options)
    places = [place for place in gpu.waits.elements() if place.startswith("solvers/_run")]
    assert len(places) == 4, gpu.waits  # and at the end of the step
    tolerance = float(errors(step, **options).flatten().sort().values[2:4].mean())
    with fake_gpu():
        found = errors(step, "cuda", **options | {"tolerance": tolerance})
    torch.testing.assert_close(found, errors(step, **options | {"tolerance": tolerance}), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("word", ["rrr", "raar"])
def test_a_run_with_a_tolerance_goes_on_in_halves_where_memory_ends(word: str) -> None:
    step = ALGORITHMS[word](6)
    with pytest.warns(UserWarning, match="the memory of cuda:0 ended with"), card(PATTERNS * 9, known=False):
        found = errors(step, "cuda", tolerance=1e-9)
    torch.testing.assert_close(found, errors(step, tolerance=1e-9), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("word", ["hio", "rrr", "oss", "sparse"])
def test_a_run_needs_no_double_precision(word: str) -> None:
    """Some devices have none."""
    with fake_gpu() as gpu:
        errors(ALGORITHMS[word](60), "cuda", count=2, starts=3)
    assert not gpu.doubles


@pytest.mark.parametrize("flow", [pr.solvers.wirtinger_flow, pr.solvers.truncated_amplitude_flow])
def test_a_flow_waits_for_the_device_once_at_each_check(flow: Callable[..., pr.solvers.Reconstruction]) -> None:
    """At none of the iterations between, and not at all if nothing may end it."""
    operator = pr.operators.CodedDiffraction(pr.operators.coded_masks((8, 8), 4))
    intensity = operator(torch.randn(3, 8, 8, dtype=torch.complex64))
    waits = []
    for n_iter, tol in ((1, None), (45, None), (45, 0)):
        with fake_gpu() as gpu:
            flow(intensity.to("cuda"), copy.deepcopy(operator).to("cuda"), n_iter=n_iter, tol=tol)
        waits.append(gpu.waits.total())
    assert waits == [waits[0], waits[0] + 4, waits[0]], gpu.waits
