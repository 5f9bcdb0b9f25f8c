"""``python -m phaseret.cli`` is the ``phaseret`` command."""

import sys

from phaseret.cli import main

sys.exit(main())
