"""Bridges to deepinv: its physics, losses and metrics with our operators, our losses and solvers with its physics.

**Which one should I use?**

- `to_deepinv` gives a deepinv ``Physics`` from one of our operators, for deepinv's algorithms (plug-and-play, RED, DPS,
  DiffPIR), its trainer, losses and noise models.
- `loss_to_deepinv` gives a deepinv ``Loss`` from one of our losses, and `metric_to_deepinv` a deepinv ``Metric`` from
  one of our metrics, which align first, for its trainer.
- `loss_from_deepinv` gives a loss called as ours, ``loss(estimate, target)``, from a deepinv ``Loss``.
- `from_deepinv` gives one of our operators from a deepinv ``PhaseRetrieval`` or ``Ptychography``, for our losses and
  solvers.

Nothing is needed for plain PyTorch and Lightning, where operators and losses are used as the Modules they are.
deepinv works on images (B, C, H, W): with an operator of two-dimensional objects, B and C are both a batch.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from phaseret import _checks, _fft
from phaseret.losses import InvariantLoss, PassiveLoss, SupervisedLoss
from phaseret.metrics import iou, poisson_log_likelihood, psnr, ssim, success_rate
from phaseret.operators import Operator

__all__ = ["from_deepinv", "loss_from_deepinv", "loss_to_deepinv", "metric_to_deepinv", "to_deepinv"]
__dir__ = __all__.copy  # what dir() and completion show


def _deepinv() -> Any:
    try:
        import deepinv
    except Exception as error:  # deepinv imports torchvision, which fails in other ways than ImportError
        _checks.fail(f"deepinv must be importable, got {error!r}", "Install it with pip install deepinv", ImportError)
    return deepinv


@functools.cache
def _physics_class(deepinv: Any) -> type:
    """The physics of an operator, which it holds as a submodule: copies of the one have copies of the other."""

    class Linear(deepinv.physics.LinearPhysics):  # type: ignore[misc]
        def __init__(self, operator: Operator, object_shape: tuple[int, ...] | None) -> None:
            super().__init__()
            self.operator, self.object_shape = operator, object_shape

        def A(self, x: Tensor, **_: Any) -> Tensor:
            return self.operator.linear(x)

        def A_adjoint(self, y: Tensor, **_: Any) -> Tensor:
            return self.operator.adjoint(y, self.object_shape)

    class OperatorPhysics(deepinv.physics.PhaseRetrieval):  # type: ignore[misc]
        """A measurement of phaseret, called as deepinv calls its physics."""

        def __init__(
            self, operator: Operator, object_shape: tuple[int, ...] | None, real: bool, noise_model: Any
        ) -> None:
            super().__init__(Linear(operator, object_shape), noise_model=noise_model)
            self.operator, self.real = operator, real

        def A(self, x: Tensor, **_: Any) -> Tensor:
            return self.operator(x)

        def A_adjoint(self, y: Tensor, **_: Any) -> Tensor:
            start: Tensor = self.B_adjoint(y)
            return start.real if self.real else start

        def A_dagger(self, y: Tensor, **options: Any) -> Tensor:
            start: Tensor = super().A_dagger(y, **options)
            if not (self.real and start.is_complex()):
                return start
            # Of the phases that the data leave free the one with which most of it is real.
            turn = start.square().sum(tuple(range(-self.operator.object_ndim, 0)), keepdim=True).angle() / 2
            return (start * torch.polar(torch.ones_like(turn), -turn)).real

        def A_vjp(self, x: Tensor, v: Tensor) -> Tensor:
            field = self.operator.linear(x)
            by_field = 2 * field
            if not self.operator.of_intensities:
                by_field = field / _fft.divisor(field.abs())
            gradient = self.operator.adjoint(by_field * v, x.shape[x.ndim - self.operator.object_ndim :])
            return gradient if x.is_complex() else gradient.real

        def prox_l2(self, z: Tensor, y: Tensor, gamma: Any, **_: Any) -> Tensor:
            return _nearest_minimum(self, z, y, gamma)

    return OperatorPhysics


# Steps of descent, of which about one in four finds its length.
_PROX_STEPS = 60


def _nearest_minimum(physics: Any, z: Tensor, y: Tensor, gamma: Any) -> Tensor:
    """The nearest minimum of gamma/2 |A(x) - y|^2 + 1/2 |x - z|^2, item by item from z on."""
    weight = torch.as_tensor(gamma, dtype=z.real.dtype, device=z.device)
    weight = weight.flatten().expand(len(z))

    def value(x: Tensor) -> Tensor:
        misfit = (physics.A(x) - y).square().flatten(1).sum(1)
        return (weight * misfit + _fft.power(x - z).flatten(1).sum(1)) / 2

    def each(numbers: Tensor) -> Tensor:
        return numbers.reshape(-1, *[1] * (z.ndim - 1))

    x, now, step = z, value(z), 1 / (1 + weight)
    for _number in range(_PROX_STEPS):
        slope = each(weight) * physics.A_vjp(x, physics.A(x) - y) + (x - z)
        decrease = _fft.power(slope).flatten(1).sum(1)
        tried = x - each(step) * slope
        then = value(tried)
        better = then <= now - step * decrease / 4
        x, now = torch.where(each(better), tried, x), torch.where(better, then, now)
        step = torch.where(better, 1.5 * step, step / 3)
    return x


def to_deepinv(
    operator: Operator, object_shape: Sequence[int] | None = None, *, real: bool = True, noise_model: Any = None
) -> Any:
    """A deepinv physics that measures with one of our operators.

    Its ``A`` is the measurement, its ``B`` and ``B_adjoint`` the linear map and its adjoint. ``A_vjp``, and with it the
    gradient of deepinv's data fidelities, is real for real images; ``prox_l2`` descends from where it starts to the
    nearest minimum, since the measurement is not linear. The operator is a submodule: it moves with the physics, and
    ``copy.deepcopy`` or ``clone()`` of the physics has an operator of its own.

    Args:
        operator: One of `phaseret.operators`.
        object_shape: Sizes of the object, which the adjoint of a Fourier operator cannot know.
        real: Whether images are real, as deepinv's denoisers take them: the starts of its algorithms, ``A_adjoint`` and
            ``A_dagger``, are real then. Say False for complex objects: from a real start a real operator stays real.
        noise_model: A deepinv noise model, applied to the measurement.

    Returns:
        A ``deepinv.physics.PhaseRetrieval``.

    Raises:
        TypeError: if operator is not an Operator, real not a bool, or noise_model cannot be called.
        ImportError: if deepinv cannot be imported.
    """
    Operator.check(operator, intensities=False)
    _checks.flag(real=real)
    shape = operator.object_shape if object_shape is None else _checks.shape("object_shape", object_shape)
    if noise_model is not None and not callable(noise_model):
        rule = f"noise_model must be callable, got {type(noise_model).__name__}"
        _checks.fail(rule, "Use one of deepinv.physics, such as GaussianNoise", TypeError)
    return _physics_class(_deepinv())(operator, shape, real, noise_model)


class _FromDeepinv(Operator):
    object_ndim = 2
    physics: Any

    def __init__(self, physics: Any, data_ndim: int | None) -> None:
        super().__init__()
        self.physics = physics
        sizes = getattr(physics, "img_size", None) or getattr(physics.B, "img_size", None)
        if sizes is None:
            self.data_ndim = 1 if data_ndim is None else data_ndim
            # The channel of its pictures; a vector has none, and several patterns take its place.
            self.channel = [1] * (self.data_ndim == 2)
            return
        if len(sizes) != 3 or sizes[0] != 1:
            rule = f"physics must be of images of one channel, got img_size={tuple(sizes)}"
            _checks.fail(rule, "Make it with img_size=(1, H, W)")
        self.object_shape = tuple(sizes[1:])
        like = next(self.buffers(), torch.zeros(()))
        with torch.no_grad():
            found = tuple(physics.B(self._images(torch.zeros(self.object_shape, device=like.device))).shape)
        self.channel = [1] * (len(found) > 3 and found[1] == 1)
        self.data_shape = found[1 + len(self.channel) :]
        self.data_ndim = len(self.data_shape)
        if data_ndim not in (None, self.data_ndim):
            rule = f"data_ndim must be {self.data_ndim} for data of the shape {self.data_shape}, got {data_ndim}"
            _checks.fail(rule, "Leave it out")

    def _images(self, obj: Tensor) -> Tensor:
        """Objects as a batch of deepinv's images, which are complex."""
        return self._complex(obj).reshape(-1, 1, *obj.shape[-2:])

    def _complex(self, x: Tensor) -> Tensor:
        """Complex, in the precision of the physics' own tensors."""
        kept = next((tensor.dtype for tensor in self.buffers() if tensor.is_complex()), None)
        return x.to(kept) if kept is not None else _fft.promote(x) + 0j

    def linear(self, obj: Tensor) -> Tensor:
        """The complex field of each image, as the only channel of a deepinv batch."""
        self._check(obj)
        field: Tensor = self.physics.B(self._images(obj))
        return field.reshape(*obj.shape[:-2], *field.shape[field.ndim - self.data_ndim :])

    def adjoint(self, field: Tensor, object_shape: Sequence[int] | None = None) -> Tensor:
        """The adjoint of `linear`; the physics knows the shape of its objects."""
        batch = field.shape[: field.ndim - self.data_ndim]
        data = field.shape[field.ndim - self.data_ndim :]
        obj: Tensor = self.physics.B_adjoint(self._complex(field).reshape(-1, *self.channel, *data))
        return obj.reshape(*batch, *obj.shape[-2:])


