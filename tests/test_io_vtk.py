"""VTK's image data: what is in the files, that VTK reads them, and what they cannot hold."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

import phaseret as pr
from phaseret.cli import main

pytest.importorskip("pyevtk")
TYPES = {"Float32": "f4", "Float64": "f8", "UInt8": "u1"}


def read(file: Path) -> tuple[dict[str, str], dict[str, np.ndarray[Any, Any]]]:
    """Attributes of the image and its arrays, from the format's description: x is the fastest axis."""
    head, _, rest = file.read_bytes().partition(b'<AppendedData encoding="raw">')
    data = rest[rest.index(b"_") + 1 :]
    root = ElementTree.fromstring(head + b"</VTKFile>")
    assert root.attrib["type"] == "ImageData"
    assert root.attrib["header_type"] == "UInt64"
    assert root.attrib["byte_order"] == ("LittleEndian" if sys.byteorder == "little" else "BigEndian")
    image = root[0].attrib
    ends = [int(end) for end in image["WholeExtent"].split()]
    sizes = [b - a + 1 for a, b in zip(ends[::2], ends[1::2], strict=True)]
    arrays = {}
    for array in root.iter("DataArray"):
        at = int(array.attrib["offset"])
        (length,) = np.frombuffer(data, "u8", 1, at)
        values = np.frombuffer(data[at + 8 : at + 8 + int(length)], TYPES[array.attrib["type"]])
        arrays[array.attrib["Name"]] = values.reshape(sizes, order="F")
    return image, arrays


@pytest.fixture
def field() -> pr.crystals.StrainField:
    pytest.importorskip("skimage")
    obj = pr.datasets.strained_crystal((9, 10, 11), generator=torch.Generator().manual_seed(0))
    return pr.crystals.strain(obj, (0.0, 0.0, 3e10), voxels=(5e-9, 6e-9, 7e-9))


def test_a_strain_is_written_with_its_spacing(tmp_path: Path, field: pr.crystals.StrainField) -> None:
    field.save(tmp_path / "field.vti")
    image, arrays = read(tmp_path / "field.vti")
    assert [float(x) for x in image["Spacing"].split()] == pytest.approx([5, 6, 7])
    assert [float(x) for x in image["Origin"].split()] == pytest.approx([-20, -30, -35])
    expected = {
        "amplitude": field.obj.abs(),
        "support": field.support.to(torch.uint8),
        "phase": field.phase,
        "displacement": 1e9 * field.displacement,
        "strain": field.strain,
    }
    assert list(arrays) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(arrays[name], value.numpy(), rtol=1e-6, equal_nan=True)


def test_vtk_reads_it(tmp_path: Path, field: pr.crystals.StrainField) -> None:
    vtk = pytest.importorskip("vtk")
    field.save(tmp_path / "field.vti")
    reader = vtk.vtkXMLImageDataReader()
    reader.SetFileName(str(tmp_path / "field.vti"))
    reader.Update()
    found, arrays = reader.GetOutput(), read(tmp_path / "field.vti")[1]
    assert found.GetDimensions() == (9, 10, 11)
    for name, values in arrays.items():
        array = found.GetPointData().GetArray(name)
        numbers = [array.GetValue(k) for k in range(array.GetNumberOfValues())]
        np.testing.assert_array_equal(np.array(numbers).reshape(9, 10, 11, order="F"), values.astype(float))


def test_a_reconstruction_and_a_pattern_are_written_voxel_by_voxel(tmp_path: Path) -> None:
    obj = torch.polar(torch.rand(4, 5) + 0.5, 6 * torch.rand(4, 5))
    intensity = pr.operators.fourier_intensity(obj, (8, 9))
    found = pr.solvers.HIO(2)(intensity, support=torch.ones(4, 5, dtype=torch.bool), constraint="complex")
    found.save(tmp_path / "found.vti")
    image, arrays = read(tmp_path / "found.vti")
    assert image["Spacing"].split() == ["1.0", "1.0", "1.0"]
    assert list(arrays) == ["amplitude", "phase", "support"]
    shown = arrays["amplitude"] * np.exp(1j * arrays["phase"])
    np.testing.assert_allclose(shown[..., 0], found.obj.numpy(), rtol=1e-5, atol=1e-6)
    pr.io.save_intensity(tmp_path / "pattern.vti", pr.io.as_measurement(intensity, mask=intensity < intensity.max()))
    image, arrays = read(tmp_path / "pattern.vti")
    assert list(arrays) == ["intensity", "measured"]
    measured = intensity < intensity.max()
    np.testing.assert_array_equal(arrays["measured"][..., 0], np.fft.fftshift(measured.numpy()))
    np.testing.assert_array_equal(arrays["intensity"][..., 0], np.fft.fftshift((intensity * measured).numpy()))


def test_what_it_cannot_hold_is_said(tmp_path: Path, field: pr.crystals.StrainField) -> None:
    leaning = pr.crystals.StrainField(**vars(field) | {"voxels": torch.eye(3) + 0.1})
    with pytest.raises(
        ValueError, match=r"save_reconstruction: a .vti file holds voxels along x, y and z, got .*orthog"
    ):
        pr.io.save_reconstruction(tmp_path / "x.vti", leaning)
    leaning.orthogonal().save(tmp_path / "cubes.vti")
    intensity = pr.operators.fourier_intensity(torch.rand(2, 4, 4), (8, 8))
    stack = pr.solvers.HIO(2)(intensity, support=torch.ones(4, 4, dtype=torch.bool), constraint="nonnegative")
    with pytest.raises(
        ValueError, match=re.escape("one image of at most three axes, got shape (2, 4, 4). Write a stack")
    ):
        stack.save(tmp_path / "x.vti")
    assert [path.name for path in tmp_path.iterdir()] == ["cubes.vti"]
    with pytest.raises(ValueError, match=r"load_reconstruction: .*cubes.vti"):
        pr.io.load_reconstruction(tmp_path / "cubes.vti")


def test_the_command_refuses_a_stack_before_it_is_solved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("stack.npz", intensity=pr.operators.fourier_intensity(torch.rand(2, 4, 4), (8, 8)).numpy())
    assert main(["reconstruct", "stack.npz", "--ndim", "2", "-o", "found.vti", "--schedule", "er:5", "--quiet"]) == 1
    assert "--output must not end in .vti for a stack, got 'found.vti'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["stack.npz"]


def test_the_command_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("obj.npy", np.random.default_rng(0).random((6, 6)) + 0.5)
    assert main(["simulate", "obj.npy", "-o", "pattern.npz"]) == 0
    words = "reconstruct pattern.npz -o found.vti --schedule er:5 --starts 1 --constraint nonnegative --quiet"
    assert main(words.split()) == 0
    assert set(read(Path("found.vti"))[1]) == {"obj", "support"}
