"""Files: measured patterns, masks, supports and reconstructions, read and written.

Which one should I use?

- :func:`load_intensity` for a detector's file of any known kind; it moves the zero frequency to index 0 and masks what
  cannot be used. :func:`as_measurement` does the same for values that you have read yourself.
- :func:`inspect` before any reconstruction: is the pattern centred, sampled finely enough, symmetric, complete?
- :func:`load_support`, :func:`load_mask` and :func:`load_object` for the arrays that go with a pattern.
- :func:`save_reconstruction` and :func:`load_reconstruction` for results, :func:`save_intensity` for patterns: CXI,
  which other coherent-imaging programs read, npz, or VTK's image data (.vti), which ParaView shows.
  :func:`check_output` tells before a long run whether they will.

Files are recognised by their content. In files the zero frequency lies in the middle of the frame; in tensors at
index 0. `center` names its place in a frame; the flag `centered` of operators says that it is the middle. Whether
values are intensities or magnitudes, a mask marks good or bad pixels, three axes are a stack or a volume is what the
file says, or has to be said. What is assumed all the same is warned of, with the option that says otherwise, and kept
in `Measurement.notes`.
"""

from phaseret.io._inspect import Inspection, inspect
from phaseret.io._load import load_intensity
from phaseret.io._measurement import Measurement, as_measurement
from phaseret.io._parts import load_mask, load_object, load_support
from phaseret.io._results import load_reconstruction, save_reconstruction
from phaseret.io._save import check_output, save_intensity

__all__ = [
    "Inspection",
    "Measurement",
    "as_measurement",
    "check_output",
    "inspect",
    "load_intensity",
    "load_mask",
    "load_object",
    "load_reconstruction",
    "load_support",
    "save_intensity",
    "save_reconstruction",
]
__dir__ = __all__.copy  # what dir() and completion show
