"""Iterations in few kernels: compiled by torch and, on CUDA, recorded once as a graph that is replayed.

Asked for by the option `compile`. An iteration is written here as a function that changes nothing, so that it can be
compiled, recorded, and done again; what can be neither runs as the loop does it.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from phaseret import _checks
from phaseret.projections import MagnitudeConstraint, ObjectConstraint

if TYPE_CHECKING:
    from phaseret.solvers._loop import Algorithm

Iteration = Callable[[Tensor], tuple[Tensor, Tensor]]
# Iterations before a graph is recorded, as torch asks for: libraries make their plans and work areas in them.
_WARM_UP = 3


def projected(x: Tensor, magnitude: MagnitudeConstraint) -> Tensor:
    """`magnitude.project_fast(x)` to rounding, without writing in place: real views are what torch compiles."""
    pairs = torch.view_as_real(magnitude.spectrum(x))
    real, imaginary = pairs.unbind(-1)
    target, free = magnitude._target, magnitude._free
    scale = (real * real + imaginary * imaginary + torch.finfo(target.dtype).tiny).rsqrt() * target
    if free is not None:
        scale = scale + free
    return magnitude._back(torch.view_as_complex(pairs * scale.unsqueeze(-1)))


def on_the_box(
    algorithm: Algorithm,
    known: ObjectConstraint,
    magnitude: MagnitudeConstraint,
    box: tuple[Any, ...],
    outside: tuple[float, float, float],
    x: Tensor,
) -> tuple[Tensor, Tensor]:
    """One iteration whose formulas hold on the support's box, and outside x becomes a x + b p, and y is c x."""
    a, b, c = outside
    inner, y = x[box], x * c
    y[box] = algorithm.query(inner, known, 0)
    p = projected(y, magnitude)
    new = x * a + p * b
    new[box] = algorithm.iterate(inner, p[box], known, 0)
    return new, p


def on_the_grid(
    algorithm: Algorithm, known: ObjectConstraint, magnitude: MagnitudeConstraint, x: Tensor
) -> tuple[Tensor, Tensor]:
    """One iteration as the algorithm's `step` says it."""
    return algorithm.step(x, lambda y: projected(y, magnitude), known, 0)


@functools.cache
def compiled(function: Callable[..., Any], backend: str) -> Callable[..., Any]:
    """The function compiled once for all runs: torch keeps what it made for each algorithm and shape."""
    return torch.compile(function, dynamic=False, backend=backend)


class Shortcut:
    """Iterations that do not depend on their number: compiled, and recorded where all items are worked on at once."""

    backend = "inductor"

    def __init__(self) -> None:
        self._compile, self._tried = True, set[torch.Size]()
        self._recorded: Recorded | None = None

    def block(
        self, function: Callable[..., tuple[Tensor, Tensor]], given: tuple[Any, ...], x: Tensor, count: int, whole: bool
    ) -> tuple[Tensor, Tensor]:
        """So many iterations `function(*given, x)`: the new state and the last p, which hold until the next block.

        The second that is given is what is known of the object. `whole` says that x holds all items: a graph knows its
        items' data, and is gone once there are pieces.
        """
        if not whole:
            self._recorded = None
        elif self._recorded is not None and not self._recorded.takes(given[1].support):
            self._recorded, self._tried = None, set()
        with warnings.catch_warnings():  # of the compiler's: that it leaves complex operations as they are is meant
            warnings.filterwarnings("ignore", module="torch")
            if x.shape not in self._tried:
                self._try(function, given, x, whole)
            if self._recorded is not None:
                return self._recorded(x, count)
            iteration, p = self._iteration(function, given), x
            for _ in range(count):
                x, p = iteration(x)
            return x, p

    def _iteration(self, function: Callable[..., tuple[Tensor, Tensor]], given: tuple[Any, ...]) -> Iteration:
        return functools.partial(compiled(function, self.backend) if self._compile else function, *given)

    def _try(
        self, function: Callable[..., tuple[Tensor, Tensor]], given: tuple[Any, ...], x: Tensor, whole: bool
    ) -> None:
        """See what works for items of this shape, and warn of what does not."""
        if self._compile:
            try:
                self._iteration(function, given)(x)
            except torch.cuda.OutOfMemoryError:  # of these items, compiled or not
                raise
            except Exception as error:
                self._compile = False
                _tell("compiled", error, "look whether torch finds a compiler")
        if whole and recordable(x.device):
            try:
                self._recorded = Recorded(self._iteration(function, given), given[1].support, x)
            except torch.cuda.OutOfMemoryError as error:
                _tell("recorded", error, "free memory of the device")
            except Exception as error:
                _tell("recorded", error, "look whether this device can record")
        self._tried.add(x.shape)


def _tell(done: str, error: Exception, fix: str) -> None:
    said = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    _checks.warn(
        f"iterations must be such that they can be {done} for compile=True, got the error {said}; they run without",
        f"Leave compile out, or {fix}",
    )


def recordable(device: torch.device) -> bool:
    """Whether kernels on this device can be recorded."""
    return device.type == "cuda"


def capture(work: Callable[[], None], device: torch.device) -> Any:
    """A CUDA graph of the work, in memory of its own: ``graph.replay()`` does it again with what then lies there."""
    with torch.cuda.device(device):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
    return graph


class Recorded:
    """An iteration in memory that stays: recorded once, replayed without Python and without launches."""

    def __init__(self, iteration: Iteration, support: Tensor | None, x: Tensor) -> None:
        # A graph knows addresses only: the iteration keeps what it reads alive, and these what it writes.
        self._iteration, self._support, self._x, self._p = iteration, support, x.clone(), x
        self._graph = capture(self._work, x.device)

    def takes(self, support: Tensor | None) -> bool:
        """Whether this support, which a callback may have set, fits where the graph reads it; it then lies there."""
        if support is None or self._support is None or support.shape != self._support.shape:
            return support is self._support
        self._support.copy_(support)
        return True

    def _work(self) -> None:
        new, self._p = self._iteration(self._x)
        self._x.copy_(new)

    def __call__(self, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """So many iterations from x; what they give holds until the next call."""
        self._x.copy_(x)
        for _ in range(count):
            self._graph.replay()
        return self._x, self._p
