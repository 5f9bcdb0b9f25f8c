"""A failing example as code that can be pasted: imports, the function that was checked, its arguments, the call."""

from __future__ import annotations

import ast
import functools
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from phaseret.operators import Operator
from phaseret.symmetry import Symmetry

M = TypeVar("M", bound=Operator)

_LARGEST_LITERAL = 4096  # values
_calls: WeakKeyDictionary[nn.Module, tuple[tuple[Any, ...], dict[str, Any]]] = WeakKeyDictionary()


def remember(cls: Callable[..., M], *args: Any, **options: Any) -> M:
    """The operator of this call, which can be written as code later."""
    operator = cls(*args, **options).double()
    _calls[operator] = (args, options)
    return operator


class Unwritable(Exception):
    """The value cannot be written as an expression."""


class Code:
    """Collects imports and definitions while values are written as expressions."""

    def __init__(self) -> None:
        self.imports = {"import torch"}
        self.names: set[str] = set()
        self.lines: list[str] = []

    def define(self, name: str, value: Any) -> None:
        """A line that gives the value its name; where that is beyond us, one that asks for it."""
        if name in self.names:
            return
        self.names.add(name)
        try:
            text = self.expression(value)
        except Unwritable:
            text = f"...  # fill in: {' '.join(repr(value).split())[:80]}"
        if text != name:
            self.lines.append(f"{name} = {text}")

    def text(self, *last: str) -> str:
        """All of the code, ending in these lines."""
        imports = sorted(self.imports, key=lambda line: (line.startswith("from"), line))
        return "\n".join([*imports, "", *self.lines, *last])

    def expression(self, value: Any) -> str:
        """An expression of the value; what it needs is imported or defined."""
        if value is None or isinstance(value, bool | int | str | torch.dtype):
            return repr(value)
        if isinstance(value, float | complex):
            return _number(value)
        if isinstance(value, Tensor):
            return _tensor(value)
        if isinstance(value, Mapping):
            items = (f"{self.expression(k)}: {self.expression(v)}" for k, v in value.items())
            return "{" + ", ".join(items) + "}"
        if isinstance(value, Sequence):
            inner = ", ".join(map(self.expression, value))
            return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
        if isinstance(value, Symmetry):
            fields = (value.shifts, value.flipped, value.phase, value.object_shape, value.fourier_shape)
            return f"{self.expression(Symmetry)}({', '.join(map(self.expression, fields))})"
        return self._callable(value)

    def _callable(self, value: Any) -> str:
        if isinstance(value, functools.partial):
            self.imports.add("import functools")
            words = [self.expression(word) for word in (value.func, *value.args)]
            words += [f"{key}={self.expression(word)}" for key, word in value.keywords.items()]
            return f"functools.partial({', '.join(words)})"
        if isinstance(value, nn.Module):
            return self._module(value)
        if inspect.ismethod(value):
            return f"{self.expression(value.__self__)}.{value.__name__}"
        name = self._imported(value)
        if name is None and (inspect.isfunction(value) or inspect.isclass(value)):
            name = self._written(value)
        if name is None:
            raise Unwritable
        return name

    def _imported(self, value: Any) -> str | None:
        """The name of what a package or the standard library defines, from the shortest path that has it."""
        module, name = getattr(value, "__module__", None) or "", getattr(value, "__name__", "")
        parts = module.split(".")
        if not (parts[0] in sys.stdlib_module_names or hasattr(sys.modules.get(parts[0]), "__path__")):
            return None
        for count in range(1, len(parts) + 1):
            place = sys.modules.get(".".join(parts[:count]))
            if place is not None and getattr(place, name, None) is value:
                if module != "builtins":
                    self.imports.add(f"from {place.__name__} import {name}")
                return name
        return None

    def _module(self, value: nn.Module) -> str:
        """The call that made the Module: one of our own operators', or its repr if that makes an equal one."""
        if value in _calls:
            args, options = _calls[value]
            words = [self.expression(word) for word in args]
            words += [f"{key}={self.expression(word)}" for key, word in options.items()]
            call = f"{self.expression(type(value))}({', '.join(words)})"
            dtypes = [tensor.dtype.to_real() for tensor in value.buffers() if tensor.dtype.is_floating_point]
            dtypes += [tensor.real.dtype for tensor in value.buffers() if tensor.is_complex()]
            return f"{call}.to({dtypes[0]})" if dtypes else call
        text, cls = repr(value), type(value)
        if next(value.parameters(), None) is not None or next(value.buffers(), None) is not None:
            raise Unwritable
        try:
            again = eval(text, {cls.__name__: cls, "torch": torch})
            equal = repr(again) == text and _public(again) == _public(value)
        except Exception as error:
            raise Unwritable from error
        if not equal:
            raise Unwritable
        self.expression(cls)
        return text

    def _written(self, value: Any) -> str:
        """The source of a function or class of a script or a test, after all that it uses."""
        node = _node(value)
        scope = dict(getattr(value, "__globals__", None) or vars(sys.modules[value.__module__]))
        names = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
        if inspect.isfunction(value):
            scope |= inspect.getclosurevars(value).nonlocals
            names -= set(value.__code__.co_varnames)
        for name in sorted(names & scope.keys()):
            used = scope[name]
            if isinstance(used, ModuleType):
                self.imports.add(f"import {name}" if used.__name__ == name else f"import {used.__name__} as {name}")
            elif used is not value:
                self.define(name, used)
        if isinstance(node, ast.Lambda):
            return ast.unparse(node)
        source = ast.unparse(node)
        if source not in self.lines:
            self.lines += ["", source, ""]
        return str(value.__name__)


