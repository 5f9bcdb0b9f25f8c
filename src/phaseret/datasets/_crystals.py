"""Strained crystals, as one Bragg peak shows them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from phaseret import _checks

Shape = Literal["polyhedron", "wulff"]
Modulus = Literal["flat", "graded", "pitted"]
# A crystal fills a share of its box between these, and is drawn anew where it does not fit into it.
_FILL = (0.134, 0.2)
# The modulus of a graded one falls to this, and to this in the middle of a pit, which is so wide (in box widths).
_GRADED, _PIT, _PIT_WIDTH = 0.6, 0.2, 0.05


def strained_crystal(
    object_shape: Sequence[int] = (31, 31, 31),
    *,
    span: float = 2 * math.pi,
    kind: Shape = "polyhedron",
    modulus: Modulus = "flat",
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""A strained crystal as one of its Bragg peaks shows it: a complex object of even modulus.

    Its phase is :math:`-Q \cdot u`, with the displacement u of the lattice along the peak's scattering vector Q, which
    :func:`phaseret.crystals.strain` gives: a polynomial of degree 3 and three Gaussians with random weights,
    without the linear part, which would only move the peak, scaled to `span` from its least to its largest value. The
    crystal is a "polyhedron" cut out by 8 to 16 random half-spaces, or "wulff", the equilibrium shape of faces {100},
    {110} and {111} with random energies and orientation, cut by the substrate on one side. It fills 13 to 20 % of the
    box, in its middle; data of more than twice the box along each axis oversample it by more than 2.

    Args:
        object_shape: Sizes of the box, at least 8 each.
        span: Largest minus smallest phase in radians.
        kind: "polyhedron" or "wulff".
        modulus: "flat", 1 everywhere; "graded", evenly down to 0.6 from one side to the other, as absorption does it;
            "pitted", 1 but for three to six pits, Gaussians a twentieth of the box wide in which it falls to 0.2.
        generator: Source of the random numbers. Default: torch's.

    Shape:
        - output: object_shape, complex64, non-zero in the crystal alone

    Returns:
        Complex tensor.

    Raises:
        TypeError: if an option is of the wrong kind.
        ValueError: if object_shape has not three sizes of at least 8, or an option is unknown or negative.

    Example:
        >>> obj = strained_crystal(span=3.5 * torch.pi, generator=torch.Generator().manual_seed(0))
        >>> counts = pr.noise.poisson_noise(1e5 * pr.operators.fourier_intensity(obj, (64, 64, 64)))
        >>> obj.shape, counts.shape
        (torch.Size([31, 31, 31]), torch.Size([64, 64, 64]))

    Source:
        The phase: Robinson, Harder (2009), Coherent X-ray diffraction imaging of strain at the nanoscale,
        doi:10.1038/nmat2400. Shapes and weights are ours.
    """
    sizes = _checks.shape("object_shape", object_shape)
    if len(sizes) != 3 or min(sizes) < 8:
        _checks.fail(f"object_shape must be three sizes of at least 8, got {sizes}", "Use (31, 31, 31)")
    span = _checks.number("span", span, at_least=0)
    _checks.choice("kind", kind, get_args(Shape))
    _checks.choice("modulus", modulus, get_args(Modulus))
    _checks.generator(generator)
    draw = _Draw(generator)
    with torch.device("cpu"):
        inside = _body(sizes, draw, kind)
        points = inside.nonzero().double()
        u = points - points.mean(0)
        u = u / u.abs().max()
        values = torch.polar(_modulus(u, draw, modulus), span * _unit_phase(u, draw))
        obj = torch.zeros(sizes, dtype=torch.complex64)
        obj[inside] = values.to(obj.dtype)
    return obj


class _Draw:
    """Random numbers in double precision, from uniform ones, which are the same on every processor to the bit."""

    def __init__(self, generator: torch.Generator | None) -> None:
        self.generator = generator
        self.device = "cpu" if generator is None else generator.device

    def normal(self, *sizes: int) -> Tensor:
        radius = (-2 * (1 - self.uniform(0, 1, *sizes)).log()).sqrt()
        return radius * (2 * math.pi * self.uniform(0, 1, *sizes)).cos()

    def uniform(self, low: float, high: float, *sizes: int) -> Tensor:
        share = torch.rand(sizes, generator=self.generator, device=self.device, dtype=torch.float32).cpu().double()
        return low + (high - low) * share

    def integer(self, low: int, high: int) -> int:
        """From low to high, both of them possible."""
        return int(torch.randint(low, high + 1, (), generator=self.generator, device=self.device))


