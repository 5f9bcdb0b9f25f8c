"""The checks of arguments and the only wording of their errors.

Every message reads ``function: argument must <rule>, got <value>. <How to fix>.`` Checks look at metadata only
(type, dtype, shape, device), because looking at values would stall a GPU; `phaseret.operators.validate` looks at
values on request. The name in front is that of the public function or class that the user called. It is read off the
call stack when, and only when, there is something to say: nothing is passed down, wrapped or compiled for it.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence, Set, Sized
from numbers import Integral, Real
from pathlib import Path
from types import FrameType, MappingProxyType, TracebackType
from typing import Any, NoReturn, cast

import torch
from torch import Tensor

from phaseret._words import DOCS, meant, shortened

# Calls pass through these packages: a Module's from torch, a metric's from torchmetrics; and through Python's own, that
# their folder tells: users call theirs "test" and "code" too.
_BETWEEN = ("torch", "torchmetrics")
_PYTHON = (os.path.dirname(os.__file__), "<frozen")
# The command and the tests of users stand above the library.
_ABOVE = ("phaseret.cli", "phaseret.testing")
# The largest integer that 64 bits hold.
LARGEST = 2**63 - 1


def _name(frame: FrameType) -> str:
    """The name that was called: of a function, of a class, or of both."""
    code = frame.f_code
    name = code.co_name
    if name.startswith("torch_dynamo_resume_in_"):  # the rest of a function that torch.compile has cut
        name = name.removeprefix("torch_dynamo_resume_in_").rpartition("_at_")[0]
    if name == "__getattr__":
        return str(frame.f_locals["name"])
    first = code.co_varnames[0] if code.co_argcount else ""
    if first not in ("self", "cls"):
        return name
    owner = frame.f_locals.get(first)
    kind = owner if isinstance(owner, type) else type(owner)
    # Modules, metrics and operands are known by their class.
    unnamed = name in ("forward", "update") or name.startswith("__")
    return kind.__name__ if unnamed else f"{kind.__name__}.{name}"


def _called() -> tuple[str, int]:
    """What the user's code called, and the `stacklevel` at which the caller of this function shows that code.

    It is the outermost frame of this package that no other package's frame parts from this one: where a user's
    operator calls the library from within the library, the call in the operator is meant.
    """
    name, level = "", 1
    try:
        raise LookupError
    except LookupError as error:  # torch.compile leaves this to Python without a word; of sys._getframe it complains
        # Kept in a name, the traceback would keep this frame, and itself, and all tensors of the frames above it.
        frame = cast(TracebackType, error.__traceback__).tb_frame.f_back
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        root = module.partition(".")[0]
        if root == "phaseret" and not module.startswith(_ABOVE) and frame.f_code.co_name != "<module>":
            if module != __name__:
                name = _name(frame)
        elif root not in _BETWEEN and not _is_python(root, frame.f_code.co_filename):
            break
        frame, level = frame.f_back, level + 1
    return name, level


def _is_python(root: str, file: str) -> bool:
    """Whether a module of that name, from that file, is one of Python's own."""
    return root in sys.stdlib_module_names and file.startswith(_PYTHON)


def shown(value: Any) -> str:
    """A value as Python writes it; of an integer with thousands of digits, which Python does not write, its size."""
    try:
        return repr(value)
    except ValueError:
        return f"{type(value).__name__} with an integer of thousands of digits"


def _worded(name: str, what: str, fix: str) -> str:
    start, end = f"{name}: " if name else "", "" if fix.endswith("?") else "."
    return f"{start}{shortened(what)}. {shortened(fix)}{end}"


def fail(what: str, fix: str, error: type[Exception] = ValueError) -> NoReturn:
    """Raise `error` with the project's wording: ``<what was called>: what. fix.``."""
    raise error(_worded(_called()[0], what, fix))


def warn(what: str, fix: str, *, page: str = "") -> None:
    """Warn with the same wording and the page that says more; Python shows the line of the user's call."""
    name, level = _called()
    more = f" More: {DOCS}/{page}" if page else ""
    warnings.warn(_worded(name, what, fix) + more, stacklevel=level)


