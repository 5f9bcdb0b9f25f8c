"""HDF5 files, MATLAB's of 7.3 among them: links, groups that stand for an array, data that lie in other files."""

from __future__ import annotations

import contextlib
import math
import os
import stat
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from phaseret import _checks
from phaseret.io._contents import UNREAD, Contents, Entry, Lost, Refusal, as_text, finite, reading, same_word
from phaseret.io._heaps import damaged_heap
from phaseret.io._layout import BESIDE, INTENSITIES, MASKS, NUMBERED, SUPPORT
from phaseret.io._matlab import NO_ARRAY
from phaseret.io._written import Region, Source, marked, of_sources, points, stored

# A file is searched for its arrays so far: what has more objects must be asked by name.
_MOST_OBJECTS = 20_000
_COPY = "Copy the files that go with it"
_MARKERS = ("_FillValue", "missing_value")


def open_hdf5(path: Path, name: str, stack: contextlib.ExitStack) -> Contents:
    """The contents of an HDF5 file."""
    h5py = _checks.extra("h5py", "h5py", "io")
    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401  # registers the compression filters that detectors write
    with reading(path, name):
        file = stack.enter_context(h5py.File(path, "r"))
        if file.id.get_create_plist().get_sizes()[1] == 8 and (place := damaged_heap(path)) is not None:
            raise OSError(f"damaged global heap at byte {place}")
    tree = _Tree(file, h5py, path, name)

    def guarded(ask: Callable[..., Any]) -> Callable[..., Any]:
        """The same question, whose answer may be that the file is damaged there."""

        def asked(*words: str) -> Any:
            with reading(path, name):
                return ask(*words)

        return asked

    return Contents(
        path,
        name,
        guarded(tree.lookup),
        guarded(tree.listed),
        guarded(tree.attribute),
        guarded(tree.children),
        guarded(tree.where),
        guarded(tree.missing),
        guarded(tree.same),
    )


