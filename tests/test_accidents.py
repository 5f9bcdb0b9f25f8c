"""Accidents: damaged files, absurd options, odd surroundings, changed inputs. Each ends in one clear error."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import phaseret as pr
from commands import three_files
from phaseret import _checks, _memory, _output, bench
from phaseret.cli import main
from phaseret.cli._main import COMMANDS
from phaseret.cli._options import _declared

OURS = re.compile(r"[A-Za-z_.]+: .*\bmust\b", re.DOTALL)
PATTERN = np.random.default_rng(0).integers(1, 1000, (12, 14)).astype("u2")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return three_files(tmp_path, monkeypatch)


def fails(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line of the command's own with which it ends."""
    try:
        code = main(words)
    except SystemExit as end:
        code = end.code
    said = [line for line in capsys.readouterr().err.splitlines() if ": warning: " not in line]
    assert code in (1, 2), (words[-1], code)
    assert len(said) == 1, said
    assert re.match(r"phaseret [a-z]+: error: ", said[0]), said
    assert len(said[0]) < 1500
    return said[0]


# --- damaged files ----------------------------------------------------------------------------------------------------


def with_pillow(ending: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        image = pytest.importorskip("PIL.Image")
        image.fromarray((PATTERN // 4).astype("u1")).save(path, ending)

    return write


def with_tifffile(path: Path) -> None:
    pytest.importorskip("tifffile").imwrite(path, PATTERN, metadata=None)


def with_scipy(path: Path) -> None:
    pytest.importorskip("scipy.io").savemat(path, {"scan": {"intensity": PATTERN}}, do_compression=True)


def with_fabio(kind: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        module = pytest.importorskip(f"fabio.{kind}image")
        getattr(module, f"{kind.capitalize()}Image")(data=PATTERN.astype("i4")).write(str(path))

    return write


WRITERS: dict[str, Callable[[Path], Any]] = {
    "npy": lambda path: path.write_bytes(in_memory(np.save)),
    "npz": lambda path: path.write_bytes(in_memory(np.savez_compressed)),
    "txt": lambda path: np.savetxt(path, PATTERN),
    "npy.gz": lambda path: path.write_bytes(gzip.compress(in_memory(np.save))),
    "mat": with_scipy,
    "tif": with_tifffile,
    "png": with_pillow("PNG"),
    "jpeg": with_pillow("JPEG"),
    "bmp": with_pillow("BMP"),
    "edf": with_fabio("edf"),
    "cbf": with_fabio("cbf"),
}


def in_memory(save: Callable[..., None]) -> bytes:
    stream = io.BytesIO()
    save(stream, PATTERN)
    return stream.getvalue()


def reads_or_says(path: Path) -> None:
    for load in (pr.io.load_intensity, pr.io.load_mask, pr.io.load_support, pr.io.load_object):
        try:
            found = load(path)
        except (ValueError, OSError, MemoryError) as error:
            assert OURS.match(str(error)), str(error)  # noqa: PT017
            continue
        if isinstance(found, pr.io.Measurement):
            pr.io.inspect(found)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", WRITERS)
def test_a_damaged_file_is_read_or_refused_with_one_error_of_ours(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](tmp_path / f"whole.{kind}")
    whole, path = (tmp_path / f"whole.{kind}").read_bytes(), tmp_path / f"damaged.{kind}"
    places = st.integers(0, len(whole) - 1)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(flips=st.lists(st.tuples(places, st.integers(0, 7)), max_size=3), end=st.none() | places)
    def damage(flips: list[tuple[int, int]], end: int | None) -> None:
        content = bytearray(whole)
        for place, bit in flips:
            content[place] ^= 1 << bit
        path.write_bytes(content[:end])
        reads_or_says(path)

    damage()


@pytest.mark.filterwarnings("ignore")
def test_a_cut_hdf5_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    pr.io.save_intensity(tmp_path / "whole.h5", pr.operators.fourier_intensity(torch.rand(8, 8), (16, 16)))
    whole = (tmp_path / "whole.h5").read_bytes()
    for end in range(8, len(whole), 501):
        (tmp_path / "cut.h5").write_bytes(whole[:end])
        with pytest.raises((ValueError, OSError), match=OURS):
            pr.io.load_intensity(tmp_path / "cut.h5")


def test_an_element_of_an_unknown_type_does_not_reach_scipy(tmp_path: Path) -> None:
    """SciPy ends the process at it."""
    savemat = pytest.importorskip("scipy.io").savemat
    savemat(tmp_path / "x.mat", {"intensity": PATTERN})
    content = bytearray((tmp_path / "x.mat").read_bytes())
    place = content.index(b"intensity") + 16
    content[place : place + 4] = bytes(4)
    (tmp_path / "x.mat").write_bytes(content)
    with pytest.raises(ValueError, match=r"must be a whole MATLAB file, got the error: an array holds an element of"):
        pr.io.load_intensity(tmp_path / "x.mat")


def test_a_virtual_array_is_not_measured_where_it_has_no_source(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    values = np.random.default_rng(0).integers(1, 99, (4, 6, 10)).astype("u2")
    layout = h5py.VirtualLayout((4, 6, 10), "u2")
    for part, columns in enumerate((slice(0, 4), slice(6, 10))):
        with h5py.File(tmp_path / f"{part}.h5", "w") as file:
            file["data"] = values[..., columns]
        layout[..., columns] = h5py.VirtualSource(f"{part}.h5", "data", (4, 6, 4))
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file.create_virtual_dataset("data", layout, fillvalue=7)
    for index in (None, 2, slice(1, 3), [0, 3]):
        found = pr.io.load_intensity(tmp_path / "master.h5", ndim=2, index=index, center="corner")
        assert found.mask is not None
        assert not found.mask[..., 4:6].any()
        assert found.mask[..., :4].all()
        expected = torch.from_numpy(values[slice(None) if index is None else index].astype("f4"))
        assert torch.equal(found.intensity[..., 6:], expected[..., 6:])


def test_a_source_that_is_shorter_than_announced_is_named(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.ones((3, 8))
    layout = h5py.VirtualLayout((8, 8), "f8")
    layout[:] = h5py.VirtualSource("a.h5", "data", (8, 8))
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    with pytest.raises(ValueError, match=r"must find all its parts, got one in 'data' in 'a.h5', which holds \(3, 8\)"):
        pr.io.load_intensity(tmp_path / "master.h5")


@pytest.mark.parametrize("place", ["pipe", "socket", "/dev/zero", "folder"])
def test_links_and_parts_in_what_is_no_file_are_not_waited_for(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    h5py = pytest.importorskip("h5py")
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("folder").mkdir()
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("socket")
    layout = h5py.VirtualLayout((6, 6), "f4")
    layout[...] = h5py.VirtualSource(place, "data", (6, 6))
    with h5py.File("virtual.h5", "w") as file:
        file.create_virtual_dataset("intensity", layout)
    with h5py.File("link.h5", "w") as file:
        file["there"], file["intensity"] = h5py.ExternalLink(place, "/"), h5py.SoftLink("there/data")
        file["direct"] = h5py.ExternalLink(place, "data")
    with pytest.raises(ValueError, match=f"must find all its parts, got one in '{place}', which is no file"):
        pr.io.load_intensity("virtual.h5")
    for key in (None, "intensity", "direct"):
        with pytest.raises(ValueError, match=r"load_intensity: .*must"):
            pr.io.load_intensity("link.h5", key=key)


def test_a_virtual_array_in_a_circle_or_with_a_part_that_is_not_there(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path, other = tmp_path / "x.h5", tmp_path / "y.h5"
    for first, second, where in (
        (".", None, "'intensity' in the file itself, which is made of it"),
        ("x.h5", None, "'intensity' in 'x.h5', which is made of it"),
        ("y.h5", "x.h5", "'intensity' in 'x.h5', which is made of it"),
    ):
        for file, source in ((path, first), (other, second)):
            layout = h5py.VirtualLayout((6, 6), "f4")
            layout[...] = h5py.VirtualSource(source or ".", "intensity", (6, 6))
            with h5py.File(file, "w") as made:
                made.create_virtual_dataset("intensity", layout)
        with pytest.raises(ValueError, match=f"'/intensity' of .* must find all its parts, got one in {where}"):
            pr.io.load_intensity(path)
    layout = h5py.VirtualLayout((6, 6), "f4")
    layout[:3], layout[3:] = (h5py.VirtualSource(".", name, (3, 6)) for name in ("upper", "lower"))
    with h5py.File(path, "w") as file:
        file["upper"] = np.ones((3, 6))
        file.create_virtual_dataset("intensity", layout, fillvalue=0)
    with pytest.raises(ValueError, match="got one in 'lower' in the file itself, which does not hold it"):
        pr.io.load_intensity(path, key="intensity")


def test_what_unpacks_to_more_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bomb.npy.gz").write_bytes(gzip.compress(in_memory(np.save) + bytes(8 << 20)))
    monkeypatch.setenv("PHASERET_MEMORY", str(6 / 1024))
    with pytest.raises(ValueError, match=r"must fit into memory when it is unpacked, .* PHASERET_MEMORY=GiB"):
        pr.io.load_intensity(tmp_path / "bomb.npy.gz")
    monkeypatch.setenv("PHASERET_MEMORY", "1")
    with pytest.warns(UserWarning, match=f"goes on for {8 << 20} bytes after its array"):
        assert pr.io.load_intensity(tmp_path / "bomb.npy.gz").fourier_shape == PATTERN.shape


def test_an_array_whose_sizes_cannot_be_counted(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**63, 3, 3)})
    (tmp_path / "x.npy").write_bytes(header.getvalue())
    with pytest.raises(ValueError, match="must have sizes that can be counted"):
        pr.io.load_intensity(tmp_path / "x.npy", ndim=2, index=0)


# --- memory -----------------------------------------------------------------------------------------------------------


def test_limits_count_and_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PHASERET_MEMORY", raising=False)
    monkeypatch.setattr(_memory, "_limits_of_the_process", lambda: iter([3 << 20, 5 << 20]))
    assert _memory.physical_memory() == 3 << 20
    monkeypatch.setenv("PHASERET_MEMORY", "0.5")
    assert _memory.physical_memory() == 1 << 29
    for text in ("much", "-1", "nan", "1e300"):
        monkeypatch.setenv("PHASERET_MEMORY", text)
        with pytest.raises(ValueError, match=f"PHASERET_MEMORY must be a number of GiB above 0, got '{text}'"):
            _memory.physical_memory()


@pytest.mark.parametrize(
    ("line", "root", "name"),
    [
        ("0::/job/step", "sys/fs/cgroup", "memory.max"),
        ("4:cpu,memory:/job", "sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    ],
)
def test_the_limits_of_control_groups_count(line: str, root: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"7:cpuset:/other\n{line}\n")
    (tmp_path / root / "job/step").mkdir(parents=True)
    (tmp_path / root / "job" / name).write_text("1234\n")
    (tmp_path / root / name).write_text("max\n")
    assert list(_memory._limits_of_its_group(tmp_path)) == [1234]


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (MemoryError("Unable to allocate 1.80 GiB for an array"), "1.80 GiB asked for at once"),
        (RuntimeError("can't allocate memory: you tried to allocate 3221225472 bytes."), "3 GiB asked for at once"),
        (RuntimeError("Storage size calculation overflowed with sizes=[9]"), "more asked for than there is"),
        (MemoryError(), "more asked for than there is"),
        (ValueError("another"), None),
    ],
)
def test_what_was_asked_for_is_said(error: Exception, asked: str | None) -> None:
    assert _memory.shortage(error) == asked


def test_starts_that_no_memory_holds_are_refused_at_once() -> None:
    intensity = pr.operators.fourier_intensity(torch.rand(4, 4), (8, 8))
    with pytest.raises(MemoryError, match=r"starts must fit into memory, got 4611686018427387904 for each of 1 patt"):
        pr.solvers.reconstruct(intensity, support=torch.ones(4, 4) > 0, starts=2**62)


# --- absurd numbers and texts -----------------------------------------------------------------------------------------


@given(st.integers(2**63, 10**400) | st.just(10**5000))
def test_integers_beyond_64_bits_are_refused_by_value(value: int) -> None:
    with pytest.raises(ValueError, match=r"seed must be an integer of at most 9223372036854775807, got"):
        _checks.integer("seed", value)
    with pytest.raises(ValueError, match="shape must hold sizes that can be counted together"):
        _checks.shape("shape", (value, 1))
    if value > 10**309:
        with pytest.raises(ValueError, match="ratio must be a finite number"):
            _checks.number("ratio", value)


def test_an_endless_value_is_shown_in_short() -> None:
    with pytest.raises(ValueError, match=r"^Recipe: schedule 'hio:9999") as found:
        pr.solvers.Recipe("hio:" + "9" * 5000)
    assert len(str(found.value)) < 1000
    with pytest.raises(ValueError, match="at most 50 brackets or repeats in one another"):
        pr.solvers.Recipe("2*" * 2000 + "hio:1")


@given(st.integers(1, 10**6), st.floats(0.1, 10))
def test_the_fast_size_is_the_smallest(n: int, ratio: float) -> None:
    (found,) = pr.operators.fast_fourier_shape((n,), ratio)
    least = max(2 * n - 1, int(np.ceil(ratio * n)))
    assert found >= least

    def rest(size: int) -> int:
        for prime in (2, 3, 5, 7):
            while size % prime == 0:
                size //= prime
        return size

    assert rest(found) == 1
    assert all(rest(size) > 1 for size in range(max(least, found - 200), found))


ABSURD = [
    "--",
    "1e300",
    "9" * 5000,
    "nan",
    "-1e300",
    str(2**63),
    str(-(2**63)),
    f"{2**62},{2**62}",
    "",
    "(" * 3000,
    "1," * 999,
]
TAKEN = (str(2**63), str(-(2**63)), f"{2**62},{2**62}")
BASE = {
    "info": ["p.npz"],
    "simulate": ["o.npy", "-o", "out.npz", "--overwrite"],
    "reconstruct": ["p.npz", "-o", "out.npz", "--schedule", "er:1", "--support", "8,8", "--overwrite"],
    "compare": ["o.npy", "o.npy"],
    "bench": ["verify", "bench/bench.json"],
}


def _item(case: str, number: int, data: Path | None) -> bench.Item:
    obj = torch.eye(6)
    known = bench.Known((6, 6), "nonnegative", support=torch.ones(6, 6, dtype=torch.bool))
    return bench.Item("object", case, obj, pr.operators.fourier_intensity(obj, (12, 12)), known)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", COMMANDS)
def test_an_absurd_value_of_any_option_is_one_line_that_names_it(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that is only large may be taken; nothing may take long."""
    if name == "bench":
        tiny = bench.Protocol("tiny", "one object", _item, ("",), counts=(1, 1), seeds=(1,))
        monkeypatch.setitem(bench.PROTOCOLS, "tiny", tiny)
        bench.run(["tiny"], ["rrr"], quick=True).save("bench")
    for field, flags, options in _declared(COMMANDS[name]):
        if not flags[-1].startswith("-") or options.get("action") or options.get("type") is None:
            continue
        for value in ABSURD:
            began = time.process_time()
            words = [name, *BASE[name], f"{flags[-1]}={value}"]
            if value in TAKEN:
                with contextlib.suppress(SystemExit):
                    assert main(words) in (0, 1)
                assert "internal error" not in capsys.readouterr().err
            else:
                said = fails(capsys, *words)
                assert flags[-1] in said or field in said, said
            assert time.process_time() - began < 10


@pytest.mark.parametrize("option", ["--mask", "--support", "--init", "--background"])
def test_a_name_that_no_system_takes_is_refused(option: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for value in ("(" * 3000, "a\0b"):
        assert "must" in fails(capsys, "reconstruct", "p.npz", option, value, "--schedule", "er:1", "-o", "r.npz")


# --- surroundings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"WORLD_SIZE": "2"}, "RANK must be a number from 0 to 1, got None with WORLD_SIZE=2"),
        ({"WORLD_SIZE": "abc"}, "WORLD_SIZE must be a number of processes, got 'abc'"),
        ({"WORLD_SIZE": "-1"}, "WORLD_SIZE must be a number of processes, got '-1'"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK must be a number from 0 to 1, got '2'"),
        ({"WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": "x"}, "MASTER_PORT must be a number from 1 to 65535, got 'x'"),
        ({"WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": "9"}, "MASTER_ADDR must be set"),
    ],
)
def test_what_torchrun_did_not_set_is_named(
    given: dict[str, str],
    message: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    words = ("reconstruct", "s.npz", "--ndim", "2", "--support", "8,8", "--schedule", "er:1", "-o", "r.npz")
    assert f"environment variable {message}" in fails(capsys, *words)


@pytest.mark.once
@pytest.mark.skipif(os.name != "posix", reason="a shell closes the streams")
def test_closed_streams_and_other_encodings_do_no_harm(folder: Path) -> None:
    solve = ("reconstruct", "p.npz", "--support", "8,8", "--constraint", "nonnegative", "--starts", "1")
    solve += ("--schedule", "er:3", "-o")
    command = ("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "phaseret.cli")
    assert subprocess.run([*command, *solve, "closed.npz"], check=False).returncode == 0
    assert pr.io.load_reconstruction("closed.npz")["obj"].shape == (8, 8)
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = (sys.executable, "-m", "phaseret.cli", *solve, "é.npz")
    found = subprocess.run(command, check=False, capture_output=True, env=env)
    assert (found.returncode, found.stderr) == (0, b"")
    assert b"\\xe9.npz" in found.stdout


# --- what is written --------------------------------------------------------------------------------------------------


def test_an_output_that_is_an_input_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.link("p.npz", "same.npz")
    os.symlink("p.npz", "link.npz")
    np.save("m.npy", np.ones((16, 16)))
    before = Path("p.npz").read_bytes()
    quick = ("--schedule", "er:1", "--support", "8,8", "--overwrite", "-o")
    for output in ("p.npz", "./p.npz", "same.npz", "link.npz", str(folder / "p.npz")):
        assert "--output must not be a file that is read" in fails(capsys, "reconstruct", "p.npz", *quick, output)
        assert "--output must not be a file that" in fails(capsys, "reconstruct", "[p].npz", *quick, output)
    assert "--output must not be a file that" in fails(
        capsys, "reconstruct", "s.npz", "--mask", "p.npz", *quick, "p.npz"
    )
    assert "--figure must not" in fails(capsys, "info", "p.npz", "--mask", "m.npy", "--figure", "m.npy", "--overwrite")
    assert "--output must not" in fails(capsys, "simulate", "p.npz::obj", "--overwrite", "-o", "p.npz")
    assert Path("p.npz").read_bytes() == before


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk/x.npz", tmp_path / "link.npz"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to("disk/x.npz")
    pattern = torch.rand(4, 4) + 1
    with pytest.raises(FileExistsError, match="must not exist yet"):
        pr.io.save_intensity(link, pattern)
    pr.io.save_intensity(link, pattern, overwrite=True)
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    assert torch.equal(pr.io.load_intensity(target).intensity, pattern)
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["x.npz"]
    target.unlink()
    for overwrite in (False, True):
        with pytest.raises(FileNotFoundError, match=r"must not be a link to what does not exist, got .*'disk/x.npz'"):
            pr.io.save_intensity(link, pattern, overwrite=overwrite)
    assert link.is_symlink()


@pytest.mark.parametrize("length", [100, 249, 255])
def test_a_name_as_long_as_the_system_takes_can_be_written(length: int, tmp_path: Path) -> None:
    name = "x" * (length - 4) + ".npz"
    pr.io.save_intensity(tmp_path / name, torch.rand(4, 4) + 1)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(_output.beside(tmp_path / name, ".checkpoint").name) <= 255
    with pytest.raises(OSError, match="path must be one that the system takes, got File name too long"):
        pr.io.check_output(tmp_path / ("x" * 300 + ".npz"))


@pytest.mark.skipif(_output.FCNTL is None, reason="without locks what is left is known by its age")
def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    for name in (".x.npz.0badcafe.part", ".x[1].npz.0badcafe.part", ".y.npz.0badcafe.part"):
        (tmp_path / name).write_bytes(b"half")
    for name in ("x.npz", "x[1].npz"):
        pr.io.save_intensity(tmp_path / name, torch.ones(4, 4))
    with _output.written(tmp_path / "x.npz", overwrite=True) as first:
        first.write_bytes(b"slow")
        pr.io.save_intensity(tmp_path / "x.npz", torch.ones(4, 4), overwrite=True)
        assert first.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".y.npz.0badcafe.part", "x.npz", "x[1].npz"]


@pytest.mark.skipif(_output.FCNTL is None, reason="without locks what is left is known by its age")
def test_a_file_that_another_writer_takes_for_left_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch, losses = Path.touch, iter([True, True, False])

    def lost(path: Path, *args: Any, **options: Any) -> None:
        touch(path, *args, **options)
        if next(losses):
            _output.remove_left(tmp_path, ".x.*.part")

    monkeypatch.setattr(Path, "touch", lost)
    with _output.written(tmp_path / "x", overwrite=False) as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "x").read_text() == "whole"
    assert next(losses, None) is None


# --- what is resumed --------------------------------------------------------------------------------------------------


def interrupted(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    solve, calls = pr.solvers.reconstruct, []

    def stop(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return solve(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(pr.solvers, "reconstruct", stop)
        assert main(words) == 130


CHANGES: dict[str, tuple[list[str], Callable[[], Any], str]] = {
    "FILE": ([], lambda: np.save("stack.npy", np.load("stack.npy")[::-1]), "content of FILE stack.npy"),
    "mask": (["--mask", "m.npy"], lambda: np.save("m.npy", np.eye(16) == 0), "content of mask m.npy"),
    "support": (["--support", "b.npy"], lambda: np.save("b.npy", np.eye(8)), "content of support b.npy"),
    "init": (["--init", "i.npy"], lambda: np.save("i.npy", np.eye(8)), "content of init i.npy"),
    "background": (["--background", "d.npy"], lambda: np.save("d.npy", np.eye(16) / 50), "content of background d.npy"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CHANGES)
def test_a_run_goes_on_only_with_what_it_began_with(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The changed file has the times of the one before."""
    typed, change, expected = CHANGES[name]
    np.save("stack.npy", pr.operators.fourier_intensity(torch.rand(3, 8, 8), (16, 16)).numpy())
    for file, values in {
        "m": np.ones((16, 16)),
        "b": np.ones((8, 8)),
        "i": np.ones((8, 8)),
        "d": np.full((16, 16), 0.01),
    }.items():
        np.save(f"{file}.npy", values)
    words = [
        "reconstruct",
        "stack.npy",
        "--ndim",
        "2",
        "--block",
        "1",
        "--starts",
        "1",
        "--schedule",
        "er:2",
        "-o",
        "r.npz",
    ]
    words += ["--center", "corner", *typed] + ([] if name == "support" else ["--support", "8,8"])
    interrupted(monkeypatch, words)
    times = {file: file.stat() for file in Path().glob("*.npy")}
    capsys.readouterr()
    change()
    for file, before in times.items():
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    said = fails(capsys, *words)
    assert "r.npz.parts must be of this run, got one with another content of " in said
    assert f"{expected}. Use --restart to begin anew" in said
    assert main([*words, "--restart"]) == 0
    assert main([word.replace("r.npz", "whole.npz") for word in words]) == 0
    found, fresh = (pr.io.load_reconstruction(file)["obj"] for file in ("r.npz", "whole.npz"))
    assert torch.equal(found, fresh)
    assert not Path("r.npz.parts").exists()


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_is_of_its_data(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["reconstruct", "p.npz", "--support", "8,8", "--starts", "1", "--schedule", "er:40", "-o", "r.npz"]
    words += ["--checkpoint-every", "10"]
    solve = pr.solvers.reconstruct

    def stop(*args: Any, checkpoint: Callable[[Any], None], **options: Any) -> Any:
        def keep(state: Any) -> None:
            checkpoint(state)
            raise KeyboardInterrupt

        return solve(*args, checkpoint=keep, **options)

    with monkeypatch.context() as patch:
        patch.setattr(pr.solvers, "reconstruct", stop)
        assert main(words) == 130
    capsys.readouterr()
    pr.io.save_intensity("p.npz", pr.operators.fourier_intensity(torch.rand(8, 8), (16, 16)), overwrite=True)
    assert "r.npz.checkpoint must be of this run, got one with another content of FILE p.npz" in fails(capsys, *words)
    assert main([*words, "--restart"]) == 0
    assert not Path("r.npz.checkpoint").exists()


def test_a_state_is_resumed_with_what_it_was_made_from_alone() -> None:
    intensity, kept = pr.operators.fourier_intensity(torch.rand(2, 6, 6), (12, 12)), []
    low, larger = torch.full((6, 6), 1e-3), torch.full((6, 6), 1e-3)
    larger[3, 3] += 1e-7
    run: dict[str, Any] = {"support": torch.ones(6, 6) > 0, "starts": 1, "schedule": "hio:20", "bounds": (low, 9.0)}
    run["constraint"] = "complex"
    pr.solvers.reconstruct(intensity, checkpoint=kept.append, checkpoint_every=10, **run)
    support = torch.ones(6, 6) > 0
    support[0] = False
    for name, other in (
        ("intensity", {}),
        ("support", {"support": support}),
        ("mask", {"mask": torch.ones(12, 12) > 0}),
        ("schedule", {"schedule": "hio:30"}),
        ("seed", {"seed": 1}),
        ("constraint", {"constraint": "nonnegative"}),
        ("bounds", {"bounds": (larger, 9.0)}),
        ("bounds", {"bounds": (low, 9)}),
    ):
        data = intensity.flip(0) if name == "intensity" else intensity
        with pytest.raises(ValueError, match=f"resume must be of this run, got one with another {name}"):
            pr.solvers.reconstruct(data, resume=kept[0], **{**run, **other})


@pytest.mark.filterwarnings("ignore")
def test_a_state_that_was_changed_is_refused_whatever_was_changed() -> None:
    states: list[dict[str, Any]] = []
    data, run = pr.operators.fourier_intensity(torch.rand(6, 6), (12, 12)), {"schedule": "hio:4", "support_size": 9}
    pr.solvers.reconstruct(data, checkpoint=states.append, checkpoint_every=2, **run)
    said = "^reconstruct: resume must be as checkpoint was called with it, got one that was changed"
    for name, value in states[0].items():
        shifted = value.double() + 1e-9 if isinstance(value, torch.Tensor) else [value]
        for other in [x for x in (None, "x", torch.zeros(3), shifted) if x is not value]:
            with pytest.raises(ValueError, match=said):
                pr.solvers.reconstruct(data, resume={**states[0], name: other}, **run)


def test_a_centre_between_pixels_is_said(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.cxi", "w") as file:
        file["entry_1/image_1/data"] = PATTERN
        file["entry_1/image_1/image_center"] = [7.4, 6.0]
    with pytest.warns(UserWarning, match=r"centre \(6\.0, 7\.4\) lies between pixels, and \(6, 7\) was taken"):
        pr.io.load_intensity(tmp_path / "x.cxi", ndim=2)
