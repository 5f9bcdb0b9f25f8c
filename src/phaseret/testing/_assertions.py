"""Assertions about a user's own losses, operators and networks, which report a failing example as code."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from hypothesis import Phase, Verbosity, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from hypothesis.strategies import DrawFn, SearchStrategy
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck

from phaseret._reduction import Reduction
from phaseret.operators import Operator
from phaseret.symmetry import Symmetry
from phaseret.testing._code import Code, Unwritable
from phaseret.testing._strategies import check_group, objects, pairs, refuse, symmetries

Argument: TypeAlias = "Tensor | SearchStrategy[Any]"
_FEW: tuple[tuple[int, ...], ...] = ((1,), (2,))
_MORE: tuple[tuple[int, ...], ...] = ((1,), (3,), (2, 2))


class _Wrong(Exception):
    """What a check found: the sentence, and the two values that differ, as lines."""

    def __init__(self, what: str, *lines: str) -> None:
        super().__init__(what)
        self.lines = lines


class _Failed(Exception):
    """An example that fails, on its way through hypothesis."""

    def __init__(self, found: Exception, example: _Example) -> None:
        super().__init__(str(found))
        self.found, self.example = found, example


_Example: TypeAlias = "tuple[tuple[Any, ...], dict[str, Any]]"  # arguments of the function; keywords of the assertion


def assert_invariant(
    fn: Callable[..., Any],
    *arguments: Argument,
    group: str = "shift,flip,phase",
    symmetry: Symmetry | None = None,
    ndim: int | None = None,
    tolerance: float | None = None,
    max_examples: int | None = None,
) -> None:
    r"""The value of a loss, metric or map does not change under the symmetries of its first argument.

    .. math:: f(g\,x, y) = f(x, y)

    g is flip, shift and phase of each item on its own. Shifts keep every non-zero pixel within its shape, so nothing
    wraps around. fn finds the same random numbers at each call. The first failure is made as small as hypothesis can,
    and reported as code.

    Args:
        fn: Function or Module of an object and, if it takes more, of what stays as it is: (estimate, intensity),
            (estimate, obj), or just an object. It gives a tensor, or several.
        arguments: Tensors, or strategies of this module that draw them (`pairs`, `objects`). Default: `pairs`, an
            estimate and the intensity of another object, in a batch of one or two; for an `Operator` objects that it
            can measure.
        group: Words as in `symmetries`. Real objects keep their sign, but for the word "sign".
        symmetry: The element of one example of tensors, as in a test of one's own with ``@given``. Default: drawn.
        ndim: Number of axes of one object. Default: 2, or those of the Operator.
        tolerance: Largest relative and absolute difference. Default: that of `torch.testing.assert_close`.
        max_examples: How many examples are tried. Default: that of hypothesis's profile.

    Raises:
        AssertionError: if the value changes, or fn raises an error.
        ValueError: if group holds another word.

    Example:
        >>> assert_invariant(pr.losses.PassiveLoss(), max_examples=5)
        >>> assert_invariant(pr.losses.InvariantLoss(), pairs("object"), max_examples=5)
        >>> assert_invariant(pr.operators.FourierIntensity((9, 9)), max_examples=5)
    """
    check_group("assert_invariant", group)
    d: int = getattr(fn, "object_ndim", 2) if ndim is None else ndim
    seeded = _seeded(fn)

    def check(obj: Tensor, *others: Any, symmetry: Symmetry, tolerance: float | None) -> None:
        with torch.no_grad():
            before, after = seeded(obj, *others), seeded(symmetry(obj), *others)
        _compare(f"the value must not change under {_said(symmetry)}", tolerance, before=before, after=after)

    @st.composite
    def examples(draw: DrawFn) -> _Example:
        default = (
            _objects_of("assert_invariant", fn, margin=2)
            if isinstance(fn, Operator)
            else pairs(ndim=d, batch=draw(st.sampled_from(_FEW)))
        )
        tensors = _draw(draw, arguments or (default,))
        element = draw(symmetries(tensors[0], ndim=d, group=group)) if symmetry is None else symmetry
        return tensors, {"symmetry": element, "tolerance": tolerance}

    known = (arguments, {"symmetry": symmetry, "tolerance": tolerance}) if symmetry is not None else None
    _run("assert_invariant", fn, check, examples(), known, max_examples)


def assert_adjoint(
    operator: Operator,
    *arguments: Argument,
    tolerance: float | None = None,
    max_examples: int | None = None,
) -> None:
    r"""The `adjoint` of an operator is that of its `linear`: for real and complex objects, alone and in batches.

    .. math:: \langle A x, y \rangle = \langle x, A^H y \rangle

    For a real object the real parts are compared. A `linear` that is not linear has no adjoint and fails too.

    Args:
        operator: The operator, or whatever has `linear`, `adjoint` and `object_ndim`.
        arguments: Object and field, as tensors or strategies. A missing field is drawn; missing objects are too, of
            the shape that the operator measures.
        tolerance: Largest difference of the two products, relative to the norms of their factors. Default: 1e-10 in
            double and 1e-4 in single precision.
        max_examples: As in `assert_invariant`.

    Raises:
        AssertionError: if the products differ, the adjoint has not the shape of the object, or an error is raised.
        ValueError: if the operator does not say what it measures and no objects are given.

    Example:
        >>> assert_adjoint(pr.operators.FourierIntensity((5, 6), onesided=True), max_examples=5)
    """

    def check(obj: Tensor, field: Tensor, *, tolerance: float | None) -> None:
        with torch.no_grad():
            there = operator.linear(obj)
            back = operator.adjoint(field, obj.shape[obj.ndim - operator.object_ndim :])
        if back.shape != obj.shape:
            raise _Wrong("adjoint must give the shape of the object", f"{tuple(obj.shape)}", f"{tuple(back.shape)}")
        wide = torch.promote_types(there.dtype, field.dtype)
        left = torch.vdot(there.flatten().to(wide), field.flatten().to(wide))
        right = torch.vdot(obj.flatten().to(back.dtype), back.flatten())
        if not obj.is_complex():
            left, right = left.real, right.real
        size = max((there.norm() * field.norm()).item(), (obj.norm() * back.norm()).item())
        allowed = (1e-10 if there.real.dtype == torch.float64 else 1e-4) if tolerance is None else tolerance
        if not (left - right).abs().item() <= allowed * size:
            what = "<linear(obj), field> must equal <obj, adjoint(field)>"
            raise _Wrong(what, f"<linear(obj), field> is {left.item()}", f"<obj, adjoint(field)> is {right.item()}")

    @st.composite
    def examples(draw: DrawFn) -> _Example:
        batch = draw(st.sampled_from(((), (2,))))
        tensors = _draw(draw, arguments or (_objects_of("assert_adjoint", operator, batch=batch),))
        if len(tensors) == 1:
            with torch.no_grad():
                like = operator.linear(tensors[0])
            tensors += (draw(objects(like.shape, constraint="complex", dtype=like.real.dtype)),)
        return tensors, {"tolerance": tolerance}

    known = (arguments, {"tolerance": tolerance}) if len(arguments) == 2 else None
    _run("assert_adjoint", operator, check, examples(), known, max_examples)


def assert_batch_is_items(
    fn: Callable[..., Any],
    *arguments: Argument,
    ndim: int | Sequence[int] | None = None,
    reduction: Reduction = "none",
    batch_axes: int | None = None,
    tolerance: float | None = None,
    max_examples: int | None = None,
) -> None:
    """A batch gives what its items give one by one: nothing leaks from one item to another.

    Args:
        fn: Function or Module: a loss, a metric, an operator, a network, `Operator.linear`.
        arguments: Tensors of one batch, or strategies that draw them. An argument without axes of a batch is given to
            every item as it is. Default: as in `assert_invariant`, with a batch of one or two axes.
        ndim: Number of axes of one item, for all arguments or for each. Default: 2, or those of the Operator.
        reduction: How fn joins the values of the items: "none", "mean" or "sum".
        batch_axes: 1 for a function that takes exactly one axis of a batch. Default: any number, none too.
        tolerance: As in `assert_invariant`.
        max_examples: As in `assert_invariant`.

    Raises:
        AssertionError: if the batch gives anything else, or fn raises an error.
        ValueError: if the tensors have no axes of a batch.

    Example:
        >>> assert_batch_is_items(pr.losses.PassiveLoss(), reduction="mean", max_examples=5)
        >>> model = pr.models.UNet((8, 8), (16, 16), channels=(2, 4)).eval()
        >>> assert_batch_is_items(model, torch.rand(3, 16, 16))
    """
    options = {"ndim": ndim, "reduction": reduction, "batch_axes": batch_axes, "tolerance": tolerance}
    axes = getattr(fn, "object_ndim", 2) if ndim is None else ndim
    seeded = _seeded(fn)

    def check(*tensors: Tensor, tolerance: float | None, **_: Any) -> None:
        each = [axes] * len(tensors) if isinstance(axes, int) else list(axes)
        batch = tensors[0].shape[: tensors[0].ndim - each[0]]
        with torch.no_grad():
            together = _parts(seeded(*tensors))
            alone = [_parts(seeded(*_item(tensors, each, index, batch_axes))) for index in range(batch.numel())]
        joined = []
        for parts in zip(*alone, strict=True):
            stacked = torch.stack([part.squeeze(0) if batch_axes and reduction == "none" else part for part in parts])
            joined.append(_reduced(stacked, batch, reduction))
        _compare("a batch must give what its items give", tolerance, batch=together, items=tuple(joined))

    @st.composite
    def examples(draw: DrawFn) -> _Example:
        batch = draw(st.sampled_from(_MORE if batch_axes is None else _MORE[:2]))
        default = (
            _objects_of("assert_batch_is_items", fn, batch=batch)
            if isinstance(fn, Operator)
            else pairs(ndim=_first(axes), batch=batch)
        )
        return _draw(draw, arguments or (default,)), options

    known = (arguments, options) if arguments and all(isinstance(x, Tensor) for x in arguments) else None
    if known and arguments[0].ndim <= _first(axes):  # type: ignore[union-attr]
        shape = tuple(arguments[0].shape)  # type: ignore[union-attr]
        fix = "Give several items, or the number of axes of one as ndim"
        raise refuse("assert_batch_is_items", f"the first argument must have axes of a batch, got shape {shape}", fix)
    _run("assert_batch_is_items", fn, check, examples(), known, max_examples)


def assert_gradients(
    fn: Callable[..., Any],
    *arguments: Argument,
    wrt: Sequence[int] = (0,),
    second: bool = False,
    forward: bool = False,
    dark: bool | None = None,
    tolerance: float | None = None,
    max_examples: int | None = None,
) -> None:
    """The gradient is finite and agrees with finite differences, in double precision; also where a spectrum is zero.

    An object that is zero everywhere has a spectrum of zeros, where the modulus has no derivative: this library and
    this check take 0, the mean of the slopes on both sides.

    Args:
        fn: Function or Module, as in `assert_invariant`. One with parameters must be in double precision itself.
        arguments: Tensors, or strategies that draw them: `pairs` or `objects` with ``generic=True``, since a drawn
            value at a kink of fn has no derivative. Default: as in `assert_invariant`, generic.
        wrt: Positions of the arguments that are differentiated; the others are constants.
        second: Check second derivatives as well. A modulus has none where the spectrum is zero, so none is drawn there.
        forward: Check derivatives in forward mode as well.
        dark: Let drawn items be zero everywhere: False for a function with a kink there, such as a ReLU. Default: True
            unless second.
        tolerance: Largest absolute difference; the relative one may be 1e-3. Default: 1e-5.
        max_examples: As in `assert_invariant`, but 10 where the profile has more.

    Raises:
        AssertionError: if a derivative is not finite, or differs, or fn raises an error.

    Example:
        >>> assert_gradients(pr.losses.PassiveLoss(), max_examples=3)
    """
    options = {"wrt": tuple(wrt), "second": second, "forward": forward, "tolerance": tolerance}
    seeded = _seeded(fn)

    def check(*tensors: Any, tolerance: float | None, **_: Any) -> None:
        tensors = tuple(_double(x) for x in tensors)
        inputs = tuple(tensors[i].clone().requires_grad_() for i in wrt)

        def function(*changed: Tensor) -> tuple[Tensor, ...]:
            given = dict(zip(wrt, changed, strict=True))
            return _parts(seeded(*(given.get(i, x) for i, x in enumerate(tensors))))

        _finite(function, inputs)
        limits: dict[str, Any] = {"atol": 1e-5 if tolerance is None else tolerance, "rtol": 1e-3, "nondet_tol": 1e-10}
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated")  # its own forward mode
                gradcheck(function, inputs, check_forward_ad=forward, **limits)
                if second:
                    gradgradcheck(function, inputs, **limits)
        except GradcheckError as error:
            raise _Wrong("the derivative must agree with finite differences", *str(error).splitlines()) from None

    @st.composite
    def examples(draw: DrawFn) -> _Example:
        small: dict[str, Any] = {"generic": True, "dark": not second if dark is None else dark}
        default = (
            _objects_of("assert_gradients", fn, **small)
            if isinstance(fn, Operator)
            else pairs(batch=draw(st.sampled_from(_FEW)), margin=0, **small)
        )
        return _draw(draw, arguments or (default,)), options

    known = (arguments, options) if arguments and not any(isinstance(x, SearchStrategy) for x in arguments) else None
    if max_examples is None:
        max_examples = min(10, settings().max_examples)
    _run("assert_gradients", fn, check, examples(), known, max_examples)


def _seeded(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function with the same random numbers at each call."""

    def call(*arguments: Any) -> Any:
        torch.manual_seed(0)
        return fn(*arguments)

    return call


