"""The benchmark: frozen test sets, how entries are run and scored, what is written, and that what was changed shows."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import re
import runpy
import shutil
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import commands
import phaseret as pr
from phaseret import bench
from phaseret.bench import _machine, _objects, _run, _spread, _verify, entries
from phaseret.bench._entry import Entry, entry
from phaseret.bench._protocol import checksum, rounded
from phaseret.bench._report import digest, rows_of
from phaseret.bench._run import attempt, nudged, scored
from phaseret.bench._scores import Quiet, apart

Known = bench.Known


def tiny(case: str, number: int, data: Path | None) -> bench.Item:
    """A random object that fills its box."""
    obj = torch.from_numpy(np.random.RandomState(number).rand(12, 12)).float()
    known = Known((12, 12), "nonnegative", support=torch.ones(12, 12, dtype=torch.bool))
    return bench.Item(f"object {number}, {case}", case, obj, pr.operators.fourier_intensity(obj, (24, 24)), known)


TINY = bench.Protocol("tiny", "random objects", tiny, ("one", "two"), counts=(1, 3), seeds=(1, 2))
SOLVERS = """
import torch
from phaseret.solvers import RRR

class Net(torch.nn.Module):
    def forward(self, intensity):
        return intensity[:, :12, :12].sqrt()

def noise(intensity, known, seed):
    return torch.rand(known.object_shape, generator=torch.Generator().manual_seed(seed))

def few(intensity, known, seed):
    return RRR(40)(intensity, support=known.support, constraint=known.constraint, seed=seed).obj

def greedy(intensity, known, seed):
    intensity.zero_()
    known.support.fill_(False)
    return torch.zeros(known.object_shape)

def broken(intensity, known, seed):
    raise RuntimeError("no idea\\nat all")

def leaves(intensity, known, seed):
    raise SystemExit

def two(x, y):
    pass

class Three(torch.nn.Module):
    def forward(self, intensity, known, seed):
        pass

class Unbatched(Net):
    def forward(self, intensity):
        return intensity[0, :12, :12]

def meddles(intensity, known, seed):
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_grad_enabled(False)
    print("so much")
    return torch.zeros(known.object_shape).float()

def determined(intensity, known, seed):
    torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled())
    return torch.zeros(known.object_shape)

net, three, unbatched, wrong = Net(), Three(), Unbatched(), 3
"""


def where(begin: str) -> str:
    """The place of a line of somebody's solvers, as it is said."""
    (number,) = (n for n, line in enumerate(SOLVERS.splitlines(), 1) if line.strip().startswith(begin))
    return f"(their_solvers.py, line {number})"


def settle(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Go to a folder with somebody's solvers."""
    (folder / "their_solvers.py").write_text(SOLVERS)
    patch.chdir(folder)
    patch.setattr(sys, "path", [*sys.path])
    patch.delitem(sys.modules, "their_solvers", raising=False)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of somebody's solvers."""
    settle(tmp_path, monkeypatch)
    return tmp_path


# --- test sets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",  # crystals are drawn by torch's generators, which another seed of all tests is another seed of
    [
        pytest.param(name, marks=pytest.mark.once if name == "bragg" else ())
        for name in bench.PROTOCOLS
        if name != "measured"
    ],
)
def test_the_test_sets_are_the_frozen_ones(name: str) -> None:
    protocol = bench.PROTOCOLS[name]
    with Quiet():
        found = checksum(protocol.items(quick=True))
    assert protocol.checksums is not None
    assert found == protocol.checksums[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in bench.PROTOCOLS if name != "measured"])
def test_the_whole_test_sets_are_the_frozen_ones(name: str) -> None:
    protocol = bench.PROTOCOLS[name]
    with Quiet():
        found = checksum(protocol.items())
    assert protocol.checksums is not None
    assert found == protocol.checksums[1]


def test_the_first_items_of_a_whole_run_are_those_of_a_quick_one() -> None:
    protocol = bench.PROTOCOLS["digits"]
    quick, whole = protocol.items(quick=True), protocol.items()
    assert checksum(quick) == checksum(whole[: len(quick)]) != checksum(whole[1 : len(quick) + 1])


def test_rounding_hides_what_processors_differ_by() -> None:
    x = torch.rand(1000, dtype=torch.float64)
    assert torch.equal(rounded(x, 20), rounded(x * (1 + 1e-15), 20))
    assert float((rounded(x, 20) - x).abs().max()) <= 2.0**-21 * (1 + 1e-6)
    z = torch.complex(x, -x)
    assert torch.equal(rounded(z, 8), torch.complex(rounded(x, 8), rounded(-x, 8)))
    assert not rounded(torch.tensor([-1e-30, 1.0]).double(), 8).signbit().any()
    with pytest.raises(ValueError, match=r"x must be in double precision, got torch.float32\. Use x\.double\(\)"):
        rounded(x.float(), 20)


def test_data_explain_their_objects_as_far_as_their_noise_allows() -> None:
    with Quiet():
        for name, limit in (("digits", 1e-5), ("digits-complex", 1e-5), ("digits-critical", 1e-5), ("photons", 0.05)):
            item = bench.PROTOCOLS[name].items(quick=True)[0]
            assert scored(item.obj, item, False)["residual"] < limit
            assert scored(item.obj, item, False)["psnr"] == 120


def test_few_photons_have_the_counts_that_are_told() -> None:
    item = bench.PROTOCOLS["photons"].items(quick=True)[0]
    counts = item.intensity.double() / item.known.level
    assert float((counts - counts.round()).abs().max()) < 1e-2
    assert float(counts.mean()) == pytest.approx(item.known.photons or 0, rel=0.01)


