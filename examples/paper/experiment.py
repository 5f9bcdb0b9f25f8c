"""What an experiment is given and what it gives: ``run(Context) -> Result`` and ``draw(rows, arrays) -> Figure``."""

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
