"""``phaseret simulate``: a diffraction pattern made from a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from phaseret import _checks, io, noise, operators, plotting
from phaseret.cli._files import Output, read
from phaseret.cli._messages import typed
from phaseret.cli._options import option, sizes

SUMMARY = "make a diffraction pattern from a picture"
EXAMPLES = """
examples:
  phaseret simulate picture.png -o pattern.h5
      The noise-free pattern at twice the picture's size; the file holds the object and its support too.
  phaseret simulate picture.png --size 64,64 --fourier-shape 192,192 --photons 1e6 --beam-stop 3 -o pattern.h5
      A million photons behind a beam stop of 3 pixels radius.
  phaseret simulate modulus.png --phase phase.png -o pattern.h5
      A complex object; black to white of the second picture is a phase of 0 to 2 pi.
"""


@dataclass(frozen=True)
class Scene:
    """The object, and how it is measured."""

    image: str = option("the object: a picture or an array; FILE or FILE::KEY", "image", metavar="IMAGE")
    phase: str | None = option(
        "its phase, 0 to 2 pi from the smallest to the largest value", metavar="IMAGE", heading="the object"
    )
    size: tuple[int, ...] | None = option("resize the picture to this", type=sizes, metavar="N,M")
    fourier_shape: tuple[int, ...] | None = option(
        "sizes of the pattern, at least 2n - 1", type=sizes, metavar="M,M", heading="the measurement"
    )
    oversampling: float = option("else at least this times the size (default: 2)", type=float, default=2.0)
    photons: float | None = option("counts in the whole pattern, with their noise", type=float, metavar="N")
    readout: float | None = option("Gaussian noise of the electronics", type=float, metavar="SIGMA")
    beam_stop: float | None = option("pixels around the centre that see nothing", type=float, metavar="RADIUS")
    seed: int = option("same seed, same noise (default: 0)", type=int, default=0)


@dataclass(frozen=True)
class Command(Output, Scene):
    """``phaseret simulate``."""

    output: str = option(
        "the pattern: .h5, .cxi or .npz", "-o", "--output", metavar="FILE", required=True, heading="what to write"
    )
    figure: str | None = option("a picture of the pattern", metavar="FILE")

    def run(self) -> None:
        """Write the pattern."""
        self.check()
        seed = _checks.integer("seed", self.seed, at_least=0)
        obj = _picture("IMAGE", self.image, self.size)
        support = obj.abs() > 0
        if self.phase:
            phase = _picture("--phase", self.phase, self.size)
            if phase.shape != obj.shape:
                rule = f"phase must have the shape of IMAGE, {tuple(obj.shape)}, got {tuple(phase.shape)}"
                _checks.fail(rule, "Use --size to make them alike")
            phase = phase - phase.min()
            angle = 2 * math.pi * phase / phase.max().clamp(min=torch.finfo(phase.dtype).tiny)
            obj = torch.polar(obj, angle.to(obj.dtype))
        shape = self.fourier_shape or operators.fast_fourier_shape(obj.shape, self.oversampling)
        if len(shape) != obj.ndim:
            rule = f"fourier_shape must have one size for each axis of IMAGE {tuple(obj.shape)}, got {shape}"
            _checks.fail(rule, "Leave it out for sizes that fit")
        if self.photons is not None:
            photons = _checks.number("photons", self.photons, above=0)
            obj = obj * math.sqrt(photons / float(operators.fourier_intensity(obj, shape).sum()))
        intensity = operators.fourier_intensity(obj, shape)
        generator = torch.Generator().manual_seed(seed)
        if self.photons is not None:
            intensity = noise.poisson_noise(intensity, counts=True, ndim=obj.ndim, generator=generator)
        if self.readout is not None:
            with typed("--readout", "sigma"):
                intensity = noise.readout_noise(intensity, sigma=self.readout, generator=generator)
        mask = None
        if self.beam_stop is not None:
            with typed("--beam-stop", "radius"):
                mask = noise.beam_stop(shape, radius=self.beam_stop)
        measurement = io.as_measurement(intensity, mask=mask, support=support, obj=obj, ndim=obj.ndim)
        self.save(io.save_intensity, measurement)
        self.draw(plotting.plot_pattern, measurement)
        sizes = " x ".join(map(str, shape))
        print(f"pattern of {sizes} pixels, {float(measurement.intensity.sum()):.6g} in all, in {self.output}")


def _picture(name: str, file: str, size: tuple[int, ...] | None) -> Tensor:
    """A real, non-negative object of one to three axes, resized if asked for."""
    obj = read(io.load_object, file, name)
    if obj.is_complex():
        _checks.fail(f"{file} must be real, got {obj.dtype}", "Give modulus and phase as two files")
    if not bool(obj.isfinite().all()) or bool((obj < 0).any()) or not bool(obj.any()):
        fix = "Clip its values, or choose another array"
        _checks.fail(f"{file} must be finite, non-negative and above 0 somewhere", fix)
    if size is not None:
        if len(size) != 2 or obj.ndim != 2:
            what = f"size must be two numbers, for a picture of two axes, got {size} for one of {obj.ndim}"
            _checks.fail(what, "Use --size 64,64, for example, or leave it out")
        size = _checks.shape("size", size)
        resize = torch.nn.functional.interpolate
        obj = resize(obj[None, None], size=size, mode="bilinear", antialias=True)[0, 0].clamp(min=0)
    return obj / obj.max()
