"""How much is worked on at a time: chunks change nothing but memory, and fit the cache or the card."""

from __future__ import annotations

import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import phaseret as pr
from phaseret import _memory


@given(st.integers(1, 7), st.integers(1, 9))
def test_in_chunks_equals_the_whole(items: int, chunk: int) -> None:
    x = torch.randn(items, 2, 3).requires_grad_()
    calls: list[int] = []

    def square(piece: Tensor) -> Tensor:
        calls.append(len(piece))
        return piece.square().sum((-2, -1))

    result = _memory.in_chunks(nn.Module(), square, x, 2, chunk)
    assert calls == ([items] if items <= chunk else [min(chunk, items - i) for i in range(0, items, chunk)])
    torch.testing.assert_close(result, x.square().sum((-2, -1)))
    (grad,) = torch.autograd.grad(result.sum(), x)
    torch.testing.assert_close(grad, 2 * x)


CHANGED = "must stay as they are until its backward pass, got changed ones|modified by an inplace operation"


CHANGES = ("in place", "a new one", "several new ones", "functional_call")
WAYS = [(of, change) for of in ("operator", "loss") for change in CHANGES]


@pytest.mark.parametrize(("of", "change"), [*WAYS, ("loss", "the data")])
def test_what_changed_since_is_not_computed_with_again(of: str, change: str) -> None:
    """As autograd does with what it keeps."""
    operator = pr.operators.CodedDiffraction(torch.rand(2, 4, 4), chunk=1)
    x, data = torch.rand(3, 4, 4).requires_grad_(), torch.rand(3, 2, 4, 4)
    loss = pr.losses.PassiveLoss(operator)

    def value() -> Tensor:
        return operator(x).sum() if of == "operator" else loss(x, data)

    value().backward()  # whatever changes afterwards
    if change == "functional_call":
        called = (operator, {"masks": torch.rand(2, 4, 4)}, (x,))
        if of == "loss":
            called = (loss, {"operator.masks": torch.rand(2, 4, 4)}, (x, data))
        found = torch.func.functional_call(*called).sum()
    else:
        found = value()
    if change == "in place":
        operator.masks.mul_(2)
    elif change == "a new one":
        operator.masks = torch.rand(2, 4, 4)
    elif change == "several new ones":  # of which one may lie where the first did
        for _ in range(4):
            operator.masks = torch.rand(2, 4, 4)
    elif change == "the data":
        data.mul_(2)
    with pytest.raises(RuntimeError, match=CHANGED):
        found.backward()


def test_random_numbers_of_an_operator_are_drawn_again() -> None:
    class Shaken(pr.operators.CodedDiffraction):
        def linear(self, obj: Tensor) -> Tensor:
            return super().linear(obj * torch.rand(obj.shape[-2:]))

    x, masks = torch.rand(3, 4, 4).requires_grad_(), torch.rand(2, 4, 4)
    for seed in range(2):
        value = Shaken(masks, chunk=1)(x).sum()
        torch.manual_seed(seed)
        (gradient,) = torch.autograd.grad(value, x)
        # The value is quadratic in x: half of its derivative along x.
        torch.testing.assert_close((gradient * x).sum() / 2, value)


def test_items_fit_the_cache_or_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    free = 6 * 4 * 64 * 64 * 5 / 0.8 + 5  # six arrays of five real iterates are four fifths; half kept from before
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free - free // 2, 2 * free))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: free)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: free - free // 2)

    def items(pixel_bytes: float, device: str) -> int:
        return _memory.items_at_a_time(torch.device(device), 64 * 64, pixel_bytes)

    assert items(6 * 4, "cuda") == 5
    assert items(6 * 8, "cuda") == 2
    assert items(6 * 16, "cuda") == 1
    assert items(6 * 160, "cuda") == 1
    assert items(6 * 4, "mps") == 2**25 // 64**2
    assert items(6 * 4, "cpu") == 32


def test_work_that_does_not_fit_leaves_nothing_behind() -> None:
    """Not the frame in which memory ended, and what it held."""
    held: list[weakref.ref[Tensor]] = []

    def work() -> None:
        x = torch.empty(3)
        held.append(weakref.ref(x))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    assert not _memory.fits(work)
    assert held[0]() is None
    assert _memory.fits(lambda: 1)
    with pytest.raises(ValueError, match="other"):
        _memory.fits(lambda: (_ for _ in ()).throw(ValueError("other")))


def test_a_cpu_works_in_its_cache() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert _memory.pixels_at_a_time(cpu) < _memory.pixels_at_a_time(cpu, cached=False)
    assert _memory.pixels_at_a_time(cuda) == _memory.pixels_at_a_time(cuda, cached=False)


def test_physical_memory_is_known_here() -> None:
    assert _memory.physical_memory() is None or _memory.physical_memory() > 2**28


def test_torch_still_has_the_private_name() -> None:
    """Without it `recomputed` keeps everything: right, but of the memory of all items."""
    assert torch._C._are_functorch_transforms_active() is False
    seen = []
    torch.func.vmap(lambda x: seen.append(torch._C._are_functorch_transforms_active()) or x)(torch.ones(2))
    assert seen == [True]
