"""Which parts of an HDF5 array were written: HDF5 fills up the others, with what nobody measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from phaseret import _checks

Places = tuple[range, ...]  # along each axis of an array


class Region(NamedTuple):
    """A part of an array, and whether it was written: of several that overlap the last one says so."""

    places: Places
    written: bool = True


class Source(NamedTuple):
    """An array that a virtual one takes pixels of: which it takes and puts where, what was written of it."""

    taken: Any
    put: Any
    shape: tuple[int, ...]
    written: list[Region] | None  # all of it


def stored(dataset: Any) -> list[Region] | None:
    """The parts of an array that have a place in the file; None if all of it has."""
    if dataset.chunks is None:
        return None if dataset.id.get_storage_size() else []
    count = dataset.id.get_num_chunks()
    if count == math.prod(-(-size // step) for size, step in zip(dataset.shape, dataset.chunks, strict=True)):
        return None
    chunks: list[Any] = []
    if hasattr(dataset.id, "chunk_iter"):  # from HDF5 1.12.3 on: the other way takes the square of the time
        dataset.id.chunk_iter(chunks.append)
    else:
        chunks = [dataset.id.get_chunk_info(number) for number in range(count)]
    columns: dict[tuple[int, ...], list[int]] = {}
    for first, *others in (chunk.chunk_offset for chunk in chunks):
        columns.setdefault(tuple(others), []).append(first)
    regions = []
    for others, rows in columns.items():
        inside = [range(at, at + n) for at, n in zip(others, dataset.chunks[1:], strict=True)]
        regions += [Region((run, *inside)) for run in _runs(sorted(rows), dataset.chunks[0])]
    return regions


def _runs(rows: Sequence[int], step: int) -> list[range]:
    """The rows of chunks, each with the next if that begins where it ends."""
    starts = [row for before, row in zip([None, *rows], rows, strict=False) if before is None or row != before + step]
    ends = [row + step for row, after in zip(rows, [*rows[1:], None], strict=True) if after != row + step]
    return [*map(range, starts, ends)]


def of_sources(sources: Sequence[Source], shape: tuple[int, ...]) -> list[Region] | None:
    """The parts of a virtual array that were written; None if all of it was.

    Raises:
        ValueError: A source was written in part, and it cannot be followed which.
    """
    if all(source.written is None for source in sources) and _cover([source.put for source in sources], shape):
        return None
    regions: list[Region] = []
    for source in sources:
        put = _regular(source.put, shape)
        if source.written is not None:
            regions += _carried(source, put)
        elif put is not None:
            regions.append(Region(put))
        else:
            blocks = source.put.get_select_hyper_blocklist()
            regions += [Region(tuple(map(range, first, np.add(last, 1).tolist()))) for first, last in blocks]
    return regions


def marked(regions: Sequence[Region], numbers: np.ndarray[Any, Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Which pixels of rows of an array, in rising order, were written."""
    known = np.zeros((len(numbers), *shape[1:]), dtype=bool)
    edges = [(places[0].start, places[0].stop) for places, _ in regions]
    rows = np.searchsorted(numbers, edges) if regions else ()
    for (places, written), (start, end) in zip(regions, rows, strict=True):
        inside = (numbers[start:end] - places[0].start) % places[0].step == 0
        at: tuple[Any, ...] = (np.arange(start, end)[inside], *(slice(x.start, x.stop, x.step) for x in places[1:]))
        known[at] = written
    return known


def points(space: Any) -> int | None:
    """How many points a selection has; None if it grows."""
    try:
        count = int(space.get_select_npoints())
    except (ValueError, RuntimeError):
        return None
    return count if count <= _checks.LARGEST else None


def _regular(space: Any, shape: tuple[int, ...]) -> Places | None:
    """What a selection takes of an array of that shape, None if that is not the same places along each axis; one
    that grows takes what there is.
    """
    from h5py import h5s

    if space.get_select_type() == h5s.SEL_ALL:
        return tuple(map(range, shape))
    if space.get_select_type() != h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return None
    places = []
    for start, stride, count, block, size in zip(*space.get_regular_hyperslab(), shape, strict=True):
        if min(count, block) > 1 and stride > block:
            return None
        apart = block == 1
        stop = start + count * (stride if apart else block)
        places.append(range(start, min(size, stop), stride if apart else 1))
    return tuple(places)


def _carried(source: Source, put: Places | None) -> Iterator[Region]:
    """The parts of a virtual array that come from a source, by what was written there."""
    taken = _regular(source.taken, source.shape)
    if taken is None or put is None:
        raise ValueError("pixels that are not the same along each axis")
    of, to = ([axis for axis, places in enumerate(region) if len(places) > 1] for region in (taken, put))
    if [len(taken[axis]) for axis in of] != [len(put[axis]) for axis in to]:
        raise ValueError("pixels of another shape")
    yield Region(put, written=False)
    for region in source.written or ():
        which = [_numbers(places, inside) for places, inside in zip(taken, region.places, strict=True)]
        if all(which):
            found = list(put)
            for a, b in zip(of, to, strict=True):
                found[b] = put[b][which[a].start : which[a].stop : which[a].step]
            yield Region(tuple(found), region.written)


def _numbers(places: range, inside: range) -> range:
    """The numbers of those of the places that lie inside."""
    if inside.step == 1:
        first, stop = (-(-(edge - places.start) // places.step) for edge in (inside.start, inside.stop))
        return range(max(first, 0), min(stop, len(places)))
    found = [number for number, place in enumerate(places) if place in inside]
    return range(found[0], found[-1] + 1, found[1] - found[0] if len(found) > 1 else 1) if found else range(0)


def _cover(spaces: Sequence[Any], shape: tuple[int, ...]) -> bool:
    """Whether each pixel of an array of that shape lies in one of the selections, which may overlap."""
    size = math.prod(shape)
    counts = [size if count is None else count for count in map(points, spaces)]
    if max(counts, default=0) >= size or sum(counts) < size:  # one has it all, or grows with its source
        return sum(counts) >= size
    blocks = np.concatenate([np.asarray(space.get_select_hyper_blocklist()) for space in spaces])
    cells, edges = [], []
    for axis, n in enumerate(shape):
        first, stop = blocks[:, 0, axis], blocks[:, 1, axis] + 1
        cuts = np.unique(np.concatenate([[0, n], first, stop]))
        cells.append((np.searchsorted(cuts, first), np.searchsorted(cuts, stop)))
        edges.append(len(cuts) - 1)
    known = np.zeros(edges, dtype=bool)  # between all edges of blocks, so that it is small
    for block in range(len(blocks)):
        known[tuple(slice(first[block], stop[block]) for first, stop in cells)] = True
    return bool(known.all())
