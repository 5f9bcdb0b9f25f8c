"""The one function for all algorithms and recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from phaseret.solvers._loop import Step, solve
from phaseret.solvers._options import Options, spelled
from phaseret.solvers._recipe import Recipe

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from phaseret.solvers._result import Reconstruction


@spelled
def reconstruct(intensity: Tensor, *, schedule: str | Step | None = None, **options: Unpack[Options]) -> Reconstruction:
    r"""Reconstruct objects from their Fourier intensities.

    Every pattern is solved from several random starts; the estimate that explains the data best is the result, and
    :class:`Reconstruction` says whether the starts agree. The estimate is P_S P_M of the last iterate, and its error is

    .. math:: \sqrt{\textstyle\sum (|F X| - \sqrt Y)^2 / \sum Y}

    over the measured pixels. It warns when starts that fit the data equally well show different objects.

    Args:
        intensity: Measured intensity, squared object units.
        schedule: What to run, as text or as a :class:`Recipe` or algorithm. Default: "sparse:1400,er:30", which finds
            objects in a loose support, or in none (:class:`SparseRRR`); but "raar:400,er:100" with a `support_size`,
            and where a gradient is asked for. The words are those of :class:`Recipe`.
        support: True where the object may be non-zero. Object-shaped (then in the corner of the grid, and the result
            has its shape) or data-shaped; one for all patterns or one each: the axes before these broadcast to the
            batch. May be left out with `support_size` or for a non-negative object.
        support_size: Number of non-zero pixels, their place unknown: the largest are kept.
        mask: True where measured; it broadcasts to the intensity. Unmeasured pixels are free: their intensity may hold
            anything.
        constraint: "complex", "real" or "nonnegative".
        bounds: (low, high) of the values inside the support; of the modulus for a complex object.
        phase_range: (low, high) of the phase of a complex object in radians, at most pi apart.
        ndim: Number of axes of one pattern (1, 2 or 3); the axes before them are a batch.
        norm: Normalisation of the transform: "ortho", "backward" or "forward".
        centered: Whether the zero frequency lies in the middle of the intensity (and mask).
        starts: Number of starts of each pattern. Default: 12 with the default schedule, and 1 with an algorithm or a
            schedule that is named, here as in ``HIO(50)(...)`` and ``Recipe(...)(...)``.
        init: Object-shaped or data-shaped start, for example a network's output: it replaces the first start. With an
            axis of starts before the object's axes it replaces all of them.
        seed: Start s is drawn from seed + s, whatever the batch, the chunks and the device.
        generator: Draws the seeds of the starts instead.
        check_every: Iterations from one residual to the next.
        chunk: Patterns times starts worked on at a time. Default: what fits a CPU's cache, or a GPU's free memory.
            Results do not depend on it.
        progress: Show a bar (needs tqdm).
        callback: Called with the :class:`Run` at each check; a true value ends the run.
        checkpoint: Called with a dict of tensors and numbers, which `torch.save` can keep, every `checkpoint_every`
            iterations.
        checkpoint_every: Iterations from one checkpoint to the next.
        resume: Such a dict, to go on exactly where it was made; all other arguments as then.

    Shape:
        - intensity: (*, m1..md)
        - support: (n1..nd), (m1..md), or one each (*, ...)
        - mask: (*, m1..md), or what broadcasts to it
        - result: obj (*, n1..nd)

    Returns:
        :class:`Reconstruction`.

    Raises:
        TypeError: if a tensor has the wrong dtype, or an option does not exist or is of the wrong kind.
        ValueError: if intensities are negative, not finite or all zero; mask or support empty or of the wrong shape;
            a word of the schedule is unknown; an option is out of range.

    Example:
        >>> obj = torch.rand(2, 10, 10)
        >>> intensity = pr.operators.fourier_intensity(obj, (20, 20))
        >>> r = reconstruct(intensity, support=torch.ones(10, 10) > 0, constraint="nonnegative", starts=4)
        >>> r.obj.shape, r.errors.shape
        (torch.Size([2, 10, 10]), torch.Size([2, 4]))
    """
    if schedule is None:
        given = (intensity, options.get("init"))
        differentiable = torch.is_grad_enabled() and any(isinstance(t, Tensor) and t.requires_grad for t in given)
        sparse = options.get("support_size") is None and not differentiable
        schedule = "sparse:1400,er:30" if sparse else "raar:400,er:100"
        if options.get("starts") is None:
            options["starts"] = 12
    return solve(Recipe(schedule), intensity, options)
