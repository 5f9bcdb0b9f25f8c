"""Unrolled projections: a few iterations of a classical algorithm whose relaxation and denoisers are learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from phaseret import _checks, _fft
from phaseret._module import called_as
from phaseret.models._layers import CONV, LARGEST_STEP, Model, as_items, check_weights, normalised, times
from phaseret.projections import CONSTRAINTS, Constraint, MagnitudeConstraint, ObjectConstraint
from phaseret.projections._object import hio_update, raar_update

Algorithm = Literal["hio", "raar"]
_UPDATES = {"hio": hio_update, "raar": raar_update}


class Unrolled(Model):
    r"""HIO or RAAR cut into stages, each with a relaxation of its own and a small network behind it, all learned.

    In stage k, with the projections :math:`P_M` and :math:`P_S` on the data and on what is known of the object,

    .. math:: x \leftarrow A_{\beta_k}^{I}(x), \qquad e = P_S P_M x, \qquad x \leftarrow x + R_k(e)

    where A is one iteration of the algorithm, I their number and :math:`R_k` a network on the object's box. The
    estimate is :math:`P_S` of the last :math:`e + R_k(e)`. The networks start at 0: before training this is the
    algorithm itself, and 2 I K + 2 K transforms are what it costs (2 I K + 2 without networks). All of it scales with
    the data.

    Trained stage by stage (:meth:`estimates`) on 6,000 digits, six stages of five iterations of RAAR with learned
    relaxations alone reach 23.8 dB from random starts; RAAR with as many projections 18.5 dB at 0.9 and 19.7 with
    its best constant relaxation, HIO 20.1 and 20.7 dB (aligned PSNR of 500 other digits). HIO gains nothing from
    learned relaxations (20.2 dB). Networks make the worst estimates better and the best ones worse: HIO 21.85 against
    21.75 dB with its best relaxation, RAAR 22.4 against 21.9 dB, but hardly any digit is solved exactly (protocol
    ``mnist64`` of the leaderboard).

    Args:
        object_shape: Object sizes (n1, ..., nd), d = 1, 2 or 3; the object lies in the corner of the grid.
        fourier_shape: Data sizes (m1, ..., md) with m >= 2n - 1.
        algorithm: "hio" or "raar".
        stages: Number K of stages.
        n_iter: Number I of iterations of each stage.
        beta: What each relaxation starts from.
        constraint: "nonnegative", "real" or "complex".
        channels: Width of the networks, two layers each; 0 for none.
        undersampled: Allow m < 2n - 1 (but m >= n), where other objects have the same data. A warning says so once.

    Shape:
        - intensity: (*, m1..md), zero frequency at index 0
        - init: (*, m1..md) or (*, n1..nd). Default: one random image for all, learned as well
        - mask: boolean, True where measured; broadcasts to the data. Unmeasured pixels are free
        - output: (*, n1..nd)

    Raises:
        TypeError: if an argument is of the wrong kind, or intensity is complex.
        ValueError: if an option is unknown, m < 2n - 1 without `undersampled`, or a tensor has other sizes.

    Example:
        >>> net = Unrolled((28, 28), (64, 64), stages=3, n_iter=5, channels=8)
        >>> net(torch.rand(4, 64, 64)).shape
        torch.Size([4, 28, 28])

    Source:
        The algorithms: Fienup (1982), doi:10.1364/AO.21.002758, and Luke (2005), doi:10.1088/0266-5611/21/1/004;
        unrolling: Gregor, LeCun (2010), Learning fast approximations of sparse coding. That networks take turns with
        HIO is from Işıl, Oktem, Koç (2019), doi:10.1364/AO.58.005422; here they are trained through it.
    """

    renamed: ClassVar = {"iterations": "n_iter"}
    support: Tensor

    def __init__(
        self,
        object_shape: Sequence[int],
        fourier_shape: Sequence[int],
        *,
        algorithm: Algorithm = "hio",
        stages: int = 5,
        n_iter: int = 10,
        beta: float = 0.9,
        constraint: Constraint = "nonnegative",
        channels: int = 32,
        undersampled: bool = False,
    ) -> None:
        super().__init__()
        self.object_shape = _checks.shape("object_shape", object_shape)
        self.fourier_shape = _checks.shape("fourier_shape", fourier_shape)
        _checks.flag(undersampled=undersampled)
        _checks.fourier_shape(self.fourier_shape, self.object_shape, undersampled)
        _checks.choice("algorithm", algorithm, get_args(Algorithm))
        _checks.choice("constraint", constraint, CONSTRAINTS)
        stages = _checks.integer("stages", stages)
        self.n_iter = _checks.integer("n_iter", n_iter)
        beta = _checks.number("beta", beta, above=0, at_most=LARGEST_STEP)
        channels = _checks.integer("channels", channels, at_least=0)
        check_weights("channels", stages * channels**2)
        self.algorithm, self.constraint = algorithm, constraint
        self.beta = nn.Parameter(torch.full((stages,), beta))
        parts = 2 if constraint == "complex" else 1
        self.start = nn.Parameter(torch.rand(parts, math.prod(self.object_shape)))
        d = len(self.object_shape)
        self.networks = nn.ModuleList(_residual(d, parts, channels) for _ in range(stages if channels else 0))
        support = torch.zeros(self.fourier_shape, dtype=torch.bool)
        support[tuple(slice(n) for n in self.object_shape)] = True
        self.register_buffer("support", support, persistent=False)
        self.options = {
            "object_shape": self.object_shape,
            "fourier_shape": self.fourier_shape,
            "algorithm": algorithm,
            "stages": stages,
            "n_iter": self.n_iter,
            "beta": beta,
            "constraint": constraint,
            "channels": channels,
            "undersampled": undersampled,
        }

    def forward(self, intensity: Tensor, init: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        """The estimate: (*, m1..md) -> (*, n1..nd)."""
        return self._run(intensity, init, mask, apart=False)[-1]

    __call__ = called_as(forward)

    def estimates(self, intensity: Tensor, init: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        """The estimate of each stage, through which no gradient runs into the stages before it.

        The gradient through all stages grows with every iteration, a million times after a few tens. Trained on the
        mean of these estimates' losses, each stage learns to make the best of what it is given.

        Args:
            intensity: Measured intensity.
            init: As for a call.
            mask: As for a call.

        Shape:
            - intensity: (*, m1..md)
            - output: (stages, *, n1..nd)

        Returns:
            Real or complex tensor; its last entry is what a call gives.
        """
        return torch.stack(self._run(intensity, init, mask, apart=True))

    def _run(self, intensity: Tensor, init: Tensor | None, mask: Tensor | None, apart: bool) -> list[Tensor]:
        """The estimates of the stages that need one: all with `apart` or networks, else the last."""
        d = len(self.fourier_shape)
        items = as_items(intensity, self.fourier_shape, self.beta, mask)
        mask = None if mask is None else mask.expand_as(intensity).reshape(items.shape)
        batch = intensity.shape[:-d]
        found, update = [], _UPDATES[self.algorithm]
        with _fft.full_precision(intensity):
            seen, scale = normalised(items, math.prod(self.object_shape), "real")
            data = MagnitudeConstraint(_fft.root(seen), mask=mask, real=self.constraint != "complex", ndim=d)
            known = ObjectConstraint(support=self.support, constraint=self.constraint, ndim=d, dtype=items.dtype)
            x = self._first(items) if init is None else self._given(init, batch, scale)
            x = _fft.pad(x, self.fourier_shape)
            for k, beta in enumerate(self.beta.to(items.dtype)):
                if apart and k:
                    x = x.detach()
                for _ in range(self.n_iter):
                    x = update(x, data.project(x), known, beta)
                if not (apart or len(self.networks) or k == len(self.beta) - 1):
                    continue
                estimate = known.project(data.project(x))
                if len(self.networks):
                    change = self._change(k, estimate)
                    x, estimate = x + change, known.project(estimate + change)
                found.append(times(_fft.crop(estimate, self.object_shape), scale).reshape(*batch, *self.object_shape))
        return found

    def _change(self, k: int, estimate: Tensor) -> Tensor:
        """What the network of stage k adds to an estimate, on the grid of the data."""
        box, d = _fft.crop(estimate, self.object_shape), len(self.object_shape)
        parts = torch.view_as_real(box).movedim(-1, 1) if box.is_complex() else box[:, None]
        change = self.networks[k](parts.to(self.beta.dtype)).to(parts.dtype)
        whole = torch.complex(change[:, 0], change[:, 1]) if box.is_complex() else change[:, 0]
        return _fft.pad(whole.reshape(-1, *box.shape[-d:]), self.fourier_shape)

    def _first(self, items: Tensor) -> Tensor:
        """The learned start, the same for all items."""
        start = self.start.to(items.dtype)
        whole = torch.complex(start[0], start[1]) if self.constraint == "complex" else start[0]
        return whole.reshape(self.object_shape).expand(len(items), *self.object_shape)

    def _given(self, init: Tensor, batch: Sequence[int], scale: Tensor) -> Tensor:
        """A start that was given, in units of the scale of each item."""
        _checks.floating(init=init)
        _checks.same_device(init=init, network=self.beta)
        shapes = ((*batch, *self.object_shape), (*batch, *self.fourier_shape))
        if tuple(init.shape) not in shapes:
            _checks.fail(
                f"init must have the shape {shapes[0]} or {shapes[1]}, got {tuple(init.shape)}", "Pad or crop it"
            )
        if init.is_complex() and self.constraint != "complex":
            fix = "Use init.real"
            _checks.fail(f"init must be real for constraint={self.constraint!r}, got {init.dtype}", fix, TypeError)
        x = _fft.promote(init).reshape(-1, *init.shape[len(batch) :])
        if self.constraint == "complex":
            x = x.to(_fft.to_complex(scale.dtype))
        return times(x.to(torch.promote_types(x.dtype, scale.dtype)), 1 / _fft.divisor(scale))


def _residual(d: int, parts: int, channels: int) -> nn.Sequential:
    """Two convolutions whose last weights are 0."""
    first, last = (CONV[d](before, after, 3, padding=1) for before, after in ((parts, channels), (channels, parts)))
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return nn.Sequential(first, nn.ReLU(), last)
