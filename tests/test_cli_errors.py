"""Whatever is wrong is one line in the words of the command, nothing is overwritten, and no half file is left."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import phaseret as pr
from commands import digit, fails, interrupt_after, listing, prepared, run
from phaseret.cli import main
from phaseret.cli._commands import Reconstruct
from phaseret.cli._messages import in_flags
from phaseret.cli._options import flags

pytest.importorskip("h5py")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return prepared(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        (
            "reconstruct: point_spread must not be negative, got negative numbers. Use point_spread.clamp(min=0).",
            "--point-spread must not be negative, got negative numbers. Set what is negative in it to 0.",
        ),
        ("HIO: intensity must be finite, got 2. Mask them with mask = intensity.isfinite().",
         "intensity must be finite, got 2. Mask them with --mask or --bad-pixels."),
        ("x: init must have at least 2 axes, got shape (3,). Add one with unsqueeze(0).",
         "--init must have at least 2 axes, got shape (3,). Look at the axes of the array."),
        ("x: init must be finite, got other values. Set them to 0 with torch.nan_to_num(init).",
         "--init must be finite, got other values. Set them to 0."),
        ("x: background must be real floating, got torch.int64. Use background.float().",
         "--background must be real floating, got torch.int64."),
        ("x: the light gathers at the middle. If it is not, use centered=True, or torch.fft.ifftshift(intensity, "
         "dim=(-2, -1)).", "the light gathers at the middle. If it is not, use --center middle."),
    ],
)  # fmt: skip
def test_advice_is_what_can_be_typed(said: str, typed: str) -> None:
    assert in_flags(said, flags(Reconstruct)) == typed


def test_what_others_call_an_option_is_answered_with_ours(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert '--schedule "hio:500,er:50"' in fails("reconstruct pattern.h5 -o r.h5 --iterations 5", capsys, status=2)
    assert '--schedule "hio(beta=0.8)' in fails("reconstruct pattern.h5 -o r.h5 --beta 0.9", capsys, status=2)
    said = fails("reconstruct pattern.h5 -o r.h5 --support 46x50", capsys)
    assert "--support must be sizes N,M or a file, got '46x50'. Use --support 46,50." in said


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "phaseret: error: the following arguments are required: COMMAND (see phaseret --help)"),
        ("paint", "phaseret: error: argument COMMAND: invalid choice: 'paint'"),
        ("info", "phaseret info: error: the following arguments are required: FILE (see phaseret info --help)"),
        (
            "recon pattern.h5",
            "(choose from 'info', 'reconstruct', 'simulate', 'compare', 'bench'), did you mean reconstruct? (see",
        ),
        ("reconstruct pattern.h5 --suport s.npy", "there is no option --suport, did you mean --support? (see"),
        ("info pattern.h5 --ind 0", "there is no option --ind, did you mean --index? (see"),
        ("info pattern.h5 --origin corner", "there is no option --origin, did you mean --center? (see"),
        (
            "info pattern.h5 --key data",
            "there is no option --key: the array stands behind its file, as in pattern.h5::",
        ),
        ("reconstruct pattern.h5 -o r.h5 --constrain=real", "no option --constrain, did you mean --constraint? (see"),
        (
            "info pattern.h5 --wavelets",
            "phaseret info: error: there is no option --wavelets (see phaseret info --help)",
        ),
        (
            "info pattern.h5 --center 3,x",
            "argument --center: must be middle, corner or a pixel such as 64,64, got '3,x'",
        ),
        (
            "info pattern.h5 --index 1:2:3",
            "argument --index: must be a number, a range 0:10 or a list 0,1,3, got '1:2:3'",
        ),
        ("reconstruct pattern.h5 -o r.h5 --bounds 1", "argument --bounds: must be two numbers such as 0,1, got '1'"),
        ("info pattern.h5 --index a", "argument --index: must be a number, a range 0:10 or a list 0,1,3, got 'a'"),
        ("reconstruct pattern.h5", "the following arguments are required: -o/--output"),
        (
            "reconstruct pattern.h5 -o r.h5 --starts x",
            "argument --starts: must be a whole number of at most 922",
        ),
        ("simulate pattern.npy -o r.h5 --size 3.5", "argument --size: must be whole numbers such as 64,64, got '3.5'"),
    ],
)
def test_wrong_options_are_one_line(line: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in fails(line, capsys, status=2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="paths, pipes and /dev/full are those of POSIX")
@pytest.mark.once
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("info none.h5", "phaseret info: error: FILE must name a file, got 'none.h5', which does not exist. Look"),
        ("reconstruct pattern.h5 -o r.h5 --support Auto", "be a file that exists, got 'Auto'. Did you mean 'auto'?"),
        ("reconstruct pattern.h5 -o r.h5 --constraint positive", "got 'positive'. Did you mean 'nonnegative'?"),
        ("info pattern.h5 --mask-is good", "got 'good'. Did you mean 'measured'?"),
        ("info dir", "got the folder 'dir'. Name a file in it, or all by a pattern such as 'dir/*.tif'."),
        ("info empty.h5", "FILE must name a file with data, got 'empty.h5', which is empty. Write or copy it again."),
        ("info text", "FILE must name a file of a known kind, got 'text'"),
        ("info cut.h5", "cut.h5 must be a whole HDF5 file, got the error: "),
        ("info evil.npz", "FILE must name a file without pickled Python objects, got 'evil.npz'"),
        ("info evil.npy", "FILE must name a file without pickled Python objects, got 'evil.npy'"),
        (
            "info stack.npy",
            "error: --ndim must be given for 'data' of stack.npy with the shape (5, 10, 9). Use --ndim 2 for",
        ),
        ("info pattern.h5 --kind amplitude", "kind must be one of 'intensity', 'magnitude', got 'amplitude'"),
        ("info pattern.h5::none", "KEY in FILE::KEY must name an array of pattern.h5, got 'none'"),
        ("info two.npz", "FILE::KEY must say which array of two.npz to read, got None. It holds 'a'"),
        ("info masked.npz", "--mask-is must say what the non-zero pixels of 'mask' of masked.npz are. Pass --mask-is "),
        ("info pattern.h5 --center 99,0", "center must be a pixel inside the frame (24, 20), got (99, 0)"),
        ("info pattern.h5 --mask stack.npy", "--mask must broadcast to the intensity (24, 20), got (5, 10, 9)"),
        ("info negative.npy", "FILE must hold a measured pixel in every pattern, got none"),
        ("info nan.npy", "got none. Look at FILE::KEY, and at --mask or --bad-pixels if given."),
        ("info pattern.h5 --mask none.npy", "--mask must name a file, got 'none.npy', which does not exist"),
        ("info pattern.h5 --mask nothing.npy", "--mask must hold a measured pixel in every pattern, got none"),
        ("info pattern.h5 --bad-pixels none.npy", "--bad-pixels must name a file, got 'none.npy', which does not"),
        ("info pattern.h5 --bad-pixels zero.npy", "--bad-pixels must broadcast to the intensity (24, 20), got (10, 9)"),
        ("info pattern.h5 --index 0", "--index must be left out for a single pattern of shape (24, 20), got 0. Only a"),
        ("info stack.h5 --index 9:", "--index must lie in a stack of 5, got 9:. Count from 0 to 4."),
        ("info complex.npy", "must hold one real number per pixel, got complex64. Name another array as FILE::KEY."),
        ("info zero.npy", "FILE must hold a value above 0 in every pattern, got none"),
        (
            "info pattern.h5 --figure old.h5",
            "--figure must not exist yet, got 'old.h5'. Choose another path or use --overwrite.",
        ),
        ("info pattern.h5 --figure p.xyz", "the ending of --figure must be one of "),
        (
            "reconstruct pattern.h5 -o old.h5",
            "phaseret reconstruct: error: --output must not exist yet, got 'old",
        ),
        ("reconstruct pattern.h5 -o none/r.h5", "--output must lie in an existing folder, got 'none'"),
        ("reconstruct pattern.h5 -o /dev/full", "--output must not exist yet, got '/dev/full'"),
        ("reconstruct pattern.h5 -o pipe.h5 --overwrite", "--output must name a file, got the device 'pipe.h5'"),
        ("reconstruct none.h5 -o r.h5", "FILE must name a file, got 'none.h5', which does not exist"),
        ("reconstruct negative.npy -o r.h5", "FILE must hold a measured pixel in every pattern, got none"),
        ("reconstruct pattern.h5 -o r.h5 --init none.npy", "--init must name a file, got 'none.npy', which does"),
        ("reconstruct pattern.h5 -o r.h5 --init zero.npy::x", "KEY in FILE::KEY must name an array of zero.npy"),
        ("reconstruct pattern.h5 -o r.h5 --init complex.npy", "--init must have the shape (10, 9) or (12, 10, 9), got"),
        ("reconstruct pattern.h5 -o r.h5 --support none.npy", "--support must name a file, got 'none.npy', which does"),
        ("reconstruct pattern.h5 -o r.h5 --support 9", "--support must have 2 sizes, one for each axis of a pattern"),
        ("reconstruct pattern.h5 -o r.h5 --support-size 999", "--support-size must be at most the 480 pixels of a"),
        ("reconstruct pattern.h5 -o r.h5 --figure old.h5", "--figure must not exist yet, got 'old.h5'"),
        (
            "reconstruct pattern.h5 -o r.h5 --support zero.npy",
            "--support must be non-zero somewhere, got 0 everywhere in 'data' of zero.npy. Name another",
        ),
        ("reconstruct pattern.h5 -o r.h5 --support 0,3", "support must hold positive sizes, got "),
        ("reconstruct pattern.h5 -o r.h5 --support 99,99", "--support must be at most (12, 10) for data of (24, 20)"),
        ("reconstruct pattern.h5 -o r.h5 --support 16,15", "; or --undersampled where such data are wanted"),
        ("reconstruct pattern.h5 -o r.h5 --schedule dance:7", "--schedule 'dance:7' must have a step at 'dance:7'"),
        ("reconstruct pattern.h5 -o r.h5 --constraint happy", "--constraint must be one of 'complex', "),
        ("reconstruct pattern.h5 -o r.h5 --starts 0", "starts must be an integer of at least 1, got 0"),
        ("reconstruct pattern.h5 -o r.h5 --device abacus", "device must be one that works here, got 'abacus' ("),
        ("reconstruct stack.h5 -o r.h5 --index 9:", "index must lie in a stack of 5, got "),
        ("reconstruct stack.h5 -o r.h5 --block 0", "block must be an integer of at least 1, got 0"),
        ("reconstruct pattern.h5 -o r.h5 --block 0", "--block must be an integer of at least 1, got 0"),
        ("info pattern.h5 --stack-axis 5", "--stack-axis must be left out for the shape (24, 20)"),
        (
            "reconstruct stack.h5 -o r.h5 --checkpoint-every 9",
            "--checkpoint-every must be left out for a stack, got 9. A stack is kept by blocks: use --block.",
        ),
        (
            "reconstruct stack.h5 -o r.h5 --timeout 0",
            "timeout must be a finite number above 0 and at most 1",
        ),
        (
            "reconstruct pattern.h5 -o r.tif",
            "the ending of --output must be one of '.cxi', '.h5', '.hdf5', '.npz', '.vti'",
        ),
        ("reconstruct pattern.h5 -o r.h5 --figure p.xyz", "the ending of --figure must be one of "),
        (
            "reconstruct bare.h5 -o r.h5 --support none",
            "Give --support or --support-size, or --constraint nonnegative.",
        ),
        ("simulate negative.npy -o r.h5", "negative.npy must be finite, non-negative and above 0 somewhere"),
        (
            "simulate complex.npy -o r.h5",
            "complex.npy must be real, got torch.complex64. Give modulus and phase as two",
        ),
        ("simulate none.png -o r.h5", "IMAGE must name a file, got 'none.png', which does not exist"),
        ("simulate pattern.npy -o r.h5 --phase none.png", "--phase must name a file, got 'none.png', which does not"),
        ("simulate pattern.npy -o r.h5 --phase nan.npy --size 8,8", "nan.npy must be finite, non-negative and above 0"),
        ("simulate pattern.npy -o r.h5 --phase nothing.npy", "nothing.npy must be finite, non-negative and above 0"),
        (
            "simulate pattern.npy -o r.h5 --phase good.npy",
            "--phase must have the shape of IMAGE, (10, 9), got (24, 20)",
        ),
        (
            "simulate pattern.npy -o r.h5 --fourier-shape 32",
            "--fourier-shape must have one size for each axis of IMAGE",
        ),
        ("simulate pattern.npy -o r.h5 --readout -3", "--readout must be a finite number at least 0, got -3.0"),
        ("simulate pattern.npy -o r.h5 --beam-stop -3", "--beam-stop must be a finite number at least 0, got -3.0"),
        ("simulate pattern.npy -o r.h5 --seed -3", "--seed must be an integer of at least 0, got -3"),
        ("simulate pattern.npy -o old.h5", "--output must not exist yet, got 'old.h5'"),
        (
            "simulate pattern.npy -o r.tif",
            "the ending of --output must be one of '.cxi', '.h5', '.hdf5', '.npz', '.vti', got '.tif'",
        ),
        ("simulate pattern.npy -o r.h5 --fourier-shape 12,12", "--fourier-shape must be at least (19, 17) = 2n-1"),
        ("simulate pattern.npy -o r.h5 --photons -3", "photons must be a finite number above 0, got -3.0"),
        ("simulate pattern.npy -o r.h5 --size 3", "--size must be two numbers, for a picture of two axes, got (3,)"),
        (
            "simulate pattern.npy -o r.h5 --phase zero.npy",
            "zero.npy must be finite, non-negative and above 0 somewhere",
        ),
        (
            "compare some.npy stack.npy --ndim 2",
            "A and B must be stacks of as many objects, or one of them a single object, got 3 and 5 objects, of the",
        ),
        (
            "compare pattern.npy stack.npy --ndim 3",
            "--ndim must be at most the axes of A and B, (10, 9) and (5, 10, 9)",
        ),
        (
            "compare bare.h5 pattern.npy",
            "bare.h5 must hold an object, got a diffraction pattern. Reconstruct it first, or",
        ),
        (
            "info found.h5",
            "found.h5 must hold an intensity, got an object in 'entry_1/image_1/data'. Give it to phaseret compare, or",
        ),
        ("compare pattern.npy zero.npy", "B must not be 0 everywhere, got zero.npy"),
        ("compare none.npy pattern.npy", "A must name a file, got 'none.npy', which does not exist"),
        ("compare pattern.npy pattern.npy --figure old.h5", "--figure must not exist yet, got 'old.h5'"),
        ("compare pattern.npy text", "B must name a file of a known kind, got 'text'"),
    ],
)
def test_whatever_is_wrong_is_one_line(
    line: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "text").write_text("a text")
    (folder / "old.h5").write_text("precious")
    (folder / "cut.h5").write_bytes((folder / "pattern.h5").read_bytes()[:3000])
    (folder / "empty.h5").touch()
    (folder / "dir").mkdir()
    os.mkfifo("pipe.h5")
    np.save("evil.npy", np.array([{}], dtype=object))
    np.savez("evil.npz", np.array([{}], dtype=object))
    np.save("nan.npy", np.full((8, 8), np.nan))
    np.save("nothing.npy", np.zeros((24, 20)))
    np.save("good.npy", np.ones((24, 20)))
    np.save("negative.npy", -np.ones((8, 8)))
    np.save("zero.npy", np.zeros((10, 9)))
    np.save("some.npy", np.ones((3, 10, 9)))
    np.save("complex.npy", np.ones((4, 4), np.complex64))
    np.savez("two.npz", a=np.ones((4, 4)), b=np.ones((4, 4)))
    np.savez("masked.npz", intensity=np.ones((4, 4)), mask=np.ones((4, 4)))
    pr.io.save_intensity("bare.h5", pr.operators.fourier_intensity(digit(), (24, 20)))
    measured = pr.io.load_intensity("pattern.h5")
    found = pr.solvers.ErrorReduction(2)(measured.intensity, support=measured.support, constraint="real")
    pr.io.save_reconstruction("found.h5", found)
    names, before = listing(folder), {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    said = fails(line, capsys)
    assert message in said
    assert "path" not in said.replace("another path", "")
    assert listing(folder) == names
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_colour_picture_is_no_pattern(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save("colour.png")
    said = fails("reconstruct colour.png -o r.h5", capsys)
    assert "got a colour picture. A diffraction pattern is needed; of a picture of the object, make one with " in said
    assert said.endswith("make one with phaseret simulate.\n")


@pytest.mark.parametrize(
    "command", ["reconstruct pattern.h5 -o r.h5", "info pattern.h5", "simulate pattern.npy -o r.h5"]
)
def test_a_missing_matplotlib_is_said_before_the_work(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    interrupt_after(0, monkeypatch, AssertionError("the work began"))
    said = fails(f"{command} --figure r.png", capsys)
    assert 'the package matplotlib must be installed. Install it with pip install "phaseret[demo]".' in said
    assert not {"r.h5", "r.png"} & listing(folder)


def test_advice_is_given_in_options(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shifted = np.roll(pr.operators.fourier_intensity(digit(), (24, 20)).numpy(), (14, 9), (0, 1))
    np.save("shifted.npy", shifted)
    assert "of the frame: load it with --center 14,9" in run("info shifted.npy", capsys)[1]


def test_unforeseen_errors_are_one_line_too(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object) -> None:
        raise ZeroDivisionError("over\nmy feet")

    monkeypatch.setattr(pr.io, "inspect", stumble)
    assert fails("info pattern.h5", capsys) == "phaseret info: internal error: ZeroDivisionError: over my feet\n"
    with pytest.raises(ZeroDivisionError):
        main(["info", "pattern.h5", "--debug"])


def test_warnings_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Six starts of three steps of error reduction do not agree."""
    status, _, err = run("reconstruct pattern.h5 --schedule er:3 --starts 6 --constraint complex -o r.h5", capsys)
    assert status == 0
    assert err.startswith("phaseret reconstruct: warning: 1 of 1 reconstructions are not unique")
    assert err.count("\n") == 1


