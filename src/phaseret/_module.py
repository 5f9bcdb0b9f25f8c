"""The base of the Modules: options are stored once, and printed from there; calls have types."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from multiprocessing.context import get_spawning_popen
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.data import get_worker_info

from phaseret import _checks

if TYPE_CHECKING:
    from typing_extensions import Self

# An odd factor that spreads whole numbers over 32 bits.
_SPREAD = 0x9E3779B1
_SINGLE = {torch.float64: torch.float32, torch.complex128: torch.complex64}
Forward = TypeVar("Forward", bound=Callable[..., Any])


class Spelled(nn.Module):
    """A class whose constructor answers arguments that it does not have in its own name, with the ones that were meant.

    Python would name the class that wrote the constructor.
    """

    def __new__(cls, *args: Any, **options: Any) -> Self:
        if not torch.compiler.is_compiling():
            made_by = cls.__init__.__code__
            places = made_by.co_varnames[1 : made_by.co_argcount]
            names = made_by.co_varnames[1 : made_by.co_argcount + made_by.co_kwonlyargcount]
            if not made_by.co_flags & inspect.CO_VARKEYWORDS:
                _checks.known(options, names)
            unnamed = bool(made_by.co_flags & inspect.CO_VARARGS) or hasattr(cls, "__getnewargs__")
            if not unnamed and len(args) > len(places):
                rule = f"at most {len(places)} options must be given without a name, got {len(args)}"
                _checks.fail(rule, f"Name them: {', '.join(f'{name}=' for name in names)}", TypeError)
        return super().__new__(cls)


class KeepsOptions(Spelled):
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
    follow ``.to(...)``: a real dtype sets the precision and leaves complex ones complex, and half precision leaves them
    in single precision. They are what `options` gives to the function and `repr` shows. A Module with other options is
    a new one.

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
                return _moved(fn, tensor)
            except TypeError:  # by which MPS refuses double precision
                if tensor.dtype not in _SINGLE:
                    raise
                return _moved(fn, tensor.to(_SINGLE[tensor.dtype]))

        return super()._apply(as_the_device_can, recurse)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        for name, own in self._buffers.items():
            given = state_dict.get(prefix + name)
            if own is None or not isinstance(given, Tensor):
                continue
            wide = torch.promote_types(own.dtype, given.dtype)
            if (wide.is_complex, wide.is_floating_point) != (own.dtype.is_complex, own.dtype.is_floating_point):
                setattr(self, name, own.to(wide))  # whole numbers would cut fractions, real ones imaginary parts
        super()._load_from_state_dict(state_dict, prefix, *args)


def seeded(seed: int, times: int = 0) -> torch.Generator:
    """The generator of a seed, on the CPU; `times` count draws from it anew.

    Torch looks at 32 bits of a seed: without the odd factor, which spreads the rest over them, larger ones would repeat
    the draws of smaller ones.
    """
    return torch.Generator().manual_seed((seed + (seed // 2**32 + times) * _SPREAD) % 2**32)


class RandomModule(Module):
    """A Module that draws random numbers from its option `generator`, or from torch's own.

    A worker of a DataLoader has a copy of the generator. Were it used as it is, all workers would draw the same, and
    the same again in each epoch: there the seed is made of the generator's and of the worker's, which torch draws from
    `torch.manual_seed` or the loader's own generator.
    """

    _source: torch.Generator | None
    _process: int

    @property
    def generator(self) -> torch.Generator | None:
        """The source of the random numbers in this process."""
        if self._source is not None and self._process != os.getpid():
            self._process = os.getpid()
            if (worker := get_worker_info()) is not None:
                # 0 must not give the stream that torch has in the worker.
                self._source.manual_seed((worker.seed + (self._source.initial_seed() + 1) * _SPREAD) % 2**32)
        return self._source

    @generator.setter
    def generator(self, value: torch.Generator | None) -> None:
        self._source, self._process = value, os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        """Generators reach a process that is spawned as plain bytes: torch cannot send them."""
        state = self.__dict__.copy()
        if self._source is not None and get_spawning_popen() is not None:
            source = self._source
            state["_source"] = (id(source), str(source.device), source.get_state().numpy().tobytes())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if isinstance(self._source, tuple):
            self._source = _arrived(*self._source)


@functools.cache
def _arrived(identity: int, device: str, state: bytes) -> torch.Generator:
    """The generator that was sent, one for all Modules that had it; others of the same state stay others."""
    found = torch.Generator(device)
    found.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    return found


def _moved(fn: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    """An option as ``.to(...)`` has it: its kind stays, real or complex, and half precision stops at single."""
    parts = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    moved = fn(parts)
    if moved.is_floating_point() and not parts.is_floating_point():  # of `type`, which casts whole numbers too
        moved = tensor.to(moved.device)
    if moved.dtype in (torch.float16, torch.bfloat16):  # which would lose pixels of positions and shifts, and counts
        moved = parts.to(moved.device, torch.float32)
    if moved.is_complex():
        return fn(tensor)
    return torch.view_as_complex(moved.contiguous()) if tensor.is_complex() else moved


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
