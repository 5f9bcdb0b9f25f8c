"""Pictures of patterns and reconstructions, as Matplotlib figures.

Which one should I use? :func:`plot_pattern` before a reconstruction, :func:`plot_reconstruction` after it: it shows not
only the object but also whether the starts agree, since a small residual alone is no proof. :func:`plot_comparison`
puts two objects side by side, :func:`plot_strain_field` shows a strained crystal, and :func:`plot_ambiguity` what
`phaseret.symmetry.diagnose` found in a training set. Each gives a `matplotlib.figure.Figure` without touching any
global state, which a notebook shows and :func:`save_figure` writes; :func:`check_figure` tells before a long run
whether it will.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from phaseret import _checks, _fft, _memory, metrics
from phaseret._output import check_free, written
from phaseret.crystals import StrainField
from phaseret.io import Measurement
from phaseret.operators import FourierIntensity
from phaseret.solvers import Reconstruction
from phaseret.symmetry import Ambiguity, align

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "check_figure",
    "plot_ambiguity",
    "plot_comparison",
    "plot_pattern",
    "plot_reconstruction",
    "plot_strain_field",
    "save_figure",
]
__dir__ = __all__.copy  # what dir() and completion show

_INCHES = 4.0
_NANO = 1e9
# Colours reach to the value that this share of the crystal does not exceed: single voxels of its surface do.
_MOST = 0.99


def plot_pattern(measurement: Measurement, *, index: int = 0) -> Figure:
    """The logarithm of the intensity with the zero frequency in the middle, and which pixels were not measured.

    Args:
        measurement: From `phaseret.io.load_intensity` or `as_measurement`.
        index: Which pattern of a stack. The middle slice of a volume is shown.

    Returns:
        Figure with one panel.

    Raises:
        TypeError: if measurement is not a Measurement.
        ValueError: if there is no such pattern.
        ImportError: if Matplotlib is not installed.

    Example:
        >>> pattern = pr.io.as_measurement(pr.operators.fourier_intensity(torch.rand(8, 8), (16, 16)))
        >>> len(plot_pattern(pattern).axes)  # the panel and its colour bar
        2
    """
    _checks.instance("measurement", measurement, Measurement, "Use phaseret.io.as_measurement")
    intensity, mask = _pattern(measurement, index)
    shown = intensity.clamp(min=float(intensity[intensity > 0].min())).log10()
    if mask is not None:
        shown = shown.masked_fill(~mask, torch.nan)
    figure, (panel,) = _panels(1)
    shown = _fft.center(shown, range(-shown.ndim, 0))
    _show(panel, shown, "log10 intensity, unmeasured in red", cmap="viridis", bad="tab:red")
    return figure


def plot_reconstruction(
    reconstruction: Reconstruction, *, measurement: Measurement | None = None, index: int = 0
) -> Figure:
    """The object, the residuals of all starts, their agreement, and with the data the PRTF.

    Args:
        reconstruction: What a solver returned.
        measurement: The data it was made from, for the phase retrieval transfer function of the starts.
        index: Which pattern of a stack. The middle slice of a volume is shown.

    Returns:
        Figure: the object (modulus and phase if it is complex) in the box of its support, whose title says which part
        of the array that is, the residual during the run, agreement with the best start against residual, and the PRTF
        if there are a measurement and several starts.

    Raises:
        TypeError: if reconstruction is not a Reconstruction.
        ValueError: if there is no such pattern.
        ImportError: if Matplotlib is not installed.
    """
    fix = "Pass the Reconstruction itself"
    _checks.instance("reconstruction", reconstruction, Reconstruction, fix)
    if measurement is not None:
        _checks.instance("measurement", measurement, Measurement, "Use phaseret.io.as_measurement")
    r, ndim = reconstruction, reconstruction.obj.ndim - reconstruction.error.ndim
    box = _fft.bounding_box(_item(r.support, ndim, index))
    obj = _item(r.obj, ndim, index)[box]
    history, errors = _item(r.history, 2, index), _item(r.errors, 1, index)
    ranking = _item(r.ranking, 1, index).tolist()
    curve = None
    if measurement is not None and len(ranking) > 1:
        objs = _item(r.objs, ndim + 1, index)
        curve = _agreement_of_phases(torch.stack([objs[start][box] for start in ranking]), measurement, index)
    complex_ = obj.is_complex()
    figure, panels = _panels(3 + complex_ + (curve is not None))
    part, whole = "", r.obj.shape[r.obj.ndim - ndim :]
    if obj.shape != whole:
        pixels = " x ".join(f"{s.start}:{s.stop}" for s in box)
        part = f", pixels {pixels}\nthe support's box in {' x '.join(map(str, whole))}"
    _show_object(panels, obj, part=part, corner=[s.start for s in box])
    panel = panels[1 + complex_]
    for start in reversed(ranking):
        color, width = ("tab:blue", 2.0) if start == ranking[0] else ("0.7", 0.8)
        panel.semilogy(r.checked, history[start], color=color, linewidth=width)
    panel.set(title="residual of all starts, best in blue", xlabel="iteration")
    panel = panels[2 + complex_]
    panel.plot(errors, _item(r.agreement, 1, index), "o", alpha=0.6)
    panel.locator_params(axis="x", nbins=4)
    panel.set(title="do the starts agree?", xlabel="residual", ylabel="correlation with the best", ylim=(0, 1.05))
    if curve is not None:
        _show_curve(panels[-1], curve, "phase retrieval transfer function")
    return figure


def plot_comparison(estimate: Tensor, obj: Tensor, *, ndim: int = 2) -> Figure:
    """An estimate after alignment, the object, and their Fourier ring correlation.

    Args:
        estimate: Candidate object, real or complex.
        obj: What it is compared with.
        ndim: Number of axes, all of them: the pair is one item.

    Shape:
        - estimate, obj: (n1..nd), or one of them (m1..md) with m >= 2n - 1: laid out on the whole grid

    Returns:
        Figure with three panels (five for complex objects).

    Raises:
        ValueError: if the shapes do not fit.
        ImportError: if Matplotlib is not installed.
    """
    aligned = align(estimate, obj, ndim=ndim, phase=True, scale=True).aligned.detach()
    _memory.with_values(estimate=estimate, obj=obj)
    obj = obj.detach()
    if obj.ndim != ndim:
        fix = "Index one item of a batch, or set ndim"
        _checks.fail(f"obj must have {ndim} axes, got shape {tuple(obj.shape)}", fix)
    width = 1 + aligned.is_complex()
    figure, panels = _panels(2 * width + 1)
    _show_object(panels[:width], aligned, "estimate, aligned: ")
    _show_object(panels[width:], obj if width == 1 else obj + 0j)
    _show_curve(panels[-1], metrics.frc(aligned, obj, align=False, ndim=ndim), "Fourier ring correlation")
    return figure


def plot_ambiguity(ambiguity: Ambiguity) -> Figure:
    """Distance of the objects over distance of the magnitudes of each item and its neighbour, as given and canonical.

    Args:
        ambiguity: What :func:`phaseret.symmetry.diagnose` found.

    Returns:
        Figure with two panels; their lines are the limits of near and far.

    Raises:
        TypeError: if ambiguity is not an Ambiguity.
        ImportError: if Matplotlib is not installed.

    Example:
        >>> found = pr.symmetry.diagnose(torch.rand(20, 6, 6))
        >>> [panel.get_xlabel() for panel in plot_ambiguity(found).axes]
        ['distance of the magnitudes', 'distance of the magnitudes']
    """
    _checks.instance("ambiguity", ambiguity, Ambiguity, "Use phaseret.symmetry.diagnose")
    a = ambiguity
    figure, panels = _panels(2)
    titles, shares = ("as given", "after canonicalize"), (a.share, a.share_canonical)
    distances = (a.object_distance, a.canonical_distance)
    for panel, title, share, distance in zip(panels, titles, shares, distances, strict=True):
        panel.scatter(a.magnitude_distance.cpu(), distance.cpu(), s=4, alpha=0.3, linewidths=0)
        panel.axhline(a.far, color="tab:red", linewidth=1)
        panel.axvline(float(a.magnitude_distance[a.near].max()), color="tab:gray", linewidth=1)
        panel.set(title=f"{title}: {share:.1%} of near pairs are far", xlabel="distance of the magnitudes")
    panels[1].sharey(panels[0])
    panels[0].set_ylabel("distance of the objects / that of random pairs")
    return figure


def plot_strain_field(field: StrainField, *, index: int = 0) -> Figure:
    """Displacement and strain of a crystal: three cuts through its middle, and its surface in their colours.

    Args:
        field: From `phaseret.crystals.strain`; where its voxels lean, `StrainField.orthogonal` of it is shown.
        index: Which crystal of a stack.

    Returns:
        Figure with eight panels and two colour bars, lengths in nanometres.

    Raises:
        TypeError: if field is not a StrainField.
        ValueError: if there is no such crystal.
        ImportError: if Matplotlib or scikit-image is not installed.

    Example:
        >>> obj = pr.datasets.strained_crystal((12, 12, 12), generator=torch.Generator().manual_seed(0))
        >>> field = pr.crystals.strain(obj, (0, 0, 2.7e10), voxels=(10e-9, 10e-9, 10e-9))
        >>> plot_strain_field(field).axes[0].get_title()
        'displacement / nm, x = 0'
    """
    _checks.instance("field", field, StrainField, "Use phaseret.crystals.strain")
    voxels = field.voxels.cpu()
    if not torch.equal(voxels, voxels.diag().diag()):
        field = field.orthogonal()
        voxels = field.voxels.cpu()
    edges = (_NANO * voxels.diag()).tolist()
    support = _item(field.support, 3, index)
    surface = _surface(_item(field.obj, 3, index).abs(), support, edges)
    figure_module = _checks.extra("matplotlib.figure", "matplotlib", "crystals")
    figure: Figure = figure_module.Figure(figsize=(4 * _INCHES, 2 * _INCHES), layout="constrained")
    rows = (("displacement / nm", _NANO, field.displacement), ("strain / 10⁻³", 1e3, field.strain))
    for row, (name, unit, values) in enumerate(rows):
        shown = unit * _item(values, 3, index)
        known = shown[shown.isfinite()].abs().double()
        most = float(known.quantile(_MOST)) if known.numel() else 0.0
        _show_cuts(figure, row, shown, name, edges, most or 1.0)
        panel = figure.add_subplot(2, 4, 4 * row + 4, projection="3d")
        _show_surface(panel, surface, shown, edges, most or 1.0)
    return figure


def save_figure(path: str | os.PathLike[str], figure: Figure, *, overwrite: bool = False) -> None:
    """Write a figure under another name and rename it when it is complete.

    Args:
        path: Its ending says the format: .png, .pdf, .svg, ...
        figure: What to write.
        overwrite: Replace an existing file.

    Raises:
        FileExistsError: if the file exists and `overwrite` is False.
        OSError: if it cannot be written; then no file is left.
        ValueError: if Matplotlib does not know the format.
    """
    check_figure(path, overwrite=overwrite)
    kind = _checks.extra("matplotlib.figure", "matplotlib", "demo").Figure
    _checks.instance("figure", figure, kind, "Use plot_pattern or another of these functions")
    content = BytesIO()  # when the disk fills up, Matplotlib fails in cleaning up after itself
    try:
        figure.savefig(content, format=_ending(path))
    except (RuntimeError, OSError) as error:  # some formats, and some settings, need TeX or Ghostscript
        said = " ".join(str(error).split()).rstrip(".")
        _checks.fail(f"{path} must be drawn by Matplotlib, got the error: {said}", "Use a .png or .pdf file", OSError)
    with written(path, overwrite) as temporary:
        temporary.write_bytes(content.getvalue())


def check_figure(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Fail now, and not after a long run, if :func:`save_figure` could not write there.

    Args:
        path: As in `save_figure`.
        overwrite: As in `save_figure`.

    Raises:
        FileExistsError: if the file exists and `overwrite` is False.
        FileNotFoundError: if its folder does not exist.
        ImportError: if Matplotlib is not installed.
        ValueError: if Matplotlib does not know the format.
    """
    check_free(path, overwrite)
    canvas = _checks.extra("matplotlib.backend_bases", "matplotlib", "demo").FigureCanvasBase
    _checks.choice("the ending of path", _ending(path), sorted(canvas.get_supported_filetypes()))


