"""Bridges to deepinv: its physics and losses with our operators, our losses and solvers with its physics.

**Which one should I use?**

- `to_deepinv` gives a deepinv ``Physics`` from one of our operators, for deepinv's trainer, losses and noise models.
- `loss_to_deepinv` gives a deepinv ``Loss`` from one of our losses, for its trainer.
- `loss_from_deepinv` gives a loss called as ours, ``loss(estimate, target)``, from a deepinv ``Loss``.
- `from_deepinv` gives one of our operators from a deepinv ``PhaseRetrieval`` physics, for our losses and solvers.

Nothing is needed for plain PyTorch and Lightning, where operators and losses are used as the Modules they are.
deepinv works on images (B, C, H, W): with an operator of two-dimensional objects, B and C are both a batch.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from phaseret import _checks
from phaseret.losses import InvariantLoss, PassiveLoss, SupervisedLoss
from phaseret.operators import Operator

__all__ = ["from_deepinv", "loss_from_deepinv", "loss_to_deepinv", "to_deepinv"]


def _deepinv() -> Any:
    try:
        import deepinv
    except Exception as error:  # deepinv imports torchvision, which fails in other ways than ImportError
        _checks.fail(f"deepinv must be importable, got {error!r}", "Install it with pip install deepinv", ImportError)
    return deepinv


def to_deepinv(operator: Operator, object_shape: Sequence[int] | None = None, *, noise_model: Any = None) -> Any:
    """A deepinv physics that measures with one of our operators.

    Args:
        operator: One of `phaseret.operators`.
        object_shape: Sizes of the object, which the adjoint of a Fourier operator cannot know.
        noise_model: A deepinv noise model, applied to the intensity.

    Returns:
        A ``deepinv.physics.PhaseRetrieval``; its ``A`` is the intensity, its ``B`` and ``B_adjoint`` the linear map
        and its adjoint.

    Raises:
        TypeError: if operator is not an Operator.
        ImportError: if deepinv cannot be imported.
    """
    Operator.check(operator, intensities=False)
    if object_shape is not None:
        object_shape = _checks.shape("object_shape", object_shape)
    if noise_model is not None and not callable(noise_model):
        rule = f"noise_model must be callable, got {type(noise_model).__name__}"
        _checks.fail(rule, "Use one of deepinv.physics, such as GaussianNoise", TypeError)
    deepinv = _deepinv()
    linear = deepinv.physics.LinearPhysics(
        A=lambda x, **_: operator.linear(x), A_adjoint=lambda y, **_: operator.adjoint(y, object_shape)
    )
    physics = deepinv.physics.PhaseRetrieval(linear, noise_model=noise_model)
    physics.operator = operator  # its buffers follow physics.to(device)
    return physics


class _FromDeepinv(Operator):
    object_ndim = 2
    physics: Any

    def __init__(self, physics: Any, data_ndim: int) -> None:
        super().__init__()
        self.physics, self.data_ndim = physics, data_ndim

    def linear(self, obj: Tensor) -> Tensor:
        """The complex field of each image, as the only channel of a deepinv batch."""
        self._check(obj)
        batch = obj.shape[:-2]
        field: Tensor = self.physics.B(obj.reshape(-1, 1, *obj.shape[-2:]))
        return field.reshape(*batch, *field.shape[field.ndim - self.data_ndim :])

    def adjoint(self, field: Tensor, object_shape: Sequence[int] | None = None) -> Tensor:
        """The adjoint of `linear`; the physics knows the shape of its objects."""
        batch = field.shape[: field.ndim - self.data_ndim]
        data = field.shape[field.ndim - self.data_ndim :]
        channel = [1] if self.data_ndim > 1 else []
        obj: Tensor = self.physics.B_adjoint(field.reshape(-1, *channel, *data))
        return obj.reshape(*batch, *obj.shape[-2:])


def from_deepinv(physics: Any, *, data_ndim: int = 1) -> Operator:
    """One of our operators from a deepinv phase-retrieval physics of single-channel images.

    Args:
        physics: A ``deepinv.physics.PhaseRetrieval``: anything with a linear part ``B`` and its ``B_adjoint``.
        data_ndim: Number of axes of the data of one image without its channel: 1 for deepinv's random operators, 2 for
            image-shaped data.

    Returns:
        An Operator of objects (*, n1, n2).

    Raises:
        TypeError: if physics has no ``B`` and ``B_adjoint``.
    """
    if not (hasattr(physics, "B") and hasattr(physics, "B_adjoint")):
        rule = f"physics must have a linear part B and its B_adjoint, got {type(physics).__name__}"
        _checks.fail(rule, "Use a deepinv.physics.PhaseRetrieval", TypeError)
    return _FromDeepinv(physics, _checks.integer("data_ndim", data_ndim))


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