def _said(symmetry: Symmetry) -> str:
    """What the element does, in words."""
    phase = symmetry.phase.any()
    parts = {"shift": symmetry.shifts.any(), "conjugate flip": symmetry.flipped.any(), "global phase": phase}
    return " and ".join(word for word, used in parts.items() if used) or "nothing at all"


def _finite(function: Callable[..., tuple[Tensor, ...]], inputs: tuple[Tensor, ...]) -> None:
    total = sum((part.real.sum() + part.imag.sum() if part.is_complex() else part.sum()) for part in function(*inputs))
    found = torch.autograd.grad(total, inputs, allow_unused=True)  # type: ignore[arg-type]
    for grad in found:
        if grad is not None and not grad.isfinite().all():
            raise _Wrong("the gradient must be finite", f"the gradient is {_short(grad)}")


@st.composite
def _objects_of(draw: DrawFn, /, where: str, operator: Any, **options: Any) -> Tensor:
    """Objects that the operator can measure."""
    shape = getattr(operator, "object_shape", None) or getattr(operator, "least_shape", None)
    grid: Sequence[int] | None = getattr(operator, "fourier_shape", None)
    if shape is None and grid is not None:
        shape = [draw(st.integers(1, min(4, (m + 1) // 2))) for m in grid]
    if shape is None:
        what = f"objects must be given for an operator that does not say what it measures, got {operator!r}"
        raise refuse(where, what, "Pass tensors, or objects((4, 4))")
    if getattr(operator, "onesided", False):
        options["constraint"] = draw(st.sampled_from(["nonnegative", "real"]))
    return draw(objects(shape, **options))


def _first(axes: int | Sequence[int]) -> int:
    return axes if isinstance(axes, int) else axes[0]


def _draw(draw: DrawFn, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments, with each strategy replaced by what it gives; a tuple is several arguments."""
    found: list[Any] = []
    for argument in arguments:
        value = draw(argument) if isinstance(argument, SearchStrategy) else argument
        found += value if isinstance(value, tuple) else [value]
    return tuple(found)


def _item(tensors: Sequence[Tensor], each: Sequence[int], index: int, batch_axes: int | None) -> list[Tensor]:
    """The arguments of one item, with a batch axis of size 1 if there must be one."""
    found = []
    for tensor, d in zip(tensors, each, strict=True):
        if tensor.ndim == d:
            found.append(tensor)
            continue
        item = tensor.reshape(-1, *tensor.shape[tensor.ndim - d :])[index]
        found.append(item if batch_axes is None else item[None])
    return found


def _reduced(stacked: Tensor, batch: Sequence[int], reduction: Reduction) -> Tensor:
    if reduction == "none":
        return stacked.reshape(*batch, *stacked.shape[1:])
    return stacked.mean(0) if reduction == "mean" else stacked.sum(0)


def _double(value: Any) -> Any:
    if not isinstance(value, Tensor) or not (value.is_floating_point() or value.is_complex()):
        return value
    return value.detach().to(torch.complex128 if value.is_complex() else torch.float64)


def _parts(value: Any) -> tuple[Tensor, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _compare(what: str, tolerance: float | None, **values: Any) -> None:
    """Raise unless the two named values are close."""
    (name, one), (other_name, other) = values.items()
    try:
        torch.testing.assert_close(other, one, rtol=tolerance, atol=tolerance, equal_nan=True)
    except AssertionError as error:
        lines = [f"{name}: {_short(one)}", f"{other_name}: {_short(other)}", *str(error).splitlines()]
        raise _Wrong(what, *lines) from None


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 200 else text[:200] + " ..."


def _run(
    where: str,
    fn: Callable[..., Any],
    check: Callable[..., None],
    examples: SearchStrategy[_Example],
    known: _Example | None,
    max_examples: int | None,
) -> None:
    """Check the one example that is known, or those that hypothesis draws; report the smallest that fails."""

    def attempt(example: _Example) -> None:
        found: Exception | None = None
        with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []):
            try:
                check(*example[0], **example[1])
            except HypothesisException:
                raise
            except Exception as error:
                found = error
        if found is not None:  # Outside of the handler: hypothesis tells failures apart by what they stand in.
            raise _Failed(found, example)

    run = attempt if known is not None else _searched(attempt, examples, max_examples)
    failed: _Failed | None = None
    try:
        run(known) if known is not None else run()  # type: ignore[call-arg]
    except _Failed as error:
        failed = error
    if failed is not None:
        cause = None if isinstance(failed.found, _Wrong) else failed.found
        raise AssertionError(_report(where, fn, failed)) from cause


def _searched(
    attempt: Callable[[_Example], None], examples: SearchStrategy[_Example], max_examples: int | None
) -> Callable[[], None]:
    """The check over all examples; the profile of hypothesis counts, but for what would say things twice."""
    options: dict[str, Any] = {} if max_examples is None else {"max_examples": max_examples}

    @settings(
        deadline=None,
        database=None,
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        print_blob=False,
        phases=[phase for phase in settings().phases if phase != Phase.explain],
        **options,
    )
    @given(examples)
    def test(example: _Example) -> None:
        attempt(example)

    return test


def _report(where: str, fn: Callable[..., Any], failed: _Failed) -> str:
    """The message: what is wrong, and the code that shows it."""
    arguments, keywords = failed.example
    what, lines = str(failed.found), getattr(failed.found, "lines", ())
    if not isinstance(failed.found, _Wrong):
        what = f"the function must not raise an error, got {type(failed.found).__name__}: {what}"
    code = Code()
    code.imports.add(f"from phaseret.testing import {where}")
    try:
        label = code.expression(fn)
    except Unwritable:
        label = ""
    if not label.isidentifier():
        label = "fn"
        code.define(label, fn)
    names = _names(fn, len(arguments), label)
    for name, value in zip(names, arguments, strict=True):
        code.define(name, value)
    words = []
    for key, value in keywords.items():
        if isinstance(value, Symmetry):
            code.define(key, value)
        if not _is_default(value):
            words.append(f"{key}={key if isinstance(value, Symmetry) else code.expression(value)}")
    comments = [f"# {line}".rstrip() for line in lines]
    call = f"{where}({', '.join([label, *names, *words])})"
    return f"{where}: {what}. This code shows it:\n\n{code.text(*comments, call)}\n"


def _is_default(value: Any) -> bool:
    return value is None or value is False or value == "none" or value == (0,)


def _names(fn: Callable[..., Any], count: int, label: str) -> list[str]:
    """What the function calls its arguments, or argument0, ...; none is called as the function is."""
    if isinstance(fn, Operator):
        return ["obj", "field"][:count]
    try:
        signature = inspect.signature(fn.forward if isinstance(fn, nn.Module) else fn)
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        names = [name for name, parameter in signature.parameters.items() if parameter.kind in kinds][:count]
    except (TypeError, ValueError):
        names = []
    if len(names) < count or {label, "torch"} & set(names):
        return [f"argument{i}" for i in range(count)]
    return names
