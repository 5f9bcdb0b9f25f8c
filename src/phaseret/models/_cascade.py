"""A cascade of fully connected networks: each refines what the one before it gave, at a higher resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from phaseret import _checks, _fft
from phaseret._module import called_as
from phaseret.models._layers import Model, as_estimate, as_items, dense, plain_units, resized

Feedback = Literal["image", "magnitude"]


class Cascade(Model):
    r"""The cascade of Uelwer et al. (2021), for objects with values between 0 and 1.

    Stage k sees the measured magnitude, and from the second on what the stage before it gave, enlarged to the object;
    it gives the object at its own resolution. Train all stages at once on :meth:`estimates` and :meth:`targets`: no
    gradient runs from a stage to the one before.

    Args:
        object_shape: Object sizes (n1, ..., nd), d = 1, 2 or 3.
        data_shape: Sizes of one measurement, any for feedback="image"; else of as many axes and m >= n.
        stages: Sizes of the estimate of each stage; the last are those of the object. Default: a quarter, a half, three
            quarters and twice the whole object, 7, 14, 21, 28 and 28 for digits.
        width: Width of the hidden layers, of five layers in each stage.
        feedback: What a stage sees of the one before it: the "image", or its Fourier "magnitude" beside the measured
            one.
        dropout: Share of the values of the first and the third layer of each stage that training drops. In training it
            makes a stage as poor as it will be on other data, which the next one has to learn from.

    Shape:
        - intensity: (*, data_shape)
        - mask: boolean, True where measured; broadcasts to the data. Default: everywhere
        - output: (*, n1..nd)

    Raises:
        TypeError: if an argument is of the wrong kind, or intensity is complex.
        ValueError: if an option is unknown or does not fit, or intensity has other sizes.

    Example:
        >>> net = Cascade((28, 28), (28, 28), width=32).eval()
        >>> [tuple(x.shape) for x in net.estimates(torch.rand(3, 28, 28))]
        [(3, 7, 7), (3, 14, 14), (3, 21, 21), (3, 28, 28), (3, 28, 28)]

    Source:
        Uelwer, Hoffmann, Harmeling (2021), Non-iterative phase retrieval with cascaded neural networks,
        arXiv:2106.10195. In the source the widths grow from 1100 to 1800, targets shrink and feedback grows by nearest
        neighbours, magnitudes are plain sums (here the initial weights make up for them, as in `MLP`), and each stage
        has an optimiser of its own, which is the same for Adam. "magnitude" is the feedback of the same authors'
        variant without phase. On MNIST with m = n (protocol mnist28 of the leaderboard) the raw SSIM, by the
        definition of the source, is 0.836 after 60 epochs of distorted digits; the source reports 0.875.
    """

    def __init__(
        self,
        object_shape: Sequence[int],
        data_shape: Sequence[int],
        *,
        stages: Sequence[Sequence[int]] | None = None,
        width: int = 1500,
        feedback: Feedback = "image",
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        self.object_shape = _checks.shape("object_shape", object_shape)
        self.data_shape = _checks.shape("data_shape", data_shape)
        width = _checks.integer("width", width)
        _checks.choice("feedback", feedback, get_args(Feedback))
        dropout = _checks.number("dropout", dropout, at_least=0, at_most=0.9)
        if stages is None:
            stages = [tuple(-(-n * part // 4) for n in self.object_shape) for part in (1, 2, 3, 4, 4)]
        _checks.sequence("stages", stages, "shapes", "Give one shape per stage")
        self.sizes = [_checks.shape("stages", size) for size in stages]
        if not self.sizes or self.sizes[-1] != self.object_shape or {len(s) for s in self.sizes} != {len(object_shape)}:
            _checks.fail(
                f"stages must end with the object's shape {self.object_shape}, got {stages!r}",
                "Give one shape per stage, the last one that of the object",
            )
        pairs = zip(self.data_shape, self.object_shape, strict=False)
        fits = len(self.data_shape) == len(self.object_shape) and all(m >= n for m, n in pairs)
        if feedback == "magnitude" and not fits:
            rule = f"data_shape must be at least {self.object_shape} for feedback='magnitude'"
            _checks.fail(f"{rule}, got {self.data_shape}", "Use feedback='image'")
        self.feedback = feedback
        data = math.prod(self.data_shape)
        more = data if feedback == "magnitude" else math.prod(self.object_shape)
        self.stages = nn.ModuleList(
            dense(data + (more if k else 0), width, 5, math.prod(size), dropout) for k, size in enumerate(self.sizes)
        )
        for stage in self.stages:
            plain_units(stage, slice(data if feedback == "image" else None), data)
        self.decoder = (f"stages.{len(self.sizes) - 1}",)
        self.options = {
            "object_shape": self.object_shape,
            "data_shape": self.data_shape,
            "stages": tuple(self.sizes),
            "width": width,
            "feedback": feedback,
            "dropout": dropout,
        }

    def forward(self, intensity: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """The estimate of the last stage: (*, data_shape) -> (*, n1..nd)."""
        return self.estimates(intensity, mask=mask)[-1]

    __call__ = called_as(forward)

    def estimates(self, intensity: Tensor, *, mask: Tensor | None = None) -> list[Tensor]:
        """The estimates of all stages, each (*, size of the stage)."""
        weight = self._weight()
        items = as_items(intensity, self.data_shape, weight, mask)
        magnitude = _fft.root(items)
        x, found = None, []
        for size, layers in zip(self.sizes, self.stages, strict=True):
            seen = magnitude.flatten(1)
            if x is not None:
                seen = torch.cat([seen, self._back(x.detach())], 1)
            out = layers(seen.to(weight.dtype)).to(items.dtype)
            x = as_estimate(out.reshape(items.shape[0], 1, *size), "unit")
            found.append(x.reshape(*intensity.shape[: -len(self.data_shape)], *size))
        return found

    def targets(self, obj: Tensor) -> list[Tensor]:
        """What the estimates of all stages are compared with: the object at the size of each."""
        _checks.real(obj=obj)
        _checks.item_shape("obj", obj, self.object_shape, "Build the network with the sizes of the objects")
        batch, items = obj.shape[: -len(self.object_shape)], obj.reshape(-1, 1, *self.object_shape)
        return [resized(items, size).reshape(*batch, *size) for size in self.sizes]

    def _back(self, x: Tensor) -> Tensor:
        """What the next stage sees of an estimate, as a vector."""
        whole = resized(x[:, None], self.object_shape)[:, 0]
        if self.feedback == "magnitude":
            with _fft.full_precision(x):
                whole = _fft.magnitude(_fft.full_plane(whole, self.data_shape), len(self.data_shape))
        return whole.flatten(1)