def _ending(path: str | os.PathLike[str]) -> str:
    return os.path.splitext(os.fspath(path))[1].removeprefix(".").lower()


def _pattern(measurement: Measurement, index: int) -> tuple[Tensor, Tensor | None]:
    """One pattern of a stack and its mask, on the CPU."""
    intensity, mask, d = measurement.intensity, measurement.mask, measurement.ndim
    return _item(intensity, d, index), None if mask is None else _item(mask.expand(intensity.shape), d, index)


def _item(x: Tensor, axes: int, index: int) -> Tensor:
    """One item of a batch, on the CPU."""
    items = x.detach().reshape(-1, *x.shape[x.ndim - axes :])
    if _checks.integer("index", index, at_least=-len(items)) >= len(items):
        _checks.fail(f"index must be one of {len(items)} patterns, got {index}", "Count from 0")
    return items[index].cpu()


def _agreement_of_phases(ensemble: Tensor, measurement: Measurement, index: int) -> metrics.RingCurve | None:
    """The PRTF of one pattern, or None where the support is too large for the padded grid to tell copies apart."""
    shape = measurement.fourier_shape
    if any(m < 2 * n - 1 for m, n in zip(shape, ensemble.shape[1:], strict=True)):
        return None
    intensity, mask = _pattern(measurement, index)
    return metrics.prtf(ensemble, intensity, FourierIntensity(shape), mask=mask)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    figure_module = _checks.extra("matplotlib.figure", "matplotlib", "demo")
    figure: Figure = figure_module.Figure(figsize=(count * _INCHES, _INCHES), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False)[0])


