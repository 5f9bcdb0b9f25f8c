"""A pytest plugin that runs the tests as another machine would: with other seeds, or without vector instructions.

``python -m pytest -p tests.other_machine --seed-offset 1000`` adds 1000 to every seed given to torch's and NumPy's
generators, by tests and by the library alike, and seeds what is drawn without one. ``--plain-cpu`` computes as a
processor without vector instructions does: other sums, other last digits. Workers and processes that tests start
do the same. A test that fails here depends on luck or on rounding, not on what it names. Tests marked `once` cannot,
and properties, which draw examples of their own at each run, are tried on few.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
OFFSET = "PHASERET_SEED_OFFSET"
PLAIN = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("other machine")
    group.addoption("--seed-offset", type=int, default=0, metavar="N", help="add N to all seeds")
    group.addoption("--plain-cpu", action="store_true", help="let torch use no vector instructions")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Change the environment, for this process and those it starts, before a conftest imports torch."""
    options = early_config.known_args_namespace
    if options.plain_cpu:
        os.environ.update(PLAIN)
    if options.seed_offset:
        if OFFSET not in os.environ:  # not in a worker
            folder = tempfile.TemporaryDirectory(prefix="other-machine-")
            early_config.add_cleanup(folder.cleanup)
            _write_entry_point(Path(folder.name))
            paths = [folder.name, str(ROOT), os.environ.get("PYTHONPATH", "")]
            os.environ.update({OFFSET: str(options.seed_offset), "PYTHONPATH": os.pathsep.join(filter(None, paths))})
        shift_seeds()
        sys.path.append(os.environ["PYTHONPATH"].split(os.pathsep)[0])  # multiprocessing hands on this path


def pytest_configure() -> None:
    from hypothesis import settings

    settings.register_profile("other machine", settings.get_profile("phaseret"), max_examples=5)
    settings.load_profile("other machine")


def pytest_report_header(config: pytest.Config) -> str:
    import torch

    offset, capability = config.getoption("seed_offset"), torch.backends.cpu.get_cpu_capability()
    assert torch.Generator().manual_seed(0).initial_seed() == offset, "the seeds are not those that were asked for"
    return f"other machine: seeds {offset:+}, instructions {capability}"


def _write_entry_point(folder: Path) -> None:
    """Let `import torch` call `shift_seeds` if the folder is in the path, as for backends that are installed."""
    package = folder / "other_machine-0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: other-machine\nVersion: 0\n", encoding="utf-8")
    entry = "[torch.backends]\nother_machine = tests.other_machine:shift_seeds\n"
    (package / "entry_points.txt").write_text(entry, encoding="utf-8")


def shift_seeds() -> None:
    """Let torch and NumPy add the offset to the seeds they are given, and seed what is drawn at once."""
    import numpy as np
    import torch

    offset = int(os.environ[OFFSET])
    torch_seed, numpy_generator, original = torch.manual_seed, np.random.default_rng, torch.Generator

    class Kind(type(original)):  # type: ignore[misc]
        """Every generator is an instance, also those that torch itself made."""

        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, original)

    class Generator(original, metaclass=Kind):  # type: ignore[misc, valid-type]
        def manual_seed(self, seed: int) -> Generator:
            super().manual_seed(seed + offset)
            return self

    def manual_seed(seed: int) -> torch.Generator:
        return torch_seed(int(seed) + offset)

    def default_rng(seed: Any = None) -> np.random.Generator:
        return numpy_generator(seed + offset if isinstance(seed, int) else seed)

    torch.Generator = Generator  # type: ignore[misc]
    torch.manual_seed = torch.random.manual_seed = manual_seed
    np.random.default_rng = default_rng
    manual_seed(0)
