"""The option compile: the same numbers from compiled and recorded iterations, and the plain way where neither works."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import phaseret as pr
from phaseret import _memory
from phaseret.solvers import _compiled
from phaseret.solvers._algorithms import ALGORITHMS

pytestmark = pytest.mark.filterwarnings("ignore:.*reconstructions (are not unique|were found by few)")
FIXED = [word for word in ALGORITHMS if word not in ("oss", "sparse")]


class Graph:
    """What stands for a CUDA graph: the work itself, done again."""

    made = 0

    def __init__(self, work: Callable[[], None], device: torch.device) -> None:
        Graph.made += 1
        self.replay = work
        work()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced by torch, but without a compiler; no graph of another test counts."""
    torch._dynamo.reset()
    monkeypatch.setattr(_compiled.Shortcut, "backend", "aot_eager")
    monkeypatch.setattr(Graph, "made", 0)


def solved(step: pr.solvers.Step, *, kind: str = "nonnegative", **options: Any) -> Tensor:
    """The estimates of two small patterns in a support with a hole."""
    generator = torch.Generator().manual_seed(1)
    dtype = torch.complex128 if kind == "complex" else torch.float64
    obj = torch.rand(2, 5, 6, generator=generator, dtype=torch.float64).to(dtype)
    support = torch.ones(5, 6, dtype=torch.bool)
    support[2, 3] = False
    mask = torch.rand(10, 13, generator=generator) > 0.1
    intensity = pr.operators.fourier_intensity(obj * support, (10, 13))
    return step(intensity, support=support, mask=mask, constraint=kind, **{"check_every": 3} | options).objs


def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compiled, "recordable", lambda device: True)
    monkeypatch.setattr(_compiled, "capture", Graph)


@pytest.mark.parametrize("kind", ["nonnegative", "complex"])
@pytest.mark.parametrize("word", FIXED)
def test_compiled_iterations_are_those_of_the_loop(word: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To rounding: as many iterations, of all that the loop can do, in blocks of different length."""
    if kind == "complex" and word in ("chio", "cf"):
        pytest.skip("of real objects only")
    plain = solved(ALGORITHMS[word](7), kind=kind)
    torch.testing.assert_close(solved(ALGORITHMS[word](7), kind=kind, compile=True), plain, rtol=1e-8, atol=1e-8)
    recorded(monkeypatch)
    torch.testing.assert_close(solved(ALGORITHMS[word](7), kind=kind, compile=True), plain, rtol=1e-8, atol=1e-8)
    assert Graph.made == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nonnegative", "complex"])
def test_generated_code_gives_the_numbers_of_the_loop(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compiled.Shortcut, "backend", "inductor")
    step = pr.solvers.HIO(7)
    torch.testing.assert_close(solved(step, kind=kind, compile=True), solved(step, kind=kind), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("step", [pr.solvers.RAAR(7, beta=(0.7, 0.9)), pr.solvers.OSS(7), pr.solvers.SparseRRR(60)])
def test_steps_that_count_their_iterations_run_as_they_are(
    step: pr.solvers.Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(monkeypatch)
    monkeypatch.setattr(_compiled, "compiled", None)
    assert torch.equal(solved(step, compile=True), solved(step))


class Own(pr.solvers.RRR):
    """Somebody's algorithm, which may do anything."""


def test_an_algorithm_of_somebody_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compiled, "compiled", None)
    assert torch.equal(solved(Own(7), compile=True), solved(Own(7)))


def test_a_given_start_and_several_pieces_are_not_recorded_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start with zeros in its spectrum begins with a block of the loop; pieces are compiled and not recorded."""
    recorded(monkeypatch)
    init, options = torch.zeros(5, 6, dtype=torch.float64), {"starts": 2, "chunk": 1}
    plain = solved(pr.solvers.HIO(7), init=init, **options)
    torch.testing.assert_close(
        solved(pr.solvers.HIO(7), init=init, compile=True, **options), plain, rtol=1e-8, atol=1e-8
    )
    assert Graph.made == 0
    recipe = pr.solvers.Recipe("2*(hio:4,shrinkwrap),er:5")
    torch.testing.assert_close(solved(recipe, compile=True), solved(recipe), rtol=1e-8, atol=1e-8)
    assert Graph.made == 3


@pytest.mark.parametrize(("ends", "made"), [(0, 0), (1, 1)])
def test_a_graph_of_all_items_is_not_replayed_for_halves(ends: int, made: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory ends before the first block, or in the second one, after all items were recorded."""
    recorded(monkeypatch)
    plain, blocks = solved(pr.solvers.HIO(7)), iter(range(100))

    def fits(work: Callable[[], object]) -> bool:
        if getattr(work, "func", None) is None or work.func.__name__ != "block" or next(blocks) != ends:  # type: ignore[attr-defined]
            work()
            return True
        return False

    monkeypatch.setattr(_memory, "fits", fits)
    with pytest.warns(UserWarning, match="ended with 2 patterns x starts"):
        found = solved(pr.solvers.HIO(7), compile=True)
    torch.testing.assert_close(found, plain, rtol=1e-8, atol=1e-8)
    assert Graph.made == made


