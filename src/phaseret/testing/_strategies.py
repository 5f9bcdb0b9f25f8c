"""Hypothesis strategies: objects, supports, masks, operators, group elements, noisy data, and whole problems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch import Tensor
from torch.nn.functional import pad

from phaseret.noise import gaussian_noise, poisson_noise, readout_noise, saturation
from phaseret.operators import (
    CodedDiffraction,
    FourierIntensity,
    FourierMagnitude,
    Fresnel,
    Gaussian,
    Operator,
    Ptychography,
    min_fourier_shape,
)
from phaseret.projections import Constraint
from phaseret.symmetry import Symmetry
from phaseret.testing import _code

Kind = Literal["fourier", "coded", "ptychography", "gaussian", "fresnel"]
_CONSTRAINTS: tuple[Constraint, ...] = ("nonnegative", "real", "complex")
_KINDS: tuple[Kind, ...] = ("fourier", "coded", "ptychography", "gaussian", "fresnel")
_WORDS = ("shift", "flip", "phase", "sign")
_BATCHES: tuple[tuple[int, ...], ...] = ((), (1,), (2,), (2, 2))
_PRECISIONS = (torch.float64, torch.float32)
_LISTED_VALUES = 64  # At most so many are drawn one by one, which takes time.


def refuse(where: str, what: str, fix: str) -> ValueError:
    """The error of a wrong option, in the wording of the library."""
    return ValueError(f"{where}: {what}. {fix}.")


def check_group(where: str, group: str) -> set[str]:
    """The words of a group such as "shift,flip"."""
    found = {word.strip() for word in group.split(",")}
    if not found <= set(_WORDS):
        wrong = ", ".join(sorted(found - set(_WORDS)))
        raise refuse(where, f"group must hold words of {', '.join(_WORDS)}, got {wrong!r}", "Join them by commas")
    return found


def object_shapes(ndim: int | None = 2, *, max_size: int = 4) -> SearchStrategy[tuple[int, ...]]:
    """Shapes of one object, odd and even, from one pixel on.

    Args:
        ndim: Number of axes (1, 2 or 3); None draws it.
        max_size: Largest size of an axis.

    Returns:
        Strategy of tuples of integers.

    Example:
        >>> from hypothesis import find
        >>> find(object_shapes(ndim=3), lambda shape: sum(shape) > 3)
        (1, 1, 2)
    """
    sizes = st.integers(1, max_size)
    return st.lists(sizes, min_size=ndim or 1, max_size=ndim or 3).map(tuple)


def fourier_shapes(object_shape: Sequence[int], *, extra: int = 3) -> SearchStrategy[tuple[int, ...]]:
    """Shapes of the data of an object: 2n - 1 and up to `extra` pixels more along each axis.

    Args:
        object_shape: Sizes (n1, ..., nd) of the object.
        extra: Largest number of pixels beyond 2n - 1.

    Returns:
        Strategy of tuples of integers.

    Example:
        >>> from hypothesis import find
        >>> find(fourier_shapes((3, 4)), lambda shape: True)
        (5, 7)
    """
    axes = [st.integers(m, m + extra) for m in min_fourier_shape(object_shape)]
    return st.tuples(*axes)


@st.composite
def objects(
    draw: DrawFn,
    shape: Sequence[int] | None = None,
    *,
    ndim: int | None = 2,
    batch: Sequence[int] | None = (),
    constraint: Constraint | None = None,
    dtype: torch.dtype | None = torch.float64,
    margin: int = 0,
    generic: bool = False,
    dark: bool = False,
) -> Tensor:
    """Objects with known facts: their constraint, their empty margin, and that they are not zero everywhere.

    The values are multiples of 1/4 with the zeros and ties where functions break: some at the first pixels, drawn one
    by one, and for half of the objects others everywhere, drawn from a seed. They shrink towards a single pixel.
    ``generic=True`` draws from a normal distribution instead (a uniform one for non-negative objects), for facts that
    hold for almost all objects only.

    Args:
        shape: Sizes (n1, ..., nd) of one object, its margin included. Default: drawn, up to 4 pixels along each axis.
        ndim: Number of axes where no shape is given; None draws it.
        batch: Sizes of the axes before these; None draws none, one or two.
        constraint: "nonnegative", "real" or "complex"; None draws it.
        dtype: Real dtype that sets the precision; None draws torch.float32 or torch.float64.
        margin: Up to so many rows of zeros at each border, so that the object can be shifted within its shape.
        generic: Draw values without ties and zeros.
        dark: Let items be zero everywhere: all their spectrum is zero, and a magnitude has no slope there.

    Returns:
        Strategy of tensors (*batch, n1..nd).

    Example:
        >>> from hypothesis import find
        >>> find(objects(), lambda obj: obj.numel() > 1 and obj.is_complex())
        tensor([[1.+0.j, 0.+0.j]], dtype=torch.complex128)
    """
    chosen, dtype, batch = _draw_options(draw, "objects", constraint, dtype, batch)
    if shape is None:
        content = draw(object_shapes(ndim))
        rooms = [(draw(st.integers(0, margin)), draw(st.integers(0, margin))) for _ in content]
    else:
        before = [draw(st.integers(0, min(margin, n - 1))) for n in shape]
        after = [draw(st.integers(0, min(margin, n - 1 - b))) for n, b in zip(shape, before, strict=True)]
        rooms = list(zip(before, after, strict=True))
        content = tuple(n - b - a for n, (b, a) in zip(shape, rooms, strict=True))
    items = _values(draw, [math.prod(batch), *content], chosen, generic)
    if dark and generic:
        items[torch.tensor([draw(st.booleans()) for _ in items])] = 0
    if not dark:
        items.flatten(1)[(items == 0).flatten(1).all(-1), 0] = 1
    items = pad(items, [rows for room in reversed(rooms) for rows in room])
    return items.reshape(*batch, *items.shape[1:]).to(dtype.to_complex() if chosen == "complex" else dtype)


def _draw_options(
    draw: DrawFn, where: str, constraint: Constraint | None, dtype: torch.dtype | None, batch: Sequence[int] | None
) -> tuple[Constraint, torch.dtype, tuple[int, ...]]:
    """The options, drawn where they are None."""
    if constraint is not None and constraint not in _CONSTRAINTS:
        what = f"constraint must be one of {', '.join(map(repr, _CONSTRAINTS))}, got {constraint!r}"
        raise refuse(where, what, "Choose one of these")
    return (
        draw(st.sampled_from(_CONSTRAINTS)) if constraint is None else constraint,
        dtype or draw(st.sampled_from(_PRECISIONS)),
        draw(st.sampled_from(_BATCHES)) if batch is None else tuple(batch),
    )


def _values(draw: DrawFn, shape: Sequence[int], constraint: Constraint, generic: bool) -> Tensor:
    """Double-precision values of the constraint."""
    parts = 2 if constraint == "complex" else 1
    count, least = math.prod(shape) * parts, 0 if constraint == "nonnegative" else -8
    if generic:
        normal = torch.randn(count, dtype=torch.float64, generator=_seeded(draw))
        flat = torch.special.ndtr(normal) if constraint == "nonnegative" else normal
        flat = (flat * 2**20).ceil() / 2**20  # Exact in single precision.
    else:
        # The same draws for each shape: hypothesis shrinks the shape best when all else keeps its place.
        few = draw(st.lists(st.integers(least, 8), max_size=_LISTED_VALUES))[:count]
        flat = torch.tensor([*few, *[0] * (count - len(few))]).double() / 4
        if draw(st.booleans()):
            flat = flat + torch.randint(least, 9, (count,), generator=_seeded(draw)) / 4
    return torch.view_as_complex(flat.reshape(*shape, 2)) if parts == 2 else flat.reshape(*shape)


def _seeded(draw: DrawFn) -> torch.Generator:
    return torch.Generator().manual_seed(draw(st.integers(0, 999)))


@st.composite
def supports(draw: DrawFn, obj: Tensor, *, ndim: int = 2) -> Tensor:
    """Supports that hold the object, from just its non-zero pixels to all of its shape.

    Args:
        obj: Object, real or complex.
        ndim: Number of axes of one object.

    Shape:
        - obj: (*, n1..nd)
        - output: (n1..nd), one for all items

    Returns:
        Strategy of boolean tensors, True wherever an item is not zero and at further pixels.

    Example:
        >>> from hypothesis import find
        >>> find(supports(torch.tensor([[0.0, 1.0, 0.0]])), lambda support: not support.all())[0, 1]
        tensor(True)
    """
    content = (obj != 0).flatten(0, obj.ndim - ndim - 1).any(0) if obj.ndim > ndim else obj != 0
    return content | draw(masks(content.shape))


@st.composite
def masks(draw: DrawFn, shape: Sequence[int], *, batch: Sequence[int] = ()) -> Tensor:
    """Masks of measured pixels, True where the data are measured, which is at a pixel of every item at least.

    Args:
        shape: Sizes (m1, ..., md) of one measurement.
        batch: Sizes of the axes before these.

    Returns:
        Strategy of boolean tensors (*batch, m1..md), which shrink towards all True.

    Example:
        >>> from hypothesis import find
        >>> find(masks((2, 2), batch=(3,)), lambda mask: True).shape
        torch.Size([3, 2, 2])
    """
    items, count = math.prod(batch), math.prod(shape)
    few = draw(st.lists(st.booleans(), max_size=_LISTED_VALUES))[: items * count]
    missing = torch.tensor([*few, *[False] * (items * count - len(few))]).reshape(items, count)
    if draw(st.booleans()):
        missing |= torch.rand(items, count, generator=_seeded(draw)) < 0.25
    missing[missing.all(-1), 0] = False
    return ~missing.reshape(*batch, *shape)


@st.composite
def symmetries(
    draw: DrawFn,
    obj: Tensor,
    *,
    ndim: int = 2,
    group: str = "shift,flip,phase",
    fourier_shape: Sequence[int] | None = None,
) -> Symmetry:
    """Elements of the group that the Fourier magnitude of `obj` cannot see, one for each item.

    Without `fourier_shape` a shift keeps every non-zero pixel within the object's shape, so that nothing wraps around
    and the moved object is an exact copy at every oversampling; objects drawn with ``margin=`` can move. With it the
    object is padded and goes anywhere on the padded grid, circularly.

    Args:
        obj: Object, real or complex.
        ndim: Number of axes of one object where no `fourier_shape` is given.
        group: Words of "shift", "flip" (the conjugate flip), "phase" (the global phase of a complex object; a real
            one keeps its sign) and "sign" (of a real object), joined by commas.
        fourier_shape: Sizes (m1, ..., md) of the padded grid. Default: the object's own.

    Returns:
        Strategy of `phaseret.symmetry.Symmetry`, which shrink towards the identity.

    Raises:
        ValueError: if group holds another word.

    Example:
        >>> from hypothesis import find
        >>> obj = torch.tensor([[0.0, 1.0, 2.0]])
        >>> find(symmetries(obj), lambda g: g.flipped and g.shifts.any())(obj)
        tensor([[0., 2., 1.]])
    """
    chosen = check_group("symmetries", group)
    d = ndim if fourier_shape is None else len(fourier_shape)
    object_shape = tuple(obj.shape[obj.ndim - d :])
    grid = object_shape if fourier_shape is None else tuple(fourier_shape)
    batch = obj.shape[: obj.ndim - d]
    moves, flips, phases = [], [], []
    for item in obj.reshape(-1, *object_shape):
        flipped = "flip" in chosen and draw(st.booleans())
        room = [(m // 2, (m - 1) // 2) for m in grid]
        if fourier_shape is None:
            room = _room(item.flip(tuple(range(d))) if flipped else item)
        moves.append([draw(st.integers(-low, high)) if "shift" in chosen else 0 for low, high in room])
        flips.append(flipped)
        if obj.is_complex():
            phases.append(draw(st.integers(-6, 6)) / 2 if "phase" in chosen else 0.0)
        else:
            phases.append(math.pi if "sign" in chosen and draw(st.booleans()) else 0.0)
    shifts = torch.tensor(moves).reshape(*batch, d)
    phase = torch.tensor(phases, dtype=torch.float64).reshape(batch)
    return Symmetry(shifts, torch.tensor(flips).reshape(batch), phase, object_shape, grid)


def _room(item: Tensor) -> list[tuple[int, int]]:
    """Rows of zeros before and after the content along each axis; none for an item without content."""
    places = item.nonzero()
    if not len(places):
        return [(0, 0)] * item.ndim
    low, high = places.amin(0).tolist(), places.amax(0).tolist()
    return [(a, n - 1 - b) for a, b, n in zip(low, high, item.shape, strict=True)]


@st.composite
def operators(
    draw: DrawFn,
    object_shape: Sequence[int] | None = None,
    *,
    ndim: int | None = 2,
    kinds: Sequence[Kind] = _KINDS,
    constraint: Constraint = "complex",
) -> Operator:
    """Operators in double precision, with random options, for objects of one shape.

    Args:
        object_shape: Sizes (n1, ..., nd) of the objects. Default: drawn.
        ndim: Number of their axes where no shape is given; None draws it.
        kinds: Words of "fourier" (`FourierIntensity` and `FourierMagnitude`), "coded", "ptychography", "gaussian"
            and "fresnel".
        constraint: That of the objects: only for "real" and "nonnegative" half of the Fourier plane may be measured.

    Returns:
        Strategy of `phaseret.operators.Operator`.

    Raises:
        ValueError: if kinds holds another word.

    Example:
        >>> from hypothesis import find
        >>> find(operators((2, 3), kinds=["fourier"]), lambda operator: True)
        FourierIntensity(fourier_shape=(3, 5), norm='ortho', centered=False, onesided=False, undersampled=False)
    """
    if not kinds or not set(kinds) <= set(_KINDS):
        raise refuse(
            "operators", f"kinds must hold words of {', '.join(_KINDS)}, got {kinds!r}", "Choose some of these"
        )
    n = draw(object_shapes(ndim)) if object_shape is None else tuple(object_shape)
    kind = draw(st.sampled_from(list(kinds)))
    if kind == "fourier":
        half = constraint != "complex" and draw(st.booleans())
        options = {**_far_field(draw), "onesided": half}
        cls = draw(st.sampled_from([FourierIntensity, FourierMagnitude]))
        return _code.remember(cls, draw(fourier_shapes(n)), **options)
    if kind == "coded":
        grid = tuple(size + draw(st.integers(0, 3)) for size in n)
        return _code.remember(CodedDiffraction, _random(draw, draw(st.integers(1, 3)), *n), grid, **_far_field(draw))
    if kind == "ptychography":
        window = [draw(st.integers(1, size)) for size in n]
        count = draw(st.integers(1, 3))
        places = [[draw(st.integers(0, 2 * (a - p))) / 2 for a, p in zip(n, window, strict=True)] for _ in range(count)]
        positions = torch.tensor(places, dtype=torch.float64)
        positions = positions.long() if draw(st.booleans()) else positions
        return _code.remember(Ptychography, _random(draw, *window), positions, **_far_field(draw))
    if kind == "gaussian":
        return _code.remember(Gaussian, _random(draw, draw(st.integers(1, 6)), *n))
    return _fresnel(draw, n)


def _far_field(draw: DrawFn) -> dict[str, Any]:
    return {"norm": draw(st.sampled_from(["ortho", "backward", "forward"])), "centered": draw(st.booleans())}


def _fresnel(draw: DrawFn, n: Sequence[int]) -> Operator:
    grid = tuple(size + draw(st.integers(0, 3)) for size in n)
    distance = draw(st.sampled_from([2.5, -1.0, [1.0, 3.0]]))
    options = {"distance": distance, "wavelength": 1.2, "pixel_size": 1.0, "paraxial": draw(st.booleans())}
    return _code.remember(Fresnel, grid, **options).double()


def _random(draw: DrawFn, *shape: int) -> Tensor:
    """Generic values, real or complex: of masks, probes and matrices."""
    return _values(draw, shape, draw(st.sampled_from(["real", "complex"])), generic=True)


@st.composite
def noisy(draw: DrawFn, intensity: Tensor, *, ndim: int = 2) -> Tensor:
    """The intensity as a detector might give it: with photon, Gaussian or read-out noise, or saturated.

    Args:
        intensity: Noise-free intensity.
        ndim: Number of axes of one measurement.

    Returns:
        Strategy of tensors like the intensity, finite and non-negative.

    Example:
        >>> from hypothesis import find
        >>> find(noisy(torch.ones(2, 2)), lambda data: (data == 2).any()).shape
        torch.Size([2, 2])
    """
    generator = _seeded(draw)
    level = draw(st.sampled_from([1.0, 0.1, 10.0]))
    kind = draw(st.sampled_from(["poisson", "gaussian", "readout", "saturation"]))
    if kind == "poisson":
        return poisson_noise(intensity, photons_per_pixel=level, ndim=ndim, generator=generator)
    if kind == "gaussian":
        return gaussian_noise(intensity, sigma=level, generator=generator)
    if kind == "readout":
        return readout_noise(intensity, sigma=level, generator=generator)
    return saturation(intensity, level=level)


@st.composite
def pairs(
    draw: DrawFn,
    target: Literal["intensity", "object"] = "intensity",
    object_shape: Sequence[int] | None = None,
    fourier_shape: Sequence[int] | None = None,
    *,
    ndim: int | None = 2,
    batch: Sequence[int] | None = (),
    constraint: Constraint | None = None,
    dtype: torch.dtype | None = torch.float64,
    margin: int = 2,
    generic: bool = False,
    dark: bool = False,
) -> tuple[Tensor, Tensor]:
    """What a loss or a metric is called with: an estimate, and the data or the ground truth of another object.

    Args:
        target: "intensity" for the Fourier intensity of the other object, "object" for the object itself.
        object_shape: Sizes (n1, ..., nd) of estimate and object. Default: drawn.
        fourier_shape: Sizes (m1, ..., md) of the intensity. Default: drawn, from 2n - 1 on.
        ndim: As in `objects`, as is each option below.
        batch: Sizes of the axes before those of estimate and target.
        constraint: That of both objects.
        dtype: That of both objects.
        margin: That of the estimate.
        generic: For both objects.
        dark: For the estimate.

    Returns:
        Strategy of tuples (estimate, target).

    Raises:
        ValueError: if target is another word.

    Example:
        >>> from hypothesis import find
        >>> estimate, intensity = find(pairs(), lambda pair: True)
        >>> estimate, intensity
        (tensor([[1.]], dtype=torch.float64), tensor([[1.]], dtype=torch.float64))
    """
    if target not in ("intensity", "object"):
        raise refuse("pairs", f"target must be 'intensity' or 'object', got {target!r}", "Choose one of these")
    chosen, dtype, batch = _draw_options(draw, "pairs", constraint, dtype, batch)
    common: dict[str, Any] = {"batch": batch, "constraint": chosen, "dtype": dtype, "generic": generic}
    estimate = draw(objects(object_shape, ndim=ndim, margin=margin, dark=dark, **common))
    n = tuple(estimate.shape[len(batch) :])
    obj = draw(objects(n, **common))
    if target == "object":
        return estimate, obj
    m = draw(fourier_shapes(n)) if fourier_shape is None else tuple(fourier_shape)
    return estimate, FourierIntensity(m)(obj)


@dataclass(frozen=True, eq=False)
class Problem:
    """A phase-retrieval problem together with its answer.

    Attributes:
        obj: (*, n1..nd), the answer: ``operator(obj)`` is the intensity, but for the noise, wherever it is measured.
        operator: What was measured, in the precision of obj.
        intensity: Data; an unmeasured pixel holds 0.
        exact: Data without noise and mask.
        mask: True where the data are measured.
        support: (n1..nd), True at every pixel where an item of obj is not zero, and at others.
        constraint: "nonnegative", "real" or "complex"; obj meets it.
        symmetry: An element of the group that the operator cannot see, one per item: ``symmetry(obj)`` is an answer
            too, of the same shape. It may leave the support.
    """

    obj: Tensor
    operator: Operator
    intensity: Tensor
    exact: Tensor
    mask: Tensor
    support: Tensor
    constraint: Constraint
    symmetry: Symmetry


@st.composite
def problems(
    draw: DrawFn,
    object_shape: Sequence[int] | None = None,
    *,
    ndim: int | None = 2,
    batch: Sequence[int] | None = (),
    kinds: Sequence[Kind] = ("fourier",),
    constraint: Constraint | None = None,
    dtype: torch.dtype | None = torch.float64,
    margin: int = 2,
    generic: bool = False,
    noise: bool = False,
    masked: bool = True,
) -> Problem:
    """Problems for solvers and networks: data, what is known beforehand, and the answer.

    Args:
        object_shape: Sizes (n1, ..., nd) of the object. Default: drawn.
        ndim: As in `objects`, as are batch, constraint, dtype, margin and generic.
        batch: Sizes of the axes before those of the object.
        kinds: As in `operators`.
        constraint: That of the object.
        dtype: That of the object and of the operator.
        margin: That of the object.
        generic: For the object.
        noise: Make the data `noisy`.
        masked: Let pixels be unmeasured.

    Returns:
        Strategy of `Problem`.

    Example:
        >>> from hypothesis import given, settings
        >>> @settings(max_examples=5)
        ... @given(problems())
        ... def test_every_answer_explains_the_data(problem):
        ...     for answer in (problem.obj, problem.symmetry(problem.obj)):
        ...         torch.testing.assert_close(problem.operator(answer), problem.exact)
        >>> test_every_answer_explains_the_data()
    """
    chosen, dtype, batch = _draw_options(draw, "problems", constraint, dtype, batch)
    options: dict[str, Any] = {"ndim": ndim, "batch": batch, "constraint": chosen, "dtype": dtype}
    obj = draw(objects(object_shape, margin=margin, generic=generic, **options))
    n = tuple(obj.shape[len(batch) :])
    operator = draw(operators(n, kinds=kinds, constraint=chosen)).to(obj.real.dtype)
    exact = operator(obj)
    data_batch, m = tuple(exact.shape[: len(batch)]), tuple(exact.shape[len(batch) :])
    mask = draw(masks(m, batch=data_batch)) if masked else torch.ones_like(exact, dtype=torch.bool)
    data = draw(noisy(exact, ndim=len(m))) if noise else exact
    # Only the Fourier magnitude is blind to shift and flip.
    group = "shift,flip,phase,sign" if isinstance(operator, FourierIntensity | FourierMagnitude) else "phase,sign"
    symmetry = draw(symmetries(obj, ndim=len(n), group=group))
    support = draw(supports(obj, ndim=len(n)))
    return Problem(obj, operator, data.masked_fill(~mask, 0), exact, mask, support, chosen, symmetry)
