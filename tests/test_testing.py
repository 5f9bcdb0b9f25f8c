"""Tests of phaseret.testing: what the strategies promise, what the assertions catch, and that reports are code."""

from __future__ import annotations

import functools
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from torch import Tensor, nn

import phaseret as pr
from phaseret import testing
from phaseret.testing import assert_adjoint, assert_batch_is_items, assert_gradients, assert_invariant
from phaseret.testing._code import Code, Unwritable

CONSTRAINTS = ["nonnegative", "real", "complex"]
KINDS = ["fourier", "coded", "ptychography", "gaussian", "fresnel"]
flags = st.booleans()


def never(strategy: st.SearchStrategy[Any], condition: Callable[[Any], Any]) -> bool:
    """Whether no example meets the condition."""
    try:
        find(strategy, condition, settings=settings(max_examples=50))
    except NoSuchExample:
        return True
    return False


def spectrum(obj: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Magnitude on a grid, by NumPy."""
    return np.abs(np.fft.fftn(obj.numpy(), s=shape, axes=range(-len(shape), 0)))


# --- strategies ------------------------------------------------------------------------------------------------------


@given(
    st.data(),
    st.sampled_from([1, 2, 3, None]),
    st.sampled_from(CONSTRAINTS),
    st.sampled_from([(), (1,), (3,), (2, 2)]),
    st.sampled_from([torch.float32, torch.float64]),
    flags,
    flags,
)
def test_objects_keep_their_facts(
    data: st.DataObject,
    ndim: int,
    constraint: Any,
    batch: tuple[int, ...],
    dtype: torch.dtype,
    generic: bool,
    dark: bool,
) -> None:
    options = {"ndim": ndim, "batch": batch, "constraint": constraint, "dtype": dtype, "generic": generic}
    obj = data.draw(testing.objects(margin=2, dark=dark, **options))
    assert tuple(obj.shape[: len(batch)]) == batch
    items = obj.reshape(math.prod(batch), -1)
    assert obj.ndim - len(batch) == ndim or (ndim is None and 1 <= obj.ndim - len(batch) <= 3)
    assert obj.dtype == (dtype.to_complex() if constraint == "complex" else dtype)
    assert obj.isfinite().all()
    assert dark or (items != 0).any(-1).all()
    if constraint == "nonnegative":
        assert (obj >= 0).all()


def test_objects_reach_every_kind() -> None:
    for wanted in (
        lambda x: x.dtype == torch.float32 and x.is_floating_point(),
        lambda x: x.dtype == torch.complex64 and x.ndim == 3,
        lambda x: x.dtype == torch.float64 and (x < 0).any() and x.ndim == 5,
        lambda x: x.shape[-1] % 2 == 0 and x.shape[-2:][0] % 2 == 1,
    ):
        find(testing.objects(ndim=None, batch=None, dtype=None), wanted)
    find(testing.objects(batch=(2,), generic=True, dark=True), lambda x: not x[0].any() and x[1].any())


def test_a_margin_is_empty_and_lets_the_object_move() -> None:
    obj = find(testing.objects((4, 5), margin=2), lambda x: not x[:2].any() and not x[:, 3:].any() and x[2:, :3].all())
    assert obj.shape == (4, 5)


@given(testing.objects((3, 3), batch=(2,), generic=True))
def test_generic_objects_have_no_ties_and_no_zeros(obj: Tensor) -> None:
    assert (obj != 0).all()
    assert len(set(obj.flatten().tolist())) == obj.numel()


def test_large_objects_and_masks_are_full_too() -> None:
    find(testing.objects((100, 100), constraint="complex"), lambda x: (x != 0).sum() > 9000)
    find(testing.masks((100, 100)), lambda mask: mask.sum() < 8000)


def test_the_smallest_examples_are_small() -> None:
    """Where the search began decides how small: the limits leave room."""
    assert find(testing.objects(), lambda x: True).tolist() == [[1.0]]
    assert find(testing.objects(), lambda x: x.numel() > 2 and x[0, 0].real < -1).numel() <= 4
    assert find(testing.objects(batch=None), lambda x: x.is_complex() and x.imag.any()).numel() <= 4
    assert find(testing.object_shapes(None), lambda x: True) == (1,)
    assert math.prod(find(testing.object_shapes(3, max_size=7), lambda n: max(n) == 7)) <= 14
    assert find(testing.masks((2, 2), batch=(2,)), lambda mask: True).all()
    g = find(testing.symmetries(torch.ones(2, 1, 3)), lambda g: True)
    assert all(torch.equal(part, torch.zeros_like(part)) for part in (g.shifts, g.flipped, g.phase))
    problem = find(testing.problems(margin=0), lambda p: p.obj.is_complex() and not p.mask.all() and p.symmetry.flipped)
    assert problem.obj.numel() <= 4
    assert problem.mask.numel() <= 9


@given(st.data(), st.sampled_from([1, 2, 3]))
def test_fourier_shapes_have_room_for_the_autocorrelation(data: st.DataObject, ndim: int) -> None:
    n = data.draw(testing.object_shapes(ndim))
    m = data.draw(testing.fourier_shapes(n, extra=2))
    assert all(2 * a - 1 <= b <= 2 * a + 1 for a, b in zip(n, m, strict=True))


@given(st.data())
def test_supports_hold_the_objects_and_masks_a_pixel_of_every_item(data: st.DataObject) -> None:
    obj = data.draw(testing.objects(batch=None, margin=2))
    support = data.draw(testing.supports(obj))
    assert support.shape == obj.shape[-2:]
    assert support.dtype == torch.bool
    assert not obj[..., ~support].any()
    mask = data.draw(testing.masks((3, 2), batch=(2, 2)))
    assert mask.shape == (2, 2, 3, 2)
    assert mask.any((-1, -2)).all()
    large = data.draw(testing.masks((20, 20), batch=(2,)))
    assert large.any((-1, -2)).all()


@given(st.data(), st.sampled_from([1, 2, 3]), st.sampled_from(CONSTRAINTS))
def test_symmetries_keep_the_magnitude_and_wrap_nothing(data: st.DataObject, ndim: int, constraint: Any) -> None:
    obj = data.draw(testing.objects(ndim=ndim, batch=(2,), constraint=constraint, margin=2))
    g = data.draw(testing.symmetries(obj, ndim=ndim, group="shift,flip,phase,sign"))
    moved = g(obj)
    assert moved.dtype == obj.dtype
    assert moved.shape == obj.shape
    for extra in (-1, 0, 1):  # What wraps is not a copy on a larger grid.
        m = tuple(2 * n + extra for n in obj.shape[1:])
        np.testing.assert_allclose(spectrum(moved, m), spectrum(obj, m), atol=1e-12)
    m = data.draw(testing.fourier_shapes(obj.shape[1:]))
    anywhere = data.draw(testing.symmetries(obj, fourier_shape=m))(obj)
    assert anywhere.shape == (2, *m)
    np.testing.assert_allclose(spectrum(anywhere, m), spectrum(obj, m), atol=1e-12)


def test_symmetries_hold_what_the_group_says_and_no_more() -> None:
    obj, real = torch.zeros(3, 3, dtype=torch.complex128), torch.zeros(3, 3)
    obj[1, 1], real[1, 1] = 1j, 1
    parts = {"shift": lambda g: g.shifts.any(), "flip": lambda g: g.flipped, "phase": lambda g: g.phase != 0}
    for word in parts:
        for part, used in parts.items():
            strategy = testing.symmetries(obj, group=word)
            if part == word:
                find(strategy, used)
            else:
                assert never(strategy, used)
    assert never(testing.symmetries(real), parts["phase"])
    assert find(testing.symmetries(real, group="sign"), lambda g: g.phase != 0)(real)[1, 1] == -1
    for edge in (torch.tensor([2, 2]), torch.tensor([-1, 2]), torch.tensor([1, -1])):
        grid = (6, 5) if edge.max() > 1 else (3, 3)
        found = find(
            testing.symmetries(real, group="shift", fourier_shape=grid), lambda g, edge=edge: (g.shifts == edge).all()
        )
        assert not found.flipped


@given(st.data(), st.sampled_from(KINDS), st.sampled_from(CONSTRAINTS), st.sampled_from([1, 2, 3]))
def test_operators_measure_what_they_are_for(data: st.DataObject, kind: Any, constraint: Any, ndim: int) -> None:
    n = data.draw(testing.object_shapes(ndim, max_size=3))
    operator = data.draw(testing.operators(n, kinds=[kind], constraint=constraint))
    obj = data.draw(testing.objects(n, constraint=constraint, batch=(2,)))
    intensity = operator(obj)
    assert intensity.dtype == torch.float64
    assert intensity.shape == (2, *intensity.shape[1:])
    assert (intensity >= 0).all()


def test_operators_reach_every_class_and_option() -> None:
    for name in ("FourierMagnitude", "CodedDiffraction", "Ptychography", "Gaussian", "Fresnel"):
        assert find(testing.operators(ndim=None), lambda op, name=name: type(op).__name__ == name).object_ndim == 1
    half = find(testing.operators(constraint="real", kinds=["fourier"]), lambda op: op.onesided and op.centered)
    assert half.fourier_shape == (1, 1)


@given(st.data())
def test_noisy_data_are_finite_and_not_negative(data: st.DataObject) -> None:
    intensity = torch.tensor([[0.0, 1.0, 4.0]], dtype=torch.float64)
    noisy = data.draw(testing.noisy(intensity))
    assert noisy.shape == intensity.shape
    assert noisy.dtype == torch.float64
    assert noisy.isfinite().all()
    assert (noisy >= 0).all()


@given(st.data(), st.sampled_from([1, 2, 3]), flags, flags)
def test_a_problem_comes_with_its_answers(data: st.DataObject, ndim: int, noise: bool, masked: bool) -> None:
    strategy = testing.problems(ndim=ndim, batch=None, kinds=KINDS, dtype=None, margin=1, noise=noise, masked=masked)
    p = data.draw(strategy)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if p.obj.real.dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-9}
    for answer in (p.obj, p.symmetry(p.obj)):
        torch.testing.assert_close(p.operator(answer), p.exact, **tolerance)
    assert p.obj.dtype.is_complex == (p.constraint == "complex")
    assert not p.obj[..., ~p.support].any()
    assert p.mask.shape == p.intensity.shape
    assert p.mask.all() or masked
    assert (p.intensity[~p.mask] == 0).all()
    if not noise:
        assert torch.equal(p.intensity[p.mask], p.exact[p.mask])
    else:
        assert p.intensity.isfinite().all()


def test_problems_are_solved_by_their_answer() -> None:
    @settings(max_examples=5)
    @given(testing.problems((3, 3), constraint="nonnegative", generic=True))
    def stays(problem: testing.Problem) -> None:
        options = {"mask": problem.mask, "support": problem.support, "constraint": problem.constraint}
        start = problem.obj[None]
        if isinstance(problem.operator, pr.operators.FourierIntensity):
            plain = pr.operators.fourier_intensity(problem.obj, problem.operator.fourier_shape)
            mask = torch.ones_like(plain, dtype=torch.bool)
            found = pr.solvers.ErrorReduction(3)(plain, init=start, **(options | {"mask": mask}))
            torch.testing.assert_close(found.obj, problem.obj)

    stays()


@given(testing.pairs("object", batch=None, dtype=None))
def test_pairs_of_objects_have_equal_shapes(pair: tuple[Tensor, Tensor]) -> None:
    estimate, obj = pair
    assert estimate.shape == obj.shape
    assert estimate.dtype == obj.dtype
    assert (obj.flatten(-2) != 0).any(-1).all()


@given(testing.pairs("intensity", (2, 3), (4, 5), batch=(2,)))
def test_pairs_take_their_shapes(pair: tuple[Tensor, Tensor]) -> None:
    assert [tuple(x.shape) for x in pair] == [(2, 2, 3), (2, 4, 5)]


# --- assertions: what is right passes --------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", ["magnitude", "intensity", "autocorrelation"])
def test_the_passive_loss_passes(domain: Any) -> None:
    loss = pr.losses.PassiveLoss(domain=domain)
    assert_invariant(loss, group="shift,flip,phase,sign")
    assert_batch_is_items(loss, reduction="mean")
    assert_gradients(loss, second=True, forward=True, max_examples=2)


def test_losses_and_metrics_against_objects_pass() -> None:
    assert_invariant(pr.losses.InvariantLoss(), testing.pairs("object"))
    assert_invariant(pr.metrics.nmse, testing.pairs("object", batch=(2,)))
    assert_batch_is_items(
        pr.losses.InvariantLoss(reduction="sum"), testing.pairs("object", batch=(3,)), reduction="sum"
    )
    assert_gradients(pr.losses.SupervisedLoss(), testing.pairs("object", generic=True), wrt=(0, 1))
    assert_invariant(pr.losses.PassiveLoss(), testing.pairs(dtype=torch.float32), tolerance=1e-4)


@pytest.mark.parametrize("shape", [(5,), (6, 5), (3, 4, 5)])
def test_fourier_operators_of_every_number_of_axes_pass(shape: tuple[int, ...]) -> None:
    operator = pr.operators.FourierIntensity(shape)
    assert_invariant(operator)
    assert_adjoint(operator)
    assert_batch_is_items(operator)
    assert_gradients(operator, max_examples=3)


@given(testing.operators())
def test_every_operator_of_ours_passes(operator: pr.operators.Operator) -> None:
    shape = operator.object_shape or getattr(operator, "least_shape", None)
    shape = shape or tuple((m + 1) // 2 for m in operator.fourier_shape)
    obj = torch.randn(2, *shape, dtype=torch.complex128)
    assert_adjoint(operator, obj, torch.randn_like(operator.linear(obj)))
    assert_batch_is_items(operator.linear, obj)


def test_a_network_passes_on_tensors_of_its_shape() -> None:
    network = pr.models.UNet((4, 4), (8, 8), channels=(2, 3)).double()
    intensity = torch.rand(2, 8, 8, dtype=torch.float64)
    assert_batch_is_items(network.eval(), intensity)
    assert_gradients(network, intensity[:1], wrt=(0,))
    masked = pr.losses.PassiveLoss(reduction="none")
    mask = torch.ones(8, 8, dtype=torch.bool)
    assert_batch_is_items(
        lambda x, y, keep: masked(x, y * keep), torch.rand(2, 3, 4, 4), torch.rand(2, 3, 8, 8), mask, ndim=(2, 2, 2)
    )


def test_a_function_of_exactly_one_batch_axis_passes_and_one_that_needs_none_too() -> None:
    def norms(x: Tensor) -> Tensor:
        assert x.ndim == 3
        return x.flatten(1).norm(dim=1)

    assert_batch_is_items(norms, testing.objects(batch=(3,)), batch_axes=1)
    assert_batch_is_items(lambda x: (x.abs(), x.sum((-1, -2))), testing.objects(batch=(2, 2)))


def test_an_assertion_leaves_the_random_numbers_of_torch_alone() -> None:
    state = torch.get_rng_state()
    assert_invariant(lambda x, y: torch.rand(3), max_examples=3)  # The same numbers at each call.
    assert torch.equal(torch.get_rng_state(), state)


# --- assertions: what is wrong is caught, and the report is code -----------------------------------------------------

WEIGHT = 2.0


def flip_without_conjugate(estimate: Tensor, obj: Tensor) -> Tensor:
    """A loss that forgives a flip, but not of complex objects: it forgets the conjugate."""
    copies = [(estimate - obj).abs().square().mean(), (estimate.flip(-1, -2) - obj).abs().square().mean()]
    return WEIGHT * torch.minimum(*copies)


def first_pixel(obj: Tensor) -> Tensor:
    return obj[..., 0, 0].abs()


def real_part(estimate: Tensor, intensity: Tensor) -> Tensor:
    return estimate.real.sum()


class Conjugated(pr.operators.FourierIntensity):
    """Its adjoint is the transpose."""

    def adjoint(self, field: Tensor, object_shape: Any = None) -> Tensor:
        return super().adjoint(field.conj(), object_shape).conj()


class Affine(pr.operators.FourierIntensity):
    """Its linear part is not linear."""

    def linear(self, obj: Tensor) -> Tensor:
        return super().linear(obj) + 1


class WrongShape(pr.operators.FourierIntensity):
    """Its adjoint is transposed."""

    def adjoint(self, field: Tensor, object_shape: Any = None) -> Tensor:
        return super().adjoint(field, object_shape).mT


class Normalized(nn.Module):
    """Statistics of the batch leak from one item to the other."""

    def forward(self, estimate: Tensor, intensity: Tensor) -> Tensor:
        return intensity.mean((-1, -2)) - intensity.mean()


def root_of_power(estimate: Tensor, intensity: Tensor) -> Tensor:
    """Its gradient is nan where the spectrum is zero."""
    return pr.operators.fourier_intensity(estimate, intensity.shape[-2:]).sqrt().sum()


class Halved(torch.autograd.Function):
    """A square whose gradient forgets its factor 2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * ctx.saved_tensors[0]


def halved(estimate: Tensor, intensity: Tensor) -> Tensor:
    return Halved.apply(estimate.real).sum()


def refuses(estimate: Tensor, intensity: Tensor) -> Tensor:
    if estimate.is_complex():
        raise RuntimeError("no complex numbers")
    return intensity.sum()


def needs(least: int) -> Callable[[Tensor], Tensor]:
    def rows(obj: Tensor) -> Tensor:
        return obj[..., 0, :].abs().sum() if obj.shape[-2] >= least else obj.new_zeros(())

    return rows


WRONG: dict[str, tuple[Callable[[], None], str, int]] = {
    "a flip without the conjugate": (
        lambda: assert_invariant(
            flip_without_conjugate,
            testing.pairs("object", (1, 2), constraint="complex", margin=0),
            group="flip",
            max_examples=200,
        ),
        "assert_invariant: the value must not change under conjugate flip",
        6,
    ),
    "a value that depends on the place": (
        lambda: assert_invariant(first_pixel, testing.objects(margin=1), group="shift", max_examples=200),
        "assert_invariant: the value must not change under shift",
        2,
    ),
    "a function that is made by another": (
        lambda: assert_invariant(needs(2), testing.objects(margin=1), group="shift", max_examples=200),
        "assert_invariant: the value must not change under shift",
        2,
    ),
    "a real part": (
        lambda: assert_invariant(real_part, group="phase", max_examples=200),
        "assert_invariant: the value must not change under global phase",
        2,
    ),
    "a lambda": (
        lambda: assert_invariant(lambda estimate, intensity: estimate.sum() * WEIGHT, group="sign", max_examples=200),
        "assert_invariant: the value must not change under global phase",
        2,
    ),
    "the supervised loss": (
        lambda: assert_invariant(pr.losses.SupervisedLoss(reduction="sum"), testing.pairs("object"), max_examples=200),
        "assert_invariant: the value must not change under",
        6,
    ),
    "a partial function": (
        lambda: assert_invariant(
            functools.partial(pr.losses.supervised_loss, reduction="sum"), testing.pairs("object"), max_examples=200
        ),
        "assert_invariant: the value must not change under",
        6,
    ),
    "an operator with masks": (
        lambda: assert_invariant(
            find(testing.operators((1, 2), kinds=["coded"]), lambda op: True),
            testing.objects((1, 2)),
            group="flip",
            max_examples=200,
        ),
        "assert_invariant: the value must not change under conjugate flip",
        2,
    ),
    "a function that refuses": (
        lambda: assert_invariant(refuses, max_examples=200),
        "assert_invariant: the function must not raise an error, got RuntimeError: no complex numbers",
        2,
    ),
    "a transpose": (
        lambda: assert_adjoint(Conjugated((2, 3)), max_examples=200),
        "assert_adjoint: <linear(obj), field> must equal <obj, adjoint(field)>",
        16,
    ),
    "an affine map": (
        lambda: assert_adjoint(Affine((1, 3)), max_examples=200),
        "assert_adjoint: <linear(obj), field> must equal <obj, adjoint(field)>",
        6,
    ),
    "an adjoint of another shape": (
        lambda: assert_adjoint(WrongShape((1, 3)), max_examples=200),
        "assert_adjoint: adjoint must give the shape of the object",
        5,
    ),
    "statistics of the batch": (
        lambda: assert_batch_is_items(Normalized(), max_examples=200),
        "assert_batch_is_items: a batch must give what its items give",
        6,
    ),
    "the wrong reduction": (
        lambda: assert_batch_is_items(pr.losses.PassiveLoss(), reduction="sum", max_examples=200),
        "assert_batch_is_items: a batch must give what its items give",
        6,
    ),
    "a gradient of nan at a zero of the spectrum": (
        lambda: assert_gradients(root_of_power, max_examples=200),
        "assert_gradients: the gradient must be finite",
        2,
    ),
    "half a gradient": (
        lambda: assert_gradients(halved, max_examples=200),
        "assert_gradients: the derivative must agree with finite differences",
        2,
    ),
}


@pytest.fixture
def enough_examples() -> Iterator[None]:
    """As many examples as usual: few of them need not find what is wrong."""
    settings.register_profile("before", settings.default)
    settings.load_profile("phaseret")
    yield
    settings.load_profile("before")


@pytest.mark.usefixtures("enough_examples")
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_reported_as_a_small_example_that_fails_in_the_same_way(name: str) -> None:
    check, sentence, values = WRONG[name]
    with pytest.raises(AssertionError) as caught:
        check()
    message = str(caught.value)
    assert message.startswith(sentence)
    assert ". This code shows it:\n\n" in message
    code = message.split("\n\n", 1)[1]
    tensors = re.findall(r"^\w+ = torch\.tensor\((.*?)(?:, dtype=torch\.\w+)?\)$", code, re.MULTILINE)
    assert tensors
    assert sum(text.count(",") + 1 for text in tensors) <= values, code
    with pytest.raises(AssertionError) as again:
        exec(compile(code, "pasted", "exec"), {"__name__": "pasted"})
    said = [
        [line for line in str(error.value).splitlines() if line.startswith(("#", "assert"))]
        for error in (caught, again)
    ]
    assert said[0][:-1] == said[1][:-1]  # The last line is the call, which names a pasted function otherwise.


def test_an_assertion_within_given_fails_on_the_smallest_tensors() -> None:
    @settings(max_examples=200, derandomize=True, database=None)
    @given(st.data())
    def test(data: st.DataObject) -> None:
        obj = data.draw(testing.objects(margin=2))
        assert_invariant(first_pixel, obj, symmetry=data.draw(testing.symmetries(obj)))

    with pytest.raises(AssertionError) as caught:
        test()
    (pasted,) = re.findall(r"obj = torch\.tensor\((.*), dtype", str(caught.value))
    assert len(re.findall(r"\d\.", pasted)) <= 9


def test_a_failure_keeps_the_error_of_the_function_as_its_cause() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_invariant(refuses, max_examples=200)
    assert isinstance(caught.value.__cause__, RuntimeError)


# --- values as code --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor([[1.5, -0.1], [math.inf, -math.inf]], dtype=torch.float32),
        torch.tensor([1 + 2j, complex(0, math.inf)], dtype=torch.complex64),
        torch.tensor(3),
        torch.tensor([True, False]),
        torch.tensor([[1, 2]], dtype=torch.uint8),
        0.25,
        (1, (2,), [None, "a", {"b": torch.float64}]),
        -math.inf,
    ],
    ids=str,
)
def test_values_are_written_exactly(value: Any) -> None:
    again = eval(Code().expression(value), {"torch": torch})
    assert type(again) is type(value)
    if isinstance(value, Tensor):
        assert again.dtype == value.dtype
        assert torch.equal(again, value)
    else:
        assert again == value


