r"""Projections: the nearest object that agrees with the data, and the nearest one that agrees with what is known.

**Which one should I use?** :func:`project_magnitude` replaces the Fourier magnitude by the measured one and keeps the
phase; :func:`project_object` imposes support, realness, non-negativity, bounds. Every solver is made of the two. To
write an algorithm of your own, subclass :class:`phaseret.solvers.Algorithm`: it is handed both as
:class:`MagnitudeConstraint` and :class:`ObjectConstraint`, prepared once and cheap to apply many times.
"""

from phaseret.projections._magnitude import MagnitudeConstraint, ProjectMagnitude, project_magnitude
from phaseret.projections._object import CONSTRAINTS as CONSTRAINTS
from phaseret.projections._object import Bounds as Bounds
from phaseret.projections._object import Constraint as Constraint
from phaseret.projections._object import ObjectConstraint, ProjectObject, project_object

__all__ = [
    "MagnitudeConstraint",
    "ObjectConstraint",
    "ProjectMagnitude",
    "ProjectObject",
    "project_magnitude",
    "project_object",
]
__dir__ = __all__.copy  # what dir() and completion show
