"""Gradient methods for any operator: spectral start, Wirtinger flow, truncated amplitude flow, Poisson refinement.

All of them treat each pattern and start of a batch on its own: norms, scales, steps, truncations and the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from phaseret import _checks, _fft
from phaseret.operators import Operator
from phaseret.projections import Constraint
from phaseret.solvers._measured import Measured
from phaseret.solvers._result import Reconstruction

# Power iterations and truncation of the spectral start.
_POWERS, _TRUNCATION = 100, 3.0


def spectral_initialization(
    intensity: Tensor,
    operator: Operator,
    *,
    n_iter: int = _POWERS,
    truncation: float | None = _TRUNCATION,
    object_shape: Sequence[int] | None = None,
    mask: Tensor | None = None,
    background: Tensor | float | None = None,
    constraint: Constraint = "complex",
    seed: int = 0,
) -> Tensor:
    r"""The start of the gradient methods: the leading eigenvector of the data-weighted covariance.

    .. math:: G^{-1/2} A^H \mathrm{diag}(T(y)) A G^{-1/2} v = \lambda v, \qquad
              z = s (1 + G)^{-1} G^{1/2} v, \qquad G \propto \mathrm{diag}(A^H A)

    by power iteration, with :math:`T(y) = y` where :math:`y \le \alpha^2 \bar y`, and 0 above (:math:`\alpha` the
    truncation), and s so that :math:`|A z|^2` has the data's sum. G, of mean 1
    (:meth:`~phaseret.operators.Operator.gram_diagonal`), is how much light each pixel of the object gets. Without it
    the eigenvector of a large coded measurement lies on the few pixels that get most, and says nothing of the object;
    z weighs v as the best linear estimate does where signal and noise are alike. Mean, norm and scale are those of
    each item. For a non-negative object the eigenvector takes the sign of its larger part, and the
    other part becomes 0. It needs random-like measurements (Gaussian, coded diffraction); plain Fourier intensities
    say nothing to it.

    Args:
        intensity: Measured intensity.
        operator: The measurement.
        n_iter: Power iterations.
        truncation: alpha, or None for no truncation.
        object_shape: Sizes of the object, for operators that do not know them.
        background: What the detector counts without the object, a number or in the intensity's units and arrangement:
            it is subtracted, and what is left below 0 counts as 0.
        mask: True where measured; it broadcasts to the intensity. Default: everywhere.
        constraint: "complex", "real" or "nonnegative".
        seed: Seed of the random vector that the power iteration starts from; the same for all items.

    Shape:
        - intensity: (*, data)
        - output: (*, object)

    Returns:
        Complex tensor, real unless the constraint is "complex".

    Raises:
        TypeError: if intensity is not real, operator is not an Operator, or mask is not boolean.
        ValueError: if shapes do not fit, or an option is unknown or out of range.

    Example:
        >>> obj = torch.randn(16, dtype=torch.complex64)
        >>> operator = pr.operators.Gaussian(pr.operators.gaussian_matrix((16,), 480))
        >>> start = spectral_initialization(operator(obj), operator)
        >>> pr.symmetry.align(start, obj, ndim=1, shift=False, flip=False).error < 0.5 * obj.abs().square().mean()
        tensor(True)

    Source:
        Candes, Li, Soltanolkotabi (2015), Phase retrieval via Wirtinger flow, doi:10.1109/TIT.2015.2399924, algorithm
        1; the truncation: Chen, Candes (2017), Solving random quadratic systems of equations is nearly as easy as
        solving linear systems, doi:10.1002/cpa.21638. G is ours: in the sources the measurements are Gaussian and G
        is 1.
    """
    problem = Measured(intensity, operator, object_shape, mask, constraint, n_iter, background=background)
    if truncation is not None:
        truncation = _checks.number("truncation", truncation, above=0)
    seed = _checks.integer("seed", seed, at_least=0)
    start = _spectral(problem, n_iter, truncation, seed) * problem.over_object(problem.unit)
    return start.squeeze(-1 - operator.object_ndim)


def _spectral(problem: Measured, n_iter: int, truncation: float | None, seed: int) -> Tensor:
    """The spectral start (*, 1, object) of a problem."""
    weight = problem.intensity
    if truncation is not None:
        weight = weight * (weight <= (truncation * truncation) * problem.over_data(problem.mean))
    z, light = problem.noise([seed]), problem.light()
    white: Tensor | float = 1.0
    if light is not None:  # what nothing is measured of stays 0
        white = torch.where(light > 0, light.clamp(min=torch.finfo(light.dtype).eps).rsqrt(), 0.0)
    tiny = torch.finfo(weight.dtype).tiny
    for _ in range(n_iter):
        z = z / problem.over_object(problem.norm2(z).clamp(min=tiny).sqrt())
        z = white * problem.adjoint(problem.operator.linear(white * z) * weight)
    if light is not None:
        z = z * light.sqrt() / (1 + light)
    if problem.constraint == "nonnegative":
        sign = torch.where(z.sum(problem.object_axes) < 0, -1.0, 1.0).to(z.dtype)
        z = (z * problem.over_object(sign)).clamp(min=0)
    return problem.scaled(z)


def wirtinger_flow(
    intensity: Tensor,
    operator: Operator,
    *,
    n_iter: int = 1000,
    mu: float = 0.2,
    object_shape: Sequence[int] | None = None,
    mask: Tensor | None = None,
    background: Tensor | float | None = None,
    point_spread: Tensor | None = None,
    constraint: Constraint = "complex",
    init: Tensor | None = None,
    starts: int | None = None,
    seed: int = 0,
    check_every: int = 10,
    tol: float | None = None,
    tolerance: float | None = None,
) -> Reconstruction:
    r"""Gradient descent on the squared error of the intensity.

    .. math:: z_{k+1} = z_k - \frac{\mu_k}{c \, \bar y} A^H \big[(|A z_k|^2 - y) A z_k\big], \qquad
              \mu_k = \min(1 - e^{-k / 330}, \mu)

    with c = |A z_0|^2 / |z_0|^2 of each item, which is the number of measurements for a Gaussian operator.

    Args:
        intensity: Measured intensity.
        operator: The measurement.
        n_iter: Largest number of iterations.
        mu: Largest step size.
        object_shape: Sizes of the object, for operators that do not know them.
        background: What the detector counts without the object, a number or in the intensity's units and arrangement:
            it is subtracted, and what is left below 0 counts as 0.
        point_spread: What becomes of the intensity of one pixel, as in :func:`reconstruct`, with the axes of the
            object.
        mask: True where measured; it broadcasts to the intensity. Default: everywhere.
        constraint: "complex", "real" or "nonnegative".
        init: Start (*, object), or all of them (*, starts, object). Default: :func:`spectral_initialization`.
        starts: Number of starts of each pattern: `init` or the spectral one, then random ones. Default: 1, or as many
            as `init` has.
        seed: Seed of the spectral start; random start s is drawn from seed + s.
        check_every: Iterations from one residual to the next.
        tol: A start has converged, and is left alone, once an iteration changes its object by at most this share of
            its norm, on average from one check to the next; when all have, the descent ends. Default: half of the
            precision's `eps`, below which a step is lost in rounding. 0: all iterations.
        tolerance: The error at which a start is solved, and is left alone, at a check; `n_iters` keeps its iterations.

    Returns:
        :class:`Reconstruction`; its `agreement` is up to the phase, and its `prtf` one number over all pixels.

    Example:
        >>> obj = torch.randn(2, 16, dtype=torch.complex64)
        >>> operator = pr.operators.Gaussian(pr.operators.gaussian_matrix((16,), 160))
        >>> wirtinger_flow(operator(obj), operator, n_iter=500).error.max() < 1e-3
        tensor(True)

    Source:
        Candes, Li, Soltanolkotabi (2015), Phase retrieval via Wirtinger flow, doi:10.1109/TIT.2015.2399924, eq. 2.3
        and section II-B.
    """
    problem = Measured(
        intensity,
        operator,
        object_shape,
        mask,
        constraint,
        n_iter,
        check_every,
        background,
        tol,
        point_spread,
        tolerance,
    )
    mu = _checks.number("mu", mu, above=0)

    def slope(power: Tensor, k: int) -> Tensor:
        step = min(1 - math.exp(-(k + 1) / 330), mu)
        return (step / problem.over_data(problem.mean)) * (power - problem.intensity)

    return _flow(problem, slope, init, starts, seed, f"wirtinger_flow(n_iter={n_iter}, mu={mu})")


def truncated_amplitude_flow(
    intensity: Tensor,
    operator: Operator,
    *,
    n_iter: int = 1000,
    mu: float = 0.6,
    gamma: float = 0.7,
    object_shape: Sequence[int] | None = None,
    mask: Tensor | None = None,
    background: Tensor | float | None = None,
    point_spread: Tensor | None = None,
    constraint: Constraint = "complex",
    init: Tensor | None = None,
    starts: int | None = None,
    seed: int = 0,
    check_every: int = 10,
    tol: float | None = None,
    tolerance: float | None = None,
) -> Reconstruction:
    r"""Gradient descent on the squared error of the magnitude, without the pixels whose phase cannot be trusted.

    .. math:: z_{k+1} = z_k - \frac{\mu}{c} A^H \Big[1_{|A z_k| \ge \sqrt y / (1 + \gamma)}
              \Big(A z_k - \sqrt y \frac{A z_k}{|A z_k|}\Big)\Big]

    with c as in :func:`wirtinger_flow`. It needs fewer measurements and iterations than Wirtinger flow. Arguments and
    result are those of :func:`wirtinger_flow`, except:

    Args:
        mu: Step size.
        gamma: Truncation; infinity for plain amplitude flow.

    Example:
        >>> obj = torch.randn(2, 16, dtype=torch.complex64)
        >>> operator = pr.operators.Gaussian(pr.operators.gaussian_matrix((16,), 96))
        >>> truncated_amplitude_flow(operator(obj), operator, n_iter=300).error.max() < 1e-3
        tensor(True)

    Source:
        Wang, Giannakis, Eldar (2018), Solving systems of random quadratic equations via truncated amplitude flow,
        doi:10.1109/TIT.2017.2756858. In the source the start is the orthogonality-promoting one; here it is the
        spectral one.
    """
    problem = Measured(
        intensity,
        operator,
        object_shape,
        mask,
        constraint,
        n_iter,
        check_every,
        background,
        tol,
        point_spread,
        tolerance,
    )
    mu = _checks.number("mu", mu, above=0)
    gamma = gamma if isinstance(gamma, float) and gamma == math.inf else _checks.number("gamma", gamma, above=0)
    measured = problem.magnitude

    def slope(power: Tensor, k: int) -> Tensor:
        kept = (power.sqrt() >= measured / (1 + gamma)) & (power > 0)
        return torch.where(kept, mu * (1 - measured * _fft.divisor(power).rsqrt()), 0.0)

    recipe = f"truncated_amplitude_flow(n_iter={n_iter}, mu={mu}, gamma={gamma})"
    return _flow(problem, slope, init, starts, seed, recipe)


def maximum_likelihood(
    estimate: Tensor,
    intensity: Tensor,
    operator: Operator,
    *,
    n_iter: int = 50,
    background: Tensor | float = 0.1,
    point_spread: Tensor | None = None,
    mask: Tensor | None = None,
    support: Tensor | None = None,
    constraint: Constraint = "complex",
    check_every: int = 10,
    tol: float | None = None,
    tolerance: float | None = None,
) -> Reconstruction:
    r"""Poisson maximum-likelihood refinement of an estimate by conjugate gradients: the last step for counts.

    .. math:: \min_X \sum I - y \ln I, \qquad I = |A X|^2 + b

    over the measured pixels, with directions of Polak and Ribiere that are restarted when they do not descend, and an
    exact line search (the intensity is a parabola along a line, so it costs no transform). Each iteration takes one
    operator and one adjoint. It improves a reconstruction that is nearly right; it does not find one.

    Args:
        estimate: Reconstruction to refine, real or complex, and real unless the constraint is "complex"; the result is
            of the same kind.
        intensity: Measured counts. In other units the estimate must be in the same ones, and `background` too.
        operator: The measurement.
        n_iter: Largest number of iterations.
        background: b, in counts, above 0: what the detector counts without the object, a number or a tensor arranged
            like the intensity. It keeps the likelihood finite where the model has no light. One that is more than all
            that was measured is asked about, unless the intensities are whole numbers.
        point_spread: What becomes of the intensity of one pixel, as in :func:`reconstruct`, with the axes of the
            object: |A X|^2 is blurred by it.
        mask: True where measured; it broadcasts to the intensity. Default: everywhere.
        support: True where the object may be non-zero; it broadcasts to the estimate. Default: everywhere.
        constraint: "complex", "real" or "nonnegative", for which a real object is clipped after each step.
        check_every: Iterations from one residual to the next.
        tol: When an estimate has converged, as in :func:`wirtinger_flow`.
        tolerance: The error at which it is solved, likewise.

    Shape:
        - estimate: (*, object)
        - intensity: (*, data)

    Returns:
        :class:`Reconstruction` with one start per pattern; `history` holds relative magnitude errors.

    Raises:
        TypeError: if operator is not an Operator, estimate is not floating, intensity is not real, a mask is not
            boolean, or the estimate is complex though the object is real.
        ValueError: if shapes do not fit, or an option is unknown or out of range.

    Example:
        >>> obj = 100 * torch.rand(12, 12)
        >>> operator = pr.operators.FourierIntensity((24, 24))
        >>> counts = torch.poisson(operator(obj))
        >>> start = obj + 5 * torch.randn(12, 12)
        >>> r = maximum_likelihood(start, counts, operator)
        >>> (r.obj - obj).norm() < 0.5 * (start - obj).norm()
        tensor(True)

    Source:
        Thibault, Guizar-Sicairos (2012), Maximum-likelihood refinement for coherent diffractive imaging,
        doi:10.1088/1367-2630/14/6/063004.
    """
    problem = Measured(
        intensity, operator, None, mask, constraint, n_iter, check_every, None, tol, point_spread, tolerance
    )
    x = problem.given("estimate", estimate)
    operator = problem.operator
    _checks.same_batch(("estimate", x, operator.object_ndim), ("intensity", intensity, operator.data_ndim))
    problem.object_shape, problem.real = x.shape[-operator.object_ndim :], not x.is_complex()
    b = _positive(problem, background, intensity, mask)
    _ask_about_darkness(problem, b, intensity, mask)
    problem.magnitude = _fft.root(problem.intensity - b)
    starts_axis, allowed = -1 - operator.object_ndim, torch.ones_like(x.real)
    if support is not None:
        _checks.boolean(support=support)
        _checks.same_device(estimate=x, support=support)
        support = _checks.broadcast("support", support, "the estimate", x)
        x = torch.where(support, x, 0.0)
        allowed = support.to(problem.intensity.dtype)
    _checks.finite(estimate=x)
    x = x.unsqueeze(starts_axis) / problem.over_object(problem.unit)
    allowed = allowed.unsqueeze(starts_axis)
    direction = last = torch.zeros_like(x)

    def move(x: Tensor, field: Tensor, k: int) -> tuple[Tensor, Tensor]:
        nonlocal direction, last
        descent = -allowed * problem.descended(1 - problem.intensity / (problem.power(field) + b), field)
        direction, last = problem.conjugate(descent, last, direction, first=k == 0), descent
        along = operator.linear(direction)
        length = _line_search(problem, field, along, b)
        x = x + problem.over_object(length) * direction
        if constraint == "nonnegative":
            x = x.clamp(min=0)
            return x, operator.linear(x)
        return x, field + problem.over_data(length) * along

    return problem.run(
        x, move, f"maximum_likelihood(n_iter={n_iter}, background={_named(background)})", support=support
    )


def _positive(problem: Measured, background: Tensor | float, intensity: Tensor, mask: Tensor | None) -> Tensor:
    """The background at each pixel of the starts, in the problem's unit; anything where nothing was measured."""
    if isinstance(background, Tensor):
        b = _checks.background(background, intensity).expand_as(intensity)
        if mask is not None:
            b = b.where(_checks.mask(mask, intensity), 1)
        if not bool((b > 0).all()):
            _checks.fail("background must be above 0, got less", "Use background.clamp(min=0.1)")
        b = problem.for_starts(b)
    else:
        b = problem.intensity.new_full((), _checks.number("background", background, above=0))
    return b / problem.over_data(problem.unit.square())


