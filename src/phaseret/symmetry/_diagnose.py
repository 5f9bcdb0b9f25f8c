"""How ambiguous a training set is: do items with nearly the same intensity have nearly the same object?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from phaseret import _checks, _fft, _memory
from phaseret.operators import fast_fourier_shape
from phaseret.symmetry._align import align
from phaseret.symmetry._canonical import canonicalize
from phaseret.symmetry._elements import RandomSymmetry, grid

# Items whose symmetries are compared at a time.
_ITEMS = 512


@dataclass(frozen=True, repr=False, eq=False)
class Ambiguity:
    """What :func:`diagnose` found. All distances are between items scaled to unit norm; one entry per item.

    Attributes:
        share: How many of the items that have a near-identical intensity in the set have objects that lie far apart.
        share_random: The same after a random symmetry of each object, drawn by :class:`RandomSymmetry`: how ambiguous
            the problem itself is. A set with a much smaller `share` is biased: its objects happen to lie and stand
            alike, and the network learns that habit instead of the inverse.
        share_canonical: The same after :func:`canonicalize` of all objects.
        share_aligned: The same after :func:`align` of each pair: what no choice of representatives could mend.
        neighbour: (N,) the item with the most similar magnitude.
        near: (N,) boolean, whether it counts as near-identical.
        magnitude_distance: (N,) distance of the magnitudes of each item and its neighbour.
        object_distance: (N,) distance of their objects, divided by the median one of pairs drawn at random.
        canonical_distance: (N,) the same for the canonical objects.
        aligned_distance: (N,) the same for aligned objects.
        far: The relative distance from which on objects count as far apart.
    """

    share: float
    share_random: float
    share_canonical: float
    share_aligned: float
    neighbour: Tensor
    near: Tensor
    magnitude_distance: Tensor
    object_distance: Tensor
    canonical_distance: Tensor
    aligned_distance: Tensor
    far: float

    def __repr__(self) -> str:
        """A short report."""
        limit = self.magnitude_distance[self.near].max()
        return (
            f"Ambiguity of {len(self.near)} items: {int(self.near.sum())} have another whose magnitude is within "
            f"{limit:.2f} of theirs.\n"
            f"Of these pairs, the objects lie far apart (more than {self.far:.2f} of the distance of random pairs) in\n"
            f"  {self.share:6.1%}  as given\n"
            f"  {self.share_random:6.1%}  after a random symmetry each: the ambiguity of the problem itself\n"
            f"  {self.share_canonical:6.1%}  after canonicalize\n"
            f"  {self.share_aligned:6.1%}  after align, pair by pair"
        )


def diagnose(
    dataset: Tensor | Dataset[Tensor] | Sequence[Tensor],
    *,
    fourier_shape: Sequence[int] | None = None,
    closest: float = 0.5,
    far: float = 0.8,
    phase: bool | None = None,
) -> Ambiguity:
    r"""Tell how ambiguous a training set of objects is before training on it.

    A network that maps intensity to object can only learn what is a function: nearly the same intensity must mean
    nearly the same object. Each item is paired with the one whose Fourier magnitude is nearest,

    .. math:: \Big\| \frac{|F x_i|}{\|F x_i\|} - \frac{|F x_j|}{\|F x_j\|} \Big\| ,

    and of the `closest` share of these pairs the result says how many objects lie far apart, namely more than `far`
    times the median distance of pairs drawn at random: as given, after random symmetries, after :func:`canonicalize`,
    and after :func:`align`. 4 % of 5,000 MNIST digits lie far apart as given and 86 % after random symmetries: the
    digits are biased, all of them centred and upright, which hides how ambiguous the problem is. Shifted and flipped
    on a 32 x 32 canvas, 71 % lie far apart, and after canonicalize 4 %.

    The pairs are of the set alone. Whether any other object at all has the data of an item, :func:`certify` proves.

    Time grows with the square of the number of items (seconds for some thousands), memory with the number.

    Args:
        dataset: Objects: a tensor (N, n1..nd), or a data set or sequence of N object tensors of one shape.
        fourier_shape: Padded grid of the magnitudes. Default: the smallest shape of at least 2n - 1 that is fast.
        closest: Share of the items, those with the nearest neighbours, that counts as near-identical.
        far: Distance, relative to the median one of random pairs, from which on objects count as far apart.
        phase: Break the global phase of complex objects, the sign of real ones. Default: of complex objects only.

    Shape:
        - dataset: (N, n1..nd) with N >= 3 and d = 1, 2 or 3

    Returns:
        An :class:`Ambiguity`: four shares, a readable repr, and the distances, which
        :func:`phaseret.plotting.plot_ambiguity` draws.

    Raises:
        TypeError: if the items are not floating tensors.
        ValueError: if there are fewer than three items, values are not finite, or an option is out of range.

    Example:
        >>> shapes = torch.rand(100, 6, 6)
        >>> copies = torch.cat([shapes, shapes.flip(-2, -1)])
        >>> found = diagnose(copies)
        >>> found.share > 0.5, found.share_canonical, found.share_aligned
        (True, 0.0, 0.0)
    """
    objects = _stack(dataset)
    _memory.with_values(dataset=objects)
    if not objects.isfinite().all():
        _checks.fail("dataset must be finite, got nan or infinite values", "Leave out the items that hold them")
    _checks.switch("phase", phase)
    closest = _checks.number("closest", closest, above=0, at_most=1)
    far = _checks.number("far", far, above=0)
    count, object_shape = len(objects), tuple(objects.shape[1:])
    shape = fast_fourier_shape(object_shape, 1) if fourier_shape is None else grid(fourier_shape, object_shape)
    d = len(shape)
    with torch.no_grad(), _fft.full_precision(objects):
        objects = _unit(_fft.promote(objects))
        neighbour, magnitude_distance = _nearest(_in_pieces(lambda x: _magnitude(x, shape), objects))
        near = magnitude_distance <= magnitude_distance.quantile(closest)
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(count, generator=generator, device="cpu").to(objects.device)
        draw = RandomSymmetry(phase=phase, ndim=d, generator=generator)
        canonical = _in_pieces(lambda x: canonicalize(x, ndim=d, phase=phase), objects)

        def aligned(a: Tensor, b: Tensor) -> Tensor:
            error = align(a, b, ndim=d, fourier_shape=shape, phase=phase).error
            return (error * a[0].numel()).sqrt()

        def relative(distance: Callable[[Tensor, Tensor], Tensor], items: Tensor) -> Tensor:
            """The distance of each item to its neighbour over the median one of pairs drawn at random."""
            typical = _in_pieces(distance, items[order], items[order.roll(1)]).median()
            return _in_pieces(distance, items, items[neighbour]) / _fft.divisor(typical)

        given, moved = relative(_distance, objects), relative(_distance, _in_pieces(draw, objects))
        broken, best = relative(_distance, canonical), relative(aligned, objects)

    def share(distance: Tensor) -> float:
        apart = distance[near] > far
        return int(apart.sum()) / apart.numel()

    return Ambiguity(
        share=share(given),
        share_random=share(moved),
        share_canonical=share(broken),
        share_aligned=share(best),
        neighbour=neighbour,
        near=near,
        magnitude_distance=magnitude_distance,
        object_distance=given,
        canonical_distance=broken,
        aligned_distance=best,
        far=far,
    )


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """The distance of the items of two batches."""
    return torch.linalg.vector_norm((a - b).flatten(1), dim=1)


def _stack(dataset: Any) -> Tensor:
    """The objects of the data set in one tensor (N, n1..nd)."""
    if not isinstance(dataset, Tensor):
        several = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
        if not several or isinstance(dataset, Mapping) or getattr(dataset, "ndim", 1) == 0:
            kind = type(dataset).__name__
            _checks.fail(f"dataset must be a tensor or hold tensors, got {kind}", "Use torch.stack", TypeError)
        items = [dataset[i] for i in range(len(dataset))]
        for item in items:
            _checks.floating(**{"items of dataset": item})
        if len({item.shape for item in items}) > 1:
            _checks.fail("items of dataset must have one shape, got several", "Use pad or crop")
        dataset = torch.stack(items) if items else torch.empty(0)
    _checks.floating(dataset=dataset)
    if not 2 <= dataset.ndim <= 4 or len(dataset) < 3:
        rule = "dataset must have the shape (N, n1..nd) with N >= 3 and d = 1, 2 or 3"
        _checks.fail(f"{rule}, got {tuple(dataset.shape)}", "Stack more objects, without axes of channels")
    return dataset


def _in_pieces(function: Callable[..., Tensor], *batches: Tensor) -> Tensor:
    """The function of the batches, some items at a time."""
    pieces = zip(*(torch.split(batch, _ITEMS) for batch in batches), strict=True)
    return torch.cat([function(*piece) for piece in pieces])


def _unit(objects: Tensor) -> Tensor:
    """Each item divided by its norm, by its largest value first so that nothing over- or underflows."""
    flat = objects.flatten(1)
    for order in (float("inf"), 2.0):
        size = torch.linalg.vector_norm(flat, order, dim=1, keepdim=True)
        flat = flat / _fft.divisor(size)
    return flat.reshape(objects.shape)


def _magnitude(objects: Tensor, shape: Sequence[int]) -> Tensor:
    """Unit vectors of the magnitudes of unit objects: the half plane of real ones, weighted to stand for the full."""
    magnitude = _fft.spectrum(objects, shape).abs()
    if not objects.is_complex():
        magnitude = magnitude * _fft.pair_weights(shape[-1], magnitude).sqrt()
    return magnitude.flatten(1)


def _nearest(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest other vector of each unit vector, and its distance, from the inner products of all pairs."""
    count = len(vectors)
    at_a_time = _memory.pixels_at_a_time(vectors.device, cached=False)
    rows = torch.arange(count, device=vectors.device).split(max(1, at_a_time // count))
    found = []
    for row in rows:
        similar = vectors[row] @ vectors.T
        similar.scatter_(1, row[:, None], -torch.inf)
        found.append(similar.argmax(1))
    neighbour = torch.cat(found)
    distance = torch.cat([_distance(vectors[row], vectors[neighbour[row]]) for row in rows])
    return neighbour, distance
