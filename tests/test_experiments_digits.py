"""The digits that several experiments train on: enough images, and photons that are counted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import phaseret as pr

pytest.importorskip("lightning")


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    from experiments import digits

    with pytest.raises(ValueError, match=r"the data must hold 10000 images, got 4500\. Give MNIST's IDX files: --data"):
        digits.trained({"images": 10_000, "epochs": 1}, None, tmp_path)


def test_thinned_photons_are_independent_halves() -> None:
    from experiments.digits import counted

    objects = pr.datasets.mnist()[:10]
    counts, unit = counted(objects, 50.0, 0)
    clean = pr.operators.fourier_intensity(objects, (64, 64))
    assert torch.equal(counts, counts.round())
    assert counts.mean().item() == pytest.approx(50, rel=0.02)
    torch.testing.assert_close((counts * unit).mean((-2, -1)), clean.mean((-2, -1)), rtol=0.02, atol=0)
