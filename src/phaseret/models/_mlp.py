"""Fully connected networks: every value of the data sees every pixel of the object."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret._module import called_as
from phaseret.models._layers import (
    OUTPUTS,
    Model,
    Output,
    as_estimate,
    as_items,
    dense,
    normalised,
    plain_units,
    times,
)


class MLP(Model):
    r"""Fully connected layers from the magnitudes to the object.

    .. math:: g(Y) = s \, N(\sqrt{Y} / s), \qquad s^2 = \frac{1}{m_1 \cdots m_d} \sum_k Y_k

    with s = 1 for ``output="unit"``. It knows nothing of the measurement, so the data may be of any kind and size: also
    Fourier data with m = n, which do not determine the object by themselves (Hayes asks for m >= 2n - 1, and nothing
    here does), and the vectors of :class:`phaseret.operators.Gaussian`. On raw magnitudes it is better than a plain
    convolutional network, since a frequency says as much about one pixel as about any other.

    Args:
        object_shape: Object sizes (n1, ..., nd), d = 1, 2 or 3.
        data_shape: Sizes of one measurement, any; the `data_shape` of an operator.
        width: Width of the hidden layers.
        depth: Number of layers, at least 2.
        output: "unit" (between 0 and 1), "nonnegative", "real", and for complex objects "modulus_phase" or
            "real_imaginary".

    Shape:
        - intensity: (*, data_shape)
        - mask: boolean, True where measured; broadcasts to the data. Default: everywhere
        - output: (*, n1..nd)

    Raises:
        TypeError: if an argument is of the wrong kind, or intensity is complex.
        ValueError: if an option is unknown, or intensity has other sizes.

    Example:
        >>> net = MLP((28, 28), (28, 28), width=64).eval()
        >>> net(torch.rand(4, 28, 28)).shape
        torch.Size([4, 28, 28])

    Source:
        Uelwer, Oberstraß, Harmeling (2019), Phase retrieval using conditional generative adversarial networks,
        arXiv:1912.04981, the end-to-end network of its comparison: five layers of 2048, ReLU, batch normalisation on
        the middle three, sigmoid, trained on ground truth. Its sigmoid starts at 0.5, this one at 0.12. It sees the
        plain sums of the Fourier transform; here the first layer's initial weights are larger by the square root of the
        number of data instead (from three layers on). Other outputs and their scale are ours. On MNIST with m = n
        (protocol mnist28 of the leaderboard) it reaches an aligned MSE of 0.0134 in 30 epochs of distorted digits; the
        source reports 0.0163 after 100. Real data (M,) to real vectors (n,): Tayal, Lai, Kumar, Sun (2020), Inverse
        problems, deep learning, and symmetry breaking, arXiv:2003.09077, where one sign of each target is chosen before
        training.
    """

    def __init__(
        self,
        object_shape: Sequence[int],
        data_shape: Sequence[int],
        *,
        width: int = 2048,
        depth: int = 5,
        output: Output = "unit",
    ) -> None:
        super().__init__()
        self.object_shape = _checks.shape("object_shape", object_shape)
        self.data_shape = _checks.shape("data_shape", data_shape)
        width, depth = _checks.integer("width", width), _checks.integer("depth", depth, at_least=2)
        _checks.choice("output", output, OUTPUTS)
        self.output = output
        self.layers = dense(math.prod(self.data_shape), width, depth, OUTPUTS[output] * math.prod(self.object_shape))
        plain_units(self.layers, slice(None), math.prod(self.data_shape))
        self.decoder = tuple(f"layers.{i}" for i in range(len(self.layers) // 2, len(self.layers)))
        self.options = {
            "object_shape": self.object_shape,
            "data_shape": self.data_shape,
            "width": width,
            "depth": depth,
            "output": output,
        }

    def forward(self, intensity: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """The estimate: (*, data_shape) -> (*, n1..nd)."""
        return self._estimate(intensity, mask)

    __call__ = called_as(forward)

    def _estimate(self, intensity: Tensor, mask: Tensor | None, more: Tensor | None = None) -> Tensor:
        """The estimate of the network that sees `more` numbers (*, ...) of each item before its data."""
        weight = self._weight()
        items = as_items(intensity, self.data_shape, weight, mask)
        seen, scale = normalised(items, math.prod(self.data_shape), self.output)
        seen = _fft.root(seen).flatten(1)
        if more is not None:
            seen = torch.cat([more.reshape(items.shape[0], -1).to(seen.dtype), seen], 1)
        x = self.layers(seen.to(weight.dtype)).reshape(items.shape[0], OUTPUTS[self.output], *self.object_shape)
        x = times(as_estimate(x.to(items.dtype), self.output), scale)
        return x.reshape(*intensity.shape[: -len(self.data_shape)], *self.object_shape)
