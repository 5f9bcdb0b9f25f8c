"""Differentiable phase retrieval for PyTorch: operators, losses, symmetries, solvers and models.

The floor plan: a module imports only from the lines below its own::

    5  cli  testing
    4  plotting  interop
    3  losses  metrics  solvers  models  datasets  io
    2  symmetry  projections  noise
    1  operators  _output  _reduction
    0  _fft  _memory  _module  _checks
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