def test_a_missing_pattern_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PHASERET_DATA_DIR", raising=False)
    with pytest.raises(
        FileNotFoundError, match=r"data must be the folder that holds measured/esrf_logo_cdi\.npz, got none"
    ):
        _objects.logo(None)
    with pytest.raises(FileNotFoundError, match=r"data must be a folder that holds it, got no"):
        _objects.logo(tmp_path)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    _objects.in_colour.cache_clear()
    with pytest.raises(ImportError, match=r'package scikit-image must be installed. .*pip install "phaseret\[demo\]"'):
        _objects.picture("moon")


# --- runs ------------------------------------------------------------------------------------------------------------


def test_runs_of_every_kind_of_entry(here: Path) -> None:
    names = ["their_solvers:net", "their_solvers:noise", "their_solvers:broken", "their_solvers:few"]
    said: list[int] = []
    report = bench.run([TINY], names, progress=lambda so_far: said.append(len(so_far.content["rows"])))
    assert said == [2, 4, 6, 8]
    rows = {(row["case"], row["entry"]): row for row in report.content["rows"]}
    assert len(rows) == 8
    assert [rows["one", name]["seeds"] for name in names] == [1, 2, 2, 2]
    assert rows["one", names[2]]["reason"] == f"RuntimeError: no idea {where('raise RuntimeError')}"
    assert rows["one", names[2]]["failed"] == 6
    assert rows["one", names[2]]["error"]["single"] == pytest.approx(1)  # that of zeros
    assert rows["one", names[3]]["psnr"]["oracle"] >= rows["one", names[3]]["psnr"]["by_residual"]
    assert rows["one", names[3]]["psnr"]["oracle"] > rows["one", names[1]]["psnr"]["oracle"] + 5
    assert all(row["transforms"] > 0 for row in rows.values())
    assert report.content["entries"]["their_solvers:net"]["version"] is None
    table = report.table()
    assert "tiny, their_solvers:broken: RuntimeError: no idea" in table
    assert len({len(line) for line in table.split("\n\n")[0].splitlines()}) == 1


def test_what_an_entry_changes_is_its_own(here: Path) -> None:
    item = tiny("", 0, None)
    before = item.intensity.clone()
    report = bench.run([dataclasses.replace(TINY, make=lambda *_: item)], ["their_solvers:greedy"], quick=True)
    assert report.content["rows"][0]["failed"] == 0
    assert torch.equal(item.intensity, before)
    assert item.known.box.all()


@pytest.mark.parametrize(
    ("estimate", "reason"),
    [
        (3, "the estimate must be a torch.Tensor, got int"),
        (torch.zeros(12, 11), r"the estimate must have the shape (12, 12) or that of the data, got (12, 11)"),
        (torch.zeros(12, 12).int(), "the estimate must be floating, got torch.int32"),
        (torch.zeros(12, 12) + 0j, "the estimate of a real object must be real, got torch.complex64"),
        (torch.full((12, 12), torch.nan), "the estimate must be finite, got nan or inf"),
        (torch.full((12, 12), -1e30), "the estimate must be below 1e+15, got 1.0e+30"),
    ],
)
def test_what_cannot_be_judged_is_a_row_with_its_reason(estimate: Any, reason: str) -> None:
    found, kept = attempt(Entry("bad", lambda intensity, known, seed: estimate, bench), tiny("", 0, None), 0, False)
    assert found["failure"] == reason
    assert found["error"] == pytest.approx(1)
    assert not kept.any()


def test_copies_that_the_data_cannot_tell_apart_score_alike() -> None:
    item = tiny("", 0, None)
    grid = torch.nn.functional.pad(item.obj, (3, 9, 5, 7))  # moved, on the data's grid
    for copy in (item.obj, pr.symmetry.conj_flip(item.obj), grid):
        assert scored(copy, item, False)["psnr"] == 120
    assert scored(2 * item.obj, item, True)["error"] < 1e-5
    assert scored(2 * item.obj, item, False)["error"] == pytest.approx(1, rel=1e-3)


def test_single_runs_residual_and_oracle_are_kept_apart() -> None:
    error, residual = torch.tensor([[1.0, 2.0], [3.0, 0.5]]), torch.tensor([[0.2, 0.1], [0.1, 0.2]])
    kept = apart(error, residual, error)
    assert (kept["single"].mean(), kept["by_residual"].tolist(), kept["oracle"].tolist()) == (
        1.625,
        [[3, 2]],
        [[1, 0.5]],
    )


# Three standard deviations: the normal quantile, and those of Student's t with 1, 2 and 4 degrees of freedom.
P = 0.5 * (1 + math.erf(3 / math.sqrt(2)))
ALPHA = 4 * P * (1 - P)
T = {
    1: math.tan(math.pi * (P - 0.5)),
    2: 2 * (P - 0.5) * math.sqrt(2 / ALPHA),
    4: 2 * math.sqrt(math.cos(math.acos(math.sqrt(ALPHA)) / 3) / math.sqrt(ALPHA) - 1),
}


def runs_with(psnr: dict[str, list[float | None]], twins: dict[str, float | None]) -> list[dict[str, Any]]:
    """Runs of items, seed by seed, and what the twin of the first has more."""
    common = {"protocol": "p", "case": "", "entry": "e", "failure": None, "seconds": 1.0, "transforms": 1.0}
    common |= {"memory_mib": None, "error": 1.0, "residual": 0.5, "raw_psnr": 1.0}
    found = [
        {**common, "item": item, "seed": seed, "psnr": value}
        for item, of in psnr.items()
        for seed, value in enumerate(of)
    ]
    for run in found:
        if run["seed"] == 0 and run["item"] in twins:
            run["twin"] = {**{name: run[name] for name in ("psnr", "error", "residual", "raw_psnr")}}
            run["twin"]["psnr"] = twins[run["item"]]
    return found


