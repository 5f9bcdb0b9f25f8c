"""How fast and how small `PassiveLoss` is: forward + backward against a bare rfft2 + irfft2 pair and plain torch.

    python -m benchmarks.speed_passive_loss

Real objects n = m/2 in float32. "pair" is torch's rfft2 + irfft2 of the padded m x m batch. "plain" is what one
writes without the library, ``mse_loss(fft2(x, s).abs(), intensity.sqrt())`` and its backward pass. "extra_mib" is the
peak of allocations during forward + backward beyond the arguments, as the profiler counts them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

import phaseret as pr
from benchmarks.timing import allocated, compare
from results.provenance import save_speed

CASES = [(16, 128, 256), (2, 512, 1024), (256, 28, 64)]


def main() -> None:
    """Measure all cases and write results/speed_passive_loss.json."""
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    for items, n, m in CASES:
        estimate = torch.rand(items, n, n, device=device, requires_grad=True)
        obj = torch.rand(items, n, n, device=device)
        padded = F.pad(obj, (0, m - n, 0, m - n))
        onesided = pr.operators.FourierIntensity((m, m), onesided=True)
        half, full = onesided(obj), pr.operators.fourier_intensity(obj, (m, m))
        of_half, of_full = pr.losses.PassiveLoss(onesided), pr.losses.PassiveLoss()

        def gradient(value: torch.Tensor, estimate: torch.Tensor = estimate) -> torch.Tensor:
            return torch.autograd.grad(value, estimate)[0]

        def plain(estimate: torch.Tensor = estimate, full: torch.Tensor = full, m: int = m) -> torch.Tensor:
            spectrum = torch.fft.fft2(estimate, s=(m, m), norm="ortho")
            return torch.autograd.grad(F.mse_loss(spectrum.abs(), full.sqrt()), estimate)[0]

        candidates: dict[str, Callable[[], object]] = {
            "pair": lambda p=padded, m=m: torch.fft.irfft2(torch.fft.rfft2(p), s=(m, m)),
            "onesided": lambda e=estimate, y=half, loss=of_half, g=gradient: g(loss(e, y)),
            "full": lambda e=estimate, y=full, loss=of_full, g=gradient: g(loss(e, y)),
            "plain": plain,
        }
        torch.testing.assert_close(candidates["full"](), candidates["plain"](), rtol=1e-3, atol=1e-7)
        torch.testing.assert_close(candidates["full"](), candidates["onesided"](), rtol=1e-3, atol=1e-7)
        measured = compare(candidates, "pair")
        memory = {name: allocated(candidates[name]) / 2**20 for name in ("onesided", "full", "plain")}
        for name, figures in measured.items():
            rows.append(
                {
                    "case": f"{items}x({n}->{m})",
                    "method": name,
                    **{key: round(value, 3) for key, value in figures.items()},
                    "plain_over_this": round(measured["plain"]["ratio"] / figures["ratio"], 2),
                    "extra_mib": round(memory[name], 2) if name in memory else None,
                }
            )
            print(rows[-1])
    save_speed("speed_passive_loss", rows)


if __name__ == "__main__":
    main()
