"""Untrained networks as priors: fitted to one measurement, without any training set."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from phaseret import _checks, _fft
from phaseret._module import called_as, seeded
from phaseret.models._layers import CONV, LARGEST_STEP, NORM, OUTPUTS, Model, Output, as_estimate, levels, resized
from phaseret.models._misfit import Misfit, descend, tracked


class _Prior(Model):
    """What the untrained networks share: they are called without data, and fitted to measurements one by one."""

    object_shape: tuple[int, ...]

    @torch.inference_mode(False)
    def fit(
        self,
        intensity: Tensor,
        *,
        n_iter: int = 1000,
        lr: float = 1e-2,
        operator: nn.Module | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        r"""Fit a copy of the network to each measurement.

        .. math:: \min_\theta \sum_k \big( |F g_\theta|_k - \sqrt{Y_k} \big)^2

        with Adam, whose learning rate falls to 0 along a cosine. Each item starts from the weights of this module,
        which are not changed: for another attempt make another network. The data are fitted in units of the root mean
        square of the object, and in full precision also under autocast.

        Args:
            intensity: Measured intensity.
            n_iter: Number of iterations of Adam.
            lr: Its first learning rate.
            operator: The measurement. Default: the unitary Fourier transform of the object padded to the size of
                the data.
            mask: True where measured. Default: everywhere.

        Shape:
            - intensity: (*, m1..md)
            - output: (*, n1..nd)

        Returns:
            The estimate of each item with the least misfit among all iterations.

        Raises:
            TypeError: if intensity is complex, or operator is not an Operator.
            ValueError: if an option is out of range.
        """
        n_iter, lr = _checks.integer("n_iter", n_iter), _checks.number("lr", lr, above=0, at_most=LARGEST_STEP)
        intensity, mask = tracked(intensity), tracked(mask)
        every = Misfit(intensity, len(self.object_shape), operator=operator, mask=mask)
        _checks.same_device(intensity=intensity, network=self._weight())
        axes = every.ndim
        batch, item = intensity.shape[: intensity.ndim - axes], intensity.shape[intensity.ndim - axes :]
        power = every.total.reshape(-1) / math.prod(self.object_shape)
        masks = [None] * len(power) if every.mask is None else every.mask.reshape(-1, *item).unbind()
        found = []
        for data, square, measured in zip(intensity.reshape(-1, *item), power, masks, strict=True):
            misfit = Misfit(data.to(square.dtype) / square, len(self.object_shape), operator=operator, mask=measured)
            one = copy.deepcopy(self).train()
            with _fft.full_precision(data):
                found.append(descend(one, list(one.parameters()), misfit, n_iter, lr, decay=True) * square.sqrt())
        return torch.stack(found).reshape(*batch, *self.object_shape)


class DeepImagePrior(_Prior):
    r"""An untrained convolutional network whose weights stand for one object: deep image prior, deep decoder.

    A fixed random input on a coarse grid is enlarged and convolved until it is an object. Called without an argument
    the network gives its present object; :meth:`fit` makes it explain a measurement. Its smoothness is all it knows of
    the object: no support, no training set. Try several seeds, and do not trust a small residual: it found no complex
    digit and no crystal in a loose box, at magnitude errors of 3 and 4 %, where :func:`phaseret.solvers.reconstruct`
    found most (protocol ``untrained`` of the leaderboard).

    Args:
        object_shape: Object sizes (n1, ..., nd), d = 1, 2 or 3.
        output: "nonnegative", "real", "modulus_phase" or "real_imaginary".
        channels: Width of each level from the coarsest; the grid doubles from one to the next.
        seed: Seed of the random input.

    Shape:
        - output: (n1..nd)

    Raises:
        TypeError: if an argument is of the wrong kind.
        ValueError: if an option is unknown.

    Example:
        >>> prior = DeepImagePrior((8, 8), channels=(8, 8))
        >>> prior.fit(torch.rand(2, 16, 16), n_iter=3).shape
        torch.Size([2, 8, 8])

    Source:
        Ulyanov, Vedaldi, Lempitsky (2018), Deep image prior, arXiv:1711.10925; the decoder without an encoder: Heckel,
        Hand (2019), Deep decoder, arXiv:1810.03982; for far-field phase retrieval: Tayal et al. (2021), Phase
        retrieval using single-instance deep generative prior, arXiv:2106.04812. Here convolutions are over 3 pixels as
        in the first and there is no encoder as in the second.
    """

    def __init__(
        self,
        object_shape: Sequence[int],
        *,
        output: Output = "nonnegative",
        channels: Sequence[int] = (64, 64, 64, 64),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.object_shape = _checks.shape("object_shape", object_shape)
        _checks.choice("output", output, [kind for kind in OUTPUTS if kind != "unit"])
        widths, seed = levels("channels", channels), _checks.integer("seed", seed, at_least=0)
        self.output = output
        self.layers = _Decoder(self.object_shape, OUTPUTS[output], widths, seed)
        self.options = {
            "object_shape": self.object_shape,
            "output": output,
            "channels": tuple(widths),
            "seed": seed,
        }

    def forward(self) -> Tensor:
        """The object that the weights stand for: (n1..nd)."""
        return as_estimate(self.layers().to(self._weight().dtype), self.output)[0]

    __call__ = called_as(forward)


class DoubleDIP(_Prior):
    r"""Two untrained networks for one complex object: one gives its modulus, the other its smooth phase.

    .. math:: g = s \, \sigma(a_\theta) \exp(i B b_\phi)

    where :math:`\sigma` is the logistic function, s > 0 is fitted as well, and the columns of B are cubic B-splines
    with knots `spacing` pixels apart. It suits objects with a nearly uniform modulus, such as crystals, whose phase
    varies over `spacing` pixels or more: for them the bound on the modulus and the splines stand in for a tight
    support. Fit it several times (the inputs come from `seed`, the weights from PyTorch's generator) and keep the
    estimate that explains the data best: one fit in three of simulated crystals with phases up to pi / 2 succeeds, and
    the best of eight recovers seven in eight; one in ten of complex digits (1500 iterations, for digits 1000, with
    ``lr=0.015``, protocol ``untrained`` of the leaderboard).

    Args:
        object_shape: Object sizes (n1, ..., nd), d = 1, 2 or 3.
        channels: Width of each level of the modulus, from the coarsest; the grid doubles from one to the next.
        phase_channels: The same of the phase, whose finest grid has one value per spline.
        spacing: Pixels from knot to knot.
        seed: Seed of the random inputs.

    Shape:
        - output: (n1..nd), complex

    Raises:
        TypeError: if an argument is of the wrong kind.
        ValueError: if an option is out of range.

    Example:
        >>> intensity = torch.rand(16, 16)
        >>> found = torch.stack([DoubleDIP((8, 8), seed=seed).fit(intensity, n_iter=3) for seed in range(2)])
        >>> errors = pr.metrics.relative_magnitude_error(found, intensity.expand(2, 16, 16), reduction="none")
        >>> found[errors.argmin()].shape
        torch.Size([8, 8])

    Source:
        Zhuang, Yang, Hofmann, Barmherzig, Sun (2022), Practical phase retrieval using double deep image priors,
        arXiv:2211.00799. In the source the phase has a value at each pixel, from -pi to pi; splines, bound and scale
        of the modulus are ours. The networks are those of `DeepImagePrior`, without encoders.
    """

    def __init__(
        self,
        object_shape: Sequence[int],
        *,
        channels: Sequence[int] = (64, 64, 64, 64, 64),
        phase_channels: Sequence[int] = (32, 32),
        spacing: float = 8.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.object_shape = _checks.shape("object_shape", object_shape)
        spacing = _checks.number("spacing", spacing, at_least=0.01)
        widths, seed = levels("channels", channels), _checks.integer("seed", seed, at_least=0)
        phase_widths = levels("phase_channels", phase_channels)
        splines = [_splines(n, spacing) for n in self.object_shape]
        for axis, values in enumerate(splines):
            self.register_buffer(f"splines{axis}", values, persistent=False)
        self.modulus = _Decoder(self.object_shape, 1, widths, 2 * seed)
        self.phase = _Decoder([values.shape[1] for values in splines], 1, phase_widths, 2 * seed + 1)
        self.scale = nn.Parameter(torch.tensor(math.log(2.0)))  # g starts with a modulus of about 1
        self.options = {
            "object_shape": self.object_shape,
            "channels": tuple(widths),
            "phase_channels": tuple(phase_widths),
            "spacing": spacing,
            "seed": seed,
        }

    def forward(self) -> Tensor:
        """The object that the weights stand for: (n1..nd)."""
        modulus, phase = (net()[0, 0].to(self.scale.dtype) for net in (self.modulus, self.phase))
        with _fft.full_precision(phase):
            for axis in range(phase.ndim):  # each pass puts the axis that it enlarges last
                phase = torch.tensordot(phase, self.get_buffer(f"splines{axis}"), ([0], [1]))
        return torch.polar(self.scale.exp() * modulus.sigmoid(), phase)

    __call__ = called_as(forward)


def _splines(n: int, spacing: float) -> Tensor:
    """Cubic B-splines with knots `spacing` apart, at the centres of n pixels: (n, number of splines)."""
    count = math.ceil(n / spacing) + 3
    u = ((torch.arange(n)[:, None] + 0.5) / spacing - torch.arange(-1, count - 1)).abs()
    return torch.where(u < 1, 2 / 3 - u**2 + u**3 / 2, (2 - u).clamp(min=0) ** 3 / 6)


class _Decoder(nn.Module):
    """A random input on a coarse grid, enlarged and convolved: () -> (1, after, n1..nd)."""

    seen: Tensor

    def __init__(self, object_shape: Sequence[int], after: int, widths: Sequence[int], seed: int) -> None:
        super().__init__()
        d = len(object_shape)
        scales = [2**level for level in reversed(range(len(widths)))]
        # at least two pixels along each axis, so that there is something to normalise
        self.grids = [tuple(max(min(2, n), -(-n // scale)) for n in object_shape) for scale in scales]
        source = seeded(seed)
        seen = torch.rand(1, widths[0], *self.grids[0], generator=source, device="cpu", dtype=torch.float32)
        # where and as its layers are made
        self.register_buffer("seen", seen.to(torch.get_default_device(), torch.get_default_dtype()))
        self.layers = nn.ModuleList()
        for before, width in zip([widths[0], *widths], widths, strict=False):
            conv = CONV[d](before, width, 3, padding=1, bias=False)
            self.layers.append(nn.Sequential(conv, NORM[d](width, track_running_stats=False), nn.LeakyReLU(0.2)))
        self.last = CONV[d](widths[-1], after, 1)

    def forward(self) -> Tensor:
        x = self.seen
        for grid, layers in zip(self.grids, self.layers, strict=True):
            x = layers(resized(x, grid))
        return self.last(x)
