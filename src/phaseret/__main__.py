"""``python -m phaseret`` is the ``phaseret`` command."""

import sys

from phaseret.cli import main

sys.exit(main())
