"""Differentiable phase retrieval for PyTorch: operators, losses, symmetries, solvers and models.

The floor plan: a module imports only from the lines below its own::

    9  __main__
    8  cli  testing
    7  bench
    6  plotting  interop
    5  losses  metrics  solvers  models  datasets  io  crystals
    4  symmetry  projections  noise
    3  operators
    2  _fft  _memory  _module  _output  _reduction
    1  _checks
    0  _version  _words

A module is loaded when it is first named: ``phaseret --help`` need not wait for PyTorch.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from phaseret._version import __version__ as __version__

if TYPE_CHECKING:
    from phaseret import (
        bench,
        crystals,
        datasets,
        interop,
        io,
        losses,
        metrics,
        models,
        noise,
        operators,
        plotting,
        projections,
        solvers,
        symmetry,
    )

__all__ = [
    "bench",
    "crystals",
    "datasets",
    "interop",
    "io",
    "losses",
    "metrics",
    "models",
    "noise",
    "operators",
    "plotting",
    "projections",
    "solvers",
    "symmetry",
]
__dir__ = __all__.copy  # what dir() and completion show


if not TYPE_CHECKING:  # by which any name would have a type

    def __getattr__(name: str) -> ModuleType:
        """A public module, loaded when it is first named."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return importlib.import_module(f"{__name__}.{name}")