def _ask_about_darkness(problem: Measured, b: Tensor, intensity: Tensor, mask: Tensor | None) -> None:
    """Warn of a background that is more than all that was measured, unless it was counted: few counts may be less."""
    whole = intensity == intensity.round()
    whole = whole if mask is None else whole | ~mask
    counted = whole.flatten(-len(problem.data_axes)).all(-1).unsqueeze(-1)
    axes, seen = problem.data_axes, problem.intensity
    dark, light = (problem.weighted(x.expand_as(seen)).sum(axes) for x in (b, seen))
    above = int(((dark > light) & ~counted).sum())
    if above:
        _checks.warn(
            f"the background is more than all that was measured, in {above} of {dark.numel()} patterns",
            "Give it in the units of the intensity, or the intensity in counts",
            page="units.rst#units-intensities-or-counts",
        )


def _named(background: Tensor | float) -> str:
    if isinstance(background, Tensor):
        return f"{tuple(background.shape)}" if background.ndim > 0 else f"{float(background.detach()):g}"
    return f"{float(background):g}"


def _line_search(problem: Measured, field: Tensor, along: Tensor, b: Tensor) -> Tensor:
    """The step along a line that minimises the likelihood: I(t) = |u|^2 + 2 t Re(u* v) + t^2 |v|^2 + b, blurred.

    Scoring steps (the expected curvature is positive), each halved until the likelihood falls.
    """
    y = problem.intensity
    constant = problem.power(field) + b
    cross = problem.blurred((field.conj() * along).real)
    square = problem.power(along)
    tiny = torch.finfo(constant.dtype).tiny

    def model(t: Tensor) -> Tensor:
        t = problem.over_data(t)
        return (constant + 2 * t * cross + t.square() * square).clamp(min=b)  # rounding may leave less

    def loss(t: Tensor) -> Tensor:
        value = model(t)
        # relative to t = 0, so that large sums do not hide small falls
        return problem.weighted(value - constant - y * (value / constant).log()).sum(problem.data_axes)

    t = torch.zeros_like(problem.mean)
    best = torch.zeros_like(t)
    for _ in range(4):
        value, rate = model(t), 2 * (cross + problem.over_data(t) * square)
        slope = problem.weighted((1 - y / value) * rate).sum(problem.data_axes)
        curvature = problem.weighted(rate.square() / value + 2 * square * (1 - y / value).clamp(min=0))
        move = -slope / curvature.sum(problem.data_axes).clamp(min=tiny)
        for _ in range(8):
            trial = loss(t + move)
            move = torch.where(trial <= best, move, move / 2)
        trial = loss(t + move)
        better = trial <= best
        t, best = torch.where(better, t + move, t), torch.where(better, trial, best)
    return t


