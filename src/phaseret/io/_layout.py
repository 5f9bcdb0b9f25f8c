"""What a file tells of its pattern: which array it is, what its mask means, where its centre and geometry stand.

A layout is a module with two functions, listed in `_load.LAYOUTS`: `intensity(contents)` gives the name of the array
that holds the pattern, and `told(contents, name)` what the file says of it. This module has those of files without a
layout of their own, whose arrays have plain names: the npz files of this library, arrays that somebody saved.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from phaseret._words import shortened
from phaseret.io._contents import Contents, finite, same_word
from phaseret.io._measurement import Place

MaskIs = Literal["measured", "bad", "ignored"]
# What arrays are called, the first choice first, where no layout gives them a place.
INTENSITIES = ("intensity", "iobs", "data")
# The words for roots are those of an array's name, or of an attribute that says what its numbers are.
MAGNITUDES = ("magnitude", "magnitudes", "amplitude", "amplitudes", "amp", "diffamp", "modulus", "moduli", "fmag")
_SHORT = ("mag", "amps", "ampl", "fobs", "absf")  # of names alone: in texts they mean other things
# Masks by what the name says of non-zero pixels; "mask" says nothing. These words are those of `same_word`, as all that
# names are compared with.
_FORMS = ("{}", "{}pixels", "{}pixel", "{}pix", "{}mask", "mask{}", "{}pixelmask", "{}pixelsmask")
MASKS: dict[str, MaskIs | None] = {
    form.format(word): "measured" for word in ("measured", "valid", "good") for form in _FORMS
}
MASKS |= {form.format(word): "bad" for word in ("bad", "invalid", "dead", "hot", "beamstop") for form in _FORMS}
MASKS |= {"fmask": "measured", "pixelmask": "bad", "mask": None}
SUPPORT, OBJECTS = "support", ("obj", "object")
FACTS = ("wavelength", "distance", "pixel_size", "fourier_shape", "ndim")
_ROOT = re.compile(r"\bsqrt|√|½|square[ -]root|(\^|\*\*)\s*\(?(0?\.5|1/2)", re.IGNORECASE)
_AMPLITUDE = re.compile(rf"\b({'|'.join(MAGNITUDES)})\b", re.IGNORECASE)
_SQUARED = re.compile(r"squared?\b|²|\^\s*2|\*\*\s*2|intensit|counts|\bgain\b", re.IGNORECASE)
# What the largest right value is called, and the pixel of the beam.
_OVERLOADS = ("saturationvalue", "saturation", "saturationlevel", "saturatedvalue", "overload", "overloadvalue")
LEVELS = (
    *_OVERLOADS,
    "satlevel",
    "satvalue",
    "overflowvalue",
    "validmax",
    "countcutoff",
    "countratecorrectioncountcutoff",
)
_SOME_CENTERS = ("center", "centre", "beamcenter", "beamcentre", "beamposition", "beampos", "ctr", "beam", "directbeam")
_CENTERS_IN_ORDER = ("beamxy", "beamyx", "centerxy", "centeryx", "centrexy", "centreyx", "origin")
CENTERS = (*_SOME_CENTERS, *_CENTERS_IN_ORDER)
# Those of each axis, whose names are sometimes those of something else, as of what is scanned.
_BEAMS = ("beamcenter{}", "beamcentre{}", "center{}", "centre{}", "beam{}", "beampos{}")
_FORMS_OF_AXES = (*_BEAMS, "c{}", "{}center", "{}centre", "{}cen", "{}c", "{}0", "org{}")
PAIRS = tuple((form.format("y"), form.format("x")) for form in _FORMS_OF_AXES)
PAIRS += tuple((form.format("row"), form.format("col")) for form in ("center{}", "{}center", "beam{}"))
PIXELS = ("", "pixel", "pixels", "px", "pix")
# Numbers along an axis are no more than the coordinates of one point; so many groups in one are looked through.
_LIST, _MOST = 3, 100
# How the frames of a volume were recorded, which must be the same for all.
_RECORDED = {"center": "centre", "saturation": "saturation", "exposure": "exposure", "pixel_size": "pixel size"}
_RECORDED |= {"wavelength": "wavelength", "distance": "distance"}
_EXPOSURES = ("counttime", "exposuretime", "exposure", "acquisitiontime", "integrationtime")
EXPOSURES = (*_EXPOSURES, *(f"{word}s" for word in _EXPOSURES))
# No wavelength and no pixel is shorter or longer, in metres.
_LEAST, _LARGEST_LENGTH = 1e-14, 1e-2
# Frames of one detector, written one after the other; data_01 and data_02 of SOLEIL are several detectors.
NUMBERED = re.compile(r"data_\d{3,}$")
# Arrays that belong to a pattern and change what it means, the darks first.
_BACKGROUNDS = ("background", "bg", "bkg", "bkgd", "backgroundimage", "pedestal")
DARKS = ("datadark", "dark", "darks", "darkframe", "darkfield", "darkcurrent", "darkimage", "darkmean", *_BACKGROUNDS)
_ERRORS = ("dataerror", "errors", "error", "weights", "weight")
BESIDE = (*DARKS, "datawhite", "flatfield", "flat", *_ERRORS)


class Pair(NamedTuple):
    """What may be the pixel of the zero frequency: in words, its numbers (none in pixels are known), and whether they
    are in the order of the axes.
    """

    what: str
    numbers: tuple[float, ...] = ()
    ordered: bool = False


@dataclass(frozen=True)
class Told:
    """What a file says of the pattern in it, arrays by their names; None where it says nothing.

    Attributes:
        ndim: Number of axes of one pattern.
        magnitude: What says that it holds the square root of the intensity, in words; "" where the format does.
        center: Where the zero frequency lies: a place, or the last coordinates of its pixel, not rounded.
        pair: What may be the pixel of the zero frequency.
        mask: The array that is the mask, and what its non-zero pixels are if that is certain.
        support: The array that is the support.
        obj: The array that is the object.
        saturation: The largest value that is right.
        level: A number elsewhere in the file that may be it, and its name.
        wavelength: In metres.
        distance: In metres.
        pixel_size: Detector pixel (y, x) in metres.
        exposure: Of one frame, as it is written; the least and the largest of those that differ.
        beside: Arrays that belong to the pattern and are not used.
    """

    ndim: int | None = None
    magnitude: str | None = None
    center: Place | tuple[float, ...] | None = None
    pair: Pair | None = None
    mask: tuple[str, MaskIs | None] | None = None
    support: str | None = None
    obj: str | None = None
    saturation: float | None = None
    level: tuple[str, float] | None = None
    wavelength: float | None = None
    distance: float | None = None
    pixel_size: tuple[float, float] | None = None
    exposure: float | tuple[float, float] | None = None
    beside: tuple[str, ...] = ()

    def completed(self, other: Told) -> Told:
        """The same, and where it says nothing what the other says."""
        both = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)}
        beside = {"beside": tuple(dict.fromkeys((*self.beside, *other.beside)))}
        return Told(**{name: second if first is None else first for name, (first, second) in both.items()} | beside)


def _alike(one: Any, other: Any) -> bool:
    """Numbers that differ by less than a thousandth, as those that are measured anew for each frame."""
    if None in (one, other) or isinstance(one, tuple) != isinstance(other, tuple):
        return one is other
    pairs = [(one, other)] if isinstance(one, int | float) else [*zip(one, other, strict=True)]
    return all(a is b or (None not in (a, b) and math.isclose(a, b, rel_tol=1e-3)) for a, b in pairs)


def differences(where: Sequence[str], said: Sequence[Told]) -> list[str]:
    """A question, if the frames of one volume are said to be recorded differently; `where` are their places."""
    found = []
    for name, word in _RECORDED.items():
        values = [getattr(told, name) for told in said]
        other = next((number for number, value in enumerate(values) if not _alike(value, values[0])), None)
        if other is not None:
            texts = ["not said" if value is None else value for value in (values[0], values[other])]
            found.append(f"{word} {texts[0]} in {where[0]} and {texts[1]} in {where[other]}")
    fix = "what the first says was taken for all; scale or move the frames if that is wrong"
    return [f"the frames of the volume differ, {', '.join(found)}: {fix}"] * bool(found)


def about_exposure(told: Told, frames: bool) -> list[str]:
    """A question, if the frames of one volume, for which it has some, were exposed for different times."""
    if not frames or not isinstance(told.exposure, tuple):
        return []
    least, most = told.exposure
    what = f"the frames of the volume were exposed for times of {least:g} to {most:g}"  # in whatever unit
    return [f"{what}: scale them to one if they hold counts"]


def intensity(contents: Contents, group: str = "") -> str | None:
    """The array of numbers that is called as a pattern, or the only one that is not called as what goes with one; in a
    group, if one is named.
    """
    start = f"{group}/" if group else ""
    numbers = [name for name, x in contents.arrays.items() if x.dtype.kind in "iuf" and name.startswith(start)]
    pictures = [name for name in numbers if contents.arrays[name].picture]
    for word in INTENSITIES:  # a row of numbers is none where there are pictures
        called = [name for name in pictures or numbers if same_word(name) == word]
        if word in called or len(called) == 1:
            return word if word in called else called[0]
    if not pictures and contents.unread():  # a row of numbers is no answer where what cannot be read may be
        return None
    left = [name for name in pictures if same_word(name) not in (*BESIDE, *MASKS, *OBJECTS, SUPPORT)]
    return next((some[0] for some in ((left,) if group else (numbers, pictures, left)) if len(some) == 1), None)


def told(contents: Contents, name: str) -> Told:
    """What plain names and attributes say."""
    size = contents.lookup("pixel_size")
    plain = size is not None and size.shape in ((), (2,)) and size.dtype.kind in "iuf"
    scale = contents.scale("pixel_size") if plain else None
    pair = None if scale is None else contents.read("pixel_size").reshape(-1) * scale
    folder, _, word = contents.where(name).rpartition("/")
    places = dict.fromkeys((contents.where(name), folder))
    center = tuple(_said(contents, places, names, PIXELS) or 0.0 for names in zip(*PAIRS[:2], strict=True))
    strays = list[str]()
    with contextlib.suppress(ValueError):  # the file is damaged, but perhaps not the pattern in it
        strays += _strays(contents, name)
    return Told(
        ndim=int(contents.number("ndim") or 0) or None,
        magnitude=_root(contents, places, word),
        center=center if all(center) else "corner" if _said(contents, places, ("isfftshifted",)) == 1 else None,
        pair=_pair(contents, places, strays),
        saturation=_said(contents, places, LEVELS),
        level=next(_levels(contents, strays), None),
        mask=mask_in(contents, folder),
        support=contents.first(inside(folder, SUPPORT), SUPPORT),
        obj=contents.first(inside(folder, OBJECTS[0]), OBJECTS[0]),
        wavelength=contents.quantity("wavelength") or None,
        distance=contents.quantity("distance") or None,
        pixel_size=None if pair is None else (float(pair[0]), float(pair[-1])),
        exposure=exposure(contents, places),
        beside=(
            *beside(contents, folder),
            *(stray for stray in strays if same_word(stray) in MASKS and contents.first(stray)),
        ),
    )


def positive(text: str) -> float | None:
    """The number that a text is, if it is finite and above 0: others say nothing."""
    return above_0(finite(text))


def above_0(value: float | None) -> float | None:
    """The number, if there is one above 0: others say nothing."""
    return value if value is not None and value > 0 else None


def sensible(told: Told) -> tuple[Told, list[str]]:
    """The same without lengths that no light and no detector has, as of those whose unit is not said; and a note."""
    said = {"wavelength": told.wavelength, "pixel_size": told.pixel_size and max(told.pixel_size)}
    wrong = {name: x for name, x in said.items() if x is not None and not _LEAST < x < _LARGEST_LENGTH}
    nothing: dict[str, Any] = dict.fromkeys(wrong)
    notes = [
        f"the file's {_RECORDED[name]} would be {x:.3g} m and was not used: look at its unit"
        for name, x in wrong.items()
    ]
    return replace(told, **nothing), notes


def about_scale(contents: Contents, name: str) -> list[str]:
    """Questions, if the file says by what the numbers are to be multiplied, or what is to be added to them, or an
    attribute what was counted without the object.

    Source:
        CF conventions 1.11, section 8.1; NeXus 2024.02, NXdata.
    """
    place = contents.where(name)
    folder, _, word = place.rpartition("/")
    both = ("scaling_factor", "offset")
    values = {key: finite(contents.attribute(place, key)) for key in ("scale_factor", "add_offset", *both)}
    for key in (f"{word}_scaling_factor", f"{word}_offset", *both):
        values[key] = values.get(key) or contents.number(inside(folder, key))
    said = [f"{key} {x:g}" for key, x in values.items() if x is not None and x != ("offset" not in key)]
    what = f"{name!r} has {' and '.join(said)}, which {'was' if len(said) == 1 else 'were'} not applied"
    levels = ((key, positive(contents.attribute(place, key))) for key in DARKS)
    dark = next((f"its {key} {level:g} was not used" for key, level in levels if level), "")
    return [f"{what}: if they make counts of its numbers, apply them first"] * bool(said) + [
        f"{name!r} is as it was stored, {dark}: if it still holds that, give it to the solver as background="
    ] * bool(dark)


def _root(contents: Contents, places: Iterable[str], name: str) -> str | None:
    """What says that numbers are roots of intensities: a word of their array's name, or an attribute of a place."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    is_one = any(word in (*MAGNITUDES, *_SHORT) or word.startswith("sqrt") for word in words)
    if is_one and not _SQUARED.search(name) and not re.search(r"[A-Za-z]2$|_sq$", name):
        return "its name says"
    if name.lower().startswith("sqrt"):
        return "its name says"
    for place in places:
        for attribute in (
            "units",
            "unit",
            "kind",
            "quantity",
            "signal_type",
            "type",
            "datatype",
            "label",
            "long_name",
            "description",
        ):
            said = contents.attribute(place, attribute)
            if _ROOT.search(said) or (_AMPLITUDE.search(said) and not _SQUARED.search(said)):
                return f"its {attribute}, {shortened(said, 60)!r}, say{'s' * (attribute != 'units')}"
    return None


