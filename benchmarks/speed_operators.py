"""How fast the operators are, forward and forward + backward, against bare transforms and plain torch.

    python -m benchmarks.speed_operators

float32. For the Fourier operators "bare" is torch's rfft2 (fft2 for complex objects) of the padded batch, and in the
rows with backward the pair rfft2 + irfft2; for the others it is fft2 of all exit waves and back, ready made. "plain"
is what one writes without the library: fft2 of the padded object (or of the exit waves) and ``abs()`` squared. Its
gradient and ours are those of a sum with random weights.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

import phaseret as pr
from benchmarks.timing import compare
from results.provenance import save_speed

FOURIER = [(16, 128, 256), (2, 512, 1024), (256, 28, 64)]
Measure = Callable[[Tensor], Tensor]


def gradient(measure: Measure, obj: Tensor, weights: Tensor) -> Tensor:
    return torch.autograd.grad(measure(obj), obj, weights)[0]


def cases(device: str) -> list[tuple[str, Tensor, Tensor, dict[str, Measure]]]:
    """(name, object, padded object or exit waves, measurements), the measurement "plain" among them."""
    found = []
    ops = pr.operators
    for items, n, m in FOURIER:
        for kind in ("real", "complex"):
            obj = torch.rand(items, n, n, device=device)
            obj = torch.polar(obj, 6 * obj) if kind == "complex" else obj
            measures: dict[str, Measure] = {
                "intensity": ops.FourierIntensity((m, m)),
                "magnitude": ops.FourierMagnitude((m, m)),
                "plain intensity": lambda x, m=m: torch.fft.fft2(x, s=(m, m), norm="ortho").abs().square(),
                "plain magnitude": lambda x, m=m: torch.fft.fft2(x, s=(m, m), norm="ortho").abs(),
            }
            if kind == "real":
                measures["onesided intensity"] = ops.FourierIntensity((m, m), onesided=True)
                measures["onesided magnitude"] = ops.FourierMagnitude((m, m), onesided=True)
            padded = F.pad(obj, (0, m - n, 0, m - n))
            found.append((f"Fourier {kind} {items}x({n}->{m})", obj, padded, measures))

    obj = torch.rand(4, 128, 128, device=device)
    obj = torch.polar(obj, 6 * obj)
    masks = ops.coded_masks((128, 128), 8).to(device)
    measures = {
        "intensity": ops.CodedDiffraction(masks),
        "plain intensity": lambda x: torch.fft.fft2(masks * x.unsqueeze(-3), norm="ortho").abs().square(),
    }
    found.append(("CodedDiffraction complex 4x128, 8 masks", obj, masks * obj.unsqueeze(-3), measures))

    window = torch.hann_window(64, device=device)
    probe = window[:, None] * window * torch.exp(1j * window)
    corners = torch.cartesian_prod(torch.arange(0, 65, 8), torch.arange(0, 65, 8))

    def patches(x: Tensor) -> Tensor:
        return torch.stack([x[..., i : i + 64, j : j + 64] for i, j in corners.tolist()], dim=-3)

    measures = {
        "intensity": ops.Ptychography(probe, corners.to(device)),
        "fractional intensity": ops.Ptychography(probe, (corners + 0.3).clamp_max(64).to(device)),
        "plain intensity": lambda x: torch.fft.fft2(probe * patches(x), norm="ortho").abs().square(),
    }
    found.append(("Ptychography complex 4x128, 81 probes of 64", obj, probe * patches(obj), measures))

    near = ops.Fresnel((256, 256), fresnel_number=0.01).to(device)
    kernel = near.kernel.to(torch.complex64)
    measures = {
        "intensity": near,
        "plain intensity": lambda x: (
            torch.fft.ifft2(torch.fft.fft2(x, s=(256, 256)) * kernel)[..., :128, :128].abs().square()
        ),
    }
    found.append(("Fresnel complex 4x(128->256)", obj, F.pad(obj, (0, 128, 0, 128)), measures))
    return found


def main() -> None:
    """Measure all cases and write results/speed_operators.json."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for case, obj, waves, measures in cases("cuda" if torch.cuda.is_available() else "cpu"):
        bare: dict[bool, Callable[[], object]] = {
            False: lambda w=waves: torch.fft.fft2(w) if w.is_complex() else torch.fft.rfft2(w),
            True: lambda w=waves: (
                torch.fft.ifft2(torch.fft.fft2(w))
                if w.is_complex()
                else torch.fft.irfft2(torch.fft.rfft2(w), s=w.shape[-2:])
            ),
        }
        obj.requires_grad_()
        for backward in (False, True):
            candidates = {"bare": bare[backward]}
            for name, measure in measures.items():
                weights = torch.rand_like(measure(obj).detach())
                if backward:
                    candidates[name] = lambda f=measure, w=weights, x=obj: gradient(f, x, w)
                else:
                    candidates[name] = lambda f=measure, x=obj: f(x.detach())
                plain = measures[f"plain {name.split()[-1]}"]
                if not name.startswith(("onesided", "fractional")):
                    torch.testing.assert_close(measure(obj), plain(obj), rtol=1e-3, atol=1e-4)
            for name, figures in compare(candidates, "bare", seconds=2.0).items():
                rows.append(
                    {
                        "case": case,
                        "backward": backward,
                        "method": name,
                        **{key: round(value, 3) for key, value in figures.items()},
                    }
                )
                way = "fwd+bwd" if backward else "fwd"
                print(f"{case:44} {way:8} {name:20} {figures['ms']:8.3f} ms {figures['ratio']:6.2f}")
    save_speed("speed_operators", rows)


if __name__ == "__main__":
    main()
