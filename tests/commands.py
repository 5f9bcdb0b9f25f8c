"""What the tests of the command share: how it is called, and a folder with small files for it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import phaseret as pr
from phaseret.cli import main


def run(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit status, output and errors of a command line."""
    try:
        status = main(shlex.split(line))
    except SystemExit as end:
        status = int(end.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def fails(line: str, capsys: pytest.CaptureFixture[str], status: int = 1) -> str:
    """The one line that a command prints when it fails, and nothing else but warnings of what it did before."""
    found, out, err = run(line, capsys)
    err = "".join(said for said in err.splitlines(keepends=True) if ": warning: " not in said)
    assert (found, out) == (status, ""), (found, out, err)
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


def digit(seed: int = 0) -> Tensor:
    """A small object with a clear outline, of no symmetry."""
    generator = torch.Generator().manual_seed(seed)
    obj = torch.rand(10, 9, generator=generator) + 0.5
    obj[:4, :3] = 0
    return obj


def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, entered, with a pattern, a stack of five, and the objects they were made from."""
    monkeypatch.chdir(tmp_path)
    objs = torch.stack([digit(seed) for seed in range(5)])
    support = torch.ones(10, 9, dtype=torch.bool)
    for name, obj in (("pattern", objs[0]), ("stack", objs)):
        intensity = pr.operators.fourier_intensity(obj, (24, 20))
        measurement = pr.io.as_measurement(intensity, support=support, wavelength=1e-10, distance=1.0, pixel_size=5e-5)
        pr.io.save_intensity(f"{name}.h5", measurement)
        np.save(f"{name}.npy", obj)
    return tmp_path


QUICK = '--schedule "raar:60,er:20" --constraint nonnegative --starts 3'


def assert_same(found: Tensor, expected: Tensor) -> None:
    """Of runs in double precision: other blocks round otherwise, and the iterations amplify that."""
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def pattern_of_a_curved_wave() -> np.ndarray[Any, Any]:
    """Bars whose phase is nearly, but not quite, that of a real object."""
    down, across = torch.meshgrid(torch.linspace(-1, 1, 14), torch.linspace(-1, 1, 12), indexing="ij")
    obj = torch.zeros(14, 12)
    obj[:4], obj[:, :3], obj[9:12, 5:] = 1.0, 0.7, 1.0
    wave = torch.polar(obj, 0.8 * (down * down + 0.7 * across * across + 0.3 * down * across))
    return pr.operators.fourier_intensity(wave, (56, 48), centered=True).numpy()


def interrupt_after(blocks: int, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    solve, calls = pr.solvers.reconstruct, []

    def stop(*args: object, **options: object) -> pr.solvers.Reconstruction:
        calls.append(1)
        if len(calls) > blocks:
            raise error
        return solve(*args, **options)

    monkeypatch.setattr(pr.solvers, "reconstruct", stop)


def three_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, entered, with a small pattern, a stack and an object."""
    monkeypatch.chdir(tmp_path)
    pr.io.save_intensity("p.npz", pr.operators.fourier_intensity(torch.rand(8, 8), (16, 16)))
    pr.io.save_intensity("s.npz", pr.operators.fourier_intensity(torch.rand(3, 8, 8), (16, 16)))
    np.save("o.npy", np.random.default_rng(0).random((8, 8)))
    return tmp_path
