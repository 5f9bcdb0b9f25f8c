"""How fast `InvariantLoss` and `align` are, against a bare rfft2 + irfft2 pair and plain torch.

    python -m benchmarks.speed_invariant_loss

Forward + backward, real objects n = m/2 in float32. "pair" is torch's rfft2 + irfft2 of the padded m x m batch. "plain"
is what one writes without the library: correlations of the padded estimate and of its flipped copy with the object by
fft2 and ifft2, the largest value of both, the expanded square, and its backward pass; it loses digits near zero and
keeps all the m x m tensors. "flip off" and "soft" are options of `InvariantLoss`; "complex" is the loss of complex
objects with a global phase, to be compared with two pairs. "align" has no backward pass.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

import phaseret as pr
from benchmarks.timing import compare
from results.provenance import save_speed

CASES = [(16, 128, 256), (2, 512, 1024), (256, 28, 64)]
HEAVY = ("soft", "complex", "plain")


def main() -> None:
    """Measure all cases and write results/speed_invariant_loss.json."""
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    for items, n, m in CASES:
        estimate, obj = torch.rand(items, n, n, device=device), torch.rand(items, n, n, device=device)
        estimate.requires_grad_()
        field = torch.polar(estimate.detach(), obj * 6).requires_grad_()
        other = field.detach().roll(1, 0)
        padded = F.pad(obj, (0, m - n, 0, m - n))

        def gradient(x: Tensor = estimate, y: Tensor = obj, grid: tuple[int, int] = (m, m), **options: float) -> Tensor:
            return torch.autograd.grad(pr.losses.invariant_loss(x, y, fourier_shape=grid, **options), x)[0]

        def plain(x: Tensor = estimate, y: Tensor = obj, n: int = n, m: int = m) -> Tensor:
            target = torch.fft.fft2(y, s=(m, m))
            spectra = torch.fft.fft2(torch.stack([x, x.flip(-2, -1)], 1), s=(m, m))
            correlation = torch.fft.ifft2(spectra.conj() * target[:, None]).real
            squares = x.square().sum((1, 2)) + y.square().sum((1, 2))
            value = (squares - 2 * correlation.flatten(1).amax(1)).mean() / n**2
            return torch.autograd.grad(value, x)[0]

        candidates: dict[str, Callable[[], object]] = {
            "pair": lambda p=padded, m=m: torch.fft.irfft2(torch.fft.rfft2(p), s=(m, m)),
            "InvariantLoss": gradient,
            "flip off": lambda g=gradient: g(flip=False),
            "soft": lambda g=gradient: g(temperature=0.01),
            "complex": lambda g=gradient, x=field, y=other: g(x, y),
            "plain": plain,
            "align": lambda x=estimate, y=obj, m=m: pr.symmetry.align(x.detach(), y, fourier_shape=(m, m)).aligned,
        }
        torch.testing.assert_close(candidates["InvariantLoss"](), plain(), rtol=1e-3, atol=1e-7)
        # Those that need hundreds of megabytes are measured apart: they would make the others fetch their memory anew.
        measured = compare({name: f for name, f in candidates.items() if name not in HEAVY}, "pair")
        measured |= {
            name: compare({"pair": candidates["pair"], name: candidates[name]}, "pair")[name] for name in HEAVY
        }
        for name, figures in measured.items():
            rows.append(
                {
                    "case": f"{items}x({n}->{m})",
                    "method": name,
                    **{key: round(value, 3) for key, value in figures.items()},
                    "plain_over_this": round(measured["plain"]["ratio"] / figures["ratio"], 2),
                }
            )
            print(*rows[-1].values(), sep="\t")
    save_speed("speed_invariant_loss", rows)


if __name__ == "__main__":
    main()
