"""The paper with numbers, and the zoo: learned systems beside classical ones. Run from the repository's root::

    python -m experiments.run NAME

What each file is for::

    run             the command: runs experiments, saves and draws their results
    end_to_end      the demo: one network, two objectives
    start           the network that starts a solver, trained and written
    paper           the paper's figures and claims: one module and one configuration file each
    zoo             protocols of the leaderboard: likewise
    digits          the training that several experiments are made of
    board           systems of the leaderboard, compared on equal data
    scoring         what is said of estimates
    pictures        images kept beside the results, and how they are shown
    images          objects that are not digits, of 28 x 28 pixels
    photographs     objects of 128 x 128 pixels
    store           what was finished is not done again; several trainings at a time
    objectives      what networks minimise
    fit             one training, which survives any interruption
    progress        how far trainings are, and when the result will be there
    data            digits, and batches of objects and intensities

Every experiment is a module with ``run(Context) -> Result``; those of the paper have ``draw(rows, arrays) -> Figure``,
the protocols of the zoo have rows of `board.Board` and, in `arrays`, estimates by system.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Context:
    """What an experiment runs with."""

    config: dict[str, Any]  # one preset of its configuration file
    data: Path | None  # folder with mnist/ and objects/
    folder: Path  # for checkpoints, logs and finished trainings
    jobs: int = 1  # trainings at a time
    bfloat16: bool = False  # train in mixed precision

    @property
    def mnist(self) -> Path | None:
        """Folder of MNIST's IDX files."""
        return None if self.data is None else self.data / "mnist"

    @property
    def objects(self) -> Path:
        """Folder of the objects that are not digits."""
        if self.data is None:
            raise ValueError("this experiment needs its images. Give their folder: --data FOLDER.")
        return self.data / "objects"


@dataclass(frozen=True)
class Result:
    """What an experiment found: everything that its figure and its page in the documentation show."""

    rows: list[Row]
    seed: Any
    budget: dict[str, Any]
    arrays: dict[str, Any] = field(default_factory=dict)  # images of the figure