def _flow(
    problem: Measured,
    slope: Callable[[Tensor, int], Tensor],
    init: Tensor | None,
    starts: int | None,
    seed: int,
    recipe: str,
) -> Reconstruction:
    """Descent from the starts with one gradient per iteration, from the slope of the misfit at the detector."""
    z, seeds = _starts(problem, init, starts, seed)
    problem.object_shape = z.shape[-problem.operator.object_ndim :]
    scale = problem.over_object(1 / _fft.divisor(problem.gain(z)))

    def move(z: Tensor, field: Tensor, k: int) -> tuple[Tensor, Tensor]:
        z = z - scale * problem.descended(slope(problem.power(field), k), field)
        z = z.clamp(min=0) if problem.constraint == "nonnegative" else z
        return z, problem.operator.linear(z)

    result = problem.run(z, move, recipe, seeds=seeds)
    if not bool(result.obj.isfinite().all()):
        fix = "Use a smaller mu, or begin nearer to the object with init"
        _checks.warn("the descent went beyond all numbers, and the object is nan", fix)
    return result


def _starts(problem: Measured, init: Tensor | None, starts: int | None, seed: int) -> tuple[Tensor, list[int]]:
    """The starts (*, starts, object) and their seeds: what was given or the spectral one, then random ones."""
    seed = _checks.integer("seed", seed, at_least=0)
    count = 1 if starts is None else _checks.integer("starts", starts)
    if init is None:
        first = _spectral(problem, _POWERS, _TRUNCATION, seed)
    else:
        _checks.finite(init=init)
        first = problem.given_starts("init", init, starts)
        problem.object_shape = first.shape[-problem.operator.object_ndim :]
    given = first.shape[-1 - problem.operator.object_ndim]
    seeds = list(range(seed, seed + max(count, given)))
    if given == len(seeds):
        return first, seeds
    z = problem.noise(seeds[given:])
    z = problem.scaled(z.abs() if problem.constraint == "nonnegative" else z)
    return torch.cat([first, z], dim=-1 - problem.operator.object_ndim), seeds
