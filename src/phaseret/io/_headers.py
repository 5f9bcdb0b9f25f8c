"""The headers of detectors' own files: those of CBF and tif as Dectris writes them, of EDF as the ESRF does, and of
ADSC's, which look like those.

Source:
    Dectris, the miniCBF header (lines such as ``# Beam_xy (243.5, 309.2) pixels``), which Pilatus writes into tif, too.
    Boesecke (2007), Reduction of two-dimensional small- and wide-angle X-ray scattering data,
    doi:10.1107/S0021889807001100: SAXS keywords of EDF, in which the first pixel reaches from Offset (0 where that is
    not said) to Offset + 1, and Dummy, which stands where nothing was measured. ADSC, the SMV format: lengths in
    millimetres, the wavelength in angstrom.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from phaseret.io._contents import UNITS, Contents, finite
from phaseret.io._layout import LEVELS, PIXELS, Told, positive

_NUMBER = r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)"
_SIGNS = re.compile("[#:=,()]")  # which say no more than a space
_DECTRIS = {
    "saturation": rf"Count_cutoff\s+{_NUMBER}",
    "center": rf"Beam_xy\s+{_NUMBER}\s+{_NUMBER}[ \t]*(\w*)",
    "pixel_size": rf"Pixel_size\s+{_NUMBER}\s*(\w*)\s*x\s*{_NUMBER}",
    "wavelength": rf"Wavelength\s+{_NUMBER}\s*(\w*)",
    "exposure": rf"Exposure_time\s+{_NUMBER}\s*s",
    "distance": rf"Detector_distance\s+{_NUMBER}\s*(\w*)",
}


def intensity(contents: Contents) -> str | None:
    """Such files hold one array: the header does not name it."""
    return None


def told(contents: Contents, name: str) -> Told:
    """What the header says; nothing in files of other formats."""
    if contents.format == "cbf":
        return _of_dectris(contents.attribute("", "_array_data.header_contents"))
    if contents.format == "tif":
        return _of_dectris(contents.attribute("", "ImageDescription"))
    return of_edf(partial(contents.attribute, "")) if contents.format == "edf" else Told()


def _of_dectris(text: str) -> Told:
    text = _SIGNS.sub(" ", text)
    found = {key: match for key, pattern in _DECTRIS.items() if (match := re.search(pattern, text))}
    size, center = found.get("pixel_size"), found.get("center")
    height, width = (_length(size[number], size[2]) if size else None for number in (3, 1))
    y, x = (positive(center[number]) or 0.0 for number in (2, 1)) if center else (0.0, 0.0)
    if center and center[3] not in PIXELS:  # of lengths the pixels are their multiples
        y, x = (
            (_length(center[number], center[3]) or 0.0) / size if size else 0.0
            for number, size in ((2, height), (1, width))
        )
    return Told(
        saturation=positive(found["saturation"][1]) if "saturation" in found else None,
        center=_pixel(y, x, 0.0),
        exposure=positive(found["exposure"][1]) if "exposure" in found else None,
        pixel_size=(height, width) if height and width else None,
        wavelength=_length(*found["wavelength"].groups()) if "wavelength" in found else None,
        distance=_length(*found["distance"].groups()) if "distance" in found else None,
    )


def of_edf(header: Callable[[str], str | None]) -> Told:
    """What the header of a frame says; `header` is the text of a key."""

    def parts(key: str) -> list[str]:
        """A number and its unit, parted by a space or as in 172_um."""
        return [*(header(key) or "").replace("_", " ").split(maxsplit=1), "", ""][:2]

    def said(*keys: str) -> float | None:
        return next(filter(None, (positive(parts(key)[0]) for key in keys)), None)

    def length(key: str) -> float | None:
        return _length(*parts(key))

    if header("HEADER_BYTES") and (size := said("PIXEL_SIZE")):
        return _of_adsc(said, 1e-3 * size)
    height, width = length("PSize_2"), length("PSize_1")
    y, x = (said(f"Center_{axis}") for axis in "21")
    first = [finite(parts(f"Offset_{axis}")[0]) or 0.0 for axis in "21"]
    center = (y - first[0], x - first[1]) if y and x else (0.0, 0.0)
    return Told(
        saturation=said(*LEVELS),
        center=_pixel(*center, 0.5),
        pixel_size=(height, width) if height and width else None,
        exposure=said("ExposureTime", "count_time", "acq_expo_time"),
        wavelength=length("WaveLength"),
        distance=length("SampleDistance"),
    )


def _of_adsc(said: Callable[[str], float | None], size: float) -> Told:
    """What the header says, whose pixels have that size."""
    y, x = (1e-3 * (said(f"BEAM_CENTER_{axis}") or 0.0) / size for axis in "YX")
    distance, wavelength = said("DISTANCE"), said("WAVELENGTH")
    return Told(
        saturation=said("CCD_IMAGE_SATURATION"),
        center=_pixel(y, x, 0.0),
        pixel_size=(size, size),
        exposure=said("TIME"),
        wavelength=wavelength and 1e-10 * wavelength,
        distance=distance and 1e-3 * distance,
    )


def dummies(header: Callable[[str], str | None]) -> tuple[float, float] | None:
    """The number that stands where nothing was measured, and how far from it others do; 0 says nothing."""
    dummy = finite((header("Dummy") or "").split(" ")[0])
    return (dummy, finite((header("DDummy") or "").split(" ")[0]) or 0.0) if dummy else None


def _pixel(y: float, x: float, first: float) -> tuple[float, float] | None:
    """The coordinates of a pixel where the middle of the first is at `first`; zeros say nothing."""
    return (y - first, x - first) if y and x else None


def _length(text: str, unit: str) -> float | None:
    value = positive(text)
    return value * UNITS[unit] if value and unit in UNITS else None