def warn_once(what: str, fix: str, *, page: str = "") -> None:
    """Warn, but only once for each name that is called: what is said at each step of a training is not heard.

    A backward pass has nothing to say that was not said on the way forward.
    """
    if not torch.compiler.is_compiling() and (name := _called()[0]) != "backward":
        _warned(name, what, fix, page)


@functools.lru_cache(maxsize=256)  # shapes in a text may differ from call to call
def _warned(name: str, what: str, fix: str, page: str) -> None:
    warn(what, fix, page=page)


def no_attribute(module: str, name: str, instead: str | None) -> NoReturn:
    """Answer a name that a module does not have; one of another version or program with what to use instead."""
    if instead is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    fail(f"the name must be one of {module}, got {name!r}", f"Use {instead}", AttributeError)


def extra(module: str, package: str, name: str) -> Any:
    """The imported optional `module` of the distribution `package`, which phaseret's extra `name` installs."""
    try:
        return importlib.import_module(module)
    except ImportError:
        fix = f'Install it with pip install "phaseret[{name}]"'
        fail(f"the package {package} must be installed", fix, ImportError)
    except Exception as error:  # as where an environment variable that it reads is wrong
        said = shortened(" ".join(str(error).split()), 300).rstrip(".")
        fix = "Look at the environment variables that it reads, or install it again"
        fail(f"the package {package} must be one that can be loaded, got the error: {said}", fix, ImportError)


def tensor(**tensors: Any) -> None:
    """Every argument is a tensor that holds at least one element."""
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            fail(f"{name} must be a torch.Tensor, got {type(value).__name__}", _held(name, value), TypeError)
        if value.layout != torch.strided or value.is_nested:
            kind = "a nested one" if value.is_nested else f"one of the layout {value.layout}"
            fix = f"Use torch.nested.to_padded_tensor({name}, 0)" if value.is_nested else f"Use {name}.to_dense()"
            fail(f"{name} must be a dense tensor, got {kind}", fix, TypeError)
        if value.is_quantized:
            fail(f"{name} must not be quantized, got {value.dtype}", f"Use {name}.dequantize()", TypeError)
        if value.numel() == 0:
            fail(
                f"{name} must hold at least one element, got shape {tuple(value.shape)}",
                "Leave out empty batches",
            )


def _held(name: str, value: Any) -> str:
    """How to give the tensor that was meant: a measurement and a reconstruction hold it."""
    held = [word for word in (name, "intensity", "obj") if isinstance(getattr(value, word, None), Tensor)]
    if not held:
        return "Use torch.as_tensor"
    masked = held[0] == "intensity" and isinstance(getattr(value, "mask", None), Tensor)
    return f"Use its .{held[0]}{', and mask= with its .mask' * masked}"


def floating(**tensors: Any) -> None:
    """Every argument is a tensor of a real or complex floating dtype."""
    tensor(**tensors)
    for name, value in tensors.items():
        if not (value.is_floating_point() or value.is_complex()):
            fail(f"{name} must be real or complex floating, got {value.dtype}", f"Use {name}.float()", TypeError)
        _wide(name, value)


def _wide(name: str, value: Tensor) -> None:
    """Its numbers have the 16 bits that torch computes with."""
    if value.is_floating_point() and value.dtype.itemsize == 1:
        fail(f"{name} must be floating of at least 16 bits, got {value.dtype}", f"Use {name}.float()", TypeError)


def finite(**tensors: Tensor) -> None:
    """Every argument is a tensor of finite values; looks at them."""
    tensor(**tensors)
    for name, value in tensors.items():
        _wide(name, value)
        if not bool(value.isfinite().all()):
            fail(f"{name} must be finite, got other values", f"Set them to 0 with torch.nan_to_num({name}, 0, 0, 0)")


def real(**tensors: Any) -> None:
    """Every argument is a tensor of a real floating dtype."""
    tensor(**tensors)
    for name, value in tensors.items():
        if not value.is_floating_point():
            fix = f"Use {name}.abs() or {name}.real" if value.is_complex() else f"Use {name}.float()"
            fail(f"{name} must be real floating, got {value.dtype}", fix, TypeError)
        _wide(name, value)


