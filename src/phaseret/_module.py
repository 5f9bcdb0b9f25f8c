"""The base of the Modules: options are stored once, and printed from there; calls have types."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn

from phaseret import _checks

if TYPE_CHECKING:
    from typing_extensions import Self

_SINGLE = {torch.float64: torch.float32, torch.complex128: torch.complex64}
Forward = TypeVar("Forward", bound=Callable[..., Any])


class KeepsOptions(nn.Module):
    """Options that are kept once: what `Module` and the classes of other packages share."""

    _names: tuple[str, ...]

    def _keep(self, options: dict[str, Any]) -> None:
        """Make each option an attribute of its name: a tensor a buffer, unless it is a Parameter."""
        self._names = tuple(options)
        for name, value in options.items():
            if callable(getattr(type(self), name, None)):
                rule = f"an option must not have the name of a method of {type(self).__name__}, got {name!r}"
                _checks.fail(rule, f"Call it {name}_option, or what it means")
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    @property
    def options(self) -> dict[str, Any]:
        """The options by name."""
        return {name: getattr(self, name) for name in self._names}

    def extra_repr(self) -> str:
        """The options."""
        return as_text(self.options)


class Module(KeepsOptions):
    """A Module that keeps the options of the function it stands for.

    Each option is an attribute of its name: a tensor a buffer (a Parameter stays one), a Module a submodule. They
    follow ``.to(...)``, and are what `options` gives to the function and `repr` shows. A Module with other options is a
    new one.

    Args:
        **options: The options, checked, by name.
    """

    def __init__(self, **options: Any) -> None:
        """Keep the options; the class says what they are."""
        super().__init__()
        self._keep(options)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def as_the_device_can(tensor: Tensor) -> Tensor:
            try:
                return fn(tensor)
            except TypeError:  # by which MPS refuses double precision
                if tensor.dtype not in _SINGLE:
                    raise
                return fn(tensor.to(_SINGLE[tensor.dtype]))

        return super()._apply(as_the_device_can, recurse)


def as_text(options: dict[str, Any]) -> str:
    """Options as in a call, without what is None, what `repr` shows as a submodule, and a generator."""
    shown = {name: value for name, value in options.items() if value is not None}
    hidden = (nn.Module, torch.Generator)
    return ", ".join(f"{name}={_value(value)}" for name, value in shown.items() if not isinstance(value, hidden))


def _value(value: Any) -> str:
    if isinstance(value, Tensor):
        return str(value.item()) if value.ndim == 0 else f"tensor of shape {tuple(value.shape)}"
    name = getattr(value, "__name__", None)
    return repr(value) if name is None else str(name)


def called_as(forward: Forward) -> Forward:
    """The call of a Module, ``__call__ = called_as(forward)``: that of torch, with the types of `forward`.

    Torch says that a call takes and gives anything; this tells editors and type checkers what it does.
    """
    return cast(Forward, nn.Module.__call__)