def test_nan_is_written() -> None:
    assert Code().expression(torch.tensor([math.nan])) == "torch.tensor([torch.nan], dtype=torch.float32)"


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_operators_are_written_as_their_call(kind: Any) -> None:
    operator = find(testing.operators((2, 2), kinds=[kind]), lambda op: True).to(torch.float32)
    code = Code()
    code.define("operator", operator)
    scope: dict[str, Any] = {}
    exec(code.text(), scope)
    obj = torch.rand(2, 2)
    assert torch.equal(scope["operator"](obj), operator(obj))


def test_what_cannot_be_written_is_asked_for() -> None:
    for value in (nn.Linear(2, 2), torch.zeros(100, 100), object(), np.float32):
        code = Code()
        if value is np.float32:
            assert code.expression(value) == "float32"
            continue
        with pytest.raises(Unwritable):
            code.expression(value)
        code.define("it", value)
        assert "it = ...  # fill in: " in code.text()


def test_a_module_whose_repr_hides_a_difference_is_not_written() -> None:
    hidden = Normalized()
    assert Code().expression(hidden) == "Normalized()"
    hidden.scale = 2
    with pytest.raises(Unwritable):
        Code().expression(hidden)


def test_names_come_from_the_shortest_public_path() -> None:
    code = Code()
    assert code.expression(pr.losses.passive_loss) == "passive_loss"
    assert code.expression(nn.MSELoss) == "MSELoss"
    assert code.expression(pr.operators.FourierIntensity((3, 3)).linear).endswith(".linear")
    assert {"from phaseret.losses import passive_loss", "from torch.nn import MSELoss"} <= code.imports


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: assert_invariant(first_pixel, group="shift,roll"),
            "assert_invariant: group must hold words of shift, flip, phase, sign, got 'roll'. Join them by commas.",
        ),
        (
            lambda: find(testing.operators(kinds=["radon"]), bool),
            "operators: kinds must hold words of fourier, coded, ptychography, gaussian, fresnel, got ['radon']. "
            "Choose some of these.",
        ),
        (
            lambda: find(testing.objects(constraint="positive"), bool),
            "objects: constraint must be one of 'nonnegative', 'real', 'complex', got 'positive'. Choose one of these.",
        ),
        (
            lambda: find(testing.pairs("phase"), bool),
            "pairs: target must be 'intensity' or 'object', got 'phase'. Choose one of these.",
        ),
        (
            lambda: assert_batch_is_items(torch.abs, torch.rand(3, 3)),
            "assert_batch_is_items: the first argument must have axes of a batch, got shape (3, 3). "
            "Give several items, or the number of axes of one as ndim.",
        ),
        (
            lambda: assert_adjoint(pr.operators.Operator()),
            "assert_adjoint: objects must be given for an operator that does not say what it measures, got Operator(). "
            "Pass tensors, or objects((4, 4)).",
        ),
    ],
)
def test_wrong_options_are_named(call: Callable[[], None], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.once
def test_without_hypothesis_the_import_says_what_to_install() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import phaseret, phaseret.testing"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    expected = (
        'phaseret.testing: the package hypothesis must be installed. Install it with pip install "phaseret[testing]".'
    )
    assert result.stderr.strip().endswith(expected)
