"""How much is worked on at a time: chunks change nothing but memory, and fit the cache or the card."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from phaseret import _memory


@given(st.integers(1, 7), st.integers(1, 9))
def test_in_chunks_equals_the_whole(items: int, chunk: int) -> None:
    x = torch.randn(items, 2, 3).requires_grad_()
    calls: list[int] = []

    def square(piece: Tensor) -> Tensor:
        calls.append(len(piece))
        return piece.square().sum((-2, -1))

    result = _memory.in_chunks(square, x, 2, chunk)
    assert calls == ([items] if items <= chunk else [min(chunk, items - i) for i in range(0, items, chunk)])
    torch.testing.assert_close(result, x.square().sum((-2, -1)))
    (grad,) = torch.autograd.grad(result.sum(), x)
    torch.testing.assert_close(grad, 2 * x)


def test_chunks_fit_the_cache_or_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    free = 6 * 4 * 64 * 64 * 5 + 1  # six arrays of five real iterates, half of it kept from earlier runs
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free - free // 2, 2 * free))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: free)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: free - free // 2)

    def items(patterns: int, dtype: torch.dtype, device: str) -> int:
        x = torch.empty(patterns, 2, 64, 64, dtype=dtype, device="meta")
        iterate = SimpleNamespace(shape=x.shape, device=torch.device(device), element_size=x.element_size)
        return _memory.items_at_a_time(iterate, 2)

    assert items(10, torch.float32, "cuda") == 5
    assert items(10, torch.complex64, "cuda") == 2
    assert items(10, torch.complex128, "cuda") == 1
    assert items(1, torch.float32, "cuda") == 2
    assert items(10, torch.float32, "mps") == 20
    assert items(10, torch.float32, "cpu") == 32


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