@pytest.mark.parametrize(("what", "word"), [("compiled", "compiled"), ("capture", "recorded")])
def test_what_fails_is_left_out_with_one_warning(what: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("no compiler is here\nand much more")

    recorded(monkeypatch)
    monkeypatch.setattr(_compiled, what, fail)
    plain = solved(pr.solvers.HIO(7))
    rule = rf"HIO: iterations must be such that they can be {word} .* the error RuntimeError: no compiler is here; they"
    with pytest.warns(UserWarning, match=rule) as said:
        found = solved(pr.solvers.HIO(7), compile=True)
    assert len(said) == 1
    torch.testing.assert_close(found, plain, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", ["in place", "another", "per start"])
def test_a_callback_that_sets_the_support_is_heard_by_a_graph(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph reads the new support; one of another shape is recorded anew."""
    recorded(monkeypatch)

    def narrower(run: pr.solvers.Run) -> None:
        if run.iteration == 3:
            support = torch.ones(1, 1, 5, 6, dtype=torch.bool)
            support[..., 0] = False
            assert run.support is not None
            if kind == "in place":
                run.support.logical_and_(support)
            else:
                run.support = run.support & (support.expand(2, 1, 5, 6) if kind == "per start" else support)

    plain = solved(pr.solvers.HIO(9), callback=narrower)
    assert (plain[..., 0] == 0).all()
    torch.testing.assert_close(solved(pr.solvers.HIO(9), callback=narrower, compile=True), plain, rtol=1e-8, atol=1e-8)
    assert Graph.made == (2 if kind == "per start" else 1)


def test_a_last_piece_of_another_shape_may_fail_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three starts in pieces of two: the piece of one is compiled by itself."""
    compiled = _compiled.compiled

    def of_two(function: Callable[..., Any], backend: str) -> Callable[..., Any]:
        def only(*given: Any) -> Any:
            if given[-1].shape[1] == 1:
                raise RuntimeError("no compiler is here")
            return compiled(function, backend)(*given)

        return only

    monkeypatch.setattr(_compiled, "compiled", of_two)
    options = {"starts": 3, "chunk": 2}
    with pytest.warns(UserWarning, match="can be compiled .* Leave compile out, or look whether torch finds a comp"):
        found = solved(pr.solvers.HIO(7), compile=True, **options)
    torch.testing.assert_close(found, solved(pr.solvers.HIO(7), **options), rtol=1e-8, atol=1e-8)


def test_memory_that_ends_while_a_graph_is_recorded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    recorded(monkeypatch)
    monkeypatch.setattr(_compiled, "capture", full)
    with pytest.warns(UserWarning, match="recorded .* Leave compile out, or free memory of the device"):
        found = solved(pr.solvers.HIO(7), compile=True)
    torch.testing.assert_close(found, solved(pr.solvers.HIO(7)), rtol=1e-8, atol=1e-8)


def test_compile_is_a_switch() -> None:
    with pytest.raises(TypeError, match="compile must be True or False"):
        solved(pr.solvers.HIO(7), compile="yes")


def test_work_is_done_on_another_stream_before_it_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a card that only notes what happens."""
    events: list[str] = []

    class Stream:
        def __init__(self, name: str = "side") -> None:
            self.name = name

        def wait_stream(self, other: Stream) -> None:
            events.append(f"{self.name} waits for {other.name}")

    @contextlib.contextmanager
    def within(place: Any) -> Iterator[None]:
        events.append(f"in {getattr(place, 'name', place)}")
        yield
        events.append("out")

    fakes = {"Stream": Stream, "current_stream": lambda: Stream("main"), "CUDAGraph": lambda: "graph"}
    for name, fake in {**fakes, "device": within, "stream": within, "graph": within}.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    made = _compiled.capture(lambda: events.append("work"), torch.device("cuda:0"))
    assert made == "graph"
    warm = ["side waits for main", "in side", "work", "work", "work", "out", "main waits for side"]
    assert events == ["in cuda:0", *warm, "in graph", "work", "out", "out"]
