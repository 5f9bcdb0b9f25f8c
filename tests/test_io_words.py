"""What files hold that is no array of numbers, and the words by which they say what their numbers are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseret as pr

h5py = pytest.importorskip("h5py")
Array = np.ndarray[Any, Any]


def counts(seed: int = 0, shape: tuple[int, ...] = (20, 22)) -> Array:
    return np.random.default_rng(seed).integers(1, 1000, shape).astype(np.int32)


def frame(measurement: pr.io.Measurement) -> Array:
    """The intensity as the detector has it."""
    return np.fft.fftshift(measurement.intensity.numpy())


# --- what is no array ------------------------------------------------------------------------------------------------


def cells(*arrays: Array) -> Array:
    found = np.empty((1, len(arrays)), object)
    for number, array in enumerate(arrays):
        found[0, number] = array
    return found


def sparse(array: Array) -> Any:
    from scipy.sparse import csc_matrix

    return csc_matrix(array.astype(float))


def structs(*arrays: Array) -> Array:
    found = np.zeros((1, len(arrays)), [("image", object)])
    for number, array in enumerate(arrays):
        found[0, number]["image"] = array
    return found


MATLAB: dict[str, tuple[Callable[[], Any], str]] = {
    "cell": (lambda: cells(counts(), counts(1)), r"got a cell array\. Save cat\(3, \.\.\.\{:\}\) of it"),
    "sparse": (lambda: sparse(counts()), r"got a sparse matrix\. Save full\(\.\.\.\) of it"),
    "structs": (lambda: structs(counts(), counts(1)), r"got an array of structs\. Save cat\(3, \.\.\.\.field\) of its"),
}


@pytest.mark.parametrize("kind", MATLAB)
@pytest.mark.parametrize("inside", [False, True])
def test_what_matlab_has_beside_arrays_is_refused_with_what_to_do(kind: str, inside: bool, tmp_path: Path) -> None:
    from scipy.io import savemat

    made, said = MATLAB[kind]
    savemat(tmp_path / "x.mat", {"scan": {"frames": made(), "note": "pinhole"}} if inside else {"frames": made()})
    with pytest.raises(ValueError, match=f"load_intensity: '(scan/)?frames' of .*x.mat must be there .*{said}"):
        pr.io.load_intensity(tmp_path / "x.mat")
    for load in (pr.io.load_intensity, pr.io.load_object, pr.io.load_mask):
        with pytest.raises(ValueError, match=said):
            load(tmp_path / "x.mat", key="scan.frames" if inside else "frames")
    savemat(tmp_path / "x.mat", {"frames": made(), "other": counts()})
    with pytest.warns(
        UserWarning, match=r"'other' was taken for the pattern, and the file holds 'frames', an? .*, too"
    ):
        assert np.array_equal(frame(pr.io.load_intensity(tmp_path / "x.mat")), counts())
    pr.io.load_intensity(tmp_path / "x.mat", key="other")


def matlab73(path: Path, fill: Callable[[Any], None]) -> Path:
    """A file as MATLAB 7.3 writes it."""
    with h5py.File(path, "w", userblock_size=512) as file:
        fill(file)
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + b"\0" * 8 + b"\0\2IM")
    return path


def _cell(file: Any, kind: str = "cell") -> None:
    file["#refs#/a"], file["#refs#/b"] = counts(), counts(1)
    frames = file.create_dataset("frames", (2, 1), dtype=h5py.ref_dtype)
    frames[0, 0], frames[1, 0] = file["#refs#/a"].ref, file["#refs#/b"].ref
    frames.attrs["MATLAB_class"] = np.bytes_(kind)


def _sparse(file: Any) -> None:
    matrix, group = sparse(counts().T), file.create_group("frames")
    group.attrs["MATLAB_sparse"], group.attrs["MATLAB_class"] = np.uint64(20), np.bytes_("double")
    group["data"], group["ir"], group["jc"] = matrix.data, matrix.indices, matrix.indptr


def _table(file: Any) -> None:
    file["frames"] = np.arange(6, dtype=np.uint32)[None]
    file["frames"].attrs["MATLAB_class"], file["frames"].attrs["MATLAB_object_decode"] = np.bytes_("table"), 3


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (_cell, "a cell array"),
        (lambda file: _cell(file, "struct"), "an array of structs"),
        (_sparse, "a sparse matrix"),
        (_table, "an object such as a table or a string"),
    ],
)
@pytest.mark.parametrize("key", [None, "frames", "/frames"])
def test_so_is_that_of_newer_files(fill: Callable[[Any], None], said: str, key: str | None, tmp_path: Path) -> None:
    path = matlab73(tmp_path / "x.mat", fill)
    with pytest.raises(ValueError, match=rf"'/?frames' of .*x.mat must be there as an array, got {said}\. Save "):
        pr.io.load_intensity(path, key=key)


@pytest.mark.parametrize("kind", ["csc", "csr", "coo"])
def test_a_sparse_matrix_of_scipy_is_no_curve(kind: str, tmp_path: Path) -> None:
    from scipy.sparse import save_npz

    save_npz(tmp_path / "x.npz", sparse(counts()).asformat(kind))
    with pytest.raises(ValueError, match=r"must name a file of whole arrays, got a sparse matrix in .*\.toarray\(\)"):
        pr.io.load_intensity(tmp_path / "x.npz")


# --- texts -----------------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "latin-1"]),
    st.sampled_from(["\t", " ", ", ", "; "]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.integers(0, 1000),
)
def test_tables_are_read_in_whatever_letters(
    tmp_path_factory: pytest.TempPathFactory, encoding: str, between: str, end: str, comment: bool, seed: int
) -> None:
    values, mark = counts(seed, (9, 11)), "\ufeff" if encoding.endswith(("le", "be")) else ""
    lines = ["# Zähler"] * comment + [between.join(map(str, row)) for row in values]
    path = tmp_path_factory.mktemp("table") / "x.txt"
    path.write_bytes((mark + end.join(lines)).encode(encoding))
    assert np.array_equal(frame(pr.io.load_intensity(path)), values)


# --- what the numbers are --------------------------------------------------------------------------------------------

ROOTS = ["sqrt(counts)", "SQRT counts", "counts^0.5", "counts**(1/2)", "√photons", "square root of counts", "amplitude"]
NOT_ROOTS = [
    "square modulus of the wave",
    "amp 3 gain, counts",
    "counts",
    "photons",
    "",
    "amplitude squared",
    "magnitude^2",
    "1",
    "|F|²",
    "a.u.",
]


@pytest.mark.parametrize("attribute", ["units", "long_name"])
@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("said", [*ROOTS, *NOT_ROOTS])
def test_roots_by_their_units_are_squared_and_that_is_said(
    said: str, group: bool, attribute: str, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["scan/data"] = counts()
        file["scan" if group else "scan/data"].attrs[attribute] = said
    if said in NOT_ROOTS:
        assert np.array_equal(frame(pr.io.load_intensity(tmp_path / "x.h5")), counts())
        return
    word = f"its {attribute}, .*, says?"
    with pytest.warns(UserWarning, match=f"'data' was taken for the magnitude, as {word}. .* use kind='intensity'"):
        found = pr.io.load_intensity(tmp_path / "x.h5")
    assert np.array_equal(frame(found), counts().astype(float) ** 2)
    assert np.array_equal(frame(pr.io.load_intensity(tmp_path / "x.h5", kind="intensity")), counts())


@pytest.mark.parametrize("said", ["log10(counts)", "log counts", "ln(I)"])
def test_logarithms_by_their_units_are_questioned(said: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["data"] = counts()
        file["data"].attrs["units"] = said
    with pytest.warns(UserWarning, match="'data' sounds like a logarithm"):
        pr.io.load_intensity(tmp_path / "x.h5")
