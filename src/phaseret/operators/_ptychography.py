"""Far-field ptychography: the far field of the object under a probe at several positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators._base import held
from phaseret.operators._far_field import FarField, check_options


def ptychography(
    obj: Tensor,
    probe: Tensor,
    positions: Tensor,
    *,
    norm: _fft.Norm = "ortho",
    centered: bool = False,
    chunk: int | None = None,
) -> Tensor:
    r"""Far-field intensities of the object seen through a probe at each of J positions.

    .. math:: Y_{j,k} = \Big| s \sum_x P[x] \, X[x + r_j] \exp(-2 \pi i \, k \cdot x / p) \Big|^2

    with the scale s of :func:`fourier_intensity`. Position r_j is the index of the object pixel under the first pixel
    of the probe's window. A fractional position is split: the window moves by whole pixels, to the nearest one, and
    the probe moves within the window by the rest (at most half a pixel), circularly, by trigonometric interpolation.
    The object is never interpolated, so the map stays linear in it and the adjoint exact. Derivatives exist with
    respect to the object, the probe and fractional positions.

    Args:
        obj: Object, real or complex floating, larger than the probe.
        probe: Illumination, real or complex floating, which should fade towards the border of its window.
        positions: Pixels, of an integer dtype for whole ones or of a floating dtype for any.
        norm: "ortho", "backward" or "forward", as in `torch.fft`.
        centered: Put the zero frequency at index p // 2 instead of 0.
        chunk: Items computed at a time. Results do not depend on it; peak memory does.

    Shape:
        - obj: (*, n1..nd), one to three axes
        - probe: (p1..pd)
        - positions: (J, d), the windows lie within the object
        - output: (*, J, p1..pd)

    Returns:
        Real tensor, squared units of object times probe.

    Raises:
        TypeError: if obj or probe is not a floating tensor, or positions is not a real or integer one.
        ValueError: if the shapes do not fit, or a window leaves the object. This looks at the positions, which waits
            for a GPU: where that matters, make one :class:`Ptychography` and call it many times.

    Example:
        >>> probe = torch.hann_window(16)[:, None] * torch.hann_window(16)
        >>> positions = torch.cartesian_prod(torch.arange(0, 17, 4), torch.arange(0, 17, 4))
        >>> ptychography(torch.rand(32, 32), probe, positions).shape
        torch.Size([25, 16, 16])

    Source:
        Rodenburg, Faulkner (2004), A phase retrieval algorithm for shifting illumination, doi:10.1063/1.1823034.
    """
    return Ptychography(probe, positions, norm=norm, centered=centered, chunk=chunk)(obj)


class Ptychography(FarField):
    """Module of :func:`ptychography`, with the same options; also `linear` and `adjoint`.

    A probe or positions given as `torch.nn.Parameter` are learned with the object.

    Args:
        probe: Illumination (p1..pd), real or complex.
        positions: Pixels (J, d), whole or fractional.
        norm: "ortho", "backward" or "forward".
        centered: Zero frequency at index p // 2 instead of 0.
        chunk: Items computed at a time.

    Example:
        >>> op = Ptychography(torch.hann_window(8), torch.tensor([[0.0], [3.5], [8.0]]))
        >>> op.adjoint(op.linear(torch.ones(16)), (16,)).shape
        torch.Size([16])
    """

    probe: Tensor
    positions: Tensor

    def __init__(
        self,
        probe: Tensor,
        positions: Tensor,
        *,
        norm: _fft.Norm = "ortho",
        centered: bool = False,
        chunk: int | None = None,
    ) -> None:
        _checks.floating(probe=probe)
        _checks.rank(1, probe=probe)
        window = _checks.shape("probe.shape", probe.shape)
        _checks.tensor(positions=positions)
        _checks.same_device(probe=probe, positions=positions)
        if positions.is_complex() or positions.dtype == torch.bool:
            fix = "Use whole or fractional pixels"
            rule = f"positions must be of an integer or real floating dtype, got {positions.dtype}"
            _checks.fail(rule, fix, TypeError)
        if positions.ndim != 2 or positions.shape[1] != probe.ndim:
            rule = f"positions must have the shape (J, {probe.ndim}) for a probe of shape {tuple(probe.shape)}"
            _checks.fail(f"{rule}, got {tuple(positions.shape)}", "One row for each position")
        check_options(window, norm, centered)
        if positions.is_floating_point():
            _checks.real(positions=positions)
        places = held(positions) if positions.is_floating_point() else positions.long()
        options = {"probe": held(probe), "positions": places, "norm": norm, "centered": centered}
        super().__init__(window, **options, chunk=chunk)
        self._look_at_positions()

    def _look_at_positions(self) -> None:
        """Check the positions, and find the smallest object that holds all windows."""
        self.least_shape = self.fourier_shape
        if self.positions.is_meta:
            return
        host = self.positions.detach().cpu().double()
        lowest, highest = host.amin(0).tolist(), host.amax(0).tolist()
        if not host.isfinite().all():
            _checks.fail(f"positions must be finite, got values from {lowest} to {highest}", "Drop them")
        if min(map(round, lowest)) < 0:
            _checks.fail(f"positions must be at least 0, got {lowest}", "Subtract positions.amin(0)")
        self.least_shape = tuple(round(high) + p for high, p in zip(highest, self.fourier_shape, strict=True))

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._look_at_positions()

    @property
    def data_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Shape of one measurement: the number of positions, then the shape of the probe."""
        return (len(self.positions), *self.fourier_shape)

    def _check(self, obj: Tensor) -> None:
        super()._check(obj)
        self._check_room("obj", obj.shape[-self.object_ndim :])

    def _check_room(self, name: str, shape: Sequence[int]) -> None:
        if len(shape) != self.object_ndim or any(n < least for n, least in zip(shape, self.least_shape, strict=True)):
            rule = f"{name} must have at least the shape {self.least_shape}, to hold all windows of the probe"
            _checks.fail(f"{rule}, got {tuple(shape)}", "Pad the object, or subtract from positions")

    def _windows(self, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The probe in each window, and the flat index into the object of each pixel of each window (J p1...pd)."""
        # Learned positions may drift: the window stays within the object, and the probe moves the rest of the way.
        rooms = [n - p for n, p in zip(shape, self.fourier_shape, strict=True)]
        whole = self.positions.detach().round()
        corners = torch.stack([whole[:, axis].clamp(0, room) for axis, room in enumerate(rooms)], dim=-1)
        probes = self.probe
        if self.positions.is_floating_point():
            probes = _fft.fourier_shift(self.probe, self.positions - corners, self.fourier_shape)
        index = torch.zeros((), dtype=torch.long, device=corners.device)
        for axis, (n, p) in enumerate(zip(shape, self.fourier_shape, strict=True)):
            pixels = corners[:, axis, None].long() + torch.arange(p, device=corners.device)
            index = index * n + _fft.along(pixels, axis, len(shape))
        return probes, index.flatten()

    def _exit_waves(self, obj: Tensor) -> Tensor:
        probes, index = self._windows(obj.shape[-self.object_ndim :])
        flat = obj.flatten(-self.object_ndim)
        return probes * flat.gather(-1, index.expand(*flat.shape[:-1], -1)).unflatten(-1, self.data_shape)

    def adjoint(self, field: Tensor, object_shape: Sequence[int] | None = None) -> Tensor:
        """The adjoint of `linear`: (*, J, p1..pd) -> (*, n1..nd), complex."""
        shape = self._adjoint_shape(object_shape)
        self._check_room("object_shape", shape)
        waves = self._exit_waves_adjoint(self._as_field(field, self.data_shape), self.fourier_shape)
        probes, index = self._windows(shape)
        return self._gathered(probes.conj() * waves, index, shape)

    def gram_diagonal(self, weight: Tensor, object_shape: Sequence[int] | None = None) -> Tensor:
        """The diagonal of ``A^H diag(weight) A``: (*, J, p1..pd) -> (*, n1..nd)."""
        shape = self._adjoint_shape(object_shape)
        probes, index = self._windows(shape)
        return self._gathered(_fft.power(probes) * self._light(weight), index, shape)

    def _gathered(self, patches: Tensor, index: Tensor, shape: Sequence[int]) -> Tensor:
        """What all windows say of the object, added up: (*, J, p1..pd) -> (*, n1..nd)."""
        patches = patches.flatten(-self.data_ndim)
        zeros = patches.new_zeros(*patches.shape[:-1], math.prod(shape))
        return zeros.scatter_add(-1, index.expand(patches.shape), patches).unflatten(-1, shape)
