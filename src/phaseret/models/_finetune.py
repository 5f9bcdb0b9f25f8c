"""Refinement at test time: a trained network is adapted to one measurement, without any ground truth."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from phaseret import _checks, _memory
from phaseret.models._layers import LARGEST_STEP, unwrapped
from phaseret.models._misfit import Misfit, descend, tracked


@torch.inference_mode(False)
def finetune(
    model: nn.Module,
    intensity: Tensor,
    *,
    n_iter: int = 100,
    lr: float = 1e-4,
    parameters: str | Sequence[str] = "decoder",
    operator: nn.Module | None = None,
    mask: Tensor | None = None,
    ndim: int | None = None,
) -> Tensor:
    r"""Adapt a trained network to each measurement, and give the estimates that explain them best.

    .. math:: \min_\theta \sum_k \big( |F g_\theta(Y)|_k - \sqrt{Y_k} \big)^2

    with Adam over some of the parameters of a copy of the network, one copy for each item. The network is used in
    evaluation mode, with its running statistics, and is not changed. 100 iterations with ``lr=3e-4`` took U-Nets for
    shifted and flipped digits from 15.1 to 25.9 dB (trained on objects), 18.8 to 37.1 dB (on intensities) and 20.3 to
    38.2 dB (on objects up to symmetry; aligned PSNR of 30 digits), at about two seconds a digit on one core: protocol
    ``mnist64`` of the leaderboard.

    Args:
        model: A trained network from intensity to estimate, also as torch.compile, parallel or averaged training wrap
            it.
        intensity: Measured intensity.
        n_iter: Number of iterations of Adam.
        lr: Its learning rate.
        parameters: What is adapted: "decoder" (of a network of this module: behind the narrowest layer of U-Nets, the
            second half of fully connected layers, the last stage of a cascade), "all", or names of submodules or
            parameters.
        operator: The measurement. Default: the unitary Fourier transform of the object padded to the size of the data.
        mask: True where measured; a network whose call takes a mask, or any option, is given it, any other sees 0 where
            it is False. Default: everywhere.
        ndim: Number of axes of one item, if no operator says it. Default: that of the network's `data_shape` or
            `fourier_shape`, else 2.

    Shape:
        - intensity: (*, m1..md)
        - output: (*, n1..nd)

    Returns:
        The estimate of each item with the least misfit among all iterations: never a worse one than the network's own.

    Raises:
        TypeError: if model is not a Module, or intensity is complex.
        ValueError: if an option is out of range, or parameters name nothing.

    Example:
        >>> net = pr.models.UNet((8, 8), (16, 16), channels=(4, 8))
        >>> finetune(net, torch.rand(2, 16, 16), n_iter=3).shape
        torch.Size([2, 8, 8])

    Source:
        Zhang, Situ et al. (2024), Opt. Lett. 49, 6129: a supervised U-Net whose decoder is adapted to each measured
        pattern for 200 to 1000 steps of Adam with learning rates of 1e-4 to 1e-3, on the intensity. Here the misfit is
        that of the magnitudes, relative to the data. On 64 digits with m = n (protocol mnist28 of the leaderboard) 100
        steps with ``lr=5e-4`` brought the aligned MSE of a trained :class:`MLP` from 0.0126 to 0.0037, that of a
        :class:`Cascade`, whose stages but the last get no gradient, from 0.0137 to 0.0031.
    """
    if not isinstance(model, nn.Module):
        _checks.fail(
            f"model must be a torch.nn.Module, got {type(model).__name__}",
            "Pass the network itself",
            error=TypeError,
        )
    whole, model = model, unwrapped(model)
    _memory.with_values(intensity=intensity, mask=mask)
    intensity, mask = tracked(intensity), tracked(mask)
    n_iter = _checks.integer("n_iter", n_iter, at_least=0)
    lr = _checks.number("lr", lr, above=0, at_most=LARGEST_STEP)
    chosen = _chosen(model, parameters, next(name for name, part in whole.named_modules() if part is model))
    if ndim is None:
        ndim = len(getattr(model, "data_shape", getattr(model, "fourier_shape", (0, 0))))
    misfit = Misfit(intensity, ndim, operator=operator, mask=mask)
    axes = misfit.ndim
    items = intensity.reshape(-1, *intensity.shape[intensity.ndim - axes :])
    masks = [None] * len(items) if misfit.mask is None else misfit.mask.reshape(items.shape).unbind()
    estimates = []
    for item, measured in zip(items, masks, strict=True):
        misfit = Misfit(item, ndim, operator=operator, mask=measured)
        estimates.append(_adapted(model, chosen, item, misfit, n_iter, lr))
    found = torch.stack(estimates)
    return found.reshape(*intensity.shape[: intensity.ndim - axes], *found.shape[1:])


def _adapted(model: nn.Module, chosen: set[str], item: Tensor, misfit: Misfit, n_iter: int, lr: float) -> Tensor:
    """The best estimate of one item by a copy of the network."""
    one = copy.deepcopy(model).eval()
    free = []
    for name, parameter in one.named_parameters():
        parameter.requires_grad_(name in chosen)
        if name in chosen:
            free.append(parameter)
    known = {}
    if misfit.mask is not None:
        item = item.where(misfit.mask, 0)
        if _takes_mask(model):
            known["mask"] = misfit.mask
    return descend(lambda: one(item, **known), free, misfit, n_iter, lr)


def _takes_mask(model: nn.Module) -> bool:
    """Whether a call of the network takes a mask, or any option."""
    options = inspect.signature(model.forward).parameters
    return "mask" in options or any(option.kind is option.VAR_KEYWORD for option in options.values())


def _chosen(model: nn.Module, parameters: str | Sequence[str], place: str) -> set[str]:
    """The names of the parameters that are adapted; `place` is that of the network in what wraps it."""
    names = [name for name, _ in model.named_parameters()]
    word = parameters if isinstance(parameters, str) else ""  # an array compares itself item by item
    if word == "all":
        return set(names)
    wanted = parameters
    if word == "decoder":
        wanted = getattr(model, "decoder", ())
        if not wanted:
            fix = "Use parameters='all', or names of submodules"
            _checks.fail(f"model must have a decoder for parameters='decoder', got {type(model).__name__}", fix)
    wanted = [wanted] if isinstance(wanted, str) else wanted
    _checks.sequence("parameters", wanted, "names", "Use 'decoder', 'all', or names of submodules")
    wanted = [str(name).removeprefix(f"{place}.") for name in wanted]
    chosen = {name for name in names for prefix in wanted if f"{name}.".startswith(f"{prefix}.")}
    unknown = [prefix for prefix in wanted if not any(f"{name}.".startswith(f"{prefix}.") for name in names)]
    if word != "decoder" and (unknown or not chosen):
        known = ", ".join(repr(name) for name, _ in model.named_children())
        rule = "parameters must be 'decoder', 'all', or name submodules or parameters of the model"
        _checks.fail(f"{rule}, got {parameters!r}", f"It has {known}")
    return chosen