@pytest.mark.parametrize(
    ("psnr", "twins", "limit", "share"),
    [
        ({"a": [10, 11, 12], "b": [10, 11, 12]}, {}, T[4] * math.sqrt(2), 1 / math.sqrt(6)),  # of seeds alone
        ({"a": [10], "b": [20]}, {"a": 13, "b": 19}, T[2] * math.sqrt(2 * 2.5), 1 / math.sqrt(2)),  # of twins alone
        ({"a": [10]}, {"a": 11}, T[1], 1),
        ({"a": [10, 12], "b": [5, 5]}, {"a": 10, "b": 6}, None, math.sqrt(1.5) / 2),  # of b the seed changes nothing
        ({"a": [10, 10, 10], "b": [20, 20, 20]}, {"a": 13, "b": 19}, T[2] * math.sqrt(5), 1 / math.sqrt(2)),
        ({"a": [10, 10, 12]}, {}, T[1] * 2, math.sqrt(5) / 3),  # two of three are one
        ({"a": [10, None, 12], "b": [None]}, {"a": math.inf, "b": None}, T[1] * 2, None),  # what is no number
    ],
)
def test_the_spread_is_that_of_seeds_and_twins(
    psnr: dict[str, list[float | None]], twins: dict[str, float | None], limit: float | None, share: float | None
) -> None:
    found = _spread.spreads(runs_with(psnr, twins))
    assert set(found) == {"psnr", "raw_psnr", "error", "residual"}
    run, mean = found["psnr"].values()
    if limit is not None:
        assert run == pytest.approx(limit, rel=1e-4)
    if share is not None:
        assert mean == pytest.approx(run * share, rel=1e-4)
    assert found["error"] == found["residual"] == {"run": 0.005, "mean": 0.005}


def test_without_alignment_another_copy_may_be_found() -> None:
    found = _spread.spreads(runs_with({"a": [10.0]}, {}))  # 1 dB without alignment
    assert found["raw_psnr"]["mean"] == pytest.approx(9 * T[1], rel=1e-4)


def test_a_run_may_differ_as_much_as_was_ever_seen() -> None:
    once = {str(item): [10.0, 10.5] for item in range(400)}
    found = _spread.spreads(runs_with(once, {"0": 60.5}))["psnr"]
    assert found["run"] == 50.5
    squares = 400 * 0.5**2 / 2 + 50.5**2 / 2
    normal = 3 * math.sqrt(2 * squares / 401)
    assert normal < found["mean"] * math.sqrt(800) < 1.02 * normal


def test_a_twin_has_the_least_other_data() -> None:
    item = tiny("", 0, None)
    near = nudged(item)
    assert (near.obj is item.obj, near.known is item.known) == (True, True)
    digits = (near.intensity / item.intensity - 1).abs() / torch.finfo(torch.float32).eps
    assert 0.4 < float(digits.min()) <= float(digits.max()) < 2.1
    again = nudged(
        dataclasses.replace(item, intensity=torch.ones(2, 24, 24).mul(0.5).index_fill(2, torch.arange(3), 0))
    )
    moved = again.intensity.flip(-2, -1).roll((1, 1), (-2, -1))
    ups = (again.intensity > 0.5).flatten(1)
    assert torch.equal(again.intensity[..., 3:22], moved[..., 3:22])  # as of real objects
    assert 0.3 < float(ups.float().mean()) < 0.7
    assert not torch.equal(ups[0], ups[1])
    assert not again.intensity[..., :3].any()  # no negative ones


def test_the_twin_of_counts_has_one_photon_more() -> None:
    counts = torch.arange(24 * 24).reshape(24, 24).float()
    mask = counts < 400
    known = Known((12, 12), "complex", mask=mask)
    item = dataclasses.replace(tiny("", 0, None), intensity=counts, known=known)
    added = nudged(item).intensity - counts
    assert (float(added.sum()), float(added.abs().sum()), float(added.view(-1)[399])) == (1, 1, 1)
    assert torch.equal(nudged(dataclasses.replace(item, intensity=counts.T.clone())).intensity.sum(), counts.sum() + 1)
    beyond = counts.index_fill(0, torch.tensor([3]), 2.0**30)  # where one more is the same number
    other = nudged(dataclasses.replace(item, intensity=beyond, known=dataclasses.replace(known, mask=None)))
    assert float((other.intensity - beyond)[23, 23]) == 1


def test_each_item_has_one_twin_which_is_not_timed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks: list[str] = []
    risen = _machine.Memory.risen
    monkeypatch.setattr(_machine.Memory, "risen", lambda memory: marks.append("memory") or risen(memory))
    twin = _run.twin
    monkeypatch.setattr(_run, "twin", lambda *parts: marks.append("twin") or twin(*parts))
    runs = bench.run([TINY], ["their_solvers:few"]).content["runs"]
    assert marks == ["memory", *6 * ["twin"]]
    assert [run["seed"] for run in runs if "twin" in run] == 6 * [0]
    assert set(runs[0]["twin"]) == {"psnr", "raw_psnr", "error", "ssim", "correlation", "residual"}
    expected = attempt(entry("their_solvers:few"), nudged(tiny("one", 0, None)), 0, False)[0]
    assert all(expected[name] == value for name, value in runs[0]["twin"].items())


def test_crystals_have_scores_of_their_own() -> None:
    item = bench.PROTOCOLS["bragg"].items(quick=True)[0]
    moved = pr.symmetry.conj_flip(item.obj, ndim=3) * 1j
    found = scored(moved, item, True)
    assert (found["iou"], found["phase_error"]) == (1, pytest.approx(0, abs=1e-3))
    assert found["residual"] < 0.2


