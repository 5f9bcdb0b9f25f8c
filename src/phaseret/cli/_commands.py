"""What ``info``, ``simulate`` and ``compare`` do: each takes the parsed options, and prints or writes its result."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, io, metrics, noise, operators, plotting, symmetry
from phaseret.cli._words import in_flags, typed
from phaseret.io._load import pattern_object


def info(options: argparse.Namespace) -> None:
    """``phaseret info``."""
    check_outputs(options)
    measurement = load_pattern(options)
    found = io.inspect(measurement)
    found = dataclasses.replace(found, warnings=tuple(in_flags(text, options) for text in found.warnings))
    save_figure(options, lambda: plotting.plot_pattern(measurement))
    print(_json(dataclasses.asdict(found)) if options.json else found)


def check_outputs(options: argparse.Namespace) -> None:
    """Whatever is wrong with the files to be written is found before anything is read or computed."""
    if getattr(options, "output", None):
        with typed("--output"):
            io.check_output(options.output, overwrite=options.overwrite)
    if options.figure:
        with typed("--figure"):
            plotting.check_figure(options.figure, overwrite=options.overwrite)


def save_figure(options: argparse.Namespace, draw: Callable[[], Any]) -> None:
    """Write the picture that `draw` makes, if one is asked for."""
    if options.figure:
        with typed("--figure"):
            plotting.save_figure(options.figure, draw(), overwrite=options.overwrite)


def load_pattern(options: argparse.Namespace) -> io.Measurement:
    """The pattern, or stack of them, as the options say."""
    path, key = split(options.file)
    with typed("FILE", "path", "intensity"):
        measurement = io.load_intensity(
            path,
            key=key,
            index=options.index,
            ndim=options.ndim,
            kind=options.kind,
            center=options.center,
            mask_is=options.mask_is,
            saturation=options.saturation,
            dtype=torch.float64 if getattr(options, "double", False) else torch.float32,
        )
    center = options.center or "middle"
    for name, file, mask_is in (("mask", options.mask, "measured"), ("bad-pixels", options.bad_pixels, "bad")):
        if file:
            path, key = split(file)
            with typed(f"--{name}", "path", "mask", "intensity"):
                mask = io.load_mask(path, key=key, ndim=measurement.ndim, center=center, mask_is=mask_is)
                if mask.ndim > measurement.ndim and options.index is not None:
                    mask = mask[options.index]
                measurement = measurement.masked(mask)
    return measurement


def split(file: str) -> tuple[str, str | None]:
    """FILE::KEY in its two parts."""
    path, _, key = file.partition("::")
    return path, key or None


def simulate(options: argparse.Namespace) -> None:
    """``phaseret simulate``."""
    check_outputs(options)
    seed = _checks.integer("seed", options.seed, at_least=0)
    obj = _picture("IMAGE", options.image, options.size)
    support = obj.abs() > 0
    if options.phase:
        phase = _picture("--phase", options.phase, options.size)
        if phase.shape != obj.shape:
            rule = f"phase must have the shape of IMAGE, {tuple(obj.shape)}, got {tuple(phase.shape)}"
            _checks.fail(rule, "Use --size to make them alike")
        phase = phase - phase.min()
        angle = 2 * math.pi * phase / phase.max().clamp(min=torch.finfo(phase.dtype).tiny)
        obj = torch.polar(obj, angle.to(obj.dtype))
    shape = options.fourier_shape or operators.fast_fourier_shape(obj.shape, options.oversampling)
    if len(shape) != obj.ndim:
        rule = f"fourier_shape must have one size for each axis of IMAGE {tuple(obj.shape)}, got {shape}"
        _checks.fail(rule, "Leave it out for sizes that fit")
    if options.photons is not None:
        photons = _checks.number("photons", options.photons, above=0)
        obj = obj * math.sqrt(photons / float(operators.fourier_intensity(obj, shape).sum()))
    intensity = operators.fourier_intensity(obj, shape)
    generator = torch.Generator().manual_seed(seed)
    if options.photons is not None:
        intensity = noise.poisson_noise(intensity, counts=True, ndim=obj.ndim, generator=generator)
    if options.readout is not None:
        with typed("--readout", "sigma"):
            intensity = noise.readout_noise(intensity, sigma=options.readout, generator=generator)
    mask = None
    if options.beam_stop is not None:
        with typed("--beam-stop", "radius"):
            mask = noise.beam_stop(shape, radius=options.beam_stop)
    measurement = io.as_measurement(intensity, mask=mask, support=support, obj=obj, ndim=obj.ndim)
    with typed("--output"):
        io.save_intensity(options.output, measurement, overwrite=options.overwrite)
    save_figure(options, lambda: plotting.plot_pattern(measurement))
    sizes = " x ".join(map(str, shape))
    print(f"pattern of {sizes} pixels, {float(measurement.intensity.sum()):.6g} in all, in {options.output}")


def _picture(name: str, file: str, size: tuple[int, ...] | None) -> Tensor:
    """A real, non-negative object of one to three axes, resized if asked for."""
    path, key = split(file)
    with typed(name):
        obj = io.load_object(path, key=key)
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


def compare(options: argparse.Namespace) -> None:
    """``phaseret compare``."""
    check_outputs(options)
    objects, sources = [], []
    for place, file in (("A", options.estimate), ("B", options.object)):
        path, key = split(file)
        with typed(place):
            name = None if key else pattern_object(path)
            objects.append(io.load_object(path, key=key))
        if not bool(objects[-1].isfinite().all()) or not bool(objects[-1].any()):
            fix = "Choose another file or another array, as FILE::KEY"
            _checks.fail(f"{place} must be finite, and above 0 somewhere, got {file}", fix)
        sources.append(f"{file}: the object that this pattern was made from, {name}" if name else file)
    estimate, obj = _same_shape(*objects)
    ndim = obj.ndim
    found = symmetry.align(estimate, obj, ndim=ndim, scale=True)
    aligned = found.aligned
    obj = obj.to(aligned.dtype)
    curve = metrics.frc(aligned, obj, align=False, ndim=ndim)
    moduli = (aligned.abs(), obj.abs()) if obj.is_complex() else (aligned, obj)
    range_ = float(moduli[1].max() - moduli[1].min()) or 1.0
    norm = float(obj.abs().square().sum())
    inner = float((aligned.conj() * obj).sum().abs()) / (math.sqrt(norm * float(aligned.abs().square().sum())) or 1.0)
    scores = {
        "a": sources[0],
        "b": sources[1],
        "shift": found.shifts.tolist(),
        "flipped": bool(found.flipped),
        "phase": float(found.phase),
        "scale": float(found.scale),
        "relative_error": math.sqrt(float(found.error) * obj.numel() / norm),
        "correlation": inner,
        "psnr": float(metrics.psnr(*moduli, data_range=range_, align=False, ndim=ndim)),
        "resolution_half": float(metrics.resolution(curve, criterion=0.5)),
        "frc": {"frequency": curve.frequency.tolist(), "value": curve.value.tolist()},
    }
    if min(obj.shape) >= 11:
        scores["ssim"] = float(metrics.ssim(*moduli, data_range=range_, align=False, ndim=ndim))
    save_figure(options, lambda: plotting.plot_comparison(estimate, obj, ndim=ndim))
    print(_json(scores) if options.json else _comparison(scores))


def _same_shape(*objects: Tensor) -> tuple[Tensor, Tensor]:
    """Both with zeros at the end, to the larger size of each axis."""
    a, b = objects
    if a.ndim != b.ndim or a.ndim > 3:
        shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
        rule = f"A and B must be single objects with equally many axes, one to three, got {shapes}"
        _checks.fail(rule, "Of a stack, save one object")
    shape = [max(sizes) for sizes in zip(a.shape, b.shape, strict=True)]
    dtype = torch.promote_types(a.dtype, b.dtype)
    padded = [x.new_zeros(shape, dtype=dtype) for x in objects]
    for x, place in zip(objects, padded, strict=True):
        place[tuple(slice(n) for n in x.shape)] = x
    return padded[0], padded[1]


def _comparison(scores: dict[str, Any]) -> str:
    rows = [
        ("A", scores["a"]),
        ("B", scores["b"]),
        ("removed", f"shift {tuple(scores['shift'])}, {'flip, ' * scores['flipped']}phase {scores['phase']:.4g} rad, "
         f"factor {scores['scale']:.6g}"),
        ("relative error", f"{scores['relative_error']:.4g}"),
        ("correlation", f"{scores['correlation']:.4f}"),
        ("psnr", f"{scores['psnr']:.2f} dB"),
    ]  # fmt: skip
    if "ssim" in scores:
        rows.append(("ssim", f"{scores['ssim']:.4f}"))
    rows.append(("resolution", f"{scores['resolution_half']:.3g} pixels (ring correlation above 0.5)"))
    return "\n".join(f"{name:18}{value}" for name, value in rows)


def _json(value: Any) -> str:
    """JSON, whose numbers are finite: what is not becomes null."""

    def finite(x: Any) -> Any:
        if isinstance(x, dict):
            return {name: finite(part) for name, part in x.items()}
        if isinstance(x, list | tuple):
            return [finite(part) for part in x]
        return None if isinstance(x, float) and not math.isfinite(x) else x

    return json.dumps(finite(value), indent=1)
