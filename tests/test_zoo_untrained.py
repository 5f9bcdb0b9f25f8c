"""The leaderboard's protocol untrained, tiny: what stands in the rows is of the systems and objects it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import phaseret as pr

pytest.importorskip("lightning")
pytest.importorskip("skimage")
pytestmark = pytest.mark.filterwarnings("default", "ignore:.*starts")

SMALL = {"channels": [8, 8], "lr": 0.01}
CONFIG = {
    "seed": 0,
    "default_starts": 2,
    "schedules": ["hio:30,er:5"],
    "samples": {
        "crystals": {"images": 1, "runs": 1, "priors": {"double": {"output": "double", "steps": 2, **SMALL}}},
        "complex digits": {
            "images": 2,
            "runs": 2,
            "priors": {
                "few steps": {"output": "real_imaginary", "steps": 2, **SMALL},
                "more steps": {"output": "real_imaginary", "steps": 40, **SMALL},
            },
        },
        "real digits": {"images": 2, "runs": 2, "priors": {"real": {"output": "nonnegative", "steps": 5, **SMALL}}},
    },
}


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_rows_of_crystals_and_digits(whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments import Context
    from experiments.zoo import untrained

    solve = pr.solvers.reconstruct
    if not whole:  # a few iterations in place of the default recipe
        monkeypatch.setattr(
            pr.solvers, "reconstruct", lambda data, **options: solve(data, **{**options, "schedule": "hio:20,er:5"})
        )
    data = os.environ.get("PHASERET_DATA_DIR")
    context = Context(CONFIG, None if data is None else Path(data), tmp_path)
    first = untrained.run(context)
    rows = {row["system"]: row for row in first.rows}
    assert [(row["system"], row["runs"], row.get("starts")) for row in first.rows] == [
        ("hio:30,er:5, crystals", 1, None),
        ("hio:30,er:5, crystals, then RAAR", 1, 1),
        ("reconstruct's default, crystals", 1, 2),
        ("reconstruct's default, crystals, then RAAR", 1, 2),
        ("default, told modulus and phase, crystals", 1, 2),
        ("default, told modulus and phase, crystals, then RAAR", 1, 2),
        ("double, crystals", 1, None),
        ("double, crystals, then RAAR", 1, 1),
        ("hio:30,er:5, complex digits", 2, None),
        ("hio:30,er:5, complex digits, then RAAR", 1, 2),
        ("reconstruct's default, complex digits", 1, 2),
        ("reconstruct's default, complex digits, then RAAR", 1, 2),
        ("few steps, complex digits", 2, None),
        ("few steps, complex digits, then RAAR", 1, 2),
        ("more steps, complex digits", 2, None),
        ("more steps, complex digits, then RAAR", 1, 2),
        ("hio:30,er:5, real digits", 2, None),
        ("reconstruct's default, real digits", 1, 2),
        ("real, real digits", 2, None),
    ]
    errors = {name: row["relative_magnitude_error"] for name, row in rows.items()}
    assert errors["more steps, complex digits"] < errors["few steps, complex digits"]
    if whole:
        assert rows["reconstruct's default, real digits"]["success_percent"] == 100
    pictures = {name for name in rows if not name.endswith("then RAAR")}
    assert set(first.arrays) == {*pictures, *(f"truth, {kind}" for kind in CONFIG["samples"])}
    monkeypatch.setattr("experiments.store.save_array", None)  # nothing is fitted again
    again = untrained.run(context)
    assert again.rows[6] == first.rows[6]


def test_crystals_have_modulus_one_and_half_a_turn_of_phase() -> None:
    from experiments.zoo.untrained import crystals

    first = crystals(2, 32, 5)
    modulus = first.abs()
    phase = torch.where(modulus > 0, first.angle(), 0)
    assert torch.equal(first, crystals(2, 32, 5))
    assert not torch.equal(first[0], first[1])
    assert (modulus <= 1 + 1e-6).all()
    assert ((modulus - 1).abs() < 1e-6).sum() > 2 * ((modulus > 0) & (modulus < 0.99)).sum()  # but for the edge
    edge = torch.ones(32, 32, dtype=torch.bool)
    edge[5:-5, 5:-5] = False
    assert (modulus[:, edge] == 0).all()
    torch.testing.assert_close(phase.abs().amax((-2, -1)), torch.full((2,), torch.pi / 2))


def test_refined_fits_its_data_better_and_each_item_on_its_own() -> None:
    from experiments.zoo.untrained import crystals, refined

    obj = crystals(2, 16, 0)
    intensity = pr.operators.fourier_intensity(obj, (32, 32))
    noise = torch.randn(obj.shape, dtype=obj.dtype, generator=torch.Generator().manual_seed(0))
    start = obj + 0.1 * noise
    found = refined(start, intensity)
    before, after = (pr.metrics.relative_magnitude_error(x, intensity, reduction="none") for x in (start, found))
    assert (after < 0.4 * before).all()
    torch.testing.assert_close(found[1:], refined(start[1:], intensity[1:]), rtol=1e-3, atol=1e-4)


def test_each_run_has_its_own_network() -> None:
    from experiments.zoo.untrained import prior

    settings = {"output": "double", "channels": [4, 4], "box": 8}
    first, again, other = prior(settings, 0), prior(settings, 0), prior(settings, 1)
    assert torch.equal(first(), again())
    assert not torch.equal(first(), other())
    assert type(prior({**settings, "output": "real_imaginary"}, 0)) is pr.models.DeepImagePrior