def test_memory_that_is_taken_is_seen() -> None:
    memory = _machine.Memory()
    taken = torch.zeros(2**25)  # 128 MiB
    risen = memory.risen()
    assert risen is None or risen > taken.nbytes / 2**20 / 2


@pytest.mark.parametrize("name", [name for name in entries.ENTRIES if ".entries:" in entries.ENTRIES[name]])
def test_every_entry_of_ours_gives_an_estimate(name: str) -> None:
    with Quiet():
        of = {"mnist_box": "digits-critical", "network": "digits", "annealed": "photons"}.get(name)
        case = "24 photons per pixel" if of == "photons" else ""
        item = bench.PROTOCOLS[of].make(case, 0, None) if of else tiny("", 0, None)
    if name == "joint_colour":
        item = bench._protocols._item("tiny", "", item.obj.double().expand(3, -1, -1), (24, 24), "nonnegative")
        item = bench._protocols._finished(item, noise="gaussian", level=0.001)
    if name in ("prdeep", "refined"):
        item = dataclasses.replace(item, known=dataclasses.replace(item.known, noise="alpha", level=0.03))
    found, _ = attempt(entry(name), item, 0, False)
    assert found["failure"] is None
    assert found["error"] < (0.5 if case else 0.05 if of else 1.5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mnist_box", "a real digit of (28, 28), got (12, 12)"),
        ("network", "without noise, got (24, 24) with noise none"),
        ("annealed", "counts of a real digit of (28, 28), got (12, 12) with noise none"),
        (
            "joint_colour",
            "three colours in Gaussian noise, (3, m1, m2), all sizes multiples of 4, got (24, 24) with noise",
        ),
    ],
)
def test_what_knows_its_objects_is_for_them(name: str, said: str) -> None:
    found, _ = attempt(entry(name), tiny("", 0, None), 0, False)
    assert said in found["failure"]


@pytest.mark.parametrize(
    ("name", "package"), [("solvephase", "solvephase"), ("cohere", "cohere-core"), ("deepinv", "deepinv")]
)
def test_adapters_say_what_to_install(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("solvephase", "cohere_core.controller.phasing", "deepinv"):
        monkeypatch.setitem(sys.modules, module, None)
    found, _ = attempt(entry(name), tiny("", 0, None), 0, False)
    assert f"the package {package} must be installed. Install it with pip install {package}." in found["failure"]


def test_an_entry_leaves_torch_as_it_is(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch._inductor", "torch._inductor.config"):  # which takes seconds to import, for a flag
        if name not in sys.modules:
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))

    def settings() -> tuple[object, ...]:
        mode = torch.get_deterministic_debug_mode()
        return torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), mode

    for mode in (1, 0):
        torch.set_deterministic_debug_mode(mode)
        before = settings()
        for name in ("meddles", "determined"):
            found, _ = attempt(entry(f"their_solvers:{name}"), tiny("", 0, None), 0, False)
            assert (found["failure"], settings()) == (None, before)
    (here / "at_once.py").write_text("import torch\ntorch.set_default_dtype(torch.float64)\n" + SOLVERS)
    with pytest.warns(UserWarning, match=r"at_once sets torch's default dtype when it is imported, which is put back"):
        entry("at_once:noise")
    assert settings() == before


def test_an_entry_that_ends_the_program_is_a_row_too(here: Path) -> None:
    found, _ = attempt(entry("their_solvers:leaves"), tiny("", 0, None), 0, False)
    assert found["failure"] == f"SystemExit {where('raise SystemExit')}"


def test_a_network_without_the_axis_of_the_batch_says_so(here: Path) -> None:
    found, _ = attempt(entry("their_solvers:unbatched"), tiny("", 0, None), 0, False)
    said = "a Module must return a batch of one estimate, with the axis of the batch, got (12, 12) for (1, 24, 24)"
    assert found["failure"] == f"ValueError: {said}"


def test_what_an_entry_takes_is_asked_of_what_is_called(here: Path) -> None:
    text = "import functools\ndef six(x, known, seed, a, b, c):\n    return x[:12, :12]\n"
    text += "near = functools.partial(six, a=1, b=2, c=3)\n"
    text += "any = functools.wraps(six)(lambda *parts: six(*parts, 1, 2, 3))\n"
    (here / "wrapped.py").write_text(text)
    for name in ("near", "any"):
        assert attempt(entry(f"wrapped:{name}"), tiny("", 0, None), 0, False)[0]["failure"] is None
    with pytest.raises(ValueError, match=r"must take \(intensity, known, seed\), got 'wrapped:six'"):
        entry("wrapped:six")


def test_what_is_named_twice_runs_once(here: Path) -> None:
    twice = bench.run([TINY, TINY], 2 * ["their_solvers:noise"], quick=True).content["rows"]
    once = bench.run([TINY], ["their_solvers:noise"], quick=True).content["rows"]
    assert [(row["items"], row["seeds"], row["psnr"]) for row in twice] == [
        (row["items"], row["seeds"], row["psnr"]) for row in once
    ]


def test_what_is_known_is_printed_in_a_line() -> None:
    said = repr(tiny("", 0, None).known)
    assert "\n" not in said
    assert "support='12x12, 144 True', mask=None, noise='none'" in said


# --- files and verification ------------------------------------------------------------------------------------------


def changed(file: Path, signed: bool, **changes: Any) -> None:
    """Somebody edits a report, and may compute its digest anew."""
    content = json.loads(file.read_text())
    for path, value in changes.items():
        *parts, last = (int(part) if part.isdigit() else part for part in path.split("__"))
        place = content
        for part in parts:
            place = place[part]
        place[last] = value
    if signed:
        content["rows"] = rows_of(content["runs"])
        content["digest"] = digest(content)
    file.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        settle(folder, patch)
        bench.run([TINY], ["their_solvers:few", "their_solvers:noise"]).save("out")
    return folder / "out"


