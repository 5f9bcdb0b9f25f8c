"""The base class of all measurement operators."""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from phaseret import _checks, _fft, _memory
from phaseret._module import Module, called_as


def check_grid(grid: Sequence[int], object_shape: Sequence[int]) -> None:
    """Raise unless the grid on which the field is computed has room for the object."""
    if len(grid) != len(object_shape) or any(m < n for m, n in zip(grid, object_shape, strict=True)):
        rule = f"fourier_shape must be at least {tuple(object_shape)}, the shape of the object"
        _checks.fail(f"{rule}, got {tuple(grid)}", "Pad more, or crop the object")


class Operator(Module):
    """A measurement: the squared absolute value of a linear map of the object.

    A subclass sets the two class attributes and writes `linear` and `adjoint`; losses and solvers need nothing more,
    and a `forward` of its own does not count there, which a warning says.
    Its tensors are buffers (or parameters) that follow ``.to(device)`` and ``.to(dtype)``: a real dtype sets the
    precision and leaves complex ones complex, and half precision leaves them in single precision.

    Attributes:
        object_ndim: Number of axes of one object; all axes before them are a batch.
        data_ndim: Number of axes of one measurement.
        object_shape: The one shape of the objects that it measures; None where it measures several.
        data_shape: Shape of one measurement; None where it depends on the object or is not told.
        of_intensities: Whether the measurement is the squared absolute value, as nearly always, or that itself.

    Args:
        chunk: Items that `forward` computes at a time. Results and gradients do not depend on it; peak memory does.
            Under `torch.func.grad` and its kin, which cannot compute again, the gradient needs the memory of all items.
        **options: Further options of a subclass, which become attributes, are shown by `repr`, and move with the
            operator if they are tensors.
    """

    object_ndim: int
    data_ndim: int
    object_shape: tuple[int, ...] | None = None
    data_shape: tuple[int, ...] | None = None
    of_intensities: bool = True
    chunk: int | None

    def __init__(self, *, chunk: int | None = None, **options: Any) -> None:
        super().__init__(**options, chunk=None if chunk is None else _checks.integer("chunk", chunk))

    def linear(self, obj: Tensor) -> Tensor:
        """The complex field at the detector, before the modulus is taken: (*, object) -> (*, data)."""
        raise NotImplementedError

    def adjoint(self, field: Tensor, object_shape: Sequence[int] | None = None) -> Tensor:
        """The adjoint of `linear` for complex objects: (*, data) -> (*, object).

        ``<linear(x), y> == <x, adjoint(y)>``; for real objects take the real part.
        """
        raise NotImplementedError

    def gram_diagonal(self, weight: Tensor, object_shape: Sequence[int] | None = None) -> Tensor | None:
        """The diagonal of ``A^H diag(weight) A``, A being `linear`: (*, data) -> (*, object), real.

        It is how much each pixel of the object adds to the data, by which
        :func:`~phaseret.solvers.spectral_initialization` whitens. None where an operator does not tell: then it is
        taken to be the same for all pixels.
        """
        return None

    def forward(self, obj: Tensor) -> Tensor:
        """The intensity: (*, object) -> (*, data), real and non-negative."""
        self._check(obj)
        measure = self._measure if self._as_the_library_has_it else self._measure_as_written
        return _memory.in_chunks(self, measure, obj, self.object_ndim, self.chunk)

    __call__ = called_as(forward)

    def weights(self, like: Tensor) -> Tensor:
        """How many pixels of the full plane each pixel of the data stands for, in the precision of `like`.

        One number where it is the same for all, as nearly always; one-sided data has 1 and 2.
        """
        return torch.ones((), dtype=like.real.dtype, device=like.device)

    @staticmethod
    def check(operator: Any, *, intensities: bool = True) -> None:
        """Raise unless the argument is an operator, and one of intensities."""
        _checks.instance("operator", operator, Operator, "Use one of phaseret.operators, or a subclass of Operator")
        if intensities and not operator.of_intensities:
            fix = "Use FourierIntensity"
            _checks.fail(f"operator must measure intensities, got {type(operator).__name__}", fix)
        if intensities and not operator._is_ours("forward"):
            rule = f"the operator {type(operator).__name__} has a forward of its own, which does not count here: "
            fix = "Write linear and adjoint, a factor as its root; what is added is background=, a blur point_spread="
            _checks.warn_once(f"{rule}the intensity is the squared absolute value of its linear", fix)

    def _is_ours(self, *methods: str) -> bool:
        """Whether these are the library's, and not those of a user's subclass or put into this one."""
        for name in methods:
            ours, own = getattr(type(self), name), vars(self).get(name)
            if not ours.__module__.startswith("phaseret."):
                return False
            # what torch.compile has compiled is still that
            if own is not None and getattr(own, "_torchdynamo_orig_callable", own) != MethodType(ours, self):
                return False
        return True

    @property
    def _as_the_library_has_it(self) -> bool:
        """Whether the field is the library's, for which it knows shorter ways; a user's runs as written."""
        return self._is_ours("linear", "weights")

    def _measure_as_written(self, obj: Tensor) -> Tensor:
        field = self.linear(obj)
        return _fft.power(field) if self.of_intensities else _fft.magnitude(field, self.data_ndim)

    def _measure(self, obj: Tensor) -> Tensor:
        return _fft.power(self._field(obj))

    def _field(self, obj: Tensor) -> Tensor:
        """`linear` after the check, which the library's operators leave out here."""
        return self.linear(obj)

    def _predicted(self, estimate: Tensor) -> Tensor:
        """`linear` of an estimate, which a far-field operator also takes laid out on the whole grid."""
        return self.linear(estimate)

    def _check(self, obj: Tensor) -> None:
        """Raise unless `obj` is a batch of objects; a subclass adds its own rules."""
        _checks.floating(obj=obj)
        _checks.rank(self.object_ndim, obj=obj)
        _checks.same_device(obj=obj, **dict(self.named_buffers()), **dict(self.named_parameters()))
        if self.object_shape is not None:
            fix = "Pad or crop it, or make an operator of its shape"
            _checks.item_shape("obj", obj, self.object_shape, fix)

    def _adjoint_shape(self, given: Sequence[int] | None, only: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """The `object_shape` of `adjoint`: where there is only one it may be left out, else it has to be given."""
        if given is not None and only is not None and tuple(given) != only:
            _checks.fail(f"object_shape must be {only}, got {tuple(given)}", "Leave it out")
        if given is None and only is None:
            _checks.fail("object_shape must be given, got None", "Pass the sizes (n1, ..., nd)", TypeError)
        return only or _checks.shape("object_shape", given)

    def _as_field(self, field: Tensor, shape: Sequence[int]) -> Tensor:
        """The argument of `adjoint`, checked and complex."""
        _checks.floating(field=field)
        _checks.same_device(field=field, **dict(self.named_buffers()), **dict(self.named_parameters()))
        _checks.item_shape("field", field, shape, "It is the shape of what linear gives")
        field = _fft.promote(field)
        return field if field.is_complex() else field + 0j


def held(tensor: Tensor) -> Tensor:
    """A tensor option as an operator holds it: a Parameter stays one, to be learned; any other in full precision."""
    return tensor if isinstance(tensor, nn.Parameter) else _fft.promote(tensor).resolve_conj().resolve_neg()
