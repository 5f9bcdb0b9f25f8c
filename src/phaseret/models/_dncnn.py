"""A denoiser: what the refining methods of this module know about images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from phaseret import _checks, _fft
from phaseret._module import called_as
from phaseret.models._layers import CONV, NORM, Model, check_weights


class DnCNN(Model):
    r"""The denoiser of Zhang et al. (2017): a plain stack of convolutions that predicts the noise.

    .. math:: D(x) = x - R(x)

    Args:
        ndim: Axes of one image: 1, 2 or 3.
        depth: Number of convolutions over 3 pixels, at least 2. Default: 17.
        channels: Width of the layers between. Default: 64.
        noise_map: Also show the network the level of the noise, as a constant image: one network for all levels.

    Shape:
        - x: (*, n1..nd)
        - sigma: a number, or a tensor (*) with one for each image
        - output: (*, n1..nd)

    Raises:
        TypeError: if x is not real floating, or sigma is missing from a network with a noise map.
        ValueError: if an option is out of range, or x has too few axes.

    Example:
        >>> net = DnCNN(depth=5, channels=8).eval()
        >>> net(torch.rand(4, 28, 28)).shape
        torch.Size([4, 28, 28])

    Source:
        Zhang, Zuo, Chen, Meng, Zhang (2017), Beyond a Gaussian denoiser, doi:10.1109/TIP.2017.2662206. The noise map
        is from their FFDNet (2018), doi:10.1109/TIP.2018.2839891; without one, sigma is taken and ignored, as for a
        network that was trained on one level or blindly. Images of any number of leading axes are independent items.
    """

    def __init__(self, *, ndim: int = 2, depth: int = 17, channels: int = 64, noise_map: bool = False) -> None:
        super().__init__()
        ndim = _checks.item_axes(ndim)
        _checks.flag(noise_map=noise_map)
        depth, channels = _checks.integer("depth", depth, at_least=2), _checks.integer("channels", channels)
        check_weights("channels", (depth - 2) * channels**2)
        self.ndim, self.noise_map = ndim, noise_map
        conv, norm = CONV[ndim], NORM[ndim]
        layers: list[nn.Module] = [conv(1 + noise_map, channels, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [conv(channels, channels, 3, padding=1, bias=False), norm(channels), nn.ReLU()]
        self.layers = nn.Sequential(*layers, conv(channels, 1, 3, padding=1))
        self.options = {"ndim": ndim, "depth": depth, "channels": channels, "noise_map": noise_map}

    def forward(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """The image without its noise: (*, n1..nd) -> (*, n1..nd)."""
        weight = self._weight()
        _checks.real(x=x)
        _checks.rank(self.ndim, x=x)
        _checks.same_device(x=x, network=weight)
        if isinstance(sigma, Tensor):
            _checks.real(sigma=sigma)
        elif sigma is not None:
            sigma = _checks.number("sigma", sigma, at_least=0)
        x = _fft.promote(x)
        items = x.reshape(-1, 1, *x.shape[x.ndim - self.ndim :])
        seen = items
        if self.noise_map:
            seen = torch.cat([items, self._map(x, sigma, items)], 1)
        return (items - self.layers(seen.to(weight.dtype)).to(x.dtype)).reshape(x.shape)

    __call__ = called_as(forward)

    def _map(self, x: Tensor, sigma: Any, like: Tensor) -> Tensor:
        """A constant image of the noise level of each item."""
        if sigma is None:
            fix = "Give the standard deviation of the noise, or build the network with noise_map=False"
            _checks.fail("sigma must be given to a network with a noise map, got None", fix, TypeError)
        batch = x.shape[: x.ndim - self.ndim]
        if not isinstance(sigma, Tensor):
            return torch.full_like(like, sigma)
        if sigma.numel() > 1 and [n for n in sigma.shape if n > 1] != [n for n in batch if n > 1]:
            _checks.fail(
                f"sigma must be one number or have the shape {tuple(batch)}, got {tuple(sigma.shape)}",
                "Give one level for all items, or one each",
            )
        return sigma.to(like).reshape(-1, *[1] * (like.ndim - 1)).expand_as(like)
