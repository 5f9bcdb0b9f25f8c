"""What networks are trained to minimise: (network, objects, intensities) -> value."""

from __future__ import annotations

from torch import Tensor, nn

import phaseret as pr
from experiments.fit import Loss


def dnn_v(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
    """The object is compared."""
    return pr.losses.supervised_loss(net(intensity), obj)


def dnn_p(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
    """The measurement is compared."""
    return pr.losses.passive_loss(net(intensity), intensity)


def invariant(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
    """The object is compared up to shift and flip, and up to the phase if it is complex."""
    return pr.losses.invariant_loss(net(intensity), obj)


def canonical(net: nn.Module, obj: Tensor, intensity: Tensor) -> Tensor:
    """One representative of the object's copies is compared: active symmetry breaking."""
    return pr.losses.supervised_loss(net(intensity), pr.symmetry.canonicalize(obj))


OBJECTIVES: dict[str, Loss] = {"dnn_v": dnn_v, "dnn_p": dnn_p, "invariant": invariant, "canonical": canonical}
TITLES = {"dnn_v": "DNN-V", "dnn_p": "DNN-P", "invariant": "invariant", "canonical": "canonical"}