def from_deepinv(physics: Any, *, data_ndim: int | None = None) -> Operator:
    """One of our operators from a deepinv phase-retrieval physics of single-channel images.

    Args:
        physics: A ``deepinv.physics.PhaseRetrieval``: anything with a linear part ``B`` of complex images and its
            ``B_adjoint``. What `to_deepinv` has made gives its operator back.
        data_ndim: Number of axes of the data of one image without its channel: 1 for vectors, 2 for pictures, 3 for the
            patterns of ``Ptychography``. Default: looked up where the physics knows its ``img_size``, else 1.

    Returns:
        An Operator of real or complex objects (*, n1, n2).

    Raises:
        TypeError: if physics has no ``B`` and ``B_adjoint``.
        ValueError: if its images have several channels, or data_ndim is not that of its data.
    """
    if not (hasattr(physics, "B") and hasattr(physics, "B_adjoint")):
        rule = f"physics must have a linear part B and its B_adjoint, got {type(physics).__name__}"
        _checks.fail(rule, "Use a deepinv.physics.PhaseRetrieval", TypeError)
    if data_ndim is not None:
        data_ndim = _checks.integer("data_ndim", data_ndim)
    own = getattr(physics, "operator", None)
    return own if isinstance(own, Operator) else _FromDeepinv(physics, data_ndim)


