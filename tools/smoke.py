"""What the installed package promises works, and what needs an extra that is not there says so in one line.

python -I smoke.py EXTRA...    in an empty folder, with these extras installed
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import platform
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import phaseret as pr

OBJ = torch.rand(10, 9, generator=torch.Generator().manual_seed(0)) + 0.5
OBJ[:4, :3] = 0
INTENSITY = pr.operators.fourier_intensity(OBJ, (24, 20))
SUPPORT = torch.ones(10, 9, dtype=torch.bool)


def solve(**options: bool) -> pr.solvers.Reconstruction:
    return pr.solvers.RRR(n_iter=300)(INTENSITY, support=SUPPORT, constraint="nonnegative", starts=2, seed=0, **options)


def command(*words: str) -> str:
    """What the installed command prints."""
    program = Path(sys.executable).with_name("phaseret")
    found = subprocess.run([program, *words], capture_output=True, text=True)
    if found.returncode:
        raise ImportError(found.stderr.rstrip())
    assert not found.stderr, found.stderr
    return found.stdout


# --- core ------------------------------------------------------------------------------------------------------------


def losses_have_gradients() -> None:
    estimate = OBJ.clone().requires_grad_()
    (pr.losses.PassiveLoss()(estimate * 1.1, INTENSITY) + pr.losses.InvariantLoss()(estimate * 1.1, OBJ)).backward()
    assert estimate.grad is not None
    assert bool(estimate.grad.isfinite().all())


def solvers_solve() -> None:
    assert pr.metrics.psnr(solve().obj, OBJ) > 60
    recipe = "raar:200,er:50"
    found = pr.solvers.reconstruct(INTENSITY, schedule=recipe, support=SUPPORT, constraint="nonnegative", seed=0)
    assert pr.metrics.psnr(found.obj, OBJ) > 30


def networks_answer() -> None:
    assert pr.models.UNet((10, 9), (24, 20))(INTENSITY.expand(2, -1, -1)).shape == (2, 10, 9)


def results_are_saved() -> None:
    result = solve()
    result.save("result.npz")
    assert torch.equal(pr.io.load_reconstruction("result.npz")["obj"], result.obj)


def the_command_runs() -> None:
    assert command("--version") == f"phaseret {importlib.metadata.version('phaseret')}\n"
    np.save("obj.npy", OBJ.numpy())
    command("simulate", "obj.npy", "-o", "pattern.npz", "--fourier-shape", "24,20")
    assert "24 x 20" in command("info", "pattern.npz")
    recipe = ("--constraint", "nonnegative", "--schedule", "hio:300,er:30", "--starts", "2", "--quiet")
    command("reconstruct", "pattern.npz", *recipe, "-o", "solved.npz")
    assert "correlation       1.0000" in command("compare", "solved.npz", "obj.npy")


# --- extras (files are made by hand: packages that write them need not be there) --------------------------------------


def metrics_have_classes() -> None:
    from phaseret.metrics import PSNR

    metric = PSNR()
    metric.update(OBJ, OBJ)
    assert metric.compute() > 100


def networks_are_saved() -> None:
    net = pr.models.MLP((4, 4), (8, 8), width=8)
    pr.models.save(net, "net.safetensors", card=dict.fromkeys(("data", "command", "metrics", "licence"), "none"))
    assert type(pr.models.load("net.safetensors")) is type(net)
    assert pr.models.load("unet_dnn_p")(torch.rand(1, 64, 64)).shape == (1, 32, 32)


def lightning_trains() -> None:
    import lightning

    class Trial(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = pr.models.MLP((10, 9), (24, 20), width=8)

        def training_step(self, batch: torch.Tensor) -> torch.Tensor:
            return pr.losses.passive_loss(self.net(batch), batch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters())

    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        trainer = lightning.Trainer(fast_dev_run=True, accelerator="cpu", enable_progress_bar=False)
        trainer.fit(Trial(), torch.utils.data.DataLoader(INTENSITY.expand(4, -1, -1).clone(), batch_size=2))


def digits_are_there() -> None:
    assert pr.datasets.mnist().shape == (4500, 28, 28)


def pictures_are_drawn() -> None:
    pr.plotting.save_figure("result.png", solve().plot())
    assert Path("result.png").read_bytes().startswith(b"\x89PNG")


def progress_is_shown() -> None:
    with contextlib.redirect_stderr(io.StringIO()) as bar:
        solve(progress=True)
    assert "300/300" in bar.getvalue()


def hdf5_is_written_and_read() -> None:
    result = solve()
    result.save("result.h5", overwrite=True)
    assert torch.equal(pr.io.load_reconstruction("result.h5")["obj"], result.obj)


def tiff_is_read() -> None:
    pixels = INTENSITY.numpy().astype("<f4")
    tags = ((256, 20), (257, 24), (258, 32), (259, 1), (262, 1), (273, 8), (277, 1), (278, 24), (279, 1920), (339, 3))
    directory = (
        struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, x) for tag, x in tags) + bytes(4)
    )
    Path("pattern.tif").write_bytes(b"II*\0" + struct.pack("<I", 1928) + pixels.tobytes() + directory)
    assert pr.io.load_intensity("pattern.tif", kind="intensity").fourier_shape == (24, 20)


def edf_is_read() -> None:
    pixels = INTENSITY.numpy().astype("<f4")
    facts = (
        f"Dim_1 = 20 ;\nDim_2 = 24 ;\nSize = {pixels.nbytes} ;\nDataType = FloatValue ;\nByteOrder = LowByteFirst ;\n"
    )
    head = f"{{\nHeaderID = EH:000001:000000:000000 ;\nImage = 1 ;\n{facts}"
    Path("pattern.edf").write_bytes(head.ljust(1022).encode() + b"}\n" + pixels.tobytes())
    assert pr.io.load_intensity("pattern.edf", kind="intensity").fourier_shape == (24, 20)


def pictures_are_read() -> None:
    rows = b"".join(b"\0" + bytes(range(9 * row, 9 * row + 9)) for row in range(1, 11))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 9, 10, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = (struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x)) for name, x in chunks)
    Path("picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    assert pr.io.load_object("picture.png").shape == (10, 9)


def crystals_are_strained() -> None:
    solve().save("result.vti")
    assert Path("result.vti").read_bytes().startswith(b"<?xml")
    obj = pr.datasets.strained_crystal((10, 10, 10), generator=torch.Generator().manual_seed(0))
    field = pr.crystals.strain(obj, (0.0, 0.0, 3e10), voxels=(1e-8, 1e-8, 1e-8))
    pr.plotting.save_figure("field.png", field.plot())


def losses_can_be_tested() -> None:
    from phaseret import testing

    testing.assert_invariant(pr.losses.PassiveLoss())


PROMISES: list[tuple[str, Callable[[], None]]] = [
    ("", losses_have_gradients),
    ("", solvers_solve),
    ("", networks_answer),
    ("", results_are_saved),
    ("", the_command_runs),
    ("train", metrics_have_classes),
    ("train", networks_are_saved),
    ("train", lightning_trains),
    ("demo", digits_are_there),
    ("demo", pictures_are_drawn),
    ("demo", progress_is_shown),
    ("io", hdf5_is_written_and_read),
    ("io", tiff_is_read),
    ("io", edf_is_read),
    ("io", pictures_are_read),
    ("crystals", crystals_are_strained),
    ("testing", losses_can_be_tested),
]


def names(message: str, extra: str) -> bool:
    """Whether the message is one line that says how to get the extra."""
    return message.endswith(f'pip install "phaseret[{extra}]".') and "\n" not in message


def main() -> None:
    installed = {"", *sys.argv[1:]} | ({"train"} if "demo" in sys.argv else set())
    kept, refused = 0, 0
    for extra, promise in PROMISES:
        try:
            promise()
            kept += 1
        except ImportError as error:
            # Lightning is the user's own import.
            if extra in installed or not (promise is lightning_trains or names(str(error), extra)):
                raise
            refused += 1
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "numpy", "scipy"))
    print(f"Python {platform.python_version()}, {versions}: {kept} promises kept, {refused} name their extra")


if __name__ == "__main__":
    main()
