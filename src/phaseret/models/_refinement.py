"""Networks between runs of a classical solver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from phaseret import _checks
from phaseret._module import Spelled, called_as

Solver = Callable[..., Any]


class IterativeRefinement(Spelled):
    r"""A solver, a network that cleans what it gave, the solver from there, and so on: deep iterative reconstruction.

    .. math:: x_1 = N_1(S_1(Y)), \qquad x_{k+1} = N_{k+1}(S_{k+1}(Y, x_k))

    The solver brings the estimate to the data, the network removes the artefacts that the solver leaves; a network
    alone would invent, the solver alone would stagnate. Train the networks one after the other, each on what
    :meth:`before` gives for it; no gradient runs through the solvers.

    Args:
        solvers: Called as ``solver(intensity)`` in the first stage and ``solver(intensity, init=estimate)`` in the
            later ones; gives an estimate, or a result with the estimate as its `obj`, as those of `phaseret.solvers`
            do (with ``functools.partial`` for their other options). One for each network, or one for all.
        networks: From estimate to estimate, such as `DnCNN`; one for each stage.

    Shape:
        - intensity: (*, m1..md)
        - mask: boolean, True where measured; broadcasts to the data. Solvers get it as ``mask=mask``
        - output: (*, n1..nd)

    Raises:
        TypeError: if a solver cannot be called, does not give a tensor, or a network is not a Module.
        ValueError: if their numbers differ, or a stage does not exist.

    Example:
        >>> from functools import partial
        >>> box = torch.ones(8, 8, dtype=torch.bool)
        >>> hio = partial(pr.solvers.HIO(n_iter=20), support=box, constraint="nonnegative")
        >>> net = IterativeRefinement(hio, [pr.models.DnCNN(depth=3, channels=4).eval() for _ in range(2)])
        >>> net(torch.rand(2, 16, 16)).shape
        torch.Size([2, 8, 8])

    Source:
        Işıl, Oktem, Koç (2019), Deep iterative reconstruction for phase retrieval, doi:10.1364/AO.58.005422: two
        U-Nets, the first one used several times with HIO between, the second one at the end; the first solver is the
        best of 50 short runs of HIO, continued for 1000 iterations. Solvers and networks are the caller's here; a
        network may stand in the list more than once. ``experiments/zoo/natural128.py`` does as the source does.
    """

    def __init__(self, solvers: Solver | Sequence[Solver], networks: Sequence[nn.Module]) -> None:
        super().__init__()
        _checks.sequence("networks", networks, "networks", "Give one for each stage, such as [network]")
        networks = list(networks)
        if not networks:
            _checks.fail("networks must hold at least one network, got an empty list", "Give one for each stage")
        for network in networks:
            if not isinstance(network, nn.Module):
                got = type(network).__name__
                _checks.fail(
                    f"networks must hold torch.nn.Modules, got {got}", "Give one for each stage", error=TypeError
                )
        given = list(solvers) if isinstance(solvers, Sequence) else [solvers]
        for solver in given:
            if not callable(solver):
                got = type(solver).__name__
                _checks.fail(
                    f"solvers must hold what can be called, got {got}",
                    "Use a solver such as phaseret.solvers.HIO(50)",
                    error=TypeError,
                )
        if len(given) not in (1, len(networks)):
            _checks.fail(
                f"solvers must be one or {len(networks)}, one for each network, got {len(given)}",
                "Give one for all networks, or one each",
            )
        self.solvers: list[Solver] = given * (len(networks) // len(given))
        self.networks = nn.ModuleList(networks)

    def forward(self, intensity: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """The estimate of the last network: (*, m1..md) -> (*, n1..nd)."""
        x: Tensor = self.networks[-1](self.before(intensity, len(self.networks) - 1, mask=mask))
        return x

    __call__ = called_as(forward)

    def before(self, intensity: Tensor, stage: int, *, mask: Tensor | None = None) -> Tensor:
        """What the network of a stage is given, counted from 0: what its solver gave, without a gradient."""
        _checks.real(intensity=intensity)
        stage = _checks.integer("stage", stage, at_least=0)
        if stage >= len(self.networks):
            _checks.fail(
                f"stage must be below {len(self.networks)}, the number of networks, got {stage}", "Count from 0"
            )
        known = {} if mask is None else {"mask": _checks.mask(mask, intensity)}
        with torch.no_grad():
            x = self._solved(self.solvers[0](intensity, **known))
            for solver, network in zip(self.solvers[1 : stage + 1], self.networks, strict=False):
                x = self._solved(solver(intensity, init=network(x), **known))
        return x

    def _solved(self, result: Any) -> Tensor:
        """The estimate in what a solver gave."""
        x = getattr(result, "obj", result)
        if not isinstance(x, Tensor):
            rule = f"solvers must give a tensor, or a result with a tensor obj, got {type(result).__name__}"
            _checks.fail(rule, "Use a solver such as phaseret.solvers.HIO(50)", TypeError)
        return x.detach()