@pytest.fixture
def file(here: Path, made: Path) -> Path:
    shutil.copytree(made, here / "out")
    return here / "out" / "bench.json"


def test_a_report_agrees_with_what_is_made_again(file: Path) -> None:
    found = bench.verify(file, protocols=[TINY])
    assert found.differences == ()
    assert found.count == 4
    assert str(found).endswith("4 runs made again agree")
    assert {path.name for path in file.parent.iterdir()} == {"bench.json", "bench.txt", "bench.png"}


def test_any_edit_shows(file: Path) -> None:
    changed(file, False, rows__0__seconds=1e-6)
    found = bench.verify(file, protocols=[TINY]).differences
    assert found == ("the file was changed after it was written", "the rows are not those of the runs")


def test_scores_that_were_made_up_show_though_the_digest_fits(file: Path) -> None:
    runs = json.loads(file.read_text())["runs"]
    better = {
        f"runs__{i}__psnr": run["psnr"] + 40 for i, run in enumerate(runs) if run["entry"] == "their_solvers:noise"
    }
    changed(file, True, **better)
    found = bench.verify(file, protocols=[TINY]).differences
    assert len(found) == 2  # a run of either case
    assert all("their_solvers:noise" in text for text in found)


def test_every_score_is_compared(file: Path) -> None:
    runs = json.loads(file.read_text())["runs"]
    for score in ("ssim", "correlation", "residual", "error", "raw_psnr"):
        shutil.copy(file, "one.json")
        of = [i for i, run in enumerate(runs) if run["entry"] == "their_solvers:few"]
        changed(Path("one.json"), True, **{f"runs__{i}__{score}": runs[i][score] + 0.2 for i in of})
        found = bench.verify("one.json", protocols=[TINY]).differences
        assert len(found) == 2  # a run of either case
        assert all(f": {score} " in text for text in found)


def test_twins_that_are_left_out_show(file: Path) -> None:
    runs = json.loads(file.read_text())["runs"]
    (number,) = [i for i, run in enumerate(runs) if "twin" in run and run["item"] == "object 2, two"][:1]
    content = json.loads(file.read_text())
    content["runs"][number].pop("twin")
    content["rows"] = rows_of(content["runs"])
    file.write_text(json.dumps({**content, "digest": digest(content)}))
    found = bench.verify(file, protocols=[TINY]).differences
    assert found == (f"tiny, {runs[number]['entry']}: runs lack their twins",)
    content["runs"][number]["twin"] = {}
    file.write_text(json.dumps({**content, "digest": digest(content)}))
    assert "runs are missing, or are not what a run leaves" in bench.verify(file, protocols=[TINY]).differences


def test_a_quick_run_has_no_twins_and_none_are_missed(here: Path) -> None:
    report = bench.run([TINY], ["their_solvers:few"], quick=True)
    assert not any("twin" in run for run in report.content["runs"])
    file = report.save(here / "quick")[0]
    assert bench.verify(file, protocols=[TINY]).differences == ()


def test_an_item_that_is_alone_has_a_twin_with_each_seed(here: Path) -> None:
    alone = dataclasses.replace(TINY, cases=("one",), counts=(1, 1), seeds=(1, 3))
    report = bench.run([alone], ["their_solvers:few"])
    assert [run["seed"] for run in report.content["runs"] if "twin" in run] == [0, 1, 2]
    file = report.save(here / "out")[0]
    assert bench.verify(file, protocols=[alone]).differences == ()
    content = json.loads(file.read_text())
    content["runs"][2].pop("twin")
    content["rows"] = rows_of(content["runs"])
    file.write_text(json.dumps({**content, "digest": digest(content)}))
    assert bench.verify(file, protocols=[alone]).differences == ("tiny, their_solvers:few: runs lack their twins",)


def test_on_another_machine_the_spread_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    common = {"protocol": "tiny", "case": "", "entry": "rrr", "failure": None, "psnr": 20.0, "ssim": 0.5}
    runs = [{**common, "item": str(item), "seed": 0} for item in range(8)]
    spread = {"psnr": {"run": 6.0, "mean": 1.5}, "ssim": {"run": 0.1, "mean": 0.01}}

    items = {"tiny": {run["item"]: tiny("", int(run["item"]), None) for run in runs}}

    def made(changes: dict[int, dict[str, Any]], here: bool = False, chosen: int = 4) -> tuple[int, list[str]]:
        """How many runs are made again, and what differs of them, where so many are chosen."""

        def attempted(solver: Entry, item: bench.Item, *_: Any) -> tuple[dict[str, Any], None]:
            number = int(item.name.split()[1].rstrip(","))
            return {**runs[number], **changes.get(number, {})}, None

        monkeypatch.setattr(_verify, "attempt", attempted)
        again = _verify._Again({"tiny": TINY}, items, here)
        again.row(spread, runs[:chosen], runs[chosen:])
        return again.count, again.differences

    assert made({2: {"psnr": 25.9}}) == (4, [])
    assert made({2: {"psnr": 25.9}}, here=True) == (
        4,
        [
            "tiny, rrr, 2, seed 0: psnr 20.0 became 25.9, more than 0.1 away",
            "tiny, rrr, the mean of 4 runs: psnr is 1.475 away, more than 0.1",
        ],
    )
    assert made({2: {"psnr": 26.1}}) == (8, [])  # the mean of all is 6.1 / 8 away
    assert made({2: {"psnr": 33.0}}) == (8, ["tiny, rrr, the mean of 8 runs: psnr is 1.625 away, more than 1.5"])
    assert made({item: {"psnr": 22.9} for item in range(4)}) == (4, [])  # less than 6 / sqrt(4)
    text = "tiny, rrr, the mean of 8 runs: psnr is 1.55 away, more than 1.5"
    assert made({item: {"psnr": 23.1} for item in range(4)}) == (8, [text])
    text = "tiny, rrr, 0, seed 0: ssim 0.5 became None, more than 0.005 away"
    assert made({0: {"ssim": None}}, here=True, chosen=1) == (1, [text])
    assert made({0: {"failure": "why"}}) == (4, ["tiny, rrr, 0, seed 0: no failure became why"])


