"""``phaseret simulate``: a diffraction pattern made from a picture."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from phaseret import _checks, _memory, io, noise, operators, plotting
from phaseret._module import seeded
from phaseret.cli._commands import Simulate
from phaseret.cli._files import Writes, read
from phaseret.cli._messages import typed


class Command(Writes, Simulate):
    """``phaseret simulate``."""

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
        which, got = ("oversampling", self.oversampling) if self.fourier_shape is None else ("fourier_shape", shape)
        # Object, spectrum and intensity, and what their transforms take.
        _memory.check_fits(which, 40 * math.prod(shape), "Use smaller sizes", f"{got}, a pattern of {shape}")
        if self.photons is not None:
            photons = _checks.number("photons", self.photons, above=0)
            obj = obj * math.sqrt(photons / float(operators.fourier_intensity(obj, shape).sum()))
        intensity = operators.fourier_intensity(obj, shape)
        generator = seeded(seed)
        if self.photons is not None:
            intensity = noise.poisson_noise(intensity, counts=True, ndim=obj.ndim, generator=generator)
            if not bool(intensity.isfinite().all()):
                _checks.fail(f"photons must leave counts that can be drawn, got {self.photons:g}", "Use fewer")
        if self.readout is not None:
            with typed("--readout", "sigma"):
                intensity = noise.readout_noise(intensity, sigma=self.readout, generator=generator)
        mask = None
        if self.beam_stop is not None:
            with typed("--beam-stop", "radius"):
                mask = noise.beam_stop(shape, radius=self.beam_stop)
        measurement = io.as_measurement(intensity, mask=mask, support=support, obj=obj, ndim=obj.ndim)
        self.save(io.save_intensity, measurement)
        sizes = " x ".join(map(str, shape))
        print(f"pattern of {sizes} pixels, {float(measurement.intensity.sum()):.6g} in all, in {self.output}")
        self.draw(plotting.plot_pattern, measurement)


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
        _memory.check_fits("size", 16 * math.prod(size), "Use smaller ones", str(size))
        _look_at_proportions(file, tuple(obj.shape), size)
        resize = torch.nn.functional.interpolate
        obj = resize(obj[None, None], size=size, mode="bilinear", antialias=True)[0, 0].clamp(min=0)
    return obj / obj.max()


def _look_at_proportions(file: str, shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    """Warn where the proportions of a picture change by more than rounding does."""
    (height, width), (rows, columns) = shape, size
    fitting = max(1, round(rows * width / height)), max(1, round(columns * height / width))
    if abs(fitting[0] - columns) > 1 and abs(fitting[1] - rows) > 1:
        what = f"the picture of {height} x {width} pixels in {file} loses its proportions in one of {rows} x {columns}"
        _checks.warn(what, f"Use --size {rows},{fitting[0]} or {fitting[1]},{columns} to keep them")