def _show_object(
    panels: Sequence[Axes], obj: Tensor, name: str = "", *, part: str = "", corner: Sequence[int] = ()
) -> None:
    """A real object, or modulus and phase of a complex one; `part` says which, with its first pixel at `corner`."""
    obj = _fft.promote(obj)
    if obj.is_complex():
        _show(panels[0], obj.abs(), f"{name}modulus{part}", corner=corner)
        turn: dict[str, Any] = {"cmap": "twilight", "vmin": -math.pi, "vmax": math.pi}
        _show(panels[1], obj.angle(), f"{name}phase{part}", corner=corner, **turn)
    else:
        _show(panels[0], obj, f"{name}object{part}", corner=corner)


def _show(
    panel: Axes,
    x: Tensor,
    title: str,
    *,
    corner: Sequence[int] = (),
    cmap: str = "gray",
    bad: str | None = None,
    **image: Any,
) -> None:
    """A line, an image with its colour bar, or the middle slice of a volume; the first pixel has the index `corner`."""
    import matplotlib

    if x.ndim == 3:
        x, title = x[len(x) // 2], f"{title}, middle slice"
    values = x.detach().cpu().numpy()
    first = list(corner[-2:]) or [0] * values.ndim
    if values.ndim == 1:
        panel.plot(range(first[0], first[0] + len(values)), values)
    else:
        colors = matplotlib.colormaps[cmap].with_extremes(bad=bad)
        edges = [place - 0.5 for place in first]
        extent = (edges[1], edges[1] + values.shape[1], edges[0] + values.shape[0], edges[0])
        shown = panel.imshow(values, cmap=colors, extent=extent, **image)
        panel.figure.colorbar(shown, ax=panel, shrink=0.8)
    panel.set_title(title)


def _show_curve(panel: Axes, curve: metrics.RingCurve, title: str) -> None:
    panel.plot(curve.frequency.cpu(), curve.value.cpu())
    panel.axhline(0.5, color="0.7", linewidth=0.8)
    least = min(0, float(curve.value.nan_to_num().min()))
    panel.set(title=title, xlabel="frequency, cycles per pixel", ylim=(least, 1.05))


def _show_cuts(figure: Figure, row: int, values: Tensor, name: str, edges: Sequence[float], most: float) -> None:
    """Three cuts through the middle of a volume in a row of panels, with one colour bar."""
    import matplotlib

    colors, panels = matplotlib.colormaps["coolwarm"].with_extremes(bad="0.9"), []
    for axis in range(3):
        down, right = (other for other in range(3) if other != axis)
        panel = figure.add_subplot(2, 4, 4 * row + axis + 1)
        (left, end), (low, high) = (
            [edges[other] * (place - values.shape[other] // 2 - 0.5) for place in (0, values.shape[other])]
            for other in (right, down)
        )
        cut = values.select(axis, values.shape[axis] // 2).numpy()
        image = panel.imshow(cut, cmap=colors, vmin=-most, vmax=most, origin="lower", extent=(left, end, low, high))
        panel.set(title=f"{name}, {'xyz'[axis]} = 0", xlabel=f"{'xyz'[right]} / nm", ylabel=f"{'xyz'[down]} / nm")
        panels.append(panel)
    figure.colorbar(image, ax=panels, shrink=0.8, extend="both")


def _surface(modulus: Tensor, support: Tensor, edges: Sequence[float]) -> tuple[Any, Any]:
    """Corners, in nanometres about the middle, and triangles of the surface where the modulus falls to half.

    It is blurred by a voxel first, whose steps would be all that one sees.
    """
    from scipy import ndimage

    cubes = _checks.extra("skimage.measure", "scikit-image", "crystals").marching_cubes
    padded = torch.nn.functional.pad(modulus.where(support, 0).float(), [2] * 6).numpy()
    blurred = ndimage.gaussian_filter(padded, 1.0)
    level = min(float(modulus[support].median()), float(blurred.max())) / 2
    corners, triangles, *_ = cubes(blurred, level, spacing=tuple(edges))
    middle = [edge * (n // 2 + 2) for n, edge in zip(modulus.shape, edges, strict=True)]
    return corners - middle, triangles


def _show_surface(panel: Any, surface: tuple[Any, Any], values: Tensor, edges: Sequence[float], most: float) -> None:
    """The surface, each triangle in the colour of the nearest voxel that has a value."""
    import matplotlib
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection
    from scipy import ndimage

    corners, triangles = surface
    faces = corners[triangles]
    nearest = ndimage.distance_transform_edt(values.isnan().numpy(), return_distances=False, return_indices=True)
    filled = values.numpy()[tuple(nearest)]
    places = (faces.mean(1) / edges).round().astype(int).T
    places = [(p + n // 2).clip(0, n - 1) for p, n in zip(places, values.shape, strict=True)]
    colors = matplotlib.colormaps["coolwarm"]((filled[tuple(places)] / most + 1) / 2)
    panel.add_collection3d(Poly3DCollection(faces, facecolors=colors, shade=True))
    low, high = corners.min(0), corners.max(0)
    panel.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    panel.set(xlabel="x / nm", ylabel="y / nm", zlabel="z / nm")
    panel.locator_params(nbins=4)
    panel.set_box_aspect(high - low, zoom=0.75)
