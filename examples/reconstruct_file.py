"""From the file of a measured pattern to an image, and to an opinion on whether it is right.

    python examples/reconstruct_file.py pattern.cxi

Without a file it makes one first, pattern.cxi: a real object at 100 photons per pixel of the detector, with the shadow
of a beam stop in the middle. The four steps are those of every reconstruction: load, look, reconstruct, judge.

Prints what can be seen in the pattern, the residual, how many starts agree and up to which resolution; writes
result.cxi and result.png.

Time on one core: 8 s; without vector instructions: 8 s.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

import phaseret as pr


def simulate(path: str, photons: float = 100.0) -> Tensor:
    """Write what a detector counts of four digits, with the geometry of the experiment; the object."""
    digits = pr.datasets.mnist(train=False)[:4]
    obj = torch.cat([torch.cat(list(digits[:2]), -1), torch.cat(list(digits[2:]), -1)], -2)[5:51, 5:51]
    intensity = pr.operators.fourier_intensity(obj, (128, 128))
    counts = torch.poisson(intensity * photons / intensity.mean(), generator=torch.Generator().manual_seed(0))
    frequency = torch.fft.fftfreq(128) * 128
    measured = frequency[:, None].square() + frequency.square() > 1.5**2  # the beam stop covers 9 pixels
    measurement = pr.io.as_measurement(counts, mask=measured, pixel_size=75e-6, wavelength=1e-10, distance=1.0)
    pr.io.save_intensity(path, measurement, overwrite=True)
    return obj


def main(
    path: str = "",
    starts: int = 8,
    schedule: str | None = None,
    result: str = "result.cxi",
    picture: str = "result.png",
) -> pr.solvers.Reconstruction:
    """The reconstruction of the pattern in a file."""
    if not path:
        path = "pattern.cxi"
        simulate(path)

    # Load: the zero frequency moves to index 0; what the detector did not measure, the mask leaves out. Options say
    # what a file leaves open: key=, center=, mask_is=, saturation= ...
    measurement = pr.io.load_intensity(path)
    print(measurement)

    # Look, before any computing: is it centred, sampled finely enough, complete?
    found = pr.io.inspect(measurement)
    print(found)

    # Reconstruct, in a box a little larger than the autocorrelation says. The default schedule keeps few of its pixels.
    box = torch.ones([n + 2 for n in found.object_shape], dtype=torch.bool)
    reconstruction = pr.solvers.reconstruct(
        measurement.intensity,
        mask=measurement.mask,
        support=box,
        constraint="nonnegative",  # "complex" for an object with a phase
        schedule=schedule,
        starts=starts,
        seed=0,
    )
    print(reconstruction)

    # Judge: a low residual is no proof. Do independent starts give one object, and up to which frequency?
    agree = reconstruction.agreement > 0.9
    print(f"of all {starts} starts, also those that fit the data worse, {int(agree.sum())} found this object")
    operator = pr.operators.FourierIntensity(measurement.fourier_shape)
    objects = reconstruction.objs[agree]
    curve = pr.metrics.prtf(objects, measurement.intensity, operator, mask=measurement.mask)
    pixels = float(pr.metrics.resolution(curve, criterion=0.5))
    size = measurement.object_pixel_size
    print(
        f"the phases of these agree down to {pixels:.1f} pixels"
        + (f", {pixels * size[0] * 1e9:.0f} nm" if size else "")
    )

    pr.io.save_reconstruction(result, reconstruction, measurement=measurement, overwrite=True)
    figure = pr.plotting.plot_reconstruction(reconstruction, measurement=measurement)
    pr.plotting.save_figure(picture, figure, overwrite=True)
    return reconstruction


if __name__ == "__main__":
    main(*sys.argv[1:2])