def _node(value: Any) -> ast.AST:
    """The syntax tree of a function or class, from the file in which it was written."""
    try:
        lines, first = inspect.findsource(value)
        tree = ast.parse("".join(lines))
    except (OSError, TypeError, SyntaxError) as error:
        raise Unwritable from error
    if inspect.isclass(value):
        kind: type[ast.expr | ast.stmt] = ast.ClassDef
    else:
        kind, first = ast.Lambda if value.__name__ == "<lambda>" else ast.FunctionDef, value.__code__.co_firstlineno - 1
    found = []
    for node in ast.walk(tree):
        if isinstance(node, kind):
            decorators = getattr(node, "decorator_list", [])
            if min(line.lineno for line in (node, *decorators)) == first + 1 and _takes(node, value):
                found.append(node)
    if len(found) != 1:
        raise Unwritable
    return found[0]


def _takes(node: ast.AST, value: Any) -> bool:
    """Whether the arguments have the names of the function's: two lambdas may stand in one line."""
    if not isinstance(node, ast.Lambda):
        return True
    count = value.__code__.co_argcount
    return [argument.arg for argument in node.args.args] == list(value.__code__.co_varnames[:count])


def _public(value: nn.Module) -> dict[str, Any]:
    return {name: inner for name, inner in vars(value).items() if not name.startswith("_")}


def _number(value: float | complex) -> str:
    """The number as code, also where it is nan or infinite."""
    if isinstance(value, complex):
        if math.isfinite(value.real) and math.isfinite(value.imag):
            return repr(value)
        return f"complex({_number(value.real)}, {_number(value.imag)})"
    if math.isnan(value):
        return "torch.nan"
    return repr(value) if math.isfinite(value) else "-torch.inf" if value < 0 else "torch.inf"


def _tensor(value: Tensor) -> str:
    if value.numel() > _LARGEST_LITERAL:
        raise Unwritable

    def nested(values: Any) -> str:
        if isinstance(values, list):
            return "[" + ", ".join(map(nested, values)) + "]"
        return repr(values) if isinstance(values, bool | int) else _number(values)

    kind = "" if value.dtype in (torch.bool, torch.int64) else f", dtype={value.dtype}"
    place = "" if value.device.type == "cpu" else f", device={str(value.device)!r}"
    return f"torch.tensor({nested(value.detach().tolist())}{kind}{place})"