def plain(name: str) -> str:
    """A name as HDF5 reads it: further slashes say nothing, nor does a point between them."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


class _Tree:
    """An open file."""

    def __init__(self, file: Any, h5py: Any, path: Path, name: str) -> None:
        self.file, self.h5py, self.path, self.name = file, h5py, path, name
        # MATLAB 7.3 stores its arrays with the axes in reverse.
        self.reverse = name.startswith("MATLAB")

    def _place(self, name: str) -> str:
        """The name as HDF5 reads it; a field of MATLAB's scan.intensity, in which no name holds a point, too."""
        return plain(name.replace(".", "/") if self.reverse else name)

    def _object(self, name: str) -> Any:
        """What the name leads to, None if nothing."""
        return self._child(self.file, self._place(name))

    def _child(self, group: Any, name: str, most: int = 16) -> Any:
        """What a name in a group leads to, past so many links; None if nothing, as where they lead in a circle."""
        found = group.file if name.startswith("/") else group
        for part in name.split("/"):
            if part in ("", "."):  # where one is
                continue
            try:
                link = found.get(part, getlink=True) if isinstance(found, self.h5py.Group) else None
                if link is None or not most or not self._may_follow(found, link):
                    return None
                soft = isinstance(link, self.h5py.SoftLink)
                found = self._child(found, link.path, most - 1) if soft else found[part]
            except (KeyError, OSError, RuntimeError, ValueError):
                return None
        return found

    def _link(self, parts: Sequence[str]) -> Any:
        """The last link on the way of names, None if there is none; those before are followed where they may be."""
        group = self._child(self.file, "/".join(parts[:-1]))
        return group.get(parts[-1], getlink=True) if isinstance(group, self.h5py.Group) else None

    def _may_follow(self, group: Any, link: Any) -> bool:
        """Whether a link leads to no pipe or device, for which HDF5 would wait."""
        if not isinstance(link, self.h5py.ExternalLink):
            return True
        return not any(_is_special(folder / link.filename) for folder in (Path(group.file.filename).parent, Path()))

    def lookup(self, name: str) -> Entry | None:
        """The array of that name; of a group the array that it stands for."""
        found = self._object(name)
        if isinstance(found, self.h5py.Group):
            return None if self.reverse and self._no_array(found) else self._of_group(found)
        return None if found is None else self._entry(found)

    def where(self, name: str) -> str:
        """The place in the file that the name leads to, past soft links and groups that stand for an array."""
        place = self._place(name)
        for _ in range(16):  # links may lead in circles
            parts = place.split("/")
            for count in range(1, len(parts) + 1):
                link = self._link(parts[:count])
                if isinstance(link, self.h5py.SoftLink):
                    start = "" if link.path.startswith("/") else "/".join(parts[: count - 1])
                    place = plain("/".join((start, link.path, *parts[count:])))
                    break
            else:
                group = self._object(place)
                named = self._named_by(group) if isinstance(group, self.h5py.Group) else None
                if named is None:
                    return place
                place = f"{place}/{named}"
        return self._place(name)

    def same(self, name: str, other: str) -> bool:
        """Whether both names lead to one array."""
        found = self._object(self.where(name))
        return found is not None and found == self._object(self.where(other))

    def missing(self, name: str) -> Lost | None:
        """What a link leads to that cannot be opened; None if all is well."""
        parts = self._place(name).split("/")
        for count in range(1, len(parts) + 1):
            place = "/".join(parts[:count])
            link = self._link(parts[:count])
            if link is None or self._object(place) is not None:
                continue
            if isinstance(link, self.h5py.ExternalLink):
                return Lost(f"a link to {link.path!r} in {link.filename!r}, which cannot be opened", _COPY)
            if isinstance(link, self.h5py.SoftLink):
                return Lost(f"a link to {link.path!r}, which the file does not hold", _COPY)
        found = self._object(name)
        return None if found is None or not self.reverse else self._no_array(found)

    def _no_array(self, found: Any) -> Lost | None:
        """What MATLAB has put there that is no array of numbers; None if it is one, or a group."""
        if "MATLAB_sparse" in found.attrs:
            return NO_ARRAY["sparse"]
        kind = as_text(np.asarray(found.attrs.get("MATLAB_class", "")))
        if "MATLAB_object_decode" in found.attrs:
            return NO_ARRAY["object"]
        if isinstance(found, self.h5py.Dataset) and found.dtype.kind == "O" and kind != "char":
            return NO_ARRAY["cell" if kind == "cell" else "struct"]
        return None

    def attribute(self, name: str, attribute: str) -> str:
        """A text beside an array or a group."""
        return self._text(self._object(name), attribute)

    def _text(self, found: Any, attribute: str) -> str:
        try:
            names = () if found is None else found.attrs
            name = attribute if attribute in names else next((x for x in names if same_word(x) == attribute), None)
            if name is None or not self._is_plain(found.attrs.get_id(name)):
                return ""
            value = np.asarray(found.attrs[name])
            return " ".join(map(str, value.flat[:9])) if value.dtype.kind in "iuf" else as_text(value)
        except (OSError, ValueError, TypeError):  # of a type that nobody writes texts in, or damaged
            return ""

    def _is_plain(self, attribute: Any) -> bool:
        """Whether it holds texts or numbers: HDF5 does not survive all that damage makes of other types."""
        h5t = self.h5py.h5t
        return isinstance(attribute.get_type(), (h5t.TypeStringID, h5t.TypeIntegerID, h5t.TypeFloatID))

    def children(self, name: str) -> tuple[str, ...]:
        """The names in a group."""
        found = self._object(name)
        return tuple(key for key in found if isinstance(key, str)) if isinstance(found, self.h5py.Group) else ()

    def listed(self) -> dict[str, Entry]:
        """All arrays, and links that lead nowhere; what several names lead to has the first of them, no link before."""
        entries: dict[str, Entry] = {}
        seen: set[tuple[int, int]] = set()
        later: list[tuple[str, Any, str]] = []
        now = [("", self.file)]
        while (now or later) and len(seen) < _MOST_OBJECTS:
            if not now:
                prefix, group, key = later.pop(0)
                found = self._child(group, key)
                if found is None:
                    entries[prefix + key] = UNREAD
                    continue
                now = [(prefix + key, found)]
            place, found = now.pop()
            info = self.h5py.h5o.get_info(found.id)
            if (info.fileno, info.addr) in seen:
                continue
            seen.add((info.fileno, info.addr))
            if self.reverse and self._no_array(found):
                entries[place] = UNREAD
            elif isinstance(found, self.h5py.Group):
                prefix = f"{place}/" if place else ""
                names = [key for key in found if isinstance(key, str) and not key.startswith("#")]
                hard = [key for key in names if isinstance(found.get(key, getlink=True), self.h5py.HardLink)]
                now += [(prefix + key, found[key]) for key in reversed(hard)]
                later += [(prefix, found, key) for key in names if key not in set(hard)]
            elif (entry := self._entry(found)) is not None:
                entries[place] = entry
        return entries

    # --- arrays ------------------------------------------------------------------------------------------------------

    def _entry(self, dataset: Any) -> Entry | None:
        if not isinstance(dataset, self.h5py.Dataset) or dataset.shape is None:
            return None
        if self.reverse and self._no_array(dataset):
            return None
        if as_text(np.asarray(dataset.attrs.get("MATLAB_class", ""))) == "char":
            return Entry((), np.dtype("U1"), lambda _: "".join(map(chr, dataset[()].T.reshape(-1).tolist())))
        shape = dataset.shape[::-1] if self.reverse else dataset.shape
        read = partial(self._read, dataset)
        return Entry(tuple(shape), dataset.dtype, read, filled=partial(read, filled=True))

    def _read(self, dataset: Any, index: int | slice | None, filled: bool = False) -> Any:
        if isinstance(index, slice) and index.step is not None and index.step < 0:  # HDF5 reads forwards
            numbers = range(dataset.shape[-1 if self.reverse else 0])[index]
            return self._read(dataset, slice(numbers[-1], numbers[0] + 1, -numbers.step), filled)[::-1]
        if dataset.external:
            what = f"the values of {dataset.name!r} must lie in {self.path} itself, got an external file"
            raise Refusal(f"{what}, {as_text(np.asarray(dataset.external[0][0]))!r}", "Ask for a copy that holds them")
        # of a mask or a support only what is not the same as elsewhere may have been written
        all_written = filled or same_word(dataset.name or "") in (*MASKS, SUPPORT)
        regions = self._written(dataset, self.path.parent, all_written)
        values = dataset[() if index is None else (..., index) if self.reverse else index]
        values = self._without_markers(dataset, values.T if self.reverse else values)
        if regions is None or dataset.dtype.kind not in "biufc" or not dataset.shape:
            return values
        order = -1 if self.reverse else 1
        rows = np.arange(dataset.shape[::order][0])
        rows = rows if index is None else np.atleast_1d(rows[index])
        regions = [region._replace(places=region.places[::order]) for region in regions]
        known = marked(regions, rows, dataset.shape[::order])
        return np.where(known.reshape(np.shape(values)), values, np.nan)

    def _without_markers(self, dataset: Any, values: Any) -> Any:
        """NaN in place of the number that stands where nothing was measured, as netCDF's convention says it."""
        for word in _MARKERS:
            marker = finite(self._text(dataset, word))
            # not 0: no photon is a count, and what some programs fill with
            if marker and dataset.dtype.kind in "iuf" and (missing := values == marker).any():
                values = np.where(missing, np.float32(np.nan), values)
        return values

    def _check_filters(self, dataset: Any) -> None:
        """What the values were packed by is installed here."""
        stored = dataset.id.get_create_plist()
        for code, _, _, name in (stored.get_filter(number) for number in range(stored.get_nfilters())):
            if not self.h5py.h5z.filter_avail(code):
                called = as_text(np.asarray(name)).split(";")[0] or "no name"
                what = f"{dataset.name!r} of {self.path} must be packed by a filter that is installed"
                raise Refusal(f"{what}, got {code} ({called})", "Install hdf5plugin, or ask for a copy without it")

    def _written(
        self, dataset: Any, folder: Path, all_written: bool, above: tuple[tuple[str, str], ...] = ()
    ) -> list[Region] | None:
        """The parts of an array that were written; None if all of it was. HDF5 fills up what a virtual array cannot
        find, and waits for pipes: here that is an error.
        """
        self._check_filters(dataset)
        if not dataset.is_virtual:
            return None if all_written else stored(dataset)
        above = (*above, (os.path.realpath(dataset.file.filename), dataset.name))
        known, found = dict[tuple[str, str], tuple[tuple[int, ...] | None, list[Region] | None]](), list[Source]()
        for source in dataset.virtual_sources():
            key = (source.file_name, source.dset_name)
            if key not in known:
                known[key] = self._source(dataset, *key, folder, all_written, above)
            shape, written = known[key]
            if shape is not None and _takes_more_than(source, shape):
                raise self._without(dataset, _shown(*key), f"holds {shape} and no more")
            found.append(Source(source.src_space, source.vspace, shape or (), written))
        try:
            return of_sources(found, dataset.shape)
        except ValueError as error:
            what = f"{dataset.name!r} of {self.path} must be made of arrays that were written to their end, or of equal"
            raise Refusal(f"{what} rows of them, got {error}", "Read the arrays that it is made of") from None

    def _source(
        self, dataset: Any, place: str, name: str, folder: Path, all_written: bool, above: tuple[tuple[str, str], ...]
    ) -> tuple[tuple[int, ...] | None, list[Region] | None]:
        """The shape of an array that a virtual one is made of, None where that grows, and what was written of it."""
        if "%" in place:  # numbered files, as many as there are
            return None, None
        file, which = dataset.file, _shown(place, name)
        with contextlib.ExitStack() as stack:
            if place != ".":
                found = self._beside(dataset, place, folder)
                file, folder = stack.enter_context(self.h5py.File(found, "r")), found.parent
            inner = self._child(file, name)
            if not isinstance(inner, self.h5py.Dataset):
                raise self._without(dataset, which, "does not hold it")
            if (os.path.realpath(file.filename), inner.name) in above:
                raise self._without(dataset, which, "is made of it")
            return inner.shape, self._written(inner, folder, all_written, above)

    def _beside(self, dataset: Any, name: str, folder: Path) -> Path:
        """The place of a file of a virtual array: beside the file that the array lies in, or the one it was read by."""
        place = Path(dataset.file.filename).parent / name
        place = place if place.exists() else folder / name
        if not place.is_file():
            raise self._without(dataset, repr(name), "is no file" if place.exists() else "is not there")
        return place

    def _without(self, dataset: Any, which: str, why: str) -> Refusal:
        what = f"{dataset.name!r} of {self.path} must find all its parts, got one in {which}, which {why}"
        return Refusal(what, _COPY)

    # --- groups that stand for an array ------------------------------------------------------------------------------

    def _named_by(self, group: Any) -> str | None:
        """The array in a group that it says is its signal, or its only one with two axes or more but for masks and
        what else goes with a pattern, or that is called as a pattern among several.
        """
        signal = as_text(np.asarray(group.attrs.get("signal", "")))
        if signal and self._child(group, signal) is not None:
            return signal
        inside = {key: self._child(group, key) for key in group if isinstance(key, str)}
        arrays = {key: entry for key, value in inside.items() if value is not None and (entry := self._entry(value))}
        marked = [key for key in arrays if as_text(np.asarray(inside[key].attrs.get("signal", ""))) == "1"]
        large = [key for key, entry in arrays.items() if entry.dtype.kind in "biufc" and len(entry.shape) > 1]
        large = [key for key in large if same_word(key) not in (*MASKS, *BESIDE)]
        found = marked or large
        called = [key for word in INTENSITIES for key in found if same_word(key) == word]
        return found[0] if len(found) == 1 else next(iter(called), None)

    def _of_group(self, group: Any) -> Entry | None:
        numbered = [key for key in group if isinstance(key, str) and NUMBERED.match(key)]
        numbered.sort(key=lambda key: int(key.rpartition("_")[2]))
        if numbered and ("signal" not in group.attrs or self._named_by(group) in numbered):
            return self._joined(group, numbered)
        named = self._named_by(group)
        found = None if named is None else group[named]
        return self._of_group(found) if isinstance(found, self.h5py.Group) else found and self._entry(found)

    def _joined(self, group: Any, numbered: Sequence[str]) -> Entry | None:
        """The frames of a detector that writes data_000001, data_000002, ..., one after the other."""
        lost = [f"{group.name.strip('/')}/{key}" for key in numbered if self._child(group, key) is None]
        if lost:
            what, fix = self.missing(lost[0]) or Lost("a link that leads in a circle", _COPY)
            raise Refusal(f"{lost[0]!r} of {self.path} must be there, got {what}", fix)
        parts = [self._entry(group[key]) for key in numbered]
        pieces = [entry for entry in parts if entry is not None and entry.shape]
        if len(pieces) != len(numbered) or len({(entry.shape[1:], entry.dtype) for entry in pieces}) != 1:
            return None
        return _Pieces(pieces).entry


