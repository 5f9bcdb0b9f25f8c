"""What the object of a Bragg peak says of its crystal: displacement and strain, in metres, in the laboratory frame.

Which one should I use? :func:`rocking_geometry` or, for any diffractometer, :func:`geometry_from_q` says where the
pixels of the pattern lie in reciprocal space, and so how large the voxels of its object are and which way they lean;
:func:`strain` turns the object into a :class:`StrainField`, which `StrainField.orthogonal` brings to a grid of
cubes. Lengths are in metres, scattering vectors in 1/m with 2 pi in them, angles of the diffractometer in degrees.
"""

from phaseret.crystals._geometry import BraggGeometry, geometry_from_q, rocking_geometry
from phaseret.crystals._strain import StrainField, strain

__all__ = ["BraggGeometry", "StrainField", "geometry_from_q", "rocking_geometry", "strain"]
__dir__ = __all__.copy  # what dir() and completion show