def boolean(**tensors: Any) -> None:
    """Every argument is a boolean tensor."""
    for name, value in tensors.items():
        sizes = isinstance(value, tuple | list) and all(isinstance(n, int) and n > 1 for n in value)
        if sizes and value:
            fix = f"Use torch.ones({tuple(value)}, dtype=torch.bool) for a box of these sizes"
            fail(f"{name} must be a torch.Tensor, got {value!r}", fix, TypeError)
    tensor(**tensors)
    for name, value in tensors.items():
        if value.dtype != torch.bool:
            fail(f"{name} must be a boolean tensor, got {value.dtype}", f"Use {name}.bool()", TypeError)


def mask(mask: Any, intensity: Tensor) -> Tensor:
    """The mask is boolean, on the data's device, and broadcasts to the data; returns it in the data's shape."""
    boolean(mask=mask)
    same_device(intensity=intensity, mask=mask)
    return broadcast("mask", mask, "the intensity", intensity, item="measurement")


def broadcast(name: str, value: Tensor, of: str, to: Tensor, item: str = "object") -> Tensor:
    """The value broadcasts to the tensor that is called `of`, a batch of such items; returns it in that one's shape."""
    try:
        return value.expand_as(to)
    except RuntimeError:
        fix = f"Use one {name} for all items, of the shape of one {item}, or one for each"
        fail(f"{name} must broadcast to {of} {tuple(to.shape)}, got {tuple(value.shape)}", fix)


def background(value: Any, intensity: Tensor) -> Tensor:
    """The value is a number of at least 0, or a real tensor that broadcasts to the intensity, in its dtype."""
    if not isinstance(value, Tensor):
        value = number("background", value, at_least=0)
        return torch.tensor(value, dtype=intensity.dtype, device=intensity.device)
    real(background=value)
    same_device(intensity=intensity, background=value)
    broadcast("background", value, "the intensity", intensity, item="pattern")
    return value.to(intensity.dtype)


def both_masks(own: Tensor | None, given: Any, intensity: Any) -> Tensor | None:
    """The mask of a Module and that of its call in one: measured is what both say is; None stands for everywhere."""
    if own is None or given is None:
        return cast("Tensor | None", given) if own is None else own
    tensor(intensity=intensity)
    return mask(own, intensity) & mask(given, intensity)


def same_device(**tensors: Tensor | None) -> None:
    """All arguments lie on one device."""
    found = {name: value.device for name, value in tensors.items() if value is not None}
    if len(set(found.values())) > 1:
        listing = ", ".join(f"{name} on {device}" for name, device in found.items())
        fail(f"all tensors must lie on one device, got {listing}", "Move them with .to(device)")


def rank(at_least: int, **tensors: Tensor) -> None:
    """Every argument has at least `at_least` axes."""
    for name, value in tensors.items():
        if value.ndim < at_least:
            fix = "Add one with unsqueeze(0)"
            fail(f"{name} must have at least {at_least} axes, got shape {tuple(value.shape)}", fix)


def item_shape(name: str, value: Tensor, shape: Sequence[int], fix: str) -> None:
    """Every item of the tensor has that shape."""
    if value.ndim < len(shape) or tuple(value.shape[value.ndim - len(shape) :]) != tuple(shape):
        sizes = ", ".join(map(str, shape))
        fail(f"{name} must have the shape (*, {sizes}), got {tuple(value.shape)}", fix)


def item_axes(ndim: Any, *, most: int = 3, **tensors: Tensor) -> int:
    """The number of axes of one item is 1, 2 or 3, and the tensors have that many; returns it.

    `most` is 4 for measurements that hold several patterns of a volume.
    """
    if integer("ndim", ndim) > most:
        *rest, last = range(1, most + 1)
        fail(f"ndim must be {', '.join(map(str, rest))} or {last}, got {ndim}", "Axes before these are a batch")
    rank(ndim, **tensors)
    return int(ndim)


def same_shape(**tensors: Tensor) -> None:
    """All arguments have one shape."""
    if len({tuple(value.shape) for value in tensors.values()}) > 1:
        listing = ", ".join(f"{name} {tuple(value.shape)}" for name, value in tensors.items())
        fail(f"shapes must be equal, got {listing}", "Expand or index one of them")