def _is_special(place: Path) -> bool:
    """Whether it is a pipe, a socket or a device."""
    try:
        mode = place.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _shown(place: str, name: str) -> str:
    """An array that a virtual one is made of, as it names it."""
    return f"{name!r} in {'the file itself' if place == '.' else repr(place)}"


def _takes_more_than(source: Any, shape: tuple[int, ...]) -> bool:
    """Whether a virtual array takes more of a source than there is; one that may grow takes what there is."""
    try:
        stops = source.src_space.get_select_bounds()[1]
    except (ValueError, RuntimeError):  # all of it, or without an end
        taken = points(source.vspace)
        return taken is not None and math.prod(shape) < taken
    return any(stop >= size for stop, size in zip(stops, shape, strict=False))


class _Pieces:
    """Arrays joined along their first axis; only those that hold what is asked for are read."""

    def __init__(self, pieces: list[Entry]) -> None:
        self.pieces = pieces
        self.entry = Entry((self._stops[-1], *pieces[0].shape[1:]), pieces[0].dtype, self._read)

    @cached_property
    def _stops(self) -> list[int]:
        return [sum(entry.shape[0] for entry in self.pieces[: i + 1]) for i in range(len(self.pieces))]

    def _read(self, index: int | slice | None) -> Any:
        if isinstance(index, int):
            index = index % self._stops[-1]
            which = next(i for i, stop in enumerate(self._stops) if index < stop)
            return self.pieces[which].read(index - (self._stops[which] - self.pieces[which].shape[0]))
        wanted = range(self._stops[-1])[index or slice(None)]
        found = [self._read(number) for number in wanted] if wanted.step != 1 else self._run(wanted)
        return np.stack(found) if wanted.step != 1 else np.concatenate(found)

    def _run(self, wanted: range) -> list[Any]:
        found, start = [], 0
        for entry, stop in zip(self.pieces, self._stops, strict=True):
            low, high = max(wanted.start, start), min(wanted.stop, stop)
            if low < high:
                found.append(entry.read(slice(low - start, high - start)))
            start = stop
        return found