def test_where_runs_scatter_more_the_spread_of_both_decides() -> None:
    stated, here = ({"psnr": {"run": 9.0, "mean": mean}} for mean in (3.0, 4.0))
    assert _verify._of_both(stated, here) == {"psnr": pytest.approx(5 / math.sqrt(2))}
    assert _verify._of_both(here, stated) == {"psnr": 4.0}


def test_runs_that_are_one_do_not_make_a_mean_surer() -> None:
    runs = [{"item": str(item), "psnr": 20.0 + item} for item in (0, 0, 0, 1)]
    assert _spread.shared(runs) == pytest.approx(math.sqrt((3 / 4) ** 2 + (1 / 4) ** 2))
    assert _spread.shared(runs[2:]) == pytest.approx(1 / math.sqrt(2))


def test_other_instructions_are_another_machine(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _machine.machine()["instructions"].split(", ")[0] == torch.backends.cpu.get_cpu_capability()
    monkeypatch.setenv("MKL_CBWR", "SSE2")
    assert "MKL_CBWR=SSE2" in _machine.machine()["instructions"]
    (note,) = bench.verify(file, protocols=[TINY]).notes
    assert note.startswith("made with instructions ")
    with pytest.raises(ValueError, match=r"must have machine instructions '.*MKL_CBWR=SSE2.*', got"):
        bench.run([TINY], ["their_solvers:few"], before=file)


def test_other_test_sets_and_other_versions_show(file: Path) -> None:
    changed(
        file, True, protocols__tiny__checksum="0" * 64, phaseret="0.0", **{"entries__their_solvers:few__version": "9"}
    )
    found = bench.verify(file, protocols=[TINY])
    assert found.differences == ("tiny: the test set is not the one that is made here",)
    assert found.notes[0] == f"made with phaseret 0.0, here {pr.__version__}"
    assert any("not of their_solvers 9" in note for note in found.notes)
    changed(file, True, protocols__tiny__frozen="0" * 64, protocols__tiny__items=[])
    assert len(bench.verify(file, protocols=[TINY]).differences) == 3
    assert "tiny is no protocol of this version" in bench.verify(file).differences


def test_a_failure_that_is_hidden_shows(here: Path) -> None:
    bench.run([TINY], ["their_solvers:broken"], quick=True).save(here / "out")
    changed(here / "out" / "bench.json", True, runs__0__failure=None)
    (text,) = bench.verify(here / "out" / "bench.json", protocols=[TINY]).differences
    assert text.endswith(f"no failure became RuntimeError: no idea {where('raise RuntimeError')}")


def test_runs_that_are_left_out_show(file: Path) -> None:
    whole = json.loads(file.read_text())
    item, first = whole["runs"][0]["item"], whole["runs"][0]["entry"]
    for left, said in (
        ([run for run in whole["runs"] if run["item"] != item], "the runs are not those of all items and seeds"),
        ([run for run in whole["runs"] if run["seed"] == 0], f"tiny, {first}: the runs are not those of all items"),
        (whole["runs"][1:], "runs are missing, or are not what a run leaves"),
        ([{**run, "seed": None} for run in whole["runs"]], "runs are missing, or are not what a run leaves"),
        ([{}], "runs are missing, or are not what a run leaves"),
    ):
        content = {**whole, "runs": left}
        if "missing" not in said:
            content["rows"] = rows_of(left)
        file.write_text(json.dumps({**content, "digest": digest(content)}))
        assert said in bench.verify(file, protocols=[TINY]).differences[0]


def test_a_score_that_is_no_number_is_compared(file: Path) -> None:
    numbers = [i for i, run in enumerate(json.loads(file.read_text())["runs"]) if run["case"] == "one"]
    changed(file, True, **{f"runs__{i}__psnr": None for i in numbers})
    content = json.loads(file.read_text())
    content["rows"] = pr._words.finite(rows_of(content["runs"]))
    file.write_text(json.dumps({**content, "digest": digest(content)}))
    found = bench.verify(file, protocols=[TINY]).differences
    assert any("psnr None became " in text for text in found)


def test_changed_code_is_not_added_to_what_ran_before(file: Path) -> None:
    (file.parents[1] / "their_solvers.py").write_text(SOLVERS + "# mended")
    sys.modules.pop("their_solvers", None)
    rule = r"must have the their_solvers:few that is here \(their_solvers, code \w{8}\), got another \(.*Run all anew"
    with pytest.raises(ValueError, match=rule):
        bench.run([TINY], ["their_solvers:few"], before=file)
    added = bench.run([TINY], ["their_solvers:greedy"], before=file)  # which has not run yet
    assert len({row["entry"] for row in added.content["rows"]}) == 3


def test_an_entry_that_is_not_here_is_a_difference(file: Path) -> None:
    (file.parents[1] / "their_solvers.py").unlink()
    found = bench.verify(file, protocols=[TINY])
    assert (len(found.differences), found.count) == (2, 0)
    assert "their_solvers:noise cannot be run here" in found.differences[1]


def test_a_report_is_added_to(file: Path) -> None:
    whole = bench.run([TINY], ["their_solvers:few", "their_solvers:noise"])
    calls: list[int] = []
    bench.run([TINY], ["their_solvers:noise"], before=file, progress=lambda report: calls.append(1))
    assert calls == []  # nothing is run again
    other = dataclasses.replace(TINY, name="other")
    bench.run([other], ["their_solvers:few"]).save("more")
    found = bench.run([other, TINY], ["their_solvers:few", "their_solvers:noise"], before="more/bench.json")
    assert [row["protocol"] for row in found.content["rows"]] == 4 * ["other"] + 4 * ["tiny"]
    keys = ("entry", "case", "psnr", "spread")
    assert [[row[key] for key in keys] for row in found.content["rows"][4:]] == [
        [row[key] for key in keys] for row in whole.content["rows"]
    ]
    other_runs = json.loads(Path("more/bench.json").read_text())["runs"]
    other_runs[0] |= {"psnr": None, "error": None, "residual": None}  # as what is no number is kept
    assert rows_of(other_runs)[0]["failed"] == found.content["rows"][0]["failed"]
    one_more = bench.run([TINY], ["their_solvers:greedy"], before=file)  # of the others no picture is kept
    for report, shown in ((found, ["truth", "few", "noise"]), (one_more, ["truth", "greedy"])):
        assert [*filter(None, (panel.get_title() for panel in report.plot().axes))] == shown
    found.save("both")
    assert bench.verify("both/bench.json", protocols=[TINY, other]).differences == ()


def test_a_report_of_other_versions_is_not_added_to(file: Path) -> None:
    for change, message in (
        ({"phaseret": "0.0"}, "before must have phaseret"),
        ({"quick": True}, "before must have quick"),
        ({"machine__torch": "1"}, "before must have machine torch"),
        (
            {"entries__their_solvers:few__version": "9"},
            r"must have the their_solvers:few that is here .* 9, code",
        ),
    ):
        shutil.copy(file, "one.json")
        changed(Path("one.json"), True, **change)
        with pytest.raises(ValueError, match=message):
            bench.run([TINY], ["their_solvers:few"], before="one.json")
    with pytest.raises(ValueError, match="before must have the test set tiny"):
        bench.run([dataclasses.replace(TINY, counts=(1, 2))], ["their_solvers:greedy"], before=file)
    changed(file, False, rows__0__seconds=1e-6)
    with pytest.raises(ValueError, match="before must be as it was written, got a file that was changed since"):
        bench.run([TINY], ["their_solvers:few"], before=file)


def test_a_file_that_is_none_is_refused(here: Path) -> None:
    for text in ("{", "[]", '{"benchmark": "bench-0"}', '{"benchmark": "bench-1"}'):
        Path("x.json").write_text(text)
        with pytest.raises(ValueError, match=r"verify: file must be a JSON of bench-1, got .*: 'x\.json'\. Give"):
            bench.verify("x.json")
    for name, why in (("none.json", "No such file"), (".", "Is a directory")):
        rule = (
            rf"verify: file must be a JSON of bench-1, got what cannot be read \({why}.*\): '{re.escape(name)}'\. Give"
        )
        with pytest.raises(OSError, match=rule):
            bench.verify(name)


def test_files_are_not_replaced_unasked(file: Path) -> None:
    report = bench.run([TINY], ["their_solvers:noise"], quick=True)
    with pytest.raises(FileExistsError):
        report.save(file.parent)
    report.save(file.parent, overwrite=True)
    assert json.loads(file.read_text())["quick"] is True


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rrrr", "run: entries must be names such as package.module:name, got 'rrrr'. Use one of default, rrr"),
        (
            "nowhere:solve",
            "run: entries must be importable, got 'nowhere:solve': No module named 'nowhere'. Install it",
        ),
        ("their_solvers:missing", "got 'their_solvers:missing': nothing of this name. Name a function"),
        ("their_solvers:nois", "Did you mean 'their_solvers:noise'?"),
        ("RRR", "my_package.solvers:solve. Did you mean 'rrr'?"),
        (":solve", "run: entries must be names such as package.module:name, got ':solve'. Use one of default"),
        ("./solvers/mine.py:solve", "Did you mean 'solvers.mine:solve'?"),
        ("their_solvers.py:noise", "Did you mean 'their_solvers:noise'?"),
        ("their_solvers.noise", "Did you mean 'their_solvers:noise'?"),
        ("their_solvers:two", "must take (intensity, known, seed), got 'their_solvers:two', which takes (x, y)."),
        ("their_solvers:three", "must take (intensity) where they are Modules, got 'their_solvers:three', which takes"),
        ("lacking:solve", "got 'lacking:solve': No module named 'nowhere' (lacking.py, line 2). Install nowhere."),
        ("misspelt:solve", "(misspelt.py, line 1). Mend its file, which must run when it is imported."),
        ("leaving:solve", "got 'leaving:solve': SystemExit: 3 (leaving.py, line 1). Mend its file"),
        ("their_solvers:wrong", "got 'their_solvers:wrong': 3. Name a function"),
        ("their_solvers:Net", "the class Net. Name a function (intensity, known, seed) -> estimate, or an instance"),
    ],
)
def test_entries_that_cannot_be_run_are_refused(name: str, message: str, here: Path) -> None:
    (here / "lacking.py").write_text("\nimport nowhere")
    (here / "misspelt.py").write_text("def solve(")
    (here / "leaving.py").write_text("raise SystemExit(3)")
    with pytest.raises((TypeError, ValueError, ImportError)) as caught:
        bench.run([TINY], [name])
    assert message in str(caught.value)


