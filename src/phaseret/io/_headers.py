"""The headers of detectors' own files: those of CBF as Dectris writes them, and of EDF as the ESRF does.

Source:
    Dectris, the miniCBF header (lines such as ``# Beam_xy (243.5, 309.2) pixels``). Boesecke (2007), Reduction of
    two-dimensional small- and wide-angle X-ray scattering data, doi:10.1107/S0021889807001100: SAXS keywords of EDF,
    in which the first pixel reaches from 0 to 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from phaseret.io._contents import UNITS, Contents
from phaseret.io._layout import Told, positive

_NUMBER = r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)"
_DECTRIS = {
    "saturation": rf"Count_cutoff\s+{_NUMBER}",
    "center": rf"Beam_xy\s+\(?{_NUMBER},?\s+{_NUMBER}\)?",
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
    return of_edf(partial(contents.attribute, "")) if contents.format == "edf" else Told()


def _of_dectris(text: str) -> Told:
    found = {key: match for key, pattern in _DECTRIS.items() if (match := re.search(pattern, text))}
    size, center = found.get("pixel_size"), found.get("center")
    height, width = (_length(size[number], size[2]) if size else None for number in (3, 1))
    return Told(
        saturation=positive(found["saturation"][1]) if "saturation" in found else None,
        center=_pixel(center[2], center[1], 0.0) if center else None,
        exposure=positive(found["exposure"][1]) if "exposure" in found else None,
        pixel_size=(height, width) if height and width else None,
        wavelength=_length(*found["wavelength"].groups()) if "wavelength" in found else None,
        distance=_length(*found["distance"].groups()) if "distance" in found else None,
    )


def of_edf(header: Callable[[str], str | None]) -> Told:
    """What the header of a frame says; `header` is the text of a key."""

    def said(*keys: str) -> float | None:
        return next(filter(None, (positive((header(key) or "").split(" ")[0]) for key in keys)), None)

    height, width = said("PSize_2"), said("PSize_1")
    return Told(
        saturation=said("saturation_value", "saturation"),
        center=_pixel(header("Center_2") or "", header("Center_1") or "", 0.5),
        pixel_size=(height, width) if height and width else None,
        exposure=said("ExposureTime", "count_time", "acq_expo_time"),
        wavelength=said("WaveLength"),
        distance=said("SampleDistance"),
    )


def _pixel(y: str, x: str, first: float) -> tuple[float, float] | None:
    """The coordinates of a pixel where the middle of the first is at `first`; zeros say nothing."""
    height, width = positive(y), positive(x)
    return (height - first, width - first) if height and width else None


def _length(text: str, unit: str) -> float | None:
    value = positive(text)
    return value * UNITS[unit] if value and unit in UNITS else None