def same_batch(first: tuple[str, Tensor, int], second: tuple[str, Tensor, int]) -> None:
    """Two (name, tensor, number of item axes) have equal batch shapes: the axes before their item axes."""
    (name_a, a, axes_a), (name_b, b, axes_b) = first, second
    batch_a, batch_b = tuple(a.shape[: a.ndim - axes_a]), tuple(b.shape[: b.ndim - axes_b])
    if batch_a != batch_b:
        fail(
            f"{name_a} and {name_b} must have equal batch shapes, got {batch_a} from {name_a} {tuple(a.shape)} "
            f"and {batch_b} from {name_b} {tuple(b.shape)}",
            "Expand or index one of them",
        )


def known(given: Iterable[str], options: Sequence[str], elsewhere: Mapping[str, str] = MappingProxyType({})) -> None:
    """The names of the options that are given exist; `elsewhere` says where else an option is given."""
    for name in given:
        if name not in options:
            near = meant(name, (*options, *elsewhere))
            fix = f"Did you mean {near!r}?" if near else f"The options are {', '.join(options) or 'none'}"
            fix = elsewhere.get(near, fix)
            fail(f"the name of an option must be a known one, got {name!r}", fix, TypeError)


def choice(name: str, value: Any, options: Iterable[Any]) -> None:
    """The value is one of the options."""
    options = tuple(options)
    several = isinstance(value, Sized) and not isinstance(value, str)  # arrays compare themselves item by item
    if several or value not in options:
        words = [option for option in options if isinstance(option, str)]
        near = meant(value, words) if isinstance(value, str) else ""
        fix = f"Did you mean {near!r}?" if near else "Choose one of these"
        fail(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}", fix)


def instance(name: str, value: Any, kind: type, fix: str) -> None:
    """The value is one of the class."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        fail(f"{name} must be {article} {kind.__name__}, got {type(value).__name__}", fix, TypeError)


def sequence(name: str, value: Any, of: str, fix: str) -> None:
    """The value holds several in an order: a text and a set do not."""
    other = isinstance(value, str | bytes | Set | Mapping) or getattr(value, "ndim", 1) == 0
    if other or not isinstance(value, Iterable):
        fail(f"{name} must be a sequence of {of}, got {value!r}", fix, TypeError)


def path(value: Any, name: str = "path") -> Path:
    """The value names a file or a folder; returns it as a Path."""
    if not isinstance(value, str | os.PathLike):
        fail(f"{name} must be a text or a pathlib.Path, got {value!r}", f"Use str({name})", TypeError)
    if "\0" in str(value):
        fail(f"{name} must be a text without the character 0, got {value!r}", "Look for a misprint")
    return Path(value)


def key(value: Any) -> None:
    """The value names an array of a file, or is None."""
    if value is not None and not isinstance(value, str):
        fail(f"key must be a text or None, got {value!r}", "Use one name, such as 'entry/data'", TypeError)
    if value == "":
        fail("key must name an array, got ''", "Leave it out for the default")


def readable(file: Path, name: str = "path") -> Path:
    """Whoever runs this may read the file or the folder; whether it is there is another question."""
    try:
        os.stat(file)
        allowed = os.access(file, os.R_OK)
    except PermissionError:
        allowed = False
    except (OSError, ValueError):
        return file
    if not allowed:
        fix = "Ask its owner, or copy it"
        fail(f"{name} must be one that you may read, got {str(file)!r}: permission denied", fix, PermissionError)
    return file


def _as_flag(name: str, value: Any) -> str:
    """How to say yes or no; every text is true."""
    return "Write it without quotes" if isinstance(value, str) else f"Use bool({name})"


def flag(**values: Any) -> None:
    """Every argument is True or False."""
    for name, value in values.items():
        if not isinstance(value, bool):
            fail(f"{name} must be True or False, got {value!r}", _as_flag(name, value), TypeError)


def switch(name: str, value: Any) -> None:
    """The value is True, False, or None for the default."""
    if value is not None and not isinstance(value, bool):
        fail(f"{name} must be True, False or None, got {value!r}", _as_flag(name, value), TypeError)


def generator(value: Any) -> None:
    """The value is a source of random numbers, or None for torch's own."""
    if value is not None and not isinstance(value, torch.Generator):
        fix = "Use torch.Generator().manual_seed(0)"
        fail(f"generator must be a torch.Generator, got {value!r}", fix, TypeError)


