"""From the object of a Bragg peak to displacement and strain: atoms, closed forms, what no phase tells, errors."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

import phaseret as pr
from phaseret.crystals import StrainField, rocking_geometry, strain

pytest.importorskip("skimage")
Q, EDGE = 2.7e10, 8e-9
CUBES = (EDGE, EDGE, EDGE)
LEANING = torch.tensor([[9e-9, 2e-9, 0.0], [0.0, 7e-9, -3e-9], [1e-9, 0.0, 8e-9]], dtype=torch.float64)


def grid(*sizes: int) -> Tensor:
    """Indices from the middle of a grid, one vector for each voxel."""
    axes = [torch.arange(n).double() - n // 2 for n in sizes]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def ball(*sizes: int, radius: float = 0.4) -> Tensor:
    return (grid(*sizes) / torch.tensor(sizes)).norm(dim=-1) < radius


def crystal(phase: Tensor, support: Tensor) -> Tensor:
    return torch.polar(support.double(), phase)


def quadratic(places: Tensor) -> Tensor:
    """A displacement in metres that is no plane's, of places in metres, up to a fraction of a lattice plane's."""
    x, y, z = (places / 50e-9).unbind(-1)
    return 3e-11 * (x * x - 0.5 * y * y + x * z + 0.7 * z * z - 0.6 * y * z)


# --- values ----------------------------------------------------------------------------------------------------------


def test_planes_that_lie_further_apart_are_positive_strain() -> None:
    # Atoms at j d + u scatter with exp(-i q (j d + u)); the pattern is that of q from Q - 32 steps to Q + 31 steps.
    planes, pixels = 1200, 64
    spacing = 2 * math.pi / Q
    z = (torch.arange(planes).double() - planes // 2) * spacing
    bend = 2e-3 / (planes * spacing)
    atoms = z + bend / 2 * z.square()  # the strain is bend z
    step = 2 * math.pi / (2.2 * planes * spacing)
    q = Q + step * (torch.arange(pixels).double() - pixels // 2)
    amplitude = torch.polar(torch.ones(pixels, planes).double(), -q[:, None] * atoms).sum(1)
    obj = torch.fft.ifft(torch.fft.ifftshift(amplitude))
    edge = 2 * math.pi / (pixels * step)
    for copy in (obj, pr.symmetry.conj_flip(obj, ndim=1)):  # which has the same pattern
        field = strain(copy[:, None, None], (Q, 0, 0), voxels=(edge, edge, edge), threshold=0.5)
        place = (torch.arange(pixels) - pixels // 2) * edge
        inside = place.abs() < 0.35 * planes * spacing
        turned = -1 if copy is not obj else 1
        found = field.strain[inside, 0, 0]
        assert (found - turned * bend * place[inside]).abs().max() < 1e-4  # where it reaches 7e-4
        assert found[-1] * turned > 5e-4


def test_displacement_and_strain_are_those_of_a_closed_form_on_voxels_that_lean() -> None:
    q = torch.tensor([1.1e10, -0.7e10, 2.2e10], dtype=torch.float64)
    support, places = ball(14, 15, 16), grid(14, 15, 16) @ LEANING
    u = quadratic(places)
    field = strain(crystal(-float(q.norm()) * u, support), q, voxels=LEANING)
    assert torch.equal(field.support, support)
    plane = torch.cat([places, torch.ones(*places.shape[:3], 1)], -1)[support] / torch.tensor([1e-8, 1e-8, 1e-8, 1])
    rest = u[support] - plane @ torch.linalg.lstsq(plane, u[support][:, None]).solution[:, 0]
    assert (field.displacement[support] - rest).abs().max() < 1e-17
    assert field.phase[support].mean().abs() < 1e-9
    unit, tiny = q / q.norm(), 1e-11
    slope = (quadratic(places + tiny * unit) - quadratic(places - tiny * unit)) / (2 * tiny)
    known, inner = field.strain.isfinite(), _inner(support)
    assert inner.sum() > 400
    off = (field.strain - slope)[known]
    assert ((field.strain - slope)[inner] - off.median()).abs().max() < 1e-9  # a constant is the lattice's
    assert (off - off.median()).abs().max() < 4e-4  # one side alone at the surface; strains reach 2e-3
    assert torch.equal(field.displacement.isnan(), ~support)


def _inner(support: Tensor) -> Tensor:
    """Voxels with all six neighbours."""
    near = [support.roll(shift, axis) for axis in range(3) for shift in (-1, 1)]
    return support & torch.stack(near).all(0)


def test_a_strained_crystal_has_the_phase_that_it_was_made_with() -> None:
    draw, whole = torch.Generator().manual_seed(1), False
    while not whole:  # a voxel that hangs on the others by an edge is left out, and the plane is another
        obj = pr.datasets.strained_crystal((16, 16, 16), span=2 * torch.pi, generator=draw)
        field = strain(obj, (0, 0, Q), voxels=CUBES)
        whole = field.support.sum() == (obj != 0).sum()
    inside = field.phase[field.support]
    assert float(inside.max() - inside.min()) == pytest.approx(2 * torch.pi, abs=1e-4)
    torch.testing.assert_close(inside, -Q * field.displacement[field.support])
    element = pr.symmetry.align(field.obj, obj, ndim=3, fourier_shape=(32, 32, 32))
    assert pr.metrics.phase_error(element.aligned, obj, ndim=3) < 1e-4


@pytest.mark.parametrize("ramp", [(0.0, 0.0, 0.0), (0.31, -0.77, 2.9), (-3.0, 1.5, 0.02)])
def test_place_ramp_and_offset_change_nothing_but_the_lattice(ramp: tuple[float, ...]) -> None:
    support = ball(12, 12, 12)
    obj = crystal(-Q * quadratic(grid(12, 12, 12) * EDGE), support)
    plain = strain(obj, (0, Q, 0), voxels=CUBES)
    turned = obj * torch.polar(torch.ones(12, 12, 12).double(), grid(12, 12, 12) @ torch.tensor(ramp).double() + 1)
    large = torch.zeros(24, 24, 24, dtype=torch.complex128)
    large[:12, :12, :12] = turned
    moved = strain(large.roll((-5, 20, 9), (0, 1, 2)), (0, Q, 0), voxels=CUBES)  # round the edges
    for name in ("phase", "displacement", "strain"):
        a, b = getattr(plain, name)[plain.support], getattr(moved, name)[moved.support]
        torch.testing.assert_close(a, b, rtol=1e-6, atol=float(a.nan_to_num().abs().max()) * 1e-6, equal_nan=True)
    expected = torch.tensor(ramp).double() / EDGE + plain.scattering_vector
    torch.testing.assert_close(moved.scattering_vector, expected, rtol=1e-6, atol=Q * 1e-6)


def test_a_voxel_that_is_not_finite_is_left_out() -> None:
    support = ball(12, 12, 12)
    obj = crystal(-Q * quadratic(grid(12, 12, 12) * EDGE), support)
    obj[6, 6, 6] = torch.nan
    field = strain(obj, (0, 0, Q), voxels=CUBES)
    assert field.support.sum() == support.sum() - 1
    assert field.strain[6, 6, 6].isnan()
    assert not field.obj.isnan().any()


def test_a_lattice_that_is_stretched_as_a_whole_moves_the_scattering_vector() -> None:
    support, stretch = ball(12, 12, 12), 1e-3
    obj = crystal(-Q * stretch * grid(12, 12, 12)[..., 2] * EDGE, support)
    field = strain(obj, (0, 0, Q), voxels=CUBES)
    assert float(Q / field.scattering_vector[2]) == pytest.approx(1 / (1 - stretch), rel=1e-9)
    assert field.strain[support].nan_to_num().abs().max() < 1e-12


def test_strain_needs_no_phase_that_can_be_unwrapped() -> None:
    # A screw dislocation: the phase turns once round the z axis, and rises along it.
    x, y, z = grid(16, 16, 16).unbind(-1)
    support = ball(16, 16, 16) & (torch.hypot(x + 0.5, y + 0.5) > 2)
    obj = crystal(torch.atan2(y + 0.5, x + 0.5) + 0.02 * z * z, support)
    found = strain(obj, (0, 0, Q), voxels=CUBES).strain
    inner = _inner(support)
    off = (found + 0.04 * z / (Q * EDGE))[inner]
    assert (off - off.median()).abs().max() < 1e-9


def test_the_support_is_the_crystal_and_not_what_lies_beside_it() -> None:
    support = ball(12, 12, 12)
    obj = crystal(torch.zeros(12, 12, 12).double(), support) + 0.02
    obj[0, 0, 0] = 1
    assert torch.equal(strain(obj, (0, 0, Q), voxels=CUBES).support, support)
    obj[0, 0, :12] = 1
    with pytest.warns(UserWarning, match=r"strain: \d+% of the support hangs together with the rest nowhere"):
        strain(obj, (0, 0, Q), voxels=CUBES)
    given = support.clone()
    given[6] = False
    given[:6] = False
    assert strain(obj, (0, 0, Q), voxels=CUBES, support=given).support.sum() == given.sum()


def test_a_batch_is_its_items() -> None:
    draw = torch.Generator().manual_seed(0)
    objs = torch.stack([pr.datasets.strained_crystal((10, 10, 10), generator=draw) for _ in range(2)])
    together = strain(objs[None], (0, 0, Q), voxels=CUBES)
    assert together.strain.shape == (1, 2, 10, 10, 10)
    assert together.scattering_vector.shape == (1, 2, 3)
    for number, obj in enumerate(objs):
        alone = strain(obj, (0, 0, Q), voxels=CUBES)
        for name in ("obj", "support", "phase", "displacement", "strain", "scattering_vector"):
            torch.testing.assert_close(getattr(together, name)[0, number], getattr(alone, name), equal_nan=True)
    shared = together.orthogonal(5e-9)
    assert shared.strain.shape[:2] == (1, 2)
    assert shared.support.flatten(2).any(-1).all()


# --- the orthogonal frame --------------------------------------------------------------------------------------------


def test_a_crystal_seen_through_a_rocking_curve_comes_back_in_the_laboratory_frame() -> None:
    geometry = rocking_geometry(
        wavelength=1.4e-10, distance=0.2, pixel_size=(4e-4, -3.6e-4), delta=11, nu=33, step=0.17, axis=(0, 1, 0)
    )
    shape, edge = (20, 18, 20), 2e-9

    def at(places: Tensor) -> Tensor:
        """A smooth crystal of some 30 nm, at places in metres."""
        x, y, z = (places / 10e-9).unbind(-1)
        phase = 0.8 * (x * x - 0.6 * y * y + 0.7 * x * z + 0.9 * y)
        return torch.polar(torch.exp(-(x * x / 1.6 + y * y + z * z / 1.2)), phase)

    # Its pattern by a slow sum over a fine grid of the laboratory, at the scattering vectors of the pixels.
    q = grid(*shape).reshape(-1, 3) @ geometry.steps
    lines = [edge * (torch.arange(31).double() - 15)] * 3
    kernels = [torch.polar(torch.ones(1).double(), -q[:, axis, None] * line) for axis, line in enumerate(lines)]
    fine = at(torch.stack(torch.meshgrid(*lines, indexing="ij"), -1))
    amplitude = ((kernels[0] @ fine.flatten(1)).unflatten(1, (31, 31)) * kernels[1][:, :, None]).sum(1)
    amplitude = (amplitude * kernels[2]).sum(1).reshape(shape)
    obj = torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(amplitude)))
    obj, voxels = obj / obj.abs().max(), geometry.voxels(shape)
    assert (obj - at(grid(*shape) @ voxels)).abs().max() < 0.01  # the pattern's frame is not endless

    field = strain(obj, geometry.scattering_vector, voxels=voxels)
    lab = field.orthogonal(edge)
    assert torch.equal(lab.voxels, edge * torch.eye(3).double())
    places = grid(*lab.support.shape) * edge
    truth = strain(at(places), geometry.scattering_vector, voxels=(edge, edge, edge), support=lab.support)
    both = _inner(lab.support) & lab.strain.isfinite() & truth.support
    assert both.sum() > 300
    modulus = at(places).abs()[both]
    off = (lab.obj.abs()[both] / modulus).log()
    assert (off - off.median()).abs().max() < 0.25  # linear between voxels of 3 nm and more
    phases = (lab.phase - truth.phase)[both]
    assert (phases - phases.median()).abs().max() < 0.1 * float(truth.phase[both].max() - truth.phase[both].min())
    strains = (lab.strain - truth.strain)[both]
    assert (strains - strains.median()).abs().mean() < 0.1 * truth.strain[both].std()


def test_what_is_linear_stays_as_it_is_between_voxels() -> None:
    support = ball(14, 14, 14)
    places = grid(14, 14, 14) @ LEANING
    field = strain(crystal(-Q * quadratic(places), support), (0, 0, Q), voxels=LEANING)
    values = places @ torch.tensor([1.0, 2.0, 3.0]).double()
    parts = vars(field) | {"strain": values.where(support, torch.nan), "obj": support + 0j}
    lab = StrainField(**parts).orthogonal(3e-9)
    shown = (grid(*lab.support.shape) * 3e-9) @ torch.tensor([1.0, 2.0, 3.0]).double()
    inside = (shown - lab.strain).abs()[lab.support]
    assert inside.median() < 1e-15
    assert torch.equal(lab.obj[lab.support].real, torch.ones(int(lab.support.sum())).double())
    volume = float(torch.linalg.det(LEANING)) * int(support.sum())
    assert int(lab.support.sum()) * 27e-27 == pytest.approx(volume, rel=0.03)
    assert not lab.support[[0, -1]].any()  # an empty voxel around it


def test_cubes_are_as_large_as_voxels_unless_told_otherwise() -> None:
    field = strain(crystal(torch.zeros(9, 9, 9).double(), ball(9, 9, 9)), (0, 0, Q), voxels=LEANING)
    lab = field.orthogonal()
    assert float(lab.voxels[0, 0] ** 3) == pytest.approx(float(torch.linalg.det(LEANING)), rel=1e-9)
    with pytest.raises(ValueError, match=r"StrainField.orthogonal: voxel_size must be a finite number above 0, got 0"):
        field.orthogonal(0)


# --- files, pictures, errors ------------------------------------------------------------------------------------------


def test_it_says_what_it_is_and_comes_back_from_a_file(tmp_path: Path) -> None:
    obj = pr.datasets.strained_crystal((10, 10, 10), generator=torch.Generator().manual_seed(0))
    field = strain(obj, (0, 0, Q), voxels=CUBES)
    count = int(field.support.sum())
    assert repr(field).startswith(f"StrainField((10, 10, 10), {count} voxels in the crystal, strain -")
    for name in ("field.npz", "field.cxi"):
        field.save(tmp_path / name)
        again = StrainField(**pr.io.load_reconstruction(tmp_path / name))
        for key, value in vars(field).items():
            torch.testing.assert_close(getattr(again, key), value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        (
            {"obj": torch.ones(4, 4, 4)},
            TypeError,
            r"obj must be complex, got torch.float32. A real object has no phase",
        ),
        ({"obj": torch.ones(4, 4) + 0j}, ValueError, r"obj must have at least 3 axes, got shape \(4, 4\)"),
        (
            {"obj": torch.zeros(4, 4, 4) + 0j},
            ValueError,
            "the support must hold voxels where obj is not zero, got none",
        ),
        (
            {"scattering_vector": (0, 0)},
            ValueError,
            r"scattering_vector must be three finite numbers, .* got \[0.0, 0.0\]",
        ),
        ({"scattering_vector": (0, 0, 0)}, ValueError, "scattering_vector must be three finite numbers, not all zero"),
        ({"scattering_vector": "z"}, TypeError, "scattering_vector must hold numbers, got 'z'"),
        ({"voxels": 5e-9}, ValueError, "voxels must be three lengths, or three vectors that span a volume, got 5e-09"),
        ({"voxels": (1, 1, 0)}, ValueError, "voxels must be three lengths, or three vectors that span a volume"),
        ({"voxels": torch.ones(3, 3)}, ValueError, "voxels must be three lengths, or three vectors that span a volume"),
        ({"support": torch.ones(3, 4, 4) > 0}, ValueError, "support must broadcast to obj"),
        ({"support": torch.ones(4, 4, 4)}, TypeError, "support must be a boolean tensor"),
        ({"threshold": 0}, ValueError, "threshold must be a finite number above 0, got 0"),
    ],
)
def test_errors_say_what_to_do(changed: dict[str, object], error: type[Exception], text: str) -> None:
    given = {"obj": torch.ones(4, 4, 4) + 0j, "scattering_vector": (0, 0, Q), "voxels": CUBES} | changed
    with pytest.raises(error, match=f"strain: {text}"):
        strain(**given)  # type: ignore[arg-type]
