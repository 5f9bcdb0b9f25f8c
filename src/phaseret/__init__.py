"""Differentiable phase retrieval for PyTorch: operators, losses, symmetries, solvers and models.

The floor plan: a module imports only from the lines below its own::

    6  cli  testing
    5  plotting  interop
    4  losses  metrics  solvers  models  datasets  io
    3  symmetry  projections  noise
    2  operators
    1  _fft  _memory  _module  _output  _reduction
    0  _checks
"""

from phaseret import (
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

solvers._result.attach(save=io.save_reconstruction, plot=plotting.plot_reconstruction)

__version__ = "0.2.0"

__all__ = [
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
