"""What the networks share: layers by dimension, the kinds of estimates, the check of the data."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from phaseret import _checks, _fft, _memory
from phaseret._module import Spelled, as_text

Output = Literal["nonnegative", "unit", "real", "modulus_phase", "real_imaginary"]
# Channels of the last layer: two make a complex estimate.
OUTPUTS: dict[Output, int] = {"nonnegative": 1, "unit": 1, "real": 1, "modulus_phase": 2, "real_imaginary": 2}
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class Model(Spelled):
    """A network that knows the options it was built with: `repr` shows them, and files hold them beside the weights.

    Attributes:
        options: The arguments that build it again.
        decoder: The submodules behind its narrowest layer, which :func:`phaseret.models.finetune` adapts.
        given: The arguments that no file can hold.
        renamed: What options were called in older files, and are called now.
        card: What the file says that it was loaded from.
    """

    options: dict[str, Any]
    card: dict[str, Any]
    decoder: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    renamed: ClassVar[Mapping[str, str]] = {}

    def _weight(self) -> Tensor:
        """One of the parameters: all have its dtype and device."""
        return next(self.parameters())

    def extra_repr(self) -> str:
        """The options."""
        return as_text(self.options)


@contextlib.contextmanager
def evaluating(network: Any) -> Iterator[None]:
    """A network, if it is a Module, is in evaluation mode; afterwards all of its parts are in the mode they were in."""
    modes = {part: part.training for part in network.modules()} if isinstance(network, nn.Module) else {}
    for part in modes:
        part.training = False
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


# Packages whose Modules around a network, as its `module`, change nothing of it.
_WRAP = ("torch", "lightning", "lightning_fabric", "deepspeed", "timm")


def unwrapped(model: nn.Module) -> nn.Module:
    """The network in what torch.compile, parallel and averaged training, also of other packages, wrap it in."""
    while type(model).__module__.partition(".")[0] in _WRAP:
        inner = getattr(model, "_orig_mod", getattr(model, "module", None))
        if not isinstance(inner, nn.Module):
            break
        model = inner
    return model


LARGEST_STEP = 1e30  # of a descent, which single precision holds


def levels(name: str, value: Any) -> list[int]:
    """A sequence of at least one positive integer, as a list."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        fix = "Give one width per level, such as (32, 64)"
        _checks.fail(f"{name} must be a sequence of integers, got {value!r}", fix, TypeError)
    if not value:
        _checks.fail(
            f"{name} must hold at least one level, got {value!r}", "Give one width per level, such as (32, 64)"
        )
    widths = [_checks.integer(name, one) for one in value]
    check_weights(name, sum(a * b for a, b in itertools.pairwise(widths)))
    return widths


def check_weights(name: str, count: int) -> None:
    """Memory holds a network of so many weights, unless it is made without any, to learn its shapes."""
    device = torch.empty(0).device
    if device.type != "meta":
        _memory.check_fits(name, 4.0 * count, "Use a smaller one", f"{count:,} weights", device)


def as_items(
    intensity: Tensor,
    expected: Sequence[int],
    weight: Tensor,
    mask: Tensor | None = None,
    fix: str = "Build the network with the sizes of the data",
) -> Tensor:
    """The data, checked, as one batch axis and the axes of one item, at least in single precision.

    An unmeasured pixel counts as 0, whatever stands there.
    """
    _checks.real(intensity=intensity)
    _checks.same_device(intensity=intensity, network=weight)
    _checks.item_shape("intensity", intensity, expected, fix)
    if mask is not None:
        intensity = intensity.where(_checks.mask(mask, intensity), 0)
    return _fft.promote(intensity).reshape(-1, *expected)


def dense(before: int, width: int, depth: int, after: int, dropout: float = 0.0) -> nn.Sequential:
    """`depth` fully connected layers with ReLU between them, and batch normalisation but for the first and last.

    Every other hidden layer, from the first on, drops a share of its values in training.
    """
    check_weights("width", width * (before + (depth - 2) * width + after))
    layers: list[nn.Module] = []
    for number, size in enumerate([before] + (depth - 2) * [width]):
        layers.append(nn.Linear(size, width))
        if number > 0:
            layers.append(nn.BatchNorm1d(width))
        layers.append(nn.ReLU())
        if dropout > 0 and number % 2 == 0:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(width, after))


def plain_units(layers: nn.Module, data: slice, size: int) -> None:
    """Multiply the initial weights of these inputs of `dense` layers, which are `size` magnitudes, by sqrt(size).

    They start as if they saw the plain sums of a Fourier transform instead of the unitary one. Without a normalisation
    among them they stay as they are, since the first estimates would be out of range.
    """
    assert isinstance(layers, nn.Sequential)
    first = layers[0]
    assert isinstance(first, nn.Linear)
    if any(isinstance(layer, nn.BatchNorm1d) for layer in layers):
        with torch.no_grad():
            first.weight[:, data] *= math.sqrt(size)


def as_estimate(x: Tensor, output: Output) -> Tensor:
    """The last layer's channels to an estimate of the kind `output`: (b, c, n1..nd) -> (b, n1..nd)."""
    if output == "nonnegative":
        return x[:, 0].relu()
    if output == "unit":
        return (x[:, 0] - 2).sigmoid()  # the first estimates are dark: sigmoid(-2) = 0.12
    if output == "real":
        return x[:, 0]
    if output == "modulus_phase":
        return torch.polar(x[:, 0].relu(), x[:, 1])
    return torch.complex(x[:, 0], x[:, 1])


def normalised(intensity: Tensor, count: int, output: Output) -> tuple[Tensor, Tensor]:
    """The data in units of the squared scale of each item, and the scale (b, 1..1): the root of its total / count.

    The scale is 1 for the output "unit", whose estimates have units already; dark data stay dark.
    """
    square = intensity.sum(tuple(range(1, intensity.ndim)), keepdim=True) / count
    if output == "unit":
        square = torch.ones_like(square)
    return intensity / _fft.divisor(square), _fft.root(square)


def times(x: Tensor, scale: Tensor) -> Tensor:
    """Items of any number of axes, each multiplied by its own scale (b, 1..1)."""
    return x * scale.reshape(-1, *[1] * (x.ndim - 1))


def resized(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Items (b, c, n1..nd) on a grid of another size, by nearest neighbours."""
    return nn.functional.interpolate(x, size=tuple(shape), mode="nearest")
