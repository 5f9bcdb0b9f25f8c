"""Tables of numbers as spreadsheets of several countries and older programs write them: no cell is lost or misread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import phaseret as pr
from phaseret.io._readers import opened

SHAPE = (26, 30)
VALUES = np.random.default_rng(5).poisson(3000.0, SHAPE) * np.random.default_rng(6).random(SHAPE)


def in_frame(found: pr.io.Measurement) -> np.ndarray:
    return np.fft.fftshift(found.intensity.numpy(), (-2, -1))


def written(path: Path, cell: Callable[[float], str], parting: str, values: np.ndarray = VALUES) -> Path:
    rows = (parting.join(map(cell, row)) for row in values)
    path.write_bytes(("\n".join(rows) + "\n").encode())
    return path


def german(text: str) -> str:
    """The signs of an English number, as German has them."""
    return text.replace(",", "_").replace(".", ",").replace("_", ".")


@pytest.mark.parametrize(
    ("cell", "parting"),
    [
        (lambda x: german(f"{x:,.4f}"), ";"),
        (lambda x: german(f"{x:,.4f}"), "\t"),
        (lambda x: german(f"{x:.4f}"), " "),
        (lambda x: german(f"{x:.4f}"), "   "),
        (lambda x: f'"{x:,.4f}"', ","),
        (lambda x: f'"{german(f"{x:.4f}")}"', ","),
        (lambda x: f"{x:,.4f}", ";"),
        (lambda x: f"{x:,.4f}", " "),
        (lambda x: german(f"{x:,.4f}").replace(".", "\N{NO-BREAK SPACE}"), ";"),
        (lambda x: german(f"{x:,.4f}").replace(".", "\N{NARROW NO-BREAK SPACE}"), ";"),
        (lambda x: f"{x:,.4f}".replace(",", "'"), ";"),
        (lambda x: f"{x:,.4f}".replace(",", "\N{RIGHT SINGLE QUOTATION MARK}"), "\t"),
        (lambda x: f"{1e4 * x:.0f}E-4".replace("-", "\N{MINUS SIGN}"), ","),
    ],
)
def test_numbers_are_read_as_their_country_writes_them(
    cell: Callable[[float], str], parting: str, tmp_path: Path
) -> None:
    found = pr.io.load_intensity(written(tmp_path / "table.csv", cell, parting))
    np.testing.assert_allclose(in_frame(found), VALUES, rtol=1e-6, atol=6e-5)
    assert found.notes == ()


@pytest.mark.parametrize(
    ("cell", "parting"),
    [(lambda x: german(f"{x:,.0f}"), ";"), (lambda x: f'"{x:,.0f}"', ","), (lambda x: f"{x:,.0f}", "  ")],
)
def test_whole_numbers_with_a_sign_between_thousands_are_read_and_said(
    cell: Callable[[float], str], parting: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "table.csv", cell, parting)
    with pytest.warns(UserWarning, match=r"the table's '[.,]' was taken for a sign between thousands\. If it stands"):
        found = pr.io.load_intensity(path)
    assert np.array_equal(in_frame(found), VALUES.round())


@pytest.mark.parametrize("digits", [2, 3, 4])
@pytest.mark.parametrize("parting", [";", "\t", " ", ","])
@given(seed=st.integers(0, 99))
def test_decimals_are_never_taken_for_thousands(
    digits: int, parting: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    values = np.random.default_rng(seed).uniform(0.9, 999, SHAPE)
    path = written(tmp_path_factory.mktemp("x") / "table.txt", lambda x: f"{x:.{digits}f}", parting, values)
    found = pr.io.load_intensity(path)
    np.testing.assert_allclose(in_frame(found), values.round(digits), rtol=1e-6)


@pytest.mark.parametrize("parting", [";", "\t"])
def test_whole_coordinates_make_no_thousands_of_decimals(parting: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(1.001, 999, SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].reshape(2, -1)
    np.savetxt(tmp_path / "x.txt", np.stack([x, y, values.ravel()], -1), ("%d", "%d", "%.3f"), parting)
    with pytest.warns(UserWarning, match="first two columns were taken for x and y") as said:
        found = pr.io.load_intensity(tmp_path / "x.txt")
    np.testing.assert_allclose(in_frame(found), values.round(3), rtol=1e-6)
    assert "thousands" not in str(said[0].message)


@pytest.mark.parametrize(
    "word",
    ["#DIV/0!", "#N/A", "#WERT!", "#VALEUR!", "#NV", "#N/D", "#¡DIV/0!", "#NAME?", "######", "1.#QNAN", "-1.#IND00"],
)
@pytest.mark.parametrize("parting", [";", ",", "\t"])
@pytest.mark.parametrize("place", [(0, 0), (0, 7), (9, 0), (9, 7), (25, 28)])
def test_a_cell_with_an_error_was_not_measured_and_takes_no_row_along(
    word: str, parting: str, place: tuple[int, int], tmp_path: Path
) -> None:
    cells = [[f"{x:.0f}" for x in row] for row in VALUES]
    cells[place[0]][place[1]] = word
    (tmp_path / "table.csv").write_bytes("\n".join(map(parting.join, cells)).encode())
    found = pr.io.load_intensity(tmp_path / "table.csv")
    measured = np.fft.fftshift(found.mask.numpy()) if found.mask is not None else np.ones(SHAPE, bool)
    assert measured.shape == SHAPE
    assert not measured[place]
    assert measured.sum() == measured.size - 1
    assert np.array_equal(in_frame(found)[measured], VALUES.round()[measured])


def test_comments_are_still_none_of_the_numbers(tmp_path: Path) -> None:
    rows = [" ".join(f"{x:.0f}" for x in row) + " # row, N/A!" for row in VALUES]
    (tmp_path / "table.txt").write_text(
        "\n".join(["# DIV/0! was seen", "## two", "#N/A is 1", *rows, "#Done!", "#NValues: 30", "#end?"])
    )
    assert np.array_equal(in_frame(pr.io.load_intensity(tmp_path / "table.txt")), VALUES.round())


def test_true_and_false_make_a_mask(tmp_path: Path) -> None:
    good = VALUES > 900
    written(tmp_path / "mask.csv", lambda x: str(bool(x)).upper(), ",", good)
    assert np.array_equal(np.fft.fftshift(pr.io.load_mask(tmp_path / "mask.csv").numpy()), good)


def test_fit2d_counts_the_rows_of_a_curve_first(tmp_path: Path) -> None:
    rows = "".join(f"  {0.1 + 0.01 * k:.6e}    {5 + abs(100 - k):.6e}\n" for k in range(200))
    (tmp_path / "x.chi").write_text(f"image: x\n2-Theta Angle (Degrees)\nIntensity\n       200\n{rows}")
    with pytest.warns(UserWarning, match="first column was taken for its coordinate"):
        found = pr.io.load_intensity(tmp_path / "x.chi")
    assert np.allclose(np.fft.fftshift(found.intensity), 5 + abs(100 - np.arange(200)))


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("1,2,3\n", r"as many numbers in every row as in the first, 30, got 3 in row 26 of them\. Complete that row"),
        (",".join(["7"] * 29 + ["x7"]), r"a number in every cell, got 'x7' in row 26 of them\. Write nan for what is"),
    ],
)
def test_a_row_that_is_no_row_of_numbers_is_named(end: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path / "table.csv", lambda x: f"{x:.0f}", ",")
    path.write_text(path.read_text() + end)
    with pytest.raises(ValueError, match=said):
        pr.io.load_intensity(path)


@pytest.mark.parametrize("lost", [[], [0], [77, 78], list(range(0, 780, 7))])
@pytest.mark.parametrize("names", ["x,y,I", "y,x,I", "col,row,counts"])
def test_points_that_a_grid_lacks_were_not_measured(lost: list[int], names: str, tmp_path: Path) -> None:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].reshape(2, -1)
    columns = {"x": x, "col": x, "y": y, "row": y, "I": VALUES.ravel(), "counts": VALUES.ravel()}
    table = np.delete(np.stack([columns[name] for name in names.split(",")], -1), lost, 0)
    np.savetxt(tmp_path / "x.csv", table, delimiter=",", header=names, comments="")
    note = f"; {len(lost)} points that it lacks were not measured" if lost else "were taken for"
    with pytest.warns(UserWarning, match=note):
        found = pr.io.load_intensity(tmp_path / "x.csv")
    measured = np.ones(SHAPE, bool) if found.mask is None else np.fft.fftshift(found.mask.numpy())
    assert np.flatnonzero(~measured).tolist() == lost
    np.testing.assert_allclose(in_frame(found)[measured], VALUES[measured], rtol=1e-6)


@pytest.mark.parametrize("names", ["frame,y,x,counts", "x,y,frame,counts", "row,t,column,I,err"])
def test_frames_in_one_long_table_are_a_stack(names: str, tmp_path: Path) -> None:
    frames = np.stack([VALUES, 2 * VALUES, 3 * VALUES])
    t, y, x = np.mgrid[:3, : SHAPE[0], : SHAPE[1]].reshape(3, -1)
    columns = {"frame": t, "t": t, "y": y, "row": y, "x": x, "column": x, "err": 0 * x}
    table = np.stack([columns.get(name, frames.ravel()) for name in names.split(",")], -1)
    np.savetxt(tmp_path / "x.csv", table, delimiter=",", header=names, comments="")
    with pytest.warns(UserWarning, match="its first three were taken for x, y and the frame"):
        found = pr.io.load_intensity(tmp_path / "x.csv", ndim=2)
    np.testing.assert_allclose(in_frame(found), frames, rtol=1e-6)


def test_exponents_of_three_digits_need_no_letter(tmp_path: Path) -> None:
    (tmp_path / "x.dat").write_text("0.125+003 0.250-100 -.5+002 1.5E+01\n1.000D+02 2.000000 .25-120 3\n" * 3)
    with opened(tmp_path / "x.dat") as contents:
        found = contents.read("data")
    np.testing.assert_allclose(found, [[125, 0.25e-100, -50, 15], [100, 2, 0.25e-120, 3]] * 3)
    (tmp_path / "x.dat").write_text("1 2 3 4\n5 12-345 7 8\n1 2 3 4\n")
    with pytest.raises(ValueError, match="got '12-345' in row 1 of them"):
        pr.io.load_intensity(tmp_path / "x.dat")
