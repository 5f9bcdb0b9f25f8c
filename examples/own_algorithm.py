"""A projection algorithm of your own, beside those of the library.

    python examples/own_algorithm.py

The loop, the starts, the constraints and the judging are the library's; an algorithm is a class with one formula. This
one is DRAP: Thao (2018), A convergent relaxation of the Douglas-Rachford algorithm, doi:10.1007/s10589-018-9989-y,
which goes from alternating projections (lam = 0) to Douglas-Rachford (lam = 1):

    T = P_A((1 + lam) P_B - lam) - lam (P_B - 1),  with A what is known of the object and B what was measured.

Prints how many of 40 digits each algorithm solves from one random start, and its residual.

Time on one core: 8 s; without vector instructions: 9 s.
"""

from __future__ import annotations

from torch import Tensor

import phaseret as pr


class DRAP(pr.solvers.Algorithm):
    """Iterate x; p is P_M of what `query` gives (x itself, unless you write one); known.project is P_S."""

    lam: float

    def __init__(self, n_iter: int = 1000, *, lam: float = 0.95) -> None:
        super().__init__(n_iter, lam=lam)  # kept as self.lam, and shown by repr

    def iterate(self, x: Tensor, p: Tensor, known: pr.projections.ObjectConstraint, n: int) -> Tensor:
        return known.project((1 + self.lam) * p - self.lam * x) - self.lam * (p - x)


def main(digits: int = 40, n_iter: int = 600) -> dict[str, float]:
    """The share of the digits that each algorithm solves."""
    objects = pr.datasets.mnist(train=False)[:digits]
    intensity = pr.operators.fourier_intensity(objects, (64, 64))
    support = objects.new_ones(28, 28).bool()
    algorithms: dict[str, pr.solvers.Step] = {
        "DRAP": DRAP(n_iter),
        "DRAP, then error reduction": pr.solvers.Recipe(DRAP(n_iter - 100), pr.solvers.ErrorReduction(100)),
        "RAAR": pr.solvers.RAAR(n_iter),
        "HIO": pr.solvers.HIO(n_iter),
        "RRR": pr.solvers.RRR(n_iter),
    }
    solved = {}
    for name, algorithm in algorithms.items():
        result = algorithm(intensity, support=support, constraint="nonnegative", starts=1, seed=0)
        solved[name] = float(pr.metrics.success_rate(result.obj, objects))  # error below 5 % after shift and flip
        print(f"{name:>26}: {solved[name]:4.0%} solved, median residual {result.error.median():.1e}", flush=True)
    return solved


if __name__ == "__main__":
    main()