@pytest.mark.once
def test_what_cannot_be_printed_is_an_error(folder: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    for unbuffered in ("", "1"):
        with open("/dev/full", "w") as full:
            found = subprocess.run(
                [sys.executable, "-m", "phaseret.cli", "info", "pattern.h5"],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            )
        assert found.returncode == 1
        assert re.fullmatch(
            "phaseret info: error: the standard output must be .*No space left on device.*\n", found.stderr
        )


def test_too_little_memory_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 3221225472 bytes."
    interrupt_after(0, monkeypatch, RuntimeError(short))
    said = fails("reconstruct pattern.h5 -o r.h5 --starts 99", capsys)
    assert "pattern and starts, 99 starts of (24, 20), must fit into memory, got 3 GiB asked for at once. Use f" in said
    interrupt_after(0, monkeypatch, RuntimeError("something else"))
    assert "internal error: RuntimeError: something else" in fails("reconstruct pattern.h5 -o r.h5", capsys)


def test_a_picture_does_not_take_the_place_of_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.png").symlink_to("r.h5")
    said = fails("reconstruct p.h5 -o r.h5 --figure r.png --overwrite", capsys)
    assert "--figure must not be the file of --output, got 'r.png' for 'r.h5'. Name another" in said


def test_a_warning_can_be_copied(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(
        "reconstruct pattern.h5 --support 12,10 --schedule er:2 --starts 1 -o r.npz --overwrite", capsys
    )
    assert status == 0
    assert 'Use --constraint nonnegative or "real"; say --constraint complex if' in err


@pytest.mark.parametrize("variable", ["TORCH_LOGS", "TQDM_MININTERVAL"])
def test_a_variable_for_which_torch_cannot_be_loaded_is_one_line(variable: str) -> None:
    words = [sys.executable, "-m", "phaseret", "info", "p.npy"]
    run = subprocess.run(words, env={**os.environ, variable: "nonsense"}, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    rule = r"PyTorch must be a package that can be loaded, got the error ValueError: .*\. Look at .*\n"
    assert re.fullmatch(f"phaseret info: error: {rule}", run.stderr)
