"""The ``phaseret`` command: look at a pattern, reconstruct it, simulate one, compare two objects.

Which one should I use? ``phaseret info FILE`` first, then ``phaseret reconstruct FILE -o result.h5``; every command
explains itself with ``--help``. Whatever is wrong with a file or an option is one line on the standard error and a
non-zero exit status; no file is overwritten unless asked, and none is left half-written.
"""

from phaseret.cli._main import main

__all__ = ["main"]
