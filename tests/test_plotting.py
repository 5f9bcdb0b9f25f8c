"""Figures: what is in them, that they are written whole or not at all, and that nothing global changes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import phaseret as pr

matplotlib = pytest.importorskip("matplotlib")
# Six short runs do not agree, and the solver says so.
pytestmark = pytest.mark.filterwarnings("ignore:.*(not unique|found by few)")


def problem(shape: tuple[int, ...] = (32, 32), *, complex_: bool = False, items: int = 1):
    """A measurement of random objects, and what six starts of a solver make of it."""
    size = tuple(m // 2 for m in shape)
    obj = torch.rand(*([items] * (items > 1)), *size)
    if complex_:
        obj = torch.polar(obj, obj)
    measurement = pr.io.as_measurement(pr.operators.fourier_intensity(obj, shape), ndim=len(shape))
    solver = pr.solvers.ErrorReduction(n_iter=20)
    constraint = "complex" if complex_ else "nonnegative"
    support = torch.ones(size, dtype=torch.bool)
    result = solver(
        measurement.intensity, support=support, constraint=constraint, starts=6, seed=0, ndim=len(shape), check_every=5
    )
    return measurement, result


def titles(figure) -> list[str]:
    return [panel.get_title() for panel in figure.axes if panel.get_title()]


# --- values ----------------------------------------------------------------------------------------------------------


def test_plot_pattern_shows_the_centred_logarithm_and_the_mask() -> None:
    counts = torch.arange(1.0, 31).reshape(5, 6)
    counts[2, 3] = float("nan")
    figure = pr.plotting.plot_pattern(pr.io.as_measurement(counts))
    shown = figure.axes[0].images[0].get_array()
    expected = np.fft.fftshift(np.log10(counts.numpy()))
    assert np.allclose(shown.filled(np.nan), expected, equal_nan=True)
    assert shown.mask.sum() == 1


def test_plot_pattern_shows_zeros_as_the_smallest_value() -> None:
    figure = pr.plotting.plot_pattern(pr.io.as_measurement(torch.tensor([[0.0, 10.0], [100.0, 1000.0]])))
    assert figure.axes[0].images[0].get_array().min() == 1


def test_plot_reconstruction_shows_the_object_and_all_starts() -> None:
    measurement, result = problem()
    figure = pr.plotting.plot_reconstruction(result, measurement=measurement)
    assert titles(figure) == [
        "object",
        "residual of all starts, best in blue",
        "do the starts agree?",
        "phase retrieval transfer function",
    ]
    panels = {panel.get_title(): panel for panel in figure.axes}
    assert np.array_equal(panels["object"].images[0].get_array(), result.obj)
    lines = panels["residual of all starts, best in blue"].lines
    assert len(lines) == 6
    assert np.array_equal(lines[-1].get_ydata(), result.history[result.ranking[0]])
    points = panels["do the starts agree?"].lines[0]
    assert np.array_equal(points.get_ydata(), result.agreement)
    curve = panels["phase retrieval transfer function"].lines[0]
    expected = pr.metrics.prtf(result.objs[result.ranking], measurement.intensity).value
    assert np.allclose(curve.get_ydata(), expected, atol=1e-5)


def test_complex_objects_have_a_modulus_and_a_phase() -> None:
    _, result = problem(complex_=True)
    figure = pr.plotting.plot_reconstruction(result)
    assert titles(figure)[:2] == ["modulus", "phase"]
    assert len(titles(figure)) == 4
    assert np.allclose(figure.axes[1].images[0].get_array(), result.obj.angle())


@pytest.mark.parametrize(("shape", "what"), [((32,), "object"), ((16, 15, 14), "object, middle slice")])
def test_lines_and_volumes_are_shown(shape: tuple[int, ...], what: str) -> None:
    measurement, result = problem(shape)
    assert titles(pr.plotting.plot_reconstruction(result, measurement=measurement))[0] == what
    assert len(titles(pr.plotting.plot_pattern(measurement))) == 1


def test_a_reconstruction_plots_and_saves_itself(tmp_path: Path) -> None:
    measurement, result = problem(items=2)
    assert titles(result.plot(measurement=measurement, index=1)) == titles(
        pr.plotting.plot_reconstruction(result, measurement=measurement, index=1)
    )
    result.save(tmp_path / "r.npz", measurement=measurement)
    assert torch.equal(pr.solvers.Reconstruction(**pr.io.load_reconstruction(tmp_path / "r.npz")).objs, result.objs)
    with pytest.raises(FileExistsError, match=r"Reconstruction.save: path must not exist yet"):
        result.save(tmp_path / "r.npz")
    result.save(tmp_path / "r.npz", overwrite=True)


def test_one_pattern_of_a_stack_is_shown() -> None:
    measurement, result = problem(items=3)
    figure = pr.plotting.plot_reconstruction(result, measurement=measurement, index=1)
    assert np.array_equal(figure.axes[0].images[0].get_array(), result.obj[1])
    shown = pr.plotting.plot_pattern(measurement, index=-1).axes[0].images[0].get_array()
    assert np.allclose(shown, np.fft.fftshift(measurement.intensity[2].log10()), atol=1e-5)


def test_the_support_is_cut_out_which_is_said_and_a_large_one_leaves_out_the_prtf() -> None:
    measurement, _ = problem()
    support = torch.zeros(32, 32, dtype=torch.bool)
    support[3:20, 5:31] = True
    result = pr.solvers.ErrorReduction(n_iter=5)(
        measurement.intensity, support=support, constraint="complex", starts=2, seed=0
    )
    figure = pr.plotting.plot_reconstruction(result, measurement=measurement)
    assert figure.axes[0].images[0].get_array().shape == (17, 26)
    assert titles(figure)[0] == "modulus, pixels 3:20 x 5:31\nthe support's box in 32 x 32"
    assert figure.axes[0].images[0].get_extent() == [4.5, 30.5, 19.5, 2.5]
    assert "phase retrieval transfer function" not in titles(figure)


def test_plot_comparison_shows_the_aligned_pair_and_its_frc() -> None:
    obj = torch.rand(16, 12)
    figure = pr.plotting.plot_comparison(3 * pr.symmetry.conj_flip(obj), obj)
    assert titles(figure) == ["estimate, aligned: object", "object", "Fourier ring correlation"]
    assert np.allclose(figure.axes[0].images[0].get_array(), obj, atol=1e-5)
    assert np.allclose(figure.axes[2].lines[0].get_ydata(), 1, atol=1e-4)
    signed = obj - 0.5
    whole = pr.symmetry.shift(3 * obj, (3, -5), fourier_shape=tuple(3 * n for n in obj.shape))
    assert titles(pr.plotting.plot_comparison(whole, obj)) == titles(figure)
    negative = pr.plotting.plot_comparison(-signed, signed)
    assert np.allclose(negative.axes[0].images[0].get_array(), signed, atol=1e-5)
    both = torch.polar(obj, obj)
    assert len(titles(pr.plotting.plot_comparison(both, both))) == 5
    assert len(titles(pr.plotting.plot_comparison(both, obj))) == 5


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_save_figure_writes_the_format_of_the_ending(ending: str, tmp_path: Path) -> None:
    figure = pr.plotting.plot_pattern(pr.io.as_measurement(torch.rand(4, 4)))
    pr.plotting.save_figure(tmp_path / f"x.{ending}", figure)
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[ending]
    assert (tmp_path / f"x.{ending}").read_bytes().startswith(start)
    assert len(list(tmp_path.iterdir())) == 1


# --- properties ------------------------------------------------------------------------------------------------------


def test_an_ambiguity_is_drawn_in_two_panels() -> None:
    found = pr.symmetry.diagnose(torch.rand(30, 4, 5), far=0.7)
    figure = pr.plotting.plot_ambiguity(found)
    assert [panel.get_title().split(":")[0] for panel in figure.axes] == ["as given", "after canonicalize"]
    for panel, distance in zip(figure.axes, (found.object_distance, found.canonical_distance), strict=True):
        points = torch.stack([found.magnitude_distance, distance], 1).double()
        torch.testing.assert_close(torch.as_tensor(panel.collections[0].get_offsets().data), points)
        assert panel.lines[0].get_ydata()[0] == 0.7
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_no_global_state_is_touched() -> None:
    before, shown = dict(matplotlib.rcParams), _shown()  # other tests may have figures of their own
    measurement, result = problem()
    pr.plotting.plot_reconstruction(result, measurement=measurement)
    assert dict(matplotlib.rcParams) == before
    assert _shown() == shown


def _shown() -> list[int]:
    """The figures that pyplot keeps, where it is loaded."""
    return sys.modules["matplotlib.pyplot"].get_fignums() if "matplotlib.pyplot" in sys.modules else []


def test_gradients_and_devices_do_no_harm(device: torch.device) -> None:
    obj = torch.rand(8, 8, device=device, requires_grad=True)
    figure = pr.plotting.plot_comparison(obj, obj)
    assert len(titles(figure)) == 3


# --- errors ----------------------------------------------------------------------------------------------------------


def test_errors(tmp_path: Path) -> None:
    measurement, result = problem()
    with pytest.raises(
        TypeError, match=r"plot_pattern: measurement must be a Measurement, got Tensor\. Use phaseret\.i"
    ):
        pr.plotting.plot_pattern(torch.rand(4, 4))
    with pytest.raises(TypeError, match=r"plot_reconstruction: reconstruction must be a Reconstruction, got Tens"):
        pr.plotting.plot_reconstruction(torch.rand(4, 4))
    with pytest.raises(TypeError, match=r"plot_ambiguity: ambiguity must be an Ambiguity, got Tensor\. Use phaseret"):
        pr.plotting.plot_ambiguity(torch.rand(4, 4))
    with pytest.raises(ValueError, match=r"plot_pattern: index must be one of 1 patterns, got 1"):
        pr.plotting.plot_pattern(measurement, index=1)
    with pytest.raises(ValueError, match=r"plot_comparison: obj must have 2 axes, got shape \(3, 4, 4\)"):
        pr.plotting.plot_comparison(torch.rand(3, 4, 4), torch.rand(3, 4, 4))
    figure = pr.plotting.plot_reconstruction(result)
    with pytest.raises(ValueError, match=r"save_figure: the ending of path must be one of .*'png'.*, got 'xyz'"):
        pr.plotting.save_figure(tmp_path / "x.xyz", figure)
    (tmp_path / "x.png").write_text("precious")
    with pytest.raises(FileExistsError, match=r"save_figure: path must not exist yet"):
        pr.plotting.save_figure(tmp_path / "x.png", figure)
    assert (tmp_path / "x.png").read_text() == "precious"


def test_check_figure_finds_what_would_be_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pr.plotting.check_figure(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"check_figure: the ending of path must be one of .*'png'.*, got 'xyz'"):
        pr.plotting.check_figure(tmp_path / "x.xyz")
    (tmp_path / "x.png").write_text("precious")
    with pytest.raises(FileExistsError, match=r"check_figure: path must not exist yet"):
        pr.plotting.check_figure(tmp_path / "x.png")
    pr.plotting.check_figure(tmp_path / "x.png", overwrite=True)
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    with pytest.raises(ImportError, match=r"check_figure: the package matplotlib must be installed"):
        pr.plotting.check_figure(tmp_path / "x.pdf")


def test_a_missing_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        ImportError, match=r"plot_pattern: the package matplotlib must be installed\. .*phaseret\[demo\]"
    ):
        pr.plotting.plot_pattern(pr.io.as_measurement(torch.rand(4, 4)))


# --- crystals ---------------------------------------------------------------------------------------------------------


def test_plot_strain_field_shows_three_cuts_and_the_surface_twice() -> None:
    pytest.importorskip("skimage")
    obj = pr.datasets.strained_crystal((10, 11, 12), generator=torch.Generator().manual_seed(0))
    field = pr.crystals.strain(obj, (0.0, 0.0, 3e10), voxels=(5e-9, 6e-9, 7e-9))
    figure = field.plot()
    assert titles(figure) == [
        f"{name}, {axis} = 0" for name in ("displacement / nm", "strain / 10⁻³") for axis in "xyz"
    ]
    cuts = [panel for panel in figure.axes if panel.images]
    for row, values in enumerate((1e9 * field.displacement, 1e3 * field.strain)):
        for axis in range(3):
            image = cuts[3 * row + axis].images[0]
            expected = values.select(axis, values.shape[axis] // 2).numpy()
            np.testing.assert_allclose(image.get_array().filled(np.nan), expected, rtol=1e-6, equal_nan=True)
    x, y = cuts[2].images[0].get_extent()[2:], cuts[2].images[0].get_extent()[:2]  # y to the right, x upwards
    assert x == pytest.approx((-27.5, 22.5))
    assert y == pytest.approx((-33, 33))
    surfaces = [panel for panel in figure.axes if panel.name == "3d"]
    inside = field.support.nonzero().double() - torch.tensor([5, 5, 6])
    reach = 1.2 * (inside * torch.tensor([5, 6, 7])).abs().amax(0)
    for panel in surfaces:
        (surface,) = panel.collections
        assert len(surface.get_facecolor()) > 100
        for limits, most in zip((panel.get_xlim(), panel.get_ylim(), panel.get_zlim()), reach.tolist(), strict=True):
            assert max(map(abs, limits)) < most


def test_plot_strain_field_shows_leaning_voxels_as_cubes_and_one_crystal_of_a_stack() -> None:
    pytest.importorskip("skimage")
    obj = pr.datasets.strained_crystal((10, 10, 10), generator=torch.Generator().manual_seed(0))
    voxels = torch.tensor([[5.0, 1.0, 0.0], [0.0, 5.0, 0.0], [0.0, 2.0, 5.0]]) * 1e-9
    field = pr.crystals.strain(torch.stack([obj, obj.conj()]), (0.0, 0.0, 3e10), voxels=voxels)
    shown = [panel.images[0].get_array() for panel in field.plot(index=1).axes if panel.images]
    expected = field.orthogonal().displacement[1] * 1e9
    np.testing.assert_allclose(shown[0].filled(np.nan), expected[len(expected) // 2].numpy(), equal_nan=True, rtol=1e-5)
    with pytest.raises(ValueError, match="index must be one of 2 patterns, got 2"):
        field.plot(index=2)
    with pytest.raises(TypeError, match="plot_strain_field: field must be a StrainField, got Tensor"):
        pr.plotting.plot_strain_field(obj)  # type: ignore[arg-type]
