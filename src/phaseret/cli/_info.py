"""``phaseret info``: what can be seen in a pattern before its reconstruction."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

from phaseret import _checks, io, plotting
from phaseret.cli._commands import Info
from phaseret.cli._files import Reads, Writes
from phaseret.cli._messages import as_json, in_flags
from phaseret.cli._options import flags
from phaseret.symmetry import Certificate, certify
from phaseret.symmetry._certify import limited, unmeasured


class Command(Writes, Reads, Info):
    """``phaseret info``."""

    def run(self) -> None:
        """Print what is found, and draw the pattern."""
        self.check()
        with self.opened() as source:
            measurement = source.read(self.index)
        found = io.inspect(measurement)
        found = replace(found, warnings=tuple(in_flags(text, flags(Info)) for text in found.warnings))
        proof = self._proof(measurement) if self.certify else None
        self.draw(plotting.plot_pattern, measurement)
        if self.json:
            about = {} if proof is None else {"unique": proof.unique, "radius": proof.radius.tolist()}
            print(as_json(asdict(found) | about))
        else:
            print(found)
            print(*(f"object: {text}" for text in (proof.verdict if proof else ())), sep="\n", end="\n" * bool(proof))

    def _proof(self, measurement: io.Measurement) -> Certificate:
        """Whether the object that the file holds is the only one with its data."""
        if measurement.obj is None:
            _checks.fail("--certify needs a file that holds the object, got one without", "Leave it out")
        frame, sizes = measurement.fourier_shape, tuple(measurement.obj.shape[-measurement.ndim :])
        if any(m < n for m, n in zip(frame, sizes, strict=True)):
            rule = f"--certify needs a pattern at least as large as its object {sizes}, got one of {frame}"
            _checks.fail(
                rule, "Leave it out, or look at whether the pattern was cut or binned after the object was kept"
            )
        found = certify(measurement.obj, ndim=measurement.ndim, fourier_shape=frame)
        if measurement.mask is None:
            return found
        counts = (~measurement.mask).flatten(-measurement.ndim).sum(-1)
        if counts.ndim > found.radius.ndim:  # several patterns of one object: one that is complete is enough
            counts = counts.min()
        pixels = math.prod(measurement.fourier_shape)
        return limited(
            found, [unmeasured(count, pixels) for count in counts.expand(found.radius.shape).flatten().tolist()]
        )
