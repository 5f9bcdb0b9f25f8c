"""What is said of estimates: which copy they are, and the scorer that judges all systems of the leaderboard."""

from __future__ import annotations

import math

import pytest
import torch

import phaseret as pr
from experiments.scoring import best_by_residual, copies, row


def test_single_runs_residual_and_oracle_are_kept_apart() -> None:
    objects = torch.rand(3, 12, 12)
    intensities = pr.operators.fourier_intensity(objects, (24, 24))
    # The first run is nearer to the object; the data handed over are those of the second one.
    near, far = objects + 0.01, objects + 0.1
    seen = pr.operators.fourier_intensity(far, (24, 24))
    found = row("s", "learned", torch.stack([near, far]), objects, seen, seconds=6.0, note=1)
    assert found["aligned_mse"] == pytest.approx((0.01**2 + 0.1**2) / 2, rel=1e-3)
    assert found["aligned_psnr"] == pytest.approx((40 + 20) / 2, abs=0.01)
    assert found["best_by_residual_psnr"] == pytest.approx(20, abs=0.01)
    assert found["best_by_residual_mse"] == pytest.approx(0.01, rel=1e-3)
    assert found["best_by_oracle_psnr"] == pytest.approx(40, abs=0.01)
    assert found["relative_magnitude_error"] == pytest.approx(0, abs=1e-5)
    assert found["success_percent"] == 0
    assert (found["runs"], found["seconds_per_image"], found["note"]) == (2, 2.0, 1)
    assert row("s", "learned", torch.stack([near, far]), objects, intensities, seconds=1.0)["success_percent"] == 100
    torch.testing.assert_close(best_by_residual(torch.stack([near, far]), seen), far)


def test_copies_count_as_the_object_only_where_the_data_cannot_tell_them_apart() -> None:
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
    objects = torch.randn(2, 12, 12, dtype=torch.complex64)
    intensities = pr.operators.fourier_intensity(objects, (24, 24))
    found = row("s", "untrained", (1j * objects)[None], objects, intensities, seconds=0.0)
    assert found["success_percent"] == 100
    assert found["aligned_ssim"] == pytest.approx(1, abs=1e-4)
    assert math.isfinite(found["raw_psnr"])


def test_a_kind_must_be_known() -> None:
    with pytest.raises(ValueError, match="kind must be one of classical, learned, untrained, got 'new'"):
        row("s", "new", torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4), torch.zeros(1, 8, 8), seconds=0.0)


def test_copies_and_superpositions_are_told_apart() -> None:
    digits = pr.datasets.mnist()[20:40]
    objects = torch.nn.functional.pad(digits, (2, 2, 2, 2))
    kinds = {
        "is_object": objects,
        "is_flip": objects.flip(-2, -1),
        "is_superposition": objects / 2 + objects.flip(-2, -1).roll(2, -1) / 2,
    }
    for kind, estimates in kinds.items():
        found = {name: value.double().mean().item() for name, value in copies(estimates, objects).items()}
        rest = {"is_object", "is_flip", "is_superposition"} - {kind}
        # Digits that nearly are their own flip may count as either.
        assert found[kind] >= 0.75, (kind, found)
        assert sum(found[name] for name in rest) <= 0.25, (kind, found)
    assert not copies(objects, objects)["is_novel_copy"].any()
    assert not copies(objects.roll(1, -1), objects)["is_novel_copy"].any()
    assert copies(objects.roll(2, -1), objects)["is_novel_copy"].all()
    blurred = torch.nn.functional.avg_pool2d(objects[:, None], 5, 1, 2)[:, 0]
    for other in (torch.full_like(objects, 0.1), blurred, blurred.roll(1, 0), blurred.mean(0).expand_as(objects)):
        assert copies(other, objects)["is_superposition"].double().mean() <= 0.25
