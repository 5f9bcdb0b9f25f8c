"""Tests of diagnose: against a slow version, on sets whose ambiguity is known, and on real digits."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import slow_symmetry as slow
from phaseret import _memory
from phaseret.operators import fast_fourier_shape
from phaseret.symmetry import RandomSymmetry, _diagnose, canonicalize, conj_flip, diagnose


def shapes(count: int = 60, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    obj = torch.zeros(count, 11, 12, dtype=dtype)
    obj[:, 3:8, 2:9] = torch.rand(count, 5, 7).to(dtype)
    return obj * torch.exp(1j * obj * 3) if dtype.is_complex else obj


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("size", [3, 512])
def test_equals_the_slow_version(dtype: torch.dtype, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_diagnose, "_ITEMS", size)
    monkeypatch.setattr(_memory, "pixels_at_a_time", lambda device, cached=True: size * 20)
    obj = shapes(20, dtype)[:, 3:7, 2:7]
    found = diagnose(obj, closest=0.25, far=0.9)
    m = fast_fourier_shape((4, 5), 1)
    x = obj.numpy() / np.linalg.norm(obj.numpy(), axis=(1, 2), keepdims=True)
    magnitude = abs(np.fft.fftn(x, m, axes=(1, 2), norm="ortho")).reshape(20, -1)
    between = np.linalg.norm(magnitude[:, None] - magnitude, axis=2) + 9 * np.eye(20)
    np.testing.assert_array_equal(found.neighbour, between.argmin(1))
    np.testing.assert_allclose(found.magnitude_distance, between.min(1))
    # Two that are each other's neighbour may both lie on the limit.
    assert found.near.sum() in (5, 6)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    for result, items in (
        (found.object_distance, x),
        (found.canonical_distance, canonicalize(torch.tensor(x)).numpy()),
    ):
        typical = np.sort(np.linalg.norm((items[order] - items[order.roll(1)]).reshape(20, -1), axis=1))[9]
        distance = np.linalg.norm((items - items[found.neighbour]).reshape(20, -1), axis=1)
        np.testing.assert_allclose(result, distance / typical)
    assert found.share == (found.object_distance[found.near] > 0.9).double().mean()
    assert found.share_canonical == (found.canonical_distance[found.near] > 0.9).double().mean()
    phase = dtype.is_complex
    nearest = [slow.nearest(a, b, m, phase=phase)[0] for a, b in zip(x, x[found.neighbour.numpy()], strict=True)]
    ratio = np.sqrt(nearest) / found.aligned_distance.numpy()
    np.testing.assert_allclose(ratio, ratio[0])


def test_flipped_copies_are_ambiguous_until_they_are_canonical(device: torch.device) -> None:
    obj = shapes().to(device)
    found = diagnose(torch.cat([obj, conj_flip(obj)]), closest=1)
    assert found.share > 0.8
    assert found.share_canonical == found.share_aligned == 0
    assert found.magnitude_distance.max() < 1e-5
    np.testing.assert_array_equal(found.neighbour.cpu(), np.roll(np.arange(120), 60))
    assert found.near.device == found.object_distance.device == obj.device


def test_equal_copies_are_not_ambiguous_but_the_problem_is() -> None:
    obj = shapes()
    found = diagnose(torch.cat([obj, obj]), closest=1)
    assert found.share == found.share_canonical == found.share_aligned == 0
    assert found.share_random > 0.6


def test_phase_copies_are_ambiguous() -> None:
    obj = shapes(dtype=torch.complex64)
    copies = torch.cat([obj, RandomSymmetry(shift=False, flip=False)(obj)])
    found = diagnose(copies, closest=1)
    assert found.share > 0.4
    assert found.share_canonical == found.share_aligned == 0
    signs = torch.cat([obj.real, -obj.real])
    assert diagnose(signs, closest=1).share_canonical == 1
    assert diagnose(signs, closest=1, phase=True).share_canonical == 0


# --- properties ------------------------------------------------------------------------------------------------------


class Items(Dataset[torch.Tensor]):
    def __init__(self, obj: torch.Tensor) -> None:
        self.obj = obj

    def __len__(self) -> int:
        return len(self.obj)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.obj[index]


def test_tensors_sequences_and_data_sets_give_the_same() -> None:
    obj = shapes()
    expected = diagnose(obj)
    for same in (list(obj), tuple(obj), Items(obj), obj * 1e30, obj * 1e-30):
        found = diagnose(same)
        assert found.share == expected.share
        assert found.share_canonical == expected.share_canonical
        torch.testing.assert_close(found.object_distance, expected.object_distance)


@pytest.mark.parametrize("n", [(9,), (4, 5, 3)])
def test_one_and_three_dimensions(n: tuple[int, ...]) -> None:
    obj = torch.rand(30, *n)
    found = diagnose(torch.cat([obj, conj_flip(obj, ndim=len(n))]), closest=1)
    assert found.share_canonical == 0


def test_repr_reads_like_a_report() -> None:
    found = diagnose(shapes(), far=0.7)
    lines = repr(found).splitlines()
    # Two that are each other's neighbour may both lie on the limit.
    assert re.match("Ambiguity of 60 items: 3[01] have another whose magnitude is within ", lines[0])
    assert lines[1].endswith("(more than 0.70 of the distance of random pairs) in")
    assert [line.split()[1:3] for line in lines[2:]] == [
        ["as", "given"],
        ["after", "a"],
        ["after", "canonicalize"],
        ["after", "align,"],
    ]


def test_autocast_changes_nothing() -> None:
    obj = shapes()
    expected = diagnose(obj)
    with torch.autocast("cpu", torch.bfloat16):
        found = diagnose(obj)
    assert torch.equal(found.neighbour, expected.neighbour)
    assert torch.equal(found.magnitude_distance, expected.magnitude_distance)
    assert torch.equal(found.aligned_distance, expected.aligned_distance)


# --- errors ----------------------------------------------------------------------------------------------------------

X = torch.ones(5, 3, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: diagnose(3),
            TypeError,
            "diagnose: dataset must be a tensor or hold tensors, got int. Use torch.stack.",
        ),
        (
            lambda: diagnose([X[0], X[1], X[0].index_fill(0, torch.tensor(0), math.nan)]),
            ValueError,
            "diagnose: dataset must be finite, got nan or infinite values. Leave out the items that hold them.",
        ),
        (
            lambda: diagnose(X, phase="no"),
            TypeError,
            "diagnose: phase must be True, False or None, got 'no'. Write it without quotes.",
        ),
        (
            lambda: diagnose([(X[0], X[0])] * 3),
            TypeError,
            "diagnose: items of dataset must be a torch.Tensor, got tuple. Use torch.as_tensor.",
        ),
        (
            lambda: diagnose([X[0], X[0], X[0, :2]]),
            ValueError,
            "diagnose: items of dataset must have one shape, got several. Use pad or crop.",
        ),
        (
            lambda: diagnose([]),
            ValueError,
            "diagnose: dataset must hold at least one element, got shape (0,). Leave out empty batches.",
        ),
        (
            lambda: diagnose(X[:2]),
            ValueError,
            "diagnose: dataset must have the shape (N, n1..nd) with N >= 3 and d = 1, 2 or 3, got (2, 3, "
            "4). Stack more objects, without axes of channels.",
        ),
        (
            lambda: diagnose(X.int()),
            TypeError,
            "diagnose: dataset must be real or complex floating, got torch.int32. Use dataset.float().",
        ),
        (
            lambda: diagnose(X, closest=0),
            ValueError,
            "diagnose: closest must be a finite number above 0 and at most 1, got 0. Choose a number in this range.",
        ),
        (
            lambda: diagnose(X, far=0),
            ValueError,
            "diagnose: far must be a finite number above 0, got 0. Choose a number in this range.",
        ),
        (
            lambda: diagnose(X, fourier_shape=(2, 2)),
            ValueError,
            "diagnose: fourier_shape must be at least the object's (3, 4), got (2, 2). Use min_fourier_shape((3, 4)).",
        ),
    ],
)
def test_errors(call, error: type[Exception], message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == message


# --- real data -------------------------------------------------------------------------------------------------------


def test_unmodified_digits_only_look_unambiguous(data_dir) -> None:  # type: ignore[no-untyped-def]
    from phaseret.datasets import SymmetryVariant, mnist

    digits = mnist(data_dir / "mnist", train=False)[:2000]
    plain = diagnose(digits)
    variant = diagnose(SymmetryVariant(digits))
    assert plain.share < 0.1
    assert plain.share_random > 0.7
    assert variant.share > 0.6
    assert variant.share_canonical < 0.1
    assert variant.share_aligned < 0.01


def test_the_report_says_the_numbers() -> None:
    distances = {name: torch.rand(4) for name in ("object_distance", "canonical_distance", "aligned_distance")}
    found = _diagnose.Ambiguity(
        share=0.04,
        share_random=0.86,
        share_canonical=0.5,
        share_aligned=0.0,
        neighbour=torch.tensor([1, 0, 3, 2]),
        near=torch.tensor([True, True, False, True]),
        magnitude_distance=torch.tensor([0.1, 0.25, 0.9, 0.2]),
        far=0.75,
        **distances,
    )
    assert repr(found).splitlines() == [
        "Ambiguity of 4 items: 3 have another whose magnitude is within 0.25 of theirs.",
        "Of these pairs, the objects lie far apart (more than 0.75 of the distance of random pairs) in",
        "    4.0%  as given",
        "   86.0%  after a random symmetry each: the ambiguity of the problem itself",
        "   50.0%  after canonicalize",
        "    0.0%  after align, pair by pair",
    ]


@pytest.mark.parametrize("shape", [(9,), (9, 2, 2, 2, 2), (2, 4)])
def test_a_set_without_objects_or_with_too_few_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"^diagnose: dataset must .*, got .*{re.escape(str(shape))}"):
        diagnose(torch.rand(shape))