def _said(contents: Contents, places: Iterable[str], words: Sequence[str], units: Sequence[str] = ()) -> float | None:
    """A number above 0 called by one of the words: an attribute of one of the places, or an array in one of them, in
    one of the units where they matter.
    """
    for place in places:
        said = (positive(contents.attribute(place, word)) for word in words)
        names = contents.called(place, words)
        held = (contents.number(name) for name in names if not units or contents.unit(name) in units)
        for found in (*said, *held):
            if found and found > 0:
                return found
    return None


def exposure(contents: Contents, places: Iterable[str]) -> float | tuple[float, float] | None:
    """That of a frame, or the least and the largest of a row of those of each; see `Told`."""
    for name in (name for place in places for name in contents.called(place, EXPOSURES)):
        times = contents.numbers(name) or [0.0]
        if 0 < 1.001 * min(times) < max(times) < math.inf:
            return min(times), max(times)
    return _said(contents, places, EXPOSURES)


def _pair(contents: Contents, places: Iterable[str], strays: Iterable[str]) -> Pair | None:
    """What may be the pixel of the beam."""
    for place in places:
        for word in CENTERS:
            if pair := _of_text(contents.attribute(place, word), "the file's centre", word):
                return pair
        for both in PAIRS:
            numbers = tuple(filter(None, (positive(contents.attribute(place, word)) for word in both)))
            if len(numbers) == 2:
                return Pair("the file's centre", numbers, True)
    names = [name for place in places for name in contents.called(place, CENTERS)]
    for name in (*names, *(stray for stray in strays if same_word(stray) in CENTERS)):
        entry = contents.lookup(name)
        if entry is not None and entry.dtype.kind in "iuf" and math.prod(entry.shape) in (2, 3):
            return _in_pixels(contents, (name,), tuple(map(float, contents.read(name).reshape(-1))))
        if pair := _of_text(contents.text(name), f"{name!r} of the file", name):
            return pair
    folders = [*places, *dict.fromkeys(map(folder_of, strays))]
    for folder, words in ((folder, words) for folder in folders for words in PAIRS):
        two = (*contents.called(folder, words),)
        values = tuple(filter(None, map(contents.number, two)))
        if len(values) == 2:
            return _in_pixels(contents, two, values)
    return None


