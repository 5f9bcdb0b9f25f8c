"""A residual network that starts from what physics can say at once: the wave propagated back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from phaseret import _checks, _fft
from phaseret._module import called_as
from phaseret.models._layers import (
    CONV,
    NORM,
    OUTPUTS,
    Model,
    Output,
    as_estimate,
    as_items,
    levels,
    normalised,
    resized,
    times,
)
from phaseret.operators import Operator

Sees = Literal["approximant", "intensity"]
Kind = Literal["phase"] | Output
_KINDS: dict[Any, int] = {"phase": 1, **OUTPUTS}


class ResidualNet(Model):
    r"""A residual encoder and decoder on an approximant of the object, for few photons in the near field.

    .. math:: g(Y) = N(A^H \sqrt{Y})

    The approximant is the measured magnitude with phase 0, propagated back through the operator (divided by its root
    mean square): the first half of an iteration of Gerchberg and Saxton. It puts each detail where it belongs, and the
    network has only the rest to learn. ``sees="intensity"`` shows the same network the data alone, for comparison.

    Args:
        operator: The measurement, such as :class:`phaseret.operators.Fresnel`; any with one intensity per object.
        object_shape: Object sizes (n1, ..., nd).
        sees: "approximant" or "intensity"; for the latter the data must lie on the object's grid.
        output: "phase" (a pure phase object, exp(i phase)), or any of :class:`UNet`; those but "phase" and "unit"
            follow the scale of the data.
        channels: Width of each level, from the finest; the grid halves from one to the next.

    Shape:
        - intensity: (*, data)
        - mask: boolean, True where measured; broadcasts to the data. Default: everywhere
        - output: (*, n1..nd)

    Raises:
        TypeError: if operator is not an Operator, an argument is of the wrong kind, or intensity is complex.
        ValueError: if an option is unknown, or the sizes do not fit.

    Example:
        >>> near = pr.operators.Fresnel((28, 28), fresnel_number=0.1)
        >>> net = ResidualNet(near, (28, 28), channels=(8, 16)).eval()
        >>> net(torch.rand(4, 28, 28)).dtype
        torch.complex64

    Source:
        Goy, Arthur, Li, Barbastathis (2018), Low photon count phase retrieval using deep learning,
        doi:10.1103/PhysRevLett.121.243902. In the source the network sees the phase of the approximant; here it sees
        real and imaginary part, which do not jump. Widths, depth and loss are the caller's.
        On the leaderboard (``near_field``) the approximant gained 1.0 dB over the intensity on digits and 0.3 dB on
        patches of photographs with one photon per pixel, and nothing on digits with ten (25.1 and 25.2 dB).
    """

    given = ("operator",)
    decoder = ("up", "last")

    def __init__(
        self,
        operator: Operator,
        object_shape: Sequence[int],
        *,
        sees: Sees = "approximant",
        output: Kind = "phase",
        channels: Sequence[int] = (32, 64, 128),
    ) -> None:
        super().__init__()
        Operator.check(operator)
        self.object_shape = _checks.shape("object_shape", object_shape)
        d = len(self.object_shape)
        if operator.object_ndim != d:
            _checks.fail(
                f"object_shape must have {operator.object_ndim} sizes, got {self.object_shape}",
                "Give one size for each axis of the object",
            )
        _checks.choice("sees", sees, get_args(Sees))
        _checks.choice("output", output, _KINDS)
        widths = levels("channels", channels)
        self.operator, self.sees, self.output = operator, sees, output
        with torch.no_grad():
            like = next(operator.buffers(), torch.zeros(()))
            probe = operator(torch.zeros(self.object_shape, device=like.device))
        self.data_shape = tuple(probe.shape)
        if sees == "intensity" and self.data_shape != self.object_shape:
            rule = f"sees='intensity' must have data of the object's shape {self.object_shape}, got {self.data_shape}"
            _checks.fail(rule, "Use sees='approximant'")
        self.first = CONV[d](2 if sees == "approximant" else 1, widths[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for before, width in zip([widths[0], *widths], widths, strict=False):
            self.down.append(_Block(d, before, width, 2 if len(self.down) else 1))
        for before, width in zip(widths[:0:-1], widths[-2::-1], strict=True):
            self.up.append(_Block(d, before + width, width, 1))
        self.last = CONV[d](widths[0], _KINDS[output], 1)
        self.options = {"object_shape": self.object_shape, "sees": sees, "output": output, "channels": tuple(widths)}

    def forward(self, intensity: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """The estimate: (*, data) -> (*, n1..nd)."""
        weight = self.last.weight
        items = as_items(intensity, self.data_shape, weight, mask)
        with _fft.full_precision(intensity):
            seen, scale = normalised(items, math.prod(self.object_shape), "real")
            if self.sees == "approximant":
                wave = self.operator.adjoint(_fft.root(seen) + 0j, self.object_shape)
                power = _fft.power(wave).mean(tuple(range(1, wave.ndim)), keepdim=True)
                wave = wave / _fft.divisor(power).sqrt()
                channels = torch.stack([wave.real, wave.imag], 1)
            else:
                channels = seen[:, None]
        x = self._network(channels.to(weight.dtype)).to(items.dtype)
        if self.output == "phase":
            found = torch.polar(torch.ones_like(x[:, 0]), x[:, 0])
        else:
            found = as_estimate(x, self.output)
            if self.output != "unit":
                found = times(found, scale)
        return found.reshape(*intensity.shape[: intensity.ndim - len(self.data_shape)], *self.object_shape)

    __call__ = called_as(forward)

    def _network(self, x: Tensor) -> Tensor:
        """The residual encoder and decoder, with skip connections between equal grids."""
        x = self.first(x)
        skipped = []
        for block in self.down:
            x = block(x)
            skipped.append(x)
        for block, skip in zip(self.up, skipped[-2::-1], strict=True):
            x = block(torch.cat([resized(x, skip.shape[2:]), skip], 1))
        return self.last(x)


class _Block(nn.Module):
    """Two convolutions beside a short cut, the first with the stride."""

    def __init__(self, d: int, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            CONV[d](before, after, 3, stride=stride, padding=1, bias=False),
            NORM[d](after),
            nn.ReLU(),
            CONV[d](after, after, 3, padding=1, bias=False),
            NORM[d](after),
        )
        self.short = CONV[d](before, after, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.short(x)).relu()
