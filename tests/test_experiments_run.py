"""The command of the experiments: it saves and draws results, and a protocol replaces its own rows alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from experiments import Result

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")
pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("default")]

from experiments import run  # noqa: E402

RESULTS = Path(__file__).parents[1] / "results"
EXPERIMENTS = (*run.PAPER, *run.ZOO)


# --- results ----------------------------------------------------------------------------------------------------------


def test_results_are_saved_and_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PHASERET_DATA_DIR", raising=False)
    run.main(["fig1", "--out", str(tmp_path / "runs"), "--results", str(tmp_path)])
    saved = json.loads((tmp_path / "fig1.json").read_text())
    assert saved["command"] == "python -m experiments.run fig1 --preset cpu"
    assert saved.keys() == {"command", "commit", "hardware", "seed", "budget", "rows"}
    assert re.fullmatch(r"[0-9a-f]+\+?|unknown", saved["commit"])
    assert "fig1.png" in capsys.readouterr().out
    (tmp_path / "fig1.png").unlink()
    run.main(["--report", "--results", str(tmp_path)])
    assert (tmp_path / "fig1.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"fig1.json", "fig1.npz", "fig1.png"}


def test_a_protocol_replaces_its_own_rows_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = run.ZOO[:2]
    images = {"truth": np.zeros((2, 4, 4), np.uint8), "s": np.ones((2, 4, 4), np.uint8)}

    def enter(name: str, system: str) -> None:
        run.save(name, Result([{"system": system}], 0, {"images": 1}, images), f"run {name}", tmp_path)

    enter(second, "b")
    enter(first, "a")
    enter(second, "c")
    board = json.loads((tmp_path / "leaderboard.json").read_text(encoding="utf-8"))
    assert board["rows"] == [{"protocol": first, "system": "a"}, {"protocol": second, "system": "c"}]
    assert list(board["protocols"]) == [first, second]
    assert board["protocols"][second]["command"] == f"run {second}"
    assert board["protocols"][second].keys() == {"command", "commit", "hardware", "seed", "budget"}
    pictures = [tmp_path / f"leaderboard_{name}.png" for name in (first, second)]
    for picture in pictures:
        picture.unlink()
    run.main(["--report", "--results", str(tmp_path)])
    assert all(picture.stat().st_size > 1000 for picture in pictures)
    assert capsys.readouterr().out.split()[-2:] == [str(picture) for picture in pictures]


# One of each part; the others draw rows of the same keys in the tests of their experiments.
DRAWN = ("ablation", "near_field")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in DRAWN else pytest.mark.slow)
        for name in EXPERIMENTS
        if run.saved(name, RESULTS).exists()
    ],
)
def test_committed_results_can_be_drawn_again(name: str, tmp_path: Path) -> None:
    for kind in ("json", "npz"):
        source = run.file_of(name, RESULTS, kind)
        if source.exists():
            (tmp_path / source.name).write_bytes(source.read_bytes())
    run.report(name, tmp_path)
    assert run.file_of(name, tmp_path, "png").stat().st_size > 10_000


# --- the command ------------------------------------------------------------------------------------------------------


def test_every_experiment_has_a_module_and_both_presets(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(run.__file__).parent
    for part, names in (("paper", run.PAPER), ("zoo", run.ZOO)):
        assert {path.stem for path in (folder / part).glob("*.yaml")} == set(names)
        assert {path.stem for path in (folder / part).glob("*.py")} == {"__init__", *names}
    with pytest.raises(SystemExit):
        run.main(["--help"])
    shown = capsys.readouterr().out
    for name in EXPERIMENTS:
        assert re.search(rf"^  {name} +\w", shown, re.MULTILINE)
        for preset in ("cpu", "paper"):
            assert run.configuration(name, preset)


def test_mistakes_of_the_command_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (([], "name at least one experiment"), (["fig5", "--jobs", "0"], "--jobs must be at")):
        with pytest.raises(SystemExit):
            run.main(arguments)
        assert message in capsys.readouterr().err
    for names, missing in (([], "saved results"), (["fig5"], "fig5.json"), (["mnist28"], "leaderboard_mnist28.npz")):
        with pytest.raises(SystemExit, match=rf"run: error: .*--results must hold {re.escape(missing)}, got .*Run "):
            run.main([*names, "--report", "--results", str(tmp_path)])
    with pytest.raises(SystemExit, match="run: error: fig5: mnist: root must be a folder that holds"):
        run.main(["fig5", "--data", "absent", "--out", str(tmp_path)])