def _of_text(text: str, what: str, name: str) -> Pair | None:
    """The two or three numbers of a text, with or without signs between and about them."""
    numbers = [positive(word) for word in re.split(r"[\s,;()\[\]]+", text) if word]
    found = tuple(x for x in numbers if x)
    return _ordered(what, found, name) if len(found) in (2, 3) and len(found) == len(numbers) else None


def _ordered(what: str, values: tuple[float, ...], name: str) -> Pair:
    """The numbers y first, where the name says in which order they are."""
    said = same_word(name)[-2:]
    return Pair(what, values[::-1] if said == "xy" else values, said in ("xy", "yx") and len(values) == 2)


def _in_pixels(contents: Contents, names: Sequence[str], values: tuple[float, ...]) -> Pair:
    """What the arrays are called, and their numbers; none where they are lengths."""
    units = {contents.unit(name) for name in names}.difference(PIXELS)
    what = f"{' and '.join(map(repr, names))} of the file"
    if units:
        return Pair(f"{what}, in {units.pop()!r},")
    return Pair(what, values, True) if len(names) > 1 else _ordered(what, values, names[0])


def about_level(told: Told, share: float) -> Iterator[str]:
    """A question, if the file only says elsewhere from which number on a detector is saturated, or if what it says
    leaves out most of the pixels, which `share` of them is.
    """
    if told.saturation is not None and share > 0.5:
        what = f"the file's saturation {told.saturation:g} leaves out {share:.1%} of the pixels"
        yield f"{what}: if it is not the largest right value, use saturation=inf"
    if told.saturation is None and told.level is not None:
        name, value = told.level
        what = f"{name!r} of the file, {value:g}, was not used"
        yield f"{what}: if it is the largest right value, use saturation={value:g}"


