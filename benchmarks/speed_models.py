"""Parameters and speed of every network: as it is, with channels_last and bfloat16, and compiled.

    python -m benchmarks.speed_models [--seconds 2] [--compile]

A row is one network at one size, applied without gradients to a batch; the untrained ones give one object a call. Times
are per image. `pairs` is the time in units of a bare rfft2 + irfft2 pair of a batch of 32 patterns of 64 x 64 pixels,
per pattern; `bfloat16` and `compiled` are speed-ups over the plain network. torch.compile takes its default backend,
which needs a C++ compiler on a CPU and up to some minutes per network: only with --compile.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

import phaseret as pr
from benchmarks.timing import compare
from results.provenance import save_speed

BATCH, OBJECT, DATA = 32, (32, 32), (64, 64)
DIGIT = (28, 28)
IMAGE = (128, 128)


def networks() -> dict[str, tuple[nn.Module, Tensor | None]]:
    """Name -> (network, what it is applied to)."""
    models, data, digits = pr.models, torch.rand(BATCH, *DATA), torch.rand(BATCH, *DIGIT)
    hio = pr.solvers.HIO(50)

    def solver(intensity: Tensor, init: Tensor | None = None) -> Tensor:
        box = torch.ones(OBJECT, dtype=torch.bool, device=intensity.device)
        return hio(intensity, support=box, constraint="nonnegative", init=init).obj

    near = pr.operators.Fresnel(DIGIT, fresnel_number=0.1)
    return {
        "UNet": (models.UNet(OBJECT, DATA, output="unit"), data),
        "UNet, complex": (models.UNet(OBJECT, DATA, output="modulus_phase"), data),
        "UNet, small": (models.UNet(OBJECT, DATA, output="unit", channels=(16, 32, 64, 128)), data),
        "MLP": (models.MLP(DIGIT, DIGIT), digits),
        "PRCGANGenerator": (models.PRCGANGenerator(DIGIT, DIGIT), digits),
        "Cascade": (models.Cascade(DIGIT, DIGIT), digits),
        "ResidualNet": (models.ResidualNet(near, DIGIT), digits),
        "CorrelographyNet": (models.CorrelographyNet(OBJECT, DATA), data),
        "DnCNN": (models.DnCNN(), torch.rand(2, *IMAGE)),
        "Unrolled, 5 x 10 iterations": (models.Unrolled(OBJECT, DATA), data),
        "IterativeRefinement, 2 x 50 iterations": (
            models.IterativeRefinement(solver, [models.DnCNN(depth=5, channels=32) for _ in range(2)]),
            data,
        ),
        "DeepImagePrior": (models.DeepImagePrior(OBJECT), None),
        "DoubleDIP": (models.DoubleDIP(OBJECT), None),
    }


def call(net: Callable[..., Tensor], data: Tensor | None, bfloat16: bool = False) -> Callable[[], Tensor]:
    """One forward pass."""

    def run() -> Tensor:
        device = "cpu" if data is None else data.device.type
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            return net() if data is None else net(data)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each network")
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    field = torch.rand(BATCH, *DATA, device=device)
    pair = call(lambda x: torch.fft.irfft2(torch.fft.rfft2(x), DATA), field)
    rows: list[dict[str, object]] = []
    for name, (net, data) in networks().items():
        net = net.eval().to(device)
        data = None if data is None else data.to(device)
        candidates = {"plain": call(net, data), "pair": pair}
        if not name.startswith("IterativeRefinement"):  # its solver is not a network
            other = copy.deepcopy(net).to(memory_format=torch.channels_last)
            candidates["bfloat16"] = call(other, data, bfloat16=True)
            if options.compile:
                candidates["compiled"] = call(torch.compile(net), data)
        took = compare(candidates, "plain", seconds=options.seconds)
        images = 1 if data is None else len(data)
        milliseconds = took["plain"]["ms"] / images
        row: dict[str, object] = {
            "network": name,
            "parameters": sum(parameter.numel() for parameter in net.parameters()),
            "object": list(candidates["plain"]().shape[-2:]),
            "images_per_call": images,
            "images_per_second": round(1e3 / milliseconds, 1),
            "pairs": round(milliseconds / (took["pair"]["ms"] / BATCH), 1),
        }
        for way in ("bfloat16", "compiled"):
            row[way] = round(1 / took[way]["ratio"], 2) if way in took else None
        rows.append(row)
        print(row, flush=True)
    save_speed("speed_models", rows)


if __name__ == "__main__":
    main()