def test_unknown_protocols_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"run: protocols must be one of 'digits', .* got 'digts'. Did you mean 'digits'\?"
    ):
        bench.run(["digts"], ["rrr"])


def test_entries_of_one_name_have_their_whole_names_over_the_pictures(here: Path) -> None:
    (here / "others.py").write_text(SOLVERS)
    report = bench.run([TINY], ["their_solvers:noise", "others:noise", "their_solvers:greedy"], quick=True)
    titles = [panel.get_title() for panel in report.plot().axes if panel.get_title()]
    assert titles == ["truth", "their_solvers:\nnoise", "others:\nnoise", "greedy"]


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_alone_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = commands.run("bench", capsys)
    assert status == 0
    assert all(name in out for name in (*bench.PROTOCOLS, *bench.ENTRIES))


def test_the_command_runs_and_verifies(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bench.PROTOCOLS, "tiny", TINY)
    status, out, err = commands.run("bench tiny --entry their_solvers:few their_solvers:noise --quick --out o", capsys)
    assert status == 0
    assert "in o/bench.json, bench.txt and bench.png" in out.replace("\\", "/")
    assert err.count("tiny, one, their_solvers:few: ") == 1
    assert commands.run("bench verify o/bench.json", capsys)[:2] == (0, "2 runs made again agree\n")
    status, _, err = commands.run(
        "bench tiny --entry their_solvers:greedy their_solvers:few --quick --out o --add", capsys
    )
    assert (status, "few" in err, "greedy: " in err) == (0, False, True)
    shutil.copytree("o", "old")
    changed(here / "old" / "bench.json", True, phaseret="0.0")
    status, _, err = commands.run("bench tiny --entry their_solvers:few --quick --out old --add", capsys)
    assert (status, "error: the report in --out must have phaseret '" in err) == (1, True)
    (here / "old" / "bench.json").write_text("{}")
    status, _, err = commands.run("bench tiny --entry their_solvers:few --quick --out old --add", capsys)
    assert (status, "error: the report in --out must be a JSON of " in err) == (1, True)
    status, _, err = commands.run("bench tiny --entry their_solvers:few --quick --out o", capsys)
    assert (status, "--overwrite" in err) == (1, True)
    changed(here / "o" / "bench.json", False, quick=False)
    status, out, err = commands.run("bench verify o/bench.json", capsys)
    assert status == 1
    assert "differs: the file was changed after it was written\n" in out
    assert "FILE must be what this version makes again" in err
    assert commands.run("bench verify", capsys)[0] == 1


