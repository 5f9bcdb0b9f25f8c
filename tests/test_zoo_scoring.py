"""The leaderboard: the scorer that judges all systems, and the file that keeps their rows."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import phaseret as pr

pytest.importorskip("lightning")
pytestmark = pytest.mark.usefixtures("examples_path")


def test_single_runs_residual_and_oracle_are_kept_apart() -> None:
    from zoo.scoring import best_by_residual, row

    objects = torch.rand(3, 12, 12)
    intensities = pr.operators.fourier_intensity(objects, (24, 24))
    # The first run is nearer to the object; the data handed over are those of the second one.
    near, far = objects + 0.01, objects + 0.1
    seen = pr.operators.fourier_intensity(far, (24, 24))
    found = row("s", "learned", [near, far], objects, seen, seconds=6.0, note=1)
    assert found["aligned_mse"] == pytest.approx((0.01**2 + 0.1**2) / 2, rel=1e-3)
    assert found["aligned_psnr"] == pytest.approx((40 + 20) / 2, abs=0.01)
    assert found["best_by_residual_psnr"] == pytest.approx(20, abs=0.01)
    assert found["best_by_residual_mse"] == pytest.approx(0.01, rel=1e-3)
    assert found["best_by_oracle_psnr"] == pytest.approx(40, abs=0.01)
    assert found["relative_magnitude_error"] == pytest.approx(0, abs=1e-5)
    assert found["success_percent"] == 0
    assert (found["runs"], found["seconds_per_image"], found["note"]) == (2, 2.0, 1)
    assert row("s", "learned", [near, far], objects, intensities, seconds=1.0)["success_percent"] == 100
    torch.testing.assert_close(best_by_residual([near, far], seen), far)


def test_copies_count_as_the_object_only_where_the_data_cannot_tell_them_apart() -> None:
    from zoo.scoring import row

    objects = torch.nn.functional.pad(torch.rand(2, 10, 10), (1, 1, 1, 1))
    copies = pr.symmetry.conj_flip(objects).roll(1, -1)
    intensities = pr.operators.fourier_intensity(objects, (24, 24))
    free = row("s", "classical", copies[None], objects, intensities, seconds=0.0)
    assert free["aligned_psnr"] == pytest.approx(120, abs=5)
    raw = (copies - objects).square().mean((-2, -1)).double()
    assert free["raw_psnr"] == pytest.approx(-10 * raw.log10().mean().item(), abs=1e-3)
    bound = row("s", "classical", copies[None], objects, intensities, seconds=0.0, symmetric=False)
    assert bound["aligned_psnr"] == pytest.approx(bound["raw_psnr"])


def test_complex_objects_are_scored_up_to_phase() -> None:
    from zoo.scoring import row

    objects = torch.randn(2, 12, 12, dtype=torch.complex64)
    intensities = pr.operators.fourier_intensity(objects, (24, 24))
    found = row("s", "untrained", (1j * objects)[None], objects, intensities, seconds=0.0)
    assert found["success_percent"] == 100
    assert found["aligned_ssim"] == pytest.approx(1, abs=1e-4)
    assert math.isfinite(found["raw_psnr"])


def test_a_kind_must_be_known() -> None:
    from zoo.scoring import row

    with pytest.raises(ValueError, match="kind must be one of classical, learned, untrained, got 'new'"):
        row("s", "new", torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4), torch.zeros(1, 8, 8), seconds=0.0)


def test_a_protocol_replaces_its_own_rows_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import leaderboard
    from paper.experiment import Result

    first, second = leaderboard.PROTOCOLS[:2]
    images = {"truth": np.zeros((2, 4, 4), np.uint8), "s": np.ones((2, 4, 4), np.uint8)}

    def enter(name: str, system: str) -> None:
        leaderboard.save(name, Result([{"system": system}], 0, {"images": 1}, images), f"run {name}", tmp_path)

    enter(second, "b")
    enter(first, "a")
    enter(second, "c")
    board = json.loads((tmp_path / "leaderboard.json").read_text(encoding="utf-8"))
    assert board["rows"] == [{"protocol": first, "system": "a"}, {"protocol": second, "system": "c"}]
    assert list(board["protocols"]) == [first, second]
    assert board["protocols"][second]["command"] == f"run {second}"
    pictures = [tmp_path / f"leaderboard_{name}.png" for name in (first, second)]
    for picture in pictures:
        picture.unlink()
    leaderboard.main(["--report", "--results", str(tmp_path)])
    assert all(picture.stat().st_size > 1000 for picture in pictures)
    assert capsys.readouterr().out.split()[-2:] == [str(picture) for picture in pictures]


def test_a_report_without_results_is_one_line(tmp_path: Path) -> None:
    import leaderboard

    with pytest.raises(SystemExit, match="leaderboard: error: --results must hold saved results, got"):
        leaderboard.main(["--report", "--results", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"mnist28: --results must hold leaderboard_mnist28\.npz, got .*Run the prot"):
        leaderboard.main(["mnist28", "--report", "--results", str(tmp_path)])