@functools.cache
def _loss_class(base: type) -> type:
    class PhaseretLoss(base):  # type: ignore[misc]
        """A loss of phaseret, called as deepinv calls its losses; reduced as the loss says."""

        def __init__(self, loss: nn.Module) -> None:
            super().__init__()
            self.loss = loss

        def forward(self, x_net: Tensor, y: Tensor, x: Tensor | None = None, **_: Any) -> Any:
            target = y if isinstance(self.loss, PassiveLoss) else x
            return self.loss(x_net, target)

    return PhaseretLoss


def loss_to_deepinv(loss: nn.Module) -> Any:
    """A deepinv loss from one of ours.

    Args:
        loss: A `PassiveLoss`, which is given the measurement y, or a `SupervisedLoss` or `InvariantLoss`, which are
            given the image x.

    Returns:
        A ``deepinv.loss.Loss``, called as ``loss(x_net=..., x=..., y=..., physics=..., model=...)``.

    Raises:
        TypeError: if loss is none of these.
        ImportError: if deepinv cannot be imported.
    """
    if not isinstance(loss, (PassiveLoss, SupervisedLoss, InvariantLoss)):
        rule = f"loss must be a PassiveLoss, SupervisedLoss or InvariantLoss, got {type(loss).__name__}"
        _checks.fail(rule, "Use one of phaseret.losses", TypeError)
    return _loss_class(_deepinv().loss.Loss)(loss)