def test_the_command_says_what_failed_and_what_there_was_to_do(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bench.PROTOCOLS, "tiny", TINY)
    line = "bench tiny --quick --out o --entry their_solvers:"
    status, out, err = commands.run(line + "broken their_solvers:meddles", capsys)
    assert (status, "so much" in out, "so much" in err) == (0, False, True)
    assert "tiny, one, their_solvers:broken: 1 of 1 run failed: RuntimeError: no idea (their_solvers.py" in err
    assert "nothing was run: " in commands.run(line + "broken --add", capsys)[1]
    assert (
        "--add must stand without --overwrite, got both" in commands.run(line + "broken --add --overwrite", capsys)[2]
    )
    assert "With --add its report stays" in commands.run(line + "broken", capsys)[2]
    solver = entry("their_solvers:noise").module

    def interrupted(*_: Any) -> Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(solver, "few", interrupted)
    status, _, err = commands.run(line + "noise their_solvers:few --overwrite", capsys)
    assert status == 130
    assert "interrupted; " in err
    assert err.endswith("bench.json has what is finished, and the same command with --add goes on\n")
    assert [row["entry"] for row in json.loads(Path("o/bench.json").read_text())["rows"]] == ["their_solvers:noise"]


def from_the_page(number: int) -> str:
    """A solver that the page of the benchmark prints."""
    page = (Path(__file__).parents[1] / "docs/benchmark.rst").read_text(encoding="utf-8")
    block = page.split(".. code-block:: python\n\n")[1 + number]
    lines = itertools.takewhile(lambda line: not line or line.startswith("   "), block.split("\n"))
    return textwrap.dedent("\n".join(lines))


def test_the_function_of_the_page_runs_as_printed(here: Path) -> None:
    (here / "mine.py").write_text(from_the_page(0), encoding="utf-8")
    (row,) = bench.run([TINY], ["mine:solve"], quick=True).content["rows"]
    assert (row["failed"], row["items"]) == (0, 1)


@pytest.mark.once
def test_the_network_of_the_page_is_trained_and_entered_as_printed(
    here: Path,
) -> None:
    text = from_the_page(1)
    assert text.count("range(1000)") == 1
    (here / "my_net.py").write_text(text.replace("range(1000)", "range(2)"), encoding="utf-8")
    with pytest.raises(ImportError, match=r"my_net\.pt.* \(my_net\.py, line \d+\)\. Mend its file"):
        entry("my_net:net")
    runpy.run_path(str(here / "my_net.py"), run_name="__main__")
    net = entry("my_net:net")
    item = bench.PROTOCOLS["digits"].items(quick=True)[0]
    found, estimate = attempt(net, item, 0, False)
    assert (found["failure"], tuple(estimate.shape), net.solve.training) == (None, (28, 28), False)


def test_a_network_is_a_module_too() -> None:
    assert isinstance(Entry("n", nn.Identity(), bench)(tiny("", 0, None), 0), Tensor)


def test_the_commit_is_that_of_files_in_a_working_tree_alone(here: Path) -> None:
    module = entry("their_solvers:noise").module
    found = _machine.package(module)
    known = hashlib.sha256(SOLVERS.encode()).hexdigest()
    assert found == {"package": "their_solvers", "version": None, "commit": None, "code": known}
    (here / "their_solvers.py").write_text(SOLVERS + "# more")
    assert _machine.package(module)["code"] != known
    found = _machine.package(bench)
    assert (found["package"], found["version"]) == ("phaseret", pr.__version__)