def brighter(values: np.ndarray[Any, Any], one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether a picture is clearly brighter about another pixel than about one; outside of it all is dark."""

    def light(pixel: Sequence[int]) -> float:
        about = values[tuple(slice(max(c - 1, 0), max(c + 2, 0)) for c in pixel)]
        inside = all(0 <= c < m for c, m in zip(pixel, values.shape, strict=True))
        return float(np.nanmean(np.where(about >= 0, about, np.nan))) if inside and (about >= 0).any() else -1.0

    return light(other) > max(4 * light(one), 0)


def _levels(contents: Contents, strays: Iterable[str]) -> Iterator[tuple[str, float]]:
    for name in strays:
        value = contents.number(name) if same_word(name) in LEVELS else None
        if value and value > 0:
            yield name, value


def _strays(contents: Contents, name: str) -> Iterator[str]:
    """Masks that fit the pattern, levels and centres in groups about it that hold no pattern, nor are an entry."""
    axes = [word for pair in PAIRS for word in pair]
    place = contents.where(name)
    for group in _about(contents, place):
        for each in contents.called(group, (*MASKS, *LEVELS, *CENTERS, *axes)):
            entry = contents.lookup(each)
            is_mask = same_word(each) in MASKS and has_pixels_of(contents, each, name)
            if entry is None or not (is_mask or sum(size != 1 for size in entry.shape) < 2):
                continue
            if _holds_pattern(contents, group, place):  # as the groups above may
                break
            yield each


def _about(contents: Contents, place: str) -> Iterator[str]:
    """The groups in which the one of an array lies, and those in each of them, two deep, unless they hold a pattern
    too, or are another entry; not its own.
    """
    parts = place.split("/")[:-1]
    above = ["/".join(parts[:count]) for count in range(len(parts) + 1)]
    found, left = [folder_of(name) for name in contents.entries] if contents.flat else list[str](), _MOST
    for group in (group for parent in above for group in _groups(contents, parent)):
        if group in above or contents.attribute(group, "NX_class") == "NXentry":
            continue
        inner = [group, *(_groups(contents, group)[:left] if left else ())]
        left -= len(inner) - 1
        if not any(_holds_pattern(contents, name, place) for name in inner):
            found += inner
    yield from dict.fromkeys(group for group in (*found, *above) if group != above[-1])


def _groups(contents: Contents, parent: str) -> list[str]:
    """The groups in a group, or so many of them."""
    inner = (inside(parent, key) for key in contents.children(parent)[:_MOST])
    return [name for name in inner if contents.children(name)]


def _holds_pattern(contents: Contents, group: str, place: str) -> bool:
    """Whether a group holds pictures, or arrays of the sizes of that at the place, other than it, masks and what else
    goes with a pattern.
    """
    masks, pattern = {*MASKS, *BESIDE}, contents.lookup(place)
    contents.called(group, ())  # looks it through
    inner = (name for word, name in contents.folders[group].items() if word not in masks)
    for name in (name for name in inner if not contents.children(name)):
        entry = contents.lookup(name)
        if entry is None:
            continue
        is_one = entry.picture and min(entry.shape[-2:]) > _LIST
        is_one |= pattern is not None and entry.shape == pattern.shape
        if is_one and not contents.same(name, place):
            return True
    return False


def folder_of(name: str) -> str:
    """The group that holds the array."""
    return name.rpartition("/")[0]


def inside(folder: str, name: str) -> str:
    """The name of an array in a folder; "" is the file itself."""
    return f"{folder}/{name}" if folder else name


def mask_in(contents: Contents, folder: str, mask_is: MaskIs | None = None) -> tuple[str, MaskIs | None] | None:
    """The mask in a folder, and what its name says of its non-zero pixels; `mask_is` where that says nothing."""
    names = [name for name in contents.called(folder, MASKS) if not _is_list(contents, name)]
    name = contents.first(*(name for name in names if (entry := contents.lookup(name)) and 0 not in entry.shape))
    return None if name is None else (name, MASKS[same_word(name)] or mask_is)


def _is_list(contents: Contents, name: str) -> bool:
    """Whether an array holds the coordinates of pixels, a row for each."""
    entry = contents.lookup(name)
    return entry is not None and len(entry.shape) == 2 and 1 < entry.shape[1] <= _LIST


def beside(contents: Contents, *folders: str) -> tuple[str, ...]:
    """The arrays in these folders, and numbers other than 0, that would change the pattern."""
    names = [name for folder in folders for name in contents.called(folder, BESIDE)]
    names += [name for folder in folders for name in contents.called(folder, MASKS) if _is_list(contents, name)]
    return tuple(name for name in names if contents.first(name) or contents.number(name))


def alike(contents: Contents, name: str, small: bool) -> tuple[str, ...]:
    """The other arrays beside the one called `name` that have its pixels; only those of small types, as masks are."""
    place = contents.where(name)
    folder, shape = folder_of(place), contents.entry(name).shape
    inner = contents.children(folder) or [each for each in contents.entries if folder_of(each) == folder]
    found = []
    for each in (inside(folder, key.rpartition("/")[2]) for key in inner):
        entry = None if contents.where(each) == place or NUMBERED.search(each) else contents.lookup(each)
        pixels = () if entry is None else tuple(size for size in entry.shape if size != 1)
        if entry is None or entry.dtype.kind not in "biufc" or len(pixels) < 2 or not fits(pixels, shape):
            continue
        if not small or entry.dtype.itemsize == 1 < contents.entry(name).dtype.itemsize:
            found.append(each)
    return tuple(found)


def has_pixels_of(contents: Contents, name: str, pattern: str) -> bool:
    """Whether an array `fits` that of a pattern, and is no list of the frames of a stack."""
    entry, shape = contents.entry(name), contents.entry(pattern).shape
    pixels = tuple(size for size in entry.shape if size != 1)
    return entry.shape == shape or (len(pixels) > 1 and fits(pixels, shape))


def fits(pixels: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether an array is one for all patterns of a stack or one for each, wherever the axis of the stack is."""
    return tuple(pixels) in (tuple(shape[-len(pixels) :]), tuple(shape[: len(pixels)]))