_HIGHER_IS_BETTER = (iou, poisson_log_likelihood, psnr, ssim, success_rate)


@functools.cache
def _metric_class(base: type, name: str) -> type:
    class PhaseretMetric(base):  # type: ignore[misc]
        """A metric of phaseret, called as deepinv calls its metrics; one value per item of the batch."""

        def __init__(self, function: Callable[..., Tensor], options: dict[str, Any]) -> None:
            super().__init__()
            self.function, self.options = function, options
            self.lower_better = function not in _HIGHER_IS_BETTER
            self.of_data = "intensity" in inspect.signature(function).parameters

        def metric(self, x_net: Tensor, x: Tensor | None, *_: Any, y: Tensor | None = None, **__: Any) -> Tensor:
            values = self.function(x_net, y if self.of_data else x, **self.options, reduction="none")
            return values.flatten(1).mean(1)  # the channels are items of ours

    PhaseretMetric.__name__ = PhaseretMetric.__qualname__ = name  # by which deepinv's trainer keeps its values
    return PhaseretMetric


def metric_to_deepinv(metric: Callable[..., Tensor], **options: Any) -> Any:
    """A deepinv metric from one of ours, for its trainer, which shows it under our name.

    Args:
        metric: A function of `phaseret.metrics` that compares an estimate with the object, such as `psnr`, or with the
            measurement y, such as `r_factor`. Those of objects align first.
        **options: Its options, such as ``scale=True``.

    Returns:
        A ``deepinv.loss.metric.Metric``, called as ``metric(x_net=..., x=..., y=...)``: one value per item, the mean
        over its channels.

    Raises:
        TypeError: if metric is not one of these functions.
        ImportError: if deepinv cannot be imported.
    """
    known = inspect.signature(metric).parameters if inspect.isfunction(metric) else {}
    if not ("reduction" in known and next(iter(known)) == "estimate"):
        rule = f"metric must be a function of an estimate, got {getattr(metric, '__name__', type(metric).__name__)}"
        _checks.fail(rule, "Use one of phaseret.metrics, such as psnr", TypeError)
    _checks.known(options, [name for name, p in known.items() if p.kind is p.KEYWORD_ONLY and name != "reduction"])
    return _metric_class(_deepinv().loss.metric.Metric, metric.__name__)(metric, options)


class _LossFromDeepinv(nn.Module):
    def __init__(self, loss: nn.Module, physics: nn.Module | None) -> None:
        super().__init__()
        self.loss, self.physics = loss, physics

    def forward(self, estimate: Tensor, target: Tensor) -> Any:
        """The loss of (estimate, target)."""
        return self.loss(x_net=estimate, x=target, y=target, physics=self.physics, model=None)


def loss_from_deepinv(loss: nn.Module, physics: Any = None) -> nn.Module:
    """A loss called as ours, (estimate, target), from one of deepinv.

    Args:
        loss: A ``deepinv.loss.Loss`` that needs no model. It is given the target both as the image x and as the
            measurement y, and takes the one it knows: ``SupLoss`` the image, ``MCLoss`` the measurement.
        physics: The deepinv physics of a loss on measurements; see `to_deepinv`.

    Returns:
        A Module.

    Raises:
        TypeError: if loss is not a Module.
    """
    if not isinstance(loss, nn.Module):
        rule = f"loss must be a deepinv loss, got {type(loss).__name__}"
        _checks.fail(rule, "Use one of deepinv.loss", TypeError)
    if physics is not None:
        _checks.instance("physics", physics, nn.Module, "Use a deepinv physics, such as to_deepinv gives")
    return _LossFromDeepinv(loss, physics)