def number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> float:
    """The value is a finite real number within the bounds; returns it as a float."""
    rules = [f"above {above}"] * (above is not None) + [f"at least {at_least}"] * (at_least is not None)
    rules += [f"at most {at_most}"] * (at_most is not None)
    rule = "a finite number" + (" " + " and ".join(rules) if rules else "")
    if isinstance(value, bool) or not isinstance(value, Real):
        fail(f"{name} must be {rule}, got {value!r}", f"Use float({name}), or one number", TypeError)
    try:
        result = float(value)
    except OverflowError:  # an integer of more than 308 digits
        result = math.inf
    inside = (
        math.isfinite(result)
        and (above is None or result > above)
        and (at_least is None or result >= at_least)
        and (at_most is None or result <= at_most)
    )
    if not inside:
        fail(f"{name} must be {rule}, got {shown(value)}", "Choose a number in this range")
    return result


def integer(name: str, value: Any, *, at_least: int = 1) -> int:
    """The value is an integer of at least `at_least` that 64 bits hold; returns it as an int."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        fail(f"{name} must be an integer of at least {at_least}, got {value!r}", f"Use int({name})", TypeError)
    if value < at_least:
        fail(f"{name} must be an integer of at least {at_least}, got {shown(value)}", f"Use {at_least} or more")
    result = int(value)
    if result > LARGEST:
        fail(f"{name} must be an integer of at most {LARGEST}, got {shown(value)}", "Use a smaller one")
    return result


def shape(name: str, value: Any) -> tuple[int, ...]:
    """The value is a shape of one to three positive integers; returns it as a tuple."""
    given = value
    if isinstance(value, Integral) and not isinstance(value, bool):
        fail(f"{name} must be a sequence of sizes, got {given!r}", f"Use ({given}, {given})", TypeError)
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        fail(f"{name} must be a sequence of sizes, got {given!r}", "Use a tuple such as (64, 64)", TypeError)
    if not all(isinstance(size, Integral) and not isinstance(size, bool) for size in value):
        fail(f"{name} must hold integers, got {given!r}", "Use int() of each size", TypeError)
    if not 1 <= len(value) <= 3:
        fail(f"{name} must have one to three sizes, got {given!r}", "Leave out the axes of the batch")
    if any(size < 1 for size in value):
        fail(f"{name} must hold positive sizes, got {shown(given)}", "Use sizes of at least 1")
    sizes = tuple([int(size) for size in value])
    if math.prod(sizes) > LARGEST:
        fail(f"{name} must hold sizes that can be counted together, got {shown(given)}", "Use smaller ones")
    return sizes


def fourier_shape(value: Sequence[int], object_shape: Sequence[int], undersampled: bool = False) -> None:
    """Every Fourier size is at least 2n - 1 (Hayes 1982: below it the object is not determined), or n if asked for."""
    value, sizes = tuple(value), tuple(object_shape)
    smallest = tuple(2 * n - 1 for n in sizes)

    def at_least(bounds: tuple[int, ...]) -> bool:
        return len(value) == len(bounds) and all(m >= least for m, least in zip(value, bounds, strict=True))

    if at_least(smallest):
        return
    if not (undersampled and at_least(sizes)):
        rule = f"fourier_shape must be at least {smallest} = 2n-1 for an object of shape {sizes}"
        other = ", or undersampled=True where such data are wanted" if at_least(sizes) else ""
        fail(f"{rule}, got {value}", f"Use min_fourier_shape({sizes}){other}")
    warn_once(
        f"data of the shape {value} do not determine an object of shape {sizes}, which takes {smallest} = 2n-1: other "
        "objects have the same data",
        "Bring in what else is known, such as a support, bounds or a network trained on objects",
        page="units.rst#sampling-below-2n-1",
    )
