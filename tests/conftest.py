"""Fixtures shared by all tests: devices, seeds, and the folder of real data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from phaseret import _checks
from phaseret.losses import _invariant, _passive

settings.register_profile("phaseret", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("phaseret")
torch.set_num_threads(1)

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """What a module draws when it is imported is the same, whichever others are imported before it."""
    if isinstance(collector, pytest.Module):
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _begins_as_a_process() -> None:
    """Random numbers are those of the seed, and what is warned of once was not said before."""
    torch.manual_seed(0)
    _checks._warned.cache_clear()
    for module in (_invariant, _passive):
        module._calls.clear()


@pytest.fixture
def data_dir() -> Path:
    """The folder of real data; the test is skipped where PHASERET_DATA_DIR does not name it."""
    folder = os.environ.get("PHASERET_DATA_DIR")
    if not folder:
        pytest.skip("PHASERET_DATA_DIR is not set: no real data")
    return Path(folder)


@pytest.fixture(scope="module")
def good_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The files that good calls read, in the folder where the tests of a module run."""
    from good_calls import write_files

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("files"))
        write_files()
        yield
