"""Several trainings at a time, and what is finished already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from processes import PROCESSES

pytest.importorskip("lightning")
pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("default")]


def test_run_all_gives_results_in_order_and_the_first_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.store import run_all

    monkeypatch.setattr("experiments.store.get_context", lambda _: PROCESSES)
    calls = [(2, 3), (3, 2), (10, 2)]
    assert run_all(pow, calls) == run_all(pow, calls, jobs=2) == [8, 9, 100]
    with pytest.raises(ZeroDivisionError):
        run_all(pow, [(2, 3), (0, -1), (0, 0)], jobs=2)


def test_what_calls_tell_is_heard_where_they_were_asked_for() -> None:
    from experiments.store import run_all, tell

    for jobs in (1, 2):
        heard: list[int] = []
        run_all(tell, [(3,), (4,)], jobs, heard.append)
        assert sorted(heard) == [3, 4]
    tell(5)  # to nobody
    assert sorted(heard) == [3, 4]


def test_several_trainings_at_once_and_several_processes_exclude_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.store import run_all

    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="jobs must be 1 under torchrun"):
        run_all(pow, [(2, 3)], jobs=2)


def test_a_finished_training_is_known_by_its_settings(tmp_path: Path) -> None:
    from experiments.store import finish, finished

    settings: dict[str, Any] = {"images": 3, "photons": None, "channels": [8, 16]}
    assert finished(tmp_path / "new", settings) is None
    assert finish(tmp_path / "new", settings, {"loss": 0.5}) == {"loss": 0.5}
    assert finished(tmp_path / "new", settings) == {"loss": 0.5}
    assert finished(tmp_path / "new", {**settings, "images": 4}) is None