def _body(sizes: tuple[int, ...], draw: _Draw, kind: Shape) -> Tensor:
    """A convex body that fits into a box, in its middle to half a pixel."""
    # One pixel more on each side shows what the box would cut off.
    axes = [torch.arange(-1, n + 1, dtype=torch.float64) - (n - 1) / 2 for n in sizes]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    while True:  # more than one of ten fits
        normals, distances = _polyhedron(draw) if kind == "polyhedron" else _wulff(draw)
        stretched = points / (draw.uniform(0.8, 1.25, 3) * torch.tensor(sizes) / max(sizes))
        height = (stretched @ normals.T / distances).amax(-1)
        voxels = int(math.prod(sizes) * float(draw.uniform(*_FILL)))
        inside = height <= height.flatten().kthvalue(voxels).values
        places = inside.nonzero()
        before, behind = places.amin(0), torch.tensor(sizes) + 1 - places.amax(0)
        if min(before.min(), behind.min()) > 0:
            return inside.roll(((behind - before) // 2).tolist(), (0, 1, 2))[1:-1, 1:-1, 1:-1]


def _polyhedron(draw: _Draw) -> tuple[Tensor, Tensor]:
    """Normals and distances of the half-spaces."""
    count = draw.integer(8, 16)
    normals = draw.normal(count, 3)
    return normals / normals.norm(dim=1, keepdim=True), draw.uniform(0.75, 1.25, count)


def _wulff(draw: _Draw) -> tuple[Tensor, Tensor]:
    """The same of an equilibrium shape on a substrate: distances are the faces' energies, within 8 %."""
    faces = torch.tensor([face for face in itertools.product((-1.0, 0.0, 1.0), repeat=3) if any(face)]).double()
    order = faces.abs().sum(1)  # 1: {100}, 2: {110}, 3: {111}
    energies = [draw.uniform(*limits) for limits in ((0.9, 1.2), (0.95, 1.2), (0.85, 1.1))]
    distances = torch.stack(energies)[order.long() - 1] * draw.uniform(0.92, 1.08, len(faces))
    distances[draw.integer(0, len(faces) - 1)] = draw.uniform(0.3, 0.7)
    turn, _ = torch.linalg.qr(draw.normal(3, 3))
    return faces / order.sqrt()[:, None] @ turn, distances


def _modulus(u: Tensor, draw: _Draw, modulus: Modulus) -> Tensor:
    """The modulus at points (N, 3) in [-1, 1]."""
    value = torch.ones(len(u), dtype=u.dtype)
    if modulus == "graded":
        along = u @ draw.normal(3)
        value = 1 - (1 - _GRADED) * (along - along.min()) / (along.max() - along.min())
    if modulus == "pitted":
        for _ in range(draw.integer(3, 6)):
            place = u[draw.integer(0, len(u) - 1)]
            value = value * (1 - (1 - _PIT) * torch.exp(-(u - place).square().sum(1) / 2 / (2 * _PIT_WIDTH) ** 2))
    return value


def _unit_phase(u: Tensor, draw: _Draw) -> Tensor:
    """A smooth phase at points (N, 3) without a ramp, from 0 to 1."""
    powers = [p for p in itertools.product(range(4), repeat=3) if sum(p) in (2, 3)]
    terms = [(u ** torch.tensor(p)).prod(1) for p in powers]
    for _ in range(3):
        place = u[draw.integer(0, len(u) - 1)]
        terms.append(torch.exp(-(u - place).square().sum(1) / 2 / draw.uniform(0.25, 0.5) ** 2))
    phase = torch.stack(terms, 1) @ draw.normal(len(terms))
    ramp = torch.cat((torch.ones(len(u), 1), u), 1).double()
    phase = phase - ramp @ torch.linalg.lstsq(ramp, phase[:, None]).solution[:, 0]
    return (phase - phase.min()) / (phase.max() - phase.min())
